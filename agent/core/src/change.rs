//! Changes: the difference of one object with its action, and all of them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::desired::Owner;
use crate::digest::Digest;
use crate::live::{Conflict, Gap, Stranger};
use crate::object::ObjectRef;
use crate::zone::RecordSet;

/// All differences between desired and live, masked: it may be stored and shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeSet {
    /// Objects that change, ordered by reference. Unchanged ones are only counted.
    pub changes: Vec<Change>,
    /// Zones that change, ordered by name.
    pub zones: Vec<ZoneDifference>,
    /// Objects that are as desired.
    pub unchanged: usize,
    /// Clusters or objects that could not be observed, and objects that the server refuses, with why.
    pub gaps: Vec<ObjectGap>,
    /// Parts of which nothing is changed, because something of them, or of what they depend on, could not be observed.
    /// Only in a plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<Held>,
    /// Fields of desired objects that only others have set. Listed on demand, and never part of a plan: they are no
    /// difference.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub foreign: Vec<ForeignFields>,
}

/// What others have set on one object, and we do not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForeignFields {
    /// The object.
    pub object: ObjectRef,
    /// The fields, each with who set it and when; no values.
    pub fields: Vec<Conflict>,
}

impl ChangeSet {
    /// Whether there is nothing to do and nothing unknown.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.zones.is_empty() && self.gaps.is_empty()
    }
}

/// A product, or the rules of a role or grant, in one cluster, left as it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// The cluster.
    pub cluster: String,
    /// The product.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// The role or grant, as `role/operators`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<String>,
}

impl Held {
    /// What people call it.
    pub fn name(&self) -> &str {
        self.product.as_deref().or(self.access.as_deref()).unwrap_or_default()
    }
}

/// Something that could not be observed, or that the server refuses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectGap {
    /// The cluster.
    pub cluster: String,
    /// The object; the whole cluster when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectRef>,
    /// Why.
    pub gap: Gap,
    /// Whether the server refused the dry run: applying would be refused too, so there is no plan to approve.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refused: bool,
}

/// The difference of one object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// The object.
    pub object: ObjectRef,
    /// What is done to it.
    pub action: Action,
    /// Whose it is.
    pub owner: Owner,
    /// How sure the preview is.
    pub confidence: Confidence,
    /// Whether the desired object is the one last applied: then the difference is *drift*.
    pub drift: bool,
    /// What changes, by path, ordered; for a creation every leaf of the desired object.
    pub fields: Vec<FieldChange>,
    /// Whose the object is, when it exists and is not ours: until it is adopted there is no plan to approve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stranger: Option<Stranger>,
    /// Fields taken from other managers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<Conflict>,
    /// Fields that we gave up and that stay, because somebody else has set them too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<Conflict>,
    /// What the server warned of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Webhooks and admission policies of the same plan that will have a say in it, and that the dry run did not know:
    /// therefore it is simulated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub webhooks: Vec<String>,
    /// What people should know before they approve.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub effects: Vec<Effect>,
    /// Digest of the live content that matters to this change (our fields and those that change), so that an approval
    /// is bound to it; `None` when the object does not exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Digest>,
    /// Digest of the same content as the server's dry run left it: an object that is found so was written by this release
    /// already, and the agent was killed before it could record that. `None` where the server did not say it exactly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted: Option<Digest>,
    /// Digest of the desired object; `None` for a prune.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<Digest>,
}

impl Change {
    /// A change of which nothing more is known than what is done to which object, and whose it is.
    pub fn new(object: &ObjectRef, action: Action, owner: &Owner) -> Self {
        Self {
            object: object.clone(),
            action,
            owner: owner.clone(),
            confidence: Confidence::Exact,
            drift: false,
            fields: Vec::new(),
            stranger: None,
            conflicts: Vec::new(),
            kept: Vec::new(),
            warnings: Vec::new(),
            webhooks: Vec::new(),
            effects: Vec::new(),
            live: None,
            predicted: None,
            desired: None,
        }
    }
}

/// What is done to an object.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// It does not exist.
    Create,
    /// Fields change.
    Configure,
    /// A field that cannot change does: delete and create, only when the documents opt in.
    Replace,
    /// It stays as it is but belongs to another owner (app, product, solution) from now on.
    Move,
    /// It is ours and no longer wanted.
    Prune,
    /// It is no longer wanted but kept, because it or its document says so (claims, protected objects).
    Keep,
}

/// How sure a preview is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Confidence {
    /// The server said it.
    Exact,
    /// Worked out without the server, because namespace or kind comes with the same change; or a webhook does that the
    /// server did not ask.
    Simulated,
    /// Nobody could say.
    Unverified,
}

/// One field that changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FieldChange {
    /// Path as people write it: `spec.template.spec.containers[name=web].image`.
    pub path: String,
    /// Before; absent when added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Shown>,
    /// After; absent when removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Shown>,
}

/// A value as it may be shown. Secrets lose their value here and nowhere later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Shown {
    /// The value itself.
    Value(Value),
    /// A secret: only whether two of the same change are equal can be told, by the number. Neither length nor content.
    Secret(u32),
}

/// A consequence worth a line of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", tag = "effect")]
pub enum Effect {
    /// Pods restart, in groups.
    PodsRestart {
        /// How many.
        pods: u32,
    },
    /// The number of pods changes.
    PodsScale {
        /// Before.
        from: u32,
        /// After.
        to: u32,
    },
    /// No pod restarts.
    NoPodRestarts,
    /// A claim and what it holds go away.
    VolumeLost,
    /// Everything in the namespace goes away.
    NamespaceLost {
        /// What of it is not ours, by kind, as `2 ConfigMap, 1 Service`; empty when nothing is.
        others: String,
    },
    /// A Service changes its address.
    AddressChanges,
    /// It is the same as an object that goes, or is only kept, but for its name.
    TakesThePlaceOf {
        /// The other object.
        object: String,
    },
    /// Another object that is the same but for its name comes with the plan.
    PlaceIsTakenBy {
        /// The other object.
        object: String,
    },
    /// Somebody gains a permission.
    GainsPermission {
        /// The role or binding.
        access: String,
    },
    /// Somebody loses a permission.
    LosesPermission {
        /// The role or binding.
        access: String,
    },
}

/// The difference of one zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ZoneDifference {
    /// The zone's name.
    pub zone: String,
    /// `Create`, `Configure` or `Prune`.
    pub action: Action,
    /// The published serial, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<u32>,
    /// Record sets that change: (name, type) with before and after.
    pub records: Vec<RecordDifference>,
    /// Digest of the desired zone; `None` for a prune.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<Digest>,
}

/// The difference of one record set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordDifference {
    /// Before; absent when added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<RecordSet>,
    /// After; absent when removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<RecordSet>,
}
