//! Deployments: the products of the solutions, resolved to what runs in each cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use tidegate_schema::app::App;
use tidegate_schema::finding::Place;
use tidegate_schema::parameters::SecretReference;
use tidegate_schema::product::{HealthRule, LoadBalancer, Maturity, Requirement};
use tidegate_schema::scalar::Quantity;
use tidegate_schema::solution::{Allowance, FirstInstallation, Ignore};

use crate::desired::Layer;
use crate::digest::Digest;
use crate::object::{ObjectRef, StoredObject};
use crate::provenance::Effective;

/// A product as the site wants it.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// The product.
    pub product: String,
    /// Its version.
    pub version: semver::Version,
    /// The solution that asks for it.
    pub solution: String,
    /// The topology; empty when the version has none (then it consists of every app).
    pub topology: String,
    /// The size; empty when the version has none (then there is one of each app, without limits).
    pub size: String,
    /// The namespace of its objects.
    pub namespace: String,
    /// What runs, by cluster.
    pub placements: BTreeMap<String, Placement>,
    /// Products that must be there before.
    pub requires: Vec<Requirement>,
    /// The versions that may be upgraded to this one directly; all lower ones when absent.
    pub upgrades_from: Option<semver::VersionReq>,
    /// How objects of other kinds are judged.
    pub health: Vec<HealthRule>,
    /// Whether the first installation of the site takes it, where the solution says nothing.
    pub maturity: Maturity,
    /// When the solution wants it, if it is new to the site.
    pub first_installation: Option<FirstInstallation>,
    /// What the solution allows that is otherwise refused.
    pub allow: Vec<Allowance>,
    /// Apps that releases leave alone as they are (YL-048). They are rendered nevertheless, so that nothing of them is
    /// pruned; the planner plans no step for them.
    pub exclude: BTreeSet<String>,
    /// Fields of its plain manifests that are left to others.
    pub ignore: Vec<Ignore>,
    /// The names of its scaling groups, in the order in which they change: that of the solution.
    pub scaling_groups: Vec<String>,
    /// The digest of the version's document and files: a version is immutable.
    pub digest: Digest,
    /// Where the solution asks for it.
    pub place: Place,
    /// The operation that holds the whole product at an earlier release; then all above is what that release delivered, but
    /// `solution`, `allow`, `exclude` and `place`.
    pub held_by: Option<String>,
}

impl Deployment {
    /// `product@version`, as the baseline remembers versions.
    pub fn version_key(&self) -> String {
        format!("{}@{}", self.product, self.version)
    }

    /// The names under which its apps run in any cluster: its own in the order of the version's document, then those of
    /// scaling groups.
    pub fn apps(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for placed in self.placements.values().flat_map(|placement| &placement.apps) {
            if !names.contains(&placed.app.name.as_str()) {
                names.push(placed.app.name.as_str());
            }
        }
        names
    }

    /// Which app of which scaling group runs under a name; `None` for the product's own.
    pub fn member(&self, app: &str) -> Option<&ScalingGroupMember> {
        let mut placed = self.placements.values().flat_map(|placement| &placement.apps);
        placed.find(|placed| placed.app.name == *app)?.member.as_ref()
    }

    /// Whether a scaling group has anything in a cluster.
    pub fn has_scaling_group(&self, group: &str, cluster: &str) -> bool {
        let apps = self.placements.get(cluster).map(|it| it.apps.as_slice()).unwrap_or_default();
        apps.iter().filter_map(|placed| placed.member.as_ref()).any(|member| member.group == group)
    }

    /// The volumes of an app that are kept, by name, with their sizes.
    pub fn volumes(&self, app: &str) -> BTreeMap<String, Quantity> {
        let placed = self.placements.values().flat_map(|placement| &placement.apps);
        placed
            .filter(|placed| placed.app.name == app)
            .flat_map(|placed| &placed.app.volumes)
            .filter_map(|volume| Some((volume.name.to_string(), volume.size.clone()?)))
            .collect()
    }
}

/// A product in one cluster.
#[derive(Clone, Debug, Default)]
pub struct Placement {
    /// Parameters that have a value, without the layer of apps.
    pub parameters: BTreeMap<String, Effective>,
    /// Its apps, in the order of the version's document; then those of its scaling groups.
    pub apps: Vec<PlacedApp>,
    /// Its ways in from outside.
    pub load_balancers: Vec<PlacedLoadBalancer>,
    /// Plain objects, with their namespace filled in.
    pub manifests: Vec<Manifest>,
    /// Custom kinds that its manifests define for the whole cluster: group and kind.
    pub cluster_wide: Vec<(String, String)>,
    /// What it publishes for products that require it.
    pub published: BTreeMap<String, String>,
}

/// What of a scaling group something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScalingGroupMember {
    /// The scaling group.
    pub group: String,
    /// The app, as the version calls it.
    pub app: String,
}

/// An app in one cluster, every template filled in.
#[derive(Clone, Debug)]
pub struct PlacedApp {
    /// As the version's document says, templates unfilled. In a scaling group it has the names under which it and the
    /// other apps of the group run.
    pub app: App,
    /// Which app of which scaling group it is; `None` for the product's own.
    pub member: Option<ScalingGroupMember>,
    /// Pods wanted; 0 for a `DaemonSet`, 1 for tasks and tests.
    pub replicas: u32,
    /// CPU limit of each pod.
    pub cpu: Option<Quantity>,
    /// Memory limit of each pod.
    pub memory: Option<Quantity>,
    /// Names of the operations that change its size or take it offline, or of the one that holds it at an earlier release.
    pub operations: Vec<String>,
    /// The image with its host.
    pub image: String,
    /// The image that its pods run instead while it is offline.
    pub idle: Option<String>,
    /// The command.
    pub command: Vec<String>,
    /// The arguments.
    pub args: Vec<String>,
    /// Environment variables.
    pub env: BTreeMap<String, EnvValue>,
    /// Files by path.
    pub files: BTreeMap<String, String>,
    /// What its checks ask Prometheus, by check.
    pub queries: BTreeMap<String, String>,
    /// Storage classes as the cluster calls them, by volume.
    pub classes: BTreeMap<String, String>,
    /// Parameters that have a value for this app.
    pub parameters: BTreeMap<String, Effective>,
    /// Names of the parameters that its texts use.
    pub used: BTreeSet<String>,
    /// Where it is declared.
    pub place: Place,
}

/// The value of an environment variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnvValue {
    /// A text.
    Text(String),
    /// A key of a Secret in the namespace.
    Secret(SecretReference),
}

/// A load balancer in one cluster, every template filled in.
#[derive(Clone, Debug)]
pub struct PlacedLoadBalancer {
    /// As the version's document says; in a scaling group with names of its own.
    pub spec: LoadBalancer,
    /// The scaling group whose pods it leads to, with the app; `None` for the product's own.
    pub member: Option<ScalingGroupMember>,
    /// The name that leads to it, lower case, without a dot at the end.
    pub host: Option<String>,
    /// The addresses that the name gets.
    pub addresses: Vec<IpAddr>,
    /// Where it is declared.
    pub place: Place,
}

/// A plain Kubernetes object.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// What identifies it.
    pub reference: ObjectRef,
    /// The step in which it is applied.
    pub layer: Layer,
    /// The object as it is written; its namespace is filled in when its kind has one.
    pub content: StoredObject,
    /// The images of its pods that are not left to others, as they are written: of kinds of Kubernetes itself only.
    pub images: BTreeSet<String>,
    /// Where it is written.
    pub place: Place,
}
