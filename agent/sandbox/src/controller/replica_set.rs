//! Replica sets: as many pods of one template as asked for.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::object::{
    annotation, at, condition, is_terminating, items, name, number, remove_condition,
    selects_exactly, set, set_condition, text, time,
};
use super::pass::{Pass, generation};
use super::pod::{self, from_template, is_active, is_available, is_ready, refusal};

/// The most pods that one replica set creates or deletes at once.
const BURST: i64 = 500;

/// The replica sets whose turn it is.
pub(super) fn reconcile(pass: &mut Pass<'_>) {
    while let Some(set) = pass.next("apps", "ReplicaSet") {
        replica_set(pass, &set);
    }
}

fn replica_set(pass: &mut Pass<'_>, owner: &Value) {
    let mut pods = pass.claim("Pod", owner, is_active);
    pods.retain(|pod| is_active(pod));
    let mut failure = None;
    if !is_terminating(owner) {
        let wanted = number(owner, "spec/replicas").unwrap_or(1);
        let held = i64::try_from(pods.len()).unwrap_or(i64::MAX);
        if held < wanted {
            failure = create(pass, owner, (wanted - held).min(BURST));
        } else if held > wanted {
            delete(pass, owner, &pods, (held - wanted).min(BURST));
        }
    }
    let status = status(pass, owner, &pods, failure);
    pass.update_status(owner, status);
}

fn create(pass: &mut Pass<'_>, owner: &Value, count: i64) -> Option<String> {
    let template = from_template(at(owner, "spec/template"), owner);
    for (created, fresh) in (0..).zip(pod::fresh_names(pass, owner, name(owner), count)) {
        let mut pod = template.clone();
        set(&mut pod, "metadata/generateName", json!(format!("{}-", name(owner))));
        set(&mut pod, "metadata/name", json!(fresh));
        if let Some(refusal) = refusal(pass, &pod, created) {
            if condition(at(owner, "status"), "ReplicaFailure").is_none() {
                pass.warn(owner, "FailedCreate", format!("Error creating: {refusal}"));
            }
            // The name differs from try to try; the condition would never come to rest with it.
            return Some(
                refusal.replace(&format!("\"{fresh}\""), &format!("\"{}-\"", name(owner))),
            );
        }
        pass.note(owner, "SuccessfulCreate", format!("Created pod: {fresh}"));
        pass.create(pod);
    }
    None
}

fn delete(pass: &mut Pass<'_>, owner: &Value, pods: &[Arc<Value>], count: i64) {
    let mut neighbours: BTreeMap<String, i64> = BTreeMap::new();
    for pod in related_pods(pass, owner) {
        *neighbours.entry(text(&pod, "spec/nodeName").to_owned()).or_default() += 1;
    }
    let mut ranked: Vec<&Arc<Value>> = pods.iter().collect();
    ranked.sort_by_cached_key(|pod| deletion_rank(pod, &neighbours));
    for pod in ranked.into_iter().take(usize::try_from(count).unwrap_or(0)) {
        pass.note(owner, "SuccessfulDelete", format!("Deleted pod: {}", name(pod)));
        pass.terminate(pod);
    }
}

/// The active pods of all replica sets of the same owner, so that scaling in evens out the nodes.
fn related_pods(pass: &mut Pass<'_>, owner: &Value) -> Vec<Arc<Value>> {
    let Some(parent) = super::object::controller_reference(owner) else {
        return pass.held("Pod", owner);
    };
    let mut pods = Vec::new();
    for sibling in pass.held_by("ReplicaSet", text(parent, "uid")) {
        pods.extend(pass.held("Pod", &sibling).into_iter().filter(|pod| is_active(pod)));
    }
    pods
}

type DeletionRank =
    (bool, u8, bool, i64, Reverse<i64>, Reverse<i64>, Reverse<i64>, Reverse<i64>, String);

/// Which pod goes first, as in Kubernetes: unassigned, pending, not ready, cheap, crowded, ready for a shorter time,
/// restarted more often, younger.
fn deletion_rank(pod: &Value, neighbours: &BTreeMap<String, i64>) -> DeletionRank {
    let node = text(pod, "spec/nodeName");
    let phase = match pod::phase(pod) {
        "Running" => 2,
        "Unknown" => 1,
        _ => 0,
    };
    let cost = annotation(pod, "controller.kubernetes.io/pod-deletion-cost")
        .and_then(|cost| cost.parse().ok())
        .unwrap_or(0);
    let seconds = |time: Option<jiff::Timestamp>| time.map_or(0, jiff::Timestamp::as_second);
    let ready_since = condition(at(pod, "status"), "Ready")
        .map_or(0, |ready| seconds(time(ready, "lastTransitionTime")));
    (
        !node.is_empty(),
        phase,
        is_ready(pod),
        cost,
        Reverse(neighbours.get(node).copied().unwrap_or(0)),
        Reverse(ready_since),
        Reverse(pod::restarts(pod)),
        Reverse(seconds(time(pod, "metadata/creationTimestamp"))),
        name(pod).to_owned(),
    )
}

fn status(
    pass: &mut Pass<'_>,
    owner: &Value,
    pods: &[Arc<Value>],
    failure: Option<String>,
) -> Value {
    let min_ready = number(owner, "spec/minReadySeconds").unwrap_or(0);
    let labels = at(owner, "spec/template/metadata/labels");
    let (mut labeled, mut ready, mut available) = (0, 0, 0);
    for pod in pods {
        labeled += i64::from(selects_exactly(labels, at(pod, "metadata/labels")));
        ready += i64::from(is_ready(pod));
        available += i64::from(is_available(pass, pod, min_ready));
    }
    let mut status = json!({
        "replicas": pods.len(),
        "observedGeneration": generation(owner),
    });
    for (field, count) in [
        ("fullyLabeledReplicas", labeled),
        ("readyReplicas", ready),
        ("availableReplicas", available),
    ] {
        if count > 0 {
            set(&mut status, field, json!(count));
        }
    }
    let held = items(owner, "status/conditions");
    if !held.is_empty() {
        set(&mut status, "conditions", json!(held));
    }
    match failure {
        Some(message) if condition(&status, "ReplicaFailure").is_none() => {
            let cause = ("FailedCreate", message.as_str());
            set_condition(&mut status, pass.now, "ReplicaFailure", "True", cause);
        }
        Some(_) => {}
        None => remove_condition(&mut status, "ReplicaFailure"),
    }
    status
}

/// The replica sets that a Deployment controls.
pub(super) fn of_deployment(pass: &mut Pass<'_>, deployment: &Value) -> Vec<Arc<Value>> {
    let mut sets = pass.claim("ReplicaSet", deployment, |_| true);
    sets.sort_by_cached_key(|set| {
        (text(set, "metadata/creationTimestamp").to_owned(), name(set).to_owned())
    });
    sets
}

/// The pods of a namespace that replica sets in `sets` control.
pub(super) fn pods_of(pass: &mut Pass<'_>, sets: &[Arc<Value>]) -> Vec<Arc<Value>> {
    let mut pods = Vec::new();
    for set in sets {
        pods.extend(pass.held("Pod", set));
    }
    pods
}
