//! `compare`: what has changed between two plans.

use serde::Deserialize;
use tidegate_core::digest::Digest;
use tidegate_core::plan::{Plan, PlanReport};
use tidegate_core::show;

use super::asking::Asking;
use super::failure::{Failure, Outcome};
use super::output::PlansCompared;
use super::printer::Printer;
use crate::client::Client;

const EXAMPLES: &str = "\
Examples:
  tidegate compare 9f3c0a7712de               with the plan that waits
  tidegate compare 9f3c0a7712de a01bb2c3d4e5  any two of the agent

Exit code 0: it is the same plan. 2: something differs.";

/// Shows what has changed between two plans of an agent, for somebody who has read the first.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The plan that was read: its digest, or the beginning of it.
    before: String,
    /// The other plan. Default: the one that waits, or is carried out.
    after: Option<String>,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Deserialize)]
struct Made {
    id: Digest,
    plan: Plan,
    report: PlanReport,
}

pub(super) async fn run(args: &Args, printer: &Printer) -> Result<Outcome, Failure> {
    let client = args.asking.client(printer)?;
    let before = made(&client, &args.before).await?;
    let after = made(&client, args.after.as_deref().unwrap_or("current")).await?;
    let (old, new) = ((&before.plan, &before.report), (&after.plan, &after.report));
    let text = show::plans_compared(old, new, printer.style());
    if printer.is_json() {
        printer.json(&PlansCompared { before: before.id.clone(), after: after.id.clone(), text });
    } else {
        printer.text(&text);
    }
    Ok(if before.id == after.id { Outcome::Done } else { Outcome::Differences })
}

async fn made(client: &Client, plan: &str) -> Result<Made, Failure> {
    Ok(client.get(&format!("/api/v1/plans/{plan}")).await?)
}
