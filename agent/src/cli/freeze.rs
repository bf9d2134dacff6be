//! `freeze` and `unfreeze`: nothing new starts until somebody says so.

use serde_json::json;

use super::asking::{Asking, Who};
use super::failure::{Failure, Outcome, read};
use super::output::Frozen;
use super::printer::Printer;

const FREEZE: &str = "\
Examples:
  tidegate freeze --data ../site-agent --reason 'quarter end'
  tidegate unfreeze --data ../site-agent

A release that is under way lets an open group end, and opens no further wave, step or group.";

const UNFREEZE: &str = "\
Examples:
  tidegate unfreeze --data ../site-agent

Also acknowledges a history that was rewritten: the branch's new head is followed from now on.";

/// Starts nothing until `unfreeze`.
#[derive(Debug, clap::Args)]
#[command(after_help = FREEZE)]
pub(super) struct FreezeArgs {
    /// Why, for the record.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    asking: Asking,
}

/// Lifts a freeze, and acknowledges a rewritten history.
#[derive(Debug, clap::Args)]
#[command(after_help = UNFREEZE)]
pub(super) struct UnfreezeArgs {
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    asking: Asking,
}

pub(super) async fn freeze(args: &FreezeArgs, printer: &Printer) -> Result<Outcome, Failure> {
    let body = json!({"by": args.who.name(), "reason": args.reason});
    let answer = args.asking.client(printer)?.post("/api/v1/freeze", &body).await?;
    if printer.is_json() {
        printer.json(&read::<Frozen>(answer)?);
    } else {
        printer.line(printer.say(
            "Frozen: nothing starts until `tidegate unfreeze`.",
            "已冻结：在 `tidegate unfreeze` 之前不会启动任何变更。",
        ));
    }
    Ok(Outcome::Done)
}

pub(super) async fn unfreeze(args: &UnfreezeArgs, printer: &Printer) -> Result<Outcome, Failure> {
    let body = json!({"by": args.who.name()});
    let answer = args.asking.client(printer)?.post("/api/v1/unfreeze", &body).await?;
    if printer.is_json() {
        printer.json(&read::<Frozen>(answer)?);
    } else {
        printer.line(printer.say("No longer frozen.", "已解除冻结。"));
    }
    Ok(Outcome::Done)
}
