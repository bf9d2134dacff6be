//! `adopt`: objects that exist and were not made by Tidegate become the site's.

use serde_json::json;

use super::asking::{Asking, Who};
use super::failure::{Failure, Outcome, read};
use super::output::Adopted;
use super::printer::Printer;

const EXAMPLES: &str = "\
Examples:
  tidegate adopt Deployment/shop/web --reason 'made by hand' --data ../agent
  tidegate adopt --all --cluster room-a --reason 'was kubectl' --data ../agent
  tidegate adopt --all --from helm --reason 'release given up' --data ../agent

Only what the plan that waits names as not made by us can be adopted. Nothing in
the objects changes: fields of kubectl apply, and of the tool that is named,
become ours, and the next plan shows what differs from the documents.";

/// Takes over objects that exist and were not made by us.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The objects as findings write them, such as Deployment/shop/web.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    objects: Vec<String>,
    /// All that the plan names.
    #[arg(long)]
    all: bool,
    /// Only those of this cluster.
    #[arg(long)]
    cluster: Option<String>,
    /// A tool that has given its objects up and will not change them back.
    #[arg(long, value_enum, value_name = "TOOL")]
    from: Vec<Tool>,
    /// Why, for the record.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    asking: Asking,
}

/// Tools whose objects are refused otherwise.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Tool {
    /// A release of Helm.
    Helm,
    /// Flux.
    Flux,
    /// Argo CD.
    ArgoCd,
    /// Another site of Tidegate.
    Tidegate,
    /// The controller of an object of its own.
    Controller,
}

impl From<Tool> for tidegate_core::live::Tool {
    fn from(tool: Tool) -> Self {
        match tool {
            Tool::Helm => Self::Helm,
            Tool::Flux => Self::Flux,
            Tool::ArgoCd => Self::ArgoCd,
            Tool::Tidegate => Self::Tidegate,
            Tool::Controller => Self::Controller,
        }
    }
}

pub(super) async fn run(args: &Args, printer: &Printer) -> Result<Outcome, Failure> {
    let from: Vec<tidegate_core::live::Tool> = args.from.iter().map(|it| (*it).into()).collect();
    let body = json!({
        "by": args.who.name(), "reason": args.reason, "objects": args.objects,
        "cluster": args.cluster, "from": from,
    });
    let answer = args.asking.client(printer)?.post("/api/v1/adopt", &body).await?;
    let answer: Adopted = read(answer)?;
    if printer.is_json() {
        printer.json(&answer);
        return Ok(Outcome::Done);
    }
    for object in &answer.adopted {
        printer.line(format!("{}  {object}", object.cluster));
    }
    printer.line(printer.say(
        "They are ours from now on. The next plan shows what differs from the documents.",
        "这些对象今后由我们管理。下一个计划会显示它们与文档的差异。",
    ));
    Ok(Outcome::Done)
}
