//! Canaries: every secret of a test contains the same word, and whatever the product prints, answers, logs, keeps or hands
//! back to git is searched for it. The tests of the agent include this file as it is.
//!
//! Whoever obtains output does so through a place that searches: the programs that tests run, the agents that they start and
//! what these leave behind, answers over HTTP, scenarios, difference by difference.

use std::collections::BTreeSet;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What every secret of a test contains, and nothing else does.
pub const CANARY: &str = "canary-7f3a91";

/// A secret for a purpose.
pub fn secret(purpose: &str) -> String {
    format!("{purpose}-{CANARY}-secret")
}

/// What gives a canary away: the word, and what is the same of its base64 wherever it stands in a text.
fn traces() -> Vec<String> {
    let encoded = (0..3).map(|before| {
        let text = format!("{}{CANARY}", &"000"[..before]);
        let encoded = STANDARD.encode(text).trim_end_matches('=').to_owned();
        // The first letters hold what is before, and the last one may hold what is after.
        encoded[(before * 4).div_ceil(3)..encoded.len() - 1].to_owned()
    });
    std::iter::once(CANARY.to_owned()).chain(encoded).collect()
}

fn has(bytes: &[u8], traces: &[String]) -> bool {
    traces.iter().any(|trace| bytes.windows(trace.len()).any(|it| it == trace.as_bytes()))
}

/// Whether a canary is in something that was put out.
pub fn is_in(bytes: &[u8]) -> bool {
    has(bytes, &traces())
}

/// Fails the test when a canary is in something that was put out.
///
/// # Panics
/// When there is one.
#[track_caller]
pub fn assert_none(place: &str, bytes: impl AsRef<[u8]>) {
    let bytes = bytes.as_ref();
    assert!(!is_in(bytes), "a secret is in {place}: {}", String::from_utf8_lossy(bytes));
}

/// Gives what a program put out, when no canary is in it.
///
/// # Panics
/// When there is one.
#[track_caller]
pub fn searched(output: std::process::Output) -> std::process::Output {
    assert_none("the standard output", &output.stdout);
    assert_none("the standard error", &output.stderr);
    output
}

/// Fails the test when a canary is in what is kept at these places: files as they are, and every object of a git
/// repository. Says nothing while another failure is on its way.
///
/// # Panics
/// When there is one.
#[track_caller]
pub fn assert_none_kept(places: &[&Path]) {
    if std::thread::panicking() {
        return;
    }
    let found = places.iter().flat_map(|place| kept(place, &BTreeSet::new())).collect::<Vec<_>>();
    assert!(found.is_empty(), "a secret is in {found:?}");
}

/// Where below a place a canary, or one of these secrets, is kept.
pub fn kept(place: &Path, secrets: &BTreeSet<String>) -> Vec<String> {
    let traces: Vec<String> = traces().into_iter().chain(secrets.iter().cloned()).collect();
    let mut found = Vec::new();
    look(place, &traces, &mut found);
    found
}

fn look(place: &Path, traces: &[String], found: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(place) else {
        // Something that an agent takes away as it goes holds nothing any more.
        if std::fs::read(place).is_ok_and(|bytes| has(&bytes, traces)) {
            found.push(place.display().to_string());
        }
        return;
    };
    if place.join("objects").is_dir() && place.join("HEAD").is_file() {
        look_into_repository(place, traces, found);
    }
    for entry in entries.flatten() {
        look(&entry.path(), traces, found);
    }
}

/// Objects are compressed, so that their files say nothing.
fn look_into_repository(place: &Path, traces: &[String], found: &mut Vec<String>) {
    let Ok(repository) = git2::Repository::open(place) else { return };
    let Ok(objects) = repository.odb() else { return };
    let mut ids = Vec::new();
    // One that was damaged for a test cannot be read, by anybody.
    drop(objects.foreach(|id| {
        ids.push(*id);
        true
    }));
    for id in ids {
        if objects.read(id).is_ok_and(|object| has(object.data(), traces)) {
            found.push(format!("{} {id}", place.display()));
        }
    }
}
