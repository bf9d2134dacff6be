//! A release: one execution of one plan, as the events that the journal keeps.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::object::ObjectRef;
use crate::plan::Step;

/// One line of a release's history. Recorded *before* its effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseEvent {
    /// 1, 2, 3 … within the release.
    pub number: u64,
    /// When it was recorded.
    pub at: Timestamp,
    /// What happened.
    pub event: Event,
}

/// What can happen to a release. Past tense: what happened; the effects follow from the state and what is observed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "type")]
pub enum Event {
    /// The gate opened; these approvals (their names) are consumed.
    Opened {
        /// The plan.
        plan: Digest,
        /// Names of the approvals that opened it.
        approvals: Vec<String>,
    },
    /// A wave's own gate opened and its steps may start.
    WaveStarted {
        /// Index of the wave.
        wave: usize,
        /// Names of the approvals that opened it, when it has its own.
        approvals: Vec<String>,
    },
    /// A step started.
    StepStarted {
        /// Id of the step.
        step: String,
    },
    /// The group's pods may change: never recorded twice for one group of one attempt.
    GroupOpened {
        /// Id of the step.
        step: String,
        /// Index of the group.
        group: usize,
        /// 1 at first; retries count up.
        attempt: u32,
        /// Pods that were new before the group was opened, such as those of a release that was given up half way.
        #[serde(default, skip_serializing_if = "is_none")]
        already: u32,
    },
    /// The pods that a restart replaces: all that were there when it began, in the order in which their groups take them.
    /// Recorded once; pods made later are never among them.
    PodsListed {
        /// Id of the step.
        step: String,
        /// Their uids.
        pods: Vec<String>,
        /// What makes others in the place of a drained node's pods, and must have as many ready as before.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        owners: Vec<ObjectRef>,
    },
    /// All pods of the group are ready at the new revision.
    GroupReady {
        /// Id of the step.
        step: String,
        /// Index of the group.
        group: usize,
        /// The pods that are new with it; none for a node that is emptied.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pods: Vec<GroupPod>,
    },
    /// Each new pod answered each check of its app as it should.
    GroupChecked {
        /// Id of the step.
        step: String,
        /// Index of the group.
        group: usize,
    },
    /// Objects of a step were applied in their final form. Recorded after the effect: a repeated apply changes nothing.
    ObjectsApplied {
        /// Id of the step.
        step: String,
        /// The objects.
        objects: Vec<ObjectRef>,
    },
    /// Objects of a step are gone.
    ObjectsPruned {
        /// Id of the step.
        step: String,
        /// The objects.
        objects: Vec<ObjectRef>,
    },
    /// Objects of a step are as they were before the release.
    ObjectsReverted {
        /// Id of the step.
        step: String,
        /// The objects.
        objects: Vec<ObjectRef>,
    },
    /// A person is asked to confirm the group.
    ConfirmationAsked {
        /// Id of the step.
        step: String,
        /// Index of the group.
        group: usize,
    },
    /// A person confirmed.
    Confirmed {
        /// Id of the step.
        step: String,
        /// Index of the group.
        group: usize,
        /// Who.
        by: String,
        /// Name of the approval document that said so, consumed by it; absent when it was a command to the agent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        approval: Option<String>,
    },
    /// The group is done: ready, checked, baked, confirmed.
    GroupDone {
        /// Id of the step.
        step: String,
        /// Index of the group.
        group: usize,
    },
    /// All of a step is done.
    StepDone {
        /// Id of the step.
        step: String,
    },
    /// A step, or a group of it, failed.
    StepFailed {
        /// Id of the step.
        step: String,
        /// Index of the group, when one was open.
        group: Option<usize>,
        /// Why.
        failure: Failure,
    },
    /// A rule acted without asking (YL-110).
    ActedUnattended {
        /// Id of the step.
        step: String,
        /// Index of the group.
        group: usize,
        /// The scene that was met.
        scene: String,
        /// What was done.
        action: String,
        /// 1, 2, 3 …
        attempt: u32,
        /// Uids of the pods that were broken: a retry makes these anew, and no others.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pods: Vec<String>,
    },
    /// An autoscaler is held at the number of pods that there are, while they change in groups.
    AutoscalerHeld {
        /// Id of the step.
        step: String,
        /// The autoscaler.
        autoscaler: ObjectRef,
    },
    /// An autoscaler has its bounds back, or is gone.
    AutoscalerLetGo {
        /// Id of the step.
        step: String,
        /// The autoscaler.
        autoscaler: ObjectRef,
    },
    /// All steps of a wave are done; its bake time runs from here.
    WaveReady {
        /// Index of the wave.
        wave: usize,
    },
    /// A wave is done.
    WaveDone {
        /// Index of the wave.
        wave: usize,
    },
    /// Somebody confirmed a wave.
    WaveConfirmed {
        /// Index of the wave.
        wave: usize,
        /// Who.
        by: String,
        /// Name of the approval document that said so, consumed by it; absent when it was a command to the agent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        approval: Option<String>,
    },
    /// Nothing new is opened until resumed.
    Paused {
        /// Who; `tidegate` when a policy did.
        by: String,
        /// Why.
        reason: String,
    },
    /// Goes on.
    Resumed {
        /// Who.
        by: String,
    },
    /// A failed step is tried again.
    Retried {
        /// Id of the step.
        step: String,
        /// Who.
        by: String,
    },
    /// A failed step, or only the group of it that failed, counts as done: a waiver.
    Skipped {
        /// Id of the step.
        step: String,
        /// Index of the group, when only that counts as done and the step goes on with the next.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<usize>,
        /// Who.
        by: String,
        /// Why.
        reason: String,
        /// Name of the document that said so, consumed by it; absent when it was a command to the agent, or a rule.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        approval: Option<String>,
    },
    /// A step is given up: what it has changed stays as it is, and nothing that needs it starts. The rest goes on.
    StepCancelled {
        /// Id of the step, which may not have started.
        step: String,
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// What this release changed goes back: everything, or a part of it and whatever is not done yet.
    RollbackStarted {
        /// The part; everything that was started when it names nothing.
        #[serde(flatten)]
        part: Part,
        /// Who; `tidegate` when a policy did.
        by: String,
        /// Why.
        reason: String,
    },
    /// A step is back where it was.
    StepRolledBack {
        /// Id of the step.
        step: String,
    },
    /// The release ended: rolled back.
    RolledBack,
    /// The release ended: what was open is left as it is.
    Cancelled {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// The release ended: a newer plan took its place.
    Superseded {
        /// The newer plan.
        by: Digest,
    },
    /// The release ended well.
    Done,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
pub(crate) fn is_none(number: &u32) -> bool {
    *number == 0
}

/// A pod that is new with a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupPod {
    /// `namespace/name`.
    pub pod: String,
    /// Its node.
    pub node: String,
    /// Since when it has been ready; absent for one that need not be, by a waiver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_since: Option<Timestamp>,
}

/// Why a step failed, good enough to act on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// A code of the catalogue: `RELEASE/GROUP_TIMEOUT`, `RELEASE/POD_CRASHES` …
    pub code: String,
    /// Arguments of the code's texts.
    pub args: BTreeMap<String, String>,
    /// Pods that failed, with reason, event and the last lines of their logs, masked.
    pub pods: Vec<PodFailure>,
    /// The uid of a Job that failed: another try makes it anew, as Kubernetes never starts it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
}

/// One pod that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodFailure {
    /// `namespace/name`.
    pub pod: String,
    /// Its uid: a retry makes this one anew, and none that came meanwhile.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// As Kubernetes says: `CrashLoopBackOff`, `ImagePullBackOff`, `Unschedulable` …
    pub reason: String,
    /// What it says about it.
    pub message: String,
    /// The last lines of its log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
    /// What Kubernetes last warned of it: reason and message, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
}

/// A part of a release: the steps that are all that it names. It is all of the release when it names nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// A product, in all its clusters and waves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// An app in all its clusters and waves, as `PRODUCT/APP`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// A step, by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The number of the step's group that is open: 1, 2, 3 … Whoever looked at a group means that one, and not the one that
    /// was opened meanwhile. Only with a step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<usize>,
}

impl Part {
    /// Whether it is all of the release.
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a step is of it, whichever group is open.
    pub fn has(&self, step: &Step) -> bool {
        let is_product = |name: &String| step.product.as_ref() == Some(name);
        let is_app = |name: &String| {
            let app = step.app().zip(step.product.as_deref());
            app.is_some_and(|(app, product)| name.split_once('/') == Some((product, app)))
        };
        self.product.as_ref().is_none_or(is_product)
            && self.app.as_ref().is_none_or(is_app)
            && self.step.as_ref().is_none_or(|id| step.id == *id)
    }
}

/// What it names; `everything` when it names nothing.
impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [&self.product, &self.app, &self.step].into_iter().flatten().cloned();
        let group = self.group.map(|group| format!("group {group}"));
        let named: Vec<String> = names.chain(group).collect();
        f.write_str(if named.is_empty() { "everything" } else { "" })?;
        f.write_str(&named.join(", "))
    }
}

/// What a person asks of a running release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "command")]
pub enum Command {
    /// The open confirmation of a group, or of a wave when no step is given.
    Confirm {
        /// Id of the step; the only open confirmation when absent.
        step: Option<String>,
    },
    /// Open nothing new.
    Pause {
        /// Why.
        reason: String,
    },
    /// Go on.
    Resume,
    /// Try again what failed of a part.
    Retry {
        /// The part.
        #[serde(flatten)]
        part: Part,
    },
    /// Count as done what failed of a part: a waiver. When it names a group only that counts as done, and its step goes on
    /// with the next.
    Skip {
        /// The part.
        #[serde(flatten)]
        part: Part,
        /// Why.
        reason: String,
    },
    /// Go back: a part and whatever is not done yet, or everything. A group goes back with those of its step before it.
    Rollback {
        /// The part.
        #[serde(flatten)]
        part: Part,
        /// Why.
        reason: String,
    },
    /// Give up what is not done of a part, and go on with the rest; of everything: end, at once. What was changed stays as it
    /// is.
    Cancel {
        /// The part.
        #[serde(flatten)]
        part: Part,
        /// Why.
        reason: String,
    },
}

/// How a release stands, for lists.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum ReleasePhase {
    /// Steps are under way.
    Running,
    /// Waits for a person: confirmation or pause.
    Paused,
    /// A step failed and waits for a person.
    Failed,
    /// Going back.
    RollingBack,
    /// Ended well.
    Done,
    /// Ended: back where it was.
    RolledBack,
    /// Ended by a person.
    Cancelled,
    /// Ended by a newer plan.
    Superseded,
}

impl Event {
    /// Names of the approvals that this event consumes: each counts once.
    pub fn consumes(&self) -> &[String] {
        match self {
            Self::Opened { approvals, .. } | Self::WaveStarted { approvals, .. } => approvals,
            Self::Confirmed { approval, .. }
            | Self::WaveConfirmed { approval, .. }
            | Self::Skipped { approval, .. } => approval.as_slice(),
            Self::StepStarted { .. }
            | Self::GroupOpened { .. }
            | Self::PodsListed { .. }
            | Self::GroupReady { .. }
            | Self::GroupChecked { .. }
            | Self::ObjectsApplied { .. }
            | Self::ObjectsPruned { .. }
            | Self::ObjectsReverted { .. }
            | Self::ConfirmationAsked { .. }
            | Self::GroupDone { .. }
            | Self::StepDone { .. }
            | Self::StepFailed { .. }
            | Self::ActedUnattended { .. }
            | Self::AutoscalerHeld { .. }
            | Self::AutoscalerLetGo { .. }
            | Self::WaveReady { .. }
            | Self::WaveDone { .. }
            | Self::Paused { .. }
            | Self::Resumed { .. }
            | Self::Retried { .. }
            | Self::StepCancelled { .. }
            | Self::RollbackStarted { .. }
            | Self::StepRolledBack { .. }
            | Self::RolledBack
            | Self::Cancelled { .. }
            | Self::Superseded { .. }
            | Self::Done => &[],
        }
    }
}

impl ReleasePhase {
    /// As it is written in answers and documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Failed => "failed",
            Self::RollingBack => "rollingBack",
            Self::Done => "done",
            Self::RolledBack => "rolledBack",
            Self::Cancelled => "cancelled",
            Self::Superseded => "superseded",
        }
    }

    /// Whether nothing more will happen.
    pub fn is_ended(self) -> bool {
        match self {
            Self::Running | Self::Paused | Self::Failed | Self::RollingBack => false,
            Self::Done | Self::RolledBack | Self::Cancelled | Self::Superseded => true,
        }
    }
}
