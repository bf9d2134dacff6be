//! One pass of all controllers over the store.

use jiff::Timestamp;

use crate::control::{Round, View};

/// One pass of all controllers over the store at `now`; deterministic.
pub fn reconcile(_view: &dyn View, _now: Timestamp) -> Round {
    Round::default()
}
