//! Steps and groups over time, drawn.

use jiff::Timestamp;
use owo_colors::{AnsiColors, OwoColorize as _};
use tidegate_core::rehearsal::place;
use tidegate_core::timeline::{Activity, GroupSpan, Outcome, Segment, StepSpan};
use tidegate_schema::finding::Lang;

use super::printer::{Printer, columns, padded};
use super::status::{cut, lasting};

/// Columns behind the bars, for how long and how it ended.
const BEHIND: usize = 20;
/// Where something failed.
const FAILED: char = '✗';
/// The longest name of a step that is not cut.
const NAME: usize = 36;

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

/// Steps and groups between two instants, which are written by a clock above them.
pub(super) fn bars(
    steps: &[StepSpan],
    (from, to): (Timestamp, Timestamp),
    clock: impl Fn(Timestamp) -> String,
    printer: &Printer,
) -> Vec<String> {
    if steps.is_empty() {
        return Vec::new();
    }
    let name = steps.iter().map(|step| columns(place(&step.step))).max().unwrap_or_default();
    let name = name.clamp(12, NAME.min(printer.width / 3));
    let width = printer.width.saturating_sub(name + BEHIND + 8).max(12);
    let scale = Scale { from, to, width };
    let mut lines = vec![axis(scale, name, &clock(from), &clock(to))];
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

fn axis(scale: Scale, name: usize, from: &str, to: &str) -> String {
    let gap = scale.width.saturating_sub(columns(from) + columns(to)).max(1);
    format!("{}{}", " ".repeat(name + 4), format!("{from}{}{to}", " ".repeat(gap)).dimmed())
}

fn step_line(step: &StepSpan, name: usize, scale: Scale, printer: &Printer) -> String {
    let label = padded(&cut(place(&step.step), name), name);
    let behind = behind(step.seconds, step.outcome, printer);
    format!("  {label}  {}  {behind}", scale.bar(&step.segments))
}

/// A group as people call it.
pub(super) fn group_name(group: &GroupSpan, printer: &Printer) -> String {
    // People count from one.
    let number = group.group + 1;
    match printer.lang {
        Lang::En if group.attempt > 1 => {
            format!("group {number}, try {}", group.attempt)
        }
        Lang::En => format!("group {number}"),
        Lang::Zh if group.attempt > 1 => {
            format!("第 {number} 组，第 {} 次", group.attempt)
        }
        Lang::Zh => format!("第 {number} 组"),
    }
}

fn group_line(group: &GroupSpan, name: usize, scale: Scale, printer: &Printer) -> String {
    let label = group_name(group, printer);
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

#[cfg(test)]
mod tests {
    use super::*;

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
