//! Reading: all documents of the site's folder and of its catalogs.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_schema::finding::{Finding, Place};
use tidegate_schema::iam::{Grant, Group, Person, Role, RoleTest, ServiceAccount};
use tidegate_schema::operation::Operation;
use tidegate_schema::parameters::Parameters;
use tidegate_schema::policy::{ApprovalPolicy, ChangeWindow, RolloutPolicy};
use tidegate_schema::product::{Product, ProductVersion};
use tidegate_schema::site::{Cluster, Site};
use tidegate_schema::solution::Solution;
use tidegate_schema::zone::Zone;
use tidegate_schema::{Body, Document, Kind, yaml};

use crate::catalogue::Catalogue;
use crate::site::{Located, Pins, SiteCluster, ValidSite};
use crate::snapshot::{Snapshot, resolve};
use crate::zone::ZoneData;

/// The documents of a snapshot, in the order of their files.
pub(super) struct Documents {
    list: Vec<Document>,
    names: BTreeMap<Kind, BTreeSet<String>>,
    /// The path of each document's file from the repository's root, by the name that places carry.
    paths: BTreeMap<String, String>,
}

macro_rules! of_kind {
    ($($name:ident: $kind:ident),+ $(,)?) => {
        impl Documents {
            $(pub(super) fn $name(&self) -> impl Iterator<Item = (&Document, &$kind)> {
                self.list.iter().filter_map(|document| {
                    if let Body::$kind(spec) = &document.body { Some((document, &**spec)) } else { None }
                })
            })+
        }
    };
}

of_kind! {
    sites: Site, clusters: Cluster, products: Product, versions: ProductVersion, solutions: Solution,
    parameters: Parameters, rollout_policies: RolloutPolicy, approval_policies: ApprovalPolicy,
    change_windows: ChangeWindow, persons: Person, groups: Group, service_accounts: ServiceAccount,
    roles: Role, grants: Grant, role_tests: RoleTest, zones: Zone, operations: Operation,
}

impl Documents {
    /// Reads everything: the site's folder, then the catalogs outside it that its `Site` names.
    pub(super) fn read(snapshot: &Snapshot, findings: &mut Vec<Finding>) -> Self {
        let mut documents =
            Self { list: Vec::new(), names: BTreeMap::new(), paths: BTreeMap::new() };
        documents.read_folder(snapshot, &snapshot.folder, findings);
        let catalogs: BTreeSet<String> = documents
            .sites()
            .flat_map(|(_, site)| &site.catalogs)
            .filter_map(|catalog| resolve(&snapshot.folder, &catalog.path))
            .filter(|folder| !is_below(folder, &snapshot.folder))
            .collect();
        for catalog in catalogs {
            let own = documents.list.len();
            documents.read_folder(snapshot, &catalog, findings);
            for document in documents.list.iter().skip(own) {
                if !matches!(document.kind(), Kind::Product | Kind::ProductVersion) {
                    let finding =
                        Finding::error("SITE/KIND_IN_CATALOG").with("kind", document.kind());
                    findings.push(finding.at(document.place("kind")));
                }
            }
        }
        documents.list.retain(|document| {
            let is_first = document.kind() == Kind::ProductVersion
                || documents
                    .names
                    .entry(document.kind())
                    .or_default()
                    .insert(document.name().to_string());
            if !is_first {
                findings.push(named_twice(document, document.name().as_str()));
            }
            is_first
        });
        let mut versions = BTreeSet::new();
        documents.list.retain(|document| {
            let Body::ProductVersion(version) = &document.body else { return true };
            let key = format!("{}@{}", document.name(), version.version);
            let is_first = versions.insert(key.clone());
            if !is_first {
                findings.push(named_twice(document, &key));
            }
            is_first
        });
        documents
    }

    fn read_folder(&mut self, snapshot: &Snapshot, folder: &str, findings: &mut Vec<Finding>) {
        for (path, bytes) in &snapshot.files {
            if !is_below(path, folder) || !is_document(path) {
                continue;
            }
            let shown = relative(&snapshot.folder, path);
            let Ok(text) = std::str::from_utf8(bytes) else {
                findings.push(Finding::error("SITE/FILE_NOT_TEXT").at(Place::file(shown)));
                continue;
            };
            let (mut documents, mut problems) = yaml::parse(&shown, text);
            findings.append(&mut problems);
            self.list.append(&mut documents);
            self.paths.insert(shown, path.clone());
        }
    }

    /// The names of a kind's documents.
    pub(super) fn names(&self, kind: Kind) -> impl Iterator<Item = &str> {
        self.names.get(&kind).into_iter().flatten().map(String::as_str)
    }

    /// Whether there is a document of this kind and name.
    pub(super) fn has(&self, kind: Kind, name: &str) -> bool {
        self.names.get(&kind).is_some_and(|names| names.contains(name))
    }

    /// The folder of a document's file, from the repository's root.
    pub(super) fn folder_of(&self, document: &Document) -> &str {
        let path = self.paths.get(&*document.origin.file).map(String::as_str).unwrap_or_default();
        path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// The versions of all products.
    pub(super) fn catalogue(&self) -> Catalogue {
        Catalogue::of(
            self.versions().map(|(document, version)| (document.name().as_str(), version)),
        )
    }

    /// The site without its deployments.
    pub(super) fn site(
        &self,
        name: String,
        spec: Site,
        snapshot: &Snapshot,
        zones: BTreeMap<String, Located<ZoneData>>,
    ) -> ValidSite {
        ValidSite {
            name,
            revision: snapshot.revision.clone(),
            spec,
            clusters: self
                .clusters()
                .map(|(document, spec)| {
                    let labels = document.metadata.labels.clone();
                    (document.name().to_string(), SiteCluster { labels, spec: spec.clone() })
                })
                .collect(),
            catalogue: self.catalogue(),
            deployments: BTreeMap::new(),
            rollout_policies: plain(self.rollout_policies()),
            orders: self.solutions().filter_map(|(_, solution)| solution.order.clone()).collect(),
            solution_rollouts: self
                .solutions()
                .filter_map(|(document, solution)| {
                    Some((document.name().to_string(), solution.rollout.as_ref()?.to_string()))
                })
                .collect(),
            approval_policies: plain(self.approval_policies()),
            change_windows: plain(self.change_windows()),
            persons: plain(self.persons()),
            groups: plain(self.groups()),
            service_accounts: plain(self.service_accounts()),
            roles: located(self.roles()),
            grants: located(self.grants()),
            zones,
            secret_fields: self
                .versions()
                .flat_map(|(_, version)| version.secret_fields.iter().cloned())
                .collect(),
            operations: located(self.operations()),
            pins: Pins::default(),
        }
    }
}

fn plain<'a, T: Clone + 'a>(
    documents: impl Iterator<Item = (&'a Document, &'a T)>,
) -> BTreeMap<String, T> {
    documents.map(|(document, spec)| (document.name().to_string(), spec.clone())).collect()
}

/// The specs of documents with their places.
pub(super) fn located<'a, T: Clone + 'a>(
    documents: impl Iterator<Item = (&'a Document, &'a T)>,
) -> BTreeMap<String, Located<T>> {
    documents
        .map(|(document, spec)| {
            let spec = Located { spec: spec.clone(), place: document.place("metadata.name") };
            (document.name().to_string(), spec)
        })
        .collect()
}

fn named_twice(document: &Document, name: &str) -> Finding {
    Finding::error("REFERENCE/NAME_TWICE")
        .at(document.place("metadata.name"))
        .with("kind", document.kind())
        .with("name", name)
}

/// Whether a file holds documents: YAML that is not hidden, and neither a version's manifest nor one of its files.
fn is_document(path: &str) -> bool {
    let is_yaml = path.rsplit_once('.').is_some_and(|(_, end)| end == "yaml" || end == "yml");
    is_yaml
        && !path.split('/').any(|part| part.starts_with('.'))
        && !path.split('/').rev().skip(1).any(|part| part == "manifests" || part == "files")
}

/// Whether a path is in a folder or below it; everything is below the root.
pub(super) fn is_below(path: &str, folder: &str) -> bool {
    folder.is_empty()
        || path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A path from the repository's root as it is seen from the site's folder.
pub(super) fn relative(folder: &str, path: &str) -> String {
    let folder: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    let parts: Vec<&str> = path.split('/').collect();
    let common = folder.iter().zip(&parts).take_while(|(left, right)| left == right).count();
    let up = std::iter::repeat_n("..", folder.len() - common);
    up.chain(parts.into_iter().skip(common)).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_seen_from_the_folder_of_the_site() {
        assert_eq!(
            relative("sites/hz", "catalog/iam/product.yaml"),
            "../../catalog/iam/product.yaml"
        );
        assert_eq!(relative("sites/hz", "sites/hz/site.yaml"), "site.yaml");
        assert_eq!(relative("", "site.yaml"), "site.yaml");
        assert!(is_below("a/b", "a") && !is_below("ab", "a"));
    }
}
