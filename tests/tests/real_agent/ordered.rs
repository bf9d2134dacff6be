//! A set whose pods change one by one, and a version of it that never becomes ready, on the real controllers: they wait for ever
//! for the broken pod (Kubernetes, "`StatefulSets`", "Forced rollback"), so the agent takes it away.

use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, ListParams};
use tidegate::status::{Condition, Status};
use tidegate_core::release::ReleasePhase;
use tidegate_tests::program::TestSite;
use tidegate_tests::real_cluster::RealCluster;

use super::steps::{MARIA, settled, shop};

const REST: &str = "\
apiVersion: tidegate.dev/v1
kind: ApprovalPolicy
metadata: {name: open}
spec: {rules: []}
---
apiVersion: tidegate.dev/v1
kind: RolloutPolicy
metadata: {name: db}
spec: {groups: {strategy: custom}, beta: false, timeout: 5s, onFailure: pause, appliesTo: {product: db}}
---
apiVersion: tidegate.dev/v1
kind: Product
metadata: {name: db}
spec: {}
";

/// The next version of the database, with this tag.
fn push(site: &TestSite, number: &str, tag: &str) {
    let version = format!(
        "\
apiVersion: tidegate.dev/v1
kind: ProductVersion
metadata: {{name: db}}
spec:
  version: {number}
  apps: [{{name: db, ordered: true, image: 'shop/db:{tag}'}}]
  sizes: [{{name: all, apps: {{db: {{replicas: 3, cpu: 10m, memory: 16Mi}}}}}}]
"
    );
    let solution = format!(
        "apiVersion: tidegate.dev/v1\nkind: Solution\nmetadata: {{name: all}}\nspec: {{products: [{{product: db, version: {number}, size: all}}]}}\n"
    );
    site.write(&format!("{number}.yaml"), &version);
    site.write("solution.yaml", &solution);
    site.push(MARIA, number);
}

/// The tags of the set's pods by their numbers, each with `+` when it is ready.
async fn pods(client: &Client) -> Vec<String> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), "db");
    let mut found = pods.list(&ListParams::default()).await.unwrap().items;
    found.sort_by(|left, right| left.metadata.name.cmp(&right.metadata.name));
    let told = |pod: &Pod| {
        let image = pod.spec.as_ref().unwrap().containers[0].image.clone().unwrap();
        let tag = image.rsplit_once(':').unwrap().1.to_owned();
        let conditions = pod.status.as_ref().and_then(|it| it.conditions.clone());
        let mut conditions = conditions.unwrap_or_default().into_iter();
        let is_ready = conditions.any(|it| it.type_ == "Ready" && it.status == "True");
        format!("{tag}{}", if is_ready { "+" } else { "" })
    };
    found.iter().map(told).collect()
}

async fn stuck(site: &mut TestSite, release: &str) {
    let is_stuck = |status: &Status| {
        let is_open = status.release.as_ref().is_some_and(|it| it.row.id == release);
        (is_open && status.condition == Condition::NeedsPerson).then_some(())
    };
    site.see("a release that needs a person", is_stuck).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordered_set_with_a_broken_pod_is_mended_and_goes_back() {
    let Some(room) = RealCluster::with_controllers() else { return };
    let client = room.client().await;
    let mut site = shop(&room);
    site.write("rest.yaml", REST);
    push(&site, "1.0.0", "1");
    site.start_agent(&[]);
    settled(&mut site).await;
    assert_eq!(pods(&client).await, ["1+", "1+", "1+"]);

    push(&site, "2.0.0", "2-never-ready");
    stuck(&mut site, "r2").await;
    assert_eq!(pods(&client).await, ["1+", "1+", "2-never-ready"]);
    push(&site, "3.0.0", "3");
    settled(&mut site).await;
    assert_eq!(pods(&client).await, ["3+", "3+", "3+"]);

    push(&site, "4.0.0", "4-never-ready");
    stuck(&mut site, "r4").await;
    assert_eq!(pods(&client).await, ["3+", "3+", "4-never-ready"]);
    site.must(&["releases", "rollback", "--as", "maria", "--reason", "INC-1"]);
    let ended = |status: &Status| {
        let row = status.releases.iter().find(|row| row.id == "r4")?;
        row.phase.is_ended().then_some(row.phase)
    };
    assert_eq!(site.see("the end of the release", ended).await, ReleasePhase::RolledBack);
    assert_eq!(pods(&client).await, ["3+", "3+", "3+"]);
}
