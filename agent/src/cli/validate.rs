//! `validate`: every problem of a site's folder in one run.

use std::path::PathBuf;

use tidegate_core::site::ValidSite;
use tidegate_core::snapshot::Snapshot;
use tidegate_core::validate::validate;
use tidegate_schema::finding::{Finding, Lang};

use super::failure::{Failure, Outcome};
use super::output::{ToldFinding, Validation};
use super::printer::{Format, Printer};
use super::report::{Sources, count, plural};
use crate::source::Source;

const EXAMPLES: &str = "\
Examples:
  tidegate validate                         this folder
  tidegate validate sites/hangzhou          a site inside a repository
  tidegate validate --format json           for programs
  tidegate explain DOCUMENT/UNKNOWN_FIELD   what a code means";

/// Finds every problem in a site's documents, committed or not. Asks no cluster.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The site's folder.
    #[arg(default_value = ".")]
    dir: PathBuf,
}

pub(super) async fn run(args: &Args, printer: &Printer) -> Result<Outcome, Failure> {
    let snapshot = Source::folder(&args.dir).await?;
    let (site, findings) = validate(&snapshot, printer.now());
    let is_good = site.is_some() && !findings.iter().any(Finding::is_error);
    let summary = summary(site.as_ref().filter(|_| is_good), &snapshot, &findings, printer.lang);
    if printer.format == Format::Json {
        printer.json(&Validation {
            valid: is_good,
            site: site.map(|site| site.name),
            files: snapshot.files.len(),
            findings: ToldFinding::all(&findings, printer.lang),
        });
    } else {
        printer.findings(&findings, &Sources::of(&snapshot));
        printer.line(summary);
    }
    Ok(if is_good { Outcome::Done } else { Outcome::Refused })
}

fn summary(
    site: Option<&ValidSite>,
    snapshot: &Snapshot,
    findings: &[Finding],
    lang: Lang,
) -> String {
    let counted = count(findings, lang);
    let files = snapshot.files.len();
    match (site, lang) {
        (None, Lang::En) => format!("✗ refused: {counted} in {}", plural(files, "file")),
        (None, Lang::Zh) => format!("✗ 校验不通过：{files} 个文件，{counted}"),
        (Some(site), _) => {
            let (clusters, products) = (site.clusters.len(), site.deployments.len());
            let zones = site.zones.len();
            let end = match (counted.is_empty(), lang) {
                (true, _) => String::new(),
                (false, Lang::En) => format!(" ({counted})"),
                (false, Lang::Zh) => format!("（{counted}）"),
            };
            match lang {
                Lang::En => format!(
                    "✓ {} is valid: {}, {}, {}, {}{end}",
                    site.name,
                    plural(files, "file"),
                    plural(clusters, "cluster"),
                    plural(products, "product"),
                    plural(zones, "zone"),
                ),
                Lang::Zh => format!(
                    "✓ {} 校验通过：{files} 个文件，{clusters} 个集群，{products} 个产品，{zones} 个域{end}",
                    site.name
                ),
            }
        }
    }
}
