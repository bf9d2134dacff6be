//! The rules that an object and a change of it must meet, with the causes that the real server gives.
//!
//! Breadth: names, labels, the kinds that we render, and what is immutable. Rules of other kinds are absent. Values in messages are
//! written as JSON, where servers before 1.32 write Go syntax.

use serde_json::{Map, Value, json};

use crate::custom;
use crate::object::{self, integer, list, map, text};
use crate::resource::{Resource, Version};
use crate::status::Cause;

mod change;
mod kind;
mod pod;

pub(crate) use change::change;

const LABEL: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_1123: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";

/// Name, labels, annotations, finalizers and owners of an object.
pub(crate) fn metadata(resource: &Resource, value: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let name = object::name(value);
    if name.is_empty() {
        causes.push(Cause::required("metadata.name", "name or generateName is required"));
    } else if let Some(why) = wrong_name(resource, name) {
        causes.push(Cause::invalid("metadata.name", &name.into(), &why));
    }
    labels(map(value, "/metadata/labels"), "metadata.labels", &mut causes);
    for (key, _) in map(value, "/metadata/annotations").into_iter().flatten() {
        qualified(&key.to_lowercase(), key, "metadata.annotations", &mut causes);
    }
    for finalizer in list(value, "/metadata/finalizers") {
        let name = finalizer.as_str().unwrap_or_default();
        qualified(name, name, "metadata.finalizers", &mut causes);
    }
    let size: usize = map(value, "/metadata/annotations")
        .into_iter()
        .flatten()
        .map(|(key, value)| key.len() + value.as_str().map_or(0, str::len))
        .sum();
    if size > 262_144 {
        causes.push(Cause {
            reason: "FieldValueTooLong",
            message: "Too long: may not be more than 262144 bytes".to_owned(),
            field: "metadata.annotations".to_owned(),
        });
    }
    for (index, owner) in list(value, "/metadata/ownerReferences").iter().enumerate() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if text(owner, &format!("/{field}")).is_empty() {
                let place = format!("metadata.ownerReferences[{index}].{field}");
                causes.push(Cause::invalid(
                    place,
                    &"".into(),
                    &format!("{field} must not be empty"),
                ));
            }
        }
    }
    causes
}

/// The metadata of a changed object: as of a new one, and finalizers may not be added to an object that is being deleted.
pub(crate) fn metadata_change(resource: &Resource, existing: &Value, value: &Value) -> Vec<Cause> {
    let mut causes = metadata(resource, value);
    causes.extend(new_finalizers(existing, value));
    causes
}

fn new_finalizers(existing: &Value, value: &Value) -> Option<Cause> {
    if !object::is_terminating(existing) {
        return None;
    }
    let old = list(existing, "/metadata/finalizers");
    let new: Vec<&Value> = list(value, "/metadata/finalizers")
        .iter()
        .filter(|finalizer| !old.contains(finalizer))
        .collect();
    if new.is_empty() {
        return None;
    }
    let names: Vec<String> = new.iter().map(ToString::to_string).collect();
    Some(Cause::forbidden(
        "metadata.finalizers",
        &format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            names.join(", ")
        ),
    ))
}

/// Built-in kinds take finalizers only with a domain, but for those of Kubernetes itself.
pub(crate) fn unqualified_finalizers(resource: &Resource, value: &Value) -> Vec<Cause> {
    const STANDARD: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];
    if resource.is_custom {
        return Vec::new();
    }
    let finalizers = list(value, "/metadata/finalizers").iter().enumerate();
    finalizers
        .filter(|(_, finalizer)| {
            let name = finalizer.as_str().unwrap_or_default();
            !name.contains('/') && !STANDARD.contains(&name)
        })
        .map(|(index, finalizer)| {
            let field = format!("metadata.finalizers[{index}]");
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            Cause::invalid(field, finalizer, why)
        })
        .collect()
}

/// The rules of the kind.
pub(crate) fn object(resource: &Resource, version: &Version, value: &Value) -> Vec<Cause> {
    match &version.schema {
        Some(schema) => custom::schema::check(value, schema),
        None => kind::check(&resource.group, &resource.kind, value),
    }
}

fn wrong_name(resource: &Resource, name: &str) -> Option<String> {
    if resource.group == "rbac.authorization.k8s.io" {
        return match name {
            "." | ".." => Some(format!("may not be '{name}'")),
            _ if name.contains('/') => Some("may not contain '/'".to_owned()),
            _ if name.contains('%') => Some("may not contain '%'".to_owned()),
            _ => None,
        };
    }
    let (limit, is_met, why) = match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Service") => {
            (63, is_label(name) && name.starts_with(|c: char| c.is_ascii_lowercase()), LABEL_1035)
        }
        ("", "Namespace") => (63, is_label(name), LABEL_1123),
        _ => (253, name.split('.').all(is_label), SUBDOMAIN),
    };
    if name.len() > limit {
        return Some(format!("must be no more than {limit} characters"));
    }
    (!is_met).then(|| why.to_owned())
}

/// Whether a text is an RFC 1123 label, length apart.
fn is_label(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn is_qualified(text: &str) -> bool {
    let is_edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    is_edge(text.bytes().next())
        && is_edge(text.bytes().last())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

fn qualified(key: &str, shown: &str, field: &str, causes: &mut Vec<Cause>) {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let mut wrong = |why: &str| causes.push(Cause::invalid(field, &shown.into(), why));
    if let Some(prefix) = prefix
        && (prefix.is_empty() || prefix.len() > 253 || !prefix.split('.').all(is_label))
    {
        wrong(&format!("prefix part {SUBDOMAIN}"));
    }
    if name.is_empty() {
        wrong("name part must be non-empty");
    } else if name.len() > 63 {
        wrong("name part must be no more than 63 characters");
    }
    if !is_qualified(name) {
        wrong(QUALIFIED);
    }
}

/// Keys and values of labels.
pub(super) fn labels(labels: Option<&Map<String, Value>>, field: &str, causes: &mut Vec<Cause>) {
    for (key, value) in labels.into_iter().flatten() {
        qualified(key, key, field, causes);
        let word = value.as_str().unwrap_or_default();
        if word.len() > 63 {
            causes.push(Cause::invalid(field, value, "must be no more than 63 characters"));
        } else if !word.is_empty() && !is_qualified(word) {
            causes.push(Cause::invalid(field, value, LABEL));
        }
    }
}

/// A number that may not be negative.
pub(super) fn not_negative(value: &Value, pointer: &str, causes: &mut Vec<Cause>) {
    if let Some(number) = integer(value, pointer)
        && number < 0
    {
        let field = pointer.trim_start_matches('/').replace('/', ".");
        causes.push(Cause::invalid(field, &json!(number), "must be greater than or equal to 0"));
    }
}

/// A number that must be a port.
pub(super) fn port(number: Option<i64>, field: &str, causes: &mut Vec<Cause>) {
    match number {
        None | Some(0) if field.ends_with("containerPort") => {
            causes.push(Cause::required(field, ""));
        }
        Some(number) if (1..=65_535).contains(&number) => {}
        other => causes.push(Cause::invalid(
            field,
            &json!(other.unwrap_or_default()),
            "must be between 1 and 65535, inclusive",
        )),
    }
}
