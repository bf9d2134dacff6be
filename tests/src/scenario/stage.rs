//! What a scenario is played on: the repository, the sandboxes, the agent, and the time, which passes only here.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use serde_json::Value;
use tidegate::agent::{Agent, Images, Parts, RETENTION};
use tidegate::cli::{Terminal, typed};
use tidegate::clock::Clock;
use tidegate::dns::{DnsServer, ask};
use tidegate::execute::Checks;
use tidegate::handle::Handle;
use tidegate::journal::Journal;
use tidegate::signature::{CommitKey, KeyPair, generate_key};
use tidegate::source::{
    Source, SourceOptions, clone_repository, commit_all, init_bare_repository, push,
};
use tidegate::status::{Condition, Status};
use tidegate::wake::Wake;
use tidegate_core::digest::Digest;
use tidegate_core::object::Object;
use tidegate_core::snapshot::Identity;
use tidegate_sandbox::{Fault as Disturbance, Matching, Options, Sandbox};
use tidegate_schema::site::Access;
use tower::Service as _;

use super::plain::{Plain, keys, ports};
use super::step::{Edit, Fault, Merged, Pods, Push, Scenario, Show, Step, Wait, Word};
use crate::canary;

/// Every scenario begins on a Monday morning.
const START: &str = "2026-03-02T09:00:00Z";
/// What passes between two looks at the site.
const TICK: Duration = Duration::from_millis(250);
/// After this much the agent looks for pushes that nobody told it of. Long, as it spreads its polls by chance.
const POLL_SOURCE: Duration = Duration::from_hours(1);
/// Whatever may wake the loop but its end.
const REASONS: [Wake; 7] = [
    Wake::Timer,
    Wake::Pushed,
    Wake::FilesChanged,
    Wake::ClusterChanged,
    Wake::ApprovalArrived,
    Wake::Requested,
    Wake::GrantExpires,
];
/// After this much the loop runs again though nothing woke it.
const POLL: SignedDuration = SignedDuration::from_secs(30);
/// In real time: a loop that still runs after this, while no time passes, would run for ever.
const REST: Duration = Duration::from_mins(1);
/// Nothing that is waited for takes longer.
const PATIENCE: SignedDuration = SignedDuration::from_mins(10);

type Result<T> = std::result::Result<T, String>;

/// A cluster, and whether it can be reached.
#[derive(Clone)]
struct Room {
    sandbox: Sandbox,
    is_reachable: Arc<AtomicBool>,
}

type Rooms = Arc<Mutex<BTreeMap<String, Room>>>;

/// Everything on the stage.
pub(super) struct Stage {
    folder: tempfile::TempDir,
    rooms: Rooms,
    keys: BTreeMap<String, KeyPair>,
    plans: BTreeMap<String, Digest>,
    clock: Clock,
    polled_at: Timestamp,
    terminal: Terminal,
    dns: SocketAddr,
    handle: Handle,
    agent: tokio::task::JoinHandle<std::result::Result<(), tidegate::agent::Error>>,
    told: String,
    /// Values of Secrets, as people know them and as the API has them: nobody may ever read them.
    secrets: BTreeSet<String>,
    plain: Plain,
    /// The objects of all clusters, with their versions, when somebody last did something.
    before: BTreeSet<[String; 3]>,
}

fn text(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let _written = write!(text, ": {error}");
        source = error.source();
    }
    text
}

/// `li-na` is Li Na.
fn name(person: &str) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|it| it.to_uppercase().to_string() + letters.as_str())
    };
    person.split('-').filter_map(word).collect::<Vec<_>>().join(" ")
}

impl Stage {
    /// Makes everything and starts the agent on an empty repository's first commit.
    pub(super) async fn set(scenario: &Scenario) -> Result<Self> {
        let folder = tempfile::tempdir().map_err(text)?;
        let (bare, work) = (folder.path().join("site.git"), folder.path().join("site"));
        let data = folder.path().join("data");
        std::fs::create_dir_all(&data).map_err(text)?;
        init_bare_repository(&bare).map_err(text)?;
        clone_repository(&bare, &work).map_err(text)?;
        let mut keys = BTreeMap::new();
        for site in &scenario.sites {
            copy(site, &work, &mut keys)?;
        }
        let start: Timestamp = START.parse().map_err(text)?;
        let clock = tidegate_sandbox::clock::Clock::new(start, 1.0);
        let clock = Clock::of(move || clock.now());
        let li_na = Identity::new("Li Na", "li-na@bank.example");
        commit_all(&work, "The site", &li_na, clock.now()).map_err(text)?;
        push(&work, "main").map_err(text)?;
        let dns = DnsServer::start(&[([127, 0, 0, 1], 0).into()]).await.map_err(text)?;
        let address = dns.addresses().first().copied().ok_or("the DNS server has no address")?;
        let rooms = Rooms::default();
        let options = SourceOptions::new(bare.display().to_string(), data.join("mirror.git"));
        let parts = Parts {
            source: Source::open(options).map_err(text)?,
            data: data.clone(),
            journal: Journal::open(&data).await.map_err(text)?,
            dns: Some(dns),
            clock: clock.clone(),
            interval: POLL_SOURCE,
            connector: connector(&rooms, &clock, &data),
            checks: Checks::Asked,
            images: Images::off(),
            retention: RETENTION,
        };
        let (agent, handle) = Agent::open(parts).await.map_err(text)?;
        tidegate::http::serve_for_demo(handle.clone(), &data).await.map_err(text)?;
        let terminal = Terminal::keeping(clock.clone());
        let mut stage = Self {
            folder,
            rooms,
            keys,
            plans: BTreeMap::new(),
            polled_at: clock.now(),
            clock,
            terminal,
            dns: address,
            handle,
            agent: tokio::spawn(agent.run()),
            told: format!("{}\n", scenario.about.trim()),
            secrets: BTreeSet::new(),
            plain: Plain::default(),
            before: BTreeSet::new(),
        };
        stage.tell("Li Na pushes \"The site\"");
        stage.settle().await?;
        Ok(stage)
    }

    /// Forgets what was read so far: it happened before the scenario.
    pub(super) fn begin(&mut self, about: &str) {
        self.told = format!("{}\n", about.trim());
        self.plain = Plain::default();
    }

    /// What an operator has read so far.
    pub(super) fn told(&self) -> String {
        self.told.clone()
    }

    /// Looks for the values of Secrets in what was read and in everything that the agent keeps or hands back.
    pub(super) fn look_for_secrets(&self) -> Result<()> {
        let (data, bare) = (self.folder.path().join("data"), self.folder.path().join("site.git"));
        let read = self.folder.path().join("read.txt");
        std::fs::write(&read, &self.told).map_err(text)?;
        let places = [data, bare, read];
        let found: Vec<String> =
            places.iter().flat_map(|place| canary::kept(place, &self.secrets)).collect();
        if found.is_empty() { Ok(()) } else { Err(format!("a secret is in {found:?}")) }
    }

    /// Ends the agent.
    pub(super) async fn strike(self) -> Result<()> {
        self.handle.wake(Wake::Shutdown);
        self.agent.await.map_err(text)?.map_err(text)
    }

    /// Something happens. To the minute: a watch that broke is taken up again after a time that chance decides.
    fn tell(&mut self, what: &str) {
        let at = self.clock.now().strftime("%a %H:%M");
        let _written = write!(self.told, "\n## {at}  {what}\n");
    }

    /// Something is read.
    fn quote(&mut self, text: &str) {
        let folder = self.folder.path().display().to_string();
        let plain = keys(&ports(&text.replace(&folder, "/srv")));
        let plain = self.plain.digests(&plain);
        for line in plain.lines() {
            self.told.push_str(line.trim_end());
            self.told.push('\n');
        }
    }

    /// Waits in real time until nobody has anything to do at this instant.
    async fn settle(&self) -> Result<()> {
        let mut calm = 0;
        let deadline = std::time::Instant::now() + REST;
        while calm < 3 {
            if std::time::Instant::now() > deadline {
                let status = self.handle.status();
                return Err(format!("the loop does not come to rest: {:#?}", status.release));
            }
            // As far as a watch's event has to go from the sandbox to the loop, and more.
            for _ in 0..64 {
                tokio::task::yield_now().await;
            }
            if self.handle.is_quiet() || self.agent.is_finished() {
                calm += 1;
            } else {
                calm = 0;
                // The journal and git work on threads of their own. That the pause was cut short is no harm.
                let pause = || std::thread::sleep(Duration::from_micros(200));
                let _joined = tokio::task::spawn_blocking(pause).await;
            }
        }
        Ok(())
    }

    /// Lets time pass.
    async fn pass(&mut self, time: Duration) -> Result<()> {
        tokio::time::advance(time).await;
        if self.clock.now().duration_since(self.polled_at) >= POLL {
            self.polled_at = self.clock.now();
            self.handle.wake(Wake::Timer);
        }
        self.settle().await?;
        if self.agent.is_finished() { Err("the agent has ended".to_owned()) } else { Ok(()) }
    }

    /// Does one step.
    pub(super) async fn take(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Push(push) => self.push(push).await,
            Step::Approve(word) => self.say("approve", word).await,
            Step::Reject(word) => self.say("reject", word).await,
            Step::Remember(name) => {
                let plan = self.handle.status().plan.as_ref().map(|plan| plan.id.clone());
                self.plans.insert(name.clone(), plan.ok_or("no plan waits")?);
                Ok(())
            }
            Step::Run(command) => {
                let mut arguments: Vec<String> = command.split(' ').map(str::to_owned).collect();
                if let Some(at) = arguments.iter().position(|it| it == "--key")
                    && let Some(key) = arguments.get_mut(at + 1)
                {
                    *key = self.key_file(key)?;
                }
                self.run(command, &arguments).await
            }
            Step::Compare(name) => {
                let plan = self.plans.get(name).ok_or_else(|| format!("no plan {name}"))?;
                let short = plan.short().to_owned();
                let command = ["compare".to_owned(), short.clone()];
                self.run(&format!("compare {short}"), &command).await
            }
            Step::Wait(wait) => self.wait(wait).await,
            Step::Advance(time) => {
                let time: SignedDuration = time.parse().map_err(text)?;
                self.pass(Duration::try_from(time).map_err(text)?).await?;
                self.tell(&format!("{time:#} later"));
                Ok(())
            }
            Step::Idle(time) => self.idle(time).await,
            Step::Untouched(what) => self.untouched(what).await,
            Step::Edit(edit) => self.edit(edit).await,
            Step::Fault(fault) => self.disturb(fault).await,
            Step::Pods(place) => self.pods(place),
            Step::Objects(place) => self.objects(place),
            Step::Show(show) => self.show(show),
            Step::Resolve(name) => {
                let found = ask(self.dns, name).await.map_err(text)?;
                self.quote(&format!("\n$ dig +short {name}\n{}", found.join("\n")));
                Ok(())
            }
        }
    }

    /// Every object of every cluster, with its version: each write changes one.
    fn versions(&self) -> BTreeSet<[String; 3]> {
        let rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        let of_room = |(name, room): (&String, &Room)| {
            let name = name.clone();
            let objects = room.sandbox.snapshot().into_iter().map(Object::new);
            let version = move |object: Object| {
                let version = object.text("/metadata/resourceVersion").to_owned();
                [name.clone(), object.uid().to_owned(), version]
            };
            objects.map(version).collect::<Vec<_>>()
        };
        rooms.iter().flat_map(of_room).collect()
    }

    /// Nothing was written since somebody last pushed or edited, though there was time.
    async fn untouched(&mut self, time: &str) -> Result<()> {
        let time: SignedDuration = time.parse().map_err(text)?;
        self.pass(Duration::try_from(time).map_err(text)?).await?;
        let now = self.versions();
        if let Some(written) = now.symmetric_difference(&self.before).next() {
            return Err(format!("something was written: {written:?}"));
        }
        self.tell(&format!("{time:#} later: no object of any cluster has changed"));
        Ok(())
    }

    async fn push(&mut self, change: &Push) -> Result<()> {
        let work = self.folder.path().join("site");
        self.before = self.versions();
        if let Some(back) = &change.onto {
            reset(&work, back).map_err(text)?;
        }
        let mut merged_message = None;
        if let Some(branch) = &change.merge {
            merged_message = Some(take_over(&work, branch).map_err(text)?);
        }
        for (file, (from, to)) in &change.replace {
            let path = work.join(file);
            let before = std::fs::read_to_string(&path).map_err(|it| format!("{file}: {it}"))?;
            if !before.contains(from.as_str()) {
                return Err(format!("{file} does not contain {from}"));
            }
            std::fs::write(&path, before.replace(from, to)).map_err(text)?;
        }
        for (file, content) in &change.write {
            let path = work.join(file);
            std::fs::create_dir_all(path.parent().unwrap_or(&work)).map_err(text)?;
            std::fs::write(path, with_keys(content, &mut self.keys)?).map_err(text)?;
        }
        for file in &change.remove {
            let path = work.join(file);
            let removed = if path.is_dir() {
                std::fs::remove_dir_all(path)
            } else {
                std::fs::remove_file(path)
            };
            removed.map_err(|it| format!("{file}: {it}"))?;
        }
        let by = Identity::new(name(&change.by), format!("{}@bank.example", change.by));
        let before = git2::Repository::open(&work)
            .and_then(|it| it.head()?.peel_to_commit().map(|it| it.id()));
        if change.is_commit() {
            commit_all(&work, &change.message, &by, self.clock.now()).map_err(text)?;
        }
        let mut what = format!("{} pushes \"{}\"", name(&change.by), change.message);
        if let Some(merged) = &change.merged {
            self.merge(before.map_err(text)?, merged).await?;
            let _written = write!(what, "; {} merges it", merged.key);
        }
        if change.onto.is_some() {
            force(&work).map_err(text)?;
            what.push_str(", by force");
        } else {
            push(&work, "main").map_err(text)?;
        }
        self.tell(&what);
        if let Some(message) = merged_message {
            self.quote(&message);
        }
        if change.wakes {
            self.handle.wake(Wake::Pushed);
        }
        self.settle().await
    }

    /// The forge shows the plan of a branch, and merges it with a commit that names the plan and is signed.
    async fn merge(&mut self, onto: git2::Oid, merged: &Merged) -> Result<()> {
        let plan = if let Some(name) = &merged.plan {
            self.plans.get(name).ok_or_else(|| format!("no plan {name}"))?.to_string()
        } else {
            let work = self.folder.path().join("site").display().to_string();
            let data = self.folder.path().join("data").display().to_string();
            let command =
                ["tidegate", "plan", "--format", "json", "--path", &work, "--data", &data];
            typed(command.map(OsString::from), &self.terminal).await;
            let printed: Value = serde_json::from_str(&self.terminal.take()).map_err(text)?;
            let id = printed.get("id").and_then(Value::as_str);
            id.ok_or_else(|| format!("no plan in {printed}"))?.to_owned()
        };
        let pair = self.keys.get(&merged.key).ok_or_else(|| format!("no key {}", merged.key))?;
        let key = CommitKey::new(pair.private.expose()).map_err(text)?;
        let at = git2::Time::new(self.clock.now().as_second(), 0);
        let make = || -> std::result::Result<(), git2::Error> {
            let repository = git2::Repository::open(self.folder.path().join("site"))?;
            let theirs = repository.head()?.peel_to_commit()?;
            let onto = repository.find_commit(onto)?;
            let forge = git2::Signature::new("Forge", "forge@bank.example", &at)?;
            let message = format!("Merge a branch\n\nTidegate-Plan: {plan}\n");
            let (tree, parents) = (theirs.tree()?, [&onto, &theirs]);
            let commit =
                repository.commit_create_buffer(&forge, &forge, &message, &tree, &parents)?;
            let signature =
                key.sign(&commit).map_err(|error| git2::Error::from_str(&error.to_string()))?;
            let id =
                repository.commit_signed(&String::from_utf8_lossy(&commit), &signature, None)?;
            repository.reference("refs/heads/main", id, true, "merge").map(|_| ())
        };
        make().map_err(text)
    }

    async fn idle(&mut self, time: &str) -> Result<()> {
        let time: SignedDuration = time.parse().map_err(text)?;
        let until = self.clock.now().checked_add(time).map_err(text)?;
        let before = self.requests();
        let mut rounds = 0;
        while self.clock.now() < until {
            for reason in REASONS {
                // One wake for both, or a round for each: neither may make a difference.
                self.handle.wake(reason);
                self.handle.wake(reason);
                self.settle().await?;
                rounds += 1;
            }
            self.pass(Duration::from_secs(30)).await?;
        }
        self.tell(&format!("{time:#} later, after {rounds} wakes"));
        let told: Vec<String> = before
            .into_iter()
            .zip(self.requests())
            .map(|((name, before), (_, after))| format!("{name}: {} requests\n", after - before))
            .collect();
        self.quote(&told.concat());
        Ok(())
    }

    /// Requests that came to each cluster so far, but for watches: those are opened anew every few minutes.
    fn requests(&self) -> BTreeMap<String, u64> {
        let rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |room: &Room| room.sandbox.requests().total();
        rooms.iter().map(|(name, room)| (name.clone(), count(room))).collect()
    }

    /// A private key as a file, as persons have theirs.
    fn key_file(&self, key: &str) -> Result<String> {
        let pair = self.keys.get(key).ok_or_else(|| format!("nobody has the key {key}"))?;
        let file = self.folder.path().join(key);
        std::fs::write(&file, pair.private.expose()).map_err(text)?;
        Ok(file.display().to_string())
    }

    async fn say(&mut self, verb: &str, word: &Word) -> Result<()> {
        let key = word.key.as_ref().unwrap_or(&word.by);
        let file = self.key_file(key)?;
        let mut shown = format!("{verb} --as {} --key {key}", word.by);
        let mut arguments: Vec<String> =
            vec![verb.to_owned(), "--as".to_owned(), word.by.clone(), "--key".to_owned()];
        arguments.push(file);
        if let Some(plan) = &word.plan {
            let digest = self.plans.get(plan).ok_or_else(|| format!("no plan {plan}"))?;
            let _written = write!(shown, " {digest}");
            arguments.push(digest.to_string());
        }
        if let Some(reason) = &word.reason {
            let _written = write!(shown, " --reason '{reason}'");
            arguments.extend(["--reason".to_owned(), reason.clone()]);
        }
        self.tell(&format!("{} {verb}s", name(&word.by)));
        self.run(&shown, &arguments).await
    }

    /// Types a command as an operator would who has set `TIDEGATE_DATA` and sits in the site's folder.
    async fn run(&mut self, shown: &str, arguments: &[String]) -> Result<()> {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let mut all: Vec<String> = vec!["tidegate".to_owned()];
        all.extend(arguments.iter().cloned());
        if !arguments.iter().any(|it| it == "--lang") {
            all.extend(["--lang".to_owned(), "en".to_owned()]);
        }
        match arguments.first().map(String::as_str).unwrap_or_default() {
            "validate" => all.push(path("site")),
            "plan" | "diff" => {
                all.extend(["--path".to_owned(), path("site"), "--data".to_owned(), path("data")]);
            }
            "groups" | "explain" | "schema" => {}
            _ => all.extend(["--data".to_owned(), path("data")]),
        }
        let code = typed(all.into_iter().map(OsString::from), &self.terminal).await;
        let printed = self.terminal.take();
        let code = if code == 0 { String::new() } else { format!("[exit code {code}]\n") };
        self.quote(&format!("\n$ tidegate {shown}\n{printed}{code}"));
        self.settle().await
    }

    async fn wait(&mut self, wait: &Wait) -> Result<()> {
        let deadline = self.clock.now().checked_add(PATIENCE).map_err(text)?;
        self.settle().await?;
        while !is_so(wait, &self.handle.status()) {
            if self.clock.now() > deadline {
                self.run("why", &["why".to_owned()]).await?;
                return Err(format!("not so after {PATIENCE:#}"));
            }
            self.pass(TICK).await?;
        }
        let what = match wait {
            Wait::Condition(condition) => format!("the site is {}", words(*condition)),
            Wait::Reason(code) => format!("waits: {code}"),
            Wait::Ended(release) => format!("{release} has ended"),
        };
        self.tell(&what);
        Ok(())
    }

    fn room(&self, name: &str) -> Result<Room> {
        let rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.get(name).cloned().ok_or_else(|| format!("no cluster {name}"))
    }

    async fn edit(&mut self, edit: &Edit) -> Result<()> {
        let room = self.room(&edit.cluster)?;
        let (group, version) = edit.version.split_once('/').unwrap_or(("", &edit.version));
        let kind = GroupVersionKind::gvk(group, version, &edit.kind);
        let resource = ApiResource::from_gvk(&kind);
        let client = kube::Client::new(room.sandbox.service(), "default");
        let api: Api<DynamicObject> = match &edit.namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &resource),
            None => Api::all_with(client, &resource),
        };
        let by = PatchParams { field_manager: Some(edit.by.clone()), ..PatchParams::default() };
        if api.get_opt(&edit.name).await.map_err(text)?.is_some() {
            let patch = Patch::Strategic(edit.patch.clone());
            api.patch(&edit.name, &by, &patch).await.map_err(text)?;
        } else {
            let mut object = Object::new(edit.patch.clone());
            object.set(&["apiVersion"], edit.version.clone().into());
            object.set(&["kind"], edit.kind.clone().into());
            object.set(&["metadata", "name"], edit.name.clone().into());
            let by = PatchParams { force: true, ..by };
            api.patch(&edit.name, &by, &Patch::Apply(object.value())).await.map_err(text)?;
        }
        self.before = self.versions();
        let place = edit.namespace.as_ref().map(|it| format!("{it}/")).unwrap_or_default();
        let (kind, cluster) = (&edit.kind, &edit.cluster);
        self.tell(&format!("{} changes {kind} {place}{} in {cluster}", edit.by, edit.name));
        if edit.kind == "Secret" {
            let written = api.get(&edit.name).await.map_err(text)?;
            self.remember_secrets(edit.patch.get("stringData"));
            self.remember_secrets(written.data.get("data"));
        } else {
            self.quote(&edit.patch.to_string());
        }
        // The controllers gather changes for some milliseconds before they act.
        self.pass(TICK).await
    }

    /// Nobody may read these from now on.
    fn remember_secrets(&mut self, values: Option<&Value>) {
        let values = values.and_then(Value::as_object).into_iter().flatten();
        self.secrets.extend(values.filter_map(|(_, it)| it.as_str().map(str::to_owned)));
        self.secrets.remove("");
    }

    async fn disturb(&mut self, fault: &Fault) -> Result<()> {
        let room = self.room(&fault.cluster)?;
        let cluster = &fault.cluster;
        if let Some(is_reachable) = fault.reachable {
            room.is_reachable.store(is_reachable, Ordering::Relaxed);
            room.sandbox.fault(Disturbance::DropWatches);
            let what = if is_reachable { "can be reached again" } else { "cannot be reached" };
            self.tell(&format!("{cluster} {what}"));
        }
        if let Some(node) = &fault.kill_node {
            room.sandbox.fault(Disturbance::KillNode(node.clone()));
            self.tell(&format!("{node} of {cluster} goes silent"));
        }
        if let Some(refuse) = fault.refuse.clone() {
            let matching = Matching {
                verb: refuse.verb,
                resource: refuse.resource,
                namespace: None,
                name: refuse.name,
            };
            self.tell(&format!("{cluster} refuses requests: {}", refuse.message));
            room.sandbox.fault(Disturbance::Refuse {
                matching,
                code: refuse.code,
                reason: refuse.reason,
                message: refuse.message,
                times: refuse.times,
            });
        }
        self.pass(TICK).await
    }

    /// Objects of a namespace, without what controllers make for their own use.
    fn found(&self, place: &Pods) -> Result<Vec<Object>> {
        let objects = self.room(&place.cluster)?.sandbox.snapshot().into_iter().map(Object::new);
        Ok(objects.filter(|object| object.namespace() == place.namespace).collect())
    }

    /// As `kubectl get pods`, with images; names of a Deployment's pods end by chance, so they are left out.
    fn pods(&mut self, place: &Pods) -> Result<()> {
        let mut lines: Vec<String> = Vec::new();
        for pod in self.found(place)?.iter().filter(|object| object.kind() == "Pod") {
            let ready = pod.condition("Ready").and_then(|it| it.get("status"));
            let is_ready = ready.and_then(Value::as_str) == Some("True");
            let state = if is_ready { "Ready" } else { state(pod) };
            let image = pod.get("/spec/containers/0/image").and_then(Value::as_str);
            let app = pod.label("app.kubernetes.io/name").unwrap_or_default();
            lines.push(format!("{app:<10}  {:<40}  {state}", image.unwrap_or_default()));
        }
        lines.sort();
        let Pods { cluster, namespace } = place;
        let lines = lines.join("\n");
        self.quote(&format!("\n$ kubectl --context {cluster} -n {namespace} get pods\n{lines}"));
        Ok(())
    }

    fn show(&mut self, show: &Show) -> Result<()> {
        let Show { cluster, kind, namespace, name, at } = show;
        let place = Pods { cluster: cluster.clone(), namespace: namespace.clone() };
        let found = self.found(&place)?;
        let object = found.iter().find(|it| it.kind() == kind && it.name() == name);
        let value = |pointer: &String| {
            let value = object.and_then(|object| object.get(pointer)).unwrap_or(&Value::Null);
            format!("{pointer}: {value}")
        };
        let lines = at.iter().map(value).collect::<Vec<_>>().join("\n");
        let kind = kind.to_lowercase();
        self.quote(&format!(
            "\n$ kubectl --context {cluster} -n {namespace} get {kind} {name} -o jsonpath\n{lines}"
        ));
        Ok(())
    }

    fn objects(&mut self, place: &Pods) -> Result<()> {
        let is_shown = |object: &&Object| {
            let by_controller = object.get("/metadata/ownerReferences").is_some();
            let kinds = ["Pod", "Event", "Endpoints", "EndpointSlice", "ControllerRevision"];
            let is_default = matches!(object.name(), "kube-root-ca.crt" | "default");
            !by_controller && !kinds.contains(&object.kind()) && !is_default
        };
        let found = self.found(place)?;
        let mut lines: Vec<String> = found
            .iter()
            .filter(is_shown)
            .map(|it| format!("{}/{}", it.kind().to_lowercase(), it.name()))
            .collect();
        lines.sort();
        let Pods { cluster, namespace } = place;
        let lines = lines.join("\n");
        self.quote(&format!("\n$ kubectl --context {cluster} -n {namespace} get all\n{lines}"));
        Ok(())
    }
}

/// Why a pod is not ready, as kubectl's column STATUS says it.
fn state(pod: &Object) -> &str {
    let container = "/status/containerStatuses/0/state";
    let reason = |of: &str| pod.get(&format!("{container}/{of}/reason")).and_then(Value::as_str);
    let phase = || pod.get("/status/phase").and_then(Value::as_str);
    reason("waiting").or_else(|| reason("terminated")).or_else(phase).unwrap_or("Pending")
}

fn words(condition: Condition) -> &'static str {
    match condition {
        Condition::Starting => "starting",
        Condition::Settled => "settled",
        Condition::Waiting => "waiting",
        Condition::Releasing => "releasing",
        Condition::NeedsPerson => "in need of a person",
        Condition::Refused => "refusing its revision",
        Condition::Unreachable => "unreachable",
    }
}

fn is_so(wait: &Wait, status: &Status) -> bool {
    match wait {
        Wait::Condition(condition) => status.condition == *condition,
        Wait::Reason(code) => {
            let of_plan = status.plan.iter().flat_map(|plan| &plan.waits);
            let of_release = status.release.iter().flat_map(|release| &release.waits);
            of_plan.chain(of_release).any(|wait| wait.code == *code)
        }
        Wait::Ended(id) => status.releases.iter().any(|row| row.id == *id && row.phase.is_ended()),
    }
}

/// Sandboxes by name, made when they are first asked for, and served for the commands that look at clusters themselves.
fn connector(rooms: &Rooms, clock: &Clock, data: &Path) -> tidegate::agent::Connector {
    let (rooms, clock, data) = (Arc::clone(rooms), clock.clone(), data.to_owned());
    Arc::new(move |name, access| {
        let Access::Sandbox(wanted) = access else { return None };
        let mut rooms = rooms.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(room) = rooms.get(name) {
            return Some(client(room));
        }
        let sandbox = Sandbox::start(Options {
            name: name.to_owned(),
            nodes: wanted.nodes,
            start: Some(clock.now()),
            ..Options::default()
        });
        let room = Room { sandbox: sandbox.ok()?, is_reachable: Arc::new(AtomicBool::new(true)) };
        serve(&room.sandbox, &data.join(format!("sandbox-{name}.kubeconfig"))).ok()?;
        let own = client(&room);
        rooms.insert(name.to_owned(), room);
        Some(own)
    })
}

/// The agent's way to a cluster, which can be cut.
fn client(room: &Room) -> kube::Client {
    let (service, is_reachable) = (room.sandbox.service(), Arc::clone(&room.is_reachable));
    let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let (mut service, is_reachable) = (service.clone(), Arc::clone(&is_reachable));
        async move {
            if !is_reachable.load(Ordering::Relaxed) {
                return Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
            }
            service.call(request).await.map_err(|never| match never {})
        }
    });
    kube::Client::new(service, "default")
}

fn serve(sandbox: &Sandbox, kubeconfig: &Path) -> std::io::Result<()> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    std::fs::write(kubeconfig, sandbox.kubeconfig(listener.local_addr()?))?;
    // It ends with the runtime.
    drop(sandbox.serve(listener));
    Ok(())
}

/// Copies a site; keys of persons are made for this run.
fn copy(from: &Path, to: &Path, keys: &mut BTreeMap<String, KeyPair>) -> Result<()> {
    std::fs::create_dir_all(to).map_err(text)?;
    let unreadable = |it: std::io::Error| format!("{}: {it}", from.display());
    for entry in std::fs::read_dir(from).map_err(unreadable)? {
        let entry = entry.map_err(text)?;
        let target: PathBuf = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target, keys)?;
        } else {
            let content = std::fs::read_to_string(entry.path()).map_err(text)?;
            std::fs::write(target, with_keys(&content, keys)?).map_err(text)?;
        }
    }
    Ok(())
}

/// `@key(li-na)` is the public key of that name.
fn with_keys(content: &str, keys: &mut BTreeMap<String, KeyPair>) -> Result<String> {
    let mut parts = content.split("@key(");
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once(')').ok_or("@key( without an end")?;
        if !keys.contains_key(name) {
            keys.insert(name.to_owned(), generate_key(name).map_err(text)?);
        }
        let public = keys.get(name).map(|pair| pair.public.trim()).unwrap_or_default();
        whole.push_str(public);
        whole.push_str(rest);
    }
    Ok(whole)
}

/// The files of a branch of the remote in a working tree, which stands on the branch that it was made from. Gives the message
/// of its last commit.
fn take_over(work: &Path, branch: &str) -> std::result::Result<String, git2::Error> {
    let repository = git2::Repository::open(work)?;
    let mut remote = repository.find_remote("origin")?;
    let name = format!("refs/remotes/origin/{branch}");
    remote.fetch(&[format!("+refs/heads/{branch}:{name}")], None, None)?;
    let theirs = repository.find_reference(&name)?.peel_to_commit()?;
    repository.reset(theirs.as_object(), git2::ResetType::Hard, None)?;
    Ok(theirs.message().unwrap_or_default().to_owned())
}

/// Sets the working tree back to an earlier commit.
fn reset(work: &Path, to: &str) -> std::result::Result<(), git2::Error> {
    let repository = git2::Repository::open(work)?;
    let commit = repository.revparse_single(to)?;
    repository.reset(&commit, git2::ResetType::Hard, None)
}

/// Pushes the branch wherever the remote's was.
fn force(work: &Path) -> std::result::Result<(), git2::Error> {
    let repository = git2::Repository::open(work)?;
    repository.find_remote("origin")?.push(&["+refs/heads/main:refs/heads/main"], None)
}
