//! Old records are removed while nothing else is to be done.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::SignedDuration;
use tidegate_core::digest::Digest;

use super::{Agent, Result};
use crate::journal::Retention;

/// How long old records are kept where nobody says so.
pub const RETENTION: Duration = Duration::from_hours(400 * 24);

/// How often it is looked for what may go.
const INTERVAL: SignedDuration = SignedDuration::from_hours(1);

impl Agent {
    /// Removes a portion of what is older than the retention; says whether there may be more.
    ///
    /// # Errors
    ///
    /// When the journal cannot be written.
    pub async fn remove_old(&mut self, current: Option<&Digest>) -> Result<bool> {
        let now = self.clock.now();
        if self.removed_at.is_some_and(|at| now.duration_since(at) < INTERVAL) {
            return Ok(false);
        }
        // A retention beyond the beginning of time keeps everything.
        let Ok(before) = now.checked_sub(self.retention) else { return Ok(false) };
        let mut releases: BTreeSet<String> =
            self.baseline.iter().map(|baseline| baseline.release.clone()).collect();
        let loaded = self.loaded.iter().flat_map(|loaded| loaded.snapshot.earlier.keys());
        releases.extend(loaded.cloned());
        let retention = Retention { before, current, releases: &releases };
        let removed = self.journal.remove_old(retention).await?;
        if removed.plans + removed.releases > 0 {
            tracing::info!(
                plans = removed.plans,
                releases = removed.releases,
                "old records removed"
            );
        }
        self.removed_at = (!removed.is_portion()).then_some(now);
        Ok(removed.is_portion())
    }
}
