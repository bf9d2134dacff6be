//! The state machine against a small world whose controllers act at once.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::approval::{ApprovalScope, VerifiedApproval};
use crate::autoscaler;
use crate::change::{ChangeSet, Confidence};
use crate::desired::{DesiredObject, Layer, Owner, Question, UnitId};
use crate::digest::Digest;
use crate::driver;
use crate::gate::{Evidence, GatePolicy, reopened};
use crate::object::REVISION;
use crate::order::Needs;
use crate::plan::{Driver, Group, OnFailure, PlanContent, ReleaseKind, Rollout, UnattendedRule};
use crate::pod::Pod;
use crate::release::{Command, Failure, Part, ReleaseEvent, ReleasePhase};

mod drain;
mod offline;
mod part;
mod preflight;
mod restart;
mod waiver;

const STEP: &str = "all/room-a/iam/core";

fn workload(kind: &str, revision: &str, replicas: u32) -> Object {
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": kind,
        "metadata": {"name": "core", "namespace": "iam", "generation": 1},
        "spec": {
            "replicas": replicas,
            "template": {"metadata": {"annotations": {REVISION: revision}}},
        },
    });
    if kind == "StatefulSet" {
        object["spec"]["podManagementPolicy"] = json!("Parallel");
        object["spec"]["updateStrategy"] =
            json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}});
    }
    Object::new(object)
}

fn desired(kind: &str, revision: &str, replicas: u32) -> DesiredState {
    let body = workload(kind, revision, replicas);
    let owner = Owner {
        solution: None,
        product: Some("iam".to_owned()),
        app: None,
        scaling_group: None,
        access: None,
        layer: Layer::Workload,
    };
    let object = DesiredObject::new(body.reference("room-a"), &body, owner, None);
    DesiredState { objects: vec![object], ..DesiredState::default() }
}

pub(super) fn plan(kind: &str, driver: Driver, sizes: &[u32], confirm: bool) -> Plan {
    let mut cumulative = 0;
    let groups = sizes.iter().enumerate().map(|(index, pods)| {
        cumulative += pods;
        Group {
            pods: *pods,
            cumulative,
            confirm: confirm && index + 1 < sizes.len(),
            nodes: Vec::new(),
        }
    });
    let workload = workload(kind, "new", 1).reference("room-a");
    let rollout = Rollout {
        unit: UnitId {
            cluster: "room-a".to_owned(),
            product: "iam".to_owned(),
            app: "core".to_owned(),
        },
        workload: workload.clone(),
        driver,
        replicas_before: sizes.iter().sum(),
        replicas: sizes.iter().sum(),
        groups: groups.collect(),
        bake_seconds: 1,
        on_failure: OnFailure::Pause,
        unattended: Vec::new(),
        checks: Vec::new(),
        autoscalers: Vec::new(),
    };
    let step = Step {
        id: STEP.to_owned(),
        kind: StepKind::Rollout,
        cluster: "room-a".to_owned(),
        product: Some("iam".to_owned()),
        needs: Vec::new(),
        apply: vec![workload],
        replace: Vec::new(),
        offline: Vec::new(),
        prune: Vec::new(),
        zones: Vec::new(),
        rollout: Some(rollout),
        drain: None,
        operations: Vec::new(),
        timeout_seconds: 60,
    };
    let wave = Wave {
        name: "all".to_owned(),
        clusters: vec!["room-a".to_owned()],
        bake_seconds: 0,
        confirm: false,
        steps: vec![step],
    };
    let mut plan = empty_plan();
    plan.content.waves.push(wave);
    plan
}

/// A plan without waves.
pub(super) fn empty_plan() -> Plan {
    Plan {
        revision: "c2".to_owned(),
        authors: Vec::new(),
        content: PlanContent {
            site: "hz".to_owned(),
            kind: ReleaseKind::Release,
            parent: None,
            desired: Digest::of_bytes(b"d"),
            policies: Digest::of_bytes(b"p"),
            clusters: BTreeMap::new(),
            images: BTreeMap::new(),
            tasks: Vec::new(),
            risks: BTreeSet::new(),
            changes: ChangeSet::default(),
            waves: Vec::new(),
        },
    }
}

/// Events as the journal has them: numbered from the first on.
fn append(recorded: &mut Vec<ReleaseEvent>, at: Timestamp, events: Vec<Event>) {
    for event in events {
        let number = recorded.len() as u64 + 1;
        recorded.push(ReleaseEvent { number, at, event });
    }
}

/// That objects were written: by the step, or by the way back.
fn written(state: &ReleaseState, step: String, objects: Vec<ObjectRef>) -> Event {
    if state.rollback.is_some() {
        Event::ObjectsReverted { step, objects }
    } else {
        Event::ObjectsApplied { step, objects }
    }
}

fn open() -> ReleaseGate {
    ReleaseGate { wave: WaveGate::Open { approvals: Vec::new() }, hold: Hold::default() }
}

fn closed() -> ReleaseGate {
    let hold = Hold { needs: vec![Finding::note("APPROVAL/WINDOW_CLOSED")], next: None };
    ReleaseGate { wave: WaveGate::Waiting(hold.clone()), hold }
}

/// A cluster with one workload whose controller acts at once, and a release on it.
struct World {
    plan: Plan,
    desired: DesiredState,
    before: DesiredState,
    live: Object,
    pods: BTreeMap<u32, (String, u64)>,
    events: Vec<ReleaseEvent>,
    now: Timestamp,
    made: u64,
    born: BTreeMap<u64, Timestamp>,
    broken: Option<String>,
    /// Somebody writes into the workload's status that all is well.
    is_forged: bool,
    /// Somebody takes away what holds pods back.
    is_meddled: bool,
    /// Pods made after this many are broken, whatever their revision.
    broken_after: Option<u64>,
    /// How far the cluster's clock is behind.
    behind: SignedDuration,
    most_new: Vec<(usize, u32)>,
    gate: ReleaseGate,
    /// What every pod answers.
    verdict: Verdict,
    answers: Answers,
    /// Uids of pods that were asked, in order.
    asked: Vec<String>,
    /// Other objects that are there.
    others: Vec<Object>,
    /// Whether the server lets nobody patch.
    is_patch_refused: bool,
    /// Pods that run and do not serve, by ordinal.
    unready: BTreeSet<u32>,
}

impl World {
    fn new(kind: &str, driver: Driver, sizes: &[u32], confirm: bool) -> Self {
        let total: u32 = sizes.iter().sum();
        let mut live = workload(kind, "old", total);
        live.set(&["metadata", "uid"], json!("u1"));
        let mut world = Self {
            plan: plan(kind, driver, sizes, confirm),
            desired: desired(kind, "new", total),
            before: desired(kind, "old", total),
            live,
            pods: BTreeMap::new(),
            events: Vec::new(),
            now: "2026-11-21T10:00:00Z".parse().unwrap(),
            made: 0,
            born: BTreeMap::new(),
            broken: None,
            is_forged: false,
            is_meddled: false,
            broken_after: None,
            behind: SignedDuration::ZERO,
            most_new: Vec::new(),
            gate: open(),
            verdict: Verdict::Holds,
            answers: Answers::new(),
            asked: Vec::new(),
            others: Vec::new(),
            is_patch_refused: false,
            unready: BTreeSet::new(),
        };
        for ordinal in 0..total {
            world.make_pod(ordinal, "old");
        }
        world.control();
        world
    }

    fn make_pod(&mut self, ordinal: u32, revision: &str) {
        self.made += 1;
        self.born.insert(self.made, self.now - self.behind);
        self.pods.insert(ordinal, (revision.to_owned(), self.made));
    }

    fn is_ready(&self, revision: &str, made: u64) -> bool {
        let is_late = self.broken_after.is_some_and(|last| made > last);
        self.broken.as_deref() != Some(revision) && !is_late
    }

    /// What the controllers do: stock rules for partition and min-ready gate.
    fn control(&mut self) {
        let wanted = driver::revision(&self.live).to_owned();
        let replicas = u32::try_from(self.live.integer("/spec/replicas").unwrap()).unwrap();
        let partition = self.live.integer("/spec/updateStrategy/rollingUpdate/partition");
        for ordinal in 0..replicas {
            if !self.pods.contains_key(&ordinal) {
                let is_old = partition.is_some_and(|partition| i64::from(ordinal) < partition);
                let revision = if is_old { "old".to_owned() } else { wanted.clone() };
                self.make_pod(ordinal, &revision);
            }
        }
        if let Some(unavailable) = self.live.integer("/spec/strategy/rollingUpdate/maxUnavailable")
        {
            let mut new =
                i64::try_from(self.pods.values().filter(|(it, _)| *it == wanted).count()).unwrap();
            for ordinal in 0..replicas {
                if new < unavailable && self.pods[&ordinal].0 != wanted {
                    self.make_pod(ordinal, &wanted);
                    new += 1;
                }
            }
        } else if self.live.kind() == "Deployment" {
            for ordinal in 0..replicas {
                if self.pods[&ordinal].0 != wanted {
                    self.make_pod(ordinal, &wanted);
                }
            }
        }
        let new = self.pods.values().filter(|(it, _)| *it == wanted).count();
        let ready = self.pods.values().filter(|(it, made)| self.is_ready(it, *made)).count();
        let all = self.pods.len();
        let (new, ready) = if self.is_forged { (all, all) } else { (new, ready) };
        self.live.set(
            &["status"],
            json!({
                "observedGeneration": self.live.integer("/metadata/generation"),
                "replicas": replicas, "readyReplicas": ready, "availableReplicas": ready, "updatedReplicas": new,
                "currentRevision": "old", "updateRevision": wanted,
            }),
        );
    }

    fn observed(&self) -> Observed {
        let reference = self.live.reference("room-a");
        let pods = self.pods.iter().map(|(ordinal, (revision, made))| {
            let is_unready = self.unready.contains(ordinal);
            let is_serving = !is_unready && self.is_ready(revision, *made);
            let status = if is_serving { "True" } else { "False" };
            let waiting = json!([{"state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}}]);
            let mut pod = json!({
                "metadata": {"name": format!("core-{ordinal}"), "namespace": "iam", "uid": format!("p{made}"),
                    "annotations": {REVISION: revision}, "creationTimestamp": self.born[made]},
                "status": {"conditions": [{"type": "Ready", "status": status, "lastTransitionTime": self.born[made]}]},
            });
            if !self.is_ready(revision, *made) {
                pod["status"]["containerStatuses"] = waiting;
            }
            Pod::of(&Object::new(pod))
        });
        let others = self.others.iter();
        let others = others.map(|it| (it.reference("room-a"), Seen::Present(it.clone())));
        Observed {
            objects: [(reference.clone(), Seen::Present(self.live.clone()))]
                .into_iter()
                .chain(others)
                .collect(),
            pods: BTreeMap::from([(reference, pods.collect())]),
            answers: self.answers.clone(),
            ..Observed::default()
        }
    }

    fn state(&self) -> ReleaseState {
        ReleaseState::of(&self.events)
    }

    fn record(&mut self, events: Vec<Event>) {
        append(&mut self.events, self.now, events);
    }

    /// A person asks for something that is taken.
    fn ask(&mut self, asked: &Command) {
        let events = command(&self.plan, &self.state(), &Needs::new(), asked, "wang-wei").unwrap();
        self.record(events);
    }

    /// A person confirms, if there is something to confirm.
    fn confirm(&mut self) {
        let confirm = Command::Confirm { step: None };
        if let Ok(events) = command(&self.plan, &self.state(), &Needs::new(), &confirm, "wang-wei")
        {
            self.record(events);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Apply { object, is_final, reference, step, .. } => {
                let status = self.live.get("/status").cloned();
                let generation = self.live.integer("/metadata/generation").unwrap();
                self.live = object;
                self.live.set(&["metadata", "generation"], json!(generation + 1));
                self.live.set(&["metadata", "uid"], json!("u1"));
                self.live.set(&["status"], status.unwrap());
                self.control();
                if is_final {
                    let event = written(&self.state(), step, vec![reference]);
                    self.record(vec![event]);
                }
            }
            Effect::Evict { name, uid, .. } | Effect::DeletePod { name, uid, .. } => {
                let ordinal: u32 = name.rsplit_once('-').unwrap().1.parse().unwrap();
                if format!("p{}", self.pods[&ordinal].1) == uid {
                    self.pods.remove(&ordinal);
                    self.control();
                }
            }
            Effect::Ask { subject, check, .. } => {
                let Subject::Pod(uid) = &subject else { panic!("{subject:?}") };
                self.asked.push(uid.clone());
                let answer = Answer { verdict: self.verdict.clone(), at: self.now };
                self.answers.insert((subject, check.name), answer);
            }
            Effect::Hold { reference, pods } => {
                self.patch(&reference, |it| Some(autoscaler::hold(it, pods)));
            }
            Effect::LetGo { reference } => self.patch(&reference, autoscaler::let_go),
            Effect::Delete { .. } | Effect::Publish { .. } => panic!("not in this world"),
        }
    }

    /// Does as the server with a JSON patch of simple paths, unless it does not let anybody.
    fn patch(&mut self, reference: &ObjectRef, patch: impl Fn(&Object) -> Option<Vec<Value>>) {
        if self.is_patch_refused {
            // What is refused is tried again after a while.
            self.now += SignedDuration::from_secs(1);
            return;
        }
        for other in &mut self.others {
            let is_meant = other.reference("room-a") == *reference;
            let Some(patch) = patch(other).filter(|_| is_meant) else { continue };
            for step in patch {
                let path = step["path"].as_str().unwrap().replace("~1", "\u{1}");
                let path: Vec<String> =
                    path.split('/').skip(1).map(|it| it.replace('\u{1}', "/")).collect();
                let path: Vec<&str> = path.iter().map(String::as_str).collect();
                if step["op"] == "remove" {
                    let (last, parent) = path.split_last().unwrap();
                    let mut value = other.clone().into_value();
                    let parent = format!("/{}", parent.join("/"));
                    value.pointer_mut(&parent).unwrap().as_object_mut().unwrap().remove(*last);
                    *other = Object::new(value);
                } else {
                    other.set(&path, step["value"].clone());
                }
            }
        }
    }

    /// One round; says whether anything happened.
    fn round(&mut self) -> bool {
        let state = self.state();
        let work = Work { plan: &self.plan, desired: &self.desired, before: &self.before };
        let decision = decide(work, &state, &self.observed(), &self.gate, self.now);
        assert!(
            decision.events.is_empty() || decision.effects.is_empty(),
            "events come before effects"
        );
        let is_idle = decision.events.is_empty() && decision.effects.is_empty();
        self.record(decision.events);
        for effect in decision.effects {
            self.carry_out(effect);
        }
        self.check();
        if is_idle {
            self.now += SignedDuration::from_secs(1);
        }
        !is_idle
    }

    /// Codes of what the release waits for.
    fn waits(&self) -> Vec<String> {
        let work = Work { plan: &self.plan, desired: &self.desired, before: &self.before };
        let decision = decide(work, &self.state(), &self.observed(), &self.gate, self.now);
        decision.waits.iter().map(|wait| wait.code.to_string()).collect()
    }

    /// New pods never exceed what the opened groups allow.
    fn check(&mut self) {
        let state = self.state();
        if state.rollback.is_some() || self.is_meddled {
            return;
        }
        let new = u32::try_from(self.pods.values().filter(|(it, _)| it == "new").count()).unwrap();
        let rollout = self.plan.content.waves[0].steps[0].rollout.as_ref().unwrap();
        let own = state.step(STEP);
        if own.is_some_and(|own| own.status == StepStatus::Skipped) {
            return;
        }
        let opened = own.map_or(0, |own| own.groups_done + usize::from(own.open.is_some()));
        let allowed = opened.checked_sub(1).map_or(0, |index| rollout.groups[index].cumulative);
        assert!(
            new <= allowed,
            "{new} pods are new while {opened} groups with {allowed} pods are open"
        );
        self.most_new.push((opened, new));
    }

    fn run(&mut self) {
        for _ in 0..400 {
            if self.state().phase(&self.plan).is_ended() {
                return;
            }
            self.round();
            if self.state().phase(&self.plan) == ReleasePhase::Paused {
                self.confirm();
            }
        }
    }

    fn count(&self, wanted: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|event| wanted(&event.event)).count()
    }
}

#[rstest]
#[case::stateful_set("StatefulSet", Driver::StatefulSet, &[1, 2, 3])]
#[case::stateful_set_halves("StatefulSet", Driver::StatefulSet, &[2, 2])]
#[case::deployment("Deployment", Driver::Deployment, &[1, 3, 6])]
fn groups_open_one_after_the_other_and_the_form_is_restored(
    #[case] kind: &str,
    #[case] driver: Driver,
    #[case] sizes: &[u32],
) {
    let mut world = World::new(kind, driver, sizes, true);
    world.run();
    assert_eq!(world.state().phase(&world.plan), ReleasePhase::Done);
    assert!(world.pods.values().all(|(revision, _)| revision == "new"));
    assert_eq!(world.count(|event| matches!(event, Event::GroupOpened { .. })), sizes.len());
    assert_eq!(world.count(|event| matches!(event, Event::Confirmed { .. })), sizes.len() - 1);
    let total: u32 = sizes.iter().sum();
    let spec = workload(kind, "new", total);
    assert_eq!(world.live.get("/spec"), spec.get("/spec"), "the final form is the desired one");
    // Each group came to exactly its number of new pods before the next was opened.
    let mut cumulative = 0;
    for (index, size) in sizes.iter().enumerate() {
        cumulative += size;
        let most = world
            .most_new
            .iter()
            .filter(|(opened, _)| *opened == index + 1)
            .map(|(_, new)| *new)
            .max();
        assert_eq!(most, Some(cumulative));
    }
}

#[test]
fn killed_after_any_event_a_release_ends_the_same_and_restarts_no_pod_twice() {
    let mut whole = World::new("StatefulSet", Driver::StatefulSet, &[1, 2, 3], true);
    whole.run();
    let made = whole.made;
    let rounds = whole.events.len() * 4;
    for killed_after in 0..rounds {
        let mut world = World::new("StatefulSet", Driver::StatefulSet, &[1, 2, 3], true);
        for _ in 0..killed_after {
            world.round();
            world.confirm();
        }
        // The process is gone: all that is left are the journal and the cluster, which `World` is made of. An effect
        // that was carried out but not recorded is the harder case.
        let last = world.events.last().cloned();
        if matches!(last.map(|last| last.event), Some(Event::ObjectsApplied { .. })) {
            world.events.pop();
        }
        world.run();
        assert_eq!(world.state().phase(&world.plan), ReleasePhase::Done);
        assert_eq!(world.made, made, "killed after {killed_after} rounds");
        assert_eq!(world.count(|event| matches!(event, Event::GroupOpened { .. })), 3);
    }
}

#[test]
fn a_crashing_version_stops_at_its_first_group_and_goes_back() {
    let mut world = World::new("StatefulSet", Driver::StatefulSet, &[1, 2, 3], false);
    world.broken = Some("new".to_owned());
    if let Some(rollout) = &mut world.plan.content.waves[0].steps[0].rollout {
        rollout.on_failure = OnFailure::Rollback;
    }
    world.run();
    assert_eq!(world.state().phase(&world.plan), ReleasePhase::RolledBack);
    assert!(world.pods.values().all(|(revision, _)| revision == "old"));
    assert_eq!(world.made, 6 + 2, "one pod was tried, and one put back");
    let failed = world.events.iter().find_map(|event| {
        if let Event::StepFailed { failure, .. } = &event.event {
            Some(failure.clone())
        } else {
            None
        }
    });
    let failure = failed.unwrap();
    assert_eq!(failure.code, "RELEASE/POD_CRASHES");
    assert_eq!(failure.pods.len(), 1);
}

#[rstest]
#[case::stateful_set("StatefulSet", Driver::StatefulSet)]
#[case::deployment("Deployment", Driver::Deployment)]
fn more_new_pods_than_were_approved_stop_the_release_until_somebody_decides(
    #[case] kind: &str,
    #[case] driver: Driver,
) {
    let mut world = World::new(kind, driver, &[1, 2, 3], true);
    while world.waits() != ["RELEASE/AWAIT_CONFIRM"] {
        world.round();
    }
    world.is_meddled = true;
    // Somebody takes away what holds the others back, and the controller goes on by itself.
    world.make_pod(4, "new");
    world.make_pod(3, "new");
    let held = if kind == "StatefulSet" {
        &["spec", "updateStrategy", "rollingUpdate", "partition"]
    } else {
        &["spec", "strategy", "rollingUpdate", "maxUnavailable"]
    };
    let before = world.live.get(&format!("/{}", held.join("/"))).cloned();
    world.live.set(held, json!(3));
    for _ in 0..10 {
        world.round();
    }
    let StepStatus::Failed(failure) = world.state().steps[STEP].status.clone() else {
        panic!("{:?}", world.state().steps[STEP].status)
    };
    assert_eq!(world.live.get(&format!("/{}", held.join("/"))).cloned(), before, "put back");
    assert_eq!(failure.code, "RELEASE/BLAST_RADIUS_EXCEEDED");
    assert!(failure.args["approved"] == "1" && failure.args["new"] != "1", "{failure:?}");
    let opened = world.count(|event| matches!(event, Event::GroupOpened { .. }));
    assert_eq!(opened, 1);
    world.record(vec![Event::Retried { step: STEP.to_owned(), by: "li-na".to_owned() }]);
    world.run();
    assert_eq!(world.state().phase(&world.plan), ReleasePhase::Done, "a person let them pass");
}

#[test]
fn a_status_that_somebody_forged_opens_no_group() {
    for (kind, driver) in [("StatefulSet", Driver::StatefulSet), ("Deployment", Driver::Deployment)]
    {
        let mut world = World::new(kind, driver, &[1, 2, 3], false);
        world.broken = Some("new".to_owned());
        world.is_forged = true;
        world.run();
        assert_eq!(world.state().phase(&world.plan), ReleasePhase::Failed, "{kind}");
        let opened = world.count(|event| matches!(event, Event::GroupOpened { .. }));
        assert_eq!(opened, 1, "{kind}: pods count, not what is said of them");
        let new = world.pods.values().filter(|(revision, _)| revision == "new").count();
        assert_eq!(new, 1, "{kind}");
    }
}

/// A world whose app has a check of ten seconds.
fn checked(kind: &str, driver: Driver, sizes: &[u32]) -> World {
    let mut world = World::new(kind, driver, sizes, false);
    if let Some(rollout) = &mut world.plan.content.waves[0].steps[0].rollout {
        let name = "login".to_owned();
        rollout.checks =
            vec![Check { name, question: Question::Tcp { port: 80 }, timeout_seconds: 10 }];
    }
    world
}

#[rstest]
#[case::stateful_set("StatefulSet", Driver::StatefulSet)]
#[case::deployment("Deployment", Driver::Deployment)]
#[case::whole("Deployment", Driver::Whole)]
fn each_group_is_checked_on_new_pods_before_the_next_opens(
    #[case] kind: &str,
    #[case] driver: Driver,
) {
    let sizes: &[u32] = if driver == Driver::Whole { &[3] } else { &[1, 2] };
    let mut world = checked(kind, driver, sizes);
    world.run();
    assert_eq!(world.state().phase(&world.plan), ReleasePhase::Done);
    let told = world.events.iter().filter_map(|event| {
        let told = serde_json::to_value(&event.event).unwrap();
        let what = told["type"].as_str().unwrap().strip_prefix("group")?;
        Some(format!("{} {}", what.to_lowercase(), told["group"]))
    });
    let wanted = (0..sizes.len())
        .flat_map(|group| ["opened", "ready", "checked", "done"].map(|it| format!("{it} {group}")));
    assert_eq!(told.collect::<Vec<_>>(), wanted.collect::<Vec<_>>());
    let new = world.pods.values().map(|(_, made)| format!("p{made}"));
    let asked: BTreeSet<_> = world.asked.iter().cloned().collect();
    assert_eq!(asked, new.collect(), "every new pod was asked, and no old one");
}

#[rstest]
#[case::it_fails(Verdict::Fails("answered 500".to_owned()), "RELEASE/CHECK_FAILED")]
#[case::nobody_knows(Verdict::Unknown("may not".to_owned()), "RELEASE/CHECK_UNKNOWN")]
fn a_check_that_does_not_hold_stops_the_group_and_may_be_tried_again(
    #[case] verdict: Verdict,
    #[case] code: &str,
) {
    let mut world = checked("Deployment", Driver::Deployment, &[1, 2]);
    world.verdict = verdict;
    if let Some(rollout) = &mut world.plan.content.waves[0].steps[0].rollout {
        let (scene, action) = ("checkFailed".to_owned(), "retry".to_owned());
        rollout.unattended = vec![UnattendedRule { scene, action, attempts: 2 }];
    }
    world.run();
    assert_eq!(world.state().phase(&world.plan), ReleasePhase::Failed);
    assert_eq!(world.count(|event| matches!(event, Event::ActedUnattended { .. })), 2);
    let state = world.state();
    let StepStatus::Failed(failure) = &state.step(STEP).unwrap().status else { panic!() };
    assert_eq!((failure.code.as_str(), failure.pods.len()), (code, 1));
    assert_eq!(world.made, 3 + 1, "one pod was made, and none anew: it is ready");
    assert!(world.asked.len() > 10, "it was asked again and again: {:?}", world.asked);
    world.verdict = Verdict::Holds;
    world.ask(&Command::Retry { part: Part::default() });
    world.run();
    assert_eq!(world.state().phase(&world.plan), ReleasePhase::Done);
}

#[test]
fn unattended_retries_are_counted_and_then_a_person_is_needed() {
    let mut world = World::new("StatefulSet", Driver::StatefulSet, &[1, 2], false);
    world.broken = Some("new".to_owned());
    if let Some(rollout) = &mut world.plan.content.waves[0].steps[0].rollout {
        rollout.unattended = vec![UnattendedRule {
            scene: "podStartTimeout".to_owned(),
            action: "retry".to_owned(),
            attempts: 2,
        }];
    }
    for _ in 0..200 {
        world.round();
    }
    assert_eq!(world.state().phase(&world.plan), ReleasePhase::Failed);
    assert_eq!(world.count(|event| matches!(event, Event::ActedUnattended { .. })), 2);
    // A person fixes what was wrong, and the same release goes on.
    world.broken = None;
    world.ask(&Command::Retry { part: Part::default() });
    world.run();
    assert_eq!(world.state().phase(&world.plan), ReleasePhase::Done);
}

#[rstest]
#[case::same(SignedDuration::ZERO)]
#[case::behind(SignedDuration::from_hours(1))]
fn a_retry_makes_each_broken_pod_anew_once_whatever_the_clusters_clock_says(
    #[case] behind: SignedDuration,
) {
    let mut world = World::new("StatefulSet", Driver::StatefulSet, &[1, 2], false);
    world.behind = behind;
    world.broken = Some("new".to_owned());
    for _ in 0..50 {
        world.round();
    }
    assert_eq!(world.state().phase(&world.plan), ReleasePhase::Failed);
    let made = world.made;
    world.ask(&Command::Retry { part: Part::default() });
    for _ in 0..50 {
        world.round();
    }
    assert_eq!(world.state().phase(&world.plan), ReleasePhase::Failed, "it is still broken");
    assert_eq!(world.made, made + 1);
}

#[test]
fn a_pause_lets_the_open_group_end_and_opens_no_other() {
    let mut world = World::new("StatefulSet", Driver::StatefulSet, &[1, 2, 3], false);
    while world.count(|event| matches!(event, Event::GroupOpened { .. })) < 1 {
        world.round();
    }
    world.ask(&Command::Pause { reason: "lunch".to_owned() });
    for _ in 0..50 {
        world.round();
    }
    assert_eq!(world.count(|event| matches!(event, Event::GroupDone { .. })), 1);
    assert_eq!(world.count(|event| matches!(event, Event::GroupOpened { .. })), 1);
    world.ask(&Command::Resume);
    world.run();
    assert_eq!(world.state().phase(&world.plan), ReleasePhase::Done);
}

#[test]
fn a_closed_wave_gate_holds_everything_and_says_why() {
    let world = World::new("StatefulSet", Driver::StatefulSet, &[1, 2], false);
    let gate = closed();
    let work = Work { plan: &world.plan, desired: &world.desired, before: &world.before };
    let decision = decide(work, &world.state(), &world.observed(), &gate, world.now);
    assert!(decision.events.is_empty() && decision.effects.is_empty());
    assert_eq!(
        decision.waits.first().map(|wait| wait.code.as_ref()),
        Some("APPROVAL/WINDOW_CLOSED")
    );
}

#[test]
fn a_window_that_closes_stops_at_the_edge_of_the_next_group() {
    let mut world = World::new("StatefulSet", Driver::StatefulSet, &[1, 2], false);
    while world.count(|event| matches!(event, Event::GroupOpened { .. })) == 0 {
        world.round();
    }
    world.gate = closed();
    for _ in 0..50 {
        world.round();
    }
    assert_eq!(world.count(|event| matches!(event, Event::GroupDone { .. })), 1, "not inside one");
    assert_eq!(world.count(|event| matches!(event, Event::GroupOpened { .. })), 1);
    assert_eq!(world.waits(), ["APPROVAL/WINDOW_CLOSED"]);
    world.gate = open();
    world.run();
    assert_eq!(world.state().phase(&world.plan), ReleasePhase::Done);
}

#[test]
fn what_somebody_makes_of_the_workload_between_two_groups_holds_the_next() {
    let mut world = World::new("StatefulSet", Driver::StatefulSet, &[1, 2], false);
    while world.count(|event| matches!(event, Event::GroupDone { .. })) == 0 {
        world.round();
    }
    let labels = ["spec", "template", "metadata", "annotations", REVISION];
    let (ours, theirs) = (world.live.get("/spec").cloned().unwrap(), json!("theirs"));
    world.live.set(&labels, theirs);
    for _ in 0..50 {
        world.round();
    }
    assert_eq!(world.count(|event| matches!(event, Event::GroupOpened { .. })), 1);
    assert_eq!(world.waits(), ["APPROVAL/LIVE_CHANGED"]);
    world.live.set(&["spec"], ours);
    world.run();
    assert_eq!(world.state().phase(&world.plan), ReleasePhase::Done);
}

#[test]
fn an_object_that_is_not_as_it_was_approved_is_not_touched() {
    let mut world = World::new("StatefulSet", Driver::StatefulSet, &[1, 2], false);
    // Approved as a creation, and there already.
    let approved = change(&world, Action::Create);
    world.plan.content.changes.changes.push(approved);
    for _ in 0..20 {
        world.round();
    }
    assert_eq!(world.state().step(STEP), None);
    assert_eq!(world.waits(), ["APPROVAL/LIVE_CHANGED"]);
    world.plan.content.changes.changes[0].confidence = Confidence::Simulated;
    world.run();
    assert_eq!(world.state().phase(&world.plan), ReleasePhase::Done);
}

#[test]
fn a_signed_confirmation_counts_once_and_only_after_the_question() {
    let mut world = World::new("StatefulSet", Driver::StatefulSet, &[1, 1, 2], true);
    let policy = GatePolicy {
        emails: BTreeMap::from([("wang-wei".to_owned(), BTreeSet::new())]),
        ..GatePolicy::default()
    };
    let signed = |world: &World, name: &str| VerifiedApproval {
        name: name.to_owned(),
        plan: world.plan.id().to_string(),
        scope: ApprovalScope::Confirm { release: "r1".to_owned(), step: STEP.to_owned() },
        approves: true,
        person: "wang-wei".to_owned(),
        key: String::new(),
        reason: String::new(),
        created_at: world.now,
        approve_by: None,
        execute_by: None,
    };
    let counted = |world: &World, approvals: &[VerifiedApproval], release: &str| {
        let state = world.state();
        let consumed = &state.approvals;
        let evidence = Evidence {
            approvals,
            merges: &[],
            consumed,
            freezes: &[],
            given_up_at: None,
            now: world.now,
        };
        let approved = reopened(world.plan.clone(), &world.plan.id(), Vec::new()).unwrap();
        signed_confirmations(release, &approved, &state, &policy, evidence)
    };
    let too_early = signed(&world, "early");
    world.now += SignedDuration::from_secs(1);
    while world.waits() != ["RELEASE/AWAIT_CONFIRM"] {
        world.round();
    }
    world.now += SignedDuration::from_secs(1);
    let mut stranger = signed(&world, "stranger");
    stranger.person = "mallory".to_owned();
    let good = [signed(&world, "good"), signed(&world, "again")];
    assert_eq!(counted(&world, &[too_early, stranger], "r1"), []);
    assert_eq!(counted(&world, &good, "r2"), [], "of another release");
    let events = counted(&world, &good, "r1");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].consumes(), ["good"]);
    world.record(events);
    while world.waits() != ["RELEASE/AWAIT_CONFIRM"] {
        world.round();
    }
    assert_eq!(counted(&world, &good, "r1"), [], "the next group is another question");
}

#[test]
fn an_unreachable_cluster_holds_the_step_and_does_not_fail_it() {
    let mut world = World::new("StatefulSet", Driver::StatefulSet, &[1, 2], false);
    while world.state().step(STEP).is_none() {
        world.round();
    }
    let mut observed = world.observed();
    let gap =
        crate::live::Gap { code: "CLUSTER/UNREACHABLE".to_owned(), message: "refused".to_owned() };
    observed.gaps.insert("room-a".to_owned(), gap);
    let work = Work { plan: &world.plan, desired: &world.desired, before: &world.before };
    let gate = open();
    let much_later = world.now + SignedDuration::from_hours(5);
    let decision = decide(work, &world.state(), &observed, &gate, much_later);
    assert!(decision.events.is_empty() && decision.effects.is_empty());
}

/// A ConfigMap, say: applied at once, without pods that go in groups.
fn without_groups() -> World {
    let mut world = World::new("StatefulSet", Driver::Whole, &[3], false);
    let step = &mut world.plan.content.waves[0].steps[0];
    step.rollout = None;
    step.kind = StepKind::Objects(Layer::Support);
    world
}

/// One round without the rules about groups.
fn act(world: &mut World) {
    let work = Work { plan: &world.plan, desired: &world.desired, before: &world.before };
    let decision = decide(work, &world.state(), &world.observed(), &world.gate, world.now);
    world.record(decision.events);
    for effect in decision.effects {
        world.carry_out(effect);
    }
}

#[test]
fn what_was_applied_and_not_recorded_is_taken_back() {
    let mut world = without_groups();
    while driver::revision(&world.live) == "old" {
        act(&mut world);
    }
    // The agent was killed between the apply and its record.
    let lost = world.events.pop().unwrap();
    assert!(matches!(lost.event, Event::ObjectsApplied { .. }), "{lost:?}");
    world.ask(&Command::Rollback { part: Part::default(), reason: "it is wrong".to_owned() });
    while !world.state().phase(&world.plan).is_ended() {
        act(&mut world);
    }
    assert_eq!(world.state().ended, Some(ReleasePhase::RolledBack));
    assert_eq!(driver::revision(&world.live), "old");
}

#[rstest]
#[case::applied_by_us("tidegate", true)]
#[case::somebody_elses("kubectl", false)]
fn a_new_object_is_deleted_by_a_rollback_only_when_we_applied_it(
    #[case] manager: &str,
    #[case] is_deleted: bool,
) {
    let mut world = without_groups();
    world.before = DesiredState::default();
    act(&mut world);
    act(&mut world);
    assert_eq!(world.state().steps.len(), 1, "the step is under way");
    let managed = json!([{"manager": manager, "operation": "Apply"}]);
    world.live.set(&["metadata", "managedFields"], managed);
    world.ask(&Command::Rollback { part: Part::default(), reason: "it is wrong".to_owned() });
    let work = Work { plan: &world.plan, desired: &world.desired, before: &world.before };
    let decision = decide(work, &world.state(), &world.observed(), &world.gate, world.now);
    let deletes = decision.effects.iter().any(|effect| matches!(effect, Effect::Delete { .. }));
    assert_eq!(deletes, is_deleted, "{decision:?}");
}

#[rstest]
#[case::made_by_this_release(Action::Create, true)]
#[case::there_before(Action::Configure, false)]
#[case::there_before_and_as_wanted(Action::Move, false)]
fn a_rollback_never_deletes_what_was_there_before_the_release(
    #[case] action: Action,
    #[case] is_deleted: bool,
) {
    let mut world = without_groups();
    world.before = DesiredState::default();
    let approved = change(&world, action);
    world.plan.content.changes.changes.push(approved);
    world.live.set(
        &["metadata", "managedFields"],
        json!([{"manager": "tidegate", "operation": "Apply"}]),
    );
    let reference = world.live.reference("room-a");
    let step = STEP.to_owned();
    world.record(vec![
        Event::WaveStarted { wave: 0, approvals: Vec::new() },
        Event::StepStarted { step: step.clone() },
        Event::ObjectsApplied { step, objects: vec![reference] },
    ]);
    world.ask(&Command::Rollback { part: Part::default(), reason: "it is wrong".to_owned() });
    let work = Work { plan: &world.plan, desired: &world.desired, before: &world.before };
    let decision = decide(work, &world.state(), &world.observed(), &world.gate, world.now);
    let deletes = decision.effects.iter().any(|effect| matches!(effect, Effect::Delete { .. }));
    assert_eq!(deletes, is_deleted, "{decision:?}");
}

fn change(world: &World, action: Action) -> Change {
    Change {
        object: world.live.reference("room-a"),
        action,
        owner: world.desired.objects[0].owner.clone(),
        confidence: Confidence::Exact,
        drift: false,
        fields: Vec::new(),
        stranger: None,
        conflicts: Vec::new(),
        kept: Vec::new(),
        warnings: Vec::new(),
        webhooks: Vec::new(),
        effects: Vec::new(),
        live: None,
        predicted: None,
        desired: None,
    }
}

/// A world with one wave of three steps of objects without pods: `a`, `b` that needs it, and `c` in another cluster.
fn three_steps() -> (Plan, DesiredState) {
    let mut plan = empty_plan();
    let mut state = DesiredState::default();
    let mut steps = Vec::new();
    for (name, cluster, needs) in
        [("a", "room-a", None), ("b", "room-a", Some("a")), ("c", "room-b", None)]
    {
        let body = Object::new(json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "shop"}}));
        let reference = body.reference(cluster);
        steps.push(Step {
            id: name.to_owned(),
            kind: StepKind::Objects(Layer::Support),
            cluster: cluster.to_owned(),
            product: None,
            needs: needs.map(ToOwned::to_owned).into_iter().collect(),
            apply: vec![reference.clone()],
            replace: Vec::new(),
            offline: Vec::new(),
            prune: Vec::new(),
            zones: Vec::new(),
            rollout: None,
            drain: None,
            operations: Vec::new(),
            timeout_seconds: 60,
        });
        state.objects.push(DesiredObject::new(reference, &body, owner(), None));
    }
    state.objects.sort_by(|left, right| left.reference.cmp(&right.reference));
    plan.content.waves.push(Wave {
        name: "all".to_owned(),
        clusters: vec!["room-a".to_owned(), "room-b".to_owned()],
        bake_seconds: 0,
        confirm: false,
        steps,
    });
    (plan, state)
}

fn owner() -> Owner {
    Owner {
        solution: None,
        product: None,
        app: None,
        scaling_group: None,
        access: None,
        layer: Layer::Support,
    }
}

/// Goes on with the steps until nothing happens; every apply succeeds but those in clusters with a gap.
fn steps_until_rest(observed: &mut Observed, events: Vec<Event>) -> ReleaseState {
    until_rest(&three_steps(), observed, events)
}

fn until_rest(
    (plan, state): &(Plan, DesiredState),
    observed: &mut Observed,
    events: Vec<Event>,
) -> ReleaseState {
    let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
    let mut recorded = Vec::new();
    let mut record = |events: Vec<Event>| {
        append(&mut recorded, now, events);
        ReleaseState::of(&recorded)
    };
    let mut release = record(events);
    for _ in 0..50 {
        let work = Work { plan, desired: state, before: state };
        let decision = decide(work, &release, observed, &open(), now);
        let mut events = decision.events;
        for effect in decision.effects {
            let Effect::Apply { step, reference, object, .. } = effect else {
                panic!("{effect:?}")
            };
            observed.objects.insert(reference.clone(), Seen::Present(object));
            events.push(Event::ObjectsApplied { step, objects: vec![reference] });
        }
        if events.is_empty() {
            break;
        }
        release = record(events);
    }
    release
}

#[test]
fn a_failed_step_holds_what_needs_it_and_nothing_else() {
    let failure = failure::of(
        "CLUSTER/INVALID",
        &three_steps().0.content.waves[0].steps[0].apply[0],
        "no",
        Vec::new(),
    );
    let step = "a".to_owned();
    let failed = vec![
        Event::WaveStarted { wave: 0, approvals: Vec::new() },
        Event::StepStarted { step: step.clone() },
        Event::StepFailed { step, group: None, failure },
    ];
    let state = steps_until_rest(&mut Observed::default(), failed);
    assert!(matches!(state.step("a").unwrap().status, StepStatus::Failed(_)));
    assert_eq!(state.step("b"), None);
    assert_eq!(state.step("c").unwrap().status, StepStatus::Done);
}

/// A wave in which `a` runs a task beside `c`; the task's Job is as it says.
fn with_a_task(conditions: &Value) -> ((Plan, DesiredState), Observed) {
    let (mut plan, mut state) = three_steps();
    let job = Object::new(json!({"apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "init", "namespace": "shop"}, "status": {"conditions": conditions}}));
    let reference = job.reference("room-a");
    let step = &mut plan.content.waves[0].steps[0];
    (step.kind, step.apply) = (StepKind::Job(Layer::Task), vec![reference.clone()]);
    state.objects.push(DesiredObject::new(reference, &job, owner(), None));
    state.objects.sort_by(|left, right| left.reference.cmp(&right.reference));
    ((plan, state), Observed::default())
}

#[rstest]
#[case::the_task_runs(json!([]), "running", "failed")]
#[case::the_task_ends(json!([{"type": "Complete", "status": "True"}]), "done", "failed")]
#[case::the_task_fails(json!([{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]), "failed", "done")]
fn a_task_and_what_fails_beside_it_do_not_wait_for_each_other(
    #[case] conditions: Value,
    #[case] task: &str,
    #[case] beside: &str,
) {
    let (release, mut observed) = with_a_task(&conditions);
    if beside == "failed" {
        let refused = EffectFailure {
            code: "CLUSTER/INVALID".to_owned(),
            message: "no".to_owned(),
            is_transient: false,
            conflicts: Vec::new(),
        };
        observed.failures.insert(release.0.content.waves[0].steps[2].apply[0].clone(), refused);
    }
    let state = until_rest(&release, &mut observed, Vec::new());
    let status = |step: &str| match &state.step(step).unwrap().status {
        StepStatus::Running => "running",
        StepStatus::Done => "done",
        StepStatus::Failed(_) => "failed",
        StepStatus::Skipped | StepStatus::Cancelled | StepStatus::RolledBack => "other",
    };
    assert_eq!((status("a"), status("c")), (task, beside));
    assert_eq!(state.step("b").is_some(), task == "done", "what needs the task waits for it alone");
}

/// A Job that has failed never starts its pods again: another try makes another Job, once, and only of the one that failed.
#[test]
fn a_failed_task_is_made_anew_by_a_retry_and_the_new_job_counts() {
    let failed = json!([{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]);
    let ((plan, state), mut observed) = with_a_task(&failed);
    let job = plan.content.waves[0].steps[0].apply[0].clone();
    let mut seen = state.object(&job).unwrap().body();
    let failure = Failure {
        job: Some("u1".to_owned()),
        ..failure::of("RELEASE/JOB_FAILED", &job, "BackoffLimitExceeded", Vec::new())
    };
    let step = "a".to_owned();
    let events = vec![
        Event::WaveStarted { wave: 0, approvals: Vec::new() },
        Event::StepStarted { step: step.clone() },
        Event::ObjectsApplied { step: step.clone(), objects: vec![job.clone()] },
        Event::StepFailed { step: step.clone(), group: None, failure },
        Event::Retried { step: step.clone(), by: "li-na".to_owned() },
    ];
    let at: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
    let numbered = events.into_iter().zip(1..);
    let recorded: Vec<_> =
        numbered.map(|(event, number)| ReleaseEvent { number, at, event }).collect();
    let release = ReleaseState::of(&recorded);
    observed.uids.insert(job.clone(), "u1".to_owned());
    let mut decided = |seen: Option<Object>| {
        let seen = seen.map_or(Seen::Absent, Seen::Present);
        observed.objects.insert(job.clone(), seen);
        let work = Work { plan: &plan, desired: &state, before: &state };
        let own = release.step("a").unwrap();
        objects::decide(work, &plan.content.waves[0].steps[0], own, &observed, at)
    };
    seen.set(&["metadata", "uid"], json!("u1"));
    let effects = decided(Some(seen.clone())).effects;
    assert!(matches!(effects.as_slice(), [Effect::Delete { .. }]), "{effects:?}");
    let effects = decided(None).effects;
    assert!(matches!(effects.as_slice(), [Effect::Apply { is_final: true, .. }]), "{effects:?}");
    // Applied, and the inventory knows the new uid: it runs, and when it fails too it fails the step.
    observed.uids.insert(job.clone(), "u2".to_owned());
    seen.set(&["metadata", "uid"], json!("u2"));
    observed.objects.insert(job.clone(), Seen::Present(seen));
    let work = Work { plan: &plan, desired: &state, before: &state };
    let own = release.step("a").unwrap();
    let decision = objects::decide(work, &plan.content.waves[0].steps[0], own, &observed, at);
    let [Event::StepFailed { failure, .. }] = decision.events.as_slice() else {
        panic!("{decision:?}")
    };
    assert_eq!(failure.job.as_deref(), Some("u2"));
}

/// A try of a task ends with its step, well or not, and when the release is given up meanwhile; then nothing is to be kept of it
/// a second time.
#[test]
fn each_try_of_a_task_ends_once() {
    let ((plan, _), _) = with_a_task(&json!([]));
    let job = plan.content.waves[0].steps[0].apply[0].clone();
    let step = || "a".to_owned();
    let failure = Failure {
        job: Some("u1".to_owned()),
        ..failure::of("RELEASE/JOB_FAILED", &job, "BackoffLimitExceeded", Vec::new())
    };
    let failed = Event::StepFailed { step: step(), group: None, failure };
    let (by, reason) = ("li-na".to_owned(), "CHG-1".to_owned());
    let back =
        Event::RollbackStarted { part: Part::default(), by: by.clone(), reason: reason.clone() };
    let ended = |before: &[Event], events: &[Event]| {
        let all = [Event::StepStarted { step: step() }].into_iter().chain(before.to_vec());
        let at = Timestamp::UNIX_EPOCH;
        let numbered = all.zip(1..).map(|(event, number)| ReleaseEvent { number, at, event });
        let state = ReleaseState::of(&numbered.collect::<Vec<_>>());
        let ended = ended_runs(&plan, &state, events);
        let of = |run: &EndedRun<'_>| (run.job.clone(), run.before.iter().cloned().collect());
        ended.iter().map(of).collect::<Vec<(ObjectRef, Vec<String>)>>()
    };
    let made = || Event::ObjectsApplied { step: step(), objects: vec![job.clone()] };
    let once = vec![(job.clone(), Vec::new())];
    let done = Event::StepDone { step: step() };
    assert_eq!(ended(&[made()], std::slice::from_ref(&done)), once);
    assert_eq!(ended(&[made()], std::slice::from_ref(&failed)), once);
    assert_eq!(ended(&[made()], &[failed.clone(), back.clone()]), once, "by a policy, in one go");
    assert_eq!(ended(&[made()], std::slice::from_ref(&back)), once, "given up under way");
    assert_eq!(ended(&[made()], &[Event::Cancelled { by, reason }]), once);
    assert_eq!(ended(&[], std::slice::from_ref(&failed)), [], "it was never made");
    assert_eq!(ended(&[made()], &[Event::StepDone { step: "c".to_owned() }]), [], "another step");
    assert_eq!(ended(&[made(), done], std::slice::from_ref(&back)), [], "it is kept already");
    let retried = Event::Retried { step: step(), by: "li-na".to_owned() };
    let again = vec![(job.clone(), vec!["u1".to_owned()])];
    assert_eq!(ended(&[made(), failed.clone(), retried], &[failed]), again);
}

#[test]
fn an_unreachable_cluster_does_not_hold_the_steps_of_another() {
    let gap =
        crate::live::Gap { code: "CLUSTER/UNREACHABLE".to_owned(), message: "refused".to_owned() };
    let gaps = BTreeMap::from([("room-a".to_owned(), gap)]);
    let mut observed = Observed { gaps, ..Observed::default() };
    let state = steps_until_rest(&mut observed, Vec::new());
    assert_eq!((state.step("a"), state.step("b")), (None, None));
    assert_eq!(state.step("c").unwrap().status, StepStatus::Done);
}

#[rstest]
#[case::somebody("kubectl", true)]
#[case::our_own_that_was_not_recorded("tidegate", false)]
fn what_somebody_makes_between_the_start_of_a_step_and_its_apply_is_not_taken_over(
    #[case] manager: &str,
    #[case] is_held: bool,
) {
    let mut world = without_groups();
    let approved = change(&world, Action::Create);
    world.plan.content.changes.changes.push(approved);
    world.record(vec![
        Event::WaveStarted { wave: 0, approvals: Vec::new() },
        Event::StepStarted { step: STEP.to_owned() },
    ]);
    let managed = json!([{"manager": manager, "operation": "Apply"}]);
    world.live.set(&["metadata", "managedFields"], managed);
    let is_live_changed = world.waits() == ["APPROVAL/LIVE_CHANGED"];
    assert_eq!(is_live_changed, is_held, "{:?}", world.waits());
}
