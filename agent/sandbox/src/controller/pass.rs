//! One pass over the store: what the controllers read, and what they have decided so far.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::object::{
    at, controller_reference, group, is_terminating, items, name, namespace, owner_reference, same,
    selects, set, text, uid,
};
use crate::control::{ObjectKey, Round, View, Write};

type Objects = Vec<Arc<Value>>;

/// Objects of one kind by who controls them.
#[derive(Default)]
struct Holdings {
    held: BTreeMap<String, Objects>,
    orphans: BTreeMap<String, Objects>,
}

/// What the controllers share in one round.
pub(super) struct Pass<'view> {
    view: &'view dyn View,
    pub(super) now: Timestamp,
    lists: BTreeMap<(&'static str, &'static str), Rc<Objects>>,
    holdings: BTreeMap<&'static str, Rc<Holdings>>,
    closing: BTreeSet<String>,
    addresses: Option<BTreeSet<String>>,
    writes: Vec<Write>,
    next: Option<Timestamp>,
}

impl<'view> Pass<'view> {
    pub(super) fn new(view: &'view dyn View, now: Timestamp) -> Self {
        let closing = view
            .list("", "Namespace")
            .iter()
            .filter(|space| is_terminating(space))
            .map(|space| name(space).to_owned())
            .collect();
        Self {
            view,
            now,
            lists: BTreeMap::new(),
            holdings: BTreeMap::new(),
            closing,
            addresses: None,
            writes: Vec::new(),
            next: None,
        }
    }

    pub(super) fn finish(self) -> Round {
        Round { writes: self.writes, next: self.next }
    }

    pub(super) fn get(
        &self,
        group: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Option<Arc<Value>> {
        self.view.get(group, kind, namespace, name)
    }

    /// All objects of a kind, listed once a round.
    pub(super) fn list(&mut self, group: &'static str, kind: &'static str) -> Rc<Objects> {
        let view = self.view;
        let list =
            self.lists.entry((group, kind)).or_insert_with(|| Rc::new(view.list(group, kind)));
        Rc::clone(list)
    }

    pub(super) fn pods(&mut self) -> Rc<Objects> {
        self.list("", "Pod")
    }

    fn holdings(&mut self, group: &'static str, kind: &'static str) -> Rc<Holdings> {
        if let Some(known) = self.holdings.get(kind) {
            return Rc::clone(known);
        }
        let mut holdings = Holdings::default();
        for object in self.list(group, kind).iter() {
            let (map, key) = match controller_reference(object) {
                Some(owner) => (&mut holdings.held, text(owner, "uid")),
                None => (&mut holdings.orphans, namespace(object)),
            };
            map.entry(key.to_owned()).or_default().push(Arc::clone(object));
        }
        let holdings = Rc::new(holdings);
        self.holdings.insert(kind, Rc::clone(&holdings));
        holdings
    }

    /// The objects of a kind that `owner` controls, without adopting or releasing any.
    pub(super) fn held(
        &mut self,
        group: &'static str,
        kind: &'static str,
        owner: &Value,
    ) -> Objects {
        self.holdings(group, kind).held.get(uid(owner)).cloned().unwrap_or_default()
    }

    /// The objects of a kind that `owner` controls and its selector takes. Orphans that the selector takes are
    /// adopted; what it no longer takes is released. Both show in the next round.
    pub(super) fn claim(
        &mut self,
        group: &'static str,
        kind: &'static str,
        owner: &Value,
        suits: impl Fn(&Value) -> bool,
    ) -> Objects {
        let selector = at(owner, "spec/selector");
        let matches = |object: &Value| selects(selector, at(object, "metadata/labels"));
        let holdings = self.holdings(group, kind);
        let mut kept = Vec::new();
        for object in holdings.held.get(uid(owner)).into_iter().flatten() {
            if matches(object) {
                kept.push(Arc::clone(object));
            } else if !is_terminating(owner) && !is_terminating(object) {
                let mut released = Value::clone(object);
                let others: Vec<Value> = items(object, "metadata/ownerReferences")
                    .iter()
                    .filter(|reference| text(reference, "uid") != uid(owner))
                    .cloned()
                    .collect();
                set(&mut released, "metadata/ownerReferences", Value::Array(others));
                self.update(released);
            }
        }
        if is_terminating(owner) {
            return kept;
        }
        for object in holdings.orphans.get(namespace(owner)).into_iter().flatten() {
            if matches(object) && suits(object) && !is_terminating(object) {
                let mut adopted = Value::clone(object);
                let mut owners = items(object, "metadata/ownerReferences").to_vec();
                owners.push(owner_reference(owner));
                set(&mut adopted, "metadata/ownerReferences", Value::Array(owners));
                self.update(adopted);
            }
        }
        kept
    }

    /// Whether nothing may be created in a namespace any more.
    pub(super) fn is_closing(&self, namespace: &str) -> bool {
        self.closing.contains(namespace)
    }

    /// The addresses that pods have, and those given out in this round.
    pub(super) fn addresses(&mut self) -> &mut BTreeSet<String> {
        let pods = self.pods();
        self.addresses.get_or_insert_with(|| {
            let held = pods.iter().map(|pod| text(pod, "status/podIP").to_owned());
            held.filter(|held| !held.is_empty()).collect()
        })
    }

    pub(super) fn create(&mut self, object: Value) {
        if !self.is_closing(namespace(&object)) {
            self.writes.push(Write::Create(object));
        }
    }

    pub(super) fn update(&mut self, object: Value) {
        self.writes.push(Write::Update(object));
    }

    /// Writes a status if it differs from the one the object has.
    pub(super) fn update_status(&mut self, object: &Value, status: Value) -> bool {
        if same(at(object, "status"), &status) {
            return false;
        }
        let mut fresh = object.clone();
        set(&mut fresh, "status", status);
        self.writes.push(Write::UpdateStatus(fresh));
        true
    }

    pub(super) fn delete(&mut self, object: &Value) {
        self.writes.push(Write::Delete(key(object)));
    }

    /// Deletes as a client would, with the object's own grace period.
    pub(super) fn terminate(&mut self, object: &Value) {
        self.writes.push(Write::Terminate(key(object)));
    }

    pub(super) fn note(&mut self, about: &Value, reason: &str, message: impl Into<String>) {
        self.event(about, reason, message.into(), false);
    }

    pub(super) fn warn(&mut self, about: &Value, reason: &str, message: impl Into<String>) {
        self.event(about, reason, message.into(), true);
    }

    fn event(&mut self, about: &Value, reason: &str, message: String, warning: bool) {
        let event = Write::Event { about: key(about), reason: reason.to_owned(), message, warning };
        self.writes.push(event);
    }

    /// Asks for another round at `time`, if that is still to come.
    pub(super) fn wake(&mut self, time: Timestamp) {
        if time > self.now {
            self.next = Some(self.next.map_or(time, |next| next.min(time)));
        }
    }

    /// Whether `wait` has passed since `since`; if not, asks for a round when it has.
    pub(super) fn has_passed(&mut self, since: Timestamp, wait: SignedDuration) -> bool {
        let due = since.checked_add(wait).unwrap_or(Timestamp::MAX);
        self.wake(due);
        due <= self.now
    }
}

fn key(object: &Value) -> ObjectKey {
    ObjectKey::new(group(object), text(object, "kind"), namespace(object), name(object))
}

/// An object's `metadata.generation`, which a status reports as observed.
pub(super) fn generation(object: &Value) -> Value {
    json!(at(object, "metadata/generation").as_i64().unwrap_or(1))
}
