//! The rules of Ingresses and network policies.

use serde_json::json;

use super::place::{Place, is_within, network};
use super::{SUBDOMAIN, is_label};
use crate::status::Cause;

const WILDCARD: &str = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

/// What is wrong with an Ingress.
pub(super) fn ingress(spec: &Place<'_>, causes: &mut Vec<Cause>) {
    let rules = spec.at("rules");
    let default = spec.at("defaultBackend");
    if rules.is_empty() && !default.is_there() {
        causes.push(spec.invalid("either `defaultBackend` or `rules` must be specified"));
    }
    if default.is_there() {
        backend(&default, causes);
    }
    for rule in rules.each() {
        let name = rule.at("host");
        if name.text().parse::<std::net::IpAddr>().is_ok() {
            causes.push(name.invalid("must be a DNS name, not an IP address"));
        } else {
            host(&name, causes);
        }
        if rule.has("http") {
            rule.at("http").at("paths").required(causes);
        }
        for path in rule.at("http").at("paths").each() {
            self::path(&path, causes);
        }
    }
    for certificate in spec.at("tls").each() {
        for name in certificate.at("hosts").each() {
            host(&name, causes);
        }
    }
    let class = spec.at("ingressClassName");
    if class.is_there() {
        class.subdomain(causes);
    }
}

fn host(host: &Place<'_>, causes: &mut Vec<Cause>) {
    let name = host.text();
    if name.contains('*') {
        let below = name.strip_prefix("*.").unwrap_or_default();
        if !below.split('.').all(is_label) {
            causes.push(host.invalid(WILDCARD));
        }
    } else if !name.is_empty() && !name.split('.').all(is_label) {
        causes.push(host.invalid(SUBDOMAIN));
    }
}

fn path(entry: &Place<'_>, causes: &mut Vec<Cause>) {
    let kind = entry.at("pathType");
    if kind.is_empty() {
        causes.push(kind.missing("pathType must be specified"));
    }
    kind.choice(&["Exact", "ImplementationSpecific", "Prefix"], causes);
    let path = entry.at("path");
    if matches!(kind.text(), "Exact" | "Prefix") {
        if !path.text().starts_with('/') {
            let shown = json!(path.text());
            causes.push(Cause::invalid(path.path.as_str(), &shown, "must be an absolute path"));
        }
        for wrong in ["//", "/./", "/../", "%2f", "%2F"] {
            if path.text().contains(wrong) {
                causes.push(path.invalid(&format!("must not contain '{wrong}'")));
            }
        }
        for wrong in ["/..", "/."] {
            if path.text().ends_with(wrong) {
                causes.push(path.invalid(&format!("cannot end with '{wrong}'")));
            }
        }
    } else if kind.text() == "ImplementationSpecific"
        && !path.is_empty()
        && !path.text().starts_with('/')
    {
        causes.push(path.invalid("must be an absolute path"));
    }
    backend(&entry.at("backend"), causes);
}

fn backend(backend: &Place<'_>, causes: &mut Vec<Cause>) {
    let (service, resource) = (backend.at("service"), backend.at("resource"));
    if service.is_there() && resource.is_there() {
        causes.push(backend.invalid_unshown("cannot set both resource and service backends"));
        return;
    }
    if resource.is_there() {
        resource.at("kind").required(causes);
        resource.at("name").required(causes);
        return;
    }
    if !service.is_there() {
        causes.push(backend.invalid_unshown("resource or service backend is required"));
        return;
    }
    service.at("name").required(causes);
    let (name, number) = (service.at("port").at("name"), service.at("port").at("number"));
    let has_number = !matches!(number.integer(), None | Some(0));
    match (name.is_empty(), has_number) {
        (true, false) => causes.push(backend.missing("port name or number is required")),
        (false, true) => {
            causes.push(backend.invalid_unshown("cannot set both port name & port number"));
        }
        (false, false) => name.port_name(causes),
        (true, true) => number.port(causes),
    }
}

/// What is wrong with a network policy.
pub(super) fn policy(spec: &Place<'_>, causes: &mut Vec<Cause>) {
    spec.at("podSelector").selector(causes);
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for rule in spec.at(direction).each() {
            for port in rule.at("ports").each() {
                port.at("protocol").choice(&["TCP", "UDP", "SCTP"], causes);
                if port.has("port") {
                    port.at("port").port_or_name(causes);
                }
            }
            for peer in rule.at(peers).each() {
                self::peer(&peer, causes);
            }
        }
    }
    let types = spec.at("policyTypes");
    if types.value.as_array().is_some_and(|types| types.len() > 2) {
        causes.push(types.invalid("may not specify more than two policyTypes"));
        return;
    }
    for kind in types.each() {
        kind.choice(&["Ingress", "Egress"], causes);
    }
}

fn peer(peer: &Place<'_>, causes: &mut Vec<Cause>) {
    let selectors = ["podSelector", "namespaceSelector"];
    let count = selectors.into_iter().filter(|name| peer.has(name)).count();
    for name in selectors {
        peer.at(name).selector(causes);
    }
    if !peer.has("ipBlock") {
        if count == 0 {
            causes.push(peer.missing("must specify a peer"));
        }
        return;
    }
    if count > 0 {
        causes.push(peer.forbidden("may not specify both ipBlock and another peer"));
    }
    let block = peer.at("ipBlock").at("cidr");
    if block.is_empty() {
        causes.push(block.missing(""));
        return;
    }
    let Some(outer) = network(block.text()) else {
        causes.push(block.invalid("not a valid CIDR"));
        return;
    };
    for except in peer.at("ipBlock").at("except").each() {
        match network(except.text()) {
            None => causes.push(except.invalid("not a valid CIDR")),
            Some(inner) if !is_within(outer, inner) => {
                causes.push(except.invalid("must be a strict subset of `cidr`"));
            }
            Some(_) => {}
        }
    }
}
