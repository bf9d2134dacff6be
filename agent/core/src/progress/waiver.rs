//! Waivers that persons signed: what failed counts as done, by one person who may skip there.

use std::collections::BTreeSet;

use jiff::Timestamp;
use tidegate_schema::finding::Finding;

use super::ReleaseState;
use super::command::failed;
use crate::approval::{ApprovalScope, VerifiedApproval};
use crate::gate::{ApprovedPlan, Evidence, GatePolicy};
use crate::plan::Step;
use crate::release::{Event, Part};

/// Waivers that persons signed of what has failed now, and what speaks against those that do not count. Each document counts
/// once; of several for one step the first does.
pub fn signed_waivers(
    release: &str,
    approved: &ApprovedPlan,
    state: &ReleaseState,
    policy: &GatePolicy,
    evidence: Evidence<'_>,
) -> (Vec<Event>, Vec<Finding>) {
    let (mut events, mut findings): (Vec<Event>, Vec<Finding>) = Default::default();
    let mut steps = BTreeSet::new();
    for approval in evidence.approvals.iter().filter(|it| !evidence.consumed.contains(&it.name)) {
        // What has not failed, or counts as done already, needs no word.
        let Some(Ok(waived)) = waived(release, approved, state, approval) else { continue };
        match waived.by(approval, policy, evidence.now) {
            Ok(event) => events.extend(steps.insert(&waived.step.id).then_some(event)),
            Err(finding) => findings.push(finding),
        }
    }
    (events, findings)
}

/// Why a document does not count as a waiver now; none when it does, or is something else.
pub fn refused_waiver(
    release: &str,
    approved: &ApprovedPlan,
    state: &ReleaseState,
    policy: &GatePolicy,
    approval: &VerifiedApproval,
    now: Timestamp,
) -> Option<Finding> {
    let waived = waived(release, approved, state, approval)?;
    waived.and_then(|waived| waived.by(approval, policy, now)).err()
}

/// What a signed waiver is about: a step that has failed.
struct Waived<'a> {
    step: &'a Step,
    /// Number of the open group, when only that shall count as done.
    group: Option<usize>,
    failed_at: Option<Timestamp>,
}

impl Waived<'_> {
    /// It must be signed after the failure, as nobody waives what cannot have been looked at, and by somebody who may skip there.
    fn by(
        &self,
        approval: &VerifiedApproval,
        policy: &GatePolicy,
        now: Timestamp,
    ) -> Result<Event, Finding> {
        let refused = |code: &'static str| {
            Finding::warning(code).with("person", &approval.person).with("step", &self.step.id)
        };
        if !policy.may_skip(&approval.person, self.step, now) {
            return Err(refused("RELEASE/WAIVER_NOT_PERMITTED"));
        }
        let is_early = self.failed_at.is_none_or(|at| approval.created_at < at);
        if is_early || !approval.is_in_time(now) {
            let text = |at: Option<Timestamp>| at.map_or("–".to_owned(), |at| at.to_string());
            return Err(refused("RELEASE/WAIVER_UNTIMELY")
                .with("signed", approval.created_at.to_string())
                .with("failed", text(self.failed_at))
                .with("until", text(approval.execute_by)));
        }
        Ok(Event::Skipped {
            step: self.step.id.clone(),
            group: self.group.and_then(|group| group.checked_sub(1)),
            by: approval.person.clone(),
            reason: approval.reason.clone(),
            approval: Some(approval.name.clone()),
        })
    }
}

/// What a document waives, or why there is nothing of it to waive now; none when it is no waiver.
fn waived<'a>(
    release: &str,
    approved: &'a ApprovedPlan,
    state: &ReleaseState,
    approval: &VerifiedApproval,
) -> Option<Result<Waived<'a>, Finding>> {
    let ApprovalScope::Skip { release: of, step, group } = &approval.scope else { return None };
    if !approval.approves || of != release || approval.plan != approved.id().as_str() {
        return Some(Err(Finding::error("RELEASE/NOT_UNDER_WAY").with("release", of)));
    }
    let part = Part { step: Some(step.clone()), group: *group, ..Part::default() };
    let steps = match failed(approved.plan(), state, &part) {
        Ok(steps) => steps,
        Err(finding) => return Some(Err(finding)),
    };
    let failed_at = state.step(step).and_then(|own| own.failed_at);
    let step = steps.into_iter().next()?;
    Some(Ok(Waived { step, group: *group, failed_at }))
}
