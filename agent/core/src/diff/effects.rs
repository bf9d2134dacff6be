//! What a change of one object means for pods, data and addresses.

use std::collections::BTreeMap;

use serde_json::Value;

use super::fields::Difference;
use crate::change::{Action, Effect};
use crate::health::is_observed;
use crate::object::{Object, ObjectRef};

/// Whether the kind runs pods from a template for good.
pub(super) fn is_workload(reference: &ObjectRef) -> bool {
    reference.group == "apps"
        && matches!(reference.kind.as_str(), "Deployment" | "StatefulSet" | "DaemonSet")
}

/// Whether the kind holds data of its own.
pub(super) fn is_volume(reference: &ObjectRef) -> bool {
    reference.group.is_empty()
        && matches!(reference.kind.as_str(), "PersistentVolumeClaim" | "PersistentVolume")
}

/// Whether a set's claims are deleted with it (`persistentVolumeClaimRetentionPolicy`).
pub(super) fn takes_claims_along(live: &Object) -> bool {
    live.kind() == "StatefulSet"
        && live.text("/spec/persistentVolumeClaimRetentionPolicy/whenDeleted") == "Delete"
}

/// Whether the object is a namespace.
pub(super) fn is_namespace(reference: &ObjectRef) -> bool {
    reference.group.is_empty() && reference.kind == "Namespace"
}

/// The effects of an action on one object, apart from permissions.
pub(super) fn effects(
    reference: &ObjectRef,
    action: Action,
    live: Option<&Object>,
    after: Option<&Value>,
    differences: &[Difference],
) -> Vec<Effect> {
    let goes_away = matches!(action, Action::Prune | Action::Replace);
    let mut effects = Vec::new();
    if goes_away && (is_volume(reference) || live.is_some_and(takes_claims_along)) {
        effects.push(Effect::VolumeLost);
    }
    if goes_away && is_namespace(reference) {
        effects.push(Effect::NamespaceLost { others: String::new() });
    }
    if address_changes(reference, action, differences) {
        effects.push(Effect::AddressChanges);
    }
    if is_workload(reference) {
        effects.extend(pods(action, live, after, differences));
    }
    effects
}

/// Says of a namespace that goes what goes with it that is not ours, by kind: `2 ConfigMap, 1 Service`.
pub(super) fn tell_what_is_lost<'a>(
    effects: &mut [Effect],
    others: impl Iterator<Item = &'a ObjectRef>,
) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for other in others {
        *counts.entry(&other.kind).or_default() += 1;
    }
    let told: Vec<String> = counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    for effect in effects {
        if let Effect::NamespaceLost { others } = effect {
            *others = told.join(", ");
        }
    }
}

/// Services keep their address unless they are made anew or these fields change (Kubernetes API, `ServiceSpec`).
fn address_changes(reference: &ObjectRef, action: Action, differences: &[Difference]) -> bool {
    const ADDRESS: [&str; 5] =
        ["type", "clusterIP", "clusterIPs", "loadBalancerIP", "loadBalancerClass"];
    let is_service = reference.group.is_empty() && reference.kind == "Service";
    is_service
        && match action {
            Action::Replace => true,
            Action::Configure => {
                let is_address = |difference: &Difference| {
                    ADDRESS.iter().any(|field| difference.is_under(&["spec", field]))
                };
                differences.iter().any(is_address)
            }
            Action::Create | Action::Move | Action::Prune | Action::Keep => false,
        }
}

/// Whether a field decides how many pods change at once.
fn holds_pods(difference: &Difference) -> bool {
    const HOLDS: [&str; 3] = ["strategy", "updateStrategy", "minReadySeconds"];
    HOLDS.iter().any(|field| difference.is_under(&["spec", field]))
}

/// Pods that are not of the template that the workload has already: a release was stopped half way, and what it held
/// together would let them all go at once.
fn left_old(live: &Object) -> u32 {
    let updated = match live.kind() {
        "DaemonSet" => "/status/updatedNumberScheduled",
        _ => "/status/updatedReplicas",
    };
    let updated = live.integer(updated).unwrap_or(0);
    // Without a status nobody has counted.
    let is_counted = is_observed(live) && live.get("/status/observedGeneration").is_some();
    if is_counted { live.replicas().saturating_sub(u32::try_from(updated).unwrap_or(0)) } else { 0 }
}

fn pods(
    action: Action,
    live: Option<&Object>,
    after: Option<&Value>,
    differences: &[Difference],
) -> Vec<Effect> {
    let Some(live) = live else { return Vec::new() };
    let from = live.replicas();
    match action {
        Action::Prune => vec![Effect::PodsScale { from, to: 0 }],
        Action::Configure | Action::Replace => {
            let to = after.map_or(from, |after| Object::new(after.clone()).replicas());
            let to = if live.kind() == "DaemonSet" { from } else { to };
            let mut effects = Vec::new();
            let restarts = action == Action::Replace
                || differences.iter().any(|difference| difference.is_under(&["spec", "template"]));
            let left_old = if differences.iter().any(holds_pods) { left_old(live) } else { 0 };
            if restarts {
                effects.push(Effect::PodsRestart { pods: from.min(to) });
            } else if left_old.min(to) > 0 {
                effects.push(Effect::PodsRestart { pods: left_old.min(to) });
            }
            if from != to {
                effects.push(Effect::PodsScale { from, to });
            }
            if effects.is_empty() {
                effects.push(Effect::NoPodRestarts);
            }
            effects
        }
        Action::Create | Action::Move | Action::Keep => Vec::new(),
    }
}
