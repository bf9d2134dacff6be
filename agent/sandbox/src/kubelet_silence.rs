//! A node whose kubelet goes silent, and comes back.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::clock;
use crate::control::ObjectKey;
use crate::object;
use crate::world::World;

/// The taints that the node lifecycle controller puts on an unreachable node.
const TAINT: &str = "node.kubernetes.io/unreachable";

/// Marks the node unreachable or ready. An unknown node is left alone.
pub(crate) fn set(world: &mut World, name: &str, is_silent: bool, now: Timestamp) {
    let key = ObjectKey::new("", "Node", "", name);
    let Some(node) = world.store.object(&key) else { return };
    let mut node = (**node).clone();
    let at = clock::seconds(now);
    let (status, reason) =
        if is_silent { ("Unknown", "NodeStatusUnknown") } else { ("True", "KubeletReady") };
    if let Some(Value::Array(conditions)) = node.pointer_mut("/status/conditions") {
        for condition in conditions {
            if object::text(condition, "/type") == "Ready" {
                object::set(condition, "status", status.into());
                object::set(condition, "reason", reason.into());
                object::set(condition, "lastTransitionTime", at.as_str().into());
            }
        }
    }
    let mut taints: Vec<Value> = object::list(&node, "/spec/taints")
        .iter()
        .filter(|taint| object::text(taint, "/key") != TAINT)
        .cloned()
        .collect();
    if is_silent {
        for effect in ["NoSchedule", "NoExecute"] {
            taints.push(json!({"key": TAINT, "effect": effect, "timeAdded": at}));
        }
    }
    let taints = if taints.is_empty() { Value::Null } else { Value::Array(taints) };
    if let Some(spec) = node.get_mut("spec") {
        object::set(spec, "taints", taints);
    }
    world.store.put(&key, node);
}
