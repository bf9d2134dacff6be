//! Server-side apply: ownership, conflicts, giving up, list keys, and that nothing changes when nothing is said anew.

use serde_json::{Value, json};
use tidegate_sandbox::Options;

use crate::bench::{WEB, config, deployment, start};

fn owner<'a>(object: &'a Value, manager: &str) -> Option<&'a Value> {
    object["metadata"]["managedFields"].as_array()?.iter().find(|entry| entry["manager"] == manager)
}

#[tokio::test(start_paused = true)]
async fn an_apply_creates_with_defaults_and_owns_only_what_it_says() {
    let bench = start();
    let made = bench.apply(WEB, "tidegate", &deployment("web")).await.expect(201);
    assert_eq!(made["spec"]["strategy"]["rollingUpdate"]["maxSurge"], "25%");
    assert_eq!(made["spec"]["template"]["spec"]["containers"][0]["ports"][0]["protocol"], "TCP");
    assert_eq!(made["metadata"]["generation"], 1);
    let entry = owner(&made, "tidegate").unwrap();
    assert_eq!(entry["operation"], "Apply");
    assert_eq!(
        entry["fieldsV1"],
        json!({"f:metadata": {"f:labels": {"f:app": {}}}, "f:spec": {"f:replicas": {}, "f:selector": {},
            "f:template": {"f:metadata": {"f:labels": {"f:app": {}}}, "f:spec": {"f:containers": {
                "k:{\"name\":\"main\"}": {".": {}, "f:image": {}, "f:name": {},
                    "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}}}}}}})
    );
}

#[tokio::test(start_paused = true)]
async fn merged_containers_come_in_the_applied_order() {
    let bench = start();
    bench.apply(WEB, "tidegate", &deployment("web")).await.expect(201);
    let mut more = deployment("web");
    let first = json!({"name": "first", "image": "first:1"});
    let main = more["spec"]["template"]["spec"]["containers"][0].clone();
    more["spec"]["template"]["spec"]["containers"] = json!([first, main]);
    let merged = bench.apply(WEB, "tidegate", &more).await.expect(200);
    let containers = merged["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    let names: Vec<_> = containers.iter().map(|container| &container["name"]).collect();
    assert_eq!(names, ["first", "main"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_written_with_a_status_is_owned_through_it() {
    let bench = start();
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {
        "schedulerName": "nobody", "containers": [{"name": "main", "image": "main:1"}]}});
    bench.post("/api/v1/namespaces/default/pods", &pod).await.expect(201);
    let patch = json!({"metadata": {"annotations": {"a": "1"}}, "spec": {"priority": 7},
        "status": {"message": "told"}})
    .to_string();
    let path = "/api/v1/namespaces/default/pods/a/status?fieldManager=kubelet";
    let patched = bench.send("PATCH", path, "application/merge-patch+json", &patch);
    let patched = patched.await.expect(200);
    assert_eq!(patched["spec"]["priority"], 0);
    let entry = owner(&patched, "kubelet").unwrap();
    assert_eq!(entry["subresource"], "status");
    assert_eq!(
        entry["fieldsV1"],
        json!({"f:metadata": {"f:annotations": {".": {}, "f:a": {}}}, "f:status": {"f:message": {}}})
    );
}

#[tokio::test(start_paused = true)]
async fn an_apply_that_changes_nothing_keeps_the_resource_version_and_the_time() {
    let bench = start();
    let made = bench.apply(WEB, "tidegate", &deployment("web")).await.expect(201);
    bench.settle().await;
    let before = bench.get(WEB).await.expect(200);
    let again = bench.apply(WEB, "tidegate", &deployment("web")).await.expect(200);
    assert_eq!(again["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"]);
    assert_eq!(owner(&again, "tidegate"), owner(&made, "tidegate"));
}

#[tokio::test(start_paused = true)]
async fn a_conflict_names_the_manager_and_the_field_and_force_takes_it() {
    let bench = start();
    bench.apply(WEB, "tidegate", &deployment("web")).await.expect(201);
    let mut other = deployment("web");
    other["spec"]["replicas"] = 5.into();
    let refused = bench.apply(WEB, "scaler", &other).await;
    assert_eq!(
        refused.message(),
        "Apply failed with 1 conflict: conflict with \"tidegate\": .spec.replicas"
    );
    assert_eq!(
        refused.value["details"]["causes"],
        json!([{"reason": "FieldManagerConflict", "message": "conflict with \"tidegate\"", "field": ".spec.replicas"}])
    );
    assert_eq!(refused.value["reason"], "Conflict");
    refused.expect(409);

    let taken = bench.apply_with(WEB, "fieldManager=scaler&force=true", &other).await.expect(200);
    assert_eq!(taken["spec"]["replicas"], 5);
    assert!(owner(&taken, "tidegate").unwrap()["fieldsV1"]["f:spec"].get("f:replicas").is_none());
    assert!(owner(&taken, "scaler").unwrap()["fieldsV1"]["f:spec"].get("f:replicas").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_conflict_with_an_updater_names_its_version_and_lists_every_field() {
    let bench = start();
    bench
        .post(
            "/apis/apps/v1/namespaces/default/deployments?fieldManager=kubectl",
            &deployment("web"),
        )
        .await
        .expect(201);
    let mut other = deployment("web");
    other["spec"]["replicas"] = 5.into();
    other["spec"]["template"]["spec"]["containers"][0]["image"] = "shop/web:2".into();
    let refused = bench.apply(WEB, "tidegate", &other).await;
    assert_eq!(
        refused.message(),
        "Apply failed with 2 conflicts: conflicts with \"kubectl\" using apps/v1:\n- .spec.replicas\n- .spec.template.spec.containers[name=\"main\"].image"
    );
    refused.expect(409);
}

#[tokio::test(start_paused = true)]
async fn what_the_applier_gives_up_goes_and_what_another_owns_stays() {
    let bench = start();
    let path = "/api/v1/namespaces/default/configmaps/c";
    bench.apply(path, "one", &config("c", &json!({"a": "1", "b": "2"}))).await.expect(201);
    bench.apply(path, "two", &config("c", &json!({"b": "2", "c": "3"}))).await.expect(200);
    let left = bench.apply(path, "one", &config("c", &json!({"a": "1"}))).await.expect(200);
    assert_eq!(left["data"], json!({"a": "1", "b": "2", "c": "3"}), "two still owns b");
    let left = bench.apply(path, "two", &config("c", &json!({"c": "3"}))).await.expect(200);
    assert_eq!(left["data"], json!({"a": "1", "c": "3"}));
    let left = bench
        .apply(
            path,
            "two",
            &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}),
        )
        .await
        .expect(200);
    assert_eq!(left["data"], json!({"a": "1"}));
    assert!(owner(&left, "two").is_none(), "an owner of nothing is no owner");
}

#[tokio::test(start_paused = true)]
async fn a_container_that_is_given_up_takes_its_defaults_along() {
    let bench = start();
    let mut two = deployment("web");
    let side = json!({"name": "side", "image": "shop/side:1"});
    two["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap().push(side);
    bench.apply(WEB, "tidegate", &two).await.expect(201);
    let one = bench.apply(WEB, "tidegate", &deployment("web")).await.expect(200);
    let containers = one["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 1);
    assert_eq!(containers[0]["terminationMessagePath"], "/dev/termination-log");
}

#[tokio::test(start_paused = true)]
async fn ports_are_told_apart_by_number_and_protocol() {
    let bench = start();
    let mut object = deployment("web");
    object["spec"]["template"]["spec"]["containers"][0]["ports"] =
        json!([{"containerPort": 53, "protocol": "TCP"}, {"containerPort": 53, "protocol": "UDP"}]);
    bench.apply(WEB, "tidegate", &object).await.expect(201);
    object["spec"]["template"]["spec"]["containers"][0]["ports"] =
        json!([{"containerPort": 53, "protocol": "UDP"}]);
    let left = bench.apply(WEB, "tidegate", &object).await.expect(200);
    assert_eq!(
        left["spec"]["template"]["spec"]["containers"][0]["ports"],
        json!([{"containerPort": 53, "protocol": "UDP"}])
    );
}

#[tokio::test(start_paused = true)]
async fn the_same_list_key_twice_is_refused() {
    let bench = start();
    let mut object = deployment("web");
    object["spec"]["template"]["spec"]["containers"][0]["ports"] =
        json!([{"containerPort": 80}, {"containerPort": 80, "protocol": "TCP"}]);
    let refused = bench.apply(WEB, "tidegate", &object).await;
    assert_eq!(
        refused.message(),
        "failed to create typed patch object (default/web; apps/v1, Kind=Deployment): .spec.template.spec.containers[name=\"main\"].ports: duplicate entries for key [containerPort=80,protocol=\"TCP\"]"
    );
}

#[tokio::test(start_paused = true)]
async fn an_unknown_field_is_refused_with_its_path() {
    let bench = start();
    let mut object = deployment("web");
    object["spec"]["replica"] = 1.into();
    let refused = bench.apply(WEB, "tidegate", &object).await;
    assert_eq!(
        refused.message(),
        "failed to create typed patch object (default/web; apps/v1, Kind=Deployment): .spec.replica: field not declared in schema"
    );
}

#[tokio::test(start_paused = true)]
async fn atomic_lists_and_selectors_change_as_one() {
    let bench = start();
    let mut object = deployment("web");
    object["spec"]["template"]["spec"]["tolerations"] =
        json!([{"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Exists"}]);
    let made = bench.apply(WEB, "tidegate", &object).await.expect(201);
    let spec = &owner(&made, "tidegate").unwrap()["fieldsV1"]["f:spec"];
    assert_eq!(spec["f:selector"], json!({}));
    assert_eq!(spec["f:template"]["f:spec"]["f:tolerations"], json!({}));
    object["spec"]["template"]["spec"]["tolerations"] = json!([{"key": "b", "operator": "Exists"}]);
    let changed = bench.apply(WEB, "tidegate", &object).await.expect(200);
    assert_eq!(
        changed["spec"]["template"]["spec"]["tolerations"],
        json!([{"key": "b", "operator": "Exists"}])
    );
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_answers_what_would_be_and_keeps_nothing() {
    let bench = start();
    let seen = bench
        .apply_with(WEB, "fieldManager=tidegate&dryRun=All", &deployment("web"))
        .await
        .expect(201);
    assert_eq!(seen["spec"]["revisionHistoryLimit"], 10);
    bench.get(WEB).await.expect(404);
    bench.apply(WEB, "tidegate", &deployment("web")).await.expect(201);
    bench.settle().await;
    let before = bench.get(WEB).await.expect(200);
    let mut other = deployment("web");
    other["spec"]["replicas"] = 7.into();
    let seen = bench.apply_with(WEB, "fieldManager=tidegate&dryRun=All", &other).await.expect(200);
    assert_eq!(seen["spec"]["replicas"], 7);
    assert_eq!(
        seen["metadata"]["generation"],
        before["metadata"]["generation"].as_i64().unwrap() + 1
    );
    assert_eq!(bench.get(WEB).await.expect(200), before);
}

#[tokio::test(start_paused = true)]
async fn only_changes_of_the_spec_raise_the_generation() {
    let bench = start();
    bench.apply(WEB, "tidegate", &deployment("web")).await.expect(201);
    let mut labelled = deployment("web");
    labelled["metadata"]["labels"]["tier"] = "front".into();
    let object = bench.apply(WEB, "tidegate", &labelled).await.expect(200);
    assert_eq!(object["metadata"]["generation"], 1);
    labelled["spec"]["replicas"] = 3.into();
    let object = bench.apply(WEB, "tidegate", &labelled).await.expect(200);
    assert_eq!(object["metadata"]["generation"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_status_that_is_applied_with_the_object_is_left_out() {
    let bench = start();
    let mut object = deployment("web");
    object["status"] = json!({"replicas": 99});
    let made = bench.apply(WEB, "tidegate", &object).await.expect(201);
    assert!(made["status"].get("replicas").is_none());
    assert!(owner(&made, "tidegate").unwrap()["fieldsV1"].get("f:status").is_none());
}

#[tokio::test(start_paused = true)]
async fn an_apply_without_a_manager_is_refused() {
    let bench = start();
    let refused = bench.apply_with(WEB, "", &deployment("web")).await;
    assert_eq!(refused.causes(), ["fieldManager: Required value: is required for apply patch"]);
    refused.expect(422);
}

#[tokio::test(start_paused = true)]
async fn finalizers_of_two_managers_are_one_set() {
    let bench = start();
    let path = "/api/v1/namespaces/default/configmaps/c";
    let with = |finalizer: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "finalizers": [finalizer]}});
    bench.apply(path, "one", &with("a.example/x")).await.expect(201);
    let both = bench.apply(path, "two", &with("b.example/y")).await.expect(200);
    assert_eq!(both["metadata"]["finalizers"], json!(["a.example/x", "b.example/y"]));
}

#[tokio::test(start_paused = true)]
async fn an_update_takes_the_fields_it_changes() {
    let bench = start();
    bench.apply(WEB, "tidegate", &deployment("web")).await.expect(201);
    let changed = bench
        .merge(&format!("{WEB}?fieldManager=edit"), &json!({"spec": {"replicas": 9}}))
        .await
        .expect(200);
    assert_eq!(owner(&changed, "edit").unwrap()["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));
    assert!(owner(&changed, "tidegate").unwrap()["fieldsV1"]["f:spec"].get("f:replicas").is_none());
    let refused = bench.apply(WEB, "tidegate", &deployment("web")).await;
    assert_eq!(
        refused.message(),
        "Apply failed with 1 conflict: conflict with \"edit\" using apps/v1: .spec.replicas"
    );
}

#[tokio::test(start_paused = true)]
async fn a_creator_owns_what_is_new_but_not_the_list_that_go_always_writes() {
    let bench = start();
    let path = "/apis/apps/v1/namespaces/default/deployments?fieldManager=kubectl";
    let made = bench.post(path, &deployment("web")).await.expect(201);
    let spec = &owner(&made, "kubectl").unwrap()["fieldsV1"]["f:spec"];
    assert!(spec["f:strategy"]["f:rollingUpdate"].get(".").is_some());
    let containers = &spec["f:template"]["f:spec"]["f:containers"];
    assert!(containers.get(".").is_none());
    assert!(containers["k:{\"name\":\"main\"}"].get(".").is_some());
}

#[tokio::test(start_paused = true)]
async fn the_same_quantity_in_other_words_is_a_conflict_as_on_the_real_server() {
    let bench = start();
    let mut object = deployment("web");
    object["spec"]["template"]["spec"]["containers"][0]["resources"] =
        json!({"limits": {"cpu": "1000m"}});
    let made = bench.apply(WEB, "one", &object).await.expect(201);
    assert_eq!(
        made["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"],
        "1"
    );
    let refused = bench.apply(WEB, "two", &object).await;
    assert_eq!(
        refused.message(),
        "Apply failed with 1 conflict: conflict with \"one\": .spec.template.spec.containers[name=\"main\"].resources.limits.cpu"
    );
}

const PROBED: &str = "/spec/template/spec/containers/0/readinessProbe";

/// A Deployment with a probe, and what becomes of it when the applier gives the probe up.
async fn without_its_probe(version: &str) -> crate::bench::Answer {
    let bench = crate::bench::with(Options { version: version.to_owned(), ..Options::default() });
    let mut probed = deployment("web");
    probed["spec"]["template"]["spec"]["containers"][0]["readinessProbe"] =
        json!({"httpGet": {"port": 80}});
    bench.apply(WEB, "tidegate", &probed).await.expect(201);
    bench.apply(WEB, "tidegate", &deployment("web")).await
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_given_up_goes_with_its_defaults() {
    let left = without_its_probe("1.29").await.expect(200);
    assert_eq!(left.pointer(PROBED), None);
}

/// So did Kubernetes before 1.21.
#[tokio::test(start_paused = true)]
async fn an_old_server_keeps_the_defaults_of_a_probe_that_is_given_up() {
    let refused = without_its_probe("1.20").await;
    assert_eq!(refused.code, 422);
    assert!(refused.message().contains("readinessProbe.httpGet.port"), "{}", refused.message());
}
