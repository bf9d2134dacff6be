//! What a site goes through, in steps that several sites take; and the shop, whose products each test brings.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{Api, DynamicObject, ListParams, PostParams};
use kube::core::GroupVersionKind;
use kube::discovery::ApiResource;
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use tidegate::status::{Condition, Status};
use tidegate_core::plan::TaskKind;
use tidegate_core::release::ReleasePhase;
use tidegate_tests::program::TestSite;
use tidegate_tests::real_cluster::RealCluster;
use tokio::time::Instant;

pub(crate) const MARIA: (&str, &str) = ("Maria", "maria@shop.example");
pub(crate) const OTTO: &str = "otto";

const SHOP: &str = "\
apiVersion: tidegate.dev/v1
kind: Site
metadata: {name: shop}
spec: {tier: development, resourcePrefix: sh, domain: shop.internal}
---
apiVersion: tidegate.dev/v1
kind: Cluster
metadata: {name: main}
spec: {access: {kubeconfig: {path: main.yaml}}, room: r1, zone: z1, region: west}
";

/// The shop on this cluster, without an approval policy and without products.
pub(crate) fn shop(cluster: &RealCluster) -> TestSite {
    let site = TestSite::new();
    site.write("site.yaml", SHOP);
    site.connect("main.yaml", &cluster.watched_kubeconfig());
    site
}

/// Writes the document of Otto, who approves.
pub(crate) fn write_otto(site: &mut TestSite) {
    let key = site.key_of(OTTO);
    site.write("iam/otto.yaml", &format!("apiVersion: tidegate.dev/v1\nkind: Person\nmetadata: {{name: otto}}\nspec: {{emails: [otto@shop.example], keys: [\"{key}\"]}}\n"));
}

/// Waits until something is so in a cluster.
pub(crate) async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(3);
    while !is_so().await {
        assert!(Instant::now() < deadline, "not seen: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits for a plan with such a task that is not refused, and gives its digest.
pub(crate) async fn planned(site: &mut TestSite, kind: TaskKind) -> String {
    let plan = |status: &Status| {
        let plan = status.plan.as_ref()?;
        let has = plan.tasks.iter().any(|task| task.kind == kind);
        assert!(!has || !plan.is_refused, "refused: {:#?}", plan.findings);
        has.then(|| plan.id.to_string())
    };
    site.see("a plan", plan).await
}

/// Waits until the release of a plan has ended well and nothing is left to do.
pub(crate) async fn delivered(site: &mut TestSite, plan: &str) {
    let ended = |status: &Status| {
        let row = status.releases.iter().find(|row| row.plan.as_str() == plan)?;
        row.phase.is_ended().then_some(row.phase)
    };
    assert_eq!(site.see("the end of the release", ended).await, ReleasePhase::Done);
    settled(site).await;
}

/// Confirms each wave in which products went offline, until the release of a plan has deleted them and ended well.
pub(crate) async fn uninstalled(site: &mut TestSite, plan: &str, by: &str) {
    loop {
        let next = |status: &Status| {
            let row = status.releases.iter().find(|row| row.plan.as_str() == plan)?;
            let release = status.release.as_ref().filter(|it| it.row.plan.as_str() == plan);
            let is_asked = release.is_some_and(|release| {
                release.waits.iter().any(|wait| wait.code == "RELEASE/AWAIT_WAVE_CONFIRM")
            });
            (is_asked || row.phase.is_ended()).then_some(is_asked)
        };
        if !site.see("a wave that waits for its confirmation, or the end", next).await {
            return delivered(site, plan).await;
        }
        // Another round may have to see it; who confirms twice is told so.
        site.run(&["releases", "confirm", "--as", by]);
    }
}

pub(crate) async fn settled(site: &mut TestSite) {
    let is_settled = |status: &Status| {
        (status.condition == Condition::Settled && status.plan.is_none()).then_some(())
    };
    site.see("a settled site with an empty plan", is_settled).await;
}

/// Rounds without a change ask the API server nothing but what the open watches are told.
pub(crate) async fn rests(site: &mut TestSite, clusters: &[&RealCluster]) {
    let seen = |status: &Status| status.updated_at;
    let mut last = site.see("a round", seen).await;
    // What the release left behind, such as the last events of watches, may still make one round ask.
    for round in 0..5 {
        let before: Vec<usize> = clusters.iter().map(|cluster| cluster.requests().len()).collect();
        for _ in 0..3 {
            let later = |status: &Status| status.updated_at.filter(|at| *at > last);
            last = site.see("a later round", later).await;
        }
        let asked: Vec<String> = clusters
            .iter()
            .zip(&before)
            .flat_map(|(cluster, before)| cluster.requests().split_off(*before))
            .collect();
        if asked.is_empty() {
            return;
        }
        assert!(round < 4, "a settled site asks: {asked:#?}");
    }
}

/// Everything in the inventory exists with the recorded uid, and everything that carries the site's label and was not made
/// by a controller is in the inventory.
pub(crate) async fn inventory_is_what_exists(
    site: &TestSite,
    name: &str,
    clusters: &[(&str, &Client)],
) {
    let inventory: Value = site.ask("/api/v1/inventory").await.unwrap();
    let lines = inventory.as_array().or_else(|| inventory["entries"].as_array()).unwrap();
    assert!(!lines.is_empty());
    for (cluster, client) in clusters {
        let own: Vec<&Value> =
            lines.iter().filter(|line| line["object"]["cluster"] == **cluster).collect();
        let discovery = kube::discovery::Discovery::new((*client).clone()).run().await.unwrap();
        let kinds: BTreeSet<(&str, &str)> = own
            .iter()
            .map(|line| {
                (
                    line["object"]["group"].as_str().unwrap(),
                    line["object"]["kind"].as_str().unwrap(),
                )
            })
            .collect();
        for (group, kind) in kinds {
            // At any version that has the kind.
            let served = discovery.get(group).unwrap().resources_by_stability();
            let (resource, _) = served.iter().find(|(it, _)| it.kind == kind).unwrap();
            let api: Api<DynamicObject> = Api::all_with((*client).clone(), resource);
            let found = api.list(&ListParams::default()).await.unwrap().items;
            let known: BTreeSet<(String, String, String)> = own
                .iter()
                .filter(|line| line["object"]["group"] == group && line["object"]["kind"] == kind)
                .map(|line| {
                    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                    let object = &line["object"];
                    (text(&object["namespace"]), text(&object["name"]), text(&line["entry"]["uid"]))
                })
                .collect();
            let exists: BTreeSet<_> = found
                .iter()
                .map(|object| {
                    (
                        object.namespace().unwrap_or_default(),
                        object.name_any(),
                        object.uid().unwrap(),
                    )
                })
                .collect();
            let missing: Vec<_> = known.difference(&exists).collect();
            assert!(missing.is_empty(), "{cluster}: {kind} only in the inventory: {missing:?}");
            let labelled: BTreeSet<_> = found
                .iter()
                .filter(|it| it.labels().get("tidegate.dev/site").is_some_and(|site| site == name))
                .filter(|it| it.owner_references().is_empty() && kind != "PersistentVolumeClaim")
                .map(|it| (it.namespace().unwrap_or_default(), it.name_any(), it.uid().unwrap()))
                .collect();
            let unknown: Vec<_> = labelled.difference(&known).collect();
            assert!(unknown.is_empty(), "{cluster}: {kind} not in the inventory: {unknown:?}");
        }
    }
}

/// An API over one kind.
pub(crate) fn api(
    client: &Client,
    namespace: &str,
    api_version: &str,
    kind: &str,
) -> Api<DynamicObject> {
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    if namespace.is_empty() {
        Api::all_with(client.clone(), &resource)
    } else {
        Api::namespaced_with(client.clone(), namespace, &resource)
    }
}

/// A storage class of which the fake kubelet makes the volumes.
pub(crate) async fn storage_class(client: &Client, name: &str, is_default: bool) {
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": name, "annotations": {
            "storageclass.kubernetes.io/is-default-class": is_default.to_string()}},
        "provisioner": "kubernetes.io/no-provisioner"});
    let classes = Api::<StorageClass>::all(client.clone());
    let class = serde_json::from_value(class).unwrap();
    classes.create(&PostParams::default(), &class).await.unwrap();
}
