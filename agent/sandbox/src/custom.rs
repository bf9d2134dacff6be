//! Custom resources: what their definitions make the API serve.
//!
//! Not simulated: validation rules in CEL, conversion webhooks, `selectableFields`.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::control::ObjectKey;
use crate::object::{self, list, text};
use crate::resource::{Resource, Scale, Version};
use crate::world::World;

pub(crate) mod schema;

/// The group of custom resource definitions.
pub(crate) const GROUP: &str = "apiextensions.k8s.io";
/// Their kind.
pub(crate) const KIND: &str = "CustomResourceDefinition";

/// Serves what a definition says when that has changed; a definition is named by its plural and its group.
pub(crate) fn changed(world: &mut World, key: &ObjectKey) {
    if key.kind != KIND || key.group != GROUP {
        return;
    }
    let (plural, group) = key.name.split_once('.').unwrap_or((&key.name, ""));
    let served = (group.to_owned(), plural.to_owned());
    match world.store.object(key).filter(|definition| is_established(definition)) {
        Some(definition) => world.custom.insert(served, Arc::new(read(definition))),
        None => world.custom.remove(&served),
    };
}

/// Rebuilds the served custom resources from the established definitions.
pub(crate) fn refresh(world: &mut World) {
    world.custom = world
        .store
        .of_kind(GROUP, KIND, None)
        .filter(|definition| is_established(definition))
        .map(|definition| {
            let resource = read(definition);
            ((resource.group.clone(), resource.plural.clone()), Arc::new(resource))
        })
        .collect();
}

/// Whether the definition's resources are served.
pub(crate) fn is_established(definition: &Value) -> bool {
    list(definition, "/status/conditions").iter().any(|condition| {
        text(condition, "/type") == "Established" && text(condition, "/status") == "True"
    })
}

/// The definition's status once its names are accepted, or `None` when it has it.
pub(crate) fn establish(definition: &Value, now: &str) -> Option<Value> {
    if is_established(definition)
        && definition.pointer("/status/acceptedNames") == definition.pointer("/spec/names")
    {
        return None;
    }
    let names = definition.pointer("/spec/names").cloned().unwrap_or_else(|| json!({}));
    let mut stored: Vec<Value> = list(definition, "/status/storedVersions").to_vec();
    for version in list(definition, "/spec/versions") {
        let name = version.get("name").cloned().unwrap_or_default();
        if object::is_true(version, "/storage") && !stored.contains(&name) {
            stored.push(name);
        }
    }
    let mut established = definition.clone();
    object::set(
        &mut established,
        "status",
        json!({
            "conditions": [
                {"type": "NamesAccepted", "status": "True", "reason": "NoConflicts",
                    "message": "no conflicts found", "lastTransitionTime": now},
                {"type": "Established", "status": "True", "reason": "InitialNamesAccepted",
                    "message": "the initial names have been accepted", "lastTransitionTime": now},
            ],
            "acceptedNames": names,
            "storedVersions": stored,
        }),
    );
    Some(established)
}

fn read(definition: &Value) -> Resource {
    let words = |pointer: &str| {
        list(definition, pointer).iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let versions = list(definition, "/spec/versions");
    let mut served: Vec<Version> = versions
        .iter()
        .filter(|version| object::is_true(version, "/served"))
        .map(read_version)
        .collect();
    served.sort_by_key(|version| std::cmp::Reverse(priority(&version.name)));
    let storage = versions.iter().find(|version| object::is_true(version, "/storage"));
    let storage = storage.unwrap_or(&Value::Null);
    let scale =
        versions.iter().find_map(|version| version.pointer("/subresources/scale")).map(|scale| {
            let pointer = |field: &str| text(scale, field).replace('.', "/");
            Scale {
                spec: pointer("/specReplicasPath"),
                status: pointer("/statusReplicasPath"),
                selector: pointer("/labelSelectorPath"),
            }
        });
    Resource {
        group: text(definition, "/spec/group").to_owned(),
        versions: served,
        storage: text(storage, "/name").to_owned(),
        kind: text(definition, "/spec/names/kind").to_owned(),
        plural: text(definition, "/spec/names/plural").to_owned(),
        singular: text(definition, "/spec/names/singular").to_owned(),
        short: words("/spec/names/shortNames"),
        categories: words("/spec/names/categories"),
        is_namespaced: text(definition, "/spec/scope") == "Namespaced",
        has_status: versions
            .iter()
            .any(|version| version.pointer("/subresources/status").is_some()),
        scale,
        has_generation: true,
        is_review: false,
        is_custom: true,
    }
}

fn read_version(version: &Value) -> Version {
    let schema = version.pointer("/schema/openAPIV3Schema").cloned().unwrap_or_else(|| json!({}));
    Version {
        name: text(version, "/name").to_owned(),
        shape: schema::shape_of_object(&schema),
        schema: Some(Arc::new(schema)),
        columns: list(version, "/additionalPrinterColumns").to_vec(),
    }
}

/// GA before beta before alpha, higher numbers first.
pub(crate) fn priority(version: &str) -> (u8, u32, u32) {
    let Some(rest) = version.strip_prefix('v') else { return (0, 0, 0) };
    let major = |text: &str| text.parse().unwrap_or_default();
    if let Some((number, level)) = rest.split_once("beta") {
        (2, major(number), major(level))
    } else if let Some((number, level)) = rest.split_once("alpha") {
        (1, major(number), major(level))
    } else if let Ok(number) = rest.parse() {
        (3, number, 0)
    } else {
        (0, 0, 0)
    }
}

/// Writes the schema's defaults into an object.
pub(crate) fn fill_defaults(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(fields) => {
            fill_object(fields, schema);
        }
        Value::Array(items) => {
            if let Some(item_schema) = schema.get("items") {
                for item in items {
                    fill_defaults(item, item_schema);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn fill_object(fields: &mut Map<String, Value>, schema: &Value) {
    for (name, inner) in object::map(schema, "/properties").into_iter().flatten() {
        let is_nullable = object::is_true(inner, "/nullable");
        if let Some(default) = inner.get("default")
            && fields.get(name).is_none_or(|found| found.is_null() && !is_nullable)
        {
            fields.insert(name.clone(), default.clone());
        }
        if let Some(field) = fields.get_mut(name) {
            fill_defaults(field, inner);
        }
    }
    if let Some(rest) = schema.get("additionalProperties").filter(|rest| rest.is_object()) {
        for field in fields.values_mut() {
            fill_defaults(field, rest);
        }
    }
}
