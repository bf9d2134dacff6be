//! The rules of each kind, apart from what may change.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::pod::{self, choice};
use super::{not_negative, port};
use crate::object::{integer, is_true, list, map, name, text};
use crate::selector;
use crate::status::Cause;

/// What is wrong with an object.
pub(super) fn check(group: &str, kind: &str, value: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    match (group, kind) {
        ("", "Pod") => match value.get("spec") {
            Some(spec) => pod::spec(spec, "spec", &mut causes),
            None => causes.push(Cause::required("spec.containers", "")),
        },
        ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet") => {
            workload(kind, value, &mut causes);
        }
        ("batch", "Job") => job(value, "spec", &mut causes),
        ("batch", "CronJob") => cron_job(value, &mut causes),
        ("", "Service") => service(value, &mut causes),
        ("", "PersistentVolumeClaim") => claim(value, "spec", &mut causes),
        ("", "ConfigMap") => keys(value, &["data", "binaryData"], &mut causes),
        ("", "Secret") => secret(value, &mut causes),
        ("networking.k8s.io", "Ingress") => ingress(value, &mut causes),
        ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => role(kind, value, &mut causes),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => {
            binding(kind, value, &mut causes);
        }
        ("policy", "PodDisruptionBudget")
            if value.pointer("/spec/minAvailable").is_some()
                && value.pointer("/spec/maxUnavailable").is_some() =>
        {
            let spec = value.get("spec").cloned().unwrap_or_default();
            let why = "minAvailable and maxUnavailable cannot be both set";
            causes.push(Cause::invalid("spec", &spec, why));
        }
        ("autoscaling", "HorizontalPodAutoscaler") => autoscaler(value, &mut causes),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(value, &mut causes),
        ("storage.k8s.io", "StorageClass") if text(value, "/provisioner").is_empty() => {
            causes.push(Cause::required("provisioner", ""));
        }
        _ => {}
    }
    causes
}

fn workload(kind: &str, value: &Value, causes: &mut Vec<Cause>) {
    not_negative(value, "/spec/replicas", causes);
    not_negative(value, "/spec/minReadySeconds", causes);
    not_negative(value, "/spec/revisionHistoryLimit", causes);
    let claims: Vec<&str> = list(value, "/spec/volumeClaimTemplates")
        .iter()
        .map(|claim| text(claim, "/metadata/name"))
        .collect();
    pod::template(value.pointer("/spec/template"), "spec.template", &claims, causes);
    match value.pointer("/spec/selector") {
        None => causes.push(Cause::required("spec.selector", "")),
        Some(wanted) => {
            let is_empty = map(wanted, "/matchLabels").is_none_or(serde_json::Map::is_empty)
                && list(wanted, "/matchExpressions").is_empty();
            let labels = value.pointer("/spec/template/metadata/labels").unwrap_or(&Value::Null);
            if is_empty {
                let why = "empty selector is invalid for ";
                let noun = kind.to_lowercase();
                causes.push(Cause::invalid("spec.selector", wanted, &format!("{why}{noun}")));
            } else if !selector::matches(wanted, labels) {
                let labels = if labels.is_null() { json!({}) } else { labels.clone() };
                causes.push(Cause::invalid(
                    "spec.template.metadata.labels",
                    &labels,
                    "`selector` does not match template `labels`",
                ));
            }
        }
    }
    let policy = text(value, "/spec/template/spec/restartPolicy");
    if !policy.is_empty() && policy != "Always" {
        let place = "spec.template.spec.restartPolicy";
        causes.push(Cause::unsupported(place, &policy.into(), &["Always"]));
    }
    match kind {
        "Deployment" => deployment(value, causes),
        "StatefulSet" => {
            choice(
                value.pointer("/spec").unwrap_or(value),
                "podManagementPolicy",
                "spec",
                &["OrderedReady", "Parallel"],
                causes,
            );
            not_negative(value, "/spec/updateStrategy/rollingUpdate/partition", causes);
            if !matches!(
                text(value, "/spec/updateStrategy/type"),
                "RollingUpdate" | "OnDelete" | ""
            ) {
                let given = text(value, "/spec/updateStrategy/type").into();
                causes.push(Cause::invalid(
                    "spec.updateStrategy",
                    &given,
                    "must be 'RollingUpdate' or 'OnDelete'",
                ));
            }
        }
        "DaemonSet" => {
            let kind = text(value, "/spec/updateStrategy/type");
            if !matches!(kind, "RollingUpdate" | "OnDelete") {
                causes.push(Cause::unsupported(
                    "spec.updateStrategy.type",
                    &kind.into(),
                    &["OnDelete", "RollingUpdate"],
                ));
            }
        }
        _ => {}
    }
}

fn deployment(value: &Value, causes: &mut Vec<Cause>) {
    let kind = text(value, "/spec/strategy/type");
    let rolling = value.pointer("/spec/strategy/rollingUpdate");
    match kind {
        "Recreate" if rolling.is_some() => causes.push(Cause::forbidden(
            "spec.strategy.rollingUpdate",
            "may not be specified when strategy `type` is 'Recreate'",
        )),
        "Recreate" | "RollingUpdate" => {}
        other => causes.push(Cause::unsupported(
            "spec.strategy.type",
            &other.into(),
            &["Recreate", "RollingUpdate"],
        )),
    }
    let Some(rolling) = rolling else { return };
    let is_zero = |name: &str| {
        rolling.get(name).is_some_and(|value| {
            value.as_i64() == Some(0) || matches!(value.as_str(), Some("0%" | "0"))
        })
    };
    if is_zero("maxUnavailable") && is_zero("maxSurge") {
        let given = rolling.get("maxUnavailable").cloned().unwrap_or_default();
        let place = "spec.strategy.rollingUpdate.maxUnavailable";
        causes.push(Cause::invalid(place, &given, "may not be 0 when `maxSurge` is 0"));
    }
    for name in ["maxUnavailable", "maxSurge"] {
        if let Some(word) = rolling.get(name).and_then(Value::as_str)
            && word.strip_suffix('%').is_none_or(|number| number.parse::<u32>().is_err())
        {
            let place = format!("spec.strategy.rollingUpdate.{name}");
            let why = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";
            causes.push(Cause::invalid(place, &word.into(), why));
        }
    }
}

fn job(value: &Value, field: &str, causes: &mut Vec<Cause>) {
    let at = format!("/{}", field.replace('.', "/"));
    for name in [
        "parallelism",
        "completions",
        "backoffLimit",
        "activeDeadlineSeconds",
        "ttlSecondsAfterFinished",
    ] {
        not_negative(value, &format!("{at}/{name}"), causes);
    }
    pod::template(
        value.pointer(&format!("{at}/template")),
        &format!("{field}.template"),
        &[],
        causes,
    );
    let policy = text(value, &format!("{at}/template/spec/restartPolicy"));
    if policy == "Always" {
        causes.push(Cause::required(
            format!("{field}.template.spec.restartPolicy"),
            "valid values: \"OnFailure\", \"Never\"",
        ));
    }
}

fn cron_job(value: &Value, causes: &mut Vec<Cause>) {
    let schedule = text(value, "/spec/schedule");
    if schedule.is_empty() {
        causes.push(Cause::required("spec.schedule", ""));
    } else if !schedule.starts_with('@') && schedule.split_whitespace().count() != 5 {
        let found = schedule.split_whitespace().count();
        let why = format!("expected exactly 5 fields, found {found}: [{schedule}]");
        causes.push(Cause::invalid("spec.schedule", &schedule.into(), &why));
    }
    if name(value).len() > 52 {
        let why = "must be no more than 52 characters";
        causes.push(Cause::invalid("metadata.name", &name(value).into(), why));
    }
    if let Some(spec) = value.get("spec") {
        choice(spec, "concurrencyPolicy", "spec", &["Allow", "Forbid", "Replace"], causes);
    }
    job(value, "spec.jobTemplate.spec", causes);
}

fn service(value: &Value, causes: &mut Vec<Cause>) {
    let kind = text(value, "/spec/type");
    let ports = list(value, "/spec/ports");
    if ports.is_empty() && kind != "ExternalName" && text(value, "/spec/clusterIP") != "None" {
        causes.push(Cause::required("spec.ports", ""));
    }
    let Some(spec) = value.get("spec") else { return };
    choice(
        spec,
        "type",
        "spec",
        &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"],
        causes,
    );
    choice(spec, "sessionAffinity", "spec", &["ClientIP", "None"], causes);
    if kind == "ExternalName" && text(spec, "/externalName").is_empty() {
        causes.push(Cause::required("spec.externalName", ""));
    }
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for (index, inner) in ports.iter().enumerate() {
        let at = format!("spec.ports[{index}]");
        let name = text(inner, "/name");
        if name.is_empty() && ports.len() > 1 {
            causes.push(Cause::required(format!("{at}.name"), ""));
        } else if !name.is_empty() && !names.insert(name) {
            causes.push(Cause::duplicate(format!("{at}.name"), &name.into()));
        }
        port(integer(inner, "/port"), &format!("{at}.port"), causes);
        choice(inner, "protocol", &at, &["SCTP", "TCP", "UDP"], causes);
        target_port(inner.get("targetPort"), &format!("{at}.targetPort"), causes);
        let protocol = text(inner, "/protocol");
        if !numbers.insert((integer(inner, "/port"), protocol)) {
            let shown = json!({"port": inner.get("port"), "protocol": protocol});
            causes.push(Cause::duplicate(at, &shown));
        }
    }
    super::labels(map(spec, "/selector"), "spec.selector", causes);
}

/// A number, or the name of a container's port.
fn target_port(target: Option<&Value>, field: &str, causes: &mut Vec<Cause>) {
    let Some(name) = target.and_then(Value::as_str) else {
        if target.is_some() {
            port(target.and_then(Value::as_i64), field, causes);
        }
        return;
    };
    let invalid = |why: &str| Cause::invalid(field, &name.into(), why);
    let is_known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.len() > 15 {
        causes.push(invalid("must be no more than 15 characters"));
    }
    if !name.bytes().all(is_known) {
        causes.push(invalid(
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
        ));
    }
    if !name.bytes().any(|byte| byte.is_ascii_lowercase()) {
        causes.push(invalid("must contain at least one letter (a-z)"));
    }
}

pub(super) fn claim(value: &Value, field: &str, causes: &mut Vec<Cause>) {
    let modes = list(value, "/spec/accessModes");
    if modes.is_empty() {
        let why = "at least 1 access mode is required";
        causes.push(Cause::required(format!("{field}.accessModes"), why));
    }
    let known = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
    for mode in modes.iter().filter(|mode| !known.contains(&mode.as_str().unwrap_or_default())) {
        causes.push(Cause::unsupported(format!("{field}.accessModes"), mode, &known));
    }
    if value.pointer("/spec/resources/requests/storage").is_none() {
        causes.push(Cause::required(format!("{field}.resources[storage]"), ""));
    }
}

fn keys(value: &Value, fields: &[&str], causes: &mut Vec<Cause>) {
    for field in fields {
        for (key, _) in map(value, &format!("/{field}")).into_iter().flatten() {
            let is_met =
                key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
            if !is_met || key.is_empty() || key.len() > 253 {
                let why = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
                causes.push(Cause::invalid(format!("{field}[{key}]"), &key.as_str().into(), why));
            }
        }
    }
    let size: usize = fields
        .iter()
        .flat_map(|field| map(value, &format!("/{field}")).into_iter().flatten())
        .map(|(_, value)| value.as_str().map_or(0, str::len))
        .sum();
    if size > 1_048_576 {
        causes.push(Cause {
            reason: "FieldValueTooLong",
            message: "Too long: must have at most 1048576 bytes".to_owned(),
            field: fields.first().map_or("", |_| "").to_owned(),
        });
    }
}

fn secret(value: &Value, causes: &mut Vec<Cause>) {
    keys(value, &["data"], causes);
    let needed: &[&str] = match text(value, "/type") {
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        _ => &[],
    };
    for key in needed {
        if map(value, "/data").is_none_or(|data| !data.contains_key(*key)) {
            causes.push(Cause::required(format!("data[{key}]"), ""));
        }
    }
}

fn ingress(value: &Value, causes: &mut Vec<Cause>) {
    let rules = list(value, "/spec/rules");
    if rules.is_empty() && value.pointer("/spec/defaultBackend").is_none() {
        let spec = value.get("spec").cloned().unwrap_or_default();
        let why = "either `defaultBackend` or `rules` must be specified";
        causes.push(Cause::invalid("spec", &spec, why));
    }
    for (index, rule) in rules.iter().enumerate() {
        for (number, path) in list(rule, "/http/paths").iter().enumerate() {
            let at = format!("spec.rules[{index}].http.paths[{number}]");
            let kind = text(path, "/pathType");
            if kind.is_empty() {
                causes
                    .push(Cause::required(format!("{at}.pathType"), "pathType must be specified"));
            }
            choice(path, "pathType", &at, &["Exact", "ImplementationSpecific", "Prefix"], causes);
            let shown = text(path, "/path");
            if matches!(kind, "Exact" | "Prefix") && !shown.starts_with('/') {
                causes.push(Cause::invalid(
                    format!("{at}.path"),
                    &shown.into(),
                    "must be an absolute path",
                ));
            }
            let backend = path.get("backend").unwrap_or(&Value::Null);
            if backend.get("service").is_some() {
                if text(backend, "/service/name").is_empty() {
                    causes.push(Cause::required(format!("{at}.backend.service.name"), ""));
                }
                let has_port = integer(backend, "/service/port/number").is_some()
                    || !text(backend, "/service/port/name").is_empty();
                if !has_port {
                    let place = format!("{at}.backend.service.port");
                    causes.push(Cause::required(place, "port name or number is required"));
                }
            } else if backend.get("resource").is_none() {
                causes.push(Cause::required(
                    format!("{at}.backend"),
                    "service or resource backend is required",
                ));
            }
        }
    }
}

fn role(kind: &str, value: &Value, causes: &mut Vec<Cause>) {
    for (index, rule) in list(value, "/rules").iter().enumerate() {
        let at = format!("rules[{index}]");
        if list(rule, "/verbs").is_empty() {
            causes.push(Cause::required(
                format!("{at}.verbs"),
                "verbs must contain at least one value",
            ));
        }
        let is_path_rule = !list(rule, "/nonResourceURLs").is_empty();
        if is_path_rule {
            if kind == "Role" {
                let given = rule.get("nonResourceURLs").cloned().unwrap_or_default();
                let why = "namespaced rules cannot apply to non-resource URLs";
                causes.push(Cause::invalid(format!("{at}.nonResourceURLs"), &given, why));
            }
            if !list(rule, "/apiGroups").is_empty() || !list(rule, "/resources").is_empty() {
                let given = rule.get("nonResourceURLs").cloned().unwrap_or_default();
                let why = "rules cannot apply to both regular resources and non-resource URLs";
                causes.push(Cause::invalid(format!("{at}.nonResourceURLs"), &given, why));
            }
            continue;
        }
        if list(rule, "/apiGroups").is_empty() {
            let why = "resource rules must supply at least one api group";
            causes.push(Cause::required(format!("{at}.apiGroups"), why));
        }
        if list(rule, "/resources").is_empty() {
            let why = "resource rules must supply at least one resource";
            causes.push(Cause::required(format!("{at}.resources"), why));
        }
    }
}

fn binding(kind: &str, value: &Value, causes: &mut Vec<Cause>) {
    const GROUP: &str = "rbac.authorization.k8s.io";
    let role = value.get("roleRef").unwrap_or(&Value::Null);
    if text(role, "/apiGroup") != GROUP {
        causes.push(Cause::unsupported(
            "roleRef.apiGroup",
            &text(role, "/apiGroup").into(),
            &[GROUP],
        ));
    }
    let kinds: &[&str] =
        if kind == "RoleBinding" { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    if !kinds.contains(&text(role, "/kind")) {
        causes.push(Cause::unsupported("roleRef.kind", &text(role, "/kind").into(), kinds));
    }
    if text(role, "/name").is_empty() {
        causes.push(Cause::required("roleRef.name", ""));
    }
    for (index, subject) in list(value, "/subjects").iter().enumerate() {
        let at = format!("subjects[{index}]");
        if text(subject, "/name").is_empty() {
            causes.push(Cause::required(format!("{at}.name"), ""));
        }
        match text(subject, "/kind") {
            "ServiceAccount" => {
                // Inside a namespace the account is the binding's neighbour.
                if kind == "ClusterRoleBinding" && text(subject, "/namespace").is_empty() {
                    causes.push(Cause::required(format!("{at}.namespace"), ""));
                }
                if !text(subject, "/apiGroup").is_empty() {
                    let given = text(subject, "/apiGroup").into();
                    causes.push(Cause::unsupported(format!("{at}.apiGroup"), &given, &[""]));
                }
            }
            "User" | "Group" => {
                if text(subject, "/apiGroup") != GROUP {
                    let given = text(subject, "/apiGroup").into();
                    causes.push(Cause::unsupported(format!("{at}.apiGroup"), &given, &[GROUP]));
                }
            }
            other => causes.push(Cause::unsupported(
                format!("{at}.kind"),
                &other.into(),
                &["ServiceAccount", "User", "Group"],
            )),
        }
    }
}

fn autoscaler(value: &Value, causes: &mut Vec<Cause>) {
    let most = integer(value, "/spec/maxReplicas").unwrap_or_default();
    let least = integer(value, "/spec/minReplicas").unwrap_or(1);
    if most < 1 {
        causes.push(Cause::invalid("spec.maxReplicas", &most.into(), "must be greater than 0"));
    }
    if least < 1 {
        causes.push(Cause::invalid(
            "spec.minReplicas",
            &least.into(),
            "must be greater than or equal to 1",
        ));
    }
    if most < least {
        let why = "must be greater than or equal to `minReplicas`";
        causes.push(Cause::invalid("spec.maxReplicas", &most.into(), why));
    }
    for field in ["kind", "name"] {
        if text(value, &format!("/spec/scaleTargetRef/{field}")).is_empty() {
            causes.push(Cause::required(format!("spec.scaleTargetRef.{field}"), ""));
        }
    }
}

fn definition(value: &Value, causes: &mut Vec<Cause>) {
    let wanted = format!("{}.{}", text(value, "/spec/names/plural"), text(value, "/spec/group"));
    if name(value) != wanted {
        let why = "must be spec.names.plural+\".\"+spec.group";
        causes.push(Cause::invalid("metadata.name", &name(value).into(), why));
    }
    for field in ["group", "names/plural", "names/kind"] {
        if text(value, &format!("/spec/{field}")).is_empty() {
            causes.push(Cause::required(format!("spec.{}", field.replace('/', ".")), ""));
        }
    }
    let scope = text(value, "/spec/scope");
    if !matches!(scope, "Namespaced" | "Cluster") {
        causes.push(Cause::unsupported("spec.scope", &scope.into(), &["Cluster", "Namespaced"]));
    }
    let versions = list(value, "/spec/versions");
    if versions.iter().filter(|version| is_true(version, "/storage")).count() != 1 {
        let given = value.pointer("/spec/versions").cloned().unwrap_or_default();
        let why = "must have exactly one version marked as storage version";
        causes.push(Cause::invalid("spec.versions", &given, why));
    }
    for (index, version) in versions.iter().enumerate() {
        let at = format!("spec.versions[{index}].schema.openAPIV3Schema");
        match version.pointer("/schema/openAPIV3Schema") {
            None => causes.push(Cause::required(at, "schemas are required")),
            Some(schema) if text(schema, "/type") != "object" => {
                let place = format!("{at}.type");
                if text(schema, "/type").is_empty() {
                    causes.push(Cause::required(place, "must not be empty at the root"));
                } else {
                    let why = "must be object at the root";
                    causes.push(Cause::invalid(place, &text(schema, "/type").into(), why));
                }
            }
            Some(schema) => structural(schema, &at, causes),
        }
    }
}

/// A structural schema names a type everywhere.
fn structural(schema: &Value, at: &str, causes: &mut Vec<Cause>) {
    let is_free = is_true(schema, "/x-kubernetes-int-or-string")
        || is_true(schema, "/x-kubernetes-preserve-unknown-fields");
    if text(schema, "/type").is_empty() && !is_free {
        causes.push(Cause::required(
            format!("{at}.type"),
            "must not be empty for specified object fields",
        ));
    }
    for (name, inner) in map(schema, "/properties").into_iter().flatten() {
        structural(inner, &format!("{at}.properties[{name}]"), causes);
    }
    if text(schema, "/type") == "array" {
        match schema.get("items") {
            Some(items) => structural(items, &format!("{at}.items"), causes),
            None => causes.push(Cause::required(format!("{at}.items"), "must be specified")),
        }
    }
    if let Some(inner) = schema.get("additionalProperties").filter(|inner| inner.is_object()) {
        structural(inner, &format!("{at}.additionalProperties"), causes);
    }
}
