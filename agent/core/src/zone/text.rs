//! The text of a record's value: fields, quoted strings and escapes (RFC 1035 section 5.1).

use std::fmt;

use super::{
    name::{Name, unescape},
    rdata::{Error, Rdata},
};

/// The fields of a value, taken one after another.
pub(super) struct Tokens<'a> {
    fields: std::vec::IntoIter<Field>,
    origin: &'a Name,
}

struct Field {
    /// As written, without quotes: for names and numbers.
    raw: String,
    /// With escapes resolved: for strings.
    octets: Vec<u8>,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(value: &str, origin: &'a Name) -> Result<Self, Error> {
        Ok(Self { fields: fields(value)?.into_iter(), origin })
    }

    fn next(&mut self, names: &'static str) -> Result<Field, Error> {
        self.fields.next().ok_or(Error::Fields(names))
    }

    pub(super) fn string(&mut self, names: &'static str) -> Result<Vec<u8>, Error> {
        Ok(self.next(names)?.octets)
    }

    pub(super) fn number<N: std::str::FromStr>(&mut self, names: &'static str) -> Result<N, Error> {
        let raw = self.next(names)?.raw;
        let is_plain = !raw.is_empty() && raw.bytes().all(|octet| octet.is_ascii_digit());
        raw.parse().ok().filter(|_| is_plain).ok_or(Error::Number(raw))
    }

    pub(super) fn address<A: std::str::FromStr>(
        &mut self,
        names: &'static str,
    ) -> Result<A, Error> {
        let raw = self.next(names)?.raw;
        raw.parse().map_err(|_| Error::Address(raw))
    }

    pub(super) fn name(&mut self, names: &'static str) -> Result<Name, Error> {
        let raw = self.next(names)?.raw;
        Name::parse(&raw, self.origin).map_err(|source| Error::Name { name: raw, source })
    }

    /// Numbers of the given widths in octets, then hexadecimal digits to the end.
    pub(super) fn digest(&mut self, widths: &[usize], names: &'static str) -> Result<Rdata, Error> {
        let mut fields = Vec::new();
        let mut numbers = Vec::new();
        for width in widths {
            let number: u16 = self.number(names)?;
            match u8::try_from(number) {
                _ if *width == 2 => fields.extend(number.to_be_bytes()),
                Ok(octet) => fields.push(octet),
                Err(_) => return Err(Error::Number(number.to_string())),
            }
            numbers.push(number);
        }
        let octets = self.hexadecimal()?;
        if octets.is_empty() {
            return Err(Error::Fields(names));
        }
        Ok(Rdata::Digest { fields, numbers, octets })
    }

    /// `\# length digits` (RFC 3597 section 5).
    pub(super) fn generic(&mut self) -> Result<Rdata, Error> {
        const FIELDS: &str = "\\# length hexadecimal digits";
        if self.next(FIELDS)?.raw != "\\#" {
            return Err(Error::Fields(FIELDS));
        }
        let length: u16 = self.number(FIELDS)?;
        let octets = self.hexadecimal()?;
        if octets.len() != usize::from(length) {
            return Err(Error::Hexadecimal);
        }
        Ok(Rdata::Opaque(octets))
    }

    fn hexadecimal(&mut self) -> Result<Vec<u8>, Error> {
        let digits: String = self.fields.by_ref().map(|field| field.raw).collect();
        let nibbles: Option<Vec<u32>> = digits.chars().map(|digit| digit.to_digit(16)).collect();
        let nibbles = nibbles.filter(|nibbles| nibbles.len() % 2 == 0).ok_or(Error::Hexadecimal)?;
        Ok(nibbles
            .chunks_exact(2)
            .filter_map(|pair| match pair {
                [high, low] => u8::try_from(high * 16 + low).ok(),
                _ => None,
            })
            .collect())
    }

    pub(super) fn finish(mut self) -> Result<(), Error> {
        if self.fields.next().is_some() { Err(Error::Fields("nothing more")) } else { Ok(()) }
    }
}

/// Splits a value at white space outside quotes.
fn fields(value: &str) -> Result<Vec<Field>, Error> {
    let mut fields = Vec::new();
    let mut rest = value.trim();
    while !rest.is_empty() {
        let (field, after) = if let Some(quoted) = rest.strip_prefix('"') {
            let end = closing_quote(quoted).ok_or(Error::Quotes)?;
            let (inside, after) = quoted.split_at(end);
            (inside, after.get(1..).unwrap_or_default())
        } else {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            rest.split_at(end)
        };
        if !after.is_empty() && !after.starts_with(char::is_whitespace) {
            return Err(Error::Quotes);
        }
        fields.push(Field { raw: field.to_owned(), octets: unescaped(field)? });
        rest = after.trim_start();
    }
    Ok(fields)
}

/// Where the quote is that ends a string; one after a backslash does not.
fn closing_quote(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|octet| {
        let is_end = octet == b'"' && !is_escaped;
        is_escaped = octet == b'\\' && !is_escaped;
        is_end
    })
}

fn unescaped(text: &str) -> Result<Vec<u8>, Error> {
    // `\#` opens the generic form and is no escape.
    if text == "\\#" {
        return Ok(text.as_bytes().to_vec());
    }
    let mut octets = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(octet) = octets.next() {
        out.push(if octet == b'\\' { unescape(&mut octets).ok_or(Error::Quotes)? } else { octet });
    }
    Ok(out)
}

/// The strings of a text record: quoted ones as they are, or the whole value cut at 255 octets.
pub(super) fn strings(value: &str) -> Result<Vec<Vec<u8>>, Error> {
    if value.trim_start().starts_with('"') {
        return Ok(fields(value)?.into_iter().map(|field| field.octets).collect());
    }
    if value.is_empty() {
        return Ok(vec![Vec::new()]);
    }
    Ok(value.as_bytes().chunks(255).map(<[u8]>::to_vec).collect())
}

/// Shows strings in quotes, separated by a space.
pub(super) struct CharacterStrings<'a>(pub(super) &'a [Vec<u8>]);

impl fmt::Display for CharacterStrings<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        for (index, string) in self.0.iter().enumerate() {
            formatter.write_str(if index == 0 { "\"" } else { " \"" })?;
            for octet in string {
                match octet {
                    b'"' | b'\\' => write!(formatter, "\\{}", char::from(*octet))?,
                    b' '..=b'~' => formatter.write_char(char::from(*octet))?,
                    _ => write!(formatter, "\\{octet:03}")?,
                }
            }
            formatter.write_char('"')?;
        }
        Ok(())
    }
}
