//! What pods ask of a cluster: their number, CPU and memory, by requests and limits.
//!
//! Absent: what a `LimitRange` adds, overhead of runtime classes, and every other resource (GPUs, ephemeral storage).

use std::collections::BTreeMap;

use serde_json::Value;
use tidegate_schema::scalar::Quantity;

use crate::autoscaler;
use crate::ignored;
use crate::object::Object;

/// Number of pods, as quotas name it.
pub const PODS: &str = "pods";
/// CPU by requests.
pub const CPU: &str = "requests.cpu";
/// Memory by requests.
pub const MEMORY: &str = "requests.memory";

/// What containers say, and how a quota names it.
const NAMED: [(&str, &str, &str); 4] = [
    ("requests", "cpu", CPU),
    ("requests", "memory", MEMORY),
    ("limits", "cpu", "limits.cpu"),
    ("limits", "memory", "limits.memory"),
];

/// An amount of each resource, in thousandths of a pod, a core or a byte, by the names that quotas have
/// (Kubernetes, `Resource Quotas`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Need(BTreeMap<&'static str, u128>);

impl Need {
    /// Of one resource.
    pub fn of(&self, resource: &str) -> u128 {
        self.0.get(resource).copied().unwrap_or_default()
    }

    /// Whether nothing is needed.
    pub fn is_nothing(&self) -> bool {
        self.0.values().all(|amount| *amount == 0)
    }

    /// Of one pod of this specification (`spec` of a pod or of a template). Containers that start it run one after the
    /// other before the rest, so the largest of them counts (Kubernetes, `Init Containers`, resource sharing).
    pub fn of_pod(spec: &Value) -> Self {
        let containers = |key: &str| spec.get(key).and_then(Value::as_array).into_iter().flatten();
        let mut own = Self::default();
        own.0.insert(PODS, 1000);
        for (part, name, resource) in NAMED {
            let of = |container| asked(container, part, name);
            let run: u128 = containers("containers").map(of).sum();
            let start = containers("initContainers").map(of).max().unwrap_or_default();
            own.0.insert(resource, run.max(start));
        }
        own
    }

    /// So many times of it.
    #[must_use]
    pub fn times(&self, count: u32) -> Self {
        Self(self.0.iter().map(|(name, amount)| (*name, amount * u128::from(count))).collect())
    }

    /// Both.
    pub fn add(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            *self.0.entry(name).or_default() += amount;
        }
    }

    /// What is left of it without another; nothing where the other is more.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let left =
            |(name, amount): (&&'static str, &u128)| (*name, amount.saturating_sub(other.of(name)));
        Self(self.0.iter().map(left).collect())
    }

    /// Whether it finds room in another, by number, CPU and memory that are requested: all that a scheduler counts.
    pub fn fits(&self, room: &Self) -> bool {
        [PODS, CPU, MEMORY].into_iter().all(|resource| self.of(resource) <= room.of(resource))
    }

    /// What a node has for pods (`status.allocatable`).
    pub fn of_node(node: &Object) -> Self {
        let of = |name: &str| {
            let text = node.get("/status/allocatable")?.get(name)?;
            milli(text)
        };
        let named = [("pods", PODS), ("cpu", CPU), ("memory", MEMORY)];
        Self(named.into_iter().map(|(name, own)| (own, of(name).unwrap_or_default())).collect())
    }
}

/// The value of a quantity in thousandths.
pub fn milli(value: &Value) -> Option<u128> {
    let quantity: Quantity = serde_json::from_value(value.clone()).ok()?;
    Some(quantity.milli())
}

/// What a container asks for. Who has only a limit requests that (Kubernetes, `Resource Management for Pods`).
fn asked(container: &Value, part: &str, name: &str) -> u128 {
    let of = |part: &str| milli(container.get("resources")?.get(part)?.get(name)?);
    of(part).or_else(|| if part == "requests" { of("limits") } else { None }).unwrap_or_default()
}

/// What some more pods of a workload need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Growth {
    /// What each of them needs.
    pub each: Need,
    /// How many.
    pub pods: u32,
}

/// What a workload needs beyond what it has: more pods, and larger ones. Nothing of one whose pods are as many as nodes.
pub fn growth(desired: &Object, live: Option<&Object>) -> Vec<Growth> {
    let is_counted = matches!(desired.kind(), "Deployment" | "StatefulSet");
    let template = |object: &Object| object.get("/spec/template/spec").map(Need::of_pod);
    let Some(own) = template(desired).filter(|_| is_counted) else { return Vec::new() };
    let (there, before) = match live {
        Some(live) => (live.replicas(), template(live).unwrap_or_default()),
        None => (0, Need::default()),
    };
    let wanted = if live.is_some() && ignored::is_left(desired, autoscaler::REPLICAS) {
        there
    } else {
        desired.replicas()
    };
    let larger = Growth { each: own.without(&before), pods: there.min(wanted) };
    let more = Growth { each: own, pods: wanted.saturating_sub(there) };
    [more, larger].into_iter().filter(|it| it.pods > 0 && !it.each.is_nothing()).collect()
}

/// What a quota lets nobody go beyond, and what is used of it, by [`Need`]'s names. A quota that is only for some pods
/// counts for none here.
pub fn left(quota: &Object) -> BTreeMap<String, u128> {
    let is_for_all =
        ["/spec/scopes", "/spec/scopeSelector"].iter().all(|it| quota.get(it).is_none());
    let hard =
        quota.get("/status/hard").or_else(|| quota.get("/spec/hard")).and_then(Value::as_object);
    let hard = hard.filter(|_| is_for_all).into_iter().flatten();
    let used =
        |name: &str| quota.get("/status/used").and_then(|used| used.get(name)).and_then(milli);
    let left = hard.filter_map(|(name, hard)| {
        let resource = match name.as_str() {
            "cpu" => CPU,
            "memory" => MEMORY,
            other => other,
        };
        // What nobody has counted is not known.
        Some((resource.to_owned(), milli(hard)?.saturating_sub(used(name)?)))
    });
    left.collect()
}

/// An amount of a resource as people write it.
pub fn shown(resource: &str, milli: u128) -> String {
    if resource.ends_with("memory") {
        let bytes = milli / 1000;
        let units = [(30, "Gi"), (20, "Mi"), (10, "Ki")];
        let unit = units
            .into_iter()
            .find(|(bits, _)| bytes >= 1 << bits && bytes.is_multiple_of(1 << bits));
        let unit = unit.or_else(|| units.into_iter().find(|(bits, _)| bytes >= 100 << bits));
        return match unit {
            Some((bits, name)) => format!("{}{name}", bytes >> bits),
            None => bytes.to_string(),
        };
    }
    cores(milli)
}

/// Thousandths of a core, or of anything else that is counted, as people write them.
pub fn cores(milli: u128) -> String {
    if milli.is_multiple_of(1000) { (milli / 1000).to_string() } else { format!("{milli}m") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn workload(replicas: u32, cpu: &str, memory: &str) -> Object {
        Object::new(
            json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "web"},
            "spec": {"replicas": replicas, "template": {"spec": {
                "initContainers": [{"resources": {"requests": {"cpu": "100m", "memory": "3Gi"}}}],
                "containers": [
                    {"resources": {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": memory}}},
                    {"resources": {"limits": {"cpu": "500m"}}},
                ]}}}}),
        )
    }

    #[test]
    fn a_pod_needs_what_its_containers_ask_for_together_or_one_of_those_that_start_it() {
        let need = Need::of_pod(workload(1, "1", "2Gi").get("/spec/template/spec").unwrap());
        assert_eq!(shown(CPU, need.of(CPU)), "1500m", "a limit alone is a request");
        assert_eq!(shown(MEMORY, need.of(MEMORY)), "3Gi", "the one that starts it");
        assert_eq!(shown("limits.memory", need.of("limits.memory")), "2Gi");
    }

    #[test]
    fn more_pods_need_all_of_theirs_and_larger_ones_the_difference() {
        let live = workload(2, "1", "4Gi");
        assert_eq!(growth(&live, Some(&live)), []);
        let grown = growth(&workload(5, "2", "4Gi"), Some(&live));
        let told: Vec<_> =
            grown.iter().map(|it| (it.pods, it.each.of(CPU), it.each.of(MEMORY))).collect();
        assert_eq!(
            told,
            [(3, 2500, 4 << 30), (2, 1000, 0)].map(|(n, c, m): (u32, u128, u128)| (n, c, m * 1000))
        );
        assert_eq!(growth(&workload(1, "1", "4Gi"), Some(&live)), []);
    }

    #[test]
    fn what_is_left_of_a_quota_is_what_was_counted() {
        let quota = Object::new(
            json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"},
            "status": {"hard": {"pods": "5", "cpu": "4", "limits.memory": "8Gi"}, "used": {"pods": "3", "cpu": "1500m"}}}),
        );
        let left = left(&quota);
        assert_eq!((left[PODS], left[CPU], left.len()), (2000, 2500, 2));
        let mut scoped = quota.clone();
        scoped.set(&["spec", "scopes"], json!(["BestEffort"]));
        assert!(super::left(&scoped).is_empty());
    }
}
