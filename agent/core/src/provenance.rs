//! Provenance of parameters: which layer gives which value, and what would count without it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use tidegate_schema::finding::Place;
use tidegate_schema::parameters::{ParameterScope, ParameterValue, Parameters};
use tidegate_schema::product::ParameterDeclaration;

/// The layers, weakest first (model.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ParameterLayer {
    /// The default of the declaration.
    Default,
    /// `scope: {}`.
    Site,
    /// `scope: {cluster}`.
    Cluster,
    /// `scope: {product}`.
    Product,
    /// `scope: {product, cluster}`.
    ProductAndCluster,
    /// `scope: {product, app}`.
    App,
}

impl ParameterLayer {
    /// The layer that a scope means; `None` for a combination that is no layer.
    pub fn of(scope: &ParameterScope) -> Option<Self> {
        match (&scope.product, &scope.app, &scope.cluster) {
            (None, None, None) => Some(Self::Site),
            (None, None, Some(_)) => Some(Self::Cluster),
            (Some(_), None, None) => Some(Self::Product),
            (Some(_), None, Some(_)) => Some(Self::ProductAndCluster),
            (Some(_), Some(_), None) => Some(Self::App),
            (None, Some(_), _) | (Some(_), Some(_), Some(_)) => None,
        }
    }
}

/// A value that one layer gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    /// The layer.
    pub layer: ParameterLayer,
    /// The value.
    pub value: ParameterValue,
    /// Where it is written.
    pub place: Place,
}

/// A parameter with every layer that gives it a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Effective {
    /// The value that counts.
    pub strongest: Given,
    /// The values that it hides, strongest first.
    pub weaker: Vec<Given>,
    /// Whether it was declared secret.
    pub secret: bool,
}

impl Effective {
    /// The value that counts.
    pub fn value(&self) -> &ParameterValue {
        &self.strongest.value
    }

    /// The value as people may see it: of a secret only the reference.
    pub fn shown(&self) -> String {
        shown(&self.strongest.value, self.secret)
    }
}

/// A value as people may see it.
pub fn shown(value: &ParameterValue, secret: bool) -> String {
    match value {
        ParameterValue::Secret(reference) => format!("secret {}/{}", reference.name, reference.key),
        ParameterValue::Sealed(_) => "sealed".to_owned(),
        ParameterValue::Plain(_) | ParameterValue::List(_) if secret => "hidden".to_owned(),
        ParameterValue::Plain(serde_json::Value::String(text)) => text.clone(),
        ParameterValue::Plain(other) => other.to_string(),
        ParameterValue::List(items) => items.join(", "),
    }
}

/// One `Parameters` document, as far as it counts.
#[derive(Clone, Debug)]
pub struct LayerValues {
    /// Which layer.
    pub layer: ParameterLayer,
    /// The document's scope and values.
    pub document: Parameters,
    /// Where each value is written.
    pub places: BTreeMap<String, Place>,
}

impl LayerValues {
    fn counts_for(&self, product: &str, cluster: &str, app: Option<&str>) -> bool {
        let scope = &self.document.scope;
        scope.product.as_ref().is_none_or(|name| name == product)
            && scope.cluster.as_ref().is_none_or(|name| name == cluster)
            && scope.app.as_ref().is_none_or(|name| app.is_some_and(|app| name == app))
    }
}

/// The effective value of each declared parameter that has one, for a product in a cluster, or for one app of it.
pub fn resolve(
    declarations: &[(ParameterDeclaration, Place)],
    layers: &[LayerValues],
    product: &str,
    cluster: &str,
    app: Option<&str>,
) -> BTreeMap<String, Effective> {
    let layers: Vec<&LayerValues> =
        layers.iter().filter(|layer| layer.counts_for(product, cluster, app)).collect();
    let mut effective = BTreeMap::new();
    for (declaration, place) in declarations {
        let default = declaration.default.as_ref().map(|value| Given {
            layer: ParameterLayer::Default,
            value: plain(value),
            place: place.clone(),
        });
        let mut given: Vec<Given> = default.into_iter().collect();
        given.extend(layers.iter().filter_map(|layer| {
            let value = layer.document.values.get(&declaration.name)?.clone();
            let place = layer.places.get(&declaration.name).cloned().unwrap_or_default();
            Some(Given { layer: layer.layer, value, place })
        }));
        // Stable, and places are ordered: two values in one layer are a finding, but the same one wins every time.
        given.sort_by(|left, right| (right.layer, &left.place).cmp(&(left.layer, &right.place)));
        let mut given = given.into_iter();
        if let Some(strongest) = given.next() {
            let entry =
                Effective { strongest, weaker: given.collect(), secret: declaration.secret };
            effective.insert(declaration.name.clone(), entry);
        }
    }
    effective
}

/// A default as a value: lists of texts are lists.
fn plain(value: &serde_json::Value) -> ParameterValue {
    let text =
        |item: &serde_json::Value| item.as_str().map_or_else(|| item.to_string(), str::to_owned);
    match value.as_array() {
        Some(items) => ParameterValue::List(items.iter().map(text).collect()),
        None => ParameterValue::Plain(value.clone()),
    }
}
