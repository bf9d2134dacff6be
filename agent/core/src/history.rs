//! What a release was about and how it went, in the few words that stay when its plan and most of its events are removed.

use std::collections::BTreeSet;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::change::{Action, Change};
use crate::object::ObjectRef;
use crate::plan::{Plan, ReleaseKind, Task, TaskKind};
use crate::release::{Event, ReleaseEvent, ReleasePhase};

/// What a release was about, known when it starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// Release, operation or test; absent when its plan is not known any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ReleaseKind>,
    /// The products that it touches.
    pub products: BTreeSet<String>,
    /// Why things change, in delivery terms.
    pub tasks: Vec<Task>,
    /// What it keeps of products that it uninstalls.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<ObjectRef>,
    /// When the commit was made that its plan was made from, as the commit says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed_at: Option<Timestamp>,
    /// Since when it could have started but for approvals, windows and freezes: when its plan was first made, or when the
    /// release before it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned_at: Option<Timestamp>,
}

/// What a plan keeps of products that it uninstalls.
fn kept(plan: &Plan) -> Vec<ObjectRef> {
    let is_of = |change: &Change, task: &Task| {
        task.kind == TaskKind::Uninstall
            && change.owner.product.as_ref() == Some(&task.subject)
            && task.clusters.contains(&change.object.cluster)
    };
    let own = plan.content.changes.changes.iter().filter(|change| {
        change.action == Action::Keep && plan.content.tasks.iter().any(|task| is_of(change, task))
    });
    own.map(|change| change.object.clone()).collect()
}

impl About {
    /// What a plan says; the times are the caller's.
    pub fn of(plan: &Plan) -> Self {
        Self {
            kind: Some(plan.content.kind),
            products: plan.steps().filter_map(|(_, step)| step.product.clone()).collect(),
            tasks: plan.content.tasks.clone(),
            kept: kept(plan),
            committed_at: None,
            planned_at: None,
        }
    }
}

/// How a release went, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Course {
    /// Steps that started.
    pub steps: usize,
    /// Groups of pods that were opened, each attempt by itself.
    pub groups: usize,
    /// Confirmations that people gave.
    pub confirmations: usize,
    /// How often a step, or a group of it, failed.
    pub failures: usize,
    /// How often a person or a rule tried again.
    pub retries: usize,
    /// Steps and groups that a person or a rule let count as done.
    pub waivers: usize,
    /// When the first step failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<Timestamp>,
    /// Whether anything of it went back.
    pub is_rolled_back: bool,
}

impl Course {
    /// Counted from events.
    pub fn of(events: &[ReleaseEvent]) -> Self {
        let mut course = Self::default();
        for ReleaseEvent { at, event, .. } in events {
            match event {
                Event::StepStarted { .. } => course.steps += 1,
                Event::GroupOpened { .. } => course.groups += 1,
                Event::Confirmed { .. } | Event::WaveConfirmed { .. } => course.confirmations += 1,
                Event::StepFailed { .. } => {
                    course.failures += 1;
                    course.failed_at.get_or_insert(*at);
                }
                Event::Retried { .. } => course.retries += 1,
                Event::Skipped { .. } => course.waivers += 1,
                Event::ActedUnattended { action, .. } => match &**action {
                    "retry" => course.retries += 1,
                    "skip" => course.waivers += 1,
                    _ => {}
                },
                Event::RollbackStarted { .. } | Event::RolledBack => course.is_rolled_back = true,
                Event::Opened { .. }
                | Event::WaveStarted { .. }
                | Event::PodsListed { .. }
                | Event::GroupReady { .. }
                | Event::GroupChecked { .. }
                | Event::ObjectsApplied { .. }
                | Event::ObjectsPruned { .. }
                | Event::ObjectsReverted { .. }
                | Event::ConfirmationAsked { .. }
                | Event::GroupDone { .. }
                | Event::StepDone { .. }
                | Event::AutoscalerHeld { .. }
                | Event::AutoscalerLetGo { .. }
                | Event::WaveReady { .. }
                | Event::WaveDone { .. }
                | Event::Paused { .. }
                | Event::Resumed { .. }
                | Event::StepRolledBack { .. }
                | Event::StepCancelled { .. }
                | Event::Cancelled { .. }
                | Event::Superseded { .. }
                | Event::Done => {}
            }
        }
        course
    }
}

/// Whether an event stays for ever: what people, approvals and policies said, what failed, and how it ended. What machines
/// did on the way may be removed.
pub fn stays(event: &Event) -> bool {
    match event {
        Event::Opened { .. }
        | Event::Confirmed { .. }
        | Event::StepFailed { .. }
        | Event::ActedUnattended { .. }
        | Event::WaveConfirmed { .. }
        | Event::Paused { .. }
        | Event::Resumed { .. }
        | Event::Retried { .. }
        | Event::Skipped { .. }
        | Event::StepCancelled { .. }
        | Event::RollbackStarted { .. }
        | Event::RolledBack
        | Event::Cancelled { .. }
        | Event::Superseded { .. }
        | Event::Done => true,
        // A wave with approvals of its own says which.
        Event::WaveStarted { approvals, .. } => !approvals.is_empty(),
        Event::StepStarted { .. }
        | Event::GroupOpened { .. }
        | Event::PodsListed { .. }
        | Event::GroupReady { .. }
        | Event::GroupChecked { .. }
        | Event::ObjectsApplied { .. }
        | Event::ObjectsPruned { .. }
        | Event::AutoscalerHeld { .. }
        | Event::AutoscalerLetGo { .. }
        | Event::ObjectsReverted { .. }
        | Event::ConfirmationAsked { .. }
        | Event::GroupDone { .. }
        | Event::StepDone { .. }
        | Event::WaveReady { .. }
        | Event::WaveDone { .. }
        | Event::StepRolledBack { .. } => false,
    }
}

/// Which releases are asked for; each field narrows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Those that touch this product.
    pub product: Option<String>,
    /// Those that stand so.
    pub phase: Option<ReleasePhase>,
    /// Those of this kind.
    pub kind: Option<ReleaseKind>,
    /// Those that started then or later.
    pub since: Option<Timestamp>,
    /// Those that started before.
    pub until: Option<Timestamp>,
}

impl Wanted {
    /// Whether a release is one of them.
    pub fn takes(&self, about: &About, phase: ReleasePhase, started_at: Timestamp) -> bool {
        self.product.as_ref().is_none_or(|product| about.products.contains(product))
            && self.phase.is_none_or(|wanted| wanted == phase)
            && self.kind.is_none_or(|kind| about.kind == Some(kind))
            && self.since.is_none_or(|since| since <= started_at)
            && self.until.is_none_or(|until| started_at < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_narrows() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let about = About {
            kind: Some(ReleaseKind::Operation),
            products: BTreeSet::from(["iam".to_owned()]),
            ..About::default()
        };
        let is_taken = |wanted: &Wanted| wanted.takes(&about, ReleasePhase::Done, at(10));
        let wanted = Wanted {
            product: Some("iam".to_owned()),
            phase: Some(ReleasePhase::Done),
            kind: Some(ReleaseKind::Operation),
            since: Some(at(10)),
            until: Some(at(11)),
        };
        assert!(is_taken(&wanted) && is_taken(&Wanted::default()));
        for other in [
            Wanted { product: Some("web".to_owned()), ..wanted.clone() },
            Wanted { phase: Some(ReleasePhase::Failed), ..wanted.clone() },
            Wanted { kind: Some(ReleaseKind::Release), ..wanted.clone() },
            Wanted { since: Some(at(11)), ..wanted.clone() },
            Wanted { until: Some(at(10)), ..wanted.clone() },
        ] {
            assert!(!is_taken(&other), "{other:?}");
        }
    }
}
