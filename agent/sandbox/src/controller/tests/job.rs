//! Jobs: completions, failures, deadlines, suspension, and what is left of them.

use serde_json::{Value, json};

use super::bench::{Bench, workload};
use crate::controller::object::{annotation, set, text};

fn job(image: &str, spec: &Value) -> Bench {
    let mut bench = Bench::new(3);
    let mut object = workload("Job", "task", image, &json!({"backoffLimit": 6}));
    set(&mut object, "spec/template/spec/restartPolicy", json!("Never"));
    set(&mut object, "spec/completions", json!(1));
    set(&mut object, "spec/parallelism", json!(1));
    for (field, value) in spec.as_object().unwrap() {
        set(&mut object, &format!("spec/{field}"), value.clone());
    }
    bench.create(object);
    bench
}

#[test]
fn a_job_is_done_after_about_a_second_and_its_pod_stays() {
    let mut bench = job("task:1", &json!({}));
    bench.advance(0.8);
    assert_eq!(bench.count("Job", "task", "active"), 1);
    bench.advance(1.0);
    assert_eq!(bench.condition("Job", "task", "Complete"), "True/CompletionsReached");
    assert_eq!(bench.count("Job", "task", "succeeded"), 1);
    assert_eq!(bench.count("Job", "task", "active"), 0);
    assert_ne!(text(&bench.find("Job", "task"), "status/completionTime"), "");
    assert_eq!(text(&bench.pods()[0], "status/phase"), "Succeeded");
    bench.advance(3600.0);
    assert_eq!((bench.pods().len(), bench.writes), (1, 0));
}

#[test]
fn completions_are_reached_with_no_more_than_the_parallel_pods() {
    let mut bench = job("task:1", &json!({"completions": 5, "parallelism": 2}));
    bench.watch(30.0, |bench| assert!(bench.count("Job", "task", "active") <= 2));
    assert_eq!(bench.count("Job", "task", "succeeded"), 5);
    assert_eq!(bench.pods().len(), 5);
}

#[test]
fn failures_are_retried_with_growing_waits_up_to_the_limit() {
    let mut bench = job("task:fail", &json!({"backoffLimit": 2}));
    let begun = bench.now;
    bench.advance(5.0);
    assert_eq!(bench.count("Job", "task", "failed"), 1);
    assert_eq!(bench.condition("Job", "task", "Failed"), "");
    bench.advance(15.0);
    assert_eq!(bench.count("Job", "task", "failed"), 2);
    bench.advance(25.0);
    assert_eq!(bench.count("Job", "task", "failed"), 3);
    assert_eq!(bench.condition("Job", "task", "Failed"), "True/BackoffLimitExceeded");
    assert!(bench.now.duration_since(begun).as_secs() >= 30);
    bench.advance(3600.0);
    assert_eq!(bench.pods().len(), 3);
}

#[test]
fn on_failure_restarts_in_place_and_gives_up_in_place() {
    let spec = json!({"backoffLimit": 2, "template/spec/restartPolicy": "OnFailure"});
    let mut bench = job("task:crash", &spec);
    bench.advance(20.0);
    assert_eq!(bench.pods().len(), 1);
    assert_eq!(bench.condition("Job", "task", "Failed"), "");
    bench.advance(60.0);
    assert_eq!(bench.condition("Job", "task", "Failed"), "True/BackoffLimitExceeded");
    assert_eq!(bench.pods().len(), 0);
}

#[test]
fn a_deadline_ends_what_runs() {
    let mut bench = job("task:never-ready", &json!({"activeDeadlineSeconds": 20}));
    bench.advance(15.0);
    assert_eq!(bench.count("Job", "task", "active"), 1);
    bench.advance(10.0);
    assert_eq!(bench.condition("Job", "task", "Failed"), "True/DeadlineExceeded");
    assert_eq!(bench.count("Job", "task", "active"), 0);
    assert_eq!(bench.count("Job", "task", "failed"), 1);
}

#[test]
fn a_suspended_job_has_no_pods_and_its_condition_stays_when_it_goes_on() {
    let mut bench = job("task:slow-30s", &json!({"suspend": true}));
    bench.advance(10.0);
    assert_eq!(bench.pods().len(), 0);
    assert_eq!(bench.condition("Job", "task", "Suspended"), "True/JobSuspended");
    bench.set("Job", "task", "spec/suspend", json!(false));
    bench.advance(10.0);
    assert_eq!(bench.condition("Job", "task", "Suspended"), "False/JobResumed");
    assert_eq!(bench.count("Job", "task", "active"), 1);
    bench.set("Job", "task", "spec/suspend", json!(true));
    bench.advance(10.0);
    assert_eq!(bench.pods().len(), 0);
    bench.set("Job", "task", "spec/suspend", json!(false));
    bench.advance(60.0);
    assert_eq!(bench.condition("Job", "task", "Complete"), "True/CompletionsReached");
}

#[test]
fn a_finished_job_goes_when_its_time_is_up() {
    let mut bench = job("task:1", &json!({"ttlSecondsAfterFinished": 60}));
    bench.advance(30.0);
    assert!(bench.try_find("Job", "task").is_some());
    bench.advance(60.0);
    assert!(bench.try_find("Job", "task").is_none());
    assert_eq!(bench.pods().len(), 0);
}

#[test]
fn indexed_jobs_run_every_index_once() {
    let spec = json!({"completions": 4, "parallelism": 3, "completionMode": "Indexed"});
    let mut bench = job("task:1", &spec);
    bench.advance(30.0);
    let mut indices: Vec<String> = bench
        .pods()
        .iter()
        .map(|pod| annotation(pod, "batch.kubernetes.io/job-completion-index").unwrap().to_owned())
        .collect();
    indices.sort();
    assert_eq!(indices, ["0", "1", "2", "3"]);
    assert_eq!(text(&bench.find("Job", "task"), "status/completedIndexes"), "0-3");
}
