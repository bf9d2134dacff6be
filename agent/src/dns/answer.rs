//! What to answer: the algorithm of RFC 1034 section 4.3.2 over the zones of one set.

use hickory_proto::{
    op::ResponseCode,
    rr::{LowerName, Name, RData, Record, RecordType, rdata::CNAME},
};

use super::{
    store::{Found, LabelCount, Set, Zone},
    zones::{Served, Zones},
};
use std::sync::Arc;

/// Aliases followed in one answer. Longer chains end there and the asker goes on by itself.
const MAX_ALIASES: usize = 11;

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
    }
}

/// Answers one question. `all_types` says whether a question for any type gets all (TCP) or one of them (RFC 8482 section 4.1).
pub(super) fn answer(zones: &Zones, name: &Name, rtype: RecordType, all_types: bool) -> Reply {
    let mut answer = refusal(ResponseCode::Refused);
    let mut current = name.clone();
    for step in 0..=MAX_ALIASES {
        let lower = LowerName::new(&current);
        let zone = match zones.responsible(&lower, rtype) {
            Some(Served::Hosted(zone)) => zone,
            Some(Served::Forward(to)) => {
                let to = Arc::clone(to);
                return Reply::Forward { so_far: answer, name: current, to };
            }
            None => break,
        };
        if step == 0 {
            answer.is_authoritative = true;
        }
        answer.code = ResponseCode::NoError;
        match zone.find(&lower, rtype) {
            Found::Cut(node) => {
                if step == 0 {
                    answer.is_authoritative = false;
                }
                if let Some(servers) = node.set(RecordType::NS) {
                    answer.refer(zone, servers);
                }
                break;
            }
            Found::Subtree { owner, set } => {
                let Some(next) = answer.follow_subtree(&current, &owner, set) else { break };
                current = next;
            }
            Found::Node(node) => {
                if rtype == RecordType::ANY && !node.sets.is_empty() {
                    let wanted = if all_types { node.sets.len() } else { 1 };
                    for set in node.sets.iter().take(wanted) {
                        answer.give(set, &current);
                    }
                    answer.add_servers(zone);
                    answer.add_addresses(zones, node.sets.iter().take(wanted));
                    break;
                }
                if let Some(set) = node.set(rtype) {
                    answer.give(set, &current);
                    answer.add_servers(zone);
                    answer.add_addresses(zones, std::iter::once(set));
                    break;
                }
                match node.set(RecordType::CNAME) {
                    Some(set) => {
                        answer.give(set, &current);
                        let Some(next) = &set.alias else { break };
                        current = next.clone();
                    }
                    None => {
                        answer.deny(zone);
                        break;
                    }
                }
            }
            Found::Missing => {
                answer.code = ResponseCode::NXDomain;
                answer.deny(zone);
                break;
            }
        }
        // A loop ends the answer where it closes.
        if answer.answers.iter().any(|record| record.name == current) {
            break;
        }
    }
    Reply::Answer(answer)
}

impl Answer {
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
        let ttl = set.records.first().map_or(0, |record| record.ttl);
        self.length += name.len() + made.len() + 12;
        self.answers.push(Record::from_rdata(name.clone(), ttl, RData::CNAME(CNAME(made.clone()))));
        Some(made)
    }

    /// Refers the asker to the servers of a delegated zone, with their addresses.
    fn refer(&mut self, zone: &Zone, servers: &Set) {
        let owner_length = servers.records.first().map_or(0, |record| record.name.len() + 1);
        self.count(servers, owner_length);
        self.authority.extend(servers.records.iter().cloned());
        for target in &servers.targets {
            let Some(node) = zone.node(target) else { continue };
            for rtype in [RecordType::A, RecordType::AAAA] {
                if let Some(set) = node.set(rtype) {
                    self.count(set, target.len() + 1);
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

    /// Adds the addresses of the names in the answer, then those of the servers, each once.
    fn add_addresses<'a>(&mut self, zones: &Zones, sets: impl Iterator<Item = &'a Set>) {
        let servers: Vec<LowerName> = self
            .authority
            .iter()
            .filter_map(|record| match &record.data {
                RData::NS(server) => Some(LowerName::new(&server.0)),
                _ => None,
            })
            .collect();
        for target in sets.flat_map(|set| &set.targets).chain(&servers) {
            for rtype in [RecordType::A, RecordType::AAAA] {
                let is_there = |record: &Record| {
                    record.record_type() == rtype && LowerName::new(&record.name) == *target
                };
                if self.answers.iter().chain(&self.additional).any(is_there) {
                    continue;
                }
                let Some(Served::Hosted(zone)) = zones.responsible(target, rtype) else { continue };
                let node = match zone.find(target, rtype) {
                    Found::Node(node) => Some(node),
                    Found::Cut(_) => zone.node(target),
                    Found::Subtree { .. } | Found::Missing => None,
                };
                if let Some(set) = node.and_then(|node| node.set(rtype)) {
                    self.count(set, target.len() + 1);
                    let owner = Name::from(target.clone());
                    self.additional.extend(set.records.iter().map(|record| {
                        let mut record = record.clone();
                        record.name = owner.clone();
                        record
                    }));
                }
            }
        }
    }
}
