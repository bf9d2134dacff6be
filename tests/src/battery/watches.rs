//! Watches: what they tell, and how they end.

use http::Method;
use serde_json::{Value, json};

use super::ground::{Ground, JSON, at, unserved_pod};

fn config_map(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"app": value}}})
}

/// Between which versions things happened.
struct Span {
    before: String,
    last: String,
}

/// Makes things happen; the last of them is seen by every watch of a behaviour, so that none has to be waited out.
async fn happen(ground: &mut Ground) -> Span {
    let before = ground.look("configmaps").await.version().to_owned();
    ground.set_up(&config_map("a", "1")).await;
    ground.set_up(&config_map("b", "1")).await;
    let second = json!({"metadata": {"labels": {"app": "2"}}});
    ground.patch("merge", "configmaps/a", &second).await;
    // Nothing changes, so nothing is told.
    ground.patch("merge", "configmaps/a", &second).await;
    ground.delete("configmaps/b", &Value::Null).await;
    ground.set_up(&config_map("b", "1")).await;
    let last = ground.patch("merge", "configmaps/b", &second).await.version().to_owned();
    Span { before, last }
}

/// Records the events up to the one of the version `last`: their type, the object's name and its label.
async fn told(ground: &mut Ground, query: &str, last: &str) {
    let is_last = |event: &Value| at(event, "/object/metadata/resourceVersion") == last;
    let events = ground.watch(&format!("configmaps?{query}"), is_last).await;
    let events = events.iter().map(|event| {
        json!([
            event["type"],
            at(event, "/object/metadata/name"),
            at(event, "/object/metadata/labels/app")
        ])
    });
    let events: Vec<_> = events.filter(|event| event[1] != "kube-root-ca.crt").collect();
    // Versions are the server's own.
    let shown: Vec<_> =
        query.split('&').filter(|part| !part.starts_with("resourceVersion=")).collect();
    ground.note(format!("WATCH {}", shown.join("&")).trim_end(), &json!(events));
}

pub(super) async fn a_watch_tells_what_happened(ground: &mut Ground) {
    let Span { before, last } = happen(ground).await;
    told(ground, &format!("resourceVersion={before}"), &last).await;
    told(ground, &format!("resourceVersion={before}&fieldSelector=metadata.name=b"), &last).await;
}

pub(super) async fn a_watch_with_a_selector_tells_what_came_and_went(ground: &mut Ground) {
    let Span { before, last } = happen(ground).await;
    told(ground, &format!("resourceVersion={before}&labelSelector=app=1"), &last).await;
    told(ground, &format!("resourceVersion={before}&labelSelector=app=2"), &last).await;
}

pub(super) async fn a_watch_without_a_version_begins_with_what_is_there(ground: &mut Ground) {
    let Span { last, .. } = happen(ground).await;
    // Such watches begin with what the server's cache holds; it must have seen everything.
    ground.until(&format!("configmaps?resourceVersion={last}"), |answer| answer.code == 200).await;
    told(ground, "resourceVersion=0&fieldSelector=metadata.name=b", &last).await;
    told(ground, "fieldSelector=metadata.name=b", &last).await;
}

pub(super) async fn a_watch_ends_when_its_time_is_over(ground: &mut Ground) {
    let before = ground.look("configmaps").await.version().to_owned();
    let query = "watch=true&timeoutSeconds=1&labelSelector=app";
    let answer = ground.look(&format!("configmaps?{query}&resourceVersion={before}")).await;
    ground.note(&format!("WATCH {query}: {}", answer.code), &answer.body);
}

/// The names of the configuration that a watch tells of, up to the last event on `last`.
async fn told_until(ground: &mut Ground, path: &str, is_last: impl Fn(&Value) -> bool) {
    let events = ground.watch(path, is_last).await;
    let events: Vec<Value> = events
        .iter()
        .map(|event| {
            let object = &event["object"];
            json!({"type": event["type"], "name": at(object, "/metadata/name"),
                "finalizers": at(object, "/metadata/finalizers"), "data": at(object, "/data"),
                "is going": !at(object, "/metadata/deletionTimestamp").is_null()})
        })
        .collect();
    ground.note("WATCH", &json!(events));
}

pub(super) async fn a_watch_tells_of_a_deletion_that_is_held_back(ground: &mut Ground) {
    let before = ground.look("configmaps").await.version().to_owned();
    let mut held = config_map("a", "1");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    ground.set_up(&held).await;
    ground.delete("configmaps/a", &Value::Null).await;
    ground.patch("merge", "configmaps/a", &json!({"metadata": {"finalizers": null}})).await;
    let path = format!("configmaps?resourceVersion={before}&fieldSelector=metadata.name=a");
    told_until(ground, &path, |event| event["type"] == "DELETED").await;
}

pub(super) async fn what_is_gone_is_told_as_it_was_last(ground: &mut Ground) {
    let before = ground.look("configmaps").await.version().to_owned();
    let mut object = config_map("a", "1");
    object["data"] = json!({"key": "first"});
    ground.set_up(&object).await;
    ground.patch("merge", "configmaps/a", &json!({"data": {"key": "last"}})).await;
    ground.delete("configmaps/a", &Value::Null).await;
    let path = format!("configmaps?resourceVersion={before}&labelSelector=app=1");
    told_until(ground, &path, |event| event["type"] == "DELETED").await;
}

/// An object that no longer matches is gone for a watch, told as it was when it still did.
pub(super) async fn what_no_longer_matches_is_told_as_it_was_before(ground: &mut Ground) {
    let before = ground.look("configmaps").await.version().to_owned();
    let mut object = config_map("a", "1");
    object["data"] = json!({"key": "first"});
    ground.set_up(&object).await;
    let other = json!({"metadata": {"labels": {"app": "2"}}, "data": {"key": "last"}});
    ground.patch("merge", "configmaps/a", &other).await;
    let path = format!("configmaps?resourceVersion={before}&labelSelector=app=1");
    told_until(ground, &path, |event| event["type"] == "DELETED").await;
}

pub(super) async fn a_watch_of_pods_selects_by_their_fields(ground: &mut Ground) {
    let before = ground.look("pods").await.version().to_owned();
    for name in ["a", "b"] {
        ground.set_up(&unserved_pod(name)).await;
    }
    for name in ["a", "b"] {
        let path = format!("pods/{name}/status");
        let content = "application/merge-patch+json";
        let running = json!({"status": {"phase": "Running"}});
        ground.quietly(&Method::PATCH, &path, content, Some(&running)).await;
    }
    for phase in ["Pending", "Running"] {
        let path = format!("pods?resourceVersion={before}&fieldSelector=status.phase={phase}");
        let kind = if phase == "Pending" { "DELETED" } else { "ADDED" };
        let is_last =
            |event: &Value| event["type"] == kind && at(event, "/object/metadata/name") == "b";
        told_until(ground, &path, is_last).await;
    }
}

/// What was only tried is not told.
pub(super) async fn a_watch_tells_nothing_of_dry_runs(ground: &mut Ground) {
    let before = ground.look("configmaps").await.version().to_owned();
    ground.create_with(&config_map("a", "1"), "&dryRun=All").await;
    ground.apply_with("one", &config_map("a", "1"), "&dryRun=All").await;
    ground.set_up(&config_map("b", "1")).await;
    ground.say(&Method::DELETE, "configmaps/b?dryRun=All", JSON, None).await;
    ground.delete("configmaps/b", &Value::Null).await;
    let path = format!("configmaps?resourceVersion={before}&labelSelector=app");
    told_until(ground, &path, |event| event["type"] == "DELETED").await;
}

pub(super) async fn a_watch_of_all_namespaces_tells_of_this_one_too(ground: &mut Ground) {
    let namespace = ground.namespace().to_owned();
    let before = ground.look("configmaps").await.version().to_owned();
    let mut object = config_map("a", "1");
    object["metadata"]["labels"] = json!({"only": namespace});
    ground.set_up(&object).await;
    ground.delete("configmaps/a", &Value::Null).await;
    let path =
        format!("/api/v1/configmaps?resourceVersion={before}&labelSelector=only={namespace}");
    told_until(ground, &path, |event| event["type"] == "DELETED").await;
}

pub(super) async fn watches_that_are_none_are_refused(ground: &mut Ground) {
    for query in ["resourceVersion=abc", "labelSelector=a%20b%20c", "fieldSelector=data.a=1"] {
        let answer = ground.look(&format!("configmaps?watch=true&{query}")).await;
        ground.note(&format!("WATCH {query}"), &json!([answer.code, answer.at("/reason")]));
    }
}
