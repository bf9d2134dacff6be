//! `drift`: what somebody changed by hand.

use tidegate_core::change::{Change, ChangeSet};
use tidegate_core::show;

use super::asking::Asking;
use super::failure::{Failure, Outcome};
use super::output::Drift;
use super::plan::COMMENT;
use super::printer::{Format, Printer};

const EXAMPLES: &str = "\
Examples:
  tidegate drift --data ../site-agent
  tidegate drift --data ../site-agent --format json

Exit code 0: no drift. 2: there is some.";

/// Shows what differs although nobody declared it: changes by hand, by controllers, by other tools.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    asking: Asking,
}

pub(super) async fn run(args: &Args, printer: &Printer) -> Result<Outcome, Failure> {
    let changes: Vec<Change> = args.asking.client(printer)?.get("/api/v1/drift").await?;
    let is_none = changes.is_empty();
    let set = ChangeSet { changes, ..ChangeSet::default() };
    match printer.format {
        Format::Json => printer.json(&Drift { changes: set.changes }),
        Format::Text | Format::Csv | Format::Markdown if is_none => {
            printer.line(printer.say("No drift.", "没有漂移。"));
        }
        Format::Text | Format::Csv => printer.text(&show::changes_text(&set, printer.style())),
        Format::Markdown => printer.text(&show::changes_markdown(&set, printer.lang, COMMENT)),
        Format::Html => printer.text(&show::changes_html(&set, printer.lang)),
    }
    Ok(if is_none { Outcome::Done } else { Outcome::Differences })
}
