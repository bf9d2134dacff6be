//! From the events of the YAML parser to values with positions, and the findings of YAML itself.

use std::{borrow::Cow, collections::BTreeMap};

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};
use serde_json::{Map, Value};

use crate::{
    finding::{Finding, Place},
    position::{Positions, push_index, push_key},
};

/// How deep mappings and lists may be nested. Kubernetes' deepest schemas stay below 40.
const MAX_DEPTH: usize = 100;
/// How many values aliases may add to the documents of a file.
const MAX_EXPANSION: usize = 100_000;

/// How plain scalars are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Own documents: YAML 1.2; what YAML 1.1 reads otherwise is an error.
    Document,
    /// Kubernetes objects: as kubectl reads them (YAML 1.1 booleans and octal numbers).
    Kubernetes,
}

/// One document of a file.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) value: Value,
    pub(super) positions: Positions,
    /// The paths of scalars that were refused as ambiguous: other findings there would only repeat it.
    pub(super) traps: Vec<String>,
    /// No error was found in its YAML.
    pub(super) is_sound: bool,
}

/// Reads all documents; those that are empty are left out.
pub(super) fn load(file: &str, text: &str, dialect: Dialect) -> (Vec<Loaded>, Vec<Finding>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut findings = control_characters(file, text);
    let is_sound_text = findings.is_empty();
    let mut loader = Loader {
        parser: Parser::new_from_str(text),
        file,
        dialect,
        positions: Positions::default(),
        traps: Vec::new(),
        findings: Vec::new(),
        anchors: BTreeMap::new(),
        expanded: 0,
    };
    let mut documents = Vec::new();
    while let Ok(Some(mut loaded)) = loader.document() {
        loaded.is_sound &= is_sound_text;
        if !loaded.value.is_null() {
            documents.push(loaded);
        }
    }
    if let Some(Finding { code, place: Some(place), .. }) = loader.findings.last_mut()
        && code == "YAML/SYNTAX"
        && has_tab_indent(text, place.line)
    {
        *code = Cow::Borrowed("YAML/TAB");
    }
    findings.append(&mut loader.findings);
    (documents, findings)
}

/// Reading cannot go on; the finding is recorded.
struct Stop;

struct Loader<'text> {
    parser: Parser<'text, StrInput<'text>>,
    file: &'text str,
    dialect: Dialect,
    positions: Positions,
    traps: Vec<String>,
    findings: Vec<Finding>,
    /// The values of anchors, with how many values each holds.
    anchors: BTreeMap<usize, (Value, usize)>,
    expanded: usize,
}

type Next<'text> = (Event<'text>, Span);

fn line_column(span: &Span) -> (u32, u32) {
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    (number(span.start.line()), number(span.start.col()).saturating_add(1))
}

impl<'text> Loader<'text> {
    fn next(&mut self) -> Result<Option<Next<'text>>, Stop> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok(next)) => Ok(Some(next)),
            Some(Err(error)) => {
                let marker = error.marker();
                let at = line_column(&Span::empty(*marker));
                let finding = Finding::error("YAML/SYNTAX").with("detail", error.info());
                self.findings.push(finding.at(self.place(at, "")));
                Err(Stop)
            }
        }
    }

    fn place(&self, (line, column): (u32, u32), path: &str) -> Place {
        Place::new(self.file, line, column, path)
    }

    fn report(&mut self, code: &'static str, at: (u32, u32), path: &str) {
        let place = self.place(at, path);
        self.findings.push(Finding::error(code).at(place));
    }

    /// The next document, or `None` at the end.
    fn document(&mut self) -> Result<Option<Loaded>, Stop> {
        let errors_before = self.findings.iter().filter(|finding| finding.is_error()).count();
        let value = loop {
            let Some((event, span)) = self.next()? else { return Ok(None) };
            match event {
                Event::StreamEnd => return Ok(None),
                Event::Nothing
                | Event::StreamStart
                | Event::DocumentStart(_)
                | Event::DocumentEnd => {}
                event @ (Event::Alias(_)
                | Event::Scalar(..)
                | Event::SequenceStart(..)
                | Event::SequenceEnd
                | Event::MappingStart(..)
                | Event::MappingEnd) => {
                    let at = line_column(&span);
                    self.positions.push("", at, at);
                    break self.value(event, at, &mut String::new(), 0)?.0;
                }
            }
        };
        let errors = self.findings.iter().filter(|finding| finding.is_error()).count();
        self.anchors.clear();
        let mut positions = std::mem::take(&mut self.positions);
        positions.finish();
        let traps = std::mem::take(&mut self.traps);
        Ok(Some(Loaded { value, positions, traps, is_sound: errors == errors_before }))
    }

    /// The value that starts with an event, and how many values it holds.
    fn value(
        &mut self,
        event: Event<'text>,
        at: (u32, u32),
        path: &mut String,
        depth: usize,
    ) -> Result<(Value, usize), Stop> {
        if depth > MAX_DEPTH {
            self.report("YAML/TOO_DEEP", at, "");
            return Err(Stop);
        }
        let (value, count, anchor) = match event {
            Event::Alias(anchor) => {
                let Some((value, count)) = self.anchors.get(&anchor).cloned() else {
                    self.report("YAML/RECURSIVE_ALIAS", at, path);
                    return Err(Stop);
                };
                self.expanded += count;
                if self.expanded > MAX_EXPANSION {
                    self.report("YAML/TOO_LARGE", at, path);
                    return Err(Stop);
                }
                return Ok((value, count));
            }
            Event::Scalar(text, style, anchor, tag) => {
                (self.scalar(&text, style, tag.as_deref(), at, path), 1, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.collection_tag(tag.as_deref(), "seq", at, path);
                let (items, count) = self.sequence(path, depth)?;
                (Value::Array(items), count, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                self.collection_tag(tag.as_deref(), "map", at, path);
                let (map, count) = self.mapping(path, depth)?;
                (Value::Object(map), count, anchor)
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => (Value::Null, 1, 0),
        };
        if anchor > 0 {
            self.anchors.insert(anchor, (value.clone(), count));
        }
        Ok((value, count))
    }

    fn sequence(&mut self, path: &mut String, depth: usize) -> Result<(Vec<Value>, usize), Stop> {
        let mut items = Vec::new();
        let mut count = 1;
        while let Some((event, span)) = self.next()? {
            if matches!(event, Event::SequenceEnd) {
                break;
            }
            let at = line_column(&span);
            let length = path.len();
            push_index(path, items.len());
            self.positions.push(path, at, at);
            let (value, size) = self.value(event, at, path, depth + 1)?;
            items.push(value);
            count += size;
            path.truncate(length);
        }
        Ok((items, count))
    }

    fn mapping(
        &mut self,
        path: &mut String,
        depth: usize,
    ) -> Result<(Map<String, Value>, usize), Stop> {
        let mut map = Map::new();
        let mut merged: Vec<Value> = Vec::new();
        let mut count = 1;
        while let Some((event, span)) = self.next()? {
            let key_at = line_column(&span);
            let key = match event {
                Event::MappingEnd => break,
                Event::Scalar(text, style, _, _) => {
                    if style == ScalarStyle::Plain && text == "<<" {
                        let Some((event, span)) = self.next()? else { break };
                        let (value, size) =
                            self.value(event, line_column(&span), path, depth + 1)?;
                        merged.push(value);
                        count += size;
                        continue;
                    }
                    self.check_key(&text, style, key_at, path);
                    text.into_owned()
                }
                event @ (Event::Nothing
                | Event::StreamStart
                | Event::StreamEnd
                | Event::DocumentStart(_)
                | Event::DocumentEnd
                | Event::Alias(_)
                | Event::SequenceStart(..)
                | Event::SequenceEnd
                | Event::MappingStart(..)) => {
                    self.report("YAML/COMPLEX_KEY", key_at, path);
                    self.traps.push(path.clone());
                    // Read both, so that what follows is judged too.
                    self.value(event, key_at, path, depth + 1)?;
                    let Some((event, span)) = self.next()? else { break };
                    self.value(event, line_column(&span), path, depth + 1)?;
                    continue;
                }
            };
            let length = path.len();
            push_key(path, &key);
            let Some((event, span)) = self.next()? else { break };
            let value_at =
                if matches!(event, Event::Scalar(..)) { line_column(&span) } else { key_at };
            if map.contains_key(&key) {
                let place = self.place(key_at, path);
                let finding = Finding::error("YAML/DUPLICATE_KEY").with("key", &key);
                self.findings.push(finding.at(place));
            } else {
                self.positions.push(path, key_at, value_at);
            }
            let (value, size) = self.value(event, value_at, path, depth + 1)?;
            map.entry(key).or_insert(value);
            count += size;
            path.truncate(length);
        }
        for value in merged {
            merge(&mut map, value);
        }
        Ok((map, count))
    }

    fn collection_tag(&mut self, tag: Option<&Tag>, name: &str, at: (u32, u32), path: &str) {
        if let Some(tag) = tag
            && !(tag.is_yaml_core_schema() && tag.suffix == name)
        {
            self.unknown_tag(tag, at, path);
        }
    }

    fn unknown_tag(&mut self, tag: &Tag, at: (u32, u32), path: &str) {
        let place = self.place(at, path);
        let finding = Finding::error("YAML/UNKNOWN_TAG").with("tag", tag);
        self.findings.push(finding.at(place));
    }

    fn check_key(&mut self, text: &str, style: ScalarStyle, at: (u32, u32), path: &str) {
        if style == ScalarStyle::Plain && is_boolean_word(text) {
            self.ambiguous_word(text, at, path);
        }
    }

    fn ambiguous_word(&mut self, word: &str, at: (u32, u32), path: &str) {
        let place = self.place(at, path);
        let finding = match self.dialect {
            Dialect::Document => {
                self.traps.push(path.to_owned());
                Finding::error("YAML/AMBIGUOUS_WORD")
            }
            Dialect::Kubernetes => Finding::warning("YAML/WORD_READ_AS_BOOLEAN"),
        };
        self.findings.push(finding.at(place).with("word", unless_secret(word, path)));
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
        at: (u32, u32),
        path: &str,
    ) -> Value {
        if let Some(tag) = tag {
            if tag.is_yaml_core_schema() && tag.suffix == "str" {
                return Value::from(text);
            }
            let is_scalar_tag = tag.is_yaml_core_schema()
                && matches!(tag.suffix.as_str(), "int" | "float" | "bool" | "null");
            if !is_scalar_tag {
                self.unknown_tag(tag, at, path);
                return Value::from(text);
            }
        } else if style != ScalarStyle::Plain {
            return Value::from(text);
        }
        if is_boolean_word(text) {
            self.ambiguous_word(text, at, path);
            if self.dialect == Dialect::Kubernetes {
                let is_yes = matches!(text.to_ascii_lowercase().as_str(), "yes" | "on");
                return Value::Bool(is_yes);
            }
            return Value::from(text);
        }
        if has_leading_zero(text) {
            if self.dialect == Dialect::Kubernetes {
                // A digit 8 or 9 makes it no octal number, and kubectl then reads a decimal one.
                let number = i64::from_str_radix(text, 8).or_else(|_| text.parse::<i64>());
                return number.map_or_else(|_| Value::from(text), Value::from);
            }
            self.traps.push(path.to_owned());
            let place = self.place(at, path);
            let finding =
                Finding::error("YAML/AMBIGUOUS_NUMBER").with("number", unless_secret(text, path));
            self.findings.push(finding.at(place));
            return Value::from(text);
        }
        let (value, is_exact) = resolve(text);
        if !is_exact {
            let place = self.place(at, path);
            let finding =
                Finding::error("YAML/NUMBER_TOO_LARGE").with("number", unless_secret(text, path));
            self.findings.push(finding.at(place));
        }
        value
    }
}

/// A scalar for a message. Values of parameters may be secret, and stay out of every text.
fn unless_secret<'a>(text: &'a str, path: &str) -> &'a str {
    if path.starts_with("spec.values") { "…" } else { text }
}

/// Adds what a merge key (`<<`) brings; what is written in the mapping itself wins.
fn merge(map: &mut Map<String, Value>, value: Value) {
    match value {
        Value::Object(other) => {
            for (key, value) in other {
                map.entry(key).or_insert(value);
            }
        }
        Value::Array(others) => others.into_iter().for_each(|other| merge(map, other)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A plain scalar by the core schema (YAML 1.2.2, 10.3.2), and whether its number is exact.
fn resolve(text: &str) -> (Value, bool) {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return (Value::Null, true),
        "true" | "True" | "TRUE" => return (Value::Bool(true), true),
        "false" | "False" | "FALSE" => return (Value::Bool(false), true),
        _ => {}
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return (Value::from(text), true);
    }
    let radix = |prefix: &str, radix: u32| {
        let digits = text.strip_prefix(prefix)?;
        u64::from_str_radix(digits, radix).ok().map(Value::from)
    };
    if let Some(value) = radix("0x", 16).or_else(|| radix("0o", 8)) {
        return (value, true);
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !unsigned.is_empty() && unsigned.bytes().all(|b| b.is_ascii_digit()) {
        return match text.parse::<i64>() {
            Ok(number) => (Value::from(number), true),
            Err(_) => match unsigned.parse::<u64>() {
                Ok(number) if !text.starts_with('-') => (Value::from(number), true),
                _ => (Value::from(text), false),
            },
        };
    }
    let is_float = unsigned.bytes().any(|b| b.is_ascii_digit())
        && unsigned
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    if is_float && let Ok(number) = text.parse::<f64>() {
        if let Some(number) = serde_json::Number::from_f64(number) {
            return (Value::Number(number), true);
        }
        return (Value::from(text), false);
    }
    (Value::from(text), true)
}

/// What YAML 1.1 reads as a boolean and YAML 1.2 as text.
fn is_boolean_word(text: &str) -> bool {
    matches!(
        text,
        "yes" | "Yes" | "YES" | "no" | "No" | "NO" | "on" | "On" | "ON" | "off" | "Off" | "OFF"
    )
}

/// What YAML 1.1 reads as an octal number and YAML 1.2 as a decimal one.
fn has_leading_zero(text: &str) -> bool {
    text.len() > 1 && text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit())
}

/// Whether a plain text is read as this text by YAML 1.1 and by YAML 1.2.
pub(super) fn is_unmistakable(text: &str) -> bool {
    let is_number = || {
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
            && digits.chars().all(|c| c.is_ascii_hexdigit() || "_.:+-xoXO".contains(c))
            && !digits.contains("..")
            && digits.matches('.').count() <= 1
    };
    resolve(text) == (Value::from(text), true)
        && !is_boolean_word(text)
        && !matches!(text, "y" | "Y" | "n" | "N")
        && !is_number()
}

/// Bidirectional controls (Unicode TR 36, "Trojan Source").
fn is_bidirectional(character: char) -> bool {
    matches!(character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What no file may hold: bidirectional controls, and control characters that YAML forbids.
pub(super) fn is_refused(character: char) -> bool {
    let is_control = character.is_control() && !matches!(character, '\t' | '\n' | '\r' | '\u{85}');
    is_control || is_bidirectional(character)
}

fn control_characters(file: &str, text: &str) -> Vec<Finding> {
    if !text.contains(is_refused) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (line, content) in text.split('\n').enumerate() {
        for (column, character) in content.chars().enumerate().filter(|(_, c)| is_refused(*c)) {
            let code = if is_bidirectional(character) {
                "YAML/BIDIRECTIONAL_CONTROL"
            } else {
                "YAML/CONTROL_CHARACTER"
            };
            let number = |value: usize| u32::try_from(value + 1).unwrap_or(u32::MAX);
            findings.push(
                Finding::error(code)
                    .at(Place::new(file, number(line), number(column), ""))
                    .with("character", format!("U+{:04X}", u32::from(character))),
            );
        }
    }
    findings
}

/// Whether a line, or the one before it, is indented with a tab.
fn has_tab_indent(text: &str, line: u32) -> bool {
    let line = usize::try_from(line).unwrap_or(usize::MAX);
    text.lines()
        .skip(line.saturating_sub(2))
        .take(2)
        .any(|line| line.trim_start_matches(' ').starts_with('\t'))
}
