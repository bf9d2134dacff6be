//! What the sandbox takes per object and per pod as there are more of them: `cargo bench --workspace --bench sandbox`.
//!
//! Everything runs on one thread with tokio's clock paused, so that the time that is measured is the sandbox's own work;
//! its clock runs on by itself whenever there is none. Figures are printed with their ratio and never asserted: where each
//! write costs what it touches, the time per object is the same however many there are.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement")]

use std::time::{Duration, Instant};

use http::Request;
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tidegate_sandbox::{ApiService, Options, Sandbox};
use tower::Service as _;

/// The sizes that are compared, in objects applied.
const OBJECTS: [usize; 2] = [1_000, 10_000];
/// The sizes that are compared, in pods of one workload.
const PODS: [usize; 2] = [200, 2_000];
/// Objects of one app.
const PER_APP: usize = 4;
/// In how many groups the pods of a workload are released.
const GROUPS: usize = 10;

struct Cluster {
    sandbox: Sandbox,
    service: ApiService,
}

impl Cluster {
    /// A cluster with room for so many pods.
    fn with_room_for(pods: usize) -> Self {
        let nodes = u32::try_from(pods / 80 + 3).unwrap();
        let start = Some("2026-11-21T06:00:00Z".parse().unwrap());
        let sandbox = Sandbox::start(Options { nodes, start, ..Options::default() }).unwrap();
        let service = sandbox.service();
        Self { sandbox, service }
    }

    async fn send(&self, method: &str, path: &str, kind: &str, body: String) -> Value {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", kind)
            .body(Full::new(bytes::Bytes::from(body)))
            .unwrap();
        let answer = self.service.clone().call(request).await.unwrap();
        let (status, body) = (answer.status(), answer.into_body().collect().await.unwrap());
        let value: Value = serde_json::from_slice(&body.to_bytes()).unwrap();
        assert!(status.is_success(), "{value}");
        value
    }

    async fn apply(&self, path: &str, object: &Value) {
        let path = format!("{path}?fieldManager=bench&force=true");
        self.send("PATCH", &path, "application/apply-patch+yaml", object.to_string()).await;
    }

    async fn get(&self, path: &str) -> Value {
        self.send("GET", path, "application/json", String::new()).await
    }

    /// Waits until a field of an object is so large.
    async fn reaches(&self, path: &str, field: &str, wanted: usize) {
        let limit = self.sandbox.now() + jiff::SignedDuration::from_hours(24);
        while self.get(path).await.pointer(field).and_then(Value::as_u64) != Some(wanted as u64) {
            assert!(self.sandbox.now() < limit, "{path} {field} never reached {wanted}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Lets the controllers do what is to be done now.
    async fn breathe() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn template(name: &str, image: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": name, "part-of": "bench"}},
        "spec": {"containers": [{"name": "web", "image": image,
            "env": [{"name": "LEVEL", "value": "info"}],
            "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}}}]},
    })
}

fn service(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {
        "selector": {"app": name},
        "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}]}})
}

/// What was done, by time and by how often a controller looked at an object.
struct Work {
    start: Instant,
    looks: u64,
}

impl Work {
    fn begins(cluster: &Cluster) -> Self {
        Self { start: Instant::now(), looks: cluster.sandbox.looks() }
    }

    /// What each of so many took.
    #[expect(clippy::cast_precision_loss, reason = "a ratio that is printed")]
    fn per(&self, cluster: &Cluster, count: usize) -> Share {
        let looks = cluster.sandbox.looks() - self.looks;
        Share {
            time: self.start.elapsed() / u32::try_from(count).unwrap(),
            looks: looks as f64 / count as f64,
        }
    }
}

/// What one of many took.
struct Share {
    time: Duration,
    looks: f64,
}

/// Apps of four objects and a pod each, applied one after the other, until all are available; then one more app.
async fn many_objects(count: usize) -> [Share; 2] {
    let apps = count / PER_APP;
    let cluster = Cluster::with_room_for(apps);
    let install = async |index: usize| {
        let name = format!("app-{index}");
        let core = "/api/v1/namespaces/default";
        let account =
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
        cluster.apply(&format!("{core}/serviceaccounts/{name}"), &account).await;
        let settings = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
            "data": {"level": "info"}});
        cluster.apply(&format!("{core}/configmaps/{name}"), &settings).await;
        let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name}, "spec": {"replicas": 1,
                "selector": {"matchLabels": {"app": name}}, "template": template(&name, "web:1")}});
        let path = format!("/apis/apps/v1/namespaces/default/deployments/{name}");
        cluster.apply(&path, &deployment).await;
        cluster.apply(&format!("{core}/services/{name}"), &service(&name)).await;
        Cluster::breathe().await;
    };
    let is_there = async |index: usize| {
        let path = format!("/apis/apps/v1/namespaces/default/deployments/app-{index}");
        cluster.reaches(&path, "/status/availableReplicas", 1).await;
    };
    let work = Work::begins(&cluster);
    for index in 0..apps {
        install(index).await;
    }
    for index in 0..apps {
        is_there(index).await;
    }
    let all = work.per(&cluster, count);
    let work = Work::begins(&cluster);
    install(apps).await;
    is_there(apps).await;
    [all, work.per(&cluster, PER_APP)]
}

/// A stateful set behind a service, whose pods are released in groups by its partition.
async fn many_pods(count: usize) -> [Share; 2] {
    let cluster = Cluster::with_room_for(count);
    cluster.apply("/api/v1/namespaces/default/services/db", &service("db")).await;
    let path = "/apis/apps/v1/namespaces/default/statefulsets/db";
    let set = |image: &str, partition: usize| {
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"}, "spec": {
            "replicas": count, "serviceName": "db", "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}},
            "selector": {"matchLabels": {"app": "db"}}, "template": template("db", image)}})
    };
    let work = Work::begins(&cluster);
    cluster.apply(path, &set("db:1", 0)).await;
    cluster.reaches(path, "/status/readyReplicas", count).await;
    let made = work.per(&cluster, count);
    let work = Work::begins(&cluster);
    for group in 1..=GROUPS {
        let released = count * group / GROUPS;
        cluster.apply(path, &set("db:2", count - released)).await;
        cluster.reaches(path, "/status/updatedReplicas", released).await;
        cluster.reaches(path, "/status/readyReplicas", count).await;
    }
    [made, work.per(&cluster, count)]
}

fn tell(what: &str, unit: &str, sizes: [usize; 2], few: &Share, many: &Share) {
    let ratio = many.time.as_secs_f64() / few.time.as_secs_f64();
    println!(
        "{what:<24} per {unit:<6}  of {:>6}: {:>9.2?}, {:>6.1} looks;  of {:>6}: {:>9.2?}, {:>6.1} looks;  {ratio:>5.1} times",
        sizes[0], few.time, few.looks, sizes[1], many.time, many.looks
    );
}

/// Runs on a clock of its own that stands still while there is work.
fn measured<T>(work: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().unwrap().block_on(work)
}

fn main() {
    let [few, many] = OBJECTS.map(|count| measured(many_objects(count)));
    tell("installed", "object", OBJECTS, &few[0], &many[0]);
    tell("one more app", "object", OBJECTS, &few[1], &many[1]);
    let [few, many] = PODS.map(|count| measured(many_pods(count)));
    tell("pods made at once", "pod", PODS, &few[0], &many[0]);
    tell("pods released in groups", "pod", PODS, &few[1], &many[1]);
}
