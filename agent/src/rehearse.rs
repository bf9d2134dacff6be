//! Rehearsing: a plan is executed on copies of a site's clusters before anybody approves it.
//!
//! Nothing here decides what a release does: an agent of its own runs, with the journal and the repository of the site as they
//! are, on sandboxes that were filled with the clusters' objects. What people would be asked for is given at once, and told.
//! Nothing is ever written to a live cluster, to the site's repository or to its journal: live clusters are only read, and only
//! before the run; while it lasts every cluster's name leads to a sandbox.

pub mod documents;
pub mod imagined;
pub mod seed;
mod stage;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::Value;
use tidegate_core::baseline::Baseline;
use tidegate_core::digest::Digest;
use tidegate_core::gate::{Clause, Evidence, Gate, GatePolicy, Rule, gate};
use tidegate_core::pin::{Answer, Answers, Known, Lookup};
use tidegate_core::plan::{Driver, Plan, PlanReport, Step};
use tidegate_core::rehearsal::{
    CopiedCluster, Differs, FailingRun, Origin, Past, Rehearsal, Run, StartTime, confirmations,
    is_same_but_for_secrets, place, start_times, waves,
};
use tidegate_core::release::ReleasePhase;
use tidegate_core::show::{Style, plans_compared};
use tidegate_core::site::ValidSite;
use tidegate_core::timeline::{Outcome, Timeline};
use tidegate_schema::finding::{Finding, Lang};

use crate::agent::{Accepted, Images};
use crate::journal::{Journal, fact};
use crate::signature::{KeyPair, generate_key};
use crate::status::failure_finding;
use stage::{APP, PRODUCT, Planned, Played, Props, Stage};

/// In whose name approvals and confirmations are given on copies.
pub const PERSON: &str = "rehearsal";

/// So many releases are looked through for how long pods took.
const PAST: u32 = 50;

/// Why there is no rehearsal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something on this machine could not be done.
    #[error("failed to {what}")]
    Machine {
        /// What.
        what: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What was asked for cannot be rehearsed, for people.
    #[error("failed to rehearse: refused")]
    Refused(Vec<Finding>),
    /// The agent on the copies ended by itself.
    #[error("failed to keep the agent on the copies running")]
    Ended,
    /// The agent on the copies works on and on though no time passes.
    #[error("failed to bring the agent on the copies to rest")]
    Restless,
}

pub(crate) fn failed<E: std::error::Error + Send + Sync + 'static>(
    what: &'static str,
) -> impl FnOnce(E) -> Error {
    move |source| Error::Machine { what, source: Box::new(source) }
}

/// One cluster of the stage.
#[derive(Clone, Debug, Default)]
pub struct Room {
    /// The release of Kubernetes whose rules of server-side apply it follows, as in `1.22`.
    pub version: Option<String>,
    /// What the live server says it is.
    pub told: Option<String>,
    /// Its objects; a fresh cluster when there is none.
    pub objects: Vec<Value>,
    /// Nodes of a fresh cluster.
    pub nodes: u32,
    /// Whether it may be used: one that could not be copied refuses everything.
    pub is_copied: bool,
}

/// What a site's clusters are before the plan.
#[derive(Debug)]
pub enum Before {
    /// As they were read.
    Copied(BTreeMap<String, Room>),
    /// As a baseline says, made by installing its documents on fresh clusters.
    Made {
        /// The baseline.
        baseline: Box<Baseline>,
        /// The repository whose branch is at the baseline's revision.
        repository: PathBuf,
        /// The fresh clusters.
        rooms: BTreeMap<String, Room>,
    },
}

/// Everything that a rehearsal begins with.
#[derive(Debug)]
pub struct Script {
    /// A folder that is there for it.
    pub folder: PathBuf,
    /// A folder with a copy of the site's journal, or an empty one. It is changed.
    pub journal: PathBuf,
    /// A bare repository whose branch `main` is at what is to be planned.
    pub repository: PathBuf,
    /// The site's folder in it.
    pub site_folder: String,
    /// The commit there.
    pub commit: String,
    /// What people know the commit as.
    pub revision: String,
    /// What that commit says.
    pub site: ValidSite,
    /// The clusters.
    pub before: Before,
    /// The plan that was asked for.
    pub asked: Option<Digest>,
    /// The language in which differences are told.
    pub lang: Lang,
    /// How images are pinned.
    pub lookup: Lookup,
    /// When it begins.
    pub now: Timestamp,
    /// Seconds that pods take of which nothing is known.
    pub guess_seconds: i64,
    /// Whether a failure of the first group is rehearsed too.
    pub wants_failure: bool,
    /// A folder with a copy of the journal that knows how long pods took, where that is another one.
    pub past: Option<PathBuf>,
    /// What is known already of what the rehearsal cannot know.
    pub limits: Vec<Finding>,
}

/// What came of it.
#[derive(Debug)]
pub enum Ending {
    /// It was rehearsed.
    Rehearsed(Box<Rehearsal>),
    /// There is nothing to do.
    Nothing,
    /// The plan is refused: why.
    Refused(Vec<Finding>),
}

/// Rehearses on a thread of its own, whose time stands still but where the rehearsal moves it.
///
/// # Errors
///
/// When something on this machine could not be done.
pub async fn rehearse(script: Script) -> Result<Ending, Error> {
    let run = move || -> Result<Ending, Error> {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().start_paused(true).build();
        let runtime = runtime.map_err(failed("start a clock"))?;
        // A blocking task that lasts keeps tokio from moving the time by itself whenever everybody waits for a file.
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let outcome = runtime.block_on(async {
            let hold = tokio::task::spawn_blocking(move || ended.recv().is_ok());
            let outcome = Box::pin(play(script)).await;
            drop(end);
            // It says that its other end is gone, which is how it is to end.
            let _gone = hold.await;
            outcome
        });
        runtime.shutdown_background();
        outcome
    };
    tokio::task::spawn_blocking(run).await.map_err(failed("rehearse"))?
}

/// What the site itself would ask for, taken from its journal before the rehearsal puts its own in place.
struct Ours {
    policy: Option<GatePolicy>,
    freezes: Vec<Finding>,
    past: Vec<Past>,
    asked: Option<(Plan, PlanReport)>,
}

async fn play(mut script: Script) -> Result<Ending, Error> {
    let key = generate_key(PERSON).map_err(failed("make a key"))?;
    let mut ours = prepare(&script, &key).await?;
    let at = script.now;
    let (rooms, origin) =
        match std::mem::replace(&mut script.before, Before::Copied(BTreeMap::new())) {
            Before::Copied(rooms) => (rooms, Origin::Live),
            Before::Made { baseline, repository, rooms } => {
                let (made, policy) =
                    install(&mut script, &baseline, &repository, rooms, &key).await?;
                ours.policy = policy;
                (made, Origin::Baseline)
            }
        };
    let mut stage = set(&script, "first", &script.repository, &rooms, &key).await?;
    for (cluster, count) in stage.rest().await? {
        let finding = Finding::warning("REHEARSAL/RESTLESS_COPY").with("cluster", cluster);
        script.limits.push(finding.with("pods", count));
    }
    let (plan, report) = match stage.planned().await? {
        Planned::Plan(found) => *found,
        Planned::Nothing => return Ok(Ending::Nothing),
        Planned::Refused(findings) => return Ok(Ending::Refused(findings)),
    };
    // What secrets hold is in no copy, so it may not count: steps, groups and all other content are those that were asked for.
    let same = ours.asked.as_ref().filter(|(asked, _)| is_same_but_for_secrets(asked, &plan));
    let id = same.map_or_else(|| plan.id(), |(asked, _)| asked.id());
    let differs = match same {
        Some(_) => None,
        None => differs(&mut script, ours.asked.as_ref(), &plan, &report),
    };
    for cluster in &report.unplanned_clusters {
        let finding = Finding::warning("REHEARSAL/CLUSTER_LEFT_OUT").with("cluster", cluster);
        script.limits.push(finding);
    }
    let policy = ours.policy.clone().unwrap_or_else(|| GatePolicy::of(&script.site));
    let approvals = asked(&plan, &policy, &ours.freezes, script.now);
    let ordered = ordered(&rooms);
    let is_ordered = |place: &str| ordered.contains(place);
    let starts = start_times(&plan, &ours.past, is_ordered, script.guess_seconds);
    let guesses = starts.values().filter(|start| start.measured == 0).count();
    if guesses > 0 {
        let finding = Finding::note("REHEARSAL/GUESSED").with("apps", guesses);
        script.limits.push(finding.with("seconds", script.guess_seconds));
    }
    stage.conduct(&plan, &starts, None);
    let first = stage.play(&plan).await?;
    stage.strike().await?;
    let confirmations = confirmations(&first.events, &plan);
    let broken = breakable(&plan, &first).filter(|_| script.wants_failure);
    let failing = match broken {
        Some((step, revisions)) => {
            failing(&script, &rooms, &plan, &starts, (&step, &revisions), &key).await?
        }
        None => None,
    };
    let limits = limits(script.limits, &first);
    let clusters = rooms.iter().map(|(name, room)| (name.clone(), described(room))).collect();
    Ok(Ending::Rehearsed(Box::new(Rehearsal {
        site: plan.content.site.clone(),
        plan: id,
        revision: script.revision,
        origin,
        at,
        tasks: plan.content.tasks.clone(),
        waves: waves(&plan),
        clusters,
        approvals,
        confirmations,
        starts,
        run: run_of(first),
        failing,
        differs,
        limits,
    })))
}

/// What the report does not show, in order and once.
fn limits(mut found: Vec<Finding>, first: &Played) -> Vec<Finding> {
    if !first.is_over {
        found.push(Finding::warning("REHEARSAL/NOT_ENDED"));
        found.extend(first.waits.iter().cloned());
    }
    found.push(Finding::note("REHEARSAL/UNKNOWABLE"));
    found.sort();
    found.dedup();
    found
}

fn run_of(played: Played) -> Run {
    Run::of(played.phase, &played.events, played.until, played.pods)
}

/// The same again, with a first group whose new pods never become ready.
async fn failing(
    script: &Script,
    rooms: &BTreeMap<String, Room>,
    plan: &Plan,
    starts: &BTreeMap<String, StartTime>,
    (step, revisions): (&Step, &BTreeSet<String>),
    key: &KeyPair,
) -> Result<Option<FailingRun>, Error> {
    let Some(rollout) = &step.rollout else { return Ok(None) };
    let mut stage = set(script, "second", &script.repository, rooms, key).await?;
    stage.rest().await?;
    let Planned::Plan(found) = stage.planned().await? else { return Ok(None) };
    if found.0.id() != plan.id() {
        return Ok(None);
    }
    stage.conduct(plan, starts, Some((&step.id, revisions)));
    let played = stage.play(plan).await?;
    stage.strike().await?;
    let run = run_of(played);
    let spans = &run.timeline.steps;
    let done = spans.iter().filter(|it| matches!(it.outcome, Outcome::Done | Outcome::Skipped));
    let (done, begun) = (done.count(), spans.len());
    Ok(Some(FailingRun {
        step: step.id.clone(),
        on_failure: rollout.on_failure,
        done,
        not_begun: plan.steps().count().saturating_sub(begun),
        run,
    }))
}

/// The first step, in the order in which they began, whose new pods can be told from others.
fn breakable(plan: &Plan, played: &Played) -> Option<(Step, BTreeSet<String>)> {
    let order = Timeline::of(&played.events).steps;
    let step = |id: &str| plan.step(id).filter(|step| step.rollout.is_some());
    let steps = || order.iter().filter_map(|span| step(&span.step));
    let in_groups = steps().find(|step| {
        let driver = step.rollout.as_ref().map(|rollout| rollout.driver);
        !matches!(driver, None | Some(Driver::Whole))
    });
    let created =
        || steps().find(|it| it.rollout.as_ref().is_some_and(|it| it.replicas_before == 0));
    let chosen = in_groups.or_else(created)?;
    let revisions = played.new.get(place(&chosen.id))?.clone();
    (!revisions.is_empty()).then(|| (chosen.clone(), revisions))
}

/// A stage with the journal as it was prepared.
async fn set(
    script: &Script,
    name: &str,
    repository: &Path,
    rooms: &BTreeMap<String, Room>,
    key: &KeyPair,
) -> Result<Stage, Error> {
    let folder = script.folder.join(name);
    Journal::copy(&script.journal, &folder).await.map_err(failed("copy the journal"))?;
    let props = Props {
        folder: &folder,
        repository,
        site_folder: &script.site_folder,
        rooms,
        now: script.now,
        key,
        images: Images::remembered(script.lookup),
    };
    Stage::set(props).await
}

/// Puts the rehearsal's own policy in place of the site's, so that it can approve; everything else stays as it is.
async fn prepare(script: &Script, key: &KeyPair) -> Result<Ours, Error> {
    let read = "read the journal's copy";
    let journal = Journal::open(&script.journal).await.map_err(failed(read))?;
    let accepted: Option<Accepted> = journal.fact(fact::ACCEPTED).await.map_err(failed(read))?;
    let freezes: Option<Vec<Finding>> = journal.fact(fact::FREEZE).await.map_err(failed(read))?;
    let last = journal.releases(1).await.map_err(failed(read))?;
    if let Some(row) = last.first().filter(|row| !row.phase.is_ended()) {
        let finding = Finding::error("REHEARSAL/RELEASE_UNDER_WAY").with("release", &row.id);
        return Err(Error::Refused(vec![finding]));
    }
    let asked = match &script.asked {
        Some(id) => journal.plan(id).await.map_err(failed(read))?,
        None => None,
    };
    let past = match &script.past {
        None => remembered(&journal).await?,
        Some(folder) => {
            let other = Journal::open(folder).await.map_err(failed(read))?;
            let past = remembered(&other).await?;
            other.close().await;
            past
        }
    };
    let policies = accepted
        .as_ref()
        .map_or_else(|| script.site.policies_digest(), |accepted| accepted.policies.clone());
    let policy = accepted.filter(Accepted::knows_anybody).map(|accepted| accepted.policy);
    let first = match &script.before {
        Before::Copied(_) => &script.commit,
        Before::Made { baseline, .. } => &baseline.revision,
    };
    let own = Accepted {
        commit: first.clone(),
        policies,
        policy: own_policy(),
        keys: [(PERSON.to_owned(), vec![key.public.clone()])].into(),
        merge_keys: BTreeMap::new(),
        acknowledged: Some(first.clone()),
    };
    let write = "write the journal's copy";
    journal.set_fact(fact::ACCEPTED, &own).await.map_err(failed(write))?;
    journal.clear_fact(fact::FREEZE).await.map_err(failed(write))?;
    journal.close().await;
    Ok(Ours { policy, freezes: freezes.unwrap_or_default(), past, asked })
}

/// By which nothing starts before the rehearsal has said yes, and everything then.
fn own_policy() -> GatePolicy {
    let person = || PERSON.to_owned();
    let rule = Rule {
        name: person(),
        risks: BTreeSet::new(),
        products: BTreeSet::new(),
        quorum: vec![Clause { group: person(), count: 1 }],
        excludes_author: false,
        approve_by_seconds: None,
        execute_by_seconds: None,
        merge: None,
    };
    GatePolicy {
        has_policy: true,
        rules: vec![rule],
        groups: [(person(), [person()].into())].into(),
        emails: [(person(), BTreeSet::new())].into(),
        windows: Vec::new(),
        skips: Vec::new(),
    }
}

/// The latest releases of a journal.
async fn remembered(journal: &Journal) -> Result<Vec<Past>, Error> {
    let read = "read the journal's copy";
    let mut past = Vec::new();
    for row in journal.releases(PAST).await.map_err(failed(read))? {
        let plan = journal.plan(&row.plan).await.map_err(failed(read))?.map(|(plan, _)| plan);
        let events = journal.events(&row.id).await.map_err(failed(read))?;
        past.push(Past { id: row.id, plan, events });
    }
    Ok(past)
}

/// What people would be asked for before the plan may start, whoever has said yes already.
fn asked(plan: &Plan, policy: &GatePolicy, freezes: &[Finding], now: Timestamp) -> Vec<Finding> {
    let nothing = BTreeSet::new();
    let evidence = Evidence {
        approvals: &[],
        merges: &[],
        consumed: &nothing,
        freezes,
        given_up_at: None,
        now,
    };
    match gate(plan.clone(), policy, evidence) {
        Gate::Open(_) => Vec::new(),
        Gate::Waiting { needs, .. } | Gate::Closed(needs) => needs,
    }
}

/// What differs from the plan that was asked for, where that is still known; that it is another one is noted in any case.
fn differs(
    script: &mut Script,
    known: Option<&(Plan, PlanReport)>,
    plan: &Plan,
    report: &PlanReport,
) -> Option<Differs> {
    let asked = script.asked.clone().filter(|asked| *asked != plan.id())?;
    let finding = Finding::warning("REHEARSAL/OTHER_PLAN").with("asked", asked.short());
    script.limits.push(finding.with("plan", plan.id().short()));
    let (before, said) = known?;
    let style = Style { lang: script.lang, ..Style::default() };
    Some(Differs { asked, text: plans_compared((before, said), (plan, report), style) })
}

fn described(room: &Room) -> CopiedCluster {
    let count = |kind: &str| room.objects.iter().filter(|object| object["kind"] == kind).count();
    CopiedCluster {
        version: room.told.clone(),
        objects: room.objects.len(),
        nodes: count("Node"),
        pods: count("Pod"),
    }
}

/// Places of sets whose pods come one after another.
fn ordered(rooms: &BTreeMap<String, Room>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (name, room) in rooms {
        for object in &room.objects {
            let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
            let is_ordered = object["kind"] == "StatefulSet"
                && text("/spec/podManagementPolicy").unwrap_or("OrderedReady") == "OrderedReady";
            let label = |label: &str| {
                object.pointer("/metadata/labels")?.get(label)?.as_str().map(str::to_owned)
            };
            if let (true, Some(product), Some(app)) = (is_ordered, label(PRODUCT), label(APP)) {
                found.insert(format!("{name}/{product}/{app}"));
            }
        }
    }
    found
}

/// Brings fresh clusters to what a baseline says, by installing the documents of its revision; gives them as they are then. The
/// journal of the rehearsal has that release, and this baseline.
async fn install(
    script: &mut Script,
    baseline: &Baseline,
    repository: &Path,
    rooms: BTreeMap<String, Room>,
    key: &KeyPair,
) -> Result<(BTreeMap<String, Room>, Option<GatePolicy>), Error> {
    let write = "write the journal's copy";
    let journal = Journal::open(&script.journal).await.map_err(failed(write))?;
    let found =
        |digest: &Digest| Known { answer: Some(Answer::Found(digest.clone())), trouble: None };
    let answers: Answers =
        baseline.images.iter().map(|(image, digest)| (image.clone(), found(digest))).collect();
    journal.set_fact(fact::IMAGES, &answers).await.map_err(failed(write))?;
    journal.close().await;
    let mut stage = set(script, "baseline", repository, &rooms, key).await?;
    match stage.planned().await? {
        Planned::Plan(found) => {
            let (plan, _) = *found;
            let played = stage.play(&plan).await?;
            script.now = script.now.max(played.until);
            if played.phase != ReleasePhase::Done {
                let waits = played.waits.clone();
                let mut said = vec![Finding::error("REHEARSAL/BASELINE_NOT_REACHED")];
                said.extend(run_of(played).failures.iter().map(|it| failure_finding(&it.failure)));
                said.extend(waits);
                return Err(Error::Refused(said));
            }
        }
        Planned::Nothing => {}
        Planned::Refused(mut findings) => {
            findings.push(Finding::error("REHEARSAL/BASELINE_NOT_REACHED"));
            return Err(Error::Refused(findings));
        }
    }
    let sandboxes = stage.strike().await?;
    let made = rooms
        .into_iter()
        .map(|(name, room)| {
            let objects = sandboxes.get(&name).map(still).unwrap_or_default();
            (name, Room { objects, ..room })
        })
        .collect();
    // What was installed is where the rehearsal goes on from.
    script.journal = script.folder.join("baseline");
    let journal = Journal::open(&script.journal).await.map_err(failed(write))?;
    let reached: Option<Baseline> = journal.fact(fact::BASELINE).await.map_err(failed(write))?;
    let differences = reached.map(|reached| Baseline::diff(baseline, &reached)).unwrap_or_default();
    if let Some(first) = differences.first() {
        let finding = Finding::warning("REHEARSAL/BASELINE_DIFFERS");
        let finding = finding.with("count", differences.len()).with("first", &first.path);
        script.limits.push(finding);
    }
    journal.set_fact(fact::BASELINE, baseline).await.map_err(failed(write))?;
    let accepted: Option<Accepted> = journal.fact(fact::ACCEPTED).await.map_err(failed(write))?;
    let mut policy = None;
    if let Some(mut accepted) = accepted {
        policy = accepted.knows_anybody().then(|| accepted.policy.clone());
        accepted.commit.clone_from(&script.commit);
        accepted.acknowledged = Some(script.commit.clone());
        // The install's policies are those of its own documents.
        accepted.policy = own_policy();
        accepted.keys = [(PERSON.to_owned(), vec![key.public.clone()])].into();
        journal.set_fact(fact::ACCEPTED, &accepted).await.map_err(failed(write))?;
    }
    journal.close().await;
    Ok((made, policy))
}

/// The objects of a copy, with pods that stay as they are.
fn still(sandbox: &tidegate_sandbox::Sandbox) -> Vec<Value> {
    let objects = sandbox.snapshot();
    objects.into_iter().filter_map(seed::still).collect()
}
