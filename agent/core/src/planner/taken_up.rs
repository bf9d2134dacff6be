//! What was kept of a product when it was uninstalled, and is its own again when it is installed there anew.

use tidegate_schema::finding::Finding;

use crate::diff;
use crate::live::{Inventory, LiveState, Observation};
use crate::orphan;
use crate::task::Basis;

/// A note for each product and cluster.
pub(super) fn findings(basis: Basis<'_>, live: &LiveState, inventory: &Inventory) -> Vec<Finding> {
    let gone = basis.baseline.into_iter().flat_map(|baseline| &baseline.uninstalled);
    let places = gone.flat_map(|(product, places)| {
        places.iter().map(move |(cluster, it)| (product, cluster, it))
    });
    let of_one = |(product, cluster, gone): (&String, &String, &crate::baseline::Uninstalled)| {
        let objects = inventory.entries.iter().filter_map(|(reference, entry)| {
            let is_its = entry.owner.product.as_ref() == Some(product);
            let is_wanted = || {
                basis.desired.object(reference).is_some()
                    || diff::taken_up_by(reference, basis.desired).is_some()
            };
            if reference.cluster != *cluster || !is_its || !is_wanted() {
                return None;
            }
            let there = live.observation(reference).and_then(Observation::live)?;
            let size = orphan::size(&there).map(|size| format!(" ({size})"));
            Some(format!("{reference}{}", size.unwrap_or_default()))
        });
        let objects: Vec<String> = objects.collect();
        let finding = || {
            let finding = Finding::note("PLAN/TAKES_UP_KEPT").with("product", product);
            let finding = finding.with("cluster", cluster).with("release", &gone.release);
            finding.with("version", &gone.version).with("objects", objects.join(", "))
        };
        (!objects.is_empty()).then(finding)
    };
    places.filter_map(of_one).collect()
}
