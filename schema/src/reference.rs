//! The reference pages of the book: documents from the schemas, findings from the catalogue. Markdown.
//!
//! They are committed in `docs/reference/`; a test holds them current (`UPDATE=1 cargo test -p tidegate-schema`).

use std::{collections::BTreeSet, fmt::Write as _};

use serde_json::{Map, Value};

use crate::{catalogue, document::Kind, finding::Lang, json_schema};

/// The page of all kinds of documents with their fields.
pub fn documents_reference() -> String {
    let mut page = String::from(
        "# Documents\n\nGenerated from the types in `schema/src`; do not edit.\n\nEvery document has `apiVersion: tidegate.dev/v1`, \
         `kind`, `metadata` (`name`, and optional `labels` and `annotations`) and `spec`. Unknown fields are errors. \
         Fields in bold must be given.\n\n",
    );
    for kind in Kind::ALL {
        // Writing to a String cannot fail.
        let _infallible = writeln!(page, "- [{kind}](#{})", anchor(kind.as_str()));
    }
    let mut written = BTreeSet::new();
    for kind in Kind::ALL {
        let schema = json_schema::of(*kind);
        let description = text(&schema, "description");
        let _infallible = write!(page, "\n## {kind}\n\n{description}\n\n");
        if let Some(spec) = schema.pointer("/properties/spec") {
            fields(&mut page, spec);
        }
        for (name, definition) in
            schema.get("$defs").and_then(Value::as_object).into_iter().flatten()
        {
            if written.insert(name.clone()) {
                section(&mut page, 3, name, definition);
            }
        }
    }
    page
}

/// The page of all findings in a language.
pub fn findings_reference(lang: Lang) -> String {
    let (title, generated, remedy) = match lang {
        Lang::En => ("Findings", "Generated from `schema/catalogue`; do not edit.", "What to do"),
        Lang::Zh => ("检查结果", "由 `schema/catalogue` 生成，请勿手工修改。", "处理方法"),
    };
    let mut page = format!("# {title}\n\n{generated}\n");
    let mut category = "";
    for entry in catalogue::codes().filter_map(|code| catalogue::explain(code, lang)) {
        let (head, _) = entry.code.split_once('/').unwrap_or((entry.code, ""));
        if head != category {
            category = head;
            let _infallible = write!(page, "\n## {category}\n");
        }
        let (stop, colon) = if lang == Lang::Zh { ("。", "：") } else { (".", ": ") };
        let _infallible = write!(
            page,
            "\n### {}\n\n**{}{stop}** {}\n\n{remedy}{colon}{}\n\n{}\n",
            entry.code,
            entry.title,
            escape(entry.message),
            escape(entry.remedy),
            entry.explanation.trim(),
        );
    }
    page
}

/// One type: what it is, and its fields, words or choices.
pub fn section(page: &mut String, level: usize, name: &str, definition: &Value) {
    let (marks, description) = ("#".repeat(level), text(definition, "description"));
    // Writing to a String cannot fail.
    let _infallible = write!(page, "\n{marks} {name}\n\n");
    if !description.is_empty() {
        let _infallible = write!(page, "{description}\n\n");
    }
    fields(page, definition);
    words(page, definition);
    choices(page, definition);
}

fn text<'a>(schema: &'a Value, key: &str) -> &'a str {
    schema.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The table of an object's fields; nothing for another schema.
fn fields(page: &mut String, schema: &Value) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    if properties.is_empty() {
        return;
    }
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    page.push_str("| field | type | meaning |\n| --- | --- | --- |\n");
    for (name, field) in properties {
        let name = if required.contains(&name.as_str()) {
            format!("**`{name}`**")
        } else {
            format!("`{name}`")
        };
        let mut meaning = escape(&text(field, "description").replace("\n\n", " "));
        if let Some(default) = field.get("default") {
            let _infallible = write!(meaning, " Default: `{}`.", plain(default));
        }
        meaning.push_str(&limits(field));
        let _infallible = writeln!(page, "| {name} | {} | {meaning} |", type_text(field));
    }
}

/// The list of an enum's words; nothing for another schema.
fn words(page: &mut String, schema: &Value) {
    let Some(words) = schema.get("enum").and_then(Value::as_array) else { return };
    let descriptions = schema.get("enumDescriptions").and_then(Value::as_array);
    page.push_str("| value | meaning |\n| --- | --- |\n");
    for (index, word) in words.iter().enumerate() {
        let meaning = descriptions
            .and_then(|descriptions| descriptions.get(index)?.as_str())
            .unwrap_or_default();
        let _infallible = writeln!(page, "| `{}` | {} |", plain(word), escape(meaning));
    }
}

/// The table of choices that are told apart by the value of a field, or by which fields are there; nothing for another
/// schema.
fn choices(page: &mut String, schema: &Value) {
    let options = schema.get("oneOf").or_else(|| schema.get("anyOf"));
    let Some(options) = options.and_then(Value::as_array) else { return };
    if !page.ends_with("\n\n") {
        page.push('\n');
    }
    page.push_str("| choice | fields | meaning |\n| --- | --- | --- |\n");
    for option in options {
        let mut choice = String::new();
        let mut others = Vec::new();
        for (name, field) in
            option.get("properties").and_then(Value::as_object).into_iter().flatten()
        {
            match field.get("const") {
                Some(word) => choice = format!("`{name}: {}`", plain(word)),
                None => others.push(format!("`{name}` {}", type_text(field))),
            }
        }
        if choice.is_empty() {
            let needed = option.get("required").and_then(Value::as_array);
            let needed = needed.into_iter().flatten().filter_map(Value::as_str);
            choice = needed.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        }
        let (others, meaning) = (others.join(", "), escape(text(option, "description")));
        let _infallible = writeln!(page, "| {choice} | {others} | {meaning} |");
    }
}

fn limits(field: &Value) -> String {
    let mut limits = String::new();
    for (key, word) in [("minimum", "at least"), ("maximum", "at most")] {
        let format = text(field, "format");
        // What counts something is never less than nothing.
        let is_natural = key == "minimum" && format.starts_with("uint");
        if let Some(limit) = field.get(key)
            && !(is_natural && limit.as_u64() == Some(0))
        {
            let _infallible = write!(limits, " {word} {limit}.");
        }
    }
    limits.replace(" at", " At")
}

fn type_text(schema: &Value) -> String {
    let Some(map) = schema.as_object() else { return "any".to_owned() };
    if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return format!("[{name}](#{})", anchor(name));
    }
    if let Some(options) = map.get("anyOf").and_then(Value::as_array) {
        return options.iter().map(type_text).collect::<Vec<_>>().join(" or ");
    }
    let kinds: Vec<&str> = match map.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if kinds.is_empty() {
        return "any".to_owned();
    }
    let kinds: Vec<String> = kinds.into_iter().map(|kind| kind_text(kind, map)).collect();
    kinds.join(" or ")
}

fn kind_text(kind: &str, map: &Map<String, Value>) -> String {
    match kind {
        "array" => {
            format!("list of {}", map.get("items").map_or_else(|| "any".to_owned(), type_text))
        }
        "object" => match map.get("additionalProperties") {
            Some(values @ Value::Object(_)) => format!("mapping to {}", type_text(values)),
            _ => "mapping".to_owned(),
        },
        "string" => match map.get("format").and_then(Value::as_str) {
            Some(format) => format!("string ({format})"),
            None => "string".to_owned(),
        },
        other => other.to_owned(),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn anchor(heading: &str) -> String {
    heading.to_lowercase()
}

/// A text within a cell or line of Markdown.
fn escape(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
