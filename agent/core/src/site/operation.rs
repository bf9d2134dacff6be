//! What operations ask of apps beside their size: once, a restart or another run of a task or test; as long as the document
//! stands, to be offline.

use std::collections::BTreeSet;

use jiff::Timestamp;
use tidegate_schema::app::{App, AppKind};
use tidegate_schema::operation::{Action, Operation};
use tidegate_schema::scalar::Name;

use super::{Located, PlacedApp, ScalingGroupMember, ValidSite};
use crate::desired::{Asked, DrainTerms, Drained, Uninstalled, UnitId};

/// The name by which an operation means an app: that under which it runs, or in a scaling group that is named the
/// version's. `None` when it is not of that group.
pub(crate) fn name_in<'a>(
    scaling_group: Option<&Name>,
    app: &'a App,
    member: Option<&'a ScalingGroupMember>,
) -> Option<&'a str> {
    match (scaling_group, member) {
        (None, _) => Some(app.name.as_str()),
        (Some(group), Some(member)) if *group == *member.group => Some(&member.app),
        (Some(_), _) => None,
    }
}

/// The apps that an action is about, other than those about their size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    /// The action's name in the document.
    pub(crate) verb: &'static str,
    /// The field that names apps: `app` or `apps`.
    pub(crate) field: &'static str,
    pub(crate) product: &'a Name,
    /// Apps that are named; all that fit when empty.
    pub(crate) apps: &'a [Name],
    /// The scaling group that is named.
    pub(crate) scaling_group: Option<&'a Name>,
    /// Clusters that are named; all of the product when empty.
    pub(crate) clusters: &'a [Name],
    /// The kind of app that it is for.
    pub(crate) kind: AppKind,
    /// Whether it is done once; else it holds as long as its document stands.
    pub(crate) is_once: bool,
}

impl<'a> Target<'a> {
    /// Of an action; `None` for those that are about something else.
    pub(crate) fn of(action: &'a Action) -> Option<Self> {
        let (verb, target, kind, is_once) = match action {
            Action::Restart(target) => ("restart", target, AppKind::Standard, true),
            Action::Test(target) => ("test", target, AppKind::Test, true),
            Action::Offline(target) => ("offline", target, AppKind::Standard, false),
            Action::Online(target) => ("online", target, AppKind::Standard, false),
            Action::RerunTask(target) => {
                return Some(Self {
                    verb: "rerunTask",
                    field: "app",
                    product: &target.product,
                    apps: std::slice::from_ref(&target.app),
                    scaling_group: None,
                    clusters: &target.clusters,
                    kind: AppKind::Task,
                    is_once: true,
                });
            }
            Action::Scale(_)
            | Action::Resize(_)
            | Action::Uninstall(_)
            | Action::Cordon(_)
            | Action::Drain(_)
            | Action::Rollback(_) => return None,
        };
        let (product, apps, clusters) = (&target.product, &target.apps, &target.clusters);
        let scaling_group = target.scaling_group.as_ref();
        Some(Self { verb, field: "apps", product, apps, scaling_group, clusters, kind, is_once })
    }

    /// Whether it means this app, where it stands.
    pub(crate) fn is_of(&self, app: &App, member: Option<&ScalingGroupMember>) -> bool {
        let Some(name) = name_in(self.scaling_group, app, member) else { return false };
        let is_named = || self.apps.iter().any(|it| *it == *name);
        app.kind == self.kind && (self.apps.is_empty() || is_named())
    }

    /// Whether it means this cluster.
    pub(crate) fn is_in(&self, cluster: &str) -> bool {
        self.clusters.is_empty() || self.clusters.iter().any(|it| *it == *cluster)
    }
}

/// A node that an operation keeps new pods off.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cordon {
    pub(crate) cluster: String,
    pub(crate) node: String,
    pub(crate) operation: String,
}

/// The cluster and the nodes that an action is about; `None` for those that are about something else.
pub(crate) fn nodes(action: &Action) -> Option<(&'static str, &Name, &[String])> {
    match action {
        Action::Cordon(target) => Some(("cordon", &target.cluster, &target.nodes)),
        Action::Drain(target) => Some(("drain", &target.cluster, &target.nodes)),
        Action::Restart(_)
        | Action::Offline(_)
        | Action::Online(_)
        | Action::Scale(_)
        | Action::Resize(_)
        | Action::Uninstall(_)
        | Action::RerunTask(_)
        | Action::Test(_)
        | Action::Rollback(_) => None,
    }
}

impl ValidSite {
    /// Nodes that operations that stand at `now` keep new pods off, each once for each operation, in order.
    pub(crate) fn cordons(&self, now: Timestamp) -> BTreeSet<Cordon> {
        let standing = self.standing_operations(now);
        let of_one = |(name, operation): (&str, &Located<Operation>)| {
            let (_, cluster, nodes) = nodes(&operation.spec.action)?;
            let cordon = |node: &String| Cordon {
                cluster: cluster.to_string(),
                node: node.clone(),
                operation: name.to_owned(),
            };
            Some(nodes.iter().map(cordon).collect::<Vec<_>>())
        };
        standing.filter_map(of_one).flatten().collect()
    }

    /// Names of the operations that hold an app offline at `now`; none while another brings it online.
    pub(crate) fn offline_by(
        &self,
        now: Timestamp,
        (product, cluster): (&str, &str),
        (app, member): (&App, Option<&ScalingGroupMember>),
    ) -> Vec<String> {
        let mut names = Vec::new();
        for (name, operation) in self.standing_operations(now) {
            let action = &operation.spec.action;
            let is_meant = |target: Target<'_>| {
                *target.product == *product && target.is_of(app, member) && target.is_in(cluster)
            };
            if !Target::of(action).is_some_and(is_meant) {
                continue;
            }
            if matches!(action, Action::Online(_)) {
                return Vec::new();
            }
            if matches!(action, Action::Offline(_)) {
                names.push(name.to_owned());
            }
        }
        names
    }

    /// What operations that stand at `now` say of products that are removed, in order.
    pub(crate) fn uninstalls(&self, now: Timestamp) -> Vec<Uninstalled> {
        let standing = self.standing_operations(now).filter_map(|(name, operation)| {
            let Action::Uninstall(asked) = &operation.spec.action else { return None };
            Some(Uninstalled {
                operation: name.to_owned(),
                product: asked.product.to_string(),
                clusters: asked.clusters.iter().map(ToString::to_string).collect(),
                retain: asked.retain.clone(),
            })
        });
        standing.collect()
    }

    /// What operations ask for once, of those that stand at `now`; whether it was carried out already is the baseline's to
    /// say. In order, nothing twice.
    pub(crate) fn asked(&self, now: Timestamp) -> Vec<Asked> {
        let mut asked = Vec::new();
        for (name, operation) in self.standing_operations(now) {
            let target = Target::of(&operation.spec.action).filter(|target| target.is_once);
            let Some(target) = target else { continue };
            let Some(deployment) = self.deployment(target.product.as_str()) else { continue };
            let places = deployment.placements.iter();
            for (cluster, placement) in places.filter(|(cluster, _)| target.is_in(cluster)) {
                let is_meant = |it: &&PlacedApp| target.is_of(&it.app, it.member.as_ref());
                for placed in placement.apps.iter().filter(is_meant) {
                    let unit = UnitId {
                        cluster: cluster.clone(),
                        product: deployment.product.clone(),
                        app: placed.app.name.to_string(),
                    };
                    asked.push(Asked { operation: name.to_owned(), unit });
                }
            }
        }
        asked.extend(self.drains(now).into_iter().map(|drain| drain.asked));
        asked.sort();
        asked.dedup();
        asked
    }

    /// Nodes that operations that stand at `now` empty, in order.
    pub(crate) fn drains(&self, now: Timestamp) -> Vec<Drained> {
        let mut drains = Vec::new();
        for (name, operation) in self.standing_operations(now) {
            let Action::Drain(drain) = &operation.spec.action else { continue };
            drains.extend(drain.nodes.iter().map(|node| Drained {
                asked: Asked {
                    operation: name.to_owned(),
                    unit: UnitId::node(drain.cluster.as_str(), node),
                },
                terms: DrainTerms {
                    force: drain.force,
                    delete_empty_dir_data: drain.delete_empty_dir_data,
                },
            }));
        }
        drains
    }
}
