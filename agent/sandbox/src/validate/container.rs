//! The rules of containers.

use std::collections::BTreeSet;

use super::place::Place;
use super::size;
use crate::quantity;
use crate::status::Cause;

const VARIABLE: &str = "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and must not start with a digit (e.g. 'my.env-name',  or 'MY_ENV.NAME',  or 'MyEnvName1', regex used for validation is '[-._a-zA-Z][-._a-zA-Z0-9]*')";

/// What a container may lean on.
pub(super) struct Pod<'a> {
    /// The names of the volumes.
    pub(super) volumes: BTreeSet<&'a str>,
    /// Whether it has the network of its node.
    pub(super) is_on_host: bool,
}

/// What is wrong with a container.
pub(super) fn check(container: &Place<'_>, pod: &Pod<'_>, causes: &mut Vec<Cause>) {
    let name = container.at("name");
    if name.is_empty() {
        causes.push(name.missing(""));
    } else {
        name.label(causes);
    }
    let image = container.at("image");
    if image.is_empty() {
        causes.push(image.missing(""));
    } else if image.text().trim() != image.text() {
        causes.push(image.invalid("must not have leading or trailing whitespace"));
    }
    container.at("imagePullPolicy").choice(&["Always", "IfNotPresent", "Never"], causes);
    container.at("terminationMessagePolicy").choice(&["FallbackToLogsOnError", "File"], causes);
    ports(container, pod, causes);
    for variable in container.at("env").each() {
        self::variable(&variable, causes);
    }
    many_variables(container, causes);
    mounts(container, pod, causes);
    resources(container, causes);
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if container.has(name) {
            probe(&container.at(name), name != "readinessProbe", causes);
        }
    }
    for name in ["postStart", "preStop"] {
        let hook = container.at("lifecycle").at(name);
        if hook.is_there() {
            action(&hook, &["exec", "httpGet", "tcpSocket", "sleep"], causes);
        }
    }
    let security = container.at("securityContext");
    for id in ["runAsUser", "runAsGroup"] {
        security.at(id).between(0, i64::from(i32::MAX), causes);
    }
    let escalates = security.at("allowPrivilegeEscalation").value.as_bool();
    if security.at("privileged").is_true() && escalates == Some(false) {
        let why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
        causes.push(security.invalid(why));
    }
    seccomp(&security, causes);
}

/// Which system calls are let through.
pub(super) fn seccomp(security: &Place<'_>, causes: &mut Vec<Cause>) {
    let profile = security.at("seccompProfile");
    profile.at("type").choice(&["Localhost", "RuntimeDefault", "Unconfined"], causes);
    let file = profile.at("localhostProfile");
    match profile.at("type").text() {
        "Localhost" if file.is_empty() => {
            causes.push(file.missing("must be set when seccomp type is Localhost"));
        }
        "RuntimeDefault" | "Unconfined" if file.is_there() => {
            causes.push(file.invalid("can only be set when seccomp type is Localhost"));
        }
        _ => {}
    }
}

fn ports(container: &Place<'_>, pod: &Pod<'_>, causes: &mut Vec<Cause>) {
    let mut names = BTreeSet::new();
    for port in container.at("ports").each() {
        let name = port.at("name");
        if !name.is_empty() {
            let before = causes.len();
            name.port_name(causes);
            if causes.len() == before && !names.insert(name.text()) {
                causes.push(name.duplicate());
            }
        }
        let number = port.at("containerPort");
        if matches!(number.integer(), None | Some(0)) {
            causes.push(number.missing(""));
        } else {
            number.port(causes);
        }
        let outside = port.at("hostPort");
        if !matches!(outside.integer(), None | Some(0)) {
            outside.port(causes);
        }
        if pod.is_on_host && outside.integer() != number.integer() {
            causes.push(number.invalid("must match `hostPort` when `hostNetwork` is true"));
        }
        port.at("protocol").choice(&["SCTP", "TCP", "UDP"], causes);
    }
}

/// Two containers of a pod do not share a port of its node.
pub(super) fn ports_of_host(containers: &[Place<'_>], causes: &mut Vec<Cause>) {
    let mut taken = BTreeSet::new();
    for port in containers.iter().flat_map(|container| container.at("ports").each()) {
        let number = port.at("hostPort").integer().unwrap_or_default();
        let text = |name: &str| port.at(name).text();
        let shown = format!("{}/{}/{number}", text("protocol"), text("hostIP"));
        if number != 0 && !taken.insert(shown.clone()) {
            causes.push(Cause::duplicate(port.path_of("hostPort"), &shown.into()));
        }
    }
}

fn variable(variable: &Place<'_>, causes: &mut Vec<Cause>) {
    let name = variable.at("name");
    if name.is_empty() {
        causes.push(name.missing(""));
    } else if !is_variable(name.text()) {
        causes.push(name.invalid(VARIABLE));
    }
    if variable.has("valueFrom") {
        source(&variable.at("valueFrom"), !variable.at("value").is_empty(), causes);
    }
}

fn is_variable(name: &str) -> bool {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    name.bytes().all(is_known) && !name.starts_with(|first: char| first.is_ascii_digit())
}

/// Where the value of a variable comes from.
fn source(source: &Place<'_>, has_value: bool, causes: &mut Vec<Cause>) {
    const FIELDS: [&str; 8] = [
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.serviceAccountName",
        "status.hostIP",
        "status.podIP",
        "status.podIPs",
    ];
    const AMOUNTS: [&str; 6] = [
        "limits.cpu",
        "limits.ephemeral-storage",
        "limits.memory",
        "requests.cpu",
        "requests.ephemeral-storage",
        "requests.memory",
    ];
    let kinds = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef"];
    let count = kinds.into_iter().filter(|kind| source.has(kind)).count();
    if count == 0 {
        causes.push(source.invalid_unshown(
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
        ));
    } else if has_value {
        causes.push(source.invalid_unshown("may not be specified when `value` is not empty"));
    } else if count > 1 {
        causes.push(source.invalid_unshown("may not have more than one field specified at a time"));
    }
    if source.has("fieldRef") {
        let field = source.at("fieldRef").at("fieldPath");
        let is_known = |path: &str| {
            let maps = ["metadata.annotations", "metadata.labels"];
            let others = ["spec.restartPolicy", "spec.schedulerName", "status.phase"];
            FIELDS.contains(&path) || maps.contains(&path) || others.contains(&path)
        };
        let path = field.text();
        if path.is_empty() {
            causes.push(field.missing(""));
        } else if path.contains("['") {
            // One of the labels or annotations.
        } else if is_known(path) {
            field.choice(&FIELDS, causes);
        } else {
            let why = format!("error converting fieldPath: field label not supported: {path}");
            causes.push(field.invalid(&why));
        }
    }
    if source.has("resourceFieldRef") {
        let amount = source.at("resourceFieldRef").at("resource");
        amount.required(causes);
        amount.choice(&AMOUNTS, causes);
    }
    for kind in ["configMapKeyRef", "secretKeyRef"].into_iter().filter(|kind| source.has(kind)) {
        source.at(kind).at("key").required(causes);
        of_object(&source.at(kind).at("name"), causes);
    }
}

/// The name of a ConfigMap or Secret; an empty one is no name.
fn of_object(name: &Place<'_>, causes: &mut Vec<Cause>) {
    let given = serde_json::Value::from(name.text());
    Place::new(&given, name.path.as_str()).subdomain(causes);
}

/// Variables that are all keys of something. The real server leaves the entry out of some paths.
fn many_variables(container: &Place<'_>, causes: &mut Vec<Cause>) {
    let all = container.at("envFrom");
    for entry in all.each() {
        let kinds = ["configMapRef", "secretRef"];
        let there: Vec<_> = kinds.into_iter().filter(|kind| entry.has(kind)).collect();
        match there.len() {
            0 => causes
                .push(all.invalid_unshown("must specify one of: `configMapRef` or `secretRef`")),
            1 => {}
            _ => causes
                .push(all.invalid_unshown("may not have more than one field specified at a time")),
        }
        for kind in there {
            entry.at(kind).at("name").required(causes);
        }
        let prefix = entry.at("prefix");
        if !prefix.is_empty() && !is_variable(prefix.text()) {
            causes.push(prefix.invalid(VARIABLE));
        }
    }
}

fn mounts(container: &Place<'_>, pod: &Pod<'_>, causes: &mut Vec<Cause>) {
    let all = container.at("volumeMounts");
    let mut paths = BTreeSet::new();
    for mount in all.each() {
        let name = mount.at("name");
        name.required(causes);
        if !pod.volumes.contains(name.text()) {
            causes.push(Cause::not_found(name.path.as_str(), &name.text().into()));
        }
        let path = mount.at("mountPath");
        if path.is_empty() {
            causes.push(path.missing(""));
        } else if !paths.insert(path.text()) {
            causes.push(path.invalid("must be unique"));
        }
        // The real server leaves the entry out of these paths.
        let of_all = |name: &str| Place::new(mount.at(name).value, all.path_of(name));
        of_all("subPath").path_below(causes);
        of_all("subPathExpr").path_below(causes);
        of_all("mountPropagation").choice(&["Bidirectional", "HostToContainer", "None"], causes);
        if !mount.at("subPath").is_empty() && !mount.at("subPathExpr").is_empty() {
            let why = "subPathExpr and subPath are mutually exclusive";
            causes.push(mount.at("subPathExpr").invalid(why));
        }
    }
}

fn resources(container: &Place<'_>, causes: &mut Vec<Cause>) {
    let resources = container.at("resources");
    let (limits, requests) = (resources.at("limits"), resources.at("requests"));
    let named = limits.entries().chain(requests.entries());
    let (mut is_small, mut is_huge) = (false, false);
    for (name, amount) in named {
        is_small |= matches!(name, "cpu" | "memory");
        is_huge |= name.starts_with("hugepages-");
        resource_name(name, &amount, causes);
        amount_of(name, &amount, causes);
    }
    if is_huge && !is_small {
        causes.push(resources.forbidden("HugePages require cpu or memory"));
    }
    for (name, asked) in requests.entries() {
        let limit = limits.at(name);
        if !limit.is_there() {
            if !is_overcommitted(name) {
                let why = "Limit must be set for non overcommitable resources";
                causes.push(limits.missing(why));
            }
            continue;
        }
        let milli = |place: &Place<'_>| quantity::milli(place.text()).unwrap_or_default();
        let shown = limit.text();
        if !is_overcommitted(name) && milli(&asked) != milli(&limit) {
            let why = format!("must be equal to {name} limit of {shown}");
            causes.push(Cause::invalid(requests.path.as_str(), asked.value, &why));
        } else if milli(&asked) > milli(&limit) {
            let why = format!("must be less than or equal to {name} limit of {shown}");
            causes.push(Cause::invalid(requests.path.as_str(), asked.value, &why));
        }
    }
}

/// Whether more may be promised than there is.
fn is_overcommitted(name: &str) -> bool {
    !name.contains('/') && !name.starts_with("hugepages-")
}

fn resource_name(name: &str, amount: &Place<'_>, causes: &mut Vec<Cause>) {
    const OF_CONTAINERS: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
    if name.contains('/') || name.starts_with("hugepages-") || OF_CONTAINERS.contains(&name) {
        return;
    }
    let invalid = |why: &str| Cause::invalid(amount.path.as_str(), &name.into(), why);
    let is_standard = matches!(name, "storage" | "limits.cpu") || size::COUNTED.contains(&name);
    if !is_standard {
        causes.push(invalid("must be a standard resource type or fully qualified"));
    }
    causes.push(invalid("must be a standard resource for containers"));
}

fn amount_of(name: &str, amount: &Place<'_>, causes: &mut Vec<Cause>) {
    let Some(milli) = quantity::milli(amount.text()) else { return };
    if milli < 0 {
        causes.push(amount.invalid("must be greater than or equal to 0"));
    }
    if name.contains('/') && milli % 1000 != 0 {
        let shown = serde_json::json!([amount.value]);
        causes.push(Cause::invalid(amount.path.as_str(), &shown, "must be an integer"));
    }
}

fn probe(probe: &Place<'_>, succeeds_once: bool, causes: &mut Vec<Cause>) {
    action(probe, &["exec", "httpGet", "tcpSocket", "grpc"], causes);
    for name in [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ] {
        probe.at(name).not_negative(causes);
    }
    let successes = probe.at("successThreshold");
    if succeeds_once && successes.integer().is_some_and(|count| count != 1) {
        causes.push(successes.invalid("must be 1"));
    }
}

/// What a probe or a hook does: one thing. Only the first of several is looked at.
fn action(handler: &Place<'_>, kinds: &[&str], causes: &mut Vec<Cause>) {
    let mut there = kinds.iter().filter(|kind| handler.has(kind));
    let Some(first) = there.next() else {
        causes.push(handler.missing("must specify a handler type"));
        return;
    };
    for more in there {
        causes.push(handler.at(more).forbidden("may not specify more than 1 handler type"));
    }
    let what = handler.at(first);
    match *first {
        "exec" => what.at("command").required(causes),
        "httpGet" => {
            what.at("path").required(causes);
            what.at("port").port_or_name(causes);
            what.at("scheme").choice(&["HTTP", "HTTPS"], causes);
        }
        "tcpSocket" => what.at("port").port_or_name(causes),
        "grpc" => what.at("port").port(causes),
        _ => {}
    }
}
