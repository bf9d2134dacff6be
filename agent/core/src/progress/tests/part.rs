//! Commands to a part of a release: what they mean, what goes with it, and what does not.

use super::*;

fn of_step(step: &str, group: Option<usize>) -> Part {
    Part { step: Some(step.to_owned()), group, ..Part::default() }
}

fn of_app(app: &str) -> Part {
    Part { app: Some(app.to_owned()), ..Part::default() }
}

fn of_product(product: &str) -> Part {
    Part { product: Some(product.to_owned()), ..Part::default() }
}

fn skip(group: usize) -> Command {
    Command::Skip { part: of_step(STEP, Some(group)), reason: "CHG-7".to_owned() }
}

fn until_failed(world: &mut World) {
    for _ in 0..400 {
        if world.state().phase(&world.plan) == ReleasePhase::Failed {
            return;
        }
        world.round();
    }
    panic!("it does not fail: {:?}", world.state());
}

fn until_opened(world: &mut World, groups: usize) {
    while world.count(|event| matches!(event, Event::GroupOpened { .. })) < groups {
        world.round();
    }
}

/// Pods of which the last step's failure tells.
fn failed_pods(world: &World) -> Vec<String> {
    let state = world.state();
    let StepStatus::Failed(failure) = &state.step(STEP).unwrap().status else { panic!() };
    failure.pods.iter().map(|pod| pod.pod.clone()).collect()
}

#[rstest]
#[case::stateful_set("StatefulSet", Driver::StatefulSet, 3, "iam/core-3", 2, "iam/core-2")]
#[case::deployment("Deployment", Driver::Deployment, 0, "iam/core-0", 1, "iam/core-1")]
fn a_waived_group_lets_the_next_go_on_and_excuses_only_the_pods_that_were_looked_at(
    #[case] kind: &str,
    #[case] driver: Driver,
    #[case] first: u32,
    #[case] first_name: &str,
    #[case] second: u32,
    #[case] second_name: &str,
) {
    let mut world = World::new(kind, driver, &[1, 2, 1], false);
    until_opened(&mut world, 1);
    world.unready.insert(first);
    until_failed(&mut world);
    assert_eq!(failed_pods(&world), [first_name]);
    world.ask(&skip(1));
    until_opened(&mut world, 2);
    world.unready.insert(second);
    until_failed(&mut world);
    let state = world.state();
    assert_eq!(state.step(STEP).unwrap().open.as_ref().map(|open| open.group), Some(1));
    assert_eq!(failed_pods(&world), [second_name], "what was waived is told no more");
    world.unready.remove(&second);
    world.ask(&Command::Retry { part: of_step(STEP, Some(2)) });
    world.run();
    assert_eq!(world.state().phase(&world.plan), ReleasePhase::Done);
    assert_eq!(world.count(|event| matches!(event, Event::Skipped { group: Some(0), .. })), 1);
    assert!(world.pods.values().all(|(revision, _)| revision == "new"), "{:?}", world.pods);
}

#[test]
fn a_check_that_is_waived_for_a_group_is_asked_again_of_the_next() {
    let mut world = checked("StatefulSet", Driver::StatefulSet, &[1, 2]);
    world.verdict = Verdict::Fails("answered 500".to_owned());
    until_failed(&mut world);
    let waived = failed_pods(&world);
    world.ask(&skip(1));
    until_failed(&mut world);
    let others = failed_pods(&world);
    assert_eq!((waived.len(), others.len()), (1, 2));
    assert!(!others.contains(&waived[0]), "{others:?}");
    world.ask(&skip(2));
    world.run();
    assert_eq!(world.state().phase(&world.plan), ReleasePhase::Done);
}

#[test]
fn a_restart_goes_on_without_the_pods_that_were_waived() {
    let mut world = restart::restart("StatefulSet", &[1, 2], false);
    world.unready = BTreeSet::from([2]);
    until_failed(&mut world);
    world.ask(&skip(1));
    world.run();
    assert_eq!(world.state().phase(&world.plan), ReleasePhase::Done);
    assert_eq!(world.made, 6, "each was made anew, once");
}

#[test]
fn whoever_names_a_group_means_the_one_that_they_looked_at() {
    let mut world = World::new("StatefulSet", Driver::StatefulSet, &[1, 2], false);
    world.unready = BTreeSet::from([2]);
    until_failed(&mut world);
    let refused = |part: Part| {
        let reason = "no".to_owned();
        let commands = [
            Command::Retry { part: part.clone() },
            Command::Skip { part: part.clone(), reason: reason.clone() },
            Command::Rollback { part: part.clone(), reason: reason.clone() },
            Command::Cancel { part, reason },
        ];
        let codes = commands.map(|asked| {
            command(&world.plan, &world.state(), &Needs::new(), &asked, "li-na").unwrap_err().code
        });
        codes.map(|code| code.to_string())
    };
    assert_eq!(refused(of_step(STEP, Some(2))), ["RELEASE/GROUP_NOT_OPEN"; 4]);
    let of_no_step = Part { group: Some(1), ..Part::default() };
    assert_eq!(refused(of_no_step), ["RELEASE/GROUP_NOT_OPEN"; 4]);
    assert_eq!(refused(of_step("all/room-a/iam/none", None)), ["RELEASE/NO_SUCH_PART"; 4]);
    assert_eq!(refused(of_app("crm/core")), ["RELEASE/NO_SUCH_PART"; 4]);
    assert_eq!(refused(of_app("core")), ["RELEASE/NO_SUCH_PART"; 4]);
    assert_eq!(refused(of_product("crm")), ["RELEASE/NO_SUCH_PART"; 4]);
    let both = Part { app: Some("iam/core".to_owned()), ..of_product("iam") };
    world.ask(&Command::Retry { part: both });
    assert_eq!(world.state().phase(&world.plan), ReleasePhase::Running);
}

/// Two products in a first cell and then in the rest of the site; `shop`, which requires `iam`, in a wave of its own; and last
/// what the site deletes.
fn cells() -> (Plan, DesiredState) {
    let (mut plan, mut state) = (empty_plan(), DesiredState::default());
    let steps: [(usize, &str, &[&str]); 9] = [
        (0, "gray/room-a/iam/core", &[]),
        (0, "gray/room-a/iam/web", &["gray/room-a/iam/core"]),
        (0, "gray/room-a/crm/app", &[]),
        (1, "all/room-b/iam/core", &[]),
        (1, "all/room-b/iam/web", &["all/room-b/iam/core"]),
        (1, "all/room-b/crm/app", &[]),
        (2, "shop/room-b/shop/till", &[]),
        (3, "last/room-b/iam", &[]),
        (3, "last/room-b", &[]),
    ];
    for (wave, id, needs) in steps {
        let parts: Vec<&str> = id.split('/').collect();
        let (cluster, product) = (parts[1], parts.get(2).map(|it| (*it).to_owned()));
        let name = id.replace('/', "-");
        let body = Object::new(json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "x"}}));
        let reference = body.reference(cluster);
        let is_last = wave == 3;
        let (mut apply, mut prune) = (vec![reference.clone()], Vec::new());
        if is_last {
            std::mem::swap(&mut apply, &mut prune);
        } else {
            state.objects.push(DesiredObject::new(reference, &body, owner(), None));
        }
        let step = Step {
            kind: if is_last { StepKind::Prune } else { StepKind::Rollout },
            id: id.to_owned(),
            cluster: cluster.to_owned(),
            product,
            needs: needs.iter().map(|it| (*it).to_owned()).collect(),
            apply,
            prune,
            rollout: None,
            ..super::plan("Deployment", Driver::Whole, &[1], false).content.waves[0].steps[0]
                .clone()
        };
        if plan.content.waves.len() == wave {
            plan.content.waves.push(Wave {
                name: parts[0].to_owned(),
                clusters: vec![cluster.to_owned()],
                bake_seconds: 0,
                confirm: false,
                steps: Vec::new(),
            });
        }
        plan.content.waves[wave].steps.push(step);
    }
    state.objects.sort_by(|left, right| left.reference.cmp(&right.reference));
    (plan, state)
}

/// The steps that a command gives up after these events.
fn cancel(plan: &Plan, events: &[Event], part: Part) -> Result<Vec<String>, Finding> {
    let requires = Needs::from([("shop".to_owned(), BTreeSet::from(["iam".to_owned()]))]);
    let mut recorded = Vec::new();
    append(&mut recorded, Timestamp::UNIX_EPOCH, events.to_vec());
    let state = ReleaseState::of(&recorded);
    let cancel = Command::Cancel { part, reason: "CHG-8".to_owned() };
    let step = |event: Event| {
        let Event::StepCancelled { step, .. } = event else { panic!("{event:?}") };
        step
    };
    let events = command(plan, &state, &requires, &cancel, "li-na")?;
    Ok(events.into_iter().map(step).collect())
}

#[rstest]
#[case::a_product(of_product("iam"), &[
    "gray/room-a/iam/core", "gray/room-a/iam/web", "all/room-b/iam/core", "all/room-b/iam/web",
    "shop/room-b/shop/till", "last/room-b/iam", "last/room-b",
])]
#[case::an_app(of_app("iam/web"), &[
    "gray/room-a/iam/web", "all/room-b/iam/web", "shop/room-b/shop/till", "last/room-b/iam", "last/room-b",
])]
#[case::a_step_of_the_first_cell(of_step("gray/room-a/crm/app", None), &[
    "gray/room-a/crm/app", "all/room-b/crm/app", "last/room-b/iam", "last/room-b",
])]
#[case::a_step_of_the_second(of_step("all/room-b/crm/app", None), &["all/room-b/crm/app", "last/room-b/iam", "last/room-b"])]
fn with_a_part_everything_is_given_up_that_counts_on_it(
    #[case] part: Part,
    #[case] wanted: &[&str],
) {
    assert_eq!(cancel(&cells().0, &[], part).unwrap(), wanted);
}

/// The version that stays may still use what nobody wants beside the new one.
#[test]
fn what_would_go_stays_with_what_is_given_up_unless_it_is_going_already() {
    let (mut plan, _) = cells();
    let gone = Step {
        id: "gray/room-a/gone".to_owned(),
        kind: StepKind::Offline,
        product: Some("gone".to_owned()),
        ..plan.content.waves[3].steps[0].clone()
    };
    plan.content.waves[0].steps.insert(0, gone.clone());
    let part = || of_step("all/room-b/crm/app", None);
    let later = cancel(&plan, &[], part()).unwrap();
    assert!(!later.contains(&gone.id), "it is over before: {later:?}");
    let part = of_step("gray/room-a/crm/app", None);
    assert_eq!(cancel(&plan, &[], part.clone()).unwrap().first(), Some(&gone.id));
    let going = [Event::StepStarted { step: gone.id.clone() }];
    let given_up = cancel(&plan, &going, part).unwrap();
    assert!(!given_up.contains(&gone.id), "{given_up:?}");
}

#[test]
fn what_is_done_is_not_given_up() {
    let (plan, _) = cells();
    let core = "gray/room-a/iam/core".to_owned();
    let done = [Event::StepStarted { step: core.clone() }, Event::StepDone { step: core.clone() }];
    let refused = cancel(&plan, &done, of_step(&core, None)).unwrap_err();
    assert_eq!(refused.code, "RELEASE/NOTHING_TO_CANCEL");
    let rest = cancel(&plan, &done, of_product("iam")).unwrap();
    assert_eq!(rest.first().map(String::as_str), Some("gray/room-a/iam/web"));
}

/// Goes on until nothing happens, deletions included.
fn until_end(
    (plan, desired): &(Plan, DesiredState),
    before: &DesiredState,
    recorded: &mut Vec<ReleaseEvent>,
) -> (ReleaseState, BTreeSet<String>) {
    let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
    let (mut observed, mut written) = (Observed::default(), BTreeSet::new());
    for _ in 0..100 {
        let state = ReleaseState::of(recorded);
        let work = Work { plan, desired, before };
        let decision = decide(work, &state, &observed, &open(), now);
        let mut events = decision.events;
        for effect in decision.effects {
            let (step, reference, seen) =
                if let Effect::Apply { step, reference, object, .. } = effect {
                    (step, reference, Seen::Present(object))
                } else if let Effect::Delete { step, reference, .. } = effect {
                    (step, reference, Seen::Absent)
                } else {
                    panic!("{effect:?}")
                };
            observed.objects.insert(reference.clone(), seen);
            written.insert(step.clone());
            events.push(super::written(&state, step, vec![reference]));
        }
        if events.is_empty() {
            break;
        }
        append(recorded, now, events);
    }
    (ReleaseState::of(recorded), written)
}

fn cancelled(step: &str) -> Event {
    let (by, reason) = ("li-na".to_owned(), "CHG-8".to_owned());
    Event::StepCancelled { step: step.to_owned(), by, reason }
}

#[test]
fn the_rest_goes_on_and_the_release_ends_as_cancelled() {
    let (plan, mut desired) = cells();
    let mut recorded = Vec::new();
    let given_up = cancel(&plan, &[], of_product("iam")).unwrap();
    let events = given_up.iter().map(|step| cancelled(step)).collect();
    append(&mut recorded, Timestamp::UNIX_EPOCH, events);
    desired.objects.retain(|object| !object.reference.name.starts_with("last"));
    let (state, written) =
        until_end(&(plan.clone(), desired), &DesiredState::default(), &mut recorded);
    assert_eq!(state.phase(&plan), ReleasePhase::Cancelled);
    let wanted = ["all/room-b/crm/app", "gray/room-a/crm/app"];
    assert_eq!(written, wanted.map(ToOwned::to_owned).into());
    let waves = [0, 1, 2, 3].map(|index| state.wave(index).is_some());
    assert_eq!(waves, [true, true, false, false], "a wave of which all was given up is no wave");
    let told = products(&plan, &state).into_iter().map(|it| (it.product, it.state));
    let told: BTreeMap<String, ProductState> = told.collect();
    assert_eq!((told["crm"], told["iam"]), (ProductState::Done, ProductState::Cancelled));
    let end = recorded.last().map(|event| event.event.clone());
    let said = Event::Cancelled { by: "li-na".to_owned(), reason: "CHG-8".to_owned() };
    assert_eq!(end, Some(said));
}

/// `iam` was begun and given up, `crm` is done in the first cell, and somebody goes back.
fn half_way(plan: &Plan) -> Vec<ReleaseEvent> {
    let (core, app) = ("gray/room-a/iam/core".to_owned(), "gray/room-a/crm/app".to_owned());
    let object = |id: &str| plan.step(id).unwrap().apply.clone();
    let mut recorded = Vec::new();
    let events = vec![
        Event::WaveStarted { wave: 0, approvals: Vec::new() },
        Event::StepStarted { step: core.clone() },
        Event::StepStarted { step: app.clone() },
        Event::ObjectsApplied { step: app.clone(), objects: object(&app) },
        Event::StepDone { step: app },
        cancelled(&core),
    ];
    append(&mut recorded, Timestamp::UNIX_EPOCH, events);
    recorded
}

#[rstest]
#[case::everything(Part::default(), &["gray/room-a/crm/app", "gray/room-a/iam/core"])]
#[case::what_was_given_up(of_app("iam/core"), &["gray/room-a/iam/core"])]
#[case::a_step_beside_it(of_step("gray/room-a/crm/app", None), &["gray/room-a/crm/app"])]
fn what_was_given_up_goes_back_only_when_it_is_meant(#[case] part: Part, #[case] wanted: &[&str]) {
    let (plan, desired) = cells();
    let mut recorded = half_way(&plan);
    let back = Command::Rollback { part, reason: "CHG-9".to_owned() };
    let state = ReleaseState::of(&recorded);
    let events = command(&plan, &state, &Needs::new(), &back, "li-na").unwrap();
    append(&mut recorded, Timestamp::UNIX_EPOCH, events);
    let before = desired.clone();
    let (state, written) = until_end(&(plan.clone(), desired), &before, &mut recorded);
    assert_eq!(state.phase(&plan), ReleasePhase::RolledBack);
    assert_eq!(written, wanted.iter().map(|it| (*it).to_owned()).collect());
}

/// As journals of before say it.
#[test]
fn events_of_before_are_still_read() {
    let read = |text: &str| serde_json::from_str::<Event>(text).unwrap();
    let back = read(r#"{"type": "rollbackStarted", "product": null, "by": "a", "reason": "b"}"#);
    assert!(matches!(back, Event::RollbackStarted { part, .. } if part.is_all()));
    let back = read(r#"{"type": "rollbackStarted", "product": "iam", "by": "a", "reason": "b"}"#);
    assert!(matches!(back, Event::RollbackStarted { part, .. } if part == of_product("iam")));
    let skipped = read(r#"{"type": "skipped", "step": "x", "by": "a", "reason": "b"}"#);
    assert!(matches!(skipped, Event::Skipped { group: None, approval: None, .. }));
    let command = serde_json::from_str(r#"{"command": "retry", "step": "x"}"#).unwrap();
    assert_eq!(Command::Retry { part: of_step("x", None) }, command);
}
