//! The scheduler: a node for every pod, spread out, or a reason why none will do.

mod affinity;
mod place;
mod volume;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::kubelet::BOUND_AT;
use super::node::{self, Room, UNSCHEDULABLE};
use super::object::{
    at, condition, controller_reference, flag, is_terminating, items, label, name, namespace, set,
    set_condition, set_entry, text,
};
use super::pass::Pass;
use super::pod::phase;
use crate::control::ObjectKey;
use crate::store::Index;
use affinity::Neighbourhood;
use place::Place;
use volume::Storage;

pub(super) use place::Places;

/// Looks for nodes for all pods that have none, if anything has changed that matters to them.
pub(super) fn reconcile(pass: &mut Pass<'_>) {
    if !pass.is_schedulers_turn() {
        return;
    }
    let is_waiting = |pod: &Arc<Value>| {
        !is_terminating(pod)
            && !matches!(phase(pod), "Succeeded" | "Failed")
            && matches!(text(pod, "spec/schedulerName"), "" | "default-scheduler")
    };
    let mut waiting = pass.indexed(Index::Unscheduled);
    waiting.retain(is_waiting);
    if waiting.is_empty() {
        return;
    }
    // Oldest first, as in the real queue, so that one that cannot be placed does not starve.
    waiting.sort_by(|one, other| {
        let created = |pod| text(pod, "metadata/creationTimestamp");
        created(one).cmp(created(other))
    });
    let mut places = std::mem::take(pass.places());
    let mut tried: Vec<(String, ObjectKey)> = Vec::new();
    for pod in &waiting {
        if !items(pod, "spec/schedulingGates").is_empty() {
            let message = "Scheduling is blocked due to non-empty scheduling gates";
            refuse(pass, pod, "SchedulingGated", message);
            continue;
        }
        match choose(pass, pod, &places) {
            Ok((node, storage)) => {
                let mut placed = Value::clone(pod);
                set(&mut placed, "spec/nodeName", json!(node));
                let key = ObjectKey::new("", "Pod", namespace(pod), name(pod));
                places.take(&node, &key, &Arc::new(placed.clone()));
                if storage.is_bound() {
                    bind(pass, pod, placed);
                } else {
                    storage.select(pass, &node);
                }
                tried.push((node, key));
            }
            Err(message) => refuse(pass, pod, "Unschedulable", &message),
        }
    }
    // What comes of it follows with the changes.
    for (node, key) in tried {
        places.let_go(&node, &key);
    }
    *pass.places() = places;
}

/// The place for a pod, or the sentence that says why there is none.
fn choose(pass: &mut Pass<'_>, pod: &Value, places: &Places) -> Result<(String, Storage), String> {
    let all = places.iter().count();
    let storage = Storage::of(pass, pod).map_err(|reason| {
        format!(
            "0/{all} nodes are available: {reason}. preemption: 0/{all} nodes are available: \
             {all} Preemption is not helpful for scheduling."
        )
    })?;
    let neighbourhood = Neighbourhood::of(pod, places);
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let mut best: Option<&Place> = None;
    let mut lacking_room = 0;
    let wanted = Room::of_pod(pod);
    for place in places.iter() {
        match fits(pod, wanted, place, &storage, &neighbourhood) {
            Ok(()) => {
                let is_better =
                    best.is_none_or(|held| neighbourhood.compare(place, held) == Ordering::Less);
                if is_better {
                    best = Some(place);
                }
            }
            Err(found) => {
                let only_room = found
                    .iter()
                    .all(|why| why.starts_with("Insufficient") || why == "Too many pods");
                lacking_room += usize::from(only_room);
                for reason in found {
                    *reasons.entry(reason).or_default() += 1;
                }
            }
        }
    }
    if let Some(place) = best {
        return Ok((name(&place.node).to_owned(), storage));
    }
    if all == 0 {
        return Err("no nodes available to schedule pods".to_owned());
    }
    let mut listed: Vec<String> =
        reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    listed.sort();
    let mut preemption = Vec::new();
    if all > lacking_room {
        let count = all - lacking_room;
        preemption.push(format!("{count} Preemption is not helpful for scheduling"));
    }
    if lacking_room > 0 {
        preemption.push(format!("{lacking_room} No preemption victims found for incoming pod"));
    }
    preemption.sort();
    Err(format!(
        "0/{all} nodes are available: {}. preemption: 0/{all} nodes are available: {}.",
        listed.join(", "),
        preemption.join(", ")
    ))
}

/// Whether a place takes the pod; else the reasons of the first rule that refuses it.
fn fits(
    pod: &Value,
    wanted: Room,
    place: &Place,
    storage: &Storage,
    neighbourhood: &Neighbourhood<'_>,
) -> Result<(), Vec<String>> {
    let one = |reason: &str| Err(vec![reason.to_owned()]);
    let tolerations = items(pod, "spec/tolerations");
    let cordon = json!({"key": UNSCHEDULABLE, "effect": "NoSchedule"});
    if flag(&place.node, "spec/unschedulable") && node::toleration(tolerations, &cordon).is_none() {
        return one("node(s) were unschedulable");
    }
    if !node::suits(&place.node, at(pod, "spec")) {
        return one("node(s) didn't match Pod's node affinity/selector");
    }
    let effects = ["NoSchedule", "NoExecute"];
    if let Some(taint) = node::untolerated(&place.node, tolerations, &effects) {
        let (key, value) = (text(taint, "key"), text(taint, "value"));
        return Err(vec![format!("node(s) had untolerated taint {{{key}: {value}}}")]);
    }
    if let Some(key) = node::health_taint(&place.node) {
        // The node's own taint follows in the next round.
        let taint = json!({"key": key, "effect": "NoExecute"});
        let borne = node::toleration(tolerations, &taint);
        if borne.is_none_or(|borne| !at(borne, "tolerationSeconds").is_null()) {
            return Err(vec![format!("node(s) had untolerated taint {{{key}: }}")]);
        }
    }
    let free = place.free();
    let mut lacking = Vec::new();
    if wanted.pods > free.pods {
        lacking.push("Too many pods".to_owned());
    }
    if wanted.cpu > 0 && wanted.cpu > free.cpu {
        lacking.push("Insufficient cpu".to_owned());
    }
    if wanted.memory > 0 && wanted.memory > free.memory {
        lacking.push("Insufficient memory".to_owned());
    }
    if !lacking.is_empty() {
        return Err(lacking);
    }
    if !storage.reaches(&place.node) {
        return one("node(s) had volume node affinity conflict");
    }
    neighbourhood.admits(place).map_err(|reason| vec![reason.to_owned()])
}

fn bind(pass: &mut Pass<'_>, pod: &Value, mut placed: Value) {
    let node = text(&placed, "spec/nodeName").to_owned();
    let message = format!("Successfully assigned {}/{} to {node}", namespace(pod), name(pod));
    pass.note(pod, "Scheduled", message);
    set_entry(&mut placed, "metadata/annotations", BOUND_AT, &pass.now.to_string());
    pass.update(placed);
}

fn refuse(pass: &mut Pass<'_>, pod: &Value, reason: &str, message: &str) {
    let mut status = at(pod, "status").clone();
    set(&mut status, "phase", json!("Pending"));
    let held = condition(&status, "PodScheduled");
    let is_known = held.is_some_and(|held| text(held, "message") == message);
    set_condition(&mut status, pass.now, "PodScheduled", "False", (reason, message));
    pass.update_status(pod, status);
    if !is_known && reason == "Unschedulable" {
        pass.warn(pod, "FailedScheduling", message);
    }
}

/// What makes pods siblings, to be spread: their controller, and for replica sets also the other templates' pods.
fn family(pod: &Value) -> Option<String> {
    let owner = controller_reference(pod)?;
    let hash = label(pod, "pod-template-hash");
    let called = text(owner, "name");
    let stem = called.strip_suffix(hash).filter(|_| !hash.is_empty()).unwrap_or(called);
    Some(format!("{}/{}/{stem}", namespace(pod), text(owner, "kind")))
}
