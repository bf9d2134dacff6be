//! Forward zones: questions that are handed on to other servers, with a deadline.

use std::{net::IpAddr, net::SocketAddr, time::Duration};

use hickory_net::{DnsError, NetError, runtime::TokioRuntimeProvider};
use hickory_proto::{
    op::ResponseCode,
    rr::{Name, Record, RecordType},
};
use hickory_resolver::{
    TokioResolver,
    config::{
        ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
        ServerOrderingStrategy,
    },
};

/// The longest a question may take; then the asker hears SERVFAIL and can try elsewhere.
const DEADLINE: Duration = Duration::from_millis(2_500);
/// The longest one server may take before the next is asked.
const PER_SERVER: Duration = Duration::from_millis(800);

/// Why a forward zone cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The zone names no server.
    #[error("the forward zone {0} names no server")]
    NoServer(String),
    /// Neither an address nor an address with a port.
    #[error("the server {address} of forward zone {zone} is not an address")]
    Address {
        /// The zone.
        zone: String,
        /// The text.
        address: String,
    },
    /// The resolver cannot be made.
    #[error("failed to prepare the servers of forward zone {zone}")]
    Resolver {
        /// The zone.
        zone: String,
        /// Why.
        source: Box<NetError>,
    },
}

/// What the other servers said.
pub(super) struct Forwarded {
    pub(super) code: ResponseCode,
    pub(super) answers: Vec<Record>,
    pub(super) authority: Vec<Record>,
}

/// Asks other servers for one zone, and remembers answers for as long as they are good.
pub(super) struct Forwarder {
    resolver: TokioResolver,
}

impl std::fmt::Debug for Forwarder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Forwarder").finish_non_exhaustive()
    }
}

impl Forwarder {
    pub(super) fn new(zone: &str, to: &[String]) -> Result<Self, Error> {
        if to.is_empty() {
            return Err(Error::NoServer(zone.to_owned()));
        }
        let mut servers = Vec::with_capacity(to.len());
        for text in to {
            let address = socket_address(text)
                .ok_or_else(|| Error::Address { zone: zone.to_owned(), address: text.clone() })?;
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
            let connections = connections.map(|mut connection| {
                connection.port = address.port();
                connection
            });
            servers.push(NameServerConfig::new(address.ip(), true, connections.to_vec()));
        }
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options();
        let resolver = builder.build().map_err(|source| Error::Resolver {
            zone: zone.to_owned(),
            source: Box::new(source),
        })?;
        Ok(Self { resolver })
    }

    /// Asks. Silence, broken answers and refusals of the other servers come out as SERVFAIL.
    pub(super) async fn ask(&self, name: Name, rtype: RecordType) -> Forwarded {
        let mut forwarded =
            Forwarded { code: ResponseCode::ServFail, answers: Vec::new(), authority: Vec::new() };
        let lookup = tokio::time::timeout(DEADLINE, self.resolver.lookup(name, rtype)).await;
        match lookup {
            Ok(Ok(lookup)) => {
                forwarded.code = ResponseCode::NoError;
                forwarded.answers = lookup.answers().to_vec();
            }
            Ok(Err(NetError::Dns(DnsError::NoRecordsFound(none))))
                if matches!(none.response_code, ResponseCode::NoError | ResponseCode::NXDomain) =>
            {
                forwarded.code = none.response_code;
                let ttl = none.negative_ttl;
                forwarded.authority.extend(none.soa.map(|soa| {
                    let mut soa = soa.into_record_of_rdata();
                    soa.ttl = ttl.unwrap_or(soa.ttl);
                    soa
                }));
            }
            Ok(Err(error)) => tracing::debug!(%error, "forwarding failed"),
            Err(_) => tracing::debug!("forwarding took too long"),
        }
        forwarded
    }
}

fn options() -> ResolverOpts {
    let mut options = ResolverOpts::default();
    options.timeout = PER_SERVER;
    options.attempts = 1;
    options.edns0 = true;
    options.use_hosts_file = ResolveHosts::Never;
    // An asker wants the aliases too (RFC 1034 section 4.3.2).
    options.preserve_intermediates = true;
    options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
    options
}

/// Reads `address` or `address:port` (`[address]:port` for IPv6); the port is 53 when none is written.
fn socket_address(text: &str) -> Option<SocketAddr> {
    text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53)).or_else(|_| text.parse()).ok()
}
