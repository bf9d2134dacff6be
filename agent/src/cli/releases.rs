//! `releases`: the list, one with its events, and commands to the one under way.

use clap::Subcommand;
use owo_colors::OwoColorize as _;
use serde_json::{Map, Value, json};
use tidegate_core::release::{Command, Event};

use super::asking::{Asking, Who};
use super::failure::{Failure, Outcome, because, read};
use super::output::{Recorded, ReleaseList, ReleaseShown};
use super::printer::{Printer, table};
use super::report::brief;
use super::status::{ago, failure_finding, phase};
use crate::journal::ReleaseRow;

const EXAMPLES: &str = "\
Examples:
  tidegate releases list --data ../site-agent
  tidegate releases show r12 --data ../site-agent
  tidegate releases confirm --data ../site-agent    it looks right: go on
  tidegate releases rollback --reason 'login fails' --data ../site-agent
  tidegate releases skip all/room-a/iam/iamcore --reason CHG-1018

Commands without a release's id go to the one under way. Set TIDEGATE_DATA to leave out --data.";

/// Lists releases, shows one, and steers the one under way.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

/// Which release, and whose agent.
#[derive(Debug, clap::Args)]
struct Target {
    /// The release. Default: the one under way.
    #[arg(long, value_name = "ID")]
    release: Option<String>,
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Releases, newest first.
    List {
        /// How many.
        #[arg(long, default_value_t = 20)]
        limit: u32,
        #[command(flatten)]
        asking: Asking,
    },
    /// One release with everything that happened.
    Show {
        /// Its id, such as `r12`.
        id: String,
        #[command(flatten)]
        asking: Asking,
    },
    /// Confirms the group or wave that waits for it.
    Confirm {
        /// Id of the step, when several wait.
        step: Option<String>,
        #[command(flatten)]
        target: Target,
    },
    /// Opens nothing new until resumed.
    Pause {
        /// Why, for the record.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        target: Target,
    },
    /// Goes on.
    Resume {
        #[command(flatten)]
        target: Target,
    },
    /// Tries what failed again.
    Retry {
        /// Id of the step. Default: all that failed.
        step: Option<String>,
        #[command(flatten)]
        target: Target,
    },
    /// Counts a failed step as done: a waiver, which stays in the record.
    Skip {
        /// Id of the step.
        step: String,
        /// Why, for the record.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        target: Target,
    },
    /// Takes back what this release changed.
    Rollback {
        /// Only this product, and what is not done yet. Default: everything.
        #[arg(long)]
        product: Option<String>,
        /// Why, for the record.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        target: Target,
    },
    /// Ends the release and leaves everything as it is.
    Cancel {
        /// Why, for the record.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        target: Target,
    },
}

pub(super) async fn run(args: &Args, printer: &Printer) -> Result<Outcome, Failure> {
    let (command, target) = match &args.what {
        What::List { limit, asking } => {
            let path = format!("/api/v1/releases?limit={limit}");
            let rows: Vec<ReleaseRow> = asking.client(printer)?.get(&path).await?;
            list(rows, printer);
            return Ok(Outcome::Done);
        }
        What::Show { id, asking } => {
            let path = format!("/api/v1/releases/{id}");
            let found: ReleaseShown = asking.client(printer)?.get(&path).await?;
            show(&found, printer);
            return Ok(Outcome::Done);
        }
        What::Confirm { step, target } => (Command::Confirm { step: step.clone() }, target),
        What::Pause { reason, target } => (Command::Pause { reason: reason.clone() }, target),
        What::Resume { target } => (Command::Resume, target),
        What::Retry { step, target } => (Command::Retry { step: step.clone() }, target),
        What::Skip { step, reason, target } => {
            (Command::Skip { step: step.clone(), reason: reason.clone() }, target)
        }
        What::Rollback { product, reason, target } => {
            (Command::Rollback { product: product.clone(), reason: reason.clone() }, target)
        }
        What::Cancel { reason, target } => (Command::Cancel { reason: reason.clone() }, target),
    };
    let mut body = serde_json::to_value(&command).map_err(because)?;
    if let Some(fields) = body.as_object_mut() {
        fields.insert("by".to_owned(), target.who.name().into());
    }
    let release = target.release.as_deref().unwrap_or("current");
    let path = format!("/api/v1/releases/{release}/commands");
    let answer = target.asking.client(printer)?.post(&path, &body).await?;
    let recorded: Recorded = read(answer)?;
    if printer.is_json() {
        printer.json(&recorded);
    } else {
        let id = &recorded.release;
        let done = printer.say("recorded", "已记录");
        printer.line(format!("{} {id}  {done}", "✓".green()));
    }
    Ok(Outcome::Done)
}

fn list(rows: Vec<ReleaseRow>, printer: &Printer) {
    if printer.is_json() {
        printer.json(&ReleaseList { releases: rows });
        return;
    }
    if rows.is_empty() {
        printer.line(printer.say("No release yet.", "尚无发布。"));
        return;
    }
    let now = printer.now();
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let took = row.ended_at.map_or_else(String::new, |ended| {
                format!("{} s", ended.duration_since(row.started_at).as_secs())
            });
            let revision = row.revision.get(..12).unwrap_or(&row.revision).to_owned();
            let plan = row.plan.short().to_owned();
            vec![row.id.clone(), plan, revision, ago(row.started_at, now, printer), took]
        })
        .collect();
    for (line, row) in table(&cells).into_iter().zip(&rows) {
        printer.line(format!("{line}  {}", phase(row.phase, printer)));
    }
}

fn show(found: &ReleaseShown, printer: &Printer) {
    if printer.is_json() {
        printer.json(found);
        return;
    }
    let (row, events) = (&found.release, &found.events);
    printer.line(format!("{}  {}  {}", row.id.bold(), row.plan.cyan(), phase(row.phase, printer)));
    for event in events {
        let at = printer.local(event.at).strftime("%T").to_string();
        let (word, details) = line(&event.event);
        printer.line(format!("{}  {word:<20}  {details}", at.dimmed()).trim_end());
        if let Event::StepFailed { failure, .. } = &event.event {
            for text in brief(&failure_finding(failure), printer, 12) {
                printer.line(format!("            {text}"));
            }
            for pod in &failure.pods {
                printer.line(format!(
                    "            {}  {} {}",
                    pod.pod,
                    pod.reason.red(),
                    pod.message
                ));
                for event in &pod.events {
                    printer.line(format!("              {event}"));
                }
                for log in &pod.log {
                    printer.line(format!("              {}", log.dimmed()));
                }
            }
        }
    }
}

/// An event as its words and what they are about: `groupOpened` is `group opened`.
fn line(event: &Event) -> (String, String) {
    let fields = match serde_json::to_value(event) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let mut words = String::new();
    for letter in fields.get("type").and_then(Value::as_str).unwrap_or_default().chars() {
        if letter.is_ascii_uppercase() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    let of = |name: &str| fields.get(name).filter(|it| !it.is_null()).map(|it| text(name, it));
    let names = [
        "step", "product", "wave", "group", "attempt", "objects", "by", "reason", "scene",
        "action", "pods",
    ];
    let details: Vec<String> = names.iter().filter_map(|name| of(name)).collect();
    (words, details.join("  "))
}

fn text(name: &str, value: &Value) -> String {
    match (name, value) {
        // People count from one.
        ("wave" | "group", Value::Number(index)) => {
            format!("{name} {}", index.as_u64().unwrap_or_default() + 1)
        }
        (_, Value::Number(number)) => format!("{name} {number}"),
        ("objects", Value::Array(objects)) => {
            let count = objects.len();
            if count == 1 { "1 object".to_owned() } else { format!("{count} objects") }
        }
        ("pods", Value::Array(pods)) => {
            let count = pods.len();
            if count == 1 { "1 pod".to_owned() } else { format!("{count} pods") }
        }
        ("by", Value::String(by)) => format!("by {by}"),
        (_, Value::String(text)) => text.clone(),
        (_, other) => json!(other).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_reads_as_words() {
        let event = Event::GroupOpened { step: "a/b".to_owned(), group: 0, attempt: 1, already: 0 };
        let (word, details) = line(&event);
        assert_eq!((word.as_str(), details.as_str()), ("group opened", "a/b  group 1  attempt 1"));
        assert_eq!(line(&Event::RolledBack), ("rolled back".to_owned(), String::new()));
    }
}
