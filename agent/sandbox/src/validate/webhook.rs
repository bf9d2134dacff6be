//! The rules of webhook configurations.

use std::collections::BTreeSet;

use super::is_label;
use super::place::Place;
use crate::status::Cause;

pub(super) fn check(whole: &Place<'_>, causes: &mut Vec<Cause>) {
    let mut names = BTreeSet::new();
    for hook in whole.at("webhooks").each() {
        let name = hook.at("name");
        if name.is_empty() {
            causes.push(name.missing(""));
        } else if !name.text().split('.').all(is_label) {
            name.subdomain(causes);
        } else if name.text().split('.').count() < 3 {
            let why = "should be a domain with at least three segments separated by dots";
            causes.push(name.invalid(why));
        } else if !names.insert(name.text()) {
            causes.push(name.duplicate());
        }
        self::hook(&hook, causes);
    }
}

fn hook(hook: &Place<'_>, causes: &mut Vec<Cause>) {
    let versions = hook.at("admissionReviewVersions");
    let is_known = versions.each().any(|version| matches!(version.text(), "v1" | "v1beta1"));
    if versions.is_empty() {
        causes.push(versions.missing("must specify one of v1, v1beta1"));
    } else if !is_known {
        causes.push(versions.invalid("must include at least one of v1, v1beta1"));
    }
    let effects = hook.at("sideEffects");
    if effects.is_there() {
        effects.choice(&["None", "NoneOnDryRun"], causes);
    } else {
        causes.push(effects.missing("must specify one of None, NoneOnDryRun"));
    }
    hook.at("failurePolicy").choice(&["Fail", "Ignore"], causes);
    hook.at("matchPolicy").choice(&["Equivalent", "Exact"], causes);
    hook.at("reinvocationPolicy").choice(&["IfNeeded", "Never"], causes);
    let time = hook.at("timeoutSeconds");
    if time.integer().is_some_and(|seconds| !(1..=30).contains(&seconds)) {
        causes.push(time.invalid("the timeout value must be between 1 and 30 seconds"));
    }
    for name in ["namespaceSelector", "objectSelector"] {
        hook.at(name).selector(causes);
    }
    client(&hook.at("clientConfig"), causes);
    for rule in hook.at("rules").each() {
        for name in ["apiGroups", "apiVersions", "operations", "resources"] {
            rule.at(name).required(causes);
        }
        for operation in rule.at("operations").each() {
            operation.choice(&["*", "CONNECT", "CREATE", "DELETE", "UPDATE"], causes);
        }
        rule.at("scope").choice(&["*", "Cluster", "Namespaced"], causes);
    }
}

fn client(client: &Place<'_>, causes: &mut Vec<Cause>) {
    let (url, service) = (client.at("url"), client.at("service"));
    if url.is_there() == service.is_there() {
        causes.push(client.missing("exactly one of url or service is required"));
    } else if url.is_there() {
        let scheme = url.text().split_once("://").map_or("", |(scheme, _)| scheme);
        if scheme != "https" {
            let why = "'https' is the only allowed URL scheme; desired format: https://host[/path]";
            causes.push(Cause::invalid(url.path.as_str(), &scheme.into(), why));
        }
    } else {
        service.at("name").required(causes);
        service.at("namespace").required(causes);
        service.at("port").between(1, 65_535, causes);
    }
}
