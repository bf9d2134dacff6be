//! The desired state: what `render` makes of a valid site.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_schema::finding::Place;
use tidegate_schema::operation::Retained;
use tidegate_schema::product::{HealthRule, SecretFields};
use tidegate_schema::scalar::Decimal;
use tidegate_schema::site::PrometheusService;

use crate::definition;
use crate::digest::Digest;
use crate::object::{Object, ObjectRef, StoredObject};
use crate::zone::ZoneData;

/// The share of an app's pods that may be away at once, in percent: its disruption budget says so, and groups keep to it.
pub const AWAY_AT_ONCE_PERCENT: u32 = 50;

/// How many of so many pods may be away at once. Rounded up, as Kubernetes does for a budget's `maxUnavailable`
/// ("Specifying a Disruption Budget for your Application"): of five pods three.
pub fn away_at_once(total: u32) -> u32 {
    let share = u64::from(total) * u64::from(AWAY_AT_ONCE_PERCENT);
    u32::try_from(share.div_ceil(100)).unwrap_or(total)
}

/// Everything that should be true: objects per cluster, access rules (as objects) and DNS zones.
#[derive(Clone, Debug, Default)]
pub struct DesiredState {
    /// All objects of all clusters, ordered by reference; no reference twice.
    pub objects: Vec<DesiredObject>,
    /// The apps that these objects make up, ordered by id.
    pub units: Vec<Unit>,
    /// What operations ask for once, in order; whether it was carried out is the baseline's to say.
    pub asked: Vec<Asked>,
    /// Products that operations say are removed, and what is kept of them. What it means is in the changes, so it is no part
    /// of the digest.
    pub uninstalls: Vec<Uninstalled>,
    /// Nodes that operations empty, in order. That they do is in `asked`; on which terms is in the plan's steps.
    pub drains: Vec<Drained>,
    /// All zones, ordered by name.
    pub zones: Vec<ZoneData>,
    /// How objects of kinds that are not Kubernetes' own are judged, in order.
    pub health: Vec<HealthRule>,
    /// Fields of custom resources that hold secrets. They change nothing, so they are no part of the digest.
    pub secret_fields: Vec<SecretFields>,
}

impl DesiredState {
    /// The object with this reference.
    pub fn object(&self, reference: &ObjectRef) -> Option<&DesiredObject> {
        let index = self.objects.binary_search_by(|object| object.reference.cmp(reference)).ok()?;
        self.objects.get(index)
    }

    /// The definition of a kind in a cluster, if it is desired too.
    pub fn definition(&self, cluster: &str, group: &str, kind: &str) -> Option<Object> {
        let definitions = self.objects.iter().filter(|object| {
            let other = &object.reference;
            other.kind == "CustomResourceDefinition" && other.cluster == cluster
        });
        // It is named by its plural and its group.
        let of_group = definitions.filter(|object| {
            object.reference.name.strip_suffix(group).is_some_and(|head| head.ends_with('.'))
        });
        of_group.map(DesiredObject::body).find(|body| definition::is_of(body, group, kind))
    }

    /// The digest of all content, which an approval binds.
    pub fn digest(&self) -> Digest {
        let objects: Vec<_> =
            self.objects.iter().map(|object| (&object.reference, &object.digest)).collect();
        Digest::of(&(objects, &self.units, &self.asked, &self.zones, &self.health))
    }
}

/// One object that should exist.
#[derive(Clone, Debug)]
pub struct DesiredObject {
    /// What identifies it.
    pub reference: ObjectRef,
    /// Its `apiVersion`.
    pub api_version: String,
    content: StoredObject,
    /// The digest of the content.
    pub digest: Digest,
    /// Whose it is.
    pub owner: Owner,
    /// The document that it comes from.
    pub place: Option<Place>,
}

impl DesiredObject {
    /// An object with this content.
    pub fn new(reference: ObjectRef, body: &Object, owner: Owner, place: Option<Place>) -> Self {
        Self {
            reference,
            api_version: body.api_version().to_owned(),
            content: body.into(),
            digest: body.digest(),
            owner,
            place,
        }
    }

    /// Its content, as it is applied at the end of a release. Workloads carry their final `replicas`, template and
    /// update strategy; while groups are open, `driver` writes variants of it. Reads it each time.
    pub fn body(&self) -> Object {
        self.content.read()
    }

    /// Its version without the group.
    pub fn version(&self) -> &str {
        self.api_version.rsplit_once('/').map_or(&self.api_version, |(_, version)| version)
    }

    /// Its content as it is kept.
    pub fn stored(&self) -> &StoredObject {
        &self.content
    }
}

/// Which part of the site an object belongs to. The order of [`Layer`] is the order in which a product is built up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// The solution, unless it belongs to the site itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub solution: Option<String>,
    /// The product, unless it belongs to the site itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// The app, unless it belongs to the product as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// The scaling group, unless it belongs to the product itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling_group: Option<String>,
    /// The role or grant for access rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<String>,
    /// The step of the product (waves.md, "From changes to waves") in which it is applied.
    pub layer: Layer,
}

impl Owner {
    /// The site itself.
    pub fn site(layer: Layer) -> Self {
        Self { solution: None, product: None, app: None, scaling_group: None, access: None, layer }
    }
}

/// The steps of a product in a cluster, in order.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Layer {
    /// The site's foundations: namespaces, CRDs, classes, quotas, cluster-wide RBAC and access rules.
    Foundation,
    /// What apps of the product need before they run: config, secrets, service accounts, claims, plain manifests.
    Support,
    /// Task apps: Jobs that run once per digest of their inputs.
    Task,
    /// The standard apps.
    Workload,
    /// Services for load balancers and other ways in.
    Network,
    /// Test apps: Jobs that judge the product.
    Test,
}

/// One app of one product in one cluster, as it should run: what tasks, groups and the baseline speak of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Unit {
    /// What identifies it.
    pub id: UnitId,
    /// The scaling group that it is of; the product's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling_group: Option<String>,
    /// The solution that asks for it.
    pub solution: String,
    /// The product's version.
    pub version: String,
    /// standard, task or test.
    pub kind: UnitKind,
    /// The workload or Job that runs it.
    pub workload: ObjectRef,
    /// The image as written, with the site's registry and the digest that it is pinned to.
    pub image: String,
    /// Pods wanted. 1 for Jobs; for a DaemonSet 0, as the nodes decide.
    pub replicas: u32,
    /// CPU request in Kubernetes notation; empty when not given.
    pub cpu: String,
    /// Memory request in Kubernetes notation; empty when not given.
    pub memory: String,
    /// The digest of its parameters, environment, files and everything else in the pod template but image, CPU and
    /// memory.
    pub inputs: Digest,
    /// Parameters that reach it, as shown to people; secret ones only as the name of their reference.
    pub parameters: BTreeMap<String, String>,
    /// Apps of the same product that come before it (`after`), names only.
    pub after: Vec<String>,
    /// Checks after each group.
    pub checks: Vec<Check>,
    /// Whether an operation has taken it offline.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub offline: bool,
}

/// Names one app in one cluster; or a node of it, where operations ask for something of one: then there is no product.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnitId {
    /// Name of the `Cluster` document.
    pub cluster: String,
    /// The product; empty for a node.
    pub product: String,
    /// The app, by the name under which it runs (in a scaling group `APP-GROUP`), or the node.
    pub app: String,
}

impl UnitId {
    /// A node.
    pub fn node(cluster: &str, node: &str) -> Self {
        Self { cluster: cluster.to_owned(), product: String::new(), app: node.to_owned() }
    }

    /// Whether it is a node.
    pub fn is_node(&self) -> bool {
        self.product.is_empty()
    }
}

impl std::fmt::Display for UnitId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_node() {
            return write!(f, "{}@{}", self.app, self.cluster);
        }
        write!(f, "{}/{}@{}", self.product, self.app, self.cluster)
    }
}

impl std::fmt::Debug for UnitId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// What an operation asks of one app in one cluster, to be done once: of a standard app that its pods start anew, of a task
/// or test that it runs again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// Name of the operation.
    pub operation: String,
    /// The app.
    pub unit: UnitId,
}

/// A product that an operation says is removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uninstalled {
    /// Name of the operation.
    pub operation: String,
    /// The product.
    pub product: String,
    /// From these clusters; from all when empty.
    pub clusters: Vec<String>,
    /// What is kept.
    pub retain: Vec<Retained>,
}

impl Uninstalled {
    /// Whether it is about a product in a cluster.
    pub fn is_of(&self, product: &str, cluster: &str) -> bool {
        let is_here = self.clusters.is_empty() || self.clusters.iter().any(|it| it == cluster);
        self.product == product && is_here
    }
}

/// A node that an operation empties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drained {
    /// What is asked, once.
    pub asked: Asked,
    /// As the operation says.
    pub terms: DrainTerms,
}

/// What a drain may take along that `kubectl drain` asks for by flags of these names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrainTerms {
    /// Pods that nobody makes anew.
    pub force: bool,
    /// Pods with data on the node that is lost with them.
    pub delete_empty_dir_data: bool,
}

/// The kinds of apps (YG-11).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum UnitKind {
    /// Runs for good.
    Standard,
    /// Runs once per digest of its inputs.
    Task,
    /// Judges the product after it changed.
    Test,
}

/// A check that the agent makes after a group became ready: through the API server, so that it needs no way of its own to
/// the pods.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// Its name within the app.
    pub name: String,
    /// What is asked.
    #[serde(flatten)]
    pub question: Question,
    /// How long it may take until it holds.
    pub timeout_seconds: u64,
}

/// What a check asks: pods each for itself, or once for the group. Told apart by the fields that are there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Question {
    /// Whether something is true of an object; asked once for the group.
    Cel {
        /// What must be true of which object.
        cel: CelCheck,
    },
    /// How a command ends in each new pod.
    Exec {
        /// What is executed, and what is expected.
        exec: ExecCheck,
    },
    /// What each new pod answers by HTTP.
    Http {
        /// The container port asked.
        port: u16,
        /// What is asked for, and what is expected.
        http: HttpCheck,
    },
    /// What Prometheus measures; asked once for the group.
    Prometheus {
        /// What is asked for, and what is expected.
        prometheus: PrometheusCheck,
    },
    /// Whether each new pod takes connections.
    Tcp {
        /// The container port asked.
        port: u16,
    },
}

/// A command in a container, which must end with 0.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecCheck {
    /// The container.
    pub container: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// A text that it must write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
}

/// What must be true of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CelCheck {
    /// The object.
    pub object: ObjectRef,
    /// The API version at which the expression knows it.
    pub api_version: String,
    /// An expression in CEL (cel.dev) about `object`.
    pub expression: String,
}

/// What every value that a query gives must be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PrometheusCheck {
    /// The query, in which `$pods` stands for the new pods.
    pub query: String,
    /// Every value must be this or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Decimal>,
    /// Every value must be this or less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Decimal>,
    /// How long after the group is ready it is first asked.
    pub after_seconds: u64,
    /// Where it is. Absent when the cluster names none, which may be only of an app that is held at an earlier release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<PrometheusService>,
}

/// What an HTTP check expects.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpCheck {
    /// Path, beginning with `/`.
    pub path: String,
    /// The status that counts as success.
    pub status: u16,
    /// A text that the body must contain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
}
