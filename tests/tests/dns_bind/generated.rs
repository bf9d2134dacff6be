//! Random zones from a fixed seed: every one can be loaded by a strict server, and few would be written by a person.

use std::collections::BTreeMap;

use tidegate_core::zone::{PublishedZone, RecordSet, ZoneData, ZoneKind, name::Name};

const LABELS: [&str; 4] = ["a", "b", "c", "*"];
const TYPES: [&str; 8] = ["A", "A", "MX", "CNAME", "CNAME", "NS", "DNAME", "TXT"];

/// A linear congruential generator: the same zones on every machine and in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn name(&mut self, zone: &str) -> Name {
        let depth = 1 + self.roll(3);
        let labels: Vec<&str> = (0..depth).map(|_| LABELS[self.roll(LABELS.len())]).collect();
        Name::absolute(&format!("{}.{zone}.", labels.join("."))).unwrap()
    }
}

/// So many zones, `z0.gen.test` and on.
pub(crate) fn zones(count: usize) -> Vec<PublishedZone> {
    (0..count).map(zone).collect()
}

fn zone(number: usize) -> PublishedZone {
    let name = format!("z{number}.gen.test");
    let mut dice = Dice(u64::try_from(number).unwrap() + 1);
    let mut sets: BTreeMap<(Name, &str), Vec<String>> = BTreeMap::new();
    let apex = Name::absolute(&name).unwrap();
    let server = Name::absolute(&format!("ns.{name}")).unwrap();
    let servers = vec![server.to_string(), "ns.elsewhere.invalid.".to_owned()];
    sets.insert((apex, "NS"), servers);
    sets.insert((server, "A"), vec!["10.0.0.2".to_owned()]);
    for _ in 0..14 {
        let owner = dice.name(&name);
        let rtype = TYPES[dice.roll(TYPES.len())];
        let target = if dice.roll(5) == 0 {
            "host.elsewhere.invalid.".to_owned()
        } else {
            dice.name(&name).to_string()
        };
        let value = match rtype {
            "A" => format!("10.0.{}.{}", number % 250, dice.roll(250)),
            "MX" => format!("10 {target}"),
            "TXT" => "\"text\"".to_owned(),
            _ => target,
        };
        if fits(&sets, &owner, rtype) {
            let values = sets.entry((owner, rtype)).or_default();
            if !values.contains(&value) && (rtype != "DNAME" || values.is_empty()) {
                values.push(value);
            }
        }
    }
    let records = sets
        .into_iter()
        .map(|((owner, rtype), mut values)| {
            values.sort();
            RecordSet { name: owner.to_string(), rtype: rtype.to_owned(), ttl: 300, values }
        })
        .collect();
    let kind = ZoneKind::Hosted {
        ttl: 600,
        negative_ttl: 120,
        primary: format!("ns.{name}."),
        contact: "hostmaster.gen.test.".to_owned(),
        records,
    };
    let zone = ZoneData { name, kind };
    let digest = zone.digest();
    PublishedZone { zone, serial: 1, digest }
}

/// Whether a server would load the set beside the others.
fn fits(sets: &BTreeMap<(Name, &str), Vec<String>>, owner: &Name, rtype: &str) -> bool {
    let here = |of: &str| sets.contains_key(&(owner.clone(), of));
    let is_alone = !sets.keys().any(|(name, _)| name == owner);
    let is_below = sets.keys().any(|(name, of)| *of == "DNAME" && owner.is_below(name));
    let has_below = sets.keys().any(|(name, _)| name.is_below(owner));
    match rtype {
        _ if is_below || here("CNAME") => false,
        "CNAME" => is_alone,
        "NS" => !owner.is_wildcard() && !here("DNAME"),
        "DNAME" => !owner.is_wildcard() && !here("NS") && !has_below,
        _ => true,
    }
}
