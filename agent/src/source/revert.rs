//! Taking documents back on a branch of its own: what a release that was rolled back had brought, for somebody to merge.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use git2::{FileMode, Oid, Repository, build::TreeUpdateBuilder};
use tidegate_core::snapshot::Identity;

use super::append::{self, Words, Work};
use super::{Error, mirror::Mirror, object::find};

/// One commit on top of the followed branch that changes the site's folder from one revision back to another, and keeps what
/// came since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revert {
    /// The branch that is made; one that exists is left as it is.
    pub branch: String,
    /// The commit to stand on: the head of the followed branch.
    pub onto: String,
    /// The commit whose changes are taken back.
    pub from: String,
    /// The commit that the folder goes back to.
    pub to: String,
    /// The commit's message.
    pub message: String,
    /// Who takes back.
    pub by: Identity,
    /// When.
    pub at: jiff::Timestamp,
}

/// Makes the branch. `false` when there is nothing left to take back.
pub(super) fn revert(
    mirror: &Mirror,
    revert: &Revert,
    cancelled: &Arc<AtomicBool>,
) -> Result<bool, Error> {
    let work = On { revert, folder: &mirror.folder };
    Ok(append::append(mirror, &work, cancelled)?.is_some())
}

/// A revert in a site's folder.
struct On<'a> {
    revert: &'a Revert,
    folder: &'a str,
}

impl Work for On<'_> {
    fn branch(&self) -> &str {
        &self.revert.branch
    }

    fn commit(
        &self,
        mirror: &Mirror,
        repository: &Repository,
        parent: Option<Oid>,
    ) -> Result<Option<Oid>, Error> {
        if parent.is_some() {
            return Ok(None);
        }
        let broken = |source| mirror.broken(source);
        let location = mirror.location.to_string();
        let Revert { onto, from, to, branch, .. } = self.revert;
        let onto = find(repository, &location, onto)?;
        let from = find(repository, &location, from)?.tree().map_err(broken)?;
        let to = find(repository, &location, to)?.tree().map_err(broken)?;
        let back = with_folder(repository, &from, &to, self.folder).map_err(broken)?;
        let there = onto.tree().map_err(broken)?;
        let mut merged = repository.merge_trees(&from, &there, &back, None).map_err(broken)?;
        if merged.has_conflicts() {
            return Err(Error::RevertConflicts { branch: branch.clone() });
        }
        let tree = merged.write_tree_to(repository).map_err(broken)?;
        if tree == there.id() {
            return Ok(None);
        }
        let Revert { by, at, message, .. } = self.revert;
        let words = Words { by, at: *at, message };
        append::make(mirror, repository, &words, tree, &[&onto]).map(Some)
    }
}

/// A tree with one folder as another tree has it: other sites of the repository are none of our business.
fn with_folder<'a>(
    repository: &'a Repository,
    tree: &git2::Tree<'a>,
    other: &git2::Tree<'a>,
    folder: &str,
) -> Result<git2::Tree<'a>, git2::Error> {
    if folder.is_empty() {
        return Ok(other.clone());
    }
    let mut update = TreeUpdateBuilder::new();
    match other.get_path(Path::new(folder)) {
        Ok(entry) => update.upsert(folder, entry.id(), FileMode::Tree),
        Err(_) => update.remove(folder),
    };
    repository.find_tree(update.create_updated(repository, tree)?)
}
