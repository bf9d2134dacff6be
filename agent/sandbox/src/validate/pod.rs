//! The rules of pods and pod templates.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{LABEL_1123, is_label, labels, port};
use crate::object::{list, map, text};
use crate::quantity;
use crate::status::Cause;

/// A template: labels and spec. `claims` are the volumes that its owner adds: a `StatefulSet` those of its claim templates.
pub(super) fn template(
    template: Option<&Value>,
    field: &str,
    claims: &[&str],
    causes: &mut Vec<Cause>,
) {
    let Some(template) = template else {
        causes.push(Cause::required(field, ""));
        return;
    };
    labels(map(template, "/metadata/labels"), &format!("{field}.metadata.labels"), causes);
    match template.get("spec") {
        Some(inner) => with_claims(inner, &format!("{field}.spec"), claims, causes),
        None => causes.push(Cause::required(format!("{field}.spec.containers"), "")),
    }
}

/// The spec of a pod.
pub(super) fn spec(spec: &Value, field: &str, causes: &mut Vec<Cause>) {
    with_claims(spec, field, &[], causes);
}

fn with_claims(spec: &Value, field: &str, claims: &[&str], causes: &mut Vec<Cause>) {
    let mut volumes = volumes(spec, field, causes);
    volumes.extend(claims);
    let containers = list(spec, "/containers");
    if containers.is_empty() {
        causes.push(Cause::required(format!("{field}.containers"), ""));
    }
    let mut names = BTreeSet::new();
    for (kind, containers) in
        [("containers", containers), ("initContainers", list(spec, "/initContainers"))]
    {
        for (index, inner) in containers.iter().enumerate() {
            let place = format!("{field}.{kind}[{index}]");
            container(inner, &place, &volumes, causes);
            let name = text(inner, "/name");
            if !name.is_empty() && !names.insert(name) {
                causes.push(Cause::duplicate(format!("{place}.name"), &name.into()));
            }
        }
    }
    choice(spec, "restartPolicy", field, &["Always", "OnFailure", "Never"], causes);
    choice(
        spec,
        "dnsPolicy",
        field,
        &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
        causes,
    );
    let grace = spec.get("terminationGracePeriodSeconds").and_then(Value::as_i64);
    if grace.is_some_and(|grace| grace < 0) {
        causes.push(Cause::invalid(
            format!("{field}.terminationGracePeriodSeconds"),
            &grace.into(),
            "must be greater than or equal to 0",
        ));
    }
    for (index, toleration) in list(spec, "/tolerations").iter().enumerate() {
        let place = format!("{field}.tolerations[{index}]");
        choice(
            toleration,
            "effect",
            &place,
            &["NoSchedule", "PreferNoSchedule", "NoExecute"],
            causes,
        );
        choice(toleration, "operator", &place, &["Equal", "Exists"], causes);
        if text(toleration, "/key").is_empty() && text(toleration, "/operator") != "Exists" {
            let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            causes.push(Cause::invalid(
                format!("{place}.operator"),
                &text(toleration, "/operator").into(),
                why,
            ));
        }
    }
}

fn volumes<'a>(spec: &'a Value, field: &str, causes: &mut Vec<Cause>) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    for (index, volume) in list(spec, "/volumes").iter().enumerate() {
        let place = format!("{field}.volumes[{index}]");
        let name = text(volume, "/name");
        if name.is_empty() {
            causes.push(Cause::required(format!("{place}.name"), ""));
        } else if !is_label(name) {
            causes.push(Cause::invalid(format!("{place}.name"), &name.into(), LABEL_1123));
        } else if !names.insert(name) {
            causes.push(Cause::duplicate(format!("{place}.name"), &name.into()));
        }
        let sources = volume.as_object().map_or(0, |volume| volume.len().saturating_sub(1));
        if sources > 1 {
            for (source, _) in
                volume.as_object().into_iter().flatten().filter(|(key, _)| *key != "name").skip(1)
            {
                causes.push(Cause::forbidden(
                    format!("{place}.{source}"),
                    "may not specify more than 1 volume type",
                ));
            }
        }
    }
    names
}

#[expect(clippy::too_many_lines, reason = "one block for each field")]
fn container(container: &Value, place: &str, volumes: &BTreeSet<&str>, causes: &mut Vec<Cause>) {
    let name = text(container, "/name");
    if name.is_empty() {
        causes.push(Cause::required(format!("{place}.name"), ""));
    } else if !is_label(name) || name.len() > 63 {
        causes.push(Cause::invalid(format!("{place}.name"), &name.into(), LABEL_1123));
    }
    let image = text(container, "/image");
    if image.is_empty() {
        causes.push(Cause::required(format!("{place}.image"), ""));
    } else if image.trim() != image {
        let why = "must not have leading or trailing whitespace";
        causes.push(Cause::invalid(format!("{place}.image"), &image.into(), why));
    }
    choice(container, "imagePullPolicy", place, &["Always", "IfNotPresent", "Never"], causes);
    let mut port_names = BTreeSet::new();
    for (index, inner) in list(container, "/ports").iter().enumerate() {
        let at = format!("{place}.ports[{index}]");
        port(
            inner.get("containerPort").and_then(Value::as_i64),
            &format!("{at}.containerPort"),
            causes,
        );
        choice(inner, "protocol", &at, &["SCTP", "TCP", "UDP"], causes);
        let name = text(inner, "/name");
        if name.len() > 15 {
            causes.push(Cause::invalid(
                format!("{at}.name"),
                &name.into(),
                "must be no more than 15 characters",
            ));
        }
        if !name.is_empty() && !port_names.insert(name) {
            causes.push(Cause::duplicate(format!("{at}.name"), &name.into()));
        }
    }
    for (index, variable) in list(container, "/env").iter().enumerate() {
        let at = format!("{place}.env[{index}]");
        if text(variable, "/name").is_empty() {
            causes.push(Cause::required(format!("{at}.name"), ""));
        }
        if let Some(from) = variable.get("valueFrom") {
            if !text(variable, "/value").is_empty() {
                let why = "may not be specified when `value` is not empty";
                causes.push(Cause::invalid(format!("{at}.valueFrom"), &"".into(), why));
            }
            if from.as_object().is_none_or(serde_json::Map::is_empty) {
                let why = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`";
                causes.push(Cause::invalid(format!("{at}.valueFrom"), &"".into(), why));
            }
        }
    }
    let mut paths = BTreeSet::new();
    for (index, mount) in list(container, "/volumeMounts").iter().enumerate() {
        let at = format!("{place}.volumeMounts[{index}]");
        let name = text(mount, "/name");
        if name.is_empty() {
            causes.push(Cause::required(format!("{at}.name"), ""));
        } else if !volumes.contains(name) {
            causes.push(Cause::not_found(format!("{at}.name"), &name.into()));
        }
        let path = text(mount, "/mountPath");
        if path.is_empty() {
            causes.push(Cause::required(format!("{at}.mountPath"), ""));
        } else if !paths.insert(path) {
            causes.push(Cause::invalid(format!("{at}.mountPath"), &path.into(), "must be unique"));
        }
    }
    resources(container, place, causes);
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(inner) = container.get(probe) {
            let actions = ["httpGet", "tcpSocket", "exec", "grpc"];
            let count = actions.iter().filter(|action| inner.get(**action).is_some()).count();
            if count == 0 {
                causes.push(Cause::required(
                    format!("{place}.{probe}"),
                    "must specify a handler type",
                ));
            }
            if probe != "readinessProbe"
                && inner
                    .get("successThreshold")
                    .and_then(Value::as_i64)
                    .is_some_and(|count| count != 1)
            {
                let given = inner.get("successThreshold").cloned().unwrap_or_default();
                causes.push(Cause::invalid(
                    format!("{place}.{probe}.successThreshold"),
                    &given,
                    "must be 1",
                ));
            }
        }
    }
}

fn resources(container: &Value, place: &str, causes: &mut Vec<Cause>) {
    let limits = map(container, "/resources/limits");
    for (name, request) in map(container, "/resources/requests").into_iter().flatten() {
        let milli = |value: &Value| value.as_str().and_then(quantity::milli);
        if milli(request).is_some_and(|request| request < 0) {
            let at = format!("{place}.resources.requests[{name}]");
            causes.push(Cause::invalid(at, request, "must be greater than or equal to 0"));
        }
        let Some(limit) = limits.and_then(|limits| limits.get(name)) else { continue };
        if let (Some(asked), Some(most)) = (milli(request), milli(limit))
            && asked > most
        {
            let shown = limit.as_str().unwrap_or_default();
            causes.push(Cause::invalid(
                format!("{place}.resources.requests"),
                request,
                &format!("must be less than or equal to {name} limit of {shown}"),
            ));
        }
    }
}

/// A field that has one of a few values; absent is fine.
pub(super) fn choice(
    value: &Value,
    name: &str,
    field: &str,
    choices: &[&str],
    causes: &mut Vec<Cause>,
) {
    let given = text(value, &format!("/{name}"));
    if !given.is_empty() && !choices.contains(&given) {
        let place = if field.is_empty() { name.to_owned() } else { format!("{field}.{name}") };
        causes.push(Cause::unsupported(place, &given.into(), choices));
    }
}
