//! Hooks of forges: a push there wakes the loop here.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use tidegate_schema::finding::Finding;

use super::Shared;
use super::answer::{Language, Refusal, json_body};
use super::body::Raw;
use crate::wake::{Wake, hook};

/// Whether the loop looks again.
#[derive(Serialize, JsonSchema)]
pub(super) struct Woken {
    /// Whether it does; not for a push to a branch that is not ours.
    pub(super) woken: bool,
}

/// Takes a hook. What it says is never believed beyond "look again", so a push to another branch is no harm either: but it
/// wakes nobody.
pub(super) async fn git(
    State(shared): State<Shared>,
    Language(lang): Language,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Response, Refusal> {
    let refuse = |status, code| Refusal::new(status, Finding::error(code), lang);
    let Some(secret) = &shared.options.hook else {
        return Err(refuse(StatusCode::NOT_FOUND, "HTTP/NO_HOOKS"));
    };
    let event = hook::verify(&headers, &body, secret).map_err(|error| match error {
        hook::HookError::TooLarge => refuse(StatusCode::PAYLOAD_TOO_LARGE, "HTTP/HOOK_REFUSED"),
        hook::HookError::Unsigned
        | hook::HookError::Token
        | hook::HookError::Signature
        | hook::HookError::Body => refuse(StatusCode::UNAUTHORIZED, "HTTP/HOOK_REFUSED"),
    })?;
    let branch = &shared.handle.status().source.branch;
    let is_ours = |pushed: &String| pushed == branch || pushed.starts_with("tidegate/");
    let is_woken = branch.is_empty() || event.branch.as_ref().is_none_or(is_ours);
    if is_woken {
        shared.handle.wake(Wake::Pushed);
    }
    Ok(json_body(&Woken { woken: is_woken }))
}
