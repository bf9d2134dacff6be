//! What may not change once an object exists.

use serde_json::Value;

use crate::custom;
use crate::defaults::items_mut;
use crate::object::{is_true, list, set, text};
use crate::quantity;
use crate::resource::Resource;
use crate::selector;
use crate::status::Cause;

const IMMUTABLE: &str = "field is immutable";

/// What is wrong with a change.
pub(crate) fn change(resource: &Resource, old: &Value, new: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("apps", "Deployment" | "ReplicaSet" | "DaemonSet") => {
            fixed(old, new, &["/spec/selector"], &mut causes);
        }
        ("apps", "StatefulSet") => stateful_set(old, new, &mut causes),
        ("apps", "ControllerRevision") => fixed(old, new, &["/data"], &mut causes),
        ("batch", "Job") => job(old, new, &mut causes),
        ("", "Pod") => pod(old, new, &mut causes),
        ("", "Service") => service(old, new, &mut causes),
        ("", "PersistentVolumeClaim") => claim(old, new, &mut causes),
        ("", "ConfigMap") => frozen(old, new, &["data", "binaryData"], &mut causes),
        ("", "Secret") => {
            fixed(old, new, &["/type"], &mut causes);
            frozen(old, new, &["data"], &mut causes);
        }
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding")
            if old.get("roleRef") != new.get("roleRef") =>
        {
            let given = new.get("roleRef").cloned().unwrap_or_default();
            causes.push(Cause::invalid("roleRef", &given, "cannot change roleRef"));
        }
        ("storage.k8s.io", "StorageClass") => {
            for field in ["parameters", "provisioner", "reclaimPolicy"] {
                if old.get(field) != new.get(field) {
                    let why = format!("updates to {field} are forbidden.");
                    causes.push(Cause::forbidden(field, &why));
                }
            }
            fixed(old, new, &["/volumeBindingMode"], &mut causes);
        }
        ("scheduling.k8s.io", "PriorityClass") => {
            if old.get("value") != new.get("value") {
                causes.push(Cause::forbidden("Value", "may not be changed in an update."));
            }
            fixed(old, new, &["/preemptionPolicy"], &mut causes);
        }
        ("", "PersistentVolume") => volume(old, new, &mut causes),
        ("", "ResourceQuota") => fixed(old, new, &["/spec/scopes"], &mut causes),
        ("discovery.k8s.io", "EndpointSlice") => fixed(old, new, &["/addressType"], &mut causes),
        ("networking.k8s.io", "IngressClass") => {
            fixed(old, new, &["/spec/controller"], &mut causes);
        }
        ("node.k8s.io", "RuntimeClass") => fixed(old, new, &["/handler"], &mut causes),
        ("apiextensions.k8s.io", "CustomResourceDefinition") if custom::is_established(old) => {
            let paths = ["/spec/group", "/spec/scope", "/spec/names/kind", "/spec/names/plural"];
            fixed(old, new, &paths, &mut causes);
        }
        _ => {}
    }
    causes
}

fn fixed(old: &Value, new: &Value, pointers: &[&str], causes: &mut Vec<Cause>) {
    for pointer in pointers {
        if old.pointer(pointer) != new.pointer(pointer) {
            let field = pointer.trim_start_matches('/').replace('/', ".");
            let given = new.pointer(pointer).cloned().unwrap_or_default();
            causes.push(Cause::invalid(field, &given, IMMUTABLE));
        }
    }
}

/// Whether two objects are equal when some fields of the spec are left aside.
fn equal_but(old: &Value, new: &Value, fields: &[&str]) -> bool {
    let bare = |value: &Value| {
        let mut spec = value.get("spec").cloned().unwrap_or_default();
        for field in fields {
            set(&mut spec, field, Value::Null);
        }
        spec
    };
    bare(old) == bare(new)
}

fn stateful_set(old: &Value, new: &Value, causes: &mut Vec<Cause>) {
    let mutable = [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ];
    // The history limit is not in the server's list, and so may not change either.
    if !equal_but(old, new, &mutable) {
        causes.push(Cause::forbidden(
            "spec",
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        ));
    }
}

fn job(old: &Value, new: &Value, causes: &mut Vec<Cause>) {
    // The real server tells a second time what is wrong with the selector.
    let labels = new.pointer("/spec/template/metadata/labels").cloned().unwrap_or_default();
    let wanted = new.pointer("/spec/selector").cloned().unwrap_or_default();
    if !selector::matches(&wanted, &labels) {
        let why = "`selector` does not match template `labels`";
        causes.push(Cause::invalid("spec.template.metadata.labels", &labels, why));
    }
    fixed(old, new, &["/spec/completions", "/spec/selector"], causes);
    let old_template = old.pointer("/spec/template");
    let new_template = new.pointer("/spec/template");
    // A Job that is suspended and has not started may still be placed.
    let is_open = is_true(old, "/spec/suspend") && text(old, "/status/startTime").is_empty();
    let is_same = if is_open {
        let bare = |template: Option<&Value>| {
            let mut template = template.cloned().unwrap_or_default();
            if let Some(spec) = template.get_mut("spec") {
                for field in ["affinity", "nodeSelector", "tolerations", "schedulingGates"] {
                    set(spec, field, Value::Null);
                }
            }
            if let Some(metadata) = template.get_mut("metadata") {
                set(metadata, "annotations", Value::Null);
                set(metadata, "labels", Value::Null);
            }
            template
        };
        bare(old_template) == bare(new_template)
    } else {
        old_template == new_template
    };
    if !is_same {
        let given = new_template.cloned().unwrap_or_default();
        causes.push(Cause::invalid("spec.template", &given, IMMUTABLE));
    }
    fixed(
        old,
        new,
        &["/spec/completionMode", "/spec/podFailurePolicy", "/spec/backoffLimitPerIndex"],
        causes,
    );
}

fn pod(old: &Value, new: &Value, causes: &mut Vec<Cause>) {
    for (name, path) in
        [("containers", "/spec/containers"), ("initContainers", "/spec/initContainers")]
    {
        if list(old, path).len() != list(new, path).len() {
            let why = "pod updates may not add or remove containers";
            causes.push(Cause::forbidden(format!("spec.{name}"), why));
            return;
        }
    }
    // What is empty is refused as such, and the real server tells it a second time.
    for (index, container) in list(new, "/spec/containers").iter().enumerate() {
        if text(container, "/image").is_empty() {
            causes.push(Cause::required(format!("spec.containers[{index}].image"), ""));
            return;
        }
    }
    let bare = |value: &Value| {
        let mut spec = value.get("spec").cloned().unwrap_or_default();
        for list in ["/containers", "/initContainers"] {
            for container in items_mut(&mut spec, list) {
                set(container, "image", Value::Null);
            }
        }
        for field in ["activeDeadlineSeconds", "tolerations"] {
            set(&mut spec, field, Value::Null);
        }
        spec
    };
    let added_only = list(old, "/spec/tolerations")
        .iter()
        .all(|toleration| list(new, "/spec/tolerations").contains(toleration));
    if bare(old) != bare(new) || !added_only {
        causes.push(Cause::forbidden(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
        ));
    }
}

fn service(old: &Value, new: &Value, causes: &mut Vec<Cause>) {
    let (was, is) = (text(old, "/spec/type"), text(new, "/spec/type"));
    if was == "ExternalName" || is == "ExternalName" {
        return;
    }
    let (before, after) = (text(old, "/spec/clusterIP"), text(new, "/spec/clusterIP"));
    if !before.is_empty() && before != after {
        let given = Value::from(vec![after]);
        causes.push(Cause::invalid("spec.clusterIPs[0]", &given, "may not change once set"));
    }
}

fn claim(old: &Value, new: &Value, causes: &mut Vec<Cause>) {
    let bare = |value: &Value| {
        let mut spec = value.get("spec").cloned().unwrap_or_default();
        // It is set once, when the claim is bound.
        if text(old, "/spec/volumeName").is_empty() {
            set(&mut spec, "volumeName", Value::Null);
        }
        if let Some(resources) = spec.get_mut("resources") {
            set(resources, "requests", Value::Null);
        }
        spec
    };
    let asked = "/spec/resources/requests/storage";
    let is_bound = text(old, "/status/phase") == "Bound";
    if bare(old) != bare(new) || (!is_bound && old.pointer(asked) != new.pointer(asked)) {
        causes.push(Cause::forbidden(
            "spec",
            "spec is immutable after creation except resources.requests for bound claims",
        ));
    }
    volume_mode(old, new, causes);
    let size = |value: &Value| quantity::milli(text(value, asked)).unwrap_or_default();
    if size(new) < size(old) {
        causes.push(Cause::forbidden(
            "spec.resources.requests.storage",
            "field can not be less than previous value",
        ));
    }
}

fn volume_mode(old: &Value, new: &Value, causes: &mut Vec<Cause>) {
    let mode = "/spec/volumeMode";
    if old.pointer(mode) != new.pointer(mode) {
        let given = new.pointer(mode).cloned().unwrap_or_default();
        causes.push(Cause::invalid("volumeMode", &given, IMMUTABLE));
    }
}

fn volume(old: &Value, new: &Value, causes: &mut Vec<Cause>) {
    let source = |value: &Value| {
        let mut spec = value.get("spec").cloned().unwrap_or_default();
        for field in [
            "accessModes",
            "capacity",
            "claimRef",
            "mountOptions",
            "nodeAffinity",
            "persistentVolumeReclaimPolicy",
            "storageClassName",
            "volumeMode",
        ] {
            set(&mut spec, field, Value::Null);
        }
        spec
    };
    if source(old) != source(new) {
        causes.push(Cause::forbidden(
            "spec.persistentvolumesource",
            "spec.persistentvolumesource is immutable after creation",
        ));
    }
    volume_mode(old, new, causes);
    let place = "/spec/nodeAffinity";
    if old.pointer(place).is_some() && old.pointer(place) != new.pointer(place) {
        let given = new.pointer(place).cloned().unwrap_or_default();
        causes.push(Cause::invalid("nodeAffinity", &given, IMMUTABLE));
    }
}

/// `ConfigMaps` and Secrets that say `immutable`.
fn frozen(old: &Value, new: &Value, fields: &[&str], causes: &mut Vec<Cause>) {
    if !is_true(old, "/immutable") {
        return;
    }
    if !is_true(new, "/immutable") {
        causes.push(Cause::forbidden("immutable", "field is immutable when `immutable` is set"));
    }
    for field in fields {
        if old.get(field) != new.get(field) {
            causes.push(Cause::forbidden(*field, "field is immutable when `immutable` is set"));
        }
    }
}
