//! From a request to a response: what is refused, what is answered, and how it is cut to size.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::ArcSwap;
use hickory_net::{runtime::Time, xfer::Protocol};
use hickory_proto::{
    op::{Edns, Metadata, OpCode, ResponseCode},
    rr::{DNSClass, Record, RecordType},
    serialize::binary::BinEncoder,
};
use hickory_server::{
    server::{Request, RequestHandler, ResponseHandler, ResponseInfo},
    zone_handler::MessageResponseBuilder,
};

use super::{
    answer::{Answer, Question, Reply, answer, refusal},
    zones::Zones,
};

/// The largest answer over UDP, in octets: what passes today's networks in one piece (DNS flag day 2020).
const MAX_UDP: u16 = 1232;
/// The answer that an asker without EDNS takes (RFC 1035 section 4.2.1).
const PLAIN_UDP: u16 = 512;
/// Octets of the OPT record without options (RFC 6891 section 6.1.2).
const OPT_LENGTH: u16 = 11;

/// What the server counted since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Questions over UDP.
    pub udp: u64,
    /// Questions over TCP.
    pub tcp: u64,
    /// Answers with data, or "no such type".
    pub no_error: u64,
    /// Answers "no such name".
    pub nx_domain: u64,
    /// Questions that failed: a forward zone's servers did not answer.
    pub serv_fail: u64,
    /// Questions for names that we do not serve, and zone transfers.
    pub refused: u64,
    /// Answers with any other code: questions that nobody should ask.
    pub other: u64,
    /// Answers that did not fit and were cut.
    pub truncated: u64,
    /// Questions that were handed on.
    pub forwarded: u64,
}

#[derive(Debug, Default)]
struct Counts {
    udp: AtomicU64,
    tcp: AtomicU64,
    no_error: AtomicU64,
    nx_domain: AtomicU64,
    serv_fail: AtomicU64,
    refused: AtomicU64,
    other: AtomicU64,
    truncated: AtomicU64,
    forwarded: AtomicU64,
}

/// The zones that are served now, and what was counted; shared with the server's tasks.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) zones: ArcSwap<Zones>,
    counts: Counts,
}

impl Shared {
    pub(super) fn counters(&self) -> Counters {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counters {
            udp: read(&self.counts.udp),
            tcp: read(&self.counts.tcp),
            no_error: read(&self.counts.no_error),
            nx_domain: read(&self.counts.nx_domain),
            serv_fail: read(&self.counts.serv_fail),
            refused: read(&self.counts.refused),
            other: read(&self.counts.other),
            truncated: read(&self.counts.truncated),
            forwarded: read(&self.counts.forwarded),
        }
    }

    fn count(count: &AtomicU64) {
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Answers one request. The zones are loaded once, so an answer always comes from exactly one set.
    async fn respond(&self, request: &Request) -> Answer {
        if request.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
            return refusal(ResponseCode::BADVERS);
        }
        if request.metadata.op_code != OpCode::Query {
            return refusal(ResponseCode::NotImp);
        }
        let Ok(info) = request.request_info() else { return refusal(ResponseCode::FormErr) };
        let rtype = info.query.query_type();
        if info.query.query_class() != DNSClass::IN || is_transfer(rtype) {
            return refusal(ResponseCode::Refused);
        }
        if matches!(rtype, RecordType::OPT | RecordType::TSIG) {
            return refusal(ResponseCode::FormErr);
        }
        let zones = self.zones.load_full();
        let question = Question {
            name: info.query.original().name(),
            rtype,
            is_recursive: request.metadata.recursion_desired,
            is_udp: request.protocol() == Protocol::Udp,
        };
        match answer(&zones, question) {
            Reply::Answer(answer) => answer,
            Reply::Forward { so_far, .. } if !request.metadata.recursion_desired => so_far,
            Reply::Forward { mut so_far, name, to } => {
                Self::count(&self.counts.forwarded);
                let forwarded = to.ask(name, rtype).await;
                so_far.is_forwarded = true;
                so_far.code = forwarded.code;
                so_far.answers.extend(forwarded.answers);
                so_far.authority = forwarded.authority;
                // Their sizes are not known: measure.
                so_far.length = usize::from(u16::MAX);
                so_far
            }
        }
    }
}

/// AXFR and IXFR. Transfers come with the secondaries that may ask for them.
fn is_transfer(rtype: RecordType) -> bool {
    matches!(rtype, RecordType::AXFR | RecordType::IXFR)
}

/// Answers what hickory's server receives.
pub(super) struct Responder(pub(super) Arc<Shared>);

#[async_trait::async_trait]
impl RequestHandler for Responder {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut response: R,
    ) -> ResponseInfo {
        let shared = &self.0;
        let is_udp = request.protocol() == Protocol::Udp;
        Shared::count(if is_udp { &shared.counts.udp } else { &shared.counts.tcp });
        let mut answer = shared.respond(request).await;
        let edns = request.edns.as_ref().map(|asked| {
            let mut edns = Edns::new();
            edns.set_max_payload(asked.max_payload().clamp(PLAIN_UDP, MAX_UDP));
            edns.set_dnssec_ok(asked.flags().dnssec_ok);
            edns
        });
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.response_code = answer.code;
        metadata.authoritative = answer.is_authoritative;
        metadata.recursion_available = answer.is_forwarded;
        if is_udp {
            let limit = edns.as_ref().map_or(PLAIN_UDP, Edns::max_payload);
            let room = limit - edns.as_ref().map_or(0, |_| OPT_LENGTH);
            metadata.truncation = cut_to_size(request, &metadata, &mut answer, room);
        }
        shared.count_answer(&metadata);
        let mut builder = MessageResponseBuilder::from_message_request(request);
        if let Some(edns) = &edns {
            builder.edns(edns);
        }
        let message = builder.build(
            metadata,
            answer.answers.iter(),
            answer.authority.iter(),
            std::iter::empty(),
            answer.glue.iter().chain(&answer.additional),
        );
        match response.send_response(message).await {
            Ok(info) => info,
            Err(error) => {
                tracing::debug!(%error, "sending an answer failed");
                failed(&metadata)
            }
        }
    }
}

fn failed(metadata: &Metadata) -> ResponseInfo {
    let mut metadata = *metadata;
    metadata.response_code = ResponseCode::ServFail;
    hickory_proto::op::Header { metadata, counts: hickory_proto::op::HeaderCounts::default() }
        .into()
}

impl Shared {
    fn count_answer(&self, metadata: &Metadata) {
        let counts = &self.counts;
        #[expect(clippy::wildcard_enum_match_arm, reason = "all other codes are counted together")]
        let count = match metadata.response_code {
            ResponseCode::NoError => &counts.no_error,
            ResponseCode::NXDomain => &counts.nx_domain,
            ResponseCode::ServFail => &counts.serv_fail,
            ResponseCode::Refused => &counts.refused,
            _ => &counts.other,
        };
        Self::count(count);
        if metadata.truncation {
            Self::count(&counts.truncated);
        }
    }
}

/// Leaves out what does not fit: first the addresses that only help, then everything, with the sign to ask over TCP.
/// hickory would cut the OPT record first. Says whether the answer is truncated.
fn cut_to_size(request: &Request, metadata: &Metadata, answer: &mut Answer, room: u16) -> bool {
    let question = 12 + 259;
    if answer.length + question <= usize::from(room) || fits(request, metadata, answer, room) {
        return false;
    }
    answer.additional.clear();
    if fits(request, metadata, answer, room) {
        return false;
    }
    answer.answers.clear();
    answer.authority.clear();
    answer.glue.clear();
    true
}

fn fits(request: &Request, metadata: &Metadata, answer: &Answer, room: u16) -> bool {
    let mut bytes = Vec::with_capacity(usize::from(room));
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_max_size(room);
    let additional: Vec<&Record> = answer.glue.iter().chain(&answer.additional).collect();
    MessageResponseBuilder::from_message_request(request)
        .build(*metadata, &answer.answers, &answer.authority, std::iter::empty(), additional)
        .destructive_emit(&mut encoder)
        .is_ok_and(|info| !info.truncation)
}
