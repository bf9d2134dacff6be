//! What becomes of objects on their way into a copy.

use super::*;
use tidegate_core::live::Gap;

fn own() -> BTreeSet<String> {
    BTreeSet::from(["iam".to_owned()])
}

fn copied(objects: &[Value]) -> Copied {
    let objects = objects.iter().cloned().map(Object::new).collect();
    Copied { version: "v1.29.3".to_owned(), objects, gaps: BTreeMap::new() }
}

fn object(version: &str, kind: &str, namespace: &str, name: &str, rest: Value) -> Value {
    let mut value = json!({
        "apiVersion": version, "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "uid": format!("uid-{name}")},
    });
    let (Some(all), Value::Object(rest)) = (value.as_object_mut(), rest) else { return value };
    for (key, own) in rest {
        match (all.get_mut(&key).and_then(Value::as_object_mut), own) {
            (Some(fields), Value::Object(own)) => fields.extend(own),
            (_, own) => {
                all.insert(key, own);
            }
        }
    }
    value
}

#[test]
fn of_a_secret_only_its_keys_and_which_values_are_equal_are_copied() {
    let secret = |name, value: &str| {
        object(
            "v1",
            "Secret",
            "iam",
            name,
            json!({
                "metadata": {"annotations": {LAST_APPLIED: format!("{{\"data\":\"{value}\"}}")}},
                "data": {"password": value}, "type": "Opaque",
            }),
        )
    };
    let seeded = seed(
        "room-a",
        copied(&[secret("a", "aGVsbG8="), secret("b", "aGVsbG8="), secret("c", "b3RoZXI=")]),
        &own(),
    );
    let text = serde_json::to_string(&seeded.objects).unwrap();
    assert!(!text.contains("aGVsbG8=") && !text.contains("b3RoZXI="), "{text}");
    let value = |index: usize| seeded.objects[index]["data"]["password"].clone();
    assert!(value(0).is_string());
    assert_eq!(value(0), value(1));
    assert_ne!(value(0), value(2));
}

#[test]
fn pods_of_others_take_room_and_belong_to_nobody_and_those_of_the_site_stay_whole() {
    let pod = |namespace, name, phase: &str| {
        object(
            "v1",
            "Pod",
            namespace,
            name,
            json!({
                "metadata": {
                    "ownerReferences": [{"kind": "ReplicaSet", "name": "set", "uid": "uid-set", "apiVersion": "apps/v1"}],
                    "annotations": {MARKS[0]: "2026-11-21T06:00:00Z", "tidegate.dev/revision": "abc"},
                },
                "spec": {"nodeName": "n1"}, "status": {"phase": phase},
            }),
        )
    };
    let set = object("apps/v1", "ReplicaSet", "iam", "set", json!({}));
    let lost = object(
        "v1",
        "ConfigMap",
        "iam",
        "lost",
        json!({
            "metadata": {"ownerReferences": [{"kind": "Widget", "name": "w", "uid": "elsewhere", "apiVersion": "x.example/v1"}]},
        }),
    );
    let all = [
        pod("iam", "a", "Running"),
        pod("kube-system", "b", "Running"),
        pod("batch", "c", "Succeeded"),
        set,
        lost,
    ];
    let seeded = seed("room-a", copied(&all), &own());
    let names: Vec<_> =
        seeded.objects.iter().map(|it| it["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a", "b", "set", "lost"]);
    assert_eq!(seeded.objects[0]["metadata"]["ownerReferences"][0]["uid"], "uid-set");
    assert_eq!(
        seeded.objects[0]["metadata"]["annotations"],
        json!({"tidegate.dev/revision": "abc"})
    );
    assert_eq!(seeded.objects[1]["metadata"].get("ownerReferences"), None);
    assert_eq!(
        seeded.objects[3]["metadata"].get("ownerReferences"),
        None,
        "its owner is in no copy"
    );
}

#[test]
fn what_an_old_server_has_at_other_versions_is_copied_where_they_are_the_same_and_said_otherwise() {
    let budget = object(
        "policy/v1beta1",
        "PodDisruptionBudget",
        "iam",
        "b",
        json!({
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "a"}}},
        }),
    );
    let old = object("autoscaling/v1", "HorizontalPodAutoscaler", "iam", "h", json!({}));
    let custom = object("x.example/v1alpha1", "Widget", "iam", "w", json!({}));
    let read = Copied { version: "v1.20.4".to_owned(), ..copied(&[budget, old, custom]) };
    let seeded = seed("room-a", read, &own());
    let versions: Vec<_> =
        seeded.objects.iter().map(|it| it["apiVersion"].as_str().unwrap()).collect();
    assert_eq!(versions, ["policy/v1", "x.example/v1alpha1"]);
    let said: Vec<_> = seeded.limits.iter().map(|it| it.code.to_string()).collect();
    assert_eq!(said, ["REHEARSAL/NOT_COPIED", "REHEARSAL/SIMULATED_VERSION"]);
}

#[test]
fn what_an_old_server_does_not_fill_in_is_there_and_pod_templates_stay_as_they_are() {
    let service = object(
        "v1",
        "Service",
        "iam",
        "s",
        json!({"spec": {"type": "ClusterIP", "ports": [{"port": 80}]}}),
    );
    let template = json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "a", "image": "a:1"}]}});
    let set = object(
        "apps/v1",
        "StatefulSet",
        "iam",
        "set",
        json!({"spec": {"template": template, "replicas": 2}}),
    );
    let seeded = seed("room-a", copied(&[service, set]), &own());
    assert_eq!(seeded.objects[0]["spec"]["internalTrafficPolicy"], "Cluster");
    assert_eq!(seeded.objects[0]["spec"]["ipFamilies"], json!(["IPv4"]));
    let kept = &seeded.objects[1]["spec"];
    assert_eq!(kept["persistentVolumeClaimRetentionPolicy"]["whenDeleted"], "Retain");
    assert_eq!(kept["template"], template);
}

#[test]
fn what_may_not_be_read_is_stood_in_for_and_said() {
    let claim = object(
        "v1",
        "PersistentVolumeClaim",
        "iam",
        "data",
        json!({
            "spec": {"volumeName": "pv-1", "storageClassName": "fast"},
            "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}},
        }),
    );
    let pod = object(
        "v1",
        "Pod",
        "iam",
        "a",
        json!({"spec": {"nodeName": "host-7"}, "status": {"phase": "Running"}}),
    );
    let gap = || Gap { code: "CLUSTER/FORBIDDEN".to_owned(), message: "no".to_owned() };
    let gaps =
        ["Node", "Namespace", "PersistentVolume"].map(|kind| (kind.to_owned(), gap())).into();
    let seeded = seed("room-a", Copied { gaps, ..copied(&[claim, pod]) }, &own());
    let made = |kind: &str| -> Vec<&str> {
        let own = seeded.objects.iter().filter(|it| it["kind"] == kind);
        own.map(|it| it["metadata"]["name"].as_str().unwrap()).collect()
    };
    assert_eq!(made("Node"), ["host-7"]);
    assert_eq!(made("PersistentVolume"), ["pv-1"]);
    assert!(made("Namespace").contains(&"iam") && made("Namespace").contains(&"kube-system"));
    assert_eq!(seeded.limits.iter().filter(|it| it.code == "REHEARSAL/NOT_COPIED").count(), 3);
}

#[test]
fn a_version_is_read_whatever_a_vendor_puts_behind_it() {
    assert_eq!(minor("v1.22.17-aliyun.1").as_deref(), Some("1.22"));
    assert_eq!(minor("v1.27+"), Some("1.27".to_owned()));
    assert_eq!(minor("unknown"), None);
}
