//! Whatever becomes of the repository, the site keeps running on what was accepted, and the status says what is wrong.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tidegate::status::{Condition, Status};

use crate::cluster::Outside;
use crate::process::{Given, Running};
use crate::site::{self, Repository};

/// A small site that has settled at its first level.
struct Place {
    folder: tempfile::TempDir,
    repository: Repository,
    room: Outside,
    given: Given,
    agent: Running,
    accepted: String,
}

impl Place {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repository = Repository::small(folder.path());
        let data = folder.path().join("data");
        let room = Outside::start("room-a", &data).await;
        let given = Given::new(&repository.bare, &data);
        let agent = given.start();
        let accepted = repository.head();
        let place = Self { folder, repository, room, given, agent, accepted };
        place.settled().await;
        place
    }

    /// Waits until what was accepted last in the test is what the site is.
    async fn settled(&self) {
        let is_settled = |status: &Status| {
            let accepted = status.source.accepted.as_deref() == Some(&self.accepted);
            (accepted && status.condition == Condition::Settled).then_some(())
        };
        self.given.until(&format!("settled at {}", self.accepted), is_settled).await;
        let why = self.given.ask(&["why", "--format", "json"]);
        assert_eq!(why.status.code(), Some(0), "{}", String::from_utf8_lossy(&why.stdout));
    }

    /// Pushes a level and waits until the site is there.
    async fn follow(&mut self, level: u32) {
        self.repository.set_small_level(level);
        self.accepted = self.repository.push(&format!("Level {level}"));
        self.settled().await;
        assert_eq!(self.given.address("level.hz.internal.").await, [format!("10.0.0.{level}")]);
    }

    /// Does something to the repository; then the status, `status` and `why` must name the code, and nothing of the site
    /// may have changed.
    async fn suffers(&self, code: &str, harm: impl FnOnce(&Self)) -> Status {
        let (before, level) = (self.site(), self.given.address("level.hz.internal.").await);
        harm(self);
        let status = self
            .given
            .until(code, |status| {
                let said = codes(status).into_iter().any(|said| said == code);
                said.then(|| status.clone())
            })
            .await;
        assert_eq!(status.source.accepted.as_deref(), Some(&*self.accepted));
        assert_ne!(status.condition, Condition::Settled, "after {code}");
        let shown = self.given.ask(&["status", "--format", "json"]);
        assert!(String::from_utf8_lossy(&shown.stdout).contains(code), "status after {code}");
        let why = self.given.ask(&["why", "--format", "json"]);
        assert_eq!(why.status.code(), Some(1), "why after {code}");
        let why: Value = serde_json::from_slice(&why.stdout).unwrap();
        let blocker = why["blockers"].as_array().unwrap().iter().find(|it| it["code"] == code);
        let remedy = blocker.unwrap()["remedy"].as_str().unwrap();
        assert!(!remedy.is_empty(), "what is to be done about {code}");
        assert_eq!(self.site(), before, "the clusters after {code}");
        assert_eq!(self.given.address("level.hz.internal.").await, level, "names after {code}");
        status
    }

    /// Undoes the harm: the site is settled again without anybody doing anything.
    async fn recovers(&self, mending: impl FnOnce(&Self)) {
        mending(self);
        self.settled().await;
    }

    fn site(&self) -> (BTreeMap<String, Value>, BTreeMap<String, usize>) {
        (self.room.applied(), self.room.made())
    }
}

/// The codes of everything that the status says is wrong.
fn codes(status: &Status) -> Vec<String> {
    let problem = status.source.problem.iter();
    let all = problem.chain(&status.freezes).chain(&status.findings);
    all.map(|finding| finding.code.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_becomes_of_the_repository_the_site_keeps_running_on_what_was_accepted() {
    let mut place = Place::new().await;
    place.follow(2).await;
    rewritten(&mut place).await;
    set_back(&mut place).await;
    gone(&place).await;
    too_much(&mut place).await;
    broken(&mut place).await;
    // And it still follows.
    place.follow(9).await;
    assert!(place.agent.code().is_none());
}

/// A history that was rewritten is not followed before a person has acknowledged it.
async fn rewritten(place: &mut Place) {
    let root = place.repository.root();
    let status = place
        .suffers("SOURCE/HISTORY_REWRITTEN", |place| {
            place.repository.reset(&root);
            place.repository.set_small_level(3);
            place.repository.commit("Another past");
            place.repository.force_push();
        })
        .await;
    let head = place.repository.head();
    assert_eq!(status.source.attempted.unwrap().commit, head);
    let acknowledged = place.given.ask(&["unfreeze", "--as", "wang-wei"]);
    assert!(acknowledged.status.success());
    place.accepted = head;
    place.settled().await;
    assert_eq!(place.given.address("level.hz.internal.").await, ["10.0.0.3"]);
}

/// A branch that is set back to what was once right is not followed either, and is forgotten when it comes forward again.
async fn set_back(place: &mut Place) {
    place.follow(4).await;
    let root = place.repository.root();
    let head = place.repository.head();
    place
        .suffers("SOURCE/HISTORY_SET_BACK", |place| {
            place.repository.reset(&root);
            place.repository.force_push();
        })
        .await;
    place
        .recovers(|place| {
            place.repository.reset(&head);
            place.repository.force_push();
        })
        .await;
}

/// The branch, or all of the repository, is not there for a while.
async fn gone(place: &Place) {
    let head = place.repository.head();
    place.suffers("SOURCE/BRANCH_DELETED", |place| place.repository.delete_branch()).await;
    place.recovers(|place| place.repository.force_push()).await;
    let away = place.folder.path().join("away");
    let rename = |from: &Path, to: &Path| std::fs::rename(from, to).unwrap();
    place.suffers("SOURCE/NOT_A_REPOSITORY", |place| rename(&place.repository.bare, &away)).await;
    place.recovers(|place| rename(&away, &place.repository.bare)).await;
    assert_eq!(place.repository.head(), head);
}

/// A file, or a number of files, beyond all reason.
async fn too_much(place: &mut Place) {
    place
        .suffers("SOURCE/FILE_TOO_LARGE", |place| {
            place.repository.write("dump.yaml", &"x".repeat(3 << 20));
            place.repository.push("A dump");
        })
        .await;
    std::fs::remove_file(place.repository.work.join("dump.yaml")).unwrap();
    place.accepted = place.repository.push("Without the dump");
    place.settled().await;
    let head = place.repository.head();
    place.suffers("SOURCE/TOO_MANY_FILES", |place| place.repository.push_many_files(20_001)).await;
    place.repository.reset(&head);
    place.recovers(|place| place.repository.force_push()).await;
}

/// Documents that are no YAML, and objects of git that are damaged.
async fn broken(place: &mut Place) {
    let status = place
        .suffers("YAML/SYNTAX", |place| {
            place.repository.write("solutions/platform.yaml", "kind: [Solution\n");
            place.repository.push("A slip");
        })
        .await;
    assert_eq!(status.condition, Condition::Refused);
    let finding = status.findings.iter().find(|it| it.code == "YAML/SYNTAX").unwrap();
    assert_eq!(finding.place.as_ref().unwrap().file, "solutions/platform.yaml");
    place.follow(5).await;

    // The commit is there and what it holds is not: what a disk that lost a block leaves.
    place.repository.set_small_level(6);
    let commit = place.repository.commit("Level 6");
    let mut lost = None;
    place
        .suffers("SOURCE/REPOSITORY_BROKEN", |place| lost = Some(place.repository.push_damaged()))
        .await;
    let (file, whole) = lost.unwrap();
    site::replace(&file, &whole);
    place.accepted = commit;
    place.settled().await;
}
