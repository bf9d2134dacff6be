//! Why the loop runs. A wake carries nothing: whoever is woken rereads everything, so a wake that is
//! lost or doubled changes nothing.
//!
//! The only place that names notify.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tidegate_core::backoff::Backoff;
use tokio::sync::Notify;

pub mod hook;
mod watch;

pub use watch::{Error, Watching, watch};

/// A reason to run the loop. None has data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wake {
    /// The agent has just started.
    Started,
    /// The interval is over.
    Timer,
    /// A forge says that somebody pushed.
    Pushed,
    /// A file of the watched folder changed.
    FilesChanged,
    /// Something that we own changed in a cluster.
    ClusterChanged,
    /// An approval came by another way than git.
    ApprovalArrived,
    /// A person asked for it.
    Requested,
    /// A grant's time is over.
    GrantExpires,
    /// The agent is to stop.
    Shutdown,
}

impl fmt::Display for Wake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Started => "started",
            Self::Timer => "timer",
            Self::Pushed => "pushed",
            Self::FilesChanged => "files-changed",
            Self::ClusterChanged => "cluster-changed",
            Self::ApprovalArrived => "approval-arrived",
            Self::Requested => "requested",
            Self::GrantExpires => "grant-expires",
            Self::Shutdown => "shutdown",
        })
    }
}

/// Collects wakes until the loop is ready for them. Cheap to clone; clones share one set.
#[derive(Debug, Clone, Default)]
pub struct Wakes {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    pending: Mutex<BTreeSet<Wake>>,
    arrived: Notify,
    is_waiting: AtomicBool,
    is_resting: AtomicBool,
}

impl Wakes {
    /// Nothing is pending.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a reason. Never waits; reasons that are pending already are not doubled.
    pub fn wake(&self, reason: Wake) {
        self.pending().insert(reason);
        self.shared.arrived.notify_one();
    }

    /// Waits for a reason and takes all that are pending; after `longest` that is [`Wake::Timer`].
    /// For one loop: two that wait at once would share the reasons between them.
    pub async fn next(&self, longest: Duration) -> BTreeSet<Wake> {
        let deadline = tokio::time::Instant::now() + longest;
        self.shared.is_waiting.store(true, Ordering::Release);
        loop {
            let mut pending = std::mem::take(&mut *self.pending());
            if pending.is_empty() {
                let arrived = self.shared.arrived.notified();
                if tokio::time::timeout_at(deadline, arrived).await.is_ok() {
                    continue;
                }
                pending = std::mem::take(&mut *self.pending());
                pending.insert(Wake::Timer);
            }
            self.shared.is_waiting.store(false, Ordering::Release);
            return pending;
        }
    }

    /// Rests, unless somebody asks for something: what changes in clusters can wait for so long, and comes all at once then.
    pub async fn rest(&self, time: Duration) {
        let deadline = tokio::time::Instant::now() + time;
        self.shared.is_resting.store(true, Ordering::Release);
        while self.pending().iter().all(|reason| *reason == Wake::ClusterChanged) {
            let arrived = self.shared.arrived.notified();
            if tokio::time::timeout_at(deadline, arrived).await.is_err() {
                break;
            }
        }
        self.shared.is_resting.store(false, Ordering::Release);
    }

    /// Whether the loop waits, and nothing is pending for which it would run before time passes.
    pub fn is_quiet(&self) -> bool {
        let is_waiting = self.shared.is_waiting.load(Ordering::Acquire);
        self.shared.is_resting.load(Ordering::Acquire) || (is_waiting && self.pending().is_empty())
    }

    /// Whether a stop was asked for; long work looks at it between steps.
    pub fn is_stopping(&self) -> bool {
        self.pending().contains(&Wake::Shutdown)
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, BTreeSet<Wake>> {
        self.shared.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long the loop waits: the interval with jitter, and longer with each failure.
#[derive(Debug, Clone)]
pub struct Pace {
    backoff: Backoff,
    failures: u32,
    chance: u64,
}

impl Pace {
    /// `seed` decides the jitter: the same seed gives the same waits. The agent takes it from its
    /// name, so that agents of one repository spread, and a test can tell what will happen.
    pub fn new(backoff: Backoff, seed: u64) -> Self {
        Self { backoff, failures: 0, chance: seed }
    }

    /// The wait after a run that went well, or not.
    pub fn after(&mut self, is_good: bool) -> Duration {
        self.failures = if is_good { 0 } else { self.failures.saturating_add(1) };
        self.chance = mix(self.chance);
        self.backoff.wait(self.failures, self.chance)
    }

    /// How many runs in a row failed.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

/// A step of `SplitMix64` (Steele, Lea, Flood 2014): spread, not secrecy.
fn mix(state: u64) -> u64 {
    let mut mixed = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_rest_puts_changes_of_clusters_off_and_nothing_else() {
        let wakes = Wakes::new();
        let began = tokio::time::Instant::now();
        wakes.wake(Wake::ClusterChanged);
        wakes.rest(Duration::from_secs(1)).await;
        assert_eq!(began.elapsed(), Duration::from_secs(1));
        wakes.wake(Wake::Requested);
        wakes.rest(Duration::from_secs(1)).await;
        assert_eq!(began.elapsed(), Duration::from_secs(1));
        let both = BTreeSet::from([Wake::ClusterChanged, Wake::Requested]);
        assert_eq!(wakes.next(LONG).await, both);
    }

    #[tokio::test]
    async fn reasons_are_collected_and_taken_at_once() {
        let wakes = Wakes::new();
        let sender = wakes.clone();
        sender.wake(Wake::Pushed);
        sender.wake(Wake::Pushed);
        sender.wake(Wake::Started);
        assert_eq!(wakes.next(LONG).await, BTreeSet::from([Wake::Started, Wake::Pushed]));
        // The permit that is left over wakes nobody for nothing.
        let start = tokio::time::Instant::now();
        let short = Duration::from_millis(20);
        assert_eq!(wakes.next(short).await, BTreeSet::from([Wake::Timer]));
        assert!(start.elapsed() >= short);
    }

    #[tokio::test]
    async fn a_wake_ends_the_wait() {
        let wakes = Wakes::new();
        let sender = wakes.clone();
        let start = tokio::time::Instant::now();
        assert!(!wakes.is_quiet());
        let (found, ()) = tokio::join!(wakes.next(LONG), async {
            tokio::task::yield_now().await;
            assert!(sender.is_quiet());
            sender.wake(Wake::Shutdown);
            assert!(sender.is_stopping());
            assert!(!sender.is_quiet());
        });
        assert_eq!(found, BTreeSet::from([Wake::Shutdown]));
        assert!(start.elapsed() < LONG);
    }

    #[test]
    fn the_same_seed_gives_the_same_waits_and_another_seed_others() {
        let backoff = Backoff { interval: LONG, longest: LONG * 10, jitter: 200 };
        let waits = |seed| {
            let mut pace = Pace::new(backoff, seed);
            (0..20).map(|_| pace.after(true)).collect::<Vec<_>>()
        };
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
        assert!(waits(1).iter().all(|wait| (LONG..=LONG * 6 / 5).contains(wait)));
        assert!(waits(1).windows(2).any(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn a_success_ends_the_back_off() {
        let backoff = Backoff { interval: LONG, longest: LONG * 10, jitter: 0 };
        let mut pace = Pace::new(backoff, 0);
        assert_eq!([false, false, true].map(|good| pace.after(good)), [LONG * 2, LONG * 4, LONG]);
        assert_eq!(pace.failures(), 0);
    }
}
