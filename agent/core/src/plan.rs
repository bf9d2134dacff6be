//! The plan: the complete, immutable answer to "what will be done, in which order, gated by what".

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::change::ChangeSet;
use crate::desired::{Asked, Check, DrainTerms, Layer, UnitId};
use crate::digest::Digest;
use crate::object::ObjectRef;

/// A plan. Nothing is decided while it is executed. Its id is the digest of [`Plan::content`], which holds no commit, no
/// author and no time, so that the same change has the same id whoever makes it and whenever.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The commit that it was made from.
    pub revision: String,
    /// E-mail addresses of everybody who wrote a commit since the last accepted revision: excluded from approving.
    pub authors: Vec<String>,
    /// What the id covers.
    pub content: PlanContent,
}

impl Plan {
    /// The digest that approvals name.
    pub fn id(&self) -> Digest {
        Digest::of(&self.content)
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.content.waves.iter().all(|wave| wave.steps.is_empty())
    }

    /// Whether there is nothing to do, and nothing but that to approve either.
    pub fn changes_nothing(&self) -> bool {
        self.is_empty() && !self.content.risks.contains(&Risk::ChangesPolicy)
    }

    /// A change of policies, persons or groups is a risk of its own: the old policy says yes to the new one. `accepted` is the
    /// digest of those of the accepted revision; without one there is nothing older to trust.
    pub fn mark_policy_change(&mut self, accepted: Option<&Digest>) {
        if accepted.is_some_and(|accepted| *accepted != self.content.policies) {
            self.content.risks.insert(Risk::ChangesPolicy);
        }
    }

    /// All steps in order, each with its wave's index.
    pub fn steps(&self) -> impl Iterator<Item = (usize, &Step)> {
        self.content
            .waves
            .iter()
            .enumerate()
            .flat_map(|(index, wave)| wave.steps.iter().map(move |step| (index, step)))
    }

    /// The step with this id.
    pub fn step(&self, id: &str) -> Option<&Step> {
        self.steps().map(|(_, step)| step).find(|step| step.id == id)
    }
}

/// What a plan's id covers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanContent {
    /// The site's name.
    pub site: String,
    /// Release, operation or test.
    pub kind: ReleaseKind,
    /// The digest of the baseline that it starts from; `None` for a first installation. A plan whose parent is no longer
    /// the baseline is refused.
    pub parent: Option<Digest>,
    /// The digest of the desired state.
    pub desired: Digest,
    /// The digest of the policies that shaped it (rollout, approval, windows).
    pub policies: Digest,
    /// Identity of each cluster that it touches: name to uid. A cluster that is exchanged behind a name makes a new plan.
    pub clusters: BTreeMap<String, String>,
    /// Digests that registries gave for its images, by reference: with them the content can be made again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, Digest>,
    /// Why things change, in delivery terms.
    pub tasks: Vec<Task>,
    /// What the approval policy may match.
    pub risks: BTreeSet<Risk>,
    /// What changes, masked.
    pub changes: ChangeSet,
    /// In order.
    pub waves: Vec<Wave>,
}

/// The kinds of releases (delivery.md A.10).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum ReleaseKind {
    /// Installs, deploys, grants, resolves.
    Release,
    /// Scales, resizes, restarts, rolls back, uninstalls.
    Operation,
    /// Only tests.
    Test,
}

/// Why something changes (model.md, "Tasks and limits").
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// What.
    pub kind: TaskKind,
    /// The product, role, grant, zone or node.
    pub subject: String,
    /// The app, when it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// The scaling group, when it is about one, or about an app of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling_group: Option<String>,
    /// The clusters, in order.
    pub clusters: Vec<String>,
    /// Before, as people say it (`2.42.0`, `6 pods`); empty when there was nothing.
    pub from: String,
    /// After.
    pub to: String,
    /// The operation that asks for it, when it is not the solution that does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
}

impl Task {
    /// Before and after, as `3 → 6`; one of them when they are the same, as when only parameters of an app differ.
    pub fn change(&self) -> String {
        match (self.from.is_empty(), self.to.is_empty()) {
            _ if self.from == self.to => self.to.clone(),
            (true, _) => self.to.clone(),
            (false, true) => self.from.clone(),
            (false, false) => format!("{} → {}", self.from, self.to),
        }
    }
}

/// The kinds of tasks.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum TaskKind {
    /// A product that the baseline does not have.
    Install,
    /// Image or parameters of an app differ (YL-040).
    Deploy,
    /// More instances (YL-038).
    ScaleOut,
    /// Fewer instances (YL-039).
    ScaleIn,
    /// CPU or memory differ (YL-041).
    Resize,
    /// Pods are made anew.
    Restart,
    /// Pods stay and serve nothing.
    TakeOffline,
    /// Pods serve again.
    BringOnline,
    /// A test app runs (YL-042).
    Test,
    /// A task app runs.
    Run,
    /// Other objects change.
    Apply,
    /// Objects go away.
    Prune,
    /// Somebody gains access.
    Grant,
    /// Somebody loses access.
    Revoke,
    /// A grant has reached its end, as approved with it.
    Expire,
    /// Records change.
    Resolve,
    /// A zone goes away.
    Unresolve,
    /// A change by hand is put right.
    Correct,
    /// Back to an earlier successful release.
    Rollback,
    /// New pods are kept off a node.
    Cordon,
    /// New pods may come to a node again, as far as we kept them off.
    Uncordon,
    /// The pods of a node go elsewhere.
    Drain,
    /// A product goes away.
    Uninstall,
}

/// What an approval rule may match (`when: {risks: […]}`), and what people look at first.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Risk {
    /// Data, a namespace, a claim or a zone may be lost.
    Destructive,
    /// Somebody can do more than before.
    GainsPermission,
    /// Somebody can do less than before, earlier than a grant said.
    LosesPermission,
    /// A parameter of a deployed product changes in an upgrade (YL-050).
    ChangesParameters,
    /// Policies, persons or groups change: the old policy's quorum says yes to the new one.
    ChangesPolicy,
    /// Fields are taken from other managers.
    TakesOwnership,
    /// Part of the preview could not be verified.
    Unverified,
    /// Guards of a zone would be hit: many removals, apex records.
    ZoneGuard,
}

impl Risk {
    /// As documents write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Destructive => "destructive",
            Self::GainsPermission => "gainsPermission",
            Self::LosesPermission => "losesPermission",
            Self::ChangesParameters => "changesParameters",
            Self::ChangesPolicy => "changesPolicy",
            Self::TakesOwnership => "takesOwnership",
            Self::Unverified => "unverified",
            Self::ZoneGuard => "zoneGuard",
        }
    }
}

/// Steps that may run together; waves run one after another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Wave {
    /// Its name, by which approvals are scoped.
    pub name: String,
    /// The clusters that it touches.
    pub clusters: Vec<String>,
    /// Seconds of health after the last step before the next wave may start.
    pub bake_seconds: u64,
    /// Whether a person confirms after it.
    pub confirm: bool,
    /// In order; a step starts when all that it `needs` are done.
    pub steps: Vec<Step>,
}

/// One app, or one set of objects, in one cluster within a wave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// `wave/cluster/product/app` or `wave/cluster/foundation`, unique in the plan.
    pub id: String,
    /// What kind of step.
    pub kind: StepKind,
    /// The cluster; empty for zones.
    pub cluster: String,
    /// The product, unless it is the site's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// Ids of steps of this wave that must be done before.
    pub needs: Vec<String>,
    /// Objects to create or configure, in the order of applying (A1–A9).
    pub apply: Vec<ObjectRef>,
    /// Objects to replace (deleted, then created).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replace: Vec<ObjectRef>,
    /// Workloads whose pods go while the objects stay, before a product is uninstalled: what is deleted later can be brought
    /// back until then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offline: Vec<ObjectRef>,
    /// Objects to delete, in the order of deleting.
    pub prune: Vec<ObjectRef>,
    /// Zones to publish or remove.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<String>,
    /// How the pods of its app change, when it is about an app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// What may go along with the node's other pods, when it drains a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainTerms>,
    /// What it does that operations ask for once: remembered with the release, so that it is not done again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<Asked>,
    /// Seconds for its objects (or each group) to become ready.
    pub timeout_seconds: u64,
}

impl Step {
    /// The app that it is about: the last part of its id.
    pub fn app(&self) -> Option<&str> {
        match self.kind {
            StepKind::Rollout | StepKind::Job(_) => self.id.rsplit('/').next(),
            StepKind::Objects(_) | StepKind::Zones | StepKind::Offline | StepKind::Prune => None,
        }
    }

    /// All objects that it writes or deletes.
    pub fn objects(&self) -> impl DoubleEndedIterator<Item = &ObjectRef> {
        self.apply.iter().chain(&self.replace).chain(&self.offline).chain(&self.prune)
    }
}

/// The kinds of steps, in the order of a product in a cluster.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum StepKind {
    /// Objects of one layer that need only exist and be healthy.
    Objects(Layer),
    /// Pods of one app, in groups.
    Rollout,
    /// A task or test app: a Job.
    Job(Layer),
    /// DNS zones.
    Zones,
    /// Takes away the pods of what is uninstalled.
    Offline,
    /// Only deletes.
    Prune,
}

/// How the pods of one app change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// The app.
    pub unit: UnitId,
    /// The workload.
    pub workload: ObjectRef,
    /// How groups are made on this kind of workload.
    pub driver: Driver,
    /// Pods before; 0 for a creation.
    pub replicas_before: u32,
    /// Pods after.
    pub replicas: u32,
    /// In order. One group for a creation, for scaling and for changes that restart nothing; none without pods.
    pub groups: Vec<Group>,
    /// Seconds of continuous health after each group.
    pub bake_seconds: u64,
    /// What happens when a group fails.
    pub on_failure: OnFailure,
    /// What is tried without asking, before a group counts as failed.
    pub unattended: Vec<UnattendedRule>,
    /// Checks after each group.
    pub checks: Vec<Check>,
    /// Autoscalers of the workload, whoever made them: they are held at the number of pods before the first group is opened.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub autoscalers: Vec<ObjectRef>,
}

/// How exact groups are made on stock Kubernetes (waves.md, "Drivers").
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Driver {
    /// The object is applied once, whole: creations, scaling, changes that restart nothing.
    Whole,
    /// Partition, then eviction of the group's old pods.
    StatefulSet,
    /// The min-ready gate.
    Deployment,
    /// `OnDelete`, nodes as groups.
    DaemonSet,
    /// Nothing of the workload changes: its pods are evicted, and its controller makes others in their place.
    Restart,
    /// The same of all pods of a node, whoever made them.
    Drain,
}

/// Some pods of one app that change together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// Pods of this group; 0 when only the nodes decide (DaemonSet).
    pub pods: u32,
    /// Pods of this and all earlier groups: never more are on the new revision while it is open.
    pub cumulative: u32,
    /// Whether a person confirms after it.
    pub confirm: bool,
    /// Names of nodes, where a group is the pods of nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
}

/// What happens when a group fails after everything unattended was tried.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum OnFailure {
    /// The release waits for a person.
    Pause,
    /// The app goes back to what it was before.
    Rollback,
}

/// What is tried without asking (YL-108, YL-109).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnattendedRule {
    /// `podStartTimeout`, `imagePullSlow`, `providerError` or `checkFailed`.
    pub scene: String,
    /// `retry`, `skip` or `cancel`.
    pub action: String,
    /// How often at most.
    pub attempts: u32,
}

/// What the planner waits for or skipped, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[must_use = "an unread report is not actionable"]
pub struct PlanReport {
    /// Refusals (errors: there is no plan to approve) and remarks (warnings, notes).
    pub findings: Vec<tidegate_schema::finding::Finding>,
    /// Apps that the solution excludes from this release (YL-048), as `product/app`.
    pub excluded: Vec<String>,
    /// Clusters that could not be observed: their part is not planned.
    pub unplanned_clusters: Vec<String>,
}

impl PlanReport {
    /// Whether the plan may be approved and executed.
    pub fn is_refused(&self) -> bool {
        self.findings.iter().any(tidegate_schema::finding::Finding::is_error)
    }
}
