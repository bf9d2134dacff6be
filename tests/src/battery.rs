//! Behaviours of a Kubernetes API and its controllers, run on the sandbox and on a real server; their answers must be the same.
//!
//! A behaviour is a short conversation. What the server says is recorded with everything left out that may differ between two
//! servers of one version (uids, times, addresses) and what only newer versions than the real one have.
#![expect(clippy::indexing_slicing, reason = "JSON values give null for what is not there")]

pub mod access;
pub mod apply;
mod building;
pub mod conversation;
pub mod defaults;
pub mod ground;
pub mod normal;
pub mod objects;
pub mod reference;
pub mod watches;
pub mod workloads;

use std::sync::LazyLock;

use futures::future::BoxFuture;

use conversation::Conversation;
pub use ground::Ground;

/// One conversation.
pub struct Behaviour {
    /// What it is called in reports.
    pub name: String,
    /// The file it is in, without its ending; the file says what the group is about.
    pub group: String,
    /// The first minor version of Kubernetes 1 that behaves so; older servers leave it out.
    pub since: u32,
    /// Whether it needs a controller manager.
    pub needs_controllers: bool,
    how: How,
}

enum How {
    Programmed(for<'ground> fn(&'ground mut Ground) -> BoxFuture<'ground, ()>),
    Written(Conversation),
}

impl Behaviour {
    /// Has the conversation; what was recorded is in the ground then.
    pub async fn run(&self, ground: &mut Ground) {
        match &self.how {
            How::Programmed(run) => run(ground).await,
            How::Written(conversation) => conversation.run(ground).await,
        }
    }
}

/// All behaviours, in the order of their files: those that are programmed, then those that are written down.
pub fn all() -> &'static [Behaviour] {
    static ALL: LazyLock<Vec<Behaviour>> = LazyLock::new(|| {
        let mut all = programmed();
        for (group, file) in conversation::groups() {
            all.extend(file.behaviours.into_iter().map(|conversation| Behaviour {
                name: conversation.name.clone(),
                group: group.clone(),
                since: conversation.since,
                needs_controllers: conversation.controllers,
                how: How::Written(conversation),
            }));
        }
        all
    });
    &ALL
}

macro_rules! behaviours {
    ($($module:ident { $($name:ident $(since $since:literal)? $(with $controllers:ident)?),* $(,)? })*) => {
        vec![$($(Behaviour {
            name: stringify!($name).to_owned(),
            group: stringify!($module).to_owned(),
            since: 0 $(+ $since)?,
            needs_controllers: [$(stringify!($controllers),)? ""].len() > 1,
            how: How::Programmed(|ground| Box::pin($module::$name(ground))),
        },)*)*]
    };
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn programmed() -> Vec<Behaviour> {
    behaviours! {
        objects {
            an_object_is_created_read_listed_and_deleted,
            creating_twice_is_refused,
            a_taken_name_is_refused_after_everything_else,
            what_is_missing_is_not_found,
            a_stale_update_is_refused,
            an_update_without_a_change_writes_nothing,
            labels_select,
            fields_select,
            lists_are_cut_and_continued,
            a_finalizer_holds_a_deletion_back,
            a_deletion_can_ask_for_a_uid,
            many_are_deleted_at_once,
            names_are_generated,
            invalid_names_are_refused,
            a_dry_run_writes_nothing,
            patches_merge,
            patches_by_json,
            patches_are_strategic,
            the_status_is_apart,
            unknown_kinds_are_not_found,
            a_namespace_must_be_there,
            a_namespace_takes_everything_with_it with controllers,
            dependents_go_with_their_owner with controllers,
            orphans_stay_without_their_owner with controllers,
            strict_validation_names_every_field since 25,
        }
        apply {
            applying_creates_and_owns,
            applying_the_same_again_writes_nothing,
            a_conflict_names_the_field_and_the_manager,
            a_conflict_names_every_field,
            force_takes_a_field_over,
            what_a_manager_gives_up_goes,
            what_two_managers_share_stays,
            equal_values_are_shared,
            containers_are_merged_by_name,
            merged_items_come_in_the_applied_order since 24,
            variables_are_merged_by_name,
            container_ports_are_merged_by_number_and_protocol,
            service_ports_are_merged_by_number_and_protocol,
            atomic_lists_are_replaced,
            atomic_maps_are_replaced since 22,
            an_update_takes_ownership,
            a_dry_run_of_apply_predicts,
            applying_needs_a_manager,
            applying_wrong_types_is_refused,
            applying_wrong_names_is_refused,
            applying_managed_fields_is_refused,
            applying_over_a_created_object,
            ownership_can_be_handed_over,
            ownership_is_not_handed_over_after_a_write,
            an_apply_can_ask_for_what_was_seen,
            an_apply_of_what_is_gone_makes_nothing,
            an_apply_without_force_leaves_what_others_made,
        }
        defaults {
            a_deployment_is_completed,
            a_stateful_set_is_completed,
            a_daemon_set_is_completed,
            a_job_is_completed,
            a_service_is_completed,
            a_claim_is_completed,
            a_budget_is_completed,
            an_ingress_is_completed,
            a_pod_is_completed,
            quantities_are_canonical,
            secrets_take_plain_text,
            a_deployments_selector_stays,
            a_stateful_set_keeps_most_of_its_spec,
            a_jobs_template_stays,
            a_services_address_stays,
            an_address_that_is_left_out_is_kept since 23,
            a_role_binding_keeps_its_role,
            a_pods_spec_stays,
            an_immutable_config_map_stays,
            a_claim_keeps_its_spec,
            invalid_workloads_are_refused,
            invalid_services_are_refused,
        }
        watches {
            a_watch_tells_what_happened,
            a_watch_with_a_selector_tells_what_came_and_went,
            a_watch_without_a_version_begins_with_what_is_there,
            a_watch_ends_when_its_time_is_over,
            a_watch_tells_of_a_deletion_that_is_held_back,
            what_is_gone_is_told_as_it_was_last,
            what_no_longer_matches_is_told_as_it_was_before,
            a_watch_of_pods_selects_by_their_fields,
            a_watch_tells_nothing_of_dry_runs,
            a_watch_of_all_namespaces_tells_of_this_one_too,
            watches_that_are_none_are_refused,
        }
        access {
            roles_allow_and_forbid,
            impersonated_users_are_held_to_their_roles,
            a_user_can_ask_what_it_may_do,
        }
        workloads {
            a_deployment_rolls_within_its_limits with controllers,
            a_broken_deployment_stops with controllers,
            a_deployment_that_is_held_back_opens_by_its_budget with controllers,
            a_deployment_goes_back_to_an_old_revision with controllers,
            a_stateful_set_starts_in_order with controllers,
            a_partition_keeps_the_lower_ordinals with controllers,
            evicted_pods_of_a_parallel_set_come_back_new with controllers,
            a_stateful_set_on_delete_waits with controllers,
            a_daemon_set_on_delete_waits with controllers,
            a_job_completes with controllers,
            a_job_fails_after_its_retries with controllers,
            a_budget_refuses_evictions with controllers,
            a_service_finds_its_pods with controllers,
            a_load_balancer_gets_an_address with controllers,
            claims_are_bound with controllers,
        }
    }
}
