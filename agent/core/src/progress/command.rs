//! What people ask of a running release, as events or as a refusal that says why.

use jiff::Timestamp;
use tidegate_schema::finding::Finding;

use super::{ReleaseState, StepState, StepStatus};
use crate::approval::ApprovalScope;
use crate::gate::{ApprovedPlan, Evidence, GatePolicy};
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

/// Confirmations that persons signed, of what is asked now. Each document counts once, for one group or wave, and only
/// when it was signed after the question: nobody confirms what cannot have been looked at.
pub fn signed_confirmations(
    release: &str,
    approved: &ApprovedPlan,
    state: &ReleaseState,
    policy: &GatePolicy,
    evidence: Evidence<'_>,
) -> Vec<Event> {
    let (plan, id) = (approved.plan(), approved.id());
    let mut events: Vec<Event> = Vec::new();
    for approval in evidence.approvals.iter().filter(|it| it.approves && it.plan == id.as_str()) {
        let ApprovalScope::Confirm { release: of, step } = &approval.scope else { continue };
        let counts = of == release
            && policy.emails.contains_key(&approval.person)
            && !evidence.consumed.contains(&approval.name)
            && approval.is_in_time(evidence.now);
        let asked = asked(plan, state, Some(step))
            .find(|asked| counts && asked.at <= approval.created_at)
            .map(|asked| asked.confirmed(&approval.person, Some(&approval.name)));
        // Two persons who confirm the same are both right: one is recorded.
        events.extend(asked.filter(|event| !events.iter().any(|known| is_same(known, event))));
    }
    events
}

fn is_same(left: &Event, right: &Event) -> bool {
    match (left, right) {
        (Event::Confirmed { step, group, .. }, Event::Confirmed { step: s, group: g, .. }) => {
            (step, group) == (s, g)
        }
        (Event::WaveConfirmed { wave, .. }, Event::WaveConfirmed { wave: w, .. }) => wave == w,
        _ => false,
    }
}

/// A question that a person has not answered yet.
struct Asked<'a> {
    /// The step with its group, or the wave.
    what: Result<(&'a str, usize), usize>,
    at: Timestamp,
}

impl Asked<'_> {
    fn confirmed(&self, by: &str, approval: Option<&str>) -> Event {
        let (by, approval) = (by.to_owned(), approval.map(ToOwned::to_owned));
        match self.what {
            Ok((step, group)) => Event::Confirmed { step: step.to_owned(), group, by, approval },
            Err(wave) => Event::WaveConfirmed { wave, by, approval },
        }
    }
}

/// Open questions: of one step or wave by its id or name, or all.
fn asked<'a>(
    plan: &'a Plan,
    state: &'a ReleaseState,
    only: Option<&'a str>,
) -> impl Iterator<Item = Asked<'a>> {
    let is_meant = move |name: &str| only.is_none_or(|only| only == name);
    let groups = state.steps.iter().filter_map(move |(id, own)| {
        let open = own.open.as_ref().filter(|open| open.confirmed_by.is_none())?;
        is_meant(id).then_some(Asked { what: Ok((id, open.group)), at: open.asked_at? })
    });
    let waves = plan.content.waves.iter().enumerate().filter_map(move |(index, wave)| {
        let own = state.wave(index).filter(|own| own.confirmed_by.is_none() && !own.is_done())?;
        let is_asked = wave.confirm && is_meant(&wave.name);
        is_asked.then_some(Asked { what: Err(index), at: own.ready_at? })
    });
    groups.chain(waves)
}

fn confirm(
    plan: &Plan,
    state: &ReleaseState,
    step: Option<&str>,
    by: &str,
) -> Result<Vec<Event>, Finding> {
    let events: Vec<Event> =
        asked(plan, state, step).map(|asked| asked.confirmed(by, None)).collect();
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
