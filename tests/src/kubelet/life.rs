//! What a pod does next: a pure function of the pod, with the image words that the sandbox has too.
//!
//! | word in an image's last part | what its container does |
//! | --- | --- |
//! | `pull-fail` | never starts: `ErrImagePull`, then `ImagePullBackOff` |
//! | `crash` | ends with code 1 as soon as it runs, and again after each back-off |
//! | `ready-then-crash` | becomes ready, ends with code 1 after five seconds |
//! | `never-ready` | runs and never becomes ready |
//! | `slow-10s` | runs at once and is ready after ten seconds (a task: ends after ten seconds) |
//! | `fail` | as a task: ends with code 1; else as `crash` |
//!
//! A pod that is not restarted always (a Job's) ends by itself, with code 0 unless a word says otherwise.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodCondition, PodSpec};
use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::START;

/// How long a task runs.
const RUN: Duration = Duration::from_millis(300);
/// How long a container that is told to stop takes.
const STOP: Duration = Duration::from_millis(50);
/// How long a container with `ready-then-crash` stays ready.
const HEALTHY: Duration = Duration::from_secs(5);
/// From one word of a failing container to the next, as in `ErrImagePull` to `ImagePullBackOff`.
const PAUSE: Duration = Duration::from_millis(500);
/// The kubelet's first back-off and its longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(10), Duration::from_mins(5));

/// What is to be done with a pod, and when.
#[derive(Debug)]
pub struct Next {
    /// From now.
    pub after: Duration,
    /// The same for the same step of the same pod.
    pub marker: String,
    /// What.
    pub step: Step,
}

/// One write.
#[derive(Debug)]
pub enum Step {
    /// To this node.
    Bind(String),
    /// A patch of the status.
    Status(Value),
    /// The last deletion: the containers have stopped.
    Finalise,
}

impl Next {
    /// A step that need not wait.
    pub fn at_once(marker: &str, step: Step) -> Self {
        Self { after: Duration::ZERO, marker: marker.to_owned(), step }
    }
}

/// What one container is made to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Normal,
    PullFail,
    Crash,
    ReadyThenCrash,
    NeverReady,
    Slow(Duration),
    Fail,
}

/// Where a container is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Creating,
    PullFailed,
    PullBackOff,
    Started,
    Ready,
    Ended { code: i32 },
    BackOff,
}

/// What a pod that is bound does next; `None` when it stays as it is until somebody else acts.
pub fn next(pod: &Pod, now: Timestamp) -> Option<Next> {
    if pod.metadata.deletion_timestamp.is_some() {
        return Some(Next { after: STOP, marker: "finalise".to_owned(), step: Step::Finalise });
    }
    let spec = pod.spec.as_ref()?;
    let status = pod.status.clone().unwrap_or_default();
    if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
        return None;
    }
    if status.start_time.is_none() {
        let states = vec![(State::Creating, 0); spec.containers.len()];
        return Some(Next::at_once("create", Step::Status(pod_status(pod, spec, &states, now))));
    }
    let is_task = spec.restart_policy.as_deref() != Some("Always");
    let is_restarted = spec.restart_policy.as_deref() != Some("Never");
    let held: Vec<_> = spec.containers.iter().map(|container| held_state(pod, container)).collect();
    let mut states = held.clone();
    let mut due: Option<Duration> = None;
    // The containers that are due first move together.
    let moves: Vec<_> = (spec.containers.iter().zip(&held))
        .map(|(container, (state, restarts))| {
            step_of(word(container), state, *restarts, is_task, is_restarted)
        })
        .collect();
    for (after, ..) in moves.iter().flatten() {
        due = Some(due.map_or(*after, |due| due.min(*after)));
    }
    for (place, step) in states.iter_mut().zip(moves) {
        if let Some((after, state, restarts)) = step
            && Some(after) == due
        {
            *place = (state, restarts);
        }
    }
    let patch = pod_status(pod, spec, &states, now);
    match due {
        Some(after) => {
            Some(Next { after, marker: format!("{states:?}"), step: Step::Status(patch) })
        }
        // A readiness gate was opened or closed.
        None if is_ready(pod) != Some(gates_are_open(pod, spec) && all_ready(&states)) => {
            Some(Next::at_once(&format!("gates {:?}", is_ready(pod)), Step::Status(patch)))
        }
        None => None,
    }
}

/// Says why a pod waits for a node, once.
pub fn unschedulable(pod: &Pod, why: &str) -> Option<Next> {
    let held = condition(pod, "PodScheduled").and_then(|condition| condition.message.as_deref());
    if held == Some(why) {
        return None;
    }
    let status = json!({"conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why,
    }]});
    Some(Next::at_once(why, Step::Status(status)))
}

fn word(container: &Container) -> Word {
    let image = container.image.as_deref().unwrap_or_default();
    let reference = image.split('@').next().unwrap_or_default();
    let last = reference.rsplit('/').next().unwrap_or_default();
    let words: Vec<&str> = last.split(|letter: char| !letter.is_ascii_alphanumeric()).collect();
    let says = |wanted: &[&str]| words.windows(wanted.len()).any(|found| found == wanted);
    if says(&["pull", "fail"]) {
        Word::PullFail
    } else if says(&["never", "ready"]) {
        Word::NeverReady
    } else if says(&["ready", "then", "crash"]) {
        Word::ReadyThenCrash
    } else if says(&["crash"]) {
        Word::Crash
    } else if says(&["fail"]) {
        Word::Fail
    } else {
        let slow = |pair: &[&str]| match pair {
            ["slow", time] => time.strip_suffix('s')?.parse().ok(),
            _ => None,
        };
        words
            .windows(2)
            .find_map(slow)
            .map_or(Word::Normal, |time| Word::Slow(Duration::from_secs(time)))
    }
}

/// A container's next state with its restarts, and after how long.
fn step_of(
    word: Word,
    state: &State,
    restarts: i32,
    is_task: bool,
    is_restarted: bool,
) -> Option<(Duration, State, i32)> {
    let crashes = word == Word::Crash || (word == Word::Fail && !is_task);
    let run = if let Word::Slow(run) = word { run } else { RUN };
    match state {
        State::Creating if word == Word::PullFail => Some((START, State::PullFailed, restarts)),
        State::Creating | State::BackOff => {
            let after = if *state == State::Creating { START } else { back_off(restarts) };
            let restarts = restarts + i32::from(*state == State::BackOff);
            let waits =
                matches!(word, Word::NeverReady) || (matches!(word, Word::Slow(_)) && !is_task);
            let state = match () {
                () if crashes => State::Ended { code: 1 },
                () if waits => State::Started,
                () => State::Ready,
            };
            Some((after, state, restarts))
        }
        State::PullFailed => Some((PAUSE, State::PullBackOff, restarts)),
        State::Started | State::Ready if is_task && word != Word::NeverReady => {
            let code = i32::from(matches!(word, Word::Fail | Word::ReadyThenCrash));
            Some((run, State::Ended { code }, restarts))
        }
        State::Started => {
            let Word::Slow(after) = word else { return None };
            Some((after, State::Ready, restarts))
        }
        State::Ready if word == Word::ReadyThenCrash => {
            Some((HEALTHY, State::Ended { code: 1 }, restarts))
        }
        State::Ended { code } if is_restarted && *code != 0 => {
            Some((PAUSE, State::BackOff, restarts))
        }
        State::Ready | State::PullBackOff | State::Ended { .. } => None,
    }
}

fn back_off(restarts: i32) -> Duration {
    let (first, longest) = BACK_OFF;
    first.saturating_mul(1 << restarts.clamp(0, 8)).min(longest)
}

fn held_state(pod: &Pod, container: &Container) -> (State, i32) {
    let Some(held) = held(pod, &container.name) else { return (State::Creating, 0) };
    let state = held.state.clone().unwrap_or_default();
    let reason = state.waiting.and_then(|waiting| waiting.reason).unwrap_or_default();
    let state = match (state.running, state.terminated) {
        (Some(_), _) if held.ready => State::Ready,
        (Some(_), _) => State::Started,
        (None, Some(ended)) => State::Ended { code: ended.exit_code },
        (None, None) => match reason.as_str() {
            "ErrImagePull" => State::PullFailed,
            "ImagePullBackOff" => State::PullBackOff,
            "CrashLoopBackOff" => State::BackOff,
            _ => State::Creating,
        },
    };
    (state, held.restart_count)
}

fn held<'pod>(pod: &'pod Pod, container: &str) -> Option<&'pod ContainerStatus> {
    let status = pod.status.as_ref()?;
    status.container_statuses.iter().flatten().find(|status| status.name == container)
}

fn condition<'pod>(pod: &'pod Pod, kind: &str) -> Option<&'pod PodCondition> {
    pod.status.as_ref()?.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}

fn is_ready(pod: &Pod) -> Option<bool> {
    Some(condition(pod, "Ready")?.status == "True")
}

fn all_ready(states: &[(State, i32)]) -> bool {
    states.iter().all(|(state, _)| *state == State::Ready)
}

fn gates_are_open(pod: &Pod, spec: &PodSpec) -> bool {
    spec.readiness_gates.iter().flatten().all(|gate| {
        condition(pod, &gate.condition_type).is_some_and(|condition| condition.status == "True")
    })
}

fn pod_status(pod: &Pod, spec: &PodSpec, states: &[(State, i32)], now: Timestamp) -> Value {
    let is_restarted = spec.restart_policy.as_deref() != Some("Never");
    let code = |state: &State| {
        let State::Ended { code } = state else { return None };
        (*code == 0 || !is_restarted).then_some(*code)
    };
    let codes: Option<Vec<i32>> = states.iter().map(|(state, _)| code(state)).collect();
    let waits =
        |state: &State| matches!(state, State::Creating | State::PullFailed | State::PullBackOff);
    let phase = match codes {
        Some(codes) if codes.iter().all(|code| *code == 0) => "Succeeded",
        Some(_) => "Failed",
        None if states.iter().any(|(state, _)| waits(state)) => "Pending",
        None => "Running",
    };
    let containers = spec.containers.iter().zip(states);
    let containers = containers.map(|(container, (state, restarts))| {
        container_status(pod, container, state, *restarts, now)
    });
    let is_done = phase == "Succeeded";
    let ready = all_ready(states);
    let waiting = match () {
        () if is_done => Some("PodCompleted"),
        () if !ready => Some("ContainersNotReady"),
        () => Some("ReadinessGatesNotReady"),
    };
    let number = pod
        .uid()
        .unwrap_or_default()
        .bytes()
        .fold(7_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    let address = format!("10.244.{}.{}", number >> 8 & 0xff, number % 254 + 1);
    let mut status = json!({
        "phase": phase,
        "startTime": pod.status.as_ref().and_then(|status| status.start_time.clone()).map_or_else(
            || Value::from(time(now)), |time| json!(time)),
        "hostIP": "192.0.2.1",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": [
            set_condition(pod, "Initialized", true, is_done.then_some("PodCompleted"), now),
            set_condition(pod, "ContainersReady", ready, waiting, now),
            set_condition(pod, "Ready", ready && gates_are_open(pod, spec), waiting, now),
        ],
        "containerStatuses": containers.collect::<Vec<_>>(),
    });
    if let (Some(initial), Some(status)) = (initial_statuses(spec, now), status.as_object_mut()) {
        status.insert("initContainerStatuses".to_owned(), initial);
    }
    status
}

/// Init containers have ended well before anything else is told.
fn initial_statuses(spec: &PodSpec, now: Timestamp) -> Option<Value> {
    let initial = spec.init_containers.as_ref().filter(|list| !list.is_empty())?;
    let ended = initial.iter().map(|container| {
        let time = time(now);
        json!({
            "name": container.name, "image": container.image, "imageID": "", "ready": true, "restartCount": 0,
            "state": {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": time, "finishedAt": time}},
        })
    });
    Some(ended.collect())
}

fn set_condition(
    pod: &Pod,
    kind: &str,
    holds: bool,
    why_not: Option<&str>,
    now: Timestamp,
) -> Value {
    let status = if holds { "True" } else { "False" };
    let since = condition(pod, kind)
        .filter(|held| held.status == status)
        .and_then(|held| held.last_transition_time.clone());
    json!({
        "type": kind,
        "status": status,
        "reason": if holds && kind != "Initialized" { None } else { why_not },
        "lastTransitionTime": since.map_or_else(|| Value::from(time(now)), |time| json!(time)),
    })
}

fn container_status(
    pod: &Pod,
    container: &Container,
    state: &State,
    restarts: i32,
    now: Timestamp,
) -> Value {
    let held = held(pod, &container.name);
    let held_state = held.and_then(|held| held.state.clone()).unwrap_or_default();
    let waiting =
        |reason: &str, message: &str| json!({"waiting": {"reason": reason, "message": message}});
    let now = time(now);
    let image = container.image.as_deref().unwrap_or_default();
    let told = match state {
        State::Creating => json!({"waiting": {"reason": "ContainerCreating"}}),
        State::PullFailed => waiting("ErrImagePull", &format!("failed to pull image \"{image}\"")),
        State::PullBackOff => {
            waiting("ImagePullBackOff", &format!("Back-off pulling image \"{image}\""))
        }
        State::BackOff => waiting("CrashLoopBackOff", "back-off restarting failed container"),
        State::Started | State::Ready => match held_state.running {
            Some(running) => json!({"running": running}),
            None => json!({"running": {"startedAt": now}}),
        },
        State::Ended { code } => match &held_state.terminated {
            Some(ended) => json!({"terminated": ended}),
            None => json!({"terminated": {
                "exitCode": code, "reason": if *code == 0 { "Completed" } else { "Error" },
                "startedAt": held_state.running.map_or_else(|| json!(now), |running| json!(running.started_at)),
                "finishedAt": now,
            }}),
        },
    };
    // What ended before is kept through the back-off and the next run.
    let last = match (state, &held_state.terminated) {
        (State::Ended { .. }, _) | (_, None) => held.and_then(|held| json!(held.last_state).into()),
        (_, Some(ended)) => Some(json!({"terminated": ended})),
    };
    json!({
        "name": container.name,
        "image": image,
        "imageID": format!("fake://{image}"),
        "ready": *state == State::Ready,
        "started": matches!(state, State::Started | State::Ready),
        "restartCount": restarts,
        "state": told,
        "lastState": last.unwrap_or_else(|| json!({})),
    })
}

/// Kubernetes writes times in whole seconds.
fn time(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests;
