//! Objects: created, read, listed, selected, changed and deleted.

use http::Method;
use serde_json::{Value, json};

use super::ground::{Answer, Ground, JSON, unserved_pod};

fn config_map(name: &str, value: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"app": value}},
        "data": {"key": value},
    })
}

fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "main:1"}, {"name": "side", "image": "side:1"}]},
            },
        },
    })
}

/// The names of the configuration objects that a behaviour made; newer servers put one of their own into every namespace.
async fn names(ground: &mut Ground, query: &str) {
    let answer = ground.look(&format!("configmaps?{query}")).await;
    let items = answer.at("/items").as_array().cloned().unwrap_or_default();
    let names = items.iter().map(|item| item["metadata"]["name"].clone());
    let names: Vec<_> = names.filter(|name| name != "kube-root-ca.crt").collect();
    ground.note(&format!("LIST {query}: {}", answer.code), &json!(names));
}

pub(super) async fn an_object_is_created_read_listed_and_deleted(ground: &mut Ground) {
    ground.create(&config_map("a", "1")).await;
    ground.get("configmaps/a").await;
    ground.get("configmaps?labelSelector=app").await;
    ground.delete("configmaps/a", &Value::Null).await;
    ground.get("configmaps/a").await;
}

pub(super) async fn creating_twice_is_refused(ground: &mut Ground) {
    ground.set_up(&config_map("a", "1")).await;
    ground.create(&config_map("a", "2")).await;
}

/// So a dry run of creating tells whether an object that is there could be made anew.
pub(super) async fn a_taken_name_is_refused_after_everything_else(ground: &mut Ground) {
    ground.set_up(&deployment("a")).await;
    let mut wrong = deployment("a");
    wrong["spec"]["selector"]["matchLabels"]["app"] = json!("b");
    for object in [deployment("a"), wrong] {
        let answer = ground.create_with(&object, "&dryRun=All").await;
        ground.note("answer", &json!([answer.code, answer.at("/reason")]));
    }
}

pub(super) async fn what_is_missing_is_not_found(ground: &mut Ground) {
    ground.get("configmaps/a").await;
    ground.delete("deployments/a", &Value::Null).await;
    ground.patch("merge", "services/a", &json!({"metadata": {"labels": {"a": "b"}}})).await;
    ground.replace(&config_map("a", "1")).await;
}

pub(super) async fn a_stale_update_is_refused(ground: &mut Ground) {
    let created = ground.set_up(&config_map("a", "1")).await;
    let mut stale = created.body.clone();
    ground.patch("merge", "configmaps/a", &json!({"data": {"key": "2"}})).await;
    stale["data"]["key"] = json!("3");
    ground.replace(&stale).await;
    // Without a version the last one wins.
    ground.replace(&config_map("a", "4")).await;
    let version = created.version();
    let patch = json!({"metadata": {"resourceVersion": version}, "data": {"key": "5"}});
    ground.patch("merge", "configmaps/a", &patch).await;
}

pub(super) async fn an_update_without_a_change_writes_nothing(ground: &mut Ground) {
    let created = ground.set_up(&config_map("a", "1")).await;
    let replaced = ground.replace(&created.body).await;
    ground.note("same version after an update", &json!(created.version() == replaced.version()));
    let patched = ground.patch("merge", "configmaps/a", &json!({"data": {"key": "1"}})).await;
    ground.note("same version after a patch", &json!(created.version() == patched.version()));
    let patched = ground.patch("merge", "configmaps/a", &json!({"data": {"key": "2"}})).await;
    ground.note("same version after a change", &json!(created.version() == patched.version()));
}

pub(super) async fn labels_select(ground: &mut Ground) {
    for (name, value) in [("a", "1"), ("b", "2"), ("c", "3")] {
        ground.set_up(&config_map(name, value)).await;
    }
    for selector in [
        "app=1",
        "app%3D%3D2",
        "app!=1",
        "app%20in%20(1,2)",
        "app%20notin%20(1)",
        "app",
        "!app",
        "app=1,app=2",
        "other=1",
    ] {
        names(ground, &format!("labelSelector={selector}")).await;
    }
    let wrong = ground.look("configmaps?labelSelector=a%20b%20c").await;
    ground.note("what is no selector", &json!([wrong.code, wrong.at("/reason")]));
}

pub(super) async fn fields_select(ground: &mut Ground) {
    for (name, value) in [("a", "1"), ("b", "2")] {
        ground.set_up(&config_map(name, value)).await;
    }
    names(ground, "fieldSelector=metadata.name=a").await;
    names(ground, "fieldSelector=metadata.name!=a").await;
    ground.get("configmaps?fieldSelector=data.key=1").await;
}

pub(super) async fn lists_are_cut_and_continued(ground: &mut Ground) {
    for name in ["a", "b", "c", "d", "e"] {
        ground.set_up(&config_map(name, "1")).await;
    }
    let mut path = "configmaps?labelSelector=app&limit=2".to_owned();
    for _ in 0..4 {
        let answer = ground.get(&path).await;
        let Some(token) = answer.at("/metadata/continue").as_str() else { break };
        path = format!("configmaps?labelSelector=app&limit=2&continue={token}");
    }
    let answer = ground.look("configmaps?limit=2&continue=nonsense").await;
    ground.note("a token that is not one", &json!([answer.code, answer.at("/reason")]));
}

pub(super) async fn a_finalizer_holds_a_deletion_back(ground: &mut Ground) {
    let mut held = config_map("a", "1");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    ground.create(&held).await;
    ground.delete("configmaps/a", &Value::Null).await;
    ground.get("configmaps/a").await;
    // What is going away cannot be held back anew.
    let more = json!({"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}});
    ground.patch("merge", "configmaps/a", &more).await;
    ground.patch("merge", "configmaps/a", &json!({"metadata": {"finalizers": null}})).await;
    ground.get("configmaps/a").await;
    held["metadata"]["finalizers"] = json!(["not a name"]);
    ground.create(&held).await;
}

pub(super) async fn a_deletion_can_ask_for_a_uid(ground: &mut Ground) {
    ground.set_up(&config_map("a", "1")).await;
    let other = "00000000-0000-0000-0000-000000000000";
    ground.delete("configmaps/a", &json!({"preconditions": {"uid": other}})).await;
    ground.delete("configmaps/a", &json!({"preconditions": {"resourceVersion": "1"}})).await;
    ground.get("configmaps/a").await;
}

pub(super) async fn many_are_deleted_at_once(ground: &mut Ground) {
    for (name, value) in [("a", "1"), ("b", "1"), ("c", "2")] {
        ground.set_up(&config_map(name, value)).await;
    }
    let answer =
        ground.quietly(&Method::DELETE, "configmaps?labelSelector=app=1", JSON, None).await;
    ground.note("DELETE", &json!([answer.code, answer.at("/kind")]));
    names(ground, "labelSelector=app").await;
}

pub(super) async fn names_are_generated(ground: &mut Ground) {
    let mut object = config_map("", "1");
    object["metadata"] = json!({"generateName": "made-"});
    let created = ground.quietly(&Method::POST, "configmaps", JSON, Some(&object)).await;
    let name = created.at("/metadata/name").as_str().unwrap_or_default().to_owned();
    let told = json!([created.code, name.starts_with("made-"), name.len()]);
    ground.note("POST", &told);
    object["metadata"] = json!({});
    ground.create(&object).await;
}

pub(super) async fn invalid_names_are_refused(ground: &mut Ground) {
    ground.create(&config_map("Upper", "1")).await;
    ground.create(&config_map("under_score", "1")).await;
    ground.create(&config_map(&"long".repeat(70), "1")).await;
    let mut object = config_map("a", "1");
    object["metadata"]["labels"] = json!({"bad label": "bad value!"});
    ground.create(&object).await;
    object["metadata"] = json!({"name": "a", "annotations": {"bad key!": "1"}});
    ground.create(&object).await;
    object["metadata"] = json!({"name": "a"});
    object["data"] = json!({"bad key": "1"});
    ground.create(&object).await;
    let mut service = json!({"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 80, "protocol": "TCP"}]}});
    service["metadata"] = json!({"name": "with.dots"});
    ground.create(&service).await;
}

pub(super) async fn a_dry_run_writes_nothing(ground: &mut Ground) {
    ground.create_with(&config_map("a", "1"), "&dryRun=All").await;
    ground.get("configmaps/a").await;
    ground.create_with(&config_map("Upper", "1"), "&dryRun=All").await;
    ground.create_with(&config_map("b", "1"), "&dryRun=Some").await;
    ground.set_up(&config_map("b", "1")).await;
    ground.say(&Method::DELETE, "configmaps/b?dryRun=All", JSON, None).await;
    let patch = json!({"data": {"key": "2"}});
    let content = "application/merge-patch+json";
    ground.say(&Method::PATCH, "configmaps/b?dryRun=All", content, Some(&patch)).await;
    ground.get("configmaps/b").await;
}

pub(super) async fn patches_merge(ground: &mut Ground) {
    ground.set_up(&deployment("a")).await;
    let patch =
        json!({"metadata": {"labels": {"new": "1"}}, "spec": {"replicas": 2, "paused": true}});
    ground.patch("merge", "deployments/a", &patch).await;
    // Lists are replaced, and null removes.
    let patch = json!({"metadata": {"labels": null}, "spec": {"paused": null, "template": {"spec": {"containers": [
        {"name": "only", "image": "only:1"}]}}}});
    ground.patch("merge", "deployments/a", &patch).await;
    let wrong = json!({"spec": {"replicas": "many"}});
    let content = "application/merge-patch+json";
    let answer = ground.quietly(&Method::PATCH, "deployments/a", content, Some(&wrong)).await;
    ground.note("a wrong type", &json!([answer.code, answer.at("/reason")]));
    ground.patch("merge", "deployments/a", &json!({"metadata": {"name": "other"}})).await;
}

pub(super) async fn patches_by_json(ground: &mut Ground) {
    ground.set_up(&config_map("a", "1")).await;
    let patch = json!([
        {"op": "test", "path": "/data/key", "value": "1"},
        {"op": "add", "path": "/data/more", "value": "2"},
        {"op": "copy", "from": "/data/more", "path": "/data/copied"},
        {"op": "remove", "path": "/data/key"},
    ]);
    ground.patch("json", "configmaps/a", &patch).await;
    let wrong = json!([{"op": "test", "path": "/data/more", "value": "3"}]);
    let content = "application/json-patch+json";
    let answer = ground.quietly(&Method::PATCH, "configmaps/a", content, Some(&wrong)).await;
    ground.note("a test that fails", &json!([answer.code, answer.at("/reason")]));
    let missing = json!([{"op": "remove", "path": "/data/none"}]);
    let answer = ground.quietly(&Method::PATCH, "configmaps/a", content, Some(&missing)).await;
    ground.note("a path that is not there", &json!([answer.code, answer.at("/reason")]));
}

pub(super) async fn patches_are_strategic(ground: &mut Ground) {
    ground.set_up(&deployment("a")).await;
    let containers =
        json!([{"name": "side", "image": "side:2"}, {"name": "third", "image": "third:1"}]);
    let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
    ground.patch("strategic-merge", "deployments/a", &patch).await;
    let gone = json!([{"name": "side", "$patch": "delete"}]);
    let patch = json!({"spec": {"template": {"spec": {"containers": gone}}}});
    ground.patch("strategic-merge", "deployments/a", &patch).await;
    let replaced = json!({"spec": {"strategy": {"$patch": "replace", "type": "Recreate"}}});
    ground.patch("strategic-merge", "deployments/a", &replaced).await;
}

pub(super) async fn the_status_is_apart(ground: &mut Ground) {
    let mut pod = unserved_pod("a");
    pod["status"] = json!({"message": "ignored on creation"});
    ground.create(&pod).await;
    let patch = json!({"metadata": {"labels": {"set": "1"}}, "status": {"message": "told"}});
    ground.patch("merge", "pods/a", &patch).await;
    let patch = json!({"metadata": {"annotations": {"set": "1"}}, "spec": {"containers": null}, "status": {"message": "told"}});
    let path = "pods/a/status?fieldManager=writer";
    let content = "application/strategic-merge-patch+json";
    let answer = ground.quietly(&Method::PATCH, path, content, Some(&patch)).await;
    // Who owns what is written so is told in a way that differs between versions.
    let parts = ["/metadata/labels", "/metadata/annotations", "/spec/containers", "/status"];
    let told = |answer: &Answer| json!(parts.map(|part| answer.at(part).clone()));
    ground.note("PATCH pods/a/status", &told(&answer));
    let answer = ground.look("pods/a/status").await;
    ground.note("GET pods/a/status", &told(&answer));
}

pub(super) async fn unknown_kinds_are_not_found(ground: &mut Ground) {
    for path in
        ["/apis/example.com/v1/things", "/api/v1/things", "/apis/apps/v9/deployments", "/nowhere"]
    {
        let answer = ground.look(path).await;
        ground.note(path, &json!(answer.code));
    }
    let wrong = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}});
    let answer = ground.quietly(&Method::POST, "configmaps", JSON, Some(&wrong)).await;
    ground.note("a Secret among ConfigMaps", &json!([answer.code, answer.at("/reason")]));
}

pub(super) async fn a_namespace_must_be_there(ground: &mut Ground) {
    let path = "/api/v1/namespaces/battery-nowhere/configmaps";
    ground.say(&Method::POST, path, JSON, Some(&config_map("a", "1"))).await;
    let answer = ground.look(path).await;
    ground.note("an empty list", &json!([answer.code, answer.at("/items")]));
    let mut elsewhere = config_map("a", "1");
    elsewhere["metadata"]["namespace"] = json!("default");
    ground.create(&elsewhere).await;
}

pub(super) async fn a_namespace_takes_everything_with_it(ground: &mut Ground) {
    let name = format!("{}-going", ground.namespace());
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    ground.create(&namespace).await;
    let inside = format!("/api/v1/namespaces/{name}/configmaps");
    let mut held = config_map("a", "1");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    ground.say(&Method::POST, &inside, JSON, Some(&held)).await;
    let answer = ground.quietly(&Method::DELETE, &format!("namespaces/{name}"), JSON, None).await;
    ground.note("DELETE", &json!([answer.code, answer.at("/status/phase")]));
    let of_a = format!("{inside}/a");
    ground.until(&of_a, |answer| !answer.at("/metadata/deletionTimestamp").is_null()).await;
    // Nothing new comes into what is going away.
    ground.say(&Method::POST, &inside, JSON, Some(&config_map("b", "1"))).await;
    let waits = ground.look(&format!("namespaces/{name}")).await;
    ground.note(
        "while it is held",
        &json!([waits.code, waits.at("/status/phase"), waits.at("/spec")]),
    );
    let free = json!({"metadata": {"finalizers": null}});
    ground.say(&Method::PATCH, &of_a, "application/merge-patch+json", Some(&free)).await;
    ground.until(&format!("namespaces/{name}"), |answer| answer.code == 404).await;
}

fn owned(name: &str, owner: &Value) -> Value {
    let mut object = config_map(name, "1");
    object["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"],
    }]);
    object
}

pub(super) async fn dependents_go_with_their_owner(ground: &mut Ground) {
    let owner = ground.set_up(&config_map("owner", "1")).await;
    let middle = ground.create(&owned("middle", &owner.body)).await;
    ground.set_up(&owned("leaf", &middle.body)).await;
    ground.delete("configmaps/owner", &json!({"propagationPolicy": "Background"})).await;
    ground.until("configmaps/leaf", |answer| answer.code == 404).await;
    names(ground, "labelSelector=app").await;
}

pub(super) async fn orphans_stay_without_their_owner(ground: &mut Ground) {
    let owner = ground.set_up(&config_map("owner", "1")).await;
    ground.set_up(&owned("left", &owner.body)).await;
    ground.delete("configmaps/owner", &json!({"propagationPolicy": "Orphan"})).await;
    ground.until("configmaps/owner", |answer| answer.code == 404).await;
    ground
        .until("configmaps/left", |answer| answer.at("/metadata/ownerReferences").is_null())
        .await;
    let left = ground.look("configmaps/left").await;
    ground.note("left", left.at("/data"));
}

pub(super) async fn strict_validation_names_every_field(ground: &mut Ground) {
    let mut wrong = deployment("a");
    wrong["spec"]["replica"] = json!(3);
    wrong["spec"]["template"]["spec"]["containers"][0]["imagee"] = json!("main:1");
    ground.create_with(&wrong, "&fieldValidation=Strict").await;
    ground.create_with(&wrong, "&fieldValidation=Warn&dryRun=All").await;
    ground.create_with(&wrong, "&fieldValidation=Ignore").await;
}
