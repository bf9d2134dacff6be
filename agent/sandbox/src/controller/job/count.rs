//! Counting a job's pods: what has been done, what went wrong, what is left.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::super::object::{annotation, is_terminating, number, set, text, unset};
use super::super::pod::{is_active, is_ready, phase};
use super::INDEX;

/// A job's pods, counted. Pods that were deleted after they ended stay counted, by the job's own status.
pub(super) struct Tally {
    completions: Option<i64>,
    is_indexed: bool,
    done: BTreeSet<i64>,
    succeeded: i64,
    pub(super) failed: i64,
    active: i64,
}

impl Tally {
    pub(super) fn of(owner: &Value, pods: &[Arc<Value>]) -> Self {
        let is_indexed = text(owner, "spec/completionMode") == "Indexed";
        let count = |test: &dyn Fn(&Value) -> bool| {
            i64::try_from(pods.iter().filter(|pod| test(pod)).count()).unwrap_or(i64::MAX)
        };
        let before = |field: &str| number(owner, &format!("status/{field}")).unwrap_or(0);
        let done: BTreeSet<i64> = pods
            .iter()
            .filter(|pod| phase(pod) == "Succeeded")
            .filter_map(|pod| index(pod))
            .collect();
        let succeeded = if is_indexed {
            i64::try_from(done.len()).unwrap_or(i64::MAX)
        } else {
            count(&|pod| phase(pod) == "Succeeded")
        };
        // A pod that is taken away while it works has failed, once it is gone or going.
        let failed = count(&|pod| phase(pod) == "Failed");
        Self {
            completions: number(owner, "spec/completions"),
            is_indexed,
            done,
            succeeded: succeeded.max(before("succeeded")),
            failed: failed.max(before("failed")),
            active: count(&is_active),
        }
    }

    /// Enough successes; without a number of completions, one success and nobody at work any more.
    pub(super) fn is_complete(&self) -> bool {
        match self.completions {
            Some(completions) => self.succeeded >= completions,
            None => self.succeeded > 0 && self.active == 0,
        }
    }

    /// How many pods should be at work now.
    pub(super) fn wanted(&self, owner: &Value) -> i64 {
        let parallelism = number(owner, "spec/parallelism").unwrap_or(1);
        match self.completions {
            Some(completions) => (completions - self.succeeded).min(parallelism).max(0),
            None if self.succeeded > 0 => self.active,
            None => parallelism,
        }
    }

    /// The indices that have neither succeeded nor are at work; `None` when the job has no indices.
    pub(super) fn free_indices(&self, owner: &Value, pods: &[Arc<Value>]) -> Option<Vec<i64>> {
        if !self.is_indexed {
            return None;
        }
        let busy: BTreeSet<i64> =
            pods.iter().filter(|pod| is_active(pod)).filter_map(|pod| index(pod)).collect();
        let all = 0..number(owner, "spec/completions").unwrap_or(0);
        Some(all.filter(|index| !busy.contains(index) && !self.done.contains(index)).collect())
    }

    pub(super) fn write(&self, status: &mut Value, pods: &[Arc<Value>]) {
        let ready = pods.iter().filter(|pod| is_active(pod) && is_ready(pod)).count();
        let going = |pod: &&Arc<Value>| {
            is_terminating(pod) && !matches!(phase(pod), "Succeeded" | "Failed")
        };
        let terminating = pods.iter().filter(going).count();
        let counts = [
            ("active", self.active),
            ("succeeded", self.succeeded),
            ("failed", self.failed),
            ("ready", i64::try_from(ready).unwrap_or(0)),
            ("terminating", i64::try_from(terminating).unwrap_or(0)),
        ];
        for (field, count) in counts {
            if count == 0 && !matches!(field, "ready" | "terminating") {
                unset(status, field);
            } else {
                set(status, field, json!(count));
            }
        }
        if self.is_indexed && !self.done.is_empty() {
            set(status, "completedIndexes", json!(ranges(&self.done)));
        }
    }
}

fn index(pod: &Value) -> Option<i64> {
    annotation(pod, INDEX)?.parse().ok()
}

/// Indices as Kubernetes writes them: `0,2-4`.
fn ranges(indices: &BTreeSet<i64>) -> String {
    let mut spans: Vec<(i64, i64)> = Vec::new();
    for index in indices {
        match spans.last_mut() {
            Some((_, last)) if *last + 1 == *index => *last = *index,
            _ => spans.push((*index, *index)),
        }
    }
    let spans: Vec<String> = spans
        .iter()
        .map(|(first, last)| match last - first {
            0 => first.to_string(),
            1 => format!("{first},{last}"),
            _ => format!("{first}-{last}"),
        })
        .collect();
    spans.join(",")
}
