//! How the pods of one app change: driver, groups and what happens around each group.

use tidegate_schema::finding::Finding;
use tidegate_schema::policy::{self, RolloutPolicy};
use tidegate_schema::scalar::Duration;

use crate::autoscaler;
use crate::change::{Action, Change, Effect};
use crate::desired::{DesiredObject, Unit, UnitId};
use crate::group::{Strategy, groups, remarks};
use crate::ignored;
use crate::live::{LiveState, Observation};
use crate::object::{Object, ObjectRef};
use crate::plan::{Driver, Group, OnFailure, Rollout, UnattendedRule};
use crate::validate::policy::strategy;

/// Seconds for a group to become ready, where no policy says otherwise.
pub(super) const TIMEOUT_SECONDS: u64 = 600;

/// The rollout of a changed workload. Only pods whose template changes go in groups: installing, scaling and changes
/// that restart nothing are one.
pub(super) fn rollout(
    unit: &Unit,
    desired: &DesiredObject,
    change: &Change,
    live: &LiveState,
    policy: &RolloutPolicy,
    asks: Asks,
    findings: &mut Vec<Finding>,
) -> Rollout {
    let there = live.observation(&change.object).and_then(Observation::live);
    let before = if change.action == Action::Create {
        0
    } else {
        there.as_ref().map_or(0, Object::replicas)
    };
    // The documents' number is the first one only, where an autoscaler sets it from then on.
    let is_autoscaled =
        change.action != Action::Create && ignored::is_left(&desired.body(), autoscaler::REPLICAS);
    let is_as_it_is = is_autoscaled || desired.reference.kind == "DaemonSet";
    let total = if is_as_it_is { before } else { unit.replicas };
    let restarts = change.action == Action::Configure && replaces_pods(change);
    let driver = if restarts && total > 0 { driver(desired) } else { Driver::Whole };
    let groups = if driver == Driver::Whole {
        vec![Group { pods: total, cumulative: total, confirm: false, nodes: Vec::new() }]
    } else {
        grouped(unit, total, policy, asks, findings)
    };
    Rollout {
        unit: unit.id.clone(),
        workload: change.object.clone(),
        driver,
        replicas_before: before,
        replicas: total,
        groups,
        bake_seconds: policy.bake.map_or(0, Duration::seconds),
        on_failure: match policy.on_failure {
            policy::OnFailure::Pause => OnFailure::Pause,
            policy::OnFailure::Rollback => OnFailure::Rollback,
        },
        unattended: policy.unattended.iter().map(unattended).collect(),
        checks: unit.checks.clone(),
        autoscalers: if driver == Driver::Whole {
            Vec::new()
        } else {
            autoscalers(live, &change.object)
        },
    }
}

/// The autoscalers of a workload.
fn autoscalers(live: &LiveState, workload: &ObjectRef) -> Vec<ObjectRef> {
    let there = live.clusters.get(&workload.cluster).map(|cluster| &cluster.around.autoscalers);
    let own = there.into_iter().flatten().filter(|(reference, autoscaler)| {
        autoscaler::target(reference, autoscaler).as_ref() == Some(workload)
    });
    own.map(|(reference, _)| reference.clone()).collect()
}

/// Whether no pod stays that was there before.
pub(super) fn replaces_pods(change: &Change) -> bool {
    let restarts = |effect: &Effect| matches!(effect, Effect::PodsRestart { .. });
    match change.action {
        Action::Create | Action::Replace => true,
        Action::Configure => change.effects.iter().any(restarts),
        Action::Move | Action::Prune | Action::Keep => false,
    }
}

/// The restart of an app: the pods that are there, in the groups of its policy, without a person's word unless the policy
/// wants it (A.10). A failure waits for a person, as there is nothing to go back to.
pub(super) fn restart(
    unit: &Unit,
    live: &LiveState,
    policy: &RolloutPolicy,
    findings: &mut Vec<Finding>,
) -> Rollout {
    let there = live.observation(&unit.workload).and_then(Observation::live);
    let total = there.as_ref().map_or(0, Object::replicas);
    let groups = grouped(unit, total, policy, Asks::WhenWanted, findings);
    Rollout {
        bake_seconds: policy.bake.map_or(0, Duration::seconds),
        unattended: policy.unattended.iter().map(unattended).collect(),
        checks: unit.checks.clone(),
        ..of_same(&unit.id, unit.workload.clone(), Driver::Restart, groups)
    }
}

/// Pods that go while nothing of what makes them changes, so that others come in their place: there are as many as before,
/// and there is nothing to go back to.
pub(super) fn of_same(
    unit: &UnitId,
    workload: ObjectRef,
    driver: Driver,
    groups: Vec<Group>,
) -> Rollout {
    let total = groups.last().map_or(0, |group| group.cumulative);
    Rollout {
        unit: unit.clone(),
        workload,
        driver,
        replicas_before: total,
        replicas: total,
        groups,
        bake_seconds: 0,
        on_failure: OnFailure::Pause,
        unattended: Vec::new(),
        checks: Vec::new(),
        autoscalers: Vec::new(),
    }
}

fn driver(desired: &DesiredObject) -> Driver {
    match desired.reference.kind.as_str() {
        "StatefulSet" => Driver::StatefulSet,
        "DaemonSet" => Driver::DaemonSet,
        // All pods go before the first new one comes: there is nothing to group.
        "Deployment" if desired.body().text("/spec/strategy/type") == "Recreate" => Driver::Whole,
        "Deployment" => Driver::Deployment,
        _ => Driver::Whole,
    }
}

/// When a person is asked after groups (model.md, "Tasks and limits").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    /// Unless the policy says otherwise.
    Usually,
    /// Only when the policy says so: what comes back was delivered before, and what starts anew is the same.
    WhenWanted,
    /// Not for a correction of drift: it only restores what was approved before.
    Never,
}

/// The groups by policy; where it says nothing, two groups.
fn grouped(
    unit: &Unit,
    total: u32,
    policy: &RolloutPolicy,
    asks: Asks,
    findings: &mut Vec<Finding>,
) -> Vec<Group> {
    let strategy = policy.groups.as_ref().map(strategy).unwrap_or_default();
    let about =
        |finding: Finding| finding.with("product", &unit.id.product).with("app", &unit.id.app);
    let sizes = groups(total, &strategy).unwrap_or_else(|refused| {
        findings.extend(refused.into_iter().map(about));
        vec![total]
    });
    if matches!(strategy, Strategy::Custom { .. }) {
        findings.extend(remarks(&sizes).into_iter().map(about));
    }
    let beta = match asks {
        Asks::Usually => policy.beta.unwrap_or(true),
        Asks::WhenWanted => policy.beta.unwrap_or(false),
        Asks::Never => false,
    };
    let last = sizes.len().saturating_sub(1);
    let asks = |index: usize| {
        let is_covered = match strategy {
            Strategy::Custom { .. } => index == 0,
            Strategy::Recommended | Strategy::One | Strategy::Two | Strategy::EachHost => {
                index < last || last == 0
            }
        };
        beta && is_covered
    };
    let mut cumulative = 0;
    let group = |(index, pods): (usize, &u32)| {
        cumulative += pods;
        Group { pods: *pods, cumulative, confirm: asks(index), nodes: Vec::new() }
    };
    sizes.iter().enumerate().map(group).collect()
}

fn unattended(rule: &policy::UnattendedRule) -> UnattendedRule {
    let scene = match rule.scene {
        policy::Scene::PodStartTimeout => "podStartTimeout",
        policy::Scene::ImagePullSlow => "imagePullSlow",
        policy::Scene::ProviderError => "providerError",
        policy::Scene::CheckFailed => "checkFailed",
    };
    let action = match rule.action {
        policy::UnattendedAction::Retry => "retry",
        policy::UnattendedAction::Skip => "skip",
        policy::UnattendedAction::Cancel => "cancel",
    };
    UnattendedRule {
        scene: scene.to_owned(),
        action: action.to_owned(),
        attempts: rule.attempts.unwrap_or(1),
    }
}
