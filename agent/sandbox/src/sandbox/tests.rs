//! Whatever is written: nobody who should look again is forgotten, and nobody who need not would do anything.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::round;
use crate::access::{Credentials, User};
use crate::control::ObjectKey;
use crate::controller::Controllers;
use crate::world::World;
use crate::write::deletion::{self, Wishes};
use crate::write::{self, Terms, Validation};
use crate::{kubelet_silence, object};

/// More rounds than anything in these tests takes until nothing changes.
const ROUNDS: usize = 200;

struct Bench {
    world: World,
    now: Timestamp,
}

impl Bench {
    fn new() -> Self {
        let now = "2026-11-21T06:00:00Z".parse().unwrap();
        let mut world = World::new("bench", "1.29", 100, Credentials::default());
        world.settle(2, now);
        let mut bench = Self { world, now };
        bench.settle();
        bench
    }

    /// One round, held against one in which everybody looks at everything; says when to look again.
    fn round(&mut self) -> Option<Timestamp> {
        let mut whole = self.world.clone();
        whole.store.show_all();
        whole.controllers = Controllers::default();
        whole.garbage = crate::garbage::Due::default();
        whole.usage = crate::quota::Usage::default();
        let expected = round(&mut whole, self.now);
        let next = round(&mut self.world, self.now);
        let objects = |world: &World| -> Vec<(ObjectKey, Arc<Value>)> {
            world.store.all().map(|(key, object)| (key, Arc::clone(object))).collect()
        };
        for (one, other) in objects(&self.world).iter().zip(&objects(&whole)) {
            assert_eq!(one, other, "a round over what is due differs from one over everything");
        }
        assert_eq!(self.world.store.revision(), whole.store.revision());
        assert_eq!(next, expected);
        next
    }

    /// Rounds until nothing changes any more; says when time alone would change something.
    fn settle(&mut self) -> Option<Timestamp> {
        for _ in 0..ROUNDS {
            let before = self.world.store.revision();
            let next = self.round();
            if self.world.store.revision() == before {
                return next;
            }
        }
        let seen = self.world.store.revision() - 8;
        let last = self.world.store.changes_since(seen).into_iter().flatten();
        let last: Vec<String> =
            last.map(|change| format!("{:?} {}", change.key, change.object)).collect();
        panic!("no rest after {ROUNDS} rounds:\n{}", last.join("\n"));
    }

    /// Lets time pass, stopping a few times where something changes by itself.
    fn pass(&mut self, seconds: i64) {
        let end = self.now + SignedDuration::from_secs(seconds);
        for _ in 0..6 {
            match self.settle().filter(|next| *next <= end) {
                Some(next) => self.now = next,
                None => break,
            }
        }
        self.now = end;
        self.settle();
    }

    /// A forced apply. A refusal is an answer like any other.
    fn apply(&mut self, value: Value) {
        let key = object::key(&value);
        let Some(resource) = self.world.resource_of_kind(&key.group, &key.kind) else { return };
        let terms = Terms {
            manager: "bench".to_owned(),
            is_dry_run: false,
            validation: Validation::Ignore,
            now: self.now,
            version: resource.storage.clone(),
            is_patch: false,
            is_whole: false,
            subresource: String::new(),
            user: User::administrator(),
        };
        drop(write::apply(&mut self.world, &resource, &key, value, true, &terms));
    }

    fn delete(&mut self, key: &ObjectKey, policy: Option<&str>) {
        let Some(resource) = self.world.resource_of_kind(&key.group, &key.kind) else { return };
        let wishes = Wishes { propagation: policy.map(str::to_owned), ..Wishes::default() };
        drop(deletion::delete(&mut self.world, &resource, key, &wishes, self.now));
    }

    fn carry_out(&mut self, step: &Step) {
        match step {
            Step::Apply(value) => self.apply(value.clone()),
            Step::Delete(value, policy) => self.delete(&object::key(value), *policy),
            Step::DeletePod(index, policy) => {
                if let Some(key) = self.pod(*index).map(|pod| object::key(&pod)) {
                    self.delete(&key, *policy);
                }
            }
            Step::Relabel(index, app) => {
                if let Some(pod) = self.pod(*index) {
                    let mut pod = Value::clone(&pod);
                    pod["metadata"]["labels"]["app"] = json!(app);
                    let key = object::key(&pod);
                    self.world.store.put(&key, pod);
                }
            }
            Step::Silence(node, is_silent) => {
                kubelet_silence::set(&mut self.world, node, *is_silent, self.now);
            }
            Step::Wait(seconds) => self.pass(*seconds),
        }
    }

    /// One of the pods.
    fn pod(&self, index: usize) -> Option<Arc<Value>> {
        let pods: Vec<_> = self.world.store.of_kind("", "Pod", None).cloned().collect();
        pods.get(index % pods.len().max(1)).cloned()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Apply(Value),
    Delete(Value, Option<&'static str>),
    DeletePod(usize, Option<&'static str>),
    Relabel(usize, &'static str),
    Silence(&'static str, bool),
    Wait(i64),
}

const NAMES: [&str; 2] = ["a", "b"];
const SPACES: [&str; 2] = ["default", "side"];
const IMAGES: [&str; 5] = ["x:1", "x:2", "x:never-ready", "x:crash", "x:slow-5s"];
const POLICIES: [Option<&str>; 4] = [None, Some("Background"), Some("Foreground"), Some("Orphan")];

fn one_of<T: Clone + std::fmt::Debug + 'static>(
    values: &[T],
) -> impl Strategy<Value = T> + Clone + use<T> {
    prop::sample::select(values.to_vec())
}

/// A pod's template: what it needs may be missing, or not fit.
fn template() -> impl Strategy<Value = Value> {
    (one_of(&NAMES), one_of(&IMAGES), 0..8_u8).prop_map(|(app, image, with)| {
        let mut spec = json!({"containers": [{"name": "c", "image": image}]});
        match with {
            0 => spec["serviceAccountName"] = json!("a"),
            1 => spec["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": "a"}}]),
            2 => spec["containers"][0]["resources"] = json!({"requests": {"cpu": "3"}}),
            3 => spec["nodeSelector"] = json!({"disk": "fast"}),
            4 => {
                spec["volumes"] =
                    json!([{"name": "v", "persistentVolumeClaim": {"claimName": "a"}}]);
            }
            5 => spec["priorityClassName"] = json!("a"),
            6 => {
                spec["affinity"] = json!({"podAntiAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": [{
                        "topologyKey": "kubernetes.io/hostname",
                        "labelSelector": {"matchLabels": {"app": app}}}]}});
            }
            _ => {}
        }
        json!({"metadata": {"labels": {"app": app}}, "spec": spec})
    })
}

fn workload() -> impl Strategy<Value = Value> {
    (0..5_u8, template(), 0..4_u8, 0..3_u8).prop_map(|(kind, template, replicas, wait)| {
        let app = &template["metadata"]["labels"]["app"];
        let selector = json!({"matchLabels": {"app": app}});
        match kind {
            0 => json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {
                "replicas": replicas, "minReadySeconds": wait * 2, "selector": selector,
                "revisionHistoryLimit": 1, "progressDeadlineSeconds": 20, "template": template}}),
            1 => json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "spec": {
                "replicas": replicas, "serviceName": "a", "selector": selector, "template": template,
                "podManagementPolicy": if wait == 0 { "Parallel" } else { "OrderedReady" },
                "volumeClaimTemplates": [{"metadata": {"name": "v"}, "spec": {
                    "accessModes": ["ReadWriteOnce"], "storageClassName": "a",
                    "resources": {"requests": {"storage": "1Gi"}}}}]}}),
            2 => json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "spec": {
                "selector": selector, "template": template}}),
            3 => {
                let mut template = template.clone();
                template["spec"]["restartPolicy"] = json!("Never");
                json!({"apiVersion": "batch/v1", "kind": "Job", "spec": {
                    "completions": replicas.max(1), "backoffLimit": 1,
                    "ttlSecondsAfterFinished": 5, "template": template}})
            }
            _ => json!({"apiVersion": "v1", "kind": "Pod",
                "metadata": template["metadata"], "spec": template["spec"]}),
        }
    })
}

/// Everything around workloads.
fn surroundings() -> impl Strategy<Value = Value> {
    (0..13_u8, one_of(&NAMES), 0..3_u8).prop_map(|(kind, app, size)| match kind {
        0 => json!({"apiVersion": "v1", "kind": "Service", "spec": {
            "type": if size == 0 { "LoadBalancer" } else { "ClusterIP" },
            "selector": {"app": app}, "ports": [{"port": 80}]}}),
        1 => json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "spec": {
            "maxUnavailable": size, "selector": {"matchLabels": {"app": app}}}}),
        2 => json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "spec": {
            "maxReplicas": 5, "scaleTargetRef": {
                "apiVersion": "apps/v1", "kind": "Deployment", "name": app}}}),
        3 => json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"k": size.to_string()}}),
        4 => json!({"apiVersion": "v1", "kind": "ServiceAccount"}),
        5 => json!({"apiVersion": "v1", "kind": "ResourceQuota", "spec": {
            "hard": {"pods": (size * 2).to_string(), "count/configmaps": "2"}}}),
        6 => json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "a",
            "resources": {"requests": {"storage": format!("{}Gi", size + 1)}}}}),
        7 => json!({"apiVersion": "v1", "kind": "PersistentVolume", "spec": {
            "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "2Gi"},
            "storageClassName": "a", "hostPath": {"path": "/v"}}}),
        8 => json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
            "provisioner": "p.example/p", "allowVolumeExpansion": true,
            "volumeBindingMode": if size == 0 { "Immediate" } else { "WaitForFirstConsumer" }}),
        9 => json!({"apiVersion": "v1", "kind": "Namespace"}),
        10 => json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "value": 5}),
        11 => json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "spec": {"group": "t.example", "scope": "Namespaced",
                "names": {"kind": "Thing", "plural": "things", "singular": "thing"},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {
                    "openAPIV3Schema": {"type": "object",
                        "x-kubernetes-preserve-unknown-fields": true}}}]}}),
        _ => json!({"apiVersion": "t.example/v1", "kind": "Thing", "spec": {"size": size}}),
    })
}

/// An object with its name and its place.
fn thing() -> impl Strategy<Value = Value> {
    let body = prop_oneof![2 => workload().boxed(), 3 => surroundings().boxed()];
    (body, one_of(&NAMES), one_of(&SPACES)).prop_map(|(mut body, name, space)| {
        let kind = object::text(&body, "/kind").to_owned();
        let is_of_cluster = ["PersistentVolume", "StorageClass", "PriorityClass"];
        let name = match kind.as_str() {
            "Namespace" => "side",
            "CustomResourceDefinition" => "things.t.example",
            _ => name,
        };
        object::set_metadata(&mut body, "name", name.into());
        if name != "side" && name != "things.t.example" && !is_of_cluster.contains(&kind.as_str()) {
            object::set_metadata(&mut body, "namespace", space.into());
        }
        body
    })
}

fn node() -> impl Strategy<Value = Value> {
    (one_of(&["node-1", "node-2"]), any::<bool>(), any::<bool>()).prop_map(
        |(name, is_cordoned, is_fast)| {
            json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name,
                "labels": if is_fast { json!({"disk": "fast"}) } else { json!({}) }},
                "spec": {"unschedulable": is_cordoned}})
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => thing().prop_map(Step::Apply),
        4 => (thing(), one_of(&POLICIES)).prop_map(|(value, policy)| Step::Delete(value, policy)),
        1 => node().prop_map(Step::Apply),
        2 => (0..20_usize, one_of(&POLICIES)).prop_map(|(index, policy)| Step::DeletePod(index, policy)),
        1 => (0..20_usize, one_of(&NAMES)).prop_map(|(index, app)| Step::Relabel(index, app)),
        1 => (one_of(&["node-1", "node-2"]), any::<bool>()).prop_map(|(node, is)| Step::Silence(node, is)),
        6 => one_of(&[1, 3, 15, 40, 400]).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_round_over_what_is_due_is_a_round_over_everything(
        steps in prop::collection::vec((step(), any::<bool>()), 4..24),
    ) {
        let mut bench = Bench::new();
        bench.apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "side"}}));
        bench.settle();
        for (step, is_awaited) in &steps {
            bench.carry_out(step);
            if *is_awaited {
                bench.settle();
            }
        }
        bench.pass(30);
    }
}

/// The garbage collector takes a set's history and its pods before the set; the set's controller does not make the history anew.
#[test]
fn a_set_that_is_deleted_in_the_foreground_comes_to_rest_and_goes() {
    for kind in ["DaemonSet", "StatefulSet"] {
        let mut bench = Bench::new();
        let set = json!({"apiVersion": "apps/v1", "kind": kind,
            "metadata": {"name": "a", "namespace": "default"}, "spec": {
                "selector": {"matchLabels": {"app": "a"}},
                "template": {"metadata": {"labels": {"app": "a"}}, "spec": {
                    "containers": [{"name": "c", "image": "x:1"}]}}}});
        bench.apply(set.clone());
        bench.pass(30);
        assert!(bench.pod(0).is_some(), "{kind} has made no pod");
        bench.delete(&object::key(&set), Some("Foreground"));
        bench.settle();
        bench.pass(60);
        assert!(bench.world.store.object(&object::key(&set)).is_none(), "{kind} stays");
        for kind in [("apps", "ControllerRevision"), ("", "Pod")] {
            assert_eq!(bench.world.store.of_kind(kind.0, kind.1, None).count(), 0, "{kind:?}");
        }
    }
}

/// How often controllers look when one of many apps is changed.
fn looks_for_one_change(apps: usize) -> u64 {
    let mut bench = Bench::new();
    let app = |name: &str, image: &str| {
        let labels = json!({"app": name, "part-of": "all"});
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "namespace": "default"}, "spec": {
                "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": labels}, "spec": {
                    "containers": [{"name": "c", "image": image}]}}}})
    };
    let rest = |bench: &mut Bench| {
        for _ in 0..ROUNDS {
            let before = bench.world.store.revision();
            let next = round(&mut bench.world, bench.now);
            if bench.world.store.revision() == before {
                match next {
                    Some(next) => bench.now = next,
                    None => return,
                }
            }
        }
        panic!("no rest");
    };
    for index in 0..apps {
        let name = format!("app-{index}");
        bench.apply(app(&name, "x:1"));
        bench.apply(json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"selector": {"app": name}, "ports": [{"port": 80}]}}));
        bench.apply(json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": {"name": name, "namespace": "default"}, "spec": {
                "maxUnavailable": 1, "selector": {"matchLabels": {"app": name}}}}));
    }
    rest(&mut bench);
    let before = bench.world.controllers.looks();
    bench.apply(app("app-3", "x:2"));
    rest(&mut bench);
    bench.world.controllers.looks() - before
}

#[test]
fn a_change_costs_the_same_however_much_there_is() {
    let few = looks_for_one_change(5);
    assert!(few > 10, "{few} looks are not a release");
    assert_eq!(few, looks_for_one_change(60));
}
