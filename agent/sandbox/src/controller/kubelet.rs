//! The kubelets: what becomes of a pod on its node, told by time and by the words in its images.

mod change;
mod image;
mod life;
mod log;
mod status;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::node;
use super::object::{
    annotation, at, flag, is_terminating, items, name, namespace, number, set, set_condition,
    set_entry, text, time,
};
use super::pass::Pass;
use super::pod::{is_ready, phase};
use life::{Course, Glance, Role, State, glance};

use crate::conduct::Conduct;

pub(crate) use image::{Measured, fails_checks, measures};
pub use log::logs;

/// When a pod was bound, to the millisecond; the sandbox's own mark, since status times are in whole seconds.
/// A pod without it keeps the status it came with.
pub(super) const BOUND_AT: &str = "sandbox.tidegate.dev/bound-at";
/// Containers that were started anew because their image was changed in place.
const RENEWED: &str = "sandbox.tidegate.dev/renewed";

/// One container of a pod and what it is doing.
struct Container<'pod> {
    spec: &'pod Value,
    glance: Glance,
    is_init: bool,
}

/// The pods whose turn it is, on their nodes.
pub(super) fn reconcile(pass: &mut Pass<'_>) {
    while let Some(pod) = pass.next("", "Pod") {
        let host = text(&pod, "spec/nodeName");
        if host.is_empty() {
            if is_terminating(&pod) {
                pass.delete(&pod);
            }
            continue;
        }
        let Some(node) = pass.get("", "Node", "", host) else { continue };
        if node::is_ready(&node) {
            tend(pass, &pod, &node);
        } else {
            lose(pass, &pod, &node);
        }
    }
}

/// A node that does not answer: its pods are not ready, and leave after five minutes or when they say so.
fn lose(pass: &mut Pass<'_>, pod: &Value, node: &Value) {
    if matches!(phase(pod), "Succeeded" | "Failed") {
        return;
    }
    if is_ready(pod) {
        let mut status = at(pod, "status").clone();
        set_condition(
            &mut status,
            pass.now,
            "Ready",
            "False",
            ("NodeNotReady", "Node is not ready"),
        );
        pass.update_status(pod, status);
        pass.warn(pod, "NodeNotReady", "Node is not ready");
    }
    let taint = items(node, "spec/taints").iter().find(|taint| {
        Some(text(taint, "key")) == node::health_taint(node) && text(taint, "effect") == "NoExecute"
    });
    let Some(taint) = taint else { return };
    let tolerated = node::toleration(items(pod, "spec/tolerations"), taint);
    let patience = match tolerated.map(|toleration| number(toleration, "tolerationSeconds")) {
        Some(None) => return,
        Some(Some(seconds)) => seconds,
        None => 300,
    };
    let Some(since) = time(taint, "timeAdded") else { return };
    if !is_terminating(pod) && pass.has_passed(since, SignedDuration::from_secs(patience)) {
        let message = format!("Marking for deletion Pod {}/{}", namespace(pod), name(pod));
        pass.note(pod, "TaintManagerEviction", message);
        pass.terminate(pod);
    }
}

fn tend(pass: &mut Pass<'_>, pod: &Value, node: &Value) {
    if is_terminating(pod) {
        stop(pass, pod);
        return;
    }
    if matches!(phase(pod), "Succeeded" | "Failed") {
        return;
    }
    let Some(bound) = bound_at(pod) else {
        // Made with its node already given; what has a status came from elsewhere and stays as it is.
        if items(pod, "status/containerStatuses").is_empty() {
            let mut marked = pod.clone();
            set_entry(&mut marked, "metadata/annotations", BOUND_AT, &pass.now.to_string());
            pass.update(marked);
        }
        return;
    };
    if renew(pass, pod) {
        return;
    }
    let obstacle = status::obstacle(pass, pod);
    let conduct = pass.conduct(pod);
    let containers = containers(pod, &conduct, bound, pass.now, obstacle.is_some());
    for container in &containers {
        if let Some(changes) = container.glance.changes {
            pass.wake(changes);
        }
    }
    let status = status::status(pass, pod, node, &containers, obstacle.as_ref());
    change::tell(pass, pod, &status, obstacle.as_ref());
    pass.update_status(pod, status);
}

/// A pod that is to go ends its processes within a second, or within its grace period if that is shorter.
fn stop(pass: &mut Pass<'_>, pod: &Value) {
    let Some(limit) = time(pod, "metadata/deletionTimestamp") else { return };
    let grace = number(pod, "metadata/deletionGracePeriodSeconds").unwrap_or(0);
    let hook = items(pod, "spec/containers")
        .iter()
        .filter_map(|container| number(container, "lifecycle/preStop/sleep/seconds"))
        .max();
    let asked = limit.checked_sub(SignedDuration::from_secs(grace)).unwrap_or(limit);
    let wait = SignedDuration::from_secs((hook.unwrap_or(0) + 1).min(grace));
    if pass.has_passed(asked, wait) {
        pass.delete(pod);
    }
}

fn bound_at(pod: &Value) -> Option<Timestamp> {
    annotation(pod, BOUND_AT)?.parse().ok()
}

/// Notes containers whose image was changed in place: they start anew, in the same pod.
fn renew(pass: &mut Pass<'_>, pod: &Value) -> bool {
    let mut renewals = renewals(pod);
    let mut changed = false;
    for container in items(pod, "spec/containers") {
        let called = text(container, "name");
        let image = text(container, "image");
        let status =
            items(pod, "status/containerStatuses").iter().find(|s| text(s, "name") == called);
        let Some(status) = status else { continue };
        let is_noted = text(at(&renewals, called), "image") == image;
        let is_started = !at(status, "containerID").is_null();
        if text(status, "image") != image && is_started && !is_noted {
            let restarts = number(status, "restartCount").unwrap_or(0) + 1;
            let note = json!({"image": image, "at": pass.now.to_string(), "restarts": restarts});
            set(&mut renewals, called, note);
            changed = true;
            let message = format!("Container {called} definition changed, will be restarted");
            pass.note(pod, "Killing", message);
        }
    }
    if changed {
        let mut marked = pod.clone();
        set_entry(&mut marked, "metadata/annotations", RENEWED, &renewals.to_string());
        pass.update(marked);
    }
    changed
}

fn renewals(pod: &Value) -> Value {
    annotation(pod, RENEWED)
        .and_then(|renewals| serde_json::from_str(renewals).ok())
        .unwrap_or_else(|| json!({}))
}

/// All containers of a pod at `now`, the init containers first.
fn containers<'pod>(
    pod: &'pod Value,
    conduct: &Conduct,
    bound: Timestamp,
    now: Timestamp,
    is_held: bool,
) -> Vec<Container<'pod>> {
    let policy = text(pod, "spec/restartPolicy");
    let renewals = renewals(pod);
    let mut begins = Some(bound);
    let mut all = Vec::new();
    for spec in items(pod, "spec/initContainers") {
        let is_sidecar = text(spec, "restartPolicy") == "Always";
        let role = if is_sidecar { Role::Service } else { Role::Init };
        let restarts = is_sidecar || policy != "Never";
        let behaviour = image::behaviour(text(spec, "image"));
        let glance = look(spec, behaviour, role, restarts, begins.filter(|_| !is_held), now);
        begins = match glance.state {
            State::Ended(run) if run.code == 0 => Some(run.finished),
            State::Running { since, .. } if is_sidecar => Some(since),
            State::Creating
            | State::PullFailed
            | State::PullBackOff
            | State::Running { .. }
            | State::BackOff { .. }
            | State::Ended(_) => None,
        };
        all.push(Container { spec, glance, is_init: true });
    }
    let role = if matches!(policy, "Never" | "OnFailure") { Role::Task } else { Role::Service };
    for spec in items(pod, "spec/containers") {
        let note = at(&renewals, text(spec, "name"));
        let renewed = time(note, "at").filter(|_| text(note, "image") == text(spec, "image"));
        let begins = begins.filter(|_| !is_held).map(|begins| renewed.unwrap_or(begins));
        let behaviour = image::behaviour(text(spec, "image")).under(conduct);
        let mut glance = look(spec, behaviour, role, policy != "Never", begins, now);
        if renewed.is_some() {
            glance.restarts += number(note, "restarts").unwrap_or(0);
        }
        all.push(Container { spec, glance, is_init: false });
    }
    all
}

fn look(
    spec: &Value,
    behaviour: image::Behaviour,
    role: Role,
    restarts: bool,
    begins: Option<Timestamp>,
    now: Timestamp,
) -> Glance {
    let Some(begins) = begins else {
        return Glance { state: State::Creating, restarts: 0, last: None, changes: None };
    };
    let delay = number(spec, "readinessProbe/initialDelaySeconds").unwrap_or(0);
    let course =
        Course { behaviour, role, begins, restarts, probe_delay: SignedDuration::from_secs(delay) };
    glance(&course, now)
}

/// Whether the pod uses its node's own network.
fn is_on_host_network(pod: &Value) -> bool {
    flag(pod, "spec/hostNetwork")
}
