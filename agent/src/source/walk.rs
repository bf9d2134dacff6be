//! Which files of a tree are loaded, and which are refused: the same rules for a commit and for a folder.

use std::collections::BTreeMap;

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use tidegate_core::snapshot::resolve;
use tidegate_schema::finding::{Finding, Place};

use super::Error;

/// What one site may hold. A repository that holds more is refused with a finding, never cut
/// silently: half of a site must not look like the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Files in all.
    pub files: usize,
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Bytes in all.
    pub bytes: u64,
    /// Folders inside folders.
    pub depth: usize,
}

impl Default for Limits {
    /// 20,000 files, 1 MiB each, 64 MiB in all, 32 deep.
    fn default() -> Self {
        Self { files: 20_000, file_bytes: 1 << 20, bytes: 64 << 20, depth: 32 }
    }
}

/// The file that names what is not loaded, in the language of `.gitignore` (gitignore(5)). It may
/// stand in every folder.
pub const IGNORE_FILE: &str = ".tidegateignore";

/// How many links in a row are followed.
const LINKS: usize = 8;

/// What a name in a folder stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file of so many bytes.
    File(u64),
    /// A folder.
    Folder,
    /// A symbolic link, with its target as it is written.
    Link(Vec<u8>),
    /// A commit of another repository (gitmodules(5)).
    Submodule,
    /// A socket, a pipe, a device.
    Other,
}

/// Something with folders and files: a tree of a commit, or a folder of this machine. Paths are
/// relative to the root of the repository, with `/`; the root is the empty path.
pub(super) trait Tree {
    /// The names in a folder. Names may be any bytes.
    fn entries(&self, folder: &str) -> Result<Vec<(Vec<u8>, Kind)>, Error>;
    /// What a path stands for, without following links; `None` when there is nothing.
    fn kind(&self, path: &str) -> Result<Option<Kind>, Error>;
    /// The content of a file.
    fn read(&self, path: &str) -> Result<Vec<u8>, Error>;
    /// Whether git leaves it out (`.gitignore`); nothing that is committed is.
    fn is_left_out(&self, path: &str) -> bool;
}

/// Files and findings of one walk over one or more folders of a tree.
pub(super) struct Walk<'tree, T> {
    tree: &'tree T,
    limits: Limits,
    /// What was loaded.
    pub(super) files: BTreeMap<String, Vec<u8>>,
    /// What was refused.
    pub(super) findings: Vec<Finding>,
    bytes: u64,
    /// No further file is looked at, because a limit was passed and is reported.
    is_full: bool,
}

/// The matchers of the ignore files on the way down, each with the folder it stands in.
type Ignores = Vec<(String, Gitignore)>;

impl<'tree, T: Tree> Walk<'tree, T> {
    /// A walk that has loaded nothing.
    pub(super) fn new(tree: &'tree T, limits: Limits) -> Self {
        Self {
            tree,
            limits,
            files: BTreeMap::new(),
            findings: Vec::new(),
            bytes: 0,
            is_full: false,
        }
    }

    /// Loads a folder. Links are followed as long as they stay inside of it.
    pub(super) fn load(&mut self, root: &str) -> Result<(), Error> {
        self.folder(root, root, &mut Ignores::new(), 0)
    }

    fn folder(
        &mut self,
        root: &str,
        folder: &str,
        ignores: &mut Ignores,
        depth: usize,
    ) -> Result<(), Error> {
        if depth > self.limits.depth {
            let limit = self.limits.depth;
            self.refuse("SOURCE/TOO_DEEP", folder, |finding| finding.with("limit", limit));
            return Ok(());
        }
        let mut entries = self.tree.entries(folder)?;
        // Sorted by bytes, so that findings and limits do not depend on the file system.
        entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        self.read_ignore_file(folder, &entries, ignores)?;
        let ours = ignores.len();
        self.report_case_collisions(folder, &entries);
        for (name, kind) in entries {
            if self.is_full {
                break;
            }
            if name.first() == Some(&b'.') {
                continue;
            }
            let Some(name) = usable(&name) else {
                let shown = join(folder, &name.escape_ascii().to_string());
                self.refuse("SOURCE/NAME_UNUSABLE", &shown, |finding| finding);
                continue;
            };
            let path = join(folder, name);
            let is_folder = kind == Kind::Folder;
            if is_ignored(ignores, &path, is_folder) || self.tree.is_left_out(&path) {
                continue;
            }
            match kind {
                Kind::Folder => {
                    self.folder(root, &path, ignores, depth + 1)?;
                    ignores.truncate(ours);
                }
                Kind::File(size) => self.file(&path, &path, size)?,
                Kind::Link(target) => self.link(root, &path, &target)?,
                Kind::Submodule => self.refuse("SOURCE/SUBMODULE", &path, |finding| finding),
                Kind::Other => self.refuse("SOURCE/NOT_A_FILE", &path, |finding| finding),
            }
        }
        Ok(())
    }

    /// Loads the content of `from` as the file `path`; they differ for a link.
    fn file(&mut self, path: &str, from: &str, size: u64) -> Result<(), Error> {
        if self.files.contains_key(path) {
            return Ok(());
        }
        if size > self.limits.file_bytes {
            let limit = self.limits.file_bytes;
            self.refuse("SOURCE/FILE_TOO_LARGE", path, |finding| {
                finding.with("size", size).with("limit", limit)
            });
            return Ok(());
        }
        if self.files.len() >= self.limits.files {
            let limit = self.limits.files;
            self.is_full = true;
            self.refuse("SOURCE/TOO_MANY_FILES", path, |finding| finding.with("limit", limit));
            return Ok(());
        }
        if self.bytes.saturating_add(size) > self.limits.bytes {
            let limit = self.limits.bytes;
            self.is_full = true;
            self.refuse("SOURCE/TOO_MUCH_TEXT", path, |finding| finding.with("limit", limit));
            return Ok(());
        }
        let content = self.tree.read(from)?;
        if content.starts_with(b"version https://git-lfs.github.com/spec/") {
            self.refuse("SOURCE/LFS_POINTER", path, |finding| finding);
            return Ok(());
        }
        self.bytes = self.bytes.saturating_add(content.len() as u64);
        self.files.insert(path.to_owned(), content);
        Ok(())
    }

    /// Follows a link. Only the end of a path may be a link: a target that passes through a linked
    /// folder counts as broken.
    fn link(&mut self, root: &str, path: &str, target: &[u8]) -> Result<(), Error> {
        let shown = String::from_utf8_lossy(target).into_owned();
        let mut at = path.to_owned();
        let mut target = target.to_vec();
        for _ in 0..LINKS {
            let resolved = std::str::from_utf8(&target)
                .ok()
                .and_then(|text| resolve(parent(&at), text))
                .filter(|resolved| is_inside(resolved, root));
            let Some(resolved) = resolved else {
                self.refuse("SOURCE/SYMLINK_OUTSIDE", path, |finding| {
                    finding.with("target", &shown)
                });
                return Ok(());
            };
            let code = match self.tree.kind(&resolved)? {
                Some(Kind::File(size)) => return self.file(path, &resolved, size),
                Some(Kind::Link(next)) => {
                    at = resolved;
                    target = next;
                    continue;
                }
                Some(Kind::Folder) => "SOURCE/SYMLINK_TO_FOLDER",
                Some(Kind::Submodule) => "SOURCE/SYMLINK_OUTSIDE",
                Some(Kind::Other) | None => "SOURCE/SYMLINK_BROKEN",
            };
            self.refuse(code, path, |finding| finding.with("target", &shown));
            return Ok(());
        }
        self.refuse("SOURCE/SYMLINK_BROKEN", path, |finding| finding.with("target", &shown));
        Ok(())
    }

    fn read_ignore_file(
        &mut self,
        folder: &str,
        entries: &[(Vec<u8>, Kind)],
        ignores: &mut Ignores,
    ) -> Result<(), Error> {
        let size = entries.iter().find_map(|(name, kind)| match kind {
            Kind::File(size) if name == IGNORE_FILE.as_bytes() => Some(*size),
            Kind::File(_) | Kind::Folder | Kind::Link(_) | Kind::Submodule | Kind::Other => None,
        });
        let Some(size) = size else { return Ok(()) };
        let path = join(folder, IGNORE_FILE);
        if size > self.limits.file_bytes {
            let limit = self.limits.file_bytes;
            self.refuse("SOURCE/FILE_TOO_LARGE", &path, |finding| {
                finding.with("size", size).with("limit", limit)
            });
            return Ok(());
        }
        let content = self.tree.read(&path)?;
        let mut builder = GitignoreBuilder::new("");
        for (number, line) in (1_u32..).zip(String::from_utf8_lossy(&content).lines()) {
            if let Err(error) = builder.add_line(None, line) {
                self.findings.push(
                    Finding::error("SOURCE/IGNORE_PATTERN")
                        .at(Place::new(&path, number, 0, ""))
                        .with("pattern", line)
                        .with("reason", error),
                );
            }
        }
        match builder.build() {
            Ok(matcher) => ignores.push((folder.to_owned(), matcher)),
            Err(error) => self.findings.push(
                Finding::error("SOURCE/IGNORE_PATTERN")
                    .at(Place::file(&path))
                    .with("pattern", IGNORE_FILE)
                    .with("reason", error),
            ),
        }
        Ok(())
    }

    /// Names that differ only in case are one file on some systems: a reviewer there sees another
    /// site than the agent loads.
    fn report_case_collisions(&mut self, folder: &str, entries: &[(Vec<u8>, Kind)]) {
        let mut seen = BTreeMap::new();
        for (name, _) in entries {
            let Some(name) = usable(name).filter(|name| !name.starts_with('.')) else { continue };
            if let Some(other) = seen.insert(name.to_lowercase(), name) {
                self.findings.push(
                    Finding::warning("SOURCE/CASE_COLLISION")
                        .at(Place::file(join(folder, name)))
                        .with("other", join(folder, other)),
                );
            }
        }
    }

    fn refuse(&mut self, code: &'static str, path: &str, fill: impl FnOnce(Finding) -> Finding) {
        self.findings.push(fill(Finding::error(code).at(Place::file(path)).with("path", path)));
    }
}

/// The innermost file that says something about a path decides, as in gitignore(5).
fn is_ignored(ignores: &Ignores, path: &str, is_folder: bool) -> bool {
    for (folder, matcher) in ignores.iter().rev() {
        let Some(relative) = below(path, folder) else { continue };
        let found = matcher.matched(relative, is_folder);
        if !found.is_none() {
            return found.is_ignore();
        }
    }
    false
}

/// A name that can be shown and written: UTF-8, without control characters, without the
/// characters that turn the direction of text around (Unicode TR 36), without a backslash, which is
/// a separator elsewhere.
fn usable(name: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(name).ok()?;
    let is_bad = |letter: char| {
        letter.is_control()
            || letter == '\\'
            || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    (!name.is_empty() && !name.contains(is_bad)).then_some(name)
}

/// `folder/name`, where the empty folder is the root.
pub(super) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// The folder of a path.
pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Whether a path is the folder or below it.
pub(super) fn is_inside(path: &str, folder: &str) -> bool {
    path == folder || below(path, folder).is_some()
}

fn below<'path>(path: &'path str, folder: &str) -> Option<&'path str> {
    if folder.is_empty() {
        return Some(path);
    }
    path.strip_prefix(folder)?.strip_prefix('/')
}

#[cfg(test)]
mod tests;
