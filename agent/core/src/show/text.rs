//! The form for terminals.

use tidegate_schema::finding::{Finding, Severity};

use super::Style;
use super::label::{self, pick};
use super::plan as words;
use super::section::{self, Entry};
use super::value::{self, Side, columns, cut, padded};
use crate::change::{Action, ChangeSet, ObjectGap};
use crate::plan::{Plan, PlanReport};

/// Colours mean: added, removed, changed, to be looked at, of less interest, heading.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ink {
    Plain,
    Added,
    Removed,
    Changed,
    Grave,
    Faint,
    Heading,
}

/// Text under way.
pub(super) struct Paper {
    style: Style,
    text: String,
}

impl Paper {
    pub(super) fn new(style: Style) -> Self {
        Self { style, text: String::new() }
    }

    pub(super) fn finish(self) -> String {
        self.text
    }

    /// A line, cut to the width.
    fn line(&mut self, indent: usize, ink: Ink, text: &str) {
        let room = self.style.width.max(40).saturating_sub(indent);
        self.whole(indent, ink, &cut(text, room));
    }

    /// A line that is never cut.
    pub(super) fn whole(&mut self, indent: usize, ink: Ink, text: &str) {
        self.text.push_str(&" ".repeat(indent));
        self.text.push_str(&self.inked(ink, text));
        self.text.push('\n');
    }

    fn inked(&self, ink: Ink, text: &str) -> String {
        let code = match ink {
            Ink::Plain => return text.to_owned(),
            _ if !self.style.has_colour || text.is_empty() => return text.to_owned(),
            Ink::Added => "32",
            Ink::Removed => "31",
            Ink::Changed => "33",
            Ink::Grave => "1;31",
            Ink::Faint => "2",
            Ink::Heading => "1",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    pub(super) fn gap(&mut self) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
    }

    pub(super) fn heading(&mut self, text: &str) {
        self.gap();
        self.line(0, Ink::Heading, text);
    }

    /// Rows whose columns stand below each other; blanks at the end are dropped.
    fn table(&mut self, indent: usize, rows: &[Vec<String>]) {
        let count = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(|cell| columns(cell))
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..count).map(width).collect();
        for row in rows {
            // A column that is empty in all rows takes no room.
            let cells = row.iter().zip(&widths).filter(|(_, width)| **width > 0);
            let cells: Vec<_> = cells.map(|(cell, width)| padded(cell, *width)).collect();
            self.line(indent, Ink::Plain, cells.join("  ").trim_end());
        }
    }
}

fn ink(action: Action) -> Ink {
    match action {
        Action::Create => Ink::Added,
        Action::Configure | Action::Move => Ink::Changed,
        Action::Replace => Ink::Grave,
        Action::Prune => Ink::Removed,
        Action::Keep => Ink::Faint,
    }
}

/// All changes, then what could not be observed, then the sum.
pub(super) fn changes(paper: &mut Paper, changes: &ChangeSet) {
    let style = paper.style;
    for section in section::sections(changes, style) {
        paper.heading(&section.title);
        for entry in &section.entries {
            object(paper, entry);
        }
    }
    let is_refused = |gap: &&ObjectGap| gap.refused;
    let (refused, unobserved): (Vec<_>, Vec<_>) = changes.gaps.iter().partition(is_refused);
    gaps(paper, pick(style.lang, "Refused by the API server", "被 API 服务器拒绝"), &refused);
    gaps(paper, pick(style.lang, "Could not be observed", "无法观测"), &unobserved);
    foreign(paper, changes);
    paper.gap();
    let sum = if changes.is_empty() {
        let nothing = pick(style.lang, "No difference", "没有差异");
        format!("{nothing}: {}", section::summary(changes, style))
    } else {
        section::summary(changes, style)
    };
    paper.line(0, Ink::Heading, &sum);
}

fn gaps(paper: &mut Paper, title: &str, gaps: &[&ObjectGap]) {
    if gaps.is_empty() {
        return;
    }
    paper.heading(title);
    for gap in gaps {
        let object = gap.object.as_ref().map(|object| format!(" {object}")).unwrap_or_default();
        let text = format!("{}{object}: {} {}", gap.cluster, gap.gap.code, gap.gap.message);
        paper.line(2, Ink::Changed, &value::harmless(text.trim_end()));
    }
}

/// What others have set, which is no difference.
fn foreign(paper: &mut Paper, changes: &ChangeSet) {
    if changes.foreign.is_empty() {
        return;
    }
    let lang = paper.style.lang;
    paper.heading(pick(lang, "Set by others, and left alone", "由他人设置，不作改动"));
    for own in &changes.foreign {
        let head = format!("{}  {}", own.object, own.object.cluster);
        paper.line(2, Ink::Plain, &value::harmless(&head));
        for field in &own.fields {
            let line = format!("{}  {}", field.field, section::manager(field));
            paper.whole(6, Ink::Faint, &value::harmless(&line));
        }
    }
}

fn object(paper: &mut Paper, entry: &Entry) {
    let style = paper.style;
    let clusters = entry.clusters.join(", ");
    let head = format!("{} {}", label::sign(entry.action), entry.object);
    let room = style.width.max(40).saturating_sub(4 + columns(&head));
    let head = paper.inked(ink(entry.action), &head);
    let tail = paper.inked(Ink::Faint, &cut(&clusters, room));
    let line = if clusters.is_empty() { head } else { format!("{head}  {tail}") };
    paper.whole(2, Ink::Plain, &line);
    for (is_grave, note) in &entry.notes {
        // What is grave is never cut.
        if *is_grave {
            paper.whole(6, Ink::Grave, &format!("! {note}"));
        } else {
            paper.line(6, Ink::Faint, &format!("· {note}"));
        }
    }
    for field in &entry.fields {
        let lines = value::lines(field, style);
        let path = value::harmless(&field.path);
        // New and gone fields fit one line.
        if let [(side, text)] = lines.as_slice() {
            let (sign, ink) = side_ink(*side);
            paper.line(6, ink, &format!("{sign} {path}: {text}"));
            continue;
        }
        paper.line(6, Ink::Plain, &format!("  {path}"));
        for (side, text) in &lines {
            let (sign, ink) = side_ink(*side);
            paper.line(10, ink, &format!("{sign} {text}"));
        }
    }
    if entry.more_fields > 0 {
        let more = pick(style.lang, "more fields", "个其他字段");
        paper.line(6, Ink::Faint, &format!("… {} {more}", entry.more_fields));
    }
}

fn side_ink(side: Side) -> (&'static str, Ink) {
    match side {
        Side::After => ("+", Ink::Added),
        Side::Before => ("-", Ink::Removed),
        Side::Both => (" ", Ink::Faint),
    }
}

/// The plan: refusals first, then why, risks, order, what, and the digest.
pub(super) fn plan(paper: &mut Paper, plan: &Plan, report: &PlanReport) {
    let style = paper.style;
    let lang = style.lang;
    let content = &plan.content;
    let kind = label::release(lang, content.kind);
    paper.heading(&format!("{} · {kind} · {}", content.site, plan.id().short()));
    findings(paper, report, true);
    if plan.changes_nothing() {
        paper.gap();
        let text = pick(
            lang,
            "Nothing to do: the site is as its documents say.",
            "无需变更：站点与文档一致。",
        );
        paper.line(0, Ink::Added, text);
    }
    if !content.tasks.is_empty() {
        paper.heading(pick(lang, "What happens", "内容"));
        let rows: Vec<Vec<String>> =
            content.tasks.iter().map(|task| words::task(task, style).to_vec()).collect();
        paper.table(2, &rows);
    }
    if !content.risks.is_empty() {
        paper.heading(pick(lang, "Look at first", "请先关注"));
        for risk in &content.risks {
            paper.line(2, Ink::Grave, &format!("! {}", label::risk(lang, *risk)));
        }
    }
    waves(paper, plan);
    let changes_exist = !content.changes.is_empty() || content.changes.unchanged > 0;
    if changes_exist {
        paper.heading(pick(lang, "Changes", "变更"));
        changes(paper, &content.changes);
    }
    findings(paper, report, false);
    left_out(paper, report);
    if !plan.changes_nothing() && !report.is_refused() {
        paper.gap();
        paper.whole(0, Ink::Heading, &words::trailer(plan));
    }
}

fn waves(paper: &mut Paper, plan: &Plan) {
    let lang = paper.style.lang;
    if plan.content.waves.is_empty() {
        return;
    }
    paper.heading(pick(lang, "In this order", "顺序"));
    for (index, wave) in plan.content.waves.iter().enumerate() {
        let note = words::wave_note(wave, paper.style);
        let head = format!("{}. {}", index + 1, wave.name);
        let line = if note.is_empty() { head } else { format!("{head}  ({note})") };
        paper.line(2, Ink::Plain, &line);
        let rows: Vec<Vec<String>> =
            words::steps(wave, paper.style).into_iter().map(|row| row.to_vec()).collect();
        paper.table(5, &rows);
    }
    if words::has_marks(plan) {
        let text = pick(lang, "✓ a person confirms before it goes on", "✓ 人工确认后继续");
        paper.line(2, Ink::Faint, text);
    }
}

fn findings(paper: &mut Paper, report: &PlanReport, errors: bool) {
    let lang = paper.style.lang;
    let own: Vec<&Finding> =
        report.findings.iter().filter(|finding| finding.is_error() == errors).collect();
    if own.is_empty() {
        return;
    }
    let title = if errors {
        pick(lang, "Refused: this plan cannot be approved", "已拒绝：该计划不能审批")
    } else {
        pick(lang, "Remarks", "提示")
    };
    paper.heading(title);
    for finding in own {
        let ink = match finding.severity {
            Severity::Error => Ink::Grave,
            Severity::Warning => Ink::Changed,
            Severity::Note => Ink::Plain,
        };
        let message = value::harmless(&finding.message(lang));
        paper.whole(2, ink, &format!("{}: {message}", finding.code));
        if let Some(place) = &finding.place {
            paper.whole(4, Ink::Faint, &place.to_string());
        }
        paper.whole(4, Ink::Plain, &value::harmless(&finding.remedy(lang)));
    }
}

fn left_out(paper: &mut Paper, report: &PlanReport) {
    let lang = paper.style.lang;
    if !report.excluded.is_empty() {
        paper.gap();
        let text = pick(lang, "Left alone, as the solution says:", "按方案不变更：");
        paper.whole(0, Ink::Plain, &format!("{text} {}", report.excluded.join(", ")));
    }
    if !report.unplanned_clusters.is_empty() {
        paper.gap();
        let text = pick(lang, "Not planned, as not observed:", "未观测，未列入计划：");
        paper.whole(0, Ink::Changed, &format!("{text} {}", report.unplanned_clusters.join(", ")));
    }
}
