//! A folder of this machine as a tree: for the commands that look at what is not committed yet.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use git2::Repository;
use sha2::{Digest, Sha256};
use tidegate_core::snapshot::{Identity, Revision, Snapshot};

use super::{
    Error,
    object::{self, load},
    walk::{Kind, Limits, Tree, join},
};

/// A folder, with the repository around it when there is one.
struct Files {
    /// The root of the working tree, or the folder itself.
    root: PathBuf,
    repository: Option<Repository>,
}

impl Files {
    fn path(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.root.clone() } else { self.root.join(path) }
    }

    fn kind_of(path: &Path) -> Result<Option<Kind>, Error> {
        let unreadable = |source| Error::Read { path: path.to_owned(), source };
        let found = match fs::symlink_metadata(path) {
            Ok(found) => found,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(unreadable(error)),
        };
        let kind = found.file_type();
        Ok(Some(if kind.is_symlink() {
            let target = fs::read_link(path).map_err(unreadable)?;
            Kind::Link(target.as_os_str().as_encoded_bytes().to_vec())
        } else if kind.is_dir() {
            // A working tree inside a working tree: a submodule, or a clone that git would not take.
            if path.join(".git").symlink_metadata().is_ok() {
                Kind::Submodule
            } else {
                Kind::Folder
            }
        } else if kind.is_file() {
            Kind::File(found.len())
        } else {
            Kind::Other
        }))
    }
}

impl Tree for Files {
    fn entries(&self, folder: &str) -> Result<Vec<(Vec<u8>, Kind)>, Error> {
        let path = self.path(folder);
        let unreadable = |source| Error::Read { path: path.clone(), source };
        let mut entries = Vec::new();
        for entry in fs::read_dir(&path).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            // A file may vanish between the two calls, as when an editor saves.
            if let Some(kind) = Self::kind_of(&entry.path())? {
                entries.push((entry.file_name().as_encoded_bytes().to_vec(), kind));
            }
        }
        Ok(entries)
    }

    /// Walks down name by name, so that a link in the middle of the path is not followed.
    fn kind(&self, path: &str) -> Result<Option<Kind>, Error> {
        let mut at = String::new();
        let mut found = Some(Kind::Folder);
        for name in path.split('/').filter(|name| !name.is_empty()) {
            if found != Some(Kind::Folder) {
                return Ok(None);
            }
            at = join(&at, name);
            found = Self::kind_of(&self.path(&at))?;
        }
        Ok(found)
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, Error> {
        let path = self.path(path);
        fs::read(&path).map_err(|source| Error::Read { path, source })
    }

    fn is_left_out(&self, path: &str) -> bool {
        let Some(repository) = &self.repository else { return false };
        let is_tracked =
            || repository.index().is_ok_and(|index| index.get_path(path.as_ref(), 0).is_some());
        repository.status_should_ignore(path.as_ref()).unwrap_or(false) && !is_tracked()
    }
}

/// All files of a site at a commit of the repository that is at a path or around it.
pub(super) fn committed(
    path: &Path,
    folder: &str,
    commit: &str,
    limits: Limits,
) -> Result<Snapshot, Error> {
    let location = path.display().to_string();
    let repository = Repository::discover(path)
        .map_err(|source| Error::Broken { location: location.clone(), source })?;
    object::snapshot(&repository, &location, commit, folder, limits)
}

/// All files of a site that lies in a folder, committed or not. In a repository whose files are all
/// committed, the revision is the commit.
pub(super) fn snapshot(path: &Path, limits: Limits) -> Result<Snapshot, Error> {
    let unreadable = |source| Error::Read { path: path.to_owned(), source };
    let path = path.canonicalize().map_err(unreadable)?;
    let repository = Repository::discover(&path).ok().filter(|found| found.workdir().is_some());
    let root = repository
        .as_ref()
        .and_then(|found| found.workdir()?.canonicalize().ok())
        .filter(|root| path.starts_with(root))
        .unwrap_or_else(|| path.clone());
    let folder = path
        .strip_prefix(&root)
        .unwrap_or(Path::new(""))
        .components()
        .map(|part| part.as_os_str().to_string_lossy())
        .collect::<Vec<_>>()
        .join("/");
    let files = Files { root, repository };
    if !path.is_dir() {
        let commit = path.display().to_string();
        return Err(Error::Folder { folder, commit });
    }
    let head = files.repository.as_ref().and_then(|repository| {
        repository.head().ok()?.peel_to_commit().ok().map(|commit| object::revision(&commit))
    });
    let is_clean = files.repository.as_ref().is_some_and(is_clean);
    let placeholder = Revision {
        commit: Revision::WORKTREE.to_owned(),
        committed_at: head.as_ref().map_or(jiff::Timestamp::UNIX_EPOCH, |head| head.committed_at),
        author: writer(files.repository.as_ref()),
        committer: writer(files.repository.as_ref()),
        subject: String::new(),
    };
    let mut snapshot = load(&files, &folder, limits, placeholder)?;
    match head {
        Some(head) if is_clean => snapshot.revision = head,
        _ => snapshot.revision.commit = format!("{}{}", Revision::WORKTREE, digest(&snapshot)),
    }
    Ok(snapshot)
}

/// Whether what lies in the working tree is what is committed.
fn is_clean(repository: &Repository) -> bool {
    let mut options = git2::StatusOptions::new();
    options.include_untracked(true).include_ignored(false).exclude_submodules(true);
    repository.statuses(Some(&mut options)).is_ok_and(|statuses| statuses.is_empty())
}

/// Who would commit: `user.name` and `user.email` of git's configuration.
fn writer(repository: Option<&Repository>) -> Identity {
    repository
        .and_then(|repository| repository.signature().ok())
        .map_or_else(|| Identity::new("", ""), |signature| object::identity(&signature))
}

/// 40 digits over paths and contents: the same files give the same revision on every machine.
fn digest(snapshot: &Snapshot) -> String {
    let mut hash = Sha256::new();
    for (path, content) in &snapshot.files {
        hash.update((path.len() as u64).to_be_bytes());
        hash.update(path);
        hash.update((content.len() as u64).to_be_bytes());
        hash.update(content);
    }
    let digest = format!("{:x}", hash.finalize());
    digest.get(..40).unwrap_or_default().to_owned()
}
