//! What a plan is played on: copies of the clusters, an agent of its own on them, and a clock that passes only here.
//!
//! The agent is the one that every site has, with a journal and a repository of its own in a temporary folder. Everything runs
//! on one thread whose time stands still: when nobody has anything to do at an instant, the clock is moved.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use tidegate_core::digest::Digest;
use tidegate_core::object::REVISION;
use tidegate_core::plan::{Driver, Plan, PlanReport, Step, StepKind};
use tidegate_core::pod::Pod;
use tidegate_core::rehearsal::{PodCount, StartTime, place, with_pods};
use tidegate_core::release::{Command, Event, ReleaseEvent, ReleasePhase};
use tidegate_core::timeline::{Outcome, Timeline};
use tidegate_sandbox::{Conduct, Fault, Matching, Options, Sandbox};
use tidegate_schema::approval::{ApprovalScope, Decision};
use tidegate_schema::finding::Finding;
use tokio::sync::broadcast::error::TryRecvError;

use super::{Error, PERSON, Room, failed};
use crate::agent::{Agent, Connector, Images, Parts, RETENTION};
use crate::approve::{self, Word};
use crate::clock::Clock;
use crate::cluster::client_of_sandbox;
use crate::execute::Checks;
use crate::handle::Handle;
use crate::journal::Journal;
use crate::signature::{self, KeyPair};
use crate::source::{Source, SourceOptions};
use crate::status::{Condition, Status};
use crate::wake::Wake;

/// What passes between two looks while something moves, and while nothing does.
const TICK: Duration = Duration::from_millis(250);
const CALM_TICK: Duration = Duration::from_secs(1);
/// So long after the last change of a pod something still moves.
const MOVING: SignedDuration = SignedDuration::from_secs(5);
/// The agent polls its repository so rarely: nobody pushes to it.
const POLL: Duration = Duration::from_hours(1);
/// In real time: a loop that still runs after this, while no time passes, would run for ever.
const REST: Duration = Duration::from_mins(2);
/// A run of which nothing is heard for so long, not counting bakes, has stuck.
const SILENCE: SignedDuration = SignedDuration::from_hours(2);
/// The longest run, on its own clock.
const LONGEST: SignedDuration = SignedDuration::from_hours(24 * 7);

/// Labels by which pods and workloads say whose they are. Of a scaling group's the second is the name of its own workload, as
/// steps have it, while `tidegate.dev/app` is the app that it is a further instance of.
pub(super) const PRODUCT: &str = "tidegate.dev/product";
pub(super) const APP: &str = "app.kubernetes.io/name";

/// What a stage is set up from.
pub(super) struct Props<'a> {
    /// The folder of this stage; the journal is in it.
    pub(super) folder: &'a Path,
    /// The repository that the agent follows.
    pub(super) repository: &'a Path,
    /// The site's folder in it.
    pub(super) site_folder: &'a str,
    /// The clusters.
    pub(super) rooms: &'a BTreeMap<String, Room>,
    /// When it begins.
    pub(super) now: Timestamp,
    /// Who approves.
    pub(super) key: &'a KeyPair,
    /// How images are pinned.
    pub(super) images: Images,
}

/// Everything on the stage.
pub(super) struct Stage {
    sandboxes: BTreeMap<String, Sandbox>,
    clock: Clock,
    handle: Handle,
    journal: Journal,
    key: KeyPair,
    agent: tokio::task::JoinHandle<Result<(), crate::agent::Error>>,
    watched: Watched,
    began: Timestamp,
}

/// What becomes of the release's pods.
#[derive(Default)]
struct Watched {
    apps: BTreeMap<String, App>,
    changed_at: Timestamp,
    revisions: BTreeMap<String, u64>,
}

/// An app whose pods are counted.
struct App {
    cluster: String,
    /// Product and app.
    name: (String, String),
    /// Whether new pods are of the same template as the old ones.
    is_same_template: bool,
    uids: BTreeSet<String>,
    old: BTreeSet<String>,
    new: BTreeSet<String>,
    counts: Vec<(Timestamp, PodCount)>,
}

/// What the agent planned.
pub(super) enum Planned {
    /// A plan that could be executed.
    Plan(Box<(Plan, PlanReport)>),
    /// A plan that is refused, or none at all, and why.
    Refused(Vec<Finding>),
    /// There is nothing to do.
    Nothing,
}

/// How a run went.
pub(super) struct Played {
    pub(super) phase: ReleasePhase,
    pub(super) events: Vec<ReleaseEvent>,
    pub(super) until: Timestamp,
    pub(super) pods: BTreeMap<String, Vec<PodCount>>,
    /// Revisions of new pods, by place.
    pub(super) new: BTreeMap<String, BTreeSet<String>>,
    /// What it waits for at last.
    pub(super) waits: Vec<Finding>,
    /// Whether it came to an end, or stood still for a person.
    pub(super) is_over: bool,
}

impl Stage {
    pub(super) async fn set(props: Props<'_>) -> Result<Self, Error> {
        let mut sandboxes = BTreeMap::new();
        for (name, room) in props.rooms {
            let defaults = Options::default();
            let sandbox = Sandbox::start(Options {
                name: name.clone(),
                nodes: room.nodes,
                start: Some(props.now),
                version: room.version.clone().unwrap_or(defaults.version),
                is_bare: !room.objects.is_empty(),
                ..Options::default()
            });
            let sandbox = sandbox.map_err(failed("start a copy"))?;
            sandbox.seed(room.objects.iter().cloned());
            if !room.is_copied {
                refuse(&sandbox);
            }
            sandboxes.insert(name.clone(), sandbox);
        }
        let own = tidegate_sandbox::clock::Clock::new(props.now, 1.0);
        let clock = Clock::of(move || own.now());
        let journal = Journal::open(props.folder).await.map_err(failed("open the journal"))?;
        let mut options =
            SourceOptions::new(props.repository.display().to_string(), props.folder.join("mirror"));
        props.site_folder.clone_into(&mut options.folder);
        let parts = Parts {
            source: Source::open(options).map_err(failed("open the repository"))?,
            data: props.folder.to_owned(),
            journal: journal.clone(),
            dns: None,
            clock: clock.clone(),
            interval: POLL,
            connector: connector(&sandboxes)?,
            checks: Checks::TakenToHold,
            images: props.images,
            retention: RETENTION,
        };
        let (agent, handle) = Agent::open(parts).await.map_err(failed("start the agent"))?;
        let watched = Watched { changed_at: clock.now(), ..Watched::default() };
        Ok(Self {
            sandboxes,
            clock,
            handle,
            journal,
            key: props.key.clone(),
            agent: tokio::spawn(agent.run()),
            watched,
            began: props.now,
        })
    }

    /// Waits in real time until nobody has anything to do at this instant.
    async fn settle(&self) -> Result<(), Error> {
        let mut calm = 0;
        let deadline = std::time::Instant::now() + REST;
        while calm < 3 {
            if std::time::Instant::now() > deadline {
                return Err(Error::Restless);
            }
            // As far as a watch's event has to go from a sandbox to the loop, and more.
            for _ in 0..64 {
                tokio::task::yield_now().await;
            }
            if self.handle.is_quiet() || self.agent.is_finished() {
                calm += 1;
            } else {
                calm = 0;
                // The journal and git work on threads of their own. That the pause was cut short is no harm.
                let pause = || std::thread::sleep(Duration::from_micros(200));
                let _joined = tokio::task::spawn_blocking(pause).await;
            }
        }
        if self.agent.is_finished() { Err(Error::Ended) } else { Ok(()) }
    }

    async fn pass(&self, time: Duration) -> Result<(), Error> {
        tokio::time::advance(time).await;
        self.settle().await
    }

    /// Lets the copies come to rest; gives how many pods their own controllers made or took away in each.
    pub(super) async fn rest(&self) -> Result<BTreeMap<String, usize>, Error> {
        let uids = |sandbox: &Sandbox| -> BTreeSet<String> {
            let pods = sandbox.of_kind("", "Pod");
            pods.iter().map(|it| tidegate_sandbox::object::uid(it).to_owned()).collect()
        };
        let before: BTreeMap<_, _> =
            self.sandboxes.iter().map(|(name, it)| (name.clone(), uids(it))).collect();
        for _ in 0..12 {
            self.pass(TICK).await?;
        }
        let moved = self.sandboxes.iter().filter_map(|(name, sandbox)| {
            let count = before.get(name)?.symmetric_difference(&uids(sandbox)).count();
            (count > 0).then(|| (name.clone(), count))
        });
        Ok(moved.collect())
    }

    /// Waits for the plan of the repository's head.
    pub(super) async fn planned(&mut self) -> Result<Planned, Error> {
        self.handle.wake(Wake::ClusterChanged);
        self.settle().await?;
        for _ in 0..240 {
            let status = self.handle.status();
            match status.condition {
                Condition::Settled => return Ok(Planned::Nothing),
                Condition::Refused => return Ok(Planned::Refused(reasons(&status))),
                Condition::Waiting
                | Condition::Starting
                | Condition::Releasing
                | Condition::NeedsPerson
                | Condition::Unreachable => {}
            }
            // What was approved with the grant that ends now has started by itself.
            if let Some(id) = status.current_plan() {
                let found = self.handle.plan(id).await.map_err(failed("read the plan"))?;
                if let Some((plan, report)) = found {
                    return Ok(Planned::Plan(Box::new((plan, report))));
                }
            }
            self.pass(TICK).await?;
        }
        Ok(Planned::Refused(reasons(&self.handle.status())))
    }

    /// From now on pods take as long as is told, and those of the step's new template never become ready.
    pub(super) fn conduct(
        &self,
        plan: &Plan,
        starts: &BTreeMap<String, StartTime>,
        broken: Option<(&str, &BTreeSet<String>)>,
    ) {
        let mut all: BTreeMap<&str, Vec<Conduct>> = BTreeMap::new();
        for step in with_pods(plan) {
            let Some(labels) = labels(step) else { continue };
            let own = all.entry(step.cluster.as_str()).or_default();
            if let Some(start) = starts.get(place(&step.id)) {
                let takes = Some(start.seconds);
                own.push(Conduct { labels: labels.clone(), takes, ..Conduct::default() });
            }
            let Some((_, revisions)) = broken.filter(|(id, _)| *id == step.id) else { continue };
            own.extend(revisions.iter().map(|revision| Conduct {
                labels: labels.clone(),
                annotations: [(REVISION.to_owned(), revision.clone())].into(),
                is_never_ready: true,
                ..Conduct::default()
            }));
        }
        for (name, conducts) in all {
            if let Some(sandbox) = self.sandboxes.get(name) {
                sandbox.conduct(conducts);
            }
        }
    }

    /// Somebody whom the rehearsal made approves the plan.
    async fn approve(&self, plan: &Digest) -> Result<(), Error> {
        let word = Word {
            plan,
            scope: ApprovalScope::Plan,
            decision: Decision::Approve,
            person: PERSON,
            reason: None,
            at: self.clock.now(),
            valid_for: LONGEST,
        };
        let (mut file, document) = approve::compose(&word).map_err(Error::Refused)?;
        let key = self.key.private.expose();
        file.signature = signature::sign(&approve::signed_bytes(&document), key)
            .map_err(failed("sign an approval"))?;
        self.settle().await?;
        self.handle.approve(file).await.map_err(Error::Refused)
    }

    /// Executes the plan: approves it, confirms what is asked, and lets time pass until it ends or waits for a person.
    pub(super) async fn play(&mut self, plan: &Plan) -> Result<Played, Error> {
        self.watched.begin(plan, &self.sandboxes);
        let began = self.began;
        if self.handle.status().release.is_none() {
            self.approve(&plan.id()).await?;
        }
        let (mut heard, mut heard_at) = (0, began);
        let mut notices = self.handle.notices();
        let mut events = Vec::new();
        loop {
            self.settle().await?;
            let status = self.handle.status();
            if self.confirm(&status).await? {
                continue;
            }
            let now = self.clock.now();
            self.watched.look(&self.sandboxes, now);
            // The same plan may have been executed before.
            let row = status.releases.first().filter(|row| row.started_at >= began);
            loop {
                match notices.try_recv() {
                    Ok(notice) => events.push(notice.event),
                    Err(TryRecvError::Lagged(_)) => {}
                    Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                }
            }
            if events.len() != heard || self.watched.changed_at == now {
                (heard, heard_at) = (events.len(), now);
            }
            let phase = row.map_or(ReleasePhase::Running, |row| row.phase);
            let is_stuck = now.duration_since(heard_at) > SILENCE
                || now.duration_since(began) > LONGEST
                || (row.is_none() && now.duration_since(began) > SignedDuration::from_mins(5));
            let is_over = phase.is_ended() || stands_still(phase, &events);
            if is_over || is_stuck {
                let all = match row {
                    Some(row) => self.journal.events(&row.id).await,
                    None => Ok(Vec::new()),
                };
                let events = all.map_err(failed("read events"))?;
                let start = events.first().map_or(began, |event| event.at);
                let (pods, new) = self.watched.told(start);
                let waits = status.release.iter().flat_map(|release| release.waits.iter().cloned());
                let waits = waits.chain(status.freezes.iter().cloned()).collect();
                return Ok(Played { phase, events, until: now, pods, new, waits, is_over });
            }
            let step = self.step(&status, now);
            self.pass(step).await?;
            if step > CALM_TICK {
                heard_at = self.clock.now();
            }
        }
    }

    /// Confirms what waits for it; says whether anything did.
    async fn confirm(&self, status: &Status) -> Result<bool, Error> {
        let mut is_confirmed = false;
        let waits = status.release.iter().flat_map(|release| &release.waits);
        for wait in waits {
            let step = match wait.code.as_ref() {
                "RELEASE/AWAIT_CONFIRM" => wait.args.get("step").cloned(),
                "RELEASE/AWAIT_WAVE_CONFIRM" => None,
                _ => continue,
            };
            let answer = self.handle.command(None, Command::Confirm { step }, PERSON).await;
            is_confirmed |= answer.is_ok();
            self.settle().await?;
        }
        Ok(is_confirmed)
    }

    /// How much time passes next: to the end of a bake at once, else as little as what moves needs.
    fn step(&self, status: &Status, now: Timestamp) -> Duration {
        let soon = now.checked_add(MOVING).unwrap_or(Timestamp::MAX);
        let next = self.sandboxes.values().filter_map(Sandbox::next).min();
        let is_moving = next.is_some_and(|next| next < soon)
            || now.duration_since(self.watched.changed_at) < MOVING;
        if is_moving {
            return TICK;
        }
        let Some(until) = baked(status) else { return CALM_TICK };
        let until = next.map_or(until, |next| next.min(until));
        let left = Duration::try_from(until.duration_since(now)).unwrap_or_default();
        (left + TICK).max(CALM_TICK)
    }

    /// Every object of every copy as it is now, and ends the agent; its journal may be read then.
    pub(super) async fn strike(self) -> Result<BTreeMap<String, Sandbox>, Error> {
        self.handle.wake(Wake::Shutdown);
        let ended = self.agent.await.map_err(failed("end the agent"))?;
        ended.map_err(failed("end the agent"))?;
        drop(self.handle);
        self.journal.close().await;
        Ok(self.sandboxes)
    }
}

impl Watched {
    /// The pods that there are before anything changes.
    fn begin(&mut self, plan: &Plan, sandboxes: &BTreeMap<String, Sandbox>) {
        for step in with_pods(plan) {
            let (Some(rollout), Some(labels)) = (&step.rollout, labels(step)) else { continue };
            let part = |name: &str| labels.get(name).cloned().unwrap_or_default();
            let app = App {
                cluster: step.cluster.clone(),
                name: (part(PRODUCT), part(APP)),
                is_same_template: matches!(
                    rollout.driver,
                    Driver::Restart | Driver::Drain | Driver::Whole
                ),
                uids: BTreeSet::new(),
                old: BTreeSet::new(),
                new: BTreeSet::new(),
                counts: Vec::new(),
            };
            self.apps.insert(place(&step.id).to_owned(), app);
        }
        for (cluster, app, pod) in self.pods(sandboxes) {
            if let Some((_, own)) = self.app(&cluster, &app) {
                own.uids.insert(pod.uid);
                own.old.insert(pod.revision);
            }
        }
    }

    /// The app with its place.
    fn app(&mut self, cluster: &str, name: &(String, String)) -> Option<(&String, &mut App)> {
        self.apps.iter_mut().find(|(_, own)| own.cluster == cluster && own.name == *name)
    }

    /// The pods of these apps with their clusters.
    fn pods(&self, sandboxes: &BTreeMap<String, Sandbox>) -> Vec<(String, (String, String), Pod)> {
        let clusters: BTreeSet<&String> = self.apps.values().map(|app| &app.cluster).collect();
        let mut found = Vec::new();
        for name in clusters {
            let Some(sandbox) = sandboxes.get(name) else { continue };
            for pod in sandbox.of_kind("", "Pod") {
                let label = |label: &str| {
                    let labels = tidegate_sandbox::object::map(&pod, "/metadata/labels")?;
                    Some(labels.get(label)?.as_str()?.to_owned())
                };
                let (Some(product), Some(app)) = (label(PRODUCT), label(APP)) else { continue };
                let Ok(pod) = Pod::deserialize(&*pod) else { continue };
                found.push((name.clone(), (product, app), pod));
            }
        }
        found
    }

    /// Counts the pods where anything has changed.
    fn look(&mut self, sandboxes: &BTreeMap<String, Sandbox>, now: Timestamp) {
        let revisions: BTreeMap<String, u64> =
            sandboxes.iter().map(|(name, it)| (name.clone(), it.revision())).collect();
        if revisions == self.revisions {
            return;
        }
        self.revisions = revisions;
        let mut counts: BTreeMap<String, PodCount> = BTreeMap::new();
        for (cluster, app, pod) in self.pods(sandboxes) {
            if pod.is_terminating {
                continue;
            }
            let Some((place, own)) = self.app(&cluster, &app) else { continue };
            let is_new = if own.is_same_template {
                !own.uids.contains(&pod.uid)
            } else {
                !own.old.contains(&pod.revision)
            };
            let count = counts.entry(place.clone()).or_default();
            let is_ready = usize::from(pod.is_ready());
            if is_new {
                own.new.insert(pod.revision);
                count.new += 1;
                count.new_ready += is_ready;
            } else {
                count.old += 1;
                count.old_ready += is_ready;
            }
        }
        for (place, own) in &mut self.apps {
            let count = counts.remove(place).unwrap_or_default();
            if own.counts.last().is_none_or(|(_, last)| *last != count) {
                own.counts.push((now, count));
                self.changed_at = now;
            }
        }
    }

    /// The counts since an instant, and the revisions of new pods.
    fn told(
        &self,
        start: Timestamp,
    ) -> (BTreeMap<String, Vec<PodCount>>, BTreeMap<String, BTreeSet<String>>) {
        let counts = |app: &App| {
            let after = |at: Timestamp| at.duration_since(start).as_secs().max(0);
            let counts = app.counts.iter();
            counts.map(|(at, count)| PodCount { after_seconds: after(*at), ..*count }).collect()
        };
        let pods = self.apps.iter().map(|(place, app)| (place.clone(), counts(app)));
        let new = self.apps.iter().map(|(place, app)| (place.clone(), app.new.clone()));
        (pods.collect(), new.collect())
    }
}

/// By which labels the pods of a step are known.
fn labels(step: &Step) -> Option<BTreeMap<String, String>> {
    let (product, app) = match (&step.rollout, step.kind) {
        // Pods of a node are those of many apps.
        (Some(rollout), _) if rollout.unit.is_node() => return None,
        (Some(rollout), _) => (rollout.unit.product.clone(), rollout.unit.app.clone()),
        (None, StepKind::Job(_)) => (step.product.clone()?, step.id.rsplit('/').next()?.to_owned()),
        (
            None,
            StepKind::Objects(_)
            | StepKind::Rollout
            | StepKind::Zones
            | StepKind::Offline
            | StepKind::Prune,
        ) => return None,
    };
    Some([(PRODUCT.to_owned(), product), (APP.to_owned(), app)].into())
}

/// Whether a release that failed or was paused does nothing more by itself.
fn stands_still(phase: ReleasePhase, events: &[ReleaseEvent]) -> bool {
    if !matches!(phase, ReleasePhase::Failed | ReleasePhase::Paused) {
        return false;
    }
    let is_open = Timeline::of(events).steps.iter().any(|step| step.outcome == Outcome::Open);
    let is_paused = events.iter().rev().any(|event| matches!(event.event, Event::Paused { .. }));
    !is_open || is_paused
}

/// When the next bake ends, when nothing but bakes is waited for.
fn baked(status: &Status) -> Option<Timestamp> {
    let waits = &status.release.as_ref()?.waits;
    if waits.iter().any(|wait| wait.code != "RELEASE/BAKING") {
        return None;
    }
    waits.iter().filter_map(|wait| wait.args.get("until")?.parse().ok()).min()
}

/// Why there is no plan that could be executed.
fn reasons(status: &Status) -> Vec<Finding> {
    let mut findings: Vec<Finding> = status.source.problem.iter().cloned().collect();
    findings.extend(status.findings.iter().filter(|it| it.is_error()).cloned());
    if let Some(plan) = &status.plan {
        findings.extend(plan.findings.iter().cloned());
    }
    findings.extend(status.cluster_gaps());
    findings.sort();
    findings.dedup();
    findings
}

/// From now on it refuses everything.
fn refuse(sandbox: &Sandbox) {
    sandbox.fault(Fault::Refuse {
        matching: Matching::default(),
        code: 503,
        reason: "ServiceUnavailable".to_owned(),
        message: "the cluster could not be copied".to_owned(),
        times: u32::MAX,
    });
}

/// Every cluster is reached here and nowhere else: one of which there is no copy refuses everything.
fn connector(sandboxes: &BTreeMap<String, Sandbox>) -> Result<Connector, Error> {
    let nowhere = Sandbox::start(Options { is_bare: true, ..Options::default() });
    let nowhere = nowhere.map_err(failed("start a copy"))?;
    refuse(&nowhere);
    let sandboxes = sandboxes.clone();
    Ok(Arc::new(move |name, _| Some(client_of_sandbox(sandboxes.get(name).unwrap_or(&nowhere)))))
}
