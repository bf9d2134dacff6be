//! Who gains or loses what: the meaning of differences of RBAC objects.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::change::Effect;
use crate::object::ObjectRef;

/// API group of RBAC.
const RBAC: &str = "rbac.authorization.k8s.io";

/// One permission that a rule gives: where, what and which verb. `*` stands for all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Permission {
    /// `None` for paths that are no resources (`nonResourceURLs`), which then stand in `resource`.
    group: Option<String>,
    resource: String,
    name: String,
    verb: String,
}

impl Permission {
    fn covers(&self, other: &Self) -> bool {
        let covers = |mine: &str, theirs: &str| mine == "*" || mine == theirs;
        // A rule without resource names is for all of them.
        let is_same_sort = match (&self.group, &other.group) {
            (Some(mine), Some(theirs)) => covers(mine, theirs),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        let covers_path = |mine: &str, theirs: &str| {
            mine.strip_suffix('*').is_some_and(|prefix| theirs.starts_with(prefix))
        };
        is_same_sort
            && (covers(&self.resource, &other.resource)
                || (self.group.is_none() && covers_path(&self.resource, &other.resource)))
            && (self.name.is_empty() || self.name == other.name)
            && covers(&self.verb, &other.verb)
    }
}

/// The permissions gained and lost when an RBAC object changes from `before` to `after`; none for other kinds.
pub(super) fn effects(
    reference: &ObjectRef,
    before: Option<&Value>,
    after: Option<&Value>,
) -> Vec<Effect> {
    if reference.group != RBAC {
        return Vec::new();
    }
    let (gained, lost) = match reference.kind.as_str() {
        "Role" | "ClusterRole" => role(reference, before, after),
        "RoleBinding" | "ClusterRoleBinding" => binding(reference, before, after),
        _ => return Vec::new(),
    };
    let gains = gained.into_iter().map(|access| Effect::GainsPermission { access });
    let losses = lost.into_iter().map(|access| Effect::LosesPermission { access });
    gains.chain(losses).collect()
}

fn role(
    reference: &ObjectRef,
    before: Option<&Value>,
    after: Option<&Value>,
) -> (Vec<String>, Vec<String>) {
    let (before, after) = (permissions(before), permissions(after));
    let goes_beyond = |some: &BTreeSet<Permission>, others: &BTreeSet<Permission>| {
        some.iter().any(|permission| !others.iter().any(|other| other.covers(permission)))
    };
    let named = |is: bool| if is { vec![reference.to_string()] } else { Vec::new() };
    (named(goes_beyond(&after, &before)), named(goes_beyond(&before, &after)))
}

fn permissions(role: Option<&Value>) -> BTreeSet<Permission> {
    let mut permissions = BTreeSet::new();
    let rules = role.and_then(|role| role.get("rules")).and_then(Value::as_array);
    for rule in rules.into_iter().flatten() {
        let names = texts(rule, "resourceNames");
        let names = if names.is_empty() { vec![String::new()] } else { names };
        for verb in texts(rule, "verbs") {
            for group in texts(rule, "apiGroups") {
                for resource in texts(rule, "resources") {
                    for name in &names {
                        permissions.insert(Permission {
                            group: Some(group.clone()),
                            resource: resource.clone(),
                            name: name.clone(),
                            verb: verb.clone(),
                        });
                    }
                }
            }
            for url in texts(rule, "nonResourceURLs") {
                permissions.insert(Permission {
                    group: None,
                    resource: url,
                    name: String::new(),
                    verb: verb.clone(),
                });
            }
        }
    }
    permissions
}

fn texts(rule: &Value, field: &str) -> Vec<String> {
    let items = rule.get(field).and_then(Value::as_array);
    items.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Bindings give a role to subjects: each subject with each role is one thing to have.
fn binding(
    reference: &ObjectRef,
    before: Option<&Value>,
    after: Option<&Value>,
) -> (Vec<String>, Vec<String>) {
    let (before, after) = (bound(reference, before), bound(reference, after));
    let gained = after.difference(&before).cloned().collect();
    (gained, before.difference(&after).cloned().collect())
}

fn bound(reference: &ObjectRef, binding: Option<&Value>) -> BTreeSet<String> {
    let Some(binding) = binding else { return BTreeSet::new() };
    let text = |value: &Value, field: &str| {
        value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let role = binding
        .get("roleRef")
        .map_or_else(String::new, |role| format!("{} {}", text(role, "kind"), text(role, "name")));
    let place = if reference.namespace.is_empty() {
        String::new()
    } else {
        format!(" in {}", reference.namespace)
    };
    let subjects = binding.get("subjects").and_then(Value::as_array);
    let name = |subject: &Value| {
        let (kind, namespace, name) =
            (text(subject, "kind"), text(subject, "namespace"), text(subject, "name"));
        let slash = if namespace.is_empty() { "" } else { "/" };
        format!("{kind} {namespace}{slash}{name}: {role}{place}")
    };
    subjects.into_iter().flatten().map(name).collect()
}
