//! What follows from deletions and new namespaces: dependents, finalizers, the content of namespaces and definitions.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::clock;
use crate::control::ObjectKey;
use crate::custom;
use crate::object::{self, list, text};
use crate::world::World;
use crate::write::by_controller;
use crate::write::deletion::{self, Wishes};

/// The finalizer of definitions whose resources are being cleaned up.
pub(crate) const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// The finalizer of claims, which stays while a pod uses them.
pub(crate) const IN_USE: &str = "kubernetes.io/pvc-protection";

/// The finalizer of volumes, which stays while a claim is bound to them.
pub(crate) const BOUND: &str = "kubernetes.io/pv-protection";

/// One pass. Nothing here depends on time alone, so there is never a next moment.
pub(crate) fn collect(world: &mut World, now: Timestamp) -> Option<Timestamp> {
    establish(world, now);
    namespaces(world, now);
    definitions(world, now);
    claims(world);
    volumes(world);
    dependents(world, now);
    None
}

fn establish(world: &mut World, now: Timestamp) {
    let at = clock::seconds(now);
    let ready: Vec<(ObjectKey, Value)> = world
        .store
        .of_kind(custom::GROUP, custom::KIND, None)
        .filter(|definition| !object::is_terminating(definition))
        .filter_map(|definition| {
            Some((object::key(definition), custom::establish(definition, &at)?))
        })
        .collect();
    for (key, definition) in ready {
        world.store.put(&key, definition);
        custom::refresh(world);
    }
}

fn namespaces(world: &mut World, now: Timestamp) {
    let all: Vec<Arc<Value>> = world.store.of_kind("", "Namespace", None).cloned().collect();
    for namespace in all {
        let name = object::name(&namespace).to_owned();
        if object::is_terminating(&namespace) {
            terminate(world, &name, &namespace, now);
        } else {
            furnish(world, &name, now);
        }
    }
}

/// What every namespace has.
fn furnish(world: &mut World, namespace: &str, now: Timestamp) {
    for (kind, name, value) in [
        (
            "ServiceAccount",
            "default",
            json!({"apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": "default", "namespace": namespace}}),
        ),
        (
            "ConfigMap",
            "kube-root-ca.crt",
            json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "kube-root-ca.crt", "namespace": namespace,
                "annotations": {"kubernetes.io/description": "The sandbox has no certificate authority."}},
            "data": {"ca.crt": ""}}),
        ),
    ] {
        if world.store.object(&ObjectKey::new("", kind, namespace, name)).is_none()
            && let Err(refusal) = by_controller::create(world, value, now)
        {
            tracing::debug!(namespace, kind, message = %refusal.message, "not furnished");
        }
    }
}

fn terminate(world: &mut World, name: &str, namespace: &Value, now: Timestamp) {
    let content: Vec<(ObjectKey, Arc<Value>)> = world
        .store
        .all()
        .filter(|(key, _)| key.namespace == name)
        .map(|(key, object)| (key, Arc::clone(object)))
        .collect();
    for (key, value) in &content {
        if !object::is_terminating(value) {
            delete(world, key, None, now);
        }
    }
    let is_empty = !world.store.all().any(|(key, _)| key.namespace == name);
    if is_empty {
        let key = ObjectKey::new("", "Namespace", "", name);
        if !list(namespace, "/metadata/finalizers").is_empty() {
            if !list(namespace, "/spec/finalizers").is_empty() {
                let mut value = namespace.clone();
                object::set(&mut value, "spec", json!({}));
                world.store.put(&key, value);
            }
            return;
        }
        deletion::remove(world, &key);
    }
}

/// Claims that are being deleted go once no pod that may still run uses them.
fn claims(world: &mut World) {
    let dying: Vec<ObjectKey> = world
        .store
        .of_kind("", "PersistentVolumeClaim", None)
        .filter(|claim| object::is_terminating(claim))
        .map(|claim| object::key(claim))
        .collect();
    for key in dying {
        let is_used = world.store.of_kind("", "Pod", Some(&key.namespace)).any(|pod| {
            !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
                && list(pod, "/spec/volumes")
                    .iter()
                    .any(|volume| text(volume, "/persistentVolumeClaim/claimName") == key.name)
        });
        let is_held = world.store.object(&key).is_some_and(|claim| {
            list(claim, "/metadata/finalizers").iter().any(|finalizer| finalizer == IN_USE)
        });
        if is_held && !is_used {
            drop_finalizer(world, &key, IN_USE);
        }
    }
}

/// Volumes that are being deleted go once no claim is bound to them.
fn volumes(world: &mut World) {
    let free: Vec<ObjectKey> = world
        .store
        .of_kind("", "PersistentVolume", None)
        .filter(|volume| object::is_terminating(volume))
        .filter(|volume| list(volume, "/metadata/finalizers").iter().any(|held| held == BOUND))
        .filter(|volume| text(volume, "/status/phase") != "Bound")
        .map(|volume| object::key(volume))
        .collect();
    for key in free {
        drop_finalizer(world, &key, BOUND);
    }
}

/// Definitions that are being deleted take their resources with them.
fn definitions(world: &mut World, now: Timestamp) {
    let dying: Vec<Arc<Value>> = world
        .store
        .of_kind(custom::GROUP, custom::KIND, None)
        .filter(|definition| object::is_terminating(definition))
        .cloned()
        .collect();
    for definition in dying {
        let (group, kind) =
            (text(&definition, "/spec/group"), text(&definition, "/spec/names/kind"));
        let left: Vec<Arc<Value>> = world.store.of_kind(group, kind, None).cloned().collect();
        for value in &left {
            if !object::is_terminating(value) {
                delete(world, &object::key(value), None, now);
            }
        }
        if world.store.of_kind(group, kind, None).next().is_none() {
            drop_finalizer(world, &object::key(&definition), CLEANUP);
        }
    }
}

/// Owner references: background, foreground and orphaning deletion.
fn dependents(world: &mut World, now: Timestamp) {
    let mut living: BTreeSet<String> = BTreeSet::new();
    let mut orphaning: BTreeSet<String> = BTreeSet::new();
    let mut waiting: Vec<(ObjectKey, String)> = Vec::new();
    let mut owned: Vec<(ObjectKey, Arc<Value>)> = Vec::new();
    let mut orphaners: Vec<ObjectKey> = Vec::new();
    for (key, value) in world.store.all() {
        let uid = object::uid(value).to_owned();
        let has =
            |name: &str| list(value, "/metadata/finalizers").iter().any(|found| found == name);
        if object::is_terminating(value) && has("foregroundDeletion") {
            waiting.push((key.clone(), uid.clone()));
        }
        if object::is_terminating(value) && has("orphan") {
            orphaning.insert(uid.clone());
            orphaners.push(key.clone());
        }
        if !list(value, "/metadata/ownerReferences").is_empty() {
            owned.push((key, Arc::clone(value)));
        }
        living.insert(uid);
    }
    let dying: BTreeSet<&String> = waiting.iter().map(|(_, uid)| uid).collect();
    let mut blocked: BTreeSet<String> = BTreeSet::new();
    let owning: BTreeSet<String> = owned
        .iter()
        .flat_map(|(_, value)| list(value, "/metadata/ownerReferences"))
        .map(|owner| text(owner, "/uid").to_owned())
        .collect();
    for (key, value) in &owned {
        let owners = list(value, "/metadata/ownerReferences");
        let has_dependents = owning.contains(object::uid(value));
        let is_solid = |owner: &&Value| {
            let uid = text(owner, "/uid");
            living.contains(uid) && !dying.contains(&uid.to_owned()) && !orphaning.contains(uid)
        };
        let solid = owners.iter().filter(is_solid).count();
        let is_orphaned = owners.iter().any(|owner| orphaning.contains(text(owner, "/uid")));
        let waits: Vec<&str> = owners
            .iter()
            .filter(|owner| object::is_true(owner, "/blockOwnerDeletion"))
            .map(|owner| text(owner, "/uid"))
            .filter(|uid| dying.contains(&(*uid).to_owned()))
            .collect();
        if is_orphaned || (solid > 0 && solid < owners.len()) {
            let kept: Vec<Value> = owners.iter().filter(is_solid).cloned().collect();
            keep_owners(world, key, value, kept);
            continue;
        }
        if solid > 0 {
            continue;
        }
        if !object::is_terminating(value) {
            let is_foreground = has_dependents
                && owners.iter().any(|owner| dying.contains(&text(owner, "/uid").to_owned()));
            delete(world, key, is_foreground.then_some("Foreground"), now);
        }
        if world.store.object(key).is_some() {
            blocked.extend(waits.into_iter().map(str::to_owned));
        }
    }
    for key in orphaners {
        drop_finalizer(world, &key, "orphan");
    }
    for (key, uid) in waiting {
        if !blocked.contains(&uid) {
            drop_finalizer(world, &key, "foregroundDeletion");
        }
    }
}

fn keep_owners(world: &mut World, key: &ObjectKey, value: &Value, kept: Vec<Value>) {
    let mut value = value.clone();
    if kept.is_empty() {
        object::take_metadata(&mut value, "ownerReferences");
    } else {
        object::set_metadata(&mut value, "ownerReferences", Value::Array(kept));
    }
    world.store.put(key, value);
}

fn delete(world: &mut World, key: &ObjectKey, propagation: Option<&str>, now: Timestamp) {
    let Some(resource) = world.resource_of_kind(&key.group, &key.kind) else {
        // The kind is no longer served: nothing can finalize the object.
        deletion::remove(world, key);
        return;
    };
    let wishes = Wishes { propagation: propagation.map(str::to_owned), ..Wishes::default() };
    if let Err(refusal) = deletion::delete(world, &resource, key, &wishes, now) {
        tracing::debug!(message = %refusal.message, "not collected");
    }
}

/// Takes a finalizer off; an object that nothing holds any more goes.
fn drop_finalizer(world: &mut World, key: &ObjectKey, finalizer: &str) {
    let Some(value) = world.store.object(key) else { return };
    let mut value = (**value).clone();
    let kept: Vec<Value> = list(&value, "/metadata/finalizers")
        .iter()
        .filter(|found| *found != finalizer)
        .cloned()
        .collect();
    let is_last = kept.is_empty();
    if is_last {
        object::take_metadata(&mut value, "finalizers");
    } else {
        object::set_metadata(&mut value, "finalizers", Value::Array(kept));
    }
    if is_last && object::is_terminating(&value) && deletion::may_go(&value) {
        deletion::remove(world, key);
    } else {
        world.store.put(key, value);
    }
}
