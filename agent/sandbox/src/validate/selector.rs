//! The rules of label selectors and of terms about nodes.

use serde_json::json;

use super::place::Place;
use crate::status::Cause;

const IN: &str = "must be specified when `operator` is 'In' or 'NotIn'";
const EXISTS: &str = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
const OPERATOR: &str = "not a valid selector operator";

/// What is wrong with a selector of labels.
pub(super) fn label_selector(selector: &Place<'_>, causes: &mut Vec<Cause>) {
    selector.at("matchLabels").labels(causes);
    for expression in selector.at("matchExpressions").each() {
        let values = expression.at("values");
        match expression.at("operator").text() {
            "In" | "NotIn" if values.is_empty() => causes.push(values.missing(IN)),
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                causes.push(values.forbidden(EXISTS));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => {
                let place = expression.path_of("operator");
                causes.push(Cause::invalid(place, &other.into(), OPERATOR));
            }
        }
        expression.at("key").qualified(causes);
    }
}

/// A term about the labels of nodes, which can also compare numbers.
pub(super) fn expressions_of_nodes(term: &Place<'_>, causes: &mut Vec<Cause>) {
    for expression in term.at("matchExpressions").each() {
        let values = expression.at("values");
        let count = values.value.as_array().map_or(0, Vec::len);
        match expression.at("operator").text() {
            "In" | "NotIn" if count == 0 => causes.push(values.missing(IN)),
            "Exists" | "DoesNotExist" if count > 0 => causes.push(values.forbidden(EXISTS)),
            "Gt" | "Lt" if count != 1 => {
                let why = "must be specified single value when `operator` is 'Lt' or 'Gt'";
                causes.push(values.missing(why));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
            other => {
                let place = expression.path_of("operator");
                causes.push(Cause::invalid(place, &json!(other), OPERATOR));
            }
        }
        expression.at("key").qualified(causes);
    }
}
