//! What lies between two commits: whether one follows the other, who wrote it, and who signed it.

use git2::{Commit, Oid, Repository, Sort};
use tidegate_core::snapshot::Identity;

use super::{
    History,
    object::{self, identity},
};

/// Heads of the approvals branch that are still to be read though the branch has moved elsewhere.
const KEPT: &str = "refs/tidegate/approvals/";

/// A commit's signature and what it signs, as `git` writes them (gitformat-signature(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCommit {
    /// The commit without the signature.
    pub payload: Vec<u8>,
    /// The armoured signature: SSH or `OpenPGP`.
    pub signature: String,
}

/// How a head stands to the commit that was accepted before.
pub(super) fn compare(
    repository: &Repository,
    accepted: &str,
    head: Oid,
) -> Result<History, git2::Error> {
    let Ok(accepted) = Oid::from_str(accepted) else { return Ok(History::Rewritten) };
    if accepted == head {
        return Ok(History::Same);
    }
    if repository.find_commit(accepted).is_err() {
        // A copy that was made anew holds only what the branch still has: so the branch has lost it.
        return Ok(History::Rewritten);
    }
    if repository.graph_descendant_of(head, accepted)? {
        return Ok(History::Descends);
    }
    if repository.graph_descendant_of(accepted, head)? {
        return Ok(History::Older);
    }
    Ok(History::Rewritten)
}

/// Everybody who wrote or committed anything after `from` (all of history when it is none) up to
/// `to`, and everybody whom a `Co-authored-by` trailer names. Sorted, each once.
pub(super) fn authors(
    repository: &Repository,
    from: Option<Oid>,
    to: Oid,
) -> Result<Vec<Identity>, git2::Error> {
    let mut walk = repository.revwalk()?;
    walk.push(to)?;
    if let Some(from) = from {
        walk.hide(from)?;
    }
    let mut found = Vec::new();
    for id in walk {
        let commit = repository.find_commit(id?)?;
        found.push(identity(&commit.author()));
        found.push(identity(&commit.committer()));
        found.extend(co_authors(&commit));
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// A commit on the way from one revision to another that says which plan it approves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merge {
    /// The commit.
    pub commit: String,
    /// What its trailer `Tidegate-Plan` says.
    pub plan: String,
    /// When it was committed, as it says itself.
    pub at: jiff::Timestamp,
    /// Its signature; none when it has none.
    pub signed: Option<SignedCommit>,
    /// Everybody who wrote what lies between; of this commit only its author, when it is no merge of others' commits.
    pub authors: Vec<Identity>,
}

/// The trailer by which a commit names the plan that it approves.
const PLAN_TRAILER: &str = "tidegate-plan";

/// So many commits of the followed branch are looked at; a site that is further behind needs people anyway.
const MERGES: usize = 200;

/// Commits of the followed branch itself (by first parents) after `from` up to `to`, newest first, that say which plan they
/// approve; only `to` when `from` is none.
pub(super) fn merges(
    repository: &Repository,
    from: Option<Oid>,
    to: Oid,
) -> Result<Vec<Merge>, git2::Error> {
    let mut found = Vec::new();
    let mut next = Some(to);
    for _ in 0..MERGES {
        let Some(id) = next.filter(|id| Some(*id) != from) else { break };
        let commit = repository.find_commit(id)?;
        if let Some(plan) = trailer(&commit, PLAN_TRAILER) {
            found.push(Merge {
                commit: id.to_string(),
                plan,
                at: object::time(commit.time()),
                signed: signature(repository, id)?,
                authors: merged(repository, from, &commit)?,
            });
        }
        next = if from.is_some() { commit.parent_id(0).ok() } else { None };
    }
    Ok(found)
}

/// Everybody who wrote what a commit brings, without who only merged it.
fn merged(
    repository: &Repository,
    from: Option<Oid>,
    commit: &Commit<'_>,
) -> Result<Vec<Identity>, git2::Error> {
    let mut found = co_authors(commit);
    if commit.parent_count() < 2 {
        found.push(identity(&commit.author()));
    }
    for parent in commit.parent_ids() {
        found.extend(authors(repository, from, parent)?);
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn trailer(commit: &Commit<'_>, name: &str) -> Option<String> {
    let message = String::from_utf8_lossy(commit.message_bytes());
    let trailers = git2::message_trailers_strs(&message).ok()?;
    let found = trailers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.trim().to_owned())
}

fn co_authors(commit: &Commit<'_>) -> Vec<Identity> {
    let message = String::from_utf8_lossy(commit.message_bytes());
    let Ok(trailers) = git2::message_trailers_strs(&message) else { return Vec::new() };
    trailers
        .iter()
        .filter(|(key, _)| key.eq_ignore_ascii_case("co-authored-by"))
        .filter_map(|(_, value)| parse_identity(value))
        .collect()
}

/// `Li Na <li.na@bank.example>`.
fn parse_identity(text: &str) -> Option<Identity> {
    let (name, rest) = text.split_once('<')?;
    let (email, _) = rest.split_once('>')?;
    Some(Identity::new(name.trim(), email.trim()))
}

/// The signature of a commit; `None` when it has none.
pub(super) fn signature(
    repository: &Repository,
    commit: Oid,
) -> Result<Option<SignedCommit>, git2::Error> {
    match repository.extract_signature(&commit, None) {
        Ok((signature, payload)) => Ok(Some(SignedCommit {
            payload: payload.to_vec(),
            signature: String::from_utf8_lossy(&signature).into_owned(),
        })),
        Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Pins a head of the approvals branch. Heads that it contains need no pin any more.
pub(super) fn keep_approvals(repository: &Repository, head: Oid) -> Result<(), git2::Error> {
    for kept in kept_approvals(repository)? {
        if kept == head {
            return Ok(());
        }
        if repository.graph_descendant_of(head, kept)? {
            repository.find_reference(&format!("{KEPT}{kept}"))?.delete()?;
        }
    }
    repository.reference(&format!("{KEPT}{head}"), head, true, "seen")?;
    Ok(())
}

/// The pinned heads: one, unless the branch was rewritten.
pub(super) fn kept_approvals(repository: &Repository) -> Result<Vec<Oid>, git2::Error> {
    let mut heads = Vec::new();
    for reference in repository.references_glob(&format!("{KEPT}*"))? {
        heads.extend(reference?.target());
    }
    heads.sort();
    Ok(heads)
}

/// Commits from the oldest to the newest, those of `heads` and all before them.
pub(super) fn oldest_first(
    repository: &Repository,
    heads: &[Oid],
) -> Result<Vec<Oid>, git2::Error> {
    let mut walk = repository.revwalk()?;
    walk.set_sorting(Sort::TOPOLOGICAL | Sort::REVERSE)?;
    for head in heads {
        walk.push(*head)?;
    }
    walk.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailer_without_an_address_names_nobody() {
        assert_eq!(parse_identity("Li Na <li.na@b>"), Some(Identity::new("Li Na", "li.na@b")));
        assert_eq!(parse_identity("Li Na"), None);
        assert_eq!(parse_identity("Li Na <li.na"), None);
    }
}
