//! One simulated cluster: starting it, reaching it, disturbing it, and the loop that runs its controllers.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;

use crate::access::{Credentials, User};
use crate::clock::Clock;
use crate::conduct::Conduct;
use crate::control::Write;
use crate::fault::{Fault, Requests};
use crate::world::World;
use crate::write::by_controller;
use crate::{custom, garbage, kubelet_silence, object, quota, state};

/// How often the controllers may run in a row before the loop lets others have a turn.
const ROUNDS_IN_A_ROW: usize = 64;
/// How long the loop waits for more changes before it runs, in tokio's time.
const COALESCE: Duration = Duration::from_millis(2);

/// The reason of the events by which controllers say that they made a pod; it is said when the pod is there.
const CREATED: &str = "SuccessfulCreate";

/// What a sandbox starts with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cluster's name; also the seed of its uids.
    pub name: String,
    /// How many nodes it has.
    pub nodes: u32,
    /// How many times faster than tokio's clock its clock runs.
    pub speed: f64,
    /// What its clock shows at the start; the machine's time when absent.
    pub start: Option<Timestamp>,
    /// The file that keeps its objects between runs.
    pub state: Option<PathBuf>,
    /// The version that it says it is, as in `1.29`. Kinds and fields are those of 1.29 whatever is said here; server-side apply
    /// follows the rules of the version.
    pub version: String,
    /// The tokens that `serve` accepts. When empty, one administrator's token is made from the name.
    pub tokens: Vec<(String, User)>,
    /// How many changes are kept for watches; older watches get 410.
    pub history: usize,
    /// Whether it starts without the objects of a fresh cluster, to be filled by [`Sandbox::seed`] as a copy of another one.
    pub is_bare: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: "sandbox".to_owned(),
            nodes: 3,
            speed: 1.0,
            start: None,
            state: None,
            version: "1.29".to_owned(),
            tokens: Vec::new(),
            history: 20_000,
            is_bare: false,
        }
    }
}

/// Why a sandbox did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state file is there but cannot be read.
    #[error("failed to read the sandbox's state from {}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: state::Error,
    },
}

/// A running simulated cluster. Clones reach the same one; it ends when the last clone and the last service are dropped.
#[derive(Clone, Debug)]
pub struct Sandbox {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    world: Mutex<World>,
    /// Told the newest revision after every change; watches and the loop listen.
    changed: watch::Sender<u64>,
    pub(crate) clock: Clock,
    name: String,
    state: Option<PathBuf>,
}

impl Sandbox {
    /// Starts a cluster and the task that runs its controllers. Must be called inside a tokio runtime.
    pub fn start(options: Options) -> Result<Self, Error> {
        let mut credentials = Credentials::default();
        for (token, user) in options.tokens {
            credentials.insert(&token, user);
        }
        if credentials.administrator_token().is_none() {
            credentials.insert(&format!("{}-admin", options.name), User::administrator());
        }
        let clock = Clock::new(options.start.unwrap_or_else(Timestamp::now), options.speed);
        let mut world = World::new(&options.name, &options.version, options.history, credentials);
        if let Some(path) = &options.state {
            state::load(path, &mut world.store)
                .map_err(|source| Error::State { path: path.clone(), source })?;
        }
        if options.is_bare {
            custom::refresh(&mut world);
        } else {
            world.settle(options.nodes, clock.now());
        }
        let revision = world.store.revision();
        let inner = Arc::new(Inner {
            world: Mutex::new(world),
            changed: watch::Sender::new(revision),
            clock,
            name: options.name,
            state: options.state,
        });
        tokio::spawn(run(Arc::downgrade(&inner), inner.changed.subscribe()));
        Ok(Self { inner })
    }

    /// The cluster's name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// What the cluster's clock shows.
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// The requests that came in since the start.
    pub fn requests(&self) -> Requests {
        self.inner.world().requests.clone()
    }

    /// How often a controller has looked at an object since the start: what the sandbox's work is counted in.
    pub fn looks(&self) -> u64 {
        self.inner.world().controllers.looks()
    }

    /// Every object, by group, kind, namespace and name.
    pub fn snapshot(&self) -> Vec<Value> {
        self.inner.world().store.all().map(|(_, object)| (**object).clone()).collect()
    }

    /// Puts objects in as they are, replacing those of the same key: status, uid and owner references are kept, nothing is checked or
    /// defaulted. For copies of a live cluster. Objects without a uid or creation time get one.
    pub fn seed(&self, objects: impl IntoIterator<Item = Value>) {
        let now = self.now();
        let mut world = self.inner.world();
        for mut value in objects {
            let key = object::key(&value);
            if object::uid(&value).is_empty() {
                let uid = world.draw_uid();
                object::set_metadata(&mut value, "uid", uid.into());
            }
            if object::text(&value, "/metadata/creationTimestamp").is_empty() {
                let at = crate::clock::seconds(now);
                object::set_metadata(&mut value, "creationTimestamp", at.into());
            }
            world.store.put(&key, value);
        }
        custom::refresh(&mut world);
        self.inner.announce(&world);
    }

    /// The objects of a kind, by namespace and name.
    pub fn of_kind(&self, group: &str, kind: &str) -> Vec<Arc<Value>> {
        self.inner.world().store.of_kind(group, kind, None).cloned().collect()
    }

    /// The newest revision of its objects: it rises with every change.
    pub fn revision(&self) -> u64 {
        self.inner.world().store.revision()
    }

    /// When a controller or a kubelet will look at something again, if nothing changes until then.
    pub fn next(&self) -> Option<Timestamp> {
        self.inner.world().controllers.next()
    }

    /// From now on these pods behave so, whatever the words of their images say; of several that say something of a pod the
    /// last one counts. Pods that came with a status stay as they are.
    pub fn conduct(&self, conducts: Vec<Conduct>) {
        self.inner.world().controllers.conducts = conducts;
    }

    /// Makes something go wrong.
    pub fn fault(&self, fault: Fault) {
        let now = self.now();
        let mut world = self.inner.world();
        match &fault {
            Fault::Refuse { times, .. } | Fault::Delay { times, .. } => {
                let times = *times;
                world.faults.wait(fault, times);
            }
            Fault::DropWatches => world.faults.watch_generation += 1,
            Fault::ForgetHistory => world.store.forget_history(),
            Fault::RefuseWrites(refuses) => world.faults.refuses_writes = *refuses,
            Fault::KillNode(name) => kubelet_silence::set(&mut world, name, true, now),
            Fault::ReviveNode(name) => kubelet_silence::set(&mut world, name, false, now),
        }
        self.inner.announce(&world);
        // Watches wait for a change; those that are to end must wake without one.
        self.inner.changed.send_modify(|_| {});
    }
}

impl Inner {
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Tells watches and the loop that the store has changed, if it has.
    pub(crate) fn announce(&self, world: &World) {
        let revision = world.store.revision();
        self.changed.send_if_modified(|known| std::mem::replace(known, revision) != revision);
    }

    /// Runs the controllers until nothing changes, and tells when time alone would change something. What they changed
    /// themselves counts as seen; it is marked before the world is let go, so that a write right after it is not.
    fn work(&self, changed: &mut watch::Receiver<u64>) -> Option<Timestamp> {
        let mut world = self.world();
        let mut next = None;
        for _ in 0..ROUNDS_IN_A_ROW {
            let now = self.clock.now();
            let before = world.store.revision();
            next = round(&mut world, now);
            if world.store.revision() == before {
                self.announce(&world);
                changed.mark_unchanged();
                return next;
            }
        }
        self.announce(&world);
        changed.mark_unchanged();
        // Not quiet yet: go on after others had a turn.
        Some(next.unwrap_or(Timestamp::MAX).min(self.clock.now()))
    }

    /// Writes the state file when the store has changed since `saved`.
    fn save(&self, saved: &mut u64) {
        let Some(path) = &self.state else { return };
        let world = self.world();
        if world.store.revision() == *saved {
            return;
        }
        match state::save(path, &world.store) {
            Ok(()) => *saved = world.store.revision(),
            Err(error) => tracing::warn!(path = %path.display(), %error, "state not saved"),
        }
    }
}

/// An object as an older server has it, with what this one gives every object of its kind: without that, the first change of it
/// would seem to bring these fields. Its pod template stays, as the pods that there are were made from it.
pub fn completed(mut value: Value) -> Value {
    let template = value.pointer("/spec/template").cloned();
    let (group, kind) =
        (object::group(&value).to_owned(), object::text(&value, "/kind").to_owned());
    crate::defaults::fill(&group, &kind, &mut value);
    let is_service = group.is_empty() && kind == "Service";
    if is_service
        && object::text(&value, "/spec/type") != "ExternalName"
        && let Some(spec) = value.get_mut("spec")
    {
        object::set_default(spec, "ipFamilies", serde_json::json!(["IPv4"]));
        object::set_default(spec, "ipFamilyPolicy", "SingleStack");
    }
    if let (Some(template), Some(place)) = (template, value.pointer_mut("/spec/template")) {
        *place = template;
    }
    value
}

/// One round of quotas, garbage collection and controllers over what has changed since the last; says when time alone would
/// change something.
pub(crate) fn round(world: &mut World, now: Timestamp) -> Option<Timestamp> {
    quota::settle(world);
    garbage::collect(world, now);
    world.hear();
    let round = world.controllers.round(&world.store, now);
    let mut writes = round.writes.into_iter().peekable();
    while let Some(wanted) = writes.next() {
        let says_created = matches!(&wanted, Write::Event { reason, .. } if reason == CREATED);
        match writes.next_if(|next| says_created && matches!(next, Write::Create(_))) {
            Some(create) => {
                // Said of what is refused again and again, it would never come to an end.
                let before = world.store.revision();
                carry_out(world, create, now);
                if world.store.revision() != before {
                    carry_out(world, wanted, now);
                }
            }
            None => carry_out(world, wanted, now),
        }
    }
    round.next
}

/// Carries out what a controller wants. A refusal is no error of the sandbox: the next round sees the store as it is.
fn carry_out(world: &mut World, wanted: Write, now: Timestamp) {
    let outcome = match wanted {
        Write::Create(value) => by_controller::create(world, value, now),
        Write::Update(value) => by_controller::update(world, value, "", now),
        Write::UpdateStatus(value) => by_controller::update(world, value, "status", now),
        Write::Delete(key) => by_controller::delete(world, &key, Some(0), now),
        Write::Terminate(key) => by_controller::delete(world, &key, None, now),
        Write::Event { about, reason, message, warning } => {
            by_controller::event(world, &about, &reason, &message, warning, now);
            Ok(())
        }
    };
    if let Err(refusal) = outcome {
        tracing::debug!(reason = %refusal.reason, message = %refusal.message, "controller's write refused");
    }
}

async fn run(inner: Weak<Inner>, mut changed: watch::Receiver<u64>) {
    let mut saved = 0;
    loop {
        let sleep = {
            let Some(inner) = inner.upgrade() else { return };
            let next = inner.work(&mut changed);
            inner.save(&mut saved);
            next.map(|moment| inner.clock.until(moment))
        };
        let woken = match sleep {
            Some(sleep) => tokio::time::timeout(sleep, changed.changed()).await,
            None => Ok(changed.changed().await),
        };
        match woken {
            Ok(Err(_)) => return,
            Ok(Ok(())) => tokio::time::sleep(COALESCE).await,
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
