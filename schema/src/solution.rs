//! The kind `Solution`: which products a site shall run, at which version, where and how large.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    product::AppSize,
    scalar::{Name, Text},
    site::ClusterSelector,
};

/// The desired end state of some products of the site. A product is in one solution at most.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Solution {
    /// The name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Text>,
    /// The `RolloutPolicy` that says in which waves and groups changes go out. Default: one wave per
    /// level of product dependency, groups by kind of task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Name>,
    /// The products.
    #[schemars(length(min = 1))]
    pub products: Vec<SolutionProduct>,
    /// What is otherwise refused and is allowed here. A changed topology is shown as destructive and may
    /// need more approvals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<Allowance>,
    /// Another order than the one that follows from dependencies (YL-047). Without it that one counts again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
}

/// The order in which products, and the apps of a product, change. What is not named keeps its place by its dependencies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Order {
    /// Products of this solution: each after the one before it, also where it requires one that comes later.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub products: Vec<Name>,
    /// Apps, by product: each after the one before it, also where its `after` says otherwise.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub apps: BTreeMap<Name, Vec<Name>>,
}

/// One product of a solution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SolutionProduct {
    /// The product.
    pub product: Name,
    /// Its version.
    #[schemars(with = "String", extend("format" = "semver"))]
    pub version: semver::Version,
    /// One of the version's topologies. Default: the only one, or all apps if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topology: Option<Name>,
    /// One of the version's sizes. Default: the only one, or one instance of each app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Name>,
    /// The namespace in each cluster. Default: the product's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Name>,
    /// The clusters it runs in. Default: every cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clusters: Option<ClusterSelector>,
    /// Overrides of the size, per app.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub apps: BTreeMap<Name, AppSize>,
    /// Apps that this release leaves alone as they are (YL-048). Those of a scaling group by the name under which they
    /// run there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<Name>,
    /// Whether the first installation of the whole site takes it (YL-080, YL-081). Default: when it is mature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_installation: Option<FirstInstallation>,
    /// Further instances of some of its apps, each with a size, parameters and clusters of its own (YL-180). They change
    /// after the product itself, one scaling group after the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scaling_groups: Vec<ScalingGroup>,
    /// Fields of its plain manifests that somebody else sets. They are applied once, with the object; from then on
    /// they stay as they are in the cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<Ignore>,
}

/// When a product comes that the site has never had.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum FirstInstallation {
    /// With the first installation of the site, also when it is on trial.
    With,
    /// By a plan of its own after the first installation of the site, also when it is mature; and what requires it, too.
    After,
}

/// A further instance of a set of a product's apps, of the same version. Each runs a second time there, as `APP-NAME`:
/// with its own workload, volumes and load balancers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScalingGroup {
    /// Its name; unique in the product. `Parameters` and operations name it.
    pub name: Name,
    /// The apps that it has, each with what differs from the product's `size`; `{}` when nothing does. What the product's
    /// own `apps` say does not count here.
    #[schemars(extend("minProperties" = 1))]
    pub apps: BTreeMap<Name, AppSize>,
    /// The clusters that it runs in, of those of the product. Default: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clusters: Option<ClusterSelector>,
}

/// Fields that are left to somebody else once the object exists: an autoscaler, an injector of certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ignore {
    /// Who sets them, for those who approve.
    #[schemars(length(min = 1))]
    pub reason: String,
    /// The kind of the objects, as in `Deployment`.
    #[schemars(length(min = 1))]
    pub kind: String,
    /// The object's name. Default: every object of the kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Paths as differences show them: `spec.replicas`, `webhooks[name=a.example.com].clientConfig.caBundle`,
    /// `metadata.annotations["example.com/a"]`.
    #[schemars(length(min = 1))]
    pub fields: Vec<String>,
}

/// A refusal that a solution lifts.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Allowance {
    /// The topology of a deployed product may change.
    Topology,
    /// CPU and memory of a deployed product may change because another size was chosen.
    Resize,
    /// Manifests may put objects into the namespaces of Kubernetes: `kube-system`, `kube-public`,
    /// `kube-node-lease` and `default`. The namespaces themselves stay Kubernetes' own.
    SystemNamespaces,
}
