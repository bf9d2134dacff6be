//! Failures, told so that a person can act on them.

use std::collections::BTreeMap;

use tidegate_schema::finding::Finding;

use crate::desired::Check;
use crate::object::ObjectRef;
use crate::pod::Pod;
use crate::release::{Failure, PodFailure};

/// An object that failed or was refused.
pub(super) fn of(code: &str, object: &ObjectRef, reason: &str, pods: Vec<PodFailure>) -> Failure {
    let args = [("object", object.to_string()), ("reason", reason.to_owned())];
    Failure { code: code.to_owned(), args: arguments(args), pods, job: None }
}

/// A node that was not emptied in time.
pub(super) fn drain(
    node: &ObjectRef,
    seconds: u64,
    reason: String,
    pods: Vec<PodFailure>,
) -> Failure {
    let args = [("object", node.to_string()), ("seconds", seconds.to_string()), ("reason", reason)];
    Failure { code: "RELEASE/DRAIN_TIMEOUT".to_owned(), args: arguments(args), pods, job: None }
}

/// A step that took too long, with what it waited for last.
pub(super) fn timeout(waits: &[Finding], seconds: u64) -> Failure {
    let awaited = waits.iter().filter_map(|wait| {
        let object = wait.args.get("object").cloned().unwrap_or_default();
        let held = wait.args.get("finalizers").filter(|held| !held.is_empty());
        let held = held.map(|held| format!("is held back by {held}"));
        let fields = wait.args.get("fields").filter(|_| wait.code == "APPROVAL/LIVE_CHANGED");
        let changed = fields.map(|fields| format!("was changed by somebody else {fields}"));
        let reason = wait.args.get("reason").cloned().or(held).or(changed).unwrap_or_default();
        Some(format!("{object} {reason}").trim().to_owned()).filter(|text| !text.is_empty())
    });
    let awaited: Vec<String> = awaited.take(5).collect();
    let args = [("seconds", seconds.to_string()), ("reason", awaited.join("; "))];
    let code = "RELEASE/STEP_TIMEOUT".to_owned();
    Failure { code, args: arguments(args), pods: Vec::new(), job: None }
}

/// The code of a step whose pods are not fit to be changed.
pub(super) const NOT_FIT: &str = "RELEASE/NOT_FIT_TO_BEGIN";

/// What kept the first group from being opened for too long.
pub(super) fn not_fit(workload: &ObjectRef, seconds: u64, reason: String) -> Failure {
    let args =
        [("object", workload.to_string()), ("seconds", seconds.to_string()), ("reason", reason)];
    Failure { code: NOT_FIT.to_owned(), args: arguments(args), pods: Vec::new(), job: None }
}

/// The code of more new pods than were approved.
pub(super) const BEYOND: &str = "RELEASE/BLAST_RADIUS_EXCEEDED";

/// More pods are new than the groups that were opened have.
pub(super) fn beyond(workload: &ObjectRef, new: u32, approved: u32) -> Failure {
    let args = [
        ("object", workload.to_string()),
        ("new", new.to_string()),
        ("approved", approved.to_string()),
    ];
    Failure { code: BEYOND.to_owned(), args: arguments(args), pods: Vec::new(), job: None }
}

/// A group whose pods did not become ready.
pub(super) fn group<'a>(
    code: &str,
    workload: &ObjectRef,
    seconds: u64,
    troubled: impl Iterator<Item = &'a Pod>,
) -> Failure {
    let pods = pods(troubled);
    let reason = pods.iter().map(|pod| format!("{}: {}", pod.pod, pod.reason));
    let reason = reason.collect::<Vec<_>>().join("; ");
    let args =
        [("object", workload.to_string()), ("seconds", seconds.to_string()), ("reason", reason)];
    Failure { code: code.to_owned(), args: arguments(args), pods, job: None }
}

/// A check that did not hold in time.
pub(super) fn check(
    code: &str,
    workload: &ObjectRef,
    check: &Check,
    missing: &[(Option<&Pod>, String)],
) -> Failure {
    let told = missing.iter().filter_map(|(pod, why)| {
        let pod = (*pod)?;
        Some(PodFailure {
            pod: pod.full_name(),
            uid: pod.uid.clone(),
            reason: check.name.clone(),
            message: why.clone(),
            log: Vec::new(),
            events: Vec::new(),
        })
    });
    let pods: Vec<PodFailure> = told.collect();
    let reason = missing.iter().map(|(pod, why)| match pod {
        Some(pod) => format!("{}: {why}", pod.full_name()),
        None => why.clone(),
    });
    let args = [
        ("object", workload.to_string()),
        ("check", check.name.clone()),
        ("seconds", check.timeout_seconds.to_string()),
        ("reason", reason.collect::<Vec<_>>().join("; ")),
    ];
    Failure { code: code.to_owned(), args: arguments(args), pods, job: None }
}

/// The pods that fail, with Kubernetes' own words. Log lines are added by who can read them.
pub(super) fn pods<'a>(pods: impl Iterator<Item = &'a Pod>) -> Vec<PodFailure> {
    all(pods.filter(|pod| !pod.is_ready()))
}

/// These pods, ready or not.
pub(super) fn all<'a>(pods: impl Iterator<Item = &'a Pod>) -> Vec<PodFailure> {
    let reason = |pod: &Pod| match &pod.trouble {
        Some(trouble) => trouble.reason.clone(),
        None if pod.is_ready() => "Running".to_owned(),
        None => "NotReady".to_owned(),
    };
    pods.map(|pod| PodFailure {
        pod: pod.full_name(),
        uid: pod.uid.clone(),
        reason: reason(pod),
        message: pod.trouble.as_ref().map(|it| it.message.clone()).unwrap_or_default(),
        log: Vec::new(),
        events: Vec::new(),
    })
    .collect()
}

fn arguments<const N: usize>(args: [(&str, String); N]) -> BTreeMap<String, String> {
    args.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
