//! One try of a task or a test, as it is kept: its Job, its pods, how their containers ended and what they wrote.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::live::Gap;
use crate::object::{Object, ObjectRef, text_of, time_of};
use crate::release::is_none;

/// So many pods of a run are kept: the last ones. A Job makes seven at the most unless it says otherwise (`backoffLimit`).
const PODS: usize = 20;

/// So many containers' logs of a run are asked for: those of the last pods.
const LOGS: usize = 20;

/// So much of one log is kept, in bytes of UTF-8: its end.
pub const LOG_BYTES: usize = 64 << 10;

/// So much of all logs of a run is kept: of the last pods first.
const ALL_LOGS_BYTES: usize = 128 << 10;

/// One try of a task or a test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskRun {
    /// Id of the step.
    pub step: String,
    /// Its Job.
    pub job: ObjectRef,
    /// The Job's uid: another try has another Job. Empty when the Job was not there to be looked at.
    pub uid: String,
    /// How it ended.
    pub outcome: RunOutcome,
    /// Kubernetes' word for it, such as `BackoffLimitExceeded`; empty when there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What Kubernetes says about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When the Job began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When the Job ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Its pods, oldest first.
    pub pods: Vec<RunPod>,
    /// Pods before these that are not kept.
    #[serde(default, skip_serializing_if = "is_none")]
    pub pods_left_out: u32,
    /// What could not be had of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RunOutcome {
    /// The Job is complete.
    Succeeded,
    /// The Job has failed.
    Failed,
    /// It was given up while it was under way: by its step's timeout, a rollback or a cancel.
    Unfinished,
    /// Nobody could say.
    Unknown,
}

/// One pod of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunPod {
    /// Its name; its namespace is the Job's.
    pub name: String,
    /// Its node; empty when none took it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// Its phase, as Kubernetes says it.
    pub phase: String,
    /// Why it is in this phase, such as `Evicted`; empty when there is no word for it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What Kubernetes says about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Its containers, each time they ran, as far as Kubernetes knows: the last time and the one before.
    pub containers: Vec<RunContainer>,
}

/// One time that a container of a run ran, or waited to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunContainer {
    /// Its name.
    pub name: String,
    /// Its image, as the pod names it.
    pub image: String,
    /// Whether it ran before this in the same pod and was started again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_before: bool,
    /// What it ended with; absent when it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// Kubernetes' word for its state: `Completed`, `Error`, `OOMKilled`, `ImagePullBackOff` …
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Its termination message, or why it waits (Kubernetes, "Determine the Reason for Pod Failure").
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

/// Which log: of a container of a pod, of its last time or of the one before.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogOf {
    /// The pod's name.
    pub pod: String,
    /// The container's name.
    pub container: String,
    /// Whether it is of the time before the last.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_before: bool,
}

/// What a container wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunLog {
    /// Which.
    #[serde(flatten)]
    pub of: LogOf,
    /// The end of it.
    pub text: String,
    /// Whether there is more before it that was not kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_cut: bool,
}

impl TaskRun {
    /// What the server says of a Job and of the pods that it controls. Either may be what could not be had.
    pub fn of(
        step: &str,
        reference: &ObjectRef,
        job: Result<Option<&Object>, Gap>,
        pods: Result<&[Object], Gap>,
    ) -> Self {
        let mut run = Self {
            step: step.to_owned(),
            job: reference.clone(),
            uid: String::new(),
            outcome: RunOutcome::Unknown,
            reason: String::new(),
            message: String::new(),
            started_at: None,
            ended_at: None,
            pods: Vec::new(),
            pods_left_out: 0,
            gaps: Vec::new(),
        };
        match job {
            Ok(Some(job)) => run.read_job(job),
            // Such as by its `ttlSecondsAfterFinished`.
            Ok(None) => run.gaps.push(Gap {
                code: "CLUSTER/NOT_FOUND".to_owned(),
                message: format!("{reference} is gone"),
            }),
            Err(gap) => run.gaps.push(gap),
        }
        match pods {
            Ok(pods) => {
                let mut pods: Vec<&Object> = pods.iter().collect();
                let made = |pod: &Object| pod.text("/metadata/creationTimestamp").to_owned();
                pods.sort_by_key(|pod| (made(pod), pod.name().to_owned()));
                let left_out = pods.len().saturating_sub(PODS);
                run.pods_left_out = u32::try_from(left_out).unwrap_or(u32::MAX);
                run.pods = pods.into_iter().skip(left_out).map(RunPod::of).collect();
            }
            Err(gap) => run.gaps.push(gap),
        }
        run
    }

    fn read_job(&mut self, job: &Object) {
        job.uid().clone_into(&mut self.uid);
        let is = |name: &str| {
            let condition = job.condition(name)?;
            (text_of(condition, "status") == "True").then_some(condition)
        };
        self.started_at = time_of(job.get("/status/startTime"));
        self.ended_at = time_of(job.get("/status/completionTime"));
        self.outcome = RunOutcome::Unfinished;
        if let Some(failed) = is("Failed") {
            self.outcome = RunOutcome::Failed;
            text_of(failed, "reason").clone_into(&mut self.reason);
            text_of(failed, "message").clone_into(&mut self.message);
            // A Job that failed has no `completionTime`.
            self.ended_at = time_of(failed.get("lastTransitionTime"));
        } else if is("Complete").is_some() {
            self.outcome = RunOutcome::Succeeded;
        }
    }

    /// The logs that are worth asking for, of the last pods first: of containers that have begun.
    pub fn logs_wanted(&self) -> Vec<LogOf> {
        let of = |pod: &RunPod, container: &RunContainer| LogOf {
            pod: pod.name.clone(),
            container: container.name.clone(),
            is_before: container.is_before,
        };
        let pods = self.pods.iter().rev();
        let begun = pods.flat_map(|pod| {
            let containers = pod.containers.iter().filter(|it| it.started_at.is_some());
            containers.map(move |container| of(pod, container))
        });
        begun.take(LOGS).collect()
    }

    /// What is kept of the logs that were had, and a gap for each that was not.
    pub fn take_logs(&mut self, logs: Vec<(LogOf, Result<String, Gap>)>) -> Vec<RunLog> {
        let mut had = BTreeMap::new();
        for (of, log) in logs {
            match log {
                Ok(text) => {
                    had.insert(of, text);
                }
                Err(gap) => {
                    let message = format!("log of {} {}: {}", of.pod, of.container, gap.message);
                    self.gaps.push(Gap { code: gap.code, message });
                }
            }
        }
        self.gaps.sort_by(|left, right| left.message.cmp(&right.message));
        let mut room = ALL_LOGS_BYTES;
        let mut kept = Vec::new();
        for of in self.logs_wanted() {
            let Some(text) = had.remove(&of) else { continue };
            let end = end_of(&text, room.min(LOG_BYTES));
            room = room.saturating_sub(end.len());
            kept.push(RunLog { of, is_cut: end.len() < text.len(), text: end.to_owned() });
        }
        kept.sort_by_key(|log| self.pods.iter().position(|pod| pod.name == log.of.pod));
        kept
    }
}

/// The last whole lines of a text that fit into so many bytes; of a line that is longer, its end.
fn end_of(text: &str, bytes: usize) -> &str {
    let Some(over) = text.len().checked_sub(bytes).filter(|over| *over > 0) else { return text };
    let from = (over..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    let end = text.get(from..).unwrap_or_default();
    let is_whole_line = text.get(..from).is_some_and(|before| before.ends_with('\n'));
    match end.split_once('\n') {
        Some((_, rest)) if !is_whole_line && !rest.is_empty() => rest,
        _ => end,
    }
}

impl RunPod {
    fn of(pod: &Object) -> Self {
        let statuses = ["/status/initContainerStatuses", "/status/containerStatuses"];
        let statuses = statuses.into_iter().filter_map(|at| pod.get(at)?.as_array()).flatten();
        Self {
            name: pod.name().to_owned(),
            node: pod.text("/spec/nodeName").to_owned(),
            phase: pod.text("/status/phase").to_owned(),
            reason: pod.text("/status/reason").to_owned(),
            message: pod.text("/status/message").to_owned(),
            containers: statuses.flat_map(RunContainer::of).collect(),
        }
    }
}

impl RunContainer {
    /// The last time and the one before, the older first.
    fn of(status: &Value) -> Vec<Self> {
        let one = |state: &Value, is_before: bool| Self {
            name: text_of(status, "name").to_owned(),
            image: text_of(status, "image").to_owned(),
            is_before,
            exit_code: state.get("exitCode").and_then(Value::as_i64),
            reason: text_of(state, "reason").to_owned(),
            message: text_of(state, "message").to_owned(),
            started_at: time_of(state.get("startedAt")),
            ended_at: time_of(state.get("finishedAt")),
        };
        let before = status.pointer("/lastState/terminated").map(|state| one(state, true));
        let states = ["/state/terminated", "/state/running", "/state/waiting"];
        let last = states.into_iter().find_map(|at| status.pointer(at));
        before.into_iter().chain(last.map(|state| one(state, false))).collect()
    }
}

#[cfg(test)]
mod tests;
