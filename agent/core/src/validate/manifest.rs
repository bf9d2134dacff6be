//! Plain Kubernetes objects: read from filled templates, put into their namespace.

use tidegate_schema::finding::{Finding, Place};
use tidegate_schema::site::Tier;
use tidegate_schema::solution::Ignore;
use tidegate_schema::yaml;

use crate::object::{Object, PROPAGATION_ANNOTATION, Propagation};
use crate::render::{is_cluster_wide, is_protected_namespace, layer, own_images};
use crate::site::Manifest;

/// What a manifest is read for.
pub(super) struct Target<'a> {
    pub(super) cluster: &'a str,
    pub(super) namespace: &'a str,
    pub(super) tier: Tier,
    /// Custom kinds that the site defines for the whole cluster: group and kind.
    pub(super) cluster_wide: &'a [(String, String)],
    /// Whether the solution allows objects in Kubernetes' own namespaces.
    pub(super) may_enter_system: bool,
    /// Fields that the solution leaves to others.
    pub(super) ignore: &'a [Ignore],
}

/// The objects of a text, and what is wrong with them. Protected namespaces and bare names are refused here.
pub(super) fn read(
    file: &str,
    text: &str,
    target: &Target<'_>,
    findings: &mut Vec<Finding>,
) -> Vec<Manifest> {
    let (objects, mut problems) = yaml::parse_objects(file, text);
    findings.append(&mut problems);
    objects
        .into_iter()
        .map(|(value, place)| one(Object::new(value), place, target, findings))
        .collect()
}

fn one(
    mut body: Object,
    place: Place,
    target: &Target<'_>,
    findings: &mut Vec<Finding>,
) -> Manifest {
    let (group, kind) = (body.group().to_owned(), body.kind().to_owned());
    let is_wide = is_cluster_wide(&group, &kind)
        || body.annotation("tidegate.dev/scope") == Some("Cluster")
        || target.cluster_wide.contains(&(group.clone(), kind.clone()));
    let mut report = |finding: Finding| {
        let finding = finding.with("kind", &kind).with("name", body.name());
        findings.push(finding.at(place.clone()));
    };
    let namespace = if body.namespace().is_empty() { target.namespace } else { body.namespace() };
    let is_protected = (!is_wide && is_protected_namespace(namespace) && !target.may_enter_system)
        || (kind == "Namespace" && is_protected_namespace(body.name()));
    if is_protected {
        let namespace = if is_wide { body.name() } else { namespace };
        report(Finding::error("MANIFEST/NAMESPACE_PROTECTED").with("namespace", namespace));
    }
    if kind == "Pod" && group.is_empty() {
        report(Finding::warning("MANIFEST/BARE_POD"));
    }
    if kind == "Job" && group == "batch" && body.get("/spec/ttlSecondsAfterFinished").is_some() {
        report(Finding::error("MANIFEST/JOB_EXPIRES"));
    }
    if let Some(word) = body.annotation(PROPAGATION_ANNOTATION)
        && Propagation::parse(word).is_none()
    {
        report(Finding::error("MANIFEST/PROPAGATION_UNKNOWN").with("word", word));
    }
    if !is_name(body.name(), &group) {
        report(Finding::error("MANIFEST/BAD_NAME"));
    }
    // A key without a value is a place that somebody else fills, and no secret.
    let holds = |field: &str| {
        let values = body.get(field).and_then(serde_json::Value::as_object);
        values.is_some_and(|values| values.values().any(|value| *value != "" && !value.is_null()))
    };
    if body.is_secret() && (holds("/data") || holds("/stringData")) {
        report(match target.tier {
            Tier::Development => Finding::warning("MANIFEST/SECRET_IN_CLEAR"),
            Tier::Staging | Tier::Production => Finding::error("MANIFEST/SECRET_IN_CLEAR"),
        });
    }
    let namespace = namespace.to_owned();
    if is_wide {
        if let Some(metadata) = body.value_mut().get_mut("metadata").and_then(|m| m.as_object_mut())
        {
            metadata.remove("namespace");
        }
    } else {
        body.set(&["metadata", "namespace"], serde_json::json!(namespace));
    }
    let reference = body.reference(target.cluster);
    let images = own_images(target.ignore, &reference, &body).map(|it| it.reference).collect();
    Manifest { reference, layer: layer(&body), content: (&body).into(), images, place }
}

/// A DNS-1123 subdomain; names of RBAC and of custom kinds follow rules of their own.
fn is_name(name: &str, group: &str) -> bool {
    let is_free = group == "rbac.authorization.k8s.io" || group.contains('.');
    is_free || tidegate_schema::scalar::Name::new(name).is_ok()
}

/// The custom kinds for the whole cluster that manifests define.
pub(super) fn cluster_wide(manifests: &[Manifest]) -> Vec<(String, String)> {
    manifests
        .iter()
        .filter(|manifest| manifest.reference.kind == "CustomResourceDefinition")
        .map(|manifest| manifest.content.read())
        .filter(|body| body.text("/spec/scope") == "Cluster")
        .map(|body| (body.text("/spec/group").to_owned(), body.text("/spec/names/kind").to_owned()))
        .collect()
}
