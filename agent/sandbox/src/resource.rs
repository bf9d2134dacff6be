//! The resources that the API serves: a table of the built-in kinds, to which custom resource definitions add.

use std::sync::{Arc, LazyLock};

use crate::schema::{self, Shape};
use crate::status::Subject;

/// One kind and how it is reached.
#[expect(clippy::struct_excessive_bools, reason = "independent facts of a kind")]
#[derive(Clone, Debug)]
pub struct Resource {
    /// The API group; empty for the core group.
    pub group: String,
    /// The versions served, the preferred one first.
    pub versions: Vec<Version>,
    /// The version in which the store keeps objects.
    pub storage: String,
    /// As in `Deployment`.
    pub kind: String,
    /// As in `deployments`.
    pub plural: String,
    /// As in `deployment`.
    pub singular: String,
    /// As in `deploy`.
    pub short: Vec<String>,
    /// As in `all`.
    pub categories: Vec<String>,
    /// Whether objects live in namespaces.
    pub is_namespaced: bool,
    /// Whether `status` is a subresource; then the main resource does not change it.
    pub has_status: bool,
    /// Whether `scale` is a subresource.
    pub scale: Option<Scale>,
    /// Whether spec changes raise `metadata.generation`.
    pub has_generation: bool,
    /// Whether objects are only answered, never kept (access reviews).
    pub is_review: bool,
    /// Whether a custom resource definition made it.
    pub is_custom: bool,
}

/// One served version of a kind.
#[derive(Clone, Debug)]
pub struct Version {
    /// As in `v1`.
    pub name: String,
    /// What its objects may hold.
    pub shape: Shape,
    /// For custom resources, the OpenAPI schema that is enforced.
    pub schema: Option<Arc<serde_json::Value>>,
    /// For custom resources, the columns of `kubectl get`.
    pub columns: Vec<serde_json::Value>,
}

/// Where the `scale` subresource finds its numbers, as JSON pointers.
#[derive(Clone, Debug)]
pub struct Scale {
    /// Desired replicas.
    pub spec: String,
    /// Observed replicas.
    pub status: String,
    /// The label selector; empty when there is none.
    pub selector: String,
}

impl Resource {
    /// The `apiVersion` of a version.
    pub fn api_version(&self, version: &str) -> String {
        if self.group.is_empty() { version.to_owned() } else { format!("{}/{version}", self.group) }
    }

    /// The `apiVersion` in which the store keeps objects.
    pub fn storage_api_version(&self) -> String {
        self.api_version(&self.storage)
    }

    /// A served version by name.
    pub fn version(&self, name: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.name == name)
    }

    /// For messages that name the resource.
    pub fn subject<'a>(&'a self, name: &'a str) -> Subject<'a> {
        Subject { group: &self.group, resource: &self.plural, name }
    }

    /// For messages that name the kind.
    pub fn kind_subject<'a>(&'a self, name: &'a str) -> Subject<'a> {
        Subject { group: &self.group, resource: &self.kind, name }
    }
}

/// group, version, kind, plural, short names, flags. The flags: `n` namespaced, `s` status, `c` scale, `g` generation,
/// `a` in category all, `r` review.
type Row =
    (&'static str, &'static str, &'static str, &'static str, &'static [&'static str], &'static str);

const ROWS: &[Row] = &[
    ("", "v1", "ConfigMap", "configmaps", &["cm"], "n"),
    ("", "v1", "Endpoints", "endpoints", &["ep"], "n"),
    ("", "v1", "Event", "events", &["ev"], "n"),
    ("", "v1", "LimitRange", "limitranges", &["limits"], "n"),
    ("", "v1", "Namespace", "namespaces", &["ns"], "s"),
    ("", "v1", "Node", "nodes", &["no"], "s"),
    ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", &["pvc"], "ns"),
    ("", "v1", "PersistentVolume", "persistentvolumes", &["pv"], "s"),
    ("", "v1", "Pod", "pods", &["po"], "nsa"),
    ("", "v1", "PodTemplate", "podtemplates", &[], "n"),
    ("", "v1", "ReplicationController", "replicationcontrollers", &["rc"], "nscga"),
    ("", "v1", "ResourceQuota", "resourcequotas", &["quota"], "ns"),
    ("", "v1", "Secret", "secrets", &[], "n"),
    ("", "v1", "ServiceAccount", "serviceaccounts", &["sa"], "n"),
    ("", "v1", "Service", "services", &["svc"], "nsa"),
    (
        "admissionregistration.k8s.io",
        "v1",
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
        &[],
        "g",
    ),
    (
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        &[],
        "g",
    ),
    (
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        &["crd", "crds"],
        "sg",
    ),
    ("apiregistration.k8s.io", "v1", "APIService", "apiservices", &[], "s"),
    ("apps", "v1", "ControllerRevision", "controllerrevisions", &[], "n"),
    ("apps", "v1", "DaemonSet", "daemonsets", &["ds"], "nsga"),
    ("apps", "v1", "Deployment", "deployments", &["deploy"], "nscga"),
    ("apps", "v1", "ReplicaSet", "replicasets", &["rs"], "nscga"),
    ("apps", "v1", "StatefulSet", "statefulsets", &["sts"], "nscga"),
    ("authentication.k8s.io", "v1", "SelfSubjectReview", "selfsubjectreviews", &[], "r"),
    ("authentication.k8s.io", "v1", "TokenReview", "tokenreviews", &[], "r"),
    (
        "authorization.k8s.io",
        "v1",
        "LocalSubjectAccessReview",
        "localsubjectaccessreviews",
        &[],
        "nr",
    ),
    ("authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", &[], "r"),
    ("authorization.k8s.io", "v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews", &[], "r"),
    ("authorization.k8s.io", "v1", "SubjectAccessReview", "subjectaccessreviews", &[], "r"),
    ("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", &["hpa"], "nsa"),
    ("batch", "v1", "CronJob", "cronjobs", &["cj"], "nsga"),
    ("batch", "v1", "Job", "jobs", &[], "nsga"),
    ("coordination.k8s.io", "v1", "Lease", "leases", &[], "n"),
    ("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", &[], "ng"),
    ("networking.k8s.io", "v1", "IngressClass", "ingressclasses", &[], "g"),
    ("networking.k8s.io", "v1", "Ingress", "ingresses", &["ing"], "nsg"),
    ("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", &["netpol"], "ng"),
    ("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses", &[], ""),
    ("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", &["pdb"], "nsg"),
    ("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings", &[], ""),
    ("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", &[], ""),
    ("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings", &[], "n"),
    ("rbac.authorization.k8s.io", "v1", "Role", "roles", &[], "n"),
    ("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", &["pc"], "g"),
    ("storage.k8s.io", "v1", "CSIDriver", "csidrivers", &[], "g"),
    ("storage.k8s.io", "v1", "CSINode", "csinodes", &[], ""),
    ("storage.k8s.io", "v1", "StorageClass", "storageclasses", &["sc"], ""),
    ("storage.k8s.io", "v1", "VolumeAttachment", "volumeattachments", &[], "sg"),
];

/// The built-in kinds, in the order in which discovery names them.
pub fn built_in() -> &'static [Arc<Resource>] {
    static TABLE: LazyLock<Vec<Arc<Resource>>> =
        LazyLock::new(|| ROWS.iter().map(|row| Arc::new(from_row(*row))).collect());
    &TABLE
}

fn from_row((group, version, kind, plural, short, flags): Row) -> Resource {
    let is_workload = flags.contains('c');
    Resource {
        group: group.to_owned(),
        versions: vec![Version {
            name: version.to_owned(),
            shape: schema::of_kind(group, version, kind),
            schema: None,
            columns: Vec::new(),
        }],
        storage: version.to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
        singular: kind.to_lowercase(),
        short: short.iter().map(|&name| name.to_owned()).collect(),
        categories: if flags.contains('a') { vec!["all".to_owned()] } else { Vec::new() },
        is_namespaced: flags.contains('n'),
        has_status: flags.contains('s'),
        scale: is_workload.then(|| Scale {
            spec: "/spec/replicas".to_owned(),
            status: "/status/replicas".to_owned(),
            selector: "/spec/selector".to_owned(),
        }),
        has_generation: flags.contains('g'),
        is_review: flags.contains('r'),
        is_custom: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_kind_has_a_shape_of_its_own() {
        for resource in built_in() {
            for version in &resource.versions {
                let Shape::Ref(name) = &version.shape else {
                    panic!("{} has no shape", resource.kind)
                };
                assert!(schema::named(name).fields.contains_key("metadata"), "{name}");
            }
        }
    }
}
