//! The examples are sites as people would write them: each validates, renders to what its summary says, and runs in simulated
//! clusters.
#![expect(clippy::unwrap_used, reason = "a test is to stop at what it did not expect")]

#[path = "examples/install.rs"]
mod install;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Parser as _;
use jiff::Timestamp;
use rstest::rstest;
use tidegate::cli::Cli;
use tidegate::source::Source;
use tidegate_core::desired::{DesiredState, UnitKind};
use tidegate_core::render::render;
use tidegate_core::site::ValidSite;
use tidegate_core::validate::validate;
use tidegate_core::zone::ZoneKind;
use tidegate_schema::finding::{Finding, Lang, Severity};
use tidegate_schema::site::Access;

/// The instant at which the examples are looked at: their grants and windows speak of times around it.
const NOW: &str = "2026-11-21T10:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn folder(example: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(example)
}

/// The example as a valid site, with the codes of its notes. Panics with all findings when it has worse ones.
async fn site(example: &str) -> (ValidSite, Vec<String>) {
    let snapshot = Source::folder(folder(example)).await.unwrap();
    let (site, findings) = validate(&snapshot, now());
    let is_worse = |finding: &&Finding| finding.severity != Severity::Note;
    let worse: Vec<String> = findings
        .iter()
        .filter(is_worse)
        .map(|finding| {
            format!("{:?} {} {}", finding.place, finding.code, finding.message(Lang::En))
        })
        .collect();
    assert!(worse.is_empty(), "{example} has findings:\n{}", worse.join("\n"));
    (site.unwrap(), findings.iter().map(|finding| finding.code.to_string()).collect())
}

/// How many objects of each kind every cluster gets, how many pods, and what each zone holds.
fn summary(state: &DesiredState) -> String {
    let mut kinds: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut pods: BTreeMap<&str, u64> = BTreeMap::new();
    for object in &state.objects {
        let cluster = object.reference.cluster.as_str();
        *kinds.entry((cluster, object.reference.kind.as_str())).or_default() += 1;
        let replicas = object.body().get("/spec/replicas").and_then(serde_json::Value::as_u64);
        *pods.entry(cluster).or_default() += replicas.unwrap_or(0);
    }
    let mut text = String::new();
    for ((cluster, kind), count) in kinds {
        writeln!(text, "{cluster}  {kind}  {count}").unwrap();
    }
    for (cluster, replicas) in pods {
        writeln!(text, "{cluster}  replicas  {replicas}").unwrap();
    }
    for unit in &state.units {
        writeln!(text, "{}  {}  {}", unit.id, unit.replicas, unit.image).unwrap();
    }
    for zone in &state.zones {
        writeln!(text).unwrap();
        let ZoneKind::Hosted { records, .. } = &zone.kind else {
            writeln!(text, "zone {}  elsewhere", zone.name).unwrap();
            continue;
        };
        for set in records {
            writeln!(text, "{}  {}  {}", set.name, set.rtype, set.values.join(" ")).unwrap();
        }
    }
    text
}

#[rstest]
#[case("bank", &["ACCESS/GRANT_EXPIRED"])]
#[case("quickstart", &[])]
#[case("raw-manifests", &[])]
#[tokio::test]
async fn an_example_is_valid_and_renders_the_same_twice(
    #[case] example: &str,
    #[case] notes: &[&str],
) {
    let (site, found) = site(example).await;
    assert_eq!(found, notes);
    let (first, second) = (render(&site, now()), render(&site, now()));
    let bytes = |state: &DesiredState| -> Vec<String> {
        state.objects.iter().map(|object| object.body().value().to_string()).collect()
    };
    assert_eq!(bytes(&first), bytes(&second));
    assert_eq!(first.zones, second.zones);
    insta::assert_snapshot!(example, summary(&first));
}

/// Every cluster of an example is installed as a release would do it, in less simulated time than `seconds`.
#[rstest]
#[case("bank", 25)]
#[case("quickstart", 5)]
#[case("raw-manifests", 5)]
#[tokio::test(start_paused = true)]
async fn an_example_runs_in_simulated_clusters(#[case] example: &str, #[case] seconds: i64) {
    let (site, _) = site(example).await;
    let state = render(&site, now());
    for (cluster, own) in &site.clusters {
        let Access::Sandbox(access) = &own.spec.access else { continue };
        let took = install::install(&site, &state, cluster, access.nodes).await;
        assert!(took.as_secs() < seconds, "{example} took {took:#} in {cluster}");
    }
}

/// What the demo changes in the bank by its text.
#[rstest]
#[case("solutions/platform.yaml", "version: 2.42.0")]
#[case("solutions/payments.yaml", "version: 3.8.0")]
#[case("catalog/payments/3.8.0/version.yaml", "image: payments/gateway:3.8.0")]
fn the_demo_finds_what_it_changes_exactly_once(#[case] file: &str, #[case] text: &str) {
    let content = std::fs::read_to_string(folder("bank").join(file)).unwrap();
    assert_eq!(content.matches(text).count(), 1);
}

/// The upgrade that the bank's catalog holds is one, and it restarts `iamcore` alone.
#[tokio::test]
async fn the_next_iam_changes_the_image_of_its_core() {
    let mut snapshot = Source::folder(folder("bank")).await.unwrap();
    let before = validate(&snapshot, now()).0.unwrap();
    // Paths are those of the whole repository when the folder is in one.
    let is_it = |(path, _): &(&String, &mut Vec<u8>)| path.ends_with("solutions/platform.yaml");
    let (_, file) = snapshot.files.iter_mut().find(is_it).unwrap();
    *file = String::from_utf8(file.clone())
        .unwrap()
        .replace("version: 2.42.0", "version: 2.43.1")
        .into_bytes();
    let (after, findings) = validate(&snapshot, now());
    assert!(after.is_some(), "{findings:#?}");
    let after = after.unwrap();
    let images = |site: &ValidSite| -> Vec<(String, String, u32)> {
        let units = render(site, now()).units;
        let standard = units.into_iter().filter(|unit| unit.kind == UnitKind::Standard);
        standard.map(|unit| (unit.id.to_string(), unit.image, unit.replicas)).collect()
    };
    let (before, after) = (images(&before), images(&after));
    let changed: Vec<&str> = before
        .iter()
        .zip(&after)
        .filter(|(before, after)| before != after)
        .map(|(before, _)| before.0.as_str())
        .collect();
    assert_eq!(changed, ["iam/iamcore@room-a", "iam/iamcore@room-b"]);
}

/// What a README tells people to type is a command that there is, with options that it has.
#[rstest]
#[case("bank")]
#[case("quickstart")]
#[case("raw-manifests")]
fn the_commands_of_a_readme_exist(#[case] example: &str) {
    let text = std::fs::read_to_string(folder(example).join("README.md")).unwrap();
    let blocks =
        text.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("sh\n"));
    let lines: Vec<&str> = blocks.flat_map(str::lines).collect();
    let commands = lines.iter().filter(|line| line.starts_with("tidegate "));
    let mut found = 0;
    for line in commands {
        let typed = line.split(" #").next().unwrap_or_default().split_whitespace();
        if let Err(error) = Cli::try_parse_from(typed) {
            assert!(!error.use_stderr(), "{line}: {error}");
        }
        found += 1;
    }
    assert!(found > 0);
}
