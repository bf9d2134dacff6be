//! Small sites, planned: order, groups, refusals, and what holds for every plan.

use proptest::prelude::{ProptestConfig, any, prop, proptest};
use proptest::strategy::Strategy as _;
use proptest::{prop_assert, prop_assert_eq};
use serde_json::{Value, json};
use tidegate_schema::finding::Finding;
use tidegate_schema::policy::RolloutPolicy;
use tidegate_schema::product::ProductVersion;

use super::*;
use crate::baseline::Reached;
use crate::catalogue::Catalogue;
use crate::check::check;
use crate::desired::{DesiredObject, Layer, Owner, Unit, UnitId, UnitKind};
use crate::diff::diff;
use crate::diff::tests::{empty_cluster, observation};
use crate::digest::Digest;
use crate::live::{ClusterObservation, Gap, InventoryEntry, LiveObject, Prediction};
use crate::object::{Object, ObjectRef};
use crate::plan::{Driver, Risk, StepKind, TaskKind};
use crate::site::{Deployment, Located, PlacedApp, Placement, SiteCluster};
use crate::snapshot::Identity;

mod asked;
mod drain;
mod first;
mod held;
mod preflight;
mod scaling;
mod uninstall;

/// What a test says of one product.
#[derive(Clone, Debug)]
struct Product {
    name: String,
    version: String,
    requires: Vec<String>,
    clusters: Vec<String>,
    /// Replicas of each standard app.
    apps: Vec<u32>,
    image: String,
    /// Whether a task and a test belong to it.
    has_jobs: bool,
}

fn product(name: &str, image: &str) -> Product {
    Product {
        name: name.to_owned(),
        version: "1.0.0".to_owned(),
        requires: Vec::new(),
        clusters: vec!["room-a".to_owned(), "room-b".to_owned()],
        apps: vec![6],
        image: image.to_owned(),
        has_jobs: true,
    }
}

fn revision() -> Revision {
    Revision {
        commit: "c".repeat(40),
        committed_at: jiff::Timestamp::UNIX_EPOCH,
        author: Identity::new("Li Na", "li.na@bank.example"),
        committer: Identity::new("Li Na", "li.na@bank.example"),
        subject: String::new(),
    }
}

fn site(products: &[Product], policy: &Value) -> ValidSite {
    let cluster = |name: &str, cell: &str| {
        let spec = json!({"access": {"sandbox": {"nodes": 3}}, "room": name, "zone": "z", "region": "r", "cells": [cell]});
        let spec = serde_json::from_value(spec).unwrap();
        (name.to_owned(), SiteCluster { labels: BTreeMap::new(), spec })
    };
    let policy: RolloutPolicy = serde_json::from_value(policy.clone()).unwrap();
    ValidSite {
        name: "hangzhou".to_owned(),
        revision: revision(),
        spec: serde_json::from_value(
            json!({"tier": "production", "resourcePrefix": "hz", "domain": "hz.bank.internal"}),
        )
        .unwrap(),
        clusters: BTreeMap::from([
            cluster("room-a", "gray"),
            cluster("room-b", "main"),
            cluster("room-c", "other"),
        ]),
        catalogue: Catalogue::default(),
        deployments: products.iter().map(|it| (it.name.clone(), deployment(it))).collect(),
        rollout_policies: BTreeMap::from([("standard".to_owned(), policy)]),
        orders: Vec::new(),
        solution_rollouts: BTreeMap::from([("platform".to_owned(), "standard".to_owned())]),
        approval_policies: BTreeMap::new(),
        change_windows: BTreeMap::new(),
        persons: BTreeMap::new(),
        groups: BTreeMap::new(),
        service_accounts: BTreeMap::new(),
        roles: BTreeMap::new(),
        grants: BTreeMap::new(),
        zones: BTreeMap::new(),
        secret_fields: BTreeSet::new(),
        operations: BTreeMap::new(),
        pins: crate::site::Pins::default(),
    }
}

fn deployment(product: &Product) -> Deployment {
    let requirement = |name: &String| serde_json::from_value(json!({"product": name})).unwrap();
    Deployment {
        product: product.name.clone(),
        version: product.version.parse().unwrap(),
        solution: "platform".to_owned(),
        topology: "single".to_owned(),
        size: "small".to_owned(),
        namespace: product.name.clone(),
        placements: product.clusters.iter().map(|it| (it.clone(), Placement::default())).collect(),
        requires: product.requires.iter().map(requirement).collect(),
        upgrades_from: None,
        health: Vec::new(),
        maturity: serde_json::from_value(json!("mature")).unwrap(),
        first_installation: None,
        allow: Vec::new(),
        exclude: BTreeSet::new(),
        ignore: Vec::new(),
        scaling_groups: Vec::new(),
        digest: Digest::of(&product.version),
        place: tidegate_schema::finding::Place::file("solutions/platform.yaml"),
        held_by: None,
    }
}

fn object(cluster: &str, owner: Owner, body: Value) -> DesiredObject {
    let body = Object::new(body);
    DesiredObject::new(body.reference(cluster), &body, owner, None)
}

fn desired(products: &[Product]) -> DesiredState {
    let mut state = DesiredState::default();
    for product in products {
        for cluster in &product.clusters {
            add(&mut state, product, cluster);
        }
    }
    state.objects.sort_by(|left, right| left.reference.cmp(&right.reference));
    state.objects.dedup_by(|later, earlier| later.reference == earlier.reference);
    state.units.sort();
    state
}

fn add(state: &mut DesiredState, product: &Product, cluster: &str) {
    let name = &product.name;
    let owner = |app: Option<&str>, layer| Owner {
        solution: Some("platform".to_owned()),
        product: Some(name.clone()),
        app: app.map(str::to_owned),
        scaling_group: None,
        access: None,
        layer,
    };
    let namespace =
        Owner { solution: None, product: None, app: None, ..owner(None, Layer::Foundation) };
    let meta = |own: &str| json!({"name": own, "namespace": name});
    state.objects.push(object(
        cluster,
        namespace,
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
    ));
    state.objects.push(object(
        cluster,
        owner(None, Layer::Support),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": meta("config"), "stringData": {"password": format!("hunter2-{}", product.image)}}),
    ));
    state.objects.push(object(
        cluster,
        owner(None, Layer::Network),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": meta("web"), "spec": {"type": "LoadBalancer"}}),
    ));
    let jobs: &[(&str, UnitKind, Layer)] = if product.has_jobs {
        &[("init", UnitKind::Task, Layer::Task), ("smoke", UnitKind::Test, Layer::Test)]
    } else {
        &[]
    };
    let standard: Vec<(String, u32)> =
        product.apps.iter().enumerate().map(|(i, n)| (format!("app-{i}"), *n)).collect();
    let all = standard
        .iter()
        .map(|(app, replicas)| (app.as_str(), UnitKind::Standard, Layer::Workload, *replicas))
        .chain(jobs.iter().map(|(app, kind, layer)| (*app, *kind, *layer, 1)));
    for (app, kind, layer, replicas) in all {
        let template = json!({"spec": {"containers": [{"name": "main", "image": product.image}]}});
        let (group, object_kind, own, spec) = if kind == UnitKind::Standard {
            (
                "apps/v1",
                "StatefulSet",
                app.to_owned(),
                json!({"replicas": replicas, "template": template}),
            )
        } else {
            let own = format!("{app}-{}", product.image.replace(':', "-"));
            ("batch/v1", "Job", own, json!({"template": template}))
        };
        let body =
            json!({"apiVersion": group, "kind": object_kind, "metadata": meta(&own), "spec": spec});
        let object = object(cluster, owner(Some(app), layer), body);
        let after =
            app.strip_prefix("app-").and_then(|it| it.parse::<u32>().ok()).filter(|it| *it > 0);
        state.units.push(Unit {
            id: UnitId { cluster: cluster.to_owned(), product: name.clone(), app: app.to_owned() },
            scaling_group: None,
            solution: "platform".to_owned(),
            version: product.version.clone(),
            kind,
            workload: object.reference.clone(),
            image: product.image.clone(),
            replicas,
            cpu: "1".to_owned(),
            memory: "1Gi".to_owned(),
            inputs: Digest::of(&0),
            parameters: BTreeMap::new(),
            after: after.map(|it| format!("app-{}", it - 1)).into_iter().collect(),
            checks: Vec::new(),
            offline: false,
        });
        state.objects.push(object);
    }
}

/// What the inventory has of an object that is there: the objects of these tests have an empty uid.
fn entry(owner: Owner) -> InventoryEntry {
    InventoryEntry {
        api_version: "v1".to_owned(),
        uid: Some(String::new()),
        applied: None,
        owner,
        kept: false,
        adopted: None,
    }
}

/// Before and after: what is there and ours, and what is wanted.
struct World {
    desired: DesiredState,
    site: ValidSite,
    live: LiveState,
    inventory: Inventory,
    baseline: Option<Baseline>,
}

impl World {
    fn new(before: &[Product], after: &[Product], policy: &Value) -> Self {
        let part = |products: &[Product]| (desired(products), site(products, policy));
        Self::between(part(before), part(after))
    }

    /// What was delivered, and what is wanted.
    fn between(before: (DesiredState, ValidSite), after: (DesiredState, ValidSite)) -> Self {
        let ((old, before), (new, after)) = (before, after);
        let mut live = LiveState::default();
        for cluster in ["room-a", "room-b", "room-c"] {
            let uid = Some(format!("uid-{cluster}"));
            let observed = ClusterObservation { uid, ..empty_cluster() };
            live.clusters.insert(cluster.to_owned(), observed);
        }
        let mut inventory = Inventory::default();
        for there in &old.objects {
            let applied = Some(there.digest.clone());
            let entry = InventoryEntry { applied, ..entry(there.owner.clone()) };
            inventory.entries.insert(there.reference.clone(), entry);
        }
        for object in old.objects.iter().chain(&new.objects) {
            let there = old.object(&object.reference).map(DesiredObject::body);
            let wanted = new.object(&object.reference);
            let predicted =
                wanted.map_or(Prediction::NotDesired, |it| Prediction::Exact(it.body().into()));
            let cluster = live.clusters.get_mut(&object.reference.cluster).unwrap();
            let observation = observation(there.as_ref(), predicted);
            cluster.objects.insert(object.reference.clone(), observation);
        }
        let has_products = !before.deployments.is_empty();
        let mut world = Self { desired: old, site: before, live, inventory, baseline: None };
        if has_products {
            let (plan, _) = world.plan();
            world.baseline = Some(world.reached(&plan));
        }
        (world.desired, world.site) = (new, after);
        world
    }

    /// One object more, or another than it was, as it is and as the server would have it.
    fn observe(&mut self, reference: ObjectRef, live: Option<&Object>, predicted: Prediction) {
        let cluster = self.live.clusters.get_mut(&reference.cluster).unwrap();
        cluster.objects.insert(reference, observation(live, predicted));
    }

    /// One object more is wanted.
    fn want(&mut self, object: DesiredObject) {
        self.desired.objects.push(object);
        self.desired.objects.sort_by(|left, right| left.reference.cmp(&right.reference));
    }

    fn changes(&self) -> ChangeSet {
        diff(&self.desired, &self.live, &self.inventory, &BTreeMap::new())
    }

    fn plan_of(&self, changes: ChangeSet) -> (Plan, PlanReport) {
        let baseline = self.baseline.as_ref();
        plan(
            changes,
            &self.desired,
            &self.site,
            &self.live,
            baseline,
            &self.inventory,
            &revision(),
            &[],
        )
    }

    fn plan(&self) -> (Plan, PlanReport) {
        self.plan_of(self.changes())
    }

    fn reached(&self, plan: &Plan) -> Baseline {
        let reached = Reached {
            release: "r1",
            at: jiff::Timestamp::UNIX_EPOCH,
            is_complete: true,
            products: &BTreeSet::new(),
            zones: &BTreeMap::new(),
            carried_out: &[],
        };
        Baseline::after(self.baseline.as_ref(), plan, &self.desired, &self.site, reached)
    }
}

fn ids(plan: &Plan) -> Vec<&str> {
    plan.steps().map(|(_, step)| step.id.as_str()).collect()
}

fn kinds(plan: &Plan) -> Vec<TaskKind> {
    plan.content.tasks.iter().map(|task| task.kind).collect()
}

fn codes(report: &PlanReport) -> Vec<&str> {
    report.findings.iter().map(|finding| &*finding.code).collect()
}

#[test]
fn what_registries_said_is_part_of_the_plan_and_what_they_did_not_say_a_risk() {
    let mut world = World::new(&[], &[product("web", "w:1")], &json!({}));
    let (bare, _) = world.plan();
    assert!(!bare.content.risks.contains(&Risk::Unverified));
    let digest = Digest::of(&"w:1");
    world.site.pins.resolved.insert("r.bank/w:1".to_owned(), digest.clone());
    let (pinned, report) = world.plan();
    assert!(!report.is_refused());
    assert_eq!(pinned.content.images["r.bank/w:1"], digest);
    assert_ne!(pinned.id(), bare.id());

    world.site.pins.findings =
        vec![Finding::warning("IMAGE/UNVERIFIED").with("registry", "r.bank")];
    let (unverified, report) = world.plan();
    assert!(!report.is_refused() && unverified.content.risks.contains(&Risk::Unverified));
    world.site.pins.findings = vec![
        Finding::error("IMAGE/MISSING").with("image", "r.bank/w:1"),
        Finding::error("IMAGE/MISSING").with("image", "r.bank/w:2"),
    ];
    let (_, report) = world.plan();
    assert!(report.is_refused());
    assert_eq!(codes(&report), ["IMAGE/MISSING", "IMAGE/MISSING"]);
}

#[test]
fn an_order_of_the_solution_goes_before_dependencies_and_without_it_they_count_again() {
    let mut web = product("web", "w:1");
    web.requires = vec!["db".to_owned()];
    web.apps = vec![2, 2];
    let mut products = [product("db", "d:1"), web];
    for product in &mut products {
        product.clusters = vec!["room-a".to_owned()];
        product.has_jobs = false;
    }
    let mut world = World::new(&[], &products, &json!({}));
    let workloads = |world: &World| -> Vec<String> {
        let (plan, report) = world.plan();
        assert_eq!(codes(&report), [""; 0]);
        assert_eq!(check(&plan, &world.site), [""; 0]);
        plan.steps().filter(|(_, it)| it.rollout.is_some()).map(|(_, it)| it.id.clone()).collect()
    };
    let usual = workloads(&world);
    assert_eq!(usual[0], "products-1/room-a/db/app-0");
    let order = json!({"products": ["web", "db"], "apps": {"web": ["app-1", "app-0"]}});
    world.site.orders = vec![serde_json::from_value(order).unwrap()];
    assert_eq!(
        workloads(&world),
        [
            "products-1/room-a/web/app-1",
            "products-1/room-a/web/app-0",
            "products-2/room-a/db/app-0"
        ]
    );
    world.site.orders.clear();
    assert_eq!(workloads(&world), usual);
}

#[test]
fn an_installation_goes_by_levels_of_products_each_app_at_once() {
    let mut web = product("web", "w:1");
    web.requires = vec!["db".to_owned()];
    web.clusters = vec!["room-a".to_owned()];
    let mut db = product("db", "d:1");
    db.clusters = vec!["room-a".to_owned()];
    db.has_jobs = false;
    let world = World::new(&[], &[web, db], &json!({}));
    let (plan, report) = world.plan();
    assert!(!report.is_refused(), "{:?}", report.findings);
    assert_eq!(
        ids(&plan),
        [
            "foundations/room-a/foundation",
            "products-1/room-a/db.support",
            "products-1/room-a/db/app-0",
            "products-1/room-a/db.network",
            "products-2/room-a/web.support",
            "products-2/room-a/web/init",
            "products-2/room-a/web/app-0",
            "products-2/room-a/web.network",
            "products-2/room-a/web/smoke",
        ]
    );
    let rollout = plan.step("products-2/room-a/web/app-0").unwrap().rollout.clone().unwrap();
    assert_eq!(
        (rollout.driver, rollout.groups.len(), rollout.replicas_before),
        (Driver::Whole, 1, 0)
    );
    assert_eq!(plan.content.clusters["room-a"], "uid-room-a");
    assert_eq!(plan.content.parent, None);
    assert_eq!(check(&plan, &world.site), [""; 0]);
}

#[test]
fn a_new_image_goes_by_the_policys_waves_in_groups_that_a_person_confirms() {
    let policy = json!({
        "waves": [{"name": "gray", "clusters": {"cells": ["gray"]}, "bake": "10m", "confirm": true}],
        "bake": "1m", "timeout": "5m", "onFailure": "rollback",
        "unattended": [{"scene": "podStartTimeout", "action": "retry", "attempts": 3}],
    });
    let mut new = product("iam", "iam:2");
    new.version = "1.1.0".to_owned();
    let world = World::new(&[product("iam", "iam:1")], &[new], &policy);
    let (plan, report) = world.plan();
    assert!(!report.is_refused(), "{:?}", report.findings);
    let waves: Vec<_> =
        plan.content.waves.iter().map(|w| (w.name.as_str(), w.bake_seconds, w.confirm)).collect();
    assert_eq!(waves, [("gray", 600, true), ("remaining", 0, false)]);
    let step = plan.step("gray/room-a/iam/app-0").unwrap();
    let rollout = step.rollout.as_ref().unwrap();
    assert_eq!(
        (rollout.driver, rollout.bake_seconds, step.timeout_seconds),
        (Driver::StatefulSet, 60, 300)
    );
    let groups: Vec<_> = rollout.groups.iter().map(|g| (g.pods, g.cumulative, g.confirm)).collect();
    assert_eq!(groups, [(3, 3, true), (3, 6, false)]);
    assert_eq!(rollout.unattended[0].attempts, 3);
    assert_eq!(kinds(&plan), [TaskKind::Deploy, TaskKind::Test, TaskKind::Run, TaskKind::Apply]);
    assert_eq!(plan.content.tasks[0].clusters, ["room-a", "room-b"]);
    assert_eq!(
        (plan.content.tasks[0].from.as_str(), plan.content.tasks[0].to.as_str()),
        ("1", "2")
    );
    assert_eq!(check(&plan, &world.site), [""; 0]);
}

#[test]
fn scaling_is_one_group_and_an_operation() {
    let mut new = product("iam", "iam:1");
    new.apps = vec![8];
    let (plan, _) = World::new(&[product("iam", "iam:1")], &[new], &json!({})).plan();
    assert_eq!(kinds(&plan), [TaskKind::ScaleOut]);
    assert_eq!(plan.content.kind, crate::plan::ReleaseKind::Operation);
    let (_, step) = plan.steps().next().unwrap();
    let rollout = step.rollout.as_ref().unwrap();
    assert_eq!(
        (rollout.driver, rollout.replicas_before, rollout.groups[0].pods),
        (Driver::Whole, 6, 8)
    );
}

#[test]
fn custom_groups_confirm_after_the_beta_group_and_bad_ones_are_refused() {
    let custom = |shares: Value| json!({"groups": {"strategy": "custom", "shares": shares}});
    let (before, after) = ([product("iam", "iam:1")], [product("iam", "iam:2")]);
    let (plan, _) = World::new(&before, &after, &custom(json!([40, 60]))).plan();
    let rollout = plan.steps().find_map(|(_, step)| step.rollout.clone()).unwrap();
    let groups: Vec<_> = rollout.groups.iter().map(|g| (g.pods, g.confirm)).collect();
    assert_eq!(groups, [(1, true), (2, false), (3, false)]);
    let (_, report) = World::new(&before, &after, &custom(json!([60, 40]))).plan();
    assert!(report.is_refused());
    assert!(codes(&report).contains(&"GROUP/SHARES_DECREASING"));
}

#[test]
fn a_change_by_hand_is_corrected_without_asking_between_groups() {
    let same = [product("iam", "iam:1")];
    let mut world = World::new(&same, &same, &json!({}));
    let (plan, _) = world.plan();
    assert!(plan.is_empty(), "nothing to do: {:?}", ids(&plan));
    let cluster = world.live.clusters.get_mut("room-a").unwrap();
    let (_, observation) =
        cluster.objects.iter_mut().find(|(reference, _)| reference.kind == "StatefulSet").unwrap();
    let mut live = observation.live().unwrap();
    live.value_mut()["spec"]["template"]["spec"]["containers"][0]["image"] = json!("iam:evil");
    observation.live = Some(LiveObject::new(&live));
    let (plan, _) = world.plan();
    assert_eq!(kinds(&plan), [TaskKind::Correct]);
    let rollout = plan.steps().find_map(|(_, step)| step.rollout.clone()).unwrap();
    assert!(rollout.groups.len() == 2 && rollout.groups.iter().all(|group| !group.confirm));
}

#[test]
fn a_product_that_nobody_wants_is_uninstalled_last_and_counts_as_destructive() {
    let before = [product("iam", "iam:1"), product("web", "w:1")];
    let world = World::new(&before, &before[1..], &json!({}));
    let (plan, _) = world.plan();
    assert!(plan.content.risks.contains(&Risk::Destructive));
    assert_eq!(plan.content.kind, crate::plan::ReleaseKind::Release);
    assert!(kinds(&plan).contains(&TaskKind::Uninstall));
    let (_, step) = plan.steps().find(|(_, step)| !step.prune.is_empty()).unwrap();
    assert_eq!((step.id.as_str(), step.kind), ("prune/room-a/iam.prune", StepKind::Prune));
    assert_eq!(step.prune.first().map(|it| it.kind.as_str()), Some("Job"));
    let after = world.reached(&plan);
    assert_eq!(after.products.keys().collect::<Vec<_>>(), ["web"]);
    let lines = Baseline::diff(world.baseline.as_ref().unwrap(), &after);
    assert!(lines.iter().all(|line| line.path.starts_with("iam/") && line.after.is_none()));
    assert_eq!(check(&plan, &world.site), [""; 0]);
}

/// An app as its version's document says.
fn placed(app: &Value) -> PlacedApp {
    PlacedApp {
        app: serde_json::from_value(app.clone()).unwrap(),
        member: None,
        replicas: 1,
        cpu: None,
        memory: None,
        operations: Vec::new(),
        image: "iam:2".to_owned(),
        idle: None,
        command: Vec::new(),
        args: Vec::new(),
        env: BTreeMap::new(),
        files: BTreeMap::new(),
        queries: BTreeMap::new(),
        classes: BTreeMap::new(),
        parameters: BTreeMap::new(),
        used: BTreeSet::new(),
        place: tidegate_schema::finding::Place::file("versions/iam.yaml"),
    }
}

/// YL-050: what is added is expected, what is changed is a risk.
#[test]
fn parameters_that_an_upgrade_changes_are_a_risk() {
    let old = product("iam", "iam:1");
    let mut new = old.clone();
    (new.image, new.version) = ("iam:2".to_owned(), "1.1.0".to_owned());
    let planned = |heap: &str| {
        let mut world = World::new(std::slice::from_ref(&old), &[new.clone()], &json!({}));
        for unit in &mut world.desired.units {
            unit.parameters.insert("heap".to_owned(), heap.to_owned());
            unit.parameters.insert("added".to_owned(), "1".to_owned());
        }
        let products = &mut world.baseline.as_mut().unwrap().products;
        for app in products.values_mut().flat_map(|it| it.clusters.values_mut()).flatten() {
            app.1.parameters.insert("heap".to_owned(), "1Gi".to_owned());
        }
        let (plan, report) = world.plan();
        let has = report.findings.iter().find(|it| it.code == "PLAN/PARAMETER_CHANGES").cloned();
        let named = has.map(|finding| finding.args["parameters"].clone());
        (named, plan.content.risks.contains(&Risk::ChangesParameters))
    };
    assert_eq!(planned("1Gi"), (None, false));
    assert_eq!(planned("2Gi"), (Some("heap".to_owned()), true));
}

/// YL-206 and YL-208: volumes of one set are alike, and none shrinks.
#[test]
fn volumes_neither_shrink_nor_differ_within_a_set() {
    let old = product("iam", "iam:1");
    let refused = |size: &str, class: &str| {
        let old = std::slice::from_ref(&old);
        let mut world = World::new(old, old, &json!({}));
        let id = world.desired.units[0].id.clone();
        let volume = json!({"name": "data", "path": "/data", "size": size});
        let app = placed(&json!({"name": id.app, "image": "iam:1", "volumes": [volume]}));
        let deployment = world.site.deployments.get_mut("iam").unwrap();
        deployment.placements.get_mut(&id.cluster).unwrap().apps.push(app);
        let products = &mut world.baseline.as_mut().unwrap().products;
        for app in products.values_mut().flat_map(|it| it.clusters.values_mut()).flatten() {
            app.1.volumes.insert("data".to_owned(), "2Gi".to_owned());
        }
        let set = |size: &str, class: &str| {
            Object::new(json!({"apiVersion": "apps/v1", "kind": "StatefulSet",
                "metadata": {"name": "data", "namespace": "iam"},
                "spec": {"volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
                    "storageClassName": class, "resources": {"requests": {"storage": size}}}}]}}))
        };
        let (there, wanted) = (set("2Gi", "fast"), set(size, class));
        let owner = world.desired.objects[0].owner.clone();
        let object = DesiredObject::new(wanted.reference(&id.cluster), &wanted, owner, None);
        let predicted = Prediction::Exact(wanted.into());
        world.observe(object.reference.clone(), Some(&there), predicted);
        world.want(object);
        let (_, report) = world.plan();
        let of_volumes = ["PLAN/VOLUME_SHRINK_REFUSED", "PLAN/CLAIMS_DIFFER"];
        let told = report.findings.iter().filter(|it| of_volumes.contains(&it.code.as_ref()));
        told.map(|it| it.code.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(refused("2Gi", "fast"), [""; 0]);
    assert_eq!(refused("1Gi", "fast"), ["PLAN/CLAIMS_DIFFER", "PLAN/VOLUME_SHRINK_REFUSED"]);
    assert_eq!(refused("3Gi", "fast"), ["PLAN/CLAIMS_DIFFER"]);
    assert_eq!(refused("2Gi", "slow"), ["PLAN/CLAIMS_DIFFER"]);
}

#[test]
fn refusals_carry_their_codes() {
    let old = product("iam", "iam:1");
    let refused = |change: &dyn Fn(&mut World)| {
        let mut new = old.clone();
        new.image = "iam:2".to_owned();
        new.version = "1.1.0".to_owned();
        let mut world = World::new(std::slice::from_ref(&old), &[new], &json!({}));
        change(&mut world);
        let (_, report) = world.plan();
        let errors = report.findings.iter().filter(|finding| finding.is_error());
        errors.map(|finding| finding.code.to_string()).collect::<Vec<_>>()
    };
    let iam = |world: &mut World, change: &dyn Fn(&mut Deployment)| {
        change(world.site.deployments.get_mut("iam").unwrap());
    };
    assert_eq!(refused(&|_| {}), [""; 0]);
    assert_eq!(
        refused(&|w| iam(w, &|d| d.version = "0.9.0".parse().unwrap())),
        ["PLAN/DOWNGRADE_REFUSED"]
    );
    assert_eq!(
        refused(&|w| iam(w, &|d| d.upgrades_from = Some(">=1.0.5".parse().unwrap()))),
        ["PLAN/UPGRADE_SKIPS_VERSION"]
    );
    assert_eq!(
        refused(&|w| iam(w, &|d| d.topology = "dual".to_owned())),
        ["PLAN/TOPOLOGY_IMMUTABLE"]
    );
    assert_eq!(
        refused(&|w| iam(w, &|d| d.namespace = "x".to_owned())),
        ["PLAN/NAMESPACE_IMMUTABLE"]
    );
    assert_eq!(
        refused(&|w| {
            w.baseline
                .as_mut()
                .unwrap()
                .versions
                .insert("iam@1.1.0".to_owned(), Digest::of(&"other"));
        }),
        ["PLAN/VERSION_CHANGED"]
    );
    assert_eq!(
        refused(&|w| {
            let requires = json!([{"product": "mysql", "version": ">=8"}]);
            iam(w, &|d| d.requires = serde_json::from_value(requires.clone()).unwrap());
        }),
        ["PLAN/REQUIREMENT_UNMET"]
    );
    let resize = |world: &mut World| world.desired.units[0].cpu = "9".to_owned();
    assert_eq!(refused(&resize), ["PLAN/IMPLICIT_RESIZE"]);
    assert_eq!(
        refused(&|w| {
            resize(w);
            iam(w, &|d| d.size = "large".to_owned());
        }),
        [""; 0],
        "another size was written"
    );
    let asked = |world: &mut World, action: &Value| {
        resize(world);
        let id = world.desired.units[0].id.clone();
        let place = tidegate_schema::finding::Place::file("operations/more.yaml");
        let placed = PlacedApp {
            operations: vec!["more".to_owned()],
            ..placed(&json!({"name": id.app, "image": "iam:2"}))
        };
        iam(world, &|d| d.placements.get_mut(&id.cluster).unwrap().apps.push(placed.clone()));
        let spec = json!({"action": action, "author": "li-na", "reason": "CHG-1"});
        let spec = serde_json::from_value(spec).unwrap();
        world.site.operations.insert("more".to_owned(), Located { spec, place });
    };
    let of_core = |other: Value| {
        let mut action = json!({"product": "iam", "app": "core"});
        action.as_object_mut().unwrap().append(other.clone().as_object_mut().unwrap());
        action
    };
    let resizes = json!({"resize": of_core(json!({"cpu": "9"}))});
    assert_eq!(refused(&|w| asked(w, &resizes)), [""; 0], "an operation asks for it");
    let scales = json!({"scale": of_core(json!({"replicas": 9}))});
    assert_eq!(refused(&|w| asked(w, &scales)), ["PLAN/IMPLICIT_RESIZE"], "for something else");
}

/// Where versions do not fit, the catalogue says which would, or why none do.
#[test]
fn a_refused_version_comes_with_a_way_that_the_catalogue_knows() {
    let version = |number: &str, from: &str, requires: &Value| -> ProductVersion {
        serde_json::from_value(
            json!({"version": number, "upgradesFrom": from, "requires": requires, "apps": []}),
        )
        .unwrap()
    };
    let (none, eight) = (json!([]), json!([{"product": "mysql", "version": ">=8"}]));
    let versions = [
        ("iam", version("1.1.0", ">=1.0", &none)),
        ("iam", version("1.2.0", ">=1.1", &eight)),
        ("mysql", version("8.0.0", ">=5", &none)),
    ];
    let old = Product { version: "1.0.0".to_owned(), ..product("iam", "iam:1") };
    let new = Product { version: "1.2.0".to_owned(), image: "iam:2".to_owned(), ..old.clone() };
    let told = |mysql: Option<&str>| {
        let mut world =
            World::new(std::slice::from_ref(&old), std::slice::from_ref(&new), &json!({}));
        world.site.catalogue = Catalogue::of(versions.iter().map(|(name, it)| (*name, it)));
        let iam = world.site.deployments.get_mut("iam").unwrap();
        iam.upgrades_from = Some(">=1.1".parse().unwrap());
        iam.requires = serde_json::from_value(eight.clone()).unwrap();
        if let Some(mysql) = mysql {
            let products = &mut world.baseline.as_mut().unwrap().products;
            let mut delivered = products["iam"].clone();
            mysql.clone_into(&mut delivered.version);
            products.insert("mysql".to_owned(), delivered);
        }
        let (_, report) = world.plan();
        let told = report.findings.iter().filter_map(|it| {
            let arg = ["path", "versions", "facts"].into_iter().find_map(|arg| it.args.get(arg))?;
            Some(format!("{} {arg}", it.code))
        });
        told.collect::<Vec<_>>()
    };
    // 1.2.0 is out of reach, so 1.1.0 is what fits, and it needs nothing.
    let path = "PLAN/UPGRADE_PATH 1.0.0 → 1.1.0 → 1.2.0";
    assert_eq!(told(None), [path, "SOLUTION/VERSIONS_THAT_FIT iam 1.2.0 → 1.1.0"]);
    assert_eq!(told(Some("5.7.0")), [path, "SOLUTION/VERSIONS_THAT_FIT iam 1.2.0 → 1.1.0"]);
    assert_eq!(told(Some("8.0.0")), [path], "what is required is delivered");
}

#[test]
fn going_back_may_go_below_the_baseline_and_asks_nobody_unless_the_policy_does() {
    let mut delivered = product("iam", "iam:2");
    delivered.version = "1.1.0".to_owned();
    let mut old = product("iam", "iam:1");
    old.apps = vec![4];
    for (policy, asks) in [(json!({}), false), (json!({"beta": true}), true)] {
        let mut world = World::new(&[delivered.clone()], &[old.clone()], &policy);
        assert!(world.plan().1.is_refused(), "lower than delivered");
        let iam = world.site.deployments.get_mut("iam").unwrap();
        iam.held_by = Some("back".to_owned());
        for placement in iam.placements.values_mut() {
            placement.apps.push(PlacedApp {
                operations: vec!["back".to_owned()],
                ..placed(&json!({"name": "app-0", "image": "iam:1"}))
            });
        }
        let spec = json!({"action": {"rollback": {"release": "r1"}}, "author": "li-na", "reason": "CHG-1"});
        let spec = serde_json::from_value(spec).unwrap();
        let place = tidegate_schema::finding::Place::file("operations/back.yaml");
        world.site.operations.insert("back".to_owned(), Located { spec, place });
        let (plan, report) = world.plan();
        assert_eq!(codes(&report), [""; 0]);
        let tasks = plan.content.tasks.iter().filter(|task| task.kind == TaskKind::Rollback);
        let said: Vec<_> = tasks
            .map(|it| (it.from.as_str(), it.to.as_str(), it.operation.as_deref().unwrap()))
            .collect();
        assert_eq!(said, [("2", "1", "back")]);
        let rollouts = plan.steps().filter_map(|(_, step)| step.rollout.as_ref());
        let groups: Vec<_> = rollouts.map(|it| it.groups.clone()).collect();
        assert!(!groups.is_empty());
        for groups in groups {
            assert_eq!(groups.iter().any(|group| group.confirm), asks);
            assert_eq!(groups.len(), 2);
        }
    }
}

#[test]
fn what_is_excluded_or_unobserved_is_left_out_and_said() {
    let mut world = World::new(&[product("iam", "iam:1")], &[product("iam", "iam:2")], &json!({}));
    world.site.deployments.get_mut("iam").unwrap().exclude.insert("app-0".to_owned());
    let room = world.live.clusters.get_mut("room-b").unwrap();
    room.gap = Some(Gap { code: "CLUSTER/UNREACHABLE".to_owned(), message: "no route".to_owned() });
    room.objects.clear();
    let (plan, report) = world.plan();
    assert_eq!(report.excluded, ["iam/app-0"]);
    assert_eq!(report.unplanned_clusters, ["room-b"]);
    assert_eq!(codes(&report), ["PLAN/CLUSTER_UNOBSERVED"]);
    assert!(plan.steps().all(|(_, step)| step.cluster == "room-a" && step.rollout.is_none()));
    assert!(!serde_json::to_string(&plan).unwrap().contains("no route"));
    let after = world.reached(&plan);
    let image =
        |cluster: &str, app: &str| after.products["iam"].clusters[cluster][app].image.clone();
    assert_eq!(image("room-a", "app-0"), "iam:1", "excluded");
    assert_eq!(image("room-a", "init"), "iam:2");
    assert_eq!(image("room-b", "init"), "iam:1", "unobserved");
}

#[test]
fn what_the_server_refuses_refuses_the_plan_unless_its_app_is_left_alone() {
    let mut world = World::new(&[product("iam", "iam:1")], &[product("iam", "iam:2")], &json!({}));
    let room = world.live.clusters.get_mut("room-a").unwrap();
    let (reference, observation) =
        room.objects.iter_mut().find(|(it, _)| it.kind == "StatefulSet").unwrap();
    let gap = Gap { code: "CLUSTER/INVALID".to_owned(), message: "must be positive".to_owned() };
    observation.predicted = Prediction::Refused(gap);
    let name = reference.to_string();
    let (plan, report) = world.plan();
    assert!(report.is_refused());
    assert_eq!(codes(&report), ["PLAN/SERVER_REFUSES"]);
    let finding = &report.findings[0];
    assert_eq!(finding.args["object"], name);
    assert_eq!(finding.args["reason"], "must be positive");
    assert!(!serde_json::to_string(&plan).unwrap().contains("must be positive"));
    world.site.deployments.get_mut("iam").unwrap().exclude.insert("app-0".to_owned());
    let (_, report) = world.plan();
    assert_eq!(codes(&report), [""; 0]);
}

#[test]
fn a_budget_that_lets_no_pod_go_is_told() {
    let mut world = World::new(&[product("iam", "iam:1")], &[product("iam", "iam:2")], &json!({}));
    let owner =
        world.desired.objects.iter().find(|it| it.owner.app.is_some()).unwrap().owner.clone();
    let budget = |wanted: u32| {
        json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": "app-0", "namespace": "iam"},
        "status": {"desiredHealthy": wanted, "expectedPods": 6, "disruptionsAllowed": 0}})
    };
    let wanted = object("room-a", owner, budget(6));
    let reference = wanted.reference.clone();
    world.want(wanted);
    let mut told = |healthy: u32| {
        let there = Object::new(budget(healthy));
        world.observe(reference.clone(), Some(&there), Prediction::InPlace);
        codes(&world.plan().1).contains(&"PLAN/BUDGET_LETS_NONE_GO")
    };
    assert!(told(6));
    // Some pods are not well just now: that passes.
    assert!(!told(5));
}

#[test]
fn what_exists_and_is_not_ours_refuses_the_plan_and_is_named() {
    let mut world = World::new(&[product("iam", "iam:1")], &[product("iam", "iam:2")], &json!({}));
    assert!(!world.plan().1.is_refused());
    let changed = world.changes().changes.iter().find(|it| it.action == Action::Configure).cloned();
    let reference = changed.unwrap().object;
    world.inventory.entries.remove(&reference);
    let (_, report) = world.plan();
    assert!(report.is_refused());
    assert_eq!(codes(&report), ["PLAN/OBJECT_EXISTS"]);
    assert_eq!(report.findings[0].args["object"], reference.to_string());
    let live = world.live.clusters.get_mut(&reference.cluster).unwrap();
    let observation = live.objects.get_mut(&reference).unwrap();
    let mut live = observation.live().unwrap();
    live.set(&["metadata", "annotations", "meta.helm.sh/release-name"], json!("iam"));
    observation.live = Some(LiveObject::new(&live));
    let (_, report) = world.plan();
    assert_eq!(codes(&report), ["PLAN/OBJECT_OF_ANOTHER_TOOL"]);
    assert_eq!(report.findings[0].args["tool"], "Helm");
}

#[test]
fn documents_that_want_nothing_at_all_are_refused_unless_the_site_says_so() {
    let mut world = World::new(&[product("iam", "iam:1")], &[], &json!({}));
    let (_, report) = world.plan();
    assert!(report.is_refused());
    assert!(codes(&report).contains(&"PLAN/EVERYTHING_GOES"), "{report:?}");
    world.site.spec.allow = vec![tidegate_schema::site::SiteAllowance::UninstallAll];
    assert!(!world.plan().1.is_refused());
}

#[test]
fn many_deletions_are_a_risk_and_a_few_are_none() {
    let with_many = |count: usize| {
        let mut world =
            World::new(&[product("iam", "iam:1")], &[product("iam", "iam:1")], &json!({}));
        let owner = world.desired.objects[0].owner.clone();
        for number in 0..count {
            let body = Object::new(json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": format!("old-{number}"), "namespace": "iam", "uid": ""}}));
            let reference = body.reference("room-a");
            world.inventory.entries.insert(reference.clone(), entry(owner.clone()));
            world.observe(reference, Some(&body), Prediction::NotDesired);
        }
        let (plan, report) = world.plan();
        let is_told = codes(&report).contains(&"PLAN/MANY_PRUNED");
        assert_eq!(plan.content.risks.contains(&Risk::Destructive), is_told);
        is_told
    };
    assert!(!with_many(10));
    assert!(with_many(40));
}

#[test]
fn a_product_waits_for_the_wave_of_what_it_requires() {
    let mut web = product("web", "w:1");
    web.requires = vec!["db".to_owned()];
    web.clusters = vec!["room-a".to_owned()];
    let mut db = product("db", "d:1");
    db.clusters = vec!["room-b".to_owned()];
    let policy =
        json!({"waves": [{"name": "gray", "clusters": {"cells": ["gray"]}}, {"name": "all"}]});
    let world = World::new(&[], &[web, db], &policy);
    let (plan, report) = world.plan();
    assert_eq!(codes(&report), ["PLAN/WAVE_DELAYED"]);
    assert!(ids(&plan).contains(&"all/room-a/web/app-0"));
    let step = plan.step("all/room-a/web.support").unwrap();
    assert!(step.needs.contains(&"all/room-b/db/smoke".to_owned()), "{:?}", step.needs);
}

#[test]
fn the_id_does_not_depend_on_the_commit_and_does_on_the_cluster() {
    let mut world = World::new(&[], &[product("iam", "iam:1")], &json!({}));
    let (first, _) = world.plan();
    let mut other = first.clone();
    other.revision = "d".repeat(40);
    assert_eq!(first.id(), other.id());
    world.live.clusters.get_mut("room-a").unwrap().uid = Some("exchanged".to_owned());
    assert_ne!(first.id(), world.plan().0.id());
}

fn products() -> impl proptest::strategy::Strategy<Value = Vec<Product>> {
    let one = (
        prop::collection::vec(1_u32..8, 1..3),
        1_u32..4,
        any::<bool>(),
        prop::collection::btree_set(0_usize..3, 1..4),
        prop::collection::btree_set(0_usize..4, 0..3),
    );
    prop::collection::vec(prop::option::of(one), 0..5).prop_map(|all| {
        let name = |index: usize| format!("p{index}");
        let wanted: BTreeSet<usize> =
            all.iter().enumerate().filter(|(_, it)| it.is_some()).map(|(index, _)| index).collect();
        let all = all.into_iter().enumerate().filter_map(|(index, it)| Some((index, it?)));
        all.map(|(index, (apps, image, has_jobs, clusters, requires))| Product {
            name: name(index),
            version: format!("1.{image}.0"),
            requires: requires
                .into_iter()
                .filter(|other| *other < index && wanted.contains(other))
                .map(name)
                .collect(),
            clusters: clusters
                .into_iter()
                .map(|it| ["room-a", "room-b", "room-c"][it].to_owned())
                .collect(),
            apps,
            image: format!("i:{image}"),
            has_jobs,
        })
        .collect()
    })
}

fn policies() -> impl proptest::strategy::Strategy<Value = Value> {
    prop::sample::select(vec![
        json!({}),
        json!({"groups": {"strategy": "custom"}, "beta": false}),
        json!({"waves": [{"name": "gray", "clusters": {"cells": ["gray"]}}], "groups": {"strategy": "eachHost"}}),
        json!({"waves": [{"name": "late", "clusters": {"names": ["room-c"]}}, {"name": "all"}]}),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_plan_is_sound(before in products(), after in products(), policy in policies(), turn in any::<prop::sample::Index>()) {
        let world = World::new(&before, &after, &policy);
        let changes = world.changes();
        let (first, report) = world.plan_of(changes.clone());
        // Sound: every change in exactly one step, needs before, groups that add up, requirements first.
        prop_assert_eq!(check(&first, &world.site), Vec::<String>::new());
        // The same again, and whatever the order in which the changes come.
        let mut turned = changes;
        if !turned.changes.is_empty() {
            let at = turn.index(turned.changes.len());
            turned.changes.rotate_left(at);
        }
        let (second, _) = world.plan_of(turned);
        prop_assert_eq!(serde_json::to_string(&first).unwrap(), serde_json::to_string(&second).unwrap());
        // No secret value in what is stored or shown.
        let text = format!("{} {report:?}", serde_json::to_string(&first).unwrap());
        prop_assert!(!text.contains("hunter2") && !text.contains("aHVudGVyMg"));
        // The next plan after this one has been carried out is empty.
        let done = World::new(&after, &after, &policy);
        prop_assert!(done.plan().0.is_empty());
    }
}
