//! What a node is like: whether it is ready, what it has room for, and whom it keeps away.

use serde_json::{Value, json};

use super::object::{
    at, condition, condition_is_true, items, name, same, satisfies, set, stamp, text, thousandths,
};
use super::pass::Pass;

/// The taint of a node whose kubelet says that it is not ready.
const NOT_READY: &str = "node.kubernetes.io/not-ready";
/// The taint of a node whose kubelet says nothing any more.
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
/// The taint of a node that takes no new pods (`kubectl cordon`).
pub(super) const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Whether the node's kubelet is at work. A node without conditions counts as ready.
pub(super) fn is_ready(node: &Value) -> bool {
    condition(at(node, "status"), "Ready").is_none()
        || condition_is_true(at(node, "status"), "Ready")
}

/// The taint that a node's readiness puts on it.
pub(super) fn health_taint(node: &Value) -> Option<&'static str> {
    match condition(at(node, "status"), "Ready").map(|ready| text(ready, "status")) {
        None | Some("True") => None,
        Some("Unknown") => Some(UNREACHABLE),
        Some(_) => Some(NOT_READY),
    }
}

/// The nodes whose turn it is: taints follow readiness and cordons.
pub(super) fn reconcile(pass: &mut Pass<'_>) {
    while let Some(node) = pass.next("", "Node") {
        let mut wanted: Vec<(&str, &str)> = Vec::new();
        if at(&node, "spec/unschedulable").as_bool() == Some(true) {
            wanted.push((UNSCHEDULABLE, "NoSchedule"));
        }
        if let Some(taint) = health_taint(&node) {
            wanted.extend([(taint, "NoSchedule"), (taint, "NoExecute")]);
        }
        let name_of =
            |taint: &Value| (text(taint, "key").to_owned(), text(taint, "effect").to_owned());
        let is_ours =
            |taint: &Value| [NOT_READY, UNREACHABLE, UNSCHEDULABLE].contains(&text(taint, "key"));
        let is_wanted =
            |taint: &Value| wanted.contains(&(text(taint, "key"), text(taint, "effect")));
        let held = items(&node, "spec/taints");
        let mut taints: Vec<Value> =
            held.iter().filter(|taint| !is_ours(taint) || is_wanted(taint)).cloned().collect();
        for (key, effect) in wanted {
            let name = (key.to_owned(), effect.to_owned());
            if !taints.iter().any(|taint| name_of(taint) == name) {
                let since = stamp(pass.now);
                taints.push(json!({"key": key, "effect": effect, "timeAdded": since}));
            }
        }
        if same(&json!(taints), &json!(held)) {
            continue;
        }
        let mut tainted = Value::clone(&node);
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

    pub(super) fn negative(self) -> Self {
        Self { cpu: -self.cpu, memory: -self.memory, pods: -self.pods }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.cpu += other.cpu;
        self.memory += other.memory;
        self.pods += other.pods;
    }
}
