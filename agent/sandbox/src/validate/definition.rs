//! The rules of custom resource definitions.

use std::collections::BTreeSet;

use serde_json::Value;

use super::place::Place;
use super::{LABEL_1035, is_label};
use crate::custom;
use crate::object::{self, is_true, list, map, text};
use crate::status::Cause;

/// The name of a definition is made of what it defines.
pub(super) fn name(value: &Value) -> Option<Cause> {
    let wanted = format!("{}.{}", text(value, "/spec/names/plural"), text(value, "/spec/group"));
    let given = object::name(value);
    let why = "must be spec.names.plural+\".\"+spec.group";
    (given != wanted).then(|| Cause::invalid("metadata.name", &given.into(), why))
}

/// What is wrong with a definition.
pub(super) fn check(whole: &Place<'_>, causes: &mut Vec<Cause>) {
    let spec = whole.at("spec");
    let scope = spec.at("scope");
    scope.required(causes);
    scope.choice(&["Cluster", "Namespaced"], causes);
    spec.at("group").required(causes);
    names(&spec.at("names"), causes);
    versions(&spec.at("versions"), causes);
    // As long as they are the same in all versions, schemas are told of as one.
    let schemas: Vec<&Value> =
        spec.at("versions").each().map(|version| version.at("schema").value).collect();
    let is_one = schemas.windows(2).all(|pair| pair.first() == pair.last());
    for version in spec.at("versions").each() {
        let schema = version.at("schema").at("openAPIV3Schema");
        if !schema.is_there() {
            causes.push(Cause::required(schema.path, "schemas are required"));
            continue;
        }
        let place = "spec.validation.openAPIV3Schema".to_owned();
        let schema = Place::new(schema.value, if is_one { place } else { schema.path });
        root(&schema, causes);
        if is_one {
            break;
        }
    }
}

fn names(names: &Place<'_>, causes: &mut Vec<Cause>) {
    for field in ["plural", "kind"] {
        names.at(field).required(causes);
    }
    for field in ["plural", "singular"].into_iter().filter(|field| !names.at(field).is_empty()) {
        label_1035(&names.at(field), "", causes);
    }
    for field in ["kind", "listKind"].into_iter().filter(|field| !names.at(field).is_empty()) {
        label_1035(&names.at(field), "may have mixed case, but should otherwise match: ", causes);
    }
    for list in ["shortNames", "categories"] {
        for name in names.at(list).each() {
            label_1035(&name, "", causes);
        }
    }
}

/// A label of RFC 1035; where case may be mixed that is said before.
fn label_1035(name: &Place<'_>, before: &str, causes: &mut Vec<Cause>) {
    let word = if before.is_empty() { name.text().to_owned() } else { name.text().to_lowercase() };
    if !is_label(&word) || !word.starts_with(|first: char| first.is_ascii_lowercase()) {
        causes.push(name.invalid(&format!("{before}{LABEL_1035}")));
    }
}

fn versions(versions: &Place<'_>, causes: &mut Vec<Cause>) {
    let mut known = BTreeSet::new();
    for (index, version) in versions.each().enumerate() {
        let name = version.at("name");
        label_1035(&name, "", causes);
        if index == 0 {
            label_1035(&Place::new(name.value, "spec.version"), "", causes);
        }
        if !known.insert(name.text()) {
            causes.push(versions.invalid("must contain unique version names"));
        }
    }
    let stored = versions.each().filter(|version| version.at("storage").is_true()).count();
    if stored != 1 {
        causes.push(versions.invalid("must have exactly one version marked as storage version"));
    }
    if stored == 0 {
        let why = "must have at least one stored version";
        causes.push(Cause::invalid("status.storedVersions", &Value::Array(Vec::new()), why));
    }
}

fn root(schema: &Place<'_>, causes: &mut Vec<Cause>) {
    let kind = schema.at("type");
    if kind.is_empty() {
        causes.push(kind.missing("must not be empty at the root"));
    } else if kind.text() != "object" {
        causes.push(kind.invalid("must be object at the root"));
    }
    for (name, inner) in schema.at("properties").entries() {
        structural(inner.value, &format!("{}.properties[{name}]", schema.path), causes);
    }
    if kind.text() == "array" && !schema.has("items") {
        causes.push(schema.at("items").missing("must be specified"));
    }
}

/// A structural schema names a type everywhere.
fn structural(schema: &Value, at: &str, causes: &mut Vec<Cause>) {
    let is_free = is_true(schema, "/x-kubernetes-int-or-string")
        || is_true(schema, "/x-kubernetes-preserve-unknown-fields");
    if text(schema, "/type").is_empty() && !is_free {
        causes.push(Cause::required(
            format!("{at}.type"),
            "must not be empty for specified object fields",
        ));
    }
    if let Some(default) = schema.get("default") {
        custom::schema::check_default(default, schema, &format!("{at}.default"), causes);
    }
    let list_type = text(schema, "/x-kubernetes-list-type");
    let place = format!("{at}.x-kubernetes-list-type");
    if !matches!(list_type, "" | "atomic" | "set" | "map") {
        let known = ["atomic", "set", "map"];
        causes.push(Cause::unsupported(place.as_str(), &list_type.into(), &known));
    }
    if !list(schema, "/x-kubernetes-list-map-keys").is_empty() && list_type != "map" {
        let why = "must be map if x-kubernetes-list-map-keys is non-empty";
        causes.push(Cause::required(place, why));
    }
    for (name, inner) in map(schema, "/properties").into_iter().flatten() {
        structural(inner, &format!("{at}.properties[{name}]"), causes);
    }
    if text(schema, "/type") == "array" {
        match schema.get("items") {
            Some(items) => structural(items, &format!("{at}.items"), causes),
            None => causes.push(Cause::required(format!("{at}.items"), "must be specified")),
        }
    }
    if let Some(inner) = schema.get("additionalProperties").filter(|inner| inner.is_object()) {
        structural(inner, &format!("{at}.additionalProperties"), causes);
    }
}
