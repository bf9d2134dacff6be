//! One folder per finding code of `validate`: a small site that has the finding, and what is said about it.
//!
//! `tests/findings/<category>-<name>/` holds the site (in `site/` when it needs more of a repository) and `findings.txt`.
//! `earlier/<release>/` in it is the site as that release delivered it; a file `earlier/<release>` says what became of it.
//! With `UPDATE=1` the texts are written instead of compared.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its samples has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tidegate_core::snapshot::{Earlier, Identity, Revision, Snapshot};
use tidegate_core::validate::validate;
use tidegate_schema::catalogue;
use tidegate_schema::finding::{Finding, Lang};

/// Codes without a folder, and why.
const WITHOUT_FOLDER: &[(&str, &str)] = &[
    ("DNS/BAD_HEXADECIMAL", "documents know only types with a form of their own"),
    ("DNS/BAD_TYPE", "documents know only types that are served"),
    ("DNS/SET_TOO_LARGE", "a sample would be as large; `core zone::lint::tests` makes one"),
    ("GROUP/SHARE_RANGE", "the schema refuses it before; `tidegate groups` gives it"),
    ("DNS/VALUE_TOO_LONG", "a sample would be as long; `core zone::lint::tests` makes one"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("findings")
}

fn files(folder: &Path, prefix: &str, into: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().into_string().unwrap());
        if name == "earlier" {
            continue;
        }
        if entry.path().is_dir() {
            files(&entry.path(), &format!("{name}/"), into);
        } else if name != "findings.txt" {
            into.insert(name, fs::read(entry.path()).unwrap());
        }
    }
}

fn now() -> Timestamp {
    "2026-11-21T10:00:00Z".parse().unwrap()
}

/// Releases that operations go back to.
fn earlier(folder: &Path) -> BTreeMap<String, Earlier> {
    let Ok(entries) = fs::read_dir(folder.join("earlier")) else { return BTreeMap::new() };
    let of_one = |path: PathBuf| {
        if path.is_dir() {
            return Earlier::Delivered { at: now(), snapshot: Box::new(snapshot(&path)) };
        }
        match fs::read_to_string(&path).unwrap().trim() {
            "unknown" => Earlier::Unknown,
            phase => Earlier::NotDelivered(phase.to_owned()),
        }
    };
    let entries = entries.map(|entry| entry.unwrap());
    entries.map(|it| (it.file_name().into_string().unwrap(), of_one(it.path()))).collect()
}

fn snapshot(folder: &Path) -> Snapshot {
    let now = now();
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
    let (folder_of_site, earlier) = (inner.to_owned(), earlier(folder));
    Snapshot { revision, folder: folder_of_site, files: all, findings: Vec::new(), earlier }
}

fn findings(folder: &Path) -> Vec<Finding> {
    let (site, findings) = validate(&snapshot(folder), now());
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

/// The sources whose codes are found in documents: of `core`, without the guards, which judge a change of a zone.
fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if !["tests.rs", "guard.rs"].iter().any(|it| path.ends_with(it)) {
            into.push(path);
        }
    }
}

/// The codes in string literals of a source, without tests and comments.
fn codes(source: &str) -> Vec<String> {
    let is_word =
        |word: &str| word.len() > 1 && word.bytes().all(|it| it.is_ascii_uppercase() || it == b'_');
    let is_code = |text: &&str| {
        text.split_once('/').is_some_and(|(category, name)| is_word(category) && is_word(name))
    };
    let own = source.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = own.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.flat_map(|line| line.split('"').filter(is_code)).map(str::to_owned).collect()
}

#[test]
fn every_code_of_validation_has_a_folder() {
    let core = Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent/core/src");
    let mut found = ["validate.rs", "group.rs", "zone.rs"].map(|it| core.join(it)).to_vec();
    sources(&core.join("validate"), &mut found);
    sources(&core.join("zone"), &mut found);
    let codes: BTreeSet<String> =
        found.iter().flat_map(|path| codes(&fs::read_to_string(path).unwrap())).collect();
    assert!(codes.len() > 120, "only {} codes were found", codes.len());
    let folders: BTreeSet<String> = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let is_known = |code: &&String| WITHOUT_FOLDER.iter().any(|(known, _)| known == code);
    let missing: Vec<_> =
        codes.iter().filter(|it| !folders.contains(&folder_name(it)) && !is_known(it)).collect();
    assert!(missing.is_empty(), "no folder for {missing:?}");
    let unknown: Vec<_> =
        WITHOUT_FOLDER.iter().filter(|(code, _)| !codes.contains(*code)).collect();
    assert!(unknown.is_empty(), "nobody gives {unknown:?}");
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
