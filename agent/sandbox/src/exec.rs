//! Commands in containers (`pods/exec`) over a WebSocket: no program runs, so images say how every command ends.
//!
//! The protocols are `v4.channel.k8s.io` and `v5.channel.k8s.io` (apimachinery, `remotecommand`): the first byte of a message
//! is its channel, 1 for the output and 3 for how it ended. kubectl before 1.31 speaks SPDY instead, which is not there.

use std::convert::Infallible;

use bytes::Bytes;
use futures::SinkExt as _;
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::service::service_fn;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};
use tower::Service as _;

use crate::server::{ApiService, Body};
use crate::status::Refusal;

/// In the order in which the server prefers them.
const PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];

/// The channel of what a command writes.
const OUTPUT: u8 = 1;

/// The channel of the `Status` that says how it ended.
const ENDED: u8 = 3;

/// Bytes on their way between the two ends of a pipe.
const PIPE: usize = 64 * 1024;

/// How a command ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Execution {
    pub(crate) output: String,
    pub(crate) code: i32,
}

impl Execution {
    /// As the kubelet says it.
    fn status(&self) -> Value {
        if self.code == 0 {
            return json!({"metadata": {}, "status": "Success"});
        }
        let code = self.code.to_string();
        json!({"metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "details": {"causes": [{"reason": "ExitCode", "message": code}]}})
    }
}

/// Whether somebody asks for another protocol than HTTP.
pub(crate) fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(header::UPGRADE)
}

/// Switches to a WebSocket, and says on it how the command ended.
pub(crate) fn switch(parts: &Parts, execution: Execution) -> Result<Response<Body>, Refusal> {
    let text = |name: header::HeaderName| {
        parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    };
    let upgrade = parts.extensions.get::<OnUpgrade>().cloned();
    let offered = text(header::SEC_WEBSOCKET_PROTOCOL);
    let is_offered = |protocol: &&str| offered.split(',').any(|it| it.trim() == *protocol);
    let protocol = PROTOCOLS.into_iter().find(is_offered);
    let is_socket = text(header::UPGRADE).eq_ignore_ascii_case("websocket");
    let (Some(upgrade), Some(protocol), true) = (upgrade, protocol, is_socket) else {
        return Err(Refusal::bad_request("the sandbox executes over a WebSocket only"));
    };
    let accept = derive_accept_key(text(header::SEC_WEBSOCKET_KEY).as_bytes());
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => speak(upgraded, &execution).await,
            Err(error) => tracing::debug!(%error, "not switched to a WebSocket"),
        }
    });
    let mut response = Response::new(Empty::new().boxed_unsync());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, header::HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, header::HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, header::HeaderValue::from_static(protocol));
    if let Ok(accept) = header::HeaderValue::from_str(&accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    Ok(response)
}

async fn speak(upgraded: Upgraded, execution: &Execution) {
    let mut socket =
        WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
    let on = |channel: u8, content: &str| {
        let mut bytes = vec![channel];
        bytes.extend_from_slice(content.as_bytes());
        Message::Binary(bytes.into())
    };
    let told = [on(OUTPUT, &execution.output), on(ENDED, &execution.status().to_string())];
    for message in told {
        if socket.send(message).await.is_err() {
            return;
        }
    }
    drop(socket.close(None).await);
}

/// Answers a client of the same process that asks for another protocol: a connection can be switched, a call cannot, so it
/// goes over a pipe.
pub(crate) async fn over_a_pipe(service: ApiService, parts: Parts) -> Response<Body> {
    let (near, far) = tokio::io::duplex(PIPE);
    let answer = service_fn(move |request| {
        let mut service = service.clone();
        async move { service.call(request).await.map_err(|never: Infallible| never) }
    });
    let server = hyper::server::conn::http1::Builder::new();
    tokio::spawn(server.serve_connection(TokioIo::new(far), answer).with_upgrades());
    match through(near, parts).await {
        Ok(response) => response,
        Err(error) => {
            tracing::debug!(%error, "no answer through the pipe");
            let mut response = Response::new(Empty::new().boxed_unsync());
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        }
    }
}

async fn through(
    near: tokio::io::DuplexStream,
    parts: Parts,
) -> Result<Response<Body>, hyper::Error> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(near)).await?;
    tokio::spawn(connection.with_upgrades());
    let response = sender.send_request(Request::from_parts(parts, Empty::<Bytes>::new())).await?;
    let (parts, body) = response.into_parts();
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Response::from_parts(parts, Empty::new().boxed_unsync()));
    }
    let bytes = body.collect().await?.to_bytes();
    Ok(Response::from_parts(parts, http_body_util::Full::new(bytes).boxed_unsync()))
}
