//! The rules of what has a size: configuration and secrets, quotas and limits, budgets and autoscalers.

use serde_json::{Value, json};

use super::place::Place;
use crate::quantity;
use crate::status::Cause;

/// The most that a `ConfigMap` or a Secret holds, in bytes.
const MOST: usize = 1_048_576;

pub(super) fn configuration(whole: &Place<'_>, causes: &mut Vec<Cause>) {
    let (data, binary) = (whole.at("data"), whole.at("binaryData"));
    keys(&data, causes);
    keys(&binary, causes);
    for (key, entry) in data.entries().filter(|(key, _)| binary.has(key)) {
        let why = "duplicate of key present in binaryData";
        causes.push(Cause::invalid(entry.path, &key.into(), why));
    }
    too_long(&[data, binary], "", causes);
}

pub(super) fn secret(whole: &Place<'_>, causes: &mut Vec<Cause>) {
    const ACCOUNT: &str = "kubernetes.io/service-account.name";
    let data = whole.at("data");
    keys(&data, causes);
    too_long(std::slice::from_ref(&data), "data", causes);
    let needed: &[&str] = match whole.at("type").text() {
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        "kubernetes.io/basic-auth" if !data.has("username") && !data.has("password") => {
            &["username", "password"]
        }
        "kubernetes.io/service-account-token" => {
            let account = whole.at("metadata").at("annotations").at(ACCOUNT);
            if account.is_empty() {
                let place = format!("metadata.annotations[{ACCOUNT}]");
                causes.push(Cause::required(place, ""));
            }
            &[]
        }
        _ => &[],
    };
    for key in needed {
        let place = format!("data[{key}]");
        if !data.has(key) {
            causes.push(Cause::required(place, ""));
        } else if key.starts_with(".docker") && !is_document(data.at(key).text()) {
            let shown = "<secret contents redacted>".into();
            causes.push(Cause::invalid(place, &shown, "invalid character in JSON"));
        }
    }
}

fn is_document(encoded: &str) -> bool {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).unwrap_or_default();
    serde_json::from_slice::<serde_json::Map<String, Value>>(&bytes).is_ok()
}

fn keys(data: &Place<'_>, causes: &mut Vec<Cause>) {
    for (key, entry) in data.entries() {
        let mut invalid = |why: &str| {
            causes.push(Cause::invalid(entry.path.as_str(), &key.into(), why));
        };
        if key.len() > 253 {
            invalid("must be no more than 253 characters");
        }
        let is_met = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        if !is_met || key.is_empty() {
            invalid(
                "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
            );
        }
        if key == "." {
            invalid("must not be '.'");
        } else if key == ".." {
            invalid("must not be '..'");
        } else if key.starts_with("..") {
            invalid("must not start with '..'");
        }
    }
}

fn too_long(parts: &[Place<'_>], field: &str, causes: &mut Vec<Cause>) {
    let entries = parts.iter().flat_map(Place::entries);
    let size: usize = entries.map(|(_, entry)| entry.text().len()).sum();
    if size > MOST {
        causes.push(Cause {
            reason: "FieldValueTooLong",
            message: format!("Too long: must have at most {MOST} bytes"),
            field: field.to_owned(),
        });
    }
}

/// What a quota counts, rather than measures.
pub(super) const COUNTED: [&str; 9] = [
    "pods",
    "services",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

pub(super) fn quota(spec: &Place<'_>, causes: &mut Vec<Cause>) {
    const MEASURED: [&str; 11] = [
        "cpu",
        "memory",
        "ephemeral-storage",
        "requests.cpu",
        "requests.memory",
        "requests.storage",
        "requests.ephemeral-storage",
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
        "storage",
    ];
    for (name, amount) in spec.at("hard").entries() {
        if !name.contains('/') && !COUNTED.contains(&name) && !MEASURED.contains(&name) {
            for why in [
                "must be a standard resource type or fully qualified",
                "must be a standard resource for quota",
            ] {
                causes.push(Cause::invalid(amount.path.as_str(), &name.into(), why));
            }
        }
        let milli = quantity::milli(amount.text()).unwrap_or_default();
        if milli < 0 {
            causes.push(amount.invalid("must be greater than or equal to 0"));
        }
        if (COUNTED.contains(&name) || name.contains('/')) && milli % 1000 != 0 {
            let shown = json!([amount.value]);
            causes.push(Cause::invalid(amount.path.as_str(), &shown, "must be an integer"));
        }
    }
    let scopes = spec.at("scopes");
    let known = ["Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "PriorityClass"];
    if scopes.each().any(|scope| !known.contains(&scope.text())) {
        causes.push(scopes.invalid("unsupported scope"));
    }
}

pub(super) fn limits(spec: &Place<'_>, causes: &mut Vec<Cause>) {
    let mut types = std::collections::BTreeSet::new();
    for limit in spec.at("limits").each() {
        let kind = limit.at("type");
        let is_known = matches!(kind.text(), "Pod" | "Container" | "PersistentVolumeClaim")
            || kind.text().contains('/');
        if !is_known {
            causes.push(kind.invalid("must be a standard limit type or fully qualified"));
        }
        if !types.insert(kind.text()) {
            causes.push(kind.duplicate());
        }
        if kind.text() == "Pod" {
            for name in ["default", "defaultRequest"].into_iter().filter(|name| limit.has(name)) {
                let why = "may not be specified when `type` is 'Pod'";
                causes.push(limit.at(name).forbidden(why));
            }
        }
        bounds(&limit, causes);
    }
}

/// What is least is not more than the defaults, and those not more than what is most.
fn bounds(limit: &Place<'_>, causes: &mut Vec<Cause>) {
    // Whose field is blamed, the lesser with its words, the greater with its words.
    let pairs = [
        ("min", ("min", "min value"), ("max", "max value")),
        ("defaultRequest", ("min", "min value"), ("defaultRequest", "default request value")),
        ("defaultRequest", ("defaultRequest", "default request value"), ("max", "max value")),
        (
            "defaultRequest",
            ("defaultRequest", "default request value"),
            ("default", "default value"),
        ),
        ("default", ("min", "min value"), ("default", "default value")),
        ("default", ("default", "default value"), ("max", "max value")),
    ];
    for (blamed, (lesser, lesser_words), (greater, greater_words)) in pairs {
        for (name, amount) in limit.at(lesser).entries() {
            let most = limit.at(greater).at(name);
            let milli = |place: &Place<'_>| quantity::milli(place.text());
            if let (Some(least), Some(bound)) = (milli(&amount), milli(&most))
                && least > bound
            {
                let why = format!(
                    "{lesser_words} {} is greater than {greater_words} {}",
                    amount.text(),
                    most.text()
                );
                let place = format!("{}[{name}]", limit.path_of(blamed));
                causes.push(Cause::invalid(place, &json!([amount.value]), &why));
            }
        }
    }
}

pub(super) fn budget(spec: &Place<'_>, causes: &mut Vec<Cause>) {
    let (least, most) = (spec.at("minAvailable"), spec.at("maxUnavailable"));
    if least.is_there() && most.is_there() {
        causes.push(spec.invalid("minAvailable and maxUnavailable cannot be both set"));
    }
    least.amount_or_share(causes);
    most.amount_or_share(causes);
    spec.at("selector").selector(causes);
}

pub(super) fn autoscaler(spec: &Place<'_>, causes: &mut Vec<Cause>) {
    let (least, most) = (spec.at("minReplicas"), spec.at("maxReplicas"));
    let lowest = least.integer().unwrap_or(1);
    let shown = json!(most.integer().unwrap_or_default());
    let bound = |why: &str| Cause::invalid(most.path.as_str(), &shown, why);
    if most.integer().unwrap_or_default() < 1 {
        causes.push(bound("must be greater than 0"));
    }
    if lowest < 1 {
        causes.push(least.invalid("must be greater than or equal to 1"));
        let why = "must specify at least one Object or External metric to support scaling to zero replicas";
        causes.push(spec.at("metrics").forbidden(why));
    }
    if most.integer().unwrap_or_default() < lowest {
        causes.push(bound("must be greater than or equal to `minReplicas`"));
    }
    let target = spec.at("scaleTargetRef");
    for field in ["kind", "name"] {
        let name = target.at(field);
        name.required(causes);
        if name.text().contains('/') {
            causes.push(name.invalid("may not contain '/'"));
        }
    }
    for metric in spec.at("metrics").each() {
        self::metric(&metric, causes);
    }
    for direction in ["scaleUp", "scaleDown"] {
        let rules = spec.at("behavior").at(direction);
        let window = rules.at("stabilizationWindowSeconds");
        window.not_negative(causes);
        if window.integer().is_some_and(|seconds| seconds > 3600) {
            causes.push(window.invalid("must be less than or equal to 3600"));
        }
        rules.at("selectPolicy").choice(&["Disabled", "Max", "Min"], causes);
        for policy in rules.at("policies").each() {
            policy.at("type").choice(&["Percent", "Pods"], causes);
            for name in ["value", "periodSeconds"] {
                if policy.at(name).integer().unwrap_or_default() <= 0 {
                    causes.push(policy.at(name).invalid("must be greater than zero"));
                }
            }
        }
    }
}

fn metric(metric: &Place<'_>, causes: &mut Vec<Cause>) {
    const TYPES: [&str; 5] = ["ContainerResource", "External", "Object", "Pods", "Resource"];
    let kind = metric.at("type");
    if !TYPES.contains(&kind.text()) {
        // The real server tells it twice.
        causes.extend([kind.unsupported(&TYPES), kind.unsupported(&TYPES)]);
        return;
    }
    let field = match kind.text() {
        "ContainerResource" => "containerResource",
        "External" => "external",
        "Object" => "object",
        "Pods" => "pods",
        _ => "resource",
    };
    let source = metric.at(field);
    if !source.is_there() {
        causes.push(source.missing("must populate information for the given metric source"));
        return;
    }
    let target = source.at("target");
    if field == "resource" && !target.has("averageUtilization") && !target.has("averageValue") {
        let why = "must set either a target raw value or a target utilization";
        causes.push(target.at("averageUtilization").missing(why));
    }
}
