//! Autoscalers: they report what they see, and change nothing: load is not simulated.

use serde_json::{Value, json};

use super::object::{at, items, namespace, number, set, set_condition, text};
use super::pass::{Pass, generation};

/// Reports for each autoscaler whose turn it is.
pub(super) fn reconcile(pass: &mut Pass<'_>) {
    while let Some(autoscaler) = pass.next("autoscaling", "HorizontalPodAutoscaler") {
        report(pass, &autoscaler);
    }
}

fn report(pass: &mut Pass<'_>, autoscaler: &Value) {
    let target = at(autoscaler, "spec/scaleTargetRef");
    let group = super::object::group(target);
    let scaled = pass.get(group, text(target, "kind"), namespace(autoscaler), text(target, "name"));
    let mut status = json!({
        "observedGeneration": generation(autoscaler),
        "currentReplicas": 0,
        "desiredReplicas": 0,
        "conditions": items(autoscaler, "status/conditions"),
    });
    let Some(scaled) = scaled else {
        let message = format!(
            "the HPA controller was unable to get the target's current scale: {} \"{}\" not found",
            text(target, "kind").to_lowercase(),
            text(target, "name")
        );
        let cause = ("FailedGetScale", message.as_str());
        set_condition(&mut status, pass.now, "AbleToScale", "False", cause);
        if pass.update_status(autoscaler, status) {
            pass.warn(autoscaler, "FailedGetScale", message);
        }
        return;
    };
    let current = number(&scaled, "status/replicas").unwrap_or(0);
    let wanted = number(&scaled, "spec/replicas").unwrap_or(1);
    set(&mut status, "currentReplicas", json!(current));
    set(&mut status, "desiredReplicas", json!(wanted));
    for (kind, truth, reason, message) in [
        ("AbleToScale", "True", "ReadyForNewScale", "recommended size matches current size"),
        (
            "ScalingActive",
            if wanted == 0 { "False" } else { "True" },
            if wanted == 0 { "ScalingDisabled" } else { "ValidMetricFound" },
            "the sandbox simulates no load, so the size stays as it is",
        ),
        (
            "ScalingLimited",
            "False",
            "DesiredWithinRange",
            "the desired count is within the acceptable range",
        ),
    ] {
        set_condition(&mut status, pass.now, kind, truth, (reason, message));
    }
    pass.update_status(autoscaler, status);
}
