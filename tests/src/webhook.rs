//! An admission webhook as a test's companion: it serves `AdmissionReview` over TLS on loopback, for a real API server,
//! answers as the test says, and keeps what it was asked.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Collected, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;

use crate::real_cluster::RealCluster;

/// What a webhook says to one request.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Let it through as it is.
    Allow,
    /// Let it through, changed by a JSON patch (RFC 6902).
    Change(Value),
    /// Refuse it with this status and these words.
    Deny(u16, String),
    /// Never answer.
    Silence,
}

/// One question to a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// `CREATE`, `UPDATE` or `DELETE`.
    pub operation: String,
    /// `KIND/NAME` of the object.
    pub object: String,
    /// Whether the server says that nothing will be stored.
    pub is_dry_run: bool,
}

/// From the `request` of an `AdmissionReview` to what is said.
type Rule = Box<dyn Fn(&Value) -> Answer + Send + Sync>;

struct Desk {
    rule: Mutex<Arc<Rule>>,
    calls: Mutex<Vec<Call>>,
}

/// A webhook that is served until it is dropped.
pub struct Webhook {
    desk: Arc<Desk>,
    address: SocketAddr,
    /// The authority of its certificate, in base64.
    authority: String,
    server: JoinHandle<()>,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Webhook {
    /// Serves on a free port, with the certificate that the control plane itself has for this address.
    pub async fn start(
        cluster: &RealCluster,
        rule: impl Fn(&Value) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let (authority, certificates, key) = cluster.certificates();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("protocol versions")
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .expect("a certificate with its key");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let desk =
            Arc::new(Desk { rule: Mutex::new(Arc::new(Box::new(rule))), calls: Mutex::default() });
        let server = tokio::spawn(serve(listener, acceptor, Arc::clone(&desk)));
        Self { desk, address, authority, server }
    }

    /// Says something else from now on.
    pub fn says(&self, rule: impl Fn(&Value) -> Answer + Send + Sync + 'static) {
        *self.desk.rule.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(Box::new(rule));
    }

    /// What was asked since this was last called.
    pub fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut *self.desk.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The `clientConfig` of a webhook configuration.
    pub fn client_config(&self) -> Value {
        json!({"url": format!("https://{}/", self.address), "caBundle": self.authority})
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, desk: Arc<Desk>) {
    // Connections end with the server.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((connection, _)) = listener.accept().await else { return };
        connections.spawn(talk(connection, acceptor.clone(), Arc::clone(&desk)));
        while connections.try_join_next().is_some() {}
    }
}

async fn talk(connection: TcpStream, acceptor: TlsAcceptor, desk: Arc<Desk>) {
    // A client that gives up has nobody to be told.
    let Ok(connection) = acceptor.accept(connection).await else { return };
    let service = service_fn(|request| review(request, Arc::clone(&desk)));
    let served = http1::Builder::new().serve_connection(TokioIo::new(connection), service);
    drop(served.await);
}

async fn review(
    request: Request<Incoming>,
    desk: Arc<Desk>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.map(Collected::to_bytes).unwrap_or_default();
    let review: Value = serde_json::from_slice(&body).unwrap_or_default();
    let asked = review.get("request").cloned().unwrap_or_default();
    let text = |pointer: &str| {
        asked.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    desk.calls.lock().unwrap_or_else(PoisonError::into_inner).push(Call {
        operation: text("/operation"),
        object: format!("{}/{}", text("/kind/kind"), text("/name")),
        is_dry_run: asked.get("dryRun") == Some(&Value::Bool(true)),
    });
    let rule = Arc::clone(&desk.rule.lock().unwrap_or_else(PoisonError::into_inner));
    let uid = text("/uid");
    let response = match rule(&asked) {
        Answer::Allow => json!({"uid": uid, "allowed": true}),
        Answer::Change(patch) => {
            let patch = STANDARD.encode(patch.to_string());
            json!({"uid": uid, "allowed": true, "patchType": "JSONPatch", "patch": patch})
        }
        Answer::Deny(code, message) => {
            json!({"uid": uid, "allowed": false, "status": {"code": code, "message": message}})
        }
        Answer::Silence => std::future::pending().await,
    };
    let body = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
    let response = Response::builder().header("Content-Type", "application/json");
    Ok(response.body(Full::from(body.to_string())).expect("a response"))
}
