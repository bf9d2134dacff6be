//! `diff`: what a folder would change in the live clusters.

use tidegate_core::show;

use super::failure::{Failure, Outcome};
use super::plan::COMMENT;
use super::preview::{Before, Folder, ImageLookup, preview};
use super::printer::{Format, Printer};
use super::report::Sources;

const EXAMPLES: &str = "\
Examples:
  tidegate diff --data ../site-agent            this folder against what runs
  tidegate diff --path sites/hangzhou --full    every field
  tidegate diff --data ../site-agent --foreign  also what others have set
  tidegate diff --format markdown               a comment for the merge request
  tidegate diff --format html > diff.html       one page with every field

Exit code 0: no difference. 2: there are differences. 1: the documents are refused.";

/// Shows what this folder would change in the live clusters. Changes nothing.
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
    /// Also the fields that others have set on the same objects: who and when. They are no difference.
    #[arg(long)]
    foreign: bool,
}

pub(super) async fn run(args: &Args, printer: &Printer) -> Result<Outcome, Failure> {
    let mut preview = preview(&args.folder, &args.before, &args.lookup, printer).await?;
    let changes = &mut preview.plan.content.changes;
    if args.foreign {
        changes.foreign = std::mem::take(&mut preview.foreign);
    }
    let changes = &*changes;
    match printer.format {
        Format::Json => printer.json(changes),
        Format::Text | Format::Csv => {
            let style = show::Style { is_full: args.full, ..printer.style() };
            printer.text(&show::changes_text(changes, style));
        }
        Format::Markdown => {
            printer.text(&show::changes_markdown(changes, printer.lang, COMMENT));
        }
        Format::Html => printer.text(&show::changes_html(changes, printer.lang)),
    }
    printer.complain(&preview.report.findings, &Sources::default());
    Ok(if changes.is_empty() { Outcome::Done } else { Outcome::Differences })
}
