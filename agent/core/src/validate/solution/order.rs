//! Orders that a solution gives instead of those that follow from dependencies (YL-047).

use std::collections::BTreeSet;

use tidegate_schema::Document;
use tidegate_schema::finding::Finding;
use tidegate_schema::scalar::Name;
use tidegate_schema::solution::Solution;

use crate::order::{self, Needs};
use crate::site::ValidSite;
use crate::validate::references::unknown;

/// Each order names what there is, once; one that breaks a dependency is followed, and said.
pub(super) fn check(
    site: &ValidSite,
    document: &Document,
    solution: &Solution,
    findings: &mut Vec<Finding>,
) {
    let Some(order) = &solution.order else { return };
    let products: BTreeSet<&str> = solution.products.iter().map(|it| it.product.as_str()).collect();
    let mut needs = Needs::new();
    for (name, deployment) in &site.deployments {
        let required = deployment.requires.iter().map(|it| it.product.to_string());
        needs.insert(name.clone(), required.collect());
    }
    let about = About { document, path: "spec.order.products".to_owned(), what: "product" };
    about.check(&order.products, &products, &needs, findings);
    for (product, apps) in &order.apps {
        let path = format!("spec.order.apps.{product}");
        let Some(deployment) =
            site.deployment(product.as_str()).filter(|_| products.contains(product.as_str()))
        else {
            let place = document.place(&path);
            findings.push(unknown(place, "product", product.as_str(), products.iter().copied()));
            continue;
        };
        let mut needs = Needs::new();
        for app in deployment.placements.values().flat_map(|placement| &placement.apps) {
            let after = app.app.after.iter().map(ToString::to_string);
            needs.entry(app.app.name.to_string()).or_default().extend(after);
        }
        let known: BTreeSet<&str> = needs.keys().map(String::as_str).collect();
        let about = About { document, path, what: "app" };
        about.check(apps, &known, &needs, findings);
    }
}

struct About<'a> {
    document: &'a Document,
    path: String,
    what: &'static str,
}

impl About<'_> {
    fn check(
        &self,
        wanted: &[Name],
        known: &BTreeSet<&str>,
        needs: &Needs,
        findings: &mut Vec<Finding>,
    ) {
        for (index, name) in wanted.iter().enumerate() {
            let place = self.document.place(&format!("{}[{index}]", self.path));
            if !known.contains(name.as_str()) {
                findings.push(unknown(place, self.what, name.as_str(), known.iter().copied()));
                continue;
            }
            let (before, after) = wanted.split_at(index);
            if before.contains(name) {
                let finding = Finding::error("SOLUTION/ORDER_TWICE").at(place);
                findings.push(finding.with("name", name));
                continue;
            }
            let needed = order::closure(needs, name.as_str());
            for later in after.iter().skip(1).filter(|later| needed.contains(later.as_str())) {
                let finding =
                    Finding::warning("SOLUTION/ORDER_BREAKS_DEPENDENCY").at(place.clone());
                findings.push(finding.with("name", name).with("needs", later));
            }
        }
    }
}
