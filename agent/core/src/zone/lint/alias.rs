//! Aliases: CNAME and DNAME (RFC 1034 section 3.6.2, RFC 2181 section 10.1, RFC 6672).

use tidegate_schema::Finding;

use super::about;
use crate::zone::{
    index::{Entry, Fact, Index, Indexed},
    name::Name,
    rdata::Rdata,
};

/// More aliases in a row than this are refused: each costs an asker time, and some give up.
const MAX_CHAIN: usize = 8;

pub(super) fn check(index: &Index<'_>, zone: &Indexed<'_>, findings: &mut Vec<Finding>) {
    for (owner, entries) in &zone.nodes {
        for entry in entries {
            match entry.set.rtype.as_str() {
                "CNAME" => canonical(index, zone, owner, entry, findings),
                "DNAME" => subtree(zone, owner, entry, findings),
                _ => {}
            }
        }
    }
}

fn canonical(
    index: &Index<'_>,
    zone: &Indexed<'_>,
    owner: &Name,
    entry: &Entry<'_>,
    findings: &mut Vec<Finding>,
) {
    let set = entry.set;
    if entry.values.len() > 1 {
        findings.push(about(Finding::error("DNS/SEVERAL_ALIASES"), zone, set));
    }
    let other =
        zone.nodes.get(owner).into_iter().flatten().find(|other| other.set.rtype != "CNAME");
    if *owner == zone.origin {
        findings.push(about(Finding::error("DNS/ALIAS_AT_APEX"), zone, set));
    } else if let Some(other) = other {
        let finding = about(Finding::error("DNS/ALIAS_WITH_DATA"), zone, set);
        findings.push(finding.with("other", &other.set.rtype));
    }
    let Some(target) = entry.values.first().and_then(Rdata::target) else { return };
    let finding = match follow(index, owner, target) {
        Chain::Loop => Finding::error("DNS/ALIAS_LOOP"),
        Chain::Dangling(end) => Finding::error("DNS/ALIAS_DANGLING").with("target", end),
        Chain::Ends(length) if length > MAX_CHAIN => {
            Finding::error("DNS/ALIAS_CHAIN").with("length", length)
        }
        Chain::Ends(length) if length > 1 => {
            Finding::warning("DNS/ALIAS_CHAIN").with("length", length)
        }
        Chain::Ends(_) => return,
    };
    findings.push(about(finding, zone, set));
}

enum Chain {
    /// After this many aliases there is data, or another server decides.
    Ends(usize),
    Loop,
    Dangling(Name),
}

fn follow(index: &Index<'_>, owner: &Name, target: &Name) -> Chain {
    let mut seen = vec![owner.clone()];
    let mut current = target.clone();
    loop {
        if seen.contains(&current) {
            return Chain::Loop;
        }
        let entries = match index.fact(&current) {
            Fact::Present(entries) => entries,
            Fact::Missing => return Chain::Dangling(current),
            Fact::Empty | Fact::Elsewhere => return Chain::Ends(seen.len()),
        };
        let alias = entries.iter().find(|entry| entry.set.rtype == "CNAME");
        let next = alias.and_then(|alias| alias.values.first()).and_then(Rdata::target);
        let Some(next) = next else { return Chain::Ends(seen.len()) };
        seen.push(std::mem::replace(&mut current, next.clone()));
    }
}

/// RFC 6672 sections 2.3 and 2.4.
fn subtree(zone: &Indexed<'_>, owner: &Name, entry: &Entry<'_>, findings: &mut Vec<Finding>) {
    let set = entry.set;
    if entry.values.len() > 1 {
        findings.push(about(Finding::error("DNS/SEVERAL_ALIASES"), zone, set));
    }
    if zone.cuts.contains(owner) {
        let finding = about(Finding::error("DNS/ALIAS_WITH_DATA"), zone, set);
        findings.push(finding.with("other", "NS"));
    }
    if owner.is_wildcard() {
        findings.push(about(Finding::error("DNS/WILDCARD_TYPE"), zone, set));
    }
    if *owner == zone.origin {
        findings.push(about(Finding::warning("DNS/SUBTREE_AT_APEX"), zone, set));
    }
    if let Some(target) = entry.values.first().and_then(Rdata::target)
        && target.is_within(owner)
    {
        findings.push(about(Finding::error("DNS/ALIAS_LOOP"), zone, set));
    }
    for (below, hidden) in zone.entries().filter(|(name, _)| name.is_below(owner)) {
        let finding = about(Finding::error("DNS/BELOW_SUBTREE_ALIAS"), zone, hidden.set);
        findings.push(finding.with("name", below).with("alias", owner));
    }
}
