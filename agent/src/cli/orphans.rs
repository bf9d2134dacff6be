//! `orphans`: what was kept of products that are gone.

use jiff::Timestamp;
use tidegate_core::orphan::Orphan;
use tidegate_core::show;

use super::asking::Asking;
use super::failure::{Failure, Outcome};
use super::output::Orphaned;
use super::printer::{Printer, table};
use super::status::ago;
use crate::status::Status;

const EXAMPLES: &str = "\
Examples:
  tidegate orphans --data ../site-agent        what was kept, by cluster
  tidegate orphans --format json | jq '.orphans | length'   for programs";

/// Lists what was kept of products that are gone: claims, namespaces around them, what says that it stays.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    asking: Asking,
}

pub(super) async fn run(args: &Args, printer: &Printer) -> Result<Outcome, Failure> {
    let client = args.asking.client(printer)?;
    let status: Status = client.get("/api/v1/status").await?;
    if printer.is_json() {
        printer.json(&Orphaned { orphans: &status.orphans });
        return Ok(Outcome::Done);
    }
    if status.orphans.is_empty() {
        printer.line(printer.say("Nothing is orphaned.", "没有遗留对象。"));
        return Ok(Outcome::Done);
    }
    let head = [
        printer.say("CLUSTER", "集群"),
        printer.say("OBJECT", "对象"),
        printer.say("SIZE", "大小"),
        printer.say("OF", "所属"),
        printer.say("SINCE", "自"),
        printer.say("WHY", "原因"),
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(status.orphans.iter().map(|orphan| row(orphan, printer.now(), printer)));
    for line in table(&rows) {
        printer.line(line);
    }
    Ok(Outcome::Done)
}

/// Cluster, object, size, product, since when, why.
fn row(orphan: &Orphan, now: Timestamp, printer: &Printer) -> Vec<String> {
    let part = |text: &Option<String>| text.clone().unwrap_or_default();
    let app = orphan.app.as_ref().map(|app| format!("/{app}")).unwrap_or_default();
    let product = format!("{}{app} {}", part(&orphan.product), part(&orphan.version));
    let since = orphan.since.map(|at| ago(at, now, printer)).unwrap_or_default();
    let release = orphan.release.as_ref().map(|id| format!(" ({id})")).unwrap_or_default();
    vec![
        orphan.object.cluster.clone(),
        orphan.object.to_string(),
        part(&orphan.size),
        product.trim_end().to_owned(),
        since + &release,
        show::reason(printer.lang, &orphan.reason),
    ]
}
