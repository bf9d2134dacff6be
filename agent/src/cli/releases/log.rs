//! `releases log`: the tasks and tests of a release, each try, with how its containers ended and what they wrote.

use jiff::Timestamp;
use owo_colors::OwoColorize as _;
use tidegate_core::run::{RunContainer, RunLog, RunOutcome, RunPod};
use tidegate_schema::finding::Lang;

use crate::cli::asking::Asking;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::{ReleaseShown, RunList};
use crate::cli::printer::{Printer, wrapped};
use crate::cli::status::lasting;
use crate::journal::{KeptRun, RunWithLogs};

use super::clock;

/// Prints one try of a release by its number, or all of them.
pub(super) async fn run(
    id: &str,
    number: Option<u32>,
    asking: &Asking,
    printer: &Printer,
) -> Result<Outcome, Failure> {
    let client = asking.client(printer)?;
    let numbers = if let Some(number) = number {
        vec![number]
    } else {
        let found: ReleaseShown = client.get(&format!("/api/v1/releases/{id}")).await?;
        found.runs.iter().map(|run| run.number).collect()
    };
    let mut runs: Vec<RunWithLogs> = Vec::new();
    for number in numbers {
        runs.push(client.get(&format!("/api/v1/releases/{id}/runs/{number}")).await?);
    }
    if printer.is_json() {
        printer.json(&RunList { runs });
        return Ok(Outcome::Done);
    }
    if runs.is_empty() {
        printer.line(printer.say("No task and no test has ended.", "没有已结束的任务或测试。"));
    }
    for (index, run) in runs.iter().enumerate() {
        if index > 0 {
            printer.line("");
        }
        for line in lines(run, printer) {
            printer.line(line);
        }
    }
    Ok(Outcome::Done)
}

fn lines(RunWithLogs { run, logs }: &RunWithLogs, printer: &Printer) -> Vec<String> {
    let mut lines = vec![in_a_line(run, printer)];
    let job = &run.run;
    lines.push(format!("   {}  {}", job.job, job.job.cluster));
    lines.extend(said(&[&job.reason, &job.message], 3, printer));
    if job.pods_left_out > 0 {
        let count = job.pods_left_out;
        let text = printer.say("earlier pods are not kept", "个更早的 Pod 未保留");
        lines.push(format!("   {count} {text}"));
    }
    for pod in &job.pods {
        lines.extend(pod_lines(pod, logs, printer));
    }
    for gap in &job.gaps {
        let unknown = printer.say("not known", "未知");
        lines.extend(said(&[unknown, &gap.message], 3, printer));
    }
    lines
}

/// A try in one line: its number, how it ended, when, of which step, how long it took.
pub(super) fn in_a_line(run: &KeptRun, printer: &Printer) -> String {
    let job = &run.run;
    let mut parts = vec![
        format!("{:>2} {}", run.number, mark(job.outcome)),
        clock(run.at, printer).dimmed().to_string(),
        job.step.bold().to_string(),
        outcome(job.outcome, printer).to_owned(),
    ];
    let codes = job.pods.last().into_iter().flat_map(|pod| &pod.containers);
    let code = codes.filter_map(|it| it.exit_code).find(|code| *code != 0);
    parts.extend(code.map(|code| exit_code(code, printer)));
    if run.attempt > 1 {
        parts.push(match printer.lang {
            Lang::En => format!("attempt {}", run.attempt),
            Lang::Zh => format!("第 {} 次尝试", run.attempt),
        });
    }
    parts.extend(took(job.started_at, job.ended_at, printer));
    parts.join("  ")
}

fn mark(outcome: RunOutcome) -> String {
    match outcome {
        RunOutcome::Succeeded => "✓".green().to_string(),
        RunOutcome::Failed => "✗".red().to_string(),
        RunOutcome::Unfinished | RunOutcome::Unknown => "?".yellow().to_string(),
    }
}

fn outcome<'a>(outcome: RunOutcome, printer: &Printer) -> &'a str {
    match outcome {
        RunOutcome::Succeeded => printer.say("succeeded", "成功"),
        RunOutcome::Failed => printer.say("failed", "失败"),
        RunOutcome::Unfinished => printer.say("given up under way", "未结束即放弃"),
        RunOutcome::Unknown => printer.say("nobody could say how it ended", "结果未知"),
    }
}

fn exit_code(code: i64, printer: &Printer) -> String {
    format!("{} {code}", printer.say("exit code", "退出码"))
}

fn took(from: Option<Timestamp>, to: Option<Timestamp>, printer: &Printer) -> Option<String> {
    Some(lasting(to?.duration_since(from?).as_secs(), printer))
}

fn pod_lines(pod: &RunPod, logs: &[RunLog], printer: &Printer) -> Vec<String> {
    let node = if pod.node.is_empty() { "–" } else { &pod.node };
    let mut lines = vec![format!("   {}  {}  {node}", pod.name, pod.phase)];
    lines.extend(said(&[&pod.reason, &pod.message], 5, printer));
    for container in &pod.containers {
        lines.push(container_line(container, printer));
        lines.extend(said(&[&container.message], 7, printer));
        let is_own = |log: &&RunLog| {
            (&log.of.pod, &log.of.container, log.of.is_before)
                == (&pod.name, &container.name, container.is_before)
        };
        for log in logs.iter().filter(is_own) {
            if log.is_cut {
                let text = printer.say("… the beginning is not kept", "……开头部分未保留");
                lines.push(format!("       {}", text.dimmed()));
            }
            lines.extend(log.text.lines().map(|line| format!("       {line}")));
        }
    }
    lines
}

fn container_line(container: &RunContainer, printer: &Printer) -> String {
    let mut parts = vec![container.name.clone(), container.image.clone()];
    if container.is_before {
        parts.push(printer.say("the time before", "上一次").to_owned());
    }
    if !container.reason.is_empty() {
        parts.push(container.reason.clone());
    }
    parts.extend(container.exit_code.map(|code| exit_code(code, printer)));
    parts.extend(took(container.started_at, container.ended_at, printer));
    format!("     {}", parts.join("  "))
}

/// What Kubernetes says, wrapped; nothing when it says nothing.
fn said(words: &[&str], indent: usize, printer: &Printer) -> Vec<String> {
    let words: Vec<&str> = words.iter().copied().filter(|word| !word.is_empty()).collect();
    let width = printer.width.saturating_sub(indent);
    let lines = words.join(": ");
    let lines = lines.lines().flat_map(|line| wrapped(line, width));
    lines.map(|line| format!("{}{line}", " ".repeat(indent))).collect()
}
