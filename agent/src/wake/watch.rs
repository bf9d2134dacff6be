//! Watching a folder of this machine: a working tree, or a repository that people push to.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use super::{Wake, Wakes};

/// So long nothing must change before the loop is woken: an editor saves in several steps, and a push
/// moves several references.
const QUIET: Duration = Duration::from_millis(200);

/// So long at most is waited for quiet, whatever goes on.
const LONGEST: Duration = Duration::from_secs(2);

/// Why a folder can not be watched. Polling goes on without it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refuses, as when its limit of watches is reached.
    #[error("failed to watch {path}")]
    Watch {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: notify::Error,
    },
}

/// Watches until it is dropped.
#[derive(Debug)]
pub struct Watching {
    _watcher: RecommendedWatcher,
    collecting: tokio::task::JoinHandle<()>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.collecting.abort();
    }
}

/// Wakes the loop when a file of the folder changes. Of a git repository only the references are
/// watched: objects come before them and mean nothing yet.
pub fn watch(path: &Path, wakes: &Wakes) -> Result<Watching, Error> {
    let (sender, receiver) = mpsc::channel(1);
    let failed = |source| Error::Watch { path: path.to_owned(), source };
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let is_change = event.as_ref().map_or(true, |event| {
            !matches!(event.kind, EventKind::Access(_))
                && !event.paths.iter().all(|path| is_lock(path))
        });
        if is_change {
            // Full means that a change is pending already.
            let _pending = sender.try_send(());
        }
    })
    .map_err(failed)?;
    match git_folder(path) {
        Some(git) => {
            watcher.watch(&git, RecursiveMode::NonRecursive).map_err(failed)?;
            watcher.watch(&git.join("refs"), RecursiveMode::Recursive).map_err(failed)?;
        }
        None => watcher.watch(path, RecursiveMode::Recursive).map_err(failed)?,
    }
    let collecting = tokio::spawn(collect(receiver, wakes.clone(), QUIET, LONGEST));
    Ok(Watching { _watcher: watcher, collecting })
}

/// One wake for everything that happens close together.
async fn collect(
    mut changes: mpsc::Receiver<()>,
    wakes: Wakes,
    quiet: Duration,
    longest: Duration,
) {
    while changes.recv().await.is_some() {
        let latest = tokio::time::Instant::now() + longest;
        loop {
            let until = latest.min(tokio::time::Instant::now() + quiet);
            match tokio::time::timeout_at(until, changes.recv()).await {
                Ok(Some(())) if tokio::time::Instant::now() < latest => {}
                _ => break,
            }
        }
        wakes.wake(Wake::FilesChanged);
    }
}

/// Where the references are: `.git`, the folder itself when it is a bare repository, or what a
/// `.git` file names (gitrepository-layout(5)); `None` when it is no repository.
fn git_folder(path: &Path) -> Option<PathBuf> {
    let has_references =
        |folder: &Path| folder.join("HEAD").is_file() && folder.join("refs").is_dir();
    let git = path.join(".git");
    if has_references(&git) {
        return Some(git);
    }
    if has_references(path) {
        return Some(path.to_owned());
    }
    let named = fs::read_to_string(&git).ok()?;
    let named = path.join(named.strip_prefix("gitdir:")?.trim());
    let shared = fs::read_to_string(named.join("commondir")).ok()?;
    Some(named.join(shared.trim())).filter(|folder| has_references(folder))
}

fn is_lock(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "lock")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tempfile::TempDir;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_saved_file_wakes_the_loop() {
        let folder = TempDir::new().unwrap();
        let wakes = Wakes::new();
        let watching = watch(folder.path(), &wakes).unwrap();
        fs::write(folder.path().join("site.yaml"), "kind: Site").unwrap();
        assert_eq!(wakes.next(DEADLINE).await, BTreeSet::from([Wake::FilesChanged]));
        drop(watching);
    }

    #[tokio::test]
    async fn a_push_to_a_bare_repository_wakes_the_loop() {
        let folder = TempDir::new().unwrap();
        for name in ["refs/heads", "objects"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join("HEAD"), "ref: refs/heads/main").unwrap();
        let wakes = Wakes::new();
        let _watching = watch(folder.path(), &wakes).unwrap();
        let heads = folder.path().join("refs/heads");
        fs::write(heads.join("main.lock"), "commit").unwrap();
        fs::rename(heads.join("main.lock"), heads.join("main")).unwrap();
        assert_eq!(wakes.next(DEADLINE).await, BTreeSet::from([Wake::FilesChanged]));
    }

    #[tokio::test]
    async fn a_burst_is_one_wake_and_is_not_waited_out_when_it_does_not_end() {
        // Quiet is longer than any pause of a busy machine, so only the longest wait can end this.
        let (quiet, longest) = (DEADLINE * 6, Duration::from_millis(60));
        let (sender, receiver) = mpsc::channel(1);
        let wakes = Wakes::new();
        let task = tokio::spawn(collect(receiver, wakes.clone(), quiet, longest));
        let start = tokio::time::Instant::now();
        let burst = tokio::spawn(async move {
            while sender.send(()).await.is_ok() {
                tokio::task::yield_now().await;
            }
        });
        assert_eq!(wakes.next(DEADLINE).await, BTreeSet::from([Wake::FilesChanged]));
        assert!(start.elapsed() >= longest, "it is never quiet, so the longest wait decides");
        burst.abort();
        task.abort();
    }

    #[test]
    fn the_references_of_a_linked_working_tree_are_found() {
        let folder = TempDir::new().unwrap();
        let main = folder.path().join("main/.git");
        fs::create_dir_all(main.join("refs")).unwrap();
        fs::create_dir_all(main.join("worktrees/a")).unwrap();
        fs::write(main.join("HEAD"), "").unwrap();
        fs::write(main.join("worktrees/a/commondir"), "../..\n").unwrap();
        let linked = folder.path().join("a");
        fs::create_dir(&linked).unwrap();
        fs::write(linked.join(".git"), format!("gitdir: {}/worktrees/a\n", main.display()))
            .unwrap();
        let found = git_folder(&linked).unwrap().canonicalize().unwrap();
        assert_eq!(found, main.canonicalize().unwrap());
        assert_eq!(git_folder(folder.path()), None);
    }
}
