//! `schema`: JSON Schemas of the documents, for editors.

use std::path::{Path, PathBuf};

use tidegate_schema::finding::Finding;
use tidegate_schema::{Kind, json_schema};

use super::failure::{Failure, Outcome, usage};
use super::output::{Kinds, Written};
use super::printer::Printer;

const EXAMPLES: &str = "\
Examples:
  tidegate schema                    the kinds of documents
  tidegate schema Solution           the JSON Schema of one kind
  tidegate schema --out schema       all of them as files

Editors find the schema of a document by its first line: `# yaml-language-server: $schema=FILE`.";

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
        if printer.is_json() {
            let files = written.iter().map(|path| path.display().to_string()).collect();
            printer.json(&Written { files });
            return Ok(Outcome::Done);
        }
        for path in written {
            printer.line(path.display());
        }
        return Ok(Outcome::Done);
    }
    let Some(name) = &args.kind else {
        let names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        if printer.is_json() {
            printer.json(&Kinds { kinds: names });
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
    printer.foreign_json(&json_schema::of(*kind));
    Ok(Outcome::Done)
}

/// Writes the schema of each kind, `solution.schema.json`, and the one of any document.
pub(super) fn write_all(folder: &Path, written: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let unwritable = |error: std::io::Error| -> Failure {
        let finding = Finding::error("COMMAND/FILE_UNWRITABLE").with("path", folder.display());
        finding.with("reason", error).into()
    };
    std::fs::create_dir_all(folder).map_err(unwritable)?;
    let own = Kind::ALL.iter().map(|kind| (json_schema::file_name(*kind), json_schema::of(*kind)));
    let any = ("document.schema.json".to_owned(), json_schema::combined());
    for (name, schema) in own.chain([any]) {
        let path = folder.join(name);
        let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
        text.push('\n');
        std::fs::write(&path, text).map_err(unwritable)?;
        written.push(path);
    }
    Ok(())
}
