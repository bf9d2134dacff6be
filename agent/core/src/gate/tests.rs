//! The gate against the attacks of delivery.md C.5 that it can see.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use tidegate_schema::policy::MergeTrust;

use super::*;
use crate::change::ChangeSet;
use crate::plan::{PlanContent, ReleaseKind, Task, Wave};

fn plan(site: &str, risks: &[Risk]) -> Plan {
    let wave = |name: &str| Wave {
        name: name.to_owned(),
        clusters: vec!["room-a".to_owned()],
        bake_seconds: 0,
        confirm: false,
        steps: Vec::new(),
    };
    Plan {
        revision: "c1".to_owned(),
        authors: vec!["Li.Na@bank.example".to_owned()],
        content: PlanContent {
            site: site.to_owned(),
            kind: ReleaseKind::Release,
            parent: None,
            desired: Digest::of_bytes(b"desired"),
            policies: Digest::of_bytes(b"policies"),
            clusters: BTreeMap::new(),
            images: BTreeMap::new(),
            tasks: Vec::new(),
            risks: risks.iter().copied().collect(),
            changes: ChangeSet::default(),
            waves: vec![wave("gray"), wave("all")],
        },
    }
}

fn policy() -> GatePolicy {
    let names = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let clause = |group: &str, count| Clause { group: group.to_owned(), count };
    GatePolicy {
        has_policy: true,
        rules: vec![
            Rule {
                name: "production[0]".to_owned(),
                quorum: vec![clause("ops", 1), clause("business", 1)],
                excludes_author: true,
                approve_by_seconds: Some(24 * 3600),
                ..Rule::default()
            },
            Rule {
                name: "production[1]".to_owned(),
                risks: BTreeSet::from([Risk::Destructive]),
                quorum: vec![clause("ops", 2)],
                ..Rule::default()
            },
        ],
        groups: BTreeMap::from([
            ("ops".to_owned(), names(&["li-na", "wang-wei", "chen-jie"])),
            ("business".to_owned(), names(&["zhao-min"])),
        ]),
        emails: ["li-na", "wang-wei", "chen-jie", "zhao-min"]
            .into_iter()
            .map(|name| {
                (name.to_owned(), names(&[&format!("{}@bank.example", name.replace('-', "."))]))
            })
            .collect(),
        ..GatePolicy::default()
    }
}

const NOW: &str = "2026-11-21T10:00:00Z";

fn approval(plan: &Plan, person: &str) -> VerifiedApproval {
    VerifiedApproval {
        name: format!("{person}-yes"),
        plan: plan.id().to_string(),
        scope: ApprovalScope::Plan,
        approves: true,
        person: person.to_owned(),
        key: format!("SHA256:{person}"),
        reason: "CHG-1".to_owned(),
        created_at: "2026-11-21T09:00:00Z".parse().unwrap(),
        approve_by: None,
        execute_by: None,
    }
}

fn ask(plan: &Plan, approvals: &[VerifiedApproval]) -> Gate {
    ask_at(plan, approvals, NOW, &BTreeSet::new(), None)
}

fn ask_at(
    plan: &Plan,
    approvals: &[VerifiedApproval],
    now: &str,
    consumed: &BTreeSet<String>,
    given_up_at: Option<Timestamp>,
) -> Gate {
    let now = now.parse().unwrap();
    let evidence = Evidence { approvals, merges: &[], consumed, freezes: &[], given_up_at, now };
    gate(plan.clone(), &policy(), evidence)
}

fn needs(gate: Gate) -> Vec<String> {
    match gate {
        Gate::Waiting { needs, .. } => needs.iter().map(|need| need.code.to_string()).collect(),
        Gate::Open(_) => vec!["OPEN".to_owned()],
        Gate::Closed(_) => vec!["CLOSED".to_owned()],
    }
}

#[test]
fn two_persons_of_two_groups_open_it_and_their_approvals_are_named() {
    let plan = plan("hz", &[]);
    let approvals = [approval(&plan, "wang-wei"), approval(&plan, "zhao-min")];
    let Gate::Open(approved) = ask(&plan, &approvals) else { panic!("closed") };
    assert_eq!(approved.approvals(), ["wang-wei-yes", "zhao-min-yes"]);
}

#[test]
fn the_author_does_not_count_however_the_address_is_written() {
    let plan = plan("hz", &[]);
    let approvals = [approval(&plan, "li-na"), approval(&plan, "zhao-min")];
    assert_eq!(needs(ask(&plan, &approvals)), ["APPROVAL/QUORUM_UNMET", "APPROVAL/BY_AUTHOR"]);
}

#[test]
fn an_approval_of_another_plan_or_site_does_not_count() {
    let other = plan("sz", &[]);
    let approvals = [approval(&other, "wang-wei"), approval(&other, "zhao-min")];
    assert_eq!(
        needs(ask(&plan("hz", &[]), &approvals)),
        ["APPROVAL/QUORUM_UNMET", "APPROVAL/STALE", "APPROVAL/STALE"],
        "and both are told so"
    );
}

#[test]
fn one_person_with_two_keys_counts_once() {
    let plan = plan("hz", &[Risk::Destructive]);
    let second = VerifiedApproval {
        name: "second".to_owned(),
        key: "other".to_owned(),
        ..approval(&plan, "wang-wei")
    };
    let approvals = [approval(&plan, "wang-wei"), second, approval(&plan, "zhao-min")];
    assert_eq!(needs(ask(&plan, &approvals)), ["APPROVAL/QUORUM_UNMET"]);
}

#[test]
fn a_consumed_approval_does_not_count_again() {
    let plan = plan("hz", &[]);
    let approvals = [approval(&plan, "wang-wei"), approval(&plan, "zhao-min")];
    let consumed = BTreeSet::from(["wang-wei-yes".to_owned()]);
    assert_eq!(needs(ask_at(&plan, &approvals, NOW, &consumed, None)), ["APPROVAL/QUORUM_UNMET"]);
}

#[test]
fn approvals_grow_old_by_the_rule_and_by_themselves() {
    let plan = plan("hz", &[]);
    let approvals = [approval(&plan, "wang-wei"), approval(&plan, "zhao-min")];
    let next_day = "2026-11-22T09:00:01Z";
    assert_eq!(
        needs(ask_at(&plan, &approvals, next_day, &BTreeSet::new(), None)),
        ["APPROVAL/QUORUM_UNMET", "APPROVAL/EXPIRED", "APPROVAL/EXPIRED"]
    );
    let short = VerifiedApproval {
        execute_by: Some("2026-11-21T09:59:59Z".parse().unwrap()),
        ..approval(&plan, "wang-wei")
    };
    assert_eq!(
        needs(ask(&plan, &[short, approval(&plan, "zhao-min")])),
        ["APPROVAL/QUORUM_UNMET", "APPROVAL/EXPIRED"]
    );
}

#[test]
fn a_stranger_does_not_count_though_the_signature_was_good() {
    let plan = plan("hz", &[]);
    let approvals = [approval(&plan, "mallory"), approval(&plan, "zhao-min")];
    assert_eq!(needs(ask(&plan, &approvals)), ["APPROVAL/QUORUM_UNMET"]);
}

#[test]
fn any_reject_closes_it() {
    let plan = plan("hz", &[]);
    let no =
        VerifiedApproval { approves: false, name: "no".to_owned(), ..approval(&plan, "chen-jie") };
    let approvals = [approval(&plan, "wang-wei"), approval(&plan, "zhao-min"), no];
    assert_eq!(needs(ask(&plan, &approvals)), ["CLOSED"]);
}

#[test]
fn every_rule_that_matches_must_be_met() {
    let plan = plan("hz", &[Risk::Destructive]);
    let mut approvals = vec![approval(&plan, "wang-wei"), approval(&plan, "zhao-min")];
    assert_eq!(needs(ask(&plan, &approvals)), ["APPROVAL/QUORUM_UNMET"]);
    approvals.push(approval(&plan, "chen-jie"));
    assert_eq!(needs(ask(&plan, &approvals)), ["OPEN"]);
}

#[test]
fn a_plan_that_was_given_up_needs_newer_approvals() {
    let plan = plan("hz", &[]);
    let approvals = [approval(&plan, "wang-wei"), approval(&plan, "zhao-min")];
    let given_up = Some("2026-11-21T09:30:00Z".parse().unwrap());
    assert_eq!(
        needs(ask_at(&plan, &approvals, NOW, &BTreeSet::new(), given_up)),
        ["APPROVAL/HELD", "APPROVAL/QUORUM_UNMET"]
    );
}

#[test]
fn an_approval_of_one_wave_opens_only_that_wave() {
    let plan = plan("hz", &[]);
    let scoped = |person| VerifiedApproval {
        scope: ApprovalScope::Wave("gray".to_owned()),
        ..approval(&plan, person)
    };
    let approvals = [scoped("wang-wei"), scoped("zhao-min")];
    assert_eq!(needs(ask(&plan, &approvals)), ["OPEN"]);
    let consumed = BTreeSet::new();
    let evidence = Evidence {
        approvals: &approvals,
        merges: &[],
        consumed: &consumed,
        freezes: &[],
        given_up_at: None,
        now: NOW.parse().unwrap(),
    };
    let approved = reopened(plan.clone(), &plan.id(), Vec::new()).unwrap();
    let answer = release_gate(&approved, 1, &policy(), evidence);
    assert!(matches!(answer.wave, WaveGate::Waiting(_)));
    assert!(answer.hold.needs.is_empty(), "what has started goes on");
}

#[test]
fn what_somebody_says_of_a_running_release_opens_no_gate() {
    let (plan, other) = (plan("hz", &[]), plan("elsewhere", &[]));
    let (release, step) = ("r1".to_owned(), "all/room-a/iam/core".to_owned());
    for scope in [
        ApprovalScope::Confirm { release: release.clone(), step: step.clone() },
        ApprovalScope::Skip { release, step, group: None },
    ] {
        let said =
            |plan, person| VerifiedApproval { scope: scope.clone(), ..approval(plan, person) };
        let own = [said(&plan, "wang-wei"), said(&plan, "zhao-min")];
        assert_eq!(needs(ask(&plan, &own)), ["APPROVAL/QUORUM_UNMET"], "{scope:?}");
        // Nor is it an approval of another plan that somebody would have to give anew.
        let others = [said(&other, "wang-wei"), said(&other, "zhao-min")];
        assert_eq!(needs(ask(&plan, &others)), ["APPROVAL/QUORUM_UNMET"], "{scope:?}");
    }
}

#[test]
fn without_rules_only_a_plan_without_risks_goes_by_itself() {
    let none = GatePolicy { has_policy: true, emails: policy().emails, ..GatePolicy::default() };
    let consumed = BTreeSet::new();
    let evidence = Evidence {
        approvals: &[],
        merges: &[],
        consumed: &consumed,
        freezes: &[],
        given_up_at: None,
        now: NOW.parse().unwrap(),
    };
    assert_eq!(needs(gate(plan("dev", &[]), &none, evidence)), ["OPEN"]);
    assert_eq!(
        needs(gate(plan("dev", &[Risk::Destructive]), &none, evidence)),
        ["APPROVAL/RISK_NEEDS_ONE"]
    );
    let given_up = Evidence { given_up_at: Some(Timestamp::UNIX_EPOCH), ..evidence };
    assert_eq!(needs(gate(plan("dev", &[]), &none, given_up)), ["APPROVAL/HELD"]);
}

#[test]
fn the_end_of_a_grant_asks_nobody_again_but_nothing_rides_along() {
    let task = |kind| Task {
        kind,
        subject: "g".to_owned(),
        app: None,
        scaling_group: None,
        clusters: Vec::new(),
        from: String::new(),
        to: String::new(),
        operation: None,
    };
    let mut expiry = plan("hz", &[Risk::LosesPermission]);
    expiry.content.tasks = vec![task(TaskKind::Expire)];
    assert_eq!(needs(ask(&expiry, &[])), ["OPEN"]);
    expiry.content.tasks.push(task(TaskKind::Deploy));
    assert_eq!(needs(ask(&expiry, &[])), ["APPROVAL/QUORUM_UNMET"]);
}

#[test]
fn a_closed_window_waits_and_says_when_it_opens() {
    let plan = plan("hz", &[]);
    let spec = serde_json::json!({"timezone": "Asia/Shanghai", "allow": ["19:00-07:00"]});
    let window = Window { name: "nights".to_owned(), spec: serde_json::from_value(spec).unwrap() };
    let approvals = [approval(&plan, "wang-wei"), approval(&plan, "zhao-min")];
    let consumed = BTreeSet::new();
    let evidence = Evidence {
        approvals: &approvals,
        merges: &[],
        consumed: &consumed,
        freezes: &[],
        given_up_at: None,
        now: NOW.parse().unwrap(),
    };
    let policy = GatePolicy { windows: vec![window], ..policy() };
    let Gate::Waiting { needs, next } = gate(plan.clone(), &policy, evidence) else {
        panic!("open")
    };
    assert_eq!(needs.first().map(|need| need.code.as_ref()), Some("APPROVAL/WINDOW_CLOSED"));
    assert_eq!(next, Some("2026-11-21T11:00:00Z".parse().unwrap()));
}

#[test]
fn without_any_policy_nothing_goes() {
    let consumed = BTreeSet::new();
    let evidence = Evidence {
        approvals: &[],
        merges: &[],
        consumed: &consumed,
        freezes: &[],
        given_up_at: None,
        now: NOW.parse().unwrap(),
    };
    assert_eq!(
        needs(gate(plan("hz", &[]), &GatePolicy::default(), evidence)),
        ["APPROVAL/NO_POLICY"]
    );
}

/// The policy with a forge that stands for the business, as the documents of a site would make it.
fn trusting() -> GatePolicy {
    let trust = |names: &[&str], groups: &[&str]| -> MergeTrust {
        serde_json::from_value(serde_json::json!({"trust": names, "standsFor": groups})).unwrap()
    };
    let mut policy = policy();
    policy.rules[0].merge = Some(trust(&["forge", "zhao-min"], &["business"]));
    policy
}

fn merge(plan: &Plan, by: &str) -> VerifiedMerge {
    VerifiedMerge {
        commit: "abcdef0123456789".to_owned(),
        plan: plan.id().to_string(),
        by: vec![by.to_owned()],
        at: "2026-11-21T09:30:00Z".parse().unwrap(),
        authors: vec!["li.na@bank.example".to_owned()],
    }
}

/// What the gate says to these merges and to wang-wei's approval, for IT operations.
fn ask_merged(
    plan: &Plan,
    policy: &GatePolicy,
    merges: &[VerifiedMerge],
    consumed: &[&str],
    now: &str,
) -> Gate {
    let consumed = consumed.iter().map(|name| (*name).to_owned()).collect();
    let evidence = Evidence {
        approvals: &[approval(plan, "wang-wei")],
        merges,
        consumed: &consumed,
        freezes: &[],
        given_up_at: None,
        now: now.parse().unwrap(),
    };
    gate(plan.clone(), policy, evidence)
}

#[test]
fn a_trusted_merge_of_this_plan_is_one_yes_of_the_group_that_it_stands_for() {
    let plan = plan("hz", &[]);
    let policy = trusting();
    let merges = [merge(&plan, "forge")];
    let Gate::Open(approved) = ask_merged(&plan, &policy, &merges, &[], NOW) else {
        panic!("closed")
    };
    assert_eq!(approved.approvals(), ["merge-abcdef0123456789", "wang-wei-yes"], "it is used up");
    let needed = |merges: &[VerifiedMerge], consumed: &[&str], now: &str| {
        needs(ask_merged(&plan, &policy, merges, consumed, now))
    };
    assert_eq!(needed(&[], &[], NOW), ["APPROVAL/QUORUM_UNMET"]);
    let used = ["merge-abcdef0123456789"];
    assert_eq!(needed(&merges, &used, NOW), ["APPROVAL/QUORUM_UNMET"], "once");
    assert_eq!(
        needed(&merges, &[], "2026-11-22T09:45:00Z"),
        ["APPROVAL/QUORUM_UNMET", "APPROVAL/EXPIRED", "APPROVAL/EXPIRED"],
        "for a day, as the rule says"
    );
    let stranger = [merge(&plan, "somebody")];
    assert_eq!(needed(&stranger, &[], NOW), ["APPROVAL/QUORUM_UNMET"], "of whom it trusts");
    let old =
        [VerifiedMerge { plan: self::plan("sz", &[]).id().to_string(), ..merge(&plan, "forge") }];
    assert_eq!(needed(&old, &[], NOW), ["APPROVAL/QUORUM_UNMET", "APPROVAL/MERGE_STALE"]);
}

#[test]
fn who_merges_what_they_wrote_stands_for_nobody() {
    let plan = plan("hz", &[]);
    let policy = trusting();
    let own = VerifiedMerge {
        authors: vec!["Zhao.Min@bank.example".to_owned()],
        ..merge(&plan, "zhao-min")
    };
    assert_eq!(
        needs(ask_merged(&plan, &policy, &[own], &[], NOW)),
        ["APPROVAL/QUORUM_UNMET", "APPROVAL/BY_AUTHOR"]
    );
    let of_others = merge(&plan, "zhao-min");
    assert_eq!(needs(ask_merged(&plan, &policy, &[of_others], &[], NOW)), ["OPEN"]);
}

#[test]
fn a_merge_takes_one_seat_of_its_group_and_none_in_rules_of_other_policies() {
    let plan = plan("hz", &[Risk::Destructive]);
    let merges = [merge(&plan, "forge")];
    let mut policy = trusting();
    assert_eq!(
        needs(ask_merged(&plan, &policy, &merges, &[], NOW)),
        ["APPROVAL/QUORUM_UNMET"],
        "the second rule wants two of IT operations"
    );
    let mut of_ops = policy.rules[0].merge.clone().unwrap();
    of_ops.stands_for = vec!["ops".parse().unwrap()];
    policy.rules[1].merge = Some(of_ops);
    assert_eq!(
        needs(ask_merged(&plan, &policy, &merges, &[], NOW)),
        ["OPEN"],
        "one by the merge, one by wang-wei"
    );
    policy.rules[1].quorum[0].count = 3;
    assert_eq!(needs(ask_merged(&plan, &policy, &merges, &[], NOW)), ["APPROVAL/QUORUM_UNMET"]);
}
