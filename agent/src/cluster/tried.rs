//! What the server said of changes that wait: a plan of thousands of objects that waits for a night's window would have all of
//! them tried again whenever the loop wakes.
//!
//! Good answers are remembered for a while, as long as neither the documents nor the live object change. What was refused, or
//! could not be tried, is asked each time: that may pass.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

use serde_json::Value;
use tidegate_core::desired::DesiredObject;
use tidegate_core::digest::Digest;
use tidegate_core::live::{Observation, Prediction};
use tidegate_core::object::{Object, ObjectRef};
use tokio::time::Instant;

use super::Cluster;
use super::kinds::ServedKind;
use super::observe::content;

/// How long an answer counts: webhooks and quotas may decide otherwise later, and then the apply says so.
const REMEMBERED_FOR: Duration = Duration::from_mins(5);

/// An answer to a dry run.
pub(super) struct Tried {
    what: String,
    until: Instant,
    answer: Observation,
}

/// What was tried, on what.
pub(super) fn what(
    desired: &DesiredObject,
    kind: &ServedKind,
    live: Option<&Object>,
    is_rehearsed: bool,
) -> String {
    let live = live.map(|live| format!("{} {:?} {:?}", live.uid(), content(live), owners(live)));
    format!("{:?} {} {live:?} {is_rehearsed}", desired.digest, kind.api_version)
}

/// Who has set what, without the status that controllers write all the time, and without when that was.
fn owners(live: &Object) -> Digest {
    let mut owners: Vec<Value> = live.managers().cloned().collect();
    for owner in owners.iter_mut().filter_map(Value::as_object_mut) {
        owner.remove("time");
        if let Some(fields) = owner.get_mut("fieldsV1").and_then(Value::as_object_mut) {
            fields.remove("f:status");
        }
    }
    Digest::of(&owners)
}

impl Cluster {
    /// The answer to the same dry run a while ago; without the live object.
    pub(super) fn known_answer(&self, reference: &ObjectRef, what: &str) -> Option<Observation> {
        let tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        let known = tried.get(reference)?;
        (known.what == what && Instant::now() < known.until).then(|| known.answer.clone())
    }

    /// Remembers an answer, if it is a good one.
    pub(super) fn remember_answer(
        &self,
        reference: &ObjectRef,
        what: String,
        answer: &Observation,
    ) {
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        match answer.predicted {
            Prediction::Exact(_) | Prediction::Simulated(_) => {
                let until = Instant::now() + REMEMBERED_FOR;
                tried.insert(reference.clone(), Tried { what, until, answer: answer.clone() });
            }
            Prediction::InPlace
            | Prediction::NotDesired
            | Prediction::Refused(_)
            | Prediction::Unverified(..) => {
                tried.remove(reference);
            }
        }
    }

    /// Forgets the answer about an object that needs none any more.
    pub(super) fn forget_answer(&self, reference: &ObjectRef) {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner).remove(reference);
    }

    /// Forgets what is wanted no more.
    pub(super) fn forget_answers(&self, wanted: &BTreeSet<&ObjectRef>) {
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        tried.retain(|reference, known| wanted.contains(reference) && Instant::now() < known.until);
    }
}
