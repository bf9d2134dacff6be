//! The columns of `kubectl get`, by kind.

use jiff::Timestamp;
use serde_json::Value;

use crate::object::{integer, is_terminating, list, map, name, text};
use crate::resource::Resource;
use crate::selector;

/// Where workloads have their containers.
const CONTAINERS: &str = "/spec/template/spec/containers";

/// What stands in a column, for an object at a moment.
type Cell = Box<dyn Fn(&Value, Timestamp) -> Value>;

/// One column: its title, whether it is shown only by `-o wide` (priority 1), and what stands in it.
pub(super) struct Column {
    pub(super) name: String,
    pub(super) priority: u8,
    pub(super) cell: Cell,
}

fn column(name: &str, cell: impl Fn(&Value) -> Value + 'static) -> Column {
    Column { name: name.to_owned(), priority: 0, cell: Box::new(move |value, _| cell(value)) }
}

fn wide(name: &str, cell: impl Fn(&Value) -> Value + 'static) -> Column {
    Column { priority: 1, ..column(name, cell) }
}

fn age() -> Column {
    Column {
        name: "Age".to_owned(),
        priority: 0,
        cell: Box::new(|value, now| since(text(value, "/metadata/creationTimestamp"), now).into()),
    }
}

fn at(title: &str, pointer: &'static str) -> Column {
    column(title, move |value| or_none(text(value, pointer)))
}

fn count(title: &str, pointer: &'static str) -> Column {
    column(title, move |value| integer(value, pointer).unwrap_or_default().into())
}

fn or_none(word: &str) -> Value {
    if word.is_empty() { "<none>".into() } else { word.into() }
}

/// How long ago, as kubectl writes it.
fn since(moment: &str, now: Timestamp) -> String {
    let Ok(moment) = moment.parse::<Timestamp>() else { return "<unknown>".to_owned() };
    let seconds = now.duration_since(moment).as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    let with_rest = |large: i64, small: i64, units: (&str, &str)| {
        if small == 0 {
            format!("{large}{}", units.0)
        } else {
            format!("{large}{}{small}{}", units.0, units.1)
        }
    };
    match seconds {
        ..120 => format!("{seconds}s"),
        120..600 => with_rest(minutes, seconds % 60, ("m", "s")),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => with_rest(hours, minutes % 60, ("h", "m")),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => with_rest(days, hours % 24, ("d", "h")),
        691_200..63_072_000 => format!("{days}d"),
        _ => with_rest(days / 365, days % 365, ("y", "d")),
    }
}

/// What `-o wide` tells of a workload's containers, and of how it knows its pods.
fn containers(out: &mut Vec<Column>, selects: bool) {
    out.push(wide("Containers", |value| {
        let containers = list(value, CONTAINERS).iter();
        let names: Vec<&str> = containers.map(|inner| text(inner, "/name")).collect();
        names.join(",").into()
    }));
    out.push(wide("Images", |value| {
        let containers = list(value, CONTAINERS).iter();
        let images: Vec<&str> = containers.map(|inner| text(inner, "/image")).collect();
        images.join(",").into()
    }));
    if selects {
        out.push(wide("Selector", |value| {
            let selector = value.pointer("/spec/selector").unwrap_or(&Value::Null);
            or_none(&selector::written(selector))
        }));
    }
}

fn label_map(title: &str, pointer: &'static str, priority: u8) -> Column {
    let cell = move |value: &Value| {
        let parts: Vec<String> = map(value, pointer)
            .into_iter()
            .flatten()
            .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
            .collect();
        or_none(&parts.join(","))
    };
    Column { priority, ..column(title, cell) }
}

/// The columns of a resource.
pub(super) fn columns(resource: &Resource, version: &str) -> Vec<Column> {
    let mut out = vec![column("Name", |value| name(value).into())];
    if resource.is_custom {
        custom(resource, version, &mut out);
        return out;
    }
    match resource.kind.as_str() {
        "Pod" => pod(&mut out),
        "Deployment" => {
            out.push(column("Ready", |value| {
                fraction(value, "/status/readyReplicas", "/spec/replicas")
            }));
            out.push(count("Up-to-date", "/status/updatedReplicas"));
            out.push(count("Available", "/status/availableReplicas"));
            out.push(age());
            containers(&mut out, true);
        }
        "ReplicaSet" => {
            out.push(count("Desired", "/spec/replicas"));
            out.push(count("Current", "/status/replicas"));
            out.push(count("Ready", "/status/readyReplicas"));
            out.push(age());
            containers(&mut out, true);
        }
        "StatefulSet" => {
            out.push(column("Ready", |value| {
                fraction(value, "/status/readyReplicas", "/spec/replicas")
            }));
            out.push(age());
            containers(&mut out, false);
        }
        "DaemonSet" => {
            out.push(count("Desired", "/status/desiredNumberScheduled"));
            out.push(count("Current", "/status/currentNumberScheduled"));
            out.push(count("Ready", "/status/numberReady"));
            out.push(count("Up-to-date", "/status/updatedNumberScheduled"));
            out.push(count("Available", "/status/numberAvailable"));
            out.push(label_map("Node Selector", "/spec/template/spec/nodeSelector", 0));
            out.push(age());
            containers(&mut out, true);
        }
        "Job" => {
            out.push(column("Completions", |value| {
                fraction(value, "/status/succeeded", "/spec/completions")
            }));
            out.push(Column { name: "Duration".to_owned(), priority: 0, cell: Box::new(duration) });
            out.push(age());
            containers(&mut out, true);
        }
        "CronJob" => {
            out.push(at("Schedule", "/spec/schedule"));
            out.push(column("Suspend", |value| {
                crate::object::is_true(value, "/spec/suspend").to_string().into()
            }));
            out.push(column("Active", |value| list(value, "/status/active").len().into()));
            out.push(at("Last Schedule", "/status/lastScheduleTime"));
            out.push(age());
        }
        "Service" => service(&mut out),
        "Node" => node(&mut out),
        _ => rest(resource, &mut out),
    }
    out
}

#[expect(clippy::too_many_lines, reason = "one arm for each kind")]
fn rest(resource: &Resource, out: &mut Vec<Column>) {
    match resource.kind.as_str() {
        "Namespace" => out.push(at("Status", "/status/phase")),
        "ConfigMap" => out.push(column("Data", |value| {
            let count = |field| map(value, field).map_or(0, serde_json::Map::len);
            (count("/data") + count("/binaryData")).into()
        })),
        "Secret" => {
            out.push(at("Type", "/type"));
            out.push(column("Data", |value| {
                map(value, "/data").map_or(0, serde_json::Map::len).into()
            }));
        }
        "ServiceAccount" => {
            out.push(column("Secrets", |value| list(value, "/secrets").len().into()));
        }
        "PersistentVolumeClaim" => {
            out.push(at("Status", "/status/phase"));
            out.push(column("Volume", |value| text(value, "/spec/volumeName").into()));
            out.push(column("Capacity", |value| text(value, "/status/capacity/storage").into()));
            out.push(at("StorageClass", "/spec/storageClassName"));
        }
        "PersistentVolume" => {
            out.push(at("Capacity", "/spec/capacity/storage"));
            out.push(at("Status", "/status/phase"));
            out.push(at("StorageClass", "/spec/storageClassName"));
        }
        "Ingress" => {
            out.push(at("Class", "/spec/ingressClassName"));
            out.push(column("Hosts", |value| {
                let hosts: Vec<&str> =
                    list(value, "/spec/rules").iter().map(|rule| text(rule, "/host")).collect();
                if hosts.is_empty() { "*".into() } else { hosts.join(",").into() }
            }));
        }
        "PodDisruptionBudget" => {
            for (title, pointer) in [
                ("Min Available", "/spec/minAvailable"),
                ("Max Unavailable", "/spec/maxUnavailable"),
                ("Allowed Disruptions", "/status/disruptionsAllowed"),
            ] {
                out.push(column(title, move |value| match value.pointer(pointer) {
                    Some(Value::String(word)) => word.as_str().into(),
                    Some(other) => other.clone(),
                    None => "N/A".into(),
                }));
            }
        }
        "HorizontalPodAutoscaler" => {
            out.push(column("Reference", |value| {
                let target = "/spec/scaleTargetRef";
                format!(
                    "{}/{}",
                    text(value, &format!("{target}/kind")),
                    text(value, &format!("{target}/name"))
                )
                .into()
            }));
            out.push(count("MinPods", "/spec/minReplicas"));
            out.push(count("MaxPods", "/spec/maxReplicas"));
            out.push(count("Replicas", "/status/currentReplicas"));
        }
        "Event" => {
            out.clear();
            out.push(Column {
                name: "Last Seen".to_owned(),
                priority: 0,
                cell: Box::new(|value, now| since(text(value, "/lastTimestamp"), now).into()),
            });
            out.push(at("Type", "/type"));
            out.push(at("Reason", "/reason"));
            out.push(column("Object", |value| {
                format!(
                    "{}/{}",
                    text(value, "/involvedObject/kind").to_lowercase(),
                    text(value, "/involvedObject/name")
                )
                .into()
            }));
            out.push(at("Message", "/message"));
            return;
        }
        "RoleBinding" | "ClusterRoleBinding" => out.push(column("Role", |value| {
            format!("{}/{}", text(value, "/roleRef/kind"), text(value, "/roleRef/name")).into()
        })),
        "Role" | "ClusterRole" | "CustomResourceDefinition" => {
            out.push(at("Created At", "/metadata/creationTimestamp"));
            return;
        }
        "Lease" => out.push(at("Holder", "/spec/holderIdentity")),
        "StorageClass" => {
            out.push(at("Provisioner", "/provisioner"));
            out.push(at("ReclaimPolicy", "/reclaimPolicy"));
            out.push(at("VolumeBindingMode", "/volumeBindingMode"));
        }
        _ => {}
    }
    out.push(age());
}

fn fraction(value: &Value, part: &str, of: &str) -> Value {
    let number = |pointer: &str| integer(value, pointer).unwrap_or_default();
    format!("{}/{}", number(part), number(of)).into()
}

fn duration(value: &Value, now: Timestamp) -> Value {
    let started = text(value, "/status/startTime");
    if started.is_empty() {
        return "".into();
    }
    let end = text(value, "/status/completionTime").parse().unwrap_or(now);
    since(started, end).into()
}

fn pod(out: &mut Vec<Column>) {
    out.push(column("Ready", |value| {
        let ready = list(value, "/status/containerStatuses")
            .iter()
            .filter(|status| crate::object::is_true(status, "/ready"))
            .count();
        format!("{ready}/{}", list(value, "/spec/containers").len()).into()
    }));
    out.push(column("Status", pod_status));
    out.push(column("Restarts", |value| {
        let restarts: i64 = list(value, "/status/containerStatuses")
            .iter()
            .filter_map(|status| integer(status, "/restartCount"))
            .sum();
        restarts.to_string().into()
    }));
    out.push(age());
    out.push(wide("IP", |value| or_none(text(value, "/status/podIP"))));
    out.push(wide("Node", |value| or_none(text(value, "/spec/nodeName"))));
    out.push(wide("Nominated Node", |value| or_none(text(value, "/status/nominatedNodeName"))));
    out.push(wide("Readiness Gates", readiness_gates));
}

/// How many of the gates are open.
fn readiness_gates(value: &Value) -> Value {
    let gates = list(value, "/spec/readinessGates");
    if gates.is_empty() {
        return or_none("");
    }
    let conditions = list(value, "/status/conditions");
    let is_open = |gate: &&Value| {
        let kind = text(gate, "/conditionType");
        conditions.iter().any(|held| text(held, "/type") == kind && text(held, "/status") == "True")
    };
    format!("{}/{}", gates.iter().filter(is_open).count(), gates.len()).into()
}

fn pod_status(value: &Value) -> Value {
    if is_terminating(value) {
        return "Terminating".into();
    }
    let reason = text(value, "/status/reason");
    let statuses = list(value, "/status/containerStatuses");
    let inner = statuses.iter().find_map(|status| {
        ["/state/waiting/reason", "/state/terminated/reason"]
            .iter()
            .map(|pointer| text(status, pointer))
            .find(|reason| !reason.is_empty())
    });
    match (reason, inner) {
        ("", Some(inner)) => inner.into(),
        ("", None) => text(value, "/status/phase").into(),
        (reason, _) => reason.into(),
    }
}

fn service(out: &mut Vec<Column>) {
    out.push(at("Type", "/spec/type"));
    out.push(at("Cluster-IP", "/spec/clusterIP"));
    out.push(column("External-IP", |value| {
        let balanced: Vec<&str> = list(value, "/status/loadBalancer/ingress")
            .iter()
            .map(|ingress| text(ingress, "/ip"))
            .collect();
        match (balanced.is_empty(), text(value, "/spec/type")) {
            (false, _) => balanced.join(",").into(),
            (true, "LoadBalancer") => "<pending>".into(),
            (true, _) => or_none(text(value, "/spec/externalName")),
        }
    }));
    out.push(column("Port(s)", |value| {
        let ports: Vec<String> = list(value, "/spec/ports")
            .iter()
            .map(|port| {
                let number = integer(port, "/port").unwrap_or_default();
                let protocol = text(port, "/protocol");
                match integer(port, "/nodePort") {
                    Some(node) => format!("{number}:{node}/{protocol}"),
                    None => format!("{number}/{protocol}"),
                }
            })
            .collect();
        or_none(&ports.join(","))
    }));
    out.push(age());
    out.push(label_map("Selector", "/spec/selector", 1));
}

fn node(out: &mut Vec<Column>) {
    out.push(column("Status", |value| {
        let ready = list(value, "/status/conditions").iter().any(|condition| {
            text(condition, "/type") == "Ready" && text(condition, "/status") == "True"
        });
        let mut word = if ready { "Ready" } else { "NotReady" }.to_owned();
        if crate::object::is_true(value, "/spec/unschedulable") {
            word.push_str(",SchedulingDisabled");
        }
        word.into()
    }));
    out.push(column("Roles", |_| "<none>".into()));
    out.push(age());
    out.push(at("Version", "/status/nodeInfo/kubeletVersion"));
}

/// The columns of a custom resource, whose paths are simple: `.spec.replicas`. Filters in paths give an empty cell.
fn custom(resource: &Resource, version: &str, out: &mut Vec<Column>) {
    let columns =
        resource.version(version).map(|version| version.columns.clone()).unwrap_or_default();
    if columns.is_empty() {
        out.push(age());
    }
    for definition in columns {
        let pointer = text(&definition, "/jsonPath").replace('.', "/");
        let is_date = text(&definition, "/type") == "date";
        out.push(Column {
            name: text(&definition, "/name").to_owned(),
            priority: u8::try_from(integer(&definition, "/priority").unwrap_or_default())
                .unwrap_or(1),
            cell: Box::new(move |value, now| match value.pointer(&pointer) {
                Some(Value::String(moment)) if is_date => since(moment, now).into(),
                Some(found) => found.clone(),
                None => Value::Null,
            }),
        });
    }
}
