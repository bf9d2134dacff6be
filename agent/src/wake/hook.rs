//! Whether a webhook comes from the forge that knows our secret, and which branch it is about.
//!
//! Pure: the route hands over headers and body. What a hook says is never believed beyond "look
//! again": the branch only decides whether looking is worth it.

use hmac::{Hmac, Mac as _};
use http::HeaderMap;
use serde::Deserialize;
use sha2::Sha256;

use crate::secret::Secret;

/// No hook is read that is larger, in bytes; GitHub sends at most 25 MB, but pushes are small.
pub const LARGEST: usize = 1 << 20;

/// A hook that is genuine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookEvent {
    /// The branch that was pushed; `None` when the hook is about something else or does not say,
    /// such as GitHub's `ping`.
    pub branch: Option<String>,
}

/// Why a hook is refused. The answer to the sender is the same for all of them but the first two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HookError {
    /// It carries neither GitLab's token nor GitHub's signature.
    #[error("failed to find X-Gitlab-Token or X-Hub-Signature-256")]
    Unsigned,
    /// The body is larger than [`LARGEST`].
    #[error("failed to take the hook: its body is too large")]
    TooLarge,
    /// The token is another one.
    #[error("failed to accept the token")]
    Token,
    /// The signature is not of this body with our secret.
    #[error("failed to verify the signature")]
    Signature,
    /// The body of a genuine hook is not JSON.
    #[error("failed to read the body")]
    Body,
}

/// Checks a hook. A request with GitHub's header is judged by its signature alone, whatever else it
/// carries. Both comparisons take the same time wherever they fail.
pub fn verify(headers: &HeaderMap, body: &[u8], secret: &Secret) -> Result<HookEvent, HookError> {
    if body.len() > LARGEST {
        return Err(HookError::TooLarge);
    }
    if let Some(signature) = headers.get("x-hub-signature-256") {
        let hex = signature
            .as_bytes()
            .strip_prefix(b"sha256=")
            .and_then(decode_hex)
            .ok_or(HookError::Signature)?;
        authentication(secret.expose().as_bytes(), body)
            .and_then(|mac| mac.verify_slice(&hex).ok())
            .ok_or(HookError::Signature)?;
    } else if let Some(token) = headers.get("x-gitlab-token") {
        if !is_same(token.as_bytes(), secret.expose().as_bytes()) {
            return Err(HookError::Token);
        }
    } else {
        return Err(HookError::Unsigned);
    }
    let body: Body = serde_json::from_slice(body).map_err(|_| HookError::Body)?;
    let branch = body.reference.strip_prefix("refs/heads/").map(str::to_owned);
    Ok(HookEvent { branch })
}

/// The part of a push event that GitLab and GitHub share.
#[derive(Deserialize)]
struct Body {
    #[serde(default, rename = "ref")]
    reference: String,
}

/// HMAC-SHA-256 (RFC 2104), which takes keys of any length.
fn authentication(key: &[u8], message: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(message);
    Some(mac)
}

/// Compares under a key, so that neither length nor content shows in the time that it takes.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let Some(expected) = authentication(b"tidegate", other) else { return false };
    authentication(b"tidegate", one)
        .is_some_and(|mac| mac.verify(&expected.finalize().into_bytes()).is_ok())
}

fn decode_hex(text: &[u8]) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.chunks(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair).ok().filter(|it| !it.starts_with('+'))?;
            u8::from_str_radix(pair, 16).ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text).unwrap()
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    /// The vector of GitHub's documentation, "Validating webhook deliveries". Its body is no JSON, so
    /// a good signature is the one that lets the body be looked at.
    #[test]
    fn the_vector_of_githubs_documentation_is_accepted() {
        let good = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let secret = secret("It's a Secret to Everybody");
        let hook = |signature: &str, body: &[u8]| {
            verify(&headers(&[("x-hub-signature-256", signature)]), body, &secret)
        };
        assert_eq!(hook(good, b"Hello, World!"), Err(HookError::Body));
        assert_eq!(hook(good, b"Hello, World?"), Err(HookError::Signature));
        assert_eq!(hook(&good.replace("757", "758"), b"Hello, World!"), Err(HookError::Signature));
        assert_eq!(hook("sha256=", b"Hello, World!"), Err(HookError::Signature));
        assert_eq!(
            hook(&good.replace("sha256", "sha1"), b"Hello, World!"),
            Err(HookError::Signature)
        );
        assert_eq!(hook(&good[..40], b"Hello, World!"), Err(HookError::Signature));
    }

    #[test]
    fn a_push_of_github_names_its_branch() {
        let body = br#"{"ref":"refs/heads/release/2026","commits":[]}"#;
        let signature =
            format!("{:x}", authentication(b"s3cr3t", body).unwrap().finalize().into_bytes());
        let headers = headers(&[("x-hub-signature-256", &format!("sha256={signature}"))]);
        let event = verify(&headers, body, &secret("s3cr3t")).unwrap();
        assert_eq!(event.branch.as_deref(), Some("release/2026"));
        assert_eq!(verify(&headers, body, &secret("other")), Err(HookError::Signature));
    }

    #[test]
    fn gitlabs_token_is_compared_whole() {
        let body = br#"{"object_kind":"push","ref":"refs/heads/main"}"#;
        let hook =
            |token: &str| verify(&headers(&[("x-gitlab-token", token)]), body, &secret("s3cr3t"));
        assert_eq!(hook("s3cr3t").unwrap().branch.as_deref(), Some("main"));
        for wrong in ["s3cr3", "s3cr3tt", "S3CR3T", ""] {
            assert_eq!(hook(wrong), Err(HookError::Token), "{wrong}");
        }
    }

    #[test]
    fn a_token_does_not_make_up_for_a_bad_signature() {
        let both = headers(&[("x-hub-signature-256", "sha256=00"), ("x-gitlab-token", "s3cr3t")]);
        assert_eq!(verify(&both, b"{}", &secret("s3cr3t")), Err(HookError::Signature));
    }

    #[test]
    fn what_names_no_branch_still_is_a_hook() {
        let headers = headers(&[("x-gitlab-token", "s3cr3t")]);
        for body in
            [&b"{\"zen\":\"Keep it logically awesome.\"}"[..], b"{\"ref\":\"refs/tags/v1\"}"]
        {
            assert_eq!(verify(&headers, body, &secret("s3cr3t")), Ok(HookEvent { branch: None }));
        }
    }

    #[test]
    fn an_unsigned_or_huge_hook_is_refused_first() {
        assert_eq!(verify(&HeaderMap::new(), b"{}", &secret("s")), Err(HookError::Unsigned));
        let huge = vec![b' '; LARGEST + 1];
        assert_eq!(verify(&HeaderMap::new(), &huge, &secret("s")), Err(HookError::TooLarge));
    }
}
