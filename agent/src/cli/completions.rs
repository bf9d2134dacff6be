//! `completions`: for shells.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::Cli;
use super::failure::Outcome;
use super::printer::Printer;

const EXAMPLES: &str = "\
Examples:
  source <(tidegate completions bash)
  tidegate completions zsh > ~/.zfunc/_tidegate
  tidegate completions fish > ~/.config/fish/completions/tidegate.fish";

/// Prints completions for a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(args: &Args, printer: &Printer) -> Outcome {
    // Into memory first: the generator gives up loudly on a closed pipe.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tidegate", &mut script);
    printer.text(&String::from_utf8_lossy(&script));
    Outcome::Done
}
