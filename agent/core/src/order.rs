//! Orders: products by what they require, apps by what they come after, objects by kind (gitops.md A1 … A9).

use std::collections::{BTreeMap, BTreeSet};

use crate::object::ObjectRef;

/// Names with the names that must come before each.
pub type Needs = BTreeMap<String, BTreeSet<String>>;

/// Splits names into levels: everything that a name needs is in an earlier level, and each name is as early as it can be.
/// What is needed but not among the names does not count.
///
/// Fails with the names that are on a cycle or behind one, in order.
pub fn levels(needs: &Needs) -> Result<Vec<Vec<String>>, Vec<String>> {
    let mut levels = Vec::new();
    let mut placed: BTreeSet<&str> = BTreeSet::new();
    let mut open: BTreeSet<&str> = needs.keys().map(String::as_str).collect();
    while !open.is_empty() {
        let is_free = |name: &&str| {
            let own = needs.get(*name).into_iter().flatten();
            own.filter(|need| needs.contains_key(*need)).all(|need| placed.contains(need.as_str()))
        };
        let level: Vec<&str> = open.iter().copied().filter(is_free).collect();
        if level.is_empty() {
            return Err(open.into_iter().map(str::to_owned).collect());
        }
        for name in &level {
            open.remove(name);
            placed.insert(name);
        }
        levels.push(level.into_iter().map(str::to_owned).collect());
    }
    Ok(levels)
}

/// Puts some one after another: each comes after the one before it, and after none of those that come later, whatever it
/// needs. What is not known is passed over.
pub fn put_in_order(needs: &mut Needs, wanted: &[String]) {
    let wanted: Vec<&String> = wanted.iter().filter(|name| needs.contains_key(*name)).collect();
    for (index, name) in wanted.iter().enumerate() {
        let (before, after) = wanted.split_at(index);
        if let Some(own) = needs.get_mut(*name) {
            own.retain(|needed| !after.contains(&needed));
            own.extend(before.last().map(|before| (*before).clone()));
        }
    }
}

/// Everything that each name needs, also by way of others.
pub fn closures(needs: &Needs) -> Needs {
    needs.keys().map(|name| (name.clone(), closure(needs, name))).collect()
}

/// Everything that a name needs, also by way of others.
pub fn closure(needs: &Needs, name: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![name.to_owned()];
    while let Some(name) = open.pop() {
        for need in needs.get(&name).into_iter().flatten() {
            if found.insert(need.clone()) {
                open.push(need.clone());
            }
        }
    }
    found
}

/// Kinds in the order in which they are applied. What a kind needs comes before it; webhooks come last, as a half
/// deployed one blocks everything else (A1). Kinds that are not listed are instances of CRDs: late, but before webhooks.
const KINDS: [&[&str]; 19] = [
    &["Namespace"],
    &["CustomResourceDefinition"],
    &["PriorityClass", "StorageClass", "RuntimeClass", "IngressClass", "GatewayClass"],
    &["ResourceQuota", "LimitRange"],
    &["NetworkPolicy"],
    &["ServiceAccount"],
    &["ClusterRole"],
    &["ClusterRoleBinding"],
    &["Role"],
    &["RoleBinding"],
    &["ConfigMap", "Secret"],
    &["PersistentVolume"],
    &["PersistentVolumeClaim"],
    &["Service", "Endpoints", "EndpointSlice"],
    &["PodDisruptionBudget"],
    &["DaemonSet", "StatefulSet", "Deployment", "ReplicaSet", "ReplicationController", "Pod"],
    &["HorizontalPodAutoscaler"],
    &["Job", "CronJob"],
    &["Ingress"],
];
/// After the instances of CRDs.
const LAST_KINDS: [&[&str]; 2] =
    [&["APIService"], &["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"]];

/// The place of a kind in the order of applying.
pub fn rank(reference: &ObjectRef) -> usize {
    let kind = reference.kind.as_str();
    let is_builtin = !reference.group.contains('.') || reference.group.ends_with(".k8s.io");
    let place = |kinds: &[&[&str]]| kinds.iter().position(|kinds| kinds.contains(&kind));
    if !is_builtin {
        return KINDS.len();
    }
    place(&KINDS)
        .or_else(|| place(&LAST_KINDS).map(|index| KINDS.len() + 1 + index))
        .unwrap_or(KINDS.len())
}

/// Sorts objects into the order of applying; ties by reference, so that output never flickers.
pub fn sort_for_apply(objects: &mut [ObjectRef]) {
    objects.sort_by(|left, right| (rank(left), left).cmp(&(rank(right), right)));
}

/// Sorts objects into the order of deleting: the reverse (A3).
pub fn sort_for_delete(objects: &mut [ObjectRef]) {
    objects.sort_by(|left, right| (rank(right), right).cmp(&(rank(left), left)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(pairs: &[(&str, &[&str])]) -> Needs {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        pairs.iter().map(|(name, others)| ((*name).to_owned(), own(others))).collect()
    }

    #[test]
    fn an_order_goes_before_what_is_needed_and_the_rest_stays() {
        let mut all =
            needs(&[("a", &["c", "x"]), ("b", &[]), ("c", &["b"]), ("d", &["a"]), ("x", &[])]);
        let order = ["b", "a", "nobody", "c"].map(str::to_owned);
        put_in_order(&mut all, &order);
        let wanted =
            needs(&[("a", &["b", "x"]), ("b", &[]), ("c", &["a", "b"]), ("d", &["a"]), ("x", &[])]);
        assert_eq!(all, wanted);
    }

    fn object(group: &str, kind: &str) -> ObjectRef {
        ObjectRef {
            cluster: "c".to_owned(),
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace: "n".to_owned(),
            name: "x".to_owned(),
        }
    }

    #[test]
    fn levels_put_everything_after_what_it_needs_and_as_early_as_possible() {
        let needs = needs(&[
            ("app", &["db", "mq", "elsewhere"]),
            ("db", &[]),
            ("mq", &["db"]),
            ("web", &[]),
        ]);
        assert_eq!(levels(&needs).unwrap(), [vec!["db", "web"], vec!["mq"], vec!["app"]]);
        assert_eq!(closure(&needs, "app").len(), 3);
    }

    #[test]
    fn a_cycle_is_named() {
        let needs = needs(&[("a", &["b"]), ("b", &["a"]), ("c", &[])]);
        assert_eq!(levels(&needs).unwrap_err(), ["a", "b"]);
    }

    #[test]
    fn kinds_are_applied_in_order_and_deleted_in_reverse() {
        let mut objects = vec![
            object("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
            object("db.example.com", "Database"),
            object("apps", "StatefulSet"),
            object("", "ConfigMap"),
            object("apiextensions.k8s.io", "CustomResourceDefinition"),
            object("", "Namespace"),
            object("storage.k8s.io", "StorageClass"),
            object("", "PersistentVolumeClaim"),
        ];
        let kinds = |objects: &[ObjectRef]| {
            objects.iter().map(|object| object.kind.clone()).collect::<Vec<_>>()
        };
        sort_for_apply(&mut objects);
        let mut applied = kinds(&objects);
        assert_eq!(
            applied,
            [
                "Namespace",
                "CustomResourceDefinition",
                "StorageClass",
                "ConfigMap",
                "PersistentVolumeClaim",
                "StatefulSet",
                "Database",
                "ValidatingWebhookConfiguration",
            ]
        );
        sort_for_delete(&mut objects);
        applied.reverse();
        assert_eq!(kinds(&objects), applied);
    }

    #[test]
    fn a_kind_of_somebody_else_is_not_taken_for_the_one_of_kubernetes() {
        assert!(
            rank(&object("serving.knative.dev", "Service")) > rank(&object("apps", "Deployment"))
        );
    }
}
