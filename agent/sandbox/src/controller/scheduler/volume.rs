//! The claims a pod needs before it can be placed, and the nodes that their volumes reach.

use std::sync::Arc;

use serde_json::Value;

use super::super::claim::{SELECTED_NODE, waits_for_consumer};
use super::super::node::in_terms;
use super::super::object::{
    annotation, at, is_terminating, items, name, namespace, set_entry, text,
};
use super::super::pass::Pass;

/// The claims of one pod.
pub(super) struct Storage {
    /// Claims whose volume is made once a node is chosen.
    unbound: Vec<Arc<Value>>,
    /// The node selectors of the volumes that are bound already.
    reach: Vec<Value>,
}

impl Storage {
    /// Looks the pod's claims up; the error is the reason in the scheduler's words.
    pub(super) fn of(pass: &mut Pass<'_>, pod: &Value) -> Result<Self, String> {
        let mut storage = Self { unbound: Vec::new(), reach: Vec::new() };
        for volume in items(pod, "spec/volumes") {
            let called = text(volume, "persistentVolumeClaim/claimName");
            if called.is_empty() {
                continue;
            }
            let claim = pass
                .get("", "PersistentVolumeClaim", namespace(pod), called)
                .ok_or_else(|| format!("persistentvolumeclaim \"{called}\" not found"))?;
            if is_terminating(&claim) {
                return Err(format!("persistentvolumeclaim \"{called}\" is being deleted"));
            }
            if text(&claim, "status/phase") == "Bound" {
                let volume = pass.get("", "PersistentVolume", "", text(&claim, "spec/volumeName"));
                let affinity =
                    volume.map(|volume| at(&volume, "spec/nodeAffinity/required").clone());
                storage.reach.extend(affinity.filter(Value::is_object));
            } else if waits_for_consumer(pass, &claim) {
                storage.unbound.push(claim);
            } else {
                return Err("pod has unbound immediate PersistentVolumeClaims".to_owned());
            }
        }
        Ok(storage)
    }

    pub(super) fn is_bound(&self) -> bool {
        self.unbound.is_empty()
    }

    pub(super) fn reaches(&self, node: &Value) -> bool {
        let is_selected = |claim: &Arc<Value>| {
            annotation(claim, SELECTED_NODE).is_none_or(|selected| selected == name(node))
        };
        self.reach.iter().all(|selector| in_terms(node, selector))
            && self.unbound.iter().all(is_selected)
    }

    /// Tells the claims which node their volumes have to reach.
    pub(super) fn select(&self, pass: &mut Pass<'_>, node: &str) {
        for claim in &self.unbound {
            if annotation(claim, SELECTED_NODE).is_none() {
                let mut selected = Value::clone(claim);
                set_entry(&mut selected, "metadata/annotations", SELECTED_NODE, node);
                pass.update(selected);
            }
        }
    }
}
