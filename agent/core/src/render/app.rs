//! An app: all its objects, and the unit that tasks and groups speak of.

use serde_json::{Value, json};
use tidegate_schema::app::{self, AppKind, Workload};
use tidegate_schema::scalar::{Duration, PortReference};

use crate::desired::{
    Asked, CelCheck, Check, ExecCheck, HttpCheck, Layer, PrometheusCheck, Question, Unit, UnitId,
    UnitKind,
};
use crate::digest::Digest;
use crate::object::ObjectRef;
use crate::render::scope::{Draft, Part, Scope};
use crate::render::{config, network, task, workload};
use crate::site::{PlacedApp, Placement};

/// The objects of an app; of a task or test also the Jobs that operations ask for.
pub(super) fn objects<'a>(
    scope: &'a Scope<'a>,
    placement: &Placement,
    app: &'a PlacedApp,
    asked: &'a [Asked],
) -> Vec<Draft<'a>> {
    // The instances of a scaling group are the same program: they have the rights of the product's own.
    let account = app.member.is_none().then(|| service_account(scope, app));
    let mut objects: Vec<_> = account.into_iter().collect();
    objects.extend(config::config_map(scope, app));
    if app.app.kind == AppKind::Standard {
        objects.extend(network::headless(scope, app));
        objects.extend(workload::budget(scope, app));
    }
    objects.push(main(scope, placement, app));
    if app.app.kind != AppKind::Standard {
        let own = asked.iter().filter(|asked| {
            let unit = &asked.unit;
            (unit.cluster.as_str(), &unit.product) == (scope.cluster, &scope.deployment.product)
                && app.app.name == *unit.app
        });
        let job = |asked: &'a Asked| task::job(scope, placement, app, Some(&asked.operation));
        objects.extend(own.map(job));
    }
    objects
}

/// What runs an app: its workload or Job.
fn main<'a>(scope: &'a Scope<'a>, placement: &Placement, app: &'a PlacedApp) -> Draft<'a> {
    match app.app.kind {
        AppKind::Standard => workload::workload(scope, app),
        AppKind::Task | AppKind::Test => task::job(scope, placement, app, None),
    }
}

/// The unit of an app, which tasks and groups speak of.
pub(super) fn unit(scope: &Scope<'_>, placement: &Placement, app: &PlacedApp) -> Unit {
    let template = workload::pod_template(scope, app);
    let workload = main(scope, placement, app).reference;
    let checks = if app.idle.is_none() { checks(scope, app, &workload) } else { Vec::new() };
    let request = |name: &str| {
        let pointer = format!("/spec/containers/0/resources/requests/{name}");
        template.pointer(&pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let used = app.used.iter();
    let is_here = |name: &&tidegate_schema::scalar::Name| {
        placement.apps.iter().any(|other| other.app.name == **name)
    };
    Unit {
        id: UnitId {
            cluster: scope.cluster.to_owned(),
            product: scope.deployment.product.clone(),
            app: app.app.name.to_string(),
        },
        scaling_group: app.member.as_ref().map(|member| member.group.clone()),
        solution: scope.deployment.solution.clone(),
        version: scope.deployment.version.to_string(),
        kind: unit_kind(app.app.kind),
        workload,
        image: scope.running_image(app, app.idle.as_deref()),
        replicas: app.replicas,
        cpu: request("cpu"),
        memory: request("memory"),
        inputs: inputs(&template),
        parameters: used
            .filter_map(|name| Some((name.clone(), app.parameters.get(name)?.shown())))
            .collect(),
        after: app.app.after.iter().filter(is_here).map(ToString::to_string).collect(),
        checks,
        offline: app.idle.is_some(),
    }
}

/// The digest of everything in a pod template but image, CPU and memory.
pub(super) fn inputs(template: &Value) -> Digest {
    let mut rest = template.clone();
    if let Some(Value::Object(container)) = rest.pointer_mut("/spec/containers/0") {
        container.remove("image");
        container.remove("resources");
    }
    Digest::of(&rest)
}

/// How long a check may take until it holds, unless it says so.
const CHECK_SECONDS: u64 = 30;

/// How long after a group is ready Prometheus is first asked, unless a check says so: as often it looks at pods by default
/// (`scrape_interval`).
const AFTER_SECONDS: u64 = 60;

fn checks(scope: &Scope<'_>, app: &PlacedApp, workload: &ObjectRef) -> Vec<Check> {
    let number = |port: &PortReference| port_number(app, port);
    let about = |cel: &app::CelCheck| {
        let (expression, mut object) = (cel.expression.clone(), workload.clone());
        let Some(named) = &cel.object else {
            // Only standard apps have checks, and their workloads are all of this group.
            let api_version = "apps/v1".to_owned();
            return CelCheck { object, api_version, expression };
        };
        let group = named.api_version.rsplit_once('/').map_or("", |(group, _)| group);
        (object.group, object.kind) = (group.to_owned(), named.kind.clone());
        object.name.clone_from(&named.name);
        CelCheck { object, api_version: named.api_version.clone(), expression }
    };
    let measured = |name: &str, check: &app::PrometheusCheck| PrometheusCheck {
        query: app.queries.get(name).cloned().unwrap_or_default(),
        min: check.min.clone(),
        max: check.max.clone(),
        after_seconds: check.after.map_or(AFTER_SECONDS, Duration::seconds),
        service: scope.site.clusters.get(scope.cluster).and_then(|it| it.spec.prometheus.clone()),
    };
    app.app
        .checks
        .iter()
        .filter_map(|check| {
            let name = check.name.to_string();
            let timeout_seconds = check.timeout.map_or(CHECK_SECONDS, Duration::seconds);
            let question = if let Some(http) = &check.http {
                let status = http.status.unwrap_or(200);
                let (path, contains) = (http.path.clone(), http.contains.clone());
                Question::Http {
                    port: number(&http.port)?,
                    http: HttpCheck { path, status, contains },
                }
            } else if let Some(exec) = &check.exec {
                let (command, contains) = (exec.command.clone(), exec.contains.clone());
                // The app's container has the app's name.
                let container = app.app.name.to_string();
                Question::Exec { exec: ExecCheck { container, command, contains } }
            } else if let Some(cel) = &check.cel {
                Question::Cel { cel: about(cel) }
            } else if let Some(prometheus) = &check.prometheus {
                Question::Prometheus { prometheus: measured(&name, prometheus) }
            } else {
                Question::Tcp { port: number(&check.tcp.as_ref()?.port)? }
            };
            Some(Check { name, question, timeout_seconds })
        })
        .collect()
}

/// The number of a port that an app listens on.
fn port_number(app: &PlacedApp, port: &PortReference) -> Option<u16> {
    match port {
        PortReference::Number(number) => Some(*number),
        PortReference::Name(name) => {
            app.app.ports.iter().find(|port| port.name == *name).map(|port| port.port)
        }
    }
}

fn service_account<'a>(scope: &'a Scope<'a>, app: &'a PlacedApp) -> Draft<'a> {
    let own = app.app.name.as_str();
    let part = Part {
        api_version: "v1",
        kind: "ServiceAccount",
        name: own.to_owned(),
        app: own,
        member: None,
        component: component(app.app.kind),
    };
    scope.object(part, Layer::Support, &app.place, || json!({}))
}

/// The kind of an app as its label says it.
pub(super) fn component(kind: AppKind) -> &'static str {
    match kind {
        AppKind::Standard => "standard",
        AppKind::Task => "task",
        AppKind::Test => "test",
    }
}

fn unit_kind(kind: AppKind) -> UnitKind {
    match kind {
        AppKind::Standard => UnitKind::Standard,
        AppKind::Task => UnitKind::Task,
        AppKind::Test => UnitKind::Test,
    }
}

/// The kind of the object that runs an app.
pub(super) fn workload_kind(workload: Workload) -> &'static str {
    match workload {
        Workload::StatefulSet => "StatefulSet",
        Workload::Deployment => "Deployment",
        Workload::DaemonSet => "DaemonSet",
    }
}
