//! Disruption budgets: how many pods may go at this moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::object::{
    at, controller_reference, is_terminating, items, name, namespace, number, scaled, selects, set,
    set_condition, text,
};
use super::pass::{Pass, generation};
use super::pod::{is_ready, phase};

/// How long an eviction that was allowed counts although its pod is still there.
const DISRUPTION: SignedDuration = SignedDuration::from_mins(2);

/// Counts for each budget whose turn it is.
pub(super) fn reconcile(pass: &mut Pass<'_>) {
    while let Some(budget) = pass.next("policy", "PodDisruptionBudget") {
        if !is_terminating(&budget) {
            count(pass, &budget);
        }
    }
}

fn count(pass: &mut Pass<'_>, budget: &Value) {
    let selector = at(budget, "spec/selector");
    let mut pods = pass.pods_with(namespace(budget), at(selector, "matchLabels"));
    pods.retain(|pod| {
        selects(selector, at(pod, "metadata/labels"))
            && !matches!(phase(pod), "Succeeded" | "Failed")
    });
    let (expected, desired) = expectation(pass, budget, &pods);
    let disrupted = disrupted(pass, budget, &pods);
    let is_healthy = |pod: &&Arc<Value>| {
        is_ready(pod) && !is_terminating(pod) && disrupted.get(name(pod)).is_none()
    };
    let healthy = i64::try_from(pods.iter().filter(is_healthy).count()).unwrap_or(0);
    let allowed = if expected > 0 { (healthy - desired).max(0) } else { 0 };
    let mut status = json!({
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "disruptionsAllowed": allowed,
        "expectedPods": expected,
        "observedGeneration": generation(budget),
        "conditions": items(budget, "status/conditions"),
    });
    if !disrupted.as_object().is_none_or(serde_json::Map::is_empty) {
        set(&mut status, "disruptedPods", disrupted);
    }
    let (truth, reason) =
        if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    set_condition(&mut status, pass.now, "DisruptionAllowed", truth, (reason, ""));
    let observed = json!({"observedGeneration": generation(budget)});
    if let Some(Value::Array(conditions)) = status.get_mut("conditions") {
        for condition in conditions {
            set(condition, "observedGeneration", at(&observed, "observedGeneration").clone());
        }
    }
    pass.update_status(budget, status);
}

/// How many pods there should be, and how many of them have to be healthy.
fn expectation(pass: &mut Pass<'_>, budget: &Value, pods: &[Arc<Value>]) -> (i64, i64) {
    let most = at(budget, "spec/maxUnavailable");
    let least = at(budget, "spec/minAvailable");
    if let Some(least) = least.as_i64() {
        return (i64::try_from(pods.len()).unwrap_or(0), least);
    }
    let expected = expected_scale(pass, pods);
    if !most.is_null() {
        let most = scaled(most, expected, true).unwrap_or(0);
        return (expected, (expected - most).max(0));
    }
    (expected, scaled(least, expected, true).unwrap_or(1))
}

/// The sum of the sizes of what controls the pods.
fn expected_scale(pass: &mut Pass<'_>, pods: &[Arc<Value>]) -> i64 {
    let mut sizes: BTreeMap<String, i64> = BTreeMap::new();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for pod in pods {
        let Some(owner) = controller_reference(pod) else { continue };
        if !seen.insert(text(owner, "uid")) {
            continue;
        }
        let space = namespace(pod);
        let held = pass.get("apps", text(owner, "kind"), space, text(owner, "name"));
        let Some(mut owner) = held else { continue };
        // A replica set's size changes during a rollout; what counts is that of the Deployment.
        let parent = controller_reference(&owner)
            .and_then(|parent| pass.get("apps", text(parent, "kind"), space, text(parent, "name")));
        if let Some(parent) = parent {
            owner = parent;
        }
        let size = match text(&owner, "kind") {
            "DaemonSet" => number(&owner, "status/desiredNumberScheduled").unwrap_or(0),
            _ => number(&owner, "spec/replicas").unwrap_or(1),
        };
        sizes.insert(super::object::uid(&owner).to_owned(), size);
    }
    sizes.values().sum()
}

/// The evictions that were allowed and whose pods have not begun to go.
fn disrupted(pass: &mut Pass<'_>, budget: &Value, pods: &[Arc<Value>]) -> Value {
    let mut kept = json!({});
    let held = at(budget, "status/disruptedPods");
    for (called, since) in held.as_object().into_iter().flatten() {
        let is_there = pods.iter().any(|pod| name(pod) == called && !is_terminating(pod));
        let since_time = since.as_str().and_then(|since| since.parse().ok());
        let is_recent = since_time.is_some_and(|since| !pass.has_passed(since, DISRUPTION));
        if is_there && is_recent {
            set(&mut kept, called, since.clone());
        }
    }
    kept
}
