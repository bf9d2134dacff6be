//! How long to wait before trying again: arithmetic only, so that waiting can be tested without waiting.

use std::time::Duration;

/// How a wait grows and where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The wait when nothing has failed.
    pub interval: Duration,
    /// No wait is longer, jitter included.
    pub longest: Duration,
    /// How much of a wait jitter may add, in thousandths.
    pub jitter: u16,
}

impl Backoff {
    /// The wait after so many failures in a row. It doubles with each, up to `longest`, and
    /// `chance` (any number; only its remainder counts) picks the jitter that is added, so that many
    /// agents that lost one server do not all return at once.
    ///
    /// The result is never shorter than the interval, nor longer than the longest wait; a longest
    /// wait below the interval means the interval.
    pub fn wait(self, failures: u32, chance: u64) -> Duration {
        let longest = self.longest.max(self.interval);
        let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
        let grown = self.interval.saturating_mul(factor).min(longest);
        let thousandths = chance % (u64::from(self.jitter) + 1);
        let part = u32::try_from(thousandths).unwrap_or(0);
        let added = (grown / 1000).saturating_mul(part);
        grown.saturating_add(added).min(longest.max(self.interval + self.interval_jitter()))
    }

    /// The most that jitter adds to the interval itself: polling is spread even where the longest
    /// wait is the interval.
    fn interval_jitter(self) -> Duration {
        (self.interval / 1000).saturating_mul(u32::from(self.jitter))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLL: Backoff = Backoff {
        interval: Duration::from_secs(30),
        longest: Duration::from_mins(15),
        jitter: 100,
    };

    #[test]
    fn waits_double_up_to_the_longest() {
        let waits: Vec<u64> = (0..8).map(|failures| POLL.wait(failures, 0).as_secs()).collect();
        assert_eq!(waits, [30, 60, 120, 240, 480, 900, 900, 900]);
    }

    #[test]
    fn jitter_spreads_polls_by_at_most_a_tenth() {
        assert_eq!(POLL.wait(0, 100), Duration::from_secs(33));
        assert_eq!(POLL.wait(0, 50), Duration::from_millis(31_500));
    }

    proptest! {
        #[test]
        fn a_wait_is_bounded_whatever_fails(
            failures in any::<u32>(),
            chance in any::<u64>(),
            seconds in 1_u64..86_400,
            longest in 0_u64..864_000,
            jitter in 0_u16..1000,
        ) {
            let backoff = Backoff {
                interval: Duration::from_secs(seconds),
                longest: Duration::from_secs(longest),
                jitter,
            };
            let wait = backoff.wait(failures, chance);
            prop_assert!(wait >= backoff.interval);
            prop_assert!(wait <= backoff.longest.max(backoff.interval * 2));
        }

        #[test]
        fn one_more_failure_never_shortens_the_wait(failures in 0_u32..40, chance in any::<u64>()) {
            prop_assert!(POLL.wait(failures + 1, chance) >= POLL.wait(failures, chance));
        }
    }
}
