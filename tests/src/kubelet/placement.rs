//! Which node a pod goes to: pods of one owner are spread; selectors, taints, required affinity and anti-affinity hold.
//!
//! Not here: resource requests (the nodes are larger than any test), preferences, topology spread constraints.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, NodeSelectorTerm, Pod, PodAffinityTerm, PodSpec, Taint};
use kube::ResourceExt as _;

/// The node with the fewest pods of the same owner, then with the fewest pods, then the first by name.
pub fn choose<'node, 'pod>(
    pod: &Pod,
    nodes: impl Iterator<Item = &'node Node>,
    placed: impl Iterator<Item = (&'pod Pod, &'pod str)>,
) -> Option<&'node str> {
    let owner = owner_of(pod);
    let mut load: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut neighbours: BTreeMap<&str, Vec<&Pod>> = BTreeMap::new();
    for (other, node) in placed {
        if !is_running(other) {
            continue;
        }
        let (of_owner, all) = load.entry(node).or_default();
        *all += 1;
        if owner.is_some() && owner_of(other) == owner {
            *of_owner += 1;
        }
        neighbours.entry(node).or_default().push(other);
    }
    let no_neighbours = Vec::new();
    nodes
        .filter(|node| fits(pod, node))
        .filter_map(|node| node.metadata.name.as_deref())
        .filter(|node| is_tolerated_by(pod, neighbours.get(node).unwrap_or(&no_neighbours)))
        .min_by_key(|node| (load.get(node).copied().unwrap_or_default(), *node))
}

/// The names of the claims that a pod mounts.
pub fn claims(pod: &Pod) -> impl Iterator<Item = &str> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter_map(|volume| Some(volume.persistent_volume_claim.as_ref()?.claim_name.as_str()))
}

fn owner_of(pod: &Pod) -> Option<&str> {
    let owners = pod.metadata.owner_references.iter().flatten();
    owners.into_iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.as_str())
}

fn is_running(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    !matches!(phase, Some("Succeeded" | "Failed"))
}

fn fits(pod: &Pod, node: &Node) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let selected = spec
        .node_selector
        .iter()
        .flatten()
        .all(|(key, value)| node.labels().get(key) == Some(value));
    selected && affinity_holds(spec, node) && taints_are_tolerated(spec, node)
}

fn affinity_holds(spec: &PodSpec, node: &Node) -> bool {
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required =
        affinity.and_then(|node| node.required_during_scheduling_ignored_during_execution.as_ref());
    required
        .is_none_or(|required| required.node_selector_terms.iter().any(|term| matches(term, node)))
}

fn matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    let by_label = term.match_expressions.iter().flatten().all(|rule| {
        holds(
            &rule.operator,
            node.labels().get(&rule.key),
            rule.values.as_deref().unwrap_or_default(),
        )
    });
    // DaemonSet pods name their node so; `metadata.name` is the only field there is.
    let by_field = term.match_fields.iter().flatten().all(|rule| {
        holds(
            &rule.operator,
            node.metadata.name.as_ref(),
            rule.values.as_deref().unwrap_or_default(),
        )
    });
    by_label && by_field
}

fn holds(operator: &str, value: Option<&String>, values: &[String]) -> bool {
    match operator {
        "In" => value.is_some_and(|value| values.contains(value)),
        "NotIn" => value.is_none_or(|value| !values.contains(value)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}

fn taints_are_tolerated(spec: &PodSpec, node: &Node) -> bool {
    let cordon = Taint {
        key: "node.kubernetes.io/unschedulable".to_owned(),
        effect: "NoSchedule".to_owned(),
        ..Taint::default()
    };
    let node_spec = node.spec.clone().unwrap_or_default();
    let is_cordoned = node_spec.unschedulable == Some(true);
    let taints = node_spec.taints.into_iter().flatten().chain(is_cordoned.then_some(cordon));
    taints.filter(|taint| taint.effect != "PreferNoSchedule").all(|taint| {
        spec.tolerations.iter().flatten().any(|toleration| {
            let same_key = toleration.key.as_ref().is_none_or(|key| *key == taint.key);
            let same_effect =
                toleration.effect.as_ref().is_none_or(|effect| *effect == taint.effect);
            let exists = toleration.operator.as_deref() == Some("Exists");
            let same_value = toleration.value.as_deref().unwrap_or_default()
                == taint.value.as_deref().unwrap_or_default();
            same_effect && same_key && (exists || (toleration.key.is_some() && same_value))
        })
    })
}

/// Required anti-affinity by host, in both directions.
fn is_tolerated_by(pod: &Pod, neighbours: &[&Pod]) -> bool {
    neighbours.iter().all(|other| {
        !anti_affinity(pod).any(|term| selects(term, pod, other))
            && !anti_affinity(other).any(|term| selects(term, other, pod))
    })
}

fn anti_affinity(pod: &Pod) -> impl Iterator<Item = &PodAffinityTerm> {
    let affinity = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref());
    let terms = affinity
        .and_then(|affinity| affinity.pod_anti_affinity.as_ref())
        .and_then(|anti| anti.required_during_scheduling_ignored_during_execution.as_ref());
    terms.into_iter().flatten().filter(|term| term.topology_key == "kubernetes.io/hostname")
}

fn selects(term: &PodAffinityTerm, holder: &Pod, other: &Pod) -> bool {
    let here = term.namespaces.clone().filter(|list| !list.is_empty());
    let in_reach = match (here, other.namespace()) {
        (Some(list), Some(namespace)) => list.contains(&namespace),
        (None, namespace) => namespace == holder.namespace(),
        (Some(_), None) => false,
    };
    let Some(selector) = term.label_selector.as_ref().filter(|_| in_reach) else { return false };
    let labels = other.labels();
    let by_label =
        selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    by_label
        && selector.match_expressions.iter().flatten().all(|rule| {
            holds(&rule.operator, labels.get(&rule.key), rule.values.as_deref().unwrap_or_default())
        })
}

#[cfg(test)]
mod tests {
    use super::choose;
    use k8s_openapi::api::core::v1::{Node, Pod};
    use serde_json::{Value, json};

    fn nodes(specs: &[(&str, Value)]) -> Vec<Node> {
        let node = |(name, spec): &(&str, Value)| {
            let labels = json!({"kubernetes.io/hostname": name});
            json!({"metadata": {"name": name, "labels": labels}, "spec": spec})
        };
        specs.iter().map(|spec| serde_json::from_value(node(spec)).unwrap()).collect()
    }

    fn pod(owner: &str, spec: &Value) -> Pod {
        let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": owner, "controller": true});
        let mut spec = spec.clone();
        spec["containers"] = json!([]);
        let metadata = json!({"name": "p", "namespace": "n", "labels": {"app": "a"}, "ownerReferences": [owner]});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
    }

    #[test]
    fn pods_of_one_owner_are_spread_before_the_load_is() {
        let nodes = nodes(&[("a", json!({})), ("b", json!({}))]);
        let (mine, other) = (pod("mine", &json!({})), pod("other", &json!({})));
        let placed = [(&mine, "a"), (&other, "b"), (&other, "b")];
        assert_eq!(choose(&mine, nodes.iter(), placed.into_iter()), Some("b"));
        assert_eq!(choose(&other, nodes.iter(), placed.into_iter()), Some("a"));
    }

    #[test]
    fn a_cordoned_node_takes_only_pods_that_tolerate_it() {
        let nodes = nodes(&[("a", json!({"unschedulable": true}))]);
        let tolerant = json!({"tolerations": [{"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}]});
        assert_eq!(choose(&pod("o", &json!({})), nodes.iter(), std::iter::empty()), None);
        assert_eq!(choose(&pod("o", &tolerant), nodes.iter(), std::iter::empty()), Some("a"));
    }

    #[test]
    fn a_daemon_sets_pod_goes_to_the_node_it_names() {
        let nodes = nodes(&[("a", json!({})), ("b", json!({}))]);
        let names =
            json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["b"]}]}]);
        let affinity = json!({"affinity": {"nodeAffinity":
            {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": names}}}});
        assert_eq!(choose(&pod("o", &affinity), nodes.iter(), std::iter::empty()), Some("b"));
    }

    #[test]
    fn anti_affinity_keeps_pods_on_different_hosts() {
        let nodes = nodes(&[("a", json!({}))]);
        let apart = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
            [{"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "a"}}}]}}});
        let lonely = pod("o", &apart);
        assert_eq!(choose(&lonely, nodes.iter(), [(&lonely, "a")].into_iter()), None);
        assert_eq!(choose(&lonely, nodes.iter(), std::iter::empty()), Some("a"));
    }
}
