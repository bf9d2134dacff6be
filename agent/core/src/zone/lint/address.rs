//! Sets of records: addresses that lead nowhere, TTLs, sizes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tidegate_schema::Finding;

use super::about;
use crate::zone::index::Indexed;

/// Seconds below which caches help nobody, and above which a mistake stays for more than a week.
const USUAL_TTL: std::ops::RangeInclusive<u32> = 30..=604_800;
/// Octets of a set that still fit an answer over UDP beside the question, the servers and the OPT record.
const SMALL: usize = 1_000;
/// Octets of a set beyond which it fits no message at all (RFC 1035 section 4.2.2).
const LARGE: usize = 65_000;

pub(super) fn check(zone: &Indexed<'_>, findings: &mut Vec<Finding>) {
    for (owner, entry) in zone.entries() {
        let set = entry.set;
        if !USUAL_TTL.contains(&set.ttl) {
            let finding = about(Finding::warning("DNS/TTL_UNUSUAL"), zone, set);
            findings.push(finding.with("ttl", set.ttl));
        }
        let length: usize =
            entry.values.iter().map(|rdata| rdata.wire().len() + owner.wire_length() + 10).sum();
        let size = if length > LARGE {
            Some(Finding::error("DNS/SET_TOO_LARGE"))
        } else {
            (length > SMALL).then(|| Finding::warning("DNS/SET_LARGE"))
        };
        findings.extend(size.map(|finding| about(finding, zone, set).with("octets", length)));
        for rdata in &entry.values {
            let is_unusual = rdata.address().is_some_and(|address| match address {
                IpAddr::V4(address) => is_unusual_v4(address),
                IpAddr::V6(address) => is_unusual_v6(address),
            });
            if is_unusual {
                let finding = about(Finding::warning("DNS/ADDRESS_UNUSUAL"), zone, set);
                findings.push(finding.with("address", rdata));
            }
        }
    }
}

/// Addresses that no host on a network has (RFC 6890).
fn is_unusual_v4(address: Ipv4Addr) -> bool {
    address.is_unspecified()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
}

fn is_unusual_v6(address: Ipv6Addr) -> bool {
    address.is_unspecified()
        || address.is_loopback()
        || address.is_unicast_link_local()
        || address.is_multicast()
        || address.to_ipv4_mapped().is_some()
}
