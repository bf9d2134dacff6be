//! Between a test and the endpoint: everything that is answered is searched for secrets, whoever asks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::canary;

/// A relay, and whether it has seen a canary.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    has_seen: Arc<AtomicBool>,
}

impl Relay {
    /// Passes on what comes to its address.
    pub(crate) async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let has_seen = Arc::new(AtomicBool::default());
        let seen = Arc::clone(&has_seen);
        tokio::spawn(async move {
            while let Ok((asking, _)) = listener.accept().await {
                tokio::spawn(pass(asking, to, Arc::clone(&seen)));
            }
        });
        Self { address, has_seen }
    }

    /// Fails the test when a secret was in an answer.
    pub(crate) fn assert_none(&self) {
        assert!(!self.has_seen.load(Ordering::Relaxed), "a secret was in an answer");
    }
}

async fn pass(asking: TcpStream, to: SocketAddr, has_seen: Arc<AtomicBool>) {
    let Ok(answering) = TcpStream::connect(to).await else { return };
    let (mut questions, mut asking) = asking.into_split();
    let (mut answers, mut answering) = answering.into_split();
    let ask = async {
        // Either side may have gone.
        drop(tokio::io::copy(&mut questions, &mut answering).await);
        drop(answering.shutdown().await);
    };
    let answer = async {
        let (mut all, mut part) = (Vec::new(), vec![0; 16 << 10]);
        while let Ok(count) = answers.read(&mut part).await {
            all.extend_from_slice(&part[..count]);
            if count == 0 || asking.write_all(&part[..count]).await.is_err() {
                break;
            }
        }
        has_seen.fetch_or(canary::is_in(&all), Ordering::Relaxed);
        drop(asking.shutdown().await);
    };
    tokio::join!(ask, answer);
}
