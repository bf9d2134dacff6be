//! The approvals branch: every approval that was ever pushed to it, whatever was done to it since.

use std::collections::BTreeMap;

use git2::{Delta, DiffOptions, Oid, Repository};
use tidegate_schema::finding::{Finding, Place};

use super::{
    history::{kept_approvals, oldest_first},
    object::blobs,
};

/// No approval is larger; what is, is not read.
const LARGEST: usize = 64 << 10;

/// Ends the name of a file that holds the signature of the file without it.
pub const SIGNATURE_END: &str = ".sig";

/// One approval as it was pushed: not parsed, not verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalFile {
    /// Its path on the branch.
    pub path: String,
    /// The document.
    pub document: Vec<u8>,
    /// The armoured SSH signature, from the file of the same name with `.sig`.
    pub signature: Option<Vec<u8>>,
    /// The commit that brought the document.
    pub commit: String,
}

/// What the approvals branch holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Approvals {
    /// Where the branch is; `None` when it does not exist.
    pub head: Option<String>,
    /// Every approval that the branch holds or has held, in the order in which they came. A file
    /// that was changed or removed later is here as it first was: the branch is append-only, and
    /// whoever may push must not be able to take a rejection back.
    pub files: Vec<ApprovalFile>,
    /// What was done to the branch that must not be: `SOURCE/APPROVALS_…`.
    pub findings: Vec<Finding>,
}

/// Reads the history of the branch, and of the heads that it had before it was rewritten.
pub(super) fn read(
    repository: &Repository,
    branch: &str,
    head: Option<Oid>,
) -> Result<Approvals, git2::Error> {
    let mut findings = Vec::new();
    let kept = kept_approvals(repository)?;
    for lost in &kept {
        let is_lost = match head {
            Some(head) if head == *lost => false,
            Some(head) => !repository.graph_descendant_of(head, *lost)?,
            None => true,
        };
        if is_lost {
            let code = if head.is_some() {
                "SOURCE/APPROVALS_REWRITTEN"
            } else {
                "SOURCE/APPROVALS_DELETED"
            };
            findings.push(Finding::error(code).with("branch", branch).with("commit", lost));
        }
    }
    let mut heads = kept;
    heads.extend(head);
    let mut ledger =
        Ledger { repository, branch, first: BTreeMap::new(), order: Vec::new(), findings };
    for id in oldest_first(repository, &heads)? {
        ledger.follow(id)?;
    }
    let files = ledger.files()?;
    let mut findings = ledger.findings;
    findings.sort();
    findings.dedup();
    Ok(Approvals { head: head.map(|id| id.to_string()), files, findings })
}

/// Every file of the branch as it first was.
struct Ledger<'repository> {
    repository: &'repository Repository,
    branch: &'repository str,
    /// Path, content, and the commit that brought it.
    first: BTreeMap<String, (Oid, Oid)>,
    order: Vec<String>,
    findings: Vec<Finding>,
}

impl Ledger<'_> {
    /// Takes what a commit adds, and reports what it changes or removes. A merge is compared with
    /// each of its parents: what one side adds is known from that side already.
    fn follow(&mut self, id: Oid) -> Result<(), git2::Error> {
        let commit = self.repository.find_commit(id)?;
        let tree = commit.tree()?;
        if commit.parent_count() == 0 {
            for (path, content) in blobs(self.repository, &tree)? {
                self.add(path, content, id);
            }
            return Ok(());
        }
        for parent in commit.parents() {
            let before = parent.tree()?;
            let diff = self.repository.diff_tree_to_tree(
                Some(&before),
                Some(&tree),
                Some(DiffOptions::new().ignore_submodules(true)),
            )?;
            for delta in diff.deltas() {
                let path = |file: &git2::DiffFile<'_>| {
                    file.path().and_then(|path| path.to_str()).map(str::to_owned)
                };
                if delta.status() == Delta::Deleted {
                    if let Some(path) = path(&delta.old_file()) {
                        self.report("SOURCE/APPROVAL_REMOVED", &path, id);
                    }
                } else if let Some(path) = path(&delta.new_file()) {
                    self.add(path, delta.new_file().id(), id);
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, path: String, content: Oid, commit: Oid) {
        match self.first.get(&path) {
            None => {
                self.order.push(path.clone());
                self.first.insert(path, (content, commit));
            }
            Some((known, _)) if *known == content => {}
            Some(_) => self.report("SOURCE/APPROVAL_CHANGED", &path, commit),
        }
    }

    fn report(&mut self, code: &'static str, path: &str, commit: Oid) {
        self.findings.push(
            Finding::error(code)
                .at(Place::file(path))
                .with("branch", self.branch)
                .with("path", path)
                .with("commit", commit),
        );
    }

    /// Documents with their signatures. Files that are neither (a README) are left out.
    fn files(&mut self) -> Result<Vec<ApprovalFile>, git2::Error> {
        let mut files = Vec::new();
        let order = std::mem::take(&mut self.order);
        for path in order {
            if ![".yaml", ".yml", ".json"].iter().any(|end| path.ends_with(end)) {
                continue;
            }
            let Some((content, commit)) = self.first.get(&path).copied() else { continue };
            let Some(document) = self.content(&path, content, commit)? else { continue };
            let beside = format!("{path}{SIGNATURE_END}");
            let signature = match self.first.get(&beside).copied() {
                Some((content, commit)) => self.content(&beside, content, commit)?,
                None => None,
            };
            files.push(ApprovalFile { path, document, signature, commit: commit.to_string() });
        }
        Ok(files)
    }

    fn content(
        &mut self,
        path: &str,
        content: Oid,
        commit: Oid,
    ) -> Result<Option<Vec<u8>>, git2::Error> {
        let (size, _) = self.repository.odb()?.read_header(content)?;
        if size > LARGEST {
            self.report("SOURCE/APPROVAL_TOO_LARGE", path, commit);
            return Ok(None);
        }
        Ok(Some(self.repository.find_blob(content)?.content().to_vec()))
    }
}
