//! A commit as a tree: read from the object database, without a checkout.

use std::cell::RefCell;
use std::collections::BTreeMap;

use git2::{ObjectType, Oid, Repository};
use tidegate_core::snapshot::{Identity, Revision, Snapshot};

use super::{
    Error, catalog,
    walk::{Kind, Limits, Tree, Walk, join, parent},
};

/// Modes of git's tree entries (git-fast-import(1), "filemodify").
const MODE_LINK: i32 = 0o120_000;

/// The tree of one commit.
struct Objects<'repository> {
    repository: &'repository Repository,
    tree: git2::Tree<'repository>,
    /// The folder that was looked into last, by its path. libgit2 reads a large one anew for each of its files.
    last: RefCell<Option<(String, git2::Tree<'repository>)>>,
    /// For errors.
    location: &'repository str,
}

impl<'repository> Objects<'repository> {
    fn broken(&self, source: git2::Error) -> Error {
        Error::Broken { location: self.location.to_owned(), source }
    }

    fn kind_of(&self, entry: &git2::TreeEntry<'_>) -> Result<Kind, Error> {
        Ok(match entry.kind() {
            Some(ObjectType::Tree) => Kind::Folder,
            Some(ObjectType::Commit) => Kind::Submodule,
            Some(ObjectType::Blob) if entry.filemode() == MODE_LINK => {
                Kind::Link(self.content(entry.id())?)
            }
            Some(ObjectType::Blob) => Kind::File(self.size(entry.id())?),
            Some(ObjectType::Any | ObjectType::Tag) | None => Kind::Other,
        })
    }

    /// The size without the content, so that a file that is too large is never held.
    fn size(&self, id: Oid) -> Result<u64, Error> {
        let odb = self.repository.odb().map_err(|error| self.broken(error))?;
        let (size, _) = odb.read_header(id).map_err(|error| self.broken(error))?;
        Ok(u64::try_from(size).unwrap_or(u64::MAX))
    }

    fn content(&self, id: Oid) -> Result<Vec<u8>, Error> {
        let blob = self.repository.find_blob(id).map_err(|error| self.broken(error))?;
        Ok(blob.content().to_vec())
    }

    fn entry(&self, path: &str) -> Result<Option<git2::TreeEntry<'static>>, Error> {
        let folder = parent(path);
        if folder.is_empty() {
            return Ok(self.tree.get_name(path).map(|entry| entry.to_owned()));
        }
        let mut last = self.last.borrow_mut();
        if last.as_ref().is_none_or(|(known, _)| known != folder) {
            let Some(tree) = self.folder(folder)? else { return Ok(None) };
            *last = Some((folder.to_owned(), tree));
        }
        let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
        let found = last.as_ref().and_then(|(_, tree)| tree.get_name(name));
        Ok(found.map(|entry| entry.to_owned()))
    }

    /// The folder at a path; `None` when there is nothing, or no folder.
    fn folder(&self, path: &str) -> Result<Option<git2::Tree<'repository>>, Error> {
        let entry = match self.tree.get_path(path.as_ref()) {
            Ok(entry) => entry,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(self.broken(error)),
        };
        if entry.kind() != Some(ObjectType::Tree) {
            return Ok(None);
        }
        self.repository.find_tree(entry.id()).map(Some).map_err(|error| self.broken(error))
    }
}

/// `get_path` says the same of a name that is not there, and of an object that is lost; only the
/// class tells them apart.
fn is_absent(error: &git2::Error) -> bool {
    error.code() == git2::ErrorCode::NotFound && error.class() == git2::ErrorClass::Tree
}

impl Tree for Objects<'_> {
    fn entries(&self, folder: &str) -> Result<Vec<(Vec<u8>, Kind)>, Error> {
        let below;
        let tree = if folder.is_empty() {
            &self.tree
        } else {
            let Some(found) = self.folder(folder)? else { return Ok(Vec::new()) };
            below = found;
            &below
        };
        let mut entries = Vec::with_capacity(tree.len());
        for entry in tree {
            let name = entry.name_bytes().to_vec();
            // Hidden files are never loaded, so their objects are not looked at either.
            let kind = if name.first() == Some(&b'.') && name != super::IGNORE_FILE.as_bytes() {
                Kind::Other
            } else {
                self.kind_of(&entry)?
            };
            entries.push((name, kind));
        }
        Ok(entries)
    }

    fn kind(&self, path: &str) -> Result<Option<Kind>, Error> {
        if path.is_empty() {
            return Ok(Some(Kind::Folder));
        }
        self.entry(path)?.map(|entry| self.kind_of(&entry)).transpose()
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, Error> {
        let entry = self.entry(path)?.ok_or_else(|| Error::Folder {
            folder: parent(path).to_owned(),
            commit: self.tree.id().to_string(),
        })?;
        self.content(entry.id())
    }

    fn is_left_out(&self, _path: &str) -> bool {
        false
    }
}

/// All files of a site at a commit.
pub(super) fn snapshot(
    repository: &Repository,
    location: &str,
    commit: &str,
    folder: &str,
    limits: Limits,
) -> Result<Snapshot, Error> {
    let found = find(repository, location, commit)?;
    let broken = |source| Error::Broken { location: location.to_owned(), source };
    let tree = found.tree().map_err(broken)?;
    let objects = Objects { repository, tree, last: RefCell::default(), location };
    if objects.kind(folder)? != Some(Kind::Folder) {
        return Err(Error::Folder { folder: folder.to_owned(), commit: commit.to_owned() });
    }
    load(&objects, folder, limits, revision(&found))
}

/// Loads the site's folder, and then the catalogs that its `Site` document names.
pub(super) fn load(
    tree: &impl Tree,
    folder: &str,
    limits: Limits,
    revision: Revision,
) -> Result<Snapshot, Error> {
    let mut walk = Walk::new(tree, limits);
    walk.load(folder)?;
    let (folders, findings) = catalog::folders(&walk.files, folder);
    walk.findings.extend(findings);
    for named in folders {
        match tree.kind(&named.folder)? {
            Some(Kind::Folder) => walk.load(&named.folder)?,
            Some(Kind::File(_) | Kind::Link(_) | Kind::Submodule | Kind::Other) | None => {
                walk.findings.push(named.missing());
            }
        }
    }
    let Walk { files, mut findings, .. } = walk;
    findings.sort();
    findings.dedup();
    let (folder, earlier) = (folder.to_owned(), BTreeMap::new());
    Ok(Snapshot { revision, files, folder, findings, earlier })
}

/// A commit by its 40 digits.
pub(super) fn find<'repository>(
    repository: &'repository Repository,
    location: &str,
    commit: &str,
) -> Result<git2::Commit<'repository>, Error> {
    let unknown = || Error::Commit { commit: commit.to_owned() };
    let id = Oid::from_str(commit).map_err(|_| unknown())?;
    repository.find_commit(id).map_err(|error| {
        if error.code() == git2::ErrorCode::NotFound {
            return unknown();
        }
        Error::Broken { location: location.to_owned(), source: error }
    })
}

/// What git says of a commit. Times that no calendar has become the epoch.
pub(super) fn revision(commit: &git2::Commit<'_>) -> Revision {
    Revision {
        commit: commit.id().to_string(),
        committed_at: time(commit.time()),
        author: identity(&commit.author()),
        committer: identity(&commit.committer()),
        subject: commit
            .summary_bytes()
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .unwrap_or_default(),
    }
}

/// Git's time as ours; one that is out of range is the epoch.
pub(super) fn time(time: git2::Time) -> jiff::Timestamp {
    jiff::Timestamp::from_second(time.seconds()).unwrap_or_default()
}

/// A name and an address as git records them.
pub(super) fn identity(signature: &git2::Signature<'_>) -> Identity {
    Identity::new(
        String::from_utf8_lossy(signature.name_bytes()),
        String::from_utf8_lossy(signature.email_bytes()),
    )
}

/// Every path and object below a tree; for the branches that we write ourselves.
pub(super) fn blobs(
    repository: &Repository,
    tree: &git2::Tree<'_>,
) -> Result<Vec<(String, Oid)>, git2::Error> {
    fn below(
        repository: &Repository,
        tree: &git2::Tree<'_>,
        folder: &str,
        depth: usize,
        out: &mut Vec<(String, Oid)>,
    ) -> Result<(), git2::Error> {
        for entry in tree {
            let Ok(name) = std::str::from_utf8(entry.name_bytes()) else { continue };
            let path = join(folder, name);
            match entry.kind() {
                Some(ObjectType::Blob) if entry.filemode() != MODE_LINK => {
                    out.push((path, entry.id()));
                }
                Some(ObjectType::Tree) if depth < 8 => {
                    below(repository, &repository.find_tree(entry.id())?, &path, depth + 1, out)?;
                }
                _ => {}
            }
        }
        Ok(())
    }
    let mut out = Vec::new();
    below(repository, tree, "", 0, &mut out)?;
    Ok(out)
}
