//! Approvals and merges against those who would forge them (delivery.md C.5).

use tidegate_core::digest::Digest;
use tidegate_core::snapshot::Identity;

use super::*;
use crate::signature::{CommitKey, KeyPair, generate_key};
use crate::source::SignedCommit;

fn now() -> Timestamp {
    "2026-11-21T10:00:00Z".parse().unwrap()
}

fn word(plan: &Digest, person: &'static str, at: Timestamp) -> StoredApproval {
    let word = Word {
        plan,
        scope: Stated::Plan,
        decision: Decision::Approve,
        person,
        reason: None,
        at,
        valid_for: SignedDuration::from_hours(8),
    };
    compose(&word).unwrap().0
}

/// Signed as `tidegate approve` does.
fn signed(mut file: StoredApproval, key: &KeyPair) -> StoredApproval {
    let (document, _) = parse(&file.path, &file.document).unwrap();
    file.signature = signature::sign(&signed_bytes(&document), key.private.expose()).unwrap();
    file
}

fn keys(all: &[(&str, &KeyPair)]) -> Keys {
    all.iter().map(|(name, key)| ((*name).to_owned(), vec![key.public.clone()])).collect()
}

fn codes(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|finding| finding.code.as_ref()).collect()
}

#[test]
fn only_what_the_named_person_signed_with_a_key_of_the_revision_counts() {
    let (li, wang) = (generate_key("li-na").unwrap(), generate_key("wang-wei").unwrap());
    let plan = Digest::of_bytes(b"plan");
    let file = signed(word(&plan, "li-na", now()), &li);
    let known = keys(&[("li-na", &li), ("wang-wei", &wang)]);
    let count =
        |file: &StoredApproval, known: &Keys| verify(std::slice::from_ref(file), known, now());

    let (verified, findings) = count(&file, &known);
    assert_eq!((verified[0].person.as_str(), codes(&findings)), ("li-na", vec![]));

    let mut edited = file.clone();
    let other = Digest::of_bytes(b"another plan");
    edited.document = edited.document.replace(plan.as_str(), other.as_str());
    assert_eq!(codes(&count(&edited, &known).1), ["APPROVAL/BAD_SIGNATURE"], "another plan");
    let in_the_name_of_another = signed(word(&plan, "li-na", now()), &wang);
    assert_eq!(codes(&count(&in_the_name_of_another, &known).1), ["APPROVAL/BAD_SIGNATURE"]);
    let gone = keys(&[("wang-wei", &wang)]);
    assert_eq!(codes(&count(&file, &gone).1), ["APPROVAL/UNKNOWN_PERSON"], "left since");
    let rotated = keys(&[("li-na", &generate_key("new").unwrap())]);
    assert_eq!(
        codes(&count(&file, &rotated).1),
        ["APPROVAL/BAD_SIGNATURE"],
        "whatever the time that the document says, the key is not one of the revision"
    );
}

#[test]
fn an_approval_from_the_future_waits_and_one_name_counts_once() {
    let key = generate_key("li-na").unwrap();
    let plan = Digest::of_bytes(b"plan");
    let known = keys(&[("li-na", &key)]);
    let ahead = now() + SignedDuration::from_secs(61);
    let early = signed(word(&plan, "li-na", ahead), &key);
    assert_eq!(codes(&verify(&[early], &known, now()).1), ["APPROVAL/FROM_THE_FUTURE"]);
    let file = signed(word(&plan, "li-na", now()), &key);
    let again = StoredApproval { path: "approvals/copy.yaml".to_owned(), ..file.clone() };
    let (verified, findings) = verify(&[file, again], &known, now());
    assert_eq!((verified.len(), codes(&findings)), (1, vec!["APPROVAL/NAME_TWICE"]));
}

fn merge(signature: Option<String>) -> Merge {
    let author = Identity::new("Li Na", "li.na@bank.example");
    Merge {
        commit: "0123456789abcdef".to_owned(),
        plan: Digest::of_bytes(b"plan").to_string(),
        at: now(),
        signed: signature.map(|signature| SignedCommit { payload: b"commit".to_vec(), signature }),
        authors: vec![author],
    }
}

#[test]
fn only_a_merge_that_a_trusted_key_signed_counts() {
    let (forge, other) = (generate_key("forge").unwrap(), generate_key("other").unwrap());
    let known = keys(&[("forge", &forge)]);
    let sign = |key: &KeyPair, commit: &[u8]| {
        let key = CommitKey::new(key.private.expose()).unwrap();
        Some(key.sign(commit).unwrap())
    };
    let good = merge(sign(&forge, b"commit"));
    let (verified, findings) = verify_merges(std::slice::from_ref(&good), &known, now());
    assert_eq!(verified[0].by, ["forge"]);
    assert_eq!(verified[0].authors, ["li.na@bank.example"]);
    assert_eq!(codes(&findings), [""; 0]);
    let approval = signature::sign(b"commit", forge.private.expose()).unwrap();
    let late = Merge { at: now() + SignedDuration::from_mins(2), ..good };
    for (what, merge) in [
        ("unsigned", merge(None)),
        ("signed by a stranger", merge(sign(&other, b"commit"))),
        ("the signature of another commit", merge(sign(&forge, b"another"))),
        ("a signature for another purpose", merge(Some(approval))),
        ("from the future", late),
    ] {
        let (verified, findings) = verify_merges(&[merge], &known, now());
        assert_eq!(verified, [], "{what}");
        assert_eq!(codes(&findings), ["APPROVAL/MERGE_UNTRUSTED"], "{what}");
    }
}
