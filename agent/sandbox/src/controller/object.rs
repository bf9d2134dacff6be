//! Reading and writing the fields of Kubernetes objects that are held as JSON.

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

static ABSENT: Value = Value::Null;

/// The field at a path such as `spec/replicas`; null when any step is missing. Keys with slashes cannot be named.
pub(super) fn at<'a>(object: &'a Value, path: &str) -> &'a Value {
    let mut here = object;
    for step in path.split('/') {
        match here.get(step) {
            Some(inner) => here = inner,
            None => return &ABSENT,
        }
    }
    here
}

/// A string field; empty when absent.
pub(super) fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    at(object, path).as_str().unwrap_or_default()
}

/// A whole number field.
pub(super) fn number(object: &Value, path: &str) -> Option<i64> {
    at(object, path).as_i64()
}

/// Whether a boolean field is true.
pub(super) fn flag(object: &Value, path: &str) -> bool {
    at(object, path).as_bool().unwrap_or(false)
}

/// The elements of a list field; empty when absent.
pub(super) fn items<'a>(object: &'a Value, path: &str) -> &'a [Value] {
    at(object, path).as_array().map_or(&[], Vec::as_slice)
}

/// A time field.
pub(super) fn time(object: &Value, path: &str) -> Option<Timestamp> {
    text(object, path).parse().ok()
}

/// A time as Kubernetes writes it: RFC 3339 in whole seconds.
pub(super) fn stamp(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}

/// Sets the field at a path, making the objects on the way.
pub(super) fn set(object: &mut Value, path: &str, value: Value) {
    let mut here = object;
    for step in path.split('/') {
        if !here.is_object() {
            *here = Value::Object(Map::new());
        }
        let Value::Object(fields) = here else { return };
        here = fields.entry(step).or_insert(Value::Null);
    }
    *here = value;
}

/// Sets one entry of a map field whose key may hold slashes, such as a label or an annotation.
pub(super) fn set_entry(object: &mut Value, path: &str, key: &str, value: &str) {
    if !at(object, path).is_object() {
        set(object, path, json!({}));
    }
    let mut here = object;
    for step in path.split('/') {
        let Some(inner) = here.get_mut(step) else { return };
        here = inner;
    }
    if let Value::Object(fields) = here {
        fields.insert(key.to_owned(), json!(value));
    }
}

/// Removes a field if it is there.
pub(super) fn unset(object: &mut Value, path: &str) {
    let (parent, last) = path.rsplit_once('/').unwrap_or(("", path));
    let mut here = object;
    for step in parent.split('/').filter(|step| !step.is_empty()) {
        let Some(inner) = here.get_mut(step) else { return };
        here = inner;
    }
    if let Value::Object(fields) = here {
        fields.remove(last);
    }
}

pub(super) fn name(object: &Value) -> &str {
    text(object, "metadata/name")
}

pub(super) fn namespace(object: &Value) -> &str {
    text(object, "metadata/namespace")
}

pub(super) fn uid(object: &Value) -> &str {
    text(object, "metadata/uid")
}

/// One label; empty when absent.
pub(super) fn label<'a>(object: &'a Value, key: &str) -> &'a str {
    at(object, "metadata/labels").get(key).and_then(Value::as_str).unwrap_or_default()
}

/// One annotation.
pub(super) fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    at(object, "metadata/annotations").get(key).and_then(Value::as_str)
}

pub(super) fn is_terminating(object: &Value) -> bool {
    !at(object, "metadata/deletionTimestamp").is_null()
}

/// The reference to the object that controls this one.
pub(super) fn controller_reference(object: &Value) -> Option<&Value> {
    items(object, "metadata/ownerReferences").iter().find(|owner| flag(owner, "controller"))
}

/// A controlling reference to `owner`.
pub(super) fn owner_reference(owner: &Value) -> Value {
    json!({
        "apiVersion": text(owner, "apiVersion"),
        "kind": text(owner, "kind"),
        "name": name(owner),
        "uid": uid(owner),
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// The group part of an object's `apiVersion`.
pub(super) fn group(object: &Value) -> &str {
    text(object, "apiVersion").split_once('/').map_or("", |(group, _)| group)
}

/// Whether a `LabelSelector` takes these labels; an absent selector takes nothing, an empty one everything.
pub(super) fn selects(selector: &Value, labels: &Value) -> bool {
    if selector.is_null() {
        return false;
    }
    let exact = at(selector, "matchLabels").as_object();
    exact.is_none_or(|wanted| wanted.iter().all(|(key, value)| labels.get(key) == Some(value)))
        && items(selector, "matchExpressions").iter().all(|rule| satisfies(rule, labels))
}

/// Whether labels satisfy one requirement of a label selector or of a node selector term.
pub(super) fn satisfies(rule: &Value, labels: &Value) -> bool {
    let actual = labels.get(text(rule, "key"));
    let listed = actual.is_some_and(|actual| items(rule, "values").contains(actual));
    let compared = || {
        let actual: i64 = actual?.as_str()?.parse().ok()?;
        let limit: i64 = items(rule, "values").first()?.as_str()?.parse().ok()?;
        Some(actual.cmp(&limit))
    };
    match text(rule, "operator") {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => actual.is_some(),
        "DoesNotExist" => actual.is_none(),
        "Gt" => compared().is_some_and(std::cmp::Ordering::is_gt),
        "Lt" => compared().is_some_and(std::cmp::Ordering::is_lt),
        _ => false,
    }
}

/// Whether a plain map selector (of a Service, or a `nodeSelector`) takes these labels.
pub(super) fn selects_exactly(wanted: &Value, labels: &Value) -> bool {
    wanted
        .as_object()
        .is_none_or(|wanted| wanted.iter().all(|(key, value)| labels.get(key) == Some(value)))
}

/// A condition of an object's status.
pub(super) fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    items(status, "conditions").iter().find(|condition| text(condition, "type") == kind)
}

pub(super) fn condition_is_true(status: &Value, kind: &str) -> bool {
    condition(status, kind).is_some_and(|condition| text(condition, "status") == "True")
}

/// Puts a condition into a status, keeping its `lastTransitionTime` while its status stays the same.
pub(super) fn set_condition(
    status: &mut Value,
    now: Timestamp,
    kind: &str,
    truth: &str,
    (reason, message): (&str, &str),
) {
    let previous = condition(status, kind);
    let since = previous
        .filter(|previous| text(previous, "status") == truth)
        .map(|previous| text(previous, "lastTransitionTime").to_owned())
        .filter(|since| !since.is_empty())
        .unwrap_or_else(|| stamp(now));
    let mut fresh = json!({"type": kind, "status": truth, "lastTransitionTime": since});
    if !reason.is_empty() {
        set(&mut fresh, "reason", json!(reason));
    }
    if !message.is_empty() {
        set(&mut fresh, "message", json!(message));
    }
    put_condition(status, fresh);
}

/// Replaces the condition of the same type, or adds it.
pub(super) fn put_condition(status: &mut Value, fresh: Value) {
    if !at(status, "conditions").is_array() {
        set(status, "conditions", json!([]));
    }
    let Some(Value::Array(conditions)) = status.get_mut("conditions") else { return };
    match conditions.iter_mut().find(|held| held.get("type") == fresh.get("type")) {
        Some(held) => *held = fresh,
        None => conditions.push(fresh),
    }
}

pub(super) fn remove_condition(status: &mut Value, kind: &str) {
    if let Some(Value::Array(conditions)) = status.get_mut("conditions") {
        conditions.retain(|held| text(held, "type") != kind);
        if conditions.is_empty() {
            unset(status, "conditions");
        }
    }
}

/// A whole number or a percentage of `total`, such as `maxSurge`.
pub(super) fn scaled(value: &Value, total: i64, round_up: bool) -> Option<i64> {
    if let Some(count) = value.as_i64() {
        return Some(count);
    }
    let percent: i64 = value.as_str()?.strip_suffix('%')?.parse().ok()?;
    let product = total.saturating_mul(percent);
    Some(if round_up { product.saturating_add(99) / 100 } else { product / 100 })
}

/// A quantity in thousandths of its unit, so that `100m` of a processor is 100.
pub(super) fn thousandths(quantity: &Value) -> i128 {
    let written = match quantity {
        Value::String(written) => written.clone(),
        Value::Number(count) => count.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return 0,
    };
    let digits = written.find(|c: char| !(c.is_ascii_digit() || ".+-".contains(c)));
    let (amount, unit) = written.split_at(digits.unwrap_or(written.len()));
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
    let places = u32::try_from(fraction.len()).unwrap_or(0).min(9);
    let mantissa: i128 = format!("{whole}{}", fraction.get(..places as usize).unwrap_or_default())
        .parse()
        .unwrap_or(0);
    let factor: i128 = match unit {
        "n" | "u" => return 0,
        "m" => 1,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "T" => 1_000_000_000_000_000,
        "P" => 1_000_000_000_000_000_000,
        "Ki" => 1_000 << 10,
        "Mi" => 1_000 << 20,
        "Gi" => 1_000 << 30,
        "Ti" => 1_000 << 40,
        "Pi" => 1_000 << 50,
        _ => 1_000,
    };
    mantissa.saturating_mul(factor) / 10_i128.pow(places)
}

/// Whether a value says no more than its absence: the API leaves such fields out, or puts them in, as it likes.
pub(super) fn is_void(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(truth) => !truth,
        Value::Number(count) => count.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(elements) => elements.is_empty(),
        Value::Object(fields) => fields.values().all(is_void),
    }
}

/// Whether two values say the same, apart from fields that say nothing.
pub(super) fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(left), Value::Object(right)) => {
            let absent = &ABSENT;
            left.iter().all(|(key, value)| same(value, right.get(key).unwrap_or(absent)))
                && right.iter().all(|(key, value)| left.contains_key(key) || is_void(value))
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(one, other)| same(one, other))
        }
        _ => one == other || (is_void(one) && is_void(other)),
    }
}

/// JSON with sorted keys and without fields that say nothing: equal for values that say the same.
fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut keys: Vec<&String> = fields.keys().collect();
            keys.sort();
            out.push('{');
            for key in keys {
                let value = fields.get(key).unwrap_or(&ABSENT);
                if !is_void(value) {
                    out.push_str(key);
                    out.push(':');
                    canonical(value, out);
                    out.push(',');
                }
            }
            out.push('}');
        }
        Value::Array(elements) => {
            out.push('[');
            for element in elements {
                canonical(element, out);
                out.push(',');
            }
            out.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            out.push_str(&value.to_string());
        }
    }
}

/// The SHA-256 of some parts, as hexadecimal.
pub(super) fn digest(parts: &[&str]) -> String {
    let mut state = Sha256::new();
    for part in parts {
        state.update(part.as_bytes());
        state.update([0]);
    }
    let hexadecimal = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0');
    let halves = state.finalize();
    halves.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(hexadecimal).collect()
}

/// A number that some parts decide.
pub(super) fn lot(parts: &[&str]) -> u64 {
    let digest = digest(parts);
    u64::from_str_radix(digest.get(..15).unwrap_or("0"), 16).unwrap_or(0)
}

/// A word of Kubernetes' safe alphabet (no vowels, so no words) that some parts decide.
pub(super) fn word(parts: &[&str], length: usize) -> String {
    const SAFE: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut rest = lot(parts);
    let mut word = String::new();
    for _ in 0..length {
        let index = usize::try_from(rest % 27).unwrap_or(0);
        word.push(char::from(SAFE.get(index).copied().unwrap_or(b'x')));
        rest /= 27;
    }
    word
}

/// The hash of a pod template: equal for equal templates.
pub(super) fn template_hash(template: &Value) -> String {
    let mut written = String::new();
    canonical(template, &mut written);
    word(&[&written], 10)
}
