//! Product versions by themselves: what they mention of their own parts, and the files that they take.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_schema::Document;
use tidegate_schema::app::{App, AppKind, FileSource, Workload};
use tidegate_schema::finding::{Finding, Place};
use tidegate_schema::product::ProductVersion;
use tidegate_schema::scalar::{Name, PortReference};

use super::documents::Documents;
use super::references::unknown;
use crate::digest::Digest;
use crate::health;
use crate::promql;
use crate::render::file_key;
use crate::secrecy;
use crate::snapshot::{Snapshot, resolve};

/// The longest name of an app: Kubernetes adds up to eleven characters to it in labels of pods (63 at most).
pub(super) const LONGEST_NAME: usize = 52;

/// Checks every version of every catalog.
pub(super) fn check(documents: &Documents, snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    for (document, version) in documents.versions() {
        let mut checker = Checker { document, version, findings };
        for (index, app) in version.apps.iter().enumerate() {
            checker.app(app, &format!("spec.apps[{index}]"));
        }
        checker.parts();
        checker.order();
        checker.health();
        checker.secret_fields();
        let folder = documents.folder_of(document);
        files(document, version, folder, snapshot, checker.findings);
    }
}

struct Checker<'a> {
    document: &'a Document,
    version: &'a ProductVersion,
    findings: &'a mut Vec<Finding>,
}

impl Checker<'_> {
    fn report(&mut self, finding: Finding, path: &str) {
        self.findings.push(finding.at(self.document.place(path)));
    }

    fn health(&mut self) {
        for (index, rule) in self.version.health.iter().enumerate() {
            let expressions = [
                ("progressing", &rule.progressing),
                ("failed", &rule.failed),
                ("healthy", &rule.healthy),
            ];
            for (name, expression) in expressions {
                if let Some(reason) = expression.as_deref().and_then(health::mistake) {
                    let finding = Finding::error("VERSION/HEALTH_RULE").with("kind", &rule.kind);
                    let path = format!("spec.health[{index}].{name}");
                    self.report(finding.with("reason", reason), &path);
                }
            }
        }
    }

    fn secret_fields(&mut self) {
        for (index, rule) in self.version.secret_fields.iter().enumerate() {
            for (at, field) in rule.fields.iter().enumerate() {
                if secrecy::path(field).is_none() {
                    let finding = Finding::error("VERSION/SECRET_FIELD").with("path", field);
                    let path = format!("spec.secretFields[{index}].fields[{at}]");
                    self.report(finding.with("kind", &rule.kind), &path);
                }
            }
        }
    }

    fn app_name(&mut self, name: &Name, path: &str) {
        let known = || self.version.apps.iter().map(|app| app.name.as_str());
        if !known().any(|app| name == app) {
            self.findings.push(unknown(self.document.place(path), "app", name.as_str(), known()));
        }
    }

    fn port(&mut self, app: &App, port: &PortReference, path: &str) {
        let is_known = app.ports.iter().any(|own| match port {
            PortReference::Number(number) => own.port == *number,
            PortReference::Name(name) => own.name == *name,
        });
        if !is_known {
            let finding = Finding::error("VERSION/PORT_UNKNOWN").with("port", port);
            self.report(finding.with("app", &app.name), path);
        }
    }

    fn app(&mut self, app: &App, path: &str) {
        if app.name.as_str().len() > LONGEST_NAME {
            let finding = Finding::error("VERSION/NAME_TOO_LONG").with("app", &app.name);
            self.report(finding.with("limit", LONGEST_NAME), &format!("{path}.name"));
        }
        for (index, other) in app.after.iter().enumerate() {
            self.app_name(other, &format!("{path}.after[{index}]"));
        }
        for (list, affinities) in
            [("affinity", &app.affinity), ("antiAffinity", &app.anti_affinity)]
        {
            for (index, affinity) in affinities.iter().enumerate() {
                self.app_name(&affinity.app, &format!("{path}.{list}[{index}].app"));
            }
        }
        let probes = app.probes.clone().unwrap_or_default();
        let named = [
            ("startup", probes.startup),
            ("liveness", probes.liveness),
            ("readiness", probes.readiness),
        ];
        for (name, probe) in named {
            let Some(probe) = probe else { continue };
            if let Some(http) = probe.http {
                self.port(app, &http.port, &format!("{path}.probes.{name}.http.port"));
            }
            if let Some(tcp) = probe.tcp {
                self.port(app, &tcp.port, &format!("{path}.probes.{name}.tcp.port"));
            }
        }
        for (index, check) in app.checks.iter().enumerate() {
            if let Some(http) = &check.http {
                self.port(app, &http.port, &format!("{path}.checks[{index}].http.port"));
            }
            if let Some(tcp) = &check.tcp {
                self.port(app, &tcp.port, &format!("{path}.checks[{index}].tcp.port"));
            }
            let expression = check.cel.as_ref().map(|cel| cel.expression.as_str());
            if let Some(reason) = expression.and_then(health::mistake) {
                let finding = Finding::error("VERSION/CHECK_EXPRESSION").with("app", &app.name);
                let finding = finding.with("check", &check.name).with("reason", reason);
                self.report(finding, &format!("{path}.checks[{index}].cel.expression"));
            }
        }
        self.queries(app, path);
        self.volumes(app, path);
        if app.kind != AppKind::Standard && (app.ordered || !app.checks.is_empty()) {
            let finding = Finding::error("VERSION/NOT_FOR_JOBS").with("app", &app.name);
            self.report(finding, path);
        }
        let keys: BTreeSet<String> = app.files.keys().map(|path| file_key(path)).collect();
        if keys.len() < app.files.len() {
            let finding = Finding::error("VERSION/FILES_COLLIDE").with("app", &app.name);
            self.report(finding, &format!("{path}.files"));
        }
    }

    fn queries(&mut self, app: &App, path: &str) {
        for (index, check) in app.checks.iter().enumerate() {
            let query = check.prometheus.as_ref().map(|prometheus| prometheus.query.as_str());
            if let Some(placeholder) = query.and_then(promql::unknown) {
                let finding = Finding::error("VERSION/CHECK_PLACEHOLDER").with("app", &app.name);
                let finding = finding.with("check", &check.name);
                let finding = finding.with("placeholder", placeholder);
                self.report(finding, &format!("{path}.checks[{index}].prometheus.query"));
            }
        }
    }

    fn volumes(&mut self, app: &App, path: &str) {
        let is_stateful = app.kind == AppKind::Standard && app.workload == Workload::StatefulSet;
        for (index, volume) in app.volumes.iter().enumerate() {
            if volume.size.is_some() && !is_stateful {
                let finding = Finding::error("VERSION/VOLUME_NEEDS_STATEFUL_SET");
                let finding = finding.with("volume", &volume.name).with("app", &app.name);
                self.report(finding, &format!("{path}.volumes[{index}].size"));
            }
        }
        let owners: BTreeSet<u32> = app.volumes.iter().filter_map(|volume| volume.owner).collect();
        if owners.len() > 1 {
            let finding = Finding::error("VERSION/VOLUME_OWNERS").with("app", &app.name);
            self.report(finding, &format!("{path}.volumes"));
        }
    }

    /// Load balancers, databases, topologies and sizes name apps.
    fn parts(&mut self) {
        let version = self.version;
        for (index, balancer) in version.load_balancers.iter().enumerate() {
            let path = format!("spec.loadBalancers[{index}]");
            self.app_name(&balancer.app, &format!("{path}.app"));
            if let Some(app) = version.apps.iter().find(|app| app.name == balancer.app) {
                let target =
                    balancer.target_port.clone().unwrap_or(PortReference::Number(balancer.port));
                self.port(app, &target, &format!("{path}.targetPort"));
            }
        }
        for (index, database) in version.databases.iter().enumerate() {
            let path = format!("spec.databases[{index}]");
            if let Some(env) = &database.env {
                self.app_name(&env.app, &format!("{path}.env.app"));
            }
            let finding = Finding::warning("VERSION/DATABASE_NOT_MADE");
            self.report(finding.with("database", &database.name), &format!("{path}.name"));
        }
        for (index, topology) in version.topologies.iter().enumerate() {
            for (app, name) in topology.apps.iter().enumerate() {
                self.app_name(name, &format!("spec.topologies[{index}].apps[{app}]"));
            }
        }
        for (index, size) in version.sizes.iter().enumerate() {
            for name in size.apps.keys() {
                self.app_name(name, &format!("spec.sizes[{index}].apps.{name}"));
            }
        }
    }

    /// `after` must not go round in a circle.
    fn order(&mut self) {
        let edges: BTreeMap<&str, Vec<&str>> = self
            .version
            .apps
            .iter()
            .map(|app| (app.name.as_str(), app.after.iter().map(Name::as_str).collect()))
            .collect();
        if let Some(circle) = circle(&edges) {
            let index =
                self.version.apps.iter().position(|app| circle.first() == Some(&app.name.as_str()));
            let path = format!("spec.apps[{}].after", index.unwrap_or_default());
            let finding = Finding::error("VERSION/AFTER_CYCLE").with("circle", circle.join(" → "));
            self.report(finding, &path);
        }
    }
}

/// A circle in a graph, beginning and ending with its first name in order; `None` when there is none.
pub(super) fn circle<'a>(edges: &BTreeMap<&'a str, Vec<&'a str>>) -> Option<Vec<&'a str>> {
    edges.keys().find_map(|start| {
        let mut paths = vec![vec![*start]];
        let mut seen = BTreeSet::new();
        while let Some(path) = paths.pop() {
            for next in path.last().and_then(|last| edges.get(last)).into_iter().flatten() {
                let mut longer = path.clone();
                longer.push(next);
                if next == start {
                    return Some(longer);
                }
                if seen.insert(*next) {
                    paths.push(longer);
                }
            }
        }
        None
    })
}

/// The files that a version takes must be there.
fn files(
    document: &Document,
    version: &ProductVersion,
    folder: &str,
    snapshot: &Snapshot,
    findings: &mut Vec<Finding>,
) {
    for (index, app) in version.apps.iter().enumerate() {
        for (target, source) in &app.files {
            let FileSource::From(from) = source else { continue };
            if text(folder, from, snapshot).is_none() {
                let place = document.place(&format!("spec.apps[{index}].files[\"{target}\"]"));
                findings.push(Finding::error("VERSION/FILE_MISSING").at(place).with("file", from));
            }
        }
    }
    for (field, patterns) in
        [("manifests", &version.manifests), ("verbatimManifests", &version.verbatim_manifests)]
    {
        for (index, pattern) in patterns.iter().enumerate() {
            if matching(pattern, folder, snapshot).is_empty() {
                let place = document.place(&format!("spec.{field}[{index}]"));
                findings.push(
                    Finding::error("VERSION/MANIFESTS_MISSING").at(place).with("pattern", pattern),
                );
            }
        }
    }
}

/// The text of a file beside a version's document; `None` when it is not there, outside the folder, or no text.
pub(super) fn text<'a>(folder: &str, from: &str, snapshot: &'a Snapshot) -> Option<&'a str> {
    let path = resolve(folder, from).filter(|path| super::documents::is_below(path, folder))?;
    std::str::from_utf8(snapshot.files.get(&path)?).ok()
}

/// A file of plain objects.
#[derive(Clone, Copy)]
pub(super) struct ManifestFile<'a> {
    /// What is in it.
    pub(super) text: &'a str,
    /// Whether it is a template; a verbatim one is taken as it is.
    pub(super) is_template: bool,
}

/// All files of plain objects of a version, by path from the repository's root.
pub(super) fn manifests<'a>(
    version: &ProductVersion,
    folder: &str,
    snapshot: &'a Snapshot,
) -> BTreeMap<&'a str, ManifestFile<'a>> {
    let files = |patterns: &[String], is_template: bool| -> Vec<_> {
        let files = patterns.iter().flat_map(|pattern| matching(pattern, folder, snapshot));
        files.map(|(path, text)| (path, ManifestFile { text, is_template })).collect()
    };
    let mut all: BTreeMap<_, _> = files(&version.manifests, true).into_iter().collect();
    all.extend(files(&version.verbatim_manifests, false));
    all
}

/// The files that a glob matches, in order: path from the repository's root and text.
fn matching<'a>(pattern: &str, folder: &str, snapshot: &'a Snapshot) -> Vec<(&'a str, &'a str)> {
    let Ok(glob) = globset::GlobBuilder::new(pattern).literal_separator(true).build() else {
        return Vec::new();
    };
    let matcher = glob.compile_matcher();
    let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    snapshot
        .files
        .range(prefix.clone()..)
        .map_while(|(path, bytes)| Some((path.as_str(), path.strip_prefix(&prefix)?, bytes)))
        .filter(|(_, rest, _)| matcher.is_match(rest))
        .filter_map(|(path, _, bytes)| Some((path, std::str::from_utf8(bytes).ok()?)))
        .collect()
}

/// The digest of a version: its document and every file of its folder but other documents' catalogs.
pub(super) fn digest(
    document: &Document,
    version: &ProductVersion,
    folder: &str,
    snapshot: &Snapshot,
) -> Digest {
    let from =
        version.apps.iter().flat_map(|app| app.files.values()).filter_map(|source| match source {
            FileSource::From(from) => Some((from.clone(), text(folder, from, snapshot)?)),
            FileSource::Text(_) => None,
        });
    let manifests = manifests(version, folder, snapshot);
    let manifests = manifests.into_iter().map(|(path, file)| (path, file.text));
    let strip = |path: &str| path.strip_prefix(folder).unwrap_or(path).to_owned();
    let files: BTreeMap<String, &str> =
        from.chain(manifests.map(|(path, text)| (strip(path), text))).collect();
    Digest::of(&(document.to_value(), files))
}

/// Where an app is declared.
pub(super) fn place_of_app(document: &Document, index: usize) -> Place {
    document.place(&format!("spec.apps[{index}].name"))
}
