//! Server-side apply: who owns which field, what happens when two want one, and what goes when nobody does.

use http::Method;
use serde_json::{Value, json};

use super::ground::{Ground, at};

fn config_map(data: &Value) -> Value {
    let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    // Who owns an empty map differs between versions.
    if data.as_object().is_some_and(|data| !data.is_empty()) {
        object["data"] = data.clone();
    }
    object
}

/// A Deployment with that `spec`, completed to a valid one, and that pod template.
fn deployment(spec: &Value, pod: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"},
        "spec": {
            "selector": {"matchLabels": {"app": "a"}},
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": pod},
        },
    });
    for (name, value) in spec.as_object().into_iter().flatten() {
        object["spec"][name] = value.clone();
    }
    object
}

fn main_container() -> Value {
    json!({"containers": [{"name": "main", "image": "main:1"}]})
}

/// A Deployment that says only some of its fields; the first manager must have made it valid.
fn part(spec: &Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": spec})
}

fn service(ports: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"ports": ports}})
}

pub(super) async fn applying_creates_and_owns(ground: &mut Ground) {
    ground.apply("one", &config_map(&json!({"a": "1", "b": "2"}))).await;
    ground.apply("one", &deployment(&json!({"replicas": 2}), &main_container())).await;
}

pub(super) async fn applying_the_same_again_writes_nothing(ground: &mut Ground) {
    let object = deployment(&json!({"replicas": 0}), &main_container());
    let first = ground.apply("one", &object).await;
    let again = ground.apply("one", &object).await;
    let is_quiet = again.at("/metadata/generation") == first.at("/metadata/generation");
    ground.note("same generation", &json!(is_quiet));
    let data = config_map(&json!({"a": "1"}));
    let first = ground.apply("one", &data).await;
    let again = ground.apply("one", &data).await;
    ground.note("same version", &json!(first.version() == again.version()));
    let changed = ground.apply("one", &config_map(&json!({"a": "2"}))).await;
    ground.note("same version after a change", &json!(first.version() == changed.version()));
}

pub(super) async fn a_conflict_names_the_field_and_the_manager(ground: &mut Ground) {
    ground.apply("one", &config_map(&json!({"a": "1"}))).await;
    ground.apply("two", &config_map(&json!({"a": "2"}))).await;
    ground.get("configmaps/a").await;
}

pub(super) async fn a_conflict_names_every_field(ground: &mut Ground) {
    ground
        .apply("one", &deployment(&json!({"replicas": 0, "paused": true}), &main_container()))
        .await;
    let image = json!({"containers": [{"name": "main", "image": "main:2"}]});
    ground.apply("two", &deployment(&json!({"replicas": 3, "paused": false}), &image)).await;
    ground
        .force(
            "three",
            &part(&json!({"replicas": 1, "template": {"spec": {"containers": [
        {"name": "main", "image": "main:3"}]}}})),
        )
        .await;
    ground.apply("two", &deployment(&json!({"replicas": 3, "paused": false}), &image)).await;
}

pub(super) async fn force_takes_a_field_over(ground: &mut Ground) {
    ground.apply("one", &config_map(&json!({"a": "1", "b": "1"}))).await;
    ground.force("two", &config_map(&json!({"a": "2"}))).await;
    // What is no longer its own does not go with it.
    ground.apply("one", &config_map(&json!({"b": "1"}))).await;
}

pub(super) async fn what_a_manager_gives_up_goes(ground: &mut Ground) {
    ground.apply("one", &config_map(&json!({"a": "1", "b": "2"}))).await;
    ground.apply("one", &config_map(&json!({"a": "1"}))).await;
    let object = deployment(&json!({"replicas": 0, "minReadySeconds": 7}), &main_container());
    ground.apply("one", &object).await;
    // A field with a default gets it back.
    ground.apply("one", &deployment(&json!({"paused": true}), &main_container())).await;
}

pub(super) async fn what_two_managers_share_stays(ground: &mut Ground) {
    ground.apply("one", &config_map(&json!({"a": "1", "b": "2"}))).await;
    ground.apply("two", &config_map(&json!({"a": "1"}))).await;
    ground.apply("one", &config_map(&json!({}))).await;
    ground.apply("two", &config_map(&json!({}))).await;
}

pub(super) async fn equal_values_are_shared(ground: &mut Ground) {
    ground.apply("one", &deployment(&json!({"replicas": 0}), &main_container())).await;
    ground.apply("two", &part(&json!({"replicas": 0}))).await;
    ground.apply("one", &deployment(&json!({"replicas": 1}), &main_container())).await;
}

pub(super) async fn containers_are_merged_by_name(ground: &mut Ground) {
    ground.apply("one", &deployment(&json!({"replicas": 0}), &main_container())).await;
    let side = json!({"containers": [{"name": "side", "image": "side:1"}]});
    ground.apply("two", &part(&json!({"template": {"spec": side}}))).await;
    let both = json!({"containers": [{"name": "main", "image": "main:1"}, {"name": "last", "image": "last:1"}]});
    ground.apply("one", &deployment(&json!({"replicas": 0}), &both)).await;
    let nothing = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}});
    ground.apply("two", &nothing).await;
    let twice =
        json!({"containers": [{"name": "main", "image": "a:1"}, {"name": "main", "image": "b:1"}]});
    let answer = ground.apply("three", &deployment(&json!({}), &twice)).await;
    ground.note("one name twice", &json!(answer.code));
}

/// <https://github.com/kubernetes/kubernetes/pull/107565>
pub(super) async fn merged_items_come_in_the_applied_order(ground: &mut Ground) {
    ground.apply("one", &deployment(&json!({"replicas": 0}), &main_container())).await;
    let both = json!({"containers": [{"name": "first", "image": "first:1"}, {"name": "main", "image": "main:1"}]});
    ground.apply("one", &deployment(&json!({"replicas": 0}), &both)).await;
}

pub(super) async fn variables_are_merged_by_name(ground: &mut Ground) {
    let with =
        |env: Value| json!({"containers": [{"name": "main", "image": "main:1", "env": env}]});
    let one = json!([{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]);
    ground.apply("one", &deployment(&json!({"replicas": 0}), &with(one))).await;
    let two = json!({"template": {"spec": {"containers": [{"name": "main", "env": [{"name": "C", "value": "3"}]}]}}});
    ground.apply("two", &part(&two)).await;
    let source = json!([{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]);
    ground.apply("one", &deployment(&json!({"replicas": 0}), &with(source))).await;
}

pub(super) async fn container_ports_are_merged_by_number_and_protocol(ground: &mut Ground) {
    let with =
        |ports: Value| json!({"containers": [{"name": "main", "image": "main:1", "ports": ports}]});
    let both = json!([
        {"name": "tcp", "containerPort": 53, "protocol": "TCP"},
        {"name": "udp", "containerPort": 53, "protocol": "UDP"},
    ]);
    ground.apply("one", &deployment(&json!({"replicas": 0}), &with(both))).await;
    let udp = json!([{"name": "udp", "containerPort": 53, "protocol": "UDP"}]);
    ground.apply("one", &deployment(&json!({"replicas": 0}), &with(udp))).await;
}

pub(super) async fn service_ports_are_merged_by_number_and_protocol(ground: &mut Ground) {
    let both = json!([
        {"name": "tcp", "port": 53, "protocol": "TCP"},
        {"name": "udp", "port": 53, "protocol": "UDP", "targetPort": "dns"},
    ]);
    ground.apply("one", &service(&both)).await;
    let third = json!([{"name": "more", "port": 54, "protocol": "TCP"}]);
    ground.apply("two", &service(&third)).await;
    ground
        .apply(
            "one",
            &service(&json!([{"name": "udp", "port": 53, "protocol": "UDP", "targetPort": 5353}])),
        )
        .await;
}

pub(super) async fn atomic_lists_are_replaced(ground: &mut Ground) {
    let with = |arguments: Value| json!({"containers": [{"name": "main", "image": "main:1", "args": arguments}]});
    ground.apply("one", &deployment(&json!({"replicas": 0}), &with(json!(["a", "b"])))).await;
    ground.apply("one", &deployment(&json!({"replicas": 0}), &with(json!(["b", "c"])))).await;
    let other = json!({"template": {"spec": {"containers": [{"name": "main", "args": ["d"]}]}}});
    ground.apply("two", &part(&other)).await;
    ground.force("two", &part(&other)).await;
}

pub(super) async fn atomic_maps_are_replaced(ground: &mut Ground) {
    let on = |selector: Value| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"},
            "spec": {"selector": selector, "ports": [{"port": 80, "protocol": "TCP"}]}})
    };
    ground.apply("one", &on(json!({"a": "1", "b": "2"}))).await;
    ground.apply("two", &on(json!({"a": "1"}))).await;
    ground.apply("one", &on(json!({"c": "3"}))).await;
}

pub(super) async fn an_update_takes_ownership(ground: &mut Ground) {
    ground.apply("one", &config_map(&json!({"a": "1", "b": "2"}))).await;
    ground.patch("merge", "configmaps/a", &json!({"data": {"a": "by hand", "c": "3"}})).await;
    ground.apply("one", &config_map(&json!({"a": "1", "b": "2"}))).await;
    ground.force("one", &config_map(&json!({"a": "1", "b": "2"}))).await;
}

pub(super) async fn a_dry_run_of_apply_predicts(ground: &mut Ground) {
    ground.apply_with("one", &config_map(&json!({"a": "1"})), "&dryRun=All").await;
    ground.get("configmaps/a").await;
    let object = deployment(&json!({"replicas": 0}), &main_container());
    ground.apply("one", &object).await;
    let image = json!({"containers": [{"name": "main", "image": "main:2"}]});
    ground.apply_with("one", &deployment(&json!({"replicas": 0}), &image), "&dryRun=All").await;
    let held = ground.look("deployments/a").await;
    ground.note("image", at(&held.body, "/spec/template/spec/containers/0/image"));
    ground.apply_with("two", &deployment(&json!({"replicas": 5}), &image), "&dryRun=All").await;
}

pub(super) async fn applying_needs_a_manager(ground: &mut Ground) {
    ground.apply("", &config_map(&json!({"a": "1"}))).await;
}

/// Applies, and tells only how that ended: the words differ between versions.
async fn outcome(ground: &mut Ground, path: &str, object: &Value) {
    let path = format!("{path}?fieldManager=one");
    let answer =
        ground.quietly(&Method::PATCH, &path, "application/apply-patch+yaml", Some(object)).await;
    ground.note(&format!("APPLY {path}"), &json!([answer.code, answer.at("/reason")]));
}

pub(super) async fn applying_wrong_types_is_refused(ground: &mut Ground) {
    outcome(ground, "configmaps/a", &config_map(&json!({"a": 1}))).await;
    let wrong = deployment(&json!({"replicas": "two"}), &main_container());
    outcome(ground, "deployments/a", &wrong).await;
}

pub(super) async fn applying_wrong_names_is_refused(ground: &mut Ground) {
    let mut other = config_map(&json!({}));
    other["metadata"]["name"] = json!("b");
    outcome(ground, "configmaps/a", &other).await;
    let mut elsewhere = config_map(&json!({}));
    elsewhere["metadata"]["namespace"] = json!("default");
    outcome(ground, "configmaps/a", &elsewhere).await;
    let mut versioned = config_map(&json!({}));
    versioned["metadata"]["resourceVersion"] = json!("1");
    outcome(ground, "configmaps/a", &versioned).await;
}

pub(super) async fn applying_managed_fields_is_refused(ground: &mut Ground) {
    let mut object = config_map(&json!({}));
    object["metadata"]["managedFields"] = json!([]);
    ground.apply("one", &object).await;
    object["metadata"]["managedFields"] = json!([{"manager": "x", "operation": "Apply", "apiVersion": "v1",
        "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {}}}]);
    ground.apply("one", &object).await;
}

pub(super) async fn applying_over_a_created_object(ground: &mut Ground) {
    ground.create(&config_map(&json!({"a": "1", "b": "2"}))).await;
    ground.apply("one", &config_map(&json!({"a": "2"}))).await;
    ground.force("one", &config_map(&json!({"a": "2"}))).await;
    // What nobody applied stays.
    ground.apply("one", &config_map(&json!({}))).await;
}

/// The entry of a manager that has applied these fields of a ConfigMap.
fn applied(manager: &str, fields: &Value) -> Value {
    json!({"manager": manager, "operation": "Apply", "apiVersion": "v1",
        "fieldsType": "FieldsV1", "fieldsV1": {"f:data": fields}})
}

/// What `kubectl apply` of old owned becomes the applier's, so that what it gives up goes.
pub(super) async fn ownership_can_be_handed_over(ground: &mut Ground) {
    let object = config_map(&json!({"a": "1", "b": "2"}));
    let created = ground.create(&object).await;
    let fields = json!({".": {}, "f:a": {}, "f:b": {}});
    let patch = json!([
        {"op": "replace", "path": "/metadata/managedFields", "value": [applied("one", &fields)]},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": created.version()},
    ]);
    ground.patch("json", "configmaps/a", &patch).await;
    ground.apply("one", &config_map(&json!({"a": "1"}))).await;
    ground.get("configmaps/a").await;
}

pub(super) async fn ownership_is_not_handed_over_after_a_write(ground: &mut Ground) {
    let created = ground.set_up(&config_map(&json!({"a": "1"}))).await;
    ground.patch("merge", "configmaps/a", &json!({"data": {"a": "2"}})).await;
    let patch = json!([
        {"op": "replace", "path": "/metadata/managedFields",
            "value": [applied("one", &json!({"f:a": {}}))]},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": created.version()},
    ]);
    ground.patch("json", "configmaps/a", &patch).await;
    ground.get("configmaps/a").await;
}

/// The object as its writer has seen it: a version, a uid, or both.
fn as_seen(object: &Value, uid: &str, version: &str) -> Value {
    let mut object = object.clone();
    for (field, value) in [("uid", uid), ("resourceVersion", version)] {
        if !value.is_empty() {
            object["metadata"][field] = json!(value);
        }
    }
    object
}

/// An apply of what was changed or made anew since it was seen does nothing, forced or not.
pub(super) async fn an_apply_can_ask_for_what_was_seen(ground: &mut Ground) {
    let other = "00000000-0000-0000-0000-000000000000";
    let created = ground.apply("one", &config_map(&json!({"a": "1"}))).await;
    let (uid, version) =
        (at(&created.body, "/metadata/uid").as_str().unwrap_or_default(), created.version());
    let wanted = config_map(&json!({"a": "2"}));
    let changed = ground.apply("one", &as_seen(&wanted, uid, version)).await;
    ground.note("another version", &json!(changed.version() != version));
    let wanted = config_map(&json!({"a": "3"}));
    ground.apply("one", &as_seen(&wanted, uid, version)).await;
    ground.force("one", &as_seen(&wanted, uid, version)).await;
    ground.force("one", &as_seen(&wanted, "", version)).await;
    ground.force("one", &as_seen(&wanted, other, changed.version())).await;
    ground.force("one", &as_seen(&wanted, other, "")).await;
    // A conflict of versions is told before one of fields.
    ground.apply("two", &as_seen(&wanted, uid, version)).await;
    ground.apply("two", &as_seen(&wanted, uid, changed.version())).await;
    // What asks for the version that is there and changes nothing writes nothing.
    let same = config_map(&json!({"a": "2"}));
    let again = ground.apply("one", &as_seen(&same, uid, changed.version())).await;
    ground.note("same version", &json!(again.version() == changed.version()));
    ground.get("configmaps/a").await;
}

/// What is gone is not made anew by who has seen it. There is no way to ask that an object be absent.
pub(super) async fn an_apply_of_what_is_gone_makes_nothing(ground: &mut Ground) {
    let created = ground.set_up(&config_map(&json!({"a": "1"}))).await;
    let (uid, version) =
        (at(&created.body, "/metadata/uid").as_str().unwrap_or_default(), created.version());
    ground.delete("configmaps/a", &json!({})).await;
    let wanted = config_map(&json!({"a": "2"}));
    ground.force("one", &as_seen(&wanted, uid, version)).await;
    ground.force("one", &as_seen(&wanted, uid, "")).await;
    ground.get("configmaps/a").await;
}

/// An apply without force puts its own beside what somebody made, where both say the same or other things.
pub(super) async fn an_apply_without_force_leaves_what_others_made(ground: &mut Ground) {
    ground.create(&config_map(&json!({"a": "1"}))).await;
    ground.apply("one", &config_map(&json!({"a": "2", "b": "2"}))).await;
    ground.apply("one", &config_map(&json!({"b": "2"}))).await;
    ground.get("configmaps/a").await;
}
