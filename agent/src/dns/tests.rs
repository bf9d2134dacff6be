//! The server over real sockets on the loopback interface: swapping, refusing, forwarding, sizes. What it answers is compared with
//! BIND in `tests/tests/dns_bind.rs`.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{Edns, Message, OpCode, Query, ResponseCode},
    rr::{DNSClass, Name, RecordType},
};
use tidegate_core::zone::{PublishedZone, RecordSet, ZoneData, ZoneKind};
use tokio::net::UdpSocket;

use super::{DnsServer, PublishError};

const PATIENCE: Duration = Duration::from_secs(5);

fn published(zone: ZoneData, serial: u32) -> PublishedZone {
    let digest = zone.digest();
    PublishedZone { zone, serial, digest }
}

fn set(name: &str, rtype: &str, values: &[&str]) -> RecordSet {
    let values = values.iter().map(|value| (*value).to_owned()).collect();
    RecordSet { name: name.to_owned(), rtype: rtype.to_owned(), ttl: 300, values }
}

fn hosted(serial: u32, more: Vec<RecordSet>) -> PublishedZone {
    let mut records = vec![
        set("example.test.", "NS", &["ns1.example.test."]),
        set("ns1.example.test.", "A", &["10.0.0.2"]),
    ];
    records.extend(more);
    let kind = ZoneKind::Hosted {
        ttl: 300,
        negative_ttl: 60,
        primary: "ns1.example.test.".to_owned(),
        contact: "hostmaster.example.test.".to_owned(),
        records,
    };
    published(ZoneData { name: "example.test".to_owned(), kind }, serial)
}

fn www(serial: u32, address: &str) -> PublishedZone {
    hosted(serial, vec![set("www.example.test.", "A", &[address])])
}

fn forward(name: &str, to: SocketAddr) -> PublishedZone {
    let kind = ZoneKind::Forward { to: vec![to.to_string()] };
    published(ZoneData { name: name.to_owned(), kind }, 1)
}

async fn start(zones: Vec<PublishedZone>) -> DnsServer {
    let server = DnsServer::start(&["127.0.0.1:0".parse().unwrap()]).await.unwrap();
    server.publish(zones).unwrap();
    server
}

fn question(name: &str, rtype: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = false;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), rtype));
    message
}

/// Asks a server over UDP and returns the answer with its length.
async fn exchange(server: &DnsServer, message: &Message) -> (Message, usize) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(server.addresses()[0]).await.unwrap();
    socket.send(&message.to_vec().unwrap()).await.unwrap();
    let mut buffer = [0; 4096];
    let length = tokio::time::timeout(PATIENCE, socket.recv(&mut buffer)).await.unwrap().unwrap();
    (Message::from_vec(&buffer[..length]).unwrap(), length)
}

async fn ask(server: &DnsServer, name: &str, rtype: RecordType) -> Message {
    exchange(server, &question(name, rtype)).await.0
}

fn answers(message: &Message) -> Vec<String> {
    let mut answers: Vec<String> =
        message.answers.iter().map(|record| record.data.to_string()).collect();
    answers.sort();
    answers
}

#[tokio::test]
async fn nothing_is_served_before_zones_are_published_and_outside_of_them() {
    let server = start(Vec::new()).await;
    let code = ask(&server, "www.example.test.", RecordType::A).await.metadata.response_code;
    assert_eq!(code, ResponseCode::Refused);
    server.publish(vec![www(1, "10.0.0.1")]).unwrap();
    assert_eq!(answers(&ask(&server, "WWW.example.test.", RecordType::A).await), ["10.0.0.1"]);
    let code = ask(&server, "www.other.test.", RecordType::A).await.metadata.response_code;
    assert_eq!(code, ResponseCode::Refused);
    let counters = server.counters();
    assert_eq!((counters.udp, counters.refused, counters.no_error), (3, 2, 1));
}

#[tokio::test]
async fn zones_of_classless_ranges_are_served() {
    let mut zone = hosted(1, Vec::new()).zone;
    zone.name = "0/25.0.0.10.in-addr.arpa".to_owned();
    if let ZoneKind::Hosted { records, .. } = &mut zone.kind {
        *records = vec![
            set("0/25.0.0.10.in-addr.arpa.", "NS", &["ns1.example.test."]),
            set("7.0/25.0.0.10.in-addr.arpa.", "PTR", &["www.example.test."]),
        ];
    }
    let server = start(vec![published(zone, 1)]).await;
    let labels = ["7", "0/25", "0", "0", "10", "in-addr", "arpa"].map(str::as_bytes);
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_labels(labels).unwrap(), RecordType::PTR));
    let (answer, _) = exchange(&server, &message).await;
    assert_eq!(answers(&answer), ["www.example.test."]);
}

#[tokio::test]
async fn a_broken_set_never_replaces_the_good_one() {
    let server = start(vec![www(5, "10.0.0.1")]).await;
    let mut forged = www(6, "10.0.0.2");
    forged.digest = www(6, "10.0.0.3").digest;
    let outside = hosted(6, vec![set("www.other.test.", "A", &["10.0.0.2"])]);
    let alias = vec![
        set("www.example.test.", "A", &["10.0.0.2"]),
        set("www.example.test.", "CNAME", &["ns1.example.test."]),
    ];
    let value = hosted(6, vec![set("www.example.test.", "A", &["10.0.0.256"])]);
    let broken = [
        vec![forged],
        vec![outside],
        vec![hosted(6, alias)],
        vec![value],
        vec![www(6, "10.0.0.2"), www(6, "10.0.0.2")],
        vec![forward("forward.test", "127.0.0.1:1".parse().unwrap()), www(5, "10.0.0.2")],
    ];
    for zones in broken {
        let error = server.publish(zones.clone()).map(|()| zones);
        assert!(error.is_err(), "{error:?}");
        assert_eq!(answers(&ask(&server, "www.example.test.", RecordType::A).await), ["10.0.0.1"]);
        assert_eq!(server.published(), [www(5, "10.0.0.1")]);
    }
}

#[tokio::test]
async fn the_serial_never_goes_back() {
    let server = start(vec![www(5, "10.0.0.1")]).await;
    for serial in [5, 4, 5_u32.wrapping_add(1 << 31)] {
        let error = server.publish(vec![www(serial, "10.0.0.2")]);
        assert!(matches!(error, Err(PublishError::Serial { published: 5, .. })), "{error:?}");
    }
    server.publish(vec![www(5, "10.0.0.1")]).unwrap();
    server.publish(vec![www(6, "10.0.0.2")]).unwrap();
    let answer = ask(&server, "example.test.", RecordType::SOA).await;
    assert!(answers(&answer)[0].contains(" 6 "), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_question_is_lost_while_zones_are_swapped() {
    let many = |serial: u32| {
        let address = if serial.is_multiple_of(2) { "10.0.0.2" } else { "10.0.0.1" };
        let hosts = (0..500).map(|host| set(&format!("h{host}.example.test."), "A", &[address]));
        // The same address twice in one answer: both must come from one set.
        let both = set("both.example.test.", "MX", &["10 h1.example.test.", "20 h2.example.test."]);
        hosted(serial, hosts.chain([both]).collect())
    };
    let server = Arc::new(start(vec![many(1)]).await);
    let is_done = Arc::new(AtomicBool::new(false));
    let asker = tokio::spawn({
        let (server, is_done) = (Arc::clone(&server), Arc::clone(&is_done));
        async move {
            let (mut asked, mut seen) = (0, std::collections::BTreeSet::new());
            while !is_done.load(Ordering::Relaxed) || seen.len() < 2 {
                let answer = ask(&server, "both.example.test.", RecordType::MX).await;
                let hosts = answer
                    .additionals
                    .iter()
                    .filter(|record| record.name.to_ascii().starts_with('h'));
                let addresses: Vec<String> = hosts.map(|record| record.data.to_string()).collect();
                assert_eq!(addresses.len(), 2, "{answer}");
                assert_eq!(addresses[0], addresses[1], "an answer from two sets");
                seen.insert(addresses[0].clone());
                asked += 1;
            }
            asked
        }
    });
    for serial in 2..=60 {
        server.publish(vec![many(serial)]).unwrap();
        tokio::task::yield_now().await;
    }
    is_done.store(true, Ordering::Relaxed);
    let asked = asker.await.unwrap();
    assert!(asked > 10, "only {asked} questions during the swaps");
    assert_eq!(server.counters().udp, asked);
}

#[tokio::test]
async fn what_nobody_should_ask_is_refused() {
    let server = start(vec![www(1, "10.0.0.1")]).await;
    let mut chaos = question("www.example.test.", RecordType::A);
    chaos.queries[0].set_query_class(DNSClass::CH);
    let mut notify = question("example.test.", RecordType::SOA);
    notify.metadata.op_code = OpCode::Notify;
    let mut versioned = question("www.example.test.", RecordType::A);
    let mut edns = Edns::new();
    edns.set_version(1);
    versioned.set_edns(edns);
    let mut two = question("www.example.test.", RecordType::A);
    two.add_query(Query::query(Name::from_ascii("ns1.example.test.").unwrap(), RecordType::A));
    for (message, code) in [
        (chaos, ResponseCode::Refused),
        (notify, ResponseCode::NotImp),
        (versioned, ResponseCode::BADVERS),
        (two, ResponseCode::FormErr),
        (question("example.test.", RecordType::AXFR), ResponseCode::Refused),
        (question("example.test.", RecordType::IXFR), ResponseCode::Refused),
    ] {
        let (answer, _) = exchange(&server, &message).await;
        // By number: 16 has two names, BADVERS and BADSIG.
        let number = u16::from(answer.metadata.response_code);
        assert_eq!(number, u16::from(code), "{message}");
        assert!(answer.answers.is_empty());
    }
}

#[tokio::test]
async fn answers_fit_what_the_asker_takes() {
    let texts: Vec<String> = (0..30).map(|index| format!("\"{index:0>60}\"")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let zone = hosted(
        1,
        vec![
            set("big.example.test.", "TXT", &texts),
            set("mid.example.test.", "TXT", &texts[..10]),
            set("mid.example.test.", "A", &["10.0.0.9"]),
        ],
    );
    let server = start(vec![zone]).await;
    let ask_with = async |name: &str, rtype, payload: Option<u16>| {
        let mut message = question(name, rtype);
        if let Some(payload) = payload {
            let mut edns = Edns::new();
            edns.set_max_payload(payload);
            message.set_edns(edns);
        }
        exchange(&server, &message).await
    };
    for (payload, limit) in [(None, 512), (Some(512), 512), (Some(1232), 1232), (Some(4096), 1232)]
    {
        let (answer, length) = ask_with("big.example.test.", RecordType::TXT, payload).await;
        assert!(answer.metadata.truncation && answer.answers.is_empty(), "{payload:?}");
        assert_eq!(answer.edns.is_some(), payload.is_some(), "the OPT record stays");
        assert!(length <= limit, "{length}");
        let (answer, length) = ask_with("mid.example.test.", RecordType::TXT, payload).await;
        assert_eq!(answer.metadata.truncation, limit == 512, "{payload:?}: {length}");
        assert!(length <= limit, "{length}");
    }
    // RFC 8482: one set, not all.
    let (answer, _) = ask_with("mid.example.test.", RecordType::ANY, Some(1232)).await;
    let types: std::collections::BTreeSet<_> =
        answer.answers.iter().map(hickory_proto::rr::Record::record_type).collect();
    assert_eq!(types.len(), 1);
}

#[tokio::test]
async fn forward_zones_are_asked_elsewhere() {
    let other = start(vec![www(1, "10.0.0.1")]).await;
    let alias = ZoneData {
        name: "alias.test".to_owned(),
        kind: ZoneKind::Hosted {
            ttl: 300,
            negative_ttl: 60,
            primary: "ns1.example.test.".to_owned(),
            contact: "hostmaster.example.test.".to_owned(),
            records: vec![
                set("a.alias.test.", "CNAME", &["www.example.test."]),
                set("alias.test.", "NS", &["ns1.example.test."]),
            ],
        },
    };
    let zones = vec![forward("example.test", other.addresses()[0]), published(alias, 1)];
    let server = start(zones.clone()).await;
    let ask_recursive = async |name: &str, rtype| {
        let mut message = question(name, rtype);
        message.metadata.recursion_desired = true;
        exchange(&server, &message).await.0
    };
    let answer = ask_recursive("www.example.test.", RecordType::A).await;
    assert_eq!(answers(&answer), ["10.0.0.1"]);
    assert!(answer.metadata.recursion_available && !answer.metadata.authoritative);
    let answer = ask_recursive("nothing.example.test.", RecordType::A).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(answer.authorities.len(), 1, "{answer}");
    let answer = ask_recursive("www.example.test.", RecordType::TXT).await;
    assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::NoError, 0));
    let answer = ask_recursive("a.alias.test.", RecordType::A).await;
    assert_eq!(answers(&answer), ["10.0.0.1", "www.example.test."], "aliases lead there too");
    // Who does not want us to ask others is not answered by others.
    let answer = ask(&server, "www.example.test.", RecordType::A).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::Refused);
    let answer = ask(&server, "a.alias.test.", RecordType::A).await;
    assert_eq!(answers(&answer), ["www.example.test."]);
    // An unchanged forward zone keeps what it remembers.
    let asked = other.counters().udp;
    let mut more = zones;
    more.push(forward("more.test", other.addresses()[0]));
    server.publish(more).unwrap();
    let answer = ask_recursive("www.example.test.", RecordType::A).await;
    assert_eq!((answers(&answer).len(), other.counters().udp), (1, asked));
}

#[tokio::test]
async fn silent_servers_end_in_a_failure_in_time() {
    // Bound, and never read from.
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = start(vec![forward("example.test", silent.local_addr().unwrap())]).await;
    let mut message = question("www.example.test.", RecordType::A);
    message.metadata.recursion_desired = true;
    let started = Instant::now();
    let (answer, _) = exchange(&server, &message).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}

#[tokio::test]
async fn the_last_good_set_survives_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("zones.json");
    let server = start(vec![www(5, "10.0.0.1")]).await;
    server.store_last_good(&path).unwrap();
    server.publish(vec![www(6, "10.0.0.2")]).unwrap();
    server.store_last_good(&path).unwrap();
    let loaded = DnsServer::load_last_good(&path).unwrap();
    assert_eq!(loaded, [www(6, "10.0.0.2")]);
    let again = start(loaded).await;
    assert_eq!(answers(&ask(&again, "www.example.test.", RecordType::A).await), ["10.0.0.2"]);
    let edited = std::fs::read_to_string(&path).unwrap().replace("10.0.0.2", "10.0.0.3");
    std::fs::write(&path, edited).unwrap();
    let error = DnsServer::load_last_good(&path).unwrap_err();
    assert!(matches!(error, super::LastGoodError::Digest { .. }), "{error}");
    let files = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(files, 1, "nothing is left beside it");
}

#[tokio::test]
async fn stopping_frees_the_addresses() {
    let server = start(vec![www(1, "10.0.0.1")]).await;
    let address = server.addresses()[0];
    assert!(DnsServer::start(&[address]).await.is_err(), "taken");
    server.stop().await.unwrap();
    let again = DnsServer::start(&[address]).await.unwrap();
    assert_eq!(again.addresses(), [address]);
}
