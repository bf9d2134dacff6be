//! Approvals that come by hand instead of through the approvals branch.

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use super::Shared;
use super::answer::{Language, Refusal, json_body};
use super::releases::Body;
use crate::approve;
use crate::journal::StoredApproval;

/// A document with its signature.
#[derive(Deserialize)]
pub(super) struct Given {
    document: String,
    signature: String,
}

pub(super) async fn take(
    State(shared): State<Shared>,
    Language(lang): Language,
    Body(given): Body<Given>,
) -> Result<Response, Refusal> {
    let (document, _) = approve::parse("approval.yaml", &given.document)
        .map_err(|findings| Refusal::conflict(findings, lang))?;
    // The name decides the path: handing the same approval in twice is once.
    let name = document.metadata.name.to_string();
    let path = format!("{name}.yaml");
    let file = StoredApproval { path, document: given.document, signature: given.signature };
    let taken = shared.handle.approve(file).await;
    taken.map_err(|findings| Refusal::conflict(findings, lang))?;
    Ok(json_body(&json!({"approval": name})))
}
