//! Approvals that come by hand instead of through the approvals branch.

use axum::extract::State;
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Shared;
use super::answer::{Language, Refusal, json_body};
use super::body::Body;
use crate::approve;
use crate::journal::StoredApproval;

/// A document with its signature.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "SignedApproval")]
pub(super) struct Given {
    /// The `Approval` document, YAML.
    document: String,
    /// Its armoured SSH signature.
    signature: String,
}

/// An approval that was recorded. Whether it counts, the gate says.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Taken {
    /// Its name.
    approval: String,
    /// Whether it names the plan that waits, or the one that a release carries out.
    is_current: bool,
}

pub(super) async fn take(
    State(shared): State<Shared>,
    Language(lang): Language,
    Body(given): Body<Given>,
) -> Result<Response, Refusal> {
    let (document, spec) = approve::parse("approval.yaml", &given.document)
        .map_err(|findings| Refusal::conflict(findings, lang))?;
    let status = shared.handle.status();
    let is_current = status.current_plan().is_some_and(|plan| plan.as_str() == spec.plan);
    // The name decides the path: handing the same approval in twice is once.
    let name = document.metadata.name.to_string();
    let path = format!("{name}.yaml");
    let file = StoredApproval { path, document: given.document, signature: given.signature };
    let taken = shared.handle.approve(file).await;
    taken.map_err(|findings| Refusal::conflict(findings, lang))?;
    Ok(json_body(&Taken { approval: name, is_current }))
}
