//! Serving a sandbox on a socket, for kubectl and other programs: plain HTTP, which is for loopback only.

use std::convert::Infallible;
use std::net::SocketAddr;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tower::Service as _;

use crate::sandbox::Sandbox;

impl Sandbox {
    /// Serves the API until the task is aborted. Listen on loopback only: there is no TLS, and since kubectl sends no token without TLS,
    /// requests without a token are the administrator's. A request with a token is its owner's.
    pub fn serve(&self, listener: TcpListener) -> JoinHandle<()> {
        let service = self.service();
        tokio::spawn(async move {
            loop {
                let (stream, _) = match listener.accept().await {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        tracing::warn!(%error, "connection not accepted");
                        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                        continue;
                    }
                };
                let service = service.clone();
                tokio::spawn(async move {
                    let answer = service_fn(move |request| {
                        let mut service = service.clone();
                        async move { service.call(request).await.map_err(|never: Infallible| never) }
                    });
                    let connection = auto::Builder::new(TokioExecutor::new());
                    let served = connection
                        .serve_connection_with_upgrades(TokioIo::new(stream), answer)
                        .await;
                    if let Err(error) = served {
                        tracing::debug!(%error, "connection ended");
                    }
                });
            }
        })
    }

    /// A kubeconfig with the administrator's token for a sandbox that is served at `address`.
    pub fn kubeconfig(&self, address: SocketAddr) -> String {
        let name = self.name();
        let world = self.inner.world();
        let token = world.credentials.administrator_token().unwrap_or_default();
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: {name}\nclusters:\n- name: {name}\n  cluster:\n    server: http://{address}\ncontexts:\n- name: {name}\n  context:\n    cluster: {name}\n    user: {name}-admin\nusers:\n- name: {name}-admin\n  user:\n    token: {token}\n"
        )
    }
}
