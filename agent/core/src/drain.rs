//! What of a node's pods goes when it is drained, by the rules of `kubectl drain` (Kubernetes, "Safely Drain a Node").

use crate::desired::DrainTerms;
use crate::object::ObjectRef;
use crate::pod::Pod;

/// What becomes of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It belongs to the node (of a DaemonSet, or started by the kubelet itself), or is going already.
    Stays,
    /// It is evicted.
    Goes,
    /// Nobody would make it anew, and nobody allowed that.
    Unmanaged,
    /// What it keeps on the node would be lost, and nobody allowed that.
    HoldsData,
}

/// What becomes of a pod of a node that is drained on these terms.
pub fn fate(pod: &Pod, terms: DrainTerms) -> Fate {
    let owner = pod.owner.as_ref().map(|owner| owner.kind.as_str());
    if pod.is_mirror || pod.is_terminating || owner == Some("DaemonSet") {
        return Fate::Stays;
    }
    if pod.is_finished {
        return Fate::Goes;
    }
    match owner {
        None if !terms.force => Fate::Unmanaged,
        _ if pod.has_empty_dir && !terms.delete_empty_dir_data => Fate::HoldsData,
        _ => Fate::Goes,
    }
}

/// Pods that are evicted, in the order of their groups.
pub fn going(pods: &[Pod], terms: DrainTerms) -> Vec<&Pod> {
    let mut going: Vec<&Pod> = pods.iter().filter(|pod| fate(pod, terms) == Fate::Goes).collect();
    going.sort_by_key(|pod| (!runs_for_good(pod), &pod.namespace, &pod.name));
    going
}

/// Whether somebody makes another pod in its place that is to run as well as this one does.
pub fn runs_for_good(pod: &Pod) -> bool {
    !pod.is_finished && pod.owner.as_ref().is_some_and(is_kept_running)
}

fn is_kept_running(owner: &ObjectRef) -> bool {
    matches!(
        (owner.group.as_str(), owner.kind.as_str()),
        ("apps", "ReplicaSet" | "StatefulSet") | ("", "ReplicationController")
    )
}

/// What makes others in the place of pods that serve now, each once.
pub fn owners<'a>(pods: impl Iterator<Item = &'a Pod>, cluster: &str) -> Vec<ObjectRef> {
    let serving = pods.filter(|pod| pod.is_ready() && runs_for_good(pod));
    let owners = serving.filter_map(|pod| pod.owner.as_ref());
    let mut owners: Vec<ObjectRef> =
        owners.map(|owner| ObjectRef { cluster: cluster.to_owned(), ..owner.clone() }).collect();
    owners.sort();
    owners.dedup();
    owners
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::object::Object;

    const ALL: DrainTerms = DrainTerms { force: true, delete_empty_dir_data: true };

    fn pod(metadata: &Value, rest: &Value) -> Pod {
        let mut pod = json!({"metadata": {"name": "p", "namespace": "shop"}});
        pod["metadata"].as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
        pod.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        Pod::of(&Object::new(pod))
    }

    fn of(kind: &str) -> Value {
        json!({"ownerReferences": [{"apiVersion": "apps/v1", "kind": kind, "name": "web", "controller": true}]})
    }

    #[rstest]
    #[case::of_a_set(of("ReplicaSet"), json!({}), Fate::Goes, Fate::Goes)]
    #[case::of_a_daemon_set(of("DaemonSet"), json!({}), Fate::Stays, Fate::Stays)]
    #[case::of_the_kubelet(json!({"annotations": {"kubernetes.io/config.mirror": "x"}}), json!({}), Fate::Stays, Fate::Stays)]
    #[case::going(json!({"deletionTimestamp": "2026-11-21T10:00:00Z"}), json!({}), Fate::Stays, Fate::Stays)]
    #[case::of_nobody(json!({}), json!({}), Fate::Unmanaged, Fate::Goes)]
    #[case::of_nobody_and_over(json!({}), json!({"status": {"phase": "Succeeded"}}), Fate::Goes, Fate::Goes)]
    #[case::with_data(of("ReplicaSet"), json!({"spec": {"volumes": [{"name": "x", "emptyDir": {}}]}}), Fate::HoldsData, Fate::Goes)]
    #[case::owned_by_what_does_not_control_it(
        json!({"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "x"}]}), json!({}), Fate::Unmanaged, Fate::Goes)]
    fn a_pod_goes_stays_or_must_be_allowed(
        #[case] metadata: Value,
        #[case] rest: Value,
        #[case] usually: Fate,
        #[case] allowed: Fate,
    ) {
        let pod = pod(&metadata, &rest);
        assert_eq!((fate(&pod, DrainTerms::default()), fate(&pod, ALL)), (usually, allowed));
    }

    #[test]
    fn what_must_be_ready_again_is_what_made_pods_that_serve() {
        let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        let import = json!({"ownerReferences": [
            {"apiVersion": "batch/v1", "kind": "Job", "name": "import", "controller": true}]});
        let pods = [
            pod(&of("ReplicaSet"), &ready),
            pod(&of("StatefulSet"), &json!({})),
            pod(&import, &ready),
        ];
        let owners = owners(pods.iter(), "room-a");
        let told: Vec<String> = owners.iter().map(|owner| format!("{owner:?}")).collect();
        assert_eq!(told, ["room-a: ReplicaSet shop/web"]);
    }
}
