//! The battery: each behaviour on the sandbox and on a real API server, whose answers must be the same.
//!
//! What a real server of 1.20 says is kept in `battery/`, so that the sandbox is held to it where there is no real one. Where there is
//! one its answers count, and those that are kept must be current; `TIDEGATE_RECORD=1` writes them anew.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use kube::Client;
use similar::TextDiff;
use tidegate_sandbox::{Options, Sandbox};
use tidegate_tests::battery::{Behaviour, Ground, all, by_name, ground::minor_version, reference};
use tidegate_tests::real_cluster::{LEFT_OUT, NODES, RealCluster};

/// The minor version that the kept answers are from.
const KEPT: u32 = 20;

/// What a server says in a conversation.
async fn record(behaviour: &Behaviour, client: Client, compared: u32) -> String {
    let namespace = format!("battery-{}", behaviour.name.replace('_', "-"));
    let mut ground = Ground::new(client, &namespace, compared).await;
    behaviour.run(&mut ground).await;
    ground.clear().await;
    ground.into_record()
}

/// A real server that the behaviour can be had on, with its minor version; else why not.
async fn real_server(behaviour: &Behaviour) -> Result<(Client, u32), String> {
    let Some(cluster) = RealCluster::shared() else { return Err("no binaries".to_owned()) };
    let client = cluster.client().await;
    let minor = minor_version(&client).await;
    if minor < behaviour.since {
        return Err(format!(
            "the real server is 1.{minor}, and this is so since 1.{}",
            behaviour.since
        ));
    }
    if behaviour.needs_controllers && !cluster.has_controllers() {
        return Err("no controller manager".to_owned());
    }
    Ok((client, minor))
}

fn kept(behaviour: &Behaviour) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("battery").join(format!("{}.txt", behaviour.name))
}

/// What the sandbox must say, and the minor version that it is compared for; `None` where nobody can tell.
async fn expected(behaviour: &Behaviour) -> Option<(String, u32)> {
    let file = kept(behaviour);
    let Ok((client, minor)) = real_server(behaviour).await else {
        return std::fs::read_to_string(file).ok().map(|said| (said, KEPT));
    };
    let said = record(behaviour, client, minor).await;
    if std::env::var_os("TIDEGATE_RECORD").is_some() {
        std::fs::write(&file, &said).expect("failed to keep the answers");
    } else if minor == KEPT {
        let old = std::fs::read_to_string(&file).unwrap_or_default();
        differ_not(&old, &said, "kept in battery/", "said by the real server");
    }
    Some((said, minor))
}

fn differ_not(left: &str, right: &str, left_name: &str, right_name: &str) {
    let difference = TextDiff::from_lines(left, right);
    let shown =
        difference.unified_diff().context_radius(6).header(left_name, right_name).to_string();
    assert!(left == right, "the answers differ\n{shown}");
}

async fn check(name: &str) {
    let behaviour = by_name(name).expect("a behaviour of that name");
    let Some((expected, minor)) = expected(behaviour).await else { return };
    let options = Options { nodes: u32::try_from(NODES).expect("few nodes"), ..Options::default() };
    let sandbox = Sandbox::start(options).expect("a sandbox");
    let client = Client::new(sandbox.service(), "default");
    let said = record(behaviour, client, minor).await;
    differ_not(&expected, &said, "said by the real server", "said by the sandbox");
}

/// A test for each behaviour, and their names.
macro_rules! each {
    ($($name:ident)*) => {
        $(#[tokio::test] async fn $name() { check(stringify!($name)).await; })*
        const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

each! {
    an_object_is_created_read_listed_and_deleted
    creating_twice_is_refused
    a_taken_name_is_refused_after_everything_else
    what_is_missing_is_not_found
    a_stale_update_is_refused
    an_update_without_a_change_writes_nothing
    labels_select
    fields_select
    lists_are_cut_and_continued
    a_finalizer_holds_a_deletion_back
    a_deletion_can_ask_for_a_uid
    many_are_deleted_at_once
    names_are_generated
    invalid_names_are_refused
    a_dry_run_writes_nothing
    patches_merge
    patches_by_json
    patches_are_strategic
    the_status_is_apart
    unknown_kinds_are_not_found
    a_namespace_must_be_there
    a_namespace_takes_everything_with_it
    dependents_go_with_their_owner
    orphans_stay_without_their_owner
    strict_validation_names_every_field
    applying_creates_and_owns
    applying_the_same_again_writes_nothing
    a_conflict_names_the_field_and_the_manager
    a_conflict_names_every_field
    force_takes_a_field_over
    what_a_manager_gives_up_goes
    what_two_managers_share_stays
    equal_values_are_shared
    containers_are_merged_by_name
    merged_items_come_in_the_applied_order
    variables_are_merged_by_name
    container_ports_are_merged_by_number_and_protocol
    service_ports_are_merged_by_number_and_protocol
    atomic_lists_are_replaced
    atomic_maps_are_replaced
    an_update_takes_ownership
    a_dry_run_of_apply_predicts
    applying_needs_a_manager
    applying_wrong_types_is_refused
    applying_wrong_names_is_refused
    applying_managed_fields_is_refused
    applying_over_a_created_object
    ownership_can_be_handed_over
    ownership_is_not_handed_over_after_a_write
    an_apply_can_ask_for_what_was_seen
    an_apply_of_what_is_gone_makes_nothing
    an_apply_without_force_leaves_what_others_made
    a_deployment_is_completed
    a_stateful_set_is_completed
    a_daemon_set_is_completed
    a_job_is_completed
    a_service_is_completed
    a_claim_is_completed
    a_budget_is_completed
    an_ingress_is_completed
    a_pod_is_completed
    quantities_are_canonical
    secrets_take_plain_text
    a_deployments_selector_stays
    a_stateful_set_keeps_most_of_its_spec
    a_jobs_template_stays
    a_services_address_stays
    an_address_that_is_left_out_is_kept
    a_role_binding_keeps_its_role
    a_pods_spec_stays
    an_immutable_config_map_stays
    a_claim_keeps_its_spec
    invalid_workloads_are_refused
    invalid_services_are_refused
    a_watch_tells_what_happened
    a_watch_with_a_selector_tells_what_came_and_went
    a_watch_without_a_version_begins_with_what_is_there
    a_watch_ends_when_its_time_is_over
    roles_allow_and_forbid
    impersonated_users_are_held_to_their_roles
    a_user_can_ask_what_it_may_do
    a_deployment_rolls_within_its_limits
    a_broken_deployment_stops
    a_deployment_that_is_held_back_opens_by_its_budget
    a_deployment_goes_back_to_an_old_revision
    a_stateful_set_starts_in_order
    a_partition_keeps_the_lower_ordinals
    evicted_pods_of_a_parallel_set_come_back_new
    a_stateful_set_on_delete_waits
    a_daemon_set_on_delete_waits
    a_job_completes
    a_job_fails_after_its_retries
    a_budget_refuses_evictions
    a_service_finds_its_pods
    a_load_balancer_gets_an_address
    claims_are_bound
}

#[test]
fn the_reference_tells_what_the_battery_holds() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/sandbox.md");
    let page = reference::page();
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(&file, &page).expect("failed to write the reference");
    }
    let held = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        held == page,
        "docs/reference/sandbox.md is stale: run the battery with UPDATE_REFERENCE=1"
    );
}

#[test]
fn every_behaviour_is_a_test() {
    let names: Vec<_> = all().iter().map(|behaviour| behaviour.name).collect();
    assert_eq!(NAMES, names);
}

/// Written past the runner's capture: what is not compared must be seen when all tests pass.
#[tokio::test]
async fn what_is_left_out_is_said() {
    let mut said = Vec::new();
    if RealCluster::shared().is_none() {
        said.push(format!(
            "battery: {LEFT_OUT}; the sandbox is held to the answers kept from 1.{KEPT}"
        ));
    }
    for behaviour in all() {
        if let (Err(why), false) = (real_server(behaviour).await, kept(behaviour).exists()) {
            said.push(format!("battery: left out: {}: {why}", behaviour.name));
        }
    }
    let text: String = said.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
    std::io::stderr().write_all(text.as_bytes()).expect("an open standard error");
}
