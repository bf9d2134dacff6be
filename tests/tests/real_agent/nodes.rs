//! Nodes and the end of a product on a real control plane: nodes are cordoned and emptied though the agent is killed, what a
//! person has cordoned stays so; a product goes offline, is deleted, and leaves its claims as orphans.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Client;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::json;
use tidegate::status::Status;
use tidegate_core::plan::TaskKind;
use tidegate_tests::program::TestSite;
use tidegate_tests::real_cluster::RealCluster;

use super::steps::{
    MARIA, OTTO, api, inventory_is_what_exists, planned, rests, settled, shop, storage_class,
    uninstalled, until, write_otto,
};

/// What is destructive waits for Otto; the rest goes at once.
const PRODUCTS: &str = "\
apiVersion: tidegate.dev/v1
kind: ApprovalPolicy
metadata: {name: mostly-open}
spec: {rules: [{when: {risks: [destructive]}, quorum: [{group: platform, count: 1}]}]}
---
apiVersion: tidegate.dev/v1
kind: Group
metadata: {name: platform}
spec: {members: [otto]}
---
apiVersion: tidegate.dev/v1
kind: Person
metadata: {name: maria}
spec: {emails: [maria@shop.example]}
---
apiVersion: tidegate.dev/v1
kind: Product
metadata: {name: base}
spec: {}
---
apiVersion: tidegate.dev/v1
kind: ProductVersion
metadata: {name: base}
spec: {version: 1.0.0, apps: [{name: clock, image: \"clock:1.0.0\", workload: Deployment}]}
---
apiVersion: tidegate.dev/v1
kind: Product
metadata: {name: web}
spec: {}
---
apiVersion: tidegate.dev/v1
kind: ProductVersion
metadata: {name: web}
spec:
  version: 1.0.0
  apps:
    - {name: store, image: \"store:1.0.0\", volumes: [{name: data, path: /data, size: 1Gi}]}
    - {name: front, image: \"front:1.0.0-slow-1s\", workload: Deployment, ports: [{name: http, port: 8080}]}
    - {name: probe, image: \"probe:1.0.0\", workload: DaemonSet}
  sizes:
    - {name: small, apps: {store: {replicas: 2}, front: {replicas: 10}}}
";

fn solution(products: &[&str]) -> String {
    let line = |product: &&str| {
        let size = if *product == "web" { ", size: small" } else { "" };
        format!("    - {{product: {product}, version: 1.0.0{size}}}\n")
    };
    let products: String = products.iter().map(line).collect();
    format!(
        "apiVersion: tidegate.dev/v1\nkind: Solution\nmetadata: {{name: all}}\nspec:\n  products:\n{products}"
    )
}

const DRAIN: &str = "\
apiVersion: tidegate.dev/v1
kind: Operation
metadata: {name: disks}
spec: {action: {drain: {cluster: main, nodes: [node-1, node-2]}}, author: maria, reason: CHG-1}
";

async fn cordoned(client: &Client) -> BTreeSet<String> {
    let nodes: Api<Node> = Api::all(client.clone());
    let nodes = nodes.list(&ListParams::default()).await.unwrap();
    let is_cordoned =
        |node: &&Node| node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true));
    nodes.iter().filter(is_cordoned).map(kube::ResourceExt::name_any).collect()
}

/// Nodes on which pods of the app run.
async fn nodes_of(client: &Client, app: &str) -> Vec<String> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), "web");
    let own = ListParams::default().labels(&format!("app.kubernetes.io/name={app}"));
    let pods = pods.list(&own).await.unwrap();
    let alive = pods.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    alive.filter_map(|pod| pod.spec?.node_name).collect()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_emptied_and_a_product_is_uninstalled_though_the_agent_is_killed() {
    let Some(cluster) = RealCluster::with_controllers() else { return };
    let client = cluster.client().await;
    storage_class(&client, "standard", true).await;
    let mut site = shop(&cluster);
    write_otto(&mut site);
    site.write("products.yaml", PRODUCTS);
    site.write("solution.yaml", &solution(&["base", "web"]));
    site.push(MARIA, "A shop");
    site.start_agent(&[]);
    settled(&mut site).await;
    drained(&mut site, &client).await;
    removed(&mut site, &client).await;
    inventory_is_what_exists(&site, "shop", &[("main", &client)]).await;
    rests(&mut site, &[&cluster]).await;
}

/// Two nodes, of which a person has cordoned the second.
async fn drained(site: &mut TestSite, client: &Client) {
    let by =
        PatchParams { field_manager: Some("kubectl-cordon".to_owned()), ..PatchParams::default() };
    let nodes: Api<Node> = Api::all(client.clone());
    let cordon = Patch::Strategic(json!({"spec": {"unschedulable": true}}));
    nodes.patch("node-2", &by, &cordon).await.unwrap();
    assert!(nodes_of(client, "front").await.contains(&"node-1".to_owned()));
    site.write("disks.yaml", DRAIN);
    site.push(MARIA, "New disks");
    until("node-1 is cordoned", async || cordoned(client).await.contains("node-1")).await;
    site.kill_agent();
    site.start_agent(&[]);
    let is_done = |status: &Status| {
        let mut codes = status.findings.iter().map(|finding| finding.code.as_ref());
        (codes.any(|code| code == "OPERATION/DRAINED") && status.plan.is_none()).then_some(())
    };
    site.see("a drain that is done", is_done).await;
    settled(site).await;
    assert_eq!(cordoned(client).await, names(&["node-1", "node-2"]));
    let front = nodes_of(client, "front").await;
    let is_empty = |name: &str| front.iter().all(|node| node != name);
    assert!(front.len() == 10 && is_empty("node-1") && is_empty("node-2"), "{front:?}");
    assert!(nodes_of(client, "probe").await.contains(&"node-1".to_owned()), "daemons stay");
    site.remove("disks.yaml");
    site.push(MARIA, "Disks are in");
    let is_lifted = async || !cordoned(client).await.contains("node-1");
    until("the cordon of node-1 is lifted", is_lifted).await;
    settled(site).await;
    assert_eq!(cordoned(client).await, names(&["node-2"]), "what a person has set stays");
}

/// The product goes offline; when Otto has looked, it is deleted. Its claims are orphans until it is there again.
async fn removed(site: &mut TestSite, client: &Client) {
    site.write("solution.yaml", &solution(&["base"]));
    site.push(MARIA, "No shop front");
    let plan = planned(site, TaskKind::Uninstall).await;
    site.approve(OTTO, &plan);
    site.see_wait("RELEASE/AWAIT_WAVE_CONFIRM").await;
    for app in ["store", "front", "probe"] {
        assert_eq!(nodes_of(client, app).await, Vec::<String>::new(), "{app}");
    }
    for (kind, name) in [("StatefulSet", "store"), ("Deployment", "front"), ("DaemonSet", "probe")]
    {
        api(client, "web", "apps/v1", kind).get(name).await.unwrap();
    }
    site.kill_agent();
    site.start_agent(&[]);
    uninstalled(site, &plan, OTTO).await;
    let sets = api(client, "web", "apps/v1", "StatefulSet");
    assert!(sets.get_opt("store").await.unwrap().is_none());
    let claims = api(client, "web", "v1", "PersistentVolumeClaim");
    assert_eq!(claims.list(&ListParams::default()).await.unwrap().items.len(), 2);
    let told = site.must(&["orphans"]);
    for part in
        ["PersistentVolumeClaim web/data-store-0", "1Gi", "Namespace web", "web/store 1.0.0"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
    site.write("solution.yaml", &solution(&["base", "web"]));
    site.push(MARIA, "The shop front again");
    let is_back = |status: &Status| {
        let baseline = status.baseline.as_ref()?;
        let is_there = baseline.products.contains_key("web") && status.plan.is_none();
        (is_there && status.orphans.is_empty()).then_some(())
    };
    site.see("the product with its claims", is_back).await;
    settled(site).await;
    assert_eq!(claims.list(&ListParams::default()).await.unwrap().items.len(), 2);
}
