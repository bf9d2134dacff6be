//! Sets of field paths, in the form of `managedFields` (`FieldsV1`).
//!
//! An element of a path is kept as it is written there: `f:name`, `k:{"name":"a"}`, `v:"x"`, `i:0`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::schema::Shape;

/// A set of paths: what is a member here, and the sets below.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldSet {
    members: BTreeSet<String>,
    children: BTreeMap<String, Self>,
}

impl FieldSet {
    /// Whether no path is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.values().all(Self::is_empty)
    }

    /// Adds a path. The empty path is no member of any set.
    pub(crate) fn insert(&mut self, path: &[String]) {
        match path {
            [] => {}
            [last] => {
                self.members.insert(last.clone());
            }
            [first, rest @ ..] => self.children.entry(first.clone()).or_default().insert(rest),
        }
    }

    /// Whether this very element is a member.
    pub(crate) fn has(&self, element: &str) -> bool {
        self.members.contains(element)
    }

    /// The set below an element.
    pub(crate) fn below(&self, element: &str) -> Option<&Self> {
        self.children.get(element).filter(|below| !below.is_empty())
    }

    /// What is in either.
    #[must_use]
    pub(crate) fn union(&self, other: &Self) -> Self {
        let mut out = self.clone();
        out.members.extend(other.members.iter().cloned());
        for (element, below) in &other.children {
            let merged =
                out.children.get(element).map_or_else(|| below.clone(), |own| own.union(below));
            out.children.insert(element.clone(), merged);
        }
        out
    }

    /// What is in both.
    #[must_use]
    pub(crate) fn intersection(&self, other: &Self) -> Self {
        let children = self.children.iter().filter_map(|(element, own)| {
            let both = own.intersection(other.children.get(element)?);
            (!both.is_empty()).then(|| (element.clone(), both))
        });
        Self {
            members: self.members.intersection(&other.members).cloned().collect(),
            children: children.collect(),
        }
    }

    /// What is here and not there.
    #[must_use]
    pub(crate) fn difference(&self, other: &Self) -> Self {
        let children = self.children.iter().filter_map(|(element, own)| {
            let left = match other.children.get(element) {
                Some(below) => own.difference(below),
                None => own.clone(),
            };
            (!left.is_empty()).then(|| (element.clone(), left))
        });
        Self {
            members: self.members.difference(&other.members).cloned().collect(),
            children: children.collect(),
        }
    }

    /// What is left when a field and everything below it are taken out.
    pub(crate) fn take_out(&mut self, element: &str) {
        self.members.remove(element);
        self.children.remove(element);
    }

    /// Keeps only one field and what is below it.
    pub(crate) fn keep_only(&mut self, element: &str) {
        self.members.retain(|member| member == element);
        self.children.retain(|child, _| child == element);
    }

    /// The set below an element, made when absent.
    pub(crate) fn below_mut(&mut self, element: &str) -> &mut Self {
        self.children.entry(element.to_owned()).or_default()
    }

    /// Adds the struct fields that lead to a member, which sets leave out.
    #[must_use]
    pub(crate) fn with_named_fields(&self, shape: &Shape) -> Self {
        let mut out = Self { members: self.members.clone(), children: BTreeMap::new() };
        for (element, below) in &self.children {
            if let Some(name) = element.strip_prefix("f:")
                && shape.fields().is_some_and(|fields| fields.fields.contains_key(name))
            {
                out.members.insert(element.clone());
            }
            let inner = if let Some(name) = element.strip_prefix("f:") {
                shape.field(name)
            } else {
                shape.item()
            };
            out.children.insert(element.clone(), below.with_named_fields(inner));
        }
        out
    }

    /// All paths.
    pub(crate) fn paths(&self) -> Vec<Vec<String>> {
        let mut out = Vec::new();
        self.collect(&mut Vec::new(), &mut out);
        out
    }

    fn collect(&self, prefix: &mut Vec<String>, out: &mut Vec<Vec<String>>) {
        let elements: BTreeSet<&String> = self.members.iter().chain(self.children.keys()).collect();
        for element in elements {
            prefix.push(element.clone());
            if self.members.contains(element) {
                out.push(prefix.clone());
            }
            if let Some(below) = self.children.get(element) {
                below.collect(prefix, out);
            }
            prefix.pop();
        }
    }

    /// The `FieldsV1` form.
    pub(crate) fn to_value(&self) -> Value {
        let mut out = Map::new();
        let elements: BTreeSet<&String> = self.members.iter().chain(self.children.keys()).collect();
        for element in elements {
            let mut inner = match self.below(element).map(Self::to_value) {
                Some(Value::Object(inner)) => inner,
                _ => Map::new(),
            };
            if self.members.contains(element) && !inner.is_empty() {
                let mut dotted = Map::new();
                dotted.insert(".".to_owned(), Value::Object(Map::new()));
                dotted.append(&mut inner);
                inner = dotted;
            }
            if self.members.contains(element) || !inner.is_empty() {
                out.insert(element.clone(), Value::Object(inner));
            }
        }
        Value::Object(out)
    }

    /// Reads the `FieldsV1` form.
    pub(crate) fn from_value(value: &Value) -> Self {
        let mut out = Self::default();
        for (element, inner) in value.as_object().into_iter().flatten() {
            if element == "." {
                continue;
            }
            let is_leaf = inner.as_object().is_none_or(Map::is_empty);
            if is_leaf || inner.get(".").is_some() {
                out.members.insert(element.clone());
            }
            let below = Self::from_value(inner);
            if !below.is_empty() {
                out.children.insert(element.clone(), below);
            }
        }
        out
    }
}

/// A path as messages write it: `.spec.containers[name="a"].image`.
pub(crate) fn shown(path: &[String]) -> String {
    let mut out = String::new();
    for element in path {
        match element.split_once(':') {
            Some(("f", name)) => {
                out.push('.');
                out.push_str(name);
            }
            Some(("k", key)) => {
                let key: Value = serde_json::from_str(key).unwrap_or_default();
                let parts: Vec<String> = key
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                out.push('[');
                out.push_str(&parts.join(","));
                out.push(']');
            }
            Some(("v", value)) => {
                out.push_str("[=");
                out.push_str(value);
                out.push(']');
            }
            _ => {
                out.push('[');
                out.push_str(element.get(2..).unwrap_or_default());
                out.push(']');
            }
        }
    }
    out
}
