//! Our DNS server against BIND: the same zones on both, every interesting name and type asked at both, over UDP and TCP.
//!
//! Needs `named` (Debian: `apt-get install bind9`); without it the comparison is left out and says so.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

#[path = "dns_bind/generated.rs"]
mod generated;
#[path = "dns_bind/named.rs"]
mod named;
#[path = "dns_bind/question.rs"]
mod question;
#[path = "dns_bind/zones.rs"]
mod zones;

use std::{collections::BTreeSet, net::SocketAddr};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{Name, Record, RecordType},
};
use question::{TcpAsker, ask_udp};
use tidegate::dns::DnsServer;
use tidegate_core::zone::PublishedZone;

/// The types that are asked for every name.
const TYPES: [RecordType; 17] = [
    RecordType::A,
    RecordType::AAAA,
    RecordType::NS,
    RecordType::SOA,
    RecordType::MX,
    RecordType::TXT,
    RecordType::SRV,
    RecordType::CNAME,
    RecordType::DNAME,
    RecordType::PTR,
    RecordType::CAA,
    RecordType::DS,
    RecordType::NAPTR,
    RecordType::SSHFP,
    RecordType::HTTPS,
    RecordType::Unknown(731),
    RecordType::ANY,
];

/// What counts when two answers are compared: sets, not their order.
#[derive(Debug, PartialEq, Eq)]
struct Canonical {
    code: ResponseCode,
    is_authoritative: bool,
    is_truncated: bool,
    answer: BTreeSet<String>,
    authority: BTreeSet<String>,
    additional: BTreeSet<String>,
}

impl Canonical {
    fn new(message: &Message) -> Self {
        let texts = |records: &[Record]| {
            let text = |record: &Record| {
                let name = record.name.to_lowercase();
                format!("{name} {} {} {}", record.ttl, record.record_type(), record.data)
            };
            records.iter().map(text).collect()
        };
        Self {
            code: message.metadata.response_code,
            is_authoritative: message.metadata.authoritative,
            is_truncated: message.metadata.truncation,
            answer: texts(&message.answers),
            authority: texts(&message.authorities),
            additional: texts(&message.additionals),
        }
    }
}

/// The differences that are meant, with their reasons.
fn is_meant(rtype: RecordType, is_udp: bool, ours: &Canonical, theirs: &Canonical) -> bool {
    // RFC 8482: a question for any type gets one set over UDP, so that it is no lever for attacks. BIND gives all by default.
    if rtype == RecordType::ANY && is_udp {
        return ours.code == theirs.code
            && ours.is_authoritative == theirs.is_authoritative
            && (theirs.is_truncated
                || (!ours.answer.is_empty() || theirs.answer.is_empty())
                    && ours.answer.is_subset(&theirs.answer));
    }
    // An answer that does not fit is cut to nothing here (like NSD and Knot do); BIND fills what fits.
    is_udp && ours.is_truncated && theirs.is_truncated && ours.code == theirs.code
}

/// Asks both servers everything and returns how much was compared and what differed.
fn compare(
    ours: SocketAddr,
    theirs: SocketAddr,
    zones: &[PublishedZone],
    types: &[RecordType],
) -> (usize, usize, Vec<String>) {
    let names = question::names(zones);
    let mut our_tcp = TcpAsker::connect(ours);
    let mut their_tcp = TcpAsker::connect(theirs);
    let (mut compared, mut meant) = (0, 0);
    let mut differences = Vec::new();
    for name in &names {
        for rtype in types.iter().copied() {
            for is_udp in [true, false] {
                let (left, right) = if is_udp {
                    (ask_udp(ours, name, rtype), ask_udp(theirs, name, rtype))
                } else {
                    (our_tcp.ask(name, rtype), their_tcp.ask(name, rtype))
                };
                let (left, right) = (Canonical::new(&left), Canonical::new(&right));
                compared += 1;
                if left == right {
                    continue;
                }
                if is_meant(rtype, is_udp, &left, &right) {
                    meant += 1;
                } else {
                    let protocol = if is_udp { "UDP" } else { "TCP" };
                    differences.push(format!(
                        "{name} {rtype} {protocol}\n  ours   {left:?}\n  theirs {right:?}"
                    ));
                }
            }
        }
    }
    (compared, meant, differences)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_agrees_with_bind() {
    let zones = zones::all();
    let Some(bind) = named::start(&zones) else {
        println!("left out: comparing DNS answers with BIND, because `named` is not installed");
        return;
    };
    let server = DnsServer::start(&["127.0.0.1:0".parse().unwrap()]).await.unwrap();
    server.publish(zones.clone()).unwrap();
    let ours = server.addresses()[0];
    let theirs = bind.address();
    let (compared, meant, differences) =
        tokio::task::spawn_blocking(move || compare(ours, theirs, &zones, &TYPES)).await.unwrap();
    println!(
        "{compared} questions compared with BIND, {meant} meant differences, {} others",
        differences.len()
    );
    let shown: Vec<_> = differences.iter().take(20).cloned().collect();
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), shown.join("\n"));
    assert!(compared > 5_000, "only {compared} questions");
    server.stop().await.unwrap();
}

/// Zones that nobody thought of: names from four labels, so that wildcards, cuts, aliases and empty names get in each other's way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn generated_zones_agree_with_bind() {
    let zones = generated::zones(20);
    let Some(bind) = named::start(&zones) else {
        println!("left out: comparing generated zones with BIND, because `named` is not installed");
        return;
    };
    let server = DnsServer::start(&["127.0.0.1:0".parse().unwrap()]).await.unwrap();
    server.publish(zones.clone()).unwrap();
    let ours = server.addresses()[0];
    let theirs = bind.address();
    let types = [RecordType::A, RecordType::MX, RecordType::CNAME, RecordType::DS];
    let (compared, meant, differences) =
        tokio::task::spawn_blocking(move || compare(ours, theirs, &zones, &types)).await.unwrap();
    println!(
        "{compared} questions to generated zones compared with BIND, {meant} meant differences, {} others",
        differences.len()
    );
    let shown: Vec<_> = differences.iter().take(20).cloned().collect();
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), shown.join("\n"));
    assert!(compared > 5_000, "only {compared} questions");
    server.stop().await.unwrap();
}

/// The comparison must be able to fail: a wrong value in one zone is found.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_zone_is_found() {
    let zones = zones::all();
    let Some(bind) = named::start(&zones) else {
        println!("left out: the comparison's own test, because `named` is not installed");
        return;
    };
    let wrong = zones::changed(&zones);
    let server = DnsServer::start(&["127.0.0.1:0".parse().unwrap()]).await.unwrap();
    server.publish(wrong).unwrap();
    let www = Name::from_ascii("www.example.test.").unwrap();
    let ours = server.addresses()[0];
    let theirs = bind.address();
    tokio::task::spawn_blocking(move || {
        let left = Canonical::new(&ask_udp(ours, &www, RecordType::A));
        let right = Canonical::new(&ask_udp(theirs, &www, RecordType::A));
        assert_ne!(left.answer, right.answer);
    })
    .await
    .unwrap();
    server.stop().await.unwrap();
}
