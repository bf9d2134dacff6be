//! The shape of a document: its value against its kind's JSON Schema, in our own words.

use serde_json::Value;

use crate::{document::Kind, finding::Finding, position::Positions};

/// All findings of one document's shape.
pub(super) fn check(
    kind: Kind,
    value: &Value,
    file: &str,
    positions: &Positions,
    traps: &[String],
) -> Vec<Finding> {
    let _ = (kind, value, file, positions, traps);
    Vec::new()
}

/// A value as it is shown in a message: short.
pub(super) fn show(value: &Value) -> String {
    value.to_string()
}
