//! `rehearse`: a plan executed on copies of the clusters before anybody approves it.

mod markdown;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tidegate_core::baseline::Baseline;
use tidegate_core::desired::DesiredState;
use tidegate_core::digest::Digest;
use tidegate_core::live::Inventory;
use tidegate_core::pin::Answers;
use tidegate_core::render::render;
use tidegate_core::site::ValidSite;
use tidegate_core::snapshot::Snapshot;
use tidegate_core::validate::validate;
use tidegate_schema::finding::Finding;

use super::asking;
use super::failure::{Failure, Outcome, because};
use super::output::{NotRehearsed, ToldFinding};
use super::plan::COMMENT;
use super::preview::{Before, ImageLookup, Loaded, connect, read};
use super::printer::{Format, Printer};
use super::report::Sources;
use crate::cluster::{Cluster, client_of_kubeconfig};
use crate::journal::{Journal, fact};
use crate::rehearse::{self, Ending, Room, Script, documents, imagined, rehearse, seed};
use crate::sandboxes::Sandboxes;
use crate::source::{Scratch, Source, scratch};
use crate::status::Status;

const EXAMPLES: &str = "\
Examples:
  tidegate rehearse --data ../site-agent            the plan that waits
  tidegate rehearse 9f3c0a77 --data ../site-agent   another
  tidegate rehearse --path . --data ../site-agent   a folder, committed or not
  tidegate rehearse --path . --baseline base.json   without any cluster
  tidegate rehearse --format markdown               for the merge request

Live clusters are only read, and only before the run. Nothing is written to them, to the repository or to the agent's \
journal.

Exit code 0: it was rehearsed and ended well, or there is nothing to do. 1: refused, or it did not end well.";

/// Executes a plan on copies of the clusters, with time that passes at once, and tells what happened; then the same with a
/// first group that fails.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Digest of the plan, or its beginning. Default: the plan that waits.
    #[arg(value_name = "PLAN", conflicts_with_all = ["path", "baseline"])]
    plan: Option<String>,
    /// Rehearses the plan of this folder, committed or not. Default: the current folder, when no agent is asked.
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
    #[command(flatten)]
    before: Before,
    /// Starts from this exported baseline instead of the live clusters. Its revision must be in the repository of the folder.
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// For a cluster, another kubeconfig than its document names, as for the agent; may be given several times.
    #[arg(long, value_parser = cluster_and_path, value_name = "CLUSTER=FILE")]
    kubeconfig: Vec<(String, PathBuf)>,
    /// Seconds that pods of an app take to become ready of which no past release tells.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3600), value_name = "SECONDS")]
    pod_start: u32,
    /// Leaves out the second run, in which the first group fails.
    #[arg(long)]
    no_failure: bool,
    #[command(flatten)]
    lookup: ImageLookup,
}

fn cluster_and_path(text: &str) -> Result<(String, PathBuf), String> {
    let parts =
        text.split_once('=').filter(|(cluster, path)| !cluster.is_empty() && !path.is_empty());
    let (cluster, path) = parts.ok_or("write CLUSTER=FILE")?;
    Ok((cluster.to_owned(), PathBuf::from(path)))
}

/// What is to be planned, and where it is from.
struct Target {
    snapshot: Snapshot,
    lenders: Vec<PathBuf>,
    asked: Option<Digest>,
}

/// What is known of the site, from the copy of its journal.
#[derive(Default)]
struct Known {
    baseline: Option<Baseline>,
    inventory: Inventory,
    revisions: Vec<String>,
}

pub(super) async fn run(args: &Args, printer: &Printer) -> Result<Outcome, Failure> {
    let folder = tempfile::tempdir().map_err(because)?;
    say("Reading what runs …", "正在读取现状……", printer);
    let script = prepare(args, folder.path(), printer).await?;
    say("Rehearsing on copies …", "正在副本上演练……", printer);
    let sources = Sources::default();
    match Box::pin(rehearse(script)).await.map_err(refusal)? {
        Ending::Rehearsed(found) => {
            match printer.format {
                Format::Json => printer.json(&*found),
                Format::Markdown => printer.text(&markdown::page(&found, printer, COMMENT)),
                Format::Text | Format::Html | Format::Csv => text::show(&found, printer),
            }
            let is_good = found.run.phase == tidegate_core::release::ReleasePhase::Done;
            Ok(if is_good { Outcome::Done } else { Outcome::Refused })
        }
        Ending::Nothing => {
            not_rehearsed(&[], printer);
            if !printer.is_json() {
                printer.line(printer.say("Nothing to do.", "无需变更。"));
            }
            Ok(Outcome::Done)
        }
        Ending::Refused(findings) => {
            not_rehearsed(&findings, printer);
            printer.complain(&findings, &sources);
            Ok(Outcome::Refused)
        }
    }
}

/// How far it is, for people who wait.
fn say(en: &str, zh: &str, printer: &Printer) {
    if printer.format == Format::Text {
        printer.remark(printer.say(en, zh));
    }
}

/// Programs get an answer also where there is nothing to rehearse.
fn not_rehearsed(findings: &[Finding], printer: &Printer) {
    if printer.is_json() {
        let findings = ToldFinding::all(findings, printer.lang);
        printer.json(&NotRehearsed { is_refused: !findings.is_empty(), findings });
    }
}

fn refusal(error: rehearse::Error) -> Failure {
    match error {
        rehearse::Error::Refused(findings) => findings.into(),
        error @ (rehearse::Error::Machine { .. }
        | rehearse::Error::Ended
        | rehearse::Error::Restless) => because(error),
    }
}

async fn prepare(args: &Args, folder: &Path, printer: &Printer) -> Result<Script, Failure> {
    let data = args.before.data.as_deref();
    let kept = folder.join("journal");
    let is_known = match data {
        Some(data) if !Journal::copy(data, &kept).await? => {
            return Err(Finding::error("COMMAND/NO_DATA").with("path", data.display()).into());
        }
        found => found.is_some(),
    };
    // From here on the copy is looked at, and the agent may do what it likes.
    let journal = Journal::open(&kept).await?;
    let target = target(args, &journal, printer).await?;
    let Target { snapshot, lenders, asked } = target;
    let past =
        documents::Past { journal: Some(&journal), lenders: &lenders, folder: &snapshot.folder };
    let snapshot = past.complete(snapshot.clone()).await;
    let known = known(&journal).await?;
    let Loaded { snapshot, site, .. } = read(snapshot, printer)?;
    let repository = folder.join("target.git");
    let mut onto: Vec<&str> =
        known.baseline.iter().map(|baseline| baseline.revision.as_str()).collect();
    onto.extend(known.revisions.iter().map(String::as_str));
    let made = if args.plan.is_some() || asked.is_some() {
        scratch(&repository, &lenders, Scratch::Commit(&snapshot.revision.commit))
    } else {
        onto.dedup();
        let given = exported(args)?;
        onto.extend(given.iter().map(|baseline| baseline.revision.as_str()));
        scratch(&repository, &lenders, Scratch::Files { snapshot: &snapshot, onto: &onto })
    };
    let commit = made?;
    let mut script = Script {
        folder: folder.to_owned(),
        journal: kept,
        repository,
        site_folder: snapshot.folder.clone(),
        commit,
        revision: snapshot.revision.commit.clone(),
        site: site.clone(),
        before: rehearse::Before::Copied(BTreeMap::new()),
        asked,
        lang: printer.lang,
        lookup: args.lookup.lookup(),
        now: printer.now(),
        guess_seconds: i64::from(args.pod_start),
        wants_failure: !args.no_failure,
        past: None,
        limits: Vec::new(),
    };
    if let Some(baseline) = exported(args)? {
        journal.close().await;
        let old = std::mem::replace(&mut script.journal, folder.join("fresh"));
        script.past = is_known.then_some(old);
        made_of(&mut script, baseline, &lenders, printer).await?;
        return Ok(script);
    }
    if asked_of_registries(args) {
        remember_images(args, &site, &known, &journal).await?;
    }
    journal.close().await;
    let desired = render(&site, printer.now());
    copies(&mut script, &desired, &known.inventory, args).await;
    Ok(script)
}

/// Whether a folder is rehearsed, whose images nobody has looked up yet.
fn asked_of_registries(args: &Args) -> bool {
    args.plan.is_none() && args.path.is_some()
}

async fn remember_images(
    args: &Args,
    site: &ValidSite,
    known: &Known,
    journal: &Journal,
) -> Result<(), Failure> {
    let mut images = args.lookup.images()?;
    let _pins = images.pins(site, known.baseline.as_ref()).await;
    let mut all: Answers = journal.fact(fact::IMAGES).await?.unwrap_or_default();
    all.extend(images.answers().clone());
    journal.set_fact(fact::IMAGES, &all).await?;
    Ok(())
}

/// What is to be planned: the plan's own commit, or a folder.
async fn target(args: &Args, journal: &Journal, printer: &Printer) -> Result<Target, Failure> {
    let data = args.before.data.as_deref();
    let of_folder = args.path.is_some() || args.baseline.is_some() || data.is_none();
    if args.plan.is_none() && of_folder {
        let path = args.path.clone().unwrap_or_else(|| PathBuf::from("."));
        let snapshot = Source::folder(&path).await?;
        return Ok(Target {
            snapshot,
            lenders: documents::lenders(data, Some(&path)),
            asked: None,
        });
    }
    let lenders = documents::lenders(data, None);
    let id = match &args.plan {
        Some(given) => named(given, journal).await?,
        None => waiting(data, journal, printer).await?,
    };
    let unknown = || Finding::error("REHEARSAL/PLAN_UNKNOWN").with("plan", id.short());
    let (plan, _) = journal.plan(&id).await?.ok_or_else(unknown)?;
    let snapshot = documents::at_commit(&lenders, &plan.content.site, &plan.revision).await?;
    Ok(Target { snapshot, lenders, asked: Some(id) })
}

/// The plan whose digest begins so.
async fn named(given: &str, journal: &Journal) -> Result<Digest, Failure> {
    let digits = given.trim_start_matches("sha256:");
    let found = journal.plans_of(digits).await?;
    match found.as_slice() {
        [only] => Ok(only.clone()),
        _ => Err(Finding::error("REHEARSAL/PLAN_UNKNOWN").with("plan", given).into()),
    }
}

/// The plan that waits: of a running agent what it says, else the one that was made last.
async fn waiting(
    data: Option<&Path>,
    journal: &Journal,
    printer: &Printer,
) -> Result<Digest, Failure> {
    let none = || Failure::from(Finding::error("REHEARSAL/NO_PLAN"));
    if let Some(client) = data.and_then(|data| asking::running(data, printer))
        && let Ok(status) = client.get::<Status>("/api/v1/status").await
    {
        return status.current_plan().cloned().ok_or_else(none);
    }
    journal.latest_plan().await?.ok_or_else(none)
}

async fn known(journal: &Journal) -> Result<Known, Failure> {
    let releases = journal.releases(100).await?;
    Ok(Known {
        baseline: journal.fact(fact::BASELINE).await?,
        inventory: journal.inventory().await?,
        revisions: releases.into_iter().map(|row| row.revision).collect(),
    })
}

/// Reads the live clusters and makes their copies.
async fn copies(script: &mut Script, desired: &DesiredState, inventory: &Inventory, args: &Args) {
    let data = args.before.data.as_deref();
    let sandboxes = Sandboxes::copied(data);
    let mut rooms = BTreeMap::new();
    for name in script.site.clusters.keys() {
        let ours = inventory.entries.iter().map(|(it, entry)| (it, entry.api_version.as_str()));
        let wanted = desired.objects.iter().map(|it| (&it.reference, it.api_version.as_str()));
        let (mut namespaces, kinds) = documents::of_cluster(name, wanted.chain(ours));
        // Where every cluster says who it is.
        namespaces.insert("kube-system".to_owned());
        let custom = kinds.iter().map(|(version, kind)| (version.as_str(), kind.as_str()));
        let wanted = seed::wanted(custom);
        let given = args.kubeconfig.iter().find(|(cluster, _)| cluster == name);
        let cluster = match given {
            Some((_, path)) => client_of_kubeconfig(path)
                .await
                .map(|client| Cluster::of_client(name, &script.site.name, client))
                .ok_or_else(|| format!("{} is no kubeconfig", path.display())),
            None => connect(&script.site, name, &sandboxes, data).await,
        };
        let read = match cluster {
            Ok(cluster) => cluster.copy(&wanted, &namespaces).await.map_err(|gap| gap.message),
            Err(reason) => Err(reason),
        };
        let room = match read {
            Ok(copied) => {
                namespaces.remove("kube-system");
                let seeded = seed::seed(name, copied, &namespaces);
                script.limits.extend(seeded.limits);
                Room {
                    version: seeded.version.as_deref().and_then(seed::minor),
                    told: seeded.version,
                    objects: seeded.objects,
                    nodes: 0,
                    is_copied: true,
                }
            }
            Err(reason) => {
                let finding = Finding::warning("REHEARSAL/CLUSTER_UNREAD").with("cluster", name);
                script.limits.push(finding.with("reason", reason));
                Room::default()
            }
        };
        rooms.insert(name.clone(), room);
    }
    script.before = rehearse::Before::Copied(rooms);
}

fn exported(args: &Args) -> Result<Option<Baseline>, Failure> {
    args.baseline.as_deref().map(super::baseline::read_export).transpose()
}

/// Fresh clusters that a baseline's documents are to be installed on.
async fn made_of(
    script: &mut Script,
    baseline: Baseline,
    lenders: &[PathBuf],
    printer: &Printer,
) -> Result<(), Failure> {
    if baseline.site != script.site.name {
        let finding = Finding::error("BASELINE/OTHER_SITE").with("site", &baseline.site);
        return Err(finding.with("own", &script.site.name).into());
    }
    let found = documents::at_commit(lenders, &baseline.site, &baseline.revision).await;
    let snapshot = found.map_err(|error| {
        let finding = Finding::error("REHEARSAL/BASELINE_REVISION");
        let finding = finding.with("commit", &baseline.revision);
        Failure::from(vec![finding, error.finding()])
    })?;
    let (site, findings) = validate(&snapshot, baseline.recorded_at);
    let Some(site) = site else { return Err(findings.into()) };
    let before = render(&site, baseline.recorded_at);
    let after = render(&script.site, printer.now());
    let mut rooms = imagined::rooms(&script.site, &[&before, &after]);
    rooms.extend(imagined::rooms(&site, &[&before, &after]));
    let repository = script.folder.join("baseline.git");
    scratch(&repository, lenders, Scratch::Commit(&baseline.revision))?;
    let names: BTreeSet<&String> = rooms.keys().collect();
    for name in names {
        script.limits.push(Finding::note("REHEARSAL/IMAGINED").with("cluster", name));
    }
    script.before = rehearse::Before::Made { baseline: Box::new(baseline), repository, rooms };
    Ok(())
}
