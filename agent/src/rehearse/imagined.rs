//! Clusters that nobody has looked at: fresh ones, with what a site's documents take for granted.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tidegate_core::claim;
use tidegate_core::desired::DesiredState;
use tidegate_core::object::Object;
use tidegate_core::site::ValidSite;
use tidegate_schema::site::Access;

use super::Room;

/// Pods that a made-up node is taken to hold.
const PODS: u32 = 20;

/// Fresh clusters that can take what these states ask for: nodes enough, the storage classes that claims name, and the secrets
/// and config maps that pods name and no document has. What is in those nobody knows.
pub fn rooms(site: &ValidSite, states: &[&DesiredState]) -> BTreeMap<String, Room> {
    let room = |name: &String, access: &Access| {
        let needed = states.iter().map(|state| pods(state, name)).max().unwrap_or_default();
        let nodes = match access {
            Access::Sandbox(wanted) => wanted.nodes,
            Access::Kubeconfig(_) | Access::InCluster(_) => (needed / PODS * 2).max(3),
        };
        let mut objects = tidegate_sandbox::controller::seed(nodes);
        let mut made = BTreeSet::new();
        for object in states.iter().flat_map(|state| &state.objects) {
            if object.reference.cluster == *name {
                let body = object.body();
                objects.extend(claim::claims(&body).filter_map(|claim| class(claim, &mut made)));
                objects.extend(named(&body, states, name, &mut made));
            }
        }
        Room { version: None, told: None, objects, nodes, is_copied: true }
    };
    let clusters = site.clusters.iter();
    clusters.map(|(name, it)| (name.clone(), room(name, &it.spec.access))).collect()
}

fn pods(state: &DesiredState, cluster: &str) -> u32 {
    let own = state.units.iter().filter(|unit| unit.id.cluster == cluster);
    own.map(|unit| unit.replicas).sum()
}

fn class(claim: &Value, made: &mut BTreeSet<String>) -> Option<Value> {
    let name = claim.pointer("/spec/storageClassName")?.as_str().filter(|name| !name.is_empty())?;
    let is_there = matches!(name, "standard" | "open-local-lvm-default");
    (!is_there && made.insert(format!("class {name}"))).then(|| {
        json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
            "provisioner": "sandbox.tidegate.dev/volume", "reclaimPolicy": "Delete",
            "volumeBindingMode": "WaitForFirstConsumer", "allowVolumeExpansion": true,
        })
    })
}

/// Secrets and config maps that the pods of a workload name and no document has.
fn named(
    workload: &Object,
    states: &[&DesiredState],
    cluster: &str,
    made: &mut BTreeSet<String>,
) -> Vec<Value> {
    let Some(spec) = workload.get("/spec/template/spec") else { return Vec::new() };
    let mut names = BTreeSet::new();
    collect(spec, &mut names);
    let namespace = workload.namespace();
    let is_of_documents = |kind: &str, name: &str| {
        let mut objects = states.iter().flat_map(|state| &state.objects);
        objects.any(|object| {
            let it = &object.reference;
            it.cluster == cluster && it.kind == kind && it.namespace == namespace && it.name == name
        })
    };
    names.retain(|(kind, name)| {
        !is_of_documents(kind, name) && made.insert(format!("{kind} {namespace}/{name}"))
    });
    let object = |(kind, name): (&'static str, String)| {
        json!({
            "apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": namespace},
            "data": {},
        })
    };
    names.into_iter().map(object).collect()
}

/// Names below the fields by which pods name such objects.
fn collect(value: &Value, names: &mut BTreeSet<(&'static str, String)>) {
    const FIELDS: [(&str, &str, &str); 6] = [
        ("secretKeyRef", "name", "Secret"),
        ("secretRef", "name", "Secret"),
        ("secret", "secretName", "Secret"),
        ("configMapKeyRef", "name", "ConfigMap"),
        ("configMapRef", "name", "ConfigMap"),
        ("configMap", "name", "ConfigMap"),
    ];
    match value {
        Value::Object(fields) => {
            for (field, own) in fields {
                for (_, key, kind) in FIELDS.iter().filter(|(known, ..)| known == field) {
                    if let Some(name) = own.get(*key).and_then(Value::as_str) {
                        names.insert((kind, name.to_owned()));
                    }
                }
                collect(own, names);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
