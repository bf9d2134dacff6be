//! Uninstalling: first the pods go, then a person looks, then the objects are deleted; until then it can come back.

use super::*;
use crate::diff::diff;
use crate::diff::tests::{empty_cluster, observation};
use crate::live::{ClusterObservation, Inventory, InventoryEntry, LiveState, Prediction};

const OFFLINE: &str = "offline/room-a/iam.offline";
const PRUNE: &str = "prune/room-a/iam.prune";

fn body(kind: &str) -> Object {
    let spec = match kind {
        "Service" => json!({"selector": {"a": "b"}}),
        "DaemonSet" => {
            json!({"template": {"metadata": {"annotations": {REVISION: "old"}}, "spec": {}}})
        }
        _ => json!({"replicas": 3, "template": {"metadata": {"annotations": {REVISION: "old"}}}}),
    };
    let version = if kind == "Service" { "v1" } else { "apps/v1" };
    Object::new(json!({"apiVersion": version, "kind": kind,
        "metadata": {"name": "core", "namespace": "iam"}, "spec": spec}))
}

fn is_workload(object: &Object) -> bool {
    object.group() == "apps"
}

/// A cluster with a product that goes, and the release that removes it.
struct Site {
    plan: Plan,
    before: DesiredState,
    objects: BTreeMap<ObjectRef, Object>,
    /// How many pods each workload has; they take a round each to go.
    pods: BTreeMap<ObjectRef, u32>,
    events: Vec<ReleaseEvent>,
    now: Timestamp,
    deleted: Vec<ObjectRef>,
}

impl Site {
    fn new(kind: &str) -> Self {
        let (mut objects, mut pods) = (BTreeMap::new(), BTreeMap::new());
        let mut before = DesiredState::default();
        for kind in [kind, "Service"] {
            let desired = body(kind);
            let reference = desired.reference("room-a");
            let mut live = desired.clone();
            live.set(&["metadata", "uid"], json!(kind));
            live.set(&["metadata", "generation"], json!(1));
            live.set(
                &["status"],
                json!({"observedGeneration": 1, "replicas": 3,
                "readyReplicas": 3, "updatedReplicas": 3, "availableReplicas": 3}),
            );
            let owner = Owner {
                solution: None,
                product: Some("iam".to_owned()),
                app: None,
                scaling_group: None,
                access: None,
                layer: Layer::Workload,
            };
            before.objects.push(DesiredObject::new(reference.clone(), &desired, owner, None));
            if is_workload(&live) {
                pods.insert(reference.clone(), 3);
            }
            objects.insert(reference, live);
        }
        before.objects.sort_by(|left, right| left.reference.cmp(&right.reference));
        let mut site = Self {
            plan: empty_plan(),
            before,
            objects,
            pods,
            events: Vec::new(),
            now: "2026-11-21T10:00:00Z".parse().unwrap(),
            deleted: Vec::new(),
        };
        site.plan.content.changes = site.changes();
        let workloads: Vec<ObjectRef> = site.pods.keys().cloned().collect();
        let step = |id: &str, kind, offline, prune| Step {
            id: id.to_owned(),
            kind,
            cluster: "room-a".to_owned(),
            product: Some("iam".to_owned()),
            needs: Vec::new(),
            apply: Vec::new(),
            replace: Vec::new(),
            offline,
            prune,
            zones: Vec::new(),
            rollout: None,
            drain: None,
            operations: Vec::new(),
            timeout_seconds: 60,
        };
        let wave = |name: &str, confirm, step| Wave {
            name: name.to_owned(),
            clusters: vec!["room-a".to_owned()],
            bake_seconds: 30,
            confirm,
            steps: vec![step],
        };
        let all = site.objects.keys().cloned().collect();
        site.plan.content.waves = vec![
            wave("offline", true, step(OFFLINE, StepKind::Offline, workloads, Vec::new())),
            wave("prune", false, step(PRUNE, StepKind::Prune, Vec::new(), all)),
        ];
        site
    }

    /// What an empty set of documents makes of it.
    fn changes(&self) -> ChangeSet {
        let (mut inventory, mut observed) = (Inventory::default(), BTreeMap::new());
        for (reference, live) in &self.objects {
            let desired = self.before.object(reference).unwrap();
            let entry = InventoryEntry {
                api_version: live.api_version().to_owned(),
                uid: Some(live.uid().to_owned()),
                applied: Some(desired.digest.clone()),
                owner: desired.owner.clone(),
                kept: false,
                adopted: None,
            };
            inventory.entries.insert(reference.clone(), entry);
            let observation = observation(Some(live), Prediction::NotDesired);
            observed.insert(reference.clone(), observation);
        }
        let cluster = ClusterObservation { objects: observed, ..empty_cluster() };
        let live = LiveState { clusters: BTreeMap::from([("room-a".to_owned(), cluster)]) };
        diff(&DesiredState::default(), &live, &inventory, &BTreeMap::new())
    }

    fn state(&self) -> ReleaseState {
        ReleaseState::of(&self.events)
    }

    fn observed(&self) -> Observed {
        let references = self.before.objects.iter().map(|object| &object.reference);
        let seen = references.clone().map(|reference| {
            let there = self.objects.get(reference).cloned();
            (reference.clone(), there.map_or(Seen::Absent, Seen::Present))
        });
        let pods = self.pods.iter().map(|(reference, count)| {
            let pod = |number| {
                Pod::of(&Object::new(json!({"metadata": {"name": format!("core-{number}"),
                    "namespace": "iam", "uid": format!("{number}"), "annotations": {REVISION: "old"}}})))
            };
            (reference.clone(), (0..*count).map(pod).collect())
        });
        let uid = |reference: &ObjectRef| (reference.clone(), reference.kind.clone());
        Observed {
            objects: seen.collect(),
            pods: pods.collect(),
            uids: references.map(uid).collect(),
            ..Observed::default()
        }
    }

    fn decide(&self) -> Decision {
        let wanted = DesiredState::default();
        let work = Work { plan: &self.plan, desired: &wanted, before: &self.before };
        decide(work, &self.state(), &self.observed(), &open(), self.now)
    }

    fn record(&mut self, events: Vec<Event>) {
        append(&mut self.events, self.now, events);
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Apply { step, reference, object, .. } => {
                let uid = self.objects.get(&reference).map(|it| it.uid().to_owned());
                let generation =
                    self.objects.get(&reference).and_then(|it| it.integer("/metadata/generation"));
                let mut live = object;
                live.set(&["metadata", "uid"], json!(uid.unwrap_or_default()));
                live.set(&["metadata", "generation"], json!(generation.unwrap_or(0) + 1));
                self.objects.insert(reference.clone(), live);
                let event = written(&self.state(), step, vec![reference]);
                self.record(vec![event]);
            }
            Effect::Delete { reference, .. } => {
                self.objects.remove(&reference);
                self.pods.remove(&reference);
                self.deleted.push(reference);
            }
            Effect::Evict { .. }
            | Effect::DeletePod { .. }
            | Effect::Hold { .. }
            | Effect::LetGo { .. }
            | Effect::Ask { .. }
            | Effect::Publish { .. } => panic!("not in this world"),
        }
    }

    /// What the controllers do: a pod goes or comes.
    fn control(&mut self) {
        for (reference, live) in &mut self.objects {
            let Some(count) = self.pods.get_mut(reference) else { continue };
            if driver::is_offline(live) {
                *count = count.saturating_sub(1);
            } else {
                *count = 3;
            }
            let generation = live.integer("/metadata/generation");
            let count = *count;
            live.set(
                &["status"],
                json!({"observedGeneration": generation, "replicas": count,
                "readyReplicas": count, "updatedReplicas": count, "availableReplicas": count,
                "desiredNumberScheduled": count, "updatedNumberScheduled": count, "numberReady": count}),
            );
        }
    }

    fn round(&mut self) -> Decision {
        let decision = self.decide();
        self.record(decision.events.clone());
        for effect in decision.effects.clone() {
            self.carry_out(effect);
        }
        self.control();
        if decision.events.is_empty() && decision.effects.is_empty() {
            self.now += SignedDuration::from_secs(1);
        }
        decision
    }

    /// Until it waits for somebody, or is over.
    fn until_it_waits(&mut self) -> Vec<String> {
        for _ in 0..400 {
            let decision = self.round();
            let is_over = self.state().phase(&self.plan).is_ended();
            let is_asking = decision.waits.iter().any(|it| it.code == "RELEASE/AWAIT_WAVE_CONFIRM");
            if is_over || is_asking || self.state().phase(&self.plan) == ReleasePhase::Failed {
                return decision.waits.iter().map(|it| it.code.to_string()).collect();
            }
        }
        panic!("{:?}", self.events)
    }

    fn ask(&mut self, asked: &Command) {
        let events = command(&self.plan, &self.state(), &Needs::new(), asked, "wang-wei").unwrap();
        self.record(events);
    }

    fn run(&mut self) {
        for _ in 0..3 {
            if self.until_it_waits().iter().any(|code| code == "RELEASE/AWAIT_WAVE_CONFIRM") {
                self.ask(&Command::Confirm { step: None });
            }
            if self.state().phase(&self.plan).is_ended() {
                return;
            }
        }
    }
}

#[rstest]
#[case("StatefulSet")]
#[case("Deployment")]
#[case("DaemonSet")]
fn nothing_is_deleted_before_all_pods_are_gone_and_a_person_confirmed(#[case] kind: &str) {
    let mut site = Site::new(kind);
    let waits = site.until_it_waits();
    assert_eq!(waits, ["RELEASE/AWAIT_WAVE_CONFIRM"]);
    assert!(site.pods.values().all(|count| *count == 0) && site.deleted.is_empty());
    // Everything of it but what makes pods is as it was.
    let workload = site.objects.values().find(|it| is_workload(it)).unwrap();
    assert_eq!(driver::offline(&body(kind)).get("/spec"), workload.get("/spec"));
    site.ask(&Command::Confirm { step: None });
    site.until_it_waits();
    assert_eq!(site.state().phase(&site.plan), ReleasePhase::Done);
    assert_eq!(site.deleted.len(), 2);
}

#[test]
fn killed_after_any_event_it_ends_the_same_and_nothing_is_deleted_unconfirmed() {
    let mut whole = Site::new("StatefulSet");
    whole.run();
    assert_eq!(whole.state().phase(&whole.plan), ReleasePhase::Done);
    for killed_after in 0..whole.events.len() {
        let mut site = Site::new("StatefulSet");
        while site.events.len() < killed_after {
            let decision = site.round();
            if decision.waits.iter().any(|it| it.code == "RELEASE/AWAIT_WAVE_CONFIRM") {
                site.ask(&Command::Confirm { step: None });
            }
        }
        // What was carried out and not recorded is the harder case.
        let last = site.events.last().map(|last| last.event.clone());
        if matches!(last, Some(Event::ObjectsApplied { .. } | Event::ObjectsPruned { .. })) {
            site.events.pop();
        }
        let is_confirmed =
            site.events.iter().any(|it| matches!(it.event, Event::WaveConfirmed { .. }));
        assert!(is_confirmed || site.deleted.is_empty(), "killed after {killed_after} events");
        site.run();
        assert_eq!(site.state().phase(&site.plan), ReleasePhase::Done, "{killed_after}");
        assert_eq!(site.deleted, whole.deleted, "killed after {killed_after} events");
        assert!(site.objects.is_empty());
    }
}

#[rstest]
#[case("StatefulSet")]
#[case("DaemonSet")]
fn what_is_offline_comes_back_as_it_was_when_a_person_says_so(#[case] kind: &str) {
    let mut site = Site::new(kind);
    site.until_it_waits();
    site.ask(&Command::Rollback { part: Part::default(), reason: "the tills miss it".to_owned() });
    site.until_it_waits();
    assert_eq!(site.state().phase(&site.plan), ReleasePhase::RolledBack);
    assert!(site.deleted.is_empty() && site.pods.values().all(|count| *count == 3));
    let workload = site.objects.values().find(|it| is_workload(it)).unwrap();
    assert_eq!(workload.get("/spec"), body(kind).get("/spec"));
}

/// Nobody can bring back what no documents say: it stays as it is, and above all it is not deleted.
#[test]
fn what_the_documents_of_before_do_not_know_goes_offline_and_is_not_deleted_on_the_way_back() {
    let mut site = Site::new("Deployment");
    let before = std::mem::take(&mut site.before);
    site.before.objects =
        before.objects.iter().filter(|it| it.reference.kind == "Service").cloned().collect();
    for _ in 0..40 {
        let wanted = DesiredState::default();
        let state = site.state();
        if state.wave(0).is_some_and(|wave| wave.ready_at.is_some()) {
            break;
        }
        let known = std::mem::replace(&mut site.before, before.clone());
        let observed = site.observed();
        site.before = known;
        let work = Work { plan: &site.plan, desired: &wanted, before: &site.before };
        let decision = decide(work, &state, &observed, &open(), site.now);
        site.record(decision.events);
        for effect in decision.effects {
            site.carry_out(effect);
        }
        site.control();
    }
    assert!(site.pods.values().all(|count| *count == 0), "{:?}", site.events);
    site.ask(&Command::Rollback { part: Part::default(), reason: "no".to_owned() });
    let observed = Site { before, ..Site::new("Deployment") }.observed();
    let wanted = DesiredState::default();
    let work = Work { plan: &site.plan, desired: &wanted, before: &site.before };
    let decision = decide(work, &site.state(), &observed, &open(), site.now);
    assert!(decision.effects.is_empty(), "{decision:?}");
    assert!(matches!(decision.events.as_slice(), [Event::ObjectsReverted { .. }]));
}

#[test]
fn what_somebody_has_started_again_is_not_deleted() {
    let mut site = Site::new("Deployment");
    site.until_it_waits();
    let workload = site.pods.keys().next().cloned().unwrap();
    site.objects.get_mut(&workload).unwrap().set(&["spec", "replicas"], json!(1));
    site.ask(&Command::Confirm { step: None });
    for _ in 0..5 {
        site.round();
    }
    let waits = site.decide().waits;
    assert_eq!(waits.iter().map(|it| &*it.code).collect::<Vec<_>>(), ["APPROVAL/LIVE_CHANGED"]);
    assert!(site.deleted.is_empty());
}

/// A node that is lost keeps its pods: that is seen, and nothing is deleted.
#[test]
fn pods_that_do_not_go_fail_the_step() {
    let mut site = Site::new("Deployment");
    for _ in 0..90 {
        let decision = site.decide();
        site.record(decision.events.clone());
        for effect in decision.effects {
            site.carry_out(effect);
        }
        for (reference, live) in &mut site.objects {
            if site.pods.contains_key(reference) {
                let generation = live.integer("/metadata/generation");
                live.set(&["status"], json!({"observedGeneration": generation}));
            }
        }
        site.now += SignedDuration::from_secs(1);
    }
    let state = site.state();
    let Some(StepStatus::Failed(failure)) = state.step(OFFLINE).map(|own| &own.status) else {
        panic!("{:?}", site.events)
    };
    assert_eq!((&*failure.code, failure.pods.len()), ("RELEASE/STEP_TIMEOUT", 3));
}
