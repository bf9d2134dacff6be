//! Scaling groups: further instances of some apps of a product, as far as one document cannot say it alone (YL-180, YL-181).
//!
//! A group has the version, the topology and the declared parameters of its product, because it has no others.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_schema::app::{App, AppKind, Workload};
use tidegate_schema::finding::{Finding, Place};
use tidegate_schema::product::{AppSize, LoadBalancer};
use tidegate_schema::scalar::Name;
use tidegate_schema::solution::ScalingGroup;

use super::Wanted;
use crate::provenance::Effective;
use crate::site::{ScalingGroupMember, ValidSite};
use crate::validate::references::unknown;
use crate::validate::version::{LONGEST_NAME, place_of_app};

/// The longest name of a Service (RFC 1123, label).
const LONGEST_SERVICE_NAME: usize = 63;

/// A scaling group with what of it can run.
pub(super) struct Group<'a> {
    pub(super) name: &'a str,
    /// Sizes by app, as the version calls it.
    pub(super) apps: BTreeMap<&'a str, &'a AppSize>,
    /// Where it runs.
    pub(super) clusters: BTreeSet<String>,
    /// Where the solution says it.
    pub(super) place: Place,
}

impl Group<'_> {
    /// The member that an app is in it; `None` for an app that it does not have.
    pub(super) fn member(&self, app: &Name) -> Option<ScalingGroupMember> {
        let member =
            || ScalingGroupMember { group: self.name.to_owned(), app: app.as_str().to_owned() };
        self.apps.contains_key(app.as_str()).then(member)
    }

    /// The app as it runs in the group: apps that the group has too are those of the group.
    pub(super) fn app(&self, app: &App) -> App {
        let mut own = app.clone();
        own.name = self.named(&app.name);
        for name in &mut own.after {
            *name = self.named(name);
        }
        for affinity in own.affinity.iter_mut().chain(&mut own.anti_affinity) {
            affinity.app = self.named(&affinity.app);
        }
        own
    }

    /// The load balancer of one of its apps.
    pub(super) fn load_balancer(&self, balancer: &LoadBalancer) -> LoadBalancer {
        let mut own = balancer.clone();
        own.name = with(&balancer.name, self.name);
        own.app = self.named(&balancer.app);
        own
    }

    fn named(&self, app: &Name) -> Name {
        if self.apps.contains_key(app.as_str()) { with(app, self.name) } else { app.clone() }
    }
}

/// The name under which something runs in a scaling group.
pub(super) fn name_in(name: &str, group: &str) -> String {
    format!("{name}-{group}")
}

/// Names that are too long have been refused.
fn with(name: &Name, group: &str) -> Name {
    Name::new(name_in(name.as_str(), group)).unwrap_or_else(|_| name.clone())
}

/// The host name of a load balancer of a group: the product's own with the group at the end of its first label, so that it
/// stays in the zone.
pub(super) fn host_in(host: &str, group: &str) -> String {
    match host.split_once('.') {
        Some(("*", rest)) => format!("*.{group}.{rest}"),
        Some((first, rest)) => format!("{first}-{group}.{rest}"),
        None => format!("{host}-{group}"),
    }
}

/// The scaling groups of a product; of what is wrong with them only what is right.
pub(super) fn groups<'a>(
    site: &ValidSite,
    wanted: &Wanted<'a>,
    topology: &str,
    clusters: &BTreeSet<String>,
    findings: &mut Vec<Finding>,
) -> Vec<Group<'a>> {
    let apps = wanted.version.apps.iter().enumerate();
    let mut taken: BTreeMap<String, Place> = apps
        .map(|(index, app)| (app.name.to_string(), place_of_app(wanted.document, index)))
        .collect();
    let mut groups = Vec::new();
    for (index, spec) in wanted.product.scaling_groups.iter().enumerate() {
        let mut checker = Checker { wanted, spec, index, findings };
        let clusters = checker.clusters(site, clusters);
        let mut apps = BTreeMap::new();
        for (name, size) in &spec.apps {
            if let Some(app) = checker.app(name, topology)
                && checker.fits(app, &mut taken)
            {
                apps.insert(app.name.as_str(), size);
            }
        }
        let place = checker.place("name");
        groups.push(Group { name: spec.name.as_str(), apps, clusters, place });
    }
    groups
}

struct Checker<'a, 'b> {
    wanted: &'b Wanted<'a>,
    spec: &'a ScalingGroup,
    index: usize,
    findings: &'b mut Vec<Finding>,
}

impl<'a> Checker<'a, '_> {
    fn place(&self, path: &str) -> Place {
        self.wanted.place(&format!("scalingGroups[{}].{path}", self.index))
    }

    fn refuse(&mut self, code: &'static str, path: &str) -> Finding {
        let finding = Finding::error(code).at(self.place(path));
        finding.with("group", &self.spec.name).with("product", &self.wanted.product.product)
    }

    /// Where the group runs: its product runs there too.
    fn clusters(&mut self, site: &ValidSite, all: &BTreeSet<String>) -> BTreeSet<String> {
        let Some(selector) = &self.spec.clusters else { return all.clone() };
        let mut is_said = false;
        for (index, name) in selector.names.iter().enumerate() {
            if site.clusters.contains_key(name.as_str()) && !all.contains(name.as_str()) {
                let path = format!("clusters.names[{index}]");
                let finding = self.refuse("SOLUTION/SCALING_GROUP_OUTSIDE", &path);
                self.findings.push(finding.with("cluster", name));
                is_said = true;
            }
        }
        let selected = site.select(Some(selector));
        let own: BTreeSet<String> = selected.intersection(all).cloned().collect();
        if own.is_empty() && !is_said && !all.is_empty() {
            let finding = self.refuse("SOLUTION/SCALING_GROUP_NOWHERE", "clusters");
            self.findings.push(finding);
        }
        own
    }

    /// An app that can have further instances.
    fn app(&mut self, name: &Name, topology: &str) -> Option<&'a App> {
        let version = self.wanted.version;
        let path = format!("apps.{name}");
        let Some(app) = version.apps.iter().find(|app| app.name == *name) else {
            let known = version.apps.iter().map(|app| app.name.as_str());
            self.findings.push(unknown(self.place(&path), "app", name.as_str(), known));
            return None;
        };
        let mut topologies = version.topologies.iter();
        let chosen = topologies.find(|it| it.name == topology);
        if chosen.is_some_and(|it| !it.apps.contains(name)) {
            let finding = self.refuse("SOLUTION/SCALING_GROUP_APP_LEFT_OUT", &path);
            self.findings.push(finding.with("app", name).with("topology", topology));
            return None;
        }
        if app.kind != AppKind::Standard || app.workload == Workload::DaemonSet {
            let finding = self.refuse("SOLUTION/SCALING_GROUP_KIND", &path);
            self.findings.push(finding.with("app", name));
            return None;
        }
        Some(app)
    }

    /// The names of the app, and of its load balancers, in the group are free and not too long.
    fn fits(&mut self, app: &App, taken: &mut BTreeMap<String, Place>) -> bool {
        let group = self.spec.name.as_str();
        let path = format!("apps.{}", app.name);
        let own = name_in(app.name.as_str(), group);
        let balancers = self.wanted.version.load_balancers.iter();
        let balancers = balancers.filter(|it| it.app == app.name);
        let mut names = vec![(own.clone(), LONGEST_NAME)];
        names.extend(balancers.map(|it| (name_in(it.name.as_str(), group), LONGEST_SERVICE_NAME)));
        let mut is_good = true;
        for (name, limit) in names.into_iter().filter(|(name, limit)| name.len() > *limit) {
            is_good = false;
            let finding = self.refuse("SOLUTION/SCALING_GROUP_NAME_TOO_LONG", &path);
            self.findings.push(finding.with("name", name).with("limit", limit));
        }
        if let Some(other) = taken.insert(own.clone(), self.place(&path)) {
            is_good = false;
            let finding = self.refuse("SOLUTION/SCALING_GROUP_NAME_TAKEN", &path);
            self.findings.push(finding.with("name", own).with("other", other));
        }
        is_good
    }
}

/// Every group has the keys that the product has: a value for a group only would be an input that the others lack (YL-181).
pub(super) fn same_keys(
    group: &str,
    own: &BTreeMap<String, Effective>,
    product: &BTreeMap<String, Effective>,
    findings: &mut Vec<Finding>,
) {
    for (name, effective) in own.iter().filter(|(name, _)| !product.contains_key(*name)) {
        let finding = Finding::error("VALUE/ONLY_IN_SCALING_GROUP");
        let finding = finding.at(effective.strongest.place.clone());
        findings.push(finding.with("parameter", name).with("group", group));
    }
}

#[cfg(test)]
mod tests;
