//! Going back: products, or apps of one, as an earlier release delivered them, as long as an operation says so (YL-141).
//!
//! What a release delivered is what its revision says, read as of its start: version, sizes, parameters, files, manifests.
//! Policies, people, grants and zones stay those of today. Tasks are never undone, so they are left alone.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use tidegate_schema::Document;
use tidegate_schema::app::AppKind;
use tidegate_schema::finding::{Finding, Place};
use tidegate_schema::operation::{Action, Rollback};
use tidegate_schema::scalar::Name;

use super::documents::Documents;
use crate::site::{Deployment, PlacedApp, ValidSite};
use crate::snapshot::{Earlier, Snapshot};

/// An operation that goes back, with the site that its release delivered.
pub(super) struct Return<'a> {
    document: &'a Document,
    asked: &'a Rollback,
    site: ValidSite,
}

impl Return<'_> {
    fn name(&self) -> &str {
        self.document.name().as_str()
    }

    fn finding(&self, severity: fn(&'static str) -> Finding, code: &'static str) -> Finding {
        severity(code).with("name", self.name()).with("release", &self.asked.release)
    }

    fn place(&self, field: &str) -> Place {
        self.document.place(&format!("spec.action.rollback.{field}"))
    }

    /// Where the document names the product; none when it does not.
    fn place_of(&self, product: &str) -> Option<Place> {
        let index = self.asked.products.iter().position(|it| it == product)?;
        Some(self.place(&format!("products[{index}]")))
    }
}

/// The releases that operations of a revision go back to: what an agent has to look up for [`Snapshot::earlier`].
pub fn earlier_releases(snapshot: &Snapshot) -> BTreeSet<String> {
    // Reading all documents takes its time, and nearly none of them says this.
    let says_so = |bytes: &[u8]| {
        let mut windows = bytes.windows(b"rollback".len());
        windows.any(|window| window == b"rollback")
    };
    let files = snapshot.files.iter().filter(|(_, bytes)| says_so(bytes));
    let files = files.map(|(path, bytes)| (path.clone(), bytes.clone())).collect();
    let part = Snapshot {
        revision: snapshot.revision.clone(),
        files,
        folder: snapshot.folder.clone(),
        findings: Vec::new(),
        earlier: BTreeMap::new(),
    };
    let documents = Documents::read(&part, &mut Vec::new());
    let release = |action: &Action| {
        if let Action::Rollback(asked) = action { Some(asked.release.clone()) } else { None }
    };
    documents.operations().filter_map(|(_, operation)| release(&operation.action)).collect()
}

/// The operations that stand and go back, each with what its release delivered; findings for those of which that is not
/// known.
pub(super) fn returns<'a>(
    documents: &'a Documents,
    snapshot: &Snapshot,
    now: Timestamp,
    findings: &mut Vec<Finding>,
) -> Vec<Return<'a>> {
    let mut returns = Vec::new();
    for (document, operation) in documents.operations() {
        let Action::Rollback(asked) = &operation.action else { continue };
        if operation.expires.is_some_and(|expires| expires <= now) {
            continue;
        }
        let about = |finding: Finding| {
            let finding = finding.at(document.place("spec.action.rollback.release"));
            finding.with("name", document.name()).with("release", &asked.release)
        };
        if !asked.apps.is_empty() && asked.products.len() != 1 {
            let finding = Finding::error("OPERATION/APPS_OF_MANY").with("name", document.name());
            findings.push(finding.at(document.place("spec.action.rollback.apps")));
            continue;
        }
        let finding = match snapshot.earlier.get(&asked.release) {
            Some(Earlier::Delivered { at, snapshot }) => match super::validate(snapshot, *at) {
                (Some(site), _) => {
                    returns.push(Return { document, asked, site });
                    continue;
                }
                (None, refused) => {
                    let errors = refused.iter().filter(|finding| finding.is_error());
                    let codes: BTreeSet<&str> = errors.map(|it| it.code.as_ref()).collect();
                    let codes = codes.into_iter().collect::<Vec<_>>().join(", ");
                    Finding::error("OPERATION/RELEASE_UNREADABLE").with("cause", codes)
                }
            },
            Some(Earlier::Unreadable(cause)) => {
                Finding::error("OPERATION/RELEASE_UNREADABLE").with("cause", cause)
            }
            Some(Earlier::Unknown) => Finding::error("OPERATION/RELEASE_UNKNOWN"),
            Some(Earlier::NotDelivered(phase)) => {
                Finding::error("OPERATION/RELEASE_NOT_SUCCESSFUL").with("phase", phase)
            }
            None => Finding::warning("OPERATION/RELEASE_NOT_LOOKED_UP"),
        };
        findings.push(about(finding));
    }
    returns
}

/// Makes a product what the operations that go back say.
pub(super) fn hold(
    deployment: &mut Deployment,
    returns: &[Return<'_>],
    findings: &mut Vec<Finding>,
) {
    let product = deployment.product.clone();
    let wanted = deployment.version.clone();
    let concerned = |it: &&Return<'_>| {
        it.asked.products.is_empty() || it.asked.products.iter().any(|name| *name == *product)
    };
    for back in returns.iter().filter(concerned) {
        let named = back.place_of(&product);
        let Some(earlier) = back.site.deployment(&product) else {
            // Installed since; only who names it means it.
            let finding = back.finding(Finding::error, "OPERATION/PRODUCT_NOT_IN_RELEASE");
            findings.extend(named.map(|place| finding.at(place).with("product", &product)));
            continue;
        };
        let place = named.unwrap_or_else(|| back.place("release"));
        let mut refused = Vec::new();
        let apps = chosen(back, deployment, earlier, &mut refused);
        let about = |finding: Finding| finding.at(place.clone()).with("product", &product);
        if !earlier.placements.keys().eq(deployment.placements.keys()) {
            let list = |it: &Deployment| {
                it.placements.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
            };
            let finding = about(back.finding(Finding::error, "OPERATION/CLUSTERS_DIFFER"));
            refused.push(finding.with("then", list(earlier)).with("now", list(deployment)));
        }
        let (then, now) = (members(earlier), members(deployment));
        if back.asked.apps.is_empty() && then != now {
            let list = |it: &BTreeSet<(&str, &str)>| {
                let apps: BTreeSet<&str> = it.iter().map(|(_, app)| *app).collect();
                let apps = apps.into_iter().collect::<Vec<_>>().join(", ");
                if apps.is_empty() { "–".to_owned() } else { apps }
            };
            let finding = about(back.finding(Finding::error, "OPERATION/SCALING_GROUPS_DIFFER"));
            refused.push(finding.with("then", list(&then)).with("now", list(&now)));
        }
        for app in earlier.exclude.iter().filter(|app| apps.contains(app.as_str())) {
            let finding = about(back.finding(Finding::error, "OPERATION/APP_WAS_LEFT_OUT"));
            refused.push(finding.with("app", app));
        }
        if let Some((app, other)) = asked_otherwise(deployment, &apps) {
            let finding = Finding::error("OPERATION/HELD_AND_CHANGED").at(place.clone());
            let finding = finding.with("name", back.name()).with("other", other);
            refused.push(finding.with("product", &product).with("app", app));
        }
        if !refused.is_empty() {
            findings.append(&mut refused);
            continue;
        }
        if back.asked.apps.is_empty() {
            hold_product(deployment, earlier, back.name());
        } else {
            hold_apps(deployment, earlier, &apps, back.name());
        }
        let what = |app: &&Name| format!("{product}/{app}");
        let apps: Vec<String> = back.asked.apps.iter().map(|app| what(&app)).collect();
        let what = if apps.is_empty() { product.clone() } else { apps.join(", ") };
        findings.push(
            back.finding(Finding::note, "OPERATION/HELD_BACK")
                .at(place)
                .with("what", what)
                .with("then", &earlier.version)
                .with("now", &wanted),
        );
    }
}

/// The apps that go back: those that are named, or else all but tasks.
fn chosen(
    back: &Return<'_>,
    deployment: &Deployment,
    earlier: &Deployment,
    findings: &mut Vec<Finding>,
) -> BTreeSet<String> {
    if back.asked.apps.is_empty() {
        let own = placed(earlier).filter(|app| app.app.kind != AppKind::Task);
        return own.map(|app| app.app.name.to_string()).collect();
    }
    for (index, app) in back.asked.apps.iter().enumerate() {
        let is_it = |placed: &&PlacedApp| placed.app.name == *app;
        let code = match (placed(deployment).find(is_it), placed(earlier).find(is_it)) {
            (None, _) => "OPERATION/APP_UNKNOWN",
            (Some(now), _) if now.app.kind == AppKind::Task => "OPERATION/TASK_NOT_UNDONE",
            (Some(_), None) => "OPERATION/APP_NOT_IN_RELEASE",
            (Some(_), Some(_)) => continue,
        };
        let finding = back.finding(Finding::error, code).with("app", app);
        let finding = finding.with("product", &deployment.product);
        findings.push(finding.at(back.place(&format!("apps[{index}]"))));
    }
    back.asked.apps.iter().map(ToString::to_string).collect()
}

/// An app that goes back and of which another operation asks something, with that operation.
fn asked_otherwise(deployment: &Deployment, apps: &BTreeSet<String>) -> Option<(String, String)> {
    let own = placed(deployment).filter(|app| apps.contains(app.app.name.as_str()));
    own.map(|app| (app.app.name.to_string(), app.operations.join(", ")))
        .find(|(_, operations)| !operations.is_empty())
}

/// What runs in scaling groups, by cluster and name.
fn members(deployment: &Deployment) -> BTreeSet<(&str, &str)> {
    let all = deployment.placements.iter().flat_map(|(cluster, placement)| {
        placement.apps.iter().map(move |placed| (cluster.as_str(), placed))
    });
    all.filter(|(_, placed)| placed.member.is_some())
        .map(|(cluster, placed)| (cluster, placed.app.name.as_str()))
        .collect()
}

fn placed(deployment: &Deployment) -> impl Iterator<Item = &PlacedApp> {
    deployment.placements.values().flat_map(|placement| &placement.apps)
}

fn hold_product(deployment: &mut Deployment, earlier: &Deployment, operation: &str) {
    let mut held = Deployment {
        solution: deployment.solution.clone(),
        allow: deployment.allow.clone(),
        exclude: deployment.exclude.clone(),
        place: deployment.place.clone(),
        held_by: Some(operation.to_owned()),
        ..earlier.clone()
    };
    let tasks = placed(earlier).chain(placed(deployment));
    let tasks = tasks.filter(|app| app.app.kind == AppKind::Task);
    held.exclude.extend(tasks.map(|app| app.app.name.to_string()));
    for app in held.placements.values_mut().flat_map(|placement| &mut placement.apps) {
        app.operations = vec![operation.to_owned()];
        // That it was offline then was another operation's word.
        app.idle = None;
    }
    *deployment = held;
}

fn hold_apps(
    deployment: &mut Deployment,
    earlier: &Deployment,
    apps: &BTreeSet<String>,
    operation: &str,
) {
    for (cluster, placement) in &mut deployment.placements {
        let then = earlier.placements.get(cluster).map(|it| it.apps.as_slice()).unwrap_or_default();
        for app in placement.apps.iter_mut().filter(|it| apps.contains(it.app.name.as_str())) {
            if let Some(then) = then.iter().find(|then| then.app.name == app.app.name) {
                let operations = vec![operation.to_owned()];
                *app = PlacedApp { operations, idle: None, ..then.clone() };
            }
        }
    }
}

/// What all products together need: every product that is named runs, and what was secret then is secret now.
pub(super) fn complete(site: &mut ValidSite, returns: &[Return<'_>], findings: &mut Vec<Finding>) {
    for back in returns {
        site.secret_fields.extend(back.site.secret_fields.iter().cloned());
        for product in &back.asked.products {
            if site.deployment(product.as_str()).is_none() {
                let finding = back.finding(Finding::error, "OPERATION/PRODUCT_NOT_RUN");
                let finding = finding.with("product", product);
                findings.push(finding.at(back.place_of(product.as_str())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::render::render;
    use crate::site::ValidSite;
    use crate::snapshot::{Earlier, Snapshot};
    use crate::validate::tests::{PLAIN, now, snapshot};
    use crate::validate::{earlier_releases, validate};

    /// A database that says where it is, and a shop that uses it.
    fn at(version: &str, operation: Option<&str>) -> Snapshot {
        let major = version.chars().next().unwrap();
        let products = "
apiVersion: tidegate.dev/v1
kind: Product
metadata: {name: db}
spec: {}
---
apiVersion: tidegate.dev/v1
kind: Product
metadata: {name: shop}
spec: {}
---
apiVersion: tidegate.dev/v1
kind: ProductVersion
metadata: {name: shop}
spec:
  version: 1.0.0
  requires: [{product: db}]
  apps: [{name: shop, image: 'shop:1', env: {DB: '{{ products.db.host }}'}}]
";
        let version = format!(
            "
apiVersion: tidegate.dev/v1
kind: ProductVersion
metadata: {{name: db}}
spec:
  version: {version}
  publishes: {{host: db-v{major}}}
  apps:
    - {{name: db, image: 'db:{version}'}}
    - {{name: proxy, image: 'proxy:{version}'}}
    - {{name: migrate, kind: task, image: 'migrate:{version}'}}
---
apiVersion: tidegate.dev/v1
kind: Solution
metadata: {{name: all}}
spec: {{products: [{{product: db, version: {version}}}, {{product: shop, version: 1.0.0}}]}}
"
        );
        let operation = operation.map(|rollback| {
            format!(
                "
apiVersion: tidegate.dev/v1
kind: Operation
metadata: {{name: back}}
spec: {{action: {{rollback: {rollback}}}, author: li-na, reason: CHG-1, expires: 2026-11-22T10:00:00Z}}
"
            )
        });
        snapshot([
            ("site.yaml", PLAIN),
            ("products.yaml", products),
            ("version.yaml", &version),
            ("operation.yaml", operation.as_deref().unwrap_or_default()),
        ])
    }

    /// Version 2 now, version 1 with the release `r1`.
    fn site(operation: Option<&str>, now: jiff::Timestamp) -> (ValidSite, Vec<String>) {
        let mut current = at("2.0.0", operation);
        if operation.is_some() {
            assert_eq!(earlier_releases(&current).into_iter().collect::<Vec<_>>(), ["r1"]);
            let earlier = Earlier::Delivered { at: now, snapshot: Box::new(at("1.0.0", None)) };
            current.earlier.insert("r1".to_owned(), earlier);
        }
        let (site, findings) = validate(&current, now);
        let codes = findings.iter().map(|finding| finding.code.to_string()).collect();
        (site.unwrap_or_else(|| panic!("{findings:?}")), codes)
    }

    fn images(site: &ValidSite) -> Vec<String> {
        let units = render(site, now()).units;
        units.into_iter().map(|unit| unit.image).collect()
    }

    fn database(site: &ValidSite) -> String {
        let shop = &site.deployments["shop"].placements["room-a"].apps[0];
        format!("{:?}", shop.env["DB"])
    }

    #[test]
    fn a_product_is_what_the_release_delivered_and_others_see_what_it_published_then() {
        let (site, codes) = site(Some("{release: r1, products: [db]}"), now());
        assert_eq!(codes, ["OPERATION/HELD_BACK"]);
        assert_eq!(images(&site), ["db:1.0.0", "migrate:1.0.0", "proxy:1.0.0", "shop:1"]);
        assert_eq!(database(&site), "Text(\"db-v1\")");
        let db = &site.deployments["db"];
        assert_eq!(db.version.to_string(), "1.0.0");
        assert_eq!(db.held_by.as_deref(), Some("back"));
        assert_eq!(db.exclude.iter().collect::<Vec<_>>(), ["migrate"], "tasks are left alone");
    }

    #[test]
    fn without_products_all_that_both_have_go_back() {
        let (site, codes) = site(Some("{release: r1}"), now());
        assert_eq!(codes, ["OPERATION/HELD_BACK", "OPERATION/HELD_BACK"]);
        assert_eq!(images(&site), ["db:1.0.0", "migrate:1.0.0", "proxy:1.0.0", "shop:1"]);
    }

    #[test]
    fn only_the_chosen_apps_go_back() {
        let (site, codes) = site(Some("{release: r1, products: [db], apps: [proxy]}"), now());
        assert_eq!(codes, ["OPERATION/HELD_BACK"]);
        assert_eq!(images(&site), ["db:2.0.0", "migrate:2.0.0", "proxy:1.0.0", "shop:1"]);
        assert_eq!(database(&site), "Text(\"db-v2\")");
        assert_eq!(site.deployments["db"].version.to_string(), "2.0.0");
    }

    #[test]
    fn when_it_is_over_the_solution_counts_again() {
        let over = "2026-11-22T10:00:00Z".parse().unwrap();
        let (site, codes) = site(Some("{release: r1, products: [db]}"), over);
        assert_eq!(codes, ["OPERATION/OVER"]);
        assert_eq!(images(&site), ["db:2.0.0", "migrate:2.0.0", "proxy:2.0.0", "shop:1"]);
    }
}
