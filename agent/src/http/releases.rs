//! Releases: the list, one with its events, and commands to the one under way.

use axum::extract::{Path, Query, State};
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::release::{Command, ReleaseEvent};

use super::Shared;
use super::answer::{Language, Refusal, json_body};
use super::body::Body;
use crate::journal::ReleaseRow;

#[derive(Deserialize)]
pub(super) struct Wanted {
    limit: Option<u32>,
}

/// One release with what happened.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ReleaseWithEvents")]
pub(super) struct Shown {
    /// How it stands.
    release: ReleaseRow,
    /// In order.
    events: Vec<ReleaseEvent>,
}

/// A command that was recorded.
#[derive(Serialize, JsonSchema)]
pub(super) struct Recorded {
    /// The release that it is for.
    release: String,
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
    Query(wanted): Query<Wanted>,
) -> Result<Response, Refusal> {
    let limit = wanted.limit.unwrap_or(20).min(1000);
    let releases = shared.handle.releases(limit).await;
    Ok(json_body(&releases.map_err(|error| Refusal::journal(&error, lang))?))
}

pub(super) async fn show(
    State(shared): State<Shared>,
    Language(lang): Language,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let found = shared.handle.release(&id).await.map_err(|error| Refusal::journal(&error, lang))?;
    let (release, events) = found.ok_or_else(|| Refusal::not_found("release", &id, lang))?;
    Ok(json_body(&Shown { release, events }))
}

pub(super) async fn command(
    State(shared): State<Shared>,
    Language(lang): Language,
    Path(id): Path<String>,
    Body(given): Body<Given>,
) -> Result<Response, Refusal> {
    let release = (id != "current").then_some(id);
    let done = shared.handle.command(release, given.command, &given.by).await;
    let release = done.map_err(|finding| Refusal::conflict(vec![finding], lang))?;
    Ok(json_body(&Recorded { release }))
}
