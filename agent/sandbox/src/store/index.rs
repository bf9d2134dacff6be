//! What objects are found by besides their kind and name, so that nobody has to walk through all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use serde_json::Value;

use crate::control::ObjectKey;
use crate::object::{integer, is_true, list, map, namespace, text, uid};

/// A set of objects that somebody asks for together. A new one is a variant here and a line in [`Index::of`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Index {
    /// The object of a uid.
    Uid(String),
    /// What has an owner of this uid, controlling or not: what the garbage collector looks through.
    OwnedBy(String),
    /// The objects of a kind that the owner of this uid controls.
    ControlledBy(String, String),
    /// The objects of a kind in a namespace that nobody controls, which a selector may adopt.
    Uncontrolled(String, String),
    /// The pods of a namespace with a label, as in `app=web`.
    PodsWithLabel(String, String),
    /// The pods of a namespace that use a claim of this name.
    PodsWithClaim(String, String),
    /// The pods without a node.
    Unscheduled,
    /// Pods and Services by an address that they have.
    Address(String),
    /// The Services of an address within the cluster, by its number.
    ClusterAddress(u32),
    /// The Services that have a port on the nodes.
    NodePort(u32),
    /// The volumes that name a claim, by its namespace and name.
    VolumesOfClaim(String, String),
    /// The volumes of a class that name no claim.
    FreeVolumes(String),
    /// The events about the object of a uid, for a reason, with a message.
    Events(String, String, String),
}

impl Index {
    /// Everything that an object is found by.
    pub(crate) fn of(key: &ObjectKey, object: &Value) -> BTreeSet<Self> {
        let mut found = BTreeSet::from([Self::Uid(uid(object).to_owned())]);
        let owners = list(object, "/metadata/ownerReferences");
        found.extend(owners.iter().map(|owner| Self::OwnedBy(text(owner, "/uid").to_owned())));
        match owners.iter().find(|owner| is_true(owner, "/controller")) {
            Some(owner) => {
                found.insert(Self::ControlledBy(key.kind.clone(), text(owner, "/uid").to_owned()));
            }
            None if matches!(key.kind.as_str(), "Pod" | "ReplicaSet" | "ControllerRevision") => {
                found.insert(Self::Uncontrolled(key.kind.clone(), key.namespace.clone()));
            }
            None => {}
        }
        match (key.group.as_str(), key.kind.as_str()) {
            ("", "Pod") => of_pod(object, &mut found),
            ("", "Service") => of_service(object, &mut found),
            ("", "PersistentVolume") => {
                let claim = object.pointer("/spec/claimRef");
                found.insert(match claim.filter(|claim| claim.is_object()) {
                    Some(claim) => Self::VolumesOfClaim(
                        text(claim, "/namespace").to_owned(),
                        text(claim, "/name").to_owned(),
                    ),
                    None => Self::FreeVolumes(text(object, "/spec/storageClassName").to_owned()),
                });
            }
            ("", "Event") => {
                let part = |pointer: &str| text(object, pointer).to_owned();
                let about = part("/involvedObject/uid");
                found.insert(Self::Events(about, part("/reason"), part("/message")));
            }
            _ => {}
        }
        found
    }
}

fn of_service(service: &Value, found: &mut BTreeSet<Index>) {
    for ingress in list(service, "/status/loadBalancer/ingress") {
        found.insert(Index::Address(text(ingress, "/ip").to_owned()));
    }
    if let Ok(address) = text(service, "/spec/clusterIP").parse::<Ipv4Addr>() {
        found.insert(Index::ClusterAddress(address.to_bits()));
    }
    let ports = list(service, "/spec/ports").iter();
    let ports = ports.filter_map(|port| u32::try_from(integer(port, "/nodePort")?).ok());
    found.extend(ports.map(Index::NodePort));
}

fn of_pod(pod: &Value, found: &mut BTreeSet<Index>) {
    let place = || namespace(pod).to_owned();
    for (name, value) in map(pod, "/metadata/labels").into_iter().flatten() {
        found.insert(Index::PodsWithLabel(place(), label(name, value)));
    }
    for volume in list(pod, "/spec/volumes") {
        let claim = text(volume, "/persistentVolumeClaim/claimName");
        if !claim.is_empty() {
            found.insert(Index::PodsWithClaim(place(), claim.to_owned()));
        }
    }
    if text(pod, "/spec/nodeName").is_empty() {
        found.insert(Index::Unscheduled);
    }
    let address = text(pod, "/status/podIP");
    if !address.is_empty() {
        found.insert(Index::Address(address.to_owned()));
    }
}

/// A label as [`Index::PodsWithLabel`] names it.
pub(crate) fn label(name: &str, value: &Value) -> String {
    format!("{name}={}", value.as_str().unwrap_or_default())
}

type Objects = BTreeMap<Arc<ObjectKey>, Arc<Value>>;

/// The objects of every index that has any.
#[derive(Clone, Debug, Default)]
pub(super) struct Indexes(BTreeMap<Index, Objects>);

impl Indexes {
    /// The objects of an index, by group, kind, namespace and name.
    pub(super) fn get(&self, index: &Index) -> impl ExactSizeIterator<Item = &Arc<Value>> {
        static NONE: Objects = Objects::new();
        self.0.get(index).unwrap_or(&NONE).values()
    }

    /// The first number from `from` on by which nothing is found but `own`.
    pub(super) fn first_free(&self, from: u32, index: fn(u32) -> Index, own: &ObjectKey) -> u32 {
        let mut free = from;
        for (held, objects) in self.0.range(index(from)..) {
            if *held != index(free) || objects.keys().all(|key| **key == *own) {
                break;
            }
            free = free.saturating_add(1);
        }
        free
    }

    /// Follows one change: the object as it was is replaced by the object as it is.
    pub(super) fn follow(
        &mut self,
        key: &ObjectKey,
        before: Option<&Arc<Value>>,
        after: Option<&Arc<Value>>,
    ) {
        let was = before.map(|before| Index::of(key, before)).unwrap_or_default();
        let is = after.map(|after| Index::of(key, after)).unwrap_or_default();
        for left in was.difference(&is) {
            if let Some(objects) = self.0.get_mut(left) {
                objects.remove(key);
                if objects.is_empty() {
                    self.0.remove(left);
                }
            }
        }
        let Some(after) = after else { return };
        let key = Arc::new(key.clone());
        for index in is {
            self.0.entry(index).or_default().insert(Arc::clone(&key), Arc::clone(after));
        }
    }
}
