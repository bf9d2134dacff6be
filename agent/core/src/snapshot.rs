//! What was loaded: all files of one revision of a site's repository, in memory.

use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_schema::finding::Finding;

/// Who made a commit, as git records it. It proves nothing: anybody can write any name. Approvals
/// are bound to keys; this only says whom to *exclude* as an author.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// The name, such as `Li Na`.
    pub name: String,
    /// The address, such as `li.na@bank.example`; compared without regard to case.
    pub email: String,
}

impl Identity {
    /// A name with an address.
    pub fn new(name: impl Into<String>, email: impl Into<String>) -> Self {
        Self { name: name.into(), email: email.into() }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} <{}>", self.name, self.email)
    }
}

/// The commit that a snapshot was taken of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// 40 hexadecimal digits, or `worktree-` and a digest of the files for a folder whose files are
    /// not committed. Only the first kind can be accepted by an agent.
    pub commit: String,
    /// The committer's time. Written by whoever made the commit, so it orders nothing.
    pub committed_at: jiff::Timestamp,
    /// Who wrote the change.
    pub author: Identity,
    /// Who made the commit.
    pub committer: Identity,
    /// The first line of the message.
    pub subject: String,
}

impl Revision {
    /// Starts the name of a revision that is no commit.
    pub const WORKTREE: &'static str = "worktree-";

    /// Whether this is a commit, and not the uncommitted files of a folder.
    pub fn is_committed(&self) -> bool {
        !self.commit.starts_with(Self::WORKTREE)
    }

    /// The first 12 digits of the commit, which is how people are shown it.
    pub fn short(&self) -> &str {
        let digits = self.commit.strip_prefix(Self::WORKTREE).unwrap_or(&self.commit);
        digits.get(..12).unwrap_or(digits)
    }
}

/// All files of one revision that may carry documents, or that documents may name.
///
/// Hidden files, what `.tidegateignore` names, and what the source refused are absent; for the
/// latter there is a finding. A snapshot with findings of severity error must not be planned from:
/// what is missing from it is missing because it was refused, not because somebody removed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Of which commit.
    pub revision: Revision,
    /// The content by path. Paths are relative to the root of the repository, with `/`. There are
    /// files of the site's folder, and of the catalogs that the site names.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The site's folder inside the repository, with `/`, without one at either end; empty for the root.
    pub folder: String,
    /// What the source refused: `SOURCE/…`.
    pub findings: Vec<Finding>,
    /// The releases that operations of this revision go back to, by their ids. One that is not in it was not looked up:
    /// only an agent knows its releases.
    pub earlier: BTreeMap<String, Earlier>,
}

/// What an agent knows of a release that an operation goes back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Earlier {
    /// It ended well.
    Delivered {
        /// When it started: its documents are read as of then.
        at: jiff::Timestamp,
        /// Its revision.
        snapshot: Box<Snapshot>,
    },
    /// There is no such release.
    Unknown,
    /// It has not ended, or did not end well: how it stands, as `tidegate releases list` shows it.
    NotDelivered(String),
    /// Its revision cannot be read: why.
    Unreadable(String),
}

impl Snapshot {
    /// The path inside the site's folder, or `None` for a file elsewhere in the repository, such
    /// as one of a catalog that several sites share.
    pub fn within_folder<'path>(&self, path: &'path str) -> Option<&'path str> {
        if self.folder.is_empty() {
            return Some(path);
        }
        path.strip_prefix(self.folder.as_str())?.strip_prefix('/')
    }

    /// Whether the source refused nothing, so that the snapshot is the whole truth of its revision.
    pub fn is_complete(&self) -> bool {
        !self.findings.iter().any(Finding::is_error)
    }
}

/// A relative path from a folder of the repository, from its root, with `.` and `..` taken out; `None` when it is absolute or
/// leaves the repository.
pub fn resolve(folder: &str, path: &str) -> Option<String> {
    if path.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_never_leaves_the_repository() {
        assert_eq!(resolve("sites/hz", "../../catalog").as_deref(), Some("catalog"));
        assert_eq!(resolve("sites/hz", "../../../catalog"), None);
        assert_eq!(resolve("", "a/../../b"), None);
        assert_eq!(resolve("", "/a"), None);
        assert_eq!(resolve("a", ".//b/.").as_deref(), Some("a/b"));
    }

    fn snapshot(folder: &str) -> Snapshot {
        let who = Identity::new("Li Na", "li.na@bank.example");
        Snapshot {
            revision: Revision {
                commit: "worktree-0123456789abcdef".to_owned(),
                committed_at: jiff::Timestamp::UNIX_EPOCH,
                author: who.clone(),
                committer: who,
                subject: String::new(),
            },
            files: BTreeMap::new(),
            folder: folder.to_owned(),
            findings: Vec::new(),
            earlier: BTreeMap::new(),
        }
    }

    #[test]
    fn a_neighbour_with_the_same_prefix_is_outside_the_folder() {
        let site = snapshot("sites/hz");
        assert_eq!(site.within_folder("sites/hz/site.yaml"), Some("site.yaml"));
        assert_eq!(site.within_folder("sites/hz2/site.yaml"), None);
        assert_eq!(snapshot("").within_folder("sites/hz2/site.yaml"), Some("sites/hz2/site.yaml"));
    }

    #[test]
    fn a_warning_leaves_a_snapshot_complete_and_an_error_does_not() {
        let mut site = snapshot("");
        site.findings.push(Finding::warning("SOURCE/CASE_COLLISION"));
        assert!(site.is_complete());
        site.findings.push(Finding::error("SOURCE/SUBMODULE"));
        assert!(!site.is_complete());
    }

    #[test]
    fn a_revision_that_is_no_commit_says_so() {
        let revision = snapshot("").revision;
        assert!(!revision.is_committed());
        assert_eq!(revision.short(), "0123456789ab");
    }
}
