//! The battery: each behaviour on the sandbox and on a real API server, whose answers must be the same.
//!
//! What a real server of 1.20 says is kept in `battery/`, so that the sandbox is held to it where there is no real one. Where there is
//! one its answers count, and those that are kept must be current; `TIDEGATE_RECORD=1` writes them anew.

use std::path::{Path, PathBuf};

use kube::Client;
use libtest_mimic::{Arguments, Failed, Trial};
use similar::TextDiff;
use tidegate_sandbox::{Options, Sandbox};
use tidegate_tests::battery::{Behaviour, Ground, all, ground::minor_version, reference};
use tidegate_tests::real_cluster::{LEFT_OUT, NODES, RealCluster};

/// How many behaviours go on at the same time: most of what they do is to wait for controllers.
const AT_A_TIME: usize = 12;
/// The minor version that the kept answers are from.
const KEPT: u32 = 20;

/// What a server says in a conversation.
async fn record(behaviour: &Behaviour, client: Client, compared: u32) -> String {
    let namespace = format!("battery-{}", behaviour.name.replace('_', "-"));
    let mut ground = Ground::new(client, &namespace, compared).await;
    behaviour.run(&mut ground).await;
    ground.clear().await;
    ground.into_record()
}

/// A real server that the behaviour can be had on, with its minor version; else why not.
async fn real_server(behaviour: &Behaviour) -> Result<(Client, u32), String> {
    let Some(cluster) = RealCluster::shared() else { return Err("no binaries".to_owned()) };
    let client = cluster.client().await;
    let minor = minor_version(&client).await;
    if minor < behaviour.since {
        return Err(format!(
            "the real server is 1.{minor}, and this is so since 1.{}",
            behaviour.since
        ));
    }
    if behaviour.needs_controllers && !cluster.has_controllers() {
        return Err("no controller manager".to_owned());
    }
    Ok((client, minor))
}

fn kept(behaviour: &Behaviour) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("battery").join(format!("{}.txt", behaviour.name))
}

/// What the sandbox must say, and the minor version that it is compared for; `None` where nobody can tell.
async fn expected(behaviour: &Behaviour) -> Result<Option<(String, u32)>, Failed> {
    let file = kept(behaviour);
    let Ok((client, minor)) = real_server(behaviour).await else {
        return Ok(std::fs::read_to_string(file).ok().map(|said| (said, KEPT)));
    };
    let said = record(behaviour, client, minor).await;
    if std::env::var_os("TIDEGATE_RECORD").is_some() {
        std::fs::write(&file, &said)?;
    } else if minor == KEPT {
        let old = std::fs::read_to_string(&file).unwrap_or_default();
        differ_not(&old, &said, "kept in battery/", "said by the real server")?;
    }
    Ok(Some((said, minor)))
}

fn differ_not(left: &str, right: &str, left_name: &str, right_name: &str) -> Result<(), Failed> {
    if left == right {
        return Ok(());
    }
    let difference = TextDiff::from_lines(left, right);
    let shown =
        difference.unified_diff().context_radius(6).header(left_name, right_name).to_string();
    Err(format!("the answers differ\n{shown}").into())
}

async fn check(behaviour: &Behaviour) -> Result<(), Failed> {
    let Some((expected, minor)) = expected(behaviour).await? else { return Ok(()) };
    let nodes = u32::try_from(NODES)?;
    let options = Options { nodes, version: format!("1.{minor}"), ..Options::default() };
    let sandbox = Sandbox::start(options)?;
    let client = Client::new(sandbox.service(), "default");
    let said = record(behaviour, client, minor).await;
    differ_not(&expected, &said, "said by the real server", "said by the sandbox")
}

fn the_reference_tells_what_the_battery_holds() -> Result<(), Failed> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/sandbox.md");
    let page = reference::page();
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(&file, &page)?;
    }
    if std::fs::read_to_string(&file)? == page {
        return Ok(());
    }
    Err("docs/reference/sandbox.md is stale: run the battery with UPDATE_REFERENCE=1".into())
}

/// What is kept belongs to a behaviour, and no two have one name.
fn what_is_kept_belongs_to_a_behaviour() -> Result<(), Failed> {
    let mut known: Vec<PathBuf> = all().iter().map(kept).collect();
    known.sort();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("battery");
    let twice = known.windows(2).filter_map(|pair| match pair {
        [one, other] if one == other => Some(one.clone()),
        _ => None,
    });
    let mut wrong: Vec<PathBuf> = twice.collect();
    for file in std::fs::read_dir(folder)? {
        let file = file?.path();
        if file.extension().is_some_and(|ending| ending == "txt") && !known.contains(&file) {
            wrong.push(file);
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(format!("of no behaviour, or of two: {wrong:?}").into())
    }
}

/// What is not compared must be seen when all tests pass.
async fn what_is_left_out_is_said() -> Result<(), Failed> {
    if RealCluster::shared().is_none() {
        eprintln!("battery: {LEFT_OUT}; the sandbox is held to the answers kept from 1.{KEPT}");
    }
    for behaviour in all() {
        if let (Err(why), false) = (real_server(behaviour).await, kept(behaviour).exists()) {
            eprintln!("battery: left out: {}: {why}", behaviour.name);
        }
    }
    Ok(())
}

/// Has it on a runtime of its own.
fn wait_for(test: impl Future<Output = Result<(), Failed>>) -> Result<(), Failed> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(test)
}

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_A_TIME);
    let mut trials: Vec<Trial> = all()
        .iter()
        .map(|behaviour| Trial::test(&behaviour.name, move || wait_for(check(behaviour))))
        .collect();
    trials.push(Trial::test(
        "the_reference_tells_what_the_battery_holds",
        the_reference_tells_what_the_battery_holds,
    ));
    trials.push(Trial::test(
        "what_is_kept_belongs_to_a_behaviour",
        what_is_kept_belongs_to_a_behaviour,
    ));
    trials.push(Trial::test("what_is_left_out_is_said", || wait_for(what_is_left_out_is_said())));
    libtest_mimic::run(&arguments, trials).exit();
}
