//! Tests of reading and writing YAML.

use std::fmt::Write as _;

use serde_json::json;

use super::*;

const GROUP: &str =
    "apiVersion: tidegate.dev/v1\nkind: Group\nmetadata: {name: a}\nspec: {members: [li-na]}\n";

fn codes(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|finding| finding.code.as_ref()).collect()
}

#[test]
fn nothing_is_read_from_nothing() {
    for text in ["", "\n", "# only a comment\n", "---\n---\n# x\n...\n", "\u{feff}", "null\n"] {
        assert_eq!(parse("a.yaml", text), (Vec::new(), Vec::new()), "{text:?}");
        assert_eq!(parse_objects("a.yaml", text), (Vec::new(), Vec::new()), "{text:?}");
    }
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_change_nothing() {
    let plain = parse("a.yaml", GROUP);
    assert_eq!(plain.0.len(), 1);
    assert_eq!(parse("a.yaml", &format!("\u{feff}{GROUP}")), plain);
    assert_eq!(parse("a.yaml", &GROUP.replace('\n', "\r\n")), plain);
    let text = "apiVersion: v1\r\nkind: ConfigMap\r\nmetadata: {name: a}\r\ndata:\r\n  a: |\r\n    x\r\n    y\r\n";
    let (objects, _) = parse_objects("a.yaml", text);
    assert_eq!(objects[0].0.pointer("/data/a"), Some(&json!("x\ny\n")));
}

#[test]
fn bytes_that_are_not_utf8_are_one_finding_with_its_line() {
    let (documents, findings) = parse_bytes("a.yaml", b"a: b\nc: \xc4\xe3\n");
    assert!(documents.is_empty());
    assert_eq!(codes(&findings), ["YAML/NOT_UTF8"]);
    assert_eq!(findings[0].place, Some(Place::new("a.yaml", 2, 0, "")));
    assert_eq!(parse_bytes("a.yaml", GROUP.as_bytes()), parse("a.yaml", GROUP));
}

#[test]
fn a_document_knows_where_its_fields_are() {
    let text = "# head\napiVersion: tidegate.dev/v1\nkind: Solution\nmetadata: {name: s}\nspec:\n  products:\n    - product: iam\n      version: 1.0.0\n    - {product: mysql, version: 8.0.36}\n";
    let (documents, findings) = parse("solutions/s.yaml", text);
    assert_eq!(findings, []);
    let place = |path: &str| documents[0].place(path).to_string();
    assert_eq!(place(""), "solutions/s.yaml:2:1");
    assert_eq!(place("metadata.name"), "solutions/s.yaml:4:18");
    assert_eq!(place("spec.products"), "solutions/s.yaml:6:3");
    assert_eq!(place("spec.products[0]"), "solutions/s.yaml:7:7");
    assert_eq!(place("spec.products[0].version"), "solutions/s.yaml:8:16");
    assert_eq!(place("spec.products[1].version"), "solutions/s.yaml:9:33");
    assert_eq!(place("spec.products[1].size"), "solutions/s.yaml:9:7");
    assert_eq!(documents[0].place_of_key("spec.products[1].version").column, 24);
}

#[test]
fn a_broken_document_does_not_hide_its_neighbours() {
    let text = format!("{GROUP}---\nkind: Group\n---\n{GROUP}");
    let (documents, findings) = parse("a.yaml", &text);
    assert_eq!(documents.iter().map(|d| d.origin.index).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(codes(&findings), ["DOCUMENT/API_VERSION_MISSING"]);
}

#[test]
fn a_document_with_a_duplicate_key_is_not_read() {
    let (documents, findings) = parse("a.yaml", &GROUP.replace("spec:", "kind: Person\nspec:"));
    assert!(documents.is_empty());
    assert_eq!(codes(&findings), ["YAML/DUPLICATE_KEY"]);
}

#[test]
fn scalars_follow_the_core_schema() {
    let text = "a: 1\nb: -1\nc: 0x1f\nd: 0o17\ne: 1.5\nf: 1e3\ng: 'true'\nh: True\ni: ~\nj:\nk: 2026-01-01\nl: 1.2.3\nm: 1_000\nn: .5\no: '-'\np: 18446744073709551615\nq: !!str 5\nr: 10:30\n";
    let expected = json!({
        "a": 1, "b": -1, "c": 31, "d": 15, "e": 1.5, "f": 1000.0, "g": "true", "h": true,
        "i": null, "j": null, "k": "2026-01-01", "l": "1.2.3", "m": "1_000", "n": 0.5, "o": "-",
        "p": 18_446_744_073_709_551_615_u64, "q": "5", "r": "10:30",
    });
    assert_eq!(value(text), Ok(expected));
}

#[test]
fn aliases_and_merge_keys_are_expanded() {
    let text = "a: &a {x: 1, y: 2}\nb: *a\nc: {<<: *a, y: 3}\nd: {<<: [*a, {z: 4}]}\n";
    let expected = json!({
        "a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 2}, "c": {"x": 1, "y": 3},
        "d": {"x": 1, "y": 2, "z": 4},
    });
    assert_eq!(value(text), Ok(expected));
}

#[test]
fn objects_are_read_as_kubectl_reads_them() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Secret\n  metadata: {name: a}\n  mode: 0644\n  on: 'on'\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: b}\n";
    let (objects, findings) = parse_objects("a.yaml", text);
    assert_eq!(codes(&findings), ["YAML/WORD_READ_AS_BOOLEAN"]);
    assert_eq!(objects.len(), 2);
    assert_eq!(objects[0].0["mode"], 420);
    assert_eq!(objects[0].1, Place::new("a.yaml", 4, 3, "items[0]"));
    assert_eq!(objects[1].1, Place::new("a.yaml", 10, 1, ""));
}

#[test]
fn what_is_written_is_read_back_without_findings() {
    let texts = [
        "yes",
        "NO",
        "on",
        "0644",
        "1e3",
        "",
        "~",
        "a: b",
        "- x",
        "{{ heap }}",
        " x",
        "x\ny\n",
        "银行",
        "\t",
        "#",
        "1.0",
        "0x1",
    ];
    let mut document = json!({
        "texts": texts,
        "nested": [[1, [2, {"a": [], "b": {}}]], {"c": {"d": [{"e": null, "f": ["x"]}]}}, "a\nb\n"],
        "numbers": [1, -1, 1.5, 1e300, 18_446_744_073_709_551_615_u64, true],
    });
    for text in texts {
        document["keys"][text] = json!({text: text});
    }
    let written = to_string(&document).unwrap();
    assert_eq!(value(&written), Ok(document), "{written}");
    for scalar in [json!("a\nb\n"), json!(null), json!([]), json!(["a\nb"])] {
        let written = to_string(&scalar).unwrap();
        assert_eq!(value(&written), Ok(scalar), "{written}");
    }
}

#[test]
fn messages_hold_no_value_of_a_parameter() {
    let text = "apiVersion: tidegate.dev/v1\nkind: Parameters\nmetadata: {name: p}\nspec:\n  scope: {}\n  values:\n    a: {hunter2: x}\n    b: [hunter2, 5]\n    c: {secret: hunter2}\n    d: 0112358\n    e: {secret: {name: HUNTER2, key: x}}\n";
    let (_, findings) = parse("p.yaml", text);
    let shown: String = findings.iter().fold(String::new(), |mut shown, finding| {
        writeln!(shown, "{finding}").unwrap();
        shown
    });
    assert_eq!(findings.len(), 5, "{shown}");
    assert!(!shown.contains("0112358"), "{shown}");
}

#[test]
fn two_thousand_documents_are_read_in_time() {
    let one = include_str!("../../samples/good/product.yaml");
    // The bound is for a debug build on a busy machine; a release build takes a fraction of a second.
    let start = std::time::Instant::now();
    let read: usize = (0..1000).map(|index| parse(&format!("{index}.yaml"), one).0.len()).sum();
    assert_eq!(read, 2000);
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}
