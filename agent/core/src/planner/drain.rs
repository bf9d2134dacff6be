//! Nodes that are emptied: which of their pods go, in which groups, and what keeps a node from being emptied.

use tidegate_schema::finding::Finding;

use super::rollout;
use crate::desired::{DrainTerms, Drained, UnitId};
use crate::drain::{self, Fate};
use crate::group::{Strategy, groups};
use crate::live::LiveState;
use crate::object::Object;
use crate::plan::{Driver, Group, Rollout};
use crate::pod::Pod;
use crate::task::Basis;

/// So many pods of a node are named.
const NAMED: usize = 20;

/// On which terms a node is emptied: of several operations, the first that asks now.
pub(super) fn terms(basis: Basis<'_>, node: &UnitId) -> DrainTerms {
    let own = pending(basis).find(|it| it.asked.unit == *node);
    own.map(|it| it.terms).unwrap_or_default()
}

/// What is to be emptied now.
fn pending(basis: Basis<'_>) -> impl Iterator<Item = &Drained> {
    basis.desired.drains.iter().filter(move |it| basis.asked.contains(&it.asked))
}

fn pods<'a>(live: &'a LiveState, node: &UnitId) -> &'a [Pod] {
    let cluster = live.clusters.get(&node.cluster);
    cluster.and_then(|it| it.around.nodes.get(&node.app)).map(Vec::as_slice).unwrap_or_default()
}

/// Two groups of the pods that run for good; what only runs to its end goes with the last.
pub(super) fn rollout(node: &UnitId, live: &LiveState, terms: DrainTerms) -> Rollout {
    let going = drain::going(pods(live, node), terms);
    let lasting = going.iter().filter(|pod| drain::runs_for_good(pod)).count();
    let total = u32::try_from(lasting).unwrap_or(u32::MAX);
    let sizes = groups(total, &Strategy::default()).unwrap_or_else(|_| vec![total]);
    let mut cumulative = 0;
    let group = |pods: &u32| {
        cumulative += pods;
        Group { pods: *pods, cumulative, confirm: false, nodes: Vec::new() }
    };
    let mut groups: Vec<Group> = sizes.iter().map(group).collect();
    if groups.is_empty() && !going.is_empty() {
        groups.push(Group { pods: 0, cumulative: 0, confirm: false, nodes: Vec::new() });
    }
    let workload = Object::node(&node.app).reference(&node.cluster);
    rollout::of_same(node, workload, Driver::Drain, groups)
}

/// The pods of each node that go, for people; and those that may not.
pub(super) fn findings(basis: Basis<'_>, live: &LiveState) -> Vec<Finding> {
    let mut findings = Vec::new();
    for drained in pending(basis) {
        let (node, terms) = (&drained.asked.unit, drained.terms);
        let place = basis.site.operations.get(&drained.asked.operation).map(|it| it.place.clone());
        let about = |finding: Finding| {
            let finding = finding.at(place.clone()).with("name", &drained.asked.operation);
            finding.with("node", &node.app).with("cluster", &node.cluster)
        };
        let of = |wanted: Fate| {
            pods(live, node).iter().filter(move |pod| drain::fate(pod, terms) == wanted)
        };
        let told = about(Finding::note("PLAN/NODE_PODS")).with("goes", listed(of(Fate::Goes)));
        findings.push(told.with("stays", listed(of(Fate::Stays))));
        for (fate, code) in [
            (Fate::Unmanaged, "OPERATION/PODS_UNMANAGED"),
            (Fate::HoldsData, "OPERATION/PODS_WITH_LOCAL_DATA"),
        ] {
            if of(fate).next().is_some() {
                findings.push(about(Finding::error(code)).with("pods", listed(of(fate))));
            }
        }
    }
    findings
}

fn listed<'a>(pods: impl Iterator<Item = &'a Pod>) -> String {
    let mut names: Vec<String> = pods.map(Pod::full_name).collect();
    names.sort();
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    match (names.is_empty(), more) {
        (true, _) => "–".to_owned(),
        (false, 0) => names.join(", "),
        (false, more) => format!("{} … +{more}", names.join(", ")),
    }
}
