//! Exact groups on stock Kubernetes: the form of a workload while groups are open (waves.md, "Drivers").
//!
//! Nothing here asks what was done before: form and pods to move follow from the desired object, the live one and the
//! number of pods that may be new.

use serde_json::{Value, json};

use crate::autoscaler;
use crate::desired::away_at_once;
use crate::health::is_observed;
use crate::ignored;
use crate::object::{Object, REVISION};
use crate::plan::Driver;
use crate::pod::Pod;

/// `minReadySeconds` while the gate of a Deployment holds: no new pod ever counts as available, so that the controller
/// replaces `maxUnavailable` pods and stops. Below [`GATE_DEADLINE`], as the API demands.
pub const GATE_READY_SECONDS: i64 = 1_000_000_000;
/// `progressDeadlineSeconds` while the gate holds.
pub const GATE_DEADLINE: i64 = 2_000_000_000;

/// The revision of a workload's template.
pub fn revision(workload: &Object) -> &str {
    workload
        .get("/spec/template/metadata/annotations")
        .and_then(|annotations| annotations.get(REVISION))
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The form in which the workload stands while `cumulative` of `total` pods may be new.
pub fn form(
    driver: Driver,
    desired: &Object,
    live: Option<&Object>,
    total: u32,
    cumulative: u32,
) -> Object {
    let mut object = desired.clone();
    if matches!(driver, Driver::StatefulSet | Driver::Deployment) {
        // Groups are of a number that stays, whoever sets it before and after.
        ignored::take_back(&mut object, autoscaler::REPLICAS);
    }
    match driver {
        Driver::Whole | Driver::DaemonSet | Driver::Restart | Driver::Drain => {}
        Driver::StatefulSet => {
            // The new template comes with every ordinal held back: the controller must know the new revision before
            // the first pod may have it.
            let knows = live.is_some_and(|live| revision(live) == revision(desired));
            let partition = if knows { total.saturating_sub(cumulative) } else { total };
            object.set(&["spec", "replicas"], json!(total));
            object.set(&["spec", "updateStrategy", "type"], json!("RollingUpdate"));
            object.set(&["spec", "updateStrategy", "rollingUpdate", "partition"], json!(partition));
        }
        Driver::Deployment => {
            object.set(&["spec", "replicas"], json!(total));
            object.set(&["spec", "minReadySeconds"], json!(GATE_READY_SECONDS));
            object.set(&["spec", "progressDeadlineSeconds"], json!(GATE_DEADLINE));
            let strategy = json!({
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 0, "maxUnavailable": cumulative},
            });
            object.set(&["spec", "strategy"], strategy);
        }
    }
    object
}

/// A label that no node has: pods that ask for it run nowhere.
const NO_NODE: &str = "tidegate.dev/offline";

/// The form in which a workload keeps everything but its pods: none are wanted, those of a `DaemonSet` fit no node, a `CronJob` starts
/// none. An autoscaler leaves a workload of no pods alone (Kubernetes, "Horizontal Pod Autoscaling").
pub fn offline(workload: &Object) -> Object {
    let mut object = workload.clone();
    match object.kind() {
        "DaemonSet" => {
            let path = ["spec", "template", "spec", "nodeSelector", NO_NODE];
            object.set(&path, json!("true"));
        }
        "CronJob" => object.set(&["spec", "suspend"], json!(true)),
        _ => object.set(&["spec", "replicas"], json!(0)),
    }
    object
}

/// Whether a workload is in that form.
pub fn is_offline(live: &Object) -> bool {
    match live.kind() {
        "DaemonSet" => live
            .get("/spec/template/spec/nodeSelector")
            .is_some_and(|selector| selector.get(NO_NODE).is_some()),
        "CronJob" => live.get("/spec/suspend") == Some(&Value::Bool(true)),
        _ => live.integer("/spec/replicas") == Some(0),
    }
}

/// How many pods of a Deployment may be new just now, while the first `cumulative` of `total` may be.
///
/// Its controller takes old pods away together, up to `maxUnavailable`, and knows nothing of disruption budgets. So the gate
/// opens as far as the budget lets pods be away, and further with each new pod that is ready. Old pods that are not ready
/// cost nothing: the controller takes them first.
pub fn widened(
    desired: &Object,
    live: Option<&Object>,
    pods: &[Pod],
    total: u32,
    cumulative: u32,
) -> u32 {
    let wanted = revision(desired);
    let there = || pods.iter().filter(|pod| !pod.is_terminating);
    let count = |those: &dyn Fn(&Pod) -> bool| {
        u32::try_from(there().filter(|pod| those(pod)).count()).unwrap_or(u32::MAX)
    };
    let new = count(&|pod| pod.revision == wanted);
    let lame = count(&|pod| pod.revision != wanted && !pod.is_ready());
    let floor = total.saturating_sub(away_at_once(total));
    let spare = count(&Pod::is_ready).saturating_sub(floor);
    // What was opened stays open: the controller may be about to use it.
    let is_gated =
        |live: &&Object| live.integer("/spec/minReadySeconds") == Some(GATE_READY_SECONDS);
    let own = live.filter(|live| revision(live) == wanted).filter(is_gated);
    let opened = own.and_then(|live| live.integer("/spec/strategy/rollingUpdate/maxUnavailable"));
    let opened = opened.and_then(|it| u32::try_from(it).ok()).unwrap_or_default();
    // At least one, whatever the budget says: else a workload that is not well could never be mended.
    (new + lame + spare).max(opened).max(1).min(cumulative)
}

/// The fields that forms decide, as conflicts name them: a partition or gate that somebody drops is put back at once. In
/// its final form the workload takes nobody's replicas.
pub fn decided(is_final: bool) -> &'static [&'static str] {
    const DECIDED: [&str; 5] = [
        ".spec.replicas",
        ".spec.updateStrategy",
        ".spec.strategy",
        ".spec.minReadySeconds",
        ".spec.progressDeadlineSeconds",
    ];
    match DECIDED.split_first() {
        Some((_, gates)) if is_final => gates,
        Some(_) | None => &DECIDED,
    }
}

/// Whether the live workload already has this form, in what the driver decides.
pub fn is_in_place(live: &Object, form: &Object) -> bool {
    const DECIDED: [&str; 6] = [
        "/spec/replicas",
        "/spec/updateStrategy/type",
        "/spec/updateStrategy/rollingUpdate/partition",
        "/spec/minReadySeconds",
        "/spec/strategy/rollingUpdate/maxSurge",
        "/spec/strategy/rollingUpdate/maxUnavailable",
    ];
    // A server leaves out numbers that are zero and optional, such as the `minReadySeconds` of a DaemonSet.
    let says = |pointer: &str, wanted: &Value| match live.get(pointer) {
        Some(found) => found == wanted,
        None => *wanted == json!(0),
    };
    revision(live) == revision(form)
        && DECIDED
            .iter()
            .all(|pointer| form.get(pointer).is_none_or(|wanted| says(pointer, wanted)))
}

/// The pods that belong to the first `cumulative` of `total`: those that may and must be new. `total` is how many there are
/// to be now; of a DaemonSet the nodes decide.
pub fn opened<'a>(
    driver: Driver,
    pods: &'a [Pod],
    wanted: &str,
    total: u32,
    cumulative: u32,
) -> Vec<&'a Pod> {
    match driver {
        Driver::Whole | Driver::Restart | Driver::Drain => {
            pods.iter().filter(|pod| pod.revision == wanted).collect()
        }
        Driver::StatefulSet => {
            let first = total.saturating_sub(cumulative);
            let is_opened = |pod: &&Pod| pod.ordinal.is_some_and(|it| it >= first && it < total);
            pods.iter().filter(is_opened).collect()
        }
        // Which pods the controller replaces is its own choice; those that are new are the opened ones.
        Driver::Deployment => {
            pods.iter().filter(|pod| pod.revision == wanted && !pod.is_terminating).collect()
        }
        Driver::DaemonSet => {
            let (new, mut old): (Vec<&Pod>, Vec<&Pod>) = pods
                .iter()
                .filter(|pod| !pod.is_terminating)
                .partition(|pod| pod.revision == wanted);
            // A node whose pod is on its way out, or not made again yet, has had its turn: only what is left of the group
            // is taken from the nodes that come next.
            let there = u32::try_from(new.len() + old.len()).unwrap_or(u32::MAX);
            let changed = u32::try_from(new.len()).unwrap_or(u32::MAX);
            let between = total.saturating_sub(there);
            let left = cumulative.saturating_sub(changed).saturating_sub(between);
            old.sort_by(|left, right| left.node.cmp(&right.node));
            old.truncate(left as usize);
            new.into_iter().chain(old).collect()
        }
    }
}

/// Old pods of the opened ones that the agent itself must move, because the controller would not, or only one by one.
///
/// A set whose pods change in order is left to its controller, but for pods that are not ready: the controller would wait for
/// them for ever, though they are to be replaced (Kubernetes, "`StatefulSets`", "Forced rollback").
pub fn to_evict<'a>(
    driver: Driver,
    live: &Object,
    opened: &[&'a Pod],
    wanted: &str,
) -> Vec<&'a Pod> {
    // Before the controller has seen the new template and partition, an evicted pod would come back old.
    if !is_observed(live) {
        return Vec::new();
    }
    let is_parallel = live.text("/spec/podManagementPolicy") == "Parallel";
    let is_ours_to_move = |pod: &Pod| match driver {
        Driver::Whole | Driver::Restart | Driver::Drain | Driver::Deployment => false,
        Driver::StatefulSet => is_parallel || !pod.is_ready(),
        Driver::DaemonSet => true,
    };
    let is_old = |pod: &Pod| pod.revision != wanted && !pod.is_terminating;
    opened.iter().filter(|pod| is_old(pod) && is_ours_to_move(pod)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stateful_set(revision: &str, partition: u32) -> Object {
        Object::new(json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": {"name": "web", "generation": 2},
            "spec": {
                "replicas": 4, "podManagementPolicy": "Parallel",
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}},
                "template": {"metadata": {"annotations": {REVISION: revision}}},
            },
            "status": {"observedGeneration": 2},
        }))
    }

    fn pod(name: &str, revision: &str) -> Pod {
        Pod::of(&Object::new(
            json!({"metadata": {"name": name, "annotations": {REVISION: revision}}}),
        ))
    }

    #[test]
    fn a_new_template_comes_with_every_ordinal_held_back() {
        let desired = stateful_set("new", 0);
        let first = form(Driver::StatefulSet, &desired, Some(&stateful_set("old", 0)), 4, 1);
        assert_eq!(first.integer("/spec/updateStrategy/rollingUpdate/partition"), Some(4));
        let second = form(Driver::StatefulSet, &desired, Some(&first), 4, 1);
        assert_eq!(second.integer("/spec/updateStrategy/rollingUpdate/partition"), Some(3));
        assert!(!is_in_place(&first, &second));
        assert!(is_in_place(&second, &second));
    }

    #[test]
    fn only_old_pods_of_the_opened_ordinals_are_moved() {
        let pods = [pod("web-0", "old"), pod("web-2", "old"), pod("web-3", "new")];
        let opened = opened(Driver::StatefulSet, &pods, "new", 4, 2);
        let moved = to_evict(Driver::StatefulSet, &stateful_set("new", 2), &opened, "new");
        assert_eq!(moved.iter().map(|pod| pod.name.as_str()).collect::<Vec<_>>(), ["web-2"]);
    }

    #[test]
    fn what_a_server_leaves_out_is_in_place() {
        let template = json!({"metadata": {"annotations": {REVISION: "new"}}});
        let desired = Object::new(json!({"spec": {"minReadySeconds": 0, "template": template}}));
        let live = Object::new(json!({"spec": {"template": template}}));
        let form = form(Driver::DaemonSet, &desired, None, 3, 1);
        assert!(is_in_place(&live, &form));
        let held = Object::new(json!({"spec": {"minReadySeconds": 5, "template": template}}));
        assert!(!is_in_place(&held, &form));
    }

    #[test]
    fn the_next_node_waits_while_a_daemons_pod_is_on_its_way() {
        let on = |node: &str, revision: &str, is_terminating: bool| Pod {
            node: node.to_owned(),
            is_terminating,
            ..pod(node, revision)
        };
        let set = Object::new(
            json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"generation": 1}, "status": {"observedGeneration": 1}}),
        );
        let moved = |pods: &[Pod], cumulative| -> Vec<String> {
            let opened = opened(Driver::DaemonSet, pods, "new", 3, cumulative);
            let moved = to_evict(Driver::DaemonSet, &set, &opened, "new");
            moved.iter().map(|pod| pod.node.clone()).collect()
        };
        let (b, c) = (on("b", "old", false), on("c", "old", false));
        let first = [on("a", "old", false), b.clone(), c.clone()];
        assert_eq!(moved(&first, 1), ["a"]);
        let leaving = [on("a", "old", true), b.clone(), c.clone()];
        assert_eq!(moved(&leaving, 1), [""; 0]);
        let gone = [b.clone(), c.clone()];
        assert_eq!(moved(&gone, 1), [""; 0]);
        let made = [on("a", "new", false), b.clone(), c.clone()];
        assert_eq!(moved(&made, 1), [""; 0]);
        assert_eq!(moved(&made, 2), ["b"]);
        // The new pod of the first node and the old one that is still going are one node.
        let both = [on("a", "old", true), on("a", "new", false), b, c];
        assert_eq!(moved(&both, 2), ["b"]);
    }

    #[test]
    fn nothing_is_moved_before_the_controller_has_seen_the_change() {
        let mut live = stateful_set("new", 2);
        live.set(&["metadata", "generation"], json!(3));
        let pods = [pod("web-3", "old")];
        let opened = opened(Driver::StatefulSet, &pods, "new", 4, 2);
        assert!(to_evict(Driver::StatefulSet, &live, &opened, "new").is_empty());
    }

    #[test]
    fn of_an_ordered_set_only_what_its_controller_would_wait_for_is_moved() {
        let ready = |name: &str, revision: &str, is_ready: bool| Pod {
            ready_since: is_ready.then_some(jiff::Timestamp::UNIX_EPOCH),
            ..pod(name, revision)
        };
        let mut live = stateful_set("new", 1);
        let moved = |live: &Object, pods: &[Pod]| -> Vec<String> {
            let opened = opened(Driver::StatefulSet, pods, "new", 4, 3);
            let moved = to_evict(Driver::StatefulSet, live, &opened, "new");
            moved.into_iter().map(|pod| pod.name.clone()).collect()
        };
        let pods = [
            ready("web-0", "older", false),
            ready("web-1", "older", true),
            ready("web-2", "old", false),
            ready("web-3", "new", false),
        ];
        assert_eq!(moved(&live, &pods), ["web-1", "web-2"], "side by side");
        live.set(&["spec", "podManagementPolicy"], json!("OrderedReady"));
        assert_eq!(moved(&live, &pods), ["web-2"], "neither what is not opened, nor what is new");
        let leaving = [Pod { is_terminating: true, ..pods[2].clone() }];
        assert_eq!(moved(&live, &leaving), [""; 0]);
    }

    #[test]
    fn the_gate_of_a_deployment_opens_as_far_as_the_budget_and_then_pod_by_pod() {
        let template = |revision: &str| json!({"metadata": {"annotations": {REVISION: revision}}});
        let desired = Object::new(json!({"spec": {"template": template("new")}}));
        let ready = |revision: &str, is_ready: bool| Pod {
            ready_since: is_ready.then_some(jiff::Timestamp::UNIX_EPOCH),
            ..pod("web", revision)
        };
        let pods = |old: usize, lame: usize, new: usize, ready_new: usize| -> Vec<Pod> {
            let parts = [
                ("old", true, old),
                ("old", false, lame),
                ("new", false, new),
                ("new", true, ready_new),
            ];
            parts.into_iter().flat_map(|(it, is_ready, n)| vec![ready(it, is_ready); n]).collect()
        };
        let open = |pods: &[Pod], cumulative| widened(&desired, None, pods, 20, cumulative);
        assert_eq!(open(&pods(20, 0, 0, 0), 1), 1);
        assert_eq!(open(&pods(20, 0, 0, 0), 20), 10, "half may be away");
        assert_eq!(open(&pods(10, 0, 10, 0), 20), 10, "until one is ready");
        assert_eq!(open(&pods(10, 0, 7, 3), 20), 13);
        assert_eq!(open(&pods(0, 20, 0, 0), 20), 20, "what is not well costs nothing");
        assert_eq!(open(&pods(10, 4, 6, 0), 20), 10, "and is taken first");
        assert_eq!(open(&[], 20), 1);
        // What was opened stays open while its pods come and go.
        let gated = form(Driver::Deployment, &desired, None, 20, 10);
        let between = pods(10, 0, 2, 0);
        assert_eq!(widened(&desired, Some(&gated), &between, 20, 20), 10);
    }

    #[test]
    fn the_gate_of_a_deployment_keeps_the_apis_own_rule() {
        let desired = Object::new(json!({"spec": {"replicas": 10}}));
        let gated = form(Driver::Deployment, &desired, None, 10, 4);
        assert!(
            gated.integer("/spec/minReadySeconds") < gated.integer("/spec/progressDeadlineSeconds")
        );
        assert_eq!(gated.integer("/spec/strategy/rollingUpdate/maxUnavailable"), Some(4));
    }
}
