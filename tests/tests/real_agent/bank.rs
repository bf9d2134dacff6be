//! `examples/bank`: two rooms, each a control plane of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::runtime::watcher;
use kube::{Client, ResourceExt as _};
use serde_json::json;
use tidegate::status::Status;
use tidegate_core::object::REVISION;
use tidegate_core::plan::TaskKind;
use tidegate_tests::program::TestSite;
use tidegate_tests::real_cluster::{RealCluster, binaries};

use super::steps::{
    api, delivered, inventory_is_what_exists, planned, rests, storage_class, uninstalled,
};

const LI_NA: (&str, &str) = ("Li Na", "li.na@bank.example");
/// Everybody who may be asked: two of operations, of whom one is security, and one of the business.
const APPROVERS: [&str; 3] = ["wang-wei", "zhao-min", "chen-jie"];

/// The example with keys of this test, bakes of a second, and no windows: the day is not always a night in Shanghai.
fn bank() -> TestSite {
    let mut site = TestSite::new();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/bank");
    site.copy(&example, "");
    site.remove("policies/windows.yaml");
    site.edit("policies/rollout.yaml", "bake: 10m", "bake: 1s");
    site.edit("policies/rollout.yaml", "bake: 1m ", "bake: 1s ");
    let people = std::fs::read_to_string(site.work().join("iam/people.yaml")).unwrap();
    for person in APPROVERS {
        let line = people.lines().find(|line| line.ends_with(&format!(" {person}\"]"))).unwrap();
        let public = site.key_of(person);
        site.edit("iam/people.yaml", line, &format!("  keys: [\"{public}\"]"));
    }
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bank_goes_from_its_first_push_to_a_baseline_and_on() {
    if binaries().is_none() {
        return;
    }
    let rooms = std::thread::scope(|scope| {
        let rooms = [(); 2].map(|()| scope.spawn(|| RealCluster::start().unwrap()));
        rooms.map(|room| room.join().unwrap())
    });
    let [room_a, room_b] = &rooms;
    if !room_a.has_controllers() {
        return;
    }
    let (client_a, client_b) = (room_a.client().await, room_b.client().await);
    let both = [("room-a", &client_a), ("room-b", &client_b)];
    for (_, client) in both {
        storage_class(client, "open-local-lvm-default", false).await;
    }
    let mut site = bank();
    site.push(LI_NA, "The whole platform");
    site.start_agent(&[
        ("room-a", room_a.watched_kubeconfig()),
        ("room-b", room_b.watched_kubeconfig()),
    ]);

    // The first installation: operations, business, and security for what roles and grants give.
    let plan = planned(&mut site, TaskKind::Install).await;
    for person in APPROVERS {
        site.approve(person, &plan);
    }
    delivered(&mut site, &plan).await;
    inventory_is_what_exists(&site, "hangzhou", &both).await;
    rests(&mut site, &[room_a, room_b]).await;

    upgrade(&mut site, &rooms, &client_a, &client_b).await;
    drift(&mut site, &client_a).await;
    removal(&mut site, &client_b).await;
    inventory_is_what_exists(&site, "hangzhou", &both).await;
    rests(&mut site, &[room_a, room_b]).await;
    let baseline = site.must(&["baseline", "show"]);
    assert!(baseline.contains("2.43.1") && !baseline.contains("reporting"), "{baseline}");
}

/// iam 2.42.0 to 2.43.1: half of a room's pods, a person's confirmation, the rest; then the other room.
async fn upgrade(
    site: &mut TestSite,
    rooms: &[RealCluster; 2],
    client_a: &Client,
    client_b: &Client,
) {
    let confirmed = Arc::new(Mutex::new(BTreeSet::new()));
    let mut watching = Vec::new();
    for (room, client) in [("room-a", client_a), ("room-b", client_b)] {
        watching.push(Revisions::watch(room, client, Arc::clone(&confirmed)).await);
    }
    site.edit("solutions/platform.yaml", "version: 2.42.0", "version: 2.43.1");
    site.push(LI_NA, "iam: 2.43.1");
    let plan = planned(site, TaskKind::Deploy).await;
    rehearsed(site, rooms, &plan);
    for person in ["wang-wei", "zhao-min"] {
        site.approve(person, &plan);
    }
    loop {
        let known = confirmed.lock().unwrap().clone();
        let next = |status: &Status| {
            let waits = status.release.iter().flat_map(|release| &release.waits);
            let mut asks = waits.filter(|wait| wait.code == "RELEASE/AWAIT_CONFIRM");
            let step = asks.find_map(|wait| {
                wait.args.get("step").filter(|step| !known.contains(*step)).cloned()
            });
            let mut rows = status.releases.iter();
            let is_ended = rows.any(|row| row.plan.as_str() == plan && row.phase.is_ended());
            step.map(Some).or_else(|| is_ended.then_some(None))
        };
        let next = site.see("a group that waits for its confirmation, or the end", next).await;
        let Some(step) = next else { break };
        confirmed.lock().unwrap().insert(step.clone());
        site.must(&["releases", "confirm", &step, "--as", "wang-wei"]);
    }
    delivered(site, &plan).await;
    for revisions in watching {
        revisions.were_kept().await;
    }
}

/// Before anybody approves: copies of real control planes give the same plan, to the digest, and it comes to its end on them.
fn rehearsed(site: &TestSite, rooms: &[RealCluster; 2], plan: &str) {
    let [room_a, room_b] = rooms;
    let given = |name: &str, room: &RealCluster| format!("{name}={}", room.kubeconfig().display());
    let (room_a, room_b) = (given("room-a", room_a), given("room-b", room_b));
    let clusters = ["--kubeconfig", &room_a, "--kubeconfig", &room_b];
    let how = ["rehearse", plan, "--format", "json", "--image-lookup", "off"];
    let told = site.must(&[&how[..], &clusters].concat());
    let found: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(found["plan"], plan, "{:#} {}", found["limits"], found["differs"]["text"]);
    assert_eq!(found["run"]["phase"], "done", "{:#}", found["run"]["failures"]);
    let limits = found["limits"].as_array().unwrap();
    let is_said = |code: &str| limits.iter().any(|it| it["code"] == code);
    assert!(!is_said("REHEARSAL/RESTLESS_COPY") && !is_said("REHEARSAL/NOT_COPIED"), "{limits:#?}");
    for room in ["room-a", "room-b"] {
        let pods = found["run"]["pods"][format!("{room}/iam/iamcore")].as_array().unwrap();
        let most: Vec<(u64, u64)> = pods
            .iter()
            .map(|it| (it["old"].as_u64().unwrap(), it["new"].as_u64().unwrap()))
            .collect();
        assert_eq!((most.first(), most.last()), (Some(&(4, 0)), Some(&(0, 4))), "{most:?}");
        assert!(most.contains(&(2, 2)), "{most:?}");
    }
    assert_eq!(
        found["failing"]["run"]["phase"], "failed",
        "{:#}",
        found["failing"]["run"]["reactions"]
    );
}

/// What a watch tells of the new pods of `iamcore` in one room.
struct Revisions {
    room: &'static str,
    /// The most new pods at once, before and after the confirmations of room-a and of this room.
    most: Arc<Mutex<BTreeMap<(bool, bool), usize>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Revisions {
    async fn watch(
        room: &'static str,
        client: &Client,
        confirmed: Arc<Mutex<BTreeSet<String>>>,
    ) -> Self {
        let pods: Api<Pod> = Api::namespaced(client.clone(), "iam");
        let config = watcher::Config::default().labels("app.kubernetes.io/name=iamcore");
        let revision = |pod: &Pod| pod.annotations().get(REVISION).cloned().unwrap_or_default();
        let params = ListParams::default().labels("app.kubernetes.io/name=iamcore");
        let before = pods.list(&params).await.unwrap();
        let old: BTreeSet<String> = before.iter().map(revision).collect();
        assert_eq!((before.items.len(), old.len()), (4, 1), "{room} before the upgrade");
        let most = Arc::new(Mutex::new(BTreeMap::new()));
        let own = Arc::clone(&most);
        let task = tokio::spawn(async move {
            let mut new: BTreeSet<String> = BTreeSet::new();
            let mut events = watcher(pods, config).boxed();
            while let Some(event) = events.next().await {
                match event {
                    Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod)) => {
                        if !old.contains(&revision(&pod)) {
                            new.insert(pod.uid().unwrap());
                        }
                    }
                    Ok(watcher::Event::Delete(pod)) => {
                        new.remove(&pod.uid().unwrap());
                    }
                    Ok(watcher::Event::Init | watcher::Event::InitDone) | Err(_) => {}
                }
                let confirmed = confirmed.lock().unwrap();
                let is_confirmed = |room: &str| {
                    confirmed.iter().any(|step| step.contains(room) && step.ends_with("iamcore"))
                };
                let state = (is_confirmed("room-a"), is_confirmed(room));
                let mut most = own.lock().unwrap();
                let most = most.entry(state).or_default();
                *most = new.len().max(*most);
            }
        });
        Self { room, most, task }
    }

    /// Never more new pods than the opened groups have, and all of them in the end.
    async fn were_kept(self) {
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_mins(1);
        // The watch may be behind what the agent has seen.
        while self.most.lock().unwrap().get(&(true, true)) != Some(&4) {
            assert!(tokio::time::Instant::now() < deadline, "{}: {:?}", self.room, self.most);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        self.task.abort();
        let most = self.most.lock().unwrap().clone();
        let wanted = match self.room {
            "room-a" => BTreeMap::from([((false, false), 2), ((true, true), 4)]),
            _ => BTreeMap::from([((false, false), 0), ((true, false), 2), ((true, true), 4)]),
        };
        assert_eq!(most, wanted, "{}", self.room);
    }
}

/// A change by hand is seen, and put right after approvals.
async fn drift(site: &mut TestSite, client: &Client) {
    let deployments = api(client, "portal", "apps/v1", "Deployment");
    let before = deployments.get("portal-web").await.unwrap();
    let by =
        PatchParams { field_manager: Some("kubectl-edit".to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(json!({"spec": {"replicas": 1}}));
    deployments.patch("portal-web", &by, &patch).await.unwrap();
    let seen = |status: &Status| {
        status.drift.iter().any(|change| change.object.name == "portal-web").then_some(())
    };
    site.see("the change by hand", seen).await;
    let plan = planned(site, TaskKind::Correct).await;
    for person in ["wang-wei", "zhao-min"] {
        site.approve(person, &plan);
    }
    delivered(site, &plan).await;
    let after = deployments.get("portal-web").await.unwrap();
    assert_eq!(after.data["spec"]["replicas"], before.data["spec"]["replicas"]);
    assert_ne!(after.data["spec"]["replicas"], json!(1));
}

/// A product, and a scaling group, that leave the solutions are taken away, and nothing else is.
async fn removal(site: &mut TestSite, client: &Client) {
    // The document says batch/v1, which this server has not got.
    let jobs = api(client, "reporting", "batch/v1beta1", "CronJob");
    assert!(jobs.get_opt("daily-report").await.unwrap().is_some());
    let fronts = api(client, "portal", "apps/v1", "Deployment");
    let uid = |name: &'static str| {
        let fronts = fronts.clone();
        async move { fronts.get_opt(name).await.unwrap().and_then(|it| it.uid()) }
    };
    let own = uid("portal-web").await;
    assert!(own.is_some() && uid("portal-web-branches").await.is_some());
    let solution = std::fs::read_to_string(site.work().join("solutions/payments.yaml")).unwrap();
    let (kept, _) = solution.split_once("    - product: reporting").unwrap();
    site.write("solutions/payments.yaml", kept);
    let reporting = "apiVersion: tidegate.dev/v1\nkind: Parameters\nmetadata: {name: reporting}\nspec:\n  scope: {product: reporting}\n  values: {dbPassword: {secret: {name: reporting-db, key: password}}}\n";
    site.edit("parameters/payments.yaml", &format!("---\n{reporting}"), "");
    // A scaling group goes with it, and its product stays.
    let group = "      # The branches have a portal of their own, as portal-web-branches: it changes after the others, in a wave of its own.\n      scalingGroups:\n        - {name: branches, apps: {portal-web: {replicas: 3}}, clusters: {names: [room-b]}}\n";
    site.edit("solutions/channels.yaml", group, "");
    let values = "---\napiVersion: tidegate.dev/v1\nkind: Parameters\nmetadata: {name: portal-branches}\nspec: {scope: {product: portal, scalingGroup: branches}, values: {webAddress: 10.20.1.14, banner: Branches}}\n";
    site.edit("parameters/channels.yaml", values, "");
    site.push(LI_NA, "No reports any more, and no portal for the branches");
    let plan = planned(site, TaskKind::Uninstall).await;
    for person in APPROVERS {
        site.approve(person, &plan);
    }
    uninstalled(site, &plan, "wang-wei").await;
    assert!(jobs.get_opt("daily-report").await.unwrap().is_none());
    assert_eq!((uid("portal-web").await, uid("portal-web-branches").await), (own, None));
}
