//! Who may skip what failed in a release: a waiver is one person's word, and needs a permission of its own (YL-109).

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tidegate_schema::iam::{GrantScope, Permission, Subject};

use super::GatePolicy;
use crate::plan::Step;
use crate::site::{ValidSite, covers};

/// A grant by which somebody may skip.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SkipGrant {
    /// To whom: groups as their members, without those who are frozen.
    pub persons: BTreeSet<String>,
    /// In which products and clusters.
    #[serde(default)]
    pub scope: GrantScope,
    /// Until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

impl SkipGrant {
    /// Those that a site's documents state, whose time is over included: what counts is the instant of the decision.
    pub(super) fn all(site: &ValidSite) -> Vec<Self> {
        let is_known = |name: &&str| site.persons().any(|(known, _)| known == *name);
        let grants = site.grants_of(Permission::DeliverySkip).map(|grant| {
            let persons = match &grant.subject {
                Subject::Person(name) => Some(name.as_str()).filter(is_known).into_iter().collect(),
                Subject::Group(name) => site.members(name.as_str()),
                // A program signs no waivers.
                Subject::ServiceAccount(_) => BTreeSet::new(),
            };
            Self {
                persons: persons.into_iter().map(ToOwned::to_owned).collect(),
                scope: grant.scope.clone().unwrap_or_default(),
                expires: grant.expires,
            }
        });
        grants.filter(|grant| !grant.persons.is_empty()).collect()
    }
}

impl GatePolicy {
    /// Whether a person may skip what failed of a step at this instant. What belongs to no product or cluster, such as
    /// foundations and zones, may be skipped only by whom it is granted without such a scope.
    pub fn may_skip(&self, person: &str, step: &Step, now: Timestamp) -> bool {
        let cluster = Some(step.cluster.as_str()).filter(|cluster| !cluster.is_empty());
        self.skips.iter().any(|grant| {
            grant.persons.contains(person)
                && grant.expires.is_none_or(|expires| expires > now)
                && covers(&grant.scope, step.product.as_deref(), cluster)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::validate::tests::{PLAIN, document, now, snapshot};
    use crate::validate::validate;

    /// A plain site with Wang Wei and Chen Jie, who are it-ops, Chen Jie frozen; a role that extends one with `delivery.skip`; and
    /// a grant.
    fn site(grants: &[(&str, Value)]) -> ValidSite {
        let person = |name: &str, frozen: bool| {
            let spec = json!({"emails": [format!("{name}@bank.example")], "frozen": frozen});
            document("Person", name, &spec)
        };
        let mut documents = vec![
            PLAIN.to_owned(),
            person("wang-wei", false),
            person("chen-jie", true),
            document("Group", "it-ops", &json!({"members": ["wang-wei", "chen-jie"]})),
            document("Role", "skipper", &json!({"permissions": ["delivery.skip"]})),
            document("Role", "chief", &json!({"extends": ["skipper"]})),
            document("Role", "admin", &json!({"permissions": ["site.admin"]})),
            document("Role", "writer", &json!({"permissions": ["delivery.write"]})),
        ];
        documents.extend(grants.iter().map(|(name, spec)| document("Grant", name, spec)));
        let text = documents.join("\n---\n");
        let (site, findings) = validate(&snapshot([("site.yaml", text.as_str())]), now());
        site.unwrap_or_else(|| panic!("{findings:?}"))
    }

    fn may(grant: Value, person: &str) -> bool {
        let policy = GatePolicy::of(&site(&[("g", grant)]));
        let step = json!({"id": "all/room-a/iam/core", "kind": "rollout", "cluster": "room-a", "product": "iam",
            "needs": [], "apply": [], "prune": [], "timeoutSeconds": 60});
        let step: Step = serde_json::from_value(step).unwrap();
        policy.may_skip(person, &step, now())
    }

    #[test]
    fn a_grant_of_a_role_lets_persons_and_members_skip_and_nobody_who_is_frozen() {
        let (wang, ops) = (json!({"person": "wang-wei"}), json!({"group": "it-ops"}));
        for role in ["skipper", "chief", "admin"] {
            assert!(may(json!({"subject": wang, "role": role}), "wang-wei"), "{role}");
            assert!(may(json!({"subject": ops, "role": role}), "wang-wei"), "{role}");
        }
        assert!(!may(json!({"subject": wang, "role": "writer"}), "wang-wei"), "another permission");
        assert!(!may(json!({"subject": wang, "role": "chief"}), "li-na"), "another person");
        assert!(!may(json!({"subject": ops, "role": "chief"}), "chen-jie"), "frozen");
        assert!(!may(json!({"subject": {"person": "chen-jie"}, "role": "chief"}), "chen-jie"));
        let here = json!({"subject": ops, "role": "chief", "scope": {"clusters": ["room-a"]}});
        assert!(may(here, "wang-wei"));
        let until = json!({"subject": ops, "role": "chief", "expires": now().to_string()});
        assert!(!may(until, "wang-wei"), "over");
    }

    /// Else a grant of a role that compiles to nothing in the clusters would be accepted without anybody's approval.
    #[test]
    fn who_may_skip_is_part_of_the_policies_and_other_grants_are_not() {
        let grant = |role: &str| ("g", json!({"subject": {"group": "it-ops"}, "role": role}));
        let without = site(&[]).policies_digest();
        assert_eq!(site(&[grant("writer")]).policies_digest(), without);
        let with = site(&[grant("chief")]).policies_digest();
        assert_ne!(with, without);
        assert_eq!(site(&[grant("admin")]).policies_digest(), with, "it is the same to skipping");
    }

    #[test]
    fn what_was_recorded_before_there_were_waivers_lets_nobody_skip() {
        let mut old = serde_json::to_value(GatePolicy::of(&site(&[]))).unwrap();
        old.as_object_mut().unwrap().remove("skips");
        assert_eq!(serde_json::from_value::<GatePolicy>(old).unwrap().skips, []);
    }
}
