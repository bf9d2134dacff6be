//! What of a live object is ours, by the server's own account (`metadata.managedFields`, server-side apply).

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::fields::{self, Difference};
use super::keys;
use super::normalise::{SERVER_ANNOTATIONS, normalised};
use crate::digest::Digest;
use crate::live::Conflict;
use crate::object::{FIELD_MANAGER, Object, text_of};

/// The set of fields that we own, in the form of `fieldsV1`. `None` when the object was never applied by us.
pub(super) fn owned_fields(live: &Object) -> Option<Value> {
    let is_ours = |entry: &&Value| {
        text_of(entry, "manager") == FIELD_MANAGER && text_of(entry, "subresource").is_empty()
    };
    let mut owned = Map::new();
    for entry in live.managers().filter(is_ours) {
        if let Some(Value::Object(fields)) = entry.get("fieldsV1") {
            unite(&mut owned, fields);
        }
    }
    (!owned.is_empty()).then_some(Value::Object(owned))
}

/// Adds the names of one set of fields to another.
pub(super) fn unite(into: &mut Map<String, Value>, from: &Map<String, Value>) {
    for (name, inner) in from {
        match (into.get_mut(name), inner) {
            (Some(Value::Object(mine)), Value::Object(theirs)) => unite(mine, theirs),
            _ => {
                into.insert(name.clone(), inner.clone());
            }
        }
    }
}

/// One manager's fields of a live object, without those of `status`.
struct Managed<'a> {
    entry: &'a Value,
    paths: Vec<Vec<String>>,
}

impl Managed<'_> {
    fn text(&self, field: &str) -> &str {
        text_of(self.entry, field)
    }

    fn is_ours(&self) -> bool {
        self.text("manager") == FIELD_MANAGER
    }

    fn has_set(&self, path: &[String]) -> Conflict {
        Conflict {
            field: shown(path),
            manager: self.text("manager").to_owned(),
            since: Some(self.text("time").to_owned()).filter(|time| !time.is_empty()),
        }
    }
}

/// All managers of a live object.
fn managers(live: &Object) -> Vec<Managed<'_>> {
    let managed = live.managers().map(|entry| {
        let paths = entry.get("fieldsV1").map(leaves).unwrap_or_default();
        let is_status = |path: &Vec<String>| path.first().is_some_and(|name| name == "f:status");
        Managed { entry, paths: paths.into_iter().filter(|path| !is_status(path)).collect() }
    });
    managed.filter(|managed| managed.text("subresource") != "status").collect()
}

/// Fields that we applied once and no longer want, and that stay because another manager has set them too (Kubernetes,
/// `Server-Side Apply`, shared ownership).
pub(super) fn kept(live: &Object, desired: &Object) -> Vec<Conflict> {
    let managers = managers(live);
    let applied = managers.iter().filter(|it| it.is_ours() && it.text("operation") == "Apply");
    let given_up: BTreeSet<&Vec<String>> = applied
        .flat_map(|own| &own.paths)
        .filter(|path| {
            reach(desired.value(), path).is_none() && reach(live.value(), path).is_some()
        })
        .collect();
    let mut kept = Vec::new();
    for other in managers.iter().filter(|it| !it.is_ours()) {
        let shared = other.paths.iter().filter(|path| given_up.contains(path));
        kept.extend(shared.map(|path| other.has_set(path)));
    }
    kept.sort();
    kept
}

/// Fields that others have set and we have not.
pub(super) fn foreign(live: &Object) -> Vec<Conflict> {
    let managers = managers(live);
    let ours: BTreeSet<&Vec<String>> =
        managers.iter().filter(|it| it.is_ours()).flat_map(|own| &own.paths).collect();
    let mut foreign = Vec::new();
    for other in managers.iter().filter(|it| !it.is_ours()) {
        let own = other.paths.iter().filter(|path| {
            !ours.contains(path)
                && !is_noise(path)
                && reach(live.value(), path).is_some_and(|value| !value.is_object())
        });
        foreign.extend(own.map(|path| other.has_set(path)));
    }
    foreign.sort();
    foreign
}

/// Whether a field is one that nobody decides on.
fn is_noise(path: &[String]) -> bool {
    let is = |index: usize, name: &str| path.get(index).is_some_and(|it| it == name);
    let annotation = path.get(2).and_then(|name| name.strip_prefix("f:"));
    is(0, "f:metadata")
        && is(1, "f:annotations")
        && annotation.is_some_and(|name| SERVER_ANNOTATIONS.contains(&name))
}

/// The paths of a set of fields that lead to no others.
fn leaves(fields: &Value) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (name, inner) in fields.as_object().into_iter().flatten().filter(|(name, _)| *name != ".") {
        if inner.as_object().is_none_or(|inner| inner.keys().all(|name| name == ".")) {
            found.push(vec![name.clone()]);
        }
        for mut rest in leaves(inner) {
            rest.insert(0, name.clone());
            found.push(rest);
        }
    }
    found
}

fn reach<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, name| find(value, name))
}

/// A path of `fieldsV1` as the server writes it in conflicts: `.spec.containers[name="web"].image`.
fn shown(path: &[String]) -> String {
    let part = |name: &String| match name.split_once(':') {
        Some(("k", key)) => {
            let key: Map<String, Value> = serde_json::from_str(key).unwrap_or_default();
            let parts: Vec<_> = key.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("[{}]", parts.join(","))
        }
        Some(("f", field)) => format!(".{field}"),
        Some((_, value)) => format!("[={value}]"),
        None => String::new(),
    };
    path.iter().map(part).collect()
}

/// The digest of what matters to a change: which object it is, what of it is ours, and what now stands at the paths that
/// would change.
///
/// `content` is the object normalised. A Secret is named by its resource version instead: a digest of a short password
/// could be guessed.
pub(super) fn fingerprint<'a>(
    live: &Object,
    content: &Value,
    paths: impl Iterator<Item = &'a str>,
) -> Digest {
    if live.is_secret() {
        return Digest::of(&(live.uid(), live.resource_version()));
    }
    let ours = owned_fields(live).map(|owned| part(live.value(), &owned)).unwrap_or_default();
    let paths: BTreeSet<&str> = paths.collect();
    let is_builtin = super::is_builtin(&live.reference(""));
    let leaves = fields::removed_leaves_at(is_builtin, content, &paths).into_iter();
    let changing: Vec<_> = leaves.map(|leaf| (leaf.path(), leaf.before)).collect();
    Digest::of(&(live.uid(), ours, changing))
}

/// Fields of the form that we applied which somebody else has since taken and given another value, as paths. What a
/// webhook rewrote in our own request stays ours and is not among them.
pub(super) fn taken(live: &Object, form: &Object) -> Vec<String> {
    let spec = form.get("/spec").cloned().unwrap_or_default();
    let restored = normalised(&restored(live, json!({"spec": spec})));
    let is_builtin = super::is_builtin(&live.reference(""));
    let differences = fields::differences(is_builtin, &normalised(live), &restored);
    differences.iter().map(Difference::path).collect()
}

/// The live object with what we applied and somebody else has since taken or removed. What a webhook rewrote in our own
/// request stays as it is.
pub(super) fn restored(live: &Object, applied: Value) -> Object {
    let mut lost = applied;
    if let Some(owned) = owned_fields(live) {
        without(&mut lost, &owned);
    }
    let mut restored = live.value().clone();
    lay_over("", &mut restored, &lost);
    Object::new(restored)
}

/// Whether all that is ours, by the record before or after, has the same value in both. What differs else is what webhooks
/// write in passing, or defaults: no write of ours is needed for it, and the next one brings it along.
pub(super) fn is_same_of_ours(live: &Object, predicted: &Object) -> bool {
    if predicted.get("/metadata/managedFields").is_none() {
        return false;
    }
    let mut ours = Map::new();
    for owned in [live, predicted].into_iter().filter_map(owned_fields) {
        unite(&mut ours, owned.as_object().unwrap_or(&Map::new()));
    }
    let (is_nothing, ours) = (ours.is_empty(), Value::Object(ours));
    is_nothing || part(live.value(), &ours) == part(predicted.value(), &ours)
}

/// Takes what a set of fields names out of a value; elements of keyed lists keep their keys, so that they can be matched.
fn without(value: &mut Value, owned: &Value) {
    for (name, inner) in owned.as_object().into_iter().flatten() {
        if inner.as_object().is_none_or(Map::is_empty) {
            remove(value, name);
        } else if let Some(found) = find_mut(value, name) {
            let key =
                name.strip_prefix("k:").and_then(|key| serde_json::from_str::<Value>(key).ok());
            without(found, inner);
            if let (Some(Value::Object(key)), Value::Object(element)) = (key, &mut *found) {
                element.extend(key);
            }
            if is_hollow(found) {
                remove(value, name);
            }
        }
    }
}

fn is_hollow(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The part of a value that a set of fields names.
fn part(value: &Value, owned: &Value) -> Value {
    let Some(owned) = owned.as_object() else { return Value::Null };
    if owned.keys().all(|name| name == ".") {
        return value.clone();
    }
    let mut parts = Map::new();
    for (name, inner) in owned {
        if let Some(found) = find(value, name) {
            parts.insert(name.clone(), part(found, inner));
        }
    }
    Value::Object(parts)
}

/// The value that one name of `fieldsV1` stands for: `f:field`, `k:{key of an element}`, `v:value of a set`.
fn find<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match name.split_once(':')? {
        ("f", field) => value.get(field),
        ("k", key) => {
            let key: Map<String, Value> = serde_json::from_str(key).ok()?;
            value.as_array()?.iter().find(|item| has_key(item, &key))
        }
        ("v", wanted) => {
            let wanted: Value = serde_json::from_str(wanted).ok()?;
            value.as_array()?.iter().find(|item| **item == wanted)
        }
        _ => None,
    }
}

/// Whether an element has these fields; a port without a protocol means TCP.
pub(super) fn has_key(item: &Value, key: &Map<String, Value>) -> bool {
    key.iter().all(|(name, wanted)| match item.get(name) {
        Some(value) => value == wanted,
        None => name == "protocol" && *wanted == json!("TCP"),
    })
}

/// What applying would probably give, worked out without the server: the live object without what we own and no longer
/// want, with what we want laid over it.
pub(super) fn overlaid(live: &Object, desired: &Object) -> Object {
    let mut result = live.value().clone();
    if let Some(owned) = owned_fields(live) {
        drop_unwanted(&mut result, Some(desired.value()), &owned);
    }
    lay_over("", &mut result, desired.value());
    Object::new(result)
}

fn drop_unwanted(result: &mut Value, desired: Option<&Value>, owned: &Value) {
    for (name, inner) in owned.as_object().into_iter().flatten() {
        let wanted = desired.and_then(|desired| find(desired, name));
        let is_leaf = inner.as_object().is_none_or(Map::is_empty);
        let is_element = inner.as_object().is_some_and(|fields| fields.contains_key("."));
        if wanted.is_none() && (is_leaf || is_element) {
            remove(result, name);
        } else if let Some(found) = find_mut(result, name) {
            drop_unwanted(found, wanted, inner);
        }
    }
}

fn find_mut<'a>(value: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    match name.split_once(':')? {
        ("f", field) => value.get_mut(field),
        ("k", key) => {
            let key: Map<String, Value> = serde_json::from_str(key).ok()?;
            value.as_array_mut()?.iter_mut().find(|item| has_key(item, &key))
        }
        _ => None,
    }
}

fn remove(value: &mut Value, name: &str) {
    match (name.split_once(':'), value) {
        (Some(("f", field)), Value::Object(map)) => {
            map.remove(field);
        }
        (Some(("k", key)), Value::Array(items)) => {
            if let Ok(key) = serde_json::from_str::<Map<String, Value>>(key) {
                items.retain(|item| !has_key(item, &key));
            }
        }
        (Some(("v", unwanted)), Value::Array(items)) => {
            if let Ok(unwanted) = serde_json::from_str::<Value>(unwanted) {
                items.retain(|item| *item != unwanted);
            }
        }
        _ => {}
    }
}

fn lay_over(field: &str, result: &mut Value, desired: &Value) {
    match (result, desired) {
        (Value::Object(result), Value::Object(desired)) => {
            for (name, value) in desired {
                lay_over(name, result.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (Value::Array(result), Value::Array(desired)) => {
            let (Some(have), Some(want)) = (keys::keys(field, result), keys::keys(field, desired))
            else {
                result.clone_from(desired);
                return;
            };
            for (key, value) in want.iter().zip(desired) {
                let at = have.iter().position(|other| other == key);
                match at.and_then(|at| result.get_mut(at)) {
                    Some(found) => lay_over("", found, value),
                    None => result.push(value.clone()),
                }
            }
        }
        (result, desired) => result.clone_from(desired),
    }
}
