//! What `tidegate parameters` shows: every value with its layer, its place, and what it would be without the layer.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;
use tidegate_schema::finding::Place;

use crate::provenance::{Effective, ParameterLayer, shown};
use crate::site::{Deployment, ValidSite};

/// One line: a parameter of a product, where it has one value.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParameterRow {
    /// The product.
    pub product: String,
    /// The cluster; `None` when the value is the same in all clusters of the product.
    pub cluster: Option<String>,
    /// The app, by the name under which it runs; `None` when it is the product's value.
    pub app: Option<String>,
    /// The parameter.
    pub name: String,
    /// The value as people may see it; of a secret only the reference.
    pub value: String,
    /// The layer that gives it.
    pub layer: ParameterLayer,
    /// Where it is written.
    pub place: Place,
    /// What it would be without this layer; `None` when nothing else gives a value.
    pub without: Option<String>,
    /// The layer that would give that.
    pub without_layer: Option<ParameterLayer>,
}

/// Every parameter that has a value, ordered by product, name, app and cluster.
pub fn explain(site: &ValidSite) -> Vec<ParameterRow> {
    let mut rows: Vec<_> = site.deployments.values().flat_map(of_product).collect();
    rows.sort_by(|left, right| {
        let key = |row: &ParameterRow| {
            (row.product.clone(), row.name.clone(), row.app.clone(), row.cluster.clone())
        };
        key(left).cmp(&key(right))
    });
    rows
}

fn of_product(deployment: &Deployment) -> Vec<ParameterRow> {
    let mut rows = Vec::new();
    let mut apps = BTreeSet::new();
    for (cluster, placement) in &deployment.placements {
        for (name, effective) in &placement.parameters {
            let is_same = deployment.placements.values().all(|other| {
                other.parameters.get(name).map(Effective::value) == Some(effective.value())
            });
            let is_first = deployment.placements.keys().next() == Some(cluster);
            if is_same && !is_first {
                continue;
            }
            let cluster = (!is_same).then(|| cluster.clone());
            rows.push(row(deployment, cluster, None, name, effective));
        }
        for app in &placement.apps {
            let name = app.app.name.as_str();
            if !apps.insert(name) {
                continue;
            }
            // The layers of apps and scaling groups are the strongest and know no clusters.
            let is_own =
                |(_, it): &(&String, &Effective)| it.strongest.layer >= ParameterLayer::App;
            for (parameter, effective) in app.parameters.iter().filter(is_own) {
                rows.push(row(deployment, None, Some(name.to_owned()), parameter, effective));
            }
        }
    }
    rows
}

fn row(
    deployment: &Deployment,
    cluster: Option<String>,
    app: Option<String>,
    name: &str,
    effective: &Effective,
) -> ParameterRow {
    let next = effective.weaker.first();
    ParameterRow {
        product: deployment.product.clone(),
        cluster,
        app,
        name: name.to_owned(),
        value: effective.shown(),
        layer: effective.strongest.layer,
        place: effective.strongest.place.clone(),
        without: next.map(|given| shown(&given.value, effective.secret)),
        without_layer: next.map(|given| given.layer),
    }
}
