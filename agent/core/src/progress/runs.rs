//! Tries of tasks and tests that end: what is to be kept of them, before their Jobs go or are made anew.

use std::collections::{BTreeMap, BTreeSet};

use super::{ReleaseState, StepState, StepStatus};
use crate::object::ObjectRef;
use crate::plan::{Plan, Step, StepKind};
use crate::release::Event;

/// A try that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndedRun<'a> {
    /// Its step.
    pub step: &'a Step,
    /// Its Job.
    pub job: &'a ObjectRef,
    /// Uids of the Jobs of earlier tries.
    pub before: &'a BTreeSet<String>,
}

/// The tries that end by events which are not in the state yet: each once. One that is given up under way is among them.
pub fn ended_runs<'a>(
    plan: &'a Plan,
    state: &'a ReleaseState,
    events: &[Event],
) -> Vec<EndedRun<'a>> {
    let mut ended: BTreeMap<&ObjectRef, EndedRun<'a>> = BTreeMap::new();
    for step in events.iter().flat_map(|event| ended_steps(plan, event)) {
        for run in state.step(&step.id).into_iter().flat_map(|own| of(step, own)) {
            ended.entry(run.job).or_insert(run);
        }
    }
    ended.into_values().collect()
}

/// The steps that an event ends or gives up.
fn ended_steps<'a>(plan: &'a Plan, event: &Event) -> Vec<&'a Step> {
    if let Event::StepDone { step }
    | Event::StepFailed { step, .. }
    | Event::StepCancelled { step, .. } = event
    {
        return plan.step(step).into_iter().collect();
    }
    if matches!(event, Event::RollbackStarted { .. } | Event::Cancelled { .. }) {
        return plan.steps().map(|(_, step)| step).collect();
    }
    Vec::new()
}

/// The Jobs of a step that were made and of which nothing has been kept yet.
fn of<'a>(step: &'a Step, own: &'a StepState) -> impl Iterator<Item = EndedRun<'a>> {
    let is_running = matches!(step.kind, StepKind::Job(_)) && own.status == StepStatus::Running;
    let jobs = step.apply.iter().chain(&step.replace).filter(move |_| is_running);
    let jobs = jobs.filter(|it| it.kind == "Job" && own.applied.contains(*it));
    jobs.map(move |job| EndedRun { step, job, before: &own.remake })
}
