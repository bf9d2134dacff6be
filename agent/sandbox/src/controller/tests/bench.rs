//! An in-memory store that carries the controllers' writes out, with a clock that is moved by hand.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::control::{ObjectKey, Round, Write};
use crate::controller::object::{
    at, group, items, label, name, namespace, number, set, stamp, text, uid,
};
use crate::controller::{Controllers, pod, seed};
use crate::store::Store;

/// A cluster for one test.
pub(super) struct Bench {
    store: Store,
    pub(super) controllers: Controllers,
    pub(super) now: Timestamp,
    count: u64,
    pub(super) events: Vec<(String, String, String)>,
    /// How many writes the last [`Bench::settle`] took.
    pub(super) writes: usize,
    /// When time alone would change something.
    pub(super) next: Option<Timestamp>,
}

fn key(object: &Value) -> ObjectKey {
    ObjectKey::new(group(object), text(object, "kind"), namespace(object), name(object))
}

impl Bench {
    pub(super) fn new(nodes: u32) -> Self {
        let mut bench = Self {
            store: Store::new(0),
            controllers: Controllers::default(),
            now: "2026-11-21T06:00:00Z".parse().unwrap(),
            count: 0,
            events: Vec::new(),
            writes: 0,
            next: None,
        };
        for object in seed(nodes) {
            bench.create(object);
        }
        bench.settle();
        bench
    }

    pub(super) fn create(&mut self, mut object: Value) {
        if self.store.object(&key(&object)).is_some() {
            return;
        }
        self.count += 1;
        set(&mut object, "metadata/uid", json!(format!("uid-{}", self.count)));
        set(&mut object, "metadata/generation", json!(1));
        set(&mut object, "metadata/creationTimestamp", json!(stamp(self.now)));
        if at(&object, "status").is_null() {
            set(&mut object, "status", json!({}));
        }
        self.put(object);
    }

    fn put(&mut self, object: Value) {
        self.store.put(&key(&object), object);
    }

    fn current(&self, object: &Value) -> Option<Value> {
        let held = Value::clone(self.store.object(&key(object))?);
        let version = "metadata/resourceVersion";
        (at(&held, version) == at(object, version)).then_some(held)
    }

    /// What a client would do to an object: any field, with a new generation if the spec changes.
    pub(super) fn edit(&mut self, kind: &str, called: &str, change: impl FnOnce(&mut Value)) {
        let held = self.find(kind, called);
        let mut edited = Value::clone(&held);
        change(&mut edited);
        if at(&edited, "spec") != at(&held, "spec") {
            let generation = number(&held, "metadata/generation").unwrap() + 1;
            set(&mut edited, "metadata/generation", json!(generation));
        }
        self.put(edited);
    }

    /// Sets one field of an object.
    pub(super) fn set(&mut self, kind: &str, called: &str, path: &str, value: Value) {
        self.edit(kind, called, |object| set(object, path, value));
    }

    /// Changes the image of the first container of a workload's template.
    pub(super) fn image(&mut self, kind: &str, called: &str, image: &str) {
        self.edit(kind, called, |object| {
            object["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
        });
    }

    pub(super) fn find(&self, kind: &str, called: &str) -> Arc<Value> {
        self.try_find(kind, called).unwrap_or_else(|| panic!("no {kind} {called}"))
    }

    pub(super) fn try_find(&self, kind: &str, called: &str) -> Option<Arc<Value>> {
        let mut objects = self.store.all();
        objects.find(|(key, _)| key.kind == kind && key.name == called).map(|(_, v)| Arc::clone(v))
    }

    pub(super) fn all(&self, kind: &str) -> Vec<Arc<Value>> {
        let of_kind = self.store.all().filter(|(key, _)| key.kind == kind);
        of_kind.map(|(_, object)| Arc::clone(object)).collect()
    }

    /// A client's delete of an object.
    pub(super) fn delete(&mut self, kind: &str, called: &str) {
        let key = key(&self.find(kind, called));
        self.terminate(&key);
    }

    fn terminate(&mut self, key: &ObjectKey) {
        let Some(held) = self.store.object(key).map(|held| Value::clone(held)) else {
            return;
        };
        if !at(&held, "metadata/deletionTimestamp").is_null() {
            return;
        }
        let is_done = matches!(pod::phase(&held), "Succeeded" | "Failed");
        if key.kind != "Pod" || text(&held, "spec/nodeName").is_empty() || is_done {
            self.remove(key);
            return;
        }
        let grace = number(&held, "spec/terminationGracePeriodSeconds").unwrap_or(30);
        let mut going = held;
        let limit = self.now + SignedDuration::from_secs(grace);
        set(&mut going, "metadata/deletionTimestamp", json!(stamp(limit)));
        set(&mut going, "metadata/deletionGracePeriodSeconds", json!(grace));
        self.put(going);
    }

    /// Removes an object and, as the garbage collector does, what it owned.
    fn remove(&mut self, key: &ObjectKey) {
        self.store.remove(key);
        loop {
            let uids: BTreeSet<String> =
                self.store.all().map(|(_, held)| uid(held).to_owned()).collect();
            let is_orphan = |held: &Value| {
                let owners = items(held, "metadata/ownerReferences");
                !owners.is_empty() && owners.iter().all(|o| !uids.contains(text(o, "uid")))
            };
            let orphans = self.store.all().filter(|(_, held)| is_orphan(held));
            let orphans: Vec<ObjectKey> = orphans.map(|(key, _)| key).collect();
            if orphans.is_empty() {
                return;
            }
            for orphan in orphans {
                self.store.remove(&orphan);
            }
        }
    }

    fn carry_out(&mut self, write: Write) {
        match write {
            Write::Create(object) => self.create(object),
            Write::Update(mut object) => {
                let Some(held) = self.current(&object) else { return };
                set(&mut object, "status", at(&held, "status").clone());
                if at(&object, "spec") != at(&held, "spec") {
                    let generation = number(&held, "metadata/generation").unwrap_or(0) + 1;
                    set(&mut object, "metadata/generation", json!(generation));
                }
                self.put(object);
            }
            Write::UpdateStatus(object) => {
                let Some(mut held) = self.current(&object) else { return };
                set(&mut held, "status", at(&object, "status").clone());
                self.put(held);
            }
            Write::Delete(key) => self.remove(&key),
            Write::Terminate(key) => self.terminate(&key),
            Write::Event { about, reason, message, .. } => {
                self.events.push((about.name, reason, message));
            }
        }
    }

    /// One round; says whether it wrote anything.
    pub(super) fn round(&mut self) -> bool {
        for change in self.store.take_unseen() {
            self.controllers.follow(&change);
        }
        let round = self.controllers.round(&self.store, self.now);
        assert_eq!(round, self.anew(), "somebody was not woken, or woken for nothing");
        self.next = round.next;
        self.writes += round.writes.len();
        let wrote = !round.writes.is_empty();
        for write in round.writes {
            self.carry_out(write);
        }
        wrote
    }

    /// What a round of controllers that remember nothing would be.
    pub(super) fn anew(&self) -> Round {
        let mut store = self.store.clone();
        store.show_all();
        let mut controllers = Controllers::default();
        controllers.conducts.clone_from(&self.controllers.conducts);
        for change in store.take_unseen() {
            controllers.follow(&change);
        }
        controllers.round(&store, self.now)
    }

    /// Rounds until nothing is left to write.
    pub(super) fn settle(&mut self) {
        self.writes = 0;
        for _ in 0..300 {
            if !self.round() {
                return;
            }
        }
        panic!("no rest: {:?}", self.anew().writes);
    }

    /// Lets time pass, stopping wherever something changes by itself.
    pub(super) fn advance(&mut self, seconds: f64) {
        let end = self.now + SignedDuration::from_secs_f64(seconds);
        self.settle();
        while let Some(next) = self.next.filter(|next| *next <= end) {
            self.now = next;
            self.settle();
        }
        self.now = end;
        self.settle();
    }

    /// Lets time pass in steps, checking something after every change.
    pub(super) fn watch(&mut self, seconds: f64, mut check: impl FnMut(&Self)) {
        let end = self.now + SignedDuration::from_secs_f64(seconds);
        loop {
            while self.round() {
                check(self);
            }
            check(self);
            match self.next.filter(|next| *next <= end) {
                Some(next) => self.now = next,
                None => break,
            }
        }
        self.now = end;
        self.settle();
    }

    pub(super) fn pods(&self) -> Vec<Arc<Value>> {
        self.all("Pod")
    }

    /// The pods whose first container has an image.
    pub(super) fn pods_of(&self, image: &str) -> usize {
        let is_of = |pod: &&Arc<Value>| pod["spec"]["containers"][0]["image"] == json!(image);
        self.pods().iter().filter(is_of).count()
    }

    pub(super) fn ready_pods(&self) -> usize {
        self.pods().iter().filter(|pod| pod::is_ready(pod)).count()
    }

    /// A number of a status, 0 when absent.
    pub(super) fn count(&self, kind: &str, called: &str, field: &str) -> i64 {
        number(&self.find(kind, called), &format!("status/{field}")).unwrap_or(0)
    }

    /// `status/reason` of a condition; empty when it is absent.
    pub(super) fn condition(&self, kind: &str, called: &str, condition: &str) -> String {
        let object = self.find(kind, called);
        items(&object, "status/conditions")
            .iter()
            .find(|held| text(held, "type") == condition)
            .map(|held| format!("{}/{}", text(held, "status"), text(held, "reason")))
            .unwrap_or_default()
    }

    pub(super) fn said(&self, reason: &str) -> Vec<&str> {
        self.events
            .iter()
            .filter(|(_, held, _)| held == reason)
            .map(|(_, _, m)| m.as_str())
            .collect()
    }

    /// `name=image` of all pods of a stateful set, terminating ones with a `-`.
    pub(super) fn line_up(&self) -> String {
        let mut pods: Vec<String> = self
            .pods()
            .iter()
            .map(|pod| {
                let image = pod["spec"]["containers"][0]["image"].as_str().unwrap();
                let tag = image.rsplit(':').next().unwrap();
                let gone = if at(pod, "metadata/deletionTimestamp").is_null() { "" } else { "-" };
                format!("{}={tag}{gone}", name(pod))
            })
            .collect();
        pods.sort();
        pods.join(" ")
    }

    pub(super) fn label_of(&self, pod: &str, key: &str) -> String {
        label(&self.find("Pod", pod), key).to_owned()
    }
}

/// A workload with one container.
pub(super) fn workload(kind: &str, called: &str, image: &str, spec: &Value) -> Value {
    let version = if kind == "Job" { "batch/v1" } else { "apps/v1" };
    let mut object = json!({
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": called, "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": called}},
            "template": {
                "metadata": {"labels": {"app": called}},
                "spec": {
                    "containers": [{"name": "app", "image": image}],
                    "restartPolicy": "Always",
                },
            },
        },
    });
    for (field, value) in spec.as_object().unwrap() {
        set(&mut object, &format!("spec/{field}"), value.clone());
    }
    object
}
