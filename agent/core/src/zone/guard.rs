//! Guards: changes of a published zone that are most often a mistake, or that break what works while they take effect.

use std::collections::BTreeMap;

use tidegate_schema::Finding;

use super::{RecordSet, ZoneData, ZoneKind};

/// So many sets of a zone may always go or change, and above it a share, and above that a number: shares alone let thousands of
/// names vanish from a large zone, and numbers alone empty a small one.
const SOME: usize = 5;
const REMOVED_PERCENT: usize = 20;
const REMOVED_MOST: usize = 100;
const CHANGED_PERCENT: usize = 30;
const CHANGED_MOST: usize = 500;

/// What a person should look at before a zone changes from `before` to `after`; `None` where it is not there. Warnings, in the
/// order of record sets: whether they need an approval is the policy's matter.
pub fn guard(before: Option<&ZoneData>, after: Option<&ZoneData>) -> Vec<Finding> {
    let (Some(before), mut findings) = (before, Vec::new()) else { return Vec::new() };
    let old = sets(before);
    let new = after.map(sets).unwrap_or_default();
    let removed = old.keys().filter(|key| !new.contains_key(*key)).count();
    let changed =
        old.iter().filter(|(key, set)| new.get(*key).is_some_and(|now| now != *set)).count();
    let total = old.len();
    let is_many = |count: usize, percent: usize, most: usize| {
        count > most || (count > SOME && count * 100 > total * percent)
    };
    if after.is_none() || is_many(removed, REMOVED_PERCENT, REMOVED_MOST) {
        let finding = Finding::warning("DNS/GUARD_REMOVED").with("zone", &before.name);
        findings.push(finding.with("removed", removed).with("total", total));
    }
    if is_many(changed, CHANGED_PERCENT, CHANGED_MOST) {
        let finding = Finding::warning("DNS/GUARD_CHANGED").with("zone", &before.name);
        findings.push(finding.with("changed", changed).with("total", total));
    }
    let Some(after) = after else { return findings };
    if start_of_authority(before) != start_of_authority(after) {
        findings.push(apex(&before.apex(), "SOA"));
    }
    for ((name, rtype), set) in &old {
        let now = new.get(&(*name, *rtype));
        let is_apex = *name == before.apex() && matches!(*rtype, "NS" | "DS" | "MX");
        if is_apex && now != Some(set) {
            findings.push(apex(name, rtype));
        }
        if let Some(now) = now
            && now.ttl < set.ttl
            && now.values != set.values
        {
            let finding = Finding::warning("DNS/GUARD_TTL").with("name", name).with("type", rtype);
            findings.push(finding.with("before", set.ttl).with("after", now.ttl));
        }
    }
    findings
}

fn apex(name: &str, rtype: &str) -> Finding {
    Finding::warning("DNS/GUARD_APEX").with("name", name).with("type", rtype)
}

fn sets(zone: &ZoneData) -> BTreeMap<(&str, &str), &RecordSet> {
    zone.records().iter().map(|set| ((set.name.as_str(), set.rtype.as_str()), set)).collect()
}

fn start_of_authority(zone: &ZoneData) -> Option<(u32, u32, &str, &str)> {
    match &zone.kind {
        ZoneKind::Hosted { ttl, negative_ttl, primary, contact, .. } => {
            Some((*ttl, *negative_ttl, primary, contact))
        }
        ZoneKind::Forward { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(sets: &[(String, u32, &str)]) -> ZoneData {
        let records = sets
            .iter()
            .map(|(name, ttl, value)| RecordSet {
                name: format!("{name}.example.test."),
                rtype: "A".to_owned(),
                ttl: *ttl,
                values: vec![(*value).to_owned()],
            })
            .chain([RecordSet {
                name: "example.test.".to_owned(),
                rtype: "NS".to_owned(),
                ttl: 300,
                values: vec!["ns1.example.test.".to_owned()],
            }])
            .collect();
        ZoneData {
            name: "example.test".to_owned(),
            kind: ZoneKind::Hosted {
                ttl: 300,
                negative_ttl: 60,
                primary: "ns1.example.test.".to_owned(),
                contact: "hostmaster.example.test.".to_owned(),
                records,
            },
        }
    }

    fn hosts(count: usize, value: &str) -> ZoneData {
        let sets: Vec<_> = (0..count).map(|index| (format!("h{index}"), 300, value)).collect();
        zone(&sets)
    }

    fn codes(before: &ZoneData, after: Option<&ZoneData>) -> Vec<String> {
        guard(Some(before), after).into_iter().map(|finding| finding.code.into_owned()).collect()
    }

    #[test]
    fn a_new_zone_and_an_unchanged_one_need_no_guard() {
        let zone = hosts(3, "10.0.0.1");
        assert!(guard(None, Some(&zone)).is_empty());
        assert!(codes(&zone, Some(&zone)).is_empty());
    }

    #[test]
    fn mass_removal_is_seen_by_share_and_by_number() {
        let removed = ["DNS/GUARD_REMOVED"];
        assert!(codes(&hosts(20, "10.0.0.1"), Some(&hosts(15, "10.0.0.1"))).is_empty(), "five");
        assert_eq!(codes(&hosts(20, "10.0.0.1"), Some(&hosts(14, "10.0.0.1"))), removed);
        assert!(codes(&hosts(1000, "10.0.0.1"), Some(&hosts(900, "10.0.0.1"))).is_empty(), "10 %");
        assert_eq!(codes(&hosts(1000, "10.0.0.1"), Some(&hosts(899, "10.0.0.1"))), removed);
        assert_eq!(codes(&hosts(1, "10.0.0.1"), None), removed, "a whole zone");
    }

    #[test]
    fn mass_change_is_seen() {
        assert_eq!(
            codes(&hosts(20, "10.0.0.1"), Some(&hosts(20, "10.0.0.2"))),
            ["DNS/GUARD_CHANGED"]
        );
    }

    #[test]
    fn the_top_is_guarded() {
        let before = hosts(1, "10.0.0.1");
        let mut after = before.clone();
        if let ZoneKind::Hosted { records, contact, .. } = &mut after.kind {
            records[1].values = vec!["ns2.example.test.".to_owned()];
            *contact = "other.example.test.".to_owned();
        }
        assert_eq!(codes(&before, Some(&after)), ["DNS/GUARD_APEX", "DNS/GUARD_APEX"]);
    }

    #[test]
    fn a_ttl_lowered_with_the_data_comes_too_late() {
        let before = zone(&[("www".to_owned(), 3600, "10.0.0.1")]);
        let late = zone(&[("www".to_owned(), 60, "10.0.0.2")]);
        let first = zone(&[("www".to_owned(), 60, "10.0.0.1")]);
        assert_eq!(codes(&before, Some(&late)), ["DNS/GUARD_TTL"]);
        assert!(codes(&before, Some(&first)).is_empty());
        assert!(codes(&first, Some(&zone(&[("www".to_owned(), 60, "10.0.0.2")]))).is_empty());
    }
}
