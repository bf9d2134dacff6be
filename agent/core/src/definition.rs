//! What a custom resource definition says of its objects: whether they fit, and what it adds to them.
//!
//! For definitions that come with the same change, so that no server can be asked yet. Kubernetes, `Structural schemas` of
//! `apiextensions.k8s.io/v1`. Absent: definitions of `v1beta1`, and rules in CEL that only a server can judge (their number is
//! told).

use std::collections::BTreeSet;

use jsonschema::Validator;
use jsonschema::paths::{Location, LocationSegment};
use serde_json::{Map, Value, json};

use crate::object::Object;

mod rules;

/// Code of an object that does not fit the definition that comes with the same change.
pub const VIOLATED: &str = "CLUSTER/SCHEMA_VIOLATED";
/// Code of the remark that rules were left to the server.
pub const RULES_NOT_JUDGED: &str = "CLUSTER/RULES_NOT_JUDGED";

/// The schema of one kind at one version, ready for use.
pub struct Definition {
    schema: Value,
    validator: Validator,
}

/// What a definition makes of an object.
pub struct Judged {
    /// The object with the defaults of the schema.
    pub object: Object,
    /// What does not fit, as `path: why`, ordered. Without the values, which may be secrets.
    pub violations: Vec<String>,
    /// How many rules in CEL were left to the server.
    pub rules: usize,
}

/// Whether the object is a definition whose objects have this group and kind.
pub fn is_of(definition: &Object, group: &str, kind: &str) -> bool {
    definition.kind() == "CustomResourceDefinition"
        && definition.text("/spec/group") == group
        && definition.text("/spec/names/kind") == kind
}

impl Definition {
    /// What a definition says of objects at a version; `None` when it says nothing that can be judged.
    pub fn new(definition: &Object, version: &str) -> Option<Self> {
        let versions = definition.get("/spec/versions")?.as_array()?;
        let named = |it: &&Value| it.get("name").and_then(Value::as_str) == Some(version);
        let schema = versions.iter().find(named)?.pointer("/schema/openAPIV3Schema")?.clone();
        let mut standard = translated(&schema);
        if let Some(fields) = standard.as_object_mut() {
            // These are the server's own to judge, whatever the schema says of them.
            if let Some(Value::Object(properties)) = fields.get_mut("properties") {
                properties.retain(|name, _| !OF_EVERY_OBJECT.contains(&name.as_str()));
            }
        }
        let options = jsonschema::options().should_validate_formats(true);
        let validator = options.build(&standard).ok()?;
        Some(Self { schema, validator })
    }

    /// How many segments of a field's path name the secret that it is, or has in it.
    pub fn secret(&self, segments: &[String]) -> Option<usize> {
        secret(&self.schema, segments)
    }

    /// Puts in what the schema adds, and says what does not fit. `rules` says whether the server knows rules in CEL, `there`
    /// is what stands there now, and `after` what the object will be over that.
    pub fn judge(
        &self,
        object: &Object,
        rules: bool,
        there: Option<&Object>,
        after: impl Fn(&Object) -> Object,
    ) -> Judged {
        let mut object = object.clone();
        complete(&self.schema, object.value_mut());
        let mut violations = BTreeSet::new();
        let mut path = Vec::new();
        walk(&self.schema, object.value(), true, &mut path, &mut violations);
        for error in self.validator.iter_errors(object.value()) {
            violations.insert(format!("{}: {}", path_of(error.instance_path()), error.masked()));
        }
        // What does not fit the schema is not asked further, as a server does.
        let mut left = 0;
        if rules && violations.is_empty() {
            let there = there.map(Object::value);
            let found = rules::judge(&self.schema, after(&object).value(), there);
            violations.extend(found.violations);
            left = found.left.len();
        }
        Judged { object, violations: violations.into_iter().collect(), rules: left }
    }
}

/// How many segments of a field's path lead to the first that the schema calls a secret (`format: password`), or to a
/// value that may have such a field in it. Elements of lists are `[…]`.
fn secret(schema: &Value, segments: &[String]) -> Option<usize> {
    let mut schema = schema;
    for (depth, segment) in segments.iter().enumerate() {
        if is_password(schema) {
            return Some(depth);
        }
        let inner = if segment.starts_with('[') {
            schema.get("items")
        } else {
            properties(schema).and_then(|it| it.get(segment)).or(additional(schema))
        };
        schema = inner?;
    }
    has_password(schema).then_some(segments.len())
}

fn is_password(schema: &Value) -> bool {
    schema.get("format").and_then(Value::as_str) == Some("password")
}

fn has_password(schema: &Value) -> bool {
    is_password(schema)
        || properties(schema).into_iter().flatten().any(|(_, inner)| has_password(inner))
        || additional(schema).is_some_and(has_password)
        || schema.get("items").is_some_and(has_password)
}

/// Whether a server of this version (`v1.29.3`) judges by rules in CEL: it does since 1.25.
pub fn has_rules(version: &str) -> bool {
    let minor = version.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
    minor.is_none_or(|minor| minor >= 25)
}

/// Fields of every object that a schema need not name.
const OF_EVERY_OBJECT: [&str; 3] = ["apiVersion", "kind", "metadata"];

fn is_on(schema: &Value, name: &str) -> bool {
    schema.get(name) == Some(&Value::Bool(true))
}

/// The schemas of the fields of a map, by name.
fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    schema.get("properties").and_then(Value::as_object)
}

/// The schema that the values of a map share.
fn additional(schema: &Value) -> Option<&Value> {
    schema.get("additionalProperties").filter(|it| it.is_object())
}

/// The same schema in the words of JSON Schema: OpenAPI 3.0 has `nullable` and limits that are switched to exclusive,
/// Kubernetes its own words for lists and for numbers or texts.
fn translated(schema: &Value) -> Value {
    let Value::Object(fields) = schema else { return schema.clone() };
    let mut result = Map::new();
    for (name, inner) in fields {
        let inner = match (name.as_str(), inner) {
            ("properties", Value::Object(properties)) => {
                properties.iter().map(|(name, inner)| (name.clone(), translated(inner))).collect()
            }
            ("items" | "additionalProperties" | "not", inner) => translated(inner),
            ("allOf" | "anyOf" | "oneOf", Value::Array(items)) => {
                items.iter().map(translated).collect()
            }
            (
                "type" | "required" | "enum" | "pattern" | "format" | "minimum" | "maximum"
                | "multipleOf" | "minLength" | "maxLength" | "minItems" | "maxItems"
                | "uniqueItems" | "minProperties" | "maxProperties",
                inner,
            ) => inner.clone(),
            _ => continue,
        };
        result.insert(name.clone(), inner);
    }
    for (limit, exclusive) in [("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")] {
        if is_on(schema, exclusive)
            && let Some(limit) = result.remove(limit)
        {
            result.insert(exclusive.to_owned(), limit);
        }
    }
    if is_on(schema, "x-kubernetes-int-or-string") {
        result.insert("type".to_owned(), json!(["integer", "string"]));
        // Kubernetes asks for this very pattern, which says the same.
        result.remove("anyOf");
    }
    if fields.get("x-kubernetes-list-type").and_then(Value::as_str) == Some("set") {
        result.insert("uniqueItems".to_owned(), json!(true));
    }
    if is_on(schema, "nullable") {
        return json!({"anyOf": [{"type": "null"}, result]});
    }
    Value::Object(result)
}

/// Puts defaults where nothing is, as the server does before it judges. A null that the schema does not allow counts as
/// nothing where there is a default (Kubernetes, `Defaulting and nullable`).
fn complete(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, inner) in properties(schema).into_iter().flatten() {
                if let Some(default) = inner.get("default") {
                    let is_void =
                        fields.get(name).is_none_or(|it| it.is_null() && !is_on(inner, "nullable"));
                    if is_void {
                        fields.insert(name.clone(), default.clone());
                    }
                }
                if let Some(field) = fields.get_mut(name) {
                    complete(inner, field);
                }
            }
            if let Some(inner) = additional(schema) {
                for field in fields.values_mut() {
                    complete(inner, field);
                }
            }
        }
        Value::Array(items) => {
            if let Some(inner) = schema.get("items") {
                for item in items {
                    complete(inner, item);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Finds fields that the schema does not know and elements of lists that share a key: server-side apply takes neither.
fn walk(
    schema: &Value,
    value: &Value,
    is_object: bool,
    path: &mut Vec<String>,
    found: &mut BTreeSet<String>,
) {
    match value {
        Value::Object(fields) => {
            let keeps = is_on(schema, "x-kubernetes-preserve-unknown-fields");
            let is_object = is_object || is_on(schema, "x-kubernetes-embedded-resource");
            let named = properties(schema);
            for (name, field) in fields {
                if is_object && OF_EVERY_OBJECT.contains(&name.as_str()) {
                    continue;
                }
                let inner = named.and_then(|named| named.get(name)).or(additional(schema));
                path.push(format!(".{name}"));
                match inner {
                    Some(inner) => walk(inner, field, false, path, found),
                    None if keeps => {}
                    None => {
                        found.insert(format!(
                            "{}: the schema does not know this field",
                            joined(path)
                        ));
                    }
                }
                path.pop();
            }
        }
        Value::Array(items) => {
            if is_doubled(schema, items) {
                found.insert(format!("{}: two elements share a key", joined(path)));
            }
            let Some(inner) = schema.get("items") else { return };
            for (index, item) in items.iter().enumerate() {
                path.push(format!("[{index}]"));
                walk(inner, item, false, path, found);
                path.pop();
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Whether two elements of a list have the same keys (`x-kubernetes-list-map-keys`).
fn is_doubled(schema: &Value, items: &[Value]) -> bool {
    let Some(names) = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array) else {
        return false;
    };
    let key = |item: &Value| {
        let part = |name: &Value| item.get(name.as_str().unwrap_or_default()).map(Value::to_string);
        names.iter().map(part).collect::<Vec<_>>()
    };
    let keys: BTreeSet<_> = items.iter().map(key).collect();
    keys.len() < items.len()
}

fn joined(path: &[String]) -> String {
    path.concat().trim_start_matches('.').to_owned()
}

fn path_of(location: &Location) -> String {
    let parts: Vec<String> = location
        .into_iter()
        .map(|segment| match segment {
            LocationSegment::Property(name) => format!(".{name}"),
            LocationSegment::Index(index) => format!("[{index}]"),
        })
        .collect();
    joined(&parts)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn definition(spec: &Value) -> Definition {
        let schema = json!({"type": "object", "properties": {"spec": spec}});
        let definition = json!({"kind": "CustomResourceDefinition", "spec": {"versions": [
            {"name": "v1", "schema": {"openAPIV3Schema": schema}}]}});
        Definition::new(&Object::new(definition), "v1").unwrap()
    }

    fn backup(spec: &Value) -> Object {
        Object::new(json!({"apiVersion": "ops.example/v1", "kind": "Backup",
            "metadata": {"name": "nightly", "labels": {"a": "b"}}, "spec": spec}))
    }

    fn judged(definition: &Definition, object: &Object) -> Judged {
        definition.judge(object, true, None, Object::clone)
    }

    fn violations(schema: &Value, spec: &Value) -> Vec<String> {
        judged(&definition(schema), &backup(spec)).violations
    }

    #[rstest]
    #[case::kind(json!({"type": "integer"}), json!("3"), "is not of type \"integer\"")]
    #[case::choice(json!({"type": "string", "enum": ["a", "b"]}), json!("c"), "is not one of")]
    #[case::pattern(json!({"type": "string", "pattern": "^[a-z]+$"}), json!("A"), "does not match")]
    #[case::limit(json!({"type": "integer", "minimum": 3, "exclusiveMinimum": true}), json!(3), "less than or equal")]
    #[case::number_or_text(json!({"x-kubernetes-int-or-string": true}), json!(true), "is not of type")]
    #[case::null(json!({"type": "string"}), json!(null), "is not of type \"string\"")]
    #[case::set(json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}), json!(["a", "a"]), "non-unique")]
    #[case::doubled(json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
        "items": {"type": "object", "properties": {"name": {"type": "string"}}}}),
        json!([{"name": "a"}, {"name": "a"}]), "two elements share a key")]
    fn what_does_not_fit_is_told_with_its_path(
        #[case] schema: Value,
        #[case] value: Value,
        #[case] why: &str,
    ) {
        let schema = json!({"type": "object", "properties": {"field": schema}});
        let found = violations(&schema, &json!({"field": value}));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("spec.field: ") && found[0].contains(why), "{found:?}");
    }

    #[rstest]
    #[case(json!({"type": "integer", "minimum": 3, "exclusiveMinimum": false}), json!(3))]
    #[case(json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}), json!("80%"))]
    #[case(json!({"type": "string", "nullable": true}), json!(null))]
    #[case(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}), json!({"any": {"thing": 1}}))]
    #[case(json!({"type": "object", "additionalProperties": {"type": "integer"}}), json!({"a": 1}))]
    #[case(json!({"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}}),
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {}}))]
    fn what_fits_is_left_alone(#[case] schema: Value, #[case] value: Value) {
        let schema = json!({"type": "object", "properties": {"field": schema}});
        assert_eq!(violations(&schema, &json!({"field": value})), [""; 0]);
    }

    #[test]
    fn every_violation_is_told_and_no_value() {
        let schema = json!({"type": "object", "required": ["target"], "properties": {
            "target": {"type": "string"}, "password": {"type": "integer"}}});
        let found = violations(&schema, &json!({"password": "hunter2", "retain": 3}));
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found.iter().any(|it| it == "spec.retain: the schema does not know this field"));
        assert!(found.iter().any(|it| it.starts_with("spec: ") && it.contains("target")));
        assert!(!found.concat().contains("hunter2"));
    }

    #[test]
    fn defaults_are_put_in_before_it_is_judged() {
        let schema = json!({"type": "object", "required": ["mode"], "properties": {
            "mode": {"type": "string", "default": "full"},
            "keep": {"type": "object", "default": {}, "properties": {"days": {"type": "integer", "default": 7}}},
            "targets": {"type": "array", "items": {"type": "object", "properties": {
                "port": {"type": "integer", "default": 22}}}}}});
        let judged = judged(
            &definition(&schema),
            &backup(&json!({"mode": null, "targets": [{}, {"port": 1}]})),
        );
        assert_eq!(judged.violations, [""; 0]);
        let expected =
            json!({"mode": "full", "keep": {"days": 7}, "targets": [{"port": 22}, {"port": 1}]});
        assert_eq!(judged.object.get("/spec"), Some(&expected));
    }

    #[test]
    fn rules_are_judged_after_the_schema_and_those_for_the_server_are_counted() {
        let schema = json!({"type": "object",
            "x-kubernetes-validations": [{"rule": "self.a > 0"}, {"rule": "self.b.matches('x')"}],
            "properties": {"a": {"type": "integer", "default": 3}, "b": {"type": "string"}}});
        let asked = |spec: Value| {
            let judged = judged(&definition(&schema), &backup(&spec));
            (judged.violations, judged.rules)
        };
        assert_eq!(asked(json!({"b": "x"})), (Vec::new(), 1), "with the default");
        assert_eq!(asked(json!({"a": 0})), (vec!["spec: failed rule: self.a > 0".to_owned()], 1));
        let (violations, left) = asked(json!({"a": "x"}));
        assert_eq!((violations.len(), left), (1, 0), "{violations:?}");
    }
}
