//! An agent whose connection to the API server fails all the time ends where one with a good connection ends, and touches
//! nothing that is not its own.
//!
//! `TIDEGATE_SEEDS=1000` tries so many seeds; `TIDEGATE_SEED=17` only that one.
#![expect(clippy::unwrap_used, reason = "a test is to stop at what it did not expect")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use similar::TextDiff;
use tidegate::agent::{Agent, Images, Parts, RETENTION};
use tidegate::clock::Clock;
use tidegate::execute::Checks;
use tidegate::handle::Handle;
use tidegate::journal::Journal;
use tidegate::source::{
    Source, SourceOptions, clone_repository, commit_all, init_bare_repository, push,
};
use tidegate::status::{Condition, Status};
use tidegate::wake::Wake;
use tidegate_core::object::Object;
use tidegate_core::release::{Command, Part};
use tidegate_core::snapshot::Identity;
use tidegate_sandbox::fault::{Fault, Matching};
use tidegate_sandbox::{Options, Sandbox};
use tidegate_tests::faults::Faults;

/// Seeds that every run of the suite tries.
const SEEDS: u64 = 16;
/// Seeds side by side: they mostly wait.
const TOGETHER: usize = 32;
/// Faults of one seed at the most.
const FAULTS: u32 = 80;
/// A loaded machine takes its time.
const PATIENCE: Duration = Duration::from_mins(5);

const SITE: &str = "\
apiVersion: tidegate.dev/v1
kind: Site
metadata: {name: hz}
spec: {tier: development, resourcePrefix: hz, domain: hz.internal}
---
apiVersion: tidegate.dev/v1
kind: Cluster
metadata: {name: room-a}
spec: {access: {sandbox: {nodes: 3}}, room: a, zone: z1, region: r}
---
apiVersion: tidegate.dev/v1
kind: ApprovalPolicy
metadata: {name: open}
spec: {rules: []}
---
apiVersion: tidegate.dev/v1
kind: RolloutPolicy
metadata: {name: standard}
spec: {groups: {strategy: two}, beta: false, bake: 1s}
";

/// An app in groups, a task, a definition with an object of its kind, and something that the next version has no more.
fn version(number: &str) -> String {
    format!(
        "\
---
apiVersion: tidegate.dev/v1
kind: ProductVersion
metadata: {{name: shop}}
spec:
  version: {number}
  apps:
    - {{name: web, workload: Deployment, image: \"shop/web:{number}\", ports: [{{name: http, port: 80}}]}}
    - {{name: init, kind: task, image: \"shop/init:{number}\"}}
  sizes:
    - {{name: small, apps: {{web: {{replicas: 3}}}}}}
  manifests: [manifests/{number}/*.yaml]
"
    )
}

const DEFINITION: &str = "\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.org}
spec:
  group: example.org
  scope: Namespaced
  names: {kind: Widget, plural: widgets, singular: widget, listKind: WidgetList}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
---
apiVersion: example.org/v1
kind: Widget
metadata: {name: w}
spec: {size: 1}
";

const NOTES: &str = "\
---
apiVersion: v1
kind: ConfigMap
metadata: {name: notes}
data: {a: b}
";

fn solution(number: &str) -> String {
    format!(
        "\
apiVersion: tidegate.dev/v1
kind: Solution
metadata: {{name: all}}
spec: {{rollout: standard, products: [{{product: shop, version: {number}, size: small}}]}}
"
    )
}

/// What is there before, and is nobody's of ours: beside our objects, and in a namespace of its own.
fn bystanders() -> Vec<Value> {
    let named = |kind: &str, namespace: &str, name: &str| {
        json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": namespace},
            "data": {"key": "dmFsdWU="}})
    };
    vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "theirs"}}),
        named("ConfigMap", "theirs", "web"),
        named("Secret", "theirs", "notes"),
        named("ConfigMap", "default", "notes"),
    ]
}

struct Place {
    folder: tempfile::TempDir,
    sandbox: Sandbox,
}

impl Place {
    fn work(&self) -> PathBuf {
        self.folder.path().join("site")
    }

    fn push(&self, number: &str) -> String {
        let (work, product) = (
            self.work(),
            "apiVersion: tidegate.dev/v1\nkind: Product\nmetadata: {name: shop}\nspec: {}\n",
        );
        let manifests = work.join("manifests").join(number);
        std::fs::create_dir_all(&manifests).unwrap();
        let notes = if number == "1.0.0" { NOTES } else { "" };
        std::fs::write(manifests.join("all.yaml"), [DEFINITION, notes].concat()).unwrap();
        std::fs::write(work.join("site.yaml"), SITE).unwrap();
        let known = std::fs::read_to_string(work.join("shop.yaml")).unwrap_or(product.to_owned());
        std::fs::write(work.join("shop.yaml"), known + &version(number)).unwrap();
        std::fs::write(work.join("solution.yaml"), solution(number)).unwrap();
        let li_na = Identity { name: "Li Na".to_owned(), email: "li.na@bank.example".to_owned() };
        let commit = commit_all(&work, number, &li_na, Timestamp::now()).unwrap();
        push(&work, "main").unwrap();
        commit
    }

    /// Everything that we applied, and how many pods there are of each image: a task that ran twice shows.
    fn applied(&self) -> BTreeMap<String, Value> {
        let objects: Vec<_> = self.sandbox.snapshot().into_iter().map(Object::new).collect();
        let mut pods: BTreeMap<String, u32> = BTreeMap::new();
        for pod in objects.iter().filter(|object| object.kind() == "Pod") {
            let image = pod.text("/spec/containers/0/image");
            *pods.entry(format!("pods of {image}")).or_default() += 1;
        }
        objects
            .into_iter()
            .filter(Object::is_applied_by_us)
            .map(|object| {
                let name = object.reference("").to_string();
                (
                    name,
                    json!([
                        object.get("/spec"),
                        object.get("/data"),
                        object.get("/metadata/labels")
                    ]),
                )
            })
            .chain(pods.into_iter().map(|(image, count)| (image, count.into())))
            .collect()
    }

    /// The bystanders with their versions: a write that changed nothing shows as well.
    fn bystanders(&self) -> Vec<Value> {
        let wanted: Vec<_> =
            bystanders().into_iter().map(|it| Object::new(it).reference("")).collect();
        let mut found: Vec<_> = self.sandbox.snapshot().into_iter().map(Object::new).collect();
        found.retain(|object| wanted.contains(&object.reference("")));
        found.sort_by_key(|object| object.reference(""));
        found.into_iter().map(Object::into_value).collect()
    }
}

async fn until(handle: &mut Handle, commit: &str, told: &str) {
    let is_settled = |status: &Status| {
        let accepted = status.source.accepted.as_deref();
        status.condition == Condition::Settled && accepted == Some(commit)
    };
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !is_settled(&handle.status()) {
        let status = handle.status();
        let is_stuck = matches!(status.condition, Condition::Refused | Condition::NeedsPerson);
        assert!(!is_stuck, "{told}: {status:#?}");
        let changed = tokio::time::timeout_at(deadline, handle.changed()).await;
        assert!(changed.is_ok(), "{told}: not in time: {:#?}", handle.status());
    }
}

/// A site at its first version, and an agent that follows it over this connection; gives the commit too.
async fn start(faults: &Arc<Faults>) -> (Place, Running, String) {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::start(Options {
        nodes: 3,
        speed: 50.0,
        // Its clock runs faster than the agent's, so it starts behind.
        start: Some(Timestamp::now() - SignedDuration::from_hours(24)),
        ..Options::default()
    })
    .unwrap();
    sandbox.seed(bystanders());
    let place = Place { folder, sandbox };
    let (bare, data) = (place.folder.path().join("site.git"), place.folder.path().join("data"));
    std::fs::create_dir_all(&data).unwrap();
    init_bare_repository(&bare).unwrap();
    clone_repository(&bare, &place.work()).unwrap();
    let commit = place.push("1.0.0");
    let options = SourceOptions::new(bare.display().to_string(), data.join("mirror.git"));
    let client = faults.client(&place.sandbox);
    let parts = Parts {
        source: Source::open(options).unwrap(),
        data: data.clone(),
        journal: Journal::open(&data).await.unwrap(),
        dns: None,
        clock: Clock::system(),
        interval: Duration::from_millis(500),
        connector: Arc::new(move |_, _| Some(client.clone())),
        checks: Checks::Asked,
        images: Images::off(),
        retention: RETENTION,
    };
    let (agent, handle) = Agent::open(parts).await.unwrap();
    let task = tokio::spawn(async move { agent.run().await.unwrap() });
    (place, Running { handle, task }, commit)
}

/// An agent and how to speak to it.
struct Running {
    handle: Handle,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    async fn end(self) {
        self.handle.wake(Wake::Shutdown);
        self.task.await.unwrap();
    }
}

/// What a site is after its installation and an upgrade over this connection.
async fn course(faults: Arc<Faults>, told: String) -> BTreeMap<String, Value> {
    let (place, mut agent, commit) = start(&faults).await;
    let before = place.bystanders();
    assert_eq!(before.len(), bystanders().len());
    until(&mut agent.handle, &commit, &told).await;
    assert!(is_there(&place, "notes"), "{told}");
    let commit = place.push("1.1.0");
    agent.handle.wake(Wake::Pushed);
    until(&mut agent.handle, &commit, &told).await;
    assert!(!is_there(&place, "notes"), "{told}: what nobody wants is gone");
    agent.end().await;
    assert_eq!(place.bystanders(), before, "{told}: what is not ours was touched");
    place.applied()
}

/// To be compared: without what a server draws for each object.
fn lines(ended: &BTreeMap<String, Value>) -> String {
    let text = serde_json::to_string_pretty(ended).unwrap();
    text.lines()
        .filter(|line| !line.contains("controller-uid"))
        .fold(String::new(), |text, line| text + line + "\n")
}

fn is_there(place: &Place, name: &str) -> bool {
    place.applied().contains_key(&format!("ConfigMap shop/{name}"))
}

fn seeds() -> Vec<u64> {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    match number("TIDEGATE_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("TIDEGATE_SEEDS").unwrap_or(SEEDS)).collect(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_connection_does_the_site_ends_the_same_and_nothing_of_others_is_touched() {
    let wanted = course(Faults::new(0, 0), "without faults".to_owned()).await;
    assert!(wanted.contains_key("Widget.example.org shop/w"), "{wanted:#?}");
    let courses = seeds().into_iter().map(|seed| {
        let wanted = wanted.clone();
        tokio::spawn(async move {
            let faults = Faults::new(seed, FAULTS);
            let ended = course(Arc::clone(&faults), format!("seed {seed}")).await;
            let (ended, wanted) = (lines(&ended), lines(&wanted));
            let difference = TextDiff::from_lines(&wanted, &ended);
            let shown = difference.unified_diff().context_radius(4).to_string();
            assert!(ended == wanted, "seed {seed} ends elsewhere:\n{shown}");
            faults.happened()
        })
    });
    let mut courses = futures::stream::iter(courses).buffer_unordered(TOGETHER);
    let mut happened: BTreeMap<_, u32> = BTreeMap::new();
    while let Some(of_seed) = courses.next().await {
        for (fault, count) in of_seed.unwrap() {
            *happened.entry(fault).or_default() += count;
        }
    }
    eprintln!("{happened:?}");
    assert!(happened.len() > 5, "every kind of fault happens: {happened:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_tries_again_what_the_server_had_refused() {
    let none = Faults::new(0, 0);
    let (place, mut agent, commit) = start(&none).await;
    // Its namespace comes with the plan, so that no dry run asks there before the apply does.
    place.sandbox.fault(Fault::Refuse {
        matching: Matching {
            verb: Some("patch".to_owned()),
            resource: Some("configmaps".to_owned()),
            // What a dry run tries of it meanwhile is tried elsewhere.
            namespace: Some("shop".to_owned()),
            ..Matching::default()
        },
        code: 422,
        reason: "Invalid".to_owned(),
        message: "not today".to_owned(),
        times: 1,
    });
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let failed = |status: &Status| status.condition == Condition::NeedsPerson;
    while !failed(&agent.handle.status()) {
        let changed = tokio::time::timeout_at(deadline, agent.handle.changed()).await;
        assert!(changed.is_ok(), "{:#?}", agent.handle.status());
    }
    let retry = Command::Retry { part: Part::default() };
    agent.handle.command(None, retry, "wang-wei").await.unwrap();
    let is_over = |status: &Status| status.source.accepted.as_ref() == Some(&commit);
    while !is_over(&agent.handle.status()) {
        let changed = tokio::time::timeout_at(deadline, agent.handle.changed()).await;
        assert!(changed.is_ok(), "{:#?}", agent.handle.status());
    }
    assert!(is_there(&place, "notes"));
    agent.end().await;
}
