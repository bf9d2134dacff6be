//! What an object says: the fields it has, how two objects differ, and objects without some fields.
#![expect(clippy::wildcard_enum_match_arm, reason = "what is not named here is a leaf")]

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::Rules;
use super::fieldset::{FieldSet, shown};
use crate::schema::{List, Relation, Shape};

/// How a value is owned.
enum Whole<'a> {
    /// As one: scalars, atomic lists, maps and structs.
    Leaf,
    /// Field by field.
    Fields(&'a Map<String, Value>),
    /// Entry by entry.
    Items(&'a [Value], &'a List),
}

fn how<'a>(value: &'a Value, shape: &'a Shape, rules: Rules) -> Whole<'a> {
    match (shape, value) {
        (Shape::List(list), Value::Array(items)) if list.relation != Relation::Atomic => {
            Whole::Items(items, list)
        }
        (Shape::Map(_) | Shape::Ref(_) | Shape::Struct(_), Value::Object(entries))
            if !rules.is_one_value(shape) =>
        {
            Whole::Fields(entries)
        }
        (Shape::Any, Value::Object(entries)) => Whole::Fields(entries),
        _ => Whole::Leaf,
    }
}

/// The element that names a list entry.
pub(super) fn element(item: &Value, list: &List) -> Result<String, String> {
    match &list.relation {
        Relation::Keyed(keys) => {
            if !item.is_object() {
                return Err("associative list with keys may not have non-map elements".to_owned());
            }
            let mut sorted: Vec<&String> = keys.iter().collect();
            sorted.sort();
            let mut parts = Vec::new();
            for key in sorted {
                let value = match item.get(key) {
                    Some(value) if !value.is_null() => value.clone(),
                    // The only key with a default in the kinds that the sandbox knows.
                    _ if key == "protocol" => Value::from("TCP"),
                    _ => return Err(without_key(key)),
                };
                parts.push(format!("{}:{value}", Value::from(key.as_str())));
            }
            Ok(format!("k:{{{}}}", parts.join(",")))
        }
        Relation::Set | Relation::Atomic => Ok(format!("v:{item}")),
    }
}

/// The fields that an object has, as an applier owns them.
pub(super) fn fields_of(value: &Value, shape: &Shape, rules: Rules) -> FieldSet {
    let mut out = FieldSet::default();
    own(value, shape, rules, &mut Vec::new(), &mut out);
    out
}

/// Whether what is not there would be owned part by part.
fn is_granular_null(value: &Value, shape: &Shape, rules: Rules) -> bool {
    let is_granular = match shape {
        Shape::List(list) => list.relation != Relation::Atomic,
        Shape::Map(_) | Shape::Ref(_) | Shape::Struct(_) => {
            !rules.owns_empty_maps() && !rules.is_one_value(shape)
        }
        _ => false,
    };
    value.is_null() && is_granular
}

fn own(value: &Value, shape: &Shape, rules: Rules, path: &mut Vec<String>, out: &mut FieldSet) {
    match how(value, shape, rules) {
        Whole::Leaf if is_granular_null(value, shape, rules) => {}
        Whole::Leaf => out.insert(path),
        Whole::Fields(entries) => {
            for (name, entry) in entries {
                path.push(format!("f:{name}"));
                own(entry, shape.field(name), rules, path, out);
                let is_named =
                    shape.fields().is_some_and(|fields| fields.fields.contains_key(name));
                let is_empty = rules.owns_empty_maps()
                    && (entry.is_null() || entry.as_object().is_some_and(Map::is_empty));
                if is_empty || !is_named {
                    out.insert(path);
                }
                path.pop();
            }
        }
        Whole::Items(items, list) => {
            for item in items {
                if let Ok(element) = element(item, list) {
                    path.push(element);
                    own(item, &list.item, rules, path, out);
                    out.insert(path);
                    path.pop();
                }
            }
        }
    }
}

/// How two objects differ.
#[derive(Debug)]
pub(super) struct Comparison {
    rules: Rules,
    /// Fields that only the second has.
    pub(super) added: FieldSet,
    /// Fields that both have with different values.
    pub(super) modified: FieldSet,
    /// Fields that only the first has.
    pub(super) removed: FieldSet,
}

/// Compares two objects of a shape.
pub(super) fn compare(before: &Value, after: &Value, shape: &Shape, rules: Rules) -> Comparison {
    let mut out = Comparison {
        rules,
        added: FieldSet::default(),
        modified: FieldSet::default(),
        removed: FieldSet::default(),
    };
    out.walk(Some(before), Some(after), shape, &mut Vec::new());
    out
}

impl Comparison {
    fn leaf(&mut self, before: Option<&Value>, after: Option<&Value>, path: &[String]) {
        match (before, after) {
            (None, Some(_)) => self.added.insert(path),
            (Some(_), None) => self.removed.insert(path),
            (Some(before), Some(after)) if before != after => self.modified.insert(path),
            _ => {}
        }
    }

    fn walk(
        &mut self,
        before: Option<&Value>,
        after: Option<&Value>,
        shape: &Shape,
        path: &mut Vec<String>,
    ) {
        let left = before.map(|value| how(value, shape, self.rules));
        let right = after.map(|value| how(value, shape, self.rules));
        let is_empty = |side: &Option<Whole<'_>>| match side {
            None => true,
            Some(Whole::Fields(entries)) => entries.is_empty(),
            Some(Whole::Items(items, _)) => items.is_empty(),
            Some(Whole::Leaf) => false,
        };
        if is_empty(&left) && is_empty(&right) {
            return self.leaf(before, after, path);
        }
        match (left, right) {
            (Some(Whole::Fields(left)), Some(Whole::Fields(right))) => {
                self.fields(Some(left), Some(right), shape, path);
            }
            (Some(Whole::Fields(left)), None) => self.fields(Some(left), None, shape, path),
            (None, Some(Whole::Fields(right))) => self.fields(None, Some(right), shape, path),
            (Some(Whole::Leaf), Some(Whole::Fields(right))) if before == Some(&Value::Null) => {
                self.fields(None, Some(right), shape, path);
            }
            (Some(Whole::Leaf), Some(Whole::Items(right, list)))
                if before == Some(&Value::Null) =>
            {
                self.items(&[], right, list, path);
            }
            (Some(Whole::Items(left, list)), Some(Whole::Items(right, _))) => {
                self.items(left, right, list, path);
            }
            (Some(Whole::Items(left, list)), None) => self.items(left, &[], list, path),
            (None, Some(Whole::Items(right, list))) => self.items(&[], right, list, path),
            _ => return self.leaf(before, after, path),
        }
        match (before, after) {
            (None, Some(_)) => self.added.insert(path),
            (Some(_), None) => self.removed.insert(path),
            _ => {}
        }
    }

    fn fields(
        &mut self,
        before: Option<&Map<String, Value>>,
        after: Option<&Map<String, Value>>,
        shape: &Shape,
        path: &mut Vec<String>,
    ) {
        let names: BTreeSet<&String> =
            before.into_iter().chain(after).flat_map(Map::keys).collect();
        for name in names {
            path.push(format!("f:{name}"));
            let side =
                |map: Option<&'_ Map<String, Value>>| map.and_then(|map| map.get(name)).cloned();
            let (mut left, right) = (side(before), side(after));
            // Go writes a list or map without omitempty as null, so that what is in it is new, but it is not.
            let is_known = before.is_some() && left.is_none() && right.is_some();
            if is_known && is_null_when_empty(shape, name) {
                left = Some(Value::Null);
            }
            self.walk(left.as_ref(), right.as_ref(), shape.field(name), path);
            path.pop();
        }
    }

    fn items(&mut self, before: &[Value], after: &[Value], list: &List, path: &mut Vec<String>) {
        let grouped = |items: &[Value]| {
            let mut groups: Vec<(String, Vec<Value>)> = Vec::new();
            for item in items {
                let Ok(element) = element(item, list) else { continue };
                match groups.iter_mut().find(|(known, _)| *known == element) {
                    Some((_, group)) => group.push(item.clone()),
                    None => groups.push((element, vec![item.clone()])),
                }
            }
            groups
        };
        let (left, right) = (grouped(before), grouped(after));
        let find = |groups: &[(String, Vec<Value>)], element: &str| {
            groups.iter().find(|(known, _)| known == element).map(|(_, group)| group.clone())
        };
        let elements: BTreeSet<&String> =
            left.iter().chain(&right).map(|(element, _)| element).collect();
        for element in elements {
            let (left, right) = (find(&left, element), find(&right, element));
            path.push(element.clone());
            match (left.as_deref(), right.as_deref()) {
                (Some([left]), Some([right])) => {
                    self.walk(Some(left), Some(right), &list.item, path);
                }
                (Some([left]), None) => self.walk(Some(left), None, &list.item, path),
                (None, Some([right])) => self.walk(None, Some(right), &list.item, path),
                // Entries that share a key are one value.
                (left, right) if left != right => match (left, right) {
                    (None, _) => self.added.insert(path),
                    (_, None) => self.removed.insert(path),
                    _ => self.modified.insert(path),
                },
                _ => {}
            }
            path.pop();
        }
    }
}

/// Whether a field of a built-in type is a list or map that Go writes as null when it is empty.
fn is_null_when_empty(shape: &Shape, name: &str) -> bool {
    let Shape::Ref(_) = shape else { return false };
    shape.fields().and_then(|fields| fields.fields.get(name)).is_some_and(|field| {
        !field.is_omitted_empty && matches!(field.shape, Shape::List(_) | Shape::Map(_))
    })
}

/// The object without the fields of the set; null when nothing is left of it.
pub(super) fn without(value: &Value, set: &FieldSet, shape: &Shape, rules: Rules) -> Value {
    match how(value, shape, rules) {
        Whole::Leaf | Whole::Items([], _) => value.clone(),
        Whole::Fields(entries) if entries.is_empty() => value.clone(),
        Whole::Fields(entries) => {
            let kept = entries.iter().filter_map(|(name, entry)| {
                let element = format!("f:{name}");
                let below = set.below(&element);
                let left = || below.map(|below| without(entry, below, shape.field(name), rules));
                (!set.has(&element))
                    .then(|| (name.clone(), left().unwrap_or_else(|| entry.clone())))
            });
            let kept: Map<String, Value> = kept.collect();
            if kept.is_empty() { Value::Null } else { Value::Object(kept) }
        }
        Whole::Items(items, list) => {
            let kept = items.iter().filter_map(|item| {
                let Ok(element) = element(item, list) else { return Some(item.clone()) };
                let below = set.below(&element);
                let left = || below.map(|below| without(item, below, &list.item, rules));
                (!set.has(&element)).then(|| left().unwrap_or_else(|| item.clone()))
            });
            let kept: Vec<Value> = kept.collect();
            if kept.is_empty() { Value::Null } else { Value::Array(kept) }
        }
    }
}

/// What is wrong with an applied object: unknown fields, wrong types, list entries without keys or twice.
pub(super) fn mistakes(value: &Value, shape: &Shape, rules: Rules) -> Vec<String> {
    let mut out = Vec::new();
    check(value, shape, rules, &mut Vec::new(), &mut out);
    out
}

/// The element that names an entry of an applied list.
fn applied_element(item: &Value, list: &List, rules: Rules) -> Result<String, String> {
    const SERVICE_PORT: &str = "io.k8s.api.core.v1.ServicePort";
    let is_of_service = matches!(&list.item, Shape::Ref(name) if name == SERVICE_PORT);
    if is_of_service && !rules.knows_the_protocol_of_services() && item.get("protocol").is_none() {
        return Err(without_key("protocol"));
    }
    element(item, list)
}

fn without_key(key: &str) -> String {
    format!(
        "associative list with keys has an element that omits key field \"{key}\" (and doesn't have default value)"
    )
}

fn check(
    value: &Value,
    shape: &Shape,
    rules: Rules,
    path: &mut Vec<String>,
    out: &mut Vec<String>,
) {
    let mut wrong = |what: String, path: &[String]| out.push(format!("{}: {what}", shown(path)));
    let found = match value {
        Value::Null => return,
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "map",
    };
    match (shape, value) {
        (Shape::Ref(_) | Shape::Struct(_), Value::Object(entries)) => {
            let Some(fields) = shape.fields() else { return };
            for (name, entry) in entries {
                path.push(format!("f:{name}"));
                if fields.fields.contains_key(name) || fields.rest.is_some() {
                    check(entry, shape.field(name), rules, path, out);
                } else {
                    out.push(format!("{}: field not declared in schema", shown(path)));
                }
                path.pop();
            }
        }
        (Shape::Map(map), Value::Object(entries)) => {
            for (name, entry) in entries {
                path.push(format!("f:{name}"));
                check(entry, &map.value, rules, path, out);
                path.pop();
            }
        }
        (Shape::List(list), Value::Array(items)) => {
            let mut seen = BTreeSet::new();
            for (index, item) in items.iter().enumerate() {
                let named = if list.relation == Relation::Atomic {
                    Ok(format!("i:{index}"))
                } else {
                    applied_element(item, list, rules)
                };
                match named {
                    Err(what) => {
                        out.push(format!("{}: element {index}: {what}", shown(path)));
                    }
                    Ok(name) => {
                        if list.relation != Relation::Atomic && !seen.insert(name.clone()) {
                            let key = shown(std::slice::from_ref(&name));
                            out.push(format!("{}: duplicate entries for key {key}", shown(path)));
                        }
                        path.push(name);
                        check(item, &list.item, rules, path, out);
                        path.pop();
                    }
                }
            }
        }
        (Shape::Ref(_) | Shape::Struct(_) | Shape::Map(_), _) => {
            wrong(format!("expected map, got &{{{value}}}"), path);
        }
        (Shape::List(_), _) => wrong(format!("expected list, got &{{{value}}}"), path),
        (Shape::Quantity, Value::Number(_)) if !rules.takes_amounts_as_numbers() => {
            wrong(format!("expected string, got &value.valueUnstructured{{Value:{value}}}"), path);
        }
        (Shape::Integer | Shape::Number, Value::Number(_))
        | (Shape::Text | Shape::Bytes | Shape::Time | Shape::MicroTime, Value::String(_))
        | (Shape::Quantity | Shape::IntOrString, Value::String(_) | Value::Number(_))
        | (Shape::Boolean, Value::Bool(_))
        | (Shape::Any, _) => {}
        (Shape::Integer | Shape::Number, _) => {
            wrong(format!("expected numeric (int or float), got {found}"), path);
        }
        (Shape::Boolean, _) => wrong(format!("expected boolean, got {found}"), path),
        _ => wrong(format!("expected string, got &value.valueUnstructured{{Value:{value}}}"), path),
    }
}
