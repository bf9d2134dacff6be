//! Filling templates in, with findings for what goes wrong.

use std::collections::{BTreeMap, BTreeSet};

use minijinja::Value;
use minijinja::value::Serde;
use serde_json::{Map, json};
use tidegate_schema::finding::{Finding, Place};
use tidegate_schema::parameters::ParameterValue;

use crate::provenance::Effective;
use crate::site::ValidSite;
use crate::template::{TemplateError, Templates};

/// Everything that the templates of a product in a cluster may name.
pub(super) struct Filler<'a> {
    templates: &'a Templates,
    fields: Map<String, serde_json::Value>,
    secrets: BTreeSet<String>,
    parameters: BTreeSet<String>,
    context: Value,
    /// Names of parameters that were used so far.
    pub(super) used: BTreeSet<String>,
}

impl<'a> Filler<'a> {
    /// What all products of a cluster may name: `site` and `cluster`; then the parameters; then `products`.
    pub(super) fn new(
        templates: &'a Templates,
        site: &ValidSite,
        cluster: &str,
        parameters: &BTreeMap<String, Effective>,
        products: &BTreeMap<String, BTreeMap<String, String>>,
    ) -> Self {
        let mut fields = Map::new();
        let (secret, plain): (Vec<_>, Vec<_>) = parameters
            .iter()
            .partition(|(_, effective)| effective.secret || effective.value().is_secret());
        for (name, effective) in plain {
            let value = match effective.value() {
                ParameterValue::Plain(value) => value.clone(),
                ParameterValue::List(items) => json!(items),
                ParameterValue::Secret(_) | ParameterValue::Sealed(_) => continue,
            };
            fields.insert(name.clone(), value);
        }
        fields.insert(
            "site".to_owned(),
            given(json!({
                "name": site.name, "tier": site.spec.tier, "domain": site.spec.domain,
                "resourcePrefix": site.spec.resource_prefix, "registry": site.spec.registry,
            })),
        );
        if let Some(own) = site.clusters.get(cluster) {
            fields.insert(
                "cluster".to_owned(),
                json!({
                    "name": cluster, "room": own.spec.room, "zone": own.spec.zone,
                    "region": own.spec.region, "cells": own.spec.cells, "labels": own.labels,
                }),
            );
        }
        fields.insert("products".to_owned(), json!(products));
        let secrets = secret.into_iter().map(|(name, _)| name.clone()).collect();
        let context = Value::from(Serde(&fields));
        let parameters = parameters.keys().cloned().collect();
        Self { templates, fields, secrets, parameters, context, used: BTreeSet::new() }
    }

    /// Adds a name, such as `app`.
    pub(super) fn define(&mut self, name: &str, value: serde_json::Value) {
        self.fields.insert(name.to_owned(), given(value));
        self.context = Value::from(Serde(&self.fields));
    }

    /// The text that a template gives; empty, with a finding, when it gives none.
    pub(super) fn fill(
        &mut self,
        source: &str,
        place: &Place,
        findings: &mut Vec<Finding>,
    ) -> String {
        let names = self.templates.names(source);
        self.used.extend(names.intersection(&self.parameters).cloned());
        let secret: Vec<&str> = names.intersection(&self.secrets).map(String::as_str).collect();
        if !secret.is_empty() {
            let finding = Finding::error("TEMPLATE/SECRET_IN_TEXT").at(place.clone());
            findings.push(finding.with("parameter", secret.join(", ")));
            return String::new();
        }
        self.templates.render(source, &self.context).unwrap_or_else(|error| {
            findings.push(self.problem(error, place));
            String::new()
        })
    }

    fn problem(&self, error: TemplateError, place: &Place) -> Finding {
        let (finding, line) = match error {
            TemplateError::Syntax { detail, line } => {
                (Finding::error("TEMPLATE/SYNTAX").with("detail", detail), line)
            }
            TemplateError::Undefined { detail, line } => {
                let known: Vec<String> = self.fields.keys().cloned().collect();
                let list = known.join(", ");
                let finding = Finding::error("TEMPLATE/UNDEFINED").with("name", detail);
                (finding.with("known", list), line)
            }
            TemplateError::TooLong => (Finding::error("TEMPLATE/TOO_LONG"), 0),
            TemplateError::Failed { detail, line } => {
                (Finding::error("TEMPLATE/FAILED").with("detail", detail), line)
            }
        };
        finding.at(inside(place, line))
    }
}

/// The place of a line inside a template that is a whole file; inside a document the place of the field is near enough.
fn inside(place: &Place, line: usize) -> Place {
    let line = u32::try_from(line).unwrap_or_default();
    if place.line == 0 && line > 0 { Place { line, ..place.clone() } } else { place.clone() }
}

/// A map without what is not given: its names are then undefined, and using one is an error.
fn given(mut value: serde_json::Value) -> serde_json::Value {
    if let Some(map) = value.as_object_mut() {
        map.retain(|_, value| !value.is_null());
    }
    value
}
