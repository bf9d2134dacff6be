//! Server-side apply and the tracking of who owns which field.
//!
//! The rules are those of <https://kubernetes.io/docs/reference/using-api/server-side-apply/> and of the library behind it
//! (sigs.k8s.io/structured-merge-diff). Not simulated: sets recorded under another version of the kind are taken as they are.

use serde_json::{Value, json};

use crate::object;
use crate::resource::Resource;
use crate::schema::Shape;
use crate::status::Refusal;
use crate::write;

mod fieldset;
mod merge;
pub(crate) mod owner;
mod rules;
mod walk;

use fieldset::FieldSet;
use owner::Owner;
pub(crate) use rules::Rules;

/// Beyond this many updaters the oldest are put together.
const MOST_UPDATERS: usize = 10;
const ANCIENT: &str = "ancient-changes";

/// Who writes, as managedFields records it.
#[derive(Clone, Debug)]
pub(crate) struct Author {
    pub(crate) manager: String,
    pub(crate) api_version: String,
    pub(crate) subresource: String,
    /// The moment, in the form of `metav1.Time`.
    pub(crate) time: String,
}

impl Author {
    fn owner(&self, applies: bool, set: FieldSet) -> Owner {
        Owner {
            manager: self.manager.clone(),
            applies,
            api_version: self.api_version.clone(),
            subresource: self.subresource.clone(),
            time: self.time.clone(),
            set,
        }
    }
}

/// Merges an applied configuration into the live object. `live` is the skeleton of the kind when the object does not exist yet.
/// The result carries the new managedFields; it is not yet defaulted.
pub(crate) fn apply(
    live: &Value,
    configuration: &Value,
    shape: &Shape,
    resource: &Resource,
    author: &Author,
    is_forced: bool,
    rules: Rules,
) -> Result<Value, Refusal> {
    let rules = rules.about(resource);
    let mistakes = walk::mistakes(configuration, shape, rules);
    if !mistakes.is_empty() {
        return Err(untyped(configuration, resource, author, &mistakes));
    }
    let mut configuration = configuration.clone();
    strip_subresource(&mut configuration, resource, &author.subresource);
    let mut set = walk::fields_of(&configuration, shape, rules);
    strip_server_fields(&mut set, resource, &author.subresource);
    let mut owners = owner::read(live);
    if owners.is_empty() && !object::uid(live).is_empty() {
        let mut everything = walk::fields_of(live, shape, rules);
        strip_server_fields(&mut everything, resource, "");
        let mut first = author.owner(false, everything);
        "before-first-apply".clone_into(&mut first.manager);
        owners.push(first);
    }
    let own = author.owner(true, set.clone());
    let previous = owners.iter().position(|owner| owner.is_same(&own)).map(|at| owners.remove(at));

    let mut merged = merge::merge(live, &configuration, shape, rules);
    if let Some(previous) = &previous {
        merged = prune(&merged, &previous.set, &set, &owners, shape, rules);
    }
    let difference = walk::compare(live, &merged, shape, rules);
    let touched = difference.modified.union(&difference.added);
    let mut conflicts: Vec<(String, Vec<String>)> = Vec::new();
    for owner in &mut owners {
        let mut taken = owner.set.intersection(&touched);
        strip_server_fields(&mut taken, resource, &author.subresource);
        if taken.is_empty() {
            continue;
        }
        for path in taken.paths() {
            let field = fieldset::shown(&path);
            match conflicts.iter_mut().find(|(name, _)| *name == owner.shown()) {
                Some((_, fields)) => fields.push(field),
                None => conflicts.push((owner.shown(), vec![field])),
            }
        }
        owner.set = owner.set.difference(&taken);
    }
    if !is_forced && !conflicts.is_empty() {
        return Err(conflict(conflicts));
    }
    for owner in &mut owners {
        owner.set = owner.set.difference(&difference.removed);
    }
    let mut own = own;
    if let Some(previous) = previous
        && previous.set == own.set
        && previous.api_version == own.api_version
        && difference.added.is_empty()
        && difference.modified.is_empty()
        && difference.removed.is_empty()
    {
        own.time = previous.time;
    }
    owners.push(own);
    owner::write(&mut merged, owners);
    Ok(merged)
}

/// Records what a create, update or patch changed. `live` is the skeleton of the kind for a create.
pub(crate) fn track(
    live: &Value,
    new: &mut Value,
    shape: &Shape,
    resource: &Resource,
    author: &Author,
    rules: Rules,
) {
    let rules = rules.about(resource);
    // An explicit empty list resets the tracking; leaving managedFields out keeps it.
    let is_reset = new
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array)
        .is_some_and(|entries| entries.is_empty() || entries == &[json!({})]);
    let mut owners = if is_reset {
        Vec::new()
    } else if object::list(new, "/metadata/managedFields").is_empty() {
        owner::read(live)
    } else {
        owner::read(new)
    };
    object::take_metadata(new, "managedFields");
    let mut bare = live.clone();
    object::take_metadata(&mut bare, "managedFields");
    let difference = walk::compare(&bare, new, shape, rules);
    let mut touched = difference.modified.union(&difference.added);
    strip_server_fields(&mut touched, resource, &author.subresource);
    let removed = &difference.removed;
    let own = author.owner(false, FieldSet::default());
    let position = owners.iter().position(|owner| owner.is_same(&own));
    for (index, owner) in owners.iter_mut().enumerate() {
        if Some(index) == position {
            continue;
        }
        owner.set = owner.set.difference(&touched).difference(removed);
    }
    match position.and_then(|at| owners.get_mut(at)) {
        Some(owner) => {
            let set = owner.set.difference(removed).union(&touched);
            if set != owner.set || !touched.is_empty() {
                owner.time.clone_from(&author.time);
            }
            owner.set = set;
        }
        None => owners.push(author.owner(false, touched)),
    }
    if is_reset {
        owners.clear();
    }
    cap(&mut owners);
    owner::write(new, owners);
}

/// Takes out what the applier gave up and nobody else owns.
fn prune(
    merged: &Value,
    last: &FieldSet,
    now: &FieldSet,
    others: &[Owner],
    shape: &Shape,
    rules: Rules,
) -> Value {
    let set = |set: &FieldSet| {
        if rules.gives_up_whole_structs() { set.with_named_fields(shape) } else { set.clone() }
    };
    let has = |value: &Value| set(&walk::fields_of(value, shape, rules));
    let (everything, given_up) = (has(merged), set(last));
    let mut kept = has(&walk::without(merged, &given_up, shape, rules)).union(&set(now));
    for owner in others {
        kept = kept.union(&set(&owner.set));
    }
    let left = has(&walk::without(merged, &everything.difference(&kept), shape, rules));
    // What was never the applier's stays.
    walk::without(merged, &everything.difference(&left).intersection(&given_up), shape, rules)
}

/// The fields that no manager owns, and those that the subresource does not write.
fn strip_server_fields(set: &mut FieldSet, resource: &Resource, subresource: &str) {
    const METADATA: [&str; 10] = [
        "f:name",
        "f:namespace",
        "f:creationTimestamp",
        "f:selfLink",
        "f:uid",
        "f:clusterName",
        "f:generation",
        "f:managedFields",
        "f:resourceVersion",
        "f:deletionTimestamp",
    ];
    set.take_out("f:apiVersion");
    set.take_out("f:kind");
    for field in METADATA {
        set.below_mut("f:metadata").take_out(field);
    }
    let below = set.below("f:metadata").cloned().unwrap_or_default();
    set.take_out("f:metadata");
    if !below.is_empty() {
        *set.below_mut("f:metadata") = below;
    }
    if subresource == "status" && resource.is_custom {
        set.keep_only("f:status");
    } else if subresource == "status" {
        set.take_out("f:spec");
        if write::is_reset_by_status(resource, "labels") {
            set.below_mut("f:metadata").take_out("f:labels");
        }
    } else if resource.has_status && subresource.is_empty() {
        set.take_out("f:status");
    }
}

fn strip_subresource(configuration: &mut Value, resource: &Resource, subresource: &str) {
    let Some(fields) = configuration.as_object_mut() else { return };
    if subresource == "status" {
        fields.retain(|name, _| {
            matches!(name.as_str(), "apiVersion" | "kind" | "metadata" | "status")
        });
        if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.retain(|name, _| {
                matches!(name.as_str(), "name" | "namespace" | "uid" | "resourceVersion")
            });
        }
    } else if resource.has_status {
        fields.remove("status");
    }
}

/// Puts the oldest updaters together when there are too many.
fn cap(owners: &mut Vec<Owner>) {
    while owners.iter().filter(|owner| !owner.applies && !owner.set.is_empty()).count()
        > MOST_UPDATERS
    {
        let mut updaters: Vec<usize> = (0..owners.len())
            .filter(|&at| {
                owners.get(at).is_some_and(|owner| !owner.applies && owner.manager != ANCIENT)
            })
            .collect();
        updaters.sort_by_key(|&at| owners.get(at).map(|owner| owner.time.clone()));
        let Some(&oldest) = updaters.first() else { return };
        let taken = owners.remove(oldest);
        match owners.iter_mut().find(|owner| {
            !owner.applies && owner.manager == ANCIENT && owner.api_version == taken.api_version
        }) {
            Some(ancient) => {
                ancient.set = ancient.set.union(&taken.set);
                ancient.time = taken.time;
            }
            None => owners.push(Owner {
                manager: ANCIENT.to_owned(),
                subresource: String::new(),
                ..taken
            }),
        }
    }
}

fn untyped(
    configuration: &Value,
    resource: &Resource,
    author: &Author,
    mistakes: &[String],
) -> Refusal {
    let place = match object::namespace(configuration) {
        "" => format!("/{}", object::name(configuration)),
        namespace => format!("{namespace}/{}", object::name(configuration)),
    };
    let what = match mistakes {
        [one] => one.clone(),
        many => format!("errors:\n  {}", many.join("\n  ")),
    };
    Refusal::plain(
        500,
        "",
        format!(
            "failed to create typed patch object ({place}; {}, Kind={}): {what}",
            author.api_version, resource.kind
        ),
    )
}

fn conflict(mut conflicts: Vec<(String, Vec<String>)>) -> Refusal {
    conflicts.sort();
    let count: usize = conflicts.iter().map(|(_, fields)| fields.len()).sum();
    let mut causes = Vec::new();
    let mut texts = Vec::new();
    for (owner, fields) in &conflicts {
        for field in fields {
            causes.push(json!({
                "reason": "FieldManagerConflict",
                "message": format!("conflict with {owner}"),
                "field": field,
            }));
        }
        texts.push(match fields.as_slice() {
            [one] if count == 1 => format!("conflict with {owner}: {one}"),
            many => format!("conflicts with {owner}:\n- {}", many.join("\n- ")),
        });
    }
    let noun = if count == 1 { "conflict" } else { "conflicts" };
    Refusal {
        code: 409,
        reason: "Conflict".to_owned(),
        message: format!("Apply failed with {count} {noun}: {}", texts.join("\n")),
        details: json!({"causes": causes}),
    }
}
