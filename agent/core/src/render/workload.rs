//! Workloads of standard apps, their pods and their disruption budgets.

use serde_json::{Value, json};
use tidegate_schema::app::{Volume, Workload};

use crate::desired::{AWAY_AT_ONCE_PERCENT, Layer};
use crate::render::app::{component, workload_kind};
use crate::render::scope::{Draft, Part, Scope};
use crate::site::PlacedApp;

mod pod;
mod scheduling;
mod resources;

pub(super) use pod::{pod_template, pod_template_online};

/// The StatefulSet, Deployment or DaemonSet of a standard app, as it is when no group is open.
pub(super) fn workload<'a>(scope: &'a Scope<'a>, app: &'a PlacedApp) -> Draft<'a> {
    let own = app.app.name.as_str();
    let part = Part {
        api_version: "apps/v1",
        kind: workload_kind(app.app.workload),
        name: own.to_owned(),
        app: own,
        member: app.member.as_ref(),
        component: component(app.app.kind),
    };
    scope.object(part, Layer::Workload, &app.place, || json!({"spec": spec(scope, app)}))
}

fn spec(scope: &Scope<'_>, app: &PlacedApp) -> Value {
    let own = app.app.name.as_str();
    let selector = json!({"matchLabels": scope.selector(own)});
    let template = pod_template(scope, app);
    match app.app.workload {
        Workload::StatefulSet => {
            let claims: Vec<Value> =
                app.app.volumes.iter().filter_map(|volume| claim(app, volume)).collect();
            json!({
                "serviceName": own,
                "replicas": app.replicas,
                "podManagementPolicy": if app.app.ordered { "OrderedReady" } else { "Parallel" },
                "revisionHistoryLimit": 10,
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
                "selector": selector,
                "template": template,
                "volumeClaimTemplates": (!claims.is_empty()).then_some(claims),
            })
        }
        Workload::Deployment => json!({
            "replicas": app.replicas,
            "minReadySeconds": 0,
            "progressDeadlineSeconds": 600,
            "revisionHistoryLimit": 10,
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"},
            },
            "selector": selector,
            "template": template,
        }),
        Workload::DaemonSet => json!({
            "minReadySeconds": 0,
            "revisionHistoryLimit": 10,
            "updateStrategy": {"type": "OnDelete"},
            "selector": selector,
            "template": template,
        }),
    }
}

/// The claim of a volume that is kept.
fn claim(app: &PlacedApp, volume: &Volume) -> Option<Value> {
    let size = volume.size.as_ref()?;
    Some(json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": volume.name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": size}},
            "storageClassName": app.classes.get(volume.name.as_str()),
            "volumeMode": "Filesystem",
        },
    }))
}

/// The disruption budget of an app with more than one pod: half of the pods may be away at once, so that the halves of
/// the usual two groups are evicted together, and a node drain never takes all.
pub(super) fn budget<'a>(scope: &'a Scope<'a>, app: &'a PlacedApp) -> Option<Draft<'a>> {
    if app.replicas < 2 || app.app.workload == Workload::DaemonSet {
        return None;
    }
    let own = app.app.name.as_str();
    let part = Part {
        api_version: "policy/v1",
        kind: "PodDisruptionBudget",
        name: own.to_owned(),
        app: own,
        member: app.member.as_ref(),
        component: component(app.app.kind),
    };
    Some(scope.object(part, Layer::Support, &app.place, move || {
        let share = format!("{AWAY_AT_ONCE_PERCENT}%");
        json!({"spec": {"maxUnavailable": share, "selector": {"matchLabels": scope.selector(own)}}})
    }))
}
