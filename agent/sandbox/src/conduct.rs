//! How some pods behave, whatever the words of their images say: for copies of clusters whose images say nothing.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::object::{map, namespace};

/// What is said of the pods that have all of these marks. Their init containers do as their images say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conduct {
    /// Their namespace; empty for all.
    pub namespace: String,
    /// Labels that they have.
    pub labels: BTreeMap<String, String>,
    /// Annotations that they have.
    pub annotations: BTreeMap<String, String>,
    /// Seconds from the node's taking the pod until it is ready, or until the pod of a job ends.
    pub takes: Option<i64>,
    /// Whether they run and never become ready.
    pub is_never_ready: bool,
}

impl Conduct {
    /// What all together say of a pod: the last one that says something counts.
    pub(crate) fn of(all: &[Self], pod: &Value) -> Self {
        let mut conduct = Self::default();
        for own in all.iter().filter(|own| own.is_about(pod)) {
            conduct.takes = own.takes.or(conduct.takes);
            conduct.is_never_ready |= own.is_never_ready;
        }
        conduct
    }

    fn is_about(&self, pod: &Value) -> bool {
        let has = |pointer: &str, marks: &BTreeMap<String, String>| {
            let own = map(pod, pointer);
            marks.iter().all(|(name, value)| {
                own.and_then(|own| own.get(name)?.as_str()) == Some(value.as_str())
            })
        };
        (self.namespace.is_empty() || self.namespace == namespace(pod))
            && has("/metadata/labels", &self.labels)
            && has("/metadata/annotations", &self.annotations)
    }
}
