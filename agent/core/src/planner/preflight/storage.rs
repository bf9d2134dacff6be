//! Claims that would wait for ever: of a class that is not there and of which no volume is left either.

use std::collections::BTreeMap;

use serde_json::Value;
use tidegate_schema::finding::Finding;

use crate::change::{Action, Change, Effect};
use crate::claim;
use crate::desired::DesiredObject;
use crate::live::LiveState;
use crate::object::Object;
use crate::task::Basis;

/// Refuses claims that nothing could ever fill. What is not known refuses nothing.
pub(super) fn findings(basis: Basis<'_>, live: &LiveState) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut coming = BTreeMap::new();
    for change in basis.changes.changes.iter().filter(|change| makes_claims(change)) {
        let cluster = live.clusters.get(&change.object.cluster);
        let storage = cluster.and_then(|cluster| cluster.around.storage.as_ref());
        let (Some(storage), Some(desired)) = (storage, basis.desired.object(&change.object)) else {
            continue;
        };
        let name = change.object.cluster.as_str();
        let (coming, body) =
            (coming.entry(name).or_insert_with(|| Coming::of(basis, name)), desired.body());
        for own in claim::claims(&body) {
            let classes = storage.classes.iter().chain(&coming.classes);
            let mut volumes = storage.volumes.iter().chain(&coming.volumes);
            let is_provided =
                claim::is_made(own, classes) || volumes.any(|volume| claim::is_free(own, volume));
            if !is_provided {
                findings.push(missing(desired, own));
            }
        }
    }
    findings
}

/// Whether claims come with it that are not there yet.
fn makes_claims(change: &Change) -> bool {
    let grows = |effect: &Effect| matches!(effect, Effect::PodsScale { from, to } if to > from);
    let is_made = matches!(change.action, Action::Create | Action::Replace);
    match change.object.kind.as_str() {
        "PersistentVolumeClaim" => is_made,
        "StatefulSet" => is_made || change.effects.iter().any(grows),
        _ => false,
    }
}

/// Classes and volumes that the documents bring to a cluster.
struct Coming {
    classes: Vec<Object>,
    volumes: Vec<Object>,
}

impl Coming {
    fn of(basis: Basis<'_>, cluster: &str) -> Self {
        let all = |kind: &str| {
            let own = basis.desired.objects.iter().filter(|object| {
                object.reference.kind == kind && object.reference.cluster == cluster
            });
            own.map(DesiredObject::body).collect()
        };
        Self { classes: all("StorageClass"), volumes: all("PersistentVolume") }
    }
}

fn missing(desired: &DesiredObject, own: &Value) -> Finding {
    let name = claim::name(own);
    let finding = match claim::class(own) {
        Some(class) => Finding::error("PLAN/STORAGE_CLASS_MISSING").with("class", class),
        None => Finding::error("PLAN/NO_DEFAULT_STORAGE_CLASS"),
    };
    let finding = finding.at(desired.place.clone()).with("object", desired.reference.to_string());
    finding.with("cluster", &desired.reference.cluster).with("volume", name)
}
