//! Custom resources: from the definition to the objects.

use serde_json::{Value, json};

use crate::bench::{Bench, start};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const TIDES: &str = "/apis/sea.example/v1/namespaces/default/tides";

fn definition() -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "tides.sea.example"},
        "spec": {"group": "sea.example", "scope": "Namespaced", "names": {"plural": "tides", "kind": "Tide"},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "required": ["spec"], "properties": {
                    "spec": {"type": "object", "required": ["height"], "properties": {
                        "height": {"type": "integer", "minimum": 1},
                        "phase": {"type": "string", "enum": ["ebb", "flood"], "default": "ebb"},
                        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                        "gauges": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                            "items": {"type": "object", "required": ["name"], "properties": {
                                "name": {"type": "string"}, "value": {"type": "integer"}}}}}},
                    "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}}]}})
}

fn tide(spec: &Value) -> Value {
    json!({"apiVersion": "sea.example/v1", "kind": "Tide", "metadata": {"name": "high"}, "spec": spec})
}

async fn established() -> Bench {
    let bench = start();
    bench.post(DEFINITIONS, &definition()).await.expect(201);
    bench.get(TIDES).await.expect(404);
    bench.settle().await;
    bench
}

#[tokio::test(start_paused = true)]
async fn a_definition_is_established_after_a_moment_and_then_served() {
    let bench = established().await;
    let seen = bench.get(&format!("{DEFINITIONS}/tides.sea.example")).await.expect(200);
    let conditions = seen["status"]["conditions"].as_array().unwrap();
    assert!(conditions.iter().any(|c| c["type"] == "Established" && c["status"] == "True"));
    assert_eq!(seen["spec"]["names"]["listKind"], "TideList");
    bench.get(TIDES).await.expect(200);
    bench.get("/apis/sea.example/v1").await.expect(200);
}

#[tokio::test(start_paused = true)]
async fn the_schema_defaults_prunes_and_refuses() {
    let bench = established().await;
    let made =
        bench.post(TIDES, &tide(&json!({"height": 3, "nope": 1, "free": {"any": [1]}}))).await;
    assert_eq!(made.warnings, ["299 - \"unknown field \\\"spec.nope\\\"\""]);
    assert_eq!(
        made.expect(201)["spec"],
        json!({"height": 3, "phase": "ebb", "free": {"any": [1]}})
    );
    let mut wrong =
        tide(&json!({"height": 0, "phase": "still", "gauges": [{"name": "a", "value": "x"}]}));
    wrong["metadata"]["name"] = "low".into();
    let refused = bench.post(TIDES, &wrong).await;
    // Fields of a map have no order of their own: it differs with how the workspace is built.
    let mut causes = refused.causes();
    causes.sort();
    assert_eq!(
        causes,
        [
            "spec.gauges[0].value: Invalid value: \"string\": spec.gauges[0].value in body must be of type integer: \"string\"",
            "spec.height: Invalid value: 0: spec.height in body should be greater than or equal to 1",
            "spec.phase: Unsupported value: \"still\": supported values: \"ebb\", \"flood\"",
        ]
    );
    refused.expect(422);
    // That the name is taken is said last.
    assert_eq!(bench.post(TIDES, &tide(&json!({}))).await.code, 422);
    assert_eq!(bench.post(TIDES, &tide(&json!({"height": 3}))).await.code, 409);
}

#[tokio::test(start_paused = true)]
async fn lists_of_custom_resources_are_owned_by_key() {
    let bench = established().await;
    let path = format!("{TIDES}/high");
    bench
        .apply(&path, "one", &tide(&json!({"height": 1, "gauges": [{"name": "a", "value": 1}]})))
        .await
        .expect(201);
    let other = json!({"apiVersion": "sea.example/v1", "kind": "Tide", "metadata": {"name": "high"},
        "spec": {"gauges": [{"name": "b", "value": 2}]}});
    let both = bench.apply(&path, "two", &other).await.expect(200);
    assert_eq!(
        both["spec"]["gauges"],
        json!([{"name": "a", "value": 1}, {"name": "b", "value": 2}])
    );
    let same = bench.apply(&path, "two", &other).await.expect(200);
    assert_eq!(same["metadata"]["resourceVersion"], both["metadata"]["resourceVersion"]);
}

#[tokio::test(start_paused = true)]
async fn the_status_is_a_subresource_and_the_definition_takes_its_objects_along() {
    let bench = established().await;
    let mut object = tide(&json!({"height": 1}));
    object["status"] = json!({"level": 5});
    let made = bench.post(TIDES, &object).await.expect(201);
    assert!(made.get("status").is_none());
    let path = format!("{TIDES}/high");
    let told = bench
        .merge(&format!("{path}/status"), &json!({"status": {"level": 5}, "spec": {"height": 9}}))
        .await
        .expect(200);
    assert_eq!((&told["status"]["level"], &told["spec"]["height"]), (&json!(5), &json!(1)));
    assert_eq!(told["metadata"]["generation"], 1);
    bench.delete(&format!("{DEFINITIONS}/tides.sea.example")).await.expect(200);
    bench.settle().await;
    bench.get(&format!("{DEFINITIONS}/tides.sea.example")).await.expect(404);
    bench.get(&path).await.expect(404);
}
