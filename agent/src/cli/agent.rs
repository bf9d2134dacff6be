//! `agent`: the daemon of one site.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use tidegate_schema::finding::Finding;
use tokio::signal::unix::{SignalKind, signal};

use super::failure::{Failure, Outcome, because};
use super::printer::Printer;
use super::report::Sources;
use crate::agent::{Agent, Parts};
use crate::clock::Clock;
use crate::config::{AgentArgs, Config};
use crate::dns::{Counters, DnsServer};
use crate::http::{self, Count};
use crate::journal::Journal;
use crate::sandboxes::Sandboxes;
use crate::source::{Credentials, Source, SourceOptions, is_local};
use crate::telemetry;
use crate::wake::{self, Wake};
use crate::whereabouts::{self, Whereabouts};

const EXAMPLES: &str = "\
Examples:
  tidegate agent --repo . --data ../site-agent --sandbox       try a site on simulated clusters
  tidegate agent --repo https://forge/site.git --data /var/lib/tidegate --listen 127.0.0.1:7300
  TIDEGATE_TOKEN=… tidegate agent --config /etc/tidegate.yaml --listen 0.0.0.0:7300

It writes its address to agent.json in the data folder; `tidegate status --data …` finds it there. SIGTERM and Ctrl-C end
it after the step under way; a release goes on where it was when the agent starts again.";

/// Runs the agent of a site: follows its repository, and brings the clusters to what it says.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    agent: AgentArgs,
    /// Runs simulated clusters inside this process for clusters with `access: sandbox`. Their states and kubeconfigs are in
    /// the data folder.
    #[arg(long)]
    sandbox: bool,
}

pub(super) async fn run(args: &Args, printer: &Printer) -> Result<Outcome, Failure> {
    let (config, findings) = Config::load(&args.agent, &|name| std::env::var(name).ok());
    printer.complain(&findings, &Sources::default());
    let Some(config) = config else { return Err(Failure { findings: Vec::new(), code: 64 }) };
    telemetry::start(config.log_format, &config.log_level).map_err(because)?;
    let journal = Journal::open(&config.data).await.map_err(because)?;
    link_kubeconfigs(&config)?;
    let source = Source::open(source_options(&config))?;
    let dns = match config.dns_listen.as_slice() {
        [] => None,
        addresses => Some(DnsServer::start(addresses).await.map_err(because)?),
    };
    let names = dns.as_ref().map(|dns| dns.addresses().to_vec()).unwrap_or_default();
    let counts = dns.as_ref().map(DnsServer::counting);
    let sandboxes = Sandboxes::in_folder(&config.data);
    let nothing: crate::agent::Connector = Arc::new(|_, _| None);
    let parts = Parts {
        source,
        data: config.data.clone(),
        journal,
        dns,
        clock: Clock::system(),
        interval: config.poll_interval,
        connector: if args.sandbox { sandboxes.connector() } else { nothing },
    };
    let (agent, handle) = Agent::open(parts).await.map_err(because)?;
    let control = whereabouts::new_token()
        .ok_or_else(|| Finding::error("COMMAND/FAILED").with("reason", "no randomness"))?;
    let options = http::Options {
        listen: config.listen,
        token: config.token.clone(),
        control: control.clone(),
        hook: config.hook_secret.clone(),
        counts: Arc::new(move || {
            counts.as_ref().map(|counts| dns_counts(counts())).unwrap_or_default()
        }),
    };
    let (address, served) = http::serve(handle.clone(), options).await.map_err(because)?;
    let there = Whereabouts::new(format!("http://{address}"), &control);
    there.write(&config.data).map_err(because)?;
    let _watching = watch(&config, &handle.wakes);
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    tracing::info!(status = %address, dns = ?names, data = %config.data.display(), "agent started");
    if printer.is_json() {
        printer.json(&json!({"status": format!("http://{address}"), "dns": names}));
    }
    tokio::spawn({
        let handle = handle.clone();
        async move {
            interrupted().await;
            tracing::info!("stopping after the step under way");
            handle.wake(Wake::Shutdown);
        }
    });
    let ended = agent.run().await;
    served.abort();
    Whereabouts::remove(&config.data);
    ended.map_err(because)?;
    tracing::info!("agent ended");
    Ok(Outcome::Done)
}

/// Where the documents are, as the configuration says.
fn source_options(config: &Config) -> SourceOptions {
    let repo = config.repo.expose();
    SourceOptions {
        branch: config.branch.clone(),
        folder: config.path.clone(),
        credentials: Credentials {
            token: config.git_token.clone(),
            user: config.git_user.clone(),
            ssh_key: config.ssh_key.clone(),
            passphrase: config.ssh_passphrase.clone(),
            known_hosts: config.known_hosts.clone(),
        },
        ..SourceOptions::new(repo, config.data.join("mirror.git"))
    }
}

/// A repository on this machine tells of its changes; that it cannot be watched costs only time, as it is polled anyway.
fn watch(config: &Config, wakes: &wake::Wakes) -> Option<wake::Watching> {
    let path = is_local(config.repo.expose())?;
    match wake::watch(&path, wakes) {
        Ok(watching) => Some(watching),
        Err(error) => {
            tracing::warn!(%error, "the repository is only polled");
            None
        }
    }
}

/// `--kubeconfig NAME=PATH` stands in for what the `Cluster` document says: its path below the data folder is ours.
fn link_kubeconfigs(config: &Config) -> Result<(), Failure> {
    for (name, path) in &config.kubeconfig {
        let target = std::path::absolute(path).map_err(because)?;
        let link = config.data.join(format!("{name}.kubeconfig"));
        replace_link(&target, &link).map_err(|error| {
            let finding = Finding::error("COMMAND/FILE_UNWRITABLE").with("path", link.display());
            finding.with("reason", error)
        })?;
    }
    Ok(())
}

fn replace_link(target: &Path, link: &PathBuf) -> std::io::Result<()> {
    if link.symlink_metadata().is_ok() {
        std::fs::remove_file(link)?;
    }
    std::os::unix::fs::symlink(target, link)
}

/// Waits for SIGTERM or SIGINT.
pub(super) async fn interrupted() {
    let Ok(mut terminated) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminated.recv() => {}
        outcome = tokio::signal::ctrl_c() => {
            if outcome.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

fn dns_counts(counters: Counters) -> Vec<Count> {
    let questions = ("tidegate_dns_questions_total", "Questions, by transport.");
    let answers = ("tidegate_dns_answers_total", "Answers, by their code.");
    let count = |(name, help): (&'static str, &'static str), label, value| Count {
        name,
        help,
        label,
        value,
    };
    vec![
        count(questions, ("transport", "udp"), counters.udp),
        count(questions, ("transport", "tcp"), counters.tcp),
        count(answers, ("code", "no_error"), counters.no_error),
        count(answers, ("code", "nx_domain"), counters.nx_domain),
        count(answers, ("code", "serv_fail"), counters.serv_fail),
        count(answers, ("code", "refused"), counters.refused),
        count(answers, ("code", "other"), counters.other),
        count(
            ("tidegate_dns_truncated_total", "Answers that were cut."),
            ("", ""),
            counters.truncated,
        ),
        count(
            ("tidegate_dns_forwarded_total", "Questions handed on."),
            ("", ""),
            counters.forwarded,
        ),
    ]
}
