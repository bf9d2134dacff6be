//! The subresources that are not the object itself: scale, eviction, exec, log, binding, finalize; `proxy` is beside it.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::control::ObjectKey;
use crate::dispatch::{Call, Outcome, is_ready};
use crate::exec::Execution;
use crate::object::{self, integer, list, set, text};
use crate::resource::{Resource, Scale};
use crate::status::{Cause, Refusal};
use crate::world::World;
use crate::write::deletion::{self, Wishes};
use crate::{controller, patch, proxy, selector, write};

/// Carries out a request on a subresource.
pub(crate) fn answer(
    world: &mut World,
    resource: &Resource,
    call: &Call<'_>,
) -> Result<Outcome, Refusal> {
    let place = &call.place;
    let key = ObjectKey::new(&resource.group, &resource.kind, &place.namespace, &place.name);
    let known = [
        ("scale", &["get", "update", "patch"][..]),
        ("eviction", &["create"]),
        ("exec", &["create", "get"]),
        ("log", &["get"]),
        ("proxy", &["get"]),
        ("binding", &["create"]),
        ("finalize", &["update"]),
    ];
    let is_known =
        |(name, verbs): &(&str, &[&str])| *name == place.subresource && verbs.contains(&call.verb);
    if !known.iter().any(is_known) {
        return Err(Refusal::method_not_allowed());
    }
    if place.subresource == "proxy" {
        return proxy::answer(world, resource, call);
    }
    let existing = write::find(&world.store, resource, &key)?;
    match (place.subresource.as_str(), call.verb) {
        ("scale", "get" | "update" | "patch") => scale(world, resource, &key, &existing, call),
        ("eviction", "create") => evict(world, resource, &key, &existing, call),
        ("exec", "create" | "get") => exec(&existing, call).map(Outcome::Executed),
        ("log", "get") => log(&existing, call).map(Outcome::Text),
        ("binding", "create") => bind(world, resource, &key, &existing, call),
        ("finalize", "update") => finalize(world, &key, &existing, call),
        _ => Err(Refusal::method_not_allowed()),
    }
}

fn scale(
    world: &mut World,
    resource: &Resource,
    key: &ObjectKey,
    existing: &Arc<Value>,
    call: &Call<'_>,
) -> Result<Outcome, Refusal> {
    let Some(paths) = &resource.scale else { return Err(Refusal::no_such_path()) };
    let mut wanted = scaled(existing, paths, resource);
    match call.verb {
        "get" => return Ok(Outcome::ok(wanted)),
        "update" => wanted = call.document()?,
        _ => {
            let change: Value = serde_json::from_slice(call.body)
                .map_err(|error| Refusal::bad_request(format!("error decoding patch: {error}")))?;
            if call.content_type.starts_with("application/json-patch") {
                patch::operations(&mut wanted, &change)?;
            } else {
                patch::merge(&mut wanted, &change);
            }
        }
    }
    let replicas = integer(&wanted, "/spec/replicas").unwrap_or_default();
    if replicas < 0 {
        let cause = if resource.is_custom {
            let place = paths.spec.replace('/', ".");
            Cause::invalid(place, &replicas.into(), "should be a non-negative integer")
        } else {
            let why = "must be greater than or equal to 0";
            Cause::invalid("spec.replicas", &replicas.into(), why)
        };
        let subject =
            crate::status::Subject { group: "autoscaling", resource: "Scale", name: &key.name };
        return Err(Refusal::invalid(subject, &[cause]));
    }
    let revision = text(&wanted, "/metadata/resourceVersion");
    if !revision.is_empty() && revision != text(existing, "/metadata/resourceVersion") {
        return Err(Refusal::stale(resource.subject(&key.name)));
    }
    let terms = call.terms(resource)?;
    let mut value = write::in_version(existing, resource, &terms.version);
    let (above, field) = paths.spec.rsplit_once('/').unwrap_or(("", "replicas"));
    if let Some(spec) = value.pointer_mut(above) {
        set(spec, field, replicas.into());
    }
    let written = write::replace(world, resource, key, value, &terms)?;
    Ok(Outcome::ok(scaled(&written.object, paths, resource)))
}

fn scaled(value: &Value, paths: &Scale, resource: &Resource) -> Value {
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(found) = value.pointer(&format!("/metadata/{field}")) {
            set(&mut metadata, field, found.clone());
        }
    }
    let mut status = json!({"replicas": integer(value, &paths.status).unwrap_or_default()});
    if !paths.selector.is_empty() {
        set(
            &mut status,
            "selector",
            match value.pointer(&paths.selector) {
                Some(Value::String(text)) => text.as_str().into(),
                Some(found) if !resource.is_custom => selector::written(found).into(),
                _ => "".into(),
            },
        );
    }
    // Zero is left out.
    let spec = match integer(value, &paths.spec).unwrap_or_default() {
        0 => json!({}),
        replicas => json!({"replicas": replicas}),
    };
    json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
        "spec": spec, "status": status})
}

fn evict(
    world: &mut World,
    resource: &Resource,
    key: &ObjectKey,
    pod: &Arc<Value>,
    call: &Call<'_>,
) -> Result<Outcome, Refusal> {
    let eviction = call.document()?;
    let named = object::name(&eviction);
    if !named.is_empty() && named != key.name {
        return Err(Refusal::bad_request("name in URL does not match name in Eviction object"));
    }
    let mut wishes = Wishes::read(eviction.get("deleteOptions").unwrap_or(&json!({})))?;
    wishes.is_dry_run |= call.query.get("dryRun") == "All";
    let is_free = object::is_terminating(pod)
        || matches!(text(pod, "/status/phase"), "Succeeded" | "Failed" | "Pending");
    if !is_free {
        spend(world, pod, wishes.is_dry_run)?;
    }
    deletion::delete(world, resource, key, &wishes, call.now)?;
    Ok(Outcome::created(
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}),
    ))
}

/// Takes one disruption from the pod's budget.
fn spend(world: &mut World, pod: &Value, is_dry_run: bool) -> Result<(), Refusal> {
    let labels = pod.pointer("/metadata/labels").cloned().unwrap_or_else(|| json!({}));
    let budgets: Vec<Arc<Value>> = world
        .store
        .of_kind("policy", "PodDisruptionBudget", Some(object::namespace(pod)))
        .filter(|budget| {
            budget
                .pointer("/spec/selector")
                .is_some_and(|wanted| selector::matches(wanted, &labels))
        })
        .cloned()
        .collect();
    let budget = match budgets.as_slice() {
        [] => return Ok(()),
        [budget] => budget,
        _ => {
            return Err(Refusal::plain(
                500,
                "InternalError",
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            ));
        }
    };
    let name = object::name(budget);
    let observed = integer(budget, "/status/observedGeneration").unwrap_or_default();
    if observed < integer(budget, "/metadata/generation").unwrap_or_default() {
        let text = format!("The disruption budget {name} is still being processed by the server.");
        return Err(too_many(&text, 10));
    }
    let healthy = integer(budget, "/status/currentHealthy").unwrap_or_default();
    let needed = integer(budget, "/status/desiredHealthy").unwrap_or_default();
    if !is_ready(pod) && needed > 0 && healthy >= needed {
        return Ok(());
    }
    let allowed = integer(budget, "/status/disruptionsAllowed").unwrap_or_default();
    if allowed <= 0 {
        return Err(too_many(
            &format!(
                "The disruption budget {name} needs {needed} healthy pods and has {healthy} currently"
            ),
            0,
        ));
    }
    if !is_dry_run {
        let mut spent = (**budget).clone();
        if let Some(status) = spent.get_mut("status") {
            set(status, "disruptionsAllowed", (allowed - 1).into());
        }
        world.store.put(&object::key(budget), spent);
    }
    Ok(())
}

fn too_many(why: &str, seconds: u32) -> Refusal {
    let mut refusal = Refusal::plain(
        429,
        "TooManyRequests",
        "Cannot evict pod as it would violate the pod's disruption budget.",
    );
    refusal.details = json!({"causes": [{"reason": "DisruptionBudget", "message": why}]});
    if seconds > 0 {
        set(&mut refusal.details, "retryAfterSeconds", seconds.into());
    }
    refusal
}

/// The container that is asked for, which need not be said when there is one.
fn container<'a>(pod: &'a Value, call: &Call<'_>) -> Result<&'a Value, Refusal> {
    let containers = list(pod, "/spec/containers");
    match (call.query.get("container"), containers) {
        ("", [one]) => Ok(one),
        ("", many) => {
            let names: Vec<&str> = many.iter().map(|container| text(container, "/name")).collect();
            Err(Refusal::bad_request(format!(
                "a container name must be specified for pod {}, choose one of: [{}]",
                object::name(pod),
                names.join(" ")
            )))
        }
        (wanted, many) => {
            let all = many.iter().chain(list(pod, "/spec/initContainers"));
            all.into_iter().find(|container| text(container, "/name") == wanted).ok_or_else(|| {
                Refusal::bad_request(format!(
                    "container {wanted} is not valid for pod {}",
                    object::name(pod)
                ))
            })
        }
    }
}

/// What the kubelet says of a container.
fn status_of<'a>(pod: &'a Value, name: &str) -> Option<&'a Value> {
    list(pod, "/status/containerStatuses")
        .iter()
        .chain(list(pod, "/status/initContainerStatuses"))
        .find(|status| text(status, "/name") == name)
}

/// How a command ends: well in a container that runs, unless its image says `check-fail`.
fn exec(pod: &Value, call: &Call<'_>) -> Result<Execution, Refusal> {
    let container = container(pod, call)?;
    let name = text(container, "/name");
    if call.query.get("command").is_empty() {
        let message = "you must specify at least 1 command for the container";
        return Err(Refusal::bad_request(message));
    }
    let is_running =
        status_of(pod, name).is_some_and(|status| status.pointer("/state/running").is_some());
    if !is_running {
        let message = format!("unable to upgrade connection: container not found (\"{name}\")");
        return Err(Refusal::plain(500, "InternalError", &message));
    }
    Ok(if controller::fails_checks(text(container, "/image")) {
        Execution { output: "fails\n".to_owned(), code: 1 }
    } else {
        Execution { output: "ok\n".to_owned(), code: 0 }
    })
}

/// Lines that tell the pod's life, since nothing runs that could write any.
fn log(pod: &Value, call: &Call<'_>) -> Result<String, Refusal> {
    let container = container(pod, call)?;
    let name = text(container, "/name");
    let Some(status) = status_of(pod, name) else {
        return Err(Refusal::bad_request(format!(
            "container \"{name}\" in pod \"{}\" is waiting to start: ContainerCreating",
            object::name(pod)
        )));
    };
    let waiting = text(status, "/state/waiting/reason");
    if !waiting.is_empty() && status.pointer("/lastState/terminated").is_none() {
        return Err(Refusal::bad_request(format!(
            "container \"{name}\" in pod \"{}\" is waiting to start: {waiting}",
            object::name(pod)
        )));
    }
    let mut lines =
        vec![format!("simulated container {name} of image {}", text(container, "/image"))];
    for at in [
        "/state/running/startedAt",
        "/lastState/terminated/startedAt",
        "/state/terminated/startedAt",
    ] {
        if !text(status, at).is_empty() {
            lines.push(format!("{} started", text(status, at)));
        }
    }
    for state in ["/lastState/terminated", "/state/terminated"] {
        if let Some(ended) = status.pointer(state) {
            lines.push(format!(
                "{} exited with code {}: {} {}",
                text(ended, "/finishedAt"),
                integer(ended, "/exitCode").unwrap_or_default(),
                text(ended, "/reason"),
                text(ended, "/message"),
            ));
        }
    }
    if is_ready(pod) {
        lines.push("ready".to_owned());
    }
    let tail = call.query.get("tailLines").parse().unwrap_or(lines.len());
    let from = lines.len().saturating_sub(tail);
    let mut text = String::new();
    for line in lines.iter().skip(from) {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    Ok(text)
}

fn bind(
    world: &mut World,
    resource: &Resource,
    key: &ObjectKey,
    pod: &Arc<Value>,
    call: &Call<'_>,
) -> Result<Outcome, Refusal> {
    let binding = call.document()?;
    let node = text(&binding, "/target/name");
    if node.is_empty() {
        let subject = crate::status::Subject { group: "", resource: "Binding", name: &key.name };
        return Err(Refusal::invalid(subject, &[Cause::required("target.name", "")]));
    }
    let bound = text(pod, "/spec/nodeName");
    if !bound.is_empty() {
        return Err(Refusal::conflict(
            resource.subject(&key.name),
            &format!("pod {} is already assigned to node \"{bound}\"", key.name),
        ));
    }
    let mut value = (**pod).clone();
    if let Some(spec) = value.get_mut("spec") {
        set(spec, "nodeName", node.into());
    }
    if call.query.get("dryRun") != "All" {
        world.store.put(key, value);
    }
    Ok(Outcome::created(
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}),
    ))
}

/// Lets somebody else than the namespace controller take a finalizer off a namespace.
fn finalize(
    world: &mut World,
    key: &ObjectKey,
    namespace: &Arc<Value>,
    call: &Call<'_>,
) -> Result<Outcome, Refusal> {
    let given = call.document()?;
    let mut value = (**namespace).clone();
    let kept = list(&given, "/spec/finalizers").to_vec();
    let spec = if kept.is_empty() { json!({}) } else { json!({"finalizers": kept}) };
    set(&mut value, "spec", spec);
    let stored = world.store.put(key, value);
    Ok(Outcome::ok((*stored).clone()))
}
