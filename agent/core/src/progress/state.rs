//! The state of a release: its events, folded.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use tidegate_schema::finding::Finding;

use super::failure;
use crate::desired::Asked;
use crate::object::ObjectRef;
use crate::plan::{Driver, Plan, Step};
use crate::release::{Event, Failure, Part, ReleaseEvent, ReleasePhase};

/// A release as its events tell it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReleaseState {
    /// Number of the last event.
    pub last: u64,
    /// When the gate opened.
    pub opened_at: Option<Timestamp>,
    /// Names of approvals that this release consumed.
    pub approvals: BTreeSet<String>,
    /// Waves that started, by index.
    pub waves: BTreeMap<usize, WaveState>,
    /// Steps that started, by id.
    pub steps: BTreeMap<String, StepState>,
    /// Steps that were given up, by id, whether they had started or not.
    pub cancelled: BTreeMap<String, Cancelled>,
    /// Who paused it and why.
    pub paused: Option<Pause>,
    /// What goes back, and why.
    pub rollback: Option<Rollback>,
    /// How it ended.
    pub ended: Option<ReleasePhase>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// Who gave a step up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancelled {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// A pause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
}

impl Pause {
    /// The pause as something to wait for.
    pub fn finding(&self) -> Finding {
        Finding::note("RELEASE/PAUSED").with("by", &self.by).with("reason", &self.reason)
    }
}

/// A rollback under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollback {
    /// The part; everything when it names nothing.
    pub part: Part,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When it started.
    pub started_at: Timestamp,
}

/// A wave that started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WaveState {
    /// When all its steps were done.
    pub ready_at: Option<Timestamp>,
    /// Who confirmed it.
    pub confirmed_by: Option<String>,
    /// When it was done.
    pub done_at: Option<Timestamp>,
}

impl WaveState {
    /// Whether the next wave may start.
    pub fn is_done(&self) -> bool {
        self.done_at.is_some()
    }
}

/// A step that started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepState {
    /// How it stands.
    pub status: StepStatus,
    /// When it started.
    pub started_at: Timestamp,
    /// Objects in their final form.
    pub applied: BTreeSet<ObjectRef>,
    /// Objects that are gone.
    pub pruned: BTreeSet<ObjectRef>,
    /// Objects that are back as before.
    pub reverted: BTreeSet<ObjectRef>,
    /// Uids of the pods that a restart replaces, in order; `None` until they were listed.
    pub listed: Option<Vec<String>>,
    /// What makes others in the place of a drained node's pods.
    pub owners: Vec<ObjectRef>,
    /// Groups that are done.
    pub groups_done: usize,
    /// When the last of them ended.
    pub groups_ended_at: Option<Timestamp>,
    /// The group whose pods may change now.
    pub open: Option<OpenGroup>,
    /// When it was last tried again.
    pub retry_at: Option<Timestamp>,
    /// Uids of pods and Jobs that were broken before the last retry and are to be made anew. Not told by their age: clocks differ,
    /// and Kubernetes writes whole seconds.
    pub remake: BTreeSet<String>,
    /// Pods that are new, by `namespace/name`, with the index of the group with which they came.
    pub pods: BTreeMap<String, usize>,
    /// When it failed last.
    pub failed_at: Option<Timestamp>,
    /// Uids of pods whose failure counts no more, by a waiver.
    pub waived: BTreeSet<String>,
    /// How often a rule acted without asking, by scene.
    pub unattended: BTreeMap<String, u32>,
    /// Whether a person has let its groups begin although its pods were not fit for it.
    pub is_let_begin: bool,
    /// Autoscalers that are held, or about to be.
    pub held: BTreeSet<ObjectRef>,
    /// New pods that may be there whatever groups are open: they were new before, or a person has let them pass by a retry.
    pub passed: u32,
    /// When it ended.
    pub done_at: Option<Timestamp>,
}

impl StepState {
    /// Whether what needs it may start.
    pub fn is_complete(&self) -> bool {
        matches!(self.status, StepStatus::Done | StepStatus::Skipped)
    }
}

/// How a step stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepStatus {
    /// Under way.
    Running,
    /// Waits for a person.
    Failed(Failure),
    /// Ended well.
    Done,
    /// Counts as done by a waiver.
    Skipped,
    /// Given up: what it has changed stays as it is.
    Cancelled,
    /// Back where it was.
    RolledBack,
}

/// A group whose pods may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenGroup {
    /// Its index.
    pub group: usize,
    /// When it was opened, or tried again.
    pub opened_at: Timestamp,
    /// 1 at first.
    pub attempt: u32,
    /// When all its pods were ready.
    pub ready_at: Option<Timestamp>,
    /// When all its checks held.
    pub checked_at: Option<Timestamp>,
    /// When a person was asked.
    pub asked_at: Option<Timestamp>,
    /// Who confirmed.
    pub confirmed_by: Option<String>,
}

impl ReleaseState {
    /// Folds a whole history.
    pub fn of(events: &[ReleaseEvent]) -> Self {
        let mut state = Self::default();
        for event in events {
            state.apply(event);
        }
        state
    }

    /// A wave that started.
    pub fn wave(&self, index: usize) -> Option<&WaveState> {
        self.waves.get(&index)
    }

    /// A step that started.
    pub fn step(&self, id: &str) -> Option<&StepState> {
        self.steps.get(id)
    }

    /// Whether nothing more happens to a step while the release goes on, done or not.
    pub fn is_settled(&self, id: &str) -> bool {
        self.cancelled.contains_key(id) || self.step(id).is_some_and(StepState::is_complete)
    }

    /// Autoscalers that are still held.
    pub fn held(&self) -> impl Iterator<Item = &ObjectRef> {
        self.steps.values().flat_map(|step| &step.held)
    }

    /// How the release stands.
    pub fn phase(&self, plan: &Plan) -> ReleasePhase {
        if let Some(ended) = self.ended {
            return ended;
        }
        if self.rollback.is_some() {
            return ReleasePhase::RollingBack;
        }
        if self.steps.values().any(|step| matches!(step.status, StepStatus::Failed(_))) {
            return ReleasePhase::Failed;
        }
        let asks = self.steps.values().any(|step| {
            step.open
                .as_ref()
                .is_some_and(|open| open.asked_at.is_some() && open.confirmed_by.is_none())
        });
        let waves = plan.content.waves.iter().enumerate();
        let asks_for_wave = waves.into_iter().any(|(index, wave)| {
            wave.confirm
                && self.wave(index).is_some_and(|own| {
                    own.ready_at.is_some() && own.confirmed_by.is_none() && !own.is_done()
                })
        });
        if self.paused.is_some() || asks || asks_for_wave {
            return ReleasePhase::Paused;
        }
        ReleasePhase::Running
    }

    /// What operations asked for once and this release did, or has begun so that doing it again would be twice: however it
    /// ends.
    pub fn carried_out(&self, plan: &Plan) -> Vec<Asked> {
        let has_begun = |step: &Step| {
            let Some(own) = self.step(&step.id) else { return false };
            match step.rollout.as_ref().map(|rollout| rollout.driver) {
                Some(Driver::Restart) => own.listed.is_some() || own.is_complete(),
                // What is still there goes with another try.
                Some(Driver::Drain) => own.is_complete(),
                Some(_) => own.status == StepStatus::Done,
                None => own.applied.iter().any(|object| object.kind == "Job") || own.is_complete(),
            }
        };
        let steps = plan.steps().map(|(_, step)| step).filter(|step| has_begun(step));
        steps.flat_map(|step| &step.operations).cloned().collect()
    }

    /// Folds one event. An event about a step that never started is ignored: it cannot have had an effect.
    pub fn apply(&mut self, recorded: &ReleaseEvent) {
        self.last = recorded.number;
        let at = recorded.at;
        self.approvals.extend(recorded.event.consumes().iter().cloned());
        match &recorded.event {
            Event::Opened { .. } => self.opened_at = Some(at),
            Event::WaveStarted { wave, .. } => {
                self.waves.entry(*wave).or_default();
            }
            Event::WaveReady { wave } => self.waves.entry(*wave).or_default().ready_at = Some(at),
            Event::WaveConfirmed { wave, by, .. } => {
                self.waves.entry(*wave).or_default().confirmed_by = Some(by.clone());
            }
            Event::WaveDone { wave } => self.waves.entry(*wave).or_default().done_at = Some(at),
            Event::StepStarted { step } => {
                self.steps.entry(step.clone()).or_insert_with(|| StepState::started(at));
            }
            Event::Paused { by, reason } => {
                self.paused = Some(Pause { by: by.clone(), reason: reason.clone() });
            }
            Event::Resumed { .. } => self.paused = None,
            Event::StepCancelled { step, by, reason } => {
                let cancelled = Cancelled { by: by.clone(), reason: reason.clone() };
                self.cancelled.insert(step.clone(), cancelled);
                if let Some(own) = self.steps.get_mut(step) {
                    own.end(StepStatus::Cancelled, at);
                }
            }
            Event::RollbackStarted { part, by, reason } => {
                self.paused = None;
                self.rollback = Some(Rollback {
                    part: part.clone(),
                    by: by.clone(),
                    reason: reason.clone(),
                    started_at: at,
                });
            }
            Event::RolledBack => self.end(ReleasePhase::RolledBack, at),
            Event::Cancelled { .. } => self.end(ReleasePhase::Cancelled, at),
            Event::Superseded { .. } => self.end(ReleasePhase::Superseded, at),
            Event::Done => self.end(ReleasePhase::Done, at),
            Event::GroupOpened { step, .. }
            | Event::PodsListed { step, .. }
            | Event::GroupReady { step, .. }
            | Event::GroupChecked { step, .. }
            | Event::ObjectsApplied { step, .. }
            | Event::ObjectsPruned { step, .. }
            | Event::ObjectsReverted { step, .. }
            | Event::ConfirmationAsked { step, .. }
            | Event::Confirmed { step, .. }
            | Event::GroupDone { step, .. }
            | Event::StepDone { step }
            | Event::StepFailed { step, .. }
            | Event::ActedUnattended { step, .. }
            | Event::AutoscalerHeld { step, .. }
            | Event::AutoscalerLetGo { step, .. }
            | Event::Retried { step, .. }
            | Event::Skipped { step, .. }
            | Event::StepRolledBack { step } => {
                if let Some(own) = self.steps.get_mut(step) {
                    own.apply(&recorded.event, at);
                }
            }
        }
    }

    fn end(&mut self, phase: ReleasePhase, at: Timestamp) {
        self.ended = Some(phase);
        self.ended_at = Some(at);
    }
}

impl StepState {
    pub(super) fn started(at: Timestamp) -> Self {
        Self {
            status: StepStatus::Running,
            started_at: at,
            applied: BTreeSet::new(),
            pruned: BTreeSet::new(),
            reverted: BTreeSet::new(),
            listed: None,
            owners: Vec::new(),
            groups_done: 0,
            groups_ended_at: None,
            open: None,
            retry_at: None,
            remake: BTreeSet::new(),
            unattended: BTreeMap::new(),
            is_let_begin: false,
            held: BTreeSet::new(),
            passed: 0,
            pods: BTreeMap::new(),
            failed_at: None,
            waived: BTreeSet::new(),
            done_at: None,
        }
    }

    fn apply(&mut self, event: &Event, at: Timestamp) {
        match event {
            Event::GroupOpened { group, attempt, already, .. } => {
                self.passed = self.passed.max(*already);
                self.open = Some(OpenGroup {
                    group: *group,
                    opened_at: at,
                    attempt: *attempt,
                    ready_at: None,
                    checked_at: None,
                    asked_at: None,
                    confirmed_by: None,
                });
            }
            Event::PodsListed { pods, owners, .. } => {
                if self.listed.is_none() {
                    self.listed = Some(pods.clone());
                    self.owners.clone_from(owners);
                }
            }
            Event::GroupReady { group, pods, .. } => {
                self.pods.extend(pods.iter().map(|pod| (pod.pod.clone(), *group)));
                self.in_group(|open| open.ready_at = Some(at));
            }
            Event::GroupChecked { .. } => self.in_group(|open| open.checked_at = Some(at)),
            Event::ConfirmationAsked { .. } => self.in_group(|open| open.asked_at = Some(at)),
            Event::Confirmed { by, .. } => {
                self.in_group(|open| open.confirmed_by = Some(by.clone()));
            }
            Event::GroupDone { group, .. } => self.end_group(*group, at),
            Event::ObjectsApplied { objects, .. } => self.applied.extend(objects.iter().cloned()),
            Event::ObjectsPruned { objects, .. } => self.pruned.extend(objects.iter().cloned()),
            Event::ObjectsReverted { objects, .. } => {
                self.reverted.extend(objects.iter().cloned());
            }
            Event::AutoscalerHeld { autoscaler, .. } => {
                self.held.insert(autoscaler.clone());
            }
            Event::AutoscalerLetGo { autoscaler, .. } => {
                self.held.remove(autoscaler);
            }
            Event::StepDone { .. } => self.end(StepStatus::Done, at),
            Event::Skipped { group: None, .. } => self.end(StepStatus::Skipped, at),
            Event::Skipped { group: Some(group), .. } => self.waive(*group, at),
            Event::StepRolledBack { .. } => self.end(StepStatus::RolledBack, at),
            Event::StepFailed { failure, .. } => {
                self.status = StepStatus::Failed(failure.clone());
                self.failed_at = Some(at);
            }
            Event::ActedUnattended { scene, attempt, pods, .. } => {
                self.unattended.insert(scene.clone(), *attempt);
                self.remake = pods.iter().cloned().collect();
                self.retry(at);
            }
            Event::Retried { .. } => self.try_again(at),
            // Events of the release and its waves do not come here.
            Event::Opened { .. }
            | Event::WaveStarted { .. }
            | Event::StepStarted { .. }
            | Event::WaveReady { .. }
            | Event::WaveDone { .. }
            | Event::WaveConfirmed { .. }
            | Event::Paused { .. }
            | Event::Resumed { .. }
            | Event::StepCancelled { .. }
            | Event::RollbackStarted { .. }
            | Event::RolledBack
            | Event::Cancelled { .. }
            | Event::Superseded { .. }
            | Event::Done => {}
        }
    }

    fn end_group(&mut self, group: usize, at: Timestamp) {
        self.groups_done = group + 1;
        self.groups_ended_at = Some(at);
        self.open = None;
    }

    /// A person lets the failure of a group pass: its pods are excused, and the next group may be opened.
    fn waive(&mut self, group: usize, at: Timestamp) {
        if let StepStatus::Failed(failure) = &self.status {
            self.waived.extend(failure.pods.iter().map(|pod| pod.uid.clone()));
        }
        self.status = StepStatus::Running;
        self.end_group(group, at);
    }

    /// A person tries the step again.
    fn try_again(&mut self, at: Timestamp) {
        if let StepStatus::Failed(failure) = &self.status {
            self.remake = failure.pods.iter().map(|pod| pod.uid.clone()).collect();
            self.remake.extend(failure.job.clone());
            self.is_let_begin |= failure.code == failure::NOT_FIT;
            let beyond = Some(failure).filter(|it| it.code == failure::BEYOND);
            let new = beyond.and_then(|it| it.args.get("new")?.parse().ok());
            self.passed = self.passed.max(new.unwrap_or_default());
        }
        self.status = StepStatus::Running;
        self.started_at = at;
        self.retry(at);
    }

    fn retry(&mut self, at: Timestamp) {
        self.retry_at = Some(at);
        self.in_group(|open| {
            open.opened_at = at;
            open.attempt += 1;
            open.ready_at = None;
            open.checked_at = None;
        });
    }

    fn in_group(&mut self, change: impl FnOnce(&mut OpenGroup)) {
        if let Some(open) = &mut self.open {
            change(open);
        }
    }

    fn end(&mut self, status: StepStatus, at: Timestamp) {
        self.status = status;
        self.done_at = Some(at);
        self.open = None;
    }
}
