//! Who may do what, from the RBAC objects in the store.
//!
//! Not simulated: aggregated cluster roles (the bootstrap roles are written out).

use serde_json::{Value, json};

use crate::access::User;
use crate::object::{list, name, namespace, text};
use crate::store::Store;

pub(crate) mod escalation;

const GROUP: &str = "rbac.authorization.k8s.io";

/// One question.
#[derive(Clone, Debug, Default)]
pub(crate) struct Question<'a> {
    pub(crate) verb: &'a str,
    pub(crate) group: &'a str,
    /// The plural, with `/subresource` when there is one.
    pub(crate) resource: String,
    pub(crate) name: &'a str,
    /// Empty at the cluster scope.
    pub(crate) namespace: &'a str,
    /// Set instead of a resource for paths such as `/healthz`.
    pub(crate) path: &'a str,
}

impl<'a> Question<'a> {
    /// From the attributes of an access review.
    pub(crate) fn read(spec: &'a Value) -> Self {
        if let Some(attributes) = spec.get("nonResourceAttributes") {
            return Self {
                verb: text(attributes, "/verb"),
                path: text(attributes, "/path"),
                ..Self::default()
            };
        }
        let attributes = spec.get("resourceAttributes").unwrap_or(&Value::Null);
        let subresource = text(attributes, "/subresource");
        let resource = text(attributes, "/resource");
        Self {
            verb: text(attributes, "/verb"),
            group: text(attributes, "/group"),
            resource: if subresource.is_empty() {
                resource.to_owned()
            } else {
                format!("{resource}/{subresource}")
            },
            name: text(attributes, "/name"),
            namespace: text(attributes, "/namespace"),
            path: "",
        }
    }
}

/// Why the user may, or `None` when no rule lets them.
pub(crate) fn allows(store: &Store, user: &User, question: &Question<'_>) -> Option<String> {
    if user.is_master() {
        return Some(String::new());
    }
    grants(store, user, question.namespace)
        .into_iter()
        .find(|grant| grant.rules.iter().any(|rule| covers(rule, question)))
        .map(|grant| grant.reason)
}

/// The rules that apply to a user in a namespace, for `SelfSubjectRulesReview`.
pub(crate) fn rules(store: &Store, user: &User, namespace: &str) -> Value {
    let mut resource_rules = Vec::new();
    let mut path_rules = Vec::new();
    if user.is_master() {
        resource_rules.push(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
        path_rules.push(json!({"verbs": ["*"], "nonResourceURLs": ["*"]}));
    }
    for grant in grants(store, user, namespace) {
        for rule in grant.rules {
            let is_path_rule = !list(&rule, "/nonResourceURLs").is_empty();
            if is_path_rule { path_rules.push(rule) } else { resource_rules.push(rule) }
        }
    }
    json!({"resourceRules": resource_rules, "nonResourceRules": path_rules, "incomplete": false})
}

struct Grant {
    rules: Vec<Value>,
    reason: String,
}

fn grants(store: &Store, user: &User, in_namespace: &str) -> Vec<Grant> {
    let cluster = store.of_kind(GROUP, "ClusterRoleBinding", None);
    let local = store.of_kind(GROUP, "RoleBinding", Some(in_namespace));
    let local = local.filter(|_| !in_namespace.is_empty());
    let mut out = Vec::new();
    for binding in cluster.chain(local) {
        let Some(subject) =
            list(binding, "/subjects").iter().find(|subject| is_meant(subject, user))
        else {
            continue;
        };
        let (kind, role) = (text(binding, "/roleRef/kind"), text(binding, "/roleRef/name"));
        let place = if kind == "ClusterRole" { "" } else { namespace(binding) };
        let key = crate::control::ObjectKey::new(GROUP, kind, place, role);
        let rules =
            store.object(&key).map(|role| list(role, "/rules").to_vec()).unwrap_or_default();
        let binding_name = match namespace(binding) {
            "" => name(binding).to_owned(),
            place => format!("{}/{place}", name(binding)),
        };
        out.push(Grant {
            rules,
            reason: format!(
                "RBAC: allowed by {} \"{binding_name}\" of {kind} \"{role}\" to {} \"{}\"",
                text(binding, "/kind"),
                text(subject, "/kind"),
                text(subject, "/name"),
            ),
        });
    }
    out
}

fn is_meant(subject: &Value, user: &User) -> bool {
    let wanted = text(subject, "/name");
    match text(subject, "/kind") {
        "User" => wanted == user.name,
        "Group" => user.groups.iter().any(|group| group == wanted),
        "ServiceAccount" => {
            user.name == format!("system:serviceaccount:{}:{wanted}", text(subject, "/namespace"))
        }
        _ => false,
    }
}

fn covers(rule: &Value, question: &Question<'_>) -> bool {
    let has = |field: &str, wanted: &str| {
        list(rule, field)
            .iter()
            .filter_map(Value::as_str)
            .any(|found| found == "*" || found == wanted)
    };
    if !has("/verbs", question.verb) {
        return false;
    }
    if !question.path.is_empty() {
        return list(rule, "/nonResourceURLs").iter().filter_map(Value::as_str).any(|pattern| {
            match pattern.strip_suffix('*') {
                Some(prefix) => question.path.starts_with(prefix),
                None => pattern == question.path,
            }
        });
    }
    let covers_resource = has("/resources", &question.resource)
        || question.resource.split_once('/').is_some_and(|(_, subresource)| {
            list(rule, "/resources").iter().any(|found| *found == format!("*/{subresource}"))
        });
    let names = list(rule, "/resourceNames");
    has("/apiGroups", question.group)
        && covers_resource
        && (names.is_empty() || names.iter().any(|found| found.as_str() == Some(question.name)))
}
