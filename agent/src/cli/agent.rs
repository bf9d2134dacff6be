//! `agent`: the daemon of one site.

use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

use tidegate_core::pin::Lookup;
use tidegate_schema::finding::Finding;
use tokio::signal::unix::{SignalKind, signal};

use super::failure::{Failure, Outcome, because};
use super::output::Serving;
use super::printer::Printer;
use super::report::Sources;
use crate::agent::{Agent, Connector, Images, Parts};
use crate::cause::chain;
use crate::clock::Clock;
use crate::cluster::client_of_kubeconfig;
use crate::config::{AgentArgs, Config};
use crate::dns::{Counters, DnsServer};
use crate::execute::Checks;
use crate::http::{self, Count};
use crate::journal::Journal;
use crate::registry::Registries;
use crate::sandboxes::Sandboxes;
use crate::signature::CommitKey;
use crate::source::{Credentials, Signer, Source, SourceOptions, is_local};
use crate::telemetry;
use crate::wake::{self, Wake};
use crate::whereabouts::{self, Whereabouts};

const EXAMPLES: &str = "\
Examples:
  tidegate agent --repo . --data ../site-agent --sandbox   simulated clusters
  tidegate agent --repo https://forge/site.git --data /var/lib/tidegate
  tidegate agent --config /etc/tidegate.yaml --listen 10.0.0.5:7480

It writes its address to agent.json in the data folder; `tidegate status --data …` finds it there. SIGTERM and Ctrl-C \
end it after the step under way; a release goes on where it was when the agent starts again. Listening elsewhere than on \
this machine needs a token (TIDEGATE_TOKEN or --token-file).";

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
    make_private(&config.data)?;
    let journal = Journal::open(&config.data).await?;
    let source = Source::open(source_options(&config)?)?;
    let dns = match config.dns_listen.as_slice() {
        [] => None,
        addresses => Some(DnsServer::start(addresses).await.map_err(because)?),
    };
    let names = dns.as_ref().map(|dns| dns.addresses().to_vec()).unwrap_or_default();
    let counts = dns.as_ref().map(DnsServer::counting);
    let parts = Parts {
        source,
        data: config.data.clone(),
        journal,
        dns,
        clock: Clock::system(),
        interval: config.poll_interval,
        connector: connector(&config, args.sandbox).await?,
        checks: Checks::Asked,
        images: images(&config)?,
        retention: config.retention,
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
        printer.json(&Serving { status: format!("http://{address}"), dns: names });
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

/// How images are looked up, as the configuration says.
fn images(config: &Config) -> Result<Images, Failure> {
    if config.image_lookup == Lookup::Off {
        return Ok(Images::off());
    }
    let registries = Registries::new(config.registries.clone()).map_err(because)?;
    Ok(Images::looked_up(registries, config.image_lookup, config.image_lookup_interval))
}

/// Where the documents are, as the configuration says.
fn source_options(config: &Config) -> Result<SourceOptions, Failure> {
    let repo = config.repo.expose();
    let signer = config.signing_key.as_deref().map(signer).transpose()?;
    Ok(SourceOptions {
        branch: config.branch.clone(),
        folder: config.path.clone(),
        credentials: Credentials {
            token: config.git_token.clone(),
            user: config.git_user.clone(),
            ssh_key: config.ssh_key.clone(),
            passphrase: config.ssh_passphrase.clone(),
            known_hosts: config.known_hosts.clone(),
        },
        signer,
        ..SourceOptions::new(repo, config.data.join("mirror.git"))
    })
}

/// Signs commits with the key of a file.
fn signer(path: &Path) -> Result<Signer, Failure> {
    let refused = |reason: String| -> Failure {
        let finding = Finding::error("COMMAND/SIGNING_KEY").with("path", path.display());
        finding.with("reason", reason).into()
    };
    let text = std::fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
    let key = CommitKey::new(&text).map_err(|error| refused(chain(&error)))?;
    Ok(Signer::new(move |commit| key.sign(commit).map_err(|error| chain(&error))))
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

/// `--kubeconfig NAME=PATH` stands in for what the `Cluster` document says; sandboxes come after it, when they are wanted.
async fn connector(config: &Config, is_sandbox: bool) -> Result<Connector, Failure> {
    let mut clients = BTreeMap::new();
    for (name, path) in &config.kubeconfig {
        let client = client_of_kubeconfig(path).await.ok_or_else(|| {
            let finding = Finding::error("COMMAND/FILE_UNREADABLE").with("path", path.display());
            finding.with("reason", "it is no kubeconfig")
        })?;
        clients.insert(name.clone(), client);
    }
    let sandboxes = is_sandbox.then(|| Sandboxes::in_folder(&config.data).connector());
    Ok(Arc::new(move |name, access| {
        let simulated = || sandboxes.as_ref().and_then(|connect| connect(name, access));
        clients.get(name).cloned().or_else(simulated)
    }))
}

/// Makes a data folder for its owner only: it holds a token, and what the clusters hold.
pub(super) fn make_private(folder: &Path) -> Result<(), Failure> {
    if folder.is_dir() {
        return Ok(());
    }
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| {
        let finding = Finding::error("COMMAND/FILE_UNWRITABLE").with("path", folder.display());
        finding.with("reason", error).into()
    })
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
