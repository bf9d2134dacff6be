//! The baseline after a release: what it delivered, also in parts.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::manifests::{self, ByObject};
use super::{Baseline, BaselineApp, BaselineProduct, CarriedOut, Uninstalled};
use crate::change::{Action, Held};
use crate::desired::{Asked, DesiredState, Unit};
use crate::image;
use crate::plan::Plan;
use crate::site::{Deployment, ValidSite};
use crate::zone::PublishedZone;

/// What a release has reached.
#[derive(Clone, Copy, Debug)]
pub struct Reached<'a> {
    /// Id of the release.
    pub release: &'a str,
    /// When it ended.
    pub at: Timestamp,
    /// Whether all of it ended well.
    pub is_complete: bool,
    /// Products that ended well, in a release that did not; all of the plan's when it is complete.
    pub products: &'a BTreeSet<String>,
    /// Zones as published now, by name.
    pub zones: &'a BTreeMap<String, PublishedZone>,
    /// What operations asked for once and was done, however the release ended.
    pub carried_out: &'a [Asked],
}

/// What a plan left as it was, because it could not be observed.
struct Left<'a> {
    clusters: BTreeSet<&'a str>,
    parts: &'a [Held],
}

impl<'a> Left<'a> {
    fn of(plan: &'a Plan) -> Self {
        let changes = &plan.content.changes;
        let whole = changes.gaps.iter().filter(|gap| gap.object.is_none());
        Self { clusters: whole.map(|gap| gap.cluster.as_str()).collect(), parts: &changes.held }
    }

    fn is(&self, product: &str, cluster: &str) -> bool {
        self.clusters.contains(cluster) || self.is_held(product, cluster)
    }

    fn is_held(&self, product: &str, cluster: &str) -> bool {
        let is_own =
            |held: &Held| held.cluster == cluster && held.product.as_deref() == Some(product);
        self.parts.iter().any(is_own)
    }

    fn is_held_everywhere(&self, deployment: &Deployment) -> bool {
        let mut places = deployment.placements.keys().peekable();
        places.peek().is_some() && places.all(|it| self.is_held(&deployment.product, it))
    }

    /// Names of grants that are held in some cluster.
    fn grants(&self) -> impl Iterator<Item = &'a str> {
        self.parts.iter().filter_map(|held| held.access.as_deref()?.strip_prefix("grant/"))
    }
}

impl Baseline {
    /// The baseline after a release. Products that ended well are taken over; what the release left out (excluded apps,
    /// clusters that could not be observed, products that are held or did not end well) stays as it was.
    pub fn after(
        previous: Option<&Self>,
        plan: &Plan,
        desired: &DesiredState,
        site: &ValidSite,
        reached: Reached<'_>,
    ) -> Self {
        let mut baseline = previous.cloned().unwrap_or_else(|| Self {
            site: site.name.clone(),
            revision: String::new(),
            release: String::new(),
            recorded_at: reached.at,
            products: BTreeMap::new(),
            grants: BTreeMap::new(),
            zones: BTreeMap::new(),
            versions: BTreeMap::new(),
            images: BTreeMap::new(),
            manifests: BTreeMap::new(),
            operations: BTreeMap::new(),
            imported: None,
            uninstalled: BTreeMap::new(),
        });
        reached.release.clone_into(&mut baseline.release);
        baseline.recorded_at = reached.at;
        baseline.zones.clone_from(reached.zones);
        baseline.remember(reached.release, reached.at, reached.carried_out);
        let left = Left::of(plan);
        let ended_well = |product: &str| reached.is_complete || reached.products.contains(product);
        let images = manifests::images(desired);
        for deployment in site.deployments.values().filter(|it| ended_well(&it.product)) {
            // Of a product that is held everywhere nothing was delivered, not even a version.
            if left.is_held_everywhere(deployment) {
                continue;
            }
            baseline.take_over(deployment, desired, &left);
            baseline.take_over_manifests(deployment, &images, &left);
        }
        let gone: Vec<String> = baseline
            .products
            .keys()
            .filter(|name| site.deployment(name).is_none() && ended_well(name))
            .cloned()
            .collect();
        for name in gone {
            baseline.remove(&name, &left);
        }
        baseline.remember_uninstalled(previous, plan, reached.release, reached.at);
        if reached.is_complete {
            baseline.revision.clone_from(&plan.revision);
            let before = std::mem::take(&mut baseline.grants);
            baseline.grants = grants(desired, site);
            for name in left.grants() {
                match before.get(name) {
                    Some(kept) => baseline.grants.insert(name.to_owned(), kept.clone()),
                    None => baseline.grants.remove(name),
                };
            }
        }
        baseline
    }

    /// Remembers what a release did that operations asked for once, so that it is not done again.
    pub fn remember(&mut self, release: &str, at: Timestamp, carried_out: &[Asked]) {
        for asked in carried_out {
            let new = CarriedOut { release: release.to_owned(), at, apps: BTreeSet::new() };
            let done = self.operations.entry(asked.operation.clone()).or_insert(new);
            release.clone_into(&mut done.release);
            done.at = at;
            done.apps.insert(asked.unit.clone());
        }
    }

    /// Remembers when products left clusters where something of them was kept, until they are there again.
    fn remember_uninstalled(
        &mut self,
        previous: Option<&Self>,
        plan: &Plan,
        release: &str,
        at: Timestamp,
    ) {
        let keeps = |product: &str, cluster: &str| {
            plan.content.changes.changes.iter().any(|change| {
                change.action == Action::Keep
                    && change.object.cluster == cluster
                    && change.owner.product.as_deref() == Some(product)
            })
        };
        for (name, product) in previous.iter().flat_map(|it| &it.products) {
            let now = self.products.get(name);
            let is_there = |cluster: &str| now.is_some_and(|it| it.clusters.contains_key(cluster));
            for cluster in product.clusters.keys() {
                if !is_there(cluster) && keeps(name, cluster) {
                    let (version, release) = (product.version.clone(), release.to_owned());
                    let places = self.uninstalled.entry(name.clone()).or_default();
                    places.insert(cluster.clone(), Uninstalled { version, release, at });
                }
            }
        }
        for (name, product) in &self.products {
            if let Some(places) = self.uninstalled.get_mut(name) {
                places.retain(|cluster, _| !product.clusters.contains_key(cluster));
            }
        }
        self.uninstalled.retain(|_, places| !places.is_empty());
    }

    fn take_over(&mut self, deployment: &Deployment, desired: &DesiredState, left: &Left<'_>) {
        let previous = self.products.remove(&deployment.product);
        let before = |cluster: &str| previous.as_ref().and_then(|it| it.clusters.get(cluster));
        let mut clusters: BTreeMap<String, BTreeMap<String, BaselineApp>> = BTreeMap::new();
        for cluster in deployment.placements.keys() {
            if left.is(&deployment.product, cluster) {
                if let Some(kept) = before(cluster) {
                    clusters.insert(cluster.clone(), kept.clone());
                }
                continue;
            }
            let own = desired.units.iter().filter(|unit| {
                unit.id.product == deployment.product && unit.id.cluster == *cluster
            });
            let mut apps: BTreeMap<String, BaselineApp> = BTreeMap::new();
            for unit in own {
                let kept = before(cluster).and_then(|apps| apps.get(&unit.id.app));
                if !deployment.exclude.contains(&unit.id.app) {
                    self.images.extend(image::pinned(&unit.image));
                    apps.insert(unit.id.app.clone(), delivered(deployment, unit));
                } else if let Some(kept) = kept {
                    apps.insert(unit.id.app.clone(), kept.clone());
                }
            }
            clusters.insert(cluster.clone(), apps);
        }
        // Left behind in clusters of which nothing is known: still there as far as we know.
        for (cluster, apps) in previous.iter().flat_map(|previous| &previous.clusters) {
            if left.is(&deployment.product, cluster) {
                clusters.entry(cluster.clone()).or_insert_with(|| apps.clone());
            }
        }
        self.versions.insert(deployment.version_key(), deployment.digest.clone());
        let product = BaselineProduct {
            solution: deployment.solution.clone(),
            version: deployment.version.to_string(),
            topology: deployment.topology.clone(),
            size: deployment.size.clone(),
            namespace: deployment.namespace.clone(),
            clusters,
        };
        self.products.insert(deployment.product.clone(), product);
    }

    /// How images of plain manifests were delivered; as for apps, what the release left out stays as it was.
    fn take_over_manifests(
        &mut self,
        deployment: &Deployment,
        images: &BTreeMap<(&str, &str), ByObject>,
        left: &Left<'_>,
    ) {
        let product = deployment.product.as_str();
        let mut own = self.manifests.remove(product).unwrap_or_default();
        own.retain(|cluster, _| left.is(product, cluster));
        for cluster in deployment.placements.keys().filter(|it| !left.is(product, it)) {
            let delivered = images.get(&(product, cluster.as_str())).cloned().unwrap_or_default();
            let references = delivered.values().flatten();
            self.images.extend(references.filter_map(|reference| image::pinned(reference)));
            own.insert(cluster.clone(), delivered);
        }
        self.manifests.insert(product.to_owned(), own);
    }

    fn remove(&mut self, name: &str, left: &Left<'_>) {
        if let Some(clusters) = self.manifests.get_mut(name) {
            clusters.retain(|cluster, _| left.is(name, cluster));
        }
        self.manifests.retain(|_, clusters| !clusters.is_empty());
        if let Some(product) = self.products.get_mut(name) {
            product.clusters.retain(|cluster, _| left.is(name, cluster));
            if product.clusters.is_empty() {
                self.products.remove(name);
            }
        }
    }
}

fn delivered(deployment: &Deployment, unit: &Unit) -> BaselineApp {
    let volumes = deployment.volumes(&unit.id.app);
    BaselineApp {
        kind: unit.kind,
        scaling_group: unit.scaling_group.clone(),
        image: unit.image.clone(),
        replicas: unit.replicas,
        cpu: unit.cpu.clone(),
        memory: unit.memory.clone(),
        inputs: unit.inputs.clone(),
        parameters: unit.parameters.clone(),
        volumes: volumes.into_iter().map(|(name, size)| (name, size.to_string())).collect(),
        offline: unit.offline,
    }
}

/// The grants that are desired, as people read them: those that have expired have no objects any more.
fn grants(desired: &DesiredState, site: &ValidSite) -> BTreeMap<String, String> {
    let in_force: BTreeSet<&str> = desired
        .objects
        .iter()
        .filter_map(|object| object.owner.access.as_deref()?.strip_prefix("grant/"))
        .collect();
    let own = site.grants.iter().filter(|(name, _)| in_force.contains(name.as_str()));
    own.map(|(name, grant)| {
        let grant = &grant.spec;
        (name.clone(), format!("{}: {}", grant.subject.name(), grant.role))
    })
    .collect()
}
