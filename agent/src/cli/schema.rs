//! `schema`: JSON Schemas of the documents, for editors.

use std::path::{Path, PathBuf};

use serde_json::json;
use tidegate_schema::finding::Finding;
use tidegate_schema::{Kind, json_schema};

use super::failure::{Failure, Outcome, usage};
use super::printer::Printer;

const EXAMPLES: &str = "\
Examples:
  tidegate schema                    the kinds of documents
  tidegate schema Solution           the JSON Schema of one kind
  tidegate schema --out schema       all of them as files, for `# yaml-language-server: $schema=`";

/// Prints the JSON Schema of a kind of document, or lists the kinds.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The kind, such as `Solution`. Default: lists all.
    kind: Option<String>,
    /// Writes the schemas of all kinds to this folder instead.
    #[arg(long, value_name = "DIR", conflicts_with = "kind")]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &Args, printer: &Printer) -> Result<Outcome, Failure> {
    if let Some(folder) = &args.out {
        let mut written = Vec::new();
        write_all(folder, &mut written)?;
        for path in written {
            printer.line(path.display());
        }
        return Ok(Outcome::Done);
    }
    let Some(name) = &args.kind else {
        let names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        if printer.is_json() {
            printer.json(&json!({"kinds": names}));
        } else {
            printer.text(&names.join("\n"));
        }
        return Ok(Outcome::Done);
    };
    let found = Kind::ALL.iter().find(|kind| kind.as_str().eq_ignore_ascii_case(name));
    let Some(kind) = found else {
        let names = Kind::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ");
        let finding = Finding::error("COMMAND/UNKNOWN_KIND").with("kind", name);
        return Err(usage(finding.with("kinds", names)));
    };
    printer.json(&json_schema::of(*kind));
    Ok(Outcome::Done)
}

/// Writes the schema of each kind, `solution.schema.json`, and the one of any document.
pub(super) fn write_all(folder: &Path, written: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let unwritable = |error: std::io::Error| -> Failure {
        let finding = Finding::error("COMMAND/FILE_UNWRITABLE").with("path", folder.display());
        finding.with("reason", error).into()
    };
    std::fs::create_dir_all(folder).map_err(unwritable)?;
    for kind in Kind::ALL {
        let path = folder.join(file_name(kind.as_str()));
        let mut text = serde_json::to_string_pretty(&json_schema::of(*kind)).unwrap_or_default();
        text.push('\n');
        std::fs::write(&path, text).map_err(unwritable)?;
        written.push(path);
    }
    Ok(())
}

/// `ProductVersion` is in `product-version.schema.json`.
fn file_name(kind: &str) -> String {
    let mut name = String::new();
    for letter in kind.chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.push(letter.to_ascii_lowercase());
    }
    format!("{name}.schema.json")
}
