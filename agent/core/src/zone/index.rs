//! Zones arranged for looking things up: by name, with values read, across all zones of a site.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_schema::{Body, Document, Place};

use super::{RecordSet, ZoneData, ZoneKind, name::Name, rdata::Rdata};

/// One record set with its values read.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) set: &'a RecordSet,
    pub(super) values: Vec<Rdata>,
}

/// One zone.
#[derive(Debug)]
pub(super) struct Indexed<'a> {
    pub(super) zone: &'a ZoneData,
    pub(super) origin: Name,
    pub(super) nodes: BTreeMap<Name, Vec<Entry<'a>>>,
    /// Names with NS records below the apex.
    pub(super) cuts: BTreeSet<Name>,
    /// Names that exist only because something is below them.
    empty: BTreeSet<Name>,
    document: Option<&'a Document>,
    paths: BTreeMap<(Name, String), usize>,
}

/// What all zones together say about a name.
#[derive(Debug)]
pub(super) enum Fact<'a> {
    /// It has records, of its own or through a wildcard.
    Present(&'a [Entry<'a>]),
    /// It has no records, but names below it do.
    Empty,
    /// It does not exist.
    Missing,
    /// Another server decides: outside our zones, below a cut or in a forward zone.
    Elsewhere,
}

impl<'a> Indexed<'a> {
    pub(super) fn new(zone: &'a ZoneData, document: Option<&'a Document>) -> Self {
        // Zones that were read have good names; a bad one would be left out here and found there.
        let origin = Name::absolute(&zone.name).unwrap_or(Name::ROOT);
        let mut indexed = Self {
            zone,
            origin,
            nodes: BTreeMap::new(),
            cuts: BTreeSet::new(),
            empty: BTreeSet::new(),
            document,
            paths: BTreeMap::new(),
        };
        for set in zone.records() {
            let Ok(owner) = Name::absolute(&set.name) else { continue };
            let read = |value: &String| Rdata::parse(&set.rtype, value, &indexed.origin).ok();
            let values = set.values.iter().filter_map(read).collect();
            if set.rtype == "NS" && owner != indexed.origin {
                indexed.cuts.insert(owner.clone());
            }
            indexed.empty.extend(owner.ancestors_until(&indexed.origin));
            indexed.nodes.entry(owner).or_default().push(Entry { set, values });
        }
        if let Some(Body::Zone(spec)) = document.map(|document| &document.body) {
            for (index, record) in spec.records.iter().enumerate() {
                if let Ok(owner) = Name::parse(&record.name, &indexed.origin) {
                    indexed.paths.insert((owner, record.kind.to_string()), index);
                }
            }
        }
        indexed
    }

    /// Where a record set is written; where the zone is named for one that nobody wrote.
    pub(super) fn place(&self, set: &RecordSet) -> Option<Place> {
        let owner = Name::absolute(&set.name).ok()?;
        match self.paths.get(&(owner, set.rtype.clone())) {
            Some(index) => self.place_of(&format!("spec.records[{index}]")),
            None => self.place_of("metadata.name"),
        }
    }

    /// Where a field of the zone's document is written.
    pub(super) fn place_of(&self, path: &str) -> Option<Place> {
        self.document.map(|document| document.place(path))
    }

    pub(super) fn is_hosted(&self) -> bool {
        matches!(self.zone.kind, ZoneKind::Hosted { .. })
    }

    /// All sets with their owners, in the order of names.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&Name, &Entry<'a>)> {
        self.nodes.iter().flat_map(|(name, entries)| entries.iter().map(move |entry| (name, entry)))
    }

    pub(super) fn entry(&self, name: &Name, rtype: &str) -> Option<&Entry<'a>> {
        self.nodes.get(name)?.iter().find(|entry| entry.set.rtype == rtype)
    }

    /// The cut that a name is at or below.
    pub(super) fn cut_above(&self, name: &Name) -> Option<&Name> {
        let above: Vec<Name> = name.ancestors_until(&self.origin).collect();
        above.iter().rev().chain(std::iter::once(name)).find_map(|name| self.cuts.get(name))
    }

    /// What this zone says about a name in it (RFC 4592 section 3.3.1).
    pub(super) fn fact(&self, name: &Name) -> Fact<'_> {
        let above: Vec<Name> = name.ancestors_until(&self.origin).collect();
        let is_moved = above.iter().any(|above| self.entry(above, "DNAME").is_some());
        if self.cut_above(name).is_some() || is_moved {
            return Fact::Elsewhere;
        }
        if let Some(entries) = self.nodes.get(name) {
            return Fact::Present(entries);
        }
        if self.empty.contains(name) {
            return Fact::Empty;
        }
        let exists = |above: &&Name| self.nodes.contains_key(*above) || self.empty.contains(*above);
        let encloser = above.iter().find(exists).unwrap_or(&self.origin);
        let wildcard = encloser.wildcard_below().and_then(|wildcard| self.nodes.get(&wildcard));
        wildcard.map_or(Fact::Missing, |entries| Fact::Present(entries))
    }
}

/// All zones of a site.
pub(super) struct Index<'a> {
    pub(super) zones: BTreeMap<Name, Indexed<'a>>,
}

impl<'a> Index<'a> {
    pub(super) fn new(
        zones: impl IntoIterator<Item = (Option<&'a Document>, &'a ZoneData)>,
    ) -> Self {
        let indexed = zones.into_iter().map(|(document, zone)| Indexed::new(zone, document));
        Self { zones: indexed.map(|zone| (zone.origin.clone(), zone)).collect() }
    }

    /// The zone with the longest name that holds this one.
    pub(super) fn responsible(&self, name: &Name) -> Option<&Indexed<'a>> {
        let above: Vec<Name> = name.ancestors_until(&Name::ROOT).collect();
        std::iter::once(name).chain(&above).find_map(|name| self.zones.get(name))
    }

    pub(super) fn fact(&self, name: &Name) -> Fact<'_> {
        match self.responsible(name) {
            Some(zone) if zone.is_hosted() => zone.fact(name),
            Some(_) | None => Fact::Elsewhere,
        }
    }
}
