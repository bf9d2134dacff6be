//! Daemon sets: one pod on every node that suits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::node;
use super::object::{
    at, is_terminating, items, label, name, namespace, number, scaled, set, set_entry, text,
};
use super::pass::{Pass, generation};
use super::pod::{self, from_template, is_available, is_ready, phase};
use super::revision::{self, POD_REVISION};

/// What a daemon pod bears without saying so: it goes where others are kept away.
const TOLERATED: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];

/// The daemon sets whose turn it is.
pub(super) fn reconcile(pass: &mut Pass<'_>) {
    while let Some(owner) = pass.next("apps", "DaemonSet") {
        daemon_set(pass, &owner);
    }
}

/// One node with the set's pods that are on it, or meant for it, the oldest first.
struct Post {
    node: Arc<Value>,
    pods: Vec<Arc<Value>>,
    is_wanted: bool,
    /// Pods that are there may stay although none would be put there.
    may_stay: bool,
}

/// A set that is being deleted is left alone, as by the real controller: its history may be gone already, and would be
/// made anew without an end.
fn daemon_set(pass: &mut Pass<'_>, owner: &Value) {
    if is_terminating(owner) {
        return;
    }
    let history = revision::history(pass, owner, POD_REVISION);
    let hash = label(&history.update, POD_REVISION).to_owned();
    let (posts, strays) = posts(pass, owner);
    let mut leaving: BTreeSet<String> = BTreeSet::new();
    for pod in &strays {
        remove(pass, owner, pod, &mut leaving);
    }
    for post in &posts {
        man(pass, owner, post, &hash, &mut leaving);
    }
    if text(owner, "spec/updateStrategy/type") != "OnDelete" {
        roll(pass, owner, &posts, &hash, &mut leaving);
    }
    let status = status(pass, owner, &posts, &hash);
    pass.update_status(owner, status);
    let pods = posts.iter().flat_map(|post| &post.pods);
    let hashes: BTreeSet<&str> = pods.map(|pod| label(pod, POD_REVISION)).collect();
    let live: BTreeSet<&str> = history
        .all
        .iter()
        .filter(|revision| hashes.contains(label(revision, POD_REVISION)))
        .map(|revision| name(revision))
        .chain([name(&history.update)])
        .collect();
    revision::truncate(pass, owner, &history.all, &live);
}

/// The nodes and their pods, and the pods whose node is not there.
fn posts(pass: &mut Pass<'_>, owner: &Value) -> (Vec<Post>, Vec<Arc<Value>>) {
    let mut by_node: BTreeMap<String, Vec<Arc<Value>>> = BTreeMap::new();
    for pod in pass.claim("Pod", owner, |_| true) {
        by_node.entry(target(&pod).to_owned()).or_default().push(pod);
    }
    let template = at(owner, "spec/template/spec");
    let tolerations = tolerations(template);
    let mut posts = Vec::new();
    for node in pass.list("", "Node") {
        let mut pods = by_node.remove(name(&node)).unwrap_or_default();
        pods.sort_by_cached_key(|pod| {
            (text(pod, "metadata/creationTimestamp").to_owned(), name(pod).to_owned())
        });
        let pinned = text(template, "nodeName");
        let suits = (pinned.is_empty() || pinned == name(&node)) && node::suits(&node, template);
        let is_kept_away =
            |effects: &[&str]| node::untolerated(&node, &tolerations, effects).is_some();
        posts.push(Post {
            is_wanted: suits && !is_kept_away(&["NoSchedule", "NoExecute"]),
            may_stay: suits && !is_kept_away(&["NoExecute"]),
            pods,
            node,
        });
    }
    (posts, by_node.into_values().flatten().collect())
}

/// The node that a pod is on or is meant for.
fn target(pod: &Value) -> &str {
    let bound = text(pod, "spec/nodeName");
    if !bound.is_empty() {
        return bound;
    }
    let affinity = "spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution";
    items(at(pod, affinity), "nodeSelectorTerms")
        .iter()
        .flat_map(|term| items(term, "matchFields"))
        .filter(|rule| text(rule, "key") == "metadata.name")
        .find_map(|rule| items(rule, "values").first()?.as_str())
        .unwrap_or_default()
}

fn tolerations(template: &Value) -> Vec<Value> {
    let mut all = items(template, "tolerations").to_vec();
    for (key, effect) in TOLERATED {
        let own = json!({"key": key, "operator": "Exists", "effect": effect});
        if !all.contains(&own) {
            all.push(own);
        }
    }
    all
}

/// Makes the pod of a node that lacks one; removes failed pods, surplus pods and pods that may not be there.
fn man(
    pass: &mut Pass<'_>,
    owner: &Value,
    post: &Post,
    hash: &str,
    leaving: &mut BTreeSet<String>,
) {
    if post.pods.is_empty() {
        if post.is_wanted {
            create(pass, owner, &post.node, hash);
        }
        return;
    }
    if !post.is_wanted && !post.may_stay {
        for pod in &post.pods {
            remove(pass, owner, pod, leaving);
        }
        return;
    }
    let present: Vec<&Arc<Value>> = post.pods.iter().filter(|pod| !is_terminating(pod)).collect();
    for failed in present.iter().filter(|pod| matches!(phase(pod), "Failed" | "Succeeded")) {
        let message = format!(
            "Found failed daemon pod {}/{} on node {}, will try to kill it",
            namespace(failed),
            name(failed),
            name(&post.node)
        );
        pass.warn(owner, "FailedDaemonPod", message);
        remove(pass, owner, failed, leaving);
    }
    let alive = present.iter().filter(|pod| !matches!(phase(pod), "Failed" | "Succeeded"));
    for surplus in alive.skip(1) {
        remove(pass, owner, surplus, leaving);
    }
}

fn create(pass: &mut Pass<'_>, owner: &Value, node: &Value, hash: &str) {
    let mut pod = from_template(at(owner, "spec/template"), owner);
    let spec_tolerations = tolerations(at(&pod, "spec"));
    set(&mut pod, "spec/tolerations", Value::Array(spec_tolerations));
    let rule = json!({"key": "metadata.name", "operator": "In", "values": [name(node)]});
    pin(&mut pod, &rule);
    set_entry(&mut pod, "metadata/labels", POD_REVISION, hash);
    set(&mut pod, "metadata/generateName", json!(format!("{}-", name(owner))));
    // The node is part of the name's digest: pods for several nodes are made in one round.
    let fresh = pod::fresh_names(pass, owner, name(owner), 1).pop().unwrap_or_default();
    let tail = super::object::word(&[&fresh, name(node)], 5);
    set(&mut pod, "metadata/name", json!(format!("{}-{tail}", name(owner))));
    if let Some(refusal) = pod::refusal(pass, &pod, 0) {
        if at(owner, "status/observedGeneration") != &generation(owner) {
            pass.warn(owner, "FailedCreate", format!("Error creating: {refusal}"));
        }
        return;
    }
    pass.note(owner, "SuccessfulCreate", format!("Created pod: {}", name(&pod)));
    pass.create(pod);
}

/// Adds a rule to every term of the pod's required node affinity, or makes one.
fn pin(pod: &mut Value, rule: &Value) {
    let path = "spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
    let mut terms = items(pod, path).to_vec();
    if terms.is_empty() {
        terms.push(json!({}));
    }
    for term in &mut terms {
        set(term, "matchFields", json!([rule]));
    }
    set(pod, path, Value::Array(terms));
}

fn remove(pass: &mut Pass<'_>, owner: &Value, pod: &Value, leaving: &mut BTreeSet<String>) {
    if !is_terminating(pod) && leaving.insert(name(pod).to_owned()) {
        pass.note(owner, "SuccessfulDelete", format!("Deleted pod: {}", name(pod)));
        pass.terminate(pod);
    }
}

/// Replaces old pods: those that are not available at once, the others as far as `maxUnavailable` goes.
fn roll(
    pass: &mut Pass<'_>,
    owner: &Value,
    posts: &[Post],
    hash: &str,
    leaving: &mut BTreeSet<String>,
) {
    let min_ready = number(owner, "spec/minReadySeconds").unwrap_or(0);
    let wanted: Vec<&Post> = posts.iter().filter(|post| post.is_wanted).collect();
    let total = i64::try_from(wanted.len()).unwrap_or(0);
    let limit = at(owner, "spec/updateStrategy/rollingUpdate/maxUnavailable");
    let limit = scaled(limit, total, true).unwrap_or(1);
    let mut unavailable = 0;
    for post in &wanted {
        let mut available = false;
        for pod in &post.pods {
            available |= !is_terminating(pod) && is_available(pass, pod, min_ready);
        }
        unavailable += i64::from(!available);
    }
    let mut candidates = Vec::new();
    for pod in posts.iter().flat_map(|post| &post.pods) {
        if label(pod, POD_REVISION) == hash || is_terminating(pod) {
            continue;
        }
        if is_available(pass, pod, min_ready) {
            candidates.push(pod);
        } else {
            remove(pass, owner, pod, leaving);
        }
    }
    let room = usize::try_from(limit - unavailable).unwrap_or(0);
    for pod in candidates.into_iter().take(room) {
        remove(pass, owner, pod, leaving);
    }
}

fn status(pass: &mut Pass<'_>, owner: &Value, posts: &[Post], hash: &str) -> Value {
    let min_ready = number(owner, "spec/minReadySeconds").unwrap_or(0);
    let (mut desired, mut current, mut stray, mut ready, mut available, mut updated) =
        (0, 0, 0, 0, 0, 0);
    for post in posts {
        let held = !post.pods.is_empty();
        if !post.is_wanted {
            stray += i64::from(held);
            continue;
        }
        desired += 1;
        current += i64::from(held);
        let Some(pod) = post.pods.iter().find(|pod| !is_terminating(pod)) else { continue };
        updated += i64::from(label(pod, POD_REVISION) == hash);
        if is_ready(pod) {
            ready += 1;
            available += i64::from(is_available(pass, pod, min_ready));
        }
    }
    let mut status = json!({
        "currentNumberScheduled": current,
        "desiredNumberScheduled": desired,
        "numberMisscheduled": stray,
        "numberReady": ready,
        "observedGeneration": generation(owner),
    });
    for (field, count) in [
        ("updatedNumberScheduled", updated),
        ("numberAvailable", available),
        ("numberUnavailable", desired - available),
    ] {
        if count > 0 {
            set(&mut status, field, json!(count));
        }
    }
    status
}
