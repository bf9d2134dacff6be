//! A Deployment's strategy in numbers.

use jiff::SignedDuration;
use serde_json::Value;

use crate::controller::object::{at, number, scaled, text};

/// How far a rollout may go from the wanted size, and for how long.
pub(super) struct Limits {
    pub(super) replicas: i64,
    pub(super) recreates: bool,
    /// Pods above the wanted size.
    pub(super) surge: i64,
    /// Pods below it.
    pub(super) unavailable: i64,
    /// How long without progress is too long.
    pub(super) deadline: Option<SignedDuration>,
}

impl Limits {
    pub(super) fn of(deployment: &Value) -> Self {
        let replicas = number(deployment, "spec/replicas").unwrap_or(1);
        let recreates = text(deployment, "spec/strategy/type") == "Recreate";
        let quarter = Value::from("25%");
        let limit = |field: &str, round_up| {
            let value = at(deployment, &format!("spec/strategy/rollingUpdate/{field}"));
            scaled(if value.is_null() { &quarter } else { value }, replicas, round_up).unwrap_or(0)
        };
        let surge = limit("maxSurge", true);
        let mut unavailable = limit("maxUnavailable", false);
        if surge == 0 && unavailable == 0 {
            // Percentages may round both to zero; then nothing could ever move.
            unavailable = 1;
        }
        let deadline = number(deployment, "spec/progressDeadlineSeconds")
            .filter(|seconds| *seconds != i64::from(i32::MAX))
            .map(SignedDuration::from_secs);
        Self {
            replicas,
            recreates,
            surge: if recreates { 0 } else { surge },
            unavailable: if recreates { 0 } else { unavailable.min(replicas) },
            deadline,
        }
    }

    pub(super) fn min_available(&self) -> i64 {
        self.replicas - self.unavailable
    }
}
