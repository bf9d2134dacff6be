//! Before the first group of an app: whether its pods are fit to be changed in groups. Nothing of it has changed by then.
//!
//! What passes is waited for. What does not pass in the step's time fails the step, and a person who tries it again lets it
//! begin as it is.

use std::collections::BTreeSet;

use tidegate_schema::finding::Finding;

use super::rollout::Rolling;
use super::{Decision, failure};
use crate::object::Object;
use crate::plan::{Driver, TaskKind};
use crate::pod::{Pod, TroubleKind};
use crate::release::Event;

/// So many pods are named.
const NAMED: usize = 5;

/// Whether a pod is not ready and may get so.
fn is_waited_for(pod: &Pod) -> bool {
    let is_hopeless = pod.trouble.as_ref().is_some_and(|trouble| match trouble.kind {
        TroubleKind::Broken | TroubleKind::Image => true,
        TroubleKind::Unschedulable => false,
    });
    !pod.is_ready() && !is_hopeless
}

impl Rolling<'_> {
    /// What keeps the first group from being opened; `None` when nothing does.
    pub(super) fn preflight(&self) -> Option<Decision> {
        let is_in_groups = match self.rollout.driver {
            Driver::StatefulSet | Driver::Deployment | Driver::DaemonSet => true,
            // A restart changes nothing, and most often is what mends.
            Driver::Whole | Driver::Restart | Driver::Drain => false,
        };
        if !is_in_groups || self.own.groups_done > 0 || self.own.is_let_begin {
            return None;
        }
        let live = self.live()?;
        let held = self.hold(live).unwrap_or_default();
        let unready = self.unready(live).map(Decision::wait).unwrap_or_default();
        let decision = held.and(unready);
        if decision.waits.is_empty() && decision.events.is_empty() {
            return None;
        }
        let deadline = self.deadline();
        if self.now < deadline || !decision.events.is_empty() {
            return Some(decision.and(Decision { next: Some(deadline), ..Decision::default() }));
        }
        let waits = decision.waits;
        let reasons = waits.iter().filter_map(|wait| wait.args.get("reason").cloned());
        let reason = reasons.collect::<Vec<_>>().join("; ");
        let seconds = self.step.timeout_seconds;
        // Nothing of the app has changed: there is nothing to go back from, whatever the policy says.
        let failure = failure::not_fit(&self.rollout.workload, seconds, reason);
        Some(Decision::event(Event::StepFailed { step: self.id(), group: None, failure }))
    }

    /// Pods that are not ready and may get so by waiting: on their way, moved to another node, not made yet.
    ///
    /// Never what the release may mend: when no pod is ready at all, when pods cannot get well by waiting (their container
    /// ends again and again, their image is not to be had), when an earlier release stopped half way, or when this one goes
    /// back or takes the app offline.
    fn unready(&self, live: &Object) -> Option<Finding> {
        let there: Vec<&Pod> = self.pods().iter().filter(|pod| !pod.is_terminating).collect();
        let revisions: BTreeSet<&str> = there.iter().map(|pod| pod.revision.as_str()).collect();
        let ready = there.iter().filter(|pod| pod.is_ready()).count();
        if ready == 0 || revisions.len() > 1 || self.is_meant_for_trouble() {
            return None;
        }
        let wanted = match self.rollout.driver {
            Driver::DaemonSet => self.there(),
            Driver::Whole
            | Driver::StatefulSet
            | Driver::Deployment
            | Driver::Restart
            | Driver::Drain => live.replicas(),
        } as usize;
        let waiting: Vec<&str> =
            there.iter().filter(|pod| is_waited_for(pod)).map(|pod| pod.name.as_str()).collect();
        if waiting.is_empty() && there.len() >= wanted {
            return None;
        }
        let unmade = wanted.saturating_sub(there.len());
        let mut reason = format!("{ready} of {wanted} pods are ready");
        if !waiting.is_empty() {
            let more = waiting.len().saturating_sub(NAMED);
            let named = waiting.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
            reason = format!("{reason}, not ready: {named}");
            if more > 0 {
                reason = format!("{reason} and {more} more");
            }
        }
        if unmade > 0 {
            reason = format!("{reason}, not there: {unmade}");
        }
        Some(self.waiting(reason))
    }

    /// Whether the plan goes back, or takes the app out of service: then pods that are not well are no surprise.
    fn is_meant_for_trouble(&self) -> bool {
        let unit = &self.rollout.unit;
        self.work.plan.content.tasks.iter().any(|task| {
            matches!(task.kind, TaskKind::Rollback | TaskKind::TakeOffline)
                && task.subject == unit.product
                && task.app.as_ref().is_none_or(|app| *app == unit.app)
        })
    }

    pub(super) fn waiting(&self, reason: String) -> Finding {
        let finding = Finding::note("RELEASE/AWAIT_FIT");
        let finding = finding.with("app", self.rollout.unit.to_string());
        finding.with("step", self.id()).with("reason", reason)
    }
}
