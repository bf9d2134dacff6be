//! One case per rule, and the zone that breaks none.

use tidegate_schema::{Body, Document, Finding, yaml};

use crate::zone::{ZoneData, document::read, lint::lint};

/// A zone that breaks no rule, before the records of a case.
const HEAD: &str = "
apiVersion: tidegate.dev/v1
kind: Zone
metadata: {name: example.test}
spec:
  primary: ns1.example.test.
  contact: hostmaster.example.test.
  records:
    - {name: '@', type: NS, values: [ns1, ns2]}
    - {name: ns1, type: A, values: [10.0.0.2]}
    - {name: ns2, type: AAAA, values: ['2001:db8::2']}
    - {name: www, type: A, values: [10.0.0.10]}
";

/// Reads and checks documents; the codes, sorted, each with its severity's first letter.
fn codes(texts: &[String]) -> Vec<String> {
    let text = texts.join("\n---\n");
    let (documents, problems) = yaml::parse("zones.yaml", &text);
    assert_eq!(problems, [], "the case itself must be well formed:\n{text}");
    let mut findings: Vec<Finding> = Vec::new();
    let mut zones: Vec<(&Document, ZoneData)> = Vec::new();
    for document in &documents {
        let Body::Zone(spec) = &document.body else { panic!("{text}") };
        let (zone, found) = read(document, spec);
        assert_eq!(zone.is_none(), found.iter().any(Finding::is_error), "{found:?}");
        findings.extend(found);
        zones.extend(zone.map(|zone| (document, zone)));
    }
    findings.extend(lint(zones.iter().map(|(document, zone)| (Some(*document), zone))));
    for finding in &findings {
        assert!(finding.place.as_ref().is_some_and(|place| place.line > 0), "{finding:?}");
        for lang in tidegate_schema::Lang::ALL {
            let text = finding.message(lang) + &finding.remedy(lang);
            assert!(!text.is_empty() && !text.contains("{name}"), "{text}");
        }
    }
    let mut codes: Vec<String> = findings
        .iter()
        .map(|finding| {
            let severity = finding.severity.to_string();
            let code = finding.code.trim_start_matches("DNS/");
            format!("{}:{code}", severity.chars().next().unwrap_or_default())
        })
        .collect();
    codes.sort();
    codes.dedup();
    codes
}

fn with(records: &[&str]) -> String {
    let records: Vec<String> = records.iter().map(|record| format!("    - {{{record}}}")).collect();
    format!("{HEAD}{}", records.join("\n"))
}

#[track_caller]
fn check(records: &[&str], expected: &[&str]) {
    assert_eq!(codes(&[with(records)]), expected, "{records:#?}");
}

#[test]
fn a_good_zone_has_no_findings() {
    check(
        &[
            "name: '@', type: MX, values: [10 mail]",
            "name: '@', type: TXT, values: ['v=spf1 mx -all; \"x\"']",
            "name: '@', type: CAA, values: ['0 issue \"ca.example; policy=ev\"', '0 issuewild \";\"', '128 iodef \"mailto:a@b.example\"']",
            "name: mail, type: A, values: [10.0.0.25]",
            "name: alias, type: CNAME, values: [www]",
            "name: outside, type: CNAME, values: [www.elsewhere.example.]",
            "name: '*.apps', type: A, values: [10.0.0.30]",
            "name: intowild, type: CNAME, values: [any.apps]",
            "name: _sip._tcp, type: SRV, values: [0 5 5060 www]",
            "name: _none._tcp, type: SRV, values: [0 0 0 .]",
            "name: k1_2._domainkey, type: TXT, values: [v=DKIM1; p=abc]",
            "name: _http._tcp, type: PTR, values: [www]",
            "name: sub, type: NS, values: [ns.sub, ns.elsewhere.example.]",
            "name: ns.sub, type: A, values: [10.0.1.2]",
            "name: old, type: DNAME, values: [new]",
        ],
        &[],
    );
}

#[test]
fn names_and_values_are_read() {
    let label = format!("name: alias, type: CNAME, values: [{}]", "a".repeat(64));
    let long = format!("name: www2, type: CNAME, values: [{0}.{0}.{0}.{0}]", "a".repeat(63));
    let string = format!("name: text, type: TXT, values: ['\"{}\"']", "x".repeat(256));
    for (record, expected) in [
        (label.as_str(), "e:LABEL_TOO_LONG"),
        (long.as_str(), "e:NAME_TOO_LONG"),
        ("name: alias, type: CNAME, values: [a..b]", "e:EMPTY_LABEL"),
        ("name: alias, type: CNAME, values: [müller]", "e:NAME_NOT_ASCII"),
        ("name: alias, type: CNAME, values: ['\"a b\"']", "e:NAME_CHARACTER"),
        ("name: www.other.test., type: A, values: [10.0.0.1]", "e:OUT_OF_ZONE"),
        ("name: two, type: MX, values: [10 ns1, 010 NS1]", "e:DUPLICATE_VALUE"),
        ("name: mx, type: MX, values: [ns1]", "e:BAD_NUMBER"),
        ("name: mx, type: MX, values: ['10']", "e:BAD_FIELDS"),
        ("name: zero, type: A, values: [10.0.0.01]", "e:BAD_ADDRESS"),
        ("name: text, type: TXT, values: ['\"open']", "e:BAD_QUOTES"),
        (string.as_str(), "e:STRING_TOO_LONG"),
        ("name: big, type: CAA, values: ['256 issue \"a.b\"']", "e:BAD_NUMBER"),
    ] {
        check(&[record], &[expected]);
    }
    let huge = format!("name: text, type: TXT, values: [{}]", "x".repeat(65_400));
    check(&[&huge], &["e:VALUE_TOO_LONG"]);
    let bad = with(&[]).replace("contact: hostmaster.example.test.", "contact: hostmaster.");
    assert_eq!(codes(&[bad]), ["e:BAD_CONTACT"]);
}

#[test]
fn aliases() {
    for (records, expected) in [
        (vec!["name: a, type: CNAME, values: [www, ns1]"], "e:SEVERAL_ALIASES"),
        (vec!["name: ns1, type: CNAME, values: [www]"], "e:ALIAS_WITH_DATA"),
        (vec!["name: a, type: CNAME, values: [nothing]"], "e:ALIAS_DANGLING"),
        (vec!["name: a, type: CNAME, values: [a]"], "e:ALIAS_LOOP"),
        (
            vec!["name: a, type: CNAME, values: [b]", "name: b, type: CNAME, values: [a]"],
            "e:ALIAS_LOOP",
        ),
        (
            vec!["name: a, type: CNAME, values: [b]", "name: b, type: CNAME, values: [www]"],
            "w:ALIAS_CHAIN",
        ),
        (vec!["name: d, type: DNAME, values: [x, y]"], "e:SEVERAL_ALIASES"),
        (vec!["name: d, type: DNAME, values: [e.d]"], "e:ALIAS_LOOP"),
        (vec!["name: '*.d', type: DNAME, values: [x]"], "e:WILDCARD_TYPE"),
        (
            vec!["name: d, type: DNAME, values: [x]", "name: a.d, type: TXT, values: [x]"],
            "e:BELOW_SUBTREE_ALIAS",
        ),
    ] {
        let found = codes(&[with(&records)]);
        assert!(found.contains(&expected.to_owned()), "{records:?}: {found:?}");
    }
    check(&["name: '@', type: CNAME, values: [www.elsewhere.example.]"], &["e:ALIAS_AT_APEX"]);
    let chain: Vec<String> =
        (0..9).map(|step| format!("name: c{step}, type: CNAME, values: [c{}]", step + 1)).collect();
    let mut chain: Vec<&str> = chain.iter().map(String::as_str).collect();
    chain.push("name: c9, type: A, values: [10.0.0.1]");
    check(&chain, &["e:ALIAS_CHAIN", "w:ALIAS_CHAIN"]);
    let delegated = ["name: d, type: DNAME, values: [x]", "name: d, type: NS, values: [ns1, ns2]"];
    check(&delegated, &["e:ALIAS_WITH_DATA", "e:HIDDEN_BY_CUT"]);
}

#[test]
fn a_subtree_alias_at_the_top_is_noted() {
    let text = "
apiVersion: tidegate.dev/v1
kind: Zone
metadata: {name: moved.test}
spec:
  primary: ns1.elsewhere.example.
  contact: hostmaster.elsewhere.example.
  records:
    - {name: '@', type: DNAME, values: [new.elsewhere.example.]}
";
    assert_eq!(codes(&[text.to_owned()]), ["n:SINGLE_SERVER", "w:SUBTREE_AT_APEX"]);
}

#[test]
fn targets() {
    for (record, expected) in [
        ("name: '@', type: MX, values: [10 nothing]", "e:TARGET_MISSING"),
        ("name: '@', type: MX, values: [10 txt]", "e:TARGET_MISSING"),
        ("name: '@', type: MX, values: [10 alias]", "e:TARGET_IS_ALIAS"),
        ("name: '@', type: MX, values: [10 10.0.0.1]", "e:TARGET_IS_ADDRESS"),
        ("name: '@', type: MX, values: [10 10.0.0.1.]", "e:TARGET_IS_ADDRESS"),
        ("name: '@', type: MX, values: [10 my_host]", "e:TARGET_NOT_A_HOST"),
        ("name: '@', type: MX, values: [0 ., 10 www]", "e:NO_TARGET"),
        ("name: _x._tcp, type: SRV, values: [0 0 1 alias]", "e:TARGET_IS_ALIAS"),
        ("name: _x._tcp, type: SRV, values: [0 0 1 ., 0 0 1 www]", "e:NO_TARGET"),
        ("name: sub, type: NS, values: [alias, ns1]", "e:TARGET_IS_ALIAS"),
        ("name: _x._tcp, type: PTR, values: [alias]", "w:TARGET_IS_ALIAS"),
        ("name: _x._tcp, type: PTR, values: [nothing]", "w:TARGET_MISSING"),
        ("name: _x._tcp, type: PTR, values: [my_host]", "w:TARGET_NOT_A_HOST"),
    ] {
        let alias = "name: alias, type: CNAME, values: [www]";
        check(&[alias, "name: txt, type: TXT, values: [x]", record], &[expected]);
    }
}

#[test]
fn delegations() {
    check(&["name: sub, type: NS, values: [ns.sub, ns1]"], &["e:GLUE_MISSING"]);
    check(&["name: sub, type: NS, values: [ns1]"], &["n:SINGLE_SERVER"]);
    check(&["name: '*.sub', type: NS, values: [ns1, ns2]"], &["e:WILDCARD_TYPE"]);
    let cut = "name: sub, type: NS, values: [ns1, ns2]";
    check(&[cut, "name: x.sub, type: TXT, values: [x]"], &["e:HIDDEN_BY_CUT"]);
    check(&[cut, "name: sub, type: TXT, values: [x]"], &["e:HIDDEN_BY_CUT"]);
    check(&[cut, "name: x.sub, type: A, values: [10.0.0.1]"], &["w:GLUE_UNUSED"]);
}

#[test]
fn owners() {
    for (record, expected) in [
        ("name: www.example.test, type: A, values: [10.0.0.1]", "w:FORGOTTEN_DOT"),
        ("name: my_host, type: A, values: [10.0.0.1]", "w:NOT_A_HOST_NAME"),
        ("name: sip, type: SRV, values: [0 0 1 www]", "e:SERVICE_NAME"),
        ("name: '*', type: SRV, values: [0 0 1 www]", "w:WILDCARD_SERVICE"),
        ("name: x, type: PTR, values: [www]", "w:REVERSE_OUTSIDE"),
        ("name: x, type: A, values: [10.0.0.1], ttl: 5", "w:TTL_UNUSUAL"),
        ("name: x, type: A, values: [10.0.0.1], ttl: 604801", "w:TTL_UNUSUAL"),
        ("name: x, type: A, values: [127.0.0.1]", "w:ADDRESS_UNUSUAL"),
        ("name: x, type: AAAA, values: ['fe80::1']", "w:ADDRESS_UNUSUAL"),
    ] {
        let found = codes(&[with(&[record])]);
        assert!(found.contains(&expected.to_owned()), "{record}: {found:?}");
    }
    let aliased = with(&["name: x, type: CNAME, values: [www.example.test]"]);
    assert_eq!(codes(&[aliased]), ["e:ALIAS_DANGLING", "w:FORGOTTEN_DOT"]);
}

#[test]
fn sizes() {
    let addresses = |count: usize| {
        let all: Vec<String> =
            (0..count).map(|index| format!("10.{}.{}.1", index / 200 + 1, index % 200)).collect();
        format!("name: many, type: A, values: [{}]", all.join(", "))
    };
    check(&[&addresses(10)], &[]);
    check(&[&addresses(40)], &["w:SET_LARGE"]);
    check(&[&addresses(3_000)], &["e:SET_TOO_LARGE"]);
}

#[test]
fn reverse_zones() {
    let zone = |name: &str, record: &str| {
        let (document, _) = HEAD.split_once("  records:").unwrap();
        let document = document.replace("name: example.test", &format!("name: {name}"));
        let servers = "{name: '@', type: NS, values: [ns1.example.test., ns2.example.test.]}";
        format!("{document}  records:\n    - {servers}\n    - {{{record}}}")
    };
    for (name, record, expected) in [
        ("0.0.10.in-addr.arpa", "name: '10', type: PTR, values: [www.example.test.]", None),
        (
            "0.0.10.in-addr.arpa",
            "name: '256', type: PTR, values: [www.example.test.]",
            Some("e:REVERSE_NAME"),
        ),
        (
            "0.0.10.in-addr.arpa",
            "name: '010', type: PTR, values: [www.example.test.]",
            Some("e:REVERSE_NAME"),
        ),
        (
            "0.10.in-addr.arpa",
            "name: '10', type: PTR, values: [www.example.test.]",
            Some("e:REVERSE_NAME"),
        ),
        ("0-63.0.0.10.in-addr.arpa", "name: '10', type: PTR, values: [www.example.test.]", None),
        (
            "8.b.d.0.1.0.0.2.ip6.arpa",
            "name: 1.0.0.0, type: PTR, values: [www.example.test.]",
            Some("e:REVERSE_NAME"),
        ),
    ] {
        let found = codes(&[with(&[]), zone(name, record)]);
        assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{name} {record}");
    }
}

#[test]
fn text_with_a_grammar() {
    let questions = (0..11).map(|index| format!("include:s{index}.example")).collect::<Vec<_>>();
    let asks = format!("name: '@', type: TXT, values: ['v=spf1 {} -all']", questions.join(" "));
    for (record, expected) in [
        ("name: '@', type: TXT, values: [v=spf1 -all, v=spf1 mx -all]", "e:SPF_TWICE"),
        (asks.as_str(), "w:SPF_QUESTIONS"),
        (
            "name: _dmarc, type: TXT, values: [v=DMARC1; p=none, v=DMARC1; p=reject]",
            "e:DMARC_TWICE",
        ),
        ("name: '@', type: CAA, values: ['1 issue \"ca.example\"']", "e:CAA_FLAGS"),
        ("name: '@', type: CAA, values: ['0 is-sue \"ca.example\"']", "e:CAA_TAG"),
        ("name: '@', type: CAA, values: ['0 issue \"ca_example\"']", "e:CAA_VALUE"),
        ("name: '@', type: CAA, values: ['0 iodef \"security\"']", "e:CAA_VALUE"),
    ] {
        check(&[record], &[expected]);
    }
}

#[test]
fn the_top() {
    let primary = |name: &str| with(&[]).replace("primary: ns1.", &format!("primary: {name}."));
    assert_eq!(codes(&[primary("ns9")]), ["e:PRIMARY_UNKNOWN", "n:PRIMARY_HIDDEN"]);
    assert_eq!(codes(&[primary("www")]), ["n:PRIMARY_HIDDEN"]);
    let local = "
apiVersion: tidegate.dev/v1
kind: Zone
metadata: {name: bank.local}
spec: {type: forward, forward: {to: [10.0.0.53, 10.0.1.53]}}
";
    let hosted = with(&[]).replace("example.test", "bank.local");
    assert_eq!(codes(&[hosted]), ["w:ZONE_NAME"]);
    assert_eq!(codes(&[local.to_owned()]), Vec::<String>::new(), "others may host it");
}

#[test]
fn a_zone_without_servers_gets_its_primary() {
    let text = "
apiVersion: tidegate.dev/v1
kind: Zone
metadata: {name: example.test}
spec:
  primary: ns1.example.test.
  contact: hostmaster.example.test.
  records:
    - {name: ns1, type: A, values: [10.0.0.2]}
";
    assert_eq!(codes(&[text.to_owned()]), ["n:SINGLE_SERVER"]);
}

#[test]
fn zones_inside_each_other() {
    let child = |kind: &str| {
        format!(
            "
apiVersion: tidegate.dev/v1
kind: Zone
metadata: {{name: child.example.test}}
spec: {{type: forward, forward: {{to: [{kind}]}}}}
"
        )
    };
    let delegated = with(&["name: child, type: NS, values: [ns1, ns2]"]);
    assert_eq!(codes(&[delegated.clone(), child("10.0.5.1, 10.0.5.2")]), Vec::<String>::new());
    assert_eq!(codes(&[with(&[]), child("10.0.5.1, 10.0.5.2")]), ["w:ZONE_NOT_DELEGATED"]);
    assert_eq!(codes(&[delegated.clone(), child("10.0.5.1")]), ["n:SINGLE_FORWARDER"]);
    assert_eq!(codes(&[delegated, child("10.0.0.2, 10.0.5.2")]), ["w:FORWARD_LOOP"]);
    let hidden = with(&["name: x.child, type: A, values: [10.0.0.1]"]);
    let found = codes(&[hidden, child("10.0.5.1, 10.0.5.2")]);
    assert_eq!(found, ["e:HIDDEN_BY_ZONE", "w:ZONE_NOT_DELEGATED"]);
}

#[test]
fn aliases_are_followed_into_other_zones() {
    let other = "
apiVersion: tidegate.dev/v1
kind: Zone
metadata: {name: other.test}
spec:
  primary: ns1.example.test.
  contact: hostmaster.example.test.
  records:
    - {name: '@', type: NS, values: [ns1.example.test., ns2.example.test.]}
    - {name: back, type: CNAME, values: [forth.example.test.]}
";
    let forth = with(&["name: forth, type: CNAME, values: [back.other.test.]"]);
    assert_eq!(codes(&[forth, other.to_owned()]), ["e:ALIAS_LOOP"]);
    let nothing = with(&["name: a, type: CNAME, values: [nothing.other.test.]"]);
    let found = codes(&[nothing, other.to_owned()]);
    assert_eq!(found, ["e:ALIAS_DANGLING"]);
}
