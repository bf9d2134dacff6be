//! Operations on a real control plane: pods of all three kinds of workloads start anew, each once although the agent is
//! killed on the way; a task runs again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::runtime::watcher;
use kube::{Client, ResourceExt as _};
use serde_json::Value;
use tidegate::status::Status;
use tidegate_tests::program::TestSite;
use tidegate_tests::real_cluster::RealCluster;

use super::steps::{MARIA, api, inventory_is_what_exists, rests, settled, shop, until};

/// Two groups of each app; `slow-1s` leaves time to kill the agent while pods are on their way.
const PRODUCTS: &str = "\
apiVersion: tidegate.dev/v1
kind: ApprovalPolicy
metadata: {name: open}
spec: {rules: []}
---
apiVersion: tidegate.dev/v1
kind: Person
metadata: {name: maria}
spec: {emails: [maria@shop.example]}
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
    - {name: import, kind: task, image: \"import:1.0.0\"}
    - {name: store, image: \"store:1.0.0-slow-1s\", after: [import]}
    - {name: front, image: \"front:1.0.0-slow-1s\", workload: Deployment, ports: [{name: http, port: 8080}],
       checks: [{name: whole, cel: {expression: \"object.status.readyReplicas == object.spec.replicas\"}}]}
    - {name: probe, image: \"probe:1.0.0-slow-1s\", workload: DaemonSet}
  sizes:
    - {name: small, apps: {store: {replicas: 4}, front: {replicas: 4}}}
---
apiVersion: tidegate.dev/v1
kind: Solution
metadata: {name: all}
spec: {products: [{product: web, version: 1.0.0, size: small}]}
";

fn operation(name: &str, action: &str, reason: &str) -> String {
    format!(
        "apiVersion: tidegate.dev/v1\nkind: Operation\nmetadata: {{name: {name}}}\n\
         spec: {{action: {action}, author: maria, reason: {reason}}}\n"
    )
}

/// What a watch tells of the pods of the standard apps.
#[derive(Default)]
struct Told {
    /// Uids ever seen, by app.
    seen: BTreeMap<String, BTreeSet<String>>,
    /// Uids of those that are ready.
    ready: BTreeMap<String, BTreeSet<String>>,
    /// The fewest that were ready at once, from the moment at which all were.
    fewest: BTreeMap<String, usize>,
}

impl Told {
    fn of(client: &Client) -> (Arc<Mutex<Self>>, tokio::task::JoinHandle<()>) {
        let pods: Api<Pod> = Api::namespaced(client.clone(), "web");
        let config = watcher::Config::default().labels("app.kubernetes.io/component=standard");
        let told = Arc::new(Mutex::new(Self::default()));
        let own = Arc::clone(&told);
        let task = tokio::spawn(async move {
            let mut events = watcher(pods, config).boxed();
            while let Some(event) = events.next().await {
                let mut told = own.lock().unwrap();
                match event {
                    Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod)) => {
                        told.note(&pod, is_ready(&pod));
                    }
                    Ok(watcher::Event::Delete(pod)) => told.note(&pod, false),
                    Ok(watcher::Event::Init | watcher::Event::InitDone) | Err(_) => {}
                }
            }
        });
        (told, task)
    }

    fn note(&mut self, pod: &Pod, is_ready: bool) {
        let (app, uid) = (app(pod), pod.uid().unwrap());
        self.seen.entry(app.clone()).or_default().insert(uid.clone());
        let ready = self.ready.entry(app.clone()).or_default();
        if is_ready {
            ready.insert(uid);
        } else {
            ready.remove(&uid);
        }
        let now = ready.len();
        if let Some(fewest) = self.fewest.get_mut(&app) {
            *fewest = now.min(*fewest);
        } else if now == count(&app) {
            self.fewest.insert(app, now);
        }
    }
}

impl Told {
    /// As many pods came as went, and never was more than the approved half of an app away.
    fn is_as_approved(&self) {
        for (app, seen) in &self.seen {
            assert_eq!(seen.len(), 2 * count(app), "{app}");
            let floor = count(app) - count(app).div_ceil(2);
            let fewest = self.fewest[app];
            assert!(fewest >= floor, "{app}: {fewest} of {} were ready", count(app));
        }
    }
}

fn app(pod: &Pod) -> String {
    pod.labels()["app.kubernetes.io/name"].clone()
}

/// How many pods an app has: of the daemon one on each node.
fn count(app: &str) -> usize {
    if app == "probe" { tidegate_tests::real_cluster::NODES } else { 4 }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let is_going = pod.metadata.deletion_timestamp.is_some();
    !is_going && conditions.into_iter().any(|it| it.type_ == "Ready" && it.status == "True")
}

async fn uids(client: &Client) -> BTreeMap<String, BTreeSet<String>> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), "web");
    let standard = ListParams::default().labels("app.kubernetes.io/component=standard");
    let mut uids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for pod in pods.list(&standard).await.unwrap() {
        uids.entry(app(&pod)).or_default().insert(pod.uid().unwrap());
    }
    uids
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_start_anew_once_though_the_agent_is_killed_and_a_task_runs_again() {
    let Some(cluster) = RealCluster::with_controllers() else { return };
    let client = cluster.client().await;
    let mut site = shop(&cluster);
    site.write("products.yaml", PRODUCTS);
    site.push(MARIA, "A shop");
    site.start_agent(&[]);
    settled(&mut site).await;
    let before = uids(&client).await;
    let (told, watching) = Told::of(&client);
    let generations = generations(&client).await;
    restart(&mut site, &before, &told).await;
    let after = uids(&client).await;
    for (app, old) in &before {
        assert_eq!((old.len(), after[app].len()), (count(app), count(app)), "{app}");
        assert!(old.is_disjoint(&after[app]), "{app}: a pod stayed");
    }
    assert_eq!(self::generations(&client).await, generations, "no workload was written");
    again(&mut site, &client).await;
    assert_eq!(uids(&client).await, after, "no pod started anew a second time");
    watching.abort();
    told.lock().unwrap().is_as_approved();
    offline(&mut site, &client).await;
    inventory_is_what_exists(&site, "shop", &[("main", &client)]).await;
    rests(&mut site, &[&cluster]).await;
    let releases: Value = site.ask("/api/v1/releases").await.unwrap();
    let rows = releases.as_array().or_else(|| releases["releases"].as_array()).unwrap();
    assert_eq!(rows.len(), 5, "installation, restart, import, offline, online: {releases}");
}

async fn generations(client: &Client) -> Vec<Option<i64>> {
    let mut generations = Vec::new();
    for (kind, name) in [("StatefulSet", "store"), ("Deployment", "front"), ("DaemonSet", "probe")]
    {
        let workload = api(client, "web", "apps/v1", kind).get(name).await.unwrap();
        generations.push(workload.metadata.generation);
    }
    generations
}

/// All pods start anew; the agent is killed when the first of them are on their way, and again later.
async fn restart(
    site: &mut TestSite,
    before: &BTreeMap<String, BTreeSet<String>>,
    told: &Arc<Mutex<Told>>,
) {
    site.write("anew.yaml", &operation("anew", "{restart: {product: web}}", "CHG-1"));
    site.push(MARIA, "Start anew");
    for enough in [1, 6] {
        let new = async || {
            let told = told.lock().unwrap();
            let of =
                |(app, seen): (&String, &BTreeSet<String>)| seen.difference(&before[app]).count();
            told.seen.iter().map(of).sum::<usize>() >= enough
        };
        until("pods that start anew", new).await;
        site.kill_agent();
        site.start_agent(&[]);
    }
    done(site, 1).await;
}

/// Waits until the status says of so many operations that they are done, and nothing is left to do.
async fn done(site: &mut TestSite, count: usize) {
    let are_done = |status: &Status| {
        let done = status.findings.iter().filter(|finding| finding.code == "OPERATION/DONE");
        (done.count() == count && status.plan.is_none()).then_some(())
    };
    site.see("operations that are done", are_done).await;
    settled(site).await;
}

/// Another reason is no other operation; a task runs again beside its first run; documents that go leave nothing behind.
async fn again(site: &mut TestSite, client: &Client) {
    site.write("anew.yaml", &operation("anew", "{restart: {product: web}}", "CHG-2"));
    site.push(MARIA, "A better reason");
    let rerun = operation("again", "{rerunTask: {product: web, app: import}}", "CHG-3");
    site.write("again.yaml", &rerun);
    site.push(MARIA, "Import again");
    done(site, 2).await;
    let jobs = api(client, "web", "batch/v1", "Job");
    let all = jobs.list(&ListParams::default()).await.unwrap().items;
    assert_eq!(all.len(), 2, "{all:#?}");
    for job in &all {
        assert_eq!(job.data["status"]["succeeded"], 1, "{job:#?}");
    }
    site.remove("again.yaml");
    site.remove("anew.yaml");
    site.push(MARIA, "Done");
    done(site, 0).await;
    assert_eq!(jobs.list(&ListParams::default()).await.unwrap().items.len(), 2, "kept for its log");
}

/// How many pods the Service of `front` leads to, as the server's own controller says.
async fn served(client: &Client) -> usize {
    let endpoints = api(client, "web", "v1", "Endpoints").get("front").await.unwrap();
    let subsets = endpoints.data["subsets"].as_array().cloned().unwrap_or_default();
    let addresses = subsets.iter().filter_map(|subset| subset["addresses"].as_array());
    addresses.map(Vec::len).sum()
}

async fn until_served(client: &Client, wanted: usize) {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_mins(1);
    while served(client).await != wanted {
        assert!(tokio::time::Instant::now() < deadline, "{} are served", served(client).await);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// The first half of the pods stops serving and the others go on; then none serves, and all are there.
async fn offline(site: &mut TestSite, client: &Client) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), "web");
    let images = || async {
        let front = ListParams::default().labels("app.kubernetes.io/name=front");
        let pods = pods.list(&front).await.unwrap();
        let image = |pod: Pod| pod.spec.unwrap().containers[0].image.clone().unwrap();
        let alive = pods.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
        alive.map(image).collect::<BTreeSet<_>>()
    };
    until_served(client, 4).await;
    let mut document = operation("closed", "{offline: {product: web, apps: [front]}}", "CHG-4")
        .trim_end()
        .to_owned();
    document.insert_str(document.len() - 1, ", expires: \"2999-01-01T00:00:00Z\"");
    site.write("closed.yaml", &document);
    site.push(MARIA, "Closed");
    site.see_wait("RELEASE/AWAIT_CONFIRM").await;
    until_served(client, 2).await;
    site.must(&["releases", "confirm", "--as", "maria"]);
    settled(site).await;
    until_served(client, 0).await;
    assert_eq!(images().await, BTreeSet::from(["registry.k8s.io/pause:3.10".to_owned()]));
    site.remove("closed.yaml");
    site.push(MARIA, "Open");
    site.see_wait("RELEASE/AWAIT_CONFIRM").await;
    until_served(client, 2).await;
    site.must(&["releases", "confirm", "--as", "maria"]);
    settled(site).await;
    until_served(client, 4).await;
    assert_eq!(images().await, BTreeSet::from(["front:1.0.0-slow-1s".to_owned()]));
}
