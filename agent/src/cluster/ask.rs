//! Asks what checks ask: pods and Prometheus by way of the API server (`pods/proxy`, `pods/exec`, `services/proxy`), so that
//! the agent needs no way of its own to them on any network, and the server itself for objects.
//!
//! What the app says and what the server says of the app are told apart by the server's own `Status` document. A check
//! holds only by what the app did: a refusal for want of permission, or words that nobody knows, are no data.

use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::Client;
use kube::api::{Api, AttachParams};
use kube::client::Body;
use serde_json::Value;
use tidegate_core::desired::{CelCheck, ExecCheck, HttpCheck, PrometheusCheck};
use tidegate_core::progress::Verdict;
use tidegate_schema::site::{HttpScheme, PrometheusService};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::{Cluster, api};
use crate::cause::chain;

/// How long one question may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// How long a command may take: the release does nothing else meanwhile.
const COMMAND_DEADLINE: Duration = Duration::from_secs(10);

/// Characters of a command's last line that are told.
const LONGEST_LINE: usize = 200;

/// How much of an answer is read.
const LONGEST: usize = 1 << 20;

/// What the server says when it cannot reach the pod, before the reason (`apimachinery`, `util/proxy`).
const NOT_REACHED: &str = "error trying to reach service";

/// How Go names a connection that was not made (`net.OpError`).
const DIAL: &str = "dial ";

/// What Go says of a connection that was made, and on which somebody does not speak HTTP (`net/http`).
const CONNECTED: [&str; 4] =
    ["malformed HTTP", "EOF", "connection reset by peer", "transport connection broken"];

/// Asks one pod by HTTP, or whether it takes connections.
pub(super) async fn ask(
    client: &Client,
    (namespace, name): (&str, &str),
    port: u16,
    http: Option<&HttpCheck>,
) -> Verdict {
    let path = http.map_or("/", |http| http.path.as_str());
    let uri = format!("/api/v1/namespaces/{namespace}/pods/{name}:{port}/proxy{path}");
    match tokio::time::timeout(DEADLINE, answer(client, &uri)).await {
        Ok(Ok((status, body))) => judge(http, status, &body),
        Ok(Err(why)) => Verdict::Unknown(why),
        Err(_) => late(DEADLINE),
    }
}

/// Asks Prometheus, through its Service.
pub(super) async fn measure(
    client: &Client,
    service: &PrometheusService,
    query: &str,
    check: &PrometheusCheck,
) -> Verdict {
    let told = |why: &str| {
        Verdict::Unknown(format!("Prometheus {}/{}: {why}", service.namespace, service.service))
    };
    match tokio::time::timeout(DEADLINE, answer(client, &query_uri(service, query))).await {
        Ok(Ok((status, body))) => match servers_word(status, &body) {
            Some(message) => told(&message),
            None => Verdict::of_measurement(check, status, &body),
        },
        Ok(Err(why)) => told(&why),
        Err(_) => late(DEADLINE),
    }
}

fn query_uri(service: &PrometheusService, query: &str) -> String {
    let PrometheusService { namespace, service: name, port, scheme, path } = service;
    let scheme = match scheme {
        Some(HttpScheme::Https) => "https:",
        Some(HttpScheme::Http) | None => "",
    };
    let path = path.as_deref().unwrap_or_default();
    let query = api::query(&[("query", query)]);
    format!(
        "/api/v1/namespaces/{namespace}/services/{scheme}{name}:{port}/proxy{path}/api/v1/query{query}"
    )
}

/// Executes a command in a pod. It is not tried again when it ends otherwise than it should: who asks does so.
pub(super) async fn execute(
    client: &Client,
    (namespace, name): (&str, &str),
    check: &ExecCheck,
) -> Verdict {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let params = AttachParams::default().container(&check.container).stdin(false);
    let ended = async {
        let mut process = pods.exec(name, &check.command, &params).await?;
        let status = process.take_status();
        let (out, err) = (process.stdout(), process.stderr());
        let (out, err) = tokio::join!(written(out), written(err));
        let status = match status {
            Some(status) => status.await,
            None => None,
        };
        // What is longer than is read is not waited for.
        process.abort();
        Ok::<_, kube::Error>((status, out + &err))
    };
    match tokio::time::timeout(COMMAND_DEADLINE, ended).await {
        Ok(Ok((status, output))) => judge_command(check, status.as_ref(), &output),
        Ok(Err(error)) => Verdict::Unknown(chain(&error)),
        Err(_) => late(COMMAND_DEADLINE),
    }
}

/// What a command has written, as far as it is read.
async fn written(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        // What was read before a failure counts; how the command ended is told elsewhere.
        drop(stream.take(LONGEST as u64).read_to_end(&mut bytes).await);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Only an exit code is the command's own word. Without one (no such program, a connection that broke) nobody knows.
fn judge_command(check: &ExecCheck, status: Option<&Status>, output: &str) -> Verdict {
    let command = check.command.join(" ");
    let Some(status) = status else {
        return Verdict::Unknown(format!("`{command}`: nobody said how it ended"));
    };
    if status.status.as_deref() == Some("Success") {
        return match &check.contains {
            Some(text) if !output.contains(text) => {
                Verdict::Fails(format!("`{command}` ended without writing \"{text}\""))
            }
            Some(_) | None => Verdict::Holds,
        };
    }
    let causes = status.details.iter().flat_map(|details| details.causes.iter().flatten());
    let mut codes = causes.filter(|cause| cause.reason.as_deref() == Some("ExitCode"));
    let code = codes.next().and_then(|cause| cause.message.as_deref());
    match code {
        Some(code) => {
            let last =
                output.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
            let last: String =
                last.chars().filter(|it| !it.is_control()).take(LONGEST_LINE).collect();
            Verdict::Fails(format!("`{command}` ended with {code}: {last}"))
        }
        None => Verdict::Unknown(format!(
            "`{command}`: {}",
            status.message.as_deref().unwrap_or_default()
        )),
    }
}

/// Asks the server for an object, whatever the watches say: what is old is no answer.
pub(super) async fn about(cluster: &Cluster, check: &CelCheck) -> Verdict {
    let look = async {
        let served = cluster.kinds.readable(&check.api_version, &check.object.kind).await;
        let Some(kind) = served.map_err(|gap| gap.message)? else {
            return Err(format!("the server has no {} {}", check.api_version, check.object.kind));
        };
        cluster.fetch(&kind, &check.object).await.map_err(|error| error.gap().message)
    };
    match tokio::time::timeout(DEADLINE, look).await {
        Ok(Ok(found)) => Verdict::of_object(check, found.as_ref()),
        Ok(Err(why)) => Verdict::Unknown(why),
        Err(_) => late(DEADLINE),
    }
}

fn late(deadline: Duration) -> Verdict {
    Verdict::Unknown(format!("no answer within {} s", deadline.as_secs()))
}

async fn answer(client: &Client, uri: &str) -> Result<(u16, String), String> {
    let request = http::Request::get(uri).body(Body::empty()).map_err(|error| chain(&error))?;
    let response = client.send(request).await.map_err(|error| chain(&error))?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), LONGEST).collect().await;
    let body = body.map_err(|error| chain(error.as_ref()))?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

fn judge(expected: Option<&HttpCheck>, status: u16, body: &str) -> Verdict {
    if let Some(message) = servers_word(status, body) {
        let is_connected = || CONNECTED.iter().any(|words| message.contains(words));
        return match message.split_once(NOT_REACHED) {
            Some((_, why)) if why.contains(DIAL) => Verdict::Fails(message),
            Some(_) if expected.is_none() && is_connected() => Verdict::Holds,
            Some(_) if is_connected() => Verdict::Fails(message),
            Some(_) | None => Verdict::Unknown(message),
        };
    }
    let Some(expected) = expected else { return Verdict::Holds };
    if status != expected.status {
        return Verdict::Fails(format!("answered {status}, not {}", expected.status));
    }
    match &expected.contains {
        Some(text) if !body.contains(text) => {
            Verdict::Fails(format!("answered {status} without \"{text}\""))
        }
        Some(_) | None => Verdict::Holds,
    }
}

/// The message of the API server's own `Status`, when it is that which answered.
fn servers_word(status: u16, body: &str) -> Option<String> {
    let value: Value = (status >= 400).then(|| serde_json::from_str(body).ok()).flatten()?;
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    let is_status = text("kind") == Some("Status") && text("apiVersion") == Some("v1");
    let is_failure = is_status && text("status") == Some("Failure");
    is_failure.then(|| text("message").unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    /// As `kube-apiserver` 1.20 words it.
    fn status(code: u16, reason: &str, message: &str) -> String {
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": reason, "code": code})
        .to_string()
    }

    fn refused() -> String {
        let message =
            "error trying to reach service: dial tcp 10.0.0.7:80: connect: connection refused";
        status(503, "ServiceUnavailable", message)
    }

    fn no_http() -> String {
        let message = "error trying to reach service: net/http: HTTP/1.x transport connection broken: \
             malformed HTTP response \"\\x00\"";
        status(503, "ServiceUnavailable", message)
    }

    #[rstest]
    #[case::as_it_should(200, "<h1>Login</h1>", "holds")]
    #[case::another_status(302, "", "fails: answered 302, not 200")]
    #[case::an_error_of_the_app(503, "down", "fails: answered 503, not 200")]
    #[case::another_text(200, "maintenance", "fails: answered 200 without \"Login\"")]
    #[case::nobody_listens(503, &refused(), "fails: error trying")]
    #[case::it_speaks_something_else(503, &no_http(), "fails: error trying")]
    #[case::no_permission(403, &status(403, "Forbidden", "pods is forbidden"), "unknown: pods is")]
    #[case::no_such_pod(404, &status(404, "NotFound", "pods \"a\" not found"), "unknown: pods")]
    #[case::no_way(400, &status(400, "BadRequest", "address not allowed"), "unknown: address")]
    fn http(#[case] code: u16, #[case] body: &str, #[case] wanted: &str) {
        let expected =
            HttpCheck { path: "/".to_owned(), status: 200, contains: Some("Login".to_owned()) };
        let told = told(&judge(Some(&expected), code, body));
        assert!(told.starts_with(wanted), "{told}");
    }

    #[rstest]
    #[case::it_speaks_http(404, "no such page", "holds")]
    #[case::it_speaks_something_else(503, &no_http(), "holds")]
    #[case::nobody_listens(503, &refused(), "fails: error trying")]
    #[case::no_way(503, &status(503, "ServiceUnavailable", "No agent available"), "unknown: No")]
    #[case::no_words_that_are_known(
        503,
        &status(503, "ServiceUnavailable", "error trying to reach service: tunnel is closed"),
        "unknown: error trying"
    )]
    fn tcp(#[case] code: u16, #[case] body: &str, #[case] wanted: &str) {
        let told = told(&judge(None, code, body));
        assert!(told.starts_with(wanted), "{told}");
    }

    #[rstest]
    #[case::it_ends_well(json!({"status": "Success"}), "3 replicas in sync", "holds")]
    #[case::it_writes_something_else(json!({"status": "Success"}), "1 replica", "fails: `check it` ended without")]
    #[case::it_ends_otherwise(
        ended(3),
        "a\nno \u{1b}[31mleader\n\n",
        "fails: `check it` ended with 3: no [31mleader"
    )]
    #[case::no_such_program(
        json!({"status": "Failure", "reason": "InternalError", "message": "executable file not found in $PATH"}),
        "",
        "unknown: `check it`: executable file"
    )]
    #[case::nobody_said(json!(null), "in sync", "unknown: `check it`: nobody said")]
    fn a_command(#[case] status: Value, #[case] output: &str, #[case] wanted: &str) {
        let check = ExecCheck {
            container: "db".to_owned(),
            command: vec!["check".to_owned(), "it".to_owned()],
            contains: Some("in sync".to_owned()),
        };
        let status: Option<Status> = serde_json::from_value(status).unwrap();
        let told = told(&judge_command(&check, status.as_ref(), output));
        assert!(told.starts_with(wanted), "{told}");
    }

    #[rstest]
    #[case(json!({"namespace": "m", "service": "p", "port": 9090}), "/api/v1/namespaces/m/services/p:9090/proxy/api/v1/query")]
    #[case(
        json!({"namespace": "m", "service": "p", "port": "web", "scheme": "https", "path": "/prometheus"}),
        "/api/v1/namespaces/m/services/https:p:web/proxy/prometheus/api/v1/query"
    )]
    fn a_query_is_asked_of_the_service(#[case] service: Value, #[case] path: &str) {
        let service: PrometheusService = serde_json::from_value(service).unwrap();
        let uri = query_uri(&service, r#"sum(up{pod=~"a|b"}) + 1 > 0 # & ü"#);
        let query =
            "?query=sum%28up%7Bpod%3D~%22a%7Cb%22%7D%29%20%2B%201%20%3E%200%20%23%20%26%20%C3%BC";
        assert_eq!(uri, format!("{path}{query}"));
    }

    /// As the kubelet words it.
    fn ended(code: i32) -> Value {
        json!({"metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]}})
    }

    fn told(verdict: &Verdict) -> String {
        match verdict {
            Verdict::Holds => "holds".to_owned(),
            Verdict::Fails(why) => format!("fails: {why}"),
            Verdict::Unknown(why) => format!("unknown: {why}"),
        }
    }
}
