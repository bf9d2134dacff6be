//! Every route of the endpoint, in one list.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use serde_json::json;
use tidegate_schema::finding::Finding;

use super::answer::{Language, Refusal, json_body};
use super::openapi::Table;
use super::{LARGEST_BODY, Options, Shared};
use super::{approvals, events, guard, hooks, metrics, plans, releases, site};
use crate::handle::Handle;

const SHAPE: (&str, &str) = ("format", "`json` (default), `text` or `markdown`");

/// The routes, guarded.
pub(super) fn router(handle: Handle, options: Options) -> Router {
    let table = table();
    let document = Arc::new(table.document());
    let shared = Shared { handle, options: Arc::new(options), document };
    table
        .router()
        .fallback(unknown)
        .layer(axum::middleware::from_fn_with_state(shared.clone(), guard::guard))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(shared)
}

/// The routes with what is said about them.
#[expect(clippy::too_many_lines, reason = "one list")]
pub(super) fn table() -> Table {
    let by = json!({"type": "string", "description": "Who asks."});
    let who = json!({"type": "object", "required": ["by"], "properties": {"by": by}});
    let freeze = json!({
        "type": "object", "required": ["by", "reason"],
        "properties": {"by": by, "reason": {"type": "string"}},
    });
    let command = json!({
        "type": "object", "required": ["by", "command"],
        "properties": {
            "by": by,
            "command": {"enum": ["confirm", "pause", "resume", "retry", "skip", "rollback", "cancel"]},
            "step": {"type": "string"}, "product": {"type": "string"}, "reason": {"type": "string"},
        },
    });
    let approval = json!({
        "type": "object", "required": ["document", "signature"],
        "properties": {
            "document": {"type": "string", "description": "The Approval document, YAML."},
            "signature": {"type": "string", "description": "Its armoured SSH signature."},
        },
    });
    Table::default()
        .get("/healthz", "Whether the agent lives.", &[], get(site::health))
        .get("/readyz", "Whether its first round has ended.", &[], get(site::readiness))
        .get("/metrics", "Metrics in the text form of Prometheus.", &[], get(metrics::metrics))
        .get(
            "/status",
            "Everything that the agent knows, does and waits for.",
            &[],
            get(site::status),
        )
        .get("/openapi.json", "This document.", &[], get(document))
        .get("/api/v1/status", "The same as /status.", &[], get(site::status))
        .get(
            "/api/v1/plans/current",
            "The plan that is to be executed next.",
            &[SHAPE],
            get(plans::current),
        )
        .get(
            "/api/v1/plans/{digest}",
            "A plan by its digest, or the beginning of it.",
            &[SHAPE],
            get(plans::by_digest),
        )
        .get(
            "/api/v1/releases",
            "Releases, newest first.",
            &[("limit", "How many; 20 when absent.")],
            get(releases::list),
        )
        .get("/api/v1/releases/{id}", "One release with its events.", &[], get(releases::show))
        .post(
            "/api/v1/releases/{id}/commands",
            "A command to the release under way; its id may be `current`.",
            command,
            post(releases::command),
        )
        .get("/api/v1/baseline", "What the site has reached.", &[], get(site::baseline))
        .get("/api/v1/inventory", "The objects that the agent owns.", &[], get(site::inventory))
        .get("/api/v1/drift", "Changes that nobody declared.", &[], get(site::drift))
        .post("/api/v1/approvals", "Hands in a signed approval.", approval, post(approvals::take))
        .post("/api/v1/freeze", "Starts nothing until unfrozen.", freeze, post(site::freeze))
        .post(
            "/api/v1/unfreeze",
            "Lifts a freeze; acknowledges a rewritten history.",
            who,
            post(site::unfreeze),
        )
        .post("/api/v1/wake", "Looks again now.", json!({"type": "object"}), post(site::wake))
        .get(
            "/api/v1/events",
            "What is recorded from now on, as server-sent events.",
            &[],
            get(events::events),
        )
        .post(
            "/hooks/git",
            "A push, as GitLab and GitHub tell it; proven by the shared secret.",
            json!({"type": "object"}),
            post(hooks::git),
        )
}

async fn document(State(shared): State<Shared>) -> Response {
    json_body(&*shared.document)
}

async fn unknown(Language(lang): Language, uri: Uri) -> Response {
    let finding = Finding::error("HTTP/NOT_FOUND").with("what", "path").with("name", uri.path());
    Refusal::new(StatusCode::NOT_FOUND, finding, lang).into_response()
}
