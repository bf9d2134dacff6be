//! Scaling groups: expanded alone, updated one after the other, removed alone.

use super::*;
use crate::render::render;
use crate::validate::tests::{PLAIN, document, now, snapshot};
use crate::validate::validate;

/// A second cluster, and two products.
const MORE: &str = "
apiVersion: tidegate.dev/v1
kind: Cluster
metadata: {name: room-b}
spec: {access: {sandbox: {nodes: 1}}, room: b, zone: z2, region: r}
---
apiVersion: tidegate.dev/v1
kind: Product
metadata: {name: iam}
spec: {}
---
apiVersion: tidegate.dev/v1
kind: Product
metadata: {name: shop}
spec: {}
";

/// A site with `iam`, and `shop` that requires it, at a version, with scaling groups of `iam`.
fn at(version: &str, groups: &Value, policy: &Value) -> (DesiredState, ValidSite) {
    let documents = format!(
        "
apiVersion: tidegate.dev/v1
kind: ProductVersion
metadata: {{name: iam}}
spec:
  version: {version}
  parameters: [{{name: heap, type: string, default: 1g}}]
  apps:
    - {{name: init, kind: task, image: 'init:{version}'}}
    - name: core
      image: 'core:{version}'
      env: {{HEAP: '{{{{ heap }}}}'}}
      files: {{/etc/iam: '{version}'}}
      volumes: [{{name: data, path: /data, size: 1Gi}}]
    - {{name: web, workload: Deployment, image: 'web:{version}', after: [core], ports: [{{name: http, port: 80}}]}}
    - {{name: smoke, kind: test, image: 'smoke:1'}}
  loadBalancers: [{{name: front, app: web, port: 80}}]
  sizes: [{{name: small, apps: {{core: {{replicas: 4}}, web: {{replicas: 2}}}}}}]
---
apiVersion: tidegate.dev/v1
kind: ProductVersion
metadata: {{name: shop}}
spec:
  version: {version}
  requires: [{{product: iam}}]
  apps: [{{name: till, image: 'till:{version}'}}]
"
    );
    let products = json!([
        {"product": "iam", "version": version, "scalingGroups": groups},
        {"product": "shop", "version": version},
    ]);
    let solution =
        document("Solution", "platform", &json!({"rollout": "standard", "products": products}));
    let policy = document("RolloutPolicy", "standard", policy);
    let own = document(
        "Parameters",
        "east",
        &json!({"scope": {"product": "iam", "scalingGroup": "east"}, "values": {"heap": "2g"}}),
    );
    let has_east = groups.as_array().unwrap().iter().any(|group| group["name"] == "east");
    let files = snapshot([
        ("site.yaml", PLAIN),
        ("more.yaml", MORE),
        ("version.yaml", &documents),
        ("solution.yaml", &solution),
        ("policy.yaml", &policy),
        ("own.yaml", if has_east { &own } else { "" }),
    ]);
    let (site, findings) = validate(&files, now());
    let site = site.unwrap_or_else(|| panic!("{findings:?}"));
    (render(&site, now()), site)
}

fn both() -> Value {
    json!([{"name": "east", "apps": {"core": {"replicas": 2}, "web": {}}}, {"name": "west", "apps": {"core": {}}}])
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.content.waves.iter().map(|wave| wave.name.as_str()).collect()
}

/// Kind, app, scaling group, before and after of each task.
fn said(plan: &Plan) -> Vec<(TaskKind, Option<&str>, Option<&str>, String)> {
    let tasks = plan.content.tasks.iter();
    tasks.map(|it| (it.kind, it.app.as_deref(), it.scaling_group.as_deref(), it.change())).collect()
}

/// YL-185: afterwards everything else is what it was.
#[test]
fn a_scaling_group_is_installed_alone_and_nothing_else_changes() {
    let east = json!([{"name": "east", "clusters": {"names": ["room-b"]}, "apps": {"core": {"replicas": 2}, "web": {}}}]);
    let policy = json!({});
    let world = World::between(at("1.0.0", &json!([]), &policy), at("1.0.0", &east, &policy));
    let (plan, report) = world.plan();
    assert_eq!(codes(&report), [""; 0]);
    assert_eq!(check(&plan, &world.site), [""; 0]);
    assert_eq!(said(&plan), [(TaskKind::Install, None, Some("east"), "1.0.0".to_owned())]);
    assert!(plan.content.risks.is_empty());
    assert_eq!(
        ids(&plan),
        [
            "products-1-iam-east/room-b/iam.support",
            "products-1-iam-east/room-b/iam/core-east",
            "products-1-iam-east/room-b/iam/web-east",
            "products-1-iam-east/room-b/iam.network",
        ]
    );
    let core = plan.step("products-1-iam-east/room-b/iam/core-east").unwrap();
    let rollout = core.rollout.as_ref().unwrap();
    assert_eq!((rollout.driver, rollout.replicas, rollout.groups.len()), (Driver::Whole, 2, 1));
    for change in &plan.content.changes.changes {
        assert_eq!(change.action, Action::Create, "{}", change.object);
        assert!(change.object.name.contains("-east"), "{}", change.object);
        assert_eq!(change.owner.scaling_group.as_deref(), Some("east"));
    }
    let after = world.reached(&plan);
    let lines = Baseline::diff(world.baseline.as_ref().unwrap(), &after);
    assert!(!lines.is_empty());
    for line in lines {
        assert!(line.before.is_none() && line.path.contains("-east/"), "{line:?}");
    }
    let delivered = &after.products["iam"].clusters["room-b"];
    assert_eq!(delivered["core-east"].scaling_group.as_deref(), Some("east"));
    assert_eq!(delivered["core-east"].parameters["heap"], "2g");
    assert_eq!(delivered["core"].parameters["heap"], "1g");
}

/// YL-184: wave by wave, in the order of the solution.
#[test]
fn an_update_goes_through_the_product_and_then_through_each_scaling_group() {
    let policy = json!({});
    let world = World::between(at("1.0.0", &both(), &policy), at("2.0.0", &both(), &policy));
    let (plan, report) = world.plan();
    assert!(!report.is_refused(), "{:?}", report.findings);
    assert_eq!(check(&plan, &world.site), [""; 0]);
    assert_eq!(
        names(&plan),
        ["products-1", "products-1-iam-east", "products-1-iam-west", "products-2", "prune"]
    );
    let of = |wave: &str| -> Vec<&str> {
        let waves = plan.content.waves.iter().filter(|it| it.name == wave);
        let rollouts = waves.flat_map(|it| &it.steps).filter_map(|step| step.rollout.as_ref());
        let own = rollouts.filter(|it| it.unit.cluster == "room-a");
        own.map(|rollout| rollout.unit.app.as_str()).collect()
    };
    assert_eq!(of("products-1"), ["core", "web"]);
    assert_eq!(of("products-1-iam-east"), ["core-east", "web-east"]);
    assert_eq!(of("products-1-iam-west"), ["core-west"]);
    let deploys: Vec<_> =
        said(&plan).into_iter().filter(|(kind, ..)| *kind == TaskKind::Deploy).collect();
    assert!(deploys.iter().any(|it| (it.1, it.2) == (Some("core-west"), Some("west"))));
}

#[test]
fn in_waves_of_clusters_each_scaling_group_has_the_bake_time_and_confirmation_of_its_wave() {
    let policy = json!({"waves": [
        {"name": "gray", "clusters": {"names": ["room-a"]}, "bake": "5m", "confirm": true},
        {"name": "all"},
    ]});
    let world = World::between(at("1.0.0", &both(), &policy), at("2.0.0", &both(), &policy));
    let (plan, report) = world.plan();
    assert!(!report.is_refused(), "{:?}", report.findings);
    assert_eq!(check(&plan, &world.site), [""; 0]);
    let waves = plan.content.waves.iter();
    let waves: Vec<_> = waves.map(|it| (it.name.as_str(), it.bake_seconds, it.confirm)).collect();
    // What requires the product waits for its scaling groups too.
    assert_eq!(
        waves,
        [
            ("gray", 300, true),
            ("gray-iam-east", 300, true),
            ("gray-iam-west", 300, true),
            ("gray-shop", 300, true),
            ("all", 0, false),
            ("all-iam-east", 0, false),
            ("all-iam-west", 0, false),
            ("all-shop", 0, false),
        ]
    );
    // The old files of a group's pods go after these pods.
    let pruned = plan.steps().filter(|(_, step)| step.kind == StepKind::Prune);
    let pruned: Vec<_> = pruned
        .map(|(wave, step)| (plan.content.waves[wave].name.as_str(), step.prune[0].name.as_str()))
        .collect();
    assert_eq!(pruned.len(), 6, "{pruned:?}");
    for (wave, name) in pruned {
        for group in ["east", "west"] {
            let is_its = name.starts_with(&format!("core-{group}-files-"));
            assert_eq!(wave.ends_with(group), is_its, "{name} in {wave}");
        }
    }
}

#[test]
fn a_scaling_group_goes_alone_and_keeps_its_claims() {
    let west = json!([both()[1]]);
    // Its pods first, as of a product that is uninstalled; then its objects.
    let by_levels = (json!({}), ["offline", "prune"]);
    let by_clusters = (json!({"waves": [{"name": "all"}]}), ["all-offline", "all-uninstall"]);
    for (policy, waves) in [by_levels, by_clusters] {
        let world = World::between(at("1.0.0", &both(), &policy), at("1.0.0", &west, &policy));
        let (plan, report) = world.plan();
        assert_eq!(codes(&report), [""; 0]);
        assert_eq!(check(&plan, &world.site), [""; 0]);
        assert_eq!(said(&plan), [(TaskKind::Uninstall, None, Some("east"), "1.0.0".to_owned())]);
        assert!(plan.content.risks.contains(&Risk::Destructive));
        assert_eq!(names(&plan), waves);
        let offline = plan.steps().filter(|(_, step)| step.cluster == "room-a");
        let offline = offline.flat_map(|(_, step)| &step.offline);
        let offline: Vec<_> = offline.map(|object| object.name.as_str()).collect();
        assert_eq!(offline, ["core-east", "web-east"]);
        for change in &plan.content.changes.changes {
            assert_eq!(change.action, Action::Prune, "{}", change.object);
            assert!(change.object.name.contains("-east"), "{}", change.object);
            assert_ne!(change.object.kind, "PersistentVolumeClaim");
        }
        let after = world.reached(&plan);
        let apps: Vec<_> = after.products["iam"].clusters["room-a"].keys().collect();
        assert_eq!(apps, ["core", "core-west", "init", "smoke", "web"]);
    }
}

/// What still uses something that goes has changed before: the waves of scaling groups come before those of uninstalling.
#[test]
fn a_scaling_group_changes_before_anything_is_uninstalled() {
    let policy = json!({"waves": [{"name": "all"}]});
    let west = json!([both()[1]]);
    let world = World::between(at("1.0.0", &both(), &policy), at("2.0.0", &west, &policy));
    let (plan, report) = world.plan();
    assert!(!report.is_refused(), "{:?}", report.findings);
    assert_eq!(check(&plan, &world.site), [""; 0]);
    assert_eq!(names(&plan), ["all", "all-iam-west", "all-shop", "all-offline", "all-uninstall"]);
}

/// The name of a wave that the policy has stays the policy's.
#[test]
fn a_wave_of_a_scaling_group_takes_no_name_of_another_wave() {
    let policy = json!({"waves": [{"name": "all", "clusters": {"names": ["room-a"]}}, {"name": "all-iam-east"}]});
    let groups = json!([both()[0]]);
    let world = World::between(at("1.0.0", &groups, &policy), at("2.0.0", &groups, &policy));
    let (plan, _) = world.plan();
    assert_eq!(check(&plan, &world.site), [""; 0]);
    assert_eq!(
        names(&plan),
        ["all", "all-2", "all-shop", "all-iam-east", "all-iam-east-iam-east", "all-iam-east-shop"]
    );
}

/// What is left alone stays as it is; in a scaling group by the name under which it runs there.
#[test]
fn an_app_of_a_scaling_group_may_be_left_alone() {
    let policy = json!({});
    let mut world = World::between(at("1.0.0", &both(), &policy), at("2.0.0", &both(), &policy));
    world.site.deployments.get_mut("iam").unwrap().exclude.insert("core-east".to_owned());
    let (plan, report) = world.plan();
    assert_eq!(report.excluded, ["iam/core-east"]);
    let mut rollouts = plan.steps().filter_map(|(_, step)| step.rollout.as_ref());
    assert!(rollouts.all(|it| it.unit.app != "core-east"));
    assert!(names(&plan).contains(&"products-1-iam-east"), "the group's other app changes");
}
