//! Manifests that others wrote for real use, taken as they are: add-ons, databases and a guest book from Kubernetes' own
//! source.

use std::path::Path;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use tidegate_core::plan::TaskKind;
use tidegate_tests::program::TestSite;
use tidegate_tests::real_cluster::{RealCluster, binaries, manifests};

use super::steps::{
    MARIA, OTTO, api, delivered, inventory_is_what_exists, planned, rests, storage_class,
    uninstalled, write_otto,
};

/// The site; where its manifests come from is in `products`.
const SITE: &str = "\
apiVersion: tidegate.dev/v1
kind: Site
metadata: {name: addons}
spec: {title: Add-ons, tier: staging, resourcePrefix: ao, domain: addons.internal, registry: registry.addons.internal}
---
apiVersion: tidegate.dev/v1
kind: Cluster
metadata: {name: main}
spec: {access: {kubeconfig: {path: main.yaml}}, room: r1, zone: z1, region: west}
---
apiVersion: tidegate.dev/v1
kind: ApprovalPolicy
metadata: {name: staging}
spec: {rules: [{quorum: [{group: platform, count: 1}], exclude: [author]}]}
---
apiVersion: tidegate.dev/v1
kind: Group
metadata: {name: platform}
spec: {members: [otto]}
";

/// Products and what of Kubernetes' source each takes, as it is.
const PRODUCTS: &[(&str, &[&str])] = &[
    (
        "addons",
        &[
            "cluster/addons/dashboard",
            "cluster/addons/dns-horizontal-autoscaler",
            "cluster/addons/fluentd-elasticsearch",
            "cluster/addons/metrics-server",
            "cluster/addons/volumesnapshots",
        ],
    ),
    (
        "databases",
        &[
            "test/e2e/testing-manifests/statefulset/cassandra",
            "test/e2e/testing-manifests/statefulset/cockroachdb",
            "test/e2e/testing-manifests/statefulset/etcd",
            "test/e2e/testing-manifests/statefulset/mysql-galera",
            "test/e2e/testing-manifests/statefulset/zookeeper",
        ],
    ),
    ("guestbook", &["test/e2e/testing-manifests/guestbook"]),
];

fn version(product: &str) -> String {
    format!(
        "\
apiVersion: tidegate.dev/v1
kind: Product
metadata: {{name: {product}}}
spec: {{title: {product}, maintainers: [kubernetes]}}
---
apiVersion: tidegate.dev/v1
kind: ProductVersion
metadata: {{name: {product}}}
spec: {{version: 1.20.2, verbatimManifests: [\"manifests/**/*.yaml\"]}}
"
    )
}

fn solution(products: &[&str]) -> String {
    let mut text = "\
apiVersion: tidegate.dev/v1
kind: Solution
metadata: {name: platform}
spec:
  allow: [systemNamespaces]
  products:
"
    .to_owned();
    for product in products {
        text.push_str("    - {product: ");
        text.push_str(product);
        text.push_str(", version: 1.20.2}\n");
    }
    text
}

fn site(source: &Path) -> TestSite {
    let mut site = TestSite::new();
    site.write("site.yaml", SITE);
    write_otto(&mut site);
    for (product, folders) in PRODUCTS {
        let at = format!("catalog/{product}/1.20.2");
        site.write(&format!("{at}/version.yaml"), &version(product));
        for folder in *folders {
            let name = Path::new(folder).file_name().unwrap().to_str().unwrap();
            site.copy(&source.join(folder), &format!("{at}/manifests/{name}"));
        }
    }
    // The aggregator of 1.20 panics at a server-side apply ("FieldManager must be installed to run apply").
    site.remove("catalog/addons/1.20.2/manifests/metrics-server/metrics-apiservice.yaml");
    let all: Vec<&str> = PRODUCTS.iter().map(|(product, _)| *product).collect();
    site.write("solutions/platform.yaml", &solution(&all));
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_of_others_are_delivered_as_they_are() {
    let (Some(_), Some(source)) = (binaries(), manifests()) else { return };
    let cluster = RealCluster::start().unwrap();
    if !cluster.has_controllers() {
        return;
    }
    let client = cluster.client().await;
    storage_class(&client, "standard", true).await;
    let mut site = site(&source);
    site.connect("main.yaml", &cluster.watched_kubeconfig());
    site.push(MARIA, "What we run");
    site.start_agent(&[]);

    let plan = planned(&mut site, TaskKind::Install).await;
    site.approve(OTTO, &plan);
    delivered(&mut site, &plan).await;
    inventory_is_what_exists(&site, "addons", &[("main", &client)]).await;
    rests(&mut site, &[&cluster]).await;

    // What the manifests say is what runs: in their own namespaces, with braces that were never ours.
    let deployment = api(&client, "kube-system", "apps/v1", "Deployment");
    let metrics = deployment.get("metrics-server-v0.3.6").await.unwrap();
    let text = serde_json::to_string(&metrics.data).unwrap();
    assert!(text.contains("{{ base_metrics_server_cpu }}"), "{text}");
    let pods: Api<Pod> = Api::namespaced(client.clone(), "databases");
    let pods = pods.list(&ListParams::default()).await.unwrap();
    assert!(pods.iter().any(|pod| pod.name_any() == "etcd-2"), "three of etcd");

    // One product leaves, with what it brought.
    let services = api(&client, "guestbook", "v1", "Service");
    assert!(services.get_opt("frontend").await.unwrap().is_some());
    site.write("solutions/platform.yaml", &solution(&["addons", "databases"]));
    site.push(MARIA, "No guest book");
    let plan = planned(&mut site, TaskKind::Uninstall).await;
    site.approve(OTTO, &plan);
    uninstalled(&mut site, &plan, OTTO).await;
    assert!(services.get_opt("frontend").await.unwrap().is_none());
    inventory_is_what_exists(&site, "addons", &[("main", &client)]).await;
}
