//! `releases show`: what a release was about, its steps and groups over time, who decided what, what failed.

use jiff::Timestamp;
use owo_colors::{AnsiColors, OwoColorize as _};
use serde_json::{Map, Value, json};
use tidegate_core::history::stays;
use tidegate_core::release::{Event, ReleaseEvent};
use tidegate_core::timeline::{Activity, GroupSpan, Outcome, Segment, StepSpan};
use tidegate_schema::finding::Lang;

use crate::cli::output::ReleaseShown;
use crate::cli::printer::{Printer, columns, padded, wrapped};
use crate::cli::report::brief;
use crate::cli::status::{cut, failure_finding, lasting, phase, tasks};

/// Columns of the labels at the left, as `status` has them.
const GUTTER: usize = 11;
/// Columns behind the bars, for how long and how it ended.
const BEHIND: usize = 20;
/// Where something failed.
const FAILED: char = '✗';
/// The longest name of a step that is not cut.
const NAME: usize = 36;

/// A release as people read it; `with_events` lists everything that was recorded, too.
pub(super) fn show(found: &ReleaseShown, with_events: bool, printer: &Printer) {
    for line in head(found, printer) {
        printer.line(line);
    }
    let mut sections = vec![
        (printer.say("Course", "过程"), bars(found, printer)),
        (printer.say("Decisions", "决定"), decisions(&found.events, printer)),
        (printer.say("Failures", "失败"), failures(&found.events, printer)),
    ];
    if with_events {
        let all = found.events.iter().map(|event| recorded(event, printer)).collect();
        sections.push((printer.say("Events", "事件"), all));
    }
    for (title, lines) in sections.iter().filter(|(_, lines)| !lines.is_empty()) {
        printer.line("");
        printer.line(title.bold());
        for line in lines {
            printer.line(format!("  {line}").trim_end());
        }
    }
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
    let mut section = |label: &'static str, texts: Vec<String>| {
        for (index, text) in texts.into_iter().enumerate() {
            let label = padded(if index == 0 { label } else { "" }, GUTTER);
            lines.push(format!("{}{text}", label.bold()));
        }
    };
    section(printer.say("Plan", "计划"), vec![plan.cyan().to_string()]);
    section(printer.say("Commit", "提交"), vec![row.revision.clone()]);
    section(printer.say("Tasks", "任务"), tasks(&summary.about.tasks, printer));
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

/// Where instants are in a bar.
#[derive(Clone, Copy)]
struct Scale {
    from: Timestamp,
    to: Timestamp,
    width: usize,
}

impl Scale {
    /// The column of an instant; the last one for the end.
    fn column(self, at: Timestamp) -> usize {
        let whole = self.to.duration_since(self.from).as_millis().max(1);
        let part = at.duration_since(self.from).as_millis().clamp(0, whole);
        let width = i128::try_from(self.width).unwrap_or_default();
        usize::try_from(part * width / whole).unwrap_or_default().min(self.width)
    }

    /// A bar: each segment takes a column at least, and that something failed is never drawn over.
    fn bar(self, segments: &[Segment]) -> String {
        let mut cells: Vec<Option<(char, Activity)>> = vec![None; self.width];
        for segment in segments {
            let start = self.column(segment.from).min(self.width.saturating_sub(1));
            let end = self.column(segment.to.unwrap_or(self.to)).max(start + 1);
            let drawn = cells.iter_mut().enumerate().skip(start).take(end - start);
            for (column, cell) in drawn {
                if cell.is_some_and(|(glyph, _)| glyph == FAILED) {
                    continue;
                }
                *cell = Some((glyph(segment.activity, column == start), segment.activity));
            }
        }
        let mut text = String::new();
        for cell in &cells {
            match cell {
                Some((glyph, activity)) => {
                    text.push_str(&glyph.color(colour(*activity)).to_string());
                }
                None => text.push(' '),
            }
        }
        text
    }
}

fn glyph(activity: Activity, is_first: bool) -> char {
    match activity {
        Activity::Changing => '━',
        Activity::Watching => '─',
        Activity::Failed if is_first => FAILED,
        Activity::Asking | Activity::Failed => '·',
        Activity::GoingBack => '◂',
    }
}

fn colour(activity: Activity) -> AnsiColors {
    match activity {
        Activity::Changing => AnsiColors::Cyan,
        Activity::Watching => AnsiColors::Green,
        Activity::Asking | Activity::GoingBack => AnsiColors::Yellow,
        Activity::Failed => AnsiColors::Red,
    }
}

/// Steps and groups over time.
fn bars(found: &ReleaseShown, printer: &Printer) -> Vec<String> {
    let steps = &found.timeline.steps;
    let row = &found.release.release;
    if steps.is_empty() {
        return Vec::new();
    }
    let names: Vec<&str> = steps.iter().map(|step| within_wave(&step.step)).collect();
    let name = names.iter().map(|name| columns(name)).max().unwrap_or_default();
    let name = name.clamp(12, NAME.min(printer.width / 3));
    let width = printer.width.saturating_sub(name + BEHIND + 8).max(12);
    let scale = Scale {
        from: row.started_at,
        to: row.ended_at.unwrap_or_else(|| printer.now()).max(row.started_at),
        width,
    };
    let mut lines = vec![axis(scale, name, printer)];
    let mut wave = "";
    for step in steps {
        let own = step.step.split('/').next().unwrap_or_default();
        if own != wave {
            lines.push(own.to_owned());
            wave = own;
        }
        lines.push(step_line(step, name, scale, printer));
        let is_worth_it = step.groups.len() > 1;
        for group in step.groups.iter().filter(|_| is_worth_it) {
            lines.push(group_line(group, name, scale, printer));
        }
    }
    lines.extend(legend(steps, printer));
    lines
}

/// `wave/cluster/product/app` without its wave.
fn within_wave(step: &str) -> &str {
    step.split_once('/').map_or(step, |(_, rest)| rest)
}

fn axis(scale: Scale, name: usize, printer: &Printer) -> String {
    let is_long = scale.to.duration_since(scale.from).as_hours() >= 24;
    let clock = |at: Timestamp| {
        let form = if is_long { "%F %H:%M" } else { "%T" };
        printer.local(at).strftime(form).to_string()
    };
    let (from, to) = (clock(scale.from), clock(scale.to));
    let gap = scale.width.saturating_sub(columns(&from) + columns(&to)).max(1);
    format!("{}{}", " ".repeat(name + 4), format!("{from}{}{to}", " ".repeat(gap)).dimmed())
}

fn step_line(step: &StepSpan, name: usize, scale: Scale, printer: &Printer) -> String {
    let label = padded(&cut(within_wave(&step.step), name), name);
    let behind = behind(step.seconds, step.outcome, printer);
    format!("  {label}  {}  {behind}", scale.bar(&step.segments))
}

fn group_line(group: &GroupSpan, name: usize, scale: Scale, printer: &Printer) -> String {
    // People count from one.
    let number = group.group + 1;
    let label = match printer.lang {
        Lang::En if group.attempt > 1 => {
            format!("group {number}, try {}", group.attempt)
        }
        Lang::En => format!("group {number}"),
        Lang::Zh if group.attempt > 1 => {
            format!("第 {number} 组，第 {} 次", group.attempt)
        }
        Lang::Zh => format!("第 {number} 组"),
    };
    let label = padded(&cut(&label, name.saturating_sub(2)), name.saturating_sub(2));
    let behind = behind(group.seconds, group.outcome, printer);
    format!("    {label}  {}  {behind}", scale.bar(&group.segments))
}

/// How long it took and how it ended; of what goes on only that.
fn behind(seconds: Option<i64>, outcome: Outcome, printer: &Printer) -> String {
    let took = seconds.map(|seconds| lasting(seconds, printer)).unwrap_or_default();
    let took = " ".repeat(6_usize.saturating_sub(columns(&took))) + &took;
    let (en, zh, colour) = match outcome {
        Outcome::Open => ("under way", "进行中", AnsiColors::Cyan),
        Outcome::Done => ("done", "成功", AnsiColors::Green),
        Outcome::Failed => ("failed", "失败", AnsiColors::Red),
        Outcome::Skipped => ("skipped", "已跳过", AnsiColors::Yellow),
        Outcome::RolledBack => ("rolled back", "已回滚", AnsiColors::Yellow),
        Outcome::Left => ("left", "未完成", AnsiColors::Default),
    };
    format!("{took}  {}", printer.say(en, zh).color(colour))
}

/// What the marks of these bars mean.
fn legend(steps: &[StepSpan], printer: &Printer) -> Vec<String> {
    let segments = steps.iter().flat_map(|step| {
        step.segments.iter().chain(step.groups.iter().flat_map(|group| &group.segments))
    });
    let used: Vec<Activity> = segments.map(|segment| segment.activity).collect();
    let marks = [
        (Activity::Changing, "━", "changes", "变更"),
        (Activity::Watching, "─", "is watched", "观察"),
        (Activity::Asking, "·", "waits for a person", "等待人工"),
        (Activity::Failed, "✗", "failed", "失败"),
        (Activity::GoingBack, "◂", "goes back", "回退"),
    ];
    let told = marks.into_iter().filter(|(activity, ..)| used.contains(activity));
    let told = told.map(|(_, mark, en, zh)| format!("{mark} {}", printer.say(en, zh)));
    vec![told.collect::<Vec<_>>().join("   ").dimmed().to_string()]
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

fn clock(at: Timestamp, printer: &Printer) -> String {
    printer.local(at).strftime("%T").to_string()
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

    #[test]
    fn bars_have_their_width_and_what_was_short_is_seen() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let scale = Scale { from: at(0), to: at(100), width: 10 };
        let segment =
            |activity, from, to: Option<i64>| Segment { activity, from: at(from), to: to.map(at) };
        let drawn =
            |segments: &[Segment]| anstream::adapter::strip_str(&scale.bar(segments)).to_string();
        let all = [
            segment(Activity::Changing, 0, Some(40)),
            segment(Activity::Failed, 40, Some(41)),
            segment(Activity::GoingBack, 41, Some(60)),
        ];
        assert_eq!(drawn(&all), "━━━━✗◂    ");
        assert_eq!(drawn(&[segment(Activity::Failed, 40, None)]), "    ✗·····");
        assert_eq!(drawn(&[segment(Activity::Changing, 100, Some(100))]), "         ━");
        assert_eq!(drawn(&[segment(Activity::Asking, 50, Some(51))]), "     ·    ");
    }
}
