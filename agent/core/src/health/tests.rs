//! Each rule of health with the case that it exists for.

use rstest::rstest;
use serde_json::{Value, json};

use super::{Health, health};
use crate::object::Object;

fn of(api: &str, kind: &str, rest: &Value) -> Health {
    let mut object =
        json!({"apiVersion": api, "kind": kind, "metadata": {"name": "x", "generation": 2}});
    for (key, value) in rest.as_object().unwrap() {
        object[key] = value.clone();
    }
    health(&Object::new(object))
}

#[rstest]
#[case::unseen_generation("apps/v1", "Deployment", json!({"spec": {"replicas": 1}, "status": {"observedGeneration": 1}}))]
#[case::no_status_at_all("apps/v1", "StatefulSet", json!({"spec": {"replicas": 0}}))]
#[case::old_pods_left("apps/v1", "Deployment", json!({"spec": {"replicas": 2}, "status":
    {"observedGeneration": 2, "replicas": 3, "updatedReplicas": 2, "availableReplicas": 2}}))]
#[case::partition_not_reached("apps/v1", "StatefulSet", json!({
    "spec": {"replicas": 4, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}},
    "status": {"observedGeneration": 2, "replicas": 4, "readyReplicas": 4, "updatedReplicas": 1,
        "currentRevision": "a", "updateRevision": "b"}}))]
#[case::resumed_job("batch/v1", "Job", json!({"status": {"conditions": [{"type": "Suspended", "status": "False"}]}}))]
#[case::condition_of_an_earlier_generation("example.org/v1", "Widget", json!({"status": {"conditions":
    [{"type": "Ready", "status": "True", "observedGeneration": 1}]}}))]
#[case::names_not_looked_at("apiextensions.k8s.io/v1", "CustomResourceDefinition", json!({}))]
#[case::api_without_a_server("apiregistration.k8s.io/v1", "APIService", json!({"status": {"conditions":
    [{"type": "Available", "status": "False", "reason": "ServiceNotFound"}]}}))]
#[case::replicas("apps/v1", "ReplicaSet", json!({"spec": {"replicas": 2}, "status": {"observedGeneration": 2, "readyReplicas": 1}}))]
#[case::a_target_that_is_not_there("autoscaling/v2", "HorizontalPodAutoscaler", json!({"status": {"conditions":
    [{"type": "AbleToScale", "status": "False", "reason": "FailedGetScale"}]}}))]
#[case::numbers_that_are_not_there_yet("autoscaling/v2", "HorizontalPodAutoscaler", json!({"status": {"conditions":
    [{"type": "AbleToScale", "status": "True"}, {"type": "ScalingActive", "status": "False", "reason": "FailedGetResourceMetric"}]}}))]
#[case::the_same_of_old("autoscaling/v1", "HorizontalPodAutoscaler", json!({"metadata": {"name": "x", "annotations":
    {"autoscaling.alpha.kubernetes.io/conditions": "[{\"type\":\"ScalingActive\",\"status\":\"False\",\"reason\":\"FailedGetResourceMetric\"}]"}}}))]
#[case::a_volume_that_was_asked_for("v1", "PersistentVolumeClaim", json!({"metadata": {"name": "x", "annotations":
    {"volume.kubernetes.io/storage-provisioner": "csi.example"}}, "status": {"phase": "Pending"}}))]
#[case::going_away("v1", "ConfigMap", json!({"metadata": {"name": "x", "deletionTimestamp": "2026-03-02T09:00:00Z"}}))]
#[case::no_cluster_address("v1", "Service", json!({"spec": {"type": "LoadBalancer"}}))]
fn is_on_its_way(#[case] api: &str, #[case] kind: &str, #[case] rest: Value) {
    assert!(matches!(of(api, kind, &rest), Health::Progressing(_)), "{:?}", of(api, kind, &rest));
}

#[rstest]
#[case::scaled_to_nothing("apps/v1", "Deployment", json!({"spec": {"replicas": 0}, "status": {"observedGeneration": 2}}))]
#[case::held_by_its_partition("apps/v1", "StatefulSet", json!({
    "spec": {"replicas": 4, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 3}}},
    "status": {"observedGeneration": 2, "replicas": 4, "readyReplicas": 4, "updatedReplicas": 1,
        "currentRevision": "a", "updateRevision": "b"}}))]
#[case::nodes_for_none("apps/v1", "DaemonSet", json!({"status": {"observedGeneration": 2, "desiredNumberScheduled": 0}}))]
#[case::unused_claim("v1", "PersistentVolumeClaim", json!({"status": {"phase": "Pending"}}))]
#[case::bound_claim("v1", "PersistentVolumeClaim", json!({"metadata": {"name": "x", "annotations":
    {"volume.kubernetes.io/storage-provisioner": "csi.example"}}, "status": {"phase": "Bound"}}))]
#[case::an_active_autoscaler("autoscaling/v2", "HorizontalPodAutoscaler", json!({"status": {"conditions":
    [{"type": "AbleToScale", "status": "True"}, {"type": "ScalingActive", "status": "True"}]}}))]
#[case::an_autoscaler_of_no_pods("autoscaling/v2", "HorizontalPodAutoscaler", json!({"status": {"conditions":
    [{"type": "AbleToScale", "status": "True"}, {"type": "ScalingActive", "status": "False", "reason": "ScalingDisabled"}]}}))]
#[case::balancer_without_controller("v1", "Service", json!({"spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.1"}}))]
#[case::custom_without_conditions("example.org/v1", "Widget", json!({}))]
#[case::suspended_job("batch/v1", "Job", json!({"spec": {"suspend": true}, "status": {"conditions": [{"type": "Suspended", "status": "True"}]}}))]
#[case::paused_by_its_documents("apps/v1", "Deployment", json!({"spec": {"replicas": 2, "paused": true}, "status": {"observedGeneration": 2}}))]
#[case::on_delete("apps/v1", "StatefulSet", json!({"spec": {"replicas": 1, "updateStrategy": {"type": "OnDelete"}},
    "status": {"observedGeneration": 2, "readyReplicas": 1, "replicas": 1, "currentRevision": "a", "updateRevision": "b"}}))]
#[case::established("apiextensions.k8s.io/v1", "CustomResourceDefinition", json!({"status": {"conditions":
    [{"type": "NamesAccepted", "status": "True"}, {"type": "Established", "status": "True"}]}}))]
#[case::served_api("apiregistration.k8s.io/v1", "APIService", json!({"status": {"conditions": [{"type": "Available", "status": "True"}]}}))]
#[case::released_volume("v1", "PersistentVolume", json!({"status": {"phase": "Released"}}))]
#[case::cron_job("batch/v1", "CronJob", json!({"status": {"active": [{"name": "x-1"}]}}))]
#[case::ingress_without_address("networking.k8s.io/v1", "Ingress", json!({}))]
#[case::configuration("v1", "ConfigMap", json!({}))]
#[case::finished_job("batch/v1", "Job", json!({"status": {"conditions": [{"type": "Complete", "status": "True"}]}}))]
fn is_well(#[case] api: &str, #[case] kind: &str, #[case] rest: Value) {
    assert_eq!(of(api, kind, &rest), Health::Healthy);
}

#[rstest]
#[case::quota("apps/v1", "Deployment", json!({"spec": {"replicas": 1}, "status": {"observedGeneration": 2,
    "conditions": [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "quota"}]}}))]
#[case::deadline("apps/v1", "Deployment", json!({"spec": {"replicas": 1}, "status": {"observedGeneration": 2,
    "conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]}}))]
#[case::job("batch/v1", "Job", json!({"status": {"conditions":
    [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]}}))]
#[case::lost_claim("v1", "PersistentVolumeClaim", json!({"status": {"phase": "Lost"}}))]
#[case::an_autoscaler_that_cannot_work("autoscaling/v2", "HorizontalPodAutoscaler", json!({"status": {"conditions":
    [{"type": "ScalingActive", "status": "False", "reason": "InvalidMetricSourceType"}]}}))]
#[case::failed_pod("v1", "Pod", json!({"status": {"phase": "Failed", "message": "evicted"}}))]
#[case::failed_volume("v1", "PersistentVolume", json!({"status": {"phase": "Failed", "reason": "RecycleFailed"}}))]
#[case::names_taken("apiextensions.k8s.io/v1", "CustomResourceDefinition", json!({"status": {"conditions":
    [{"type": "NamesAccepted", "status": "False", "reason": "PluralConflict"}]}}))]
#[case::set_of_replicas("apps/v1", "ReplicaSet", json!({"spec": {"replicas": 1}, "status": {"observedGeneration": 2,
    "conditions": [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate"}]}}))]
#[case::stalled("example.org/v1", "Widget", json!({"status": {"conditions": [{"type": "Stalled", "status": "True"}]}}))]
fn has_failed(#[case] api: &str, #[case] kind: &str, #[case] rest: Value) {
    assert!(matches!(of(api, kind, &rest), Health::Failed(_)), "{:?}", of(api, kind, &rest));
}
