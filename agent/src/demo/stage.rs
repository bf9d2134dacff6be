//! What the demo plays with: a repository, two simulated clusters, the agent, names and a status endpoint, all on
//! loopback and in one folder.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use include_dir::{Dir, include_dir};
use jiff::{SignedDuration, Timestamp};
use tidegate_core::digest::Digest;
use tidegate_core::snapshot::Identity;
use tidegate_sandbox::Sandbox;
use tidegate_schema::approval::{ApprovalScope, Decision};
use tidegate_schema::document::Body;
use tidegate_schema::finding::Finding;
use tidegate_schema::scalar::Duration as Span;
use tidegate_schema::yaml;
use tokio::net::TcpListener;

use super::voice::Voice;
use super::{Error, Options, staging};
use crate::agent::{Agent, Images, Parts, RETENTION};
use crate::approve::{self, Word};
use crate::clock::Clock;
use crate::dns::DnsServer;
use crate::execute::Checks;
use crate::handle::Handle;
use crate::journal::Journal;
use crate::signature::{self, KeyPair};
use crate::source::{
    Append, Source, SourceOptions, clone_repository, commit_all, init_bare_repository, push,
};
use crate::status::Status;
use crate::wake::Wake;

/// The site that is played.
static BANK: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../examples/bank");

/// Who signs in the demo.
const APPROVERS: [&str; 3] = ["wang-wei", "zhao-min", "chen-jie"];

/// Simulated seconds in a real one: pods start and bakes end as they would, only sooner.
const SPEED: f64 = 3.0;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_mins(3);

/// Everything on the stage.
pub(super) struct Stage {
    pub(super) handle: Handle,
    pub(super) work: PathBuf,
    pub(super) data: PathBuf,
    pub(super) clients: BTreeMap<String, kube::Client>,
    pub(super) kubeconfigs: BTreeMap<String, PathBuf>,
    pub(super) dns: SocketAddr,
    pub(super) http: Option<SocketAddr>,
    /// The clock of the simulated clusters, which the agent follows.
    pub(super) clock: Clock,
    keys: BTreeMap<String, KeyPair>,
    source: Source,
    agent: tokio::task::JoinHandle<()>,
    folder: Option<tempfile::TempDir>,
    _sandboxes: Vec<Sandbox>,
    _tasks: Vec<tokio::task::JoinHandle<()>>,
}

fn li_na() -> Identity {
    Identity { name: "Li Na".to_owned(), email: "li.na@bank.example".to_owned() }
}

impl Stage {
    /// Makes everything and starts the agent.
    pub(super) async fn set(options: &Options, voice: &mut Voice) -> Result<Self, Error> {
        let kept = options.folder.clone();
        let folder = match &kept {
            Some(_) => None,
            None => Some(tempfile::tempdir().map_err(staging("make a temporary folder"))?),
        };
        let root = kept
            .unwrap_or_else(|| folder.as_ref().map(|it| it.path().to_owned()).unwrap_or_default());
        let (bare, work, data) = (root.join("site.git"), root.join("site"), root.join("data"));
        let keys = keys()?;
        init_bare_repository(&bare).map_err(staging("make the repository"))?;
        clone_repository(&bare, &work).map_err(staging("clone the repository"))?;
        BANK.extract(&work).map_err(staging("lay out the example"))?;
        prepare(&work, &keys)?;
        commit_all(&work, "Hangzhou: the whole platform", &li_na(), Timestamp::now())
            .map_err(staging("commit"))?;
        push(&work, "main").map_err(staging("push"))?;

        let Rooms { clients, kubeconfigs, sandboxes, tasks } = rooms(&data).await?;
        let first = sandboxes.first().cloned();
        let clock = Clock::of(move || first.as_ref().map_or_else(Timestamp::now, Sandbox::now));
        let dns = DnsServer::start(&[SocketAddr::from(([127, 0, 0, 1], 0))])
            .await
            .map_err(staging("start the DNS server"))?;
        let dns_address = dns.addresses().first().copied().unwrap_or(([127, 0, 0, 1], 0).into());
        let journal = Journal::open(&data).await.map_err(staging("open the journal"))?;
        let mut source_options =
            SourceOptions::new(bare.display().to_string(), data.join("mirror.git"));
        "main".clone_into(&mut source_options.branch);
        let source = Source::open(source_options).map_err(staging("open the repository"))?;
        let own = clients.clone();
        let parts = Parts {
            source: source.clone(),
            data: data.clone(),
            journal,
            dns: Some(dns),
            clock: clock.clone(),
            interval: Duration::from_secs(5),
            connector: Arc::new(move |name, _| own.get(name).cloned()),
            checks: Checks::Asked,
            images: Images::off(),
            retention: RETENTION,
        };
        let (agent, handle) = Agent::open(parts).await.map_err(staging("start the agent"))?;
        let http = crate::http::serve_for_demo(handle.clone(), &data).await.ok();
        let agent = tokio::spawn(async move {
            if let Err(error) = agent.run().await {
                tracing::error!(%error, "the agent ended");
            }
        });
        voice.title(
            "Tidegate: a day at a bank's site in Hangzhou",
            &[
                "The clusters room-a and room-b are simulated, inside this process; nothing else is:",
                "the repository, the signatures, the agent, its journal and the DNS server are real.",
                "Simulated time runs three times as fast; times in seconds below are simulated.",
            ],
        );
        Ok(Self {
            handle,
            work,
            data,
            clients,
            kubeconfigs,
            dns: dns_address,
            http,
            clock,
            keys,
            source,
            agent,
            folder,
            _sandboxes: sandboxes,
            _tasks: tasks,
        })
    }

    /// Changes files, commits as Li Na, pushes, and wakes the agent as a webhook would.
    pub(super) fn merge(&self, message: &str) -> Result<(), Error> {
        commit_all(&self.work, message, &li_na(), Timestamp::now()).map_err(staging("commit"))?;
        push(&self.work, "main").map_err(staging("push"))?;
        self.handle.wake(Wake::Pushed);
        Ok(())
    }

    /// Replaces a text in a file of the site.
    pub(super) fn edit(&self, file: &str, from: &str, to: &str) -> Result<(), Error> {
        let path = self.work.join(file);
        let text = std::fs::read_to_string(&path).map_err(staging(format!("read {file}")))?;
        std::fs::write(&path, text.replace(from, to)).map_err(staging(format!("write {file}")))
    }

    /// Writes a file of the site.
    pub(super) fn write(&self, file: &str, text: &str) -> Result<(), Error> {
        let path = self.work.join(file);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(staging(format!("make room for {file}")))?;
        }
        std::fs::write(&path, text).map_err(staging(format!("write {file}")))
    }

    /// Somebody signs an approval with their own key and pushes it to the approvals branch.
    pub(super) async fn approve(&self, person: &str, plan: &Digest) -> Result<(), Error> {
        let word = Word {
            plan,
            scope: ApprovalScope::Plan,
            decision: Decision::Approve,
            person,
            reason: Some("CHG-1017".to_owned()),
            at: self.clock.now(),
            valid_for: SignedDuration::from_hours(8),
        };
        let refused = |findings: Vec<Finding>| {
            let codes: Vec<String> = findings.iter().map(|it| it.code.to_string()).collect();
            staging("write an approval")(std::io::Error::other(codes.join(", ")))
        };
        let (file, document) = approve::compose(&word).map_err(refused)?;
        let key = self.keys.get(person).map(|pair| pair.private.expose()).unwrap_or_default();
        let signature = signature::sign(&approve::signed_bytes(&document), key)
            .map_err(staging("sign an approval"))?;
        let append = Append {
            branch: self.source.branches().approvals.clone(),
            files: vec![
                (format!("{}.sig", file.path), signature.into_bytes()),
                (file.path, file.document.into_bytes()),
            ],
            message: format!("{person} approves {}", plan.short()),
            by: Identity { name: person.to_owned(), email: format!("{person}@bank.example") },
            at: Timestamp::now(),
            may_replace: false,
        };
        self.source.append(append).await.map_err(staging("push an approval"))?;
        self.handle.wake(Wake::ApprovalArrived);
        Ok(())
    }

    /// Waits until the status shows something, and gives what it shows.
    pub(super) async fn see<T>(
        &mut self,
        what: &str,
        mut shows: impl FnMut(&Status) -> Option<T>,
    ) -> Result<T, Error> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(seen) = shows(&self.handle.status()) {
                return Ok(seen);
            }
            let changed = tokio::time::timeout_at(deadline, self.handle.changed()).await;
            if changed.is_err() {
                let status = self.handle.status();
                return Err(Error::NotSeen {
                    what: what.to_owned(),
                    seconds: PATIENCE.as_secs(),
                    condition: told(&status),
                });
            }
        }
    }

    /// Ends the agent and takes everything down.
    pub(super) async fn strike(self) {
        self.handle.wake(Wake::Shutdown);
        let ended = tokio::time::timeout(Duration::from_secs(5), self.agent).await;
        if ended.is_err() {
            tracing::warn!("the agent did not end in time");
        }
        drop(self.folder);
    }
}

/// The simulated clusters, and how they are reached.
struct Rooms {
    clients: BTreeMap<String, kube::Client>,
    kubeconfigs: BTreeMap<String, PathBuf>,
    sandboxes: Vec<Sandbox>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

/// Two rooms, each served on loopback for everybody's kubectl and in this process for the agent.
async fn rooms(data: &Path) -> Result<Rooms, Error> {
    let mut clients = BTreeMap::new();
    let mut kubeconfigs = BTreeMap::new();
    let (mut sandboxes, mut tasks) = (Vec::new(), Vec::new());
    std::fs::create_dir_all(data).map_err(staging("make the data folder"))?;
    for name in ["room-a", "room-b"] {
        let sandbox = Sandbox::start(tidegate_sandbox::Options {
            name: name.to_owned(),
            nodes: 4,
            speed: SPEED,
            ..Default::default()
        })
        .map_err(staging("start a sandbox"))?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(staging("listen"))?;
        let address = listener.local_addr().map_err(staging("listen"))?;
        let path = data.join(format!("{name}.kubeconfig"));
        std::fs::write(&path, sandbox.kubeconfig(address))
            .map_err(staging("write a kubeconfig"))?;
        kubeconfigs.insert(name.to_owned(), path);
        clients.insert(name.to_owned(), kube::Client::new(sandbox.service(), "default"));
        tasks.push(sandbox.serve(listener));
        sandboxes.push(sandbox);
    }
    Ok(Rooms { clients, kubeconfigs, sandboxes, tasks })
}

/// The status in a few lines, for an act that did not come to its end.
fn told(status: &Status) -> String {
    let mut lines = vec![format!("{:?}", status.condition)];
    let waits = status.release.iter().flat_map(|release| &release.waits);
    let plan_waits = status.plan.iter().flat_map(|plan| &plan.waits);
    lines.extend(
        waits.chain(plan_waits).map(|wait| wait.message(tidegate_schema::finding::Lang::En)),
    );
    lines.extend(status.findings.iter().filter(|it| it.is_error()).map(|finding| {
        let place = finding.place.as_ref().map(ToString::to_string).unwrap_or_default();
        format!("{place}: {} {}", finding.code, finding.message(tidegate_schema::finding::Lang::En))
    }));
    let failures = status.release.iter().flat_map(|release| &release.failures);
    lines.extend(
        failures.map(|it| format!("{}: {} {:?}", it.step, it.failure.code, it.failure.args)),
    );
    lines.join("\n")
}

fn keys() -> Result<BTreeMap<String, KeyPair>, Error> {
    let pair = |person: &&str| {
        let pair = signature::generate_key(&format!("{person}@bank.example"));
        pair.map(|pair| ((*person).to_owned(), pair)).map_err(staging("make a key"))
    };
    APPROVERS.iter().map(pair).collect()
}

/// Makes a day of the example fit into a minute: keys of this demo, short bakes, no windows.
fn prepare(work: &Path, keys: &BTreeMap<String, KeyPair>) -> Result<(), Error> {
    for folder in ["iam", "policies"] {
        let entries = std::fs::read_dir(work.join(folder)).map_err(staging("read the example"))?;
        for entry in entries {
            let path = entry.map_err(staging("read the example"))?.path();
            let text = std::fs::read_to_string(&path).map_err(staging("read the example"))?;
            let (documents, _) = yaml::parse(&path.display().to_string(), &text);
            let mut changed = String::new();
            for mut document in documents {
                let name = document.name().to_string();
                if matches!(document.body, Body::ChangeWindow(_)) {
                    continue;
                }
                if let Body::Person(person) = &mut document.body
                    && let Some(pair) = keys.get(&name)
                {
                    person.keys = vec![pair.public.clone()];
                }
                if let Body::RolloutPolicy(policy) = &mut document.body {
                    policy.bake = Some(Span::from_seconds(1));
                    for wave in &mut policy.waves {
                        wave.bake = Some(Span::from_seconds(1));
                    }
                }
                changed.push_str("---\n");
                changed.push_str(&yaml::to_string(&document).unwrap_or_default());
            }
            std::fs::write(&path, changed).map_err(staging("write the example"))?;
        }
    }
    Ok(())
}
