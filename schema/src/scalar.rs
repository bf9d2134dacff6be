//! The scalar types of documents: names, texts, durations, quantities, versions, ports.
//!
//! Each is parsed once, at the edge, and its schema carries the same rule, so that an editor marks
//! what the agent would refuse.

use std::{borrow::Borrow, fmt, str::FromStr, time};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

/// A DNS-1123 label (RFC 1123 2.1, as Kubernetes restricts it), at most 63 characters.
pub const NAME_PATTERN: &str = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$";
/// A DNS-1123 subdomain: labels joined by dots. Its length (253) is checked by [`Name::new`].
pub const SUBDOMAIN_PATTERN: &str =
    "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$";
/// A whole number and its unit.
pub const DURATION_PATTERN: &str = "^[0-9]{1,9}[smhd]$";
/// A Kubernetes quantity (API conventions, "Quantity"): no exponent, no sign.
pub const QUANTITY_PATTERN: &str = "^[0-9]+(\\.[0-9]+)?(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$";

/// Why a scalar was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScalarError {
    /// Not a DNS-1123 name.
    #[error(
        "a name has lower case letters, digits and `-`, and starts and ends with a letter or digit"
    )]
    Name,
    /// Not a duration.
    #[error("a duration is a whole number and one of s, m, h, d, such as `10m`")]
    Duration,
    /// Not a quantity.
    #[error("a quantity is a number with an optional suffix, such as `500m`, `2` or `4Gi`")]
    Quantity,
}

/// The name of a document, or of a part of one: a DNS-1123 label, at most 63 characters.
///
/// The type itself also accepts labels joined by dots (at most 253 characters), because the name of
/// a `Zone` is a domain and the name of an `Approval` may carry dots; the schemas of all other
/// kinds and fields accept a single label only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Name(String);

impl Name {
    /// Checks and takes a name.
    pub fn new(text: impl Into<String>) -> Result<Self, ScalarError> {
        let text = text.into();
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if text.len() <= 253 && text.split('.').all(is_label) {
            Ok(Self(text))
        } else {
            Err(ScalarError::Name)
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl FromStr for Name {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl JsonSchema for Name {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Name".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": NAME_PATTERN})
    }
}

/// A text for people in English, Chinese or both. A plain string is the text for every language.
///
/// Written as `{en: Identity, zh: 身份}` or as `Identity`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Text {
    /// The English text.
    pub en: Option<String>,
    /// The Chinese text.
    pub zh: Option<String>,
}

impl Text {
    /// The text in a language; the other language's where this one is missing.
    pub fn get(&self, lang: crate::finding::Lang) -> &str {
        let (first, second) = match lang {
            crate::finding::Lang::En => (&self.en, &self.zh),
            crate::finding::Lang::Zh => (&self.zh, &self.en),
        };
        first.as_deref().or(second.as_deref()).unwrap_or_default()
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self { en: Some(text.to_owned()), zh: None }
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        let mut map = serializer.serialize_map(None)?;
        if let Some(en) = &self.en {
            map.serialize_entry("en", en)?;
        }
        if let Some(zh) = &self.zh {
            map.serialize_entry("zh", zh)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> de::Visitor<'de> for TextVisitor {
            type Value = Text;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a text, or {en: text, zh: text}")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text, E> {
                Ok(text.into())
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Text, A::Error> {
                let mut text = Text::default();
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "en" => text.en = Some(map.next_value()?),
                        "zh" => text.zh = Some(map.next_value()?),
                        _ => return Err(de::Error::unknown_field(&key, &["en", "zh"])),
                    }
                }
                Ok(text)
            }
        }

        deserializer.deserialize_any(TextVisitor)
    }
}

impl JsonSchema for Text {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Text".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A text for people: a plain string, or one text per language.",
            "type": ["string", "object"],
            "minProperties": 1,
            "additionalProperties": false,
            "properties": {
                "en": {"type": "string", "description": "The English text."},
                "zh": {"type": "string", "description": "The Chinese text."},
            },
        })
    }
}

/// A length of time: a whole number and one of `s`, `m`, `h`, `d`, such as `10m`.
///
/// Kept as written, so that a document survives a round trip; compared by length.
#[derive(Debug, Clone, Copy)]
pub struct Duration {
    count: u32,
    unit: Unit,
}

#[derive(Debug, Clone, Copy)]
enum Unit {
    Seconds,
    Minutes,
    Hours,
    Days,
}

impl Duration {
    /// A number of seconds.
    pub const fn from_seconds(count: u32) -> Self {
        Self { count, unit: Unit::Seconds }
    }

    /// A number of minutes.
    pub const fn from_minutes(count: u32) -> Self {
        Self { count, unit: Unit::Minutes }
    }

    /// A number of hours.
    pub const fn from_hours(count: u32) -> Self {
        Self { count, unit: Unit::Hours }
    }

    /// The length in seconds.
    pub const fn seconds(self) -> u64 {
        let unit = match self.unit {
            Unit::Seconds => 1,
            Unit::Minutes => 60,
            Unit::Hours => 3_600,
            Unit::Days => 86_400,
        };
        self.count as u64 * unit
    }

    /// The length for timers.
    pub const fn to_std(self) -> time::Duration {
        time::Duration::from_secs(self.seconds())
    }

    /// The length for instants.
    pub fn to_jiff(self) -> jiff::SignedDuration {
        jiff::SignedDuration::from_secs(i64::try_from(self.seconds()).unwrap_or(i64::MAX))
    }
}

impl PartialEq for Duration {
    fn eq(&self, other: &Self) -> bool {
        self.seconds() == other.seconds()
    }
}

impl Eq for Duration {}

impl PartialOrd for Duration {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Duration {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.seconds().cmp(&other.seconds())
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            Unit::Seconds => 's',
            Unit::Minutes => 'm',
            Unit::Hours => 'h',
            Unit::Days => 'd',
        };
        write!(formatter, "{}{unit}", self.count)
    }
}

impl FromStr for Duration {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unit = match text.chars().next_back() {
            Some('s') => Unit::Seconds,
            Some('m') => Unit::Minutes,
            Some('h') => Unit::Hours,
            Some('d') => Unit::Days,
            _ => return Err(ScalarError::Duration),
        };
        let digits = text.get(..text.len() - 1).unwrap_or_default();
        if !(1..=9).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ScalarError::Duration);
        }
        let count = digits.parse().map_err(|_| ScalarError::Duration)?;
        Ok(Self { count, unit })
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": DURATION_PATTERN})
    }
}

/// A Kubernetes quantity such as `500m`, `2` or `4Gi`. A bare number is accepted as its digits.
///
/// Kept as written; [`Quantity::milli`] is its value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Quantity(String);

impl Quantity {
    /// Checks and takes a quantity.
    pub fn new(text: impl Into<String>) -> Result<Self, ScalarError> {
        let text = text.into();
        match milli(&text) {
            Some(_) => Ok(Self(text)),
            None => Err(ScalarError::Quantity),
        }
    }

    /// The quantity as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value in thousandths, rounded up, as Kubernetes rounds; `1Gi` and `1024Mi` are equal here.
    pub fn milli(&self) -> u128 {
        milli(&self.0).unwrap_or_default()
    }
}

/// The value of a quantity in thousandths, rounded up; `None` when it is none.
fn milli(text: &str) -> Option<u128> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let is_digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) || number.len() > 27 {
        return None;
    }
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let digits =
        whole.parse::<u128>().ok()?.checked_mul(scale)?.checked_add(fraction.parse().ok()?)?;
    // In millionths of a thousandth, so that `n` is a whole number too.
    let unit: u128 = match suffix {
        "n" => 1,
        "u" => 1_000,
        "m" => 1_000_000,
        "" => 1_000_000_000,
        "k" => 1_000_000_000_000,
        "M" => 1_000_000_000_000_000,
        "G" => 1_000_000_000_000_000_000,
        "T" => 1_000_000_000_000_000_000_000,
        "P" => 1_000_000_000_000_000_000_000_000,
        "E" => 1_000_000_000_000_000_000_000_000_000,
        "Ki" => 1_000_000_000 << 10,
        "Mi" => 1_000_000_000 << 20,
        "Gi" => 1_000_000_000 << 30,
        "Ti" => 1_000_000_000 << 40,
        "Pi" => 1_000_000_000 << 50,
        "Ei" => 1_000_000_000 << 60,
        _ => return None,
    };
    Some(digits.checked_mul(unit)?.div_ceil(scale.checked_mul(1_000_000)?))
}

impl fmt::Display for Quantity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl FromStr for Quantity {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => text,
            serde_json::Value::Number(number) => number.to_string(),
            serde_json::Value::Null
            | serde_json::Value::Bool(_)
            | serde_json::Value::Array(_)
            | serde_json::Value::Object(_) => return Err(de::Error::custom(ScalarError::Quantity)),
        };
        Self::new(text).map_err(de::Error::custom)
    }
}

impl JsonSchema for Quantity {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "number"], "pattern": QUANTITY_PATTERN, "minimum": 0})
    }
}

/// A decimal number, kept as text so that it can be compared and put in order; that order is the text's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal(String);

impl Decimal {
    /// The number, always finite.
    pub fn value(&self) -> f64 {
        self.0.parse().unwrap_or_default()
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serde_json::Number::from_str(&self.0) {
            Ok(number) => number.serialize(serializer),
            Err(error) => Err(ser::Error::custom(error)),
        }
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // JSON has no infinite numbers.
        serde_json::Number::deserialize(deserializer).map(|number| Self(number.to_string()))
    }
}

impl JsonSchema for Decimal {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Decimal".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "number"})
    }
}

/// A port: its number (1 … 65535) or the name that the app gives it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortReference {
    /// The number.
    Number(u16),
    /// The name of one of the app's ports.
    Name(Name),
}

impl fmt::Display for PortReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(formatter),
            Self::Name(name) => name.fmt(formatter),
        }
    }
}

impl Serialize for PortReference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_u16(*number),
            Self::Name(name) => name.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for PortReference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => {
                Name::new(text).map(Self::Name).map_err(de::Error::custom)
            }
            serde_json::Value::Number(number) => number
                .as_u64()
                .and_then(|number| u16::try_from(number).ok())
                .filter(|number| *number > 0)
                .map(Self::Number)
                .ok_or_else(|| de::Error::custom("a port is 1 to 65535, or a port's name")),
            serde_json::Value::Null
            | serde_json::Value::Bool(_)
            | serde_json::Value::Array(_)
            | serde_json::Value::Object(_) => {
                Err(de::Error::custom("a port is a number or a name"))
            }
        }
    }
}

impl JsonSchema for PortReference {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PortReference".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["integer", "string"],
            "minimum": 1,
            "maximum": 65535,
            "pattern": NAME_PATTERN,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels_or_domains() {
        for good in ["a", "iam", "room-a", "0", "hz.bank.internal", &"a".repeat(63)] {
            assert!(Name::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a_b", "a..b", ".a", "杭州", &"a".repeat(64)] {
            assert_eq!(Name::new(bad), Err(ScalarError::Name), "{bad}");
        }
    }

    #[test]
    fn durations_are_strict() {
        let seconds = |text: &str| text.parse::<Duration>().map(Duration::seconds);
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("10m"), Ok(600));
        assert_eq!(seconds("24h"), Ok(86_400));
        assert_eq!(seconds("7d"), Ok(604_800));
        assert_eq!("60m".parse::<Duration>(), "1h".parse());
        for bad in ["", "m", "10", "10 m", "1h30m", "-1s", "1.5h", "10M", "10秒"] {
            assert_eq!(seconds(bad), Err(ScalarError::Duration), "{bad}");
        }
    }

    #[test]
    fn quantities_have_the_value_that_kubernetes_gives_them() {
        let milli = |text: &str| Quantity::new(text).map(|q| q.milli());
        assert_eq!(milli("500m"), Ok(500));
        assert_eq!(milli("2"), Ok(2_000));
        assert_eq!(milli("0.1"), Ok(100));
        assert_eq!(milli("1Gi"), milli("1024Mi"));
        assert_eq!(milli("1G"), Ok(1_000_000_000_000));
        assert_eq!(milli("1n"), Ok(1));
        for bad in ["", "Gi", "1 Gi", "1gb", "-1", "1.", ".5", "1KiB"] {
            assert_eq!(milli(bad), Err(ScalarError::Quantity), "{bad}");
        }
    }

    #[test]
    fn a_text_is_a_string_or_one_per_language() {
        use crate::finding::Lang;
        let text: Text = serde_json::from_str(r#"{"en": "Bank", "zh": "银行"}"#).unwrap();
        assert_eq!((text.get(Lang::En), text.get(Lang::Zh)), ("Bank", "银行"));
        let text: Text = serde_json::from_str(r#""Bank""#).unwrap();
        assert_eq!((text.get(Lang::En), text.get(Lang::Zh)), ("Bank", "Bank"));
        let error = serde_json::from_str::<Text>(r#"{"de": "Bank"}"#).unwrap_err();
        assert!(error.to_string().contains("unknown field `de`"), "{error}");
    }
}
