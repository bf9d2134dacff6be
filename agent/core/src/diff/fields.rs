//! Structural differences of two objects, field by field, list elements matched by their keys.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::keys::{self, Key};
use super::normalise::{is_blank, is_same_scalar};

/// One field that differs, with its real values: never shown or stored before `mask` has seen it.
#[derive(Clone, PartialEq)]
pub(super) struct Difference {
    /// Names on the way to the field; elements of lists as `[name=web]`.
    pub(super) segments: Vec<String>,
    /// Before; `None` when added.
    pub(super) before: Option<Value>,
    /// After; `None` when removed.
    pub(super) after: Option<Value>,
}

impl Difference {
    /// The path as people write it.
    pub(super) fn path(&self) -> String {
        path(&self.segments)
    }

    /// Whether the field is inside this one.
    pub(super) fn is_under(&self, prefix: &[&str]) -> bool {
        self.segments.len() >= prefix.len()
            && self.segments.iter().zip(prefix).all(|(segment, wanted)| segment == wanted)
    }
}

fn path(segments: &[String]) -> String {
    let mut path = String::new();
    for segment in segments {
        if segment.starts_with('[') {
            path.push_str(segment);
        } else if is_plain(segment) {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(segment);
        } else {
            path.push_str("[\"");
            path.push_str(segment);
            path.push_str("\"]");
        }
    }
    path
}

fn is_plain(segment: &str) -> bool {
    !segment.is_empty()
        && segment.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

/// Compares two normalised objects. `is_builtin` says that the kind is one of Kubernetes itself, whose lists we know.
pub(super) fn differences(is_builtin: bool, before: &Value, after: &Value) -> Vec<Difference> {
    let mut walk = Walk::whole(is_builtin);
    walk.compare(Some(before), Some(after));
    walk.found
}

/// Every leaf of an object, as added.
pub(super) fn leaves(is_builtin: bool, object: &Value) -> Vec<Difference> {
    let mut walk = Walk::whole(is_builtin);
    walk.compare(None, Some(object));
    walk.found
}

/// Every leaf of an object, as removed.
pub(super) fn removed_leaves(is_builtin: bool, object: &Value) -> Vec<Difference> {
    let mut walk = Walk::whole(is_builtin);
    walk.compare(Some(object), None);
    walk.found
}

/// The leaves of an object, as removed, that are at one of these paths, on the way to it or beyond it. The rest of the
/// object is not walked through.
pub(super) fn removed_leaves_at(
    is_builtin: bool,
    object: &Value,
    at: &BTreeSet<&str>,
) -> Vec<Difference> {
    let mut walk = Walk { at: Some(at), ..Walk::whole(is_builtin) };
    walk.compare(Some(object), None);
    let Walk { mut found, .. } = walk;
    found.retain(|leaf| meets_any(&leaf.path(), at));
    found
}

fn meets_any(path: &str, others: &BTreeSet<&str>) -> bool {
    others.contains(path) || others.iter().any(|other| meet(other, path))
}

/// Whether one of two paths leads to the other.
fn meet(left: &str, right: &str) -> bool {
    let (short, long) = if left.len() < right.len() { (left, right) } else { (right, left) };
    long.strip_prefix(short).is_some_and(|rest| rest.starts_with(['.', '[']))
}

struct Walk<'a> {
    is_builtin: bool,
    /// Paths beside which nothing counts; `None` when everything does.
    at: Option<&'a BTreeSet<&'a str>>,
    segments: Vec<String>,
    found: Vec<Difference>,
}

impl Walk<'_> {
    fn whole(is_builtin: bool) -> Self {
        Self { is_builtin, at: None, segments: Vec::new(), found: Vec::new() }
    }

    fn is_beside(&self) -> bool {
        self.at.is_some_and(|at| !meets_any(&path(&self.segments), at))
    }

    /// The name of the field that the walk is at, whatever element of a list it is in.
    fn field(&self) -> &str {
        self.segments.iter().rev().find(|segment| !segment.starts_with('[')).map_or("", |s| s)
    }

    fn parent(&self) -> &str {
        let mut names = self.segments.iter().rev().filter(|segment| !segment.starts_with('['));
        names.next();
        names.next().map_or("", |segment| segment)
    }

    fn compare(&mut self, before: Option<&Value>, after: Option<&Value>) {
        let field = self.field();
        let before = before.filter(|value| !is_blank(field, value));
        let after = after.filter(|value| !is_blank(field, value));
        match (before, after) {
            (None, None) => {}
            (Some(Value::Object(before)), Some(Value::Object(after))) => {
                self.compare_maps(before, after);
            }
            (Some(Value::Object(map)), None) if !map.is_empty() => {
                self.compare_maps(map, &Map::new());
            }
            (None, Some(Value::Object(map))) if !map.is_empty() => {
                self.compare_maps(&Map::new(), map);
            }
            (Some(Value::Array(before)), Some(Value::Array(after))) => {
                self.compare_lists(before, after);
            }
            (Some(Value::Array(list)), None) if self.is_keyed(list) => {
                self.compare_lists(list, &[]);
            }
            (None, Some(Value::Array(list))) if self.is_keyed(list) => {
                self.compare_lists(&[], list);
            }
            (Some(before), Some(after))
                if is_same_scalar(self.parent(), self.field(), before, after) => {}
            (before, after) => self.push(before.cloned(), after.cloned()),
        }
    }

    fn compare_maps(&mut self, before: &Map<String, Value>, after: &Map<String, Value>) {
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for name in names {
            self.segments.push(name.clone());
            if !self.is_beside() {
                self.compare(before.get(name), after.get(name));
            }
            self.segments.pop();
        }
    }

    fn compare_lists(&mut self, before: &[Value], after: &[Value]) {
        let field = self.field();
        match (keys::keys(field, before), keys::keys(field, after)) {
            (Some(before_keys), Some(after_keys)) => {
                let order_changes = keys::is_ordered(field, self.is_builtin)
                    && !is_same_order(&before_keys, &after_keys);
                self.compare_keyed(before, &before_keys, after, &after_keys);
                if order_changes {
                    self.push(Some(order(&before_keys)), Some(order(&after_keys)));
                }
            }
            _ => self.compare_whole(before, after),
        }
    }

    fn compare_keyed(
        &mut self,
        before: &[Value],
        before_keys: &[Key],
        after: &[Value],
        after_keys: &[Key],
    ) {
        let find = |keys: &[Key], wanted: &Key| keys.iter().position(|key| key == wanted);
        let added = after_keys.iter().filter(|key| !before_keys.contains(key));
        for key in before_keys.iter().chain(added) {
            self.segments.push(label(key));
            self.compare(
                find(before_keys, key).and_then(|index| before.get(index)),
                find(after_keys, key).and_then(|index| after.get(index)),
            );
            self.segments.pop();
        }
    }

    /// Lists without keys are one value: they differ as a whole or not at all (D14).
    fn compare_whole(&mut self, before: &[Value], after: &[Value]) {
        let is_same = if keys::is_set(self.field()) {
            let sorted =
                |items: &[Value]| items.iter().map(Value::to_string).collect::<BTreeSet<_>>();
            sorted(before) == sorted(after)
        } else {
            before.len() == after.len()
                && before.iter().zip(after).all(|(before, after)| self.is_same(before, after))
        };
        if !is_same {
            self.push(Some(Value::Array(before.to_vec())), Some(Value::Array(after.to_vec())));
        }
    }

    fn is_same(&self, before: &Value, after: &Value) -> bool {
        let mut walk = Walk { segments: self.segments.clone(), ..Walk::whole(self.is_builtin) };
        walk.compare(Some(before), Some(after));
        walk.found.is_empty()
    }

    fn is_keyed(&self, list: &[Value]) -> bool {
        !list.is_empty() && keys::keys(self.field(), list).is_some()
    }

    fn push(&mut self, before: Option<Value>, after: Option<Value>) {
        self.found.push(Difference { segments: self.segments.clone(), before, after });
    }
}

fn is_same_order(before: &[Key], after: &[Key]) -> bool {
    let common_before = before.iter().filter(|key| after.contains(key));
    let common_after = after.iter().filter(|key| before.contains(key));
    common_before.eq(common_after)
}

/// The keys of a list's elements, as the value that differs when only their order does.
fn order(keys: &[Key]) -> Value {
    keys.iter().map(|key| Value::String(label(key))).collect()
}

/// `[name=web]`, `[containerPort=80,protocol=TCP]`.
fn label(key: &Key) -> String {
    let parts: Vec<_> = key
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{}={value}", name.rsplit('.').next().unwrap_or(name)))
        .collect();
    format!("[{}]", parts.join(","))
}
