//! Zones beside and inside each other: hosted in hosted, forward in hosted, and forwarding to ourselves.

use std::net::IpAddr;

use tidegate_schema::Finding;

use super::about;
use crate::zone::{
    ZoneKind,
    index::{Index, Indexed},
    name::Name,
};

pub(super) fn check(index: &Index<'_>, zone: &Indexed<'_>, findings: &mut Vec<Finding>) {
    let above: Vec<Name> = zone.origin.ancestors_until(&Name::ROOT).collect();
    let parent = above.iter().find_map(|above| index.zones.get(above));
    if let Some(parent) = parent.filter(|parent| parent.is_hosted()) {
        if !parent.cuts.contains(&zone.origin) {
            let finding = Finding::warning("DNS/ZONE_NOT_DELEGATED");
            let finding = finding.at(zone.place_of("metadata.name"));
            findings.push(finding.with("zone", &zone.origin).with("parent", &parent.origin));
        }
        for (owner, entry) in parent.entries().filter(|(owner, _)| owner.is_within(&zone.origin)) {
            let is_delegation = matches!(entry.set.rtype.as_str(), "NS" | "DS" | "A" | "AAAA");
            let is_at_cut = *owner == zone.origin || parent.cuts.contains(&zone.origin);
            if !(is_delegation && is_at_cut) {
                let finding = about(Finding::error("DNS/HIDDEN_BY_ZONE"), parent, entry.set);
                findings.push(finding.with("zone", &zone.origin));
            }
        }
    }
    let ZoneKind::Forward { to } = &zone.zone.kind else { return };
    if to.len() < 2 {
        let finding = Finding::note("DNS/SINGLE_FORWARDER").at(zone.place_of("spec.forward.to"));
        findings.push(finding.with("zone", &zone.origin));
    }
    for address in to.iter().filter(|address| is_ours(index, address)) {
        let finding = Finding::warning("DNS/FORWARD_LOOP").at(zone.place_of("spec.forward.to"));
        findings.push(finding.with("zone", &zone.origin).with("address", address));
    }
}

/// Whether the address is that of a hosted zone's primary, which is most often this agent.
fn is_ours(index: &Index<'_>, address: &str) -> bool {
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    index.zones.values().any(|zone| {
        let ZoneKind::Hosted { primary, .. } = &zone.zone.kind else { return false };
        let Ok(primary) = Name::absolute(primary) else { return false };
        let Some(holder) = index.responsible(&primary) else { return false };
        let entries = holder.nodes.get(&primary).into_iter().flatten();
        entries.flat_map(|entry| &entry.values).any(|rdata| rdata.address() == Some(address))
    })
}
