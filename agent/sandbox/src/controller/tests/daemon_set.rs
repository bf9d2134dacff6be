//! Daemon sets: one pod a node, replaced within limits, or only when deleted.

use serde_json::{Value, json};

use super::bench::{Bench, workload};
use crate::controller::object::{name, set, text};

fn daemons(nodes: u32, spec: &Value) -> Bench {
    let mut bench = Bench::new(nodes);
    let mut object = workload("DaemonSet", "agent", "agent:1", &json!({}));
    set(&mut object, "spec/updateStrategy/type", json!("RollingUpdate"));
    for (field, value) in spec.as_object().unwrap() {
        set(&mut object, &format!("spec/{field}"), value.clone());
    }
    bench.create(object);
    bench.advance(5.0);
    bench
}

fn counts(bench: &Bench) -> Vec<i64> {
    [
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "numberAvailable",
        "updatedNumberScheduled",
        "numberMisscheduled",
    ]
    .iter()
    .map(|field| bench.count("DaemonSet", "agent", field))
    .collect()
}

#[test]
fn every_node_gets_one_pod_and_then_there_is_rest() {
    let mut bench = daemons(4, &json!({}));
    assert_eq!(counts(&bench), [4, 4, 4, 4, 4, 0]);
    let mut nodes: Vec<String> =
        bench.pods().iter().map(|pod| text(pod, "spec/nodeName").to_owned()).collect();
    nodes.sort();
    assert_eq!(nodes, ["node-1", "node-2", "node-3", "node-4"]);
    bench.advance(600.0);
    assert_eq!(bench.writes, 0);
}

#[test]
fn a_rolling_update_takes_as_many_nodes_as_may_be_unavailable() {
    for (limit, least) in [(json!(1), 3), (json!("50%"), 2), (json!("30%"), 2)] {
        let mut bench = daemons(4, &json!({"updateStrategy/rollingUpdate/maxUnavailable": limit}));
        bench.image("DaemonSet", "agent", "agent:2");
        bench.watch(60.0, |bench| assert!(bench.ready_pods() >= least, "{limit}"));
        assert_eq!(bench.pods_of("agent:2"), 4);
        assert_eq!(counts(&bench), [4, 4, 4, 4, 4, 0]);
    }
}

#[test]
fn a_broken_version_stops_at_the_limit() {
    let mut bench = daemons(4, &json!({}));
    bench.image("DaemonSet", "agent", "agent:never-ready");
    bench.advance(600.0);
    assert_eq!(bench.pods_of("agent:never-ready"), 1);
    assert_eq!(bench.count("DaemonSet", "agent", "numberUnavailable"), 1);
    bench.image("DaemonSet", "agent", "agent:1");
    bench.advance(30.0);
    assert_eq!(bench.pods_of("agent:1"), 4, "the revert replaces the broken pod at once");
    assert_eq!(bench.all("ControllerRevision").len(), 2);
}

#[test]
fn on_delete_waits_for_a_person() {
    let mut bench = daemons(2, &json!({"updateStrategy": {"type": "OnDelete"}}));
    bench.image("DaemonSet", "agent", "agent:2");
    bench.advance(60.0);
    assert_eq!(bench.pods_of("agent:2"), 0);
    assert_eq!(bench.count("DaemonSet", "agent", "updatedNumberScheduled"), 0);
    let first = name(&bench.pods()[0]).to_owned();
    bench.delete("Pod", &first);
    bench.advance(10.0);
    assert_eq!(bench.pods_of("agent:2"), 1);
}

#[test]
fn labels_and_taints_choose_the_nodes_and_a_cordon_does_not() {
    let mut bench = daemons(3, &json!({"template/spec/nodeSelector": {"role": "edge"}}));
    assert_eq!(counts(&bench), [0, 0, 0, 0, 0, 0]);
    for node in ["node-1", "node-2"] {
        bench.set("Node", node, "metadata/labels/role", json!("edge"));
    }
    bench.set("Node", "node-1", "spec/unschedulable", json!(true));
    bench.advance(5.0);
    assert_eq!(counts(&bench), [2, 2, 2, 2, 2, 0]);
    let taint = json!([{"key": "dedicated", "value": "db", "effect": "NoSchedule"}]);
    bench.set("Node", "node-2", "spec/taints", taint);
    bench.advance(5.0);
    assert_eq!(counts(&bench), [1, 1, 1, 1, 1, 1], "what runs there may stay");
    let taint = json!([{"key": "dedicated", "value": "db", "effect": "NoExecute"}]);
    bench.set("Node", "node-2", "spec/taints", taint);
    bench.advance(5.0);
    assert_eq!(counts(&bench), [1, 1, 1, 1, 1, 0]);
    assert_eq!(bench.pods().len(), 1);
}
