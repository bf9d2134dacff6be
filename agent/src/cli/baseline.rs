//! `baseline`: what the site has really reached.

use std::path::PathBuf;

use clap::Subcommand;
use tidegate_core::baseline::Baseline;
use tidegate_core::image;
use tidegate_schema::finding::Finding;

use super::asking::Asking;
use super::failure::{Failure, Outcome, because};
use super::output::{BaselineChanges, BaselineShown};
use super::printer::{Printer, table};

const EXAMPLES: &str = "\
Examples:
  tidegate baseline show --data ../site-agent
  tidegate baseline export --data ../site-agent --out baseline.json
  tidegate baseline diff baseline.json --data ../site-agent   delivered since

`diff` exits 2 when the two differ.";

/// Shows what the site has reached, exports it, and compares it with an earlier export.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Products, versions, sizes and apps that are delivered.
    Show {
        #[command(flatten)]
        asking: Asking,
    },
    /// The baseline as a JSON document.
    Export {
        /// Writes it to a file instead of standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        #[command(flatten)]
        asking: Asking,
    },
    /// What differs between an exported baseline and the site's.
    Diff {
        /// The exported one.
        file: PathBuf,
        #[command(flatten)]
        asking: Asking,
    },
}

async fn fetch(asking: &Asking, printer: &Printer) -> Result<Baseline, Failure> {
    Ok(asking.client(printer)?.get("/api/v1/baseline").await?)
}

pub(super) async fn run(args: &Args, printer: &Printer) -> Result<Outcome, Failure> {
    match &args.what {
        What::Show { asking } => {
            let baseline = fetch(asking, printer).await?;
            if printer.is_json() {
                printer.json(&BaselineShown { digest: baseline.digest(), baseline });
            } else {
                show(&baseline, printer);
            }
            Ok(Outcome::Done)
        }
        What::Export { out, asking } => {
            let baseline = fetch(asking, printer).await?;
            let Some(path) = out else {
                printer.foreign_json(&baseline);
                return Ok(Outcome::Done);
            };
            let text = serde_json::to_vec_pretty(&baseline).map_err(because)?;
            std::fs::write(path, text).map_err(|error| {
                let finding = Finding::error("COMMAND/FILE_UNWRITABLE");
                finding.with("path", path.display()).with("reason", error)
            })?;
            Ok(Outcome::Done)
        }
        What::Diff { file, asking } => {
            let unreadable = |reason: String| {
                let finding = Finding::error("COMMAND/FILE_UNREADABLE");
                finding.with("path", file.display()).with("reason", reason)
            };
            let text = std::fs::read(file).map_err(|error| unreadable(error.to_string()))?;
            let before: Baseline =
                serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))?;
            let after = fetch(asking, printer).await?;
            let changes = Baseline::diff(&before, &after);
            let is_none = changes.is_empty();
            if printer.is_json() {
                let (before, after) = (before.digest(), after.digest());
                printer.json(&BaselineChanges { before, after, changes });
            } else if is_none {
                printer.line(printer.say("No difference.", "没有差异。"));
            } else {
                let none = |text: &Option<String>| text.clone().unwrap_or_else(|| "–".to_owned());
                let rows: Vec<Vec<String>> = changes
                    .iter()
                    .map(|it| {
                        vec![it.path.clone(), none(&it.before), "→".to_owned(), none(&it.after)]
                    })
                    .collect();
                for line in table(&rows) {
                    printer.line(line);
                }
            }
            Ok(if is_none { Outcome::Done } else { Outcome::Differences })
        }
    }
}

fn show(baseline: &Baseline, printer: &Printer) {
    let revision = baseline.revision.get(..12).unwrap_or(&baseline.revision);
    printer.line(format!(
        "{}  {}  {revision}  {}",
        baseline.site,
        baseline.digest().short(),
        baseline.recorded_at.strftime("%F %T UTC")
    ));
    let heads = [
        printer.say("PRODUCT", "产品"),
        printer.say("VERSION", "版本"),
        printer.say("SIZE", "规格"),
        printer.say("APP", "应用"),
        printer.say("CLUSTER", "集群"),
        printer.say("PODS", "Pod 数"),
        printer.say("IMAGE", "镜像"),
    ];
    let mut rows = vec![heads.map(ToOwned::to_owned).to_vec()];
    for (name, product) in &baseline.products {
        for (cluster, apps) in &product.clusters {
            for (app, of) in apps {
                let offline = printer.say("offline", "已下线");
                let mut image = image::short(&of.image);
                if of.offline {
                    image = format!("{image} ({offline})");
                }
                rows.push(vec![
                    name.clone(),
                    product.version.clone(),
                    product.size.clone(),
                    app.clone(),
                    cluster.clone(),
                    of.replicas.to_string(),
                    image,
                ]);
            }
        }
    }
    for line in table(&rows) {
        printer.line(line);
    }
}
