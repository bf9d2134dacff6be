//! A registry of images as a test's companion: as much of the OCI distribution API as is asked for, over real HTTP on
//! loopback, with the troubles that registries have. It keeps what it was asked.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tidegate_core::digest::Digest;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::canary;

/// The user that may pull, where somebody must be one.
pub const USER: &str = "puller";

/// Who may pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Open,
    /// [`USER`] with the password (RFC 7617).
    Basic,
    /// Whoever has a token, which [`USER`] gets (Docker Registry v2, "Token Authentication Specification").
    Tokens,
}

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// As it should.
    Well,
    /// With this status, whatever is asked.
    Status(u16),
    /// Never.
    Silent,
    /// Without saying digests.
    WithoutDigest,
    /// Only to `GET`.
    OnlyGet,
}

struct Shelf {
    tags: BTreeMap<(String, String), Digest>,
    manifests: BTreeMap<(String, Digest), String>,
    mood: Mood,
    questions: Vec<String>,
    now: usize,
    most: usize,
}

struct Desk {
    access: Access,
    /// Where tokens are given.
    realm: String,
    shelf: Mutex<Shelf>,
}

/// A registry that is served until it is dropped.
pub struct Registry {
    desk: Arc<Desk>,
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("address", &self.address).finish_non_exhaustive()
    }
}

/// The authority whose certificate a registry with TLS has.
pub fn authority() -> PathBuf {
    file("authority.pem")
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("registry").join(name)
}

fn password() -> String {
    canary::secret("registry")
}

fn token() -> String {
    canary::secret("token")
}

/// A `config.json` of Docker with the credentials for a registry, as a cluster's pull secret has them.
pub fn docker_config(registry: &str) -> String {
    let pair = STANDARD.encode(format!("{USER}:{}", password()));
    format!(r#"{{"auths": {{"{registry}": {{"auth": "{pair}"}}}}}}"#)
}

impl Registry {
    /// Serves without encryption on a free port.
    pub async fn start(access: Access) -> Self {
        Self::serve(access, None, None).await
    }

    /// The same, and tokens are said to be given elsewhere.
    pub async fn start_with_realm(realm: &str) -> Self {
        Self::serve(Access::Tokens, None, Some(realm)).await
    }

    /// Serves with a certificate of [`authority`].
    pub async fn start_with_tls(access: Access) -> Self {
        let certificates = CertificateDer::pem_file_iter(file("server.pem")).expect("certificates");
        let certificates = certificates.collect::<Result<_, _>>().expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(file("server.key")).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("protocol versions")
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .expect("a certificate with its key");
        Self::serve(access, Some(TlsAcceptor::from(Arc::new(config))), None).await
    }

    async fn serve(access: Access, tls: Option<TlsAcceptor>, realm: Option<&str>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let scheme = if tls.is_some() { "https" } else { "http" };
        let realm = realm.map_or_else(|| format!("{scheme}://{address}/token"), str::to_owned);
        let shelf = Shelf {
            tags: BTreeMap::new(),
            manifests: BTreeMap::new(),
            mood: Mood::Well,
            questions: Vec::new(),
            now: 0,
            most: 0,
        };
        let desk = Arc::new(Desk { access, realm, shelf: Mutex::new(shelf) });
        let server = tokio::spawn(accept(listener, tls, Arc::clone(&desk)));
        Self { desk, address, server }
    }

    /// `host:port`, as image references name it.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Puts an image there; a tag that is there already moves to it.
    pub fn push(&self, repository: &str, tag: &str, content: &str) -> Digest {
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"annotations":{{"content":"{content}"}}}}"#
        );
        let digest = Digest::of_bytes(manifest.as_bytes());
        let mut shelf = self.desk.shelf();
        shelf.manifests.insert((repository.to_owned(), digest.clone()), manifest);
        shelf.tags.insert((repository.to_owned(), tag.to_owned()), digest.clone());
        digest
    }

    /// Takes an image away, as a clean-up does; its tags too.
    pub fn remove(&self, repository: &str, digest: &Digest) {
        let mut shelf = self.desk.shelf();
        shelf.manifests.remove(&(repository.to_owned(), digest.clone()));
        shelf.tags.retain(|(own, _), tagged| own != repository || tagged != digest);
    }

    /// Answers like this from now on.
    pub fn is(&self, mood: Mood) {
        self.desk.shelf().mood = mood;
    }

    /// What was asked since this was last called, as `METHOD path`.
    pub fn take_questions(&self) -> Vec<String> {
        std::mem::take(&mut self.desk.shelf().questions)
    }

    /// How many questions it had at once at the most.
    pub fn most_at_once(&self) -> usize {
        self.desk.shelf().most
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Desk {
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the one who asks must show, when it is not shown.
    fn challenge(&self, shown: &str) -> Option<String> {
        match self.access {
            Access::Open => None,
            Access::Basic => (!is_login(shown)).then(|| r#"Basic realm="registry""#.to_owned()),
            Access::Tokens => (shown != format!("Bearer {}", token()))
                .then(|| format!(r#"Bearer realm="{}",service="registry.test""#, self.realm)),
        }
    }
}

fn is_login(shown: &str) -> bool {
    shown == format!("Basic {}", STANDARD.encode(format!("{USER}:{}", password())))
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, desk: Arc<Desk>) {
    // Connections end with the server.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((connection, _)) = listener.accept().await else { return };
        let (tls, desk) = (tls.clone(), Arc::clone(&desk));
        connections.spawn(async move {
            let service = service_fn(|request| answer(request, Arc::clone(&desk)));
            let http = http1::Builder::new();
            // A client that gives up has nobody to be told.
            if let Some(tls) = tls {
                let Ok(connection) = tls.accept(connection).await else { return };
                drop(http.serve_connection(TokioIo::new(connection), service).await);
            } else {
                drop(http.serve_connection(TokioIo::new(connection), service).await);
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(
    request: Request<Incoming>,
    desk: Arc<Desk>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let mood = {
        let mut shelf = desk.shelf();
        shelf.questions.push(format!("{} {}", request.method(), request.uri()));
        shelf.now += 1;
        shelf.most = shelf.most.max(shelf.now);
        shelf.mood
    };
    // Those that come together are seen together.
    tokio::task::yield_now().await;
    let response = match mood {
        Mood::Silent => std::future::pending().await,
        Mood::Status(status) => plain(StatusCode::from_u16(status).expect("a status"), ""),
        Mood::Well | Mood::WithoutDigest | Mood::OnlyGet => manifest(&request, &desk, mood),
    };
    desk.shelf().now -= 1;
    Ok(response)
}

fn manifest(request: &Request<Incoming>, desk: &Desk, mood: Mood) -> Response<Full<Bytes>> {
    let header = |name: &str| {
        request.headers().get(name).and_then(|it| it.to_str().ok()).unwrap_or_default()
    };
    let path = request.uri().path();
    if path == "/token" {
        let query = request.uri().query().unwrap_or_default();
        let is_asked_well =
            query.contains("service=registry.test") && query.contains("scope=repository%3A");
        return if is_login(header("authorization")) && is_asked_well {
            plain(StatusCode::OK, &format!(r#"{{"token": "{}"}}"#, token()))
        } else {
            plain(StatusCode::UNAUTHORIZED, "")
        };
    }
    if let Some(challenge) = desk.challenge(header("authorization")) {
        let response = Response::builder().status(401).header("WWW-Authenticate", challenge);
        return response.body(Full::default()).expect("a response");
    }
    if mood == Mood::OnlyGet && request.method() == Method::HEAD {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "");
    }
    let shelf = desk.shelf();
    let found = || {
        let (repository, reference) = path.strip_prefix("/v2/")?.split_once("/manifests/")?;
        let named = (repository.to_owned(), reference.to_owned());
        let digest = shelf.tags.get(&named).cloned().or_else(|| Digest::parse(reference))?;
        let manifest = shelf.manifests.get(&(repository.to_owned(), digest.clone()))?;
        Some((digest, manifest.clone()))
    };
    let index = "application/vnd.oci.image.index.v1+json";
    // One that does not say that it takes an index is given something else, or nothing.
    let Some((digest, manifest)) = found().filter(|_| header("accept").contains(index)) else {
        return plain(
            StatusCode::NOT_FOUND,
            r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#,
        );
    };
    let mut response = Response::builder().header("Content-Type", index);
    if mood != Mood::WithoutDigest {
        response = response.header("Docker-Content-Digest", digest.as_str());
    }
    let body = if request.method() == Method::HEAD { String::new() } else { manifest };
    response.body(Full::from(body)).expect("a response")
}

fn plain(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::from(body.to_owned())).expect("a response")
}
