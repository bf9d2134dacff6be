//! Creating, reading, changing, listing and deleting objects.

use serde_json::json;

use crate::bench::{WEB, config, deployment, start};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test(start_paused = true)]
async fn objects_are_created_once_and_found_by_name() {
    let bench = start();
    let made = bench.post(MAPS, &config("a", &json!({"k": "v"}))).await.expect(201);
    assert_eq!(made["metadata"]["creationTimestamp"], "2026-01-01T00:00:00Z");
    assert_eq!(bench.get(&format!("{MAPS}/a")).await.expect(200), made);
    let refused = bench.post(MAPS, &config("a", &json!({}))).await;
    assert_eq!(refused.message(), "configmaps \"a\" already exists");
    refused.expect(409);
    let missing = bench.get(&format!("{MAPS}/b")).await;
    assert_eq!(missing.message(), "configmaps \"b\" not found");
    assert_eq!(missing.expect(404)["details"], json!({"name": "b", "kind": "configmaps"}));
}

#[tokio::test(start_paused = true)]
async fn a_namespace_must_exist_and_must_not_be_ending() {
    let bench = start();
    let mut object = config("a", &json!({}));
    object["metadata"]["namespace"] = "shop".into();
    let path = "/api/v1/namespaces/shop/configmaps";
    let refused = bench.post(path, &object).await;
    assert_eq!(refused.message(), "namespaces \"shop\" not found");
    refused.expect(404);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    let made = bench.post("/api/v1/namespaces", &namespace).await.expect(201);
    assert_eq!(made["metadata"]["labels"]["kubernetes.io/metadata.name"], "shop");
    object["metadata"]["finalizers"] = json!(["example.com/hold"]);
    bench.post(path, &object).await.expect(201);
    bench.settle().await;
    bench.get("/api/v1/namespaces/shop/serviceaccounts/default").await.expect(200);
    let ending = bench.delete("/api/v1/namespaces/shop").await.expect(200);
    assert_eq!(ending["status"]["phase"], "Terminating");
    let refused = bench.post(path, &config("b", &json!({}))).await;
    refused.expect(400);
    let mut late = config("b", &json!({}));
    late["metadata"]["namespace"] = "shop".into();
    let refused = bench.post(path, &late).await;
    assert_eq!(refused.causes(), ["metadata.namespace: namespace shop is being terminated"]);
    refused.expect(403);
    bench.settle().await;
    bench.get("/api/v1/namespaces/shop").await.expect(200);
    bench.merge(&format!("{path}/a"), &json!({"metadata": {"finalizers": null}})).await.expect(200);
    bench.settle().await;
    bench.get("/api/v1/namespaces/shop").await.expect(404);
}

#[tokio::test(start_paused = true)]
async fn a_stale_update_is_a_conflict() {
    let bench = start();
    let made = bench.post(MAPS, &config("a", &json!({"k": "1"}))).await.expect(201);
    let mut newer = made.clone();
    newer["data"]["k"] = "2".into();
    bench.put(&format!("{MAPS}/a"), &newer).await.expect(200);
    let refused = bench.put(&format!("{MAPS}/a"), &newer).await;
    assert_eq!(
        refused.message(),
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again"
    );
    refused.expect(409);
}

#[tokio::test(start_paused = true)]
async fn an_update_that_changes_nothing_keeps_the_resource_version() {
    let bench = start();
    let made = bench.post(MAPS, &config("a", &json!({"k": "1"}))).await.expect(201);
    let same = bench.put(&format!("{MAPS}/a"), &made).await.expect(200);
    assert_eq!(same, made);
}

#[tokio::test(start_paused = true)]
async fn lists_come_in_pages_and_select() {
    let bench = start();
    for name in ["a", "b", "c", "d", "e"] {
        let mut object = config(name, &json!({}));
        object["metadata"]["labels"] =
            json!({"odd": (name == "a" || name == "c" || name == "e").to_string()});
        bench.post(MAPS, &object).await.expect(201);
    }
    let named = |list: &serde_json::Value| -> Vec<String> {
        let items = list["items"].as_array().unwrap();
        items
            .iter()
            .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned())
            .filter(|name| name.len() == 1)
            .collect()
    };
    let odd = bench.get(&format!("{MAPS}?labelSelector=odd%3Dtrue")).await.expect(200);
    assert_eq!(named(&odd), ["a", "c", "e"]);
    let one = bench.get(&format!("{MAPS}?fieldSelector=metadata.name%3Db")).await.expect(200);
    assert_eq!(named(&one), ["b"]);
    let first = bench.get(&format!("{MAPS}?limit=2")).await.expect(200);
    assert_eq!(named(&first), ["a", "b"]);
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = bench.get(&format!("{MAPS}?limit=2&continue={token}")).await.expect(200);
    assert_eq!(named(&second), ["c", "d"]);
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    bench.sandbox.fault(tidegate_sandbox::Fault::ForgetHistory);
    bench.post(MAPS, &config("f", &json!({}))).await.expect(201);
    bench.sandbox.fault(tidegate_sandbox::Fault::ForgetHistory);
    let old = bench.get(&format!("{MAPS}?limit=2&continue={token}")).await;
    assert_eq!(old.value["reason"], "Expired");
    old.expect(410);
}

#[tokio::test(start_paused = true)]
async fn deletion_honours_finalizers_and_preconditions() {
    let bench = start();
    let mut object = config("a", &json!({}));
    object["metadata"]["finalizers"] = json!(["example.com/hold"]);
    bench.post(MAPS, &object).await.expect(201);
    let path = format!("{MAPS}/a");
    let wrong =
        json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "other"}});
    let refused = bench.send("DELETE", &path, "application/json", &wrong.to_string()).await;
    assert!(
        refused.message().contains("the UID in the precondition (other) does not match"),
        "{}",
        refused.message()
    );
    refused.expect(409);
    let held = bench.delete(&path).await.expect(200);
    assert!(held["metadata"]["deletionTimestamp"].is_string());
    let refused = bench
        .merge(
            &path,
            &json!({"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}}),
        )
        .await;
    assert_eq!(refused.code, 422);
    bench.merge(&path, &json!({"metadata": {"finalizers": null}})).await.expect(200);
    bench.get(&path).await.expect(404);
}

#[tokio::test(start_paused = true)]
async fn dependents_follow_their_owner_as_the_policy_says() {
    for (policy, owner_stays, dependent_stays) in
        [("Background", false, false), ("Foreground", false, false), ("Orphan", false, true)]
    {
        let bench = start();
        let owner = bench.post(MAPS, &config("owner", &json!({}))).await.expect(201);
        let mut dependent = config("dependent", &json!({}));
        dependent["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner",
            "uid": owner["metadata"]["uid"], "blockOwnerDeletion": true}]);
        bench.post(MAPS, &dependent).await.expect(201);
        bench.delete(&format!("{MAPS}/owner?propagationPolicy={policy}")).await.expect(200);
        bench.settle().await;
        let code = |stays| if stays { 200 } else { 404 };
        bench.get(&format!("{MAPS}/owner")).await.expect(code(owner_stays));
        let left = bench.get(&format!("{MAPS}/dependent")).await.expect(code(dependent_stays));
        assert!(left["metadata"].get("ownerReferences").is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn fields_of_no_kind_are_refused_warned_of_or_dropped() {
    let bench = start();
    let mut object = deployment("web");
    object["spec"]["nope"] = 1.into();
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let refused = bench.post(&format!("{path}?fieldValidation=Strict"), &object).await;
    assert_eq!(
        refused.message(),
        "Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding error: unknown field \"spec.nope\""
    );
    refused.expect(400);
    let warned = bench.post(&format!("{path}?fieldValidation=Warn&dryRun=All"), &object).await;
    assert_eq!(warned.warnings, ["299 - \"unknown field \\\"spec.nope\\\"\""]);
    warned.expect(201);
    let silent = bench.post(&format!("{path}?fieldValidation=Ignore"), &object).await;
    assert!(silent.warnings.is_empty());
    assert!(silent.expect(201)["spec"].get("nope").is_none());
}

#[tokio::test(start_paused = true)]
async fn scale_reads_and_writes_replicas() {
    let bench = start();
    bench.apply(WEB, "tidegate", &deployment("web")).await.expect(201);
    let scale = bench.get(&format!("{WEB}/scale")).await.expect(200);
    assert_eq!(
        (scale["spec"]["replicas"].as_i64(), scale["status"]["selector"].as_str()),
        (Some(2), Some("app=web"))
    );
    bench.merge(&format!("{WEB}/scale"), &json!({"spec": {"replicas": 4}})).await.expect(200);
    let object = bench.get(WEB).await.expect(200);
    assert_eq!(object["spec"]["replicas"], 4);
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    assert!(entries.iter().any(|entry| entry["subresource"] == "scale"
        && entry["fieldsV1"] == json!({"f:spec": {"f:replicas": {}}})));
}

#[tokio::test(start_paused = true)]
async fn an_eviction_spends_the_budget_and_then_is_refused() {
    let bench = start();
    let pod = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", "uid": name, "labels": {"app": "db"}},
            "spec": {"containers": [{"name": "main", "image": "db:1"}]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}})
    };
    let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": "db", "namespace": "default", "generation": 1},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "db"}}},
        "status": {"observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2}});
    bench.sandbox.seed([pod("db-0"), pod("db-1"), budget]);
    let eviction = |name: &str| json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "default"}});
    let pods = "/api/v1/namespaces/default/pods";
    bench.post(&format!("{pods}/db-0/eviction"), &eviction("db-0")).await.expect(201);
    let refused = bench.post(&format!("{pods}/db-1/eviction"), &eviction("db-1")).await;
    assert_eq!(
        refused.message(),
        "Cannot evict pod as it would violate the pod's disruption budget."
    );
    assert_eq!(refused.value["details"]["causes"][0]["reason"], "DisruptionBudget");
    refused.expect(429);
    bench.get(&format!("{pods}/db-1")).await.expect(200);
}

#[tokio::test(start_paused = true)]
async fn services_get_addresses_and_ports_of_their_own() {
    let bench = start();
    let path = "/api/v1/namespaces/default/services";
    let service = |name: &str, kind: &str| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"type": kind,
            "selector": {"app": name}, "ports": [{"port": 80}]}})
    };
    let one = bench.post(path, &service("one", "ClusterIP")).await.expect(201);
    let two = bench.post(path, &service("two", "NodePort")).await.expect(201);
    assert_eq!(one["spec"]["clusterIP"], "10.96.0.2");
    assert_eq!(two["spec"]["clusterIPs"], json!(["10.96.0.3"]));
    assert_eq!(one["spec"]["ports"][0], json!({"port": 80, "protocol": "TCP", "targetPort": 80}));
    assert_eq!(two["spec"]["ports"][0]["nodePort"], 30_000);
    let again = bench.put(&format!("{path}/one"), &service("one", "ClusterIP")).await.expect(200);
    assert_eq!(again["spec"]["clusterIP"], "10.96.0.2", "an update without the address keeps it");
    let mut moved = service("one", "ClusterIP");
    moved["spec"]["clusterIP"] = "10.96.0.9".into();
    let refused = bench.put(&format!("{path}/one"), &moved).await;
    assert_eq!(
        refused.causes(),
        ["spec.clusterIPs[0]: Invalid value: [\"10.96.0.9\"]: may not change once set"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_claim_stays_while_a_pod_uses_it() {
    let bench = start();
    let claims = "/api/v1/namespaces/default/persistentvolumeclaims";
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let made = bench.post(claims, &claim).await.expect(201);
    assert_eq!(made["metadata"]["finalizers"], json!(["kubernetes.io/pvc-protection"]));
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "user"}, "spec": {"terminationGracePeriodSeconds": 0,
        "containers": [{"name": "main", "image": "a:1"}],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]}});
    bench.post("/api/v1/namespaces/default/pods", &pod).await.expect(201);
    bench.delete(&format!("{claims}/data")).await.expect(200);
    bench.settle().await;
    bench.get(&format!("{claims}/data")).await.expect(200);
    bench.delete("/api/v1/namespaces/default/pods/user?gracePeriodSeconds=0").await.expect(200);
    bench.settle().await;
    bench.get(&format!("{claims}/data")).await.expect(404);
}

#[tokio::test(start_paused = true)]
async fn a_daemon_set_counts_its_templates() {
    let bench = start();
    let path = "/apis/apps/v1/namespaces/default/daemonsets/agent";
    let set = |image: &str| {
        json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent"}, "spec": {
            "selector": {"matchLabels": {"app": "agent"}}, "template": {"metadata": {"labels": {"app": "agent"}},
                "spec": {"containers": [{"name": "main", "image": image}]}}}})
    };
    for (image, wanted) in [("a:1", "1"), ("a:1", "1"), ("a:2", "2")] {
        let told = bench.apply(path, "tidegate", &set(image)).await.value;
        assert_eq!(
            told["metadata"]["annotations"]["deprecated.daemonset.template.generation"],
            wanted
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_hands_on_to_a_pod_that_is_ready_and_answers_queries_as_its_image_says() {
    let bench = start();
    let pods = "/api/v1/namespaces/default/pods";
    for (name, image) in [
        ("some", "prom/prometheus:v2-prom-0.02"),
        ("none", "prom/prometheus:v2-prom-none"),
        ("infinite", "prom-+Inf/prometheus:prom-Inf"),
        ("page", "web:1"),
        ("fails", "web:check-fail"),
        ("slow", "web:never-ready"),
    ] {
        let pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "labels": {"app": name}},
            "spec": {"containers": [{"name": "c", "image": image,
                "ports": [{"name": "web", "containerPort": 9090}]}]}});
        bench.post(pods, &pod).await.expect(201);
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": {"app": name}, "ports": [
                {"name": "query", "port": 80, "targetPort": "web"},
                {"name": "other", "port": 81, "targetPort": 9091}]}});
        bench.post("/api/v1/namespaces/default/services", &service).await.expect(201);
    }
    tokio::time::sleep(std::time::Duration::from_secs(30)).await;
    let of = async |name: &str, rest: &str| {
        let path = format!("/api/v1/namespaces/default/services/{name}/proxy/{rest}");
        bench.get(&path).await
    };
    let query = "api/v1/query?query=up";
    let vector = |result: &serde_json::Value| json!({"status": "success", "data": {"resultType": "vector", "result": result}});
    for port in ["80", "query"] {
        let found = of(&format!("some:{port}"), query).await.expect(200);
        let at = found["data"]["result"][0]["value"][0].clone();
        assert!(at.is_i64(), "{found}");
        assert_eq!(found, vector(&json!([{"metric": {}, "value": [at, "0.02"]}])));
    }
    let below = of("http:some:80", "select/prometheus/api/v1/query?query=up").await.expect(200);
    assert_eq!(below["data"]["result"][0]["value"][1], "0.02");
    assert_eq!(of("none:80", query).await.expect(200), vector(&json!([])));
    let infinite = of("infinite:80", query).await.expect(200);
    assert_eq!(infinite["data"]["result"][0]["value"][1], "Inf");
    let nothing = of("some:80", "api/v1/query").await.expect(400);
    assert_eq!(nothing["errorType"], "bad_data");
    assert_eq!(of("some:80", "metrics").await.expect(200), "ok\n");
    assert_eq!(of("page:80", query).await.expect(200), "ok\n");
    assert_eq!(of("fails:80", query).await.expect(500), "fails\n");
    let nobody = of("some:81", query).await;
    assert!(nobody.message().ends_with(":9091: connect: connection refused"), "{nobody:?}");
    nobody.expect(503);
    let unready = of("slow:80", query).await;
    assert_eq!(unready.message(), "no endpoints available for service \"slow:80\"");
    unready.expect(503);
}
