//! The valid site: everything that the documents say, checked and resolved. Only `validate` makes one.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use tidegate_schema::finding::Place;
use tidegate_schema::iam::{Grant, Group, Permission, Person, Role, ServiceAccount};
use tidegate_schema::operation::Operation;
use tidegate_schema::policy::{
    ApprovalPolicy, ApprovalRule, ApprovalTarget, ChangeWindow, MergeTrust, RolloutPolicy,
};
use tidegate_schema::product::{Requirement, SecretFields};
use tidegate_schema::scalar::Name;
use tidegate_schema::site::{Cluster, Site, Tier};
use tidegate_schema::solution::Order;

use crate::catalogue::Catalogue;
use crate::digest::Digest;
use crate::snapshot::Revision;
use crate::zone::ZoneData;

mod access;
mod deployment;
mod pins;
mod operation;
mod rollout;

pub(crate) use access::{allows, covers};
pub use deployment::{
    Deployment, EnvValue, Manifest, PlacedApp, PlacedLoadBalancer, Placement, ScalingGroupMember,
};
pub(crate) use operation::{Target, name_in, nodes};
pub use pins::{AppPins, Pins};

/// A site without errors: every reference holds, every value is found, every template is filled in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ValidSite {
    /// `metadata.name` of the `Site`.
    pub name: String,
    /// The commit that it comes from.
    pub revision: Revision,
    /// The `Site`.
    pub spec: Site,
    /// The clusters, by name.
    pub clusters: BTreeMap<String, SiteCluster>,
    /// The versions that could be asked for.
    pub catalogue: Catalogue,
    /// The products of all solutions, by product.
    pub deployments: BTreeMap<String, Deployment>,
    /// Rollout policies, by name; use [`ValidSite::rollout_policy`].
    pub rollout_policies: BTreeMap<String, RolloutPolicy>,
    /// Orders that solutions give instead of those that follow from dependencies.
    pub orders: Vec<Order>,
    /// The rollout policy that each solution names.
    pub solution_rollouts: BTreeMap<String, String>,
    /// Approval policies, by name; use [`ValidSite::approval_rules`].
    pub approval_policies: BTreeMap<String, ApprovalPolicy>,
    /// Change windows, by name; use [`ValidSite::windows`].
    pub change_windows: BTreeMap<String, ChangeWindow>,
    /// Persons, by name.
    pub persons: BTreeMap<String, Person>,
    /// Groups, by name.
    pub groups: BTreeMap<String, Group>,
    /// Service accounts, by name.
    pub service_accounts: BTreeMap<String, ServiceAccount>,
    /// Roles, by name.
    pub roles: BTreeMap<String, Located<Role>>,
    /// Grants, by name, also expired ones.
    pub grants: BTreeMap<String, Located<Grant>>,
    /// Zones as the documents say, by name; `render` adds the records of load balancers.
    pub zones: BTreeMap<String, Located<ZoneData>>,
    /// Fields of custom resources that hold secrets, by the documents of all versions.
    pub secret_fields: BTreeSet<SecretFields>,
    /// Operations, by name.
    pub operations: BTreeMap<String, Located<Operation>>,
    /// What its images are pinned to. `validate` knows no registry and leaves it empty.
    pub pins: Pins,
}

/// A cluster of the site.
#[derive(Clone, Debug)]
pub struct SiteCluster {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its document.
    pub spec: Cluster,
}

/// The spec of a document with where it is written.
#[derive(Clone, Debug)]
pub struct Located<T> {
    /// The spec.
    pub spec: T,
    /// Where the document begins.
    pub place: Place,
}

impl ValidSite {
    /// How much is at stake.
    pub fn tier(&self) -> Tier {
        self.spec.tier
    }

    /// The deployment of a product.
    pub fn deployment(&self, product: &str) -> Option<&Deployment> {
        self.deployments.get(product)
    }

    /// The products that must be there before a product; none for a product that is not deployed.
    pub fn requires(&self, product: &str) -> &[Requirement] {
        self.deployments
            .get(product)
            .map(|deployment| deployment.requires.as_slice())
            .unwrap_or_default()
    }

    /// The rules of all approval policies that are for this site's tier, each with its policy's name and its index in
    /// it, ordered by name. All rules that match a plan must be met.
    pub fn approval_rules(&self) -> impl Iterator<Item = (&str, usize, &ApprovalRule)> {
        self.own_approval_policies().flat_map(|(name, policy)| {
            policy.rules.iter().enumerate().map(move |(index, rule)| (name, index, rule))
        })
    }

    /// Whether any approval policy is for this site's tier. Without one nothing may be executed: a site says `rules: []`
    /// when it wants no approvals.
    pub fn has_approval_policy(&self) -> bool {
        self.own_approval_policies().next().is_some()
    }

    /// Whose signed merge counts, and as whose, by the approval policies of this site's tier.
    pub fn merge_trusts(&self) -> impl Iterator<Item = &MergeTrust> {
        self.own_approval_policies().filter_map(|(_, policy)| policy.merge.as_ref())
    }

    fn own_approval_policies(&self) -> impl Iterator<Item = (&str, &ApprovalPolicy)> {
        let own = self.approval_policies.iter();
        own.filter(|(_, policy)| applies(policy.applies_to.as_ref(), self.spec.tier))
            .map(|(name, policy)| (name.as_str(), policy))
    }

    /// The change windows that are for this site's tier, ordered by name. A change may go out when all of them allow it.
    pub fn windows(&self) -> impl Iterator<Item = (&str, &ChangeWindow)> {
        let own = self.change_windows.iter();
        own.filter(|(_, window)| applies(window.applies_to.as_ref(), self.spec.tier))
            .map(|(name, window)| (name.as_str(), window))
    }

    /// The persons whose word counts: those that are not frozen.
    pub fn persons(&self) -> impl Iterator<Item = (&str, &Person)> {
        let all = self.persons.iter();
        all.filter(|(_, person)| !person.frozen).map(|(name, person)| (name.as_str(), person))
    }

    /// The members of a group whose word counts.
    pub fn members(&self, group: &str) -> BTreeSet<&str> {
        let members =
            self.groups.get(group).map(|group| group.members.as_slice()).unwrap_or_default();
        members
            .iter()
            .map(Name::as_str)
            .filter(|name| self.persons.get(*name).is_some_and(|person| !person.frozen))
            .collect()
    }

    /// The digest of everything that says how and by whose leave changes go out: rollout and approval policies, windows,
    /// persons, groups and service accounts, and who may skip what fails. Changing them changes every plan's id.
    pub fn policies_digest(&self) -> Digest {
        let policies = (
            &self.rollout_policies,
            &self.solution_rollouts,
            &self.approval_policies,
            &self.change_windows,
            &self.persons,
            &self.groups,
            &self.service_accounts,
        );
        let skips = self.grants_of(Permission::DeliverySkip);
        let skips: Vec<_> = skips.map(|it| (&it.subject, &it.scope, it.expires)).collect();
        // Where nobody may skip it is what it was before there were such grants: no site is asked to approve anew for that.
        if skips.is_empty() { Digest::of(&policies) } else { Digest::of(&(policies, skips)) }
    }

    /// The grants in force at an instant, ordered by name.
    pub fn active_grants(&self, now: Timestamp) -> impl Iterator<Item = (&str, &Located<Grant>)> {
        let all = self.grants.iter();
        all.filter(move |(_, grant)| grant.spec.expires.is_none_or(|expires| expires > now))
            .map(|(name, grant)| (name.as_str(), grant))
    }

    /// When the desired state changes next without a commit: the earliest end of a grant or an operation after `now`.
    pub fn next_expiry(&self, now: Timestamp) -> Option<Timestamp> {
        let grants = self.grants.values().filter_map(|grant| grant.spec.expires);
        let operations = self.operations.values().filter_map(|operation| operation.spec.expires);
        grants.chain(operations).filter(|expires| *expires > now).min()
    }

    /// Operations that hold at `now`: their documents are there, and they are not over.
    pub fn standing_operations(
        &self,
        now: Timestamp,
    ) -> impl Iterator<Item = (&str, &Located<Operation>)> {
        let is_over = move |operation: &Located<Operation>| {
            operation.spec.expires.is_some_and(|expires| expires <= now)
        };
        let all = self.operations.iter().filter(move |(_, operation)| !is_over(operation));
        all.map(|(name, operation)| (name.as_str(), operation))
    }

    /// The names of the clusters that a selector selects; all of them without one.
    pub fn select(
        &self,
        selector: Option<&tidegate_schema::site::ClusterSelector>,
    ) -> BTreeSet<String> {
        let all = self.clusters.iter();
        all.filter(|(name, cluster)| {
            selector
                .is_none_or(|selector| selector.matches(name, &cluster.labels, &cluster.spec.cells))
        })
        .map(|(name, _)| name.clone())
        .collect()
    }
}

fn applies(target: Option<&ApprovalTarget>, tier: Tier) -> bool {
    target.is_none_or(|target| target.tiers.is_empty() || target.tiers.contains(&tier))
}
