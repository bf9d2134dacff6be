//! Nodes: one field of theirs is ours for a while; they are never made, adopted or deleted.

use rstest::rstest;

use super::*;

/// A node, as who has set `unschedulable` wants it.
fn node(owners: &[&str], is_cordoned: bool) -> Value {
    let entry = |manager: &&str| {
        let operation = if *manager == "tidegate" { "Apply" } else { "Update" };
        json!({"manager": manager, "operation": operation, "fieldsV1": {"f:spec": {"f:unschedulable": {}}}})
    };
    let mut fields: Vec<Value> = owners.iter().map(entry).collect();
    fields.push(json!({"manager": "kubelet", "operation": "Update",
        "fieldsV1": {"f:metadata": {"f:labels": {"f:zone": {}}}}}));
    let mut node = json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "node-1", "uid": "n1", "labels": {"zone": "z1"}, "managedFields": fields},
        "spec": {"podCIDR": "10.0.0.0/24"}});
    if is_cordoned {
        node["spec"]["unschedulable"] = json!(true);
    }
    node
}

fn wanted() -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}, "spec": {"unschedulable": true}})
}

/// What is done to the node: the action, its fields, and what stays for others.
fn done(world: &World) -> Vec<(Action, Vec<String>, Vec<String>)> {
    let changes = world.diff().changes;
    let told = |change: &Change| {
        let fields = change.fields.iter().map(|field| field.path.clone()).collect();
        let kept = change.kept.iter().map(|kept| kept.manager.clone()).collect();
        (change.action, fields, kept)
    };
    assert!(changes.iter().all(|change| change.stranger.is_none()));
    changes.iter().map(told).collect()
}

#[test]
fn a_node_that_is_there_gets_the_field_and_need_not_be_adopted() {
    let mut world = World::new();
    let reference = world.want(&wanted());
    let predicted = Prediction::Exact(Object::new(node(&["tidegate"], true)).into());
    world.observe(&reference, Some(&node(&[], false)), predicted);
    assert_eq!(done(&world), [(Action::Configure, vec!["spec.unschedulable".to_owned()], vec![])]);
}

#[test]
fn a_node_that_is_not_there_is_not_made() {
    let mut world = World::new();
    let reference = world.want(&wanted());
    world.observe(&reference, None, Prediction::Exact(Object::new(wanted()).into()));
    assert!(world.diff().is_empty());
}

#[rstest]
#[case::ours_alone(&["tidegate"], true, true, &[])]
#[case::somebody_cordoned_it_too(&["tidegate", "kubectl-cordon"], true, false, &["kubectl-cordon"])]
fn what_we_have_set_is_given_up_and_what_others_have_set_stays(
    #[case] owners: &[&str],
    #[case] is_cordoned: bool,
    #[case] is_lifted: bool,
    #[case] stays_for: &[&str],
) {
    let mut world = World::new();
    let reference = Object::new(wanted()).reference(CLUSTER);
    world.observe(&reference, Some(&node(owners, is_cordoned)), Prediction::NotDesired);
    world.own(&reference, "n1", None);
    let fields = if is_lifted { vec!["spec.unschedulable".to_owned()] } else { vec![] };
    let kept = stays_for.iter().map(|it| (*it).to_owned()).collect();
    assert_eq!(done(&world), [(Action::Configure, fields, kept)]);
}

#[rstest]
#[case::lifted_by_hand(Some(node(&[], false)))]
#[case::lifted_and_cordoned_by_hand(Some(node(&["kubectl-cordon"], true)))]
#[case::gone(None)]
fn where_nothing_is_ours_any_more_nothing_is_done(#[case] live: Option<Value>) {
    let mut world = World::new();
    let reference = Object::new(wanted()).reference(CLUSTER);
    world.observe(&reference, live.as_ref(), Prediction::NotDesired);
    world.own(&reference, "n1", None);
    assert!(world.diff().is_empty());
}
