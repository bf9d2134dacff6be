//! Pods of every image word, walked from their binding to their end.

use super::{Next, Step, next, unschedulable};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use std::time::Duration;

fn pod(tag: &str, restart: &str) -> Value {
    json!({
        "metadata": {"name": "p", "namespace": "n", "uid": "u"},
        "spec": {
            "nodeName": "node-1", "restartPolicy": restart,
            "containers": [
                {"name": "main", "image": format!("registry.local:5000/app:{tag}")},
                {"name": "side", "image": "side:1"},
            ],
        },
        "status": {"phase": "Pending"},
    })
}

fn parsed(pod: &Value) -> Pod {
    serde_json::from_value(pod.clone()).unwrap()
}

/// The pod after `steps` steps, and after how many seconds each was due.
fn walk(pod: &mut Value, steps: usize) -> Vec<u64> {
    let mut waits = Vec::new();
    for _ in 0..steps {
        let now = Timestamp::from_second(1_000).unwrap();
        let Some(Next { after, step: Step::Status(status), .. }) = next(&parsed(pod), now) else {
            break;
        };
        waits.push(after.as_secs());
        pod["status"] = status;
    }
    waits
}

fn ready(pod: &Value) -> &Value {
    let conditions = pod["status"]["conditions"].as_array().unwrap();
    &conditions.iter().find(|condition| condition["type"] == "Ready").unwrap()["status"]
}

fn main_state(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]["state"]
}

#[test]
fn a_normal_pod_becomes_ready_and_stays_so() {
    let mut pod = pod("1.0", "Always");
    assert_eq!(walk(&mut pod, 9), [0, 0]);
    assert_eq!((&pod["status"]["phase"], ready(&pod)), (&json!("Running"), &json!("True")));
}

#[test]
fn a_slow_pod_is_ready_after_its_seconds() {
    let mut pod = pod("1.0-slow-10s", "Always");
    assert_eq!(walk(&mut pod, 2), [0, 0]);
    assert_eq!((&pod["status"]["phase"], ready(&pod)), (&json!("Running"), &json!("False")));
    assert_eq!(walk(&mut pod, 9), [10]);
    assert_eq!(ready(&pod), &json!("True"));
}

#[test]
fn a_pod_that_is_never_ready_runs() {
    let mut pod = pod("never-ready", "Always");
    assert_eq!(walk(&mut pod, 9).len(), 2);
    assert_eq!((&pod["status"]["phase"], ready(&pod)), (&json!("Running"), &json!("False")));
}

#[test]
fn an_image_that_cannot_be_pulled_keeps_the_pod_pending() {
    let mut pod = pod("pull-fail", "Always");
    assert_eq!(walk(&mut pod, 9).len(), 3);
    assert_eq!(pod["status"]["phase"], "Pending");
    assert_eq!(main_state(&pod)["waiting"]["reason"], "ImagePullBackOff");
}

#[test]
fn a_crashing_container_backs_off_longer_each_time_and_tells_its_last_end() {
    let mut pod = pod("crash", "Always");
    // created, ended, back-off, ended after 10 s, back-off, ended after 20 s, back-off.
    assert_eq!(walk(&mut pod, 7), [0, 0, 0, 10, 0, 20, 0]);
    let main = &pod["status"]["containerStatuses"][0];
    assert_eq!((&main["restartCount"], ready(&pod)), (&json!(2), &json!("False")));
    assert_eq!(main["state"]["waiting"]["reason"], "CrashLoopBackOff");
    assert_eq!(main["lastState"]["terminated"]["exitCode"], 1);
}

#[test]
fn a_container_can_crash_after_it_was_ready() {
    let mut pod = pod("ready-then-crash", "Always");
    walk(&mut pod, 2);
    assert_eq!(ready(&pod), &json!("True"));
    assert_eq!(walk(&mut pod, 1), [5]);
    assert_eq!(ready(&pod), &json!("False"));
}

#[test]
fn tasks_end_well_unless_told_otherwise() {
    for (tag, restart, phase) in [
        ("1.0", "Never", "Succeeded"),
        ("1.0", "OnFailure", "Succeeded"),
        ("fail", "Never", "Failed"),
        ("crash", "Never", "Failed"),
        ("fail", "OnFailure", "Running"),
    ] {
        let mut pod = pod(tag, restart);
        walk(&mut pod, 4);
        assert_eq!(pod["status"]["phase"], phase, "{tag} {restart}");
    }
}

#[test]
fn a_readiness_gate_holds_the_pod_back_until_it_opens() {
    let mut pod = pod("1.0", "Always");
    pod["spec"]["readinessGates"] = json!([{"conditionType": "gate"}]);
    assert_eq!(walk(&mut pod, 9).len(), 2);
    assert_eq!(ready(&pod), &json!("False"));
    let conditions = pod["status"]["conditions"].as_array_mut().unwrap();
    conditions.push(json!({"type": "gate", "status": "True"}));
    assert_eq!(walk(&mut pod, 1).len(), 1);
    assert_eq!(ready(&pod), &json!("True"));
}

#[test]
fn a_pod_that_is_deleted_is_finalised_whatever_it_does() {
    let mut pod = pod("crash", "Always");
    walk(&mut pod, 1);
    pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let next = next(&parsed(&pod), Timestamp::UNIX_EPOCH).unwrap();
    assert!(matches!(next.step, Step::Finalise) && next.after < Duration::from_secs(1));
}

#[test]
fn why_a_pod_waits_is_told_once() {
    let mut pod = pod("1.0", "Always");
    let told = unschedulable(&parsed(&pod), "no node").unwrap();
    let Step::Status(status) = told.step else { panic!("{told:?}") };
    pod["status"] = status;
    assert!(unschedulable(&parsed(&pod), "no node").is_none());
    assert!(unschedulable(&parsed(&pod), "another reason").is_some());
}
