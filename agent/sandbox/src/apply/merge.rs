//! Merging an applied object into the live one.
#![expect(clippy::wildcard_enum_match_arm, reason = "what is not named here is a leaf")]

use std::collections::BTreeSet;

use serde_json::Value;

use super::Rules;
use super::walk::element;
use crate::schema::{List, Relation, Shape};

/// The live object with everything that the applied one says.
pub(super) fn merge(live: &Value, applied: &Value, shape: &Shape, rules: Rules) -> Value {
    match (live, applied) {
        (Value::Object(live), Value::Object(applied)) if !is_leaf(shape, rules) => {
            let mut out = live.clone();
            for (name, value) in applied {
                let merged = match live.get(name) {
                    Some(own) => merge(own, value, shape.field(name), rules),
                    None => value.clone(),
                };
                out.insert(name.clone(), merged);
            }
            Value::Object(out)
        }
        (Value::Array(live), Value::Array(applied)) => match shape {
            Shape::List(list) if list.relation != Relation::Atomic => {
                Value::Array(items(live, applied, list, rules))
            }
            _ => Value::Array(applied.clone()),
        },
        _ => applied.clone(),
    }
}

fn is_leaf(shape: &Shape, rules: Rules) -> bool {
    match shape {
        Shape::Map(_) | Shape::Ref(_) | Shape::Struct(_) => rules.is_one_value(shape),
        Shape::Any => false,
        _ => true,
    }
}

/// Entries that both have come in the applied order; those that only the live list has keep their place between them.
fn items(live: &[Value], applied: &[Value], list: &List, rules: Rules) -> Vec<Value> {
    let name = |item: &Value| element(item, list).unwrap_or_default();
    let live: Vec<(String, &Value)> = live.iter().map(|item| (name(item), item)).collect();
    let applied: Vec<(String, &Value)> = applied.iter().map(|item| (name(item), item)).collect();
    let in_live: BTreeSet<&str> = live.iter().map(|(name, _)| name.as_str()).collect();
    let in_applied: BTreeSet<&str> = applied.iter().map(|(name, _)| name.as_str()).collect();
    let merged = |name: &str, item: &Value| {
        live.iter()
            .find(|(known, _)| known == name)
            .map_or_else(|| item.clone(), |(_, own)| merge(own, item, &list.item, rules))
    };
    if !rules.keeps_the_applied_order() {
        let own = live.iter().map(|(name, item)| {
            let of_both = applied.iter().find(|(other, _)| other == name);
            of_both.map_or_else(|| (*item).clone(), |(_, applied)| merged(name, applied))
        });
        let new = applied.iter().filter(|(name, _)| !in_live.contains(name.as_str()));
        return own.chain(new.map(|(_, item)| (*item).clone())).collect();
    }
    let mut shared =
        applied.iter().map(|(name, _)| name.as_str()).filter(|name| in_live.contains(name));
    let mut next_shared = shared.next();
    let mut out = Vec::new();
    let (mut left, mut right) = (live.iter().peekable(), applied.iter().peekable());
    loop {
        match (left.peek(), right.peek()) {
            (Some((own, _)), Some((name, item))) if own == name => {
                out.push(merged(name, item));
                left.next();
                right.next();
                next_shared = shared.next();
                continue;
            }
            (Some((own, _)), Some(_))
                if in_applied.contains(own.as_str())
                    && next_shared.is_some_and(|wanted| wanted != own) =>
            {
                // Shared, but not the one that comes next: it follows in the applied order.
                left.next();
                continue;
            }
            _ => {}
        }
        if let Some((own, item)) = left.peek() {
            if !in_applied.contains(own.as_str()) {
                out.push((*item).clone());
                left.next();
                continue;
            }
            if right.peek().is_none() {
                left.next();
                continue;
            }
        }
        let Some((name, item)) = right.next() else { break };
        out.push(merged(name, item));
        if next_shared == Some(name.as_str()) {
            next_shared = shared.next();
        }
    }
    out
}
