//! Secrets lose their values here, by what they are, and nowhere later.

use serde_json::Value;

use super::fields::Difference;
use crate::change::{FieldChange, Shown};
use crate::definition::Definition;
use crate::desired::DesiredState;
use crate::object::ObjectRef;
use crate::secrecy;

/// What of a Secret may be shown. Everything else is masked, so that what is malformed fails closed.
const SHOWN_OF_SECRETS: [&[&str]; 8] = [
    &["apiVersion"],
    &["kind"],
    &["type"],
    &["immutable"],
    &["metadata", "name"],
    &["metadata", "namespace"],
    &["metadata", "labels"],
    &["metadata", "ownerReferences"],
];
/// Prefix of annotations that are ours and hold no secrets.
const OUR_ANNOTATIONS: &str = "tidegate.dev/";
/// Parts of names of annotations that hold a copy of a whole object, perhaps of a Secret.
const COPIES: [&str; 3] =
    ["last-applied", "kapp.k14s.io/original", "objectset.rio.cattle.io/applied"];

/// What is known of the secrets of an object.
pub(super) struct Secrecy<'a> {
    /// All of it is secret.
    pub(super) is_secret: bool,
    /// Of a custom resource its definition tells which fields are secret (`format: password`).
    pub(super) definition: Option<&'a Definition>,
    /// Paths that rules of documents name.
    pub(super) fields: Vec<Vec<String>>,
}

/// The paths that rules of documents name for an object.
pub(super) fn fields(desired: &DesiredState, reference: &ObjectRef) -> Vec<Vec<String>> {
    let rules = desired.secret_fields.iter();
    let own = rules.filter(|it| it.kind == reference.kind && it.group == reference.group);
    own.flat_map(|rule| &rule.fields).filter_map(|field| secrecy::path(field)).collect()
}

/// Turns the differences of one object into what may be shown. Two masked values of one change have the same number
/// when they are equal (D48); neither length nor content can be told.
pub(super) fn masked(secrecy: &Secrecy<'_>, differences: Vec<Difference>) -> Vec<FieldChange> {
    let Secrecy { is_secret, definition, fields } = secrecy;
    let mut seen: Vec<Value> = Vec::new();
    let mut changes = Vec::with_capacity(differences.len());
    for mut difference in differences {
        let of_kind = definition.and_then(|it| it.secret(&difference.segments));
        let of_rule =
            fields.iter().filter_map(|rule| secrecy::hidden(rule, &difference.segments)).min();
        let of_secret = is_hidden(*is_secret, &difference).then(|| named(&difference.segments));
        let named = [of_kind, of_rule, of_secret].into_iter().flatten().min();
        let hidden = named.is_some();
        if let Some(named) = named {
            difference.segments.truncate(named);
        }
        let path = difference.path();
        if hidden && changes.iter().any(|change: &FieldChange| change.path == path) {
            continue;
        }
        let mut show = |value: Value| {
            if hidden { Shown::Secret(number(&mut seen, value)) } else { Shown::Value(value) }
        };
        let before = difference.before.map(&mut show);
        let after = difference.after.map(&mut show);
        changes.push(FieldChange { path, before, after });
    }
    changes
}

fn is_hidden(is_secret: bool, difference: &Difference) -> bool {
    if let [metadata, annotations, name, ..] = difference.segments.as_slice()
        && metadata == "metadata"
        && annotations == "annotations"
    {
        return COPIES.iter().any(|copy| name.contains(copy))
            || (is_secret && !name.starts_with(OUR_ANNOTATIONS));
    }
    is_secret && !SHOWN_OF_SECRETS.iter().any(|shown| difference.is_under(shown))
}

/// How many segments of a hidden field's path name it: `data.KEY`, `metadata.annotations.NAME`. What is below belongs to
/// the value, and the key of a list's element quotes it; values of well-formed Secrets have nothing below.
fn named(segments: &[String]) -> usize {
    let most = if segments.first().is_some_and(|first| first == "metadata") { 3 } else { 2 };
    segments.iter().take(most).take_while(|segment| !segment.starts_with('[')).count()
}

/// 1, 2, 3 … in the order of appearance; equal values share one.
fn number(seen: &mut Vec<Value>, value: Value) -> u32 {
    let index = seen.iter().position(|known| *known == value).unwrap_or_else(|| {
        seen.push(value);
        seen.len() - 1
    });
    u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1)
}
