//! Cuts: delegated zones, their glue, and what they hide (RFC 1034 section 4.2, RFC 9471).

use std::collections::BTreeSet;

use tidegate_schema::Finding;

use super::about;
use crate::zone::{index::Indexed, name::Name, rdata::Rdata};

pub(super) fn check(zone: &Indexed<'_>, findings: &mut Vec<Finding>) {
    let mut servers: BTreeSet<&Name> = BTreeSet::new();
    for cut in &zone.cuts {
        let Some(entry) = zone.entry(cut, "NS") else { continue };
        if cut.is_wildcard() {
            findings.push(about(Finding::error("DNS/WILDCARD_TYPE"), zone, entry.set));
        }
        if entry.values.len() < 2 {
            findings.push(about(Finding::note("DNS/SINGLE_SERVER"), zone, entry.set));
        }
        for target in entry.values.iter().filter_map(Rdata::target) {
            servers.insert(target);
            let has_glue = ["A", "AAAA"].iter().any(|rtype| zone.entry(target, rtype).is_some());
            if target.is_within(cut) && !has_glue {
                let finding = about(Finding::error("DNS/GLUE_MISSING"), zone, entry.set);
                findings.push(finding.with("server", target));
            }
        }
    }
    for (owner, entry) in zone.entries() {
        let Some(cut) = zone.cut_above(owner) else { continue };
        let is_glue = matches!(entry.set.rtype.as_str(), "A" | "AAAA");
        let is_of_cut = owner == cut && matches!(entry.set.rtype.as_str(), "NS" | "DS");
        let finding = match (is_glue, servers.contains(owner)) {
            _ if is_of_cut => continue,
            (true, true) => continue,
            (true, false) => Finding::warning("DNS/GLUE_UNUSED"),
            (false, _) => Finding::error("DNS/HIDDEN_BY_CUT"),
        };
        findings.push(about(finding, zone, entry.set).with("cut", cut));
    }
}
