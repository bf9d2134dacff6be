//! A node that is emptied, group by group: its pods are evicted, and before the next group as many serve elsewhere as before.
//!
//! The pods that were there when the step began are listed in an event, with what makes others in their place. What belongs
//! to the node stays; pods that nobody allowed to go hold the step before anything happens.

use tidegate_schema::finding::Finding;

use super::restart::of_group;
use super::rollout::Rolling;
use super::{Decision, Effect, OpenGroup, after, failure};
use crate::desired::DrainTerms;
use crate::drain::{self, Fate};
use crate::object::ObjectRef;
use crate::pod::Pod;
use crate::release::Event;

impl Rolling<'_> {
    pub(super) fn drain(&self) -> Decision {
        let node = &self.rollout.workload;
        if self.live().is_none() {
            // Taken out of the cluster meanwhile, with all that was on it.
            if self.observed.is_absent(node) {
                return Decision::event(Event::StepDone { step: self.id() });
            }
            let finding = Finding::note("RELEASE/AWAIT_HEALTH").with("object", node.to_string());
            return self
                .until_timeout(Decision::wait(finding.with("reason", "has not been seen yet")));
        }
        let terms = self.step.drain.unwrap_or_default();
        let Some(listed) = &self.own.listed else {
            return self.list(terms);
        };
        if let Some(open) = &self.own.open {
            let Some(group) = self.rollout.groups.get(open.group) else {
                return Decision::event(Event::GroupDone { step: self.id(), group: open.group });
            };
            let left = self.left(listed, open);
            return self
                .late(&left, open)
                .unwrap_or_else(|| self.run(group, &[], open, || self.empty(&left, open)));
        }
        self.next_group()
    }

    /// The pods that go, unless some came since the plan was made that nobody allowed to go.
    fn list(&self, terms: DrainTerms) -> Decision {
        let refused = self
            .pods()
            .iter()
            .filter(|pod| matches!(drain::fate(pod, terms), Fate::Unmanaged | Fate::HoldsData));
        let refused: Vec<String> = refused.map(Pod::full_name).collect();
        if !refused.is_empty() {
            let finding = Finding::note("RELEASE/AWAIT_FIT");
            let finding =
                finding.with("app", self.rollout.unit.to_string()).with("step", self.id());
            let reason = format!("nobody allowed to go: {}", refused.join(", "));
            return self.until_timeout(Decision::wait(finding.with("reason", reason)));
        }
        let going = drain::going(self.pods(), terms);
        let owners = drain::owners(going.iter().copied(), &self.step.cluster);
        let pods = going.into_iter().map(|pod| pod.uid.clone()).collect();
        Decision::event(Event::PodsListed { step: self.id(), pods, owners })
    }

    /// Pods of the group that are still on the node.
    fn left(&self, listed: &[String], open: &OpenGroup) -> Vec<&Pod> {
        let own = of_group(listed, &self.rollout.groups, open.group);
        self.pods().iter().filter(|pod| own.contains(&pod.uid)).collect()
    }

    /// What serves less than before, with how much.
    fn short(&self) -> Vec<String> {
        let short = |owner: &ObjectRef| {
            let live = self.observed.object(owner)?;
            let wanted = live.integer("/spec/replicas").unwrap_or(1);
            let ready = live.integer("/status/readyReplicas").unwrap_or(0);
            (ready < wanted).then(|| format!("{owner} ({ready} of {wanted} ready)"))
        };
        self.own.owners.iter().filter_map(short).collect()
    }

    /// What is left to do until none of the group is there and as many serve elsewhere.
    fn empty(&self, left: &[&Pod], open: &OpenGroup) -> Option<Decision> {
        let short = self.short();
        let waiting = Finding::note("RELEASE/AWAIT_DRAIN")
            .with("node", &self.rollout.unit.app)
            .with("cluster", &self.step.cluster)
            .with("group", (open.group + 1).to_string())
            .with("groups", self.rollout.groups.len().to_string())
            .with("pods", left.len())
            .with("short", short.join(", "));
        let evictions: Vec<Effect> = left
            .iter()
            .filter(|pod| !pod.is_terminating)
            .map(|pod| Effect::evict(&self.step.cluster, pod))
            .collect();
        if !evictions.is_empty() {
            return Some(Decision::effects(evictions, waiting));
        }
        (!left.is_empty() || !short.is_empty()).then(|| Decision::wait(waiting))
    }

    /// A group that takes too long, with what is still there and what does not serve again.
    fn late(&self, left: &[&Pod], open: &OpenGroup) -> Option<Decision> {
        let seconds = self.step.timeout_seconds;
        if open.ready_at.is_some() || self.now < after(open.opened_at, seconds) {
            return None;
        }
        let there = left.iter().map(|pod| format!("{} is still there", pod.full_name()));
        let reason: Vec<String> = there.chain(self.short()).collect();
        let pods = failure::all(left.iter().copied());
        let node = &self.rollout.workload;
        let failure = failure::drain(node, seconds, reason.join("; "), pods);
        Some(self.fail(Some(open.group), failure))
    }
}
