//! Steps that apply, await and delete objects; Jobs among them.

use jiff::Timestamp;
use serde_json::Value;
use tidegate_schema::finding::Finding;

use super::terms::{self, terms};
use super::{Decision, Effect, Observed, StepState, Work, after, change_of, failure, live_changed};
use crate::driver;
use crate::health::{Health, health, health_by};
use crate::object::{Object, ObjectRef};
use crate::plan::{Step, StepKind};
use crate::pod::{Pod, Trouble, TroubleKind};
use crate::release::{Event, Failure, PodFailure};

/// So long pods may be in trouble that others of the step may still take from them.
const PATIENCE_SECONDS: u64 = 60;

/// A whole step of objects, to its end or its timeout.
pub(super) fn decide(
    work: Work<'_>,
    step: &Step,
    own: &StepState,
    observed: &Observed,
    now: Timestamp,
) -> Decision {
    until_done(step, own, observed, now, decide_objects(work, step, own, observed, now))
}

/// A step that is done when nothing is left to do, and fails when that takes too long.
pub(super) fn until_done(
    step: &Step,
    own: &StepState,
    observed: &Observed,
    now: Timestamp,
    left: Option<Decision>,
) -> Decision {
    let Some(decision) = left else {
        return Decision::event(Event::StepDone { step: step.id.clone() });
    };
    let deadline = after(own.started_at, step.timeout_seconds);
    if decision.events.is_empty() && now >= deadline {
        let failure = failure::timeout(&decision.waits, step.timeout_seconds);
        let failure = Failure { pods: unready(step, observed), ..failure };
        return Decision::event(Event::StepFailed { step: step.id.clone(), group: None, failure });
    }
    decision.and(Decision { next: Some(deadline), ..Decision::default() })
}

/// What is left to do with the step's objects (its workload, if it has groups, apart); `None` when all are applied,
/// healthy, and gone where they should be.
pub(super) fn decide_objects(
    work: Work<'_>,
    step: &Step,
    own: &StepState,
    observed: &Observed,
    now: Timestamp,
) -> Option<Decision> {
    let workload = step.rollout.as_ref().map(|rollout| &rollout.workload);
    let wanted = || step.apply.iter().chain(&step.replace).filter(|it| Some(*it) != workload);
    if let Some(refused) = refused(step, observed) {
        return Some(refused);
    }
    if let Some(remade) =
        wanted().find_map(|reference| remade(work, step, own, reference, observed))
    {
        return Some(remade);
    }
    let run = run(wanted().filter(|reference| !own.applied.contains(*reference)));
    if !run.is_empty() {
        return unestablished(wanted(), own, observed)
            .or_else(|| Some(apply(work, step, run, observed)));
    }
    let since = own.retry_at.unwrap_or(own.started_at);
    let is_patient = now < after(since, PATIENCE_SECONDS);
    let unhealthy =
        wanted().find_map(|reference| awaited(work, step, reference, observed, is_patient));
    unhealthy.or_else(|| prune(step, own, observed))
}

fn apply(work: Work<'_>, step: &Step, run: Vec<&ObjectRef>, observed: &Observed) -> Decision {
    let mut decision = Decision::default();
    for reference in run {
        let finding = Finding::note("RELEASE/APPLYING").with("object", reference.to_string());
        let own = if must_go_first(step, reference, observed) {
            Decision::deletion(step, reference, observed, finding)
        } else if let Some(desired) = work.desired.object(reference) {
            write(work, step, reference, (&desired.body(), true), observed, finding)
        } else if reference.is_node() {
            let bare = Object::node(&reference.name);
            write(work, step, reference, (&bare, true), observed, finding)
        } else {
            continue;
        };
        decision = decision.and(own);
    }
    decision
}

/// Writes a form of an object (and whether it is the final one), if the object is as it was approved. What the server
/// said of fields that others have taken meanwhile is told instead of `finding`, and asked again after a while.
pub(super) fn write(
    work: Work<'_>,
    step: &Step,
    reference: &ObjectRef,
    form: (&Object, bool),
    observed: &Observed,
    finding: Finding,
) -> Decision {
    let Some(terms) = terms(work, step, reference, form, observed.object(reference)) else {
        return Decision::wait(live_changed(step, reference, ""));
    };
    let taken = observed.failures.get(reference).map(|failure| &failure.conflicts);
    let taken = taken.into_iter().flatten().map(|it| format!("{} ({})", it.field, it.manager));
    let taken = taken.collect::<Vec<_>>().join(", ");
    let finding = if taken.is_empty() { finding } else { live_changed(step, reference, &taken) };
    let effect = Effect::Apply {
        step: step.id.clone(),
        reference: reference.clone(),
        object: form.0.clone(),
        is_final: form.1,
        terms: Box::new(terms),
    };
    Decision::effects(vec![effect], finding)
}

/// Whether somebody has made, since the step began, what was approved as a creation.
pub(super) fn is_taken(work: Work<'_>, reference: &ObjectRef, observed: &Observed) -> bool {
    let change = change_of(work.plan, reference);
    change
        .zip(observed.object(reference))
        .is_some_and(|(change, live)| terms::is_taken(change, live))
}

/// A replaced object goes while it is still the one that we made: its successor has another uid.
fn must_go_first(step: &Step, reference: &ObjectRef, observed: &Observed) -> bool {
    step.replace.contains(reference)
        && observed
            .object(reference)
            .is_some_and(|live| observed.uids.get(reference).is_some_and(|uid| uid == live.uid()))
}

/// Custom resource definitions are established, and namespaces exist, before anything that may need them (A7).
fn unestablished<'a>(
    wanted: impl Iterator<Item = &'a ObjectRef>,
    own: &StepState,
    observed: &Observed,
) -> Option<Decision> {
    wanted
        .filter(|reference| own.applied.contains(*reference))
        .filter(|reference| reference.kind == "CustomResourceDefinition")
        .find_map(|reference| match observed.object(reference).map(health) {
            Some(Health::Healthy) => None,
            _ => Some(waiting(reference, "is not established")),
        })
}

/// A Job that failed before the last retry goes and is made anew: of itself it never starts again (Kubernetes, "Jobs").
fn remade(
    work: Work<'_>,
    step: &Step,
    own: &StepState,
    reference: &ObjectRef,
    observed: &Observed,
) -> Option<Decision> {
    let failed = observed.uids.get(reference).filter(|uid| own.remake.contains(*uid))?;
    if reference.kind != "Job" {
        return None;
    }
    let finding = Finding::note("RELEASE/REMAKING").with("app", reference.to_string());
    let is_there = observed.object(reference).is_some_and(|live| live.uid() == failed);
    if is_there {
        return Some(Decision::deletion(step, reference, observed, finding));
    }
    let desired = work.desired.object(reference)?.body();
    Some(write(work, step, reference, (&desired, true), observed, finding))
}

fn waiting(reference: &ObjectRef, what: &str) -> Decision {
    let finding = Finding::note("RELEASE/AWAIT_HEALTH");
    Decision::wait(finding.with("object", reference.to_string()).with("reason", what))
}

/// What is not ready of the step's objects: what a person looks at first when a step took too long (A33).
fn unready(step: &Step, observed: &Observed) -> Vec<PodFailure> {
    let wanted = step.apply.iter().chain(&step.replace).chain(&step.offline);
    let pods = wanted.flat_map(|reference| {
        let is_job = reference.kind == "Job";
        observed.pods(reference).iter().filter(move |pod| is_job || !pod.is_ready())
    });
    failure::all(pods)
}

fn awaited(
    work: Work<'_>,
    step: &Step,
    reference: &ObjectRef,
    observed: &Observed,
    is_patient: bool,
) -> Option<Decision> {
    let Some(live) = observed.object(reference) else {
        return Some(waiting(reference, "has not been seen yet"));
    };
    match health_by(&work.desired.health, live) {
        Health::Healthy if is_unprovided(work, live, reference) => {
            Some(waiting(reference, "is pending: no volume fits it, and its class binds at once"))
        }
        Health::Healthy => None,
        Health::Progressing(what) => Some(
            in_trouble(step, live, reference, observed, is_patient)
                .unwrap_or_else(|trouble| waiting(reference, &[what.as_str(), &trouble].concat())),
        ),
        Health::Failed(why) => {
            let pods = failure::pods(observed.pods(reference).iter());
            let is_job = matches!(step.kind, StepKind::Job(_));
            let code = if is_job { "RELEASE/JOB_FAILED" } else { "RELEASE/OBJECT_FAILED" };
            let job = is_job.then(|| live.uid().to_owned());
            let failure = Failure { job, ..failure::of(code, reference, &why, pods) };
            Some(Decision::event(Event::StepFailed { step: step.id.clone(), group: None, failure }))
        }
    }
}

/// A claim that is pending although its class does not wait for a consumer: nobody makes its volume. Known of classes that
/// are in the documents.
fn is_unprovided(work: Work<'_>, live: &Object, reference: &ObjectRef) -> bool {
    if reference.kind != "PersistentVolumeClaim" || live.text("/status/phase") != "Pending" {
        return false;
    }
    let class = ObjectRef {
        cluster: reference.cluster.clone(),
        group: "storage.k8s.io".to_owned(),
        kind: "StorageClass".to_owned(),
        namespace: String::new(),
        name: live.text("/spec/storageClassName").to_owned(),
    };
    let class = work.desired.object(&class);
    class.is_some_and(|class| class.body().text("/volumeBindingMode") != "WaitForFirstConsumer")
}

/// An object on its way whose pods will not come up ends the step before its timeout (A37); else what troubles them, as it
/// is told beside what is awaited.
fn in_trouble(
    step: &Step,
    live: &Object,
    reference: &ObjectRef,
    observed: &Observed,
    is_patient: bool,
) -> Result<Decision, String> {
    // Pods of an earlier revision may well be in trouble: that is what this release mends.
    let revision = driver::revision(live);
    let current: Vec<&Pod> =
        observed.pods(reference).iter().filter(|pod| pod.revision == revision).collect();
    let troubles = || current.iter().filter_map(|pod| Some((*pod, pod.trouble.as_ref()?)));
    // A Job starts its pods again by its own rule, and says itself when it gives up.
    let is_hopeless = |trouble: &Trouble| match trouble.kind {
        TroubleKind::Image => true,
        TroubleKind::Broken => {
            let is_tried_again = matches!(trouble.reason.as_str(), "CrashLoopBackOff" | "Failed");
            reference.kind != "Job" || !is_tried_again
        }
        TroubleKind::Unschedulable => false,
    };
    let hopeless = troubles().find(|(_, trouble)| is_hopeless(trouble));
    if let Some((_, trouble)) = hopeless.filter(|_| !is_patient) {
        let code = match trouble.kind {
            TroubleKind::Image => "RELEASE/IMAGE_PULL_FAILS",
            TroubleKind::Broken | TroubleKind::Unschedulable => "RELEASE/POD_CRASHES",
        };
        let failing = troubles().map(|(pod, _)| pod);
        let failure = failure::group(code, reference, step.timeout_seconds, failing);
        return Ok(Decision::event(Event::StepFailed {
            step: step.id.clone(),
            group: None,
            failure,
        }));
    }
    let told = troubles().next().map(|(pod, trouble)| {
        format!("; {}: {} {}", pod.name, trouble.reason, trouble.message).trim_end().to_owned()
    });
    Err(told.unwrap_or_default())
}

/// What the server refused for good ends the step; what may pass is tried again until the timeout.
pub(super) fn refused(step: &Step, observed: &Observed) -> Option<Decision> {
    step.objects()
        .filter_map(|reference| Some((reference, observed.failures.get(reference)?)))
        .find(|(_, failure)| !failure.is_transient)
        .map(|(reference, refused)| {
            let failure = failure::of(&refused.code, reference, &refused.message, Vec::new());
            Decision::event(Event::StepFailed { step: step.id.clone(), group: None, failure })
        })
}

fn prune(step: &Step, own: &StepState, observed: &Observed) -> Option<Decision> {
    let run = run(step.prune.iter().filter(|reference| !own.pruned.contains(*reference)));
    let is_gone = |reference: &&&ObjectRef| is_gone(reference, observed);
    let gone: Vec<_> = run.iter().filter(is_gone).map(|it| ObjectRef::clone(it)).collect();
    if !gone.is_empty() {
        let step = step.id.clone();
        return Some(Decision::event(Event::ObjectsPruned { step, objects: gone }));
    }
    let deletion = |reference: &ObjectRef| {
        let finding = Finding::note("RELEASE/DELETING").with("object", reference.to_string());
        let held = observed.object(reference).map(held_by).unwrap_or_default();
        Decision::deletion(step, reference, observed, finding.with("finalizers", held))
    };
    run.into_iter().map(deletion).reduce(Decision::and)
}

/// What may go side by side: the first ones, of one kind.
pub(super) fn run<'a>(objects: impl Iterator<Item = &'a ObjectRef>) -> Vec<&'a ObjectRef> {
    let mut objects = objects.peekable();
    let Some(first) = objects.peek().copied() else { return Vec::new() };
    objects.take_while(|it| (&it.group, &it.kind) == (&first.group, &first.kind)).collect()
}

/// What holds a deletion back: finalizers, and what a namespace says of what is left in it.
fn held_by(live: &Object) -> String {
    let texts = |value: Option<&Value>| -> Vec<String> {
        let items = value.and_then(Value::as_array).into_iter().flatten();
        items.filter_map(Value::as_str).map(ToOwned::to_owned).collect()
    };
    let mut held = texts(live.get("/metadata/finalizers"));
    let conditions = live.get("/status/conditions").and_then(Value::as_array);
    for condition in conditions.into_iter().flatten().filter(|_| live.kind() == "Namespace") {
        let text = |key: &str| condition.get(key).and_then(Value::as_str).unwrap_or_default();
        if text("type").starts_with("Namespace") && text("status") == "True" {
            held.push(text("message").to_owned());
        }
    }
    held.join("; ")
}

/// Ours is gone when nothing stands there, or something that somebody else made meanwhile.
fn is_gone(reference: &ObjectRef, observed: &Observed) -> bool {
    let is_another = || {
        let live = observed.object(reference)?;
        Some(observed.uids.get(reference)? != live.uid())
    };
    observed.is_absent(reference) || is_another().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;
    use tidegate_schema::product::HealthRule;

    use super::*;
    use crate::desired::{DesiredObject, DesiredState, Layer, Owner};
    use crate::object::{PROPAGATION_ANNOTATION, Propagation, REVISION};
    use crate::progress::{Effect, Seen};

    fn step(reference: &ObjectRef) -> Step {
        Step {
            id: "all/room-a/web".to_owned(),
            kind: StepKind::Prune,
            cluster: "room-a".to_owned(),
            product: None,
            needs: Vec::new(),
            apply: Vec::new(),
            replace: Vec::new(),
            offline: Vec::new(),
            prune: vec![reference.clone()],
            zones: Vec::new(),
            rollout: None,
            drain: None,
            operations: Vec::new(),
            timeout_seconds: 60,
        }
    }

    fn desired(body: &Object) -> DesiredObject {
        let owner = Owner {
            solution: None,
            product: None,
            app: None,
            scaling_group: None,
            access: None,
            layer: Layer::Support,
        };
        DesiredObject::new(body.reference("room-a"), body, owner, None)
    }

    fn pruned(metadata: &Value, uid: &str) -> Decision {
        let live = Object::new(json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": metadata,
        }));
        let reference = live.reference("room-a");
        let objects = [(reference.clone(), Seen::Present(live))].into_iter().collect();
        let uids = [(reference.clone(), uid.to_owned())].into_iter().collect();
        let observed = Observed { objects, uids, ..Observed::default() };
        prune(&step(&reference), &StepState::started(Timestamp::UNIX_EPOCH), &observed).unwrap()
    }

    #[test]
    fn what_is_being_deleted_is_waited_for_and_not_deleted_again() {
        let decided = |metadata| {
            let decision = pruned(&metadata, "1");
            (decision.effects.len(), decision.waits.len())
        };
        assert_eq!(decided(json!({"name": "web", "uid": "1"})), (1, 1));
        let going = json!({"name": "web", "uid": "1", "deletionTimestamp": "2026-03-02T09:00:00Z"});
        assert_eq!(decided(going), (0, 1));
    }

    #[rstest]
    #[case::without_a_word(json!({}), Propagation::Background)]
    #[case::they_stay(json!({PROPAGATION_ANNOTATION: "orphan"}), Propagation::Orphan)]
    #[case::they_go_first(json!({PROPAGATION_ANNOTATION: "foreground"}), Propagation::Foreground)]
    #[case::a_word_that_is_none(json!({PROPAGATION_ANNOTATION: "x"}), Propagation::Background)]
    fn an_object_is_deleted_as_it_says(#[case] annotations: Value, #[case] wanted: Propagation) {
        let metadata = json!({"name": "web", "uid": "1", "annotations": annotations});
        let effects = pruned(&metadata, "1").effects;
        let [Effect::Delete { propagation, .. }] = effects.as_slice() else {
            panic!("{effects:?}")
        };
        assert_eq!(*propagation, wanted);
    }

    #[test]
    fn what_holds_a_deletion_back_is_named_until_the_deadline_and_in_the_failure() {
        let live = Object::new(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
            "name": "web", "namespace": "shop", "uid": "1", "finalizers": ["example.org/hold"],
            "deletionTimestamp": "2026-03-02T09:00:00Z"}}));
        let reference = live.reference("room-a");
        let objects = [(reference.clone(), Seen::Present(live))].into_iter().collect();
        let uids = [(reference.clone(), "1".to_owned())].into_iter().collect();
        let observed = Observed { objects, uids, ..Observed::default() };
        let own = StepState::started(Timestamp::UNIX_EPOCH);
        let (step, state) = (step(&reference), DesiredState::default());
        let plan = crate::progress::tests::empty_plan();
        let work = Work { plan: &plan, desired: &state, before: &state };
        let decided =
            |seconds| decide(work, &step, &own, &observed, after(own.started_at, seconds));
        let waits = decided(59).waits;
        assert!(waits[0].args["finalizers"].contains("example.org/hold"), "{waits:?}");
        let events = decided(60).events;
        let [Event::StepFailed { failure, .. }] = events.as_slice() else {
            panic!("{events:?}");
        };
        assert!(failure.args["reason"].contains("example.org/hold"), "{failure:?}");
    }

    /// A kind has begun to go when the first of it went; the next kind waits until the last of it is gone.
    #[test]
    fn objects_of_one_kind_go_side_by_side_and_one_kind_after_the_other() {
        let object = |kind: &str, name: &str| {
            Object::new(json!({"apiVersion": "v1", "kind": kind,
                "metadata": {"name": name, "namespace": "shop", "uid": name}}))
        };
        let all = [object("Service", "a"), object("ConfigMap", "b"), object("ConfigMap", "c")];
        let references: Vec<_> = all.iter().map(|it| it.reference("room-a")).collect();
        let step = Step { prune: references.clone(), ..step(&references[0]) };
        let decided = |gone: &[&str], pruned: &[&str]| {
            let is = |names: &[&str], object: &Object| names.contains(&object.name());
            let seen = all.iter().map(|object| {
                let there = || Seen::Present(object.clone());
                let seen = if is(gone, object) { Seen::Absent } else { there() };
                (object.reference("room-a"), seen)
            });
            let uids = references.iter().map(|it| (it.clone(), it.name.clone())).collect();
            let observed = Observed { objects: seen.collect(), uids, ..Observed::default() };
            let mut own = StepState::started(Timestamp::UNIX_EPOCH);
            own.pruned =
                references.iter().filter(|it| pruned.contains(&&*it.name)).cloned().collect();
            let decision = prune(&step, &own, &observed).unwrap();
            let of_effects = decision.effects.iter().map(|effect| {
                let Effect::Delete { reference, .. } = effect else { panic!("{effect:?}") };
                format!("delete {}", reference.name)
            });
            let of_events = decision.events.iter().map(|event| {
                let Event::ObjectsPruned { objects, .. } = event else { panic!("{event:?}") };
                let names: Vec<_> = objects.iter().map(|it| it.name.as_str()).collect();
                format!("gone {}", names.join(" "))
            });
            of_effects.chain(of_events).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(decided(&[], &[]), "delete a");
        assert_eq!(decided(&["a"], &[]), "gone a");
        assert_eq!(decided(&["a"], &["a"]), "delete b, delete c");
        assert_eq!(decided(&["a", "c"], &["a"]), "gone c", "although the one before it hangs");
        assert_eq!(decided(&["a", "c"], &["a", "c"]), "delete b");
    }

    #[test]
    fn a_successor_of_somebody_else_is_left_alone() {
        let decision = pruned(&json!({"name": "web", "uid": "2"}), "1");
        assert!(decision.effects.is_empty(), "{decision:?}");
        assert!(matches!(decision.events.as_slice(), [Event::ObjectsPruned { .. }]));
    }

    /// A step with one object whose pods are as given, so many seconds after its start.
    fn awaiting(live: Object, pods: &[Value], seconds: u64) -> Decision {
        let reference = live.reference("room-a");
        let (kind, prune) = (StepKind::Objects(Layer::Workload), Vec::new());
        let step = Step {
            kind,
            prune,
            apply: vec![reference.clone()],
            timeout_seconds: 600,
            ..step(&reference)
        };
        let mut own = StepState::started(Timestamp::UNIX_EPOCH);
        own.applied.insert(reference.clone());
        let pods = pods.iter().map(|status| {
            Pod::of(&Object::new(json!({"status": status, "metadata": {
                "name": "p", "namespace": "shop", "uid": "1", "annotations": {REVISION: "new"}}})))
        });
        let observed = Observed {
            objects: [(reference.clone(), Seen::Present(live))].into_iter().collect(),
            pods: [(reference, pods.collect())].into_iter().collect(),
            ..Observed::default()
        };
        let plan = crate::progress::tests::empty_plan();
        let rule: HealthRule = serde_json::from_value(json!({"group": "example.org",
            "kind": "Database", "failed": "object.status.phase == 'Broken'"}))
        .unwrap();
        let state = DesiredState { health: vec![rule], ..DesiredState::default() };
        let work = Work { plan: &plan, desired: &state, before: &state };
        decide(work, &step, &own, &observed, after(own.started_at, seconds))
    }

    fn workload(kind: &str, revision: &str) -> Object {
        let api = if kind == "Job" { "batch/v1" } else { "apps/v1" };
        let annotations = if kind == "Job" { json!({}) } else { json!({REVISION: revision}) };
        Object::new(
            json!({"apiVersion": api, "kind": kind, "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"replicas": 1, "template": {"metadata": {"annotations": annotations}}}}),
        )
    }

    fn waiting_for(reason: &str) -> Value {
        json!({"phase": "Pending", "containerStatuses": [
            {"state": {"waiting": {"reason": reason, "message": "no such thing"}}}]})
    }

    #[rstest]
    #[case::an_image("Deployment", "ImagePullBackOff", Some("RELEASE/IMAGE_PULL_FAILS"))]
    #[case::a_crash("Deployment", "CrashLoopBackOff", Some("RELEASE/POD_CRASHES"))]
    #[case::a_crash_of_a_task("Job", "CrashLoopBackOff", None)]
    fn pods_that_will_not_come_up_end_the_step_before_its_timeout(
        #[case] kind: &str,
        #[case] reason: &str,
        #[case] code: Option<&str>,
    ) {
        let mut live = workload(kind, "new");
        if kind == "Job" {
            live.set(
                &["spec", "template"],
                json!({"metadata": {"annotations": {REVISION: "new"}}}),
            );
        }
        let decided = |seconds| awaiting(live.clone(), &[waiting_for(reason)], seconds);
        let early = decided(59);
        assert!(early.events.is_empty());
        assert!(early.waits[0].args["reason"].contains(reason), "{:?}", early.waits);
        let failure = decided(60).events.into_iter().find_map(|event| {
            let Event::StepFailed { failure, .. } = event else { return None };
            Some(failure)
        });
        assert_eq!(failure.as_ref().map(|failure| failure.code.as_str()), code);
        assert!(failure.is_none_or(|failure| failure.pods[0].reason == reason));
    }

    #[test]
    fn pods_that_the_release_replaces_may_be_in_trouble() {
        let decision =
            awaiting(workload("Deployment", "newer"), &[waiting_for("CrashLoopBackOff")], 300);
        assert!(decision.events.is_empty(), "{decision:?}");
    }

    #[rstest]
    #[case::at_once(json!({}), true)]
    #[case::at_first_use(json!({"volumeBindingMode": "WaitForFirstConsumer"}), false)]
    fn a_claim_that_nobody_provides_holds_its_step(#[case] rest: Value, #[case] is_held: bool) {
        let mut class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
            "metadata": {"name": "local"}, "provisioner": "kubernetes.io/no-provisioner"});
        class.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        let claim = Object::new(json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data", "namespace": "shop"},
            "spec": {"storageClassName": "local"}, "status": {"phase": "Pending"}}));
        let mut state = DesiredState::default();
        state.objects.push(desired(&Object::new(class)));
        let reference = claim.reference("room-a");
        let step = Step { apply: vec![reference.clone()], prune: Vec::new(), ..step(&reference) };
        let mut own = StepState::started(Timestamp::UNIX_EPOCH);
        own.applied.insert(reference.clone());
        let objects = [(reference, Seen::Present(claim))].into_iter().collect();
        let observed = Observed { objects, ..Observed::default() };
        let plan = crate::progress::tests::empty_plan();
        let work = Work { plan: &plan, desired: &state, before: &state };
        let decision = decide(work, &step, &own, &observed, after(own.started_at, 1));
        assert_eq!(decision.waits.iter().any(|it| it.code == "RELEASE/AWAIT_HEALTH"), is_held);
    }

    #[test]
    fn a_conflict_that_nobody_approved_is_told_with_field_and_manager() {
        let body = workload("Deployment", "new");
        let reference = body.reference("room-a");
        let step = Step { apply: vec![reference.clone()], prune: Vec::new(), ..step(&reference) };
        let mut state = DesiredState::default();
        state.objects.push(desired(&body));
        let failure = crate::progress::EffectFailure {
            code: "CLUSTER/CONFLICT".to_owned(),
            message: "Apply failed with 1 conflict".to_owned(),
            is_transient: true,
            conflicts: vec![crate::live::Conflict {
                field: ".spec.replicas".to_owned(),
                manager: "hpa".to_owned(),
                since: None,
            }],
        };
        let failures = [(reference, failure)].into_iter().collect();
        let observed = Observed { failures, ..Observed::default() };
        let own = StepState::started(Timestamp::UNIX_EPOCH);
        let plan = crate::progress::tests::empty_plan();
        let work = Work { plan: &plan, desired: &state, before: &state };
        let decision = decide(work, &step, &own, &observed, after(own.started_at, 1));
        assert_eq!(decision.waits[0].code, "APPROVAL/LIVE_CHANGED");
        assert_eq!(decision.waits[0].args["fields"], ".spec.replicas (hpa)");
        assert_eq!(decision.effects.len(), 1, "it is asked again after a while");
        let late = decide(work, &step, &own, &observed, after(own.started_at, 60)).events;
        let [Event::StepFailed { failure, .. }] = late.as_slice() else { panic!("{late:?}") };
        assert!(failure.args["reason"].contains(".spec.replicas (hpa)"), "{failure:?}");
    }

    #[test]
    fn a_rule_of_the_documents_judges_kinds_of_others() {
        let database = |phase: &str| {
            Object::new(json!({"apiVersion": "example.org/v1", "kind": "Database",
                "metadata": {"name": "x", "namespace": "shop"}, "status": {"phase": phase}}))
        };
        let decided = |phase: &str| awaiting(database(phase), &[], 1).events;
        assert!(matches!(decided("Running").as_slice(), [Event::StepDone { .. }]));
        assert!(matches!(decided("Broken").as_slice(), [Event::StepFailed { .. }]));
    }

    #[test]
    fn a_job_that_does_not_end_fails_at_the_timeout_with_its_pods() {
        let running =
            json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
        let decision = awaiting(workload("Job", ""), &[running], 600);
        let [Event::StepFailed { failure, .. }] = decision.events.as_slice() else {
            panic!("{decision:?}");
        };
        assert_eq!(failure.code, "RELEASE/STEP_TIMEOUT");
        assert_eq!(failure.pods[0].pod, "shop/p");
    }
}
