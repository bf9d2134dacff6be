//! The samples: every good one is accepted whole, every bad one gives exactly the findings written beside it.
//!
//! `UPDATE=1 cargo test -p tidegate-schema` rewrites the expected findings; read the difference before committing it.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use tidegate_schema::{Finding, Kind, Lang, catalogue, yaml};

fn samples(folder: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples").join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect()
}

fn findings(name: &str, text: &str) -> Vec<Finding> {
    let file = format!("{name}.yaml");
    if name.starts_with("object-") {
        yaml::parse_objects(&file, text).1
    } else {
        yaml::parse(&file, text).1
    }
}

fn show(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let place = finding.place.clone().unwrap();
        writeln!(text, "{finding}").unwrap();
        if !place.path.is_empty() {
            writeln!(text, "  at:  {}", place.path).unwrap();
        }
        writeln!(text, "  do:  {}", finding.remedy(Lang::En)).unwrap();
        writeln!(text, "  zh:  {}", finding.message(Lang::Zh)).unwrap();
    }
    text
}

#[test]
fn good_samples_cover_every_kind_and_have_no_findings() {
    let mut kinds = BTreeSet::new();
    for (name, text) in samples("good") {
        let (documents, findings) = yaml::parse(&name, &text);
        assert!(findings.is_empty(), "{}", show(&findings));
        kinds.extend(documents.iter().map(tidegate_schema::Document::kind));
    }
    assert_eq!(kinds, Kind::ALL.iter().copied().collect());
}

#[test]
fn a_document_survives_being_written_and_read_again() {
    for (name, text) in samples("good") {
        for document in yaml::parse(&name, &text).0 {
            let written = yaml::to_string(&document).unwrap();
            let (again, findings) = yaml::parse(&name, &written);
            assert!(findings.is_empty(), "{}\n{written}", show(&findings));
            let [again] = again.as_slice() else { panic!("{written}") };
            assert_eq!((&again.metadata, &again.body), (&document.metadata, &document.body));
            assert_eq!(again.to_value(), document.to_value());
        }
    }
}

#[test]
fn bad_samples_give_the_findings_beside_them() {
    let mut differences = String::new();
    for (name, text) in samples("bad") {
        let shown = show(&findings(&name, &text));
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/bad").join(format!("{name}.txt"));
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, &shown).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        if shown != expected {
            writeln!(differences, "== {name}: expected\n{expected}== but got\n{shown}").unwrap();
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn a_bad_sample_is_named_after_a_code_that_it_gives() {
    for (name, text) in samples("bad") {
        let rule = name.replace('-', "_").to_uppercase();
        let codes: Vec<_> = findings(&name, &text).into_iter().map(|f| f.code).collect();
        let is_named = codes.iter().any(|code| {
            code.replace('/', "_") == rule
                || code.split_once('/').is_some_and(|(_, rest)| rule.ends_with(rest))
        });
        assert!(is_named, "{name} gives {codes:?}");
    }
}

/// What no text can bring about: defects of the program, and what `yaml::parse_bytes` finds.
const WITHOUT_SAMPLE: [&str; 4] =
    ["DOCUMENT/INVALID", "DOCUMENT/SCHEMA_BROKEN", "DOCUMENT/UNREADABLE", "YAML/NOT_UTF8"];

#[test]
fn every_code_of_this_crate_is_in_the_catalogue_and_has_a_bad_sample() {
    let used = codes_in_sources();
    let known: BTreeSet<&str> = catalogue::codes().collect();
    let unknown: Vec<_> = used.iter().filter(|code| !known.contains(code.as_str())).collect();
    assert!(unknown.is_empty(), "not in the catalogue: {unknown:?}");
    let shown: BTreeSet<String> = samples("bad")
        .iter()
        .flat_map(|(name, text)| findings(name, text))
        .map(|finding| finding.code.into_owned())
        .collect();
    let missing: Vec<_> = used
        .iter()
        .filter(|code| !shown.contains(*code) && !WITHOUT_SAMPLE.contains(&code.as_str()))
        .collect();
    assert!(missing.is_empty(), "no bad sample for {missing:?}");
}

/// The codes in string literals of `src/`, without tests and doc comments.
fn codes_in_sources() -> BTreeSet<String> {
    fn visit(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(&path, found);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
                found.extend(line.split('"').filter(|part| is_code(part)).map(str::to_owned));
            }
        }
    }
    let is_source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeSet::new();
    visit(&is_source, &mut found);
    found
}

fn is_code(text: &str) -> bool {
    let is_word = |word: &str| {
        word.len() > 1
            && word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    };
    text.split_once('/').is_some_and(|(category, name)| is_word(category) && is_word(name))
}
