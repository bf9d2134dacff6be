//! The values of records: from presentation form to a type, to the wire and back to one canonical text.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::{
    name::{self, Name},
    text::{self, CharacterStrings, Tokens},
};

/// The types that have a presentation form here, with their codes (IANA registry). Everything else is written as
/// `TYPE65` with a value like `\# 3 abcdef` (RFC 3597).
pub const TYPES: &[(&str, u16)] = &[
    ("A", 1),
    ("NS", 2),
    ("CNAME", 5),
    ("PTR", 12),
    ("MX", 15),
    ("TXT", 16),
    ("AAAA", 28),
    ("SRV", 33),
    ("NAPTR", 35),
    ("DNAME", 39),
    ("DS", 43),
    ("SSHFP", 44),
    ("TLSA", 52),
    ("CAA", 257),
];

/// One value of a record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Rdata {
    /// An IPv4 address (RFC 1035).
    A(Ipv4Addr),
    /// An IPv6 address (RFC 3596).
    Aaaa(Ipv6Addr),
    /// An authoritative server (RFC 1035).
    Ns(Name),
    /// The canonical name of an alias (RFC 1035).
    Cname(Name),
    /// The canonical name of a whole subtree (RFC 6672).
    Dname(Name),
    /// A name for an address (RFC 1035).
    Ptr(Name),
    /// A mail exchanger (RFC 1035).
    Mx {
        /// Lower is tried first.
        preference: u16,
        /// The exchanger; the root alone means "no mail" (RFC 7505).
        exchange: Name,
    },
    /// A service's location (RFC 2782).
    Srv {
        /// Lower is tried first.
        priority: u16,
        /// Share among equal priorities.
        weight: u16,
        /// The port.
        port: u16,
        /// The host; the root alone means "not offered".
        target: Name,
    },
    /// Text, as strings of up to 255 octets (RFC 1035).
    Txt(Vec<Vec<u8>>),
    /// Who may issue certificates (RFC 8659).
    Caa {
        /// 128 is "critical".
        flags: u8,
        /// The property: `issue`, `issuewild`, `iodef`.
        tag: String,
        /// The property's value.
        value: Vec<u8>,
    },
    /// A rewriting rule (RFC 3403).
    Naptr {
        /// Order and preference.
        order: (u16, u16),
        /// Flags, services and regular expression.
        strings: [Vec<u8>; 3],
        /// The next name.
        replacement: Name,
    },
    /// Numbers and octets: DS, SSHFP, TLSA.
    Digest {
        /// The leading fields, as octets on the wire.
        fields: Vec<u8>,
        /// The leading fields as numbers.
        numbers: Vec<u16>,
        /// The digest, key or certificate.
        octets: Vec<u8>,
    },
    /// A type without a presentation form here (RFC 3597).
    Opaque(Vec<u8>),
}

/// Why a value is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The type is not known, cannot stand in a zone, or is made by us (SOA).
    #[error("the type is not one that a zone's record can have")]
    Type,
    /// A field is missing or one too many is there.
    #[error("the value needs these fields: {0}")]
    Fields(&'static str),
    /// A number is out of its range.
    #[error("{0} is not a number in the range of its field")]
    Number(String),
    /// Not an address of the type's family. Octets with leading zeros are refused, since some read them as octal.
    #[error("{0} is not an address of this type")]
    Address(String),
    /// A name in the value is wrong.
    #[error("{name}: {source}")]
    Name {
        /// The name as written.
        name: String,
        /// What is wrong with it.
        source: name::Error,
    },
    /// Not an even count of hexadecimal digits.
    #[error("the octets are not written in hexadecimal digits")]
    Hexadecimal,
    /// One character-string has more than 255 octets (RFC 1035 section 3.3).
    #[error("a string has {0} octets, and 255 are allowed")]
    StringTooLong(usize),
    /// Quotes or escapes are wrong.
    #[error("quotes or escapes are wrong")]
    Quotes,
    /// The value is longer than a record can be.
    #[error("the value has more than 65535 octets")]
    TooLong,
}

/// The code of a type: `MX`, `TYPE65`. `None` for what is unknown, what only queries have, what is signed data, and the
/// SOA, which we make ourselves.
pub fn type_code(rtype: &str) -> Option<u16> {
    if let Some((_, code)) = TYPES.iter().find(|(name, _)| *name == rtype) {
        return Some(*code);
    }
    let digits = rtype.strip_prefix("TYPE")?;
    let code: u16 = digits.parse().ok()?;
    let is_plain = code.to_string() == digits && !TYPES.iter().any(|(_, known)| *known == code);
    // SOA, OPT, RRSIG, NSEC, DNSKEY, NSEC3 and NSEC3PARAM, and 128 to 255, which are for queries and transfers.
    let is_data = !matches!(code, 0 | 6 | 41 | 46..=48 | 50 | 51 | 128..=255);
    (is_plain && is_data).then_some(code)
}

impl Rdata {
    /// Reads a value in presentation form; names are relative to the origin unless they end in a dot.
    ///
    /// A text value that does not begin with a quote is taken whole and as it is, and is cut into strings of 255 octets;
    /// so a document can hold a DKIM key in one piece.
    pub fn parse(rtype: &str, value: &str, origin: &Name) -> Result<Self, Error> {
        type_code(rtype).ok_or(Error::Type)?;
        if rtype == "TXT" {
            let strings = text::strings(value)?;
            return Self::Txt(strings).checked();
        }
        let mut tokens = Tokens::new(value, origin)?;
        let rdata = match rtype {
            "A" => Self::A(tokens.address("address")?),
            "AAAA" => Self::Aaaa(tokens.address("address")?),
            "NS" => Self::Ns(tokens.name("name")?),
            "CNAME" => Self::Cname(tokens.name("name")?),
            "DNAME" => Self::Dname(tokens.name("name")?),
            "PTR" => Self::Ptr(tokens.name("name")?),
            "MX" => {
                const FIELDS: &str = "preference exchange";
                Self::Mx { preference: tokens.number(FIELDS)?, exchange: tokens.name(FIELDS)? }
            }
            "SRV" => {
                const FIELDS: &str = "priority weight port target";
                Self::Srv {
                    priority: tokens.number(FIELDS)?,
                    weight: tokens.number(FIELDS)?,
                    port: tokens.number(FIELDS)?,
                    target: tokens.name(FIELDS)?,
                }
            }
            "CAA" => {
                const FIELDS: &str = "flags tag \"value\"";
                let flags = tokens.number(FIELDS)?;
                let tag = tokens.string(FIELDS)?;
                let tag = String::from_utf8(tag).map_err(|_| Error::Quotes)?.to_ascii_lowercase();
                Self::Caa { flags, tag, value: tokens.string(FIELDS)? }
            }
            "NAPTR" => {
                const FIELDS: &str =
                    "order preference \"flags\" \"services\" \"regexp\" replacement";
                Self::Naptr {
                    order: (tokens.number(FIELDS)?, tokens.number(FIELDS)?),
                    strings: [
                        tokens.string(FIELDS)?,
                        tokens.string(FIELDS)?,
                        tokens.string(FIELDS)?,
                    ],
                    replacement: tokens.name(FIELDS)?,
                }
            }
            "DS" => tokens.digest(&[2, 1, 1], "keyTag algorithm digestType digest")?,
            "SSHFP" => tokens.digest(&[1, 1], "algorithm fingerprintType fingerprint")?,
            "TLSA" => tokens.digest(&[1, 1, 1], "usage selector matchingType data")?,
            _ => tokens.generic()?,
        };
        tokens.finish()?;
        rdata.checked()
    }

    fn checked(self) -> Result<Self, Error> {
        let mut strings: &[Vec<u8>] = &[];
        if let Self::Txt(texts) = &self {
            strings = texts;
        } else if let Self::Naptr { strings: texts, .. } = &self {
            strings = texts;
        }
        if let Some(long) = strings.iter().find(|string| string.len() > 255) {
            return Err(Error::StringTooLong(long.len()));
        }
        if let Self::Caa { tag, .. } = &self
            && (tag.is_empty() || tag.len() > 255)
        {
            return Err(Error::StringTooLong(tag.len()));
        }
        if self.wire().len() > usize::from(u16::MAX) { Err(Error::TooLong) } else { Ok(self) }
    }

    /// The value on the wire, names uncompressed.
    pub fn wire(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::A(address) => out.extend(address.octets()),
            Self::Aaaa(address) => out.extend(address.octets()),
            Self::Ns(name) | Self::Cname(name) | Self::Dname(name) | Self::Ptr(name) => {
                name.write_wire(&mut out);
            }
            Self::Mx { preference, exchange } => {
                out.extend(preference.to_be_bytes());
                exchange.write_wire(&mut out);
            }
            Self::Srv { priority, weight, port, target } => {
                for number in [priority, weight, port] {
                    out.extend(number.to_be_bytes());
                }
                target.write_wire(&mut out);
            }
            Self::Txt(strings) => write_strings(strings, &mut out),
            Self::Caa { flags, tag, value } => {
                out.push(*flags);
                write_string(tag.as_bytes(), &mut out);
                out.extend(value);
            }
            Self::Naptr { order, strings, replacement } => {
                out.extend(order.0.to_be_bytes());
                out.extend(order.1.to_be_bytes());
                write_strings(strings, &mut out);
                replacement.write_wire(&mut out);
            }
            Self::Digest { fields, octets, .. } => {
                out.extend(fields);
                out.extend(octets);
            }
            Self::Opaque(octets) => out.extend(octets),
        }
        out
    }

    /// The address, of a type that holds one.
    pub fn address(&self) -> Option<IpAddr> {
        if let Self::A(address) = self {
            Some(IpAddr::V4(*address))
        } else if let Self::Aaaa(address) = self {
            Some(IpAddr::V6(*address))
        } else {
            None
        }
    }

    /// The name that the value points to, if it points to one.
    pub fn target(&self) -> Option<&Name> {
        match self {
            Self::Ns(name) | Self::Cname(name) | Self::Dname(name) | Self::Ptr(name) => Some(name),
            Self::Mx { exchange, .. } => Some(exchange),
            Self::Srv { target, .. } => Some(target),
            Self::Naptr { replacement, .. } => Some(replacement),
            Self::A(_)
            | Self::Aaaa(_)
            | Self::Txt(_)
            | Self::Caa { .. }
            | Self::Digest { .. }
            | Self::Opaque(_) => None,
        }
    }
}

fn write_strings(strings: &[Vec<u8>], out: &mut Vec<u8>) {
    for string in strings {
        write_string(string, out);
    }
}

fn write_string(string: &[u8], out: &mut Vec<u8>) {
    let length = u8::try_from(string.len()).unwrap_or(u8::MAX);
    out.push(length);
    out.extend(string.iter().take(usize::from(length)));
}

/// The canonical presentation form.
impl fmt::Display for Rdata {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::A(address) => write!(formatter, "{address}"),
            Self::Aaaa(address) => write!(formatter, "{address}"),
            Self::Ns(name) | Self::Cname(name) | Self::Dname(name) | Self::Ptr(name) => {
                write!(formatter, "{name}")
            }
            Self::Mx { preference, exchange } => write!(formatter, "{preference} {exchange}"),
            Self::Srv { priority, weight, port, target } => {
                write!(formatter, "{priority} {weight} {port} {target}")
            }
            Self::Txt(strings) => write!(formatter, "{}", CharacterStrings(strings)),
            Self::Caa { flags, tag, value } => {
                write!(formatter, "{flags} {tag} {}", CharacterStrings(std::slice::from_ref(value)))
            }
            Self::Naptr { order, strings, replacement } => {
                let strings = CharacterStrings(strings);
                write!(formatter, "{} {} {strings} {replacement}", order.0, order.1)
            }
            Self::Digest { numbers, octets, .. } => {
                for number in numbers {
                    write!(formatter, "{number} ")?;
                }
                octets.iter().try_for_each(|octet| write!(formatter, "{octet:02x}"))
            }
            Self::Opaque(octets) => {
                write!(formatter, "\\# {}", octets.len())?;
                if !octets.is_empty() {
                    formatter.write_str(" ")?;
                }
                octets.iter().try_for_each(|octet| write!(formatter, "{octet:02x}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(rtype: &str, value: &str) -> Result<String, Error> {
        let origin = Name::absolute("example.test.").unwrap();
        let rdata = Rdata::parse(rtype, value, &origin)?;
        let text = rdata.to_string();
        // The canonical form must read back as the same value.
        assert_eq!(Rdata::parse(rtype, &text, &origin), Ok(rdata), "{text}");
        Ok(text)
    }

    #[test]
    fn values_have_one_canonical_form() {
        for (rtype, value, text) in [
            ("A", "10.0.0.1", "10.0.0.1"),
            ("AAAA", "2001:DB8:0:0::0001", "2001:db8::1"),
            ("NS", "NS1", "ns1.example.test."),
            ("MX", "10 mail", "10 mail.example.test."),
            ("MX", "0 .", "0 ."),
            ("SRV", "0  5 5060 Sip.other.", "0 5 5060 sip.other."),
            ("TXT", "v=spf1 -all; x", "\"v=spf1 -all; x\""),
            ("TXT", "\"one\" \"t\\\"wo\"", "\"one\" \"t\\\"wo\""),
            ("CAA", "0 Issue \"ca.test; a=b\"", "0 issue \"ca.test; a=b\""),
            (
                "NAPTR",
                "1 2 U E2U+sip \"!^.*$!sip:a@b!\" .",
                "1 2 \"U\" \"E2U+sip\" \"!^.*$!sip:a@b!\" .",
            ),
            ("SSHFP", "4 2 AB cd", "4 2 abcd"),
            ("DS", "60485 5 1 2BB183AF", "60485 5 1 2bb183af"),
            ("TYPE731", "\\# 6 ABCDEF 012345", "\\# 6 abcdef012345"),
            ("TYPE731", "\\# 0", "\\# 0"),
        ] {
            assert_eq!(canonical(rtype, value).as_deref(), Ok(text), "{rtype} {value}");
        }
    }

    #[test]
    fn a_long_text_is_cut_into_strings() {
        let text = canonical("TXT", &"k".repeat(300)).unwrap();
        assert_eq!(text, format!("\"{}\" \"{}\"", "k".repeat(255), "k".repeat(45)));
    }

    #[test]
    fn wrong_values_are_refused() {
        for (rtype, value, error) in [
            ("A", "10.0.0.01", Error::Address("10.0.0.01".to_owned())),
            ("A", "10.0.0.256", Error::Address("10.0.0.256".to_owned())),
            ("A", "::1", Error::Address("::1".to_owned())),
            ("A", "10.0.0.1 10.0.0.2", Error::Fields("nothing more")),
            ("AAAA", "10.0.0.1", Error::Address("10.0.0.1".to_owned())),
            ("MX", "mail", Error::Number("mail".to_owned())),
            ("MX", "10", Error::Fields("preference exchange")),
            ("MX", "65536 mail", Error::Number("65536".to_owned())),
            ("CAA", "256 issue \"x\"", Error::Number("256".to_owned())),
            ("TXT", "\"open", Error::Quotes),
            ("SSHFP", "4 2 xyz", Error::Hexadecimal),
            ("TYPE731", "\\# 2 ab", Error::Hexadecimal),
            ("TYPE731", "ab", Error::Fields("\\# length hexadecimal digits")),
            ("SOA", "a b 1 2 3 4 5", Error::Type),
            ("TYPE6", "\\# 0", Error::Type),
            ("TYPE1", "\\# 4 0a000001", Error::Type),
            ("TYPE255", "\\# 0", Error::Type),
            ("WKS", "x", Error::Type),
        ] {
            assert_eq!(canonical(rtype, value), Err(error), "{rtype} {value}");
        }
        let long = format!("\"{}\"", "x".repeat(256));
        assert_eq!(canonical("TXT", &long), Err(Error::StringTooLong(256)));
    }
}
