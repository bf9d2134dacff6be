//! Creating and changing objects: decoding, defaults, ownership, what the server fills in, rules, and the store.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::apply::{self, Author};
use crate::clock;
use crate::control::ObjectKey;
use crate::object::{self, text};
use crate::resource::{Resource, Version};
use crate::status::{Cause, Refusal};
use crate::store::Store;
use crate::typed;
use crate::world::World;
use crate::{custom, defaults, prepare, validate};

pub(crate) mod by_controller;
pub(crate) mod deletion;

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
    /// `status`, `scale`, or empty.
    pub(crate) subresource: String,
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
fn mistake<'a>(reading: &'a typed::Reading, version: &Version) -> Option<&'a String> {
    let is_custom = version.schema.is_some();
    reading.mistakes.iter().find(|mistake| !is_custom || mistake.contains("ObjectMeta"))
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
        return Err(Refusal::bad_request(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    apply::track(&live, &mut value, &version.shape, resource, &terms.author(resource));
    let object = store_new(world, resource, version, value, terms)?;
    Ok(Written { object, warnings, is_new: true })
}

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
    check_applied_kind(&configuration, resource, key, terms)?;
    object::set_metadata(&mut configuration, "name", key.name.as_str().into());
    if resource.is_namespaced {
        object::set_metadata(&mut configuration, "namespace", key.namespace.as_str().into());
    }
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
        let live = skeleton(resource, version);
        let author = terms.author(resource);
        let mut new =
            apply::apply(&live, &configuration, &version.shape, resource, &author, is_forced)?;
        typed_again(&mut new, resource, version, terms)?;
        fill_defaults(&mut new, resource, version);
        place(world, resource, &key.namespace, &mut new)?;
        let object = store_new(world, resource, version, new, terms)?;
        return Ok(Written { object, warnings: Vec::new(), is_new: true });
    };
    let author = terms.author(resource);
    let mut new =
        apply::apply(&existing, &configuration, &version.shape, resource, &author, is_forced)?;
    // Conflicts of fields are told before that of the version.
    let given = text(&configuration, "/metadata/resourceVersion");
    if !given.is_empty() && given != text(&existing, "/metadata/resourceVersion") {
        return Err(Refusal::stale(resource.subject(&key.name)));
    }
    // Of an update this is a precondition; an apply would change a field that cannot change.
    let uid = object::uid(&configuration);
    if !uid.is_empty() && uid != object::uid(&existing) {
        let cause = || Cause::invalid("metadata.uid", &uid.into(), "field is immutable");
        return Err(Refusal::invalid(kind_subject(resource, &key.name), &[cause(), cause()]));
    }
    typed_again(&mut new, resource, version, terms)?;
    fill_defaults(&mut new, resource, version);
    let object = store_changed(world, resource, version, key, &existing, new, terms)?;
    Ok(Written { object, warnings: Vec::new(), is_new: false })
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
    terms: &Terms,
) -> Result<(), Refusal> {
    let wanted = resource.api_version(&terms.version);
    let (found, kind) = (text(configuration, "/apiVersion"), text(configuration, "/kind"));
    if found != wanted || kind != resource.kind {
        return Err(Refusal::bad_request(format!(
            "the applied object is {found}, Kind={kind}; this path takes {wanted}, Kind={}",
            resource.kind
        )));
    }
    let name = object::name(configuration);
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
    object::take_metadata(&mut value, "generation");
    if resource.has_generation || resource.is_custom {
        object::set_metadata(&mut value, "generation", 1.into());
    }
    reset_status(&mut value, None, resource, version);
    prepare::for_create(world, resource, &mut value)?;
    let mut causes = validate::metadata(resource, &value);
    causes.extend(validate::unqualified_finalizers(resource, &value));
    causes.extend(validate::object(resource, version, &value));
    // A name that is taken is found at the store, after everything else was looked at.
    if causes.is_empty() && !name.is_empty() && world.store.object(&key).is_some() {
        return Err(Refusal::already_exists(resource.subject(&name)));
    }
    causes.extend(prepare::allocate(world, resource, &mut value, None, terms.is_dry_run));
    refuse_invalid(resource, &name, &causes)?;
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
            return Err(wrong_namespace());
        }
        object::set_metadata(&mut value, "namespace", key.namespace.as_str().into());
    }
    let Some(existing) = world.store.object(key).cloned() else {
        return Err(Refusal::not_found(resource.subject(&key.name)));
    };
    let given = text(&value, "/metadata/resourceVersion");
    if given.is_empty() {
        let must_say = resource.is_custom
            || matches!(resource.kind.as_str(), "Lease" | "CustomResourceDefinition");
        if must_say {
            let cause = Cause {
                reason: "FieldValueInvalid",
                message: "Invalid value: 0x0: must be specified for an update".to_owned(),
                field: "metadata.resourceVersion".to_owned(),
            };
            return Err(Refusal::invalid(kind_subject(resource, &key.name), &[cause]));
        }
    } else if given != text(&existing, "/metadata/resourceVersion") {
        return Err(Refusal::stale(resource.subject(&key.name)));
    }
    let author = terms.author(resource);
    let kept = restrict(&existing, value, resource, &terms.subresource);
    let mut value = kept;
    apply::track(&existing, &mut value, &version.shape, resource, &author);
    let object = store_changed(world, resource, version, key, &existing, value, terms)?;
    Ok(Written { object, warnings, is_new: false })
}

fn kind_subject<'a>(resource: &'a Resource, name: &'a str) -> crate::status::Subject<'a> {
    // Custom resources are named by their plural in `Invalid`, built-in ones by their kind.
    resource.kind_subject(name)
}

/// Takes from the new object only what the subresource may change.
fn restrict(existing: &Value, new: Value, resource: &Resource, subresource: &str) -> Value {
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
    keep_server_fields(existing, &mut value, resource, &key.name)?;
    if terms.subresource != "status" {
        reset_status(&mut value, Some(existing), resource, version);
        prepare::for_update(resource, existing, &mut value);
    }
    if (resource.has_generation || resource.is_custom) && spec_differs(existing, &value, resource) {
        let generation = object::integer(existing, "/metadata/generation").unwrap_or_default() + 1;
        object::set_metadata(&mut value, "generation", generation.into());
    }
    // The real server checks the metadata of a change twice, for every kind and by the kind's own rules, and tells it twice.
    let mut causes = validate::metadata_change(resource, existing, &value);
    causes.extend(causes.clone());
    causes.extend(validate::unqualified_finalizers(resource, &value));
    causes.extend(validate::object(resource, version, &value));
    if terms.subresource != "status" {
        causes.extend(validate::change(resource, existing, &value));
        causes.extend(prepare::allocate(
            world,
            resource,
            &mut value,
            Some(existing),
            terms.is_dry_run,
        ));
    }
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

/// A write to the main resource leaves the status as it is; a new object starts without one.
fn reset_status(
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

/// Whether anything but metadata and status differs.
fn spec_differs(existing: &Value, value: &Value, resource: &Resource) -> bool {
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
fn keep_server_fields(
    existing: &Value,
    value: &mut Value,
    resource: &Resource,
    name: &str,
) -> Result<(), Refusal> {
    let said = object::uid(value);
    if !said.is_empty() && said != object::uid(existing) {
        return Err(Refusal::conflict(
            resource.subject(name),
            &format!(
                "Precondition failed: UID in precondition: {said}, UID in object meta: {}",
                object::uid(existing)
            ),
        ));
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
    Ok(())
}

/// An object in the version that was asked for.
pub(crate) fn in_version(value: &Value, resource: &Resource, version: &str) -> Value {
    let mut value = value.clone();
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
