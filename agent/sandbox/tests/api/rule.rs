//! What the server refuses: incomplete objects and changes of what is fixed.

use serde_json::{Value, json};

use crate::bench::{WEB, config, deployment, start};

#[tokio::test(start_paused = true)]
async fn every_fault_of_an_object_is_told_at_once() {
    let bench = start();
    let mut object = deployment("web");
    object["metadata"]["name"] = "Web".into();
    object["spec"]["replicas"] = (-1).into();
    object["spec"]["selector"] = json!({"matchLabels": {"app": "other"}});
    object["spec"]["template"]["spec"]["containers"] = json!([{"name": "main", "ports": [{"containerPort": 0}],
        "volumeMounts": [{"name": "none", "mountPath": "/x"}]}]);
    let refused = bench.post("/apis/apps/v1/namespaces/default/deployments", &object).await;
    let fields: Vec<String> =
        refused.causes().iter().map(|cause| cause.split(": ").next().unwrap().to_owned()).collect();
    assert_eq!(
        fields,
        [
            "metadata.name",
            "spec.replicas",
            "spec.template.spec.containers[0].image",
            "spec.template.spec.containers[0].ports[0].containerPort",
            "spec.template.spec.containers[0].volumeMounts[0].name",
            "spec.template.metadata.labels",
        ]
    );
    assert!(refused.message().starts_with("Deployment.apps \"Web\" is invalid: [metadata.name: Invalid value: \"Web\": a lowercase RFC 1123"));
    refused.expect(422);
}

#[tokio::test(start_paused = true)]
async fn selectors_are_fixed() {
    let bench = start();
    bench.apply(WEB, "tidegate", &deployment("web")).await.expect(201);
    let mut object = deployment("web");
    object["spec"]["selector"]["matchLabels"]["app"] = "new".into();
    object["spec"]["template"]["metadata"]["labels"]["app"] = "new".into();
    let refused = bench.apply(WEB, "tidegate", &object).await;
    assert_eq!(
        refused.causes(),
        ["spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"new\"}}: field is immutable"]
    );
    refused.expect(422);
}

fn stateful() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"}, "spec": {
        "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
        "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "main", "image": "db:1",
            "volumeMounts": [{"name": "data", "mountPath": "/data"}]}]}},
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1024Mi"}}}}]}})
}

#[tokio::test(start_paused = true)]
async fn a_stateful_set_may_change_only_some_fields() {
    let bench = start();
    let path = "/apis/apps/v1/namespaces/default/statefulsets/db";
    let made = bench.apply(path, "tidegate", &stateful()).await.expect(201);
    let claim = &made["spec"]["volumeClaimTemplates"][0];
    assert_eq!(claim["spec"]["resources"]["requests"]["storage"], "1Gi");
    assert_eq!(
        (claim["kind"].as_str(), claim["status"]["phase"].as_str()),
        (Some("PersistentVolumeClaim"), Some("Pending"))
    );
    let again = bench.apply(path, "tidegate", &stateful()).await.expect(200);
    assert_eq!(again["metadata"]["generation"], 1, "defaults inside an atomic list are no change");
    let mut object = stateful();
    object["spec"]["template"]["spec"]["containers"][0]["image"] = "db:2".into();
    object["spec"]["updateStrategy"] = json!({"rollingUpdate": {"partition": 2}});
    bench.apply(path, "tidegate", &object).await.expect(200);
    object["spec"]["serviceName"] = "other".into();
    let refused = bench.apply(path, "tidegate", &object).await;
    assert_eq!(
        refused.causes(),
        [
            "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_job_gets_its_selector_and_keeps_its_template() {
    let bench = start();
    let job = |image: &str| {
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once"}, "spec": {
            "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": image}]}}}})
    };
    let path = "/apis/batch/v1/namespaces/default/jobs/once";
    let made = bench.apply(path, "tidegate", &job("task:1")).await.expect(201);
    let uid = &made["metadata"]["uid"];
    assert_eq!(&made["spec"]["selector"]["matchLabels"]["batch.kubernetes.io/controller-uid"], uid);
    assert_eq!(made["spec"]["template"]["metadata"]["labels"]["job-name"], "once");
    bench.apply(path, "tidegate", &job("task:1")).await.expect(200);
    let refused = bench.apply(path, "tidegate", &job("task:2")).await;
    assert_eq!(refused.causes().len(), 1);
    assert!(refused.causes()[0].starts_with("spec.template: Invalid value: "));
    assert!(refused.causes()[0].ends_with(": field is immutable"));
    let mut always = job("task:1");
    always["metadata"]["name"] = "twice".into();
    always["spec"]["template"]["spec"]["restartPolicy"] = "Always".into();
    let refused = bench.post("/apis/batch/v1/namespaces/default/jobs", &always).await;
    assert_eq!(
        refused.causes(),
        [
            "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn role_refs_claims_and_immutable_maps_do_not_change() {
    let bench = start();
    let binding = |role: &str| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "b"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role}})
    };
    let path = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings/b";
    bench.apply(path, "tidegate", &binding("one")).await.expect(201);
    let refused = bench.apply(path, "tidegate", &binding("two")).await;
    assert!(refused.causes()[0].ends_with(": cannot change roleRef"), "{:?}", refused.causes());

    let claim = |size: &str, class: &str| {
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": class, "resources": {"requests": {"storage": size}}}})
    };
    let path = "/api/v1/namespaces/default/persistentvolumeclaims/data";
    bench.apply(path, "tidegate", &claim("1Gi", "standard")).await.expect(201);
    let refused = bench.apply(path, "tidegate", &claim("1Gi", "fast")).await;
    assert_eq!(
        refused.causes(),
        [
            "spec: Forbidden: spec is immutable after creation except resources.requests for bound claims"
        ]
    );

    let mut fixed = config("fixed", &json!({"k": "1"}));
    fixed["immutable"] = true.into();
    let path = "/api/v1/namespaces/default/configmaps/fixed";
    bench.apply(path, "tidegate", &fixed).await.expect(201);
    fixed["data"]["k"] = "2".into();
    let refused = bench.apply(path, "tidegate", &fixed).await;
    assert_eq!(refused.causes(), ["data: Forbidden: field is immutable when `immutable` is set"]);
}

#[tokio::test(start_paused = true)]
async fn secrets_keep_text_as_base64() {
    let bench = start();
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": "v"}});
    let made = bench.post("/api/v1/namespaces/default/secrets", &secret).await.expect(201);
    assert_eq!((&made["data"], &made["type"]), (&json!({"k": "dg=="}), &json!("Opaque")));
    assert!(made.get("stringData").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_wrong_type_is_told_in_the_decoders_words() {
    let bench = start();
    let mut object = deployment("web");
    object["spec"]["replicas"] = "two".into();
    let refused = bench.post("/apis/apps/v1/namespaces/default/deployments", &object).await;
    assert_eq!(
        refused.message(),
        "Deployment in version \"v1\" cannot be handled as a Deployment: json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"
    );
    refused.expect(400);
}
