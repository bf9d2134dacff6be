//! `init`: lays out a new site.

use std::path::{Path, PathBuf};

use include_dir::{Dir, DirEntry, include_dir};
use tidegate_schema::finding::Finding;
use tidegate_schema::scalar::Name;

use super::failure::{Failure, Outcome, usage};
use super::output::LaidOut;
use super::printer::Printer;
use super::schema;

static TEMPLATE: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../site-template");

/// The name that the template carries.
const NAME: &str = "my-site";

const EXAMPLES: &str = "\
Examples:
  tidegate init site                   a site named `site` in the folder `site`
  tidegate init site --name hangzhou   another name than the folder's
  cd site && git init -b main && git add . && git commit -m 'site: begin'
  tidegate validate && tidegate agent --repo . --data ../site-agent --sandbox";

/// Lays out a new site: documents, policies, schemas for editors, and pipelines for merge requests.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The folder; made when it does not exist, refused when it holds anything but `.git`.
    dir: PathBuf,
    /// The site's name. Default: the folder's.
    #[arg(long)]
    name: Option<String>,
}

pub(super) fn run(args: &Args, printer: &Printer) -> Result<Outcome, Failure> {
    let folder_name = || {
        let full = std::path::absolute(&args.dir).ok()?;
        Some(full.file_name()?.to_str()?.to_owned())
    };
    let name = args.name.clone().or_else(folder_name).unwrap_or_default();
    if args.name.is_some() && name.parse::<Name>().is_err() {
        return Err(usage(Finding::error("COMMAND/SITE_NAME").with("name", name)));
    }
    // A folder may be called what a site may not.
    let name = if name.parse::<Name>().is_ok() { name } else { NAME.to_owned() };
    refuse_if_used(&args.dir)?;
    let mut written = Vec::new();
    write(&TEMPLATE, &args.dir, &name, &mut written)?;
    schema::write_all(&args.dir.join("schema"), &mut written)?;
    if printer.is_json() {
        let files: Vec<_> = written.iter().map(|path| path.display().to_string()).collect();
        printer.json(&LaidOut { site: name, files });
        return Ok(Outcome::Done);
    }
    let dir = args.dir.display();
    let next = format!(
        "  cd {dir}\n  git init -b main && git add . && git commit -m \"site: begin\"\n  \
         tidegate validate\n  tidegate agent --repo . --data ../{name}-agent --sandbox"
    );
    let files = written.len();
    printer.line(match printer.lang {
        tidegate_schema::finding::Lang::En => {
            format!("The site {name} is laid out in {dir}: {files} files. Next:\n\n{next}\n")
        }
        tidegate_schema::finding::Lang::Zh => {
            format!("已在 {dir} 中创建站点 {name}，共 {files} 个文件。下一步：\n\n{next}\n")
        }
    });
    Ok(Outcome::Done)
}

fn unwritable(path: &Path) -> impl Fn(std::io::Error) -> Failure {
    let path = path.display().to_string();
    move |error| {
        let finding = Finding::error("COMMAND/FILE_UNWRITABLE").with("path", &path);
        finding.with("reason", error).into()
    }
}

fn refuse_if_used(folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder).map_err(unwritable(folder))?;
    let entries = std::fs::read_dir(folder).map_err(unwritable(folder))?;
    let is_used = entries.flatten().any(|entry| entry.file_name() != ".git");
    if is_used {
        let finding = Finding::error("COMMAND/FOLDER_USED").with("path", folder.display());
        return Err(finding.into());
    }
    Ok(())
}

/// Writes the template with the site's name in place of its own.
fn write(
    from: &Dir<'_>,
    folder: &Path,
    name: &str,
    written: &mut Vec<PathBuf>,
) -> Result<(), Failure> {
    for entry in from.entries() {
        let path = folder.join(entry.path());
        match entry {
            DirEntry::Dir(child) => {
                std::fs::create_dir_all(&path).map_err(unwritable(&path))?;
                write(child, folder, name, written)?;
            }
            DirEntry::File(file) => {
                let text = file.contents_utf8().unwrap_or_default().replace(NAME, name);
                std::fs::write(&path, text).map_err(unwritable(&path))?;
                written.push(path);
            }
        }
    }
    Ok(())
}
