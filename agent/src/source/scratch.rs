//! Repositories to try things out in: they see the objects of others, and nothing is ever written to those.

use std::fs;
use std::path::{Path, PathBuf};

use git2::{Oid, Repository, RepositoryInitOptions};
use tidegate_core::snapshot::Snapshot;

use super::Error;
use super::append::signature;

/// What the branch `main` of a scratch repository holds.
#[derive(Clone, Copy, Debug)]
pub enum Scratch<'a> {
    /// A commit of one of the lenders.
    Commit(&'a str),
    /// These files, committed on top of others. Of those that no lender has, none is a parent.
    Files {
        /// The files.
        snapshot: &'a Snapshot,
        /// Commits of lenders.
        onto: &'a [&'a str],
    },
}

/// Makes a bare repository in a folder that sees the objects of the lenders: repositories at these paths or around them,
/// where there are any. Gives the commit of its branch `main`.
///
/// # Errors
///
/// When it cannot be made, or no lender has the commit.
pub fn scratch(folder: &Path, lenders: &[PathBuf], holds: Scratch<'_>) -> Result<String, Error> {
    let location = folder.display().to_string();
    let wrong = |error| Error::from_git(&location, error);
    let mut options = RepositoryInitOptions::new();
    options.bare(true).initial_head("main").external_template(false);
    let repository = Repository::init_opts(folder, &options).map_err(wrong)?;
    let lent: Vec<PathBuf> = lenders.iter().filter_map(|path| objects(path)).collect();
    let lines: Vec<String> = lent.iter().map(|path| path.display().to_string()).collect();
    let alternates = folder.join("objects").join("info").join("alternates");
    let unwritable = |source| Error::Cache { path: alternates.clone(), source };
    fs::create_dir_all(folder.join("objects").join("info")).map_err(unwritable)?;
    fs::write(&alternates, lines.join("\n") + "\n").map_err(unwritable)?;
    drop(repository);
    // The list of lenders is read when a repository is opened.
    let repository = Repository::open_bare(folder).map_err(wrong)?;
    let find = |commit: &str| {
        let unknown = || Error::Commit { commit: commit.to_owned() };
        let id = Oid::from_str(commit).map_err(|_| unknown())?;
        repository.find_commit(id).map_err(|_| unknown())
    };
    let id = match holds {
        Scratch::Commit(commit) => find(commit)?.id(),
        Scratch::Files { snapshot, onto } => {
            let parents: Vec<_> = onto.iter().filter_map(|commit| find(commit).ok()).collect();
            commit(&repository, snapshot, &parents).map_err(wrong)?
        }
    };
    repository.reference("refs/heads/main", id, true, "scratch").map_err(wrong)?;
    Ok(id.to_string())
}

/// Lays out a new repository with a working tree, whose branch `main` is at a commit of the first lender that has it, with all
/// of its history and nothing that came after.
///
/// # Errors
///
/// When no lender has the commit, or it cannot be made.
pub fn lay_out(folder: &Path, lenders: &[PathBuf], commit: &str) -> Result<(), Error> {
    let location = folder.display().to_string();
    let wrong = |error| Error::from_git(&location, error);
    let unknown = || Error::Commit { commit: commit.to_owned() };
    let id = Oid::from_str(commit).map_err(|_| unknown())?;
    let mut opened = lenders.iter().filter_map(|path| Repository::discover(path).ok());
    let lender = opened.find(|it| it.find_commit(id).is_ok()).ok_or_else(unknown)?;
    let copy = || -> Result<(), git2::Error> {
        let mut walk = lender.revwalk()?;
        walk.push(id)?;
        let mut pack = lender.packbuilder()?;
        pack.insert_walk(&mut walk)?;
        let mut bytes = git2::Buf::new();
        pack.write_buf(&mut bytes)?;
        super::init_repository(folder)
            .map_err(|error| git2::Error::from_str(&error.to_string()))?;
        let fresh = Repository::open(folder)?;
        let database = fresh.odb()?;
        let mut writer = database.packwriter()?;
        let written = std::io::Write::write_all(&mut writer, &bytes);
        written.map_err(|error| git2::Error::from_str(&error.to_string()))?;
        writer.commit()?;
        fresh.reference("refs/heads/main", id, true, "as delivered")?;
        fresh.set_head("refs/heads/main")?;
        fresh.checkout_head(Some(git2::build::CheckoutBuilder::new().force()))
    };
    copy().map_err(wrong)
}

/// Where the repository at a path or around it keeps its objects.
fn objects(path: &Path) -> Option<PathBuf> {
    let repository = Repository::discover(path).ok()?;
    let objects = repository.commondir().join("objects");
    objects.canonicalize().ok()
}

fn commit(
    repository: &Repository,
    snapshot: &Snapshot,
    parents: &[git2::Commit<'_>],
) -> Result<Oid, git2::Error> {
    let mut index = git2::Index::new()?;
    for (path, content) in &snapshot.files {
        let id = repository.blob(content)?;
        index.add(&git2::IndexEntry {
            ctime: git2::IndexTime::new(0, 0),
            mtime: git2::IndexTime::new(0, 0),
            dev: 0,
            ino: 0,
            mode: 0o100_644,
            uid: 0,
            gid: 0,
            file_size: 0,
            id,
            flags: 0,
            flags_extended: 0,
            path: path.clone().into_bytes(),
        })?;
    }
    let tree = repository.find_tree(index.write_tree_to(repository)?)?;
    let revision = &snapshot.revision;
    let author = signature(&revision.author, revision.committed_at)?;
    let committer = signature(&revision.committer, revision.committed_at)?;
    let parents: Vec<_> = parents.iter().collect();
    let subject = if revision.subject.is_empty() { "scratch" } else { &revision.subject };
    repository.commit(None, &author, &committer, subject, &tree, &parents)
}
