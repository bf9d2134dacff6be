//! What pages say that tests show: each test that the invariants of ARCHITECTURE.md and the rows of
//! docs/reference/correctness.md, requirements.md and attacks.md name exists, and every row of a list has its line.

use std::collections::BTreeSet;

use super::{assert_none, files, is_word, read, rust_files};

const PAGE: &str = "docs/reference/correctness.md";
const REQUIREMENTS: &str = "docs/reference/requirements.md";
const ATTACKS: &str = "docs/reference/attacks.md";

/// The lists of the page and how many rows each has.
const LISTS: &[(&str, usize)] = &[("D", 65), ("A", 50)];

/// Short names of folders before the path of a test; anything else with a slash is a path of the tree.
const FOLDERS: &[(&str, &str)] = &[
    ("core", "agent/core/src"),
    ("agent", "agent/src"),
    ("sandbox", "agent/sandbox/src"),
    ("schema", "schema/src"),
    ("battery", "tests/src/battery"),
];

/// What stands between backticks.
fn ticked(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Whether this is the name of a test: words of small letters, joined.
fn is_test_name(text: &str) -> bool {
    let is_small = |it: char| is_word(it) && !it.is_uppercase();
    text.matches('_').count() > 1 && text.chars().all(is_small)
}

/// The sources that have a place, a folder or a file without its ending.
fn sources<'a>(place: &str, all: &'a [String]) -> Vec<&'a String> {
    let place = FOLDERS.iter().find(|(short, _)| *short == place).map_or(place, |(_, it)| it);
    let file = format!("{}.rs", place.trim_end_matches(".rs"));
    let below = format!("{place}/");
    all.iter().filter(|path| **path == file || path.starts_with(&below)).collect()
}

/// Whether a source is of these modules; `tests` may stand in the file of what it tests.
fn is_of(path: &str, modules: &[&str]) -> bool {
    let parts: Vec<&str> = path.trim_end_matches(".rs").split('/').collect();
    modules.iter().filter(|it| **it != "tests").all(|module| parts.contains(module))
}

/// The tests and paths that a text names and that are not there.
///
/// A name is `PLACE MODULES::test`, where what is left out is that of the name before; or a path of the tree.
fn missing(text: &str) -> Vec<String> {
    let (all, rust) = (files(), rust_files());
    let mut wrong = Vec::new();
    let mut place = String::new();
    for name in ticked(text) {
        let (own, path) = match name.split_once(' ') {
            Some((own, path)) => (own, path),
            None => (place.as_str(), name),
        };
        let mut modules: Vec<&str> = path.split("::").collect();
        let test = modules.pop().unwrap_or_default();
        if !name.contains(' ') && name.contains('/') {
            let path = name.trim_end_matches('/');
            let below = format!("{path}/");
            if !all.iter().any(|file| file == path || file.starts_with(&below)) {
                wrong.push(name.to_owned());
            }
        } else if is_test_name(test) {
            let function = format!("fn {test}(");
            let is_there = sources(own, &rust)
                .into_iter()
                .filter(|path| is_of(path, &modules))
                .any(|path| read(path).contains(&function));
            if !is_there {
                wrong.push(format!("{own} {path}"));
            }
            place = own.to_owned();
        }
    }
    wrong
}

#[test]
fn tests_that_hold_an_invariant_exist() {
    let text = read("ARCHITECTURE.md");
    let invariants = text.split("\n- **Invariant:**").skip(1);
    let wrong: Vec<String> = invariants
        .flat_map(|invariant| missing(invariant.split("\n\n").next().unwrap_or_default()))
        .collect();
    assert_none("ARCHITECTURE.md names tests that do not exist", wrong);
}

/// The rows of a page's tables: row, behaviour, what shows it.
fn rows(text: &str) -> Vec<[String; 3]> {
    let cells = |line: &str| -> Option<[String; 3]> {
        let cells: Vec<_> =
            line.strip_prefix("| ")?.split(" | ").map(|it| it.trim_end_matches(" |")).collect();
        let [row, behaviour, shown] = cells.as_slice() else { return None };
        let number = row.trim_start_matches(|it: char| it.is_ascii_uppercase() || it == '-');
        number.parse::<usize>().ok()?;
        Some([*row, *behaviour, *shown].map(str::to_owned))
    };
    text.lines().filter_map(cells).collect()
}

#[test]
fn every_row_of_a_list_says_what_shows_it() {
    let text = read(PAGE);
    let rows = rows(&text);
    let mut wrong = Vec::new();
    for (list, count) in LISTS {
        let named: Vec<&str> =
            rows.iter().map(|[row, ..]| row.as_str()).filter(|row| row.starts_with(list)).collect();
        for number in 1..=*count {
            let row = format!("{list}{number}");
            match named.iter().filter(|name| **name == row).count() {
                1 => {}
                0 => wrong.push(format!("{row} is missing")),
                _ => wrong.push(format!("{row} is there more than once")),
            }
        }
    }
    for [row, behaviour, shown] in &rows {
        if behaviour.is_empty() || shown.is_empty() {
            wrong.push(format!("{row} says nothing"));
        }
        wrong.extend(missing(shown).into_iter().map(|name| format!("{row}: no test `{name}`")));
    }
    assert_none("docs/reference/correctness.md", wrong);
}

/// Rows of the requirement inventory that are about delivering.
const DELIVERY: &[(&str, std::ops::RangeInclusive<usize>)] = &[
    ("YG", 1..=23),
    ("YL", 30..=54),
    ("YL", 80..=84),
    ("YL", 90..=110),
    ("YL", 120..=127),
    ("YL", 130..=134),
    ("YL", 140..=143),
    ("YL", 157..=162),
    ("YL", 170..=177),
    ("YL", 180..=185),
    ("YL", 190..=191),
];

#[test]
fn every_attack_says_what_happens_and_what_shows_it() {
    let text = read(ATTACKS);
    let rows = rows(&text);
    let mut wrong = Vec::new();
    for number in 1..=25 {
        if rows.iter().filter(|[name, ..]| *name == format!("A-{number}")).count() != 1 {
            wrong.push(format!("A-{number} is not there once"));
        }
    }
    for [row, happens, shown] in &rows {
        let is_told = shown.contains('`') || shown.starts_with("by design");
        if happens.is_empty() || !(is_told || happens.starts_with("not there")) {
            wrong.push(format!("{row} says nothing"));
        }
        wrong.extend(missing(shown).into_iter().map(|name| format!("{row}: no test `{name}`")));
    }
    assert_none(ATTACKS, wrong);
}

#[test]
fn every_requirement_of_delivery_says_what_is_done_and_what_shows_it() {
    let text = read(REQUIREMENTS);
    let rows = rows(&text);
    let mut wrong = Vec::new();
    for (list, numbers) in DELIVERY {
        let width = if *list == "YG" { 2 } else { 3 };
        for number in numbers.clone() {
            let row = format!("{list}-{number:0width$}");
            if rows.iter().filter(|[name, ..]| *name == row).count() != 1 {
                wrong.push(format!("{row} is not there once"));
            }
        }
    }
    for [row, done, shown] in &rows {
        let is_absent = done.starts_with("not there") || done.starts_with("no ");
        let is_told = shown == "–" || shown == "no test of its own" || shown.contains('`');
        if done.is_empty() || !(is_told || is_absent || shown.starts_with("by design")) {
            wrong.push(format!("{row} says nothing"));
        }
        wrong.extend(missing(shown).into_iter().map(|name| format!("{row}: no test `{name}`")));
    }
    assert_none(REQUIREMENTS, wrong);
}

#[test]
fn a_test_that_is_not_there_is_missed() {
    let there = "`core diff::tests::a_gap_is_never_read_as_absent`, `only_what_is_ours_is_pruned`";
    assert_eq!(missing(there), [""; 0]);
    assert_eq!(missing("`core diff::tests::nobody_wrote_this_one`").len(), 1);
    assert_eq!(missing("`core show::tests::a_gap_is_never_read_as_absent`").len(), 1, "elsewhere");
    assert_eq!(missing("`tests/scenarios/nobody-wrote-this`").len(), 1);
    let names: BTreeSet<&str> = ticked("a `b` c `d`").collect();
    assert_eq!(names, BTreeSet::from(["b", "d"]));
}
