//! The rules of roles and bindings.

use super::place::Place;
use crate::status::Cause;

const GROUP: &str = "rbac.authorization.k8s.io";

/// What is wrong with a Role or `ClusterRole`.
pub(super) fn role(kind: &str, whole: &Place<'_>, causes: &mut Vec<Cause>) {
    for rule in whole.at("rules").each() {
        let verbs = rule.at("verbs");
        if verbs.is_empty() {
            causes.push(verbs.missing("verbs must contain at least one value"));
        }
        let paths = rule.at("nonResourceURLs");
        let (groups, resources) = (rule.at("apiGroups"), rule.at("resources"));
        if !paths.is_empty() {
            if kind == "Role" {
                causes.push(paths.invalid("namespaced rules cannot apply to non-resource URLs"));
            }
            if !groups.is_empty() || !resources.is_empty() {
                let why = "rules cannot apply to both regular resources and non-resource URLs";
                causes.push(paths.invalid(why));
            }
            continue;
        }
        if groups.is_empty() {
            causes.push(groups.missing("resource rules must supply at least one api group"));
        }
        if resources.is_empty() {
            causes.push(resources.missing("resource rules must supply at least one resource"));
        }
    }
}

/// What is wrong with a `RoleBinding` or `ClusterRoleBinding`.
pub(super) fn binding(kind: &str, whole: &Place<'_>, causes: &mut Vec<Cause>) {
    let role = whole.at("roleRef");
    one_of(&role.at("apiGroup"), &[GROUP], causes);
    let kinds: &[&str] =
        if kind == "RoleBinding" { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    one_of(&role.at("kind"), kinds, causes);
    role.at("name").required(causes);
    for subject in whole.at("subjects").each() {
        let name = subject.at("name");
        name.required(causes);
        match subject.at("kind").text() {
            "ServiceAccount" => {
                if !name.is_empty() {
                    name.subdomain(causes);
                }
                if !subject.at("apiGroup").is_empty() {
                    causes.push(subject.at("apiGroup").unsupported(&[""]));
                }
                // Inside a namespace the account is the binding's neighbour.
                if kind == "ClusterRoleBinding" {
                    subject.at("namespace").required(causes);
                }
            }
            "User" | "Group" => one_of(&subject.at("apiGroup"), &[GROUP], causes),
            _ => one_of(&subject.at("kind"), &["ServiceAccount", "User", "Group"], causes),
        }
    }
}

/// One of a few values; absent is none of them.
fn one_of(place: &Place<'_>, choices: &[&str], causes: &mut Vec<Cause>) {
    if !choices.contains(&place.text()) {
        causes.push(Cause::unsupported(place.path.as_str(), &place.text().into(), choices));
    }
}
