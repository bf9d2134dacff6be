//! Closes a JSON Schema, for tests that hold what is printed against what is documented.

use serde_json::Value;

/// Programs must ignore fields that they do not know; in a test one that the document does not know is a fault.
pub(crate) fn close(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if map.contains_key("properties") && !map.contains_key("additionalProperties") {
                map.insert("additionalProperties".to_owned(), Value::Bool(false));
            }
            map.values_mut().for_each(close);
        }
        Value::Array(values) => values.iter_mut().for_each(close),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
