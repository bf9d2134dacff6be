//! Before the first group of an app: whether its pods are fit to be changed in groups. Nothing of it has changed by then.
//!
//! What passes is waited for. What does not pass in the step's time fails the step, and a person who tries it again lets it
//! begin as it is.

use tidegate_schema::finding::Finding;

use super::rollout::Rolling;
use super::{Decision, after, failure};
use crate::autoscaler;
use crate::object::Object;
use crate::plan::Driver;
use crate::release::Event;

impl Rolling<'_> {
    /// What keeps the first group from being opened; `None` when nothing does.
    pub(super) fn preflight(&self) -> Option<Decision> {
        let is_in_groups = match self.rollout.driver {
            Driver::StatefulSet | Driver::Deployment | Driver::DaemonSet => true,
            // A restart changes nothing, and most often is what mends.
            Driver::Whole | Driver::Restart => false,
        };
        if !is_in_groups || self.own.groups_done > 0 || self.own.is_let_begin {
            return None;
        }
        let live = self.live()?;
        let waits: Vec<Finding> = self.autoscalers(live).collect();
        if waits.is_empty() {
            return None;
        }
        let starts = [Some(self.own.started_at), self.own.retry_at];
        let since = starts.into_iter().flatten().max().unwrap_or(self.own.started_at);
        let deadline = after(since, self.step.timeout_seconds);
        if self.now < deadline {
            return Some(Decision { waits, next: Some(deadline), ..Decision::default() });
        }
        let reasons = waits.iter().filter_map(|wait| wait.args.get("reason").cloned());
        let reason = reasons.collect::<Vec<_>>().join("; ");
        let seconds = self.step.timeout_seconds;
        // Nothing of the app has changed: there is nothing to go back from, whatever the policy says.
        let failure = failure::not_fit(&self.rollout.workload, seconds, reason);
        Some(Decision::event(Event::StepFailed { step: self.id(), group: None, failure }))
    }

    /// Autoscalers that may change the number of pods while groups are open: more new pods than were approved, or the wrong
    /// ones gone.
    fn autoscalers<'a>(&'a self, live: &'a Object) -> impl Iterator<Item = Finding> + 'a {
        let pods = u32::try_from(live.integer("/spec/replicas").unwrap_or(1)).unwrap_or(0);
        let there = self.rollout.autoscalers.iter();
        let moving = there.filter_map(move |reference| {
            let found = self.observed.object(reference)?;
            let (min, max) = autoscaler::bounds(found);
            autoscaler::may_move(found, pods).then_some((reference, min, max))
        });
        moving.map(move |(reference, min, max)| {
            let reason = format!("{reference} may make it {min} to {max} pods");
            self.waiting(reason)
        })
    }

    fn waiting(&self, reason: String) -> Finding {
        let finding = Finding::note("RELEASE/AWAIT_FIT");
        let finding = finding.with("app", self.rollout.unit.to_string());
        finding.with("step", self.id()).with("reason", reason)
    }
}
