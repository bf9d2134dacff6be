//! Health of one object, by kind: rules after `kstatus`, without its known holes (research: gitops.md, section 5).

pub(crate) mod rule;

pub use rule::mistake;

use serde_json::Value;
use tidegate_schema::product::HealthRule;

use crate::object::Object;

/// How an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// As it should be.
    Healthy,
    /// On its way, with what is awaited.
    Progressing(String),
    /// It will not get well by waiting.
    Failed(String),
}

impl Health {
    fn progressing(what: impl Into<String>) -> Self {
        Self::Progressing(what.into())
    }
}

/// The health of an object as observed. Pods of workloads are looked at apart: see `progress`.
pub fn health(object: &Object) -> Health {
    health_by(&[], object)
}

/// The same, where documents have rules for kinds that are not Kubernetes' own.
pub fn health_by(rules: &[HealthRule], object: &Object) -> Health {
    if object.get("/metadata/deletionTimestamp").is_some() {
        return Health::progressing("is going away");
    }
    if !is_observed(object) {
        return Health::progressing("its controller has not seen the change yet");
    }
    match (object.group(), object.kind()) {
        ("apps", "Deployment") => deployment(object),
        ("apps", "StatefulSet") => stateful_set(object),
        ("apps", "DaemonSet") => daemon_set(object),
        ("apps", "ReplicaSet") => match object.condition("ReplicaFailure") {
            failure @ Some(_) if has_status(failure, "True") => Health::Failed(says(failure)),
            _ => replicas(object, count(object, "/status/readyReplicas")),
        },
        ("batch", "Job") => job(object),
        ("autoscaling", "HorizontalPodAutoscaler") => autoscaler(object),
        ("", "PersistentVolumeClaim") => claim(object),
        ("", "Pod") => pod(object),
        ("", "Service") => service(object),
        ("", "PersistentVolume") => volume(object),
        ("apiregistration.k8s.io", "APIService") => api_service(object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(object),
        // Existing is all that can be asked of Kubernetes' own kinds; an Ingress may never get an address on bare metal.
        (group, _) if group.is_empty() || !group.contains('.') || group.ends_with(".k8s.io") => {
            Health::Healthy
        }
        // How a node is says nothing of what we set on it.
        ("", "Node") => Health::Healthy,
        (group, kind) => {
            match rules.iter().find(|it| (it.group.as_str(), it.kind.as_str()) == (group, kind)) {
                Some(rule) => rule::judge(rule, object),
                None => custom(object),
            }
        }
    }
}

/// `observedGeneration` is at least `generation`, where the kind reports it.
pub fn is_observed(object: &Object) -> bool {
    match (object.integer("/status/observedGeneration"), object.integer("/metadata/generation")) {
        (Some(observed), Some(generation)) => observed >= generation,
        (None, Some(_)) => !reports_generation(object),
        _ => true,
    }
}

/// Kinds whose controllers always report a generation: while it is missing they have not looked.
fn reports_generation(object: &Object) -> bool {
    matches!(
        (object.group(), object.kind()),
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
    )
}

fn count(object: &Object, pointer: &str) -> i64 {
    object.integer(pointer).unwrap_or(0)
}

fn has_status(condition: Option<&Value>, status: &str) -> bool {
    condition.and_then(|condition| condition.get("status")).and_then(Value::as_str) == Some(status)
}

fn says(condition: Option<&Value>) -> String {
    let text = |key: &str| {
        condition
            .and_then(|condition| condition.get(key))
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    match (text("reason"), text("message")) {
        (reason, "") => reason.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    }
}

fn replicas(object: &Object, ready: i64) -> Health {
    let wanted = object.integer("/spec/replicas").unwrap_or(1);
    if ready >= wanted {
        Health::Healthy
    } else {
        Health::progressing(format!("{ready} of {wanted} pods are ready"))
    }
}

fn deployment(object: &Object) -> Health {
    // Its documents say that nothing happens for now.
    if object.get("/spec/paused") == Some(&Value::Bool(true)) {
        return Health::Healthy;
    }
    let failure = object.condition("ReplicaFailure");
    if has_status(failure, "True") {
        return Health::Failed(says(failure));
    }
    let progressing = object.condition("Progressing");
    let reason = progressing.and_then(|it| it.get("reason")).and_then(Value::as_str);
    if reason == Some("ProgressDeadlineExceeded") {
        return Health::Failed(says(progressing));
    }
    let wanted = object.integer("/spec/replicas").unwrap_or(1);
    let updated = count(object, "/status/updatedReplicas");
    if updated < wanted {
        return Health::progressing(format!("{updated} of {wanted} pods are at the new revision"));
    }
    if count(object, "/status/replicas") > updated {
        return Health::progressing("old pods are going away");
    }
    replicas(object, count(object, "/status/availableReplicas"))
}

fn stateful_set(object: &Object) -> Health {
    let wanted = object.integer("/spec/replicas").unwrap_or(1);
    let ready = count(object, "/status/readyReplicas");
    if ready < wanted {
        return Health::progressing(format!("{ready} of {wanted} pods are ready"));
    }
    if count(object, "/status/replicas") > wanted {
        return Health::progressing("pods are going away");
    }
    if object.text("/spec/updateStrategy/type") == "OnDelete" {
        return Health::Healthy;
    }
    // With a partition the set never "completes": compare with what the partition lets through.
    let partition = count(object, "/spec/updateStrategy/rollingUpdate/partition").min(wanted);
    let current = object.text("/status/currentRevision");
    let is_complete = current == object.text("/status/updateRevision");
    let updated = count(object, "/status/updatedReplicas");
    if !is_complete && updated < wanted - partition {
        return Health::progressing(format!(
            "{updated} of {} pods are at the new revision",
            wanted - partition
        ));
    }
    Health::Healthy
}

fn daemon_set(object: &Object) -> Health {
    let wanted = count(object, "/status/desiredNumberScheduled");
    let ready = count(object, "/status/numberReady");
    if ready < wanted {
        return Health::progressing(format!("{ready} of {wanted} pods are ready"));
    }
    let updated = count(object, "/status/updatedNumberScheduled");
    if object.text("/spec/updateStrategy/type") != "OnDelete" && updated < wanted {
        return Health::progressing(format!("{updated} of {wanted} pods are at the new revision"));
    }
    Health::Healthy
}

fn job(object: &Object) -> Health {
    // The status of a condition counts, not its presence: a resumed Job has `Suspended=False`.
    let failed = object.condition("Failed");
    if has_status(failed, "True") {
        return Health::Failed(says(failed));
    }
    if has_status(object.condition("Complete"), "True") {
        return Health::Healthy;
    }
    // As its documents say: somebody else lets it run, such as a queue.
    if object.get("/spec/suspend") == Some(&Value::Bool(true)) {
        return Health::Healthy;
    }
    Health::progressing("has not completed")
}

fn claim(object: &Object) -> Health {
    match object.text("/status/phase") {
        "Lost" => Health::Failed("Lost: the volume behind the claim is gone".to_owned()),
        // Set when a volume is really asked for: at once, or when the scheduler has chosen a node for the first consumer.
        "Pending" if let Some(provisioner) = provisioner(object) => {
            Health::progressing(format!("waits for its volume from {provisioner}"))
        }
        // Pending is steady while nobody uses a claim that binds at first use; a workload that waits for it is
        // watched by its pods.
        _ => Health::Healthy,
    }
}

/// Who was asked for the volume of a claim; the older annotation is that of servers before 1.23.
fn provisioner(claim: &Object) -> Option<&str> {
    let names = [
        "volume.kubernetes.io/storage-provisioner",
        "volume.beta.kubernetes.io/storage-provisioner",
    ];
    names.into_iter().find_map(|name| claim.annotation(name))
}

/// What an autoscaler waits for: its target, or the numbers that it scales by, which are not there at first. Switched off
/// with its workload (no replicas) it is as it should be.
fn autoscaler(object: &Object) -> Health {
    let told = object.annotation("autoscaling.alpha.kubernetes.io/conditions");
    // `autoscaling/v1` has no place for them.
    let told: Vec<Value> =
        told.and_then(|told| serde_json::from_str(told).ok()).unwrap_or_default();
    let condition = |kind: &str| {
        let is_it = |it: &&Value| it.get("type").and_then(Value::as_str) == Some(kind);
        object.condition(kind).or_else(|| told.iter().find(is_it))
    };
    for kind in ["AbleToScale", "ScalingActive"] {
        let condition = condition(kind).filter(|it| has_status(Some(it), "False"));
        let Some(condition) = condition else { continue };
        return match condition.get("reason").and_then(Value::as_str).unwrap_or_default() {
            "ScalingDisabled" => Health::Healthy,
            // Its own documents are wrong.
            "InvalidSelector" | "InvalidMetricSourceType" => Health::Failed(says(Some(condition))),
            _ => Health::progressing(says(Some(condition))),
        };
    }
    Health::Healthy
}

fn volume(object: &Object) -> Health {
    match object.text("/status/phase") {
        "Failed" => Health::Failed(says_of_status(object)),
        _ => Health::Healthy,
    }
}

fn says_of_status(object: &Object) -> String {
    let (reason, message) = (object.text("/status/reason"), object.text("/status/message"));
    [reason, message].iter().copied().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(": ")
}

/// While it is not available, everything that asks for all kinds of the server fails.
fn api_service(object: &Object) -> Health {
    match object.condition("Available") {
        available @ Some(_) if has_status(available, "True") => Health::Healthy,
        available @ Some(_) => Health::progressing(says(available)),
        None => Health::progressing("is not available yet"),
    }
}

fn pod(object: &Object) -> Health {
    match object.text("/status/phase") {
        "Succeeded" => Health::Healthy,
        "Failed" => Health::Failed(says_of_status(object)),
        "Running" if has_status(object.condition("Ready"), "True") => Health::Healthy,
        _ => Health::progressing("is not ready"),
    }
}

fn service(object: &Object) -> Health {
    // A load balancer without a controller (bare metal) never gets an address: that is for people to see, not to
    // hold a release. The cluster address is what every Service must have.
    let needs_address = !matches!(object.text("/spec/type"), "ExternalName");
    if needs_address && object.text("/spec/clusterIP").is_empty() {
        return Health::progressing("has no address yet");
    }
    Health::Healthy
}

fn definition(object: &Object) -> Health {
    let names = object.condition("NamesAccepted");
    if has_status(names, "False") {
        return Health::Failed(says(names));
    }
    if has_status(object.condition("Established"), "True") {
        return Health::Healthy;
    }
    Health::progressing("is not established")
}

/// Custom objects: the conventions of `Ready`, `Stalled` and `Reconciling`; without conditions they are well.
fn custom(object: &Object) -> Health {
    let stalled = object.condition("Stalled");
    if has_status(stalled, "True") {
        return Health::Failed(says(stalled));
    }
    if has_status(object.condition("Reconciling"), "True") {
        return Health::progressing("is reconciling");
    }
    match object.condition("Ready") {
        Some(ready) if is_stale(object, ready) => {
            Health::progressing("its controller has not seen the change yet")
        }
        Some(ready) if !has_status(Some(ready), "True") => Health::progressing(says(Some(ready))),
        _ => Health::Healthy,
    }
}

/// A condition that was made of an earlier generation says nothing of this one.
fn is_stale(object: &Object, condition: &Value) -> bool {
    let observed = condition.get("observedGeneration").and_then(Value::as_i64);
    let generation = object.integer("/metadata/generation");
    observed.zip(generation).is_some_and(|(observed, generation)| observed < generation)
}

#[cfg(test)]
mod tests;
