//! Claims and volumes: a volume for every claim, at once or when a pod needs it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::object::{
    annotation, at, flag, is_terminating, items, name, namespace, set, set_entry, text,
    thousandths, uid,
};
use super::pass::Pass;
use crate::store::Index;

/// The annotation by which the scheduler tells a claim where its first pod goes.
pub(super) const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
const PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";
const MANUAL: &str = "kubernetes.io/no-provisioner";

/// The claims whose turn it is, then the volumes whose claims are gone.
pub(super) fn reconcile(pass: &mut Pass<'_>) {
    let mut taken: Vec<String> = Vec::new();
    while let Some(claim) = pass.next("", "PersistentVolumeClaim") {
        if !is_terminating(&claim) {
            match text(&claim, "status/phase") {
                "Bound" => keep(pass, &claim),
                _ => bind(pass, &claim, &mut taken),
            }
        }
    }
    while let Some(volume) = pass.next("", "PersistentVolume") {
        release(pass, &volume);
    }
}

fn class(pass: &mut Pass<'_>, claim: &Value) -> Option<Arc<Value>> {
    pass.get("storage.k8s.io", "StorageClass", "", text(claim, "spec/storageClassName"))
}

/// Whether the claim's volume is only made for a pod that has a node.
pub(super) fn waits_for_consumer(pass: &mut Pass<'_>, claim: &Value) -> bool {
    class(pass, claim)
        .is_some_and(|class| text(&class, "volumeBindingMode") == "WaitForFirstConsumer")
}

fn bind(pass: &mut Pass<'_>, claim: &Value, taken: &mut Vec<String>) {
    if at(claim, "spec/storageClassName").is_null() && adopt_default_class(pass, claim) {
        return;
    }
    if let Some(volume) = standing_volume(pass, claim, taken) {
        taken.push(name(&volume).to_owned());
        tie(pass, claim, &volume);
        return;
    }
    let called = text(claim, "spec/storageClassName");
    let found = class(pass, claim);
    let Some(class) = found else {
        let message = if called.is_empty() {
            "no persistent volumes available for this claim and no storage class is set".to_owned()
        } else {
            format!("storageclass.storage.k8s.io \"{called}\" not found")
        };
        let reason = if called.is_empty() { "FailedBinding" } else { "ProvisioningFailed" };
        await_volume(pass, claim, reason, message, !called.is_empty());
        return;
    };
    let node = annotation(claim, SELECTED_NODE);
    if text(&class, "volumeBindingMode") == "WaitForFirstConsumer" && node.is_none() {
        let message = "waiting for first consumer to be created before binding".to_owned();
        await_volume(pass, claim, "WaitForFirstConsumer", message, false);
        return;
    }
    if text(&class, "provisioner") == MANUAL {
        let message = "no volume plugin matched name: kubernetes.io/no-provisioner".to_owned();
        await_volume(pass, claim, "ProvisioningFailed", message, true);
        return;
    }
    provision(pass, claim, &class);
}

fn adopt_default_class(pass: &mut Pass<'_>, claim: &Value) -> bool {
    let classes = pass.list("storage.k8s.io", "StorageClass");
    let default = classes.iter().find(|class| annotation(class, DEFAULT_CLASS) == Some("true"));
    let Some(default) = default else { return false };
    let mut classed = claim.clone();
    set(&mut classed, "spec/storageClassName", json!(name(default)));
    pass.update(classed);
    true
}

/// Says once why a claim waits; its phase is what remembers that it was said.
fn await_volume(pass: &mut Pass<'_>, claim: &Value, reason: &str, message: String, warning: bool) {
    let mut status = at(claim, "status").clone();
    set(&mut status, "phase", json!("Pending"));
    if pass.update_status(claim, status) {
        if warning {
            pass.warn(claim, reason, message);
        } else {
            pass.note(claim, reason, message);
        }
    }
}

/// The smallest free volume that fits, or the one made for this claim.
fn standing_volume(pass: &mut Pass<'_>, claim: &Value, taken: &[String]) -> Option<Arc<Value>> {
    let wanted = thousandths(at(claim, "spec/resources/requests/storage"));
    let named = text(claim, "spec/volumeName");
    let mut volumes = if named.is_empty() {
        let (space, called) = (namespace(claim).to_owned(), name(claim).to_owned());
        let class = text(claim, "spec/storageClassName").to_owned();
        let mut volumes = pass.indexed(Index::VolumesOfClaim(space, called));
        volumes.extend(pass.indexed(Index::FreeVolumes(class)));
        volumes
    } else {
        pass.get("", "PersistentVolume", "", named).into_iter().collect()
    };
    volumes.sort_by(|one, other| name(one).cmp(name(other)));
    let size = |volume: &Value| thousandths(at(volume, "spec/capacity/storage"));
    let fits = |volume: &&Arc<Value>| {
        if !named.is_empty() {
            return true;
        }
        let holder = at(volume, "spec/claimRef");
        if holder.is_object() {
            return text(holder, "uid") == uid(claim)
                || (text(holder, "uid").is_empty()
                    && text(holder, "name") == name(claim)
                    && text(holder, "namespace") == namespace(claim));
        }
        text(volume, "spec/storageClassName") == text(claim, "spec/storageClassName")
            && size(volume) >= wanted
            && items(claim, "spec/accessModes")
                .iter()
                .all(|mode| items(volume, "spec/accessModes").contains(mode))
            && !taken.iter().any(|taken| taken == name(volume))
            && !is_terminating(volume)
    };
    volumes.iter().filter(fits).min_by_key(|volume| size(volume)).cloned()
}

fn provision(pass: &mut Pass<'_>, claim: &Value, class: &Value) {
    let called = format!("pvc-{}", uid(claim));
    let policy = match text(class, "reclaimPolicy") {
        "" => "Delete",
        policy => policy,
    };
    let provisioner = text(class, "provisioner");
    let mut volume = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": called,
            "annotations": {"pv.kubernetes.io/provisioned-by": provisioner},
        },
        "spec": {
            "accessModes": at(claim, "spec/accessModes"),
            "capacity": {"storage": at(claim, "spec/resources/requests/storage")},
            "claimRef": reference(claim),
            "csi": {"driver": provisioner.replace('/', "."), "volumeHandle": called},
            "persistentVolumeReclaimPolicy": policy,
            "storageClassName": name(class),
            "volumeMode": "Filesystem",
        },
    });
    if let Some(node) = annotation(claim, SELECTED_NODE) {
        let term = json!({"matchExpressions": [
            {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]},
        ]});
        set(&mut volume, "spec/nodeAffinity/required/nodeSelectorTerms", json!([term]));
    }
    pass.create(volume);
    if annotation(claim, PROVISIONER).is_none() {
        let mut marked = claim.clone();
        set_entry(&mut marked, "metadata/annotations", PROVISIONER, provisioner);
        pass.update(marked);
    }
    let message = format!("Successfully provisioned volume {called}");
    pass.note(claim, "ProvisioningSucceeded", message);
}

fn reference(claim: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": namespace(claim),
        "name": name(claim),
        "uid": uid(claim),
    })
}

/// Ties a claim and a volume together: first their specs, then, in the next round, the claim's status.
fn tie(pass: &mut Pass<'_>, claim: &Value, volume: &Value) {
    if text(volume, "spec/claimRef/uid") != uid(claim) {
        let mut held = volume.clone();
        set(&mut held, "spec/claimRef", reference(claim));
        pass.update(held);
    }
    if text(claim, "spec/volumeName") != name(volume) {
        let mut tied = claim.clone();
        set(&mut tied, "spec/volumeName", json!(name(volume)));
        for mark in ["pv.kubernetes.io/bind-completed", "pv.kubernetes.io/bound-by-controller"] {
            set_entry(&mut tied, "metadata/annotations", mark, "yes");
        }
        pass.update(tied);
        return;
    }
    let mut status = at(claim, "status").clone();
    set(&mut status, "phase", json!("Bound"));
    set(&mut status, "accessModes", at(volume, "spec/accessModes").clone());
    set(&mut status, "capacity", at(volume, "spec/capacity").clone());
    pass.update_status(claim, status);
}

/// Grows a bound claim whose class allows it; says `Lost` when the volume is gone.
fn keep(pass: &mut Pass<'_>, claim: &Value) {
    let called = text(claim, "spec/volumeName");
    let Some(volume) = pass.get("", "PersistentVolume", "", called) else {
        let mut status = at(claim, "status").clone();
        set(&mut status, "phase", json!("Lost"));
        if pass.update_status(claim, status) {
            let message = "Bound claim has lost its PersistentVolume. Data on the volume is lost!";
            pass.warn(claim, "ClaimLost", message);
        }
        return;
    };
    let wanted = at(claim, "spec/resources/requests/storage");
    if thousandths(wanted) <= thousandths(at(claim, "status/capacity/storage")) {
        return;
    }
    if class(pass, claim).is_some_and(|class| flag(&class, "allowVolumeExpansion")) {
        let mut grown = Value::clone(&volume);
        set(&mut grown, "spec/capacity/storage", wanted.clone());
        pass.update(grown);
        let mut status = at(claim, "status").clone();
        set(&mut status, "capacity/storage", wanted.clone());
        pass.update_status(claim, status);
    }
}

/// A volume's phase follows its claim; one that is to be deleted with its claim is.
fn release(pass: &mut Pass<'_>, volume: &Value) {
    let holder = at(volume, "spec/claimRef");
    let claim =
        pass.get("", "PersistentVolumeClaim", text(holder, "namespace"), text(holder, "name"));
    let is_held = claim
        .is_some_and(|claim| text(holder, "uid").is_empty() || uid(&claim) == text(holder, "uid"));
    let phase = if holder.is_null() {
        "Available"
    } else if is_held {
        "Bound"
    } else if text(volume, "status/phase") == "Bound"
        && text(volume, "spec/persistentVolumeReclaimPolicy") == "Delete"
    {
        pass.delete(volume);
        return;
    } else if text(volume, "status/phase") == "Bound" {
        "Released"
    } else {
        return;
    };
    let mut status = at(volume, "status").clone();
    set(&mut status, "phase", json!(phase));
    pass.update_status(volume, status);
}
