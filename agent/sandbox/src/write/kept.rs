//! What a change cannot touch: what the server writes itself, and what belongs to another subresource; and what counts as a change.

use serde_json::{Value, json};

use super::{Terms, is_reset_by_status};
use crate::object::{self, text};
use crate::resource::{Resource, Version};
use crate::status::{Cause, Refusal};
use crate::{defaults, typed};

/// Takes from the new object only what the subresource may change.
pub(super) fn restrict(
    existing: &Value,
    new: Value,
    resource: &Resource,
    subresource: &str,
) -> Value {
    if subresource != "status" {
        return new;
    }
    let mut kept = existing.clone();
    object::set(&mut kept, "status", new.get("status").cloned().unwrap_or(Value::Null));
    // Built-in status strategies let annotations and labels through; the controllers use that.
    if !resource.is_custom {
        let fields = ["annotations", "labels", "finalizers"];
        for field in fields.into_iter().filter(|field| !is_reset_by_status(resource, field)) {
            match new.pointer(&format!("/metadata/{field}")) {
                Some(value) => object::set_metadata(&mut kept, field, value.clone()),
                None => {
                    object::take_metadata(&mut kept, field);
                }
            }
        }
    }
    if let Some(fields) = new.pointer("/metadata/managedFields") {
        object::set_metadata(&mut kept, "managedFields", fields.clone());
    }
    kept
}

/// A write to the main resource leaves the status as it is; a new object starts without one.
pub(super) fn reset_status(
    value: &mut Value,
    existing: Option<&Value>,
    resource: &Resource,
    version: &Version,
) {
    let keeps_given = existing.is_none()
        && matches!(resource.kind.as_str(), "Node" | "Namespace")
        && resource.group.is_empty();
    if !resource.has_status || keeps_given {
        return;
    }
    if let Some(existing) = existing {
        object::set(value, "status", existing.get("status").cloned().unwrap_or(Value::Null));
    } else {
        object::set(value, "status", Value::Null);
        if version.schema.is_none() {
            defaults::fill(&resource.group, &resource.kind, value);
            typed::round_trip(value, &version.shape);
        }
    }
}

/// Whether a generation of the kind counts up. That of some stays 1.
pub(super) fn counts(resource: &Resource) -> bool {
    let stays = ["PriorityClass", "CSIDriver"];
    (resource.has_generation && !stays.contains(&resource.kind.as_str())) || resource.is_custom
}

/// Whether anything but metadata and status differs. What controllers of old kept in the annotations of a Deployment belongs to it.
pub(super) fn spec_differs(existing: &Value, value: &Value, resource: &Resource) -> bool {
    const ANNOTATIONS: &str = "/metadata/annotations";
    // The revision is written with the status.
    let annotations = |value: &Value| {
        let mut annotations = value.pointer(ANNOTATIONS).cloned().unwrap_or_else(|| json!({}));
        object::set(&mut annotations, "deployment.kubernetes.io/revision", Value::Null);
        annotations
    };
    if resource.kind == "Deployment"
        && resource.group == "apps"
        && annotations(existing) != annotations(value)
    {
        return true;
    }
    let bare = |value: &Value| {
        let mut value = value.clone();
        object::set(&mut value, "metadata", Value::Null);
        if resource.has_status {
            object::set(&mut value, "status", Value::Null);
        }
        value
    };
    bare(existing) != bare(value)
}

/// What only the server writes stays as it is.
pub(super) fn keep_server_fields(
    existing: &Value,
    value: &mut Value,
    resource: &Resource,
    name: &str,
    terms: &Terms,
) -> Result<Vec<Cause>, Refusal> {
    let said = object::uid(value);
    let mut causes = Vec::new();
    if !said.is_empty() && said != object::uid(existing) && !terms.is_whole {
        causes.push(Cause::invalid("metadata.uid", &said.into(), "field is immutable"));
    } else if !said.is_empty() && said != object::uid(existing) {
        let place = match object::namespace(existing) {
            "" => name.to_owned(),
            namespace => format!("{namespace}/{name}"),
        };
        return Err(Refusal::conflict(
            resource.subject(name),
            &format!(
                "StorageError: invalid object, Code: 4, Key: /registry/{}/{place}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {said}, UID in object meta: {}",
                resource.plural,
                object::uid(existing)
            ),
        ));
    }
    let time = "deletionTimestamp";
    let asked = text(value, "/metadata/deletionTimestamp").to_owned();
    if !asked.is_empty() && !object::is_terminating(existing) && terms.subresource.is_empty() {
        let place = format!("metadata.{time}");
        causes.push(Cause::invalid(place, &asked.into(), "field is immutable"));
    }
    for field in [
        "uid",
        "name",
        "namespace",
        "generateName",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "resourceVersion",
        "selfLink",
    ] {
        match existing.pointer(&format!("/metadata/{field}")) {
            Some(kept) => object::set_metadata(value, field, kept.clone()),
            None => {
                object::take_metadata(value, field);
            }
        }
    }
    Ok(causes)
}
