//! What the server adds to objects, and what it refuses: defaults, canonical forms, fields that stay, invalid values.

use http::Method;
use serde_json::{Value, json};

use super::ground::{Ground, JSON, unserved_pod};

const MERGE: &str = "application/merge-patch+json";

fn pod_spec() -> Value {
    json!({"containers": [{
        "name": "main",
        "image": "main",
        "ports": [{"containerPort": 80}],
        "env": [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "readinessProbe": {"httpGet": {"path": "/", "port": 80}},
        "livenessProbe": {"tcpSocket": {"port": "http"}},
        "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
        "volumeMounts": [{"name": "config", "mountPath": "/config"}],
    }], "volumes": [
        {"name": "config", "configMap": {"name": "config"}},
        {"name": "secret", "secret": {"secretName": "secret"}},
        {"name": "scratch", "emptyDir": {}},
        {"name": "host", "hostPath": {"path": "/var/log"}},
        {"name": "about", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        {"name": "all", "projected": {"sources": [{"configMap": {"name": "config"}}]}},
    ]})
}

fn workload(kind: &str, spec: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "a"},
        "spec": {
            "selector": {"matchLabels": {"app": "a"}},
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "main", "image": "main:1"}]}},
        },
    });
    for (name, value) in spec.as_object().into_iter().flatten() {
        object["spec"][name] = value.clone();
    }
    object
}

fn claim() -> Value {
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "a"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}})
}

pub(super) async fn a_deployment_is_completed(ground: &mut Ground) {
    let mut object = workload("Deployment", &json!({}));
    object["spec"]["template"]["spec"] = pod_spec();
    ground.create_with(&object, "&dryRun=All").await;
    let recreate = workload("Deployment", &json!({"strategy": {"type": "Recreate"}}));
    ground.create_with(&recreate, "&dryRun=All").await;
    let surge = json!({"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "30%"}}});
    ground.create_with(&workload("Deployment", &surge), "&dryRun=All").await;
}

pub(super) async fn a_stateful_set_is_completed(ground: &mut Ground) {
    let claims = json!([{"metadata": {"name": "disk"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}]);
    let spec = json!({"serviceName": "a", "volumeClaimTemplates": claims});
    ground.create_with(&workload("StatefulSet", &spec), "&dryRun=All").await;
    let spec = json!({"serviceName": "a", "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}});
    ground.create_with(&workload("StatefulSet", &spec), "&dryRun=All").await;
}

pub(super) async fn a_daemon_set_is_completed(ground: &mut Ground) {
    ground.create_with(&workload("DaemonSet", &json!({})), "&dryRun=All").await;
    let spec = json!({"updateStrategy": {"type": "OnDelete"}});
    ground.create_with(&workload("DaemonSet", &spec), "&dryRun=All").await;
}

fn job(spec: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "main:1"}]}}},
    });
    for (name, value) in spec.as_object().into_iter().flatten() {
        object["spec"][name] = value.clone();
    }
    object
}

pub(super) async fn a_job_is_completed(ground: &mut Ground) {
    ground.create_with(&job(&json!({})), "&dryRun=All").await;
    ground.create_with(&job(&json!({"parallelism": 3, "backoffLimit": 0})), "&dryRun=All").await;
}

pub(super) async fn a_service_is_completed(ground: &mut Ground) {
    // Written and not tried, since older servers give addresses only then.
    for (name, spec) in [
        ("a", json!({"ports": [{"port": 80}]})),
        (
            "b",
            json!({"clusterIP": "None", "selector": {"app": "a"}, "ports": [{"port": 80, "targetPort": "web"}]}),
        ),
        (
            "c",
            json!({"type": "LoadBalancer", "ports": [{"port": 80}], "sessionAffinity": "ClientIP"}),
        ),
        ("d", json!({"type": "ExternalName", "externalName": "example.com"})),
    ] {
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec});
        ground.create(&service).await;
    }
}

pub(super) async fn a_claim_is_completed(ground: &mut Ground) {
    let created = ground.create_with(&claim(), "&dryRun=All").await;
    ground.note("mode", created.at("/spec/volumeMode"));
}

pub(super) async fn a_budget_is_completed(ground: &mut Ground) {
    let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "a"},
        "spec": {"minAvailable": "50%", "selector": {"matchLabels": {"app": "a"}}}});
    ground.create_with(&budget, "&dryRun=All").await;
    let mut both = budget;
    both["spec"]["maxUnavailable"] = json!(1);
    ground.create_with(&both, "&dryRun=All").await;
}

pub(super) async fn an_ingress_is_completed(ground: &mut Ground) {
    let rule = |path: Value| {
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "a"},
            "spec": {"rules": [{"host": "a.example.com", "http": {"paths": [path]}}]}})
    };
    let backend = json!({"service": {"name": "a", "port": {"number": 80}}});
    let good = json!({"path": "/", "pathType": "Prefix", "backend": backend});
    ground.create_with(&rule(good), "&dryRun=All").await;
    ground.create_with(&rule(json!({"path": "/", "backend": backend})), "&dryRun=All").await;
    ground
        .create_with(
            &rule(json!({"path": "x", "pathType": "Exact", "backend": backend})),
            "&dryRun=All",
        )
        .await;
}

pub(super) async fn a_pod_is_completed(ground: &mut Ground) {
    let mut pod =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": pod_spec()});
    pod["spec"]["initContainers"] = json!([{"name": "first", "image": "first:1"}]);
    ground.create_with(&pod, "&dryRun=All").await;
}

pub(super) async fn quantities_are_canonical(ground: &mut Ground) {
    let with = |requests: Value| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [
            {"name": "main", "image": "main:1", "resources": {"requests": requests}}]}})
    };
    for quantity in [
        json!({"cpu": "0.5", "memory": "1024Mi"}),
        json!({"cpu": "1000m", "memory": "1G"}),
        json!({"cpu": "1.5", "memory": "1.5Gi"}),
        json!({"cpu": 2, "memory": 1_000_000}),
        json!({"cpu": "1e3", "memory": "100e6"}),
        json!({"cpu": "0.0001", "memory": "2048"}),
        json!({"cpu": "many"}),
        json!({"cpu": "-1"}),
    ] {
        let created = ground.create_with(&with(quantity.clone()), "&dryRun=All").await;
        ground.note(&quantity.to_string(), created.at("/spec/containers/0/resources/requests"));
    }
}

pub(super) async fn secrets_take_plain_text(ground: &mut Ground) {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"},
        "data": {"a": "MQ=="}, "stringData": {"b": "two"}});
    ground.create(&secret).await;
    let odd = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "b"}, "data": {"a": "not base64"}});
    let answer = ground.quietly(&Method::POST, "secrets", JSON, Some(&odd)).await;
    ground.note("code", &json!(answer.code));
    let tls = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "b"}, "type": "kubernetes.io/tls", "data": {}});
    ground.create(&tls).await;
    ground.patch("merge", "secrets/a", &json!({"type": "other"})).await;
}

pub(super) async fn a_deployments_selector_stays(ground: &mut Ground) {
    ground.set_up(&workload("Deployment", &json!({"replicas": 0}))).await;
    let patch = json!({"spec": {"selector": {"matchLabels": {"app": "b"}}, "template": {"metadata": {"labels": {"app": "b"}}}}});
    ground.patch("merge", "deployments/a", &patch).await;
}

pub(super) async fn a_stateful_set_keeps_most_of_its_spec(ground: &mut Ground) {
    ground.set_up(&workload("StatefulSet", &json!({"serviceName": "a", "replicas": 0}))).await;
    let answer =
        ground.patch("merge", "statefulsets/a", &json!({"spec": {"serviceName": "b"}})).await;
    // The list of what may be changed grows with the versions.
    ground.note(
        "code",
        &json!([answer.code, answer.at("/reason"), answer.at("/details/causes/0/field")]),
    );
    ground.patch("merge", "statefulsets/a", &json!({"spec": {"replicas": 0, "updateStrategy": {"rollingUpdate": {"partition": 3}}}})).await;
}

pub(super) async fn a_jobs_template_stays(ground: &mut Ground) {
    ground.set_up(&job(&json!({"parallelism": 0}))).await;
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "main:2"}]}}}});
    let answer = ground.patch("strategic-merge", "jobs/a", &image).await;
    let cause = answer.at("/details/causes/0").clone();
    ground.note("cause", &json!([cause["reason"], cause["field"]]));
    ground.patch("merge", "jobs/a", &json!({"spec": {"completions": 5}})).await;
}

pub(super) async fn a_services_address_stays(ground: &mut Ground) {
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"},
        "spec": {"ports": [{"port": 80, "protocol": "TCP"}]}});
    let held = ground.set_up(&service).await;
    let other = json!({"spec": {"clusterIP": "10.96.77.77", "clusterIPs": ["10.96.77.77"]}});
    let answer = ground.quietly(&Method::PATCH, "services/a", MERGE, Some(&other)).await;
    ground.note("code", &json!([answer.code, answer.at("/reason")]));
    let mut more = service;
    more["metadata"]["resourceVersion"] = json!(held.version());
    more["spec"]["ports"] = json!([{"port": 81, "protocol": "TCP"}]);
    for field in ["clusterIP", "clusterIPs"] {
        more["spec"][field] = held.body["spec"][field].clone();
    }
    ground.replace(&more).await;
}

/// <https://github.com/kubernetes/kubernetes/pull/104672>
pub(super) async fn an_address_that_is_left_out_is_kept(ground: &mut Ground) {
    let mut service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"},
        "spec": {"ports": [{"port": 80, "protocol": "TCP"}]}});
    let held = ground.set_up(&service).await;
    service["metadata"]["resourceVersion"] = json!(held.version());
    service["spec"]["ports"] = json!([{"port": 81, "protocol": "TCP"}]);
    let answer = ground.replace(&service).await;
    let is_kept = answer.at("/spec/clusterIP") == held.at("/spec/clusterIP");
    ground.note("kept", &json!(is_kept));
}

pub(super) async fn a_role_binding_keeps_its_role(ground: &mut Ground) {
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "a"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "one"},
        "subjects": [{"kind": "User", "name": "ann"}, {"kind": "ServiceAccount", "name": "bot"}]});
    ground.create(&binding).await;
    let mut good = binding;
    good["subjects"][1]["namespace"] = json!("default");
    ground.create(&good).await;
    ground.patch("merge", "rolebindings/a", &json!({"roleRef": {"name": "two"}})).await;
}

pub(super) async fn a_pods_spec_stays(ground: &mut Ground) {
    ground.set_up(&unserved_pod("a")).await;
    let image = json!({"spec": {"containers": [{"name": "main", "image": "main:2"}]}});
    let answer = ground.patch("strategic-merge", "pods/a", &image).await;
    ground.note("image", answer.at("/spec/containers/0/image"));
    let answer = ground.patch("merge", "pods/a", &json!({"spec": {"hostNetwork": true}})).await;
    // The message shows the whole specification.
    ground.note(
        "code",
        &json!([answer.code, answer.at("/reason"), answer.at("/details/causes/0/reason")]),
    );
}

pub(super) async fn an_immutable_config_map_stays(ground: &mut Ground) {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "immutable": true, "data": {"a": "1"}});
    ground.create(&object).await;
    ground.patch("merge", "configmaps/a", &json!({"data": {"a": "2"}})).await;
    ground.patch("merge", "configmaps/a", &json!({"immutable": false})).await;
    ground.patch("merge", "configmaps/a", &json!({"metadata": {"labels": {"a": "1"}}})).await;
}

pub(super) async fn a_claim_keeps_its_spec(ground: &mut Ground) {
    ground.set_up(&claim()).await;
    let answer = ground
        .patch(
            "merge",
            "persistentvolumeclaims/a",
            &json!({"spec": {"accessModes": ["ReadWriteMany"]}}),
        )
        .await;
    ground.note("code", &json!([answer.code, answer.at("/reason")]));
}

pub(super) async fn invalid_workloads_are_refused(ground: &mut Ground) {
    ground.create(&workload("Deployment", &json!({"replicas": -1}))).await;
    ground
        .create(&workload("Deployment", &json!({"selector": {"matchLabels": {"app": "other"}}})))
        .await;
    ground.create(&workload("Deployment", &json!({"selector": {}}))).await;
    ground.create(&workload("Deployment", &json!({"template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": []}}}))).await;
    let spec = json!({"containers": [
        {"name": "main", "image": "main:1"}, {"name": "main", "image": ""}, {"name": "Bad_Name", "image": "x"}]});
    ground
        .create(&workload(
            "Deployment",
            &json!({"template": {"metadata": {"labels": {"app": "a"}}, "spec": spec}}),
        ))
        .await;
    let spec = json!({"containers": [{"name": "main", "image": "main:1",
        "volumeMounts": [{"name": "missing", "mountPath": "/x"}],
        "ports": [{"containerPort": 70000}],
        "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}]});
    ground
        .create(&workload(
            "Deployment",
            &json!({"template": {"metadata": {"labels": {"app": "a"}}, "spec": spec}}),
        ))
        .await;
    ground
        .create(&workload(
            "Deployment",
            &json!({"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}}),
        ))
        .await;
    let mut restarted = job(&json!({}));
    restarted["spec"]["template"]["spec"]["restartPolicy"] = json!("Always");
    ground.create(&restarted).await;
}

pub(super) async fn invalid_services_are_refused(ground: &mut Ground) {
    let with = |spec: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": spec});
    for spec in [
        json!({}),
        json!({"ports": [{"port": 0}]}),
        json!({"ports": [{"port": 80}, {"port": 81}]}),
        json!({"ports": [{"name": "a", "port": 80}, {"name": "a", "port": 81}]}),
        json!({"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 80}]}),
        json!({"ports": [{"port": 80, "protocol": "ICMP"}]}),
        json!({"ports": [{"port": 80, "targetPort": "Not A Name"}]}),
        json!({"type": "Sideways", "ports": [{"port": 80}]}),
        json!({"selector": {"bad key": "x"}, "ports": [{"port": 80}]}),
    ] {
        ground.create(&with(spec)).await;
    }
}
