//! The steps of each wave: what is applied and deleted together, and what each waits for.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_schema::finding::Finding;
use tidegate_schema::scalar::Duration;

use super::rollout::Asks;
use super::waves::{self, Layout};
use super::{drain, is_done, rollout};
use crate::change::{Action, Change};
use crate::desired::{Asked, Layer, Unit, UnitId, UnitKind};
use crate::live::LiveState;
use crate::order::{self, Needs};
use crate::plan::{Step, StepKind, Wave};
use crate::task::{self, Basis};

/// Where a step stands in its wave. The order of the variants is the order of the stages.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Foundation,
    /// A node that is emptied.
    Drain(String),
    Support,
    Task(String),
    /// An app, or all workloads of a product that belong to none (empty).
    Workload(String),
    /// An app whose pods start anew because an operation asks for it.
    Restart(String),
    Network,
    Test(String),
    /// The pods of what is uninstalled go.
    Offline,
    Prune,
}

/// Names one step: wave, cluster, product (empty for the site's own) and stage.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    wave: usize,
    cluster: String,
    product: String,
    stage: Stage,
}

/// All waves with their steps; waves without any are left out.
pub(super) fn waves(
    basis: Basis<'_>,
    live: &LiveState,
    layout: &Layout,
    findings: &mut Vec<Finding>,
) -> Vec<Wave> {
    let mut sets: BTreeMap<Key, Vec<&Change>> = BTreeMap::new();
    for change in basis.changes.changes.iter().filter(|change| is_done(change.action)) {
        sets.entry(key(layout, change)).or_default().push(change);
    }
    for change in basis.changes.changes.iter().filter(|change| basis.goes_offline(change)) {
        if let Some(key) = offline(basis, layout, change) {
            sets.entry(key).or_default().push(change);
        }
    }
    for asked in basis.asked {
        if let Some(key) = moved(basis, layout, &asked.unit) {
            sets.entry(key).or_default();
        }
    }
    let mut zones: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for zone in &basis.changes.zones {
        let wave = waves::zone_wave(basis, layout, &zone.zone, zone.action);
        zones.entry(wave).or_default().push(zone.zone.clone());
    }
    let builder = Builder::new(basis, live, layout, sets.keys(), zones);
    let mut steps: BTreeMap<usize, Vec<Step>> = BTreeMap::new();
    for (key, changes) in &sets {
        steps.entry(key.wave).or_default().push(builder.step(key, changes, findings));
    }
    for (wave, names) in &builder.zones {
        steps.entry(*wave).or_default().push(builder.zone_step(*wave, names));
    }
    let wave = |(index, steps): (usize, Vec<Step>)| {
        let slot = layout.slots.get(index).cloned().unwrap_or_default();
        let clusters: BTreeSet<String> =
            steps.iter().map(|step| step.cluster.clone()).filter(|name| !name.is_empty()).collect();
        Wave {
            name: slot.name,
            clusters: clusters.into_iter().collect(),
            bake_seconds: slot.bake_seconds,
            confirm: slot.confirm,
            steps: in_order(steps),
        }
    };
    steps.into_iter().map(wave).collect()
}

/// The step that empties a node, or the one that starts an app's pods anew, unless it is no app with pods or they are made anew anyway.
fn moved(basis: Basis<'_>, layout: &Layout, id: &UnitId) -> Option<Key> {
    if id.is_node() {
        return Some(Key {
            wave: layout.foundation(&id.cluster),
            cluster: id.cluster.clone(),
            product: String::new(),
            stage: Stage::Drain(id.app.clone()),
        });
    }
    let unit = basis.desired.units.iter().find(|unit| unit.id == *id)?;
    let mut changes = basis.changes.changes.iter();
    let is_anyway = changes.any(|it| it.object == unit.workload && rollout::replaces_pods(it));
    (unit.kind == UnitKind::Standard && !is_anyway).then(|| Key {
        wave: layout.part(&id.product, &id.cluster, unit.scaling_group.as_deref()),
        cluster: id.cluster.clone(),
        product: id.product.clone(),
        stage: Stage::Restart(id.app.clone()),
    })
}

/// The step that takes away the pods of what is uninstalled.
fn offline(basis: Basis<'_>, layout: &Layout, change: &Change) -> Option<Key> {
    let going = basis.going(change)?;
    let wave = layout.offline(&going)?;
    let (product, cluster, _) = going;
    Some(Key { wave, cluster, product, stage: Stage::Offline })
}

fn key(layout: &Layout, change: &Change) -> Key {
    let owner = &change.owner;
    let cluster = change.object.cluster.clone();
    let product = owner.product.clone().unwrap_or_default();
    let app = || owner.app.clone().unwrap_or_default();
    let group = owner.scaling_group.as_deref();
    let (wave, product, stage) = if change.action == Action::Prune {
        let wave = if product.is_empty() {
            layout.prune_foundation(&cluster)
        } else {
            layout.prune(&product, &cluster, group)
        };
        (wave, product, Stage::Prune)
    } else if product.is_empty() || owner.layer == Layer::Foundation {
        (layout.foundation(&cluster), String::new(), Stage::Foundation)
    } else {
        let stage = match owner.layer {
            Layer::Foundation | Layer::Support => Stage::Support,
            Layer::Task => Stage::Task(app()),
            Layer::Workload => Stage::Workload(app()),
            Layer::Network => Stage::Network,
            Layer::Test => Stage::Test(app()),
        };
        (layout.part(&product, &cluster, group), product, stage)
    };
    Key { wave, cluster, product, stage }
}

/// What a step does; an app's pods change in groups where it has a rollout.
fn kind(stage: &Stage, has_rollout: bool) -> StepKind {
    match stage {
        Stage::Foundation => StepKind::Objects(Layer::Foundation),
        Stage::Drain(_) => StepKind::Rollout,
        Stage::Support => StepKind::Objects(Layer::Support),
        Stage::Task(_) => StepKind::Job(Layer::Task),
        Stage::Workload(_) | Stage::Restart(_) if has_rollout => StepKind::Rollout,
        Stage::Workload(_) | Stage::Restart(_) => StepKind::Objects(Layer::Workload),
        Stage::Network => StepKind::Objects(Layer::Network),
        Stage::Test(_) => StepKind::Job(Layer::Test),
        Stage::Offline => StepKind::Offline,
        Stage::Prune => StepKind::Prune,
    }
}

/// A step that writes nothing yet, and is no product's.
fn bare(id: String, kind: StepKind, cluster: &str) -> Step {
    Step {
        id,
        kind,
        cluster: cluster.to_owned(),
        product: None,
        needs: Vec::new(),
        apply: Vec::new(),
        replace: Vec::new(),
        offline: Vec::new(),
        prune: Vec::new(),
        zones: Vec::new(),
        rollout: None,
        drain: None,
        operations: Vec::new(),
        timeout_seconds: rollout::TIMEOUT_SECONDS,
    }
}

struct Builder<'a> {
    basis: Basis<'a>,
    live: &'a LiveState,
    layout: &'a Layout,
    /// Steps by wave, cluster and product.
    places: BTreeMap<(usize, String, String), Vec<&'a Key>>,
    zones: BTreeMap<usize, Vec<String>>,
    units: BTreeMap<&'a UnitId, &'a Unit>,
    /// Everything that each product requires, also by way of others.
    required: Needs,
    /// Everything that each app comes after, by product.
    after: BTreeMap<String, Needs>,
}

impl<'a> Builder<'a> {
    fn new(
        basis: Basis<'a>,
        live: &'a LiveState,
        layout: &'a Layout,
        keys: impl Iterator<Item = &'a Key>,
        zones: BTreeMap<usize, Vec<String>>,
    ) -> Self {
        let mut places: BTreeMap<_, Vec<&Key>> = BTreeMap::new();
        for key in keys {
            let place = (key.wave, key.cluster.clone(), key.product.clone());
            places.entry(place).or_default().push(key);
        }
        let apps = task::after(basis.desired, basis.site);
        Self {
            basis,
            live,
            layout,
            places,
            zones,
            units: basis.desired.units.iter().map(|unit| (&unit.id, unit)).collect(),
            required: order::closures(&task::requires(basis.site)),
            after: apps
                .iter()
                .map(|(product, needs)| (product.clone(), order::closures(needs)))
                .collect(),
        }
    }

    /// The steps of a product in a cluster and wave.
    fn steps_of(&self, wave: usize, cluster: &str, product: &str) -> &[&'a Key] {
        let place = (wave, cluster.to_owned(), product.to_owned());
        self.places.get(&place).map(Vec::as_slice).unwrap_or_default()
    }

    /// All steps of a wave.
    fn steps_of_wave(&self, wave: usize) -> impl Iterator<Item = &'a Key> {
        let from = |wave: usize| (wave, String::new(), String::new());
        let own = self.places.range(from(wave)..from(wave + 1));
        own.flat_map(|(_, keys)| keys.iter().copied())
    }

    /// The steps of products that this one requires, where they count for it, in its wave.
    fn required_steps(&self, key: &Key) -> impl Iterator<Item = &'a Key> {
        let required = self.required.get(&key.product).into_iter().flatten();
        required
            .flat_map(|name| waves::required_places(self.basis.site, name, &key.cluster))
            .flat_map(|(product, cluster)| self.steps_of(key.wave, &cluster, &product).iter())
            .copied()
            .filter(|before| before.stage != Stage::Prune)
    }

    fn step(&self, key: &Key, changes: &[&Change], findings: &mut Vec<Finding>) -> Step {
        if let Stage::Drain(node) = &key.stage {
            return self.drain_step(key, &UnitId::node(&key.cluster, node));
        }
        let of = |wanted: &[Action]| -> Vec<_> {
            let own = changes.iter().filter(|change| wanted.contains(&change.action));
            own.map(|change| change.object.clone()).collect()
        };
        let mut apply = of(&[Action::Create, Action::Configure, Action::Move]);
        let (mut replace, mut prune) = (of(&[Action::Replace]), of(&[Action::Prune]));
        order::sort_for_apply(&mut apply);
        order::sort_for_apply(&mut replace);
        order::sort_for_delete(&mut prune);
        let is_offline = key.stage == Stage::Offline;
        let offline = if is_offline { std::mem::take(&mut prune) } else { Vec::new() };
        let app = match &key.stage {
            Stage::Task(app) | Stage::Workload(app) | Stage::Restart(app) | Stage::Test(app) => {
                Some(app.as_str())
            }
            Stage::Foundation
            | Stage::Drain(_)
            | Stage::Support
            | Stage::Network
            | Stage::Offline
            | Stage::Prune => None,
        };
        let policy = self.basis.rollout_policy(&key.product, app);
        let unit = app.and_then(|app| self.unit(&key.cluster, &key.product, app));
        let workload = unit.and_then(|unit| {
            let change = changes.iter().find(|change| change.object == unit.workload)?;
            Some((unit, *change, self.basis.desired.object(&unit.workload)?))
        });
        let rollout = match (&key.stage, workload) {
            (Stage::Workload(_), Some((unit, change, desired))) => {
                let asks = if change.drift {
                    Asks::Never
                } else if self.basis.held_by(&unit.id).is_some() {
                    Asks::WhenWanted
                } else {
                    Asks::Usually
                };
                Some(rollout::rollout(unit, desired, change, self.live, &policy, asks, findings))
            }
            (Stage::Restart(_), _) => {
                unit.map(|unit| rollout::restart(unit, self.live, &policy, findings))
            }
            _ => None,
        };
        let does_what_is_asked = match &key.stage {
            Stage::Restart(_) => true,
            Stage::Workload(_) => {
                workload.is_some_and(|(_, change, _)| rollout::replaces_pods(change))
            }
            Stage::Task(_) | Stage::Test(_) => {
                changes.iter().any(|it| it.object.kind == "Job" && it.action == Action::Create)
            }
            Stage::Foundation
            | Stage::Drain(_)
            | Stage::Support
            | Stage::Network
            | Stage::Offline
            | Stage::Prune => false,
        };
        let operations = unit.filter(|_| does_what_is_asked).map(|unit| self.asked(&unit.id));
        let kind = kind(&key.stage, rollout.is_some());
        Step {
            id: self.id(key),
            kind,
            cluster: key.cluster.clone(),
            product: Some(key.product.clone()).filter(|product| !product.is_empty()),
            needs: self.needs(key),
            apply,
            replace,
            offline,
            prune,
            zones: Vec::new(),
            rollout,
            drain: None,
            operations: operations.unwrap_or_default(),
            timeout_seconds: policy.timeout.map_or(rollout::TIMEOUT_SECONDS, Duration::seconds),
        }
    }

    fn drain_step(&self, key: &Key, node: &UnitId) -> Step {
        let terms = drain::terms(self.basis, node);
        Step {
            needs: self.needs(key),
            rollout: Some(drain::rollout(node, self.live, terms)),
            drain: Some(terms),
            operations: self.asked(node),
            ..bare(self.id(key), StepKind::Rollout, &key.cluster)
        }
    }

    fn asked(&self, unit: &UnitId) -> Vec<Asked> {
        self.basis.asked.iter().filter(|asked| asked.unit == *unit).cloned().collect()
    }

    fn zone_step(&self, wave: usize, names: &[String]) -> Step {
        let products: BTreeSet<String> =
            names.iter().flat_map(|name| waves::products_of_zone(self.basis.site, name)).collect();
        // A zone that goes, goes after everything that may still use it.
        let goes = |name: &String| {
            let zones = &self.basis.changes.zones;
            zones.iter().any(|zone| zone.zone == *name && zone.action == Action::Prune)
        };
        let is_last = names.iter().any(goes);
        let needs = self.steps_of_wave(wave).filter(|key| {
            let is_way_in =
                matches!(key.stage, Stage::Workload(_) | Stage::Restart(_) | Stage::Network);
            is_way_in && (is_last || products.contains(&key.product))
        });
        Step {
            needs: needs.map(|key| self.id(key)).collect(),
            zones: names.to_vec(),
            ..bare(self.zone_id(wave), StepKind::Zones, "")
        }
    }

    fn unit(&self, cluster: &str, product: &str, app: &str) -> Option<&'a Unit> {
        let id = UnitId {
            cluster: cluster.to_owned(),
            product: product.to_owned(),
            app: app.to_owned(),
        };
        self.units.get(&id).copied()
    }

    /// Names have no dots, so `iam.support` is never taken for an app.
    fn id(&self, key: &Key) -> String {
        let wave = self.layout.slots.get(key.wave).map_or("", |slot| slot.name.as_str());
        let head = format!("{wave}/{}", key.cluster);
        let product = &key.product;
        let set = |name: &str| match product.as_str() {
            "" => format!("{head}/{name}"),
            product => format!("{head}/{product}.{name}"),
        };
        match &key.stage {
            Stage::Foundation => set("foundation"),
            Stage::Drain(node) => set(&format!("{node}.drain")),
            Stage::Support => set("support"),
            Stage::Network => set("network"),
            Stage::Offline => set("offline"),
            Stage::Prune => set("prune"),
            Stage::Workload(app) if app.is_empty() => set("workloads"),
            Stage::Task(app) if app.is_empty() => set("tasks"),
            Stage::Test(app) if app.is_empty() => set("tests"),
            Stage::Task(app) | Stage::Workload(app) | Stage::Test(app) => {
                format!("{head}/{product}/{app}")
            }
            Stage::Restart(app) => format!("{head}/{product}/{app}.restart"),
        }
    }

    fn zone_id(&self, wave: usize) -> String {
        let wave = self.layout.slots.get(wave).map_or("", |slot| slot.name.as_str());
        format!("{wave}/zones")
    }

    /// Ids of the steps of the same wave that come before.
    fn needs(&self, key: &Key) -> Vec<String> {
        let (wave, cluster) = (key.wave, key.cluster.as_str());
        let foundation = || {
            let own = self.steps_of(wave, cluster, "").iter().copied();
            own.filter(|before| matches!(before.stage, Stage::Foundation | Stage::Drain(_)))
        };
        let before: Vec<&Key> = match (&key.stage, key.product.as_str()) {
            (Stage::Foundation, _) => Vec::new(),
            // One node after the other.
            (Stage::Drain(_), _) => foundation().filter(|before| *before < key).collect(),
            // What is the cluster's own goes last there; what is a product's after the rest of the product.
            (Stage::Prune, "") => {
                self.steps_of_wave(wave).filter(|it| it.cluster == key.cluster).collect()
            }
            (Stage::Prune, product) => {
                foundation().chain(self.steps_of(wave, cluster, product).iter().copied()).collect()
            }
            (_, product) => {
                let own = self.steps_of(wave, cluster, product).iter().copied();
                let own = own.filter(|before| self.is_earlier_in_product(before, key));
                foundation().chain(own).chain(self.required_steps(key)).collect()
            }
        };
        let before = before.into_iter().filter(|before| *before != key);
        let mut needs: BTreeSet<String> = before.map(|before| self.id(before)).collect();
        if matches!(key.stage, Stage::Test(_))
            && self.zones.contains_key(&wave)
            && !self.is_required_in_wave(key)
        {
            needs.insert(self.zone_id(wave));
        }
        needs.into_iter().collect()
    }

    fn is_earlier_in_product(&self, before: &Key, key: &Key) -> bool {
        let comes_after = |app: &str, other: &str| {
            let own = self.after.get(&key.product).and_then(|apps| apps.get(app));
            own.is_some_and(|earlier| earlier.contains(other))
        };
        match (&before.stage, &key.stage) {
            (Stage::Offline | Stage::Prune | Stage::Drain(_), _) => false,
            (Stage::Task(own) | Stage::Workload(own), Stage::Task(app) | Stage::Workload(app)) => {
                // Tasks prepare the ground, unless one says that it comes after an app.
                let prepares =
                    matches!((&before.stage, &key.stage), (Stage::Task(_), Stage::Workload(_)));
                comes_after(app, own) || (prepares && !comes_after(own, app))
            }
            // The app itself first, if something else of it changes too.
            (Stage::Workload(own) | Stage::Restart(own), Stage::Restart(app)) => {
                own == app || comes_after(app, own)
            }
            (Stage::Restart(own), Stage::Workload(app)) | (Stage::Test(own), Stage::Test(app)) => {
                comes_after(app, own)
            }
            (before, key) => {
                std::mem::discriminant(before) != std::mem::discriminant(key) && before < key
            }
        }
    }

    /// Whether another product of the wave waits for this one, so that its tests cannot wait for the zones.
    fn is_required_in_wave(&self, key: &Key) -> bool {
        let mut others = self.steps_of_wave(key.wave).filter(|other| other.product != key.product);
        others.any(|other| self.requires(other, key))
    }

    fn requires(&self, other: &Key, key: &Key) -> bool {
        let required = self.required.get(&other.product);
        required.is_some_and(|required| required.contains(&key.product))
    }
}

/// Steps in an order in which each comes after all that it needs; ties by cluster, kind and id. With a cycle (a refusal)
/// the rest comes as it is.
fn in_order(mut open: Vec<Step>) -> Vec<Step> {
    open.sort_by(|left, right| {
        (&left.cluster, left.kind, &left.id).cmp(&(&right.cluster, right.kind, &right.id))
    });
    let mut done = BTreeSet::new();
    let mut ordered = Vec::with_capacity(open.len());
    while !open.is_empty() {
        let is_free = |step: &Step| step.needs.iter().all(|need| done.contains(need));
        let (mut free, rest): (Vec<Step>, Vec<Step>) = open.into_iter().partition(is_free);
        if free.is_empty() {
            ordered.extend(rest);
            return ordered;
        }
        done.extend(free.iter().map(|step| step.id.clone()));
        ordered.append(&mut free);
        open = rest;
    }
    ordered
}
