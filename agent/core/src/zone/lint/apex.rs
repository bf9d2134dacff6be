//! The top of a zone: its name, its primary and its servers (RFC 1035 section 3.3.13, RFC 2182).

use tidegate_schema::Finding;

use super::about;
use crate::zone::{
    ZoneKind,
    index::{Fact, Index, Indexed},
    name::Name,
};

/// Names that resolvers treat in a way of their own (RFC 6761, RFC 6762).
const SPECIAL: &[&str] = &["localhost", "local", "invalid", "onion"];

pub(super) fn check(index: &Index<'_>, zone: &Indexed<'_>, findings: &mut Vec<Finding>) {
    let labels = zone.origin.labels();
    let is_special =
        labels.last().is_some_and(|last| SPECIAL.iter().any(|name| name.as_bytes() == last));
    if labels.len() < 2 || is_special {
        let finding = Finding::warning("DNS/ZONE_NAME").at(zone.place_of("metadata.name"));
        findings.push(finding.with("zone", &zone.origin));
    }
    let ZoneKind::Hosted { primary, .. } = &zone.zone.kind else { return };
    if let Ok(name) = Name::absolute(primary) {
        let has_address = match index.fact(&name) {
            Fact::Present(entries) => {
                entries.iter().any(|entry| matches!(entry.set.rtype.as_str(), "A" | "AAAA"))
            }
            Fact::Elsewhere => true,
            Fact::Empty | Fact::Missing => false,
        };
        if !has_address {
            let finding = Finding::error("DNS/PRIMARY_UNKNOWN").at(zone.place_of("spec.primary"));
            findings.push(finding.with("primary", primary));
        }
    }
    let Some(servers) = zone.entry(&zone.origin, "NS") else { return };
    if !servers.set.values.contains(primary) {
        let finding = Finding::note("DNS/PRIMARY_HIDDEN").at(zone.place_of("spec.primary"));
        findings.push(finding.with("primary", primary).with("zone", &zone.origin));
    }
    if servers.values.len() < 2 {
        findings.push(about(Finding::note("DNS/SINGLE_SERVER"), zone, servers.set));
    }
}
