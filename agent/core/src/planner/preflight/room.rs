//! Pods to come for which there is no room: in a quota of their namespace, or on the nodes.
//!
//! Nodes are filled as a simple scheduler would, by requests. What chooses its nodes (selectors, affinity, tolerations) is not
//! counted, so that nothing is told that may not be so.

use std::collections::BTreeMap;

use tidegate_schema::finding::Finding;

use crate::change::Action;
use crate::live::LiveState;
use crate::need::{self, CPU, Growth, MEMORY, Need, PODS};
use crate::object::{Object, ObjectRef};
use crate::task::Basis;

/// Warns of what will not find room. What is not known warns of nothing.
pub(super) fn findings(basis: Basis<'_>, live: &LiveState) -> Vec<Finding> {
    let mut quotas = Vec::new();
    let mut places = Vec::new();
    for (name, cluster) in &live.clusters {
        let grown = grown(basis, live, name);
        quotas.extend(over_quota(name, &grown, &cluster.around.quotas));
        if let Some(free) = &cluster.around.free {
            places.extend(without_place(name, &grown, free));
        }
    }
    quotas.extend(places);
    quotas
}

/// What grows in a cluster, by namespace.
struct Grown {
    namespace: String,
    growth: Vec<Growth>,
    /// Whether any node will do.
    is_anywhere: bool,
}

fn grown(basis: Basis<'_>, live: &LiveState, cluster: &str) -> Vec<Grown> {
    let changes = basis.changes.changes.iter().filter(|change| {
        change.object.cluster == cluster
            && matches!(change.action, Action::Create | Action::Configure | Action::Replace)
    });
    let of_one = |reference: &ObjectRef| {
        let desired = basis.desired.object(reference)?.body();
        let there = live.observation(reference).and_then(crate::live::Observation::live);
        let growth = need::growth(&desired, there.as_ref());
        let namespace = reference.namespace.clone();
        (!growth.is_empty()).then(|| Grown {
            namespace,
            growth,
            is_anywhere: is_anywhere(&desired),
        })
    };
    changes.filter_map(|change| of_one(&change.object)).collect()
}

fn is_anywhere(workload: &Object) -> bool {
    let spec = workload.get("/spec/template/spec");
    let says = |key: &str| spec.and_then(|spec| spec.get(key)).is_some_and(|it| !it.is_null());
    let affinity = workload.get("/spec/template/spec/affinity/nodeAffinity");
    affinity.is_none() && !["nodeSelector", "nodeName", "tolerations"].into_iter().any(says)
}

fn over_quota(
    cluster: &str,
    grown: &[Grown],
    quotas: &BTreeMap<ObjectRef, Object>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (reference, quota) in quotas {
        let mut more = Need::default();
        for own in grown.iter().filter(|own| own.namespace == reference.namespace) {
            own.growth.iter().for_each(|growth| more.add(&growth.each.times(growth.pods)));
        }
        for (resource, left) in need::left(quota) {
            if more.of(&resource) > left {
                findings.push(
                    Finding::warning("PLAN/QUOTA_EXCEEDED")
                        .with("quota", reference.to_string())
                        .with("cluster", cluster)
                        .with("resource", &resource)
                        .with("more", need::shown(&resource, more.of(&resource)))
                        .with("left", need::shown(&resource, left)),
                );
            }
        }
    }
    findings
}

/// Fills the nodes with what comes, the largest first, each where most is free.
fn without_place(cluster: &str, grown: &[Grown], free: &BTreeMap<String, Need>) -> Option<Finding> {
    let mut coming: Vec<&Need> = Vec::new();
    for growth in grown.iter().filter(|own| own.is_anywhere).flat_map(|own| &own.growth) {
        coming.extend(std::iter::repeat_n(&growth.each, growth.pods as usize));
    }
    coming.sort_by_key(|need| std::cmp::Reverse((need.of(MEMORY), need.of(CPU))));
    let mut nodes: Vec<Need> = free.values().cloned().collect();
    let mut left: Vec<&Need> = Vec::new();
    for need in &coming {
        let best = nodes.iter_mut().filter(|room| need.fits(room));
        match best.max_by_key(|room| (room.of(MEMORY), room.of(CPU))) {
            Some(room) => *room = room.without(need),
            None => left.push(need),
        }
    }
    let largest = left.first()?;
    let finding = Finding::warning("PLAN/NO_ROOM").with("cluster", cluster);
    let finding = finding.with("pods", left.len()).with("of", coming.len());
    let finding = finding.with("cpu", need::shown(CPU, largest.of(CPU)));
    let finding = finding.with("memory", need::shown(MEMORY, largest.of(MEMORY)));
    let roomiest = |resource: &str| nodes.iter().map(|room| room.of(resource)).max().unwrap_or(0);
    let finding = finding.with("freeCpu", need::shown(CPU, roomiest(CPU)));
    let finding = finding.with("freeMemory", need::shown(MEMORY, roomiest(MEMORY)));
    Some(finding.with("freePods", need::shown(PODS, roomiest(PODS))))
}
