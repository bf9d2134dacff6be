//! The rules of each kind, apart from what may change.

use serde_json::Value;

use super::place::Place;
use super::{class, definition, network, pod, rbac, service, size, volume, webhook, workload};
use crate::status::Cause;

/// What is wrong with an object.
pub(super) fn check(group: &str, kind: &str, value: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let whole = Place::new(value, "");
    let spec = whole.at("spec");
    let causes_of = &mut causes;
    match (group, kind) {
        ("", "Pod") => pod::spec(&spec, causes_of),
        ("", "PodTemplate") => pod::template(&whole.at("template"), causes_of),
        ("", "Service") => service::service(&spec, causes_of),
        ("", "Endpoints") => service::endpoints(&whole, causes_of),
        ("", "PersistentVolumeClaim") => volume::claim(&spec, causes_of),
        ("", "PersistentVolume") => volume::of_cluster(&spec, causes_of),
        ("", "ConfigMap") => size::configuration(&whole, causes_of),
        ("", "Secret") => size::secret(&whole, causes_of),
        ("", "ResourceQuota") => size::quota(&spec, causes_of),
        ("", "LimitRange") => size::limits(&spec, causes_of),
        ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet") => {
            workload::check(kind, &spec, causes_of);
        }
        ("", "ReplicationController") => workload::controller(&spec, causes_of),
        ("batch", "Job") => workload::job(&spec, false, causes_of),
        ("batch", "CronJob") => workload::cron_job(&whole, causes_of),
        ("networking.k8s.io", "Ingress") => network::ingress(&spec, causes_of),
        ("networking.k8s.io", "NetworkPolicy") => network::policy(&spec, causes_of),
        ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => {
            rbac::role(kind, &whole, causes_of);
        }
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => {
            rbac::binding(kind, &whole, causes_of);
        }
        ("policy", "PodDisruptionBudget") => size::budget(&spec, causes_of),
        ("autoscaling", "HorizontalPodAutoscaler") => size::autoscaler(&spec, causes_of),
        ("storage.k8s.io", "StorageClass") => class::storage(&whole, causes_of),
        ("scheduling.k8s.io", "PriorityClass") => class::priority(&whole, causes_of),
        ("networking.k8s.io", "IngressClass") => class::ingress(&spec, causes_of),
        ("node.k8s.io", "RuntimeClass") => class::runtime(&whole, causes_of),
        ("admissionregistration.k8s.io", _) => webhook::check(&whole, causes_of),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            definition::check(&whole, causes_of);
        }
        _ => {}
    }
    causes
}
