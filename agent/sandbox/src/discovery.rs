//! What the API says about itself: versions, groups, resources, in the old form and the aggregated one.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::custom;
use crate::object;
use crate::resource::Resource;
use crate::world::World;

/// `/version`.
pub(crate) fn version(world: &World) -> Value {
    let (major, minor) = world.version.split_once('.').unwrap_or((&world.version, "0"));
    json!({
        "major": major, "minor": minor, "gitVersion": format!("v{}.0+tidegate-sandbox", world.version),
        "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none", "compiler": "rustc", "platform": "linux/amd64",
    })
}

/// `/api`.
pub(crate) fn core_versions() -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1"}]})
}

/// Groups with their versions, the preferred one first, and the resources of each version.
type Groups = BTreeMap<String, Vec<(String, Vec<Arc<Resource>>)>>;

fn groups(world: &World) -> Groups {
    let mut out = Groups::new();
    for resource in world.resources() {
        let versions = out.entry(resource.group.clone()).or_default();
        for version in &resource.versions {
            match versions.iter_mut().find(|(name, _)| *name == version.name) {
                Some((_, resources)) => resources.push(Arc::clone(resource)),
                None => versions.push((version.name.clone(), vec![Arc::clone(resource)])),
            }
        }
    }
    for versions in out.values_mut() {
        versions.sort_by_key(|(name, _)| std::cmp::Reverse(custom::priority(name)));
    }
    out
}

/// `/apis`.
pub(crate) fn group_list(world: &World) -> Value {
    let groups: Vec<Value> = groups(world)
        .iter()
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, versions)| group_value(name, versions))
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/GROUP`.
pub(crate) fn group(world: &World, name: &str) -> Option<Value> {
    let groups = groups(world);
    let mut value = group_value(name, groups.get(name).filter(|_| !name.is_empty())?);
    object::set(&mut value, "kind", "APIGroup".into());
    object::set(&mut value, "apiVersion", "v1".into());
    Some(value)
}

fn group_value(name: &str, versions: &[(String, Vec<Arc<Resource>>)]) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .map(
            |(version, _)| json!({"groupVersion": format!("{name}/{version}"), "version": version}),
        )
        .collect();
    json!({"name": name, "preferredVersion": versions.first(), "versions": versions})
}

/// `/api/v1`, `/apis/GROUP/VERSION`.
pub(crate) fn resource_list(world: &World, group: &str, version: &str) -> Option<Value> {
    let groups = groups(world);
    let (_, resources) = groups.get(group)?.iter().find(|(name, _)| name == version)?;
    let group_version =
        if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let mut out = Vec::new();
    for resource in resources {
        let mut value = json!({
            "name": resource.plural, "singularName": resource.singular,
            "namespaced": resource.is_namespaced, "kind": resource.kind, "verbs": verbs(resource),
        });
        if !resource.short.is_empty() {
            object::set(&mut value, "shortNames", json!(resource.short));
        }
        if !resource.categories.is_empty() {
            object::set(&mut value, "categories", json!(resource.categories));
        }
        out.push(value);
        for (name, group, version, kind, verbs) in subresources(resource) {
            let mut value = json!({
                "name": format!("{}/{name}", resource.plural), "singularName": "",
                "namespaced": resource.is_namespaced, "kind": kind, "verbs": verbs,
            });
            if let Some(group) = group {
                object::set(&mut value, "group", group.into());
                object::set(&mut value, "version", version.into());
            }
            out.push(value);
        }
    }
    Some(
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": out}),
    )
}

/// `/api` and `/apis` in the aggregated form.
pub(crate) fn aggregated(world: &World, is_core: bool) -> Value {
    let items: Vec<Value> = groups(world)
        .iter()
        .filter(|(name, _)| name.is_empty() == is_core)
        .map(|(name, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|(version, resources)| {
                    let resources: Vec<Value> = resources
                        .iter()
                        .map(|resource| aggregated_resource(resource, version))
                        .collect();
                    json!({"version": version, "freshness": "Current", "resources": resources})
                })
                .collect();
            let metadata = if is_core {
                json!({"creationTimestamp": null})
            } else {
                json!({"name": name, "creationTimestamp": null})
            };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
}

fn aggregated_resource(resource: &Resource, version: &str) -> Value {
    let kind = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let subresources: Vec<Value> = subresources(resource)
        .into_iter()
        .map(|(name, group, sub_version, sub_kind, verbs)| {
            let response = match group {
                Some(group) => kind(group, sub_version, sub_kind),
                None => kind(&resource.group, version, sub_kind),
            };
            json!({"subresource": name, "responseKind": response, "verbs": verbs})
        })
        .collect();
    let mut value = json!({
        "resource": resource.plural, "responseKind": kind(&resource.group, version, &resource.kind),
        "scope": if resource.is_namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular, "verbs": verbs(resource),
    });
    if !resource.short.is_empty() {
        object::set(&mut value, "shortNames", json!(resource.short));
    }
    if !resource.categories.is_empty() {
        object::set(&mut value, "categories", json!(resource.categories));
    }
    if !subresources.is_empty() {
        object::set(&mut value, "subresources", Value::Array(subresources));
    }
    value
}

fn verbs(resource: &Resource) -> &'static [&'static str] {
    if resource.is_review {
        &["create"]
    } else {
        &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
    }
}

/// name, group and version when they are not the resource's own, kind, verbs.
type Subresource<'a> =
    (&'static str, Option<&'static str>, &'static str, &'a str, &'static [&'static str]);

/// The subresources of a resource.
fn subresources(resource: &Resource) -> Vec<Subresource<'_>> {
    let mut out: Vec<Subresource<'_>> = Vec::new();
    if resource.group.is_empty() && resource.kind == "Pod" {
        out.push(("binding", None, "", "Binding", &["create"]));
        out.push(("eviction", Some("policy"), "v1", "Eviction", &["create"]));
        out.push(("exec", None, "", "PodExecOptions", &["create", "get"]));
        out.push(("log", None, "", "Pod", &["get"]));
        let verbs = &["create", "delete", "get", "patch", "update"];
        out.push(("proxy", None, "", "PodProxyOptions", verbs));
    }
    if resource.group.is_empty() && resource.kind == "Service" {
        let verbs = &["create", "delete", "get", "patch", "update"];
        out.push(("proxy", None, "", "ServiceProxyOptions", verbs));
    }
    if resource.scale.is_some() {
        out.push(("scale", Some("autoscaling"), "v1", "Scale", &["get", "patch", "update"]));
    }
    if resource.has_status {
        out.push(("status", None, "", &resource.kind, &["get", "patch", "update"]));
    }
    out
}

/// Whether a subresource is served.
pub(crate) fn has_subresource(resource: &Resource, name: &str) -> bool {
    name.is_empty()
        || (name == "finalize" && resource.kind == "Namespace" && resource.group.is_empty())
        || subresources(resource).iter().any(|(known, ..)| *known == name)
}
