//! What scaling groups become, and what operations and policies mean by their names.

use serde_json::{Value, json};

use super::host_in;
use crate::desired::DesiredState;
use crate::parameter;
use crate::render::render;
use crate::site::ValidSite;
use crate::snapshot::Earlier;
use crate::validate::tests::{PLAIN, document, now, snapshot};
use crate::validate::validate;

/// A product with one scaling group, in a plain site.
const IAM: &str = "
apiVersion: tidegate.dev/v1
kind: Zone
metadata: {name: hz.internal}
spec:
  type: hosted
  ttl: 60
  primary: ns1.hz.internal.
  contact: hostmaster.hz.internal.
  records:
    - {name: '@', type: NS, values: [ns1, ns2]}
    - {name: ns1, type: A, values: [10.0.0.2]}
    - {name: ns2, type: A, values: [10.0.0.3]}
---
apiVersion: tidegate.dev/v1
kind: Product
metadata: {name: iam}
spec: {}
---
apiVersion: tidegate.dev/v1
kind: ProductVersion
metadata: {name: iam}
spec:
  version: 1.0.0
  parameters:
    - {name: heap, type: string, default: 1g}
    - {name: address, type: string, default: 10.0.0.10}
  apps:
    - name: core
      image: 'core:1'
      env: {HEAP: '{{ heap }}', CELL: '{{ app.scalingGroup }}', SELF: '{{ app.name }}'}
      volumes: [{name: data, path: /data, size: 1Gi}]
    - name: web
      workload: Deployment
      image: 'web:1'
      after: [core]
      antiAffinity: [{app: core, strength: strong}, {app: web, strength: weak}]
      ports: [{name: http, port: 80}]
    - {name: cache, image: 'cache:1'}
    - {name: smoke, kind: test, image: 'smoke:1'}
  loadBalancers:
    - {name: front, app: web, port: 80, host: 'iam.{{ site.domain }}', addresses: ['{{ address }}']}
  sizes: [{name: small, apps: {core: {replicas: 4, cpu: '1'}, web: {replicas: 2}}}]
---
apiVersion: tidegate.dev/v1
kind: Solution
metadata: {name: platform}
spec:
  products:
    - product: iam
      version: 1.0.0
      apps: {core: {replicas: 8}}
      scalingGroups: [{name: east, apps: {core: {cpu: '2'}, web: {replicas: 3}}}]
---
apiVersion: tidegate.dev/v1
kind: Parameters
metadata: {name: east}
spec: {scope: {product: iam, scalingGroup: east}, values: {heap: 2g, address: 10.0.0.11}}
---
apiVersion: tidegate.dev/v1
kind: Parameters
metadata: {name: core}
spec: {scope: {product: iam, app: core}, values: {heap: 3g}}
";

fn site(operation: Option<&Value>, policy: Option<&Value>) -> (ValidSite, DesiredState) {
    let operation = operation.map(|action| {
        let expires = "2026-12-24T10:00:00Z";
        let spec =
            json!({"action": action, "author": "li-na", "reason": "CHG-1", "expires": expires});
        document("Operation", "own", &spec)
    });
    let policy = policy.map(|spec| document("RolloutPolicy", "own", spec));
    let files = snapshot([
        ("site.yaml", PLAIN),
        ("iam.yaml", IAM),
        ("operation.yaml", operation.as_deref().unwrap_or_default()),
        ("policy.yaml", policy.as_deref().unwrap_or_default()),
    ]);
    let (site, findings) = validate(&files, now());
    assert!(findings.is_empty(), "{findings:?}");
    let site = site.unwrap();
    let desired = render(&site, now());
    (site, desired)
}

fn body(desired: &DesiredState, kind: &str, name: &str) -> Value {
    let is_it = |it: &&crate::desired::DesiredObject| {
        (it.reference.kind.as_str(), it.reference.name.as_str()) == (kind, name)
    };
    let object = desired.objects.iter().find(is_it);
    object.unwrap_or_else(|| panic!("no {kind} {name}")).body().value().clone()
}

#[test]
fn a_scaling_group_has_names_sizes_values_and_claims_of_its_own_and_the_rights_of_the_product() {
    let (_, desired) = site(None, None);
    let (own, east) =
        (body(&desired, "StatefulSet", "core"), body(&desired, "StatefulSet", "core-east"));
    let at = |body: &Value, pointer: &str| body.pointer(pointer).cloned().unwrap_or_default();
    // The size of the version, and what the group says: not what the solution says of the product's own.
    assert_eq!((at(&own, "/spec/replicas"), at(&east, "/spec/replicas")), (json!(8), json!(4)));
    let cpu = "/spec/template/spec/containers/0/resources/limits/cpu";
    assert_eq!((at(&own, cpu), at(&east, cpu)), (json!("1"), json!("2")));
    assert_eq!(at(&east, "/spec/serviceName"), "core-east");
    assert_eq!(at(&east, "/spec/volumeClaimTemplates/0/metadata/name"), "data");
    // The group's value is stronger than the app's.
    let env = |body: &Value| -> Vec<String> {
        let env = at(body, "/spec/template/spec/containers/0/env");
        env.as_array().unwrap().iter().map(|it| it["value"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(env(&own), ["", "3g", "core"]);
    assert_eq!(env(&east), ["east", "2g", "core-east"]);
    assert_eq!(at(&east, "/spec/template/spec/serviceAccountName"), "core");
    let accounts = desired.objects.iter().filter(|it| it.reference.kind == "ServiceAccount");
    let accounts: Vec<_> = accounts.map(|it| it.reference.name.as_str()).collect();
    assert_eq!(accounts, ["cache", "core", "smoke", "web"]);
    // By one label all instances of an app are found, by another those of a group; workloads never share pods.
    let labels = at(&east, "/spec/template/metadata/labels");
    assert_eq!(
        (&labels["tidegate.dev/app"], &labels["tidegate.dev/scaling-group"]),
        (&json!("core"), &json!("east"))
    );
    assert_eq!(labels["app.kubernetes.io/name"], "core-east");
    assert!(at(&own, "/spec/template/metadata/labels").get("tidegate.dev/scaling-group").is_none());
    assert_eq!(at(&east, "/spec/selector/matchLabels/app.kubernetes.io~1name"), "core-east");
    // What names an app of the group means that of the group.
    let web = body(&desired, "Deployment", "web-east");
    let apart = at(&web, "/spec/template/spec/affinity/podAntiAffinity").to_string();
    assert!(apart.contains("core-east") && apart.contains("web-east"), "{apart}");
    let unit = desired.units.iter().find(|unit| unit.id.app == "web-east").unwrap();
    assert_eq!(
        (unit.after.as_slice(), unit.scaling_group.as_deref()),
        (["core-east".to_owned()].as_slice(), Some("east"))
    );
    assert!(desired.units.iter().all(|unit| !unit.id.app.starts_with("cache-")));
}

/// YL-182.
#[test]
fn a_scaling_group_has_a_load_balancer_and_a_record_of_its_own() {
    let (_, desired) = site(None, None);
    let selects = |name: &str| {
        body(&desired, "Service", name)["spec"]["selector"]["app.kubernetes.io/name"].clone()
    };
    assert_eq!((selects("front"), selects("front-east")), (json!("web"), json!("web-east")));
    let zone = serde_json::to_string(&desired.zones).unwrap();
    for record in [
        r#""name":"iam.hz.internal.","rtype":"A","ttl":60,"values":["10.0.0.10"]"#,
        r#""name":"iam-east.hz.internal.","rtype":"A","ttl":60,"values":["10.0.0.11"]"#,
    ] {
        assert!(zone.contains(record), "{zone}");
    }
}

#[test]
fn a_test_judges_the_product_and_does_not_run_again_for_a_scaling_group() {
    let job = |site: &ValidSite| {
        let units = render(site, now()).units;
        units.into_iter().find(|unit| unit.id.app == "smoke").unwrap().workload.name
    };
    let (with, _) = site(None, None);
    let mut without = with.clone();
    for placement in without.deployments.values_mut().flat_map(|it| it.placements.values_mut()) {
        placement.apps.retain(|placed| placed.member.is_none());
    }
    assert_eq!(job(&with), job(&without));
}

#[test]
fn an_operation_means_a_scaling_group_by_its_name() {
    let scale = |what: Value| {
        let (_, desired) = site(Some(&json!({"scale": what})), None);
        let units = desired.units.into_iter().filter(|unit| unit.replicas == 9);
        units.map(|unit| unit.id.app).collect::<Vec<_>>()
    };
    let of = |app: &str| json!({"product": "iam", "app": app, "replicas": 9});
    let mut in_east = of("core");
    in_east["scalingGroup"] = json!("east");
    assert_eq!(scale(of("core")), ["core"]);
    assert_eq!(scale(of("core-east")), ["core-east"]);
    assert_eq!(scale(in_east), ["core-east"]);
    let offline = |what: Value| {
        let (_, desired) = site(Some(&json!({"offline": what})), None);
        let units = desired.units.into_iter().filter(|unit| unit.offline);
        units.map(|unit| unit.id.app).collect::<Vec<_>>()
    };
    assert_eq!(
        offline(json!({"product": "iam", "scalingGroup": "east"})),
        ["core-east", "web-east"]
    );
    assert_eq!(
        offline(json!({"product": "iam", "scalingGroup": "east", "apps": ["web"]})),
        ["web-east"]
    );
    assert_eq!(
        offline(json!({"product": "iam"})),
        ["cache", "core", "core-east", "web", "web-east"]
    );
    let (_, desired) =
        site(Some(&json!({"restart": {"product": "iam", "scalingGroup": "east"}})), None);
    let asked: Vec<_> = desired.asked.iter().map(|asked| asked.unit.app.as_str()).collect();
    assert_eq!(asked, ["core-east", "web-east"]);
}

/// YL-184: what goes back covers the scaling groups, or one instance.
#[test]
fn a_rollback_covers_the_scaling_groups_or_the_instances_that_it_names() {
    let images = |rollback: Value| {
        let spec = json!({"action": {"rollback": rollback}, "author": "li-na", "reason": "CHG-1"});
        let back = document("Operation", "back", &spec);
        let later = IAM.replace("version: 1.0.0", "version: 2.0.0").replace("core:1", "core:2");
        let mut files =
            snapshot([("site.yaml", PLAIN), ("iam.yaml", &later), ("operation.yaml", &back)]);
        let earlier = Box::new(snapshot([("site.yaml", PLAIN), ("iam.yaml", IAM)]));
        files.earlier.insert("r1".to_owned(), Earlier::Delivered { at: now(), snapshot: earlier });
        let (site, findings) = validate(&files, now());
        assert!(findings.iter().all(|it| it.code == "OPERATION/HELD_BACK"), "{findings:?}");
        let units = render(&site.unwrap(), now()).units.into_iter();
        let cores = units.filter(|unit| unit.id.app.starts_with("core"));
        cores.map(|unit| format!("{} {}", unit.id.app, unit.image)).collect::<Vec<_>>()
    };
    let whole = images(json!({"release": "r1", "products": ["iam"]}));
    assert_eq!(whole, ["core core:1", "core-east core:1"]);
    let one = images(json!({"release": "r1", "products": ["iam"], "apps": ["core-east"]}));
    assert_eq!(one, ["core core:2", "core-east core:1"]);
}

#[test]
fn a_rollout_policy_for_an_app_counts_for_its_instances_unless_one_names_them() {
    let bake = |app: &str, asked: &str| {
        let policy = json!({"bake": "7s", "appliesTo": {"product": "iam", "app": app}});
        let (site, _) = site(None, Some(&policy));
        site.rollout_policy("iam", Some(asked)).bake.is_some()
    };
    assert!(bake("core", "core") && bake("core", "core-east"));
    assert!(!bake("core-east", "core") && bake("core-east", "core-east"));
}

#[test]
fn every_value_of_a_scaling_group_is_shown_with_its_layer() {
    let (site, _) = site(None, None);
    let rows = parameter::explain(&site);
    let own = rows.iter().filter(|row| row.app.is_some());
    let own: Vec<_> = own
        .map(|row| {
            (
                row.app.as_deref().unwrap(),
                row.name.as_str(),
                row.value.as_str(),
                row.without.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        own,
        [
            ("core-east", "address", "10.0.0.11", Some("10.0.0.10")),
            ("web-east", "address", "10.0.0.11", Some("10.0.0.10")),
            ("core", "heap", "3g", Some("1g")),
            ("core-east", "heap", "2g", Some("3g")),
            ("web-east", "heap", "2g", Some("1g")),
        ]
    );
}

#[test]
fn a_group_is_said_in_the_first_label_and_never_leaves_the_zone() {
    for (host, expected) in [
        ("iam.hz.bank", "iam-east.hz.bank"),
        ("*.apps.hz.bank", "*.east.apps.hz.bank"),
        ("iam", "iam-east"),
    ] {
        assert_eq!(host_in(host, "east"), expected);
    }
}
