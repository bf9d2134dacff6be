//! What becomes of images: delivered or not, answered or not, in real clusters and in sandboxes.

use serde_json::json;

use super::*;
use crate::desired::UnitKind;
use crate::render::render;
use crate::validate::tests::{now, snapshot};
use crate::validate::validate;

mod manifests;

const SITE: &str = "
apiVersion: tidegate.dev/v1
kind: Site
metadata: {name: s}
spec: {tier: development, resourcePrefix: s, domain: s.internal, registry: r.bank}
---
apiVersion: tidegate.dev/v1
kind: Cluster
metadata: {name: real}
spec: {access: {kubeconfig: {path: real.yaml}}, room: a, zone: z, region: r}
---
apiVersion: tidegate.dev/v1
kind: Cluster
metadata: {name: simulated}
spec: {access: {sandbox: {nodes: 1}}, room: b, zone: y, region: r}
";
const FRONT: &str = "r.bank/web/front:1.0";
const SMOKE: &str = "r.bank/web/smoke:1.0";

/// A site with one app and one test, in both clusters.
fn site_with(front: &str, solution: &str) -> ValidSite {
    let product = format!(
        "apiVersion: tidegate.dev/v1\nkind: Product\nmetadata: {{name: web}}\nspec: {{}}\n---\n\
         apiVersion: tidegate.dev/v1\nkind: ProductVersion\nmetadata: {{name: web}}\nspec:\n  version: 1.0.0\n  apps:\n\
         \x20   - {{name: front, workload: Deployment, image: '{front}'}}\n    - {{name: smoke, kind: test, image: 'web/smoke:1.0'}}\n---\n\
         apiVersion: tidegate.dev/v1\nkind: Solution\nmetadata: {{name: all}}\nspec: {{products: [{{product: web, version: 1.0.0{solution}}}]}}\n"
    );
    let (site, findings) =
        validate(&snapshot([("site.yaml", SITE), ("web.yaml", product.as_str())]), now());
    site.unwrap_or_else(|| panic!("{findings:?}"))
}

fn site() -> ValidSite {
    site_with("web/front:1.0", "")
}

fn digest(of: &str) -> Digest {
    Digest::of(&of)
}

/// A baseline in which `front` runs with this image in the real cluster.
fn delivered(image: &str) -> Baseline {
    serde_json::from_value(json!({
        "site": "s", "revision": "c", "release": "r1", "recordedAt": "2026-11-20T10:00:00Z",
        "grants": {}, "zones": {}, "versions": {},
        "products": {"web": {
            "solution": "all", "version": "1.0.0", "topology": "", "size": "", "namespace": "web",
            "clusters": {"real": {"front": {
                "kind": UnitKind::Standard, "image": image, "replicas": 1, "cpu": "", "memory": "",
                "inputs": digest("inputs"), "parameters": {}, "volumes": {},
            }}},
        }},
    }))
    .unwrap()
}

fn found(of: &str) -> Known {
    Known { answer: Some(Answer::Found(digest(of))), trouble: None }
}

fn missing() -> Known {
    Known { answer: Some(Answer::Missing), trouble: None }
}

fn away(answer: Option<Answer>) -> Known {
    Known { answer, trouble: Some("it is away".to_owned()) }
}

fn answers<const N: usize>(known: [(&str, Known); N]) -> Answers {
    known.into_iter().map(|(reference, known)| (reference.to_owned(), known)).collect()
}

/// `cluster/app` with what it is pinned to.
fn pinned(pins: &Pins) -> BTreeMap<String, Digest> {
    let mut all = BTreeMap::new();
    for (cluster, products) in &pins.apps {
        for (app, digest) in products.values().flatten() {
            all.insert(format!("{cluster}/{app}"), digest.clone());
        }
    }
    all
}

fn codes(pins: &Pins) -> Vec<String> {
    let severity = |finding: &Finding| if finding.is_error() { "refused " } else { "" };
    pins.findings.iter().map(|it| format!("{}{}", severity(it), it.code)).collect()
}

#[test]
fn only_what_somebody_pulls_is_looked_up() {
    let wanted =
        |site: &ValidSite| lookups(site, None, &Answers::new()).into_iter().collect::<Vec<_>>();
    assert_eq!(wanted(&site()), [FRONT, SMOKE]);
    assert_eq!(wanted(&site_with("web/front:1.0", ", exclude: [front]")), [SMOKE]);
    let simulated = site_with("web/front:1.0", ", clusters: {names: [simulated]}");
    assert_eq!(wanted(&simulated), Vec::<String>::new());
    let mut nowhere = site();
    nowhere.spec.registry = None;
    for placement in nowhere.deployments.values_mut().flat_map(|it| it.placements.values_mut()) {
        for app in &mut placement.apps {
            app.image = app.image.trim_start_matches("r.bank/").to_owned();
        }
    }
    assert_eq!(wanted(&nowhere), Vec::<String>::new());
    assert_eq!(
        codes(&pins(&nowhere, None, &Answers::new(), Lookup::Require)),
        Vec::<String>::new()
    );
}

#[test]
fn a_tag_becomes_the_digest_that_the_registry_gives_and_the_tag_stays_readable() {
    let mut site = site();
    let known = answers([(FRONT, found("one")), (SMOKE, found("two"))]);
    site.pins = pins(&site, None, &known, Lookup::Try);
    assert_eq!(codes(&site.pins), Vec::<String>::new());
    let own = pinned(&site.pins);
    assert_eq!(own.keys().collect::<Vec<_>>(), ["real/front", "real/smoke"]);
    let desired = render(&site, now());
    let image = |cluster: &str, app: &str| {
        let unit = desired.units.iter().find(|it| it.id.cluster == cluster && it.id.app == app);
        let unit = unit.unwrap();
        let body = desired.object(&unit.workload).unwrap().body();
        let written = body.get("/spec/template/spec/containers/0/image").unwrap().as_str().unwrap();
        assert_eq!(written, unit.image);
        unit.image.clone()
    };
    assert_eq!(image("real", "front"), format!("{FRONT}@{}", digest("one")));
    assert_eq!(image("real", "smoke"), format!("{SMOKE}@{}", digest("two")));
    assert_eq!(image("simulated", "front"), FRONT);
    assert_eq!(site.pins.resolved[FRONT], digest("one"));
    assert_eq!(planned(&site, None, &site.pins.resolved).apps, site.pins.apps);
}

#[test]
fn a_moved_tag_counts_until_it_is_delivered_and_is_only_told_afterwards() {
    let site = site();
    let before = pins(&site, None, &answers([(FRONT, found("one"))]), Lookup::Try);
    let moved = answers([(FRONT, found("two")), (SMOKE, found("smoke"))]);
    let after = pins(&site, None, &moved, Lookup::Try);
    assert_ne!(pinned(&before)["real/front"], pinned(&after)["real/front"]);

    let baseline = delivered(&format!("{FRONT}@{}", digest("one")));
    let kept = pins(&site, Some(&baseline), &moved, Lookup::Try);
    assert_eq!(pinned(&kept)["real/front"], digest("one"));
    assert_eq!(codes(&kept), ["IMAGE/TAG_MOVED"]);
    let told = &kept.findings[0].args;
    assert_eq!(told["delivered"], digest("one").to_string());
    assert_eq!(told["now"], digest("two").to_string());
    assert!(!kept.resolved.contains_key(FRONT));
}

#[test]
fn what_runs_is_looked_for_by_its_digest_once_its_tag_says_something_else() {
    let site = site();
    let baseline = delivered(&format!("{FRONT}@{}", digest("one")));
    let own = format!("r.bank/web/front@{}", digest("one"));
    let wanted = |known: &Answers| lookups(&site, Some(&baseline), known);
    assert!(!wanted(&answers([(FRONT, found("one"))])).contains(&own));
    assert!(wanted(&answers([(FRONT, found("two"))])).contains(&own));
    assert!(wanted(&answers([(FRONT, missing())])).contains(&own));
    // The tag was taken away, and the image is there: it can be pulled as it is written.
    let there = answers([(FRONT, missing()), (&own, found("one")), (SMOKE, found("smoke"))]);
    assert_eq!(codes(&pins(&site, Some(&baseline), &there, Lookup::Try)), Vec::<String>::new());
    let gone = answers([(FRONT, missing()), (&own, missing()), (SMOKE, found("smoke"))]);
    assert_eq!(codes(&pins(&site, Some(&baseline), &gone, Lookup::Require)), ["IMAGE/GONE"]);
}

#[test]
fn an_app_gets_the_digest_that_runs_already_elsewhere() {
    let mut site = site();
    let real = site.clusters["real"].clone();
    site.clusters.insert("simulated".to_owned(), real);
    let baseline = delivered(&format!("{FRONT}@{}", digest("one")));
    let own = pins(&site, Some(&baseline), &answers([(FRONT, found("two"))]), Lookup::Try);
    assert_eq!(pinned(&own)["real/front"], pinned(&own)["simulated/front"]);
}

#[test]
fn an_earlier_version_gets_what_it_was_and_is_missing_when_that_is_gone() {
    let site = site();
    let mut baseline = delivered(&format!("r.bank/web/front:2.0@{}", digest("new")));
    baseline.images.insert(FRONT.to_owned(), digest("one"));
    let known = answers([(FRONT, found("two")), (SMOKE, found("smoke"))]);
    let own = pins(&site, Some(&baseline), &known, Lookup::Try);
    assert_eq!(pinned(&own)["real/front"], digest("one"));
    assert_eq!(codes(&own), ["IMAGE/TAG_MOVED"]);
    let by_digest = format!("r.bank/web/front@{}", digest("one"));
    assert!(lookups(&site, Some(&baseline), &known).contains(&by_digest));
    let known = answers([(FRONT, found("two")), (SMOKE, found("smoke")), (&by_digest, missing())]);
    let own = pins(&site, Some(&baseline), &known, Lookup::Try);
    assert_eq!(codes(&own), ["IMAGE/TAG_MOVED", "refused IMAGE/MISSING"]);
}

#[test]
fn what_was_delivered_by_its_tag_is_not_restarted_to_get_a_digest() {
    let site = site();
    let known = answers([(FRONT, found("one")), (SMOKE, found("two"))]);
    let own = pins(&site, Some(&delivered(FRONT)), &known, Lookup::Try);
    assert!(!pinned(&own).contains_key("real/front"));
    assert_eq!(codes(&own), ["IMAGE/BY_TAG"]);
    let next = pins(&site, Some(&delivered("r.bank/web/front:0.9")), &known, Lookup::Try);
    assert_eq!(pinned(&next)["real/front"], digest("one"));
}

#[test]
fn a_missing_image_refuses_and_all_are_named_unless_the_app_is_left_alone() {
    let known = answers([(FRONT, missing()), (SMOKE, missing())]);
    let own = pins(&site(), None, &known, Lookup::Try);
    assert_eq!(codes(&own), ["refused IMAGE/MISSING", "refused IMAGE/MISSING"]);
    let left = site_with("web/front:1.0", ", exclude: [front, smoke]");
    assert_eq!(codes(&pins(&left, None, &known, Lookup::Try)), Vec::<String>::new());
}

#[test]
fn a_digest_of_the_documents_is_looked_for_and_stays_as_it_is_written() {
    let written = format!("web/front@{}", digest("one"));
    let reference = format!("r.bank/{written}");
    let site = site_with(&written, "");
    assert!(lookups(&site, None, &Answers::new()).contains(&reference));
    let known = answers([(&reference, found("one")), (SMOKE, found("two"))]);
    let own = pins(&site, None, &known, Lookup::Try);
    assert_eq!(pinned(&own).keys().collect::<Vec<_>>(), ["real/smoke"]);
    assert_eq!(codes(&own), Vec::<String>::new());
    let known = answers([(&reference, missing()), (SMOKE, found("two"))]);
    assert_eq!(codes(&pins(&site, None, &known, Lookup::Try)), ["refused IMAGE/MISSING"]);
    assert_eq!(
        codes(&pins(&site, Some(&delivered(&reference)), &known, Lookup::Try)),
        ["IMAGE/GONE"]
    );
}

#[test]
fn a_registry_that_is_away_is_said_once_and_never_taken_for_a_yes() {
    let known = answers([(FRONT, away(None)), (SMOKE, away(None))]);
    let own = pins(&site(), None, &known, Lookup::Try);
    assert_eq!(codes(&own), ["IMAGE/UNVERIFIED"]);
    assert_eq!(own.findings[0].args["images"], format!("{FRONT}, {SMOKE}"));
    assert!(own.apps.is_empty());
    assert_eq!(codes(&pins(&site(), None, &known, Lookup::Require)), ["refused IMAGE/UNVERIFIED"]);
}

#[test]
fn a_registry_that_goes_away_changes_no_plan() {
    let there = answers([(FRONT, found("one")), (SMOKE, missing())]);
    let gone = answers([
        (FRONT, away(Some(Answer::Found(digest("one"))))),
        (SMOKE, away(Some(Answer::Missing))),
    ]);
    let (before, after) =
        (pins(&site(), None, &there, Lookup::Require), pins(&site(), None, &gone, Lookup::Require));
    assert_eq!((before.apps, before.resolved), (after.apps.clone(), after.resolved.clone()));
    assert_eq!(codes(&after), ["IMAGE/NOT_CHECKED", "refused IMAGE/MISSING"]);
}

#[test]
fn without_lookups_nothing_new_is_pinned_and_what_runs_stays() {
    let known = answers([(FRONT, found("two")), (SMOKE, missing())]);
    let baseline = delivered(&format!("{FRONT}@{}", digest("one")));
    let own = pins(&site(), Some(&baseline), &known, Lookup::Off);
    assert_eq!(pinned(&own)["real/front"], digest("one"));
    assert!(own.resolved.is_empty());
    assert_eq!(codes(&own), ["IMAGE/NOT_LOOKED_UP"]);
    assert_eq!(own.findings[0].args["images"], SMOKE);
}

#[test]
fn a_scaling_group_that_is_added_runs_what_the_product_runs_whatever_the_tag_means_by_now() {
    let site = site_with("web/front:1.0", ", scalingGroups: [{name: east, apps: {front: {}}}]");
    let baseline = delivered(&format!("{FRONT}@{}", digest("old")));
    let known = answers([(FRONT, found("new"))]);
    let pins = pinned(&pins(&site, Some(&baseline), &known, Lookup::Try));
    assert_eq!(pins["real/front"], digest("old"));
    assert_eq!(pins["real/front-east"], digest("old"));
}
