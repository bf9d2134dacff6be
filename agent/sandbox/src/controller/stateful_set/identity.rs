//! What makes a pod of a stateful set that pod: its ordinal, its name, its labels and its claims.

use serde_json::{Value, json};

use super::super::object::{at, items, name, namespace, owner_reference, set, set_entry, text};
use super::super::pass::Pass;
use super::super::pod::from_template;
use super::super::revision::{POD_REVISION, template_of};

/// The number in a pod's name, if the pod's name is one of the set's.
pub(super) fn ordinal(owner: &Value, pod: &Value) -> Option<i64> {
    let (parent, ordinal) = name(pod).rsplit_once('-')?;
    if parent == name(owner) { ordinal.parse().ok() } else { None }
}

/// The pod of an ordinal at a revision.
pub(super) fn pod(owner: &Value, revision: &Value, ordinal: i64) -> Value {
    let mut pod = from_template(&template_of(revision), owner);
    let called = format!("{}-{ordinal}", name(owner));
    set(&mut pod, "metadata/name", json!(called));
    set(&mut pod, "metadata/generateName", json!(format!("{}-", name(owner))));
    for (key, value) in [
        ("statefulset.kubernetes.io/pod-name", called.as_str()),
        ("apps.kubernetes.io/pod-index", &ordinal.to_string()),
        (POD_REVISION, name(revision)),
    ] {
        set_entry(&mut pod, "metadata/labels", key, value);
    }
    set(&mut pod, "spec/hostname", json!(called));
    let service = text(owner, "spec/serviceName");
    if !service.is_empty() {
        set(&mut pod, "spec/subdomain", json!(service));
    }
    let claims = items(owner, "spec/volumeClaimTemplates");
    if !claims.is_empty() {
        let is_claimed =
            |volume: &Value| claims.iter().any(|claim| name(claim) == text(volume, "name"));
        let mut volumes: Vec<Value> = claims
            .iter()
            .map(|claim| {
                let claim_name = claim_name(owner, claim, ordinal);
                json!({
                    "name": name(claim),
                    "persistentVolumeClaim": {"claimName": claim_name},
                })
            })
            .collect();
        let others = items(&pod, "spec/volumes").iter().filter(|volume| !is_claimed(volume));
        volumes.extend(others.cloned());
        set(&mut pod, "spec/volumes", Value::Array(volumes));
    }
    pod
}

fn claim_name(owner: &Value, claim: &Value, ordinal: i64) -> String {
    format!("{}-{}-{ordinal}", name(claim), name(owner))
}

/// Makes the claims of an ordinal that are not there. They outlive the pod, and the set unless it says otherwise.
pub(super) fn create_claims(pass: &mut Pass<'_>, owner: &Value, ordinal: i64) {
    for claim in items(owner, "spec/volumeClaimTemplates") {
        let called = claim_name(owner, claim, ordinal);
        if pass.get("", "PersistentVolumeClaim", namespace(owner), &called).is_some() {
            continue;
        }
        let mut made = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {
                "name": called,
                "namespace": namespace(owner),
                "labels": at(claim, "metadata/labels"),
                "annotations": at(claim, "metadata/annotations"),
            },
            "spec": at(claim, "spec"),
        });
        let labels = at(owner, "spec/selector/matchLabels");
        for (key, value) in labels.as_object().into_iter().flatten() {
            set_entry(&mut made, "metadata/labels", key, value.as_str().unwrap_or_default());
        }
        for field in ["metadata/labels", "metadata/annotations"] {
            if at(&made, field).is_null() {
                super::super::object::unset(&mut made, field);
            }
        }
        let policy = text(owner, "spec/persistentVolumeClaimRetentionPolicy/whenDeleted");
        if policy == "Delete" {
            set(&mut made, "metadata/ownerReferences", json!([owner_reference(owner)]));
        }
        pass.create(made);
    }
}
