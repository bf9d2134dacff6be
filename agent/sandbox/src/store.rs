//! The objects, their revisions, the changes that watches replay, and those that the controllers have not seen.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::Value;

use crate::control::ObjectKey;
use crate::object;

mod index;

pub use index::Index;
pub(crate) use index::label;

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// It was created.
    Added,
    /// It was changed.
    Modified,
    /// It is gone.
    Deleted,
}

/// One change, kept for watches.
#[derive(Clone, Debug)]
pub struct Change {
    /// The revision that the change made.
    pub revision: u64,
    /// What happened.
    pub happened: Happened,
    /// Which object.
    pub key: ObjectKey,
    /// The object after the change; for a deletion, its last state with the deletion's revision.
    pub object: Arc<Value>,
    /// The object before the change.
    pub before: Option<Arc<Value>>,
}

impl Change {
    /// The object after the change, if it is still there.
    pub fn after(&self) -> Option<&Arc<Value>> {
        (self.happened != Happened::Deleted).then_some(&self.object)
    }
}

type Kind = (String, String);
type Place = (String, String);

/// All objects in memory. Every write raises one revision that all kinds share, as etcd does.
#[derive(Clone, Debug)]
pub struct Store {
    objects: BTreeMap<Kind, BTreeMap<Place, Arc<Value>>>,
    indexes: index::Indexes,
    revision: u64,
    history: VecDeque<Change>,
    forgotten: u64,
    history_limit: usize,
    unseen: Vec<Change>,
}

impl Store {
    /// An empty store that keeps the last `history_limit` changes for watches.
    pub fn new(history_limit: usize) -> Self {
        Self {
            objects: BTreeMap::new(),
            indexes: index::Indexes::default(),
            revision: 1,
            history: VecDeque::new(),
            forgotten: 0,
            history_limit,
            unseen: Vec::new(),
        }
    }

    /// The newest revision.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// One object by its key.
    pub fn object(&self, key: &ObjectKey) -> Option<&Arc<Value>> {
        self.objects
            .get(&(key.group.clone(), key.kind.clone()))?
            .get(&(key.namespace.clone(), key.name.clone()))
    }

    /// One object by the parts of its key.
    pub fn get(&self, group: &str, kind: &str, namespace: &str, name: &str) -> Option<&Arc<Value>> {
        self.object(&ObjectKey::new(group, kind, namespace, name))
    }

    /// The objects of a kind by namespace and name; of one namespace when it is given.
    pub fn of_kind<'a>(
        &'a self,
        group: &str,
        kind: &str,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Arc<Value>> {
        let from = (namespace.unwrap_or_default().to_owned(), String::new());
        self.objects
            .get(&(group.to_owned(), kind.to_owned()))
            .into_iter()
            .flat_map(move |objects| objects.range(from.clone()..))
            .take_while(move |((place, _), _)| namespace.is_none_or(|wanted| wanted == place))
            .map(|(_, object)| object)
    }

    /// The objects of an index, by group, kind, namespace and name.
    pub fn indexed(&self, index: &Index) -> impl ExactSizeIterator<Item = &Arc<Value>> {
        self.indexes.get(index)
    }

    /// The first number from `from` on by which nothing is found but `own`: an address or a port that is free.
    pub fn first_free(&self, from: u32, index: fn(u32) -> Index, own: &ObjectKey) -> u32 {
        self.indexes.first_free(from, index, own)
    }

    /// Every object in a namespace, by kind and name.
    pub fn in_namespace<'a>(
        &'a self,
        namespace: &'a str,
    ) -> impl Iterator<Item = (ObjectKey, &'a Arc<Value>)> {
        self.objects.iter().flat_map(move |((group, kind), objects)| {
            objects
                .range((namespace.to_owned(), String::new())..)
                .take_while(move |((place, _), _)| place == namespace)
                .map(move |((_, name), object)| {
                    (ObjectKey::new(group, kind, namespace, name), object)
                })
        })
    }

    /// Every object, by kind, namespace and name.
    pub fn all(&self) -> impl Iterator<Item = (ObjectKey, &Arc<Value>)> {
        self.objects.iter().flat_map(|((group, kind), objects)| {
            objects.iter().map(move |((namespace, name), object)| {
                (ObjectKey::new(group, kind, namespace, name), object)
            })
        })
    }

    /// Writes an object under a new revision and returns it as stored.
    pub fn put(&mut self, key: &ObjectKey, mut value: Value) -> Arc<Value> {
        self.revision += 1;
        object::set_metadata(&mut value, "resourceVersion", self.revision.to_string().into());
        let value = Arc::new(value);
        let before = self
            .objects
            .entry((key.group.clone(), key.kind.clone()))
            .or_default()
            .insert((key.namespace.clone(), key.name.clone()), Arc::clone(&value));
        let happened = if before.is_some() { Happened::Modified } else { Happened::Added };
        self.remember(happened, key, Arc::clone(&value), before);
        value
    }

    /// Takes an object out; returns its last state with the revision of the deletion.
    pub fn remove(&mut self, key: &ObjectKey) -> Option<Arc<Value>> {
        let kind = (key.group.clone(), key.kind.clone());
        let objects = self.objects.get_mut(&kind)?;
        let before = objects.remove(&(key.namespace.clone(), key.name.clone()))?;
        if objects.is_empty() {
            self.objects.remove(&kind);
        }
        self.revision += 1;
        let mut last = (*before).clone();
        object::set_metadata(&mut last, "resourceVersion", self.revision.to_string().into());
        let last = Arc::new(last);
        self.remember(Happened::Deleted, key, Arc::clone(&last), Some(before));
        Some(last)
    }

    /// The changes after `revision`, or nothing when some of them are forgotten.
    pub fn changes_since(&self, revision: u64) -> Option<impl Iterator<Item = &Change>> {
        if revision < self.forgotten {
            return None;
        }
        let from = self.history.partition_point(|change| change.revision <= revision);
        Some(self.history.range(from..))
    }

    /// Forgets all changes up to now, so that older watches get 410.
    pub fn forget_history(&mut self) {
        self.history.clear();
        self.forgotten = self.revision;
    }

    /// Puts back what a state file kept: the objects with their own revisions.
    pub fn restore(&mut self, objects: Vec<Value>, revision: u64) {
        for value in objects {
            let key = object::key(&value);
            let value = Arc::new(value);
            self.objects
                .entry((key.group.clone(), key.kind.clone()))
                .or_default()
                .insert((key.namespace.clone(), key.name.clone()), Arc::clone(&value));
            self.remember(Happened::Added, &key, value, None);
        }
        self.revision = self.revision.max(revision);
        self.forget_history();
    }

    /// The changes since this was last asked, for those who follow them.
    pub fn take_unseen(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.unseen)
    }

    /// Shows every object anew to those who follow the changes, as one that has just come.
    pub fn show_all(&mut self) {
        let shown = self.all().map(|(key, object)| Change {
            revision: self.revision,
            happened: Happened::Added,
            key,
            object: Arc::clone(object),
            before: None,
        });
        self.unseen = shown.collect();
    }

    fn remember(
        &mut self,
        happened: Happened,
        key: &ObjectKey,
        object: Arc<Value>,
        before: Option<Arc<Value>>,
    ) {
        let change = Change { revision: self.revision, happened, key: key.clone(), object, before };
        self.indexes.follow(key, change.before.as_ref(), change.after());
        self.unseen.push(change.clone());
        self.history.push_back(change);
        while self.history.len() > self.history_limit {
            if let Some(change) = self.history.pop_front() {
                self.forgotten = change.revision;
            }
        }
    }
}
