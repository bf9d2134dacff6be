//! From what was read of a cluster to the objects of its copy.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use serde_json::{Value, json};
use tidegate_core::digest::Digest;
use tidegate_core::object::Object;
use tidegate_core::served;
use tidegate_sandbox::resource::{Resource, built_in};
use tidegate_schema::finding::Finding;

use crate::cluster::{Copied, Wanted};

/// What the sandbox's own controllers make anew, and what says nothing of what runs.
const NOT_COPIED: [&str; 5] = ["APIService", "Endpoints", "EndpointSlice", "Event", "Lease"];

/// The sandbox's own marks on pods. Without them a pod stays as it came.
const MARKS: [&str; 2] = ["sandbox.tidegate.dev/bound-at", "sandbox.tidegate.dev/renewed"];

/// What `kubectl apply` keeps of an object: of a Secret its values.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A copy that has not begun to live.
#[derive(Clone, Debug, Default)]
pub struct Seeded {
    /// The objects, for the sandbox to take as they are.
    pub objects: Vec<Value>,
    /// The live server's version.
    pub version: Option<String>,
    /// What of the cluster is not in the copy, or is not as it is there.
    pub limits: Vec<Finding>,
}

/// The kinds that are read of a cluster: all that the sandbox knows, and those custom ones that the site uses there. Pods take
/// room on their nodes whoever made them, so they are read everywhere.
pub fn wanted<'a>(custom: impl Iterator<Item = (&'a str, &'a str)>) -> BTreeSet<Wanted> {
    let is_copied =
        |resource: &&Resource| !resource.is_review && !NOT_COPIED.contains(&resource.kind.as_str());
    let own = built_in().iter().map(AsRef::as_ref).filter(is_copied);
    let mut wanted: BTreeSet<Wanted> = own
        .map(|resource| Wanted {
            api_version: resource.storage_api_version(),
            kind: resource.kind.clone(),
            is_everywhere: resource.group.is_empty() && resource.kind == "Pod",
        })
        .collect();
    wanted.extend(custom.filter(|(version, kind)| known(version, kind).is_none()).map(
        |(version, kind)| Wanted {
            api_version: version.to_owned(),
            kind: kind.to_owned(),
            is_everywhere: false,
        },
    ));
    wanted
}

/// The sandbox's own resource of a kind.
fn known(api_version: &str, kind: &str) -> Option<&'static Resource> {
    let group = tidegate_core::object::group_of(api_version);
    let is_it = |resource: &&Resource| resource.group == group && resource.kind == kind;
    built_in().iter().map(AsRef::as_ref).find(is_it)
}

/// Makes the objects of a copy. Values of secrets become digests, pods of other namespaces take room and nothing else, and
/// what could not be read is stood in for as far as the rest needs it.
pub fn seed(cluster: &str, copied: Copied, own: &BTreeSet<String>) -> Seeded {
    let Copied { version, objects, gaps } = copied;
    let limit = |code: &'static str| Finding::warning(code).with("cluster", cluster);
    let mut limits = Vec::new();
    for (kind, gap) in &gaps {
        limits.push(limit("REHEARSAL/NOT_COPIED").with("kind", kind).with("reason", &gap.message));
    }
    let mut elsewhere: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut kept: Vec<Object> = Vec::new();
    for object in objects {
        match at_own_version(object) {
            Ok(object) => kept.extend(as_copied(object, own)),
            Err(object) => {
                let (kind, version) = (object.kind().to_owned(), object.api_version().to_owned());
                *elsewhere.entry((kind, version)).or_default() += 1;
            }
        }
    }
    for ((kind, version), count) in elsewhere {
        let reason = format!("{count} × {version}");
        limits.push(limit("REHEARSAL/NOT_COPIED").with("kind", kind).with("reason", reason));
    }
    stand_in(&mut kept, &gaps.keys().map(String::as_str).collect());
    let webhooks: usize = kept.iter().map(webhooks).sum();
    if webhooks > 0 {
        let finding = Finding::note("REHEARSAL/WEBHOOKS").with("cluster", cluster);
        limits.push(finding.with("count", webhooks));
    }
    if minor(&version).is_none_or(|minor| minor != SIMULATED)
        && !crate::sandboxes::is_sandbox(&version)
    {
        let finding = Finding::note("REHEARSAL/SIMULATED_VERSION").with("cluster", cluster);
        limits.push(finding.with("version", &version).with("simulated", SIMULATED));
    }
    let uids: BTreeSet<String> = kept.iter().map(|object| object.uid().to_owned()).collect();
    for object in &mut kept {
        release(object, &uids);
    }
    let objects = kept.into_iter().map(Object::into_value).map(tidegate_sandbox::completed);
    let objects = objects.collect();
    Seeded { objects, version: Some(version), limits }
}

/// The release of Kubernetes whose kinds and fields the sandbox has.
const SIMULATED: &str = "1.29";

/// `1.22` of `v1.22.17-eks-1`.
pub fn minor(version: &str) -> Option<String> {
    let mut parts = version.trim_start_matches('v').split('.');
    let (major, minor) = (parts.next()?, parts.next()?);
    let digits: String = minor.chars().take_while(char::is_ascii_digit).collect();
    let is_good = major.parse::<u32>().is_ok() && !digits.is_empty();
    is_good.then(|| format!("{major}.{digits}"))
}

/// The object at the version at which the sandbox keeps its kind, when it has the same fields there; as it is when its kind is
/// a custom one.
fn at_own_version(mut object: Object) -> Result<Object, Object> {
    let Some(resource) = known(object.api_version(), object.kind()) else { return Ok(object) };
    let stored = resource.storage_api_version();
    if object.api_version() == stored {
        return Ok(object);
    }
    if served::equivalents(&object).contains(&stored) {
        object.set(&["apiVersion"], json!(stored));
        return Ok(object);
    }
    Err(object)
}

/// What the copy has of an object; nothing of pods that are over.
fn as_copied(mut object: Object, own: &BTreeSet<String>) -> Option<Object> {
    match object.kind() {
        "Secret" => digest_values(&mut object),
        // Names of images fill a page for each node, and nobody reads them.
        "Node" => drop_field(&mut object, "status", "images"),
        "Pod" => {
            for mark in MARKS {
                drop_annotation(&mut object, mark);
            }
            if !own.contains(object.namespace()) {
                if matches!(object.text("/status/phase"), "Succeeded" | "Failed") {
                    return None;
                }
                drop_field(&mut object, "metadata", "ownerReferences");
            }
        }
        _ => {}
    }
    Some(object)
}

/// An object of a copy that lived for a while, for another copy: pods stay as they are. Nothing of what controllers make anew.
pub(super) fn still(object: Value) -> Option<Value> {
    let mut object = Object::new(object);
    if NOT_COPIED.contains(&object.kind()) {
        return None;
    }
    if object.kind() == "Pod" {
        for mark in MARKS {
            drop_annotation(&mut object, mark);
        }
    }
    Some(object.into_value())
}

/// Values become digests: which keys there are still counts, and equal values stay equal.
fn digest_values(secret: &mut Object) {
    let digest = |value: &Value| {
        let text = value.as_str().unwrap_or_default();
        let digest = Digest::of(&text).to_string();
        Value::from(base64::engine::general_purpose::STANDARD.encode(digest))
    };
    if let Some(values) = secret.value_mut().get_mut("data").and_then(Value::as_object_mut) {
        for value in values.values_mut() {
            *value = digest(value);
        }
    }
    drop_annotation(secret, LAST_APPLIED);
}

fn drop_field(object: &mut Object, of: &str, field: &str) {
    if let Some(map) = object.value_mut().get_mut(of).and_then(Value::as_object_mut) {
        map.remove(field);
    }
}

fn drop_annotation(object: &mut Object, name: &str) {
    let annotations = object.value_mut().pointer_mut("/metadata/annotations");
    if let Some(map) = annotations.and_then(Value::as_object_mut) {
        map.remove(name);
    }
}

/// Owners that are not in the copy are named no more: else the garbage collector would take the object for left behind.
fn release(object: &mut Object, uids: &BTreeSet<String>) {
    let owners = object.value_mut().pointer_mut("/metadata/ownerReferences");
    let Some(owners) = owners.and_then(Value::as_array_mut) else { return };
    owners.retain(|owner| {
        owner.get("uid").and_then(Value::as_str).is_some_and(|uid| uids.contains(uid))
    });
    if owners.is_empty() {
        drop_field(object, "metadata", "ownerReferences");
    }
}

fn webhooks(object: &Object) -> usize {
    if !object.kind().ends_with("WebhookConfiguration") {
        return 0;
    }
    object.get("/webhooks").and_then(Value::as_array).map_or(0, Vec::len)
}

/// What stands in for what could not be read: a fresh cluster's own objects of these kinds; the namespaces in which there is
/// something; the nodes on which there are pods; the volumes that claims are bound to.
fn stand_in(kept: &mut Vec<Object>, missing: &BTreeSet<&str>) {
    if missing.is_empty() {
        return;
    }
    let fresh: Vec<Object> =
        tidegate_sandbox::controller::seed(1).into_iter().map(Object::new).collect();
    let node = fresh.iter().find(|object| object.kind() == "Node").cloned();
    let mut made: Vec<Object> = fresh
        .into_iter()
        .filter(|object| missing.contains(object.kind()) && object.kind() != "Node")
        .collect();
    let names = |kept: &[Object], of: fn(&Object) -> &str| -> BTreeSet<String> {
        kept.iter().map(|object| of(object).to_owned()).filter(|name| !name.is_empty()).collect()
    };
    if missing.contains("Namespace") {
        for name in names(kept, Object::namespace) {
            let is_made = made.iter().any(|it| it.kind() == "Namespace" && it.name() == name);
            if !is_made {
                made.push(namespace(&name));
            }
        }
    }
    if missing.contains("Node") {
        for name in names(kept, |object| object.text("/spec/nodeName")) {
            let Some(mut node) = node.clone() else { continue };
            node.set(&["metadata", "name"], json!(name));
            node.set(&["metadata", "labels", "kubernetes.io/hostname"], json!(name));
            made.push(node);
        }
    }
    if missing.contains("PersistentVolume") {
        made.extend(kept.iter().filter_map(volume_of));
    }
    kept.extend(made);
}

/// A namespace as everybody makes it.
pub fn namespace(name: &str) -> Object {
    Object::new(json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
        "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"},
    }))
}

/// The volume that a bound claim has.
fn volume_of(claim: &Object) -> Option<Object> {
    let name = claim.text("/spec/volumeName");
    if claim.kind() != "PersistentVolumeClaim" || name.is_empty() {
        return None;
    }
    Some(Object::new(json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {
            "capacity": claim.get("/status/capacity"), "accessModes": claim.get("/spec/accessModes"),
            "storageClassName": claim.get("/spec/storageClassName"),
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": claim.name(),
                "namespace": claim.namespace(), "uid": claim.uid(),
            },
        },
        "status": {"phase": "Bound"},
    })))
}

#[cfg(test)]
mod tests;
