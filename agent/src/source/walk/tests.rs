//! Which files are loaded, tried on trees in memory.

use std::collections::BTreeMap;

use super::*;

/// Paths with what they stand for; folders follow from the paths.
#[derive(Default)]
struct Sketch(BTreeMap<Vec<u8>, (Kind, Vec<u8>)>);

impl Sketch {
    fn file(self, path: &str, content: &str) -> Self {
        self.entry(path.as_bytes(), Kind::File(content.len() as u64), content)
    }

    fn link(self, path: &str, target: &str) -> Self {
        self.entry(path.as_bytes(), Kind::Link(target.as_bytes().to_vec()), "")
    }

    fn entry(mut self, path: &[u8], kind: Kind, content: &str) -> Self {
        self.0.insert(path.to_vec(), (kind, content.as_bytes().to_vec()));
        self
    }

    fn walk(&self, root: &str, limits: Limits) -> (Vec<String>, Vec<String>) {
        let mut walk = Walk::new(self, limits);
        walk.load(root).unwrap();
        let findings = walk
            .findings
            .iter()
            .map(|finding| format!("{} {}", finding.code, finding.place.as_ref().unwrap()))
            .collect();
        (walk.files.into_keys().collect(), findings)
    }

    fn all(&self) -> (Vec<String>, Vec<String>) {
        self.walk("", Limits::default())
    }
}

impl Tree for Sketch {
    fn entries(&self, folder: &str) -> Result<Vec<(Vec<u8>, Kind)>, Error> {
        let start = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let mut found = BTreeMap::new();
        for (path, (kind, _)) in &self.0 {
            let Some(rest) = path.strip_prefix(start.as_bytes()) else { continue };
            match rest.iter().position(|byte| *byte == b'/') {
                Some(end) => found.insert(rest[..end].to_vec(), Kind::Folder),
                None => found.insert(rest.to_vec(), kind.clone()),
            };
        }
        Ok(found.into_iter().collect())
    }

    fn kind(&self, path: &str) -> Result<Option<Kind>, Error> {
        if let Some((kind, _)) = self.0.get(path.as_bytes()) {
            return Ok(Some(kind.clone()));
        }
        Ok((!self.entries(path)?.is_empty()).then_some(Kind::Folder))
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, Error> {
        Ok(self.0[path.as_bytes()].1.clone())
    }

    fn is_left_out(&self, path: &str) -> bool {
        path.ends_with(".left-out")
    }
}

#[test]
fn hidden_files_and_what_git_leaves_out_are_skipped() {
    let (files, findings) = Sketch::default()
        .file("site.yaml", "")
        .file(".hidden.yaml", "")
        .file(".git/config", "")
        .file("build.left-out", "")
        .file("clusters/a.yaml", "")
        .all();
    assert_eq!(files, ["clusters/a.yaml", "site.yaml"]);
    assert_eq!(findings, Vec::<String>::new());
}

#[test]
fn the_innermost_ignore_file_decides() {
    let (files, findings) = Sketch::default()
        .file(".tidegateignore", "*.md\n/drafts/\n# a comment\n")
        .file("README.md", "")
        .file("drafts/a.yaml", "")
        .file("solutions/drafts/b.yaml", "")
        .file("solutions/.tidegateignore", "!keep.md\n")
        .file("solutions/keep.md", "")
        .file("solutions/drop.md", "")
        .file("dns/keep.md", "")
        .all();
    assert_eq!(files, ["solutions/drafts/b.yaml", "solutions/keep.md"]);
    assert_eq!(findings, Vec::<String>::new());
}

#[test]
fn a_pattern_that_is_none_is_reported_with_its_line() {
    let (files, findings) =
        Sketch::default().file(".tidegateignore", "*.md\n[z-a]\n").file("a.yaml", "").all();
    assert_eq!(files, ["a.yaml"]);
    assert_eq!(findings, ["SOURCE/IGNORE_PATTERN .tidegateignore:2"]);
}

#[test]
fn links_inside_the_folder_are_followed_and_all_others_refused() {
    let (files, findings) = Sketch::default()
        .file("catalog/a.yaml", "")
        .file("site/a.yaml", "content")
        .file("site/.secret", "")
        .link("site/good.yaml", "a.yaml")
        .link("site/chain.yaml", "./good.yaml")
        .link("site/dns/up.yaml", "../a.yaml")
        .link("site/absolute.yaml", "/etc/passwd")
        .link("site/neighbour.yaml", "../catalog/a.yaml")
        .link("site/outside.yaml", "../../a.yaml")
        .link("site/nothing.yaml", "gone.yaml")
        .link("site/folder", "dns")
        .link("site/loop-a", "loop-b")
        .link("site/loop-b", "loop-a")
        .walk("site", Limits::default());
    assert_eq!(files, ["site/a.yaml", "site/chain.yaml", "site/dns/up.yaml", "site/good.yaml"]);
    assert_eq!(
        findings,
        [
            "SOURCE/SYMLINK_OUTSIDE site/absolute.yaml",
            "SOURCE/SYMLINK_TO_FOLDER site/folder",
            "SOURCE/SYMLINK_BROKEN site/loop-a",
            "SOURCE/SYMLINK_BROKEN site/loop-b",
            "SOURCE/SYMLINK_OUTSIDE site/neighbour.yaml",
            "SOURCE/SYMLINK_BROKEN site/nothing.yaml",
            "SOURCE/SYMLINK_OUTSIDE site/outside.yaml",
        ]
    );
}

#[test]
fn names_that_cannot_be_shown_are_refused() {
    let (files, findings) = Sketch::default()
        .entry(b"caf\xe9.yaml", Kind::File(0), "")
        .file("right\u{202e}to-left.yaml", "")
        .file("tab\t.yaml", "")
        .file("back\\slash.yaml", "")
        .file("北京.yaml", "")
        .all();
    assert_eq!(files, ["北京.yaml"]);
    assert_eq!(findings.len(), 4);
    assert!(findings.iter().all(|finding| finding.starts_with("SOURCE/NAME_UNUSABLE ")));
    assert!(findings.contains(&r"SOURCE/NAME_UNUSABLE caf\xe9.yaml".to_owned()), "{findings:?}");
}

#[test]
fn what_is_no_file_is_refused() {
    let (files, findings) = Sketch::default()
        .entry(b"vendor", Kind::Submodule, "")
        .entry(b"pipe", Kind::Other, "")
        .file("large.bin", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n")
        .all();
    assert_eq!(files, Vec::<String>::new());
    assert_eq!(
        findings,
        ["SOURCE/LFS_POINTER large.bin", "SOURCE/NOT_A_FILE pipe", "SOURCE/SUBMODULE vendor"]
    );
}

#[test]
fn a_file_over_the_limit_is_refused_unless_it_is_ignored() {
    let limits = Limits { file_bytes: 4, ..Limits::default() };
    let tree = Sketch::default()
        .file(".tidegateignore", "b\n")
        .file("a", "12345")
        .file("b", "12345")
        .file("c", "1234");
    let (files, findings) = tree.walk("", Limits { file_bytes: 4, ..limits });
    assert_eq!(files, ["c"]);
    assert_eq!(findings, ["SOURCE/FILE_TOO_LARGE a"]);
}

#[test]
fn each_limit_stops_the_walk_with_one_finding() {
    let mut tree = Sketch::default();
    for number in 0..9 {
        tree = tree.file(&format!("{number}.yaml"), "0123456789");
    }
    let (files, findings) = tree.walk("", Limits { files: 3, ..Limits::default() });
    assert_eq!((files.len(), findings), (3, vec!["SOURCE/TOO_MANY_FILES 3.yaml".to_owned()]));
    let (files, findings) = tree.walk("", Limits { bytes: 45, ..Limits::default() });
    assert_eq!((files.len(), findings), (4, vec!["SOURCE/TOO_MUCH_TEXT 4.yaml".to_owned()]));
    let deep = Sketch::default().file("a/b/c/d.yaml", "");
    let (files, findings) = deep.walk("", Limits { depth: 2, ..Limits::default() });
    assert_eq!((files.len(), findings), (0, vec!["SOURCE/TOO_DEEP a/b/c".to_owned()]));
}

#[test]
fn names_that_differ_only_in_case_are_pointed_out() {
    let (files, findings) = Sketch::default().file("Site.yaml", "").file("site.yaml", "").all();
    assert_eq!(files.len(), 2);
    assert_eq!(findings, ["SOURCE/CASE_COLLISION site.yaml"]);
}
