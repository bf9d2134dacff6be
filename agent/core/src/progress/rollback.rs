//! The way back: what a release changed becomes what it was before.
//!
//! Order matters (research: delivery.md B.4, "Rollback recipe"): the old template first, then, once its controller has
//! seen it, the broken pods. Steps go back in reverse, one after the other.

use tidegate_schema::finding::Finding;

use super::hold;
use super::objects::run;
use super::state::Rollback;
use super::terms::Terms;
use super::{Decision, Effect, Observed, ReleaseState, StepState, StepStatus, Work, was_there};
use crate::desired::DesiredObject;
use crate::driver;
use crate::health::{Health, health_by, is_observed};
use crate::object::{Object, ObjectRef};
use crate::plan::Step;
use crate::release::Event;
use crate::zone::ZoneData;

pub(super) fn decide(
    work: Work<'_>,
    state: &ReleaseState,
    rollback: &Rollback,
    observed: &Observed,
) -> Decision {
    let mut steps: Vec<&Step> = work.plan.steps().map(|(_, step)| step).collect();
    steps.reverse();
    for step in steps {
        let Some(own) = state.step(&step.id) else { continue };
        if is_concerned(step, own, rollback) {
            return revert(work, step, own, observed);
        }
    }
    // A rollback of a part leaves steps of others that somebody skipped or gave up.
    hold::let_all_go(state, observed).unwrap_or_else(|| Decision::event(Event::RolledBack))
}

/// A rollback of a part takes back that part and whatever is not done, except what somebody has given up: that stays as it
/// is. A rollback of everything takes back all that was started.
fn is_concerned(step: &Step, own: &StepState, rollback: &Rollback) -> bool {
    let is_open = !own.is_complete() && own.status != StepStatus::Cancelled;
    own.status != StepStatus::RolledBack && (rollback.part.has(step) || is_open)
}

fn revert(work: Work<'_>, step: &Step, own: &StepState, observed: &Observed) -> Decision {
    if let Some(gap) = observed.gaps.get(&step.cluster) {
        let finding = Finding::note("RELEASE/CLUSTER_UNREACHABLE").with("cluster", &step.cluster);
        return Decision::wait(finding.with("reason", &gap.message));
    }
    let touched = touched(step, own);
    let open = touched.iter().copied().filter(|reference| !own.reverted.contains(*reference));
    let reverted = |reference| revert_object(work, step, own, reference, observed);
    if let Some(decision) = run(open).into_iter().map(reverted).reduce(Decision::and) {
        return decision;
    }
    for reference in &touched {
        if let Some(decision) = recover(work, step, reference, observed) {
            return decision;
        }
    }
    let is_as_before = |name: &String| {
        let before = work.before.zones.iter().find(|zone| &zone.name == name);
        before.map(ZoneData::digest).as_ref() == observed.published.get(name)
    };
    if !step.zones.iter().all(is_as_before) {
        let publish = Effect::Publish { zones: step.zones.clone(), is_before: true };
        let finding = Finding::note("RELEASE/PUBLISHING").with("zones", step.zones.join(", "));
        return Decision::effects(vec![publish], finding);
    }
    hold::let_go(&step.id, own, observed)
        .unwrap_or_else(|| Decision::event(Event::StepRolledBack { step: step.id.clone() }))
}

/// What the step may have changed, last first. Of a step that is done that is what it recorded. While another was under way
/// the agent may have been killed between an effect and its record, so everything of it may have been touched; taking back
/// what was not changes nothing.
fn touched<'a>(step: &'a Step, own: &StepState) -> Vec<&'a ObjectRef> {
    let workload = step.rollout.as_ref().map(|rollout| &rollout.workload);
    let is_under_way =
        matches!(own.status, StepStatus::Running | StepStatus::Failed(_) | StepStatus::Cancelled);
    let is_touched = |reference: &&ObjectRef| {
        is_under_way
            || own.applied.contains(*reference)
            || own.pruned.contains(*reference)
            || (own.groups_done > 0 && workload == Some(*reference))
    };
    step.objects().filter(is_touched).rev().collect()
}

fn revert_object(
    work: Work<'_>,
    step: &Step,
    own: &StepState,
    reference: &ObjectRef,
    observed: &Observed,
) -> Decision {
    let finding = Finding::note("RELEASE/REVERTING").with("object", reference.to_string());
    let before = work.before.object(reference).map(DesiredObject::body);
    // What was set on a node is given up again; the machine itself is nobody's to delete.
    let is_set_node = reference.is_node() && observed.object(reference).is_some();
    if let Some(object) = before.or_else(|| is_set_node.then(|| Object::node(&reference.name))) {
        let effect = Effect::Apply {
            step: step.id.clone(),
            reference: reference.clone(),
            object,
            is_final: true,
            terms: Box::new(Terms::none()),
        };
        return Decision::effects(vec![effect], finding);
    }
    // What was there before the release, though not by our documents, is not the release's to delete.
    let is_kept = was_there(work.plan, reference)
        || matches!(reference.kind.as_str(), "PersistentVolumeClaim" | "Namespace");
    let is_somebody_elses = !own.applied.contains(reference)
        && observed.object(reference).is_some_and(|live| !live.is_applied_by_us());
    if is_kept || is_somebody_elses || observed.is_absent(reference) {
        return Decision::event(Event::ObjectsReverted {
            step: step.id.clone(),
            objects: vec![reference.clone()],
        });
    }
    Decision::deletion(step, reference, observed, finding)
}

/// Waits until a reverted workload runs again, and deletes new pods that stand in its way.
fn recover(
    work: Work<'_>,
    step: &Step,
    reference: &ObjectRef,
    observed: &Observed,
) -> Option<Decision> {
    let before = work.before.object(reference)?;
    let body = before.body();
    let wanted = driver::revision(&body);
    let is_workload = !wanted.is_empty();
    let waiting = |why: &str| {
        let finding = Finding::note("RELEASE/AWAIT_HEALTH").with("object", reference.to_string());
        Decision::wait(finding.with("reason", why))
    };
    let Some(live) = observed.object(reference) else {
        return Some(waiting("has not been seen yet"));
    };
    if !is_observed(live) {
        return Some(waiting("its controller has not seen the change yet"));
    }
    if is_workload {
        let pods = observed.pods(reference);
        let wrong = pods.iter().filter(|pod| pod.revision != wanted && !pod.is_terminating);
        let is_on_delete = live.text("/spec/updateStrategy/type") == "OnDelete";
        let effects: Vec<Effect> = wrong
            .filter(|pod| is_on_delete || !pod.is_ready())
            .map(|pod| Effect::delete_pod(&step.cluster, pod))
            .collect();
        if !effects.is_empty() {
            let finding = Finding::note("RELEASE/REVERTING").with("object", reference.to_string());
            return Some(Decision::effects(effects, finding));
        }
        if pods.iter().any(|pod| pod.revision != wanted) {
            return Some(waiting("new pods are going away"));
        }
    }
    match health_by(&work.before.health, live) {
        Health::Healthy => None,
        Health::Progressing(why) | Health::Failed(why) => Some(waiting(&why)),
    }
}
