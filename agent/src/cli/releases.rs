//! `releases`: the list, one over time, and commands to the one under way.

mod list;
mod log;
mod metrics;
mod show;

use clap::Subcommand;
use jiff::Timestamp;
use owo_colors::OwoColorize as _;
use tidegate_core::release::Command;

use super::asking::{Asking, Who};
use super::failure::{Failure, Outcome, because, read};
use super::output::{Recorded, ReleaseShown};
use super::printer::Printer;

const EXAMPLES: &str = "\
Examples:
  tidegate releases list --data ../site-agent
  tidegate releases list --product iam --since 30d --phase rolledBack
  tidegate releases metrics --since 90d --format csv
  tidegate releases show r12 --data ../site-agent
  tidegate releases log r12 3 --data ../site-agent    what its third test wrote
  tidegate releases confirm --data ../site-agent    it looks right: go on
  tidegate releases rollback --reason 'login fails' --data ../site-agent
  tidegate releases skip all/room-a/iam/iamcore --reason CHG-1018

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
        /// Id of the step. Default: all that failed.
        step: Option<String>,
        #[command(flatten)]
        target: Target,
    },
    /// Counts a failed step as done: a waiver, which stays in the record.
    Skip {
        /// Id of the step.
        step: String,
        /// Why, for the record.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        target: Target,
    },
    /// Takes back what this release changed.
    Rollback {
        /// Only this product, and what is not done yet. Default: everything.
        #[arg(long)]
        product: Option<String>,
        /// Why, for the record.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        target: Target,
    },
    /// Ends the release and leaves everything as it is.
    Cancel {
        /// Why, for the record.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        target: Target,
    },
}

pub(super) async fn run(args: &Args, printer: &Printer) -> Result<Outcome, Failure> {
    let (command, target) = match &args.what {
        What::List { limit, which, asking } => {
            return list::run(which, *limit, asking, printer).await;
        }
        What::Metrics { which, asking } => return metrics::run(which, asking, printer).await,
        What::Show { id, events, asking } => {
            let path = format!("/api/v1/releases/{id}");
            let found: ReleaseShown = asking.client(printer)?.get(&path).await?;
            if printer.is_json() {
                printer.json(&found);
            } else {
                show::show(&found, *events, printer);
            }
            return Ok(Outcome::Done);
        }
        What::Log { id, run, asking } => return log::run(id, *run, asking, printer).await,
        What::Confirm { step, target } => (Command::Confirm { step: step.clone() }, target),
        What::Pause { reason, target } => (Command::Pause { reason: reason.clone() }, target),
        What::Resume { target } => (Command::Resume, target),
        What::Retry { step, target } => (Command::Retry { step: step.clone() }, target),
        What::Skip { step, reason, target } => {
            (Command::Skip { step: step.clone(), reason: reason.clone() }, target)
        }
        What::Rollback { product, reason, target } => {
            (Command::Rollback { product: product.clone(), reason: reason.clone() }, target)
        }
        What::Cancel { reason, target } => (Command::Cancel { reason: reason.clone() }, target),
    };
    let mut body = serde_json::to_value(&command).map_err(because)?;
    if let Some(fields) = body.as_object_mut() {
        fields.insert("by".to_owned(), target.who.name().into());
    }
    let release = target.release.as_deref().unwrap_or("current");
    let path = format!("/api/v1/releases/{release}/commands");
    let answer = target.asking.client(printer)?.post(&path, &body).await?;
    let recorded: Recorded = read(answer)?;
    if printer.is_json() {
        printer.json(&recorded);
    } else {
        let id = &recorded.release;
        let done = printer.say("recorded", "已记录");
        printer.line(format!("{} {id}  {done}", "✓".green()));
    }
    Ok(Outcome::Done)
}

/// The time of day by the clock of whoever reads this.
fn clock(at: Timestamp, printer: &Printer) -> String {
    printer.local(at).strftime("%T").to_string()
}
