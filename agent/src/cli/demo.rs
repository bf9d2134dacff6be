//! `demo`: the main job on simulated clusters.

use std::path::PathBuf;

use super::failure::{Failure, Outcome, because};
use super::output::Played;
use super::printer::Printer;
use crate::demo;

const EXAMPLES: &str = "\
Examples:
  tidegate demo                  waits for Enter, and shows what to try
  tidegate demo --yes            plays through
  tidegate demo --dir /tmp/demo  keeps everything in a folder";

/// Plays a day of a site on simulated clusters: installation, upgrade, approvals, beta pod, failure, drift.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Plays through without waiting.
    #[arg(long)]
    yes: bool,
    /// Keeps everything in this folder. Default: a temporary one that is removed.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) async fn run(args: Args, printer: &Printer) -> Result<Outcome, Failure> {
    use std::io::IsTerminal as _;

    let is_unattended = args.yes || !std::io::stdin().is_terminal();
    let options = demo::Options { is_unattended, folder: args.dir, is_aside: printer.is_json() };
    let played = demo::run(options).await.map_err(because)?;
    if printer.is_json() {
        printer.json(&Played { releases: played.releases, seconds: played.seconds });
    }
    Ok(Outcome::Done)
}
