//! Server-side apply as a write: the configuration is checked and merged, and the outcome is kept like any other.

use serde_json::Value;

use super::body::mistake;
use super::{
    Terms, Written, fill_defaults, place, refuse_invalid, skeleton, store_changed, store_new,
    version, wrong_namespace,
};
use crate::control::ObjectKey;
use crate::object::{self, text};
use crate::resource::{Resource, Version};
use crate::status::Refusal;
use crate::world::World;
use crate::{apply, custom, typed};

/// Server-side apply: creates or changes.
pub(crate) fn apply(
    world: &mut World,
    resource: &Resource,
    key: &ObjectKey,
    mut configuration: Value,
    is_forced: bool,
    terms: &Terms,
) -> Result<Written, Refusal> {
    let version = version(resource, &terms.version)?;
    if configuration.pointer("/metadata/managedFields").is_some_and(|fields| !fields.is_null()) {
        return Err(Refusal::bad_request("metadata.managedFields must be nil"));
    }
    let existing = world.store.object(key).cloned();
    check_applied_kind(&configuration, resource, key, existing.is_some(), terms)?;
    object::set_metadata(&mut configuration, "name", key.name.as_str().into());
    if resource.is_namespaced {
        object::set_metadata(&mut configuration, "namespace", key.namespace.as_str().into());
    }
    let (author, rules) = (terms.author(resource), world.rules);
    let merged = |live: &Value| {
        apply::apply(live, &configuration, &version.shape, resource, &author, is_forced, rules)
    };
    let Some(existing) = existing else {
        if !terms.subresource.is_empty() {
            return Err(Refusal::not_found(resource.subject(&key.name)));
        }
        if !object::uid(&configuration).is_empty() {
            return Err(Refusal::conflict(
                resource.subject(&key.name),
                &format!(
                    "uid mismatch: the provided object specified uid {}, and no existing object was found",
                    object::uid(&configuration)
                ),
            ));
        }
        let mut new = merged(&skeleton(resource, version))?;
        typed_again(&mut new, resource, version, terms)?;
        fill_defaults(&mut new, resource, version);
        place(world, resource, &key.namespace, &mut new)?;
        let object = store_new(world, resource, version, new, terms)?;
        return Ok(Written { object, warnings: Vec::new(), is_new: true });
    };
    let mut new = merged(&existing)?;
    // Conflicts of fields are told before that of the version.
    let given = text(&configuration, "/metadata/resourceVersion");
    if !given.is_empty() && given != text(&existing, "/metadata/resourceVersion") {
        return Err(Refusal::stale(resource.subject(&key.name)));
    }
    refuse_nulls(&new, resource, version, &key.name)?;
    typed_again(&mut new, resource, version, terms)?;
    fill_defaults(&mut new, resource, version);
    let object = store_changed(world, resource, version, key, &existing, new, terms)?;
    Ok(Written { object, warnings: Vec::new(), is_new: false })
}

/// What giving up fields leaves of a custom resource may be null where nothing may be.
fn refuse_nulls(
    value: &Value,
    resource: &Resource,
    version: &Version,
    name: &str,
) -> Result<(), Refusal> {
    let Some(schema) = &version.schema else { return Ok(()) };
    let mut causes = custom::schema::check(value, schema);
    causes.retain(|cause| cause.message.ends_with("\"null\""));
    refuse_invalid(resource, name, &causes)
}

/// The merged object in typed form; a value that no type accepts is a bad request.
fn typed_again(
    value: &mut Value,
    resource: &Resource,
    version: &Version,
    terms: &Terms,
) -> Result<(), Refusal> {
    let reading = typed::round_trip(value, &version.shape);
    match mistake(&reading, version) {
        Some(mistake) => Err(Refusal::bad_request(format!(
            "{} in version \"{}\" cannot be handled as a {}: {mistake}",
            resource.kind, terms.version, resource.kind
        ))),
        None => Ok(()),
    }
}

fn check_applied_kind(
    configuration: &Value,
    resource: &Resource,
    key: &ObjectKey,
    exists: bool,
    terms: &Terms,
) -> Result<(), Refusal> {
    let found_type = match configuration {
        Value::Object(_) => "",
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::Null => "null",
    };
    if !found_type.is_empty() {
        return Err(Refusal::bad_request(format!(
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {found_type} into Go value of type map[string]interface {{}}"
        )));
    }
    let wanted = resource.api_version(&terms.version);
    let (found, kind) = (text(configuration, "/apiVersion"), text(configuration, "/kind"));
    if found != wanted {
        return Err(Refusal::bad_request(format!(
            "Incorrect version specified in apply patch. Specified patch version: {found}, expected: {wanted}"
        )));
    }
    if kind.is_empty() {
        let why = format!(
            "failed to create typed patch object: no corresponding type for /{found}, Kind="
        );
        return Err(Refusal::plain(500, "", why));
    }
    if kind != resource.kind {
        let why = "failed to merge config: expected objects of the same type, but got others";
        return Err(Refusal::plain(500, "", why));
    }
    let name = object::name(configuration);
    if name.is_empty() && !exists {
        return Err(Refusal::bad_request(format!(
            "the name of the object ({} based on URL) was undeterminable: name must be provided",
            key.name
        )));
    }
    if !name.is_empty() && name != key.name {
        return Err(Refusal::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            key.name
        )));
    }
    let namespace = object::namespace(configuration);
    if resource.is_namespaced && !namespace.is_empty() && namespace != key.namespace {
        return Err(wrong_namespace());
    }
    Ok(())
}
