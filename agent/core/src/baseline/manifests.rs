//! Images of plain manifests in the baseline: how they were delivered.
//!
//! Baselines of before they were kept do not know any. Of a product in a cluster of which nothing is known, all count as
//! delivered as they are written, so that no pod restarts because the agent knows more.

use std::collections::{BTreeMap, BTreeSet};

use super::Baseline;
use crate::desired::{DesiredObject, DesiredState};
use crate::image;
use crate::live::Inventory;

/// Images by object, which is called by kind, namespace and name: kinds of Kubernetes itself need no group.
pub(super) type ByObject = BTreeMap<String, BTreeSet<String>>;

/// The product and the cluster of a plain manifest whose images are known.
fn whose(object: &DesiredObject) -> Option<(&str, &str)> {
    let product = object.owner.product.as_deref().filter(|_| object.owner.app.is_none())?;
    image::has_images(&object.reference).then_some((product, object.reference.cluster.as_str()))
}

/// The images of plain manifests, by product and cluster.
pub(super) fn images(desired: &DesiredState) -> BTreeMap<(&str, &str), ByObject> {
    let mut all: BTreeMap<(&str, &str), ByObject> = BTreeMap::new();
    for object in &desired.objects {
        let Some(whose) = whose(object) else { continue };
        let written = image::written_in(&object.reference, &object.body());
        let own = written.into_iter().map(|it| it.reference).collect();
        all.entry(whose).or_default().insert(object.reference.to_string(), own);
    }
    all
}

impl Baseline {
    /// How the images of a product's plain manifests were delivered to a cluster; `None` when that is not known.
    pub fn manifest_images(&self, product: &str, cluster: &str) -> Option<&ByObject> {
        self.manifests.get(product)?.get(cluster)
    }

    /// Whether a product was delivered to a cluster without a record of its manifests' images.
    pub fn lacks_manifest_images(&self, product: &str, cluster: &str) -> bool {
        let is_there =
            self.products.get(product).is_some_and(|it| it.clusters.contains_key(cluster));
        is_there && self.manifest_images(product, cluster).is_none()
    }

    /// Products and clusters of which [nothing is known](Self::lacks_manifest_images).
    fn without_manifest_images(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.products.iter().flat_map(|(product, it)| {
            it.clusters.keys().map(move |cluster| (product.as_str(), cluster.as_str()))
        });
        pairs.filter(|(product, cluster)| self.lacks_manifest_images(product, cluster))
    }

    /// Whether anything was delivered before images of manifests were kept.
    pub fn is_without_manifest_images(&self) -> bool {
        self.without_manifest_images().next().is_some()
    }

    /// Learns how images were delivered before they were kept: from the content of the baseline's revision, where the
    /// inventory says that exactly this was applied. Where that differs (a part of a release was delivered later, or the
    /// content is made in another way by now) it stays unknown, until a release delivers the product anew. Whether
    /// anything was learned.
    pub fn learn_manifest_images(
        &mut self,
        delivered: &DesiredState,
        inventory: &Inventory,
    ) -> bool {
        let is_applied = |object: &DesiredObject| {
            let entry = inventory.entries.get(&object.reference);
            entry.is_some_and(|entry| entry.applied.as_ref() == Some(&object.digest))
        };
        let contents = images(delivered);
        let mut has_learned = false;
        let lacking = self.without_manifest_images();
        let lacking: Vec<_> =
            lacking.map(|(it, cluster)| (it.to_owned(), cluster.to_owned())).collect();
        for (product, cluster) in lacking {
            let here = (product.as_str(), cluster.as_str());
            let objects = || delivered.objects.iter().filter(|it| whose(it) == Some(here));
            let ours = inventory.entries.iter().filter(|(reference, entry)| {
                reference.cluster == cluster
                    && entry.owner.product.as_ref() == Some(&product)
                    && entry.owner.app.is_none()
                    && image::has_images(reference)
            });
            if objects().all(is_applied) && ours.count() == objects().count() {
                let own = contents.get(&here).cloned().unwrap_or_default();
                self.manifests.entry(product).or_default().insert(cluster, own);
                has_learned = true;
            }
        }
        has_learned
    }
}
