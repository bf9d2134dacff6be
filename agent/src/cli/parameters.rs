//! `parameters`: every value with where it comes from.

use tidegate_core::parameter::{ParameterRow, explain};

use super::failure::{Failure, Outcome};
use super::output::ParameterList;
use super::preview::{Folder, load};
use super::printer::{Format, Printer, table};

const EXAMPLES: &str = "\
Examples:
  tidegate parameters                    every parameter of every product
  tidegate parameters iam                one product
  tidegate parameters iam heap           one parameter: its value in each place";

/// Shows each parameter with its value, the layer and the line that give it, and what it would be without.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The product. Default: all.
    product: Option<String>,
    /// The parameter. Default: all.
    name: Option<String>,
    #[command(flatten)]
    folder: Folder,
}

pub(super) async fn run(args: &Args, printer: &Printer) -> Result<Outcome, Failure> {
    let loaded = load(&args.folder, printer).await?;
    let mut rows = explain(&loaded.site);
    rows.retain(|row| {
        args.product.as_ref().is_none_or(|product| &row.product == product)
            && args.name.as_ref().is_none_or(|name| &row.name == name)
    });
    match printer.format {
        Format::Json => printer.json(&ParameterList { parameters: rows }),
        Format::Text | Format::Html | Format::Csv => {
            for line in table(&cells(&rows, printer)) {
                printer.line(line);
            }
        }
        Format::Markdown => {
            let mut cells = cells(&rows, printer).into_iter();
            let head = cells.next().unwrap_or_default();
            printer.line(format!("| {} |", head.join(" | ")));
            printer.line(format!("|{}", " --- |".repeat(head.len())));
            for row in cells {
                let row: Vec<_> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
                printer.line(format!("| {} |", row.join(" | ")));
            }
        }
    }
    Ok(Outcome::Done)
}

fn cells(rows: &[ParameterRow], printer: &Printer) -> Vec<Vec<String>> {
    let heads = [
        printer.say("PARAMETER", "参数"),
        printer.say("WHERE", "范围"),
        printer.say("VALUE", "取值"),
        printer.say("LAYER", "层"),
        printer.say("GIVEN AT", "来源"),
        printer.say("WITHOUT IT", "若无此层"),
    ];
    let mut cells = vec![heads.map(ToOwned::to_owned).to_vec()];
    cells.extend(rows.iter().map(|row| {
        let place = [row.cluster.as_deref(), row.app.as_deref()];
        let place: Vec<_> = place.into_iter().flatten().collect();
        let without = match (&row.without, row.without_layer) {
            (Some(value), Some(layer)) => format!("{value} ({})", word(layer)),
            _ => String::new(),
        };
        vec![
            format!("{}.{}", row.product, row.name),
            place.join("/"),
            row.value.clone(),
            word(row.layer),
            row.place.to_string(),
            without,
        ]
    }));
    cells
}

fn word(value: impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        _ => String::new(),
    }
}
