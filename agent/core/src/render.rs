//! Rendering: a valid site becomes objects, units and zones. It cannot fail: what can be wrong is a finding of
//! `validate`.
//!
//! Objects carry the values that the API server would otherwise fill in where list entries are told apart by them (port
//! protocols) and where people would ask which one counts (probes, update strategies).

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::desired::{DesiredObject, DesiredState, Layer, Owner, Unit};
use crate::site::ValidSite;

mod scope;
mod config;
mod network;
mod workload;
mod task;
mod app;
mod manifest;
mod access;
mod zone;

pub(crate) use config::key as file_key;
pub use manifest::{is_cluster_wide, is_protected_namespace};
pub(crate) use zone::{zone_of, zones};

/// The desired state at an instant: what has expired by `now` is not in it.
pub fn render(site: &ValidSite, now: Timestamp) -> DesiredState {
    let (mut objects, mut units) = everything(site, now);
    objects.sort_by(|left, right| left.reference.cmp(&right.reference));
    objects.dedup_by(|later, earlier| later.reference == earlier.reference);
    units.sort();
    DesiredState { objects, units, zones: zones(site) }
}

/// All objects in the order of the documents; a reference may occur twice, which `validate` refuses.
pub(crate) fn everything(site: &ValidSite, now: Timestamp) -> (Vec<DesiredObject>, Vec<Unit>) {
    let mut objects = Vec::new();
    let mut units = Vec::new();
    for deployment in site.deployments.values() {
        for (cluster, placement) in &deployment.placements {
            let scope = scope::Scope { site, cluster, deployment };
            for app in &placement.apps {
                let (mut own, unit) = app::app(&scope, placement, app);
                objects.append(&mut own);
                units.push(unit);
            }
            objects.extend(
                placement
                    .load_balancers
                    .iter()
                    .map(|balancer| network::load_balancer(&scope, balancer)),
            );
            objects.extend(
                placement.manifests.iter().map(|manifest| manifest::manifest(&scope, manifest)),
            );
        }
    }
    objects.extend(namespaces(site, &objects));
    objects.extend(access::access(site, now));
    (objects, units)
}

/// The namespaces of all products, unless a manifest declares them. They belong to the site: several products may share
/// one.
fn namespaces(site: &ValidSite, objects: &[DesiredObject]) -> Vec<DesiredObject> {
    let mut wanted = BTreeMap::new();
    for deployment in site.deployments.values() {
        for cluster in deployment.placements.keys() {
            wanted.entry((cluster, &deployment.namespace)).or_insert(&deployment.place);
        }
    }
    let namespace = |((cluster, name), place): ((&String, &String), _)| {
        let body = serde_json::json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "labels": scope::site_labels(site)},
        });
        let owner = Owner {
            solution: None,
            product: None,
            app: None,
            access: None,
            layer: Layer::Foundation,
        };
        scope::desired(cluster, body, owner, place)
    };
    let is_declared =
        |object: &DesiredObject| objects.iter().any(|other| other.reference == object.reference);
    wanted.into_iter().map(namespace).filter(|object| !is_declared(object)).collect()
}

#[cfg(test)]
mod tests;
