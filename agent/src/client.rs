//! Asking a running agent over its API, for the commands. Plain HTTP: an agent elsewhere is reached through a tunnel.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client as Connections;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tidegate_schema::finding::{Finding, Lang};

use crate::secret::Secret;

/// An agent that has not answered after this is not going to.
const PATIENCE: Duration = Duration::from_mins(1);
/// No answer is larger, in bytes.
const LARGEST: usize = 256 << 20;

/// Why an agent gave no answer, or not the one that was hoped for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is none.
    #[error("failed to read the address {0}: write http://HOST:PORT")]
    Address(String),
    /// Nobody answers there.
    #[error("failed to reach an agent at {url}")]
    Unreachable {
        /// The address.
        url: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The agent refused.
    #[error("failed to have it done: the agent refuses")]
    Refused(Vec<Finding>),
    /// The answer is not the agent's.
    #[error("failed to read the answer of {url}: {status}")]
    Unexpected {
        /// The address.
        url: String,
        /// The status.
        status: String,
    },
}

/// Speaks to one agent.
pub struct Client {
    base: String,
    token: Option<Secret>,
    lang: Lang,
    connections: Connections<HttpConnector, Full<Bytes>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Client {
    /// An agent at an address; asks nothing yet.
    ///
    /// # Errors
    ///
    /// When the address is none, or wants TLS.
    pub fn new(url: &str, token: Option<Secret>, lang: Lang) -> Result<Self, Error> {
        let base = url.trim_end_matches('/').to_owned();
        let is_good = base.starts_with("http://")
            && base.parse::<http::Uri>().is_ok_and(|uri| uri.authority().is_some());
        if !is_good {
            return Err(Error::Address(base));
        }
        let connections = Connections::builder(TokioExecutor::new()).build_http();
        Ok(Self { base, token, lang, connections })
    }

    /// Where the agent is.
    pub fn url(&self) -> &str {
        &self.base
    }

    /// Asks.
    ///
    /// # Errors
    ///
    /// When nobody answers, or the agent refuses.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let body = self.send(http::Method::GET, path, Bytes::new()).await?;
        serde_json::from_slice(&body).map_err(|error| self.unexpected(error))
    }

    /// Asks for text.
    ///
    /// # Errors
    ///
    /// When nobody answers, or the agent refuses.
    pub async fn text(&self, path: &str) -> Result<String, Error> {
        let body = self.send(http::Method::GET, path, Bytes::new()).await?;
        String::from_utf8(body.to_vec()).map_err(|error| self.unexpected(error))
    }

    /// Asks for something to be done.
    ///
    /// # Errors
    ///
    /// When nobody answers, or the agent refuses.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, Error> {
        let body = self.send(http::Method::POST, path, Bytes::from(body.to_string())).await?;
        serde_json::from_slice(&body).map_err(|error| self.unexpected(error))
    }

    async fn send(&self, method: http::Method, path: &str, body: Bytes) -> Result<Bytes, Error> {
        let unreachable = |source: Box<dyn std::error::Error + Send + Sync>| Error::Unreachable {
            url: self.base.clone(),
            source,
        };
        let mut request = http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("accept-language", self.lang.to_string())
            .header("content-type", "application/json");
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {}", token.expose()));
        }
        let request = request.body(Full::new(body)).map_err(|error| unreachable(error.into()))?;
        let answer = async {
            let answer =
                self.connections.request(request).await.map_err(|it| unreachable(it.into()))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), LARGEST).collect().await;
            Ok((status, body.map_err(unreachable)?.to_bytes()))
        };
        let answer = tokio::time::timeout(PATIENCE, answer).await;
        let (status, body) = answer.map_err(|error| unreachable(error.into()))??;
        if status.is_success() {
            return Ok(body);
        }
        let findings = serde_json::from_slice::<Value>(&body)
            .ok()
            .and_then(|body| serde_json::from_value(body.get("findings")?.clone()).ok());
        match findings {
            Some(findings) => Err(Error::Refused(findings)),
            None => Err(self.unexpected(status)),
        }
    }

    fn unexpected(&self, status: impl std::fmt::Display) -> Error {
        Error::Unexpected { url: self.base.clone(), status: status.to_string() }
    }
}
