//! The site itself: exactly one, its clusters and its catalogs.

use std::collections::BTreeMap;

use tidegate_schema::finding::{Finding, Place};
use tidegate_schema::site::{Access, Site};

use super::documents::{Documents, is_below};
use crate::image::Image;
use crate::snapshot::{Snapshot, resolve};

/// The name and spec of the one `Site`; `None` when there is none.
pub(super) fn check(
    documents: &Documents,
    snapshot: &Snapshot,
    findings: &mut Vec<Finding>,
) -> Option<(String, Site)> {
    let mut sites = documents.sites();
    let Some((document, site)) = sites.next() else {
        // A `Site` that could not be read has its own findings.
        if !findings.iter().any(Finding::is_error) {
            findings.push(Finding::error("SITE/MISSING").at(Place::file("site.yaml")));
        }
        return None;
    };
    for (other, _) in sites {
        let finding = Finding::error("SITE/TWICE").at(other.place("metadata.name"));
        findings.push(finding.with("other", document.place("metadata.name")));
    }
    for (index, catalog) in site.catalogs.iter().enumerate() {
        let place = document.place(&format!("spec.catalogs[{index}].path"));
        let code = match resolve(&snapshot.folder, &catalog.path) {
            None => "SITE/CATALOG_OUTSIDE",
            Some(folder) if snapshot.files.keys().any(|path| is_below(path, &folder)) => continue,
            Some(_) => "SITE/CATALOG_MISSING",
        };
        findings.push(Finding::error(code).at(place).with("path", &catalog.path));
    }
    if let Some(image) = site.idle_image.as_ref().filter(|it| Image::parse(it).is_none()) {
        let finding = Finding::error("SITE/IDLE_IMAGE_INVALID");
        findings.push(finding.at(document.place("spec.idleImage")).with("image", image));
    }
    if documents.clusters().next().is_none() {
        let place = document.place("metadata.name");
        findings.push(Finding::warning("SITE/NO_CLUSTERS").at(place));
    }
    clusters(documents, snapshot, findings);
    Some((document.name().to_string(), site.clone()))
}

fn clusters(documents: &Documents, snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    let mut rooms: BTreeMap<_, (String, String)> = BTreeMap::new();
    for (document, cluster) in documents.clusters() {
        let own = (cluster.room.to_string(), document.name().to_string());
        let known =
            rooms.entry((cluster.region.clone(), cluster.zone.clone())).or_insert(own.clone());
        if known.0 != own.0 {
            findings.push(
                Finding::error("SITE/ZONE_SHARED")
                    .at(document.place("spec.zone"))
                    .with("zone", &cluster.zone)
                    .with("room", &cluster.room)
                    .with("other", &known.0),
            );
        }
        if let Access::Kubeconfig(access) = &cluster.access
            && let Some(path) = resolve(&snapshot.folder, &access.path)
            && snapshot.files.contains_key(&path)
        {
            let place = document.place("spec.access.kubeconfig.path");
            findings.push(
                Finding::error("SITE/KUBECONFIG_IN_GIT").at(place).with("path", &access.path),
            );
        }
    }
}
