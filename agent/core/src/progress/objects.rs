//! Steps that apply, await and delete objects; Jobs among them.

use jiff::Timestamp;
use tidegate_schema::finding::Finding;

use super::{Decision, Effect, Observed, StepState, Work, after, failure};
use crate::health::{Health, health};
use crate::object::ObjectRef;
use crate::plan::{Step, StepKind};
use crate::release::Event;

/// A whole step of objects, to its end or its timeout.
pub(super) fn decide(
    work: Work<'_>,
    step: &Step,
    own: &StepState,
    observed: &Observed,
    now: Timestamp,
) -> Decision {
    let Some(decision) = decide_objects(work, step, own, observed) else {
        return Decision::event(Event::StepDone { step: step.id.clone() });
    };
    let deadline = after(own.started_at, step.timeout_seconds);
    if decision.events.is_empty() && now >= deadline {
        let failure = failure::timeout(&decision.waits, step.timeout_seconds);
        return Decision::event(Event::StepFailed { step: step.id.clone(), group: None, failure });
    }
    decision.and(Decision { next: Some(deadline), ..Decision::default() })
}

/// What is left to do with the step's objects (its workload, if it has groups, apart); `None` when all are applied,
/// healthy, and gone where they should be.
pub(super) fn decide_objects(
    work: Work<'_>,
    step: &Step,
    own: &StepState,
    observed: &Observed,
) -> Option<Decision> {
    let workload = step.rollout.as_ref().map(|rollout| &rollout.workload);
    let wanted = || step.apply.iter().chain(&step.replace).filter(|it| Some(*it) != workload);
    if let Some(refused) = refused(step, observed) {
        return Some(refused);
    }
    if let Some(missing) = wanted().find(|reference| !own.applied.contains(*reference)) {
        let run = wanted()
            .skip_while(|reference| *reference != missing)
            .take_while(|reference| {
                (&reference.group, &reference.kind) == (&missing.group, &missing.kind)
            })
            .filter(|reference| !own.applied.contains(*reference));
        return unestablished(wanted(), own, observed)
            .or_else(|| Some(apply(work, step, run, observed)));
    }
    let unhealthy = wanted().find_map(|reference| awaited(step, reference, observed));
    unhealthy.or_else(|| prune(step, own, observed))
}

fn apply<'a>(
    work: Work<'_>,
    step: &Step,
    run: impl Iterator<Item = &'a ObjectRef>,
    observed: &Observed,
) -> Decision {
    let mut decision = Decision::default();
    for reference in run {
        let finding = Finding::note("RELEASE/APPLYING").with("object", reference.to_string());
        let own = if must_go_first(step, reference, observed) {
            Decision::deletion(step, reference, observed, finding)
        } else if let Some(desired) = work.desired.object(reference) {
            let effect = Effect::Apply {
                step: step.id.clone(),
                reference: reference.clone(),
                object: desired.body.clone(),
                is_final: true,
            };
            Decision::effects(vec![effect], finding)
        } else {
            continue;
        };
        decision = decision.and(own);
    }
    decision
}

/// A replaced object goes while it is still the one that we made: its successor has another uid.
fn must_go_first(step: &Step, reference: &ObjectRef, observed: &Observed) -> bool {
    step.replace.contains(reference)
        && observed
            .object(reference)
            .is_some_and(|live| observed.uids.get(reference).is_some_and(|uid| uid == live.uid()))
}

/// Custom resource definitions are established, and namespaces exist, before anything that may need them (A7).
fn unestablished<'a>(
    wanted: impl Iterator<Item = &'a ObjectRef>,
    own: &StepState,
    observed: &Observed,
) -> Option<Decision> {
    wanted
        .filter(|reference| own.applied.contains(*reference))
        .filter(|reference| reference.kind == "CustomResourceDefinition")
        .find_map(|reference| match observed.object(reference).map(health) {
            Some(Health::Healthy) => None,
            _ => Some(waiting(reference, "is not established")),
        })
}

fn waiting(reference: &ObjectRef, what: &str) -> Decision {
    let finding = Finding::note("RELEASE/AWAIT_HEALTH");
    Decision::wait(finding.with("object", reference.to_string()).with("reason", what))
}

fn awaited(step: &Step, reference: &ObjectRef, observed: &Observed) -> Option<Decision> {
    let Some(live) = observed.object(reference) else {
        return Some(waiting(reference, "has not been seen yet"));
    };
    match health(live) {
        Health::Healthy => None,
        Health::Progressing(what) => Some(waiting(reference, &what)),
        Health::Failed(why) => {
            let pods = failure::pods(observed.pods(reference).iter());
            let is_job = matches!(step.kind, StepKind::Job(_));
            let code = if is_job { "RELEASE/JOB_FAILED" } else { "RELEASE/OBJECT_FAILED" };
            let failure = failure::of(code, reference, &why, pods);
            Some(Decision::event(Event::StepFailed { step: step.id.clone(), group: None, failure }))
        }
    }
}

/// What the server refused for good ends the step; what may pass is tried again until the timeout.
pub(super) fn refused(step: &Step, observed: &Observed) -> Option<Decision> {
    let mine = step.apply.iter().chain(&step.replace).chain(&step.prune);
    mine.filter_map(|reference| Some((reference, observed.failures.get(reference)?)))
        .find(|(_, failure)| !failure.is_transient)
        .map(|(reference, refused)| {
            let failure = failure::of(&refused.code, reference, &refused.message, Vec::new());
            Decision::event(Event::StepFailed { step: step.id.clone(), group: None, failure })
        })
}

fn prune(step: &Step, own: &StepState, observed: &Observed) -> Option<Decision> {
    let mut left =
        step.prune.iter().filter(|reference| !own.pruned.contains(*reference)).peekable();
    let first = left.peek()?;
    if is_gone(first, observed) {
        let gone = left.take_while(|reference| is_gone(reference, observed)).cloned().collect();
        return Some(Decision::event(Event::ObjectsPruned {
            step: step.id.clone(),
            objects: gone,
        }));
    }
    let finding = Finding::note("RELEASE/DELETING").with("object", first.to_string());
    let finalizers = observed.object(first).and_then(|live| live.get("/metadata/finalizers"));
    let held = finalizers.map(ToString::to_string).unwrap_or_default();
    Some(Decision::deletion(step, first, observed, finding.with("finalizers", held)))
}

/// Ours is gone when nothing stands there, or something that somebody else made meanwhile.
fn is_gone(reference: &ObjectRef, observed: &Observed) -> bool {
    let is_another = || {
        let live = observed.object(reference)?;
        Some(observed.uids.get(reference)? != live.uid())
    };
    observed.is_absent(reference) || is_another().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::desired::DesiredState;
    use crate::object::Object;
    use crate::progress::Seen;

    fn step(reference: &ObjectRef) -> Step {
        Step {
            id: "all/room-a/web".to_owned(),
            kind: StepKind::Prune,
            cluster: "room-a".to_owned(),
            product: None,
            needs: Vec::new(),
            apply: Vec::new(),
            replace: Vec::new(),
            prune: vec![reference.clone()],
            zones: Vec::new(),
            rollout: None,
            timeout_seconds: 60,
        }
    }

    fn pruned(metadata: serde_json::Value, uid: &str) -> Decision {
        let live = Object::new(json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": metadata,
        }));
        let reference = live.reference("room-a");
        let objects = [(reference.clone(), Seen::Present(live))].into_iter().collect();
        let uids = [(reference.clone(), uid.to_owned())].into_iter().collect();
        let observed = Observed { objects, uids, ..Observed::default() };
        prune(&step(&reference), &StepState::started(Timestamp::UNIX_EPOCH), &observed).unwrap()
    }

    #[test]
    fn what_is_being_deleted_is_waited_for_and_not_deleted_again() {
        let decided = |metadata| {
            let decision = pruned(metadata, "1");
            (decision.effects.len(), decision.waits.len())
        };
        assert_eq!(decided(json!({"name": "web", "uid": "1"})), (1, 1));
        let going = json!({"name": "web", "uid": "1", "deletionTimestamp": "2026-03-02T09:00:00Z"});
        assert_eq!(decided(going), (0, 1));
    }

    #[test]
    fn what_holds_a_deletion_back_is_named_until_the_deadline_and_in_the_failure() {
        let live = Object::new(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
            "name": "web", "namespace": "shop", "uid": "1", "finalizers": ["example.org/hold"],
            "deletionTimestamp": "2026-03-02T09:00:00Z"}}));
        let reference = live.reference("room-a");
        let objects = [(reference.clone(), Seen::Present(live))].into_iter().collect();
        let uids = [(reference.clone(), "1".to_owned())].into_iter().collect();
        let observed = Observed { objects, uids, ..Observed::default() };
        let own = StepState::started(Timestamp::UNIX_EPOCH);
        let (step, state) = (step(&reference), DesiredState::default());
        let plan = crate::progress::tests::empty_plan();
        let work = Work { plan: &plan, desired: &state, before: &state };
        let decided =
            |seconds| decide(work, &step, &own, &observed, after(own.started_at, seconds));
        let waits = decided(59).waits;
        assert!(waits[0].args["finalizers"].contains("example.org/hold"), "{waits:?}");
        let events = decided(60).events;
        let [Event::StepFailed { failure, .. }] = events.as_slice() else {
            panic!("{events:?}");
        };
        assert!(failure.args["reason"].contains("example.org/hold"), "{failure:?}");
    }

    #[test]
    fn a_successor_of_somebody_else_is_left_alone() {
        let decision = pruned(json!({"name": "web", "uid": "2"}), "1");
        assert!(decision.effects.is_empty(), "{decision:?}");
        assert!(matches!(decision.events.as_slice(), [Event::ObjectsPruned { .. }]));
    }
}
