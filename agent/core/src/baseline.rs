//! The baseline: what runs in the site after the last successful release; its water mark.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::desired::{Asked, DesiredState, UnitId, UnitKind};
use crate::digest::Digest;
use crate::zone::PublishedZone;

/// What the site has really reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Baseline {
    /// The site's name.
    pub site: String,
    /// The commit whose content is delivered.
    pub revision: String,
    /// The release that brought it here.
    pub release: String,
    /// When that release ended.
    pub recorded_at: Timestamp,
    /// By name.
    pub products: BTreeMap<String, BaselineProduct>,
    /// Grants in force: name to what it gives, as people read it.
    pub grants: BTreeMap<String, String>,
    /// Zones as published, by name.
    pub zones: BTreeMap<String, PublishedZone>,
    /// Digest of each product version's documents ever delivered, by `product@version`: a version is immutable.
    pub versions: BTreeMap<String, Digest>,
    /// Digests of images ever delivered, by the reference that the documents had: at one site a tag means one image.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, Digest>,
    /// Images of plain manifests as they were delivered, by product, cluster and object. A product in a cluster that is not
    /// here was delivered before they were kept.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub manifests: BTreeMap<String, BTreeMap<String, manifests::ByObject>>,
    /// Operations that are done once (restart, rerunTask, test) and were carried out, by name: never again for the same app.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub operations: BTreeMap<String, CarriedOut>,
    /// How it came to an agent that did not deliver it; releases since then build on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported: Option<Imported>,
    /// Products that were uninstalled and of which something was kept, by product and cluster, until they are installed there
    /// again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub uninstalled: BTreeMap<String, BTreeMap<String, Uninstalled>>,
}

/// How a product left a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Uninstalled {
    /// Its version until then.
    pub version: String,
    /// The release that removed it.
    pub release: String,
    /// When that release ended.
    pub at: Timestamp,
}

/// What was done for an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CarriedOut {
    /// The release that did it, the last one if there were several.
    pub release: String,
    /// When that release ended.
    pub at: Timestamp,
    /// The apps that it was done for.
    pub apps: BTreeSet<UnitId>,
}

impl Baseline {
    /// The digest of the content without when and by which release, without images of earlier levels and of manifests, which
    /// their versions stand for, and without operations that are over: two sites at the same level have the same.
    pub fn digest(&self) -> Digest {
        Digest::of(&(&self.site, &self.products, &self.grants, &self.zones, &self.versions))
    }

    /// Whether what an operation asks for once was done.
    pub fn has_carried_out(&self, asked: &Asked) -> bool {
        self.operations.get(&asked.operation).is_some_and(|done| done.apps.contains(&asked.unit))
    }
}

/// Nodes of a cluster that operations ask to be emptied and that were not: what is on them is to be looked at.
pub fn to_drain(desired: &DesiredState, known: Option<&Baseline>, cluster: &str) -> Vec<String> {
    let is_open = |asked: &&Asked| {
        let is_done = known.is_some_and(|it| it.has_carried_out(asked));
        asked.unit.is_node() && asked.unit.cluster == cluster && !is_done
    };
    desired.asked.iter().filter(is_open).map(|asked| asked.unit.app.clone()).collect()
}

/// One delivered product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BaselineProduct {
    /// The solution that it belongs to.
    pub solution: String,
    /// Semantic version.
    pub version: String,
    /// Name of the topology.
    pub topology: String,
    /// Name of the size.
    pub size: String,
    /// Namespace of its objects.
    pub namespace: String,
    /// Apps by cluster and name.
    pub clusters: BTreeMap<String, BTreeMap<String, BaselineApp>>,
}

/// One delivered app in one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BaselineApp {
    /// standard, task or test.
    pub kind: UnitKind,
    /// The scaling group that it is of; the product's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling_group: Option<String>,
    /// Image as written, with the digest that it was pinned to.
    pub image: String,
    /// Pods.
    pub replicas: u32,
    /// CPU request.
    pub cpu: String,
    /// Memory request.
    pub memory: String,
    /// Digest of everything else in its pod template.
    pub inputs: Digest,
    /// Parameters as shown to people.
    pub parameters: BTreeMap<String, String>,
    /// Sizes of its volumes by name, in Kubernetes notation.
    pub volumes: BTreeMap<String, String>,
    /// Whether an operation has taken it offline.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub offline: bool,
}

mod advance;
mod differences;
mod export;
mod manifests;

pub use advance::Reached;
pub use differences::{BaselineDifference, Level};
pub use export::{Carried, Export, Imported};
