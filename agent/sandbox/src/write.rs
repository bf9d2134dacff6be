//! Creating and changing objects: decoding, defaults, ownership, what the server fills in, rules, and the store.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::access::User;
use crate::apply::{Author, track};
use crate::clock;
use crate::control::ObjectKey;
use crate::object::{self, text};
use crate::rbac::escalation;
use crate::resource::{Resource, Version};
use crate::status::{Cause, Refusal};
use crate::store::Store;
use crate::typed;
use crate::world::World;
use crate::{custom, defaults, prepare, quota, validate};

mod applied;
mod body;
pub(crate) mod by_controller;
pub(crate) mod deletion;
mod kept;

pub(crate) use applied::apply;
use body::decode;
use kept::{counts, keep_server_fields, reset_status, restrict, spec_differs};

/// What to do about fields that the kind does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Validation {
    /// Refuse.
    Strict,
    /// Drop and warn.
    Warn,
    /// Drop.
    Ignore,
}

/// The circumstances of a write.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) manager: String,
    pub(crate) is_dry_run: bool,
    pub(crate) validation: Validation,
    pub(crate) now: Timestamp,
    /// The version in which the request speaks.
    pub(crate) version: String,
    /// Whether the body was made of the live object by a patch other than an apply.
    pub(crate) is_patch: bool,
    /// Whether the body is a whole object that replaces the live one.
    pub(crate) is_whole: bool,
    /// `status`, `scale`, or empty.
    pub(crate) subresource: String,
    /// Who asks.
    pub(crate) user: User,
}

impl Terms {
    pub(crate) fn author(&self, resource: &Resource) -> Author {
        Author {
            manager: self.manager.clone(),
            api_version: resource.api_version(&self.version),
            subresource: self.subresource.clone(),
            time: clock::seconds(self.now),
        }
    }
}

/// An object as answered, with the warnings that go with it.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) object: Arc<Value>,
    pub(crate) warnings: Vec<String>,
    /// Whether the object came into being.
    pub(crate) is_new: bool,
}

fn version<'a>(resource: &'a Resource, name: &str) -> Result<&'a Version, Refusal> {
    resource.version(name).ok_or_else(Refusal::no_such_path)
}

fn fill_defaults(value: &mut Value, resource: &Resource, version: &Version) {
    if let Some(schema) = &version.schema {
        custom::fill_defaults(value, schema);
    } else {
        defaults::fill(&resource.group, &resource.kind, value);
        // Defaults may bring structs whose inner structs Go always writes.
        typed::round_trip(value, &version.shape);
    }
}

/// What an object of the kind looks like before anything is said about it.
pub(crate) fn skeleton(resource: &Resource, version: &Version) -> Value {
    let mut value = json!({"apiVersion": resource.storage_api_version(), "kind": resource.kind, "metadata": {}});
    if version.schema.is_none() {
        typed::round_trip(&mut value, &version.shape);
    }
    value
}

/// Creates an object from a decoded-to-be body.
pub(crate) fn create(
    world: &mut World,
    resource: &Resource,
    namespace: &str,
    mut value: Value,
    terms: &Terms,
) -> Result<Written, Refusal> {
    let warnings = decode(&mut value, resource, terms)?;
    let version = version(resource, &terms.version)?;
    let live = skeleton(resource, version);
    place(world, resource, namespace, &mut value)?;
    if !text(&value, "/metadata/resourceVersion").is_empty() {
        let why = "resourceVersion should not be set on objects to be created";
        return Err(Refusal::plain(500, "", why));
    }
    track(&live, &mut value, &version.shape, resource, &terms.author(resource), world.rules);
    let object = store_new(world, resource, version, value, terms)?;
    Ok(Written { object, warnings, is_new: true })
}

fn wrong_namespace() -> Refusal {
    Refusal::bad_request(
        "the namespace of the provided object does not match the namespace sent on the request",
    )
}

/// Puts the object into its namespace and gives it its name.
fn place(
    world: &mut World,
    resource: &Resource,
    namespace: &str,
    value: &mut Value,
) -> Result<(), Refusal> {
    if resource.is_namespaced {
        let said = object::namespace(value);
        if !said.is_empty() && said != namespace {
            return Err(wrong_namespace());
        }
        object::set_metadata(value, "namespace", namespace.into());
    } else {
        object::take_metadata(value, "namespace");
    }
    if object::name(value).is_empty() {
        let prefix = text(value, "/metadata/generateName").to_owned();
        if !prefix.is_empty() {
            let end = prefix.char_indices().nth(58).map_or(prefix.len(), |(at, _)| at);
            let name = format!("{}{}", prefix.get(..end).unwrap_or_default(), world.draw_suffix());
            object::set_metadata(value, "name", name.into());
        }
    }
    if !resource.is_namespaced {
        return Ok(());
    }
    let key = ObjectKey::new("", "Namespace", "", namespace);
    let Some(found) = world.store.object(&key) else {
        return Err(Refusal::not_found(crate::status::Subject {
            group: "",
            resource: "namespaces",
            name: namespace,
        }));
    };
    if object::is_terminating(found) {
        let name = object::name(value).to_owned();
        let mut refusal = Refusal::forbidden(
            resource.subject(&name),
            &format!(
                "unable to create new content in namespace {namespace} because it is being terminated"
            ),
        );
        object::set(
            &mut refusal.details,
            "causes",
            json!([{
                "reason": "NamespaceTerminating",
                "message": format!("namespace {namespace} is being terminated"),
                "field": "metadata.namespace",
            }]),
        );
        return Err(refusal);
    }
    Ok(())
}

fn store_new(
    world: &mut World,
    resource: &Resource,
    version: &Version,
    mut value: Value,
    terms: &Terms,
) -> Result<Arc<Value>, Refusal> {
    let name = object::name(&value).to_owned();
    let key = ObjectKey::new(&resource.group, &resource.kind, object::namespace(&value), &name);
    let uid = world.draw_uid();
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
        object::take_metadata(&mut value, field);
    }
    object::set_metadata(&mut value, "uid", uid.into());
    object::set_metadata(&mut value, "creationTimestamp", clock::seconds(terms.now).into());
    // Kinds that count nothing keep what they are told.
    if resource.has_generation || resource.is_custom {
        object::set_metadata(&mut value, "generation", 1.into());
    }
    reset_status(&mut value, None, resource, version);
    prepare::for_create(world, resource, &mut value)?;
    let mut causes = validate::metadata(resource, &value);
    causes.extend(validate::unqualified_finalizers(resource, &value));
    causes.extend(validate::creation(resource, &value));
    causes.extend(validate::object(resource, version, &value));
    // A name that is taken is found at the store, after everything else was looked at.
    if causes.is_empty()
        && !name.is_empty()
        && let Some(taken) = world.store.object(&key)
    {
        let mut refusal = Refusal::already_exists(resource.subject(&name));
        if object::is_terminating(taken) {
            refusal.message = format!("object is being deleted: {}", refusal.message);
        }
        return Err(refusal);
    }
    if causes.is_empty() {
        causes = prepare::allocate(world, resource, &mut value, None, terms.is_dry_run);
    }
    escalation::check(&world.store, &terms.user, resource, None, &value)?;
    refuse_invalid(resource, &name, &causes)?;
    quota::check(world, resource, &value)?;
    finish(&mut value, resource, version);
    if terms.is_dry_run {
        return Ok(Arc::new(value));
    }
    let stored = world.store.put(&key, value);
    custom::changed(world, &key);
    Ok(stored)
}

/// Replaces an object by a decoded-to-be body (PUT, or the outcome of a patch).
pub(crate) fn replace(
    world: &mut World,
    resource: &Resource,
    key: &ObjectKey,
    mut value: Value,
    terms: &Terms,
) -> Result<Written, Refusal> {
    let warnings = decode(&mut value, resource, terms)?;
    let version = version(resource, &terms.version)?;
    let name = object::name(&value);
    if name != key.name {
        return Err(Refusal::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            key.name
        )));
    }
    if resource.is_namespaced {
        let namespace = object::namespace(&value);
        if !namespace.is_empty() && namespace != key.namespace {
            return Err(Refusal::bad_request(format!(
                "the namespace of the object ({namespace}) does not match the namespace on the request ({})",
                key.namespace
            )));
        }
        object::set_metadata(&mut value, "namespace", key.namespace.as_str().into());
    }
    let Some(existing) = world.store.object(key).cloned() else {
        return Err(Refusal::not_found(resource.subject(&key.name)));
    };
    let given = text(&value, "/metadata/resourceVersion");
    if given.is_empty() {
        let must_say = resource.is_custom
            || matches!(
                resource.kind.as_str(),
                "ControllerRevision"
                    | "CSIDriver"
                    | "CSINode"
                    | "CustomResourceDefinition"
                    | "Lease"
                    | "MutatingWebhookConfiguration"
                    | "PodDisruptionBudget"
                    | "RuntimeClass"
                    | "ValidatingWebhookConfiguration"
                    | "VolumeAttachment"
            );
        if must_say {
            let cause = Cause {
                reason: "FieldValueInvalid",
                message: "Invalid value: 0x0: must be specified for an update".to_owned(),
                field: "metadata.resourceVersion".to_owned(),
            };
            return Err(Refusal::invalid(kind_subject(resource, &key.name), &[cause]));
        }
    } else if given.parse::<u64>().is_err() {
        let why = format!("strconv.ParseUint: parsing \"{given}\": invalid syntax");
        return Err(Refusal::plain(500, "", why));
    } else if given != text(&existing, "/metadata/resourceVersion") {
        return Err(Refusal::stale(resource.subject(&key.name)));
    }
    let author = terms.author(resource);
    let kept = restrict(&existing, value, resource, &terms.subresource);
    let mut value = kept;
    let mistakes = validate::managers(&value);
    refuse_invalid(resource, &key.name, &mistakes)?;
    track(&existing, &mut value, &version.shape, resource, &author, world.rules);
    let object = store_changed(world, resource, version, key, &existing, value, terms)?;
    Ok(Written { object, warnings, is_new: false })
}

fn kind_subject<'a>(resource: &'a Resource, name: &'a str) -> crate::status::Subject<'a> {
    // Custom resources are named by their plural in `Invalid`, built-in ones by their kind.
    resource.kind_subject(name)
}

/// Whether a status write leaves that field of the metadata as it is.
pub(crate) fn is_reset_by_status(resource: &Resource, field: &str) -> bool {
    field == "labels" && resource.kind == "Deployment" && resource.group == "apps"
}

fn store_changed(
    world: &mut World,
    resource: &Resource,
    version: &Version,
    key: &ObjectKey,
    existing: &Arc<Value>,
    mut value: Value,
    terms: &Terms,
) -> Result<Arc<Value>, Refusal> {
    let mut causes = keep_server_fields(existing, &mut value, resource, &key.name, terms)?;
    if terms.subresource != "status" {
        reset_status(&mut value, Some(existing), resource, version);
        prepare::for_update(resource, existing, &mut value);
    }
    if counts(resource) && spec_differs(existing, &value, resource) {
        let generation = object::integer(existing, "/metadata/generation").unwrap_or_default() + 1;
        object::set_metadata(&mut value, "generation", generation.into());
    }
    // The real server checks the metadata of a change twice, for every kind and by the kind's own rules, and tells it twice.
    causes.extend(validate::metadata_change(resource, existing, &value));
    causes.extend(causes.clone());
    causes.extend(validate::unqualified_finalizers(resource, &value));
    // Of built-in kinds a status is written without another look at the rest.
    if terms.subresource != "status" || resource.is_custom {
        causes.extend(validate::object(resource, version, &value));
    }
    if terms.subresource != "status" {
        causes.extend(validate::change(resource, existing, &value));
        if causes.is_empty() {
            prepare::check_growth(world, resource, existing, &value)?;
        }
        if causes.is_empty() {
            let existing = Some(&**existing);
            causes = prepare::allocate(world, resource, &mut value, existing, terms.is_dry_run);
        }
    }
    escalation::check(&world.store, &terms.user, resource, Some(existing), &value)?;
    refuse_invalid(resource, &key.name, &causes)?;
    finish(&mut value, resource, version);
    if is_unchanged(existing, &value) {
        return Ok(Arc::clone(existing));
    }
    if terms.is_dry_run {
        return Ok(Arc::new(value));
    }
    if object::is_terminating(&value)
        && object::list(&value, "/metadata/finalizers").is_empty()
        && deletion::may_go(&value)
    {
        deletion::remove(world, key);
        // The answer is the object as it was left, without the finalizers.
        return Ok(Arc::new(value));
    }
    let stored = world.store.put(key, value);
    custom::changed(world, key);
    Ok(stored)
}

/// Whether nothing but the times of managedFields would change; then nothing is written.
fn is_unchanged(existing: &Value, value: &Value) -> bool {
    if existing == value {
        return true;
    }
    let bare = |value: &Value| {
        let mut value = value.clone();
        for entry in defaults::items_mut(&mut value, "/metadata/managedFields") {
            object::set(entry, "time", Value::Null);
        }
        value
    };
    bare(existing) == bare(value)
}

fn refuse_invalid(resource: &Resource, name: &str, causes: &[Cause]) -> Result<(), Refusal> {
    if causes.is_empty() {
        return Ok(());
    }
    Err(Refusal::invalid(kind_subject(resource, name), causes))
}

fn finish(value: &mut Value, resource: &Resource, version: &Version) {
    if !resource.is_custom {
        typed::round_trip(value, &version.shape);
    }
}

/// An object in the version that was asked for.
pub(crate) fn in_version(value: &Value, resource: &Resource, version: &str) -> Value {
    let mut value = value.clone();
    // Another version of a custom resource does not show what it has no field for.
    if let Some(version) =
        resource.version(version).filter(|own| resource.is_custom && own.name != resource.storage)
    {
        typed::round_trip(&mut value, &version.shape);
    }
    object::set(&mut value, "apiVersion", resource.api_version(version).into());
    value
}

/// The object behind a key, or the refusal that it is not there.
pub(crate) fn find(
    store: &Store,
    resource: &Resource,
    key: &ObjectKey,
) -> Result<Arc<Value>, Refusal> {
    store.object(key).cloned().ok_or_else(|| Refusal::not_found(resource.subject(&key.name)))
}
