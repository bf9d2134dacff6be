//! One round: what the controllers read, whom that will wake, and what they have decided so far.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::object::{
    at, group, is_terminating, items, name, namespace, owner_reference, same, selects, set, text,
    uid,
};
use super::pod::phase;
use super::wake::{Controllers, Look, Read};
use crate::conduct::Conduct;
use crate::control::{ObjectKey, Write};
use crate::store::{Index, Store, label};

type Objects = Vec<Arc<Value>>;

/// What the controllers share in one round.
pub(super) struct Pass<'round> {
    store: &'round Store,
    controllers: &'round mut Controllers,
    pub(super) now: Timestamp,
    due: BTreeSet<Look>,
    /// Who looks at the moment, and how many writes there were before.
    current: Option<(Look, usize)>,
    reads: BTreeSet<Read>,
    next: Option<Timestamp>,
    /// How many pods of a namespace are not over, where it was asked for.
    unfinished: BTreeMap<String, i64>,
    /// The addresses given out in this round.
    given: BTreeSet<String>,
    writes: Vec<Write>,
}

impl<'round> Pass<'round> {
    pub(super) fn new(
        controllers: &'round mut Controllers,
        due: BTreeSet<Look>,
        store: &'round Store,
        now: Timestamp,
    ) -> Self {
        Self {
            store,
            controllers,
            now,
            due,
            current: None,
            reads: BTreeSet::new(),
            next: None,
            unfinished: BTreeMap::new(),
            given: BTreeSet::new(),
            writes: Vec::new(),
        }
    }

    pub(super) fn finish(mut self) -> Vec<Write> {
        self.end();
        self.writes
    }

    /// The next object of a kind that it is its controller's turn to look at, by namespace and name. What is read from
    /// now on is read for it.
    pub(super) fn next(&mut self, group: &str, kind: &str) -> Option<Arc<Value>> {
        self.end();
        let from = Look::At(ObjectKey::new(group, kind, "", ""));
        while let Some(look) = self.due.range(from.clone()..).next().cloned() {
            let Look::At(key) = &look else { return None };
            if key.group != group || key.kind != kind {
                return None;
            }
            self.due.remove(&look);
            let found = self.store.object(key).cloned();
            if found.is_some() {
                self.current = Some((look, self.writes.len()));
                return found;
            }
        }
        None
    }

    /// Whether it is the scheduler's turn. What is read from now on is read for it.
    pub(super) fn is_schedulers_turn(&mut self) -> bool {
        self.end();
        let is_due = self.due.remove(&Look::Scheduler);
        if is_due {
            self.current = Some((Look::Scheduler, self.writes.len()));
        }
        is_due
    }

    /// Files what the present look has read.
    fn end(&mut self) {
        let reads = std::mem::take(&mut self.reads);
        let next = self.next.take();
        if let Some((look, before)) = self.current.take() {
            let wrote = self.writes.len() > before;
            self.controllers.file(look, reads, next, wrote);
        }
    }

    pub(super) fn get(
        &mut self,
        group: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Option<Arc<Value>> {
        let key = ObjectKey::new(group, kind, namespace, name);
        let found = self.store.object(&key).cloned();
        self.reads.insert(Read::Object(key));
        found
    }

    /// All objects of a kind.
    pub(super) fn list(&mut self, group: &str, kind: &str) -> Objects {
        self.reads.insert(Read::Kind(group.to_owned(), kind.to_owned(), String::new()));
        self.store.of_kind(group, kind, None).cloned().collect()
    }

    /// The objects of a kind in one namespace.
    pub(super) fn in_namespace(&mut self, group: &str, kind: &str, namespace: &str) -> Objects {
        let read = Read::Kind(group.to_owned(), kind.to_owned(), namespace.to_owned());
        self.reads.insert(read);
        self.store.of_kind(group, kind, Some(namespace)).cloned().collect()
    }

    /// The objects of an index.
    pub(super) fn indexed(&mut self, index: Index) -> Objects {
        let found = self.store.indexed(&index).cloned().collect();
        self.reads.insert(Read::Index(index));
        found
    }

    /// The pods of a namespace that may have all of these labels: those with the rarest of them, or all when there is none.
    pub(super) fn pods_with(&mut self, namespace: &str, labels: &Value) -> Objects {
        let indexes =
            labels.as_object().into_iter().flatten().map(|(name, value)| {
                Index::PodsWithLabel(namespace.to_owned(), label(name, value))
            });
        match indexes.min_by_key(|index| self.store.indexed(index).len()) {
            Some(rarest) => self.indexed(rarest),
            None => self.in_namespace("", "Pod", namespace),
        }
    }

    /// How a pod is to behave, whatever its images say.
    pub(super) fn conduct(&self, pod: &Value) -> Conduct {
        Conduct::of(&self.controllers.conducts, pod)
    }

    /// The nodes and their pods, for the scheduler to try things out in.
    pub(super) fn places(&mut self) -> &mut super::scheduler::Places {
        self.reads.insert(Read::Places);
        &mut self.controllers.places
    }

    /// How many pods of a namespace are not over.
    pub(super) fn unfinished_pods(&mut self, namespace: &str) -> i64 {
        let read = Read::Kind(String::new(), "Pod".to_owned(), namespace.to_owned());
        self.reads.insert(read);
        *self.unfinished.entry(namespace.to_owned()).or_insert_with(|| {
            let pods = self.store.of_kind("", "Pod", Some(namespace));
            let is_unfinished = |pod: &&Arc<Value>| !matches!(phase(pod), "Succeeded" | "Failed");
            i64::try_from(pods.filter(is_unfinished).count()).unwrap_or(i64::MAX)
        })
    }

    /// The objects of a kind that `owner` controls, without adopting or releasing any.
    pub(super) fn held(&mut self, kind: &str, owner: &Value) -> Objects {
        self.held_by(kind, uid(owner))
    }

    /// The objects of a kind that the owner of a uid controls.
    pub(super) fn held_by(&mut self, kind: &str, uid: &str) -> Objects {
        self.indexed(Index::ControlledBy(kind.to_owned(), uid.to_owned()))
    }

    /// The objects of a kind that `owner` controls and its selector takes. Orphans that the selector takes are
    /// adopted; what it no longer takes is released. Both show in the next round.
    pub(super) fn claim(
        &mut self,
        kind: &str,
        owner: &Value,
        suits: impl Fn(&Value) -> bool,
    ) -> Objects {
        let selector = at(owner, "spec/selector");
        let matches = |object: &Value| selects(selector, at(object, "metadata/labels"));
        let mut kept = Vec::new();
        for object in self.held(kind, owner) {
            if matches(&object) {
                kept.push(object);
            } else if !is_terminating(owner) && !is_terminating(&object) {
                let mut released = Value::clone(&object);
                let others: Vec<Value> = items(&object, "metadata/ownerReferences")
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
        let free = Index::Uncontrolled(kind.to_owned(), namespace(owner).to_owned());
        for object in self.indexed(free) {
            if matches(&object) && suits(&object) && !is_terminating(&object) {
                let mut adopted = Value::clone(&object);
                let mut owners = items(&object, "metadata/ownerReferences").to_vec();
                owners.push(owner_reference(owner));
                set(&mut adopted, "metadata/ownerReferences", Value::Array(owners));
                self.update(adopted);
            }
        }
        kept
    }

    /// Whether nothing may be created in a namespace any more. It stays so until the namespace is gone, with all in it.
    fn is_closing(&self, namespace: &str) -> bool {
        self.store.get("", "Namespace", "", namespace).is_some_and(|space| is_terminating(space))
    }

    /// Takes an address, unless a pod or a Service has it or it was taken in this round. Whoever takes one keeps it, so
    /// this wakes nobody.
    pub(super) fn take_address(&mut self, address: &str) -> bool {
        let held = Index::Address(address.to_owned());
        self.store.indexed(&held).len() == 0 && self.given.insert(address.to_owned())
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

    /// Asks to look again at `time`, if that is still to come.
    pub(super) fn wake(&mut self, time: Timestamp) {
        if time > self.now {
            self.next = Some(self.next.map_or(time, |next| next.min(time)));
        }
    }

    /// Whether `wait` has passed since `since`; if not, asks to look again when it has.
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
