//! The controllers behind the sandbox's own store, whose rules their writes have to pass.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::bench::workload;
use crate::controller::object::{at, name, text};
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
    let kinds = ["Pod", "Deployment", "StatefulSet", "ReplicaSet", "PersistentVolumeClaim"];
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
    sandbox.seed([
        workload(
            "Deployment",
            "web",
            "web:1",
            &json!({"replicas": 3, "strategy": {"type": "RollingUpdate"}}),
        ),
        workload("StatefulSet", "db", "db:1", &spec),
    ]);
    let is_ready =
        |object: &&Value, wanted: i64| at(object, "status/readyReplicas").as_i64() == Some(wanted);
    let objects = until(&sandbox, "all ready", |objects| {
        of(objects, "Deployment").all(|object| is_ready(&object, 3))
            && of(objects, "StatefulSet").all(|object| is_ready(&object, 2))
    })
    .await;
    let pod = of(&objects, "Pod").find(|pod| name(pod) == "db-0").unwrap();
    assert_eq!(text(pod, "status/phase"), "Running");
    assert_eq!(of(&objects, "PersistentVolume").count(), 2);

    let mut web = of(&objects, "Deployment").next().unwrap().clone();
    web["spec"]["template"]["spec"]["containers"][0]["image"] = json!("web:2");
    web["metadata"]["generation"] = json!(2);
    sandbox.seed([web]);
    until(&sandbox, "rolled over", |objects| {
        let pods: Vec<&Value> =
            of(objects, "Pod").filter(|pod| name(pod).starts_with("web")).collect();
        pods.len() == 3
            && pods.iter().all(|pod| pod["spec"]["containers"][0]["image"] == "web:2")
            && of(objects, "Deployment").all(|object| is_ready(&object, 3))
    })
    .await;
}
