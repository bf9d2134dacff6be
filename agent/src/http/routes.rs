//! Every route of the endpoint, in one list.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use serde_json::{Map, Value};
use tidegate_core::baseline::{Baseline, Export};
use tidegate_core::change::Change;
use tidegate_core::delivery::Delivery;
use tidegate_core::live::Inventory;
use tidegate_schema::finding::Finding;

use super::answer::{Language, Refusal, json_body};
use super::hooks::Woken;
use super::openapi::{Content, Table};
use super::plans::Shown;
use super::{LARGEST_BODY, Options, Shared};
use super::{approvals, events, guard, hooks, metrics, plans, releases, site};
use crate::handle::{Adopt, Handle, Recorded};
use crate::journal::{ReleaseSummary, RunWithLogs};
use crate::status::Status;

const TEXTS: &[&str] = &["text/plain", "text/markdown"];
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
    Table::default()
        .get(
            "/healthz",
            "Whether the agent lives.",
            &[],
            Content::text("text/plain"),
            get(site::health),
        )
        .get(
            "/readyz",
            "Whether its first round has ended.",
            &[],
            Content::text("text/plain"),
            get(site::readiness),
        )
        .get(
            "/metrics",
            "Metrics in the text form of Prometheus.",
            &[],
            Content::text("text/plain"),
            get(metrics::metrics),
        )
        .get(
            "/status",
            "Everything that the agent knows, does and waits for.",
            &[],
            Content::json::<Status>(),
            get(site::status),
        )
        .get(
            "/openapi.json",
            "This document.",
            &[],
            Content::json::<Map<String, Value>>(),
            get(document),
        )
        .get(
            "/api/v1/status",
            "The same as /status.",
            &[],
            Content::json::<Status>(),
            get(site::status),
        )
        .get(
            "/api/v1/plans/current",
            "The plan that is to be executed next.",
            &[SHAPE],
            Content::json::<Shown>().or(TEXTS),
            get(plans::current),
        )
        .get(
            "/api/v1/plans/{digest}",
            "A plan by its digest, or the beginning of it.",
            &[SHAPE],
            Content::json::<Shown>().or(TEXTS),
            get(plans::by_digest),
        )
        .get(
            "/api/v1/releases",
            "Releases, newest first.",
            releases::QUERY,
            Content::json::<Vec<ReleaseSummary>>(),
            get(releases::list),
        )
        .get(
            "/api/v1/delivery",
            "How delivery goes, in numbers: each release measured, and sums.",
            releases::FILTER,
            Content::json::<Delivery>(),
            get(releases::delivery),
        )
        .get(
            "/api/v1/releases/{id}",
            "One release with its events.",
            &[],
            Content::json::<releases::Shown>(),
            get(releases::show),
        )
        .get(
            "/api/v1/releases/{id}/runs/{number}",
            "One try of a task or a test of a release, with what its containers wrote.",
            &[],
            Content::json::<RunWithLogs>(),
            get(releases::run),
        )
        .post(
            "/api/v1/releases/{id}/commands",
            "A command to the release under way; its id may be `current`.",
            Some(Content::json::<releases::Given>()),
            Content::json::<Recorded>(),
            post(releases::command),
        )
        .get(
            "/api/v1/baseline",
            "What the site has reached.",
            &[],
            Content::json::<Baseline>(),
            get(site::baseline),
        )
        .get(
            "/api/v1/baseline/export",
            "What the site has reached, with what another agent needs to go on from it.",
            &[],
            Content::json::<Export>(),
            get(site::export),
        )
        .get(
            "/api/v1/inventory",
            "The objects that the agent owns.",
            &[],
            Content::json::<Inventory>(),
            get(site::inventory),
        )
        .get(
            "/api/v1/drift",
            "Changes that nobody declared.",
            &[],
            Content::json::<Vec<Change>>(),
            get(site::drift),
        )
        .post(
            "/api/v1/approvals",
            "Hands in a signed approval.",
            Some(Content::json::<approvals::Given>()),
            Content::json::<approvals::Taken>(),
            post(approvals::take),
        )
        .post(
            "/api/v1/adopt",
            "Takes over objects that exist and are not ours, as the last plan names them.",
            Some(Content::json::<Adopt>()),
            Content::json::<site::Adopted>(),
            post(site::adopt),
        )
        .post(
            "/api/v1/freeze",
            "Starts nothing until unfrozen.",
            Some(Content::json::<site::Freeze>()),
            Content::json::<site::Frozen>(),
            post(site::freeze),
        )
        .post(
            "/api/v1/unfreeze",
            "Lifts a freeze; acknowledges a rewritten history.",
            Some(Content::json::<site::Unfreeze>()),
            Content::json::<site::Frozen>(),
            post(site::unfreeze),
        )
        .post("/api/v1/wake", "Looks again now.", None, Content::json::<Woken>(), post(site::wake))
        .get(
            "/api/v1/events",
            "What is recorded from now on, as server-sent events.",
            &[],
            Content::text("text/event-stream"),
            get(events::events),
        )
        .post(
            "/hooks/git",
            "A push, as GitLab and GitHub tell it; proven by the shared secret.",
            Some(Content::json::<Map<String, Value>>()),
            Content::json::<Woken>(),
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
