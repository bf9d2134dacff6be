//! Nobody grants more than they hold: what the API checks of who writes roles and bindings.
//!
//! Source: <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping>.

use serde_json::Value;

use super::{GROUP, Question, allows, grants};
use crate::access::User;
use crate::control::ObjectKey;
use crate::object::{self, list, text};
use crate::resource::Resource;
use crate::status::Refusal;
use crate::store::Store;

/// Refuses a role or a binding by which the user would grant what they do not hold. `existing` is what is changed.
pub(crate) fn check(
    store: &Store,
    user: &User,
    resource: &Resource,
    existing: Option<&Value>,
    value: &Value,
) -> Result<(), Refusal> {
    if user.is_master() || resource.group != GROUP {
        return Ok(());
    }
    let namespace = object::namespace(value);
    let may = |verb: &'static str, plural: &str, name: &str| {
        let question =
            Question { verb, group: GROUP, resource: plural.to_owned(), name, namespace, path: "" };
        allows(store, user, &question).is_some()
    };
    let rules = match resource.kind.as_str() {
        "Role" | "ClusterRole" => {
            let is_same =
                existing.is_some_and(|existing| existing.get("rules") == value.get("rules"));
            if is_same || may("escalate", &resource.plural, object::name(value)) {
                return Ok(());
            }
            list(value, "/rules").to_vec()
        }
        "RoleBinding" | "ClusterRoleBinding" => {
            let is_same =
                existing.is_some_and(|existing| existing.get("subjects") == value.get("subjects"));
            let (kind, name) = (text(value, "/roleRef/kind"), text(value, "/roleRef/name"));
            let (plural, place) =
                if kind == "Role" { ("roles", namespace) } else { ("clusterroles", "") };
            if is_same || may("bind", plural, name) {
                return Ok(());
            }
            let subject = crate::status::Subject { group: GROUP, resource: plural, name };
            let role = store.object(&ObjectKey::new(GROUP, kind, place, name));
            list(role.ok_or_else(|| Refusal::not_found(subject))?, "/rules").to_vec()
        }
        _ => return Ok(()),
    };
    let held: Vec<Value> =
        grants(store, user, namespace).into_iter().flat_map(|grant| grant.rules).collect();
    let missing: Vec<String> = rules
        .iter()
        .filter(|rule| !parts(rule).iter().all(|part| held.iter().any(|own| covers(own, part))))
        .map(Value::to_string)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let groups: Vec<String> = user.groups.iter().map(|group| format!("{group:?}")).collect();
    Err(Refusal::forbidden(
        resource.subject(object::name(value)),
        &format!(
            "user {:?} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}",
            user.name,
            groups.join(" "),
            missing.join("\n")
        ),
    ))
}

/// One verb about one thing.
struct Part<'a> {
    verb: &'a str,
    group: &'a str,
    resource: &'a str,
    /// Empty for all names.
    name: &'a str,
    /// Set instead of a resource.
    path: &'a str,
}

fn words<'a>(rule: &'a Value, field: &str) -> Vec<&'a str> {
    list(rule, field).iter().filter_map(Value::as_str).collect()
}

fn parts(rule: &Value) -> Vec<Part<'_>> {
    let mut names = words(rule, "/resourceNames");
    if names.is_empty() {
        names.push("");
    }
    let mut parts = Vec::new();
    for verb in words(rule, "/verbs") {
        for path in words(rule, "/nonResourceURLs") {
            parts.push(Part { verb, group: "", resource: "", name: "", path });
        }
        for group in words(rule, "/apiGroups") {
            for resource in words(rule, "/resources") {
                parts.extend(names.iter().map(|name| Part {
                    verb,
                    group,
                    resource,
                    name,
                    path: "",
                }));
            }
        }
    }
    parts
}

/// Whether a rule that somebody holds lets them grant a part. A star is covered by a star only.
fn covers(held: &Value, part: &Part<'_>) -> bool {
    let has = |field: &str, wanted: &str| {
        words(held, field).into_iter().any(|word| word == "*" || word == wanted)
    };
    if !has("/verbs", part.verb) {
        return false;
    }
    if !part.path.is_empty() {
        return words(held, "/nonResourceURLs").into_iter().any(|path| {
            path == part.path
                || path.strip_suffix('*').is_some_and(|start| part.path.starts_with(start))
        });
    }
    let names = words(held, "/resourceNames");
    let below = part.resource.split_once('/').map(|(_, below)| format!("*/{below}"));
    has("/apiGroups", part.group)
        && (has("/resources", part.resource)
            || below.is_some_and(|below| words(held, "/resources").contains(&below.as_str())))
        && (names.is_empty() || names.contains(&part.name))
}
