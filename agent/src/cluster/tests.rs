//! One cluster against a sandbox: definitions that come and go, objects that are handed over, a server that is busy.

use jiff::Timestamp;
use serde_json::{Value, json};
use tidegate_core::desired::{DesiredObject, Layer, Owner};
use tidegate_core::diff::REPLACE_ANNOTATION;
use tidegate_core::live::{ClusterObservation, InventoryEntry, Prediction};
use tidegate_core::object::SITE_LABEL;
use tidegate_core::progress::{Basis, Version};
use tidegate_core::run::RunOutcome;
use tidegate_sandbox::fault::{Fault, Matching};
use tidegate_sandbox::{Options, Sandbox};

use super::*;

const NAME: &str = "room-a";

fn start() -> (Sandbox, Cluster) {
    let sandbox = Sandbox::start(Options::default()).unwrap();
    let cluster = Cluster::of_client(NAME, "hz", client_of_sandbox(&sandbox));
    (sandbox, cluster)
}

fn config_map(data: &Value) -> Object {
    Object::new(json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "web", "namespace": "default"}, "data": data}))
}

fn definition() -> Object {
    Object::new(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.org"},
        "spec": {
            "group": "example.org", "scope": "Namespaced",
            "names": {"kind": "Widget", "plural": "widgets", "singular": "widget", "listKind": "WidgetList"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
        },
    }))
}

fn widget() -> Object {
    Object::new(json!({"apiVersion": "example.org/v1", "kind": "Widget",
        "metadata": {"name": "w", "namespace": "default"}, "spec": {"size": 1}}))
}

fn owner() -> Owner {
    Owner {
        solution: None,
        product: None,
        app: None,
        scaling_group: None,
        access: None,
        layer: Layer::Support,
    }
}

fn desired(body: &Object) -> DesiredObject {
    DesiredObject::new(body.reference(NAME), body, owner(), None)
}

/// Applies as it is, whatever is there.
async fn apply(cluster: &Cluster, object: &Object) -> Result<Object, EffectFailure> {
    cluster.apply(object, &Terms::none(), &|_| None).await
}

/// What the inventory has of an object before it is applied.
fn entry(body: &Object) -> InventoryEntry {
    InventoryEntry {
        api_version: body.api_version().to_owned(),
        uid: None,
        applied: None,
        owner: owner(),
        kept: false,
        adopted: None,
    }
}

/// Applies until the server takes it: what is transient may be tried again.
async fn applied(cluster: &Cluster, object: &Object) -> Object {
    for _ in 0..600 {
        match apply(cluster, object).await {
            Ok(applied) => return applied,
            Err(failure) => assert!(failure.is_transient, "{failure:?}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("{object:?} is never taken");
}

async fn data(cluster: &Cluster) -> Value {
    let answer = cluster.send(Verb::Get, "/api/v1/namespaces/default/configmaps/web", None).await;
    answer.unwrap().body["data"].clone()
}

#[tokio::test(start_paused = true)]
async fn what_kubectl_applied_is_handed_over_and_no_key_is_left_over() {
    let (_sandbox, cluster) = start();
    let theirs = config_map(&json!({"kept": "1", "left-over": "2"}));
    let path = "/api/v1/namespaces/default/configmaps?fieldManager=kubectl-client-side-apply";
    cluster.send(Verb::Create, path, Some(theirs.value())).await.unwrap();
    let ours = config_map(&json!({"kept": "1"}));
    apply(&cluster, &ours).await.unwrap();
    assert_eq!(data(&cluster).await, json!({"kept": "1", "left-over": "2"}), "nobody's to remove");
    let before = data(&cluster).await;
    let handed = cluster.hand_over(&ours.reference(NAME), "v1", None).await.unwrap();
    assert_eq!(handed.get("/data"), Some(&before), "handing over changes nothing");
    apply(&cluster, &ours).await.unwrap();
    assert_eq!(data(&cluster).await, json!({"kept": "1"}));
}

#[tokio::test(start_paused = true)]
async fn a_definition_comes_before_its_objects_goes_and_comes_back() {
    let (_sandbox, cluster) = start();
    assert!(
        apply(&cluster, &widget()).await.unwrap_err().is_transient,
        "its kind is not there yet"
    );
    let made = applied(&cluster, &definition()).await;
    applied(&cluster, &widget()).await;
    // It goes, with all of its kind, and comes back.
    let reference = definition().reference(NAME);
    cluster
        .delete(&reference, "apiextensions.k8s.io/v1", made.uid(), Propagation::Background)
        .await
        .unwrap();
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.org";
    while cluster.send(Verb::Get, path, None).await.is_ok() {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!(apply(&cluster, &widget()).await.unwrap_err().is_transient);
    applied(&cluster, &definition()).await;
    applied(&cluster, &widget()).await;
}

#[tokio::test(start_paused = true)]
async fn a_definition_that_nobody_wants_is_seen_with_the_objects_of_its_kind() {
    let (_sandbox, cluster) = start();
    applied(&cluster, &definition()).await;
    applied(&cluster, &widget()).await;
    let entry = entry(&definition());
    let reference = definition().reference(NAME);
    let observed = cluster.observe(&[], &[(&reference, &entry)], Timestamp::UNIX_EPOCH).await;
    assert_eq!(observed.gap, None);
    assert_eq!(observed.objects[&reference].holds, [widget().reference(NAME)]);
}

#[tokio::test(start_paused = true)]
async fn what_keeps_a_definition_is_not_listed_in_each_round() {
    let (sandbox, cluster) = start();
    let mut ours = definition();
    ours.set(&["metadata", "labels"], json!({SITE_LABEL: "hz"}));
    let ours = applied(&cluster, &ours).await;
    let entry = entry(&definition());
    let reference = ours.reference(NAME);
    let lists = || sandbox.requests().by_verb.get("list").copied().unwrap_or_default();
    let look = || async {
        let before = lists();
        let inventory = [(&reference, &entry)];
        let observed = cluster.observe(&[], &inventory, Timestamp::UNIX_EPOCH).await;
        (observed.objects[&reference].holds.len(), lists() - before)
    };
    look().await;
    // What would go with the next plan is asked for each time.
    assert_eq!(look().await, (0, 1));
    let mut theirs = widget();
    theirs.set(&["metadata", "name"], json!("theirs"));
    applied(&cluster, &theirs).await;
    assert_eq!(look().await, (1, 1));
    assert_eq!(look().await, (1, 0), "it stays anyway");
    tokio::time::sleep(std::time::Duration::from_mins(11)).await;
    assert_eq!(look().await, (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_change_that_waits_is_not_tried_in_each_round() {
    let (sandbox, cluster) = start();
    apply(&cluster, &config_map(&json!({"a": "1"}))).await.unwrap();
    let (object, new) = (desired(&config_map(&json!({"a": "2"}))), config_maps(1, "default", "1"));
    let tries = || sandbox.requests().by_verb.get("patch").copied().unwrap_or_default();
    let look = || async {
        let before = tries();
        let seen = cluster.observe(&[&object, &new[0]], &[], Timestamp::UNIX_EPOCH).await;
        let predicted = |object: &DesiredObject| {
            let predicted = &seen.objects[&object.reference].predicted;
            let Prediction::Exact(predicted) = predicted else { panic!("{predicted:?}") };
            predicted.read().get("/data").cloned().unwrap_or_default()
        };
        assert_eq!(
            (predicted(&object), predicted(&new[0])),
            (json!({"a": "2"}), json!({"key": "1"}))
        );
        tries() - before
    };
    assert_eq!(look().await, 2);
    assert_eq!(look().await, 0, "nothing has changed");
    edit(&cluster, &json!({"a": "3"})).await;
    assert_eq!(look().await, 2, "without force, and with");
    // The same values, and one more who has set them.
    let path = "/api/v1/namespaces/default/configmaps/web?fieldManager=others";
    let same = config_map(&json!({"a": "3"}));
    cluster.send(Verb::Apply, path, Some(same.value())).await.unwrap();
    assert_eq!(look().await, 2);
    tokio::time::sleep(std::time::Duration::from_mins(6)).await;
    assert_eq!(look().await, 3);
}

#[tokio::test(start_paused = true)]
async fn a_busy_server_is_asked_again_after_the_time_that_it_names_and_not_for_ever() {
    let (sandbox, cluster) = start();
    let busy = |times| Fault::Refuse {
        matching: Matching { resource: Some("configmaps".to_owned()), ..Matching::default() },
        code: 429,
        reason: "TooManyRequests".to_owned(),
        message: "too many".to_owned(),
        times,
    };
    sandbox.fault(busy(2));
    let began = tokio::time::Instant::now();
    apply(&cluster, &config_map(&json!({"a": "1"}))).await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 2);
    sandbox.fault(busy(3));
    let failure = apply(&cluster, &config_map(&json!({"a": "2"}))).await.unwrap_err();
    assert_eq!((failure.code.as_str(), failure.is_transient), ("CLUSTER/BUSY", true));
}

/// The server gives a write 34 s at the most, and a webhook 30 of them: would we wait less long, one webhook that hangs would
/// hold the whole cluster.
#[tokio::test(start_paused = true)]
async fn a_webhook_that_takes_as_long_as_it_may_is_named_and_the_server_is_not_gone() {
    let (sandbox, cluster) = start();
    let matching = Matching { verb: Some("patch".to_owned()), ..Matching::default() };
    let latency = std::time::Duration::from_secs(34);
    sandbox.fault(Fault::Delay { matching: matching.clone(), latency, times: 1 });
    sandbox.fault(Fault::Refuse {
        matching,
        code: 500,
        reason: "InternalError".to_owned(),
        message: "Internal error occurred: failed calling webhook \"a.example\": Post \"https://a/\": context deadline exceeded".to_owned(),
        times: 1,
    });
    let began = tokio::time::Instant::now();
    let failure = apply(&cluster, &config_map(&json!({"a": "1"}))).await.unwrap_err();
    assert_eq!((failure.code.as_str(), failure.is_transient), ("CLUSTER/WEBHOOK_SILENT", true));
    assert!(began.elapsed() >= latency);
}

/// What the server says of changing what cannot change, in an object that may be replaced.
async fn prediction(cluster: &Cluster, immutable: &Value) -> Prediction {
    let service = |spec: &Value| {
        Object::new(json!({"apiVersion": "v1", "kind": "Service", "spec": spec, "metadata": {
            "name": "web", "namespace": "default", "annotations": {REPLACE_ANNOTATION: "enabled"}}}))
    };
    applied(
        cluster,
        &service(&json!({"clusterIP": "None", "ports": [{"port": 80, "protocol": "TCP"}]})),
    )
    .await;
    let wanted = desired(&service(immutable));
    let mut observed = cluster.observe(&[&wanted], &[], Timestamp::UNIX_EPOCH).await;
    assert_eq!(observed.gap, None);
    observed.objects.remove(&wanted.reference).unwrap().predicted
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_made_anew_is_no_replacement() {
    let (_sandbox, cluster) = start();
    let good = json!({"clusterIP": "10.96.0.77", "ports": [{"port": 80, "protocol": "TCP"}]});
    let Prediction::Refused(gap) = prediction(&cluster, &good).await else { panic!("taken") };
    assert_eq!(gap.code, "CLUSTER/IMMUTABLE", "{gap:?}");
    // A webhook that would refuse the new one.
    let (sandbox, cluster) = start();
    sandbox.fault(Fault::Refuse {
        matching: Matching { verb: Some("create".to_owned()), ..Matching::default() },
        code: 403,
        reason: "Forbidden".to_owned(),
        message: "exceeded quota".to_owned(),
        times: 1,
    });
    let told = prediction(&cluster, &good).await;
    assert!(
        !matches!(&told, Prediction::Refused(gap) if gap.code == "CLUSTER/IMMUTABLE"),
        "{told:?}"
    );
}

/// Config maps of one namespace, as many as asked for.
fn config_maps(count: usize, namespace: &str, value: &str) -> Vec<DesiredObject> {
    (0..count)
        .map(|index| {
            desired(&Object::new(json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": format!("c{index}"), "namespace": namespace,
                    "labels": {SITE_LABEL: "hz"}},
                "data": {"key": value}})))
        })
        .collect()
}

/// Requests by verb while these are observed by an agent that knows nothing yet.
async fn observed_afresh(
    sandbox: &Sandbox,
    desired: &[DesiredObject],
) -> (ClusterObservation, BTreeMap<String, u64>) {
    let cluster = Cluster::of_client(NAME, "hz", client_of_sandbox(sandbox));
    let before = sandbox.requests();
    let objects: Vec<&DesiredObject> = desired.iter().collect();
    let observation = cluster.observe(&objects, &[], Timestamp::UNIX_EPOCH).await;
    let spent = |(verb, count): (String, u64)| {
        (verb.clone(), count - before.by_verb.get(&verb).copied().unwrap_or_default())
    };
    (observation, sandbox.requests().by_verb.into_iter().map(spent).collect())
}

#[tokio::test(start_paused = true)]
async fn what_is_in_place_is_told_from_the_watches_without_a_dry_run() {
    let (sandbox, cluster) = start();
    let objects = config_maps(20, "default", "1");
    for object in &objects {
        applied(&cluster, &object.body()).await;
    }
    let (observation, spent) = observed_afresh(&sandbox, &objects).await;
    assert_eq!(observation.objects.len(), 20);
    assert_eq!(spent.get("patch").copied().unwrap_or_default(), 0, "{spent:?}");
    let changed = config_maps(20, "default", "2");
    let mixed: Vec<_> = changed.into_iter().take(3).chain(objects.into_iter().skip(3)).collect();
    let (observation, spent) = observed_afresh(&sandbox, &mixed).await;
    assert_eq!(spent["patch"], 3, "only what changes is asked for: {spent:?}");
    for (object, expected) in mixed.iter().zip(["2", "2", "2", "1"]) {
        let predicted = &observation.objects[&object.reference].predicted;
        let value = if let Prediction::Exact(predicted) = predicted {
            predicted.read().text("/data/key").to_owned()
        } else {
            assert!(matches!(predicted, Prediction::InPlace), "{predicted:?}");
            "1".to_owned()
        };
        assert_eq!(value, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn objects_that_do_not_exist_are_looked_for_together() {
    let (sandbox, _) = start();
    let (observation, spent) = observed_afresh(&sandbox, &config_maps(20, "default", "1")).await;
    assert!(observation.objects.values().all(|it| it.live.is_none()));
    assert!(spent["get"] < 10, "{spent:?}");
    // What somebody made without our label is found all the same.
    let mut theirs = config_maps(1, "default", "theirs")[0].body();
    theirs.set(&["metadata", "labels"], json!({}));
    let cluster = Cluster::of_client(NAME, "hz", client_of_sandbox(&sandbox));
    let path = "/api/v1/namespaces/default/configmaps";
    cluster.send(Verb::Create, path, Some(theirs.value())).await.unwrap();
    let objects = config_maps(20, "default", "1");
    let (observation, _) = observed_afresh(&sandbox, &objects).await;
    let live = observation.objects[&objects[0].reference].live().unwrap();
    assert_eq!(live.text("/data/key"), "theirs");
    assert!(observation.objects[&objects[1].reference].live.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_comes_with_the_change_is_asked_for_once() {
    let (sandbox, _) = start();
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "new"}});
    let mut objects = config_maps(20, "new", "1");
    objects.push(desired(&Object::new(namespace)));
    let (observation, spent) = observed_afresh(&sandbox, &objects).await;
    let is_simulated = |object: &DesiredObject| {
        matches!(observation.objects[&object.reference].predicted, Prediction::Simulated(_))
    };
    assert!(objects.iter().take(20).all(is_simulated));
    assert!(spent["get"] < 10, "{spent:?}");
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_may_not_be_listed_delays_nobody_and_wakes_nobody_for_ever() {
    let (sandbox, mut cluster) = start();
    let matching = Matching {
        verb: Some("list".to_owned()),
        resource: Some("configmaps".to_owned()),
        ..Matching::default()
    };
    sandbox.fault(Fault::Refuse {
        matching,
        code: 403,
        reason: "Forbidden".to_owned(),
        message: "configmaps is forbidden".to_owned(),
        times: u32::MAX,
    });
    let mut changes = cluster.take_changes().unwrap();
    let (object, began) = (desired(&config_map(&json!({"a": "b"}))), tokio::time::Instant::now());
    let observation = cluster.observe(&[&object], &[], Timestamp::UNIX_EPOCH).await;
    assert_eq!((observation.gap, observation.objects.len()), (None, 1));
    let minute = std::time::Duration::from_mins(1);
    assert!(began.elapsed() < minute / 10, "nobody waits for a list that does not come");
    tokio::time::sleep(minute).await;
    changes.mark_unchanged();
    let tried = sandbox.requests().by_verb["list"];
    tokio::time::sleep(minute * 10).await;
    assert!(sandbox.requests().by_verb["list"] > tried, "it is still tried");
    assert!(!changes.has_changed().unwrap(), "that it may not be listed is no news any more");
}

/// What may not be looked at around a change is unknown, and no reason to say nothing of the change.
#[tokio::test(start_paused = true)]
async fn what_may_not_be_looked_at_around_a_change_is_unknown_and_asked_again_after_a_while() {
    let (sandbox, cluster) = start();
    let body = |image: &str| {
        let labels = json!({"app": "web"});
        Object::new(json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "default", "labels": {SITE_LABEL: "hz"}},
            "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
                "spec": {"containers": [{"name": "web", "image": image}]}}}}))
    };
    applied(&cluster, &body("web:1")).await;
    let forbidden = Fault::Refuse {
        matching: Matching {
            resource: Some("horizontalpodautoscalers".to_owned()),
            ..Matching::default()
        },
        code: 403,
        reason: "Forbidden".to_owned(),
        message: "horizontalpodautoscalers is forbidden: User \"tidegate\" cannot list resource \"horizontalpodautoscalers\"".to_owned(),
        times: 1,
    };
    sandbox.fault(forbidden);
    let changed = desired(&body("web:2"));
    let look = async || cluster.observe(&[&changed], &[], Timestamp::UNIX_EPOCH).await;
    let observation = look().await;
    assert_eq!((observation.gap, observation.gaps.len()), (None, 0));
    let unknown = observation.around.unknown;
    assert_eq!(unknown["horizontalpodautoscalers"].code, "CLUSTER/FORBIDDEN");
    assert!(!look().await.around.unknown.is_empty(), "not at once");
    tokio::time::sleep(std::time::Duration::from_mins(2)).await;
    assert!(look().await.around.unknown.is_empty());
}

/// What a look gave is what a write counts on.
fn terms(live: Option<&Object>) -> Terms {
    let seen = live.map(|live| Version {
        uid: live.uid().to_owned(),
        resource_version: live.resource_version().to_owned(),
    });
    Terms {
        seen,
        takes: Takes::Approved { conflicts: Vec::new(), decided: &[] },
        basis: Basis::default(),
    }
}

/// Somebody else changes the config map.
async fn edit(cluster: &Cluster, data: &Value) -> Object {
    let path = "/api/v1/namespaces/default/configmaps/web?fieldManager=them&force=true";
    let body = config_map(data);
    Object::new(cluster.send(Verb::Apply, path, Some(body.value())).await.unwrap().body)
}

#[tokio::test(start_paused = true)]
async fn what_changes_between_look_and_write_is_looked_at_again_and_never_overwritten() {
    let (sandbox, cluster) = start();
    let first = apply(&cluster, &config_map(&json!({"ours": "1"}))).await.unwrap();
    edit(&cluster, &json!({"theirs": "1"})).await;
    let wanted = config_map(&json!({"ours": "2"}));
    // Nobody knows of the edit; it concerns nothing of ours.
    let before = sandbox.requests();
    let same = |live: Option<&Object>| Some(terms(live));
    cluster.apply(&wanted, &terms(Some(&first)), &same).await.unwrap();
    let after = sandbox.requests();
    assert_eq!(data(&cluster).await, json!({"ours": "2", "theirs": "1"}));
    let more = |verb: &str| after.by_verb[verb] - before.by_verb.get(verb).copied().unwrap_or(0);
    assert_eq!((more("patch"), more("get")), (2, 1), "one more look and write");
    // It does concern what was approved.
    let failure = cluster.apply(&wanted, &terms(Some(&first)), &|_| None).await.unwrap_err();
    assert_eq!((&*failure.code, failure.is_transient), ("APPROVAL/LIVE_CHANGED", true));
}

#[tokio::test(start_paused = true)]
async fn an_object_that_changes_all_the_time_is_left_alone_after_a_few_looks() {
    let (sandbox, cluster) = start();
    let first = apply(&cluster, &config_map(&json!({"ours": "1"}))).await.unwrap();
    edit(&cluster, &json!({"theirs": "1"})).await;
    let before = sandbox.requests().by_verb["patch"];
    let wanted = config_map(&json!({"ours": "2"}));
    let late = |_: Option<&Object>| Some(terms(Some(&first)));
    let failure = cluster.apply(&wanted, &terms(Some(&first)), &late).await.unwrap_err();
    assert_eq!((&*failure.code, failure.is_transient), ("CLUSTER/CONFLICT", true));
    assert_eq!(sandbox.requests().by_verb["patch"] - before, u64::from(LOOKS) + 1);
    assert_eq!(data(&cluster).await["ours"], "1");
}

#[tokio::test(start_paused = true)]
async fn what_was_made_anew_or_is_gone_is_not_written() {
    let (_sandbox, cluster) = start();
    let first = apply(&cluster, &config_map(&json!({"ours": "1"}))).await.unwrap();
    let reference = first.reference(NAME);
    cluster.delete(&reference, "v1", first.uid(), Propagation::Background).await.unwrap();
    let wanted = config_map(&json!({"ours": "2"}));
    let looked = Mutex::new(Vec::new());
    let nothing = |live: Option<&Object>| {
        looked.lock().unwrap().push(live.map(|live| live.uid().to_owned()));
        None
    };
    cluster.apply(&wanted, &terms(Some(&first)), &nothing).await.unwrap_err();
    let successor = edit(&cluster, &json!({"theirs": "1"})).await;
    // Even at the version that it has now.
    let mut seen = successor.clone();
    seen.set(&["metadata", "uid"], json!(first.uid()));
    cluster.apply(&wanted, &terms(Some(&seen)), &nothing).await.unwrap_err();
    assert_eq!(*looked.lock().unwrap(), [None, Some(successor.uid().to_owned())]);
    assert_eq!(data(&cluster).await, json!({"theirs": "1"}));
}

#[tokio::test(start_paused = true)]
async fn only_fields_that_were_approved_are_taken_from_others() {
    let (_sandbox, cluster) = start();
    let live = edit(&cluster, &json!({"a": "theirs", "b": "theirs"})).await;
    let wanted = config_map(&json!({"a": "ours", "b": "ours"}));
    let conflict = |field: &str| tidegate_core::live::Conflict {
        field: field.to_owned(),
        manager: "them".to_owned(),
        since: None,
    };
    let on = |fields: &[&str], live: Option<&Object>| {
        let conflicts = fields.iter().map(|field| conflict(field)).collect();
        Terms { takes: Takes::Approved { conflicts, decided: &[] }, ..terms(live) }
    };
    // Somebody made it while it was thought to be absent.
    for terms in [on(&[], None), on(&[".data.a"], Some(&live))] {
        let failure = cluster.apply(&wanted, &terms, &|_| None).await.unwrap_err();
        let fields: Vec<_> = failure.conflicts.iter().map(|it| it.field.as_str()).collect();
        assert_eq!(fields, [".data.a", ".data.b"]);
        assert!(failure.is_transient && failure.conflicts.iter().all(|it| it.manager == "them"));
        assert_eq!(data(&cluster).await, json!({"a": "theirs", "b": "theirs"}));
    }
    let all = on(&[".data.a", ".data.b"], Some(&live));
    cluster.apply(&wanted, &all, &|_| None).await.unwrap();
    assert_eq!(data(&cluster).await, json!({"a": "ours", "b": "ours"}));
}

/// A pod of the site, of a set that is called `web`.
fn pod(name: &str) -> Object {
    Object::new(json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "web", SITE_LABEL: "hz"}},
        "spec": {"containers": [{"name": "web", "image": "shop/web:1"}]}}))
}

#[tokio::test]
async fn pods_are_waited_for_by_a_watch_and_counted_by_the_server() {
    let (sandbox, cluster) = start();
    let workload = Object::new(json!({"apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web", SITE_LABEL: "hz"}}}}}));
    let reference = workload.reference(NAME);
    let create = async |name: &str| {
        let path = "/api/v1/namespaces/default/pods";
        cluster.send(Verb::Create, path, Some(pod(name).value())).await.unwrap();
    };
    let names = async |told: Told| -> Vec<String> {
        let found = cluster.pods(&[(&reference, &workload)], told).await.unwrap();
        found[&reference].iter().map(|pod| pod.name.clone()).collect()
    };
    create("web-0").await;
    assert_eq!(names(Told::ByWatch).await, ["web-0"]);
    let before = sandbox.requests().total();
    create("web-1").await;
    while names(Told::ByWatch).await.len() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(sandbox.requests().total() - before, 1, "the pod that was made, and no list");
    assert_eq!(names(Told::ByServer).await, ["web-0", "web-1"]);
    assert_eq!(sandbox.requests().total() - before, 2);
    // A watch that cannot be taken up again leaves the list.
    sandbox.fault(Fault::Refuse {
        matching: Matching { verb: Some("watch".to_owned()), ..Matching::default() },
        code: 403,
        reason: "Forbidden".to_owned(),
        message: "no".to_owned(),
        times: 100,
    });
    sandbox.fault(Fault::DropWatches);
    create("web-2").await;
    while names(Told::ByWatch).await.len() < 3 {
        tokio::task::yield_now().await;
    }
    cluster.end_watch_over_pods();
}

/// A Job that has ended, and its reference.
async fn ended_job(cluster: &Cluster, image: &str) -> ObjectRef {
    let job = Object::new(json!({"apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "smoke", "namespace": "default"},
        "spec": {"backoffLimit": 1, "template": {"spec": {"restartPolicy": "Never",
            "containers": [{"name": "smoke", "image": image}]}}}}));
    apply(cluster, &job).await.unwrap();
    let reference = job.reference(NAME);
    for _ in 0..600 {
        let live = cluster.job(&reference).await.unwrap().unwrap();
        if live.condition("Complete").or(live.condition("Failed")).is_some() {
            return reference;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the Job never ends");
}

#[tokio::test(start_paused = true)]
async fn of_a_task_each_pod_is_kept_with_what_it_wrote() {
    let (_sandbox, cluster) = start();
    let reference = ended_job(&cluster, "smoke:1-crash").await;
    let (run, logs) = cluster.run("s", &reference).await;
    assert_eq!((run.outcome, run.reason.as_str()), (RunOutcome::Failed, "BackoffLimitExceeded"));
    assert_eq!((run.pods.len(), logs.len(), run.gaps.len()), (2, 2, 0), "{run:?}");
    assert!(logs.iter().all(|log| log.text.contains("exited with code 1")), "{logs:?}");
    assert!(!run.uid.is_empty() && run.started_at < run.ended_at);
}

/// The release waits for it, so it may neither fail nor hang.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_had_of_a_task_is_said_and_waited_for_a_few_seconds_at_the_most() {
    let (sandbox, cluster) = start();
    let reference = ended_job(&cluster, "smoke:1-job").await;
    let matching = |verb: &str| Matching {
        verb: Some(verb.to_owned()),
        resource: Some("pods".to_owned()),
        namespace: Some("default".to_owned()),
        ..Matching::default()
    };
    let latency = std::time::Duration::from_hours(1);
    sandbox.fault(Fault::Delay { matching: matching("get"), latency, times: 1 });
    let before = tokio::time::Instant::now();
    let (run, logs) = cluster.run("s", &reference).await;
    assert!(before.elapsed() < std::time::Duration::from_secs(20), "{:?}", before.elapsed());
    assert_eq!((run.outcome, run.pods.len(), logs.len()), (RunOutcome::Succeeded, 1, 0));
    assert!(run.gaps[0].message.ends_with("no answer within 5 s"), "{:?}", run.gaps);

    sandbox.fault(Fault::Refuse {
        matching: matching("list"),
        code: 403,
        reason: "Forbidden".to_owned(),
        message: "pods is forbidden: User \"x\" cannot list resource \"pods\"".to_owned(),
        times: 1,
    });
    let (run, logs) = cluster.run("s", &reference).await;
    assert_eq!((run.outcome, run.pods.len(), logs.len()), (RunOutcome::Succeeded, 0, 0));
    assert_eq!(run.gaps[0].code, "CLUSTER/FORBIDDEN");
}
