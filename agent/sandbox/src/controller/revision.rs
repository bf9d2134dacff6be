//! Controller revisions: the templates that a `StatefulSet` or `DaemonSet` has had.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::object::{
    at, is_terminating, name, namespace, number, owner_reference, same, set, set_entry,
    template_hash, uid, unset,
};
use super::pass::Pass;

/// The label that a revision carries its hash in.
pub(super) const HASH: &str = "controller.kubernetes.io/hash";
/// The label by which a pod says what revision it is of.
pub(super) const POD_REVISION: &str = "controller-revision-hash";

/// A set's revisions, oldest first, and the one of its present template.
pub(super) struct History {
    pub(super) all: Vec<Arc<Value>>,
    /// The present template's revision, as it is or as it will be after this round's write.
    pub(super) update: Value,
}

/// Reads a set's history and makes sure that the present template has the newest revision: an equal older revision
/// is used again with a new number, so that a revert keeps its name.
pub(super) fn history(pass: &mut Pass<'_>, owner: &Value, hash_label: &str) -> History {
    let mut all = pass.claim("ControllerRevision", owner, |_| true);
    all.sort_by_cached_key(|revision| {
        (number(revision, "revision").unwrap_or(0), name(revision).to_owned())
    });
    let template = plain(at(owner, "spec/template"));
    let next = all.last().and_then(|newest| number(newest, "revision")).unwrap_or(0) + 1;
    let is_equal = |revision: &&Arc<Value>| same(&template_of(revision), &template);
    let update = match all.iter().rev().find(is_equal) {
        Some(equal) if all.last().is_some_and(|last| uid(last) == uid(equal)) => {
            Value::clone(equal)
        }
        Some(equal) => {
            let mut renewed = Value::clone(equal);
            set(&mut renewed, "revision", json!(next));
            pass.update(renewed.clone());
            renewed
        }
        None => {
            let made = make(owner, &template, next, hash_label);
            // Whoever deletes the set's revisions before the set would have to do so again and again.
            if !is_terminating(owner) {
                pass.create(made.clone());
            }
            made
        }
    };
    History { all, update }
}

fn make(owner: &Value, template: &Value, number: i64, hash_label: &str) -> Value {
    let hash = template_hash(template);
    let mut stored = template.clone();
    set(&mut stored, "$patch", json!("replace"));
    let mut metadata = json!({
        "name": format!("{}-{hash}", name(owner)),
        "namespace": namespace(owner),
        "labels": at(template, "metadata/labels"),
        "ownerReferences": [owner_reference(owner)],
    });
    set_entry(&mut metadata, "labels", hash_label, &hash);
    let annotations = at(owner, "metadata/annotations");
    if annotations.is_object() {
        set(&mut metadata, "annotations", annotations.clone());
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": metadata,
        "data": {"spec": {"template": stored}},
        "revision": number,
    })
}

/// The pod template that a revision stands for.
pub(super) fn template_of(revision: &Value) -> Value {
    plain(at(revision, "data/spec/template"))
}

fn plain(template: &Value) -> Value {
    let mut template = template.clone();
    unset(&mut template, "$patch");
    unset(&mut template, "metadata/creationTimestamp");
    template
}

/// Deletes revisions that nothing uses, oldest first, beyond the set's history limit.
pub(super) fn truncate(
    pass: &mut Pass<'_>,
    owner: &Value,
    all: &[Arc<Value>],
    live: &BTreeSet<&str>,
) {
    let limit = number(owner, "spec/revisionHistoryLimit").unwrap_or(10);
    let past: Vec<_> = all.iter().filter(|revision| !live.contains(name(revision))).collect();
    let surplus = past.len().saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
    for revision in past.into_iter().take(surplus) {
        pass.delete(revision);
    }
}
