//! A try: what of Jobs, pods and logs is kept, and how much of it.

use serde_json::json;

use super::*;

fn reference() -> ObjectRef {
    ObjectRef {
        cluster: "room-a".to_owned(),
        group: "batch".to_owned(),
        kind: "Job".to_owned(),
        namespace: "web".to_owned(),
        name: "smoke-1".to_owned(),
    }
}

fn job(status: &Value) -> Object {
    Object::new(json!({"apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "smoke-1", "namespace": "web", "uid": "u1"}, "status": status}))
}

fn failed_job() -> Object {
    job(
        &json!({"startTime": "2026-03-02T09:00:00Z", "conditions": [{"type": "Failed", "status": "True",
        "reason": "BackoffLimitExceeded", "message": "Job has reached the specified backoff limit",
        "lastTransitionTime": "2026-03-02T09:00:09Z"}]}),
    )
}

fn pod(name: &str, made: &str, statuses: &Value) -> Object {
    Object::new(json!({"metadata": {"name": name, "namespace": "web", "creationTimestamp": made},
        "spec": {"nodeName": "node-1"}, "status": {"phase": "Failed", "containerStatuses": statuses}}))
}

fn ended(code: i64, reason: &str) -> Value {
    json!({"exitCode": code, "reason": reason, "message": "no route to host",
        "startedAt": "2026-03-02T09:00:01Z", "finishedAt": "2026-03-02T09:00:05Z"})
}

fn run(job: &Object, pods: &[Object]) -> TaskRun {
    TaskRun::of("s", &reference(), Ok(Some(job)), Ok(pods))
}

#[test]
fn a_failed_job_says_why_since_when_and_how_each_container_ended() {
    let status =
        json!([{"name": "smoke", "image": "smoke:1", "state": {"terminated": ended(3, "Error")}}]);
    let run = run(&failed_job(), &[pod("b", "2026-03-02T09:00:00Z", &status)]);
    assert_eq!((run.outcome, run.uid.as_str()), (RunOutcome::Failed, "u1"));
    assert_eq!(run.reason, "BackoffLimitExceeded");
    assert_eq!(run.ended_at.map(|at| at.to_string()).as_deref(), Some("2026-03-02T09:00:09Z"));
    let [container] = run.pods[0].containers.as_slice() else { panic!("{run:?}") };
    assert_eq!((container.exit_code, container.reason.as_str()), (Some(3), "Error"));
    assert_eq!(container.message, "no route to host");
    assert!(container.started_at < container.ended_at);
}

#[test]
fn a_condition_that_is_there_and_false_is_no_end() {
    let complete = |status: &str| {
        let status = json!({"conditions": [{"type": "Complete", "status": status}]});
        run(&job(&status), &[]).outcome
    };
    assert_eq!(complete("True"), RunOutcome::Succeeded);
    assert_eq!(complete("False"), RunOutcome::Unfinished);
}

/// Of a container that was started again in its pod both times are told, and both logs wanted; one that waits for its
/// image has written nothing.
#[test]
fn a_container_that_was_started_again_has_two_times_and_one_that_waits_has_no_log() {
    let again = json!([
        {"name": "smoke", "lastState": {"terminated": ended(1, "Error")},
         "state": {"terminated": ended(0, "Completed")}},
        {"name": "proxy", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "x"}}},
    ]);
    let run = run(&failed_job(), &[pod("a", "", &again)]);
    let told: Vec<_> = run.pods[0]
        .containers
        .iter()
        .map(|it| (it.name.as_str(), it.is_before, it.exit_code, it.reason.as_str()))
        .collect();
    let wanted = [
        ("smoke", true, Some(1), "Error"),
        ("smoke", false, Some(0), "Completed"),
        ("proxy", false, None, "ImagePullBackOff"),
    ];
    assert_eq!(told, wanted);
    let logs: Vec<_> =
        run.logs_wanted().into_iter().map(|of| (of.container, of.is_before)).collect();
    assert_eq!(logs, [("smoke".to_owned(), true), ("smoke".to_owned(), false)]);
}

fn many(count: usize) -> TaskRun {
    let status = json!([{"name": "c", "state": {"terminated": ended(1, "Error")}}]);
    let pods: Vec<Object> = (0..count)
        .map(|index| {
            pod(&format!("p{index:03}"), &format!("2026-03-02T09:{index:02}:00Z"), &status)
        })
        .collect();
    run(&failed_job(), &pods)
}

#[test]
fn the_last_pods_and_their_logs_are_kept_and_the_others_counted() {
    let mut run = many(PODS + 7);
    assert_eq!((run.pods.len(), run.pods_left_out), (PODS, 7));
    assert_eq!(run.pods[0].name, "p007");
    let wanted = run.logs_wanted();
    assert_eq!((wanted.len(), wanted[0].pod.as_str()), (LOGS, "p026"));
    let full = "x".repeat(LOG_BYTES);
    let logs = run.take_logs(wanted.into_iter().map(|of| (of, Ok(full.clone()))).collect());
    let kept: Vec<_> = logs.iter().map(|log| (log.of.pod.as_str(), log.text.len())).collect();
    assert_eq!(&kept[PODS - 2..], [("p025", LOG_BYTES), ("p026", LOG_BYTES)]);
    assert!(kept[..PODS - 2].iter().all(|(_, bytes)| *bytes == 0), "{kept:?}");
    assert!(logs[..PODS - 2].iter().all(|log| log.is_cut));
}

#[test]
fn what_could_not_be_had_is_said_and_the_rest_is_kept() {
    let mut run = many(2);
    let refused = Gap { code: "CLUSTER/FORBIDDEN".to_owned(), message: "no pods/log".to_owned() };
    let logs = run.logs_wanted().into_iter().map(|of| {
        let log = if of.pod == "p000" { Ok("well\n".to_owned()) } else { Err(refused.clone()) };
        (of, log)
    });
    let kept = run.take_logs(logs.collect());
    assert_eq!(kept.iter().map(|log| log.text.as_str()).collect::<Vec<_>>(), ["well\n"]);
    assert_eq!(run.gaps.len(), 1);
    assert_eq!(run.gaps[0].message, "log of p001 c: no pods/log");

    let away = Gap { code: "CLUSTER/UNREACHABLE".to_owned(), message: "away".to_owned() };
    let run = TaskRun::of("s", &reference(), Err(away.clone()), Err(away));
    assert_eq!((run.outcome, run.gaps.len()), (RunOutcome::Unknown, 2));
    let gone = TaskRun::of("s", &reference(), Ok(None), Ok(&[]));
    assert_eq!(
        (gone.outcome, gone.gaps[0].code.as_str()),
        (RunOutcome::Unknown, "CLUSTER/NOT_FOUND")
    );
}

#[rstest::rstest]
#[case::all_of_it("one\ntwo\n", 8, "one\ntwo\n")]
#[case::whole_lines("one\ntwo\n", 6, "two\n")]
#[case::at_a_line("one\ntwo\n", 4, "two\n")]
#[case::the_end_of_a_long_line("onetwothree", 5, "three")]
#[case::never_half_a_letter("两地三中心", 7, "中心")]
#[case::no_room("one", 0, "")]
fn of_a_log_its_end_is_kept(#[case] text: &str, #[case] bytes: usize, #[case] kept: &str) {
    assert_eq!(end_of(text, bytes), kept);
}
