//! Jobs: pods that have to end well, often enough and in time.

mod count;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::object::{
    at, condition, condition_is_true, flag, is_terminating, items, name, number, set,
    set_condition, set_entry, stamp, text, time, uid, unset,
};
use super::pass::Pass;
use super::pod::{self, from_template, is_active, is_ready, phase, restarts};
use count::Tally;

const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// The first wait after a failed pod; it doubles up to the longest.
const BACK_OFF: i64 = 10;
const LONGEST_BACK_OFF: i64 = 360;

/// The jobs whose turn it is.
pub(super) fn reconcile(pass: &mut Pass<'_>) {
    while let Some(owner) = pass.next("batch", "Job") {
        if is_finished(&owner) {
            expire(pass, &owner);
        } else {
            job(pass, &owner);
        }
    }
}

/// Whether a job has ended, well or not; the condition has to be true, not only there.
fn is_finished(owner: &Value) -> bool {
    ["Complete", "Failed"].iter().any(|kind| condition_is_true(at(owner, "status"), kind))
}

/// Deletes a finished job when its time is up.
fn expire(pass: &mut Pass<'_>, owner: &Value) {
    let Some(seconds) = number(owner, "spec/ttlSecondsAfterFinished") else { return };
    let ended = items(owner, "status/conditions")
        .iter()
        .filter(|held| matches!(text(held, "type"), "Complete" | "Failed"))
        .find_map(|held| time(held, "lastTransitionTime"));
    let wait = SignedDuration::from_secs(seconds);
    if !is_terminating(owner) && ended.is_some_and(|ended| pass.has_passed(ended, wait)) {
        pass.delete(owner);
    }
}

fn job(pass: &mut Pass<'_>, owner: &Value) {
    let mut pods = pass.held("Pod", owner);
    pods.retain(|pod| !uid(pod).is_empty());
    let mut tally = Tally::of(owner, &pods);
    let mut status = at(owner, "status").clone();
    if !status.is_object() {
        status = json!({});
    }
    if is_terminating(owner) {
        return;
    }
    if flag(owner, "spec/suspend") {
        suspend(pass, owner, &pods, &mut status);
    } else {
        resume(pass, owner, &mut status);
        if let Some((reason, message)) = failure(pass, owner, &status, &pods, &tally) {
            let is_new = condition(&status, "FailureTarget").is_none();
            let stopped = fail(pass, owner, &pods, &mut status, (reason, message));
            // Pods that are stopped by the failure have failed; they are counted once.
            tally.failed += if is_new { stopped } else { 0 };
        } else if tally.is_complete() {
            complete(pass, owner, &pods, &mut status);
        } else {
            work(pass, owner, &pods, &tally);
        }
    }
    tally.write(&mut status, &pods);
    pass.update_status(owner, status);
}

fn suspend(pass: &mut Pass<'_>, owner: &Value, pods: &[Arc<Value>], status: &mut Value) {
    for pod in pods.iter().filter(|pod| is_active(pod)) {
        delete(pass, owner, pod);
    }
    if !condition_is_true(status, "Suspended") {
        let cause = ("JobSuspended", "Job suspended");
        set_condition(status, pass.now, "Suspended", "True", cause);
        pass.note(owner, "Suspended", "Job suspended");
    }
    unset(status, "startTime");
}

fn resume(pass: &mut Pass<'_>, owner: &Value, status: &mut Value) {
    if condition_is_true(status, "Suspended") {
        set_condition(status, pass.now, "Suspended", "False", ("JobResumed", "Job resumed"));
        pass.note(owner, "Resumed", "Job resumed");
        set(status, "startTime", json!(stamp(pass.now)));
    }
    if at(status, "startTime").is_null() {
        set(status, "startTime", json!(stamp(pass.now)));
    }
}

/// Why the job has failed, if it has.
fn failure(
    pass: &mut Pass<'_>,
    owner: &Value,
    status: &Value,
    pods: &[Arc<Value>],
    tally: &Tally,
) -> Option<(&'static str, &'static str)> {
    if let Some(target) = condition(status, "FailureTarget") {
        return Some(if text(target, "reason") == "DeadlineExceeded" { DEADLINE } else { LIMIT });
    }
    let limit = number(owner, "spec/backoffLimit").unwrap_or(6);
    let is_retried_in_place = text(owner, "spec/template/spec/restartPolicy") == "OnFailure";
    let restarts: i64 = pods
        .iter()
        .filter(|pod| is_retried_in_place && matches!(phase(pod), "Running" | "Pending"))
        .map(|pod| restarts(pod))
        .sum();
    let is_worn_out = if limit == 0 { restarts > 0 } else { restarts >= limit };
    if tally.failed > limit || (is_retried_in_place && is_worn_out) {
        return Some(LIMIT);
    }
    let deadline = number(owner, "spec/activeDeadlineSeconds")?;
    let started = time(status, "startTime")?;
    pass.has_passed(started, SignedDuration::from_secs(deadline)).then_some(DEADLINE)
}

const LIMIT: (&str, &str) = ("BackoffLimitExceeded", "Job has reached the specified backoff limit");
const DEADLINE: (&str, &str) =
    ("DeadlineExceeded", "Job was active longer than specified deadline");

/// Marks the failure first, and reports it as final once no pod is left; returns how many it stopped.
fn fail(
    pass: &mut Pass<'_>,
    owner: &Value,
    pods: &[Arc<Value>],
    status: &mut Value,
    cause: (&str, &str),
) -> i64 {
    set_condition(status, pass.now, "FailureTarget", "True", cause);
    let mut stopped = 0;
    for pod in pods.iter().filter(|pod| is_active(pod)) {
        delete(pass, owner, pod);
        stopped += 1;
    }
    if !pods.iter().any(|pod| is_unfinished(pod)) {
        set_condition(status, pass.now, "Failed", "True", cause);
        pass.warn(owner, cause.0, cause.1);
    }
    stopped
}

fn complete(pass: &mut Pass<'_>, owner: &Value, pods: &[Arc<Value>], status: &mut Value) {
    let cause = ("CompletionsReached", "Reached expected number of succeeded pods");
    set_condition(status, pass.now, "SuccessCriteriaMet", "True", cause);
    for pod in pods.iter().filter(|pod| is_active(pod)) {
        delete(pass, owner, pod);
    }
    if !pods.iter().any(|pod| is_unfinished(pod)) {
        set_condition(status, pass.now, "Complete", "True", cause);
        set(status, "completionTime", json!(stamp(pass.now)));
        pass.note(owner, "Completed", "Job completed");
    }
}

fn is_unfinished(pod: &Value) -> bool {
    !matches!(phase(pod), "Succeeded" | "Failed")
}

fn delete(pass: &mut Pass<'_>, owner: &Value, pod: &Value) {
    pass.note(owner, "SuccessfulDelete", format!("Deleted pod: {}", name(pod)));
    pass.terminate(pod);
}

/// Keeps as many pods at work as are wanted, after a wait if the last ones failed.
fn work(pass: &mut Pass<'_>, owner: &Value, pods: &[Arc<Value>], tally: &Tally) {
    let active: Vec<&Arc<Value>> = pods.iter().filter(|pod| is_active(pod)).collect();
    let wanted = tally.wanted(owner);
    let held = i64::try_from(active.len()).unwrap_or(i64::MAX);
    if held > wanted {
        let surplus = usize::try_from(held - wanted).unwrap_or(0);
        let mut youngest = active;
        youngest.sort_by_cached_key(|pod| (is_ready(pod), std::cmp::Reverse(name(pod).to_owned())));
        for pod in youngest.into_iter().take(surplus) {
            delete(pass, owner, pod);
        }
        return;
    }
    let missing = wanted - held;
    if missing == 0 || is_backing_off(pass, pods, tally) {
        return;
    }
    let indices = tally.free_indices(owner, pods);
    for (made, fresh) in (0_usize..).zip(pod::fresh_names(pass, owner, name(owner), missing)) {
        let index = indices.as_ref().map(|free| free.get(made).copied());
        if index == Some(None) {
            return;
        }
        create(pass, owner, &fresh, index.flatten());
    }
}

fn create(pass: &mut Pass<'_>, owner: &Value, fresh: &str, index: Option<i64>) {
    let mut pod = from_template(at(owner, "spec/template"), owner);
    set(&mut pod, "metadata/generateName", json!(format!("{}-", name(owner))));
    set(&mut pod, "metadata/name", json!(fresh));
    for (key, value) in [
        ("batch.kubernetes.io/controller-uid", uid(owner)),
        ("controller-uid", uid(owner)),
        ("batch.kubernetes.io/job-name", name(owner)),
        ("job-name", name(owner)),
    ] {
        set_entry(&mut pod, "metadata/labels", key, value);
    }
    if let Some(index) = index {
        set_entry(&mut pod, "metadata/annotations", INDEX, &index.to_string());
        let tail = fresh.rsplit('-').next().unwrap_or_default();
        set(&mut pod, "metadata/name", json!(format!("{}-{index}-{tail}", name(owner))));
        set(&mut pod, "spec/hostname", json!(format!("{}-{index}", name(owner))));
    }
    if let Some(refusal) = pod::refusal(pass, &pod, 0) {
        if at(owner, "status/startTime").is_null() {
            pass.warn(owner, "FailedCreate", format!("Error creating: {refusal}"));
        }
        return;
    }
    pass.note(owner, "SuccessfulCreate", format!("Created pod: {}", name(&pod)));
    pass.create(pod);
}

/// After a failure the next pod waits 10 s, 20 s, 40 s … up to six minutes; a success clears the wait.
fn is_backing_off(pass: &mut Pass<'_>, pods: &[Arc<Value>], tally: &Tally) -> bool {
    let ended = |pod: &Value| -> Option<Timestamp> {
        items(pod, "status/containerStatuses")
            .iter()
            .filter_map(|status| time(status, "state/terminated/finishedAt"))
            .max()
    };
    let in_phase = |wanted: &'static str| {
        pods.iter().filter(move |pod| phase(pod) == wanted).filter_map(|pod| ended(pod))
    };
    let last_success = in_phase("Succeeded").max();
    let since_then = in_phase("Failed")
        .filter(|failed| last_success.is_none_or(|success| *failed > success))
        .count();
    let Some(last) = in_phase("Failed").max().filter(|_| since_then > 0 && tally.failed > 0) else {
        return false;
    };
    let doublings = u32::try_from(since_then.saturating_sub(1)).unwrap_or(0).min(6);
    let seconds = (BACK_OFF << doublings).min(LONGEST_BACK_OFF);
    !pass.has_passed(last, SignedDuration::from_secs(seconds))
}
