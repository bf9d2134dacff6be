//! Pods of one app made anew, group by group, although nothing of the app changes.
//!
//! The template stays as it is, so old and new pods are told apart by their uids: those that were there when the step began
//! are listed in an event before the first of them goes. Whatever happens later, no other pod is ever touched. The groups
//! take them in order; their controller makes the others.

use tidegate_schema::finding::Finding;

use super::rollout::Rolling;
use super::{Decision, Effect, OpenGroup, held};
use crate::object::Object;
use crate::plan::Group;
use crate::pod::Pod;
use crate::release::Event;

impl Rolling<'_> {
    pub(super) fn restart(&self) -> Decision {
        let Some(live) = self.live() else {
            let finding = Finding::note("RELEASE/AWAIT_HEALTH")
                .with("object", self.rollout.workload.to_string())
                .with("reason", "is gone");
            return self.until_timeout(Decision::wait(finding));
        };
        let Some(listed) = &self.own.listed else {
            let pods = in_order(live, self.pods());
            return Decision::event(Event::PodsListed {
                step: self.id(),
                pods,
                owners: Vec::new(),
            });
        };
        if let Some(open) = &self.own.open {
            let Some(group) = self.rollout.groups.get(open.group) else {
                return Decision::event(Event::GroupDone { step: self.id(), group: open.group });
            };
            let is_new = |pod: &&Pod| !listed.contains(&pod.uid) && !self.is_waived(pod);
            let new: Vec<&Pod> = self.pods().iter().filter(is_new).collect();
            return self.trouble(&new, open).unwrap_or_else(|| {
                self.run(group, &new, open, || self.replace(live, listed, &new, open))
            });
        }
        self.next_group()
    }

    /// Opens the next group of listed pods, or ends the step after the last.
    pub(super) fn next_group(&self) -> Decision {
        if self.own.groups_done >= self.rollout.groups.len() {
            return Decision::event(Event::StepDone { step: self.id() });
        }
        held(self.state, self.hold).unwrap_or_else(|| {
            let group = self.own.groups_done;
            Decision::event(Event::GroupOpened { step: self.id(), group, attempt: 1, already: 0 })
        })
    }

    /// What is left to do until none of the group's pods is there any more and as many are ready as there should be.
    fn replace(
        &self,
        live: &Object,
        listed: &[String],
        new: &[&Pod],
        open: &OpenGroup,
    ) -> Option<Decision> {
        let own = of_group(listed, &self.rollout.groups, open.group);
        let left = || self.pods().iter().filter(|pod| own.contains(&pod.uid));
        let ready = new.iter().filter(|pod| pod.is_ready()).count();
        let opened = self.rollout.groups.get(open.group).map_or(0, |group| group.cumulative);
        let waiting = self.awaited(open, ready, opened);
        let effects: Vec<Effect> =
            left().filter(|pod| !pod.is_terminating).map(|pod| self.removal(pod)).collect();
        if !effects.is_empty() {
            return Some(Decision::effects(effects, waiting));
        }
        let serving = self.pods().iter().filter(|pod| pod.is_ready()).count();
        let needed = live.replicas().saturating_sub(self.excused(self.pods()));
        (serving < needed as usize).then(|| Decision::wait(waiting))
    }

    /// A pod that serves goes when its budget lets it; one that does not is in nobody's budget, and could be held back by it
    /// for ever.
    fn removal(&self, pod: &Pod) -> Effect {
        let cluster = &self.step.cluster;
        if pod.is_ready() { Effect::evict(cluster, pod) } else { Effect::delete_pod(cluster, pod) }
    }
}

/// Pods in the order of their groups: of a StatefulSet the last ordinal first, as its controller does; of a DaemonSet by
/// node; else by name. What is going already is made anew without us.
fn in_order(live: &Object, pods: &[Pod]) -> Vec<String> {
    let mut pods: Vec<&Pod> = pods.iter().filter(|pod| !pod.is_terminating).collect();
    match live.kind() {
        "StatefulSet" => pods.sort_by_key(|pod| std::cmp::Reverse(pod.ordinal)),
        "DaemonSet" => pods.sort_by(|left, right| left.node.cmp(&right.node)),
        _ => pods.sort_by(|left, right| left.name.cmp(&right.name)),
    }
    pods.into_iter().map(|pod| pod.uid.clone()).collect()
}

/// The listed pods of a group. There may be more or fewer than when the plan was made: no group takes more than was
/// approved for it but the last, which takes the rest.
pub(super) fn of_group<'a>(listed: &'a [String], groups: &[Group], index: usize) -> &'a [String] {
    let until = |index: usize| {
        let group = groups.get(index);
        group.map_or(listed.len(), |group| (group.cumulative as usize).min(listed.len()))
    };
    let first = index.checked_sub(1).map_or(0, until);
    let last = if index + 1 >= groups.len() { listed.len() } else { until(index) };
    listed.get(first..last).unwrap_or_default()
}
