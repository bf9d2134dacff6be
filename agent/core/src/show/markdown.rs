//! The form for comments on merge requests: the digest and the essence first, details folded, never longer than allowed.

use tidegate_schema::finding::Lang;

use super::Style;
use super::label::{self, pick};
use super::plan as words;
use super::section::{self, Entry, Section};
use super::value::{self, Side};
use crate::change::ChangeSet;
use crate::plan::{Plan, PlanReport};

/// Columns after which values are cut in comments.
const WIDTH: usize = 400;

/// Blocks in the order of importance: what no longer fits is counted and left out.
struct Comment {
    text: String,
    limit: usize,
    left_out: usize,
}

impl Comment {
    /// Adds a block if it fits, with room for the line that says what is missing.
    fn add(&mut self, block: &str) {
        const RESERVE: usize = 200;
        if self.left_out == 0 && self.text.len() + block.len() + RESERVE <= self.limit {
            self.text.push_str(block);
        } else {
            self.left_out += 1;
        }
    }

    fn finish(mut self, lang: Lang) -> String {
        if self.left_out > 0 {
            let line = match lang {
                Lang::En => format!(
                    "\n_{} more sections are left out here, as a comment may not be longer; `tidegate plan` shows all._\n",
                    self.left_out
                ),
                Lang::Zh => format!(
                    "\n_评论长度有限，省略了 {} 节；`tidegate plan` 可查看全部。_\n",
                    self.left_out
                ),
            };
            if self.text.len() + line.len() <= self.limit {
                self.text.push_str(&line);
            }
        }
        self.text
    }
}

fn style(lang: Lang) -> Style {
    Style { lang, has_colour: false, width: WIDTH, is_full: false }
}

pub(super) fn changes(changes: &ChangeSet, lang: Lang, limit: usize) -> String {
    let mut comment = Comment { text: String::new(), limit, left_out: 0 };
    comment.add(&format!("**{}**\n\n", section::summary(changes, style(lang))));
    // What is not known comes before what is: a comment may be cut.
    for (refused, title) in [
        (true, pick(lang, "Refused by the API server", "被 API 服务器拒绝")),
        (false, pick(lang, "Could not be observed", "无法观测")),
    ] {
        let gaps: Vec<_> = changes.gaps.iter().filter(|gap| gap.refused == refused).collect();
        if !gaps.is_empty() {
            comment.add(&format!("**{title}**\n\n"));
        }
        for gap in &gaps {
            let object = gap.object.as_ref().map(|it| format!(" {it}")).unwrap_or_default();
            let what = plain(&format!("{}{object}: {}", gap.cluster, gap.gap.message));
            comment.add(&format!("- ⛔ `{}` {what}\n", gap.gap.code));
        }
        if !gaps.is_empty() {
            comment.add("\n");
        }
    }
    for section in section::sections(changes, style(lang)) {
        comment.add(&folded(&section, style(lang)));
    }
    if !changes.foreign.is_empty() {
        let title = pick(lang, "Set by others, and left alone", "由他人设置，不作改动");
        comment.add(&format!("\n**{title}**\n\n"));
    }
    for own in &changes.foreign {
        for field in &own.fields {
            let object = plain(&format!("{} ({})", own.object, own.object.cluster));
            let (field, who) = (plain(&field.field), plain(&section::manager(field)));
            comment.add(&format!("- {object}: {field} — {who}\n"));
        }
    }
    comment.finish(lang)
}

pub(super) fn plan(plan: &Plan, report: &PlanReport, lang: Lang, limit: usize) -> String {
    let style = style(lang);
    let content = &plan.content;
    let mut comment = Comment { text: String::new(), limit, left_out: 0 };
    let title = pick(lang, "Plan for", "计划：");
    let kind = label::release(lang, content.kind);
    comment.add(&format!("### {title} {} ({kind})\n\n", plain(&content.site)));
    if report.is_refused() {
        let text = pick(lang, "Refused: this plan cannot be approved.", "已拒绝：该计划不能审批。");
        comment.add(&format!("⛔ **{text}**\n\n"));
    } else if plan.changes_nothing() {
        let text = pick(
            lang,
            "Nothing to do: the site is as its documents say.",
            "无需变更：站点与文档一致。",
        );
        comment.add(&format!("{text}\n\n"));
    } else {
        comment.add(&format!("```\n{}\n```\n\n", words::trailer(plan)));
    }
    for finding in &report.findings {
        let place = finding.place.as_ref().map(|place| format!(" `{place}`")).unwrap_or_default();
        let sign = if finding.is_error() { "⛔" } else { "⚠️" };
        let (message, remedy) = (plain(&finding.message(lang)), plain(&finding.remedy(lang)));
        comment.add(&format!("- {sign} `{}`{place} {message}. {remedy}\n", finding.code));
    }
    for risk in &content.risks {
        comment.add(&format!("- ❗ **{}**\n", label::risk(lang, *risk)));
    }
    tasks(&mut comment, plan, style);
    waves(&mut comment, plan, style);
    comment.add(&format!("\n**{}**\n\n", section::summary(&content.changes, style)));
    for section in section::sections(&content.changes, style) {
        comment.add(&folded(&section, style));
    }
    for text in &report.excluded {
        let words = pick(lang, "Left alone, as the solution says", "按方案不变更");
        comment.add(&format!("- {words}: {}\n", plain(text)));
    }
    comment.finish(lang)
}

fn tasks(comment: &mut Comment, plan: &Plan, style: Style) {
    if plan.content.tasks.is_empty() {
        return;
    }
    let head = match style.lang {
        Lang::En => "\n| Task | What | Change | Clusters |\n| --- | --- | --- | --- |\n",
        Lang::Zh => "\n| 任务 | 对象 | 变化 | 集群 |\n| --- | --- | --- | --- |\n",
    };
    let mut table = head.to_owned();
    for task in &plan.content.tasks {
        let cells = words::task(task, style).map(|cell| plain(&cell));
        table.extend(["| ", &cells.join(" | "), " |\n"]);
    }
    comment.add(&table);
}

fn waves(comment: &mut Comment, plan: &Plan, style: Style) {
    let mut lines = vec![String::new()];
    for (index, wave) in plan.content.waves.iter().enumerate() {
        let note = words::wave_note(wave, style);
        let note = if note.is_empty() { note } else { format!(" ({note})") };
        lines.push(format!("{}. **{}**{note}", index + 1, plain(&wave.name)));
        for [what, how, clusters] in words::steps(wave, style) {
            let clusters = if clusters.is_empty() { clusters } else { format!(" — {clusters}") };
            lines.push(format!("   - {}: {}{clusters}", plain(&what), plain(&how)));
        }
    }
    if words::has_marks(plan) {
        let mark = pick(style.lang, "✓ a person confirms before it goes on", "✓ 人工确认后继续");
        lines.extend([String::new(), mark.to_owned()]);
    }
    lines.push(String::new());
    comment.add(&lines.join("\n"));
}

/// A section that the reader opens, its changes as a diff.
fn folded(section: &Section, style: Style) -> String {
    let mut diff = String::new();
    for entry in &section.entries {
        object(&mut diff, entry, style);
    }
    let fence = fence(&diff);
    let count = section.entries.len();
    let title = html(&section.title);
    format!(
        "<details><summary><b>{title}</b> ({count})</summary>\n\n{fence}diff\n{diff}{fence}\n\n</details>\n"
    )
}

fn object(diff: &mut String, entry: &Entry, style: Style) {
    let mut line = |sign: &str, text: &str| {
        diff.push_str(sign);
        diff.push_str(&value::cut(text, WIDTH));
        diff.push('\n');
    };
    let clusters = entry.clusters.join(", ");
    let action = label::action(style.lang, entry.action);
    line("@@ ", &format!("{action} {} @@ {clusters}", entry.object));
    for (is_grave, note) in &entry.notes {
        line(if *is_grave { "! " } else { "# " }, note);
    }
    for field in &entry.fields {
        let lines = value::lines(field, style);
        let path = value::harmless(&field.path);
        if let [(side, text)] = lines.as_slice() {
            line(sign(*side), &format!("{path}: {text}"));
            continue;
        }
        line("  ", &path);
        for (side, text) in &lines {
            line(sign(*side), &format!("  {text}"));
        }
    }
    if entry.more_fields > 0 {
        let more = pick(style.lang, "more fields", "个其他字段");
        line("# ", &format!("… {} {more}", entry.more_fields));
    }
}

fn sign(side: Side) -> &'static str {
    match side {
        Side::Before => "- ",
        Side::After => "+ ",
        Side::Both => "  ",
    }
}

/// A fence longer than any run of backticks inside, so that no value can end it.
fn fence(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    "`".repeat(longest.max(2) + 1)
}

/// Text in a line of Markdown: what would be markup is written out.
fn plain(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for c in value::harmless(text).chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '@') {
            result.push('\\');
        }
        result.push(c);
    }
    result
}

fn html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
