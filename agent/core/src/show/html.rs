//! The form for browsers and mail: one file with everything in it, without scripts, light and dark, whole.

use std::fmt::Write as _;

use tidegate_schema::finding::{Finding, Lang, Severity};

use super::Style;
use super::label::{self, pick};
use super::plan as words;
use super::section::{self, Entry, Section};
use super::value::{self, Side};
use crate::change::{Action, ChangeSet, ObjectGap};
use crate::plan::{Plan, PlanReport};

/// How it looks. Colours are named once for light and once for dark; on paper everything is open.
const LOOK: &str = include_str!("html/look.css");

fn style(lang: Lang) -> Style {
    // Nothing is cut: the reader scrolls.
    Style { lang, has_colour: false, width: usize::MAX, is_full: true }
}

/// A page under way.
struct Page {
    style: Style,
    text: String,
}

/// Text between tags, harmless and whole.
fn text(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for letter in value::harmless(text).chars() {
        match letter {
            '&' => result.push_str("&amp;"),
            '<' => result.push_str("&lt;"),
            '>' => result.push_str("&gt;"),
            '"' => result.push_str("&quot;"),
            '\'' => result.push_str("&#39;"),
            other => result.push(other),
        }
    }
    result
}

impl Page {
    fn new(lang: Lang, title: &str) -> Self {
        let mut page = Self { style: style(lang), text: String::new() };
        let title = text(title);
        let language = pick(lang, "en", "zh-CN");
        page.line(&format!("<!doctype html>\n<html lang=\"{language}\">\n<head>"));
        page.line("<meta charset=\"utf-8\">");
        page.line("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
        // What stands in it comes from documents and clusters: nothing is loaded and nothing runs.
        page.line("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">");
        page.line("<meta name=\"color-scheme\" content=\"light dark\">");
        page.line(&format!("<title>{title}</title>\n<style>\n{LOOK}</style>\n</head>\n<body>"));
        page
    }

    /// A line of HTML.
    fn line(&mut self, html: &str) {
        self.text.push_str(html);
        self.text.push('\n');
    }

    fn heading(&mut self, en: &'static str, zh: &'static str) {
        let title = pick(self.style.lang, en, zh);
        self.line(&format!("<h2>{title}</h2>"));
    }

    /// Rows whose cells are text; the head is left out when it is empty.
    fn table(&mut self, class: &str, head: &[&str], rows: &[Vec<String>]) {
        self.line(&format!("<table class=\"{class}\">"));
        let cells = |tag: &str, cells: &mut dyn Iterator<Item = String>| -> String {
            let mut row = "<tr>".to_owned();
            for cell in cells {
                row.extend(["<", tag, ">", &text(&cell), "</", tag, ">"]);
            }
            row + "</tr>"
        };
        if !head.is_empty() {
            let row = cells("th", &mut head.iter().map(|cell| (*cell).to_owned()));
            self.line(&format!("<thead>{row}</thead>"));
        }
        for row in rows {
            let row = cells("td", &mut row.iter().cloned());
            self.line(&row);
        }
        self.line("</table>");
    }

    fn finish(mut self) -> String {
        self.line("</body>\n</html>");
        self.text
    }
}

/// A change set as a page.
pub(super) fn changes(changes: &ChangeSet, lang: Lang) -> String {
    let title = pick(lang, "Changes", "变更");
    let mut page = Page::new(lang, title);
    page.line(&format!("<header><h1>{title}</h1></header>"));
    set(&mut page, changes);
    page.finish()
}

/// A plan as a page.
pub(super) fn plan(plan: &Plan, report: &PlanReport, lang: Lang) -> String {
    let content = &plan.content;
    let kind = label::release(lang, content.kind);
    let title = format!("{} · {kind} · {}", content.site, plan.id().short());
    let mut page = Page::new(lang, &title);
    let head = format!("<header><h1>{} <small>{kind}</small></h1>", text(&content.site));
    page.line(&head);
    if report.is_refused() {
        let refused = pick(lang, "Refused: this plan cannot be approved", "已拒绝：该计划不能审批");
        page.line(&format!("<p class=\"refused\">{refused}</p>"));
    } else if plan.changes_nothing() {
        let nothing = pick(
            lang,
            "Nothing to do: the site is as its documents say.",
            "无需变更：站点与文档一致。",
        );
        page.line(&format!("<p class=\"good\">{nothing}</p>"));
    } else {
        page.line(&format!("<p><code>{}</code></p>", text(&words::trailer(plan))));
    }
    page.line("</header>");
    findings(&mut page, report, true);
    if !content.risks.is_empty() {
        page.heading("Look at first", "请先关注");
        page.line("<ul class=\"grave\">");
        for risk in &content.risks {
            page.line(&format!("<li>{}</li>", label::risk(lang, *risk)));
        }
        page.line("</ul>");
    }
    if !content.tasks.is_empty() {
        page.heading("What happens", "内容");
        let head: [&str; 4] = match lang {
            Lang::En => ["Task", "What", "Change", "Clusters"],
            Lang::Zh => ["任务", "对象", "变化", "集群"],
        };
        let style = page.style;
        let rows: Vec<Vec<String>> =
            content.tasks.iter().map(|task| words::task(task, style).to_vec()).collect();
        page.table("tasks", &head, &rows);
    }
    waves(&mut page, plan);
    set(&mut page, &content.changes);
    findings(&mut page, report, false);
    left_out(&mut page, report);
    page.finish()
}

fn waves(page: &mut Page, plan: &Plan) {
    if plan.content.waves.is_empty() {
        return;
    }
    page.heading("In this order", "顺序");
    let style = page.style;
    page.line("<ol class=\"waves\">");
    for wave in &plan.content.waves {
        let note = words::wave_note(wave, style);
        let note = if note.is_empty() { note } else { format!(" <span>{}</span>", text(&note)) };
        page.line(&format!("<li><b>{}</b>{note}", text(&wave.name)));
        let rows: Vec<Vec<String>> =
            words::steps(wave, style).into_iter().map(|row| row.to_vec()).collect();
        page.table("steps", &[], &rows);
        page.line("</li>");
    }
    page.line("</ol>");
    if words::has_marks(plan) {
        let mark = pick(style.lang, "✓ a person confirms before it goes on", "✓ 人工确认后继续");
        page.line(&format!("<p class=\"faint\">{mark}</p>"));
    }
}

/// The changes by what they belong to, then what could not be observed.
fn set(page: &mut Page, changes: &ChangeSet) {
    let style = page.style;
    page.heading("Changes", "变更");
    page.line(&format!("<p class=\"sum\">{}</p>", text(&section::summary(changes, style))));
    for section in section::sections(changes, style) {
        one_section(page, &section);
    }
    let (refused, unobserved): (Vec<&ObjectGap>, Vec<&ObjectGap>) =
        changes.gaps.iter().partition(|gap| gap.refused);
    for (gaps, en, zh) in [
        (refused, "Refused by the API server", "被 API 服务器拒绝"),
        (unobserved, "Could not be observed", "无法观测"),
    ] {
        if gaps.is_empty() {
            continue;
        }
        page.heading(en, zh);
        page.line("<ul class=\"grave\">");
        for gap in gaps {
            let object = gap.object.as_ref().map(|it| format!(" {it}")).unwrap_or_default();
            let what = format!("{}{object}: {} {}", gap.cluster, gap.gap.code, gap.gap.message);
            page.line(&format!("<li>{}</li>", text(what.trim_end())));
        }
        page.line("</ul>");
    }
    foreign(page, changes);
}

/// What others have set, which is no difference.
fn foreign(page: &mut Page, changes: &ChangeSet) {
    if changes.foreign.is_empty() {
        return;
    }
    page.heading("Set by others, and left alone", "由他人设置，不作改动");
    let mut rows = Vec::new();
    for own in &changes.foreign {
        for field in &own.fields {
            let object = format!("{} ({})", own.object, own.object.cluster);
            rows.push(vec![object, field.field.clone(), section::manager(field)]);
        }
    }
    page.table("tasks", &[], &rows);
}

fn one_section(page: &mut Page, section: &Section) {
    page.line(&format!("<section>\n<h3>{}</h3>", text(&section.title)));
    for entry in &section.entries {
        object(page, entry);
    }
    page.line("</section>");
}

/// The class of an action, which gives its colour.
fn class(action: Action) -> &'static str {
    match action {
        Action::Create => "create",
        Action::Configure => "change",
        Action::Replace => "replace",
        Action::Move => "move",
        Action::Prune => "delete",
        Action::Keep => "keep",
    }
}

fn object(page: &mut Page, entry: &Entry) {
    let lang = page.style.lang;
    let head = format!(
        "<b class=\"action\">{}</b> <code>{}</code> <span class=\"clusters\">{}</span>",
        label::action(lang, entry.action),
        text(&entry.object),
        text(&entry.clusters.join(", "))
    );
    page.line(&format!("<div class=\"object {}\"><p>{head}</p>", class(entry.action)));
    notes(page, entry);
    // Whole objects that come or go are unfolded when somebody wants to see them.
    let is_folded = matches!(entry.action, Action::Create | Action::Prune);
    if is_folded && !entry.fields.is_empty() {
        let count = entry.fields.len();
        let summary = match lang {
            Lang::En if count == 1 => "1 field".to_owned(),
            Lang::En => format!("{count} fields"),
            Lang::Zh => format!("{count} 个字段"),
        };
        page.line(&format!("<details><summary>{summary}</summary>"));
        fields(page, entry);
        page.line("</details>");
    } else if !entry.fields.is_empty() {
        fields(page, entry);
    }
    page.line("</div>");
}

fn fields(page: &mut Page, entry: &Entry) {
    page.line("<table class=\"fields\">");
    for field in &entry.fields {
        let mut lines = String::new();
        for (side, line) in value::lines(field, page.style) {
            let tag = match side {
                Side::Before => "del",
                Side::After => "ins",
                Side::Both => "span",
            };
            // Writing to a String cannot fail.
            writeln!(lines, "<{tag}>{}</{tag}>", text(&line)).unwrap_or_default();
        }
        let lines = lines.trim_end();
        page.line(&format!("<tr><th>{}</th><td>{lines}</td></tr>", text(&field.path)));
    }
    page.line("</table>");
}

fn notes(page: &mut Page, entry: &Entry) {
    if entry.notes.is_empty() {
        return;
    }
    page.line("<ul class=\"notes\">");
    for (is_grave, note) in &entry.notes {
        let class = if *is_grave { " class=\"is-grave\"" } else { "" };
        page.line(&format!("<li{class}>{}</li>", text(note)));
    }
    page.line("</ul>");
}

fn findings(page: &mut Page, report: &PlanReport, errors: bool) {
    let lang = page.style.lang;
    let own: Vec<&Finding> =
        report.findings.iter().filter(|finding| finding.is_error() == errors).collect();
    if own.is_empty() {
        return;
    }
    if errors {
        page.heading("Refused", "已拒绝");
    } else {
        page.heading("Remarks", "提示");
    }
    page.line("<ul class=\"findings\">");
    for finding in own {
        let class = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        let place =
            finding.place.as_ref().map(|it| format!(" <code>{}</code>", text(&it.to_string())));
        page.line(&format!(
            "<li class=\"{class}\"><b>{}</b>{}<br>{}<br><em>{}</em></li>",
            text(&finding.code),
            place.unwrap_or_default(),
            text(&finding.message(lang)),
            text(&finding.remedy(lang))
        ));
    }
    page.line("</ul>");
}

fn left_out(page: &mut Page, report: &PlanReport) {
    let lang = page.style.lang;
    for (names, words) in [
        (&report.excluded, pick(lang, "Left alone, as the solution says:", "按方案不变更：")),
        (
            &report.unplanned_clusters,
            pick(lang, "Not planned, as not observed:", "未观测，未列入计划："),
        ),
    ] {
        if !names.is_empty() {
            page.line(&format!("<p>{words} {}</p>", text(&names.join(", "))));
        }
    }
}
