//! Observing: what is live, and what the server says an apply would give.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{MutexGuard, PoisonError};

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tidegate_core::desired::DesiredObject;
use tidegate_core::diff::{
    IMMUTABLE, REPLACE_ANNOTATION, is_in_place, is_same_of_ours, is_used_as_it_is,
};
use tidegate_core::digest::Digest;
use tidegate_core::ignored;
use tidegate_core::live::{
    ClusterObservation, Gap, InventoryEntry, LiveObject, Observation, Prediction, Surroundings,
};
use tidegate_core::object::{FIELD_MANAGER, Object, ObjectRef, group_of, text_of};

use super::api::{self, ApiError, Verb, Verdict};
use super::kinds::{ServedKind, Writable};
use super::tried::what;
use super::unmarked::Unmarked;
use super::{Cluster, Verified, WIDTH, at_version};

/// The kind whose objects define kinds.
pub(super) const DEFINITION: &str = "CustomResourceDefinition";

/// The namespace in which objects are tried whose own does not exist yet.
const STAND_IN: &str = "default";

/// The kind of the claims of volumes.
pub(super) const CLAIM: &str = "PersistentVolumeClaim";

/// Code of the remark that not everything in a namespace could be counted.
pub(super) const NOT_LISTED: &str = "CLUSTER/NOT_LISTED";

impl Cluster {
    /// Observes everything that is desired here or ours. What the watches and earlier answers already prove is not asked
    /// again.
    pub async fn observe(
        &self,
        desired: &[&DesiredObject],
        inventory: &[(&ObjectRef, &InventoryEntry)],
        now: Timestamp,
    ) -> ClusterObservation {
        let mut observation = ClusterObservation {
            uid: None,
            version: None,
            observed_at: now,
            gap: None,
            gaps: BTreeMap::new(),
            objects: BTreeMap::new(),
            around: Surroundings::default(),
        };
        match self.remembered_identity().await {
            Ok((uid, version)) => {
                observation.uid = Some(uid);
                observation.version = Some(version);
            }
            Err(gap) => {
                observation.gap = Some(gap);
                return observation;
            }
        }
        let mut coming = Coming::of(desired);
        let wanted: BTreeSet<&ObjectRef> = desired.iter().map(|object| &object.reference).collect();
        self.forget_answers(&wanted);
        let orphans = inventory.iter().filter(|(reference, _)| !wanted.contains(*reference));
        let unwanted: Vec<ObjectRef> = orphans.clone().map(|(it, _)| (*it).clone()).collect();
        let tasks: Vec<_> = desired
            .iter()
            .map(|object| (&object.reference, object.api_version.as_str(), Some(*object)))
            .chain(orphans.map(|(reference, entry)| (*reference, entry.api_version.as_str(), None)))
            .collect();
        let kinds = tasks.iter().map(|(reference, version, _)| (*version, reference.kind.as_str()));
        if let Err(gap) = self.watch_all(kinds.collect()).await {
            observation.gap = Some(gap);
            return observation;
        }
        let entries: BTreeMap<&ObjectRef, &InventoryEntry> = inventory.iter().copied().collect();
        let lasts = |it: &ObjectRef| Unmarked::lasts(it, entries.get(it).copied());
        let remembered = |it: &ObjectRef| lasts(it).ok_or(()).and_then(|_| self.unmarked.get(it));
        let (known, open): (Vec<_>, Vec<_>) =
            tasks.iter().map(|task| (task, remembered(task.0))).partition(|(_, it)| it.is_ok());
        let asked = open.iter().map(|((reference, version, _), _)| (*reference, *version));
        let mut found = self.look_each(asked.collect()).await;
        for (reference, answer) in &found {
            if let (Some(lasts), Ok(object)) = (lasts(reference), answer) {
                self.unmarked.keep(reference, object.clone(), lasts);
            }
        }
        found
            .extend(known.into_iter().filter_map(|((it, ..), known)| Some((*it, Ok(known.ok()?)))));
        coming.note_absent_namespaces(
            found.iter().filter(|(reference, _)| wanted.contains(**reference)),
        );
        let tasks = tasks.into_iter().filter_map(|(reference, version, object)| {
            Some(Task { reference, version, object, live: found.remove(reference)? })
        });
        // Definitions first: what they change of a schema decides how its objects are observed.
        let (definitions, others): (Vec<_>, Vec<_>) =
            tasks.partition(|task| task.reference.kind == DEFINITION);
        for tasks in [definitions, others] {
            coming.note_changes(&observation.objects);
            for (reference, answer) in self.observe_each(tasks, &coming).await {
                match answer {
                    Ok(object) => {
                        observation.objects.insert(reference, object);
                    }
                    // The server is not there, or fails, which concerns all.
                    Err(gap) if is_passing(&gap) => {
                        let message = format!("{reference}: {}", gap.message);
                        observation.gap = observation.gap.or(Some(Gap { message, ..gap }));
                    }
                    Err(gap) => {
                        observation.gaps.insert(reference, gap);
                    }
                }
            }
        }
        self.add_claims(&unwanted, &mut observation).await;
        observation.around = self.surroundings(desired, &observation.objects).await;
        observation
    }

    /// Observes some objects side by side.
    async fn observe_each(
        &self,
        tasks: Vec<Task<'_>>,
        coming: &Coming,
    ) -> Vec<(ObjectRef, Result<Observation, Gap>)> {
        // Collected and boxed first: a lazy chain of closures over references is not `Send` for the compiler.
        let asked: Vec<BoxFuture<'_, _>> = tasks
            .into_iter()
            .map(|task| {
                async move {
                    let reference = task.reference.clone();
                    (reference, self.observe_one(task, coming).await)
                }
                .boxed()
            })
            .collect();
        futures::stream::iter(asked).buffer_unordered(WIDTH).collect().await
    }

    /// The identity does not change while we are connected, so it is asked once.
    async fn remembered_identity(&self) -> Result<(String, String), Gap> {
        if let Some(known) = self.identity.get() {
            return Ok(known.clone());
        }
        let identity = self.identity().await?;
        Ok(self.identity.get_or_init(|| identity).clone())
    }

    /// Watches these kinds, and no others any more.
    async fn watch_all(&self, kinds: BTreeSet<(&str, &str)>) -> Result<(), Gap> {
        let mut served = Vec::new();
        for (api_version, kind) in kinds {
            match self.kinds.readable(api_version, kind).await {
                Ok(kind) => served.extend(kind),
                Err(gap) if is_of_all(&gap) => return Err(gap),
                // Discovery fails in part, as when the service behind an `APIService` is down: the objects of that kind
                // are asked for one by one, and say so.
                Err(gap) => tracing::warn!(kind, reason = gap.message, "cannot watch a kind"),
            }
        }
        self.watches.keep_only(&served);
        // Side by side: on a connection that fails each may take its time.
        futures::future::join_all(served.iter().map(|kind| self.watches.start(kind))).await;
        Ok(())
    }

    async fn observe_one(&self, task: Task<'_>, coming: &Coming) -> Result<Observation, Gap> {
        let Task { reference, version, object, live } = task;
        let live = live?;
        let Some(desired) = object else {
            return self.observe_unwanted(reference, live).await;
        };
        if live.as_ref().is_some_and(|live| self.is_verified(desired, live)) {
            return Ok(observed(live, Prediction::InPlace));
        }
        let there = live.as_ref().map(LiveObject::read);
        if there.as_ref().is_some_and(|there| is_used_as_it_is(desired, there)) {
            return Ok(observed(live, Prediction::InPlace));
        }
        let simulated = || Prediction::Simulated(desired.stored().clone());
        if self.kind_comes_first(reference, version, coming).await? {
            return Ok(observed(live, simulated()));
        }
        let wanted = desired.body();
        let kind = match self.kinds.writable(&wanted).await? {
            Writable::At(kind) => kind,
            Writable::Nowhere(gap) => return Ok(observed(live, Prediction::Refused(gap))),
        };
        if coming.changing.contains(&(reference.group.clone(), reference.kind.clone())) {
            return Ok(observed(live, simulated()));
        }
        if live.is_none() && coming.has_absent_namespace(reference)? {
            let what = what(desired, &kind, None, true);
            if let Some(known) = self.known_answer(reference, &what) {
                return Ok(known);
            }
            let answer = self.rehearse(desired, &kind).await?;
            self.remember_answer(reference, what, &answer);
            return Ok(answer);
        }
        let body = at_version(&ignored::sent(&wanted, there.as_ref()), &kind);
        if let (Some(live), Some(there)) = (&live, &there)
            && is_in_place(&body, there)
        {
            self.verify(desired, live, content(there));
            return Ok(observed(Some(live.clone()), Prediction::InPlace));
        }
        let what = what(desired, &kind, there.as_ref(), false);
        if let Some(known) = self.known_answer(reference, &what) {
            return Ok(Observation { live, ..known });
        }
        let answer = self.dry_run(desired, &body, &kind, there.as_ref()).await?;
        self.remember_answer(reference, what, &answer);
        if let (Some(live), Some(there), Prediction::Exact(predicted)) =
            (&live, &there, &answer.predicted)
            && answer.conflicts.is_empty()
        {
            let known = content(there);
            let predicted = predicted.read();
            if known == content(&predicted) || is_same_of_ours(there, &predicted) {
                self.verify(desired, live, known);
            } else {
                self.verified().remove(&desired.reference);
            }
        }
        Ok(Observation { live, ..answer })
    }

    /// The objects of a definition's kind.
    pub(super) async fn instances(
        &self,
        definition: &Object,
    ) -> Result<Vec<(ObjectRef, Object)>, Gap> {
        let group = definition.text("/spec/group");
        let versions = definition.get("/spec/versions").and_then(Value::as_array);
        let served =
            versions.into_iter().flatten().find(|it| it.get("served") == Some(&Value::Bool(true)));
        let Some(version) = served.and_then(|version| version.get("name")?.as_str()) else {
            return Ok(Vec::new());
        };
        let path = format!("/apis/{group}/{version}/{}", definition.text("/spec/names/plural"));
        let kind = definition.text("/spec/names/kind");
        let items = self.list(&path).await.map_err(|error| error.gap())?;
        let own = |item: Object| (self.reference(group, kind, &item), item);
        Ok(items.into_iter().map(own).collect())
    }

    /// All objects at a path; none where there is no such path: a definition that is not established, or on its way out.
    pub(super) async fn list<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, ApiError> {
        // A list without items is written as null.
        #[derive(Deserialize)]
        struct List<T> {
            items: Option<Vec<T>>,
        }
        match api::read::<List<T>>(&self.client, path).await {
            Ok(list) => Ok(list.items.unwrap_or_default()),
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// What identifies an item of a list, which does not say of which kind it is.
    pub(super) fn reference(&self, group: &str, kind: &str, item: &Object) -> ObjectRef {
        ObjectRef {
            cluster: self.name.clone(),
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace: item.namespace().to_owned(),
            name: item.name().to_owned(),
        }
    }

    /// Whether the object's kind does not exist yet at this version but comes with the same change.
    async fn kind_comes_first(
        &self,
        reference: &ObjectRef,
        api_version: &str,
        coming: &Coming,
    ) -> Result<bool, Gap> {
        let kind = (reference.group.clone(), reference.kind.clone());
        Ok(coming.kinds.contains(&kind)
            && self.kinds.find(api_version, &reference.kind).await?.is_none())
    }

    /// First without force, so that conflicts show; then with force, for what would really happen.
    async fn dry_run(
        &self,
        desired: &DesiredObject,
        body: &Object,
        kind: &ServedKind,
        live: Option<&Object>,
    ) -> Result<Observation, Gap> {
        let tried = |predicted, conflicts, warnings| Observation {
            live: None,
            predicted,
            conflicts,
            warnings,
            holds: Vec::new(),
        };
        let path = kind.path(body.namespace(), Some(body.name()));
        let mut conflicts = Vec::new();
        for force in ["false", "true"] {
            let query = api::query(&[
                ("fieldManager", FIELD_MANAGER),
                ("force", force),
                ("dryRun", "All"),
                ("fieldValidation", "Strict"),
            ]);
            match self.send(Verb::Apply, &(path.clone() + &query), Some(body.value())).await {
                Ok(answer) => {
                    let predicted = Prediction::Exact((&Object::new(answer.body)).into());
                    return Ok(tried(predicted, conflicts, answer.warnings));
                }
                Err(error) if force == "false" && !error.conflicts().is_empty() => {
                    conflicts = since(error.conflicts(), live);
                }
                Err(error) => {
                    let prediction = match error.verdict() {
                        Verdict::Refused => {
                            let gap = self.replaceable(desired, kind, error.gap()).await;
                            if is_of_all(&gap) {
                                return Err(gap);
                            }
                            Prediction::Refused(gap)
                        }
                        Verdict::Unknown => unverified(body, error.gap()),
                        Verdict::NotAsked => return Err(error.gap()),
                    };
                    return Ok(tried(prediction, conflicts, Vec::new()));
                }
            }
        }
        let message = "conflicts although forced".to_owned();
        Err(Gap { code: "CLUSTER/SERVER_ERROR".to_owned(), message })
    }

    /// A field that cannot change: before anybody is told that the object could be made anew, the server is asked whether
    /// it would take it then (A17). Otherwise the object would be deleted and could not be created.
    ///
    /// A server checks everything else before it says that the name is taken.
    async fn replaceable(&self, desired: &DesiredObject, kind: &ServedKind, gap: Gap) -> Gap {
        let body = desired.body();
        if gap.code != IMMUTABLE || body.annotation(REPLACE_ANNOTATION).is_none() {
            return gap;
        }
        let body = at_version(&body, kind);
        let query = [("fieldManager", FIELD_MANAGER), ("dryRun", "All")];
        let path = kind.path(body.namespace(), None) + &api::query(&query);
        match self.send(Verb::Create, &path, Some(body.value())).await {
            Ok(_) => gap,
            Err(error) if error.is_conflict() => gap,
            Err(error) => error.gap(),
        }
    }

    /// Tries a new object whose namespace comes with the same change: under another name in the namespace that every
    /// cluster has. Only what is wrong with the object itself counts; quotas, webhooks and permissions of that namespace
    /// say nothing of the other.
    async fn rehearse(
        &self,
        desired: &DesiredObject,
        kind: &ServedKind,
    ) -> Result<Observation, Gap> {
        let stand_in = format!("tidegate-{}", desired.digest.short());
        let mut body = at_version(&desired.body(), kind);
        body.set(&["metadata", "name"], json!(stand_in));
        body.set(&["metadata", "namespace"], json!(STAND_IN));
        let query = api::query(&[
            ("fieldManager", FIELD_MANAGER),
            ("force", "true"),
            ("dryRun", "All"),
            ("fieldValidation", "Strict"),
        ]);
        let path = kind.path(STAND_IN, Some(&stand_in)) + &query;
        let simulated = Prediction::Simulated(desired.stored().clone());
        let mut observation = observed(None, simulated);
        match self.send(Verb::Apply, &path, Some(body.value())).await {
            Ok(answer) => observation.warnings = answer.warnings,
            Err(error) if error.is_about_the_object() => {
                let Gap { code, message } = error.gap();
                let message = message.replace(&stand_in, &desired.reference.name);
                observation.predicted = Prediction::Refused(Gap { code, message });
            }
            Err(error) if error.verdict() == Verdict::NotAsked => return Err(error.gap()),
            Err(_) => {}
        }
        Ok(observation)
    }

    /// What is in a namespace, whoever made it: every object but those that belong to another one, and those that
    /// controllers put into each namespace. And the kinds that we may not list; but without claims nobody knows enough.
    pub(super) async fn contents(
        &self,
        namespace: &ObjectRef,
    ) -> Result<(Vec<ObjectRef>, Vec<String>), Gap> {
        let kinds = self.kinds.all_namespaced().await?;
        let asked: Vec<BoxFuture<'_, _>> = kinds
            .iter()
            .map(|kind| async move { (kind, self.contents_of_kind(namespace, kind).await) }.boxed())
            .collect();
        let answers: Vec<_> = futures::stream::iter(asked).buffer_unordered(WIDTH).collect().await;
        let (mut found, mut unlisted) = (BTreeSet::new(), BTreeSet::new());
        for (kind, answer) in answers {
            match answer {
                Ok(objects) => found.extend(objects),
                Err(gap) if gap.code == "CLUSTER/FORBIDDEN" && kind.kind != CLAIM => {
                    unlisted.insert(kind.kind.clone());
                }
                Err(gap) => return Err(gap),
            }
        }
        Ok((found.into_iter().collect(), unlisted.into_iter().collect()))
    }

    async fn contents_of_kind(
        &self,
        namespace: &ObjectRef,
        kind: &ServedKind,
    ) -> Result<Vec<ObjectRef>, Gap> {
        let items = match self.list(&kind.path(&namespace.name, None)).await {
            Ok(items) => items,
            // A resource that is not to be listed at all.
            Err(error) if error.is_method_unknown() => return Ok(Vec::new()),
            Err(error) => return Err(error.gap()),
        };
        let items = items.iter().filter(|item| is_somebodys(&kind.kind, item));
        let group = group_of(&kind.api_version);
        Ok(items.map(|item| self.reference(group, &kind.kind, item)).collect())
    }

    /// Whether the server has confirmed the pair. Most often the version tells; else the content, which stays when only
    /// status or bookkeeping changed.
    fn is_verified(&self, desired: &DesiredObject, live: &LiveObject) -> bool {
        let mut verified = self.verified();
        let Some(known) = verified.get_mut(&desired.reference) else { return false };
        if known.desired != desired.digest {
            return false;
        }
        let version = version(live);
        if known.version == version {
            return true;
        }
        let is_same = known.live == content(&live.read());
        if is_same {
            known.version = version;
        }
        is_same
    }

    /// Remembers a pair of which applying changes nothing, by the live object's content. What was tried of it before counts no
    /// more.
    fn verify(&self, desired: &DesiredObject, live: &LiveObject, known: Digest) {
        let (desired_digest, version) = (desired.digest.clone(), version(live));
        let pair = Verified { desired: desired_digest, live: known, version };
        self.verified().insert(desired.reference.clone(), pair);
        self.forget_answer(&desired.reference);
    }

    fn verified(&self) -> MutexGuard<'_, BTreeMap<ObjectRef, Verified>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What names the content of a live object.
pub(super) fn version(live: &LiveObject) -> String {
    format!("{}/{}", live.uid(), live.resource_version())
}

/// One object to be observed.
struct Task<'a> {
    reference: &'a ObjectRef,
    /// `apiVersion` at which it is, or was, written.
    version: &'a str,
    /// What is desired; `None` when it is ours and nobody wants it any more.
    object: Option<&'a DesiredObject>,
    /// As it is now.
    live: Result<Option<LiveObject>, Gap>,
}

/// Namespaces and kinds that come with the change.
struct Coming {
    /// Whether each is not there yet, by its name.
    namespaces: BTreeMap<String, Result<bool, Gap>>,
    /// By group and kind.
    kinds: BTreeSet<(String, String)>,
    /// Kinds that are there and whose versions or schemas the change alters: what the server says of their objects now
    /// is not what it will say.
    changing: BTreeSet<(String, String)>,
}

impl Coming {
    fn of(desired: &[&DesiredObject]) -> Self {
        let definitions = desired.iter().filter(|object| object.reference.kind == DEFINITION);
        let text = |object: &DesiredObject, pointer| object.body().text(pointer).to_owned();
        Self {
            namespaces: BTreeMap::new(),
            kinds: definitions
                .map(|object| (text(object, "/spec/group"), text(object, "/spec/names/kind")))
                .collect(),
            changing: BTreeSet::new(),
        }
    }

    /// Learns which namespaces are not there yet.
    fn note_absent_namespaces<'a>(
        &mut self,
        found: impl Iterator<Item = (&'a &'a ObjectRef, &'a Result<Option<LiveObject>, Gap>)>,
    ) {
        for (reference, found) in found.filter(|(reference, _)| is_namespace(reference)) {
            let is_absent = found.as_ref().map(Option::is_none);
            self.namespaces.insert(reference.name.clone(), is_absent.map_err(Clone::clone));
        }
    }

    /// Whether the object's namespace does not exist yet but comes with the same change.
    fn has_absent_namespace(&self, reference: &ObjectRef) -> Result<bool, Gap> {
        self.namespaces.get(&reference.namespace).cloned().unwrap_or(Ok(false))
    }

    /// Learns from the definitions that were observed which of them change.
    fn note_changes(&mut self, observed: &BTreeMap<ObjectRef, Observation>) {
        for (_, observation) in observed.iter().filter(|(it, _)| it.kind == DEFINITION) {
            let Prediction::Exact(predicted) = &observation.predicted else { continue };
            let Some(live) = observation.live() else { continue };
            let versions = |object: &Object| object.get("/spec/versions").cloned();
            if versions(&live) != versions(&predicted.read()) {
                let text = |pointer| live.text(pointer).to_owned();
                self.changing.insert((text("/spec/group"), text("/spec/names/kind")));
            }
        }
    }
}

/// Whether a gap is one of the server, so that it concerns everything in it.
fn is_of_all(gap: &Gap) -> bool {
    matches!(gap.code.as_str(), "CLUSTER/UNREACHABLE" | "CLUSTER/BUSY")
}

/// Whether a gap will pass. Then the whole cluster waits for it: a plan without what the server could not say just now would
/// leave out a part that others need, such as the account of an app's pods.
fn is_passing(gap: &Gap) -> bool {
    is_of_all(gap) || gap.code == "CLUSTER/SERVER_ERROR"
}

pub(super) fn is_namespace(reference: &ObjectRef) -> bool {
    reference.kind == "Namespace" && reference.group.is_empty()
}

/// Whether somebody made an object for itself: it belongs to no other, and is none that each namespace has.
fn is_somebodys(kind: &str, item: &Object) -> bool {
    let owners = item.get("/metadata/ownerReferences").and_then(Value::as_array);
    let is_kept_by_controllers = match kind {
        "Event" | "Endpoints" | "EndpointSlice" | "Lease" => true,
        "ServiceAccount" => item.name() == "default",
        "ConfigMap" => item.name() == "kube-root-ca.crt",
        "Secret" => item.text("/type") == "kubernetes.io/service-account-token",
        _ => false,
    };
    owners.is_none_or(Vec::is_empty) && !is_kept_by_controllers
}

pub(super) fn observed(live: Option<LiveObject>, prediction: Prediction) -> Observation {
    let (conflicts, warnings, holds) = (Vec::new(), Vec::new(), Vec::new());
    Observation { live, predicted: prediction, conflicts, warnings, holds }
}

fn unverified(body: &Object, gap: Gap) -> Prediction {
    Prediction::Unverified(body.into(), gap)
}

/// When the other managers last wrote, from the live object's own records.
fn since(
    mut conflicts: Vec<tidegate_core::live::Conflict>,
    live: Option<&Object>,
) -> Vec<tidegate_core::live::Conflict> {
    for conflict in &mut conflicts {
        let mut managers = live.into_iter().flat_map(Object::managers);
        let own = managers.find(|entry| text_of(entry, "manager") == conflict.manager);
        let time = own.and_then(|entry| entry.get("time")?.as_str());
        if let Some(time) = time {
            conflict.since = Some(time.to_owned());
        }
    }
    conflicts
}

/// The digest of what matters to a comparison: without status and the server's own bookkeeping, so that a pod coming and
/// going does not make us ask again.
pub(super) fn content(object: &Object) -> Digest {
    let mut value = object.value().clone();
    if let Some(map) = value.as_object_mut() {
        map.remove("status");
    }
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        for noise in ["managedFields", "resourceVersion", "generation"] {
            metadata.remove(noise);
        }
    }
    Digest::of(&value)
}
