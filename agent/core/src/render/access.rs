//! Roles and grants as Kubernetes RBAC, in every cluster.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};
use tidegate_schema::finding::Place;
use tidegate_schema::iam::{Grant, Subject};

use crate::desired::{Layer, Owner};
use crate::render::scope::{Draft, Head, draft, site_labels};
use crate::site::ValidSite;

const API_GROUP: &str = "rbac.authorization.k8s.io";
const API_VERSION: &str = "rbac.authorization.k8s.io/v1";

/// The objects of all roles that have rules for Kubernetes, and of all grants of them that are in force.
pub(super) fn access(site: &ValidSite, now: Timestamp) -> Vec<Draft<'_>> {
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

fn cluster_role<'a>(
    site: &'a ValidSite,
    cluster: &str,
    name: &str,
    place: &'a Place,
) -> Option<Draft<'a>> {
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
    let head = Head {
        api_version: API_VERSION,
        kind: "ClusterRole",
        namespace: "",
        name: format!("tidegate:{name}"),
    };
    let owner = owner(format!("role/{name}"));
    let labels = || site_labels(site);
    Some(draft(cluster, head, owner, place, labels, move || json!({"rules": rules})))
}

/// The bindings of one grant in one cluster: one in each namespace of its products, or one for the whole cluster.
fn bindings<'a>(
    site: &'a ValidSite,
    cluster: &str,
    name: &str,
    grant: &'a Grant,
    place: &'a Place,
) -> Vec<Draft<'a>> {
    let Some(subject) = subject(site, &grant.subject) else { return Vec::new() };
    let scope = grant.scope.clone().unwrap_or_default();
    let is_elsewhere =
        !scope.clusters.is_empty() && !scope.clusters.iter().any(|own| own == cluster);
    if is_elsewhere || site.kubernetes_rules(grant.role.as_str()).is_empty() {
        return Vec::new();
    }
    let binding = |namespace: Option<&'a str>| {
        let head = Head {
            api_version: API_VERSION,
            kind: if namespace.is_some() { "RoleBinding" } else { "ClusterRoleBinding" },
            namespace: namespace.unwrap_or_default(),
            name: format!("tidegate:{name}"),
        };
        let (owner, subject) = (owner(format!("grant/{name}")), subject.clone());
        draft(
            cluster,
            head,
            owner,
            place,
            || site_labels(site),
            move || {
                json!({
                    "roleRef": {
                        "apiGroup": API_GROUP, "kind": "ClusterRole",
                        "name": format!("tidegate:{}", grant.role),
                    },
                    "subjects": [subject],
                })
            },
        )
    };
    if scope.products.is_empty() {
        return vec![binding(None)];
    }
    let namespaces: BTreeSet<&'a str> = scope
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
    Owner { access: Some(access), ..Owner::site(Layer::Foundation) }
}
