//! `releases`: the list, one over time, and commands to the one under way.

mod list;
mod log;
mod metrics;
mod show;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use jiff::Timestamp;
use owo_colors::OwoColorize as _;
use tidegate_core::release::{Command, Part};
use tidegate_schema::approval::Waiver;
use tidegate_schema::finding::Finding;

use super::approve;
use super::asking::{Asking, Who};
use super::failure::{Failure, Outcome, because, read};
use super::output::ReleaseShown;
use super::printer::Printer;
use crate::handle::Recorded;
use crate::status::Status;

const EXAMPLES: &str = "\
Examples:
  tidegate releases list --data ../site-agent
  tidegate releases list --product iam --since 30d --phase rolledBack
  tidegate releases metrics --since 90d --format csv
  tidegate releases show r12 --data ../site-agent
  tidegate releases log r12 3 --data ../site-agent    what its third test wrote
  tidegate releases confirm --data ../site-agent    it looks right: go on
  tidegate releases rollback --reason 'login fails' --data ../site-agent
  tidegate releases cancel --app iam/report --reason CHG-1019
  tidegate releases skip all/room-a/iam/web --reason INC-7 --key id --as li-na

Commands without a release's id go to the one under way. Set TIDEGATE_DATA to leave out --data.";

/// Lists releases, shows one, and steers the one under way.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

/// Which release, and whose agent.
#[derive(Debug, clap::Args)]
struct Target {
    /// The release. Default: the one under way.
    #[arg(long, value_name = "ID")]
    release: Option<String>,
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Releases, newest first.
    List {
        /// How many.
        #[arg(long, default_value_t = 20)]
        limit: u32,
        #[command(flatten)]
        which: list::Which,
        #[command(flatten)]
        asking: Asking,
    },
    /// How delivery goes: each release measured (`--format csv`, `--format json`), and what is known as DORA's four keys.
    Metrics {
        #[command(flatten)]
        which: list::Which,
        #[command(flatten)]
        asking: Asking,
    },
    /// One release: what it was about, its steps and groups over time, who decided what, and what failed.
    Show {
        /// Its id, such as `r12`.
        id: String,
        /// The pods of each group, too.
        #[arg(long)]
        pods: bool,
        /// Everything that was recorded, too.
        #[arg(long)]
        events: bool,
        #[command(flatten)]
        asking: Asking,
    },
    /// Tasks and tests of a release: each try, how its containers ended, and what they wrote.
    Log {
        /// Id of the release, such as `r12`.
        id: String,
        /// Number of the try, as `releases show` lists them. Default: all.
        run: Option<u32>,
        #[command(flatten)]
        asking: Asking,
    },
    /// Confirms the group or wave that waits for it.
    Confirm {
        /// Id of the step, when several wait.
        step: Option<String>,
        #[command(flatten)]
        target: Target,
    },
    /// Opens nothing new until resumed.
    Pause {
        /// Why, for the record.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        target: Target,
    },
    /// Goes on.
    Resume {
        #[command(flatten)]
        target: Target,
    },
    /// Tries what failed again.
    Retry {
        #[command(flatten)]
        within: Within,
        #[command(flatten)]
        target: Target,
    },
    /// Counts what failed as done: a waiver, which stays in the record. With `--group` only that group counts as done, and
    /// the step goes on with the next. Where the site has persons, somebody signs it (`--key`) whose role has `delivery.skip`
    /// there.
    Skip {
        #[command(flatten)]
        within: Within,
        /// Why, for the record.
        #[arg(long)]
        reason: String,
        /// The private key to sign with, or the public one of a key in an SSH agent. For one step, by `--as`.
        #[arg(
            long,
            value_name = "FILE",
            env = "TIDEGATE_KEY",
            hide_env_values = true,
            requires_all = ["step", "person"],
            conflicts_with_all = ["product", "app"]
        )]
        key: Option<PathBuf>,
        #[command(flatten)]
        target: Target,
    },
    /// Takes back what this release changed: everything, or a part and whatever is not done yet. A group goes back with those
    /// of its step before it.
    Rollback {
        #[command(flatten)]
        within: Within,
        /// Why, for the record.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        target: Target,
    },
    /// Gives up a part with what counts on it, leaves it as it is and goes on with the rest; or ends the release at once.
    Cancel {
        #[command(flatten)]
        within: Within,
        /// Why, for the record.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        target: Target,
    },
}

/// Which part of the release. Default: all of it.
#[derive(Debug, clap::Args)]
struct Within {
    /// Id of a step: an app in one cluster, most often.
    step: Option<String>,
    /// Only this product, in all its clusters and waves.
    #[arg(long)]
    product: Option<String>,
    /// Only this app with its product, `iam/iamcore`, in all its clusters and waves.
    #[arg(long)]
    app: Option<String>,
    /// Only if this group of the step is the one that is open: 1, 2, 3 …
    #[arg(long, value_name = "NUMBER", requires = "step")]
    group: Option<usize>,
}

impl Within {
    fn part(&self) -> Part {
        let Self { step, product, app, group } = self;
        let (step, product, app) = (step.clone(), product.clone(), app.clone());
        Part { product, app, step, group: *group }
    }
}

pub(super) async fn run(args: &Args, printer: &Printer) -> Result<Outcome, Failure> {
    let (command, target) = match &args.what {
        What::List { limit, which, asking } => {
            return list::run(which, *limit, asking, printer).await;
        }
        What::Metrics { which, asking } => return metrics::run(which, asking, printer).await,
        What::Show { id, pods, events, asking } => {
            let path = format!("/api/v1/releases/{id}");
            let found: ReleaseShown = asking.client(printer)?.get(&path).await?;
            if printer.is_json() {
                printer.json(&found);
            } else {
                show::show(&found, (*pods, *events), printer);
            }
            return Ok(Outcome::Done);
        }
        What::Log { id, run, asking } => return log::run(id, *run, asking, printer).await,
        What::Confirm { step, target } => (Command::Confirm { step: step.clone() }, target),
        What::Pause { reason, target } => (Command::Pause { reason: reason.clone() }, target),
        What::Resume { target } => (Command::Resume, target),
        What::Retry { within, target } => (Command::Retry { part: within.part() }, target),
        What::Skip { within, reason, key: Some(key), target } => {
            return skip(within, reason, key, target, printer).await;
        }
        What::Skip { within, reason, key: None, target } => {
            (Command::Skip { part: within.part(), reason: reason.clone() }, target)
        }
        What::Rollback { within, reason, target } => {
            (Command::Rollback { part: within.part(), reason: reason.clone() }, target)
        }
        What::Cancel { within, reason, target } => {
            (Command::Cancel { part: within.part(), reason: reason.clone() }, target)
        }
    };
    let mut body = serde_json::to_value(&command).map_err(because)?;
    if let Some(fields) = body.as_object_mut() {
        fields.insert("by".to_owned(), target.who.name().into());
    }
    let release = target.release.as_deref().unwrap_or("current");
    let path = format!("/api/v1/releases/{release}/commands");
    let answer = target.asking.client(printer)?.post(&path, &body).await?;
    Ok(tell(&read(answer)?, printer))
}

/// A signed waiver instead of a command.
async fn skip(
    within: &Within,
    reason: &str,
    key: &Path,
    target: &Target,
    printer: &Printer,
) -> Result<Outcome, Failure> {
    let client = target.asking.client(printer)?;
    let release = if let Some(release) = &target.release {
        release.clone()
    } else {
        let status: Status = client.get("/api/v1/status").await?;
        let none = || Finding::error("RELEASE/NONE_UNDER_WAY");
        status.release.ok_or_else(none)?.row.id
    };
    let step = within.step.clone().unwrap_or_default();
    let waiver = Waiver { release: release.clone(), step: step.clone(), group: within.group };
    approve::waive(&client, waiver, (&target.who.name(), key), reason, printer).await?;
    Ok(tell(&Recorded { release, steps: vec![step] }, printer))
}

fn tell(recorded: &Recorded, printer: &Printer) -> Outcome {
    if printer.is_json() {
        printer.json(recorded);
    } else {
        let id = &recorded.release;
        let done = printer.say("recorded", "已记录");
        printer.line(format!("{} {id}  {done}", "✓".green()));
        // One step was named by whoever asked; with more, others go along.
        for step in recorded.steps.iter().filter(|_| recorded.steps.len() > 1) {
            printer.line(format!("  {step}"));
        }
    }
    Outcome::Done
}

/// The time of day by the clock of whoever reads this.
fn clock(at: Timestamp, printer: &Printer) -> String {
    printer.local(at).strftime("%T").to_string()
}
