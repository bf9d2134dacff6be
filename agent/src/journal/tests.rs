//! The journal on real files: what was written is there after a restart, and two agents never share a folder.

use std::collections::BTreeMap;

use tidegate_core::change::ChangeSet;
use tidegate_core::desired::{Layer, Owner};
use tidegate_core::history::Wanted;
use tidegate_core::plan::{PlanContent, ReleaseKind};
use tidegate_core::run::LogOf;

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
    Owner {
        solution: None,
        product: None,
        app: None,
        scaling_group: None,
        access: None,
        layer: Layer::Support,
    }
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
            .start_release(&plan(), None, None, &["li-na-yes".to_owned()], &intend, now())
            .await
            .unwrap();
        let events = [Event::WaveStarted { wave: 0, approvals: vec!["zhao-min-yes".to_owned()] }];
        journal.append(&row.id, &events, &[], &[], now()).await.unwrap();
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
        let row = journal.start_release(&plan(), None, None, &[], &[], at(start)).await.unwrap();
        journal.set_phase(&row.id, phase, &[], at(start + 5)).await.unwrap();
    }
    let delivered = async |before: i64| journal.delivered("c1", at(before)).await.unwrap();
    assert_eq!(delivered(30).await, Some(at(20)));
    assert_eq!(delivered(20).await, Some(at(0)), "not what is being released, nor what failed");
    assert_eq!(delivered(0).await, None);
    assert_eq!(journal.delivered("c2", at(30)).await.unwrap(), None);
}

/// A plan that differs from others.
fn numbered(number: usize) -> Plan {
    let mut plan = plan();
    plan.content.site = format!("hz-{number}");
    plan
}

/// A try of a test, of which nothing was there any more.
fn a_run(step: &str) -> (TaskRun, Vec<RunLog>) {
    (TaskRun::of(step, &reference(), Ok(None), Ok(&[])), Vec::new())
}

#[tokio::test]
async fn tries_of_tasks_are_kept_with_the_event_that_ends_them_and_counted_by_step() {
    let folder = tempfile::tempdir().unwrap();
    {
        let journal = Journal::open(folder.path()).await.unwrap();
        journal.start_release(&plan(), None, None, &[], &[], now()).await.unwrap();
        for step in ["a", "b", "a"] {
            let (run, _) = a_run(step);
            let of = LogOf { pod: "p".to_owned(), container: "c".to_owned(), is_before: false };
            let logs = vec![RunLog { of, text: format!("{step} wrote\n"), is_cut: false }];
            let events = [Event::StepDone { step: step.to_owned() }];
            journal.append("r1", &events, &[], &[(run, logs)], now()).await.unwrap();
        }
    }
    let journal = Journal::open(folder.path()).await.unwrap();
    let runs = journal.runs("r1").await.unwrap();
    let told: Vec<_> =
        runs.iter().map(|it| (it.number, it.run.step.as_str(), it.attempt)).collect();
    assert_eq!(told, [(1, "a", 1), (2, "b", 1), (3, "a", 2)]);
    let third = journal.run("r1", 3).await.unwrap().unwrap();
    assert_eq!((&third.run, third.logs[0].text.as_str()), (&runs[2], "a wrote\n"));
    assert_eq!(journal.run("r1", 4).await.unwrap(), None);
    assert_eq!(journal.runs("r2").await.unwrap(), []);
}

/// A journal with 60 releases, a day apart, and 240 plans that nobody carried out, an hour apart.
async fn with_history(journal: &Journal) -> Timestamp {
    let hour = jiff::SignedDuration::from_hours(1);
    for number in 0..60_i32 {
        let plan = numbered(usize::try_from(number).unwrap());
        let at = now() + hour * 24 * number;
        journal.save_plan(&plan, &PlanReport::default(), at).await.unwrap();
        let row = journal.start_release(&plan, None, None, &[], &[], at).await.unwrap();
        let step = || "w/c/p/a".to_owned();
        let events = [
            Event::StepStarted { step: step() },
            Event::GroupOpened { step: step(), group: 0, attempt: 1, already: 0 },
            Event::Confirmed { step: step(), group: 0, by: "li-na".to_owned(), approval: None },
            Event::GroupDone { step: step(), group: 0 },
            Event::Done,
        ];
        journal.append(&row.id, &events, &[], &[a_run("w/c/p/a")], at).await.unwrap();
        journal.set_phase(&row.id, ReleasePhase::Done, &[], at).await.unwrap();
    }
    let start = now() + hour * 24 * 60;
    for number in 0..240_i32 {
        let plan = numbered(1000 + usize::try_from(number).unwrap());
        journal.save_plan(&plan, &PlanReport::default(), start + hour * number).await.unwrap();
    }
    start + hour * 240
}

/// What is left: events of each release, how many plans of releases, how many of others.
async fn left(journal: &Journal) -> (Vec<usize>, usize, usize) {
    let mut events = Vec::new();
    let (mut carried_out, mut others) = (0, 0);
    for number in 0..60 {
        events.push(journal.events(&format!("r{}", number + 1)).await.unwrap().len());
        let plan = journal.plan(&numbered(number).id()).await.unwrap();
        carried_out += usize::from(plan.is_some());
    }
    for number in 1000..1240 {
        let plan = journal.plan(&numbered(number).id()).await.unwrap();
        others += usize::from(plan.is_some());
    }
    (events, carried_out, others)
}

#[tokio::test]
async fn old_records_go_and_decisions_the_latest_and_what_is_referred_to_stay() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).await.unwrap();
    let end = with_history(&journal).await;
    // Signed, and so a record: one of those of which there are too many.
    let signer = Signer {
        approval: "li-na-yes".to_owned(),
        plan: numbered(1001).id().to_string(),
        person: "li-na".to_owned(),
    };
    journal.keep_signers(&[signer]).await.unwrap();
    let releases = BTreeSet::from(["r3".to_owned()]);
    let current = numbered(1002).id();
    let retention = Retention { before: now(), current: Some(&current), releases: &releases };
    let remove = async |retention| {
        while journal.remove_old(retention).await.unwrap().is_portion() {}
        left(&journal).await
    };
    let whole = vec![6; 60];
    assert_eq!(remove(retention).await, (whole, 60, 202), "nothing is old, some are too many");

    let retention = Retention { before: end, ..retention };
    let (events, carried_out, others) = remove(retention).await;
    let thinned: Vec<usize> = (0..60).filter(|index| events[*index] == 3).collect();
    assert_eq!(thinned, [0, 1, 3, 4, 5, 6, 7, 8, 9], "r3 is referred to, the last 50 stay");
    assert_eq!((carried_out, others), (51, 1), "what waits now stays");

    let names: Vec<Event> =
        journal.events("r1").await.unwrap().into_iter().map(|event| event.event).collect();
    assert!(matches!(names[..], [Event::Opened { .. }, Event::Confirmed { .. }, Event::Done]));
    let runs = async |release| journal.runs(release).await.unwrap().len();
    assert_eq!((runs("r1").await, runs("r3").await), (0, 1), "tries go with what machines did");
    let (course, is_thinned) = journal.course("r1").await.unwrap();
    assert!(is_thinned && !journal.course("r3").await.unwrap().1);
    assert_eq!((course.steps, course.groups, course.confirmations), (1, 1, 1));
    let counted = journal.counted().await.unwrap();
    assert_eq!((counted.len(), counted[0].id.as_str(), counted[0].course.groups), (60, "r1", 1));
    assert_eq!(
        counted[2].course, counted[0].course,
        "the same, whether events were removed or not"
    );
    assert_eq!(journal.releases(100).await.unwrap().len(), 60);
    assert_eq!(journal.remove_old(retention).await.unwrap(), Removed::default());
    let next = journal.start_release(&plan(), None, None, &[], &[], end).await.unwrap();
    assert_eq!(next.id, "r61");
}

#[tokio::test]
async fn killed_between_portions_the_rest_goes_later() {
    let folder = tempfile::tempdir().unwrap();
    let releases = BTreeSet::new();
    let mut journal = Journal::open(folder.path()).await.unwrap();
    let end = with_history(&journal).await;
    let retention = Retention { before: end, current: None, releases: &releases };
    let mut lives = 0;
    while journal.remove_old(retention).await.unwrap().is_portion() {
        lives += 1;
        // Each release is as it was, or its numbers are there.
        for number in 1..=60 {
            let id = format!("r{number}");
            let is_whole = journal.events(&id).await.unwrap().len() == 6;
            assert_eq!(is_whole, !journal.course(&id).await.unwrap().1, "{id}");
        }
        drop(journal);
        journal = Journal::open(folder.path()).await.unwrap();
    }
    assert!(lives > 10, "{lives}");
    let (events, carried_out, others) = left(&journal).await;
    assert_eq!(events.iter().filter(|count| **count == 6).count(), 50);
    assert_eq!((carried_out, others), (50, 0));
}

#[tokio::test]
async fn room_is_given_back_and_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).await.unwrap();
    let large = |number: usize| {
        let mut plan = numbered(number);
        plan.authors = vec!["x".repeat(100_000)];
        plan
    };
    let releases = BTreeSet::new();
    let pages = async || -> i64 {
        sqlx::query("PRAGMA page_count").fetch_one(&journal.pool).await.unwrap().get(0)
    };
    let mut sizes = Vec::new();
    for year in 0..3_i32 {
        let at = now() + jiff::SignedDuration::from_hours(24 * 365) * year;
        for number in 0..40 {
            let plan = large(usize::try_from(year).unwrap() * 100 + number);
            journal.save_plan(&plan, &PlanReport::default(), at).await.unwrap();
        }
        sizes.push(pages().await);
        let before = at + jiff::SignedDuration::from_hours(1);
        let retention = Retention { before, current: None, releases: &releases };
        while journal.remove_old(retention).await.unwrap().is_portion() {}
        assert!(pages().await < 100, "{}", pages().await);
    }
    assert!(sizes[0] > 900 && sizes[2] < sizes[0] + 100, "{sizes:?}");
}

#[tokio::test]
async fn a_release_says_what_it_was_about_who_approved_and_how_long_its_plan_waited() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).await.unwrap();
    let at = |minutes: i64| now() + jiff::SignedDuration::from_mins(minutes);
    let signer = |approval: &str, person: &str| Signer {
        approval: approval.to_owned(),
        plan: plan().id().to_string(),
        person: person.to_owned(),
    };
    let signers = [signer("a", "li-na"), signer("b", "zhao-min"), signer("c", "wang-wei")];
    journal.keep_signers(&signers).await.unwrap();
    journal.save_plan(&plan(), &PlanReport::default(), at(0)).await.unwrap();
    let given = ["a".to_owned(), "b".to_owned()];
    let row =
        journal.start_release(&plan(), None, Some(at(-5)), &given, &[], at(10)).await.unwrap();
    journal.set_phase(&row.id, ReleasePhase::RolledBack, &[], at(12)).await.unwrap();
    // The same plan again: it waits since the end of the first.
    let given = ["c".to_owned()];
    journal.start_release(&plan(), None, None, &given, &[], at(20)).await.unwrap();

    let found = journal.history(&Wanted::default(), 10).await.unwrap();
    let told: Vec<_> =
        found.iter().map(|it| (it.release.id.as_str(), it.about.planned_at)).collect();
    assert_eq!(told, [("r2", Some(at(12))), ("r1", Some(at(0)))]);
    assert_eq!(found[1].approved_by, BTreeSet::from(["li-na".to_owned(), "zhao-min".to_owned()]));
    assert_eq!(found[0].approved_by, BTreeSet::from(["wang-wei".to_owned()]));
    assert_eq!(found[1].about.committed_at, Some(at(-5)));
    assert_eq!(found[1].about.kind, Some(ReleaseKind::Release));
    assert_eq!(journal.summary("r1").await.unwrap().as_ref(), Some(&found[1]));
    let back = Wanted { phase: Some(ReleasePhase::RolledBack), ..Wanted::default() };
    assert_eq!(journal.history(&back, 10).await.unwrap(), found[1..]);
    assert_eq!(journal.history(&Wanted::default(), 1).await.unwrap(), found[..1]);

    // A journal of before this was kept: the plan says it.
    sqlx::query("UPDATE release SET about = NULL").execute(&journal.pool).await.unwrap();
    drop(journal);
    let journal = Journal::open(folder.path()).await.unwrap();
    let found = journal.summary("r1").await.unwrap().unwrap();
    assert_eq!((found.about.kind, found.about.planned_at), (Some(ReleaseKind::Release), None));
}
