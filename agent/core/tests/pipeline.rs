//! The pipeline as a whole, from documents to a plan that was carried out, over small sites made by chance: several
//! products with requirements, order among apps, exclusions, parameters, secrets, jobs, zones, and waves over cells.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test is to stop at what it did not expect"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use jiff::Timestamp;
use proptest::prelude::{ProptestConfig, Strategy, any, prop, proptest};
use proptest::test_runner::TestCaseError;
use proptest::{prop_assert, prop_assert_eq};
use serde_json::{Value, json};
use tidegate_core::baseline::{Baseline, Reached};
use tidegate_core::check::check;
use tidegate_core::desired::{DesiredState, Layer};
use tidegate_core::diff::diff;
use tidegate_core::live::{
    ClusterObservation, Inventory, InventoryEntry, LiveObject, LiveState, Observation, Prediction,
    Surroundings,
};
use tidegate_core::object::{Object, ObjectRef};
use tidegate_core::parameter;
use tidegate_core::plan::{Plan, PlanReport, Step, StepKind};
use tidegate_core::planner::plan;
use tidegate_core::render::render;
use tidegate_core::show::{self, Style};
use tidegate_core::site::ValidSite;
use tidegate_core::snapshot::{Identity, Revision, Snapshot};
use tidegate_core::validate::validate;
use tidegate_core::zone::PublishedZone;
use tidegate_schema::finding::Lang;

/// A secret value; nobody may ever read it, nor its Base64.
const CANARY: &str = "canary-7f3a91";
const CANARY_IN_BASE64: &str = "Y2FuYXJ5LTdmM2E5MQ==";
const CLUSTERS: [(&str, &str); 3] = [("room-a", "gray"), ("room-b", "main"), ("room-c", "main")];
const WORKLOADS: [&str; 3] = ["StatefulSet", "Deployment", "DaemonSet"];

/// What chance says of one product.
#[derive(Clone, Debug)]
struct Product {
    /// The minor version; its images have it too.
    version: u32,
    /// Products before it that it requires, by index.
    requires: BTreeSet<usize>,
    clusters: BTreeSet<usize>,
    /// Kind of workload and replicas of each app.
    apps: Vec<(usize, u32)>,
    /// Whether each app comes after the one before it.
    is_ordered: bool,
    has_jobs: bool,
    mode: String,
    /// Whether its last app is left alone.
    excludes_last: bool,
    /// Scaling groups: the instances of each app in them.
    groups: BTreeMap<usize, u32>,
    /// Part of the secret value, so that it differs between two sites.
    secret: u32,
}

#[derive(Clone, Debug)]
struct Site {
    products: Vec<Option<Product>>,
    policy: Value,
    /// The last byte of an address.
    address: u8,
}

fn product() -> impl Strategy<Value = Product> {
    let shape = (
        prop::collection::btree_set(0_usize..4, 0..3),
        prop::collection::btree_set(0_usize..3, 1..4),
        prop::collection::vec((0_usize..3, 1_u32..7), 1..4),
    );
    let groups = prop::collection::btree_map(0_usize..3, 1_u32..4, 0..3);
    let rest = (1_u32..4, any::<[bool; 3]>(), "[a-c]", 0_u32..3, groups);
    (shape, rest).prop_map(|((requires, clusters, apps), rest)| {
        let (version, flags, mode, secret, groups) = rest;
        let [is_ordered, has_jobs, excludes_last] = flags;
        Product {
            version,
            requires,
            clusters,
            apps,
            is_ordered,
            has_jobs,
            mode,
            excludes_last,
            groups,
            secret,
        }
    })
}

fn site() -> impl Strategy<Value = Site> {
    let policies = vec![
        json!({}),
        json!({"groups": {"strategy": "custom"}, "beta": false, "bake": "1m"}),
        json!({"waves": [{"name": "gray", "clusters": {"cells": ["gray"]}, "bake": "5m"}, {"name": "all"}]}),
        json!({"waves": [{"name": "late", "clusters": {"names": ["room-c"]}}], "groups": {"strategy": "eachHost"}}),
    ];
    let products = prop::collection::vec(prop::option::weighted(0.8, product()), 1..5);
    (products, prop::sample::select(policies), 1_u8..4)
        .prop_map(|(products, policy, address)| Site { products, policy, address })
}

fn name(index: usize) -> String {
    format!("p{index}")
}

fn document(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "tidegate.dev/v1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

impl Site {
    /// Products that the site runs, with the products that they require among them.
    fn running(&self) -> impl Iterator<Item = (usize, &Product)> {
        self.products.iter().enumerate().filter_map(|(index, it)| Some((index, it.as_ref()?)))
    }

    /// A product is required only where it runs in every cluster of whoever requires it.
    fn requirements(&self, index: usize, product: &Product) -> BTreeSet<usize> {
        let is_there = |other: &&usize| {
            **other < index
                && self.products[**other]
                    .as_ref()
                    .is_some_and(|it| product.clusters.is_subset(&it.clusters))
        };
        product.requires.iter().filter(is_there).copied().collect()
    }

    /// Its documents. JSON is YAML.
    fn documents(&self) -> Vec<(String, Value)> {
        let mut all = vec![
            (
                "site.yaml".to_owned(),
                document(
                    "Site",
                    "small",
                    &json!({"tier": "production", "resourcePrefix": "sm", "domain": "small.internal"}),
                ),
            ),
            (
                "policies/rollout.yaml".to_owned(),
                document("RolloutPolicy", "standard", &self.policy),
            ),
            (
                "dns/zone.yaml".to_owned(),
                document(
                    "Zone",
                    "small.internal",
                    &json!({
                        "type": "hosted", "ttl": 60, "primary": "ns1.small.internal.", "contact": "hostmaster.small.internal.",
                        "records": [
                            {"name": "@", "type": "NS", "values": ["ns1"]},
                            {"name": "ns1", "type": "A", "values": ["10.0.0.1"]},
                            {"name": "www", "type": "A", "values": [format!("10.0.1.{}", self.address)]},
                        ],
                    }),
                ),
            ),
        ];
        for (name, cell) in CLUSTERS {
            let spec = json!({"access": {"sandbox": {"nodes": 3}}, "room": name, "zone": name, "region": "r", "cells": [cell]});
            all.push((format!("clusters/{name}.yaml"), document("Cluster", name, &spec)));
        }
        let mut wanted = Vec::new();
        for (index, product) in self.running() {
            all.extend(self.product(index, product));
            wanted.push(Self::wanted(index, product));
        }
        if !wanted.is_empty() {
            let spec = json!({"rollout": "standard", "products": wanted});
            all.push(("solutions/all.yaml".to_owned(), document("Solution", "all", &spec)));
        }
        all
    }

    /// Its scaling groups, the last first; a group has every app that may have further instances.
    fn groups(product: &Product) -> Vec<Value> {
        let apps = |replicas: u32| -> serde_json::Map<String, Value> {
            let all = product.apps.iter().enumerate();
            let own = all.filter(|(_, (workload, _))| WORKLOADS[*workload] != "DaemonSet");
            own.map(|(number, _)| (format!("a{number}"), json!({"replicas": replicas}))).collect()
        };
        let groups = product.groups.iter().rev();
        let group = |(number, replicas): (&usize, &u32)| json!({"name": format!("g{number}"), "apps": apps(*replicas)});
        groups.map(group).filter(|group| group["apps"] != json!({})).collect()
    }

    fn wanted(index: usize, product: &Product) -> Value {
        let clusters: Vec<&str> = product.clusters.iter().map(|it| CLUSTERS[*it].0).collect();
        let last = format!("a{}", product.apps.len() - 1);
        let exclude: Vec<String> =
            Some(last).filter(|_| product.excludes_last).into_iter().collect();
        json!({
            "product": name(index), "version": format!("1.{}.0", product.version),
            "clusters": {"names": clusters}, "exclude": exclude,
            "scalingGroups": Self::groups(product),
        })
    }

    fn product(&self, index: usize, product: &Product) -> Vec<(String, Value)> {
        let own = name(index);
        let env = json!({"MODE": "{{ mode }}", "PASSWORD": "{{ password }}"});
        let image = |app: &str| format!("x/{app}:1.{}.0", product.version);
        let mut apps: Vec<Value> = Vec::new();
        let mut sizes = serde_json::Map::new();
        for (number, (workload, replicas)) in product.apps.iter().enumerate() {
            let app = format!("a{number}");
            let mut spec = json!({"name": app, "workload": WORKLOADS[*workload], "image": image(&app), "env": env});
            if product.is_ordered && number > 0 {
                spec["after"] = json!([format!("a{}", number - 1)]);
            }
            if WORKLOADS[*workload] != "DaemonSet" {
                sizes.insert(app, json!({"replicas": replicas}));
            }
            apps.push(spec);
        }
        if product.has_jobs {
            apps.push(json!({"name": "init", "kind": "task", "image": image("init"), "env": env}));
            apps.push(json!({"name": "smoke", "kind": "test", "image": image("smoke")}));
        }
        let requires: Vec<Value> = self
            .requirements(index, product)
            .into_iter()
            .map(|other| json!({"product": name(other)}))
            .collect();
        let version = json!({
            "version": format!("1.{}.0", product.version), "requires": requires, "apps": apps,
            "parameters": [
                {"name": "mode", "type": "string", "default": "a"},
                {"name": "password", "type": "string", "secret": true, "required": true},
            ],
            "manifests": ["manifests/*.yaml"],
            "sizes": [{"name": "small", "apps": sizes}],
        });
        let values = json!({"mode": product.mode, "password": {"secret": {"name": "own", "key": "password"}}});
        // Its values come by another way, and change with the annotation.
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {"name": "own", "annotations": {"x.example/rotation": product.secret.to_string()}},
        });
        let mut documents = vec![
            (
                format!("catalog/{own}/product.yaml"),
                document("Product", &own, &json!({"title": own})),
            ),
            (format!("catalog/{own}/version.yaml"), document("ProductVersion", &own, &version)),
            (format!("catalog/{own}/manifests/secret.yaml"), secret),
            (
                format!("parameters/{own}.yaml"),
                document("Parameters", &own, &json!({"scope": {"product": own}, "values": values})),
            ),
        ];
        for group in Self::groups(product) {
            let scope = json!({"product": own, "scalingGroup": group["name"]});
            let name = format!("{own}-{}", group["name"].as_str().unwrap());
            let spec =
                json!({"scope": scope, "values": {"mode": format!("{}-of-group", product.mode)}});
            documents
                .push((format!("parameters/{name}.yaml"), document("Parameters", &name, &spec)));
        }
        documents
    }

    /// The site as validated; findings as text.
    fn valid(&self, turn: usize) -> (Option<ValidSite>, String) {
        let mut documents = self.documents();
        // The place of a document says nothing: what is not tied to a folder is spread otherwise.
        let count = documents.len();
        documents.rotate_left(turn % count);
        let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for (path, document) in documents {
            let is_free = turn > 0 && !path.starts_with("catalog/");
            let path = if is_free { "everything.yaml".to_owned() } else { path };
            let file = files.entry(path).or_default();
            file.extend(format!("---\n{document}\n").into_bytes());
        }
        let snapshot = Snapshot {
            revision: revision(),
            folder: String::new(),
            files,
            findings: Vec::new(),
            earlier: BTreeMap::new(),
        };
        let (site, findings) = validate(&snapshot, now());
        let mut text = String::new();
        for finding in findings {
            for lang in Lang::ALL {
                writeln!(text, "{finding} {} {}", finding.message(lang), finding.remedy(lang))
                    .unwrap();
            }
        }
        (site, text)
    }
}

fn now() -> Timestamp {
    "2026-03-02T09:00:00Z".parse().unwrap()
}

fn revision() -> Revision {
    let li_na = Identity::new("Li Na", "li.na@bank.example");
    Revision {
        commit: "c".repeat(40),
        committed_at: now(),
        author: li_na.clone(),
        committer: li_na,
        subject: String::new(),
    }
}

/// Clusters that do at once and exactly what is asked of them, and what the agent remembers of them.
#[derive(Default)]
struct World {
    objects: BTreeMap<ObjectRef, Object>,
    inventory: Inventory,
    baseline: Option<Baseline>,
    zones: BTreeMap<String, PublishedZone>,
    made: u32,
}

/// A site, planned.
struct Planned {
    site: ValidSite,
    desired: DesiredState,
    plan: Plan,
    report: PlanReport,
}

impl World {
    /// As the server stores it: with a uid, and with what somebody else puts into Secrets.
    fn stored(&self, body: &Object, reference: &ObjectRef) -> Object {
        let mut object = body.clone();
        let uid = self
            .objects
            .get(reference)
            .map_or_else(|| format!("u{}", self.made), |it| it.uid().to_owned());
        object.set(&["metadata", "uid"], uid.into());
        if body.kind() == "Secret" {
            let turn = body.annotation("x.example/rotation").unwrap_or_default();
            object.set(&["data", "password"], CANARY_IN_BASE64.into());
            object.set(&["data", "other"], encoded(&format!("{CANARY}-{turn}")).into());
        }
        object
    }

    fn observe(&self, desired: &DesiredState) -> LiveState {
        let mut live = LiveState::default();
        for (name, _) in CLUSTERS {
            let observation = ClusterObservation {
                uid: Some(format!("uid-{name}")),
                version: None,
                observed_at: now(),
                gap: None,
                gaps: BTreeMap::new(),
                objects: BTreeMap::new(),
                around: Surroundings::default(),
            };
            live.clusters.insert(name.to_owned(), observation);
        }
        let wanted = desired.objects.iter().map(|object| &object.reference);
        for reference in wanted.chain(self.inventory.entries.keys()) {
            let predicted = match desired.object(reference) {
                Some(object) => Prediction::Exact(self.stored(&object.body(), reference).into()),
                None => Prediction::NotDesired,
            };
            let observation = Observation {
                live: self.objects.get(reference).map(LiveObject::new),
                predicted,
                conflicts: Vec::new(),
                warnings: Vec::new(),
                holds: Vec::new(),
            };
            let cluster = live.clusters.get_mut(&reference.cluster).unwrap();
            cluster.objects.insert(reference.clone(), observation);
        }
        live
    }

    fn plan(&self, site: ValidSite) -> Planned {
        let desired = render(&site, now());
        let live = self.observe(&desired);
        let changes = diff(&desired, &live, &self.inventory, &self.zones);
        let (plan, report) = plan(
            changes,
            &desired,
            &site,
            &live,
            self.baseline.as_ref(),
            &self.inventory,
            &revision(),
            &[],
        );
        Planned { site, desired, plan, report }
    }

    /// Does what the plan says in its order, and holds each step against the documents, not against the planner.
    fn carry_out(&mut self, planned: &Planned, documents: &Site) -> Result<(), TestCaseError> {
        let Planned { site, desired, plan, .. } = planned;
        let mut done: BTreeSet<&str> = BTreeSet::new();
        for (wave, step) in plan.steps() {
            let wave = &plan.content.waves[wave].name;
            let cell = CLUSTERS.iter().find(|(name, _)| *name == step.cluster);
            let is_gray = wave.starts_with("gray");
            prop_assert!(!is_gray || cell.is_none_or(|(_, cell)| *cell == "gray"));
            after_its_product(step, plan, &done)?;
            in_order(step, plan, documents, &done)?;
            for reference in step.apply.iter().chain(&step.replace) {
                let namespace = ObjectRef {
                    cluster: step.cluster.clone(),
                    group: String::new(),
                    kind: "Namespace".to_owned(),
                    namespace: String::new(),
                    name: reference.namespace.clone(),
                };
                let has_room =
                    reference.namespace.is_empty() || self.objects.contains_key(&namespace);
                prop_assert!(has_room, "{reference} has no namespace yet");
                self.apply(reference, desired);
            }
            for reference in &step.prune {
                self.objects.remove(reference);
                self.inventory.entries.remove(reference);
            }
            for zone in &step.zones {
                self.publish(zone, desired);
            }
            done.insert(&step.id);
        }
        let products = site.deployments.keys().cloned().collect();
        let reached = Reached {
            release: "r1",
            at: now(),
            is_complete: true,
            products: &products,
            zones: &self.zones,
            carried_out: &[],
        };
        let after = Baseline::after(self.baseline.as_ref(), plan, desired, site, reached);
        self.baseline = Some(after);
        Ok(())
    }

    fn apply(&mut self, reference: &ObjectRef, desired: &DesiredState) {
        let wanted = desired.object(reference).unwrap();
        self.made += 1;
        let stored = self.stored(&wanted.body(), reference);
        let entry = InventoryEntry {
            api_version: wanted.api_version.clone(),
            uid: Some(stored.uid().to_owned()),
            applied: Some(wanted.digest.clone()),
            owner: wanted.owner.clone(),
            kept: false,
            adopted: None,
        };
        self.objects.insert(reference.clone(), stored);
        self.inventory.entries.insert(reference.clone(), entry);
    }

    fn publish(&mut self, name: &str, desired: &DesiredState) {
        let zone = desired.zones.iter().find(|zone| zone.name == name);
        match zone {
            Some(zone) => {
                let serial = self.zones.get(name).map_or(1, |known| known.serial + 1);
                let published = PublishedZone { zone: zone.clone(), serial, digest: zone.digest() };
                self.zones.insert(name.to_owned(), published);
            }
            None => {
                self.zones.remove(name);
            }
        }
    }
}

/// Base64 without a library: what is encoded is the canary with a digit after it.
fn encoded(text: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for index in 0..=chunk.len() {
            let six = usize::try_from((bits >> (18 - 6 * index)) & 63).unwrap();
            out.push(char::from(LETTERS[six]));
        }
        out.extend(std::iter::repeat_n('=', 3 - chunk.len()));
    }
    out
}

/// The scaling group of the app that a step is about, by its name, as the documents give it: `a0-g1`.
fn group_of(step: &Step) -> Option<u32> {
    let (_, group) = step.rollout.as_ref()?.unit.app.split_once("-g")?;
    group.parse().ok()
}

/// A scaling group changes after all of its product's own, and after the groups before it, which have higher numbers here.
fn after_its_product(step: &Step, plan: &Plan, done: &BTreeSet<&str>) -> Result<(), TestCaseError> {
    let Some(group) = group_of(step) else { return Ok(()) };
    for (_, other) in plan.steps() {
        let is_same = other.product == step.product && other.cluster == step.cluster;
        let is_before = other.rollout.is_some() && group_of(other).is_none_or(|it| it > group);
        let is_missing = is_same && is_before && !done.contains(other.id.as_str());
        prop_assert!(!is_missing, "{} is started before {}", step.id, other.id);
    }
    Ok(())
}

/// Whether what a step needs by the documents has been done: products that its product requires, in its cluster, and apps
/// that its app comes after.
fn in_order(
    step: &Step,
    plan: &Plan,
    documents: &Site,
    done: &BTreeSet<&str>,
) -> Result<(), TestCaseError> {
    let Some(own) =
        step.product.as_deref().filter(|_| step.prune.is_empty() && step.offline.is_empty())
    else {
        return Ok(());
    };
    let index: usize = own[1..].parse().unwrap();
    let Some(product) = documents.products.get(index).and_then(Option::as_ref) else {
        return Ok(());
    };
    let mut required = documents.requirements(index, product);
    let mut open: Vec<usize> = required.iter().copied().collect();
    while let Some(other) = open.pop() {
        let more = documents.requirements(other, documents.products[other].as_ref().unwrap());
        open.extend(more.iter().filter(|it| required.insert(**it)));
    }
    for (_, other) in plan.steps() {
        let is_there =
            other.cluster == step.cluster && other.prune.is_empty() && other.offline.is_empty();
        let is_test = other.kind == StepKind::Job(Layer::Test);
        let is_required = other
            .product
            .as_ref()
            .is_some_and(|it| required.iter().any(|needed| name(*needed) == *it));
        let is_missing = is_there && is_required && !is_test && !done.contains(other.id.as_str());
        prop_assert!(!is_missing, "{} is started before {}", step.id, other.id);
    }
    let app = |step: &Step| {
        let rollout = step.rollout.as_ref()?;
        rollout.unit.app.strip_prefix('a')?.parse::<usize>().ok()
    };
    let Some(number) = app(step).filter(|_| product.is_ordered) else { return Ok(()) };
    for (_, other) in plan.steps() {
        let is_same = other.product == step.product && other.cluster == step.cluster;
        let is_before = app(other).is_some_and(|it| it < number);
        let is_missing = is_same && is_before && !done.contains(other.id.as_str());
        prop_assert!(!is_missing, "{} is started before {}", step.id, other.id);
    }
    Ok(())
}

/// Everything that anybody reads of a plan, and that is stored of it.
fn texts(planned: &Planned, world: &World) -> String {
    let Planned { site, plan, report, .. } = planned;
    let mut text = serde_json::to_string(&(plan, report, &world.baseline)).unwrap();
    text.push_str(&serde_json::to_string(&world.inventory).unwrap());
    for lang in Lang::ALL {
        for is_full in [true, false] {
            let style = Style { lang, is_full, ..Style::default() };
            text.push_str(&show::plan_text(plan, report, style));
            text.push_str(&show::changes_text(&plan.content.changes, style));
        }
        text.push_str(&show::plan_markdown(plan, report, lang, 1 << 20));
        text.push_str(&show::changes_markdown(&plan.content.changes, lang, 1 << 20));
        for finding in &report.findings {
            writeln!(text, "{finding} {}", finding.message(lang)).unwrap();
        }
    }
    for row in parameter::explain(site) {
        writeln!(text, "{row:?}").unwrap();
    }
    text
}

fn holds_no_secret(text: &str) -> Result<(), TestCaseError> {
    // The first twelve bytes are encoded alike, whatever follows.
    let is_clean = !text.contains(CANARY) && !text.contains(&CANARY_IN_BASE64[..16]);
    prop_assert!(is_clean, "a secret is shown");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn from_documents_to_a_plan_that_was_carried_out(before in site(), after in site(), turn in 1_usize..9) {
        let mut world = World::default();
        for documents in [before, after] {
            let (valid, findings) = documents.valid(0);
            holds_no_secret(&findings)?;
            let Some(valid) = valid else {
                return Err(TestCaseError::fail(format!("the site is not valid: {findings}")));
            };
            let planned = world.plan(valid);
            let text = texts(&planned, &world);

            // No secret in any text.
            holds_no_secret(&text)?;

            // Determinism: however the documents are spread over files, the plan is the same, byte for byte.
            let again = world.plan(documents.valid(turn).0.unwrap());
            prop_assert_eq!(planned.plan.id(), again.plan.id());
            prop_assert_eq!(
                show::plan_text(&planned.plan, &PlanReport::default(), Style::default()),
                show::plan_text(&again.plan, &PlanReport::default(), Style::default())
            );

            // A second site may be refused (an older version, say): then nothing is done, and that is all.
            if planned.report.is_refused() {
                return Ok(());
            }
            prop_assert_eq!(check(&planned.plan, &planned.site), Vec::<String>::new());

            // Waves respect every dependency.
            world.carry_out(&planned, &documents)?;

            // Convergence: the next plan is empty.
            let next = world.plan(documents.valid(0).0.unwrap());
            prop_assert!(next.plan.is_empty(), "{}", show::plan_text(&next.plan, &next.report, Style::default()));
        }
    }
}
