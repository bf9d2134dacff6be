//! One hosted zone, immutable and exact: every node of the tree, also the empty ones, in one hash map.
//!
//! Built once from a published zone, then only read. A negative answer costs as many look-ups as the name has labels, whatever
//! the size of the zone.

use std::collections::HashMap;

use hickory_proto::rr::{
    DNSClass, LowerName, Name, RData, Record, RecordType,
    rdata::{A, AAAA, CNAME, MX, NS, NULL, PTR, SOA, SRV, TXT},
};
use tidegate_core::zone::{
    self, PublishedZone, RecordSet, SOA_EXPIRE, SOA_REFRESH, SOA_RETRY, ZoneKind, rdata::Rdata,
};

/// Why a zone cannot be served. What a person can put right is a finding of the zone's lint; this is the last check before
/// the set is swapped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name of the zone is not one.
    #[error("failed to read the name {name} of zone {zone}")]
    Name {
        /// The zone.
        zone: String,
        /// The name as written.
        name: String,
    },
    /// A value is not one of its type.
    #[error("failed to read the {rtype} value {value} of {name}")]
    Value {
        /// The owner.
        name: String,
        /// The type.
        rtype: String,
        /// The value as written.
        value: String,
        /// What is wrong with it.
        source: zone::rdata::Error,
    },
    /// A record's owner is not in the zone.
    #[error("the name {name} is outside zone {zone}")]
    OutOfZone {
        /// The zone.
        zone: String,
        /// The owner.
        name: String,
    },
    /// The same name and type twice, or a set without values.
    #[error("the record set {name} {rtype} is empty or there twice")]
    Repeated {
        /// The owner.
        name: String,
        /// The type.
        rtype: String,
    },
    /// An alias beside other data (RFC 2181 section 10.1), with more than one target, or at the apex.
    #[error("the alias {name} has other data beside it")]
    Alias {
        /// The owner.
        name: String,
    },
    /// The apex has no NS records.
    #[error("the zone {zone} has no NS records at its apex")]
    NoServers {
        /// The zone.
        zone: String,
    },
}

/// All records of one name and type, ready to send.
#[derive(Debug)]
pub(super) struct Set {
    pub(super) rtype: RecordType,
    pub(super) records: Vec<Record>,
    /// Where an alias leads (CNAME, DNAME).
    pub(super) alias: Option<Name>,
    /// Names about which the asker will ask next (NS, MX, SRV, NAPTR).
    pub(super) helpful: Vec<Helpful>,
    /// Octets of all values, uncompressed: an upper bound of what they take in a message.
    pub(super) data_length: usize,
}

/// A name in a value, and what to add about it.
#[derive(Debug)]
pub(super) struct Helpful {
    pub(super) name: LowerName,
    pub(super) with: Help,
}

/// What to add about a name.
#[derive(Debug, Clone, Copy)]
pub(super) enum Help {
    Addresses,
    /// SRV records, and the addresses of their hosts (RFC 3403 section 4.2).
    Services,
}

/// One name of the zone. Without sets it is an empty non-terminal (RFC 4592 section 2.2.2).
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) sets: Vec<Set>,
    /// Has NS records and is not the apex: what is below belongs to another zone.
    pub(super) is_cut: bool,
}

impl Node {
    pub(super) fn set(&self, rtype: RecordType) -> Option<&Set> {
        self.sets.iter().find(|set| set.rtype == rtype)
    }
}

/// A zone that we answer for.
#[derive(Debug)]
pub(super) struct Zone {
    pub(super) origin: LowerName,
    nodes: HashMap<LowerName, Node>,
    /// The SOA as negative answers carry it: with the negative TTL (RFC 2308 section 3).
    pub(super) negative_soa: Record,
}

/// What there is for a name.
pub(super) enum Found<'a> {
    /// The name is at or below a cut.
    Cut(&'a Node),
    /// The name is below an alias of a whole subtree.
    Subtree {
        owner: LowerName,
        set: &'a Set,
    },
    /// The name exists, or a wildcard stands for it.
    Node(&'a Node),
    Missing,
}

impl Zone {
    pub(super) fn build(published: &PublishedZone) -> Result<Self, Error> {
        let zone = &published.zone;
        let ZoneKind::Hosted { ttl, negative_ttl, primary, contact, records } = &zone.kind else {
            return Err(Error::NoServers { zone: zone.name.clone() });
        };
        let builder = Builder::new(&zone.name)?;
        let soa = SOA::new(
            builder.name(primary)?,
            builder.name(contact)?,
            published.serial,
            SOA_REFRESH.cast_signed(),
            SOA_RETRY.cast_signed(),
            SOA_EXPIRE.cast_signed(),
            *negative_ttl,
        );
        builder.build(*ttl, soa, records)
    }

    pub(super) fn node(&self, name: &LowerName) -> Option<&Node> {
        self.nodes.get(name)
    }

    pub(super) fn apex(&self) -> Option<&Node> {
        self.nodes.get(&self.origin)
    }

    /// Walks from the apex down to the name (RFC 1034 section 4.3.2 step 3, RFC 4592 section 3.3.1, RFC 6672 section 3.2).
    /// At a cut the DS set belongs to this side (RFC 4035 section 3.1.4.1).
    pub(super) fn find(&self, name: &LowerName, rtype: RecordType) -> Found<'_> {
        let depth = name.num_labels_with_wildcard() - self.origin.num_labels_with_wildcard();
        let mut path = Vec::with_capacity(usize::from(depth) + 1);
        path.push(name.clone());
        for _ in 0..depth {
            let parent = path.last().map_or_else(|| self.origin.clone(), LowerName::base_name);
            path.push(parent);
        }
        let mut encloser = &self.origin;
        for ancestor in path.iter().rev() {
            let Some(node) = self.nodes.get(ancestor) else {
                let wildcard = wildcard_below(encloser);
                return wildcard
                    .and_then(|wildcard| self.nodes.get(&wildcard))
                    .map_or(Found::Missing, Found::Node);
            };
            let is_name = ancestor == name;
            if node.is_cut && !(is_name && rtype == RecordType::DS) {
                return Found::Cut(node);
            }
            if is_name {
                return Found::Node(node);
            }
            if let Some(set) = node.set(RecordType::DNAME) {
                return Found::Subtree { owner: ancestor.clone(), set };
            }
            encloser = ancestor;
        }
        Found::Missing
    }
}

/// A zone's name as the key under which it is found. hickory's own reader refuses names like `0/25.0.0.10.in-addr.arpa` (RFC 2317).
pub(super) fn key(zone: &str) -> Result<LowerName, Error> {
    Builder::new(zone)?.name(zone).map(|name| LowerName::new(&name))
}

/// Counts every label; hickory's own count leaves out a leading `*`.
pub(super) trait LabelCount {
    fn num_labels_with_wildcard(&self) -> u8;
}

impl LabelCount for LowerName {
    fn num_labels_with_wildcard(&self) -> u8 {
        self.num_labels() + u8::from(self.is_wildcard())
    }
}

fn wildcard_below(name: &LowerName) -> Option<LowerName> {
    Name::from(name.clone()).prepend_label("*").ok().map(|name| LowerName::new(&name))
}

struct Builder<'a> {
    zone: &'a str,
    origin: zone::name::Name,
}

impl<'a> Builder<'a> {
    fn new(zone: &'a str) -> Result<Self, Error> {
        let origin = zone::name::Name::absolute(zone)
            .map_err(|_| Error::Name { zone: zone.to_owned(), name: zone.to_owned() })?;
        Ok(Self { zone, origin })
    }

    fn core_name(&self, text: &str) -> Result<zone::name::Name, Error> {
        zone::name::Name::absolute(text)
            .map_err(|_| Error::Name { zone: self.zone.to_owned(), name: text.to_owned() })
    }

    fn wire_name(&self, name: &zone::name::Name) -> Result<Name, Error> {
        Name::from_labels(name.labels().iter().map(Vec::as_slice))
            .map_err(|_| Error::Name { zone: self.zone.to_owned(), name: name.to_string() })
    }

    fn name(&self, text: &str) -> Result<Name, Error> {
        self.wire_name(&self.core_name(text)?)
    }

    fn build(&self, ttl: u32, soa: SOA, records: &[RecordSet]) -> Result<Zone, Error> {
        let apex = self.wire_name(&self.origin)?;
        let origin = LowerName::new(&apex);
        let mut nodes: HashMap<LowerName, Node> = HashMap::with_capacity(records.len() + 1);
        let minimum = soa.minimum;
        let data_length = 20 + soa.mname.len() + soa.rname.len() + 2;
        let soa = Record::from_rdata(apex, ttl, RData::SOA(soa));
        let mut negative_soa = soa.clone();
        negative_soa.ttl = ttl.min(minimum);
        nodes.entry(origin.clone()).or_default().sets.push(Set {
            rtype: RecordType::SOA,
            records: vec![soa],
            alias: None,
            helpful: Vec::new(),
            data_length,
        });
        for set in records {
            let owner = self.core_name(&set.name)?;
            if !owner.is_within(&self.origin) {
                return Err(Error::OutOfZone {
                    zone: self.zone.to_owned(),
                    name: set.name.clone(),
                });
            }
            let name = LowerName::new(&self.wire_name(&owner)?);
            for above in owner.ancestors_until(&self.origin) {
                nodes.entry(LowerName::new(&self.wire_name(&above)?)).or_default();
            }
            let built = self.set(set, &Name::from(name.clone()))?;
            let is_apex = name == origin;
            let node = nodes.entry(name).or_default();
            if node.set(built.rtype).is_some() {
                return Err(repeated(set));
            }
            node.is_cut |= built.rtype == RecordType::NS && !is_apex;
            node.sets.push(built);
            if node
                .set(RecordType::CNAME)
                .is_some_and(|alias| node.sets.len() > 1 || alias.records.len() > 1)
            {
                return Err(Error::Alias { name: set.name.clone() });
            }
        }
        if nodes.get(&origin).is_none_or(|node| node.set(RecordType::NS).is_none()) {
            return Err(Error::NoServers { zone: self.zone.to_owned() });
        }
        Ok(Zone { origin, nodes, negative_soa })
    }

    fn set(&self, set: &RecordSet, owner: &Name) -> Result<Set, Error> {
        let mut built = Set {
            rtype: RecordType::ZERO,
            records: Vec::with_capacity(set.values.len()),
            alias: None,
            helpful: Vec::new(),
            data_length: 0,
        };
        for value in &set.values {
            let rdata =
                Rdata::parse(&set.rtype, value, &self.origin).map_err(|source| Error::Value {
                    name: set.name.clone(),
                    rtype: set.rtype.clone(),
                    value: value.clone(),
                    source,
                })?;
            let code = zone::rdata::type_code(&set.rtype).unwrap_or_default();
            built.rtype = RecordType::from(code);
            built.data_length += rdata.wire().len();
            match &rdata {
                Rdata::Cname(target) | Rdata::Dname(target) => {
                    built.alias = Some(self.wire_name(target)?);
                }
                Rdata::Ns(name)
                | Rdata::Mx { exchange: name, .. }
                | Rdata::Srv { target: name, .. } => {
                    let name = LowerName::new(&self.wire_name(name)?);
                    built.helpful.push(Helpful { name, with: Help::Addresses });
                }
                Rdata::Naptr { strings: [flags, ..], replacement, .. } => {
                    let name = LowerName::new(&self.wire_name(replacement)?);
                    let with = match flags.to_ascii_lowercase().as_slice() {
                        b"s" => Some(Help::Services),
                        b"a" => Some(Help::Addresses),
                        _ => None,
                    };
                    built.helpful.extend(with.map(|with| Helpful { name, with }));
                }
                Rdata::A(_)
                | Rdata::Aaaa(_)
                | Rdata::Ptr(_)
                | Rdata::Txt(_)
                | Rdata::Caa { .. }
                | Rdata::Digest { .. }
                | Rdata::Opaque(_) => {}
            }
            let data = self.data(rdata, built.rtype)?;
            if built.records.iter().any(|record| record.data == data) {
                return Err(repeated(set));
            }
            let mut record = Record::from_rdata(owner.clone(), set.ttl, data);
            record.dns_class = DNSClass::IN;
            built.records.push(record);
        }
        if built.records.is_empty() { Err(repeated(set)) } else { Ok(built) }
    }

    /// Names that RFC 3597 section 4 lets a message compress go through hickory's types; everything else is given as octets,
    /// which also covers the types that hickory has no form for (DNAME).
    fn data(&self, rdata: Rdata, rtype: RecordType) -> Result<RData, Error> {
        Ok(match rdata {
            Rdata::A(address) => RData::A(A(address)),
            Rdata::Aaaa(address) => RData::AAAA(AAAA(address)),
            Rdata::Ns(name) => RData::NS(NS(self.wire_name(&name)?)),
            Rdata::Cname(name) => RData::CNAME(CNAME(self.wire_name(&name)?)),
            Rdata::Ptr(name) => RData::PTR(PTR(self.wire_name(&name)?)),
            Rdata::Mx { preference, exchange } => {
                RData::MX(MX::new(preference, self.wire_name(&exchange)?))
            }
            Rdata::Srv { priority, weight, port, target } => {
                RData::SRV(SRV::new(priority, weight, port, self.wire_name(&target)?))
            }
            Rdata::Txt(strings) => {
                RData::TXT(TXT::from_bytes(strings.iter().map(Vec::as_slice).collect()))
            }
            Rdata::Dname(_)
            | Rdata::Caa { .. }
            | Rdata::Naptr { .. }
            | Rdata::Digest { .. }
            | Rdata::Opaque(_) => RData::Unknown { code: rtype, rdata: NULL::with(rdata.wire()) },
        })
    }
}

fn repeated(set: &RecordSet) -> Error {
    Error::Repeated { name: set.name.clone(), rtype: set.rtype.clone() }
}
