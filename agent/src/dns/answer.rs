//! What to answer: the algorithm of RFC 1034 section 4.3.2 over the zones of one set.

use std::sync::Arc;

use hickory_proto::{
    op::ResponseCode,
    rr::{LowerName, Name, RData, Record, RecordType, rdata::CNAME},
};

use super::{
    store::{Found, Help, Helpful, LabelCount, Set, Zone},
    zones::{Served, Zones},
};

/// Aliases followed after the first in one answer: BIND's bound too.
const MAX_ALIASES: usize = 11;

/// A question as it was asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) name: &'a Name,
    pub(super) rtype: RecordType,
    /// A program's question (RD set) and not a resolver's: aliases are followed into the other zones that we serve or forward.
    pub(super) is_recursive: bool,
    /// Over UDP a question for any type gets one of them (RFC 8482 section 4.1).
    pub(super) is_udp: bool,
}

/// An answer before it is cut to the size that the asker takes.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) code: ResponseCode,
    pub(super) is_authoritative: bool,
    pub(super) answers: Vec<Record>,
    pub(super) authority: Vec<Record>,
    /// Addresses without which a referral leads nowhere (RFC 9471): when they do not fit, the answer is truncated.
    pub(super) glue: Vec<Record>,
    /// Addresses that may be left out.
    pub(super) additional: Vec<Record>,
    /// An upper bound of the octets of all records.
    pub(super) length: usize,
    /// Other servers were asked (RA).
    pub(super) is_forwarded: bool,
    /// Aliases followed so far.
    aliases: usize,
}

/// What the zones say.
pub(super) enum Reply {
    Answer(Answer),
    /// The name, or the alias that it leads to, belongs to a forward zone. The answer so far holds the aliases.
    Forward {
        so_far: Answer,
        name: Name,
        to: Arc<super::forward::Forwarder>,
    },
}

pub(super) fn refusal(code: ResponseCode) -> Answer {
    Answer {
        code,
        is_authoritative: false,
        answers: Vec::new(),
        authority: Vec::new(),
        glue: Vec::new(),
        additional: Vec::new(),
        length: 0,
        is_forwarded: false,
        aliases: 0,
    }
}

/// Answers one question.
pub(super) fn answer(zones: &Zones, question: Question<'_>) -> Reply {
    let rtype = question.rtype;
    let mut answer = refusal(ResponseCode::Refused);
    let mut current = question.name.clone();
    let mut first: Option<&Zone> = None;
    loop {
        let lower = LowerName::new(&current);
        let zone = match zones.responsible(&lower, rtype) {
            Some(Served::Hosted(zone)) => zone,
            Some(Served::Forward(to)) if first.is_none() || question.is_recursive => {
                let to = Arc::clone(to);
                return Reply::Forward { so_far: answer, name: current, to };
            }
            Some(Served::Forward(_)) | None => break,
        };
        match first {
            None => {
                first = Some(zone);
                answer.is_authoritative = true;
                answer.code = ResponseCode::NoError;
            }
            // A resolver asks for the other zone by itself, and does not believe what it gets from here.
            Some(first) if !question.is_recursive && first.origin != zone.origin => break,
            Some(_) => {}
        }
        let Some(next) = answer.step(zone, &current, &lower, question) else { break };
        let is_loop = answer.answers.iter().any(|record| record.name == next);
        if is_loop || answer.aliases > MAX_ALIASES {
            answer.code = ResponseCode::ServFail;
            break;
        }
        current = next;
    }
    Reply::Answer(answer)
}

impl Answer {
    /// Adds what one zone says about one name; the name that an alias leads to, if the answer goes on there.
    fn step(
        &mut self,
        zone: &Zone,
        name: &Name,
        lower: &LowerName,
        question: Question<'_>,
    ) -> Option<Name> {
        let rtype = question.rtype;
        match zone.find(lower, rtype) {
            Found::Cut(node) => {
                self.is_authoritative &= self.aliases > 0;
                self.refer(zone, node.set(RecordType::NS)?);
                None
            }
            Found::Subtree { owner, set } => {
                let next = self.follow_subtree(name, &owner, set)?;
                // The alias just made is itself the answer.
                if matches!(rtype, RecordType::CNAME | RecordType::ANY) {
                    self.add_servers(zone);
                    if rtype == RecordType::CNAME {
                        self.add_addresses(zone, &[]);
                    }
                    return None;
                }
                Some(next)
            }
            Found::Node(node) => {
                if rtype == RecordType::ANY && !node.sets.is_empty() {
                    let wanted = if question.is_udp { 1 } else { node.sets.len() };
                    node.sets.iter().take(wanted).for_each(|set| self.give(set, name));
                    self.add_servers(zone);
                    return None;
                }
                if let Some(set) = node.set(rtype) {
                    self.give(set, name);
                    // At a cut only the DS set is this zone's; its servers say nothing about the rest.
                    if !node.is_cut {
                        self.add_servers(zone);
                        self.add_addresses(zone, &set.helpful);
                    }
                    return None;
                }
                let Some(alias) = node.set(RecordType::CNAME) else {
                    self.deny(zone);
                    return None;
                };
                self.give(alias, name);
                self.aliases += 1;
                alias.alias.clone()
            }
            Found::Missing => {
                self.code = ResponseCode::NXDomain;
                self.deny(zone);
                None
            }
        }
    }

    fn count(&mut self, set: &Set, owner_length: usize) {
        self.length += set.data_length + set.records.len() * (owner_length + 10);
    }

    /// Adds a set under the name that was asked for, so that wildcards and the asker's spelling come out right.
    fn give(&mut self, set: &Set, owner: &Name) {
        self.count(set, owner.len() + 1);
        self.answers.extend(set.records.iter().map(|record| {
            let mut record = record.clone();
            record.name = owner.clone();
            record
        }));
    }

    /// Denies the name or the type (RFC 2308 section 2).
    fn deny(&mut self, zone: &Zone) {
        self.length += 600;
        self.authority.push(zone.negative_soa.clone());
    }

    /// Adds the subtree's alias and the alias made from it (RFC 6672 section 3.1); `None` when the made name is too long.
    fn follow_subtree(&mut self, name: &Name, owner: &LowerName, set: &Set) -> Option<Name> {
        let target = set.alias.as_ref()?;
        self.count(set, owner.len() + 1);
        self.answers.extend(set.records.iter().cloned());
        let kept = usize::from(LowerName::new(name).num_labels_with_wildcard())
            .checked_sub(usize::from(owner.num_labels_with_wildcard()))?;
        let prefix = Name::from_labels(name.iter().take(kept)).ok()?;
        let Some(made) = prefix.append_domain(target).ok().filter(|made| made.len() <= 255) else {
            self.code = ResponseCode::YXDomain;
            return None;
        };
        self.aliases += 1;
        let ttl = set.records.first().map_or(0, |record| record.ttl);
        self.length += name.len() + made.len() + 12;
        self.answers.push(Record::from_rdata(name.clone(), ttl, RData::CNAME(CNAME(made.clone()))));
        Some(made)
    }

    /// Refers the asker to the servers of a delegated zone, with the addresses that only this zone can give: those of servers
    /// below a cut (RFC 9471). Servers whose addresses are this zone's own data can be asked for.
    fn refer(&mut self, zone: &Zone, servers: &Set) {
        let owner_length = servers.records.first().map_or(0, |record| record.name.len() + 1);
        self.count(servers, owner_length);
        self.authority.extend(servers.records.iter().cloned());
        for Helpful { name, .. } in &servers.helpful {
            if !zone.origin.zone_of(name)
                || !matches!(zone.find(name, RecordType::A), Found::Cut(_))
            {
                continue;
            }
            let Some(node) = zone.node(name) else { continue };
            for rtype in [RecordType::A, RecordType::AAAA] {
                if let Some(set) = node.set(rtype) {
                    self.count(set, name.len() + 1);
                    self.glue.extend(set.records.iter().cloned());
                }
            }
        }
    }

    /// Adds the zone's servers to a positive answer, unless they are the answer.
    fn add_servers(&mut self, zone: &Zone) {
        let Some(servers) = zone.apex().and_then(|apex| apex.set(RecordType::NS)) else { return };
        let is_answer = self
            .answers
            .iter()
            .any(|record| record.record_type() == RecordType::NS && *zone.origin == record.name);
        if !is_answer {
            self.count(servers, zone.origin.len() + 1);
            self.authority.extend(servers.records.iter().cloned());
        }
    }

    /// Adds what helps with the names in the answer and then with those of the servers, each set once. Only what this zone says
    /// with authority: askers do not trust the rest.
    fn add_addresses(&mut self, zone: &Zone, helpful: &[Helpful]) {
        for helpful in helpful {
            self.add_helpful(zone, helpful);
        }
        let Some(servers) = zone.apex().and_then(|apex| apex.set(RecordType::NS)) else { return };
        if !self.authority.is_empty() {
            for helpful in &servers.helpful {
                self.add_helpful(zone, helpful);
            }
        }
    }

    fn add_helpful(&mut self, zone: &Zone, Helpful { name, with }: &Helpful) {
        if !zone.origin.zone_of(name) {
            return;
        }
        match with {
            Help::Addresses => {
                self.add_set(zone, name, RecordType::A);
                self.add_set(zone, name, RecordType::AAAA);
            }
            Help::Services => {
                if let Some(set) = self.add_set(zone, name, RecordType::SRV) {
                    for address in &set.helpful {
                        self.add_helpful(zone, address);
                    }
                }
            }
        }
    }

    fn add_set<'z>(
        &mut self,
        zone: &'z Zone,
        name: &LowerName,
        rtype: RecordType,
    ) -> Option<&'z Set> {
        let Found::Node(node) = zone.find(name, rtype) else { return None };
        let set = node.set(rtype)?;
        let is_there = |record: &Record| {
            record.record_type() == rtype && LowerName::new(&record.name) == *name
        };
        if self.answers.iter().chain(&self.additional).any(is_there) {
            return None;
        }
        self.count(set, name.len() + 1);
        let owner = Name::from(name.clone());
        self.additional.extend(set.records.iter().map(|record| {
            let mut record = record.clone();
            record.name = owner.clone();
            record
        }));
        Some(set)
    }
}
