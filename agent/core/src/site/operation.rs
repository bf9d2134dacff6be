//! What operations ask of apps once: a restart, another run of a task or of a test.

use jiff::Timestamp;
use tidegate_schema::app::{App, AppKind};
use tidegate_schema::operation::Action;
use tidegate_schema::scalar::Name;

use super::ValidSite;
use crate::desired::{Asked, UnitId};

/// The apps that an action is done to once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    /// The action's name in the document.
    pub(crate) verb: &'static str,
    /// The field that names apps: `app` or `apps`.
    pub(crate) field: &'static str,
    pub(crate) product: &'a Name,
    /// Apps that are named; all that fit when empty.
    pub(crate) apps: &'a [Name],
    /// Clusters that are named; all of the product when empty.
    pub(crate) clusters: &'a [Name],
    /// The kind of app that it is for.
    pub(crate) kind: AppKind,
}

impl<'a> Target<'a> {
    /// Of an action that is done once; `None` for others.
    pub(crate) fn of(action: &'a Action) -> Option<Self> {
        let (verb, target, kind) = match action {
            Action::Restart(target) => ("restart", target, AppKind::Standard),
            Action::Test(target) => ("test", target, AppKind::Test),
            Action::RerunTask(target) => {
                return Some(Self {
                    verb: "rerunTask",
                    field: "app",
                    product: &target.product,
                    apps: std::slice::from_ref(&target.app),
                    clusters: &target.clusters,
                    kind: AppKind::Task,
                });
            }
            Action::Offline(_)
            | Action::Online(_)
            | Action::Scale(_)
            | Action::Resize(_)
            | Action::Uninstall(_)
            | Action::Cordon(_)
            | Action::Drain(_)
            | Action::Rollback(_) => return None,
        };
        let (product, apps, clusters) = (&target.product, &target.apps, &target.clusters);
        Some(Self { verb, field: "apps", product, apps, clusters, kind })
    }

    /// Whether it means this app, where it stands.
    pub(crate) fn is_of(&self, app: &App) -> bool {
        app.kind == self.kind && (self.apps.is_empty() || self.apps.contains(&app.name))
    }

    /// Whether it means this cluster.
    pub(crate) fn is_in(&self, cluster: &str) -> bool {
        self.clusters.is_empty() || self.clusters.iter().any(|it| *it == *cluster)
    }
}

impl ValidSite {
    /// What operations ask for once, of those that stand at `now`; whether it was carried out already is the baseline's to
    /// say. In order, nothing twice.
    pub(crate) fn asked(&self, now: Timestamp) -> Vec<Asked> {
        let mut asked = Vec::new();
        for (name, operation) in self.standing_operations(now) {
            let Some(target) = Target::of(&operation.spec.action) else { continue };
            let Some(deployment) = self.deployment(target.product.as_str()) else { continue };
            let places = deployment.placements.iter();
            for (cluster, placement) in places.filter(|(cluster, _)| target.is_in(cluster)) {
                for placed in placement.apps.iter().filter(|placed| target.is_of(&placed.app)) {
                    let unit = UnitId {
                        cluster: cluster.clone(),
                        product: deployment.product.clone(),
                        app: placed.app.name.to_string(),
                    };
                    asked.push(Asked { operation: name.to_owned(), unit });
                }
            }
        }
        asked.sort();
        asked.dedup();
        asked
    }
}
