//! The rules of Services and of what is behind them.

use std::collections::BTreeSet;

use serde_json::json;

use super::place::{Place, network};
use crate::status::Cause;

/// What is wrong with a Service.
pub(super) fn service(spec: &Place<'_>, causes: &mut Vec<Cause>) {
    let kind = spec.at("type").text();
    let address = spec.at("clusterIP");
    let is_headless = address.text() == "None";
    if spec.at("ports").is_empty() && kind != "ExternalName" && !is_headless {
        causes.push(spec.at("ports").missing(""));
    }
    spec.at("type").choice(&["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"], causes);
    let addresses = Place::new(address.value, spec.path_of("clusterIPs[0]"));
    if kind != "ExternalName" && !address.is_empty() && !is_headless {
        addresses.address(causes);
    }
    if kind == "LoadBalancer" && is_headless {
        causes.push(addresses.invalid("may not be set to 'None' for LoadBalancer services"));
    }
    if kind == "NodePort" && is_headless {
        causes.push(addresses.invalid("may not be set to 'None' for NodePort services"));
    }
    let outer = spec.at("externalName");
    if kind == "ExternalName" {
        if outer.is_empty() {
            causes.push(outer.missing(""));
        } else {
            let name = json!(outer.text().trim_end_matches('.'));
            Place::new(&name, outer.path.as_str()).subdomain(causes);
        }
    }
    spec.at("selector").labels(causes);
    affinity(spec, causes);
    for address in spec.at("externalIPs").each() {
        address.outer_address(causes);
    }
    ports(spec, kind, causes);
    outside(spec, kind, causes);
}

fn affinity(spec: &Place<'_>, causes: &mut Vec<Cause>) {
    spec.at("sessionAffinity").choice(&["ClientIP", "None"], causes);
    let seconds = spec.at("sessionAffinityConfig").at("clientIP").at("timeoutSeconds");
    if spec.at("sessionAffinity").text() == "ClientIP"
        && seconds.integer().is_some_and(|seconds| !(1..=86_400).contains(&seconds))
    {
        causes.push(seconds.invalid("must be greater than 0 and less than 86400"));
    }
}

fn ports(spec: &Place<'_>, kind: &str, causes: &mut Vec<Cause>) {
    let all: Vec<Place<'_>> = spec.at("ports").each().collect();
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for port in &all {
        let name = port.at("name");
        if name.is_empty() {
            if all.len() > 1 {
                causes.push(name.missing(""));
            }
        } else {
            name.label(causes);
            if !names.insert(name.text()) {
                causes.push(name.duplicate());
            }
        }
        port.at("port").port(causes);
        port.at("protocol").choice(&["SCTP", "TCP", "UDP"], causes);
        if port.has("targetPort") {
            port.at("targetPort").port_or_name(causes);
        }
        let node = port.at("nodePort");
        if kind == "ClusterIP" && !matches!(node.integer(), None | Some(0)) {
            causes.push(node.forbidden("may not be used when `type` is 'ClusterIP'"));
        }
        let protocol = port.at("protocol").text();
        if !numbers.insert((port.at("port").integer(), protocol)) {
            let shown = json!({"port": port.at("port").value, "protocol": protocol});
            causes.push(Cause::duplicate(port.path.as_str(), &shown));
        }
    }
}

/// What counts only for those who come from outside.
fn outside(spec: &Place<'_>, kind: &str, causes: &mut Vec<Cause>) {
    let ranges = Place::new(
        spec.at("loadBalancerSourceRanges").value,
        spec.path_of("LoadBalancerSourceRanges"),
    );
    if !ranges.is_empty() {
        if kind == "LoadBalancer" {
            let texts: Vec<&str> =
                ranges.each().map(|range| range.value.as_str().unwrap_or_default()).collect();
            if texts.iter().any(|text| network(text.trim()).is_none()) {
                let shown = json!(format!("[{}]", texts.join(" ")));
                let why = "must be a list of IP ranges. For example, 10.240.0.0/24,10.250.0.0/24 ";
                causes.push(Cause::invalid(ranges.path.as_str(), &shown, why));
            }
        } else {
            causes.push(ranges.forbidden("may only be used when `type` is 'LoadBalancer'"));
        }
    }
    let policy = spec.at("externalTrafficPolicy");
    let is_outside = matches!(kind, "NodePort" | "LoadBalancer");
    if !policy.is_empty() && !is_outside {
        let why = "ExternalTrafficPolicy can only be set on NodePort and LoadBalancer service";
        causes.push(policy.invalid(why));
    } else if !matches!(policy.text(), "" | "Cluster" | "Local") {
        causes.push(policy.invalid("ExternalTrafficPolicy must be empty, Cluster or Local"));
    }
    let check = spec.at("healthCheckNodePort");
    let has_check = kind == "LoadBalancer" && policy.text() == "Local";
    if !matches!(check.integer(), None | Some(0)) && !has_check {
        let why = "HealthCheckNodePort can only be set on LoadBalancer service with ExternalTrafficPolicy=Local";
        causes.push(check.invalid(why));
    }
}

/// What is wrong with Endpoints.
pub(super) fn endpoints(whole: &Place<'_>, causes: &mut Vec<Cause>) {
    for subset in whole.at("subsets").each() {
        if subset.at("addresses").is_empty() && subset.at("notReadyAddresses").is_empty() {
            causes.push(subset.missing("must specify `addresses` or `notReadyAddresses`"));
        }
        for list in ["addresses", "notReadyAddresses"] {
            for address in subset.at(list).each() {
                let ip = address.at("ip");
                ip.outer_address(causes);
                // The real server tells it a second time, in fewer words.
                if ip.text().parse::<std::net::IpAddr>().is_err() {
                    causes.push(ip.invalid("must be a valid IP address"));
                }
            }
        }
        let ports: Vec<Place<'_>> = subset.at("ports").each().collect();
        for port in &ports {
            let name = port.at("name");
            if ports.len() > 1 {
                name.required(causes);
            }
            if !name.is_empty() {
                name.label(causes);
            }
            port.at("port").port(causes);
            port.at("protocol").choice(&["SCTP", "TCP", "UDP"], causes);
        }
    }
}
