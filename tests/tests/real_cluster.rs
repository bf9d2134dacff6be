//! The real control plane and its fake kubelet do what the other tests count on.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test is to stop at what it did not expect"
)]

use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim, Pod, Service};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::discovery::ApiResource;
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use tidegate_tests::real_cluster::{NODES, RealCluster};

/// A client and a namespace of the test's own.
async fn namespace(name: &str) -> Option<(Client, String)> {
    let client = RealCluster::shared()?.client().await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let namespaces = Api::<Namespace>::all(client.clone());
    let namespace = serde_json::from_value(namespace).unwrap();
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    Some((client, name.to_owned()))
}

fn api(client: &Client, namespace: &str, group: &str, kind: &str) -> Api<DynamicObject> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind));
    Api::namespaced_with(client.clone(), namespace, &kind)
}

async fn apply(client: &Client, namespace: &str, group: &str, object: &Value) {
    let api = api(client, namespace, group, object["kind"].as_str().unwrap());
    let name = object["metadata"]["name"].as_str().unwrap();
    api.patch(name, &PatchParams::apply("test"), &Patch::Apply(object)).await.unwrap();
}

/// Polls until the objects are as wanted.
async fn until<K, F>(api: &Api<K>, wanted: F) -> Vec<K>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
    F: Fn(&[K]) -> bool,
{
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let found = api.list(&ListParams::default()).await.unwrap().items;
        if wanted(&found) {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "not in time: {found:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn template(tag: &str) -> Value {
    json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "a", "image": format!("app:{tag}")}]}})
}

#[tokio::test]
async fn a_deployment_becomes_available_and_its_pods_are_spread() {
    let Some((client, namespace)) = namespace("kubelet-deployment").await else { return };
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"},
        "spec": {"replicas": NODES, "selector": {"matchLabels": {"app": "a"}}, "template": template("1")},
    });
    apply(&client, &namespace, "apps", &deployment).await;
    let deployments = api(&client, &namespace, "apps", "Deployment");
    let available = |d: &DynamicObject| d.data["status"]["availableReplicas"] == json!(NODES);
    until(&deployments, |found| found.iter().any(available)).await;
    let pods =
        Api::<Pod>::namespaced(client, &namespace).list(&ListParams::default()).await.unwrap();
    let mut nodes: Vec<_> = pods.iter().filter_map(|pod| pod.spec.clone()?.node_name).collect();
    nodes.sort();
    nodes.dedup();
    assert_eq!(nodes.len(), NODES, "{nodes:?}");
}

#[tokio::test]
async fn a_stateful_set_with_claims_gets_its_volumes_and_goes_away_with_its_namespace() {
    let Some((client, namespace)) = namespace("kubelet-stateful-set").await else { return };
    let set = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "a"},
        "spec": {
            "replicas": 2, "serviceName": "a", "selector": {"matchLabels": {"app": "a"}}, "template": template("1"),
            "volumeClaimTemplates": [{"metadata": {"name": "disk"}, "spec": {
                "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}],
        },
    });
    apply(&client, &namespace, "apps", &set).await;
    let sets = api(&client, &namespace, "apps", "StatefulSet");
    until(&sets, |found| found.iter().any(|set| set.data["status"]["readyReplicas"] == json!(2)))
        .await;
    let claims = Api::<PersistentVolumeClaim>::namespaced(client.clone(), &namespace);
    let claims = claims.list(&ListParams::default()).await.unwrap();
    assert_eq!(
        claims.iter().map(kube::ResourceExt::name_any).collect::<Vec<_>>(),
        ["disk-a-0", "disk-a-1"]
    );

    let namespaces = Api::<Namespace>::all(client);
    namespaces.delete(&namespace, &DeleteParams::default()).await.unwrap();
    until(&namespaces, |found| found.iter().all(|other| other.name_any() != namespace)).await;
}

#[tokio::test]
async fn jobs_end_and_pods_with_words_fail_as_told() {
    let Some((client, namespace)) = namespace("kubelet-words").await else { return };
    for (name, tag) in [("good", "1"), ("bad", "fail")] {
        let mut template = template(tag);
        template["spec"]["restartPolicy"] = json!("Never");
        let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
            "spec": {"backoffLimit": 0, "template": template}});
        apply(&client, &namespace, "batch", &job).await;
    }
    for (name, tag) in [("crash", "crash"), ("pull", "pull-fail"), ("never", "never-ready")] {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": template(tag)["spec"]});
        apply(&client, &namespace, "", &pod).await;
    }
    let jobs = api(&client, &namespace, "batch", "Job");
    let ended = |name: &str, found: &[DynamicObject], field: &str| {
        found.iter().any(|job| job.name_any() == name && job.data["status"][field] == json!(1))
    };
    until(&jobs, |found| ended("good", found, "succeeded") && ended("bad", found, "failed")).await;
    let pods = Api::<Pod>::namespaced(client, &namespace);
    let waits = |name: &str, found: &[Pod], reason: &str| {
        let pod = found.iter().find(|pod| pod.name_any() == name);
        let state =
            pod.and_then(|pod| pod.status.clone()?.container_statuses?.first()?.state.clone());
        state.and_then(|state| state.waiting?.reason).as_deref() == Some(reason)
    };
    until(&pods, |found| {
        waits("crash", found, "CrashLoopBackOff") && waits("pull", found, "ImagePullBackOff")
    })
    .await;
}

#[tokio::test]
async fn pods_of_other_schedulers_and_of_other_nodes_are_left_alone() {
    let Some((client, namespace)) = namespace("kubelet-others").await else { return };
    // The last one that is created is the last one that is served.
    for (name, field, value) in [
        ("other-scheduler", "schedulerName", "nobody"),
        ("other-node", "nodeName", "nowhere"),
        ("own", "schedulerName", "default-scheduler"),
    ] {
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": template("1")["spec"]});
        pod["spec"][field] = json!(value);
        apply(&client, &namespace, "", &pod).await;
    }
    let pods = Api::<Pod>::namespaced(client, &namespace);
    let phase = |pod: &Pod| pod.status.clone().and_then(|status| status.phase);
    let runs = |pod: &Pod| pod.name_any() == "own" && phase(pod).as_deref() == Some("Running");
    let found = until(&pods, |found| found.iter().any(runs)).await;
    let others: Vec<_> = found.iter().filter(|pod| pod.name_any() != "own").collect();
    assert_eq!(others.len(), 2);
    for pod in others {
        let status = pod.status.clone().unwrap();
        assert_eq!(status.phase.as_deref(), Some("Pending"), "{pod:#?}");
        assert!(status.conditions.is_none() && status.container_statuses.is_none(), "{pod:#?}");
    }
}

#[tokio::test]
async fn a_load_balancer_gets_an_address() {
    let Some((client, namespace)) = namespace("kubelet-address").await else { return };
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80, "protocol": "TCP"}]}});
    apply(&client, &namespace, "", &service).await;
    let services = Api::<Service>::namespaced(client, &namespace);
    let has_address = |service: &Service| {
        let balancer = service.status.clone().and_then(|status| status.load_balancer);
        balancer.is_some_and(|balancer| balancer.ingress.is_some())
    };
    until(&services, |found| found.iter().any(has_address)).await;
}
