//! The pages: every link in them leads somewhere, and the book's table of contents names every page of the book.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use tidegate_schema::yaml;

use super::{assert_none, files, is_kind, read, root};

/// All pages of the tree, relative to its root.
fn pages() -> impl Iterator<Item = String> {
    files().into_iter().filter(|path| is_kind(path, "md"))
}

/// A page without its blocks and spans of code, in which brackets are no links.
fn prose(text: &str) -> String {
    let (mut prose, mut is_code) = (String::new(), false);
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            for (index, part) in line.split('`').enumerate() {
                // Words within a link's text stay: what counts is where it leads.
                prose.push_str(if index % 2 == 0 { part } else { "code" });
            }
            prose.push('\n');
        }
    }
    prose
}

/// Where the links of a page lead.
fn targets(text: &str) -> Vec<String> {
    let prose = prose(text);
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.map(str::to_owned).collect()
}

/// The anchors of a page: its headings as GitHub and mdBook write them.
fn anchors(text: &str) -> BTreeSet<String> {
    let (mut anchors, mut is_code) = (BTreeSet::new(), false);
    for line in text.lines() {
        if line.starts_with("```") {
            is_code = !is_code;
        } else if !is_code && let Some(heading) = line.strip_prefix('#') {
            let heading = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = heading.chars().filter(|it| it.is_alphanumeric() || " -_".contains(*it));
            let anchor: String = kept.map(|it| if it == ' ' { '-' } else { it }).collect();
            let mut count = 1;
            let mut numbered = anchor.clone();
            while !anchors.insert(numbered.clone()) {
                numbered = format!("{anchor}-{count}");
                count += 1;
            }
        }
    }
    anchors
}

/// A path with `.` and `..` taken out.
fn tidy(path: &Path) -> PathBuf {
    let mut parts = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                parts.pop();
            }
            Component::CurDir => {}
            Component::Normal(_) | Component::RootDir | Component::Prefix(_) => parts.push(part),
        }
    }
    parts
}

/// Whether a link leads to somewhere in this tree.
fn is_own(target: &str) -> bool {
    !target.contains("://") && !target.starts_with("mailto:")
}

#[test]
fn every_link_leads_somewhere() {
    let (mut wrong, mut count) = (Vec::new(), 0);
    for page in pages() {
        for target in targets(&read(&page)).into_iter().filter(|it| is_own(it)) {
            count += 1;
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let folder = Path::new(&page).parent().unwrap();
            let path = if file.is_empty() { page.clone().into() } else { tidy(&folder.join(file)) };
            if !root().join(&path).exists() {
                wrong.push(format!("{page}: {target}"));
            } else if !anchor.is_empty() && !anchors(&read(path.to_str().unwrap())).contains(anchor)
            {
                wrong.push(format!("{page}: {target} has no such heading"));
            }
        }
    }
    assert!(count > 100, "only {count} links were found");
    assert_none("links that lead nowhere", wrong);
}

#[test]
fn links_of_the_book_stay_in_the_book() {
    let mut wrong = Vec::new();
    for page in pages().filter(|page| page.starts_with("docs/")) {
        for target in targets(&read(&page)).into_iter().filter(|it| is_own(it)) {
            let file = target.split('#').next().unwrap_or_default();
            if !tidy(&Path::new(&page).parent().unwrap().join(file)).starts_with("docs") {
                wrong.push(format!("{page}: {target}"));
            }
        }
    }
    assert_none("links that break in the built book", wrong);
}

#[test]
fn the_table_of_contents_names_every_page() {
    let named: BTreeSet<String> =
        targets(&read("docs/SUMMARY.md")).into_iter().map(|it| format!("docs/{it}")).collect();
    let is_page = |page: &String| page.starts_with("docs/") && page != "docs/SUMMARY.md";
    let missing = pages().filter(is_page).filter(|page| !named.contains(page));
    assert_none("pages that docs/SUMMARY.md does not name", missing.collect());
}

/// The blocks of YAML of a page.
fn yaml_blocks(text: &str) -> Vec<String> {
    let (mut blocks, mut is_yaml) = (Vec::new(), false);
    for line in text.lines() {
        if line.starts_with("```") {
            is_yaml = line == "```yaml";
            if is_yaml {
                blocks.push(String::new());
            }
        } else if is_yaml && let Some(block) = blocks.last_mut() {
            block.push_str(line);
            block.push('\n');
        }
    }
    blocks
}

#[test]
fn documents_that_pages_show_can_be_copied() {
    // Pages cut keys short.
    let key = "AAAAC3NzaC1lZDI1NTE5AAAAIAhNGxSu1TbQrEFbMuglbsQA958pup2uEL1RVt/V3Pem";
    let (mut wrong, mut count) = (Vec::new(), 0);
    for page in pages() {
        for block in yaml_blocks(&read(&page)) {
            if block.contains("apiVersion: tidegate.dev/") {
                count += 1;
                let (_, findings) = yaml::parse(&page, &block.replace("AAAA…", key));
                wrong.extend(findings.iter().map(|finding| format!("{page}: {finding}")));
            }
        }
    }
    assert!(count >= 3, "only {count} documents were found");
    assert_none("documents of pages that are none", wrong);
}

#[test]
fn code_is_no_link_and_headings_become_anchors() {
    let text = "# A `b` c\n[one](a.md) `x[0](b.md)`\n```text\n[two](c.md)\n## Not one\n```\n[`d`](d.md#e)\n## Exit codes\n## Exit codes\n";
    assert_eq!(targets(text), ["a.md", "d.md#e"]);
    let anchors: Vec<_> = anchors(text).into_iter().collect();
    assert_eq!(anchors, ["a-b-c", "exit-codes", "exit-codes-1"]);
}
