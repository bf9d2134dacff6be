//! What an app waits for before its first group.

use super::*;
use crate::ignored;

fn autoscaler(min: u32, max: u32) -> Object {
    Object::new(json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "core", "namespace": "iam"},
        "spec": {"minReplicas": min, "maxReplicas": max,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "core"}}}))
}

fn governed(min: u32, max: u32) -> World {
    let mut world = World::new("StatefulSet", Driver::StatefulSet, &[1, 2], false);
    let own = autoscaler(min, max);
    let rollout = world.plan.content.waves[0].steps[0].rollout.as_mut().unwrap();
    rollout.autoscalers.push(own.reference("room-a"));
    world.others.push(own);
    world
}

fn opened(world: &World) -> usize {
    world.count(|event| matches!(event, Event::GroupOpened { .. }))
}

fn rounds(world: &mut World, count: usize) {
    for _ in 0..count {
        world.round();
    }
}

fn bounds(world: &World) -> (u32, u32) {
    autoscaler::bounds(&world.others[0])
}

#[test]
fn an_autoscaler_is_held_while_groups_are_open_and_let_go_when_the_app_is_done() {
    let mut world = governed(2, 9);
    while world.state().phase(&world.plan) != ReleasePhase::Done {
        let is_new = world.pods.values().any(|(revision, _)| revision == "new");
        let is_done = world.state().step(STEP).is_some_and(|own| own.groups_done == 2);
        assert!(!is_new || is_done || bounds(&world) == (3, 3), "{:?}", bounds(&world));
        world.round();
    }
    assert_eq!(bounds(&world), (2, 9));
    assert!(!autoscaler::is_held(&world.others[0]));
    assert_eq!(world.count(|event| matches!(event, Event::AutoscalerHeld { .. })), 1);
}

#[test]
fn going_back_lets_an_autoscaler_go_and_so_does_a_waiver() {
    for ask in [
        Command::Rollback { part: Part::default(), reason: "r".to_owned() },
        Command::Skip {
            part: Part { step: Some(STEP.to_owned()), ..Part::default() },
            reason: "r".to_owned(),
        },
    ] {
        let mut world = governed(2, 9);
        world.broken = Some("new".to_owned());
        while world.state().phase(&world.plan) != ReleasePhase::Failed {
            world.round();
        }
        assert_eq!((opened(&world), bounds(&world)), (1, (3, 3)));
        world.ask(&ask);
        world.run();
        assert!(world.state().phase(&world.plan).is_ended(), "{ask:?}: {:?}", world.waits());
        assert_eq!(bounds(&world), (2, 9), "{ask:?}");
        assert!(!autoscaler::is_held(&world.others[0]));
    }
}

#[test]
fn what_a_cancelled_release_has_held_is_known() {
    let mut world = governed(2, 9);
    rounds(&mut world, 8);
    assert_eq!(bounds(&world), (3, 3));
    world.ask(&Command::Cancel { part: Part::default(), reason: "r".to_owned() });
    let own = world.others[0].reference("room-a");
    assert_eq!(world.state().held().collect::<Vec<_>>(), [&own]);
}

#[test]
fn no_group_is_opened_while_an_autoscaler_cannot_be_held() {
    let mut world = governed(2, 9);
    world.is_patch_refused = true;
    rounds(&mut world, 20);
    assert_eq!((opened(&world), world.waits()), (0, vec!["RELEASE/AWAIT_FIT".to_owned()]));
    assert!(world.pods.values().all(|(revision, _)| revision == "old"));
    world.others = vec![autoscaler(3, 3)];
    world.run();
    assert_eq!(world.state().phase(&world.plan), ReleasePhase::Done);
}

#[test]
fn in_the_end_the_step_fails_without_going_back_and_a_person_lets_it_begin() {
    let mut world = governed(2, 9);
    world.is_patch_refused = true;
    let rollout = world.plan.content.waves[0].steps[0].rollout.as_mut().unwrap();
    rollout.on_failure = OnFailure::Rollback;
    rounds(&mut world, 80);
    let failed = world.events.last().unwrap().event.clone();
    let Event::StepFailed { failure, .. } = failed else { panic!("{failed:?}") };
    assert_eq!(failure.code, "RELEASE/NOT_FIT_TO_BEGIN");
    assert!(failure.args["reason"].contains("2 to 9"), "{failure:?}");
    assert_eq!(opened(&world), 0);
    world.ask(&Command::Retry { part: Part::default() });
    world.run();
    assert_eq!(world.state().phase(&world.plan), ReleasePhase::Done);
}

#[test]
fn replicas_that_are_left_to_an_autoscaler_are_held_while_groups_are_open_and_left_again() {
    let mut world = governed(3, 3);
    for state in [&mut world.desired, &mut world.before] {
        let mut body = state.objects[0].body();
        ignored::leave(&mut body, "spec.replicas", "the autoscaler sets it");
        let owner = state.objects[0].owner.clone();
        state.objects[0] = DesiredObject::new(body.reference("room-a"), &body, owner, None);
    }
    let mut held = false;
    for _ in 0..100 {
        world.round();
        if driver::revision(&world.live) == "new"
            && opened(&world) > world.state().step(STEP).map_or(0, |own| own.groups_done)
        {
            held |= !ignored::is_left(&world.live, "spec.replicas");
        }
    }
    assert!(held, "while groups are open the number is the approved one");
    assert_eq!(world.state().phase(&world.plan), ReleasePhase::Done);
    assert!(ignored::is_left(&world.live, "spec.replicas"));
}

fn unready(ordinals: &[u32]) -> World {
    let mut world = World::new("StatefulSet", Driver::StatefulSet, &[1, 2], false);
    world.unready = ordinals.iter().copied().collect();
    world
}

#[test]
fn pods_on_their_way_are_waited_for_by_name_and_the_first_group_opens_when_they_are_ready() {
    let mut world = unready(&[1]);
    rounds(&mut world, 20);
    assert_eq!((opened(&world), world.waits()), (0, vec!["RELEASE/AWAIT_FIT".to_owned()]));
    let work = Work { plan: &world.plan, desired: &world.desired, before: &world.before };
    let decision = decide(work, &world.state(), &world.observed(), &world.gate, world.now);
    assert_eq!(&*decision.waits[0].args["reason"], "2 of 3 pods are ready, not ready: core-1");
    world.unready.clear();
    world.run();
    assert_eq!(world.state().phase(&world.plan), ReleasePhase::Done);
}

#[test]
fn pods_that_are_not_there_are_waited_for_too() {
    let mut world = unready(&[]);
    world.pods.remove(&2);
    rounds(&mut world, 5);
    assert_eq!(opened(&world), 0);
    let work = Work { plan: &world.plan, desired: &world.desired, before: &world.before };
    let decision = decide(work, &world.state(), &world.observed(), &world.gate, world.now);
    assert_eq!(&*decision.waits[0].args["reason"], "2 of 3 pods are ready, not there: 1");
}

/// What a release may mend never keeps it from beginning.
#[test]
fn no_release_that_may_be_the_mend_is_kept_waiting() {
    let begins = |mut world: World| {
        rounds(&mut world, 20);
        opened(&world) > 0
    };
    assert!(!begins(unready(&[0, 1])));
    assert!(begins(unready(&[0, 1, 2])), "none is ready");
    let mut broken = unready(&[]);
    broken.broken_after = Some(2);
    assert!(begins(broken), "one ends again and again");
    let mut half_way = unready(&[1]);
    half_way.pods.get_mut(&2).unwrap().0 = "between".to_owned();
    assert!(begins(half_way), "an earlier release stopped half way");
    let mut back = unready(&[1]);
    back.plan.content.tasks.push(crate::plan::Task {
        kind: crate::plan::TaskKind::Rollback,
        subject: "iam".to_owned(),
        app: None,
        scaling_group: None,
        clusters: vec!["room-a".to_owned()],
        from: "2".to_owned(),
        to: "1".to_owned(),
        operation: None,
    });
    assert!(begins(back), "it goes back");
}

#[test]
fn a_group_that_was_opened_is_not_asked_again() {
    let mut world = unready(&[]);
    while opened(&world) == 0 {
        world.round();
    }
    world.unready.insert(0);
    rounds(&mut world, 10);
    assert!(!world.waits().contains(&"RELEASE/AWAIT_FIT".to_owned()));
}
