//! Moving a stateful set's pods to the present template: from the highest ordinal down, one at a time.

use serde_json::Value;

use super::super::object::{at, name, number, text};
use super::super::pass::Pass;
use super::Numbered;

impl Numbered<'_> {
    /// The revision that a pod is made at. Below the partition it is the current one, however often the pod is made
    /// again; with `OnDelete` it is always the present template's.
    pub(super) fn revision_for(&self, ordinal: i64) -> &Value {
        if self.is_on_delete() {
            return &self.update;
        }
        let strategy = at(self.owner, "spec/updateStrategy/rollingUpdate");
        let old = if strategy.is_null() {
            number(self.owner, "status/currentReplicas").unwrap_or(0)
        } else {
            self.partition()
        };
        if ordinal < self.start + old { &self.current } else { &self.update }
    }

    /// Deletes the highest pod of another revision, unless a pod above it is still to become available.
    /// The pod management policy makes no difference here.
    pub(super) fn roll(&self, pass: &mut Pass<'_>) {
        if self.is_on_delete() {
            return;
        }
        for replica in self.replicas.iter().rev() {
            if replica.ordinal < self.start + self.partition() {
                return;
            }
            // A pod that was made in this round shows in the next one.
            let Some(pod) = &replica.found else { return };
            if replica.revision() != name(&self.update) && !replica.is_terminating() {
                self.delete(pass, pod);
                return;
            }
            if !replica.is_healthy() {
                return;
            }
        }
    }

    fn is_on_delete(&self) -> bool {
        text(self.owner, "spec/updateStrategy/type") == "OnDelete"
    }

    fn partition(&self) -> i64 {
        number(self.owner, "spec/updateStrategy/rollingUpdate/partition").unwrap_or(0)
    }
}
