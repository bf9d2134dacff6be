//! Pods' lives on their nodes, and finding the nodes.

use serde_json::{Value, json};

use super::bench::{Bench, workload};
use crate::conduct::Conduct;
use crate::controller::logs;
use crate::controller::object::{at, condition, items, name, number, set, text};

fn single(image: &str, spec: &Value) -> Bench {
    let mut bench = Bench::new(1);
    bench.create(pod("one", image, spec));
    bench
}

fn pod(called: &str, image: &str, spec: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": called, "namespace": "default", "labels": {"app": called}},
        "spec": {
            "containers": [{"name": "app", "image": image}],
            "restartPolicy": "Always",
        },
    });
    for (field, value) in spec.as_object().unwrap() {
        set(&mut object, &format!("spec/{field}"), value.clone());
    }
    object
}

/// `phase reason restarts` of the only pod.
fn look(bench: &Bench) -> String {
    let pod = bench.find("Pod", "one");
    let status = &items(&pod, "status/containerStatuses")[0];
    let ready = if crate::controller::pod::is_ready(&pod) { "ready" } else { "unready" };
    let reason = text(status, "state/waiting/reason");
    let restarts = number(status, "restartCount").unwrap();
    format!("{} {reason} {ready} {restarts}", text(&pod, "status/phase")).replace("  ", " ")
}

#[test]
fn a_conduct_says_more_than_an_image_and_nothing_of_other_pods() {
    let life = |conducts: Vec<Conduct>| -> Vec<String> {
        let mut bench = Bench::new(1);
        bench.controllers.conducts = conducts;
        bench.create(pod("one", "app:slow-10s", &json!({})));
        let mut before = 0.0;
        let mut look = |moment: f64| {
            bench.advance(moment - before);
            before = moment;
            look(&bench)
        };
        vec![look(9.0), look(11.0), look(39.0), look(41.0)]
    };
    let mark = |value: &str| [("app".to_owned(), value.to_owned())].into();
    let takes = |value, takes| Conduct { labels: mark(value), takes, ..Conduct::default() };
    let (unready, ready) = ("Running unready 0".to_owned(), "Running ready 0".to_owned());
    let as_its_image = vec![unready.clone(), ready.clone(), ready.clone(), ready.clone()];
    assert_eq!(life(Vec::new()), as_its_image);
    assert_eq!(life(vec![takes("two", Some(40))]), as_its_image);
    let slow = vec![unready.clone(), unready.clone(), unready.clone(), ready];
    assert_eq!(life(vec![takes("one", Some(1)), takes("one", Some(40))]), slow);
    let broken = Conduct { is_never_ready: true, ..takes("one", None) };
    assert_eq!(life(vec![takes("one", Some(1)), broken.clone()]), vec![unready; 4]);
    let others = Conduct { annotations: mark("new"), ..broken };
    assert_eq!(life(vec![others]), as_its_image);
}

#[test]
fn images_say_what_becomes_of_a_pod() {
    for (image, moments) in [
        ("app:1", vec![(0.1, "Pending ContainerCreating unready 0"), (1.0, "Running ready 0")]),
        ("app:never-ready", vec![(0.5, "Running unready 0"), (9_999.0, "Running unready 0")]),
        ("app:slow-10s", vec![(9.8, "Running unready 0"), (10.0, "Running ready 0")]),
        ("app:v2-slow-3s", vec![(2.9, "Running unready 0"), (3.0, "Running ready 0")]),
        (
            "app:crash",
            vec![
                (0.5, "Running unready 0"),
                (1.5, "Running CrashLoopBackOff unready 0"),
                (11.5, "Running unready 1"),
                (13.0, "Running CrashLoopBackOff unready 1"),
                (33.0, "Running unready 2"),
                (100_000.0, "Running CrashLoopBackOff unready 336"),
            ],
        ),
        (
            "app:pull-fail",
            vec![
                (0.5, "Pending ErrImagePull unready 0"),
                (2.0, "Pending ImagePullBackOff unready 0"),
                (10.5, "Pending ErrImagePull unready 0"),
                (12.0, "Pending ImagePullBackOff unready 0"),
            ],
        ),
        (
            "app:ready-then-crash",
            vec![
                (1.0, "Running ready 0"),
                (6.5, "Running CrashLoopBackOff unready 0"),
                (17.0, "Running ready 1"),
            ],
        ),
        ("registry.example.com/crash/app:1", vec![(1.0, "Running ready 0")]),
        (
            "registry.example.com:5000/app/crash@sha256:00",
            vec![(2.0, "Running CrashLoopBackOff unready 0")],
        ),
        ("crashlytics:failover", vec![(5.0, "Running ready 0")]),
    ] {
        let mut bench = single(image, &json!({}));
        let begun = bench.now;
        for (moment, expected) in moments {
            let gone = bench.now.duration_since(begun).as_secs_f64();
            bench.advance(moment - gone);
            assert_eq!(look(&bench), expected, "{image} after {moment} s");
        }
    }
}

#[test]
fn a_crash_loop_waits_longer_each_time_and_shows_the_last_run() {
    let mut bench = single("app:crash", &json!({}));
    bench.advance(40.0);
    let pod = bench.find("Pod", "one");
    let status = &items(&pod, "status/containerStatuses")[0];
    assert_eq!(number(status, "lastState/terminated/exitCode"), Some(1));
    assert_eq!(text(status, "lastState/terminated/reason"), "Error");
    let message = text(status, "state/waiting/message");
    assert!(
        message.starts_with("back-off 40s restarting failed container=app pod=one_default("),
        "{message}"
    );
    assert!(!bench.said("BackOff").is_empty());
}

#[test]
fn logs_fit_the_life() {
    let mut bench = single("app:crash", &json!({}));
    bench.settle();
    assert!(logs(&bench.find("Pod", "one"), bench.now).is_empty(), "not started yet");
    bench.advance(5.0);
    let lines = logs(&bench.find("Pod", "one"), bench.now);
    assert!(lines.iter().any(|line| line.contains("ERROR")), "{lines:?}");
    let mut bench = single("app:1", &json!({}));
    bench.advance(5.0);
    let lines = logs(&bench.find("Pod", "one"), bench.now);
    assert!(lines.iter().any(|line| line.contains("listening")), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("ERROR")), "{lines:?}");
}

#[test]
fn a_status_has_what_clients_look_for() {
    let resources = json!({"requests": {"cpu": "100m"}});
    let mut bench = single(
        "app:1",
        &json!({"containers": [
            {"name": "app", "image": "app:1", "resources": resources},
            {"name": "side", "image": "side:1"},
        ]}),
    );
    bench.create(pod("two", "app:1", &json!({})));
    bench.advance(3.0);
    let pod = bench.find("Pod", "one");
    assert_eq!(text(&pod, "status/qosClass"), "Burstable");
    assert_eq!(items(&pod, "status/containerStatuses").len(), 2);
    assert!(text(&pod, "status/podIP").starts_with("10."));
    assert_ne!(text(&pod, "status/podIP"), text(&bench.find("Pod", "two"), "status/podIP"));
    assert_eq!(text(&pod, "status/hostIP"), "192.168.0.1");
    for kind in ["PodScheduled", "Initialized", "ContainersReady", "Ready"] {
        let held = condition(at(&pod, "status"), kind).unwrap();
        assert_eq!(text(held, "status"), "True", "{kind}");
        assert_ne!(text(held, "lastTransitionTime"), "");
    }
    let id = text(&items(&pod, "status/containerStatuses")[0], "imageID");
    assert!(id.starts_with("app@sha256:"), "{id}");
}

#[test]
fn init_containers_come_first_and_can_hold_everything_up() {
    let init = |image: &str| json!({"initContainers": [{"name": "init", "image": image}]});
    let mut bench = single("app:1", &init("init:1"));
    bench.advance(1.2);
    assert_eq!(look(&bench), "Running unready 0");
    bench.advance(0.5);
    assert_eq!(look(&bench), "Running ready 0");
    let mut bench = single("app:1", &init("init:crash"));
    bench.advance(30.0);
    assert_eq!(look(&bench), "Pending PodInitializing unready 0");
    assert_eq!(bench.condition("Pod", "one", "Initialized"), "False/ContainersNotInitialized");
}

#[test]
fn a_probe_delay_delays_readiness() {
    let probe = json!({"initialDelaySeconds": 8});
    let spec = json!({"containers": [{"name": "app", "image": "app:1", "readinessProbe": probe}]});
    let mut bench = single("app:1", &spec);
    bench.advance(8.0);
    assert_eq!(look(&bench), "Running unready 0");
    bench.advance(0.4);
    assert_eq!(look(&bench), "Running ready 0");
}

#[test]
fn a_missing_config_map_keeps_a_pod_from_starting() {
    let volume = json!([{"name": "config", "configMap": {"name": "settings"}}]);
    let mut bench = single("app:1", &json!({"volumes": volume}));
    bench.advance(60.0);
    assert_eq!(look(&bench), "Pending ContainerCreating unready 0");
    assert_eq!(
        bench.said("FailedMount"),
        ["MountVolume.SetUp failed for volume \"config\" : configmap \"settings\" not found"]
    );
    bench.create(json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "settings", "namespace": "default"},
    }));
    bench.advance(5.0);
    assert_eq!(look(&bench), "Running ready 0");
}

#[test]
fn an_image_changed_in_place_restarts_the_container_in_the_same_pod() {
    let mut bench = single("app:1", &json!({}));
    bench.advance(5.0);
    let before = bench.find("Pod", "one");
    bench.edit("Pod", "one", |pod| pod["spec"]["containers"][0]["image"] = json!("app:2"));
    bench.advance(0.5);
    assert_eq!(look(&bench), "Running unready 1");
    bench.advance(5.0);
    assert_eq!(look(&bench), "Running ready 1");
    let after = bench.find("Pod", "one");
    for field in ["metadata/uid", "status/podIP", "spec/nodeName"] {
        assert_eq!(text(&before, field), text(&after, field));
    }
    let id = |pod: &Value| text(&items(pod, "status/containerStatuses")[0], "imageID").to_owned();
    assert_ne!(id(&before), id(&after));
}

#[test]
fn a_deleted_pod_goes_after_a_moment() {
    let mut bench = single("app:1", &json!({}));
    bench.advance(5.0);
    bench.delete("Pod", "one");
    bench.advance(0.5);
    assert!(bench.try_find("Pod", "one").is_some());
    bench.advance(1.0);
    assert!(bench.try_find("Pod", "one").is_none());
}

#[test]
fn a_pod_from_elsewhere_keeps_its_status() {
    let mut bench = Bench::new(1);
    let mut object = pod("one", "app:crash", &json!({"nodeName": "node-1"}));
    set(
        &mut object,
        "status",
        json!({
            "phase": "Running",
            "containerStatuses": [{"name": "app", "image": "docker.io/app:crash", "ready": true}],
        }),
    );
    bench.create(object);
    bench.advance(600.0);
    assert_eq!(bench.writes, 0);
    assert_eq!(text(&bench.find("Pod", "one"), "status/phase"), "Running");
}

#[test]
fn a_silent_node_makes_its_pods_unready_and_loses_them_after_five_minutes() {
    let mut bench = Bench::new(2);
    bench.create(workload("Deployment", "web", "web:1", &json!({"replicas": 2})));
    bench.advance(5.0);
    bench.edit("Node", "node-1", |node| {
        node["status"]["conditions"][3]["status"] = json!("Unknown");
    });
    bench.advance(60.0);
    assert_eq!(bench.ready_pods(), 1);
    assert_eq!(bench.count("Deployment", "web", "readyReplicas"), 1);
    assert_eq!(bench.pods().len(), 2);
    bench.advance(300.0);
    assert_eq!(bench.ready_pods(), 2);
    assert_eq!(bench.pods().len(), 3, "the lost one cannot end");
    bench.edit("Node", "node-1", |node| node["status"]["conditions"][3]["status"] = json!("True"));
    bench.advance(60.0);
    assert_eq!(bench.pods().len(), 2);
    assert!(items(&bench.find("Node", "node-1"), "spec/taints").is_empty());
}

#[test]
fn pods_are_spread_over_the_nodes() {
    let mut bench = Bench::new(3);
    bench.create(workload("Deployment", "web", "web:1", &json!({"replicas": 6})));
    bench.advance(5.0);
    for node in ["node-1", "node-2", "node-3"] {
        let pods = bench.pods();
        assert_eq!(pods.iter().filter(|pod| text(pod, "spec/nodeName") == node).count(), 2);
    }
}

#[test]
fn what_fits_nowhere_is_told_why() {
    let requests = |cpu: &str| {
        let resources = json!({"requests": {"cpu": cpu}});
        json!({"containers": [{"name": "app", "image": "app:1", "resources": resources}]})
    };
    for (spec, message) in [
        (
            requests("9"),
            "0/4 nodes are available: 1 node(s) had untolerated taint {dedicated: db}, 1 node(s) were \
             unschedulable, 2 Insufficient cpu. preemption: 0/4 nodes are available: 2 No preemption \
             victims found for incoming pod, 2 Preemption is not helpful for scheduling.",
        ),
        (
            json!({"nodeSelector": {"disk": "ssd"}}),
            "0/4 nodes are available: 1 node(s) were unschedulable, 3 node(s) didn't match Pod's node \
             affinity/selector. preemption: 0/4 nodes are available: 4 Preemption is not helpful for \
             scheduling.",
        ),
        (
            json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "gone"}}]}),
            "0/4 nodes are available: persistentvolumeclaim \"gone\" not found. preemption: 0/4 nodes \
             are available: 4 Preemption is not helpful for scheduling.",
        ),
    ] {
        let mut bench = Bench::new(4);
        bench.set("Node", "node-1", "spec/unschedulable", json!(true));
        let taint = json!([{"key": "dedicated", "value": "db", "effect": "NoSchedule"}]);
        bench.set("Node", "node-2", "spec/taints", taint);
        bench.settle();
        bench.create(pod("one", "app:1", &spec));
        bench.advance(600.0);
        assert_eq!(bench.condition("Pod", "one", "PodScheduled"), "False/Unschedulable");
        assert_eq!(bench.said("FailedScheduling"), [message]);
        assert_eq!(bench.writes, 0);
    }
}

#[test]
fn pods_of_another_scheduler_are_left_to_it() {
    let mut bench = Bench::new(2);
    bench.create(pod("one", "app:1", &json!({"schedulerName": "nobody"})));
    bench.create(pod("two", "app:1", &json!({"schedulerName": "default-scheduler"})));
    bench.advance(600.0);
    let left = bench.find("Pod", "one");
    assert_eq!(text(&left, "spec/nodeName"), "");
    assert_eq!(bench.condition("Pod", "one", "PodScheduled"), "");
    assert_eq!(text(&bench.find("Pod", "two"), "status/phase"), "Running");
}

#[test]
fn anti_affinity_and_tolerations_are_honoured() {
    let term = json!({
        "labelSelector": {"matchLabels": {"app": "web"}},
        "topologyKey": "kubernetes.io/hostname",
    });
    let far =
        json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}});
    let mut bench = Bench::new(2);
    let spec = json!({"replicas": 3, "template/spec/affinity": far});
    bench.create(workload("Deployment", "web", "web:1", &spec));
    bench.advance(5.0);
    assert_eq!(bench.ready_pods(), 2);
    assert!(
        bench.said("FailedScheduling")[0]
            .contains("2 node(s) didn't match pod anti-affinity rules")
    );

    let mut bench = Bench::new(1);
    let taint = json!([{"key": "dedicated", "value": "db", "effect": "NoSchedule"}]);
    bench.set("Node", "node-1", "spec/taints", taint);
    bench.settle();
    bench.create(pod("one", "app:1", &json!({})));
    let bears = json!([{"key": "dedicated", "operator": "Exists"}]);
    bench.create(pod("two", "app:1", &json!({"tolerations": bears})));
    bench.advance(5.0);
    let ready: Vec<String> = bench
        .pods()
        .iter()
        .filter(|pod| crate::controller::pod::is_ready(pod))
        .map(|pod| name(pod).to_owned())
        .collect();
    assert_eq!(ready, ["two"]);
}
