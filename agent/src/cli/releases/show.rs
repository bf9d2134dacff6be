//! `releases show`: what a release was about, its steps and groups over time, who decided what, what failed.

use jiff::Timestamp;
use owo_colors::OwoColorize as _;
use serde_json::{Map, Value, json};
use tidegate_core::history::stays;
use tidegate_core::release::{Event, ReleaseEvent};
use tidegate_schema::finding::Lang;

use crate::cli::bars::{bars, group_name};
use crate::cli::output::ReleaseShown;
use crate::cli::printer::{GUTTER, Printer, columns, labelled, wrapped};
use crate::cli::report::brief;
use crate::cli::status::{lasting, phase, tasks};
use crate::status::failure_finding;

use super::clock;
use super::log::in_a_line;

/// A release as people read it; the pods of each group and everything that was recorded only when asked for.
pub(super) fn show(found: &ReleaseShown, (pods, events): (bool, bool), printer: &Printer) {
    for line in head(found, printer) {
        printer.line(line);
    }
    let mut sections = vec![
        (printer.say("Course", "过程"), course(found, printer)),
        (printer.say("Decisions", "决定"), decisions(&found.events, printer)),
        (printer.say("Tasks and tests", "任务与测试"), runs(found, printer)),
        (printer.say("Failures", "失败"), failures(&found.events, printer)),
    ];
    if pods {
        sections.push((printer.say("Pods", "Pod"), groups(found, printer)));
    }
    if events {
        let all = found.events.iter().map(|event| recorded(event, printer)).collect();
        sections.push((printer.say("Events", "事件"), all));
    }
    printer.sections(&sections);
}

fn head(found: &ReleaseShown, printer: &Printer) -> Vec<String> {
    let summary = &found.release;
    let row = &summary.release;
    let began = printer.local(row.started_at).strftime("%F %T");
    let until = row.ended_at.unwrap_or_else(|| printer.now());
    let took = lasting(seconds(row.started_at, until), printer);
    let took = match row.ended_at {
        Some(_) => format!("{} {took}", printer.say("took", "用时")),
        None => format!("{} {took}", printer.say("for", "已进行")),
    };
    let state = phase(row.phase, printer);
    let mut lines = vec![format!("{}  {state}  {began}  {took}", row.id.bold())];
    // Where the whole digest does not fit, its short form is enough to ask for the plan.
    let is_wide = printer.width >= GUTTER + columns(row.plan.as_str());
    let plan = if is_wide { row.plan.as_str() } else { row.plan.short() };
    let mut section = |label: &str, texts: Vec<String>| lines.extend(labelled(label, texts));
    section(printer.say("Plan", "计划"), vec![plan.cyan().to_string()]);
    section(printer.say("Commit", "提交"), vec![row.revision.clone()]);
    section(printer.say("Tasks", "任务"), tasks(&summary.about.tasks, printer));
    let kept = summary.about.kept.iter().map(|it| format!("{it}  {}", it.cluster));
    section(printer.say("Kept", "保留"), kept.collect());
    let persons: Vec<&str> = summary.approved_by.iter().map(String::as_str).collect();
    if !persons.is_empty() {
        section(printer.say("Approved", "审批"), vec![persons.join(", ")]);
    }
    let waited = summary.about.planned_at.map(|planned| seconds(planned, row.started_at));
    if let Some(waited) = waited.filter(|waited| *waited > 0) {
        let waited = lasting(waited, printer);
        let text = printer.say("before it started", "后开始");
        section(printer.say("Waited", "等待"), vec![format!("{waited} {text}")]);
    }
    if found.is_thinned {
        let course = &found.course;
        let text = match printer.lang {
            Lang::En => format!(
                "what machines did was removed after the retention: {} steps, {} groups, {} failures",
                course.steps, course.groups, course.failures
            ),
            Lang::Zh => format!(
                "机器执行的记录已超过保留期而被清理：{} 个步骤、{} 个分组、{} 次失败",
                course.steps, course.groups, course.failures
            ),
        };
        section(printer.say("Record", "记录"), vec![text]);
    }
    lines
}

fn seconds(from: Timestamp, to: Timestamp) -> i64 {
    to.duration_since(from).as_secs()
}

/// Steps and groups over time, by the clock of whoever reads this.
fn course(found: &ReleaseShown, printer: &Printer) -> Vec<String> {
    let row = &found.release.release;
    let to = row.ended_at.unwrap_or_else(|| printer.now()).max(row.started_at);
    let is_long = to.duration_since(row.started_at).as_hours() >= 24;
    let form = if is_long { "%F %H:%M" } else { "%T" };
    let clock = |at: Timestamp| printer.local(at).strftime(form).to_string();
    bars(&found.timeline.steps, (row.started_at, to), clock, printer)
}

/// The pods of each group that was ready.
fn groups(found: &ReleaseShown, printer: &Printer) -> Vec<String> {
    let mut lines = Vec::new();
    for step in &found.timeline.steps {
        for group in step.groups.iter().filter(|group| !group.pods.is_empty()) {
            lines.push(format!("{}  {}", step.step, group_name(group, printer)));
            let width = group.pods.iter().map(|pod| pod.pod.len()).max().unwrap_or_default();
            for pod in &group.pods {
                let ready = match pod.ready_since {
                    Some(at) => format!("{} {}", printer.say("ready", "就绪"), clock(at, printer)),
                    None => printer.say("not ready", "未就绪").to_owned(),
                };
                lines.push(format!("  {:<width$}  {}  {ready}", pod.pod, pod.node));
            }
        }
    }
    lines
}

/// What people, and policies in their name, decided.
fn decisions(events: &[ReleaseEvent], printer: &Printer) -> Vec<String> {
    let is_told = |event: &&ReleaseEvent| {
        stays(&event.event)
            && !matches!(
                event.event,
                Event::Opened { .. }
                    | Event::WaveStarted { .. }
                    | Event::StepFailed { .. }
                    | Event::RolledBack
                    | Event::Done
            )
    };
    events.iter().filter(is_told).map(|event| recorded(event, printer)).collect()
}

/// Each try of a task or test in a line, and how to read what they wrote.
fn runs(found: &ReleaseShown, printer: &Printer) -> Vec<String> {
    let mut lines: Vec<String> = found.runs.iter().map(|run| in_a_line(run, printer)).collect();
    if !lines.is_empty() {
        let id = &found.release.release.id;
        let text = printer.say("what they wrote:", "查看输出：");
        lines.push(format!("   → {text} tidegate releases log {id} N").dimmed().to_string());
    }
    lines
}

fn recorded(event: &ReleaseEvent, printer: &Printer) -> String {
    let (word, details) = line(&event.event);
    let at = clock(event.at, printer);
    format!("{}  {word:<20}  {details}", at.dimmed()).trim_end().to_owned()
}

/// What failed, with its pods, what Kubernetes said of them, and their last lines.
fn failures(events: &[ReleaseEvent], printer: &Printer) -> Vec<String> {
    let mut lines = Vec::new();
    for event in events {
        let Event::StepFailed { failure, .. } = &event.event else { continue };
        let (_, details) = line(&event.event);
        lines.push(format!("{}  {details}", clock(event.at, printer).dimmed()));
        for text in brief(&failure_finding(failure), printer, 12) {
            lines.push(format!("          {text}"));
        }
        for pod in &failure.pods {
            lines.push(format!("          {}  {}", pod.pod, pod.reason.red()));
            for said in std::iter::once(&pod.message).chain(&pod.events) {
                let said = wrapped(said, printer.width.saturating_sub(14));
                lines.extend(said.into_iter().map(|said| format!("            {said}")));
            }
            lines.extend(pod.log.iter().map(|log| format!("            {}", log.dimmed())));
        }
    }
    lines
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
        "step", "product", "app", "wave", "group", "attempt", "objects", "by", "reason", "scene",
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
