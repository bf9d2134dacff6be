//! References: every name that a document mentions is the name of something.

use tidegate_schema::finding::{Finding, Place};
use tidegate_schema::iam::Subject;
use tidegate_schema::operation::Action;
use tidegate_schema::scalar::Name;
use tidegate_schema::site::ClusterSelector;
use tidegate_schema::{Kind, suggest};

use super::documents::Documents;
use crate::site::nodes;

/// A finding for a name that nothing has, with the nearest that something has.
pub(super) fn unknown<'a>(
    place: Place,
    what: &str,
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Finding {
    match suggest::nearest(name, known) {
        Some(near) => Finding::error("REFERENCE/UNKNOWN_NEAR").with("near", near),
        None => Finding::error("REFERENCE/UNKNOWN"),
    }
    .at(place)
    .with("kind", what)
    .with("name", name)
}

/// Collects what is unknown.
struct Checker<'a> {
    documents: &'a Documents,
    findings: &'a mut Vec<Finding>,
}

impl Checker<'_> {
    fn name(&mut self, kind: Kind, name: &Name, place: impl FnOnce() -> Place) {
        if !self.documents.has(kind, name.as_str()) {
            let known = self.documents.names(kind);
            self.findings.push(unknown(place(), kind.as_str(), name.as_str(), known));
        }
    }

    fn selector(&mut self, selector: Option<&ClusterSelector>, place: impl Fn(&str) -> Place) {
        let Some(selector) = selector else { return };
        for (index, name) in selector.names.iter().enumerate() {
            self.name(Kind::Cluster, name, || place(&format!("names[{index}]")));
        }
        for (index, cell) in selector.cells.iter().enumerate() {
            let all: Vec<&str> = self
                .documents
                .clusters()
                .flat_map(|(_, cluster)| cluster.cells.iter().map(Name::as_str))
                .collect();
            if !all.contains(&cell.as_str()) {
                let place = place(&format!("cells[{index}]"));
                self.findings.push(unknown(place, "cell", cell.as_str(), all));
            }
        }
    }

    fn subject(&mut self, subject: &Subject, place: impl FnOnce() -> Place) {
        let kind = match subject {
            Subject::Person(_) => Kind::Person,
            Subject::Group(_) => Kind::Group,
            Subject::ServiceAccount(_) => Kind::ServiceAccount,
        };
        self.name(kind, subject.name(), place);
    }
}

/// Checks all references between documents; those inside products and solutions are checked where they are resolved.
pub(super) fn check(documents: &Documents, findings: &mut Vec<Finding>) {
    let mut checker = Checker { documents, findings };
    for (document, _) in documents.versions() {
        checker.name(Kind::Product, document.name(), || document.place("metadata.name"));
    }
    for (document, solution) in documents.solutions() {
        if let Some(rollout) = &solution.rollout {
            checker.name(Kind::RolloutPolicy, rollout, || document.place("spec.rollout"));
        }
        for (index, product) in solution.products.iter().enumerate() {
            checker.selector(product.clusters.as_ref(), |path| {
                document.place(&format!("spec.products[{index}].clusters.{path}"))
            });
            for (position, group) in product.scaling_groups.iter().enumerate() {
                let group_path = format!("spec.products[{index}].scalingGroups[{position}]");
                checker.selector(group.clusters.as_ref(), |path| {
                    document.place(&format!("{group_path}.clusters.{path}"))
                });
            }
        }
    }
    for (document, parameters) in documents.parameters() {
        if let Some(cluster) = &parameters.scope.cluster {
            checker.name(Kind::Cluster, cluster, || document.place("spec.scope.cluster"));
        }
        if let Some(product) = &parameters.scope.product {
            checker.name(Kind::Product, product, || document.place("spec.scope.product"));
        }
    }
    policies(&mut checker);
    iam(&mut checker);
}

fn policies(checker: &mut Checker<'_>) {
    let documents = checker.documents;
    for (document, policy) in documents.rollout_policies() {
        for (index, wave) in policy.waves.iter().enumerate() {
            checker.selector(wave.clusters.as_ref(), |path| {
                document.place(&format!("spec.waves[{index}].clusters.{path}"))
            });
        }
        if let Some(target) = &policy.applies_to {
            checker
                .name(Kind::Product, &target.product, || document.place("spec.appliesTo.product"));
        }
    }
    for (document, policy) in documents.approval_policies() {
        for (index, rule) in policy.rules.iter().enumerate() {
            for (clause, quorum) in rule.quorum.iter().enumerate() {
                checker.name(Kind::Group, &quorum.group, || {
                    document.place(&format!("spec.rules[{index}].quorum[{clause}].group"))
                });
            }
            let products = rule.when.iter().flat_map(|when| &when.products).enumerate();
            for (product, name) in products {
                checker.name(Kind::Product, name, || {
                    document.place(&format!("spec.rules[{index}].when.products[{product}]"))
                });
            }
        }
        for (index, group) in policy.merge.iter().flat_map(|merge| &merge.stands_for).enumerate() {
            checker.name(Kind::Group, group, || {
                document.place(&format!("spec.merge.standsFor[{index}]"))
            });
        }
        for (index, name) in policy.merge.iter().flat_map(|merge| &merge.trust).enumerate() {
            if !documents.has(Kind::Person, name.as_str()) {
                checker.name(Kind::ServiceAccount, name, || {
                    document.place(&format!("spec.merge.trust[{index}]"))
                });
            }
        }
    }
}

fn iam(checker: &mut Checker<'_>) {
    let documents = checker.documents;
    for (document, group) in documents.groups() {
        for (index, member) in group.members.iter().enumerate() {
            checker
                .name(Kind::Person, member, || document.place(&format!("spec.members[{index}]")));
        }
    }
    for (document, role) in documents.roles() {
        for (index, other) in role.extends.iter().enumerate() {
            checker.name(Kind::Role, other, || document.place(&format!("spec.extends[{index}]")));
        }
    }
    for (document, grant) in documents.grants() {
        checker.subject(&grant.subject, || document.place("spec.subject"));
        checker.name(Kind::Role, &grant.role, || document.place("spec.role"));
        let scope = grant.scope.clone().unwrap_or_default();
        for (index, product) in scope.products.iter().enumerate() {
            let place = || document.place(&format!("spec.scope.products[{index}]"));
            checker.name(Kind::Product, product, place);
        }
        for (index, cluster) in scope.clusters.iter().enumerate() {
            let place = || document.place(&format!("spec.scope.clusters[{index}]"));
            checker.name(Kind::Cluster, cluster, place);
        }
    }
    for (document, test) in documents.role_tests() {
        checker.subject(&test.subject, || document.place("spec.subject"));
    }
    for (document, operation) in documents.operations() {
        checker.name(Kind::Person, &operation.author, || document.place("spec.author"));
        if let Some((verb, cluster, _)) = nodes(&operation.action) {
            let field = format!("spec.action.{verb}.cluster");
            checker.name(Kind::Cluster, cluster, || document.place(&field));
        }
        if let Action::Uninstall(asked) = &operation.action {
            for (index, cluster) in asked.clusters.iter().enumerate() {
                let field = format!("spec.action.uninstall.clusters[{index}]");
                checker.name(Kind::Cluster, cluster, || document.place(&field));
            }
        }
    }
}
