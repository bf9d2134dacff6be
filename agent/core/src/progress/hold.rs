//! Autoscalers are held while pods change in groups, and let go afterwards, whatever became of the step.
//!
//! Groups are exact only while the number of pods stays. That one is held is recorded before it is written, so that a killed
//! agent knows what to give back; what there is to give back stands on the autoscaler itself ([`crate::autoscaler`]).

use tidegate_schema::finding::Finding;

use super::rollout::Rolling;
use super::{Decision, Effect, Observed, ReleaseState, StepState};
use crate::autoscaler;
use crate::object::{Object, ObjectRef};
use crate::release::Event;

/// What an effect on an autoscaler was refused with; empty when it was not.
fn refusal(reference: &ObjectRef, observed: &Observed) -> String {
    let failure = observed.failures.get(reference);
    failure
        .map(|failure| format!(", and it cannot be held: {}", failure.message))
        .unwrap_or_default()
}

impl Rolling<'_> {
    /// Holds the autoscalers that may change the number of pods while groups are open: there would be more new pods than
    /// were approved, or the wrong ones gone.
    pub(super) fn hold(&self, live: &Object) -> Option<Decision> {
        let pods = live.replicas();
        let moving = self.rollout.autoscalers.iter().filter_map(|reference| {
            let found = self.observed.object(reference)?;
            autoscaler::may_move(found, pods).then_some((reference, autoscaler::bounds(found)))
        });
        let hold = |(reference, (min, max)): (&ObjectRef, (u32, u32))| {
            if !self.own.held.contains(reference) {
                let (step, autoscaler) = (self.id(), reference.clone());
                return Decision::event(Event::AutoscalerHeld { step, autoscaler });
            }
            let refusal = refusal(reference, self.observed);
            let reason = format!("{reference} may make it {min} to {max} pods{refusal}");
            let reference = reference.clone();
            Decision::effects(vec![Effect::Hold { reference, pods }], self.waiting(reason))
        };
        moving.map(hold).reduce(Decision::and)
    }

    /// Gives the step's autoscalers their bounds back.
    pub(super) fn let_go(&self) -> Option<Decision> {
        let_go(&self.id(), self.own, self.observed)
    }
}

/// Gives a step's autoscalers their bounds back; `None` when none of them is held any more.
pub(super) fn let_go(step: &str, own: &StepState, observed: &Observed) -> Option<Decision> {
    let of_one = |reference: &ObjectRef| {
        let is_gone = observed.is_absent(reference);
        let is_free = observed.object(reference).is_some_and(|it| !autoscaler::is_held(it));
        if is_gone || is_free {
            let (step, autoscaler) = (step.to_owned(), reference.clone());
            return Decision::event(Event::AutoscalerLetGo { step, autoscaler });
        }
        let finding = Finding::note("RELEASE/AUTOSCALER_HELD")
            .with("autoscaler", reference.to_string())
            .with("cluster", &reference.cluster);
        let failure = observed.failures.get(reference).map(|failure| failure.message.as_str());
        let finding = finding.with("reason", failure.unwrap_or("they are being given back"));
        Decision::effects(vec![Effect::LetGo { reference: reference.clone() }], finding)
    };
    own.held.iter().map(of_one).reduce(Decision::and)
}

/// Gives back what steps have left that did not get so far themselves: somebody skipped them.
pub(super) fn let_all_go(state: &ReleaseState, observed: &Observed) -> Option<Decision> {
    let steps = state.steps.iter().filter_map(|(id, own)| let_go(id, own, observed));
    steps.reduce(Decision::and)
}
