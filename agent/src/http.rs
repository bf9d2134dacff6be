//! The status endpoint: health, metrics, status and the API that the commands use. The only place that names axum.
//!
//! Loopback is open for reading to this machine's users; whatever changes something needs a token even there, so that a
//! page in somebody's browser cannot drive the agent. Elsewhere everything but health needs the token. There is no TLS:
//! put a proxy before it.

mod answer;
mod approvals;
mod body;
mod connections;
mod events;
mod guard;
mod hooks;
mod metrics;
mod openapi;
mod plans;
mod releases;
mod routes;
mod site;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use metrics::Count;

use crate::handle::Handle;
use crate::secret::Secret;
use crate::whereabouts::{self, Whereabouts};

/// The largest body of a request, in bytes; approvals and commands are small, hooks are the largest.
const LARGEST_BODY: usize = crate::wake::hook::LARGEST + 1;

/// Why the endpoint did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is not loopback, and no token is set.
    #[error("failed to listen on {0}: listening elsewhere than on loopback needs a token")]
    NeedsToken(SocketAddr),
    /// The address cannot be listened on.
    #[error("failed to listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// How the endpoint is served.
#[derive(Clone)]
pub struct Options {
    /// Where; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What every request but those for health must show. Without it only loopback is listened on.
    pub token: Option<Secret>,
    /// What requests that change something must show on loopback, where nothing else is asked for. Whoever can read
    /// the data folder finds it in `agent.json`.
    pub control: Secret,
    /// The secret that is shared with the forge; without it hooks are refused.
    pub hook: Option<Secret>,
    /// Counters of other parts of the agent, for `/metrics`.
    pub counts: Arc<dyn Fn() -> Vec<Count> + Send + Sync>,
}

impl Options {
    /// A free port of loopback, and one token for what changes something.
    pub fn loopback(control: Secret) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            token: None,
            control,
            hook: None,
            counts: Arc::new(Vec::new),
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("listen", &self.listen).finish_non_exhaustive()
    }
}

/// What every route sees.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) handle: Handle,
    pub(crate) options: Arc<Options>,
    pub(crate) document: Arc<serde_json::Value>,
}

/// Serves until the task is aborted; gives the address with the port that was found.
///
/// # Errors
///
/// When the address cannot be listened on, or would be open to others without a token.
pub async fn serve(
    handle: Handle,
    options: Options,
) -> Result<(SocketAddr, JoinHandle<()>), Error> {
    if !options.listen.ip().is_loopback() && options.token.is_none() {
        return Err(Error::NeedsToken(options.listen));
    }
    if !options.listen.ip().is_loopback() {
        tracing::warn!(listen = %options.listen, "tokens travel unencrypted: put a proxy with TLS before it");
    }
    let failed = |source| Error::Listen { address: options.listen, source };
    let listener = TcpListener::bind(options.listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let router = routes::router(handle, options);
    Ok((address, tokio::spawn(connections::serve(listener, router))))
}

/// Serves on a free port of loopback, and says so in the data folder, so that `tidegate status --data …` finds it.
///
/// # Errors
///
/// When loopback cannot be listened on.
pub async fn serve_for_demo(handle: Handle, data: &Path) -> Result<SocketAddr, Error> {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let control = whereabouts::new_token().ok_or(Error::NeedsToken(nowhere))?;
    let (address, _task) = serve(handle, Options::loopback(control.clone())).await?;
    if let Err(error) = Whereabouts::new(format!("http://{address}"), &control).write(data) {
        tracing::warn!(%error, "commands will not find the agent");
    }
    Ok(address)
}

/// The OpenAPI document (3.1) of the endpoint; made from the same list as its routes.
pub fn openapi() -> serde_json::Value {
    routes::table().document()
}
