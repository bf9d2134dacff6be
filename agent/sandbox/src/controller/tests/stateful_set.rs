//! Stateful sets: order, partitions, revisions, and the ways they get stuck.

use serde_json::{Value, json};

use super::bench::{Bench, workload};
use crate::controller::object::{at, name, set, text};

fn numbered(replicas: i64, policy: &str, spec: &Value) -> Bench {
    let mut bench = Bench::new(3);
    let mut object = workload("StatefulSet", "db", "db:1", &json!({"replicas": replicas}));
    set(&mut object, "spec/serviceName", json!("db"));
    set(&mut object, "spec/podManagementPolicy", json!(policy));
    set(&mut object, "spec/updateStrategy/type", json!("RollingUpdate"));
    set(&mut object, "spec/updateStrategy/rollingUpdate/partition", json!(0));
    for (field, value) in spec.as_object().unwrap() {
        set(&mut object, &format!("spec/{field}"), value.clone());
    }
    bench.create(object);
    bench.advance(60.0);
    bench
}

fn partition(bench: &mut Bench, partition: i64) {
    let path = "spec/updateStrategy/rollingUpdate/partition";
    bench.set("StatefulSet", "db", path, json!(partition));
}

const DONE: &str = "db-0=2 db-1=2 db-2=2";

#[test]
fn ordered_pods_come_up_one_after_another() {
    let mut bench = Bench::new(3);
    bench.create(workload("StatefulSet", "db", "db:1", &json!({"replicas": 3})));
    bench.watch(30.0, |bench| {
        let pods = bench.pods();
        let ready = bench.ready_pods();
        assert!(pods.len() <= ready + 1, "{} pods, {ready} ready", pods.len());
    });
    assert_eq!(bench.line_up(), "db-0=1 db-1=1 db-2=1");
    bench.advance(600.0);
    assert_eq!(bench.writes, 0);
    assert_eq!(bench.label_of("db-2", "apps.kubernetes.io/pod-index"), "2");
}

#[test]
fn parallel_pods_come_up_together_but_are_updated_one_at_a_time() {
    let mut bench = Bench::new(3);
    let spec = json!({"replicas": 6, "podManagementPolicy": "Parallel"});
    bench.create(workload("StatefulSet", "db", "db:1", &spec));
    bench.advance(1.5);
    assert_eq!(bench.ready_pods(), 6);
    bench.image("StatefulSet", "db", "db:2");
    bench.watch(60.0, |bench| assert!(bench.ready_pods() >= 5));
    assert_eq!(bench.pods_of("db:2"), 6);
}

#[test]
fn updates_go_from_the_highest_ordinal_down() {
    for policy in ["OrderedReady", "Parallel"] {
        let mut bench = numbered(3, policy, &json!({}));
        bench.image("StatefulSet", "db", "db:2");
        let mut seen: Vec<String> = Vec::new();
        bench.watch(60.0, |bench| {
            for pod in bench.pods() {
                let line = name(&pod).to_owned();
                let is_new = pod["spec"]["containers"][0]["image"] == "db:2";
                if is_new && !seen.contains(&line) {
                    seen.push(line);
                }
            }
        });
        assert_eq!(seen, ["db-2", "db-1", "db-0"], "{policy}");
        assert_eq!(bench.line_up(), DONE);
        let set = bench.find("StatefulSet", "db");
        assert_eq!(text(&set, "status/currentRevision"), text(&set, "status/updateRevision"));
    }
}

#[test]
fn a_partition_is_walked_down_and_never_rolls_back() {
    let mut bench = numbered(3, "Parallel", &json!({}));
    bench.edit("StatefulSet", "db", |db| {
        db["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = json!(3);
        db["spec"]["template"]["spec"]["containers"][0]["image"] = json!("db:2");
    });
    bench.advance(10.0);
    assert_eq!(bench.line_up(), "db-0=1 db-1=1 db-2=1");
    partition(&mut bench, 2);
    bench.advance(10.0);
    assert_eq!(bench.line_up(), "db-0=1 db-1=1 db-2=2");
    let set = bench.find("StatefulSet", "db");
    assert_ne!(text(&set, "status/currentRevision"), text(&set, "status/updateRevision"));
    assert_eq!(bench.count("StatefulSet", "db", "updatedReplicas"), 1);
    assert_eq!(bench.count("StatefulSet", "db", "currentReplicas"), 2);

    partition(&mut bench, 3);
    bench.advance(10.0);
    assert_eq!(bench.line_up(), "db-0=1 db-1=1 db-2=2", "raising it takes nothing back");
    bench.delete("Pod", "db-2");
    bench.delete("Pod", "db-0");
    bench.advance(10.0);
    assert_eq!(bench.line_up(), "db-0=1 db-1=1 db-2=1", "but what is made again is made old");
    partition(&mut bench, 0);
    bench.advance(20.0);
    assert_eq!(bench.line_up(), DONE);
}

#[test]
fn scaling_out_under_a_partition_enlarges_the_canary() {
    let mut bench = numbered(3, "Parallel", &json!({}));
    bench.edit("StatefulSet", "db", |db| {
        db["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = json!(2);
        db["spec"]["template"]["spec"]["containers"][0]["image"] = json!("db:2");
    });
    bench.advance(10.0);
    bench.set("StatefulSet", "db", "spec/replicas", json!(5));
    bench.advance(10.0);
    assert_eq!(bench.line_up(), "db-0=1 db-1=1 db-2=2 db-3=2 db-4=2");
}

#[test]
fn scaling_a_partitioned_set_to_nothing_and_back_makes_new_pods() {
    let mut bench = numbered(2, "Parallel", &json!({}));
    bench.edit("StatefulSet", "db", |db| {
        db["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = json!(2);
        db["spec"]["template"]["spec"]["containers"][0]["image"] = json!("db:2");
    });
    bench.advance(10.0);
    bench.set("StatefulSet", "db", "spec/replicas", json!(0));
    bench.advance(10.0);
    bench.set("StatefulSet", "db", "spec/replicas", json!(2));
    bench.advance(10.0);
    assert_eq!(bench.line_up(), "db-0=2 db-1=2");
}

#[test]
fn pods_evicted_together_come_back_together() {
    let mut bench = numbered(6, "Parallel", &json!({}));
    bench.edit("StatefulSet", "db", |db| {
        db["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = json!(6);
        db["spec"]["template"]["spec"]["containers"][0]["image"] = json!("db:2-slow-3s");
    });
    bench.advance(5.0);
    partition(&mut bench, 0);
    for ordinal in 0..6 {
        bench.delete("Pod", &format!("db-{ordinal}"));
    }
    let begun = bench.now;
    bench.watch(30.0, |_| {});
    assert_eq!(bench.ready_pods(), 6);
    for pod in bench.pods() {
        let ready = crate::controller::object::condition(at(&pod, "status"), "Ready").unwrap();
        let since: jiff::Timestamp = text(ready, "lastTransitionTime").parse().unwrap();
        let took = since.duration_since(begun).as_secs_f64();
        assert!(took < 6.0, "{} took {took} s; one at a time takes 24 s", name(&pod));
    }
}

#[test]
fn an_ordered_set_is_stuck_behind_a_broken_pod_until_it_is_deleted() {
    let mut bench = numbered(3, "OrderedReady", &json!({}));
    bench.image("StatefulSet", "db", "db:crash");
    bench.advance(30.0);
    assert_eq!(bench.line_up(), "db-0=1 db-1=1 db-2=crash");
    bench.image("StatefulSet", "db", "db:1");
    bench.advance(600.0);
    assert_eq!(bench.line_up(), "db-0=1 db-1=1 db-2=crash", "the revert alone does not help");
    bench.delete("Pod", "db-2");
    bench.advance(20.0);
    assert_eq!(bench.line_up(), "db-0=1 db-1=1 db-2=1");
    assert_eq!(bench.all("ControllerRevision").len(), 2, "the equal revision is used again");
}

#[test]
fn a_broken_pod_deleted_before_the_revert_comes_back_broken() {
    let mut bench = numbered(3, "OrderedReady", &json!({}));
    bench.image("StatefulSet", "db", "db:crash");
    bench.advance(30.0);
    bench.delete("Pod", "db-2");
    bench.advance(30.0);
    assert_eq!(bench.line_up(), "db-0=1 db-1=1 db-2=crash");
}

#[test]
fn a_parallel_set_recovers_by_the_revert_alone() {
    let mut bench = numbered(3, "Parallel", &json!({}));
    bench.image("StatefulSet", "db", "db:crash");
    bench.advance(30.0);
    assert_eq!(bench.line_up(), "db-0=1 db-1=1 db-2=crash");
    bench.image("StatefulSet", "db", "db:1");
    bench.advance(30.0);
    assert_eq!(bench.line_up(), "db-0=1 db-1=1 db-2=1");
}

#[test]
fn on_delete_replaces_only_what_is_deleted_and_by_the_new_template() {
    let mut bench = numbered(3, "OrderedReady", &json!({"updateStrategy": {"type": "OnDelete"}}));
    bench.image("StatefulSet", "db", "db:2");
    bench.advance(30.0);
    assert_eq!(bench.line_up(), "db-0=1 db-1=1 db-2=1");
    bench.delete("Pod", "db-1");
    bench.advance(30.0);
    assert_eq!(bench.line_up(), "db-0=1 db-1=2 db-2=1");
    assert_eq!(bench.count("StatefulSet", "db", "updatedReplicas"), 1);
}

#[test]
fn min_ready_seconds_hold_the_next_pod_back() {
    let mut bench = numbered(2, "Parallel", &json!({"minReadySeconds": 10}));
    bench.image("StatefulSet", "db", "db:2");
    bench.advance(10.0);
    assert_eq!(bench.line_up(), "db-0=1 db-1=2", "ready, not yet available");
    bench.advance(10.0);
    assert_eq!(bench.pods_of("db:2"), 2);
}

#[test]
fn claims_are_made_per_ordinal_and_kept() {
    let claim = json!({
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": "open-local-lvm-default",
        },
    });
    let mut bench = numbered(2, "OrderedReady", &json!({"volumeClaimTemplates": [claim]}));
    assert_eq!(bench.ready_pods(), 2);
    let claim = bench.find("PersistentVolumeClaim", "data-db-1");
    assert_eq!(text(&claim, "status/phase"), "Bound");
    assert_eq!(text(&claim, "metadata/labels/app"), "db");
    let node = text(&bench.find("Pod", "db-1"), "spec/nodeName").to_owned();
    bench.set("StatefulSet", "db", "spec/replicas", json!(1));
    bench.advance(10.0);
    assert_eq!(bench.line_up(), "db-0=1");
    bench.set("StatefulSet", "db", "spec/replicas", json!(2));
    bench.advance(10.0);
    assert_eq!(bench.all("PersistentVolumeClaim").len(), 2);
    assert_eq!(text(&bench.find("Pod", "db-1"), "spec/nodeName"), node, "its volume is there");
}

#[test]
fn ordinals_may_start_above_zero() {
    let mut bench = numbered(2, "Parallel", &json!({"ordinals": {"start": 5}}));
    assert_eq!(bench.line_up(), "db-5=1 db-6=1");
    bench.edit("StatefulSet", "db", |db| {
        db["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = json!(1);
        db["spec"]["template"]["spec"]["containers"][0]["image"] = json!("db:2");
    });
    bench.advance(10.0);
    assert_eq!(bench.line_up(), "db-5=1 db-6=2");
}

#[test]
fn history_is_cut_to_its_limit() {
    let mut bench = numbered(1, "Parallel", &json!({"revisionHistoryLimit": 2}));
    for version in 2..8 {
        bench.image("StatefulSet", "db", &format!("db:{version}"));
        bench.advance(10.0);
    }
    assert_eq!(bench.all("ControllerRevision").len(), 3);
}
