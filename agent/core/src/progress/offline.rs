//! Offline before it is uninstalled: the pods of a product go while its objects stay, so that a person can see whether
//! anything misses them while it can still be brought back as it was.

use jiff::Timestamp;
use tidegate_schema::finding::Finding;

use super::{Decision, Observed, ReleaseState, StepState, StepStatus, Work, objects};
use crate::desired::DesiredObject;
use crate::driver;
use crate::health::is_observed;
use crate::object::{Object, ObjectRef};
use crate::plan::{Plan, Step};

pub(super) fn decide(
    work: Work<'_>,
    step: &Step,
    own: &StepState,
    observed: &Observed,
    now: Timestamp,
) -> Decision {
    let left = objects::refused(step, observed).or_else(|| {
        let open = step.offline.iter().filter_map(|it| take_away(work, step, it, observed));
        open.reduce(Decision::and)
    });
    objects::until_done(step, own, observed, now, left)
}

/// What is left to do until a workload has no pods; `None` when it has none.
fn take_away(
    work: Work<'_>,
    step: &Step,
    reference: &ObjectRef,
    observed: &Observed,
) -> Option<Decision> {
    let live = observed.object(reference)?;
    let about = |code| Finding::note(code).with("object", reference.to_string());
    if !driver::is_offline(live) {
        // Where the documents of before are gone, as it stands.
        let form = work.before.object(reference).map_or_else(|| bare(live), DesiredObject::body);
        let form = driver::offline(&form);
        let finding = about("RELEASE/APPLYING");
        return Some(objects::write(work, step, reference, (&form, true), observed, finding));
    }
    if !is_observed(live) {
        let reason = "its controller has not seen the change yet";
        return Some(Decision::wait(about("RELEASE/AWAIT_HEALTH").with("reason", reason)));
    }
    let pods = observed.pods(reference).len();
    let waiting = || about("RELEASE/AWAIT_GONE").with("pods", pods);
    (pods > 0).then(|| Decision::wait(waiting()))
}

/// An object as somebody could have written it.
fn bare(live: &Object) -> Object {
    let mut object = Object::new(serde_json::json!({
        "apiVersion": live.api_version(), "kind": live.kind(),
        "metadata": {"name": live.name(), "namespace": live.namespace()},
    }));
    for path in [&["metadata", "labels"][..], &["metadata", "annotations"], &["spec"]] {
        if let Some(value) = live.get(&format!("/{}", path.join("/"))) {
            object.set(path, value.clone());
        }
    }
    object
}

/// Whether the object is as a step of the release has left it that took it offline.
pub(super) fn is_left_offline(
    plan: &Plan,
    state: &ReleaseState,
    reference: &ObjectRef,
    live: Option<&Object>,
) -> bool {
    let is_done = |step: &Step| {
        step.offline.contains(reference)
            && state.step(&step.id).is_some_and(|own| own.status == StepStatus::Done)
    };
    live.is_some_and(driver::is_offline) && plan.steps().any(|(_, step)| is_done(step))
}
