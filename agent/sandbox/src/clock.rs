//! The sandbox's time: starts where it is told, runs as fast as it is told, and stands still when tokio's clock does.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Maps tokio's monotonic clock to the sandbox's wall clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Timestamp,
    origin: Instant,
    speed: f64,
}

impl Clock {
    /// A clock that shows `start` now and runs `speed` times as fast as tokio's. A speed that is not positive counts as 1.
    pub fn new(start: Timestamp, speed: f64) -> Self {
        let speed = if speed.is_finite() && speed > 0.0 { speed } else { 1.0 };
        Self { start, origin: Instant::now(), speed }
    }

    /// What the clock shows.
    pub fn now(&self) -> Timestamp {
        let elapsed = self.origin.elapsed().as_secs_f64() * self.speed;
        let elapsed = SignedDuration::try_from_secs_f64(elapsed).unwrap_or(SignedDuration::ZERO);
        self.start.checked_add(elapsed).unwrap_or(Timestamp::MAX)
    }

    /// How long to sleep, in tokio's time, until the clock shows `moment`.
    pub fn until(&self, moment: Timestamp) -> Duration {
        let left = moment.duration_since(self.now()).as_secs_f64() / self.speed;
        // A millisecond more, so that the clock has passed the moment when the sleep ends.
        Duration::try_from_secs_f64(left.max(0.0)).unwrap_or(Duration::ZERO)
            + Duration::from_millis(1)
    }
}

/// The form in which Kubernetes writes a moment: RFC 3339 in whole seconds, UTC.
pub fn seconds(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The form of `MicroTime`.
pub fn microseconds(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}
