//! Answers without what may differ between two servers that behave the same.

use serde_json::{Map, Value};

/// Fields that came with a minor version of Kubernetes 1, by the kind they are in (`*` for every kind). Where the real server is older
/// they are left out of both answers.
const NEWER: &[(&str, &str, u32)] = &[
    ("Service", "internalTrafficPolicy", 22),
    ("Service", "ipFamilies", 21),
    ("Service", "ipFamilyPolicy", 21),
    ("Service", "allocateLoadBalancerNodePorts", 24),
    ("Service", "ipMode", 30),
    ("StatefulSet", "persistentVolumeClaimRetentionPolicy", 27),
    ("StatefulSet", "availableReplicas", 22),
    ("DaemonSet", "maxSurge", 22),
    ("Job", "completionMode", 22),
    ("Job", "suspend", 22),
    ("Job", "podReplacementPolicy", 29),
    ("Job", "manualSelector", 27),
    ("Job", "uncountedTerminatedPods", 23),
    ("Job", "ready", 24),
    ("Job", "terminating", 28),
    ("*", "batch.kubernetes.io/job-name", 27),
    ("*", "batch.kubernetes.io/controller-uid", 27),
    ("*", "kubernetes.io/metadata.name", 21),
];

/// The parts of objects that are named so hold what each server chooses itself.
const CHOSEN: &[(&str, &str)] = &[
    ("uid", "UID"),
    ("controller-uid", "UID"),
    ("resourceVersion", "VERSION"),
    ("creationTimestamp", "TIME"),
    ("deletionTimestamp", "TIME"),
    ("lastTransitionTime", "TIME"),
    ("lastUpdateTime", "TIME"),
    ("lastProbeTime", "TIME"),
    ("startTime", "TIME"),
    ("completionTime", "TIME"),
    ("startedAt", "TIME"),
    ("finishedAt", "TIME"),
    ("time", "TIME"),
    ("continue", "TOKEN"),
    ("podIP", "ADDRESS"),
    ("hostIP", "ADDRESS"),
];

/// The answer, normalised for a real server of that minor version.
pub fn normalise(answer: &Value, minor: u32) -> Value {
    let kind = answer.get("kind").and_then(Value::as_str).unwrap_or_default();
    object(answer, kind.trim_end_matches("List"), minor)
}

fn object(value: &Value, kind: &str, minor: u32) -> Value {
    match value {
        Value::Object(fields) => {
            let kind = fields.get("kind").and_then(Value::as_str).unwrap_or(kind);
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_by_key(|(name, _)| *name);
            let kept =
                sorted.into_iter().filter(|(name, value)| !is_left_out(name, value, kind, minor));
            let kept = kept.map(|(name, value)| (name.clone(), field(name, value, kind, minor)));
            Value::Object(kept.collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(|item| object(item, kind, minor)).collect(),
        Value::String(text) => Value::String(without_chance(text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn is_left_out(name: &str, value: &Value, kind: &str, minor: u32) -> bool {
    // In sets of fields each name has a prefix.
    let name = name.strip_prefix("f:").unwrap_or(name);
    name == "selfLink"
        // 1.20 does not tell empty parts in the same way as later ones.
        || (name == "creationTimestamp" && value.is_null())
        || NEWER.iter().any(|(of, newer, since)| {
            *newer == name && minor < *since && (*of == "*" || *of == kind)
        })
}

fn field(name: &str, value: &Value, kind: &str, minor: u32) -> Value {
    if let Some((_, shown)) = CHOSEN.iter().find(|(chosen, _)| *chosen == name)
        && value.as_str().is_some_and(|text| !text.is_empty())
    {
        return Value::from(*shown);
    }
    match (name, value) {
        ("clusterIP", Value::String(address)) if !matches!(address.as_str(), "" | "None") => {
            "ADDRESS".into()
        }
        ("clusterIPs", Value::Array(list)) if *list != [Value::from("None")] => "ADDRESSES".into(),
        ("nodePort", Value::Number(port)) if port.as_u64() != Some(0) => "PORT".into(),
        // Budgets were beta until 1.21.
        ("apiVersion", Value::String(version)) if version == "policy/v1beta1" => "policy/v1".into(),
        _ => object(value, kind, minor),
    }
}

/// A text with its times and uids replaced.
fn without_chance(text: &str) -> String {
    let time = replace(text, "dddd-dd-ddTdd:dd:ddZ", "TIME");
    replace(&time, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", "UID")
}

/// Replaces what has the form of a pattern: `d` is a digit, `x` a hexadecimal one, anything else is itself.
fn replace(text: &str, pattern: &str, with: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let pattern: Vec<char> = pattern.chars().collect();
    let fits = |part: &[char]| {
        part.iter().zip(&pattern).all(|(letter, form)| match form {
            'd' => letter.is_ascii_digit(),
            'x' => letter.is_ascii_hexdigit(),
            form => letter == form,
        })
    };
    let mut replaced = String::new();
    let mut rest = letters.as_slice();
    while let Some((first, after)) = rest.split_first() {
        match rest.split_at_checked(pattern.len()) {
            Some((part, after)) if fits(part) => {
                replaced.push_str(with);
                rest = after;
            }
            _ => {
                replaced.push(*first);
                rest = after;
            }
        }
    }
    replaced
}

#[cfg(test)]
mod tests {
    use super::normalise;
    use serde_json::json;

    #[test]
    fn what_a_server_chooses_is_replaced_and_what_it_says_stays() {
        let answer = json!({"kind": "Service", "metadata": {"uid": "1", "name": "a", "selfLink": "/x"},
            "spec": {"clusterIP": "10.0.0.7", "ports": [{"nodePort": 31000, "port": 80}]}});
        let normal = json!({"kind": "Service", "metadata": {"uid": "UID", "name": "a"},
            "spec": {"clusterIP": "ADDRESS", "ports": [{"nodePort": "PORT", "port": 80}]}});
        assert_eq!(normalise(&answer, 29), normal);
    }

    #[test]
    fn a_headless_service_keeps_that_it_has_no_address() {
        let answer =
            json!({"kind": "Service", "spec": {"clusterIP": "None", "clusterIPs": ["None"]}});
        assert_eq!(normalise(&answer, 29), answer);
    }

    #[test]
    fn newer_fields_are_left_out_for_older_servers_only() {
        let answer =
            json!({"kind": "DaemonSet", "spec": {"maxSurge": 0}, "managed": {"f:maxSurge": {}}});
        assert_eq!(normalise(&answer, 20), json!({"kind": "DaemonSet", "spec": {}, "managed": {}}));
        assert_eq!(normalise(&answer, 22), answer);
        let other = json!({"kind": "Deployment", "spec": {"maxSurge": 0}});
        assert_eq!(normalise(&other, 20), other);
    }

    #[test]
    fn times_and_uids_in_messages_are_replaced() {
        let answer =
            json!("conflict at 2026-01-02T03:04:05Z of 01234567-89ab-cdef-0123-456789abcdef");
        assert_eq!(normalise(&answer, 20), json!("conflict at TIME of UID"));
    }
}
