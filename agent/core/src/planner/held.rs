//! What is left as it is, because something of it could not be observed: a product is changed as a whole or not at all.
//!
//! An object that may not be read, whose kind the server cannot tell, or that is being deleted is a part that others may
//! count on. So nothing of its product changes in that cluster, nothing that requires the product there, and nothing is
//! taken away that these may still need. Other products go on.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_schema::finding::Finding;

use super::waves::required_places;
use super::{FOUND_BY_US, is_excluded};
use crate::change::{Action, Change, ChangeSet, Held, ObjectGap, ZoneDifference};
use crate::desired::{DesiredState, Owner};
use crate::diff;
use crate::live::{Inventory, LiveState, Observation};
use crate::object::ObjectRef;
use crate::plan::PlanReport;
use crate::site::{Deployment, ValidSite};

/// Why a part is held that has no gap of its own.
enum Cause {
    /// It requires a part that is held.
    Requires(Held),
    /// An object goes from one part to the other.
    Shares(Held),
    /// It would be taken away, and a part that is held may still need it.
    MayBeNeeded(Held),
}

/// Everything that says what belongs together.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    desired: &'a DesiredState,
    site: &'a ValidSite,
    inventory: &'a Inventory,
}

/// Takes out of the changes what could not be observed: a cluster with a gap as a whole; of an object its product, and what
/// depends on that. What the server or the network said differs from time to time, so it stands in the report and not in
/// the plan.
///
/// An object whose dry run the server refuses is another thing: applying it would fail for certain, and a plan without it
/// is not what the documents say. So it refuses the plan, unless its app is left alone.
pub(super) fn leave_out_unobserved(
    mut changes: ChangeSet,
    parts: (&DesiredState, &ValidSite, &Inventory),
    live: &LiveState,
    report: &mut PlanReport,
) -> ChangeSet {
    let parts = Parts::of(parts);
    let mut clusters = BTreeSet::new();
    let mut held: BTreeMap<Held, Option<Cause>> = BTreeMap::new();
    for gap in &mut changes.gaps {
        let own = parts.of_gap(gap);
        let is_left_alone = own.is_none();
        let own = own.unwrap_or_default();
        match &gap.object {
            None => {
                clusters.insert(gap.cluster.clone());
            }
            Some(_) if is_left_alone => {}
            Some(_) if gap.refused => {}
            Some(_) => held.extend(own.iter().map(|part| (part.clone(), None))),
        }
        if gap.object.is_none() || !is_left_alone {
            report.findings.push(parts.finding(gap, &own));
        }
        gap.gap.message.clear();
    }
    parts.spread(&mut held, &changes);
    let findings = held.iter().filter_map(|(part, cause)| Some(because(part, cause.as_ref()?)));
    report.findings.extend(findings);
    changes.held = held.into_keys().collect();
    let set = std::mem::take(&mut changes.held);
    changes.changes.retain(|change| {
        !clusters.contains(&change.object.cluster) && !parts.is_held(change, &set, live)
    });
    changes.zones.retain(|zone| match parts.held_host(zone, &set) {
        None => true,
        Some((part, host)) => {
            let finding = Finding::warning("PLAN/ZONE_HELD").with("zone", &zone.zone);
            let finding = finding.with("host", host).with("held", part.name());
            report.findings.push(finding.with("cluster", &part.cluster));
            false
        }
    });
    changes.held = set;
    report.unplanned_clusters = clusters.into_iter().collect();
    changes
}

fn because(part: &Held, cause: &Cause) -> Finding {
    let (code, other) = match cause {
        Cause::Requires(other) => ("PLAN/PRODUCT_HELD", other),
        Cause::Shares(other) => ("PLAN/MOVE_HELD", other),
        Cause::MayBeNeeded(other) => ("PLAN/UNINSTALL_HELD", other),
    };
    let finding = Finding::warning(code).with("product", part.name());
    let finding = finding.with("cluster", &part.cluster).with("held", other.name());
    finding.with("where", &other.cluster)
}

fn part(cluster: &str, owner: &Owner) -> Option<Held> {
    let held = |product: Option<String>, access: Option<String>| Held {
        cluster: cluster.to_owned(),
        product,
        access,
    };
    match (&owner.product, &owner.access) {
        (Some(product), _) => Some(held(Some(product.clone()), None)),
        (None, Some(access)) => Some(held(None, Some(access.clone()))),
        (None, None) => None,
    }
}

fn product(cluster: &str, name: &str) -> Held {
    Held { cluster: cluster.to_owned(), product: Some(name.to_owned()), access: None }
}

/// A product in each of its clusters.
pub(super) fn places(deployment: &Deployment) -> impl Iterator<Item = Held> {
    deployment.placements.keys().map(|cluster| product(cluster, &deployment.product))
}

impl<'a> Parts<'a> {
    pub(super) fn of(
        (desired, site, inventory): (&'a DesiredState, &'a ValidSite, &'a Inventory),
    ) -> Self {
        Self { desired, site, inventory }
    }

    /// Whose an object is: by the documents, else by the inventory.
    fn owner(self, reference: &ObjectRef) -> Option<&'a Owner> {
        let of_inventory = || self.inventory.entries.get(reference).map(|entry| &entry.owner);
        self.desired.object(reference).map(|object| &object.owner).or_else(of_inventory)
    }

    /// The parts that a gap concerns; `None` when its app is left alone anyway.
    fn of_gap(self, gap: &ObjectGap) -> Option<Vec<Held>> {
        let Some(reference) = &gap.object else { return Some(Vec::new()) };
        let Some(owner) = self.owner(reference) else { return Some(Vec::new()) };
        if is_excluded(owner, self.site) {
            return None;
        }
        Some(match part(&gap.cluster, owner) {
            Some(part) => vec![part],
            None => self.users(reference).into_iter().collect(),
        })
    }

    /// The parts that have something in a namespace.
    fn users(self, namespace: &ObjectRef) -> BTreeSet<Held> {
        let is_inside = |reference: &ObjectRef| {
            reference.cluster == namespace.cluster && reference.namespace == namespace.name
        };
        let wanted = self.desired.objects.iter().map(|it| (&it.reference, &it.owner));
        let ours = self.inventory.entries.iter().map(|(reference, it)| (reference, &it.owner));
        let inside = wanted.chain(ours).filter(|(reference, _)| is_inside(reference));
        inside.filter_map(|(reference, owner)| part(&reference.cluster, owner)).collect()
    }

    fn finding(self, gap: &ObjectGap, held: &[Held]) -> Finding {
        let code = &gap.gap.code;
        let mut finding = match &gap.object {
            // Found by us, so there are no words of the server to quote.
            Some(_) if gap.refused && FOUND_BY_US.contains(&code.as_str()) => {
                Finding::error(code.clone())
            }
            Some(_) if gap.refused => Finding::error("PLAN/SERVER_REFUSES"),
            Some(_) if code == diff::TERMINATING => Finding::warning("CLUSTER/TERMINATING"),
            Some(_) => Finding::warning("PLAN/OBJECT_UNOBSERVED"),
            None => Finding::warning("PLAN/CLUSTER_UNOBSERVED"),
        };
        if let Some(reference) = &gap.object {
            finding = finding.with("object", reference.to_string());
            let place = self.desired.object(reference).and_then(|object| object.place.clone());
            finding = place.map_or(finding.clone(), |place| finding.at(place));
        }
        if gap.object.is_some() && !gap.refused {
            let names: Vec<&str> = held.iter().map(Held::name).collect();
            finding = finding.with("held", names.join(", "));
        }
        finding.with("cluster", &gap.cluster).with("code", code).with("reason", &gap.gap.message)
    }

    /// Adds what depends on what is held, until nothing is added any more.
    fn spread(self, held: &mut BTreeMap<Held, Option<Cause>>, changes: &ChangeSet) {
        if held.is_empty() {
            return;
        }
        loop {
            let mut found: Vec<(Held, Cause)> = Vec::new();
            for deployment in self.site.deployments.values() {
                for cluster in deployment.placements.keys() {
                    let own = product(cluster, &deployment.product);
                    let required = deployment.requires.iter().flat_map(|requirement| {
                        required_places(self.site, requirement.product.as_str(), cluster)
                    });
                    let cause = required
                        .map(|(name, cluster)| product(&cluster, &name))
                        .find(|required| held.contains_key(required));
                    found.extend(cause.map(|cause| (own, Cause::Requires(cause))));
                }
            }
            for change in &changes.changes {
                let Some((old, new)) = self.both_sides(change) else { continue };
                if held.contains_key(&old) {
                    found.push((new, Cause::Shares(old)));
                } else if held.contains_key(&new) {
                    found.push((old, Cause::Shares(new)));
                }
            }
            for change in changes.changes.iter().filter(|it| it.action == Action::Prune) {
                let Some(own) = part(&change.object.cluster, &change.owner) else { continue };
                if let Some(staying) = held.keys().find(|it| self.is_wanted(it))
                    && own.product.is_some()
                    && !self.is_wanted(&own)
                {
                    found.push((own, Cause::MayBeNeeded(staying.clone())));
                }
            }
            found.retain(|(part, _)| !held.contains_key(part));
            if found.is_empty() {
                return;
            }
            for (part, cause) in found {
                held.entry(part).or_insert(Some(cause));
            }
        }
    }

    /// The part that an object belonged to and the one that it goes to, where they differ.
    fn both_sides(self, change: &Change) -> Option<(Held, Held)> {
        let cluster = &change.object.cluster;
        let entry = self.inventory.entries.get(&change.object)?;
        let (old, new) = (part(cluster, &entry.owner)?, part(cluster, &change.owner)?);
        (old != new).then_some((old, new))
    }

    /// Whether the documents want a product in a cluster. What they want no more says nothing of what it needs.
    fn is_wanted(self, part: &Held) -> bool {
        let product = part.product.as_deref();
        let deployment = product.and_then(|product| self.site.deployment(product));
        deployment.is_some_and(|it| it.placements.contains_key(&part.cluster))
    }

    /// Whether a change belongs to what is held (sorted), or would take something of it along.
    pub(super) fn is_held(self, change: &Change, held: &[Held], live: &LiveState) -> bool {
        if held.is_empty() {
            return false;
        }
        let is = |part: &Held| held.binary_search(part).is_ok();
        let cluster = &change.object.cluster;
        if part(cluster, &change.owner).as_ref().is_some_and(is) {
            return true;
        }
        if change.action == Action::Prune {
            return self.takes_along(change, &is, live);
        }
        let is_implied = change.owner.product.is_none() && change.owner.access.is_none();
        let users = if is_implied { self.users(&change.object) } else { BTreeSet::new() };
        !users.is_empty() && users.iter().all(is)
    }

    /// Whether something of what is held would go with a namespace or a definition.
    fn takes_along(self, change: &Change, is: &dyn Fn(&Held) -> bool, live: &LiveState) -> bool {
        let object = &change.object;
        let observation = live.observation(object);
        let definition = observation
            .filter(|_| object.kind == "CustomResourceDefinition")
            .and_then(Observation::live);
        let is_inside = |reference: &ObjectRef| match (object.kind.as_str(), &definition) {
            ("Namespace", _) => reference.namespace == object.name,
            (_, Some(definition)) => {
                reference.group == definition.text("/spec/group")
                    && reference.kind == definition.text("/spec/names/kind")
            }
            _ => false,
        };
        self.inventory.entries.iter().any(|(reference, entry)| {
            reference.cluster == object.cluster
                && is_inside(reference)
                && part(&reference.cluster, &entry.owner).as_ref().is_some_and(is)
        })
    }

    /// A zone goes as a whole; it waits when it would change the name of a way into what is held.
    fn held_host(self, zone: &ZoneDifference, held: &'a [Held]) -> Option<(&'a Held, &'a str)> {
        let names: BTreeSet<&str> = zone
            .records
            .iter()
            .flat_map(|record| [&record.before, &record.after])
            .flatten()
            .map(|set| set.name.trim_end_matches('.'))
            .collect();
        let hosts = held.iter().flat_map(|part| {
            let product = part.product.as_deref();
            let deployment = product.and_then(|product| self.site.deployment(product));
            let placements = deployment.into_iter().flat_map(|it| it.placements.values());
            let balancers = placements.flat_map(|placement| &placement.load_balancers);
            balancers.filter_map(move |balancer| Some((part, balancer.host.as_deref()?)))
        });
        hosts.into_iter().find(|(_, host)| names.contains(host))
    }
}
