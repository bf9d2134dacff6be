//! What a release over 2,000 pods costs the agent: `cargo bench --workspace --bench release`.
//!
//! The agent and the sandbox are processes of their own, so that the agent's processor time is seen alone. Figures are printed
//! and never asserted.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement")]

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tidegate::status::{Condition, Status};
use tidegate_tests::measure::{build_program, processor_time};
use tidegate_tests::program::{TestSite, program};

/// Products of ten apps.
const PRODUCTS: usize = 10;
const APPS: usize = 10;
/// Pods of each app: 2,000 in all.
const REPLICAS: usize = 20;
const WHO: (&str, &str) = ("Li Na", "li.na@bank.example");
/// A large release on a loaded machine.
const PATIENCE: Duration = Duration::from_mins(20);

fn version(product: usize, number: &str) -> String {
    let mut text = format!(
        "apiVersion: tidegate.dev/v1\nkind: ProductVersion\nmetadata: {{name: p{product}}}\nspec:\n  version: {number}\n  apps:\n"
    );
    let mut sizes = "  sizes:\n    - name: all\n      apps:\n".to_owned();
    for app in 0..APPS {
        let kind = if app % 2 == 0 { "StatefulSet" } else { "Deployment" };
        // Ten seconds until a pod is ready, as programs take that load something.
        writeln!(
            text,
            "    - {{name: a{app}, workload: {kind}, image: 'p{product}/a{app}:{number}-slow-10s', ports: [{{name: http, port: 8080}}]}}"
        )
        .unwrap();
        writeln!(sizes, "        a{app}: {{replicas: {REPLICAS}, cpu: 10m, memory: 16Mi}}")
            .unwrap();
    }
    text + &sizes
}

fn site() -> TestSite {
    let site = TestSite::new();
    let mut text = "\
apiVersion: tidegate.dev/v1
kind: Site
metadata: {name: hz}
spec: {tier: development, resourcePrefix: hz, domain: hz.internal}
---
apiVersion: tidegate.dev/v1
kind: Cluster
metadata: {name: main}
spec: {access: {kubeconfig: {path: main.yaml}}, room: a, zone: z1, region: r}
---
apiVersion: tidegate.dev/v1
kind: ApprovalPolicy
metadata: {name: open}
spec: {rules: []}
---
apiVersion: tidegate.dev/v1
kind: RolloutPolicy
metadata: {name: standard}
spec: {groups: {strategy: custom}, beta: false, bake: 30s, timeout: 10m}
"
    .to_owned();
    for product in 0..PRODUCTS {
        writeln!(text, "---\napiVersion: tidegate.dev/v1\nkind: Product\nmetadata: {{name: p{product}}}\nspec: {{}}").unwrap();
        for number in ["1.0.0", "2.0.0"] {
            site.write(&format!("catalog/p{product}/{number}.yaml"), &version(product, number));
        }
    }
    site.write("site.yaml", &text);
    ask_for(&site, "1.0.0");
    site
}

fn ask_for(site: &TestSite, version: &str) {
    let mut text = "apiVersion: tidegate.dev/v1\nkind: Solution\nmetadata: {name: all}\nspec:\n  rollout: standard\n  products:\n".to_owned();
    for product in 0..PRODUCTS {
        writeln!(text, "    - {{product: p{product}, version: {version}, size: all}}").unwrap();
    }
    site.write("solution.yaml", &text);
    site.push(WHO, version);
}

fn sandbox(kubeconfig: &Path) -> Child {
    let child = Command::new(program())
        .args(["sandbox", "--listen", "127.0.0.1:0", "--nodes", "40", "--kubeconfig"])
        .arg(kubeconfig)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while !kubeconfig.exists() {
        std::thread::sleep(Duration::from_millis(50));
    }
    child
}

async fn settled(site: &mut TestSite, releases: usize) {
    let is_settled = |status: &Status| {
        (status.condition == Condition::Settled && status.releases.len() >= releases).then_some(())
    };
    site.see_within(PATIENCE, "settled", is_settled).await;
}

#[tokio::main]
async fn main() {
    build_program("release");
    let mut site = site();
    std::fs::create_dir_all(site.data()).unwrap();
    let mut sandbox = sandbox(&site.data().join("main.yaml"));
    site.start_agent(&[]);
    let start = Instant::now();
    settled(&mut site, 1).await;
    println!("the first installation: {:.0?}", start.elapsed());
    let pid = site.agent().unwrap();
    let shown = async |site: &TestSite| site.ask::<serde_json::Value>("/api/v1/releases/r2").await;
    ask_for(&site, "2.0.0");
    let (start, used) = (Instant::now(), processor_time(pid));
    settled(&mut site, 2).await;
    let (wall, used) = (start.elapsed(), processor_time(pid).saturating_sub(used));
    let shown = shown(&site).await.unwrap();
    let events = shown.get("events").and_then(|it| it.as_array()).map_or(0, Vec::len);
    println!(
        "a release over {} pods of {} apps, five groups each, 30 s of bake: {wall:.0?}, {events} events",
        PRODUCTS * APPS * REPLICAS,
        PRODUCTS * APPS,
    );
    println!(
        "processor time of the agent, planning included: {used:.1?}, {:.1} % of one processor (goal: 5 %)",
        100.0 * used.as_secs_f64() / wall.as_secs_f64()
    );
    sandbox.kill().unwrap();
    sandbox.wait().unwrap();
}
