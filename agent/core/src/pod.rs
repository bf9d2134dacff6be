//! Pods as progress and health see them.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::object::{Object, ObjectRef, group_of};

/// One pod.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "Read")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, as the server tells it"
)]
pub struct Pod {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Its uid: deleting and evicting name it, so that a pod made meanwhile is left alone.
    pub uid: String,
    /// Its node; empty until it is scheduled.
    pub node: String,
    /// Its labels.
    pub labels: Arc<BTreeMap<String, String>>,
    /// The template's digest ([`crate::object::REVISION`]); empty for pods of others.
    pub revision: String,
    /// Its number in a StatefulSet.
    pub ordinal: Option<u32>,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// Since when it has been ready; `None` while it is not.
    pub ready_since: Option<Timestamp>,
    /// Whether it is going away.
    pub is_terminating: bool,
    /// What keeps it from running.
    pub trouble: Option<Trouble>,
    /// What controls it, and makes another in its place; the cluster is left empty.
    pub owner: Option<ObjectRef>,
    /// The uid of what controls it; empty when nothing does.
    pub owner_uid: String,
    /// Whether the kubelet started it from a file of its node: the API cannot move it.
    pub is_mirror: bool,
    /// Whether it keeps data on its node that goes with it.
    pub has_empty_dir: bool,
    /// Whether it ran to its end.
    pub is_finished: bool,
}

/// A pod and which version of it this is (Kubernetes, `API Concepts`, resource versions): for a watch to go on from.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Read")]
pub struct VersionedPod {
    /// The pod.
    pub pod: Pod,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
}

/// What keeps a pod from running, in Kubernetes' own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// `CrashLoopBackOff`, `ImagePullBackOff`, `Unschedulable` …
    pub reason: String,
    /// What the kubelet or scheduler says.
    pub message: String,
    /// What it means for a release.
    pub kind: TroubleKind,
}

/// What trouble means for a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TroubleKind {
    /// It will not get better by waiting: the container ends again and again, or its configuration cannot be used.
    Broken,
    /// The image cannot be fetched; registries recover, so unattended rules may retry.
    Image,
    /// No node takes it now; nodes may come.
    Unschedulable,
}

impl Pod {
    /// `namespace/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Whether it serves.
    pub fn is_ready(&self) -> bool {
        self.ready_since.is_some() && !self.is_terminating
    }

    /// Of JSON that a test wrote.
    #[cfg(test)]
    pub(crate) fn of(object: &Object) -> Self {
        Self::deserialize(object.value()).expect("a pod")
    }
}

/// Whether a pod ran to its end: it takes no room, and nobody waits for it.
pub fn is_finished(pod: &Object) -> bool {
    is_end(pod.text("/status/phase"))
}

/// Whether a phase is a pod's last (Kubernetes, `Pod Lifecycle`).
fn is_end(phase: &str) -> bool {
    matches!(phase, "Succeeded" | "Failed")
}

/// Waiting reasons from which a container does not recover by itself (kubelet's own words).
const BROKEN: [&str; 6] = [
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "InvalidImageName",
    "RunContainerError",
    "ErrImageNeverPull",
];
const IMAGE: [&str; 3] = ["ErrImagePull", "ImagePullBackOff", "RegistryUnavailable"];

/// What is read of a pod's JSON. The rest, most of it, is passed over: pods are read by the thousand. Fields that are
/// absent read as "not yet", and so do times, maps and lists that Kubernetes may write as null.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Read {
    metadata: Metadata,
    spec: Spec,
    status: PodStatus,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    namespace: String,
    name: String,
    uid: String,
    resource_version: String,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<Annotations>,
    owner_references: Option<Vec<OwnerReference>>,
    creation_timestamp: Option<Timestamp>,
    deletion_timestamp: Option<Timestamp>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Annotations {
    /// [`crate::object::REVISION`].
    #[serde(rename = "tidegate.dev/revision")]
    revision: String,
    /// Set by a kubelet that started the pod from a file.
    #[serde(rename = "kubernetes.io/config.mirror")]
    mirror: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct OwnerReference {
    api_version: String,
    kind: String,
    name: String,
    uid: String,
    controller: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    node_name: String,
    volumes: Option<Vec<Volume>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Volume {
    empty_dir: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodStatus {
    phase: String,
    reason: String,
    message: String,
    conditions: Option<Vec<Condition>>,
    init_container_statuses: Option<Vec<ContainerStatus>>,
    container_statuses: Option<Vec<ContainerStatus>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    reason: String,
    message: String,
    last_transition_time: Option<Timestamp>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ContainerStatus {
    state: ContainerState,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ContainerState {
    waiting: Option<Waiting>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Waiting {
    reason: String,
    message: String,
}

impl From<Read> for VersionedPod {
    fn from(mut read: Read) -> Self {
        let resource_version = std::mem::take(&mut read.metadata.resource_version);
        Self { pod: read.into(), resource_version }
    }
}

impl From<Read> for Pod {
    fn from(Read { metadata, spec, status }: Read) -> Self {
        let owners = metadata.owner_references.unwrap_or_default();
        let controller = owners.into_iter().find(|owner| owner.controller == Some(true));
        let annotations = metadata.annotations.unwrap_or_default();
        let ready = status.condition("Ready").filter(|ready| ready.status == "True");
        Self {
            ready_since: ready
                .map(|ready| ready.last_transition_time.unwrap_or(Timestamp::UNIX_EPOCH)),
            trouble: status.trouble(),
            is_finished: is_end(&status.phase),
            node: spec.node_name,
            has_empty_dir: spec.volumes.into_iter().flatten().any(|it| it.empty_dir.is_some()),
            labels: Arc::new(metadata.labels.unwrap_or_default()),
            revision: annotations.revision,
            is_mirror: annotations.mirror.is_some(),
            ordinal: metadata.name.rsplit_once('-').and_then(|(_, number)| number.parse().ok()),
            created_at: metadata.creation_timestamp,
            is_terminating: metadata.deletion_timestamp.is_some(),
            owner: controller.as_ref().map(|owner| ObjectRef {
                cluster: String::new(),
                group: group_of(&owner.api_version).to_owned(),
                kind: owner.kind.clone(),
                namespace: metadata.namespace.clone(),
                name: owner.name.clone(),
            }),
            owner_uid: controller.map(|owner| owner.uid).unwrap_or_default(),
            namespace: metadata.namespace,
            name: metadata.name,
            uid: metadata.uid,
        }
    }
}

impl PodStatus {
    fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().flatten().find(|condition| condition.kind == kind)
    }

    fn trouble(&self) -> Option<Trouble> {
        if self.phase == "Failed" {
            let reason = if self.reason.is_empty() { "Failed" } else { &self.reason };
            let (reason, message) = (reason.to_owned(), self.message.clone());
            return Some(Trouble { reason, message, kind: TroubleKind::Broken });
        }
        let containers = [&self.init_container_statuses, &self.container_statuses];
        for container in containers.into_iter().flatten().flatten() {
            let Some(Waiting { reason, message }) = &container.state.waiting else { continue };
            let kind = match reason.as_str() {
                reason if BROKEN.contains(&reason) => TroubleKind::Broken,
                reason if IMAGE.contains(&reason) => TroubleKind::Image,
                _ => continue,
            };
            return Some(Trouble { reason: reason.clone(), message: message.clone(), kind });
        }
        let scheduled = self.condition("PodScheduled")?;
        let is_unschedulable = scheduled.status == "False" && scheduled.reason == "Unschedulable";
        is_unschedulable.then(|| Trouble {
            reason: scheduled.reason.clone(),
            message: scheduled.message.clone(),
            kind: TroubleKind::Unschedulable,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::object::REVISION;

    #[test]
    fn a_crashing_pod_is_broken_and_says_why() {
        let pod = Pod::of(&Object::new(json!({
            "metadata": {"name": "web-3", "namespace": "shop", "annotations": {REVISION: "r1"}},
            "status": {"phase": "Running", "containerStatuses": [
                {"state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}}]},
        })));
        assert_eq!((pod.ordinal, pod.revision.as_str()), (Some(3), "r1"));
        assert_eq!(pod.trouble.map(|trouble| trouble.kind), Some(TroubleKind::Broken));
    }

    #[test]
    fn a_terminating_pod_is_never_ready() {
        let pod = Pod::of(&Object::new(json!({
            "metadata": {"name": "web-3", "deletionTimestamp": "2026-11-21T10:00:00Z"},
            "status": {"conditions": [
                {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-21T09:00:00Z"}]},
        })));
        assert!(pod.ready_since.is_some());
        assert!(!pod.is_ready());
    }

    #[test]
    fn a_pod_that_no_node_takes_is_unschedulable() {
        let pod = Pod::of(&Object::new(json!({
            "metadata": {"name": "web"},
            "status": {"phase": "Pending", "conditions": [
                {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/4 nodes"}]},
        })));
        assert_eq!(pod.trouble.map(|trouble| trouble.kind), Some(TroubleKind::Unschedulable));
    }

    #[test]
    fn what_is_null_or_of_no_account_is_passed_over() {
        let metadata = json!({
            "name": "web-3", "namespace": "shop", "uid": "u1", "resourceVersion": "7", "creationTimestamp": null,
            "labels": null, "annotations": {"other": "text"},
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "u2"},
                {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "u3", "controller": true}],
            "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:status": {}}}],
        });
        let spec = json!({"nodeName": "n1", "containers": [{"name": "web", "resources": {}}],
            "volumes": [{"name": "token", "secret": {}}, {"name": "scratch", "emptyDir": {}}]});
        let status = json!({"phase": "Running", "conditions": null,
            "containerStatuses": [{"name": "web", "state": {"running": {"startedAt": null}}}]});
        let pod = json!({"metadata": metadata, "spec": spec, "status": status});
        let VersionedPod { pod, resource_version } = serde_json::from_value(pod).unwrap();
        assert_eq!((resource_version.as_str(), pod.owner_uid.as_str()), ("7", "u3"));
        assert_eq!(
            pod.owner.map(|owner| owner.to_string()).as_deref(),
            Some("StatefulSet shop/web")
        );
        assert!(pod.has_empty_dir && !pod.is_mirror && pod.trouble.is_none());
    }
}
