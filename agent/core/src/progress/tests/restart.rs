//! Restarts: every pod that was there goes once, in groups, and no other ever does.

use std::collections::BTreeSet;

use super::*;
use crate::desired::Asked;

/// An app whose pods start anew; nothing of it changes.
pub(super) fn restart(kind: &str, sizes: &[u32], confirm: bool) -> World {
    let mut world = World::new(kind, Driver::Restart, sizes, confirm);
    let step = &mut world.plan.content.waves[0].steps[0];
    step.apply.clear();
    let unit = step.rollout.as_ref().unwrap().unit.clone();
    step.operations = vec![Asked { operation: "restart-core".to_owned(), unit }];
    world.desired = desired(kind, "old", sizes.iter().sum());
    world
}

/// How many of the first pods are gone.
fn gone(world: &World) -> u64 {
    let there: BTreeSet<u64> = world.pods.values().map(|(_, made)| *made).collect();
    let total = u64::from(total(world));
    (1..=total).filter(|made| !there.contains(made)).count() as u64
}

fn total(world: &World) -> u32 {
    world.plan.content.waves[0].steps[0].rollout.as_ref().unwrap().replicas
}

/// One round, after which no more pods are gone than the open groups allow.
fn round(world: &mut World) {
    world.round();
    let state = world.state();
    let own = state.step(STEP);
    let opened = own.map_or(0, |own| own.groups_done + usize::from(own.open.is_some()));
    let rollout = world.plan.content.waves[0].steps[0].rollout.as_ref().unwrap();
    let allowed = opened.checked_sub(1).map_or(0, |index| rollout.groups[index].cumulative);
    assert!(gone(world) <= u64::from(allowed), "{} gone, {allowed} allowed", gone(world));
    world.confirm();
}

fn run(world: &mut World) {
    for _ in 0..200 {
        if world.state().phase(&world.plan).is_ended() {
            return;
        }
        round(world);
    }
}

#[rstest]
#[case::stateful_set("StatefulSet", &[1, 2, 3], true)]
#[case::deployment("Deployment", &[3, 3], false)]
#[case::one("Deployment", &[1], false)]
#[case::none("StatefulSet", &[], false)]
fn every_pod_goes_once_in_groups_and_the_workload_is_not_written(
    #[case] kind: &str,
    #[case] sizes: &[u32],
    #[case] confirm: bool,
) {
    let mut world = restart(kind, sizes, confirm);
    let (before, total) = (world.live.get("/spec").cloned(), u64::from(total(&world)));
    run(&mut world);
    assert_eq!(world.state().phase(&world.plan), ReleasePhase::Done);
    assert_eq!((gone(&world), world.made), (total, 2 * total));
    assert_eq!(world.live.get("/spec").cloned(), before);
    let asked = if confirm { sizes.len() - 1 } else { 0 };
    assert_eq!(world.count(|event| matches!(event, Event::Confirmed { .. })), asked);
    let operations = &world.plan.content.waves[0].steps[0].operations;
    assert_eq!(world.state().carried_out(&world.plan), *operations);
}

/// The last ordinals go first, as the controller of a StatefulSet does.
#[test]
fn the_first_group_of_a_stateful_set_is_its_last_ordinal() {
    let mut world = restart("StatefulSet", &[1, 2], true);
    while gone(&world) == 0 {
        world.round();
    }
    assert_eq!(world.pods.iter().map(|(it, (_, made))| (*it, *made)).next_back(), Some((2, 4)));
    assert_eq!(world.made, 4);
}

#[test]
fn killed_after_any_event_a_restart_ends_the_same_and_restarts_no_pod_twice() {
    let mut whole = restart("StatefulSet", &[1, 2, 3], true);
    run(&mut whole);
    for killed_after in 0..whole.events.len() * 4 {
        let mut world = restart("StatefulSet", &[1, 2, 3], true);
        for _ in 0..killed_after {
            round(&mut world);
        }
        // All that is left are the journal and the cluster, in which a pod may have gone whose going is in no event.
        let state = world.state();
        let listed = state.step(STEP).and_then(|own| own.listed.clone());
        run(&mut world);
        assert_eq!(world.state().phase(&world.plan), ReleasePhase::Done);
        assert_eq!(world.made, whole.made, "killed after {killed_after} rounds");
        assert_eq!(world.count(|event| matches!(event, Event::PodsListed { .. })), 1);
        assert_eq!(world.count(|event| matches!(event, Event::GroupOpened { .. })), 3);
        if let Some(listed) = listed {
            assert_eq!(world.state().step(STEP).unwrap().listed.as_ref(), Some(&listed));
        }
    }
}

#[test]
fn pods_that_do_not_come_back_stop_their_group_and_a_retry_remakes_only_them() {
    let mut world = restart("StatefulSet", &[2, 2], false);
    world.broken_after = Some(4);
    run(&mut world);
    let state = world.state();
    let Some(StepStatus::Failed(failure)) = state.step(STEP).map(|own| &own.status) else {
        panic!("{:?}", world.events)
    };
    assert_eq!((&*failure.code, failure.pods.len()), ("RELEASE/POD_CRASHES", 2));
    assert_eq!((gone(&world), world.made), (2, 6), "the second group is not opened");
    // Whatever becomes of it, it was begun: the operation is not done a second time.
    assert_eq!(state.carried_out(&world.plan).len(), 1);
    world.broken_after = None;
    world.ask(&Command::Retry { part: Part::default() });
    run(&mut world);
    assert_eq!(world.state().phase(&world.plan), ReleasePhase::Done);
    assert_eq!(gone(&world), 4);
}

#[test]
fn a_restart_that_goes_back_leaves_its_pods_alone_and_a_cancelled_one_too() {
    for asked in [
        Command::Rollback { part: Part::default(), reason: "no".to_owned() },
        Command::Cancel { part: Part::default(), reason: "no".to_owned() },
    ] {
        let mut world = restart("Deployment", &[1, 3], true);
        while gone(&world) == 0 {
            world.round();
        }
        let made = world.made;
        world.ask(&asked);
        while !world.state().phase(&world.plan).is_ended() {
            assert!(world.round(), "it ends at once");
        }
        assert_eq!((gone(&world), world.made), (1, made));
        assert_eq!(world.state().carried_out(&world.plan).len(), 1);
    }
}

#[test]
fn a_restart_that_has_not_begun_was_not_carried_out() {
    let mut world = restart("Deployment", &[1, 3], true);
    world.gate = closed();
    world.round();
    assert_eq!(world.state().carried_out(&world.plan), []);
}

/// More pods than the plan knew: the first groups take what was approved for them, the last the rest.
#[test]
fn pods_that_came_before_the_step_began_go_with_the_last_group() {
    let mut world = restart("StatefulSet", &[1, 2], false);
    world.live.set(&["spec", "replicas"], json!(5));
    world.control();
    let before: BTreeSet<u64> = world.pods.values().map(|(_, made)| *made).collect();
    run(&mut world);
    assert_eq!(world.state().phase(&world.plan), ReleasePhase::Done);
    let after: BTreeSet<u64> = world.pods.values().map(|(_, made)| *made).collect();
    assert_eq!((after.len(), before.intersection(&after).count()), (5, 0));
    assert_eq!(world.made, 10);
}

/// A pod that does not serve is in no budget: it is deleted, where an eviction might be refused for ever.
#[test]
fn what_serves_is_evicted_and_what_does_not_is_deleted() {
    let mut world = restart("StatefulSet", &[2], false);
    world.broken_after = Some(1);
    for _ in 0..20 {
        let state = world.state();
        let work = Work { plan: &world.plan, desired: &world.desired, before: &world.before };
        let decision = decide(work, &state, &world.observed(), &world.gate, world.now);
        if decision.effects.is_empty() {
            world.record(decision.events);
            continue;
        }
        let kinds: Vec<bool> =
            decision.effects.iter().map(|it| matches!(it, Effect::Evict { .. })).collect();
        assert_eq!(kinds, [true, false]);
        return;
    }
    panic!("no pod went");
}
