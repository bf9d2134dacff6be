//! Owners: host names, wildcards, services, addresses' names, and the forgotten dot.

use tidegate_schema::Finding;

use super::about;
use crate::zone::{
    index::{Entry, Indexed},
    name::Name,
    rdata::Rdata,
};

/// Protocols that a service's name may have (RFC 2782, RFC 8552 section 4.1.2).
const PROTOCOLS: &[&[u8]] = &[b"_tcp", b"_udp", b"_sctp", b"_dccp", b"_tls", b"_quic"];

pub(super) fn check(zone: &Indexed<'_>, findings: &mut Vec<Finding>) {
    for (owner, entry) in zone.entries() {
        let set = entry.set;
        if repeats(owner, &zone.origin) {
            let finding = about(Finding::warning("DNS/FORGOTTEN_DOT"), zone, set);
            findings.push(finding.with("value", owner));
        }
        for target in entry.values.iter().filter_map(Rdata::target) {
            if repeats(target, &zone.origin) {
                let finding = about(Finding::warning("DNS/FORGOTTEN_DOT"), zone, set);
                findings.push(finding.with("value", target));
            }
        }
        by_type(zone, owner, entry, findings);
    }
}

fn by_type(zone: &Indexed<'_>, owner: &Name, entry: &Entry<'_>, findings: &mut Vec<Finding>) {
    let set = entry.set;
    let code = match set.rtype.as_str() {
        "A" | "AAAA" if !is_host(owner) => Finding::warning("DNS/NOT_A_HOST_NAME"),
        "SRV" if owner.is_wildcard() => Finding::warning("DNS/WILDCARD_SERVICE"),
        "SRV" if !is_service(owner) => Finding::error("DNS/SERVICE_NAME"),
        "PTR" if is_reverse(&zone.origin) && !is_address_name(owner) => {
            Finding::error("DNS/REVERSE_NAME")
        }
        "PTR" if !is_reverse(&zone.origin) && !is_discovery(owner) => {
            Finding::warning("DNS/REVERSE_OUTSIDE")
        }
        _ => return,
    };
    findings.push(about(code, zone, set));
}

/// `www.example.test.example.test.`: the name was written in full, without its dot.
fn repeats(name: &Name, origin: &Name) -> bool {
    let twice = [origin.labels(), origin.labels()].concat();
    name.labels().ends_with(&twice)
}

/// Letters, digits and inner hyphens (RFC 952, RFC 1123 section 2.1); a wildcard stands for such a name.
pub(super) fn is_host(name: &Name) -> bool {
    let labels = name.labels();
    let labels = if name.is_wildcard() { labels.get(1..).unwrap_or_default() } else { labels };
    labels.iter().all(|label| {
        label.iter().all(|octet| octet.is_ascii_alphanumeric() || *octet == b'-')
            && label.first() != Some(&b'-')
            && label.last() != Some(&b'-')
    })
}

/// `_service._protocol` at the left.
fn is_service(name: &Name) -> bool {
    match name.labels() {
        [service, protocol, ..] => {
            service.len() > 1
                && service.first() == Some(&b'_')
                && PROTOCOLS.contains(&protocol.as_slice())
        }
        _ => false,
    }
}

/// Service discovery points from services to instances (RFC 6763).
fn is_discovery(name: &Name) -> bool {
    name.labels().iter().any(|label| label.first() == Some(&b'_'))
}

fn reverse_length(name: &Name) -> Option<(usize, bool)> {
    let labels = name.labels();
    let count = labels.len().checked_sub(2)?;
    match labels.get(count..) {
        Some([tree, arpa]) if tree == b"in-addr" && arpa == b"arpa" => Some((count, true)),
        Some([tree, arpa]) if tree == b"ip6" && arpa == b"arpa" => Some((count, false)),
        _ => None,
    }
}

fn is_reverse(name: &Name) -> bool {
    reverse_length(name).is_some()
}

/// Four octets or 32 nibbles (RFC 1035 section 3.5, RFC 3596 section 2.5); classless ranges come with a label of their own
/// (RFC 2317).
fn is_address_name(name: &Name) -> bool {
    let Some((count, is_v4)) = reverse_length(name) else { return false };
    let labels = name.labels().get(..count).unwrap_or_default();
    let is_range = |label: &[u8]| label.iter().any(|octet| matches!(octet, b'/' | b'-'));
    let is_octet = |label: &[u8]| {
        let text = std::str::from_utf8(label).unwrap_or_default();
        text.parse::<u8>().is_ok_and(|octet| octet.to_string() == text)
    };
    let is_nibble = |label: &[u8]| matches!(label, [octet] if octet.is_ascii_hexdigit());
    if is_v4 {
        let octets = labels.iter().filter(|label| !is_range(label));
        octets.clone().count() == 4 && octets.clone().all(|label| is_octet(label))
    } else {
        count == 32 && labels.iter().all(|label| is_nibble(label))
    }
}
