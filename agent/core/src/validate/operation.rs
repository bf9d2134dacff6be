//! Operations: what a document asks of apps beside the solutions, as long as it stands, or once.
//!
//! Scaling and resizing go over what the solution says of an app's size, so they are planned, approved, grouped and recorded
//! like every change, and are no drift. Restarts and further runs are done once. Going back is `back`'s. What is uninstalled
//! no solution wants: the operation says why, and what stays.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tidegate_schema::app::{App, AppKind, Workload};
use tidegate_schema::document::Document;
use tidegate_schema::finding::{Finding, Place};
use tidegate_schema::operation::{Action, Uninstall};
use tidegate_schema::product::AppSize;
use tidegate_schema::scalar::Name;

use super::documents::Documents;
use super::references::unknown;
use crate::site::{
    Deployment, PlacedApp, Placement, ScalingGroupMember, Target, ValidSite, name_in,
};

/// The size that an action asks for, and of what.
struct SizeAsked<'a> {
    product: &'a Name,
    app: &'a Name,
    scaling_group: Option<&'a Name>,
    clusters: &'a [Name],
    size: AppSize,
}

impl SizeAsked<'_> {
    fn of(action: &Action) -> Option<SizeAsked<'_>> {
        match action {
            Action::Scale(scale) => Some(SizeAsked {
                product: &scale.product,
                app: &scale.app,
                scaling_group: scale.scaling_group.as_ref(),
                clusters: &scale.clusters,
                size: AppSize { replicas: Some(scale.replicas), ..AppSize::default() },
            }),
            Action::Resize(resize) => Some(SizeAsked {
                product: &resize.product,
                app: &resize.app,
                scaling_group: resize.scaling_group.as_ref(),
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

    fn is_of(
        &self,
        (product, cluster): (&str, &str),
        (app, member): (&App, Option<&ScalingGroupMember>),
    ) -> bool {
        *self.product == *product && self.names(app, member) && self.is_in(cluster)
    }

    fn names(&self, app: &App, member: Option<&ScalingGroupMember>) -> bool {
        name_in(self.scaling_group, app, member).is_some_and(|name| *self.app == *name)
    }

    fn is_in(&self, cluster: &str) -> bool {
        self.clusters.is_empty() || self.clusters.iter().any(|it| *it == *cluster)
    }

    /// Where the product has the app, also in clusters that are not named.
    fn places<'d>(&self, deployment: &'d Deployment) -> Vec<(&'d str, &'d App)> {
        let of_cluster = |(cluster, placement): (&'d String, &'d Placement)| {
            let mut apps = placement.apps.iter();
            let placed = apps.find(|it| self.names(&it.app, it.member.as_ref()))?;
            Some((cluster.as_str(), &placed.app))
        };
        deployment.placements.iter().filter_map(of_cluster).collect()
    }
}

/// What the operations that stand at `now` ask of an app's size in a cluster, and their names.
pub(super) fn size(
    site: &ValidSite,
    now: Timestamp,
    of: (&str, &str),
    app: (&App, Option<&ScalingGroupMember>),
) -> (AppSize, Vec<String>) {
    let mut size = AppSize::default();
    let mut names = Vec::new();
    for (name, operation) in site.standing_operations(now) {
        let asked = SizeAsked::of(&operation.spec.action);
        if let Some(asked) = asked.filter(|it| it.is_of(of, app)) {
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
    let mut given = Given::new();
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
        if let Action::Uninstall(asked) = &operation.action {
            uninstall(site, document, asked, findings);
            continue;
        }
        if let Some(asked) = SizeAsked::of(&operation.action) {
            size_asked(site, document, &asked, &mut given, findings);
        }
    }
}

/// Which operation gives a field of an app in a cluster: product, app, cluster and field, with the operation's name and where
/// it says so.
type Given<'a> = BTreeMap<[&'a str; 4], (&'a str, Place)>;

/// Another size is given to an app that has one, and by one operation only.
fn size_asked<'a>(
    site: &'a ValidSite,
    document: &'a Document,
    asked: &SizeAsked<'a>,
    given: &mut Given<'a>,
    findings: &mut Vec<Finding>,
) {
    let name = document.name().as_str();
    let verb = if asked.size.replicas.is_some() { "scale" } else { "resize" };
    let place = |field: &str| document.place(&format!("spec.action.{verb}.{field}"));
    let about = |code: &'static str, field: &str| {
        let finding = Finding::error(code).at(place(field)).with("name", name);
        finding.with("product", asked.product).with("app", asked.app)
    };
    let Some(deployment) = site.deployment(asked.product.as_str()) else {
        findings.push(about("OPERATION/PRODUCT_NOT_RUN", "product"));
        return;
    };
    let group = asked.scaling_group;
    if let Some(finding) = scaling_group(deployment, group, || place("scalingGroup")) {
        findings.push(finding);
        return;
    }
    let mut is_here = true;
    for (index, cluster) in asked.clusters.iter().enumerate() {
        if !deployment.placements.contains_key(cluster.as_str()) {
            let finding = about("OPERATION/NOT_IN_CLUSTER", &format!("clusters[{index}]"));
            findings.push(finding.with("cluster", cluster));
            is_here = false;
        }
    }
    let everywhere = asked.places(deployment);
    let meant: Vec<(&str, &App)> =
        everywhere.iter().copied().filter(|(cluster, _)| asked.is_in(cluster)).collect();
    if everywhere.is_empty() || (is_here && meant.is_empty()) {
        findings.push(about("OPERATION/APP_UNKNOWN", "app"));
    }
    let Some((_, app)) = everywhere.first() else { return };
    let has_number = app.kind == AppKind::Standard && app.workload != Workload::DaemonSet;
    if asked.size.replicas.is_some() && !has_number {
        findings.push(about("OPERATION/NOT_SCALED", "app"));
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

/// What is removed is wanted by no solution: an operation never goes over one there, as its end would bring the product back.
fn uninstall(
    site: &ValidSite,
    document: &Document,
    asked: &Uninstall,
    findings: &mut Vec<Finding>,
) {
    let Some(deployment) = site.deployment(asked.product.as_str()) else { return };
    let still = |field: &str, clusters: &str| {
        let place = document.place(&format!("spec.action.uninstall.{field}"));
        let finding = Finding::error("OPERATION/STILL_WANTED").at(place);
        let finding = finding.with("name", document.name()).with("product", &asked.product);
        let finding = finding.with("solution", &deployment.solution).with("clusters", clusters);
        finding.with("place", &deployment.place)
    };
    let wanted = &deployment.placements;
    if asked.clusters.is_empty() && !wanted.is_empty() {
        let clusters: Vec<&str> = wanted.keys().map(String::as_str).collect();
        findings.push(still("product", &clusters.join(", ")));
    }
    for (index, cluster) in asked.clusters.iter().enumerate() {
        if wanted.contains_key(cluster.as_str()) {
            findings.push(still(&format!("clusters[{index}]"), cluster.as_str()));
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
            let finding = about("OPERATION/NOT_IN_CLUSTER", &format!("clusters[{index}]"));
            findings.push(finding.with("cluster", cluster));
        }
    }
    let group = target.scaling_group;
    let place = || document.place(&format!("spec.action.{}.scalingGroup", target.verb));
    if let Some(finding) = scaling_group(deployment, group, place) {
        findings.push(finding);
        return;
    }
    // Where all clusters are wrong, that has been said, and the apps are those of the others.
    let is_nowhere = apps_in(deployment, target).next().is_none();
    let target = if is_nowhere { Target { clusters: &[], ..target } } else { target };
    let there = || apps_in(deployment, target);
    let wanted = kind(target.kind);
    for (index, name) in target.apps.iter().enumerate() {
        let field = if target.field == "app" { "app".to_owned() } else { format!("apps[{index}]") };
        let is_it = |placed: &&PlacedApp| {
            let own = name_in(group, &placed.app, placed.member.as_ref());
            own.is_some_and(|own| *name == *own)
        };
        match there().find(is_it).map(|placed| &placed.app) {
            None => findings.push(about("OPERATION/APP_UNKNOWN", &field).with("app", name)),
            Some(app) if app.kind != target.kind => {
                let finding = about("OPERATION/WRONG_KIND", &field).with("app", name);
                let finding = finding.with("action", target.verb).with("wanted", wanted);
                findings.push(finding.with("kind", kind(app.kind)));
            }
            Some(_) => {}
        }
    }
    if target.apps.is_empty() && !there().any(|it| target.is_of(&it.app, it.member.as_ref())) {
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
            let is_of =
                |target: &Target<'_>, it: &PlacedApp| target.is_of(&it.app, it.member.as_ref());
            let is_offline = |placed: &PlacedApp| {
                offline.iter().any(|it| it.is_in(cluster) && is_of(it, placed))
            };
            it.apps.iter().any(|placed| is_of(&online, placed) && is_offline(placed))
        },
    )
}

/// The apps of a product in the clusters that are meant.
fn apps_in<'a>(
    deployment: &'a Deployment,
    target: Target<'a>,
) -> impl Iterator<Item = &'a PlacedApp> + 'a {
    let places = deployment.placements.iter().filter(move |(cluster, _)| target.is_in(cluster));
    places.flat_map(|(_, placement)| &placement.apps)
}

/// A scaling group that an operation names and the product does not have.
fn scaling_group(
    deployment: &Deployment,
    group: Option<&Name>,
    place: impl FnOnce() -> Place,
) -> Option<Finding> {
    let known = || deployment.scaling_groups.iter().map(String::as_str);
    let group = group.filter(|group| !known().any(|it| **group == *it))?;
    Some(unknown(place(), "scaling group", group.as_str(), known()))
}

/// A kind of app as documents write it.
fn kind(kind: AppKind) -> &'static str {
    match kind {
        AppKind::Standard => "standard",
        AppKind::Task => "task",
        AppKind::Test => "test",
    }
}
