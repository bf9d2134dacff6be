//! The gate: whether an approved plan may be executed, and if not, for whom or what it waits.
//!
//! Only this module makes an [`ApprovedPlan`]: executing without approval does not compile.

mod quorum;
mod skip;
mod window;

pub use quorum::{Clause, Rule};
pub use skip::SkipGrant;
pub use window::Window;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tidegate_schema::finding::Finding;
use tidegate_schema::policy::ChangeWindow;

use crate::approval::{ApprovalScope, VerifiedApproval, VerifiedMerge};
use crate::digest::Digest;
use crate::plan::{Plan, Risk, TaskKind};
use crate::site::ValidSite;

/// The rules that count: those of the last accepted revision, never of the one that is being approved.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatePolicy {
    /// Whether the site says at all who approves. Without a policy nothing may be executed.
    pub has_policy: bool,
    /// All rules that match a plan must be met. Without any, a plan without risks is open at once.
    pub rules: Vec<Rule>,
    /// Members of each group, by name of the group.
    pub groups: BTreeMap<String, BTreeSet<String>>,
    /// E-mail addresses of each person, by name: who wrote a commit does not approve it.
    pub emails: BTreeMap<String, BTreeSet<String>>,
    /// When changes may start.
    pub windows: Vec<Window>,
    /// By which grants somebody may skip what failed. What was recorded before there were such names nobody.
    #[serde(default)]
    pub skips: Vec<SkipGrant>,
}

impl GatePolicy {
    /// The rules that a site's documents state.
    pub fn of(site: &ValidSite) -> Self {
        let lower = |emails: &[String]| emails.iter().map(|it| it.to_ascii_lowercase()).collect();
        let members = |group: &String| {
            let members = site.members(group).into_iter().map(ToOwned::to_owned).collect();
            (group.clone(), members)
        };
        let window = |(name, spec): (&str, &ChangeWindow)| Window {
            name: name.to_owned(),
            spec: spec.clone(),
        };
        Self {
            has_policy: site.has_approval_policy(),
            rules: site
                .approval_rules()
                .map(|(policy, index, rule)| {
                    let merge = site.approval_policies.get(policy).and_then(|it| it.merge.as_ref());
                    Rule::of(format!("{policy}[{index}]"), rule, merge)
                })
                .collect(),
            groups: site.groups.keys().map(members).collect(),
            emails: site.persons().map(|(name, it)| (name.to_owned(), lower(&it.emails))).collect(),
            windows: site.windows().map(window).collect(),
            skips: SkipGrant::all(site),
        }
    }
}

/// A plan that may be executed. It has no public constructor.
#[derive(Clone, Debug)]
pub struct ApprovedPlan {
    plan: Plan,
    /// Worked out once: the digest of a large plan takes a while, and each step asks for it.
    id: Digest,
    approvals: Vec<String>,
}

impl ApprovedPlan {
    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The plan's id.
    pub fn id(&self) -> &Digest {
        &self.id
    }

    /// Names of the approvals that opened the gate; consumed by this execution.
    pub fn approvals(&self) -> &[String] {
        &self.approvals
    }
}

/// The gate's answer for a plan.
#[derive(Clone, Debug)]
pub enum Gate {
    /// It may be executed.
    Open(Box<ApprovedPlan>),
    /// It may not yet: what is missing, and when time alone may change that.
    Waiting {
        /// One entry per thing that is missing.
        needs: Vec<Finding>,
        /// When to ask again without any other reason.
        next: Option<Timestamp>,
    },
    /// It may not, until its digest changes.
    Closed(Vec<Finding>),
}

/// The gate's answers for a running release, asked anew before everything that it opens.
#[derive(Clone, Debug, PartialEq)]
pub struct ReleaseGate {
    /// Whether the next wave may start: approvals, and all that holds a group as well.
    pub wave: WaveGate,
    /// What holds back the next step or group of a wave that has started. What was approved in time is not asked again.
    pub hold: Hold,
}

/// The gate's answer for one wave of a running release.
#[derive(Clone, Debug, PartialEq)]
pub enum WaveGate {
    /// It may start.
    Open {
        /// Names of the approvals that opened it.
        approvals: Vec<String>,
    },
    /// It may not yet.
    Waiting(Hold),
}

/// Why something may not start now: a reject, a freeze, a closed window, missing approvals. Without needs it may.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hold {
    /// One entry per thing that is missing.
    pub needs: Vec<Finding>,
    /// When to ask again without any other reason.
    pub next: Option<Timestamp>,
}

/// What the gate knows beside the plan and the policy.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// Verified approvals, of this plan or others.
    pub approvals: &'a [VerifiedApproval],
    /// Verified merges since the accepted revision, of this plan or others.
    pub merges: &'a [VerifiedMerge],
    /// Names of approvals that an earlier execution consumed.
    pub consumed: &'a BTreeSet<String>,
    /// Why nothing may start on this site: an operator's freeze, a rewritten history. Empty otherwise.
    pub freezes: &'a [Finding],
    /// When this very plan was last given up (rolled back, cancelled): approvals before that do not count, and without
    /// rules the plan stays held until somebody asks for it again.
    pub given_up_at: Option<Timestamp>,
    /// The instant.
    pub now: Timestamp,
}

/// Whether the plan may be executed now.
pub fn gate(plan: Plan, policy: &GatePolicy, evidence: Evidence<'_>) -> Gate {
    let id = plan.id();
    let rejected: Vec<Finding> = of_plan(&id, evidence)
        .filter(|approval| !approval.approves)
        .map(|approval| {
            Finding::error("APPROVAL/REJECTED")
                .with("person", &approval.person)
                .with("reason", &approval.reason)
        })
        .collect();
    if !rejected.is_empty() {
        return Gate::Closed(rejected);
    }
    let first = plan.content.waves.first().map_or("", |wave| wave.name.as_str());
    match needs(&plan, &id, first, policy, evidence) {
        Ok(approvals) => Gate::Open(Box::new(ApprovedPlan { plan, id, approvals })),
        Err(Hold { needs, next }) => Gate::Waiting { needs, next },
    }
}

/// What of a running release may start now. Approvals that this release has consumed count for its waves.
pub fn release_gate(
    approved: &ApprovedPlan,
    wave: usize,
    policy: &GatePolicy,
    evidence: Evidence<'_>,
) -> ReleaseGate {
    let ApprovedPlan { plan, id, .. } = approved;
    let mut hold = hold(policy, evidence);
    let rejects = of_plan(id, evidence).filter(|approval| !approval.approves);
    hold.needs.extend(rejects.map(|approval| {
        Finding::note("APPROVAL/REJECTED")
            .with("person", &approval.person)
            .with("reason", &approval.reason)
    }));
    let wave = match plan.content.waves.get(wave) {
        None => WaveGate::Open { approvals: Vec::new() },
        Some(_) if !hold.needs.is_empty() => WaveGate::Waiting(hold.clone()),
        Some(wave) => match needs(plan, id, &wave.name, policy, evidence) {
            Ok(approvals) => WaveGate::Open { approvals },
            Err(needs) => WaveGate::Waiting(needs),
        },
    };
    ReleaseGate { wave, hold }
}

/// What holds back everything, whatever was approved: freezes and closed windows.
fn hold(policy: &GatePolicy, evidence: Evidence<'_>) -> Hold {
    let mut hold = Hold { needs: evidence.freezes.to_vec(), next: None };
    for window in &policy.windows {
        if let Some((need, opens)) = window.closed_at(evidence.now) {
            hold.needs.push(need);
            hold.next = [hold.next, opens].into_iter().flatten().min();
        }
    }
    hold
}

/// Takes up a release after a restart: its gate was open, and the journal says so.
///
/// Executing again is safe because every effect is recomputed; starting a *new* release this way is not possible, as the
/// journal must name the same plan and approvals.
pub fn reopened(plan: Plan, opened: &Digest, approvals: Vec<String>) -> Option<ApprovedPlan> {
    let id = plan.id();
    (id == *opened).then_some(ApprovedPlan { plan, id, approvals })
}

fn of_plan<'a>(id: &Digest, evidence: Evidence<'a>) -> impl Iterator<Item = &'a VerifiedApproval> {
    let id = id.clone();
    evidence.approvals.iter().filter(move |approval| approval.plan == id.as_str())
}

fn needs(
    plan: &Plan,
    id: &Digest,
    wave: &str,
    policy: &GatePolicy,
    evidence: Evidence<'_>,
) -> Result<Vec<String>, Hold> {
    let mut hold = hold(policy, evidence);
    let needs = &mut hold.needs;
    let mut used = BTreeSet::new();
    let usable = usable(id, wave, policy, evidence);
    if !is_preapproved(plan) {
        let mut unmet = Vec::new();
        for rule in policy.rules.iter().filter(|rule| rule.matches(plan)) {
            let counted: Vec<&VerifiedApproval> = usable
                .iter()
                .copied()
                .filter(|it| rule.counts(it, plan, policy, evidence.now))
                .collect();
            let persons = counted.iter().map(|approval| approval.person.as_str()).collect();
            let merge = merge_of(rule, id, policy, evidence);
            let merged_by = merge.and_then(|merge| rule.trusted(merge));
            match rule.missing(&persons, merged_by, &policy.groups) {
                None => {
                    used.extend(counted.iter().map(|approval| approval.name.clone()));
                    used.extend(merge.map(VerifiedMerge::name));
                }
                Some(missing) => {
                    // Else it would look as if those who approved it before had never done so.
                    if evidence.given_up_at.is_some() && unmet.is_empty() {
                        unmet.push(Finding::note("APPROVAL/HELD"));
                    }
                    unmet.push(missing);
                }
            }
        }
        if !unmet.is_empty() {
            unmet.extend(uncounted(plan, id, policy, evidence));
        }
        needs.extend(unmet);
        if !policy.has_policy {
            needs.push(Finding::note("APPROVAL/NO_POLICY"));
        } else if policy.rules.is_empty() {
            needs.extend(unruled(plan, &usable, evidence));
        }
    }
    if hold.needs.is_empty() { Ok(used.into_iter().collect()) } else { Err(hold) }
}

/// The merge that counts for a rule: of this plan, by somebody whom the rule's policy trusts, in time, and not used up.
fn merge_of<'a>(
    rule: &Rule,
    id: &Digest,
    policy: &GatePolicy,
    evidence: Evidence<'a>,
) -> Option<&'a VerifiedMerge> {
    evidence.merges.iter().find(|merge| {
        merge.plan == id.as_str()
            && rule.trusted(merge).is_some()
            && !rule.excludes_merge(merge, policy)
            && !rule.is_too_old(merge.at, evidence.now)
            && !evidence.consumed.contains(&merge.name())
            && evidence.given_up_at.is_none_or(|at| merge.at > at)
    })
}

/// Merges that somebody trusted made without their counting, and why.
fn uncounted_merges(
    plan: &Plan,
    id: &Digest,
    policy: &GatePolicy,
    evidence: Evidence<'_>,
) -> Vec<Finding> {
    let why = |merge: &VerifiedMerge| {
        let rules = || policy.rules.iter().filter(|rule| rule.matches(plan));
        let by = rules().find_map(|rule| rule.trusted(merge))?;
        let finding = |code: &'static str| Finding::note(code).with("person", by);
        if evidence.consumed.contains(&merge.name()) {
            return None;
        }
        if merge.plan != id.as_str() {
            let short = merge.plan.trim_start_matches("sha256:").get(..12)?;
            let commit = merge.commit.get(..12)?;
            let finding = finding("APPROVAL/MERGE_STALE").with("plan", short);
            return Some(finding.with("commit", commit));
        }
        if rules().any(|rule| rule.is_too_old(merge.at, evidence.now)) {
            return Some(finding("APPROVAL/EXPIRED"));
        }
        let rule = rules().find(|rule| rule.excludes_merge(merge, policy))?;
        Some(finding("APPROVAL/BY_AUTHOR").with("rule", &rule.name))
    };
    evidence.merges.iter().filter_map(why).collect()
}

/// Who said yes without its counting, and why: of another plan, too late, or by an author. Said only while something is
/// missing.
fn uncounted(
    plan: &Plan,
    id: &Digest,
    policy: &GatePolicy,
    evidence: Evidence<'_>,
) -> Vec<Finding> {
    let is_open = |approval: &&VerifiedApproval| {
        approval.approves
            && !evidence.consumed.contains(&approval.name)
            && policy.emails.contains_key(&approval.person)
            && approval.scope.is_of_plan()
    };
    let why = |approval: &VerifiedApproval| {
        let finding = |code: &'static str| Finding::note(code).with("person", &approval.person);
        let rules = || policy.rules.iter().filter(|rule| rule.matches(plan));
        let is_in_time = approval.is_in_time(evidence.now);
        if approval.plan != id.as_str() {
            // What is too old as well needs no word any more.
            let short = approval.plan.trim_start_matches("sha256:").get(..12)?;
            return is_in_time.then(|| finding("APPROVAL/STALE").with("plan", short));
        }
        if !is_in_time || rules().any(|rule| rule.is_too_old(approval.created_at, evidence.now)) {
            return Some(finding("APPROVAL/EXPIRED"));
        }
        let rule = rules().find(|rule| rule.excludes(&approval.person, plan, policy))?;
        Some(finding("APPROVAL/BY_AUTHOR").with("rule", &rule.name))
    };
    let mut said: Vec<Finding> =
        evidence.approvals.iter().filter(is_open).filter_map(why).collect();
    said.extend(uncounted_merges(plan, id, policy, evidence));
    said.sort();
    said.dedup();
    said
}

/// Without rules only what carries no risk goes by itself; and never again what was just given up.
fn unruled(plan: &Plan, usable: &[&VerifiedApproval], evidence: Evidence<'_>) -> Vec<Finding> {
    if !usable.is_empty() {
        return Vec::new();
    }
    if evidence.given_up_at.is_some() {
        return vec![Finding::note("APPROVAL/HELD")];
    }
    let risks: Vec<String> = plan.content.risks.iter().map(|risk| risk.name().to_owned()).collect();
    if risks.is_empty() {
        return Vec::new();
    }
    vec![Finding::note("APPROVAL/RISK_NEEDS_ONE").with("risks", risks.join(", "))]
}

/// Approvals of this plan and wave that are in time and not used up.
fn usable<'a>(
    id: &Digest,
    wave: &str,
    policy: &GatePolicy,
    evidence: Evidence<'a>,
) -> Vec<&'a VerifiedApproval> {
    let is_known = |approval: &&VerifiedApproval| policy.emails.contains_key(&approval.person);
    let in_time = |approval: &&VerifiedApproval| {
        approval.is_in_time(evidence.now)
            && evidence.given_up_at.is_none_or(|at| approval.created_at > at)
    };
    let in_scope = |approval: &&VerifiedApproval| match &approval.scope {
        ApprovalScope::Plan => true,
        ApprovalScope::Wave(name) => name == wave,
        ApprovalScope::Confirm { .. } | ApprovalScope::Skip { .. } => false,
    };
    of_plan(id, evidence)
        .filter(|approval| approval.approves && !evidence.consumed.contains(&approval.name))
        .filter(is_known)
        .filter(in_time)
        .filter(in_scope)
        .collect()
}

/// The end of a grant was approved with the grant: taking back what has expired asks nobody again.
fn is_preapproved(plan: &Plan) -> bool {
    let is_harmless = plan.content.risks.iter().all(|risk| *risk == Risk::LosesPermission);
    let tasks = &plan.content.tasks;
    let is_expiry = |kind: TaskKind| kind == TaskKind::Expire;
    is_harmless && !tasks.is_empty() && tasks.iter().all(|task| is_expiry(task.kind))
}

/// When an approval made at `created_at` is too old, if the rule limits that.
fn limit(created_at: Timestamp, seconds: Option<u64>) -> Option<Timestamp> {
    let seconds = SignedDuration::from_secs(i64::try_from(seconds?).unwrap_or(i64::MAX));
    created_at.checked_add(seconds).ok()
}

#[cfg(test)]
mod tests;
