//! Quorum: distinct persons matched to clauses, so that one person satisfies at most one clause of a rule.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tidegate_schema::finding::Finding;
use tidegate_schema::policy::{ApprovalRule, Exclusion, MergeTrust, QuorumClause};
use tidegate_schema::scalar::Duration;

use super::{GatePolicy, limit};
use crate::approval::{VerifiedApproval, VerifiedMerge};
use crate::plan::{Plan, Risk};

/// One rule of an approval policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// The policy and the rule's number in it, for messages: `production[1]`.
    pub name: String,
    /// The rule is for plans with any of these risks; for every plan when empty.
    pub risks: BTreeSet<Risk>,
    /// The rule is for plans that touch any of these products; for every plan when empty.
    #[serde(default)]
    pub products: BTreeSet<String>,
    /// How many of which group.
    pub quorum: Vec<Clause>,
    /// Whether authors of the change are excluded.
    pub excludes_author: bool,
    /// Seconds after its creation within which an approval must have met the others.
    pub approve_by_seconds: Option<u64>,
    /// Seconds after its creation within which execution must start.
    pub execute_by_seconds: Option<u64>,
    /// Whose signed merge counts for the rule, and as whose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge: Option<MergeTrust>,
}

/// So many of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Clause {
    /// Name of the group.
    pub group: String,
    /// How many of its members.
    pub count: u32,
}

impl Rule {
    /// The rule that a document states.
    pub fn of(name: String, rule: &ApprovalRule, merge: Option<&MergeTrust>) -> Self {
        use tidegate_schema::policy::Risk as Stated;
        let risk = |risk: &Stated| match risk {
            Stated::Destructive => Risk::Destructive,
            Stated::GainsPermission => Risk::GainsPermission,
            Stated::ChangesParameters => Risk::ChangesParameters,
            Stated::ChangesPolicy => Risk::ChangesPolicy,
            Stated::Unverified => Risk::Unverified,
        };
        let when = rule.when.clone().unwrap_or_default();
        let clause =
            |clause: &QuorumClause| Clause { group: clause.group.to_string(), count: clause.count };
        Self {
            name,
            risks: when.risks.iter().map(risk).collect(),
            products: when.products.iter().map(ToString::to_string).collect(),
            quorum: rule.quorum.iter().map(clause).collect(),
            excludes_author: rule.exclude.contains(&Exclusion::Author),
            approve_by_seconds: rule.approve_by.map(Duration::seconds),
            execute_by_seconds: rule.execute_by.map(Duration::seconds),
            merge: merge.cloned(),
        }
    }

    /// Whether the rule is about this plan.
    pub fn matches(&self, plan: &Plan) -> bool {
        let content = &plan.content;
        let by_risk =
            self.risks.is_empty() || self.risks.iter().any(|it| content.risks.contains(it));
        let by_product = self.products.is_empty()
            || content.tasks.iter().any(|task| self.products.contains(&task.subject));
        by_risk && by_product
    }

    /// Whether an approval counts for this rule now.
    pub fn counts(
        &self,
        approval: &VerifiedApproval,
        plan: &Plan,
        policy: &GatePolicy,
        now: Timestamp,
    ) -> bool {
        !self.excludes(&approval.person, plan, policy) && !self.is_too_old(approval.created_at, now)
    }

    /// Whether the rule's own limits are over for what was said then.
    pub fn is_too_old(&self, said_at: Timestamp, now: Timestamp) -> bool {
        let seconds = [self.approve_by_seconds, self.execute_by_seconds];
        let limits = seconds.into_iter().filter_map(|it| limit(said_at, it));
        limits.into_iter().any(|until| now > until)
    }

    /// Who made a merge that the rule trusts; none when it trusts nobody of them.
    pub fn trusted<'a>(&self, merge: &'a VerifiedMerge) -> Option<&'a str> {
        let trust = self.merge.as_ref().map(|merge| merge.trust.as_slice()).unwrap_or_default();
        let is_trusted = |name: &&String| trust.iter().any(|it| *it == *name.as_str());
        merge.by.iter().find(is_trusted).map(String::as_str)
    }

    /// Whether who merged also wrote what was merged, and the rule excludes those who did. A service account writes nothing.
    pub fn excludes_merge(&self, merge: &VerifiedMerge, policy: &GatePolicy) -> bool {
        let emails = merge.by.iter().filter_map(|name| policy.emails.get(name)).flatten();
        let wrote = |email: &String| merge.authors.iter().any(|it| it.eq_ignore_ascii_case(email));
        self.excludes_author && emails.into_iter().any(wrote)
    }

    /// Whether the person wrote part of the change, and the rule excludes those who did.
    pub fn excludes(&self, person: &str, plan: &Plan, policy: &GatePolicy) -> bool {
        let is_author = policy.emails.get(person).is_some_and(|emails| {
            plan.authors.iter().any(|author| emails.contains(&author.to_ascii_lowercase()))
        });
        self.excludes_author && is_author
    }

    /// What is missing, or `None` when the persons, and the merge by somebody where there is one, meet all clauses. The merge
    /// takes one seat of each group that it stands for: nobody else has to sit there.
    pub fn missing(
        &self,
        persons: &BTreeSet<&str>,
        merged_by: Option<&str>,
        groups: &BTreeMap<String, BTreeSet<String>>,
    ) -> Option<Finding> {
        let stands_for = |group: &str| {
            let merge = merged_by.and(self.merge.as_ref());
            merge.is_some_and(|merge| merge.stands_for.iter().any(|it| *it == *group))
        };
        let mut stood = BTreeSet::new();
        let seats: Vec<&str> = self
            .quorum
            .iter()
            .flat_map(|clause| (0..clause.count).map(|_| clause.group.as_str()))
            .filter(|group| !(stands_for(group) && stood.insert(*group)))
            .collect();
        let taken = seat(&seats, persons, groups);
        let mut open: BTreeMap<&str, u32> = BTreeMap::new();
        for (group, holder) in seats.iter().zip(&taken) {
            if holder.is_none() {
                *open.entry(group).or_default() += 1;
            }
        }
        if open.is_empty() {
            return None;
        }
        let open: Vec<String> =
            open.into_iter().map(|(group, count)| format!("{group} × {count}")).collect();
        let merge = merged_by.map(|by| format!("merge by {by}"));
        let have: Vec<&str> = persons.iter().copied().chain(merge.as_deref()).collect();
        Some(
            Finding::note("APPROVAL/QUORUM_UNMET")
                .with("rule", &self.name)
                .with("missing", open.join(", "))
                .with("have", if have.is_empty() { "–".to_owned() } else { have.join(", ") }),
        )
    }
}

/// Seats as many persons as possible, each on one seat of a group of theirs (maximum bipartite matching by augmenting
/// paths). Counting members per clause instead would let one person meet two clauses.
fn seat<'a>(
    seats: &[&str],
    persons: &BTreeSet<&'a str>,
    groups: &BTreeMap<String, BTreeSet<String>>,
) -> Vec<Option<&'a str>> {
    let mut taken: Vec<Option<&'a str>> = vec![None; seats.len()];
    for person in persons {
        let mut tried = BTreeSet::new();
        place(person, seats, groups, &mut taken, &mut tried);
    }
    taken
}

fn place<'a>(
    person: &'a str,
    seats: &[&str],
    groups: &BTreeMap<String, BTreeSet<String>>,
    taken: &mut Vec<Option<&'a str>>,
    tried: &mut BTreeSet<usize>,
) -> bool {
    for (index, group) in seats.iter().enumerate() {
        let may = groups.get(*group).is_some_and(|members| members.contains(person));
        if !may || !tried.insert(index) {
            continue;
        }
        let holder = taken.get(index).copied().flatten();
        let is_free = holder.is_none_or(|holder| place(holder, seats, groups, taken, tried));
        if is_free && let Some(own) = taken.get_mut(index) {
            *own = Some(person);
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(clauses: &[(&str, u32)]) -> Rule {
        let clause =
            |(group, count): &(&str, u32)| Clause { group: (*group).to_owned(), count: *count };
        Rule { quorum: clauses.iter().map(clause).collect(), ..Rule::default() }
    }

    fn groups(all: &[(&str, &[&str])]) -> BTreeMap<String, BTreeSet<String>> {
        let members = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        all.iter().map(|(group, names)| ((*group).to_owned(), members(names))).collect()
    }

    #[test]
    fn one_person_of_two_groups_meets_only_one_clause() {
        let groups = groups(&[("ops", &["li", "wang"]), ("business", &["li", "zhao"])]);
        let rule = rule(&[("ops", 1), ("business", 1)]);
        assert!(rule.missing(&BTreeSet::from(["li"]), None, &groups).is_some());
        assert!(rule.missing(&BTreeSet::from(["li", "wang"]), None, &groups).is_none());
        assert!(rule.missing(&BTreeSet::from(["li", "zhao"]), None, &groups).is_none());
    }

    #[test]
    fn somebody_moves_when_another_has_no_other_seat() {
        // Taken greedily, `a` would sit on the ops seat and leave `b`, who can only sit there, without one.
        let groups = groups(&[("ops", &["a", "b"]), ("business", &["a"])]);
        let rule = rule(&[("ops", 1), ("business", 1)]);
        assert!(rule.missing(&BTreeSet::from(["a", "b"]), None, &groups).is_none());
    }

    #[test]
    fn what_is_missing_is_named() {
        let groups = groups(&[("ops", &["a", "b"])]);
        let missing = rule(&[("ops", 2)]).missing(&BTreeSet::from(["a"]), None, &groups).unwrap();
        assert_eq!(missing.args.get("missing").map(String::as_str), Some("ops × 1"));
    }
}
