//! What progress is told of the world: read anew before each decision.

use std::collections::BTreeMap;

use super::check::Answers;
use crate::live::{Conflict, Gap};
use crate::object::{Object, ObjectRef};
use crate::pod::Pod;

/// What is observed for the steps that run.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The objects of running steps. An object that is not here was not looked at.
    pub objects: BTreeMap<ObjectRef, Seen>,
    /// Pods by workload.
    pub pods: BTreeMap<ObjectRef, Vec<Pod>>,
    /// Digests of the zones that are served, by name.
    pub published: BTreeMap<String, String>,
    /// Why the last publishing did not happen.
    pub publish_failure: Option<String>,
    /// Clusters that cannot be reached now.
    pub gaps: BTreeMap<String, Gap>,
    /// Uids that the inventory has of objects of the steps that are under way: what we made. An object with another uid is
    /// somebody else's.
    pub uids: BTreeMap<ObjectRef, String>,
    /// What pods answered to checks.
    pub answers: Answers,
    /// Effects that failed and were not successful since.
    pub failures: BTreeMap<ObjectRef, EffectFailure>,
}

impl Observed {
    /// The object, when it was looked at and exists.
    pub fn object(&self, reference: &ObjectRef) -> Option<&Object> {
        match self.objects.get(reference)? {
            Seen::Present(object) => Some(object),
            Seen::Absent => None,
        }
    }

    /// Whether the server said that it does not exist.
    pub fn is_absent(&self, reference: &ObjectRef) -> bool {
        matches!(self.objects.get(reference), Some(Seen::Absent))
    }

    /// Pods of a workload.
    pub fn pods(&self, workload: &ObjectRef) -> &[Pod] {
        self.pods.get(workload).map_or(&[], Vec::as_slice)
    }
}

/// An object that was looked at.
#[derive(Clone, Debug)]
pub enum Seen {
    /// As it is.
    Present(Object),
    /// The server said clearly that it does not exist.
    Absent,
}

impl Seen {
    /// The object, when it exists.
    pub fn object(self) -> Option<Object> {
        match self {
            Self::Present(object) => Some(object),
            Self::Absent => None,
        }
    }
}

/// Why an effect failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectFailure {
    /// A finding code.
    pub code: String,
    /// What the server said, masked.
    pub message: String,
    /// Whether trying again may help.
    pub is_transient: bool,
    /// Fields that it would have taken from other managers, and that nobody approved.
    pub conflicts: Vec<Conflict>,
}
