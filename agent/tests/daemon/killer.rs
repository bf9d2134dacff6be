//! Who keeps the agent running, and kills it.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::journal::Reader;
use crate::process::Given;

/// When the agent is killed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kills {
    /// Never.
    Never,
    /// As soon as a new event is in the journal; and every fourth life at an instant of its start. The number is the seed.
    EachEvent(u64),
    /// Whenever chance wants it, by a seed; so many times.
    ByChance(u64, u32),
}

/// Keeps an agent running until it is told to stop.
pub(crate) struct Keeper {
    stop: oneshot::Sender<()>,
    keeping: JoinHandle<u32>,
}

impl Keeper {
    /// Starts the first life.
    pub(crate) fn start(given: &Given, kills: Kills) -> Self {
        let (stop, stopped) = oneshot::channel();
        Self { stop, keeping: tokio::spawn(keep(given.clone(), kills, stopped)) }
    }

    /// Ends it; gives how often it was killed before.
    pub(crate) async fn end(self) -> u32 {
        self.stop.send(()).unwrap();
        self.keeping.await.unwrap()
    }
}

async fn keep(given: Given, kills: Kills, mut stopped: oneshot::Receiver<()>) -> u32 {
    let journal = Reader::open(&given.data);
    let mut chance = match kills {
        Kills::Never => Chance(0),
        Kills::EachEvent(seed) | Kills::ByChance(seed, _) => Chance(seed),
    };
    // How long a start takes on this machine: the first life is left alone until it answers.
    let born = Instant::now();
    let mut life = given.start();
    while given.client().is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let takes = born.elapsed();
    let mut killed = 0;
    loop {
        let seen = journal.count().await;
        let latest = match kills {
            Kills::Never => None,
            Kills::EachEvent(_) => (killed % 4 == 3).then(|| chance.below(takes * 2)),
            Kills::ByChance(_, times) => (killed < times).then(|| chance.below(takes * 4)),
        };
        let is_watched = matches!(kills, Kills::EachEvent(_)) && latest.is_none();
        let (born, mut looked) = (Instant::now(), None);
        loop {
            if stopped.try_recv().is_ok() {
                life.kill();
                return killed;
            }
            if let Some(code) = life.code() {
                panic!("the agent ended by itself with {code}, see {}", given.log().display());
            }
            let is_over = latest.is_some_and(|latest| born.elapsed() >= latest);
            let written = is_watched.then(|| journal.written());
            let is_new = written.is_some() && written != looked && journal.count().await > seen;
            if is_over || is_new {
                break;
            }
            looked = written;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        life.kill();
        killed += 1;
        life = given.start();
    }
}

/// `SplitMix64` (Steele, Lea, Flood 2014): the same seed gives the same kills, as far as the machine does.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let limit = u64::try_from(limit.as_micros()).unwrap().max(1);
        Duration::from_micros(mixed % limit)
    }
}
