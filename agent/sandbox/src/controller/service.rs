//! Services: the addresses behind them, and the address in front of a load balancer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::object::{
    at, flag, is_terminating, items, label, lot, name, namespace, number, owner_reference, same,
    selects_exactly, set, set_entry, text, time, uid, word,
};
use super::pass::Pass;
use super::pod::{is_ready, phase};

const SERVICE: &str = "kubernetes.io/service-name";
const MAKER: &str = "endpointslice.kubernetes.io/managed-by";
const MADE_BY: &str = "endpointslice-controller.k8s.io";
/// The most endpoints that one slice holds.
const SLICE: usize = 100;
/// The most addresses that the old kind of endpoints holds.
const ADDRESSES: usize = 1_000;
const OVER: &str = "endpoints.kubernetes.io/over-capacity";
/// How long a load balancer's address takes.
const PROVISIONING: SignedDuration = SignedDuration::from_secs(1);

/// The services whose turn it is.
pub(super) fn reconcile(pass: &mut Pass<'_>) {
    while let Some(service) = pass.next("", "Service") {
        if is_terminating(&service) {
            continue;
        }
        let kind = text(&service, "spec/type");
        if kind == "LoadBalancer" {
            balance(pass, &service);
        }
        if kind != "ExternalName" && at(&service, "spec/selector").is_object() {
            let pods = backends(pass, &service);
            endpoints(pass, &service, &pods);
            slices(pass, &service, &pods);
        }
    }
}

/// Gives a load balancer its address: the one it asks for, or a free one that its uid decides.
fn balance(pass: &mut Pass<'_>, service: &Value) {
    let created = time(service, "metadata/creationTimestamp").unwrap_or(pass.now);
    let has_address = !items(service, "status/loadBalancer/ingress").is_empty();
    if has_address || !pass.has_passed(created, PROVISIONING) {
        return;
    }
    let asked = text(service, "spec/loadBalancerIP");
    let address = if asked.is_empty() {
        let start = lot(&[uid(service)]);
        (0..65_000_u64)
            .map(|step| (start + step) % 65_000)
            .map(|place| format!("172.30.{}.{}", place / 254, place % 254 + 1))
            .find(|address| pass.take_address(address))
            .unwrap_or_default()
    } else {
        asked.to_owned()
    };
    let mut status = at(service, "status").clone();
    set(&mut status, "loadBalancer/ingress", json!([{"ip": address, "ipMode": "VIP"}]));
    pass.update_status(service, status);
    pass.note(service, "EnsuredLoadBalancer", "Ensured load balancer");
}

/// The pods that a service selects and that have an address.
fn backends(pass: &mut Pass<'_>, service: &Value) -> Vec<Arc<Value>> {
    let selector = at(service, "spec/selector");
    let mut pods = pass.pods_with(namespace(service), selector);
    pods.retain(|pod| {
        selects_exactly(selector, at(pod, "metadata/labels"))
            && !text(pod, "status/podIP").is_empty()
            && !matches!(phase(pod), "Succeeded" | "Failed")
    });
    pods
}

/// A service port as a pod has it; a named target port that the pod does not have gives none.
fn port_of(port: &Value, pod: &Value) -> Option<i64> {
    let target = at(port, "targetPort");
    if let Some(fixed) = target.as_i64() {
        return Some(fixed);
    }
    let Some(wanted) = target.as_str() else { return number(port, "port") };
    items(pod, "spec/containers")
        .iter()
        .flat_map(|container| items(container, "ports"))
        .find(|held| text(held, "name") == wanted)
        .and_then(|held| number(held, "containerPort"))
}

fn ports_of(service: &Value, pod: &Value) -> Vec<Value> {
    let mut ports = Vec::new();
    for port in items(service, "spec/ports") {
        let Some(number) = port_of(port, pod) else { continue };
        let protocol = match text(port, "protocol") {
            "" => "TCP",
            protocol => protocol,
        };
        let mut entry = json!({"port": number, "protocol": protocol});
        if !text(port, "name").is_empty() {
            set(&mut entry, "name", at(port, "name").clone());
        }
        ports.push(entry);
    }
    ports
}

fn reference(pod: &Value) -> Value {
    json!({"kind": "Pod", "namespace": namespace(pod), "name": name(pod), "uid": uid(pod)})
}

/// Whether the old kind of endpoints counts a pod as ready.
fn serves(service: &Value, pod: &Value) -> bool {
    is_ready(pod) || flag(service, "spec/publishNotReadyAddresses")
}

fn endpoints(pass: &mut Pass<'_>, service: &Value, pods: &[Arc<Value>]) {
    let mut groups: Vec<(Vec<Value>, Vec<Value>, Vec<Value>)> = Vec::new();
    for pod in pods.iter().filter(|pod| !is_terminating(pod)) {
        let ports = ports_of(service, pod);
        let mut address = json!({
            "ip": text(pod, "status/podIP"),
            "nodeName": text(pod, "spec/nodeName"),
            "targetRef": reference(pod),
        });
        if !text(pod, "spec/hostname").is_empty() && text(pod, "spec/subdomain") == name(service) {
            set(&mut address, "hostname", at(pod, "spec/hostname").clone());
        }
        let index = groups.iter().position(|(held, ..)| *held == ports).unwrap_or_else(|| {
            groups.push((ports, Vec::new(), Vec::new()));
            groups.len() - 1
        });
        if let Some((_, ready, waiting)) = groups.get_mut(index) {
            if serves(service, pod) { ready.push(address) } else { waiting.push(address) }
        }
    }
    // Of too many the ready ones come first; the real controller cuts in proportion to the ports.
    let total: usize = groups.iter().map(|(_, ready, waiting)| ready.len() + waiting.len()).sum();
    let mut room = ADDRESSES;
    for (_, ready, _) in &mut groups {
        ready.truncate(room);
        room -= ready.len();
    }
    for (_, _, waiting) in &mut groups {
        waiting.truncate(room);
        room -= waiting.len();
    }
    groups.retain(|(_, ready, waiting)| !(ready.is_empty() && waiting.is_empty()));
    let subsets: Vec<Value> = groups
        .into_iter()
        .map(|(ports, ready, waiting)| {
            let mut subset = json!({"ports": ports});
            for (field, addresses) in [("addresses", ready), ("notReadyAddresses", waiting)] {
                if !addresses.is_empty() {
                    set(&mut subset, field, Value::Array(addresses));
                }
            }
            subset
        })
        .collect();
    let mut wanted = json!({
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": name(service),
            "namespace": namespace(service),
            "labels": at(service, "metadata/labels"),
        },
        "subsets": subsets,
    });
    if text(service, "spec/clusterIP") == "None" {
        set_entry(&mut wanted, "metadata/labels", "service.kubernetes.io/headless", "");
    }
    let held = pass.get("", "Endpoints", namespace(service), name(service));
    let annotations = held.as_ref().map(|held| at(held, "metadata/annotations").clone());
    set(&mut wanted, "metadata/annotations", annotations.unwrap_or_default());
    if total > ADDRESSES {
        set_entry(&mut wanted, "metadata/annotations", OVER, "truncated");
    } else if let Some(Value::Object(annotations)) = wanted.pointer_mut("/metadata/annotations") {
        annotations.remove(OVER);
    }
    write(pass, held, wanted, &["metadata/annotations", "subsets"]);
}

/// Creates an object, or updates it where its labels or the given fields say something else.
fn write(pass: &mut Pass<'_>, held: Option<Arc<Value>>, wanted: Value, fields: &[&str]) {
    let Some(held) = held else {
        pass.create(wanted);
        return;
    };
    let fields = ["metadata/labels"].iter().chain(fields);
    let changed: Vec<&&str> =
        fields.filter(|field| !same(at(&held, field), at(&wanted, field))).collect();
    if changed.is_empty() {
        return;
    }
    let mut fresh = Value::clone(&held);
    for field in changed {
        set(&mut fresh, field, at(&wanted, field).clone());
    }
    pass.update(fresh);
}

fn slices(pass: &mut Pass<'_>, service: &Value, pods: &[Arc<Value>]) {
    let mut zones: BTreeMap<&str, String> = BTreeMap::new();
    let publishes = flag(service, "spec/publishNotReadyAddresses");
    let mut entries = Vec::new();
    for pod in pods {
        let node = text(pod, "spec/nodeName");
        let serving = is_ready(pod);
        let terminating = is_terminating(pod);
        let mut entry = json!({
            "addresses": [text(pod, "status/podIP")],
            "conditions": {
                "ready": publishes || (serving && !terminating),
                "serving": serving,
                "terminating": terminating,
            },
            "nodeName": node,
            "targetRef": reference(pod),
        });
        let zone = zones.entry(node).or_insert_with(|| {
            let node = pass.get("", "Node", "", node);
            node.map(|node| label(&node, "topology.kubernetes.io/zone").to_owned())
                .unwrap_or_default()
        });
        if !zone.is_empty() {
            set(&mut entry, "zone", json!(zone));
        }
        if !text(pod, "spec/hostname").is_empty() && text(pod, "spec/subdomain") == name(service) {
            set(&mut entry, "hostname", at(pod, "spec/hostname").clone());
        }
        entries.push(entry);
    }
    let ports = pods.first().map_or_else(Vec::new, |pod| ports_of(service, pod));
    let ports: Vec<Value> = ports
        .into_iter()
        .map(|mut port| {
            let name = text(&port, "name").to_owned();
            set(&mut port, "name", json!(name));
            port
        })
        .collect();
    let chunks = entries.len().div_ceil(SLICE).max(1);
    let mut names = BTreeSet::new();
    for index in 0..chunks {
        let tail = word(&[uid(service), "slice", &index.to_string()], 5);
        let called = format!("{}-{tail}", name(service));
        let part: Vec<Value> = entries.iter().skip(index * SLICE).take(SLICE).cloned().collect();
        let mut wanted = json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": called,
                "generateName": format!("{}-", name(service)),
                "namespace": namespace(service),
                "labels": at(service, "metadata/labels"),
                "ownerReferences": [owner_reference(service)],
            },
            "addressType": "IPv4",
            "endpoints": part,
            "ports": ports,
        });
        set_entry(&mut wanted, "metadata/labels", SERVICE, name(service));
        set_entry(&mut wanted, "metadata/labels", MAKER, MADE_BY);
        let held = pass.get("discovery.k8s.io", "EndpointSlice", namespace(service), &called);
        write(pass, held, wanted, &["endpoints", "ports"]);
        names.insert(called);
    }
    for slice in &pass.held("EndpointSlice", service) {
        if label(slice, MAKER) == MADE_BY && !names.contains(name(slice)) {
            pass.delete(slice);
        }
    }
}
