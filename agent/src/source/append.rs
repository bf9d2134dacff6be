//! Adding files to a branch of the remote while others may do the same: approvals and baselines.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use git2::{
    Direction, ErrorCode, FileMode, Oid, Repository, Signature, Time, build::TreeUpdateBuilder,
};
use rand_core::{OsRng, RngCore as _};
use tidegate_core::backoff::Backoff;
use tidegate_core::snapshot::Identity;

use super::{Error, connect::Conversation, mirror::Mirror};

/// How often somebody else may be faster before we give up: with the waits in between, seconds.
const ATTEMPTS: u32 = 16;

/// The waits between attempts. Whoever is faster holds the branch's lock while it works; on a machine with much to do it may
/// hold it for longer than all attempts take in a row.
const BETWEEN: Backoff = Backoff {
    interval: Duration::from_millis(5),
    longest: Duration::from_millis(400),
    jitter: 1000,
};

/// One commit on top of a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// The branch; made when it does not exist.
    pub branch: String,
    /// Content by path.
    pub files: Vec<(String, Vec<u8>)>,
    /// The commit's message.
    pub message: String,
    /// Who appends.
    pub by: Identity,
    /// When.
    pub at: jiff::Timestamp,
    /// Whether a file of the same name may be replaced: not on the approvals branch.
    pub may_replace: bool,
}

/// What becomes one commit on a branch of the remote.
pub(super) trait Work {
    /// The branch; made when it does not exist.
    fn branch(&self) -> &str;

    /// Makes the commit, on top of `parent` where the branch exists. `None` when the branch holds all of it already, so that
    /// work that was cut off after the push can be done again.
    fn commit(
        &self,
        mirror: &Mirror,
        repository: &Repository,
        parent: Option<Oid>,
    ) -> Result<Option<Oid>, Error>;
}

/// What signs the commits that we push: their signature, or why there is none.
#[derive(Clone)]
pub struct Signer(Arc<Sign>);

/// Signs a commit.
type Sign = dyn Fn(&[u8]) -> Result<String, String> + Send + Sync;

impl Signer {
    /// Signs by a function, which is given the commit without its signature.
    pub fn new(sign: impl Fn(&[u8]) -> Result<String, String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(sign))
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer")
    }
}

/// What a commit says, beside its tree.
pub(super) struct Words<'a> {
    pub(super) by: &'a Identity,
    pub(super) at: jiff::Timestamp,
    pub(super) message: &'a str,
}

/// Makes a commit that no reference names yet, signed where there is a key.
pub(super) fn make(
    mirror: &Mirror,
    repository: &Repository,
    words: &Words<'_>,
    tree: Oid,
    parents: &[&git2::Commit<'_>],
) -> Result<Oid, Error> {
    let broken = |source| mirror.broken(source);
    let tree = repository.find_tree(tree).map_err(broken)?;
    let by = signature(words.by, words.at).map_err(broken)?;
    let Some(Signer(sign)) = &mirror.signer else {
        return repository.commit(None, &by, &by, words.message, &tree, parents).map_err(broken);
    };
    let text =
        repository.commit_create_buffer(&by, &by, words.message, &tree, parents).map_err(broken)?;
    let signed = sign(&text).map_err(Error::Unsigned)?;
    let text = String::from_utf8_lossy(&text);
    repository.commit_signed(&text, &signed, None).map_err(broken)
}

/// How one attempt ended.
enum Attempt {
    /// The branch has this commit; none where there is neither a branch nor anything to put on it.
    Done(Option<Oid>),
    /// Somebody else was faster.
    Overtaken,
}

impl Work for Append {
    fn branch(&self) -> &str {
        &self.branch
    }

    fn commit(
        &self,
        mirror: &Mirror,
        repository: &Repository,
        parent: Option<Oid>,
    ) -> Result<Option<Oid>, Error> {
        let broken = |source| mirror.broken(source);
        let parent = parent.map(|id| repository.find_commit(id)).transpose().map_err(broken)?;
        let before = parent.as_ref().map(git2::Commit::tree).transpose().map_err(broken)?;
        let mut update = TreeUpdateBuilder::new();
        for (path, content) in &self.files {
            let content = repository.blob(content).map_err(broken)?;
            let there = before
                .as_ref()
                .and_then(|tree| tree.get_path(Path::new(path)).ok())
                .map(|entry| entry.id());
            if there.is_some_and(|there| there != content) && !self.may_replace {
                return Err(Error::Exists { branch: self.branch.clone(), path: path.clone() });
            }
            update.upsert(path.as_str(), content, FileMode::Blob);
        }
        let empty;
        let base = if let Some(tree) = &before {
            tree
        } else {
            let id = repository.treebuilder(None).and_then(|it| it.write()).map_err(broken)?;
            empty = repository.find_tree(id).map_err(broken)?;
            &empty
        };
        let tree = update.create_updated(repository, base).map_err(broken)?;
        if before.as_ref().is_some_and(|before| before.id() == tree) {
            return Ok(None);
        }
        let parents: Vec<&git2::Commit<'_>> = parent.iter().collect();
        let words = Words { by: &self.by, at: self.at, message: &self.message };
        make(mirror, repository, &words, tree, &parents).map(Some)
    }
}

/// Git's form of a name, an address and a time; UTC.
pub(super) fn signature(
    by: &Identity,
    at: jiff::Timestamp,
) -> Result<Signature<'static>, git2::Error> {
    // Git refuses empty names and addresses, and those with angle brackets.
    let clean = |text: &str, otherwise: &str| {
        let text: String =
            text.chars().filter(|it| !matches!(it, '<' | '>') && !it.is_control()).collect();
        if text.trim().is_empty() { otherwise.to_owned() } else { text }
    };
    Signature::new(
        &clean(&by.name, "tidegate"),
        &clean(&by.email, "tidegate@localhost"),
        &Time::new(at.as_second(), 0),
    )
}

/// Appends, and gives the commit that the branch then has; none where there is neither a branch nor anything to put on it.
pub(super) fn append(
    mirror: &Mirror,
    work: &impl Work,
    cancelled: &Arc<AtomicBool>,
) -> Result<Option<String>, Error> {
    let branch = work.branch();
    if !git2::Reference::is_valid_name(&format!("refs/heads/{branch}")) {
        return Err(Error::BranchName(branch.to_owned()));
    }
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            if cancelled.load(Ordering::Relaxed) {
                break;
            }
            std::thread::sleep(BETWEEN.wait(attempt - 1, OsRng.next_u64()));
        }
        let done = match mirror.location.local_path() {
            Some(path) => append_here(mirror, path, work)?,
            None => append_there(mirror, work, cancelled)?,
        };
        if let Attempt::Done(id) = done {
            return Ok(id.map(|id| id.to_string()));
        }
    }
    Err(Error::PushContended { branch: branch.to_owned(), attempts: ATTEMPTS })
}

/// Into a repository of this machine, bare or not: its branch is moved only if it is still where it
/// was read.
fn append_here(mirror: &Mirror, path: &Path, work: &impl Work) -> Result<Attempt, Error> {
    let location = mirror.location.to_string();
    let wrong = |error| Error::from_git(&location, error);
    let repository = Repository::open(path).map_err(wrong)?;
    let name = format!("refs/heads/{}", work.branch());
    let parent = match repository.refname_to_id(&name) {
        Ok(id) => Some(id),
        Err(error) if error.code() == ErrorCode::NotFound => None,
        Err(error) => return Err(wrong(error)),
    };
    let Some(id) = work.commit(mirror, &repository, parent)? else {
        return Ok(Attempt::Done(parent));
    };
    match is_moved(&repository, &name, parent, id) {
        Ok(true) => Ok(Attempt::Done(Some(id))),
        Ok(false) => Ok(Attempt::Overtaken),
        // Somebody holds its lock.
        Err(error) if error.code() == ErrorCode::Locked => Ok(Attempt::Overtaken),
        Err(error) => Err(wrong(error)),
    }
}

/// Moves a branch from one commit to another, or makes it where there was none; `false` when it is not as it was read. Compared
/// under the branch's lock: libgit2 itself looks whether a reference exists before it takes that, and two who make the same
/// branch would both succeed, the second over the first.
fn is_moved(
    repository: &Repository,
    name: &str,
    from: Option<Oid>,
    to: Oid,
) -> Result<bool, git2::Error> {
    let mut transaction = repository.transaction()?;
    transaction.lock_ref(name)?;
    let now = match repository.refname_to_id(name) {
        Ok(id) => Some(id),
        Err(error) if error.code() == ErrorCode::NotFound => None,
        Err(error) => return Err(error),
    };
    if now != from {
        return Ok(false);
    }
    transaction.set_target(name, to, None, "tidegate")?;
    transaction.commit()?;
    Ok(true)
}

/// To a server, which moves the branch only if it is still where we saw it.
fn append_there(
    mirror: &Mirror,
    work: &impl Work,
    cancelled: &Arc<AtomicBool>,
) -> Result<Attempt, Error> {
    let repository = mirror.outbox()?;
    let conversation = Conversation::new(
        &mirror.location,
        &mirror.credentials,
        mirror.largest,
        Arc::clone(cancelled),
    );
    let wrong = |error| conversation.error(error);
    let name = format!("refs/heads/{}", work.branch());
    let mut remote = repository.remote_anonymous(&mirror.location.for_git()).map_err(wrong)?;
    let parent = {
        let mut connection = remote
            .connect_auth(
                Direction::Fetch,
                Some(conversation.callbacks()),
                Some(Conversation::proxy()),
            )
            .map_err(wrong)?;
        let heads = connection.list().map_err(wrong)?;
        let parent = heads.iter().find(|head| head.name() == name).map(git2::RemoteHead::oid);
        if parent.is_some() {
            let spec = format!("+{name}:{name}");
            connection
                .remote()
                .fetch(&[spec], Some(&mut conversation.fetch_options()), None)
                .map_err(wrong)?;
        }
        parent
    };
    let location = mirror.location.to_string();
    let Some(id) = work.commit(mirror, &repository, parent)? else {
        return Ok(Attempt::Done(parent));
    };
    // What is shown once may be shown again on the second connection.
    let conversation = Conversation::new(
        &mirror.location,
        &mirror.credentials,
        mirror.largest,
        Arc::clone(cancelled),
    );
    repository
        .reference(&name, id, true, "tidegate")
        .map_err(|source| Error::Broken { location, source })?;
    let pushed = remote.push(&[format!("{name}:{name}")], Some(&mut conversation.push_options()));
    match (pushed, conversation.push_refused()) {
        (Ok(()), None) => Ok(Attempt::Done(Some(id))),
        (Ok(()), Some(reason)) if was_overtaken(&reason) => Ok(Attempt::Overtaken),
        (Ok(()), Some(reason)) => {
            Err(Error::PushRefused { branch: work.branch().to_owned(), reason })
        }
        (Err(error), _) if error.code() == ErrorCode::NotFastForward => Ok(Attempt::Overtaken),
        (Err(error), _) => Err(conversation.error(error)),
    }
}

/// What servers say when the branch is not where the client saw it: git's `receive-pack` ("failed
/// to update ref", "fetch first", "non-fast-forward", "cannot lock ref", "stale info").
fn was_overtaken(reason: &str) -> bool {
    [
        "failed to update ref",
        "fetch first",
        "non-fast-forward",
        "cannot lock ref",
        "stale info",
        "already exists",
    ]
    .iter()
    .any(|sign| reason.contains(sign))
}
