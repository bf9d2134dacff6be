//! The nodes with the pods on them, kept up to date by the changes of the store, as the real scheduler's cache is.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::super::node::Room;
use super::super::object::{at, is_terminating, text};
use super::super::pod::phase;
use super::family;
use crate::control::ObjectKey;
use crate::store::Change;

/// One node and the pods on it that are not over.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Null when there are pods that say they are on a node that does not exist.
    pub(super) node: Arc<Value>,
    room: Room,
    used: Room,
    pub(super) pods: BTreeMap<ObjectKey, Arc<Value>>,
    /// How many pods of each family are here to stay.
    pub(super) families: BTreeMap<String, usize>,
    /// The pods that keep others away.
    pub(super) guards: BTreeMap<ObjectKey, Arc<Value>>,
}

impl Default for Place {
    fn default() -> Self {
        Self {
            node: Arc::new(Value::Null),
            room: Room::default(),
            used: Room::default(),
            pods: BTreeMap::new(),
            families: BTreeMap::new(),
            guards: BTreeMap::new(),
        }
    }
}

impl Place {
    pub(super) fn free(&self) -> Room {
        let mut free = self.room;
        free.add(self.used.negative());
        free
    }

    fn take(&mut self, key: &ObjectKey, pod: &Arc<Value>) {
        self.used.add(Room::of_pod(pod));
        if let Some(family) = family_that_stays(pod) {
            *self.families.entry(family).or_default() += 1;
        }
        if at(pod, "spec/affinity/podAntiAffinity").is_object() {
            self.guards.insert(key.clone(), Arc::clone(pod));
        }
        self.pods.insert(key.clone(), Arc::clone(pod));
    }

    fn let_go(&mut self, key: &ObjectKey) {
        let Some(pod) = self.pods.remove(key) else { return };
        self.used.add(Room::of_pod(&pod).negative());
        if let Some(family) = family_that_stays(&pod)
            && let Some(count) = self.families.get_mut(&family)
        {
            *count -= 1;
            if *count == 0 {
                self.families.remove(&family);
            }
        }
        self.guards.remove(key);
    }
}

fn family_that_stays(pod: &Value) -> Option<String> {
    if is_terminating(pod) { None } else { family(pod) }
}

/// All nodes by name.
#[derive(Clone, Debug, Default)]
pub(in crate::controller) struct Places(BTreeMap<String, Place>);

impl Places {
    /// The nodes that exist, by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Place> {
        self.0.values().filter(|place| !place.node.is_null())
    }

    /// Follows a change of the store; says whether it can make a difference to where a pod may go.
    pub(in crate::controller) fn follow(&mut self, change: &Change) -> bool {
        match (change.key.group.as_str(), change.key.kind.as_str()) {
            ("", "Node") => {
                let place = self.0.entry(change.key.name.clone()).or_default();
                place.node = change.after().cloned().unwrap_or_default();
                place.room = Room::of_node(&place.node);
                self.forget_if_empty(&change.key.name);
                true
            }
            ("", "Pod") => {
                let before = change.before.as_ref().filter(|pod| is_placed(pod));
                let after = change.after().filter(|pod| is_placed(pod));
                if let Some(before) = before {
                    self.let_go(text(before, "spec/nodeName"), &change.key);
                }
                if let Some(after) = after {
                    self.take(text(after, "spec/nodeName"), &change.key, after);
                }
                let what_counts = |pod: &Arc<Value>| {
                    let labels = at(pod, "metadata/labels").clone();
                    (text(pod, "spec/nodeName").to_owned(), is_terminating(pod), labels)
                };
                before.map(what_counts) != after.map(what_counts)
            }
            _ => false,
        }
    }

    /// Puts a pod on a node.
    pub(super) fn take(&mut self, node: &str, key: &ObjectKey, pod: &Arc<Value>) {
        self.0.entry(node.to_owned()).or_default().take(key, pod);
    }

    /// Takes a pod off a node.
    pub(super) fn let_go(&mut self, node: &str, key: &ObjectKey) {
        if let Some(place) = self.0.get_mut(node) {
            place.let_go(key);
        }
        self.forget_if_empty(node);
    }

    fn forget_if_empty(&mut self, node: &str) {
        if self.0.get(node).is_some_and(|place| place.node.is_null() && place.pods.is_empty()) {
            self.0.remove(node);
        }
    }
}

fn is_placed(pod: &Value) -> bool {
    !text(pod, "spec/nodeName").is_empty() && !matches!(phase(pod), "Succeeded" | "Failed")
}
