//! `groups`: how pods would be split into groups.

use tidegate_core::group::{Strategy, groups, remarks};

use clap::ValueEnum;

use super::failure::{Failure, Outcome};
use super::output::{Split, SplitGroup};
use super::printer::{Format, Printer, table};
use super::report::Sources;

const EXAMPLES: &str = "\
Examples:
  tidegate groups 10                                   half, then the rest
  tidegate groups 100 --strategy custom                a beta pod, then more
  tidegate groups 10 --strategy custom --shares 40,60  a beta pod, then these
  tidegate groups 100 --strategy custom --count 8";

/// Shows into which groups the pods of an app are split, before a policy says so.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// How many pods.
    replicas: u32,
    /// The strategy.
    #[arg(long, value_enum, default_value_t)]
    strategy: Named,
    /// With `custom`: how many groups.
    #[arg(long)]
    count: Option<u32>,
    /// With `custom`: percents of the groups after the first.
    #[arg(long, value_delimiter = ',', value_name = "PERCENT")]
    shares: Vec<u32>,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Named {
    #[default]
    Recommended,
    One,
    Two,
    EachHost,
    Custom,
}

pub(super) fn run(args: &Args, printer: &Printer) -> Result<Outcome, Failure> {
    let is_edited = args.count.is_some() || !args.shares.is_empty();
    let strategy = match args.strategy {
        // Numbers alone can only be meant for `custom`.
        Named::Recommended if !is_edited => Strategy::Recommended,
        Named::One if !is_edited => Strategy::One,
        Named::Two if !is_edited => Strategy::Two,
        Named::EachHost if !is_edited => Strategy::EachHost,
        Named::Recommended | Named::One | Named::Two | Named::EachHost | Named::Custom => {
            Strategy::Custom { count: args.count, shares: args.shares.clone() }
        }
    };
    let sizes = groups(args.replicas, &strategy)?;
    let mut total = 0;
    let rows: Vec<(usize, u32, u32)> = sizes
        .iter()
        .enumerate()
        .map(|(index, size)| {
            total += size;
            (index + 1, *size, total)
        })
        .collect();
    if printer.format == Format::Json {
        let group = |(group, pods, cumulative)| SplitGroup { group, pods, cumulative };
        let groups = rows.into_iter().map(group).collect();
        printer.json(&Split { replicas: args.replicas, groups });
    } else {
        let heads = ["GROUP", "PODS", "NEW AT MOST", "SHARE"].map(ToOwned::to_owned).to_vec();
        let mut cells = vec![heads];
        cells.extend(rows.iter().map(|(group, pods, cumulative)| {
            let share = u64::from(*cumulative) * 100 / u64::from(args.replicas.max(1));
            let bar = "▇".repeat(usize::try_from(share / 5).unwrap_or_default());
            vec![
                group.to_string(),
                pods.to_string(),
                cumulative.to_string(),
                format!("{share:>3} % {bar}"),
            ]
        }));
        for line in table(&cells) {
            printer.line(line);
        }
    }
    printer.complain(&remarks(&sizes), &Sources::default());
    Ok(Outcome::Done)
}
