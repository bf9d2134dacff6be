//! Objects that are built on others: what conversations say of an object is only what they are about.
#![expect(clippy::panic, reason = "an object that cannot be built fails its test")]

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// What a value is built on: `base` names an object, the other fields are merged into it, and pointers are set.
pub(super) fn build(value: &Value, objects: &BTreeMap<String, Value>) -> Value {
    let Value::Object(fields) = value else { return value.clone() };
    let base = fields.get("base").and_then(Value::as_str);
    let Some(base) = base else { return value.clone() };
    let named = objects.get(base).unwrap_or_else(|| panic!("no object {base} to build on"));
    let mut built = build(named, objects);
    for (name, field) in fields.iter().filter(|(name, _)| *name != "base") {
        if name.starts_with('/') {
            set(&mut built, name, field.clone());
        } else {
            merge(&mut built, &json!({name: field}));
        }
    }
    built
}

fn set(target: &mut Value, pointer: &str, value: Value) {
    let (above, last) = pointer.rsplit_once('/').expect("a pointer");
    let last = last.replace("~1", "/").replace("~0", "~");
    if !above.is_empty() && target.pointer(above).is_none() {
        set(target, above, json!({}));
    }
    match target.pointer_mut(above) {
        Some(Value::Object(fields)) => drop(fields.insert(last, value)),
        Some(Value::Array(items)) => {
            let index: usize = last.parse().expect("an index");
            match items.get_mut(index) {
                Some(item) => *item = value,
                None => items.push(value),
            }
        }
        _ => panic!("{pointer} leads nowhere"),
    }
}

/// RFC 7386.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else { return *target = patch.clone() };
    if !target.is_object() {
        *target = json!({});
    }
    let fields = target.as_object_mut().expect("it is one now");
    for (name, change) in changes {
        if change.is_null() {
            fields.remove(name);
        } else {
            merge(fields.entry(name.clone()).or_insert(Value::Null), change);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_merged_and_pointers_are_set() {
        let plain =
            json!({"kind": "A", "spec": {"size": 1, "list": [{"name": "x"}], "more": {"a": 1}}});
        let objects = BTreeMap::from([
            ("plain".to_owned(), plain),
            ("bigger".to_owned(), json!({"base": "plain", "spec": {"size": 2, "more": null}})),
        ]);
        let built = json!({"base": "bigger", "/spec/list/0/value": null, "/spec/list/1": {"name": "y"}, "/spec/new/inner": 3});
        assert_eq!(
            build(&built, &objects),
            json!({"kind": "A", "spec": {"size": 2, "list": [{"name": "x", "value": null}, {"name": "y"}], "new": {"inner": 3}}})
        );
        assert_eq!(build(&json!({"as": "it is"}), &objects), json!({"as": "it is"}));
    }
}
