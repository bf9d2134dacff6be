//! The rules of pods and pod templates.

use std::collections::BTreeSet;

use super::place::Place;
use super::selector::expressions_of_nodes;
use super::{container, volume};
use crate::status::Cause;

/// A template: labels and spec. `claims` are the volumes that its owner adds: a `StatefulSet` those of its claim templates.
pub(super) fn template(template: &Place<'_>, causes: &mut Vec<Cause>) {
    metadata(template, causes);
    spec(&template.at("spec"), causes);
}

/// The metadata of a template. The real server leaves a step out of the paths.
pub(super) fn metadata(template: &Place<'_>, causes: &mut Vec<Cause>) {
    let metadata = template.at("metadata");
    Place::new(metadata.at("labels").value, template.path_of("labels")).labels(causes);
    Place::new(metadata.at("annotations").value, template.path_of("annotations"))
        .annotations(causes);
}

/// The spec of a pod.
pub(super) fn spec(spec: &Place<'_>, causes: &mut Vec<Cause>) {
    let pod = container::Pod {
        volumes: volume::of_pod(&spec.at("volumes"), causes),
        is_on_host: spec.at("hostNetwork").is_true(),
    };
    let containers = spec.at("containers");
    containers.required(causes);
    let mut names = BTreeSet::new();
    for all in [containers, spec.at("initContainers")] {
        for inner in all.each() {
            container::check(&inner, &pod, causes);
            let name = inner.at("name");
            if !name.is_empty() && !names.insert(name.text()) {
                causes.push(name.duplicate());
            }
        }
        container::ports_of_host(&all.each().collect::<Vec<_>>(), causes);
    }
    settings(spec, causes);
    security(spec, causes);
    tolerations(&spec.at("tolerations"), causes);
    affinity(&spec.at("affinity"), causes);
    spread(&spec.at("topologySpreadConstraints"), causes);
}

fn settings(spec: &Place<'_>, causes: &mut Vec<Cause>) {
    spec.at("restartPolicy").choice(&["Always", "OnFailure", "Never"], causes);
    let names = spec.at("dnsPolicy");
    names.choice(&["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"], causes);
    let servers = spec.at("dnsConfig");
    if names.text() == "None" {
        if !servers.is_there() {
            let why = "must provide `dnsConfig` when `dnsPolicy` is None";
            causes.push(servers.missing(why));
        } else if servers.at("nameservers").is_empty() {
            let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            causes.push(servers.at("nameservers").missing(why));
        }
    }
    spec.at("activeDeadlineSeconds").between(1, i64::from(i32::MAX), causes);
    spec.at("nodeSelector").labels(causes);
    for name in ["serviceAccountName", "nodeName", "priorityClassName", "runtimeClassName"] {
        if !spec.at(name).is_empty() {
            spec.at(name).subdomain(causes);
        }
    }
    for name in ["hostname", "subdomain"] {
        if !spec.at(name).is_empty() {
            spec.at(name).label(causes);
        }
    }
    // The real server leaves the entry out of these paths.
    let aliases = spec.at("hostAliases");
    for alias in aliases.each() {
        let address = Place::new(alias.at("ip").value, aliases.path_of("ip"));
        if address.text().parse::<std::net::IpAddr>().is_err() {
            causes.push(address.invalid("must be valid IP address"));
        }
        for name in alias.at("hostnames").each() {
            Place::new(name.value, aliases.path_of("hostnames")).subdomain(causes);
        }
    }
    for gate in spec.at("readinessGates").each() {
        gate.at("conditionType").qualified(causes);
    }
}

fn security(spec: &Place<'_>, causes: &mut Vec<Cause>) {
    let security = spec.at("securityContext");
    for id in ["runAsUser", "runAsGroup", "fsGroup"] {
        security.at(id).between(0, i64::from(i32::MAX), causes);
    }
    if spec.at("hostPID").is_true() && spec.at("shareProcessNamespace").is_true() {
        causes.push(Cause::invalid(
            security.path_of("shareProcessNamespace"),
            &true.into(),
            "ShareProcessNamespace and HostPID cannot both be enabled",
        ));
    }
    let mut names = BTreeSet::new();
    for setting in security.at("sysctls").each() {
        let name = setting.at("name");
        name.required(causes);
        if !name.is_empty() && !names.insert(name.text()) {
            causes.push(name.duplicate());
        }
    }
    security.at("fsGroupChangePolicy").choice(&["Always", "OnRootMismatch"], causes);
    container::seccomp(&security, causes);
}

fn tolerations(tolerations: &Place<'_>, causes: &mut Vec<Cause>) {
    for toleration in tolerations.each() {
        let (key, operator) = (toleration.at("key"), toleration.at("operator"));
        if !key.is_empty() {
            key.qualified(causes);
        }
        operator.choice(&["Equal", "Exists"], causes);
        if key.is_empty() && operator.text() != "Exists" {
            let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            causes.push(Cause::invalid(operator.path.as_str(), &operator.text().into(), why));
        }
        let effect = toleration.at("effect");
        if toleration.has("tolerationSeconds") && effect.text() != "NoExecute" {
            causes
                .push(effect.invalid("effect must be 'NoExecute' when `tolerationSeconds` is set"));
        }
        if operator.text() == "Exists" && !toleration.at("value").is_empty() {
            let why = "value must be empty when `operator` is 'Exists'";
            causes.push(Cause::invalid(operator.path.as_str(), toleration.value, why));
        }
        effect.choice(&["NoSchedule", "PreferNoSchedule", "NoExecute"], causes);
    }
}

fn affinity(affinity: &Place<'_>, causes: &mut Vec<Cause>) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    let nodes = affinity.at("nodeAffinity");
    if nodes.has(REQUIRED) {
        let terms = nodes.at(REQUIRED).at("nodeSelectorTerms");
        if terms.is_empty() {
            causes.push(terms.missing("must have at least one node selector term"));
        }
        for term in terms.each() {
            expressions_of_nodes(&term, causes);
        }
    }
    for wish in nodes.at(PREFERRED).each() {
        weight(&wish, causes);
        expressions_of_nodes(&wish.at("preference"), causes);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let pods = affinity.at(kind);
        for term in pods.at(REQUIRED).each() {
            pods_of(&term, causes);
        }
        for wish in pods.at(PREFERRED).each() {
            weight(&wish, causes);
            pods_of(&wish.at("podAffinityTerm"), causes);
        }
    }
}

fn weight(wish: &Place<'_>, causes: &mut Vec<Cause>) {
    let weight = wish.at("weight");
    if !(1..=100).contains(&weight.integer().unwrap_or_default()) {
        causes.push(weight.invalid("must be in the range 1-100"));
    }
}

fn pods_of(term: &Place<'_>, causes: &mut Vec<Cause>) {
    term.at("labelSelector").selector(causes);
    let place = term.at("topologyKey");
    if place.is_empty() {
        causes.push(place.missing("can not be empty"));
    }
    let given = serde_json::Value::from(place.text());
    Place::new(&given, place.path).qualified(causes);
}

fn spread(constraints: &Place<'_>, causes: &mut Vec<Cause>) {
    let mut known = BTreeSet::new();
    for constraint in constraints.each() {
        let skew = constraint.at("maxSkew");
        if skew.integer().unwrap_or_default() <= 0 {
            causes.push(skew.invalid("must be greater than zero"));
        }
        let place = constraint.at("topologyKey");
        if place.is_empty() {
            causes.push(place.missing("can not be empty"));
        }
        let way = constraint.at("whenUnsatisfiable");
        way.choice(&["DoNotSchedule", "ScheduleAnyway"], causes);
        let pair = (place.text(), way.text());
        if !known.insert(pair) {
            let shown = format!("{{{}, {}}}", pair.0, pair.1);
            let path = constraint.path_of("{topologyKey, whenUnsatisfiable}");
            causes.push(Cause::duplicate(path, &shown.into()));
        }
    }
}
