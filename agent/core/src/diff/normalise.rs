//! What is taken away from an object before it is compared: noise that the server writes and nobody decides on.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

use crate::need::milli;
use crate::object::Object;

/// Fields of `metadata` that the server keeps for itself.
const SERVER_METADATA: [&str; 8] = [
    "managedFields",
    "resourceVersion",
    "generation",
    "uid",
    "selfLink",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

/// Annotations that controllers and clients keep for themselves. The last applied configuration is a copy of the whole
/// object, of Secrets too, so it is never compared nor shown.
pub(super) const SERVER_ANNOTATIONS: [&str; 3] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "deployment.kubernetes.io/revision",
    "deprecated.daemonset.template.generation",
];

/// Fields whose emptiness says something: `emptyDir: {}` is a kind of volume, `podSelector: {}` means every pod.
const MEANINGFUL_WHEN_EMPTY: [&str; 8] = [
    "emptyDir",
    "podSelector",
    "namespaceSelector",
    "selector",
    "labelSelector",
    "matchLabels",
    "ingress",
    "egress",
];

/// Maps whose values are quantities, and single fields that are one.
const QUANTITY_PARENTS: [&str; 9] = [
    "limits",
    "requests",
    "hard",
    "capacity",
    "default",
    "defaultRequest",
    "min",
    "max",
    "podFixed",
];
const QUANTITY_FIELDS: [&str; 3] = ["sizeLimit", "averageValue", "divisor"];

/// The content of an object that people decide on.
pub(super) fn normalised(object: &Object) -> Value {
    let mut value = object.value().clone();
    let Value::Object(root) = &mut value else { return value };
    root.remove("status");
    if let Some(Value::Object(metadata)) = root.get_mut("metadata") {
        metadata.retain(|key, _| !SERVER_METADATA.contains(&key.as_str()));
        if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
            annotations.retain(|key, _| !SERVER_ANNOTATIONS.contains(&key.as_str()));
        }
    }
    strip_template_noise(root);
    if object.is_secret() {
        merge_string_data(root);
    }
    value
}

/// The server writes `creationTimestamp: null` into every template.
fn strip_template_noise(root: &mut Map<String, Value>) {
    let template = root.get_mut("spec").and_then(|spec| spec.get_mut("template"));
    if let Some(Value::Object(metadata)) = template.and_then(|t| t.get_mut("metadata")) {
        metadata.remove("creationTimestamp");
    }
    let claims = root.get_mut("spec").and_then(|spec| spec.get_mut("volumeClaimTemplates"));
    for claim in claims.and_then(Value::as_array_mut).into_iter().flatten() {
        let Value::Object(claim) = claim else { continue };
        claim.remove("status");
        claim.remove("apiVersion");
        claim.remove("kind");
        if let Some(Value::Object(metadata)) = claim.get_mut("metadata") {
            metadata.remove("creationTimestamp");
        }
        // The server's default, on every version of Kubernetes.
        if let Some(Value::Object(spec)) = claim.get_mut("spec")
            && spec.get("volumeMode").and_then(Value::as_str) == Some("Filesystem")
        {
            spec.remove("volumeMode");
        }
    }
}

/// `stringData` is written into `data` by the server (Kubernetes API, Secret v1), so both are compared as `data`.
/// Anything malformed stays where it is, and is masked there.
fn merge_string_data(root: &mut Map<String, Value>) {
    let Some(Value::Object(texts)) = root.get("stringData").cloned() else { return };
    if !texts.values().all(Value::is_string) {
        return;
    }
    if root.get("data").is_some_and(|data| !data.is_object() && !data.is_null()) {
        return;
    }
    root.remove("stringData");
    let data = root.entry("data").or_insert_with(|| Value::Object(Map::new()));
    if data.is_null() {
        *data = Value::Object(Map::new());
    }
    let Value::Object(data) = data else { return };
    for (key, text) in texts {
        let encoded = STANDARD.encode(text.as_str().unwrap_or_default());
        data.insert(key, Value::String(encoded));
    }
}

/// Whether a field that is there says no more than one that is not (D20).
pub(super) fn is_blank(field: &str, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty() && !MEANINGFUL_WHEN_EMPTY.contains(&field),
        Value::Object(fields) => fields.is_empty() && !MEANINGFUL_WHEN_EMPTY.contains(&field),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether two values that are no maps or lists mean the same: `1` and `1.0`, and `1000m` and `1` where a quantity is
/// expected (D19).
pub(super) fn is_same_scalar(parent: &str, field: &str, left: &Value, right: &Value) -> bool {
    if left == right {
        return true;
    }
    if let (Value::Number(left), Value::Number(right)) = (left, right) {
        return left.as_f64() == right.as_f64();
    }
    let is_quantity = QUANTITY_PARENTS.contains(&parent) || QUANTITY_FIELDS.contains(&field);
    is_quantity && matches!((milli(left), milli(right)), (Some(a), Some(b)) if a == b)
}
