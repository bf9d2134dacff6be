//! What the server adds to a new or changed object beyond defaults: selectors of Jobs, addresses of Services, classes of claims.
//!
//! Absent: the made labels on a Job that takes over those of its template.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde_json::{Value, json};

use crate::control::ObjectKey;
use crate::defaults::items_mut;
use crate::object::{self, set, set_default, text};
use crate::resource::Resource;
use crate::status::{Cause, Refusal};
use crate::store::{Index, Store};
use crate::world::World;

/// The Service network is 10.96.0.0/16; the first address is the API's.
const FIRST_ADDRESS: u32 = 0x0A60_0002;
const LAST_ADDRESS: u32 = 0x0A60_FFFE;
const NODE_PORTS: std::ops::RangeInclusive<u32> = 30_000..=32_767;

/// Before a new object is checked.
pub(crate) fn for_create(
    world: &World,
    resource: &Resource,
    value: &mut Value,
) -> Result<(), Refusal> {
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Namespace") => {
            set(value, "spec", json!({"finalizers": ["kubernetes"]}));
            set(value, "status", json!({"phase": "Active"}));
        }
        ("", "Pod") => pod(world, value)?,
        ("", "PersistentVolumeClaim") => {
            claim_class(world, value);
            hold(value, crate::garbage::IN_USE);
        }
        ("", "PersistentVolume") => hold(value, crate::garbage::BOUND),
        ("apps", "DaemonSet") => template_generation(value, 1),
        ("batch", "Job") => job_selector(value),
        _ => {}
    }
    Ok(())
}

/// Before a changed object is checked: values that the server gave stay when the change leaves them out.
pub(crate) fn for_update(resource: &Resource, existing: &Value, value: &mut Value) {
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Namespace") => {
            set(value, "spec", existing.get("spec").cloned().unwrap_or(Value::Null));
        }
        ("", "Service") => keep_addresses(existing, value),
        ("", "Pod") => {
            if let Some(spec) = value.get_mut("spec") {
                crate::defaults::pod::admit(spec);
            }
        }
        ("apps", "DaemonSet") => {
            let pointer = format!("/metadata/annotations/{TEMPLATE_GENERATION}");
            let before: i64 = text(existing, &pointer).parse().unwrap_or(1);
            let is_same = existing.pointer("/spec/template") == value.pointer("/spec/template");
            template_generation(value, if is_same { before } else { before + 1 });
        }
        ("", "PersistentVolumeClaim") => {
            if let Some(spec) = value.get_mut("spec") {
                for field in ["volumeName", "storageClassName"] {
                    if let Some(kept) = existing.pointer(&format!("/spec/{field}")) {
                        set_default(spec, field, kept.clone());
                    }
                }
            }
        }
        _ => {}
    }
}

/// The admission plugin `PersistentVolumeClaimResize`: only what a class allows may grow.
pub(crate) fn check_growth(
    world: &World,
    resource: &Resource,
    existing: &Value,
    value: &Value,
) -> Result<(), Refusal> {
    let size = |value: &Value| {
        let asked = text(value, "/spec/resources/requests/storage");
        crate::quantity::milli(asked).unwrap_or_default()
    };
    if resource.kind != "PersistentVolumeClaim" || size(value) <= size(existing) {
        return Ok(());
    }
    let class = text(existing, "/spec/storageClassName");
    let key = ObjectKey::new("storage.k8s.io", "StorageClass", "", class);
    let may_grow = (world.store.object(&key))
        .is_some_and(|class| object::is_true(class, "/allowVolumeExpansion"));
    if may_grow && text(existing, "/status/phase") == "Bound" {
        return Ok(());
    }
    Err(Refusal::forbidden(
        resource.subject(object::name(existing)),
        "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize",
    ))
}

fn pod(world: &World, value: &mut Value) -> Result<(), Refusal> {
    let class = text(value, "/spec/priorityClassName").to_owned();
    if !class.is_empty() {
        let key = ObjectKey::new("scheduling.k8s.io", "PriorityClass", "", &class);
        let Some(found) = world.store.object(&key) else {
            return Err(Refusal::forbidden(
                crate::status::Subject { group: "", resource: "pods", name: object::name(value) },
                &format!("no PriorityClass with name {class} was found"),
            ));
        };
        let priority = found.get("value").cloned().unwrap_or_else(|| 0.into());
        if let Some(spec) = value.get_mut("spec") {
            set(spec, "priority", priority);
        }
    }
    if let Some(spec) = value.get_mut("spec") {
        crate::defaults::pod::admit(spec);
    }
    crate::quota::limit(world, value)?;
    let quality = quality_of_service(value);
    set(value, "status", json!({"phase": "Pending", "qosClass": quality}));
    Ok(())
}

fn quality_of_service(pod: &Value) -> &'static str {
    let containers = object::list(pod, "/spec/containers")
        .iter()
        .chain(object::list(pod, "/spec/initContainers"));
    let mut is_guaranteed = true;
    let mut asks = false;
    for container in containers {
        for name in ["cpu", "memory"] {
            let limit = text(container, &format!("/resources/limits/{name}"));
            let request = text(container, &format!("/resources/requests/{name}"));
            asks |= !limit.is_empty() || !request.is_empty();
            is_guaranteed &= !limit.is_empty() && limit == request;
        }
    }
    match (asks, is_guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// The admission plugin `StorageObjectInUseProtection`.
fn hold(value: &mut Value, finalizer: &str) {
    let mut finalizers = object::list(value, "/metadata/finalizers").to_vec();
    if !finalizers.iter().any(|found| found == finalizer) {
        finalizers.push(finalizer.into());
    }
    object::set_metadata(value, "finalizers", Value::Array(finalizers));
}

/// An annotation that apps/v1 shows for a field of an older version.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

fn template_generation(value: &mut Value, generation: i64) {
    if let Some(metadata) = object::map_mut(value, "metadata") {
        let annotations = metadata.entry("annotations".to_owned()).or_insert_with(|| json!({}));
        set(annotations, TEMPLATE_GENERATION, generation.to_string().into());
    }
}

/// The admission plugin `DefaultStorageClass`.
fn claim_class(world: &World, value: &mut Value) {
    const DEFAULT: &str = "/metadata/annotations/storageclass.kubernetes.io~1is-default-class";
    if value.pointer("/spec/storageClassName").is_some() {
        return;
    }
    let class = world
        .store
        .of_kind("storage.k8s.io", "StorageClass", None)
        .find(|class| text(class, DEFAULT) == "true")
        .map(|class| object::name(class).to_owned());
    if let (Some(class), Some(spec)) = (class, value.get_mut("spec")) {
        set(spec, "storageClassName", class.into());
    }
}

fn job_selector(value: &mut Value) {
    if object::is_true(value, "/spec/manualSelector") {
        return;
    }
    let (uid, name) = (object::uid(value).to_owned(), object::name(value).to_owned());
    let Some(spec) = value.get_mut("spec").filter(|spec| spec.is_object()) else { return };
    set_default(
        spec,
        "selector",
        json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}),
    );
    if let Some(template) = spec.get_mut("template")
        && let Some(metadata) = object::map_mut(template, "metadata")
    {
        let labels = metadata.entry("labels".to_owned()).or_insert_with(|| json!({}));
        for (label, word) in [
            ("batch.kubernetes.io/controller-uid", &uid),
            ("batch.kubernetes.io/job-name", &name),
            ("controller-uid", &uid),
            ("job-name", &name),
        ] {
            set_default(labels, label, word.as_str());
        }
    }
    let labels = value.pointer("/spec/template/metadata/labels").cloned();
    if object::map(value, "/metadata/labels").is_none_or(serde_json::Map::is_empty)
        && let Some(labels) = labels
    {
        object::set_metadata(value, "labels", labels);
    }
}

fn keep_addresses(existing: &Value, value: &mut Value) {
    let kind = text(value, "/spec/type").to_owned();
    let Some(spec) = value.get_mut("spec") else { return };
    let had_address = text(existing, "/spec/type") != "ExternalName";
    if kind != "ExternalName" && had_address {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            let is_given =
                spec.get(field).is_some_and(|given| given != &json!("") && given != &json!([]));
            if !is_given && let Some(kept) = existing.pointer(&format!("/spec/{field}")) {
                set(spec, field, kept.clone());
            }
        }
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        for port in items_mut(spec, "/ports") {
            let number = object::integer(port, "/port");
            let protocol = text(port, "/protocol").to_owned();
            let kept = object::list(existing, "/spec/ports").iter().find(|old| {
                object::integer(old, "/port") == number && text(old, "/protocol") == protocol
            });
            if let Some(kept) = kept.and_then(|kept| kept.get("nodePort")) {
                set_default(port, "nodePort", kept.clone());
            }
        }
    }
}

/// Gives addresses and node ports to Services. Nothing is reserved: what is taken is read from the store.
pub(crate) fn allocate(
    world: &World,
    resource: &Resource,
    value: &mut Value,
    existing: Option<&Value>,
    _is_dry_run: bool,
) -> Vec<Cause> {
    if resource.kind != "Service" || !resource.group.is_empty() {
        return Vec::new();
    }
    let mut causes = Vec::new();
    let own = ObjectKey::new("", "Service", object::namespace(value), object::name(value));
    let kind = text(value, "/spec/type").to_owned();
    let Some(spec) = value.get_mut("spec").filter(|spec| spec.is_object()) else { return causes };
    if kind == "ExternalName" {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            set(spec, field, Value::Null);
        }
        return causes;
    }
    let wanted = text(spec, "/clusterIP").to_owned();
    if wanted.is_empty() {
        let free = world.store.first_free(FIRST_ADDRESS, Index::ClusterAddress, &own);
        if free <= LAST_ADDRESS {
            set(spec, "clusterIP", Ipv4Addr::from_bits(free).to_string().into());
        }
    } else if wanted != "None" {
        let address = wanted.parse().map(Ipv4Addr::to_bits).unwrap_or_default();
        if !(FIRST_ADDRESS - 1..=LAST_ADDRESS).contains(&address) {
            causes.push(Cause::invalid("spec.clusterIPs", &json!([wanted]), &format!(
                "failed to allocate IP {wanted}: the provided IP ({wanted}) is not in the valid range. The range of valid IPs is 10.96.0.0/16"
            )));
        } else if is_taken(&world.store, &Index::ClusterAddress(address), &own) {
            causes.push(Cause::invalid(
                "spec.clusterIPs",
                &json!([wanted]),
                &format!("failed to allocate IP {wanted}: provided IP is already allocated"),
            ));
        }
    }
    let address = text(spec, "/clusterIP").to_owned();
    set_default(spec, "clusterIPs", json!([address]));
    set_default(spec, "ipFamilies", json!(["IPv4"]));
    set_default(spec, "ipFamilyPolicy", "SingleStack");
    node_ports(&world.store, spec, &kind, &own, existing, &mut causes);
    causes
}

/// Whether another Service has an address or a port.
fn is_taken(store: &Store, index: &Index, own: &ObjectKey) -> bool {
    store
        .indexed(index)
        .any(|other| object::namespace(other) != own.namespace || object::name(other) != own.name)
}

fn node_ports(
    store: &Store,
    spec: &mut Value,
    kind: &str,
    own: &ObjectKey,
    existing: Option<&Value>,
    causes: &mut Vec<Cause>,
) {
    let allocates = kind == "NodePort"
        || (kind == "LoadBalancer"
            && spec.get("allocateLoadBalancerNodePorts").and_then(Value::as_bool) != Some(false));
    if !allocates {
        // A Service that became internal gives its ports back.
        if existing.is_some_and(|existing| text(existing, "/spec/type") != kind) {
            for port in items_mut(spec, "/ports") {
                set(port, "nodePort", Value::Null);
            }
        }
        return;
    }
    let mut given: BTreeSet<u32> = BTreeSet::new();
    for (index, port) in items_mut(spec, "/ports").enumerate() {
        let Some(number) = object::integer(port, "/nodePort").filter(|number| *number != 0) else {
            let mut free = store.first_free(*NODE_PORTS.start(), Index::NodePort, own);
            while given.contains(&free) {
                free = store.first_free(free + 1, Index::NodePort, own);
            }
            if NODE_PORTS.contains(&free) {
                given.insert(free);
                set(port, "nodePort", free.into());
            }
            continue;
        };
        let wanted = u32::try_from(number).unwrap_or_default();
        let is_held = given.contains(&wanted) || is_taken(store, &Index::NodePort(wanted), own);
        let why = if is_held {
            "provided port is already allocated"
        } else if !NODE_PORTS.contains(&wanted) {
            "provided port is not in the valid range. The range of valid ports is 30000-32767"
        } else {
            given.insert(wanted);
            continue;
        };
        let field = format!("spec.ports[{index}].nodePort");
        causes.push(Cause::invalid(field, &number.into(), why));
    }
}
