//! One question to a DNS server, as `dig` asks it: for the demo and for people's checks.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RecordType};
use tokio::net::UdpSocket;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name is none.
    #[error("failed to read the name {0}")]
    Name(String),
    /// The server could not be asked.
    #[error("failed to ask the DNS server")]
    Network(#[from] std::io::Error),
    /// Nothing came, or nothing that could be read.
    #[error("failed to get an answer of the DNS server")]
    Answer,
}

/// The addresses of a name, in presentation form; empty when it has none.
///
/// # Errors
///
/// When the name is none, or no answer came within three seconds.
pub async fn ask(server: SocketAddr, name: &str) -> Result<Vec<String>, Error> {
    let own = Name::from_utf8(name).map_err(|_| Error::Name(name.to_owned()))?;
    let mut message = Message::query();
    message.metadata.id = 1;
    message.add_query(Query::query(own, RecordType::A));
    let bytes = message.to_vec().map_err(|_| Error::Answer)?;
    let socket = UdpSocket::bind(("127.0.0.1", 0)).await?;
    socket.connect(server).await?;
    socket.send(&bytes).await?;
    let mut buffer = vec![0; 4096];
    let received = tokio::time::timeout(PATIENCE, socket.recv(&mut buffer)).await;
    let length = received.map_err(|_| Error::Answer)??;
    let answer = buffer.get(..length).and_then(|bytes| Message::from_vec(bytes).ok());
    let answer = answer.ok_or(Error::Answer)?;
    Ok(answer.answers.iter().map(|record| record.data.to_string()).collect())
}
