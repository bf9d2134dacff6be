//! Zones: read into canonical form, linted together with the records of load balancers.

use std::collections::BTreeMap;

use tidegate_schema::Document;
use tidegate_schema::finding::Finding;

use super::documents::Documents;
use crate::render::{zone_of, zones as rendered};
use crate::site::{Located, ValidSite};
use crate::zone::{ZoneData, ZoneKind, document, lint};

/// The zones of the documents, by name in lower case.
pub(super) fn zones(
    documents: &Documents,
    findings: &mut Vec<Finding>,
) -> BTreeMap<String, Located<ZoneData>> {
    let mut zones = BTreeMap::new();
    for (source, spec) in documents.zones() {
        let (zone, mut problems) = document::read(source, spec);
        findings.append(&mut problems);
        if let Some(zone) = zone {
            let place = source.place("metadata.name");
            zones.insert(zone.name.clone(), Located { spec: zone, place });
        }
    }
    zones
}

/// Hosts of load balancers need a zone that we serve and an address; then all zones are linted as they will be served.
pub(super) fn check_hosts(site: &ValidSite, documents: &Documents, findings: &mut Vec<Finding>) {
    let placements =
        site.deployments.values().flat_map(|deployment| deployment.placements.values());
    for balancer in placements.flat_map(|placement| &placement.load_balancers) {
        let Some(host) = balancer.host.as_ref().filter(|host| !host.is_empty()) else { continue };
        let is_hosted = zone_of(site, host)
            .and_then(|zone| site.zones.get(zone))
            .is_some_and(|zone| matches!(zone.spec.kind, ZoneKind::Hosted { .. }));
        let finding = if !is_hosted {
            Finding::warning("VERSION/HOST_NOT_SERVED")
        } else if balancer.addresses.is_empty() {
            Finding::warning("VERSION/HOST_WITHOUT_ADDRESS")
        } else {
            continue;
        };
        findings.push(finding.at(balancer.place.clone()).with("host", host));
    }
    let zones = rendered(site);
    let pairs: Vec<(Option<&Document>, &ZoneData)> = zones
        .iter()
        .map(|zone| {
            let is_its = |source: &Document| source.name().as_str() == zone.name;
            (documents.zones().map(|(source, _)| source).find(|source| is_its(source)), zone)
        })
        .collect();
    findings.extend(lint::lint(pairs));
}
