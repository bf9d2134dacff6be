//! Label and field selectors.

use serde_json::Value;

use crate::object::{list, map, text};
use crate::resource::Resource;
use crate::status::Refusal;

mod query;

/// A selector in the form of a query, as in `app=web,tier in (back,front)`. `ReplicationControllers` have a plain map.
pub(crate) fn written(selector: &Value) -> String {
    let rules = list(selector, "/matchExpressions");
    let plain = if rules.is_empty() { Some(selector) } else { None };
    let labels = selector.get("matchLabels").or(plain).and_then(Value::as_object);
    let equal = labels.into_iter().flatten();
    let mut parts: Vec<String> =
        equal.filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?))).collect();
    parts.extend(rules.iter().map(|rule| {
        let key = text(rule, "/key");
        let mut values: Vec<&str> =
            list(rule, "/values").iter().filter_map(Value::as_str).collect();
        values.sort_unstable();
        match text(rule, "/operator") {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        }
    }));
    parts.sort();
    parts.join(",")
}

/// Whether a `LabelSelector` matches a map of labels. An empty selector matches everything.
pub fn matches(selector: &Value, labels: &Value) -> bool {
    let label = |key: &str| labels.get(key).and_then(Value::as_str);
    let is_met = map(selector, "/matchLabels")
        .into_iter()
        .flatten()
        .all(|(key, value)| label(key) == value.as_str());
    is_met
        && list(selector, "/matchExpressions").iter().all(|expression| {
            let found = label(text(expression, "/key"));
            let values = list(expression, "/values");
            let is_in = |found: &str| values.iter().any(|value| value.as_str() == Some(found));
            match text(expression, "/operator") {
                "In" => found.is_some_and(is_in),
                "NotIn" => !found.is_some_and(is_in),
                "Exists" => found.is_some(),
                "DoesNotExist" => found.is_none(),
                _ => false,
            }
        })
}

/// One requirement of a selector in a query.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    Is(String, Vec<String>),
    IsNot(String, Vec<String>),
    Has(String),
    HasNot(String),
    /// A number above or below another.
    Beyond {
        key: String,
        bound: i64,
        is_above: bool,
    },
}

/// Which objects a list, watch or deletion is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    labels: Vec<Requirement>,
    fields: Vec<Requirement>,
}

impl Selection {
    /// Reads `labelSelector` and `fieldSelector` of a query.
    pub(crate) fn read(labels: &str, fields: &str) -> Result<Self, Refusal> {
        let mut selection = Self { labels: query::read(labels)?, fields: Vec::new() };
        for part in fields.split(',').filter(|part| !part.is_empty()) {
            let requirement = read_field(part).ok_or_else(|| {
                Refusal::bad_request(format!(
                    "invalid selector: '{fields}'; can't understand '{part}'"
                ))
            })?;
            selection.fields.push(requirement);
        }
        Ok(selection)
    }

    /// The name that a field selector asks for alone, which RBAC and watches look at.
    pub(crate) fn single_name(&self) -> Option<&str> {
        self.fields.iter().find_map(|requirement| match requirement {
            Requirement::Is(key, values) if key == "metadata.name" => {
                values.first().map(String::as_str)
            }
            Requirement::Is(..)
            | Requirement::IsNot(..)
            | Requirement::Has(_)
            | Requirement::HasNot(_)
            | Requirement::Beyond { .. } => None,
        })
    }

    /// Refuses fields that the kind cannot be selected by.
    pub(crate) fn check(&self, resource: &Resource) -> Result<(), Refusal> {
        let kind = resource.kind.as_str();
        for requirement in &self.fields {
            let (Requirement::Is(key, _) | Requirement::IsNot(key, _)) = requirement else {
                continue;
            };
            if !selectable(kind).contains(&key.as_str()) {
                // Kinds with fields of their own say it in their own words.
                let why = match selectable(kind) {
                    ["metadata.name", "metadata.namespace"] if !resource.is_custom => format!(
                        "\"{key}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
                    ),
                    _ if kind == "Job" => {
                        format!("field label \"{key}\" not supported for batchv1.Job")
                    }
                    _ => format!("field label not supported: {key}"),
                };
                return Err(Refusal::bad_request(why));
            }
        }
        Ok(())
    }

    /// Whether an object is meant.
    pub(crate) fn matches(&self, object: &Value) -> bool {
        let labels = object.pointer("/metadata/labels").unwrap_or(&Value::Null);
        let label = |key: &str| labels.get(key).and_then(Value::as_str).map(str::to_owned);
        let field = |key: &str| {
            let found = object.pointer(&format!("/{}", key.replace('.', "/")));
            Some(match found {
                Some(Value::String(text)) => text.clone(),
                None | Some(Value::Null) if key == "spec.unschedulable" => "false".to_owned(),
                None | Some(Value::Null)
                    if matches!(key, "status.successful" | "status.replicas") =>
                {
                    "0".to_owned()
                }
                None | Some(Value::Null) => String::new(),
                Some(other) => other.to_string(),
            })
        };
        self.labels.iter().all(|requirement| requirement.is_met(label))
            && self.fields.iter().all(|requirement| requirement.is_met(field))
    }
}

impl Requirement {
    fn is_met(&self, find: impl Fn(&str) -> Option<String>) -> bool {
        match self {
            Self::Is(key, values) => find(key).is_some_and(|found| values.contains(&found)),
            Self::IsNot(key, values) => !find(key).is_some_and(|found| values.contains(&found)),
            Self::Has(key) => find(key).is_some(),
            Self::HasNot(key) => find(key).is_none(),
            Self::Beyond { key, bound, is_above } => find(key)
                .and_then(|found| found.parse::<i64>().ok())
                .is_some_and(|found| if *is_above { found > *bound } else { found < *bound }),
        }
    }
}

fn selectable(kind: &str) -> &'static [&'static str] {
    match kind {
        "Pod" => &[
            "metadata.name",
            "metadata.namespace",
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        "Node" => &["metadata.name", "spec.unschedulable"],
        "Namespace" => &["metadata.name", "status.phase"],
        "Secret" => &["metadata.name", "metadata.namespace", "type"],
        "Job" => &["metadata.name", "metadata.namespace", "status.successful"],
        "ReplicaSet" | "ReplicationController" => {
            &["metadata.name", "metadata.namespace", "status.replicas"]
        }
        "Event" => &[
            "metadata.name",
            "metadata.namespace",
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        _ => &["metadata.name", "metadata.namespace"],
    }
}

fn read_field(part: &str) -> Option<Requirement> {
    let trimmed = |key: &str, value: &str| (key.trim().to_owned(), vec![value.trim().to_owned()]);
    if let Some((key, value)) = part.split_once("!=") {
        let (key, values) = trimmed(key, value);
        return Some(Requirement::IsNot(key, values));
    }
    let (key, value) = part.split_once("==").or_else(|| part.split_once('='))?;
    let (key, values) = trimmed(key, value);
    Some(Requirement::Is(key, values))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_selector_is_written_as_a_query() {
        let selector = json!({"matchLabels": {"app": "web"}, "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["front", "back"]},
            {"key": "old", "operator": "DoesNotExist"}, {"key": "new", "operator": "Exists"}]});
        assert_eq!(written(&selector), "!old,app=web,new,tier in (back,front)");
        assert_eq!(written(&json!({"app": "web"})), "app=web");
    }

    #[test]
    fn every_form_of_a_label_selector_is_understood() {
        let object = json!({"metadata": {"name": "a", "labels": {"app": "shop", "tier": "web"}}});
        for (selector, wanted) in [
            ("app=shop", true),
            ("app==shop,tier=web", true),
            ("app!=shop", false),
            ("other!=x", true),
            ("app in (shop, bank)", true),
            ("app notin (shop)", false),
            ("tier", true),
            ("!tier", false),
            ("!other", true),
        ] {
            let selection = Selection::read(selector, "").unwrap();
            assert_eq!(selection.matches(&object), wanted, "{selector}");
        }
        assert!(Selection::read("app in shop", "").is_err());
    }

    #[test]
    fn a_field_that_cannot_be_selected_is_refused() {
        let selection = Selection::read("", "status.phase=Running").unwrap();
        let of = |kind: &str| {
            let found = crate::resource::built_in().iter().find(|resource| resource.kind == kind);
            found.expect("a kind of the table")
        };
        assert!(selection.check(of("Pod")).is_ok());
        assert_eq!(selection.check(of("ConfigMap")).unwrap_err().code, 400);
    }
}
