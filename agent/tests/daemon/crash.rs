//! `kill -9` at any moment, and starting again ends in the same place: no group is opened twice, no confirmation is asked
//! or given twice, no pod is restarted twice, no Job runs twice, and no approval is used twice.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};
use tidegate::status::{Condition, Status};
use tidegate_core::digest::Digest;
use tidegate_core::release::ReleasePhase;

use crate::cluster::Outside;
use crate::journal::Reader;
use crate::killer::{Keeper, Kills};
use crate::process::Given;
use crate::site::Repository;

/// A site with two clusters and an agent that is killed.
struct Course {
    repository: Repository,
    rooms: Vec<Outside>,
    given: Given,
    keeper: Keeper,
    approved: Vec<Digest>,
}

/// What a course leaves. Two of them are the same, however often the agent was killed on the way.
#[derive(Debug, PartialEq)]
struct Outcome {
    /// By release, each event as often as it was recorded.
    events: BTreeMap<String, BTreeMap<String, usize>>,
    /// How the releases ended.
    releases: Vec<(String, ReleasePhase)>,
    /// The releases that used up an approval.
    consumed: Vec<String>,
    /// By cluster: pods that were ever made.
    made: Vec<BTreeMap<String, usize>>,
    /// By cluster: what is there at the end.
    applied: Vec<BTreeMap<String, Value>>,
    /// Digest of the baseline.
    baseline: Digest,
    /// Serials by zone.
    zones: BTreeMap<String, u32>,
    /// What the names say at the end.
    level: Vec<String>,
    /// Objects in the inventory, by cluster.
    owned: BTreeMap<String, usize>,
}

impl Course {
    async fn start(folder: &Path, kills: Kills) -> Self {
        let repository = Repository::new(folder);
        let data = folder.join("data");
        let rooms = Outside::both(&data).await;
        let given = Given::new(&repository.bare, &data);
        let keeper = Keeper::start(&given, kills);
        Self { repository, rooms, given, keeper, approved: Vec::new() }
    }

    /// Approves what waits for it, once for each plan; the command may meet a dead agent, and is then given again.
    fn approve(&mut self, status: &Status) {
        let Some(plan) = status.plan.as_ref().filter(|_| status.condition == Condition::Waiting)
        else {
            return;
        };
        if self.approved.contains(&plan.id) {
            return;
        }
        let key = self.repository.key.display().to_string();
        let id = plan.id.to_string();
        let repository = self.given.repository.clone();
        let mut arguments = vec!["approve", &id, "--key", &key, "--as", "wang-wei"];
        // By both ways that there are: over the branch, and handed to the agent.
        if self.approved.len().is_multiple_of(2) {
            arguments.extend(["--push", "--repo", &repository]);
        }
        if self.given.ask(&arguments).status.success() {
            self.approved.push(plan.id.clone());
        }
    }

    /// Answers what is asked until the site has settled at a commit.
    async fn settle(&mut self, commit: &str) {
        let start = Instant::now();
        loop {
            if let Some(status) = self.given.status().await {
                let is_accepted = status.source.accepted.as_deref() == Some(commit);
                if status.condition == Condition::Settled && is_accepted {
                    return;
                }
                // What is left of an earlier commit waits for an approval of its own, which nobody gives.
                if status.source.attempted.as_ref().is_some_and(|it| it.commit == commit) {
                    self.approve(&status);
                }
                self.given.confirm(&status).await;
                self.given.patience(start, &format!("settled at {commit}"), Some(&status));
            } else {
                self.given.patience(start, &format!("settled at {commit}"), None);
            }
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
    }

    /// Approves, and answers the first question of the release with a command; gives how the release ended.
    async fn answer_with(&mut self, command: Value) -> ReleasePhase {
        let start = Instant::now();
        let before = self
            .given
            .until("a status", |status| status.releases.first().map(|it| it.id.clone()))
            .await;
        loop {
            let status = self.given.until("a status", |status| Some(status.clone())).await;
            let row = status.releases.first().filter(|row| row.id != before);
            if let Some(ended) = row.map(|row| row.phase).filter(|phase| phase.is_ended()) {
                // What is left of the change waits for an approval of its own, which nobody gives.
                return ended;
            }
            self.approve(&status);
            if row.is_some() {
                let waits = status.release.iter().flat_map(|release| &release.waits);
                if waits.into_iter().any(|wait| wait.code == "RELEASE/AWAIT_CONFIRM") {
                    let _heard = self.given.command(command.clone()).await;
                }
            }
            self.given.patience(start, &format!("ended after {command}"), Some(&status));
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
    }

    /// Ends it and looks at what it leaves.
    async fn end(self) -> (Outcome, u32) {
        let status = self.given.until("a status", |status| Some(status.clone())).await;
        assert!(status.plan.is_none(), "{:#?}", status.plan);
        assert_eq!(status.drift, []);
        let level = self.given.address("level.hz.internal.").await;
        let killed = self.keeper.end().await;
        let journal = Reader::open(&self.given.data);
        assert_eq!(journal.integrity().await, "ok");
        let releases = status.releases.iter().map(|row| (row.id.clone(), row.phase));
        let outcome = Outcome {
            events: journal.events().await,
            releases: releases.collect(),
            consumed: journal.consumed().await,
            made: self.rooms.iter().map(Outside::made).collect(),
            applied: self.rooms.iter().map(Outside::applied).collect(),
            baseline: status.baseline.unwrap().digest,
            zones: status.zones,
            level,
            owned: status.clusters.into_iter().map(|(name, it)| (name, it.objects)).collect(),
        };
        (outcome, killed)
    }
}

/// A site from its first installation by way of an upgrade, a rollback, a cancelled release, and what is done once.
async fn run(kills: Kills) -> (Outcome, u32) {
    let folder = tempfile::tempdir().unwrap();
    let mut course = Course::start(folder.path(), kills).await;
    let commit = course.repository.head();
    course.settle(&commit).await;

    course.repository.set_level(2);
    let commit = course.repository.push("The second level");
    course.settle(&commit).await;

    course.repository.set_versions("1.2.0", "1.1.0", "1.1.0");
    course.repository.push("A store that nobody likes");
    let ended =
        course.answer_with(json!({"command": "rollback", "reason": "nobody likes it"})).await;
    assert_eq!(ended, ReleasePhase::RolledBack);
    course.repository.set_level(2);
    let commit = course.repository.push("The second level again");
    course.settle(&commit).await;

    course.repository.set_versions("1.1.0", "1.1.0", "1.2.0");
    course.repository.push("Logs that stay half done");
    let ended = course.answer_with(json!({"command": "cancel", "reason": "not now"})).await;
    assert_eq!(ended, ReleasePhase::Cancelled);
    course.repository.set_level(2);
    let commit = course.repository.push("The second level once more");
    course.settle(&commit).await;

    course.repository.documents(
        "operations/once.yaml",
        &[
            "kind: Operation\nmetadata: {name: anew}\nspec: {action: {restart: {product: web}}, author: wang-wei, reason: CHG-1}",
            "kind: Operation\nmetadata: {name: again}\nspec: {action: {rerunTask: {product: store, app: init}}, author: wang-wei, reason: CHG-2}",
        ],
    );
    let commit = course.repository.push("Start anew, and prepare the store again");
    course.settle(&commit).await;
    course.end().await
}

/// Pods and Jobs that the course makes, each exactly once: an upgrade makes each pod of a workload anew, a rollback and a
/// cancelled release those of the first group, and back; a restart each pod once more, and another run of a task its pod.
fn expected() -> Vec<BTreeMap<String, usize>> {
    let count = |text: &str| {
        let (what, count) = text.rsplit_once(' ').unwrap();
        (what.to_owned(), count.parse().unwrap())
    };
    let room_a = [
        "Pod logs/tail logs/tail:1.0.0 3",
        "Pod logs/tail logs/tail:1.1.0 4",
        "Pod logs/tail logs/tail:1.2.0 1",
        "Pod store/init store/init:1.0.0 1",
        "Pod store/init store/init:1.1.0 2",
        "Pod store/init store/init:1.2.0 1",
        "Pod store/keeper store/keeper:1.0.0 3",
        "Pod store/keeper store/keeper:1.1.0 4",
        "Pod store/keeper store/keeper:1.2.0 1",
        "Pod web/front web/front:1.0.0 3",
        "Pod web/front web/front:1.1.0 6",
    ];
    let room_b = ["Pod logs/tail logs/tail:1.0.0 3", "Pod logs/tail logs/tail:1.1.0 3"];
    [&room_a[..], &room_b].map(|room| room.iter().map(|text| count(text)).collect()).to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_each_event_and_whenever_chance_wants_it_ends_the_same() {
    let courses = [Kills::Never, Kills::EachEvent(7), Kills::ByChance(11, 40)];
    let courses = courses.map(|kills| tokio::spawn(run(kills)));
    let mut outcomes = Vec::new();
    for course in courses {
        let started = Instant::now();
        outcomes.push(course.await.unwrap());
        eprintln!("killed {} times, {:?}", outcomes.last().unwrap().1, started.elapsed());
    }
    let (wanted, _) = &outcomes[0];
    assert_eq!(wanted.made, expected());
    for (outcome, killed) in &outcomes[1..] {
        assert!(*killed >= 40, "killed {killed} times only");
        compare(outcome, wanted);
    }
}

/// One thing after the other, so that a difference can be read.
fn compare(outcome: &Outcome, wanted: &Outcome) {
    assert_eq!(outcome.releases, wanted.releases);
    assert_eq!(outcome.events, wanted.events);
    assert_eq!(outcome.made, wanted.made);
    assert_eq!(outcome.applied, wanted.applied);
    assert_eq!(outcome, wanted);
}
