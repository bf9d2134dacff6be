//! `explain`: the long form of a finding's code.

use owo_colors::OwoColorize as _;
use serde_json::json;
use tidegate_schema::finding::Finding;
use tidegate_schema::{catalogue, suggest};

use super::failure::{Failure, Outcome, usage};
use super::printer::{Printer, wrapped};

const EXAMPLES: &str = "\
Examples:
  tidegate explain                          every code
  tidegate explain DOCUMENT/UNKNOWN_KIND    one code
  tidegate explain GROUP                    the codes of a category";

/// Explains a code: what is wrong, why the rule exists, and what to do.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// `CATEGORY/NAME`, or the category. Default: lists all codes.
    code: Option<String>,
}

pub(super) fn run(args: &Args, printer: &Printer) -> Result<Outcome, Failure> {
    let wanted = args.code.clone().unwrap_or_default().to_uppercase();
    if let Some(entry) = catalogue::explain(&wanted, printer.lang) {
        if printer.is_json() {
            printer.json(&json!({
                "code": entry.code, "title": entry.title, "message": entry.message,
                "remedy": entry.remedy, "explanation": entry.explanation,
            }));
            return Ok(Outcome::Done);
        }
        printer.line(format!("{}  {}", entry.code.bold(), entry.title));
        printer.line("");
        for line in wrapped(entry.message, printer.width) {
            printer.line(line);
        }
        printer.line("");
        printer.text(entry.explanation.trim_end());
        printer.line("");
        for line in wrapped(&format!("→ {}", entry.remedy), printer.width) {
            printer.line(line);
        }
        return Ok(Outcome::Done);
    }
    let category = format!("{wanted}/");
    let codes: Vec<&str> = catalogue::codes()
        .filter(|code| wanted.is_empty() || code.starts_with(&category))
        .collect();
    if codes.is_empty() {
        let nearest = suggest::nearest(&wanted, catalogue::codes()).unwrap_or("tidegate explain");
        let finding = Finding::error("COMMAND/UNKNOWN_CODE").with("code", &wanted);
        return Err(usage(finding.with("nearest", nearest)));
    }
    if printer.is_json() {
        printer.json(&json!({"codes": codes}));
        return Ok(Outcome::Done);
    }
    for code in codes {
        let title = catalogue::explain(code, printer.lang).map_or("", |entry| entry.title);
        printer.line(format!("{code:<36} {title}"));
    }
    Ok(Outcome::Done)
}
