//! The controllers behind the sandbox's own store, whose rules their writes have to pass.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::bench::workload;
use crate::controller::object::{at, condition_is_true, items, name, set, text};
use crate::{Options, Sandbox};

async fn until(sandbox: &Sandbox, what: &str, test: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let limit = sandbox.now() + jiff::SignedDuration::from_secs(600);
    while sandbox.now() < limit {
        let objects = sandbox.snapshot();
        if test(&objects) {
            return objects;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let objects = sandbox.snapshot();
    let kinds = [
        "Pod",
        "Deployment",
        "StatefulSet",
        "ReplicaSet",
        "DaemonSet",
        "Job",
        "Service",
        "EndpointSlice",
        "PodDisruptionBudget",
        "HorizontalPodAutoscaler",
    ];
    let statuses: Vec<String> = kinds
        .iter()
        .flat_map(|kind| of(&objects, kind))
        .map(|object| format!("{} {} {}", text(object, "kind"), name(object), at(object, "status")))
        .collect();
    panic!("never: {what}\n{}", statuses.join("\n"));
}

fn of<'a>(objects: &'a [Value], kind: &str) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |object| text(object, "kind") == kind)
}

#[tokio::test]
async fn their_writes_pass_the_rules_of_the_api() {
    let start: Timestamp = "2026-11-21T06:00:00Z".parse().unwrap();
    let sandbox =
        Sandbox::start(Options { start: Some(start), speed: 50.0, ..Options::default() }).unwrap();
    let claim = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": "open-local-lvm-default",
        },
    });
    let spec = json!({
        "replicas": 2,
        "serviceName": "db",
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        "volumeClaimTemplates": [claim],
    });
    let mut task = workload("Job", "task", "task:1", &json!({"completions": 1, "parallelism": 1}));
    set(&mut task, "spec/template/spec/restartPolicy", json!("Never"));
    set(&mut task, "spec/backoffLimit", json!(2));
    sandbox.seed([
        workload(
            "Deployment",
            "web",
            "web:1",
            &json!({"replicas": 3, "strategy": {"type": "RollingUpdate"}}),
        ),
        workload("StatefulSet", "db", "db:1", &spec),
        workload(
            "DaemonSet",
            "agent",
            "agent:1",
            &json!({"updateStrategy": {"type": "RollingUpdate"}}),
        ),
        workload(
            "Deployment",
            "bad",
            "bad:pull-fail",
            &json!({"replicas": 1, "strategy": {"type": "Recreate"}}),
        ),
        task,
    ]);
    sandbox.seed(around_web());
    let is_ready =
        |object: &&Value, wanted: i64| at(object, "status/readyReplicas").as_i64() == Some(wanted);
    let objects = until(&sandbox, "all ready", |objects| {
        of(objects, "Deployment").any(|object| is_ready(&object, 3))
            && of(objects, "StatefulSet").all(|object| is_ready(&object, 2))
            && of(objects, "DaemonSet").all(|set| at(set, "status/numberReady") == 3)
            && of(objects, "Job").all(|job| condition_is_true(at(job, "status"), "Complete"))
            && of(objects, "PodDisruptionBudget").all(|b| at(b, "status/disruptionsAllowed") == 1)
            && of(objects, "HorizontalPodAutoscaler").all(|h| at(h, "status/currentReplicas") == 3)
            && of(objects, "Service").any(|s| !items(s, "status/loadBalancer/ingress").is_empty())
            && of(objects, "EndpointSlice").any(|slice| items(slice, "endpoints").len() == 3)
    })
    .await;
    let pod = of(&objects, "Pod").find(|pod| name(pod) == "db-0").unwrap();
    assert_eq!(text(pod, "status/phase"), "Running");
    assert_eq!(of(&objects, "PersistentVolume").count(), 2);

    let mut web = of(&objects, "Deployment").find(|web| name(web) == "web").unwrap().clone();
    web["spec"]["template"]["spec"]["containers"][0]["image"] = json!("web:2");
    web["metadata"]["generation"] = json!(2);
    sandbox.seed([web]);
    until(&sandbox, "rolled over", |objects| {
        let pods: Vec<&Value> =
            of(objects, "Pod").filter(|pod| name(pod).starts_with("web")).collect();
        pods.len() == 3
            && pods.iter().all(|pod| pod["spec"]["containers"][0]["image"] == "web:2")
            && of(objects, "Deployment").any(|object| is_ready(&object, 3))
    })
    .await;
    rests(&sandbox).await;
}

/// What else a real app has beside its Deployment.
fn around_web() -> Vec<Value> {
    vec![
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {
                "type": "LoadBalancer",
                "selector": {"app": "web"},
                "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}],
            },
        }),
        json!({
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"selector": {"matchLabels": {"app": "web"}}, "maxUnavailable": 1},
        }),
        json!({
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {
                "minReplicas": 1,
                "maxReplicas": 9,
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            },
        }),
    ]
}

/// Apart from the pod that is pulled again and again, and the events about it, nothing is written any more.
async fn rests(sandbox: &Sandbox) {
    let versions = || {
        let mut versions: Vec<String> = sandbox
            .snapshot()
            .iter()
            .filter(|object| !name(object).starts_with("bad") && text(object, "kind") != "Event")
            .map(|object| {
                let version = text(object, "metadata/resourceVersion");
                format!("{} {} {version}", text(object, "kind"), name(object))
            })
            .collect();
        versions.sort();
        versions
    };
    let start = sandbox.now();
    let (mut held, mut since) = (versions(), start);
    while sandbox.now().duration_since(since).as_secs() < 60 {
        assert!(sandbox.now().duration_since(start).as_secs() < 600, "never at rest");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        let fresh = versions();
        if fresh != held {
            (held, since) = (fresh, sandbox.now());
        }
    }
}
