//! Nodes that are emptied: after their cordon, one after the other, in groups; what may not go refuses the plan.

use super::*;
use crate::desired::{Asked, DrainTerms, Drained};
use crate::pod::Pod;

fn pods(count: u32, kind: &str) -> Vec<Pod> {
    let owner = json!([{"apiVersion": "apps/v1", "kind": kind, "name": "web", "controller": true}]);
    let pod = |number| {
        let mut pod =
            json!({"metadata": {"name": format!("{kind}-{number}"), "namespace": "shop"}});
        if !kind.is_empty() {
            pod["metadata"]["ownerReferences"] = owner.clone();
        }
        Pod::of(&Object::new(pod))
    };
    (0..count).map(pod).collect()
}

/// A site at rest in which an operation drains two nodes; the pods that are on each.
fn draining(pods: &[Pod]) -> World {
    let same = [product("iam", "iam:1")];
    let mut world = World::new(&same, &same, &json!({}));
    for node in ["node-1", "node-2"] {
        let body = Object::node(node);
        let mut cordoned = body.clone();
        cordoned.set(&["spec", "unschedulable"], json!(true));
        let owner = Owner {
            solution: None,
            product: None,
            app: None,
            scaling_group: None,
            access: None,
            layer: Layer::Foundation,
        };
        let object = object("room-a", owner, cordoned.value().clone());
        let predicted = Prediction::Exact(cordoned.into());
        world.observe(object.reference.clone(), Some(&body), predicted);
        let around = &mut world.live.clusters.get_mut("room-a").unwrap().around;
        around.nodes.insert(node.to_owned(), pods.to_vec());
        world.want(object);
        let unit = UnitId::node("room-a", node);
        let asked = Asked { operation: "disks".to_owned(), unit };
        world.desired.asked.push(asked.clone());
        world.desired.drains.push(Drained { asked, terms: DrainTerms::default() });
    }
    world
}

#[test]
fn nodes_are_cordoned_first_and_emptied_one_after_the_other() {
    let world = draining(&pods(5, "ReplicaSet"));
    let (plan, report) = world.plan();
    assert!(!report.is_refused(), "{:?}", report.findings);
    assert_eq!(check(&plan, &world.site), [""; 0]);
    let head = "foundations/room-a";
    let drains = [format!("{head}/node-1.drain"), format!("{head}/node-2.drain")];
    let foundation = format!("{head}/foundation");
    assert_eq!(ids(&plan), [&*foundation, &*drains[0], &*drains[1]]);
    let steps: Vec<_> = plan.steps().map(|(_, step)| step).collect();
    assert_eq!(steps[1].needs, std::slice::from_ref(&foundation));
    assert_eq!(steps[2].needs, [foundation, drains[0].clone()]);
    let groups: Vec<u32> =
        steps[1].rollout.iter().flat_map(|it| &it.groups).map(|group| group.pods).collect();
    assert_eq!(groups, [2, 3]);
    assert_eq!(
        kinds(&plan),
        [TaskKind::Cordon, TaskKind::Cordon, TaskKind::Drain, TaskKind::Drain]
    );
}

#[test]
fn a_drain_that_was_done_is_not_planned_again_and_its_cordon_stands() {
    let mut world = draining(&pods(2, "ReplicaSet"));
    let asked = world.desired.asked.clone();
    world.baseline.as_mut().unwrap().remember("r2", jiff::Timestamp::UNIX_EPOCH, &asked);
    let (plan, report) = world.plan();
    assert_eq!(kinds(&plan), [TaskKind::Cordon, TaskKind::Cordon]);
    assert!(codes(&report).contains(&"OPERATION/DRAINED"));
}

#[test]
fn pods_that_may_not_go_refuse_the_plan_all_at_once_unless_the_operation_allows_it() {
    let mut there = pods(1, "");
    let mut with_data = json!({"metadata": {"name": "cache", "namespace": "shop",
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "cache", "controller": true}]}});
    with_data["spec"] = json!({"volumes": [{"name": "x", "emptyDir": {}}]});
    there.push(Pod::of(&Object::new(with_data)));
    let mut world = draining(&there);
    let (_, report) = world.plan();
    let refused: Vec<&str> =
        report.findings.iter().filter(|it| it.is_error()).map(|it| &*it.code).collect();
    assert_eq!(
        refused,
        [
            "OPERATION/PODS_UNMANAGED",
            "OPERATION/PODS_UNMANAGED",
            "OPERATION/PODS_WITH_LOCAL_DATA",
            "OPERATION/PODS_WITH_LOCAL_DATA",
        ]
    );
    for drain in &mut world.desired.drains {
        (drain.terms.force, drain.terms.delete_empty_dir_data) = (true, true);
    }
    let (plan, report) = world.plan();
    assert!(!report.is_refused(), "{:?}", report.findings);
    let terms = plan.steps().find_map(|(_, step)| step.drain).unwrap();
    assert!(terms.force && terms.delete_empty_dir_data);
}

#[test]
fn a_node_whose_pods_could_not_be_listed_is_not_drained() {
    let mut world = draining(&pods(2, "ReplicaSet"));
    world.live.clusters.get_mut("room-a").unwrap().around.nodes.remove("node-2");
    let (plan, _) = world.plan();
    assert_eq!(kinds(&plan).iter().filter(|kind| **kind == TaskKind::Drain).count(), 1);
}
