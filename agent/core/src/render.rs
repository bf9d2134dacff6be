//! Rendering: a valid site becomes objects, units and zones. It cannot fail: what can be wrong is a finding of
//! `validate`.
//!
//! Objects carry the values that the API server would otherwise fill in where list entries are told apart by them (port
//! protocols) and where people would ask which one counts (probes, update strategies).

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::desired::{DesiredState, Layer, Owner, Unit};
use crate::site::{Placement, ValidSite};

mod scope;
mod config;
mod network;
mod workload;
mod task;
mod app;
mod manifest;
mod access;
mod zone;
mod node;
mod autoscaler;

pub(crate) use config::key as file_key;
pub use manifest::{is_cluster_wide, is_protected_namespace};
pub(crate) use manifest::{is_of, layer, own_images};
use scope::{Draft, Head, Scope};
pub(crate) use zone::{zone_of, zones};

/// The desired state at an instant: what has expired by `now` is not in it.
pub fn render(site: &ValidSite, now: Timestamp) -> DesiredState {
    let mut objects = Vec::new();
    each_object(site, now, |draft| objects.push(draft.finish()));
    objects.extend(node::nodes(site, now));
    objects.sort_by(|left, right| left.reference.cmp(&right.reference));
    objects.dedup_by(|later, earlier| later.reference == earlier.reference);
    let mut units: Vec<Unit> = products(site)
        .flat_map(|(scope, placement)| {
            placement.apps.iter().map(move |app| app::unit(&scope, placement, app))
        })
        .collect();
    units.sort();
    autoscaler::leave_replicas(site, &units, &mut objects);
    let rules = site.deployments.values().flat_map(|deployment| &deployment.health);
    let health: BTreeSet<_> = rules.cloned().collect();
    DesiredState {
        objects,
        units,
        asked: site.asked(now),
        uninstalls: site.uninstalls(now),
        drains: site.drains(now),
        zones: zones(site),
        health: health.into_iter().collect(),
        secret_fields: site.secret_fields.iter().cloned().collect(),
    }
}

/// Hands out all objects in the order of the documents. A reference may occur twice, which `validate` refuses.
pub(crate) fn each_object(site: &ValidSite, now: Timestamp, mut each: impl FnMut(Draft<'_>)) {
    let mut declared = BTreeSet::new();
    let asked = site.asked(now);
    for (scope, placement) in products(site) {
        for app in &placement.apps {
            app::objects(&scope, placement, app, &asked).into_iter().for_each(&mut each);
        }
        for balancer in &placement.load_balancers {
            each(network::load_balancer(&scope, balancer));
        }
        for manifest in &placement.manifests {
            let draft = manifest::manifest(&scope, manifest);
            if draft.reference.kind == "Namespace" {
                declared.insert(draft.reference.clone());
            }
            each(draft);
        }
    }
    let is_declared = |draft: &Draft<'_>| declared.contains(&draft.reference);
    namespaces(site).filter(|draft| !is_declared(draft)).for_each(&mut each);
    access::access(site, now).into_iter().for_each(each);
}

/// Each product in each of its clusters.
fn products(site: &ValidSite) -> impl Iterator<Item = (Scope<'_>, &Placement)> {
    site.deployments.values().flat_map(move |deployment| {
        let placements = deployment.placements.iter();
        placements.map(move |(cluster, placement)| (Scope { site, cluster, deployment }, placement))
    })
}

/// The namespaces of all products. They belong to the site: several products may share one.
fn namespaces(site: &ValidSite) -> impl Iterator<Item = Draft<'_>> {
    let mut wanted = BTreeMap::new();
    for deployment in site.deployments.values() {
        for cluster in deployment.placements.keys() {
            wanted.entry((cluster, &deployment.namespace)).or_insert(&deployment.place);
        }
    }
    wanted.into_iter().map(|((cluster, name), place)| {
        let head = Head { api_version: "v1", kind: "Namespace", namespace: "", name: name.clone() };
        let owner = Owner::site(Layer::Foundation);
        let labels = || scope::site_labels(site);
        scope::draft(cluster, head, owner, place, labels, || serde_json::json!({}))
    })
}

#[cfg(test)]
mod tests;
