//! Jobs: tasks and tests, named by the digest of their inputs so that none runs twice for the same.

use serde_json::{Value, json};
use tidegate_schema::app::AppKind;

use crate::desired::Layer;
use crate::digest::Digest;
use crate::object::OPERATION;
use crate::render::app::{component, inputs};
use crate::render::scope::{Draft, Part, Scope};
use crate::render::workload;
use crate::site::{PlacedApp, Placement};

/// The Job of a task or test.
///
/// A task's digest covers its own pod template. A test judges the product, so its digest covers the images and inputs of
/// the product's standard apps as well: when one of them changes, the test runs again. An operation that asks for another
/// run is part of the digest too, so that its Job has a name of its own. Jobs are kept for their logs.
pub(super) fn job<'a>(
    scope: &'a Scope<'a>,
    placement: &Placement,
    app: &'a PlacedApp,
    operation: Option<&'a str>,
) -> Draft<'a> {
    let own = app.app.name.as_str();
    let mut template = workload::pod_template(scope, app);
    if let Some(Value::Object(spec)) = template.pointer_mut("/spec") {
        spec.insert("restartPolicy".to_owned(), json!("Never"));
    }
    let judged: Vec<(String, Digest)> = match app.app.kind {
        AppKind::Test => {
            // What scaling groups add or change later is not the product that the test has judged.
            let own = placement.apps.iter().filter(|app| app.member.is_none());
            let standard = own.filter(|app| app.app.kind == AppKind::Standard);
            let template = |app| inputs(&workload::pod_template_online(scope, app));
            standard.map(|app| (scope.image(app), template(app))).collect()
        }
        AppKind::Task | AppKind::Standard => Vec::new(),
    };
    let spec = json!({
        "backoffLimit": app.app.retries.unwrap_or(0),
        "activeDeadlineSeconds": app.app.timeout.map(tidegate_schema::scalar::Duration::seconds),
        "completions": 1,
        "parallelism": 1,
        "template": template,
    });
    let digest = match operation {
        None => Digest::of(&(&spec, judged)),
        Some(operation) => Digest::of(&(&spec, judged, operation)),
    };
    let short = digest.short().get(..8).unwrap_or_default();
    let part = Part {
        api_version: "batch/v1",
        kind: "Job",
        name: format!("{own}-{short}"),
        app: own,
        member: None,
        component: component(app.app.kind),
    };
    let layer = if app.app.kind == AppKind::Test { Layer::Test } else { Layer::Task };
    scope.object(part, layer, &app.place, move || {
        let annotations = json!({"tidegate.dev/inputs": digest, OPERATION: operation});
        json!({"metadata": {"annotations": annotations}, "spec": spec})
    })
}
