//! What NS, MX, SRV and PTR point to (RFC 2181 section 10, RFC 5321 section 5.1, RFC 2782).

use tidegate_schema::Finding;

use super::{about, owner::is_host};
use crate::zone::{
    index::{Entry, Fact, Index, Indexed},
    name::Name,
    rdata::Rdata,
};

pub(super) fn check(index: &Index<'_>, zone: &Indexed<'_>, findings: &mut Vec<Finding>) {
    for (_, entry) in zone.entries() {
        let rtype = entry.set.rtype.as_str();
        if !matches!(rtype, "NS" | "MX" | "SRV" | "PTR") {
            continue;
        }
        let targets: Vec<&Name> = entry.values.iter().filter_map(Rdata::target).collect();
        for target in &targets {
            if **target == Name::ROOT {
                if matches!(rtype, "NS" | "PTR") || targets.len() > 1 {
                    findings.push(about(Finding::error("DNS/NO_TARGET"), zone, entry.set));
                }
                continue;
            }
            findings.extend(
                finding(index, zone, entry, target)
                    .map(|finding| about(finding, zone, entry.set).with("target", target)),
            );
        }
    }
}

fn finding(
    index: &Index<'_>,
    zone: &Indexed<'_>,
    entry: &Entry<'_>,
    target: &Name,
) -> Option<Finding> {
    let is_pointer = entry.set.rtype == "PTR";
    if is_address(target, &zone.origin) {
        return Some(Finding::error("DNS/TARGET_IS_ADDRESS"));
    }
    if !is_host(target) || target.is_wildcard() {
        return Some(if is_pointer {
            Finding::warning("DNS/TARGET_NOT_A_HOST")
        } else {
            Finding::error("DNS/TARGET_NOT_A_HOST")
        });
    }
    match index.fact(target) {
        Fact::Present(entries) if has(entries, "CNAME") => Some(if is_pointer {
            Finding::warning("DNS/TARGET_IS_ALIAS")
        } else {
            Finding::error("DNS/TARGET_IS_ALIAS")
        }),
        Fact::Present(entries) if has(entries, "A") || has(entries, "AAAA") => None,
        Fact::Present(_) | Fact::Empty | Fact::Missing if is_pointer => {
            Some(Finding::warning("DNS/TARGET_MISSING"))
        }
        Fact::Present(_) | Fact::Empty | Fact::Missing => {
            Some(Finding::error("DNS/TARGET_MISSING"))
        }
        Fact::Elsewhere => None,
    }
}

fn has(entries: &[Entry<'_>], rtype: &str) -> bool {
    entries.iter().any(|entry| entry.set.rtype == rtype)
}

/// An IPv4 address where a name belongs: `10.0.0.1` was made `10.0.0.1.example.test.`, or is written with a dot.
fn is_address(target: &Name, origin: &Name) -> bool {
    let labels = target.labels();
    let own =
        if target.is_below(origin) { labels.len() - origin.labels().len() } else { labels.len() };
    own == 4
        && labels
            .iter()
            .take(4)
            .all(|label| std::str::from_utf8(label).is_ok_and(|label| label.parse::<u8>().is_ok()))
}
