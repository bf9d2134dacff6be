//! Parameters: the layers of values, and whether each value fits what declares it.

use std::collections::BTreeMap;

use tidegate_schema::finding::{Finding, Place};
use tidegate_schema::parameters::ParameterValue;
use tidegate_schema::product::{ParameterDeclaration, ProductVersion};
use tidegate_schema::scalar::Name;
use tidegate_schema::solution::ScalingGroup;
use tidegate_schema::{Document, Kind};

use super::documents::Documents;
use super::references::unknown;
use crate::provenance::{Effective, LayerValues, ParameterLayer};

/// The versions that the site runs, by product.
pub(super) type Running<'a> = BTreeMap<&'a str, (&'a Document, &'a ProductVersion)>;

/// The layers of the site, with findings for values that nothing declares, that do not fit, or that come twice.
pub(super) fn layers(
    documents: &Documents,
    running: &Running<'_>,
    findings: &mut Vec<Finding>,
) -> Vec<LayerValues> {
    let mut layers = Vec::new();
    let mut seen: BTreeMap<_, Place> = BTreeMap::new();
    for (document, parameters) in documents.parameters() {
        let Some(layer) = ParameterLayer::of(&parameters.scope) else { continue };
        let mut places = BTreeMap::new();
        for (name, value) in &parameters.values {
            let place = document.place(&format!("spec.values.{name}"));
            if let Some(other) =
                seen.insert((parameters.scope.clone(), name.clone()), place.clone())
            {
                findings.push(
                    Finding::error("VALUE/TWICE")
                        .at(place.clone())
                        .with("parameter", name)
                        .with("other", other),
                );
            }
            one(document, &parameters.scope, (name, value), &place, running, findings);
            places.insert(name.clone(), place);
        }
        if let (Some(product), Some(app), None) =
            (&parameters.scope.product, &parameters.scope.app, &parameters.scope.scaling_group)
            && let Some((_, version)) = running.get(product.as_str())
            && !version.apps.iter().any(|own| own.name == *app)
        {
            let known = version.apps.iter().map(|app| app.name.as_str());
            findings.push(unknown(document.place("spec.scope.app"), "app", app.as_str(), known));
        }
        if let (Some(product), Some(group)) =
            (&parameters.scope.product, &parameters.scope.scaling_group)
            && running.contains_key(product.as_str())
        {
            let app = parameters.scope.app.as_ref();
            findings.extend(scaling_group(documents, document, (product, group), app));
        }
        if let Some(product) = &parameters.scope.product
            && documents.has(Kind::Product, product.as_str())
            && !running.contains_key(product.as_str())
        {
            let place = document.place("spec.scope.product");
            findings
                .push(Finding::note("VALUE/PRODUCT_NOT_RUN").at(place).with("product", product));
        }
        layers.push(LayerValues { layer, document: parameters.clone(), places });
    }
    layers
}

/// A scope that names a scaling group names one of the product, and of its apps.
fn scaling_group(
    documents: &Documents,
    document: &Document,
    (product, group): (&Name, &Name),
    app: Option<&Name>,
) -> Option<Finding> {
    let products = documents.solutions().flat_map(|(_, solution)| &solution.products);
    let groups: Vec<&ScalingGroup> =
        products.filter(|it| it.product == *product).flat_map(|it| &it.scaling_groups).collect();
    let Some(own) = groups.iter().find(|own| own.name == *group) else {
        let known = groups.iter().map(|own| own.name.as_str());
        let place = document.place("spec.scope.scalingGroup");
        return Some(unknown(place, "scaling group", group.as_str(), known));
    };
    let app = app.filter(|app| !own.apps.contains_key(*app))?;
    let known = own.apps.keys().map(Name::as_str);
    Some(unknown(document.place("spec.scope.app"), "app", app.as_str(), known))
}

/// One value against every declaration that it is meant for.
fn one(
    document: &Document,
    scope: &tidegate_schema::parameters::ParameterScope,
    (name, value): (&str, &ParameterValue),
    place: &Place,
    running: &Running<'_>,
    findings: &mut Vec<Finding>,
) {
    let meant = running
        .iter()
        .filter(|(product, _)| scope.product.as_ref().is_none_or(|scoped| scoped == **product));
    let mut declarations = meant.clone().flat_map(|(_, (_, version))| &version.parameters);
    let declared: Vec<&ParameterDeclaration> =
        declarations.clone().filter(|declaration| declaration.name == name).collect();
    if declared.is_empty() {
        if meant.clone().next().is_none() {
            // Nothing of it runs: no declaration could be looked at.
            return;
        }
        let known: Vec<&str> = declarations.by_ref().map(|own| own.name.as_str()).collect();
        let near = tidegate_schema::suggest::nearest(name, known);
        let finding = match near {
            Some(near) => Finding::error("VALUE/UNDECLARED_NEAR").with("near", near),
            None => Finding::error("VALUE/UNDECLARED"),
        };
        findings.push(
            finding
                .at(document.place_of_key(&format!("spec.values.{name}")))
                .with("parameter", name),
        );
    }
    for declaration in declared {
        if let Some(finding) = judge(declaration, value) {
            findings.push(finding.at(place.clone()).with("parameter", name));
        }
    }
}

/// What is wrong with a value. The value itself is never in the finding when it is secret.
fn judge(declaration: &ParameterDeclaration, value: &ParameterValue) -> Option<Finding> {
    match value {
        ParameterValue::Sealed(_) => Some(Finding::error("VALUE/SEALED_NOT_SUPPORTED")),
        ParameterValue::Secret(_) if !declaration.secret => {
            Some(Finding::error("VALUE/NOT_SECRET"))
        }
        ParameterValue::Secret(_) => None,
        ParameterValue::Plain(_) | ParameterValue::List(_) if declaration.secret => {
            Some(Finding::error("VALUE/SECRET_IN_CLEAR"))
        }
        ParameterValue::Plain(value) => fit(declaration, value),
        ParameterValue::List(items) => fit(declaration, &serde_json::json!(items)),
    }
}

fn fit(declaration: &ParameterDeclaration, value: &serde_json::Value) -> Option<Finding> {
    let mismatch = declaration.mismatch(value)?;
    Some(Finding::error("VALUE/UNFIT").with("rule", mismatch.rule(declaration)))
}

/// Required parameters without a value, in one cluster.
pub(super) fn missing(
    version: &ProductVersion,
    parameters: &BTreeMap<String, Effective>,
    place: &Place,
    (product, cluster): (&str, &str),
    findings: &mut Vec<Finding>,
) {
    for declaration in &version.parameters {
        if declaration.required && !parameters.contains_key(&declaration.name) {
            findings.push(
                Finding::error("VALUE/MISSING")
                    .at(place.clone())
                    .with("parameter", &declaration.name)
                    .with("product", product)
                    .with("cluster", cluster),
            );
        }
    }
}

/// The declarations of a version with the places of their defaults.
pub(super) fn declarations(
    document: &Document,
    version: &ProductVersion,
) -> Vec<(ParameterDeclaration, Place)> {
    let place = |index| document.place(&format!("spec.parameters[{index}].default"));
    version
        .parameters
        .iter()
        .enumerate()
        .map(|(index, declaration)| (declaration.clone(), place(index)))
        .collect()
}
