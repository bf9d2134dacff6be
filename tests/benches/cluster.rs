//! How Tidegate and kubectl compare on one API server: `cargo bench --workspace --bench cluster`.
//!
//! Both are asked for the same thing in turn, on the same server, in the same run; figures are printed with their ratio and
//! never asserted. The server is a real control plane where its binaries are there, else a sandbox inside this process,
//! which then competes with both for the processor. Without a kubectl only our side is measured.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement")]

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use kube::api::{Api, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::discovery::ApiResource;
use serde_json::json;
use tidegate::client::Client;
use tidegate::status::{Condition, Status};
use tidegate::whereabouts::Whereabouts;
use tidegate_sandbox::{Options, Sandbox};
use tidegate_schema::finding::Lang;
use tidegate_tests::measure::{build_program, processor_time};
use tidegate_tests::program::{TestSite, program};
use tidegate_tests::real_cluster::{self, RealCluster};

/// Apps of four objects each: 1,000 objects, as in the goals.
const APPS: usize = 250;
/// Apps for the measure of memory: 10,000 objects.
const MANY_APPS: usize = 2_500;
const WHO: (&str, &str) = ("Li Na", "li.na@bank.example");
/// How often a round of the agent is asked for.
const ROUNDS: u32 = 20;

/// `ServiceAccount`, `Deployment`, `Service` and `Ingress` of one app. No pods: what is measured is the API, not them.
fn app(index: usize, image: &str) -> String {
    let name = format!("app-{index}");
    format!(
        "\
apiVersion: v1
kind: ServiceAccount
metadata: {{name: {name}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: 0
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      serviceAccountName: {name}
      containers:
        - name: web
          image: {image}
          env: [{{name: LEVEL, value: info}}, {{name: REGION, value: hangzhou}}]
          ports: [{{name: http, containerPort: 8080, protocol: TCP}}]
          resources: {{requests: {{cpu: 100m, memory: 128Mi}}, limits: {{memory: 256Mi}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{selector: {{app: {name}}}, ports: [{{name: http, port: 80, targetPort: http, protocol: TCP}}]}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {name}}}
spec:
  rules:
    - host: {name}.bank.internal
      http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: {name}, port: {{name: http}}}}}}}}]}}
"
    )
}

fn apps(count: usize, image: &str) -> String {
    (0..count).map(|index| app(index, image)).collect::<Vec<_>>().join("---\n")
}

fn document(kind: &str, name: &str, spec: &str) -> String {
    format!("apiVersion: tidegate.dev/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n")
}

/// One product of plain manifests in one cluster, where nobody has to approve anything.
fn write(site: &TestSite, product: &str, count: usize, image: &str) {
    let solution = format!("{{products: [{{product: {product}, version: 1.0.0}}]}}");
    let cluster = "{access: {kubeconfig: {path: main.yaml}}, room: r, zone: z, region: g}";
    let text = [
        document("Site", "bench", "{tier: development, resourcePrefix: b, domain: b.internal}"),
        document("Cluster", "main", cluster),
        document("ApprovalPolicy", "open", "{rules: []}"),
        document("Product", product, "{title: Bench}"),
        document("Solution", "all", &solution),
    ];
    site.write("site.yaml", &text.join("---\n"));
    let spec = "{version: 1.0.0, verbatimManifests: [manifests/*.yaml]}";
    site.write("catalog/version.yaml", &document("ProductVersion", product, spec));
    // Files as people have them: an app each.
    for index in 0..count {
        site.write(&format!("catalog/manifests/app-{index}.yaml"), &app(index, image));
    }
}

/// An API server and how it is reached.
enum Server {
    Real(RealCluster),
    Sandbox { _sandbox: Sandbox, kubeconfig: PathBuf, _folder: tempfile::TempDir },
}

impl Server {
    async fn sandbox() -> Self {
        let sandbox = Sandbox::start(Options::default()).unwrap();
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, sandbox.kubeconfig(listener.local_addr().unwrap())).unwrap();
        // It ends with the process.
        drop(sandbox.serve(listener));
        Self::Sandbox { _sandbox: sandbox, kubeconfig, _folder: folder }
    }

    fn kubeconfig(&self) -> PathBuf {
        match self {
            Self::Real(cluster) => cluster.watched_kubeconfig(),
            Self::Sandbox { kubeconfig, .. } => kubeconfig.clone(),
        }
    }
}

/// kubectl with a namespace of its own.
struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    folder: tempfile::TempDir,
}

impl Kubectl {
    fn run(&self, words: &[&str]) -> Output {
        Command::new(&self.program)
            .args(words)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", self.folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// The time that a command takes.
    fn time(&self, words: &[&str], codes: &[i32]) -> Duration {
        let start = Instant::now();
        let output = self.run(words);
        let took = start.elapsed();
        let code = output.status.code().unwrap_or(-1);
        assert!(codes.contains(&code), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        took
    }
}

/// The time that a command of ours takes.
fn time(site: &TestSite, words: &[&str], codes: &[i32]) -> Duration {
    let start = Instant::now();
    let output = site.run(words);
    let took = start.elapsed();
    let code = output.status.code().unwrap_or(-1);
    let said = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        text.lines().rev().take(20).collect::<Vec<_>>().join("\n")
    };
    assert!(codes.contains(&code), "{words:?}: {}\n{}", said(&output.stderr), said(&output.stdout));
    took
}

fn tell(what: &str, ours: Duration, theirs: Option<Duration>, goal: &str) {
    let mut line = format!("{what:<44} {:>8.2} s", ours.as_secs_f64());
    if let Some(theirs) = theirs {
        let ratio = theirs.as_secs_f64() / ours.as_secs_f64();
        write!(line, "  kubectl {:>8.2} s  {ratio:>5.1} times faster", theirs.as_secs_f64())
            .unwrap();
    }
    println!("{line}  (goal: {goal})");
}

/// Memory of a process that is in use (proc(5), `status`, `VmRSS`), in MiB.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// A site whose data folder knows the cluster.
fn site(server: &Server, product: &str, count: usize) -> TestSite {
    let site = TestSite::new();
    write(&site, product, count, "web:1");
    site.connect("main.yaml", &server.kubeconfig());
    site
}

async fn settled(site: &mut TestSite) {
    let is_settled = |status: &Status| (status.condition == Condition::Settled).then_some(());
    // A release of 10,000 objects on a loaded machine.
    site.see_within(Duration::from_mins(15), "settled", is_settled).await;
}

/// Commands side by side: first apply, difference, applying what is there.
fn commands(site: &TestSite, kubectl: Option<&Kubectl>) {
    let file = |name: &str, image: &str| {
        let path = kubectl.unwrap().folder.path().join(name);
        std::fs::write(&path, apps(APPS, image)).unwrap();
        path.display().to_string()
    };
    let apply = |file: &str| {
        let words = ["apply", "--server-side", "-n", "theirs", "-f", file];
        kubectl.unwrap().time(&words, &[0])
    };
    let theirs = kubectl.map(|kubectl| {
        kubectl.time(&["create", "namespace", "theirs"], &[0]);
        apply(&file("one.yaml", "web:1"))
    });
    let ours = time(site, &["apply"], &[0]);
    tell("first apply of 1,000 objects", ours, theirs, "2 times faster");
    let theirs = kubectl.map(|_| apply(&file("one.yaml", "web:1")));
    let ours = time(site, &["diff"], &[0]);
    tell("difference, nothing changed (kubectl: apply)", ours, theirs, "-");
    for index in 0..APPS {
        site.write(&format!("catalog/manifests/app-{index}.yaml"), &app(index, "web:2"));
    }
    let theirs = kubectl.map(|kubectl| {
        let file = file("two.yaml", "web:2");
        kubectl.time(&["diff", "--server-side", "-n", "theirs", "-f", &file], &[1])
    });
    let ours = time(site, &["diff"], &[2]);
    tell("difference, 250 of 1,000 objects change", ours, theirs, "5 times faster");
}

/// The agent while nothing, something small, or one app changes.
async fn agent(site: &mut TestSite, server: &Server) {
    site.push(WHO, "web:1");
    site.start_agent(&[]);
    settled(site).await;
    let there = Whereabouts::read(&site.data()).unwrap();
    let client = Client::new(&there.url, there.token(), Lang::En).unwrap();
    let pid = site.agent().unwrap();
    let before = match server {
        Server::Real(cluster) => Some(cluster.requests().len()),
        Server::Sandbox { .. } => None,
    };
    let start = processor_time(pid);
    for _ in 0..ROUNDS {
        let status: Status = client.get("/api/v1/status").await.unwrap();
        client.post("/api/v1/wake", &json!({})).await.unwrap();
        site.see("a round", |now| (now.updated_at > status.updated_at).then_some(())).await;
    }
    let used = processor_time(pid).saturating_sub(start) / ROUNDS;
    println!(
        "a round of 1,000 objects, nothing changed: {used:?} of processor time, with the answers to this bench (goal: 50 ms)"
    );
    if let (Server::Real(cluster), Some(before)) = (server, before) {
        println!(
            "requests in {ROUNDS} rounds but watches: {} (goal: none)",
            cluster.requests().len() - before
        );
    }
    println!("memory with 1,000 objects: {} MiB", memory(pid));

    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Service"));
    let kube = real_cluster::client(&server.kubeconfig()).await;
    let services: Api<kube::api::DynamicObject> = Api::namespaced_with(kube, "followed", &kind);
    let edit = async |app: &str| {
        let patch = Patch::Merge(json!({"spec": {"selector": {"app": app}}}));
        let by = PatchParams {
            field_manager: Some("kubectl-edit".to_owned()),
            ..PatchParams::default()
        };
        services.patch("app-7", &by, &patch).await.unwrap();
    };
    let start = Instant::now();
    edit("by-hand").await;
    site.see("the change by hand", |status| (!status.drift.is_empty()).then_some(())).await;
    tell("one field changed by hand, until it is seen", start.elapsed(), None, "1 s");
    // Taking the field back from another manager would need an approval.
    edit("app-7").await;
    settled(site).await;

    // Frozen, so that the plan stays to be seen.
    client
        .post("/api/v1/freeze", &json!({"by": "bench", "reason": "to see the plan"}))
        .await
        .unwrap();
    site.write("catalog/manifests/app-7.yaml", &app(7, "web:3"));
    site.push(WHO, "web:3");
    let start = Instant::now();
    client.post("/api/v1/wake", &json!({})).await.unwrap();
    site.see("the plan", |status| status.plan.as_ref().map(|_| ())).await;
    tell("from a push to the plan, one app of 250 changed", start.elapsed(), None, "2 s");
}

/// Says which program it is.
fn tell_version() {
    println!(
        "{}",
        String::from_utf8_lossy(&Command::new(program()).arg("--version").output().unwrap().stdout)
            .trim()
    );
}

#[tokio::main]
async fn main() {
    build_program("cluster");
    tell_version();
    let server = match RealCluster::start_with(0) {
        Some(cluster) if cluster.has_controllers() => Server::Real(cluster),
        Some(_) | None => Server::sandbox().await,
    };
    let kubectl = real_cluster::kubectl().map(|program| Kubectl {
        program,
        kubeconfig: server.kubeconfig(),
        folder: tempfile::tempdir().unwrap(),
    });
    println!(
        "on {}, against {}",
        match &server {
            Server::Real(_) => "a real control plane",
            Server::Sandbox { .. } => "a sandbox in this process",
        },
        kubectl.as_ref().map_or("nothing: there is no kubectl".to_owned(), |kubectl| kubectl
            .program
            .display()
            .to_string()),
    );
    commands(&site(&server, "applied", APPS), kubectl.as_ref());
    agent(&mut site(&server, "followed", APPS), &server).await;
    drop(server);

    let server = Server::sandbox().await;
    let mut large = site(&server, "many", MANY_APPS);
    large.push(WHO, "ten thousand objects");
    large.start_agent(&[]);
    settled(&mut large).await;
    let pid = large.agent().unwrap();
    println!(
        "memory with 10,000 objects watched: {} MiB (goal: 100; Flux 175 with 4,000)",
        memory(pid)
    );
}
