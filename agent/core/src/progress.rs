//! The release's state machine: from events and what is observed to the next events and effects.
//!
//! An event is recorded before its effect, and effects are recomputed from the state and what is observed. So a killed
//! agent goes on where it was: what is done is seen to be done, what is not is done, and nothing is decided twice.

mod check;
mod command;
mod drain;
mod failure;
mod hold;
mod observed;
mod objects;
mod offline;
mod preflight;
mod products;
mod prometheus;
mod restart;
mod rollback;
mod rollout;
mod runs;
mod state;
mod terms;
mod waiver;

pub use check::{Addressee, Answer, Answers, Subject, Verdict};
pub use command::{command, signed_confirmations};
pub use observed::{EffectFailure, Observed, Seen};
pub use products::{ProductProgress, ProductState, products};
pub use runs::{EndedRun, ended_runs};
pub use state::{OpenGroup, ReleaseState, StepState, StepStatus, WaveState};
pub use terms::{Basis, Takes, Terms, Version};
pub use waiver::{refused_waiver, signed_waivers};

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use tidegate_schema::finding::Finding;

use crate::change::{Action, Change};
use crate::desired::{Check, DesiredState};
use crate::diff;
use crate::gate::{Hold, ReleaseGate, WaveGate};
use crate::health::{Health, health_by};
use crate::object::{Object, ObjectRef, Propagation};
use crate::plan::{Plan, Step, StepKind, Wave};
use crate::pod::Pod;
use crate::release::Event;
use crate::zone::ZoneData;

/// What a release works with; none of it changes while it runs.
#[derive(Clone, Copy, Debug)]
pub struct Work<'a> {
    /// What was approved.
    pub plan: &'a Plan,
    /// The content that the plan's digests name.
    pub desired: &'a DesiredState,
    /// The content of the revision before: what a rollback goes back to.
    pub before: &'a DesiredState,
}

/// What comes next. Effects are only given when there is nothing to record: record, fold, ask again.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// To be recorded, in order.
    pub events: Vec<Event>,
    /// To be carried out, in order; each may be carried out again without harm.
    pub effects: Vec<Effect>,
    /// What the release waits for, for people.
    pub waits: Vec<Finding>,
    /// When time alone changes the answer.
    pub next: Option<Timestamp>,
}

impl Decision {
    fn event(event: Event) -> Self {
        Self { events: vec![event], ..Self::default() }
    }

    fn wait(finding: Finding) -> Self {
        Self { waits: vec![finding], ..Self::default() }
    }

    fn wait_until(finding: Finding, next: Timestamp) -> Self {
        Self { waits: vec![finding], next: Some(next), ..Self::default() }
    }

    fn effects(effects: Vec<Effect>, finding: Finding) -> Self {
        Self { effects, waits: vec![finding], ..Self::default() }
    }

    /// Deletes an object, once: while the server holds it back for finalizers or what is in it, asking again would change
    /// nothing and would keep the loop and the server busy.
    fn deletion(step: &Step, reference: &ObjectRef, observed: &Observed, finding: Finding) -> Self {
        let is_going = observed
            .object(reference)
            .is_some_and(|live| live.get("/metadata/deletionTimestamp").is_some());
        if is_going {
            return Self::wait(finding);
        }
        let propagation = observed.object(reference).map(Propagation::of).unwrap_or_default();
        let (step, reference) = (step.id.clone(), reference.clone());
        Self::effects(vec![Effect::Delete { step, reference, propagation }], finding)
    }

    /// Steps of which something is opened, ended or written: for that their pods must be seen as they are now. To wait by,
    /// what a watch has is good enough.
    pub fn decided(&self) -> BTreeSet<&str> {
        let events = self.events.iter().filter_map(opened_or_ended);
        events.chain(self.effects.iter().filter_map(written)).collect()
    }

    fn and(mut self, other: Self) -> Self {
        self.events.extend(other.events);
        self.effects.extend(other.effects);
        self.waits.extend(other.waits);
        self.next = [self.next, other.next].into_iter().flatten().min();
        self
    }
}

/// The step that an event opens or ends, or of which it opens or ends something.
fn opened_or_ended(event: &Event) -> Option<&str> {
    match event {
        Event::GroupOpened { step, .. }
        | Event::PodsListed { step, .. }
        | Event::GroupReady { step, .. }
        | Event::GroupDone { step, .. }
        | Event::StepDone { step }
        | Event::StepFailed { step, .. }
        | Event::ActedUnattended { step, .. }
        | Event::StepRolledBack { step } => Some(step.as_str()),
        Event::Opened { .. }
        | Event::WaveStarted { .. }
        | Event::StepStarted { .. }
        | Event::GroupChecked { .. }
        | Event::AutoscalerHeld { .. }
        | Event::AutoscalerLetGo { .. }
        | Event::ObjectsApplied { .. }
        | Event::ObjectsPruned { .. }
        | Event::ObjectsReverted { .. }
        | Event::ConfirmationAsked { .. }
        | Event::Confirmed { .. }
        | Event::WaveReady { .. }
        | Event::WaveDone { .. }
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
        | Event::Done => None,
    }
}

/// The step of which an effect writes an object.
fn written(effect: &Effect) -> Option<&str> {
    match effect {
        Effect::Apply { step, .. } => Some(step.as_str()),
        // Each of these names what was seen, and nothing else is touched by it.
        Effect::Delete { .. }
        | Effect::Evict { .. }
        | Effect::DeletePod { .. }
        | Effect::Hold { .. }
        | Effect::LetGo { .. }
        | Effect::Ask { .. }
        | Effect::Publish { .. } => None,
    }
}

/// Something to do in a cluster or a DNS server.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Apply an object by server-side apply.
    Apply {
        /// Id of the step.
        step: String,
        /// The object.
        reference: ObjectRef,
        /// Its content.
        object: Object,
        /// Whether this is its form at the end of the step: then it is recorded as applied (or reverted).
        is_final: bool,
        /// What it counts on.
        terms: Box<Terms>,
    },
    /// Delete an object of the inventory, if its uid is still the inventory's.
    Delete {
        /// Id of the step.
        step: String,
        /// The object.
        reference: ObjectRef,
        /// What becomes of its dependents.
        propagation: Propagation,
    },
    /// Ask the API server to evict a pod, which honours disruption budgets.
    Evict {
        /// The cluster.
        cluster: String,
        /// Namespace of the pod.
        namespace: String,
        /// Its name.
        name: String,
        /// Its uid: a pod made meanwhile is left alone.
        uid: String,
    },
    /// Delete a pod that is broken anyway.
    DeletePod {
        /// The cluster.
        cluster: String,
        /// Namespace of the pod.
        namespace: String,
        /// Its name.
        name: String,
        /// Its uid: a pod made meanwhile is left alone.
        uid: String,
    },
    /// Hold an autoscaler at a number of pods ([`crate::autoscaler::hold`]).
    Hold {
        /// The autoscaler.
        reference: ObjectRef,
        /// The number.
        pods: u32,
    },
    /// Give an autoscaler its bounds back ([`crate::autoscaler::let_go`]).
    LetGo {
        /// The autoscaler.
        reference: ObjectRef,
    },
    /// Ask whether a check of an app holds.
    Ask {
        /// The cluster.
        cluster: String,
        /// Whom the answer is about.
        subject: Subject,
        /// Who is asked.
        addressee: Addressee,
        /// What is asked.
        check: Box<Check>,
    },
    /// Publish zones as desired, or as they were before.
    Publish {
        /// Names of the zones.
        zones: Vec<String>,
        /// Whether the content before the release is meant.
        is_before: bool,
    },
}

impl Effect {
    /// Evicts just this pod.
    fn evict(cluster: &str, pod: &Pod) -> Self {
        let (namespace, name, uid) = (pod.namespace.clone(), pod.name.clone(), pod.uid.clone());
        Self::Evict { cluster: cluster.to_owned(), namespace, name, uid }
    }

    /// Deletes just this pod.
    fn delete_pod(cluster: &str, pod: &Pod) -> Self {
        let (namespace, name, uid) = (pod.namespace.clone(), pod.name.clone(), pod.uid.clone());
        Self::DeletePod { cluster: cluster.to_owned(), namespace, name, uid }
    }
}

/// The next events, or else the next effects.
pub fn decide(
    work: Work<'_>,
    state: &ReleaseState,
    observed: &Observed,
    gate: &ReleaseGate,
    now: Timestamp,
) -> Decision {
    let mut decision = next(work, state, observed, gate, now);
    // What holds the whole release holds each of its steps: it is said once.
    let mut said = BTreeSet::new();
    decision.waits.retain(|wait| said.insert(wait.clone()));
    if decision.events.is_empty() { decision } else { Decision { effects: Vec::new(), ..decision } }
}

fn next(
    work: Work<'_>,
    state: &ReleaseState,
    observed: &Observed,
    gate: &ReleaseGate,
    now: Timestamp,
) -> Decision {
    if state.phase(work.plan).is_ended() {
        return Decision::default();
    }
    if let Some(rollback) = &state.rollback {
        return rollback::decide(work, state, rollback, observed);
    }
    let index = wave(work.plan, state);
    let Some(wave) = work.plan.content.waves.get(index) else {
        return hold::let_all_go(state, observed).unwrap_or_else(|| Decision::event(end(state)));
    };
    match state.wave(index) {
        None => start_wave(index, wave, state, &gate.wave),
        Some(started) if wave_is_complete(wave, state) => {
            finish_wave(index, wave, started, state, now)
        }
        Some(_) => steps(work, wave, state, observed, &gate.hold, now),
    }
}

/// Index of the wave that is under way or comes next; the number of waves when none is left. One of which everything was
/// given up is passed over.
pub fn wave(plan: &Plan, state: &ReleaseState) -> usize {
    let is_left =
        |wave: &Wave| wave.steps.iter().any(|step| !state.cancelled.contains_key(&step.id));
    let is_over = |(index, wave): &(usize, &Wave)| {
        let own = state.wave(*index);
        own.is_some_and(WaveState::is_done) || (own.is_none() && !is_left(wave))
    };
    plan.content.waves.iter().enumerate().take_while(is_over).count()
}

/// A release of which something was given up has not ended well.
fn end(state: &ReleaseState) -> Event {
    state.cancelled.values().next().map_or(Event::Done, |cancelled| {
        let (by, reason) = (cancelled.by.clone(), cancelled.reason.clone());
        Event::Cancelled { by, reason }
    })
}

fn start_wave(index: usize, wave: &Wave, state: &ReleaseState, gate: &WaveGate) -> Decision {
    if let Some(paused) = &state.paused {
        return Decision::wait(paused.finding());
    }
    match gate {
        WaveGate::Open { approvals } => {
            Decision::event(Event::WaveStarted { wave: index, approvals: approvals.clone() })
        }
        WaveGate::Waiting(hold) => {
            let named = hold.needs.iter().map(|need| need.clone().with("wave", &wave.name));
            Decision { waits: named.collect(), next: hold.next, ..Decision::default() }
        }
    }
}

fn wave_is_complete(wave: &Wave, state: &ReleaseState) -> bool {
    wave.steps.iter().all(|step| state.is_settled(&step.id))
}

fn finish_wave(
    index: usize,
    wave: &Wave,
    started: &WaveState,
    state: &ReleaseState,
    now: Timestamp,
) -> Decision {
    let Some(ready_at) = started.ready_at else {
        return Decision::event(Event::WaveReady { wave: index });
    };
    let baked_at = after(ready_at, wave.bake_seconds);
    if now < baked_at {
        let finding = Finding::note("RELEASE/BAKING").with("what", &wave.name);
        return Decision::wait_until(finding.with("until", to_the_second(baked_at)), baked_at);
    }
    if wave.confirm && started.confirmed_by.is_none() {
        return Decision::wait(
            Finding::note("RELEASE/AWAIT_WAVE_CONFIRM").with("wave", &wave.name),
        );
    }
    if let Some(paused) = &state.paused {
        return Decision::wait(paused.finding());
    }
    Decision::event(Event::WaveDone { wave: index })
}

/// All steps that may run do so side by side.
fn steps(
    work: Work<'_>,
    wave: &Wave,
    state: &ReleaseState,
    observed: &Observed,
    hold: &Hold,
    now: Timestamp,
) -> Decision {
    let mut all = Decision::default();
    for step in &wave.steps {
        let decision = match state.step(&step.id) {
            None if may_start(step, state) => start_step(work, step, state, observed, hold),
            None => Decision::default(),
            Some(own) => match &own.status {
                StepStatus::Running => run_step(work, step, own, state, observed, hold, now),
                StepStatus::Failed(failure) => Decision::wait(
                    Finding::note("RELEASE/STEP_FAILED")
                        .with("step", &step.id)
                        .with("code", &failure.code),
                ),
                StepStatus::Done
                | StepStatus::Skipped
                | StepStatus::Cancelled
                | StepStatus::RolledBack => Decision::default(),
            },
        };
        all = all.and(decision);
    }
    all
}

/// An instant for people: the next whole second.
fn to_the_second(at: Timestamp) -> Timestamp {
    let second = at.as_second() + i64::from(at.subsec_nanosecond() > 0);
    Timestamp::from_second(second).unwrap_or(at)
}

/// Whether all that the step needs is done, and nobody has given it up.
fn may_start(step: &Step, state: &ReleaseState) -> bool {
    !state.cancelled.contains_key(&step.id)
        && step.needs.iter().all(|id| state.step(id).is_some_and(StepState::is_complete))
}

/// Steps whose objects [`decide`] must see: those under way, those that may start next, and all that were started while
/// going back.
pub fn concerned<'a>(plan: &'a Plan, state: &'a ReleaseState) -> impl Iterator<Item = &'a Step> {
    let is_going_back = state.rollback.is_some();
    plan.steps().filter_map(move |(wave, step)| {
        let is_concerned = match state.step(&step.id) {
            Some(own) if is_going_back => own.status != StepStatus::RolledBack,
            Some(own) => own.status == StepStatus::Running,
            None => !is_going_back && state.wave(wave).is_some() && may_start(step, state),
        };
        is_concerned.then_some(step)
    })
}

/// Objects of such a step that [`decide`] must see: once pods change in groups all else is applied, and only the workload
/// counts.
pub fn looked_at<'a>(
    step: &'a Step,
    state: &ReleaseState,
) -> impl Iterator<Item = &'a ObjectRef> + use<'a> {
    let own = state.step(&step.id).filter(|_| state.rollback.is_none());
    let is_in_groups = own.is_some_and(|own| own.open.is_some() || own.groups_done > 0);
    let workload = step.rollout.as_ref().map(|rollout| &rollout.workload);
    let is_counted = move |it: &&ObjectRef| !is_in_groups || Some(*it) == workload;
    // A restart changes no object, and looks at its workload all the same.
    let objects = step.objects().filter(is_counted);
    objects.chain(workload)
}

/// What [`decide`] must see beside the steps' own objects: autoscalers of apps of which no group has been opened yet, and
/// those that are held and to be let go; what makes others in the place of a drained node's pods.
pub fn around<'a>(
    plan: &'a Plan,
    state: &'a ReleaseState,
) -> impl Iterator<Item = &'a ObjectRef> + 'a {
    let groups = |step: &Step| step.rollout.as_ref().map_or(0, |rollout| rollout.groups.len());
    let of_step = move |step: &'a Step| {
        let own = state.step(&step.id)?;
        let rollout = step.rollout.as_ref()?;
        let is_running = state.rollback.is_none() && own.status == StepStatus::Running;
        let is_before = is_running && own.groups_done == 0 && own.open.is_none();
        let is_after = is_running && !is_before && own.groups_done >= groups(step);
        let is_over = own.is_complete() || own.status == StepStatus::Cancelled;
        let is_to_be_let_go = is_after || is_over || state.rollback.is_some();
        let before = rollout.autoscalers.iter().filter(move |_| is_before);
        Some(before.chain(own.held.iter().filter(move |_| is_to_be_let_go)))
    };
    let own = plan.steps().filter_map(move |(_, step)| of_step(step)).flatten();
    let drained = concerned(plan, state).filter_map(|step| state.step(&step.id));
    own.chain(drained.filter(|own| own.open.is_some()).flat_map(|own| &own.owners))
}

/// Whether [`decide`] must see the pods of a live object of such a step: while they change in groups, go back, or are not
/// well.
pub fn needs_pods(
    work: Work<'_>,
    step: &Step,
    state: &ReleaseState,
    reference: &ObjectRef,
    live: &Object,
) -> bool {
    let is_rolled = step.rollout.as_ref().is_some_and(|rollout| rollout.workload == *reference);
    (matches!(live.group(), "apps" | "batch") || reference.is_node())
        && (is_rolled
            || step.offline.contains(reference)
            || state.rollback.is_some()
            || health_by(&work.desired.health, live) != Health::Healthy)
}

fn start_step(
    work: Work<'_>,
    step: &Step,
    state: &ReleaseState,
    observed: &Observed,
    hold: &Hold,
) -> Decision {
    if let Some(held) = held(state, hold) {
        return held;
    }
    if let Some(gap) = observed.gaps.get(&step.cluster) {
        return unreachable(step, &gap.message);
    }
    let seen = step.objects().filter(|reference| observed.objects.contains_key(*reference));
    let changed = seen.filter(|reference| {
        let live = observed.object(reference);
        change_of(work.plan, reference).is_some_and(|change| !diff::is_as_approved(change, live))
            && !offline::is_left_offline(work.plan, state, reference, live)
    });
    let waits: Vec<Finding> = changed.map(|it| live_changed(step, it, "")).collect();
    if !waits.is_empty() {
        return Decision { waits, ..Decision::default() };
    }
    Decision::event(Event::StepStarted { step: step.id.clone() })
}

/// Whether the object was there before the release: then a rollback keeps it, and the inventory does too.
pub fn was_there(plan: &Plan, reference: &ObjectRef) -> bool {
    change_of(plan, reference).is_some_and(|change| {
        matches!(change.action, Action::Configure | Action::Move | Action::Prune)
    })
}

/// What was approved for an object.
fn change_of<'a>(plan: &'a Plan, reference: &ObjectRef) -> Option<&'a Change> {
    let changes = &plan.content.changes.changes;
    let index = changes.binary_search_by(|change| change.object.cmp(reference)).ok()?;
    changes.get(index)
}

/// Nothing new is opened while somebody paused the release, or the gate holds it.
fn held(state: &ReleaseState, hold: &Hold) -> Option<Decision> {
    if let Some(paused) = &state.paused {
        return Some(Decision::wait(paused.finding()));
    }
    (!hold.needs.is_empty()).then(|| Decision {
        waits: hold.needs.clone(),
        next: hold.next,
        ..Decision::default()
    })
}

/// What was approved is what is applied: an object that has changed since is not touched.
fn live_changed(step: &Step, object: &ObjectRef, fields: &str) -> Finding {
    Finding::note("APPROVAL/LIVE_CHANGED")
        .with("object", object.to_string())
        .with("cluster", &step.cluster)
        .with("step", &step.id)
        .with("fields", fields)
}

/// Held, not failed: an unreachable cluster says nothing about the change.
fn unreachable(step: &Step, reason: &str) -> Decision {
    let finding = Finding::note("RELEASE/CLUSTER_UNREACHABLE").with("cluster", &step.cluster);
    Decision::wait(finding.with("reason", reason))
}

fn run_step(
    work: Work<'_>,
    step: &Step,
    own: &StepState,
    state: &ReleaseState,
    observed: &Observed,
    hold: &Hold,
    now: Timestamp,
) -> Decision {
    if let Some(gap) = observed.gaps.get(&step.cluster) {
        return unreachable(step, &gap.message);
    }
    match &step.kind {
        StepKind::Zones => zones(work, step, own, observed, now),
        StepKind::Objects(_) | StepKind::Job(_) | StepKind::Prune => {
            objects::decide(work, step, own, observed, now)
        }
        StepKind::Offline => offline::decide(work, step, own, observed, now),
        StepKind::Rollout => match &step.rollout {
            Some(rollout) => {
                rollout::Rolling { work, step, rollout, own, state, observed, hold, now }.decide()
            }
            None => objects::decide(work, step, own, observed, now),
        },
    }
}

fn zones(
    work: Work<'_>,
    step: &Step,
    own: &StepState,
    observed: &Observed,
    now: Timestamp,
) -> Decision {
    let open = objects::decide_objects(work, step, own, observed, now);
    if let Some(decision) = open {
        return decision;
    }
    let is_published = |name: &String| {
        let desired = work.desired.zones.iter().find(|zone| &zone.name == name);
        desired.map(ZoneData::digest).as_ref() == observed.published.get(name)
    };
    if step.zones.iter().all(is_published) {
        return Decision::event(Event::StepDone { step: step.id.clone() });
    }
    let publish = Effect::Publish { zones: step.zones.clone(), is_before: false };
    let waiting = Finding::note("RELEASE/PUBLISHING").with("zones", step.zones.join(", "));
    let decision = Decision::effects(vec![publish], waiting);
    match observed.publish_failure.as_ref() {
        Some(message) => {
            let finding = Finding::note("RELEASE/PUBLISH_REFUSED").with("reason", message);
            decision.and(Decision::wait(finding))
        }
        None => decision,
    }
}

fn after(at: Timestamp, seconds: u64) -> Timestamp {
    let duration = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
    at.checked_add(duration).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
