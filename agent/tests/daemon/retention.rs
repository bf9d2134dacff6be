//! Years of records: the agent removes what is old while it has nothing else to do, and may be killed meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use tidegate::journal::Journal;
use tidegate::status::Condition;
use tidegate_core::change::ChangeSet;
use tidegate_core::digest::Digest;
use tidegate_core::plan::{Plan, PlanContent, PlanReport, ReleaseKind};
use tidegate_core::release::{Event, ReleasePhase};

use crate::cluster::Outside;
use crate::journal::Reader;
use crate::process::Given;
use crate::site::Repository;

const RELEASES: i32 = 120;

fn plan(number: i32) -> Plan {
    Plan {
        revision: "c1".to_owned(),
        authors: Vec::new(),
        content: PlanContent {
            site: format!("long-ago-{number}"),
            kind: ReleaseKind::Release,
            parent: None,
            desired: Digest::of_bytes(b"desired"),
            policies: Digest::of_bytes(b"policies"),
            clusters: BTreeMap::new(),
            images: BTreeMap::new(),
            tasks: Vec::new(),
            risks: BTreeSet::new(),
            changes: ChangeSet::default(),
            waves: Vec::new(),
        },
    }
}

/// Releases of 2020, and plans between them that nobody carried out.
async fn fill(journal: &Journal) {
    let start: Timestamp = "2020-01-01T00:00:00Z".parse().unwrap();
    for number in 0..RELEASES {
        let at = start + SignedDuration::from_hours(24) * number;
        journal.save_plan(&plan(number), &PlanReport::default(), at).await.unwrap();
        journal.save_plan(&plan(1000 + number), &PlanReport::default(), at).await.unwrap();
        let row = journal.start_release(&plan(number), None, None, &[], &[], at).await.unwrap();
        let step = Event::StepStarted { step: "w/c/p/a".to_owned() };
        journal.append(&row.id, &[step, Event::Done], &[], &[], at).await.unwrap();
        journal.set_phase(&row.id, ReleasePhase::Done, &[], at).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn old_records_go_while_nothing_else_is_to_be_done_whenever_the_agent_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::small(folder.path());
    let data = folder.path().join("data");
    let _room = Outside::start("room-a", &data).await;
    fill(&Journal::open(&data).await.unwrap()).await;
    let reader = Reader::open(&data);
    let before = reader.plans().await;
    assert_eq!(before, i64::from(RELEASES) * 2);

    let given = Given::new(&repository.bare, &data);
    let mut agent = given.start();
    let start = Instant::now();
    let (mut last, mut kills) = (before, 0);
    // What is left: plans of the latest 50 releases, one of them of this agent.
    while reader.plans().await > 50 {
        given.patience(start, "old plans are gone", None);
        let now = reader.plans().await;
        if now < last && kills < 4 {
            agent.kill();
            kills += 1;
            agent = given.start();
        }
        last = now;
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    given.until("settled", |it| (it.condition == Condition::Settled).then_some(())).await;
    assert!(kills > 0);
    assert_eq!(reader.integrity().await, "ok");
    let events = reader.events().await;
    let count = |id: i32| events[&format!("r{id}")].values().sum::<usize>();
    let whole: Vec<i32> = (1..=RELEASES).filter(|id| count(*id) == 3).collect();
    assert_eq!(whole, (RELEASES - 48..=RELEASES).collect::<Vec<_>>());
    assert!((1..RELEASES - 48).all(|id| count(id) == 2), "opened and done");
    assert_eq!(given.status().await.unwrap().releases[0].id, format!("r{}", RELEASES + 1));
}
