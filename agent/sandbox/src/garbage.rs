//! What follows from deletions and new namespaces: dependents, finalizers, the content of namespaces and definitions.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::clock;
use crate::control::ObjectKey;
use crate::custom;
use crate::object::{self, list, text};
use crate::store::{Change, Index, Store};
use crate::world::World;
use crate::write::by_controller;
use crate::write::deletion::{self, Wishes};

/// The finalizer of definitions whose resources are being cleaned up.
pub(crate) const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// The finalizer of claims, which stays while a pod uses them.
pub(crate) const IN_USE: &str = "kubernetes.io/pvc-protection";

/// The finalizer of volumes, which stays while a claim is bound to them.
pub(crate) const BOUND: &str = "kubernetes.io/pv-protection";

/// What is to be looked at because something has changed. Nothing here depends on time alone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Due {
    /// Objects that came or changed.
    objects: BTreeSet<ObjectKey>,
    /// Owners that are going or gone, by uid: their dependents are to be looked at.
    leaving: BTreeSet<String>,
    /// Owners by uid of which a dependent went or was given up.
    bereft: BTreeSet<String>,
    namespaces: BTreeSet<String>,
    definitions: BTreeSet<ObjectKey>,
    claims: BTreeSet<ObjectKey>,
    volumes: BTreeSet<ObjectKey>,
    /// Groups of custom resources of which one is gone.
    groups: BTreeSet<String>,
}

impl Due {
    /// Follows a change of the store.
    pub(crate) fn follow(&mut self, change: &Change) {
        let key = &change.key;
        let (before, after) = (change.before.as_ref(), change.after());
        let states = || [before, after].into_iter().flatten();
        if after.is_some() {
            self.objects.insert(key.clone());
        } else {
            self.groups.insert(key.group.clone());
        }
        if after.is_none_or(|after| object::is_terminating(after)) {
            self.leaving.extend(states().map(|state| object::uid(state).to_owned()));
        }
        let owners = |state: &Arc<Value>| list(state, "/metadata/ownerReferences").to_vec();
        if before.map(owners) != after.map(owners) {
            let owners = states().flat_map(owners);
            self.bereft.extend(owners.map(|owner| text(&owner, "/uid").to_owned()));
        }
        if !key.namespace.is_empty() {
            self.namespaces.insert(key.namespace.clone());
        }
        match (key.group.as_str(), key.kind.as_str()) {
            ("", "Namespace") => drop(self.namespaces.insert(key.name.clone())),
            ("", "PersistentVolumeClaim") => drop(self.claims.insert(key.clone())),
            ("", "PersistentVolume") => drop(self.volumes.insert(key.clone())),
            ("", "Pod") => {
                let volumes = states().flat_map(|pod| list(pod, "/spec/volumes"));
                let claims = volumes.map(|volume| text(volume, "/persistentVolumeClaim/claimName"));
                self.claims.extend(claims.filter(|claim| !claim.is_empty()).map(|claim| {
                    ObjectKey::new("", "PersistentVolumeClaim", &key.namespace, claim)
                }));
            }
            (custom::GROUP, custom::KIND) => drop(self.definitions.insert(key.clone())),
            _ => {}
        }
    }
}

/// One pass over what is due. Each step sees what the ones before it have changed.
pub(crate) fn collect(world: &mut World, now: Timestamp) {
    establish(world, now);
    namespaces(world, now);
    definitions(world, now);
    claims(world);
    volumes(world);
    dependents(world, now);
}

fn establish(world: &mut World, now: Timestamp) {
    world.hear();
    let at = clock::seconds(now);
    for key in world.garbage.definitions.clone() {
        let Some(definition) = world.store.object(&key) else { continue };
        if object::is_terminating(definition) {
            continue;
        }
        if let Some(definition) = custom::establish(definition, &at) {
            world.store.put(&key, definition);
            custom::changed(world, &key);
        }
    }
}

fn namespaces(world: &mut World, now: Timestamp) {
    world.hear();
    for name in std::mem::take(&mut world.garbage.namespaces) {
        let Some(namespace) = world.store.get("", "Namespace", "", &name).cloned() else {
            continue;
        };
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
    let content: Vec<ObjectKey> = world
        .store
        .in_namespace(name)
        .filter(|(_, value)| !object::is_terminating(value))
        .map(|(key, _)| key)
        .collect();
    for key in &content {
        delete(world, key, None, now);
    }
    let is_empty = world.store.in_namespace(name).next().is_none();
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
    world.hear();
    for key in std::mem::take(&mut world.garbage.claims) {
        let is_held = world.store.object(&key).is_some_and(|claim| {
            object::is_terminating(claim)
                && list(claim, "/metadata/finalizers").iter().any(|finalizer| finalizer == IN_USE)
        });
        let users = Index::PodsWithClaim(key.namespace.clone(), key.name.clone());
        let mut users = world.store.indexed(&users);
        let is_used =
            users.any(|pod| !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed"));
        drop(users);
        if is_held && !is_used {
            drop_finalizer(world, &key, IN_USE);
        }
    }
}

/// Volumes that are being deleted go once no claim is bound to them.
fn volumes(world: &mut World) {
    world.hear();
    for key in std::mem::take(&mut world.garbage.volumes) {
        let is_free = world.store.object(&key).is_some_and(|volume| {
            object::is_terminating(volume)
                && list(volume, "/metadata/finalizers").iter().any(|held| held == BOUND)
                && text(volume, "/status/phase") != "Bound"
        });
        if is_free {
            drop_finalizer(world, &key, BOUND);
        }
    }
}

/// Definitions that are being deleted take their resources with them.
fn definitions(world: &mut World, now: Timestamp) {
    world.hear();
    let due = std::mem::take(&mut world.garbage.definitions);
    let groups = std::mem::take(&mut world.garbage.groups);
    if due.is_empty() && !world.custom.keys().any(|(group, _)| groups.contains(group)) {
        return;
    }
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

/// What becomes of an object with owners.
enum Verdict {
    /// It keeps these owners only.
    Keep(Vec<Value>),
    /// It goes, in the foreground or not.
    Go(bool),
}

/// Owner references: background, foreground and orphaning deletion.
fn dependents(world: &mut World, now: Timestamp) {
    world.hear();
    let mut due = std::mem::take(&mut world.garbage.objects);
    for uid in std::mem::take(&mut world.garbage.leaving) {
        due.extend(world.store.indexed(&Index::OwnedBy(uid)).map(|value| object::key(value)));
    }
    let mut owners = due.clone();
    for uid in std::mem::take(&mut world.garbage.bereft) {
        owners.extend(world.store.indexed(&Index::Uid(uid)).map(|value| object::key(value)));
    }
    let held_by = |store: &Store, finalizer: &str| -> Vec<ObjectKey> {
        let is_held = |key: &&ObjectKey| {
            store.object(key).is_some_and(|value| is_going_with(value, finalizer))
        };
        owners.iter().filter(is_held).cloned().collect()
    };
    let orphaners = held_by(&world.store, "orphan");
    let waiting = held_by(&world.store, "foregroundDeletion");
    // All are judged by what is there now, before any of them goes.
    let verdicts: Vec<(ObjectKey, Arc<Value>, Verdict)> = due
        .into_iter()
        .filter_map(|key| {
            let value = world.store.object(&key)?;
            let verdict = judge(&world.store, value)?;
            Some((key, Arc::clone(value), verdict))
        })
        .collect();
    for (key, value, verdict) in verdicts {
        match verdict {
            Verdict::Keep(owners) => keep_owners(world, &key, &value, owners),
            Verdict::Go(_) if object::is_terminating(&value) => {}
            Verdict::Go(foreground) => {
                delete(world, &key, foreground.then_some("Foreground"), now);
            }
        }
    }
    for key in orphaners {
        drop_finalizer(world, &key, "orphan");
    }
    for key in waiting {
        let uid = world.store.object(&key).map(|owner| object::uid(owner).to_owned());
        let Some(uid) = uid else { continue };
        let blocks = |owner: &Value| {
            text(owner, "/uid") == uid && object::is_true(owner, "/blockOwnerDeletion")
        };
        let is_blocked = world
            .store
            .indexed(&Index::OwnedBy(uid.clone()))
            .any(|value| list(value, "/metadata/ownerReferences").iter().any(blocks));
        if !is_blocked {
            drop_finalizer(world, &key, "foregroundDeletion");
        }
    }
}

/// Whether an object is being deleted and held by a finalizer.
fn is_going_with(value: &Value, finalizer: &str) -> bool {
    object::is_terminating(value)
        && list(value, "/metadata/finalizers").iter().any(|found| found == finalizer)
}

fn judge(store: &Store, value: &Value) -> Option<Verdict> {
    let owners = list(value, "/metadata/ownerReferences");
    if owners.is_empty() {
        return None;
    }
    let found = |owner: &Value| {
        let uid = Index::Uid(text(owner, "/uid").to_owned());
        store.indexed(&uid).next().map(Arc::clone)
    };
    let is_going = |owner: &Value, finalizer: &str| {
        found(owner).is_some_and(|owner| is_going_with(&owner, finalizer))
    };
    let is_dying = |owner: &Value| is_going(owner, "foregroundDeletion");
    let is_orphaning = |owner: &Value| is_going(owner, "orphan");
    let is_solid =
        |owner: &&Value| found(owner).is_some() && !is_dying(owner) && !is_orphaning(owner);
    let solid: Vec<Value> = owners.iter().filter(is_solid).cloned().collect();
    if solid.len() == owners.len() {
        return None;
    }
    if !solid.is_empty() || owners.iter().any(is_orphaning) {
        return Some(Verdict::Keep(solid));
    }
    let has_dependents = store.indexed(&Index::OwnedBy(object::uid(value).to_owned())).len() > 0;
    Some(Verdict::Go(has_dependents && owners.iter().any(is_dying)))
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
