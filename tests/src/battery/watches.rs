//! Watches: what they tell, and how they end.

use serde_json::{Value, json};

use super::ground::Ground;

fn config_map(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"app": value}}})
}

/// Records the events since a version: their type, the object's name and its label. The watch ends after a second.
async fn told(ground: &mut Ground, query: &str) {
    let answer = ground.look(&format!("configmaps?watch=true&timeoutSeconds=1&{query}")).await;
    // Several events are no JSON document, one is.
    let text = match &answer.body {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Object(_) | Value::Array(_) | Value::Bool(_) | Value::Number(_) => {
            answer.body.to_string()
        }
    };
    let events = text.lines().map(|line| {
        let event: Value = serde_json::from_str(line).expect("an event in JSON");
        let object = &event["object"];
        match object["kind"].as_str() {
            Some("Status") => json!([event["type"], object["code"], object["reason"]]),
            _ => json!([
                event["type"],
                object["metadata"]["name"],
                object["metadata"]["labels"]["app"]
            ]),
        }
    });
    let events: Vec<_> = events.filter(|event| event[1] != "kube-root-ca.crt").collect();
    ground.note(&format!("WATCH: {}", answer.code), &json!(events));
}

/// Makes things happen, and gives the version before them.
async fn happen(ground: &mut Ground) -> String {
    let before = ground.look("configmaps").await.version().to_owned();
    ground.set_up(&config_map("a", "1")).await;
    ground.set_up(&config_map("b", "1")).await;
    ground.patch("merge", "configmaps/a", &json!({"metadata": {"labels": {"app": "2"}}})).await;
    // Nothing changes, so nothing is told.
    ground.patch("merge", "configmaps/a", &json!({"metadata": {"labels": {"app": "2"}}})).await;
    ground.delete("configmaps/b", &Value::Null).await;
    before
}

pub(super) async fn a_watch_tells_what_happened(ground: &mut Ground) {
    let before = happen(ground).await;
    told(ground, &format!("resourceVersion={before}")).await;
    // Without a version it begins with what is there.
    told(ground, "resourceVersion=0&labelSelector=app").await;
    told(ground, "labelSelector=app").await;
}

pub(super) async fn a_watch_with_a_selector_tells_what_came_and_went(ground: &mut Ground) {
    let before = happen(ground).await;
    told(ground, &format!("resourceVersion={before}&labelSelector=app=1")).await;
    told(ground, &format!("resourceVersion={before}&labelSelector=app=2")).await;
    told(ground, &format!("resourceVersion={before}&fieldSelector=metadata.name=b")).await;
}
