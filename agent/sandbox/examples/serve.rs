//! Serves a sandbox on loopback and writes a kubeconfig: `cargo run -p tidegate-sandbox --example serve -- PORT KUBECONFIG`.

use tidegate_sandbox::{Options, Sandbox};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().unwrap_or_default().parse().unwrap_or_default();
    let path = arguments.next().ok_or("the second argument is the kubeconfig to write")?;
    let sandbox = Sandbox::start(Options::default())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    std::fs::write(path, sandbox.kubeconfig(listener.local_addr()?))?;
    sandbox.serve(listener).await?;
    Ok(())
}
