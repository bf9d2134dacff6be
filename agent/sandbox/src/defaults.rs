//! The defaults that the server writes into the kinds that we render.
//!
//! Absent: defaults of kinds that are not named here, although some have them in Kubernetes (CSI drivers).

use serde_json::{Value, json};

use crate::object::{self, set, set_default, text};

/// Fills in what is absent. Runs on every write and is idempotent.
pub(crate) fn fill(group: &str, kind: &str, value: &mut Value) {
    match (group, kind) {
        ("", "Pod") => pod::pod(value),
        ("", "PodTemplate") => template(value, "template"),
        ("", "ReplicationController") => replication_controller(value),
        ("", "Service") => service(value),
        ("", "PersistentVolumeClaim") => claim(value),
        ("", "PersistentVolume") => {
            with_spec(value, |spec| {
                set_default(spec, "persistentVolumeReclaimPolicy", "Retain");
                set_default(spec, "volumeMode", "Filesystem");
                if let Some(source) = spec.get_mut("hostPath") {
                    set_default(source, "type", "");
                }
            });
            set_nested_default(value, "status", "phase", "Pending");
        }
        ("", "Secret") => secret(value),
        ("", "Namespace") => namespace(value),
        ("", "LimitRange") => items_mut(value, "/spec/limits").for_each(limit),
        ("", "Endpoints") => {
            for subset in items_mut(value, "/subsets") {
                for port in items_mut(subset, "/ports") {
                    set_default(port, "protocol", "TCP");
                }
            }
        }
        ("apps", _) => workload(kind, value),
        ("batch", "Job") => {
            if object::map(value, "/metadata/labels").is_none_or(serde_json::Map::is_empty)
                && let Some(labels) = value.pointer("/spec/template/metadata/labels").cloned()
            {
                object::set_metadata(value, "labels", labels);
            }
            with_spec(value, job);
        }
        ("batch", "CronJob") => with_spec(value, |spec| {
            set_default(spec, "concurrencyPolicy", "Allow");
            set_default(spec, "suspend", false);
            set_default(spec, "successfulJobsHistoryLimit", 3);
            set_default(spec, "failedJobsHistoryLimit", 1);
            if let Some(spec) = spec.pointer_mut("/jobTemplate/spec") {
                template(spec, "template");
            }
        }),
        ("autoscaling", "HorizontalPodAutoscaler") => with_spec(value, autoscaler),
        ("networking.k8s.io", "NetworkPolicy") => with_spec(value, network_policy),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => binding(value),
        ("storage.k8s.io", "StorageClass") => {
            set_default(value, "reclaimPolicy", "Delete");
            set_default(value, "volumeBindingMode", "Immediate");
        }
        ("scheduling.k8s.io", "PriorityClass") => {
            set_default(value, "preemptionPolicy", "PreemptLowerPriority");
        }
        ("admissionregistration.k8s.io", _) => webhooks(kind, value),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(value),
        ("discovery.k8s.io", "EndpointSlice") => {
            for port in items_mut(value, "/ports") {
                set_default(port, "protocol", "TCP");
                set_default(port, "name", "");
            }
        }
        _ => {}
    }
}

/// The entries of the list at a pointer.
pub(crate) fn items_mut<'a>(
    value: &'a mut Value,
    pointer: &str,
) -> impl Iterator<Item = &'a mut Value> {
    value.pointer_mut(pointer).and_then(Value::as_array_mut).into_iter().flatten()
}

fn with_spec(value: &mut Value, fill: impl FnOnce(&mut Value)) {
    if let Some(spec) = value.get_mut("spec").filter(|spec| spec.is_object()) {
        fill(spec);
    }
}

fn set_nested_default(value: &mut Value, field: &str, inner: &str, default: impl Into<Value>) {
    if let Some(fields) = object::map_mut(value, field) {
        fields.entry(inner.to_owned()).or_insert_with(|| default.into());
    }
}

fn template(value: &mut Value, field: &str) {
    if let Some(spec) = value.pointer_mut(&format!("/{field}/spec")).filter(|spec| spec.is_object())
    {
        pod::spec(spec);
    }
}

fn workload(kind: &str, value: &mut Value) {
    with_spec(value, |spec| {
        match kind {
            "Deployment" => {
                set_default(spec, "replicas", 1);
                set_default(spec, "revisionHistoryLimit", 10);
                set_default(spec, "progressDeadlineSeconds", 600);
                rolling(
                    spec,
                    "strategy",
                    &[("maxUnavailable", json!("25%")), ("maxSurge", json!("25%"))],
                );
            }
            "ReplicaSet" => set_default(spec, "replicas", 1),
            "StatefulSet" => {
                set_default(spec, "podManagementPolicy", "OrderedReady");
                set_default(spec, "replicas", 1);
                set_default(spec, "revisionHistoryLimit", 10);
                // A strategy that says what it is gets no numbers that it does not speak of.
                if text(spec, "/updateStrategy/type").is_empty()
                    || spec.pointer("/updateStrategy/rollingUpdate").is_some()
                {
                    rolling(spec, "updateStrategy", &[("partition", json!(0))]);
                }
                let retention = json!({"whenDeleted": "Retain", "whenScaled": "Retain"});
                set_default(spec, "persistentVolumeClaimRetentionPolicy", retention);
                if let Some(retention) = spec.get_mut("persistentVolumeClaimRetentionPolicy") {
                    set_default(retention, "whenDeleted", "Retain");
                    set_default(retention, "whenScaled", "Retain");
                }
                for claim_template in items_mut(spec, "/volumeClaimTemplates") {
                    set(claim_template, "apiVersion", "v1".into());
                    set(claim_template, "kind", "PersistentVolumeClaim".into());
                    claim(claim_template);
                }
            }
            "DaemonSet" => {
                set_default(spec, "revisionHistoryLimit", 10);
                rolling(
                    spec,
                    "updateStrategy",
                    &[("maxUnavailable", json!(1)), ("maxSurge", json!(0))],
                );
            }
            _ => return,
        }
        template(spec, "template");
    });
}

/// The update strategy: rolling unless said otherwise, with its numbers.
fn rolling(spec: &mut Value, field: &str, numbers: &[(&str, Value)]) {
    let Some(strategy) = object::map_mut(spec, field) else { return };
    if strategy.get("type").and_then(Value::as_str).unwrap_or_default().is_empty() {
        strategy.insert("type".to_owned(), "RollingUpdate".into());
    }
    if strategy.get("type").and_then(Value::as_str) != Some("RollingUpdate") {
        return;
    }
    let rolling = strategy.entry("rollingUpdate".to_owned()).or_insert_with(|| json!({}));
    for (name, default) in numbers {
        set_default(rolling, name, default.clone());
    }
}

fn job(spec: &mut Value) {
    let has_completions = spec.get("completions").is_some();
    let has_parallelism = spec.get("parallelism").is_some();
    if !has_completions && !has_parallelism {
        set_default(spec, "completions", 1);
    }
    set_default(spec, "parallelism", 1);
    set_default(spec, "backoffLimit", 6);
    set_default(spec, "completionMode", "NonIndexed");
    set_default(spec, "suspend", false);
    let replacement =
        if spec.get("podFailurePolicy").is_some() { "Failed" } else { "TerminatingOrFailed" };
    set_default(spec, "podReplacementPolicy", replacement);
    template(spec, "template");
}

/// The template's labels are those of the controller and what it selects, unless it says otherwise.
fn replication_controller(value: &mut Value) {
    if let Some(labels) = value.pointer("/spec/template/metadata/labels").cloned() {
        if object::map(value, "/metadata/labels").is_none_or(serde_json::Map::is_empty) {
            object::set_metadata(value, "labels", labels.clone());
        }
        with_spec(value, |spec| {
            if object::map(spec, "/selector").is_none_or(serde_json::Map::is_empty) {
                set(spec, "selector", labels);
            }
        });
    }
    with_spec(value, |spec| {
        set_default(spec, "replicas", 1);
        template(spec, "template");
    });
}

/// What a container is limited to and asks for when it says nothing.
fn limit(limit: &mut Value) {
    if text(limit, "/type") != "Container" {
        return;
    }
    for (from, to) in [("max", "default"), ("default", "defaultRequest"), ("min", "defaultRequest")]
    {
        let amounts = object::map(limit, &format!("/{from}")).cloned().unwrap_or_default();
        for (name, amount) in amounts {
            set_nested_default(limit, to, &name, amount);
        }
    }
}

fn service(value: &mut Value) {
    with_spec(value, |spec| {
        set_default(spec, "sessionAffinity", "None");
        set_default(spec, "type", "ClusterIP");
        let kind = text(spec, "/type").to_owned();
        if text(spec, "/sessionAffinity") == "ClientIP" {
            set_default(
                spec,
                "sessionAffinityConfig",
                json!({"clientIP": {"timeoutSeconds": 10800}}),
            );
        } else {
            set(spec, "sessionAffinityConfig", Value::Null);
        }
        if kind == "NodePort" || kind == "LoadBalancer" {
            set_default(spec, "externalTrafficPolicy", "Cluster");
        }
        if kind == "LoadBalancer" {
            set_default(spec, "allocateLoadBalancerNodePorts", true);
        }
        if kind != "ExternalName" {
            set_default(spec, "internalTrafficPolicy", "Cluster");
        }
        for port in items_mut(spec, "/ports") {
            set_default(port, "protocol", "TCP");
            let number = port.get("port").cloned().unwrap_or(Value::Null);
            let target = port.get("targetPort");
            if target.is_none_or(|target| target == &json!(0) || target == &json!(""))
                && !number.is_null()
            {
                set(port, "targetPort", number);
            }
        }
    });
}

fn claim(value: &mut Value) {
    with_spec(value, |spec| set_default(spec, "volumeMode", "Filesystem"));
    set_nested_default(value, "status", "phase", "Pending");
}

fn secret(value: &mut Value) {
    set_default(value, "type", "Opaque");
    let Some(Value::Object(plain)) =
        value.as_object_mut().and_then(|value| value.remove("stringData"))
    else {
        return;
    };
    if let Some(data) = object::map_mut(value, "data") {
        for (key, entry) in plain {
            use base64::Engine as _;
            let encoded = base64::engine::general_purpose::STANDARD
                .encode(entry.as_str().unwrap_or_default());
            data.insert(key, encoded.into());
        }
    }
}

fn namespace(value: &mut Value) {
    let name = object::name(value).to_owned();
    if !name.is_empty()
        && let Some(metadata) = object::map_mut(value, "metadata")
    {
        let labels = metadata.entry("labels".to_owned()).or_insert_with(|| json!({}));
        set(labels, "kubernetes.io/metadata.name", name.into());
    }
    set_nested_default(value, "status", "phase", "Active");
}

fn autoscaler(spec: &mut Value) {
    set_default(spec, "minReplicas", 1);
    if object::list(spec, "/metrics").is_empty() {
        let metric = json!([{"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": 80}}}]);
        set(spec, "metrics", metric);
    }
    if let Some(behavior) = spec.get_mut("behavior") {
        let up = json!([{"type": "Pods", "value": 4, "periodSeconds": 15},
            {"type": "Percent", "value": 100, "periodSeconds": 15}]);
        let down = json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]);
        for (direction, policies, window) in [("scaleUp", up, Some(0)), ("scaleDown", down, None)] {
            set_default(behavior, direction, json!({}));
            if let Some(rules) = behavior.get_mut(direction) {
                set_default(rules, "policies", policies);
                set_default(rules, "selectPolicy", "Max");
                if let Some(window) = window {
                    set_default(rules, "stabilizationWindowSeconds", window);
                }
            }
        }
    }
}

fn network_policy(spec: &mut Value) {
    if object::list(spec, "/policyTypes").is_empty() {
        let mut types = vec!["Ingress"];
        if !object::list(spec, "/egress").is_empty() {
            types.push("Egress");
        }
        set(spec, "policyTypes", json!(types));
    }
    for direction in ["/ingress", "/egress"] {
        for rule in items_mut(spec, direction) {
            for port in items_mut(rule, "/ports") {
                set_default(port, "protocol", "TCP");
            }
        }
    }
}

fn binding(value: &mut Value) {
    const GROUP: &str = "rbac.authorization.k8s.io";
    if let Some(role) = value.get_mut("roleRef").filter(|role| role.is_object())
        && text(role, "/apiGroup").is_empty()
    {
        set(role, "apiGroup", GROUP.into());
    }
    for subject in items_mut(value, "/subjects") {
        if matches!(text(subject, "/kind"), "User" | "Group") {
            set_default(subject, "apiGroup", GROUP);
        }
    }
}

fn webhooks(kind: &str, value: &mut Value) {
    for webhook in items_mut(value, "/webhooks") {
        set_default(webhook, "failurePolicy", "Fail");
        set_default(webhook, "matchPolicy", "Equivalent");
        set_default(webhook, "namespaceSelector", json!({}));
        set_default(webhook, "objectSelector", json!({}));
        set_default(webhook, "timeoutSeconds", 10);
        if kind == "MutatingWebhookConfiguration" {
            set_default(webhook, "reinvocationPolicy", "Never");
        }
        if let Some(service) = webhook.pointer_mut("/clientConfig/service") {
            set_default(service, "port", 443);
        }
        for rule in items_mut(webhook, "/rules") {
            set_default(rule, "scope", "*");
        }
    }
}

fn definition(value: &mut Value) {
    with_spec(value, |spec| {
        set_default(spec, "conversion", json!({"strategy": "None"}));
        if let Some(names) = spec.get_mut("names") {
            let kind = text(names, "/kind").to_owned();
            if !kind.is_empty() {
                set_default(names, "singular", kind.to_lowercase());
                set_default(names, "listKind", format!("{kind}List"));
            }
        }
    });
}

pub(crate) mod pod;
