//! What people ask of a running release, as events or as a refusal that says why.

use tidegate_schema::finding::Finding;

use super::{ReleaseState, StepState, StepStatus};
use crate::plan::Plan;
use crate::release::{Command, Event};

/// The events that carry out a command.
///
/// # Errors
///
/// A finding `RELEASE/…` when the release is not in a state in which the command makes sense.
pub fn command(
    plan: &Plan,
    state: &ReleaseState,
    command: &Command,
    by: &str,
) -> Result<Vec<Event>, Finding> {
    if state.phase(plan).is_ended() {
        return Err(Finding::error("RELEASE/ENDED"));
    }
    let by = by.to_owned();
    match command {
        Command::Confirm { step } => confirm(plan, state, step.as_deref(), &by),
        Command::Pause { reason } if state.paused.is_none() => {
            Ok(vec![Event::Paused { by, reason: reason.clone() }])
        }
        Command::Resume if state.paused.is_some() => Ok(vec![Event::Resumed { by }]),
        Command::Pause { .. } => Err(Finding::error("RELEASE/ALREADY_PAUSED")),
        Command::Resume => Err(Finding::error("RELEASE/NOT_PAUSED")),
        Command::Retry { step } => {
            let failed = failed(state, step.as_deref())?;
            Ok(failed.map(|step| Event::Retried { step, by: by.clone() }).collect())
        }
        Command::Skip { step, reason } => {
            let failed = failed(state, Some(step))?;
            let skip = |step| Event::Skipped { step, by: by.clone(), reason: reason.clone() };
            Ok(failed.map(skip).collect())
        }
        Command::Rollback { .. } if state.rollback.is_some() => {
            Err(Finding::error("RELEASE/ALREADY_ROLLING_BACK"))
        }
        Command::Rollback { product, reason } => {
            if let Some(product) = product {
                let mut products = plan.steps().filter_map(|(_, step)| step.product.as_ref());
                if !products.any(|known| known == product) {
                    let finding = Finding::error("RELEASE/NO_SUCH_PRODUCT");
                    return Err(finding.with("product", product));
                }
            }
            let (product, reason) = (product.clone(), reason.clone());
            Ok(vec![Event::RollbackStarted { product, by, reason }])
        }
        Command::Cancel { reason } => Ok(vec![Event::Cancelled { by, reason: reason.clone() }]),
    }
}

fn confirm(
    plan: &Plan,
    state: &ReleaseState,
    step: Option<&str>,
    by: &str,
) -> Result<Vec<Event>, Finding> {
    let asked = |own: &StepState| {
        own.open
            .as_ref()
            .filter(|open| open.asked_at.is_some() && open.confirmed_by.is_none())
            .map(|open| open.group)
    };
    let groups = state
        .steps
        .iter()
        .filter(|(id, _)| step.is_none_or(|step| step == *id))
        .filter_map(|(id, own)| Some((id, asked(own)?)));
    let mut events: Vec<Event> = groups
        .map(|(id, group)| Event::Confirmed { step: id.clone(), group, by: by.to_owned() })
        .collect();
    if step.is_none() {
        let waves = plan.content.waves.iter().enumerate();
        let waiting = waves.filter(|(index, wave)| {
            wave.confirm
                && state.wave(*index).is_some_and(|own| {
                    own.ready_at.is_some() && own.confirmed_by.is_none() && !own.is_done()
                })
        });
        events.extend(waiting.map(|(wave, _)| Event::WaveConfirmed { wave, by: by.to_owned() }));
    }
    match events.len() {
        0 => Err(Finding::error("RELEASE/NOTHING_TO_CONFIRM")),
        1 => Ok(events),
        // Which one a person has looked at must be said: confirming is per group.
        _ => Err(Finding::error("RELEASE/CONFIRM_WHICH").with("steps", waiting_steps(&events))),
    }
}

fn waiting_steps(events: &[Event]) -> String {
    let steps = events.iter().filter_map(|event| {
        if let Event::Confirmed { step, .. } = event { Some(step.as_str()) } else { None }
    });
    steps.collect::<Vec<_>>().join(", ")
}

fn failed<'a>(
    state: &'a ReleaseState,
    step: Option<&'a str>,
) -> Result<impl Iterator<Item = String> + 'a, Finding> {
    let is_failed = move |(id, own): &(&String, &StepState)| {
        matches!(own.status, StepStatus::Failed(_)) && step.is_none_or(|step| step == id.as_str())
    };
    let mut failed = state.steps.iter().filter(is_failed).map(|(id, _)| id.clone()).peekable();
    if failed.peek().is_none() {
        return Err(Finding::error("RELEASE/NOTHING_FAILED"));
    }
    Ok(failed)
}
