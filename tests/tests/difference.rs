//! The difference that a person approves, on the sandbox and on a real API server: observed by the agent's own adapter,
//! compared by the core.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test is to stop at what it did not expect"
)]

use std::collections::{BTreeMap, BTreeSet};

use http::{Method, Request};
use jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tidegate::cluster::Cluster;
use tidegate_core::autoscaler;
use tidegate_core::change::{Action, Change, ChangeSet, Confidence, Effect, FieldChange, Shown};
use tidegate_core::desired::{DesiredObject, DesiredState, Layer, Owner};
use tidegate_core::diff::{self, REPLACE_ANNOTATION};
use tidegate_core::ignored;
use tidegate_core::live::{Inventory, InventoryEntry, LiveState};
use tidegate_core::object::{Object, ObjectRef, PROPAGATION_ANNOTATION, Propagation};
use tidegate_core::progress::{EffectFailure, Terms};
use tidegate_sandbox::{Fault, Matching, Options, Sandbox};
use tidegate_tests::canary;
use tidegate_tests::real_cluster::RealCluster;

#[path = "difference/admission.rs"]
mod admission;

const CLUSTER: &str = "main";

/// One server, a namespace of the test's own, and what is wanted there.
struct World {
    client: Client,
    cluster: Cluster,
    sandbox: Option<Sandbox>,
    namespace: String,
    desired: DesiredState,
    inventory: Inventory,
}

fn owner() -> Owner {
    Owner {
        solution: Some("platform".to_owned()),
        product: Some("shop".to_owned()),
        app: None,
        scaling_group: None,
        access: None,
        layer: Layer::Workload,
    }
}

impl World {
    async fn new(client: Client, sandbox: Option<Sandbox>, name: &str) -> Self {
        let namespace = format!("difference-{}", name.replace('_', "-"));
        let namespace: String = namespace.chars().take(63).collect();
        let namespace = namespace.trim_end_matches('-').to_owned();
        let cluster = Cluster::of_client(CLUSTER, "shop", client.clone());
        let (desired, inventory) = (DesiredState::default(), Inventory::default());
        let world = Self { client, cluster, sandbox, namespace, desired, inventory };
        let namespace = json!({"metadata": {"name": world.namespace}});
        world.send(&Method::POST, "/api/v1/namespaces", &namespace).await;
        world
    }

    /// A request as somebody else makes it.
    async fn send(&self, method: &Method, path: &str, body: &Value) -> Value {
        let content = match *method {
            Method::PATCH => "application/merge-patch+json",
            _ => "application/json",
        };
        self.send_as(content, method, path, body).await
    }

    /// A server-side apply with whatever the query says.
    async fn apply_as(&self, path: &str, body: &Value) -> Value {
        self.send_as("application/apply-patch+yaml", &Method::PATCH, path, body).await
    }

    async fn send_as(&self, content: &str, method: &Method, path: &str, body: &Value) -> Value {
        let (is_success, answer) = self.exchange(content, method, path, body).await;
        assert!(is_success, "{method} {path}: {answer}");
        answer
    }

    /// Whether the server takes a request.
    async fn try_send(&self, method: &Method, path: &str, body: &Value) -> bool {
        self.exchange("application/json", method, path, body).await.0
    }

    async fn exchange(
        &self,
        content: &str,
        method: &Method,
        path: &str,
        body: &Value,
    ) -> (bool, Value) {
        let request = Request::builder().method(method).uri(path).header("Content-Type", content);
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let response = self.client.send(request.body(Body::from(body)).unwrap()).await.unwrap();
        let status = response.status();
        let bytes = response.into_body().collect_bytes().await.unwrap();
        (status.is_success(), serde_json::from_slice(&bytes).unwrap_or_default())
    }

    /// An agent that has just started, and remembers no answer.
    fn fresh(&mut self) {
        self.cluster = Cluster::of_client(CLUSTER, "shop", self.client.clone());
    }

    /// A change of an object by `kubectl edit`.
    async fn edit(&self, path: &str, patch: &Value) {
        let path = format!("{}?fieldManager=kubectl-edit", path.replace("NS", &self.namespace));
        self.send(&Method::PATCH, &path, patch).await;
    }

    /// Wants exactly these objects; `NS` stands for the namespace.
    fn want(&mut self, bodies: &[Value]) {
        self.desired.objects = bodies
            .iter()
            .map(|body| {
                let text = body.to_string().replace("\"NS\"", &json!(self.namespace).to_string());
                let body = Object::new(serde_json::from_str(&text).unwrap());
                DesiredObject::new(body.reference(CLUSTER), &body, owner(), None)
            })
            .collect();
        self.desired.objects.sort_by(|left, right| left.reference.cmp(&right.reference));
    }

    /// Applies what is wanted, definitions first, as a release does; and keeps the inventory.
    async fn apply(&mut self) {
        let mut objects: Vec<&DesiredObject> = self.desired.objects.iter().collect();
        let first = ["CustomResourceDefinition", "Namespace"];
        objects.sort_by_key(|object| !first.contains(&object.reference.kind.as_str()));
        for object in objects {
            let applied = until(|| async {
                let applied = self.cluster.apply(&object.body(), &Terms::none(), &|_| None).await;
                let refused = |it: &EffectFailure| assert!(it.is_transient, "{it:?}");
                applied.inspect_err(refused).ok()
            })
            .await;
            let entry = InventoryEntry {
                api_version: object.api_version.clone(),
                uid: Some(applied.uid().to_owned()),
                adopted: None,
                kept: false,
                applied: Some(object.digest.clone()),
                owner: object.owner.clone(),
            };
            self.inventory.entries.insert(object.reference.clone(), entry);
        }
    }

    async fn live(&self) -> LiveState {
        let desired: Vec<&DesiredObject> = self.desired.objects.iter().collect();
        let ours: Vec<(&ObjectRef, &InventoryEntry)> = self.inventory.entries.iter().collect();
        let observation = self.cluster.observe(&desired, &ours, Timestamp::UNIX_EPOCH).await;
        assert_eq!(observation.gap, None);
        let clusters = BTreeMap::from([(CLUSTER.to_owned(), observation)]);
        LiveState { clusters }
    }

    async fn diff(&self) -> ChangeSet {
        let live = self.live().await;
        let set = diff::diff(&self.desired, &live, &self.inventory, &BTreeMap::new());
        canary::assert_none("a difference", serde_json::to_string(&set).unwrap());
        canary::assert_none("what is observed, as logs show it", format!("{live:?}"));
        set
    }
}

/// Asks until there is an answer.
async fn until<T, F: Future<Output = Option<T>>>(ask: impl Fn() -> F) -> T {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_mins(2);
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(tokio::time::Instant::now() < deadline, "not in time");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

async fn simulated(name: &str) -> World {
    // As old as the real one: what an apply leaves of what is given up is not the same in later versions.
    let options = Options { version: "1.20".to_owned(), ..Options::default() };
    let sandbox = Sandbox::start(options).unwrap();
    let client = Client::new(sandbox.service(), "default");
    World::new(client, Some(sandbox), name).await
}

/// On the real server, where there is one.
async fn real(name: &str) -> Option<World> {
    let client = RealCluster::shared()?.client().await;
    Some(World::new(client, None, name).await)
}

/// The same on both servers.
macro_rules! on_both {
    ($($name:ident)*) => {
        mod on_the_sandbox {
            $(#[tokio::test] async fn $name() {
                super::$name(super::simulated(stringify!($name)).await).await;
            })*
        }
        mod on_a_real_server {
            $(#[tokio::test] async fn $name() {
                if let Some(world) = super::real(stringify!($name)).await {
                    super::$name(world).await;
                }
            })*
        }
    };
}

on_both! {
    what_was_applied_differs_in_nothing
    what_is_called_in_place_the_server_would_leave_as_it_is
    what_the_dry_run_predicts_is_what_the_write_leaves
    what_the_documents_drop_is_removed
    dependents_stay_go_first_or_follow_as_the_object_says
    a_volume_changes_its_kind_when_the_defaults_of_the_old_one_are_ours
    what_somebody_else_has_set_too_stays_and_is_named
    what_somebody_else_set_alone_is_no_difference
    a_change_by_hand_names_who_made_it_and_when
    an_invalid_object_is_refused_and_never_replaced
    only_a_field_that_cannot_change_leads_to_a_replacement
    objects_of_a_new_namespace_are_tried_elsewhere
    objects_of_a_new_definition_are_held_to_its_schema
    objects_of_a_changed_definition_are_held_to_its_new_schema
    a_namespace_that_goes_tells_what_else_is_in_it
    what_is_being_deleted_is_told_with_what_holds_it
    fields_below_unknown_ones_are_compared
    a_field_that_the_schema_does_not_know_any_more_stops_that_object_only
    a_field_that_is_left_to_others_stays_theirs
    what_is_around_a_change_is_looked_at_and_at_rest_nothing_is
    where_volumes_come_from_is_looked_at_when_a_claim_is_new
    a_certificate_that_somebody_injects_stays
    a_secret_that_somebody_fills_stays_filled
}

fn config_map(name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "data": data,
        "metadata": {"name": name, "namespace": "NS", "labels": {"tidegate.dev/site": "shop"}}})
}

fn template() -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {
        "containers": [{
            "name": "web", "image": "shop/web:1",
            "ports": [{"containerPort": 53, "protocol": "TCP"}, {"containerPort": 53, "protocol": "UDP"}],
            "resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}, "requests": {"cpu": "0.1"}},
            "env": [{"name": "A", "value": "1"}],
            "livenessProbe": {"tcpSocket": {"port": 53}},
        }],
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }})
}

fn workload(kind: &str, spec: &Value) -> Value {
    let mut spec = spec.clone();
    spec["selector"] = json!({"matchLabels": {"app": "web"}});
    spec["template"] = template();
    json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "web", "namespace": "NS"}, "spec": spec})
}

fn of_kind(api_version: &str, kind: &str, fields: &Value) -> Value {
    let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "web", "namespace": "NS"}});
    for (name, value) in fields.as_object().unwrap() {
        object[name] = value.clone();
    }
    object
}

/// One object of most kinds that sites have, written as people write them.
fn of_many_kinds() -> Vec<Value> {
    let selector = json!({"matchLabels": {"app": "web"}});
    let rules =
        json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "resourceNames": []}]);
    let claim = json!({"metadata": {"name": "data"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}}});
    let mut job_template = template();
    job_template["spec"]["restartPolicy"] = json!("Never");
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "kinds.difference.example"}, "spec": {"group": "difference.example", "scope": "Namespaced",
            "names": {"kind": "Kind", "plural": "kinds"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}]}});
    // In an order that is not the server's.
    let mut endpoints = of_kind(
        "v1",
        "Endpoints",
        &json!({"subsets": [
        {"addresses": [{"ip": "10.0.0.2"}, {"ip": "10.0.0.1"}], "ports": [{"name": "b", "port": 2, "protocol": "TCP"}]},
        {"addresses": [{"ip": "10.0.0.1"}], "ports": [{"name": "a", "port": 1, "protocol": "TCP"}]}]}),
    );
    endpoints["metadata"]["name"] = json!("by-hand");
    vec![
        config_map("web", &json!({"app.properties": "a=b\n"})),
        of_kind("v1", "Secret", &json!({"stringData": {"a": ""}, "data": null})),
        of_kind("v1", "ServiceAccount", &json!({})),
        of_kind(
            "v1",
            "Service",
            &json!({"spec": {"type": "NodePort", "selector": {"app": "web"}, "ports": [
            {"name": "tcp", "port": 53, "protocol": "TCP"}, {"name": "udp", "port": 53, "protocol": "UDP"}]}}),
        ),
        of_kind("v1", "PersistentVolumeClaim", &json!({"spec": claim["spec"]})),
        of_kind(
            "v1",
            "LimitRange",
            &json!({"spec": {"limits": [{"type": "Pod", "max": {"cpu": "64"}}]}}),
        ),
        workload("Deployment", &json!({"replicas": 1})),
        workload(
            "StatefulSet",
            &json!({"serviceName": "web", "replicas": 1, "volumeClaimTemplates": [claim]}),
        ),
        workload("DaemonSet", &json!({})),
        of_kind("batch/v1", "Job", &json!({"spec": {"template": job_template}})),
        of_kind("rbac.authorization.k8s.io/v1", "Role", &json!({"rules": rules})),
        of_kind(
            "rbac.authorization.k8s.io/v1",
            "RoleBinding",
            &json!({
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "web"},
            "subjects": [{"kind": "ServiceAccount", "name": "web", "namespace": "NS"}]}),
        ),
        of_kind(
            "networking.k8s.io/v1",
            "NetworkPolicy",
            &json!({"spec": {"podSelector": {}, "ingress": [{}]}}),
        ),
        of_kind(
            "networking.k8s.io/v1",
            "Ingress",
            &json!({"spec": {"rules": [{"host": "web.example", "http": {"paths": [
            {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 53}}}}]}}]}}),
        ),
        of_kind(
            "policy/v1",
            "PodDisruptionBudget",
            &json!({"spec": {"minAvailable": 1, "selector": selector}}),
        ),
        of_kind(
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            &json!({"spec": {"maxReplicas": 3,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}}),
        ),
        definition,
        endpoints,
    ]
}

async fn what_was_applied_differs_in_nothing(mut world: World) {
    world.want(&of_many_kinds());
    world.apply().await;
    let set = world.diff().await;
    assert!(set.is_empty(), "{set:#?}");
    assert_eq!(set.unchanged, of_many_kinds().len());
    // And when the controllers have done their part.
    let path = format!("/apis/apps/v1/namespaces/{}/deployments/web", world.namespace);
    until(|| async {
        let live = world.send(&Method::GET, &path, &Value::Null).await;
        (live.pointer("/status/observedGeneration").is_some()
            && live.pointer("/metadata/annotations/deployment.kubernetes.io~1revision").is_some())
        .then_some(())
    })
    .await;
    let set = world.diff().await;
    assert!(set.is_empty(), "{set:#?}");
}

/// Where an object is, for a request that the agent's adapter does not make.
fn path_of(object: &Object) -> String {
    let root = if object.api_version().contains('/') { "/apis" } else { "/api" };
    let kind = object.kind().to_lowercase();
    let plural = match kind.as_str() {
        "endpoints" => kind,
        "ingress" => "ingresses".to_owned(),
        "networkpolicy" => "networkpolicies".to_owned(),
        _ => format!("{kind}s"),
    };
    let place = match object.namespace() {
        "" => String::new(),
        namespace => format!("/namespaces/{namespace}"),
    };
    format!("{root}/{}{place}/{plural}/{}", object.api_version(), object.name())
}

/// Without what the server writes at each change.
fn content(object: &Object) -> Value {
    let mut value = object.value().clone();
    let metadata = value["metadata"].as_object_mut().unwrap();
    for noise in ["managedFields", "resourceVersion", "generation"] {
        metadata.remove(noise);
    }
    value
}

/// The value without one of its fields or elements, once for each; and with each list turned round.
fn variants(value: &Value) -> Vec<Value> {
    let mut found = Vec::new();
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                let mut less = map.clone();
                less.remove(name);
                found.push(Value::Object(less));
                found.extend(variants(inner).into_iter().map(|inner| {
                    let mut other = map.clone();
                    other.insert(name.clone(), inner);
                    Value::Object(other)
                }));
            }
        }
        Value::Array(items) => {
            found.push(Value::Array(items.iter().rev().cloned().collect()));
            for (index, inner) in items.iter().enumerate() {
                let mut less = items.clone();
                less.remove(index);
                found.push(Value::Array(less));
                found.extend(variants(inner).into_iter().map(|inner| {
                    let mut other = items.clone();
                    other[index] = inner;
                    Value::Array(other)
                }));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    found
}

/// The short cut, held against the server's own word: for what was applied, for all that can be left out of it, and after
/// changes by others.
async fn what_is_called_in_place_the_server_would_leave_as_it_is(mut world: World) {
    world.want(&of_many_kinds());
    world.apply().await;
    let mut in_place = BTreeSet::new();
    let mut objects = Vec::new();
    for object in &world.desired.objects {
        // At the version that this server has.
        let applied = world.cluster.apply(&object.body(), &Terms::none(), &|_| None).await.unwrap();
        let mut body = object.body();
        body.set(&["apiVersion"], applied.get("/apiVersion").cloned().unwrap());
        objects.push(body);
    }
    let edits = [
        ("", json!({})),
        (
            "",
            json!({"metadata": {"labels": {"team": "payments"}, "annotations": {"note": "by hand"}}}),
        ),
        ("ConfigMap", json!({"data": {"app.properties": "a=c\n", "more": "1"}})),
        ("Deployment", json!({"spec": {"replicas": 0}})),
        ("Service", json!({"spec": {"selector": {"app": "other"}}})),
        ("HorizontalPodAutoscaler", json!({"spec": {"maxReplicas": 4}})),
        ("", json!({"metadata": {"labels": null}})),
    ];
    for (kind, edit) in &edits {
        for body in objects.iter().filter(|body| kind.is_empty() || body.kind() == *kind) {
            let path = path_of(body);
            world.edit(&path, edit).await;
            let live = Object::new(world.send(&Method::GET, &path, &Value::Null).await);
            let tried = std::iter::once(body.value().clone()).chain(variants(body.value()));
            let is_it = |other: &Object| other.reference("") == body.reference("");
            let tried = tried.map(Object::new).filter(is_it);
            for body in tried.filter(|body| diff::is_in_place(body, &live)) {
                let path = format!("{path}?fieldManager=tidegate&force=true&dryRun=All");
                let predicted = Object::new(world.apply_as(&path, body.value()).await);
                assert_eq!(content(&live), content(&predicted), "after {edit}");
                in_place.insert(body.kind().to_owned());
            }
        }
    }
    // Others have quantities that the server writes in another way, or fields that it only takes.
    let told =
        ["ConfigMap", "Endpoints", "Ingress", "NetworkPolicy", "Role", "RoleBinding", "Service"];
    assert!(told.iter().all(|kind| in_place.contains(*kind)), "{in_place:?}");
}

/// An agent that is killed after a write, and before it could record that, knows by this that the write was its own.
async fn what_the_dry_run_predicts_is_what_the_write_leaves(mut world: World) {
    // What is in no namespace is shared with other tests, which would write it meanwhile.
    let is_own = |object: &Value| object["metadata"].get("namespace").is_some();
    let objects: Vec<Value> = of_many_kinds().into_iter().filter(is_own).collect();
    world.want(&objects);
    world.apply().await;
    let mut changed = objects;
    for object in &mut changed {
        object["metadata"]["annotations"]["note"] = json!("2");
    }
    world.want(&changed);
    let set = world.diff().await;
    assert_eq!(set.changes.len(), changed.len());
    let before = world.live().await;
    world.apply().await;
    let after = world.live().await;
    // What nobody has written, so that only the prediction can tell.
    let other = Object::new(json!({"metadata": {"annotations": {"note": "3"}}}));
    for change in &set.changes {
        let live = |live: &LiveState| live.observation(&change.object).unwrap().live().unwrap();
        let (before, after) = (live(&before), live(&after));
        assert!(diff::is_as_approved(change, Some(&before)), "{}", change.object);
        assert!(!diff::is_as_approved(change, Some(&after)), "{}", change.object);
        // What a Secret will be has no digest that could be stored: its content is compared.
        let form = if after.is_secret() {
            world.desired.object(&change.object).unwrap().body()
        } else {
            other.clone()
        };
        assert!(!diff::is_written(change, &before, &form), "{}", change.object);
        assert!(diff::is_written(change, &after, &form), "{}", change.object);
    }
}

/// `path: before -> after`, one per field.
fn lines(change: &Change) -> Vec<String> {
    let show = |value: &Option<Shown>| match value {
        None => "-".to_owned(),
        Some(Shown::Value(value)) => value.to_string(),
        Some(Shown::Secret(number)) => format!("secret {number}"),
    };
    let line = |field: &FieldChange| {
        format!("{}: {} -> {}", field.path, show(&field.before), show(&field.after))
    };
    change.fields.iter().map(line).collect()
}

async fn what_the_documents_drop_is_removed(mut world: World) {
    let mut map = config_map("web", &json!({"a": "1", "b.c": "2"}));
    let mut deployment = workload("Deployment", &json!({"replicas": 0}));
    world.want(&[map.clone(), deployment.clone()]);
    world.apply().await;
    map["data"].as_object_mut().unwrap().remove("b.c");
    map["metadata"]["labels"] = json!({});
    let container = &mut deployment["spec"]["template"]["spec"]["containers"][0];
    container["env"] = json!([]);
    container["ports"].as_array_mut().unwrap().pop();
    world.want(&[map, deployment]);
    let set = world.diff().await;
    assert_eq!(set.gaps, []);
    let all: Vec<String> = set.changes.iter().flat_map(lines).collect();
    for gone in [
        "data[\"b.c\"]: \"2\" -> -",
        "metadata.labels[\"tidegate.dev/site\"]: \"shop\" -> -",
        "spec.template.spec.containers[name=web].env[name=A].value: \"1\" -> -",
        "spec.template.spec.containers[name=web].ports[containerPort=53,protocol=UDP].protocol: \"UDP\" -> -",
    ] {
        assert!(all.iter().any(|line| line == gone), "{gone}: {all:#?}");
    }
    assert!(!all.iter().any(|line| line.contains("protocol=TCP")), "{all:#?}");
    world.apply().await;
    let set = world.diff().await;
    assert!(set.is_empty(), "{set:#?}");
}

/// What a Deployment made stays, goes first or follows, as its own word says (A20).
async fn dependents_stay_go_first_or_follow_as_the_object_says(mut world: World) {
    let words = [("orphan", true), ("foreground", false), ("background", false)];
    let web = |word: &str| {
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": word, "namespace": "NS",
                "annotations": {PROPAGATION_ANNOTATION: word}},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": word}},
                "template": {"metadata": {"labels": {"app": word}},
                    "spec": {"containers": [{"name": "web", "image": "web:1"}]}}}})
    };
    world.want(&words.map(|(word, _)| web(word)));
    world.apply().await;
    let sets = format!("/apis/apps/v1/namespaces/{}/replicasets", world.namespace);
    let of = async |word: &str| {
        let path = format!("{sets}?labelSelector=app={word}");
        let (_, list) = world.exchange("application/json", &Method::GET, &path, &json!({})).await;
        list["items"].as_array().map_or(0, Vec::len)
    };
    for (word, stays) in words {
        until(|| async { (of(word).await == 1).then_some(()) }).await;
        let live = world.live().await;
        let reference = &world.desired.objects.iter().find(|it| it.reference.name == word);
        let reference = reference.unwrap().reference.clone();
        let live = live.observation(&reference).unwrap().live().unwrap();
        let propagation = Propagation::of(&live);
        let deleted = world.cluster.delete(&reference, "apps/v1", live.uid(), propagation);
        deleted.await.unwrap();
        until(|| async {
            let path = format!("/apis/apps/v1/namespaces/{}/deployments/{word}", world.namespace);
            (!world.exchange("application/json", &Method::GET, &path, &json!({})).await.0)
                .then_some(())
        })
        .await;
        if stays {
            let path = format!("{sets}?labelSelector=app={word}");
            let list = world.send(&Method::GET, &path, &json!({})).await;
            let owners = &list["items"][0]["metadata"]["ownerReferences"];
            assert_eq!((list["items"].as_array().map(Vec::len), owners), (Some(1), &Value::Null));
        } else {
            until(|| async { (of(word).await == 0).then_some(()) }).await;
        }
    }
}

/// What rendering writes out (`render::manifest`), and why: defaults that the server fills in belong to nobody.
async fn a_volume_changes_its_kind_when_the_defaults_of_the_old_one_are_ours(mut world: World) {
    let with = |volume: &Value| {
        let mut deployment = workload("Deployment", &json!({"replicas": 0}));
        let mut volume = volume.clone();
        volume["name"] = json!("files");
        deployment["spec"]["template"]["spec"]["volumes"] = json!([volume]);
        deployment
    };
    let empty = with(&json!({"emptyDir": {}}));
    world.want(&[with(&json!({"configMap": {"name": "files"}}))]);
    world.apply().await;
    world.want(std::slice::from_ref(&empty));
    let set = world.diff().await;
    assert!(set.gaps[0].refused, "the mode stays, and two kinds are none: {set:#?}");
    world.want(&[with(&json!({"configMap": {"name": "files", "defaultMode": 420}}))]);
    assert!(world.diff().await.is_empty(), "it means the same");
    world.apply().await;
    world.want(&[empty]);
    let set = world.diff().await;
    assert_eq!(set.gaps, [], "{set:#?}");
    world.apply().await;
    assert!(world.diff().await.is_empty());
}

async fn what_somebody_else_has_set_too_stays_and_is_named(mut world: World) {
    world.want(&[config_map("web", &json!({"a": "1", "b": "2"}))]);
    world.apply().await;
    // The same value by another manager: both have it now.
    let mut same = config_map("web", &json!({"b": "2"}));
    same["metadata"]["namespace"] = json!(world.namespace);
    let path = format!(
        "/api/v1/namespaces/{}/configmaps/web?fieldManager=operator&force=true",
        world.namespace
    );
    let request = Request::builder()
        .method(Method::PATCH)
        .uri(path)
        .header("Content-Type", "application/apply-patch+yaml")
        .body(Body::from(same.to_string().into_bytes()))
        .unwrap();
    assert!(world.client.send(request).await.unwrap().status().is_success());
    world.want(&[config_map("web", &json!({"a": "1"}))]);
    let set = world.diff().await;
    let change = &set.changes[0];
    assert_eq!((change.action, lines(change).len()), (Action::Configure, 0));
    assert_eq!(change.kept.len(), 1, "{change:#?}");
    let kept = &change.kept[0];
    assert_eq!((kept.field.as_str(), kept.manager.as_str()), (".data.b", "operator"));
    assert!(kept.since.is_some());
    world.apply().await;
    assert!(world.diff().await.is_empty(), "given up");
}

async fn what_somebody_else_set_alone_is_no_difference(mut world: World) {
    world.want(&[config_map("web", &json!({"a": "1"}))]);
    world.apply().await;
    let path = "/api/v1/namespaces/NS/configmaps/web";
    world
        .edit(path, &json!({"data": {"b": "2"}, "metadata": {"annotations": {"who": "me"}}}))
        .await;
    let set = world.diff().await;
    assert!(set.is_empty(), "{set:#?}");
    let foreign = diff::foreign(&world.desired, &world.live().await);
    let told: Vec<_> =
        foreign[0].fields.iter().map(|it| (it.field.as_str(), it.manager.as_str())).collect();
    assert_eq!(told, [(".data.b", "kubectl-edit"), (".metadata.annotations.who", "kubectl-edit")]);
    assert!(foreign[0].fields.iter().all(|it| it.since.is_some()));
}

async fn a_change_by_hand_names_who_made_it_and_when(mut world: World) {
    world.want(&[config_map("web", &json!({"a": "1", "b": "2"}))]);
    world.apply().await;
    world
        .edit("/api/v1/namespaces/NS/configmaps/web", &json!({"data": {"a": "7", "b": "8"}}))
        .await;
    let set = until(|| async {
        let set = world.diff().await;
        (!set.changes.is_empty()).then_some(set)
    })
    .await;
    let change = &set.changes[0];
    assert!(change.drift);
    assert_eq!(lines(change), ["data.a: \"7\" -> \"1\"", "data.b: \"8\" -> \"2\""]);
    let conflicts: Vec<_> =
        change.conflicts.iter().map(|it| (it.field.as_str(), it.manager.as_str())).collect();
    assert_eq!(conflicts, [(".data.a", "kubectl-edit"), (".data.b", "kubectl-edit")]);
    let times = change.conflicts.iter().filter_map(|it| it.since.as_deref());
    let times: Vec<Timestamp> = times.map(|it| it.parse().unwrap()).collect();
    assert_eq!(times.len(), 2);
    world.apply().await;
    assert!(world.diff().await.is_empty(), "put right, and nothing is left over");
}

/// The sandbox serves each kind at one version.
#[tokio::test]
async fn another_version_alone_is_no_difference() {
    let Some(mut world) = real("version").await else { return };
    let autoscaler = |version: &str, metrics: &Value| {
        let mut object = of_kind(
            version,
            "HorizontalPodAutoscaler",
            &json!({"spec": {"maxReplicas": 3,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}}),
        );
        for (name, value) in metrics.as_object().unwrap() {
            object["spec"][name] = value.clone();
        }
        object
    };
    world.want(&[autoscaler("autoscaling/v1", &json!({"targetCPUUtilizationPercentage": 50}))]);
    world.apply().await;
    let metrics = json!({"metrics": [{"type": "Resource", "resource": {"name": "cpu",
        "target": {"type": "Utilization", "averageUtilization": 50}}}]});
    world.want(&[autoscaler("autoscaling/v2", &metrics)]);
    let set = world.diff().await;
    assert_eq!(set.gaps, [], "{set:#?}");
    assert!(set.changes.iter().all(|change| change.fields.is_empty()), "{set:#?}");
}

async fn an_invalid_object_is_refused_and_never_replaced(mut world: World) {
    let mut deployment = workload("Deployment", &json!({"replicas": 0}));
    deployment["metadata"]["annotations"] = json!({REPLACE_ANNOTATION: "enabled"});
    world.want(std::slice::from_ref(&deployment));
    world.apply().await;
    deployment["spec"]["replicas"] = json!(-1);
    // Another field that cannot change is no excuse.
    for selector in ["web", "other"] {
        deployment["spec"]["selector"]["matchLabels"]["app"] = json!(selector);
        world.want(std::slice::from_ref(&deployment));
        let set = world.diff().await;
        assert!(set.changes.is_empty(), "{set:#?}");
        assert_eq!((set.gaps[0].gap.code.as_str(), set.gaps[0].refused), ("CLUSTER/INVALID", true));
    }
}

async fn only_a_field_that_cannot_change_leads_to_a_replacement(mut world: World) {
    let mut deployment = workload("Deployment", &json!({"replicas": 2}));
    world.want(std::slice::from_ref(&deployment));
    world.apply().await;
    for labels in ["selector", "template"] {
        let place = if labels == "selector" {
            "/spec/selector/matchLabels"
        } else {
            "/spec/template/metadata/labels"
        };
        *deployment.pointer_mut(place).unwrap() = json!({"app": "other"});
    }
    world.want(std::slice::from_ref(&deployment));
    let set = world.diff().await;
    assert_eq!((set.gaps[0].gap.code.as_str(), set.gaps[0].refused), ("CLUSTER/IMMUTABLE", true));
    deployment["metadata"]["annotations"] = json!({REPLACE_ANNOTATION: "enabled"});
    world.want(&[deployment]);
    let set = world.diff().await;
    assert_eq!(set.changes[0].action, Action::Replace);
    assert_eq!(set.changes[0].effects, [Effect::PodsRestart { pods: 2 }]);
}

async fn objects_of_a_new_namespace_are_tried_elsewhere(mut world: World) {
    let namespace = format!("{}-new", world.namespace);
    let place = |mut object: Value| {
        object["metadata"]["namespace"] = json!(namespace);
        object
    };
    let new = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    let map = place(config_map("web", &json!({"a": "1"})));
    let good = place(workload("Deployment", &json!({"replicas": 1})));
    world.want(&[new.clone(), map.clone(), good]);
    let set = world.diff().await;
    assert_eq!(set.gaps, []);
    let told: Vec<_> =
        set.changes.iter().map(|it| (it.object.kind.as_str(), it.action, it.confidence)).collect();
    assert_eq!(
        told,
        [
            ("ConfigMap", Action::Create, Confidence::Simulated),
            ("Namespace", Action::Create, Confidence::Exact),
            ("Deployment", Action::Create, Confidence::Simulated),
        ]
    );
    let bad = place(workload("Deployment", &json!({"replicas": -1})));
    world.want(&[new, map, bad]);
    let set = world.diff().await;
    assert_eq!(set.gaps.len(), 1, "{set:#?}");
    let gap = &set.gaps[0];
    assert_eq!((gap.gap.code.as_str(), gap.refused), ("CLUSTER/INVALID", true));
    assert!(gap.gap.message.contains("\"web\" is invalid: spec.replicas"), "{gap:?}");
    let there =
        world.send(&Method::GET, "/api/v1/namespaces/default/configmaps", &Value::Null).await;
    assert!(!there.to_string().contains("tidegate-"), "nothing is left there");
}

fn backups(properties: &Value) -> Value {
    let schema = json!({"openAPIV3Schema": {"type": "object", "required": ["spec"], "properties": {
        "spec": {"type": "object", "required": ["target"], "properties": properties}}}});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "backups.GROUP"}, "spec": {"group": "GROUP", "scope": "Namespaced",
            "names": {"kind": "Backup", "plural": "backups"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}]}})
}

fn backup(spec: &Value) -> Value {
    json!({"apiVersion": "GROUP/v1", "kind": "Backup", "metadata": {"name": "nightly", "namespace": "NS"}, "spec": spec})
}

fn in_group(group: &str, objects: &[Value]) -> Vec<Value> {
    let text = json!(objects).to_string().replace("GROUP", group);
    serde_json::from_str(&text).unwrap()
}

async fn objects_of_a_new_definition_are_held_to_its_schema(mut world: World) {
    let definition = backups(&json!({"target": {"type": "string", "pattern": "^s3:"},
        "mode": {"type": "string", "enum": ["full", "part"], "default": "full"}, "days": {"type": "integer"}}));
    let of = |spec: &Value| in_group("new.example", &[definition.clone(), backup(spec)]);
    world.want(&of(&json!({"target": "s3:x"})));
    let set = world.diff().await;
    assert_eq!(set.gaps, [], "{set:#?}");
    let change = set.changes.iter().find(|it| it.object.kind == "Backup").unwrap();
    assert_eq!(change.confidence, Confidence::Simulated);
    let all = lines(change);
    assert!(all.iter().any(|line| line == "spec.mode: - -> \"full\""), "{all:#?}");
    world.want(&of(&json!({"target": "ftp:x", "mode": "none", "days": "7", "dya": 7})));
    let set = world.diff().await;
    let gap = set.gaps.iter().find(|gap| gap.refused).unwrap();
    assert_eq!(gap.gap.code, "CLUSTER/SCHEMA_VIOLATED");
    for field in ["spec.target: ", "spec.mode: ", "spec.days: ", "spec.dya: "] {
        assert!(gap.gap.message.contains(field), "{}", gap.gap.message);
    }
    // What was foretold is what the server says once it has the definition.
    world.want(&of(&json!({"target": "s3:x"})));
    world.apply().await;
    let live = until(|| async { Some(world.diff().await).filter(ChangeSet::is_empty) }).await;
    assert_eq!(live.unchanged, 2);
    world.want(&of(&json!({"target": "ftp:x"})));
    assert_eq!(world.diff().await.gaps[0].gap.code, "CLUSTER/INVALID");
}

async fn objects_of_a_changed_definition_are_held_to_its_new_schema(mut world: World) {
    let old = json!({"target": {"type": "string"}});
    let new = json!({"target": {"type": "string"}, "days": {"type": "integer", "maximum": 30}});
    let of = |schema: &Value, spec: &Value| {
        in_group("changed.example", &[backups(schema), backup(spec)])
    };
    world.want(&of(&old, &json!({"target": "a"})));
    world.apply().await;
    world.want(&of(&new, &json!({"target": "a", "days": 7})));
    let set = world.diff().await;
    assert_eq!(set.gaps, [], "{set:#?}");
    let change = set.changes.iter().find(|it| it.object.kind == "Backup").unwrap();
    assert_eq!(change.confidence, Confidence::Simulated);
    assert_eq!(lines(change), ["spec.days: - -> 7"]);
    world.want(&of(&new, &json!({"target": "a", "days": 31})));
    let set = world.diff().await;
    assert_eq!(set.gaps[0].gap.code, "CLUSTER/SCHEMA_VIOLATED", "{set:#?}");
    // While the definition stays the server is asked, and its word counts.
    world.want(&of(&old, &json!({"target": "a", "days": 7})));
    let set = world.diff().await;
    assert_eq!((set.gaps[0].gap.code.as_str(), set.gaps[0].refused), ("CLUSTER/INVALID", true));
}

async fn a_namespace_that_goes_tells_what_else_is_in_it(mut world: World) {
    let name = format!("{}-gone", world.namespace);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let mut map = config_map("ours", &json!({}));
    map["metadata"]["namespace"] = json!(name);
    world.want(&[namespace, map]);
    world.apply().await;
    let foreign = json!({"metadata": {"name": "foreign"}});
    for resource in ["configmaps", "serviceaccounts"] {
        let path = format!("/api/v1/namespaces/{name}/{resource}");
        world.send(&Method::POST, &path, &foreign).await;
    }
    world.want(&[]);
    let effects = |set: &ChangeSet| {
        let change = set.changes.iter().find(|it| it.object.kind == "Namespace").unwrap();
        (change.action, change.effects.clone())
    };
    let lost = Effect::NamespaceLost { others: "1 ConfigMap, 1 ServiceAccount".to_owned() };
    assert_eq!(effects(&world.diff().await), (Action::Prune, vec![lost]));
    let claim = json!({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}}});
    let path = format!("/api/v1/namespaces/{name}/persistentvolumeclaims");
    world.send(&Method::POST, &path, &claim).await;
    assert_eq!(effects(&world.diff().await), (Action::Keep, Vec::new()), "somebody's data");
}

async fn what_is_being_deleted_is_told_with_what_holds_it(mut world: World) {
    let mut map = config_map("web", &json!({}));
    map["metadata"]["finalizers"] = json!(["example.com/slow"]);
    world.want(&[map]);
    world.apply().await;
    let path = format!("/api/v1/namespaces/{}/configmaps/web", world.namespace);
    world.send(&Method::DELETE, &path, &Value::Null).await;
    let set = until(|| async {
        let set = world.diff().await;
        (!set.gaps.is_empty()).then_some(set)
    })
    .await;
    assert!(set.changes.is_empty(), "{set:#?}");
    let gap = &set.gaps[0];
    assert_eq!(
        (gap.gap.code.as_str(), gap.gap.message.as_str()),
        (diff::TERMINATING, "example.com/slow")
    );
    assert!(!gap.refused, "there is a plan for the rest");
    world.send(&Method::PATCH, &path, &json!({"metadata": {"finalizers": null}})).await;
    let set = until(|| async {
        let set = world.diff().await;
        (!set.changes.is_empty()).then_some(set)
    })
    .await;
    assert_eq!(set.changes[0].action, Action::Create);
}

/// Fields that somebody has taken out of the definition, or that one of its versions does not have: what is applied at the
/// other goes on, and what still has them is refused, alone.
async fn a_field_that_the_schema_does_not_know_any_more_stops_that_object_only(mut world: World) {
    let old = json!({"target": {"type": "string"}, "days": {"type": "integer", "default": 7}});
    let new = json!({"target": {"type": "string"}});
    let versions = |first: &Value| {
        let mut definition = backups(first);
        let mut second = backups(&new)["spec"]["versions"][0].take();
        (second["name"], second["storage"]) = (json!("v2"), json!(false));
        definition["spec"]["versions"].as_array_mut().unwrap().push(second);
        definition
    };
    let of = |version: &str, spec: &Value, data: &str| {
        let mut backup = backup(spec);
        backup["apiVersion"] = json!(format!("GROUP/{version}"));
        let mut objects = in_group("forgotten.example", &[versions(&old), backup]);
        objects.push(config_map("web", &json!({"a": data})));
        objects
    };
    world.want(&of("v1", &json!({"target": "a", "days": 3}), "1"));
    world.apply().await;
    until(|| async { Some(world.diff().await).filter(ChangeSet::is_empty) }).await;
    // What was set at one version is given up at another that does not have it.
    world.want(&of("v2", &json!({"target": "b"}), "2"));
    let told = |set: &ChangeSet| -> Vec<String> { set.changes.iter().flat_map(lines).collect() };
    let set = world.diff().await;
    assert_eq!(set.gaps, []);
    assert_eq!(told(&set), ["data.a: \"1\" -> \"2\"", "spec.target: \"a\" -> \"b\""]);
    world.apply().await;
    until(|| async { Some(world.diff().await).filter(ChangeSet::is_empty) }).await;
    // What the version does not have is refused there, and nowhere else.
    world.want(&of("v2", &json!({"target": "c", "days": 3}), "3"));
    let set = world.diff().await;
    assert_eq!(told(&set), ["data.a: \"2\" -> \"3\""]);
    assert_eq!((set.gaps.len(), set.gaps[0].refused), (1, true), "{set:#?}");
    assert_eq!(set.gaps[0].gap.code, "CLUSTER/INVALID");
    assert!(set.gaps[0].gap.message.contains("spec.days"), "{set:#?}");
}

async fn fields_below_unknown_ones_are_compared(mut world: World) {
    let free = json!({"target": {"type": "string"},
        "config": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let of = |config: &Value| {
        let objects = [backups(&free), backup(&json!({"target": "a", "config": config}))];
        in_group("free.example", &objects)
    };
    world.want(&of(&json!({"deep": {"a": 1, "b": {"c": "x"}}})));
    world.apply().await;
    until(|| async { Some(world.diff().await).filter(ChangeSet::is_empty) }).await;
    world.want(&of(&json!({"deep": {"a": 1, "b": {"c": "y"}}})));
    let set = world.diff().await;
    assert_eq!(lines(&set.changes[0]), ["spec.config.deep.b.c: \"x\" -> \"y\""]);
}

async fn a_field_that_is_left_to_others_stays_theirs(mut world: World) {
    let want = |world: &mut World, replicas: u32, image: &str| {
        let mut body = Object::new(workload("Deployment", &json!({"replicas": replicas})));
        body.value_mut()["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
        ignored::leave(&mut body, "spec.replicas", "an autoscaler sets it");
        world.want(&[body.into_value()]);
    };
    let replicas = async |world: &World| {
        let path = format!("/apis/apps/v1/namespaces/{}/deployments/web", world.namespace);
        world.send(&Method::GET, &path, &Value::Null).await["spec"]["replicas"].clone()
    };
    want(&mut world, 2, "shop/web:1");
    world.apply().await;
    assert_eq!(replicas(&world).await, json!(2), "as the documents say, once");
    // The documents change their mind, and nobody else has said anything yet: it stays.
    want(&mut world, 3, "shop/web:1");
    assert!(world.diff().await.is_empty());
    world
        .edit("/apis/apps/v1/namespaces/NS/deployments/web", &json!({"spec": {"replicas": 5}}))
        .await;
    let set = world.diff().await;
    assert!(set.is_empty(), "{set:#?}");
    // It survives an apply of something else, and no conflict is made of it.
    want(&mut world, 3, "shop/web:2");
    let set = world.diff().await;
    assert_eq!(
        lines(&set.changes[0]),
        ["spec.template.spec.containers[name=web].image: \"shop/web:1\" -> \"shop/web:2\""]
    );
    assert_eq!(set.changes[0].conflicts, []);
    world.apply().await;
    assert_eq!(replicas(&world).await, json!(5));
    assert!(world.diff().await.is_empty());
}

/// Autoscalers that somebody made by hand for a workload of ours.
async fn what_is_around_a_change_is_looked_at_and_at_rest_nothing_is(mut world: World) {
    let want = |world: &mut World, image: &str| {
        let mut body = workload("Deployment", &json!({"replicas": 2}));
        body["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
        world.want(&[body]);
    };
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
    let spec = json!({"minReplicas": 2, "maxReplicas": 5, "scaleTargetRef": target});
    let by_hand = json!({"metadata": {"name": "by-hand"}, "spec": spec});
    want(&mut world, "shop/web:1");
    world.apply().await;
    // The sandbox has them at one version only.
    let version = if world.sandbox.is_some() { "v2" } else { "v1" };
    let path = format!("/apis/autoscaling/{version}/namespaces/{}", world.namespace);
    world.send(&Method::POST, &(path + "/horizontalpodautoscalers"), &by_hand).await;
    let around = async |world: &World| world.live().await.clusters[CLUSTER].around.clone();
    let lists = |world: &World| {
        let requests = world.sandbox.as_ref().map(Sandbox::requests);
        requests.and_then(|it| it.by_verb.get("list").copied()).unwrap_or_default()
    };
    assert!(around(&world).await.autoscalers.is_empty());
    let before = lists(&world);
    assert!(around(&world).await.autoscalers.is_empty());
    assert_eq!(lists(&world), before);
    want(&mut world, "shop/web:2");
    let found = around(&world).await;
    assert!(found.unknown.is_empty(), "{found:?}");
    let (reference, found) = found.autoscalers.first_key_value().unwrap();
    let workload = &world.desired.objects[0].reference;
    assert_eq!(autoscaler::target(reference, found).as_ref(), Some(workload));
    assert_eq!(autoscaler::bounds(found), (2, 5));
    // A plan that waits asks again only after a while.
    let before = lists(&world);
    assert_eq!(around(&world).await.autoscalers.len(), 1);
    assert_eq!(lists(&world), before);
}

/// Classes and volumes of the cluster.
async fn where_volumes_come_from_is_looked_at_when_a_claim_is_new(mut world: World) {
    let name = world.namespace.clone();
    let class = json!({"metadata": {"name": name}, "provisioner": "nobody.example"});
    world.send(&Method::POST, "/apis/storage.k8s.io/v1/storageclasses", &class).await;
    let volume = json!({"metadata": {"name": name}, "spec": {"storageClassName": "by-hand",
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/tmp"}}});
    world.send(&Method::POST, "/api/v1/persistentvolumes", &volume).await;
    let around = async |world: &World| world.live().await.clusters[CLUSTER].around.clone();
    world.want(&[config_map("web", &json!({}))]);
    assert!(around(&world).await.storage.is_none());
    let claim = json!({"spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": name,
        "resources": {"requests": {"storage": "1Gi"}}}});
    world.want(&[of_kind("v1", "PersistentVolumeClaim", &claim)]);
    let found = around(&world).await.storage.unwrap();
    assert!(found.volumes.is_empty(), "nobody needs to know of volumes where the class is there");
    let mut missing = claim.clone();
    missing["spec"]["storageClassName"] = json!("by-hand");
    let mut other = of_kind("v1", "PersistentVolumeClaim", &missing);
    other["metadata"]["name"] = json!("other");
    world.want(&[of_kind("v1", "PersistentVolumeClaim", &claim), other]);
    let found = around(&world).await;
    assert!(found.unknown.is_empty(), "{found:?}");
    let storage = found.storage.unwrap();
    assert!(storage.classes.iter().any(|class| class.name() == name));
    let own = storage.volumes.iter().find(|volume| volume.name() == name).unwrap();
    assert_eq!(own.text("/spec/storageClassName"), "by-hand");
    world.apply().await;
    world.fresh();
    assert!(around(&world).await.storage.is_none(), "the claim is there");
    world.send(&Method::DELETE, &format!("/api/v1/persistentvolumes/{name}"), &Value::Null).await;
}

/// Webhooks, conversions and aggregated APIs whose authority an injector of certificates fills in.
async fn a_certificate_that_somebody_injects_stays(mut world: World) {
    let name = world.namespace.clone();
    let of = |path: &str| {
        let service = json!({"name": "web", "namespace": "NS", "path": path, "port": 443});
        let hook = |name: &str| {
            json!({"name": name, "sideEffects": "None", "admissionReviewVersions": ["v1"],
                "clientConfig": {"service": service}, "failurePolicy": "Ignore", "timeoutSeconds": 5,
                "namespaceSelector": {"matchLabels": {"nobody": "has-this"}},
                "rules": [{"apiGroups": ["none.example"], "apiVersions": ["v1"], "operations": ["CREATE"],
                    "resources": ["things"]}]})
        };
        let hooks = [hook("a.none.example"), hook("b.none.example")];
        let configuration = |kind: &str| {
            json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
                "metadata": {"name": name}, "webhooks": hooks})
        };
        let mut definition =
            in_group("injected.example", &[backups(&json!({"target": {"type": "string"}}))]);
        definition[0]["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {
            "conversionReviewVersions": ["v1"], "clientConfig": {"service": service}}});
        let mut objects = vec![
            configuration("ValidatingWebhookConfiguration"),
            configuration("MutatingWebhookConfiguration"),
        ];
        objects.append(&mut definition);
        objects
    };
    world.want(&of("/old"));
    world.apply().await;
    let bundle = json!(
        "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUJlakNDQVNHZ0F3SUJBZ0lVZG1xeGliMjhiUjBod29weSt3d3I0UjBNellVd0NnWUlLb1pJemowRUF3SXcKRXpFUk1BOEdBMVVFQXd3SWFXNXFaV04wWldRd0hoY05Nall4TVRJMk1qSXhOelExV2hjTk16WXhNVEl6TWpJeApOelExV2pBVE1SRXdEd1lEVlFRRERBaHBibXBsWTNSbFpEQlpNQk1HQnlxR1NNNDlBZ0VHQ0NxR1NNNDlBd0VICkEwSUFCQWNZZzhnd29KVWY2bXB0SFp3N2t0dzR1cDNvRWE4RmxLemtodGNKMVlmVTAxOVFOdHZhTXhuTUdFMHcKbStKc2xoVHYxcUx4VjcwZ1FzVjlMelJUN2NTalV6QlJNQjBHQTFVZERnUVdCQlIyYmZsYjBPU21Lc3ZuMFF6aApZb2NtTmd2SmhEQWZCZ05WSFNNRUdEQVdnQlIyYmZsYjBPU21Lc3ZuMFF6aFlvY21OZ3ZKaERBUEJnTlZIUk1CCkFmOEVCVEFEQVFIL01Bb0dDQ3FHU000OUJBTUNBMGNBTUVRQ0lEbkFZSVJBOWZkN1l0VS92MjMyNzZIOTVGWmYKdnlKbjJqbDZoZzhxVCt1dEFpQU1FQVZVRVlBa0xnYkppc0NKOXFoeVhzdDdTS2ZpVXQySzlFbHN6ZXppOXc9PQotLS0tLUVORCBDRVJUSUZJQ0FURS0tLS0tCg=="
    );
    let admission = "/apis/admissionregistration.k8s.io/v1";
    let hooks = |kind: &str| format!("{admission}/{kind}webhookconfigurations/{name}");
    let definition =
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/backups.injected.example"
            .to_owned();
    let at = |index: u8| format!("/webhooks/{index}/clientConfig/caBundle");
    let conversion = "/spec/conversion/webhook/clientConfig/caBundle".to_owned();
    let injected = [
        (hooks("validating"), vec![at(0), at(1)]),
        (hooks("mutating"), vec![at(0), at(1)]),
        (definition, vec![conversion]),
    ];
    for (path, places) in &injected {
        let patch: Vec<_> = places
            .iter()
            .map(|place| json!({"op": "add", "path": place, "value": bundle}))
            .collect();
        let path = format!("{path}?fieldManager=cainjector");
        world.send_as("application/json-patch+json", &Method::PATCH, &path, &json!(patch)).await;
    }
    world.fresh();
    let set = world.diff().await;
    assert!(set.is_empty(), "{set:#?}");
    // It survives what we change beside it.
    world.want(&of("/new"));
    let set = world.diff().await;
    assert_eq!(set.changes.len(), 3, "{set:#?}");
    for change in &set.changes {
        let told = lines(change);
        assert!(told.iter().all(|line| line.contains(".service.path: ")), "{told:#?}");
        assert_eq!(change.conflicts, []);
    }
    world.apply().await;
    assert!(world.diff().await.is_empty());
    for (path, places) in &injected {
        let live = world.send(&Method::GET, path, &Value::Null).await;
        for place in places {
            assert_eq!(live.pointer(place), Some(&bundle), "{path} {place}");
        }
    }
}

async fn a_secret_that_somebody_fills_stays_filled(mut world: World) {
    let want = |world: &mut World, label: &str| {
        let fields = json!({"stringData": {"password": ""}, "data": {"token": ""}});
        let mut body = Object::new(of_kind("v1", "Secret", &fields));
        body.set(&["metadata", "labels", "round"], json!(label));
        for path in ["stringData.password", "data.token"] {
            ignored::leave(&mut body, path, "filled by somebody else");
        }
        world.want(&[body.into_value()]);
    };
    want(&mut world, "1");
    world.apply().await;
    // `one-canary-7f3a91` and `another-canary-7f3a91`.
    let filled = json!({"data": {
        "password": "b25lLWNhbmFyeS03ZjNhOTE=", "token": "YW5vdGhlci1jYW5hcnktN2YzYTkx"}});
    let path = "/api/v1/namespaces/NS/secrets/web";
    world.edit(path, &filled).await;
    let set = world.diff().await;
    assert!(set.is_empty(), "{set:#?}");
    want(&mut world, "2");
    let set = world.diff().await;
    assert_eq!(lines(&set.changes[0]), ["metadata.labels.round: \"1\" -> \"2\""]);
    world.apply().await;
    let live = world.send(&Method::GET, &path.replace("NS", &world.namespace), &Value::Null).await;
    assert_eq!(live["data"], filled["data"]);
    assert!(world.diff().await.is_empty());
}

/// What the words of a real server of 1.20 are, so that the sandbox can say them.
const NO_DRY_RUN: &str = "admission webhook \"guard.shop.example\" does not support dry run";
const SILENT: &str = "Internal error occurred: failed calling webhook \"guard.shop.example\": Post \"https://127.0.0.1:1/\": dial tcp 127.0.0.1:1: connect: connection refused";
const QUOTA: &str = "configmaps \"web\" is forbidden: exceeded quota: few, requested: count/configmaps=1, used: count/configmaps=1, limited: count/configmaps=1";

/// One object cannot be tried; another can.
async fn one_is_unverified(world: &mut World, code: &str) {
    world.want(&[
        config_map("web", &json!({"a": "1"})),
        of_kind("v1", "ServiceAccount", &json!({})),
        of_kind("v1", "Secret", &json!({"stringData": {"password": canary::secret("web")}})),
    ]);
    let set = world.diff().await;
    assert_eq!(set.gaps, [], "{set:#?}");
    let told: Vec<_> =
        set.changes.iter().map(|it| (it.object.kind.as_str(), it.confidence)).collect();
    let (unverified, exact) = (Confidence::Unverified, Confidence::Exact);
    assert_eq!(
        told,
        [("ConfigMap", unverified), ("Secret", unverified), ("ServiceAccount", exact)]
    );
    for change in &set.changes[..2] {
        assert_eq!(change.warnings, [format!("{code}: guard.shop.example")]);
    }
}

fn says(world: &World, code: u16, message: &str) {
    let sandbox = world.sandbox.as_ref().unwrap();
    for resource in ["configmaps", "secrets"] {
        sandbox.fault(Fault::Refuse {
            matching: Matching {
                verb: Some("patch".to_owned()),
                resource: Some(resource.to_owned()),
                ..Matching::default()
            },
            code,
            reason: "InternalError".to_owned(),
            message: message.to_owned(),
            times: 2,
        });
    }
}

#[tokio::test]
async fn a_webhook_that_cannot_be_asked_leaves_only_its_objects_unverified() {
    let mut world = simulated("webhook").await;
    for (status, words, code) in [
        (400, NO_DRY_RUN, "CLUSTER/WEBHOOK_WITHOUT_DRY_RUN"),
        (500, SILENT, "CLUSTER/WEBHOOK_SILENT"),
    ] {
        says(&world, status, words);
        one_is_unverified(&mut world, code).await;
        // What is left of the fault is used up.
        world.diff().await;
    }
}

#[tokio::test]
async fn a_real_webhook_that_cannot_be_asked_leaves_only_its_objects_unverified() {
    for (effects, code) in
        [("Some", "CLUSTER/WEBHOOK_WITHOUT_DRY_RUN"), ("None", "CLUSTER/WEBHOOK_SILENT")]
    {
        let Some(mut world) = real(&format!("webhook-{}", effects.to_lowercase())).await else {
            return;
        };
        let own = format!("/api/v1/namespaces/{}", world.namespace);
        world
            .send(&Method::PATCH, &own, &json!({"metadata": {"labels": {"guarded": effects}}}))
            .await;
        let webhook = json!({"metadata": {"name": world.namespace}, "webhooks": [{
            "name": "guard.shop.example", "sideEffects": effects, "failurePolicy": "Fail", "timeoutSeconds": 5,
            "admissionReviewVersions": ["v1"], "clientConfig": {"url": "https://127.0.0.1:1/"},
            "namespaceSelector": {"matchLabels": {"guarded": effects}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"],
                "resources": ["configmaps", "secrets"]}]}]});
        // Webhooks with effects are taken only at this version, as far as 1.21.
        let path = "/apis/admissionregistration.k8s.io/v1beta1/validatingwebhookconfigurations";
        world.send(&Method::POST, path, &webhook).await;
        until(|| async {
            // The server takes a moment to know its webhooks.
            let probe = json!({"metadata": {"name": "probe"}});
            let path = format!("{own}/configmaps?dryRun=All");
            (!world.try_send(&Method::POST, &path, &probe).await).then_some(())
        })
        .await;
        one_is_unverified(&mut world, code).await;
    }
}

#[tokio::test]
async fn kinds_that_may_not_be_listed_are_named_when_a_namespace_goes() {
    for (resource, kind, is_known) in
        [("serviceaccounts", "ServiceAccount", true), ("persistentvolumeclaims", "", false)]
    {
        let mut world = simulated("unlisted").await;
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "gone"}});
        world.want(&[namespace]);
        world.apply().await;
        world.want(&[]);
        world.sandbox.as_ref().unwrap().fault(Fault::Refuse {
            matching: Matching {
                verb: Some("list".to_owned()),
                resource: Some(resource.to_owned()),
                ..Matching::default()
            },
            code: 403,
            reason: "Forbidden".to_owned(),
            message: format!("{resource} is forbidden: User \"agent\" cannot list resource"),
            times: 1,
        });
        let set = world.diff().await;
        if is_known {
            assert_eq!(set.changes[0].warnings, [format!("CLUSTER/NOT_LISTED: {kind}")]);
        } else {
            assert_eq!(
                (set.changes.len(), set.gaps[0].gap.code.as_str()),
                (0, "CLUSTER/FORBIDDEN")
            );
        }
    }
}

#[tokio::test]
async fn a_quota_refuses_before_anybody_approves() {
    let mut world = simulated("quota").await;
    says(&world, 403, QUOTA);
    world.want(&[config_map("web", &json!({}))]);
    refused_by_quota(&world.diff().await);
    let Some(mut world) = real("quota").await else { return };
    let quotas = format!("/api/v1/namespaces/{}/resourcequotas", world.namespace);
    let quota = json!({"metadata": {"name": "none"}, "spec": {"hard": {"count/configmaps": "0"}}});
    world.send(&Method::POST, &quotas, &quota).await;
    world.want(&[config_map("web", &json!({}))]);
    // The server takes a moment to know its quotas.
    let set = until(|| async {
        let set = world.diff().await;
        (!set.gaps.is_empty()).then_some(set)
    })
    .await;
    refused_by_quota(&set);
}

fn refused_by_quota(set: &ChangeSet) {
    assert!(set.changes.is_empty(), "{set:#?}");
    assert_eq!((set.gaps[0].gap.code.as_str(), set.gaps[0].refused), ("CLUSTER/INVALID", true));
    assert!(set.gaps[0].gap.message.contains("quota"), "{set:#?}");
}

#[tokio::test]
async fn a_kind_that_discovery_cannot_tell_is_not_gone_and_stops_no_other() {
    let Some(mut world) = real("discovery").await else { return };
    // An API whose service is not there, as when the metrics server is down.
    let name = "v1.broken.example";
    let service = json!({"metadata": {"name": name}, "spec": {"group": "broken.example", "version": "v1",
        "groupPriorityMinimum": 100, "versionPriority": 1, "insecureSkipTLSVerify": true,
        "service": {"name": "none", "namespace": world.namespace}}});
    let path = "/apis/apiregistration.k8s.io/v1/apiservices";
    world.send(&Method::POST, path, &service).await;
    let status = || async {
        let request = Request::get("/apis/broken.example/v1").body(Body::empty()).unwrap();
        world.client.send(request).await.unwrap().status().as_u16()
    };
    until(|| async { (status().await == 503).then_some(()) }).await;
    let thing = json!({"apiVersion": "broken.example/v1", "kind": "Thing", "metadata": {"name": "a", "namespace": "NS"}});
    world.want(&[thing]);
    let ours = world.desired.objects[0].reference.clone();
    let entry = InventoryEntry {
        api_version: "broken.example/v1".to_owned(),
        uid: Some("1".to_owned()),
        adopted: None,
        kept: false,
        applied: None,
        owner: owner(),
    };
    world.inventory.entries.insert(ours.clone(), entry);
    world.want(&[config_map("web", &json!({}))]);
    let set = world.diff().await;
    world.send(&Method::DELETE, &format!("{path}/{name}"), &Value::Null).await;
    assert_eq!(set.changes.len(), 1, "{set:#?}");
    assert_eq!(
        (set.changes[0].action, set.changes[0].confidence),
        (Action::Create, Confidence::Exact)
    );
    assert_eq!(set.gaps.len(), 1, "{set:#?}");
    assert_eq!((set.gaps[0].object.as_ref(), set.gaps[0].refused), (Some(&ours), false));
}

#[tokio::test]
async fn warnings_of_the_server_are_part_of_the_preview() {
    let Some(mut world) = real("warnings").await else { return };
    // Deprecated since 1.19, served until 1.22.
    let ingress = of_kind(
        "networking.k8s.io/v1beta1",
        "Ingress",
        &json!({"spec": {
        "backend": {"serviceName": "web", "servicePort": 80}}}),
    );
    world.want(&[ingress]);
    let set = world.diff().await;
    if let Some(change) = set.changes.first() {
        assert!(change.warnings.iter().any(|it| it.contains("deprecated")), "{change:#?}");
    } else {
        assert_eq!(set.gaps[0].gap.code, "CLUSTER/VERSION_NOT_SERVED", "a newer server");
    }
}

#[tokio::test]
async fn an_object_that_is_too_large_is_refused_by_name() {
    let Some(mut world) = real("large").await else { return };
    let large = config_map("large", &json!({"a": "x".repeat(4 << 20)}));
    world.want(&[large, config_map("web", &json!({}))]);
    let set = world.diff().await;
    assert_eq!(set.changes.len(), 1, "{:?}", set.gaps);
    let gap = &set.gaps[0];
    assert_eq!((gap.gap.code.as_str(), gap.refused), ("CLUSTER/INVALID", true));
    assert_eq!(gap.object.as_ref().unwrap().name, "large");
}
