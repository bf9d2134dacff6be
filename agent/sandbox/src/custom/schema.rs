//! The structural schemas of custom resources: their shape, and checking objects against them.
#![expect(clippy::wildcard_enum_match_arm, reason = "what is not named here is a leaf")]

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::object::{is_true, list, map, text};
use crate::schema::{Field, List, Map, Relation, Shape, Struct};
use crate::status::Cause;

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// The shape of a whole object: the schema, and the parts that every object has.
pub(crate) fn shape_of_object(schema: &Value) -> Shape {
    let mut fields = BTreeMap::new();
    let mut rest = None;
    match shape(schema) {
        Shape::Struct(own) => {
            fields.clone_from(&own.fields);
            rest.clone_from(&own.rest);
        }
        _ => rest = Some(Shape::Any),
    }
    fields.insert("apiVersion".to_owned(), field(Shape::Text, false));
    fields.insert("kind".to_owned(), field(Shape::Text, false));
    fields.insert("metadata".to_owned(), field(Shape::Ref(OBJECT_META.to_owned()), false));
    Shape::Struct(Arc::new(Struct { fields, is_atomic: false, rest }))
}

fn field(shape: Shape, is_nullable: bool) -> Field {
    Field {
        shape,
        is_omitted_empty: false,
        is_always_written: false,
        is_nullable,
        strategy: String::new(),
    }
}

fn shape(schema: &Value) -> Shape {
    if is_true(schema, "/x-kubernetes-int-or-string") {
        return Shape::IntOrString;
    }
    let keeps_unknown = is_true(schema, "/x-kubernetes-preserve-unknown-fields");
    if is_true(schema, "/x-kubernetes-embedded-resource") {
        return shape_of_object(&without_embedded(schema));
    }
    match text(schema, "/type") {
        "object" => {
            let is_atomic = text(schema, "/x-kubernetes-map-type") == "atomic";
            let additional =
                schema.get("additionalProperties").filter(|inner| **inner != Value::Bool(false));
            let properties = map(schema, "/properties");
            if let (Some(additional), None) = (additional, properties) {
                return Shape::Map(Arc::new(Map { value: shape(additional), is_atomic }));
            }
            let fields = properties
                .into_iter()
                .flatten()
                .map(|(name, inner)| {
                    (name.clone(), field(shape(inner), is_true(inner, "/nullable")))
                })
                .collect();
            let rest = if keeps_unknown { Some(Shape::Any) } else { additional.map(shape) };
            Shape::Struct(Arc::new(Struct { fields, is_atomic, rest }))
        }
        "array" => {
            let item = schema.get("items").map_or(Shape::Any, shape);
            let keys = list(schema, "/x-kubernetes-list-map-keys");
            let relation = match text(schema, "/x-kubernetes-list-type") {
                "set" => Relation::Set,
                "map" => Relation::Keyed(
                    keys.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
                ),
                _ => Relation::Atomic,
            };
            Shape::List(Arc::new(List {
                item,
                relation,
                strategy: String::new(),
                merge_key: String::new(),
            }))
        }
        "string" => Shape::Text,
        "integer" => Shape::Integer,
        "number" => Shape::Number,
        "boolean" => Shape::Boolean,
        _ => Shape::Any,
    }
}

fn without_embedded(schema: &Value) -> Value {
    let mut schema = schema.clone();
    if let Some(fields) = schema.as_object_mut() {
        fields.remove("x-kubernetes-embedded-resource");
    }
    schema
}

/// What is wrong with an object by its schema.
pub(crate) fn check(value: &Value, schema: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (name, inner) in map(schema, "/properties").into_iter().flatten() {
        if matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
            continue;
        }
        if let Some(field) = value.get(name) {
            check_value(field, inner, name, &mut causes);
        }
    }
    check_required(value, schema, "", &mut causes);
    causes
}

/// What is wrong with a default. The decoder tells of no field there.
pub(crate) fn check_default(default: &Value, schema: &Value, field: &str, causes: &mut Vec<Cause>) {
    let mut found = Vec::new();
    check_value(default, schema, "", &mut found);
    causes.extend(found.into_iter().map(|cause| Cause { field: field.to_owned(), ..cause }));
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn check_required(value: &Value, schema: &Value, path: &str, causes: &mut Vec<Cause>) {
    for name in list(schema, "/required").iter().filter_map(Value::as_str) {
        if value.get(name).is_none() {
            causes.push(Cause::required(join(path, name), ""));
        }
    }
}

fn check_value(value: &Value, schema: &Value, path: &str, causes: &mut Vec<Cause>) {
    if value.is_null() && is_true(schema, "/nullable") {
        return;
    }
    let wanted = text(schema, "/type");
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() || number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let is_met = wanted.is_empty()
        || wanted == found
        || (wanted == "number" && found == "integer")
        || (is_true(schema, "/x-kubernetes-int-or-string")
            && matches!(found, "integer" | "string"));
    if is_true(schema, "/x-kubernetes-int-or-string") && !matches!(found, "integer" | "string")
        || !is_met
    {
        let wanted = if wanted.is_empty() { "integer,string" } else { wanted };
        causes.push(Cause {
            reason: "FieldValueTypeInvalid",
            message: format!(
                "Invalid value: \"{found}\": {path} in body must be of type {wanted}: \"{found}\""
            ),
            field: path.to_owned(),
        });
        return;
    }
    check_choices(value, schema, path, causes);
    match value {
        Value::Number(number) => {
            check_number(value, number.as_f64().unwrap_or_default(), schema, path, causes);
        }
        Value::String(word) => check_text(value, word, schema, path, causes),
        Value::Array(items) => check_items(value, items, schema, path, causes),
        Value::Object(fields) => {
            if is_true(schema, "/x-kubernetes-embedded-resource") {
                for name in ["apiVersion", "kind"] {
                    if text(value, &format!("/{name}")).is_empty() {
                        causes.push(Cause::required(join(path, name), "must not be empty"));
                    }
                }
            }
            check_required(value, schema, path, causes);
            bounds(
                value,
                fields.len(),
                schema,
                path,
                ("minProperties", "maxProperties", "properties"),
                causes,
            );
            for (name, field) in fields {
                let inner = schema
                    .pointer("/properties")
                    .and_then(|properties| properties.get(name))
                    .or_else(|| schema.get("additionalProperties"));
                if let Some(inner) = inner {
                    check_value(field, inner, &join(path, name), causes);
                }
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
    check_combinations(value, schema, path, causes);
}

fn check_choices(value: &Value, schema: &Value, path: &str, causes: &mut Vec<Cause>) {
    let choices = list(schema, "/enum");
    if !choices.is_empty() && !choices.contains(value) {
        let choices: Vec<&str> = choices.iter().filter_map(Value::as_str).collect();
        causes.push(Cause::unsupported(path, value, &choices));
    }
}

fn check_number(value: &Value, number: f64, schema: &Value, path: &str, causes: &mut Vec<Cause>) {
    let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
    let shown = |name: &str| schema.get(name).map(Value::to_string).unwrap_or_default();
    if let Some(minimum) = bound("minimum") {
        let is_exclusive = is_true(schema, "/exclusiveMinimum");
        if number < minimum || (is_exclusive && number <= minimum) {
            let words = if is_exclusive { "greater than" } else { "greater than or equal to" };
            let why = format!("{path} in body should be {words} {}", shown("minimum"));
            causes.push(Cause::invalid(path, value, &why));
        }
    }
    if let Some(maximum) = bound("maximum") {
        let is_exclusive = is_true(schema, "/exclusiveMaximum");
        if number > maximum || (is_exclusive && number >= maximum) {
            let words = if is_exclusive { "less than" } else { "less than or equal to" };
            let why = format!("{path} in body should be {words} {}", shown("maximum"));
            causes.push(Cause::invalid(path, value, &why));
        }
    }
    if let Some(step) = bound("multipleOf")
        && step != 0.0
        && (number / step).fract() != 0.0
    {
        let why = format!("{path} in body should be a multiple of {}", shown("multipleOf"));
        causes.push(Cause::invalid(path, value, &why));
    }
}

fn check_text(value: &Value, word: &str, schema: &Value, path: &str, causes: &mut Vec<Cause>) {
    bounds(value, word.chars().count(), schema, path, ("minLength", "maxLength", "chars"), causes);
    let pattern = text(schema, "/pattern");
    if !pattern.is_empty()
        && !regex::Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(word))
    {
        let why = format!("{path} in body should match '{pattern}'");
        causes.push(Cause::invalid(path, value, &why));
    }
}

fn check_items(
    value: &Value,
    items: &[Value],
    schema: &Value,
    path: &str,
    causes: &mut Vec<Cause>,
) {
    bounds(value, items.len(), schema, path, ("minItems", "maxItems", "items"), causes);
    let keys: Vec<&str> =
        list(schema, "/x-kubernetes-list-map-keys").iter().filter_map(Value::as_str).collect();
    let kind = text(schema, "/x-kubernetes-list-type");
    for (index, item) in items.iter().enumerate() {
        let place = format!("{path}[{index}]");
        let is_same = |other: &Value| match kind {
            "set" => other == item,
            "map" => keys.iter().all(|key| other.get(key) == item.get(key)),
            _ => false,
        };
        if items.iter().take(index).any(is_same) {
            let shown = if kind == "map" {
                keys.iter()
                    .map(|key| ((*key).to_owned(), item.get(key).cloned().unwrap_or_default()))
                    .collect()
            } else {
                item.clone()
            };
            causes.push(Cause::duplicate(place.as_str(), &shown));
        }
        if let Some(inner) = schema.get("items") {
            check_value(item, inner, &place, causes);
        }
    }
}

fn bounds(
    value: &Value,
    count: usize,
    schema: &Value,
    path: &str,
    (least, most, noun): (&str, &str, &str),
    causes: &mut Vec<Cause>,
) {
    let bound = |name: &str| {
        schema.get(name).and_then(Value::as_u64).and_then(|bound| usize::try_from(bound).ok())
    };
    if let Some(least) = bound(least)
        && count < least
    {
        let why = if noun == "chars" {
            format!("{path} in body should be at least {least} chars long")
        } else {
            format!("{path} in body should have at least {least} {noun}")
        };
        causes.push(Cause::invalid(path, value, &why));
    }
    if let Some(most) = bound(most)
        && count > most
    {
        let (reason, message) = if noun == "chars" {
            ("FieldValueTooLong", format!("Too long: must have at most {most} bytes"))
        } else {
            ("FieldValueTooMany", format!("Too many: {count}: must have at most {most} items"))
        };
        causes.push(Cause { reason, message, field: path.to_owned() });
    }
}

/// What is wrong with a combination is told of no field, and what is wrong with its closest part of that part's fields.
fn check_combinations(value: &Value, schema: &Value, path: &str, causes: &mut Vec<Cause>) {
    let of = |inner: &Value| {
        let mut found = Vec::new();
        check_value(value, inner, path, &mut found);
        found
    };
    let whole = |what: &str| {
        let why = format!("\"{path}\" must {what}");
        Cause::invalid("<nil>", &Value::from(""), &why)
    };
    let closest = |inners: &[Value]| inners.iter().map(of).min_by_key(Vec::len).unwrap_or_default();
    let all = list(schema, "/allOf");
    if all.iter().any(|inner| !of(inner).is_empty()) {
        let passed = all.iter().filter(|inner| of(inner).is_empty()).count();
        let none = if passed == 0 { ". None validated" } else { "" };
        causes.push(whole(&format!("validate all the schemas (allOf){none}")));
        causes.extend(all.iter().flat_map(of));
    }
    let any = list(schema, "/anyOf");
    if !any.is_empty() && any.iter().all(|inner| !of(inner).is_empty()) {
        causes.push(whole("validate at least one schema (anyOf)"));
        causes.extend(closest(any));
    }
    let one = list(schema, "/oneOf");
    let valid = one.iter().filter(|inner| of(inner).is_empty()).count();
    if !one.is_empty() && valid != 1 {
        let found = if valid == 0 {
            causes.extend(closest(one));
            "none valid".to_owned()
        } else {
            format!("{valid} valid alternatives")
        };
        causes.push(whole(&format!("validate one and only one schema (oneOf). Found {found}")));
    }
    if let Some(not) = schema.get("not")
        && of(not).is_empty()
    {
        causes.push(whole("not validate the schema (not)"));
    }
}
