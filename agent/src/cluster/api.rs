//! Requests as the API server takes them, and its refusals by what they mean for us.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tidegate_core::live::{Conflict, Gap};
use tidegate_core::object::Object;
use tidegate_core::progress::EffectFailure;

use crate::cause::chain;

/// How long one request may take. Watches are not made here. Longer than the server takes for a write at the most (34 s): a
/// webhook may take 30 s of them, and then the server says which one it was.
const DEADLINE: Duration = Duration::from_secs(40);

/// How often a busy server is asked, and how long it is waited for each time at the most.
const BUSY_TRIES: u32 = 3;
const LONGEST_BUSY: Duration = Duration::from_secs(5);

/// Asks for the metadata of a list's items only (Kubernetes, `API Concepts`, metadata-only fetches); a server that cannot
/// gives all.
const METADATA: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

/// What the server says of a field that cannot change.
const IMMUTABLE: &str = "field is immutable";

/// The same in the words of single kinds (validation of Kubernetes 1.20 to 1.34): stateful sets, pods, services, claims and
/// volumes, bindings of roles, classes.
const IMMUTABLE_HERE: [&str; 9] = [
    "updates to statefulset spec for fields other than",
    "pod updates may not change fields other than",
    "may not change once set",
    "is immutable after creation",
    "cannot change roleRef",
    "updates to parameters are forbidden",
    "updates to provisioner are forbidden",
    "updates to reclaimPolicy are forbidden",
    "may not be changed in an update",
];
/// What the server says of a webhook that it cannot ask in a dry run, as the webhook would do more than answer.
const NO_DRY_RUN: &str = "does not support dry run";

/// What the server says of a webhook that did not answer.
const SILENT: &str = "failed calling webhook";

/// What the server says when a webhook refuses an object.
const DENIED: &str = "denied the request";

/// Stands for the server's words about a Secret.
const WITHHELD: &str = "the server's words are withheld, as they may quote the secret:";

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// One object, or all at a path.
    Get,
    /// All at a path, without their content.
    Names,
    Create,
    /// Server-side apply.
    Apply,
    /// A JSON patch (RFC 6902).
    Patch,
    Delete,
}

/// A good answer.
#[derive(Debug)]
pub(super) struct Answer<T = Value> {
    pub(super) body: T,
    /// Texts of `Warning` headers (RFC 7234, 5.5, as Kubernetes uses them).
    pub(super) warnings: Vec<String>,
}

/// A refusal, or no answer.
#[derive(Debug)]
pub(super) enum ApiError {
    /// The server's own `Status`.
    Refused { code: u16, reason: String, message: String, causes: Vec<Cause> },
    /// No answer that could be understood.
    Unreachable(String),
}

/// What a refused dry run says of applying the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It would be refused too.
    Refused,
    /// Nothing: this object could not be tried.
    Unknown,
    /// Nothing, of no object: the server is not there, or busy.
    NotAsked,
}

/// One cause of a refusal.
#[derive(Debug, Clone)]
pub(super) struct Cause {
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) field: String,
}

impl ApiError {
    /// The object (or its namespace) does not exist.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { code: 404, .. })
    }

    /// The object is another one than the precondition says, or somebody else owns fields.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { code: 409, .. })
    }

    /// The same refusal without the server's words, where they may quote the object: decoders show the bytes around a
    /// mistake, validation the value that it refuses, webhooks what they like. For objects that hold secrets.
    fn without_values(self) -> Self {
        let Self::Refused { code, reason, message, causes } = self else { return self };
        let quotes = matches!(code, 400 | 422 | 500..) || message.contains("admission webhook");
        if !quotes {
            return Self::Refused { code, reason, message, causes };
        }
        let known = [NO_DRY_RUN, SILENT].into_iter().find(|words| message.contains(words));
        let words = match (is_immutable(&message, &causes), known) {
            (true, _) => IMMUTABLE,
            (false, Some(words)) => words,
            (false, None) => WITHHELD,
        };
        let name = webhook(&message).map(|name| format!("webhook \"{name}\""));
        let fields: Vec<&str> = causes.iter().map(|cause| cause.field.as_str()).collect();
        let parts = [words, name.as_deref().unwrap_or_default(), &fields.join(", ")];
        let message = parts.into_iter().filter(|it| !it.is_empty()).collect::<Vec<_>>().join(" ");
        let causes =
            causes.into_iter().map(|cause| Cause { message: words.to_owned(), ..cause }).collect();
        Self::Refused { code, reason, message, causes }
    }

    /// Whether asking again may help.
    fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Refused { code, reason, message, .. } => {
                // A namespace that is going away makes room for its successor; a webhook may come up.
                matches!(*code, 404 | 408 | 409 | 410 | 429 | 500..=599)
                    || (*code == 403
                        && reason == "Forbidden"
                        && message.contains("being terminated"))
            }
        }
    }

    /// Whether the account may not do it, rather than the object not be admitted (quotas, pod security, webhooks).
    fn is_no_permission(&self) -> bool {
        match self {
            Self::Refused { code: 401, .. } => true,
            // `deployments.apps "web" is forbidden: User "x" cannot patch resource "deployments" in API group "apps"`
            Self::Refused { code: 403, message, .. } => {
                message.is_empty()
                    || (message.contains("\" cannot ") && !message.contains("webhook"))
            }
            Self::Unreachable(_) | Self::Refused { .. } => false,
        }
    }

    /// The resource takes no requests of this kind.
    pub(super) fn is_method_unknown(&self) -> bool {
        matches!(self, Self::Refused { code: 405, .. })
    }

    /// Whether the object itself is refused, wherever it would be: by its decoder or its validation.
    pub(super) fn is_about_the_object(&self) -> bool {
        match self {
            Self::Unreachable(_) => false,
            Self::Refused { code, message, .. } => {
                matches!(code, 400 | 413 | 422) && webhook(message).is_none()
            }
        }
    }

    /// What the refusal of a dry run says of applying the same.
    pub(super) fn verdict(&self) -> Verdict {
        let Self::Refused { code, message, .. } = self else { return Verdict::NotAsked };
        match (code, self.code()) {
            (_, "CLUSTER/WEBHOOK_WITHOUT_DRY_RUN" | "CLUSTER/WEBHOOK_SILENT") => Verdict::Unknown,
            // Room is made for a successor: it may be there a moment later.
            (403, _) if message.contains("being terminated") => Verdict::Unknown,
            (_, "CLUSTER/FORBIDDEN") => Verdict::Unknown,
            (400 | 403 | 404 | 413 | 422, _) => Verdict::Refused,
            (408 | 409 | 410 | 429 | 502..=504, _) => Verdict::NotAsked,
            _ => Verdict::Unknown,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "CLUSTER/UNREACHABLE",
            Self::Refused { message, .. } if message.contains(NO_DRY_RUN) => {
                "CLUSTER/WEBHOOK_WITHOUT_DRY_RUN"
            }
            Self::Refused { code: 500.., message, .. } if message.contains(SILENT) => {
                "CLUSTER/WEBHOOK_SILENT"
            }
            Self::Refused { code: 401 | 403, .. } if self.is_no_permission() => "CLUSTER/FORBIDDEN",
            Self::Refused { code: 404, .. } => "CLUSTER/NOT_FOUND",
            Self::Refused { code: 422, causes, message, .. } if is_immutable(message, causes) => {
                "CLUSTER/IMMUTABLE"
            }
            Self::Refused { code: 400 | 403 | 413 | 422, .. } => "CLUSTER/INVALID",
            Self::Refused { code: 409, .. } => "CLUSTER/CONFLICT",
            Self::Refused { code: 429, .. } => "CLUSTER/BUSY",
            Self::Refused { .. } => "CLUSTER/SERVER_ERROR",
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Unreachable(message) | Self::Refused { message, .. } => message.clone(),
        }
    }

    /// As a gap of an observation. Of a webhook only its name: what else is said of a connection that failed differs
    /// from time to time, and would make another plan each time.
    pub(super) fn gap(&self) -> Gap {
        let code = self.code();
        let is_webhooks =
            matches!(code, "CLUSTER/WEBHOOK_WITHOUT_DRY_RUN" | "CLUSTER/WEBHOOK_SILENT");
        let message = match webhook(&self.message()) {
            Some(name) if is_webhooks => name.to_owned(),
            Some(_) | None => self.message(),
        };
        Gap { code: code.to_owned(), message }
    }

    /// As a failed effect.
    pub(super) fn failure(self) -> EffectFailure {
        EffectFailure {
            code: self.code().to_owned(),
            message: self.message(),
            is_transient: self.is_transient(),
            conflicts: self.conflicts(),
        }
    }

    /// Whether the object is no longer the one, or the version, that the write names; or was made by somebody meanwhile.
    pub(super) fn is_outdated(&self) -> bool {
        let Self::Refused { code, causes, .. } = self else { return false };
        match code {
            409 => causes.iter().all(|cause| cause.reason != "FieldManagerConflict"),
            // A successor that happens to be at the version that was seen.
            422 => causes.iter().any(|cause| cause.field == "metadata.uid"),
            _ => false,
        }
    }

    /// The conflicts of a server-side apply: field and manager.
    pub(super) fn conflicts(&self) -> Vec<Conflict> {
        let Self::Refused { code: 409, causes, .. } = self else { return Vec::new() };
        let conflicts = causes.iter().filter(|cause| cause.reason == "FieldManagerConflict");
        conflicts
            .map(|cause| Conflict {
                field: cause.field.clone(),
                // `conflict with "kubectl-edit" using apps/v1`
                manager: cause.message.split('"').nth(1).unwrap_or_default().to_owned(),
                since: cause.message.rsplit_once(" at ").map(|(_, at)| at.to_owned()),
            })
            .collect()
    }
}

/// The name of the webhook that a message is about.
fn webhook(message: &str) -> Option<&str> {
    message.split("webhook \"").nth(1)?.split('"').next()
}

/// Whether every cause is a field that cannot change. Other causes would stay after a replacement (D40).
fn is_immutable(message: &str, causes: &[Cause]) -> bool {
    let says = |text: &str| {
        text.contains(IMMUTABLE) || IMMUTABLE_HERE.iter().any(|words| text.contains(words))
    };
    if causes.is_empty() { says(message) } else { causes.iter().all(|cause| says(&cause.message)) }
}

/// A query string, percent-encoded.
pub(super) fn query(pairs: &[(&str, &str)]) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for (index, (key, value)) in pairs.iter().enumerate() {
        text.push(if index == 0 { '?' } else { '&' });
        text.push_str(key);
        text.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                text.push(char::from(byte));
            } else {
                // Writing to a String cannot fail.
                write!(text, "%{byte:02X}").unwrap_or_default();
            }
        }
    }
    text
}

fn request(verb: Verb, path: &str, body: Option<&Value>) -> Result<Request<Body>, ApiError> {
    let method = match verb {
        Verb::Get | Verb::Names => Method::GET,
        Verb::Create => Method::POST,
        Verb::Apply | Verb::Patch => Method::PATCH,
        Verb::Delete => Method::DELETE,
    };
    // JSON is YAML, and every server takes this type.
    let content = match verb {
        Verb::Apply => "application/apply-patch+yaml",
        Verb::Patch => "application/json-patch+json",
        Verb::Get | Verb::Names | Verb::Create | Verb::Delete => "application/json",
    };
    let accept = match verb {
        Verb::Names => METADATA,
        Verb::Get | Verb::Create | Verb::Apply | Verb::Patch | Verb::Delete => "application/json",
    };
    let bytes = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
    Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", content)
        .header("accept", accept)
        .body(Body::from(bytes))
        .map_err(|error| ApiError::Unreachable(error.to_string()))
}

/// Sends one request and reads its answer. Refusals of a Secret come without what they may quote of it.
pub(super) async fn send(
    client: &Client,
    verb: Verb,
    path: &str,
    body: Option<&Value>,
) -> Result<Answer, ApiError> {
    let is_secret = |body: &Value| Object::new(body.clone()).is_secret();
    exchange_json(client, verb, path, body)
        .await
        .map_err(|error| if body.is_some_and(is_secret) { error.without_values() } else { error })
}

/// Reads what is at a path, as far as the type knows its fields.
pub(super) async fn read<T: DeserializeOwned>(client: &Client, path: &str) -> Result<T, ApiError> {
    Ok(exchange_json(client, Verb::Get, path, None).await?.body)
}

async fn exchange_json<T: DeserializeOwned>(
    client: &Client,
    verb: Verb,
    path: &str,
    body: Option<&Value>,
) -> Result<Answer<T>, ApiError> {
    let mut tries = 1;
    let Exchanged { status, warnings, bytes, .. } = loop {
        let answer = exchange(client, request(verb, path, body)?).await?;
        match answer.retry_after {
            // A server that is busy has done nothing yet. What it asks for is done here, a few times; then it is a failure
            // like others. Evictions are refused the same way for reasons of their own, which the executor judges.
            Some(wait) if answer.status == 429 && verb != Verb::Create && tries < BUSY_TRIES => {
                tokio::time::sleep(wait.min(LONGEST_BUSY)).await;
                tries += 1;
            }
            _ => break answer,
        }
    };
    let is_good = status < 400;
    if is_good && let Ok(body) = serde_json::from_slice(&bytes) {
        return Ok(Answer { body, warnings });
    }
    if !is_good && let Ok(body) = serde_json::from_slice(&bytes) {
        return Err(refusal(status, &body));
    }
    let text: String = String::from_utf8_lossy(&bytes).chars().take(200).collect();
    Err(ApiError::Refused {
        code: if is_good { 502 } else { status },
        reason: String::new(),
        message: text,
        causes: Vec::new(),
    })
}

/// Sends one request whose answer is text.
pub(super) async fn send_text(client: &Client, path: &str) -> Result<String, ApiError> {
    let Exchanged { status, bytes, .. } = exchange(client, request(Verb::Get, path, None)?).await?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if status < 400 {
        return Ok(text);
    }
    Err(refusal(status, &serde_json::from_str(&text).unwrap_or_default()))
}

/// What came back.
struct Exchanged {
    status: u16,
    warnings: Vec<String>,
    /// After which time the server wants to be asked again.
    retry_after: Option<Duration>,
    bytes: Bytes,
}

async fn exchange(client: &Client, request: Request<Body>) -> Result<Exchanged, ApiError> {
    let unreachable = |error: &dyn std::error::Error| ApiError::Unreachable(chain(error));
    let answer = async {
        let response = client.send(request).await.map_err(|error| unreachable(&error))?;
        let status = response.status().as_u16();
        let headers = response.headers().get_all(http::header::WARNING).iter();
        let warnings =
            headers.filter_map(|header| header.to_str().ok()).filter_map(warning).collect();
        let retry_after = response.headers().get(http::header::RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        let body = response.into_body().collect().await.map_err(|error| unreachable(&error))?;
        Ok(Exchanged {
            status,
            warnings,
            retry_after: retry_after.map(Duration::from_secs),
            bytes: body.to_bytes(),
        })
    };
    match tokio::time::timeout(DEADLINE, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(ApiError::Unreachable(format!("no answer within {} s", DEADLINE.as_secs()))),
    }
}

/// `299 - "text"`.
fn warning(header: &str) -> Option<String> {
    let text = header.splitn(3, ' ').nth(2)?;
    Some(text.trim_matches('"').replace("\\\"", "\""))
}

fn refusal(code: u16, status: &Value) -> ApiError {
    let text = |value: &Value, key: &str| {
        value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let causes = status.pointer("/details/causes").and_then(Value::as_array);
    let causes = causes.into_iter().flatten().map(|cause| Cause {
        reason: text(cause, "reason"),
        message: text(cause, "message"),
        field: text(cause, "field"),
    });
    let message = text(status, "message");
    // Servers before 1.23 call a field that they do not know an error of their own. It is the object's: it stays.
    let is_unknown_field =
        code == 500 && message.starts_with("failed to create typed patch object");
    // A webhook may deny with whatever status it likes; it speaks of this object all the same.
    let is_denied = message.contains("admission webhook \"") && message.contains(DENIED);
    let code = match code {
        _ if is_unknown_field => 422,
        400 | 422 => code,
        _ if is_denied => 403,
        _ => code,
    };
    ApiError::Refused { code, reason: text(status, "reason"), message, causes: causes.collect() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_query_is_percent_encoded() {
        assert_eq!(query(&[("labelSelector", "a/b=c,d")]), "?labelSelector=a%2Fb%3Dc%2Cd");
    }

    #[test]
    fn conflicts_name_field_and_manager() {
        let error = refusal(
            409,
            &json!({"reason": "Conflict", "message": "Apply failed", "details": {"causes": [
                {"reason": "FieldManagerConflict", "field": ".spec.replicas",
                 "message": "conflict with \"kubectl-edit\" using apps/v1"}]}}),
        );
        let conflicts = error.conflicts();
        assert_eq!(conflicts.len(), 1);
        assert_eq!(
            (conflicts[0].field.as_str(), conflicts[0].manager.as_str()),
            (".spec.replicas", "kubectl-edit")
        );
    }

    #[test]
    fn only_causes_that_are_all_fields_that_cannot_change_are_taken_for_such() {
        let refused = |messages: &[&str]| {
            let causes: Vec<Value> = messages
                .iter()
                .map(|message| json!({"reason": "FieldValueInvalid", "message": message}))
                .collect();
            let status = json!({"reason": "Invalid", "message": messages.join(", "),
                "details": {"causes": causes}});
            refusal(422, &status).code()
        };
        let address = "Invalid value: []string{\"10.0.0.2\"}: may not change once set";
        assert_eq!(refused(&[address]), "CLUSTER/IMMUTABLE");
        assert_eq!(refused(&["cannot change roleRef"]), "CLUSTER/IMMUTABLE");
        assert_eq!(refused(&[address, "Invalid value: 0: must be positive"]), "CLUSTER/INVALID");
        assert_eq!(refused(&["Invalid value: \"a b\": a DNS-1123 label"]), "CLUSTER/INVALID");
        assert_eq!(
            refusal(409, &json!({"message": "field is immutable"})).code(),
            "CLUSTER/CONFLICT"
        );
    }

    #[test]
    fn a_refused_document_is_not_tried_again_but_a_busy_server_is() {
        assert!(!refusal(422, &json!({})).failure().is_transient);
        assert!(refusal(429, &json!({})).failure().is_transient);
        assert!(refusal(503, &json!({})).failure().is_transient);
    }

    #[test]
    fn a_refused_secret_is_not_quoted() {
        let refused = refusal(
            422,
            &json!({"reason": "Invalid", "message": "Secret \"db\" is invalid: data[key]: Invalid value: \"hunter2\"",
                "details": {"causes": [{"reason": "FieldValueInvalid", "field": "data[key]",
                    "message": "Invalid value: \"hunter2\": must be longer"}]}}),
        );
        let told = format!("{:?}", refused.without_values());
        assert!(!told.contains("hunter2") && told.contains("data[key]"), "{told}");
        let immutable = json!({"message": "Secret \"db\" is invalid: data: Forbidden: field is immutable when `immutable` is set"});
        assert_eq!(refusal(422, &immutable).without_values().code(), "CLUSTER/IMMUTABLE");
        let gone = json!({"message": "namespaces \"iam\" not found"});
        assert_eq!(refusal(404, &gone).without_values().message(), "namespaces \"iam\" not found");
    }

    #[test]
    fn a_refused_dry_run_says_something_of_the_apply_or_nothing() {
        let cases = [
            (
                403,
                "deployments.apps \"web\" is forbidden: User \"agent\" cannot patch resource \"deployments\"",
                Verdict::Unknown,
                "CLUSTER/FORBIDDEN",
            ),
            (
                403,
                "pods \"a\" is forbidden: exceeded quota: small, requested: pods=1",
                Verdict::Refused,
                "CLUSTER/INVALID",
            ),
            (
                403,
                "pods \"a\" is forbidden: violates PodSecurity \"restricted:latest\"",
                Verdict::Refused,
                "CLUSTER/INVALID",
            ),
            (
                403,
                "configmaps \"a\" is forbidden: unable to create new content in namespace x because it is being terminated",
                Verdict::Unknown,
                "CLUSTER/INVALID",
            ),
            (
                400,
                "admission webhook \"a.example\" denied the request: User \"x\" cannot",
                Verdict::Refused,
                "CLUSTER/INVALID",
            ),
            (
                400,
                "admission webhook \"a.example\" does not support dry run",
                Verdict::Unknown,
                "CLUSTER/WEBHOOK_WITHOUT_DRY_RUN",
            ),
            (
                500,
                "Internal error occurred: failed calling webhook \"a.example\": Post \"https://10.0.0.1\": dial tcp",
                Verdict::Unknown,
                "CLUSTER/WEBHOOK_SILENT",
            ),
            (
                413,
                "Request entity too large: limit is 3145728",
                Verdict::Refused,
                "CLUSTER/INVALID",
            ),
            (
                500,
                "failed to create typed live object: .spec.x: field not declared in schema",
                Verdict::Unknown,
                "CLUSTER/SERVER_ERROR",
            ),
            // Whatever status a webhook gives to its denial.
            (404, DENIAL, Verdict::Refused, "CLUSTER/INVALID"),
            (409, DENIAL, Verdict::Refused, "CLUSTER/INVALID"),
            (429, DENIAL, Verdict::Refused, "CLUSTER/INVALID"),
            (503, DENIAL, Verdict::Refused, "CLUSTER/INVALID"),
            (429, "too many requests", Verdict::NotAsked, "CLUSTER/BUSY"),
            (503, "service unavailable", Verdict::NotAsked, "CLUSTER/SERVER_ERROR"),
        ];
        for (status, message, verdict, code) in cases {
            let error = || refusal(status, &json!({"message": message}));
            for error in [error(), error().without_values()] {
                assert_eq!((error.verdict(), error.code()), (verdict.clone(), code), "{error:?}");
            }
        }
    }

    const DENIAL: &str = "admission webhook \"a.example\" denied the request: no";

    #[test]
    fn only_fields_that_cannot_change_make_a_refusal_immutable() {
        let cause = |message: &str| json!({"reason": "FieldValueInvalid", "field": "spec", "message": message});
        let code = |causes: &Value| {
            refusal(
                422,
                &json!({"message": "invalid: field is immutable", "details": {"causes": causes}}),
            )
            .code()
        };
        let (immutable, negative) =
            (cause("Invalid value: field is immutable"), cause("must be greater than 0"));
        assert_eq!(code(&json!([immutable])), "CLUSTER/IMMUTABLE");
        assert_eq!(code(&json!([immutable, negative])), "CLUSTER/INVALID");
        assert_eq!(code(&json!([negative])), "CLUSTER/INVALID");
    }

    #[test]
    fn what_is_told_of_a_webhook_is_the_same_each_time() {
        let told = |port: u16| {
            let message =
                format!("failed calling webhook \"a.example\": read tcp 10.0.0.1:{port}: timeout");
            refusal(500, &json!({"message": message})).gap()
        };
        assert_eq!(told(1), told(2));
        assert_eq!(told(1).message, "a.example");
    }

    #[test]
    fn a_field_that_an_older_server_does_not_know_is_a_refusal_for_good() {
        let message =
            "failed to create typed patch object: .spec.timeZone: field not declared in schema";
        let failure = refusal(500, &json!({"message": message})).failure();
        assert_eq!((failure.code.as_str(), failure.is_transient), ("CLUSTER/INVALID", false));
        assert_eq!(failure.message, message);
    }

    #[test]
    fn a_warning_header_gives_its_text() {
        assert_eq!(
            warning("299 - \"policy/v1beta1 is deprecated\""),
            Some("policy/v1beta1 is deprecated".to_owned())
        );
    }
}
