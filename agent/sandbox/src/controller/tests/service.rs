//! Services, budgets, claims, autoscalers and what a fresh cluster has.

use serde_json::{Value, json};

use super::bench::{Bench, workload};
use crate::controller::object::{at, items, name, text};

fn service(spec: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": spec,
    })
}

fn ready_addresses(bench: &Bench) -> usize {
    let slice = bench.find("EndpointSlice", name(&bench.all("EndpointSlice")[0]));
    items(&slice, "endpoints").iter().filter(|e| at(e, "conditions/ready") == true).count()
}

#[test]
fn endpoints_follow_readiness() {
    let mut bench = Bench::new(3);
    bench.create(workload("Deployment", "web", "web:slow-5s", &json!({"replicas": 2})));
    let ports = json!([{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]);
    bench.create(service(&json!({"selector": {"app": "web"}, "ports": ports})));
    bench.advance(2.0);
    let endpoints = bench.find("Endpoints", "web");
    assert_eq!(items(&items(&endpoints, "subsets")[0], "notReadyAddresses").len(), 2);
    assert_eq!(ready_addresses(&bench), 0);
    bench.advance(10.0);
    let endpoints = bench.find("Endpoints", "web");
    let subset = &items(&endpoints, "subsets")[0];
    assert_eq!(items(subset, "addresses").len(), 2);
    assert_eq!(subset["ports"], json!([{"name": "http", "port": 8080, "protocol": "TCP"}]));
    assert_eq!(ready_addresses(&bench), 2);
    let gone = name(&bench.pods()[0]).to_owned();
    bench.delete("Pod", &gone);
    bench.settle();
    assert_eq!(ready_addresses(&bench), 1, "a terminating pod is not ready");
    bench.advance(600.0);
    assert_eq!(bench.writes, 0);
}

#[test]
fn a_load_balancer_gets_an_address_after_a_moment() {
    let mut bench = Bench::new(1);
    bench.create(service(&json!({"type": "LoadBalancer", "ports": [{"port": 80}]})));
    bench.advance(0.5);
    assert!(items(&bench.find("Service", "web"), "status/loadBalancer/ingress").is_empty());
    bench.advance(1.0);
    let web = bench.find("Service", "web");
    let first = &items(&web, "status/loadBalancer/ingress")[0];
    assert!(text(first, "ip").parse::<std::net::Ipv4Addr>().is_ok());
}

#[test]
fn budgets_count_what_may_go() {
    let budget = |spec: Value| {
        json!({
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": spec,
        })
    };
    for (rule, desired, allowed) in [
        (json!({"minAvailable": 3}), 3, 1),
        (json!({"maxUnavailable": 1}), 3, 1),
        (json!({"maxUnavailable": "50%"}), 2, 2),
        (json!({"minAvailable": "60%"}), 3, 1),
        (json!({"maxUnavailable": 0}), 4, 0),
    ] {
        let mut spec = rule.clone();
        spec["selector"] = json!({"matchLabels": {"app": "web"}});
        let mut bench = Bench::new(2);
        bench.create(workload("Deployment", "web", "web:1", &json!({"replicas": 4})));
        bench.create(budget(spec));
        bench.advance(5.0);
        let count = |bench: &Bench, field: &str| bench.count("PodDisruptionBudget", "web", field);
        assert_eq!(count(&bench, "expectedPods"), 4, "{rule}");
        assert_eq!(count(&bench, "currentHealthy"), 4, "{rule}");
        assert_eq!(count(&bench, "desiredHealthy"), desired, "{rule}");
        assert_eq!(count(&bench, "disruptionsAllowed"), allowed, "{rule}");
        assert_eq!(count(&bench, "observedGeneration"), 1);
        let gone = name(&bench.pods()[0]).to_owned();
        bench.delete("Pod", &gone);
        bench.settle();
        assert_eq!(count(&bench, "disruptionsAllowed"), (allowed - 1).max(0), "{rule}");
    }
}

#[test]
fn claims_are_bound_at_once_or_when_a_pod_needs_them() {
    let claim = |called: &str, class: Value| {
        let mut claim = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": called, "namespace": "default"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}},
            },
        });
        if !class.is_null() {
            claim["spec"]["storageClassName"] = class;
        }
        claim
    };
    let mut bench = Bench::new(2);
    bench.create(claim("default", Value::Null));
    bench.create(claim("late", json!("open-local-lvm-default")));
    bench.create(claim("wrong", json!("no-such-class")));
    bench.create(claim("none", json!("")));
    bench.advance(60.0);
    assert_eq!(bench.writes, 0);
    let phase = |bench: &Bench, called: &str| {
        text(&bench.find("PersistentVolumeClaim", called), "status/phase").to_owned()
    };
    assert_eq!(phase(&bench, "default"), "Bound");
    let default = bench.find("PersistentVolumeClaim", "default");
    assert_eq!(text(&default, "spec/storageClassName"), "standard");
    for waiting in ["late", "wrong", "none"] {
        assert_eq!(phase(&bench, waiting), "Pending", "{waiting}");
    }
    assert_eq!(
        bench.said("ProvisioningFailed"),
        ["storageclass.storage.k8s.io \"no-such-class\" not found"]
    );
    bench.delete("PersistentVolumeClaim", "default");
    bench.advance(5.0);
    assert!(bench.all("PersistentVolume").is_empty(), "deleted with its claim");
}

#[test]
fn an_autoscaler_reports_and_changes_nothing() {
    let mut bench = Bench::new(1);
    bench.create(workload("Deployment", "web", "web:1", &json!({"replicas": 2})));
    bench.create(json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "minReplicas": 5,
            "maxReplicas": 9,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        },
    }));
    bench.advance(60.0);
    assert_eq!(bench.count("HorizontalPodAutoscaler", "web", "currentReplicas"), 2);
    assert_eq!(bench.pods().len(), 2);
    assert_eq!(bench.writes, 0);
}

#[test]
fn every_namespace_has_its_account() {
    let bench = Bench::new(1);
    assert_eq!(bench.all("ServiceAccount").len(), 4);
}
