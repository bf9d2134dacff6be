//! The first installation of a whole site: which products it takes, and which come by a plan of their own afterwards
//! (YL-080 … YL-084).
//!
//! It is long and unattended, so only what has proved itself goes: a product on trial, and whatever requires one, waits until
//! the site has a baseline. The solution may say otherwise for each product.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_schema::finding::Finding;
use tidegate_schema::product::Maturity;
use tidegate_schema::solution::FirstInstallation;

use super::held::Parts;
use crate::baseline::Baseline;
use crate::change::{Change, ChangeSet};
use crate::desired::DesiredState;
use crate::live::{Inventory, LiveState};
use crate::plan::PlanReport;
use crate::site::{Deployment, ValidSite};

/// Why a product comes later.
enum Cause<'a> {
    /// It is on trial.
    Trial,
    /// Its solution says so.
    Asked,
    /// It requires a product that comes later.
    Requires(&'a str),
}

/// Takes out of the changes, while the site has no baseline, what comes after the first installation. Products of which
/// anything was ever applied are not among it: what has begun goes on. Where nothing that has proved itself is installed,
/// everything is planned: there is nothing to keep apart.
pub(super) fn leave_for_later(
    mut changes: ChangeSet,
    parts: (&DesiredState, &ValidSite, &Inventory),
    live: &LiveState,
    baseline: Option<&Baseline>,
    report: &mut PlanReport,
) -> ChangeSet {
    let (_, site, inventory) = parts;
    if baseline.is_some() {
        return changes;
    }
    let later = later(site, inventory);
    let is_later = |change: &Change| {
        change.owner.product.as_deref().is_some_and(|product| later.contains_key(product))
    };
    let is_proved = |change: &Change| {
        let deployment = change.owner.product.as_deref().and_then(|it| site.deployment(it));
        !is_later(change) && deployment.is_some_and(|it| of_its_own(it).is_none())
    };
    let is_apart = changes.changes.iter().any(is_later);
    if !is_apart || !changes.changes.iter().any(is_proved) {
        return changes;
    }
    let mut held = Vec::new();
    for (deployment, cause) in later.values() {
        report.findings.push(finding(deployment, cause));
        held.extend(super::held::places(deployment));
    }
    held.append(&mut changes.held);
    held.sort();
    held.dedup();
    let parts = Parts::of(parts);
    changes.changes.retain(|change| !parts.is_held(change, &held, live));
    changes.held = held;
    changes
}

/// The products that come later, with why.
fn later<'a>(
    site: &'a ValidSite,
    inventory: &Inventory,
) -> BTreeMap<&'a str, (&'a Deployment, Cause<'a>)> {
    let owners = inventory.entries.values().filter_map(|entry| entry.owner.product.as_deref());
    let begun: BTreeSet<&str> = owners.collect();
    let all = site.deployments.values().map(|it| (it.product.as_str(), it));
    let new: Vec<(&str, &Deployment)> = all.filter(|(name, _)| !begun.contains(name)).collect();
    let own = new.iter().filter_map(|(name, it)| Some((*name, (*it, of_its_own(it)?))));
    let mut later: BTreeMap<_, _> = own.collect();
    loop {
        let required = |it: &'a Deployment| {
            let mut names = it.requires.iter().map(|requirement| requirement.product.as_str());
            names.find(|name| later.contains_key(name))
        };
        let more = new.iter().filter(|(name, _)| !later.contains_key(name));
        let more: Vec<_> = more
            .filter_map(|(name, it)| Some((*name, (*it, Cause::Requires(required(it)?)))))
            .collect();
        if more.is_empty() {
            return later;
        }
        later.extend(more);
    }
}

fn of_its_own(deployment: &Deployment) -> Option<Cause<'_>> {
    match (deployment.first_installation, deployment.maturity) {
        (Some(FirstInstallation::After), _) => Some(Cause::Asked),
        (None, Maturity::Trial) => Some(Cause::Trial),
        (Some(FirstInstallation::With), _) | (None, Maturity::Mature) => None,
    }
}

fn finding(deployment: &Deployment, cause: &Cause<'_>) -> Finding {
    let finding = match cause {
        Cause::Trial => Finding::note("PLAN/ON_TRIAL"),
        Cause::Asked => Finding::note("PLAN/AFTER_FIRST_INSTALLATION"),
        Cause::Requires(other) => Finding::note("PLAN/REQUIRES_LATER").with("required", other),
    };
    finding.at(deployment.place.clone()).with("product", &deployment.product)
}
