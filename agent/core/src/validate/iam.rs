//! Access: circles of roles, dangerous rules, grants that have ended, and what role tests expect.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tidegate_schema::finding::Finding;
use tidegate_schema::iam::{AccessQuestion, Subject};
use tidegate_schema::scalar::Name;

use super::documents::{Documents, located};
use super::version::circle;
use crate::site::allows;

/// Checks roles, grants and role tests.
pub(super) fn check(documents: &Documents, now: Timestamp, findings: &mut Vec<Finding>) {
    let edges: BTreeMap<&str, Vec<&str>> = documents
        .roles()
        .map(|(document, role)| {
            (document.name().as_str(), role.extends.iter().map(Name::as_str).collect())
        })
        .collect();
    if let Some(circle) = circle(&edges)
        && let Some((document, _)) = documents
            .roles()
            .find(|(document, _)| circle.first() == Some(&document.name().as_str()))
    {
        let finding = Finding::error("ACCESS/ROLE_CYCLE").at(document.place("spec.extends"));
        findings.push(finding.with("circle", circle.join(" → ")));
    }
    for (document, role) in documents.roles() {
        for (index, rule) in role.kubernetes.iter().enumerate() {
            // Whoever may do this may give himself everything else (Kubernetes, "RBAC good practices").
            let gives =
                |verb: &&String| matches!(verb.as_str(), "escalate" | "bind" | "impersonate" | "*");
            if let Some(verb) = rule.verbs.iter().find(gives) {
                let place = document.place(&format!("spec.kubernetes[{index}].verbs"));
                findings
                    .push(Finding::warning("ACCESS/ESCALATING_RULE").at(place).with("verb", verb));
            }
        }
    }
    for (document, grant) in documents.grants() {
        if let Some(expires) = grant.expires.filter(|expires| *expires <= now) {
            let finding = Finding::note("ACCESS/GRANT_EXPIRED").at(document.place("spec.expires"));
            findings.push(finding.with("grant", document.name()).with("expires", expires));
        }
    }
    tests(documents, now, findings);
}

fn tests(documents: &Documents, now: Timestamp, findings: &mut Vec<Finding>) {
    let roles = located(documents.roles());
    let grants = located(documents.grants());
    let groups: BTreeMap<_, _> = documents
        .groups()
        .map(|(document, group)| (document.name().to_string(), group.clone()))
        .collect();
    for (document, test) in documents.role_tests() {
        let is_frozen = matches!(&test.subject, Subject::Person(name)
            if documents.persons().any(|(document, person)| document.name() == name && person.frozen));
        let at = test.at.unwrap_or(now);
        let may = |question: &AccessQuestion| {
            !is_frozen && allows(&roles, &grants, &groups, &test.subject, question, at)
        };
        for (list, questions, wanted) in [("can", &test.can, true), ("cannot", &test.cannot, false)]
        {
            for (index, question) in questions.iter().enumerate() {
                if may(question) != wanted {
                    let code = if wanted { "ACCESS/TEST_CANNOT" } else { "ACCESS/TEST_CAN" };
                    findings.push(
                        Finding::error(code)
                            .at(document.place(&format!("spec.{list}[{index}]")))
                            .with("subject", test.subject.name())
                            .with("what", shown(question)),
                    );
                }
            }
        }
    }
}

/// A question as people read it: `delivery.read`, or `get pods in iam`.
fn shown(question: &AccessQuestion) -> String {
    let permission = question
        .permission
        .and_then(|permission| serde_json::to_value(permission).ok()?.as_str().map(str::to_owned));
    let mut text = permission.unwrap_or_else(|| {
        let verb = question.verb.as_deref().unwrap_or_default();
        format!("{verb} {}", question.resource.as_deref().unwrap_or_default())
    });
    for place in [&question.product, &question.cluster].into_iter().flatten() {
        text.push_str(" in ");
        text.push_str(place.as_str());
    }
    text
}
