//! A rehearsal for a terminal.

use owo_colors::OwoColorize as _;
use tidegate_core::plan::OnFailure;
use tidegate_core::rehearsal::{
    FailingRun, Origin, PodCount, Reaction, ReactionKind, Rehearsal, Run, StartTime, place,
};
use tidegate_core::release::ReleasePhase;
use tidegate_schema::finding::{Lang, Severity};

use crate::cli::bars::bars;
use crate::cli::printer::{GUTTER, Printer, labelled, padded, table, wrapped};
use crate::cli::report::{brief, plural};
use crate::cli::status::{phase, tasks};
use crate::status::failure_finding;

/// Lines about the pods of one app, and so many start times, before the rest is left out and said.
const MOST: usize = 12;

pub(super) fn show(found: &Rehearsal, printer: &Printer) {
    for line in head(found, printer) {
        printer.line(line.trim_end());
    }
    let mut sections = vec![
        (printer.say("Course", "过程"), course(&found.run, printer)),
        (printer.say("Failures", "失败"), failures(&found.run, printer)),
        (printer.say("Pods", "Pod"), pods(&found.run, printer)),
    ];
    if let Some(failing) = &found.failing {
        let title = printer.say("If the first group fails", "如果第一组失败");
        sections.push((title, failed(failing, printer)));
    }
    if let Some(differs) = &found.differs {
        let title = printer.say("Another plan than was asked for", "与所请求的计划不同");
        sections.push((title, differs.text.lines().map(str::to_owned).collect()));
    }
    let title = printer.say("What it does not know", "演练无法知道的");
    sections.push((title, limits(found, printer)));
    printer.sections(&sections);
}

/// In one sentence.
pub(super) fn summary(found: &Rehearsal, printer: &Printer) -> String {
    let took = span(found.run.seconds, printer);
    let (approvals, confirmations) = (found.approvals.len(), found.confirmations.len());
    match (printer.lang, found.run.phase) {
        (Lang::En, ReleasePhase::Done) => format!(
            "It ends well after {took}. People would be asked for {} and {}, whose time is not counted.",
            count(approvals, "approval"),
            count(confirmations, "confirmation")
        ),
        (Lang::En, _) => format!("It does not end well: it stands still after {took}."),
        (Lang::Zh, ReleasePhase::Done) => format!(
            "{took}后成功结束。需要 {approvals} 项审批和 {confirmations} 次确认，等待人工的时间不计。"
        ),
        (Lang::Zh, _) => format!("没有成功结束：{took}后停住。"),
    }
}

fn count(count: usize, word: &str) -> String {
    if count == 0 { format!("no {word}") } else { plural(count, word) }
}

/// What was copied, in one sentence.
pub(super) fn origin(found: &Rehearsal, printer: &Printer) -> &'static str {
    match found.origin {
        Origin::Live => printer.say("copies of the live clusters", "线上集群的副本"),
        Origin::Baseline => printer.say("clusters made from the baseline", "按基线搭建的模拟集群"),
    }
}

fn head(found: &Rehearsal, printer: &Printer) -> Vec<String> {
    let plan = found.plan.short().cyan().to_string();
    let at = printer.local(found.at).strftime("%F %T");
    let what = match printer.lang {
        Lang::En => format!("rehearsed on {}", origin(found, printer)),
        Lang::Zh => format!("在{}上演练", origin(found, printer)),
    };
    let title = format!("{} {plan}  {what}  {at}", printer.say("Plan", "计划").bold());
    let mut lines = vec![title];
    lines.extend(wrapped(&summary(found, printer), printer.width));
    lines.push(String::new());
    let mut section = |label: &str, texts: Vec<String>| lines.extend(labelled(label, texts));
    section(printer.say("Tasks", "任务"), tasks(&found.tasks, printer));
    section(printer.say("Copies", "副本"), table(&copies(found, printer)));
    section(printer.say("Asks for", "需要"), asked(found, printer));
    section(printer.say("Pods take", "启动耗时"), starts(found, printer));
    lines
}

/// A line for each copy.
pub(super) fn copies(found: &Rehearsal, printer: &Printer) -> Vec<Vec<String>> {
    let line = |(name, copy): (&String, &tidegate_core::rehearsal::CopiedCluster)| {
        let size = match printer.lang {
            Lang::En => {
                format!("{} objects, {} nodes, {} pods", copy.objects, copy.nodes, copy.pods)
            }
            Lang::Zh => {
                format!("{} 个对象，{} 个节点，{} 个 Pod", copy.objects, copy.nodes, copy.pods)
            }
        };
        vec![name.clone(), copy.version.clone().unwrap_or_default(), size]
    };
    found.clusters.iter().map(line).collect()
}

fn asked(found: &Rehearsal, printer: &Printer) -> Vec<String> {
    let room = printer.width.saturating_sub(GUTTER);
    let mut lines: Vec<String> = Vec::new();
    for finding in &found.approvals {
        lines.extend(wrapped(&finding.message(printer.lang), room));
    }
    lines.extend(confirmations(found, printer));
    lines
}

/// A line for each confirmation.
pub(super) fn confirmations(found: &Rehearsal, printer: &Printer) -> Vec<String> {
    let line = |asked: &tidegate_core::rehearsal::ConfirmationAsked| {
        let at = since(asked.after_seconds);
        // People count from one.
        match (printer.lang, asked.group) {
            (Lang::En, Some(group)) => {
                format!("{at}  a confirmation after group {} of {}", group + 1, asked.of)
            }
            (Lang::En, None) => format!("{at}  a confirmation of wave {}", asked.of),
            (Lang::Zh, Some(group)) => {
                format!("{at}  {} 第 {} 组之后的确认", asked.of, group + 1)
            }
            (Lang::Zh, None) => format!("{at}  批次 {} 的确认", asked.of),
        }
    };
    found.confirmations.iter().map(line).collect()
}

fn starts(found: &Rehearsal, printer: &Printer) -> Vec<String> {
    shortened(table(&taken(found, printer)), printer)
}

/// A line for each app: how long its pods were taken to need, and where that is from.
pub(super) fn taken(found: &Rehearsal, printer: &Printer) -> Vec<Vec<String>> {
    let line = |(place, start): (&String, &StartTime)| {
        vec![place.clone(), span(start.seconds, printer), basis(start, printer)]
    };
    found.starts.iter().map(line).collect()
}

fn shortened(mut lines: Vec<String>, printer: &Printer) -> Vec<String> {
    let more = lines.len().saturating_sub(MOST);
    if more > 1 {
        lines.truncate(MOST);
        lines.push(match printer.lang {
            Lang::En => format!("… and {more} more; --format json has all"),
            Lang::Zh => format!("…… 另有 {more} 行；--format json 列出全部"),
        });
    }
    lines
}

/// Where a start time is from.
fn basis(start: &StartTime, printer: &Printer) -> String {
    if start.measured == 0 {
        return printer
            .say("a guess: no past release tells", "猜测：过去的发布没有记录")
            .to_owned();
    }
    let releases: Vec<&str> = start.releases.iter().map(String::as_str).collect();
    match printer.lang {
        Lang::En => {
            format!("measured {}× in {}", start.measured, releases.join(", "))
        }
        Lang::Zh => format!("在 {} 中测得 {} 次", releases.join("、"), start.measured),
    }
}

/// The bars, by time since the start.
pub(super) fn course(run: &Run, printer: &Printer) -> Vec<String> {
    let to = run.started_at.checked_add(jiff::SignedDuration::from_secs(run.seconds));
    let to = to.unwrap_or(run.started_at).max(run.started_at);
    let clock = |at: jiff::Timestamp| since(at.duration_since(run.started_at).as_secs());
    bars(&run.timeline.steps, (run.started_at, to), clock, printer)
}

pub(super) fn failures(run: &Run, printer: &Printer) -> Vec<String> {
    let mut lines = Vec::new();
    for failed in &run.failures {
        let group = failed.group.map(|group| match printer.lang {
            Lang::En => format!(", group {}", group + 1),
            Lang::Zh => format!("，第 {} 组", group + 1),
        });
        let group = group.unwrap_or_default();
        lines.push(format!("{}  {}{group}", since(failed.after_seconds), failed.step));
        for text in brief(&failure_finding(&failed.failure), printer, 12) {
            lines.push(format!("          {text}"));
        }
    }
    lines
}

/// Pods of each app over time: of those that are only made, in one line.
fn pods(run: &Run, printer: &Printer) -> Vec<String> {
    let (made, changed) = made_and_changed(run, printer);
    let mut lines = table(&made);
    for (place, counts) in changed {
        lines.push(place.clone());
        let all = shortened(table(&rows(counts, printer)), printer);
        lines.extend(all.into_iter().map(|line| format!("  {line}")));
    }
    lines
}

/// Apps with how their pods came and went.
type Counted<'a> = Vec<(&'a String, &'a Vec<PodCount>)>;

/// A line for each app that had no pods, and those that had some.
pub(super) fn made_and_changed<'a>(
    run: &'a Run,
    printer: &Printer,
) -> (Vec<Vec<String>>, Counted<'a>) {
    let is_made = |counts: &[PodCount]| counts.iter().all(|count| count.old == 0);
    let (made, changed): (Vec<_>, Vec<_>) =
        run.pods.iter().partition(|(_, counts)| is_made(counts));
    (made.into_iter().map(|it| created(it, printer)).collect(), changed)
}

/// Pods of an app that had none.
fn created((place, counts): (&String, &Vec<PodCount>), printer: &Printer) -> Vec<String> {
    let last = counts.last().copied().unwrap_or_default();
    let at = since(last.after_seconds);
    let text = match (printer.lang, last.new == last.new_ready) {
        (Lang::En, true) => format!("{} new, all ready at {at}", last.new),
        (Lang::En, false) => format!("{} new, {} ready at {at}", last.new, last.new_ready),
        (Lang::Zh, true) => format!("新建 {} 个，{at} 全部就绪", last.new),
        (Lang::Zh, false) => format!("新建 {} 个，{at} 时 {} 个就绪", last.new, last.new_ready),
    };
    vec![place.clone(), text]
}

/// A line for each change of an app's pods, below their heads.
pub(super) fn rows(counts: &[PodCount], printer: &Printer) -> Vec<Vec<String>> {
    let heads = [
        printer.say("AT", "时刻"),
        printer.say("OLD", "旧"),
        printer.say("READY", "就绪"),
        printer.say("NEW", "新"),
        printer.say("READY", "就绪"),
    ];
    let row = |count: &PodCount| {
        let numbers = [count.old, count.old_ready, count.new, count.new_ready];
        let mut row = vec![since(count.after_seconds)];
        row.extend(numbers.iter().map(ToString::to_string));
        row
    };
    let heads = std::iter::once(heads.map(str::to_owned).to_vec());
    heads.chain(steady(counts).iter().map(row)).collect()
}

/// What was before, and then of several changes within the same second the last one.
fn steady(counts: &[PodCount]) -> Vec<PodCount> {
    let mut kept: Vec<PodCount> = Vec::new();
    for count in counts {
        let is_first = kept.len() < 2;
        match kept.last_mut() {
            Some(last) if !is_first && last.after_seconds == count.after_seconds => *last = *count,
            _ => kept.push(*count),
        }
    }
    kept
}

fn failed(failing: &FailingRun, printer: &Printer) -> Vec<String> {
    let mut lines = wrapped(&supposed(failing, printer), printer.width.saturating_sub(2));
    lines.push(String::new());
    lines.extend(told(failing, printer));
    lines.push(String::new());
    lines.extend(wrapped(&then(failing, printer), printer.width.saturating_sub(2)));
    lines.extend(running(failing, printer).into_iter().map(|line| format!("  {line}")));
    lines.push(String::new());
    lines.extend(course(&failing.run, printer));
    lines
}

/// What was supposed.
pub(super) fn supposed(failing: &FailingRun, printer: &Printer) -> String {
    match printer.lang {
        Lang::En => format!("The same again, but new pods of {} never become ready.", failing.step),
        Lang::Zh => format!("再演练一次，但 {} 的新 Pod 始终不就绪。", failing.step),
    }
}

/// What failed and what was done about it, in order.
pub(super) fn told(failing: &FailingRun, printer: &Printer) -> Vec<String> {
    let run = &failing.run;
    let mut all: Vec<(i64, u8, String)> = Vec::new();
    for failed in &run.failures {
        let message = failure_finding(&failed.failure).message(printer.lang);
        all.push((failed.after_seconds, 0, format!("✗ {message}")));
    }
    for reaction in &run.reactions {
        all.push((reaction.after_seconds, 1, format!("→ {}", reacted(reaction, failing, printer))));
    }
    all.sort();
    let room = printer.width.saturating_sub(14);
    let mut lines = Vec::new();
    for (at, _, text) in all {
        for (index, line) in wrapped(&text, room).into_iter().enumerate() {
            let at = if index == 0 { since(at) } else { String::new() };
            lines.push(format!("{}  {line}", padded(&at, 8)));
        }
    }
    lines
}

fn reacted(reaction: &Reaction, failing: &FailingRun, printer: &Printer) -> String {
    let attempt = reaction.attempt.unwrap_or_default();
    let policy = match failing.on_failure {
        OnFailure::Pause => "onFailure: pause",
        OnFailure::Rollback => "onFailure: rollback",
    };
    match (printer.lang, &reaction.what) {
        (Lang::En, ReactionKind::Retried) => {
            format!("a rule tries again without asking ({attempt})")
        }
        (Lang::Zh, ReactionKind::Retried) => format!("规则自动重试（第 {attempt} 次）"),
        (Lang::En, ReactionKind::Skipped) => "a rule lets it count as done".to_owned(),
        (Lang::Zh, ReactionKind::Skipped) => "规则将其视为完成".to_owned(),
        (Lang::En, ReactionKind::Cancelled) => "a rule cancels the release".to_owned(),
        (Lang::Zh, ReactionKind::Cancelled) => "规则取消发布".to_owned(),
        (Lang::En, ReactionKind::WentBack) => format!("the policy goes back ({policy})"),
        (Lang::Zh, ReactionKind::WentBack) => format!("按策略回退（{policy}）"),
        (Lang::En, ReactionKind::RolledBack) => "everything is as it was before".to_owned(),
        (Lang::Zh, ReactionKind::RolledBack) => "全部恢复到之前的状态".to_owned(),
        (Lang::En, ReactionKind::Paused) => {
            format!("the release waits for a person ({policy}): retry, skip or roll back")
        }
        (Lang::Zh, ReactionKind::Paused) => {
            format!("发布等待人工处理（{policy}）：重试、跳过或回滚")
        }
    }
}

/// Where it stands then, in one sentence.
pub(super) fn then(failing: &FailingRun, printer: &Printer) -> String {
    let FailingRun { done, not_begun, run, .. } = failing;
    let state = anstream::adapter::strip_str(&phase(run.phase, printer)).to_string();
    let took = span(run.seconds, printer);
    match printer.lang {
        Lang::En => format!(
            "After {took} the release is {state}: {} done, {not_begun} not begun. Then there run:",
            plural(*done, "step")
        ),
        Lang::Zh => {
            format!(
                "{took}后发布的状态为“{state}”：完成 {done} 个步骤，{not_begun} 个未开始。此时运行："
            )
        }
    }
}

/// The pods of each app at the end.
pub(super) fn running(failing: &FailingRun, printer: &Printer) -> Vec<String> {
    let line = |(place, counts): (&String, &Vec<PodCount>)| {
        let last = counts.last().copied().unwrap_or_default();
        let own = |total: usize, ready: usize, en: &str, zh: &str| match (printer.lang, total) {
            (_, 0) => None,
            (Lang::En, _) => Some(format!("{total} {en} ({ready} ready)")),
            (Lang::Zh, _) => Some(format!("{total} 个{zh} Pod（{ready} 个就绪）")),
        };
        let parts = [
            own(last.old, last.old_ready, "old", "旧"),
            own(last.new, last.new_ready, "new", "新"),
        ];
        let text = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
        let none = printer.say("no pods", "没有 Pod").to_owned();
        vec![place.clone(), if text.is_empty() { none } else { text }]
    };
    let is_own = |name: &str| name == place(&failing.step);
    let (mut first, mut others): (Vec<_>, Vec<_>) =
        failing.run.pods.iter().partition(|(name, _)| is_own(name));
    first.append(&mut others);
    let rows: Vec<Vec<String>> = first.into_iter().map(line).collect();
    shortened(table(&rows), printer)
}

fn limits(found: &Rehearsal, printer: &Printer) -> Vec<String> {
    let mut lines = Vec::new();
    for finding in &found.limits {
        let mark = match finding.severity {
            Severity::Error | Severity::Warning => "!".yellow().to_string(),
            Severity::Note => "·".dimmed().to_string(),
        };
        let text = wrapped(&finding.message(printer.lang), printer.width.saturating_sub(4));
        for (index, line) in text.into_iter().enumerate() {
            lines.push(if index == 0 { format!("{mark} {line}") } else { format!("  {line}") });
        }
    }
    lines
}

/// Time since the start: `+3:07`, `+1:02:03`.
fn since(seconds: i64) -> String {
    let (hours, minutes, rest) = (seconds / 3600, seconds % 3600 / 60, seconds % 60);
    match hours {
        0 => format!("+{minutes}:{rest:02}"),
        hours => format!("+{hours}:{minutes:02}:{rest:02}"),
    }
}

/// How long something takes, to the second where that is worth saying.
fn span(seconds: i64, printer: &Printer) -> String {
    let (hours, minutes, rest) = (seconds / 3600, seconds % 3600 / 60, seconds % 60);
    match (printer.lang, seconds) {
        (Lang::En, ..120) => format!("{seconds} s"),
        (Lang::En, 120..7200) => format!("{} min {rest} s", seconds / 60),
        (Lang::En, _) => format!("{hours} h {minutes} min"),
        (Lang::Zh, ..120) => format!("{seconds} 秒"),
        (Lang::Zh, 120..7200) => format!("{} 分 {rest} 秒", seconds / 60),
        (Lang::Zh, _) => format!("{hours} 小时 {minutes} 分"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_on_a_stopwatch() {
        assert_eq!([since(7), since(187), since(3723)], ["+0:07", "+3:07", "+1:02:03"]);
    }

    #[test]
    fn of_changes_within_a_second_the_last_is_shown() {
        let count = |after_seconds, new| PodCount { after_seconds, new, ..PodCount::default() };
        let kept = steady(&[count(0, 0), count(3, 1), count(3, 2), count(4, 3)]);
        assert_eq!(kept.iter().map(|it| it.new).collect::<Vec<_>>(), [0, 2, 3]);
        let kept = steady(&[count(0, 0), count(0, 1), count(0, 2)]);
        assert_eq!(kept.iter().map(|it| it.new).collect::<Vec<_>>(), [0, 2]);
    }
}
