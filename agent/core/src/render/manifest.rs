//! Plain Kubernetes objects: labelled as ours, put into the step where they belong.

use serde_json::{Map, Value, json};
use tidegate_schema::solution::Ignore;

use crate::desired::Layer;
use crate::ignored::{self, Path};
use crate::image::{self, Written};
use crate::object::{Object, ObjectRef};
use crate::render::scope::{Draft, Scope, label_value};
use crate::site::Manifest;

/// Namespaces that Kubernetes keeps for itself (LHC-19).
pub fn is_protected_namespace(name: &str) -> bool {
    matches!(name, "default" | "kube-system" | "kube-public" | "kube-node-lease")
}

/// Kinds of Kubernetes itself that belong to the whole cluster, by group and kind.
const CLUSTER_WIDE: &[(&str, &str)] = &[
    ("", "Namespace"),
    ("", "Node"),
    ("", "PersistentVolume"),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding"),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ("apiregistration.k8s.io", "APIService"),
    ("certificates.k8s.io", "CertificateSigningRequest"),
    ("flowcontrol.apiserver.k8s.io", "FlowSchema"),
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"),
    ("gateway.networking.k8s.io", "GatewayClass"),
    ("networking.k8s.io", "IngressClass"),
    ("node.k8s.io", "RuntimeClass"),
    ("policy", "PodSecurityPolicy"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
    ("scheduling.k8s.io", "PriorityClass"),
    ("snapshot.storage.k8s.io", "VolumeSnapshotClass"),
    ("storage.k8s.io", "CSIDriver"),
    ("storage.k8s.io", "CSINode"),
    ("storage.k8s.io", "StorageClass"),
    ("storage.k8s.io", "VolumeAttachment"),
];

/// Whether objects of a kind of Kubernetes itself have no namespace. For custom kinds the answer is in their definition,
/// or in the annotation `tidegate.dev/scope: Cluster` of the object; without either they have one.
pub fn is_cluster_wide(group: &str, kind: &str) -> bool {
    CLUSTER_WIDE.contains(&(group, kind))
}

/// A plain object of a product.
pub(super) fn manifest<'a>(scope: &'a Scope<'a>, manifest: &'a Manifest) -> Draft<'a> {
    Draft {
        reference: manifest.reference.clone(),
        owner: scope.owner(None, manifest.layer),
        place: &manifest.place,
        content: Box::new(|| content(scope, manifest)),
    }
}

fn content(scope: &Scope<'_>, manifest: &Manifest) -> Value {
    let deployment = scope.deployment;
    let written = manifest.content.read();
    let mut body = written.value().clone();
    let ours = json!({
        "app.kubernetes.io/managed-by": "tidegate",
        "app.kubernetes.io/part-of": deployment.solution,
        "tidegate.dev/site": scope.site.name,
        "tidegate.dev/solution": deployment.solution,
        "tidegate.dev/product": deployment.product,
    });
    // The author's own name, instance and version stay; without them the product's are of use.
    let fallback = json!({
        "app.kubernetes.io/instance": deployment.product,
        "app.kubernetes.io/version": label_value(&deployment.version.to_string()),
    });
    if let Some(labels) = labels_of(&mut body)
        && let (Value::Object(ours), Value::Object(fallback)) = (ours, fallback)
    {
        for (key, value) in fallback {
            labels.entry(key).or_insert(value);
        }
        labels.extend(ours);
    }
    if let Some(pins) = scope.site.pins.manifests.get(&manifest.reference) {
        let written = own_images(&deployment.ignore, &manifest.reference, &written);
        for image in written {
            if let (Some(digest), Some(field)) =
                (pins.get(&image.reference), body.pointer_mut(&image.pointer))
            {
                *field = Value::String(format!("{}@{digest}", image.reference));
            }
        }
    }
    // What generators leave behind (`controller-gen` writes it into definitions). It is the controllers' to write: owning it
    // would be a conflict with them for ever.
    if let Some(fields) = body.as_object_mut() {
        fields.remove("status");
    }
    if matches!(written.group(), "" | "apps" | "batch") {
        complete(&mut body);
    }
    if written.is_secret() {
        body = with_open_keys(Object::new(body)).into_value();
    }
    for rule in deployment.ignore.iter().filter(|rule| is_of(rule, &manifest.reference)) {
        let mut object = Object::new(body);
        for field in &rule.fields {
            if Path::parse(field).is_some_and(|path| path.is_in(&object)) {
                ignored::leave(&mut object, field, &rule.reason);
            }
        }
        body = object.into_value();
    }
    body
}

/// Leaves the keys of a Secret that have no value to whoever fills them: documents hold no secrets, so such a key is only
/// the place of one, and an apply must not empty it again.
fn with_open_keys(mut secret: Object) -> Object {
    for map in ["data", "stringData"] {
        let values = secret.value().get(map).and_then(Value::as_object).cloned();
        for (key, value) in values.unwrap_or_default() {
            if value == "" || value.is_null() {
                let path = ignored::path_of_key(map, &key);
                ignored::leave(&mut secret, &path, "filled by somebody else");
            }
        }
    }
    secret
}

/// Whether a rule is about an object.
pub(crate) fn is_of(rule: &Ignore, object: &ObjectRef) -> bool {
    rule.kind == object.kind && rule.name.as_ref().is_none_or(|name| **name == object.name)
}

/// The images of an object that its documents decide: not those that a rule leaves to others.
pub(crate) fn own_images(
    ignore: &[Ignore],
    object: &ObjectRef,
    body: &Object,
) -> impl Iterator<Item = Written> {
    let rules = ignore.iter().filter(|rule| is_of(rule, object));
    let left: Vec<Path> =
        rules.flat_map(|rule| &rule.fields).filter_map(|field| Path::parse(field)).collect();
    let is_left = move |image: &Written| {
        let path = Path::parse(&image.path);
        path.is_some_and(|path| left.iter().any(|left| left.covers(&path)))
    };
    image::written_in(object, body).into_iter().filter(move |image| !is_left(image))
}

/// Writes out what server-side apply needs and `kubectl apply` does not, with what it means staying the same: `protocol`, by
/// which entries of port lists are told apart, and quantities as texts (older servers refuse the object without them); and
/// the modes of volumes: a mode that the server fills in belongs to nobody, so it would stay when the volume becomes one of
/// another kind, and a volume of two kinds is refused.
fn complete(value: &mut Value) {
    let Value::Object(fields) = value else {
        for item in value.as_array_mut().into_iter().flatten() {
            complete(item);
        }
        return;
    };
    for (field, value) in fields {
        match field.as_str() {
            // Free text and other people's schemas.
            "data" | "stringData" | "annotations" | "openAPIV3Schema" => {}
            "ports" => {
                for port in value.as_array_mut().into_iter().flatten() {
                    if let Value::Object(port) = port
                        && (port.contains_key("port") || port.contains_key("containerPort"))
                    {
                        port.entry("protocol").or_insert_with(|| json!("TCP"));
                    }
                }
            }
            "volumes" => {
                for volume in value.as_array_mut().into_iter().flatten() {
                    for kind in ["configMap", "secret", "downwardAPI", "projected"] {
                        if let Some(Value::Object(own)) = volume.get_mut(kind) {
                            own.entry("defaultMode").or_insert_with(|| json!(0o644));
                        }
                    }
                }
                complete(value);
            }
            "limits" | "requests" => {
                for quantity in value.as_object_mut().into_iter().flat_map(Map::values_mut) {
                    if let Value::Number(number) = quantity {
                        *quantity = Value::String(number.to_string());
                    }
                }
            }
            _ => complete(value),
        }
    }
}

fn labels_of(body: &mut Value) -> Option<&mut Map<String, Value>> {
    let metadata = body.get_mut("metadata")?.as_object_mut()?;
    let labels = metadata.entry("labels").or_insert_with(|| json!({}));
    if labels.is_null() {
        *labels = json!({});
    }
    labels.as_object_mut()
}

/// The step in which a plain object is applied: first what others stand on, webhooks last, because one whose server
/// does not run yet refuses everything.
pub(crate) fn layer(body: &Object) -> Layer {
    let (group, kind) = (body.group(), body.kind());
    let is_load_balancer = kind == "Service" && body.text("/spec/type") == "LoadBalancer";
    if kind.ends_with("WebhookConfiguration") || is_load_balancer {
        return Layer::Network;
    }
    match (group, kind) {
        // It can only be judged when what it scales is there.
        ("autoscaling", "HorizontalPodAutoscaler") => Layer::Network,
        ("networking.k8s.io", "Ingress") | ("apiregistration.k8s.io", "APIService") => {
            Layer::Network
        }
        ("gateway.networking.k8s.io", kind) if kind != "GatewayClass" => Layer::Network,
        ("", "ResourceQuota" | "LimitRange") => Layer::Foundation,
        ("" | "apps" | "batch" | "autoscaling", kind) if runs_pods(kind) => Layer::Workload,
        _ if is_cluster_wide(group, kind) => Layer::Foundation,
        _ => Layer::Support,
    }
}

fn runs_pods(kind: &str) -> bool {
    matches!(
        kind,
        "Pod"
            | "ReplicationController"
            | "Deployment"
            | "StatefulSet"
            | "DaemonSet"
            | "ReplicaSet"
            | "Job"
            | "CronJob"
            | "HorizontalPodAutoscaler"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_get_their_modes() {
        let mut body = json!({"volumes": [
            {"name": "a", "configMap": {"name": "a"}}, {"name": "b", "emptyDir": {}},
            {"name": "c", "secret": {"secretName": "c", "defaultMode": 256}}]});
        complete(&mut body);
        assert_eq!(
            body,
            json!({"volumes": [
                {"name": "a", "configMap": {"name": "a", "defaultMode": 420}}, {"name": "b", "emptyDir": {}},
                {"name": "c", "secret": {"secretName": "c", "defaultMode": 256}}]})
        );
    }

    #[test]
    fn ports_get_their_protocol_and_quantities_become_texts() {
        let mut body = json!({"spec": {
            "ports": [{"port": 80}, {"port": 53, "protocol": "UDP"}],
            "template": {"spec": {"containers": [{
                "ports": [{"containerPort": 8080}],
                "resources": {"limits": {"cpu": 0.5, "memory": "1Gi"}, "requests": {"cpu": 1}},
            }]}},
        }, "data": {"ports": "as they are"}});
        complete(&mut body);
        assert_eq!(
            body,
            json!({"spec": {
                "ports": [{"port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}],
                "template": {"spec": {"containers": [{
                    "ports": [{"containerPort": 8080, "protocol": "TCP"}],
                    "resources": {"limits": {"cpu": "0.5", "memory": "1Gi"}, "requests": {"cpu": "1"}},
                }]}},
            }, "data": {"ports": "as they are"}})
        );
    }
}
