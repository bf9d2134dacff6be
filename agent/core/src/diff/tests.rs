//! Golden triples: declared, live and predicted, and what a person is told about them.

use proptest::prelude::{Just, ProptestConfig, any, prop, proptest};
use proptest::strategy::Strategy as _;
use proptest::{prop_assert, prop_assert_eq, prop_oneof};
use rstest::rstest;
use serde_json::json;

use tidegate_schema::product::SecretFields;

use super::*;
use crate::change::Shown;
use crate::desired::{Layer, Owner};
use crate::live::{ClusterObservation, LiveObject, Surroundings};

mod nodes;

const CLUSTER: &str = "room-a";

fn owner() -> Owner {
    Owner {
        solution: Some("platform".to_owned()),
        product: Some("shop".to_owned()),
        app: Some("web".to_owned()),
        scaling_group: None,
        access: None,
        layer: Layer::Workload,
    }
}

/// A cluster that was looked at, in which nothing is.
pub(crate) fn empty_cluster() -> ClusterObservation {
    ClusterObservation {
        uid: None,
        version: None,
        observed_at: jiff::Timestamp::UNIX_EPOCH,
        gap: None,
        gaps: BTreeMap::new(),
        objects: BTreeMap::new(),
        around: Surroundings::default(),
    }
}

/// An object as it was seen, of which there is nothing else to say.
pub(crate) fn observation(live: Option<&Object>, predicted: Prediction) -> Observation {
    let (conflicts, warnings, holds) = (Vec::new(), Vec::new(), Vec::new());
    Observation { live: live.map(LiveObject::new), predicted, conflicts, warnings, holds }
}

/// One cluster with desired objects, what is there, and what is ours.
#[derive(Default)]
pub(super) struct World {
    desired: DesiredState,
    live: LiveState,
    inventory: Inventory,
}

impl World {
    pub(super) fn new() -> Self {
        let mut world = Self::default();
        let uid = Some("cluster-uid".to_owned());
        let cluster = ClusterObservation { uid, ..empty_cluster() };
        world.live.clusters.insert(CLUSTER.to_owned(), cluster);
        world
    }

    fn cluster(&mut self) -> &mut ClusterObservation {
        self.live.clusters.get_mut(CLUSTER).unwrap()
    }

    pub(super) fn want(&mut self, body: &Value) -> ObjectRef {
        let body = Object::new(body.clone());
        let reference = body.reference(CLUSTER);
        let object = DesiredObject::new(reference.clone(), &body, owner(), None);
        self.desired.objects.push(object);
        self.desired.objects.sort_by(|left, right| left.reference.cmp(&right.reference));
        reference
    }

    /// One object, as it is and as it is wanted.
    fn see(&mut self, live: Option<&Value>, wanted: Option<&Value>) -> ObjectRef {
        let body = wanted.or(live).unwrap();
        let reference = Object::new(body.clone()).reference(CLUSTER);
        let predicted = match wanted {
            Some(wanted) => {
                self.want(wanted);
                Prediction::Exact(Object::new(wanted.clone()).into())
            }
            None => Prediction::NotDesired,
        };
        self.observe(&reference, live, predicted);
        reference
    }

    pub(super) fn observe(
        &mut self,
        reference: &ObjectRef,
        live: Option<&Value>,
        predicted: Prediction,
    ) {
        let live = live.cloned().map(Object::new);
        let observation = observation(live.as_ref(), predicted);
        self.cluster().objects.insert(reference.clone(), observation);
    }

    pub(super) fn own(&mut self, reference: &ObjectRef, uid: &str, applied: Option<Digest>) {
        let entry = InventoryEntry {
            api_version: "v1".to_owned(),
            uid: Some(uid.to_owned()),
            applied,
            owner: owner(),
            kept: false,
            adopted: None,
        };
        self.inventory.entries.insert(reference.clone(), entry);
    }

    pub(super) fn diff(&self) -> ChangeSet {
        diff(&self.desired, &self.live, &self.inventory, &BTreeMap::new())
    }
}

use crate::digest::Digest;

/// The changes between a live object and what the server predicts for one that is ours.
pub(crate) fn compared(live: &Value, predicted: &Value) -> ChangeSet {
    let mut world = World::new();
    let reference = world.want(predicted);
    world.observe(&reference, Some(live), Prediction::Exact(Object::new(predicted.clone()).into()));
    world.own(&reference, "", None);
    world.diff()
}

fn deployment(spec: &Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}, "spec": spec})
}

fn pod_spec(containers: &Value) -> Value {
    deployment(&json!({"replicas": 3, "template": {"spec": {"containers": containers}}}))
}

/// `path: before -> after`, one per field.
fn lines(set: &ChangeSet) -> Vec<String> {
    let show = |value: &Option<Shown>| match value {
        None => "-".to_owned(),
        Some(Shown::Value(value)) => value.to_string(),
        Some(Shown::Secret(number)) => format!("secret {number}"),
    };
    set.changes
        .iter()
        .flat_map(|change| &change.fields)
        .map(|field| format!("{}: {} -> {}", field.path, show(&field.before), show(&field.after)))
        .collect()
}

#[test]
fn a_state_compared_with_itself_is_empty() {
    let live = pod_spec(&json!([{"name": "web", "image": "shop/web:1"}]));
    let set = compared(&live, &live);
    assert!(set.is_empty());
    assert_eq!(set.unchanged, 1);
}

#[test]
fn noise_of_the_server_is_no_difference() {
    let mut live = pod_spec(&json!([{"name": "web"}]));
    let mut predicted = live.clone();
    live["metadata"]["resourceVersion"] = json!("17");
    live["metadata"]["managedFields"] = json!([{"manager": "tidegate"}]);
    live["metadata"]["generation"] = json!(4);
    live["metadata"]["creationTimestamp"] = json!("2026-11-21T00:00:00Z");
    live["metadata"]["annotations"] = json!({
        "deployment.kubernetes.io/revision": "3",
        "kubectl.kubernetes.io/last-applied-configuration": "{\"data\":\"hunter2\"}",
    });
    live["status"] = json!({"readyReplicas": 3});
    predicted["metadata"]["creationTimestamp"] = json!(null);
    predicted["spec"]["template"]["metadata"] = json!({"creationTimestamp": null});
    assert!(compared(&live, &predicted).is_empty());
}

#[rstest]
#[case(json!({"cpu": "1000m"}), json!({"cpu": "1"}))]
#[case(json!({"cpu": "0.1"}), json!({"cpu": "100m"}))]
#[case(json!({"cpu": 1}), json!({"cpu": "1"}))]
#[case(json!({"memory": "1024Mi"}), json!({"memory": "1Gi"}))]
fn equal_quantities_are_no_difference(#[case] before: Value, #[case] after: Value) {
    let with =
        |limits: &Value| pod_spec(&json!([{"name": "web", "resources": {"limits": limits}}]));
    assert!(compared(&with(&before), &with(&after)).is_empty());
}

#[rstest]
#[case(json!({"a": null}), json!({}))]
#[case(json!({"a": {}}), json!({}))]
#[case(json!({"a": []}), json!({"a": null}))]
#[case(json!({"a": ""}), json!({}))]
#[case(json!({"a": 1}), json!({"a": 1.0}))]
fn absent_null_and_empty_are_the_same(#[case] before: Value, #[case] after: Value) {
    assert!(compared(&deployment(&before), &deployment(&after)).is_empty());
}

#[test]
fn an_empty_directory_is_a_kind_of_volume() {
    let with = |volume: Value| deployment(&json!({"template": {"spec": {"volumes": [volume]}}}));
    let before = with(json!({"name": "tmp", "emptyDir": {}}));
    let after = with(json!({"name": "tmp", "hostPath": {"path": "/tmp"}}));
    assert_eq!(
        lines(&compared(&before, &after)),
        [
            "spec.template.spec.volumes[name=tmp].emptyDir: {} -> -",
            "spec.template.spec.volumes[name=tmp].hostPath.path: - -> \"/tmp\"",
        ]
    );
}

#[test]
fn elements_of_lists_are_matched_by_their_keys() {
    let before = pod_spec(&json!([
        {"name": "side", "image": "s:1"},
        {"name": "web", "image": "w:1", "ports": [
            {"containerPort": 53, "protocol": "TCP", "name": "a"}, {"containerPort": 53, "protocol": "UDP", "name": "b"}
        ], "args": ["a", "b"], "volumeMounts": [{"name": "v", "mountPath": "/a"}]},
    ]));
    let after = pod_spec(&json!([
        {"name": "web", "image": "w:2", "ports": [
            {"containerPort": 53, "protocol": "UDP", "name": "c"}, {"containerPort": 53, "name": "a"}
        ], "args": ["b", "a"], "volumeMounts": [{"name": "v", "mountPath": "/b"}]},
    ]));
    assert_eq!(
        lines(&compared(&before, &after)),
        [
            "spec.template.spec.containers[name=side].image: \"s:1\" -> -",
            "spec.template.spec.containers[name=side].name: \"side\" -> -",
            "spec.template.spec.containers[name=web].args: [\"a\",\"b\"] -> [\"b\",\"a\"]",
            "spec.template.spec.containers[name=web].image: \"w:1\" -> \"w:2\"",
            "spec.template.spec.containers[name=web].ports[containerPort=53,protocol=TCP].protocol: \"TCP\" -> -",
            "spec.template.spec.containers[name=web].ports[containerPort=53,protocol=UDP].name: \"b\" -> \"c\"",
            "spec.template.spec.containers[name=web].volumeMounts[mountPath=/a].mountPath: \"/a\" -> -",
            "spec.template.spec.containers[name=web].volumeMounts[mountPath=/a].name: \"v\" -> -",
            "spec.template.spec.containers[name=web].volumeMounts[mountPath=/b].mountPath: - -> \"/b\"",
            "spec.template.spec.containers[name=web].volumeMounts[mountPath=/b].name: - -> \"v\"",
        ]
    );
}

#[test]
fn the_order_of_init_containers_is_a_difference_and_that_of_volumes_is_none() {
    let with = |field: &str, names: [&str; 2]| {
        let items: Vec<_> = names.iter().map(|name| json!({"name": name})).collect();
        deployment(&json!({"template": {"spec": {field: items}}}))
    };
    let reordered = |field| compared(&with(field, ["a", "b"]), &with(field, ["b", "a"]));
    assert_eq!(
        lines(&reordered("initContainers")),
        [
            r#"spec.template.spec.initContainers: ["[name=a]","[name=b]"] -> ["[name=b]","[name=a]"]"#
        ]
    );
    assert!(reordered("volumes").is_empty());
}

#[test]
fn the_order_of_sets_is_no_difference_and_their_content_is() {
    let claim = |modes: &Value, finalizers: &Value| {
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": "c", "namespace": "n", "finalizers": finalizers}, "spec": {"accessModes": modes}})
    };
    let before = claim(&json!(["ReadWriteOnce", "ReadOnlyMany"]), &json!(["a/b", "c/d"]));
    let after = claim(&json!(["ReadOnlyMany", "ReadWriteOnce"]), &json!(["c/d", "a/b"]));
    assert!(compared(&before, &after).is_empty());
    let less = claim(&json!(["ReadWriteOnce"]), &json!(["c/d", "a/b"]));
    assert_eq!(lines(&compared(&before, &less)).len(), 1);
}

#[test]
fn elements_that_share_a_key_are_compared_as_a_whole() {
    let ports = |ports: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "n"}, "spec": {"ports": ports}});
    let before = ports(json!([{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]));
    let after = ports(json!([{"port": 80, "name": "a"}]));
    assert_eq!(lines(&compared(&before, &after)).len(), 1);
}

#[test]
fn names_with_dots_are_quoted() {
    let with = |value: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "n"}, "data": {"app.properties": value}});
    let set = compared(&with("a"), &with("b"));
    assert_eq!(lines(&set), [r#"data["app.properties"]: "a" -> "b""#]);
    assert_eq!(set.changes[0].effects, [Effect::NoPodRestarts]);
}

fn secret(fields: &Value) -> Value {
    let mut secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "n"}});
    for (name, value) in fields.as_object().unwrap() {
        secret[name] = value.clone();
    }
    secret
}

#[test]
fn secrets_show_only_which_values_are_equal() {
    let before = secret(&json!({"data": {"a": "aHVudGVyMg==", "b": "YWJj", "same": "eA=="}}));
    let after =
        secret(&json!({"data": {"a": "YWJj", "b": "aHVudGVyMg==", "same": "eA==", "c": "YWJj"}}));
    assert_eq!(
        lines(&compared(&before, &after)),
        ["data.a: secret 1 -> secret 2", "data.b: secret 2 -> secret 1", "data.c: - -> secret 2"]
    );
}

#[test]
fn texts_of_secrets_equal_their_encoded_form() {
    let before = secret(&json!({"data": {"a": "aHVudGVyMg=="}}));
    assert!(compared(&before, &secret(&json!({"stringData": {"a": "hunter2"}}))).is_empty());
}

#[rstest]
#[case(json!({"data": "hunter2"}))]
#[case(json!({"data": ["hunter2"]}))]
#[case(json!({"stringData": {"a": ["hunter2"]}}))]
#[case(json!({"stringData": "hunter2"}))]
#[case(json!({"dta": {"password": "hunter2"}}))]
#[case(json!({"metadata": {"name": "s", "namespace": "n", "annotations": {"note": "hunter2"}}}))]
#[case(json!({"metadata": {"name": "s", "namespace": "n", "annotations": {
    "kubectl.kubernetes.io/last-applied-configuration": "{\"data\":{\"a\":\"hunter2\""}}}))]
#[case(json!({"data": "hunter2", "stringData": {"a": "hunter2"}}))]
#[case(json!({"data": {"containers": [{"name": "hunter2"}]}}))]
#[case(json!({"data": {"env": [{"name": "hunter2", "value": 1}]}}))]
fn malformed_secrets_fail_closed(#[case] fields: Value) {
    let malformed = secret(&fields);
    let plain = secret(&json!({"data": {"x": "eA=="}}));
    for set in [compared(&plain, &malformed), compared(&malformed, &plain)] {
        assert!(!serde_json::to_string(&set).unwrap().contains("hunter2"));
    }
    let mut world = World::new();
    let reference = world.want(&malformed);
    world.observe(&reference, None, Prediction::NotDesired);
    assert!(!serde_json::to_string(&world.diff()).unwrap().contains("hunter2"));
}

#[test]
fn a_copy_of_a_secret_in_an_annotation_is_masked() {
    let with = |value: &str| {
        let annotations = json!({"kapp.k14s.io/original": value});
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "n", "annotations": annotations}})
    };
    let set = compared(&with("hunter2"), &with("hunter3"));
    assert_eq!(
        lines(&set),
        [r#"metadata.annotations["kapp.k14s.io/original"]: secret 1 -> secret 2"#]
    );
}

#[test]
fn what_is_not_there_is_created_with_every_leaf() {
    let mut world = World::new();
    let body = pod_spec(&json!([{"name": "web", "image": "w:1"}]));
    let reference = world.want(&body);
    world.observe(&reference, None, Prediction::Simulated(Object::new(body).into()));
    let set = world.diff();
    assert_eq!(set.changes[0].action, Action::Create);
    assert_eq!(set.changes[0].confidence, Confidence::Simulated);
    assert_eq!(set.changes[0].live, None);
    assert!(
        lines(&set)
            .contains(&"spec.template.spec.containers[name=web].image: - -> \"w:1\"".to_owned())
    );
}

#[test]
fn a_gap_is_never_read_as_absent() {
    let body = pod_spec(&json!([{"name": "web"}]));
    let unreachable = Gap { code: "CLUSTER/UNREACHABLE".to_owned(), message: String::new() };
    // The whole cluster: one gap, and neither a creation nor a prune.
    let mut world = World::new();
    let reference = world.want(&body);
    let other = ObjectRef { name: "old".to_owned(), ..reference.clone() };
    world.own(&reference, "", None);
    world.own(&other, "", None);
    world.cluster().gap = Some(unreachable.clone());
    let set = world.diff();
    assert!(set.changes.is_empty());
    assert_eq!(set.gaps.len(), 1);
    assert_eq!(set.gaps[0].object, None);
    // Part of a cluster: what was seen may be configured, but nothing is pruned.
    world.observe(&other, Some(&json!({"metadata": {"uid": ""}})), Prediction::NotDesired);
    let set = world.diff();
    assert!(set.changes.is_empty(), "{set:?}");
    // One object that was not looked at.
    world.cluster().gap = None;
    world.cluster().objects.clear();
    let set = world.diff();
    assert!(set.changes.is_empty());
    assert_eq!(set.gaps.len(), 2);
    // A cluster of which there is no word at all.
    world.live.clusters.clear();
    let set = world.diff();
    assert!(set.changes.is_empty());
    assert_eq!((set.gaps.len(), set.gaps[0].object.is_none()), (1, true));
}

#[test]
fn an_object_that_cannot_be_observed_stops_no_other() {
    let mut world = World::new();
    let (web, other) = (pod_spec(&json!([{"name": "web"}])), secret(&json!({})));
    let lost = world.want(&web);
    let seen = world.want(&other);
    world.observe(&seen, None, Prediction::Exact(Object::new(other).into()));
    world.own(&lost, "1", None);
    let gap = Gap { code: "CLUSTER/SERVER_ERROR".to_owned(), message: String::new() };
    world.cluster().gaps.insert(lost.clone(), gap.clone());
    let set = world.diff();
    assert_eq!((set.changes.len(), set.changes[0].action), (1, Action::Create));
    assert_eq!((set.gaps.len(), set.gaps[0].object.as_ref()), (1, Some(&lost)));
    world.desired.objects.retain(|object| object.reference != lost);
    let set = world.diff();
    assert!(set.changes.iter().all(|change| change.object != lost), "never pruned");
    assert_eq!(set.gaps[0].gap, gap);
}

#[test]
fn what_is_invalid_is_never_replaced() {
    let mut body = pod_spec(&json!([{"name": "web", "image": "w:2"}]));
    body["metadata"]["annotations"] = json!({REPLACE_ANNOTATION: "enabled"});
    let live = pod_spec(&json!([{"name": "web", "image": "w:1"}]));
    for code in ["CLUSTER/INVALID", "CLUSTER/CONFLICT", "CLUSTER/SCHEMA_VIOLATED"] {
        let mut world = World::new();
        let reference = world.want(&body);
        let gap = Gap { code: code.to_owned(), message: "no".to_owned() };
        world.observe(&reference, Some(&live), Prediction::Refused(gap));
        world.own(&reference, "", None);
        let set = world.diff();
        assert!(set.changes.is_empty() && set.gaps[0].refused, "{set:?}");
    }
}

/// What is told of an object of a definition that comes with the change and has rules, on a server of that version.
fn ruled(version: &str, live: Option<&Value>, spec: &Value) -> Result<Vec<String>, String> {
    let mut world = World::new();
    world.cluster().version = Some(version.to_owned());
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object",
        "x-kubernetes-validations": [
            {"rule": "self.a > 0", "message": "a must be positive"},
            {"rule": "self.b.matches('^x')"},
            {"rule": "self.c == oldSelf.c", "message": "c cannot change"}],
        "properties": {"a": {"type": "integer", "default": 1}, "b": {"type": "string"}, "c": {"type": "string"}}}}});
    world.want(
        &json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "backups.ops.example"}, "spec": {"group": "ops.example",
            "names": {"kind": "Backup"},
            "versions": [{"name": "v1", "schema": {"openAPIV3Schema": schema}}]}}),
    );
    let body = |spec: &Value| {
        json!({"apiVersion": "ops.example/v1", "kind": "Backup",
        "metadata": {"name": "b", "namespace": "n"}, "spec": spec})
    };
    let reference = world.want(&body(spec));
    let live = live.map(body);
    let simulated = Prediction::Simulated(Object::new(body(spec)).into());
    world.observe(&reference, live.as_ref(), simulated);
    world.own(&reference, "", None);
    let set = world.diff();
    if let Some(gap) = set.gaps.iter().find(|gap| gap.object.as_ref() == Some(&reference)) {
        return Err(gap.gap.message.clone());
    }
    let change = set.changes.iter().find(|change| change.object == reference).unwrap();
    assert!(change.fields.iter().any(|field| field.path == "spec.a"), "{change:?}");
    Ok(change.warnings.clone())
}

#[test]
fn rules_of_a_new_definition_are_judged_and_what_is_left_to_the_server_is_told() {
    let (new, left) = ("v1.29.0", Ok(vec!["CLUSTER/RULES_NOT_JUDGED: 1".to_owned()]));
    assert_eq!(ruled(new, None, &json!({"b": "x", "c": "1"})), left);
    let refused = ruled(new, None, &json!({"a": 0, "b": "x"}));
    assert_eq!(refused, Err("spec: a must be positive".to_owned()));
    let there = json!({"c": "1"});
    assert_eq!(ruled(new, Some(&there), &json!({"b": "x", "c": "1"})), left);
    assert_eq!(
        ruled(new, Some(&there), &json!({"c": "2"})),
        Err("spec: c cannot change".to_owned())
    );
    assert_eq!(
        ruled("v1.20.2", None, &json!({"a": 0})).unwrap_or_default(),
        [""; 0],
        "it knows none"
    );
}

/// D53, of a definition that somebody else brought; and of objects whose rule went with them nothing is shown.
#[test]
fn fields_that_a_rule_calls_secret_are_never_shown() {
    let database = |user: &str, word: &str| {
        json!({"apiVersion": "ops.example/v1", "kind": "Database",
        "metadata": {"name": "d", "namespace": "n", "uid": "1"}, "spec": {"user": user,
            "password": word, "peers": [{"name": "h", "key": word}]}})
    };
    let (old, new) = (database("sql", "hunter2"), database("sql2", "hunter3"));
    let told = |live: Option<&Value>, wanted: Option<&Value>, is_known: bool| {
        let mut world = World::new();
        if is_known {
            world.desired.secret_fields = vec![SecretFields {
                group: "ops.example".to_owned(),
                kind: "Database".to_owned(),
                fields: vec!["spec.password".to_owned(), "spec.peers[*].key".to_owned()],
            }];
        }
        let reference = world.see(live, wanted);
        if live.is_some() {
            world.own(&reference, "1", None);
        }
        let set = world.diff();
        let change = set.changes.iter().find(|it| it.object == reference).unwrap();
        let text = serde_json::to_string(change).unwrap();
        (!text.contains("hunter"), text.contains("sql"))
    };
    for (live, wanted) in [(Some(&old), Some(&new)), (None, Some(&new)), (Some(&old), None)] {
        assert_eq!(told(live, wanted, true), (true, true), "only the secret is hidden");
    }
    assert_eq!(told(Some(&old), None, false), (true, false), "nobody knows what is secret");
    assert_eq!(told(Some(&old), Some(&new), false), (false, true), "nobody said so");
}

#[test]
fn fields_of_custom_resources_that_are_secret_are_never_shown() {
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "user": {"type": "string"}, "password": {"type": "string", "format": "password"},
        "tokens": {"type": "object", "additionalProperties": {"type": "string", "format": "password"}},
        "peers": {"type": "array", "items": {"type": "object", "properties": {
            "host": {"type": "string"}, "key": {"type": "string", "format": "password"}}}}}}}});
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition", "metadata": {"name": "databases.ops.example"},
        "spec": {"group": "ops.example", "names": {"kind": "Database"},
            "versions": [{"name": "v1", "schema": {"openAPIV3Schema": schema}}]}});
    let database = |user: &str, word: &str| {
        json!({"apiVersion": "ops.example/v1", "kind": "Database",
        "metadata": {"name": "d", "namespace": "n", "uid": "1"}, "spec": {"user": user,
            "password": word, "tokens": {"a": word}, "peers": [{"host": "h", "key": word}]}})
    };
    let told = |live: Option<&Value>, wanted: Option<&Value>| {
        let mut world = World::new();
        world.want(&definition);
        let reference = world.see(live, wanted);
        if live.is_some() {
            world.own(&reference, "1", None);
            let entry = world.inventory.entries.get_mut(&reference).unwrap();
            entry.api_version = "ops.example/v1".to_owned();
        }
        let set = world.diff();
        let change = set.changes.iter().find(|it| it.object == reference).unwrap().clone();
        let text = serde_json::to_string(&change).unwrap();
        assert!(!text.contains("hunter2") && !text.contains("hunter3"), "{text}");
        assert!(text.contains("sql"), "the rest is shown: {text}");
        change.fields.into_iter().map(|field| field.path).collect::<Vec<_>>()
    };
    let (old, new) = (database("sql", "hunter2"), database("sql2", "hunter3"));
    let paths = ["spec.password", "spec.peers", "spec.tokens.a", "spec.user"];
    assert_eq!(told(Some(&old), Some(&new)), paths);
    assert!(told(None, Some(&new)).len() >= paths.len());
    assert!(told(Some(&old), None).len() >= paths.len());
}

#[test]
fn only_what_is_ours_is_pruned() {
    let mut world = World::new();
    let mut live = pod_spec(&json!([{"name": "web"}]));
    live["metadata"]["uid"] = json!("1");
    let reference = Object::new(live.clone()).reference(CLUSTER);
    world.observe(&reference, Some(&live), Prediction::NotDesired);
    assert!(world.diff().is_empty(), "not in the inventory");
    world.own(&reference, "1", None);
    let set = world.diff();
    assert_eq!(set.changes[0].action, Action::Prune);
    assert_eq!(set.changes[0].effects, [Effect::PodsScale { from: 3, to: 0 }]);
    world.own(&reference, "2", None);
    assert_eq!(world.diff().changes[0].action, Action::Keep, "another object under the same name");
    world.own(&reference, "1", None);
    live["metadata"]["annotations"] = json!({PRUNE_ANNOTATION: "disabled"});
    world.observe(&reference, Some(&live), Prediction::NotDesired);
    assert_eq!(world.diff().changes[0].action, Action::Keep, "it says so");
    world.observe(&reference, None, Prediction::NotDesired);
    assert!(world.diff().is_empty(), "gone already");
}

#[test]
fn what_was_never_applied_by_us_is_not_pruned() {
    let mut world = World::new();
    let live = pod_spec(&json!([{"name": "web"}]));
    let reference = Object::new(live.clone()).reference(CLUSTER);
    world.observe(&reference, Some(&live), Prediction::NotDesired);
    world.own(&reference, "1", None);
    world.inventory.entries.get_mut(&reference).unwrap().uid = None;
    assert_eq!(world.diff().changes[0].action, Action::Keep);
}

#[test]
fn what_said_that_it_is_kept_when_it_was_applied_is_kept_although_somebody_took_the_word_off() {
    let mut world = World::new();
    let mut live = pod_spec(&json!([{"name": "web"}]));
    live["metadata"]["uid"] = json!("1");
    let reference = Object::new(live.clone()).reference(CLUSTER);
    world.observe(&reference, Some(&live), Prediction::NotDesired);
    world.own(&reference, "1", None);
    assert_eq!(world.diff().changes[0].action, Action::Prune);
    world.inventory.entries.get_mut(&reference).unwrap().kept = true;
    assert_eq!(world.diff().changes[0].action, Action::Keep);
}

#[test]
fn a_definition_stays_while_objects_of_its_kind_do() {
    let mut world = World::new();
    let mut definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.org", "uid": "1"}});
    let widget = json!({"apiVersion": "example.org/v1", "kind": "Widget",
        "metadata": {"name": "w", "namespace": "shop", "uid": "2"}});
    let actions = |world: &World| -> Vec<_> {
        let set = world.diff();
        set.changes.iter().map(|it| (it.object.kind.clone(), it.action)).collect()
    };
    let kind = Object::new(definition.clone()).reference(CLUSTER);
    let held = Object::new(widget.clone()).reference(CLUSTER);
    let holds = |world: &mut World| {
        world.cluster().objects.get_mut(&kind).unwrap().holds = vec![held.clone()];
    };
    world.observe(&kind, Some(&definition), Prediction::NotDesired);
    world.own(&kind, "1", None);
    let goes = ("CustomResourceDefinition".to_owned(), Action::Prune);
    let stays = ("CustomResourceDefinition".to_owned(), Action::Keep);
    assert_eq!(actions(&world), std::slice::from_ref(&goes));
    holds(&mut world);
    assert_eq!(actions(&world), [stays], "the widget of somebody else would go along");
    world.observe(&held, Some(&widget), Prediction::NotDesired);
    world.own(&held, "2", None);
    assert_eq!(actions(&world), [goes.clone(), ("Widget".to_owned(), Action::Prune)]);
    world.inventory.entries.remove(&held);
    definition["metadata"]["annotations"] = json!({PRUNE_ANNOTATION: "enabled"});
    world.observe(&kind, Some(&definition), Prediction::NotDesired);
    holds(&mut world);
    assert_eq!(actions(&world), [goes], "it was asked for in words");
}

#[test]
fn claims_are_kept_and_so_is_the_namespace_around_them() {
    let mut world = World::new();
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": "shop", "uid": "1"}});
    let mut namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "uid": "2"}});
    let actions = |world: &World| world.diff().changes.iter().map(|c| c.action).collect::<Vec<_>>();
    for (live, uid) in [(&claim, "1"), (&namespace, "2")] {
        let reference = Object::new(live.clone()).reference(CLUSTER);
        world.observe(&reference, Some(live), Prediction::NotDesired);
        world.own(&reference, uid, None);
    }
    assert_eq!(actions(&world), [Action::Keep, Action::Keep]);
    namespace["metadata"]["annotations"] = json!({PRUNE_ANNOTATION: "enabled"});
    let reference = Object::new(namespace.clone()).reference(CLUSTER);
    world.observe(&reference, Some(&namespace), Prediction::NotDesired);
    let set = world.diff();
    let of_namespace = set.changes.iter().find(|c| c.object.kind == "Namespace").unwrap();
    assert_eq!(of_namespace.action, Action::Prune);
    assert_eq!(of_namespace.effects, [Effect::NamespaceLost { others: String::new() }]);
}

#[test]
fn a_pruned_set_with_claims_keeps_its_namespace() {
    let mut world = World::new();
    let set = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db", "namespace": "shop", "uid": "1"},
        "spec": {"volumeClaimTemplates": [{"metadata": {"name": "data"}}]}});
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "uid": "1"}});
    for live in [&set, &namespace] {
        let reference = Object::new(live.clone()).reference(CLUSTER);
        world.observe(&reference, Some(live), Prediction::NotDesired);
        world.own(&reference, "1", None);
    }
    let changes = world.diff().changes;
    let actions: Vec<_> = changes.iter().map(|c| (c.object.kind.as_str(), c.action)).collect();
    assert_eq!(actions, [("Namespace", Action::Keep), ("StatefulSet", Action::Prune)]);
}

#[test]
fn a_change_of_what_was_applied_is_drift() {
    let mut world = World::new();
    let body = pod_spec(&json!([{"name": "web", "image": "w:1"}]));
    let live = pod_spec(&json!([{"name": "web", "image": "w:evil"}]));
    let reference = world.want(&body);
    world.observe(&reference, Some(&live), Prediction::Exact(Object::new(body.clone()).into()));
    world.own(&reference, "", Some(Object::new(body).digest()));
    assert!(world.diff().changes[0].drift);
    world.own(&reference, "", Some(Object::new(live).digest()));
    assert!(!world.diff().changes[0].drift);
}

#[test]
fn another_owner_is_a_move() {
    let mut world = World::new();
    let body = pod_spec(&json!([{"name": "web"}]));
    let reference = world.want(&body);
    world.observe(&reference, Some(&body), Prediction::Exact(Object::new(body.clone()).into()));
    assert_eq!(world.diff().changes[0].action, Action::Move, "adopted");
    world.own(&reference, "", None);
    assert!(world.diff().is_empty());
    let entry = world.inventory.entries.get_mut(&reference).unwrap();
    entry.owner.solution = Some("other".to_owned());
    assert_eq!(world.diff().changes[0].action, Action::Move);
}

#[test]
fn what_the_server_refuses_is_a_gap_unless_it_may_be_replaced() {
    let refused = || {
        Prediction::Refused(Gap {
            code: IMMUTABLE.to_owned(),
            message: "field is immutable".to_owned(),
        })
    };
    let mut body = pod_spec(&json!([{"name": "web", "image": "w:2"}]));
    let live = pod_spec(&json!([{"name": "web", "image": "w:1"}]));
    let mut world = World::new();
    let reference = world.want(&body);
    world.own(&reference, "", None);
    world.observe(&reference, Some(&live), refused());
    let set = world.diff();
    assert!(set.changes.is_empty());
    assert_eq!(set.gaps[0].object.as_ref(), Some(&reference));
    assert!(set.gaps[0].refused);
    body["metadata"]["annotations"] = json!({REPLACE_ANNOTATION: "enabled"});
    let mut world = World::new();
    let reference = world.want(&body);
    world.own(&reference, "", None);
    world.observe(&reference, Some(&live), refused());
    let set = world.diff();
    assert_eq!(set.changes[0].action, Action::Replace);
    assert_eq!(set.changes[0].effects, [Effect::PodsRestart { pods: 3 }]);
}

#[rstest]
#[case::definition("apiextensions.k8s.io/v1", "CustomResourceDefinition", "data-loss", false)]
#[case::namespace("v1", "Namespace", "data-loss", false)]
#[case::claim("v1", "PersistentVolumeClaim", "enabled", false)]
#[case::claim_in_words("v1", "PersistentVolumeClaim", "data-loss", true)]
#[case::set_that_takes_its_claims_along("apps/v1", "StatefulSet", "enabled", false)]
#[case::the_same_in_words("apps/v1", "StatefulSet", "data-loss", true)]
#[case::service("v1", "Service", "enabled", true)]
#[case::not_asked_for("v1", "Service", "no", false)]
fn a_replacement_that_loses_more_than_the_object_is_asked_for_in_words(
    #[case] api: &str,
    #[case] kind: &str,
    #[case] annotation: &str,
    #[case] is_replaced: bool,
) {
    let mut body = json!({"apiVersion": api, "kind": kind, "metadata": {"name": "x"},
        "spec": {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"}}});
    let live = body.clone();
    body["metadata"]["annotations"] = json!({REPLACE_ANNOTATION: annotation});
    let mut world = World::new();
    let reference = world.want(&body);
    world.own(&reference, "", None);
    let gap = Gap { code: IMMUTABLE.to_owned(), message: "field is immutable".to_owned() };
    world.observe(&reference, Some(&live), Prediction::Refused(gap));
    let set = world.diff();
    let replaced: Vec<_> = set.changes.iter().map(|change| change.action).collect();
    assert_eq!(replaced == [Action::Replace], is_replaced, "{set:?}");
    assert_eq!(set.gaps.is_empty(), is_replaced);
    let loses = set.changes.iter().any(|it| it.effects.contains(&Effect::VolumeLost));
    assert_eq!(loses, is_replaced && kind != "Service");
}

#[test]
fn what_exists_and_is_not_ours_is_a_stranger_until_it_is_adopted() {
    let mut world = World::new();
    let body = pod_spec(&json!([{"name": "web", "image": "w:2"}]));
    let mut live = pod_spec(&json!([{"name": "web", "image": "w:1"}]));
    live["metadata"]["managedFields"] =
        json!([{"manager": "kubectl-client-side-apply", "operation": "Update"}]);
    let reference = world.want(&body);
    world.observe(&reference, Some(&live), Prediction::Exact(Object::new(body.clone()).into()));
    let stranger = |world: &World| world.diff().changes[0].stranger.clone();
    assert_eq!(stranger(&world).unwrap().by, "kubectl-client-side-apply");
    // Refused for what is left of others in it: adopting is what helps, so it is not only a refusal.
    let gap = Gap { code: "CLUSTER/INVALID".to_owned(), message: "left over".to_owned() };
    world.observe(&reference, Some(&live), Prediction::Refused(gap));
    assert!(stranger(&world).is_some());
    world.observe(&reference, Some(&live), Prediction::Exact(Object::new(body.clone()).into()));
    // What was only intended is not ours either.
    world.own(&reference, "", None);
    world.inventory.entries.get_mut(&reference).unwrap().uid = None;
    assert!(stranger(&world).is_some());
    world.own(&reference, "1", None);
    assert_eq!(stranger(&world), None);
}

#[test]
fn a_namespace_that_was_there_is_used_as_it_is() {
    let mut world = World::new();
    let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop",
        "labels": {"tidegate.dev/site": "hz"}}});
    let live = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    let reference = world.want(&body);
    world.observe(&reference, Some(&live), Prediction::Exact(Object::new(body).into()));
    assert!(world.diff().changes[0].stranger.is_some(), "a manifest says what it should be");
    world.desired.objects[0].owner.product = None;
    let set = world.diff();
    assert!(set.changes.is_empty(), "{set:?}");
    assert_eq!(set.unchanged, 1);
}

#[test]
fn without_the_server_only_what_is_ours_is_compared() {
    let owned = json!([{"manager": "tidegate", "operation": "Apply", "fieldsV1": {
        "f:spec": {"f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"web\"}": {
            ".": {}, "f:name": {}, "f:image": {}, "f:tty": {}
        }, "k:{\"name\":\"old\"}": {".": {}, "f:name": {}}}}}}
    }}]);
    let mut live = pod_spec(&json!([
        {"name": "web", "image": "w:1", "tty": true, "terminationMessagePath": "/dev/termination-log"},
        {"name": "old"}, {"name": "injected"},
    ]));
    live["metadata"]["managedFields"] = owned;
    let body = pod_spec(&json!([{"name": "web", "image": "w:2"}]));
    let mut world = World::new();
    let reference = world.want(&body);
    let gap = Gap { code: "CLUSTER/WEBHOOK".to_owned(), message: "no dry run".to_owned() };
    world.observe(&reference, Some(&live), Prediction::Unverified(Object::new(body).into(), gap));
    let set = world.diff();
    assert_eq!(
        lines(&set),
        [
            "spec.template.spec.containers[name=web].image: \"w:1\" -> \"w:2\"",
            "spec.template.spec.containers[name=web].tty: true -> -",
            "spec.template.spec.containers[name=old].name: \"old\" -> -",
        ]
    );
    assert_eq!(set.changes[0].confidence, Confidence::Unverified);
    assert_eq!(set.changes[0].warnings, ["CLUSTER/WEBHOOK: no dry run"]);
}

#[test]
fn the_fingerprint_follows_what_is_ours_and_what_changes_and_nothing_else() {
    let owned = json!([{"manager": "tidegate", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]);
    let fingerprint = |change: fn(&mut Value)| {
        let mut live = pod_spec(&json!([{"name": "web", "image": "w:1"}]));
        live["metadata"]["managedFields"] = owned.clone();
        live["metadata"]["uid"] = json!("1");
        change(&mut live);
        let mut predicted = live.clone();
        predicted["spec"]["template"]["spec"]["containers"][0]["image"] = json!("w:2");
        let image = json!({"k:{\"name\":\"web\"}": {"f:image": {}}});
        predicted["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:template"] =
            json!({"f:spec": {"f:containers": image}});
        compared(&live, &predicted).changes[0].live.clone().unwrap()
    };
    let base = fingerprint(|_| {});
    assert_eq!(base, fingerprint(|live| live["status"] = json!({"readyReplicas": 1})));
    assert_eq!(base, fingerprint(|live| live["metadata"]["labels"] = json!({"foreign": "x"})));
    assert_ne!(base, fingerprint(|live| live["metadata"]["uid"] = json!("2")));
    assert_ne!(base, fingerprint(|live| live["spec"]["replicas"] = json!(4)));
    let image = |live: &mut Value| {
        live["spec"]["template"]["spec"]["containers"][0]["image"] = json!("w:0");
    };
    assert_ne!(base, fingerprint(image));
}

#[test]
fn a_change_is_as_approved_until_what_it_is_about_changes() {
    let mut live = pod_spec(&json!([{"name": "web", "image": "w:1"}]));
    live["metadata"]["uid"] = json!("1");
    let mut predicted = live.clone();
    predicted["spec"]["template"]["spec"]["containers"][0]["image"] = json!("w:2");
    let change = &compared(&live, &predicted).changes[0];
    let now = |path: &str, value: Value| {
        let mut now = live.clone();
        *now.pointer_mut(path).unwrap() = value;
        is_as_approved(change, Some(&Object::new(now)))
    };
    assert!(is_as_approved(change, Some(&Object::new(live.clone()))));
    assert!(now("/spec/replicas", json!(9)), "not ours, and does not change");
    assert!(!now("/spec/template/spec/containers/0/image", json!("w:0")));
    assert!(!now("/metadata/uid", json!("2")));
    assert!(!is_as_approved(change, None), "it is gone");
    let mut world = World::new();
    let reference = world.want(&live);
    world.observe(&reference, None, Prediction::Exact(Object::new(live.clone()).into()));
    let creation = &world.diff().changes[0];
    assert!(is_as_approved(creation, None));
    assert!(!is_as_approved(creation, Some(&Object::new(live.clone()))), "somebody made it");
}

#[test]
fn what_others_change_of_a_form_is_named_and_what_a_webhook_rewrote_is_not() {
    let form =
        pod_spec(&json!([{"name": "web", "image": "w:2", "env": [{"name": "A", "value": "1"}]}]));
    let mut live = form.clone();
    let container = json!({".": {}, "f:name": {}, "f:image": {},
        "f:env": {"k:{\"name\":\"A\"}": {".": {}, "f:name": {}, "f:value": {}}}});
    let template = json!({"f:spec": {"f:containers": {"k:{\"name\":\"web\"}": container}}});
    live["metadata"]["managedFields"] = json!([{"manager": "tidegate", "fieldsV1":
        {"f:spec": {"f:replicas": {}, "f:selector": {}, "f:template": template}}}]);
    live["spec"]["template"]["spec"]["containers"][0]["image"] = json!("mirror/w:2");
    let changed =
        |live: &Value| changed_by_others(&Object::new(live.clone()), &Object::new(form.clone()));
    assert_eq!(changed(&live), [""; 0], "ours, as a webhook left it");
    let fields = live["metadata"]["managedFields"][0]["fieldsV1"]
        .pointer_mut("/f:spec/f:template/f:spec/f:containers/k:{\"name\":\"web\"}")
        .unwrap();
    fields.as_object_mut().unwrap().remove("f:image");
    fields.as_object_mut().unwrap().remove("f:env");
    assert_eq!(changed(&live), ["spec.template.spec.containers[name=web].image"]);
    live["spec"]["template"]["spec"]["containers"][0]["image"] = json!("w:2");
    assert_eq!(changed(&live), [""; 0], "put back");
    live["spec"]["template"]["spec"]["containers"][0].as_object_mut().unwrap().remove("env");
    assert_eq!(
        changed(&live),
        [
            "spec.template.spec.containers[name=web].env[name=A].name",
            "spec.template.spec.containers[name=web].env[name=A].value",
        ]
    );
}

/// As we applied it: our fields by the server's record, beside what a webhook put in.
fn recorded(data: &Value, ours: &[&str]) -> Value {
    let fields: serde_json::Map<_, _> =
        ours.iter().map(|name| (format!("f:{name}"), json!({}))).collect();
    json!({"apiVersion": "v1", "kind": "ConfigMap", "data": data,
        "metadata": {"name": "web", "namespace": "shop", "uid": "1", "managedFields": [
            {"manager": "tidegate", "operation": "Apply", "fieldsV1": {"f:data": fields}}]}})
}

fn wanted(data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "data": data,
        "metadata": {"name": "web", "namespace": "shop"}})
}

#[test]
fn what_a_webhook_writes_in_passing_is_no_reason_to_write() {
    let compared = |live: &Value, predicted: &Value, ours: &[&str]| {
        let mut world = World::new();
        let reference = world.want(&wanted(&json!({"a": "1"})));
        let predicted = Object::new(recorded(predicted, ours));
        let predicted = Prediction::Exact(predicted.into());
        world.observe(&reference, Some(&recorded(live, &["a", "old"])), predicted);
        world.own(&reference, "1", None);
        lines(&world.diff())
    };
    let (first, second) = (json!({"a": "1", "stamp": "7"}), json!({"a": "1", "stamp": "8"}));
    assert_eq!(compared(&first, &second, &["a"]), [""; 0]);
    let rewritten = json!({"a": "by a webhook", "stamp": "8"});
    assert_eq!(
        compared(&first, &rewritten, &["a"]),
        ["data.a: \"1\" -> \"by a webhook\"", "data.stamp: \"7\" -> \"8\""]
    );
    let with_old = json!({"a": "1", "old": "1", "stamp": "7"});
    assert_eq!(
        compared(&with_old, &second, &["a"]),
        ["data.old: \"1\" -> -", "data.stamp: \"7\" -> \"8\""],
        "what we give up"
    );
    assert_eq!(
        compared(&first, &json!({"a": "1", "new": "1"}), &["a", "new"]),
        ["data.new: - -> \"1\"", "data.stamp: \"7\" -> -"],
        "what we take"
    );
}

#[test]
fn what_a_webhook_without_dry_run_made_of_our_apply_is_no_difference_and_what_others_did_is() {
    let compared = |live: &Value, uid: &str| {
        let mut world = World::new();
        let reference = world.want(&wanted(&json!({"a": "1", "b": "1"})));
        let object = world.desired.objects[0].clone();
        let gap =
            Gap { code: "CLUSTER/WEBHOOK_WITHOUT_DRY_RUN".to_owned(), message: String::new() };
        let prediction = Prediction::Unverified(object.stored().clone(), gap);
        world.observe(&reference, Some(live), prediction);
        world.own(&reference, uid, Some(object.digest));
        lines(&world.diff())
    };
    let rewritten = json!({"a": "by a webhook", "b": "1"});
    assert_eq!(compared(&recorded(&rewritten, &["a", "b"]), "1"), [""; 0]);
    let by_hand = recorded(&json!({"a": "by a webhook", "b": "by hand"}), &["a"]);
    assert_eq!(compared(&by_hand, "1"), ["data.b: \"by hand\" -> \"1\""]);
    let removed = recorded(&json!({"a": "by a webhook"}), &["a"]);
    assert_eq!(compared(&removed, "1"), ["data.b: - -> \"1\""]);
}

#[test]
fn a_creation_shows_the_values_that_a_webhook_makes_of_ours() {
    let mut world = World::new();
    let reference = world.want(&pod_spec(&json!([{"name": "web", "image": "shop/web:1"}])));
    let mut predicted = world.desired.objects[0].body();
    let containers = json!([{"name": "web", "image": "mirror/web:1", "imagePullPolicy": "Always"},
        {"name": "proxy", "image": "mesh/proxy:1"}]);
    predicted.set(&["spec", "template", "spec", "containers"], containers);
    world.observe(&reference, None, Prediction::Exact(predicted.into()));
    let told = lines(&world.diff());
    let container = "spec.template.spec.containers[name=web]";
    assert!(told.contains(&format!("{container}.image: - -> \"mirror/web:1\"")), "{told:#?}");
    assert!(
        !told.iter().any(|line| line.contains("proxy") || line.contains("Policy")),
        "{told:#?}"
    );
}

fn role(rules: &Value) -> Value {
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "ops"}, "rules": rules})
}

#[rstest]
#[case(json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]),
       json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]), true, false)]
#[case(json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["*"]}]),
       json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]), false, true)]
#[case(json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "resourceNames": ["a"]}]),
       json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]), true, false)]
#[case(json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]),
       json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
              {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "resourceNames": ["a"]}]), false, false)]
#[case(json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]),
       json!([{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]), true, true)]
fn roles_gain_and_lose(
    #[case] before: Value,
    #[case] after: Value,
    #[case] gains: bool,
    #[case] loses: bool,
) {
    let effects = compared(&role(&before), &role(&after)).changes[0].effects.clone();
    assert_eq!(effects.iter().any(|e| matches!(e, Effect::GainsPermission { .. })), gains);
    assert_eq!(effects.iter().any(|e| matches!(e, Effect::LosesPermission { .. })), loses);
}

#[test]
fn bindings_say_who_gains_and_who_loses() {
    let binding = |name: &str| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "b", "namespace": "shop"},
            "roleRef": {"kind": "ClusterRole", "name": "ops"}, "subjects": [{"kind": "User", "name": name}]})
    };
    let set = compared(&binding("li-na"), &binding("wang-wei"));
    assert_eq!(
        set.changes[0].effects,
        [
            Effect::GainsPermission { access: "User wang-wei: ClusterRole ops in shop".to_owned() },
            Effect::LosesPermission { access: "User li-na: ClusterRole ops in shop".to_owned() },
        ]
    );
}

#[test]
fn pods_that_a_stopped_release_has_left_old_go_in_groups_when_what_holds_them_goes() {
    let template = json!({"spec": {"containers": [{"name": "w", "image": "b"}]}});
    let mut held =
        deployment(&json!({"replicas": 3, "minReadySeconds": 9_000_000, "template": template}));
    held["metadata"]["generation"] = json!(4);
    held["status"] = json!({"observedGeneration": 4, "replicas": 3, "updatedReplicas": 1});
    let free = deployment(&json!({"replicas": 3, "minReadySeconds": 0, "template": template}));
    let effects = |held: &Value| compared(held, &free).changes[0].effects.clone();
    assert_eq!(effects(&held), [Effect::PodsRestart { pods: 2 }]);
    held["status"]["updatedReplicas"] = json!(3);
    assert_eq!(effects(&held), [Effect::NoPodRestarts]);
}

#[test]
fn effects_of_workloads_and_services() {
    let spec = |replicas: u32, image: &str| {
        deployment(
            &json!({"replicas": replicas, "template": {"spec": {"containers": [{"name": "w", "image": image}]}}}),
        )
    };
    let effects =
        |before: &Value, after: &Value| compared(before, after).changes[0].effects.clone();
    assert_eq!(effects(&spec(3, "a"), &spec(3, "b")), [Effect::PodsRestart { pods: 3 }]);
    assert_eq!(effects(&spec(3, "a"), &spec(5, "a")), [Effect::PodsScale { from: 3, to: 5 }]);
    let paused = deployment(
        &json!({"replicas": 3, "minReadySeconds": 5, "template": {"spec": {"containers": [{"name": "w", "image": "a"}]}}}),
    );
    assert_eq!(effects(&spec(3, "a"), &paused), [Effect::NoPodRestarts]);
    let service = |kind: &str| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "n"}, "spec": {"type": kind}});
    assert_eq!(effects(&service("ClusterIP"), &service("LoadBalancer")), [Effect::AddressChanges]);
}

#[test]
fn zones_are_compared_record_set_by_record_set() {
    use crate::zone::{RecordSet, ZoneData, ZoneKind};
    let record = |name: &str, value: &str| RecordSet {
        name: format!("{name}.bank.internal."),
        rtype: "A".to_owned(),
        ttl: 60,
        values: vec![value.to_owned()],
    };
    let zone = |records: Vec<RecordSet>| ZoneData {
        name: "bank.internal".to_owned(),
        kind: ZoneKind::Hosted {
            ttl: 300,
            negative_ttl: 60,
            primary: "ns1.bank.internal.".to_owned(),
            contact: "hostmaster.bank.internal.".to_owned(),
            records,
        },
    };
    let old = zone(vec![record("a", "10.0.0.1"), record("b", "10.0.0.2")]);
    let published = PublishedZone { digest: String::new(), zone: old.clone(), serial: 7 };
    let published = BTreeMap::from([("bank.internal".to_owned(), published)]);
    let mut world = World::new();
    let differ = |world: &World| diff(&world.desired, &world.live, &world.inventory, &published);
    world.desired.zones = vec![old];
    assert!(differ(&world).is_empty());
    world.desired.zones = vec![zone(vec![record("a", "10.0.0.9"), record("c", "10.0.0.3")])];
    let set = differ(&world);
    assert_eq!((set.zones[0].action, set.zones[0].serial), (Action::Configure, Some(7)));
    let names: Vec<_> =
        set.zones[0].records.iter().map(|r| (r.before.is_some(), r.after.is_some())).collect();
    assert_eq!(names, [(true, true), (true, false), (false, true)]);
    world.desired.zones.clear();
    assert_eq!(differ(&world).zones[0].action, Action::Prune);
}

/// Any JSON of the size of a small object.
fn json_values() -> impl proptest::strategy::Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        let name = prop_oneof![
            Just("containers".to_owned()),
            Just("env".to_owned()),
            Just("name".to_owned()),
            Just("data".to_owned()),
            "[a-z.]{1,3}",
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_state_compared_with_itself_is_empty(spec in json_values()) {
        let live = deployment(&spec);
        prop_assert!(compared(&live, &live).is_empty());
    }

    #[test]
    fn differences_are_symmetric(before in json_values(), after in json_values()) {
        let (before, after) = (deployment(&before), deployment(&after));
        let count = |set: ChangeSet| set.changes.iter().map(|change| change.fields.len()).sum::<usize>();
        prop_assert_eq!(count(compared(&before, &after)), count(compared(&after, &before)));
    }

    #[test]
    fn no_secret_value_is_ever_shown(content in json_values(), note in "[a-z]{2}") {
        let mut hidden = content;
        mark(&mut hidden);
        let fields = json!({"data": hidden, "stringData": hidden, "metadata": {"name": "s", "namespace": "n", "annotations": {note: hidden}}});
        let set = compared(&secret(&json!({"data": {"x": "eA=="}})), &secret(&fields));
        let text = serde_json::to_string(&set).unwrap();
        prop_assert!(!text.contains("SECRET") && !text.contains("U0VDUkVU"));
    }
}

/// Puts a mark into every text.
fn mark(value: &mut Value) {
    match value {
        Value::String(text) => *text = format!("SECRET{text}"),
        Value::Array(items) => items.iter_mut().for_each(mark),
        Value::Object(map) => map.values_mut().for_each(mark),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[test]
fn what_is_in_place_is_not_looked_into_unless_it_is_somebody_elses() {
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1"},
        "metadata": {"name": "web", "namespace": "shop", "uid": "1"}});
    let mut world = World::new();
    let reference = world.want(&body);
    let digest = world.desired.objects[0].digest.clone();
    world.observe(&reference, Some(&body), Prediction::InPlace);
    let observation = world.cluster().objects.get_mut(&reference).unwrap();
    // Whoever reads this would find nothing of the object.
    observation.live = Some(LiveObject::of_text(String::new(), "1", "7"));
    world.own(&reference, "1", Some(digest.clone()));
    let set = world.diff();
    assert!(set.is_empty() && set.unchanged == 1, "{set:?}");
    // Where anything is not as it was recorded, the object itself counts.
    world.observe(&reference, Some(&body), Prediction::InPlace);
    world.own(&reference, "1", None);
    assert!(world.diff().is_empty(), "applied before, as the object says");
    world.own(&reference, "1", Some(digest));
    world.inventory.entries.get_mut(&reference).unwrap().owner.app = Some("other".to_owned());
    assert_eq!(world.diff().changes[0].action, Action::Move);
}
