//! Roles and grants as Kubernetes RBAC, in every cluster.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};
use tidegate_schema::finding::Place;
use tidegate_schema::iam::{Grant, Subject};

use crate::desired::{DesiredObject, Layer, Owner};
use crate::render::scope::{desired, site_labels};
use crate::site::ValidSite;

const API_GROUP: &str = "rbac.authorization.k8s.io";

/// The objects of all roles that have rules for Kubernetes, and of all grants of them that are in force.
pub(super) fn access(site: &ValidSite, now: Timestamp) -> Vec<DesiredObject> {
    let mut objects = Vec::new();
    for cluster in site.clusters.keys() {
        for (name, role) in &site.roles {
            objects.extend(cluster_role(site, cluster, name, &role.place));
        }
        for (name, grant) in site.active_grants(now) {
            objects.append(&mut bindings(site, cluster, name, &grant.spec, &grant.place));
        }
    }
    objects
}

fn cluster_role(
    site: &ValidSite,
    cluster: &str,
    name: &str,
    place: &Place,
) -> Option<DesiredObject> {
    let rules = site.kubernetes_rules(name);
    if rules.is_empty() {
        return None;
    }
    let list = |items: &[String]| (!items.is_empty()).then(|| items.to_vec());
    let rules: Vec<Value> = rules
        .into_iter()
        .map(|rule| {
            json!({
                "apiGroups": if rule.non_resource_urls.is_empty() && rule.api_groups.is_empty() {
                    Some(vec![String::new()])
                } else {
                    list(&rule.api_groups)
                },
                "resources": list(&rule.resources),
                "resourceNames": list(&rule.resource_names),
                "nonResourceURLs": list(&rule.non_resource_urls),
                "verbs": rule.verbs,
            })
        })
        .collect();
    let body = json!({
        "apiVersion": format!("{API_GROUP}/v1"), "kind": "ClusterRole",
        "metadata": {"name": format!("tidegate:{name}"), "labels": site_labels(site)},
        "rules": rules,
    });
    Some(desired(cluster, body, owner(format!("role/{name}")), place))
}

/// The bindings of one grant in one cluster: one in each namespace of its products, or one for the whole cluster.
fn bindings(
    site: &ValidSite,
    cluster: &str,
    name: &str,
    grant: &Grant,
    place: &Place,
) -> Vec<DesiredObject> {
    let Some(subject) = subject(site, &grant.subject) else { return Vec::new() };
    let scope = grant.scope.clone().unwrap_or_default();
    let is_elsewhere =
        !scope.clusters.is_empty() && !scope.clusters.iter().any(|own| own == cluster);
    if is_elsewhere || site.kubernetes_rules(grant.role.as_str()).is_empty() {
        return Vec::new();
    }
    let binding = |namespace: Option<&str>| {
        let body = json!({
            "apiVersion": format!("{API_GROUP}/v1"),
            "kind": if namespace.is_some() { "RoleBinding" } else { "ClusterRoleBinding" },
            "metadata": {
                "name": format!("tidegate:{name}"),
                "namespace": namespace,
                "labels": site_labels(site),
            },
            "roleRef": {
                "apiGroup": API_GROUP, "kind": "ClusterRole",
                "name": format!("tidegate:{}", grant.role),
            },
            "subjects": [subject],
        });
        desired(cluster, body, owner(format!("grant/{name}")), place)
    };
    if scope.products.is_empty() {
        return vec![binding(None)];
    }
    let namespaces: BTreeSet<&str> = scope
        .products
        .iter()
        .filter_map(|product| site.deployment(product.as_str()))
        .filter(|deployment| deployment.placements.contains_key(cluster))
        .map(|deployment| deployment.namespace.as_str())
        .collect();
    namespaces.into_iter().map(|namespace| binding(Some(namespace))).collect()
}

/// A subject as RBAC names it; `None` for one that clusters do not know: a frozen person, an account of the agent only.
fn subject(site: &ValidSite, subject: &Subject) -> Option<Value> {
    let name = subject.name().as_str();
    match subject {
        Subject::Person(_) => {
            let person = site.persons.get(name).filter(|person| !person.frozen)?;
            let user = person.kubernetes_user.as_deref().unwrap_or(name);
            Some(json!({"apiGroup": API_GROUP, "kind": "User", "name": user}))
        }
        Subject::Group(_) => {
            let group = site.groups.get(name)?.kubernetes_group.as_deref().unwrap_or(name);
            Some(json!({"apiGroup": API_GROUP, "kind": "Group", "name": group}))
        }
        Subject::ServiceAccount(_) => {
            let namespace = site.service_accounts.get(name)?.namespace.as_ref()?;
            Some(json!({"kind": "ServiceAccount", "name": name, "namespace": namespace}))
        }
    }
}

fn owner(access: String) -> Owner {
    Owner {
        solution: None,
        product: None,
        app: None,
        access: Some(access),
        layer: Layer::Foundation,
    }
}
