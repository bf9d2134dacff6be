//! The kinds `Site` and `Cluster`: where everything runs.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scalar::{Name, PortReference, Text};

/// One environment under one agent: the folder that holds this document, with its clusters, IAM and DNS.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Site {
    /// The name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Text>,
    /// How much is at stake here. Policies may match it.
    pub tier: Tier,
    /// Goes into the names of what is created outside Kubernetes (schemas, load balancers). No two
    /// sites share one.
    pub resource_prefix: Name,
    /// The site's domain, without a dot at the end. Templates see it as `site.domain`.
    #[schemars(extend("format" = "domain"))]
    pub domain: String,
    /// Where images without a host come from, such as `registry.hz.bank.internal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "registry"))]
    pub registry: Option<String>,
    /// What pods of apps that are taken offline run instead: an image that does nothing for ever, without a command.
    /// Default: `pause:3.10` from the site's registry, or from `registry.k8s.io` where the site names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_image: Option<String>,
    /// Where products come from. Default: the folder `catalog` of the site.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub catalogs: Vec<CatalogReference>,
    /// What the storage classes that apps name are called here, such as `fast: open-local-lvm-default`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub storage_classes: BTreeMap<Name, String>,
    /// What is refused unless it is named here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<SiteAllowance>,
}

/// Something that a site must ask for in words.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum SiteAllowance {
    /// No solution wants any product any more: everything that was delivered is deleted.
    UninstallAll,
}

/// How much is at stake in a site.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Tier {
    /// For trying out.
    Development,
    /// Like production, without its users.
    Staging,
    /// In use.
    Production,
}

/// Where products come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CatalogReference {
    /// A folder of the same repository, relative to the site's folder, such as `../../catalog`.
    #[schemars(length(min = 1))]
    pub path: String,
}

/// One Kubernetes API that the site reaches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cluster {
    /// The name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Text>,
    /// How the agent reaches it.
    pub access: Access,
    /// The machine room.
    pub room: Name,
    /// The availability zone. Rooms of one region have different zones.
    pub zone: Name,
    /// The region.
    pub region: Name,
    /// The cells that live in it. Waves and solutions may select them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cells: Vec<Name>,
    /// Where its Prometheus is, which checks by `prometheus` ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusService>,
}

/// A Service that speaks the HTTP API of Prometheus. It is asked through the API server (`services/proxy`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrometheusService {
    /// The Service's namespace.
    pub namespace: Name,
    /// The Service.
    pub service: Name,
    /// The Service's port: its number or name.
    pub port: PortReference,
    /// What it speaks. Default: http. The API server does not verify the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<HttpScheme>,
    /// What stands before `/api/v1/query`. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^(/[A-Za-z0-9._~-]+)+$"))]
    pub path: Option<String>,
}

/// HTTP with or without TLS.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum HttpScheme {
    /// Without.
    Http,
    /// With.
    Https,
}

/// How the agent reaches a cluster: exactly one of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Access {
    /// By a kubeconfig file on the agent's machine.
    Kubeconfig(KubeconfigAccess),
    /// By the service account of the pod that the agent runs in.
    InCluster(InClusterAccess),
    /// A simulated cluster inside the agent, for trying out. Written `sandbox: {nodes: 4}`.
    Sandbox(SandboxAccess),
}

/// A kubeconfig file on the agent's machine. It is never read from git.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KubeconfigAccess {
    /// The file, absolute or relative to the agent's data folder.
    #[schemars(length(min = 1))]
    pub path: String,
    /// The context to use. Default: the file's current context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
}

/// The service account of the agent's pod; nothing to say. Written `inCluster: {}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InClusterAccess {}

/// A simulated cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SandboxAccess {
    /// How many nodes it pretends to have.
    #[schemars(range(min = 1, max = 1000))]
    #[serde(default = "default_nodes")]
    pub nodes: u32,
}

const fn default_nodes() -> u32 {
    3
}

/// Which clusters: those that match every field that is given; all of them when none is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterSelector {
    /// Any of these clusters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<Name>,
    /// Those that carry any of these cells.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cells: Vec<Name>,
    /// Those that carry all of these labels (`metadata.labels`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl ClusterSelector {
    /// Whether a cluster is selected.
    pub fn matches(&self, name: &str, labels: &BTreeMap<String, String>, cells: &[Name]) -> bool {
        (self.names.is_empty() || self.names.iter().any(|wanted| wanted == name))
            && (self.cells.is_empty() || self.cells.iter().any(|cell| cells.contains(cell)))
            && self.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
    }
}
