//! Webhooks and admission policies that come with the same plan: the dry run of what they govern did not know them.
//!
//! Rules are matched as Kubernetes documents it (`Dynamic Admission Control`, `Validating Admission Policy`). What cannot be
//! told here (conditions in CEL, labels of a namespace that nobody observed, the plural of a kind that no document defines)
//! counts as a match: more is then called simulated, never less.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::change::{Action, Change, ChangeSet, Confidence};
use crate::desired::{DesiredObject, DesiredState};
use crate::live::{LiveState, Observation};
use crate::object::{Object, ObjectRef};

/// The group of webhook configurations and policies, which are themselves governed by none of them.
const GROUP: &str = "admissionregistration.k8s.io";

/// Marks what a webhook or policy of the same change governs, in its old form or its new one.
pub(super) fn mark(desired: &DesiredState, live: &LiveState, set: &mut ChangeSet) {
    let is_admission = |change: &&Change| {
        change.object.group == GROUP
            && matches!(change.action, Action::Create | Action::Configure | Action::Replace)
    };
    let world = World { desired, live };
    let mut governors: BTreeMap<String, Vec<Governor>> = BTreeMap::new();
    for change in set.changes.iter().filter(is_admission) {
        let own = governors.entry(change.object.cluster.clone()).or_default();
        own.extend(world.governors(&change.object));
    }
    if governors.is_empty() {
        return;
    }
    for change in &mut set.changes {
        if change.confidence != Confidence::Exact || change.object.group == GROUP {
            continue;
        }
        let own = governors.get(&change.object.cluster).into_iter().flatten();
        let mut names: Vec<String> = own
            .filter(|governor| world.governs(governor, change))
            .map(|governor| governor.name.clone())
            .collect();
        names.sort();
        names.dedup();
        if !names.is_empty() {
            change.confidence = Confidence::Simulated;
            change.webhooks = names;
        }
    }
}

#[derive(Clone, Copy)]
struct World<'a> {
    desired: &'a DesiredState,
    live: &'a LiveState,
}

/// What decides on requests: all of its constraints must be met.
struct Governor {
    /// Kind and name, as people read it.
    name: String,
    constraints: Vec<Constraint>,
}

/// Which requests are meant.
struct Constraint {
    rules: Vec<Value>,
    excluded: Vec<Value>,
    namespaces: Option<Value>,
    objects: Option<Value>,
    /// Whether another version or group of the same objects is meant too.
    is_equivalent: bool,
}

fn list(value: &Value, field: &str) -> Vec<Value> {
    value.get(field).and_then(Value::as_array).cloned().unwrap_or_default()
}

impl Constraint {
    fn of_webhook(webhook: &Value, version: &str) -> Self {
        let policy = webhook.get("matchPolicy").and_then(Value::as_str);
        Self {
            rules: list(webhook, "rules"),
            excluded: Vec::new(),
            namespaces: webhook.get("namespaceSelector").cloned(),
            objects: webhook.get("objectSelector").cloned(),
            // `v1beta1` has `Exact` as its default.
            is_equivalent: policy.map_or(version != "v1beta1", |policy| policy == "Equivalent"),
        }
    }

    fn of_policy(resources: &Value) -> Self {
        Self {
            rules: list(resources, "resourceRules"),
            excluded: list(resources, "excludeResourceRules"),
            namespaces: resources.get("namespaceSelector").cloned(),
            objects: resources.get("objectSelector").cloned(),
            is_equivalent: resources.get("matchPolicy").and_then(Value::as_str) != Some("Exact"),
        }
    }
}

impl World<'_> {
    /// The object as it is wanted and as it is there.
    fn forms(self, reference: &ObjectRef) -> Vec<Object> {
        let wanted = self.desired.object(reference).map(DesiredObject::body);
        let there = self.live.observation(reference).and_then(Observation::live);
        wanted.into_iter().chain(there).collect()
    }

    fn governors(self, reference: &ObjectRef) -> Vec<Governor> {
        let name = format!("{} {}", reference.kind, reference.name);
        let governor = |constraints: Vec<Constraint>| Governor { name: name.clone(), constraints };
        let forms = self.forms(reference);
        match reference.kind.as_str() {
            "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => forms
                .iter()
                .flat_map(|form| {
                    let webhooks = list(form.value(), "webhooks").into_iter();
                    webhooks.map(|it| Constraint::of_webhook(&it, form.version()))
                })
                .map(|constraint| governor(vec![constraint]))
                .collect(),
            "ValidatingAdmissionPolicy" | "MutatingAdmissionPolicy" => {
                let constraints =
                    forms.iter().filter_map(|form| form.get("/spec/matchConstraints"));
                constraints.map(|it| governor(vec![Constraint::of_policy(it)])).collect()
            }
            "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding" => {
                forms.iter().map(|form| governor(self.of_binding(reference, form))).collect()
            }
            _ => Vec::new(),
        }
    }

    /// What a binding asks for beside what its policy does; of a policy that nobody knows only that.
    fn of_binding(self, reference: &ObjectRef, form: &Object) -> Vec<Constraint> {
        let policy = ObjectRef {
            kind: reference.kind.trim_end_matches("Binding").to_owned(),
            name: form.text("/spec/policyName").to_owned(),
            ..reference.clone()
        };
        let own = form.get("/spec/matchResources").map(Constraint::of_policy);
        let policies = self.forms(&policy);
        let policy = policies.first().and_then(|policy| policy.get("/spec/matchConstraints"));
        own.into_iter().chain(policy.map(Constraint::of_policy)).collect()
    }

    fn governs(self, governor: &Governor, change: &Change) -> bool {
        governor.constraints.iter().all(|constraint| self.is_meant(constraint, change))
    }

    fn is_meant(self, constraint: &Constraint, change: &Change) -> bool {
        let request = Request::of(self, change);
        // A binding may leave the rules to its policy.
        let is_any = constraint.rules.is_empty()
            || constraint.rules.iter().any(|rule| request.is_met(rule, constraint.is_equivalent));
        let is_excluded =
            constraint.excluded.iter().any(|rule| request.is_met(rule, constraint.is_equivalent));
        is_any
            && !is_excluded
            && constraint.namespaces.as_ref().is_none_or(|it| self.is_namespace(it, change))
            && constraint.objects.as_ref().is_none_or(|selector| {
                // The old object or the new one.
                let forms = self.forms(&change.object);
                forms.is_empty() || forms.iter().any(|form| selects(selector, &labels(form)))
            })
    }

    /// Whether the namespace of an object is selected; of a namespace the one that it is. What is in none always is.
    fn is_namespace(self, selector: &Value, change: &Change) -> bool {
        let ObjectRef { cluster, group, kind, namespace, name } = &change.object;
        let name = match (kind.as_str(), group.as_str(), namespace.as_str()) {
            ("Namespace", "", _) => name,
            (_, _, "") => return true,
            _ => namespace,
        };
        let reference = ObjectRef {
            cluster: cluster.clone(),
            group: String::new(),
            kind: "Namespace".to_owned(),
            namespace: String::new(),
            name: name.clone(),
        };
        let forms = self.forms(&reference);
        // Who has not seen it cannot tell.
        forms.is_empty()
            || forms.iter().any(|form| {
                let mut labels = labels(form);
                // Each server since 1.21 sees to it.
                let own = || Value::String(name.clone());
                labels.entry("kubernetes.io/metadata.name".to_owned()).or_insert_with(own);
                selects(selector, &labels)
            })
    }

    /// The names that a kind's resource may have.
    fn plurals(self, reference: &ObjectRef) -> Vec<String> {
        let ObjectRef { cluster, group, kind, .. } = reference;
        if let Some(definition) = self.desired.definition(cluster, group, kind) {
            return vec![definition.text("/spec/names/plural").to_owned()];
        }
        let kind = reference.kind.to_lowercase();
        let stem = kind.strip_suffix('y').map(|stem| format!("{stem}ies"));
        // `Endpoints`, `Ingress`, `NetworkPolicy`, `Deployment`.
        [Some(kind.clone()), Some(format!("{kind}s")), Some(format!("{kind}es")), stem]
            .into_iter()
            .flatten()
            .collect()
    }
}

fn labels(object: &Object) -> Map<String, Value> {
    object.get("/metadata/labels").and_then(Value::as_object).cloned().unwrap_or_default()
}

/// What is asked of the server.
struct Request {
    operations: &'static [&'static str],
    group: String,
    version: String,
    resources: Vec<String>,
    name: String,
    is_namespaced: bool,
}

impl Request {
    fn of(world: World<'_>, change: &Change) -> Self {
        let object = &change.object;
        let operations: &[&str] = match change.action {
            Action::Create => &["CREATE"],
            Action::Configure | Action::Move => &["UPDATE"],
            Action::Replace => &["DELETE", "CREATE"],
            Action::Prune => &["DELETE"],
            Action::Keep => &[],
        };
        let form = world.forms(object).into_iter().next();
        Self {
            operations,
            group: object.group.clone(),
            version: form.map(|form| form.version().to_owned()).unwrap_or_default(),
            resources: world.plurals(object),
            name: object.name.clone(),
            is_namespaced: !object.namespace.is_empty(),
        }
    }

    fn is_met(&self, rule: &Value, is_equivalent: bool) -> bool {
        let has = |field: &str, is_it: &dyn Fn(&str) -> bool| {
            let named = list(rule, field);
            named.iter().filter_map(Value::as_str).any(|it| it == "*" || is_it(it))
        };
        let is_group = |group: &str| {
            group == self.group || (is_equivalent && is_same_elsewhere(group, &self.group))
        };
        // With `*` subresources are left out, and with `*/*` nothing is; we write none.
        let is_resource =
            |resource: &str| resource == "*/*" || self.resources.iter().any(|it| it == resource);
        let scope = rule.get("scope").and_then(Value::as_str).unwrap_or("*");
        let names = list(rule, "resourceNames");
        has("operations", &|operation| self.operations.contains(&operation))
            && has("apiGroups", &is_group)
            && has("apiVersions", &|version| is_equivalent || version == self.version)
            && has("resources", &is_resource)
            && match scope {
                "Namespaced" => self.is_namespaced,
                "Cluster" => !self.is_namespaced,
                _ => true,
            }
            && (names.is_empty() || names.iter().any(|name| *name == self.name))
    }
}

/// Groups that older servers have the same objects in.
fn is_same_elsewhere(one: &str, other: &str) -> bool {
    let is_pair = |old: &str, new: &str| (one, other) == (old, new) || (one, other) == (new, old);
    ["apps", "networking.k8s.io", "policy"].iter().any(|new| is_pair("extensions", new))
}

/// A label selector; an empty one selects all.
fn selects(selector: &Value, labels: &Map<String, Value>) -> bool {
    let wanted = selector.get("matchLabels").and_then(Value::as_object);
    let has = |name: &str, value: &Value| labels.get(name) == Some(value);
    let is_met = |expression: &Value| {
        let text = |field: &str| expression.get(field).and_then(Value::as_str).unwrap_or_default();
        let values = list(expression, "values");
        let found = labels.get(text("key"));
        match text("operator") {
            "In" => found.is_some_and(|found| values.contains(found)),
            "NotIn" => !found.is_some_and(|found| values.contains(found)),
            "Exists" => found.is_some(),
            "DoesNotExist" => found.is_none(),
            _ => true,
        }
    };
    wanted.into_iter().flatten().all(|(name, value)| has(name, value))
        && list(selector, "matchExpressions").iter().all(is_met)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::diff::tests::World;
    use crate::live::Prediction;

    /// A plan with a webhook of these fields, and a config map in a namespace that is there; gives who governs the map.
    fn governed(webhook: &Value, is_new: bool) -> Vec<String> {
        let mut rule = json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"],
            "resources": ["configmaps"]});
        let mut hook = json!({"name": "guard.example.org"});
        for (name, value) in webhook.as_object().unwrap() {
            let place =
                if rule.get(name).is_some() || name == "scope" { &mut rule } else { &mut hook };
            place[name] = value.clone();
        }
        hook["rules"] = json!([rule]);
        of(
            &[json!({"apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration", "metadata": {"name": "guard"},
            "webhooks": [hook]})],
            is_new,
        )
    }

    fn of(governors: &[Value], is_new: bool) -> Vec<String> {
        let mut world = World::new();
        for governor in governors {
            let reference = world.want(governor);
            let predicted = Prediction::Exact(Object::new(governor.clone()).into());
            world.observe(&reference, None, predicted);
        }
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": "shop", "uid": "n", "labels": {"team": "payments"}}});
        let reference = world.want(&namespace);
        world.observe(&reference, Some(&namespace), Prediction::InPlace);
        world.own(&reference, "n", None);
        let map = |value: &str| {
            json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": value},
            "metadata": {"name": "web", "namespace": "shop", "uid": "m", "labels": {"app": value}}})
        };
        let reference = world.want(&map("2"));
        let live = map("1");
        let predicted = Prediction::Exact(Object::new(map("2")).into());
        world.observe(&reference, (!is_new).then_some(&live), predicted);
        world.own(&reference, "m", None);
        let set = world.diff();
        let change = set.changes.iter().find(|it| it.object == reference).unwrap();
        let is_simulated = change.confidence == Confidence::Simulated;
        assert_eq!(is_simulated, !change.webhooks.is_empty());
        let hook = set.changes.iter().filter(|it| it.object.group == GROUP);
        assert!(hook.into_iter().all(|it| it.webhooks.is_empty()), "none governs itself");
        change.webhooks.clone()
    }

    #[rstest]
    #[case::all(json!({}), true, true)]
    #[case::creations(json!({"operations": ["CREATE"]}), true, true)]
    #[case::a_creation_is_no_update(json!({"operations": ["UPDATE", "DELETE", "CONNECT"]}), true, false)]
    #[case::updates(json!({"operations": ["UPDATE"]}), false, true)]
    #[case::an_update_is_no_creation(json!({"operations": ["CREATE"]}), false, false)]
    #[case::any_group(json!({"apiGroups": ["*"]}), true, true)]
    #[case::another_group(json!({"apiGroups": ["apps"]}), true, false)]
    #[case::any_version(json!({"apiVersions": ["*"], "matchPolicy": "Exact"}), true, true)]
    #[case::another_version(json!({"apiVersions": ["v2"], "matchPolicy": "Exact"}), true, false)]
    #[case::an_equivalent_version(json!({"apiVersions": ["v2"]}), true, true)]
    #[case::any_resource(json!({"resources": ["*"]}), true, true)]
    #[case::any_subresource(json!({"resources": ["*/*"]}), true, true)]
    #[case::only_subresources(json!({"resources": ["configmaps/*", "*/scale"]}), true, false)]
    #[case::another_resource(json!({"resources": ["secrets"]}), true, false)]
    #[case::in_a_namespace(json!({"scope": "Namespaced"}), true, true)]
    #[case::in_none(json!({"scope": "Cluster"}), true, false)]
    #[case::its_namespace(json!({"namespaceSelector": {"matchLabels": {"team": "payments"}}}), true, true)]
    #[case::another_namespace(json!({"namespaceSelector": {"matchLabels": {"team": "x"}}}), true, false)]
    #[case::not_one_namespace(json!({"namespaceSelector": {"matchExpressions": [
        {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"]}]}}), true, true)]
    #[case::not_its_namespace(json!({"namespaceSelector": {"matchExpressions": [
        {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["shop"]}]}}), true, false)]
    #[case::as_it_will_be(json!({"objectSelector": {"matchLabels": {"app": "2"}}}), false, true)]
    #[case::as_it_was(json!({"objectSelector": {"matchLabels": {"app": "1"}}}), false, true)]
    #[case::as_it_never_is(json!({"objectSelector": {"matchExpressions": [
        {"key": "app", "operator": "DoesNotExist"}]}}), false, false)]
    #[case::with_a_label(json!({"objectSelector": {"matchExpressions": [
        {"key": "app", "operator": "Exists"}, {"key": "app", "operator": "In", "values": ["2"]}]}}), true, true)]
    #[case::a_condition_cannot_be_told(json!({"matchConditions": [
        {"name": "never", "expression": "false"}]}), true, true)]
    fn what_a_webhook_of_the_same_plan_governs_is_simulated(
        #[case] webhook: Value,
        #[case] is_new: bool,
        #[case] is_governed: bool,
    ) {
        let expected: &[&str] =
            if is_governed { &["ValidatingWebhookConfiguration guard"] } else { &[] };
        assert_eq!(governed(&webhook, is_new), expected);
    }

    #[test]
    fn policies_govern_with_their_bindings() {
        let policy = |group: &str| {
            json!({"apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "p"},
            "spec": {"matchConstraints": {"resourceRules": [{"apiGroups": [group], "apiVersions": ["*"],
                "operations": ["*"], "resources": ["*"]}]}}})
        };
        let binding = |team: &str| {
            json!({"apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": "b"},
            "spec": {"policyName": "p", "matchResources": {"namespaceSelector": {"matchLabels": {"team": team}}}}})
        };
        assert_eq!(of(&[policy("")], true), ["ValidatingAdmissionPolicy p"]);
        let both = ["ValidatingAdmissionPolicy p", "ValidatingAdmissionPolicyBinding b"];
        assert_eq!(of(&[policy(""), binding("payments")], true), both);
        assert_eq!(of(&[policy(""), binding("x")], true), both[..1]);
        assert_eq!(of(&[policy("apps"), binding("payments")], true), [""; 0]);
        assert_eq!(of(&[binding("payments")], true), both[1..], "a policy that nobody knows");
        let mut without = policy("");
        without["spec"]["matchConstraints"]["excludeResourceRules"] = json!([{"apiGroups": [""],
            "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"], "resourceNames": ["web"]}]);
        assert_eq!(of(&[without], true), [""; 0]);
    }
}
