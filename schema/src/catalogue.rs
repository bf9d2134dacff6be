//! The catalogue: the texts of every finding code, in English and Chinese, embedded in the program.
//!
//! One file per category in `schema/catalogue/`, named after it. To add a code, add an entry:
//!
//! ```yaml
//! PLAN/DOWNGRADE_REFUSED:
//!   title: {en: A lower version is refused, zh: 拒绝降级}
//!   message: {en: "…{product}…", zh: "…{product}…"}     # one sentence; {arg} is filled by Finding::with
//!   remedy: {en: …, zh: …}                              # what to do, as an order
//!   explanation: {en: …, zh: …}                         # the long form of `tidegate explain`; Markdown
//! ```
//! Afterwards run `UPDATE=1 cargo test -p tidegate-schema`, which brings `docs/reference/findings*.md` up to date.
//!
//! A new category is a new file and a new line in [`FILES`]. Tests hold that every text exists in
//! both languages and that both have the same placeholders.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::Deserialize;

use crate::finding::Lang;

/// The embedded files: category (the part of the code before `/`) and text.
const FILES: &[(&str, &str)] = &[
    ("ACCESS", include_str!("../catalogue/access.yaml")),
    ("AGENT", include_str!("../catalogue/agent.yaml")),
    ("APPROVAL", include_str!("../catalogue/approval.yaml")),
    ("BASELINE", include_str!("../catalogue/baseline.yaml")),
    ("CLUSTER", include_str!("../catalogue/cluster.yaml")),
    ("COMMAND", include_str!("../catalogue/command.yaml")),
    ("CONFIG", include_str!("../catalogue/config.yaml")),
    ("DNS", include_str!("../catalogue/dns.yaml")),
    ("DOCUMENT", include_str!("../catalogue/document.yaml")),
    ("GROUP", include_str!("../catalogue/group.yaml")),
    ("HTTP", include_str!("../catalogue/http.yaml")),
    ("IAM", include_str!("../catalogue/iam.yaml")),
    ("IMAGE", include_str!("../catalogue/image.yaml")),
    ("MANIFEST", include_str!("../catalogue/manifest.yaml")),
    ("OBJECT", include_str!("../catalogue/object.yaml")),
    ("OPERATION", include_str!("../catalogue/operation.yaml")),
    ("PARAMETER", include_str!("../catalogue/parameter.yaml")),
    ("PLAN", include_str!("../catalogue/plan.yaml")),
    ("POLICY", include_str!("../catalogue/policy.yaml")),
    ("PRODUCT", include_str!("../catalogue/product.yaml")),
    ("REFERENCE", include_str!("../catalogue/reference.yaml")),
    ("REHEARSAL", include_str!("../catalogue/rehearsal.yaml")),
    ("RELEASE", include_str!("../catalogue/release.yaml")),
    ("ROLLOUT", include_str!("../catalogue/rollout.yaml")),
    ("SITE", include_str!("../catalogue/site.yaml")),
    ("SOLUTION", include_str!("../catalogue/solution.yaml")),
    ("SOURCE", include_str!("../catalogue/source.yaml")),
    ("TEMPLATE", include_str!("../catalogue/template.yaml")),
    ("VALUE", include_str!("../catalogue/value.yaml")),
    ("VERSION", include_str!("../catalogue/version.yaml")),
    ("YAML", include_str!("../catalogue/yaml.yaml")),
    ("ZONE", include_str!("../catalogue/zone.yaml")),
];

/// The texts of one code in one language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explanation {
    /// `CATEGORY/NAME`.
    pub code: &'static str,
    /// A heading.
    pub title: &'static str,
    /// One sentence with `{placeholders}`.
    pub message: &'static str,
    /// What to do, with `{placeholders}`.
    pub remedy: &'static str,
    /// Why the rule exists, and an example. Markdown.
    pub explanation: &'static str,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    title: Both,
    message: Both,
    remedy: Both,
    explanation: Both,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Both {
    en: String,
    zh: String,
}

impl Both {
    fn get(&self, lang: Lang) -> &str {
        match lang {
            Lang::En => &self.en,
            Lang::Zh => &self.zh,
        }
    }
}

static ENTRIES: LazyLock<BTreeMap<String, Entry>> = LazyLock::new(|| {
    // A broken file gives no entries here, and `every_file_of_the_catalogue_can_be_read` fails.
    FILES.iter().filter_map(|(_, text)| read(text).ok()).flatten().collect()
});

fn read(text: &str) -> Result<BTreeMap<String, Entry>, String> {
    let value = crate::yaml::value(text)?;
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// The texts of a code; `None` when the catalogue does not have it.
pub fn explain(code: &str, lang: Lang) -> Option<Explanation> {
    let (code, entry) = ENTRIES.get_key_value(code)?;
    Some(Explanation {
        code,
        title: entry.title.get(lang),
        message: entry.message.get(lang),
        remedy: entry.remedy.get(lang),
        explanation: entry.explanation.get(lang),
    })
}

/// Every code of the catalogue, sorted.
pub fn codes() -> impl Iterator<Item = &'static str> {
    ENTRIES.keys().map(String::as_str)
}

/// The names of the placeholders of a text, sorted, without repetition.
#[cfg(test)]
fn placeholders(text: &str) -> std::collections::BTreeSet<String> {
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_alphanumeric())
    };
    text.split('{')
        .skip(1)
        .filter_map(|part| part.split_once('}'))
        .map(|(name, _)| name.to_owned())
        .filter(|name| is_name(name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_catalogue_can_be_read() {
        for (category, text) in FILES {
            let entries = read(text).unwrap_or_else(|error| panic!("{category}: {error}"));
            for code in entries.keys() {
                let (head, name) = code.split_once('/').unwrap_or_else(|| panic!("{code}: no /"));
                assert_eq!(head, *category, "{code} is in the wrong file");
                let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
                assert!(name.chars().all(is_name), "{code}: use CATEGORY/NAME_IN_CAPITALS");
            }
        }
    }

    #[test]
    fn every_file_of_the_folder_is_embedded() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("catalogue");
        let mut on_disk: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap().to_uppercase())
            .collect();
        on_disk.sort();
        let mut embedded: Vec<_> =
            FILES.iter().map(|(category, _)| format!("{category}.YAML")).collect();
        embedded.sort();
        assert_eq!(on_disk, embedded);
    }

    #[test]
    fn every_text_is_complete_in_both_languages() {
        for (code, entry) in &*ENTRIES {
            for (what, both) in [
                ("title", &entry.title),
                ("message", &entry.message),
                ("remedy", &entry.remedy),
                ("explanation", &entry.explanation),
            ] {
                assert!(!both.en.trim().is_empty(), "{code}: {what}.en is empty");
                let is_han = |c: char| ('\u{4e00}'..='\u{9fff}').contains(&c);
                assert!(both.zh.contains(is_han), "{code}: {what}.zh is not Chinese");
                assert_eq!(
                    placeholders(&both.en),
                    placeholders(&both.zh),
                    "{code}: {what} has other placeholders in Chinese"
                );
            }
        }
    }
}
