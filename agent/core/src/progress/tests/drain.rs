//! A node is emptied in groups; the next waits until as many pods serve elsewhere, and what nobody allowed holds it.

use super::*;
use crate::desired::Asked;
use crate::desired::DrainTerms;
use crate::object::ObjectRef;

const DRAIN: &str = "foundations/room-a/node-1.drain";

/// A node with the pods of one set, whose controller makes each anew elsewhere.
struct Room {
    plan: Plan,
    /// Pods on the node: name and uid; one of each that went.
    pods: BTreeMap<String, Object>,
    /// Pods of the set that are ready, wherever they are.
    ready: u32,
    /// Rounds until a pod that went is ready elsewhere; none when there is no room.
    rounds_until_ready: Option<u32>,
    coming: u32,
    /// Whether the budget lets pods go.
    lets_go: bool,
    is_there: bool,
    events: Vec<ReleaseEvent>,
    now: Timestamp,
    evicted: Vec<String>,
    fewest: u32,
}

fn pod(name: &str, kind: &str) -> Object {
    let version = if kind == "Job" { "batch/v1" } else { "apps/v1" };
    let owner = json!([{"apiVersion": version, "kind": kind, "name": "core", "controller": true}]);
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "iam", "uid": name, "ownerReferences": owner},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    });
    if kind.is_empty() {
        pod["metadata"].as_object_mut().unwrap().remove("ownerReferences");
    }
    Object::new(pod)
}

fn owner() -> ObjectRef {
    let text = |it: &str| it.to_owned();
    let (cluster, group, kind) = (text("room-a"), text("apps"), text("ReplicaSet"));
    ObjectRef { cluster, group, kind, namespace: text("iam"), name: text("core") }
}

fn node() -> ObjectRef {
    Object::node("node-1").reference("room-a")
}

const TOTAL: u32 = 6;

impl Room {
    /// Four pods of a set on the node, two elsewhere; a daemon's pod and one that runs to its end.
    fn new() -> Self {
        let mut pods: BTreeMap<String, Object> = BTreeMap::new();
        for number in 0..4 {
            let name = format!("core-{number}");
            pods.insert(name.clone(), pod(&name, "ReplicaSet"));
        }
        pods.insert("proxy".to_owned(), pod("proxy", "DaemonSet"));
        pods.insert("import".to_owned(), pod("import", "Job"));
        let mut planned = plan("Deployment", Driver::Drain, &[2, 2], false);
        let step = &mut planned.content.waves[0].steps[0];
        step.id = DRAIN.to_owned();
        step.product = None;
        step.apply.clear();
        step.drain = Some(DrainTerms::default());
        let rollout = step.rollout.as_mut().unwrap();
        rollout.unit = UnitId::node("room-a", "node-1");
        rollout.workload = node();
        let unit = rollout.unit.clone();
        step.operations = vec![Asked { operation: "disks".to_owned(), unit }];
        Self {
            plan: planned,
            pods,
            ready: TOTAL,
            rounds_until_ready: Some(2),
            coming: 0,
            lets_go: true,
            is_there: true,
            events: Vec::new(),
            now: "2026-11-21T10:00:00Z".parse().unwrap(),
            evicted: Vec::new(),
            fewest: TOTAL,
        }
    }

    fn state(&self) -> ReleaseState {
        ReleaseState::of(&self.events)
    }

    fn observed(&self) -> Observed {
        let set = Object::new(json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
            "spec": {"replicas": TOTAL}, "status": {"readyReplicas": self.ready}}));
        let there =
            if self.is_there { Seen::Present(Object::node("node-1")) } else { Seen::Absent };
        Observed {
            objects: BTreeMap::from([(node(), there), (owner(), Seen::Present(set))]),
            pods: BTreeMap::from([(node(), self.pods.values().map(Pod::of).collect())]),
            ..Observed::default()
        }
    }

    fn decide(&self) -> Decision {
        let state = DesiredState::default();
        let work = Work { plan: &self.plan, desired: &state, before: &state };
        decide(work, &self.state(), &self.observed(), &open(), self.now)
    }

    fn record(&mut self, events: Vec<Event>) {
        append(&mut self.events, self.now, events);
    }

    fn ask(&mut self, asked: &Command) {
        let events = command(&self.plan, &self.state(), &Needs::new(), asked, "wang-wei").unwrap();
        self.record(events);
    }

    fn round(&mut self) -> Decision {
        let decision = self.decide();
        self.record(decision.events.clone());
        let mut is_idle = decision.events.is_empty();
        for effect in &decision.effects {
            let Effect::Evict { name, uid, .. } = effect else { panic!("{effect:?}") };
            if !self.lets_go {
                continue;
            }
            is_idle = false;
            let gone = self.pods.remove(name).unwrap();
            assert_eq!(gone.uid(), uid);
            if name.starts_with("core") {
                self.ready -= 1;
                self.coming += self.rounds_until_ready.unwrap_or(0);
            }
            self.evicted.push(name.clone());
        }
        self.fewest = self.fewest.min(self.ready);
        if is_idle {
            if self.coming > 0 {
                self.coming -= 1;
                self.ready = (self.ready + u32::from(self.coming.is_multiple_of(2))).min(TOTAL);
            }
            self.now += SignedDuration::from_secs(1);
        }
        decision
    }

    fn run(&mut self) {
        for _ in 0..300 {
            let phase = self.state().phase(&self.plan);
            if phase.is_ended() || phase == ReleasePhase::Failed {
                return;
            }
            self.round();
        }
        panic!("{:?}", self.events)
    }
}

#[test]
fn pods_go_in_groups_and_the_second_waits_until_as_many_serve_elsewhere() {
    let mut room = Room::new();
    room.run();
    assert_eq!(room.state().phase(&room.plan), ReleasePhase::Done);
    assert_eq!(room.evicted, ["core-0", "core-1", "core-2", "core-3", "import"]);
    assert_eq!(room.pods.keys().collect::<Vec<_>>(), ["proxy"], "what belongs to the node stays");
    assert_eq!(room.fewest, TOTAL - 2, "never more away than one group");
    assert_eq!(room.state().carried_out(&room.plan).len(), 1);
}

#[test]
fn killed_after_any_event_a_drain_ends_the_same_and_evicts_no_pod_twice() {
    let mut whole = Room::new();
    whole.run();
    for killed_after in 0..whole.events.len() {
        let mut room = Room::new();
        while room.events.len() <= killed_after {
            room.round();
        }
        // An eviction is in no event: the last may be carried out or not.
        room.round();
        room.run();
        assert_eq!(room.state().phase(&room.plan), ReleasePhase::Done);
        assert_eq!(room.evicted, whole.evicted, "killed after {killed_after} events");
        assert!(room.fewest >= TOTAL - 2);
    }
}

#[test]
fn a_budget_that_lets_none_go_holds_the_drain_and_says_what_is_still_there() {
    let mut room = Room::new();
    room.lets_go = false;
    for _ in 0..10 {
        room.round();
    }
    let waits = room.decide().waits;
    assert_eq!((&*waits[0].code, &*waits[0].args["pods"]), ("RELEASE/AWAIT_DRAIN", "2"));
    room.run();
    let state = room.state();
    let Some(StepStatus::Failed(failure)) = state.step(DRAIN).map(|own| &own.status) else {
        panic!("{:?}", room.events)
    };
    assert_eq!((&*failure.code, failure.pods.len()), ("RELEASE/DRAIN_TIMEOUT", 2));
    assert!(failure.args["reason"].contains("iam/core-0 is still there"), "{failure:?}");
    assert!(state.carried_out(&room.plan).is_empty(), "what is still there goes another time");
    room.lets_go = true;
    room.ask(&Command::Retry { part: Part::default() });
    room.run();
    assert_eq!(room.state().phase(&room.plan), ReleasePhase::Done);
}

#[test]
fn without_room_elsewhere_no_second_group_is_opened() {
    let mut room = Room::new();
    room.rounds_until_ready = None;
    room.run();
    let state = room.state();
    let Some(StepStatus::Failed(failure)) = state.step(DRAIN).map(|own| &own.status) else {
        panic!("{:?}", room.events)
    };
    let reason = &failure.args["reason"];
    assert!(reason.contains("ReplicaSet iam/core (4 of 6 ready)"), "{reason}");
    assert_eq!(room.evicted, ["core-0", "core-1"]);
}

#[test]
fn a_pod_that_came_since_the_plan_and_may_not_go_holds_it_before_anything_goes() {
    let mut room = Room::new();
    room.pods.insert("debug".to_owned(), pod("debug", ""));
    for _ in 0..5 {
        room.round();
    }
    let waits = room.decide().waits;
    assert_eq!(&*waits[0].code, "RELEASE/AWAIT_FIT");
    assert!(waits[0].args["reason"].contains("iam/debug"), "{waits:?}");
    assert!(room.evicted.is_empty());
    room.pods.remove("debug");
    room.run();
    assert_eq!(room.state().phase(&room.plan), ReleasePhase::Done);
}

#[test]
fn a_node_that_left_the_cluster_is_empty() {
    let mut room = Room::new();
    room.is_there = false;
    room.pods.clear();
    room.run();
    assert_eq!(room.state().phase(&room.plan), ReleasePhase::Done);
}

#[test]
fn going_back_moves_no_pod() {
    let mut room = Room::new();
    while room.evicted.is_empty() {
        room.round();
    }
    room.ask(&Command::Rollback { part: Part::default(), reason: "no".to_owned() });
    room.run();
    assert_eq!(room.state().phase(&room.plan), ReleasePhase::RolledBack);
    assert_eq!(room.evicted, ["core-0", "core-1"]);
}
