//! Orphans: what was kept of products that are gone, until somebody removes it or installs the product again.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::baseline::Baseline;
use crate::change::{Action, Change, ChangeSet};
use crate::desired::DesiredState;
use crate::live::{LiveState, Observation};
use crate::object::{Object, ObjectRef};
use crate::site::ValidSite;

/// An object of ours that no documents want and that stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Orphan {
    /// The object.
    pub object: ObjectRef,
    /// The product that it was of; absent when it was the site's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// The version that the product had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The app that it was of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// How much it holds, in Kubernetes notation, of claims and volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// Why it stays.
    pub reason: String,
    /// Since when its product is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The release that removed the product.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
}

/// What is kept and belongs to nothing that is wanted, ordered by object.
pub fn orphans(
    changes: &ChangeSet,
    (desired, site): (&DesiredState, &ValidSite),
    live: &LiveState,
    baseline: Option<&Baseline>,
) -> Vec<Orphan> {
    let kept: Vec<&Change> =
        changes.changes.iter().filter(|change| change.action == Action::Keep).collect();
    let own = kept
        .iter()
        .filter(|it| !is_wanted(it, desired, site) && !is_delivered(it, &kept, baseline));
    let of_one = |change: &&Change| {
        let object = &change.object;
        let product = change.owner.product.as_ref().or_else(|| content_of(object, &kept));
        let gone =
            product.and_then(|product| baseline?.uninstalled.get(product)?.get(&object.cluster));
        let there = live.observation(object).and_then(Observation::live);
        Orphan {
            object: object.clone(),
            product: product.cloned(),
            version: gone.map(|gone| gone.version.clone()),
            app: change.owner.app.clone(),
            size: there.as_ref().and_then(size),
            reason: change.warnings.last().cloned().unwrap_or_default(),
            since: gone.map(|gone| gone.at),
            release: gone.map(|gone| gone.release.clone()),
        }
    };
    own.map(of_one).collect()
}

/// Whether the object's product, or its app, still counts as delivered: until the release that removes it has ended.
fn is_delivered(change: &Change, kept: &[&Change], baseline: Option<&Baseline>) -> bool {
    let find = || {
        let owner = &change.owner;
        let product = owner.product.as_ref().or_else(|| content_of(&change.object, kept))?;
        let apps = baseline?.products.get(product)?.clusters.get(&change.object.cluster)?;
        Some(owner.app.as_ref().is_none_or(|app| apps.contains_key(app)))
    };
    find().unwrap_or(false)
}

/// Whether the app, or the product, that the object belongs to is wanted where it is.
fn is_wanted(change: &Change, desired: &DesiredState, site: &ValidSite) -> bool {
    let Some(product) = &change.owner.product else { return false };
    let cluster = &change.object.cluster;
    if let Some(app) = &change.owner.app {
        return desired.units.iter().any(|unit| {
            (&unit.id.cluster, &unit.id.product, &unit.id.app) == (cluster, product, app)
        });
    }
    let deployment = site.deployment(product);
    deployment.is_some_and(|deployment| deployment.placements.contains_key(cluster))
}

/// The product whose kept objects are in a namespace.
fn content_of<'a>(namespace: &ObjectRef, kept: &[&'a Change]) -> Option<&'a String> {
    let is_inside = |change: &&&Change| {
        let object = &change.object;
        namespace.kind == "Namespace"
            && (&object.cluster, &object.namespace) == (&namespace.cluster, &namespace.name)
    };
    kept.iter().filter(is_inside).find_map(|change| change.owner.product.as_ref())
}

/// What a claim got or else asks for, and what a volume has.
pub fn size(object: &Object) -> Option<String> {
    let fields: &[&str] = match object.kind() {
        "PersistentVolume" => &["/spec/capacity/storage"],
        _ => &["/status/capacity/storage", "/spec/resources/requests/storage"],
    };
    let found = fields.iter().map(|field| object.text(field)).find(|size| !size.is_empty());
    found.map(str::to_owned)
}
