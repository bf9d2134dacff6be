//! Change sets and plans for people: calm text for terminals, Markdown for merge requests, pages for browsers, in English
//! and Chinese.
//!
//! Everything here is masked already: secrets lost their values in `diff`. Values come from documents and clusters, so
//! characters that could steer a terminal or turn text around are written out.

use tidegate_schema::finding::Lang;

use crate::change::ChangeSet;
use crate::plan::{Plan, PlanReport, Task};

mod compare;
mod html;
mod label;
mod markdown;
mod plan;
mod section;
mod text;
mod value;

/// How text looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// The language.
    pub lang: Lang,
    /// Whether colours (ANSI) are used.
    pub has_colour: bool,
    /// Columns of the terminal; longer values are cut, never folded.
    pub width: usize,
    /// Whether every field of created and deleted objects is listed, not only the first few.
    pub is_full: bool,
}

impl Default for Style {
    fn default() -> Self {
        Self { lang: Lang::En, has_colour: false, width: 100, is_full: false }
    }
}

/// What a task is about: `iam`, `iam/iamcore`, `iam (scaling group east)`.
pub fn task_subject(task: &Task, lang: Lang) -> String {
    plan::subject(task, lang)
}

/// A change set for a terminal.
pub fn changes_text(changes: &ChangeSet, style: Style) -> String {
    let mut paper = text::Paper::new(style);
    text::changes(&mut paper, changes);
    paper.finish()
}

/// A plan for a terminal: why, in which order, what, and the digest that approvals name.
pub fn plan_text(plan: &Plan, report: &PlanReport, style: Style) -> String {
    let mut paper = text::Paper::new(style);
    text::plan(&mut paper, plan, report);
    paper.finish()
}

/// Why an object is kept, as people read it.
pub fn reason(lang: Lang, text: &str) -> String {
    label::reason(lang, text)
}

/// What differs between two plans, for somebody who has read the first.
pub fn plans_compared(
    before: (&Plan, &PlanReport),
    after: (&Plan, &PlanReport),
    style: Style,
) -> String {
    let mut paper = text::Paper::new(style);
    compare::plans(&mut paper, before, after, style);
    paper.finish()
}

/// A plan as a comment on a merge request of at most `limit` bytes; what does not fit is left out and said.
pub fn plan_markdown(plan: &Plan, report: &PlanReport, lang: Lang, limit: usize) -> String {
    markdown::plan(plan, report, lang, limit)
}

/// A change set as a comment on a merge request of at most `limit` bytes.
pub fn changes_markdown(changes: &ChangeSet, lang: Lang, limit: usize) -> String {
    markdown::changes(changes, lang, limit)
}

/// A plan as one page for browsers: whole, without scripts, nothing to load.
pub fn plan_html(plan: &Plan, report: &PlanReport, lang: Lang) -> String {
    html::plan(plan, report, lang)
}

/// A change set as one page for browsers.
pub fn changes_html(changes: &ChangeSet, lang: Lang) -> String {
    html::changes(changes, lang)
}

#[cfg(test)]
mod tests;
