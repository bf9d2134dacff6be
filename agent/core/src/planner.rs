//! Plans: what will be done, in which order and in which groups; complete, so that nothing is decided while executing.
//!
//! Same documents, same live state, same baseline: the same plan, byte for byte.

use std::collections::{BTreeMap, BTreeSet};

use crate::baseline::Baseline;
use crate::change::{Action, ChangeSet};
use crate::definition;
use crate::desired::{DesiredState, Owner};
use crate::live::{Inventory, LiveState};
use crate::plan::{Plan, PlanContent, PlanReport, Wave};
use crate::served;
use crate::site::ValidSite;
use crate::snapshot::{Identity, Revision};
use crate::task::{self, Basis, refusal};

mod asked;
mod drain;
mod first;
mod held;
mod preflight;
mod risk;
mod rollout;
mod steps;
mod taken_up;
mod waves;

/// Codes of refusals that we found ourselves, in the server's discovery and in definitions of the same change.
const FOUND_BY_US: [&str; 3] =
    [served::VERSION_NOT_SERVED, served::KIND_UNKNOWN, definition::VIOLATED];

/// Makes the plan and says beside it what is refused, what is left out and why.
///
/// A plan whose report [is refused](PlanReport::is_refused) is only for reading.
#[expect(clippy::too_many_arguments, reason = "each is one of the pipeline's values")]
pub fn plan(
    mut changes: ChangeSet,
    desired: &DesiredState,
    site: &ValidSite,
    live: &LiveState,
    baseline: Option<&Baseline>,
    inventory: &Inventory,
    revision: &Revision,
    authors: &[Identity],
) -> (Plan, PlanReport) {
    let mut report = PlanReport::default();
    changes.changes.sort_by(|left, right| left.object.cmp(&right.object));
    let changes =
        held::leave_out_unobserved(changes, (desired, site, inventory), live, &mut report);
    let changes = leave_out_excluded(changes, site, &mut report);
    let parts = (desired, site, inventory);
    let mut changes = first::leave_for_later(changes, parts, live, baseline, &mut report);
    let asked = asked::pending(&mut changes, (desired, site), live, baseline, &mut report);
    let basis = Basis { changes: &changes, desired, site, baseline, asked: &asked };
    let tasks = task::tasks(basis);
    report.findings.extend(refusal::findings(basis, live));
    report.findings.extend(site.pins.findings.iter().cloned());
    let (risks, remarks) = risk::risks(basis, (live, inventory), &tasks, &report.findings);
    report.findings.extend(remarks);
    let layout = waves::layout(basis, &mut report.findings);
    let waves = steps::waves(basis, live, &layout, &mut report.findings);
    report.findings.extend(preflight::findings(basis, live, &waves));
    report.findings.extend(drain::findings(basis, live));
    report.findings.extend(taken_up::findings(basis, live, inventory));
    report.findings.sort();
    report.findings.dedup();
    let content = PlanContent {
        site: site.name.clone(),
        kind: task::release_kind(&tasks),
        parent: baseline.map(Baseline::digest),
        desired: desired.digest(),
        policies: site.policies_digest(),
        clusters: identities(&waves, live),
        images: site.pins.resolved.clone(),
        tasks,
        risks,
        changes,
        waves,
    };
    let authors: BTreeSet<_> = authors.iter().map(|author| author.email.clone()).collect();
    let authors = authors.into_iter().collect();
    (Plan { revision: revision.commit.clone(), authors, content }, report)
}

/// Whether the solution leaves the app alone in this release (YL-048).
fn is_excluded(owner: &Owner, site: &ValidSite) -> bool {
    let (Some(product), Some(app)) = (&owner.product, &owner.app) else { return false };
    is_left_alone(product, app, site)
}

fn is_left_alone(product: &str, app: &str, site: &ValidSite) -> bool {
    site.deployment(product).is_some_and(|deployment| deployment.exclude.contains(app))
}

/// Apps that the solution leaves alone in this release (YL-048).
fn leave_out_excluded(
    mut changes: ChangeSet,
    site: &ValidSite,
    report: &mut PlanReport,
) -> ChangeSet {
    for deployment in site.deployments.values() {
        let apps = deployment.exclude.iter().map(|app| format!("{}/{app}", deployment.product));
        report.excluded.extend(apps);
    }
    changes.changes.retain(|change| !is_excluded(&change.owner, site));
    changes
}

/// The identity of each cluster that the plan touches.
fn identities(waves: &[Wave], live: &LiveState) -> BTreeMap<String, String> {
    let touched: BTreeSet<&String> = waves.iter().flat_map(|wave| &wave.clusters).collect();
    let uid = |name: &String| live.clusters.get(name).and_then(|cluster| cluster.uid.clone());
    touched.into_iter().map(|name| (name.clone(), uid(name).unwrap_or_default())).collect()
}

/// Whether an action does something in the cluster; what is kept is only told.
fn is_done(action: Action) -> bool {
    action != Action::Keep
}

#[cfg(test)]
mod tests;
