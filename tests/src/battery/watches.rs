//! Watches: what they tell, and how they end.

use serde_json::{Value, json};

use super::ground::{Ground, at};

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
