//! Reading the body of a write: the right kind, known fields, right types, defaults.

use std::sync::Arc;

use serde_json::Value;

use super::{Terms, Validation, fill_defaults, refuse_invalid, version};
use crate::object::{self, text};
use crate::resource::{Resource, Version};
use crate::status::{Cause, Refusal};
use crate::typed;

/// Decodes a body: the right kind, known fields, right types, defaults. Returns warnings.
pub(crate) fn decode(
    value: &mut Value,
    resource: &Resource,
    terms: &Terms,
) -> Result<Vec<String>, Refusal> {
    let wanted = resource.api_version(&terms.version);
    let (found, kind) = (text(value, "/apiVersion").to_owned(), text(value, "/kind").to_owned());
    if !value.is_object() {
        return Err(Refusal::bad_request("the object provided is not a map"));
    }
    if found.is_empty() {
        object::set(value, "apiVersion", wanted.as_str().into());
    }
    if kind.is_empty() {
        object::set(value, "kind", resource.kind.as_str().into());
    }
    let is_known = |resource: &Arc<Resource>| {
        resource.kind == kind
            && resource.versions.iter().any(|version| resource.api_version(&version.name) == found)
    };
    // What a patch made of a custom resource is refused as invalid.
    if resource.is_custom && terms.is_patch {
        let mut causes = Vec::new();
        for (field, found, wanted) in
            [("apiVersion", &found, &wanted), ("kind", &kind, &resource.kind)]
        {
            if !found.is_empty() && found != wanted {
                let given = Value::from(found.as_str());
                causes.push(Cause::invalid(field, &given, &format!("must be {wanted}")));
            }
        }
        let name = object::name(value).to_owned();
        refuse_invalid(resource, &name, &causes)?;
    }
    if !found.is_empty() && found != wanted && !crate::resource::built_in().iter().any(is_known) {
        let version = found.rsplit('/').next().unwrap_or_default();
        return Err(Refusal::bad_request(format!(
            "{kind} in version \"{version}\" cannot be handled as a {}: no kind \"{kind}\" is registered for version \"{found}\"",
            resource.kind
        )));
    }
    if !found.is_empty() && found != wanted {
        return Err(Refusal::bad_request(format!(
            "the API version in the data ({found}) does not match the expected API version ({wanted})"
        )));
    }
    if !kind.is_empty() && kind != resource.kind {
        return Err(Refusal::bad_request(format!(
            "{kind} in version \"{}\" cannot be handled as a {}: no kind \"{kind}\" is registered",
            terms.version, resource.kind
        )));
    }
    let version = version(resource, &terms.version)?;
    let reading = typed::round_trip(value, &version.shape);
    // What a patch made of an object is refused as invalid, and a whole object as no request at all.
    let describe = |what: &str| {
        if terms.is_patch {
            let subject = crate::status::Subject { group: "", resource: "", name: "" };
            return Refusal::invalid(subject, &[Cause::invalid("patch", value, what)]);
        }
        Refusal::bad_request(format!(
            "{} in version \"{}\" cannot be handled as a {}: {what}",
            resource.kind, terms.version, resource.kind
        ))
    };
    if let Some(mistake) = mistake(&reading, version) {
        return Err(describe(mistake));
    }
    let unknown: Vec<String> =
        reading.unknown.iter().map(|path| format!("unknown field \"{path}\"")).collect();
    if terms.validation == Validation::Strict && !unknown.is_empty() {
        return Err(describe(&format!("strict decoding error: {}", unknown.join(", "))));
    }
    object::set(value, "apiVersion", resource.storage_api_version().into());
    fill_defaults(value, resource, version);
    Ok(if terms.validation == Validation::Warn { unknown } else { Vec::new() })
}

/// The first wrong type. In custom resources the schema tells wrong types, except those of the metadata.
pub(super) fn mistake<'a>(reading: &'a typed::Reading, version: &Version) -> Option<&'a String> {
    let is_custom = version.schema.is_some();
    reading.mistakes.iter().find(|mistake| !is_custom || mistake.contains("ObjectMeta"))
}
