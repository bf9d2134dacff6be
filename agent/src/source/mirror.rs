//! Our own bare copy of the repository, under the data folder: the only thing that commits are read from.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

use git2::{Direction, Oid, Repository, RepositoryInitOptions};

use super::{
    Branches, Credentials, Error, Head, History, Signer, connect::Conversation, history,
    location::Location, object, walk::Limits,
};

/// Present while objects are being written. Found when opening, it says that the process died in
/// between, and that nothing in the copy may be believed.
const MARKER: &str = "tidegate-fetching";

/// Where the branches of the remote are kept.
const SEEN: &str = "refs/remotes/origin/";

/// What one site reads from.
#[derive(Debug)]
pub(super) struct Mirror {
    pub(super) location: Location,
    pub(super) branch: String,
    pub(super) folder: String,
    pub(super) path: PathBuf,
    pub(super) credentials: Credentials,
    pub(super) limits: Limits,
    pub(super) largest: u64,
    pub(super) branches: Branches,
    pub(super) signer: Option<Signer>,
}

impl Mirror {
    /// Brings the copy up to date, or makes it anew when it is damaged.
    pub(super) fn fetch(
        &self,
        accepted: Option<&str>,
        cancelled: &Arc<AtomicBool>,
    ) -> Result<Head, Error> {
        let attempt = self.intact().map(|repository| {
            self.fetch_into(&repository, cancelled)?;
            self.head(&repository, accepted)
        });
        match attempt {
            Some(Err(error)) if error.is_damage() => {
                tracing::warn!(code = error.code(), "the copy of the repository is damaged");
            }
            Some(outcome) => return outcome,
            None => {}
        }
        let repository = self.renew(cancelled)?;
        self.head(&repository, accepted)
    }

    /// The copy for reading; it may be old.
    pub(super) fn open(&self) -> Result<Repository, Error> {
        Repository::open_bare(&self.path).map_err(|error| Error::Cache {
            path: self.path.clone(),
            source: io::Error::other(error.message().to_owned()),
        })
    }

    /// Says that reading found damage, so that the next fetch makes the copy anew.
    pub(super) fn suspect(&self) {
        if let Err(error) = fs::write(self.path.join(MARKER), b"") {
            tracing::warn!(%error, "failed to mark the copy of the repository as damaged");
        }
    }

    fn cache(&self, source: io::Error) -> Error {
        Error::Cache { path: self.path.clone(), source }
    }

    /// The copy, when no process died while it wrote to it, and it is of the same repository.
    fn intact(&self) -> Option<Repository> {
        if self.path.join(MARKER).exists() {
            return None;
        }
        let repository = Repository::open_bare(&self.path).ok()?;
        let origin = repository.find_remote("origin").ok()?.url().ok()?.to_owned();
        (origin == self.location.to_string()).then_some(repository)
    }

    /// Makes the copy anew beside the old one, which stays until the new one is whole; so a remote
    /// that does not answer takes nothing away.
    fn renew(&self, cancelled: &Arc<AtomicBool>) -> Result<Repository, Error> {
        let beside = beside(&self.path, "new");
        remove(&beside).map_err(|error| self.cache(error))?;
        if let Some(parent) = self.path.parent() {
            fs::create_dir_all(parent).map_err(|error| self.cache(error))?;
        }
        let fresh = self.initialise(&beside)?;
        self.fetch_into(&fresh, cancelled)?;
        self.keep_history(&fresh);
        drop(fresh);
        let old = beside_old(&self.path);
        remove(&old).map_err(|error| self.cache(error))?;
        if self.path.exists() {
            fs::rename(&self.path, &old).map_err(|error| self.cache(error))?;
        }
        fs::rename(&beside, &self.path).map_err(|error| self.cache(error))?;
        remove(&old).map_err(|error| self.cache(error))?;
        self.open()
    }

    fn initialise(&self, path: &Path) -> Result<Repository, Error> {
        let unusable =
            |error: git2::Error| self.cache(io::Error::other(error.message().to_owned()));
        let mut options = RepositoryInitOptions::new();
        options.bare(true).external_template(false);
        let repository = Repository::init_opts(path, &options).map_err(unusable)?;
        repository.remote("origin", &self.location.to_string()).map_err(unusable)?;
        Ok(repository)
    }

    /// A copy of its own for what we push, so that the one that is read from holds only what the
    /// remote really has. It sees the objects of that one.
    pub(super) fn outbox(&self) -> Result<Repository, Error> {
        let path = beside(&self.path, "outbox");
        let repository = if let Ok(repository) = Repository::open_bare(&path) {
            repository
        } else {
            remove(&path).map_err(|error| self.cache(error))?;
            fs::create_dir_all(&path).map_err(|error| self.cache(error))?;
            self.initialise(&path)?
        };
        if let Some(objects) = self.path.join("objects").to_str() {
            let odb = repository.odb().map_err(|source| self.broken(source))?;
            odb.add_disk_alternate(objects).map_err(|source| self.broken(source))?;
        }
        Ok(repository)
    }

    /// Takes over what only the old copy still knows: the commits of a history that was rewritten
    /// since, among them approvals. Nothing depends on it, so a damaged copy gives nothing.
    fn keep_history(&self, fresh: &Repository) {
        let Some(old) = self.path.to_str().filter(|_| self.path.exists()) else { return };
        let kept = fresh.remote_anonymous(old).and_then(|mut remote| {
            let mut options = git2::FetchOptions::new();
            options.download_tags(git2::AutotagOption::None).update_fetchhead(false);
            remote.fetch(&["+refs/tidegate/*:refs/tidegate/*"], Some(&mut options), None)
        });
        if let Err(error) = kept {
            tracing::debug!(error = error.message(), "the old copy gave no history");
        }
    }

    /// Asks the remote for its branches, and takes what is new in those that we follow.
    fn fetch_into(
        &self,
        repository: &Repository,
        cancelled: &Arc<AtomicBool>,
    ) -> Result<(), Error> {
        let conversation = Conversation::new(
            &self.location,
            &self.credentials,
            self.largest,
            Arc::clone(cancelled),
        );
        let wrong = |error| conversation.error(error);
        let mut remote = repository.remote_anonymous(&self.location.for_git()).map_err(wrong)?;
        let mut connection = remote
            .connect_auth(
                Direction::Fetch,
                Some(conversation.callbacks()),
                Some(Conversation::proxy()),
            )
            .map_err(wrong)?;
        let offered = offered(connection.list().map_err(wrong)?);
        let wanted: Vec<&String> =
            [&self.branch, &self.branches.approvals, &self.branches.baseline]
                .into_iter()
                .filter(|branch| {
                    let theirs = offered.get(*branch);
                    theirs.is_some() && theirs != seen(repository, branch).as_ref()
                })
                .collect();
        if !wanted.is_empty() {
            self.receive(repository, connection.remote(), &wanted, &conversation)?;
        }
        drop(connection);
        self.keep(repository)?;
        for branch in [&self.branches.approvals, &self.branches.baseline] {
            if !offered.contains_key(branch) {
                self.forget(repository, branch)?;
            }
        }
        if offered.contains_key(&self.branch) {
            return Ok(());
        }
        let location = self.location.to_string();
        Err(match seen(repository, &self.branch) {
            _ if offered.is_empty() => Error::Empty { location },
            Some(last) => Error::BranchDeleted {
                location,
                branch: self.branch.clone(),
                last: last.to_string(),
            },
            None => Error::BranchMissing { location, branch: self.branch.clone() },
        })
    }

    fn receive(
        &self,
        repository: &Repository,
        remote: &mut git2::Remote<'_>,
        wanted: &[&String],
        conversation: &Conversation,
    ) -> Result<(), Error> {
        let marker = repository.path().join(MARKER);
        let specs: Vec<String> =
            wanted.iter().map(|branch| format!("+refs/heads/{branch}:{SEEN}{branch}")).collect();
        fs::write(&marker, b"").map_err(|error| self.cache(error))?;
        let received = remote
            .fetch(&specs, Some(&mut conversation.fetch_options()), None)
            .map_err(|error| conversation.error(error));
        // A fetch that failed in an orderly way has written no reference; libgit2 renames a pack
        // into place only when it is whole. Only a process that died leaves the marker.
        fs::remove_file(&marker).map_err(|error| self.cache(error))?;
        received
    }

    /// Pins the heads of the approvals branch, so that a rewritten history stays readable.
    fn keep(&self, repository: &Repository) -> Result<(), Error> {
        let Some(head) = seen(repository, &self.branches.approvals) else { return Ok(()) };
        history::keep_approvals(repository, head).map_err(|source| self.broken(source))
    }

    /// Drops our note of a branch that the remote has no longer; pinned heads stay.
    fn forget(&self, repository: &Repository, branch: &str) -> Result<(), Error> {
        match repository.find_reference(&format!("{SEEN}{branch}")) {
            Ok(mut reference) => reference.delete().map_err(|source| self.broken(source)),
            Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(()),
            Err(source) => Err(self.broken(source)),
        }
    }

    pub(super) fn broken(&self, source: git2::Error) -> Error {
        Error::Broken { location: self.location.to_string(), source }
    }

    /// Where the branch is now, against what the site has accepted.
    fn head(&self, repository: &Repository, accepted: Option<&str>) -> Result<Head, Error> {
        let location = self.location.to_string();
        let id = seen(repository, &self.branch).ok_or_else(|| Error::BranchMissing {
            location: location.clone(),
            branch: self.branch.clone(),
        })?;
        // A commit that a reference names and that cannot be found is damage: libgit2 takes a pack
        // that was cut off for one that is not there.
        let commit = repository.find_commit(id).map_err(|source| self.broken(source))?;
        // Reading the root shows a pack that was cut off, before anybody plans from it.
        commit.tree().map_err(|source| self.broken(source))?;
        let history = match accepted {
            None => History::First,
            Some(accepted) => {
                history::compare(repository, accepted, id).map_err(|source| self.broken(source))?
            }
        };
        let text = |branch: &str| seen(repository, branch).map(|id| id.to_string());
        Ok(Head {
            branch: self.branch.clone(),
            revision: object::revision(&commit),
            history,
            accepted: accepted.map(str::to_owned),
            approvals: text(&self.branches.approvals),
            baseline: text(&self.branches.baseline),
        })
    }
}

/// The commit that a branch of the remote had when it was last seen.
pub(super) fn seen(repository: &Repository, branch: &str) -> Option<Oid> {
    repository.refname_to_id(&format!("{SEEN}{branch}")).ok()
}

/// The branches that a remote has.
fn offered(heads: &[git2::RemoteHead<'_>]) -> BTreeMap<String, Oid> {
    heads
        .iter()
        .filter_map(|head| Some((head.name().strip_prefix("refs/heads/")?.to_owned(), head.oid())))
        .collect()
}

/// A neighbour of the copy, on the same file system, so that renaming is one step.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(end);
    path.with_file_name(name)
}

fn beside_old(path: &Path) -> PathBuf {
    beside(path, "old")
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
