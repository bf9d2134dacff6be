//! A Deployment's status: its counters, and whether it is available and getting anywhere.

use serde_json::{Value, json};

use super::super::object::{
    at, condition, name, number, put_condition, remove_condition, set, stamp, text, time, unset,
};
use super::super::pass::{Pass, generation};
use super::{Rollout, Version, failure};

impl Rollout<'_> {
    /// The counters and the condition `Available`, as of the replica sets' own statuses.
    pub(super) fn write_counts(&mut self, pass: &Pass<'_>) {
        let available = self.sum(|version| version.counted("availableReplicas"));
        let wanted = self.sum(Version::replicas);
        let updated = self.fresh.as_ref().map_or(0, |fresh| fresh.counted("replicas"));
        set(&mut self.status, "observedGeneration", generation(self.deployment));
        let counts = [
            ("replicas", self.sum(|version| version.counted("replicas"))),
            ("updatedReplicas", updated),
            ("readyReplicas", self.sum(|version| version.counted("readyReplicas"))),
            ("availableReplicas", available),
            ("unavailableReplicas", (wanted - available).max(0)),
        ];
        for (field, count) in counts {
            if count == 0 {
                unset(&mut self.status, field);
            } else {
                set(&mut self.status, field, json!(count));
            }
        }
        if available >= self.limits.min_available() {
            let cause = ("MinimumReplicasAvailable", "Deployment has minimum availability.");
            self.set_condition(pass, "Available", "True", cause);
        } else {
            let cause =
                ("MinimumReplicasUnavailable", "Deployment does not have minimum availability.");
            self.set_condition(pass, "Available", "False", cause);
        }
    }

    /// The counters, and the conditions `Progressing` and `ReplicaFailure`.
    pub(super) fn write_progress(&mut self, pass: &mut Pass<'_>) {
        self.write_counts(pass);
        let reason = self.progress_reason().to_owned();
        let is_settled = self.count("replicas") == self.count("updatedReplicas")
            && reason == "NewReplicaSetAvailable";
        let subject = self.fresh.as_ref().map_or_else(
            || format!("Deployment \"{}\"", name(self.deployment)),
            |fresh| format!("ReplicaSet \"{}\"", name(&fresh.wanted)),
        );
        match self.limits.deadline {
            None => remove_condition(&mut self.status, "Progressing"),
            Some(_) if is_settled => {}
            Some(_) if self.is_complete() => {
                let message = format!("{subject} has successfully progressed.");
                self.progressing(pass, "True", "NewReplicaSetAvailable", &message);
            }
            Some(_) if self.has_progressed() => self.renew_progress(pass, &subject),
            Some(deadline) => {
                let last = condition(&self.status, "Progressing")
                    .and_then(|progress| time(progress, "lastUpdateTime"));
                let is_over = match reason.as_str() {
                    "NewReplicaSetAvailable" => false,
                    "ProgressDeadlineExceeded" => true,
                    _ => last.is_some_and(|last| pass.has_passed(last, deadline)),
                };
                if is_over {
                    let message = format!("{subject} has timed out progressing.");
                    self.progressing(pass, "False", "ProgressDeadlineExceeded", &message);
                }
            }
        }
        match self.fresh.iter().chain(&self.old).find_map(failure).cloned() {
            Some(failure) => {
                let cause = (text(&failure, "reason"), text(&failure, "message"));
                self.set_condition(pass, "ReplicaFailure", "True", cause);
            }
            None => remove_condition(&mut self.status, "ReplicaFailure"),
        }
    }

    /// Progress starts the deadline anew, also when the reason stays the same.
    fn renew_progress(&mut self, pass: &Pass<'_>, subject: &str) {
        let since = condition(&self.status, "Progressing")
            .filter(|held| text(held, "status") == "True")
            .map(|held| text(held, "lastTransitionTime").to_owned());
        remove_condition(&mut self.status, "Progressing");
        let message = format!("{subject} is progressing.");
        self.progressing(pass, "True", "ReplicaSetUpdated", &message);
        if let Some(since) = since
            && let Some(held) = condition(&self.status, "Progressing")
        {
            let mut renewed = held.clone();
            set(&mut renewed, "lastTransitionTime", json!(since));
            put_condition(&mut self.status, renewed);
        }
    }

    pub(super) fn note_pause(&mut self, pass: &Pass<'_>, paused: bool) {
        let reason = self.progress_reason();
        if self.limits.deadline.is_none() || reason == "ProgressDeadlineExceeded" {
            return;
        }
        let was_paused = reason == "DeploymentPaused";
        if paused && !was_paused {
            self.progressing(pass, "Unknown", "DeploymentPaused", "Deployment is paused");
        } else if !paused && was_paused {
            self.progressing(pass, "Unknown", "DeploymentResumed", "Deployment is resumed");
        }
    }

    pub(super) fn progressing(
        &mut self,
        pass: &Pass<'_>,
        truth: &str,
        reason: &str,
        message: &str,
    ) {
        self.set_condition(pass, "Progressing", truth, (reason, message));
    }

    /// As Kubernetes does it: same status and reason means that nothing is written, not even the message.
    fn set_condition(&mut self, pass: &Pass<'_>, kind: &str, truth: &str, cause: (&str, &str)) {
        let held = condition(&self.status, kind);
        let same_status = held.filter(|held| text(held, "status") == truth);
        if same_status.is_some_and(|held| text(held, "reason") == cause.0) {
            return;
        }
        let now = stamp(pass.now);
        let since = same_status.map_or(now.as_str(), |held| text(held, "lastTransitionTime"));
        let fresh: Value = json!({
            "type": kind,
            "status": truth,
            "lastUpdateTime": now,
            "lastTransitionTime": since,
            "reason": cause.0,
            "message": cause.1,
        });
        put_condition(&mut self.status, fresh);
    }

    fn progress_reason(&self) -> &str {
        condition(&self.status, "Progressing").map_or("", |held| text(held, "reason"))
    }

    fn count(&self, field: &str) -> i64 {
        number(&self.status, field).unwrap_or(0)
    }

    /// All pods are of the current template and available, and no old ones are left.
    pub(super) fn is_complete(&self) -> bool {
        let wanted = self.limits.replicas;
        ["updatedReplicas", "replicas", "availableReplicas"]
            .iter()
            .all(|field| self.count(field) == wanted)
            && at(&self.status, "observedGeneration") == &generation(self.deployment)
    }

    fn has_progressed(&self) -> bool {
        let before = |field: &str| number(self.deployment, &format!("status/{field}")).unwrap_or(0);
        let old = self.count("replicas") - self.count("updatedReplicas");
        self.count("updatedReplicas") > before("updatedReplicas")
            || old < before("replicas") - before("updatedReplicas")
            || self.count("readyReplicas") > before("readyReplicas")
            || self.count("availableReplicas") > before("availableReplicas")
    }
}
