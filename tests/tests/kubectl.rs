//! kubectl on a sandbox over loopback: what people type, how it ends, and what they read.
//!
//! Held by the machine's kubectl and by the old one beside the real control plane, since banks have clients of several years.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test is to stop at what it did not expect"
)]

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Once;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tidegate_sandbox::{Options, Sandbox};
use tidegate_tests::real_cluster;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::task::JoinHandle;

/// How long one command may take on a machine that is busy with builds.
const PATIENCE: Duration = Duration::from_mins(3);

/// A sandbox that is served, and a kubectl with a home of its own.
struct Desk {
    program: PathBuf,
    folder: TempDir,
    server: JoinHandle<()>,
    _sandbox: Sandbox,
}

/// What a command said, and with which code it ended.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    #[track_caller]
    fn with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        self
    }

    /// The words of each line of the output.
    fn table(&self) -> Vec<Vec<&str>> {
        self.out.lines().map(|line| line.split_whitespace().collect()).collect()
    }

    /// Fails when the texts do not stand in the output in that order.
    #[track_caller]
    fn tells(&self, texts: &[&str]) {
        let mut rest = self.out.as_str();
        for text in texts {
            let at = rest.find(text);
            let at =
                at.unwrap_or_else(|| panic!("{text:?} is not there, or not there:\n{}", self.out));
            rest = &rest[at + text.len()..];
        }
    }
}

/// A desk for each kubectl that there is; says once when there is none.
async fn desks() -> Vec<Desk> {
    static SAID: Once = Once::new();
    let programs = real_cluster::kubectls();
    if programs.is_empty() {
        SAID.call_once(|| {
            let text = "kubectl: left out: there is none on PATH and none beside a control plane\n";
            std::io::stderr().write_all(text.as_bytes()).expect("an open standard error");
        });
    }
    let mut desks = Vec::new();
    for program in programs {
        let sandbox = Sandbox::start(Options::default()).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = sandbox.kubeconfig(listener.local_addr().unwrap());
        std::fs::write(folder.path().join("kubeconfig"), kubeconfig).unwrap();
        let server = sandbox.serve(listener);
        desks.push(Desk { program, folder, server, _sandbox: sandbox });
    }
    desks
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Desk {
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(words)
            .current_dir(self.folder.path())
            .env("KUBECONFIG", self.folder.path().join("kubeconfig"))
            .env("HOME", self.folder.path())
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Types a command: its words are apart by spaces.
    async fn kubectl(&self, words: &str) -> Said {
        let words: Vec<&str> = words.split_whitespace().collect();
        let output = tokio::time::timeout(PATIENCE, self.command(&words).output()).await;
        let output = output.unwrap_or_else(|_| panic!("{words:?} does not end")).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said {
            code: output.status.code().unwrap(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    fn file(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// Lays out `web.yaml`: a Deployment with two pods of that image, and its settings.
    fn web(&self, image: &str) {
        self.file("web.yaml", &WEB.replace("IMAGE", image));
    }

    /// Applies `web.yaml` and waits for its pods.
    async fn roll_out(&self, image: &str) {
        self.web(image);
        self.kubectl("apply -f web.yaml").await.with(0);
        let said = self.kubectl("rollout status deployment/web --timeout=120s").await.with(0);
        said.tells(&["deployment \"web\" successfully rolled out"]);
    }
}

const WEB: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: main
        image: IMAGE
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {color: blue}
";

#[tokio::test]
async fn get_shows_tables_and_documents() {
    for desk in desks().await {
        desk.roll_out("web:1").await;
        let said = desk.kubectl("get deployment web").await.with(0);
        let table = said.table();
        assert_eq!(table[0], ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]);
        assert_eq!(table[1][..4], ["web", "2/2", "2", "2"]);
        let said = desk.kubectl("get deployment web -o wide").await.with(0);
        let table = said.table();
        assert_eq!(table[0][5..], ["CONTAINERS", "IMAGES", "SELECTOR"]);
        assert_eq!(table[1][5..], ["main", "web:1", "app=web"]);
        let said = desk.kubectl("get pods -l app=web -o wide").await.with(0);
        said.tells(&[
            "NAME",
            "READY",
            "STATUS",
            "RESTARTS",
            "AGE",
            "IP",
            "NODE",
            "NOMINATED NODE",
            "READINESS GATES",
        ]);
        let table = said.table();
        assert_eq!(table.len(), 3);
        assert_eq!((table[1][1], table[1][2], table[1][3]), ("1/1", "Running", "0"));
        assert!(table[1][6].starts_with("node-"), "{table:?}");
        let said = desk.kubectl("get pods -l app=other").await.with(0);
        assert_eq!(
            (said.out.as_str(), said.err.as_str()),
            ("", "No resources found in default namespace.\n")
        );
        let said = desk.kubectl("get configmap settings -o yaml").await.with(0);
        let document: Value = serde_yaml::from_str(&said.out).unwrap();
        assert_eq!(
            (&document["kind"], &document["data"]["color"]),
            (&"ConfigMap".into(), &"blue".into())
        );
        let said = desk.kubectl("get deployment web -o jsonpath={.spec.replicas}").await.with(0);
        assert_eq!(said.out, "2");
        let said = desk.kubectl("get all -o name").await.with(0);
        said.tells(&[
            "pod/web-",
            "pod/web-",
            "service/kubernetes",
            "deployment.apps/web",
            "replicaset.apps/web-",
        ]);
        let said = desk.kubectl("get nodes").await.with(0);
        assert_eq!(said.table()[1][..2], ["node-1", "Ready"]);
        let said = desk.kubectl("get deployment nope").await.with(1);
        assert_eq!(said.err, "Error from server (NotFound): deployments.apps \"nope\" not found\n");
        let said = desk.kubectl("get things").await.with(1);
        assert_eq!(said.err, "error: the server doesn't have a resource type \"things\"\n");
    }
}

#[tokio::test]
async fn get_follows_what_happens() {
    for desk in desks().await {
        desk.web("web:1");
        let mut watching = desk.command(&["get", "deployments", "--watch"]).spawn().unwrap();
        let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
        let mut seen = Vec::new();
        let follow = async {
            desk.kubectl("apply -f web.yaml").await.with(0);
            while let Some(line) = lines.next_line().await.unwrap() {
                let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
                let is_last = words[1] == "2/2";
                seen.push(words);
                if is_last {
                    break;
                }
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, follow).await;
        in_time.unwrap_or_else(|_| panic!("the watch did not tell of the end: {seen:?}"));
        watching.kill().await.unwrap();
        assert_eq!(seen[0], ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]);
        // The first is the first that it saw: from none ready, or from before there was any.
        assert_eq!(seen[1][..2], ["web", "0/2"]);
    }
}

#[tokio::test]
async fn describe_tells_the_parts_and_the_events_in_their_order() {
    for desk in desks().await {
        desk.roll_out("web:1").await;
        let said = desk.kubectl("describe deployment web").await.with(0);
        said.tells(&[
            "Name:                   web",
            "Selector:               app=web",
            "Replicas:               2 desired | 2 updated | 2 total | 2 available | 0 unavailable",
            "RollingUpdateStrategy:  25% max unavailable, 25% max surge",
            "Image:",
            "web:1",
            "Available      True    MinimumReplicasAvailable",
            "Progressing    True    NewReplicaSetAvailable",
            "NewReplicaSet:   web-",
            "(2/2 replicas created)",
            "Normal  ScalingReplicaSet",
            "deployment-controller  Scaled up replica set web-",
        ]);
        let said = desk.kubectl("get pods -o name").await.with(0);
        let pod = said.out.lines().next().unwrap();
        let said = desk.kubectl(&format!("describe {pod}")).await.with(0);
        said.tells(&[
            "Namespace:",
            "default",
            "Node:",
            "node-",
            "Status:",
            "Running",
            "Controlled By:",
            "ReplicaSet/web-",
            "Ready:",
            "True",
            "QoS Class:",
            "BestEffort",
            "Events:",
            "Scheduled",
            "default-scheduler",
            "Successfully assigned default/web-",
            "Pulling",
            "kubelet",
            "Pulled",
            "Created",
            "Started",
        ]);
    }
}

#[tokio::test]
async fn apply_and_diff_tell_whether_anything_changes() {
    for desk in desks().await {
        desk.web("web:1");
        let said = desk.kubectl("diff -f web.yaml").await.with(1);
        said.tells(&["+kind: Deployment", "+      - image: web:1", "+kind: ConfigMap"]);
        let said = desk.kubectl("get configmaps -o name").await.with(0);
        assert!(!said.out.contains("settings"), "a diff makes nothing: {}", said.out);
        let said = desk.kubectl("apply -f web.yaml").await.with(0);
        assert_eq!(said.out, "deployment.apps/web created\nconfigmap/settings created\n");
        let said = desk.kubectl("apply -f web.yaml").await.with(0);
        assert_eq!(said.out, "deployment.apps/web unchanged\nconfigmap/settings unchanged\n");
        assert_eq!(desk.kubectl("diff -f web.yaml").await.with(0).out, "");
        desk.web("web:2");
        let said = desk.kubectl("diff -f web.yaml").await.with(1);
        said.tells(&["-      - image: web:1", "+      - image: web:2"]);
        assert!(!said.out.contains("blue"), "the settings are the same: {}", said.out);
        let said = desk.kubectl("apply -f web.yaml --dry-run=server").await.with(0);
        said.tells(&["deployment.apps/web configured (server dry run)"]);
        let said = desk.kubectl("apply -f web.yaml").await.with(0);
        assert_eq!(said.out, "deployment.apps/web configured\nconfigmap/settings unchanged\n");
        // What the server refuses is told with its field, and nothing is changed.
        desk.file(
            "bad.yaml",
            &WEB.replace("replicas: 2", "replicas: -1").replace("IMAGE", "web:1"),
        );
        let said = desk.kubectl("apply -f bad.yaml").await.with(1);
        let why = "The Deployment \"web\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0";
        assert!(said.err.contains(why), "{}", said.err);
        let said = desk.kubectl("get deployment web -o jsonpath={.spec.replicas}").await.with(0);
        assert_eq!(said.out, "2");
    }
}

#[tokio::test]
async fn a_server_side_apply_names_who_holds_what() {
    for desk in desks().await {
        desk.web("web:1");
        let said = desk.kubectl("apply --server-side --field-manager=tidegate -f web.yaml").await;
        let said = said.with(0);
        assert_eq!(
            said.out,
            "deployment.apps/web serverside-applied\nconfigmap/settings serverside-applied\n"
        );
        desk.web("web:2");
        let said =
            desk.kubectl("apply --server-side --field-manager=hand -f web.yaml").await.with(1);
        let why = "Apply failed with 1 conflict: conflict with \"tidegate\": .spec.template.spec.containers[name=\"main\"].image";
        assert!(said.err.contains(why), "{}", said.err);
        let image = "get deployment web -o jsonpath={.spec.template.spec.containers[0].image}";
        assert_eq!(desk.kubectl(image).await.with(0).out, "web:1");
        let said = desk
            .kubectl("apply --server-side --force-conflicts --field-manager=hand -f web.yaml")
            .await
            .with(0);
        said.tells(&["deployment.apps/web serverside-applied"]);
        assert_eq!(desk.kubectl(image).await.with(0).out, "web:2");
    }
}

#[tokio::test]
async fn delete_takes_everything_and_waits_for_it() {
    const HELD: &str = r"
apiVersion: v1
kind: ConfigMap
metadata: {name: held, finalizers: [example.com/hold]}
";
    for desk in desks().await {
        desk.roll_out("web:1").await;
        let delete = "delete -f web.yaml --cascade=foreground --timeout=120s";
        let said = desk.kubectl(delete).await.with(0);
        said.tells(&["deployment.apps \"web\" deleted", "configmap \"settings\" deleted"]);
        let said = desk.kubectl("get deployments,replicasets,pods").await.with(0);
        assert_eq!(said.err, "No resources found in default namespace.\n");
        let said = desk.kubectl("delete deployment web").await.with(1);
        assert_eq!(said.err, "Error from server (NotFound): deployments.apps \"web\" not found\n");
        let said = desk.kubectl("delete deployment web --ignore-not-found").await.with(0);
        assert_eq!((said.out.as_str(), said.err.as_str()), ("", ""));
        // What is held back is waited for.
        desk.file("held.yaml", HELD);
        desk.kubectl("apply -f held.yaml").await.with(0);
        desk.kubectl("delete configmap held --wait=false").await.with(0);
        let said = desk.kubectl("wait --for=delete configmap/held --timeout=1s").await.with(1);
        assert!(said.err.contains("timed out waiting for the condition"), "{}", said.err);
        let free = r#"patch configmap held --type=merge -p {"metadata":{"finalizers":null}}"#;
        assert_eq!(desk.kubectl(free).await.with(0).out, "configmap/held patched\n");
        desk.kubectl("get configmap held").await.with(1);
        // A namespace goes with what is in it.
        desk.kubectl("create namespace team").await.with(0);
        desk.kubectl("apply -n team -f web.yaml").await.with(0);
        desk.kubectl("delete namespace team --timeout=120s").await.with(0);
        let said = desk.kubectl("get namespace team").await.with(1);
        assert_eq!(said.err, "Error from server (NotFound): namespaces \"team\" not found\n");
    }
}

#[tokio::test]
async fn rollouts_are_followed_waited_for_and_taken_back() {
    for desk in desks().await {
        desk.roll_out("web:1").await;
        let said =
            desk.kubectl("wait --for=condition=Available deployment/web --timeout=60s").await;
        assert_eq!(said.with(0).out, "deployment.apps/web condition met\n");
        let said = desk.kubectl("set image deployment/web main=web:never-ready").await.with(0);
        assert_eq!(said.out, "deployment.apps/web image updated\n");
        let said = desk.kubectl("rollout status deployment/web --timeout=3s").await.with(1);
        said.tells(&["Waiting for deployment \"web\" rollout to finish: 1 out of 2 new replicas have been updated..."]);
        assert!(said.err.contains("timed out waiting for the condition"), "{}", said.err);
        let said =
            desk.kubectl("wait --for=condition=Ready pod -l app=web --timeout=1s").await.with(1);
        assert!(
            said.err.contains("timed out waiting for the condition on pods/web-"),
            "{}",
            said.err
        );
        let said = desk.kubectl("rollout history deployment/web").await.with(0);
        assert_eq!(
            said.table()[1..4],
            [vec!["REVISION", "CHANGE-CAUSE"], vec!["1", "<none>"], vec!["2", "<none>"]]
        );
        let said = desk.kubectl("rollout undo deployment/web").await.with(0);
        assert_eq!(said.out, "deployment.apps/web rolled back\n");
        let said = desk.kubectl("rollout status deployment/web --timeout=120s").await.with(0);
        said.tells(&["deployment \"web\" successfully rolled out"]);
        let said = desk.kubectl("get deployment web -o wide").await.with(0);
        assert_eq!(said.table()[1][6], "web:1");
        let said = desk.kubectl("scale deployment/web --replicas=3").await.with(0);
        assert_eq!(said.out, "deployment.apps/web scaled\n");
        desk.kubectl("rollout status deployment/web --timeout=120s").await.with(0);
        let said = desk.kubectl("get pods -l app=web -o name").await.with(0);
        assert_eq!(said.out.lines().count(), 3);
    }
}

#[tokio::test]
async fn logs_are_of_the_pod_the_workload_and_the_run_before() {
    for desk in desks().await {
        desk.roll_out("web:1").await;
        let said = desk.kubectl("logs deployment/web").await.with(0);
        said.tells(&["simulated container main of image web:1", "started", "ready"]);
        assert!(said.err.contains("Found 2 pods, using pod/web-"), "{}", said.err);
        let said = desk.kubectl("logs -l app=web --tail=1").await.with(0);
        assert_eq!(said.out, "ready\nready\n");
        desk.kubectl("run broken --image=web:crash").await.with(0);
        let restarts = "get pod broken -o jsonpath={.status.containerStatuses[0].lastState.terminated.exitCode}";
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while desk.kubectl(restarts).await.with(0).out != "1" {
            assert!(tokio::time::Instant::now() < deadline, "the pod does not crash");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let said = desk.kubectl("logs broken").await.with(0);
        said.tells(&["exited with code 1: Error"]);
        let said = desk.kubectl("get pod broken").await.with(0);
        assert_eq!(said.table()[1][1], "0/1");
        let said = desk.kubectl("logs nowhere").await.with(1);
        assert_eq!(said.err, "Error from server (NotFound): pods \"nowhere\" not found\n");
        let said = desk.kubectl("logs broken -c other").await.with(1);
        assert!(said.err.contains("container other is not valid for pod broken"), "{}", said.err);
    }
}

#[tokio::test]
async fn people_ask_what_they_may_do() {
    const ROLES: &str = r"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules:
- {apiGroups: [''], resources: [configmaps], verbs: [get, list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: ann}
";
    for desk in desks().await {
        desk.file("roles.yaml", ROLES);
        desk.kubectl("apply -f roles.yaml").await.with(0);
        let said = desk.kubectl("auth can-i delete deployments").await.with(0);
        assert_eq!(said.out, "yes\n");
        let said = desk.kubectl("auth can-i get configmaps --as ann").await.with(0);
        assert_eq!(said.out, "yes\n");
        let said = desk.kubectl("auth can-i delete configmaps --as ann").await.with(1);
        assert_eq!(said.out, "no\n");
        let said = desk.kubectl("auth can-i --list --as ann").await.with(0);
        assert!(said.table().iter().any(|row| row.first() == Some(&"configmaps")), "{}", said.out);
        let said = desk.kubectl("get secrets --as ann").await.with(1);
        let why = "Error from server (Forbidden): secrets is forbidden: User \"ann\" cannot list resource \"secrets\" in API group \"\" in the namespace \"default\"\n";
        assert_eq!(said.err, why);
    }
}

#[tokio::test]
async fn a_node_is_emptied_within_the_budget() {
    const BUDGET: &str = r"
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 2, selector: {matchLabels: {app: web}}}
";
    for desk in desks().await {
        desk.roll_out("web:1").await;
        desk.file("budget.yaml", BUDGET);
        desk.kubectl("apply -f budget.yaml").await.with(0);
        let nodes = desk.kubectl("get pods -o jsonpath={.items[0].spec.nodeName}").await.with(0);
        let drain = format!("drain {} --ignore-daemonsets --timeout=4s", nodes.out);
        let said = desk.kubectl(&drain).await.with(1);
        let why = "Cannot evict pod as it would violate the pod's disruption budget.";
        assert!(said.err.contains(why), "{}", said.err);
        let said = desk.kubectl("get pods -l app=web -o name").await.with(0);
        assert_eq!(said.out.lines().count(), 2);
        desk.kubectl("delete poddisruptionbudget web").await.with(0);
        let drain = format!("drain {} --ignore-daemonsets --timeout=120s", nodes.out);
        let said = desk.kubectl(&drain).await.with(0);
        said.tells(&["evicted"]);
        let said = desk.kubectl(&format!("get node {}", nodes.out)).await.with(0);
        assert_eq!(said.table()[1][1], "Ready,SchedulingDisabled");
    }
}
