//! The journal on real files: what was written is there after a restart, and two agents never share a folder.

use std::collections::BTreeMap;

use tidegate_core::change::ChangeSet;
use tidegate_core::desired::{Layer, Owner};
use tidegate_core::plan::{PlanContent, ReleaseKind};

use super::*;

fn plan() -> Plan {
    Plan {
        revision: "c1".to_owned(),
        authors: Vec::new(),
        content: PlanContent {
            site: "hz".to_owned(),
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

fn reference() -> ObjectRef {
    ObjectRef {
        cluster: "room-a".to_owned(),
        group: String::new(),
        kind: "ConfigMap".to_owned(),
        namespace: "iam".to_owned(),
        name: "files".to_owned(),
    }
}

fn owner() -> Owner {
    Owner { solution: None, product: None, app: None, access: None, layer: Layer::Support }
}

fn now() -> Timestamp {
    "2026-11-21T10:00:00Z".parse().unwrap()
}

#[tokio::test]
async fn a_started_release_is_there_after_a_restart_with_approvals_and_inventory() {
    let folder = tempfile::tempdir().unwrap();
    let entry = InventoryEntry {
        api_version: "v1".to_owned(),
        uid: None,
        applied: None,
        owner: owner(),
        kept: false,
        adopted: None,
    };
    {
        let journal = Journal::open(folder.path()).await.unwrap();
        journal.save_plan(&plan(), &PlanReport::default(), now()).await.unwrap();
        let intend = [InventoryChange::Intend(reference(), entry.clone())];
        let row = journal
            .start_release(&plan(), None, &["li-na-yes".to_owned()], &intend, now())
            .await
            .unwrap();
        let events = [Event::WaveStarted { wave: 0, approvals: vec!["zhao-min-yes".to_owned()] }];
        journal.append(&row.id, &events, &[], now()).await.unwrap();
    }
    let journal = Journal::open(folder.path()).await.unwrap();
    let releases = journal.releases(10).await.unwrap();
    assert_eq!(releases.len(), 1);
    assert_eq!((releases[0].id.as_str(), releases[0].phase), ("r1", ReleasePhase::Running));
    let numbers: Vec<u64> =
        journal.events("r1").await.unwrap().iter().map(|event| event.number).collect();
    assert_eq!(numbers, [1, 2]);
    let consumed: Vec<String> = journal.consumed().await.unwrap().into_iter().collect();
    assert_eq!(consumed, ["li-na-yes", "zhao-min-yes"]);
    assert_eq!(journal.inventory().await.unwrap().entries.get(&reference()), Some(&entry));
    assert_eq!(journal.plan(&plan().id()).await.unwrap().map(|(plan, _)| plan), Some(plan()));
}

#[tokio::test]
async fn two_agents_never_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let _first = Journal::open(folder.path()).await.unwrap();
    assert!(matches!(Journal::open(folder.path()).await, Err(Error::Locked(_))));
}

#[tokio::test]
async fn an_approval_keeps_the_content_that_was_seen_first() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).await.unwrap();
    let file = |document: &str| StoredApproval {
        path: "a.yaml".to_owned(),
        document: document.to_owned(),
        signature: "s".to_owned(),
    };
    journal.keep_approvals(&[file("first")], now()).await.unwrap();
    journal.keep_approvals(&[file("second")], now()).await.unwrap();
    assert_eq!(journal.approvals().await.unwrap(), [file("first")]);
}

#[tokio::test]
async fn a_revision_was_delivered_by_its_last_release_that_ended_well_before() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).await.unwrap();
    let at = |minutes: i64| now() + jiff::SignedDuration::from_mins(minutes);
    let phases = [ReleasePhase::Done, ReleasePhase::RolledBack, ReleasePhase::Done];
    for (start, phase) in [0, 10, 20].into_iter().zip(phases) {
        let row = journal.start_release(&plan(), None, &[], &[], at(start)).await.unwrap();
        journal.set_phase(&row.id, phase, &[], at(start + 5)).await.unwrap();
    }
    let delivered = async |before: i64| journal.delivered("c1", at(before)).await.unwrap();
    assert_eq!(delivered(30).await, Some(at(20)));
    assert_eq!(delivered(20).await, Some(at(0)), "not what is being released, nor what failed");
    assert_eq!(delivered(0).await, None);
    assert_eq!(journal.delivered("c2", at(30)).await.unwrap(), None);
}
