//! Zones in which every rule of answering occurs at least once.

use tidegate_core::zone::{PublishedZone, RecordSet, ZoneData, ZoneKind, name::Name, rdata::Rdata};

/// Owner, type and values; relative to the zone.
type Row = (&'static str, &'static str, &'static [&'static str]);

const EXAMPLE: &[Row] = &[
    ("@", "NS", &["ns1", "ns.other.test."]),
    ("@", "MX", &["10 mail", "20 mx.other.test.", "30 ns1.sub", "40 any.wild"]),
    ("@", "TXT", &["v=spf1 mx -all"]),
    ("@", "CAA", &["0 issue \"ca.test; policy=ev\"", "0 iodef \"mailto:security@example.test\""]),
    ("ns1", "A", &["10.0.0.2"]),
    ("ns1", "AAAA", &["2001:db8::2"]),
    ("mail", "A", &["10.0.0.25"]),
    ("www", "A", &["10.0.0.10", "10.0.0.11"]),
    ("www", "AAAA", &["2001:db8::10"]),
    ("txtonly", "TXT", &["\"two\" \"strings; with \\\"quotes\\\"\""]),
    ("k1_2._domainkey", "TXT", &["v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQ"]),
    // Aliases: one, several, a loop, itself, to nothing, outside, into another zone, below a cut, to another type, to a wildcard.
    ("alias", "CNAME", &["www"]),
    ("chain1", "CNAME", &["chain2"]),
    ("chain2", "CNAME", &["chain3"]),
    ("chain3", "CNAME", &["www"]),
    ("loop1", "CNAME", &["loop2"]),
    ("loop2", "CNAME", &["loop1"]),
    ("itself", "CNAME", &["itself"]),
    ("dangling", "CNAME", &["nowhere"]),
    ("outside", "CNAME", &["host.elsewhere.invalid."]),
    ("across", "CNAME", &["www.other.test."]),
    ("acrossnothing", "CNAME", &["nothing.other.test."]),
    ("intosub", "CNAME", &["host.sub"]),
    ("totext", "CNAME", &["txtonly"]),
    ("towild", "CNAME", &["any.wild"]),
    ("toempty", "CNAME", &["ent"]),
    ("totree", "CNAME", &["www.tree"]),
    // Wildcards, and what stands in their way.
    ("*.wild", "A", &["10.0.1.1"]),
    ("*.wild", "TXT", &["wild"]),
    ("x.wild", "A", &["10.0.1.2"]),
    ("a.b.wild", "TXT", &["b.wild is an empty non-terminal"]),
    ("*.walias", "CNAME", &["www"]),
    ("*.wout", "CNAME", &["host.elsewhere.invalid."]),
    ("*.wmx", "MX", &["10 mail"]),
    ("in.*.wmid", "A", &["10.0.1.3"]),
    // Empty non-terminals.
    ("a.deep.ent", "A", &["10.0.2.1"]),
    // Cuts: with glue inside, beside and outside, without glue, with DS.
    ("sub", "NS", &["ns1.sub", "ns2.sub", "ns1", "ns.other.test."]),
    ("sub", "DS", &["60485 8 2 D4B7D520E7BB5F0F67674A0CCEB1E3E0614B93C4F9E99B8383F6A1E4469DA50A"]),
    ("ns1.sub", "A", &["10.0.3.1"]),
    ("ns1.sub", "AAAA", &["2001:db8:3::1"]),
    ("ns2.sub", "A", &["10.0.3.2"]),
    ("lame", "NS", &["ns.elsewhere.invalid."]),
    ("sibling", "NS", &["ns1.sub"]),
    ("deep.cut", "NS", &["ns.deep.cut"]),
    ("ns.deep.cut", "A", &["10.0.3.3"]),
    // Whole subtrees.
    ("tree", "DNAME", &["target"]),
    ("www.target", "A", &["10.0.4.1"]),
    ("alias.target", "CNAME", &["www"]),
    ("away", "DNAME", &["elsewhere.invalid."]),
    ("acrosstree", "DNAME", &["other.test."]),
    ("loop", "DNAME", &["x.loop"]),
    (
        "long",
        "DNAME",
        &[
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb.ccccccccccccccccccccccccccccccccccccccccccccccccccccccccc.ddddddddddddddddddddddddddddddddddddddddddddddddddd.e",
        ],
    ),
    // Services.
    ("_sip._tcp", "SRV", &["0 5 5060 sip", "10 5 5060 sip.other.test.", "20 0 0 ."]),
    ("sip", "A", &["10.0.5.1"]),
    (
        "naptr",
        "NAPTR",
        &["100 10 \"S\" \"SIP+D2T\" \"\" _sip._tcp", "100 20 \"A\" \"SIP+D2U\" \"\" sip"],
    ),
    ("tlsa", "SSHFP", &["4 2 123456789abcdef67890123456789abcdef67890123456789abcdef123456789"]),
    ("strange", "TYPE731", &["\\# 6 abcdef012345"]),
    ("dot\\.ted", "A", &["10.0.5.2"]),
];

const OTHER: &[Row] = &[
    ("@", "NS", &["ns"]),
    ("ns", "A", &["10.1.0.2"]),
    ("www", "A", &["10.1.0.10"]),
    ("mx", "A", &["10.1.0.25"]),
    ("mx", "AAAA", &["2001:db8:1::25"]),
    ("sip", "AAAA", &["2001:db8:1::5"]),
    ("back", "CNAME", &["alias.example.test."]),
    ("pingpong", "CNAME", &["across.example.test."]),
];

/// A wildcard at the top, and an answer that does not fit.
const WILD: &[Row] = &[
    ("@", "NS", &["ns1.example.test.", "ns.other.test."]),
    ("*", "A", &["10.2.0.1"]),
    ("*", "MX", &["10 mail"]),
    ("host", "TXT", &["no address"]),
    ("sub.host", "A", &["10.2.0.2"]),
    ("cut", "NS", &["ns.cut", "ns"]),
    ("ns.cut", "A", &["10.2.0.3"]),
    (
        "big",
        "TXT",
        &[
            "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000",
            "1111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111",
            "2222222222222222222222222222222222222222222222222222222222222222222222222222222222222222222222222222222222222222",
            "3333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333",
            "4444444444444444444444444444444444444444444444444444444444444444444444444444444444444444444444444444444444444444",
            "5555555555555555555555555555555555555555555555555555555555555555555555555555555555555555555555555555555555555555",
            "6666666666666666666666666666666666666666666666666666666666666666666666666666666666666666666666666666666666666666",
            "7777777777777777777777777777777777777777777777777777777777777777777777777777777777777777777777777777777777777777",
            "8888888888888888888888888888888888888888888888888888888888888888888888888888888888888888888888888888888888888888",
            "9999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ],
    ),
];

/// A zone below a served one, and one for addresses.
const CHILD: &[Row] = &[
    ("@", "NS", &["ns1.example.test."]),
    ("@", "A", &["10.3.0.1"]),
    ("www", "CNAME", &["www.example.test."]),
];
const REVERSE: &[Row] = &[
    ("@", "NS", &["ns1.example.test."]),
    ("10", "PTR", &["www.example.test."]),
    ("25", "PTR", &["mail.example.test."]),
];

fn zone(name: &str, serial: u32, rows: &[Row]) -> PublishedZone {
    let origin = Name::absolute(name).unwrap();
    let mut records: Vec<RecordSet> = rows
        .iter()
        .enumerate()
        .map(|(index, (owner, rtype, values))| {
            let canonical = |value: &&str| Rdata::parse(rtype, value, &origin).unwrap().to_string();
            let mut values: Vec<String> = values.iter().map(canonical).collect();
            values.sort();
            RecordSet {
                name: Name::parse(owner, &origin).unwrap().to_string(),
                rtype: (*rtype).to_owned(),
                // Different ones, so that a wrong TTL shows.
                ttl: 300 + u32::try_from(index).unwrap(),
                values,
            }
        })
        .collect();
    records.sort();
    let zone = ZoneData {
        name: name.to_owned(),
        kind: ZoneKind::Hosted {
            ttl: 600,
            negative_ttl: 120,
            primary: "ns1.example.test.".to_owned(),
            contact: "hostmaster.example.test.".to_owned(),
            records,
        },
    };
    let digest = zone.digest();
    PublishedZone { zone, serial, digest }
}

/// All of them.
pub(crate) fn all() -> Vec<PublishedZone> {
    vec![
        zone("example.test", 7, EXAMPLE),
        zone("other.test", 8, OTHER),
        zone("wild.test", 9, WILD),
        zone("child.example.test", 10, CHILD),
        zone("0.0.10.in-addr.arpa", 11, REVERSE),
    ]
}

/// The same with one wrong address.
pub(crate) fn changed(zones: &[PublishedZone]) -> Vec<PublishedZone> {
    let mut zones = zones.to_vec();
    for zone in &mut zones {
        if let ZoneKind::Hosted { records, .. } = &mut zone.zone.kind {
            for set in records.iter_mut().filter(|set| set.name == "www.example.test.") {
                if set.rtype == "A" {
                    set.values = vec!["10.9.9.9".to_owned()];
                }
            }
        }
        zone.digest = zone.zone.digest();
    }
    zones
}
