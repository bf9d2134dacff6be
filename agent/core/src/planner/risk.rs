//! What approval rules may match, and what people look at first.

use std::collections::BTreeSet;

use tidegate_schema::finding::Finding;

use crate::change::{Action, Change, Confidence, Effect};
use crate::desired::DesiredObject;
use crate::live::{Inventory, LiveState};
use crate::plan::{Risk, Task, TaskKind};
use crate::task::Basis;
use crate::zone::guard::guard;

/// So many objects may go without a remark, and above it a share of the inventory (A24).
const PRUNED_WITHOUT_REMARK: usize = 10;
const PRUNED_PERCENT: usize = 30;

/// The risks of a plan, and remarks that belong to them.
pub(super) fn risks(
    basis: Basis<'_>,
    (live, inventory): (&LiveState, &Inventory),
    tasks: &[Task],
    findings: &[Finding],
) -> (BTreeSet<Risk>, Vec<Finding>) {
    let mut remarks = zone_remarks(basis);
    let mut risks = BTreeSet::new();
    if !remarks.is_empty() {
        risks.insert(Risk::ZoneGuard);
    }
    for change in &basis.changes.changes {
        risks.extend(of_change(basis, change));
    }
    if basis.changes.zones.iter().any(|zone| zone.action == Action::Prune)
        || tasks.iter().any(|task| task.kind == TaskKind::Uninstall)
    {
        risks.insert(Risk::Destructive);
    }
    let has = |code: &str| findings.iter().any(|finding| finding.code == code);
    if has("PLAN/TOPOLOGY_CHANGES") {
        risks.insert(Risk::Destructive);
    }
    if has("PLAN/PARAMETER_CHANGES") {
        risks.insert(Risk::ChangesParameters);
    }
    if has("IMAGE/UNVERIFIED") {
        risks.insert(Risk::Unverified);
    }
    remarks.extend(budgets(basis, live));
    let changes = basis.changes.changes.iter();
    let pruned = changes.filter(|change| change.action == Action::Prune).count();
    let total = inventory.entries.len();
    if pruned > PRUNED_WITHOUT_REMARK && pruned * 100 > total * PRUNED_PERCENT {
        let finding = Finding::warning("PLAN/MANY_PRUNED").with("pruned", pruned);
        remarks.push(finding.with("total", total));
        risks.insert(Risk::Destructive);
    }
    (risks, remarks)
}

/// Budgets that let no pod go even when all are well: no node can be drained, and pods that are moved in groups stay.
fn budgets(basis: Basis<'_>, live: &LiveState) -> Vec<Finding> {
    let is_budget = |it: &&DesiredObject| {
        it.reference.group == "policy" && it.reference.kind == "PodDisruptionBudget"
    };
    let of_one = |object: &DesiredObject| {
        let there = live.observation(&object.reference)?.live()?;
        let number = |field: &str| there.integer(field).unwrap_or_default();
        let (wanted, all) = (number("/status/desiredHealthy"), number("/status/expectedPods"));
        let finding = Finding::warning("PLAN/BUDGET_LETS_NONE_GO").at(object.place.clone());
        let finding = finding.with("object", object.reference.to_string());
        let finding = finding.with("cluster", &object.reference.cluster);
        (all > 0 && wanted >= all).then(|| finding.with("pods", all))
    };
    basis.desired.objects.iter().filter(is_budget).filter_map(of_one).collect()
}

fn zone_remarks(basis: Basis<'_>) -> Vec<Finding> {
    let mut remarks = Vec::new();
    for difference in &basis.changes.zones {
        let published = basis.baseline.and_then(|baseline| baseline.zones.get(&difference.zone));
        let after = basis.desired.zones.iter().find(|zone| zone.name == difference.zone);
        remarks.extend(guard(published.map(|published| &published.zone), after));
    }
    remarks
}

fn of_change(basis: Basis<'_>, change: &Change) -> BTreeSet<Risk> {
    let mut risks = BTreeSet::new();
    let takes_away = match change.action {
        Action::Replace => true,
        Action::Prune => is_grave(change),
        Action::Create | Action::Configure | Action::Move | Action::Keep => false,
    };
    if takes_away {
        risks.insert(Risk::Destructive);
    }
    if !change.conflicts.is_empty() {
        risks.insert(Risk::TakesOwnership);
    }
    if change.confidence == Confidence::Unverified {
        risks.insert(Risk::Unverified);
    }
    for effect in &change.effects {
        match effect {
            Effect::VolumeLost | Effect::NamespaceLost { .. } => risks.insert(Risk::Destructive),
            Effect::GainsPermission { .. } => risks.insert(Risk::GainsPermission),
            Effect::LosesPermission { .. } if !is_expiry(basis, change) => {
                risks.insert(Risk::LosesPermission)
            }
            Effect::LosesPermission { .. }
            | Effect::PodsRestart { .. }
            | Effect::PodsScale { .. }
            | Effect::NoPodRestarts
            | Effect::AddressChanges
            | Effect::TakesThePlaceOf { .. }
            | Effect::PlaceIsTakenBy { .. } => false,
        };
    }
    risks
}

/// Deleting these takes more along than themselves.
fn is_grave(change: &Change) -> bool {
    matches!(
        change.object.kind.as_str(),
        "Namespace"
            | "CustomResourceDefinition"
            | "PersistentVolume"
            | "PersistentVolumeClaim"
            | "StatefulSet"
            | "Deployment"
            | "DaemonSet"
    )
}

/// A grant that is still documented ends because its time is over, as was approved with it.
fn is_expiry(basis: Basis<'_>, change: &Change) -> bool {
    let grant = change.owner.access.as_deref().and_then(|access| access.strip_prefix("grant/"));
    change.action == Action::Prune
        && grant.is_some_and(|grant| basis.site.grants.contains_key(grant))
}
