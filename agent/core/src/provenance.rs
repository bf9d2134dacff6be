//! Provenance of parameters: which layer gives which value, and what would count without it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use tidegate_schema::finding::Place;
use tidegate_schema::parameters::{ParameterScope, ParameterValue, Parameters};
use tidegate_schema::product::ParameterDeclaration;
use tidegate_schema::scalar::Name;

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
    /// `scope: {product, scalingGroup}`.
    ScalingGroup,
    /// `scope: {product, scalingGroup, app}`.
    AppOfScalingGroup,
}

impl ParameterLayer {
    /// The layer that a scope means; `None` for a combination that is no layer.
    pub fn of(scope: &ParameterScope) -> Option<Self> {
        let inside = (scope.scaling_group.is_some(), scope.app.is_some());
        match (&scope.product, &scope.cluster, inside) {
            (None, None, (false, false)) => Some(Self::Site),
            (None, Some(_), (false, false)) => Some(Self::Cluster),
            (Some(_), None, (false, false)) => Some(Self::Product),
            (Some(_), Some(_), (false, false)) => Some(Self::ProductAndCluster),
            (Some(_), None, (false, true)) => Some(Self::App),
            (Some(_), None, (true, false)) => Some(Self::ScalingGroup),
            (Some(_), None, (true, true)) => Some(Self::AppOfScalingGroup),
            (None, _, _) | (Some(_), Some(_), _) => None,
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
    fn counts_for(&self, whom: Whom<'_>) -> bool {
        let scope = &self.document.scope;
        let fits = |asked: &Option<Name>, own: Option<&str>| {
            asked.as_ref().is_none_or(|name| own.is_some_and(|own| name == own))
        };
        fits(&scope.product, Some(whom.product))
            && fits(&scope.cluster, Some(whom.cluster))
            && fits(&scope.app, whom.app)
            && fits(&scope.scaling_group, whom.scaling_group)
    }
}

/// For whom values are looked up.
#[derive(Clone, Copy, Debug)]
pub struct Whom<'a> {
    /// The product.
    pub product: &'a str,
    /// The cluster.
    pub cluster: &'a str,
    /// One app of it, as the version calls it.
    pub app: Option<&'a str>,
    /// One scaling group of it.
    pub scaling_group: Option<&'a str>,
}

/// The effective value of each declared parameter that has one.
pub fn resolve(
    declarations: &[(ParameterDeclaration, Place)],
    layers: &[LayerValues],
    whom: Whom<'_>,
) -> BTreeMap<String, Effective> {
    let layers: Vec<&LayerValues> = layers.iter().filter(|layer| layer.counts_for(whom)).collect();
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
