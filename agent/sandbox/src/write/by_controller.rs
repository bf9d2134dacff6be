//! The writes of the simulated controllers, which go through the same rules as those of a person.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::deletion::{self, Wishes};
use super::{Terms, Validation};
use crate::access::User;
use crate::clock;
use crate::control::ObjectKey;
use crate::object::{self, text};
use crate::resource::Resource;
use crate::status::{Refusal, Subject};
use crate::store::Index;
use crate::world::World;

const MANAGER: &str = "kube-controller-manager";

fn terms(resource: &Resource, value: &Value, subresource: &str, now: Timestamp) -> Terms {
    let version = text(value, "/apiVersion").rsplit('/').next().unwrap_or_default();
    let version = if version.is_empty() { resource.storage.as_str() } else { version };
    Terms {
        is_patch: false,
        is_whole: true,
        user: User::administrator(),
        manager: MANAGER.to_owned(),
        is_dry_run: false,
        validation: Validation::Ignore,
        now,
        version: version.to_owned(),
        subresource: subresource.to_owned(),
    }
}

fn resource_of(
    world: &World,
    group: &str,
    kind: &str,
) -> Result<std::sync::Arc<Resource>, Refusal> {
    world
        .resource_of_kind(group, kind)
        .ok_or_else(|| Refusal::not_found(Subject { group, resource: kind, name: "" }))
}

/// Creates; that the object exists already is no refusal. The status that a controller gives is kept.
pub(crate) fn create(world: &mut World, value: Value, now: Timestamp) -> Result<(), Refusal> {
    let resource = resource_of(world, object::group(&value), text(&value, "/kind"))?;
    let terms = terms(&resource, &value, "", now);
    let namespace = object::namespace(&value).to_owned();
    let status = value.get("status").cloned();
    match super::create(world, &resource, &namespace, value, &terms) {
        Err(refusal) if refusal.reason == "AlreadyExists" => Ok(()),
        Err(refusal) => Err(refusal),
        Ok(written) => match status {
            Some(status) if resource.has_status => {
                let mut again = (*written.object).clone();
                object::set(&mut again, "status", status);
                update(world, again, "status", now)
            }
            _ => Ok(()),
        },
    }
}

/// Updates the main resource or a subresource.
pub(crate) fn update(
    world: &mut World,
    value: Value,
    subresource: &str,
    now: Timestamp,
) -> Result<(), Refusal> {
    let key = object::key(&value);
    let resource = resource_of(world, &key.group, &key.kind)?;
    let mut value = value;
    if subresource.is_empty() {
        bind(world, &key, &mut value);
    }
    let terms = terms(&resource, &value, subresource, now);
    super::replace(world, &resource, &key, value, &terms).map(drop)
}

/// The scheduler's decision, which a person could only make through the `binding` subresource.
fn bind(world: &mut World, key: &ObjectKey, value: &mut Value) {
    let node = text(value, "/spec/nodeName").to_owned();
    let Some(existing) = world.store.object(key).cloned() else { return };
    let is_fresh =
        object::revision(value) == 0 || object::revision(value) == object::revision(&existing);
    if key.kind != "Pod"
        || node.is_empty()
        || !is_fresh
        || !text(&existing, "/spec/nodeName").is_empty()
    {
        return;
    }
    let mut bound = (*existing).clone();
    if let Some(spec) = bound.get_mut("spec") {
        object::set(spec, "nodeName", node.into());
    }
    let stored = world.store.put(key, bound);
    object::set_metadata(
        value,
        "resourceVersion",
        text(&stored, "/metadata/resourceVersion").into(),
    );
}

/// Deletes in the background, with a grace period or the object's own.
pub(crate) fn delete(
    world: &mut World,
    key: &ObjectKey,
    grace: Option<i64>,
    now: Timestamp,
) -> Result<(), Refusal> {
    let resource = resource_of(world, &key.group, &key.kind)?;
    let wishes = Wishes { grace, ..Wishes::default() };
    deletion::delete(world, &resource, key, &wishes, now).map(drop)
}

/// Records an event; the same event again raises its count.
pub(crate) fn event(
    world: &mut World,
    about: &ObjectKey,
    reason: &str,
    message: &str,
    is_warning: bool,
    now: Timestamp,
) {
    let at = clock::seconds(now);
    let namespace = if about.namespace.is_empty() { "default" } else { &about.namespace };
    let Some(object) = world.store.object(about).cloned() else { return };
    let same =
        Index::Events(object::uid(&object).to_owned(), reason.to_owned(), message.to_owned());
    let same = world.store.indexed(&same).next().cloned();
    if let Some(same) = same {
        let mut again = (*same).clone();
        let count = object::integer(&again, "/count").unwrap_or(1) + 1;
        object::set(&mut again, "count", count.into());
        object::set(&mut again, "lastTimestamp", at.into());
        let key = object::key(&again);
        world.store.put(&key, again);
        return;
    }
    // Names rise with time, as those of the real recorder do: clients list in the order of names and sort by whole seconds.
    let suffix = now.as_nanosecond() + i128::from(world.store.revision());
    let reporter = reporter(&about.kind, reason);
    let value = json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": format!("{}.{suffix:x}", about.name), "namespace": namespace},
        "involvedObject": {"apiVersion": text(&object, "/apiVersion"), "kind": about.kind, "name": about.name,
            "namespace": about.namespace, "uid": object::uid(&object),
            "resourceVersion": text(&object, "/metadata/resourceVersion")},
        "reason": reason, "message": message, "type": if is_warning { "Warning" } else { "Normal" },
        "count": 1, "firstTimestamp": at, "lastTimestamp": at,
        "source": {"component": reporter}, "reportingComponent": reporter, "reportingInstance": "",
    });
    if let Err(refusal) = create(world, value, now) {
        tracing::debug!(message = %refusal.message, "event not recorded");
    }
}

/// Which part of a cluster says that of a kind.
fn reporter(kind: &str, reason: &str) -> &'static str {
    match (kind, reason) {
        (_, "Scheduled" | "FailedScheduling") => "default-scheduler",
        (_, "TaintManagerEviction") => "taint-eviction-controller",
        (_, "NodeNotReady") => "node-controller",
        ("Pod", _) => "kubelet",
        ("Deployment", _) => "deployment-controller",
        ("ReplicaSet", _) => "replicaset-controller",
        ("StatefulSet", _) => "statefulset-controller",
        ("DaemonSet", _) => "daemonset-controller",
        ("Job", _) => "job-controller",
        ("PersistentVolumeClaim", _) => "persistentvolume-controller",
        ("Service", _) => "service-controller",
        ("HorizontalPodAutoscaler", _) => "horizontal-pod-autoscaler",
        _ => "controller",
    }
}
