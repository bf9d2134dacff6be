//! The defaults of pods and pod templates.

use serde_json::{Value, json};

use super::items_mut;
use crate::object::{self, set, set_default, text};

/// A pod has more defaults than a template: requests from limits, service links.
pub(super) fn pod(value: &mut Value) {
    let Some(pod_spec) = value.get_mut("spec").filter(|spec| spec.is_object()) else { return };
    spec(pod_spec);
    set_default(pod_spec, "enableServiceLinks", true);
    for list in ["/containers", "/initContainers"] {
        for container in items_mut(pod_spec, list) {
            requests_from_limits(container);
        }
    }
}

/// What the admission plugins `Priority` and `DefaultTolerationSeconds` add; nobody owns it.
pub(crate) fn admit(pod_spec: &mut Value) {
    set_default(pod_spec, "preemptionPolicy", "PreemptLowerPriority");
    set_default(pod_spec, "priority", 0);
    tolerations(pod_spec);
}

/// What templates and pods share.
pub(super) fn spec(spec: &mut Value) {
    set_default(spec, "restartPolicy", "Always");
    set_default(spec, "dnsPolicy", "ClusterFirst");
    set_default(spec, "terminationGracePeriodSeconds", 30);
    set_default(spec, "schedulerName", "default-scheduler");
    set_default(spec, "securityContext", json!({}));
    // The deprecated name mirrors the one in use.
    let account = text(spec, "/serviceAccountName").to_owned();
    if account.is_empty() {
        let deprecated = text(spec, "/serviceAccount").to_owned();
        if !deprecated.is_empty() {
            set(spec, "serviceAccountName", deprecated.into());
        }
    } else {
        set(spec, "serviceAccount", account.into());
    }
    let is_on_host = object::is_true(spec, "/hostNetwork");
    for list in ["/containers", "/initContainers"] {
        for container in items_mut(spec, list) {
            fill_container(container, is_on_host);
        }
    }
    for volume in items_mut(spec, "/volumes") {
        fill_volume(volume);
    }
}

fn fill_container(container: &mut Value, is_on_host: bool) {
    set_default(container, "terminationMessagePath", "/dev/termination-log");
    set_default(container, "terminationMessagePolicy", "File");
    let policy = if is_latest(text(container, "/image")) { "Always" } else { "IfNotPresent" };
    set_default(container, "imagePullPolicy", policy);
    set_default(container, "resources", json!({}));
    for port in items_mut(container, "/ports") {
        set_default(port, "protocol", "TCP");
        if is_on_host && let Some(number) = port.get("containerPort").cloned() {
            set_default(port, "hostPort", number);
        }
    }
    for variable in items_mut(container, "/env") {
        if let Some(field) = variable.pointer_mut("/valueFrom/fieldRef") {
            set_default(field, "apiVersion", "v1");
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get_mut(name) {
            set_default(probe, "timeoutSeconds", 1);
            set_default(probe, "periodSeconds", 10);
            set_default(probe, "successThreshold", 1);
            set_default(probe, "failureThreshold", 3);
            if let Some(call) = probe.get_mut("httpGet") {
                fill_call(call);
            }
            if let Some(call) = probe.get_mut("grpc") {
                set_default(call, "service", "");
            }
        }
    }
    for hook in ["/lifecycle/postStart/httpGet", "/lifecycle/preStop/httpGet"] {
        if let Some(call) = container.pointer_mut(hook) {
            fill_call(call);
        }
    }
}

fn fill_call(call: &mut Value) {
    set_default(call, "path", "/");
    set_default(call, "scheme", "HTTP");
}

/// Whether the image's tag is `latest`, said or not. An image with a digest alone is not.
fn is_latest(image: &str) -> bool {
    let (path, digest) = image.split_once('@').map_or((image, ""), |(path, digest)| (path, digest));
    let last = path.rsplit('/').next().unwrap_or_default();
    match last.split_once(':') {
        Some((_, tag)) => tag == "latest",
        None => digest.is_empty(),
    }
}

/// What the sources of volumes say when they are not told.
const OF_SOURCES: &[(&str, &[(&str, &str)])] = &[
    ("hostPath", &[("type", "")]),
    ("iscsi", &[("iscsiInterface", "default")]),
    ("rbd", &[("pool", "rbd"), ("user", "admin"), ("keyring", "/etc/ceph/keyring")]),
    ("azureDisk", &[("cachingMode", "ReadWrite"), ("fsType", "ext4"), ("kind", "Shared")]),
    ("scaleIO", &[("fsType", "xfs"), ("storageMode", "ThinProvisioned")]),
];

fn fill_volume(volume: &mut Value) {
    let has_source =
        volume.as_object().is_some_and(|volume| volume.keys().any(|key| key != "name"));
    if !has_source {
        set(volume, "emptyDir", json!({}));
    }
    for source in ["secret", "configMap", "projected", "downwardAPI"] {
        if let Some(source) = volume.get_mut(source) {
            set_default(source, "defaultMode", 420);
        }
    }
    for (source, defaults) in OF_SOURCES {
        if let Some(source) = volume.get_mut(source) {
            for (field, default) in *defaults {
                set_default(source, field, *default);
            }
        }
    }
    if let Some(disk) = volume.get_mut("azureDisk") {
        set_default(disk, "readOnly", false);
    }
    for item in items_mut(volume, "/downwardAPI/items") {
        if let Some(field) = item.get_mut("fieldRef") {
            set_default(field, "apiVersion", "v1");
        }
    }
    for source in items_mut(volume, "/projected/sources") {
        if let Some(token) = source.get_mut("serviceAccountToken") {
            set_default(token, "expirationSeconds", 3600);
        }
        for item in items_mut(source, "/downwardAPI/items") {
            if let Some(field) = item.get_mut("fieldRef") {
                set_default(field, "apiVersion", "v1");
            }
        }
    }
    if let Some(claim) = volume.pointer_mut("/ephemeral/volumeClaimTemplate/spec") {
        set_default(claim, "volumeMode", "Filesystem");
    }
}

fn requests_from_limits(container: &mut Value) {
    let Some(limits) = object::map(container, "/resources/limits").cloned() else { return };
    let Some(resources) = container.get_mut("resources") else { return };
    set_default(resources, "requests", json!({}));
    if let Some(requests) = resources.get_mut("requests") {
        for (name, limit) in limits {
            set_default(requests, &name, limit);
        }
    }
}

/// What the admission plugin `DefaultTolerationSeconds` adds.
fn tolerations(spec: &mut Value) {
    let mut tolerations = object::list(spec, "/tolerations").to_vec();
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let is_there = tolerations.iter().any(|toleration| {
            let names = text(toleration, "/key");
            let effect = text(toleration, "/effect");
            (names == key || names.is_empty()) && (effect == "NoExecute" || effect.is_empty())
        });
        if !is_there {
            tolerations.push(json!({"key": key, "operator": "Exists", "effect": "NoExecute",
                "tolerationSeconds": 300}));
        }
    }
    set(spec, "tolerations", Value::Array(tolerations));
}
