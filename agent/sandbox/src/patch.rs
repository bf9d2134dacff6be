//! Merge, JSON and strategic merge patches.

use serde_json::{Map, Value};

use crate::schema::{List, Shape};
use crate::status::{Cause, Refusal, Subject};

/// Refuses a patch that has not the form of its kind, each in the real server's way.
pub(crate) fn check(kind: &str, patch: &Value) -> Result<(), Refusal> {
    let found = match patch {
        Value::Object(_) => "object",
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Number(_) => "number",
        Value::Bool(_) => "bool",
        Value::Null => "null",
    };
    match kind {
        "application/json-patch+json" if found != "array" => Err(Refusal::bad_request(format!(
            "json: cannot unmarshal {found} into Go value of type jsonpatch.Patch"
        ))),
        "application/strategic-merge-patch+json" if found != "object" => {
            Err(Refusal::bad_request(format!(
                "json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"
            )))
        }
        "application/merge-patch+json" if found == "array" => {
            let subject = Subject { group: "", resource: "", name: "" };
            let why = "couldn't get version/kind; json parse error: json: cannot unmarshal array";
            Err(Refusal::invalid(subject, &[Cause::invalid("patch", patch, why)]))
        }
        "application/merge-patch+json" if found != "object" => {
            Err(Refusal::plain(500, "", "Invalid JSON Patch"))
        }
        _ => Ok(()),
    }
}

/// RFC 7386.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(fields) = target.as_object_mut() else { return };
    for (name, change) in changes {
        if change.is_null() {
            fields.remove(name);
        } else {
            merge(fields.entry(name.clone()).or_insert(Value::Null), change);
        }
    }
}

/// RFC 6902.
pub(crate) fn operations(target: &mut Value, patch: &Value) -> Result<(), Refusal> {
    let Value::Array(operations) = patch else {
        return Err(Refusal::bad_request("a JSON patch is a list of operations"));
    };
    for operation in operations {
        let word = |name: &str| operation.get(name).and_then(Value::as_str).unwrap_or_default();
        let (path, from) = (word("path"), word("from"));
        let given = || operation.get("value").cloned().unwrap_or(Value::Null);
        let done = match word("op") {
            "test" => {
                let found = target.pointer(path).cloned().unwrap_or(Value::Null);
                (found == given()).then_some(())
            }
            "add" => add(target, path, given()),
            "remove" => take(target, path).map(drop),
            "replace" => take(target, path).and_then(|_| add(target, path, given())),
            "move" => take(target, from).and_then(|value| add(target, path, value)),
            "copy" => target.pointer(from).cloned().and_then(|value| add(target, path, value)),
            _ => None,
        };
        // Which operation it was, and why, is not told.
        let why = "the server rejected our request due to an error in our request";
        done.ok_or_else(|| Refusal::plain(422, "Invalid", why))?;
    }
    Ok(())
}

fn parent<'a, 'b>(target: &'a mut Value, path: &'b str) -> Option<(&'a mut Value, String)> {
    let (above, last): (&'b str, &'b str) = path.rsplit_once('/')?;
    let last = last.replace("~1", "/").replace("~0", "~");
    Some((target.pointer_mut(above)?, last))
}

fn add(target: &mut Value, path: &str, value: Value) -> Option<()> {
    if path.is_empty() {
        *target = value;
        return Some(());
    }
    let (above, last) = parent(target, path)?;
    match above {
        Value::Object(fields) => {
            fields.insert(last, value);
        }
        Value::Array(items) => {
            let index = if last == "-" { items.len() } else { last.parse().ok()? };
            if index > items.len() {
                return None;
            }
            items.insert(index, value);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
    }
    Some(())
}

fn take(target: &mut Value, path: &str) -> Option<Value> {
    let (above, last) = parent(target, path)?;
    match above {
        Value::Object(fields) => fields.remove(&last),
        Value::Array(items) => {
            let index: usize = last.parse().ok()?;
            (index < items.len()).then(|| items.remove(index))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// A strategic merge patch, with the merge keys of the kind and the directives `$patch`, `$retainKeys`,
/// `$setElementOrder` and `$deleteFromPrimitiveList`.
pub(crate) fn strategic(target: &mut Value, patch: &Value, shape: &Shape) -> Result<(), Refusal> {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return Ok(());
    };
    match changes.get("$patch").and_then(Value::as_str) {
        Some("replace") => {
            let mut bare = changes.clone();
            bare.remove("$patch");
            *target = Value::Object(bare);
            return Ok(());
        }
        Some("delete") => {
            *target = Value::Object(Map::new());
            return Ok(());
        }
        Some("merge") | None => {}
        Some(other) => {
            let shown = as_go(patch);
            let why = format!("unknown patch type: {other} in map: {shown}");
            return Err(Refusal::plain(500, "", why));
        }
    }
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(fields) = target.as_object_mut() else { return Ok(()) };
    if let Some(Value::Array(kept)) = changes.get("$retainKeys") {
        fields.retain(|name, _| kept.iter().any(|found| found == name));
    }
    for (name, change) in changes {
        if let Some(list) = name.strip_prefix("$deleteFromPrimitiveList/") {
            if let (Some(Value::Array(items)), Value::Array(gone)) = (fields.get_mut(list), change)
            {
                items.retain(|item| !gone.contains(item));
            }
            continue;
        }
        if name.starts_with('$') {
            continue;
        }
        if change.is_null() {
            fields.remove(name);
            continue;
        }
        let inner = shape.field(name);
        match (inner, change) {
            (Shape::List(list), Value::Array(items)) if list.strategy.contains("merge") => {
                let order = changes.get(&format!("$setElementOrder/{name}"));
                let own = fields.entry(name.clone()).or_insert_with(|| Value::Array(Vec::new()));
                merge_items(own, items, order, list)?;
            }
            (_, Value::Object(_)) => {
                strategic(fields.entry(name.clone()).or_insert(Value::Null), change, inner)?;
            }
            _ => {
                fields.insert(name.clone(), change.clone());
            }
        }
    }
    // An order without changes only sorts.
    for (name, order) in changes {
        if let Some(list) = name.strip_prefix("$setElementOrder/")
            && !changes.contains_key(list)
            && let (Shape::List(inner), Some(Value::Array(items))) =
                (shape.field(list), fields.get_mut(list))
        {
            let order = order.as_array().map_or(&[][..], Vec::as_slice);
            let before = items.clone();
            *items = sorted(std::mem::take(items), &before, order, inner);
        }
    }
    Ok(())
}

fn merge_items(
    own: &mut Value,
    changes: &[Value],
    order: Option<&Value>,
    list: &List,
) -> Result<(), Refusal> {
    if !own.is_array() {
        *own = Value::Array(Vec::new());
    }
    let Some(items) = own.as_array_mut() else { return Ok(()) };
    let before = items.clone();
    if changes.iter().any(|change| change.get("$patch").and_then(Value::as_str) == Some("replace"))
    {
        *items = changes.iter().filter(|change| change.get("$patch").is_none()).cloned().collect();
        return Ok(());
    }
    for change in changes {
        if list.merge_key.is_empty() {
            if !items.contains(change) {
                items.push(change.clone());
            }
            continue;
        }
        let Some(key) = change.get(&list.merge_key) else {
            let why = format!(
                "map: {} does not contain declared merge key: {}",
                as_go(change),
                list.merge_key
            );
            return Err(Refusal::plain(500, "", why));
        };
        let position = items.iter().position(|item| item.get(&list.merge_key) == Some(key));
        if change.get("$patch").and_then(Value::as_str) == Some("delete") {
            items.retain(|item| item.get(&list.merge_key) != Some(key));
            continue;
        }
        if let Some(item) = position.and_then(|at| items.get_mut(at)) {
            strategic(item, change, &list.item)?;
        } else {
            let mut item = Value::Object(Map::new());
            strategic(&mut item, change, &list.item)?;
            items.push(item);
        }
    }
    let named = changes.iter().filter(|change| change.get("$patch").is_none());
    let named: Vec<Value> = named.cloned().collect();
    let order = order.and_then(Value::as_array).unwrap_or(&named);
    *items = sorted(std::mem::take(items), &before, order, list);
    Ok(())
}

/// How Go shows a value.
fn as_go(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let mut shown: Vec<String> =
                fields.iter().map(|(name, field)| format!("{name}:{}", as_go(field))).collect();
            shown.sort();
            format!("map[{}]", shown.join(" "))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(as_go).collect::<Vec<_>>().join(" "))
        }
        Value::String(text) => text.clone(),
        Value::Null => "<nil>".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// Entries that the patch names come in its order. One that only the live list has goes before the next of those when it was before
/// that in the live list.
fn sorted(items: Vec<Value>, before: &[Value], order: &[Value], list: &List) -> Vec<Value> {
    let key = |item: &Value| match list.merge_key.as_str() {
        "" => Some(item.clone()),
        merge_key => item.get(merge_key).cloned(),
    };
    let place = |among: &[Value], item: &Value| {
        let own = key(item);
        among.iter().position(|other| key(other) == own)
    };
    let (mut named, others): (Vec<Value>, Vec<Value>) =
        items.into_iter().partition(|item| place(order, item).is_some());
    named.sort_by_key(|item| place(order, item));
    let mut out = Vec::new();
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    loop {
        let goes_first = match (named.peek(), others.peek()) {
            (Some(next), Some(other)) => match (place(before, other), place(before, next)) {
                (Some(other), Some(next)) => other < next,
                _ => false,
            },
            (None, Some(_)) => true,
            (Some(_), None) => false,
            (None, None) => return out,
        };
        out.extend(if goes_first { others.next() } else { named.next() });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema;

    #[test]
    fn a_merge_patch_removes_with_null_and_replaces_lists() {
        let mut target = json!({"a": 1, "b": {"c": [1, 2], "d": 3}});
        merge(&mut target, &json!({"a": null, "b": {"c": [3]}}));
        assert_eq!(target, json!({"b": {"c": [3], "d": 3}}));
    }

    #[test]
    fn a_json_patch_tests_adds_moves_and_refuses_what_is_not_there() {
        let mut target = json!({"a": [1, 2], "b/c": 1});
        let patch = json!([{"op": "test", "path": "/b~1c", "value": 1}, {"op": "add", "path": "/a/-", "value": 3},
            {"op": "remove", "path": "/a/0"}, {"op": "move", "from": "/b~1c", "path": "/d"}]);
        operations(&mut target, &patch).unwrap();
        assert_eq!(target, json!({"a": [2, 3], "d": 1}));
        let refused =
            operations(&mut target, &json!([{"op": "remove", "path": "/nope"}])).unwrap_err();
        assert_eq!(refused.code, 422);
    }

    #[test]
    fn a_strategic_patch_merges_containers_by_name() {
        let shape = schema::of_kind("", "v1", "Pod");
        let mut target = json!({"spec": {"containers": [{"name": "a", "image": "x:1"}, {"name": "b", "image": "y:1"}],
            "tolerations": [{"key": "k"}]}});
        let patch = json!({"spec": {"containers": [{"name": "b", "image": "y:2"}, {"name": "a", "$patch": "delete"}],
            "tolerations": [{"key": "l"}]}});
        strategic(&mut target, &patch, &shape).unwrap();
        assert_eq!(
            target,
            json!({"spec": {"containers": [{"name": "b", "image": "y:2"}], "tolerations": [{"key": "l"}]}})
        );
    }
}
