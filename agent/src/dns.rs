//! The DNS server: serves published zones over UDP and TCP. The only place that names hickory.
//!
//! Transport and wire format are hickory's; the zone store and what is answered are ours, because the stock stores answer
//! wildcards, empty non-terminals, referrals and negative answers wrongly.
//!
//! Not here yet: zone transfer, NOTIFY, TSIG, UPDATE, rate limits, cookies, DNSSEC. All of them are refused.

mod answer;
mod ask;
mod forward;
mod last_good;
mod respond;
mod store;
mod zones;

#[cfg(test)]
mod tests;

use std::{
    io,
    net::{SocketAddr, TcpListener as StdTcpListener, UdpSocket as StdUdpSocket},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hickory_server::Server;
use tidegate_core::zone::PublishedZone;
use tokio::net::{TcpListener, UdpSocket};

pub use ask::{Error as AskError, ask};
pub use forward::Error as ForwardError;
pub use last_good::Error as LastGoodError;
pub use respond::Counters;
pub use store::Error as ZoneError;
pub use zones::Error as PublishError;

use respond::{Responder, Shared};
use zones::Zones;

/// A TCP connection that asks nothing for this long is closed.
const TCP_IDLE: Duration = Duration::from_secs(10);
/// Answers that may wait on one TCP connection.
const TCP_ANSWERS: usize = 32;
/// How often a free port is tried that must be free for UDP and TCP alike.
const PORT_ATTEMPTS: usize = 16;

/// Why the server could not start or stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address cannot be listened on.
    #[error("failed to listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A task of the server ended badly.
    #[error("failed to stop the DNS server")]
    Stop(#[source] Box<hickory_net::NetError>),
}

/// A running DNS server. Dropping it ends it at once; [`DnsServer::stop`] ends it in order.
pub struct DnsServer {
    shared: Arc<Shared>,
    server: Server<Responder>,
    addresses: Vec<SocketAddr>,
    /// Held while a set is built, so that two cannot be built on the same one.
    publishing: Mutex<()>,
}

impl std::fmt::Debug for DnsServer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("DnsServer")
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

impl DnsServer {
    /// Listens on each address, UDP and TCP on the same port; port 0 takes a free one. Until zones are published every
    /// question is refused. Call it on a tokio runtime.
    ///
    /// Give each address by itself on a machine that has several: an answer to a question that came in over `0.0.0.0` may
    /// leave from another address than it was asked at.
    #[expect(
        clippy::unused_async,
        reason = "must be called on a runtime; an async function cannot be called elsewhere"
    )]
    pub async fn start(addresses: &[SocketAddr]) -> Result<Self, Error> {
        let shared = Arc::new(Shared::default());
        let mut server = Server::new(Responder(Arc::clone(&shared)));
        let mut bound = Vec::with_capacity(addresses.len());
        for address in addresses {
            let (udp, tcp, address) =
                listen(*address).map_err(|source| Error::Listen { address: *address, source })?;
            server.register_socket(udp);
            server.register_listener(tcp, TCP_IDLE, TCP_ANSWERS);
            bound.push(address);
        }
        Ok(Self { shared, server, addresses: bound, publishing: Mutex::new(()) })
    }

    /// Where it listens, with the ports that were found; in the order of [`DnsServer::start`].
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Serves exactly these zones from now on. They are checked and built first, then swapped in whole; on an error the set
    /// before them goes on being served. Takes milliseconds per thousand names: call it from `spawn_blocking` for large ones.
    /// Call it on a tokio runtime.
    pub fn publish(&self, zones: Vec<PublishedZone>) -> Result<(), PublishError> {
        let _publishing = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        let built = Zones::build(zones, &self.shared.zones.load())?;
        self.shared.zones.store(Arc::new(built));
        Ok(())
    }

    /// The zones that are served, ordered by name.
    pub fn published(&self) -> Vec<PublishedZone> {
        self.shared.zones.load().published().cloned().collect()
    }

    /// What was counted since the start.
    pub fn counters(&self) -> Counters {
        self.shared.counters()
    }

    /// The same, for those who have no hold of the server itself.
    pub fn counting(&self) -> impl Fn() -> Counters + Send + Sync + use<> {
        let shared = Arc::clone(&self.shared);
        move || shared.counters()
    }

    /// Writes the zones that are served to a file, whole or not at all.
    pub fn store_last_good(&self, path: &Path) -> Result<(), LastGoodError> {
        last_good::store(path, self.published())
    }

    /// Reads zones from a file of [`DnsServer::store_last_good`], checked against their digests; pass them to
    /// [`DnsServer::publish`].
    pub fn load_last_good(path: &Path) -> Result<Vec<PublishedZone>, LastGoodError> {
        last_good::load(path)
    }

    /// Takes no more questions, and returns when the listeners are closed.
    pub async fn stop(mut self) -> Result<(), Error> {
        if self.addresses.is_empty() {
            return Ok(());
        }
        self.server.shutdown_gracefully().await.map_err(|error| Error::Stop(Box::new(error)))
    }
}

/// Binds UDP and TCP to one port.
fn listen(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener, SocketAddr)> {
    let mut last = None;
    for _ in 0..PORT_ATTEMPTS {
        let udp = StdUdpSocket::bind(address)?;
        let bound = udp.local_addr()?;
        match StdTcpListener::bind(bound) {
            Ok(tcp) => {
                udp.set_nonblocking(true)?;
                tcp.set_nonblocking(true)?;
                return Ok((UdpSocket::from_std(udp)?, TcpListener::from_std(tcp)?, bound));
            }
            // A free port was asked for: another one may be free for both.
            Err(error) if address.port() == 0 => last = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::from(io::ErrorKind::AddrInUse)))
}
