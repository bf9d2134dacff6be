//! Compares what should be with what is: the change set, masked.
//!
//! The server's dry run is an observation, so this is a comparison of *live* with *predicted*: defaulting and webhooks
//! count, and nothing is asked here. What was not observed is a gap and never read as "absent".

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tidegate_schema::operation::Retained;

use crate::change::{Action, Change, ChangeSet, Confidence, Effect, ForeignFields, ObjectGap};
use crate::definition::{self, Definition};
use crate::desired::{DesiredObject, DesiredState, Unit};
use crate::digest::Digest;
use crate::ignored;
use crate::live::{Gap, Inventory, InventoryEntry, LiveState, Observation, Prediction};
use crate::object::{Object, ObjectRef};
use crate::zone::PublishedZone;
use mask::Secrecy;

mod access;
mod admission;
pub mod claims;
mod effects;
mod fields;
mod in_place;
mod keys;
mod mask;
mod normalise;
mod ownership;
mod renamed;
mod stranger;
mod zones;

pub use in_place::is_in_place;
pub use stranger::handed_over;

/// Annotation on a live object that says whether it may be pruned: `disabled` keeps it; `enabled` lets a claim or a
/// namespace with data go.
pub const PRUNE_ANNOTATION: &str = "tidegate.dev/prune";

/// Annotation in the documents that lets an object be replaced when a field that cannot change does: `enabled`, and
/// `data-loss` where what it holds would be lost.
pub const REPLACE_ANNOTATION: &str = "tidegate.dev/replace";
/// Why most of what is kept is kept.
const HOLDS_DATA: &str = "holds data";
/// Beginning of why something is kept for an operation, whose name follows.
pub(crate) const RETAINED_BY: &str = "retained by the operation ";
/// Code of the gap of an object that is wanted and being deleted all the same.
pub const TERMINATING: &str = "CLUSTER/TERMINATING";
/// Code of the gap with which the server refuses to change a field that cannot change.
pub const IMMUTABLE: &str = "CLUSTER/IMMUTABLE";

/// All differences between desired and live.
///
/// - An object that the server said does not exist is created; one whose live and predicted content differ is
///   configured; one that only belongs to somebody else from now on is moved.
/// - What the inventory has and nobody wants any more is pruned: never anything else, never while its cluster has a gap,
///   never what says that it is to be kept.
/// - Secret values are masked here.
pub fn diff(
    desired: &DesiredState,
    live: &LiveState,
    inventory: &Inventory,
    published: &BTreeMap<String, PublishedZone>,
) -> ChangeSet {
    let mut set = ChangeSet::default();
    let mut definitions = Definitions { desired, known: BTreeMap::new() };
    for object in &desired.objects {
        let entry = inventory.entries.get(&object.reference);
        compare(object, live, entry, &mut definitions, &mut set);
    }
    let wanted: BTreeSet<&ObjectRef> = desired.objects.iter().map(|o| &o.reference).collect();
    for (reference, entry) in &inventory.entries {
        if !wanted.contains(reference) && taken_up_by(reference, desired).is_none() {
            let version = entry.api_version.rsplit('/').next().unwrap_or_default();
            let definition = definitions.of(reference, version);
            let fields = mask::fields(desired, reference);
            // Whoever described the kind may be gone with the objects: what nobody knows is not shown.
            let is_secret = definition.is_none() && fields.is_empty() && !is_builtin(reference);
            let secrecy = Secrecy { is_secret, definition, fields };
            unwanted(reference, entry, desired, (live, inventory), secrecy, &mut set);
        }
    }
    keep_definitions_in_use(live, &mut set);
    keep_namespaces_with_data(live, &mut set);
    tell_that_nothing_restarts(&mut set);
    renamed::pair(desired, live, &mut set);
    admission::mark(desired, live, &mut set);
    set.changes.sort_by(|left, right| left.object.cmp(&right.object));
    set.gaps.sort_by(|left, right| gap_key(left).cmp(&gap_key(right)));
    set.gaps.dedup();
    set.zones = zones::differences(&desired.zones, published);
    set
}

/// What others have set on desired objects, beside what we set: no difference, and told only on demand. What
/// controllers keep in `status` and for themselves is left out.
pub fn foreign(desired: &DesiredState, live: &LiveState) -> Vec<ForeignFields> {
    let of_one = |object: &DesiredObject| {
        let live = live.observation(&object.reference)?.live()?;
        let fields = ownership::foreign(&live);
        (!fields.is_empty()).then(|| ForeignFields { object: object.reference.clone(), fields })
    };
    desired.objects.iter().filter_map(of_one).collect()
}

fn gap_key(gap: &ObjectGap) -> (&str, Option<&ObjectRef>, &str) {
    (&gap.cluster, gap.object.as_ref(), &gap.gap.code)
}

/// What was observed of an object, or the gap that stands for it.
fn observed<'a>(
    reference: &ObjectRef,
    live: &'a LiveState,
) -> Result<&'a Observation, Box<ObjectGap>> {
    let gap = |object: Option<&ObjectRef>, gap: Gap| {
        let cluster = reference.cluster.clone();
        Box::new(ObjectGap { cluster, object: object.cloned(), gap, refused: false })
    };
    let not_observed = || Gap { code: "CLUSTER/NOT_OBSERVED".to_owned(), message: String::new() };
    let Some(cluster) = live.clusters.get(&reference.cluster) else {
        return Err(gap(None, not_observed()));
    };
    if let Some(own) = cluster.gaps.get(reference) {
        return Err(gap(Some(reference), own.clone()));
    }
    match (cluster.objects.get(reference), &cluster.gap) {
        (Some(observation), _) => Ok(observation),
        (None, Some(whole)) => Err(gap(None, whole.clone())),
        (None, None) => Err(gap(Some(reference), not_observed())),
    }
}

/// The definitions that are desired too, by what their objects are; each is made ready once, and only when it is needed.
struct Definitions<'a> {
    desired: &'a DesiredState,
    known: BTreeMap<[String; 4], Option<Definition>>,
}

impl Definitions<'_> {
    /// The definition of an object's kind in its cluster and at its version.
    fn of(&mut self, reference: &ObjectRef, version: &str) -> Option<&Definition> {
        let ObjectRef { cluster, group, kind, .. } = reference;
        let key = [cluster, group, kind, version].map(str::to_owned);
        let desired = self.desired;
        let make = || Definition::new(&desired.definition(cluster, group, kind)?, version);
        self.known.entry(key).or_insert_with(make).as_ref()
    }
}

/// What is simulated of a kind whose definition comes with the change is judged and completed by that.
fn judged(
    desired: &DesiredObject,
    observation: &Observation,
    version: Option<&str>,
    definitions: &mut Definitions<'_>,
) -> Option<Observation> {
    let Prediction::Simulated(object) = &observation.predicted else { return None };
    let object = &object.read();
    let rules = version.is_none_or(definition::has_rules);
    // What is there at another version would have to be converted first.
    let there = observation.live().filter(|live| live.api_version() == object.api_version());
    let after = |object: &Object| match &there {
        Some(live) => ownership::overlaid(live, &ignored::sent(object, Some(live))),
        None => object.clone(),
    };
    let judged = definitions.of(&desired.reference, desired.version())?.judge(
        object,
        rules,
        there.as_ref(),
        after,
    );
    let mut observation = observation.clone();
    if judged.rules > 0 {
        observation.warnings.push(format!("{}: {}", definition::RULES_NOT_JUDGED, judged.rules));
    }
    observation.predicted = if judged.violations.is_empty() {
        Prediction::Simulated((&judged.object).into())
    } else {
        let message = judged.violations.join("; ");
        Prediction::Refused(Gap { code: definition::VIOLATED.to_owned(), message })
    };
    Some(observation)
}

/// The gap of an object that is wanted while the server is still deleting it: it can be made anew only when it is gone.
fn terminating(live: Option<&Object>) -> Option<Gap> {
    let live = live.filter(|live| !live.text("/metadata/deletionTimestamp").is_empty())?;
    let holders = live.get("/metadata/finalizers").and_then(Value::as_array);
    let holders: Vec<&str> = holders.into_iter().flatten().filter_map(Value::as_str).collect();
    Some(Gap { code: TERMINATING.to_owned(), message: holders.join(", ") })
}

/// Adds what has to be done to one desired object.
fn compare(
    desired: &DesiredObject,
    live: &LiveState,
    entry: Option<&InventoryEntry>,
    definitions: &mut Definitions<'_>,
    set: &mut ChangeSet,
) {
    let observation = match observed(&desired.reference, live) {
        Ok(observation) => observation,
        Err(gap) => return set.gaps.push(*gap),
    };
    if is_settled(desired, observation, entry) {
        set.unchanged += 1;
        return;
    }
    let (body, there) = (desired.body(), observation.live());
    // A machine is not made by saying something of it.
    if desired.reference.is_node() && there.is_none() {
        return;
    }
    if let Some(gap) = terminating(there.as_ref()) {
        let (cluster, object) =
            (desired.reference.cluster.clone(), Some(desired.reference.clone()));
        return set.gaps.push(ObjectGap { cluster, object, gap, refused: false });
    }
    let version =
        live.clusters.get(&desired.reference.cluster).and_then(|it| it.version.as_deref());
    let judged = judged(desired, observation, version, definitions);
    let observation = judged.as_ref().unwrap_or(observation);
    // Nobody's to adopt: fields of it are set side by side with others.
    let is_shared = desired.reference.is_node();
    let stranger = there.as_ref().filter(|_| !is_shared);
    let stranger = stranger.and_then(|object| stranger::stranger(&body, object, entry));
    if stranger.is_some() && is_implied(desired) {
        set.unchanged += 1;
        return;
    }
    let may_replace = may_replace(&desired.reference, &body, there.as_ref());
    // What is not ours is refused anyway, and may be refused by the server for what is left of others in it.
    if let Prediction::Refused(gap) = &observation.predicted
        && stranger.is_none()
        && !(may_replace && gap.code == IMMUTABLE && there.is_some())
    {
        return set.gaps.push(ObjectGap {
            cluster: desired.reference.cluster.clone(),
            object: Some(desired.reference.clone()),
            gap: gap.clone(),
            refused: true,
        });
    }
    let fields = mask::fields(definitions.desired, &desired.reference);
    let definition = definitions.of(&desired.reference, desired.version());
    let is_secret = body.is_secret() || there.as_ref().is_some_and(Object::is_secret);
    let secrecy = Secrecy { is_secret, definition, fields };
    let change = match &there {
        None => Some(creation(desired, body, observation, &secrecy)),
        Some(object) => {
            let is_strange = stranger.is_some();
            configuration((desired, &body), object, observation, (entry, is_strange), &secrecy)
        }
    };
    match change {
        None => set.unchanged += 1,
        Some(mut change) => {
            change.drift = is_drift(desired, entry, change.action);
            change.stranger = stranger;
            set.changes.push(change);
        }
    }
}

/// Whether the object is in place, as we applied it last, for the one whose it is: so is every object of a quiet site, and
/// none of them need be looked into.
fn is_settled(
    desired: &DesiredObject,
    observation: &Observation,
    entry: Option<&InventoryEntry>,
) -> bool {
    let (Some(live), Some(entry)) = (&observation.live, entry) else { return false };
    matches!(observation.predicted, Prediction::InPlace)
        && entry.uid.as_deref() == Some(live.uid())
        && entry.applied.as_ref() == Some(&desired.digest)
        && entry.owner == desired.owner
}

/// Whether what the documents want is what we applied last, to this very object.
fn is_applied(desired: &DesiredObject, live: &Object, entry: Option<&InventoryEntry>) -> bool {
    entry.is_some_and(|entry| {
        entry.uid.as_deref() == Some(live.uid()) && entry.applied.as_ref() == Some(&desired.digest)
    })
}

/// Whether the documents let the object be deleted and made anew. Definitions and namespaces never are, as everything in
/// them would go along (A18); what holds data asks for its loss in words (A21).
fn may_replace(reference: &ObjectRef, body: &Object, live: Option<&Object>) -> bool {
    let is_container =
        effects::is_namespace(reference) || reference.kind == "CustomResourceDefinition";
    let loses_data = effects::is_volume(reference) || live.is_some_and(effects::takes_claims_along);
    match body.annotation(REPLACE_ANNOTATION) {
        Some("enabled") => !is_container && !loses_data,
        Some("data-loss") => !is_container,
        _ => false,
    }
}

/// Whether a namespace was there before us: it is used as it is, and never ours to change or delete (model.md, "What an
/// app becomes").
pub fn is_used_as_it_is(desired: &DesiredObject, live: &Object) -> bool {
    is_implied(desired) && stranger::stranger(&desired.body(), live, None).is_some()
}

/// Whether nobody wrote the object down: the namespace of a product, which no manifest declares.
fn is_implied(desired: &DesiredObject) -> bool {
    effects::is_namespace(&desired.reference) && desired.owner.product.is_none()
}

/// Drift: we applied exactly this once, so somebody else changed or deleted it.
fn is_drift(desired: &DesiredObject, entry: Option<&InventoryEntry>, action: Action) -> bool {
    let was_applied = entry.is_some_and(|entry| entry.applied.as_ref() == Some(&desired.digest));
    was_applied && matches!(action, Action::Create | Action::Configure)
}

fn creation(
    desired: &DesiredObject,
    body: Object,
    observation: &Observation,
    secrecy: &Secrecy<'_>,
) -> Change {
    let body = match &observation.predicted {
        // With the defaults of the definition that comes with it.
        Prediction::Simulated(object) => object.read(),
        Prediction::Exact(_)
        | Prediction::InPlace
        | Prediction::Unverified(..)
        | Prediction::NotDesired
        | Prediction::Refused(_) => body,
    };
    let content = normalise::normalised(&body);
    let is_builtin = is_builtin(&desired.reference);
    let mut differences = fields::leaves(is_builtin, &content);
    if let Prediction::Exact(predicted) = &observation.predicted {
        // What the documents write, with the values that webhooks make of it; not what else they or the server add.
        let rewritten =
            fields::differences(is_builtin, &content, &normalise::normalised(&predicted.read()));
        let rewritten =
            rewritten.into_iter().filter(|it| it.before.is_some() && it.after.is_some());
        let mut values: BTreeMap<_, _> = rewritten.map(|it| (it.segments, it.after)).collect();
        for leaf in &mut differences {
            if let Some(value) = values.remove(&leaf.segments) {
                leaf.after = value;
            }
        }
    }
    let mut change = blank(&desired.reference, Action::Create, desired, observation);
    change.effects = access::effects(&desired.reference, None, Some(&content));
    change.fields = mask::masked(secrecy, differences);
    change
}

fn configuration(
    (desired, body): (&DesiredObject, &Object),
    live: &Object,
    observation: &Observation,
    (entry, is_strange): (Option<&InventoryEntry>, bool),
    secrecy: &Secrecy<'_>,
) -> Option<Change> {
    let reference = &desired.reference;
    let is_applied = is_applied(desired, live, entry);
    let predicted = match &observation.predicted {
        Prediction::Exact(object) => {
            let predicted = object.read();
            if is_same_of_ours(live, &predicted) { live.clone() } else { predicted }
        }
        Prediction::InPlace => live.clone(),
        // What a webhook made of it then it would make of it again.
        Prediction::Unverified(object, _) if is_applied => {
            let sent = ignored::sent(&object.read(), Some(live));
            ownership::restored(live, sent.into_value())
        }
        Prediction::Simulated(object) | Prediction::Unverified(object, _) => {
            ownership::overlaid(live, &ignored::sent(&object.read(), Some(live)))
        }
        Prediction::NotDesired | Prediction::Refused(_) => {
            ownership::overlaid(live, &ignored::sent(body, Some(live)))
        }
    };
    let (before, after) = (normalise::normalised(live), normalise::normalised(&predicted));
    let differences = fields::differences(is_builtin(reference), &before, &after);
    let is_ours = entry.is_some_and(|entry| entry.owner == desired.owner);
    // What was applied last has nothing that was given up since; that is every object of a quiet site.
    let kept = match entry.and_then(|entry| entry.applied.as_ref()) {
        Some(applied) if *applied == desired.digest => Vec::new(),
        Some(_) | None => ownership::kept(live, body),
    };
    let action = if matches!(observation.predicted, Prediction::Refused(_)) && !is_strange {
        Action::Replace
    } else if !differences.is_empty() || !kept.is_empty() {
        Action::Configure
    } else if !is_ours {
        Action::Move
    } else {
        return None;
    };
    let mut change = blank(reference, action, desired, observation);
    change.effects = effects::effects(reference, action, Some(live), Some(&after), &differences);
    change.effects.extend(access::effects(reference, Some(&before), Some(&after)));
    change.live = Some(fingerprint(live, &before, &differences));
    if matches!(observation.predicted, Prediction::Exact(_)) && !predicted.is_secret() {
        change.predicted = Some(fingerprint(&predicted, &after, &differences));
    }
    change.kept = kept;
    change.fields = mask::masked(secrecy, differences);
    Some(change)
}

fn fingerprint(object: &Object, content: &Value, differences: &[fields::Difference]) -> Digest {
    let paths: Vec<String> = differences.iter().map(fields::Difference::path).collect();
    ownership::fingerprint(object, content, paths.iter().map(String::as_str))
}

/// Whether the object is still as it was when the change was approved: absent, or the same with the same fields of ours
/// and the same values where it would change.
///
/// What was only simulated may exist by now: namespaces and kinds bring objects of their own with them.
pub fn is_as_approved(change: &Change, live: Option<&Object>) -> bool {
    match (&change.live, live) {
        (None, None) => true,
        (None, Some(_)) => brings_others(change),
        (Some(_), None) => change.action == Action::Prune,
        (Some(approved), Some(live)) => {
            let paths = change.fields.iter().map(|field| field.path.as_str());
            ownership::fingerprint(live, &normalise::normalised(live), paths) == *approved
        }
    }
}

/// Whether something of the same plan may bring the object along by itself: a namespace or a kind does, a webhook does not.
pub fn brings_others(change: &Change) -> bool {
    change.confidence == Confidence::Simulated && change.webhooks.is_empty()
}

/// Whether the object is as applying `form` leaves it: this release has written it already, or nothing would change.
pub fn is_written(change: &Change, live: &Object, form: &Object) -> bool {
    let paths = || change.fields.iter().map(|field| field.path.as_str());
    let before = normalise::normalised(live);
    let is = |predicted: &Digest| ownership::fingerprint(live, &before, paths()) == *predicted;
    change.predicted.as_ref().is_some_and(is) || {
        let left = ownership::overlaid(live, &ignored::sent(form, Some(live)));
        let after = normalise::normalised(&left);
        fields::differences(is_builtin(&change.object), &before, &after).is_empty()
    }
}

/// Whether a write would leave all that is ours as it is, by the server's own record of who set what: then none is needed,
/// whatever else webhooks would write in passing.
pub fn is_same_of_ours(live: &Object, predicted: &Object) -> bool {
    ownership::is_same_of_ours(live, predicted)
}

/// Fields of a workload's form that somebody has changed since we applied it, as paths.
pub fn changed_by_others(live: &Object, form: &Object) -> Vec<String> {
    ownership::taken(live, form)
}

fn blank(
    reference: &ObjectRef,
    action: Action,
    desired: &DesiredObject,
    observation: &Observation,
) -> Change {
    let mut warnings = observation.warnings.clone();
    let confidence = match &observation.predicted {
        Prediction::Exact(_) | Prediction::InPlace => Confidence::Exact,
        Prediction::Simulated(_) => Confidence::Simulated,
        Prediction::Unverified(_, gap) => {
            warnings.push(format!("{}: {}", gap.code, gap.message));
            Confidence::Unverified
        }
        Prediction::Refused(_) | Prediction::NotDesired => Confidence::Unverified,
    };
    Change {
        confidence,
        conflicts: observation.conflicts.clone(),
        warnings,
        desired: Some(desired.digest.clone()),
        ..Change::new(reference, action, &desired.owner)
    }
}

/// Adds what has to be done to an object of ours that nobody wants any more.
fn unwanted(
    reference: &ObjectRef,
    entry: &InventoryEntry,
    desired: &DesiredState,
    (live, inventory): (&LiveState, &Inventory),
    secrecy: Secrecy<'_>,
    set: &mut ChangeSet,
) {
    let observation = match observed(reference, live) {
        Ok(observation) => observation,
        Err(gap) => return set.gaps.push(*gap),
    };
    let whole = live.clusters.get(&reference.cluster).and_then(|cluster| cluster.gap.clone());
    if let Some(gap) = whole {
        let cluster = reference.cluster.clone();
        return set.gaps.push(ObjectGap { cluster, object: None, gap, refused: false });
    }
    // Gone already: there is nothing to do, and the inventory forgets it with the next release.
    let Some(object) = &observation.live() else { return };
    if reference.is_node() {
        set.changes.extend(released(reference, entry, object));
        return;
    }
    let kept_for_log = is_earlier_run(reference, entry, desired).then_some("kept for its log");
    let reason = reason_to_keep(reference, entry, object).or(kept_for_log).map(str::to_owned);
    let reason = reason.or_else(|| retained(reference, entry, object, desired));
    let mut warnings = observation.warnings.clone();
    warnings.extend(reason.clone());
    if reason.is_none() && claims::is_set(reference) {
        leave_claims(observation, entry, (live, inventory), set);
    }
    let action = if reason.is_some() { Action::Keep } else { Action::Prune };
    let before = normalise::normalised(object);
    let mut effects = effects::effects(reference, action, Some(object), None, &[]);
    let others = observation.holds.iter().filter(|it| !inventory.entries.contains_key(it));
    effects::tell_what_is_lost(&mut effects, others);
    let mut differences = Vec::new();
    if action == Action::Prune {
        effects.extend(access::effects(reference, Some(&before), None));
        differences = fields::removed_leaves(is_builtin(reference), &before);
    }
    set.changes.push(Change {
        live: Some(fingerprint(object, &before, &differences)),
        fields: mask::masked(
            &Secrecy { is_secret: secrecy.is_secret || object.is_secret(), ..secrecy },
            differences,
        ),
        warnings,
        effects,
        ..Change::new(reference, action, &entry.owner)
    });
}

/// A task or test that ran with other inputs, of an app that is still wanted: its Job stays, as its log is all that tells
/// what it did.
fn is_earlier_run(reference: &ObjectRef, entry: &InventoryEntry, desired: &DesiredState) -> bool {
    let is_same = |unit: &Unit| {
        unit.id.cluster == reference.cluster
            && Some(&unit.id.product) == entry.owner.product.as_ref()
            && Some(&unit.id.app) == entry.owner.app.as_ref()
    };
    reference.kind == "Job" && reference.group == "batch" && desired.units.iter().any(is_same)
}

/// What we have set on a node is given up: what others have set too, or set anew, stays. `None` when nothing of it is ours.
fn released(reference: &ObjectRef, entry: &InventoryEntry, live: &Object) -> Option<Change> {
    ownership::owned_fields(live)?;
    let bare = Object::node(&reference.name);
    let kept = ownership::kept(live, &bare);
    let predicted = if kept.is_empty() { ownership::overlaid(live, &bare) } else { live.clone() };
    let (before, after) = (normalise::normalised(live), normalise::normalised(&predicted));
    let differences = fields::differences(is_builtin(reference), &before, &after);
    Some(Change {
        live: Some(fingerprint(live, &before, &differences)),
        fields: mask::masked(
            &Secrecy { is_secret: false, definition: None, fields: Vec::new() },
            differences,
        ),
        kept,
        ..Change::new(reference, Action::Configure, &entry.owner)
    })
}

/// The claims that a set leaves behind: the server made them for it, nobody applied them, and nothing tells of them
/// otherwise.
fn leave_claims(
    set_of_pods: &Observation,
    entry: &InventoryEntry,
    (live, inventory): (&LiveState, &Inventory),
    set: &mut ChangeSet,
) {
    let own = set_of_pods.holds.iter().filter(|held| held.is_claim());
    for reference in own.filter(|it| !inventory.entries.contains_key(it)) {
        let Some(claim) = live.observation(reference).and_then(Observation::live) else { continue };
        set.changes.push(Change {
            warnings: vec![HOLDS_DATA.to_owned()],
            live: Some(fingerprint(&claim, &normalise::normalised(&claim), &[])),
            ..Change::new(reference, Action::Keep, &entry.owner)
        });
    }
}

/// Whether it is a claim that the server made for a set of ours, and that is ours to know of only.
pub fn is_left_behind(reference: &ObjectRef, entry: &InventoryEntry) -> bool {
    reference.is_claim() && entry.kept && entry.applied.is_none()
}

/// The set that is wanted again and to which a claim belongs that was left behind: its pods take it up by its name
/// (Kubernetes, "`StatefulSets`", "Stable Storage").
pub fn taken_up_by<'a>(reference: &ObjectRef, desired: &'a DesiredState) -> Option<&'a ObjectRef> {
    if !reference.is_claim() {
        return None;
    }
    let is_set = |object: &&DesiredObject| {
        let other = &object.reference;
        claims::is_set(other)
            && (&other.cluster, &other.namespace) == (&reference.cluster, &reference.namespace)
    };
    let has = |set: &&DesiredObject| {
        let body = set.body();
        let number = claims::ordinal(&body, &reference.name);
        number.is_some_and(|number| number < body.replicas())
    };
    desired.objects.iter().filter(is_set).find(has).map(|set| &set.reference)
}

/// Why an operation keeps an object of a product that is removed.
fn retained(
    reference: &ObjectRef,
    entry: &InventoryEntry,
    live: &Object,
    desired: &DesiredState,
) -> Option<String> {
    let product = entry.owner.product.as_ref()?;
    let is_balancer = reference.group.is_empty()
        && reference.kind == "Service"
        && live.text("/spec/type") == "LoadBalancer";
    let is_kept = |what: &Retained| match what {
        Retained::LoadBalancers => is_balancer,
        Retained::Volumes => effects::is_volume(reference),
    };
    let mut own = desired.uninstalls.iter().filter(|it| it.is_of(product, &reference.cluster));
    let found = own.find(|it| it.retain.iter().any(is_kept))?;
    Some(format!("{RETAINED_BY}{}", found.operation))
}

/// Why an unwanted object stays: it says so, it holds data, or it is not the one that we made (A25, A26, A28).
fn reason_to_keep(
    reference: &ObjectRef,
    entry: &InventoryEntry,
    live: &Object,
) -> Option<&'static str> {
    let annotation = live.annotation(PRUNE_ANNOTATION);
    match &entry.uid {
        Some(uid) if uid != live.uid() => return Some("made anew by somebody else"),
        // A claim that a set has left behind.
        _ if is_left_behind(reference, entry) => return Some(HOLDS_DATA),
        None if ownership::owned_fields(live).is_none() => return Some("never applied by us"),
        _ if entry.adopted.is_some() && entry.applied.is_none() => {
            return Some("adopted and never applied by us");
        }
        Some(_) | None => {}
    }
    if annotation == Some("disabled") {
        return Some("tidegate.dev/prune: disabled");
    }
    if entry.kept {
        return Some("tidegate.dev/prune: disabled when it was last applied");
    }
    let holds_data = effects::is_volume(reference);
    (holds_data && annotation != Some("enabled")).then_some(HOLDS_DATA)
}

/// A definition takes all objects of its kind along: it stays while there are any that do not go with the same change
/// (A9).
fn keep_definitions_in_use(live: &LiveState, set: &mut ChangeSet) {
    let going: BTreeSet<ObjectRef> = set
        .changes
        .iter()
        .filter(|change| change.action == Action::Prune)
        .map(|change| change.object.clone())
        .collect();
    let is_definition = |change: &&mut Change| change.object.kind == "CustomResourceDefinition";
    for change in set.changes.iter_mut().filter(is_definition) {
        if change.action != Action::Prune {
            continue;
        }
        let Some(observation) = live.observation(&change.object) else { continue };
        let stays = observation.holds.iter().filter(|held| !going.contains(*held)).count();
        if stays > 0 && !is_let_go(Some(observation)) {
            keep(change, format!("{stays} objects of its kind exist"));
        }
    }
}

/// Whether the live object says that it may go with all that is in it.
fn is_let_go(observation: Option<&Observation>) -> bool {
    let live = observation.and_then(Observation::live);
    live.is_some_and(|live| live.annotation(PRUNE_ANNOTATION) == Some("enabled"))
}

fn keep(change: &mut Change, reason: String) {
    change.action = Action::Keep;
    change.warnings.push(reason);
    change.fields.clear();
    change.effects.clear();
}

/// A namespace takes everything in it along: it stays while something in it is kept, while a claim is in it, whoever made
/// it, and while a pruned `StatefulSet` leaves its claims there.
fn keep_namespaces_with_data(live: &LiveState, set: &mut ChangeSet) {
    let leaves_data = |change: &Change| match change.action {
        Action::Keep => true,
        Action::Prune => {
            let object = live.observation(&change.object).and_then(Observation::live);
            object.is_some_and(|object| {
                let claims = object.get("/spec/volumeClaimTemplates").and_then(Value::as_array);
                claims.is_some_and(|claims| !claims.is_empty())
            })
        }
        Action::Create | Action::Configure | Action::Replace | Action::Move => false,
    };
    let kept: BTreeSet<(String, String)> = set
        .changes
        .iter()
        .filter(|change| !change.object.namespace.is_empty() && leaves_data(change))
        .map(|change| (change.object.cluster.clone(), change.object.namespace.clone()))
        .collect();
    for change in &mut set.changes {
        if change.action != Action::Prune || !effects::is_namespace(&change.object) {
            continue;
        }
        let observation = live.observation(&change.object);
        let place = (change.object.cluster.clone(), change.object.name.clone());
        let holds_claims = observation.is_some_and(|it| it.holds.iter().any(effects::is_volume));
        if (kept.contains(&place) || holds_claims) && !is_let_go(observation) {
            keep(change, HOLDS_DATA.to_owned());
        }
    }
}

/// A changed ConfigMap or Secret restarts nothing unless the app's pod template changes with it (D65): worth a line.
fn tell_that_nothing_restarts(set: &mut ChangeSet) {
    let place = |change: &Change| {
        (change.object.cluster.clone(), change.owner.product.clone(), change.owner.app.clone())
    };
    let is_restart = |effect: &Effect| matches!(effect, Effect::PodsRestart { .. });
    // What belongs to the whole product may be used by any of its apps.
    let restarting: BTreeSet<_> = set
        .changes
        .iter()
        .filter(|change| change.effects.iter().any(is_restart))
        .map(place)
        .flat_map(|(cluster, product, app)| {
            [(cluster.clone(), product.clone(), None), (cluster, product, app)]
        })
        .collect();
    for change in &mut set.changes {
        let is_config = change.object.group.is_empty()
            && matches!(change.object.kind.as_str(), "ConfigMap" | "Secret");
        if is_config && change.action == Action::Configure && !restarting.contains(&place(change)) {
            change.effects.push(Effect::NoPodRestarts);
        }
    }
}

/// Whether the kind is one of Kubernetes itself, whose lists we know.
fn is_builtin(reference: &ObjectRef) -> bool {
    !reference.group.contains('.') || reference.group.ends_with(".k8s.io")
}

#[cfg(test)]
pub(crate) mod tests;
