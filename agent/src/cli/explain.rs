//! `explain`: the long form of a finding's code.

use owo_colors::OwoColorize as _;
use tidegate_schema::finding::Finding;
use tidegate_schema::{catalogue, suggest};

use super::failure::{Failure, Outcome, usage};
use super::output::{Code, Codes, Explanation};
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
            printer.json(&Explanation {
                code: entry.code.to_owned(),
                title: entry.title.to_owned(),
                message: entry.message.to_owned(),
                remedy: entry.remedy.to_owned(),
                why: entry.explanation.trim_end().to_owned(),
            });
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
        let finding = match suggest::nearest(&wanted, catalogue::codes()) {
            Some(near) => Finding::error("COMMAND/UNKNOWN_CODE_NEAR").with("near", near),
            None => Finding::error("COMMAND/UNKNOWN_CODE"),
        };
        return Err(usage(finding.with("code", &wanted)));
    }
    let title = |code: &str| catalogue::explain(code, printer.lang).map_or("", |it| it.title);
    if printer.is_json() {
        let code = |it: &&str| Code { code: (*it).to_owned(), title: title(it).to_owned() };
        printer.json(&Codes { codes: codes.iter().map(code).collect() });
        return Ok(Outcome::Done);
    }
    for code in codes {
        printer.line(format!("{code:<36} {}", title(code)));
    }
    Ok(Outcome::Done)
}
