//! The one place that prints: data to standard output, remarks to standard error, colour only on a terminal.

use std::fmt::Display;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use clap::ValueEnum;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use owo_colors::OwoColorize as _;
use serde::Serialize;
use tidegate_core::show::Style;
use tidegate_schema::finding::Lang;

use super::output::{self, Output};
use crate::clock::Clock;

/// Columns where nobody says how many there are.
const COLUMNS: usize = 100;

/// Columns of the labels at the left of a page.
pub(super) const GUTTER: usize = 11;

/// The form of output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs; versioned.
    Json,
    /// For comments on merge requests.
    Markdown,
    /// One page for browsers and mail: `diff`, `plan` and `drift`; elsewhere text.
    Html,
    /// For spreadsheets: `releases metrics`; elsewhere text.
    Csv,
}

/// Where a command line is typed: what time it is there, and where its output goes.
#[derive(Clone, Debug)]
pub struct Terminal {
    clock: Clock,
    zone: TimeZone,
    width: usize,
    /// What was printed, when it goes nowhere else.
    kept: Option<Arc<Mutex<String>>>,
}

impl Terminal {
    /// The terminal, or the files and pipes, of this process.
    pub(super) fn of_this_process() -> Self {
        let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let measured = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        let width = columns.or(measured).unwrap_or(COLUMNS).clamp(40, 160);
        Self { clock: Clock::system(), zone: TimeZone::system(), width, kept: None }
    }

    /// One that keeps what is printed, data and remarks in the order in which they came, without colours. Its zone is UTC.
    pub fn keeping(clock: Clock) -> Self {
        Self { clock, zone: TimeZone::UTC, width: COLUMNS, kept: Some(Arc::default()) }
    }

    /// What was printed since the last time; nothing when this one keeps nothing.
    pub fn take(&self) -> String {
        let kept = self.kept.as_ref().map(|kept| kept.lock());
        kept.map(|kept| std::mem::take(&mut *kept.unwrap_or_else(PoisonError::into_inner)))
            .unwrap_or_default()
    }

    /// Prints data.
    fn data(&self, text: &str) {
        // Who closed the pipe has read enough.
        let _closed = match &self.kept {
            Some(kept) => return keep(kept, text),
            None => anstream::stdout().write_all(text.as_bytes()),
        };
    }

    /// Shows what is wrong with a command line, or the help that it asks for.
    pub(super) fn show(&self, error: &clap::Error) {
        let _closed = match &self.kept {
            Some(kept) => return keep(kept, &error.to_string()),
            None => error.print(),
        };
    }

    /// Prints a remark.
    fn remark(&self, text: &str) {
        let _closed = match &self.kept {
            Some(kept) => return keep(kept, text),
            None => anstream::stderr().write_all(text.as_bytes()),
        };
    }
}

fn keep(kept: &Mutex<String>, text: &str) {
    let plain = anstream::adapter::strip_str(text).to_string();
    kept.lock().unwrap_or_else(PoisonError::into_inner).push_str(&plain);
}

/// Prints in a form and a language.
#[derive(Clone, Debug)]
pub(super) struct Printer {
    /// The form.
    pub(super) format: Format,
    /// The language.
    pub(super) lang: Lang,
    /// Columns of the terminal; 100 elsewhere.
    pub(super) width: usize,
    terminal: Terminal,
}

impl Printer {
    /// For a terminal.
    pub(super) fn new(format: Format, lang: Lang, terminal: &Terminal) -> Self {
        Self { format, lang, width: terminal.width, terminal: terminal.clone() }
    }

    /// The same on so many columns.
    pub(super) fn with_width(&self, width: usize) -> Self {
        Self { width, ..self.clone() }
    }

    /// What time it is.
    pub(super) fn now(&self) -> Timestamp {
        self.terminal.clock.now()
    }

    /// An instant on the clocks of whoever reads this.
    pub(super) fn local(&self, at: Timestamp) -> Zoned {
        at.to_zoned(self.terminal.zone.clone())
    }

    /// A text in the language of this printer.
    pub(super) fn say<'a>(&self, en: &'a str, zh: &'a str) -> &'a str {
        match self.lang {
            Lang::En => en,
            Lang::Zh => zh,
        }
    }

    /// A line of data.
    pub(super) fn line(&self, text: impl Display) {
        self.terminal.data(&format!("{text}\n"));
    }

    /// Data as it is.
    pub(super) fn text(&self, text: &str) {
        self.terminal.data(text);
        if !text.ends_with('\n') {
            self.terminal.data("\n");
        }
    }

    /// Lines below titles; nothing of a title without lines.
    pub(super) fn sections(&self, sections: &[(&str, Vec<String>)]) {
        for (title, lines) in sections.iter().filter(|(_, lines)| !lines.is_empty()) {
            self.line("");
            self.line(title.bold());
            for line in lines {
                self.line(format!("  {line}").trim_end());
            }
        }
    }

    /// A remark, which is no data.
    pub(super) fn remark(&self, text: impl Display) {
        self.terminal.remark(&format!("{text}\n"));
    }

    /// Data for programs, in one of the documented forms.
    pub(super) fn json(&self, output: &impl Output) {
        self.line(pretty(&output::value(output)));
    }

    /// JSON that has a form of its own, such as a JSON Schema.
    pub(super) fn foreign_json(&self, value: &impl Serialize) {
        self.line(pretty(value));
    }

    /// Problems for programs, beside the data.
    pub(super) fn json_remark(&self, output: &impl Output) {
        self.remark(pretty(&output::value(output)));
    }

    /// Whether programs read it.
    pub(super) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// How plans and change sets look.
    pub(super) fn style(&self) -> Style {
        Style { lang: self.lang, has_colour: true, width: self.width, is_full: false }
    }
}

/// Types of ours always serialise.
fn pretty(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// Columns that a text takes: Chinese characters take two.
pub(super) fn columns(text: &str) -> usize {
    unicode_width::UnicodeWidthStr::width(text)
}

/// A text filled with spaces to a number of columns.
pub(super) fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(columns(text))))
}

/// Lines behind a label, which is before the first of them.
pub(super) fn labelled(
    label: &str,
    lines: impl IntoIterator<Item = String>,
) -> impl Iterator<Item = String> {
    let labels = std::iter::once(label).chain(std::iter::repeat(""));
    labels.zip(lines).map(|(label, line)| format!("{}{line}", padded(label, GUTTER).bold()))
}

/// A table: columns as wide as their widest cell, two spaces between, nothing after the last. A column that is empty in all
/// rows takes no room.
pub(super) fn table(rows: &[Vec<String>]) -> Vec<String> {
    let count = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| columns(cell)).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).filter(|(_, width)| **width > 0);
        let cells: Vec<String> = cells.map(|(cell, width)| padded(cell, *width)).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// Breaks a text at spaces (and anywhere between Chinese characters) into lines of at most this many columns.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_inclusive(' ') {
        let fits = |line: &String| columns(line) + columns(word.trim_end()) <= width;
        if !lines.last().is_some_and(fits) && lines.last().is_some_and(|line| !line.is_empty()) {
            lines.push(String::new());
        }
        let mut rest = word.to_owned();
        while columns(&rest) > width && rest.chars().any(|it| it > '\u{2e80}') {
            let mut taken = 0;
            let cut = rest
                .char_indices()
                .find(|(_, it)| {
                    taken += columns(&it.to_string());
                    taken > width
                })
                .map_or(rest.len(), |(index, _)| index);
            let tail = rest.split_off(cut);
            if let Some(line) = lines.last_mut() {
                line.push_str(&rest);
            }
            lines.push(String::new());
            rest = tail;
        }
        if let Some(line) = lines.last_mut() {
            line.push_str(&rest);
        }
    }
    lines.into_iter().map(|line| line.trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_never_exceed_the_width() {
        let text = "one two three four five six seven 计划等待审批人签名后才能执行并记录 eight";
        let lines = wrapped(text, 12);
        assert!(lines.iter().all(|line| columns(line) <= 12), "{lines:?}");
        let joined: String = lines.concat().chars().filter(|it| *it != ' ').collect();
        assert_eq!(joined, text.replace(' ', ""));
    }

    #[test]
    fn chinese_cells_are_two_columns_wide() {
        let row = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        assert_eq!(table(&[row("状态", "x"), row("a", "y")]), ["状态  x", "a     y"]);
    }
}
