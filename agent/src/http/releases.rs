//! Releases: the list, one with its events, and commands to the one under way.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use tidegate_core::history::{Course, Wanted};
use tidegate_core::plan::ReleaseKind;
use tidegate_core::release::{Command, ReleaseEvent, ReleasePhase};
use tidegate_core::timeline::Timeline;

use super::Shared;
use super::answer::{Language, Refusal, json_body};
use super::body::Body;
use crate::journal::{KeptRun, ReleaseSummary};

/// How many are listed when nobody says how many.
const LIMIT: usize = 20;
/// How many are listed at most.
const MOST: usize = 1000;

/// What is said of the query of lists.
pub(super) const QUERY: &[(&str, &str)] = &[
    ("product", "Only those that touch this product."),
    (
        "phase",
        "`running`, `paused`, `failed`, `rollingBack`, `done`, `rolledBack`, `cancelled` or `superseded`.",
    ),
    ("kind", "`release`, `operation` or `test`."),
    ("since", "Only those that started then or later (RFC 3339)."),
    ("until", "Only those that started before (RFC 3339)."),
    ("limit", "How many at most; 20 when absent, never more than 1000."),
];

/// What is said of the query of counts: the same, of all releases.
pub(super) const FILTER: &[(&str, &str)] = match QUERY {
    [filter @ .., _limit] => filter,
    [] => &[],
};

/// Which releases are asked for.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Asked {
    /// The language, which every route takes.
    #[serde(rename = "lang")]
    _lang: Option<IgnoredAny>,
    product: Option<String>,
    phase: Option<ReleasePhase>,
    kind: Option<ReleaseKind>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    limit: Option<usize>,
}

impl Asked {
    fn wanted(self) -> (Wanted, usize) {
        let Self { _lang: _, product, phase, kind, since, until, limit } = self;
        (Wanted { product, phase, kind, since, until }, limit.unwrap_or(LIMIT).min(MOST))
    }
}

/// One release with what happened.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ReleaseWithEvents")]
pub(super) struct Shown {
    /// How it stands, and what it was about.
    release: ReleaseSummary,
    /// In order.
    events: Vec<ReleaseEvent>,
    /// When its parts were under way.
    timeline: Timeline,
    /// Its tasks and tests, each try, as they ended; what they wrote is asked for by number.
    runs: Vec<KeptRun>,
    /// How it went, in numbers.
    course: Course,
    /// Whether what machines did was removed after the retention: then `events`, `timeline` and `runs` lack it.
    is_thinned: bool,
}

/// A command and who gives it.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ReleaseCommand")]
pub(super) struct Given {
    /// Who.
    by: String,
    #[serde(flatten)]
    command: Command,
}

pub(super) async fn list(
    State(shared): State<Shared>,
    Language(lang): Language,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(asked) = asked.map_err(|error| Refusal::query(error.body_text(), lang))?;
    let (wanted, limit) = asked.wanted();
    let releases = shared.handle.releases(&wanted, limit).await;
    Ok(json_body(&releases.map_err(|error| Refusal::journal(&error, lang))?))
}

pub(super) async fn delivery(
    State(shared): State<Shared>,
    Language(lang): Language,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(asked) = asked.map_err(|error| Refusal::query(error.body_text(), lang))?;
    let (wanted, _) = asked.wanted();
    let delivery = shared.handle.delivery(&wanted).await;
    Ok(json_body(&delivery.map_err(|error| Refusal::journal(&error, lang))?))
}

pub(super) async fn show(
    State(shared): State<Shared>,
    Language(lang): Language,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let found = shared.handle.release(&id).await.map_err(|error| Refusal::journal(&error, lang))?;
    let (release, events) = found.ok_or_else(|| Refusal::not_found("release", &id, lang))?;
    let course = shared.handle.course(&id).await;
    let (course, is_thinned) = course.map_err(|error| Refusal::journal(&error, lang))?;
    let runs = shared.handle.runs(&id).await.map_err(|error| Refusal::journal(&error, lang))?;
    let timeline = Timeline::of(&events);
    Ok(json_body(&Shown { release, events, timeline, runs, course, is_thinned }))
}

pub(super) async fn run(
    State(shared): State<Shared>,
    Language(lang): Language,
    Path((id, number)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let unknown = || Refusal::not_found("run", &format!("{id}/{number}"), lang);
    let index = number.parse().map_err(|_| unknown())?;
    let found = shared.handle.run(&id, index).await;
    let found = found.map_err(|error| Refusal::journal(&error, lang))?;
    Ok(json_body(&found.ok_or_else(unknown)?))
}

pub(super) async fn command(
    State(shared): State<Shared>,
    Language(lang): Language,
    Path(id): Path<String>,
    Body(given): Body<Given>,
) -> Result<Response, Refusal> {
    let release = (id != "current").then_some(id);
    let done = shared.handle.command(release, given.command, &given.by).await;
    Ok(json_body(&done.map_err(|finding| Refusal::conflict(vec![finding], lang))?))
}
