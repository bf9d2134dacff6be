//! `baseline`: what the site has really reached.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::de::DeserializeOwned;
use tidegate_core::baseline::{Baseline, BaselineDifference, Export};
use tidegate_core::image;
use tidegate_schema::finding::{Finding, Lang};

use super::agent::make_private;
use super::asking::{Asking, Who, refuse_running};
use super::failure::{Failure, Outcome, because, usage};
use super::output::{BaselineChanges, BaselineShown, BaselineTakenUp};
use super::preview::{Folder, Loaded, load};
use super::printer::{Printer, table};
use crate::journal::{Fact, InventoryChange, Journal, fact};
use crate::rehearse::documents;
use crate::source::lay_out;

const EXAMPLES: &str = "\
Examples:
  tidegate baseline show --data ../site-agent
  tidegate baseline export --data ../site-agent --out baseline.json
  tidegate baseline export --out baseline.json --repository ../hz
  tidegate baseline diff baseline.json --data ../agent      delivered since
  tidegate baseline diff january.json march.json --product iam
  tidegate baseline import baseline.json --data ../new --reason CHG-9

`diff` exits 2 when the two differ.";

/// Shows what the site has reached, exports it, compares it with an earlier export, and lets a new agent go on from one.
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
    /// The baseline as a JSON document, with what a new agent needs to go on from it.
    Export {
        /// Writes it to a file instead of standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Lays out a repository here, whose branch `main` is at the documents that are delivered, with their history. Needs
        /// the agent's data folder.
        #[arg(long, value_name = "DIR")]
        repository: Option<PathBuf>,
        #[command(flatten)]
        asking: Asking,
    },
    /// What differs between an exported baseline and the site's, or another export.
    Diff {
        /// The exported one.
        file: PathBuf,
        /// Another export, instead of the site's.
        other: Option<PathBuf>,
        /// Only this product.
        #[arg(long, value_name = "NAME")]
        product: Option<String>,
        #[command(flatten)]
        asking: Asking,
    },
    /// Lets an agent with an empty data folder go on from an export, where the clusters run what it says. The agent must not
    /// run yet.
    Import(Import),
}

#[derive(Debug, clap::Args)]
struct Import {
    /// What `export` has written.
    file: PathBuf,
    /// The data folder of the agent that is to go on from it.
    #[arg(long, env = "TIDEGATE_DATA", hide_env_values = true, value_name = "DIR")]
    data: PathBuf,
    #[command(flatten)]
    folder: Folder,
    /// Why, for the record.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    who: Who,
    /// Gives up what this agent has reached by itself.
    #[arg(long)]
    replace: bool,
}

async fn fetch(asking: &Asking, printer: &Printer) -> Result<Baseline, Failure> {
    Ok(asking.client(printer)?.get("/api/v1/baseline").await?)
}

/// A file of `export`, or of what the agent hands back to git.
fn read<T: DeserializeOwned>(file: &Path) -> Result<T, Failure> {
    let unreadable = |reason: String| {
        let finding = Finding::error("COMMAND/FILE_UNREADABLE");
        finding.with("path", file.display()).with("reason", reason)
    };
    let text = std::fs::read(file).map_err(|error| unreadable(error.to_string()))?;
    Ok(serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))?)
}

/// The baseline of a file: an export, or what the agent hands back to git.
pub(super) fn read_export(file: &Path) -> Result<Baseline, Failure> {
    read(file)
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
        What::Export { out, repository, asking } => {
            export(out.as_deref(), repository.as_deref(), asking, printer).await
        }
        What::Diff { file, other, product, asking } => {
            let before = read_export(file)?;
            let after = match other {
                Some(other) => read_export(other)?,
                None => fetch(asking, printer).await?,
            };
            Ok(compare(&before, &after, product.as_deref(), printer))
        }
        What::Import(import) => take_up(import, printer).await,
    }
}

async fn export(
    out: Option<&Path>,
    repository: Option<&Path>,
    asking: &Asking,
    printer: &Printer,
) -> Result<Outcome, Failure> {
    let export: Export = asking.client(printer)?.get("/api/v1/baseline/export").await?;
    if let Some(folder) = repository {
        let Some(data) = asking.data() else {
            return Err(usage(Finding::error("BASELINE/NEEDS_DATA")));
        };
        let is_used = std::fs::read_dir(folder).is_ok_and(|mut it| it.next().is_some());
        if is_used {
            return Err(Finding::error("COMMAND/FOLDER_USED")
                .with("path", folder.display())
                .into());
        }
        let lenders = documents::lenders(Some(data), None);
        lay_out(folder, &lenders, &export.baseline.revision)?;
        let text = match printer.lang {
            Lang::En => format!("{} is at what is delivered", folder.display()),
            Lang::Zh => format!("{} 已处于交付的版本", folder.display()),
        };
        printer.remark(text);
    }
    let Some(path) = out else {
        printer.foreign_json(&export);
        return Ok(Outcome::Done);
    };
    let text = serde_json::to_vec_pretty(&export).map_err(because)?;
    std::fs::write(path, text).map_err(|error| {
        let finding = Finding::error("COMMAND/FILE_UNWRITABLE");
        finding.with("path", path.display()).with("reason", error)
    })?;
    Ok(Outcome::Done)
}

/// Shows what differs, by product.
fn compare(
    before: &Baseline,
    after: &Baseline,
    product: Option<&str>,
    printer: &Printer,
) -> Outcome {
    let is_wanted = |it: &BaselineDifference| product.is_none_or(|name| it.product() == Some(name));
    let changes: Vec<_> = Baseline::diff(before, after).into_iter().filter(is_wanted).collect();
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
            .map(|it| vec![it.path.clone(), none(&it.before), "→".to_owned(), none(&it.after)])
            .collect();
        for line in table(&rows) {
            printer.line(line);
        }
    }
    if is_none { Outcome::Done } else { Outcome::Differences }
}

async fn take_up(import: &Import, printer: &Printer) -> Result<Outcome, Failure> {
    let Loaded { site, .. } = load(&import.folder, printer).await?;
    let export: Export = read(&import.file)?;
    refuse_running(&import.data, printer).await?;
    make_private(&import.data)?;
    let journal = Journal::open(&import.data).await?;
    let own: Option<Baseline> = journal.fact(fact::BASELINE).await?;
    export.check(&site.name, own.as_ref(), import.replace)?;
    if let Some(row) = journal.releases(1).await?.first().filter(|row| !row.phase.is_ended()) {
        return Err(Finding::error("BASELINE/RELEASE_UNDER_WAY").with("release", &row.id).into());
    }
    let baseline = export.taken_up(&import.who.name(), &import.reason, printer.now());
    let facts = [Fact::new(fact::BASELINE, &baseline)?, Fact::new(fact::ZONES, &baseline.zones)?];
    let gone = journal.inventory().await?.entries.into_keys().map(InventoryChange::Remove);
    let entries = export.carried.inventory.entries.clone().into_iter();
    let taken = entries.map(|(reference, entry)| InventoryChange::Applied(reference, entry));
    let inventory: Vec<InventoryChange> = gone.chain(taken).collect();
    let consumed: Vec<String> = export.carried.consumed.iter().cloned().collect();
    journal.take_up(&facts, &inventory, &consumed).await?;
    journal.close().await;
    let objects = export.carried.inventory.entries.len();
    if printer.is_json() {
        printer.json(&BaselineTakenUp { digest: baseline.digest(), objects });
    } else {
        let digest = baseline.digest();
        printer.line(match printer.lang {
            Lang::En => format!(
                "{}  {}  taken up with {objects} objects; start the agent with this data folder",
                baseline.site,
                digest.short()
            ),
            Lang::Zh => format!(
                "{}  {}  已接管，含 {objects} 个对象；请用该数据目录启动代理",
                baseline.site,
                digest.short()
            ),
        });
    }
    Ok(Outcome::Done)
}

fn show(baseline: &Baseline, printer: &Printer) {
    let revision = baseline.revision.get(..12).unwrap_or(&baseline.revision);
    printer.line(format!(
        "{}  {}  {revision}  {}",
        baseline.site,
        baseline.digest().short(),
        baseline.recorded_at.strftime("%F %T UTC")
    ));
    if let Some(imported) = &baseline.imported {
        let at = imported.at.strftime("%F %T UTC");
        let by = &imported.by;
        printer.line(match printer.lang {
            Lang::En => format!("imported by {by} {at}: {}", imported.reason),
            Lang::Zh => format!("由 {by} 于 {at} 导入：{}", imported.reason),
        });
    }
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
