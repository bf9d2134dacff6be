//! What no solution wants any more: offline first, then deleted; what holds data stays and is known as an orphan until the
//! product is there again.

use super::*;
use crate::change::Change;
use crate::desired::Uninstalled;
use crate::orphan::{Orphan, orphans};

/// A site in which `iam` is not wanted any more, with claims of its first app.
fn gone(policy: &Value) -> World {
    let before = [product("iam", "iam:1"), product("web", "w:1")];
    let mut world = World::new(&before, &before[1..], policy);
    for cluster in ["room-a", "room-b"] {
        add_claims(&mut world, cluster);
    }
    world
}

fn set(cluster: &str) -> ObjectRef {
    reference(cluster, "apps", "StatefulSet", "app-0")
}

fn claim(cluster: &str, number: u32) -> ObjectRef {
    reference(cluster, "", "PersistentVolumeClaim", &format!("data-app-0-{number}"))
}

fn reference(cluster: &str, group: &str, kind: &str, name: &str) -> ObjectRef {
    let [cluster, group, kind, name] = [cluster, group, kind, name].map(str::to_owned);
    ObjectRef { cluster, group, kind, namespace: "iam".to_owned(), name }
}

/// What the server has made for the set: two claims, and what the agent sees of them.
fn add_claims(world: &mut World, cluster: &str) {
    let claims: Vec<ObjectRef> = (0..2).map(|number| claim(cluster, number)).collect();
    let observed = world.live.clusters.get_mut(cluster).unwrap();
    let own = observed.objects.get_mut(&set(cluster)).unwrap();
    own.holds.clone_from(&claims);
    for claim in claims {
        let live = Object::new(json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": claim.name, "namespace": "iam", "uid": claim.name},
            "spec": {"resources": {"requests": {"storage": "20Gi"}}},
            "status": {"capacity": {"storage": "25Gi"}},
        }));
        observed.objects.insert(claim, observation(Some(&live), Prediction::NotDesired));
    }
}

fn kept(plan: &Plan) -> Vec<&Change> {
    let changes = plan.content.changes.changes.iter();
    changes.filter(|change| change.action == Action::Keep).collect()
}

/// What stays when the plan was carried out.
fn carried_out(world: &mut World, plan: &Plan) {
    let after = world.reached(plan);
    for change in &plan.content.changes.changes {
        let cluster = world.live.clusters.get_mut(&change.object.cluster).unwrap();
        if change.action == Action::Prune {
            world.inventory.entries.remove(&change.object);
            cluster.objects.remove(&change.object);
        } else if change.action == Action::Keep {
            let owner = change.owner.clone();
            let entry = InventoryEntry { uid: None, kept: true, ..entry(owner) };
            world.inventory.entries.entry(change.object.clone()).or_insert(entry);
        }
    }
    world.baseline = Some(after);
}

fn orphaned(world: &World) -> Vec<Orphan> {
    let changes = world.changes();
    orphans(&changes, (&world.desired, &world.site), &world.live, world.baseline.as_ref())
}

#[test]
fn the_pods_of_all_workloads_go_before_anything_is_deleted_and_a_person_looks_in_between() {
    let world = gone(&json!({}));
    let (plan, _) = world.plan();
    assert_eq!(check(&plan, &world.site), [""; 0]);
    let [offline, prune] = plan.content.waves.as_slice() else { panic!("{:?}", ids(&plan)) };
    assert_eq!((&*offline.name, offline.confirm), ("offline", true));
    assert_eq!((&*prune.name, prune.confirm), ("prune", false));
    let own = &offline.steps[0];
    assert_eq!((&*own.id, own.kind), ("offline/room-a/iam.offline", StepKind::Offline));
    assert_eq!(own.offline, [set("room-a")]);
    assert!(own.prune.is_empty() && prune.steps[0].prune.contains(&set("room-a")));
}

#[test]
fn policies_for_the_product_say_whether_somebody_is_asked_and_for_how_long_it_is_watched() {
    let mut world = gone(&json!({"beta": true, "bake": "10m"}));
    let policy = json!({"beta": false, "appliesTo": {"product": "iam"}});
    let policy: RolloutPolicy = serde_json::from_value(policy).unwrap();
    world.site.rollout_policies.insert("iam".to_owned(), policy);
    let (plan, _) = world.plan();
    let offline = &plan.content.waves[0];
    assert_eq!((offline.confirm, offline.bake_seconds), (false, 600));
}

/// The first room is done, with its deletions, before the second begins.
#[test]
fn each_wave_of_clusters_goes_offline_and_is_deleted_before_the_next() {
    let waves = json!([{"name": "gray", "clusters": {"cells": ["gray"]}}, {"name": "rest"}]);
    let world = gone(&json!({"waves": waves}));
    let (plan, _) = world.plan();
    assert_eq!(check(&plan, &world.site), [""; 0]);
    let names: Vec<&str> = plan.content.waves.iter().map(|wave| &*wave.name).collect();
    assert_eq!(names, ["gray-offline", "gray-uninstall", "rest-offline", "rest-uninstall"]);
    let asked: Vec<bool> = plan.content.waves.iter().map(|wave| wave.confirm).collect();
    assert_eq!(asked, [true, false, true, false]);
}

#[test]
fn an_app_that_its_product_gave_up_is_deleted_without_going_offline_first() {
    let before = [Product { apps: vec![2, 2], ..product("iam", "iam:1") }];
    let after = [product("iam", "iam:1")];
    let (plan, _) = World::new(&before, &after, &json!({})).plan();
    assert!(plan.steps().all(|(_, step)| step.offline.is_empty()), "{:?}", ids(&plan));
}

#[test]
fn claims_of_a_set_are_told_before_and_stay_known_until_the_product_is_there_again() {
    let mut world = gone(&json!({}));
    let (plan, _) = world.plan();
    let names = |kept: &[&Change]| -> Vec<String> {
        kept.iter().map(|it| format!("{:?}", it.object)).collect()
    };
    let wanted = [
        "room-a: Namespace iam",
        "room-a: PersistentVolumeClaim iam/data-app-0-0",
        "room-a: PersistentVolumeClaim iam/data-app-0-1",
        "room-b: Namespace iam",
        "room-b: PersistentVolumeClaim iam/data-app-0-0",
        "room-b: PersistentVolumeClaim iam/data-app-0-1",
    ];
    assert_eq!(names(&kept(&plan)), wanted);
    assert!(orphaned(&world).is_empty(), "the product is still there");
    carried_out(&mut world, &plan);
    let (empty, _) = world.plan();
    assert!(empty.is_empty(), "{:?}", ids(&empty));
    let found = orphaned(&world);
    assert_eq!(found.len(), wanted.len());
    let (namespace, first) = (&found[0], &found[1]);
    assert_eq!(namespace.product.as_deref(), Some("iam"));
    assert_eq!((first.size.as_deref(), first.reason.as_str()), (Some("25Gi"), "holds data"));
    assert_eq!((first.version.as_deref(), first.release.as_deref()), (Some("1.0.0"), Some("r1")));
    // Gone: nobody speaks of it any more.
    let cluster = world.live.clusters.get_mut("room-b").unwrap();
    cluster.objects.get_mut(&claim("room-b", 1)).unwrap().live = None;
    assert_eq!(orphaned(&world).len(), wanted.len() - 1);
}

#[test]
fn a_product_that_comes_back_takes_up_its_claims_and_the_plan_says_so() {
    let mut world = gone(&json!({}));
    let (plan, _) = world.plan();
    carried_out(&mut world, &plan);
    let all = [product("iam", "iam:1"), product("web", "w:1")];
    (world.desired, world.site) = (desired(&all), site(&all, &json!({})));
    for object in &mut world.desired.objects {
        if object.reference.name == "app-0" && object.reference.namespace == "iam" {
            let mut body = object.body();
            body.set(&["spec", "volumeClaimTemplates"], json!([{"metadata": {"name": "data"}}]));
            body.set(&["spec", "replicas"], json!(1));
            *object =
                DesiredObject::new(object.reference.clone(), &body, object.owner.clone(), None);
        }
    }
    let wanted: Vec<_> = world.desired.objects.iter().map(|it| it.reference.clone()).collect();
    for reference in wanted {
        let body = world.desired.object(&reference).unwrap().body();
        let cluster = world.live.clusters.get_mut(&reference.cluster).unwrap();
        let unseen = || observation(None, Prediction::NotDesired);
        let known = cluster.objects.entry(reference).or_insert_with(unseen);
        known.predicted = Prediction::Exact(body.into());
    }
    let (plan, report) = world.plan();
    let notes = report.findings.iter().filter(|it| it.code == "PLAN/TAKES_UP_KEPT");
    let objects: Vec<&str> = notes.map(|it| &*it.args["objects"]).collect();
    assert_eq!(objects, ["PersistentVolumeClaim iam/data-app-0-0 (25Gi)"; 2]);
    // Of one pod only the first claim is taken up; the other stays an orphan.
    assert_eq!(kept(&plan).len(), 2);
    let after = world.reached(&plan);
    assert!(after.uninstalled.is_empty());
}

#[test]
fn what_an_operation_retains_is_kept_in_its_clusters_and_the_task_says_who_asked() {
    let mut world = gone(&json!({}));
    world.desired.uninstalls.push(Uninstalled {
        operation: "no-iam".to_owned(),
        product: "iam".to_owned(),
        clusters: vec!["room-a".to_owned()],
        retain: vec![tidegate_schema::operation::Retained::LoadBalancers],
    });
    let (plan, _) = world.plan();
    assert_eq!(check(&plan, &world.site), [""; 0]);
    let kept = kept(&plan);
    let balancers = kept.iter().filter(|change| change.object.kind == "Service");
    let told: Vec<_> =
        balancers.map(|it| (&*it.object.cluster, it.warnings.last().unwrap().as_str())).collect();
    assert_eq!(told, [("room-a", "retained by the operation no-iam")]);
    let tasks = plan.content.tasks.iter().filter(|task| task.kind == TaskKind::Uninstall);
    let by: Vec<_> =
        tasks.map(|task| (task.operation.as_deref(), task.clusters.concat())).collect();
    assert_eq!(by, [(None, "room-b".to_owned()), (Some("no-iam"), "room-a".to_owned())]);
}
