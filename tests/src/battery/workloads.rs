//! Controllers: what they do with pods, seen from outside. Names that are drawn by chance are not told.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::ground::{Answer, Ground, JSON, LOOK_AGAIN, PATIENCE, at};

/// Long enough for a controller to do what it must not.
const A_WHILE: Duration = Duration::from_millis(1500);

fn workload(kind: &str, replicas: u32, image: &str, spec: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "a"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "a"}},
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {
                "terminationGracePeriodSeconds": 0, "containers": [{"name": "main", "image": image}]}},
        },
    });
    if let (Some(fields), Some(object)) = (spec.as_object(), object["spec"].as_object_mut()) {
        object.extend(fields.clone());
    }
    object
}

fn image(image: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}})
}

/// Pods that are not on their way out.
async fn pods(ground: &Ground) -> Vec<Value> {
    let answer = ground.look("pods?labelSelector=app=a").await;
    let items = answer.at("/items").as_array().cloned().unwrap_or_default();
    items.into_iter().filter(|pod| at(pod, "/metadata/deletionTimestamp").is_null()).collect()
}

fn is_ready(pod: &Value) -> bool {
    let conditions = at(pod, "/status/conditions").as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

fn image_of(pod: &Value) -> &str {
    at(pod, "/spec/containers/0/image").as_str().unwrap_or_default()
}

/// Each image with how many pods have it and how many of them are ready.
fn count(pods: &[Value]) -> Value {
    let images: BTreeSet<&str> = pods.iter().map(image_of).collect();
    let told = images.into_iter().map(|image| {
        let of_image: Vec<_> = pods.iter().filter(|pod| image_of(pod) == image).collect();
        let ready = of_image.iter().filter(|pod| is_ready(pod)).count();
        format!("{image}: {} of {} ready", ready, of_image.len())
    });
    told.collect()
}

/// Each pod's name with its image and whether it is ready, for workloads that choose no names by chance.
fn by_name(pods: &[Value]) -> Value {
    let told: BTreeSet<String> = pods
        .iter()
        .map(|pod| {
            let name = at(pod, "/metadata/name").as_str().unwrap_or_default();
            let ready = if is_ready(pod) { "ready" } else { "not ready" };
            format!("{name}: {} {ready}", image_of(pod))
        })
        .collect();
    json!(told)
}

/// Waits until the pods are as wanted.
async fn until_pods(ground: &Ground, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = pods(ground).await;
        if wanted(&found) {
            return found;
        }
        assert!(
            Instant::now() < deadline,
            "the pods did not become as wanted: {}",
            by_name(&found)
        );
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Waits until the pods are as wanted and stay so for a while, and records them.
async fn settle(
    ground: &mut Ground,
    heading: &str,
    show: fn(&[Value]) -> Value,
    wanted: impl Fn(&[Value]) -> bool,
) {
    let found = until_pods(ground, wanted).await;
    let shown = show(&found);
    tokio::time::sleep(A_WHILE).await;
    let later = show(&pods(ground).await);
    ground.note(heading, &shown);
    if later != shown {
        ground.note(&format!("{heading}, and then"), &later);
    }
}

fn ready_with(pods: &[Value], image: &str) -> usize {
    pods.iter().filter(|pod| image_of(pod) == image && is_ready(pod)).count()
}

/// The status without what the older servers do not have and without the conditions' times.
async fn note_status(ground: &mut Ground, path: &str, settled: impl Fn(&Value) -> bool) {
    let answer = ground.until(path, |answer| settled(answer.at("/status"))).await;
    let mut status = answer.at("/status").clone();
    // In the order of their last changes, which may be of one moment.
    let mut about: Vec<Value> = (status["conditions"].as_array().into_iter().flatten())
        .map(|condition| json!([condition["type"], condition["status"], condition["reason"]]))
        .collect();
    about.sort_by_cached_key(Value::to_string);
    if let Some(status) = status.as_object_mut() {
        for field in ["conditions", "currentRevision", "updateRevision", "collisionCount"] {
            status.remove(field);
        }
    }
    let kind = answer.at("/kind");
    ground.note(
        &format!("status of {path}"),
        &json!({"kind": kind, "status": status, "conditions": about}),
    );
}

fn is_settled(status: &Value, replicas: u32) -> bool {
    let all = json!(replicas);
    status["readyReplicas"] == all && status["replicas"] == all && status["updatedReplicas"] == all
}

pub(super) async fn a_deployment_rolls_within_its_limits(ground: &mut Ground) {
    // Step by step: a controller may still count a pod as available that it has scaled in just before.
    let limits = json!({"strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}});
    ground.set_up(&workload("Deployment", 4, "main:1", &limits)).await;
    until_pods(ground, |pods| ready_with(pods, "main:1") == 4).await;
    note_status(ground, "deployments/a", |status| {
        is_settled(status, 4) && status["availableReplicas"] == 4
    })
    .await;
    ground.patch("strategic-merge", "deployments/a", &image("main:2")).await;
    let (mut most, mut least) = (0, usize::MAX);
    until_pods(ground, |_| true).await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = pods(ground).await;
        most = most.max(found.len());
        least = least.min(found.iter().filter(|pod| is_ready(pod)).count());
        if found.len() == 4 && ready_with(&found, "main:2") == 4 {
            break;
        }
        assert!(Instant::now() < deadline, "the rollout is not over: {}", count(&found));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    ground
        .note("never more than five, never fewer than four ready", &json!([most <= 5, least >= 4]));
    note_status(ground, "deployments/a", |status| {
        is_settled(status, 4) && status["observedGeneration"] == 2
    })
    .await;
    let answer = ground.look("replicasets?labelSelector=app=a").await;
    let sets = answer.at("/items").as_array().cloned().unwrap_or_default();
    let sets: BTreeSet<String> = sets
        .iter()
        .map(|set| {
            let revision = &set["metadata"]["annotations"]["deployment.kubernetes.io/revision"];
            let image = at(set, "/spec/template/spec/containers/0/image");
            format!("{image} revision {revision} replicas {}", set["spec"]["replicas"])
        })
        .collect();
    ground.note("replica sets", &json!(sets));
}

pub(super) async fn a_broken_deployment_stops(ground: &mut Ground) {
    let limits = json!({"progressDeadlineSeconds": 3, "minReadySeconds": 0,
        "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}});
    ground.set_up(&workload("Deployment", 3, "main:1", &limits)).await;
    until_pods(ground, |pods| ready_with(pods, "main:1") == 3).await;
    ground.patch("strategic-merge", "deployments/a", &image("main:never-ready")).await;
    settle(ground, "held", count, |pods| pods.len() == 4).await;
    note_status(ground, "deployments/a", |status| {
        status["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|c| c["reason"] == "ProgressDeadlineExceeded")
    })
    .await;
    ground.patch("strategic-merge", "deployments/a", &image("main:1")).await;
    settle(ground, "back", count, |pods| pods.len() == 3 && ready_with(pods, "main:1") == 3).await;
}

pub(super) async fn a_deployment_that_is_held_back_opens_by_its_budget(ground: &mut Ground) {
    ground.set_up(&workload("Deployment", 5, "main:1", &json!({}))).await;
    until_pods(ground, |pods| ready_with(pods, "main:1") == 5).await;
    let gate = |budget: u32| {
        json!({"spec": {"minReadySeconds": 86_000, "progressDeadlineSeconds": 86_400,
            "strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": budget}}}})
    };
    let mut first = gate(1);
    first["spec"]["template"] = image("main:2")["spec"]["template"].clone();
    ground.patch("strategic-merge", "deployments/a", &first).await;
    settle(ground, "budget 1", count, |pods| ready_with(pods, "main:2") >= 1 && pods.len() == 5)
        .await;
    ground.patch("strategic-merge", "deployments/a", &gate(3)).await;
    settle(ground, "budget 3", count, |pods| ready_with(pods, "main:2") >= 3 && pods.len() == 5)
        .await;
    let open = json!({"spec": {"minReadySeconds": 0, "progressDeadlineSeconds": 600,
        "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}}});
    ground.patch("strategic-merge", "deployments/a", &open).await;
    settle(ground, "open", count, |pods| ready_with(pods, "main:2") == 5 && pods.len() == 5).await;
}

pub(super) async fn a_deployment_goes_back_to_an_old_revision(ground: &mut Ground) {
    ground.set_up(&workload("Deployment", 1, "main:1", &json!({"revisionHistoryLimit": 1}))).await;
    for (before, image_now) in ["main:2", "main:3", "main:1", "main:3"].into_iter().enumerate() {
        // The oldest goes first, and ages are told in seconds: the next one is not to be of the same.
        ground.until_the_next_second().await;
        ground.patch("strategic-merge", "deployments/a", &image(image_now)).await;
        until_pods(ground, |pods| pods.len() == 1 && ready_with(pods, image_now) == 1).await;
        let generation = json!(before + 2);
        let is_over = |answer: &Answer| {
            is_settled(answer.at("/status"), 1)
                && answer.at("/status/observedGeneration") == &generation
        };
        ground.until("deployments/a", is_over).await;
        let left = |answer: &Answer| answer.at("/items").as_array().map_or(0, Vec::len) == 2;
        let answer = ground.until("replicasets?labelSelector=app=a", left).await;
        let sets: BTreeSet<String> = (answer.at("/items").as_array().into_iter().flatten())
            .map(|set| {
                let revision = &set["metadata"]["annotations"]["deployment.kubernetes.io/revision"];
                format!("{} revision {revision}", at(set, "/spec/template/spec/containers/0/image"))
            })
            .collect();
        ground.note(&format!("replica sets of {image_now}"), &json!(sets));
    }
}

pub(super) async fn a_stateful_set_starts_in_order(ground: &mut Ground) {
    ground.set_up(&workload("StatefulSet", 3, "main:1", &json!({"serviceName": "a"}))).await;
    let mut in_order = true;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = pods(ground).await;
        // A later one is there only when all before it are ready.
        let ready = found.iter().filter(|pod| is_ready(pod)).count();
        in_order &= found.len() <= ready + 1;
        if ready == 3 {
            break;
        }
        assert!(Instant::now() < deadline, "the set did not start: {}", by_name(&found));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    ground.note("in order", &json!(in_order));
    let found = pods(ground).await;
    ground.note("pods", &by_name(&found));
    let first =
        found.iter().find(|pod| at(pod, "/metadata/name") == "a-0").cloned().unwrap_or_default();
    let labels: BTreeSet<_> = (at(&first, "/metadata/labels").as_object().into_iter().flatten())
        .filter(|(name, _)| name.as_str() != "apps.kubernetes.io/pod-index")
        .map(|(name, _)| name.clone())
        .collect();
    ground.note(
        "labels, hostname, subdomain",
        &json!([labels, at(&first, "/spec/hostname"), at(&first, "/spec/subdomain")]),
    );
    note_status(ground, "statefulsets/a", |status| status["readyReplicas"] == 3).await;
    ground.patch("merge", "statefulsets/a", &json!({"spec": {"replicas": 1}})).await;
    settle(ground, "scaled in", by_name, |pods| pods.len() == 1).await;
}

pub(super) async fn a_partition_keeps_the_lower_ordinals(ground: &mut Ground) {
    let held = json!({"serviceName": "a", "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 4}}});
    ground.set_up(&workload("StatefulSet", 4, "main:1", &held)).await;
    until_pods(ground, |pods| ready_with(pods, "main:1") == 4).await;
    ground.patch("strategic-merge", "statefulsets/a", &image("main:2")).await;
    let at_partition = |partition: u32| json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": partition}}}});
    settle(ground, "partition 4", by_name, |pods| pods.len() == 4).await;
    for partition in [3_u32, 1] {
        ground.patch("merge", "statefulsets/a", &at_partition(partition)).await;
        let new = 4 - partition as usize;
        settle(ground, &format!("partition {partition}"), by_name, |pods| {
            ready_with(pods, "main:2") >= new
                && pods.iter().filter(|pod| is_ready(pod)).count() == 4
        })
        .await;
    }
    // One that is lost below the partition comes back old.
    ground.quietly(&Method::DELETE, "pods/a-0", JSON, None).await;
    settle(ground, "a-0 was lost", by_name, |pods| {
        pods.iter().filter(|pod| is_ready(pod)).count() == 4
    })
    .await;
    ground.patch("merge", "statefulsets/a", &at_partition(0)).await;
    settle(ground, "partition 0", by_name, |pods| ready_with(pods, "main:2") == 4).await;
    note_status(ground, "statefulsets/a", |status| {
        status["readyReplicas"] == 4 && status["currentRevision"] == status["updateRevision"]
    })
    .await;
}

pub(super) async fn evicted_pods_of_a_parallel_set_come_back_new(ground: &mut Ground) {
    let spec = json!({"serviceName": "a", "podManagementPolicy": "Parallel",
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 4}}});
    ground.set_up(&workload("StatefulSet", 4, "main:1", &spec)).await;
    until_pods(ground, |pods| ready_with(pods, "main:1") == 4).await;
    ground.patch("strategic-merge", "statefulsets/a", &image("main:never-ready")).await;
    let patch = json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 1}}}});
    ground.patch("merge", "statefulsets/a", &patch).await;
    for name in ["a-1", "a-2", "a-3"] {
        evict(ground, name).await;
    }
    // All of them are there at once, though none is ever ready.
    settle(ground, "evicted", by_name, |pods| {
        pods.len() == 4
            && pods.iter().filter(|pod| image_of(pod) == "main:never-ready").count() == 3
    })
    .await;
}

async fn evict(ground: &mut Ground, name: &str) -> u16 {
    let eviction =
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}});
    let path = format!("pods/{name}/eviction");
    ground.quietly(&Method::POST, &path, JSON, Some(&eviction)).await.code
}

pub(super) async fn a_stateful_set_on_delete_waits(ground: &mut Ground) {
    let spec = json!({"serviceName": "a", "updateStrategy": {"type": "OnDelete"}});
    ground.set_up(&workload("StatefulSet", 2, "main:1", &spec)).await;
    until_pods(ground, |pods| ready_with(pods, "main:1") == 2).await;
    ground.patch("strategic-merge", "statefulsets/a", &image("main:2")).await;
    settle(ground, "patched", by_name, |pods| pods.len() == 2).await;
    ground.quietly(&Method::DELETE, "pods/a-0", JSON, None).await;
    settle(ground, "a-0 was deleted", by_name, |pods| {
        ready_with(pods, "main:2") == 1 && pods.len() == 2
    })
    .await;
}

pub(super) async fn a_daemon_set_on_delete_waits(ground: &mut Ground) {
    let mut set =
        workload("DaemonSet", 0, "main:1", &json!({"updateStrategy": {"type": "OnDelete"}}));
    if let Some(spec) = set["spec"].as_object_mut() {
        spec.remove("replicas");
    }
    let nodes = ground.look("nodes").await.at("/items").as_array().map_or(0, Vec::len);
    ground.set_up(&set).await;
    let found = until_pods(ground, |pods| ready_with(pods, "main:1") == nodes).await;
    let on: BTreeSet<_> = found.iter().map(|pod| at(pod, "/spec/nodeName").to_string()).collect();
    ground.note("one for each node", &json!(on.len() == nodes));
    ground.patch("strategic-merge", "daemonsets/a", &image("main:2")).await;
    tokio::time::sleep(A_WHILE).await;
    let found = pods(ground).await;
    ground.note("old ones after the patch", &json!(ready_with(&found, "main:1") == nodes));
    let name = found.first().and_then(|pod| at(pod, "/metadata/name").as_str()).unwrap_or_default();
    ground.quietly(&Method::DELETE, &format!("pods/{name}"), JSON, None).await;
    let found = until_pods(ground, |pods| ready_with(pods, "main:2") == 1).await;
    ground.note("new ones after a deletion", &json!(found.len() - ready_with(&found, "main:1")));
    let status = ground
        .until("daemonsets/a", |answer| answer.at("/status/updatedNumberScheduled") == &json!(1))
        .await;
    let all = json!(nodes);
    let told = json!([
        status.at("/status/desiredNumberScheduled") == &all,
        status.at("/status/numberMisscheduled")
    ]);
    ground.note("status", &told);
}

fn job(image: &str, spec: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a"},
        "spec": {"template": {"metadata": {"labels": {"app": "a"}}, "spec": {
            "restartPolicy": "Never", "containers": [{"name": "main", "image": image}]}}},
    });
    if let (Some(fields), Some(object)) = (spec.as_object(), object["spec"].as_object_mut()) {
        object.extend(fields.clone());
    }
    object
}

fn has_ended(status: &Value) -> bool {
    let conditions = status["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|c| (c["type"] == "Complete" || c["type"] == "Failed") && c["status"] == "True")
}

/// Newer servers say first that a Job is about to end; that condition is theirs alone.
async fn note_job(ground: &mut Ground) {
    let answer = ground.until("jobs/a", |answer| has_ended(answer.at("/status"))).await;
    let conditions: Vec<Value> = (answer.at("/status/conditions").as_array().into_iter().flatten())
        .filter(|condition| condition["type"] == "Complete" || condition["type"] == "Failed")
        .map(|condition| {
            // Why it is complete is told since 1.31.
            let is_failed = condition["type"] == "Failed";
            let why = is_failed.then(|| [&condition["reason"], &condition["message"]]);
            json!([condition["type"], condition["status"], why])
        })
        .collect();
    let told = json!({
        "succeeded": answer.at("/status/succeeded"), "failed": answer.at("/status/failed"),
        "active": answer.at("/status/active"), "conditions": conditions,
        "has a completion time": !answer.at("/status/completionTime").is_null(),
    });
    ground.note("job", &told);
}

pub(super) async fn a_job_completes(ground: &mut Ground) {
    ground.set_up(&job("main:1", &json!({"completions": 3, "parallelism": 2}))).await;
    note_job(ground).await;
    let found = pods(ground).await;
    let phases: Vec<_> = found.iter().map(|pod| at(pod, "/status/phase").clone()).collect();
    ground.note("pods stay for their logs", &json!(phases));
}

pub(super) async fn a_job_fails_after_its_retries(ground: &mut Ground) {
    ground.set_up(&job("main:fail", &json!({"backoffLimit": 0}))).await;
    note_job(ground).await;
}

pub(super) async fn a_budget_refuses_evictions(ground: &mut Ground) {
    ground
        .set_up(&workload(
            "StatefulSet",
            3,
            "main:1",
            &json!({"serviceName": "a", "podManagementPolicy": "Parallel"}),
        ))
        .await;
    let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "a"},
        "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "a"}}}});
    ground.set_up(&budget).await;
    until_pods(ground, |pods| ready_with(pods, "main:1") == 3).await;
    let allows = |answer: &Answer| answer.at("/status/disruptionsAllowed") == &json!(1);
    let status = ground.until("poddisruptionbudgets/a", allows).await;
    let counts = ["currentHealthy", "desiredHealthy", "expectedPods"]
        .map(|field| status.at("/status")[field].clone());
    ground.note("budget", &json!(counts));
    // The set's pods come back unready for a while, so that the second one finds the budget used up.
    ground
        .patch(
            "strategic-merge",
            "statefulsets/a",
            &json!({"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}}}),
        )
        .await;
    ground.patch("strategic-merge", "statefulsets/a", &image("main:never-ready")).await;
    let first = evict(ground, "a-0").await;
    ground.note("first", &json!(first));
    // Counted anew, and not only taken off by the eviction.
    let none = |answer: &Answer| {
        answer.at("/status/disruptionsAllowed") == &json!(0)
            && answer.at("/status/currentHealthy") == &json!(2)
    };
    ground.until("poddisruptionbudgets/a", none).await;
    let eviction =
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a-1"}});
    ground.say(&Method::POST, "pods/a-1/eviction", JSON, Some(&eviction)).await;
    let missing =
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a-9"}});
    ground.say(&Method::POST, "pods/a-9/eviction", JSON, Some(&missing)).await;
}

pub(super) async fn a_service_finds_its_pods(ground: &mut Ground) {
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"},
        "spec": {"selector": {"app": "a"}, "ports": [{"name": "web", "port": 80, "targetPort": 8080, "protocol": "TCP"}]}});
    ground.set_up(&service).await;
    ground.set_up(&workload("StatefulSet", 2, "main:1", &json!({"serviceName": "a"}))).await;
    until_pods(ground, |pods| ready_with(pods, "main:1") == 2).await;
    let all =
        |answer: &Answer| answer.at("/subsets/0/addresses").as_array().map_or(0, Vec::len) == 2;
    let found = ground.until("endpoints/a", all).await;
    let names: BTreeSet<String> =
        (found.at("/subsets/0/addresses").as_array().into_iter().flatten())
            .map(|address| at(address, "/targetRef/name").to_string())
            .collect();
    ground.note("endpoints", &json!([names, found.at("/subsets/0/ports")]));
    ground.patch("merge", "statefulsets/a", &json!({"spec": {"replicas": 0}})).await;
    ground.until("endpoints/a", |answer| answer.at("/subsets").is_null()).await;
}

pub(super) async fn a_load_balancer_gets_an_address(ground: &mut Ground) {
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80, "protocol": "TCP"}]}});
    ground.set_up(&service).await;
    let found = ground
        .until("services/a", |answer| !answer.at("/status/loadBalancer/ingress").is_null())
        .await;
    let address = found.at("/status/loadBalancer/ingress/0/ip").as_str().unwrap_or_default();
    ground.note("an address", &json!(address.parse::<std::net::IpAddr>().is_ok()));
}

pub(super) async fn claims_are_bound(ground: &mut Ground) {
    let claims = json!([{"metadata": {"name": "disk"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}]);
    let set = workload(
        "StatefulSet",
        2,
        "main:1",
        &json!({"serviceName": "a", "volumeClaimTemplates": claims}),
    );
    ground.set_up(&set).await;
    until_pods(ground, |pods| ready_with(pods, "main:1") == 2).await;
    for name in ["disk-a-0", "disk-a-1"] {
        let claim = ground
            .until(&format!("persistentvolumeclaims/{name}"), |answer| {
                answer.at("/status/phase") == "Bound"
            })
            .await;
        let told = json!([
            claim.at("/status/capacity"),
            claim.at("/status/accessModes"),
            claim.at("/metadata/labels"),
            claim.at("/metadata/finalizers"),
            claim.at("/metadata/ownerReferences")
        ]);
        ground.note(name, &told);
    }
    // The claims stay when the set goes.
    ground.quietly(&Method::DELETE, "statefulsets/a", JSON, None).await;
    until_pods(ground, <[Value]>::is_empty).await;
    let left = ground.look("persistentvolumeclaims").await;
    ground.note("claims left", &json!(left.at("/items").as_array().map(Vec::len)));
}
