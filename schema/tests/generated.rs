//! What is generated from the types and committed is current: JSON Schemas and reference pages.
//!
//! `UPDATE=1 cargo test -p tidegate-schema` rewrites the files.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::{collections::BTreeSet, fs, path::Path};

use tidegate_schema::{Kind, Lang, json_schema, reference};

fn hold(folder: &str, files: &[(String, String)]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    for (name, expected) in files {
        let path = folder.join(name);
        if std::env::var_os("UPDATE").is_some() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&path, expected).unwrap();
        }
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(found == *expected, "{name} is stale: run UPDATE=1 cargo test -p tidegate-schema");
    }
}

#[test]
fn the_json_schemas_are_current() {
    let pretty = |schema| serde_json::to_string_pretty(&schema).unwrap() + "\n";
    let mut files: Vec<_> = Kind::ALL
        .iter()
        .map(|kind| (json_schema::file_name(*kind), pretty(json_schema::of(*kind))))
        .collect();
    files.push(("document.schema.json".to_owned(), pretty(json_schema::combined())));
    hold("json", &files);
    let on_disk: BTreeSet<String> =
        fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("json"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
    assert_eq!(on_disk, files.into_iter().map(|(name, _)| name).collect());
}

#[test]
fn the_reference_pages_are_current() {
    hold(
        "../docs/reference",
        &[
            ("documents.md".to_owned(), reference::documents_reference()),
            ("findings.md".to_owned(), reference::findings_reference(Lang::En)),
            ("findings.zh.md".to_owned(), reference::findings_reference(Lang::Zh)),
        ],
    );
}

#[test]
fn every_field_of_every_kind_is_described() {
    fn visit(path: &str, schema: &serde_json::Value, missing: &mut Vec<String>) {
        let Some(map) = schema.as_object() else { return };
        for (name, field) in
            map.get("properties").and_then(serde_json::Value::as_object).into_iter().flatten()
        {
            let path = format!("{path}.{name}");
            let is_described = field.get("description").is_some_and(serde_json::Value::is_string);
            if !is_described && path.matches('.').count() > 1 {
                missing.push(path.clone());
            }
            visit(&path, field, missing);
        }
        for (name, definition) in
            map.get("$defs").and_then(serde_json::Value::as_object).into_iter().flatten()
        {
            visit(&format!("{path}.{name}"), definition, missing);
        }
    }
    let mut missing = Vec::new();
    for kind in Kind::ALL {
        visit(kind.as_str(), &json_schema::of(*kind), &mut missing);
    }
    assert!(missing.is_empty(), "without description: {missing:?}");
}
