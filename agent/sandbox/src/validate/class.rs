//! The rules of classes: of storage, priorities, ingresses and runtimes.

use super::place::Place;
use crate::status::Cause;

/// The highest priority that a class of a user may have.
const HIGHEST: i64 = 1_000_000_000;

pub(super) fn storage(whole: &Place<'_>, causes: &mut Vec<Cause>) {
    let provisioner = whole.at("provisioner");
    if provisioner.is_empty() {
        causes.push(provisioner.missing(""));
    } else {
        let lower = serde_json::Value::from(provisioner.text().to_lowercase());
        Place::new(&lower, provisioner.path).qualified(causes);
    }
    let parameters = whole.at("parameters");
    if parameters.has("") {
        causes.push(Cause::invalid("parameters", &"".into(), "field can not be empty."));
    }
    whole.at("reclaimPolicy").choice(&["Delete", "Retain"], causes);
    whole.at("volumeBindingMode").choice(&["Immediate", "WaitForFirstConsumer"], causes);
}

pub(super) fn priority(whole: &Place<'_>, causes: &mut Vec<Cause>) {
    let name = whole.at("metadata").at("name");
    if name.text().starts_with("system-") {
        if !matches!(name.text(), "system-node-critical" | "system-cluster-critical") {
            causes.push(name.forbidden(&format!(
                "priority class names with 'system-' prefix are reserved for system use only. error: {} is not a known system priority class",
                name.text()
            )));
        }
    } else if whole.at("value").integer().is_some_and(|value| value > HIGHEST) {
        causes.push(
            whole.at("value").forbidden(&format!(
                "maximum allowed value of a user defined priority is {HIGHEST}"
            )),
        );
    }
    whole.at("preemptionPolicy").choice(&["PreemptLowerPriority", "Never"], causes);
}

pub(super) fn ingress(spec: &Place<'_>, causes: &mut Vec<Cause>) {
    let controller = spec.at("controller");
    controller.required(causes);
    let is_path = controller
        .text()
        .split_once('/')
        .is_some_and(|(domain, path)| !path.is_empty() && domain.split('.').all(super::is_label));
    if !controller.is_empty() && !is_path {
        let why = "must be a domain-prefixed path (such as \"acme.io/foo\")";
        causes.push(controller.invalid(why));
    }
}

pub(super) fn runtime(whole: &Place<'_>, causes: &mut Vec<Cause>) {
    let handler = serde_json::Value::from(whole.at("handler").text());
    Place::new(&handler, "handler").label(causes);
}
