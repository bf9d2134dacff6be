//! YAML in and out. The parser's crate is named in `yaml/load.rs` and nowhere else.
//!
//! Reading goes by the events of `saphyr-parser`, so that every field has its line and column, and so that duplicate
//! keys, expansion and depth are ours to judge. Own documents are read by the core schema of YAML 1.2; what YAML 1.1
//! would read otherwise (`on`, `0644`) is refused. Kubernetes manifests are read as kubectl does.

mod load;
mod shape;
mod rules;
mod write;

use std::{str::FromStr as _, sync::Arc};

use serde::Serialize;
use serde_json::Value;

use crate::{
    document::{API_VERSION, Body, Document, Kind, Metadata, Origin},
    finding::{Finding, Place},
    suggest,
};
use load::{Dialect, Loaded};

/// Reads the documents of a file, with all findings of the file, sorted.
///
/// `file` is the name that places carry. A document with an error is not in the list; its neighbours are. An empty
/// file, and a document of comments only, is nothing. The text must be UTF-8, which the caller sees to.
pub fn parse(file: &str, text: &str) -> (Vec<Document>, Vec<Finding>) {
    let (loaded, mut findings) = load::load(file, text, Dialect::Document);
    let file_name: Arc<str> = file.into();
    let mut documents = Vec::new();
    for (index, loaded) in loaded.into_iter().enumerate() {
        match document(&file_name, index, loaded) {
            Ok(document) => {
                let problems = rules::check(&document);
                if !problems.iter().any(Finding::is_error) {
                    documents.push(document);
                }
                findings.extend(problems);
            }
            Err(problems) => findings.extend(problems),
        }
    }
    findings.sort();
    (documents, findings)
}

/// Reads the documents of a file whose bytes may not be text.
pub fn parse_bytes(file: &str, bytes: &[u8]) -> (Vec<Document>, Vec<Finding>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(file, text),
        Err(error) => (Vec::new(), vec![not_utf8(file, bytes, error.valid_up_to())]),
    }
}

/// The finding for bytes that are no UTF-8 from `offset` on.
fn not_utf8(file: &str, bytes: &[u8], offset: usize) -> Finding {
    let before = bytes.get(..offset).unwrap_or_default();
    let line = before.split(|byte| *byte == b'\n').count();
    let line = u32::try_from(line).unwrap_or(u32::MAX);
    Finding::error("YAML/NOT_UTF8").at(Place::new(file, line, 0, "")).with("offset", offset)
}

/// Reads plain Kubernetes objects, with the place of each and all findings, sorted.
///
/// Objects of `kind: List` and of other lists with `items` are expanded. An object without `apiVersion`, `kind` or
/// `metadata.name` is a finding and not in the list.
pub fn parse_objects(file: &str, text: &str) -> (Vec<(Value, Place)>, Vec<Finding>) {
    let (loaded, mut findings) = load::load(file, text, Dialect::Kubernetes);
    let mut objects = Vec::new();
    for loaded in loaded {
        let mut found = Vec::new();
        expand(file, &loaded, loaded.value.clone(), "", &mut found, &mut findings);
        if loaded.is_sound {
            objects.append(&mut found);
        }
    }
    findings.sort();
    (objects, findings)
}

/// Writes YAML that every reader reads alike. Fails when the value has no form in JSON, such as a map whose keys are
/// no texts.
pub fn to_string(value: &impl Serialize) -> Result<String, Error> {
    Ok(write::document(&serde_json::to_value(value).map_err(Error)?))
}

/// Failed to write YAML.
#[derive(Debug, thiserror::Error)]
#[error("failed to turn the value into YAML")]
pub struct Error(#[source] serde_json::Error);

/// The value of a text with one document, for our own embedded files.
pub(crate) fn value(text: &str) -> Result<Value, String> {
    let (loaded, findings) = load::load("", text, Dialect::Document);
    if let Some(finding) = findings.first() {
        let place = finding.place.clone().unwrap_or_default();
        return Err(format!(
            "{}:{}: {} {:?}",
            place.line, place.column, finding.code, finding.args
        ));
    }
    Ok(loaded.into_iter().next().map_or(Value::Null, |loaded| loaded.value))
}

/// Judges one loaded document.
fn document(file: &Arc<str>, index: usize, loaded: Loaded) -> Result<Document, Vec<Finding>> {
    let Loaded { value, positions, traps, is_sound } = loaded;
    let place = |path: &str| positions.place(file, path);
    let Value::Object(mut map) = value else {
        return Err(vec![Finding::error("DOCUMENT/NOT_A_MAPPING").at(place(""))]);
    };
    let kind = head(&map, &place)?;
    let value = Value::Object(std::mem::take(&mut map));
    let findings = shape::check(kind, &value, file, &positions, &traps);
    if !findings.is_empty() || !is_sound {
        return Err(findings);
    }
    let Value::Object(mut map) = value else { return Err(findings) };
    let unreadable = |error: serde_json::Error| {
        vec![Finding::error("DOCUMENT/UNREADABLE").at(place("")).with("detail", error)]
    };
    let metadata: Metadata =
        serde_json::from_value(map.remove("metadata").unwrap_or_default()).map_err(unreadable)?;
    let body = Body::read(kind, map.remove("spec").unwrap_or_default()).map_err(unreadable)?;
    let origin = Origin { file: Arc::clone(file), index, positions: Arc::new(positions) };
    Ok(Document { metadata, body, origin })
}

/// Reads `apiVersion` and `kind`.
fn head(
    map: &serde_json::Map<String, Value>,
    place: &impl Fn(&str) -> Place,
) -> Result<Kind, Vec<Finding>> {
    let mut findings = Vec::new();
    let api_version = map.get("apiVersion");
    let is_ours = api_version.and_then(Value::as_str) == Some(API_VERSION);
    if !is_ours {
        findings.push(match api_version {
            None => Finding::error("DOCUMENT/API_VERSION_MISSING").at(place("")),
            Some(other) => Finding::error("DOCUMENT/API_VERSION_UNKNOWN")
                .at(place("apiVersion"))
                .with("apiVersion", shape::show(other)),
        });
    }
    let name = match map.get("kind") {
        None => {
            findings.push(Finding::error("DOCUMENT/KIND_MISSING").at(place("")));
            return Err(findings);
        }
        Some(Value::String(name)) => name.clone(),
        Some(other) => shape::show(other),
    };
    let kind = Kind::from_str(&name);
    if kind.is_err() && (is_ours || api_version.is_none()) {
        let names = Kind::ALL.iter().map(|kind| kind.as_str());
        findings.push(match suggest::nearest(&name, names) {
            Some(nearest) => Finding::error("DOCUMENT/UNKNOWN_KIND_NEAR")
                .at(place("kind"))
                .with("kind", &name)
                .with("nearest", nearest),
            None => Finding::error("DOCUMENT/UNKNOWN_KIND").at(place("kind")).with("kind", &name),
        });
    }
    match kind {
        Ok(kind) if findings.is_empty() => Ok(kind),
        _ => Err(findings),
    }
}

/// Puts an object, or those of a list, into `found`.
fn expand(
    file: &str,
    loaded: &Loaded,
    value: Value,
    path: &str,
    found: &mut Vec<(Value, Place)>,
    findings: &mut Vec<Finding>,
) {
    let place = loaded.positions.place(file, path);
    let Value::Object(mut map) = value else {
        findings.push(Finding::error("OBJECT/NOT_A_MAPPING").at(place));
        return;
    };
    let kind = map.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    let is_list = kind.ends_with("List") && map.get("items").is_some_and(Value::is_array);
    if is_list && let Some(Value::Array(items)) = map.remove("items") {
        for (index, item) in items.into_iter().enumerate() {
            let mut path = path.to_owned();
            crate::position::push_key(&mut path, "items");
            crate::position::push_index(&mut path, index);
            expand(file, loaded, item, &path, found, findings);
        }
        return;
    }
    let text = |pointer: &str, map: &serde_json::Map<String, Value>| {
        let mut value = map.get(pointer.split('.').next().unwrap_or_default());
        if let Some((_, rest)) = pointer.split_once('.') {
            value = value.and_then(|value| value.get(rest));
        }
        value.and_then(Value::as_str).is_some_and(|text| !text.is_empty())
    };
    let mut is_complete = true;
    for field in ["apiVersion", "kind", "metadata.name"] {
        if !text(field, &map) {
            is_complete = false;
            let mut finding =
                Finding::error("OBJECT/FIELD_MISSING").at(place.clone()).with("field", field);
            finding = finding.with("kind", if kind.is_empty() { "?" } else { &kind });
            findings.push(finding);
        }
    }
    if is_complete {
        found.push((Value::Object(map), place));
    }
}

#[cfg(test)]
mod tests;
