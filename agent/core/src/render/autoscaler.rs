//! Apps whose number of pods an autoscaler of the documents sets: that number is the first one only.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_schema::operation::Action;

use super::products;
use crate::autoscaler;
use crate::desired::{DesiredObject, Unit, UnitId};
use crate::ignored;
use crate::site::ValidSite;

/// Leaves the replicas of apps to the autoscalers that the documents bring. Not while an operation scales the app: what a
/// person asks for counts, and the autoscaler is told of in the plan.
pub(super) fn leave_replicas(site: &ValidSite, units: &[Unit], objects: &mut [DesiredObject]) {
    let mut targets = BTreeMap::new();
    for object in objects.iter().filter(|object| autoscaler::is_one(&object.reference)) {
        let body = object.body();
        if let Some(target) = autoscaler::target(&object.reference, &body) {
            targets.entry(target).or_insert_with(|| object.reference.name.clone());
        }
    }
    if targets.is_empty() {
        return;
    }
    let scaled = scaled(site);
    for Unit { workload, .. } in units.iter().filter(|unit| !scaled.contains(&unit.id)) {
        let Some(name) = targets.get(workload) else { continue };
        let Ok(index) = objects.binary_search_by(|object| object.reference.cmp(workload)) else {
            continue;
        };
        if let Some(object) = objects.get_mut(index) {
            let mut body = object.body();
            let reason = format!("the autoscaler {name} sets it");
            ignored::leave(&mut body, autoscaler::REPLICAS, &reason);
            let DesiredObject { reference, owner, place, .. } = object.clone();
            *object = DesiredObject::new(reference, &body, owner, place);
        }
    }
}

/// Apps whose number of pods an operation sets.
fn scaled(site: &ValidSite) -> BTreeSet<UnitId> {
    let is_scale = |name: &String| {
        let operation = site.operations.get(name);
        operation.is_some_and(|it| matches!(it.spec.action, Action::Scale(_)))
    };
    let apps = products(site).flat_map(|(scope, placement)| {
        let scaled = placement.apps.iter().filter(move |app| app.operations.iter().any(is_scale));
        scaled.map(move |app| UnitId {
            cluster: scope.cluster.to_owned(),
            product: scope.deployment.product.clone(),
            app: app.app.name.to_string(),
        })
    });
    apps.collect()
}
