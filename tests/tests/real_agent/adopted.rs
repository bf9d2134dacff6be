//! What `kubectl apply` made before anybody thought of Tidegate, taken over on a real API server.

use std::process::Command;

use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use tidegate::status::Status;
use tidegate_core::object::FIELD_MANAGER;
use tidegate_tests::real_cluster::{RealCluster, kubectl};

use super::steps::{MARIA, api, rests, settled, shop};

const PRODUCTS: &str = "\
apiVersion: tidegate.dev/v1
kind: ApprovalPolicy
metadata: {name: open}
spec: {rules: []}
---
apiVersion: tidegate.dev/v1
kind: Product
metadata: {name: web}
spec: {}
---
apiVersion: tidegate.dev/v1
kind: ProductVersion
metadata: {name: web}
spec: {version: 1.0.0, manifests: [manifests/*.yaml]}
---
apiVersion: tidegate.dev/v1
kind: Solution
metadata: {name: all}
spec: {products: [{product: web, version: 1.0.0}]}
";

/// As it is wanted.
const SETTINGS: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: blue}
";

/// As it was made years ago.
const THEIRS: &str = "\
apiVersion: v1
kind: Namespace
metadata: {name: web}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: web, labels: {team: retail}}
data: {colour: red, forgotten: 'yes'}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: notes, namespace: web}
data: {a: b}
";

#[tokio::test(flavor = "multi_thread")]
async fn what_kubectl_applied_is_taken_over_without_a_rest_and_nothing_else_is() {
    let Some(kubectl) = kubectl() else { return };
    let Some(cluster) = RealCluster::start_with(0) else { return };
    let client = cluster.client().await;
    let mut site = shop(&cluster);
    site.write("theirs.txt", THEIRS);
    let applied = Command::new(kubectl)
        .args(["apply", "-f", &site.work().join("theirs.txt").display().to_string()])
        .arg("--kubeconfig")
        .arg(cluster.kubeconfig())
        .output()
        .unwrap();
    assert!(applied.status.success(), "{applied:?}");
    let config_maps = api(&client, "web", "v1", "ConfigMap");
    let notes = config_maps.get("notes").await.unwrap();

    site.write("products.yaml", PRODUCTS);
    site.write("manifests/settings.yaml", SETTINGS);
    site.push(MARIA, "What we run");
    site.start_agent(&[]);
    let refused = |status: &Status| {
        let findings = &status.plan.as_ref().filter(|plan| plan.is_refused)?.findings;
        Some(findings.iter().map(|finding| finding.code.to_string()).collect::<Vec<_>>())
    };
    assert_eq!(site.see("a refused plan", refused).await, ["PLAN/OBJECT_EXISTS"]);
    assert_eq!(config_maps.get("settings").await.unwrap().data["data"]["colour"], "red");

    site.must(&["adopt", "ConfigMap/web/settings", "--reason", "CHG-2041", "--as", "maria"]);
    settled(&mut site).await;
    let settings = config_maps.get("settings").await.unwrap();
    assert_eq!(settings.data["data"], json!({"colour": "blue"}), "nothing is left over");
    let managers = settings.metadata.managed_fields.unwrap();
    assert!(managers.iter().all(|it| it.manager.as_deref() == Some(FIELD_MANAGER)), "{managers:?}");
    assert_eq!(config_maps.get("notes").await.unwrap(), notes, "not ours");
    let namespaces: Api<DynamicObject> = api(&client, "", "v1", "Namespace");
    let namespace = namespaces.get("web").await.unwrap();
    assert!(namespace.metadata.labels.is_none_or(|it| !it.contains_key("tidegate.dev/site")));
    let inventory: Value = site.ask("/api/v1/inventory").await.unwrap();
    let entry = &inventory[0]["entry"];
    assert_eq!(entry["adopted"]["by"], "maria", "{inventory}");
    assert_eq!(entry["adopted"]["reason"], "CHG-2041");
    rests(&mut site, &[&cluster]).await;
    let by_hand = PatchParams::apply("kubectl-edit").force();
    let patch = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"},
        "data": {"colour": "green"}});
    config_maps.patch("settings", &by_hand, &Patch::Apply(&patch)).await.unwrap();
    let drifts = |status: &Status| (!status.drift.is_empty()).then_some(());
    site.see("a change by hand of what is ours now", drifts).await;
}
