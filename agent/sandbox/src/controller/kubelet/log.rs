//! Log lines that fit what a pod has been doing.

use jiff::Timestamp;
use serde_json::Value;

use super::super::object::{at, items, number, stamp, text};
use super::image::{Fate, behaviour};
use super::life::{Run, State};
use super::{Container, bound_at, containers};
use crate::conduct::Conduct;

/// Invents the log of a pod's containers at `now`, oldest line first; the lines of a container that was never
/// started are absent. With several containers the lines follow each other container by container.
pub fn logs(pod: &Value, now: Timestamp) -> Vec<String> {
    let bound = bound_at(pod).or_else(|| at(pod, "status/startTime").as_str()?.parse().ok());
    let Some(bound) = bound else { return Vec::new() };
    let mut lines = Vec::new();
    for container in containers(pod, &Conduct::default(), bound, now, false) {
        write(&container, &mut lines);
    }
    lines
}

/// The log of the newest run: while a container waits to be started again, the one before.
fn write(container: &Container<'_>, lines: &mut Vec<String>) {
    let image = text(container.spec, "image");
    let (since, is_ready, ended) = match container.glance.state {
        State::Creating | State::PullFailed | State::PullBackOff => return,
        State::Running { since, is_ready } => (since, is_ready, None),
        State::BackOff { .. } => match container.glance.last {
            Some(run) => (run.started, false, Some(run)),
            None => return,
        },
        State::Ended(run) => (run.started, false, Some(run)),
    };
    let called = text(container.spec, "name");
    lines.push(format!("{} INFO  {called}: starting {image}", stamp(since)));
    let fate = behaviour(image).fate;
    if fate == Fate::NeverReady {
        lines.push(format!(
            "{} WARN  {called}: not ready: waiting for the database at db:5432",
            stamp(since)
        ));
    }
    if is_ready || (fate == Fate::CrashesWhenReady && ended.is_some()) {
        let port = items(container.spec, "ports").first();
        let port = port.and_then(|port| number(port, "containerPort")).unwrap_or(8080);
        lines.push(format!("{} INFO  {called}: listening on :{port}", stamp(since)));
    }
    if let Some(run) = ended {
        end(called, fate, run, lines);
    }
}

fn end(called: &str, fate: Fate, run: Run, lines: &mut Vec<String>) {
    let at = stamp(run.finished);
    let line = match (run.code, fate) {
        (0, _) => format!("{at} INFO  {called}: done"),
        (_, Fate::CrashesWhenReady) => {
            format!("{at} ERROR {called}: lost connection to db:5432: connection reset by peer")
        }
        (_, Fate::Fails) => {
            format!("{at} ERROR {called}: task failed: step 1 of 1: permission denied")
        }
        (_, Fate::Crashes | Fate::Runs | Fate::NeverReady | Fate::CannotPull) => {
            format!("{at} ERROR {called}: failed to connect to db:5432: connection refused")
        }
    };
    lines.push(line);
    if run.code != 0 {
        lines.push(format!("{at} FATAL {called}: exiting with status {}", run.code));
    }
}
