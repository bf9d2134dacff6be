//! The shape of a document: its value against its kind's JSON Schema, said in our own words.

use std::sync::OnceLock;

use jsonschema::{
    ValidationError, Validator,
    error::{TypeKind, ValidationErrorKind},
    paths::{Location, LocationSegment},
};
use serde_json::Value;

use crate::{
    document::Kind,
    finding::{Finding, Place},
    form, json_schema,
    position::{Positions, push_index, push_key},
    suggest,
};

/// The schema of a kind, ready for use.
struct Compiled {
    schema: Value,
    validator: Validator,
}

/// Compiled on first use: most files hold few kinds.
static COMPILED: [OnceLock<Option<Compiled>>; Kind::ALL.len()] =
    [const { OnceLock::new() }; Kind::ALL.len()];

fn compiled(kind: Kind) -> Option<&'static Compiled> {
    let cell = COMPILED.get(kind as usize)?;
    cell.get_or_init(|| {
        let schema = json_schema::inlined(kind);
        let mut options = jsonschema::options().should_validate_formats(true);
        for (format, check) in form::FORMATS {
            options = options.with_format(*format, *check);
        }
        // A schema that does not compile is caught by `every_schema_compiles`.
        options.build(&schema).ok().map(|validator| Compiled { schema, validator })
    })
    .as_ref()
}

/// What the findings of one document need to know.
struct Judge<'a> {
    schema: &'a Value,
    file: &'a str,
    positions: &'a Positions,
}

/// All findings of one document's shape, without those at `traps`.
pub(super) fn check(
    kind: Kind,
    value: &Value,
    file: &str,
    positions: &Positions,
    traps: &[String],
) -> Vec<Finding> {
    let Some(Compiled { schema, validator }) = compiled(kind) else {
        return vec![Finding::error("DOCUMENT/SCHEMA_BROKEN").with("kind", kind)];
    };
    if validator.is_valid(value) {
        return Vec::new();
    }
    let judge = Judge { schema, file, positions };
    let mut findings = Vec::new();
    for error in validator.iter_errors(value) {
        let path = path_of(error.instance_path());
        if !traps.contains(&path) {
            judge.explain(&error, &path, &mut findings);
        }
    }
    findings
}

/// A value as it is shown in a message: short, and collections by their type only.
pub(super) fn show(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return type_of(value).to_owned(),
    };
    let text = text.replace(['\n', '\r'], " ");
    if text.chars().count() <= LONGEST {
        return text;
    }
    text.chars().take(LONGEST - 1).chain(['…']).collect()
}

/// The type of a value, by the words of the reference.
fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "mapping",
    }
}

/// A type of JSON Schema by the words of the reference.
fn type_word(kind: &str) -> &str {
    match kind {
        "array" => "list",
        "object" => "mapping",
        other => other,
    }
}

fn path_of(location: &Location) -> String {
    let mut path = String::new();
    for segment in location {
        match segment {
            LocationSegment::Property(key) => push_key(&mut path, &key),
            LocationSegment::Index(index) => push_index(&mut path, index),
        }
    }
    path
}

impl Judge<'_> {
    fn at(&self, path: &str) -> Place {
        self.positions.place(self.file, path)
    }

    fn at_key(&self, path: &str) -> Place {
        self.positions.place_of_key(self.file, path)
    }

    /// The part of the schema that the error's keyword stands in.
    fn around(&self, error: &ValidationError<'_>) -> Option<&Value> {
        let pointer = error.schema_path().as_str();
        self.schema.pointer(pointer.rsplit_once('/').map_or("", |(around, _)| around))
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the rules of JSON Schema that our schemas do not use share one message"
    )]
    fn explain(&self, error: &ValidationError<'_>, path: &str, findings: &mut Vec<Finding>) {
        use ValidationErrorKind as Error;
        let value = error.instance().as_ref();
        let here =
            |code: &'static str| Finding::error(code).at(self.at(path)).with("field", field(path));
        let finding = match error.kind() {
            Error::AdditionalProperties { unexpected } => {
                let known = self.known_fields(error);
                findings
                    .extend(unexpected.iter().map(|name| self.unknown_field(path, name, &known)));
                return;
            }
            Error::Required { property } => {
                let name = property.as_str().unwrap_or_default();
                let mut path = path.to_owned();
                let place = self.at_key(&path);
                push_key(&mut path, name);
                Finding::error("DOCUMENT/MISSING_FIELD")
                    .at(Place { path: path.clone(), ..place })
                    .with("field", field(&path))
            }
            Error::Type { kind } => wrong_type(kind, value, here),
            Error::Enum { options } => not_one_of(options, value, here),
            Error::Pattern { pattern } => {
                let finding = bad_pattern(pattern).at(self.at(path));
                finding.with("field", field(path)).with("value", show(value))
            }
            Error::Format { format } => {
                let shown = match (format.as_str(), value.as_str()) {
                    // What stands here may be a private key.
                    ("ssh-public-key", Some(text)) => text.chars().take(11).chain(['…']).collect(),
                    _ => show(value),
                };
                here(form::code_of_format(format)).with("value", shown)
            }
            Error::Minimum { limit } | Error::ExclusiveMinimum { limit } => {
                here("DOCUMENT/TOO_SMALL").with("value", show(value)).with("limit", limit)
            }
            Error::Maximum { limit } | Error::ExclusiveMaximum { limit } => {
                here("DOCUMENT/TOO_LARGE").with("value", show(value)).with("limit", limit)
            }
            Error::MinLength { .. } => here("DOCUMENT/EMPTY_TEXT"),
            Error::MaxLength { limit } => {
                here("DOCUMENT/TOO_LONG").with("value", show(value)).with("limit", limit)
            }
            Error::MinItems { limit } => here("DOCUMENT/TOO_FEW_ITEMS").with("limit", limit),
            Error::MaxItems { limit } => here("DOCUMENT/TOO_MANY_ITEMS").with("limit", limit),
            Error::MinProperties { limit } if self.known_fields(error).is_empty() => {
                here("DOCUMENT/TOO_FEW_ITEMS").with("limit", limit)
            }
            Error::MinProperties { .. } | Error::MaxProperties { .. } => {
                here("DOCUMENT/EXACTLY_ONE").with("choices", self.known_fields(error).join(", "))
            }
            Error::PropertyNames { error } => {
                let name = error.instance().as_str().unwrap_or_default();
                let mut path = path.to_owned();
                push_key(&mut path, name);
                let finding = match error.kind() {
                    Error::Pattern { pattern } => bad_pattern(pattern),
                    _ => Finding::error("DOCUMENT/INVALID").with("rule", error.kind().keyword()),
                };
                finding
                    .at(self.at_key(&path))
                    .with("field", field(&path))
                    .with("value", show(&Value::from(name)))
            }
            _ => here("DOCUMENT/INVALID").with("rule", error.kind().keyword()),
        };
        findings.push(finding);
    }

    fn known_fields(&self, error: &ValidationError<'_>) -> Vec<&str> {
        self.around(error)
            .and_then(|schema| schema.get("properties")?.as_object())
            .map(|properties| properties.keys().map(String::as_str).collect())
            .unwrap_or_default()
    }

    fn unknown_field(&self, path: &str, name: &str, known: &[&str]) -> Finding {
        let mut path = path.to_owned();
        push_key(&mut path, name);
        let finding = match suggest::nearest(name, known.iter().copied()) {
            Some(nearest) => Finding::error("DOCUMENT/UNKNOWN_FIELD_NEAR").with("nearest", nearest),
            None => Finding::error("DOCUMENT/UNKNOWN_FIELD").with("known", known.join(", ")),
        };
        finding.at(self.at_key(&path)).with("field", name)
    }
}

/// A finding about a text that a pattern does not match.
fn bad_pattern(pattern: &str) -> Finding {
    let code = form::code_of_pattern(pattern);
    let finding = Finding::error(code);
    if code == "DOCUMENT/BAD_PATTERN" { finding.with("pattern", pattern) } else { finding }
}

/// A path as a message shows it.
fn field(path: &str) -> &str {
    if path.is_empty() { "document" } else { path }
}

fn wrong_type(kind: &TypeKind, value: &Value, here: impl Fn(&'static str) -> Finding) -> Finding {
    let expected = match kind {
        TypeKind::Single(kind) => type_word(&kind.to_string()).to_owned(),
        TypeKind::Multiple(kinds) => {
            let words: Vec<String> =
                kinds.iter().map(|kind| type_word(&kind.to_string()).to_owned()).collect();
            words.join(" | ")
        }
    };
    if value.is_null() {
        return here("DOCUMENT/EMPTY_FIELD").with("expected", expected);
    }
    let is_number = value.is_number() || value.is_boolean();
    let code = if expected == "string" && is_number {
        "DOCUMENT/UNQUOTED_TEXT"
    } else {
        "DOCUMENT/WRONG_TYPE"
    };
    let found = match value {
        Value::Null | Value::Array(_) | Value::Object(_) => type_of(value).to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            format!("{} `{}`", type_of(value), show(value))
        }
    };
    let finding = here(code).with("found", found);
    if code == "DOCUMENT/UNQUOTED_TEXT" {
        finding.with("value", show(value))
    } else {
        finding.with("expected", expected)
    }
}

fn not_one_of(options: &Value, value: &Value, here: impl Fn(&'static str) -> Finding) -> Finding {
    let words: Vec<String> = options.as_array().into_iter().flatten().map(show).collect();
    let shown = show(value);
    let finding = match suggest::nearest(&shown, words.iter().map(String::as_str)) {
        Some(nearest) => here("DOCUMENT/NOT_ONE_OF_NEAR").with("nearest", nearest),
        None => here("DOCUMENT/NOT_ONE_OF"),
    };
    finding.with("value", shown).with("choices", words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_compiles() {
        for kind in Kind::ALL {
            assert!(compiled(*kind).is_some(), "{kind}");
        }
    }

    #[test]
    fn values_are_shown_short() {
        assert_eq!(show(&Value::from("a\nb")), "a b");
        assert_eq!(show(&Value::from("x".repeat(100))).chars().count(), 60);
        assert_eq!(show(&serde_json::json!({"secret": 1})), "mapping");
    }
}
