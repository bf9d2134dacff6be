//! What the search for secrets finds. Apart from it, as the tests of the agent include that file.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::canary::{CANARY, is_in, kept, secret};

#[test]
fn a_canary_is_found_in_every_form() {
    for before in ["", "a", "ab", "abc"] {
        for after in ["", "x", "xy", "xyz"] {
            let text = format!("{before}{CANARY}{after}");
            assert!(is_in(format!("{{\"a\": \"{text}\"}}").as_bytes()));
            assert!(is_in(STANDARD.encode(&text).as_bytes()), "{text}");
        }
    }
    assert!(!is_in(b"canary"));
}

#[test]
fn a_canary_is_found_in_files_and_in_objects_of_git() {
    let folder = tempfile::tempdir().unwrap();
    let repository = git2::Repository::init_bare(folder.path().join("a/site.git")).unwrap();
    assert_eq!(kept(folder.path(), &BTreeSet::new()), [""; 0]);
    let id = repository.blob(secret("x").repeat(9).as_bytes()).unwrap();
    let found = kept(folder.path(), &BTreeSet::new());
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].ends_with(&id.to_string()));
    std::fs::write(folder.path().join("a/journal"), "a: another secret").unwrap();
    let other = BTreeSet::from(["another secret".to_owned()]);
    assert_eq!(kept(folder.path(), &other).len(), 2);
}
