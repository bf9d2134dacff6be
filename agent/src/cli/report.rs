//! Findings for people: the place in its source, the cause, the remedy; all of them, then one line that sums up.

use std::collections::BTreeMap;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode,
};
use owo_colors::OwoColorize as _;
use tidegate_core::snapshot::Snapshot;
use tidegate_schema::finding::{Finding, Lang, Place, Severity};

use super::output::{Findings, ToldFinding};
use super::printer::{Format, Printer};

/// Sources by the name that places carry.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources(BTreeMap<String, String>);

impl Sources {
    /// The files of a snapshot.
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let text = |(path, content): (&String, &Vec<u8>)| {
            let name = snapshot.within_folder(path).unwrap_or(path).to_owned();
            Some((name, String::from_utf8(content.clone()).ok()?))
        };
        Self(snapshot.files.iter().filter_map(text).collect())
    }

    /// One file.
    #[cfg(test)]
    pub(super) fn file(name: &str, text: &str) -> Self {
        Self(BTreeMap::from([(name.to_owned(), text.to_owned())]))
    }
}

/// Whether a file may hold a secret, so that no line of it is quoted: the lines around a finding are shown too.
fn holds_secrets(file: &str, findings: &[Finding], sources: &Sources) -> bool {
    let is_in_clear = |finding: &Finding| {
        finding.code.ends_with("/SECRET_IN_CLEAR")
            && finding.place.as_ref().is_some_and(|place| place.file == file)
    };
    let is_secrets = |line: &str| {
        let words =
            line.trim_start_matches(['-', ' ', '{', '"']).replace(['"', '\'', ' ', ','], "");
        words.starts_with("kind:Secret")
    };
    findings.iter().any(is_in_clear)
        || sources.0.get(file).is_some_and(|text| text.lines().any(is_secrets))
}

/// A finding with its source, as miette wants it.
#[derive(Debug)]
struct Shown<'a> {
    finding: &'a Finding,
    lang: Lang,
    source: Option<(NamedSource<String>, LabeledSpan)>,
}

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.source.is_none()
            && let Some(place) = &self.finding.place
        {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.finding.message(self.lang))
    }
}

impl std::error::Error for Shown<'_> {}

impl Diagnostic for Shown<'_> {
    fn code(&self) -> Option<Box<dyn std::fmt::Display + '_>> {
        Some(Box::new(&self.finding.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.finding.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
            Severity::Note => miette::Severity::Advice,
        })
    }

    fn help(&self) -> Option<Box<dyn std::fmt::Display + '_>> {
        let remedy = self.finding.remedy(self.lang);
        (!remedy.is_empty()).then(|| Box::new(remedy) as Box<dyn std::fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|(source, _)| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = self.source.as_ref().map(|(_, label)| label.clone())?;
        Some(Box::new(std::iter::once(label)))
    }
}

impl Printer {
    /// Findings as data, with the line that sums up, for `validate`.
    pub(super) fn findings(&self, findings: &[Finding], sources: &Sources) {
        match self.format {
            Format::Json => {}
            _ if findings.is_empty() => {}
            Format::Text | Format::Html | Format::Csv => {
                self.text(&graphical(findings, sources, self));
            }
            Format::Markdown => self.text(&markdown(findings, self.lang)),
        }
    }

    /// Findings as remarks beside other output, or as the reason of a failure.
    pub(super) fn complain(&self, findings: &[Finding], sources: &Sources) {
        if findings.is_empty() {
            return;
        }
        match self.format {
            Format::Json => {
                let findings = ToldFinding::all(findings, self.lang);
                self.json_remark(&Findings { findings });
            }
            Format::Text | Format::Markdown | Format::Html | Format::Csv => {
                self.remark(graphical(findings, sources, self).trim_end());
            }
        }
    }
}

/// `1 error`, `3 errors`.
pub(super) fn plural(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}

/// `3 errors, 1 warning`.
pub(super) fn count(findings: &[Finding], lang: Lang) -> String {
    let count = |severity| findings.iter().filter(|it| it.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let notes = count(Severity::Note);
    let parts = match lang {
        Lang::En => [plural(errors, "error"), plural(warnings, "warning"), plural(notes, "note")],
        Lang::Zh => {
            [format!("{errors} 个错误"), format!("{warnings} 个警告"), format!("{notes} 条提示")]
        }
    };
    let counts = [errors, warnings, notes];
    let told = parts.into_iter().zip(counts).filter(|(_, count)| *count > 0).map(|(text, _)| text);
    told.collect::<Vec<_>>().join(if lang == Lang::Zh { "，" } else { ", " })
}

fn graphical(findings: &[Finding], sources: &Sources, printer: &Printer) -> String {
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode())
        .with_width(printer.width)
        .with_context_lines(1)
        .with_wrap_lines(true);
    let mut text = String::new();
    for finding in findings {
        let place = finding.place.as_ref();
        let place = place.filter(|place| !holds_secrets(&place.file, findings, sources));
        let source = place.and_then(|place| located(place, sources));
        let shown = Shown { finding, lang: printer.lang, source };
        // Writing to a text cannot fail.
        let _ok = handler.render_report(&mut text, &shown);
        if !text.ends_with("\n\n") {
            text.push('\n');
        }
    }
    text
}

/// The source and the span of a place: from its column to the end of the word or value there.
fn located(place: &Place, sources: &Sources) -> Option<(NamedSource<String>, LabeledSpan)> {
    let text = sources.0.get(&place.file)?;
    let index = usize::try_from(place.line).ok()?.checked_sub(1)?;
    let start: usize = text.split_inclusive('\n').take(index).map(str::len).sum();
    let line = text.split_inclusive('\n').nth(index)?.trim_end();
    let skipped = usize::try_from(place.column).ok()?.saturating_sub(1);
    let column = line.char_indices().nth(skipped).map_or(line.len(), |(index, _)| index);
    let rest = line.get(column..).unwrap_or_default();
    let end = rest.find([',', '}', ']', '#', ':']).unwrap_or(rest.len());
    let length = rest.get(..end).unwrap_or_default().trim_end().len();
    let span = miette::SourceSpan::new((start + column).into(), length.max(1));
    let label = if place.path.is_empty() { None } else { Some(place.path.clone()) };
    let source = NamedSource::new(&place.file, text.clone());
    Some((source, LabeledSpan::new_primary_with_span(label, span)))
}

fn markdown(findings: &[Finding], lang: Lang) -> String {
    let mut text = String::new();
    for finding in findings {
        let place = finding.place.as_ref().map(|it| format!("`{it}` ")).unwrap_or_default();
        let (message, remedy) = (finding.message(lang), finding.remedy(lang));
        let head = format!("- **{}** {place}`{}`: {message}", finding.severity, finding.code);
        text.push_str(&head);
        if !remedy.is_empty() {
            text.push_str("  \n  → ");
            text.push_str(&remedy);
        }
        text.push('\n');
    }
    text
}

/// One finding in two lines, for lists of what waits: what, and beneath it what to do.
pub(super) fn brief(finding: &Finding, printer: &Printer, indent: usize) -> Vec<String> {
    let room = printer.width.saturating_sub(indent);
    let mut lines = super::printer::wrapped(&finding.message(printer.lang), room);
    let remedy = finding.remedy(printer.lang);
    if !remedy.is_empty() {
        let remedy = super::printer::wrapped(&remedy, room.saturating_sub(2));
        for (index, line) in remedy.into_iter().enumerate() {
            let mark = if index == 0 { "→ " } else { "  " };
            lines.push(format!("{}{}", mark.dimmed(), line.dimmed()));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_found_behind_wide_characters() {
        let sources = Sources::file("a.yaml", "kind: Site\ntitle: 杭州, tier: production\n");
        let (_, label) = located(&Place::new("a.yaml", 2, 12, "spec.tier"), &sources).unwrap();
        let text = &sources.0["a.yaml"][label.offset()..label.offset() + label.len()];
        assert_eq!(text, "tier");
        assert!(located(&Place::new("b.yaml", 2, 1, ""), &sources).is_none());
        // A place behind the end of its line points at the end.
        let (_, label) = located(&Place::new("a.yaml", 1, 99, ""), &sources).unwrap();
        assert_eq!(label.offset(), 10);
    }

    #[test]
    fn a_file_that_holds_secrets_is_not_quoted() {
        let text = "kind: Parameters\npassword: marigold\n";
        let sources = Sources::file("a.yaml", text);
        let at = |code: &'static str| Finding::error(code).at(Place::new("a.yaml", 1, 1, ""));
        let (other, secret) = (at("A/A"), at("VALUE/SECRET_IN_CLEAR"));
        assert!(!holds_secrets("a.yaml", std::slice::from_ref(&other), &sources));
        assert!(holds_secrets("a.yaml", &[other, secret], &sources));
        for text in ["kind: Secret\n", "{\"a\": 1,\n \"kind\": \"Secret\"}\n", "- kind: 'Secret'\n"]
        {
            assert!(holds_secrets("a.yaml", &[], &Sources::file("a.yaml", text)), "{text}");
        }
        assert!(!holds_secrets("a.yaml", &[], &Sources::file("a.yaml", "kind: Service\n")));
    }

    #[test]
    fn the_sum_names_only_what_there_is() {
        let findings = [Finding::error("A/A"), Finding::error("A/A"), Finding::warning("A/A")];
        assert_eq!(count(&findings, Lang::En), "2 errors, 1 warning");
        assert_eq!(count(&findings, Lang::Zh), "2 个错误，1 个警告");
        assert_eq!(count(&[], Lang::En), "");
    }
}
