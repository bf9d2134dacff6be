//! Deployments: rollouts, gates, deadlines, scaling, revisions.

use serde_json::{Value, json};

use super::bench::{Bench, workload};
use crate::control::Write;
use crate::controller::object::{annotation, at, number, set, text};

fn deployed(replicas: i64, spec: &Value) -> Bench {
    let mut bench = Bench::new(3);
    let mut object = workload("Deployment", "web", "web:1", &json!({"replicas": replicas}));
    set(&mut object, "spec/progressDeadlineSeconds", json!(600));
    set(&mut object, "spec/revisionHistoryLimit", json!(10));
    for (field, value) in spec.as_object().unwrap() {
        set(&mut object, &format!("spec/{field}"), value.clone());
    }
    bench.create(object);
    bench.advance(5.0);
    bench
}

fn rolling(surge: &Value, unavailable: &Value) -> Value {
    let limits = json!({"maxSurge": surge, "maxUnavailable": unavailable});
    json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": limits}})
}

#[test]
fn comes_up_and_comes_to_rest() {
    let mut bench = deployed(3, &json!({}));
    assert_eq!(bench.ready_pods(), 3);
    for field in ["replicas", "readyReplicas", "availableReplicas", "updatedReplicas"] {
        assert_eq!(bench.count("Deployment", "web", field), 3, "{field}");
    }
    assert_eq!(bench.condition("Deployment", "web", "Available"), "True/MinimumReplicasAvailable");
    assert_eq!(bench.condition("Deployment", "web", "Progressing"), "True/NewReplicaSetAvailable");
    let web = bench.find("Deployment", "web");
    assert_eq!(annotation(&web, "deployment.kubernetes.io/revision"), Some("1"));
    bench.advance(3600.0);
    assert_eq!(bench.writes, 0);
}

#[test]
fn pods_start_in_about_a_second() {
    let mut bench = Bench::new(1);
    bench.create(workload("Deployment", "web", "web:1", &json!({"replicas": 1})));
    bench.advance(0.2);
    assert_eq!(bench.pods()[0]["status"]["phase"], "Pending");
    bench.advance(0.2);
    assert_eq!(bench.pods()[0]["status"]["phase"], "Running");
    assert_eq!(bench.ready_pods(), 0);
    bench.advance(0.6);
    assert_eq!(bench.ready_pods(), 1);
}

#[test]
fn pods_that_are_being_scaled_in_do_not_count_as_available() {
    let mut bench = deployed(4, &rolling(&json!(1), &json!(1)));
    bench.image("Deployment", "web", "web:never-ready");
    bench.settle();
    let image = "spec/template/spec/containers";
    let sets = bench.all("ReplicaSet");
    let is_old = |set: &Value| at(set, image)[0]["image"] == "web:1";
    // One old pod was scaled in just now, and its replica set's status tells of it still; two new ones are available.
    for set in &sets {
        let (replicas, available) = if is_old(set) { (2, 3) } else { (3, 2) };
        bench.edit("ReplicaSet", text(set, "metadata/name"), |object| {
            object["spec"]["replicas"] = json!(replicas);
            object["status"]["availableReplicas"] = json!(available);
        });
    }
    let round = bench.anew();
    let mut scaled = Vec::new();
    for write in &round.writes {
        if let Write::Update(set) = write
            && text(set, "kind") == "ReplicaSet"
            && is_old(set)
        {
            scaled.push(number(set, "spec/replicas").unwrap());
        }
    }
    assert_eq!(scaled, [1], "one old and two new ones are the three that must be left");
}

#[test]
fn a_rolling_update_stays_within_its_limits() {
    for (surge, unavailable, most, least) in [
        (json!("25%"), json!("25%"), 13, 8),
        (json!(1), json!(0), 11, 10),
        (json!(0), json!("30%"), 10, 7),
        (json!("0%"), json!("5%"), 10, 9),
    ] {
        let mut bench = deployed(10, &rolling(&surge, &unavailable));
        bench.image("Deployment", "web", "web:2");
        bench.watch(120.0, |bench| {
            let sum: i64 = bench
                .all("ReplicaSet")
                .iter()
                .map(|set| at(set, "spec/replicas").as_i64().unwrap())
                .sum();
            assert!(sum <= most, "{surge} {unavailable}: {sum} pods");
            let going = |pod: &Value| !at(pod, "metadata/deletionTimestamp").is_null();
            let ready = bench
                .pods()
                .iter()
                .filter(|pod| crate::controller::pod::is_ready(pod) && !going(pod))
                .count();
            assert!(ready >= least, "{surge} {unavailable}: {ready} ready");
        });
        assert_eq!(bench.pods_of("web:2"), 10);
        assert_eq!(bench.pods_of("web:1"), 0);
    }
}

#[test]
fn the_min_ready_gate_holds_at_exactly_k_pods() {
    for inflated_first in [false, true] {
        let mut bench = deployed(10, &json!({"progressDeadlineSeconds": 90_000}));
        if inflated_first {
            // The gate is set before the template changes, so that old pods are not available either.
            bench.set("Deployment", "web", "spec/minReadySeconds", json!(86_400));
            bench.advance(10.0);
        }
        for (step, k) in [1, 4, 10].into_iter().enumerate() {
            bench.edit("Deployment", "web", |web| {
                set(web, "spec/minReadySeconds", json!(86_400));
                set(web, "spec/strategy", rolling(&json!(0), &json!(k))["strategy"].clone());
                if step == 0 {
                    web["spec"]["template"]["spec"]["containers"][0]["image"] = json!("web:2");
                }
            });
            bench.watch(60.0, |bench| assert!(bench.pods_of("web:2") <= k));
            assert_eq!(bench.pods_of("web:2"), k, "inflated first: {inflated_first}");
            assert_eq!(bench.pods_of("web:1"), 10 - k);
            bench.advance(3600.0);
            assert_eq!(bench.pods_of("web:2"), k, "it holds");
        }
        bench.set("Deployment", "web", "spec/minReadySeconds", json!(0));
        bench.advance(5.0);
        let reason = bench.condition("Deployment", "web", "Progressing");
        assert_eq!(reason, "True/NewReplicaSetAvailable");
        assert_eq!(bench.count("Deployment", "web", "availableReplicas"), 10);
    }
}

#[test]
fn a_crashing_version_stops_at_the_limit_and_times_out() {
    let mut bench = deployed(4, &rolling(&json!(0), &json!(1)));
    bench.set("Deployment", "web", "spec/progressDeadlineSeconds", json!(30));
    bench.image("Deployment", "web", "web:crash");
    bench.advance(20.0);
    assert_eq!(bench.pods_of("web:crash"), 1);
    assert_eq!(bench.condition("Deployment", "web", "Progressing"), "True/ReplicaSetUpdated");
    bench.advance(20.0);
    assert_eq!(
        bench.condition("Deployment", "web", "Progressing"),
        "False/ProgressDeadlineExceeded"
    );
    assert_eq!(bench.condition("Deployment", "web", "Available"), "True/MinimumReplicasAvailable");
    assert_eq!(bench.count("Deployment", "web", "unavailableReplicas"), 1);
    assert!(bench.said("BackOff")[0].starts_with("Back-off restarting failed container app"));

    bench.image("Deployment", "web", "web:1");
    bench.advance(10.0);
    assert_eq!(bench.pods_of("web:1"), 4);
    assert_eq!(bench.condition("Deployment", "web", "Progressing"), "True/NewReplicaSetAvailable");
    let web = bench.find("Deployment", "web");
    assert_eq!(annotation(&web, "deployment.kubernetes.io/revision"), Some("3"));
    assert_eq!(bench.all("ReplicaSet").len(), 2, "the old replica set is used again");
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll() {
    let mut bench = deployed(4, &json!({"paused": true}));
    assert_eq!(bench.ready_pods(), 0, "paused from the start: nothing is made");
    bench.set("Deployment", "web", "spec/paused", json!(false));
    bench.advance(5.0);
    bench.set("Deployment", "web", "spec/paused", json!(true));
    bench.image("Deployment", "web", "web:2");
    bench.advance(5.0);
    assert_eq!(bench.condition("Deployment", "web", "Progressing"), "Unknown/DeploymentPaused");
    bench.set("Deployment", "web", "spec/replicas", json!(6));
    bench.advance(5.0);
    assert_eq!((bench.pods_of("web:1"), bench.pods_of("web:2")), (6, 0));
    bench.set("Deployment", "web", "spec/paused", json!(false));
    bench.advance(30.0);
    assert_eq!((bench.pods_of("web:1"), bench.pods_of("web:2")), (0, 6));
}

#[test]
fn scaling_in_the_middle_of_a_rollout_is_proportional() {
    let mut bench = deployed(10, &rolling(&json!(3), &json!(2)));
    bench.image("Deployment", "web", "web:never-ready");
    bench.advance(10.0);
    assert_eq!((bench.pods_of("web:1"), bench.pods_of("web:never-ready")), (8, 5));
    bench.set("Deployment", "web", "spec/replicas", json!(15));
    bench.advance(10.0);
    // 18 in all: Kubernetes' own documentation has the same example, with 11 and 7.
    assert_eq!((bench.pods_of("web:1"), bench.pods_of("web:never-ready")), (11, 7));
}

#[test]
fn recreate_waits_until_all_old_pods_are_gone() {
    let mut bench = deployed(3, &json!({"strategy": {"type": "Recreate"}}));
    bench.image("Deployment", "web", "web:2");
    bench.watch(20.0, |bench| {
        assert!(bench.pods_of("web:1") == 0 || bench.pods_of("web:2") == 0);
    });
    assert_eq!(bench.pods_of("web:2"), 3);
}

#[test]
fn old_replica_sets_go_beyond_the_history_limit() {
    let mut bench = deployed(1, &json!({"revisionHistoryLimit": 2}));
    for version in 2..7 {
        bench.image("Deployment", "web", &format!("web:{version}"));
        bench.advance(10.0);
    }
    assert_eq!(bench.all("ReplicaSet").len(), 3);
    assert_eq!(bench.pods_of("web:6"), 1);
}

#[test]
fn a_missing_service_account_is_a_replica_failure() {
    let mut bench = deployed(2, &json!({"template/spec/serviceAccountName": "nobody"}));
    assert_eq!(bench.pods().len(), 0);
    assert_eq!(bench.condition("Deployment", "web", "ReplicaFailure"), "True/FailedCreate");
    bench.advance(60.0);
    assert_eq!(bench.writes, 0);
    bench.create(json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "nobody", "namespace": "default"},
    }));
    bench.advance(5.0);
    assert_eq!(bench.ready_pods(), 2);
    assert_eq!(bench.condition("Deployment", "web", "ReplicaFailure"), "");
}

#[test]
fn a_pod_whose_label_is_taken_away_is_released_and_replaced() {
    let mut bench = deployed(2, &json!({}));
    let taken = crate::controller::object::name(&bench.pods()[0]).to_owned();
    bench.edit("Pod", &taken, |pod| pod["metadata"]["labels"]["app"] = json!("offline"));
    bench.advance(5.0);
    assert_eq!(bench.pods().len(), 3);
    assert!(crate::controller::object::controller_reference(&bench.find("Pod", &taken)).is_none());
    assert_eq!(bench.count("Deployment", "web", "readyReplicas"), 2);
    bench.edit("Pod", &taken, |pod| pod["metadata"]["labels"]["app"] = json!("web"));
    bench.advance(5.0);
    assert_eq!(bench.pods().len(), 2, "taken back, and one too many goes");
}
