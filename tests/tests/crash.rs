//! An agent that was killed goes on where it was.
#![expect(clippy::unwrap_used, reason = "a test is to stop at what it did not expect")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use tidegate::agent::{Agent, Images, Parts, RETENTION};
use tidegate::clock::Clock;
use tidegate::execute::Checks;
use tidegate::handle::Handle;
use tidegate::journal::{Journal, ReleaseRow};
use tidegate::sandboxes::Sandboxes;
use tidegate::source::{
    Source, SourceOptions, clone_repository, commit_all, init_bare_repository, push,
};
use tidegate::status::{Condition, Status};
use tidegate::wake::Wake;
use tidegate_core::release::ReleasePhase;
use tidegate_core::snapshot::Identity;

/// A development site for which nobody has to approve anything.
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/quickstart");

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The example in a bare repository.
fn repository(folder: &Path) -> PathBuf {
    let (bare, work) = (folder.join("site.git"), folder.join("site"));
    init_bare_repository(&bare).unwrap();
    clone_repository(&bare, &work).unwrap();
    copy(Path::new(EXAMPLE), &work);
    let li_na = Identity { name: "Li Na".to_owned(), email: "li.na@bank.example".to_owned() };
    commit_all(&work, "The site", &li_na, Timestamp::now()).unwrap();
    push(&work, "main").unwrap();
    bare
}

/// Runs an agent of the data folder until its status is as wanted, and ends it.
async fn run(bare: &Path, data: &Path, sandboxes: &Sandboxes, wanted: fn(&Status) -> bool) {
    let options = SourceOptions::new(bare.display().to_string(), data.join("mirror.git"));
    let parts = Parts {
        source: Source::open(options).unwrap(),
        data: data.to_owned(),
        journal: Journal::open(data).await.unwrap(),
        dns: None,
        clock: Clock::system(),
        interval: Duration::from_secs(1),
        connector: sandboxes.connector(),
        checks: Checks::Asked,
        images: Images::off(),
        retention: RETENTION,
    };
    let (agent, mut handle) = Agent::open(parts).await.unwrap();
    let running = tokio::spawn(agent.run());
    until(&mut handle, wanted).await;
    handle.wake(Wake::Shutdown);
    running.await.unwrap().unwrap();
}

async fn until(handle: &mut Handle, wanted: fn(&Status) -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while !wanted(&handle.status()) {
        let changed = tokio::time::timeout_at(deadline, handle.changed()).await;
        assert!(changed.is_ok(), "not in time: {:#?}", handle.status());
    }
}

async fn releases(data: &Path) -> Vec<ReleaseRow> {
    Journal::open(data).await.unwrap().releases(10).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_whose_end_was_not_recorded_ends_after_the_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (bare, data) = (repository(folder.path()), folder.path().join("data"));
    let sandboxes = Sandboxes::in_folder(&data);
    let is_settled = |status: &Status| status.condition == Condition::Settled;
    run(&bare, &data, &sandboxes, is_settled).await;
    let before = releases(&data).await;
    assert_eq!(before.len(), 1);

    // As a kill leaves it that comes between the last event and the record of the end.
    let release = &before.first().unwrap().id;
    let journal = Journal::open(&data).await.unwrap();
    let events = journal.events(release).await.unwrap();
    journal.set_phase(release, ReleasePhase::Running, &[], Timestamp::now()).await.unwrap();
    drop(journal);

    run(&bare, &data, &sandboxes, is_settled).await;
    let after = releases(&data).await;
    assert_eq!(after.len(), 1);
    assert_eq!(after.first().unwrap().phase, ReleasePhase::Done);
    let journal = Journal::open(&data).await.unwrap();
    assert_eq!(journal.events(release).await.unwrap(), events);
}
