//! The command line: what can be typed, and one file for each command.

mod adopt;
mod agent;
mod apply;
mod approve;
mod asking;
mod bars;
mod baseline;
mod compare;
mod completions;
mod demo;
mod diff;
mod drift;
mod explain;
mod failure;
mod freeze;
mod groups;
mod init;
mod orphans;
mod output;
mod parameters;
mod plan;
mod preview;
mod printer;
mod reference;
mod rehearse;
mod releases;
mod render;
mod report;
mod sandbox;
mod schema;
mod status;
mod validate;
mod why;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tidegate_schema::finding::{Finding, Lang};

use failure::{Failure, Outcome, USAGE, usage};
use printer::{Format, Printer};
use report::Sources;

pub use output::{page as output_page, schema as output_schema};
pub use printer::Terminal;
pub use reference::reference;

const EXAMPLES: &str = "\
Examples:
  tidegate demo                    see the whole thing on simulated clusters
  tidegate init site && cd site    lay out a new site
  tidegate validate                find every problem in it
  tidegate agent --repo . --data ../site-agent --sandbox
                                   run it on simulated clusters
  tidegate status                  how the site stands
  tidegate why                     what it waits for, and who can help

Exit codes: 0 done or no difference; 1 refused or failed; 2 differences exist (diff, plan, drift, baseline diff); \
64 usage.
Variables: TIDEGATE_LANG, TIDEGATE_AGENT, TIDEGATE_DATA, TIDEGATE_TOKEN; NO_COLOR turns colours off.";

/// Turns a git repository into a running private cloud: previewed, approved, applied wave by wave, and recorded.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, after_help = EXAMPLES, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    /// The form of the output.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORM")]
    format: Format,
    /// The language of texts for people: en or zh. Default: `TIDEGATE_LANG`, then the locale.
    // A text and no `Lang`: `agent` has a setting of the same name.
    #[arg(long, global = true, value_name = "LANG", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    lang: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Args),
    Schema(schema::Args),
    Validate(validate::Args),
    Parameters(parameters::Args),
    Render(render::Args),
    Diff(diff::Args),
    Plan(plan::Args),
    Compare(compare::Args),
    Rehearse(rehearse::Args),
    Groups(groups::Args),
    Approve(approve::ApproveArgs),
    Reject(approve::RejectArgs),
    Apply(apply::Args),
    Agent(Box<agent::Args>),
    Status(status::Args),
    Orphans(orphans::Args),
    Why(why::Args),
    Releases(releases::Args),
    Baseline(baseline::Args),
    Drift(drift::Args),
    Adopt(adopt::Args),
    Freeze(freeze::FreezeArgs),
    Unfreeze(freeze::UnfreezeArgs),
    Explain(explain::Args),
    Sandbox(sandbox::Args),
    Demo(demo::Args),
    Completions(completions::Args),
}

impl Command {
    async fn run(self, printer: &Printer) -> Result<Outcome, Failure> {
        match self {
            Self::Init(args) => init::run(&args, printer),
            Self::Schema(args) => schema::run(&args, printer),
            Self::Validate(args) => validate::run(&args, printer).await,
            Self::Parameters(args) => parameters::run(&args, printer).await,
            Self::Render(args) => render::run(&args, printer).await,
            Self::Diff(args) => diff::run(&args, printer).await,
            Self::Plan(args) => plan::run(&args, printer).await,
            Self::Compare(args) => compare::run(&args, printer).await,
            Self::Rehearse(args) => rehearse::run(&args, printer).await,
            Self::Groups(args) => groups::run(&args, printer),
            Self::Approve(args) => approve::approve(&args, printer).await,
            Self::Reject(args) => approve::reject(&args, printer).await,
            Self::Apply(args) => apply::run(&args, printer).await,
            Self::Agent(args) => Box::pin(agent::run(&args, printer)).await,
            Self::Status(args) => status::run(&args, printer).await,
            Self::Orphans(args) => orphans::run(&args, printer).await,
            Self::Why(args) => why::run(&args, printer).await,
            Self::Releases(args) => releases::run(&args, printer).await,
            Self::Baseline(args) => baseline::run(&args, printer).await,
            Self::Drift(args) => drift::run(&args, printer).await,
            Self::Adopt(args) => adopt::run(&args, printer).await,
            Self::Freeze(args) => freeze::freeze(&args, printer).await,
            Self::Unfreeze(args) => freeze::unfreeze(&args, printer).await,
            Self::Explain(args) => explain::run(&args, printer),
            Self::Sandbox(args) => sandbox::run(&args, printer).await,
            Self::Demo(args) => demo::run(args, printer).await,
            Self::Completions(args) => Ok(completions::run(&args, printer)),
        }
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    ExitCode::from(run(std::env::args_os()))
}

/// Runs a command line of this process; gives the exit code.
fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let (cli, printer) = match read(arguments, &Terminal::of_this_process()) {
        Ok(read) => read,
        Err(code) => return code,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&failure::because(error), &printer),
    };
    let code = runtime.block_on(carry_out(cli, &printer));
    // What still runs in the background, such as a git fetch that hangs, must not keep the command.
    runtime.shutdown_background();
    code
}

/// Runs a command line, program name first, on the runtime that is there, as if it had been typed at this terminal; gives
/// the exit code.
pub async fn typed(arguments: impl IntoIterator<Item = OsString>, terminal: &Terminal) -> u8 {
    match read(arguments, terminal) {
        Ok((cli, printer)) => carry_out(cli, &printer).await,
        Err(code) => code,
    }
}

/// What was typed, and how to answer; the exit code when that is all.
fn read(
    arguments: impl IntoIterator<Item = OsString>,
    terminal: &Terminal,
) -> Result<(Cli, Printer), u8> {
    let cli = Cli::try_parse_from(arguments).map_err(|error| {
        terminal.show(&error);
        if error.use_stderr() { USAGE } else { 0 }
    })?;
    match language(cli.lang.as_deref()) {
        Ok(lang) => {
            let printer = Printer::new(cli.format, lang, terminal);
            Ok((cli, printer))
        }
        Err(failure) => Err(complain(&failure, &Printer::new(cli.format, Lang::En, terminal))),
    }
}

async fn carry_out(cli: Cli, printer: &Printer) -> u8 {
    match Box::pin(cli.command.run(printer)).await {
        Ok(outcome) => outcome.code(),
        Err(failure) => complain(&failure, printer),
    }
}

fn complain(failure: &Failure, printer: &Printer) -> u8 {
    printer.complain(&failure.findings, &Sources::default());
    failure.code
}

/// `--lang`, then `TIDEGATE_LANG`, then the locale (locale(7)).
fn language(given: Option<&str>) -> Result<Lang, Failure> {
    let variable = std::env::var("TIDEGATE_LANG").ok().filter(|text| !text.is_empty());
    if let Some(text) = given.map(str::to_owned).or(variable) {
        let wrong = || usage(Finding::error("COMMAND/LANG").with("given", &text));
        return text.parse().map_err(|_| wrong());
    }
    let locale = ["LC_ALL", "LC_MESSAGES", "LANG"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    Ok(locale.map_or(Lang::En, |locale| Lang::from_locale(&locale)))
}

#[cfg(test)]
mod tests;
