//! What operations ask for once and was not done yet: restarts, further runs of tasks and tests.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_schema::finding::Finding;

use super::is_left_alone;
use crate::baseline::Baseline;
use crate::change::{Action, Change, ChangeSet, Effect};
use crate::desired::{Asked, DesiredState, Unit, UnitId, UnitKind};
use crate::live::{LiveState, Observation};
use crate::object::{OPERATION, ObjectRef};
use crate::plan::PlanReport;
use crate::site::ValidSite;

/// What is to be done now: not what was carried out before, nor of apps that are left alone or could not be observed.
///
/// Jobs of operations that have nothing to do are taken out of the changes. A task or test runs once, whoever asks: where
/// its inputs have changed too, that run is the one, and of several operations the first has the Job.
pub(super) fn pending(
    changes: &mut ChangeSet,
    (desired, site): (&DesiredState, &ValidSite),
    live: &LiveState,
    baseline: Option<&Baseline>,
    report: &mut PlanReport,
) -> Vec<Asked> {
    let is_held = |unit: &UnitId| {
        let is_it = |product: &Option<String>| product.as_ref() == Some(&unit.product);
        let mut held = changes.held.iter();
        report.unplanned_clusters.contains(&unit.cluster)
            || held.any(|held| held.cluster == unit.cluster && is_it(&held.product))
    };
    let is_open = |asked: &&Asked| {
        let (unit, done) = (&asked.unit, baseline.is_some_and(|it| it.has_carried_out(asked)));
        !done && !is_left_alone(&unit.product, &unit.app, site) && !is_held(unit)
    };
    let mut pending: Vec<Asked> = desired.asked.iter().filter(is_open).cloned().collect();
    let units: BTreeMap<&UnitId, &Unit> = desired.units.iter().map(|it| (&it.id, it)).collect();
    let runs = runs(changes, desired, &units, &pending);
    let is_left_out = |change: &Change| {
        is_made(change) && operation_of(change, desired).is_some() && !runs.contains(&change.object)
    };
    let left_out = changes.changes.extract_if(.., |change| is_left_out(change));
    let left_out: BTreeSet<String> = left_out.map(|change| change.object.to_string()).collect();
    for change in &mut changes.changes {
        change.effects.retain(|effect| {
            !matches!(effect, Effect::PlaceIsTakenBy { object } if left_out.contains(object))
        });
    }
    // A workload that is not there has no pods to start anew; a Job that is there has had its run.
    pending.retain(|asked| {
        units.get(&asked.unit).is_some_and(|unit| match unit.kind {
            UnitKind::Standard => {
                let there = live.observation(&unit.workload).and_then(Observation::live);
                there.is_some() || changes.changes.iter().any(|it| it.object == unit.workload)
            }
            UnitKind::Task | UnitKind::Test => {
                let mut made = changes.changes.iter().filter(|it| is_made(it));
                made.any(|it| is_of(it, &unit.id))
            }
        })
    });
    report.findings.extend(remarks(desired, site, baseline));
    pending
}

/// The Jobs that operations may have.
fn runs(
    changes: &ChangeSet,
    desired: &DesiredState,
    units: &BTreeMap<&UnitId, &Unit>,
    pending: &[Asked],
) -> BTreeSet<ObjectRef> {
    let made: Vec<&Change> = changes.changes.iter().filter(|it| is_made(it)).collect();
    let mut runs: BTreeMap<&UnitId, ObjectRef> = BTreeMap::new();
    for asked in pending {
        let unit = units.get(&asked.unit);
        let runs_anyway = unit.is_some_and(|unit| made.iter().any(|it| it.object == unit.workload));
        let own = made.iter().find(|change| {
            is_of(change, &asked.unit)
                && operation_of(change, desired).as_ref() == Some(&asked.operation)
        });
        if let Some(job) = own.filter(|_| !runs_anyway) {
            runs.entry(&asked.unit).or_insert_with(|| job.object.clone());
        }
    }
    runs.into_values().collect()
}

fn is_made(change: &Change) -> bool {
    change.object.kind == "Job" && change.action == Action::Create
}

fn is_of(change: &Change, unit: &UnitId) -> bool {
    change.object.cluster == unit.cluster
        && change.owner.product.as_ref() == Some(&unit.product)
        && change.owner.app.as_ref() == Some(&unit.app)
}

/// The operation that asks for a Job.
fn operation_of(change: &Change, desired: &DesiredState) -> Option<String> {
    desired.object(&change.object)?.body().annotation(OPERATION).map(ToOwned::to_owned)
}

/// Operations whose documents are still there and that have nothing to do any more.
fn remarks(desired: &DesiredState, site: &ValidSite, baseline: Option<&Baseline>) -> Vec<Finding> {
    let Some(baseline) = baseline else { return Vec::new() };
    let done = baseline.operations.iter().filter(|(name, _)| {
        let mut own = desired.asked.iter().filter(|it| it.operation == **name).peekable();
        own.peek().is_some() && own.all(|asked| baseline.has_carried_out(asked))
    });
    done.map(|(name, done)| {
        let place = site.operations.get(name).map(|operation| operation.place.clone());
        let finding = Finding::note("OPERATION/DONE").at(place).with("name", name);
        finding.with("release", &done.release).with("at", done.at)
    })
    .collect()
}
