//! Which folders outside the site's own are loaded as well: the catalogs that its `Site` document names.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use tidegate_core::snapshot::resolve;
use tidegate_schema::finding::{Finding, Place};

use super::walk::is_inside;

/// A catalog's folder, and who asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    /// The path from the root of the repository.
    pub(super) folder: String,
    written: String,
    by: String,
}

impl Named {
    /// The finding when the folder is not there.
    pub(super) fn missing(&self) -> Finding {
        Finding::error("SOURCE/CATALOG_MISSING")
            .at(Place::new(&self.by, 0, 0, "spec.catalogs"))
            .with("catalog", &self.written)
            .with("folder", &self.folder)
    }
}

/// The catalogs of a site that lie outside its folder, each once. A catalog's path counts from the
/// site's folder, and may leave it (`../../catalog`), but not the repository.
///
/// This reads only what it needs, and lets everything pass that it does not understand: whether the
/// documents are right is the validation's question, which sees the same files.
pub(super) fn folders(
    files: &BTreeMap<String, Vec<u8>>,
    folder: &str,
) -> (Vec<Named>, Vec<Finding>) {
    let mut named: Vec<Named> = Vec::new();
    let mut findings = Vec::new();
    let mut seen = BTreeSet::new();
    for (path, content) in files {
        let is_yaml = [".yaml", ".yml"].iter().any(|end| path.ends_with(end));
        if !is_yaml || !is_inside(path, folder) {
            continue;
        }
        for written in catalogs(content) {
            match resolve(folder, &written) {
                None => findings.push(
                    Finding::error("SOURCE/CATALOG_OUTSIDE")
                        .at(Place::new(path, 0, 0, "spec.catalogs"))
                        .with("catalog", &written),
                ),
                Some(found) if is_inside(&found, folder) => {}
                Some(found) => {
                    if seen.insert(found.clone()) {
                        named.push(Named { folder: found, written, by: path.clone() });
                    }
                }
            }
        }
    }
    (named, findings)
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Document {
    kind: String,
    spec: Spec,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Spec {
    catalogs: Vec<Catalog>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Catalog {
    path: String,
}

/// The paths in the `Site` documents of a file.
fn catalogs(content: &[u8]) -> Vec<String> {
    let Ok(text) = std::str::from_utf8(content) else { return Vec::new() };
    // Parsing every file twice would cost a fifth of a second on a large site.
    if !text.contains("catalogs") || !text.contains("Site") {
        return Vec::new();
    }
    serde_yaml::Deserializer::from_str(text)
        .map_while(|document| serde_yaml::Value::deserialize(document).ok())
        .filter_map(|value| serde_yaml::from_value::<Document>(value).ok())
        .filter(|document| document.kind == "Site")
        .flat_map(|document| document.spec.catalogs)
        .map(|catalog| catalog.path)
        .filter(|path| !path.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(path: &str) -> BTreeMap<String, Vec<u8>> {
        let text = format!(
            "kind: Cluster\nmetadata: {{name: a}}\n---\nkind: Site\nspec:\n  tier: production\n  catalogs: [{{path: {path}}}]\n"
        );
        BTreeMap::from([("sites/hz/site.yaml".to_owned(), text.into_bytes())])
    }

    #[test]
    fn a_catalog_may_leave_the_folder_but_not_the_repository() {
        let (named, findings) = folders(&site("../../catalog"), "sites/hz");
        assert_eq!(named.iter().map(|it| it.folder.as_str()).collect::<Vec<_>>(), ["catalog"]);
        assert_eq!(findings, []);

        for outside in ["../../../catalog", "/etc"] {
            let (named, findings) = folders(&site(outside), "sites/hz");
            assert_eq!(named, []);
            assert_eq!(
                findings.iter().map(|it| &*it.code).collect::<Vec<_>>(),
                ["SOURCE/CATALOG_OUTSIDE"]
            );
        }
    }

    #[test]
    fn a_catalog_inside_the_folder_is_loaded_already() {
        let (named, findings) = folders(&site("./catalog"), "sites/hz");
        assert_eq!((named, findings), (Vec::new(), Vec::new()));
    }

    #[test]
    fn a_catalog_cannot_name_catalogs() {
        let mut files = site("../../catalog");
        let text = files.remove("sites/hz/site.yaml").unwrap();
        files.insert("catalog/site.yaml".to_owned(), text);
        assert_eq!(folders(&files, "sites/hz").0, []);
    }

    #[test]
    fn what_is_no_yaml_is_left_to_the_validation() {
        let files = BTreeMap::from([("site.yaml".to_owned(), b"kind: Site\ncatalogs: [".to_vec())]);
        assert_eq!(folders(&files, ""), (Vec::new(), Vec::new()));
    }
}
