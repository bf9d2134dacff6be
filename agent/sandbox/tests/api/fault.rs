//! Behaviours on demand, the count of requests, and the state file.

use std::time::Duration;

use serde_json::json;
use tidegate_sandbox::{Fault, Matching, Options};

use crate::bench::{config, start, with};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test(start_paused = true)]
async fn the_next_matching_request_fails_and_the_one_after_does_not() {
    let bench = start();
    bench.sandbox.fault(Fault::Refuse {
        matching: Matching {
            verb: Some("list".into()),
            resource: Some("configmaps".into()),
            ..Matching::default()
        },
        code: 500,
        reason: "InternalError".into(),
        message: "as asked".into(),
        times: 1,
    });
    bench.get("/api/v1/namespaces/default/secrets").await.expect(200);
    let refused = bench.get(MAPS).await;
    assert_eq!(refused.message(), "as asked");
    refused.expect(500);
    bench.get(MAPS).await.expect(200);
}

#[tokio::test(start_paused = true)]
async fn latency_is_waited_for() {
    let bench = start();
    bench.sandbox.fault(Fault::Delay {
        matching: Matching::default(),
        latency: Duration::from_secs(7),
        times: 1,
    });
    let before = tokio::time::Instant::now();
    bench.get(MAPS).await.expect(200);
    assert!(before.elapsed() >= Duration::from_secs(7));
    let before = tokio::time::Instant::now();
    bench.get(MAPS).await.expect(200);
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn writes_can_be_refused_while_reads_go_on() {
    let bench = start();
    bench.sandbox.fault(Fault::RefuseWrites(true));
    bench.post(MAPS, &config("a", &json!({}))).await.expect(503);
    bench.get(MAPS).await.expect(200);
    bench.sandbox.fault(Fault::RefuseWrites(false));
    bench.post(MAPS, &config("a", &json!({}))).await.expect(201);
}

#[tokio::test(start_paused = true)]
async fn requests_are_counted_by_verb_and_watches_apart() {
    let bench = start();
    assert_eq!(bench.sandbox.requests().total(), 0, "the controllers ask nothing");
    bench.post(MAPS, &config("a", &json!({}))).await.expect(201);
    bench.get(MAPS).await.expect(200);
    let _watch = bench.watch(&format!("{MAPS}?watch=true")).await;
    let requests = bench.sandbox.requests();
    assert_eq!((requests.total(), requests.writes(), requests.watches), (2, 1, 1));
    bench.settle().await;
    assert_eq!(bench.sandbox.requests(), requests);
}

#[tokio::test(start_paused = true)]
async fn a_killed_node_is_unreachable_until_it_comes_back() {
    let bench = start();
    let node = "/api/v1/nodes/node-1";
    let is_ready = |node: &serde_json::Value| {
        node["status"]["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .any(|c| c["type"] == "Ready" && c["status"] == "True")
    };
    bench.sandbox.fault(Fault::KillNode("node-1".into()));
    let dead = bench.get(node).await.expect(200);
    assert!(!is_ready(&dead));
    assert_eq!(dead["spec"]["taints"][0]["key"], "node.kubernetes.io/unreachable");
    bench.sandbox.fault(Fault::ReviveNode("node-1".into()));
    let back = bench.get(node).await.expect(200);
    assert!(is_ready(&back) && back["spec"].get("taints").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_state_file_keeps_the_objects_and_their_revisions() {
    let folder = tempfile::tempdir().unwrap();
    let options =
        || Options { state: Some(folder.path().join("state.json")), ..Options::default() };
    let bench = with(options());
    let made = bench.post(MAPS, &config("a", &json!({"k": "v"}))).await.expect(201);
    bench.settle().await;
    drop(bench);
    let bench = with(options());
    let kept = bench.get(&format!("{MAPS}/a")).await.expect(200);
    assert_eq!(kept, made);
    let next = bench.post(MAPS, &config("b", &json!({}))).await.expect(201);
    let number = |value: &serde_json::Value| {
        value["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap()
    };
    assert!(number(&next) > number(&kept));
}
