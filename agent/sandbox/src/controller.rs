//! The controllers by rounds: what Kubernetes' controllers, scheduler and kubelets would write.
//!
//! Everything is a pure function of the store and the time. Names come from digests, and all that has to be remembered
//! is in the objects. A controller sees the store as it was when the round began, as a real one sees its cache, and
//! takes small steps: the caller carries the writes out and asks again until there are none. It looks at those objects
//! only for which something may have changed (`wake`); that it would do nothing about the others is what the tests hold.
//!
//! Absent: `CronJobs` start nothing (they are for suspended ones), an autoscaler changes no size, of quotas
//! controllers tell only the number of pods, pod priorities and preemption, in-place resizing, and hash collisions.

mod account;
mod autoscaler;
mod budget;
mod claim;
mod daemon_set;
mod deployment;
mod job;
mod kubelet;
mod node;
mod object;
mod pass;
mod pod;
mod replica_set;
mod revision;
mod scheduler;
mod seed;
mod service;
mod stateful_set;
mod wake;

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::control::Write;
use crate::store::Store;
use pass::Pass;
use wake::Look;

pub use kubelet::logs;
pub(crate) use kubelet::{Measured, fails_checks, measures};
pub use seed::seed;
pub(crate) use wake::Controllers;

/// Lets those look whose turn it is, controller by controller, always in the same order.
fn reconcile(
    controllers: &mut Controllers,
    due: BTreeSet<Look>,
    store: &Store,
    now: Timestamp,
) -> Vec<Write> {
    let mut pass = Pass::new(controllers, due, store, now);
    account::reconcile(&mut pass);
    node::reconcile(&mut pass);
    deployment::reconcile(&mut pass);
    replica_set::reconcile(&mut pass);
    stateful_set::reconcile(&mut pass);
    daemon_set::reconcile(&mut pass);
    job::reconcile(&mut pass);
    claim::reconcile(&mut pass);
    scheduler::reconcile(&mut pass);
    kubelet::reconcile(&mut pass);
    service::reconcile(&mut pass);
    budget::reconcile(&mut pass);
    autoscaler::reconcile(&mut pass);
    pass.finish()
}

#[cfg(test)]
mod tests;
