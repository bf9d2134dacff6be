//! The OpenAPI documents, as far as kubectl reads them: what may be dry-run and validated, and how lists merge.
#![expect(clippy::wildcard_enum_match_arm, reason = "what is not named here is a leaf")]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::object;
use crate::resource::Resource;
use crate::schema::{self, Relation, Shape};
use crate::world::World;

/// The parameters that kubectl looks for before it uses them.
const PARAMETERS: [&str; 4] = ["dryRun", "fieldManager", "fieldValidation", "force"];

fn path_of(resource: &Resource, version: &str) -> String {
    let prefix = if resource.group.is_empty() {
        format!("/api/{version}")
    } else {
        format!("/apis/{}/{version}", resource.group)
    };
    let namespace = if resource.is_namespaced { "/namespaces/{namespace}" } else { "" };
    format!("{prefix}{namespace}/{}/{{name}}", resource.plural)
}

fn kept(world: &World) -> impl Iterator<Item = (&Resource, &str)> {
    world.resources().filter(|resource| !resource.is_review).flat_map(|resource| {
        resource.versions.iter().map(move |version| (&**resource, version.name.as_str()))
    })
}

/// `/openapi/v2` as JSON: the paths with their patch operations, without definitions.
pub(crate) fn second(world: &World) -> Value {
    let mut paths = serde_json::Map::new();
    for (resource, version) in kept(world) {
        let parameters: Vec<Value> = PARAMETERS
            .iter()
            .map(|name| json!({"name": name, "in": "query", "type": "string", "uniqueItems": true}))
            .collect();
        paths.insert(path_of(resource, version), json!({"patch": {
            "parameters": parameters, "responses": {"200": {"description": "OK"}},
            "x-kubernetes-action": "patch", "x-kubernetes-group-version-kind": kind_of(resource, version),
        }}));
    }
    json!({"swagger": "2.0", "info": {"title": "Tidegate sandbox", "version": world.version}, "paths": paths, "definitions": {}})
}

fn kind_of(resource: &Resource, version: &str) -> Value {
    json!({"group": resource.group, "version": version, "kind": resource.kind})
}

/// A length-delimited protobuf field.
fn field(number: u32, bytes: &[u8]) -> Vec<u8> {
    let mut out = variable(u64::from(number << 3 | 2));
    out.extend(variable(bytes.len() as u64));
    out.extend_from_slice(bytes);
    out
}

fn variable(mut number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or_default();
        number >>= 7;
        if number == 0 {
            out.push(low);
            return out;
        }
        out.push(low | 0x80);
    }
}

/// `/openapi/v2` as the message `openapi.v2.Document` of github.com/google/gnostic, which clients before 1.27 insist on.
pub(crate) fn second_as_protobuf(world: &World) -> Vec<u8> {
    let mut paths = Vec::new();
    for (resource, version) in kept(world) {
        let mut operation = Vec::new();
        for name in PARAMETERS {
            let mut query = field(2, b"query");
            query.extend(field(4, name.as_bytes()));
            query.extend(field(6, b"string"));
            operation.extend(field(8, &field(1, &field(2, &field(3, &query)))));
        }
        let mut response = field(1, b"200");
        response.extend(field(2, &field(1, &field(1, b"OK"))));
        operation.extend(field(9, &field(1, &response)));
        for (name, yaml) in [
            ("x-kubernetes-action", "patch\n".to_owned()),
            (
                "x-kubernetes-group-version-kind",
                format!(
                    "group: \"{}\"\nkind: {}\nversion: {version}\n",
                    resource.group, resource.kind
                ),
            ),
        ] {
            let mut extension = field(1, name.as_bytes());
            extension.extend(field(2, &field(2, yaml.as_bytes())));
            operation.extend(field(13, &extension));
        }
        let mut path = field(1, path_of(resource, version).as_bytes());
        path.extend(field(2, &field(8, &operation)));
        paths.extend(field(2, &path));
    }
    let mut about = field(1, b"Tidegate sandbox");
    about.extend(field(2, world.version.as_bytes()));
    let mut out = field(1, b"2.0");
    out.extend(field(2, &about));
    out.extend(field(8, &paths));
    out.extend(field(9, &[]));
    out
}

/// `/openapi/v3`.
pub(crate) fn third_index(world: &World) -> Value {
    let versions: BTreeSet<String> = kept(world)
        .map(|(resource, version)| {
            if resource.group.is_empty() {
                format!("api/{version}")
            } else {
                format!("apis/{}/{version}", resource.group)
            }
        })
        .collect();
    let paths: serde_json::Map<String, Value> = versions
        .into_iter()
        .map(|path| (path.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={}", world.store.revision())})))
        .collect();
    json!({"paths": paths})
}

/// `/openapi/v3/apis/GROUP/VERSION`.
pub(crate) fn third(world: &World, group: &str, version: &str) -> Option<Value> {
    let mut paths = serde_json::Map::new();
    let mut schemas = BTreeMap::new();
    for (resource, name) in
        kept(world).filter(|(resource, name)| resource.group == group && *name == version)
    {
        let Some(found) = resource.version(name) else { continue };
        let component = match &found.shape {
            Shape::Ref(name) => name.clone(),
            _ => custom_name(resource, version),
        };
        let mut schema = if let Some(schema) = &found.schema {
            (**schema).clone()
        } else {
            collect(&found.shape, &mut schemas);
            schemas.get(&component).cloned().unwrap_or_default()
        };
        object::set(
            &mut schema,
            "x-kubernetes-group-version-kind",
            json!([kind_of(resource, version)]),
        );
        schemas.insert(component.clone(), schema);
        let reference = json!({"$ref": format!("#/components/schemas/{component}")});
        let content = json!({"application/json": {"schema": reference}});
        let parameters: Vec<Value> = PARAMETERS
            .iter()
            .map(|name| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}}))
            .collect();
        let operation = |action: &str| {
            json!({"parameters": parameters, "x-kubernetes-action": action,
                "x-kubernetes-group-version-kind": kind_of(resource, version),
                "responses": {"200": {"description": "OK", "content": content}}})
        };
        let mut patch = operation("patch");
        let mut patches = vec![
            "application/apply-patch+yaml",
            "application/json-patch+json",
            "application/merge-patch+json",
        ];
        if !resource.is_custom {
            patches.push("application/strategic-merge-patch+json");
        }
        let bodies: serde_json::Map<String, Value> = patches
            .into_iter()
            .map(|kind| (kind.to_owned(), json!({"schema": {"type": "object"}})))
            .collect();
        object::set(&mut patch, "requestBody", json!({"content": bodies}));
        let mut put = operation("put");
        object::set(&mut put, "requestBody", json!({"content": content}));
        paths.insert(
            path_of(resource, version),
            json!({
                "get": operation("get"), "put": put, "patch": patch, "delete": operation("delete"),
            }),
        );
        let mut post = operation("post");
        object::set(&mut post, "requestBody", json!({"content": content}));
        let collection = path_of(resource, version).trim_end_matches("/{name}").to_owned();
        paths.insert(collection, json!({"get": operation("list"), "post": post}));
    }
    if paths.is_empty() {
        return None;
    }
    Some(
        json!({"openapi": "3.0.0", "info": {"title": "Tidegate sandbox", "version": world.version},
        "paths": paths, "components": {"schemas": schemas}}),
    )
}

fn custom_name(resource: &Resource, version: &str) -> String {
    let mut parts: Vec<&str> = resource.group.split('.').collect();
    parts.reverse();
    format!("{}.{version}.{}", parts.join("."), resource.kind)
}

/// Adds the types that a shape reaches.
fn collect(shape: &Shape, schemas: &mut BTreeMap<String, Value>) {
    match shape {
        Shape::Ref(name) if !schemas.contains_key(name) => {
            schemas.insert(name.clone(), Value::Null);
            let known = schema::named(name);
            let mut properties = serde_json::Map::new();
            for (field_name, field) in &known.fields {
                let mut property = described(&field.shape);
                if !field.strategy.is_empty() {
                    object::set(
                        &mut property,
                        "x-kubernetes-patch-strategy",
                        field.strategy.as_str().into(),
                    );
                }
                properties.insert(field_name.clone(), property);
                collect(&field.shape, schemas);
            }
            let mut value = json!({"type": "object", "properties": properties});
            if known.is_atomic {
                object::set(&mut value, "x-kubernetes-map-type", "atomic".into());
            }
            schemas.insert(name.clone(), value);
        }
        Shape::List(list) => collect(&list.item, schemas),
        Shape::Map(map) => collect(&map.value, schemas),
        _ => {}
    }
}

fn described(shape: &Shape) -> Value {
    match shape {
        Shape::Text | Shape::Quantity => json!({"type": "string"}),
        Shape::Bytes => json!({"type": "string", "format": "byte"}),
        Shape::Time | Shape::MicroTime => json!({"type": "string", "format": "date-time"}),
        Shape::Integer => json!({"type": "integer"}),
        Shape::Number => json!({"type": "number"}),
        Shape::Boolean => json!({"type": "boolean"}),
        Shape::IntOrString => {
            json!({"oneOf": [{"type": "integer"}, {"type": "string"}], "format": "int-or-string"})
        }
        Shape::Any | Shape::Struct(_) => json!({"type": "object"}),
        Shape::Ref(name) => json!({"allOf": [{"$ref": format!("#/components/schemas/{name}")}]}),
        Shape::Map(map) => json!({"type": "object", "additionalProperties": described(&map.value)}),
        Shape::List(list) => {
            let mut value = json!({"type": "array", "items": described(&list.item)});
            match &list.relation {
                Relation::Atomic => {
                    object::set(&mut value, "x-kubernetes-list-type", "atomic".into());
                }
                Relation::Set => object::set(&mut value, "x-kubernetes-list-type", "set".into()),
                Relation::Keyed(keys) => {
                    object::set(&mut value, "x-kubernetes-list-type", "map".into());
                    object::set(&mut value, "x-kubernetes-list-map-keys", json!(keys));
                }
            }
            if !list.strategy.is_empty() {
                object::set(
                    &mut value,
                    "x-kubernetes-patch-strategy",
                    list.strategy.as_str().into(),
                );
            }
            if !list.merge_key.is_empty() {
                object::set(
                    &mut value,
                    "x-kubernetes-patch-merge-key",
                    list.merge_key.as_str().into(),
                );
            }
            value
        }
    }
}
