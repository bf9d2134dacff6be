//! The forms in which objects are answered: as they are, as rows of a table for `kubectl get`, or as metadata alone.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::object;
use crate::resource::Resource;
use crate::status::Refusal;

mod column;

/// How the client wants objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// As they are.
    #[default]
    Plain,
    /// As rows.
    Table,
    /// Only `metadata`.
    Metadata,
}

impl Form {
    /// The first form of an `Accept` header that is served. Only protobuf is not acceptable.
    pub(crate) fn read(accept: &str) -> Result<Self, Refusal> {
        if accept.trim().is_empty() {
            return Ok(Self::Plain);
        }
        for part in accept.split(',') {
            let mut words = part.split(';').map(str::trim);
            let media = words.next().unwrap_or_default();
            if !matches!(
                media,
                "application/json" | "*/*" | "application/*" | "application/yaml" | "text/plain"
            ) {
                continue;
            }
            match words.find_map(|word| word.strip_prefix("as=")) {
                None => return Ok(Self::Plain),
                Some("Table") => return Ok(Self::Table),
                Some("PartialObjectMetadata" | "PartialObjectMetadataList") => {
                    return Ok(Self::Metadata);
                }
                Some(_) => {}
            }
        }
        Err(Refusal::plain(
            406,
            "NotAcceptable",
            "only the following media types are accepted: application/json",
        ))
    }
}

/// One object in the form.
pub(crate) fn single(
    form: &Form,
    value: Value,
    resource: &Resource,
    version: &str,
    now: Timestamp,
) -> Value {
    match form {
        Form::Plain => value,
        Form::Table => {
            let revision = object::text(&value, "/metadata/resourceVersion").to_owned();
            table(&[value], &json!({"resourceVersion": revision}), resource, version, now)
        }
        Form::Metadata => metadata_of(&value),
    }
}

/// Several objects in the form.
pub(crate) fn several(
    form: &Form,
    mut items: Vec<Value>,
    metadata: &Value,
    resource: &Resource,
    version: &str,
    now: Timestamp,
) -> Value {
    match form {
        Form::Table => table(&items, metadata, resource, version, now),
        Form::Metadata => {
            let items: Vec<Value> = items.iter().map(metadata_of).collect();
            json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "items": items})
        }
        Form::Plain => {
            if !resource.is_custom {
                // The items of typed lists do not say again what they are.
                for item in &mut items {
                    object::set(item, "apiVersion", Value::Null);
                    object::set(item, "kind", Value::Null);
                }
            }
            json!({"kind": format!("{}List", resource.kind), "apiVersion": resource.api_version(version),
                "metadata": metadata, "items": items})
        }
    }
}

fn metadata_of(value: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": value.get("metadata")})
}

fn table(
    items: &[Value],
    metadata: &Value,
    resource: &Resource,
    version: &str,
    now: Timestamp,
) -> Value {
    let columns = column::columns(resource, version);
    let definitions: Vec<Value> = columns
        .iter()
        .map(|column| {
            let format = if column.name == "Name" { "name" } else { "" };
            json!({"name": column.name, "type": "string", "format": format, "description": "", "priority": column.priority})
        })
        .collect();
    let rows: Vec<Value> = items
        .iter()
        .map(|item| {
            let cells: Vec<Value> = columns.iter().map(|column| (column.cell)(item, now)).collect();
            json!({"cells": cells, "object": metadata_of(item)})
        })
        .collect();
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": definitions, "rows": rows})
}
