//! What can go wrong between a site and its repository, and the findings that people see of it.

use std::{io, path::PathBuf};

use git2::{ErrorClass, ErrorCode};
use tidegate_schema::finding::Finding;

use super::location::Unusable;

/// Why the source could not do what was asked. Whatever it is, the caller keeps what it had: no
/// error of the source ever means that something was removed from the repository.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is none.
    #[error("failed to read the address of the repository")]
    Address(#[source] Unusable),
    /// The name of a branch that git does not allow (git-check-ref-format(1)).
    #[error("failed to use {0} as the name of a branch")]
    BranchName(String),
    /// No answer, or the connection broke.
    #[error("failed to reach {location}")]
    Unreachable {
        /// The repository, without secrets.
        location: String,
        /// What git said.
        source: git2::Error,
    },
    /// The answer took longer than allowed.
    #[error("failed to finish with {location} within {seconds} s")]
    TimedOut {
        /// The repository, without secrets.
        location: String,
        /// The limit.
        seconds: u64,
    },
    /// The token or key was refused, or none was given.
    #[error("failed to log in to {location}")]
    Credentials {
        /// The repository, without secrets.
        location: String,
        /// What git said.
        source: git2::Error,
    },
    /// A token would travel in the clear.
    #[error("failed to send a token to {location}, which is not encrypted")]
    ClearText {
        /// The repository, without secrets.
        location: String,
    },
    /// The server's certificate or host key is not one that we trust.
    #[error("failed to recognise {location}: {reason}")]
    Identity {
        /// The repository, without secrets.
        location: String,
        /// Unknown, or another one than expected.
        reason: String,
    },
    /// There is no repository at that address.
    #[error("failed to find a repository at {location}")]
    NotFound {
        /// The repository, without secrets.
        location: String,
        /// What git said.
        source: git2::Error,
    },
    /// The folder belongs to another user, which git refuses (`safe.directory`).
    #[error("failed to open {location}: it belongs to another user")]
    Owner {
        /// The repository.
        location: String,
    },
    /// A repository without a single branch.
    #[error("failed to find any commit in {location}")]
    Empty {
        /// The repository, without secrets.
        location: String,
    },
    /// The branch is not there, and we never saw it.
    #[error("failed to find branch {branch} in {location}")]
    BranchMissing {
        /// The repository, without secrets.
        location: String,
        /// The branch.
        branch: String,
    },
    /// The branch was there, and is not any more.
    #[error("failed to find branch {branch} in {location}, where it was before")]
    BranchDeleted {
        /// The repository, without secrets.
        location: String,
        /// The branch.
        branch: String,
        /// The commit that it had when we last saw it.
        last: String,
    },
    /// The repository sends more than we take.
    #[error("failed to take {location}: it is larger than {limit} bytes")]
    TooLarge {
        /// The repository, without secrets.
        location: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// Objects are missing or damaged.
    #[error("failed to read the objects of {location}")]
    Broken {
        /// The repository, without secrets.
        location: String,
        /// What git said.
        source: git2::Error,
    },
    /// Our own copy can not be written.
    #[error("failed to use the cache {path}")]
    Cache {
        /// Where it is.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A commit that the copy does not have.
    #[error("failed to find commit {commit}")]
    Commit {
        /// What was asked for.
        commit: String,
    },
    /// The site's folder is not in the commit, or is a file.
    #[error("failed to find folder {folder} in {commit}")]
    Folder {
        /// The folder.
        folder: String,
        /// The commit, or the path of the working tree.
        commit: String,
    },
    /// A folder of this machine can not be read.
    #[error("failed to read {path}")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The server does not take what we push.
    #[error("failed to push to branch {branch}: {reason}")]
    PushRefused {
        /// The branch.
        branch: String,
        /// What the server said.
        reason: String,
    },
    /// Others were faster every time.
    #[error(
        "failed to push to branch {branch} in {attempts} attempts: others push at the same time"
    )]
    PushContended {
        /// The branch.
        branch: String,
        /// How often we tried.
        attempts: u32,
    },
    /// A file that would be replaced on a branch where nothing may be.
    #[error("failed to add {path}: branch {branch} has another file of that name")]
    Exists {
        /// The branch.
        branch: String,
        /// The file.
        path: String,
    },
    /// A commit could not be signed.
    #[error("failed to sign a commit: {0}")]
    Unsigned(String),
    /// What came since touches the same lines.
    #[error("failed to take the documents back on branch {branch}: later changes are in the way")]
    RevertConflicts {
        /// The branch that was to hold it.
        branch: String,
    },
    /// The work was cut off, because the agent stops.
    #[error("failed to finish: the agent stops")]
    Interrupted,
}

impl Error {
    /// The finding that the status, the console and the commands show.
    pub fn finding(&self) -> Finding {
        let finding = Finding::error(self.code());
        match self {
            Self::Address(reason) => finding.with("reason", reason),
            Self::Unsigned(reason) => finding.with("reason", reason),
            Self::BranchName(branch) | Self::RevertConflicts { branch } => {
                finding.with("branch", branch)
            }
            Self::Unreachable { location, source }
            | Self::Credentials { location, source }
            | Self::NotFound { location, source }
            | Self::Broken { location, source } => {
                finding.with("location", location).with("reason", source.message())
            }
            Self::TimedOut { location, seconds } => {
                finding.with("location", location).with("seconds", seconds)
            }
            Self::ClearText { location } | Self::Owner { location } | Self::Empty { location } => {
                finding.with("location", location)
            }
            Self::Identity { location, reason } => {
                finding.with("location", location).with("reason", reason)
            }
            Self::BranchMissing { location, branch } => {
                finding.with("location", location).with("branch", branch)
            }
            Self::BranchDeleted { location, branch, last } => {
                finding.with("location", location).with("branch", branch).with("commit", last)
            }
            Self::TooLarge { location, limit } => {
                finding.with("location", location).with("limit", limit)
            }
            Self::Cache { path, source } | Self::Read { path, source } => {
                finding.with("path", path.display()).with("reason", source)
            }
            Self::Commit { commit } => finding.with("commit", commit),
            Self::Folder { folder, commit } => {
                finding.with("folder", folder).with("commit", commit)
            }
            Self::PushRefused { branch, reason } => {
                finding.with("branch", branch).with("reason", reason)
            }
            Self::PushContended { branch, attempts } => {
                finding.with("branch", branch).with("attempts", attempts)
            }
            Self::Exists { branch, path } => finding.with("branch", branch).with("path", path),
            Self::Interrupted => finding,
        }
    }

    /// The code of [`Error::finding`].
    pub fn code(&self) -> &'static str {
        match self {
            Self::Address(_) => "SOURCE/ADDRESS",
            Self::BranchName(_) => "SOURCE/BRANCH_NAME",
            Self::Unreachable { .. } => "SOURCE/UNREACHABLE",
            Self::TimedOut { .. } => "SOURCE/TIMED_OUT",
            Self::Credentials { .. } => "SOURCE/CREDENTIALS_REFUSED",
            Self::ClearText { .. } => "SOURCE/TOKEN_IN_THE_CLEAR",
            Self::Identity { .. } => "SOURCE/SERVER_NOT_TRUSTED",
            Self::NotFound { .. } => "SOURCE/NOT_A_REPOSITORY",
            Self::Owner { .. } => "SOURCE/OWNED_BY_ANOTHER",
            Self::Empty { .. } => "SOURCE/EMPTY_REPOSITORY",
            Self::BranchMissing { .. } => "SOURCE/BRANCH_MISSING",
            Self::BranchDeleted { .. } => "SOURCE/BRANCH_DELETED",
            Self::TooLarge { .. } => "SOURCE/REPOSITORY_TOO_LARGE",
            Self::Broken { .. } => "SOURCE/REPOSITORY_BROKEN",
            Self::Cache { .. } => "SOURCE/CACHE_UNUSABLE",
            Self::Commit { .. } => "SOURCE/COMMIT_UNKNOWN",
            Self::Folder { .. } => "SOURCE/FOLDER_MISSING",
            Self::Read { .. } => "SOURCE/FOLDER_UNREADABLE",
            Self::PushRefused { .. } => "SOURCE/PUSH_REFUSED",
            Self::PushContended { .. } => "SOURCE/PUSH_CONTENDED",
            Self::Exists { .. } => "SOURCE/FILE_EXISTS",
            Self::Unsigned(_) => "SOURCE/NOT_SIGNED",
            Self::RevertConflicts { .. } => "SOURCE/REVERT_CONFLICTS",
            Self::Interrupted => "SOURCE/INTERRUPTED",
        }
    }

    /// Whether trying again may help without anybody doing anything; decides about back-off only.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::TimedOut { .. }
                | Self::PushContended { .. }
                | Self::Interrupted
        )
    }

    /// Whether it may come from damage of our own copy, which a new copy would mend.
    pub(super) fn is_damage(&self) -> bool {
        matches!(self, Self::Broken { .. })
    }

    /// Sorts what libgit2 says while it talks to a repository, or reads from a copy of it.
    pub(super) fn from_git(location: &str, error: git2::Error) -> Self {
        let location = location.to_owned();
        let message = error.message();
        match (error.code(), error.class()) {
            (ErrorCode::Auth, _) => Self::Credentials { location, source: error },
            (ErrorCode::Owner, _) => Self::Owner { location },
            (ErrorCode::Certificate, _) | (_, ErrorClass::Ssl) => {
                Self::Identity { location, reason: message.to_owned() }
            }
            (_, ErrorClass::Http) if message.contains("status code: 404") => {
                Self::NotFound { location, source: error }
            }
            (_, ErrorClass::Http)
                if ["401", "403", "too many redirects or authentication replays"]
                    .iter()
                    .any(|sign| message.contains(sign)) =>
            {
                Self::Credentials { location, source: error }
            }
            (ErrorCode::NotFound, ErrorClass::Repository | ErrorClass::Os) => {
                Self::NotFound { location, source: error }
            }
            (_, ErrorClass::Net | ErrorClass::Http | ErrorClass::Ssh | ErrorClass::Os) => {
                Self::Unreachable { location, source: error }
            }
            _ => Self::Broken { location, source: error },
        }
    }
}
