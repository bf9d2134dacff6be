//! One product in one cluster: values found, templates filled in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::Timestamp;
use serde_json::json;
use tidegate_schema::app::{App, AppKind, FileSource, Workload};
use tidegate_schema::finding::{Finding, Place};
use tidegate_schema::parameters::ParameterValue;
use tidegate_schema::product::{AppSize, LoadBalancer};
use tidegate_schema::solution::Allowance;

use super::Wanted;
use super::scaling::{self, Group};
use crate::image;
use crate::provenance::{Effective, LayerValues, Whom, resolve};
use crate::site::{
    EnvValue, Manifest, PlacedApp, PlacedLoadBalancer, Placement, ScalingGroupMember, ValidSite,
};
use crate::snapshot::Snapshot;
use crate::template::{Templates, only_name};
use crate::validate::documents::relative;
use crate::validate::template::Filler;
use crate::validate::{manifest, operation, parameter, version};

/// A product in a cluster while it is resolved.
pub(super) struct Placer<'a> {
    pub(super) site: &'a ValidSite,
    pub(super) now: Timestamp,
    pub(super) wanted: &'a Wanted<'a>,
    pub(super) folder: &'a str,
    pub(super) snapshot: &'a Snapshot,
    pub(super) layers: &'a [LayerValues],
    pub(super) templates: &'a Templates,
    pub(super) cluster: &'a str,
    pub(super) topology: &'a str,
    pub(super) size: &'a str,
    pub(super) namespace: &'a str,
    /// The scaling groups that run in this cluster.
    pub(super) groups: Vec<&'a Group<'a>>,
}

/// An app of the version while it is resolved: as it runs for the product itself, or in a scaling group.
struct Instance<'a> {
    /// Its index in the version.
    index: usize,
    /// As the version says.
    declared: &'a App,
    /// With the names under which it runs.
    app: App,
    group: Option<&'a Group<'a>>,
    member: Option<ScalingGroupMember>,
}

/// What stands still where the site says nothing: every cluster has it, or its mirror has, as no pod starts without it.
const IDLE_IMAGE: &str = "pause:3.10";

/// The image of pods that are offline.
fn idle_image(site: &ValidSite) -> String {
    let registry = site.spec.registry.as_deref();
    match &site.spec.idle_image {
        Some(image) => image::qualify(image, registry),
        None => image::qualify(IDLE_IMAGE, registry.or(Some("registry.k8s.io"))),
    }
}

impl Placer<'_> {
    pub(super) fn placement(&self, findings: &mut Vec<Finding>) -> Placement {
        let version = self.wanted.version;
        let product = self.wanted.product.product.as_str();
        let parameters = self.values(None, None);
        let place = self.wanted.place("product");
        parameter::missing(version, &parameters, &place, (product, self.cluster), findings);
        let published_by_others = self.published_by_others();
        let apps = self
            .instances()
            .iter()
            .map(|instance| self.app(instance, &published_by_others, findings))
            .collect();
        let mut filler = self.filler(&parameters, &published_by_others);
        let document = self.wanted.document;
        let published = version
            .publishes
            .iter()
            .map(|(key, source)| {
                let place = document.place(&format!("spec.publishes.{key}"));
                (key.clone(), filler.fill(source, &place, findings))
            })
            .collect();
        let mut load_balancers: Vec<PlacedLoadBalancer> = version
            .load_balancers
            .iter()
            .enumerate()
            .filter(|(_, balancer)| {
                let app = version.apps.iter().find(|app| app.name == balancer.app);
                app.is_some_and(|app| self.is_chosen(app))
            })
            .map(|(index, balancer)| self.load_balancer(index, balancer, &mut filler, findings))
            .collect();
        for group in &self.groups {
            let own = self.values(None, Some(group.name));
            scaling::same_keys(group.name, &own, &parameters, findings);
            let mut filler = self.filler(&own, &published_by_others);
            let more = self.load_balancers_of(group, &load_balancers, &mut filler, findings);
            load_balancers.extend(more);
        }
        let manifests = self.manifests(&mut filler, findings);
        let cluster_wide = manifest::cluster_wide(&manifests);
        Placement { parameters, apps, load_balancers, manifests, cluster_wide, published }
    }

    /// The apps of the product itself, then those of each scaling group.
    fn instances(&self) -> Vec<Instance<'_>> {
        let chosen = || {
            let all = self.wanted.version.apps.iter().enumerate();
            all.filter(|(_, app)| self.is_chosen(app))
        };
        let own = chosen().map(|(index, declared)| Instance {
            index,
            declared,
            app: declared.clone(),
            group: None,
            member: None,
        });
        let mut instances: Vec<_> = own.collect();
        for group in self.groups.iter().copied() {
            instances.extend(chosen().filter_map(|(index, declared)| {
                let member = Some(group.member(&declared.name)?);
                let app = group.app(declared);
                Some(Instance { index, declared, app, group: Some(group), member })
            }));
        }
        instances
    }

    fn values(
        &self,
        app: Option<&str>,
        scaling_group: Option<&str>,
    ) -> BTreeMap<String, Effective> {
        let declarations = parameter::declarations(self.wanted.document, self.wanted.version);
        let product = self.wanted.product.product.as_str();
        let whom = Whom { product, cluster: self.cluster, app, scaling_group };
        resolve(&declarations, self.layers, whom)
    }

    fn filler(
        &self,
        parameters: &BTreeMap<String, Effective>,
        products: &BTreeMap<String, BTreeMap<String, String>>,
    ) -> Filler<'_> {
        Filler::new(self.templates, self.site, self.cluster, parameters, products)
    }

    /// What required products publish: in this cluster, or else in the first one that has them.
    fn published_by_others(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        self.wanted
            .version
            .requires
            .iter()
            .filter_map(|requirement| {
                let deployment = self.site.deployment(requirement.product.as_str())?;
                let placements = &deployment.placements;
                let placement =
                    placements.get(self.cluster).or_else(|| placements.values().next())?;
                Some((requirement.product.to_string(), placement.published.clone()))
            })
            .collect()
    }

    fn is_chosen(&self, app: &App) -> bool {
        let mut topologies = self.wanted.version.topologies.iter();
        topologies
            .find(|topology| topology.name == self.topology)
            .is_none_or(|topology| topology.apps.contains(&app.name))
    }

    fn app(
        &self,
        instance: &Instance<'_>,
        products: &BTreeMap<String, BTreeMap<String, String>>,
        findings: &mut Vec<Finding>,
    ) -> PlacedApp {
        let Instance { index, declared, app, group, member } = instance;
        let document = self.wanted.document;
        let place = |path: &str| document.place(&format!("spec.apps[{index}].{path}"));
        let (size, mut operations) = self.size_of(instance, findings);
        let product = self.wanted.product.product.as_str();
        let of = (app, member.as_ref());
        let offline_by = self.site.offline_by(self.now, (product, self.cluster), of);
        let idle = (!offline_by.is_empty()).then(|| idle_image(self.site));
        operations.extend(offline_by);
        let name = declared.name.as_str();
        let parameters = self.values(Some(name), group.map(|group| group.name));
        if let Some(group) = group {
            scaling::same_keys(group.name, &parameters, &self.values(Some(name), None), findings);
        }
        let mut filler = self.filler(&parameters, products);
        let replicas = match (app.kind, app.workload) {
            (AppKind::Task | AppKind::Test, _) => 1,
            (AppKind::Standard, Workload::DaemonSet) => 0,
            (AppKind::Standard, Workload::StatefulSet | Workload::Deployment) => {
                size.replicas.unwrap_or(1)
            }
        };
        filler.define(
            "app",
            json!({
                "name": app.name, "namespace": self.namespace, "replicas": replicas,
                "cpu": size.cpu, "memory": size.memory,
                "product": self.wanted.product.product, "version": self.wanted.version.version,
                "scalingGroup": group.map_or("", |group| group.name),
            }),
        );
        let filled = filler.fill(&app.image, &place("image"), findings);
        let image = image::qualify(&filled, self.site.spec.registry.as_deref());
        if !filled.is_empty() && image::Image::parse(&image).is_none() {
            let finding = Finding::error("VERSION/IMAGE_INVALID").at(place("image"));
            findings.push(finding.with("image", &image));
        }
        let mut list = |texts: &[String], name: &str| -> Vec<String> {
            let place = |position| place(&format!("{name}[{position}]"));
            let all = texts.iter().enumerate();
            all.map(|(position, text)| filler.fill(text, &place(position), findings)).collect()
        };
        let (command, args) = (list(&app.command, "command"), list(&app.args, "args"));
        let env =
            env(app, &parameters, &mut filler, |name| place(&format!("env.{name}")), findings);
        let files =
            self.files(app, &mut filler, |path| place(&format!("files[\"{path}\"]")), findings);
        let queries = self.queries(app, &mut filler, &place, findings);
        let classes = app.volumes.iter().filter_map(|volume| {
            let class = volume.class.as_ref()?;
            let here = self.site.spec.storage_classes.get(class.as_str()).unwrap_or(class);
            Some((volume.name.to_string(), here.clone()))
        });
        PlacedApp {
            app: app.clone(),
            member: member.clone(),
            replicas,
            cpu: size.cpu,
            memory: size.memory,
            operations,
            image,
            idle,
            command,
            args,
            env,
            files,
            queries,
            classes: classes.collect(),
            used: filler.used.clone(),
            parameters,
            place: version::place_of_app(document, *index),
        }
    }

    /// What checks ask Prometheus, which the cluster must name.
    fn queries(
        &self,
        app: &App,
        filler: &mut Filler<'_>,
        place: &impl Fn(&str) -> Place,
        findings: &mut Vec<Finding>,
    ) -> BTreeMap<String, String> {
        let cluster = self.site.clusters.get(self.cluster);
        let has_prometheus = cluster.is_some_and(|it| it.spec.prometheus.is_some());
        let mut queries = BTreeMap::new();
        for (index, check) in app.checks.iter().enumerate() {
            let Some(prometheus) = &check.prometheus else { continue };
            if !has_prometheus {
                let finding = Finding::error("VERSION/CHECK_WITHOUT_PROMETHEUS");
                let finding = finding.with("app", &app.name).with("check", &check.name);
                let finding = finding.with("cluster", self.cluster);
                findings.push(finding.at(place(&format!("checks[{index}].prometheus"))));
            }
            let place = place(&format!("checks[{index}].prometheus.query"));
            let query = filler.fill(&prometheus.query, &place, findings);
            queries.insert(check.name.to_string(), query);
        }
        queries
    }

    /// By the solution; over that what operations ask for, with their names.
    fn size_of(
        &self,
        instance: &Instance<'_>,
        findings: &mut Vec<Finding>,
    ) -> (AppSize, Vec<String>) {
        let Instance { declared, app, group, member, .. } = instance;
        let name = declared.name.as_str();
        let mut sizes = self.wanted.version.sizes.iter();
        let chosen = sizes.find(|size| size.name == self.size);
        let base = chosen.and_then(|size| size.apps.get(name)).cloned().unwrap_or_default();
        let product = self.wanted.product;
        let stronger = match group {
            Some(group) => group.apps.get(name).copied(),
            None => product.apps.get(name),
        };
        let size = match stronger {
            Some(stronger) => base.overridden_by(stronger),
            None => base,
        };
        let takes_none = app.kind != AppKind::Standard || app.workload == Workload::DaemonSet;
        if takes_none && size.replicas.is_some() {
            let finding =
                Finding::error("SOLUTION/REPLICAS_NOT_TAKEN").at(self.wanted.place("product"));
            findings.push(finding.with("app", &app.name));
        }
        let of = (product.product.as_str(), self.cluster);
        let (asked, operations) = operation::size(self.site, self.now, of, (app, member.as_ref()));
        (size.overridden_by(&asked), operations)
    }

    fn files(
        &self,
        app: &App,
        filler: &mut Filler<'_>,
        place: impl Fn(&str) -> Place,
        findings: &mut Vec<Finding>,
    ) -> BTreeMap<String, String> {
        let mut files = BTreeMap::new();
        for (target, source) in &app.files {
            let (text, place) = match source {
                FileSource::Text(text) => (text.as_str(), place(target)),
                FileSource::From(from) => {
                    let Some(text) = version::text(self.folder, from, self.snapshot) else {
                        continue;
                    };
                    let file = relative(&self.snapshot.folder, &format!("{}/{from}", self.folder));
                    (text, Place::file(file))
                }
            };
            files.insert(target.clone(), filler.fill(text, &place, findings));
        }
        files
    }

    fn load_balancer(
        &self,
        index: usize,
        balancer: &LoadBalancer,
        filler: &mut Filler<'_>,
        findings: &mut Vec<Finding>,
    ) -> PlacedLoadBalancer {
        let document = self.wanted.document;
        let place = |path: &str| document.place(&format!("spec.loadBalancers[{index}].{path}"));
        let host = balancer.host.as_ref().map(|host| {
            let host = filler.fill(host, &place("host"), findings);
            host.trim_end_matches('.').to_ascii_lowercase()
        });
        let mut addresses = BTreeSet::new();
        for (position, source) in balancer.addresses.iter().enumerate() {
            let place = place(&format!("addresses[{position}]"));
            let text = filler.fill(source, &place, findings);
            for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
                match part.parse::<IpAddr>() {
                    Ok(address) => {
                        addresses.insert(address);
                    }
                    Err(_) => findings.push(
                        Finding::error("VERSION/ADDRESS_INVALID")
                            .at(place.clone())
                            .with("address", part),
                    ),
                }
            }
        }
        PlacedLoadBalancer {
            spec: balancer.clone(),
            member: None,
            host,
            addresses: addresses.into_iter().collect(),
            place: place("name"),
        }
    }

    /// Every load balancer of an app of a scaling group has its like for the group, which leads to the group's pods only:
    /// other values may stand for other data (YL-182).
    fn load_balancers_of(
        &self,
        group: &Group<'_>,
        others: &[PlacedLoadBalancer],
        filler: &mut Filler<'_>,
        findings: &mut Vec<Finding>,
    ) -> Vec<PlacedLoadBalancer> {
        let mut balancers = Vec::new();
        for (index, declared) in self.wanted.version.load_balancers.iter().enumerate() {
            let Some(member) = group.member(&declared.app) else { continue };
            let mut placed = self.load_balancer(index, declared, filler, findings);
            placed.spec = group.load_balancer(declared);
            placed.member = Some(member);
            let like = || others.iter().filter(|it| it.place == placed.place);
            let of_product = like().find(|it| it.member.is_none());
            // A host with a parameter of the group's own is a name of its own.
            if placed.host.is_some() && of_product.is_some_and(|it| it.host == placed.host) {
                let host = placed.host.as_deref().map(|host| scaling::host_in(host, group.name));
                placed.host = host;
            }
            let shares = |address: &&IpAddr| like().any(|it| it.addresses.contains(address));
            if let Some(address) = placed.addresses.iter().find(shares) {
                let finding = Finding::warning("SOLUTION/SCALING_GROUP_SAME_ADDRESS");
                let finding = finding.at(group.place.clone()).with("group", group.name);
                let finding = finding.with("balancer", &placed.spec.name);
                findings.push(finding.with("address", address));
            }
            balancers.push(placed);
        }
        balancers
    }

    fn manifests(&self, filler: &mut Filler<'_>, findings: &mut Vec<Finding>) -> Vec<Manifest> {
        let files = version::manifests(self.wanted.version, self.folder, self.snapshot);
        if files.is_empty() {
            return Vec::new();
        }
        let texts: Vec<(String, String)> = files
            .into_iter()
            .map(|(path, source)| {
                let file = relative(&self.snapshot.folder, path);
                let text = if source.is_template {
                    filler.fill(source.text, &Place::file(&file), findings)
                } else {
                    source.text.to_owned()
                };
                (file, text)
            })
            .collect();
        let tier = self.site.spec.tier;
        let allow = &self.wanted.spec.allow;
        let may_enter_system = allow.contains(&Allowance::SystemNamespaces);
        let read = |cluster_wide: &[(String, String)], findings: &mut Vec<Finding>| {
            let namespace = self.namespace;
            let cluster = self.cluster;
            let ignore = self.wanted.product.ignore.as_slice();
            let target = manifest::Target {
                cluster,
                namespace,
                tier,
                cluster_wide,
                may_enter_system,
                ignore,
            };
            let all = texts.iter();
            all.flat_map(|(file, text)| manifest::read(file, text, &target, findings)).collect()
        };
        // Twice: definitions of custom kinds say which kinds have no namespace.
        let first: Vec<Manifest> = read(&[], &mut Vec::new());
        let mut wide = manifest::cluster_wide(&first);
        let others =
            self.site.deployments.values().filter_map(|other| other.placements.get(self.cluster));
        wide.extend(others.flat_map(|other| other.cluster_wide.iter().cloned()));
        read(&wide, findings)
    }
}

/// A variable that is nothing but a secret parameter refers to its Secret; any other is a text.
fn env(
    app: &App,
    parameters: &BTreeMap<String, Effective>,
    filler: &mut Filler<'_>,
    place: impl Fn(&str) -> Place,
    findings: &mut Vec<Finding>,
) -> BTreeMap<String, EnvValue> {
    let mut env = BTreeMap::new();
    for (name, source) in &app.env {
        let lone = only_name(source).and_then(|name| parameters.get_key_value(name));
        if let Some((parameter, effective)) = lone
            && let ParameterValue::Secret(reference) = effective.value()
        {
            filler.used.insert(parameter.clone());
            env.insert(name.clone(), EnvValue::Secret(reference.clone()));
        } else if lone.is_some_and(|(_, effective)| effective.secret) {
            // In the clear or sealed: `VALUE/…` says so already.
        } else {
            let text = filler.fill(source, &place(name), findings);
            env.insert(name.clone(), EnvValue::Text(text));
        }
    }
    env
}
