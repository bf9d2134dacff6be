//! What a signed waiver counts for, and each reason why one does not.

use super::*;
use crate::gate::SkipGrant;

const GROUP: &[u32] = &[1, 2];

/// A release whose first group has failed.
fn failed() -> World {
    let mut world = World::new("StatefulSet", Driver::StatefulSet, GROUP, false);
    world.broken = Some("new".to_owned());
    fail(&mut world);
    world
}

fn fail(world: &mut World) {
    while world.state().phase(&world.plan) != ReleasePhase::Failed {
        world.round();
    }
}

/// By which Wang Wei may skip in the products that are named, in all when none is.
fn policy(products: &[&str]) -> GatePolicy {
    let persons = BTreeSet::from(["wang-wei".to_owned()]);
    let mut grant = SkipGrant { persons, ..SkipGrant::default() };
    grant.scope.products = products.iter().map(|it| it.parse().unwrap()).collect();
    GatePolicy { skips: vec![grant], ..GatePolicy::default() }
}

/// As Wang Wei signs it now.
fn waiver(world: &World, group: Option<usize>) -> VerifiedApproval {
    VerifiedApproval {
        name: "waiver".to_owned(),
        plan: world.plan.id().to_string(),
        scope: ApprovalScope::Skip { release: "r1".to_owned(), step: STEP.to_owned(), group },
        approves: true,
        person: "wang-wei".to_owned(),
        key: String::new(),
        reason: "INC-7".to_owned(),
        created_at: world.now,
        approve_by: None,
        execute_by: Some(world.now + SignedDuration::from_hours(8)),
    }
}

/// What is recorded, and the codes of what is said.
fn counted(
    world: &World,
    policy: &GatePolicy,
    approval: &VerifiedApproval,
) -> (Vec<Event>, Vec<String>) {
    counted_of(world, policy, std::slice::from_ref(approval), &BTreeSet::new())
}

fn counted_of(
    world: &World,
    policy: &GatePolicy,
    approvals: &[VerifiedApproval],
    consumed: &BTreeSet<String>,
) -> (Vec<Event>, Vec<String>) {
    let (state, now) = (world.state(), world.now);
    let (merges, freezes) = (&[][..], &[][..]);
    let evidence = Evidence { approvals, merges, consumed, freezes, given_up_at: None, now };
    let approved = reopened(world.plan.clone(), &world.plan.id(), Vec::new()).unwrap();
    let (events, findings) = signed_waivers("r1", &approved, &state, policy, evidence);
    // Whoever hands one in hears the same.
    if let ([approval], true) = (approvals, consumed.is_empty()) {
        let refused = refused_waiver("r1", &approved, &state, policy, approval, now);
        assert_eq!(refused.is_none(), !events.is_empty(), "{refused:?}");
        assert!(findings.is_empty() || findings == refused.into_iter().collect::<Vec<_>>());
    }
    (events, findings.iter().map(|finding| finding.code.to_string()).collect())
}

#[test]
fn a_signed_waiver_counts_once_and_the_release_goes_on() {
    let mut world = failed();
    let own = waiver(&world, None);
    let again = VerifiedApproval { name: "again".to_owned(), ..own.clone() };
    let (events, said) =
        counted_of(&world, &policy(&["iam"]), &[own.clone(), again], &BTreeSet::new());
    let expected = Event::Skipped {
        step: STEP.to_owned(),
        group: None,
        by: "wang-wei".to_owned(),
        reason: "INC-7".to_owned(),
        approval: Some("waiver".to_owned()),
    };
    assert_eq!((events.as_slice(), said.as_slice()), (&[expected][..], &[][..]));
    world.record(events);
    assert_eq!(world.state().approvals, BTreeSet::from(["waiver".to_owned()]));
    assert_eq!(
        counted(&world, &policy(&[]), &own),
        (vec![], vec![]),
        "nothing has failed any more"
    );
    world.run();
    assert_eq!(world.state().phase(&world.plan), ReleasePhase::Done);
}

#[test]
fn a_waiver_of_a_group_counts_while_that_group_is_open() {
    let world = failed();
    for group in [0, 2] {
        let other = waiver(&world, Some(group));
        assert_eq!(counted(&world, &policy(&[]), &other), (vec![], vec![]), "group {group}");
    }
    let (events, _) = counted(&world, &policy(&[]), &waiver(&world, Some(1)));
    assert!(matches!(events.as_slice(), [Event::Skipped { group: Some(0), .. }]), "{events:?}");
}

#[test]
fn a_waiver_by_somebody_who_may_not_skip_there_does_not_count_and_is_told() {
    let world = failed();
    let own = waiver(&world, None);
    let refused = (vec![], vec!["RELEASE/WAIVER_NOT_PERMITTED".to_owned()]);
    assert_eq!(counted(&world, &GatePolicy::default(), &own), refused, "no grant");
    assert_eq!(counted(&world, &policy(&["report"]), &own), refused, "another product");
    let other = VerifiedApproval { person: "mallory".to_owned(), ..own.clone() };
    assert_eq!(counted(&world, &policy(&[]), &other), refused, "another person");
    let mut expiring = policy(&[]);
    expiring.skips[0].scope.clusters = vec!["room-b".parse().unwrap()];
    assert_eq!(counted(&world, &expiring, &own), refused, "another cluster");
    expiring.skips[0].scope.clusters = vec!["room-a".parse().unwrap()];
    expiring.skips[0].expires = Some(world.now + SignedDuration::from_secs(1));
    assert_eq!(counted(&world, &expiring, &own).0.len(), 1);
    // Signed in time and judged too late: the grant counts at the instant of the decision.
    expiring.skips[0].expires = Some(world.now);
    assert_eq!(counted(&world, &expiring, &own), refused, "expired");
}

#[test]
fn what_belongs_to_no_product_is_waived_only_by_whom_the_whole_site_lets() {
    let mut world = failed();
    world.plan.content.waves[0].steps[0].product = None;
    let own = waiver(&world, None);
    assert_eq!(counted(&world, &policy(&["iam"]), &own).0, []);
    assert_eq!(counted(&world, &policy(&[]), &own).0.len(), 1);
}

#[test]
fn a_waiver_that_was_signed_before_the_failure_or_is_too_old_does_not_count_and_is_told() {
    let mut world = World::new("StatefulSet", Driver::StatefulSet, GROUP, false);
    world.broken = Some("new".to_owned());
    let early = waiver(&world, None);
    world.now += SignedDuration::from_secs(1);
    assert_eq!(counted(&world, &policy(&[]), &early), (vec![], vec![]), "nothing failed");
    fail(&mut world);
    let untimely = (vec![], vec!["RELEASE/WAIVER_UNTIMELY".to_owned()]);
    assert_eq!(counted(&world, &policy(&[]), &early), untimely);
    let own = waiver(&world, None);
    world.now += SignedDuration::from_hours(9);
    assert_eq!(counted(&world, &policy(&[]), &own), untimely, "too old");
    // Of the failure before: what failed anew was not looked at.
    let own = waiver(&world, None);
    world.now += SignedDuration::from_secs(1);
    world.ask(&Command::Retry { part: Part::default() });
    fail(&mut world);
    assert_eq!(counted(&world, &policy(&[]), &own), untimely, "tried again");
}

#[test]
fn a_waiver_of_something_else_or_one_that_is_used_up_does_not_count() {
    let world = failed();
    let own = waiver(&world, None);
    let scope = |release: &str, step: &str| ApprovalScope::Skip {
        release: release.to_owned(),
        step: step.to_owned(),
        group: None,
    };
    for (what, other) in [
        ("release", VerifiedApproval { scope: scope("r2", STEP), ..own.clone() }),
        ("step", VerifiedApproval { scope: scope("r1", "all/room-a/iam/other"), ..own.clone() }),
        ("plan", VerifiedApproval { plan: Digest::of_bytes(b"p").to_string(), ..own.clone() }),
        ("decision", VerifiedApproval { approves: false, ..own.clone() }),
    ] {
        assert_eq!(counted(&world, &policy(&[]), &other), (vec![], vec![]), "another {what}");
    }
    let consumed = BTreeSet::from(["waiver".to_owned()]);
    assert_eq!(
        counted_of(&world, &policy(&[]), std::slice::from_ref(&own), &consumed),
        (vec![], vec![])
    );
    assert_eq!(counted(&world, &policy(&[]), &own).0.len(), 1);
}
