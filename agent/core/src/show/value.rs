//! Values as lines of text that can do no harm.

use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use super::Style;
use super::label::pick;
use crate::change::{FieldChange, Shown};

/// Lines of a text that stay around a change.
const CONTEXT: usize = 2;

/// How a masked value begins, in each language.
const MASKS: [&str; 2] = ["(secret", "(密文"];

/// How a line of a field stands to the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Before,
    After,
    Both,
}

/// The lines of one changed field, without its path.
pub(super) fn lines(field: &FieldChange, style: Style) -> Vec<(Side, String)> {
    if let (Some(Shown::Value(Value::String(before))), Some(Shown::Value(Value::String(after)))) =
        (&field.before, &field.after)
        && (before.contains('\n') || after.contains('\n'))
    {
        return text_lines(before, after);
    }
    let side = |side: Side, shown: &Option<Shown>| {
        let texts = shown.as_ref().map(|shown| shown_lines(shown, style)).unwrap_or_default();
        texts.into_iter().map(move |text| (side, text))
    };
    side(Side::Before, &field.before).chain(side(Side::After, &field.after)).collect()
}

/// Long texts are compared line by line.
fn text_lines(before: &str, after: &str) -> Vec<(Side, String)> {
    let diff = TextDiff::from_lines(before, after);
    let mut lines = Vec::new();
    for (index, group) in diff.grouped_ops(CONTEXT).iter().enumerate() {
        if index > 0 {
            lines.push((Side::Both, "⋯".to_owned()));
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let side = match change.tag() {
                ChangeTag::Delete => Side::Before,
                ChangeTag::Insert => Side::After,
                ChangeTag::Equal => Side::Both,
            };
            lines.push((side, harmless(change.value().trim_end_matches('\n'))));
        }
    }
    lines
}

fn shown_lines(shown: &Shown, style: Style) -> Vec<String> {
    match shown {
        Shown::Secret(number) => {
            vec![format!("{} {number})", pick(style.lang, MASKS[0], MASKS[1]))]
        }
        Shown::Value(Value::String(text)) if text.is_empty() => vec!["\"\"".to_owned()],
        // Nobody can write a value that reads like a mask (D51).
        Shown::Value(Value::String(text)) if MASKS.iter().any(|mask| text.contains(mask)) => {
            vec![harmless(&Value::String(text.clone()).to_string())]
        }
        Shown::Value(Value::String(text)) => text.lines().map(harmless).collect(),
        Shown::Value(value) => vec![harmless(&value.to_string())],
    }
}

/// Control characters, those that turn the direction of text and those that are not seen at all are written out: a value
/// cannot steer a terminal, make a line read otherwise than it is, or differ from another without showing it (Unicode
/// TR 36; `Default_Ignorable_Code_Point` of Unicode, without variation selectors, which emoji have).
pub(super) fn harmless(text: &str) -> String {
    let is_harmful = |c: char| {
        (c.is_control() && c != '\t')
            || matches!(c,
                '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
                | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}'
                | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
    };
    if !text.contains(is_harmful) {
        return text.to_owned();
    }
    let mut result = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmful(c) {
            result.extend(c.escape_unicode());
        } else {
            result.push(c);
        }
    }
    result
}

/// Columns of a text on a terminal: Chinese characters take two.
pub(super) fn columns(text: &str) -> usize {
    let width = |c: char| match c {
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1faff}' => 2,
        _ => 1,
    };
    text.chars().map(width).sum()
}

/// A text filled up with blanks to a number of columns.
pub(super) fn padded(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(columns(text));
    format!("{text}{}", " ".repeat(missing))
}

/// A text cut to a number of columns, with `…` where it was.
pub(super) fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut result = String::new();
    let mut left = width.saturating_sub(1);
    for c in text.chars() {
        let own = columns(c.encode_utf8(&mut [0; 4]));
        if own > left {
            break;
        }
        left -= own;
        result.push(c);
    }
    result.push('…');
    result
}
