//! The data folder: one agent works with it, and when it cannot be written nothing is done.

use std::path::Path;

use serde_json::json;
use tidegate::status::{Condition, Status};
use tidegate_core::release::ReleasePhase;

use crate::cluster::Outside;
use crate::journal::Reader;
use crate::process::{Given, Running};
use crate::site::Repository;

fn settled(commit: &str) -> impl FnMut(&Status) -> Option<()> {
    move |status| {
        let is_accepted = status.source.accepted.as_deref() == Some(commit);
        (is_accepted && status.condition == Condition::Settled).then_some(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_agent_refuses_and_leaves_the_first_alone() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::small(folder.path());
    let data = folder.path().join("data");
    let _room = Outside::start("room-a", &data).await;
    let given = Given::new(&repository.bare, &data);
    let mut first = given.start();
    given.until("settled", settled(&repository.head())).await;
    let there = std::fs::read(data.join("agent.json")).unwrap();

    let mut second = given.start();
    assert_eq!(second.ended().await, 1);
    given.says("COMMAND/AGENT_RUNS").await;
    assert_eq!(std::fs::read(data.join("agent.json")).unwrap(), there);

    repository.set_small_level(2);
    given.until("settled", settled(&repository.push("Level 2"))).await;
    assert!(first.code().is_none());
}

/// A push to a repository of this machine is seen by itself, long before the repository would be asked again.
#[tokio::test(flavor = "multi_thread")]
async fn a_push_to_a_local_repository_is_seen_without_asking() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::small(folder.path());
    let data = folder.path().join("data");
    let _room = Outside::start("room-a", &data).await;
    let given = Given { poll: "1h", ..Given::new(&repository.bare, &data) };
    let _agent = given.start();
    given.until("settled", settled(&repository.head())).await;
    repository.set_small_level(2);
    given.until("settled", settled(&repository.push("Level 2"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_whose_journal_cannot_be_written_ends_and_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::small(folder.path());
    let data = folder.path().join("data");
    let room = Outside::start("room-a", &data).await;
    let mut given = Given::new(&repository.bare, &data);
    let mut first = given.start();
    given.until("settled", settled(&repository.head())).await;
    first.kill();

    // Room for some of the next releases' records and not for all: how many, decides the size of what is there.
    let journal = data.join("journal.sqlite-wal");
    let size = std::fs::metadata(&journal).map_or(0, |it| it.len()).max(64 << 10);
    given.largest_file = Some(size / 512 + 400);
    let mut second = given.start();
    let mut level = 1;
    while second.code().is_none() {
        level += 1;
        repository.set_small_level(level);
        let commit = repository.push(&format!("Level {level}"));
        second.ended_or(&given, settled(&commit)).await;
        assert!(level < 100, "the journal never got full");
    }
    assert_eq!(second.ended().await, 1);
    given.says("in the journal").await;
    let events = Reader::open(&data).count().await;
    let writes = room.sandbox.requests().writes();

    given.largest_file = None;
    let _third = given.start();
    given.until("settled", settled(&repository.head())).await;
    let reader = Reader::open(&data);
    assert_eq!(reader.integrity().await, "ok");
    assert!(reader.count().await > events);
    assert!(room.sandbox.requests().writes() > writes);
    let made = room.made();
    for level in 1..=level {
        assert_eq!(made.get(&format!("Pod web/front web/front:1.{level}.0")), Some(&1), "{made:?}");
    }
}

/// The status of a release that asks for a confirmation.
fn confirmable(status: &Status) -> Option<Status> {
    let waits = status.release.iter().flat_map(|release| &release.waits);
    waits.into_iter().any(|wait| wait.code == "RELEASE/AWAIT_CONFIRM").then(|| status.clone())
}

fn held(status: &Status) -> Option<()> {
    let waits = status.plan.iter().flat_map(|plan| &plan.waits);
    waits.into_iter().any(|wait| wait.code == "APPROVAL/HELD").then_some(())
}

/// A site whose release waits for a person half way, and the agent that made it so.
struct HalfWay {
    repository: Repository,
    room: Outside,
    given: Given,
    agent: Running,
}

async fn half_way(folder: &Path) -> HalfWay {
    let repository = Repository::small(folder);
    let asks = [
        "kind: RolloutPolicy\nmetadata: {name: web}\nspec: {appliesTo: {product: web}, beta: true}",
    ];
    repository.documents("policies/rollout.yaml", &asks);
    repository.push("A person looks at the pods");
    let data = folder.join("data");
    let room = Outside::start("room-a", &data).await;
    let given = Given::new(&repository.bare, &data);
    let agent = given.start();
    given.until("settled", settled(&repository.head())).await;

    repository.set_small_level(2);
    repository.documents("policies/rollout.yaml", &asks);
    repository.push("Level 2");
    given.until("asked", confirmable).await;
    HalfWay { repository, room, given, agent }
}

/// A cancelled release stays cancelled, also where nobody has to approve anything and the clusters are half way: only a
/// new revision, or somebody's word, makes it go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_was_cancelled_half_way_does_not_start_again_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let HalfWay { repository: _repository, room, given, mut agent } = half_way(folder.path()).await;
    given.command(json!({"command": "cancel", "reason": "not now"})).await.unwrap();
    given.until("held", held).await;
    // Nor after a restart.
    agent.kill();
    let _agent = given.start();
    given.until("held", held).await;
    assert_eq!(given.status().await.unwrap().releases.len(), 2);
    assert_eq!(room.made()["Pod web/front web/front:1.2.0"], 1);
}

/// A copy of the repository can be made anew; what the release has begun cannot.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_goes_on_though_the_copy_of_the_repository_was_lost() {
    let folder = tempfile::tempdir().unwrap();
    let HalfWay { repository, room, given, mut agent } = half_way(folder.path()).await;
    agent.kill();
    std::fs::remove_dir_all(given.data.join("mirror.git")).unwrap();
    let _agent = given.start();
    let head = repository.head();
    let mut is_settled = settled(&head);
    let status = given.until("asked again", confirmable).await;
    assert!(is_settled(&status).is_none());
    given.confirm(&status).await;
    given.until("settled", is_settled).await;
    let status = given.status().await.unwrap();
    assert_eq!((status.releases.len(), status.releases[0].phase), (2, ReleasePhase::Done));
    assert_eq!(room.made()["Pod web/front web/front:1.2.0"], 1);
}

/// The agent was killed, its copy of the repository is lost and the repository is away: what the release applies cannot be
/// read. It waits for that, unless somebody ends it.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_cannot_be_taken_up_can_be_cancelled_and_leaves_nothing_locked() {
    let folder = tempfile::tempdir().unwrap();
    let HalfWay { repository, room, given, mut agent } = half_way(folder.path()).await;
    agent.kill();
    std::fs::remove_dir_all(given.data.join("mirror.git")).unwrap();
    let away = repository.bare.with_extension("away");
    std::fs::rename(&repository.bare, &away).unwrap();
    let _agent = given.start();
    let unreachable = |status: &Status| {
        (status.condition == Condition::Unreachable && status.releases.len() == 2).then_some(())
    };
    given.until("unreachable", unreachable).await;
    let refused = given.command(json!({"command": "retry"})).await;
    assert_eq!(refused, Err("RELEASE/NOT_TAKEN_UP".to_owned()));
    let part = json!({"command": "cancel", "product": "web", "reason": "no"});
    assert_eq!(given.command(part).await, Err("RELEASE/NOT_TAKEN_UP".to_owned()));
    given.command(json!({"command": "cancel", "reason": "it is stuck"})).await.unwrap();
    let cancelled =
        |status: &Status| (status.releases[0].phase == ReleasePhase::Cancelled).then_some(());
    given.until("cancelled", cancelled).await;
    // It is over: when the repository is back its plan is made anew, and waits for somebody's word.
    std::fs::rename(&away, &repository.bare).unwrap();
    given.until("held", held).await;
    assert_eq!(room.made()["Pod web/front web/front:1.2.0"], 1);
}
