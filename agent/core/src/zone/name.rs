//! Domain names in canonical form: labels of octets, lower case, absolute (RFC 1035 section 2.3, RFC 4343).

use std::{cmp::Ordering, fmt};

/// The longest label, in octets (RFC 1035 section 2.3.4).
pub const MAX_LABEL: usize = 63;
/// The longest name on the wire, in octets, with the root's (RFC 1035 section 2.3.4).
pub const MAX_NAME: usize = 255;

/// An absolute domain name. Equal names are equal values; they order as RFC 4034 section 6.1 says.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name {
    /// From left to right, lower case, without the root's empty label.
    labels: Vec<Vec<u8>>,
}

/// Why a text is no domain name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Two dots in a row, or a dot at the start, or no text.
    #[error("a label is empty")]
    EmptyLabel,
    /// A label has more than 63 octets.
    #[error("a label has more than 63 octets")]
    LabelTooLong,
    /// The name has more than 255 octets on the wire.
    #[error("the name has more than 255 octets")]
    NameTooLong,
    /// A character outside ASCII: internationalised names are written as A-labels (`xn--…`, RFC 5890).
    #[error("the name has characters outside ASCII")]
    NotAscii,
    /// White space or a control character that is not escaped, or a wrong `\` escape.
    #[error("the name has a wrong escape or white space")]
    BadCharacter,
}

impl Name {
    /// The root.
    pub const ROOT: Self = Self { labels: Vec::new() };

    /// Reads a name in presentation form (RFC 1035 section 5.1): `@` is the origin, a name without a trailing dot
    /// is relative to it, `\.` and `\DDD` are escapes.
    pub fn parse(text: &str, origin: &Self) -> Result<Self, Error> {
        if text == "@" {
            return Ok(origin.clone());
        }
        if text == "." {
            return Ok(Self::ROOT);
        }
        let (mut labels, is_absolute) = split(text)?;
        if !is_absolute {
            labels.extend(origin.labels.iter().cloned());
        }
        Self::from_labels(labels)
    }

    /// Reads a name that is absolute, with or without its trailing dot.
    pub fn absolute(text: &str) -> Result<Self, Error> {
        Self::parse(text, &Self::ROOT)
    }

    /// Puts a name together from labels, left to right.
    pub fn from_labels(labels: Vec<Vec<u8>>) -> Result<Self, Error> {
        let mut labels = labels;
        for label in &mut labels {
            match label.len() {
                0 => return Err(Error::EmptyLabel),
                1..=MAX_LABEL => label.make_ascii_lowercase(),
                _ => return Err(Error::LabelTooLong),
            }
        }
        let name = Self { labels };
        if name.wire_length() > MAX_NAME { Err(Error::NameTooLong) } else { Ok(name) }
    }

    /// The labels from left to right, without the root's.
    pub fn labels(&self) -> &[Vec<u8>] {
        &self.labels
    }

    /// Octets on the wire, uncompressed.
    pub fn wire_length(&self) -> usize {
        self.labels.iter().map(|label| label.len() + 1).sum::<usize>() + 1
    }

    /// The name on the wire, uncompressed.
    pub fn write_wire(&self, out: &mut Vec<u8>) {
        for label in &self.labels {
            out.push(u8::try_from(label.len()).unwrap_or(0));
            out.extend_from_slice(label);
        }
        out.push(0);
    }

    /// The name without its leftmost label; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        let (_, rest) = self.labels.split_first()?;
        Some(Self { labels: rest.to_vec() })
    }

    /// Whether the name is the other one or below it.
    pub fn is_within(&self, other: &Self) -> bool {
        self.labels.ends_with(&other.labels)
    }

    /// Whether the name is below the other one.
    pub fn is_below(&self, other: &Self) -> bool {
        self.labels.len() > other.labels.len() && self.is_within(other)
    }

    /// Whether the leftmost label is `*` (RFC 4592 section 2.1.1).
    pub fn is_wildcard(&self) -> bool {
        self.labels.first().is_some_and(|label| label == b"*")
    }

    /// `*.` before the name; `None` when that would be too long.
    pub fn wildcard_below(&self) -> Option<Self> {
        let mut labels = vec![b"*".to_vec()];
        labels.extend(self.labels.iter().cloned());
        Self::from_labels(labels).ok()
    }

    /// The names above this one, nearest first, down to and with `top`; empty when it is not below `top`.
    pub fn ancestors_until<'a>(&'a self, top: &'a Self) -> impl Iterator<Item = Self> + 'a {
        let levels = if self.is_below(top) { self.labels.len() - top.labels.len() } else { 0 };
        (1..=levels).map(|skip| Self { labels: self.labels.iter().skip(skip).cloned().collect() })
    }
}

/// Splits a name at its dots; the flag says whether it ended in one.
fn split(text: &str) -> Result<(Vec<Vec<u8>>, bool), Error> {
    if !text.is_ascii() {
        return Err(Error::NotAscii);
    }
    let mut labels = Vec::new();
    let mut label = Vec::new();
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        match octet {
            b'.' if label.is_empty() => return Err(Error::EmptyLabel),
            b'.' => labels.push(std::mem::take(&mut label)),
            b'\\' => label.push(unescape(&mut octets).ok_or(Error::BadCharacter)?),
            b'!'..=b'~' => label.push(octet),
            _ => return Err(Error::BadCharacter),
        }
    }
    if label.is_empty() {
        return if labels.is_empty() { Err(Error::EmptyLabel) } else { Ok((labels, true)) };
    }
    labels.push(label);
    Ok((labels, false))
}

/// What follows a backslash: three decimal digits are an octet, anything else stands for itself.
pub(super) fn unescape(octets: &mut impl Iterator<Item = u8>) -> Option<u8> {
    let first = octets.next()?;
    if !first.is_ascii_digit() {
        return Some(first);
    }
    let (second, third) = (octets.next()?, octets.next()?);
    if !second.is_ascii_digit() || !third.is_ascii_digit() {
        return None;
    }
    let digit = |octet: u8| u32::from(octet - b'0');
    u8::try_from(digit(first) * 100 + digit(second) * 10 + digit(third)).ok()
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        if self.labels.is_empty() {
            return formatter.write_str(".");
        }
        for label in &self.labels {
            for octet in label {
                match octet {
                    b'.' | b'\\' | b'"' | b'(' | b')' | b';' | b'@' | b'$' => {
                        write!(formatter, "\\{}", char::from(*octet))?;
                    }
                    b'!'..=b'~' => formatter.write_char(char::from(*octet))?,
                    _ => write!(formatter, "\\{octet:03}")?,
                }
            }
            formatter.write_char('.')?;
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Name({self})")
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        self.labels.iter().rev().cmp(other.labels.iter().rev())
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::absolute(text).unwrap()
    }

    #[test]
    fn relative_names_take_the_origin() {
        let origin = name("Example.test.");
        assert_eq!(Name::parse("WWW", &origin).unwrap().to_string(), "www.example.test.");
        assert_eq!(Name::parse("www.other.", &origin).unwrap().to_string(), "www.other.");
        assert_eq!(Name::parse("@", &origin).unwrap(), origin);
        assert_eq!(Name::parse(".", &origin).unwrap().to_string(), ".");
    }

    #[test]
    fn escapes_survive_a_round_trip() {
        for text in ["a\\.b.c.", "k1_2._domainkey.x.", "a\\032b.", "\\255\\000."] {
            assert_eq!(name(text).to_string(), text);
        }
        assert_eq!(name("a\\.b.c.").labels().len(), 2);
    }

    #[test]
    fn wrong_names_are_refused() {
        let label = "a".repeat(64);
        let long = format!("{0}.{0}.{0}.{0}.", "a".repeat(63));
        for (text, error) in [
            ("", Error::EmptyLabel),
            ("a..b", Error::EmptyLabel),
            (".a", Error::EmptyLabel),
            (label.as_str(), Error::LabelTooLong),
            (long.as_str(), Error::NameTooLong),
            ("müller.", Error::NotAscii),
            ("a b.", Error::BadCharacter),
            ("a\\25", Error::BadCharacter),
            ("a\\256", Error::BadCharacter),
        ] {
            assert_eq!(Name::absolute(text), Err(error), "{text}");
        }
    }

    #[test]
    fn names_know_what_is_above_them() {
        let zone = name("example.test.");
        let above: Vec<_> = name("a.b.example.test.").ancestors_until(&zone).collect();
        assert_eq!(above, [name("b.example.test."), zone.clone()]);
        assert!(name("notexample.test.").ancestors_until(&zone).next().is_none());
        assert!(!name("notexample.test.").is_within(&zone));
        assert!(zone.is_within(&zone) && !zone.is_below(&zone));
    }

    #[test]
    fn names_order_as_rfc_4034_says() {
        let sorted = [
            "example.",
            "a.example.",
            "yljkjljk.a.example.",
            "z.a.example.",
            "zabc.a.example.",
            "z.example.",
        ];
        let mut names: Vec<_> = sorted.iter().rev().map(|text| name(text)).collect();
        names.sort();
        assert_eq!(names.iter().map(ToString::to_string).collect::<Vec<_>>(), sorted);
    }
}
