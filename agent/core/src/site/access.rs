//! What roles allow, with the roles that they extend, and what somebody may do at an instant.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use tidegate_schema::iam::{
    AccessQuestion, Grant, GrantScope, Group, KubernetesRule, Permission, Role, Subject,
};
use tidegate_schema::scalar::Name;

use super::{Located, ValidSite};

/// The roles whose permissions a role has: itself and, through `extends`, others. Cycles are broken off.
pub(crate) fn closure<'a>(
    roles: &'a BTreeMap<String, Located<Role>>,
    name: &str,
) -> BTreeMap<&'a str, &'a Role> {
    let mut found = BTreeMap::new();
    let mut open = vec![name.to_owned()];
    while let Some(name) = open.pop() {
        if let Some((name, role)) = roles.get_key_value(&name)
            && found.insert(name.as_str(), &role.spec).is_none()
        {
            open.extend(role.spec.extends.iter().map(ToString::to_string));
        }
    }
    found
}

/// Whether somebody may do something at an instant, by all grants together.
pub(crate) fn allows(
    roles: &BTreeMap<String, Located<Role>>,
    grants: &BTreeMap<String, Located<Grant>>,
    groups: &BTreeMap<String, Group>,
    subject: &Subject,
    question: &AccessQuestion,
    at: Timestamp,
) -> bool {
    grants.values().any(|grant| {
        let grant = &grant.spec;
        let is_in_force = grant.expires.is_none_or(|expires| expires > at);
        let is_meant = grant.subject == *subject
            || matches!((&grant.subject, subject), (Subject::Group(group), Subject::Person(person))
                if groups.get(group.as_str()).is_some_and(|group| group.members.contains(person)));
        is_in_force
            && is_meant
            && covers(
                &grant.scope.clone().unwrap_or_default(),
                question.product.as_ref().map(Name::as_str),
                question.cluster.as_ref().map(Name::as_str),
            )
            && closure(roles, grant.role.as_str())
                .values()
                .any(|role| permits(role, question, grant))
    })
}

/// Whether a grant counts in a product and a cluster. What is granted in some of them only is not granted in the whole site.
pub(crate) fn covers(scope: &GrantScope, product: Option<&str>, cluster: Option<&str>) -> bool {
    let within = |own: &[Name], asked: Option<&str>| {
        own.is_empty() || asked.is_some_and(|asked| own.iter().any(|name| name.as_str() == asked))
    };
    within(&scope.products, product) && within(&scope.clusters, cluster)
}

fn allows_in_agent(role: &Role, permission: Permission) -> bool {
    role.permissions.contains(&permission) || role.permissions.contains(&Permission::SiteAdmin)
}

fn permits(role: &Role, question: &AccessQuestion, grant: &Grant) -> bool {
    if let Some(permission) = question.permission {
        return allows_in_agent(role, permission);
    }
    let (Some(verb), Some(resource)) = (&question.verb, &question.resource) else { return false };
    let group = question.api_group.as_deref().unwrap_or_default();
    let holds =
        |list: &[String], wanted: &str| list.iter().any(|item| item == wanted || item == "*");
    // RBAC: a rule without groups means the core group here; a rule for named objects does not allow the kind.
    role.kubernetes.iter().any(|rule| {
        let is_group = if rule.api_groups.is_empty() {
            group.is_empty()
        } else {
            holds(&rule.api_groups, group)
        };
        is_group
            && rule.resource_names.is_empty()
            && holds(&rule.resources, resource)
            && holds(&rule.verbs, verb)
            && !(rule.resources.is_empty() && grant.scope.is_some())
    })
}

impl ValidSite {
    /// The rules for Kubernetes that a role has, its own and those of the roles that it extends, sorted.
    pub fn kubernetes_rules(&self, role: &str) -> BTreeSet<&KubernetesRule> {
        closure(&self.roles, role).into_values().flat_map(|role| &role.kubernetes).collect()
    }

    /// What a role allows in the agent, with the roles that it extends.
    pub fn permissions(&self, role: &str) -> BTreeSet<Permission> {
        closure(&self.roles, role)
            .into_values()
            .flat_map(|role| role.permissions.iter().copied())
            .collect()
    }

    /// The grants of a permission of the agent, ordered by name, also those that are over.
    pub fn grants_of(&self, permission: Permission) -> impl Iterator<Item = &Grant> {
        let grants = self.grants.values().map(|grant| &grant.spec);
        grants.filter(move |grant| {
            let roles = closure(&self.roles, grant.role.as_str());
            roles.into_values().any(|role| allows_in_agent(role, permission))
        })
    }

    /// Whether somebody may do something at an instant, by all grants together. A frozen person may nothing.
    pub fn may(&self, subject: &Subject, question: &AccessQuestion, at: Timestamp) -> bool {
        let is_frozen = matches!(subject, Subject::Person(name)
            if self.persons.get(name.as_str()).is_none_or(|person| person.frozen));
        !is_frozen && allows(&self.roles, &self.grants, &self.groups, subject, question, at)
    }
}
