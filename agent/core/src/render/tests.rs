//! Tests of rendering: the golden text of a rich site, and what must hold for every rendering.

use std::fmt::Write as _;

use crate::desired::{DesiredObject, DesiredState, UnitId, UnitKind};
use crate::object::OPERATION;
use crate::render::render;
use crate::site::Located;
use crate::validate::tests::{now, site};

fn text(desired: &DesiredState) -> String {
    let mut text = String::new();
    for object in &desired.objects {
        let owner = serde_json::to_string(&object.owner).unwrap();
        let body = tidegate_schema::yaml::to_string(object.body().value()).unwrap();
        writeln!(text, "# {:?} {owner}\n{body}---", object.reference).unwrap();
    }
    for unit in desired.units.iter().filter(|unit| unit.id.cluster == "room-a") {
        writeln!(text, "{}", serde_json::to_string(unit).unwrap()).unwrap();
    }
    text.push_str(&tidegate_schema::yaml::to_string(&desired.zones).unwrap());
    text
}

#[test]
fn a_rich_app_becomes_what_the_model_says() {
    let mut desired = render(&site(), now());
    desired.objects.retain(|object| object.reference.cluster == "room-a");
    insta::assert_snapshot!(text(&desired));
}

#[test]
fn rendering_twice_gives_the_same_bytes() {
    assert_eq!(text(&render(&site(), now())), text(&render(&site(), now())));
}

#[test]
fn a_grant_that_has_ended_is_not_desired() {
    let names = |at: &str| -> Vec<String> {
        let desired = render(&site(), at.parse().unwrap());
        let bindings =
            desired.objects.iter().filter(|object| object.reference.kind.ends_with("Binding"));
        bindings.map(|object| format!("{:?}", object.reference)).collect()
    };
    let rolebinding = |cluster| format!("{cluster}: RoleBinding iam/tidegate:iam-ops");
    assert_eq!(names("2026-11-21T10:00:00Z"), [rolebinding("room-a"), rolebinding("room-b")]);
    assert_eq!(names("2026-12-31T00:00:00Z"), Vec::<String>::new());
    let next = site().next_expiry(now()).map(|at| at.to_string());
    assert_eq!(next.as_deref(), Some("2026-12-31T00:00:00Z"));
}

#[test]
fn a_test_runs_again_when_its_product_changes_and_a_task_only_for_its_own_inputs() {
    let names = |site: &crate::site::ValidSite, kind: UnitKind| -> Vec<String> {
        let desired = render(site, now());
        let units = desired.units.iter().filter(|unit| unit.kind == kind);
        units.map(|unit| unit.workload.name.clone()).collect()
    };
    let before = site();
    let mut after = site();
    for deployment in after.deployments.values_mut() {
        for app in deployment.placements.values_mut().flat_map(|placement| &mut placement.apps) {
            if app.app.name == "iamcore" {
                app.image = "registry.hz.bank.internal/iam/iamcore:2.43.2".to_owned();
            }
        }
    }
    assert_ne!(names(&before, UnitKind::Test), names(&after, UnitKind::Test));
    assert_eq!(names(&before, UnitKind::Task), names(&after, UnitKind::Task));
}

/// What an operation asks for once is in the desired state as long as its document stands: pairs of operation and app, and
/// for tasks and tests a Job beside the one of their inputs.
#[test]
fn what_operations_ask_for_once_is_desired_beside_what_is_there() {
    let before = site();
    let mut after = site();
    let operation = |action: serde_json::Value, expires: Option<&str>| {
        let spec = serde_json::json!({"action": action, "author": "li-na", "reason": "CHG-1", "expires": expires});
        let spec = serde_json::from_value(spec).unwrap();
        Located { spec, place: tidegate_schema::finding::Place::file("operations/a.yaml") }
    };
    let task =
        render(&before, now()).units.into_iter().find(|it| it.kind == UnitKind::Task).unwrap();
    let rerun = serde_json::json!({"rerunTask": {"product": "iam", "app": task.id.app}});
    let restart = serde_json::json!({"restart": {"product": "iam"}});
    let over = operation(restart.clone(), Some("2020-01-01T00:00:00Z"));
    after.operations.insert("again".to_owned(), operation(rerun, None));
    after.operations.insert("anew".to_owned(), operation(restart, None));
    after.operations.insert("over".to_owned(), over);
    let (old, new) = (render(&before, now()), render(&after, now()));
    let of = |name: &str| -> Vec<&UnitId> {
        let own = new.asked.iter().filter(|it| it.operation == name);
        own.map(|it| &it.unit).collect()
    };
    let standard =
        new.units.iter().filter(|it| it.id.product == "iam" && it.kind == UnitKind::Standard);
    assert_eq!(of("anew"), standard.map(|it| &it.id).collect::<Vec<_>>());
    assert!(of("over").is_empty());
    assert_ne!(old.digest(), new.digest());
    let is_new = |it: &&DesiredObject| old.object(&it.reference).is_none();
    let jobs: Vec<&DesiredObject> = new.objects.iter().filter(is_new).collect();
    assert_eq!(jobs.len(), of("again").len());
    assert_eq!(new.objects.len(), old.objects.len() + jobs.len(), "the Job of before stays");
    for job in jobs {
        assert_eq!(job.body().annotation(OPERATION), Some("again"));
        assert!(job.reference.name.starts_with(&format!("{}-", task.id.app)));
        let kept = new.object(&task.workload).unwrap().body();
        assert_eq!(job.body().get("/spec"), kept.get("/spec"));
    }
    // Who asks and why changes nothing.
    for operation in after.operations.values_mut() {
        operation.spec.reason = "CHG-2".to_owned();
        operation.spec.author = "wang-wei".parse().unwrap();
    }
    assert_eq!(render(&after, now()).digest(), new.digest());
}

/// Pods of an app that is offline keep their place and their settings and run something idle, which answers nothing and which
/// no Service finds; what judges the product does not run again for it.
#[test]
fn an_app_that_is_offline_is_idle_and_no_service_finds_its_pods() {
    let before = site();
    let mut after = site();
    for deployment in after.deployments.values_mut() {
        for app in deployment.placements.values_mut().flat_map(|placement| &mut placement.apps) {
            if app.app.name == "iamcore" {
                app.idle = Some("idle:1".to_owned());
            }
        }
    }
    let (old, new) = (render(&before, now()), render(&after, now()));
    let unit = |state: &DesiredState| {
        state.units.iter().find(|it| it.id.app == "iamcore").cloned().unwrap()
    };
    let (was, is) = (unit(&old), unit(&new));
    assert_eq!((was.offline, is.offline), (false, true));
    assert!(!was.checks.is_empty() && is.checks.is_empty());
    assert_eq!((was.replicas, &was.cpu, &was.workload), (is.replicas, &is.cpu, &is.workload));
    assert_eq!(is.image, "idle:1");
    let body = |state: &DesiredState| state.object(&is.workload).unwrap().body();
    let container = |state: &DesiredState| {
        body(state).get("/spec/template/spec/containers/0").cloned().unwrap()
    };
    let (was, idle) = (container(&old), container(&new));
    for gone in ["command", "livenessProbe", "readinessProbe"] {
        assert!(was.get(gone).is_some() && idle.get(gone).is_none(), "{gone}");
    }
    for kept in ["name", "env", "ports", "resources", "volumeMounts"] {
        assert!(was.get(kept).is_some() && was.get(kept) == idle.get(kept), "{kept}");
    }
    let labels =
        |state: &DesiredState| body(state).get("/spec/template/metadata/labels").cloned().unwrap();
    let selects = |selector: &serde_json::Value, labels: &serde_json::Value| {
        let selector = selector.as_object().unwrap();
        selector.iter().all(|(name, value)| labels.get(name) == Some(value))
    };
    let own = new.objects.iter().filter(|it| {
        it.owner.app.as_deref() == Some("iamcore") && it.reference.cluster == is.id.cluster
    });
    let mut kinds = std::collections::BTreeSet::new();
    for object in own {
        let selector = match object.reference.kind.as_str() {
            "Service" => "/spec/selector",
            "StatefulSet" | "Deployment" | "PodDisruptionBudget" => "/spec/selector/matchLabels",
            _ => continue,
        };
        let body = object.body();
        let selector = body.get(selector).unwrap();
        assert!(selects(selector, &labels(&old)));
        let finds = object.reference.kind != "Service";
        assert_eq!(selects(selector, &labels(&new)), finds, "{}", object.reference);
        kinds.insert(object.reference.kind.clone());
    }
    assert!(kinds.contains("Service") && kinds.len() == 3, "{kinds:?}");
    let tests = |state: &DesiredState| -> Vec<String> {
        let own = state.units.iter().filter(|it| it.kind == UnitKind::Test);
        own.map(|it| it.workload.name.clone()).collect()
    };
    assert_eq!(tests(&old), tests(&new));
}

#[test]
fn a_rollout_policy_for_an_app_keeps_the_waves_and_times_of_its_solution() {
    let policy = site().rollout_policy("iam", Some("iamcore"));
    assert_eq!(policy.waves.len(), 2);
    assert_eq!(policy.bake.map(tidegate_schema::Duration::seconds), Some(60));
    assert!(policy.groups.is_some());
    assert!(site().rollout_policy("iam", Some("gateway")).groups.is_none());
}

/// An autoscaler in a product's manifests sets the number of pods; a person's operation counts more while it stands.
#[test]
fn the_number_of_pods_is_left_to_an_autoscaler_of_the_documents() {
    let mut site = site();
    let state = render(&site, now());
    let unit = state.units.iter().find(|it| it.id.app == "iamcore").unwrap().clone();
    let placement = |site: &mut crate::site::ValidSite,
                     then: &dyn Fn(&mut crate::site::Placement)| {
        let deployment = site.deployments.get_mut(&unit.id.product).unwrap();
        then(deployment.placements.get_mut(&unit.id.cluster).unwrap());
    };
    let body = serde_json::json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "core", "namespace": unit.workload.namespace},
        "spec": {"minReplicas": 2, "maxReplicas": 9, "scaleTargetRef":
            {"apiVersion": "apps/v1", "kind": unit.workload.kind, "name": unit.workload.name}}});
    placement(&mut site, &|placement| {
        let mut manifest = placement.manifests[0].clone();
        let body = crate::object::Object::new(body.clone());
        manifest.reference = body.reference(&unit.id.cluster);
        manifest.content = (&body).into();
        placement.manifests.push(manifest);
    });
    let left = |site: &crate::site::ValidSite| {
        let state = render(site, now());
        let all = state
            .objects
            .iter()
            .filter(|it| crate::ignored::is_left(&it.body(), crate::autoscaler::REPLICAS));
        all.map(|it| it.reference.clone()).collect::<Vec<_>>()
    };
    assert_eq!(left(&site), std::slice::from_ref(&unit.workload), "of its own cluster only");
    let scale = serde_json::json!({"reason": "r", "author": "li-na",
        "action": {"scale": {"product": "iam", "app": "iamcore", "replicas": 7}}});
    let place = tidegate_schema::finding::Place::file("operations/a.yaml");
    let spec = serde_json::from_value(scale).unwrap();
    site.operations.insert("more".to_owned(), Located { spec, place });
    placement(&mut site, &|placement| {
        let app = placement.apps.iter_mut().find(|app| app.app.name == "iamcore").unwrap();
        app.operations.push("more".to_owned());
    });
    assert_eq!(left(&site), []);
}
