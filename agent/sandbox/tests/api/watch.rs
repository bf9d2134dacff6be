//! Watches: from a revision, through selectors, until they are too old or dropped.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate_sandbox::{Fault, Options};

use crate::bench::{config, deployment, start, with};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn pair(kind: &str, name: &str) -> (String, String) {
    (kind.to_owned(), name.to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_watch_shows_what_happened_since_the_list() {
    let bench = start();
    bench.settle().await;
    bench.post(MAPS, &config("a", &json!({}))).await.expect(201);
    let list = bench.get(MAPS).await.expect(200);
    let revision = list["metadata"]["resourceVersion"].as_str().unwrap();
    bench.post(MAPS, &config("b", &json!({}))).await.expect(201);
    let mut watch = bench.watch(&format!("{MAPS}?watch=true&resourceVersion={revision}")).await;
    assert_eq!(watch.seen().await, pair("ADDED", "b"));
    bench.merge(&format!("{MAPS}/a"), &json!({"data": {"k": "v"}})).await.expect(200);
    assert_eq!(watch.seen().await, pair("MODIFIED", "a"));
    bench.delete(&format!("{MAPS}/a")).await.expect(200);
    assert_eq!(watch.seen().await, pair("DELETED", "a"));
}

#[tokio::test(start_paused = true)]
async fn an_object_that_leaves_the_selection_is_gone_for_the_watch() {
    let bench = start();
    let mut object = config("a", &json!({}));
    object["metadata"]["labels"] = json!({"app": "shop"});
    bench.post(MAPS, &object).await.expect(201);
    let mut watch = bench.watch(&format!("{MAPS}?watch=true&labelSelector=app%3Dshop")).await;
    assert_eq!(watch.seen().await, pair("ADDED", "a"));
    bench
        .merge(&format!("{MAPS}/a"), &json!({"metadata": {"labels": {"app": "bank"}}}))
        .await
        .expect(200);
    assert_eq!(watch.seen().await, pair("DELETED", "a"));
}

#[tokio::test(start_paused = true)]
async fn a_watch_from_a_forgotten_revision_gets_410() {
    let bench = with(Options { history: 3, ..Options::default() });
    for number in 0..8 {
        bench.post(MAPS, &config(&format!("c{number}"), &json!({}))).await.expect(201);
    }
    let mut watch = bench.watch(&format!("{MAPS}?watch=true&resourceVersion=2")).await;
    let event = watch.next().await.unwrap();
    assert_eq!(
        (event["type"].as_str(), event["object"]["code"].as_i64()),
        (Some("ERROR"), Some(410))
    );
    assert_eq!(event["object"]["reason"], "Expired");
    assert!(watch.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_quiet_watch_gets_bookmarks_and_ends_in_time() {
    let bench = start();
    bench.settle().await;
    let list = bench.get(MAPS).await.expect(200);
    let revision = list["metadata"]["resourceVersion"].as_str().unwrap();
    let path = format!(
        "{MAPS}?watch=true&resourceVersion={revision}&allowWatchBookmarks=true&timeoutSeconds=90"
    );
    let mut watch = bench.watch(&path).await;
    let event = watch.next().await.unwrap();
    assert_eq!(event["type"], "BOOKMARK");
    assert_eq!(event["object"]["kind"], "ConfigMap");
    assert!(watch.next().await.is_some_and(|event| event["type"] == "BOOKMARK"));
    assert!(watch.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_streaming_list_ends_with_a_marked_bookmark() {
    let bench = start();
    bench.post(MAPS, &config("a", &json!({}))).await.expect(201);
    let path = format!(
        "{MAPS}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&labelSelector=!none"
    );
    let mut watch = bench.watch(&path).await;
    let mut last = watch.next().await.unwrap();
    while last["type"] == "ADDED" {
        last = watch.next().await.unwrap();
    }
    assert_eq!(last["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
}

#[tokio::test(start_paused = true)]
async fn dropped_watches_end_and_new_ones_begin() {
    let bench = start();
    let mut watch = bench
        .watch(&format!("{MAPS}?watch=true&resourceVersion=1&fieldSelector=metadata.name%3Dx"))
        .await;
    bench.sandbox.fault(Fault::DropWatches);
    assert!(watch.next().await.is_none());
    let mut watch =
        bench.watch(&format!("{MAPS}?watch=true&fieldSelector=metadata.name%3Dx")).await;
    bench.post(MAPS, &config("x", &json!({}))).await.expect(201);
    assert_eq!(watch.seen().await, pair("ADDED", "x"));
}

/// The controllers run on another thread here. Writes come at all moments of their turns, and none is slept through. Without
/// pods nothing but a write wakes the controllers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_at_the_end_of_the_controllers_turn_is_seen() {
    let bench = start();
    for round in 0..30_u64 {
        let name = format!("web-{round}");
        bench.post(MAPS, &config(&name, &json!({}))).await.expect(201);
        // The controllers wait for 2 ms before their turn, so sooner or later the second write meets its end.
        let until = Instant::now() + Duration::from_micros(2_000 + round * 60);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        let mut wanted = deployment(&name);
        wanted["spec"]["replicas"] = 0.into();
        bench.post("/apis/apps/v1/namespaces/default/deployments", &wanted).await.expect(201);
        let is_its = |object: &Value| {
            object["kind"] == "ReplicaSet" && object["metadata"]["labels"]["app"] == name.as_str()
        };
        let seen = async {
            while !bench.sandbox.snapshot().iter().any(is_its) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let seen = tokio::time::timeout(Duration::from_secs(10), seen).await;
        assert!(seen.is_ok(), "nobody has seen the deployment of round {round}");
    }
}
