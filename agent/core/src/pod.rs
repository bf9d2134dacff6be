//! Pods as progress and health see them.

use jiff::Timestamp;
use serde_json::Value;

use crate::object::{Object, ObjectRef, REVISION, group_of, text_of, time_of};

/// One pod.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// The template's digest ([`REVISION`]); empty for pods of others.
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
    /// Whether the kubelet started it from a file of its node: the API cannot move it.
    pub is_mirror: bool,
    /// Whether it keeps data on its node that goes with it.
    pub has_empty_dir: bool,
    /// Whether it ran to its end.
    pub is_finished: bool,
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
    /// Reads a pod. Fields that are absent read as "not yet".
    pub fn of(object: &Object) -> Self {
        let name = object.name().to_owned();
        let ready = object.condition("Ready");
        let is_ready = ready.is_some_and(|ready| ready.get("status") == Some(&Value::from("True")));
        Self {
            namespace: object.namespace().to_owned(),
            uid: object.uid().to_owned(),
            node: object.text("/spec/nodeName").to_owned(),
            revision: object.annotation(REVISION).unwrap_or_default().to_owned(),
            ordinal: name.rsplit_once('-').and_then(|(_, number)| number.parse().ok()),
            created_at: time_of(object.get("/metadata/creationTimestamp")),
            ready_since: ready.filter(|_| is_ready).map(|ready| {
                time_of(ready.get("lastTransitionTime")).unwrap_or(Timestamp::UNIX_EPOCH)
            }),
            is_terminating: object.get("/metadata/deletionTimestamp").is_some(),
            trouble: trouble(object),
            owner: owner(object),
            is_mirror: object.annotation(MIRROR).is_some(),
            has_empty_dir: has_empty_dir(object),
            is_finished: is_finished(object),
            name,
        }
    }

    /// `namespace/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Whether it serves.
    pub fn is_ready(&self) -> bool {
        self.ready_since.is_some() && !self.is_terminating
    }
}

/// Whether a pod ran to its end: it takes no room, and nobody waits for it.
pub fn is_finished(pod: &Object) -> bool {
    matches!(pod.text("/status/phase"), "Succeeded" | "Failed")
}

/// The annotation of pods that a kubelet started from a file.
const MIRROR: &str = "kubernetes.io/config.mirror";

fn owner(pod: &Object) -> Option<ObjectRef> {
    let owner = pod.controller()?;
    Some(ObjectRef {
        cluster: String::new(),
        group: group_of(text_of(owner, "apiVersion")).to_owned(),
        kind: text_of(owner, "kind").to_owned(),
        namespace: pod.namespace().to_owned(),
        name: text_of(owner, "name").to_owned(),
    })
}

fn has_empty_dir(pod: &Object) -> bool {
    let volumes = pod.get("/spec/volumes").and_then(Value::as_array);
    volumes.into_iter().flatten().any(|volume| volume.get("emptyDir").is_some())
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

fn trouble(object: &Object) -> Option<Trouble> {
    if object.text("/status/phase") == "Failed" {
        let reason = object.text("/status/reason");
        return Some(Trouble {
            reason: if reason.is_empty() { "Failed" } else { reason }.to_owned(),
            message: object.text("/status/message").to_owned(),
            kind: TroubleKind::Broken,
        });
    }
    let containers = ["/status/initContainerStatuses", "/status/containerStatuses"]
        .into_iter()
        .filter_map(|pointer| object.get(pointer)?.as_array())
        .flatten();
    for container in containers {
        let Some(waiting) = container.pointer("/state/waiting") else { continue };
        let text = |key: &str| waiting.get(key).and_then(Value::as_str).unwrap_or_default();
        let kind = match text("reason") {
            reason if BROKEN.contains(&reason) => TroubleKind::Broken,
            reason if IMAGE.contains(&reason) => TroubleKind::Image,
            _ => continue,
        };
        return Some(Trouble {
            reason: text("reason").to_owned(),
            message: text("message").to_owned(),
            kind,
        });
    }
    let scheduled = object.condition("PodScheduled")?;
    let text = |key: &str| scheduled.get(key).and_then(Value::as_str).unwrap_or_default();
    (text("status") == "False" && text("reason") == "Unschedulable").then(|| Trouble {
        reason: "Unschedulable".to_owned(),
        message: text("message").to_owned(),
        kind: TroubleKind::Unschedulable,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
}
