//! What a node is like: whether it is ready, what it has room for, and whom it keeps away.

use serde_json::{Value, json};

use super::object::{
    at, condition, condition_is_true, items, name, satisfies, set, stamp, text, thousandths,
};
use super::pass::Pass;

/// The taint of a node that does not answer.
pub(super) const NOT_READY: &str = "node.kubernetes.io/not-ready";
/// The taint of a node that takes no new pods (`kubectl cordon`).
pub(super) const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Whether the node's kubelet is at work. A node without conditions counts as ready.
pub(super) fn is_ready(node: &Value) -> bool {
    condition(at(node, "status"), "Ready").is_none()
        || condition_is_true(at(node, "status"), "Ready")
}

/// One pass over all nodes: taints follow readiness and cordons.
pub(super) fn reconcile(pass: &mut Pass<'_>) {
    for node in pass.list("", "Node").iter() {
        let held = items(node, "spec/taints");
        let has = |key: &str| held.iter().any(|taint| text(taint, "key") == key);
        let cordoned = at(node, "spec/unschedulable").as_bool().unwrap_or(false);
        if has(NOT_READY) != is_ready(node) && has(UNSCHEDULABLE) == cordoned {
            continue;
        }
        let mut taints: Vec<Value> = held
            .iter()
            .filter(|taint| {
                let key = text(taint, "key");
                (key != NOT_READY || !is_ready(node)) && (key != UNSCHEDULABLE || cordoned)
            })
            .cloned()
            .collect();
        let since = stamp(pass.now);
        if cordoned && !has(UNSCHEDULABLE) {
            let taint = json!({"key": UNSCHEDULABLE, "effect": "NoSchedule", "timeAdded": since});
            taints.push(taint);
        }
        if !is_ready(node) && !has(NOT_READY) {
            taints.push(json!({"key": NOT_READY, "effect": "NoSchedule"}));
            taints.push(json!({"key": NOT_READY, "effect": "NoExecute", "timeAdded": since}));
            pass.note(
                node,
                "NodeNotReady",
                format!("Node {} status is now: NodeNotReady", name(node)),
            );
        }
        let mut tainted = Value::clone(node);
        if taints.is_empty() {
            super::object::unset(&mut tainted, "spec/taints");
        } else {
            set(&mut tainted, "spec/taints", Value::Array(taints));
        }
        pass.update(tainted);
    }
}

/// Whether a toleration bears a taint.
fn bears(toleration: &Value, taint: &Value) -> bool {
    let effect = text(toleration, "effect");
    let key = text(toleration, "key");
    if !effect.is_empty() && effect != text(taint, "effect") {
        return false;
    }
    match text(toleration, "operator") {
        "Exists" => key.is_empty() || key == text(taint, "key"),
        _ => key == text(taint, "key") && text(toleration, "value") == text(taint, "value"),
    }
}

/// The toleration by which a pod bears a taint, if it does.
pub(super) fn toleration<'a>(tolerations: &'a [Value], taint: &Value) -> Option<&'a Value> {
    tolerations.iter().find(|toleration| bears(toleration, taint))
}

/// The first taint that keeps pods with these tolerations away, of the effects in question.
pub(super) fn untolerated<'a>(
    node: &'a Value,
    tolerations: &[Value],
    effects: &[&str],
) -> Option<&'a Value> {
    items(node, "spec/taints").iter().find(|taint| {
        effects.contains(&text(taint, "effect")) && toleration(tolerations, taint).is_none()
    })
}

/// Whether the node suits the pod's `nodeSelector` and required node affinity.
pub(super) fn suits(node: &Value, pod_spec: &Value) -> bool {
    let labels = at(node, "metadata/labels");
    let affinity =
        at(pod_spec, "affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution");
    super::object::selects_exactly(at(pod_spec, "nodeSelector"), labels)
        && (affinity.is_null() || in_terms(node, affinity))
}

/// Whether one term of a node selector takes the node.
pub(super) fn in_terms(node: &Value, selector: &Value) -> bool {
    let labels = at(node, "metadata/labels");
    let fields = json!({"metadata.name": name(node)});
    items(selector, "nodeSelectorTerms").iter().any(|term| {
        let expressions = items(term, "matchExpressions");
        let by_field = items(term, "matchFields");
        !(expressions.is_empty() && by_field.is_empty())
            && expressions.iter().all(|rule| satisfies(rule, labels))
            && by_field.iter().all(|rule| satisfies(rule, &fields))
    })
}

/// What a pod asks for, or a node has: processor in thousandths, memory in thousandths of a byte.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Room {
    pub(super) cpu: i128,
    pub(super) memory: i128,
    pub(super) pods: i128,
}

impl Room {
    pub(super) fn of_node(node: &Value) -> Self {
        let mut allocatable = at(node, "status/allocatable");
        if allocatable.is_null() {
            allocatable = at(node, "status/capacity");
        }
        let pods = allocatable.get("pods").map_or(110_000, thousandths) / 1_000;
        Self {
            cpu: allocatable.get("cpu").map_or(i128::MAX, thousandths),
            memory: allocatable.get("memory").map_or(i128::MAX, thousandths),
            pods,
        }
    }

    /// The sum over the containers, or the largest init container if that is more.
    pub(super) fn of_pod(pod: &Value) -> Self {
        let request = |container: &Value, resource: &str| {
            thousandths(at(container, &format!("resources/requests/{resource}")))
        };
        let total = |resource: &str| {
            let running: i128 =
                items(pod, "spec/containers").iter().map(|c| request(c, resource)).sum();
            let first =
                items(pod, "spec/initContainers").iter().map(|c| request(c, resource)).max();
            running.max(first.unwrap_or(0))
        };
        Self { cpu: total("cpu"), memory: total("memory"), pods: 1 }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.cpu += other.cpu;
        self.memory += other.memory;
        self.pods += other.pods;
    }
}
