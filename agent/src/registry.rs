//! Registries of images, by the OCI distribution API: whether they have a reference, and what its digest is. Only here:
//! hyper-rustls.
//!
//! Absent: proxies, redirects to other addresses, identity tokens (`identitytoken`) and credential helpers of Docker's
//! configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::FutureExt as _;
use futures::stream::{self, StreamExt as _};
use http::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use tidegate_core::digest::Digest;
use tidegate_core::image::Image;
use tidegate_core::pin::Answer;
use tokio::time::{Instant, timeout, timeout_at};

use crate::cause::chain;
use crate::secret::Secret;

mod challenge;
mod credentials;

use challenge::Challenge;
use credentials::{Credentials, Login};

/// How long a connection and one answer may take, and how long all questions of one call.
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(10);
const ALL: Duration = Duration::from_secs(20);

/// Questions to one registry at once.
const AT_ONCE: usize = 8;

/// No manifest and no token is larger, in bytes (distribution specification, "Pushing Manifests").
const LARGEST: usize = 4 << 20;

/// Everything that a reference may lead to. An index comes first: it is what a tag of several platforms means.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
                         application/vnd.docker.distribution.manifest.list.v2+json, \
                         application/vnd.oci.image.manifest.v1+json, \
                         application/vnd.docker.distribution.manifest.v2+json";

/// How registries are reached.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A `config.json` of Docker with credentials (`auths`). It is read again for each call, as it may be replaced.
    pub auth: Option<PathBuf>,
    /// Certificates in PEM that are trusted beside the system's.
    pub authorities: Option<PathBuf>,
    /// Registries (`host` or `host:port`) that are asked without encryption.
    pub insecure: BTreeSet<String>,
}

/// Why registries cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The certificates cannot be read.
    #[error("failed to read the certificates of {path}")]
    Authorities {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// What was read is no certificate, or there is none.
    #[error("failed to find certificates in {0}")]
    NoAuthority(PathBuf),
    /// The library refuses its own defaults.
    #[error("failed to prepare TLS")]
    Tls(#[source] rustls::Error),
}

/// Why a registry did not say whether it has a reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// No connection, no encryption, or no HTTP.
    #[error("it cannot be reached ({0})")]
    Unreachable(String),
    /// No answer in time.
    #[error("it does not answer in time")]
    Slow,
    /// It has too much to do.
    #[error("it is busy ({0})")]
    Busy(StatusCode),
    /// It wants other credentials than there are.
    #[error("{0}")]
    Denied(String),
    /// Something that the specification does not say.
    #[error("its answer cannot be understood ({0})")]
    Strange(String),
}

impl Trouble {
    /// Whether every other question would end the same.
    fn is_of_all(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Slow | Self::Busy(_))
    }
}

type Said = Result<Answer, Trouble>;

/// All registries. Cheap to clone.
#[derive(Clone)]
pub struct Registries {
    options: Arc<Options>,
    connections: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

impl std::fmt::Debug for Registries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registries").field("options", &self.options).finish_non_exhaustive()
    }
}

/// One question: an image at its registry.
#[derive(Clone, Copy)]
struct Question<'a> {
    text: &'a str,
    host: &'a str,
    image: &'a Image<'a>,
}

impl Registries {
    /// Asks nothing yet.
    ///
    /// # Errors
    ///
    /// When the certificates of the options cannot be used.
    pub fn new(options: Options) -> Result<Self, Error> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(CONNECT));
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls(&options)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let connections = Client::builder(TokioExecutor::new()).build(https);
        Ok(Self { options: Arc::new(options), connections })
    }

    /// Asks for references, each at its own registry: all registries side by side, and of each only a few at once. What has
    /// no host is not asked for.
    pub async fn ask(&self, references: &BTreeSet<String>) -> BTreeMap<String, Said> {
        let deadline = Instant::now() + ALL;
        let images: Vec<(&String, Image<'_>)> = references
            .iter()
            .filter_map(|reference| Some((reference, Image::parse(reference)?)))
            .collect();
        let mut by_host: BTreeMap<&str, Vec<Question<'_>>> = BTreeMap::new();
        for (text, image) in &images {
            if let Some(host) = image.host {
                by_host.entry(host).or_default().push(Question { text, host, image });
            }
        }
        let credentials = match Credentials::read(self.options.auth.as_deref()).await {
            Ok(credentials) => credentials,
            Err(error) => {
                // Without them a private registry would say that it has nothing.
                let trouble = Trouble::Denied(chain(&error));
                let all = by_host.into_values().flatten();
                return all.map(|it| (it.text.to_owned(), Err(trouble.clone()))).collect();
            }
        };
        let each =
            by_host.into_values().map(|all| self.ask_one_registry(all, &credentials, deadline));
        futures::future::join_all(each).await.into_iter().flatten().collect()
    }

    /// The first question tells whether the registry is there at all: a site's images do not wait one after the other.
    async fn ask_one_registry(
        &self,
        questions: Vec<Question<'_>>,
        credentials: &Credentials,
        deadline: Instant,
    ) -> BTreeMap<String, Said> {
        let mut said = BTreeMap::new();
        let (first, rest) = questions.split_at(1.min(questions.len()));
        let mut left = Trouble::Slow;
        for wave in [first, rest] {
            let asked: Vec<_> =
                wave.iter().map(|question| self.ask_one(*question, credentials).boxed()).collect();
            let mut asked = stream::iter(asked).buffer_unordered(AT_ONCE);
            let mut is_over = false;
            while let Ok(Some((text, answer))) = timeout_at(deadline, asked.next()).await {
                let trouble = answer.as_ref().err().filter(|trouble| trouble.is_of_all()).cloned();
                said.insert(text.to_owned(), answer);
                if let Some(trouble) = trouble {
                    left = trouble;
                    is_over = true;
                    break;
                }
            }
            if is_over {
                break;
            }
        }
        for question in &questions {
            said.entry(question.text.to_owned()).or_insert_with(|| Err(left.clone()));
        }
        said
    }

    async fn ask_one<'a>(
        &self,
        question: Question<'a>,
        credentials: &Credentials,
    ) -> (&'a str, Said) {
        (question.text, self.look_up(question, credentials).await)
    }

    async fn look_up(&self, question: Question<'_>, credentials: &Credentials) -> Said {
        let Question { host, image, .. } = question;
        let path = match (host, image.path.contains('/')) {
            // Docker Hub's own images have a folder that nobody writes.
            ("docker.io", false) => format!("library/{}", image.path),
            _ => image.path.to_owned(),
        };
        let reference = image.digest.or(image.tag).unwrap_or("latest");
        let server = if host == "docker.io" { "registry-1.docker.io" } else { host };
        let scheme = if self.is_insecure(host) { "http" } else { "https" };
        let url = format!("{scheme}://{server}/v2/{path}/manifests/{reference}");
        let url: Uri = url.parse().map_err(|_| Trouble::Strange(format!("no address: {url}")))?;

        let login = credentials.of(host);
        let mut authorization = None;
        let mut answer = self.send(Method::HEAD, &url, None).await?;
        if answer.status == StatusCode::UNAUTHORIZED {
            let proof = self.authorize(&answer.headers, &path, login).await?;
            authorization = Some(proof.ok_or_else(|| Trouble::Denied(credentials.refused(host)))?);
            answer = self.send(Method::HEAD, &url, authorization.as_ref()).await?;
        }
        let has_digest = digest_of(&answer.headers).is_some();
        let is_unsaid = answer.status.is_success() && !has_digest;
        if is_unsaid || answer.status == StatusCode::METHOD_NOT_ALLOWED {
            answer = self.send(Method::GET, &url, authorization.as_ref()).await?;
        }
        match answer.status {
            StatusCode::OK => {
                let found =
                    digest_of(&answer.headers).unwrap_or_else(|| Digest::of_bytes(&answer.body));
                if image.digest.is_some_and(|wanted| wanted != found.as_str()) {
                    return Err(Trouble::Strange(format!("it gives {found} instead")));
                }
                Ok(Answer::Found(found))
            }
            StatusCode::NOT_FOUND => Ok(Answer::Missing),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(Trouble::Denied(credentials.refused(host)))
            }
            busy @ (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) => {
                Err(Trouble::Busy(busy))
            }
            other => Err(Trouble::Strange(other.to_string())),
        }
    }

    /// What is shown to a registry that asks for it; `None` when there is nothing to show, or no token for it.
    async fn authorize(
        &self,
        headers: &HeaderMap,
        path: &str,
        login: Option<&Login>,
    ) -> Result<Option<HeaderValue>, Trouble> {
        let challenges = headers.get_all(WWW_AUTHENTICATE).iter();
        let challenges: Vec<Challenge> =
            challenges.filter_map(|it| it.to_str().ok()).flat_map(Challenge::read).collect();
        let named = |scheme: &str| {
            challenges.iter().find(|challenge| challenge.scheme.eq_ignore_ascii_case(scheme))
        };
        if let Some(challenge) = named("bearer") {
            return self.token(challenge, path, login).await;
        }
        Ok(named("basic").and(login).and_then(Login::header))
    }

    /// A token for pulling from one repository (Docker Registry v2, "Token Authentication Specification"); `None` when it is
    /// not given.
    async fn token(
        &self,
        challenge: &Challenge,
        path: &str,
        login: Option<&Login>,
    ) -> Result<Option<HeaderValue>, Trouble> {
        #[derive(Deserialize)]
        struct Token {
            token: Option<String>,
            access_token: Option<String>,
        }
        let realm = challenge.parameter("realm").unwrap_or_default();
        let url: Uri = realm
            .parse()
            .map_err(|_| Trouble::Strange("it names no address for tokens".to_owned()))?;
        let authority = url.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        let is_private = url.scheme_str() == Some("https")
            || (url.scheme_str() == Some("http") && self.is_insecure(authority));
        if !is_private {
            let text = format!("it sends for a token to {authority}, without encryption");
            return Err(Trouble::Strange(text));
        }
        let between = if url.query().is_some() { '&' } else { '?' };
        let url: Uri = format!("{realm}{between}{}", wanted(challenge, path))
            .parse()
            .map_err(|_| Trouble::Strange("it names no address for tokens".to_owned()))?;
        let answer = self.send(Method::GET, &url, login.and_then(Login::header).as_ref()).await?;
        match answer.status {
            StatusCode::OK => {}
            busy @ (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) => {
                return Err(Trouble::Busy(busy));
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Ok(None),
            status => return Err(Trouble::Strange(format!("{authority} says {status}"))),
        }
        let strange = || Trouble::Strange(format!("{authority} gives no token"));
        let token: Token = serde_json::from_slice(&answer.body).map_err(|_| strange())?;
        let token = token.token.or(token.access_token).as_deref().and_then(Secret::new);
        let token = token.ok_or_else(strange)?;
        let mut value =
            HeaderValue::from_str(&format!("Bearer {}", token.expose())).map_err(|_| strange())?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    fn is_insecure(&self, host: &str) -> bool {
        self.options.insecure.contains(host)
    }

    async fn send(
        &self,
        method: Method,
        url: &Uri,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answered, Trouble> {
        let mut request = Request::builder().method(method).uri(url).header(ACCEPT, MANIFESTS);
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let unusable = |error: http::Error| Trouble::Strange(chain(&error));
        let request = request.body(Empty::new()).map_err(unusable)?;
        let exchange = async {
            let response = self.connections.request(request).await;
            let response = response.map_err(|error| Trouble::Unreachable(chain(&error)))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, LARGEST).collect().await;
            let body = body.map_err(|error| Trouble::Unreachable(chain(&*error)))?.to_bytes();
            Ok(Answered { status: head.status, headers: head.headers, body })
        };
        timeout(ANSWER, exchange).await.unwrap_or(Err(Trouble::Slow))
    }
}

struct Answered {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// What a token is to be good for, as a query.
fn wanted(challenge: &Challenge, path: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    if let Some(service) = challenge.parameter("service") {
        query.append_pair("service", service);
    }
    let own = format!("repository:{path}:pull");
    query.append_pair("scope", challenge.parameter("scope").unwrap_or(&own));
    query.finish()
}

/// What the registry calls the manifest. Pods pull by it, and their runtime compares it with what it gets.
fn digest_of(headers: &HeaderMap) -> Option<Digest> {
    headers.get("docker-content-digest")?.to_str().ok().and_then(Digest::parse)
}

/// The system's certificates, and the options' own.
fn tls(options: &Options) -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    // A bare container has none, and a certificate that cannot be read is trusted by nobody.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = &options.authorities {
        let unreadable = |source| Error::Authorities { path: path.clone(), source };
        let own = CertificateDer::pem_file_iter(path).map_err(unreadable)?;
        let own: Vec<_> = own.collect::<Result<_, _>>().map_err(unreadable)?;
        if own.is_empty() || roots.add_parsable_certificates(own).0 == 0 {
            return Err(Error::NoAuthority(path.clone()));
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(Error::Tls)?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
