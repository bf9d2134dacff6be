//! Executing a release: carries out what `progress` decides, and records it. It makes no choice of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tidegate_core::autoscaler;
use tidegate_core::backoff::Backoff;
use tidegate_core::change::Action;
use tidegate_core::desired::{Check, DesiredObject, DesiredState};
use tidegate_core::diff::PRUNE_ANNOTATION;
use tidegate_core::gate::{ApprovedPlan, ReleaseGate};
use tidegate_core::live::{Gap, Inventory, InventoryEntry};
use tidegate_core::object::{Object, ObjectRef, Propagation};
use tidegate_core::plan::{Plan, Step};
use tidegate_core::pod::Pod;
use tidegate_core::progress::{
    self, Addressee, Answer, Answers, Decision, Effect, EffectFailure, EndedRun, Observed,
    ReleaseState, Seen, StepStatus, Subject, Terms, Verdict, Work,
};
use tidegate_core::release::{Event, Failure, ReleaseEvent, ReleasePhase};
use tidegate_core::run::{RunLog, TaskRun};
use tidegate_core::site::ValidSite;
use tidegate_schema::finding::Finding;

use crate::cluster::{Cluster, Told};
use crate::journal::{self, Fact, InventoryChange, Journal, ReleaseRow};
use crate::publish::Publisher;

/// Rounds of one call at the most: the loop must come back to look at git, approvals and commands.
const ROUNDS: usize = 200;

/// Objects that are on their way at once: a server answers so many about as fast as one, and about so many may have to be
/// applied again when the agent is killed.
const SIDE_BY_SIDE: usize = 16;

/// Lines of a failed pod's log that are kept with the failure.
const LOG_LINES: u32 = 10;
/// Warnings of a failed pod that are kept with the failure.
const EVENTS: usize = 3;

/// How long a failed effect is left alone.
const RETRIES: Backoff =
    Backoff { interval: Duration::from_secs(1), longest: Duration::from_mins(1), jitter: 100 };

/// How long a pod is left alone that was not let go.
const EVICTIONS: SignedDuration = SignedDuration::from_secs(1);

/// When an effect may be tried again.
#[derive(Clone, Copy, Debug)]
struct Retry {
    attempts: u32,
    not_before: Timestamp,
}

fn key(reference: &ObjectRef) -> String {
    format!("{reference:?}")
}

/// A release under way.
#[derive(Debug)]
pub struct Running {
    /// Its row in the journal.
    pub row: ReleaseRow,
    /// What was approved.
    pub approved: Arc<ApprovedPlan>,
    /// The site of the plan's revision.
    pub site: ValidSite,
    /// The content that is applied.
    pub desired: DesiredState,
    /// The content before.
    pub before: DesiredState,
    /// Its events, folded.
    pub state: ReleaseState,
    /// What it waits for, as last decided.
    pub waits: Vec<Finding>,
    /// Effects that failed and were not successful since.
    pub failures: BTreeMap<ObjectRef, EffectFailure>,
    /// When each effect that failed may be tried again.
    retries: BTreeMap<String, Retry>,
    /// What pods answered to checks.
    answers: Answers,
    /// Why zones were not published.
    pub publish_failure: Option<String>,
}

/// Everything that a release is executed with.
#[derive(Debug)]
pub struct Hands<'a> {
    /// Where everything is recorded.
    pub journal: &'a Journal,
    /// Who answers the checks of apps.
    pub checks: Checks,
    /// By name.
    pub clusters: &'a BTreeMap<String, Cluster>,
    /// The zones.
    pub publisher: &'a mut Publisher,
    /// What is ours.
    pub inventory: &'a mut Inventory,
}

/// Who answers the checks of apps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checks {
    /// Whoever they say: pods, the server, Prometheus.
    Asked,
    /// Nobody: they are taken to hold, since nothing runs that could answer.
    TakenToHold,
}

/// A check that is to be asked, of whom, and about whom the answer is.
struct Question {
    cluster: String,
    subject: Subject,
    addressee: Addressee,
    check: Box<Check>,
}

/// An object to be applied.
struct Write {
    step: String,
    reference: ObjectRef,
    object: Object,
    is_final: bool,
    terms: Box<Terms>,
}

/// How far one call came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advance {
    /// It waits; time alone changes the answer at the instant, if there is one.
    Waiting(Option<Timestamp>),
    /// It ended.
    Ended(ReleasePhase),
}

impl Running {
    /// Starts a release: the journal knows it, its approvals are consumed and all that it will apply is in the inventory
    /// before anything is written anywhere.
    ///
    /// # Errors
    ///
    /// When the journal cannot be written.
    pub async fn start(
        approved: Arc<ApprovedPlan>,
        site: ValidSite,
        desired: DesiredState,
        before: DesiredState,
        before_revision: Option<&str>,
        hands: &mut Hands<'_>,
        now: Timestamp,
    ) -> Result<Self, journal::Error> {
        let intended = intended(approved.plan(), &desired, hands.inventory);
        let row = hands
            .journal
            .start_release(
                approved.plan(),
                before_revision,
                Some(site.revision.committed_at),
                approved.approvals(),
                &intended,
                now,
            )
            .await?;
        fold_inventory(hands.inventory, &intended);
        tracing::info!(release = row.id, plan = row.plan.short(), "release started");
        let state = ReleaseState::of(&hands.journal.events(&row.id).await?);
        Ok(Self::of(row, approved, site, desired, before, state))
    }

    /// Takes up a release that was under way when the agent ended.
    pub fn of(
        mut row: ReleaseRow,
        approved: Arc<ApprovedPlan>,
        site: ValidSite,
        desired: DesiredState,
        before: DesiredState,
        state: ReleaseState,
    ) -> Self {
        // The row may be older than the events, as the agent may have been killed in between.
        row.phase = state.phase(approved.plan());
        Self {
            row,
            approved,
            site,
            desired,
            before,
            state,
            waits: Vec::new(),
            failures: BTreeMap::new(),
            retries: BTreeMap::new(),
            answers: Answers::new(),
            publish_failure: None,
        }
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        self.approved.plan()
    }

    /// Goes on until there is nothing to do now.
    ///
    /// # Errors
    ///
    /// When the journal cannot be written: then nothing further is done.
    pub async fn advance(
        &mut self,
        gate: impl Fn(usize, &ReleaseState) -> ReleaseGate,
        hands: &mut Hands<'_>,
        now: impl Fn() -> Timestamp,
    ) -> Result<Advance, journal::Error> {
        // The agent may have been killed after the last event and before the end was recorded with its baseline.
        let phase = self.state.phase(self.plan());
        if phase.is_ended() {
            return Ok(Advance::Ended(phase));
        }
        for _ in 0..ROUNDS {
            let gate = gate(progress::wave(self.plan(), &self.state), &self.state);
            let Decision { events, effects, waits, next } = self.decide(&gate, hands, now()).await;
            self.waits = waits;
            if !events.is_empty() {
                self.record(events, hands, now()).await?;
                let phase = self.state.phase(self.plan());
                if phase.is_ended() {
                    return Ok(Advance::Ended(phase));
                }
                continue;
            }
            if effects.is_empty() {
                return Ok(Advance::Waiting(next));
            }
            let instant = now();
            let due: Vec<_> = effects.into_iter().filter(|it| self.is_due(it, instant)).collect();
            let is_progress = self.carry_out(due, hands, instant).await?;
            if !is_progress {
                let retries = self.retries.values().map(|retry| retry.not_before);
                return Ok(Advance::Waiting(retries.chain(next).min()));
            }
        }
        Ok(Advance::Waiting(Some(now())))
    }

    /// Records events that a person's command asks for.
    ///
    /// # Errors
    ///
    /// When the journal cannot be written.
    pub async fn record(
        &mut self,
        mut events: Vec<Event>,
        hands: &mut Hands<'_>,
        now: Timestamp,
    ) -> Result<(), journal::Error> {
        for event in &mut events {
            if let Event::StepFailed { step, failure, .. } = event {
                self.add_logs(step, failure, hands.clusters).await;
            }
        }
        for event in &events {
            self.forget_failures(event);
        }
        let removed = removed(&events, self.plan());
        let runs = self.ended_runs(&events, hands.clusters).await;
        for event in self.keep(&events, &removed, &runs, hands, now).await? {
            tracing::info!(release = self.row.id, event = ?event.event, "recorded");
        }
        let phase = self.state.phase(self.plan());
        if phase != self.row.phase && !phase.is_ended() {
            hands.journal.set_phase(&self.row.id, phase, &[], now).await?;
        }
        self.row.phase = phase;
        Ok(())
    }

    /// Records the end with the documents that the release leaves.
    ///
    /// # Errors
    ///
    /// When the journal cannot be written.
    pub async fn finish(
        &mut self,
        facts: &[Fact],
        journal: &Journal,
        now: Timestamp,
    ) -> Result<(), journal::Error> {
        let phase = self.state.phase(self.plan());
        journal.set_phase(&self.row.id, phase, facts, now).await?;
        self.row.phase = phase;
        self.row.ended_at = Some(now);
        tracing::info!(release = self.row.id, ?phase, "release ended");
        Ok(())
    }

    /// Products of which every step ended well.
    pub fn delivered(&self) -> BTreeSet<String> {
        let is_done =
            |id: &str| self.state.step(id).is_some_and(|own| own.status == StepStatus::Done);
        let (mut delivered, mut missed) = (BTreeSet::new(), BTreeSet::new());
        for (_, step) in self.plan().steps() {
            let Some(product) = &step.product else { continue };
            let set = if is_done(&step.id) { &mut delivered } else { &mut missed };
            set.insert(product.clone());
        }
        delivered.difference(&missed).cloned().collect()
    }

    /// What comes next. What is decided is decided by pods as the server has them, what is waited for by what was seen.
    async fn decide(&self, gate: &ReleaseGate, hands: &Hands<'_>, now: Timestamp) -> Decision {
        let work = Work { plan: self.plan(), desired: &self.desired, before: &self.before };
        let mut observed = self.observe(hands).await;
        let mut counted = BTreeSet::new();
        loop {
            let decision = progress::decide(work, &self.state, &observed, gate, now);
            let decided = decision.decided().into_iter();
            let uncounted: Vec<String> =
                decided.filter(|step| !counted.contains(*step)).map(ToOwned::to_owned).collect();
            if uncounted.is_empty() {
                return decision;
            }
            self.count_anew(&uncounted, &mut observed, hands).await;
            counted.extend(uncounted);
        }
    }

    /// Asks the server for the pods of steps.
    async fn count_anew(&self, steps: &[String], observed: &mut Observed, hands: &Hands<'_>) {
        let mut asked: BTreeMap<&str, Vec<(&ObjectRef, &Object)>> = BTreeMap::new();
        for step in steps.iter().filter_map(|id| self.plan().step(id)) {
            let objects = progress::looked_at(step, &self.state);
            let shown: BTreeSet<&ObjectRef> =
                objects.filter(|reference| observed.pods.contains_key(*reference)).collect();
            let live = shown.into_iter().filter_map(|it| Some((it, observed.object(it)?)));
            asked.entry(&step.cluster).or_default().extend(live);
        }
        let (mut found, mut gaps) = (Vec::new(), Vec::new());
        for (name, workloads) in asked {
            let Some(cluster) = hands.clusters.get(name) else { continue };
            match cluster.pods(&workloads, Told::ByServer).await {
                Ok(pods) => found.push(pods),
                Err(gap) => gaps.push((name.to_owned(), gap)),
            }
        }
        observed.pods.extend(found.into_iter().flatten());
        observed.gaps.extend(gaps);
    }

    async fn observe(&self, hands: &Hands<'_>) -> Observed {
        let mut observed = Observed {
            published: hands.publisher.digests(),
            publish_failure: self.publish_failure.clone(),
            failures: self.failures.clone(),
            answers: self.answers.clone(),
            ..Observed::default()
        };
        let mut wanted: BTreeMap<&str, BTreeMap<ObjectRef, String>> = BTreeMap::new();
        let mut steps: BTreeMap<&ObjectRef, &Step> = BTreeMap::new();
        for step in progress::concerned(self.plan(), &self.state) {
            observed.uids.extend(uids(step, hands.inventory));
            for reference in progress::looked_at(step, &self.state) {
                let version = self.api_version(reference, hands.inventory);
                wanted.entry(&step.cluster).or_default().insert(reference.clone(), version);
                steps.insert(reference, step);
            }
        }
        let work = Work { plan: self.plan(), desired: &self.desired, before: &self.before };
        for (name, objects) in wanted {
            let Some(cluster) = hands.clusters.get(name) else {
                observed.gaps.insert(name.to_owned(), not_connected());
                continue;
            };
            let objects: Vec<_> = objects.into_iter().collect();
            let needs_pods = |reference: &ObjectRef, live: &Object| {
                let step = steps.get(reference);
                step.is_some_and(|step| {
                    progress::needs_pods(work, step, &self.state, reference, live)
                })
            };
            match look(cluster, &objects, needs_pods).await {
                Ok((seen, pods)) => {
                    observed.objects.extend(seen);
                    observed.pods.extend(pods);
                }
                Err(gap) => {
                    observed.gaps.insert(name.to_owned(), gap);
                }
            }
        }
        self.look_around(&mut observed, hands).await;
        observed
    }

    /// What steps look at beside their own objects before they begin. What cannot be read is not there for them: the plan
    /// said so.
    async fn look_around(&self, observed: &mut Observed, hands: &Hands<'_>) {
        for reference in progress::around(self.plan(), &self.state) {
            let Some(cluster) = hands.clusters.get(&reference.cluster) else { continue };
            match cluster.get(reference, self.version_around(reference)).await {
                Ok(seen) => {
                    observed.objects.insert(reference.clone(), seen);
                }
                Err(gap) => tracing::warn!(object = %reference, gap.message, "cannot be read"),
            }
        }
    }

    /// The version at which something beside the steps' own objects is read: that of the documents, which may not have it.
    fn version_around(&self, reference: &ObjectRef) -> &str {
        let known = self.desired.object(reference).map(|it| it.api_version.as_str());
        known.unwrap_or(match reference.group.as_str() {
            "apps" => "apps/v1",
            "" => "v1",
            _ => autoscaler::API_VERSION,
        })
    }

    fn api_version(&self, reference: &ObjectRef, inventory: &Inventory) -> String {
        let of = |state: &DesiredState| state.object(reference).map(|it| it.api_version.clone());
        let of_inventory =
            || inventory.entries.get(reference).map(|entry| entry.api_version.clone());
        of(&self.desired).or_else(|| of(&self.before)).or_else(of_inventory).unwrap_or_default()
    }

    /// Carries out effects; says whether anything may have changed.
    async fn carry_out(
        &mut self,
        effects: Vec<Effect>,
        hands: &mut Hands<'_>,
        now: Timestamp,
    ) -> Result<bool, journal::Error> {
        let mut is_progress = false;
        let (mut writes, mut deletions, mut questions) = (Vec::new(), Vec::new(), Vec::new());
        for effect in effects {
            if !matches!(effect, Effect::Apply { .. }) {
                is_progress |= self.apply(std::mem::take(&mut writes), hands, now).await?;
            }
            if !matches!(effect, Effect::Delete { .. }) {
                is_progress |= self.delete(std::mem::take(&mut deletions), hands, now).await;
            }
            is_progress |= match effect {
                Effect::Apply { step, reference, object, is_final, terms } => {
                    writes.push(Write { step, reference, object, is_final, terms });
                    continue;
                }
                Effect::Delete { reference, propagation, .. } => {
                    deletions.push((reference, propagation));
                    continue;
                }
                Effect::Ask { cluster, subject, addressee, check } => {
                    questions.push(Question { cluster, subject, addressee, check });
                    continue;
                }
                Effect::Evict { cluster, namespace, name, uid } => {
                    match hands.clusters.get(&cluster) {
                        Some(cluster) => {
                            let result = cluster.evict(&namespace, &name, &uid).await;
                            self.note_pod((&namespace, &name, &uid), result, now)
                        }
                        None => false,
                    }
                }
                Effect::DeletePod { cluster, namespace, name, uid } => {
                    match hands.clusters.get(&cluster) {
                        Some(cluster) => {
                            let result = cluster.delete_pod(&namespace, &name, &uid).await;
                            self.note_pod((&namespace, &name, &uid), result, now)
                        }
                        None => false,
                    }
                }
                Effect::Publish { zones, is_before } => {
                    self.publish(&zones, is_before, hands).await
                }
                Effect::Hold { reference, pods } => {
                    let patch = |live: &Object| Some(autoscaler::hold(live, pods));
                    self.patch(reference, &patch, hands, now).await
                }
                Effect::LetGo { reference } => {
                    self.patch(reference, &autoscaler::let_go, hands, now).await
                }
            };
        }
        is_progress |= self.apply(writes, hands, now).await?;
        is_progress |= self.delete(deletions, hands, now).await;
        is_progress |= self.ask(questions, hands, now).await;
        Ok(is_progress)
    }

    /// Patches an autoscaler as it is now.
    async fn patch(
        &mut self,
        reference: ObjectRef,
        patch: &(dyn Fn(&Object) -> Option<Vec<Value>> + Sync),
        hands: &Hands<'_>,
        now: Timestamp,
    ) -> bool {
        let Some(cluster) = hands.clusters.get(&reference.cluster) else { return false };
        let result = cluster.patch(&reference, self.version_around(&reference), patch).await;
        self.note(reference, result, now)
    }

    /// Asks side by side, and remembers what was answered.
    async fn ask(&mut self, questions: Vec<Question>, hands: &Hands<'_>, now: Timestamp) -> bool {
        let checks = hands.checks;
        let sent: Vec<BoxFuture<'_, _>> = questions
            .into_iter()
            .filter_map(|Question { cluster, subject, addressee, check }| {
                let cluster = hands.clusters.get(&cluster)?;
                let answer = async move {
                    let verdict = match checks {
                        Checks::Asked => cluster.check(&addressee, &check).await,
                        Checks::TakenToHold => Verdict::Holds,
                    };
                    ((subject, check.name), Answer { verdict, at: now })
                };
                Some(answer.boxed())
            })
            .collect();
        let answers: Vec<_> =
            futures::stream::iter(sent).buffer_unordered(SIDE_BY_SIDE).collect().await;
        let is_progress = !answers.is_empty();
        self.answers.extend(answers);
        is_progress
    }

    /// Deletes objects side by side. That they are gone is recorded when it is seen.
    async fn delete(
        &mut self,
        objects: Vec<(ObjectRef, Propagation)>,
        hands: &Hands<'_>,
        now: Timestamp,
    ) -> bool {
        let entries = &hands.inventory.entries;
        let sent: Vec<BoxFuture<'_, _>> = objects
            .into_iter()
            .filter_map(|(reference, propagation)| {
                let cluster = hands.clusters.get(&reference.cluster)?;
                let version = self.api_version(&reference, hands.inventory);
                let entry = entries.get(&reference);
                let answer = async move {
                    let result = match ours(cluster, &reference, &version, entry).await {
                        Some(uid) => cluster.delete(&reference, &version, &uid, propagation).await,
                        None => Err(never_applied()),
                    };
                    (reference, result)
                };
                Some(answer.boxed())
            })
            .collect();
        let answers = futures::stream::iter(sent).buffer_unordered(SIDE_BY_SIDE);
        let answers: Vec<_> = answers.collect().await;
        let mut is_progress = false;
        for (reference, result) in answers {
            is_progress |= self.note(reference, result, now);
        }
        is_progress
    }

    /// Applies objects side by side, since a step hands out one kind at a time. While some are recorded, others are on their
    /// way.
    async fn apply(
        &mut self,
        writes: Vec<Write>,
        hands: &mut Hands<'_>,
        now: Timestamp,
    ) -> Result<bool, journal::Error> {
        let clusters = hands.clusters;
        let sent: Vec<BoxFuture<'_, _>> = writes
            .into_iter()
            .filter_map(|write| {
                let cluster = clusters.get(&write.reference.cluster)?;
                let answer = async move {
                    let again = |live: Option<&Object>| write.terms.again(&write.object, live);
                    let answer = cluster.apply(&write.object, &write.terms, &again).await;
                    (write, answer)
                };
                Some(answer.boxed())
            })
            .collect();
        let mut answers =
            futures::stream::iter(sent).buffer_unordered(SIDE_BY_SIDE).ready_chunks(SIDE_BY_SIDE);
        let mut is_progress = false;
        while let Some(answered) = answers.next().await {
            is_progress |= self.take(answered, hands, now).await?;
        }
        Ok(is_progress)
    }

    /// Records in one transaction what the server took.
    async fn take(
        &mut self,
        answered: Vec<(Write, Result<Object, EffectFailure>)>,
        hands: &mut Hands<'_>,
        now: Timestamp,
    ) -> Result<bool, journal::Error> {
        let mut taken = Vec::new();
        for (write, answer) in answered {
            let reference = write.reference.clone();
            let result = answer.map(|applied| taken.push((write, applied)));
            self.note(reference, result, now);
        }
        let is_rollback = self.state.rollback.is_some();
        let state = if is_rollback { &self.before } else { &self.desired };
        let (mut events, mut changes) = (Vec::new(), Vec::new());
        for (Write { step, reference, .. }, applied) in taken.iter().filter(|(it, _)| it.is_final) {
            let (step, objects) = (step.clone(), vec![reference.clone()]);
            events.push(if is_rollback {
                Event::ObjectsReverted { step, objects }
            } else {
                Event::ObjectsApplied { step, objects }
            });
            if let Some(desired) = state.object(reference) {
                let known = hands.inventory.entries.get(reference);
                let adopted = known.and_then(|known| known.adopted.clone());
                let entry = InventoryEntry { adopted, ..entry(desired, Some(applied)) };
                changes.push(InventoryChange::Applied(reference.clone(), entry));
            } else if reference.is_node() {
                // Nothing of it is ours any more.
                changes.push(InventoryChange::Remove(reference.clone()));
            }
        }
        if !events.is_empty() {
            self.keep(&events, &changes, &[], hands, now).await?;
        }
        Ok(!taken.is_empty())
    }

    /// Tasks and tests that end by these events, as the servers tell them before their Jobs go. One that cannot be asked
    /// says so in what is kept, and holds nothing up.
    async fn ended_runs(
        &self,
        events: &[Event],
        clusters: &BTreeMap<String, Cluster>,
    ) -> Vec<(TaskRun, Vec<RunLog>)> {
        let ended = progress::ended_runs(self.plan(), &self.state, events);
        let asked: Vec<BoxFuture<'_, _>> = ended
            .into_iter()
            .map(|EndedRun { step, job, before }| {
                async move {
                    let kept = if let Some(cluster) = clusters.get(&step.cluster) {
                        cluster.run(&step.id, job).await
                    } else {
                        let unknown = TaskRun::of(&step.id, job, Err(not_connected()), Ok(&[]));
                        (unknown, Vec::new())
                    };
                    // The Job of an earlier try, which the new one has not taken the place of: it is kept already.
                    Some(kept).filter(|(run, _)| !before.contains(&run.uid))
                }
                .boxed()
            })
            .collect();
        let kept = futures::stream::iter(asked).buffered(SIDE_BY_SIDE);
        kept.filter_map(std::future::ready).collect().await
    }

    /// Records events with what they change in the inventory, and takes both to heart.
    async fn keep(
        &mut self,
        events: &[Event],
        changes: &[InventoryChange],
        runs: &[(TaskRun, Vec<RunLog>)],
        hands: &mut Hands<'_>,
        now: Timestamp,
    ) -> Result<Vec<ReleaseEvent>, journal::Error> {
        let recorded = hands.journal.append(&self.row.id, events, changes, runs, now).await?;
        fold_inventory(hands.inventory, changes);
        for event in &recorded {
            self.state.apply(event);
        }
        Ok(recorded)
    }

    async fn publish(&mut self, zones: &[String], is_before: bool, hands: &mut Hands<'_>) -> bool {
        let content = if is_before { &self.before.zones } else { &self.desired.zones };
        let committed_at = self.site.revision.committed_at;
        let result = hands.publisher.publish(zones, content, committed_at, hands.journal).await;
        self.publish_failure = result.err();
        self.publish_failure.is_none()
    }

    /// Remembers a failed effect; says whether it was successful.
    fn note(
        &mut self,
        reference: ObjectRef,
        result: Result<(), EffectFailure>,
        now: Timestamp,
    ) -> bool {
        match result {
            Ok(()) => {
                self.failures.remove(&reference);
                self.retries.remove(&key(&reference));
                true
            }
            Err(failure) => {
                tracing::warn!(object = %reference, code = failure.code, failure.message, "effect failed");
                self.try_later(key(&reference), now);
                self.failures.insert(reference, failure);
                false
            }
        }
    }

    fn is_due(&self, effect: &Effect, now: Timestamp) -> bool {
        let retry = match effect {
            Effect::Apply { reference, .. }
            | Effect::Delete { reference, .. }
            | Effect::Hold { reference, .. }
            | Effect::LetGo { reference } => self.retries.get(&key(reference)),
            Effect::Evict { uid, .. } | Effect::DeletePod { uid, .. } => self.retries.get(uid),
            Effect::Publish { .. } | Effect::Ask { .. } => None,
        };
        retry.is_none_or(|retry| now >= retry.not_before)
    }

    /// What failed is left alone for a while, longer with each failure: a server in trouble is not helped by more requests.
    fn try_later(&mut self, key: String, now: Timestamp) {
        let attempts = self.retries.get(&key).map_or(0, |retry| retry.attempts);
        let wait = RETRIES.wait(attempts, u64::from(std::process::id()));
        let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
        let not_before = now.checked_add(wait).unwrap_or(Timestamp::MAX);
        self.retries.insert(key, Retry { attempts: attempts.saturating_add(1), not_before });
    }

    /// A person who asks for another try, or for the way back, gets it: what the server said before counts no more.
    fn forget_failures(&mut self, event: &Event) {
        if let Event::Retried { step, .. } = event {
            let step = self.approved.plan().step(step);
            let objects = step.into_iter().flat_map(|step| step.objects().cloned());
            for reference in objects.collect::<Vec<_>>() {
                self.failures.remove(&reference);
                self.retries.remove(&key(&reference));
            }
        }
        if let Event::RollbackStarted { .. } = event {
            self.failures.clear();
            self.retries.clear();
        }
    }

    /// A pod that the server does not let go now (a disruption budget, most often): people see why it is waited for.
    fn note_pod(
        &mut self,
        (namespace, name, uid): (&str, &str, &str),
        result: Result<(), EffectFailure>,
        now: Timestamp,
    ) -> bool {
        let Err(failure) = result else {
            self.retries.remove(uid);
            return true;
        };
        // A budget lets it go as soon as others are ready: that is asked for steadily.
        let not_before = now.checked_add(EVICTIONS).unwrap_or(Timestamp::MAX);
        self.retries.insert(uid.to_owned(), Retry { attempts: 1, not_before });
        let pod = format!("{namespace}/{name}");
        tracing::debug!(pod, code = failure.code, failure.message, "the pod is not let go");
        let finding = Finding::note("RELEASE/POD_HELD").with("pod", pod);
        self.waits.push(finding.with("reason", failure.message));
        false
    }

    async fn add_logs(
        &self,
        step: &str,
        failure: &mut Failure,
        clusters: &BTreeMap<String, Cluster>,
    ) {
        let cluster = self.plan().step(step).and_then(|step| clusters.get(&step.cluster));
        let Some(cluster) = cluster else { return };
        for pod in failure.pods.iter_mut().take(3) {
            if let Some((namespace, name)) = pod.pod.split_once('/') {
                pod.log = cluster.log(namespace, name, LOG_LINES).await;
                pod.events = cluster.warnings(namespace, &pod.uid, EVENTS).await;
            }
        }
    }
}

/// Objects of one cluster, and the pods of those that need to be looked at so closely.
async fn look(
    cluster: &Cluster,
    objects: &[(ObjectRef, String)],
    needs_pods: impl Fn(&ObjectRef, &Object) -> bool,
) -> Result<(BTreeMap<ObjectRef, Seen>, BTreeMap<ObjectRef, Vec<Pod>>), Gap> {
    let seen = cluster.look(objects).await?;
    let workloads: Vec<(&ObjectRef, &Object)> = seen
        .iter()
        .filter_map(|(reference, seen)| match seen {
            Seen::Present(object) => Some((reference, object)),
            Seen::Absent => None,
        })
        .filter(|(reference, object)| needs_pods(reference, object))
        .collect();
    let pods = cluster.pods(&workloads, Told::ByWatch).await?;
    Ok((seen, pods))
}

fn not_connected() -> Gap {
    Gap { code: "CLUSTER/NOT_CONNECTED".to_owned(), message: "not connected".to_owned() }
}

/// The uids of a step's objects that are ours.
fn uids(step: &Step, inventory: &Inventory) -> impl Iterator<Item = (ObjectRef, String)> {
    step.objects().filter_map(|reference| {
        let entry = inventory.entries.get(reference)?;
        Some((reference.clone(), entry.uid.clone()?))
    })
}

/// The uid of the object that we made: of the inventory, or, when the agent was killed between the apply and its record, of
/// the object that says that we applied it.
async fn ours(
    cluster: &Cluster,
    reference: &ObjectRef,
    api_version: &str,
    entry: Option<&InventoryEntry>,
) -> Option<String> {
    let entry = entry?;
    if entry.uid.is_some() {
        return entry.uid.clone();
    }
    match cluster.get(reference, api_version).await {
        Ok(Seen::Present(live)) if live.is_applied_by_us() => Some(live.uid().to_owned()),
        Ok(Seen::Present(_) | Seen::Absent) | Err(_) => None,
    }
}

fn never_applied() -> EffectFailure {
    EffectFailure {
        code: "RELEASE/NOT_OURS".to_owned(),
        message: "the inventory knows no uid of it".to_owned(),
        is_transient: true,
        conflicts: Vec::new(),
    }
}

fn entry(desired: &DesiredObject, applied: Option<&Object>) -> InventoryEntry {
    InventoryEntry {
        api_version: desired.api_version.clone(),
        uid: applied.map(|applied| applied.uid().to_owned()),
        applied: applied.map(|_| desired.digest.clone()),
        owner: desired.owner.clone(),
        kept: desired.body().annotation(PRUNE_ANNOTATION) == Some("disabled"),
        adopted: None,
    }
}

/// What the plan will apply and the inventory does not know yet, or knows under another owner.
fn intended(plan: &Plan, desired: &DesiredState, inventory: &Inventory) -> Vec<InventoryChange> {
    let is_new = |reference: &ObjectRef| !inventory.entries.contains_key(reference);
    let wanted = plan.steps().flat_map(|(_, step)| step.apply.iter().chain(&step.replace));
    let wanted = wanted
        .filter_map(|reference| desired.object(reference))
        .map(|object| (&object.reference, entry(object, None)));
    // What the server made for a set that goes, and leaves behind: from now on nobody else tells of it.
    let left = plan.content.changes.changes.iter().filter(|it| it.action == Action::Keep);
    let left = left.map(|change| {
        let entry = InventoryEntry {
            api_version: "v1".to_owned(),
            uid: None,
            applied: None,
            owner: change.owner.clone(),
            kept: true,
            adopted: None,
        };
        (&change.object, entry)
    });
    let new = wanted.chain(left).filter(|(reference, _)| is_new(reference));
    new.map(|(reference, entry)| InventoryChange::Intend(reference.clone(), entry)).collect()
}

/// What is no longer ours after these events: what a rollback found there is.
fn removed(events: &[Event], plan: &Plan) -> Vec<InventoryChange> {
    let gone = events.iter().filter_map(|event| {
        let (Event::ObjectsPruned { objects, .. } | Event::ObjectsReverted { objects, .. }) = event
        else {
            return None;
        };
        let is_reverted = matches!(event, Event::ObjectsReverted { .. });
        Some(objects.iter().filter(move |it| !is_reverted || !progress::was_there(plan, it)))
    });
    gone.flatten().cloned().map(InventoryChange::Remove).collect()
}

pub(crate) fn fold_inventory(inventory: &mut Inventory, changes: &[InventoryChange]) {
    for change in changes {
        match change {
            InventoryChange::Intend(reference, entry)
            | InventoryChange::Applied(reference, entry) => {
                inventory.entries.insert(reference.clone(), entry.clone());
            }
            InventoryChange::Remove(reference) => {
                inventory.entries.remove(reference);
            }
        }
    }
}
