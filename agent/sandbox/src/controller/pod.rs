//! What the controllers ask about pods, and how they make them from templates.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::object::{
    at, condition, condition_is_true, digest, is_terminating, items, name, namespace, number,
    owner_reference, set, text, time, uid, word,
};
use super::pass::Pass;

pub(super) fn phase(pod: &Value) -> &str {
    text(pod, "status/phase")
}

/// Neither finished nor on its way out.
pub(super) fn is_active(pod: &Value) -> bool {
    !matches!(phase(pod), "Succeeded" | "Failed") && !is_terminating(pod)
}

pub(super) fn is_ready(pod: &Value) -> bool {
    condition_is_true(at(pod, "status"), "Ready")
}

/// Ready for at least `min_ready` seconds; asks to look again when that will be so.
pub(super) fn is_available(pass: &mut Pass<'_>, pod: &Value, min_ready: i64) -> bool {
    if !is_ready(pod) {
        return false;
    }
    if min_ready == 0 {
        return true;
    }
    condition(at(pod, "status"), "Ready")
        .and_then(|ready| time(ready, "lastTransitionTime"))
        .is_some_and(|since| pass.has_passed(since, SignedDuration::from_secs(min_ready)))
}

/// How often the pod's containers were restarted, the most of them.
pub(super) fn restarts(pod: &Value) -> i64 {
    let count = |status: &Value| number(status, "restartCount").unwrap_or(0);
    items(pod, "status/containerStatuses").iter().map(count).max().unwrap_or(0)
}

/// A pod from a template, without a name.
pub(super) fn from_template(template: &Value, owner: &Value) -> Value {
    let mut metadata = json!({
        "namespace": namespace(owner),
        "ownerReferences": [owner_reference(owner)],
    });
    for field in ["labels", "annotations", "finalizers"] {
        let value = at(template, &format!("metadata/{field}"));
        if !value.is_null() {
            set(&mut metadata, field, value.clone());
        }
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": at(template, "spec")})
}

/// Gives pods names that no pod of the owner has: a digest of the owner, its version, the time and a counter.
pub(super) fn fresh_names(
    pass: &mut Pass<'_>,
    owner: &Value,
    prefix: &str,
    count: i64,
) -> Vec<String> {
    let moment = pass.now.as_millisecond().to_string();
    let version = text(owner, "metadata/resourceVersion");
    let mut names = Vec::new();
    let mut counter = 0_i64;
    while i64::try_from(names.len()).unwrap_or(i64::MAX) < count {
        counter += 1;
        let tail = word(&[uid(owner), version, &moment, &counter.to_string()], 5);
        // Kubernetes cuts long prefixes so that the name stays within 63 characters.
        let stem: String = prefix.chars().take(57).collect();
        let fresh = format!("{stem}-{tail}");
        if !names.contains(&fresh) && pass.get("", "Pod", namespace(owner), &fresh).is_none() {
            names.push(fresh);
        }
    }
    names
}

/// Why the API would refuse a pod that a controller makes: the service account is missing, or the quota is used up.
/// Controllers report it as `FailedCreate`; a round cannot see refusals themselves.
pub(super) fn refusal(pass: &mut Pass<'_>, pod: &Value, pending: i64) -> Option<String> {
    let space = namespace(pod);
    let called = name(pod);
    let account = match text(pod, "spec/serviceAccountName") {
        "" => "default",
        account => account,
    };
    if account != "default" && pass.get("", "ServiceAccount", space, account).is_none() {
        return Some(format!(
            "pods \"{called}\" is forbidden: error looking up service account {space}/{account}: \
             serviceaccount \"{account}\" not found"
        ));
    }
    for quota in &pass.in_namespace("", "ResourceQuota", space) {
        let limit = ["pods", "count/pods"]
            .iter()
            .find_map(|word| at(quota, "spec/hard").get(word).map(|limit| (*word, limit)));
        let Some((word, limit)) = limit else { continue };
        let limit = limit.as_i64().or_else(|| limit.as_str()?.parse().ok()).unwrap_or(i64::MAX);
        let used = pass.unfinished_pods(space);
        if used.saturating_add(pending) >= limit {
            return Some(format!(
                "pods \"{called}\" is forbidden: exceeded quota: {}, requested: {word}=1, \
                 used: {word}={limit}, limited: {word}={limit}",
                name(quota)
            ));
        }
    }
    None
}

/// The identity that the sandbox's registry gives an image: a digest that its reference decides.
pub(super) fn image_id(image: &str) -> String {
    if image.contains("@sha256:") {
        return image.to_owned();
    }
    let after_host = image.rfind('/').map_or(0, |slash| slash + 1);
    let colon = image.get(after_host..).and_then(|last| last.find(':'));
    let repository = colon.map_or(image, |colon| image.get(..after_host + colon).unwrap_or(image));
    format!("{repository}@sha256:{}", digest(&["image", image]))
}
