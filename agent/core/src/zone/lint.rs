//! The sense of zones: what can be read but would not work, or not as meant.
//!
//! Each rule names its source. What the form of a document already rules out has no rule here: a class, a serial, mixed TTLs in one
//! set, two SOA records, `$INCLUDE`.

mod address;
mod alias;
mod apex;
mod delegation;
mod mail;
mod owner;
mod scope;
mod target;

#[cfg(test)]
mod tests;

use tidegate_schema::{Document, Finding};

use super::{
    RecordSet, ZoneData,
    index::{Index, Indexed},
};

/// Checks zones, each by itself and all together. Give all zones of the site, with the documents they were read from; a zone's
/// records that are in no document (those of load balancers) are reported where the zone is named.
pub fn lint<'a>(
    zones: impl IntoIterator<Item = (Option<&'a Document>, &'a ZoneData)>,
) -> Vec<Finding> {
    let index = Index::new(zones);
    let mut findings = Vec::new();
    for zone in index.zones.values() {
        scope::check(&index, zone, &mut findings);
        if zone.is_hosted() {
            apex::check(&index, zone, &mut findings);
            owner::check(zone, &mut findings);
            address::check(zone, &mut findings);
            alias::check(&index, zone, &mut findings);
            target::check(&index, zone, &mut findings);
            delegation::check(zone, &mut findings);
            mail::check(zone, &mut findings);
        }
    }
    findings.sort();
    findings.dedup();
    findings
}

/// A finding about a record set: where it is, with its name and type.
fn about(finding: Finding, zone: &Indexed<'_>, set: &RecordSet) -> Finding {
    finding.at(zone.place(set)).with("name", &set.name).with("type", &set.rtype)
}
