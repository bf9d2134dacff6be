//! Plans: as JSON for programs, as text and Markdown for people.

use axum::extract::{Path, Query, State};
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::digest::Digest;
use tidegate_core::plan::{Plan, PlanReport};
use tidegate_core::show::{self, Style};
use tidegate_schema::finding::Lang;

use super::Shared;
use super::answer::{Language, Refusal, json_body, typed};

/// The most that a comment on a merge request may have, in bytes (GitHub's limit is 65,536 characters).
const COMMENT: usize = 60_000;

/// How a plan is wanted.
#[derive(Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    format: Shape,
}

/// A plan with its digest.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PlanWithReport")]
pub(super) struct Shown {
    /// The digest, which approvals name.
    id: Digest,
    /// The plan.
    plan: Plan,
    /// What is refused or left out.
    report: PlanReport,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Shape {
    #[default]
    Json,
    Text,
    Markdown,
}

pub(super) async fn current(
    State(shared): State<Shared>,
    Language(lang): Language,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Refusal> {
    let status = shared.handle.status();
    let id = status.current_plan().ok_or_else(|| Refusal::no_plan(lang))?;
    answer(&shared, id, wanted.format, lang).await
}

pub(super) async fn by_digest(
    State(shared): State<Shared>,
    Language(lang): Language,
    Path(text): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Refusal> {
    let not_found = || Refusal::not_found("plan", &text, lang);
    if let Some(id) = Digest::parse(&text) {
        return answer(&shared, &id, wanted.format, lang).await;
    }
    // People copy the short form: it is enough when one plan begins with it.
    let digits = text.trim_start_matches("sha256:").to_ascii_lowercase();
    if digits.len() < 6 {
        return Err(not_found());
    }
    let found = shared.handle.plans_of(&digits).await;
    let found = found.map_err(|error| Refusal::journal(&error, lang))?;
    match found.as_slice() {
        [id] => answer(&shared, id, wanted.format, lang).await,
        _ => Err(not_found()),
    }
}

async fn answer(
    shared: &Shared,
    id: &Digest,
    shape: Shape,
    lang: Lang,
) -> Result<Response, Refusal> {
    let plan = shared.handle.plan(id).await.map_err(|error| Refusal::journal(&error, lang))?;
    let (plan, report) = plan.ok_or_else(|| Refusal::not_found("plan", id.as_str(), lang))?;
    Ok(match shape {
        Shape::Json => json_body(&Shown { id: id.clone(), plan, report }),
        Shape::Text => {
            let style = Style { lang, ..Style::default() };
            typed("text/plain; charset=utf-8", show::plan_text(&plan, &report, style))
        }
        Shape::Markdown => {
            let text = show::plan_markdown(&plan, &report, lang, COMMENT);
            typed("text/markdown; charset=utf-8", text)
        }
    })
}
