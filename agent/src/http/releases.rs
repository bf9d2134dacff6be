//! Releases: the list, one with its events, and commands to the one under way.

use axum::extract::{FromRequest, FromRequestParts as _, Path, Query, Request, State};
use axum::response::Response;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tidegate_core::release::Command;

use super::Shared;
use super::answer::{Language, Refusal, json_body};

/// A JSON body; what cannot be read is refused like everything else.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let (mut parts, body) = request.into_parts();
        let Ok(Language(lang)) = Language::from_request_parts(&mut parts, state).await;
        let request = Request::from_parts(parts, body);
        // Only this type: a page elsewhere cannot send it without asking first (CORS), and we never say yes.
        let json = axum::Json::<T>::from_request(request, state).await;
        json.map(|axum::Json(value)| Self(value))
            .map_err(|error| Refusal::body(error.body_text(), lang))
    }
}

#[derive(Deserialize)]
pub(super) struct Wanted {
    limit: Option<u32>,
}

/// A command and who gives it.
#[derive(Deserialize)]
pub(super) struct Given {
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
    Ok(json_body(&json!({"release": release, "events": events})))
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
    Ok(json_body(&json!({"release": release})))
}
