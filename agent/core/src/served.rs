//! The API version at which an object is written in a cluster that does not serve the one its document names.
//!
//! An object may be written at another version of its group when both versions have the same fields with the same
//! meaning and defaults; then nothing is translated but `apiVersion`. Which ones a cluster serves is discovery's answer,
//! never concluded from its release. An object keeps one identity at all versions: [`ObjectRef`] has none.
//!
//! [`ObjectRef`]: crate::object::ObjectRef

use crate::object::Object;

/// No served version will do: the kind is there at others.
pub const VERSION_NOT_SERVED: &str = "CLUSTER/VERSION_NOT_SERVED";
/// The cluster does not have the kind at any version.
pub const KIND_UNKNOWN: &str = "CLUSTER/KIND_UNKNOWN";

/// Kinds of a group whose versions differ in nothing but their name.
struct Same {
    group: &'static str,
    kinds: &'static [&'static str],
    /// The newest first.
    versions: &'static [&'static str],
}

/// From the Kubernetes deprecation guide ("Deprecated API Migration Guide") and the types of its API: versions for which
/// it says "no notable changes", or whose differences [`is_the_same`] looks at. Not here, as fields or defaults differ:
/// Ingress, `CustomResourceDefinition`, webhook configurations, `EndpointSlice`, `CertificateSigningRequest`,
/// `autoscaling/v1` and `v2beta1`, `apps/v1beta1`.
const SAME: &[Same] = &[
    Same { group: "apiregistration.k8s.io", kinds: &["APIService"], versions: &["v1", "v1beta1"] },
    Same {
        group: "apps",
        kinds: &["ControllerRevision", "DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"],
        versions: &["v1", "v1beta2"],
    },
    Same {
        group: "autoscaling",
        kinds: &["HorizontalPodAutoscaler"],
        versions: &["v2", "v2beta2"],
    },
    Same { group: "batch", kinds: &["CronJob"], versions: &["v1", "v1beta1"] },
    Same { group: "coordination.k8s.io", kinds: &["Lease"], versions: &["v1", "v1beta1"] },
    Same { group: "networking.k8s.io", kinds: &["IngressClass"], versions: &["v1", "v1beta1"] },
    Same { group: "node.k8s.io", kinds: &["RuntimeClass"], versions: &["v1", "v1beta1"] },
    Same { group: "policy", kinds: &["PodDisruptionBudget"], versions: &["v1", "v1beta1"] },
    Same {
        group: "rbac.authorization.k8s.io",
        kinds: &["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"],
        versions: &["v1", "v1beta1"],
    },
    Same { group: "scheduling.k8s.io", kinds: &["PriorityClass"], versions: &["v1", "v1beta1"] },
    Same {
        group: "storage.k8s.io",
        kinds: &["CSIDriver", "CSINode", "CSIStorageCapacity", "StorageClass", "VolumeAttachment"],
        versions: &["v1", "v1beta1"],
    },
];

/// Other `apiVersion`s at which the object is the same, the newest first: where it may be written.
pub fn equivalents(object: &Object) -> Vec<String> {
    if is_the_same(object) { alike(object.api_version(), object.kind()) } else { Vec::new() }
}

/// Other `apiVersion`s at which a kind has the same fields, the newest first: where its objects are read.
pub fn alike(api_version: &str, kind: &str) -> Vec<String> {
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    let row = SAME.iter().find(|row| {
        row.group == group && row.kinds.contains(&kind) && row.versions.contains(&version)
    });
    let others = row.into_iter().flat_map(|row| row.versions).filter(|other| **other != version);
    others.map(|other| format!("{group}/{other}")).collect()
}

/// Whether this very object is the same at the versions of its row.
fn is_the_same(object: &Object) -> bool {
    // An empty selector is every pod of the namespace for policy/v1, and none for policy/v1beta1.
    let selector = object.get("/spec/selector").and_then(serde_json::Value::as_object);
    object.kind() != "PodDisruptionBudget"
        || selector.is_none_or(|selector| {
            selector.values().any(|part| {
                part.as_object().is_some_and(|labels| !labels.is_empty())
                    || part.as_array().is_some_and(|expressions| !expressions.is_empty())
            })
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(api_version: &str, kind: &str, spec: &serde_json::Value) -> Object {
        Object::new(json!({
            "apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}, "spec": spec,
        }))
    }

    #[test]
    fn a_budget_and_a_cron_job_are_the_same_at_both_versions() {
        let selector = json!({"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}});
        for (written, kind, spec, other) in [
            ("policy/v1", "PodDisruptionBudget", &selector, "policy/v1beta1"),
            ("policy/v1beta1", "PodDisruptionBudget", &selector, "policy/v1"),
            ("batch/v1", "CronJob", &json!({"schedule": "0 3 * * *"}), "batch/v1beta1"),
            ("autoscaling/v2", "HorizontalPodAutoscaler", &json!({}), "autoscaling/v2beta2"),
        ] {
            assert_eq!(equivalents(&object(written, kind, spec)), [other], "{written} {kind}");
        }
    }

    #[test]
    fn a_budget_for_every_pod_means_none_at_the_older_version() {
        for selector in [json!({}), json!({"matchLabels": {}, "matchExpressions": []})] {
            let budget = object("policy/v1", "PodDisruptionBudget", &json!({"selector": selector}));
            assert!(equivalents(&budget).is_empty());
        }
    }

    #[test]
    fn what_changed_its_fields_or_defaults_is_never_taken_for_the_same() {
        for (version, kind) in [
            ("networking.k8s.io/v1", "Ingress"),
            ("apiextensions.k8s.io/v1beta1", "CustomResourceDefinition"),
            ("autoscaling/v1", "HorizontalPodAutoscaler"),
            ("batch/v1", "Job"),
            ("apps/v1beta1", "Deployment"),
            ("v1", "Service"),
        ] {
            assert!(equivalents(&object(version, kind, &json!({}))).is_empty(), "{version} {kind}");
        }
    }

    #[test]
    fn the_versions_of_a_row_are_told_apart_and_no_kind_has_two_rows() {
        let mut kinds = std::collections::BTreeSet::new();
        for row in SAME {
            for kind in row.kinds {
                assert!(kinds.insert((row.group, kind)), "{}/{kind}", row.group);
            }
            let versions: std::collections::BTreeSet<_> = row.versions.iter().collect();
            assert!(versions.len() >= 2 && versions.len() == row.versions.len(), "{}", row.group);
        }
    }
}
