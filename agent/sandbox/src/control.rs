//! What a controller may do: the writes that it decides on.

use serde_json::Value;

/// Names one object of the store. The version is absent: an object is the same in every version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// The API group; empty for the core group.
    pub group: String,
    /// The kind, as in `Deployment`.
    pub kind: String,
    /// The namespace; empty when the kind is cluster-scoped.
    pub namespace: String,
    /// The object's name.
    pub name: String,
}

impl ObjectKey {
    /// A key from its four parts.
    pub fn new(group: &str, kind: &str, namespace: &str, name: &str) -> Self {
        Self {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

/// One thing that a controller wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// The server fills uid, resourceVersion and creationTimestamp; that it exists already is ignored.
    Create(Value),
    /// Spec and metadata; a stale resourceVersion drops the write, since the next round recomputes it.
    Update(Value),
    /// Only `.status` is taken.
    UpdateStatus(Value),
    /// Background propagation, without a grace period.
    Delete(ObjectKey),
    /// As a client's delete with background propagation and the object's own grace period: a bound pod gets a
    /// `deletionTimestamp` and stays until the kubelet deletes it; anything else goes as with `Delete`.
    Terminate(ObjectKey),
    /// A Kubernetes event about an object.
    Event {
        /// The object the event is about.
        about: ObjectKey,
        /// A word in CamelCase, as in `FailedScheduling`.
        reason: String,
        /// The sentence a person reads.
        message: String,
        /// Whether the event's type is `Warning` rather than `Normal`.
        warning: bool,
    },
}

/// What one round of the controllers decided.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Round {
    /// The writes, in the order in which they are to be carried out.
    pub writes: Vec<Write>,
    /// When time alone would change the answer.
    pub next: Option<jiff::Timestamp>,
}
