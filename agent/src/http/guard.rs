//! Who may ask: the Host header, tokens, and what loopback allows without one.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};
use tidegate_schema::finding::Finding;

use super::Shared;
use super::answer::{Language, Refusal};
use crate::secret::Secret;

/// Asked by those who look whether the agent lives, and who have no token.
pub(super) const OPEN: [&str; 2] = ["/healthz", "/readyz"];
/// Proves itself by the secret that it shares with us, not by our token.
pub(super) const HOOK: &str = "/hooks/git";

/// Lets a request through, or says why not.
pub(super) async fn guard(
    State(shared): State<Shared>,
    Language(lang): Language,
    request: Request,
    next: Next,
) -> Response {
    let refuse = |status, code| Refusal::new(status, Finding::error(code), lang).into_response();
    let options = &shared.options;
    let path = request.uri().path();
    // A name that somebody else's DNS points at us must not make their page ours (DNS rebinding).
    if options.listen.ip().is_loopback() && !has_local_host(request.headers()) {
        return refuse(StatusCode::MISDIRECTED_REQUEST, "HTTP/HOST");
    }
    if OPEN.contains(&path) || path == HOOK {
        return next.run(request).await;
    }
    let is_reading = matches!(*request.method(), Method::GET | Method::HEAD);
    let shown = bearer(request.headers());
    let is_known = |secret: &Secret| shown.is_some_and(|shown| is_same(shown, secret.expose()));
    let is_allowed = (options.token.is_none() && is_reading)
        || is_known(&options.control)
        || options.token.as_ref().is_some_and(is_known);
    if is_allowed {
        return next.run(request).await;
    }
    refuse(StatusCode::UNAUTHORIZED, if shown.is_some() { "HTTP/TOKEN" } else { "HTTP/NO_TOKEN" })
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

/// Whether the request names this machine: `localhost`, or an address of loopback.
fn has_local_host(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else {
        return false;
    };
    let Ok(authority) = host.parse::<http::uri::Authority>() else { return false };
    let name = authority.host().trim_matches(['[', ']']);
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Compares digests without an early end, so that the time tells nothing of where two tokens differ.
fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (Sha256::digest(one), Sha256::digest(other));
    one.iter().zip(other.iter()).fold(0, |differs, (one, other)| differs | (one ^ other)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_local() {
        let is_local = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            has_local_host(&headers)
        };
        for local in ["localhost", "localhost:7480", "127.0.0.1:7480", "[::1]:7480", "LOCALHOST"] {
            assert!(is_local(local), "{local}");
        }
        for other in ["example.com", "localhost.example.com", "10.0.0.1", "127.0.0.1.example.com"] {
            assert!(!is_local(other), "{other}");
        }
        assert!(!has_local_host(&HeaderMap::new()));
    }

    #[test]
    fn tokens_are_compared_whole() {
        assert!(is_same("s3cr3t", "s3cr3t"));
        for wrong in ["", "s3cr3", "s3cr3tt", "S3CR3T"] {
            assert!(!is_same(wrong, "s3cr3t"), "{wrong}");
        }
    }
}
