//! What people ask of a running release, as events or as a refusal that says why.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use tidegate_schema::finding::Finding;

use super::{ReleaseState, StepStatus};
use crate::approval::ApprovalScope;
use crate::gate::{ApprovedPlan, Evidence, GatePolicy};
use crate::order::{self, Needs};
use crate::plan::{Plan, Step, StepKind};
use crate::release::{Command, Event, Part};

/// The events that carry out a command. Products come with those that they require.
///
/// # Errors
///
/// A finding `RELEASE/…` when the release is not in a state in which the command makes sense.
pub fn command(
    plan: &Plan,
    state: &ReleaseState,
    requires: &Needs,
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
        Command::Retry { part } => {
            let failed = failed(plan, state, part)?.into_iter();
            Ok(failed
                .map(|step| Event::Retried { step: step.id.clone(), by: by.clone() })
                .collect())
        }
        Command::Skip { part, reason } => {
            let skip = |step: &Step| Event::Skipped {
                step: step.id.clone(),
                group: part.group.and_then(|group| group.checked_sub(1)),
                by: by.clone(),
                reason: reason.clone(),
                approval: None,
            };
            Ok(failed(plan, state, part)?.into_iter().map(skip).collect())
        }
        Command::Rollback { .. } if state.rollback.is_some() => {
            Err(Finding::error("RELEASE/ALREADY_ROLLING_BACK"))
        }
        Command::Rollback { part, reason } => {
            chosen(plan, state, part)?;
            // Controllers know one template of a workload: a group goes back with those of its step before it.
            let (part, reason) = (Part { group: None, ..part.clone() }, reason.clone());
            Ok(vec![Event::RollbackStarted { part, by, reason }])
        }
        Command::Cancel { part, reason } if part.is_all() => {
            Ok(vec![Event::Cancelled { by, reason: reason.clone() }])
        }
        Command::Cancel { .. } if state.rollback.is_some() => {
            Err(Finding::error("RELEASE/ALREADY_ROLLING_BACK"))
        }
        Command::Cancel { part, reason } => {
            let given_up = given_up(plan, state, requires, &chosen(plan, state, part)?);
            if given_up.is_empty() {
                return Err(
                    Finding::error("RELEASE/NOTHING_TO_CANCEL").with("part", part.to_string())
                );
            }
            let cancel = |step: &Step| Event::StepCancelled {
                step: step.id.clone(),
                by: by.clone(),
                reason: reason.clone(),
            };
            Ok(given_up.into_iter().map(cancel).collect())
        }
    }
}

/// The steps of a part, with the group that it names open.
fn chosen<'a>(plan: &'a Plan, state: &ReleaseState, part: &Part) -> Result<Vec<&'a Step>, Finding> {
    let steps: Vec<&Step> =
        plan.steps().map(|(_, step)| step).filter(|step| part.has(step)).collect();
    if steps.is_empty() {
        return Err(Finding::error("RELEASE/NO_SUCH_PART").with("part", part.to_string()));
    }
    let Some(group) = part.group else { return Ok(steps) };
    let open = |step: &&Step| Some(state.step(&step.id)?.open.as_ref()?.group + 1);
    let is_open = |step: &&Step| part.step.is_some() && open(step) == Some(group);
    let own: Vec<&Step> = steps.iter().copied().filter(is_open).collect();
    if own.is_empty() {
        let others =
            steps.iter().filter_map(|step| Some(format!("{} of {}", open(step)?, step.id)));
        let others: Vec<String> = others.collect();
        return Err(Finding::error("RELEASE/GROUP_NOT_OPEN")
            .with("group", group.to_string())
            .with("open", others.join(", ")));
    }
    Ok(own)
}

/// What is given up with some steps, in the plan's order: of these and of all that count on them, what is not done. A step
/// counts on those that it needs; a product on those that it requires, whichever wave they are in; what comes in a later wave
/// on having gone well in those before; and the end of anything on all that comes before it.
fn given_up<'a>(
    plan: &'a Plan,
    state: &ReleaseState,
    requires: &Needs,
    chosen: &[&Step],
) -> Vec<&'a Step> {
    let open: Vec<(usize, &Step)> =
        plan.steps().filter(|(_, step)| !state.is_settled(&step.id)).collect();
    let chosen: BTreeSet<&str> = chosen.iter().map(|step| step.id.as_str()).collect();
    let required = order::closures(requires);
    let mut given_up = GivenUp::default();
    loop {
        let count = given_up.ids.len();
        for (wave, step) in &open {
            // What goes may be what the version that stays still uses: no document says any more what that requires.
            let is_end = deletes(step) && state.step(&step.id).is_none();
            if chosen.contains(step.id.as_str())
                || (is_end && given_up.first.is_some_and(|first| first <= *wave))
                || given_up.is_counted_on(*wave, step, &required)
            {
                given_up.insert(*wave, step);
            }
        }
        if given_up.ids.len() == count {
            break;
        }
    }
    let steps = open.into_iter().map(|(_, step)| step);
    steps.filter(|step| given_up.ids.contains(step.id.as_str())).collect()
}

/// What is given up so far: its steps, and the first wave of which anything is, also by product and app.
#[derive(Default)]
struct GivenUp<'a> {
    ids: BTreeSet<&'a str>,
    first: Option<usize>,
    products: BTreeMap<&'a str, usize>,
    apps: BTreeMap<(&'a str, &'a str), usize>,
}

impl<'a> GivenUp<'a> {
    fn insert(&mut self, wave: usize, step: &'a Step) {
        self.ids.insert(&step.id);
        self.first = self.first.map_or(Some(wave), |first| Some(first.min(wave)));
        let Some(product) = &step.product else { return };
        let first = self.products.entry(product).or_insert(wave);
        *first = wave.min(*first);
        if let Some(app) = step.app() {
            let first = self.apps.entry((product, app)).or_insert(wave);
            *first = wave.min(*first);
        }
    }

    /// Whether a step counts on any of it; products come with all that they require.
    fn is_counted_on(&self, wave: usize, step: &Step, required: &Needs) -> bool {
        let is_before = |first: Option<&usize>| first.is_some_and(|first| *first < wave);
        let of_product = |name: &str| is_before(self.products.get(name));
        step.needs.iter().any(|id| self.ids.contains(id.as_str()))
            || step.product.as_deref().is_some_and(|own| {
                let is_same = match step.app() {
                    Some(app) => is_before(self.apps.get(&(own, app))),
                    None => of_product(own),
                };
                is_same || required.get(own).into_iter().flatten().any(|name| of_product(name))
            })
    }
}

/// Whether a step is there to take something away for good.
fn deletes(step: &Step) -> bool {
    match step.kind {
        StepKind::Prune | StepKind::Offline => true,
        StepKind::Objects(_) | StepKind::Rollout | StepKind::Job(_) | StepKind::Zones => {
            step.product.is_none() && !step.prune.is_empty()
        }
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

/// What failed of a part.
pub(super) fn failed<'a>(
    plan: &'a Plan,
    state: &ReleaseState,
    part: &Part,
) -> Result<Vec<&'a Step>, Finding> {
    let is_failed = |step: &&Step| {
        state.step(&step.id).is_some_and(|own| matches!(own.status, StepStatus::Failed(_)))
    };
    let failed: Vec<&Step> = chosen(plan, state, part)?.into_iter().filter(is_failed).collect();
    if failed.is_empty() { Err(Finding::error("RELEASE/NOTHING_FAILED")) } else { Ok(failed) }
}
