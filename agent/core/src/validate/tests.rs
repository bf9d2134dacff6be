//! Tests of validation: whole sites from texts.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::render::render;
use crate::snapshot::{Identity, Revision};

/// A site with most of what an app can say; the golden text of its rendering is in `render/tests`.
pub(crate) const SITE: &[(&str, &str)] = &[
    ("site.yaml", include_str!("tests/site.yaml")),
    ("catalog/iam/iam.yaml", include_str!("tests/iam.yaml")),
    ("catalog/iam/files/app.properties", "mode={{ mode }}\ndomain={{ site.domain }}\n"),
    ("catalog/iam/manifests/extra.yaml", include_str!("tests/extra.yaml")),
    ("platform.yaml", include_str!("tests/platform.yaml")),
];

/// A site of one cluster, `room-a`, in which `li-na` writes and nobody has to approve anything: what documents of a product
/// need around them.
pub(crate) const PLAIN: &str = include_str!("tests/plain.yaml");

/// A document of ours whose spec a test makes.
pub(crate) fn document(kind: &str, name: &str, spec: &Value) -> String {
    json!({"apiVersion": "tidegate.dev/v1", "kind": kind, "metadata": {"name": name}, "spec": spec})
        .to_string()
}

pub(crate) fn now() -> Timestamp {
    "2026-11-21T10:00:00Z".parse().unwrap()
}

pub(crate) fn snapshot<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Snapshot {
    let files = files.into_iter();
    Snapshot {
        revision: Revision {
            commit: "0".repeat(40),
            committed_at: now(),
            author: Identity::new("Test", "test@bank.internal"),
            committer: Identity::new("Test", "test@bank.internal"),
            subject: "test".to_owned(),
        },
        folder: String::new(),
        files: files.map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec())).collect(),
        findings: Vec::new(),
        earlier: BTreeMap::new(),
    }
}

pub(crate) fn site() -> ValidSite {
    let (site, findings) = validate(&snapshot(SITE.iter().copied()), now());
    let lines: Vec<String> = findings.iter().map(|f| format!("{f} {:?}", f.args)).collect();
    site.unwrap_or_else(|| panic!("{}", lines.join("\n")))
}

fn codes(files: &[(&str, &str)]) -> Vec<String> {
    let (_, findings) = validate(&snapshot(files.iter().copied()), now());
    findings.iter().map(|finding| finding.code.to_string()).collect()
}

#[test]
fn the_layers_of_a_parameter_count_from_the_default_to_the_app() {
    let rows = crate::parameter::explain(&site());
    let shown: Vec<String> = rows
        .iter()
        .map(|row| {
            let (cluster, app) =
                (row.cluster.as_deref().unwrap_or("*"), row.app.as_deref().unwrap_or("*"));
            let without = row.without.as_deref().unwrap_or("-");
            format!("{} {cluster} {app} {} {:?} without {without}", row.name, row.value, row.layer)
        })
        .collect();
    assert_eq!(
        shown,
        [
            "dbPassword * * secret iam-db/password Product without -",
            "heap room-a * 6Gi Product without 3Gi",
            "heap room-b * 8Gi ProductAndCluster without 6Gi",
            "heap * iamcore 9Gi App without 6Gi",
            "mode * * dual Site without single",
            "webAddress * * 10.0.0.80 Product without -",
            "workers * * 4 Default without -",
        ]
    );
}

#[test]
fn a_site_of_plain_manifests_needs_no_app() {
    let files = [
        (
            "site.yaml",
            "apiVersion: tidegate.dev/v1\nkind: Site\nmetadata: {name: s}\nspec: {tier: development, resourcePrefix: s, domain: s.internal}\n---\napiVersion: tidegate.dev/v1\nkind: Cluster\nmetadata: {name: c}\nspec: {access: {sandbox: {nodes: 1}}, room: a, zone: z, region: r}\n",
        ),
        (
            "p.yaml",
            "apiVersion: tidegate.dev/v1\nkind: Product\nmetadata: {name: web}\nspec: {}\n---\napiVersion: tidegate.dev/v1\nkind: ProductVersion\nmetadata: {name: web}\nspec: {version: 1.0.0, manifests: [manifests/*.yaml]}\n---\napiVersion: tidegate.dev/v1\nkind: Solution\nmetadata: {name: all}\nspec: {products: [{product: web, version: 1.0.0}]}\n",
        ),
        (
            "manifests/a.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {site: '{{ site.name }}'}\n",
        ),
    ];
    let (site, findings) = validate(&snapshot(files), now());
    assert!(findings.iter().all(|finding| !finding.is_error()), "{findings:?}");
    let desired = render(&site.unwrap(), now());
    let names: Vec<String> =
        desired.objects.iter().map(|object| object.reference.to_string()).collect();
    assert_eq!(names, ["ConfigMap web/a", "Namespace web"]);
    let first = desired.objects.first().unwrap();
    assert_eq!(first.body().text("/data/site"), "s");
}

#[test]
fn a_rule_leaves_a_field_to_others_and_says_so_on_the_object() {
    let files = [
        (
            "site.yaml",
            "apiVersion: tidegate.dev/v1\nkind: Site\nmetadata: {name: s}\nspec: {tier: development, resourcePrefix: s, domain: s.internal}\n---\napiVersion: tidegate.dev/v1\nkind: Cluster\nmetadata: {name: c}\nspec: {access: {sandbox: {nodes: 1}}, room: a, zone: z, region: r}\n",
        ),
        (
            "p.yaml",
            "apiVersion: tidegate.dev/v1\nkind: Product\nmetadata: {name: web}\nspec: {}\n---\napiVersion: tidegate.dev/v1\nkind: ProductVersion\nmetadata: {name: web}\nspec: {version: 1.0.0, manifests: [manifests/*.yaml]}\n---\napiVersion: tidegate.dev/v1\nkind: Solution\nmetadata: {name: all}\nspec:\n  products:\n    - product: web\n      version: 1.0.0\n      ignore: [{reason: an operator, kind: ConfigMap, name: a, fields: [data.size]}]\n",
        ),
        (
            "manifests/a.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {size: '1'}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\ndata: {size: '1'}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {tls.key: ''}\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: reader, namespace: web}\nrules: []\n",
        ),
    ];
    let (site, findings) = validate(&snapshot(files), now());
    assert!(findings.iter().all(|it| it.code != "SOLUTION/IGNORE_UNUSED"), "{findings:?}");
    let desired = render(&site.unwrap(), now());
    let left = |name: &str| {
        let object = desired.objects.iter().find(|object| object.reference.name == name).unwrap();
        crate::ignored::left(&object.body())
    };
    assert_eq!(left("a"), BTreeMap::from([("data.size".to_owned(), "an operator".to_owned())]));
    assert!(left("b").is_empty());
    assert_eq!(
        left("s").keys().collect::<Vec<_>>(),
        ["stringData[\"tls.key\"]"],
        "a key without a value"
    );
    let wide = desired.objects.iter().find(|it| it.reference.kind == "ClusterRole").unwrap();
    assert_eq!(
        (wide.reference.namespace.as_str(), wide.body().namespace()),
        ("", ""),
        "it has none"
    );
}

#[test]
fn nothing_is_no_site() {
    assert_eq!(codes(&[]), ["SITE/MISSING"]);
}

#[test]
fn a_secret_given_in_the_clear_is_refused_and_never_shown() {
    let mut files: Vec<(&str, &str)> = SITE.to_vec();
    let text = include_str!("tests/platform.yaml")
        .replace("{secret: {name: iam-db, key: password}}", "hunter2");
    files.retain(|(path, _)| *path != "platform.yaml");
    files.push(("platform.yaml", &text));
    let (site, findings) = validate(&snapshot(files), now());
    assert!(site.is_none());
    assert!(findings.iter().any(|finding| finding.code == "VALUE/SECRET_IN_CLEAR"), "{findings:?}");
    assert!(!serde_json::to_string(&findings).unwrap().contains("hunter2"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn how_documents_are_spread_over_files_changes_nothing(order in Just((0..4_usize).collect::<Vec<_>>()).prop_shuffle()) {
        let documents: Vec<&str> = include_str!("tests/platform.yaml").split("---\n").collect();
        let names: Vec<String> = order.iter().map(|number| format!("x{number}.yaml")).collect();
        let mut texts = vec![String::new(); names.len()];
        for (index, document) in documents.iter().enumerate() {
            let text = &mut texts[index % names.len()];
            text.push_str("---\n");
            text.push_str(document);
        }
        let mut files: Vec<(&str, &str)> = SITE.to_vec();
        files.retain(|(path, _)| *path != "platform.yaml");
        files.extend(names.iter().map(String::as_str).zip(texts.iter().map(String::as_str)));
        let (shuffled, findings) = validate(&snapshot(files), now());
        prop_assert!(shuffled.is_some(), "{:?}", findings);
        let (left, right) = (render(&site(), now()), render(&shuffled.unwrap(), now()));
        prop_assert_eq!(left.digest(), right.digest());
    }
}

#[test]
fn a_policy_that_cannot_be_read_is_not_taken_for_one_that_is_absent() {
    let file = |path, text| (path, text);
    let site = "apiVersion: tidegate.dev/v1\nkind: Site\nmetadata: {name: hz}\n\
                spec: {tier: development, resourcePrefix: hz, domain: hz.bank.internal}\n";
    let policy = "apiVersion: tidegate.dev/v1\nkind: ApprovalPolicy\nmetadata: {name: all}\nspec: {rulez: []}\n";
    let found = codes(&[file("site.yaml", site), file("policy.yaml", policy)]);
    assert_eq!(found, ["DOCUMENT/MISSING_FIELD", "DOCUMENT/UNKNOWN_FIELD_NEAR"]);
    let found = codes(&[file("site.yaml", site)]);
    assert_eq!(found, ["SITE/NO_CLUSTERS", "ROLLOUT/NO_APPROVAL_POLICY"]);
}
