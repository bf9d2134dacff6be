//! `sandbox`: a simulated cluster by itself, for kubectl.

use std::net::SocketAddr;
use std::path::PathBuf;

use tidegate_sandbox::{Options, Sandbox};
use tidegate_schema::finding::Finding;
use tokio::net::TcpListener;

use super::failure::{Failure, Outcome, because, usage};
use super::output::SandboxServed;
use super::printer::Printer;
use crate::sandboxes::write_for_owner;

const EXAMPLES: &str = "\
Examples:
  tidegate sandbox --kubeconfig sandbox.kubeconfig
  kubectl --kubeconfig sandbox.kubeconfig get nodes
  tidegate sandbox --nodes 10 --speed 20 --state sandbox.json

It is a simulation: no container runs. Images tell how their pods behave, such as `example/web:1.0-crash`.";

/// Runs a simulated Kubernetes cluster until it is interrupted.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Where it is served, plain HTTP: only loopback. Port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// How many nodes it pretends to have.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    nodes: u32,
    /// Its name.
    #[arg(long, default_value = "sandbox")]
    name: String,
    /// Writes a kubeconfig here.
    #[arg(long, default_value = "sandbox.kubeconfig", value_name = "FILE")]
    kubeconfig: PathBuf,
    /// Keeps its objects in this file between runs.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// How many times faster than the machine's clock its clock runs.
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
}

pub(super) async fn run(args: &Args, printer: &Printer) -> Result<Outcome, Failure> {
    if !args.listen.ip().is_loopback() {
        return Err(usage(Finding::error("COMMAND/SANDBOX_LOOPBACK").with("listen", args.listen)));
    }
    if !(args.speed.is_finite() && args.speed > 0.0) {
        return Err(usage(Finding::error("COMMAND/SPEED").with("speed", args.speed)));
    }
    let sandbox = Sandbox::start(Options {
        name: args.name.clone(),
        nodes: args.nodes,
        speed: args.speed,
        state: args.state.clone(),
        ..Options::default()
    })
    .map_err(because)?;
    let listener = TcpListener::bind(args.listen).await.map_err(because)?;
    let address = listener.local_addr().map_err(because)?;
    write_for_owner(&args.kubeconfig, &sandbox.kubeconfig(address)).map_err(|error| {
        let finding = Finding::error("COMMAND/FILE_UNWRITABLE");
        finding.with("path", args.kubeconfig.display()).with("reason", error)
    })?;
    let served = sandbox.serve(listener);
    let path = args.kubeconfig.display();
    if printer.is_json() {
        printer.json(&SandboxServed {
            url: format!("http://{address}"),
            kubeconfig: path.to_string(),
        });
    } else {
        let head = printer.say("A simulated cluster at", "模拟集群位于");
        printer
            .line(format!("{head} http://{address}\n\n  kubectl --kubeconfig {path} get nodes\n"));
        printer.line(printer.say("Ctrl-C ends it.", "按 Ctrl-C 结束。"));
    }
    super::agent::interrupted().await;
    served.abort();
    Ok(Outcome::Done)
}
