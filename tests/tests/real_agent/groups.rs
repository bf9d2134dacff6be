//! Groups at twenty pods on the real controllers: how many pods are new, and how many are ready, at every change of a pod.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, EvictParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::watcher;
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use tidegate::status::Status;
use tidegate_core::object::REVISION;
use tidegate_tests::program::TestSite;
use tidegate_tests::real_cluster::RealCluster;

use super::steps::{api, settled};

const LI_NA: (&str, &str) = ("Li Na", "li.na@bank.example");
/// Apps with how many pods of each must be ready at every moment: their disruption budget, or the nodes of a group.
const APPS: [(&str, usize, usize); 4] =
    [("set", 20, 10), ("web", 20, 10), ("ordered", 5, 4), ("node", 5, 4)];

fn version(number: &str) -> String {
    // A second until a pod is ready: long enough to be seen between two groups.
    let image = |app: &str| format!("many/{app}:{number}-slow-1s");
    format!(
        "\
apiVersion: tidegate.dev/v1
kind: ProductVersion
metadata: {{name: many}}
spec:
  version: {number}
  apps:
    - {{name: set, image: '{}'}}
    - {{name: web, workload: Deployment, image: '{}'}}
    - {{name: ordered, ordered: true, image: '{}'}}
    - {{name: node, workload: DaemonSet, image: '{}'}}
  sizes:
    - name: all
      apps:
        set: {{replicas: 20, cpu: 10m, memory: 16Mi}}
        web: {{replicas: 20, cpu: 10m, memory: 16Mi}}
        ordered: {{replicas: 5, cpu: 10m, memory: 16Mi}}
        node: {{cpu: 10m, memory: 16Mi}}
",
        image("set"),
        image("web"),
        image("ordered"),
        image("node"),
    )
}

const SITE: &str = "\
apiVersion: tidegate.dev/v1
kind: Site
metadata: {name: hz}
spec: {tier: development, resourcePrefix: hz, domain: hz.internal}
---
apiVersion: tidegate.dev/v1
kind: Cluster
metadata: {name: room-a}
spec: {access: {kubeconfig: {path: room-a.yaml}}, room: a, zone: z1, region: r}
---
apiVersion: tidegate.dev/v1
kind: ApprovalPolicy
metadata: {name: open}
spec: {rules: []}
---
apiVersion: tidegate.dev/v1
kind: Product
metadata: {name: many}
spec: {}
---
apiVersion: tidegate.dev/v1
kind: RolloutPolicy
metadata: {name: many}
spec: {groups: {strategy: custom}, beta: false, timeout: 2m, appliesTo: {product: many}}
---
apiVersion: tidegate.dev/v1
kind: RolloutPolicy
metadata: {name: set}
spec: {groups: {strategy: custom}, beta: true, timeout: 2m, appliesTo: {product: many, app: set}}
";

fn solution(version: &str) -> String {
    format!(
        "apiVersion: tidegate.dev/v1\nkind: Solution\nmetadata: {{name: all}}\nspec: {{products: [{{product: many, version: {version}, size: all}}]}}\n"
    )
}

/// One moment: by app, how many pods are new and how many are ready.
type Moment = (Timestamp, BTreeMap<String, (usize, usize)>);

/// Every change of a pod, from before a release until it is stopped.
struct Samples {
    moments: Arc<Mutex<Vec<Moment>>>,
    task: tokio::task::JoinHandle<()>,
}

/// App, revision, whether it is ready and stays.
type Seen = (String, String, bool);

fn seen(pod: &Pod) -> Option<Seen> {
    let app = pod.labels().get("app.kubernetes.io/name")?.clone();
    let revision = pod.annotations().get(REVISION)?.clone();
    let conditions = pod.status.as_ref().and_then(|it| it.conditions.clone()).unwrap_or_default();
    let is_ready = conditions.iter().any(|it| it.type_ == "Ready" && it.status == "True");
    Some((app, revision, is_ready && pod.metadata.deletion_timestamp.is_none()))
}

impl Samples {
    async fn start(client: &Client) -> Self {
        let pods: Api<Pod> = Api::namespaced(client.clone(), "many");
        let there = pods.list(&ListParams::default()).await.unwrap();
        let old: BTreeSet<String> = there.iter().filter_map(|pod| Some(seen(pod)?.1)).collect();
        let moments: Arc<Mutex<Vec<Moment>>> = Arc::default();
        let own = Arc::clone(&moments);
        let task = tokio::spawn(async move {
            let mut known: BTreeMap<String, Seen> = BTreeMap::new();
            let mut is_whole = false;
            let mut events = watcher(pods, watcher::Config::default()).boxed();
            while let Some(event) = events.next().await {
                match event {
                    Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod)) => {
                        known.extend(seen(&pod).map(|it| (pod.uid().unwrap(), it)));
                    }
                    Ok(watcher::Event::Delete(pod)) => {
                        known.remove(&pod.uid().unwrap());
                    }
                    Ok(watcher::Event::Init) => known.clear(),
                    Ok(watcher::Event::InitDone) => is_whole = true,
                    Err(_) => {}
                }
                let mut moment: BTreeMap<String, (usize, usize)> = BTreeMap::new();
                for (app, revision, is_ready) in known.values() {
                    let counts = moment.entry(app.clone()).or_default();
                    counts.0 += usize::from(!old.contains(revision));
                    counts.1 += usize::from(*is_ready);
                }
                if is_whole {
                    own.lock().unwrap().push((Timestamp::now(), moment));
                }
            }
        });
        Self { moments, task }
    }

    /// Holds every moment against what the release had opened by then, and against the floor of ready pods.
    async fn held(self, site: &TestSite, release: &str) {
        let shown: Value = site.ask(&format!("/api/v1/releases/{release}")).await.unwrap();
        let plan = shown["release"]["plan"].as_str().unwrap();
        let plan: Value = site.ask(&format!("/api/v1/plans/{plan}")).await.unwrap();
        let mut cumulative: BTreeMap<(String, u64), usize> = BTreeMap::new();
        let steps = plan["plan"]["content"]["waves"].as_array().unwrap().iter();
        for step in steps.flat_map(|wave| wave["steps"].as_array().unwrap()) {
            let groups = step["rollout"]["groups"].as_array().into_iter().flatten();
            for (group, number) in groups.zip(0..) {
                let key = (step["id"].as_str().unwrap().to_owned(), number);
                let pods = group["cumulative"].as_u64().unwrap();
                cumulative.insert(key, usize::try_from(pods).unwrap());
            }
        }
        let opened: Vec<(Timestamp, String, usize)> = shown["events"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|it| it["event"]["type"] == "groupOpened")
            .map(|it| {
                let step = it["event"]["step"].as_str().unwrap().to_owned();
                let key = (step.clone(), it["event"]["group"].as_u64().unwrap());
                let app = step.rsplit_once('/').unwrap().1.to_owned();
                (it["at"].as_str().unwrap().parse().unwrap(), app, cumulative[&key])
            })
            .collect();
        self.task.abort();
        let moments = self.moments.lock().unwrap().clone();
        assert!(moments.len() > 100, "only {} changes of pods were seen", moments.len());
        for (app, total, floor) in APPS {
            let groups: Vec<usize> =
                opened.iter().filter(|it| it.1 == app).map(|it| it.2).collect();
            assert_eq!(groups.last(), Some(&total), "{app}: {groups:?}");
            let mut reached = BTreeSet::new();
            for (at, counts) in &moments {
                let (new, ready) = counts.get(app).copied().unwrap_or_default();
                let own = opened.iter().filter(|it| it.1 == app && it.0 <= *at);
                let approved = own.map(|it| it.2).max().unwrap_or_default();
                assert!(new <= approved, "{app}: {new} pods are new at {at}, {approved} approved");
                assert!(ready >= floor, "{app}: {ready} pods are ready at {at}");
                reached.insert(new);
            }
            assert!(reached.contains(&total), "{app}: {reached:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_pods_of_each_kind_change_in_exactly_the_approved_groups() {
    let Some(room) = RealCluster::with_controllers() else { return };
    let client = room.client().await;
    let mut site = TestSite::new();
    site.write("site.yaml", SITE);
    site.write("1.yaml", &version("1.0.0"));
    site.write("solution.yaml", &solution("1.0.0"));
    site.push(LI_NA, "All that there is");
    site.start_agent(&[("room-a", room.kubeconfig())]);
    settled(&mut site).await;

    autoscaled(&client).await;
    let samples = Samples::start(&client).await;
    site.write("2.yaml", &version("2.0.0"));
    site.write("solution.yaml", &solution("2.0.0"));
    site.push(LI_NA, "The next version");
    site.see("the question after the beta pod", asks_about_set).await;
    assert_eq!(bounds(&client).await, (20, 20), "held while groups are open");
    confirmed(&mut site, "r2").await;
    settled(&mut site).await;
    samples.held(&site, "r2").await;
    assert_eq!(bounds(&client).await, (10, 30), "given back");

    somebody_meddles(&mut site, &client).await;
}

fn asks_about_set(status: &Status) -> Option<()> {
    let waits = status.release.iter().flat_map(|release| &release.waits);
    let mut asks = waits.filter(|wait| wait.code == "RELEASE/AWAIT_CONFIRM");
    asks.any(|wait| wait.args["step"].ends_with("many/set")).then_some(())
}

const AUTOSCALER: (&str, &str) = ("autoscaling/v1", "HorizontalPodAutoscaler");

/// Somebody makes an autoscaler for `set` by hand.
async fn autoscaled(client: &Client) {
    let (version, kind) = AUTOSCALER;
    let body = json!({"apiVersion": version, "kind": kind, "metadata": {"name": "by-hand"},
        "spec": {"minReplicas": 10, "maxReplicas": 30,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "set"}}});
    let body = serde_json::from_value(body).unwrap();
    api(client, "many", version, kind).create(&PostParams::default(), &body).await.unwrap();
}

/// The fewest and the most pods that the autoscaler may ask for.
async fn bounds(client: &Client) -> (u64, u64) {
    let (version, kind) = AUTOSCALER;
    let found = api(client, "many", version, kind).get("by-hand").await.unwrap();
    let bound = |name: &str| found.data["spec"][name].as_u64().unwrap();
    (bound("minReplicas"), bound("maxReplicas"))
}

/// Confirms whatever is asked until a release has ended.
async fn confirmed(site: &mut TestSite, release: &str) {
    loop {
        let next = |status: &Status| {
            let mut rows = status.releases.iter();
            if rows.any(|row| row.id == release && row.phase.is_ended()) {
                return Some(None);
            }
            let waits = status.release.iter().flat_map(|release| &release.waits);
            let mut asks = waits.filter(|wait| wait.code == "RELEASE/AWAIT_CONFIRM");
            asks.find_map(|wait| wait.args.get("step").cloned()).map(Some)
        };
        let Some(step) = site.see("a question, or the end", next).await else { break };
        // Asked once, and answered by us alone; the status may still tell of the question.
        site.run(&["releases", "confirm", &step, "--as", "wang-wei"]);
    }
}

/// While the beta pod waits for its confirmation a node is drained, and then somebody drops the partition: what was drained
/// comes back old, the partition is put back, and pods that became new by it stop the release.
async fn somebody_meddles(site: &mut TestSite, client: &Client) {
    site.write("3.yaml", &version("3.0.0"));
    site.write("solution.yaml", &solution("3.0.0"));
    site.push(LI_NA, "One more");
    site.see("the question after the beta pod", asks_about_set).await;
    let pods: Api<Pod> = Api::namespaced(client.clone(), "many");
    let own = ListParams::default().labels("app.kubernetes.io/name=set");
    let images = |pods: &[Pod]| -> Vec<String> {
        let image = |pod: &Pod| pod.spec.as_ref().unwrap().containers[0].image.clone().unwrap();
        pods.iter().map(image).collect()
    };
    let is_new = |image: &String| image.contains(":3.0.0");
    let is_ready = |pod: &Pod| seen(pod).is_some_and(|(_, _, is_ready)| is_ready);

    let before = pods.list(&own).await.unwrap().items;
    let node = before[0].spec.as_ref().unwrap().node_name.clone().unwrap();
    let here =
        before.iter().filter(|pod| pod.spec.as_ref().unwrap().node_name.as_ref() == Some(&node));
    let drained: BTreeSet<String> = here.clone().map(|pod| pod.uid().unwrap()).collect();
    for pod in here {
        pods.evict(&pod.name_any(), &EvictParams::default()).await.unwrap();
    }
    let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
    loop {
        let now = pods.list(&own).await.unwrap().items;
        let is_back = now.len() == 20
            && now.iter().all(|pod| is_ready(pod) && !drained.contains(&pod.uid().unwrap()));
        if is_back {
            assert_eq!(
                images(&now).iter().filter(|it| is_new(it)).count(),
                1,
                "the beta pod alone"
            );
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "the drained pods do not come back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    let sets = api(client, "many", "apps/v1", "StatefulSet");
    let by =
        PatchParams { field_manager: Some("kubectl-edit".to_owned()), ..PatchParams::default() };
    let dropped = json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}});
    sets.patch("set", &by, &Patch::Merge(&dropped)).await.unwrap();
    // Put back at once; the controller may have been faster by a pod or two.
    let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
    let new = loop {
        let set = sets.get("set").await.unwrap();
        let partition = set.data["spec"]["updateStrategy"]["rollingUpdate"]["partition"].clone();
        let now = pods.list(&own).await.unwrap().items;
        let is_calm = now.len() == 20 && now.iter().all(is_ready);
        let is_seen = set.data["status"]["observedGeneration"] == json!(set.metadata.generation);
        if partition == json!(19) && is_seen && is_calm {
            break images(&now).iter().filter(|it| is_new(it)).count();
        }
        assert!(tokio::time::Instant::now() < deadline, "the partition is {partition}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(new < 10, "{new} pods are new");
    if new > 1 {
        let stopped = |status: &Status| {
            let failures = status.release.iter().flat_map(|release| &release.failures);
            failures.map(|it| it.failure.clone()).next()
        };
        let failure = site.see("that more pods are new than were approved", stopped).await;
        assert_eq!(failure.code, "RELEASE/BLAST_RADIUS_EXCEEDED");
        assert_eq!(failure.args["approved"], "1");
        site.must(&["releases", "retry", "--as", "wang-wei"]);
    }
    confirmed(site, "r3").await;
    settled(site).await;
    let now = images(&pods.list(&own).await.unwrap().items);
    assert_eq!(now.iter().filter(|it| is_new(it)).count(), 20);
}
