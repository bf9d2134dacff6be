//! Deleting: preconditions, propagation, finalizers, grace.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::clock;
use crate::control::ObjectKey;
use crate::object::{self, text};
use crate::resource::Resource;
use crate::status::Refusal;
use crate::world::World;
use crate::{custom, write};

/// What the request says about the deletion.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wishes {
    pub(crate) propagation: Option<String>,
    pub(crate) grace: Option<i64>,
    pub(crate) uid: Option<String>,
    pub(crate) revision: Option<String>,
    pub(crate) is_dry_run: bool,
}

impl Wishes {
    /// Reads `DeleteOptions`; the query parameters have been merged into it.
    pub(crate) fn read(options: &Value) -> Result<Self, Refusal> {
        let word = |pointer: &str| {
            let word = text(options, pointer);
            (!word.is_empty()).then(|| word.to_owned())
        };
        let mut propagation = word("/propagationPolicy");
        let refused = |cause: crate::status::Cause| {
            let subject = crate::status::Subject {
                group: "meta.k8s.io",
                resource: "DeleteOptions",
                name: "",
            };
            Err(Refusal::invalid(subject, std::slice::from_ref(&cause)))
        };
        if let (Some(policy), true) = (&propagation, options.get("orphanDependents").is_some()) {
            let why = "orphanDependents and deletionPropagation cannot be both set";
            let given = Value::from(policy.as_str());
            return refused(crate::status::Cause::invalid("propagationPolicy", &given, why));
        }
        let dry_run = object::list(options, "/dryRun");
        if dry_run.iter().any(|word| word != "All") {
            let given = Value::from(dry_run);
            return refused(crate::status::Cause::unsupported("dryRun", &given, &["All"]));
        }
        if let Some(orphans) = options.get("orphanDependents").and_then(Value::as_bool) {
            propagation = Some(if orphans { "Orphan" } else { "Background" }.to_owned());
        }
        if let Some(policy) = &propagation
            && !matches!(policy.as_str(), "Orphan" | "Background" | "Foreground")
        {
            return refused(crate::status::Cause::unsupported(
                "propagationPolicy",
                &policy.as_str().into(),
                &["Foreground", "Background", "Orphan", "nil"],
            ));
        }
        Ok(Self {
            propagation,
            grace: object::integer(options, "/gracePeriodSeconds"),
            uid: word("/preconditions/uid"),
            revision: word("/preconditions/resourceVersion"),
            is_dry_run: !object::list(options, "/dryRun").is_empty(),
        })
    }
}

/// Deletes an object, or begins to. The answer is the object when something still holds it, or `None` when it is gone.
pub(crate) fn delete(
    world: &mut World,
    resource: &Resource,
    key: &ObjectKey,
    wishes: &Wishes,
    now: Timestamp,
) -> Result<(Arc<Value>, bool), Refusal> {
    let existing = write::find(&world.store, resource, key)?;
    let is_kept = matches!(key.name.as_str(), "default" | "kube-system" | "kube-public");
    if is_kept && resource.kind == "Namespace" && resource.group.is_empty() {
        let subject = resource.subject(&key.name);
        return Err(Refusal::forbidden(subject, "this namespace may not be deleted"));
    }
    check_preconditions(&existing, resource, key, wishes)?;
    let mut value = (*existing).clone();
    let mut finalizers: Vec<Value> = object::list(&value, "/metadata/finalizers").to_vec();
    let is_first = !object::is_terminating(&value);
    let policy = wishes.propagation.as_deref();
    if is_first || policy.is_some() {
        let own = match policy {
            Some("Orphan") => Some("orphan"),
            Some("Foreground") => Some("foregroundDeletion"),
            _ => None,
        };
        if policy.is_some() {
            finalizers
                .retain(|finalizer| finalizer != "orphan" && finalizer != "foregroundDeletion");
        }
        if let Some(own) = own {
            finalizers.push(own.into());
        }
        if is_first && resource.kind == custom::KIND && resource.group == custom::GROUP {
            finalizers.push(crate::garbage::CLEANUP.into());
        }
    }
    let grace = grace_of(resource, &value, wishes);
    let is_held = !finalizers.is_empty() || grace > 0 || keeps_content(resource, &value);
    if !is_held {
        if wishes.is_dry_run {
            return Ok((existing, true));
        }
        let gone = remove(world, key).unwrap_or(existing);
        return Ok((if resource.kind == "Pod" { marked(&gone, now) } else { gone }, true));
    }
    if finalizers.is_empty() {
        object::take_metadata(&mut value, "finalizers");
    } else {
        object::set_metadata(&mut value, "finalizers", Value::Array(finalizers));
    }
    if is_first {
        let seconds = jiff::SignedDuration::from_secs(grace);
        let at = now.checked_add(seconds).unwrap_or(now);
        object::set_metadata(&mut value, "deletionTimestamp", clock::seconds(at).into());
        object::set_metadata(&mut value, "deletionGracePeriodSeconds", grace.into());
        if let Some(generation) = object::integer(&value, "/metadata/generation") {
            object::set_metadata(&mut value, "generation", (generation + 1).into());
        }
        if resource.kind == "Namespace" && resource.group.is_empty() {
            object::map_mut(&mut value, "status")
                .map(|status| status.insert("phase".to_owned(), "Terminating".into()));
        }
    } else if wishes.grace == Some(0) {
        object::set_metadata(&mut value, "deletionGracePeriodSeconds", 0.into());
    }
    if wishes.is_dry_run {
        return Ok((Arc::new(value), false));
    }
    if value == *existing {
        return Ok((existing, false));
    }
    let stored = world.store.put(key, value);
    custom::changed(world, key);
    Ok((stored, false))
}

/// A pod that goes at once is shown as one whose time of grace is over.
fn marked(pod: &Value, now: Timestamp) -> Arc<Value> {
    let mut pod = pod.clone();
    object::set_metadata(&mut pod, "deletionTimestamp", clock::seconds(now).into());
    object::set_metadata(&mut pod, "deletionGracePeriodSeconds", 0.into());
    Arc::new(pod)
}

fn check_preconditions(
    existing: &Value,
    resource: &Resource,
    key: &ObjectKey,
    wishes: &Wishes,
) -> Result<(), Refusal> {
    let parts = [
        (
            "UID",
            &wishes.uid,
            object::uid(existing),
            "The object might have been deleted and then recreated",
        ),
        (
            "ResourceVersion",
            &wishes.revision,
            text(existing, "/metadata/resourceVersion"),
            "The object might have been modified",
        ),
    ];
    for (what, wanted, found, meanwhile) in parts {
        if let Some(wanted) = wanted
            && wanted != found
        {
            return Err(Refusal::conflict(
                resource.kind_subject(&key.name),
                &format!(
                    "the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). {meanwhile}"
                ),
            ));
        }
    }
    Ok(())
}

/// Only pods that run somewhere are given time.
fn grace_of(resource: &Resource, value: &Value, wishes: &Wishes) -> i64 {
    if resource.kind != "Pod"
        || !resource.group.is_empty()
        || text(value, "/spec/nodeName").is_empty()
    {
        return 0;
    }
    if matches!(text(value, "/status/phase"), "Succeeded" | "Failed") {
        return 0;
    }
    wishes
        .grace
        .or_else(|| object::integer(value, "/spec/terminationGracePeriodSeconds"))
        .unwrap_or(30)
        .max(0)
}

/// A namespace is held by `spec.finalizers` until its content is gone.
fn keeps_content(resource: &Resource, value: &Value) -> bool {
    resource.kind == "Namespace"
        && resource.group.is_empty()
        && !object::list(value, "/spec/finalizers").is_empty()
}

/// Whether an object without finalizers may go now: a pod in its grace period and a namespace with content may not.
pub(crate) fn may_go(value: &Value) -> bool {
    let is_core = object::group(value).is_empty();
    match text(value, "/kind") {
        "Pod" if is_core => {
            object::integer(value, "/metadata/deletionGracePeriodSeconds").unwrap_or_default() == 0
        }
        "Namespace" if is_core => object::list(value, "/spec/finalizers").is_empty(),
        _ => true,
    }
}

/// Takes the object out of the store.
pub(crate) fn remove(world: &mut World, key: &ObjectKey) -> Option<Arc<Value>> {
    let gone = world.store.remove(key);
    custom::changed(world, key);
    if key.kind == "Service" && key.group.is_empty() {
        // The controller of endpoints takes along what has the name of a Service that goes.
        world.store.remove(&ObjectKey { kind: "Endpoints".to_owned(), ..key.clone() });
    }
    gone
}

/// The `Status` that a finished deletion is answered with.
pub(crate) fn done(resource: &Resource, object: &Value) -> Value {
    let mut details =
        json!({"name": object::name(object), "kind": resource.plural, "uid": object::uid(object)});
    if !resource.group.is_empty() {
        object::set(&mut details, "group", resource.group.as_str().into());
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}
