//! One request about resources: who may make it, and what it does.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::access::User;
use crate::control::ObjectKey;
use crate::exec::Execution;
use crate::object::{self, text};
use crate::rbac::{self, Question};
use crate::resource::Resource;
use crate::route::{Place, Query};
use crate::selector::Selection;
use crate::status::{Cause, Refusal, Subject};
use crate::store::Store;
use crate::table::Form;
use crate::world::World;
use crate::write::deletion::{self, Wishes};
use crate::write::{self, Terms, Validation, Written};
use crate::{discovery, list, patch, review, subresource, table, watch};

/// A request, read.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) verb: &'static str,
    pub(crate) place: Place,
    pub(crate) query: Query,
    pub(crate) user: User,
    /// How the answer is to look.
    pub(crate) form: Form,
    pub(crate) content_type: String,
    pub(crate) agent: String,
    pub(crate) body: &'a [u8],
    pub(crate) now: Timestamp,
}

/// What the request gives.
pub(crate) enum Outcome {
    Whole {
        code: u16,
        value: Value,
        warnings: Vec<String>,
    },
    Text(String),
    /// What a pod behind the proxy answers.
    Proxied {
        code: u16,
        text: String,
    },
    /// How a command in a container ends.
    Executed(Execution),
    Watch(Box<watch::Start>),
}

impl Outcome {
    pub(crate) fn ok(value: Value) -> Self {
        Self::Whole { code: 200, value, warnings: Vec::new() }
    }

    pub(crate) fn created(value: Value) -> Self {
        Self::Whole { code: 201, value, warnings: Vec::new() }
    }
}

/// Refuses what RBAC does not allow.
pub(crate) fn authorise(store: &Store, call: &Call<'_>) -> Result<(), Refusal> {
    let name = if call.place.name.is_empty() {
        Selection::read("", call.query.get("fieldSelector"))
            .ok()
            .and_then(|selection| selection.single_name().map(str::to_owned))
            .unwrap_or_default()
    } else {
        call.place.name.clone()
    };
    may(store, call, call.verb, &name)
}

fn may(store: &Store, call: &Call<'_>, verb: &str, name: &str) -> Result<(), Refusal> {
    let place = &call.place;
    let resource = if place.subresource.is_empty() {
        place.resource.clone()
    } else {
        format!("{}/{}", place.resource, place.subresource)
    };
    // A namespace is asked for inside itself, so that its administrators may read it.
    let namespace = if place.resource == "namespaces" && place.group.is_empty() {
        name
    } else {
        &place.namespace
    };
    let question = Question {
        verb,
        group: &place.group,
        resource: resource.clone(),
        name,
        namespace,
        path: "",
    };
    if rbac::allows(store, &call.user, &question).is_some() {
        return Ok(());
    }
    let scope = if namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace \"{namespace}\"")
    };
    Err(Refusal::forbidden(
        Subject { group: &place.group, resource: &place.resource, name },
        &format!(
            "User \"{}\" cannot {verb} resource \"{resource}\" in API group \"{}\" {scope}",
            call.user.name, place.group
        ),
    ))
}

/// Carries out a request.
pub(crate) fn dispatch(world: &mut World, call: &Call<'_>) -> Result<Outcome, Refusal> {
    let place = &call.place;
    let Some(resource) = world.resource(&place.group, &place.resource) else {
        let is_served = world.resources().any(|resource| resource.group == place.group);
        return Err(if is_served { Refusal::no_such_path() } else { Refusal::no_page() });
    };
    // A custom resource that is not served has no page, and one without a subresource has no such object.
    let no_such_path =
        || if resource.is_custom { Refusal::no_page() } else { Refusal::no_such_path() };
    if resource.version(&place.version).is_none() {
        return Err(no_such_path());
    }
    if !discovery::has_subresource(&resource, &place.subresource) {
        return Err(if resource.is_custom {
            Refusal::not_found(resource.subject(&place.name))
        } else {
            Refusal::no_such_path()
        });
    }
    if resource.is_namespaced
        && place.namespace.is_empty()
        && !matches!(call.verb, "list" | "watch")
    {
        return Err(Refusal::no_such_path());
    }
    if !resource.is_namespaced && !place.namespace.is_empty() {
        return Err(no_such_path());
    }
    if resource.is_review {
        return review::answer(world, &resource, call);
    }
    if !matches!(place.subresource.as_str(), "" | "status") {
        return subresource::answer(world, &resource, call);
    }
    let key = ObjectKey::new(&resource.group, &resource.kind, &place.namespace, &place.name);
    match call.verb {
        "get" => {
            let value = write::find(&world.store, &resource, &key)?;
            Ok(Outcome::ok(call.shown(&value, &resource)))
        }
        "list" => list::list(world, &resource, call).map(Outcome::ok),
        "watch" => {
            watch::start(world, &resource, call).map(|start| Outcome::Watch(Box::new(start)))
        }
        "create" => create(world, &resource, call),
        "update" => {
            let value = call.document()?;
            let written = write::replace(world, &resource, &key, value, &call.terms(&resource)?)?;
            Ok(call.written(written, &resource))
        }
        "patch" => change(world, &resource, &key, call),
        "delete" => delete(world, &resource, &key, call),
        "deletecollection" if resource.kind == "Namespace" && resource.group.is_empty() => {
            Err(Refusal::method_not_allowed())
        }
        "deletecollection" => delete_all(world, &resource, call),
        _ => Err(Refusal::method_not_allowed()),
    }
}

fn create(world: &mut World, resource: &Resource, call: &Call<'_>) -> Result<Outcome, Refusal> {
    if !call.place.name.is_empty() {
        return Err(Refusal::method_not_allowed());
    }
    let value = call.document()?;
    let terms = call.terms(resource)?;
    let written = write::create(world, resource, &call.place.namespace, value, &terms)?;
    Ok(call.written(written, resource))
}

fn change(
    world: &mut World,
    resource: &Resource,
    key: &ObjectKey,
    call: &Call<'_>,
) -> Result<Outcome, Refusal> {
    let mut terms = call.terms(resource)?;
    let kind = call.content_type.split(';').next().unwrap_or_default().trim();
    let is_apply = kind == "application/apply-patch+yaml";
    if call.query.has("force") && !is_apply {
        let cause = Cause::forbidden("force", "may not be specified for non-apply patch");
        return Err(wrong_options("PatchOptions", &cause));
    }
    if is_apply {
        if call.query.get("fieldManager").is_empty() {
            let cause = Cause::required("fieldManager", "is required for apply patch");
            return Err(wrong_options("PatchOptions", &cause));
        }
        let text = std::str::from_utf8(call.body).unwrap_or_default();
        let configuration: Value = serde_yaml::from_str(text)
            .map_err(|error| Refusal::bad_request(format!("error decoding YAML: {error}")))?;
        if world.store.object(key).is_none() {
            // What is missing is not told.
            may(&world.store, call, "create", "")
                .map_err(|_| Refusal::forbidden(resource.subject(&key.name), ""))?;
        }
        let is_forced = call.query.is_true("force");
        let written = write::apply(world, resource, key, configuration, is_forced, &terms)?;
        return Ok(call.written(written, resource));
    }
    let existing = write::find(&world.store, resource, key)?;
    let mut value = write::in_version(&existing, resource, &terms.version);
    let patch: Value = serde_json::from_slice(call.body)
        .map_err(|error| Refusal::bad_request(format!("error decoding patch: {error}")))?;
    patch::check(kind, &patch)?;
    match kind {
        "application/merge-patch+json" => patch::merge(&mut value, &patch),
        "application/json-patch+json" => patch::operations(&mut value, &patch)?,
        "application/strategic-merge-patch+json" if !resource.is_custom => {
            let version = resource.version(&terms.version).ok_or_else(Refusal::no_such_path)?;
            patch::strategic(&mut value, &patch, &version.shape)?;
        }
        _ => {
            return Err(Refusal::plain(
                415,
                "UnsupportedMediaType",
                "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
            ));
        }
    }
    terms.is_patch = true;
    let written = write::replace(world, resource, key, value, &terms)?;
    Ok(call.written(written, resource))
}

fn wrong_options(kind: &str, cause: &Cause) -> Refusal {
    let subject = Subject { group: "meta.k8s.io", resource: kind, name: "" };
    Refusal::invalid(subject, std::slice::from_ref(cause))
}

fn wishes(call: &Call<'_>) -> Result<Wishes, Refusal> {
    let mut options = if call.body.is_empty() { json!({}) } else { call.document()? };
    for name in ["propagationPolicy", "dryRun"] {
        let value = call.query.get(name);
        if !value.is_empty() {
            let value = if name == "dryRun" { json!([value]) } else { value.into() };
            object::set(&mut options, name, value);
        }
    }
    if let Ok(grace) = call.query.get("gracePeriodSeconds").parse::<i64>() {
        object::set(&mut options, "gracePeriodSeconds", grace.into());
    }
    Wishes::read(&options)
}

fn delete(
    world: &mut World,
    resource: &Resource,
    key: &ObjectKey,
    call: &Call<'_>,
) -> Result<Outcome, Refusal> {
    let wishes = wishes(call)?;
    let (value, is_gone) = deletion::delete(world, resource, key, &wishes, call.now)?;
    let is_shown = resource.group.is_empty()
        && matches!(
            resource.kind.as_str(),
            "Namespace"
                | "PersistentVolume"
                | "PersistentVolumeClaim"
                | "Pod"
                | "PodTemplate"
                | "ResourceQuota"
                | "ServiceAccount"
        );
    Ok(Outcome::ok(if is_gone && !is_shown {
        deletion::done(resource, &value)
    } else {
        call.shown(&value, resource)
    }))
}

fn delete_all(world: &mut World, resource: &Resource, call: &Call<'_>) -> Result<Outcome, Refusal> {
    let wishes = wishes(call)?;
    let selection = list::selection(resource, call)?;
    let namespace = Some(call.place.namespace.as_str()).filter(|_| resource.is_namespaced);
    let chosen: Vec<Arc<Value>> = world
        .store
        .of_kind(&resource.group, &resource.kind, namespace)
        .filter(|value| selection.matches(value))
        .cloned()
        .collect();
    for value in &chosen {
        deletion::delete(world, resource, &object::key(value), &wishes, call.now)?;
    }
    let items: Vec<Value> = chosen.iter().map(|value| (**value).clone()).collect();
    Ok(Outcome::ok(json!({
        "kind": format!("{}List", resource.kind), "apiVersion": resource.api_version(&call.place.version),
        "metadata": {"resourceVersion": world.store.revision().to_string()}, "items": items,
    })))
}

impl Call<'_> {
    /// The body as a document, JSON or YAML.
    pub(crate) fn document(&self) -> Result<Value, Refusal> {
        let kind = self.content_type.split(';').next().unwrap_or_default().trim();
        match kind {
            "application/yaml" => {
                let text = std::str::from_utf8(self.body).unwrap_or_default();
                serde_yaml::from_str(text)
                    .map_err(|error| Refusal::bad_request(format!("error decoding YAML: {error}")))
            }
            "" | "application/json" | "*/*" => serde_json::from_slice(self.body).map_err(|error| {
                Refusal::bad_request(format!(
                    "the object provided is unrecognized (must be of type {}): couldn't get version/kind; json parse error: {error}",
                    self.place.resource
                ))
            }),
            other => Err(Refusal::plain(
                415,
                "UnsupportedMediaType",
                format!("the body of the request was in an unknown format - accepted media types include: application/json, application/yaml; got {other}"),
            )),
        }
    }

    /// The circumstances of the write.
    pub(crate) fn terms(&self, resource: &Resource) -> Result<Terms, Refusal> {
        let dry_run = self.query.get("dryRun");
        if !matches!(dry_run, "" | "All") {
            let options = match self.verb {
                "create" => "CreateOptions",
                "patch" => "PatchOptions",
                _ => "UpdateOptions",
            };
            let cause = Cause::unsupported("dryRun", &json!([dry_run]), &["All"]);
            return Err(wrong_options(options, &cause));
        }
        let validation = match self.query.get("fieldValidation") {
            "Strict" => Validation::Strict,
            "Ignore" => Validation::Ignore,
            "Warn" | "" => Validation::Warn,
            other => {
                let cause = Cause::unsupported(
                    "fieldValidation",
                    &other.into(),
                    &["Ignore", "Strict", "Warn"],
                );
                return Err(wrong_options("PatchOptions", &cause));
            }
        };
        let manager = match self.query.get("fieldManager") {
            "" => {
                self.agent.split('/').next().filter(|agent| !agent.is_empty()).unwrap_or("unknown")
            }
            manager if manager.len() > 128 => {
                let cause = Cause {
                    reason: "FieldValueTooLong",
                    message: "Too long: must have at most 128 bytes".to_owned(),
                    field: "fieldManager".to_owned(),
                };
                return Err(wrong_options("PatchOptions", &cause));
            }
            manager => match manager.char_indices().find(|(_, letter)| letter.is_control()) {
                Some((at, letter)) => {
                    let why =
                        format!("invalid character U+{:04X} (at position {at})", u32::from(letter));
                    let cause = Cause::invalid("fieldManager", &manager.into(), &why);
                    return Err(wrong_options("PatchOptions", &cause));
                }
                None => manager,
            },
        };
        let version = if resource.version(&self.place.version).is_some() {
            &self.place.version
        } else {
            &resource.storage
        };
        Ok(Terms {
            is_patch: false,
            is_whole: self.verb == "update",
            user: self.user.clone(),
            manager: manager.to_owned(),
            is_dry_run: dry_run == "All",
            validation,
            now: self.now,
            version: version.clone(),
            subresource: self.place.subresource.clone(),
        })
    }

    /// An object in the version and form that was asked for.
    pub(crate) fn shown(&self, value: &Value, resource: &Resource) -> Value {
        let value = write::in_version(value, resource, &self.place.version);
        table::single(&self.form, value, resource, &self.place.version, self.now)
    }

    fn written(&self, written: Written, resource: &Resource) -> Outcome {
        Outcome::Whole {
            code: if written.is_new { 201 } else { 200 },
            value: self.shown(&written.object, resource),
            warnings: written.warnings,
        }
    }
}

/// Whether a pod is ready, by its condition.
pub(crate) fn is_ready(pod: &Value) -> bool {
    object::list(pod, "/status/conditions").iter().any(|condition| {
        text(condition, "/type") == "Ready" && text(condition, "/status") == "True"
    })
}
