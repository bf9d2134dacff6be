//! Hooks of forges: a push there wakes the loop here.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::json;
use tidegate_schema::finding::Finding;

use super::Shared;
use super::answer::{Language, Refusal, json_body};
use crate::wake::{Wake, hook};

/// Takes a hook. What it says is never believed beyond "look again", so a push to another branch is no harm either: but it
/// wakes nobody.
pub(super) async fn git(
    State(shared): State<Shared>,
    Language(lang): Language,
    headers: HeaderMap,
    body: Bytes,
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
    Ok(json_body(&json!({"woken": is_woken})))
}
