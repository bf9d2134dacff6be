//! Operations: what a document asks of apps beside the solutions, as long as it stands, or once.
//!
//! Scaling and resizing go over what the solution says of an app's size, so they are planned, approved, grouped and recorded
//! like every change, and are no drift. Restarts and further runs are done once. Going back is `back`'s; the other actions are
//! read only.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tidegate_schema::app::{App, AppKind, Workload};
use tidegate_schema::document::Document;
use tidegate_schema::finding::{Finding, Place};
use tidegate_schema::operation::Action;
use tidegate_schema::product::AppSize;
use tidegate_schema::scalar::Name;

use super::documents::Documents;
use crate::site::{Deployment, Target, ValidSite};

/// The size that an action asks for, and of what.
struct SizeAsked<'a> {
    product: &'a Name,
    app: &'a Name,
    clusters: &'a [Name],
    size: AppSize,
}

impl SizeAsked<'_> {
    fn of(action: &Action) -> Option<SizeAsked<'_>> {
        match action {
            Action::Scale(scale) => Some(SizeAsked {
                product: &scale.product,
                app: &scale.app,
                clusters: &scale.clusters,
                size: AppSize { replicas: Some(scale.replicas), ..AppSize::default() },
            }),
            Action::Resize(resize) => Some(SizeAsked {
                product: &resize.product,
                app: &resize.app,
                clusters: &resize.clusters,
                size: AppSize {
                    cpu: resize.cpu.clone(),
                    memory: resize.memory.clone(),
                    ..AppSize::default()
                },
            }),
            Action::Restart(_)
            | Action::Offline(_)
            | Action::Online(_)
            | Action::Uninstall(_)
            | Action::RerunTask(_)
            | Action::Test(_)
            | Action::Cordon(_)
            | Action::Drain(_)
            | Action::Rollback(_) => None,
        }
    }

    fn is_of(&self, product: &str, app: &str, cluster: &str) -> bool {
        *self.product == *product
            && *self.app == *app
            && (self.clusters.is_empty() || self.clusters.iter().any(|it| *it == *cluster))
    }
}

/// What the operations that stand at `now` ask of an app's size in a cluster, and their names.
pub(super) fn size(
    site: &ValidSite,
    now: Timestamp,
    (product, app, cluster): (&str, &str, &str),
) -> (AppSize, Vec<String>) {
    let mut size = AppSize::default();
    let mut names = Vec::new();
    for (name, operation) in site.standing_operations(now) {
        let asked = SizeAsked::of(&operation.spec.action);
        if let Some(asked) = asked.filter(|it| it.is_of(product, app, cluster)) {
            size = size.overridden_by(&asked.size);
            names.push(name.to_owned());
        }
    }
    (size, names)
}

/// What operations ask for must be there, and may not be asked for twice.
pub(super) fn check(
    site: &ValidSite,
    documents: &Documents,
    now: Timestamp,
    findings: &mut Vec<Finding>,
) {
    // Which operation gives a field of an app in a cluster.
    let mut given: BTreeMap<[&str; 4], (&str, Place)> = BTreeMap::new();
    for (document, operation) in documents.operations() {
        let name = document.name().as_str();
        if let Some(expires) = operation.expires.filter(|expires| *expires <= now) {
            let finding = Finding::note("OPERATION/OVER").at(document.place("spec.expires"));
            findings.push(finding.with("name", name).with("expires", expires));
            continue;
        }
        if matches!(operation.action, Action::Rollback(_)) {
            continue;
        }
        if let Some(target) = Target::of(&operation.action) {
            apps(site, document, target, findings);
            if matches!(operation.action, Action::Online(_)) && !ends_anything(site, now, target) {
                let place = document.place("spec.action.online");
                let finding = Finding::note("OPERATION/NOT_OFFLINE").at(place).with("name", name);
                findings.push(finding.with("product", target.product));
            }
            continue;
        }
        let Some(asked) = SizeAsked::of(&operation.action) else {
            let finding = Finding::warning("OPERATION/NOT_CARRIED_OUT");
            findings.push(finding.at(document.place("kind")).with("name", name));
            continue;
        };
        let verb = if asked.size.replicas.is_some() { "scale" } else { "resize" };
        let place = |field: &str| document.place(&format!("spec.action.{verb}.{field}"));
        let mut refuse = |code: &'static str, field: &str| {
            let finding = Finding::error(code).at(place(field)).with("name", name);
            findings.push(finding.with("product", asked.product).with("app", asked.app));
        };
        let Some(deployment) = site.deployment(asked.product.as_str()) else {
            refuse("OPERATION/PRODUCT_NOT_RUN", "product");
            continue;
        };
        let mut is_here = true;
        for (index, cluster) in asked.clusters.iter().enumerate() {
            if !deployment.placements.contains_key(cluster.as_str()) {
                refuse("OPERATION/NOT_IN_CLUSTER", &format!("clusters[{index}]"));
                is_here = false;
            }
        }
        let meant = deployment
            .placements
            .iter()
            .filter(|(cluster, _)| {
                asked.is_of(asked.product.as_str(), asked.app.as_str(), cluster.as_str())
            })
            .filter_map(|(cluster, placement)| {
                let mut apps = placement.apps.iter();
                Some((cluster.as_str(), &apps.find(|it| it.app.name == *asked.app)?.app))
            });
        let meant: Vec<(&str, &App)> = meant.collect();
        let Some((_, app)) = meant.first() else {
            if is_here {
                refuse("OPERATION/APP_UNKNOWN", "app");
            }
            continue;
        };
        let has_number = app.kind == AppKind::Standard && app.workload != Workload::DaemonSet;
        if asked.size.replicas.is_some() && !has_number {
            refuse("OPERATION/NOT_SCALED", "app");
        }
        let fields = [
            ("replicas", asked.size.replicas.is_some()),
            ("cpu", asked.size.cpu.is_some()),
            ("memory", asked.size.memory.is_some()),
        ];
        for (cluster, app) in meant {
            for (field, _) in fields.into_iter().filter(|(_, is_given)| *is_given) {
                let key = [deployment.product.as_str(), app.name.as_str(), cluster, field];
                if let Some((other, at)) = given.insert(key, (name, place("app"))) {
                    let finding = Finding::error("OPERATION/CONTRADICTS").at(place("app"));
                    let finding = finding.with("name", name).with("other", other);
                    let finding = finding.with("app", app.name.as_str()).with("field", field);
                    findings.push(finding.with("cluster", cluster).with("place", at));
                }
            }
        }
    }
}

/// What is done to apps is done to those of the kind that it is for, where they are.
fn apps(site: &ValidSite, document: &Document, target: Target<'_>, findings: &mut Vec<Finding>) {
    let about = |code: &'static str, field: &str| {
        let place = document.place(&format!("spec.action.{}.{field}", target.verb));
        let finding = Finding::error(code).at(place).with("name", document.name());
        finding.with("product", target.product)
    };
    let Some(deployment) = site.deployment(target.product.as_str()) else {
        findings.push(about("OPERATION/PRODUCT_NOT_RUN", "product"));
        return;
    };
    for (index, cluster) in target.clusters.iter().enumerate() {
        if !deployment.placements.contains_key(cluster.as_str()) {
            findings.push(about("OPERATION/NOT_IN_CLUSTER", &format!("clusters[{index}]")));
        }
    }
    let there = || apps_in(deployment, target);
    // Where it is nowhere, that has been said.
    if there().next().is_none() {
        return;
    }
    let wanted = kind(target.kind);
    for (index, name) in target.apps.iter().enumerate() {
        let field = if target.field == "app" { "app".to_owned() } else { format!("apps[{index}]") };
        match there().find(|app| app.name == *name) {
            None => findings.push(about("OPERATION/APP_UNKNOWN", &field).with("app", name)),
            Some(app) if app.kind != target.kind => {
                let finding = about("OPERATION/WRONG_KIND", &field).with("app", name);
                let finding = finding.with("action", target.verb).with("wanted", wanted);
                findings.push(finding.with("kind", kind(app.kind)));
            }
            Some(_) => {}
        }
    }
    if target.apps.is_empty() && !there().any(|app| target.is_of(app)) {
        let finding = about("OPERATION/NO_APP_FITS", "product").with("action", target.verb);
        findings.push(finding.with("wanted", wanted));
    }
}

/// Whether anything that is to come online was taken offline.
fn ends_anything(site: &ValidSite, now: Timestamp, online: Target<'_>) -> bool {
    let Some(deployment) = site.deployment(online.product.as_str()) else { return true };
    let offline = site.standing_operations(now).filter_map(|(_, operation)| {
        let action = &operation.spec.action;
        Target::of(action)
            .filter(|it| matches!(action, Action::Offline(_)) && *it.product == *online.product)
    });
    let offline: Vec<Target<'_>> = offline.collect();
    deployment.placements.iter().filter(|(cluster, _)| online.is_in(cluster)).any(
        |(cluster, it)| {
            let meant = it.apps.iter().filter(|placed| online.is_of(&placed.app));
            let is_offline =
                |app: &App| offline.iter().any(|it| it.is_in(cluster) && it.is_of(app));
            meant.into_iter().any(|placed| is_offline(&placed.app))
        },
    )
}

/// The apps of a product in the clusters that are meant.
fn apps_in<'a>(
    deployment: &'a Deployment,
    target: Target<'a>,
) -> impl Iterator<Item = &'a App> + 'a {
    let places = deployment.placements.iter().filter(move |(cluster, _)| target.is_in(cluster));
    places.flat_map(|(_, placement)| placement.apps.iter().map(|placed| &placed.app))
}

/// A kind of app as documents write it.
fn kind(kind: AppKind) -> &'static str {
    match kind {
        AppKind::Standard => "standard",
        AppKind::Task => "task",
        AppKind::Test => "test",
    }
}
