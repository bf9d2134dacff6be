//! How long the pure steps take over a large site: `cargo bench --workspace --bench core`.
//!
//! Figures are printed and never asserted. `-- --write DIR` only writes the site, for the built program; `-- --many` plans
//! 40,000 objects once, in a process of its own so that its memory is seen.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tidegate::source::Source;
use tidegate_core::desired::DesiredState;
use tidegate_core::diff::diff;
use tidegate_core::live::{
    ClusterObservation, Inventory, LiveObject, LiveState, Observation, Prediction, Surroundings,
};
use tidegate_core::planner::plan;
use tidegate_core::render::render;
use tidegate_core::site::ValidSite;
use tidegate_core::validate::validate;

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PRODUCTS: usize = 180;
const VERSIONS: usize = 6;
const CLUSTERS: usize = 8;
const PERSONS: usize = 120;
const ZONES: usize = 12;
const RUNS: usize = 7;

/// A document's head; what follows is its `spec`.
fn head(kind: &str, name: &str) -> String {
    format!("apiVersion: tidegate.dev/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n")
}

/// A version like those of `examples/bank`: two apps and a task, with environment, volume, probes and parameters.
fn version(product: usize, minor: usize) -> String {
    let requires = if product == 0 {
        "[]".to_owned()
    } else {
        // A tree, as deep as products really stand on each other.
        format!("[{{product: p{}, version: \">=1.0, <2\"}}]", product / 3)
    };
    head("ProductVersion", &format!("p{product}"))
        + &format!(
            r#"  version: 1.{minor}.0
  requires: {requires}
  parameters:
    - {{name: dbUser, type: string, required: true}}
    - {{name: currency, type: string, pattern: "[A-Z]{{3}}", default: CNY}}
    - {{name: closeOfDay, type: string, pattern: "[0-2][0-9]:[0-5][0-9]", default: "23:30"}}
  publishes: {{api: "api.p{product}.svc:8080"}}
  apps:
    - name: ledger
      title: {{en: Ledger, zh: 总账}}
      image: core/ledger-{product}:1.{minor}.0
      after: [migrate]
      env: {{DB_HOST: "db.{{{{ site.domain }}}}", DB_USER: "{{{{ dbUser }}}}", CURRENCY: "{{{{ currency }}}}"}}
      ports: [{{name: grpc, port: 9090}}]
      probes: {{readiness: {{tcp: {{port: grpc}}, periodSeconds: 5}}}}
      volumes: [{{name: journal, path: /var/lib/ledger, size: 30Gi, class: fast, owner: 2000}}]
      antiAffinity: [{{app: ledger, strength: strong}}]
      terminationGracePeriod: 90s
    - name: api
      title: {{en: Interface, zh: 接口}}
      workload: Deployment
      image: core/api-{product}:1.{minor}.0
      after: [ledger]
      env: {{LEDGER: "ledger:9090", CLOSE_OF_DAY: "{{{{ closeOfDay }}}}"}}
      ports: [{{name: http, port: 8080}}]
      probes: {{readiness: {{http: {{path: /health, port: http}}}}}}
    - {{name: migrate, kind: task, image: "core/migrate-{product}:1.{minor}.0", timeout: 10m, env: {{DB_USER: "{{{{ dbUser }}}}"}}}}
  sizes:
    - {{name: medium, apps: {{ledger: {{replicas: 2, cpu: "1", memory: 2Gi}}, api: {{replicas: 2, cpu: 500m, memory: 512Mi}}}}}}
"#
        )
}

/// Writes the site; gives the number of its documents.
#[expect(clippy::too_many_lines, reason = "the folders of a site, one after another")]
fn write(folder: &Path) -> usize {
    let mut count = 0;
    let mut put = |path: &str, documents: &[String]| {
        count += documents.len();
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, documents.join("---\n")).unwrap();
    };
    let site = "  tier: production\n  resourcePrefix: hz\n  domain: hz.bank.internal\n  registry: registry.hz.bank.internal\n  \
                storageClasses: {fast: open-local-lvm-default}\n";
    put("site.yaml", &[head("Site", "hangzhou") + site]);
    for cluster in 0..CLUSTERS {
        let spec = format!(
            "  access: {{sandbox: {{nodes: 4}}}}\n  room: r{cluster}\n  zone: z{cluster}\n  region: hangzhou\n  cells: [c{}]\n",
            cluster % 2
        );
        let name = format!("room-{cluster}");
        put(&format!("clusters/{name}.yaml"), &[head("Cluster", &name) + &spec]);
    }
    for product in 0..PRODUCTS {
        let name = format!("p{product}");
        let spec =
            format!("  title: {{en: Product {product}, zh: 产品 {product}}}\n  maturity: mature\n");
        put(&format!("catalog/{name}/product.yaml"), &[head("Product", &name) + &spec]);
        for minor in 0..VERSIONS {
            let path = format!("catalog/{name}/1.{minor}.0/version.yaml");
            put(&path, &[version(product, minor)]);
        }
        let values = |suffix: &str, scope: &str, values: &str| {
            head("Parameters", &format!("{name}{suffix}"))
                + &format!("  scope: {{product: {name}{scope}}}\n  values: {{{values}}}\n")
        };
        put(
            &format!("parameters/{name}.yaml"),
            &[
                values("", "", "dbUser: app"),
                values("-room-0", ", cluster: room-0", "closeOfDay: \"22:15\""),
            ],
        );
    }
    for solution in 0..PRODUCTS / 6 {
        let mut spec = "  rollout: standard\n  products:\n".to_owned();
        for product in solution * 6..solution * 6 + 6 {
            writeln!(
                spec,
                "    - {{product: p{product}, version: 1.{}.0, size: medium}}",
                VERSIONS - 1
            )
            .unwrap();
        }
        let name = format!("s{solution}");
        put(&format!("solutions/{name}.yaml"), &[head("Solution", &name) + &spec]);
    }
    let waves = "  waves: [{name: gray, clusters: {cells: [c0]}, bake: 10m}, {name: all}]\n  groups: {strategy: two}\n";
    let rules = "  rules: [{quorum: [{group: g0, count: 1}], exclude: [author]}]\n";
    put(
        "policies.yaml",
        &[head("RolloutPolicy", "standard") + waves, head("ApprovalPolicy", "production") + rules],
    );
    let role = "  permissions: [delivery.read]\n  kubernetes: [{apiGroups: [\"\"], resources: [pods], verbs: [get, list, watch]}]\n";
    let mut access = vec![head("Role", "observer") + role];
    for person in 0..PERSONS {
        let name = format!("person-{person}");
        access.push(head("Person", &name) + &format!("  emails: [{name}@bank.example]\n"));
        let grant = format!(
            "  subject: {{person: {name}}}\n  role: observer\n  scope: {{products: [p{person}]}}\n  reason: CHG-{person}\n"
        );
        access.push(head("Grant", &format!("grant-{person}")) + &grant);
        let test = format!(
            "  subject: {{person: {name}}}\n  can: [{{verb: get, resource: pods, product: p{person}, cluster: room-0}}]\n"
        );
        access.push(head("RoleTest", &format!("test-{person}")) + &test);
        if person % 8 == 0 {
            let group = format!("g{}", person / 8);
            access.push(head("Group", &group) + &format!("  members: [{name}]\n"));
        }
    }
    put("iam.yaml", &access);
    for zone in 0..ZONES {
        let name = format!("z{zone}.bank.internal");
        let mut spec = format!(
            "  type: hosted\n  ttl: 300\n  primary: ns1.{name}.\n  contact: hostmaster.{name}.\n  records:\n    \
             - {{name: \"@\", type: NS, values: [ns1, ns2]}}\n    - {{name: ns1, type: A, values: [10.0.0.2]}}\n    \
             - {{name: ns2, type: A, values: [10.0.0.3]}}\n"
        );
        for host in 0..200 {
            writeln!(spec, "    - {{name: host-{host}, type: A, values: [10.{zone}.1.{host}]}}")
                .unwrap();
        }
        put(&format!("dns/{name}.yaml"), &[head("Zone", &name) + &spec]);
    }
    count
}

/// A site of 100 products of 10 apps in 4 clusters, with ten objects for each app in each: 40,000.
fn write_many(folder: &Path) {
    let put = |path: &str, text: &str| {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let mut site = head("Site", "large")
        + "  tier: production\n  resourcePrefix: hz\n  domain: hz.bank.internal\n---\n"
        + &head("ApprovalPolicy", "open")
        + "  rules: []\n";
    for cluster in 0..4 {
        site += "---\n";
        site += &head("Cluster", &format!("room-{cluster}"));
        writeln!(
            site,
            "  {{access: {{sandbox: {{nodes: 4}}}}, room: r{cluster}, zone: z{cluster}, region: r}}"
        )
        .unwrap();
    }
    let mut solution = head("Solution", "all") + "  products:\n";
    for product in 0..100 {
        let name = format!("p{product}");
        let mut version = head("ProductVersion", &name);
        version += "  version: 1.0.0\n  verbatimManifests: [manifests/*.yaml]\n  apps:\n";
        let mut sizes = "  sizes:\n    - name: medium\n      apps:\n".to_owned();
        let mut manifests = String::new();
        for app in 0..10 {
            let kind = if app % 2 == 0 { "StatefulSet" } else { "Deployment" };
            writeln!(version, "    - {{name: a{app}, workload: {kind}, image: 'core/{name}-a{app}:1.0.0', ports: [{{name: http, port: 8080}}], files: {{/etc/app.properties: \"mode=single\\nlevel=info\\n\"}}, probes: {{readiness: {{http: {{path: /health, port: http}}}}}}}}").unwrap();
            writeln!(sizes, "        a{app}: {{replicas: 2, cpu: 500m, memory: 512Mi}}").unwrap();
            for number in 0..5 {
                writeln!(manifests, "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a{app}-{number}}}\ndata: {{region: hangzhou, level: info, limits: \"cpu=1\\nmemory=2Gi\\n\"}}").unwrap();
            }
        }
        put(&format!("catalog/{name}/product.yaml"), &(head("Product", &name) + "  {}\n"));
        put(&format!("catalog/{name}/1.0.0/version.yaml"), &(version + &sizes));
        put(&format!("catalog/{name}/1.0.0/manifests/all.yaml"), &manifests);
        writeln!(solution, "    - {{product: {name}, version: 1.0.0, size: medium}}").unwrap();
    }
    put("site.yaml", &site);
    put("solution.yaml", &solution);
}

/// The most memory that this process has used (proc(5), `status`), in MiB.
fn most_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// All of planning, once, as after a restart: from files in memory and what the clusters answered to the plan.
fn many() {
    let folder = tempfile::tempdir().unwrap();
    write_many(folder.path());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let now = Timestamp::now();
    let snapshot = runtime.block_on(Source::folder(folder.path())).unwrap();
    let (site, findings) = validate(&snapshot, now);
    let Some(site) = site else {
        println!("refused: {:#?}", findings.iter().take(5).collect::<Vec<_>>());
        return;
    };
    let live = observed(&site, &render(&site, now), now, true);
    let before = most_memory();
    drop(site);
    let start = Instant::now();
    let mut told = String::new();
    let mut step = |what: &str, since: Instant| {
        write!(told, "  {what} {:.2?}", since.elapsed()).unwrap();
        Instant::now()
    };
    let (site, _) = validate(&snapshot, now);
    let site = site.unwrap();
    let since = step("validate", start);
    let desired = render(&site, now);
    let since = step("render", since);
    let changes = diff(&desired, &live, &Inventory::default(), &BTreeMap::new());
    let since = step("diff", since);
    let revision = &snapshot.revision;
    let (made, _) =
        plan(changes, &desired, &site, &live, None, &Inventory::default(), revision, &[]);
    let since = step("plan", since);
    let id = made.id();
    step("its digest", since);
    println!(
        "planning {} objects of which {} change: {:.2?} (goal: 5 s), at most {} MiB with what was observed, of which {before} \
         before (goal: 500 MiB)\n{told}\n  {id}",
        desired.objects.len(),
        made.content.changes.changes.len(),
        start.elapsed(),
        most_memory(),
    );
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// What clusters answer that have all of it, with other images; or that are empty.
fn observed(site: &ValidSite, desired: &DesiredState, now: Timestamp, is_there: bool) -> LiveState {
    let mut live = LiveState::default();
    for cluster in site.clusters.keys() {
        let observation = ClusterObservation {
            uid: Some(format!("uid-{cluster}")),
            version: Some("v1.29.3".to_owned()),
            observed_at: now,
            gap: None,
            gaps: BTreeMap::new(),
            objects: BTreeMap::new(),
            around: Surroundings::default(),
        };
        live.clusters.insert(cluster.clone(), observation);
    }
    for object in &desired.objects {
        let older = || {
            let mut older = object.body();
            if let Some(image) =
                older.value_mut().pointer_mut("/spec/template/spec/containers/0/image")
            {
                *image = "core/older:1.0.0".into();
            }
            older
        };
        let observation = Observation {
            live: is_there.then(|| LiveObject::new(&older())),
            predicted: Prediction::Exact(object.body().into()),
            conflicts: Vec::new(),
            warnings: Vec::new(),
            holds: Vec::new(),
        };
        let cluster = live.clusters.get_mut(&object.reference.cluster).unwrap();
        cluster.objects.insert(object.reference.clone(), observation);
    }
    live
}

/// Takes the time of one step, several times.
fn timed<T>(name: &str, mut step: impl FnMut() -> T) -> T {
    let mut times = Vec::new();
    loop {
        let start = Instant::now();
        let result = step();
        times.push(start.elapsed());
        if times.len() == RUNS {
            println!("{name:<28}{:>9.1?}", median(times));
            return result;
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, folder] = arguments.as_slice()
        && flag == "--write"
    {
        println!("{} documents in {folder}", write(Path::new(folder)));
        return;
    }
    if arguments.iter().any(|it| it == "--many") {
        many();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let documents = write(folder.path());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let now = Timestamp::now();
    println!("{documents} documents, medians of {RUNS} runs");
    let snapshot = timed("load", || runtime.block_on(Source::folder(folder.path())).unwrap());
    let (site, findings) = timed("validate", || validate(&snapshot, now));
    let Some(site) = site else {
        println!("refused: {:#?}", findings.iter().take(5).collect::<Vec<_>>());
        return;
    };
    let desired = timed("render", || render(&site, now));
    println!("{} objects in {} clusters", desired.objects.len(), site.clusters.len());
    let (inventory, published) = (Inventory::default(), BTreeMap::new());
    for (what, is_there) in [("everything is new", false), ("every image changes", true)] {
        let live = observed(&site, &desired, now, is_there);
        let changes =
            timed(&format!("diff, {what}"), || diff(&desired, &live, &inventory, &published));
        let revision = &snapshot.revision;
        let (made, _) = timed(&format!("plan, {what}"), || {
            plan(changes.clone(), &desired, &site, &live, None, &inventory, revision, &[])
        });
        let steps: usize = made.content.waves.iter().map(|wave| wave.steps.len()).sum();
        println!("  {} changes, {steps} steps", made.content.changes.changes.len());
    }
}
