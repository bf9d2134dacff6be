//! Rules about the tree itself, which no compiler holds: dependencies, places, orders, names, texts of findings, pages.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use tidegate_schema::catalogue;
use tidegate_schema::finding::Lang;

#[path = "tidy/pages.rs"]
mod pages;
#[path = "tidy/shown.rs"]
mod shown;

/// What the core may stand on. None of it reads files, clocks or the network; jiff is for its types.
const CORE_STANDS_ON: &[&str] = &[
    "base64",
    "cel",
    "globset",
    "jiff",
    "jsonschema",
    "minijinja",
    "schemars",
    "semver",
    "serde",
    "serde_json",
    "serde_json_canonicalizer",
    "sha2",
    "similar",
    "thiserror",
    "tidegate-schema",
];

/// What documents may stand on.
const SCHEMA_STANDS_ON: &[&str] = &[
    "jiff",
    "jsonschema",
    "regex",
    "saphyr-parser",
    "schemars",
    "semver",
    "serde",
    "serde_json",
    "serde_yaml",
    "thiserror",
];

/// Crates of the outside, and the one module of `agent/src` that may name each.
const PLACES: &[(&str, &str)] = &[
    ("axum", "http"),
    ("form_urlencoded", "registry"),
    ("git2", "source"),
    ("hickory_net", "dns"),
    ("hickory_proto", "dns"),
    ("hickory_resolver", "dns"),
    ("hickory_server", "dns"),
    ("hyper_rustls", "registry"),
    ("kube", "cluster"),
    ("notify", "wake"),
    ("rustls", "registry"),
    ("rustls_native_certs", "registry"),
    ("sqlx", "journal"),
    ("ssh_key", "signature"),
];

/// Module, crate, and why it may name it all the same.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    ("agent", "kube", "takes ready clients of sandboxes and tests, and hands them to `cluster`"),
    ("cli", "form_urlencoded", "writes queries of the API, as `registry` does of registries"),
    ("demo", "kube", "plays the person who changes something by hand, and hands out kubeconfigs"),
    ("sandboxes", "kube", "makes the clients of sandboxes"),
];

/// Modules of `agent/src` that each stand for one system of the outside.
const ADAPTERS: &[&str] =
    &["cluster", "dns", "http", "journal", "registry", "signature", "source", "wake"];

/// Adapter, the other adapter, and why it may use it all the same.
const ADAPTERS_TOGETHER: &[(&str, &str, &str)] = &[
    ("http", "journal", "names the journal's error and rows, which the handle gives"),
    ("http", "wake", "a hook is a wake"),
];

/// Names of files and folders that say nothing.
const EMPTY_NAMES: &[&str] = &[
    "common", "handler", "handlers", "helper", "helpers", "imp", "impl", "manager", "misc", "mod",
    "util", "utils",
];

/// Crate, dependency that no source names, and why it is there all the same.
const UNNAMED: &[(&str, &str, &str)] =
    &[("agent", "k8s-openapi", "kube needs somebody to choose a version of Kubernetes' types")];

/// What looks like a code and is none, and why.
const NOT_CODES: &[(&str, &str)] =
    &[("RELEASE/STEP", "the form of an argument on the command line")];

/// Code and name in braces that is text, and why.
const NOT_PLACEHOLDERS: &[(&str, &str, &str)] =
    &[("PARAMETER/SCOPE", "cluster", "a scope as YAML writes it")];

/// Asserts that nothing is wrong, and says all that is.
fn assert_none(rule: &str, mut wrong: Vec<String>) {
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "{rule}:\n  {}", wrong.join("\n  "));
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All files of the tree, relative to its root, without what is built and what git keeps.
fn files() -> Vec<String> {
    let (root, mut found) = (root(), Vec::new());
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            match entry.file_type().unwrap() {
                kind if kind.is_dir() && !["target", ".git"].contains(&name.as_str()) => {
                    folders.push(entry.path());
                }
                kind if kind.is_file() && name != ".git" => {
                    let path = entry.path();
                    found.push(path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned());
                }
                _ => {}
            }
        }
    }
    found.sort();
    found
}

fn is_kind(path: &str, kind: &str) -> bool {
    Path::new(path).extension().is_some_and(|end| end == kind)
}

fn rust_files() -> Vec<String> {
    files().into_iter().filter(|path| is_kind(path, "rs")).collect()
}

/// Names of the files and folders directly in a folder, without `.rs`; each module once.
fn entries(folder: &str) -> BTreeSet<String> {
    let entries =
        fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string();
    entries.map(|entry| name(entry).unwrap().trim_end_matches(".rs").to_owned()).collect()
}

/// The module of a file below a `src` folder: its first part, without the ending.
fn module<'a>(path: &'a str, source: &str) -> Option<&'a str> {
    let below = path.strip_prefix(source)?;
    below.split('/').next().map(|first| first.trim_end_matches(".rs"))
}

fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

/// The code of a file: without lines of comments and without its tests.
fn code(path: &str) -> String {
    let text = read(path);
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    text.lines().filter(is_code).collect::<Vec<_>>().join("\n")
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// Whether a text names a path that begins with this crate.
fn names(text: &str, name: &str) -> bool {
    let path = format!("{name}::");
    text.match_indices(&path).any(|(at, _)| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        before.is_none_or(|letter| !is_word(letter) && letter != ':')
    })
}

/// The modules of its own crate that a text names: `crate::a` and `crate::{a, b}`.
fn own_modules(text: &str) -> BTreeSet<String> {
    let word = |text: &str| text.chars().take_while(|letter| is_word(*letter)).collect::<String>();
    let mut found = BTreeSet::new();
    for (at, start) in text.match_indices("crate::") {
        let rest = text.get(at + start.len()..).unwrap_or_default();
        let Some(list) = rest.strip_prefix('{') else {
            found.insert(word(rest));
            continue;
        };
        let (mut depth, mut part) = (0_u32, String::new());
        for letter in list.chars() {
            match letter {
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                '{' => depth += 1,
                ',' if depth == 0 => {
                    found.insert(word(part.trim()));
                    part.clear();
                }
                _ if depth == 0 => part.push(letter),
                _ => {}
            }
        }
        found.insert(word(part.trim()));
    }
    found
}

/// The names in a section of a manifest.
fn dependencies(manifest: &str, section: &str) -> BTreeSet<String> {
    let text = read(manifest);
    let head = format!("[{section}]");
    let lines = text.lines().skip_while(|line| line.trim() != head).skip(1);
    lines
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .map(ToOwned::to_owned)
        .collect()
}

/// The codes of findings that a text names as literals: `"CATEGORY/NAME"`.
fn codes(text: &str) -> BTreeSet<String> {
    let is_code = |literal: &&str| {
        let capitals = |part: &str, also: &str| {
            part.len() > 1
                && part.starts_with(|letter: char| letter.is_ascii_uppercase())
                && part.chars().all(|it| it.is_ascii_uppercase() || also.contains(it))
        };
        literal
            .split_once('/')
            .is_some_and(|(category, name)| capitals(category, "") && capitals(name, "_0123456789"))
    };
    let is_other = |literal: &&str| NOT_CODES.iter().any(|(text, _)| text == literal);
    let literals = text.split('"').filter(is_code).filter(|literal| !is_other(literal));
    literals.map(ToOwned::to_owned).collect()
}

/// Sources that name codes, each with the folder in which the arguments of its findings are given.
fn sources_of_findings() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for path in rust_files().into_iter().filter(|path| !is_test(path)) {
        for source in ["agent/core/src/", "agent/src/", "schema/src/"] {
            if let Some(module) = module(&path, source) {
                // The schema's rules share the functions that make findings.
                let group = if source == "schema/src/" { "schema" } else { module };
                found.insert(path.clone(), format!("{source}{group}"));
            }
        }
    }
    found
}

fn placeholders(text: &str) -> BTreeSet<String> {
    let parts = text.split('{').skip(1).filter_map(|part| part.split_once('}'));
    parts
        .map(|(name, _)| name.to_owned())
        .filter(|name| name.starts_with(|it: char| it.is_ascii_lowercase()))
        .filter(|name| name.chars().all(is_word))
        .collect()
}

#[test]
fn the_core_and_the_schema_stand_on_little() {
    let rules =
        [("agent/core/Cargo.toml", CORE_STANDS_ON), ("schema/Cargo.toml", SCHEMA_STANDS_ON)];
    let mut wrong = Vec::new();
    for (manifest, allowed) in rules {
        let others = dependencies(manifest, "dependencies").into_iter();
        let others = others.filter(|name| !allowed.contains(&name.as_str()));
        wrong.extend(others.map(|name| format!("{manifest}: {name}")));
    }
    assert_none("a dependency that is not on the list", wrong);
}

#[test]
fn the_sandbox_knows_nothing_of_us() {
    let all =
        ["dependencies", "dev-dependencies"].map(|it| dependencies("agent/sandbox/Cargo.toml", it));
    let ours = all.into_iter().flatten().filter(|name| name.starts_with("tidegate")).collect();
    assert_none("a dependency of the sandbox on the product that it is to judge", ours);
}

#[test]
fn nothing_is_depended_on_for_nothing() {
    let crates = ["schema", "agent", "agent/core", "agent/sandbox"];
    let mut wrong = Vec::new();
    for folder in crates {
        let source = format!("{folder}/src/");
        let text: String = rust_files()
            .iter()
            .filter(|path| path.starts_with(&source))
            .map(|path| read(path))
            .collect();
        let unnamed = dependencies(&format!("{folder}/Cargo.toml"), "dependencies").into_iter();
        let unnamed = unnamed.filter(|name| {
            let name = name.replace('-', "_");
            !text.contains(&format!("{name}::")) && !text.contains(&format!("{name}!("))
        });
        let is_excused =
            |name: &String| UNNAMED.iter().any(|(own, other, _)| *own == folder && other == name);
        let unnamed = unnamed.filter(|name| !is_excused(name));
        wrong.extend(unnamed.map(|name| format!("{folder}/Cargo.toml: {name}")));
    }
    assert_none("a dependency that no source names", wrong);
}

#[test]
fn each_crate_of_the_outside_has_one_place() {
    let mut wrong = Vec::new();
    for path in rust_files() {
        let Some(module) = module(&path, "agent/src/") else { continue };
        let text = code(&path);
        let elsewhere =
            |name: &str| ELSEWHERE.iter().any(|(own, other, _)| *own == module && *other == name);
        for (name, place) in PLACES {
            if module != *place && names(&text, name) && !elsewhere(name) {
                wrong.push(format!("{path}: {name} belongs into {place}"));
            }
        }
    }
    assert_none("a crate of the outside that is named in another place", wrong);
}

#[test]
fn adapters_do_not_use_each_other() {
    let mut wrong = Vec::new();
    for path in rust_files().into_iter().filter(|path| !is_test(path)) {
        let Some(own) = module(&path, "agent/src/").filter(|it| ADAPTERS.contains(it)) else {
            continue;
        };
        for other in own_modules(&code(&path)) {
            let other = other.as_str();
            let together =
                ADAPTERS_TOGETHER.iter().any(|(one, two, _)| *one == own && *two == other);
            if other != own && ADAPTERS.contains(&other) && !together {
                wrong.push(format!("{path}: uses {other}"));
            }
        }
    }
    assert_none("an adapter that uses another one", wrong);
}

#[test]
fn modules_of_the_core_use_only_those_above_them() {
    let list = read("agent/core/src/lib.rs");
    let order: Vec<&str> =
        list.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert!(order.len() > 20, "the list of modules was not understood: {order:?}");
    let place = |name: &str| order.iter().position(|known| *known == name);
    let mut wrong = Vec::new();
    for path in rust_files().into_iter().filter(|path| !is_test(path)) {
        let Some(own) = module(&path, "agent/core/src/").and_then(place) else { continue };
        let later = own_modules(&code(&path)).into_iter().filter(|it| place(it) > Some(own));
        wrong.extend(later.map(|it| format!("{path}: uses {it}, which comes later in lib.rs")));
    }
    assert_none("a module that uses a later one", wrong);
}

#[test]
fn every_source_says_what_it_is_and_no_rule_is_switched_off() {
    // Put together, so that this file does not name what it forbids.
    let forbidden =
        [("#[al", "low("), ("#![al", "low("), ("#[ig", "nore"), ("to", "do!("), ("dbg", "!(")];
    let forbidden = forbidden.map(|(start, end)| format!("{start}{end}"));
    let mut wrong = Vec::new();
    for path in rust_files() {
        let text = read(&path);
        if !text.starts_with("//! ") {
            wrong.push(format!("{path}: does not begin with `//! `"));
        }
        let code: String =
            text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let found = forbidden.iter().filter(|it| code.contains(it.as_str()));
        wrong.extend(found.map(|it| format!("{path}: {it}")));
    }
    assert_none("a source that breaks a rule", wrong);
}

#[test]
fn names_say_something() {
    let mut wrong = Vec::new();
    for path in rust_files() {
        let parts = path.split('/').map(|part| part.trim_end_matches(".rs"));
        let empty = parts.filter(|part| EMPTY_NAMES.contains(part));
        wrong.extend(empty.map(|part| format!("{path}: `{part}` says nothing")));
    }
    assert_none("a name that says nothing", wrong);
}

#[test]
fn main_is_short() {
    let lines = read("agent/src/main.rs").lines().count();
    assert!(
        lines < 20,
        "agent/src/main.rs has {lines} lines: it parses, runs, and gives the exit code"
    );
}

#[test]
fn every_code_has_texts_and_every_text_is_used() {
    let known: BTreeSet<String> = catalogue::codes().map(ToOwned::to_owned).collect();
    let mut used = BTreeSet::new();
    let mut wrong = Vec::new();
    for path in sources_of_findings().into_keys() {
        let found = codes(&code(&path));
        let unknown = found.difference(&known);
        wrong.extend(unknown.map(|code| format!("{path}: {code} is not in schema/catalogue")));
        used.extend(found);
    }
    wrong.extend(
        known.difference(&used).map(|code| format!("schema/catalogue: nothing says {code}")),
    );
    assert_none("codes and texts that do not match", wrong);
}

/// A placeholder that nobody fills is shown with its braces. Which call fills it cannot be seen here; that some call near
/// the code has an argument of its name can.
#[test]
fn every_placeholder_of_a_text_is_an_argument_near_its_code() {
    let sources = sources_of_findings();
    let mut text: BTreeMap<&str, String> = BTreeMap::new();
    let mut near: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (path, group) in &sources {
        text.entry(group).or_default().push_str(&read(path));
        for code in codes(&code(path)) {
            near.entry(code).or_default().insert(group);
        }
    }
    let mut wrong = Vec::new();
    for (code, groups) in near {
        let Some(entry) = catalogue::explain(&code, Lang::En) else { continue };
        let mut wanted = placeholders(entry.message);
        wanted.extend(placeholders(entry.remedy));
        // What an effect met becomes a finding where a release fails of it.
        let is_refusal = code.starts_with("CLUSTER/") || code == "RELEASE/NOT_OURS";
        let failure = is_refusal.then_some("agent/core/src/progress");
        let is_given = |name: &String| {
            let argument = format!("\"{name}\"");
            groups.iter().copied().chain(failure).any(|group| text[group].contains(&argument))
        };
        let is_text = |name: &String| {
            NOT_PLACEHOLDERS.iter().any(|(own, text, _)| *own == code && text == name)
        };
        let missing = wanted.into_iter().filter(|name| !is_given(name) && !is_text(name));
        wrong.extend(missing.map(|name| format!("nothing gives {code} a `{name}`")));
    }
    assert_none("a placeholder that nobody fills", wrong);
}

#[test]
fn nothing_names_a_path_of_a_machine() {
    let homes = [("/wo", "rk/"), ("/ro", "ot/")].map(|(start, end)| format!("{start}{end}"));
    let mut wrong = Vec::new();
    for path in files() {
        let Ok(text) = fs::read_to_string(root().join(&path)) else { continue };
        for (number, line) in text.lines().enumerate() {
            let is_named = homes.iter().any(|home| {
                line.match_indices(home.as_str()).any(|(at, _)| {
                    // A part of a longer path of something else: a container's, a variable's.
                    let before = line.get(..at).and_then(|before| before.chars().next_back());
                    before.is_none_or(|letter| " \t\"'`=:(".contains(letter))
                })
            });
            if is_named {
                wrong.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert_none("a path of somebody's machine", wrong);
}

#[test]
fn nothing_half_reviewed_is_kept() {
    let wrong = files().into_iter().filter(|path| {
        [".snap.new", ".pending-snap", ".orig", ".rej", "~"].iter().any(|end| path.ends_with(end))
    });
    assert_none("a file that a tool left", wrong.collect());
}

#[test]
fn every_example_has_a_readme() {
    let examples = entries("examples");
    assert!(!examples.is_empty(), "examples/ is empty");
    let without = examples.into_iter().filter(|name| {
        let folder = root().join("examples").join(name);
        folder.is_dir() && !folder.join("README.md").is_file()
    });
    assert_none("an example without README.md", without.collect());
}

/// The code map is worth something only while it is complete.
#[test]
fn the_code_map_names_everything() {
    let text = read("ARCHITECTURE.md");
    let section = |title: &str| {
        let start = text.find(title).unwrap_or_else(|| panic!("ARCHITECTURE.md has no `{title}`"));
        let section = text.get(start + title.len()..).unwrap_or_default();
        section.split("\n##").next().unwrap_or_default().to_owned()
    };
    let ticked = |text: &str| -> BTreeSet<String> {
        text.split('`').skip(1).step_by(2).map(|it| it.trim_end_matches(".rs").to_owned()).collect()
    };
    let mut wrong = Vec::new();
    for (folder, title) in
        [("agent/src", "### `agent/src`"), ("agent/core/src", "### `agent/core/src`")]
    {
        let named = ticked(&section(title));
        let missing =
            entries(folder).into_iter().filter(|name| !named.contains(name) && name != "bin");
        wrong.extend(missing.map(|name| format!("{folder}/{name}")));
    }
    let named = ticked(&section("## Code map"));
    let folders = entries(".")
        .into_iter()
        .filter(|name| root().join(name).is_dir() && ![".git", "target"].contains(&name.as_str()));
    wrong.extend(folders.filter(|name| !named.contains(&format!("{name}/"))));
    assert!(text.lines().count() <= 200, "ARCHITECTURE.md is longer than anybody reads");
    assert_none("ARCHITECTURE.md does not name", wrong);
}
