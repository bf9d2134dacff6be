//! `plan`: what would be done, in which order, gated by what.

use tidegate_core::show;

use super::failure::{Failure, Outcome};
use super::output::PlanMade;
use super::preview::{Before, Folder, ImageLookup, preview};
use super::printer::{Format, Printer};

/// The most that a comment on a merge request may have, in bytes (GitHub's limit is 65,536 characters).
pub(super) const COMMENT: usize = 60_000;

const EXAMPLES: &str = "\
Examples:
  tidegate plan --data ../site-agent        tasks, waves, steps, groups, digest
  tidegate plan --format markdown           a comment for the merge request
  tidegate plan --format html > plan.html   one page with every field
  tidegate plan --format json | jq .id      the digest that approvals name

Exit code 0: nothing to do. 2: there is a plan. 1: refused.";

/// Makes the plan of this folder against the live clusters, and executes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    folder: Folder,
    #[command(flatten)]
    before: Before,
    #[command(flatten)]
    lookup: ImageLookup,
    /// Every field of created and deleted objects.
    #[arg(long)]
    full: bool,
}

pub(super) async fn run(args: &Args, printer: &Printer) -> Result<Outcome, Failure> {
    let preview = preview(&args.folder, &args.before, &args.lookup, printer).await?;
    let (plan, report) = (&preview.plan, &preview.report);
    match printer.format {
        Format::Json => printer.json(&PlanMade { id: plan.id(), plan, report }),
        Format::Text | Format::Csv => {
            let style = show::Style { is_full: args.full, ..printer.style() };
            printer.text(&show::plan_text(plan, report, style));
        }
        Format::Markdown => {
            printer.text(&show::plan_markdown(plan, report, printer.lang, COMMENT));
        }
        Format::Html => printer.text(&show::plan_html(plan, report, printer.lang)),
    }
    Ok(if report.is_refused() {
        Outcome::Refused
    } else if plan.changes_nothing() {
        Outcome::Done
    } else {
        Outcome::Differences
    })
}
