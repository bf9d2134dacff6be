//! What people are told before they approve: what a step would wait for, or fail on, as the cluster is now.
//!
//! Absent: claims of ephemeral volumes.

use tidegate_schema::finding::Finding;

use crate::autoscaler;
use crate::change::Action;
use crate::ignored;
use crate::live::LiveState;
use crate::plan::{Driver, Rollout, Wave};
use crate::task::Basis;

mod room;
mod storage;

/// All remarks and refusals of what is around the changes.
pub(super) fn findings(basis: Basis<'_>, live: &LiveState, waves: &[Wave]) -> Vec<Finding> {
    let rollouts =
        || waves.iter().flat_map(|wave| &wave.steps).filter_map(|step| step.rollout.as_ref());
    let mut findings: Vec<Finding> = rollouts().flat_map(|it| moved(it, live)).collect();
    findings.extend(rollouts().filter_map(|it| unready(it, live)));
    findings.extend(set_twice(basis, live));
    findings.extend(storage::findings(basis, live));
    findings.extend(room::findings(basis, live));
    findings.extend(unknown(live));
    findings
}

fn about(code: &'static str, rollout: &Rollout) -> Finding {
    let finding = Finding::warning(code).with("app", rollout.unit.to_string());
    finding.with("cluster", &rollout.workload.cluster)
}

/// Autoscalers that may change the number of pods while they change in groups.
fn moved(rollout: &Rollout, live: &LiveState) -> Vec<Finding> {
    let around = live.clusters.get(&rollout.workload.cluster).map(|cluster| &cluster.around);
    let there = around.map(|around| &around.autoscalers);
    let own = rollout.autoscalers.iter().filter_map(|it| Some((it, there?.get(it)?)));
    let moving = own.filter(|(_, found)| autoscaler::may_move(found, rollout.replicas));
    moving
        .map(|(reference, found)| {
            let (min, max) = autoscaler::bounds(found);
            let finding = about("PLAN/AUTOSCALER_HELD", rollout).with("min", min);
            let finding = finding.with("max", max).with("pods", rollout.replicas);
            finding.with("autoscaler", reference.to_string())
        })
        .collect()
}

/// Apps whose pods are to change in groups and are not all ready now. Which ones is looked at when the step begins.
fn unready(rollout: &Rollout, live: &LiveState) -> Option<Finding> {
    if matches!(rollout.driver, Driver::Whole | Driver::Restart | Driver::Drain) {
        return None;
    }
    let there = live.observation(&rollout.workload)?.live()?;
    let (wanted, ready) = match rollout.driver {
        Driver::DaemonSet => {
            (there.integer("/status/desiredNumberScheduled")?, "/status/numberReady")
        }
        Driver::Whole
        | Driver::StatefulSet
        | Driver::Deployment
        | Driver::Restart
        | Driver::Drain => {
            // Without a status its controller has not seen it yet.
            there.integer("/status/replicas")?;
            (there.integer("/spec/replicas").unwrap_or(1), "/status/readyReplicas")
        }
    };
    let ready = there.integer(ready).unwrap_or(0);
    let finding = || about("PLAN/PODS_NOT_READY", rollout).with("ready", ready);
    (ready < wanted).then(|| finding().with("pods", wanted))
}

/// Autoscalers that set a number which the documents set too: each puts it back that the other one has set.
fn set_twice(basis: Basis<'_>, live: &LiveState) -> Vec<Finding> {
    let clusters = live.clusters.values().flat_map(|cluster| &cluster.around.autoscalers);
    let of_one = |(reference, found)| {
        let target = autoscaler::target(reference, found)?;
        let changes = &basis.changes.changes;
        let is_changed = |action| !matches!(action, Action::Prune | Action::Keep);
        changes.iter().find(|it| it.object == target && is_changed(it.action))?;
        let desired = basis.desired.object(&target)?;
        let body = desired.body();
        body.integer("/spec/replicas")?;
        if ignored::is_left(&body, autoscaler::REPLICAS) {
            return None;
        }
        let finding = Finding::warning("PLAN/REPLICAS_SET_TWICE").at(desired.place.clone());
        let finding = finding.with("object", target.to_string());
        let finding = finding.with("cluster", &target.cluster);
        Some(finding.with("autoscaler", reference.to_string()))
    };
    clusters.filter_map(of_one).collect()
}

/// What could not be looked at: that is no good answer.
fn unknown(live: &LiveState) -> Vec<Finding> {
    let of_one = |(cluster, what, reason): (&String, &String, &String)| {
        let finding = Finding::note("PLAN/PREFLIGHT_UNKNOWN").with("cluster", cluster);
        finding.with("what", what).with("reason", reason)
    };
    let all = live.clusters.iter().flat_map(|(name, cluster)| {
        cluster.around.unknown.iter().map(move |(what, gap)| (name, what, &gap.message))
    });
    all.map(of_one).collect()
}
