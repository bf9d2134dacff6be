//! Who a pod wants near, or far from, itself; and how pods are spread when nobody asks.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::super::object::{
    at, is_terminating, items, label, name, namespace, number, selects, text,
};
use super::family;
use super::place::{Place, Places};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const ZONE: &str = "topology.kubernetes.io/zone";

/// The other pods as one pod sees them.
pub(super) struct Neighbourhood<'round> {
    pod: &'round Value,
    places: &'round Places,
    /// Pods of the same family by node and by zone.
    on_node: BTreeMap<String, usize>,
    in_zone: BTreeMap<String, usize>,
}

impl<'round> Neighbourhood<'round> {
    pub(super) fn of(pod: &'round Value, places: &'round Places) -> Self {
        let kin = family(pod);
        let (mut on_node, mut in_zone) = (BTreeMap::new(), BTreeMap::new());
        for place in places.iter() {
            let siblings = kin.as_ref().and_then(|kin| place.families.get(kin)).copied();
            let siblings = siblings.unwrap_or(0);
            *on_node.entry(name(&place.node).to_owned()).or_default() += siblings;
            *in_zone.entry(label(&place.node, ZONE).to_owned()).or_default() += siblings;
        }
        Self { pod, places, on_node, in_zone }
    }

    /// Which of two places is the better one: fewer siblings on the node, then in the zone, then fewer pods at all.
    pub(super) fn compare(&self, one: &Place, other: &Place) -> Ordering {
        let rank = |place: &Place| {
            (
                self.on_node.get(name(&place.node)).copied().unwrap_or(0),
                self.in_zone.get(label(&place.node, ZONE)).copied().unwrap_or(0),
                place.pods.len(),
            )
        };
        rank(one).cmp(&rank(other))
    }

    /// Whether the required rules about other pods let the pod onto a place.
    pub(super) fn admits(&self, place: &Place) -> Result<(), &'static str> {
        if !self.spreads_enough(place) {
            return Err("node(s) didn't match pod topology spread constraints");
        }
        let near = items(self.pod, &format!("spec/affinity/podAffinity/{REQUIRED}"));
        for term in near {
            if !self.has_neighbour(place, term, self.pod) && !self.is_first_of(term) {
                return Err("node(s) didn't match pod affinity rules");
            }
        }
        let far = items(self.pod, &format!("spec/affinity/podAntiAffinity/{REQUIRED}"));
        if far.iter().any(|term| self.has_neighbour(place, term, self.pod)) {
            return Err("node(s) didn't match pod anti-affinity rules");
        }
        if self.is_unwelcome(place) {
            return Err("node(s) didn't satisfy existing pods anti-affinity rules");
        }
        Ok(())
    }

    /// The pods in the same topology domain as a place.
    fn domain<'a>(&'a self, place: &Place, key: &'a str) -> impl Iterator<Item = &'a Arc<Value>> {
        let here = label(&place.node, key).to_owned();
        self.places
            .iter()
            .filter(move |other| !here.is_empty() && label(&other.node, key) == here)
            .flat_map(|other| other.pods.values())
    }

    fn has_neighbour(&self, place: &Place, term: &Value, asking: &Value) -> bool {
        self.domain(place, text(term, "topologyKey")).any(|other| is_meant(term, asking, other))
    }

    /// The first pod of a group that wants to be near itself may go anywhere.
    fn is_first_of(&self, term: &Value) -> bool {
        is_meant(term, self.pod, self.pod)
            && !self
                .places
                .iter()
                .flat_map(|place| place.pods.values())
                .any(|other| is_meant(term, self.pod, other))
    }

    /// Whether a pod that is already there keeps this one away.
    fn is_unwelcome(&self, place: &Place) -> bool {
        self.places.iter().any(|other| {
            other.guards.values().any(|resident| {
                items(resident, &format!("spec/affinity/podAntiAffinity/{REQUIRED}")).iter().any(
                    |term| {
                        let key = text(term, "topologyKey");
                        let here = label(&place.node, key);
                        !here.is_empty()
                            && here == label(&other.node, key)
                            && is_meant(term, resident, self.pod)
                    },
                )
            })
        })
    }

    fn spreads_enough(&self, place: &Place) -> bool {
        let rules = items(self.pod, "spec/topologySpreadConstraints").iter();
        rules.filter(|rule| text(rule, "whenUnsatisfiable") == "DoNotSchedule").all(|rule| {
            let key = text(rule, "topologyKey");
            let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
            for other in self.places.iter() {
                let domain = label(&other.node, key);
                if domain.is_empty() || !super::node::suits(&other.node, at(self.pod, "spec")) {
                    continue;
                }
                let count = other.pods.values().filter(|pod| self.counts_for(rule, pod)).count();
                *counts.entry(domain).or_default() += i64::try_from(count).unwrap_or(0);
            }
            let here = counts.get(label(&place.node, key)).copied();
            let least = counts.values().min().copied().unwrap_or(0);
            let itself = i64::from(self.counts_for(rule, self.pod));
            here.is_some_and(|here| here + itself - least <= number(rule, "maxSkew").unwrap_or(1))
        })
    }

    fn counts_for(&self, rule: &Value, other: &Value) -> bool {
        namespace(other) == namespace(self.pod)
            && !is_terminating(other)
            && selects(at(rule, "labelSelector"), at(other, "metadata/labels"))
    }
}

/// Whether a pod affinity term of `asking` means `other`.
fn is_meant(term: &Value, asking: &Value, other: &Value) -> bool {
    let listed = items(term, "namespaces");
    let is_in_reach = if listed.is_empty() {
        namespace(other) == namespace(asking) || at(term, "namespaceSelector").is_object()
    } else {
        listed.iter().any(|listed| listed.as_str() == Some(namespace(other)))
    };
    is_in_reach && selects(at(term, "labelSelector"), at(other, "metadata/labels"))
}
