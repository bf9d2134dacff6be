//! Pods of one app, group by group.

use jiff::Timestamp;
use tidegate_schema::finding::Finding;

use super::check::{self, Standing};
use super::{
    Decision, Effect, Observed, OpenGroup, ReleaseState, StepState, Work, after, failure, held,
    live_changed, objects,
};
use crate::autoscaler;
use crate::diff;
use crate::driver;
use crate::gate::Hold;
use crate::health::{Health, health, is_observed};
use crate::ignored;
use crate::object::Object;
use crate::plan::{Driver, Group, OnFailure, Rollout, Step, UnattendedRule};
use crate::pod::{Pod, TroubleKind};
use crate::release::{Event, GroupPod, Part};

/// Seconds for which trouble must last before it counts: pods made anew by a retry need a moment to show theirs.
const PATIENCE_SECONDS: u64 = 5;

/// One step whose pods change in groups.
pub(super) struct Rolling<'a> {
    pub(super) work: Work<'a>,
    pub(super) step: &'a Step,
    pub(super) rollout: &'a Rollout,
    pub(super) own: &'a StepState,
    pub(super) state: &'a ReleaseState,
    pub(super) observed: &'a Observed,
    pub(super) hold: &'a Hold,
    pub(super) now: Timestamp,
}

impl Rolling<'_> {
    /// First what the pods need, then the groups in order, then the workload's final form.
    pub(super) fn decide(&self) -> Decision {
        if self.rollout.driver == Driver::Restart {
            return self.restart();
        }
        if self.rollout.driver == Driver::Drain {
            return self.drain();
        }
        let has_begun = self.own.open.is_some() || self.own.groups_done > 0;
        if !has_begun
            && let Some(decision) =
                objects::decide_objects(self.work, self.step, self.own, self.observed, self.now)
        {
            return self.until_timeout(decision);
        }
        if let Some(refused) = objects::refused(self.step, self.observed) {
            return refused;
        }
        let Some(desired) = self.work.desired.object(&self.rollout.workload) else {
            return Decision::event(Event::StepDone { step: self.id() });
        };
        if let Some(open) = &self.own.open {
            return match self.rollout.groups.get(open.group) {
                Some(group) => self.in_group(&desired.body(), group, open),
                None => Decision::event(Event::GroupDone { step: self.id(), group: open.group }),
            };
        }
        if self.own.groups_done < self.rollout.groups.len() {
            let before =
                self.own.groups_done.checked_sub(1).and_then(|it| self.rollout.groups.get(it));
            return before
                .and_then(|group| self.beyond(&desired.body(), group, None))
                .or_else(|| held(self.state, self.hold))
                .or_else(|| self.taken_by_others())
                .or_else(|| self.changed_by_others(&desired.body()))
                .or_else(|| self.preflight())
                .unwrap_or_else(|| {
                    Decision::event(Event::GroupOpened {
                        step: self.id(),
                        group: self.own.groups_done,
                        attempt: 1,
                        already: self.new_pods(&desired.body()),
                    })
                });
        }
        self.finish(&desired.body())
    }

    fn taken_by_others(&self) -> Option<Decision> {
        let workload = &self.rollout.workload;
        let is_taken =
            self.own.groups_done == 0 && objects::is_taken(self.work, workload, self.observed);
        is_taken.then(|| Decision::wait(live_changed(self.step, workload, "")))
    }

    /// Between groups the workload must still be as we left it: what somebody else made of it meanwhile nobody approved.
    fn changed_by_others(&self, desired: &Object) -> Option<Decision> {
        let before = self.own.groups_done.checked_sub(1)?;
        let (group, live) = (self.rollout.groups.get(before)?, self.live()?);
        let driver = self.rollout.driver;
        let form = driver::form(driver, desired, Some(live), self.total(), group.cumulative);
        let fields = diff::changed_by_others(live, &form);
        if fields.is_empty() {
            return None;
        }
        let finding = live_changed(self.step, &self.rollout.workload, &fields.join(", "));
        Some(Decision::wait(finding))
    }

    pub(super) fn id(&self) -> String {
        self.step.id.clone()
    }

    /// Pods that change in groups.
    fn total(&self) -> u32 {
        self.rollout.groups.last().map_or(0, |group| group.cumulative)
    }

    /// Pods that there are to be now: nodes of a DaemonSet come and go during a release.
    pub(super) fn there(&self) -> u32 {
        let scheduled = match self.rollout.driver {
            Driver::DaemonSet => {
                self.live().and_then(|live| live.integer("/status/desiredNumberScheduled"))
            }
            Driver::Whole
            | Driver::StatefulSet
            | Driver::Deployment
            | Driver::Restart
            | Driver::Drain => None,
        };
        scheduled.and_then(|it| u32::try_from(it).ok()).unwrap_or_else(|| self.total())
    }

    pub(super) fn pods(&self) -> &[Pod] {
        self.observed.pods(&self.rollout.workload)
    }

    pub(super) fn live(&self) -> Option<&Object> {
        self.observed.object(&self.rollout.workload)
    }

    fn apply(&self, form: &Object, is_final: bool, finding: Finding) -> Decision {
        let workload = &self.rollout.workload;
        objects::write(self.work, self.step, workload, (form, is_final), self.observed, finding)
    }

    /// Pods that are new now.
    fn new_pods(&self, desired: &Object) -> u32 {
        let wanted = driver::revision(desired);
        let is_new = |pod: &&Pod| pod.revision == wanted && !pod.is_terminating;
        u32::try_from(self.pods().iter().filter(is_new).count()).unwrap_or(u32::MAX)
    }

    /// More pods are new than were approved: somebody took a partition or gate away, or scaled. What holds the others back is
    /// put back by then, and nothing further is opened before a person has looked. The pods of a DaemonSet come with nodes.
    fn beyond(&self, desired: &Object, group: &Group, open: Option<usize>) -> Option<Decision> {
        let is_held = match self.rollout.driver {
            Driver::StatefulSet | Driver::Deployment => true,
            Driver::Whole | Driver::DaemonSet | Driver::Restart | Driver::Drain => false,
        };
        let (new, approved) = (self.new_pods(desired), group.cumulative.max(self.own.passed));
        if !is_held || new <= approved {
            return None;
        }
        let form = self.form(desired, group);
        if self.live().is_some_and(|live| !driver::is_in_place(live, &form)) {
            let waiting = Finding::note("RELEASE/AWAIT_HEALTH")
                .with("object", self.rollout.workload.to_string())
                .with("reason", "is held back again");
            return Some(self.apply(&form, false, waiting));
        }
        let failure = failure::beyond(&self.rollout.workload, new, approved);
        Some(self.fail(open, failure))
    }

    /// How the workload is to stand now, while a group is open.
    fn form(&self, desired: &Object, group: &Group) -> Object {
        let (driver, live, total) = (self.rollout.driver, self.live(), self.total());
        let open = match driver {
            Driver::Deployment => {
                driver::widened(desired, live, self.pods(), total, group.cumulative)
            }
            Driver::Whole
            | Driver::StatefulSet
            | Driver::DaemonSet
            | Driver::Restart
            | Driver::Drain => group.cumulative,
        };
        driver::form(driver, desired, live, total, open)
    }

    fn in_group(&self, desired: &Object, group: &Group, open: &OpenGroup) -> Decision {
        let wanted = driver::revision(desired);
        let driver = self.rollout.driver;
        let opened = driver::opened(driver, self.pods(), wanted, self.there(), group.cumulative);
        let is_new = |pod: &&Pod| pod.revision == wanted && !self.is_waived(pod);
        let new: Vec<&Pod> = opened.iter().copied().filter(is_new).collect();
        let beyond = || self.beyond(desired, group, Some(open.group));
        self.trouble(&new, open).or_else(beyond).unwrap_or_else(|| {
            self.run(group, &new, open, || self.advance(desired, group, &opened, open))
        })
    }

    /// Whether a person has said that what is wrong with a pod does not count.
    pub(super) fn is_waived(&self, pod: &Pod) -> bool {
        self.own.waived.contains(&pod.uid)
    }

    /// How many of these pods are not ready and need not be, by a waiver.
    pub(super) fn excused<'p>(&self, pods: impl IntoIterator<Item = &'p Pod>) -> u32 {
        let excused = pods.into_iter().filter(|pod| self.is_waived(pod) && !pod.is_ready());
        u32::try_from(excused.count()).unwrap_or(u32::MAX)
    }

    /// A group whose pods are not in trouble: what is left to do, and whether they hold.
    pub(super) fn run(
        &self,
        group: &Group,
        new: &[&Pod],
        open: &OpenGroup,
        advance: impl FnOnce() -> Option<Decision>,
    ) -> Decision {
        if let Some(decision) = advance() {
            let deadline = after(open.opened_at, self.step.timeout_seconds);
            return decision.and(Decision { next: Some(deadline), ..Decision::default() });
        }
        self.judge(group, new, open)
    }

    /// How far the pods of a group are.
    pub(super) fn awaited(&self, open: &OpenGroup, ready: usize, of: u32) -> Finding {
        Finding::note("RELEASE/AWAIT_GROUP")
            .with("app", self.rollout.unit.to_string())
            .with("group", (open.group + 1).to_string())
            .with("groups", self.rollout.groups.len().to_string())
            .with("ready", ready.to_string())
            .with("pods", of.to_string())
    }

    /// What is left to do until the group's pods are new and ready; `None` when they are.
    fn advance(
        &self,
        desired: &Object,
        group: &Group,
        opened: &[&Pod],
        open: &OpenGroup,
    ) -> Option<Decision> {
        let wanted = driver::revision(desired);
        let is_new_and_ready = |pod: &&&Pod| pod.revision == wanted && pod.is_ready();
        let ready = opened.iter().filter(is_new_and_ready).count();
        let excused = self.excused(opened.iter().copied());
        let needed = self.needed(desired, group).saturating_sub(excused);
        let waiting = self.awaited(open, ready, needed);
        if self.rollout.driver == Driver::Whole {
            if !self.own.applied.contains(&self.rollout.workload) {
                return Some(self.apply(desired, true, waiting));
            }
            let is_healthy = self.live().map(health) == Some(Health::Healthy);
            return (!is_healthy || ready < needed as usize).then(|| Decision::wait(waiting));
        }
        let form = self.form(desired, group);
        let Some(live) = self.live().filter(|live| driver::is_in_place(live, &form)) else {
            return Some(self.apply(&form, false, waiting));
        };
        // The first form of a StatefulSet holds everything back: the next form follows once it is seen.
        let held = self.rollout.driver == Driver::StatefulSet
            && live.integer("/spec/updateStrategy/rollingUpdate/partition")
                != Some(i64::from(self.total() - group.cumulative));
        if held || !is_observed(live) {
            return Some(Decision::wait(waiting));
        }
        let evictions: Vec<Effect> = driver::to_evict(self.rollout.driver, live, opened, wanted)
            .into_iter()
            .map(|pod| Effect::evict(&self.step.cluster, pod))
            .collect();
        if !evictions.is_empty() {
            return Some(Decision::effects(evictions, waiting));
        }
        (ready < needed as usize).then(|| Decision::wait(waiting))
    }

    /// How many opened pods must be new and ready.
    fn needed(&self, desired: &Object, group: &Group) -> u32 {
        match self.rollout.driver {
            // The nodes decide how many there are; health compares with that.
            Driver::Whole if desired.kind() == "DaemonSet" => 0,
            Driver::Whole => {
                let is_left = ignored::is_left(desired, autoscaler::REPLICAS);
                let says = self.live().filter(|_| is_left).unwrap_or(desired);
                says.replicas()
            }
            Driver::DaemonSet => {
                let there = u32::try_from(self.pods().len()).unwrap_or(u32::MAX);
                group.cumulative.min(there)
            }
            Driver::StatefulSet | Driver::Deployment | Driver::Restart | Driver::Drain => {
                group.cumulative
            }
        }
    }

    /// Ready, then checked, then baked, then confirmed, then done.
    fn judge(&self, group: &Group, new: &[&Pod], open: &OpenGroup) -> Decision {
        let (step, number) = (self.id(), open.group);
        let Some(ready_at) = open.ready_at else {
            let pods = self.new_with(number, new);
            return Decision::event(Event::GroupReady { step, group: number, pods });
        };
        if open.checked_at.is_none() && !self.rollout.checks.is_empty() {
            return self.check(new, open, ready_at);
        }
        let last = new.iter().filter_map(|pod| pod.ready_since).max().unwrap_or(ready_at);
        let baked_at = after(last.max(ready_at), self.rollout.bake_seconds);
        if self.now < baked_at {
            let finding = Finding::note("RELEASE/BAKING")
                .with("what", format!("{} {}", self.rollout.unit, number + 1))
                .with("until", super::to_the_second(baked_at));
            return Decision::wait_until(finding, baked_at);
        }
        if group.confirm && open.confirmed_by.is_none() {
            if open.asked_at.is_none() {
                return Decision::event(Event::ConfirmationAsked { step, group: number });
            }
            let finding = Finding::note("RELEASE/AWAIT_CONFIRM")
                .with("app", self.rollout.unit.to_string())
                .with("step", &step)
                .with("group", (number + 1).to_string())
                .with("groups", self.rollout.groups.len().to_string());
            return Decision::wait(finding);
        }
        Decision::event(Event::GroupDone { step, group: number })
    }

    /// The pods that are new with a group, and were not with another one.
    fn new_with(&self, group: usize, new: &[&Pod]) -> Vec<GroupPod> {
        let is_own = |pod: &GroupPod| self.own.pods.get(&pod.pod).is_none_or(|of| *of == group);
        let told = new.iter().map(|pod| GroupPod {
            pod: pod.full_name(),
            node: pod.node.clone(),
            ready_since: pod.ready_since,
        });
        told.filter(is_own).collect()
    }

    /// Asks what the app's checks ask, until all is answered well or one check had its time.
    fn check(&self, new: &[&Pod], open: &OpenGroup, ready_at: Timestamp) -> Decision {
        let (workload, checks) = (&self.rollout.workload, &self.rollout.checks);
        let times = (ready_at, self.now);
        let ready: Vec<&Pod> = new.iter().copied().filter(|pod| pod.is_ready()).collect();
        match check::standing(workload, checks, &ready, &self.observed.answers, times) {
            Standing::Hold => {
                Decision::event(Event::GroupChecked { step: self.id(), group: open.group })
            }
            Standing::Open(mut decision) => {
                for wait in &mut decision.waits {
                    *wait = wait.clone().with("app", self.rollout.unit.to_string());
                }
                decision
            }
            Standing::Late { check, missing, is_unknown } => {
                let code =
                    if is_unknown { "RELEASE/CHECK_UNKNOWN" } else { "RELEASE/CHECK_FAILED" };
                // They are ready: another try asks them again.
                self.by_rule("checkFailed", open, Vec::new()).unwrap_or_else(|| {
                    let failure = failure::check(code, workload, check, &missing);
                    self.fail(Some(open.group), failure)
                })
            }
        }
    }

    /// The workload in its final form: replicas, strategy and all.
    fn finish(&self, desired: &Object) -> Decision {
        let reference = &self.rollout.workload;
        let waiting = Finding::note("RELEASE/AWAIT_HEALTH").with("object", reference.to_string());
        if !self.own.applied.contains(reference) {
            let waiting = waiting.with("reason", "takes its final form");
            return self.until_timeout(self.apply(desired, true, waiting));
        }
        match self.live().map(health) {
            Some(Health::Healthy) => match self.let_go() {
                Some(decision) => self.until_timeout(decision),
                None => Decision::event(Event::StepDone { step: self.id() }),
            },
            Some(Health::Progressing(why) | Health::Failed(why)) => {
                self.until_timeout(Decision::wait(waiting.with("reason", why)))
            }
            None => self.until_timeout(Decision::wait(waiting.with("reason", "is gone"))),
        }
    }

    /// When the step has taken too long, outside of groups.
    pub(super) fn deadline(&self) -> Timestamp {
        // Groups have deadlines of their own, so the clock starts again with each that ends.
        let starts = [Some(self.own.started_at), self.own.retry_at, self.own.groups_ended_at];
        let since = starts.into_iter().flatten().max().unwrap_or(self.own.started_at);
        after(since, self.step.timeout_seconds)
    }

    /// Fails the step when it stands still for longer than a group may take.
    pub(super) fn until_timeout(&self, decision: Decision) -> Decision {
        let deadline = self.deadline();
        if decision.events.is_empty() && self.now >= deadline {
            let failure = failure::timeout(&decision.waits, self.step.timeout_seconds);
            return self.fail(None, failure);
        }
        decision.and(Decision { next: Some(deadline), ..Decision::default() })
    }

    /// Pods that will not come up: made anew by a rule, or the end of the step's try.
    pub(super) fn trouble(&self, new: &[&Pod], open: &OpenGroup) -> Option<Decision> {
        let timeout = self.step.timeout_seconds;
        let is_late = open.ready_at.is_none() && self.now >= after(open.opened_at, timeout);
        let is_patient = self.now < after(open.opened_at, PATIENCE_SECONDS) && open.attempt > 1;
        let of_kind = |kind: TroubleKind| {
            new.iter()
                .copied()
                .filter(move |pod| pod.trouble.as_ref().is_some_and(|trouble| trouble.kind == kind))
        };
        let broken = |kind| !is_patient && of_kind(kind).next().is_some();
        let (scene, code) = if broken(TroubleKind::Broken) {
            ("podStartTimeout", "RELEASE/POD_CRASHES")
        } else if broken(TroubleKind::Image) {
            ("imagePullSlow", "RELEASE/IMAGE_PULL_FAILS")
        } else if is_late {
            ("podStartTimeout", "RELEASE/GROUP_TIMEOUT")
        } else {
            return self.remake(new);
        };
        let broken = new.iter().filter(|pod| !pod.is_ready()).map(|pod| pod.uid.clone());
        let acted = self.by_rule(scene, open, broken.collect());
        acted.or_else(|| {
            let failing = new.iter().copied();
            let failure = failure::group(code, &self.rollout.workload, timeout, failing);
            Some(self.fail(Some(open.group), failure))
        })
    }

    /// What a rule of the policy does without asking, while it has attempts left.
    fn by_rule(&self, scene: &str, open: &OpenGroup, broken: Vec<String>) -> Option<Decision> {
        let tried = self.own.unattended.get(scene).copied().unwrap_or(0);
        let rule = self.rollout.unattended.iter().find(|rule| rule.scene == scene)?;
        (tried < rule.attempts).then(|| self.act(rule, open, tried + 1, broken))
    }

    fn act(
        &self,
        rule: &UnattendedRule,
        open: &OpenGroup,
        attempt: u32,
        pods: Vec<String>,
    ) -> Decision {
        let acted = Event::ActedUnattended {
            step: self.id(),
            group: open.group,
            scene: rule.scene.clone(),
            action: rule.action.clone(),
            attempt,
            pods,
        };
        let by = "tidegate".to_owned();
        let reason = format!("unattended: {}", rule.scene);
        let follows = match rule.action.as_str() {
            "skip" => {
                let (step, group, approval) = (self.id(), None, None);
                Some(Event::Skipped { step, group, by, reason, approval })
            }
            "cancel" => Some(Event::Cancelled { by, reason }),
            _ => None,
        };
        Decision { events: [acted].into_iter().chain(follows).collect(), ..Decision::default() }
    }

    /// After a retry, pods that were broken before it are made anew.
    fn remake(&self, new: &[&Pod]) -> Option<Decision> {
        let is_stale = |pod: &&&Pod| {
            let is_listed = self.own.remake.contains(&pod.uid);
            is_listed && !pod.is_ready() && !pod.is_terminating
        };
        let effects: Vec<Effect> = new
            .iter()
            .filter(is_stale)
            .map(|pod| Effect::delete_pod(&self.step.cluster, pod))
            .collect();
        let finding = Finding::note("RELEASE/REMAKING").with("app", self.rollout.unit.to_string());
        (!effects.is_empty()).then(|| Decision::effects(effects, finding))
    }

    pub(super) fn fail(&self, group: Option<usize>, failure: crate::release::Failure) -> Decision {
        let reason = failure.code.clone();
        let failed = Event::StepFailed { step: self.id(), group, failure };
        let back =
            (self.rollout.on_failure == OnFailure::Rollback).then(|| Event::RollbackStarted {
                part: Part { product: self.step.product.clone(), ..Part::default() },
                by: "tidegate".to_owned(),
                reason,
            });
        Decision { events: [failed].into_iter().chain(back).collect(), ..Decision::default() }
    }
}
