//! Which wave each product of each cluster changes in.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_schema::finding::Finding;
use tidegate_schema::policy::WaveSelector;
use tidegate_schema::scalar::Duration;

use super::is_done;
use crate::change::Action;
use crate::order::{self, Needs};
use crate::site::ValidSite;
use crate::task::{self, Basis};

/// The longest name that an approval may say (RFC 1123, label).
const LONGEST_NAME: usize = 63;

/// One wave before its steps are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) name: String,
    pub(super) bake_seconds: u64,
    pub(super) confirm: bool,
}

/// What changes of a product in a cluster: the product itself, or one of its scaling groups.
type Touched = BTreeSet<(String, String, Option<String>)>;

/// The waves in order, and where everything goes.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    pub(super) slots: Vec<Slot>,
    /// Index of the wave of each product that changes, by product and cluster.
    products: BTreeMap<(String, String), usize>,
    /// Index of the wave of each scaling group that changes, by product, cluster and group.
    groups: BTreeMap<(String, String, String), usize>,
    /// Index of the wave of each cluster's own objects.
    foundations: BTreeMap<String, usize>,
    /// Index of the wave in which what is uninstalled goes offline, by product, cluster and, when that goes alone, scaling
    /// group; its objects are deleted in the next.
    offline: BTreeMap<(String, String, Option<String>), usize>,
    /// Index of the wave of all prunes; each in the wave of its cluster when absent.
    prunes: Option<usize>,
}

impl Layout {
    pub(super) fn product(&self, product: &str, cluster: &str) -> usize {
        let key = (product.to_owned(), cluster.to_owned());
        self.products.get(&key).copied().unwrap_or_else(|| self.foundation(cluster))
    }

    /// The wave in which the pods of what is uninstalled go.
    pub(super) fn offline(&self, going: &(String, String, Option<String>)) -> Option<usize> {
        self.offline.get(going).copied()
    }

    /// The wave of a product, or of one of its scaling groups.
    pub(super) fn part(&self, product: &str, cluster: &str, group: Option<&str>) -> usize {
        let key = |group: &str| (product.to_owned(), cluster.to_owned(), group.to_owned());
        let own = group.and_then(|group| self.groups.get(&key(group)).copied());
        own.unwrap_or_else(|| self.product(product, cluster))
    }

    pub(super) fn foundation(&self, cluster: &str) -> usize {
        self.foundations.get(cluster).copied().unwrap_or(0)
    }

    /// The wave in which objects of a product, or of one of its scaling groups, are deleted in a cluster.
    pub(super) fn prune(&self, product: &str, cluster: &str, group: Option<&str>) -> usize {
        self.prunes.unwrap_or_else(|| self.part(product, cluster, group))
    }

    /// The wave in which a cluster's own objects are deleted: after everything else there.
    pub(super) fn prune_foundation(&self, cluster: &str) -> usize {
        let own = self.products.iter().filter(|((_, other), _)| other == cluster);
        let groups = self.groups.iter().filter(|((_, other, _), _)| other == cluster);
        let all = own.map(|(_, wave)| *wave).chain(groups.map(|(_, wave)| *wave));
        let last = all.chain([self.foundation(cluster)]).max();
        self.prunes.or(last).unwrap_or(0)
    }

    /// Another wave for a part of one, with a name that neither of both layouts has; its index.
    fn open(&mut self, before: &Self, wave: &Slot, part: &str) -> usize {
        let is_free = |name: &String| {
            let mut all = self.slots.iter().chain(&before.slots);
            name.len() <= LONGEST_NAME && all.all(|slot| slot.name != *name)
        };
        let full = format!("{}-{part}", wave.name);
        // Approvals name waves, and names have an end.
        let numbered = (2..1_000).map(|number: u32| format!("{}-{number}", wave.name));
        let name = std::iter::once(full).chain(numbered).find(is_free).unwrap_or_default();
        self.slots.push(Slot { name, ..wave.clone() });
        self.slots.len() - 1
    }

    pub(super) fn last(&self) -> usize {
        self.slots.len().saturating_sub(1)
    }
}

/// Lays the waves out: by the policies' lists, or else by levels of product dependency.
pub(super) fn layout(basis: Basis<'_>, findings: &mut Vec<Finding>) -> Layout {
    let touched = touched(basis);
    let products: BTreeSet<&String> = touched.iter().map(|(product, ..)| product).collect();
    let lists: BTreeMap<&String, Vec<WaveSelector>> = products
        .iter()
        .map(|product| (*product, basis.rollout_policy(product, None).waves))
        .filter(|(_, waves)| !waves.is_empty())
        .collect();
    let all =
        if lists.is_empty() { site_lists(basis.site) } else { lists.values().cloned().collect() };
    let has_products = !products.is_empty();
    if all.is_empty() || (lists.is_empty() && has_products) {
        return scaling_groups_apart(by_levels(basis, &touched), basis.site, &touched);
    }
    let layout = by_clusters(basis, &touched, &lists, &all, findings);
    scaling_groups_apart(offline_by_clusters(basis, layout), basis.site, &touched)
}

/// Products, and scaling groups of others, that are uninstalled from clusters in which pods of theirs may run.
fn uninstalled(basis: Basis<'_>) -> Touched {
    let going = basis.changes.changes.iter().filter(|change| basis.goes_offline(change));
    going.filter_map(|change| basis.going(change)).collect()
}

/// The wave in which products go offline: a person looks whether anything misses them before the next deletes what is left.
fn offline_slot<'a>(
    basis: Basis<'_>,
    name: String,
    products: impl Iterator<Item = &'a String>,
) -> Slot {
    let policies: Vec<_> = products.map(|it| basis.rollout_policy(it, None)).collect();
    let bakes = policies.iter().filter_map(|policy| policy.bake).map(Duration::seconds);
    let bake_seconds = bakes.max().unwrap_or(0);
    let confirm = policies.iter().any(|policy| policy.beta.unwrap_or(true));
    Slot { name, bake_seconds, confirm }
}

/// Waves of clusters in which products are uninstalled, each followed by one in which they go offline and one in which their
/// objects are deleted, before the next clusters.
fn offline_by_clusters(basis: Basis<'_>, mut layout: Layout) -> Layout {
    let mut going: BTreeMap<usize, Touched> = BTreeMap::new();
    for place in uninstalled(basis) {
        let wave = layout.product(&place.0, &place.1);
        going.entry(wave).or_default().insert(place);
    }
    for (wave, places) in going.into_iter().rev() {
        let shifted = |index: &mut usize| *index += if *index > wave { 2 } else { 0 };
        layout.products.values_mut().for_each(shifted);
        layout.groups.values_mut().for_each(shifted);
        layout.foundations.values_mut().for_each(shifted);
        layout.offline.values_mut().for_each(shifted);
        let name = layout.slots.get(wave).map(|slot| slot.name.clone()).unwrap_or_default();
        let unused = |suffix: &str| {
            let mut name = format!("{name}-{suffix}");
            while layout.slots.iter().any(|slot| slot.name == name) {
                name.push_str("-products");
            }
            name
        };
        let (offline, deleted) = (unused("offline"), unused("uninstall"));
        let offline = offline_slot(basis, offline, places.iter().map(|(product, ..)| product));
        layout.slots.insert(wave + 1, offline);
        layout.slots.insert(wave + 2, Slot { name: deleted, ..Slot::default() });
        for place in places {
            let (product, cluster, group) = place.clone();
            match group {
                None => layout.products.insert((product, cluster), wave + 2),
                Some(group) => layout.groups.insert((product, cluster, group), wave + 2),
            };
            layout.offline.insert(place, wave + 1);
        }
    }
    layout
}

/// Each scaling group that changes has a wave of its own: after its product, and after the groups before it in the solution
/// (YL-184). With the bake time and confirmation of the wave that it would have gone with.
///
/// A product that requires one whose scaling groups change in its wave goes after these, in a wave of its own too.
fn scaling_groups_apart(layout: Layout, site: &ValidSite, touched: &Touched) -> Layout {
    if touched.iter().all(|(_, _, group)| group.is_none()) {
        return layout;
    }
    let needs = task::requires(site);
    let order: Vec<String> = levels(&needs).into_iter().flatten().collect();
    let mut apart = Layout::default();
    let mut moved: Vec<usize> = Vec::new();
    for (index, slot) in layout.slots.iter().enumerate() {
        let first = apart.slots.len();
        moved.push(first);
        apart.slots.push(slot.clone());
        let mut have_groups: BTreeSet<&str> = BTreeSet::new();
        for product in &order {
            let own =
                layout.products.iter().filter(|((name, _), at)| name == product && **at == index);
            let clusters: BTreeSet<&String> = own.map(|((_, cluster), _)| cluster).collect();
            if clusters.is_empty() {
                continue;
            }
            let required = order::closure(&needs, product);
            let wave = if have_groups.iter().any(|name| required.contains(*name)) {
                apart.open(&layout, slot, product)
            } else {
                first
            };
            for cluster in &clusters {
                apart.products.insert((product.clone(), (*cluster).clone()), wave);
            }
            let Some(deployment) = site.deployment(product) else { continue };
            for group in &deployment.scaling_groups {
                let is_touched = |cluster: &&&String| {
                    let place = (product.clone(), (**cluster).clone(), Some(group.clone()));
                    deployment.has_scaling_group(group, cluster) && touched.contains(&place)
                };
                let clusters: Vec<&String> = clusters.iter().filter(is_touched).copied().collect();
                if clusters.is_empty() {
                    continue;
                }
                have_groups.insert(product);
                let wave = apart.open(&layout, slot, &format!("{product}-{group}"));
                for cluster in clusters {
                    let place = (product.clone(), cluster.clone(), group.clone());
                    apart.groups.insert(place, wave);
                }
            }
        }
    }
    let moved = |index: usize| moved.get(index).copied().unwrap_or_default();
    for (place, index) in &layout.products {
        // Of a product that no solution holds any more.
        apart.products.entry(place.clone()).or_insert_with(|| moved(*index));
    }
    for (place, index) in &layout.groups {
        // Of one that is uninstalled.
        apart.groups.entry(place.clone()).or_insert_with(|| moved(*index));
    }
    apart.offline =
        layout.offline.iter().map(|(place, index)| (place.clone(), moved(*index))).collect();
    apart.foundations =
        layout.foundations.iter().map(|(name, index)| (name.clone(), moved(*index))).collect();
    apart.prunes = layout.prunes.map(moved);
    apart
}

/// The wave lists that solutions name: they also count for changes that concern no product.
fn site_lists(site: &ValidSite) -> Vec<Vec<WaveSelector>> {
    let named: BTreeSet<&String> = site.solution_rollouts.values().collect();
    let lists = named.into_iter().filter_map(|name| site.rollout_policies.get(name));
    lists.map(|policy| policy.waves.clone()).filter(|waves| !waves.is_empty()).collect()
}

/// Products, their scaling groups and clusters in which something is applied or deleted, or done for an operation.
fn touched(basis: Basis<'_>) -> Touched {
    let changes = basis.changes.changes.iter().filter(|change| is_done(change.action));
    let asked = basis.asked.iter().filter(|it| !it.unit.is_node()).map(|it| {
        let mut units = basis.desired.units.iter();
        let group =
            units.find(|unit| unit.id == it.unit).and_then(|unit| unit.scaling_group.clone());
        (it.unit.product.clone(), it.unit.cluster.clone(), group)
    });
    changes
        .filter_map(|change| {
            let owner = &change.owner;
            let cluster = change.object.cluster.clone();
            Some((owner.product.clone()?, cluster, owner.scaling_group.clone()))
        })
        .chain(asked)
        .collect()
}

/// The levels of all products; with a cycle (a refusal) all on one level.
fn levels(needs: &Needs) -> Vec<Vec<String>> {
    order::levels(needs).unwrap_or_else(|_| vec![needs.keys().cloned().collect()])
}

/// Foundations, one wave for each level of products, and last what only deletes.
fn by_levels(basis: Basis<'_>, touched: &Touched) -> Layout {
    let levels = levels(&task::requires(basis.site));
    let mut layout = Layout::default();
    let slot = |name: String| Slot { name, ..Slot::default() };
    layout.slots.push(slot("foundations".to_owned()));
    for (index, level) in levels.iter().enumerate() {
        layout.slots.push(slot(format!("products-{}", index + 1)));
        for (product, cluster, _) in touched.iter().filter(|(product, ..)| level.contains(product))
        {
            layout.products.insert((product.clone(), cluster.clone()), index + 1);
        }
    }
    let going = uninstalled(basis);
    if !going.is_empty() {
        let products = going.iter().map(|(product, ..)| product);
        layout.slots.push(offline_slot(basis, "offline".to_owned(), products));
        let wave = layout.slots.len() - 1;
        layout.offline = going.into_iter().map(|place| (place, wave)).collect();
    }
    layout.slots.push(slot("prune".to_owned()));
    layout.prunes = Some(layout.slots.len() - 1);
    layout
}

/// The waves of the lists, merged; what no wave selects comes last.
fn by_clusters(
    basis: Basis<'_>,
    touched: &Touched,
    lists: &BTreeMap<&String, Vec<WaveSelector>>,
    all: &[Vec<WaveSelector>],
    findings: &mut Vec<Finding>,
) -> Layout {
    let merged = merge(all, findings);
    let mut layout = Layout::default();
    for wave in &merged {
        layout.slots.push(Slot {
            name: wave.name.to_string(),
            bake_seconds: wave.bake.map_or(0, Duration::seconds),
            confirm: wave.confirm,
        });
    }
    let rest = layout.slots.len();
    let mut name = "remaining".to_owned();
    while layout.slots.iter().any(|slot| slot.name == name) {
        name.push_str("-clusters");
    }
    layout.slots.push(Slot { name, ..Slot::default() });
    let index = |wave: &WaveSelector| merged.iter().position(|other| other.name == wave.name);
    let pick = |waves: &[WaveSelector], cluster: &str| {
        let selects = |wave: &&WaveSelector| selects(basis.site, wave, cluster);
        waves.iter().find(selects).and_then(&index).unwrap_or(rest)
    };
    let changed = basis.changes.changes.iter().map(|change| &change.object.cluster);
    for cluster in changed.chain(basis.asked.iter().map(|asked| &asked.unit.cluster)) {
        layout.foundations.entry(cluster.clone()).or_insert_with(|| pick(&merged, cluster));
    }
    for (product, cluster, _) in touched {
        let waves = lists.get(product).map_or(merged.as_slice(), Vec::as_slice);
        layout.products.insert((product.clone(), cluster.clone()), pick(waves, cluster));
    }
    delay(basis, &mut layout, findings);
    layout
}

fn selects(site: &ValidSite, wave: &WaveSelector, cluster: &str) -> bool {
    let Some(selector) = &wave.clusters else { return true };
    let known = site.clusters.get(cluster);
    known.is_some_and(|known| selector.matches(cluster, &known.labels, &known.spec.cells))
}

/// One order of the waves of several lists that keeps the order of each; waves of one name are one wave.
fn merge(lists: &[Vec<WaveSelector>], findings: &mut Vec<Finding>) -> Vec<WaveSelector> {
    let mut first: Vec<WaveSelector> = Vec::new();
    let mut needs = Needs::new();
    for list in lists {
        for wave in list {
            if !first.iter().any(|other| other.name == wave.name) {
                first.push(wave.clone());
            }
            needs.entry(wave.name.to_string()).or_default();
        }
        for pair in list.windows(2) {
            if let [before, after] = pair {
                needs.entry(after.name.to_string()).or_default().insert(before.name.to_string());
            }
        }
    }
    match order::levels(&needs) {
        Ok(levels) => {
            let level = |wave: &WaveSelector| {
                levels.iter().position(|level| level.iter().any(|name| wave.name == name.as_str()))
            };
            // A stable sort: waves of one level stay in the order in which the lists name them.
            first.sort_by_key(level);
        }
        Err(cycle) => {
            let finding = Finding::error("PLAN/WAVE_ORDER_CONFLICT");
            findings.push(finding.with("waves", cycle.join(", ")));
        }
    }
    first
}

/// A product never changes in an earlier wave than one that it requires: it waits for it. What is required counts in the
/// same cluster, or, when it does not run there, wherever it runs.
fn delay(basis: Basis<'_>, layout: &mut Layout, findings: &mut Vec<Finding>) {
    let needs = task::requires(basis.site);
    for product in levels(&needs).into_iter().flatten() {
        let clusters: Vec<String> = layout
            .products
            .keys()
            .filter(|(name, _)| *name == product)
            .map(|(_, cluster)| cluster.clone())
            .collect();
        for cluster in clusters {
            let own = layout.product(&product, &cluster);
            let latest = order::closure(&needs, &product)
                .iter()
                .flat_map(|required| required_places(basis.site, required, &cluster))
                .filter_map(|place| layout.products.get(&place).map(|wave| (*wave, place.0)))
                .max();
            if let Some((wave, required)) = latest
                && wave > own
            {
                layout.products.insert((product.clone(), cluster.clone()), wave);
                let name = layout.slots.get(wave).map_or("", |slot| slot.name.as_str());
                let finding = Finding::warning("PLAN/WAVE_DELAYED").with("product", &product);
                let finding = finding.with("cluster", &cluster).with("wave", name);
                findings.push(finding.with("required", required));
            }
        }
    }
}

/// Where a required product counts for a product in a cluster.
pub(super) fn required_places(
    site: &ValidSite,
    required: &str,
    cluster: &str,
) -> Vec<(String, String)> {
    let Some(deployment) = site.deployment(required) else { return Vec::new() };
    let place = |cluster: &str| (required.to_owned(), cluster.to_owned());
    if deployment.placements.contains_key(cluster) {
        return vec![place(cluster)];
    }
    deployment.placements.keys().map(|cluster| place(cluster)).collect()
}

/// The products with a way in whose name is in a zone.
pub(super) fn products_of_zone(site: &ValidSite, zone: &str) -> BTreeSet<String> {
    let is_inside = |host: &str| {
        host == zone || host.strip_suffix(zone).is_some_and(|head| head.ends_with('.'))
    };
    let has_host = |deployment: &&crate::site::Deployment| {
        let balancers = deployment.placements.values().flat_map(|it| &it.load_balancers);
        balancers.filter_map(|balancer| balancer.host.as_deref()).any(is_inside)
    };
    site.deployments.values().filter(has_host).map(|it| it.product.clone()).collect()
}

/// The wave in which a zone is published: the last that touches its products, the first for a change of DNS only, the
/// last of all for a zone that goes.
pub(super) fn zone_wave(basis: Basis<'_>, layout: &Layout, zone: &str, action: Action) -> usize {
    if action == Action::Prune {
        return layout.last();
    }
    let products = products_of_zone(basis.site, zone);
    let applied = basis.changes.changes.iter().filter(|change| {
        is_done(change.action)
            && change.action != Action::Prune
            && change.owner.product.as_ref().is_some_and(|product| products.contains(product))
    });
    let wave = |change: &crate::change::Change| {
        let owner = &change.owner;
        let product = owner.product.as_deref().unwrap_or_default();
        layout.part(product, &change.object.cluster, owner.scaling_group.as_deref())
    };
    applied.map(wave).max().unwrap_or(0)
}
