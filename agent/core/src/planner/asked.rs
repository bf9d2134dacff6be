//! What operations ask for once and was not done yet: restarts, further runs of tasks and tests.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use tidegate_schema::finding::Finding;

use super::is_left_alone;
use crate::baseline::Baseline;
use crate::change::{Action, Change, ChangeSet, Effect};
use crate::desired::{Asked, DesiredObject, DesiredState, Uninstalled, Unit, UnitId, UnitKind};
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
        let is_held = !unit.is_node() && is_held(unit);
        !done && !is_left_alone(&unit.product, &unit.app, site) && !is_held
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
    // A workload that is not there has no pods to start anew; a Job that is there has had its run. Of a node whose pods could
    // not be looked at nobody can say what goes.
    pending.retain(|asked| {
        if asked.unit.is_node() {
            return live
                .clusters
                .get(&asked.unit.cluster)
                .is_some_and(|cluster| cluster.around.nodes.contains_key(&asked.unit.app));
        }
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
    report.findings.extend(unknown_nodes(desired, live));
    report.findings.extend(uninstalled(changes, desired, site, baseline));
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
        let mut own = desired.asked.iter().filter(|it| it.operation == *name);
        // The nodes stay cordoned as long as the document is there.
        let is_drain = own.any(|asked| asked.unit.is_node());
        let code = if is_drain { "OPERATION/DRAINED" } else { "OPERATION/DONE" };
        let finding = Finding::note(code).at(place).with("name", name);
        let at = Timestamp::from_second(done.at.as_second()).unwrap_or(done.at);
        finding.with("release", &done.release).with("at", at)
    })
    .collect()
}

/// Nodes that operations name and that are not there: gone, or never were.
fn unknown_nodes(desired: &DesiredState, live: &LiveState) -> Vec<Finding> {
    let is_gone = |object: &&DesiredObject| {
        let observed = live.observation(&object.reference);
        object.reference.is_node() && observed.is_some_and(|it| it.live.is_none())
    };
    let gone = desired.objects.iter().filter(is_gone);
    gone.map(|object| {
        let finding = Finding::warning("OPERATION/NODE_UNKNOWN").at(object.place.clone());
        let finding = finding.with("node", &object.reference.name);
        finding.with("cluster", &object.reference.cluster)
    })
    .collect()
}

/// Operations that remove a product of which nothing is left to remove.
fn uninstalled(
    changes: &ChangeSet,
    desired: &DesiredState,
    site: &ValidSite,
    baseline: Option<&Baseline>,
) -> Vec<Finding> {
    let is_open = |asked: &&Uninstalled| {
        let is_of = |cluster: &str| asked.is_of(&asked.product, cluster);
        let delivered = baseline.and_then(|baseline| baseline.products.get(&asked.product));
        let goes = |change: &Change| {
            change.owner.product.as_ref() == Some(&asked.product)
                && change.action != Action::Keep
                && is_of(&change.object.cluster)
        };
        delivered.is_some_and(|product| product.clusters.keys().any(|it| is_of(it)))
            || changes.changes.iter().any(goes)
            || changes.held.iter().any(|held| held.product.as_ref() == Some(&asked.product))
    };
    let done = desired.uninstalls.iter().filter(|asked| !is_open(asked));
    done.map(|asked| {
        let place = site.operations.get(&asked.operation).map(|it| it.place.clone());
        let finding = Finding::note("OPERATION/UNINSTALLED").at(place);
        finding.with("name", &asked.operation).with("product", &asked.product)
    })
    .collect()
}
