//! Zones: those of the documents, with the records of load balancers that have a host and addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::site::{PlacedLoadBalancer, ValidSite};
use crate::zone::{RecordSet, ZoneData, ZoneKind};

/// All zones, ordered by name.
pub(crate) fn zones(site: &ValidSite) -> Vec<ZoneData> {
    let mut zones: BTreeMap<&str, ZoneData> =
        site.zones.iter().map(|(name, zone)| (name.as_str(), zone.spec.clone())).collect();
    for (host, addresses) in hosts(site) {
        let Some(name) = zone_of(site, host) else { continue };
        if let Some(ZoneData { kind: ZoneKind::Hosted { ttl, records, .. }, .. }) =
            zones.get_mut(name)
        {
            add(records, host, &addresses, *ttl);
        }
    }
    zones.into_values().collect()
}

/// The addresses of each host, over all clusters.
fn hosts(site: &ValidSite) -> BTreeMap<&str, BTreeSet<IpAddr>> {
    let mut hosts: BTreeMap<&str, BTreeSet<IpAddr>> = BTreeMap::new();
    let placements =
        site.deployments.values().flat_map(|deployment| deployment.placements.values());
    for PlacedLoadBalancer { host, addresses, .. } in
        placements.flat_map(|placement| &placement.load_balancers)
    {
        if let Some(host) = host {
            hosts.entry(host).or_default().extend(addresses);
        }
    }
    hosts
}

/// The name of the zone that a host belongs to: the longest that ends it, whether hosted or forwarded.
pub(crate) fn zone_of<'a>(site: &'a ValidSite, host: &str) -> Option<&'a str> {
    let ends = |zone: &&str| host == *zone || host.ends_with(&format!(".{zone}"));
    site.zones.keys().map(String::as_str).filter(ends).max_by_key(|zone| zone.len())
}

/// Puts addresses under a name, beside those that the documents give it.
fn add(records: &mut Vec<RecordSet>, host: &str, addresses: &BTreeSet<IpAddr>, ttl: u32) {
    let name = format!("{host}.");
    for (rtype, is_kind) in
        [("A", IpAddr::is_ipv4 as fn(&IpAddr) -> bool), ("AAAA", IpAddr::is_ipv6)]
    {
        let values: BTreeSet<String> =
            addresses.iter().filter(|address| is_kind(address)).map(ToString::to_string).collect();
        if values.is_empty() {
            continue;
        }
        let same = records.iter_mut().find(|set| set.name == name && set.rtype == rtype);
        if let Some(set) = same {
            let all: BTreeSet<String> = set.values.drain(..).chain(values).collect();
            set.values = all.into_iter().collect();
        } else {
            let values = values.into_iter().collect();
            records.push(RecordSet { name: name.clone(), rtype: rtype.to_owned(), ttl, values });
        }
    }
    records.sort_by(|left, right| (&left.name, &left.rtype).cmp(&(&right.name, &right.rtype)));
}
