//! `apply`: the whole job once, without an agent: load, plan, gate, execute until done.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tidegate_core::snapshot::{Identity, Snapshot};
use tidegate_schema::finding::Finding;

use super::asking;
use super::failure::{Failure, Outcome, because};
use super::preview::{Folder, ImageLookup, Loaded, load};
use super::printer::{Format, Printer};
use super::report::Sources;
use super::status::{condition, tasks};
use crate::agent::{Agent, Connector, Parts, RETENTION};
use crate::clock::Clock;
use crate::execute::Checks;
use crate::handle::Handle;
use crate::journal::{Journal, StoredApproval};
use crate::sandboxes::Sandboxes;
use crate::source::{SIGNATURE_END, Source, SourceOptions, commit_all, init_repository};
use crate::status::{Condition, Status, failure_finding};
use crate::wake::Wake;

const EXAMPLES: &str = "\
Examples:
  tidegate apply --data ../site-data --sandbox              simulated clusters
  tidegate apply --path sites/dev --data /var/lib/tidegate  remembers its own
  tidegate apply --data … --approval approval.yaml          signed elsewhere

It asks nothing: when the policy wants approvals that are not given, it says which and exits 1; `tidegate approve --out` \
writes one. Without --data nothing is \
remembered, so nothing is ever deleted and every run is a first installation.";

/// Brings the clusters to what this folder says, once, in the foreground, without an agent.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    folder: Folder,
    /// Remembers here what was applied. Default: a temporary folder.
    #[arg(long, env = "TIDEGATE_DATA", hide_env_values = true, value_name = "DIR")]
    data: Option<PathBuf>,
    /// A signed approval (with FILE.sig beside it); may be given several times.
    #[arg(long, value_name = "FILE")]
    approval: Vec<PathBuf>,
    /// Runs simulated clusters inside this process for clusters with `access: sandbox`.
    #[arg(long)]
    sandbox: bool,
    #[command(flatten)]
    lookup: ImageLookup,
}

pub(super) async fn run(args: &Args, printer: &Printer) -> Result<Outcome, Failure> {
    let Loaded { snapshot, .. } = load(&args.folder, printer).await?;
    let temporary = tempfile::tempdir().map_err(because)?;
    let data = args.data.as_deref().unwrap_or(temporary.path());
    asking::refuse_running(data, printer).await?;
    super::agent::make_private(data)?;
    let journal = Journal::open(data).await?;
    let repository = data.join("applied");
    commit(&snapshot, &repository)?;
    let options = SourceOptions {
        folder: snapshot.folder.clone(),
        ..SourceOptions::new(repository.display().to_string(), data.join("applied.git"))
    };
    let nothing: Connector = Arc::new(|_, _| None);
    let sandboxes = Sandboxes::in_folder(data);
    let parts = Parts {
        source: Source::open(options)?,
        data: data.to_owned(),
        journal,
        dns: None,
        clock: Clock::system(),
        interval: Duration::from_secs(5),
        connector: if args.sandbox { sandboxes.connector() } else { nothing },
        checks: Checks::Asked,
        images: args.lookup.images()?,
        retention: RETENTION,
    };
    let (agent, handle) = Agent::open(parts).await.map_err(because)?;
    let running = tokio::spawn(agent.run());
    let outcome = follow(handle.clone(), &args.approval, printer).await;
    handle.wake(Wake::Shutdown);
    running.await.map_err(because)?.map_err(because)?;
    outcome
}

/// Puts the files of a snapshot into a repository of our own, on top of those of the last time: so that what is applied has
/// a history, whether the folder is committed or not.
fn commit(snapshot: &Snapshot, folder: &Path) -> Result<(), Failure> {
    let unwritable = |path: &Path| {
        let path = path.display().to_string();
        move |error: std::io::Error| {
            let finding = Finding::error("COMMAND/FILE_UNWRITABLE").with("path", path);
            Failure::from(finding.with("reason", error))
        }
    };
    std::fs::create_dir_all(folder).map_err(unwritable(folder))?;
    init_repository(folder)?;
    for entry in std::fs::read_dir(folder).map_err(unwritable(folder))?.flatten() {
        let path = entry.path();
        if entry.file_name() == ".git" {
            continue;
        }
        let removed = if path.is_dir() {
            std::fs::remove_dir_all(&path)
        } else {
            std::fs::remove_file(&path)
        };
        removed.map_err(unwritable(&path))?;
    }
    for (name, content) in &snapshot.files {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(unwritable(parent))?;
        }
        std::fs::write(&path, content).map_err(unwritable(&path))?;
    }
    let revision = &snapshot.revision;
    let by = Identity::new(&revision.author.name, &revision.author.email);
    let message = format!("apply {}", revision.short());
    commit_all(folder, &message, &by, Timestamp::now())?;
    Ok(())
}

/// Tells what happens until there is nothing more to do, or nothing that can be done without a person.
async fn follow(
    mut handle: Handle,
    approvals: &[PathBuf],
    printer: &Printer,
) -> Result<Outcome, Failure> {
    let mut told: BTreeSet<String> = BTreeSet::new();
    let mut is_handed_in = false;
    loop {
        let status = handle.changed().await;
        tell(&status, &mut told, printer);
        match status.condition {
            Condition::Starting | Condition::Releasing => {}
            Condition::Settled => {
                end(&status, printer);
                return Ok(Outcome::Done);
            }
            Condition::Waiting if !is_handed_in && !approvals.is_empty() => {
                is_handed_in = true;
                for path in approvals {
                    handle.approve(read(path)?).await?;
                }
            }
            // Time alone opens it, soon: a bake, the next round.
            Condition::Waiting
                if status.plan.as_ref().is_some_and(|plan| plan.waits.is_empty()) => {}
            Condition::Waiting
            | Condition::NeedsPerson
            | Condition::Refused
            | Condition::Unreachable => {
                let findings = reasons(&status);
                end(&status, printer);
                printer.complain(&findings, &Sources::default());
                return Ok(Outcome::Refused);
            }
        }
    }
}

fn read(path: &Path) -> Result<StoredApproval, Failure> {
    let text = |path: &Path| {
        std::fs::read_to_string(path).map_err(|error| {
            let finding = Finding::error("COMMAND/FILE_UNREADABLE").with("path", path.display());
            Failure::from(finding.with("reason", error))
        })
    };
    let signature = PathBuf::from(format!("{}{SIGNATURE_END}", path.display()));
    let (document, _) = crate::approve::parse(&path.display().to_string(), &text(path)?)?;
    Ok(StoredApproval {
        path: format!("{}.yaml", document.metadata.name),
        document: text(path)?,
        signature: text(&signature)?,
    })
}

/// Why it does not go on.
fn reasons(status: &Status) -> Vec<Finding> {
    let mut findings: Vec<Finding> = status.source.problem.iter().cloned().collect();
    findings.extend(status.freezes.iter().cloned());
    findings.extend(status.findings.iter().cloned());
    if let Some(plan) = &status.plan {
        findings.extend(plan.findings.iter().cloned());
        findings.extend(plan.waits.iter().cloned());
    }
    if let Some(release) = &status.release {
        findings.extend(release.failures.iter().map(|it| failure_finding(&it.failure)));
        findings.extend(release.waits.iter().cloned());
    }
    findings.extend(status.cluster_gaps());
    findings.sort();
    findings.dedup();
    findings
}

/// What is new, once.
fn tell(status: &Status, told: &mut BTreeSet<String>, printer: &Printer) {
    if printer.format == Format::Json {
        return;
    }
    let mut say = |text: String| {
        if told.insert(text.clone()) {
            printer.line(text);
        }
    };
    if let Some(plan) = &status.plan {
        say(format!("{}  {}", printer.say("plan", "计划"), plan.id));
        for line in tasks(&plan.tasks, printer) {
            say(format!("  {line}"));
        }
    }
    if let Some(release) = &status.release {
        let head = printer.say("release", "发布");
        say(format!("{head}  {}  {}/{}", release.row.id, release.done, release.steps));
    }
}

fn end(status: &Status, printer: &Printer) {
    let (word, _) = condition(status.condition, printer);
    if printer.is_json() {
        printer.json(status);
        return;
    }
    let last = status.releases.first();
    let release = last.map(|release| format!("  {}", release.id)).unwrap_or_default();
    printer.line(format!("{}{release}  {word}", status.site));
}
