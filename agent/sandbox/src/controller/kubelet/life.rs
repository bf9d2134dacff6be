//! A container's life as a function of time: pulled, started, ready, ended, started again.

use jiff::{SignedDuration, Timestamp};

use super::image::{Behaviour, Fate};

const PULL: SignedDuration = SignedDuration::from_millis(300);
const START: SignedDuration = SignedDuration::from_millis(700);
const INIT: SignedDuration = SignedDuration::from_millis(200);
const CRASH: SignedDuration = SignedDuration::from_secs(1);
/// How long `ready-then-crash` stays ready.
const READY_SPELL: SignedDuration = SignedDuration::from_secs(3);
const FIRST_BACK_OFF: i64 = 10;
const LONGEST_BACK_OFF: i64 = 300;

/// What a container is for; it decides whether and how it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Runs until the pod goes.
    Service,
    /// Ends by itself, as in a job.
    Task,
    /// Ends before the pod's other containers start.
    Init,
}

/// What a container's life depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Course {
    pub(super) behaviour: Behaviour,
    pub(super) role: Role,
    /// When pulling begins.
    pub(super) begins: Timestamp,
    /// Whether it is started again after an error.
    pub(super) restarts: bool,
    /// The least time from start to ready.
    pub(super) probe_delay: SignedDuration,
}

/// A run that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) started: Timestamp,
    pub(super) finished: Timestamp,
    pub(super) code: i64,
}

/// What a container is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Not started, and nothing is wrong.
    Creating,
    /// The image was tried just now, and is not there.
    PullFailed,
    /// The image will be tried again.
    PullBackOff,
    Running {
        since: Timestamp,
        is_ready: bool,
    },
    /// Waiting to be started again.
    BackOff {
        seconds: i64,
    },
    /// Ended for good.
    Ended(Run),
}

/// A container at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Glance {
    pub(super) state: State,
    pub(super) restarts: i64,
    /// The run before this one.
    pub(super) last: Option<Run>,
    /// When it will look different.
    pub(super) changes: Option<Timestamp>,
}

impl Glance {
    fn still(state: State) -> Self {
        Self { state, restarts: 0, last: None, changes: None }
    }

    fn until(state: State, changes: Timestamp) -> Self {
        Self { changes: Some(changes), ..Self::still(state) }
    }
}

fn after(time: Timestamp, wait: SignedDuration) -> Timestamp {
    time.checked_add(wait).unwrap_or(Timestamp::MAX)
}

/// The wait before start number `count` (the first restart is 1), in seconds: 10, 20, 40 … 300.
fn back_off(count: i64) -> i64 {
    let doublings = u32::try_from(count - 1).unwrap_or(0).min(5);
    (FIRST_BACK_OFF << doublings).min(LONGEST_BACK_OFF)
}

/// The container at `now`.
pub(super) fn glance(course: &Course, now: Timestamp) -> Glance {
    let pulled = after(course.begins, PULL);
    if now < pulled {
        return Glance::until(State::Creating, pulled);
    }
    if course.behaviour.fate == Fate::CannotPull {
        return pulling(pulled, now);
    }
    let (length, code) = run_length(course);
    let Some(length) = length else {
        return running(course, pulled, now, None);
    };
    let repeats = code != 0 && course.restarts;
    let mut run = Run { started: pulled, finished: after(pulled, length), code };
    let mut restarts = 0;
    let mut last = None;
    loop {
        if now < run.finished {
            let glance = running(course, run.started, now, Some(run.finished));
            return Glance { restarts, last, ..glance };
        }
        if !repeats {
            return Glance { restarts, last, ..Glance::still(State::Ended(run)) };
        }
        let seconds = back_off(restarts + 1);
        let again = after(run.finished, SignedDuration::from_secs(seconds));
        last = Some(run);
        if now < again {
            let state = State::BackOff { seconds };
            return Glance { restarts, last, ..Glance::until(state, again) };
        }
        restarts += 1;
        run = Run { started: again, finished: after(again, length), code };
        if seconds == LONGEST_BACK_OFF {
            // From here on every turn takes the same time: leave out the whole turns that have passed.
            let turn = length + SignedDuration::from_secs(seconds);
            let turns = now.duration_since(again).as_millis() / turn.as_millis().max(1);
            let turns = i32::try_from(turns).unwrap_or(i32::MAX);
            let passed = turn.checked_mul(turns).unwrap_or(SignedDuration::MAX);
            if turns > 0 {
                restarts += i64::from(turns);
                run.started = after(again, passed);
                run.finished = after(run.started, length);
                let finished = after(run.started, -SignedDuration::from_secs(seconds));
                last = Some(Run { started: after(finished, -length), finished, code });
            }
        }
    }
}

/// How long a run lasts, and how it ends; `None` when it goes on.
fn run_length(course: &Course) -> (Option<SignedDuration>, i64) {
    let slow = course.behaviour.slow.map(SignedDuration::from_secs);
    match (course.behaviour.fate, course.role) {
        (Fate::Crashes | Fate::Fails, _) => (Some(CRASH), 1),
        (Fate::CrashesWhenReady, Role::Service) => (Some(ready_delay(course) + READY_SPELL), 1),
        (Fate::CrashesWhenReady, Role::Task | Role::Init) => (Some(slow.unwrap_or(READY_SPELL)), 1),
        (Fate::NeverReady | Fate::CannotPull, _) | (Fate::Runs, Role::Service) => (None, 0),
        (Fate::Runs, Role::Task) => (Some(slow.unwrap_or(START)), 0),
        (Fate::Runs, Role::Init) => (Some(slow.unwrap_or(INIT)), 0),
    }
}

/// From the start of a run to its readiness.
fn ready_delay(course: &Course) -> SignedDuration {
    let slow = course.behaviour.slow.map(|seconds| SignedDuration::from_secs(seconds) - PULL);
    slow.unwrap_or(START).max(course.probe_delay)
}

fn running(course: &Course, since: Timestamp, now: Timestamp, until: Option<Timestamp>) -> Glance {
    let becomes_ready = match course.behaviour.fate {
        Fate::Runs | Fate::CrashesWhenReady => course.role != Role::Init,
        Fate::NeverReady | Fate::Crashes | Fate::CannotPull | Fate::Fails => false,
    };
    let ready_at = after(since, ready_delay(course));
    let is_ready = becomes_ready && ready_at <= now;
    let becomes = (becomes_ready && !is_ready).then_some(ready_at);
    let changes = [becomes, until].into_iter().flatten().min();
    Glance { changes, ..Glance::still(State::Running { since, is_ready }) }
}

/// Pulls are tried after growing waits; each failure shows for a second as what it is.
fn pulling(first: Timestamp, now: Timestamp) -> Glance {
    let mut tried = first;
    let mut count = 1;
    loop {
        let shown = after(tried, SignedDuration::from_secs(1));
        if now < shown {
            return Glance::until(State::PullFailed, shown);
        }
        let wait = back_off(count);
        let again = after(tried, SignedDuration::from_secs(wait));
        if now < again {
            return Glance::until(State::PullBackOff, again);
        }
        tried = again;
        count += 1;
        if wait == LONGEST_BACK_OFF {
            let turns = now.duration_since(tried).as_secs() / LONGEST_BACK_OFF;
            tried = after(tried, SignedDuration::from_secs(turns * LONGEST_BACK_OFF));
        }
    }
}
