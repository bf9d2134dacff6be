//! Solutions: each product resolved to what runs in each cluster.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use semver::Version;
use tidegate_schema::finding::{Finding, Place};
use tidegate_schema::product::ProductVersion;
use tidegate_schema::scalar::Name;
use tidegate_schema::solution::{Solution, SolutionProduct};
use tidegate_schema::{Document, Kind};

use super::back;
use super::documents::Documents;
use super::parameter::{self, Running};
use super::references::unknown;
use super::version::{self, circle};
use crate::catalogue::Catalogue;
use crate::ignored::Path;
use crate::provenance::LayerValues;
use crate::render::{is_of, is_protected_namespace};
use crate::site::{Deployment, ValidSite};
use crate::snapshot::Snapshot;
use crate::template::Templates;

mod order;
mod place;
mod scaling;

/// One product that a solution asks for, with its version.
struct Wanted<'a> {
    solution: &'a Document,
    spec: &'a Solution,
    index: usize,
    product: &'a SolutionProduct,
    document: &'a Document,
    version: &'a ProductVersion,
}

impl Wanted<'_> {
    fn place(&self, path: &str) -> Place {
        self.solution.place(&format!("spec.products[{}].{path}", self.index))
    }
}

/// Fills in the deployments of a site, in the order of their requirements, so that a product sees what others publish.
pub(super) fn deploy(
    site: &mut ValidSite,
    documents: &Documents,
    snapshot: &Snapshot,
    now: Timestamp,
    findings: &mut Vec<Finding>,
) {
    let wanted = wanted(documents, findings);
    let running: Running<'_> =
        wanted.iter().map(|(name, wanted)| (*name, (wanted.document, wanted.version))).collect();
    let layers = parameter::layers(documents, &running, findings);
    let templates = Templates::new();
    let returns = back::returns(documents, snapshot, now, findings);
    for name in by_requirements(&wanted, &site.catalogue, findings) {
        let Some(wanted) = wanted.get(name) else { continue };
        let mut deployment =
            one(site, wanted, documents, snapshot, (&layers, &templates), now, findings);
        back::hold(&mut deployment, &returns, findings);
        site.deployments.insert(name.to_owned(), deployment);
    }
    back::complete(site, &returns, findings);
    for (document, solution) in documents.solutions() {
        order::check(site, document, solution, findings);
    }
}

/// The products of all solutions, by name; findings for those that are unknown or asked for twice.
fn wanted<'a>(
    documents: &'a Documents,
    findings: &mut Vec<Finding>,
) -> BTreeMap<&'a str, Wanted<'a>> {
    let mut all: BTreeMap<&str, Wanted<'_>> = BTreeMap::new();
    for (solution, spec) in documents.solutions() {
        for (index, product) in spec.products.iter().enumerate() {
            let name = product.product.as_str();
            let place = |path: &str| solution.place(&format!("spec.products[{index}].{path}"));
            let versions: Vec<_> = documents
                .versions()
                .filter(|(document, _)| *document.name() == product.product)
                .collect();
            let found = versions.iter().find(|(_, version)| version.version == product.version);
            let Some((document, version)) = found else {
                findings.push(if documents.has(Kind::Product, name) || !versions.is_empty() {
                    let known: Vec<String> =
                        versions.iter().map(|(_, version)| version.version.to_string()).collect();
                    Finding::error("SOLUTION/VERSION_UNKNOWN")
                        .at(place("version"))
                        .with("product", name)
                        .with("version", &product.version)
                        .with("known", known.join(", "))
                } else {
                    unknown(place("product"), "Product", name, documents.names(Kind::Product))
                });
                continue;
            };
            let entry = Wanted { solution, spec, index, product, document, version };
            if let Some(other) = all.get(name) {
                let other = other.place("product");
                findings.push(
                    Finding::error("SOLUTION/PRODUCT_TWICE")
                        .at(place("product"))
                        .with("product", name)
                        .with("other", other),
                );
            } else {
                all.insert(name, entry);
            }
        }
    }
    all
}

/// The products in an order in which each comes after those that it requires. Requirements that another product of the
/// site meets at the wrong version, and circles, are findings; whether the baseline meets the others is the planner's.
fn by_requirements<'a>(
    wanted: &BTreeMap<&'a str, Wanted<'a>>,
    catalogue: &Catalogue,
    findings: &mut Vec<Finding>,
) -> Vec<&'a str> {
    let mut edges: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut unmet = None;
    for (name, own) in wanted {
        let mut needs = Vec::new();
        for (index, requirement) in own.version.requires.iter().enumerate() {
            let Some((other, found)) = wanted.get_key_value(requirement.product.as_str()) else {
                continue;
            };
            needs.push(*other);
            let version = &found.version.version;
            if let Some(range) =
                requirement.version.as_ref().filter(|range| !range.matches(version))
            {
                unmet.get_or_insert_with(|| own.place("version"));
                findings.push(
                    Finding::error("SOLUTION/REQUIREMENT_UNMET")
                        .at(own.place("version"))
                        .with("product", name)
                        .with("requires", &requirement.product)
                        .with("range", range)
                        .with("version", version)
                        .with("declared", own.document.place(&format!("spec.requires[{index}]"))),
                );
            }
        }
        edges.insert(name, needs);
    }
    if unmet.is_some() {
        let asked =
            wanted.iter().map(|(name, own)| ((*name).to_owned(), own.version.version.clone()));
        let asked: BTreeMap<String, Version> = asked.collect();
        // What no solution has may be delivered already, which is not known here.
        findings.extend(catalogue.among(&asked).advice(unmet, &asked, &BTreeMap::new()));
    }
    if let Some(circle) = circle(&edges) {
        let place =
            circle.first().and_then(|name| wanted.get(name)).map(|own| own.place("product"));
        let finding = Finding::error("SOLUTION/REQUIREMENT_CYCLE").at(place);
        findings.push(finding.with("circle", circle.join(" → ")));
    }
    let mut done: Vec<&str> = Vec::new();
    let mut open: BTreeSet<&str> = edges.keys().copied().collect();
    while !open.is_empty() {
        let is_ready = |name: &&&str| {
            edges.get(**name).is_none_or(|needs| needs.iter().all(|need| done.contains(need)))
        };
        // In a circle nothing is ready: then the first goes first, and the finding refuses the site anyway.
        let next = open.iter().find(is_ready).or_else(|| open.iter().next()).copied();
        let Some(next) = next else { break };
        open.remove(next);
        done.push(next);
    }
    done
}

/// One product with its choices checked.
fn one(
    site: &ValidSite,
    wanted: &Wanted<'_>,
    documents: &Documents,
    snapshot: &Snapshot,
    (layers, templates): (&[LayerValues], &Templates),
    now: Timestamp,
    findings: &mut Vec<Finding>,
) -> Deployment {
    let Wanted { product, version, document, .. } = wanted;
    let folder = documents.folder_of(document);
    let namespace = product.namespace.as_ref().unwrap_or(&product.product).to_string();
    if is_protected_namespace(&namespace) {
        let finding = Finding::error("SOLUTION/NAMESPACE_PROTECTED").at(wanted.place("namespace"));
        findings.push(finding.with("namespace", &namespace));
    }
    let topologies: Vec<&Name> = version.topologies.iter().map(|topology| &topology.name).collect();
    let sizes: Vec<&Name> = version.sizes.iter().map(|size| &size.name).collect();
    let topology = choice(wanted, ("topology", product.topology.as_ref()), &topologies, findings);
    let size = choice(wanted, ("size", product.size.as_ref()), &sizes, findings);
    apps_known(wanted, findings);
    let clusters = site.select(product.clusters.as_ref());
    if clusters.is_empty() && !site.clusters.is_empty() {
        let finding = Finding::error("SOLUTION/NO_CLUSTER_SELECTED").at(wanted.place("clusters"));
        findings.push(finding.with("product", &product.product));
    }
    let metadata = documents.products().find(|(document, _)| *document.name() == product.product);
    let mut deployment = Deployment {
        product: product.product.to_string(),
        version: version.version.clone(),
        solution: wanted.solution.name().to_string(),
        topology,
        size,
        namespace,
        placements: BTreeMap::new(),
        requires: version.requires.clone(),
        upgrades_from: version.upgrades_from.clone(),
        health: version.health.clone(),
        maturity: metadata.map(|(_, product)| product.maturity).unwrap_or_default(),
        first_installation: product.first_installation,
        allow: wanted.spec.allow.clone(),
        exclude: product.exclude.iter().map(ToString::to_string).collect(),
        ignore: product.ignore.clone(),
        scaling_groups: product.scaling_groups.iter().map(|it| it.name.to_string()).collect(),
        digest: version::digest(document, version, folder, snapshot),
        place: wanted.place("product"),
        held_by: None,
    };
    let groups = scaling::groups(site, wanted, &deployment.topology, &clusters, findings);
    for cluster in clusters {
        let placer = place::Placer {
            site,
            now,
            wanted,
            folder,
            snapshot,
            layers,
            templates,
            cluster: &cluster,
            topology: &deployment.topology,
            size: &deployment.size,
            namespace: &deployment.namespace,
            groups: groups.iter().filter(|it| it.clusters.contains(&cluster)).collect(),
        };
        let placement = placer.placement(findings);
        deployment.placements.insert(cluster, placement);
    }
    ignored_known(wanted, &deployment, findings);
    deployment
}

/// Rules that leave fields to others: each path is one, and each leads to a field of some manifest (gitops.md D58).
fn ignored_known(wanted: &Wanted<'_>, deployment: &Deployment, findings: &mut Vec<Finding>) {
    let manifests: Vec<_> =
        deployment.placements.values().flat_map(|placement| &placement.manifests).collect();
    for (index, rule) in deployment.ignore.iter().enumerate() {
        for (at, field) in rule.fields.iter().enumerate() {
            let place = wanted.place(&format!("ignore[{index}].fields[{at}]"));
            let Some(path) = Path::parse(field) else {
                let finding = Finding::error("SOLUTION/IGNORE_PATH").at(place);
                findings.push(finding.with("path", field));
                continue;
            };
            let is_used = manifests
                .iter()
                .filter(|manifest| is_of(rule, &manifest.reference))
                .any(|manifest| path.is_in(&manifest.content.read()));
            if !is_used && !deployment.placements.is_empty() {
                let object = rule.name.as_ref().map_or_else(String::new, |name| format!(" {name}"));
                findings.push(
                    Finding::warning("SOLUTION/IGNORE_UNUSED")
                        .at(place)
                        .with("path", field)
                        .with("product", &deployment.product)
                        .with("object", format!("{}{object}", rule.kind)),
                );
            }
        }
    }
}

/// The topology or size that is meant: the one that is named, or the only one there is.
fn choice(
    wanted: &Wanted<'_>,
    (field, chosen): (&str, Option<&Name>),
    all: &[&Name],
    findings: &mut Vec<Finding>,
) -> String {
    match (chosen, all) {
        (Some(chosen), all) if all.contains(&chosen) => chosen.to_string(),
        (Some(chosen), all) => {
            let known = all.iter().map(|name| name.as_str());
            findings.push(unknown(wanted.place(field), field, chosen.as_str(), known));
            String::new()
        }
        (None, [only]) => only.to_string(),
        (None, []) => String::new(),
        (None, all) => {
            let known: Vec<&str> = all.iter().map(|name| name.as_str()).collect();
            findings.push(
                Finding::error("SOLUTION/CHOICE_MISSING")
                    .at(wanted.place("product"))
                    .with("field", field)
                    .with("product", &wanted.product.product)
                    .with("known", known.join(", ")),
            );
            String::new()
        }
    }
}

/// `apps` names apps of the version, `exclude` also those of scaling groups.
fn apps_known(wanted: &Wanted<'_>, findings: &mut Vec<Finding>) {
    let mut known: Vec<String> =
        wanted.version.apps.iter().map(|app| app.name.to_string()).collect();
    let mut check = |name: &Name, path: &str, known: &[String]| {
        if !known.iter().any(|app| *name == **app) {
            let known = known.iter().map(String::as_str);
            findings.push(unknown(wanted.place(path), "app", name.as_str(), known));
        }
    };
    for name in wanted.product.apps.keys() {
        check(name, &format!("apps.{name}"), &known);
    }
    let groups = wanted.product.scaling_groups.iter();
    known.extend(groups.flat_map(|group| {
        group.apps.keys().map(|app| scaling::name_in(app.as_str(), group.name.as_str()))
    }));
    for (index, name) in wanted.product.exclude.iter().enumerate() {
        check(name, &format!("exclude[{index}]"), &known);
    }
}
