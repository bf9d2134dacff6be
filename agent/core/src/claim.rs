//! Claims of volumes: which an object makes, and where their volumes come from.

use serde_json::Value;

use crate::object::Object;

/// Annotations by which a class is the default one (Kubernetes, "Storage Classes").
const DEFAULT: [&str; 2] = [
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
];

/// The annotation by which claims of old name their class.
const OF_OLD: &str = "volume.beta.kubernetes.io/storage-class";

/// The claims that an object is, or makes of templates.
pub fn claims(body: &Object) -> impl Iterator<Item = &Value> {
    let own = (body.kind() == "PersistentVolumeClaim").then(|| body.value());
    let templates = body.get("/spec/volumeClaimTemplates").and_then(Value::as_array);
    own.into_iter().chain(templates.into_iter().flatten())
}

/// The name of a claim, or of the template of one; empty when it has none.
pub fn name(claim: &Value) -> &str {
    claim.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

/// The class that a claim names; none when it leaves that to the cluster.
pub fn class(claim: &Value) -> Option<&str> {
    let named = claim.pointer("/spec/storageClassName");
    let of_old = || claim.pointer("/metadata/annotations")?.get(OF_OLD);
    named.or_else(of_old)?.as_str()
}

/// Whether one of the classes makes the claim's volume, or none is to be made: a claim that names its volume, or an empty
/// class, was thought of by whoever wrote it.
pub fn is_made<'a>(claim: &Value, mut classes: impl Iterator<Item = &'a Object>) -> bool {
    let is_default = |class: &Object| DEFAULT.iter().any(|it| class.annotation(it) == Some("true"));
    match class(claim) {
        Some("") => true,
        _ if claim.pointer("/spec/volumeName").is_some() => true,
        Some(named) => classes.any(|class| class.name() == named),
        None => classes.any(is_default),
    }
}

/// Whether a volume is there that the claim could have: of its class, and nobody's.
pub fn is_free(claim: &Value, volume: &Object) -> bool {
    let is_nobodys = matches!(volume.text("/status/phase"), "" | "Pending" | "Available");
    is_nobodys && volume.text("/spec/storageClassName") == class(claim).unwrap_or_default()
}
