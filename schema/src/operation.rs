//! The kind `Operation`: something to do once, or as long as its document is there, outside the solutions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scalar::{Name, Quantity, Text};

/// An operation that someone asks for. It is planned, approved and recorded like every change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Operation {
    /// The name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Text>,
    /// What to do: exactly one.
    pub action: Action,
    /// The person who asks.
    pub author: Name,
    /// Why, such as the number of a change.
    #[schemars(length(min = 1))]
    pub reason: String,
    /// Until when: it does not start later, and what holds as long as the document is there (`scale`, `resize`, `offline`,
    /// `cordon`, `rollback`) ends then. `offline` needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub expires: Option<jiff::Timestamp>,
}

/// What an operation does: exactly one of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// Starts the pods of apps anew, in groups, once.
    Restart(AppsTarget),
    /// Keeps the pods of apps but serves nothing from them, as long as the document is there: they run the site's `idleImage`.
    Offline(AppsTarget),
    /// Brings apps back that another operation has taken offline, before its time: it goes before that one as long as both
    /// documents are there.
    Online(AppsTarget),
    /// Changes the number of instances, whatever the solution says, as long as the document is there.
    Scale(Scale),
    /// Changes CPU and memory, whatever the solution says, as long as the document is there.
    Resize(Resize),
    /// Removes a product that no solution holds any more: first it goes offline, then its objects are deleted.
    Uninstall(Uninstall),
    /// Runs a task again although its inputs are the same, once.
    RerunTask(AppTarget),
    /// Runs the tests of a product again, once.
    Test(AppsTarget),
    /// Keeps new pods off nodes, as long as the document is there.
    Cordon(NodesTarget),
    /// Keeps new pods off nodes as long as the document is there, and moves the others away, once.
    Drain(Drain),
    /// Goes back to what an earlier successful release delivered, as long as the document is there.
    Rollback(Rollback),
}

/// Apps of a product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AppsTarget {
    /// The product.
    pub product: Name,
    /// Its apps. Default: all that fit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub apps: Vec<Name>,
    /// In this scaling group of the product, whose apps are called as in the version. Default: the product with all its scaling groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling_group: Option<Name>,
    /// In these clusters. Default: in all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<Name>,
}

/// One app of a product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AppTarget {
    /// The product.
    pub product: Name,
    /// Its app.
    pub app: Name,
    /// In these clusters. Default: in all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<Name>,
}

/// Another number of instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scale {
    /// The product.
    pub product: Name,
    /// Its app.
    pub app: Name,
    /// In this scaling group of the product, whose apps are called as in the version. Default: the app that runs under the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling_group: Option<Name>,
    /// How many instances.
    #[schemars(range(min = 0, max = 10_000))]
    pub replicas: u32,
    /// In these clusters. Default: in all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<Name>,
}

/// Another size of each instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resize {
    /// The product.
    pub product: Name,
    /// Its app.
    pub app: Name,
    /// In this scaling group of the product, whose apps are called as in the version. Default: the app that runs under the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling_group: Option<Name>,
    /// CPU of each instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Quantity>,
    /// Memory of each instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
    /// In these clusters. Default: in all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<Name>,
}

/// Removes a product that no solution wants any more, for a reason that is told, and keeps some of it. Without such a document
/// it is removed too, and keeps what holds data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Uninstall {
    /// The product.
    pub product: Name,
    /// From these clusters. Default: from all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<Name>,
    /// What is kept, as long as the document is there (YL-134).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retain: Vec<Retained>,
}

/// What is kept of a product that is removed, beside what holds data and does not say that it may go.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Retained {
    /// Services of the type `LoadBalancer`, so that their addresses stay.
    LoadBalancers,
    /// Claims and volumes, also those that say `tidegate.dev/prune: enabled`.
    Volumes,
}

/// Nodes of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodesTarget {
    /// The cluster.
    pub cluster: Name,
    /// The nodes.
    #[schemars(length(min = 1))]
    pub nodes: Vec<String>,
}

/// Nodes of a cluster that are emptied, one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Drain {
    /// The cluster.
    pub cluster: Name,
    /// The nodes, in this order.
    #[schemars(length(min = 1))]
    pub nodes: Vec<String>,
    /// Whether pods with an `emptyDir` go too, whose data is lost. As for `kubectl drain`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub delete_empty_dir_data: bool,
    /// Whether pods go too that nobody makes anew. As for `kubectl drain`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
}

/// Holds products, or apps of one, as an earlier successful release delivered them (YL-141), as long as the document is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rollback {
    /// The release, by its id as `tidegate releases list` shows it.
    #[schemars(length(min = 1))]
    pub release: String,
    /// Only these products. Default: all that the release's revision and the solutions have in common.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub products: Vec<Name>,
    /// Only these apps of the one product that `products` names. Default: all but tasks, which are never undone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub apps: Vec<Name>,
}
