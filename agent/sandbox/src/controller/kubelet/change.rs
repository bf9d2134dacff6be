//! The events that a change of a pod's status is told by.

use serde_json::Value;

use super::super::object::{at, items, name, namespace, number, text, uid};
use super::super::pass::Pass;
use super::status::{Obstacle, pull_error};

/// Tells what differs between the pod's status and the fresh one.
pub(super) fn tell(pass: &mut Pass<'_>, pod: &Value, fresh: &Value, obstacle: Option<&Obstacle>) {
    let is_first = items(pod, "status/containerStatuses").is_empty();
    if let Some(obstacle) = obstacle
        && is_first
    {
        let message = match obstacle.event {
            "Failed" => format!("Error: {}", obstacle.message),
            _ => obstacle.message.clone(),
        };
        pass.warn(pod, obstacle.event, message);
    }
    for field in ["initContainerStatuses", "containerStatuses"] {
        for status in items(fresh, field) {
            let called = text(status, "name");
            let before = items(at(pod, "status"), field).iter().find(|s| text(s, "name") == called);
            container(pass, pod, before.unwrap_or(&Value::Null), status);
        }
    }
}

fn container(pass: &mut Pass<'_>, pod: &Value, before: &Value, now: &Value) {
    let called = text(now, "name");
    let image = text(now, "image");
    let restarts = |status: &Value| number(status, "restartCount").unwrap_or(-1);
    let runs = |status: &Value| {
        !at(status, "state/running").is_null() || !at(status, "state/terminated").is_null()
    };
    if runs(now) && (!runs(before) || restarts(before) != restarts(now)) {
        let pulled = if restarts(now) > 0 {
            format!("Container image \"{image}\" already present on machine")
        } else {
            format!("Successfully pulled image \"{image}\" in 300ms (300ms including waiting)")
        };
        pass.note(pod, "Pulled", pulled);
        pass.note(pod, "Created", format!("Created container: {called}"));
        pass.note(pod, "Started", format!("Started container {called}"));
    }
    let reason = text(now, "state/waiting/reason");
    if reason == text(before, "state/waiting/reason") {
        return;
    }
    match reason {
        "ContainerCreating" => pass.note(pod, "Pulling", format!("Pulling image \"{image}\"")),
        "ErrImagePull" => {
            let message = format!("Failed to pull image \"{image}\": {}", pull_error(image));
            pass.warn(pod, "Failed", message);
        }
        "ImagePullBackOff" => {
            pass.note(pod, "BackOff", format!("Back-off pulling image \"{image}\""));
        }
        "CrashLoopBackOff" => {
            let message = format!(
                "Back-off restarting failed container {called} in pod {}_{}({})",
                name(pod),
                namespace(pod),
                uid(pod)
            );
            pass.warn(pod, "BackOff", message);
        }
        _ => {}
    }
}
