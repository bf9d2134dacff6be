//! Rules between several fields of one document, which a schema cannot say well.

use std::collections::BTreeSet;

use crate::{
    app::{App, NodeOperator, TolerationOperator},
    approval::ApprovalScope,
    document::{Body, Document},
    finding::Finding,
    iam::RoleTest,
    operation::{Action, Operation},
    parameters::Parameters,
    policy::{ChangeWindow, GroupStrategy, RolloutPolicy},
    product::{ParameterDeclaration, ProductVersion},
    zone::{Zone, ZoneKind},
};

/// All findings of one document whose shape is right.
pub(super) fn check(document: &Document) -> Vec<Finding> {
    let mut judge = Judge { document, findings: Vec::new() };
    match &document.body {
        Body::ProductVersion(version) => judge.product_version(version),
        Body::Solution(solution) => {
            let names = solution.products.iter().map(|product| product.product.as_str());
            judge.unique("spec.products", "product", names);
            for (index, product) in solution.products.iter().enumerate() {
                let names = product.scaling_groups.iter().map(|group| group.name.as_str());
                judge.unique(&format!("spec.products[{index}].scalingGroups"), "name", names);
            }
        }
        Body::Parameters(parameters) => judge.parameters(parameters),
        Body::RolloutPolicy(policy) => judge.rollout_policy(policy),
        Body::ChangeWindow(window) => judge.change_window(window),
        Body::RoleTest(test) => judge.role_test(test),
        Body::Zone(zone) => judge.zone(zone),
        Body::Operation(operation) => judge.operation(operation),
        Body::Approval(approval) => {
            if approval.approve_by < approval.created_at {
                judge.reversed("spec.approveBy", "createdAt", "approveBy");
            }
            if approval.execute_by < approval.created_at {
                judge.reversed("spec.executeBy", "createdAt", "executeBy");
            }
            let reason = approval.reason.as_deref().unwrap_or_default();
            if let (ApprovalScope::Skip(waiver), "") = (&approval.scope, reason.trim()) {
                let finding = Finding::error("APPROVAL/WAIVER_WITHOUT_REASON");
                judge.report(finding.with("step", &waiver.step), "spec.scope");
            }
        }
        Body::Site(_)
        | Body::Cluster(_)
        | Body::Product(_)
        | Body::ApprovalPolicy(_)
        | Body::Person(_)
        | Body::Group(_)
        | Body::ServiceAccount(_)
        | Body::Role(_)
        | Body::Grant(_) => {}
    }
    judge.findings
}

struct Judge<'a> {
    document: &'a Document,
    findings: Vec<Finding>,
}

impl Judge<'_> {
    fn report(&mut self, finding: Finding, path: &str) {
        self.findings.push(finding.at(self.document.place(path)));
    }

    /// A finding about the field itself.
    fn field(&mut self, code: &'static str, path: &str) {
        self.report(Finding::error(code).with("field", path), path);
    }

    /// The names of a list, each of which may occur once.
    fn unique<'n>(&mut self, list: &str, key: &str, names: impl Iterator<Item = &'n str>) {
        let mut seen = BTreeSet::new();
        for (index, name) in names.enumerate() {
            if !seen.insert(name) {
                let finding = Finding::error("DOCUMENT/DUPLICATE_NAME");
                let finding = finding.with("field", list).with("name", name);
                self.report(finding, &format!("{list}[{index}].{key}"));
            }
        }
    }

    /// Exactly one of several optional fields must be given.
    fn exactly_one(&mut self, path: &str, choices: &str, given: &[bool]) {
        if given.iter().filter(|given| **given).count() != 1 {
            let finding = Finding::error("DOCUMENT/EXACTLY_ONE");
            self.report(finding.with("field", path).with("choices", choices), path);
        }
    }

    fn reversed(&mut self, path: &str, earlier: &str, later: &str) {
        let finding = Finding::error("DOCUMENT/TIMES_REVERSED");
        self.report(finding.with("earlier", earlier).with("later", later), path);
    }

    fn product_version(&mut self, version: &ProductVersion) {
        let names = version.parameters.iter().map(|parameter| parameter.name.as_str());
        self.unique("spec.parameters", "name", names);
        self.unique("spec.apps", "name", version.apps.iter().map(|app| app.name.as_str()));
        let names = version.load_balancers.iter().map(|balancer| balancer.name.as_str());
        self.unique("spec.loadBalancers", "name", names);
        let names = version.databases.iter().map(|database| database.name.as_str());
        self.unique("spec.databases", "name", names);
        let names = version.topologies.iter().map(|topology| topology.name.as_str());
        self.unique("spec.topologies", "name", names);
        self.unique("spec.sizes", "name", version.sizes.iter().map(|size| size.name.as_str()));
        for (index, parameter) in version.parameters.iter().enumerate() {
            self.declaration(parameter, &format!("spec.parameters[{index}]"));
        }
        for (index, app) in version.apps.iter().enumerate() {
            self.app(app, &format!("spec.apps[{index}]"));
        }
    }

    fn declaration(&mut self, parameter: &ParameterDeclaration, path: &str) {
        let named = |code| Finding::error(code).with("parameter", &parameter.name);
        if let (Some(minimum), Some(maximum)) = (parameter.minimum, parameter.maximum)
            && minimum > maximum
        {
            self.report(named("PARAMETER/RANGE_EMPTY"), &format!("{path}.minimum"));
        }
        let Some(default) = &parameter.default else { return };
        let place = format!("{path}.default");
        if parameter.secret {
            self.report(named("PARAMETER/SECRET_DEFAULT"), &place);
        } else if let Some(mismatch) = parameter.mismatch(default) {
            let finding = named("PARAMETER/DEFAULT_UNFIT").with("rule", mismatch.rule(parameter));
            self.report(finding, &place);
        }
        if parameter.required {
            let finding = Finding::warning("PARAMETER/REQUIRED_WITH_DEFAULT");
            self.report(finding.with("parameter", &parameter.name), &format!("{path}.required"));
        }
    }

    fn app(&mut self, app: &App, path: &str) {
        let list = |name: &str| format!("{path}.{name}");
        self.unique(&list("ports"), "name", app.ports.iter().map(|port| port.name.as_str()));
        self.unique(&list("volumes"), "name", app.volumes.iter().map(|v| v.name.as_str()));
        self.unique(&list("volumes"), "path", app.volumes.iter().map(|v| v.path.as_str()));
        self.unique(&list("checks"), "name", app.checks.iter().map(|check| check.name.as_str()));
        let is_bare = !app.image.contains("{{")
            && !app.image.contains('@')
            && !app.image.rsplit('/').next().unwrap_or_default().contains(':');
        if is_bare {
            let finding = Finding::warning("PRODUCT/IMAGE_WITHOUT_TAG").with("image", &app.image);
            self.report(finding, &list("image"));
        }
        let probes = app.probes.clone().unwrap_or_default();
        for (name, probe) in [
            ("startup", probes.startup),
            ("liveness", probes.liveness),
            ("readiness", probes.readiness),
        ] {
            if let Some(probe) = probe {
                let given = [probe.tcp.is_some(), probe.http.is_some(), probe.exec.is_some()];
                self.exactly_one(&format!("{path}.probes.{name}"), "tcp, http, exec", &given);
            }
        }
        for (index, check) in app.checks.iter().enumerate() {
            let given = [
                check.http.is_some(),
                check.tcp.is_some(),
                check.exec.is_some(),
                check.cel.is_some(),
                check.prometheus.is_some(),
            ];
            let path = format!("{path}.checks[{index}]");
            self.exactly_one(&path, "http, tcp, exec, cel, prometheus", &given);
            let Some(prometheus) = &check.prometheus else { continue };
            let (min, max) = (&prometheus.min, &prometheus.max);
            let has_no_value = match (min, max) {
                (None, None) => true,
                (Some(min), Some(max)) => min.value() > max.value(),
                (Some(_), None) | (None, Some(_)) => false,
            };
            if has_no_value {
                self.field("PRODUCT/CHECK_BOUNDS", &format!("{path}.prometheus"));
            }
        }
        for (index, requirement) in app.node_affinity.iter().enumerate() {
            let needs_values = match requirement.operator {
                NodeOperator::In | NodeOperator::NotIn => true,
                NodeOperator::Exists | NodeOperator::DoesNotExist => false,
            };
            if needs_values == requirement.values.is_empty() {
                self.field("PRODUCT/NODE_VALUES", &format!("{path}.nodeAffinity[{index}]"));
            }
        }
        for (index, toleration) in app.tolerations.iter().enumerate() {
            let is_wrong = match toleration.operator {
                TolerationOperator::Equal => toleration.key.is_none(),
                TolerationOperator::Exists => toleration.value.is_some(),
            };
            if is_wrong {
                self.field("PRODUCT/TOLERATION", &format!("{path}.tolerations[{index}]"));
            }
        }
    }

    fn parameters(&mut self, parameters: &Parameters) {
        let scope = &parameters.scope;
        let is_inside = scope.app.is_some() || scope.scaling_group.is_some();
        if is_inside && (scope.product.is_none() || scope.cluster.is_some()) {
            self.report(Finding::error("PARAMETER/SCOPE"), "spec.scope");
        }
    }

    fn rollout_policy(&mut self, policy: &RolloutPolicy) {
        self.unique("spec.waves", "name", policy.waves.iter().map(|wave| wave.name.as_str()));
        if let Some(groups) = &policy.groups
            && groups.strategy != GroupStrategy::Custom
            && (groups.count.is_some() || !groups.shares.is_empty())
        {
            self.report(Finding::error("POLICY/GROUPS_NOT_CUSTOM"), "spec.groups");
        }
    }

    fn change_window(&mut self, window: &ChangeWindow) {
        for (index, days) in window.deny.iter().enumerate() {
            if days.to < days.from {
                self.reversed(&format!("spec.deny[{index}].to"), "from", "to");
            }
        }
    }

    fn role_test(&mut self, test: &RoleTest) {
        for (list, questions) in [("can", &test.can), ("cannot", &test.cannot)] {
            for (index, question) in questions.iter().enumerate() {
                let in_cluster = question.verb.is_some() && question.resource.is_some();
                let has_part = question.verb.is_some() || question.resource.is_some();
                if question.permission.is_some() == has_part || has_part != in_cluster {
                    self.field("IAM/QUESTION", &format!("spec.{list}[{index}]"));
                }
            }
        }
    }

    fn zone(&mut self, zone: &Zone) {
        match zone.kind {
            ZoneKind::Forward => {
                if zone.forward.is_none() {
                    self.report(Finding::error("ZONE/FORWARD_MISSING"), "spec.type");
                }
                if !zone.records.is_empty() {
                    self.report(Finding::error("ZONE/FORWARD_WITH_RECORDS"), "spec.records");
                }
            }
            ZoneKind::Hosted => {
                if zone.forward.is_some() {
                    self.report(Finding::error("ZONE/HOSTED_WITH_FORWARD"), "spec.forward");
                }
                for (field, is_missing) in
                    [("primary", zone.primary.is_none()), ("contact", zone.contact.is_none())]
                {
                    if is_missing && zone.forward.is_none() {
                        let finding = Finding::error("ZONE/HOSTED_INCOMPLETE").with("field", field);
                        self.report(finding, "spec");
                    }
                }
            }
        }
        let mut seen = BTreeSet::new();
        for (index, set) in zone.records.iter().enumerate() {
            if !seen.insert((set.name.to_ascii_lowercase(), set.kind)) {
                let finding = Finding::error("ZONE/DUPLICATE_RECORD");
                let finding = finding.with("name", &set.name).with("type", set.kind);
                self.report(finding, &format!("spec.records[{index}].name"));
            }
        }
    }

    fn operation(&mut self, operation: &Operation) {
        match &operation.action {
            Action::Offline(_) if operation.expires.is_none() => {
                self.report(Finding::error("OPERATION/OFFLINE_WITHOUT_END"), "spec.action.offline");
            }
            Action::Resize(resize) if resize.cpu.is_none() && resize.memory.is_none() => {
                self.report(Finding::error("OPERATION/RESIZE_NOTHING"), "spec.action.resize");
            }
            Action::Restart(_)
            | Action::Offline(_)
            | Action::Online(_)
            | Action::Scale(_)
            | Action::Resize(_)
            | Action::Uninstall(_)
            | Action::RerunTask(_)
            | Action::Test(_)
            | Action::Cordon(_)
            | Action::Drain(_)
            | Action::Rollback(_) => {}
        }
    }
}
