//! Objects that do not carry our label, so that no watch of ours has them: nodes, and claims that sets have left behind.
//!
//! In a site at rest they are looked at once in a while, and not in each round.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidegate_core::diff::is_left_behind;
use tidegate_core::live::{InventoryEntry, LiveObject};
use tidegate_core::object::ObjectRef;
use tokio::time::Instant;

/// How long a node counts as it was seen: so late a cordon that somebody lifts is noticed.
const NODE: Duration = Duration::from_mins(1);
/// How long a claim does: so late one that somebody deletes is no orphan any more.
const CLAIM: Duration = Duration::from_mins(10);

type Seen = (Instant, Option<LiveObject>);

/// What was seen, and until when it counts.
#[derive(Default)]
pub(super) struct Unmarked(Mutex<BTreeMap<ObjectRef, Seen>>);

impl Unmarked {
    /// How long such an object counts as it was seen; `None` for what carries our label.
    pub(super) fn lasts(reference: &ObjectRef, entry: Option<&InventoryEntry>) -> Option<Duration> {
        if reference.is_node() {
            return Some(NODE);
        }
        entry.is_some_and(|entry| is_left_behind(reference, entry)).then_some(CLAIM)
    }

    /// The object as it was seen not long ago; the error when it is to be looked at.
    pub(super) fn get(&self, reference: &ObjectRef) -> Result<Option<LiveObject>, ()> {
        let seen = self.seen();
        let (until, object) = seen.get(reference).ok_or(())?;
        if Instant::now() < *until { Ok(object.clone()) } else { Err(()) }
    }

    /// Remembers what was seen for so long.
    pub(super) fn keep(&self, reference: &ObjectRef, object: Option<LiveObject>, lasts: Duration) {
        self.seen().insert(reference.clone(), (Instant::now() + lasts, object));
    }

    /// What we write or delete is looked at anew.
    pub(super) fn forget(&self, reference: &ObjectRef) {
        self.seen().remove(reference);
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<ObjectRef, Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
