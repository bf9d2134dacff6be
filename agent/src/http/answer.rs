//! Answers: JSON for programs, and errors as code, message and remedy in the language that was asked for.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use tidegate_schema::finding::{Finding, Lang};

/// The language of texts: `?lang=zh`, then `Accept-Language`, then English.
#[derive(Clone, Copy, Debug)]
pub(super) struct Language(pub(super) Lang);

impl<S: Sync> FromRequestParts<S> for Language {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let query = parts.uri.query().unwrap_or_default();
        let asked = query.split('&').find_map(|pair| pair.strip_prefix("lang=")?.parse().ok());
        let accepted = parts.headers.get(header::ACCEPT_LANGUAGE);
        let accepted = accepted.and_then(|value| value.to_str().ok()).map(Lang::from_locale);
        Ok(Self(asked.or(accepted).unwrap_or_default()))
    }
}

/// A refusal: findings with the status of the answer.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    findings: Vec<Finding>,
    lang: Lang,
}

impl Refusal {
    /// One finding.
    pub(super) fn new(status: StatusCode, finding: Finding, lang: Lang) -> Self {
        Self { status, findings: vec![finding], lang }
    }

    /// What the agent refuses as it stands now.
    pub(super) fn conflict(findings: Vec<Finding>, lang: Lang) -> Self {
        Self { status: StatusCode::CONFLICT, findings, lang }
    }

    /// There is no such thing.
    pub(super) fn not_found(what: &str, name: &str, lang: Lang) -> Self {
        let finding = Finding::error("HTTP/NOT_FOUND").with("what", what).with("name", name);
        Self::new(StatusCode::NOT_FOUND, finding, lang)
    }

    /// Nothing is planned or carried out.
    pub(super) fn no_plan(lang: Lang) -> Self {
        Self::new(StatusCode::NOT_FOUND, Finding::error("HTTP/NO_PLAN"), lang)
    }

    /// The journal cannot be read. What it said is for the log: paths and queries are not for askers.
    pub(super) fn journal(error: &crate::journal::Error, lang: Lang) -> Self {
        tracing::error!(%error, "the journal could not be read");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, Finding::error("HTTP/JOURNAL"), lang)
    }

    /// The query is not what the route takes.
    pub(super) fn query(reason: impl ToString, lang: Lang) -> Self {
        let finding = Finding::error("HTTP/QUERY").with("reason", reason);
        Self::new(StatusCode::BAD_REQUEST, finding, lang)
    }

    /// The body is not what the route takes.
    pub(super) fn body(status: StatusCode, reason: impl ToString, lang: Lang) -> Self {
        Self::new(status, Finding::error("HTTP/BODY").with("reason", reason), lang)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let first = self.findings.first();
        let text = |of: fn(&Finding, Lang) -> String| first.map(|it| of(it, self.lang));
        let body = json!({
            "code": first.map(|finding| finding.code.to_string()),
            "message": text(Finding::message),
            "remedy": text(Finding::remedy),
            "findings": self.findings,
        });
        (self.status, json_body(&body)).into_response()
    }
}

/// Pretty JSON, never cached: the next round may change all of it.
pub(super) fn json_body(value: &impl Serialize) -> Response {
    match serde_json::to_vec_pretty(value) {
        Ok(mut body) => {
            body.push(b'\n');
            typed("application/json", body)
        }
        Err(error) => {
            tracing::error!(%error, "an answer could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// A body with its type.
pub(super) fn typed(kind: &'static str, body: impl Into<axum::body::Body>) -> Response {
    let mut response = Response::new(body.into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
