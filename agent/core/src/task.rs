//! Tasks: why things change, in delivery terms, worked out against the baseline (model.md, "Tasks and limits").

use std::collections::{BTreeMap, BTreeSet};

use tidegate_schema::operation;
use tidegate_schema::policy::RolloutPolicy;
use tidegate_schema::scalar::Name;

use crate::baseline::{Baseline, BaselineApp};
use crate::change::{Action, Change, ChangeSet};
use crate::desired::{Asked, DesiredState, Unit, UnitId, UnitKind};
use crate::image;
use crate::object::ObjectRef;
use crate::order::{self, Needs};
use crate::plan::{ReleaseKind, Task, TaskKind};
use crate::site::{self, Deployment, ValidSite};

pub mod refusal;

/// What tasks are worked out from.
#[derive(Clone, Copy, Debug)]
pub struct Basis<'a> {
    /// What will be changed; what is excluded or could not be observed is not in it.
    pub changes: &'a ChangeSet,
    /// What should be.
    pub desired: &'a DesiredState,
    /// The site.
    pub site: &'a ValidSite,
    /// What was delivered; `None` before the first release.
    pub baseline: Option<&'a Baseline>,
    /// What operations ask for once, of what is to be done now.
    pub asked: &'a [Asked],
}

impl<'a> Basis<'a> {
    /// The app as delivered.
    pub fn delivered(&self, id: &UnitId) -> Option<&'a BaselineApp> {
        self.baseline?.products.get(&id.product)?.clusters.get(&id.cluster)?.get(&id.app)
    }

    /// The version of the app's product as delivered.
    fn version_of(&self, id: &UnitId) -> Option<&'a str> {
        Some(self.baseline?.products.get(&id.product)?.version.as_str())
    }

    /// Names of the operations that stand and ask for such a change of the app.
    fn operations(&self, id: &UnitId, kind: TaskKind) -> Vec<&'a str> {
        let is_of_kind = |name: &&str| {
            let operation = self.site.operations.get(*name);
            let made = operation.map(|it| &it.spec.action);
            let is_scale = matches!(kind, TaskKind::ScaleOut | TaskKind::ScaleIn);
            matches!(made, Some(operation::Action::Resize(_)) if kind == TaskKind::Resize)
                || matches!(made, Some(operation::Action::Offline(_)) if kind == TaskKind::TakeOffline)
                || matches!(made, Some(operation::Action::Scale(_)) if is_scale)
        };
        self.operations_of(id).filter(is_of_kind).collect()
    }

    /// The operation that holds the app at an earlier release.
    pub(crate) fn held_by(&self, id: &UnitId) -> Option<&'a str> {
        self.operations_of(id).find(|name| {
            let operation = self.site.operations.get(*name);
            operation.is_some_and(|it| matches!(it.spec.action, operation::Action::Rollback(_)))
        })
    }

    /// Names of the operations that made the app what it should be.
    fn operations_of(&self, id: &UnitId) -> impl Iterator<Item = &'a str> + use<'a> {
        let placement =
            self.site.deployment(&id.product).and_then(|it| it.placements.get(&id.cluster));
        let apps = placement.map(|it| it.apps.as_slice()).unwrap_or_default();
        let app = apps.iter().find(|app| app.app.name == *id.app.as_str());
        app.into_iter().flat_map(|app| &app.operations).map(String::as_str)
    }

    /// Names of the operations that ask for this app once.
    pub(crate) fn asked_by(&self, id: &UnitId) -> Vec<&'a str> {
        let own = self.asked.iter().filter(|asked| asked.unit == *id);
        own.map(|asked| asked.operation.as_str()).collect()
    }

    /// Whether the documents do not want the product in this cluster.
    fn is_unwanted(&self, product: &str, cluster: &str) -> bool {
        let deployment = self.site.deployment(product);
        !deployment.is_some_and(|deployment| deployment.placements.contains_key(cluster))
    }

    /// Whether the change deletes a workload of a product, or of a scaling group of one, that is uninstalled: then its pods
    /// go first.
    pub(crate) fn goes_offline(&self, change: &Change) -> bool {
        let (owner, cluster) = (&change.owner, change.object.cluster.as_str());
        let is_unwanted = |product: &String| {
            let group = owner.scaling_group.as_deref();
            self.is_unwanted(product, cluster)
                || group.is_some_and(|group| self.is_group_unwanted(product, cluster, group))
        };
        change.action == Action::Prune
            && change.object.runs_pods()
            && owner.product.as_ref().is_some_and(is_unwanted)
    }

    /// Whether the documents do not want a scaling group of the product in this cluster.
    fn is_group_unwanted(&self, product: &str, cluster: &str, group: &str) -> bool {
        let deployment = self.site.deployment(product);
        !deployment.is_some_and(|deployment| deployment.has_scaling_group(group, cluster))
    }

    /// The product that a change is about, in its cluster; or the scaling group that is uninstalled while the product stays.
    pub(crate) fn going(&self, change: &Change) -> Option<(String, String, Option<String>)> {
        let (product, cluster) = (change.owner.product.clone()?, change.object.cluster.clone());
        let group = change.owner.scaling_group.clone();
        let group = group.filter(|_| !self.is_unwanted(&product, &cluster));
        Some((product, cluster, group))
    }

    /// How a product changes; one that is uninstalled as the solution says that it was in.
    pub(crate) fn rollout_policy(&self, product: &str, app: Option<&str>) -> RolloutPolicy {
        let wanted = self.site.deployment(product).map(|deployment| &deployment.solution);
        let solution = wanted.or_else(|| {
            let own = |it: &&Change| it.owner.product.as_deref() == Some(product);
            self.changes.changes.iter().find(own)?.owner.solution.as_ref()
        });
        self.site.rollout_policy_of(product, app, solution.map(String::as_str))
    }

    /// Names of the operations that keep new pods off a node.
    fn cordoned_by(&self, node: &ObjectRef) -> Option<String> {
        let operations = self.site.operations.iter();
        let names: Vec<&str> = operations
            .filter(|(_, operation)| {
                let nodes = site::nodes(&operation.spec.action);
                nodes.is_some_and(|(_, cluster, nodes)| {
                    *cluster == *node.cluster && nodes.contains(&node.name)
                })
            })
            .map(|(name, _)| name.as_str())
            .collect();
        (!names.is_empty()).then(|| names.join(", "))
    }

    /// Names of the operations that stand and say of a product in a cluster that it goes.
    fn uninstalled_by(&self, product: &str, cluster: &str) -> Option<String> {
        let own = self.desired.uninstalls.iter();
        let names: Vec<&str> =
            own.filter(|it| it.is_of(product, cluster)).map(|it| it.operation.as_str()).collect();
        (!names.is_empty()).then(|| names.join(", "))
    }

    /// Whether anything of a scaling group was delivered to this cluster.
    fn is_group_delivered(&self, product: &str, cluster: &str, group: &str) -> bool {
        let known = self.baseline.and_then(|baseline| baseline.products.get(product));
        let apps = known.and_then(|known| known.clusters.get(cluster));
        let mut apps = apps.into_iter().flat_map(BTreeMap::values);
        apps.any(|app| app.scaling_group.as_deref() == Some(group))
    }

    /// Whether the product was delivered to this cluster.
    pub fn is_delivered(&self, product: &str, cluster: &str) -> bool {
        let known = self.baseline.and_then(|baseline| baseline.products.get(product));
        known.is_some_and(|known| known.clusters.contains_key(cluster))
    }
}

/// All tasks, ordered; one for all clusters in which the same happens.
pub fn tasks(basis: Basis<'_>) -> Vec<Task> {
    // Tasks without their clusters, each with these.
    let mut found: BTreeMap<Task, BTreeSet<String>> = BTreeMap::new();
    let mut explained: BTreeSet<(String, String, String)> = BTreeSet::new();
    let touched: BTreeSet<UnitId> = basis
        .changes
        .changes
        .iter()
        .filter(|change| change.action != Action::Keep && !change.drift)
        .filter_map(|change| {
            Some(UnitId {
                cluster: change.object.cluster.clone(),
                product: change.owner.product.clone()?,
                app: change.owner.app.clone()?,
            })
        })
        .collect();
    for unit in basis.desired.units.iter().filter(|unit| touched.contains(&unit.id)) {
        for reason in unit_reasons(basis, unit) {
            let id = &unit.id;
            explained.insert((id.cluster.clone(), id.product.clone(), id.app.clone()));
            found.entry(reason).or_default().insert(unit.id.cluster.clone());
        }
    }
    for asked in basis.asked {
        let id = &asked.unit;
        if id.is_node() {
            let operation = Some(basis.asked_by(id).join(", "));
            let reason = Task { operation, ..about(TaskKind::Drain, &id.app) };
            found.entry(reason).or_default().insert(id.cluster.clone());
            continue;
        }
        let mut units = basis.desired.units.iter();
        let is_there = basis.is_delivered(&id.product, &id.cluster);
        if is_there
            && let Some(unit) = units.find(|it| it.id == *id && it.kind == UnitKind::Standard)
        {
            let operation = Some(basis.asked_by(id).join(", "));
            let reason = Task { operation, ..of_app(TaskKind::Restart, unit) };
            found.entry(reason).or_default().insert(id.cluster.clone());
        }
    }
    for change in basis.changes.changes.iter().filter(|change| change.action != Action::Keep) {
        let place = (
            change.object.cluster.clone(),
            change.owner.product.clone().unwrap_or_default(),
            change.owner.app.clone().unwrap_or_default(),
        );
        if explained.contains(&place) && !change.drift && change.action != Action::Prune {
            continue;
        }
        let reason = change_reason(basis, change);
        found.entry(reason).or_default().insert(change.object.cluster.clone());
    }
    for zone in &basis.changes.zones {
        let kind =
            if zone.action == Action::Prune { TaskKind::Unresolve } else { TaskKind::Resolve };
        found.entry(about(kind, &zone.zone)).or_default();
    }
    let with_clusters = |(task, clusters): (Task, BTreeSet<String>)| Task {
        clusters: clusters.into_iter().collect(),
        ..task
    };
    found.into_iter().map(with_clusters).collect()
}

/// A task about a product, role, grant or zone as a whole.
fn about(kind: TaskKind, subject: &str) -> Task {
    Task {
        kind,
        subject: subject.to_owned(),
        app: None,
        scaling_group: None,
        clusters: Vec::new(),
        from: String::new(),
        to: String::new(),
        operation: None,
    }
}

/// A task about an app.
fn of_app(kind: TaskKind, unit: &Unit) -> Task {
    let (app, scaling_group) = (Some(unit.id.app.clone()), unit.scaling_group.clone());
    Task { app, scaling_group, ..about(kind, &unit.id.product) }
}

/// Why one app changes. An installation says it all at once, of a product or of one scaling group of it.
fn unit_reasons(basis: Basis<'_>, unit: &Unit) -> Vec<Task> {
    let id = &unit.id;
    let reason = |kind: TaskKind, from: String, to: String| Task { from, to, ..of_app(kind, unit) };
    if !basis.is_delivered(&id.product, &id.cluster) {
        let to = unit.version.clone();
        return vec![Task { to, ..about(TaskKind::Install, &id.product) }];
    }
    if let Some(group) = &unit.scaling_group
        && !basis.is_group_delivered(&id.product, &id.cluster, group)
    {
        let (scaling_group, to) = (Some(group.clone()), unit.version.clone());
        return vec![Task { scaling_group, to, ..about(TaskKind::Install, &id.product) }];
    }
    let old = basis.delivered(id);
    if unit.kind == UnitKind::Standard
        && let Some(operation) = basis.held_by(id)
    {
        let from = old.map(|old| tag(&old.image)).unwrap_or_default();
        let operation = Some(operation.to_owned());
        return vec![Task { operation, ..reason(TaskKind::Rollback, from, tag(&unit.image)) }];
    }
    let by = Some(basis.asked_by(id).join(", ")).filter(|names| !names.is_empty());
    let job = |kind| vec![Task { operation: by, ..reason(kind, String::new(), tag(&unit.image)) }];
    match unit.kind {
        UnitKind::Task => return job(TaskKind::Run),
        UnitKind::Test => return job(TaskKind::Test),
        UnitKind::Standard => {}
    }
    let Some(old) = old else {
        return vec![reason(TaskKind::Deploy, String::new(), tag(&unit.image))];
    };
    let asked = |task: Task| {
        let operations = basis.operations(id, task.kind);
        let operation = (!operations.is_empty()).then(|| operations.join(", "));
        Task { operation, ..task }
    };
    let mut reasons = Vec::new();
    if unit.offline && !old.offline {
        reasons.push(asked(reason(TaskKind::TakeOffline, tag(&old.image), String::new())));
    } else if old.offline && !unit.offline {
        reasons.push(reason(TaskKind::BringOnline, String::new(), tag(&unit.image)));
    } else if let Some(from) = basis.version_of(id).filter(|it| unit.offline && *it != unit.version)
    {
        // Its pods stay idle, whatever the version.
        reasons.push(reason(TaskKind::Deploy, from.to_owned(), unit.version.clone()));
    } else if old.image != unit.image || old.inputs != unit.inputs {
        reasons.push(reason(TaskKind::Deploy, tag(&old.image), tag(&unit.image)));
    }
    if old.cpu != unit.cpu || old.memory != unit.memory {
        let (from, to) = (resources(&old.cpu, &old.memory), resources(&unit.cpu, &unit.memory));
        reasons.push(asked(reason(TaskKind::Resize, from, to)));
    }
    if old.replicas != unit.replicas {
        let kind =
            if unit.replicas > old.replicas { TaskKind::ScaleOut } else { TaskKind::ScaleIn };
        let (from, to) = (old.replicas.to_string(), unit.replicas.to_string());
        reasons.push(asked(reason(kind, from, to)));
    }
    reasons
}

/// Why one object changes that no app explains.
fn change_reason(basis: Basis<'_>, change: &Change) -> Task {
    let owner = &change.owner;
    let (app, scaling_group) = (owner.app.clone(), owner.scaling_group.clone());
    if change.drift {
        let node = || change.object.is_node().then_some(&change.object.name);
        let subject = owner.product.as_ref().or(owner.access.as_ref()).or_else(node);
        let subject = subject.unwrap_or(&basis.site.name);
        return Task { app, scaling_group, ..about(TaskKind::Correct, subject) };
    }
    if change.object.is_node() {
        let by = basis.cordoned_by(&change.object);
        let kind = if change.desired.is_some() { TaskKind::Cordon } else { TaskKind::Uncordon };
        return Task { operation: by, ..about(kind, &change.object.name) };
    }
    if let Some(access) = &owner.access {
        return about(access_kind(basis, access, change.action), access);
    }
    let Some(product) = &owner.product else {
        let kind = if change.action == Action::Prune { TaskKind::Prune } else { TaskKind::Apply };
        return about(kind, &basis.site.name);
    };
    let cluster = &change.object.cluster;
    let deployment = basis.site.deployment(product);
    let version = |from_baseline: bool| {
        let old = || Some(basis.baseline?.products.get(product)?.version.clone());
        let new = || Some(deployment?.version.to_string());
        if from_baseline { old() } else { new() }.unwrap_or_default()
    };
    if basis.is_unwanted(product, cluster) {
        let (from, operation) = (version(true), basis.uninstalled_by(product, cluster));
        return Task { from, operation, ..about(TaskKind::Uninstall, product) };
    }
    if !basis.is_delivered(product, cluster) {
        return Task { to: version(false), ..about(TaskKind::Install, product) };
    }
    if let Some(group) = &scaling_group
        && basis.is_group_unwanted(product, cluster, group)
    {
        let from = version(true);
        return Task { scaling_group, from, ..about(TaskKind::Uninstall, product) };
    }
    let kind = if change.action == Action::Prune { TaskKind::Prune } else { TaskKind::Apply };
    Task { app, scaling_group, ..about(kind, product) }
}

/// A grant whose time is over is still in the documents: that it ends was approved with it.
fn access_kind(basis: Basis<'_>, access: &str, action: Action) -> TaskKind {
    let is_documented =
        access.strip_prefix("grant/").is_some_and(|name| basis.site.grants.contains_key(name));
    match (action, is_documented) {
        (Action::Prune, true) => TaskKind::Expire,
        (Action::Prune, false) => TaskKind::Revoke,
        _ => TaskKind::Grant,
    }
}

/// What people call an image's version: its tag, and the start of the digest that it is pinned to.
fn tag(image: &str) -> String {
    let image = image::short(image);
    let name = image.rsplit('/').next().unwrap_or(&image);
    let (name, digest) = match name.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (name, None),
    };
    match (name.split_once(':'), digest) {
        (Some((_, tag)), Some(digest)) => format!("{tag} ({digest})"),
        (Some((_, tag)), None) => tag.to_owned(),
        (None, Some(digest)) => digest.to_owned(),
        (None, None) => "latest".to_owned(),
    }
}

fn resources(cpu: &str, memory: &str) -> String {
    let shown = |text: &str| if text.is_empty() { "–".to_owned() } else { text.to_owned() };
    format!("{} CPU, {}", shown(cpu), shown(memory))
}

/// The kind of release that these tasks make (delivery.md A.10): the gravest of them counts.
pub fn release_kind(tasks: &[Task]) -> ReleaseKind {
    let kind = |task: &Task| match task.kind {
        TaskKind::Run if task.operation.is_some() => ReleaseKind::Operation,
        TaskKind::Install
        | TaskKind::Deploy
        | TaskKind::Run
        | TaskKind::Apply
        | TaskKind::Prune
        | TaskKind::Grant
        | TaskKind::Revoke
        | TaskKind::Expire
        | TaskKind::Resolve
        | TaskKind::Unresolve => ReleaseKind::Release,
        TaskKind::ScaleOut
        | TaskKind::ScaleIn
        | TaskKind::Resize
        | TaskKind::Restart
        | TaskKind::TakeOffline
        | TaskKind::BringOnline
        | TaskKind::Correct
        | TaskKind::Rollback
        | TaskKind::Cordon
        | TaskKind::Uncordon
        | TaskKind::Drain
        | TaskKind::Uninstall => ReleaseKind::Operation,
        TaskKind::Test => ReleaseKind::Test,
    };
    tasks.iter().map(kind).min().unwrap_or(ReleaseKind::Release)
}

/// The products of the site with those that each changes after: those that it requires, unless a solution gives an order.
pub fn requires(site: &ValidSite) -> Needs {
    let own = |deployment: &Deployment| {
        deployment.requires.iter().map(|requirement| requirement.product.to_string()).collect()
    };
    let all = site.deployments.iter();
    let mut needs: Needs = all.map(|(name, deployment)| (name.clone(), own(deployment))).collect();
    for order in &site.orders {
        order::put_in_order(&mut needs, &names(&order.products));
    }
    needs
}

fn names(names: &[Name]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

/// The apps of each product with those that each changes after, in all clusters together: those that it names, unless a
/// solution gives an order.
pub(crate) fn after(desired: &DesiredState, site: &ValidSite) -> BTreeMap<String, Needs> {
    let mut all: BTreeMap<String, Needs> = BTreeMap::new();
    for unit in &desired.units {
        let own = all.entry(unit.id.product.clone()).or_default();
        own.entry(unit.id.app.clone()).or_default().extend(unit.after.iter().cloned());
    }
    for (product, apps) in site.orders.iter().flat_map(|order| &order.apps) {
        if let Some(needs) = all.get_mut(product.as_str()) {
            order::put_in_order(needs, &names(apps));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("r.bank:5000/web/front", "latest")]
    #[case("r.bank:5000/web/front:1.0", "1.0")]
    #[case(
        "r.bank:5000/web/front:1.0@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "1.0 (0123456789ab)"
    )]
    #[case(
        "web/front@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "0123456789ab"
    )]
    fn people_read_the_tag_and_the_start_of_the_digest(#[case] image: &str, #[case] shown: &str) {
        assert_eq!(tag(image), shown);
    }
}
