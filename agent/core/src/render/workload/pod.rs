//! The pod template of an app.

use serde_json::{Map, Value, json};
use tidegate_schema::app::{AppKind, DnsPolicy, Probe, Volume};
use tidegate_schema::scalar::Duration;

use super::{resources, scheduling};
use crate::digest::Digest;
use crate::render::app::component;
use crate::render::config;
use crate::render::network::protocol;
use crate::render::scope::{Scope, drop_nulls};
use crate::site::{EnvValue, PlacedApp};

/// What the pods of an app that is offline are called by the label `app.kubernetes.io/component`: its Services do not select
/// them, its workload and its budget do.
const OFFLINE: &str = "offline";

/// The pod template of an app. Jobs put their own restart policy over it.
///
/// While the app is offline its pods keep everything (name, place, resources, volumes, settings) but what they run.
pub(in crate::render) fn pod_template(scope: &Scope<'_>, app: &PlacedApp) -> Value {
    template(scope, app, app.idle.as_deref())
}

/// The same as if no operation had taken it offline.
pub(in crate::render) fn pod_template_online(scope: &Scope<'_>, app: &PlacedApp) -> Value {
    template(scope, app, None)
}

fn template(scope: &Scope<'_>, app: &PlacedApp, idle: Option<&str>) -> Value {
    let own = app.app.name.as_str();
    let mut spec = json!({
        "serviceAccountName": app.member.as_ref().map_or(own, |member| &member.app),
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds":
            app.app.termination_grace_period.map_or(30, Duration::seconds),
        "dnsPolicy": dns_policy(app),
        "hostNetwork": app.app.host_network.then_some(true),
        "securityContext": security_context(app),
        "containers": [container(scope, app, idle)],
        "volumes": volumes(app),
    });
    if let Value::Object(map) = &mut spec {
        map.extend(scheduling::fields(scope, app));
    }
    let mut template = json!({
        "metadata": {
            "labels": scope.pod_labels(app, idle.map_or(component(app.app.kind), |_| OFFLINE)),
            "annotations": {"tidegate.dev/inputs": inputs(app)},
        },
        "spec": spec,
    });
    drop_nulls(&mut template);
    template
}

/// The digest of files and of the references to secrets, so that changing them restarts pods in groups.
fn inputs(app: &PlacedApp) -> Digest {
    let secrets: Vec<_> = app
        .env
        .iter()
        .filter_map(|(name, value)| match value {
            EnvValue::Secret(reference) => Some((name, reference)),
            EnvValue::Text(_) => None,
        })
        .collect();
    Digest::of(&(&app.files, secrets, &app.app.certificates))
}

fn container(scope: &Scope<'_>, app: &PlacedApp, idle: Option<&str>) -> Value {
    let env: Vec<Value> = app
        .env
        .iter()
        .map(|(name, value)| match value {
            EnvValue::Text(text) => json!({"name": name, "value": text}),
            EnvValue::Secret(reference) => json!({
                "name": name,
                "valueFrom": {"secretKeyRef": {"name": reference.name, "key": reference.key}},
            }),
        })
        .collect();
    let ports: Vec<Value> = app
        .app
        .ports
        .iter()
        .map(|port| {
            json!({
                "name": port.name, "containerPort": port.port, "protocol": protocol(port.protocol),
                // On the node's network both are the same, and the server would fill it in.
                "hostPort": app.app.host_network.then_some(port.port),
            })
        })
        .collect();
    // What runs while it is offline answers no probe, and knows no command.
    let is_online = idle.is_none();
    let probes = app.app.probes.clone().filter(|_| is_online).unwrap_or_default();
    let mounts = mounts(app);
    json!({
        "name": app.app.name,
        "image": scope.running_image(app, idle),
        "imagePullPolicy": "IfNotPresent",
        "command": (is_online && !app.command.is_empty()).then_some(&app.command),
        "args": (is_online && !app.args.is_empty()).then_some(&app.args),
        "env": (!env.is_empty()).then_some(env),
        "ports": (!ports.is_empty()).then_some(ports),
        "resources": resources::resources(app),
        "startupProbe": probes.startup.as_ref().map(probe),
        "livenessProbe": probes.liveness.as_ref().map(probe),
        "readinessProbe": probes.readiness.as_ref().map(probe),
        "volumeMounts": (!mounts.is_empty()).then_some(mounts),
    })
}

fn probe(probe: &Probe) -> Value {
    json!({
        "httpGet": probe.http.as_ref().map(|http| {
            json!({"path": http.path, "port": http.port, "scheme": "HTTP"})
        }),
        "tcpSocket": probe.tcp.as_ref().map(|tcp| json!({"port": tcp.port})),
        "exec": probe.exec.as_ref().map(|exec| json!({"command": exec.command})),
        "initialDelaySeconds": probe.initial_delay_seconds,
        "periodSeconds": probe.period_seconds.unwrap_or(10),
        "timeoutSeconds": probe.timeout_seconds.unwrap_or(1),
        "successThreshold": 1,
        "failureThreshold": probe.failure_threshold.unwrap_or(3),
    })
}

fn dns_policy(app: &PlacedApp) -> DnsPolicy {
    let usual = if app.app.host_network {
        DnsPolicy::ClusterFirstWithHostNet
    } else {
        DnsPolicy::ClusterFirst
    };
    app.app.dns_policy.unwrap_or(usual)
}

/// The user, and the owner of volumes as the group of their files: the only owner that Kubernetes sets by itself.
fn security_context(app: &PlacedApp) -> Option<Value> {
    let owner = app.app.volumes.iter().find_map(|volume| volume.owner);
    if app.app.run_as_user.is_none() && owner.is_none() {
        return None;
    }
    Some(json!({
        "runAsUser": app.app.run_as_user,
        "fsGroup": owner,
        "fsGroupChangePolicy": owner.map(|_| "OnRootMismatch"),
    }))
}

/// Volumes of the pod; those that are kept come from the claims of the `StatefulSet`.
fn volumes(app: &PlacedApp) -> Option<Vec<Value>> {
    let is_temporary =
        |volume: &&Volume| volume.size.is_none() || app.app.kind != AppKind::Standard;
    let temporary = app.app.volumes.iter().filter(is_temporary);
    let mut volumes: Vec<Value> =
        temporary.map(|volume| json!({"name": volume.name, "emptyDir": {}})).collect();
    if let Some(name) = config::name(app) {
        volumes.push(json!({"name": "files", "configMap": {"name": name, "defaultMode": 0o644}}));
    }
    for (index, certificate) in app.app.certificates.iter().enumerate() {
        volumes.push(json!({
            "name": format!("certificate-{index}"),
            "secret": {"secretName": certificate.secret, "defaultMode": 0o644},
        }));
    }
    (!volumes.is_empty()).then_some(volumes)
}

fn mounts(app: &PlacedApp) -> Vec<Value> {
    let volumes = app.app.volumes.iter();
    let mut mounts: Vec<Value> = volumes
        .map(|volume| {
            Value::Object(Map::from_iter([
                ("name".to_owned(), json!(volume.name)),
                ("mountPath".to_owned(), json!(volume.path)),
            ]))
        })
        .collect();
    mounts.extend(config::mounts(app));
    for (index, certificate) in app.app.certificates.iter().enumerate() {
        mounts.push(json!({
            "name": format!("certificate-{index}"), "mountPath": certificate.path, "readOnly": true,
        }));
    }
    mounts
}
