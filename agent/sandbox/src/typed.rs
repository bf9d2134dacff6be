//! What Go's typed round trip does to an object: unknown fields found, nulls and empties left out, quantities in canonical form.
#![expect(clippy::wildcard_enum_match_arm, reason = "what is not named here is a leaf")]

use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use base64::{DecodeError, Engine as _, alphabet};
use serde_json::{Map, Number, Value};

use crate::quantity;
use crate::schema::{Field, Shape, Struct};

/// What was found on the way.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// Paths of fields that the kind does not have; they are gone from the object.
    pub(crate) unknown: Vec<String>,
    /// Values of the wrong type, in the words of Go's JSON decoder.
    pub(crate) mistakes: Vec<String>,
}

/// Brings the value into the form that the server keeps.
pub(crate) fn round_trip(value: &mut Value, shape: &Shape) -> Reading {
    let mut reading = Reading::default();
    let mut path = Vec::new();
    reading.value(value, shape, &mut path, "");
    reading
}

impl Reading {
    fn value(&mut self, value: &mut Value, shape: &Shape, path: &mut Vec<String>, owner: &str) {
        match shape {
            Shape::Any => {}
            Shape::Ref(name) => {
                let owner = name.rsplit('.').next().unwrap_or_default();
                if let Some(fields) = shape.fields() {
                    self.fields(value, fields, path, owner);
                }
            }
            Shape::Struct(fields) => self.fields(value, fields, path, ""),
            Shape::List(list) => match value {
                Value::Array(items) => {
                    for (index, item) in items.iter_mut().enumerate() {
                        path.push(format!("[{index}]"));
                        self.value(item, &list.item, path, owner);
                        path.pop();
                    }
                }
                other => self.mistake(other, "[]", path, owner),
            },
            Shape::Map(map) => match value {
                Value::Object(entries) => {
                    for (key, entry) in entries {
                        path.push(key.clone());
                        if entry.is_null() {
                            *entry = zero(&map.value);
                        }
                        self.value(entry, &map.value, path, owner);
                        // A map of quantities is a list of resources, whose amounts are rounded.
                        if map.value == Shape::Quantity
                            && let Some(amount) = entry.as_str().and_then(quantity::of_resource)
                        {
                            *entry = Value::String(amount);
                        }
                        path.pop();
                    }
                }
                other => self.mistake(other, "map[string]string", path, owner),
            },
            Shape::Text
            | Shape::Integer
            | Shape::Number
            | Shape::Boolean
            | Shape::Quantity
            | Shape::IntOrString
            | Shape::Time
            | Shape::MicroTime
            | Shape::Bytes => self.scalar(value, shape, path, owner),
        }
    }

    fn fields(&mut self, value: &mut Value, known: &Struct, path: &mut Vec<String>, owner: &str) {
        let Value::Object(entries) = value else {
            return self.mistake(value, owner, path, owner);
        };
        let names: Vec<String> = entries.keys().cloned().collect();
        for name in names {
            let Some(entry) = entries.get_mut(&name) else { continue };
            path.push(name.clone());
            if let Some(field) = known.fields.get(&name) {
                if !entry.is_null() {
                    self.value(entry, &field.shape, path, owner);
                }
                // An empty list that is always written comes back from the store as none.
                if field.is_always_written && entry.as_array().is_some_and(Vec::is_empty) {
                    *entry = Value::Null;
                } else if is_left_out(entry, field) {
                    entries.remove(&name);
                }
            } else if let Some(rest) = &known.rest {
                self.value(entry, rest, path, owner);
            } else {
                self.unknown.push(written(path));
                entries.remove(&name);
            }
            path.pop();
        }
        for (name, field) in known.fields.iter().filter(|(_, field)| field.is_always_written) {
            write_always(entries, name, field);
        }
    }

    fn scalar(&mut self, value: &mut Value, shape: &Shape, path: &[String], owner: &str) {
        match (shape, &*value) {
            (Shape::Bytes, Value::String(text)) => {
                if let Some(at) = base64_ends(text) {
                    self.mistakes.push(format!("illegal base64 data at input byte {at}"));
                }
            }
            (Shape::Text | Shape::IntOrString, Value::String(_))
            | (Shape::Boolean, Value::Bool(_))
            | (Shape::Number, Value::Number(_)) => {}
            (Shape::Integer | Shape::IntOrString, Value::Number(number)) => {
                let is_long = path.last().is_some_and(|name| LONG.contains(&name.as_str()));
                if number.as_i64().is_some_and(|number| !is_long && i32::try_from(number).is_err())
                {
                    self.mistake(value, "int32", path, owner);
                } else if number.as_i64().is_none() {
                    match number.as_f64().and_then(whole) {
                        Some(integer) => *value = Value::Number(integer),
                        None => self.mistake(value, "int32", path, owner),
                    }
                }
            }
            (Shape::Quantity, Value::String(_) | Value::Number(_)) => {
                let source = match &*value {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                match quantity::canonical(&source) {
                    Some(canonical) => *value = Value::String(canonical),
                    None => self.mistakes.push(
                        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
                            .to_owned(),
                    ),
                }
            }
            (Shape::Time | Shape::MicroTime, Value::String(text)) => {
                match text.parse::<jiff::Timestamp>() {
                    Ok(moment) if *shape == Shape::Time => {
                        *value = Value::String(crate::clock::seconds(moment));
                    }
                    Ok(moment) => *value = Value::String(crate::clock::microseconds(moment)),
                    Err(_) => self.mistakes.push(format!(
                        "parsing time \"{text}\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"{text}\" as \"2006\""
                    )),
                }
            }
            _ => {
                let wanted = match shape {
                    Shape::Boolean => "bool",
                    Shape::Integer | Shape::IntOrString => "int32",
                    Shape::Number => "float64",
                    _ => "string",
                };
                self.mistake(value, wanted, path, owner);
            }
        }
    }

    fn mistake(&mut self, value: &Value, wanted: &str, path: &[String], owner: &str) {
        let found = match value {
            Value::Null => return,
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let fields: Vec<&str> =
            path.iter().map(String::as_str).filter(|part| !part.starts_with('[')).collect();
        self.mistakes.push(format!(
            "json: cannot unmarshal {found} into Go struct field {owner}.{} of type {wanted}",
            fields.join(".")
        ));
    }
}

/// A path as messages write it: `spec.containers[0].image`.
fn written(path: &[String]) -> String {
    let mut text = String::new();
    for part in path {
        if !text.is_empty() && !part.starts_with('[') {
            text.push('.');
        }
        text.push_str(part);
    }
    text
}

/// Where a text stops being base64; `None` when it is base64 to its end. Line breaks are passed over, as in Go.
fn base64_ends(text: &str) -> Option<usize> {
    let lenient = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
    let decoder = GeneralPurpose::new(&alphabet::STANDARD, lenient);
    let bare: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    match decoder.decode(&bare).err()? {
        DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _) => Some(at),
        DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => Some(bare.len()),
    }
}

/// Fields with whole numbers of 64 bits; all others have 32.
const LONG: [&str; 16] = [
    "activeDeadlineSeconds",
    "deletionGracePeriodSeconds",
    "expirationSeconds",
    "fsGroup",
    "generation",
    "observedGeneration",
    "remainingItemCount",
    "revision",
    "runAsGroup",
    "runAsUser",
    "startingDeadlineSeconds",
    "sizeBytes",
    "supplementalGroups",
    "terminationGracePeriodSeconds",
    "tolerationSeconds",
    "maxLength",
];

fn whole(number: f64) -> Option<Number> {
    #[expect(clippy::cast_possible_truncation, reason = "checked against the range just before")]
    (number.fract() == 0.0 && number.abs() < 9.0e15).then(|| Number::from(number as i64))
}

fn is_left_out(value: &Value, field: &Field) -> bool {
    match value {
        Value::Null => !field.is_nullable,
        Value::Array(items) => field.is_omitted_empty && items.is_empty(),
        Value::Object(entries) => field.is_omitted_empty && entries.is_empty(),
        Value::String(text) => field.is_omitted_empty && text.is_empty(),
        Value::Bool(set) => field.is_omitted_empty && !set,
        Value::Number(number) => {
            field.is_omitted_empty && field.shape == Shape::Integer && number.as_i64() == Some(0)
        }
    }
}

fn write_always(entries: &mut Map<String, Value>, name: &str, field: &Field) {
    if let Some(inner) = field.shape.fields() {
        let entry = entries.entry(name.to_owned()).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(entry) = entry {
            for (name, field) in inner.fields.iter().filter(|(_, field)| field.is_always_written) {
                write_always(entry, name, field);
            }
        }
    } else {
        let zero = match field.shape {
            Shape::Integer => Value::from(0),
            Shape::Boolean => Value::from(false),
            Shape::Text => Value::from(""),
            Shape::Quantity => Value::from("0"),
            _ => Value::Null,
        };
        entries.entry(name.to_owned()).or_insert(zero);
    }
}

fn zero(shape: &Shape) -> Value {
    match shape {
        Shape::Text | Shape::Bytes => Value::String(String::new()),
        Shape::Quantity => Value::String("0".to_owned()),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema;

    fn read(kind: (&str, &str), value: &Value) -> (Value, Reading) {
        let mut value = value.clone();
        let reading = round_trip(&mut value, &schema::of_kind(kind.0, "v1", kind.1));
        (value, reading)
    }

    #[test]
    fn unknown_fields_are_found_with_their_path_and_dropped() {
        let pod = json!({"spec": {"containers": [{"name": "a", "imagee": "b"}], "nope": 1}});
        let (value, reading) = read(("", "Pod"), &pod);
        assert_eq!(reading.unknown, ["spec.containers[0].imagee", "spec.nope"]);
        assert!(value.pointer("/spec/nope").is_none());
    }

    #[test]
    fn a_number_where_text_belongs_is_a_mistake_in_the_decoders_words() {
        let pod =
            json!({"spec": {"containers": [{"name": "a", "env": [{"name": "P", "value": 1}]}]}});
        let (_, reading) = read(("", "Pod"), &pod);
        assert_eq!(
            reading.mistakes,
            [
                "json: cannot unmarshal number into Go struct field EnvVar.spec.containers.env.value of type string"
            ]
        );
    }

    #[test]
    fn bytes_that_are_not_base64_are_a_mistake() {
        for (text, at) in [("not base64", "3"), ("MQ", "2"), ("M===", "1")] {
            let (_, reading) = read(("", "Secret"), &json!({"data": {"a": text}}));
            assert_eq!(reading.mistakes, [format!("illegal base64 data at input byte {at}")]);
        }
        let (_, reading) = read(("", "Secret"), &json!({"data": {"a": "MQ=\n=", "b": ""}}));
        assert!(reading.mistakes.is_empty(), "{reading:?}");
    }

    #[test]
    fn empties_go_structs_stay_and_quantities_become_canonical() {
        let pod = json!({"metadata": {"annotations": {}}, "spec": {"hostNetwork": false, "volumes": [{"name": "v", "emptyDir": {}}],
            "containers": [{"name": "a", "env": [], "resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}, "requests": {"cpu": 0.5}}}]}});
        let (value, reading) = read(("", "Pod"), &pod);
        assert!(reading.unknown.is_empty() && reading.mistakes.is_empty(), "{reading:?}");
        assert_eq!(
            value["spec"],
            json!({"volumes": [{"name": "v", "emptyDir": {}}], "containers": [{"name": "a",
                "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}}]})
        );
        assert!(value.pointer("/metadata/annotations").is_none());
    }
}
