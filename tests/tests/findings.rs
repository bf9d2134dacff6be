//! One folder per finding code of `validate`: a small site that has the finding, and what is said about it.
//!
//! `tests/findings/<category>-<name>/` holds the site (in `site/` when it needs more of a repository) and `findings.txt`.
//! With `UPDATE=1` the texts are written instead of compared.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its samples has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use tidegate_core::snapshot::{Identity, Revision, Snapshot};
use tidegate_core::validate::validate;
use tidegate_schema::catalogue;
use tidegate_schema::finding::{Finding, Lang};

/// Categories whose codes only `validate` gives.
const CATEGORIES: &[&str] = &[
    "REFERENCE",
    "SITE",
    "VERSION",
    "VALUE",
    "TEMPLATE",
    "MANIFEST",
    "SOLUTION",
    "ROLLOUT",
    "ACCESS",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("findings")
}

fn files(folder: &Path, prefix: &str, into: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().into_string().unwrap());
        if entry.path().is_dir() {
            files(&entry.path(), &format!("{name}/"), into);
        } else if name != "findings.txt" {
            into.insert(name, fs::read(entry.path()).unwrap());
        }
    }
}

fn findings(folder: &Path) -> Vec<Finding> {
    let now = "2026-11-21T10:00:00Z".parse().unwrap();
    let mut all = BTreeMap::new();
    files(folder, "", &mut all);
    let identity = Identity::new("Li Na", "li.na@bank.internal");
    let revision = Revision {
        commit: "0".repeat(40),
        committed_at: now,
        author: identity.clone(),
        committer: identity,
        subject: "A site with a finding".to_owned(),
    };
    let inner = if folder.join("site").is_dir() { "site" } else { "" };
    let snapshot =
        Snapshot { revision, folder: inner.to_owned(), files: all, findings: Vec::new() };
    let (site, findings) = validate(&snapshot, now);
    let is_refused = findings.iter().any(Finding::is_error);
    assert_eq!(
        site.is_none(),
        is_refused,
        "{}: a site if and only if there is no error",
        folder.display()
    );
    findings
}

fn text(findings: &[Finding]) -> String {
    let line = |finding: &Finding| {
        format!("{finding}\n  {}\n  {}\n", finding.remedy(Lang::En), finding.message(Lang::Zh))
    };
    findings.iter().map(line).collect()
}

fn folder_name(code: &str) -> String {
    code.to_lowercase().replace(['/', '_'], "-")
}

#[test]
fn every_folder_has_exactly_the_findings_that_it_says() {
    let mut wrong = Vec::new();
    for entry in fs::read_dir(root()).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let found = findings(&folder);
        if !found.iter().any(|finding| folder_name(&finding.code) == name) {
            wrong.push(format!("{name}: the finding is not there:\n{}", text(&found)));
            continue;
        }
        let golden = folder.join("findings.txt");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&golden, text(&found)).unwrap();
        }
        let wanted = fs::read_to_string(&golden).unwrap_or_default();
        if wanted != text(&found) {
            wrong.push(format!("{name}: wanted\n{wanted}but found\n{}", text(&found)));
        }
    }
    wrong.sort();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_code_of_validation_has_a_folder() {
    let is_ours = |code: &&str| {
        code.split_once('/').is_some_and(|(category, _)| CATEGORIES.contains(&category))
    };
    let codes: BTreeSet<String> = catalogue::codes().filter(is_ours).map(folder_name).collect();
    let folders: BTreeSet<String> = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let missing: Vec<_> = codes.difference(&folders).collect();
    assert!(missing.is_empty(), "no folder for {missing:?}");
}

#[test]
fn placeholders_are_all_filled() {
    for entry in fs::read_dir(root()).unwrap() {
        for finding in findings(&entry.unwrap().path()) {
            for lang in Lang::ALL {
                let message = finding.message(lang);
                for name in catalogue_placeholders(&finding.code, lang) {
                    assert!(
                        finding.args.contains_key(&name),
                        "{}: {name} is open in {message}",
                        finding.code
                    );
                }
            }
        }
    }
}

/// The placeholders of a code's message.
fn catalogue_placeholders(code: &str, lang: Lang) -> Vec<String> {
    let message = catalogue::explain(code, lang).map(|entry| entry.message).unwrap_or_default();
    let names = message.split('{').skip(1).filter_map(|part| part.split_once('}'));
    let is_name = |name: &&str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric());
    names.map(|(name, _)| name).filter(is_name).map(str::to_owned).collect()
}
