//! What is told before anybody approves, of what is around the changes.

use super::*;
use crate::ignored;
use crate::live::Surroundings;
use crate::need::Need;

fn autoscaler(min: u32, max: u32) -> (ObjectRef, Object) {
    let body =
        Object::new(json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "by-hand", "namespace": "iam"},
        "spec": {"minReplicas": min, "maxReplicas": max,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "app-0"}}}));
    (body.reference("room-a"), body)
}

fn upgraded() -> World {
    World::new(&[product("iam", "iam:1")], &[product("iam", "iam:2")], &json!({}))
}

fn around(world: &mut World) -> &mut Surroundings {
    &mut world.live.clusters.get_mut("room-a").unwrap().around
}

fn rollouts(plan: &Plan) -> Vec<&crate::plan::Rollout> {
    plan.steps().filter_map(|(_, step)| step.rollout.as_ref()).collect()
}

#[test]
fn an_autoscaler_that_may_move_pods_is_told_with_its_numbers_and_is_part_of_the_plan() {
    let mut world = upgraded();
    let bare = world.plan().0.id();
    around(&mut world).autoscalers.extend([autoscaler(3, 9)]);
    let (plan, report) = world.plan();
    assert!(!report.is_refused());
    assert_eq!(codes(&report), ["PLAN/AUTOSCALER_HELD", "PLAN/REPLICAS_SET_TWICE"]);
    assert_eq!((&*report.findings[0].args["min"], &*report.findings[0].args["max"]), ("3", "9"));
    assert_ne!(plan.id(), bare);
    let named: Vec<usize> = rollouts(&plan).iter().map(|it| it.autoscalers.len()).collect();
    assert_eq!(named, [1, 0], "the one in the other room has none");
    // Held at the number of pods that there are.
    around(&mut world).autoscalers.extend([autoscaler(6, 6)]);
    assert_eq!(codes(&world.plan().1), ["PLAN/REPLICAS_SET_TWICE"]);
}

#[test]
fn groups_are_of_the_pods_that_an_autoscaler_has_made() {
    let mut world = upgraded();
    let (reference, _) = autoscaler(3, 9);
    let workload = ObjectRef {
        group: "apps".to_owned(),
        kind: "StatefulSet".to_owned(),
        name: "app-0".to_owned(),
        ..reference
    };
    let left = |body: &mut Object| ignored::leave(body, "spec.replicas", "the autoscaler sets it");
    let index = world.desired.objects.iter().position(|it| it.reference == workload).unwrap();
    let mut body = world.desired.objects[index].body();
    left(&mut body);
    let owner = world.desired.objects[index].owner.clone();
    world.desired.objects[index] = DesiredObject::new(workload.clone(), &body, owner, None);
    let room = world.live.clusters.get_mut("room-a").unwrap();
    let observation = room.objects.get_mut(&workload).unwrap();
    let mut live = observation.live().unwrap();
    live.set(&["spec", "replicas"], json!(8));
    observation.live = Some(LiveObject::new(&live));
    body.set(&["spec", "replicas"], json!(8));
    observation.predicted = Prediction::Exact((&body).into());
    around(&mut world).autoscalers.extend([autoscaler(8, 8)]);
    let (plan, report) = world.plan();
    assert_eq!(codes(&report), [""; 0]);
    let own = rollouts(&plan).into_iter().find(|it| it.workload == workload).unwrap();
    assert_eq!((own.replicas, own.groups.last().unwrap().cumulative), (8, 8));
}

#[test]
fn what_could_not_be_looked_at_is_said_and_stops_nothing() {
    let mut world = upgraded();
    let gap = Gap { code: "CLUSTER/FORBIDDEN".to_owned(), message: "no right".to_owned() };
    around(&mut world).unknown.insert("horizontalpodautoscalers".to_owned(), gap);
    let (_, report) = world.plan();
    assert!(!report.is_refused());
    assert_eq!(codes(&report), ["PLAN/PREFLIGHT_UNKNOWN"]);
    assert_eq!(&*report.findings[0].args["reason"], "no right");
}

/// A site whose app has a claim of a class, in a cluster with these classes and volumes.
fn claiming(spec: &Value, classes: &[Value], volumes: &[Value]) -> World {
    let mut world = World::new(&[], &[product("iam", "iam:1")], &json!({}));
    for object in &mut world.desired.objects {
        if object.reference.kind == "StatefulSet" && object.reference.cluster == "room-a" {
            let mut body = object.body();
            let claim = json!([{"metadata": {"name": "data"}, "spec": spec}]);
            body.set(&["spec", "volumeClaimTemplates"], claim);
            let owner = object.owner.clone();
            *object = DesiredObject::new(object.reference.clone(), &body, owner, None);
        }
    }
    let all = |of: &[Value]| of.iter().cloned().map(Object::new).collect();
    around(&mut world).storage =
        Some(crate::live::Storage { classes: all(classes), volumes: all(volumes) });
    world
}

#[test]
fn a_claim_that_nothing_could_fill_refuses_the_plan() {
    let class = |name: &str| json!({"metadata": {"name": name}});
    let default = json!({"metadata": {"name": "standard",
        "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}});
    let volume = |class: &str, phase: &str| json!({"metadata": {"name": "pv"}, "spec": {"storageClassName": class}, "status": {"phase": phase}});
    let told = |spec: &Value, classes: &[Value], volumes: &[Value]| {
        let world = claiming(spec, classes, volumes);
        let (_, report) = world.plan();
        assert_eq!(report.is_refused(), !report.findings.is_empty());
        codes(&report).join(" ")
    };
    let (fast, open) = (json!({"storageClassName": "fast"}), json!({}));
    assert_eq!(told(&fast, &[class("fast")], &[]), "");
    assert_eq!(told(&fast, std::slice::from_ref(&default), &[]), "PLAN/STORAGE_CLASS_MISSING");
    assert_eq!(told(&fast, &[], &[volume("fast", "Available")]), "", "made by hand");
    assert_eq!(told(&fast, &[], &[volume("fast", "Bound")]), "PLAN/STORAGE_CLASS_MISSING");
    assert_eq!(told(&open, &[default], &[]), "");
    assert_eq!(told(&open, &[class("fast")], &[]), "PLAN/NO_DEFAULT_STORAGE_CLASS");
    assert_eq!(told(&open, &[], &[volume("", "Available")]), "");
    assert_eq!(told(&json!({"storageClassName": ""}), &[], &[]), "", "wants none made");
    assert_eq!(told(&json!({"storageClassName": "fast", "volumeName": "v"}), &[], &[]), "");
}

#[test]
fn classes_that_come_with_the_documents_are_there_and_what_is_not_known_refuses_nothing() {
    let mut world = claiming(&json!({"storageClassName": "fast"}), &[], &[]);
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "fast"}});
    let owner = world.desired.objects[0].owner.clone();
    let refused = |world: &World| codes(&world.plan().1).contains(&"PLAN/STORAGE_CLASS_MISSING");
    assert!(refused(&world));
    let unknown = around(&mut world).storage.take();
    assert!(!refused(&world));
    around(&mut world).storage = unknown;
    world.desired.objects.push(object("room-b", owner.clone(), class.clone()));
    world.desired.objects.sort_by(|left, right| left.reference.cmp(&right.reference));
    assert!(refused(&world), "it comes to another cluster");
    world.desired.objects.push(object("room-a", owner, class));
    world.desired.objects.sort_by(|left, right| left.reference.cmp(&right.reference));
    assert!(!refused(&world));
}

#[test]
fn pods_that_are_not_all_ready_are_told_before_anybody_approves() {
    let told = |status: &Value, after: &str| {
        let mut world =
            World::new(&[product("iam", "iam:1")], &[product("iam", after)], &json!({}));
        let room = world.live.clusters.get_mut("room-a").unwrap();
        let set = room.objects.iter_mut().find(|(it, _)| it.kind == "StatefulSet").unwrap().1;
        let mut live = set.live().unwrap();
        live.set(&["status"], status.clone());
        set.live = Some(LiveObject::new(&live));
        let (_, report) = world.plan();
        assert!(!report.is_refused());
        let args = |it: &Finding| format!("{} {} {}", it.code, it.args["ready"], it.args["pods"]);
        report.findings.iter().map(args).collect::<Vec<_>>().join(", ")
    };
    let status = |ready: u32| json!({"replicas": 6, "readyReplicas": ready});
    assert_eq!(told(&status(4), "iam:2"), "PLAN/PODS_NOT_READY 4 6");
    assert_eq!(told(&json!({"replicas": 6}), "iam:2"), "PLAN/PODS_NOT_READY 0 6");
    assert_eq!(told(&status(6), "iam:2"), "");
    assert_eq!(told(&status(4), "iam:1"), "", "nothing of it changes");
}

fn small() -> (ObjectRef, Object) {
    let body = Object::new(json!({"apiVersion": "v1", "kind": "ResourceQuota",
        "metadata": {"name": "small", "namespace": "iam"},
        "status": {"hard": {"pods": "8", "limits.cpu": "100"}, "used": {"pods": "6"}}}));
    (body.reference("room-a"), body)
}

/// A larger size of the app: eight pods more.
fn scaled() -> World {
    let mut world = upgraded();
    let workload = world.desired.objects.iter().position(|it| it.reference.kind == "StatefulSet");
    let object = &mut world.desired.objects[workload.unwrap()];
    let mut body = object.body();
    let spec = json!({"requests": {"cpu": "1", "memory": "2Gi"}});
    body.set(&["spec", "replicas"], json!(14));
    body.set(
        &["spec", "template", "spec", "containers"],
        json!([{"name": "a", "resources": spec}]),
    );
    *object = DesiredObject::new(object.reference.clone(), &body, object.owner.clone(), None);
    world
}

#[test]
fn more_pods_than_a_quota_has_left_are_told() {
    let mut world = scaled();
    around(&mut world).quotas.extend([small()]);
    let (_, report) = world.plan();
    assert_eq!(codes(&report), ["PLAN/QUOTA_EXCEEDED"]);
    let args = &report.findings[0].args;
    assert_eq!((&*args["resource"], &*args["more"], &*args["left"]), ("pods", "8", "2"));
    assert!(!report.is_refused());
}

#[test]
fn pods_that_find_no_node_are_told_with_what_one_needs() {
    let node = |cpu: &str, pods: &str| {
        Need::of_node(&Object::new(json!({"status": {"allocatable":
            {"cpu": cpu, "memory": "64Gi", "pods": pods}}})))
    };
    let mut world = scaled();
    let free = |nodes: &[Need]| {
        nodes.iter().enumerate().map(|(index, free)| (format!("n{index}"), free.clone())).collect()
    };
    around(&mut world).free = Some(free(&[node("8", "110"), node("8", "110")]));
    assert_eq!(codes(&world.plan().1), [""; 0]);
    around(&mut world).free = Some(free(&[node("3500m", "110"), node("9", "2")]));
    let (_, report) = world.plan();
    assert_eq!(codes(&report), ["PLAN/NO_ROOM"]);
    let args = &report.findings[0].args;
    assert_eq!((&*args["pods"], &*args["cpu"], &*args["memory"]), ("3", "1", "2Gi"));
    // What nobody could look at is no good answer, and no bad one.
    around(&mut world).free = None;
    assert_eq!(codes(&world.plan().1), [""; 0]);
}
