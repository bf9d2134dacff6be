//! Images of plain manifests: from the documents to what is rendered, delivered, kept, and delivered before they were kept.

use super::*;
use crate::baseline::Reached;
use crate::desired::DesiredState;
use crate::live::{Inventory, InventoryEntry};
use crate::plan::Plan;

const POSTGRES: &str = "r.bank/db/postgres:16";
const INIT: &str = "r.bank/db/init:1";
const BACKUP: &str = "r.bank/db/backup:1";

/// The manifests of a product without apps. What of it is looked up: three images.
fn manifests(version: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: db}}
spec:
  serviceName: db
  selector: {{matchLabels: {{a: db}}}}
  template:
    metadata: {{labels: {{a: db}}, annotations: {{version: '{version}'}}}}
    spec:
      initContainers: [{{name: init, image: {INIT}}}]
      containers: [{{name: db, image: {POSTGRES}}}, {{name: sidecar, image: sidecar:1}}]
---
apiVersion: batch/v1
kind: CronJob
metadata: {{name: backup}}
spec:
  schedule: '@daily'
  jobTemplate:
    spec: {{template: {{spec: {{restartPolicy: Never, containers: [{{name: backup, image: {BACKUP}}}]}}}}}}
---
apiVersion: example.org/v1
kind: Database
metadata: {{name: other}}
spec: {{template: {{spec: {{containers: [{{name: db, image: r.bank/db/other:1}}]}}}}}}
"
    )
}

fn site_of(version: &str, manifests: &str, solution: &str) -> ValidSite {
    let product = format!(
        "apiVersion: tidegate.dev/v1\nkind: Product\nmetadata: {{name: db}}\nspec: {{}}\n---\n\
         apiVersion: tidegate.dev/v1\nkind: ProductVersion\nmetadata: {{name: db}}\n\
         spec: {{version: {version}, manifests: [objects.txt]}}\n---\n\
         apiVersion: tidegate.dev/v1\nkind: Solution\nmetadata: {{name: all}}\n\
         spec: {{products: [{{product: db, version: {version}{solution}}}]}}\n"
    );
    let files =
        [("site.yaml", SITE), ("db/db.yaml", product.as_str()), ("db/objects.txt", manifests)];
    let (site, findings) = validate(&snapshot(files), now());
    site.unwrap_or_else(|| panic!("{findings:?}"))
}

fn site() -> ValidSite {
    site_of("1.0.0", &manifests("1"), "")
}

fn known(of: &str) -> Answers {
    answers([POSTGRES, INIT, BACKUP].map(|image| (image, found(&format!("{image} {of}")))))
}

fn digest_of(image: &str, of: &str) -> Digest {
    digest(&format!("{image} {of}"))
}

/// `cluster/kind` with the images that are rendered.
fn rendered(desired: &DesiredState) -> BTreeMap<String, Vec<String>> {
    let own = desired.objects.iter().filter(|it| it.owner.product.is_some());
    own.map(|it| {
        let images = image::written_in(&it.reference, &it.body());
        let key = format!("{}/{}", it.reference.cluster, it.reference.kind);
        (key, images.into_iter().map(|it| it.reference).collect())
    })
    .collect()
}

/// The site pinned by what is known, and what it is rendered to.
fn made(
    site: ValidSite,
    baseline: Option<&Baseline>,
    known: &Answers,
) -> (ValidSite, DesiredState) {
    let pins = pins(&site, baseline, known, Lookup::Try);
    let site = site.with_pins(pins);
    let desired = render(&site, now());
    (site, desired)
}

/// A plan of this content, with the digests that a registry gave.
fn plan_of((site, desired): &(ValidSite, DesiredState)) -> Plan {
    let digest = digest("any");
    serde_json::from_value(json!({
        "revision": "c", "authors": [], "content": {
            "site": "s", "kind": "release", "parent": null, "desired": desired.digest(),
            "policies": digest, "clusters": {}, "tasks": [], "risks": [], "waves": [],
            "images": site.pins.resolved,
            "changes": {"changes": [], "zones": [], "unchanged": 0, "gaps": []},
        },
    }))
    .unwrap()
}

/// The baseline when all of it was delivered.
fn reached(made: &(ValidSite, DesiredState), before: Option<&Baseline>) -> Baseline {
    let (site, desired) = made;
    let reached = Reached {
        release: "r1",
        at: now(),
        is_complete: true,
        products: &BTreeSet::new(),
        zones: &BTreeMap::new(),
        carried_out: &[],
    };
    Baseline::after(before, &plan_of(made), desired, site, reached)
}

/// What an agent of before has kept of what it delivered.
fn of_before(baseline: &Baseline) -> Baseline {
    Baseline { manifests: BTreeMap::new(), ..baseline.clone() }
}

fn inventory(desired: &DesiredState) -> Inventory {
    let entry = |object: &crate::desired::DesiredObject| InventoryEntry {
        api_version: object.api_version.clone(),
        uid: Some("u".to_owned()),
        applied: Some(object.digest.clone()),
        owner: object.owner.clone(),
        kept: false,
        adopted: None,
    };
    let all = desired.objects.iter().map(|object| (object.reference.clone(), entry(object)));
    Inventory { entries: all.collect() }
}

#[test]
fn images_of_kinds_of_kubernetes_are_asked_for_where_somebody_pulls_them() {
    let wanted = |site: &ValidSite| lookups(site, None, &Answers::new());
    let all = BTreeSet::from([POSTGRES, INIT, BACKUP].map(ToOwned::to_owned));
    assert_eq!(wanted(&site()), all);
    let simulated = site_of("1.0.0", &manifests("1"), ", clusters: {names: [simulated]}");
    assert_eq!(wanted(&simulated), BTreeSet::new());
    for field in
        ["spec.template.spec.containers[name=db].image", "spec.template.spec.containers[name=db]"]
    {
        let rule = format!(", ignore: [{{kind: StatefulSet, fields: ['{field}'], reason: r}}]");
        let left = site_of("1.0.0", &manifests("1"), &rule);
        let own = BTreeSet::from([INIT, BACKUP].map(ToOwned::to_owned));
        assert_eq!(wanted(&left), own, "{field}");
        let (_, desired) = made(left, None, &known("one"));
        assert!(rendered(&desired)["real/StatefulSet"].contains(&POSTGRES.to_owned()), "{field}");
    }
}

#[test]
fn what_is_rendered_has_the_digests_and_the_plan_carries_them() {
    let (pinned, desired) = made(site(), None, &known("one"));
    assert_eq!(codes(&pinned.pins), Vec::<String>::new());
    let with = |image: &str| format!("{image}@{}", digest_of(image, "one"));
    let all = rendered(&desired);
    assert_eq!(all["real/StatefulSet"], [with(INIT), with(POSTGRES), "sidecar:1".to_owned()]);
    assert_eq!(all["real/CronJob"], [with(BACKUP)]);
    assert_eq!(all["simulated/StatefulSet"], [INIT, POSTGRES, "sidecar:1"]);
    let other = desired.objects.iter().find(|it| it.reference.kind == "Database").unwrap();
    assert_eq!(other.body().text("/spec/template/spec/containers/0/image"), "r.bank/db/other:1");
    assert_eq!(pinned.pins.resolved.len(), 3);
    let plan = plan_of(&(pinned, desired.clone()));
    let (again, _) = as_planned(&site(), None, &plan, now()).unwrap();
    assert_eq!(again.digest(), desired.digest());
}

#[test]
fn a_missing_image_of_a_manifest_is_named_with_its_object_and_its_place() {
    let gone = answers([(POSTGRES, found("p")), (INIT, found("i")), (BACKUP, missing())]);
    let own = pins(&site(), None, &gone, Lookup::Try);
    assert_eq!(codes(&own), ["refused IMAGE/MISSING_IN_MANIFEST"]);
    let finding = &own.findings[0];
    assert_eq!(finding.args["object"], "CronJob db/backup");
    assert_eq!(finding.args["image"], BACKUP);
    assert_eq!(finding.args["product"], "db");
    let place = finding.place.as_ref().unwrap();
    assert_eq!((place.file.as_str(), place.line), ("db/objects.txt", 13));

    let away = answers([POSTGRES, INIT, BACKUP].map(|image| (image, away(None))));
    assert_eq!(codes(&pins(&site(), None, &away, Lookup::Try)), ["IMAGE/UNVERIFIED"]);
    let strict = pins(&site(), None, &away, Lookup::Require);
    assert_eq!(codes(&strict), ["refused IMAGE/UNVERIFIED"]);
    let off = pins(&site(), None, &away, Lookup::Off);
    assert_eq!(codes(&off), ["IMAGE/NOT_LOOKED_UP"]);
}

#[test]
fn a_manifest_keeps_what_was_delivered_whatever_its_tags_mean_by_now() {
    let first = made(site(), None, &known("one"));
    let baseline = reached(&first, None);
    let told = pins(&site(), Some(&baseline), &known("two"), Lookup::Try);
    assert_eq!(codes(&told), ["IMAGE/TAG_MOVED"; 3]);
    let (_, kept) = made(site(), Some(&baseline), &known("two"));
    assert_eq!(kept.digest(), first.1.digest());

    // What another version has anew is the registry's, and the version that comes back gets what it was.
    let newer = manifests("2").replace(POSTGRES, "r.bank/db/postgres:17");
    let next = site_of("2.0.0", &newer, "");
    let mut all = known("two");
    all.insert("r.bank/db/postgres:17".to_owned(), found("seventeen"));
    let second = made(next, Some(&baseline), &all);
    let images = &rendered(&second.1)["real/StatefulSet"];
    assert_eq!(images[0], format!("{INIT}@{}", digest_of(INIT, "one")));
    assert_eq!(images[1], format!("r.bank/db/postgres:17@{}", digest("seventeen")));
    let later = reached(&second, Some(&baseline));
    let (_, back) = made(site(), Some(&later), &known("two"));
    assert_eq!(rendered(&back)["real/StatefulSet"], rendered(&first.1)["real/StatefulSet"]);

    // What is gone from the registry and runs is told, and what would be delivered anew is refused.
    let mut gone = known("two");
    gone.extend(
        [POSTGRES, INIT, BACKUP]
            .map(|image| (by_digest(image, &digest_of(image, "one")), missing())),
    );
    let here = pins(&site(), Some(&baseline), &gone, Lookup::Try);
    let is = |pins: &Pins, code: &str| codes(pins).iter().filter(|it| *it == code).count();
    assert_eq!(is(&here, "IMAGE/GONE"), 3);
    let back = pins(&site(), Some(&later), &gone, Lookup::Try);
    assert_eq!((is(&back, "IMAGE/GONE"), is(&back, "refused IMAGE/MISSING_IN_MANIFEST")), (2, 1));
}

#[test]
fn what_was_delivered_by_its_tag_alone_stays_so_until_its_reference_changes() {
    let first = made(site(), None, &answers([]));
    let baseline = reached(&first, None);
    let (own, desired) = made(site(), Some(&baseline), &known("one"));
    assert_eq!(codes(&own.pins), ["IMAGE/BY_TAG"]);
    assert_eq!(desired.digest(), first.1.digest());
    // Also in another version, beside an image that changes.
    let next = site_of("2.0.0", &manifests("2").replace(BACKUP, "r.bank/db/backup:2"), "");
    let mut all = known("one");
    all.insert("r.bank/db/backup:2".to_owned(), found("two"));
    let images = rendered(&made(next, Some(&baseline), &all).1);
    assert_eq!(images["real/StatefulSet"], [INIT, POSTGRES, "sidecar:1"]);
    assert_eq!(images["real/CronJob"], [format!("r.bank/db/backup:2@{}", digest("two"))]);
}

#[test]
fn what_an_agent_of_before_has_delivered_is_not_restarted_by_a_better_one() {
    let first = made(site(), None, &answers([]));
    let before = of_before(&reached(&first, None));
    assert!(before.is_without_manifest_images());
    // An app of the site has the same reference, pinned: the manifest stays as it is all the same.
    let mut before = before;
    before.images.insert(POSTGRES.to_owned(), digest("of an app"));
    let (own, desired) = made(site(), Some(&before), &known("one"));
    assert_eq!(codes(&own.pins), ["IMAGE/BY_TAG"]);
    assert_eq!(desired.digest(), first.1.digest());

    // The content of the baseline's revision says what it was, so that only this stays by its tag.
    let mut learned = before.clone();
    assert!(learned.learn_manifest_images(&first.1, &inventory(&first.1)));
    assert!(!learned.is_without_manifest_images());
    assert_eq!(learned.digest(), before.digest());
    let (_, same) = made(site(), Some(&learned), &known("one"));
    assert_eq!(same.digest(), first.1.digest());
    let next = site_of("2.0.0", &manifests("2").replace(BACKUP, "r.bank/db/backup:2"), "");
    let mut all = known("one");
    all.insert("r.bank/db/backup:2".to_owned(), found("two"));
    let images = rendered(&made(next, Some(&learned), &all).1);
    assert_eq!(images["real/StatefulSet"], [INIT, POSTGRES, "sidecar:1"]);
    assert_eq!(images["real/CronJob"], [format!("r.bank/db/backup:2@{}", digest("two"))]);
}

#[test]
fn a_plan_of_an_agent_of_before_is_made_again_without_digests_in_manifests() {
    let (mut pinned, _) = made(site(), None, &known("one"));
    pinned.pins.manifests.clear();
    let desired = render(&pinned, now());
    // A registry gave the digest for an app of the same image.
    let plan = plan_of(&(pinned, desired.clone()));
    assert!(!plan.content.images.is_empty());
    let (again, site) = as_planned(&site(), None, &plan, now()).unwrap();
    assert_eq!(again.digest(), desired.digest());
    assert!(site.pins.manifests.is_empty());
    let other = site_of("1.0.0", &manifests("other"), "");
    assert!(as_planned(&other, None, &plan, now()).is_none());
}

#[test]
fn nothing_is_learned_from_documents_that_are_not_what_was_applied() {
    let first = made(site(), None, &answers([]));
    let before = of_before(&reached(&first, None));
    let other = made(site_of("1.0.0", &manifests("other"), ""), None, &answers([]));
    let mut baseline = before.clone();
    // Of the simulated cluster all was applied; of the real one something else, or something more.
    let mut applied = inventory(&first.1);
    applied
        .entries
        .extend(inventory(&other.1).entries.into_iter().filter(|(it, _)| it.cluster == "real"));
    assert!(baseline.learn_manifest_images(&first.1, &applied));
    assert!(baseline.lacks_manifest_images("db", "real"));
    assert!(!baseline.lacks_manifest_images("db", "simulated"));

    let mut applied = inventory(&first.1);
    let (mut more, entry) = applied
        .entries
        .iter()
        .find(|(it, _)| it.kind == "CronJob")
        .map(|(it, entry)| (it.clone(), entry.clone()))
        .unwrap();
    more.name = "another".to_owned();
    applied.entries.insert(more.clone(), entry);
    let mut baseline = before.clone();
    assert!(baseline.learn_manifest_images(&first.1, &applied));
    assert!(baseline.lacks_manifest_images("db", &more.cluster));

    // The next release that delivers the product says it.
    assert!(!reached(&first, Some(&before)).is_without_manifest_images());
}
