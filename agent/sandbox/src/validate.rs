//! The rules that an object and a change of it must meet, with the causes that the real server gives.
//!
//! Values in messages are written as JSON, where servers before 1.32 write Go syntax. Absent: rules of kinds that `kind.rs` does not
//! name, of pods with settings for Windows, and of ephemeral containers.

use serde_json::{Map, Value};

use crate::custom;
use crate::object::{self, list, map, text};
use crate::resource::{Resource, Version};
use crate::status::Cause;

mod change;
mod class;
mod container;
mod definition;
mod kind;
mod network;
mod place;
mod pod;
mod rbac;
mod selector;
mod service;
mod size;
mod volume;
mod webhook;
mod workload;

pub(crate) use change::change;
use selector::label_selector;

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
    let finalizers = list(value, "/metadata/finalizers");
    let has = |name: &str| finalizers.iter().any(|finalizer| finalizer == name);
    if has("orphan") && has("foregroundDeletion") {
        let given = Value::from(finalizers);
        let why = "finalizer orphan and foregroundDeletion cannot be both set";
        causes.push(Cause::invalid("metadata.finalizers", &given, why));
    }
    let prefix = text(value, "/metadata/generateName");
    if !prefix.is_empty()
        && let Some(why) = wrong_name(resource, prefix.trim_end_matches('-'))
    {
        causes.push(Cause::invalid("metadata.generateName", &prefix.into(), &why));
    }
    let size: usize = map(value, "/metadata/annotations")
        .into_iter()
        .flatten()
        .map(|(key, value)| key.len() + value.as_str().map_or(0, str::len))
        .sum();
    if size > 262_144 {
        causes.push(Cause {
            reason: "FieldValueTooLong",
            message: "Too long: must have at most 262144 bytes".to_owned(),
            field: "metadata.annotations".to_owned(),
        });
    }
    owners(value, &mut causes);
    causes
}

/// The references to owners. The real server leaves the entry out of the paths.
fn owners(value: &Value, causes: &mut Vec<Cause>) {
    const PLACE: &str = "metadata.ownerReferences";
    let mut controllers = Vec::new();
    for owner in list(value, "/metadata/ownerReferences") {
        for (field, noun) in
            [("apiVersion", "version"), ("kind", "kind"), ("name", "name"), ("uid", "uid")]
        {
            if text(owner, &format!("/{field}")).is_empty() {
                let why = format!("{noun} must not be empty");
                causes.push(Cause::invalid(format!("{PLACE}.{field}"), &"".into(), &why));
            }
        }
        if text(owner, "/kind") == "Event" && text(owner, "/apiVersion") == "v1" {
            causes.push(Cause::invalid(
                PLACE,
                owner,
                "/v1, Kind=Event is disallowed from being an owner",
            ));
        }
        if object::is_true(owner, "/controller") {
            controllers.push(text(owner, "/name"));
        }
    }
    if let [first, .., last] = controllers.as_slice() {
        let given = value.pointer("/metadata/ownerReferences").cloned().unwrap_or_default();
        let why = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {last}"
        );
        causes.push(Cause::invalid(PLACE, &given, &why));
    }
}

/// The records of who owns what. The real server tells each mistake four times.
pub(crate) fn managers(value: &Value) -> Vec<Cause> {
    let entries = list(value, "/metadata/managedFields").iter();
    let wrong = entries.filter(|entry| {
        let operation = text(entry, "/operation");
        entry.as_object().is_some_and(|entry| !entry.is_empty())
            && !matches!(operation, "Apply" | "Update")
    });
    let causes = wrong.map(|entry| {
        let operation = entry.get("operation").cloned().unwrap_or_else(|| "".into());
        let place = "metadata.managedFields.operation";
        Cause::invalid(place, &operation, "must be `Apply` or `Update`")
    });
    causes.flat_map(|cause| vec![cause; 4]).collect()
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

/// What is asked of a new object alone, since it cannot change later.
pub(crate) fn creation(resource: &Resource, value: &Value) -> Vec<Cause> {
    match (resource.group.as_str(), resource.kind.as_str()) {
        (custom::GROUP, custom::KIND) => definition::name(value).into_iter().collect(),
        _ => Vec::new(),
    }
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

/// What is wrong with the key of a label.
pub(crate) fn wrong_label_key(key: &str) -> Vec<String> {
    let (prefix, name) = match key.split_once('/') {
        Some((_, name)) if name.contains('/') => {
            let why = QUALIFIED.strip_prefix("name part ").unwrap_or(QUALIFIED);
            let domain =
                "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            return vec![format!("a qualified name {why} {domain}")];
        }
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let mut wrong = Vec::new();
    match prefix {
        Some("") => wrong.push("prefix part must be non-empty".to_owned()),
        Some(prefix) if prefix.len() > 253 || !prefix.split('.').all(is_label) => {
            wrong.push(format!("prefix part {SUBDOMAIN}"));
        }
        _ => {}
    }
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        wrong.push("name part must be no more than 63 characters".to_owned());
    }
    if !is_qualified(name) {
        wrong.push(QUALIFIED.to_owned());
    }
    wrong
}

fn qualified(key: &str, shown: &str, field: &str, causes: &mut Vec<Cause>) {
    let wrong = wrong_label_key(key);
    causes.extend(wrong.iter().map(|why| Cause::invalid(field, &shown.into(), why)));
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
