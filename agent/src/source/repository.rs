//! Making repositories and commits: for `tidegate init`, the demo and the tests.

use std::path::Path;

use git2::{IndexAddOption, Repository, RepositoryInitOptions};
use tidegate_core::snapshot::Identity;

use super::{Error, append::signature};

fn wrong(path: &Path) -> impl Fn(git2::Error) -> Error {
    let location = path.display().to_string();
    move |error| Error::from_git(&location, error)
}

/// Makes an empty repository with a working tree, whose first branch is `main`. One that exists
/// stays as it is.
pub fn init_repository(folder: &Path) -> Result<(), Error> {
    init(folder, false)
}

/// Makes an empty repository without a working tree, such as one that several people push to.
pub fn init_bare_repository(folder: &Path) -> Result<(), Error> {
    init(folder, true)
}

fn init(folder: &Path, is_bare: bool) -> Result<(), Error> {
    let mut options = RepositoryInitOptions::new();
    options.bare(is_bare).initial_head("main").external_template(false);
    Repository::init_opts(folder, &options).map_err(wrong(folder))?;
    Ok(())
}

/// Commits every file of the working tree to the branch that is checked out, and gives the commit.
/// What `.gitignore` names stays out; what was removed is removed. It commits even when nothing
/// has changed.
pub fn commit_all(
    folder: &Path,
    message: &str,
    by: &Identity,
    at: jiff::Timestamp,
) -> Result<String, Error> {
    let commit = || -> Result<String, git2::Error> {
        let repository = Repository::open(folder)?;
        let mut index = repository.index()?;
        index.add_all(["*"], IndexAddOption::DEFAULT, None)?;
        index.update_all(["*"], None)?;
        index.write()?;
        let tree = repository.find_tree(index.write_tree()?)?;
        let parent = match repository.head() {
            Ok(head) => Some(head.peel_to_commit()?),
            Err(error) if error.code() == git2::ErrorCode::UnbornBranch => None,
            Err(error) => return Err(error),
        };
        let by = signature(by, at)?;
        let parents: Vec<&git2::Commit<'_>> = parent.iter().collect();
        let id = repository.commit(Some("HEAD"), &by, &by, message, &tree, &parents)?;
        Ok(id.to_string())
    };
    commit().map_err(wrong(folder))
}

/// Clones a repository of this machine into a new folder with a working tree. An empty repository gives an empty one, whose
/// first branch is `main`.
pub fn clone_repository(from: &Path, to: &Path) -> Result<(), Error> {
    init_repository(to)?;
    let add = || -> Result<(), git2::Error> {
        let repository = Repository::open(to)?;
        let mut remote = repository.remote("origin", &from.display().to_string())?;
        remote.fetch(&["+refs/heads/*:refs/remotes/origin/*"], None, None)?;
        if let Ok(main) = repository.find_reference("refs/remotes/origin/main") {
            let commit = main.peel_to_commit()?;
            repository.branch("main", &commit, true)?;
            repository.checkout_head(Some(git2::build::CheckoutBuilder::new().force()))?;
        }
        Ok(())
    };
    add().map_err(wrong(to))
}

/// Pushes a branch to the repository that this one was cloned from. What would not fast-forward is refused.
pub fn push(folder: &Path, branch: &str) -> Result<(), Error> {
    let push = || -> Result<(), git2::Error> {
        let repository = Repository::open(folder)?;
        let mut remote = repository.find_remote("origin")?;
        remote.push(&[format!("refs/heads/{branch}:refs/heads/{branch}")], None)
    };
    push().map_err(wrong(folder))
}
