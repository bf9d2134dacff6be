//! A pod's status as its kubelet reports it.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::super::object::{
    at, condition_is_true, digest, items, lot, name, namespace, set, set_condition, stamp, text,
    thousandths, uid,
};
use super::super::pass::Pass;
use super::super::pod::image_id;
use super::life::{Run, State};
use super::{Container, bound_at, is_on_host_network};

/// Something a pod's containers cannot be started without.
pub(super) struct Obstacle {
    /// The waiting reason of the containers.
    pub(super) reason: &'static str,
    pub(super) message: String,
    /// The event's reason, when it is not the containers' own.
    pub(super) event: &'static str,
}

/// What is missing for a pod that has not started: a ConfigMap or Secret that it mounts or reads.
pub(super) fn obstacle(pass: &mut Pass<'_>, pod: &Value) -> Option<Obstacle> {
    let started = |status: &Value| !at(status, "containerID").is_null();
    let statuses = items(pod, "status/containerStatuses").iter();
    if statuses.chain(items(pod, "status/initContainerStatuses")).any(started) {
        return None;
    }
    let mut missing = |kind: &str, called: &str| {
        !called.is_empty() && pass.get("", kind, namespace(pod), called).is_none()
    };
    for volume in items(pod, "spec/volumes") {
        for (field, kind, word, key) in [
            ("configMap", "ConfigMap", "configmap", "name"),
            ("secret", "Secret", "secret", "secretName"),
        ] {
            let source = at(volume, field);
            let called = text(source, key);
            if at(source, "optional").as_bool() != Some(true) && missing(kind, called) {
                let volume = text(volume, "name");
                let message = format!(
                    "MountVolume.SetUp failed for volume \"{volume}\" : {word} \"{called}\" not found"
                );
                let reason = "ContainerCreating";
                return Some(Obstacle { reason, message, event: "FailedMount" });
            }
        }
    }
    for container in items(pod, "spec/containers").iter().chain(items(pod, "spec/initContainers")) {
        let whole = items(container, "envFrom").iter();
        let single = items(container, "env").iter().map(|variable| at(variable, "valueFrom"));
        for source in whole.chain(single) {
            for (fields, kind, word) in [
                (["configMapRef", "configMapKeyRef"], "ConfigMap", "configmap"),
                (["secretRef", "secretKeyRef"], "Secret", "secret"),
            ] {
                for source in fields.map(|field| at(source, field)) {
                    let called = text(source, "name");
                    if at(source, "optional").as_bool() != Some(true) && missing(kind, called) {
                        let message = format!("{word} \"{called}\" not found");
                        let reason = "CreateContainerConfigError";
                        return Some(Obstacle { reason, message, event: "Failed" });
                    }
                }
            }
        }
    }
    None
}

/// The pod's status at the pass's time.
pub(super) fn status(
    pass: &mut Pass<'_>,
    pod: &Value,
    node: &Value,
    containers: &[Container<'_>],
    obstacle: Option<&Obstacle>,
) -> Value {
    let mut status = at(pod, "status").clone();
    let (init, main): (Vec<_>, Vec<_>) = containers.iter().partition(|c| c.is_init);
    let phase = phase(pod, &init, &main);
    set(&mut status, "phase", json!(phase));
    let host = host_address(node);
    set(&mut status, "hostIP", json!(host));
    set(&mut status, "hostIPs", json!([{"ip": host}]));
    set(&mut status, "qosClass", json!(quality(pod)));
    if let Some(bound) = bound_at(pod) {
        set(&mut status, "startTime", json!(stamp(bound)));
    }
    let is_set_up = containers.iter().any(|c| !matches!(c.glance.state, State::Creating));
    if is_set_up && at(&status, "podIP").is_null() {
        let address = if is_on_host_network(pod) { host } else { pod_address(pass, pod, node) };
        set(&mut status, "podIP", json!(address));
        set(&mut status, "podIPs", json!([{"ip": address}]));
    }
    for (field, containers) in [("initContainerStatuses", &init), ("containerStatuses", &main)] {
        if !containers.is_empty() {
            let is_waiting_for_init = field == "containerStatuses" && !is_initialized(&init);
            let list: Vec<Value> = containers
                .iter()
                .map(|c| container_status(pod, c, obstacle, is_waiting_for_init))
                .collect();
            set(&mut status, field, Value::Array(list));
        }
    }
    conditions(pass, pod, &mut status, phase, &init, &main);
    status
}

fn is_initialized(init: &[&Container<'_>]) -> bool {
    init.iter().all(|container| match container.glance.state {
        State::Ended(run) => run.code == 0,
        State::Running { .. } => text(container.spec, "restartPolicy") == "Always",
        State::Creating | State::PullFailed | State::PullBackOff | State::BackOff { .. } => false,
    })
}

fn phase(pod: &Value, init: &[&Container<'_>], main: &[&Container<'_>]) -> &'static str {
    let never = text(pod, "spec/restartPolicy") == "Never";
    let failed = |c: &&Container<'_>| matches!(c.glance.state, State::Ended(run) if run.code != 0);
    if init.iter().any(failed) && never {
        return "Failed";
    }
    let unstarted = |c: &&Container<'_>| {
        matches!(c.glance.state, State::Creating | State::PullFailed | State::PullBackOff)
    };
    if !is_initialized(init) || main.iter().any(unstarted) {
        return "Pending";
    }
    if main.iter().all(|c| matches!(c.glance.state, State::Ended(_))) {
        return if main.iter().any(failed) { "Failed" } else { "Succeeded" };
    }
    "Running"
}

fn container_status(
    pod: &Value,
    container: &Container<'_>,
    obstacle: Option<&Obstacle>,
    is_waiting_for_init: bool,
) -> Value {
    let glance = &container.glance;
    let called = text(container.spec, "name");
    let image = text(container.spec, "image");
    let id = |restart: i64| {
        format!("containerd://{}", digest(&[uid(pod), called, image, &restart.to_string()]))
    };
    let ended = |run: Run, restart: i64| {
        json!({"terminated": {
            "exitCode": run.code,
            "reason": if run.code == 0 { "Completed" } else { "Error" },
            "startedAt": stamp(run.started),
            "finishedAt": stamp(run.finished),
            "containerID": id(restart),
        }})
    };
    let waiting = |reason: &str, message: &str| {
        let mut waiting = json!({"reason": reason});
        if !message.is_empty() {
            set(&mut waiting, "message", json!(message));
        }
        json!({"waiting": waiting})
    };
    let (state, is_ready, is_started) = match glance.state {
        State::Creating => match obstacle {
            Some(obstacle) if obstacle.reason != "ContainerCreating" => {
                (waiting(obstacle.reason, &obstacle.message), false, false)
            }
            _ if is_waiting_for_init || (container.is_init && obstacle.is_none()) => {
                (waiting("PodInitializing", ""), false, false)
            }
            _ => (waiting("ContainerCreating", ""), false, false),
        },
        State::PullFailed => (waiting("ErrImagePull", &pull_error(image)), false, false),
        State::PullBackOff => {
            let message = format!("Back-off pulling image \"{image}\"");
            (waiting("ImagePullBackOff", &message), false, false)
        }
        State::Running { since, is_ready } => {
            (json!({"running": {"startedAt": stamp(since)}}), is_ready, true)
        }
        State::BackOff { seconds } => {
            let message = format!(
                "back-off {} restarting failed container={called} pod={}_{}({})",
                spell(seconds),
                name(pod),
                namespace(pod),
                uid(pod)
            );
            (waiting("CrashLoopBackOff", &message), false, false)
        }
        State::Ended(run) => {
            (ended(run, glance.restarts), container.is_init && run.code == 0, false)
        }
    };
    let was_started = is_started
        || glance.last.is_some()
        || matches!(glance.state, State::Ended(_) | State::BackOff { .. });
    // A restart counts once the new run has begun; while it waits, the last run is still the newest.
    let last_run = glance.restarts - i64::from(!matches!(glance.state, State::BackOff { .. }));
    let mut status = json!({
        "name": called,
        "image": image,
        "imageID": if was_started { image_id(image) } else { String::new() },
        "lastState": glance.last.map_or_else(|| json!({}), |run| ended(run, last_run)),
        "ready": is_ready,
        "restartCount": glance.restarts,
        "started": is_started,
        "state": state,
    });
    if was_started {
        let newest = if is_started { glance.restarts } else { last_run.max(0) };
        set(&mut status, "containerID", json!(id(newest)));
    }
    status
}

/// What a registry says of an image that it does not have.
pub(super) fn pull_error(image: &str) -> String {
    format!(
        "rpc error: code = NotFound desc = failed to pull and unpack image \"{image}\": failed to \
         resolve reference \"{image}\": {image}: not found"
    )
}

/// A duration as Go writes it: `10s`, `2m40s`, `5m0s`.
fn spell(seconds: i64) -> String {
    if seconds < 60 { format!("{seconds}s") } else { format!("{}m{}s", seconds / 60, seconds % 60) }
}

fn conditions(
    pass: &Pass<'_>,
    pod: &Value,
    status: &mut Value,
    phase: &str,
    init: &[&Container<'_>],
    main: &[&Container<'_>],
) {
    let now = pass.now;
    let names = |containers: Vec<&&Container<'_>>| {
        containers.iter().map(|c| text(c.spec, "name")).collect::<Vec<_>>().join(" ")
    };
    set_condition(status, now, "PodScheduled", "True", ("", ""));
    if is_initialized(init) {
        let reason = if phase == "Succeeded" { "PodCompleted" } else { "" };
        set_condition(status, now, "Initialized", "True", (reason, ""));
    } else {
        let waiting = init
            .iter()
            .filter(|c| !matches!(c.glance.state, State::Ended(run) if run.code == 0))
            .collect();
        let message = format!("containers with incomplete status: [{}]", names(waiting));
        let cause = ("ContainersNotInitialized", message.as_str());
        set_condition(status, now, "Initialized", "False", cause);
    }
    let unready: Vec<_> = main
        .iter()
        .filter(|c| !matches!(c.glance.state, State::Running { is_ready: true, .. }))
        .collect();
    if unready.is_empty() {
        set_condition(status, now, "ContainersReady", "True", ("", ""));
        let open = items(pod, "spec/readinessGates")
            .iter()
            .map(|gate| text(gate, "conditionType"))
            .find(|gate| !condition_is_true(status, gate));
        match open {
            None => set_condition(status, now, "Ready", "True", ("", "")),
            Some(gate) => {
                let message = format!(
                    "corresponding condition of pod readiness gate \"{gate}\" does not exist."
                );
                let cause = ("ReadinessGatesNotReady", message.as_str());
                set_condition(status, now, "Ready", "False", cause);
            }
        }
        return;
    }
    let message = format!("containers with unready status: [{}]", names(unready));
    let cause = match phase {
        "Succeeded" => ("PodCompleted", ""),
        "Failed" => ("PodFailed", ""),
        _ => ("ContainersNotReady", message.as_str()),
    };
    set_condition(status, now, "ContainersReady", "False", cause);
    set_condition(status, now, "Ready", "False", cause);
}

fn host_address(node: &Value) -> String {
    let addresses = items(node, "status/addresses");
    let internal = addresses.iter().find(|address| text(address, "type") == "InternalIP");
    internal.map_or_else(|| "192.168.0.1".to_owned(), |found| text(found, "address").to_owned())
}

/// A free address of the node's range: the pod's uid says where the search begins.
fn pod_address(pass: &mut Pass<'_>, pod: &Value, node: &Value) -> String {
    let range = text(node, "spec/podCIDR").split('/').next().unwrap_or_default();
    let base: Ipv4Addr = range.parse().unwrap_or(Ipv4Addr::new(10, 244, 0, 0));
    let start = lot(&[uid(pod)]);
    // A range of 254 first, and then the ones after it, for pods beyond what a node usually takes.
    for step in 0..65_536_u64 {
        let host = (start + step) % 254 + 1 + (step / 254) * 256;
        let address = u32::from(base).wrapping_add(u32::try_from(host).unwrap_or(1));
        let address = Ipv4Addr::from(address).to_string();
        if pass.take_address(&address) {
            return address;
        }
    }
    base.to_string()
}

/// The quality of service class that the containers' requests and limits make.
fn quality(pod: &Value) -> &'static str {
    let containers: Vec<&Value> =
        items(pod, "spec/containers").iter().chain(items(pod, "spec/initContainers")).collect();
    let asked = |kind: &str, resource: &str, c: &Value| {
        thousandths(at(c, &format!("resources/{kind}/{resource}")))
    };
    let none = containers.iter().all(|c| {
        ["cpu", "memory"].iter().all(|resource| {
            asked("requests", resource, c) == 0 && asked("limits", resource, c) == 0
        })
    });
    if none {
        return "BestEffort";
    }
    let all = containers.iter().all(|c| {
        ["cpu", "memory"].iter().all(|resource| {
            let (limit, request) = (asked("limits", resource, c), asked("requests", resource, c));
            limit > 0 && (request == 0 || request == limit)
        })
    });
    if all { "Guaranteed" } else { "Burstable" }
}
