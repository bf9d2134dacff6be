//! What differs between two baselines.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use super::{Baseline, BaselineApp};

/// One line that differs between two baselines.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BaselineDifference {
    /// What of the site it is about.
    pub level: Level,
    /// What differs, as a path: `iam/room-a/iamcore/image`.
    pub path: String,
    /// In the first; absent when only the second has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// In the second; absent when only the first has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// What of the site a difference is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Level {
    /// The product as a whole.
    Product,
    /// An app in a cluster.
    App,
    /// A grant.
    Grant,
    /// A zone.
    Zone,
}

impl BaselineDifference {
    /// The product that it is about; grants and zones are the site's.
    pub fn product(&self) -> Option<&str> {
        match self.level {
            Level::Product | Level::App => self.path.split('/').next(),
            Level::Grant | Level::Zone => None,
        }
    }
}

type Lines = BTreeMap<(Level, String), String>;

impl Baseline {
    /// All lines that differ, ordered. When and by which release does not count.
    pub fn diff(before: &Self, after: &Self) -> Vec<BaselineDifference> {
        let (old, new) = (lines(before), lines(after));
        let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
        keys.into_iter()
            .filter(|key| old.get(*key) != new.get(*key))
            .map(|key| BaselineDifference {
                level: key.0,
                path: key.1.clone(),
                before: old.get(key).cloned(),
                after: new.get(key).cloned(),
            })
            .collect()
    }
}

fn lines(baseline: &Baseline) -> Lines {
    let mut lines = Lines::new();
    for (name, product) in &baseline.products {
        let facts = [
            ("solution", &product.solution),
            ("version", &product.version),
            ("topology", &product.topology),
            ("size", &product.size),
            ("namespace", &product.namespace),
        ];
        for (fact, value) in facts {
            lines.insert((Level::Product, format!("{name}/{fact}")), value.clone());
        }
        for (cluster, apps) in &product.clusters {
            for (app, delivered) in apps {
                app_lines(&format!("{name}/{cluster}/{app}"), delivered, &mut lines);
            }
        }
    }
    for (name, grant) in &baseline.grants {
        lines.insert((Level::Grant, name.clone()), grant.clone());
    }
    for (name, zone) in &baseline.zones {
        lines.insert((Level::Zone, name.clone()), zone.digest.clone());
    }
    lines
}

fn app_lines(path: &str, app: &BaselineApp, lines: &mut Lines) {
    let mut add = |name: &str, value: String| {
        lines.insert((Level::App, format!("{path}/{name}")), value);
    };
    add("image", app.image.clone());
    add("replicas", app.replicas.to_string());
    add("cpu", app.cpu.clone());
    add("memory", app.memory.clone());
    add("inputs", app.inputs.to_string());
    if let Some(group) = &app.scaling_group {
        add("scalingGroup", group.clone());
    }
    if app.offline {
        add("offline", "true".to_owned());
    }
    for (name, value) in &app.parameters {
        add(&format!("parameters/{name}"), value.clone());
    }
    for (name, size) in &app.volumes {
        add(&format!("volumes/{name}"), size.clone());
    }
}
