//! The live state: what was observed, when, and with which gaps; and the inventory of what is ours.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::desired::Owner;
use crate::digest::Digest;
use crate::need::Need;
use crate::object::{Object, ObjectRef, StoredObject};
use crate::pod::Pod;

/// What was observed of all clusters.
#[derive(Clone, Debug, Default)]
pub struct LiveState {
    /// By name of the `Cluster` document.
    pub clusters: BTreeMap<String, ClusterObservation>,
}

impl LiveState {
    /// What was observed of one object. `None` means *not looked at*, never *absent*.
    pub fn observation(&self, reference: &ObjectRef) -> Option<&Observation> {
        self.clusters.get(&reference.cluster)?.objects.get(reference)
    }
}

/// What was observed of one cluster.
#[derive(Clone, Debug)]
pub struct ClusterObservation {
    /// The uid of the namespace `kube-system`: the identity of a cluster across addresses and names.
    pub uid: Option<String>,
    /// The server's version, `v1.29.3`.
    pub version: Option<String>,
    /// When the observation began.
    pub observed_at: Timestamp,
    /// Why nothing or not everything could be observed. While there is one, nothing is pruned in this cluster.
    pub gap: Option<Gap>,
    /// Why single objects could not be observed. The others are as they are told here.
    pub gaps: BTreeMap<ObjectRef, Gap>,
    /// One entry for each desired object and each object of the inventory that was looked at.
    pub objects: BTreeMap<ObjectRef, Observation>,
    /// What the changes count on beside their own objects.
    pub around: Surroundings,
}

/// What changes count on beside their own objects, whoever made it. Looked at only where something changes that needs it.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Autoscalers of the namespaces in which workloads change.
    pub autoscalers: BTreeMap<ObjectRef, Object>,
    /// Where volumes come from; `None` when nobody needs to know, or nobody may.
    pub storage: Option<Storage>,
    /// Quotas of the namespaces in which pods become more or larger.
    pub quotas: BTreeMap<ObjectRef, Object>,
    /// What is free for pods on each node that takes any pod, by requests; `None` when nobody needs to know, or nobody may.
    pub free: Option<BTreeMap<String, Need>>,
    /// Pods of nodes that are to be drained, by node.
    pub nodes: BTreeMap<String, Vec<Pod>>,
    /// What could not be looked at, as a plural of the API (`horizontalpodautoscalers`), and why.
    pub unknown: BTreeMap<String, Gap>,
}

/// Where volumes of new claims come from.
#[derive(Clone, Debug, Default)]
pub struct Storage {
    /// Storage classes.
    pub classes: Vec<Object>,
    /// Persistent volumes, only looked at when a class is missing: a claim is filled by one that somebody has made for it.
    pub volumes: Vec<Object>,
}

/// Why something could not be observed. A gap is never read as "absent" (invariant).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Gap {
    /// A finding code: `CLUSTER/UNREACHABLE`, `CLUSTER/FORBIDDEN`, `CLUSTER/KIND_UNKNOWN` …
    pub code: String,
    /// What the server or the network said, without secrets.
    pub message: String,
}

/// What was observed of one object.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The object as it is; `None` when the server said clearly that it does not exist.
    pub live: Option<LiveObject>,
    /// What the server says that applying the desired object would give (dry run).
    pub predicted: Prediction,
    /// Fields that the apply would take from other managers.
    pub conflicts: Vec<Conflict>,
    /// Warnings that the server gave (deprecations, pod security).
    pub warnings: Vec<String>,
    /// What would go with it when it is deleted, of what nobody wants any more: of a definition the objects of its kind; of
    /// a namespace what somebody put into it, whoever it was, without what controllers keep there and what belongs to
    /// another object. And of a `StatefulSet` the claims that it leaves behind.
    pub holds: Vec<ObjectRef>,
}

impl Observation {
    /// The object as it is, to be looked into.
    pub fn live(&self) -> Option<Object> {
        self.live.as_ref().map(LiveObject::read)
    }
}

/// An object as the API server keeps it.
#[derive(Clone, PartialEq, Eq)]
pub struct LiveObject {
    content: StoredObject,
    uid: Arc<str>,
    resource_version: Arc<str>,
}

impl LiveObject {
    /// Keeps an object.
    pub fn new(object: &Object) -> Self {
        let (uid, resource_version) = (object.uid().into(), object.resource_version().into());
        Self { content: object.into(), uid, resource_version }
    }

    /// Keeps an object that is JSON already. What identifies it must be its own.
    pub fn of_text(text: String, uid: &str, resource_version: &str) -> Self {
        let content = StoredObject::of_text(text);
        Self { content, uid: uid.into(), resource_version: resource_version.into() }
    }

    /// The object. Reads it each time.
    pub fn read(&self) -> Object {
        self.content.read()
    }

    /// `metadata.uid`.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// `metadata.resourceVersion`: with the uid it names the content.
    pub fn resource_version(&self) -> &str {
        &self.resource_version
    }
}

/// Shows only which one it is: contents may hold secrets.
impl fmt::Debug for LiveObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LiveObject({} at {})", self.uid, self.resource_version)
    }
}

/// The server's answer to a dry run, with how far it can be trusted.
#[derive(Clone, Debug)]
pub enum Prediction {
    /// Not wanted any more: nothing was asked.
    NotDesired,
    /// Applying would change nothing: the server said so of this very pair, or says so by its record of who set what.
    InPlace,
    /// The server said it: *exact*.
    Exact(StoredObject),
    /// Made without the server, because its namespace, its kind or its kind's schema comes with the same change:
    /// *simulated*.
    Simulated(StoredObject),
    /// The server could not say (webhook without dry run, no permission): *unverified*; the desired object stands in.
    Unverified(StoredObject, Gap),
    /// The server refused it: applying would fail the same way.
    Refused(Gap),
}

/// A field that another manager owns and that the apply would change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Conflict {
    /// Field path as the server writes it, `.spec.replicas`.
    pub field: String,
    /// The other manager.
    pub manager: String,
    /// When it last wrote, when the server says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

/// Whose an object is that exists and is not ours.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stranger {
    /// What looks after it, by its own marks; absent for what a person or program made once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<Tool>,
    /// The release, application, site or owner that it belongs to; else the names of its field managers.
    pub by: String,
}

/// What else looks after objects, and would change them back.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Tool {
    /// A release of Helm.
    Helm,
    /// A `Kustomization` or `HelmRelease` of Flux.
    Flux,
    /// An application of Argo CD.
    ArgoCd,
    /// Another site of Tidegate.
    Tidegate,
    /// A controller that made it for an object of its own.
    Controller,
}

impl Tool {
    /// As people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Helm => "Helm",
            Self::Flux => "Flux",
            Self::ArgoCd => "Argo CD",
            Self::Tidegate => "Tidegate",
            Self::Controller => "controller",
        }
    }
}

/// The objects that are ours because we applied them; never "what exists".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Inventory {
    /// By reference.
    #[serde(with = "entries")]
    #[schemars(with = "Vec<entries::OwnedLine>")]
    pub entries: BTreeMap<ObjectRef, InventoryEntry>,
}

/// One object of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InventoryEntry {
    /// `apiVersion` at which it was applied.
    pub api_version: String,
    /// The uid that it had after our first apply; `None` between the intention and the apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The digest of the desired object that was last applied; `None` before the first apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<Digest>,
    /// Whose it is.
    pub owner: Owner,
    /// Whether it said `tidegate.dev/prune: disabled` when it was last applied: taking the annotation off by hand does not
    /// make it deletable.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept: bool,
    /// Who took it over, when it was there before us: a rollback never deletes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopted: Option<Adoption>,
}

/// How an object that was there before us became ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Adoption {
    /// The person who asked for it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
    /// Whose it was.
    pub from: Stranger,
}

/// JSON has no maps with structured keys, so entries are written as a list.
mod entries {
    use std::collections::BTreeMap;

    use schemars::JsonSchema;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{InventoryEntry, ObjectRef};

    #[derive(Serialize)]
    struct Line<'a> {
        object: &'a ObjectRef,
        entry: &'a InventoryEntry,
    }

    /// One object of ours, with what is known of it.
    #[derive(Deserialize, JsonSchema)]
    #[schemars(rename = "InventoryLine")]
    pub(super) struct OwnedLine {
        /// The object.
        object: ObjectRef,
        /// What is known of it.
        entry: InventoryEntry,
    }

    pub(super) fn serialize<S: Serializer>(
        entries: &BTreeMap<ObjectRef, InventoryEntry>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(entries.iter().map(|(object, entry)| Line { object, entry }))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<ObjectRef, InventoryEntry>, D::Error> {
        let lines = Vec::<OwnedLine>::deserialize(deserializer)?;
        Ok(lines.into_iter().map(|line| (line.object, line.entry)).collect())
    }
}
