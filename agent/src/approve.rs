//! Approvals: documents and signatures become verified approvals, by the keys of the accepted revision.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use tidegate_core::approval::{ApprovalScope, VerifiedApproval, VerifiedMerge};
use tidegate_core::digest::canonical;
use tidegate_schema::approval::{Approval, ApprovalScope as Stated, Decision, Waiver};
use tidegate_schema::document::{Body, Document};
use tidegate_schema::finding::{Finding, Place};
use tidegate_schema::yaml;

use crate::journal::StoredApproval;
use crate::signature::{self, PublicKeyLine};
use crate::source::Merge;

/// How far the clock of an approver may be ahead of ours.
const SKEW: SignedDuration = SignedDuration::from_secs(60);

/// Public keys by person, as lines of `authorized_keys`.
pub type Keys = BTreeMap<String, Vec<String>>;

/// The bytes that are signed: the document's canonical JSON (RFC 8785), so that writing it differently changes nothing.
pub fn signed_bytes(document: &Document) -> Vec<u8> {
    canonical(&document.to_value())
}

/// Reads one approval document.
///
/// # Errors
///
/// All findings of the document, or that it is not one approval.
pub fn parse(path: &str, text: &str) -> Result<(Document, Approval), Vec<Finding>> {
    let (documents, mut findings) = yaml::parse(path, text);
    let mut documents = documents.into_iter();
    match (documents.next(), documents.next(), findings.iter().any(Finding::is_error)) {
        (Some(document), None, false) => {
            if let Body::Approval(approval) = document.body.clone() {
                return Ok((document, *approval));
            }
            findings.push(Finding::error("APPROVAL/NOT_AN_APPROVAL").at(Place::file(path)));
            Err(findings)
        }
        (_, _, true) => Err(findings),
        _ => {
            findings.push(Finding::error("APPROVAL/NOT_AN_APPROVAL").at(Place::file(path)));
            Err(findings)
        }
    }
}

/// Verifies approval files; what does not count is said.
pub fn verify(
    files: &[StoredApproval],
    keys: &Keys,
    now: Timestamp,
) -> (Vec<VerifiedApproval>, Vec<Finding>) {
    let mut verified: Vec<VerifiedApproval> = Vec::new();
    let mut findings = Vec::new();
    for file in files {
        match verify_one(file, keys, now) {
            // A name counts once: two files of one name are the same approval said twice, or a trick.
            Ok(approval) if verified.iter().any(|known| known.name == approval.name) => {
                let finding = Finding::warning("APPROVAL/NAME_TWICE").at(Place::file(&file.path));
                findings.push(finding.with("name", &approval.name));
            }
            Ok(approval) => verified.push(approval),
            Err(own) => findings.extend(own),
        }
    }
    (verified, findings)
}

fn verify_one(
    file: &StoredApproval,
    keys: &Keys,
    now: Timestamp,
) -> Result<VerifiedApproval, Vec<Finding>> {
    let (document, approval) = parse(&file.path, &file.document)?;
    let person = approval.approver.to_string();
    let refused = |code| {
        let finding = Finding::warning(code).at(Place::file(&file.path));
        vec![finding.with("person", &person)]
    };
    let lines = keys.get(&person).ok_or_else(|| refused("APPROVAL/UNKNOWN_PERSON"))?;
    let allowed: Vec<PublicKeyLine> =
        lines.iter().filter_map(|line| PublicKeyLine::parse(line).ok()).collect();
    let key = signature::verify(&signed_bytes(&document), &file.signature, &allowed).map_err(
        |error| {
            let finding = Finding::warning("APPROVAL/BAD_SIGNATURE").at(Place::file(&file.path));
            vec![finding.with("person", &person).with("reason", error.to_string())]
        },
    )?;
    if approval.created_at > now.saturating_add(SKEW).unwrap_or(now) {
        return Err(refused("APPROVAL/FROM_THE_FUTURE"));
    }
    let scope = match approval.scope {
        Stated::Plan => ApprovalScope::Plan,
        Stated::Wave(wave) => ApprovalScope::Wave(wave.to_string()),
        Stated::Confirm(confirm) => {
            ApprovalScope::Confirm { release: confirm.release, step: confirm.group }
        }
        Stated::Skip(Waiver { release, step, group }) => {
            ApprovalScope::Skip { release, step, group }
        }
        Stated::Operation(_) => return Err(refused("APPROVAL/SCOPE_UNKNOWN")),
    };
    Ok(VerifiedApproval {
        name: document.metadata.name.to_string(),
        plan: approval.plan,
        scope,
        approves: approval.decision == Decision::Approve,
        person,
        key: key.as_str().to_owned(),
        reason: approval.reason.unwrap_or_default(),
        created_at: approval.created_at,
        approve_by: Some(approval.approve_by),
        execute_by: Some(approval.execute_by),
    })
}

/// Verifies merges that say which plan they approve, by the keys of those whom policies trust with merges; what does not count
/// is said.
pub fn verify_merges(
    merges: &[Merge],
    keys: &Keys,
    now: Timestamp,
) -> (Vec<VerifiedMerge>, Vec<Finding>) {
    let mut verified = Vec::new();
    let mut findings = Vec::new();
    for merge in merges {
        match verify_merge(merge, keys, now) {
            Ok(merge) => verified.push(merge),
            Err(reason) => {
                let short = |text: &str| text.chars().take(12).collect::<String>();
                let finding = Finding::warning("APPROVAL/MERGE_UNTRUSTED").with("reason", reason);
                let plan = short(merge.plan.trim_start_matches("sha256:"));
                findings.push(finding.with("commit", short(&merge.commit)).with("plan", plan));
            }
        }
    }
    (verified, findings)
}

fn verify_merge(merge: &Merge, keys: &Keys, now: Timestamp) -> Result<VerifiedMerge, String> {
    let signed = merge.signed.as_ref().ok_or("it is not signed")?;
    let parsed = |lines: &[String]| -> Vec<PublicKeyLine> {
        lines.iter().filter_map(|line| PublicKeyLine::parse(line).ok()).collect()
    };
    let all: Vec<PublicKeyLine> = keys.values().flat_map(|lines| parsed(lines)).collect();
    let verified = signature::verify_commit(&signed.payload, &signed.signature, &all);
    let key = verified.map_err(|error| {
        if let signature::Error::UnknownKey(key) = &error {
            return format!("no policy trusts the key {key} with merges");
        }
        error.to_string()
    })?;
    if merge.at > now.saturating_add(SKEW).unwrap_or(now) {
        return Err("it is from the future".to_owned());
    }
    let has_it = |lines: &[String]| parsed(lines).iter().any(|line| line.fingerprint() == key);
    let by = keys.iter().filter(|(_, lines)| has_it(lines)).map(|(name, _)| name.clone());
    Ok(VerifiedMerge {
        commit: merge.commit.clone(),
        plan: merge.plan.clone(),
        by: by.collect(),
        at: merge.at,
        authors: merge.authors.iter().map(|author| author.email.clone()).collect(),
    })
}

/// What somebody says about a plan.
#[derive(Clone, Debug)]
pub struct Word<'a> {
    /// The plan.
    pub plan: &'a tidegate_core::digest::Digest,
    /// What of it.
    pub scope: Stated,
    /// Yes or no.
    pub decision: Decision,
    /// Name of the `Person`.
    pub person: &'a str,
    /// Why; a change number for example.
    pub reason: Option<String>,
    /// When it is said.
    pub at: Timestamp,
    /// How long it counts, and how long execution may start.
    pub valid_for: SignedDuration,
}

/// A word as an approval file: to be signed over [`signed_bytes`] of its document, then put on the approvals branch.
///
/// # Errors
///
/// When a name is not one that documents may have.
pub fn compose(word: &Word<'_>) -> Result<(StoredApproval, Document), Vec<Finding>> {
    let scope = match &word.scope {
        Stated::Wave(wave) => format!("-{wave}"),
        Stated::Plan | Stated::Confirm(_) | Stated::Skip(_) | Stated::Operation(_) => String::new(),
    };
    let verb = match word.decision {
        Decision::Approve => "yes",
        Decision::Reject => "no",
    };
    // The time is part of the name, as a name is used up with its approval.
    let name =
        format!("{}{scope}-{}-{verb}-{}", word.plan.short(), word.person, word.at.as_millisecond());
    let until = word.at.checked_add(word.valid_for).unwrap_or(word.at);
    let document = serde_json::json!({
        "apiVersion": tidegate_schema::document::API_VERSION,
        "kind": "Approval",
        "metadata": {"name": name},
        "spec": {
            "plan": word.plan, "scope": word.scope, "decision": word.decision,
            "approver": word.person, "reason": word.reason, "createdAt": word.at,
            "approveBy": until, "executeBy": until,
        },
    });
    let mut document = document;
    if word.reason.is_none()
        && let Some(spec) = document.get_mut("spec").and_then(serde_json::Value::as_object_mut)
    {
        spec.remove("reason");
    }
    let path = format!("approvals/{name}.yaml");
    let text = yaml::to_string(&document).unwrap_or_default();
    let (parsed, _) = parse(&path, &text)?;
    Ok((StoredApproval { path, document: text, signature: String::new() }, parsed))
}

#[cfg(test)]
mod tests;
