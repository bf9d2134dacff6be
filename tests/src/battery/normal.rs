//! Answers without what may differ between two servers that behave the same.

use serde_json::{Map, Value};

use super::ground::WERE_BETA;

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
    ("CronJob", "generation", 21),
    ("DaemonSet", "maxSurge", 22),
    ("Job", "completionMode", 22),
    ("Job", "suspend", 22),
    ("Job", "generation", 22),
    // By a label of another name since then.
    ("Job", "selector", 27),
    ("Job", "podReplacementPolicy", 29),
    ("Job", "manualSelector", 27),
    ("Job", "uncountedTerminatedPods", 23),
    ("Job", "ready", 24),
    ("Job", "terminating", 28),
    ("*", "batch.kubernetes.io/job-name", 27),
    ("*", "batch.kubernetes.io/controller-uid", 27),
    ("*", "kubernetes.io/metadata.name", 21),
];

/// Kinds whose status controllers write at any moment; behaviours tell of it where they wait for it. A status alone is kept.
const CONTROLLED: &[&str] = &[
    "Deployment",
    "ReplicaSet",
    "StatefulSet",
    "DaemonSet",
    "Job",
    "PodDisruptionBudget",
    "Namespace",
];

/// What controllers and admission write into objects of others, at any moment or in one version only.
const ASIDE: &[&str] = &[
    "selfLink",
    "deployment.kubernetes.io/revision",
    "deprecated.daemonset.template.generation",
    // Who wrote through a subresource is told since 1.22, and what a main write says of the status is not kept since then.
    "subresource",
    "f:status",
    // The cluster's default class is the cluster's affair.
    "storageClassName",
    // Of no use to clients.
    "storageVersionHash",
    // Has been in use for nothing since 1.20.
    "collisionCount",
];

/// Words of 1.20 and those of later versions for the same.
const REWORDED: &[(&str, &str)] = &[
    ("at least one letter or number (a-z, 0-9)", "at least one letter (a-z)"),
    ("data[%s]", "data"),
    ("Expected exactly", "expected exactly"),
    ("Failed to parse", "failed to parse"),
    ("End of range", "end of range"),
    ("cannot be 0 when maxSurge is 0", "cannot be 0"),
    (", \"ReadWriteOncePod\"", ""),
    (" with subresource \"status\"", ""),
];

/// Managers that write when they like.
const CONTROLLERS: &[&str] = &["kube-controller-manager", "kubelet"];

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

/// Whether nothing is in a part that says nothing then; often all that was in it was left out.
fn is_hollow(name: &str, after: &Value) -> bool {
    let is_empty = |value: &Value| match value {
        Value::Object(fields) => fields.iter().all(|(name, _)| name == "."),
        Value::Array(items) => items.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    };
    let may_be = matches!(
        name,
        "labels" | "annotations" | "f:labels" | "f:annotations" | "f:metadata" | "managedFields"
    );
    may_be && is_empty(after)
}

fn is_a_controllers(entry: &Value) -> bool {
    let manager = entry.get("manager").and_then(Value::as_str);
    manager.is_some_and(|manager| CONTROLLERS.contains(&manager))
        && entry.get("fieldsType").is_some()
}

/// An entry of managed fields that says nothing any more.
fn is_void(entry: &Value) -> bool {
    entry.get("fieldsV1").and_then(Value::as_object).is_some_and(Map::is_empty)
}

fn object(value: &Value, kind: &str, minor: u32) -> Value {
    match value {
        Value::Object(fields) => {
            let kind = fields.get("kind").and_then(Value::as_str).unwrap_or(kind);
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_by_key(|(name, _)| *name);
            let is_whole = fields.contains_key("metadata") && CONTROLLED.contains(&kind);
            let kept = sorted
                .into_iter()
                .filter(|(name, value)| !is_left_out(name, value, kind, minor))
                .filter(|(name, _)| !(is_whole && name.as_str() == "status"))
                .map(|(name, value)| (name, field(name, value, kind, minor)))
                .filter(|(name, after)| !is_hollow(name, after))
                .map(|(name, after)| (without_chance(name), after));
            Value::Object(kept.collect::<Map<_, _>>())
        }
        Value::Array(items) => {
            let kept = items.iter().filter(|item| !is_a_controllers(item));
            let kept = kept.map(|item| object(item, kind, minor)).filter(|item| !is_void(item));
            let mut kept: Vec<Value> = kept.collect();
            // In what order managers of one second, and causes of one refusal, are told says nothing.
            if items.iter().any(|item| {
                item.get("fieldsType").is_some() || item.get("field").is_some() || *item == "watch"
            }) {
                kept.sort_by_cached_key(Value::to_string);
            }
            Value::Array(kept)
        }
        Value::String(text) => Value::String(without_values(&without_chance(text))),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn is_left_out(name: &str, value: &Value, kind: &str, minor: u32) -> bool {
    let full = name;
    // In sets of fields each name has a prefix.
    let name = name.strip_prefix("f:").unwrap_or(name);
    ASIDE.contains(&full)
        || ASIDE.contains(&name)
        // 1.20 does not tell empty parts in the same way as later ones.
        || (name == "creationTimestamp" && value.is_null())
        || NEWER.iter().any(|(of, newer, since)| {
            *newer == name && minor < *since && (*of == "*" || *of == kind)
        })
}

fn field(name: &str, value: &Value, kind: &str, minor: u32) -> Value {
    if let Some(causes) = value.as_array().filter(|_| name == "causes") {
        return object(&causes.iter().map(without_what_a_decoder_says).collect(), kind, minor);
    }
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
        ("group", Value::String(group)) if group == "extensions" => "networking.k8s.io".into(),
        ("apiVersion", Value::String(version)) => {
            let was_beta = WERE_BETA.iter().find(|(.., then)| then == version);
            was_beta.map_or(version.as_str(), |(_, now, _)| *now).into()
        }
        _ => object(value, kind, minor),
    }
}

/// A cause without what differs between versions: how a decoder says what it cannot read, and how much is too much.
fn without_what_a_decoder_says(cause: &Value) -> Value {
    let mut shown = cause.clone();
    let is = |name: &str, words: &[&str]| {
        let found = cause.get(name).and_then(Value::as_str).unwrap_or_default();
        words.iter().any(|word| found.contains(word))
    };
    // What is too much of a custom resource, and of a wrong type, was just invalid before 1.24.
    let is_too_much = is("reason", &["FieldValueTooLong", "FieldValueTooMany"])
        || is("message", &["in body should be at most", "in body should have at most"]);
    if is_too_much || is("field", &["patch"]) {
        shown["message"] = "Invalid value".into();
    }
    if is_too_much || is("reason", &["FieldValueTypeInvalid"]) {
        shown["reason"] = "FieldValueInvalid".into();
    }
    shown
}

/// A message without the values that it shows: older servers show them in Go's words, newer ones in JSON, and some as a comparison.
fn without_values(text: &str) -> String {
    let text = text.split('\n').next().unwrap_or_default();
    // The single mistakes are told as causes, in an order that differs.
    let text = text.split(" is invalid: [").next().unwrap_or_default();
    let text = &match text.split_once(" limit of ") {
        Some((before, _)) => format!("{before} limit"),
        None => text.to_owned(),
    };
    let text = &REWORDED.iter().fold(text.to_owned(), |text, (old, new)| text.replace(old, new));
    // Which words of a schedule were found is told in two ways.
    let text = match text.split_once("expected exactly 5 fields, found ") {
        Some((before, _)) => format!("{before}expected exactly 5 fields"),
        None => text.clone(),
    };
    // And so is what is not the same type, with addresses.
    let text = match text.split_once("expected objects of the same type") {
        Some((before, _)) => format!("{before}expected objects of the same type"),
        None => text,
    };
    let text = &match text.split_once("invalid character ") {
        Some((before, after)) if !after.starts_with("U+") => format!("{before}invalid character"),
        _ => text,
    };
    // How a decoder says what it cannot read differs between versions.
    let text = match text.split_once(" cannot be handled as a ") {
        Some((before, after)) => {
            format!(
                "{before} cannot be handled as a {}",
                after.split(':').next().unwrap_or_default()
            )
        }
        None => text.to_owned(),
    };
    let text = &text;
    // The list of what may be changed grows with the versions.
    let text = text.split("fields other than").next().unwrap_or_default();
    let text = text.replace("Ingress.extensions", "Ingress.networking.k8s.io");
    // Which object it was is told since 1.27.
    let text = match text.split_once("failed to create typed patch object (") {
        Some((before, after)) => {
            let why = after.split_once("): ").map_or(after, |(_, why)| why);
            format!("{before}failed to create typed patch object: {why}")
        }
        None => text.clone(),
    };
    let text = without_number(&text, "does not match the ResourceVersion in record (");
    let text = without_number(&text, "the ResourceVersion in the precondition (");
    let mut shown = String::new();
    let mut rest = text.as_str();
    while let Some(at) = [" value: ", "finalizers "]
        .iter()
        .filter_map(|word| Some(rest.find(word)? + word.len()))
        .min()
    {
        let (before, after) = rest.split_at(at);
        shown.push_str(before);
        let end = value_length(after);
        let (value, after) = after.split_at(end);
        let is_number = value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        // A share is a part of a composed value in older servers.
        let is_share = after.contains("percent string") || after.contains("greater than 100%");
        let is_composed = is_number
            || is_share
            || value == "null"
            || (value.contains(['{', '[', '(']) && !value.starts_with('"'));
        shown.push_str(if is_composed { "VALUE" } else { value });
        rest = after;
    }
    shown.push_str(rest);
    shown
}

/// A text with the number after those words replaced.
fn without_number(text: &str, words: &str) -> String {
    let Some((before, after)) = text.split_once(words) else { return text.to_owned() };
    let rest = after.trim_start_matches(|letter: char| letter.is_ascii_digit());
    format!("{before}{words}VERSION{rest}")
}

/// Up to where the text's first value goes: to the next colon or comma that is outside of its brackets and quotes.
fn value_length(text: &str) -> usize {
    let (mut depth, mut is_quoted, mut is_escaped) = (0_u32, false, false);
    for (at, letter) in text.char_indices() {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ if is_quoted => {}
            '{' | '[' | '(' => depth += 1,
            '}' | ']' | ')' | ':' | ',' if depth == 0 => return at,
            '}' | ']' | ')' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

/// A text with its times and uids replaced.
fn without_chance(text: &str) -> String {
    let time = replace(text, "dddd-dd-ddTdd:dd:ddZ", "TIME");
    // As a part of a message, where newer servers quote it.
    let time = replace(&time, "dddd-dd-dd dd:dd:dd +dddd UTC", "TIME").replace("\"TIME\"", "TIME");
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
    fn values_in_messages_are_left_out_however_they_are_shown() {
        let old = json!(
            "spec: Invalid value: v1.LabelSelector{A:map[string]string{\"a\":\"b\"}}: field is immutable, x"
        );
        let new =
            json!("spec: Invalid value: {\"matchLabels\":{\"a\":\"b\"}}: field is immutable, x");
        assert_eq!(normalise(&old, 20), normalise(&new, 20));
        assert_ne!(
            normalise(&json!("a: Invalid value: \"x\": no"), 20),
            normalise(&json!("a: Invalid value: \"y\": no"), 20)
        );
    }

    #[test]
    fn what_controllers_write_meanwhile_is_left_out() {
        let quiet = json!({"kind": "Deployment", "metadata": {"name": "a"}, "spec": {}});
        let busy = json!({"kind": "Deployment", "metadata": {"name": "a",
            "annotations": {"deployment.kubernetes.io/revision": "1"},
            "managedFields": [{"manager": "kube-controller-manager", "fieldsType": "FieldsV1"}]}, "spec": {}, "status": {"replicas": 1}});
        assert_eq!(normalise(&busy, 20), normalise(&quiet, 20));
        let status = json!({"kind": "Deployment", "status": {"replicas": 1}});
        assert_eq!(normalise(&status, 20), status);
    }

    #[test]
    fn times_and_uids_in_messages_are_replaced() {
        let answer =
            json!("conflict at 2026-01-02T03:04:05Z of 01234567-89ab-cdef-0123-456789abcdef");
        assert_eq!(normalise(&answer, 20), json!("conflict at TIME of UID"));
    }
}
