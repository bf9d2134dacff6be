//! What concerns the site as a whole: health, status, baseline, drift, freezing and waking.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::object::ObjectRef;

use super::Shared;
use super::answer::{Language, Refusal, json_body, typed};
use super::body::Body;
use super::hooks::Woken;
use crate::handle::Adopt;
use crate::status::Condition;
use crate::wake::Wake;

const PLAIN: &str = "text/plain; charset=utf-8";

/// Starts nothing from now on.
#[derive(Deserialize, JsonSchema)]
pub(super) struct Freeze {
    /// Who asks.
    by: String,
    /// Why.
    reason: String,
}

/// Lifts a freeze.
#[derive(Deserialize, JsonSchema)]
pub(super) struct Unfreeze {
    /// Who asks.
    by: String,
}

/// Whether something may start.
#[derive(Serialize, JsonSchema)]
pub(super) struct Frozen {
    /// Whether nothing may.
    frozen: bool,
}

pub(super) async fn health() -> Response {
    typed(PLAIN, "ok\n")
}

pub(super) async fn readiness(State(shared): State<Shared>) -> Response {
    if shared.handle.status().condition == Condition::Starting {
        return (StatusCode::SERVICE_UNAVAILABLE, "starting\n").into_response();
    }
    typed(PLAIN, "ready\n")
}

pub(super) async fn status(State(shared): State<Shared>) -> Response {
    json_body(&*shared.handle.status())
}

pub(super) async fn baseline(
    State(shared): State<Shared>,
    Language(lang): Language,
) -> Result<Response, Refusal> {
    let baseline = shared.handle.baseline().await;
    let baseline = baseline.map_err(|error| Refusal::journal(&error, lang))?;
    let baseline = baseline.ok_or_else(|| Refusal::not_found("baseline", "current", lang))?;
    Ok(json_body(&baseline))
}

pub(super) async fn export(
    State(shared): State<Shared>,
    Language(lang): Language,
) -> Result<Response, Refusal> {
    let export = shared.handle.export().await;
    let export = export.map_err(|error| Refusal::journal(&error, lang))?;
    let export = export.ok_or_else(|| Refusal::not_found("baseline", "current", lang))?;
    Ok(json_body(&export))
}

pub(super) async fn inventory(
    State(shared): State<Shared>,
    Language(lang): Language,
) -> Result<Response, Refusal> {
    let inventory = shared.handle.inventory().await;
    Ok(json_body(&inventory.map_err(|error| Refusal::journal(&error, lang))?))
}

pub(super) async fn drift(State(shared): State<Shared>) -> Response {
    json_body(&shared.handle.status().drift)
}

/// What is ours from now on.
#[derive(Serialize, JsonSchema)]
pub(super) struct Adopted {
    /// The objects.
    adopted: Vec<ObjectRef>,
}

pub(super) async fn adopt(
    State(shared): State<Shared>,
    Language(lang): Language,
    Body(asked): Body<Adopt>,
) -> Result<Response, Refusal> {
    let done = shared.handle.adopt(asked).await;
    let adopted = done.map_err(|findings| Refusal::conflict(findings, lang))?;
    Ok(json_body(&Adopted { adopted }))
}

pub(super) async fn freeze(
    State(shared): State<Shared>,
    Language(lang): Language,
    Body(asked): Body<Freeze>,
) -> Result<Response, Refusal> {
    let done = shared.handle.freeze(&asked.reason, &asked.by).await;
    done.map_err(|finding| Refusal::conflict(vec![finding], lang))?;
    Ok(json_body(&Frozen { frozen: true }))
}

pub(super) async fn unfreeze(
    State(shared): State<Shared>,
    Language(lang): Language,
    Body(asked): Body<Unfreeze>,
) -> Result<Response, Refusal> {
    let done = shared.handle.unfreeze(&asked.by).await;
    done.map_err(|finding| Refusal::conflict(vec![finding], lang))?;
    Ok(json_body(&Frozen { frozen: false }))
}

pub(super) async fn wake(State(shared): State<Shared>) -> Response {
    shared.handle.wake(Wake::Requested);
    json_body(&Woken { woken: true })
}
