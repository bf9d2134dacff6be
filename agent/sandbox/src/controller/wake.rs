//! Whose turn it is: a controller looks at an object again when that object, or anything it read when it looked last, has
//! changed; when the time has come that it asked for; and when it wrote something the last time.
//!
//! Controllers need not say what wakes them: what they read through [`Pass`](super::pass::Pass) is noted.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::scheduler::Places;
use crate::conduct::Conduct;
use crate::control::{ObjectKey, Round};
use crate::store::{Change, Index, Store};

/// The kinds that a controller looks at object by object, by group.
const TENDED: [(&str, &str); 13] = [
    ("", "Namespace"),
    ("", "Node"),
    ("", "PersistentVolume"),
    ("", "PersistentVolumeClaim"),
    ("", "Pod"),
    ("", "Service"),
    ("apps", "DaemonSet"),
    ("apps", "Deployment"),
    ("apps", "ReplicaSet"),
    ("apps", "StatefulSet"),
    ("autoscaling", "HorizontalPodAutoscaler"),
    ("batch", "Job"),
    ("policy", "PodDisruptionBudget"),
];

/// Who looks: the controller of a kind at one object of it, or the scheduler at all that waits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Look {
    At(ObjectKey),
    Scheduler,
}

/// What a look read, and so what wakes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Read {
    Object(ObjectKey),
    /// All objects of a kind in a namespace; everywhere when it is empty.
    Kind(String, String, String),
    Index(Index),
    /// Which pods are on which nodes, as far as the scheduler cares.
    Places,
}

/// What is known of a look until the next one.
#[derive(Clone, Debug, Default)]
struct Noted {
    reads: BTreeSet<Read>,
    next: Option<Timestamp>,
}

/// All controllers, and what they remember between rounds. All of it follows from the store: nothing is lost when it is
/// made anew, but the time that it takes.
#[derive(Clone, Debug)]
pub(crate) struct Controllers {
    due: BTreeSet<Look>,
    noted: BTreeMap<Look, Noted>,
    readers: BTreeMap<Read, BTreeSet<Look>>,
    times: BTreeSet<(Timestamp, Look)>,
    pub(super) places: Places,
    /// How single pods behave, whatever their images say.
    pub(crate) conducts: Vec<Conduct>,
    looks: u64,
}

impl Default for Controllers {
    fn default() -> Self {
        Self {
            due: BTreeSet::from([Look::Scheduler]),
            noted: BTreeMap::new(),
            readers: BTreeMap::new(),
            times: BTreeSet::new(),
            places: Places::default(),
            conducts: Vec::new(),
            looks: 0,
        }
    }
}

impl Controllers {
    /// Follows a change of the store. The changes of a store have to come all, and in their order.
    pub(crate) fn follow(&mut self, change: &Change) {
        let key = &change.key;
        if TENDED.contains(&(key.group.as_str(), key.kind.as_str())) {
            let look = Look::At(key.clone());
            if change.after().is_some() {
                self.due.insert(look);
            } else {
                self.due.remove(&look);
                self.note(look, Noted::default());
            }
        }
        for state in [change.before.as_ref(), change.after()].into_iter().flatten() {
            for index in Index::of(key, state) {
                self.wake(&Read::Index(index));
            }
        }
        let kind =
            |namespace: &str| Read::Kind(key.group.clone(), key.kind.clone(), namespace.to_owned());
        self.wake(&Read::Object(key.clone()));
        self.wake(&kind(""));
        if !key.namespace.is_empty() {
            self.wake(&kind(&key.namespace));
        }
        if self.places.follow(change) {
            self.wake(&Read::Places);
        }
    }

    fn wake(&mut self, read: &Read) {
        self.due.extend(self.readers.get(read).into_iter().flatten().cloned());
    }

    /// One round: every controller whose turn it is looks at the store as it is at `now`.
    pub(crate) fn round(&mut self, store: &Store, now: Timestamp) -> Round {
        while let Some((time, look)) = self.times.first().filter(|(time, _)| *time <= now) {
            self.due.insert(look.clone());
            let passed = (*time, look.clone());
            self.times.remove(&passed);
        }
        let due = std::mem::take(&mut self.due);
        let writes = super::reconcile(self, due, store, now);
        Round { writes, next: self.times.first().map(|(time, _)| *time) }
    }

    /// Replaces what is known of a look by what it read now, and when it wants to look again.
    pub(super) fn file(
        &mut self,
        look: Look,
        reads: BTreeSet<Read>,
        next: Option<Timestamp>,
        wrote: bool,
    ) {
        self.looks += 1;
        if wrote {
            self.due.insert(look.clone());
        }
        self.note(look, Noted { reads, next });
    }

    fn note(&mut self, look: Look, fresh: Noted) {
        let held = self.noted.remove(&look).unwrap_or_default();
        if let Some(next) = held.next {
            self.times.remove(&(next, look.clone()));
        }
        for left in held.reads.difference(&fresh.reads) {
            if let Some(readers) = self.readers.get_mut(left) {
                readers.remove(&look);
                if readers.is_empty() {
                    self.readers.remove(left);
                }
            }
        }
        for read in fresh.reads.difference(&held.reads) {
            self.readers.entry(read.clone()).or_default().insert(look.clone());
        }
        if let Some(next) = fresh.next {
            self.times.insert((next, look.clone()));
        }
        if !fresh.reads.is_empty() || fresh.next.is_some() {
            self.noted.insert(look, fresh);
        }
    }

    /// When time alone makes it somebody's turn.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.times.first().map(|(time, _)| *time)
    }

    /// How often a controller has looked at something since the start.
    pub(crate) fn looks(&self) -> u64 {
        self.looks
    }
}
