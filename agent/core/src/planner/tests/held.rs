//! Products that are left as they are, because something of them could not be observed.

use super::*;
use crate::change::{Held, RecordDifference, ZoneDifference};
use crate::site::PlacedLoadBalancer;
use crate::zone::RecordSet;

fn forbidden() -> Gap {
    Gap { code: "CLUSTER/FORBIDDEN".to_owned(), message: "may not get".to_owned() }
}

impl World {
    /// Nobody may read this object any more.
    fn hide(&mut self, cluster: &str, kind: &str, namespace: &str) -> ObjectRef {
        let room = self.live.clusters.get_mut(cluster).unwrap();
        let is_it = |it: &&ObjectRef| {
            it.kind == kind && (it.namespace == namespace || it.name == namespace)
        };
        let reference = room.objects.keys().find(is_it).unwrap().clone();
        room.objects.remove(&reference);
        room.gaps.insert(reference.clone(), forbidden());
        reference
    }
}

/// Steps by cluster and product; the site's own as `-`.
fn places(plan: &Plan) -> BTreeSet<String> {
    let name = |step: &crate::plan::Step| step.product.clone().unwrap_or_else(|| "-".to_owned());
    plan.steps().map(|(_, step)| format!("{}/{}", step.cluster, name(step))).collect()
}

fn three(image: &str) -> [Product; 3] {
    let mut web = product("web", &format!("w:{image}"));
    web.requires = vec!["db".to_owned()];
    [product("db", &format!("d:{image}")), web, product("mail", &format!("m:{image}"))]
}

#[test]
fn an_object_that_cannot_be_observed_holds_its_product_there_and_what_requires_it() {
    let mut world = World::new(&three("1"), &three("2"), &json!({}));
    let hidden = world.hide("room-a", "Secret", "db");
    let (plan, report) = world.plan();
    assert!(!report.is_refused());
    assert_eq!(codes(&report), ["PLAN/OBJECT_UNOBSERVED", "PLAN/PRODUCT_HELD"]);
    let args = &report.findings[0].args;
    assert_eq!(args["object"], hidden.to_string());
    assert_eq!((&*args["code"], &*args["held"]), ("CLUSTER/FORBIDDEN", "db"));
    assert_eq!(report.findings[1].args["product"], "web");
    assert_eq!(
        places(&plan).into_iter().collect::<Vec<_>>(),
        ["room-a/mail", "room-b/db", "room-b/mail", "room-b/web"]
    );
    assert!(!serde_json::to_string(&plan).unwrap().contains("may not get"));
    assert_eq!(check(&plan, &world.site), [""; 0]);
    let after = world.reached(&plan);
    let image = |cluster: &str, product: &str| {
        after.products[product].clusters[cluster]["app-0"].image.clone()
    };
    assert_eq!(image("room-a", "db"), "d:1");
    assert_eq!(image("room-a", "web"), "w:1");
    assert_eq!(image("room-a", "mail"), "m:2");
    assert_eq!(image("room-b", "db"), "d:2");
}

#[test]
fn a_product_that_is_held_everywhere_stays_at_its_version() {
    let mut later = three("2");
    later[0].version = "2.0.0".to_owned();
    let mut world = World::new(&three("1"), &later, &json!({}));
    world.hide("room-a", "Secret", "db");
    let version = |world: &World| world.reached(&world.plan().0).products["db"].version.clone();
    assert_eq!(version(&world), "2.0.0", "it is delivered to the other room");
    world.hide("room-b", "Secret", "db");
    assert_eq!(version(&world), "1.0.0");
}

#[test]
fn a_namespace_that_cannot_be_observed_holds_all_that_is_in_it() {
    let mut world = World::new(&three("1"), &three("2"), &json!({}));
    world.hide("room-a", "Namespace", "mail");
    let (plan, report) = world.plan();
    assert_eq!(report.findings[0].args["held"], "mail");
    assert!(!places(&plan).contains("room-a/mail") && places(&plan).contains("room-a/db"));
}

#[test]
fn nothing_is_uninstalled_while_something_that_stays_is_held() {
    let [db, web, mail] = three("1");
    let old = product("old", "o:1");
    let before = [db, web, mail, old];
    let mut world = World::new(&before, &three("1"), &json!({}));
    assert!(places(&world.plan().0).contains("room-b/old"));
    world.hide("room-a", "Secret", "db");
    let (plan, report) = world.plan();
    assert!(plan.is_empty(), "{:?}", ids(&plan));
    assert!(codes(&report).contains(&"PLAN/UNINSTALL_HELD"));
    let after = world.reached(&plan);
    assert!(after.products.contains_key("old"), "it is still there");
}

#[test]
fn what_would_take_something_held_along_stays() {
    let before = [product("db", "d:1"), product("old", "o:1")];
    let mut world = World::new(&before, &[product("db", "d:1")], &json!({}));
    world.hide("room-a", "Secret", "old");
    let (plan, _) = world.plan();
    let gone: Vec<_> = plan.steps().flat_map(|(_, step)| &step.prune).collect();
    assert!(!gone.is_empty() && gone.iter().all(|it| it.cluster == "room-b"), "{gone:?}");
    assert!(gone.iter().any(|it| it.kind == "Namespace"), "{gone:?}");
}

#[test]
fn a_definition_stays_whose_objects_are_of_what_is_held() {
    let mut world = World::new(&[product("db", "d:1")], &[product("db", "d:1")], &json!({}));
    let definition = Object::new(json!({"apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition", "metadata": {"name": "backups.example.org"},
        "spec": {"group": "example.org", "names": {"kind": "Backup"}}}));
    let backup = Object::new(json!({"apiVersion": "example.org/v1", "kind": "Backup",
        "metadata": {"name": "nightly", "namespace": "db"}}));
    let some = world.inventory.entries.values().find(|it| it.owner.product.is_some()).unwrap();
    let mut entry = some.clone();
    let room = world.live.clusters.get_mut("room-a").unwrap();
    room.gaps.insert(backup.reference("room-a"), forbidden());
    world.inventory.entries.insert(backup.reference("room-a"), entry.clone());
    world.observe(definition.reference("room-a"), Some(&definition), Prediction::NotDesired);
    // It was the site's own, so that only its objects speak for it.
    (entry.owner.product, entry.owner.solution) = (None, None);
    entry.uid = Some(String::new());
    world.inventory.entries.insert(definition.reference("room-a"), entry);
    let goes = |world: &World| !world.plan().0.is_empty();
    assert!(!goes(&world));
    world.inventory.entries.remove(&backup.reference("room-a"));
    world.live.clusters.get_mut("room-a").unwrap().gaps.clear();
    assert!(goes(&world));
}

#[test]
fn an_app_that_is_left_alone_holds_nothing() {
    let mut world = World::new(&three("1"), &three("2"), &json!({}));
    world.hide("room-a", "StatefulSet", "db");
    assert!(world.plan().1.findings.iter().any(|it| it.code == "PLAN/OBJECT_UNOBSERVED"));
    world.site.deployments.get_mut("db").unwrap().exclude.insert("app-0".to_owned());
    let (plan, report) = world.plan();
    assert_eq!(codes(&report), [""; 0]);
    assert!(places(&plan).contains("room-a/db") && places(&plan).contains("room-a/web"));
}

#[test]
fn what_could_only_not_be_tried_goes_on() {
    let mut world = World::new(&three("1"), &three("2"), &json!({}));
    let room = world.live.clusters.get_mut("room-a").unwrap();
    for (reference, observation) in &mut room.objects {
        let body = world.desired.object(reference).map(DesiredObject::body);
        let gap = Gap {
            code: "CLUSTER/WEBHOOK_WITHOUT_DRY_RUN".to_owned(),
            message: "a.example".to_owned(),
        };
        if let Some(body) = body.filter(|_| reference.kind == "StatefulSet") {
            observation.predicted = Prediction::Unverified(body.into(), gap);
        }
    }
    let (plan, report) = world.plan();
    assert!(plan.content.changes.held.is_empty() && !report.is_refused());
    assert!(places(&plan).contains("room-a/db"));
    assert!(plan.content.risks.contains(&Risk::Unverified));
}

#[test]
fn an_object_that_goes_to_another_product_holds_both() {
    let mut world = World::new(&three("1"), &three("2"), &json!({}));
    let moved = world.hide("room-a", "Service", "db");
    world.live.clusters.get_mut("room-a").unwrap().gaps.clear();
    world.hide("room-a", "Secret", "db");
    // What was `db`'s is from now on `mail`'s.
    let there =
        world.inventory.entries.values().find(|it| it.owner.product.as_deref() == Some("mail"));
    let owner = there.unwrap().owner.clone();
    let object = world.desired.objects.iter_mut().find(|it| it.reference == moved).unwrap();
    object.owner = owner;
    let body = object.body();
    world.observe(moved, Some(&body), Prediction::Exact(body.clone().into()));
    let (plan, report) = world.plan();
    assert!(codes(&report).contains(&"PLAN/MOVE_HELD"), "{:?}", codes(&report));
    assert!(places(&plan).iter().all(|place| place.starts_with("room-b")), "{:?}", places(&plan));
}

#[test]
fn a_zone_waits_with_the_product_that_its_names_lead_to() {
    let mut world = World::new(&three("1"), &three("2"), &json!({}));
    let spec = json!({"name": "web", "app": "app-0", "port": 80, "targetPort": "http"});
    let balancer = PlacedLoadBalancer {
        member: None,
        spec: serde_json::from_value(spec).unwrap(),
        host: Some("db.hz.bank.internal".to_owned()),
        addresses: Vec::new(),
        place: tidegate_schema::finding::Place::file("catalog/db.yaml"),
    };
    let zone = |name: &str| ZoneDifference {
        zone: "hz.bank.internal".to_owned(),
        action: Action::Configure,
        serial: None,
        records: vec![RecordDifference {
            before: None,
            after: Some(RecordSet {
                name: format!("{name}."),
                rtype: "A".to_owned(),
                ttl: 300,
                values: vec!["10.0.0.1".to_owned()],
            }),
        }],
        desired: None,
    };
    let deployment = world.site.deployments.get_mut("db").unwrap();
    for own in deployment.placements.values_mut() {
        own.load_balancers = vec![balancer.clone()];
    }
    world.hide("room-a", "Secret", "db");
    let published = |world: &World, name: &str| {
        let mut changes = world.changes();
        changes.zones = vec![zone(name)];
        let (plan, report) = world.plan_of(changes);
        let is_said = codes(&report).contains(&"PLAN/ZONE_HELD");
        let is_published = plan.steps().any(|(_, step)| !step.zones.is_empty());
        assert_ne!(is_said, is_published);
        is_published
    };
    assert!(!published(&world, "db.hz.bank.internal"));
    assert!(published(&world, "other.hz.bank.internal"));
}

#[test]
fn rules_of_a_grant_are_held_together() {
    let mut world = World::new(&three("1"), &three("2"), &json!({}));
    let owner = |access: &str| Owner {
        solution: None,
        product: None,
        app: None,
        scaling_group: None,
        access: Some(access.to_owned()),
        layer: Layer::Foundation,
    };
    let binding = |name: &str| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": name}})
    };
    for (name, access) in [("one", "grant/a"), ("two", "grant/a"), ("three", "grant/b")] {
        let object = object("room-a", owner(access), binding(name));
        if name == "one" {
            let room = world.live.clusters.get_mut("room-a").unwrap();
            room.gaps.insert(object.reference.clone(), forbidden());
        } else {
            let predicted = Prediction::Exact(object.body().into());
            world.observe(object.reference.clone(), None, predicted);
        }
        world.want(object);
    }
    let (plan, _) = world.plan();
    let held =
        Held { cluster: "room-a".to_owned(), product: None, access: Some("grant/a".to_owned()) };
    assert_eq!(plan.content.changes.held, [held]);
    let applied: Vec<_> = plan
        .steps()
        .flat_map(|(_, step)| &step.apply)
        .filter(|it| it.kind.starts_with("Cl"))
        .collect();
    assert_eq!(applied.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["three"]);
}
