//! The JSON Schemas of the kinds, made from the types. They are committed in `schema/json/`.

use serde_json::{Map, Value, json};

use crate::{
    document::{API_VERSION, Kind, Metadata},
    scalar::SUBDOMAIN_PATTERN,
};

/// The JSON Schema (2020-12) of a kind's documents.
pub fn of(kind: Kind) -> Value {
    document_schema(kind, false)
}

/// The same without `$ref`, so that a path into the schema follows the path into the document.
pub(crate) fn inlined(kind: Kind) -> Value {
    document_schema(kind, true)
}

fn document_schema(kind: Kind, inline: bool) -> Value {
    let settings = || {
        schemars::generate::SchemaSettings::draft2020_12().with(|settings| {
            settings.inline_subschemas = inline;
            settings.meta_schema = None;
        })
    };
    let mut spec = kind.spec_schema(settings().into_generator()).to_value();
    let mut metadata = settings().into_generator().into_root_schema_for::<Metadata>().to_value();
    let definitions = spec.as_object_mut().and_then(|spec| spec.remove("$defs"));
    if kind.has_dotted_names()
        && let Some(name) = metadata.pointer_mut("/properties/name/pattern")
    {
        *name = json!(SUBDOMAIN_PATTERN);
    }
    let description = spec.get("description").cloned().unwrap_or_default();
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": kind.as_str(),
        "description": description,
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": false,
        "properties": {
            "apiVersion": {"const": API_VERSION, "description": "The version of the format."},
            "kind": {"const": kind.as_str(), "description": "The kind of the document."},
            "metadata": metadata,
            "spec": spec,
        },
    });
    if let (Some(definitions), Some(map)) = (definitions, schema.as_object_mut()) {
        map.insert("$defs".to_owned(), definitions);
    }
    simplify(&mut schema);
    schema
}

/// Makes the schema say the same in the way that gives the best messages: no `null` for optional fields, enums as
/// one list, and choices by key as one object with exactly one property.
fn simplify(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            simplify_object(map);
            for value in map.values_mut() {
                simplify(value);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(simplify),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The same for what a program writes: `null` stays, as it is written.
pub fn describe_output(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            describe(map);
            gather_choices(map);
            map.values_mut().for_each(describe_output);
        }
        Value::Array(values) => values.iter_mut().for_each(describe_output),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn simplify_object(map: &mut Map<String, Value>) {
    drop_null(map);
    name_keys(map);
    describe(map);
    gather_choices(map);
}

fn describe(map: &mut Map<String, Value>) {
    if let Some(Value::String(description)) = map.get_mut("description") {
        *description = prose(description);
    }
}

/// Writes an enum as one list of words, and choices by key as one object with exactly one property.
fn gather_choices(map: &mut Map<String, Value>) {
    let Some(Value::Array(options)) = map.get("oneOf") else { return };
    // Choices that are told apart by the value of a field stay as they are.
    if !options.iter().all(|option| !words_of(option).is_empty() || is_one_key(option)) {
        return;
    }
    let words: Vec<&Value> = options.iter().flat_map(words_of).collect();
    let keys: Vec<(&String, &Value)> = options
        .iter()
        .filter_map(|option| option.get("properties")?.as_object())
        .filter(|properties| properties.len() == 1)
        .flatten()
        .collect();
    let described = |option: &Value| option.get("description").cloned().unwrap_or_default();
    if keys.is_empty() {
        let descriptions: Vec<Value> = options
            .iter()
            .flat_map(|option| vec![described(option); words_of(option).len()])
            .collect();
        let (words, descriptions) = (json!(words), json!(descriptions));
        map.remove("oneOf");
        map.insert("type".to_owned(), json!("string"));
        map.insert("enum".to_owned(), words);
        map.insert("enumDescriptions".to_owned(), descriptions);
        return;
    }
    let mut properties = Map::new();
    for option in options {
        for (key, value) in
            option.get("properties").and_then(Value::as_object).into_iter().flatten()
        {
            // Where anything goes, the schema is `true`, which has no room for words.
            let mut value = if *value == json!(true) { json!({}) } else { value.clone() };
            if let (Some(value), description) = (value.as_object_mut(), described(option))
                && description.is_string()
            {
                value.insert("description".to_owned(), description);
            }
            properties.insert(key.clone(), value);
        }
    }
    let types = if words.is_empty() { json!("object") } else { json!(["string", "object"]) };
    let pattern = words.iter().filter_map(|word| word.as_str()).collect::<Vec<_>>().join("|");
    map.remove("oneOf");
    map.insert("type".to_owned(), types);
    if !pattern.is_empty() {
        map.insert("pattern".to_owned(), json!(format!("^({pattern})$")));
    }
    map.insert("minProperties".to_owned(), json!(1));
    map.insert("maxProperties".to_owned(), json!(1));
    map.insert("additionalProperties".to_owned(), json!(false));
    map.insert("properties".to_owned(), Value::Object(properties));
}

/// Says of a mapping with named keys what its keys are, instead of leaving all other keys undefined.
fn name_keys(map: &mut Map<String, Value>) {
    if let Some(Value::Object(patterns)) = map.get("patternProperties")
        && patterns.len() == 1
        && let Some((pattern, values)) = patterns.iter().next()
    {
        let (pattern, values) = (json!({"pattern": pattern}), values.clone());
        map.remove("patternProperties");
        map.insert("propertyNames".to_owned(), pattern);
        map.insert("additionalProperties".to_owned(), values);
    }
}

/// A doc comment as prose: its lines joined, its links to Rust items as plain words, without examples in Rust.
fn prose(comment: &str) -> String {
    let text: String = comment.split("```").step_by(2).collect();
    let paragraphs: Vec<String> = text
        .trim()
        .split("\n\n")
        .map(|paragraph| paragraph.split('\n').collect::<Vec<_>>().join(" "))
        .collect();
    let is_said = |paragraph: &&String| !paragraph.trim().is_empty();
    let said: Vec<&str> = paragraphs.iter().filter(is_said).map(String::as_str).collect();
    said.join("\n\n").replace("[`", "`").replace("`]", "`")
}

/// Whether an option of `oneOf` is an object with one key, which tells it apart.
fn is_one_key(option: &Value) -> bool {
    let properties = option.get("properties").and_then(Value::as_object);
    properties.is_some_and(|properties| {
        properties.len() == 1 && properties.values().all(|value| value.get("const").is_none())
    })
}

/// The words that an option of `oneOf` allows.
fn words_of(option: &Value) -> Vec<&Value> {
    match (option.get("const"), option.get("enum").and_then(Value::as_array)) {
        (Some(word), _) => vec![word],
        (None, Some(words)) => words.iter().collect(),
        (None, None) => Vec::new(),
    }
}

/// An empty field is a mistake; one that is not needed is left out.
fn drop_null(map: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = map.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            map.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(words)) = map.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    let null = json!({"type": "null"});
    if let Some(Value::Array(options)) = map.get_mut("anyOf") {
        options.retain(|option| *option != null);
        if let [Value::Object(only)] = options.as_slice() {
            let only = only.clone();
            map.remove("anyOf");
            for (key, value) in only {
                map.entry(key).or_insert(value);
            }
        }
    }
}

/// One JSON Schema for documents of every kind, chosen by `kind`: for editors that know only one schema per file pattern.
pub fn combined() -> Value {
    let rules: Vec<Value> = Kind::ALL
        .iter()
        .map(|kind| {
            json!({
                "if": {"required": ["kind"], "properties": {"kind": {"const": kind.as_str()}}},
                "then": {"$ref": file_name(*kind)},
            })
        })
        .collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Tidegate document",
        "description": "A document of a Tidegate site.",
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {"kind": {"enum": Kind::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>()}},
        "allOf": rules,
    })
}

/// The file of a kind's schema in `schema/json/`, such as `product-version.schema.json`.
pub fn file_name(kind: Kind) -> String {
    let mut name = String::new();
    for character in kind.as_str().chars() {
        if character.is_ascii_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.push(character.to_ascii_lowercase());
    }
    name + ".schema.json"
}
