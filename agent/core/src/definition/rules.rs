//! Rules in CEL that a definition has for its objects (`x-kubernetes-validations`), judged without a server.
//!
//! Kubernetes, `Validation rules` of custom resources. A server's CEL knows types, formats and libraries that ours does not.
//! So a rule only counts as judged where nothing of that is in it; whatever is in doubt is left to the server, and counted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cel::objects::{Key, Map as CelMap, Value as Cel};
use cel::{Context, Program};
use serde_json::{Map, Value, json};

use super::{additional, is_on, joined, properties};

/// Functions whose meaning is the same here and there. Left out are conversions, regular expressions, and all libraries.
const KNOWN: [&str; 25] = [
    "_?_:_",
    "_&&_",
    "_||_",
    "!_",
    "_-_",
    "_+_",
    "_*_",
    "_/_",
    "_%_",
    "_==_",
    "_!=_",
    "_>=_",
    "_<=_",
    "_>_",
    "_<_",
    "-_",
    "_[_]",
    "@in",
    "@not_strictly_false",
    "has",
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "in",
];

/// Formats that are no texts for a server.
const OPAQUE: [&str; 5] = ["date-time", "date", "datetime", "duration", "byte"];

/// Words of the language that a field cannot be called by.
const RESERVED: [&str; 19] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
];

/// What was found of the rules of an object.
#[derive(Default)]
pub(super) struct Found {
    /// What they do not allow, as `path: why`.
    pub(super) violations: BTreeSet<String>,
    /// Rules that only the server can judge, by where they stand in the schema.
    pub(super) left: BTreeSet<(String, String)>,
}

/// Judges an object, and what changes against the one that is there.
pub(super) fn judge(schema: &Value, object: &Value, old: Option<&Value>) -> Found {
    let mut found = Found::default();
    let object = of_metadata(object);
    let old = old.map(of_metadata);
    walk(schema, &object, old.as_ref(), &mut Place::default(), &mut found);
    found
}

/// Of the metadata only the name is there for rules.
fn of_metadata(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|name, _| matches!(name.as_str(), "name" | "generateName"));
    }
    object
}

/// Where the walk is: in the object, and in the schema.
#[derive(Default)]
struct Place {
    path: Vec<String>,
    schema: Vec<String>,
}

impl Place {
    fn within(&mut self, path: String, schema: &str, walk: impl FnOnce(&mut Self)) {
        self.path.push(path);
        self.schema.push(schema.to_owned());
        walk(self);
        self.path.pop();
        self.schema.pop();
    }
}

fn walk(schema: &Value, value: &Value, old: Option<&Value>, place: &mut Place, found: &mut Found) {
    if value.is_null() {
        return;
    }
    let rules = schema.get("x-kubernetes-validations").and_then(Value::as_array);
    for rule in rules.into_iter().flatten() {
        let text = rule.get("rule").and_then(Value::as_str).unwrap_or_default();
        match holds(schema, rule, text, value, old) {
            Some(true) => {}
            Some(false) => {
                let message = rule.get("message").and_then(Value::as_str).map(str::trim);
                let message = message.map_or_else(|| format!("failed rule: {text}"), str::to_owned);
                found.violations.insert(format!("{}: {message}", joined(&place.path)));
            }
            None => {
                found.left.insert((place.schema.concat(), text.to_owned()));
            }
        }
    }
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let (inner, at) = match properties(schema).and_then(|named| named.get(name)) {
                    Some(inner) => (inner, format!(".{name}")),
                    None => match additional(schema) {
                        Some(inner) => (inner, ".*".to_owned()),
                        None => continue,
                    },
                };
                let old = old.and_then(|old| old.get(name));
                place
                    .within(format!(".{name}"), &at, |place| walk(inner, field, old, place, found));
            }
        }
        Value::Array(items) => {
            let Some(inner) = schema.get("items") else { return };
            for (index, item) in items.iter().enumerate() {
                let old = old.and_then(|old| counterpart(schema, item, old));
                place.within(format!("[{index}]"), "[]", |place| {
                    walk(inner, item, old, place, found);
                });
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The element of the old list that an element was: only lists with keys tell.
fn counterpart<'a>(schema: &Value, item: &Value, old: &'a Value) -> Option<&'a Value> {
    let names = schema.get("x-kubernetes-list-map-keys")?.as_array()?;
    let is_same = |other: &&Value| {
        names.iter().filter_map(Value::as_str).all(|name| item.get(name) == other.get(name))
    };
    old.as_array()?.iter().find(is_same)
}

/// Whether a rule holds; `None` when only a server can tell.
fn holds(
    schema: &Value,
    rule: &Value,
    text: &str,
    value: &Value,
    old: Option<&Value>,
) -> Option<bool> {
    let program = Program::compile(text).ok()?;
    let names = program.references();
    let is_transition = names.has_variable("oldSelf");
    if is_transition && is_on(rule, "optionalOldSelf") {
        return None;
    }
    if is_transition && old.is_none() {
        // There is no transition to judge.
        return Some(true);
    }
    let is_known = names.functions().iter().all(|name| KNOWN.contains(name));
    if !is_known || touches_opaque(schema, text) {
        return None;
    }
    let execute = |is_sorted: bool| {
        let mut context = Context::default();
        context.add_variable_from_value("self", to_cel(schema, value, is_sorted));
        if let Some(old) = old.filter(|_| is_transition) {
            context.add_variable_from_value("oldSelf", to_cel(schema, old, is_sorted));
        }
        match program.execute(&context) {
            Ok(Cel::Bool(holds)) => Some(holds),
            Ok(_) | Err(_) => None,
        }
    };
    // Lists with keys, and sets, are equal in any order for a server.
    let holds = execute(false)?;
    if execute(true) != Some(holds) {
        return None;
    }
    // Newer servers let stand what was there before, whatever a new rule says of it (`CRDValidationRatcheting`).
    if !holds && !is_transition && old == Some(value) {
        return None;
    }
    Some(holds)
}

/// Whether a rule may be about a value that is no text for a server.
fn touches_opaque(schema: &Value, rule: &str) -> bool {
    let format = schema.get("format").and_then(Value::as_str);
    if format.is_some_and(|format| OPAQUE.contains(&format)) {
        return true;
    }
    let named = properties(schema).into_iter().flatten();
    let is_word = |it: char| it.is_ascii_alphanumeric() || it == '_';
    let is_said = |name: &str| rule.split(|it| !is_word(it)).any(|word| word == escaped(name));
    named.into_iter().any(|(name, inner)| is_said(name) && touches_opaque(inner, rule))
        || schema.get("items").is_some_and(|inner| touches_opaque(inner, rule))
        || additional(schema).is_some_and(|inner| touches_opaque(inner, rule))
}

/// The name of a field as rules write it.
fn escaped(name: &str) -> String {
    if RESERVED.contains(&name) {
        return format!("__{name}__");
    }
    name.replace("__", "__underscores__")
        .replace('.', "__dot__")
        .replace('-', "__dash__")
        .replace('/', "__slash__")
}

/// A value with the types that the schema gives it; lists whose order means nothing in one order, where that is asked for.
fn to_cel(schema: &Value, value: &Value, is_sorted: bool) -> Cel {
    let kind = schema.get("type").and_then(Value::as_str);
    match value {
        Value::Null => Cel::Null,
        Value::Bool(value) => Cel::Bool(*value),
        Value::Number(number) => match number.as_i64().filter(|_| kind != Some("number")) {
            Some(integer) => Cel::Int(integer),
            None => number.as_f64().map_or(Cel::Null, Cel::Float),
        },
        Value::String(text) => Cel::String(text.clone().into()),
        Value::Array(items) => {
            let mut items: Vec<&Value> = items.iter().collect();
            let list = schema.get("x-kubernetes-list-type").and_then(Value::as_str);
            if is_sorted && matches!(list, Some("set" | "map")) {
                items.sort_by_cached_key(ToString::to_string);
            }
            let nothing = json!({});
            let inner = schema.get("items").unwrap_or(&nothing);
            let items = items.into_iter().map(|item| to_cel(inner, item, is_sorted));
            Cel::List(items.collect::<Vec<_>>().into())
        }
        Value::Object(fields) => to_map(schema, fields, is_sorted),
    }
}

fn to_map(schema: &Value, fields: &Map<String, Value>, is_sorted: bool) -> Cel {
    let nothing = json!({});
    let named = properties(schema);
    // A null is as good as nothing.
    let fields = fields.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| {
        let own = named.and_then(|named| named.get(name));
        let key = if own.is_some() { escaped(name) } else { name.clone() };
        let inner = own.or(additional(schema)).unwrap_or(&nothing);
        (key, to_cel(inner, value, is_sorted))
    });
    let fields: BTreeMap<String, Cel> = fields.collect();
    let fields = fields.into_iter().map(|(name, value)| (Key::from(name), value));
    Cel::Map(CelMap { map: Arc::new(fields.collect()) })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// What a rule of `spec` says of an object that was and will be so.
    fn judged(rule: &str, old: Option<&Value>, new: &Value) -> (Vec<String>, usize) {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object",
            "x-kubernetes-validations": [{"rule": rule}],
            "properties": {
                "replicas": {"type": "integer"}, "most": {"type": "integer"}, "ratio": {"type": "number"},
                "mode": {"type": "string"}, "start": {"type": "string", "format": "date-time"},
                "min-ready": {"type": "integer"}, "namespace": {"type": "string"},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "zones": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                "ports": {"type": "array", "items": {"type": "object", "properties": {
                    "name": {"type": "string"}, "port": {"type": "integer"}}}}}}}});
        let object = |spec: &Value| json!({"metadata": {"name": "x", "labels": {}}, "spec": spec});
        let found = judge(&schema, &object(new), old.map(object).as_ref());
        (found.violations.into_iter().collect(), found.left.len())
    }

    #[rstest]
    #[case::numbers("self.replicas <= self.most", json!({"replicas": 1, "most": 2}), json!({"replicas": 3, "most": 2}))]
    #[case::whole_and_broken("self.ratio < 0.5", json!({"ratio": 0}), json!({"ratio": 1}))]
    #[case::sums("self.replicas + 1 <= self.most", json!({"replicas": 1, "most": 2}), json!({"replicas": 2, "most": 2}))]
    #[case::absent("!has(self.mode) || self.mode in ['a', 'b']", json!({"mode": null}), json!({"mode": "c"}))]
    #[case::texts("self.mode.startsWith('a') && self.mode.size() < 3", json!({"mode": "aü"}), json!({"mode": "abc"}))]
    #[case::elements("self.ports.all(p, p.port > 1024)", json!({"ports": [{"port": 2000}]}), json!({"ports": [{"port": 80}]}))]
    #[case::one_of_them("self.ports.exists_one(p, p.name == 'http')", json!({"ports": [{"name": "http"}]}), json!({"ports": []}))]
    #[case::keys("'app' in self.labels", json!({"labels": {"app": "x"}}), json!({"labels": {"__app": "x"}}))]
    #[case::names_with_signs("self.min__dash__ready > 0 && self.__namespace__ != ''",
        json!({"min-ready": 1, "namespace": "a"}), json!({"min-ready": 0, "namespace": "a"}))]
    #[case::a_choice("self.mode == 'x' ? self.replicas == 1 : true", json!({"mode": "y", "replicas": 2}), json!({"mode": "x", "replicas": 2}))]
    fn a_rule_is_judged_without_a_server(
        #[case] rule: &str,
        #[case] good: Value,
        #[case] bad: Value,
    ) {
        assert_eq!(judged(rule, None, &good), (Vec::new(), 0));
        assert_eq!(judged(rule, None, &bad), (vec![format!("spec: failed rule: {rule}")], 0));
    }

    #[rstest]
    #[case::libraries("self.mode.matches('^a$')")]
    #[case::formats("self.start < '2026'")]
    #[case::nothing_there("self.mode == 'a'")]
    #[case::no_expression("self.mode ==")]
    #[case::kinds_that_do_not_go_together("self.replicas > 'a'")]
    fn what_only_a_server_can_judge_is_left_to_it(#[case] rule: &str) {
        let spec = json!({"replicas": 1, "start": "2026-01-01T00:00:00Z"});
        assert_eq!(judged(rule, None, &spec), (Vec::new(), 1));
    }

    #[test]
    fn a_transition_is_judged_where_there_is_one() {
        let rule = "self.mode == oldSelf.mode";
        let mode = |mode: &str| json!({"mode": mode});
        assert_eq!(judged(rule, None, &mode("b")), (Vec::new(), 0));
        assert_eq!(judged(rule, Some(&mode("b")), &mode("b")), (Vec::new(), 0));
        let told = vec![format!("spec: failed rule: {rule}")];
        assert_eq!(judged(rule, Some(&mode("a")), &mode("b")), (told, 0));
    }

    #[test]
    fn what_a_new_rule_finds_wrong_with_what_was_there_is_left_to_the_server() {
        let (rule, spec) = ("self.replicas > 1", json!({"replicas": 1}));
        assert_eq!(judged(rule, Some(&spec), &spec), (Vec::new(), 1));
        let before = json!({"replicas": 1, "mode": "a"});
        assert_eq!(judged(rule, Some(&before), &spec).0.len(), 1, "it changes");
    }

    #[test]
    fn the_order_of_a_set_means_nothing() {
        let zones = |zones: &[&str]| json!({"zones": zones});
        let asked = |old: &[&str], new: &[&str]| {
            judged("self.zones == oldSelf.zones", Some(&zones(old)), &zones(new))
        };
        assert_eq!(asked(&["a", "b"], &["a", "b"]), (Vec::new(), 0));
        assert_eq!(asked(&["a", "b"], &["b", "a"]), (Vec::new(), 1), "in doubt");
        assert_eq!(asked(&["a", "b"], &["b", "c"]).0.len(), 1);
    }

    #[test]
    fn rules_stand_where_they_are_with_their_own_words() {
        let schema = json!({"type": "object", "properties": {"items": {"type": "array",
            "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object",
                "x-kubernetes-validations": [
                    {"rule": "self.size >= oldSelf.size", "message": " cannot shrink "},
                    {"rule": "self.size < 100", "message": "too large"}],
                "properties": {"name": {"type": "string"}, "size": {"type": "integer"}}}}}});
        let items = |items: &[(&str, u32)]| {
            let items = items.iter().map(|(name, size)| json!({"name": name, "size": size}));
            json!({"items": items.collect::<Vec<_>>()})
        };
        let found = judge(
            &schema,
            &items(&[("b", 1), ("a", 5), ("c", 900)]),
            Some(&items(&[("a", 9), ("b", 1)])),
        );
        let told: Vec<_> = found.violations.into_iter().collect();
        assert_eq!(told, ["items[1]: cannot shrink", "items[2]: too large"]);
    }
}
