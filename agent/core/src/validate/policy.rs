//! Policies: whether quorums can be met, whether groups are possible, and which policy counts where.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_schema::Document;
use tidegate_schema::app::{AppKind, Workload};
use tidegate_schema::finding::Finding;
use tidegate_schema::policy::{ApprovalRule, GroupStrategy, Groups};
use tidegate_schema::scalar::Name;
use tidegate_schema::site::Tier;

use super::documents::Documents;
use super::references::unknown;
use crate::group::{Strategy, groups, remarks};
use crate::site::ValidSite;

/// Checks policies by themselves.
pub(super) fn check(documents: &Documents, findings: &mut Vec<Finding>) {
    let mut targets = BTreeMap::new();
    for (document, policy) in documents.rollout_policies() {
        let Some(target) = &policy.applies_to else { continue };
        let key = (target.product.clone(), target.app.clone());
        if let Some(other) = targets.insert(key, document.place("spec.appliesTo")) {
            let finding =
                Finding::error("ROLLOUT/TARGET_TWICE").at(document.place("spec.appliesTo"));
            findings.push(finding.with("other", other));
        }
    }
    let tiers: Vec<Tier> = documents.sites().map(|(_, site)| site.tier).collect();
    let mut has_policy = false;
    for (document, policy) in documents.approval_policies() {
        let wanted = policy.applies_to.iter().flat_map(|target| &target.tiers);
        let wanted: Vec<&Tier> = wanted.collect();
        has_policy |= wanted.is_empty() || tiers.iter().any(|tier| wanted.contains(&tier));
        for (index, name) in policy.merge.iter().flat_map(|merge| &merge.trust).enumerate() {
            let persons = documents.persons().map(|(it, person)| (it.name(), &person.keys));
            let accounts = documents.service_accounts().map(|(it, own)| (it.name(), &own.keys));
            let own: Vec<_> = persons.chain(accounts).filter(|(it, _)| *it == name).collect();
            // Whom nobody knows is a finding already.
            if !own.is_empty() && own.iter().all(|(_, keys)| keys.is_empty()) {
                let finding = Finding::warning("ROLLOUT/MERGE_TRUST_WITHOUT_KEY");
                let finding = finding.at(document.place(&format!("spec.merge.trust[{index}]")));
                findings.push(finding.with("policy", document.name()).with("name", name));
            }
        }
        for (index, rule) in policy.rules.iter().enumerate() {
            quorum(documents, document, index, rule, findings);
        }
    }
    if !has_policy && let Some((document, _)) = documents.sites().next() {
        findings
            .push(Finding::warning("ROLLOUT/NO_APPROVAL_POLICY").at(document.place("spec.tier")));
    }
}

/// A quorum must be satisfiable by distinct persons: each clause by persons of its own.
fn quorum(
    documents: &Documents,
    document: &Document,
    index: usize,
    rule: &ApprovalRule,
    findings: &mut Vec<Finding>,
) {
    let members = |group: &str| -> BTreeSet<&str> {
        let found = documents.groups().find(|(document, _)| *document.name() == *group);
        let members = found.map(|(_, group)| group.members.as_slice()).unwrap_or_default();
        let counts = |name: &str| {
            documents
                .persons()
                .any(|(document, person)| *document.name() == *name && !person.frozen)
        };
        members.iter().map(Name::as_str).filter(|name| counts(name)).collect()
    };
    let seats: Vec<BTreeSet<&str>> = rule
        .quorum
        .iter()
        .flat_map(|clause| {
            let count = usize::try_from(clause.count).unwrap_or(usize::MAX).min(1_000);
            std::iter::repeat_n(members(clause.group.as_str()), count)
        })
        .collect();
    let filled = matching(&seats);
    if filled < seats.len() {
        findings.push(
            Finding::error("ROLLOUT/QUORUM_UNSATISFIABLE")
                .at(document.place(&format!("spec.rules[{index}].quorum")))
                .with("wanted", seats.len())
                .with("possible", filled),
        );
    }
}

/// How many seats can be taken by persons of whom each takes one only (bipartite matching by augmenting paths).
fn matching(seats: &[BTreeSet<&str>]) -> usize {
    let mut taken: BTreeMap<&str, usize> = BTreeMap::new();
    (0..seats.len()).filter(|seat| seated(*seat, seats, &mut taken, &mut BTreeSet::new())).count()
}

fn seated<'a>(
    seat: usize,
    seats: &[BTreeSet<&'a str>],
    taken: &mut BTreeMap<&'a str, usize>,
    tried: &mut BTreeSet<&'a str>,
) -> bool {
    for person in seats.get(seat).into_iter().flatten() {
        if !tried.insert(person) {
            continue;
        }
        let current = taken.get(person).copied();
        if current.is_none_or(|other| seated(other, seats, taken, tried)) {
            taken.insert(person, seat);
            return true;
        }
    }
    false
}

/// Custom groups must be possible for the pods that they are for.
pub(super) fn check_groups(site: &ValidSite, documents: &Documents, findings: &mut Vec<Finding>) {
    for (document, policy) in documents.rollout_policies() {
        if let Some(target) = &policy.applies_to
            && let Some(app) = &target.app
            && let Some(deployment) = site.deployment(target.product.as_str())
            && !deployment.apps().contains(&app.as_str())
        {
            let known = deployment.apps();
            findings.push(unknown(
                document.place("spec.appliesTo.app"),
                "app",
                app.as_str(),
                known,
            ));
        }
    }
    for deployment in site.deployments.values() {
        for placed in deployment.placements.values().flat_map(|placement| &placement.apps) {
            if placed.app.kind != AppKind::Standard || placed.app.workload == Workload::DaemonSet {
                continue;
            }
            let app = placed.app.name.as_str();
            let Some(own) = site.rollout_policy(&deployment.product, Some(app)).groups else {
                continue;
            };
            let mut documents = documents.rollout_policies();
            let place = documents
                .find(|(_, policy)| policy.groups.as_ref() == Some(&own))
                .map(|(document, _)| document.place("spec.groups"));
            let problems = match groups(placed.replicas, &strategy(&own)) {
                Ok(groups) => remarks(&groups),
                Err(problems) => problems,
            };
            findings.extend(problems.into_iter().map(|problem| problem.at(place.clone())));
        }
    }
}

/// The strategy of a document.
pub(crate) fn strategy(groups: &Groups) -> Strategy {
    match groups.strategy {
        GroupStrategy::Recommended => Strategy::Recommended,
        GroupStrategy::One => Strategy::One,
        GroupStrategy::Two => Strategy::Two,
        GroupStrategy::EachHost => Strategy::EachHost,
        GroupStrategy::Custom => {
            Strategy::Custom { count: groups.count, shares: groups.shares.clone() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_person_takes_one_seat() {
        let set = |names: &[&'static str]| names.iter().copied().collect::<BTreeSet<_>>();
        assert_eq!(matching(&[set(&["a", "b"]), set(&["a"])]), 2);
        assert_eq!(matching(&[set(&["a"]), set(&["a"])]), 1);
        assert_eq!(matching(&[set(&["a", "b"]), set(&["b", "c"]), set(&["a", "c"])]), 3);
        assert_eq!(matching(&[set(&[])]), 0);
    }
}
