//! Differences of DNS zones, record set by record set, against what is published.

use std::collections::{BTreeMap, BTreeSet};

use crate::change::{Action, RecordDifference, ZoneDifference};
use crate::digest::Digest;
use crate::zone::{PublishedZone, RecordSet, ZoneData, ZoneKind};

/// Compares desired zones with published ones; unchanged zones are left out.
pub(super) fn differences(
    desired: &[ZoneData],
    published: &BTreeMap<String, PublishedZone>,
) -> Vec<ZoneDifference> {
    let wanted: BTreeMap<&str, &ZoneData> =
        desired.iter().map(|zone| (zone.name.as_str(), zone)).collect();
    let names: BTreeSet<&str> =
        wanted.keys().copied().chain(published.keys().map(String::as_str)).collect();
    let difference = |name: &str| difference(name, wanted.get(name).copied(), published.get(name));
    names.into_iter().filter_map(difference).collect()
}

fn difference(
    name: &str,
    desired: Option<&ZoneData>,
    published: Option<&PublishedZone>,
) -> Option<ZoneDifference> {
    let action = match (desired, published) {
        (None, None) => return None,
        (Some(desired), Some(published)) if *desired == published.zone => return None,
        (Some(_), Some(_)) => Action::Configure,
        (Some(_), None) => Action::Create,
        (None, Some(_)) => Action::Prune,
    };
    let before = published.map(|published| sets(&published.zone)).unwrap_or_default();
    let after = desired.map(sets).unwrap_or_default();
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let records = keys
        .into_iter()
        .filter(|key| before.get(*key) != after.get(*key))
        .map(|key| RecordDifference {
            before: before.get(key).cloned(),
            after: after.get(key).cloned(),
        })
        .collect();
    Some(ZoneDifference {
        zone: name.to_owned(),
        action,
        serial: published.map(|published| published.serial),
        records,
        desired: desired.map(Digest::of),
    })
}

/// A zone's record sets by name and type. What the zone says of itself stands among them: the SOA without its serial, or
/// where queries are handed on (as a pseudo type, `FORWARD`).
fn sets(zone: &ZoneData) -> BTreeMap<(String, String), RecordSet> {
    let apex = format!("{}.", zone.name);
    let own = |rtype: &str, ttl: u32, values: Vec<String>| RecordSet {
        name: apex.clone(),
        rtype: rtype.to_owned(),
        ttl,
        values,
    };
    let mut sets = match &zone.kind {
        ZoneKind::Hosted { ttl, negative_ttl, primary, contact, records } => {
            let mut sets = records.clone();
            sets.push(own("SOA", *ttl, vec![format!("{primary} {contact} {negative_ttl}")]));
            sets
        }
        ZoneKind::Forward { to } => vec![own("FORWARD", 0, to.clone())],
    };
    sets.sort();
    sets.into_iter().map(|set| ((set.name.clone(), set.rtype.clone()), set)).collect()
}
