//! Findings: problems in documents or in a plan, with a code, a place and what to do about them.

use std::{borrow::Cow, cmp::Ordering, collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalogue;

/// One problem, for a person: what, where, and what to do.
///
/// A finding carries no prose. Its code names an entry of the [`catalogue`], and `args` fill the
/// placeholders of the entry's texts; so the same finding can be shown in every [`Lang`].
///
/// ```
/// use tidegate_schema::finding::{Finding, Place};
/// let finding = Finding::error("DOCUMENT/UNKNOWN_KIND")
///     .at(Place::new("site.yaml", 3, 7, "kind"))
///     .with("kind", "Sight");
/// assert_eq!(finding.place.as_ref().map(Place::to_string).as_deref(), Some("site.yaml:3:7"));
/// ```
///
/// Findings order by file, line, column and code, so that a sorted list reads like the files do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Finding {
    /// `CATEGORY/NAME`; a key of the catalogue.
    pub code: Cow<'static, str>,
    /// How bad it is.
    pub severity: Severity,
    /// Where it is; absent when it concerns no document (a plan, a cluster).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Values for the placeholders of the texts. Never a secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub args: BTreeMap<String, String>,
}

/// How bad a finding is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// The document or plan is refused.
    Error,
    /// Goes on, but a person should look.
    Warning,
    /// Worth knowing.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

/// Where something is written. Shown as `file:line:column`.
#[derive(
    Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Place {
    /// The file, relative to the site's folder, with `/`.
    pub file: String,
    /// The line, from 1; 0 when the whole file is meant.
    pub line: u32,
    /// The column in characters, from 1; 0 when the whole line or file is meant.
    pub column: u32,
    /// The field, such as `spec.products[2].version`; empty when the document or file is meant.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
}

impl Place {
    /// A place in a file.
    pub fn new(file: impl Into<String>, line: u32, column: u32, path: impl Into<String>) -> Self {
        Self { file: file.into(), line, column, path: path.into() }
    }

    /// A whole file.
    pub fn file(file: impl Into<String>) -> Self {
        Self { file: file.into(), ..Self::default() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.file)?;
        if self.line > 0 {
            write!(formatter, ":{}", self.line)?;
            if self.column > 0 {
                write!(formatter, ":{}", self.column)?;
            }
        }
        Ok(())
    }
}

/// A language of texts for people.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Lang {
    /// English.
    #[default]
    En,
    /// Chinese (simplified).
    Zh,
}

impl Lang {
    /// Every language, in the order of preference.
    pub const ALL: [Self; 2] = [Self::En, Self::Zh];

    /// The language that a locale such as `zh_CN.UTF-8` asks for; English when it is another one.
    pub fn from_locale(locale: &str) -> Self {
        let language = locale.split(['_', '-', '.', '@']).next().unwrap_or_default();
        if language.eq_ignore_ascii_case("zh") { Self::Zh } else { Self::En }
    }
}

impl fmt::Display for Lang {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::En => "en",
            Self::Zh => "zh",
        })
    }
}

impl std::str::FromStr for Lang {
    type Err = UnknownLang;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "en" => Ok(Self::En),
            "zh" => Ok(Self::Zh),
            _ => Err(UnknownLang),
        }
    }
}

/// The text names no language that we speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the language must be en or zh")]
pub struct UnknownLang;

impl Finding {
    /// A finding of any severity.
    pub fn new(severity: Severity, code: impl Into<Cow<'static, str>>) -> Self {
        Self { code: code.into(), severity, place: None, args: BTreeMap::new() }
    }

    /// A finding that refuses the document or the plan.
    pub fn error(code: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Severity::Error, code)
    }

    /// A finding that a person should look at.
    pub fn warning(code: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Severity::Warning, code)
    }

    /// A finding that is worth knowing.
    pub fn note(code: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Severity::Note, code)
    }

    /// Says where.
    #[must_use]
    pub fn at(mut self, place: impl Into<Option<Place>>) -> Self {
        self.place = place.into();
        self
    }

    /// Fills a placeholder of the texts. Never pass a secret.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "callers pass names, numbers and references")]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.args.insert(name.to_owned(), value.to_string());
        self
    }

    /// Whether it refuses the document or the plan.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// What is wrong, in one sentence.
    pub fn message(&self, lang: Lang) -> String {
        match catalogue::explain(&self.code, lang) {
            Some(entry) => fill(entry.message, &self.args),
            None => unknown(&self.code, &self.args),
        }
    }

    /// What to do about it; empty for a code that the catalogue does not have.
    pub fn remedy(&self, lang: Lang) -> String {
        catalogue::explain(&self.code, lang)
            .map_or_else(String::new, |entry| fill(entry.remedy, &self.args))
    }
}

/// The line that logs and plain lists show: `site.yaml:3:7: error DOCUMENT/UNKNOWN_KIND: …`.
impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(formatter, "{place}: ")?;
        }
        write!(formatter, "{} {}: {}", self.severity, self.code, self.message(Lang::En))
    }
}

impl PartialOrd for Finding {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Finding {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |finding: &Self| {
            finding.place.as_ref().map(|place| (place.file.clone(), place.line, place.column))
        };
        key(self)
            .cmp(&key(other))
            .then_with(|| self.code.cmp(&other.code))
            .then_with(|| self.severity.cmp(&other.severity))
            .then_with(|| self.place.cmp(&other.place))
            .then_with(|| self.args.cmp(&other.args))
    }
}

/// Replaces `{name}` by the argument of that name; braces that are no placeholder stay.
fn fill(text: &str, args: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len() + 32);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let known = after
            .split_once('}')
            .and_then(|(name, tail)| args.get(name).map(|value| (value, tail)));
        if let Some((value, tail)) = known {
            out.push_str(value);
            rest = tail;
        } else {
            out.push('{');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

fn unknown(code: &str, args: &BTreeMap<String, String>) -> String {
    let mut out = code.to_owned();
    for (name, value) in args {
        out.extend([" ", name, "=", value]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_sort_as_the_files_read() {
        let at = |file: &str, line, column, code: &'static str| {
            Finding::error(code).at(Place::new(file, line, column, ""))
        };
        let mut findings = [
            at("b", 1, 1, "A/A"),
            at("a", 2, 1, "A/A"),
            at("a", 1, 9, "B/B"),
            at("a", 1, 9, "A/A"),
        ];
        findings.sort();
        let lines: Vec<_> =
            findings.iter().map(|f| format!("{} {}", f.place.clone().unwrap(), f.code)).collect();
        assert_eq!(lines, ["a:1:9 A/A", "a:1:9 B/B", "a:2:1 A/A", "b:1:1 A/A"]);
    }

    #[test]
    fn placeholders_without_an_argument_stay() {
        let args = BTreeMap::from([("name".to_owned(), "iam".to_owned())]);
        assert_eq!(
            fill("{name}: write {en: …} or {other}", &args),
            "iam: write {en: …} or {other}"
        );
    }

    #[test]
    fn a_finding_survives_json() {
        let finding = Finding::warning("DOCUMENT/UNKNOWN_FIELD")
            .at(Place::new("a.yaml", 1, 2, "spec.x"))
            .with("field", "x");
        let text = serde_json::to_string(&finding).unwrap();
        assert_eq!(serde_json::from_str::<Finding>(&text).unwrap(), finding);
    }

    #[test]
    fn the_locale_decides_the_language() {
        assert_eq!(Lang::from_locale("zh_CN.UTF-8"), Lang::Zh);
        assert_eq!(Lang::from_locale("de_DE.UTF-8"), Lang::En);
        assert_eq!(Lang::from_locale("C"), Lang::En);
    }
}
