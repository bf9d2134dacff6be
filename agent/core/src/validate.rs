//! Validation: a snapshot becomes a valid site, or a list of everything that is wrong with it.
//!
//! What concerns one document alone the schema crate has found while reading; here is what concerns several.

use jiff::Timestamp;
use tidegate_schema::finding::Finding;

use crate::render;
use crate::site::ValidSite;
use crate::snapshot::Snapshot;

mod documents;
mod references;
mod site;
mod version;
mod parameter;
mod template;
mod manifest;
mod operation;
mod back;
mod solution;
pub(crate) mod policy;
mod iam;
mod zone;

pub use back::earlier_releases;
use documents::Documents;

/// Remarks that something is absent. While a document cannot be read they say nothing: it may be in that one.
const ABSENCES: [&str; 3] =
    ["ROLLOUT/NO_APPROVAL_POLICY", "SITE/NO_CLUSTERS", "VALUE/PRODUCT_NOT_RUN"];

/// All findings of a snapshot, sorted as the files read; and the site, unless one of them is an error.
pub fn validate(snapshot: &Snapshot, now: Timestamp) -> (Option<ValidSite>, Vec<Finding>) {
    let mut findings = snapshot.findings.clone();
    let documents = Documents::read(snapshot, &mut findings);
    let is_partial = findings.iter().any(Finding::is_error);
    references::check(&documents, &mut findings);
    let spec = site::check(&documents, snapshot, &mut findings);
    version::check(&documents, snapshot, &mut findings);
    policy::check(&documents, &mut findings);
    iam::check(&documents, now, &mut findings);
    let zones = zone::zones(&documents, &mut findings);
    let site = spec.map(|(name, spec)| {
        let mut site = documents.site(name, spec, snapshot, zones);
        solution::deploy(&mut site, &documents, snapshot, now, &mut findings);
        operation::check(&site, &documents, now, &mut findings);
        policy::check_groups(&site, &documents, &mut findings);
        zone::check_hosts(&site, &documents, &mut findings);
        twice(&site, now, &mut findings);
        site
    });
    if is_partial {
        findings.retain(|finding| !ABSENCES.contains(&finding.code.as_ref()));
    }
    findings.sort();
    findings.dedup();
    let is_refused = findings.iter().any(Finding::is_error);
    (site.filter(|_| !is_refused), findings)
}

/// Two objects with one reference: the second would silently overwrite the first (gitops.md D10).
fn twice(site: &ValidSite, now: Timestamp, findings: &mut Vec<Finding>) {
    let mut objects = Vec::new();
    render::each_object(site, now, |draft| objects.push((draft.reference, draft.place.clone())));
    objects.sort();
    for pair in objects.windows(2) {
        if let [(first, other), (second, place)] = pair
            && first == second
        {
            findings.push(
                Finding::error("MANIFEST/OBJECT_TWICE")
                    .at(place.clone())
                    .with("object", second)
                    .with("cluster", &second.cluster)
                    .with("other", other),
            );
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
