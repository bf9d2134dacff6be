//! The repository of a site: what it holds at a commit, what was approved there, and what we add to it.
//!
//! The only place that names git2. Everything here blocks, so it runs on tokio's blocking threads.
//! A mirror under the data folder holds all that was ever fetched; snapshots are read from its
//! objects, without a checkout. Nothing here decides anything: a history that was rewritten, or a
//! branch that is gone, is reported, and the caller keeps what it had.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use git2::Oid;
use tidegate_core::snapshot::{Identity, Revision, Snapshot};
use tidegate_schema::finding::Finding;

mod append;
mod approvals;
mod catalog;
mod connect;
mod error;
mod folder;
mod history;
mod known_hosts;
mod location;
mod mirror;
mod object;
mod repository;
mod revert;
mod scratch;
mod walk;

pub use append::{Append, Signer};
pub use approvals::{ApprovalFile, Approvals, SIGNATURE_END};
pub use connect::Credentials;
pub use error::Error;
pub use history::{Merge, SignedCommit};
pub use location::{Location, Unusable};
pub use repository::{clone_repository, commit_all, init_bare_repository, init_repository, push};
pub use revert::Revert;
pub use scratch::{Scratch, lay_out, scratch};
pub use walk::{IGNORE_FILE, Limits};

use mirror::Mirror;

/// Where a site's documents are, and how they are reached.
#[derive(Debug, Clone)]
pub struct SourceOptions {
    /// `file://`, a path, `https://`, `ssh://`, or `user@host:path`.
    pub url: String,
    /// The branch that the site follows.
    pub branch: String,
    /// The site's folder inside the repository; empty for the root.
    pub folder: String,
    /// Where our copy goes; its neighbours with `.new` and `.old` are used as well.
    pub cache: PathBuf,
    /// What is shown to the server.
    pub credentials: Credentials,
    /// What one site may hold.
    pub limits: Limits,
    /// How many bytes one fetch may bring.
    pub largest: u64,
    /// How long one conversation with the server may take.
    pub timeout: Duration,
    /// The branches that are read and written beside the site's own.
    pub branches: Branches,
    /// Signs the commits that we push; none is signed without it.
    pub signer: Option<Signer>,
}

impl SourceOptions {
    /// The branch `main`, the root folder, no credentials, 1 GiB, five minutes.
    pub fn new(url: impl Into<String>, cache: impl Into<PathBuf>) -> Self {
        Self {
            url: url.into(),
            branch: "main".to_owned(),
            folder: String::new(),
            cache: cache.into(),
            credentials: Credentials::default(),
            limits: Limits::default(),
            largest: 1 << 30,
            timeout: Duration::from_mins(5),
            branches: Branches::default(),
            signer: None,
        }
    }
}

/// The branches that Tidegate itself writes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branches {
    /// Approvals; append-only.
    pub approvals: String,
    /// What the site has reached.
    pub baseline: String,
}

impl Default for Branches {
    fn default() -> Self {
        Self {
            approvals: "tidegate/approvals".to_owned(),
            baseline: "tidegate/baseline".to_owned(),
        }
    }
}

/// Where the branch is after a fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The branch.
    pub branch: String,
    /// Its commit.
    pub revision: Revision,
    /// How it stands to the accepted commit.
    pub history: History,
    /// The accepted commit that it was compared with.
    pub accepted: Option<String>,
    /// The commit of the approvals branch.
    pub approvals: Option<String>,
    /// The commit of the baseline branch.
    pub baseline: Option<String>,
}

impl Head {
    /// The finding when the branch was rewritten or set back; such a head must not be followed
    /// until a person has acknowledged it.
    pub fn finding(&self) -> Option<Finding> {
        let code = match self.history {
            History::First | History::Same | History::Descends => return None,
            History::Older => "SOURCE/HISTORY_SET_BACK",
            History::Rewritten => "SOURCE/HISTORY_REWRITTEN",
        };
        Some(
            Finding::error(code)
                .with("branch", &self.branch)
                .with("commit", &self.revision.commit)
                .with("accepted", self.accepted.as_deref().unwrap_or_default()),
        )
    }
}

/// How a head stands to the commit that was accepted last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum History {
    /// Nothing was accepted yet.
    First,
    /// It is the accepted commit.
    Same,
    /// It follows the accepted commit.
    Descends,
    /// The accepted commit follows it: the branch was set back to a state that was once right.
    Older,
    /// Neither follows the other, or the accepted commit is gone.
    Rewritten,
}

/// One site's repository. Cheap to clone; clones share one copy.
#[derive(Debug, Clone)]
pub struct Source {
    mirror: Arc<Mirror>,
    timeout: Duration,
    /// One writer of the copy at a time. Held by the blocking thread, which may outlive its caller.
    writing: Arc<tokio::sync::Mutex<()>>,
    /// The approvals as last read, by the heads that they were read from.
    approvals: Arc<Mutex<Option<Arc<Approvals>>>>,
}

impl Source {
    /// Checks the options. Touches neither disk nor network.
    pub fn open(options: SourceOptions) -> Result<Self, Error> {
        let location = Location::parse(&options.url).map_err(Error::Address)?;
        for branch in [&options.branch, &options.branches.approvals, &options.branches.baseline] {
            if !git2::Reference::is_valid_name(&format!("refs/heads/{branch}")) {
                return Err(Error::BranchName(branch.clone()));
            }
        }
        let folder =
            tidegate_core::snapshot::resolve("", options.folder.trim_matches('/')).ok_or_else(
                || Error::Folder { folder: options.folder.clone(), commit: location.to_string() },
            )?;
        Ok(Self {
            mirror: Arc::new(Mirror {
                location,
                branch: options.branch,
                folder,
                path: options.cache,
                credentials: options.credentials,
                limits: options.limits,
                largest: options.largest,
                branches: options.branches,
                signer: options.signer,
            }),
            timeout: options.timeout,
            writing: Arc::default(),
            approvals: Arc::default(),
        })
    }

    /// The repository without secrets, for people.
    pub fn location(&self) -> &Location {
        &self.mirror.location
    }

    /// The site's branch.
    pub fn branch(&self) -> &str {
        &self.mirror.branch
    }

    /// The site's folder inside the repository.
    pub fn folder_path(&self) -> &str {
        &self.mirror.folder
    }

    /// The branches that Tidegate itself writes to.
    pub fn branches(&self) -> &Branches {
        &self.mirror.branches
    }

    /// Asks the remote where its branches are, and takes what is new. `accepted` is the commit that
    /// the site has accepted last.
    pub async fn fetch(&self, accepted: Option<&str>) -> Result<Head, Error> {
        let accepted = accepted.map(str::to_owned);
        self.writing(move |mirror, cancelled| {
            mirror.fetch(accepted.as_deref(), cancelled).map_err(|error| match (error, accepted) {
                (Error::BranchMissing { location, branch }, Some(last)) => {
                    Error::BranchDeleted { location, branch, last }
                }
                (error, _) => error,
            })
        })
        .await
    }

    /// All files of the site at a commit that was fetched.
    pub async fn snapshot(&self, commit: &str) -> Result<Snapshot, Error> {
        let commit = commit.to_owned();
        self.reading(move |mirror, repository| {
            let location = mirror.location.to_string();
            object::snapshot(repository, &location, &commit, &mirror.folder, mirror.limits)
        })
        .await
    }

    /// All files of a site in a folder of this machine, committed or not; for the commands.
    pub async fn folder(path: impl Into<PathBuf>) -> Result<Snapshot, Error> {
        let path = path.into();
        blocking(move || folder::snapshot(&path, Limits::default())).await
    }

    /// All files of a site at a commit of the repository that is at a path or around it; for the commands.
    pub async fn local(
        path: impl Into<PathBuf>,
        folder: impl Into<String>,
        commit: impl Into<String>,
    ) -> Result<Snapshot, Error> {
        let (path, folder, commit) = (path.into(), folder.into(), commit.into());
        blocking(move || folder::committed(&path, &folder, &commit, Limits::default())).await
    }

    /// Everybody who wrote or committed anything after `from` up to `to`, with those whom
    /// `Co-authored-by` trailers name; all of history when `from` is none, or when the copy has no such commit: a branch
    /// that was rewritten while the copy was lost may have been written by anybody who is in it.
    pub async fn authors(&self, from: Option<&str>, to: &str) -> Result<Vec<Identity>, Error> {
        let (from, to) = (from.map(str::to_owned), to.to_owned());
        self.reading(move |mirror, repository| {
            let from = from.and_then(|from| mirror.id(repository, &from).ok());
            let to = mirror.id(repository, &to)?;
            history::authors(repository, from, to).map_err(|source| mirror.broken(source))
        })
        .await
    }

    /// Commits of the followed branch after `from` up to `to` that say which plan they approve, newest first; only `to` itself
    /// when `from` is none, or when the copy has no such commit.
    pub async fn merges(&self, from: Option<&str>, to: &str) -> Result<Vec<Merge>, Error> {
        let (from, to) = (from.map(str::to_owned), to.to_owned());
        self.reading(move |mirror, repository| {
            let from = from.and_then(|from| mirror.id(repository, &from).ok());
            let to = mirror.id(repository, &to)?;
            history::merges(repository, from, to).map_err(|source| mirror.broken(source))
        })
        .await
    }

    /// Whether `head` is `ancestor`, or follows it.
    pub async fn descends_from(&self, head: &str, ancestor: &str) -> Result<bool, Error> {
        let (head, ancestor) = (head.to_owned(), ancestor.to_owned());
        self.reading(move |mirror, repository| {
            let head = mirror.id(repository, &head)?;
            let history = history::compare(repository, &ancestor, head)
                .map_err(|source| mirror.broken(source))?;
            Ok(matches!(history, History::Same | History::Descends))
        })
        .await
    }

    /// What git says of a commit: its time, its writers, its subject.
    pub async fn revision(&self, commit: &str) -> Result<Revision, Error> {
        let commit = commit.to_owned();
        self.reading(move |mirror, repository| {
            let found = object::find(repository, &mirror.location.to_string(), &commit)?;
            Ok(object::revision(&found))
        })
        .await
    }

    /// The committer's time of a commit.
    pub async fn commit_time(&self, commit: &str) -> Result<jiff::Timestamp, Error> {
        Ok(self.revision(commit).await?.committed_at)
    }

    /// The signature of a commit, for `signature::verify_commit`; `None` when it has none.
    pub async fn commit_signature(&self, commit: &str) -> Result<Option<SignedCommit>, Error> {
        let commit = commit.to_owned();
        self.reading(move |mirror, repository| {
            let id = mirror.id(repository, &commit)?;
            history::signature(repository, id).map_err(|source| mirror.broken(source))
        })
        .await
    }

    /// Every approval of the approvals branch as it was last fetched. Costs nothing when the branch
    /// has not moved.
    pub async fn approvals(&self) -> Result<Arc<Approvals>, Error> {
        let last = Arc::clone(&self.approvals);
        self.reading(move |mirror, repository| {
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            let branch = &mirror.branches.approvals;
            let head = mirror::seen(repository, branch);
            let text = head.map(|id| id.to_string());
            if let Some(last) =
                last.as_ref().filter(|last| last.head.is_some() && last.head == text)
            {
                return Ok(Arc::clone(last));
            }
            let read = approvals::read(repository, branch, head)
                .map_err(|source| mirror.broken(source))?;
            Ok(Arc::clone(last.insert(Arc::new(read))))
        })
        .await
    }

    /// Adds files to a branch of the remote, on top of what others add at the same time, and gives
    /// the commit. Doing it again adds nothing.
    pub async fn append(&self, what: Append) -> Result<String, Error> {
        let commit =
            self.writing(move |mirror, cancelled| append::append(mirror, &what, cancelled)).await?;
        // A branch without anything on it has no commit; nobody appends nothing.
        Ok(commit.unwrap_or_default())
    }

    /// Takes documents back on a branch of its own, for somebody to merge. Doing it again changes nothing. `false` when there
    /// is nothing left to take back.
    ///
    /// # Errors
    ///
    /// [`Error::RevertConflicts`] when later changes are in the way.
    pub async fn revert(&self, what: Revert) -> Result<bool, Error> {
        self.writing(move |mirror, cancelled| revert::revert(mirror, &what, cancelled)).await
    }

    /// Runs what writes to the copy: one at a time, cut off after the timeout. A thread that hangs
    /// in a system call can not be stopped; it keeps the lock, so that later calls time out as
    /// well instead of piling up threads.
    async fn writing<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Mirror, &Arc<AtomicBool>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let mirror = Arc::clone(&self.mirror);
        let cancelled = Arc::new(AtomicBool::new(false));
        let watched = Arc::clone(&cancelled);
        let writing = Arc::clone(&self.writing);
        let all = async move {
            let guard = writing.lock_owned().await;
            blocking(move || {
                let _guard = guard;
                work(&mirror, &watched)
            })
            .await
        };
        tokio::time::timeout(self.timeout, all).await.unwrap_or_else(|_| {
            cancelled.store(true, Ordering::Relaxed);
            Err(Error::TimedOut {
                location: self.mirror.location.to_string(),
                seconds: self.timeout.as_secs(),
            })
        })
    }

    /// Runs what reads from the copy. Damage that it finds makes the next fetch start anew.
    async fn reading<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Mirror, &git2::Repository) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let mirror = Arc::clone(&self.mirror);
        blocking(move || {
            let outcome = mirror.open().and_then(|repository| work(&mirror, &repository));
            if outcome.as_ref().is_err_and(Error::is_damage) {
                mirror.suspect();
            }
            outcome
        })
        .await
    }
}

impl Mirror {
    fn id(&self, repository: &git2::Repository, commit: &str) -> Result<Oid, Error> {
        Ok(object::find(repository, &self.location.to_string(), commit)?.id())
    }
}

/// git2 blocks: on files, on the network, on compression.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Error::Interrupted))
}

/// Whether a path is a repository of this machine, and not an address of a server.
pub fn is_local(url: &str) -> Option<PathBuf> {
    Location::parse(url).ok()?.local_path().map(Path::to_owned)
}

#[cfg(test)]
mod tests;
