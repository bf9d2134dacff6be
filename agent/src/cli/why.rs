//! `why`: what stands between the site and its documents, and who can help.

use owo_colors::OwoColorize as _;
use tidegate_schema::finding::{Finding, Lang};

use super::asking::Asking;
use super::failure::{Failure, Outcome};
use super::output::{Blockers, ToldFinding};
use super::printer::Printer;
use super::report::brief;
use super::status::{condition, waits};
use crate::status::{Condition, Status, failure_finding};

const EXAMPLES: &str = "\
Examples:
  tidegate why --data ../site-agent
  tidegate why --lang zh
  tidegate why --format json | jq '.blockers[].code'

Exit code 0: nothing is in the way. 1: something is.";

/// Says why the site is not yet as its documents say: which approval, window, failure or problem is in the way.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    asking: Asking,
}

pub(super) async fn run(args: &Args, printer: &Printer) -> Result<Outcome, Failure> {
    let client = args.asking.client(printer)?;
    let status: Status = client.get("/api/v1/status").await?;
    let blockers = blockers(&status);
    if printer.is_json() {
        let told = ToldFinding::all(&blockers, printer.lang);
        printer.json(&Blockers { condition: status.condition, blockers: told });
    } else {
        tell(&status, &blockers, printer);
    }
    Ok(if blockers.is_empty() { Outcome::Done } else { Outcome::Refused })
}

/// Everything that is in the way, the most fundamental first.
fn blockers(status: &Status) -> Vec<Finding> {
    let mut blockers: Vec<Finding> = status.source.problem.iter().cloned().collect();
    blockers.extend(status.freezes.iter().cloned());
    blockers.extend(status.findings.iter().filter(|finding| finding.is_error()).cloned());
    blockers.extend(status.cluster_gaps());
    if let Some(release) = &status.release {
        blockers.extend(release.failures.iter().map(|it| failure_finding(&it.failure)));
        blockers.extend(waits(release));
    }
    if let Some(plan) = &status.plan {
        blockers.extend(plan.findings.iter().filter(|finding| finding.is_error()).cloned());
        blockers.extend(plan.waits.iter().cloned());
    }
    // What is said twice (a refused plan waits for its own refusals) is told once.
    let mut told: Vec<Finding> = Vec::new();
    for blocker in blockers {
        if !told.contains(&blocker) {
            told.push(blocker);
        }
    }
    told
}

fn tell(status: &Status, blockers: &[Finding], printer: &Printer) {
    let (word, colour) = condition(status.condition, printer);
    let site =
        if status.site.is_empty() { printer.say("the site", "站点") } else { &status.site };
    if blockers.is_empty() {
        let text = match (status.condition, printer.lang) {
            (Condition::Settled, Lang::En) => {
                format!("Nothing is in the way: {site} is as its documents say.")
            }
            (Condition::Settled, Lang::Zh) => format!("没有阻塞：{site} 与文档一致。"),
            (_, Lang::En) => format!("Nothing is in the way of {site}: {word}."),
            (_, Lang::Zh) => format!("没有阻塞：{site} {word}。"),
        };
        printer.line(format!("{} {text}", "✓".green()));
        return;
    }
    let count = blockers.len();
    let head = match printer.lang {
        Lang::En if count == 1 => {
            format!("{}: {}; one thing is in the way:", site.bold(), word.color(colour))
        }
        Lang::En => {
            format!("{}: {}; {count} things are in the way:", site.bold(), word.color(colour))
        }
        Lang::Zh => format!("{}：{}，共有 {count} 个阻塞：", site.bold(), word.color(colour)),
    };
    printer.line(head);
    for (index, blocker) in blockers.iter().enumerate() {
        printer.line("");
        let place = blocker.place.as_ref().map(|place| format!("{} ", place.dimmed()));
        for (line, text) in brief(blocker, printer, 4).into_iter().enumerate() {
            if line == 0 {
                let place = place.clone().unwrap_or_default();
                printer.line(format!("{:>2}. {place}{text}", index + 1));
            } else {
                printer.line(format!("    {text}"));
            }
        }
    }
    if let Some(plan) = status.plan.as_ref().filter(|plan| !plan.is_refused) {
        printer.line("");
        let text = printer.say("plan", "计划");
        printer.line(format!("{text} {}", plan.id.cyan()));
        if let Some(held) = &plan.held {
            printer.line(super::status::held(held, printer));
        }
        let opens = opens(plan.next, printer);
        if !opens.is_empty() {
            printer.line(opens.dimmed());
        }
    }
}

fn opens(next: Option<jiff::Timestamp>, printer: &Printer) -> String {
    let Some(next) = next else { return String::new() };
    let local = printer.local(next).strftime("%F %R %Z").to_string();
    match printer.lang {
        Lang::En => format!("may open by itself at {local}"),
        Lang::Zh => format!("可能在 {local} 自动开放"),
    }
}
