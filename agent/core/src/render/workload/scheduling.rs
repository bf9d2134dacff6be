//! Where pods may run: node affinity, tolerations, spread, affinity between apps (YL-069 … YL-072).

use serde_json::{Map, Value, json};
use tidegate_schema::app::{AffinityStrength, AppAffinity, NodeRequirement};

use crate::render::scope::Scope;
use crate::site::PlacedApp;

/// The fields of a pod's spec that the scheduler reads.
pub(super) fn fields(scope: &Scope<'_>, app: &PlacedApp) -> Map<String, Value> {
    let spec = &app.app;
    let mut fields = Map::new();
    let affinity = json!({
        "nodeAffinity": node_affinity(&spec.node_affinity),
        "podAffinity": between(scope, &spec.affinity),
        "podAntiAffinity": between(scope, &spec.anti_affinity),
    });
    if affinity.as_object().is_some_and(|map| map.values().any(|value| !value.is_null())) {
        fields.insert("affinity".to_owned(), affinity);
    }
    if !spec.tolerations.is_empty() {
        fields.insert("tolerations".to_owned(), json!(spec.tolerations));
    }
    if !spec.topology_spread.is_empty() {
        let spread = spec.topology_spread.iter().map(|spread| {
            json!({
                "maxSkew": spread.max_skew.unwrap_or(1),
                "topologyKey": spread.key,
                "whenUnsatisfiable": spread.when_unsatisfiable,
                "labelSelector": {"matchLabels": scope.selector(spec.name.as_str())},
            })
        });
        fields.insert("topologySpreadConstraints".to_owned(), spread.collect());
    }
    fields
}

fn node_affinity(requirements: &[NodeRequirement]) -> Option<Value> {
    let expression = |requirement: &NodeRequirement| {
        let values = (!requirement.values.is_empty()).then_some(&requirement.values);
        json!({"key": requirement.key, "operator": requirement.operator, "values": values})
    };
    let required: Vec<Value> = requirements
        .iter()
        .filter(|requirement| requirement.weight.is_none())
        .map(expression)
        .collect();
    let preferred: Vec<Value> = requirements
        .iter()
        .filter_map(|requirement| {
            let preference = json!({"matchExpressions": [expression(requirement)]});
            Some(json!({"weight": requirement.weight?, "preference": preference}))
        })
        .collect();
    by_strength(
        (!required.is_empty())
            .then(|| json!({"nodeSelectorTerms": [{"matchExpressions": required}]}))
            .as_ref(),
        &preferred,
    )
}

fn between(scope: &Scope<'_>, affinities: &[AppAffinity]) -> Option<Value> {
    let term = |affinity: &AppAffinity| {
        json!({
            "labelSelector": {"matchLabels": scope.selector(affinity.app.as_str())},
            "topologyKey": affinity.topology_key.as_deref().unwrap_or("kubernetes.io/hostname"),
        })
    };
    let of = |strength| affinities.iter().filter(move |affinity| affinity.strength == strength);
    let required: Vec<Value> = of(AffinityStrength::Strong).map(term).collect();
    let preferred: Vec<Value> = of(AffinityStrength::Weak)
        .map(|affinity| json!({"weight": 100, "podAffinityTerm": term(affinity)}))
        .collect();
    let required = (!required.is_empty()).then_some(Value::Array(required));
    by_strength(required.as_ref(), &preferred)
}

fn by_strength(required: Option<&Value>, preferred: &[Value]) -> Option<Value> {
    if required.is_none() && preferred.is_empty() {
        return None;
    }
    Some(json!({
        "requiredDuringSchedulingIgnoredDuringExecution": required,
        "preferredDuringSchedulingIgnoredDuringExecution":
            (!preferred.is_empty()).then_some(preferred),
    }))
}
