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
    if observed.is_absent(first) {
        let gone = left.take_while(|reference| observed.is_absent(reference)).cloned().collect();
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
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

    #[test]
    fn what_is_being_deleted_is_waited_for_and_not_deleted_again() {
        let decided = |metadata: serde_json::Value| {
            let live = Object::new(json!({
                "apiVersion": "v1", "kind": "Namespace", "metadata": metadata,
            }));
            let reference = live.reference("room-a");
            let objects = [(reference.clone(), Seen::Present(live))].into_iter().collect();
            let observed = Observed { objects, ..Observed::default() };
            let decision =
                prune(&step(&reference), &StepState::started(Timestamp::UNIX_EPOCH), &observed)
                    .unwrap();
            (decision.effects.len(), decision.waits.len())
        };
        assert_eq!(decided(json!({"name": "web"})), (1, 1));
        let going = json!({"name": "web", "deletionTimestamp": "2026-03-02T09:00:00Z"});
        assert_eq!(decided(going), (0, 1));
    }
}
