//! The reference's page about the sandbox: what it has by the battery and its table of kinds, and what its sources say it lacks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tidegate_sandbox::resource::built_in;

use super::{all, conversation};

const HEAD: &str = "\
# The sandbox

<!-- Made from the battery and from agent/sandbox/src: edit those, then run the battery with UPDATE_REFERENCE=1. -->

What the simulated Kubernetes has and lacks. [What it is for](../explanation/sandbox.md) is told elsewhere.

## Behaviours

Each is a conversation whose answers are the same as those of a real API server of 1.20 with its controllers. Those marked with a later
version are compared only where a server of that version is at hand.
";

/// The page in Markdown.
///
/// # Panics
/// When the sources are not where they belong.
pub fn page() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut lines = vec![HEAD.to_owned()];
    lines.extend(behaviours(&root.join("src/battery")));
    lines
        .push("\n## Kinds\n\nBeside these, custom resources with structural schemas.\n".to_owned());
    lines.push("| API | kinds |\n| --- | --- |".to_owned());
    lines.extend(kinds());
    lines.push("\n## What it lacks\n\nBeside what [is not simulated at all](../explanation/sandbox.md#what-it-is-not), part by part:\n".to_owned());
    lines.extend(lacks(&root.join("../agent/sandbox/src")));
    lines.join("\n") + "\n"
}

/// The behaviours by group.
fn behaviours(folder: &Path) -> Vec<String> {
    let written: BTreeMap<_, _> = conversation::groups().into_iter().collect();
    let mut lines = Vec::new();
    let mut last = "";
    for behaviour in all() {
        if behaviour.group != last {
            last = &behaviour.group;
            let (title, about) = match written.get(last) {
                Some(group) => (group.title.clone(), group.about.clone()),
                None => heading(&folder.join(format!("{last}.rs"))),
            };
            let blank = if lines.is_empty() { "" } else { "\n" };
            let (first, rest) = about.split_at(1);
            lines.push(format!("{blank}### {title}\n\n{}{rest}:\n", first.to_uppercase()));
        }
        let since = match behaviour.since {
            0 => String::new(),
            since => format!(" (since 1.{since})"),
        };
        lines.push(format!("- {}{since}", behaviour.name.replace('_', " ")));
    }
    lines
}

/// A group's title, and what it is about, from the first line of its source.
fn heading(source: &Path) -> (String, String) {
    let source = std::fs::read_to_string(source).expect("the file of a group");
    let first = source.lines().next().and_then(|line| line.strip_prefix("//! "));
    let (title, about) = first.and_then(|line| line.split_once(": ")).expect("a title");
    // Asides for the readers of the source follow after the first sentence.
    (title.to_owned(), about.split('.').next().unwrap_or_default().to_owned())
}

fn kinds() -> Vec<String> {
    let mut kinds: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for resource in built_in() {
        for version in &resource.versions {
            let api = resource.api_version(&version.name);
            kinds.entry(api).or_default().push(&resource.kind);
        }
    }
    kinds.iter().map(|(api, kinds)| format!("| `{api}` | {} |", kinds.join(", "))).collect()
}

/// What the first lines of the sandbox's sources say is absent.
fn lacks(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for file in sources(folder) {
        let text = std::fs::read_to_string(&file).expect("a source");
        let about: Vec<_> = text.lines().map_while(|line| line.strip_prefix("//!")).collect();
        let about = about.concat();
        let what = ["Absent: ", "Not simulated: "].iter().find_map(|word| about.split_once(word));
        let Some((_, what)) = what else { continue };
        let what = what.split(". ").next().unwrap_or_default().trim_end_matches('.');
        let part = file.strip_prefix(folder).expect("a file below the folder").with_extension("");
        lines.push(format!("- `{}`: {what}", part.display()));
    }
    lines.sort();
    lines
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found
}
