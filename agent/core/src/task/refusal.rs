//! What is refused: changes that the documents ask for but that must not happen without more words.

use std::collections::BTreeMap;

use serde_json::Value;
use tidegate_schema::finding::{Finding, Place};
use tidegate_schema::scalar::Quantity;
use tidegate_schema::site::SiteAllowance;
use tidegate_schema::solution::Allowance;

use super::Basis;
use crate::baseline::BaselineProduct;
use crate::catalogue::Catalogue;
use crate::change::{Action, Change};
use crate::claim;
use crate::live::{LiveState, Observation, Prediction};
use crate::order;
use crate::plan::TaskKind;
use crate::site::Deployment;

/// All refusals and remarks of a plan, sorted. Errors mean that there is no plan to approve.
pub fn findings(basis: Basis<'_>, live: &LiveState) -> Vec<Finding> {
    let mut findings = Vec::new();
    for deployment in basis.site.deployments.values() {
        let old = basis.baseline.and_then(|baseline| baseline.products.get(&deployment.product));
        if let Some(old) = old {
            version(deployment, old, &basis.site.catalogue, &mut findings);
            shape(deployment, old, &mut findings);
        }
        immutable_version(basis, deployment, &mut findings);
        requirements(basis, deployment, &mut findings);
    }
    if let Some(unmet) = findings.iter().find(|finding| finding.code == "PLAN/REQUIREMENT_UNMET") {
        let place = unmet.place.clone();
        findings.extend(advice(basis, place));
    }
    apps(basis, &mut findings);
    claims(basis, live, &mut findings);
    cycles(basis, &mut findings);
    strangers(basis, &mut findings);
    nothing_wanted(basis, &mut findings);
    findings.sort();
    findings.dedup();
    findings
}

fn about(code: &'static str, deployment: &Deployment) -> Finding {
    Finding::error(code).at(deployment.place.clone()).with("product", &deployment.product)
}

/// Never lower than delivered (YG-14), unless an operation goes back (YL-143), and never past what an upgrade supports.
fn version(
    deployment: &Deployment,
    old: &BaselineProduct,
    catalogue: &Catalogue,
    findings: &mut Vec<Finding>,
) {
    if deployment.held_by.is_some() {
        return;
    }
    let Ok(from) = semver::Version::parse(&old.version) else { return };
    let to = &deployment.version;
    let finding = |code| about(code, deployment).with("from", &from).with("to", to);
    if *to < from {
        findings.push(finding("PLAN/DOWNGRADE_REFUSED"));
    } else if *to > from
        && let Some(supported) = &deployment.upgrades_from
        && !supported.matches(&from)
    {
        findings.push(finding("PLAN/UPGRADE_SKIPS_VERSION").with("supported", supported));
        let note = |code| {
            let note = Finding::note(code).at(deployment.place.clone());
            note.with("product", &deployment.product).with("from", &from).with("to", to)
        };
        findings.push(match catalogue.upgrade_path(&deployment.product, &from, to) {
            Some(path) => {
                let path: Vec<String> = path.iter().map(ToString::to_string).collect();
                note("PLAN/UPGRADE_PATH").with("path", path.join(" → "))
            }
            None => note("PLAN/NO_UPGRADE_PATH"),
        });
    }
}

/// Topology and namespace of a deployed product.
fn shape(deployment: &Deployment, old: &BaselineProduct, findings: &mut Vec<Finding>) {
    if deployment.topology != old.topology {
        let finding = if deployment.allow.contains(&Allowance::Topology) {
            Finding::warning("PLAN/TOPOLOGY_CHANGES")
                .at(deployment.place.clone())
                .with("product", &deployment.product)
        } else {
            about("PLAN/TOPOLOGY_IMMUTABLE", deployment)
        };
        findings.push(finding.with("from", &old.topology).with("to", &deployment.topology));
    }
    if deployment.namespace != old.namespace {
        let finding = about("PLAN/NAMESPACE_IMMUTABLE", deployment);
        findings.push(finding.with("from", &old.namespace).with("to", &deployment.namespace));
    }
}

/// A version once delivered never changes its content.
fn immutable_version(basis: Basis<'_>, deployment: &Deployment, findings: &mut Vec<Finding>) {
    let delivered =
        basis.baseline.and_then(|baseline| baseline.versions.get(&deployment.version_key()));
    if delivered.is_some_and(|delivered| *delivered != deployment.digest) {
        let finding = about("PLAN/VERSION_CHANGED", deployment);
        findings.push(finding.with("version", &deployment.version));
    }
}

/// What a product requires is in the solutions or delivered, at a version that fits.
fn requirements(basis: Basis<'_>, deployment: &Deployment, findings: &mut Vec<Finding>) {
    for requirement in &deployment.requires {
        let required = requirement.product.as_str();
        let wanted = basis.site.deployment(required).map(|other| other.version.clone());
        let delivered = || {
            let known = basis.baseline?.products.get(required)?;
            semver::Version::parse(&known.version).ok()
        };
        let has = wanted.or_else(delivered);
        let fits = |version: &semver::Version| {
            requirement.version.as_ref().is_none_or(|wanted| wanted.matches(version))
        };
        if !has.as_ref().is_some_and(fits) {
            let range = requirement.version.as_ref().map_or("*".to_owned(), ToString::to_string);
            let has = has.map_or_else(|| "–".to_owned(), |version| version.to_string());
            let finding = about("PLAN/REQUIREMENT_UNMET", deployment).with("required", required);
            findings.push(finding.with("range", range).with("found", has));
        }
    }
}

/// Versions of the catalogue that fit together and what is delivered, or why there are none.
fn advice(basis: Basis<'_>, place: Option<Place>) -> Option<Finding> {
    let products = basis.baseline.into_iter().flat_map(|baseline| &baseline.products);
    let parsed = |(name, product): (&String, &BaselineProduct)| {
        Some((name.clone(), semver::Version::parse(&product.version).ok()?))
    };
    let mut delivered: BTreeMap<String, semver::Version> = products.filter_map(parsed).collect();
    let mut asked = BTreeMap::new();
    for deployment in basis.site.deployments.values() {
        let (product, version) = (deployment.product.clone(), deployment.version.clone());
        // What an operation holds stays, whatever is delivered.
        let all = if deployment.held_by.is_some() { &mut delivered } else { &mut asked };
        all.insert(product, version);
    }
    basis.site.catalogue.advice(place, &asked, &delivered)
}

/// Sizes that nobody wrote (YG-15), parameters that an upgrade changes (YL-050), volumes that would shrink (YL-208).
fn apps(basis: Basis<'_>, findings: &mut Vec<Finding>) {
    for unit in &basis.desired.units {
        let id = &unit.id;
        let (Some(deployment), Some(old)) =
            (basis.site.deployment(&id.product), basis.delivered(id))
        else {
            continue;
        };
        let Some(product) = basis.baseline.and_then(|it| it.products.get(&id.product)) else {
            continue;
        };
        let finding = |code| about(code, deployment).with("app", &id.app);
        let is_held = basis.held_by(id).is_some();
        let is_upgrade = product.version != unit.version && !is_held;
        let resized = old.cpu != unit.cpu || old.memory != unit.memory;
        let is_written = product.size != deployment.size
            || !is_upgrade
            || !basis.operations(id, TaskKind::Resize).is_empty();
        if resized && !is_written && !deployment.allow.contains(&Allowance::Resize) {
            let shown = |cpu: &str, memory: &str| format!("{cpu} CPU, {memory}");
            let (from, to) = (shown(&old.cpu, &old.memory), shown(&unit.cpu, &unit.memory));
            findings.push(finding("PLAN/IMPLICIT_RESIZE").with("from", from).with("to", to));
        }
        if is_upgrade {
            let changed = changed_parameters(&old.parameters, &unit.parameters);
            if !changed.is_empty() {
                let finding = Finding::warning("PLAN/PARAMETER_CHANGES")
                    .at(deployment.place.clone())
                    .with("product", &id.product)
                    .with("app", &id.app);
                findings.push(finding.with("parameters", changed.join(", ")));
            }
        }
        for (volume, size) in deployment.volumes(&id.app) {
            let was = old.volumes.get(&volume).and_then(|was| Quantity::new(was.clone()).ok());
            if let Some(was) = was.filter(|was| size.milli() < was.milli()) {
                let finding = finding("PLAN/VOLUME_SHRINK_REFUSED").with("volume", &volume);
                findings.push(finding.with("from", was).with("to", size));
            }
        }
    }
}

/// Parameters that were there before and have another value now; an addition is none.
pub(crate) fn changed_parameters(
    old: &BTreeMap<String, String>,
    new: &BTreeMap<String, String>,
) -> Vec<String> {
    let is_changed =
        |(name, value): &(&String, &String)| old.get(*name).is_some_and(|was| was != *value);
    new.iter().filter(is_changed).map(|(name, _)| name.clone()).collect()
}

/// Claims of a set are made from its template once: another size, class or mode would be for new pods only, so that the
/// claims of one set differ.
fn claims(basis: Basis<'_>, live: &LiveState, findings: &mut Vec<Finding>) {
    for object in basis.desired.objects.iter().filter(|it| it.reference.kind == "StatefulSet") {
        let observation = live.observation(&object.reference);
        // What is in place has the claims that are wanted.
        let may_differ = |it: &&Observation| !matches!(it.predicted, Prediction::InPlace);
        let Some(there) = observation.filter(may_differ).and_then(Observation::live) else {
            continue;
        };
        let wanted = object.body();
        for own in claim::claims(&wanted) {
            let name = claim::name(own);
            let Some(other) = claim::claims(&there).find(|other| claim::name(other) == name) else {
                continue;
            };
            if let Some(what) = claim_difference(own, other) {
                let owner = object.owner.product.as_deref().unwrap_or_default();
                let finding = Finding::error("PLAN/CLAIMS_DIFFER").at(object.place.clone());
                let finding = finding.with("product", owner).with("volume", name);
                let set = object.reference.to_string();
                findings.push(
                    finding
                        .with("object", set)
                        .with("cluster", &object.reference.cluster)
                        .with("what", what),
                );
            }
        }
    }
}

/// Which of size, class and mode differ; what the documents leave open does not.
fn claim_difference(wanted: &Value, there: &Value) -> Option<&'static str> {
    let size = |claim: &Value| {
        let text = claim.pointer("/spec/resources/requests/storage")?.as_str()?;
        Some(Quantity::new(text).ok()?.milli())
    };
    let differs = |pointer: &str| {
        wanted.pointer(pointer).is_some_and(|value| Some(value) != there.pointer(pointer))
    };
    if size(wanted).is_some_and(|wanted| Some(wanted) != size(there)) {
        Some("size")
    } else if differs("/spec/storageClassName") {
        Some("class")
    } else if differs("/spec/accessModes") || differs("/spec/volumeMode") {
        Some("mode")
    } else {
        None
    }
}

/// What exists and is not ours is never taken over by the way: somebody else counts on it, or would change it back.
fn strangers(basis: Basis<'_>, findings: &mut Vec<Finding>) {
    for change in &basis.changes.changes {
        let Some(stranger) = &change.stranger else { continue };
        let finding = match stranger.tool {
            None => Finding::error("PLAN/OBJECT_EXISTS"),
            Some(tool) => Finding::error("PLAN/OBJECT_OF_ANOTHER_TOOL").with("tool", tool.name()),
        };
        let place = basis.desired.object(&change.object).and_then(|object| object.place.clone());
        findings.push(
            finding
                .at(place)
                .with("object", change.object.to_string())
                .with("cluster", &change.object.cluster)
                .with("by", &stranger.by),
        );
    }
}

/// Documents that want no product at all are most often half of a repository: a branch gone wrong, a folder that moved.
fn nothing_wanted(basis: Basis<'_>, findings: &mut Vec<Finding>) {
    let is_any_wanted = basis.desired.objects.iter().any(|object| object.owner.product.is_some());
    let goes = |change: &&Change| change.action == Action::Prune && change.owner.product.is_some();
    let going = basis.changes.changes.iter().filter(goes).count();
    let is_meant = basis.site.spec.allow.contains(&SiteAllowance::UninstallAll);
    if !is_any_wanted && going > 0 && !is_meant {
        findings.push(Finding::error("PLAN/EVERYTHING_GOES").with("objects", going));
    }
}

/// Cycles of products and of the apps of a product.
fn cycles(basis: Basis<'_>, findings: &mut Vec<Finding>) {
    if let Err(cycle) = order::levels(&super::requires(basis.site)) {
        findings.push(Finding::error("PLAN/REQUIRES_CYCLE").with("products", cycle.join(", ")));
    }
    for (product, needs) in super::after(basis.desired, basis.site) {
        if let Some(deployment) = basis.site.deployment(&product)
            && let Err(cycle) = order::levels(&needs)
        {
            let finding = about("PLAN/AFTER_CYCLE", deployment);
            findings.push(finding.with("apps", cycle.join(", ")));
        }
    }
}
