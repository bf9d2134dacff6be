//! What operations ask for once: planned with its step, its groups and its record, and never again.

use super::*;
use crate::desired::Asked;
use crate::object::OPERATION;
use crate::plan::Step;

fn ask(operation: &str, cluster: &str, app: &str) -> Asked {
    let (cluster, product, app) = (cluster.to_owned(), "web".to_owned(), app.to_owned());
    Asked { operation: operation.to_owned(), unit: UnitId { cluster, product, app } }
}

fn web(image: &str) -> Product {
    Product { clusters: vec!["room-a".to_owned()], ..product("web", image) }
}

impl World {
    fn asked(mut self, asked: &[Asked]) -> Self {
        self.desired.asked = asked.to_vec();
        self
    }

    /// A Job of a task or test that an operation asks for, as rendering makes it; it is not there yet.
    fn with_job(mut self, operation: &str, app: &str) -> Self {
        let layer = if app == "smoke" { Layer::Test } else { Layer::Task };
        let owner = Owner {
            solution: Some("platform".to_owned()),
            product: Some("web".to_owned()),
            app: Some(app.to_owned()),
            scaling_group: None,
            access: None,
            layer,
        };
        let job = object(
            "room-a",
            owner,
            json!({"apiVersion": "batch/v1", "kind": "Job",
                "metadata": {"name": format!("{app}-{operation}"), "namespace": "web",
                    "annotations": {OPERATION: operation}}}),
        );
        self.observe(job.reference.clone(), None, Prediction::Exact(job.body().into()));
        self.desired.asked.push(ask(operation, "room-a", app));
        self.desired.asked.sort();
        self.want(job);
        self
    }

    fn carried_out(&mut self, asked: &[Asked]) {
        let (plan, _) = self.plan();
        let reached = Reached {
            release: "r2",
            at: jiff::Timestamp::UNIX_EPOCH,
            is_complete: true,
            products: &BTreeSet::new(),
            zones: &BTreeMap::new(),
            carried_out: asked,
        };
        let before = self.baseline.as_ref();
        self.baseline = Some(Baseline::after(before, &plan, &self.desired, &self.site, reached));
    }
}

fn steps(plan: &Plan) -> Vec<&Step> {
    plan.steps().map(|(_, step)| step).collect()
}

fn names(objects: &[ObjectRef]) -> Vec<&str> {
    objects.iter().map(|it| it.name.as_str()).collect()
}

#[test]
fn a_restart_is_a_step_that_changes_no_object_and_is_planned_once_for_each_app() {
    let mut product = web("w:1");
    product.apps = vec![6, 2];
    let both = [ask("again", "room-a", "app-0"), ask("again", "room-a", "app-1")];
    let mut world = World::new(&[product.clone()], &[product], &json!({"bake": "5m"})).asked(&both);
    let (plan, report) = world.plan();
    assert_eq!(codes(&report), [""; 0]);
    assert_eq!(
        ids(&plan),
        ["products-1/room-a/web/app-0.restart", "products-1/room-a/web/app-1.restart"]
    );
    assert_eq!(kinds(&plan), [TaskKind::Restart, TaskKind::Restart]);
    assert_eq!(plan.content.tasks[0].operation.as_deref(), Some("again"));
    assert_eq!(plan.content.kind, crate::plan::ReleaseKind::Operation);
    assert_eq!((plan.content.changes.changes.len(), plan.content.risks.len()), (0, 0));
    assert_eq!(plan.content.clusters.keys().collect::<Vec<_>>(), ["room-a"]);
    assert_eq!(check(&plan, &world.site), [""; 0]);
    let own = steps(&plan);
    // app-1 comes after app-0, also when both start anew.
    assert_eq!(own[1].needs, [own[0].id.as_str()]);
    assert_eq!(own[0].operations, [both[0].clone()]);
    let rollout = own[0].rollout.as_ref().unwrap();
    let groups: Vec<(u32, bool)> = rollout.groups.iter().map(|it| (it.pods, it.confirm)).collect();
    assert_eq!((rollout.driver, rollout.bake_seconds), (Driver::Restart, 300));
    assert_eq!(
        groups,
        [(3, false), (3, false)],
        "two groups, and no beta unless the policy says so"
    );

    world.carried_out(&both[..1]);
    let (plan, report) = world.plan();
    assert_eq!(ids(&plan), ["products-1/room-a/web/app-1.restart"]);
    assert_eq!(codes(&report), [""; 0]);
    world.carried_out(&both);
    let (plan, report) = world.plan();
    assert!(plan.is_empty());
    assert_eq!(codes(&report), ["OPERATION/DONE"]);
    assert_eq!(report.findings[0].args["release"], "r2");
    // Without its document nobody is told, and nothing differs.
    world.desired.asked.clear();
    let (plan, report) = world.plan();
    assert!(plan.is_empty() && report.findings.is_empty());
}

#[test]
fn a_policy_that_wants_a_persons_word_has_it_for_restarts_too() {
    let policy = json!({"beta": true, "groups": {"strategy": "custom"}, "onFailure": "rollback"});
    let world = World::new(&[web("w:1")], &[web("w:1")], &policy);
    let (plan, _) = world.asked(&[ask("again", "room-a", "app-0")]).plan();
    let rollout = steps(&plan)[0].rollout.clone().unwrap();
    let groups: Vec<(u32, bool)> = rollout.groups.iter().map(|it| (it.pods, it.confirm)).collect();
    assert_eq!(groups, [(1, true), (1, false), (1, false), (1, false), (2, false)]);
    assert_eq!(rollout.on_failure, crate::plan::OnFailure::Pause, "there is nothing to go back to");
}

#[test]
fn pods_that_are_made_anew_anyway_are_not_restarted_again() {
    let asked = [ask("again", "room-a", "app-0")];
    for before in [vec![web("w:1")], Vec::new()] {
        let world = World::new(&before, &[web("w:2")], &json!({})).asked(&asked);
        let (plan, report) = world.plan();
        assert!(!report.is_refused(), "{:?}", report.findings);
        let own: Vec<_> = steps(&plan).into_iter().filter(|it| !it.operations.is_empty()).collect();
        assert_eq!(own.len(), 1);
        assert_eq!(
            (own[0].id.as_str(), &*own[0].operations),
            ("products-1/room-a/web/app-0", &asked[..])
        );
        assert_eq!(check(&plan, &world.site), [""; 0]);
    }
    // Another number of pods restarts none: both happen, the number first.
    let mut more = web("w:1");
    more.apps = vec![8];
    let world = World::new(&[web("w:1")], &[more], &json!({})).asked(&asked);
    let (plan, _) = world.plan();
    assert_eq!(ids(&plan), ["products-1/room-a/web/app-0", "products-1/room-a/web/app-0.restart"]);
    assert_eq!(steps(&plan)[1].needs, ["products-1/room-a/web/app-0"]);
}

#[test]
fn what_is_left_alone_or_not_observed_is_not_restarted_and_stays_asked_for() {
    let asked = [ask("again", "room-a", "app-0")];
    let world = || World::new(&[web("w:1")], &[web("w:1")], &json!({})).asked(&asked);
    let mut excluded = world();
    excluded.site.deployments.get_mut("web").unwrap().exclude.insert("app-0".to_owned());
    let mut held = world();
    let room = held.live.clusters.get_mut("room-a").unwrap();
    let (secret, _) = room.objects.iter().find(|(it, _)| it.kind == "Secret").unwrap();
    let gap = Gap { code: "CLUSTER/FORBIDDEN".to_owned(), message: String::new() };
    let secret = secret.clone();
    room.objects.remove(&secret);
    room.gaps.insert(secret, gap.clone());
    let mut gone = world();
    let room = gone.live.clusters.get_mut("room-a").unwrap();
    (room.gap, room.objects) = (Some(gap), BTreeMap::new());
    for world in [excluded, held, gone] {
        let (plan, report) = world.plan();
        assert!(plan.is_empty(), "{:?}", ids(&plan));
        assert!(plan.content.tasks.is_empty());
        assert!(!codes(&report).contains(&"OPERATION/DONE"));
    }
}

#[test]
fn a_task_runs_again_as_a_job_of_its_own_and_once() {
    let mut world = World::new(&[web("w:1")], &[web("w:1")], &json!({})).with_job("again", "init");
    let (plan, report) = world.plan();
    assert_eq!(codes(&report), [""; 0]);
    assert_eq!(ids(&plan), ["products-1/room-a/web/init"]);
    let own = steps(&plan)[0];
    assert_eq!((own.kind, names(&own.apply)), (StepKind::Job(Layer::Task), vec!["init-again"]));
    assert_eq!(own.operations, [ask("again", "room-a", "init")]);
    assert_eq!(kinds(&plan), [TaskKind::Run]);
    assert_eq!(plan.content.tasks[0].operation.as_deref(), Some("again"));
    assert_eq!(plan.content.kind, crate::plan::ReleaseKind::Operation);
    assert_eq!(check(&plan, &world.site), [""; 0]);
    // Done, and the Job gone meanwhile, as somebody tidied up: nothing is run again.
    world.carried_out(&[ask("again", "room-a", "init")]);
    let (plan, report) = world.plan();
    assert!(plan.is_empty() && plan.content.changes.changes.is_empty());
    assert_eq!(codes(&report), ["OPERATION/DONE"]);
}

#[test]
fn a_test_that_an_operation_asks_for_is_a_release_of_the_kind_test() {
    let world = World::new(&[web("w:1")], &[web("w:1")], &json!({})).with_job("try", "smoke");
    let (plan, _) = world.plan();
    assert_eq!(ids(&plan), ["products-1/room-a/web/smoke"]);
    assert_eq!(
        (kinds(&plan), plan.content.kind),
        (vec![TaskKind::Test], crate::plan::ReleaseKind::Test)
    );
}

#[test]
fn a_task_whose_inputs_change_runs_once_whoever_asks() {
    let world = World::new(&[web("w:1")], &[web("w:2")], &json!({}));
    let (plan, _) = world.with_job("again", "init").with_job("more", "init").plan();
    let own = plan.step("products-1/room-a/web/init").unwrap();
    assert_eq!(names(&own.apply), ["init-w-2"]);
    assert_eq!(own.operations.len(), 2);
    // Of two that ask for the same, the first has the Job.
    let world = World::new(&[web("w:1")], &[web("w:1")], &json!({}));
    let (plan, _) = world.with_job("more", "init").with_job("again", "init").plan();
    let own = plan.step("products-1/room-a/web/init").unwrap();
    assert_eq!((names(&own.apply), own.operations.len()), (vec!["init-again"], 2));
}
