//! Digests: SHA-256 over canonical JSON (RFC 8785), so that equal content has one name everywhere.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// A SHA-256 digest, written `sha256:` and 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("pattern" = "^sha256:[0-9a-f]{64}$"))]
pub struct Digest(String);

impl Digest {
    /// The digest of raw bytes.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        use fmt::Write as _;
        let mut text = String::with_capacity(71);
        text.push_str("sha256:");
        for byte in Sha256::digest(bytes) {
            // Writing to a String cannot fail.
            write!(text, "{byte:02x}").unwrap_or_default();
        }
        Self(text)
    }

    /// The digest of a value's canonical JSON (RFC 8785). Types of this crate always serialise; should one not,
    /// the digest is that of the empty text, which no stored digest equals.
    pub fn of(value: &impl Serialize) -> Self {
        Self::of_bytes(&canonical(value))
    }

    /// Takes a digest from text; `None` unless it has the form that [`Digest`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix("sha256:")?;
        let is_hex = hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (hex.len() == 64 && is_hex).then(|| Self(text.to_owned()))
    }

    /// The whole text, `sha256:…`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve hexadecimal digits: enough for people, never for decisions.
    pub fn short(&self) -> &str {
        self.0.get(7..19).unwrap_or(&self.0)
    }
}

/// A value's canonical JSON (RFC 8785): what digests and signatures are made of. Empty when it does not serialise, which
/// types of this workspace always do.
pub fn canonical(value: &impl Serialize) -> Vec<u8> {
    let mut text = Vec::new();
    if let Ok(value) = serde_json::to_value(value) {
        write(&value, &mut text);
    }
    text
}

/// Writes canonical JSON. The library buffers each map once more at each level above it, which a site of 10,000 objects
/// feels; only the order of keys is therefore ours.
fn write(value: &Value, text: &mut Vec<u8>) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(&String, &Value)> = map.iter().collect();
            // RFC 8785, 3.2.3: by UTF-16 code units, which is not the order of UTF-8 beyond the first plane.
            entries.sort_unstable_by(|(left, _), (right, _)| {
                left.encode_utf16().cmp(right.encode_utf16())
            });
            text.push(b'{');
            for (index, (key, value)) in entries.into_iter().enumerate() {
                if index > 0 {
                    text.push(b',');
                }
                write_text(key, text);
                text.push(b':');
                write(value, text);
            }
            text.push(b'}');
        }
        Value::Array(items) => {
            text.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(b',');
                }
                write(item, text);
            }
            text.push(b']');
        }
        Value::String(content) => write_text(content, text),
        // ECMAScript's form of numbers is the library's.
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            text.extend(serde_json_canonicalizer::to_vec(value).unwrap_or_default());
        }
    }
}

/// Writes a text as JSON does: its escapes are those of RFC 8785, 3.2.2.2. Writing to memory cannot fail.
fn write_text(content: &str, text: &mut Vec<u8>) {
    serde_json::to_writer(text, content).unwrap_or_default();
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", self.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_content_has_one_digest_whatever_the_order_of_keys() {
        let left: Value = serde_json::from_str(r#"{"a":1,"b":[1.0,"x"]}"#).unwrap();
        let right: Value = serde_json::from_str(r#"{"b":[1,"x"],"a":1}"#).unwrap();
        assert_eq!(Digest::of(&left), Digest::of(&right));
        assert_ne!(Digest::of(&left), Digest::of(&serde_json::json!({"a": 2})));
    }

    #[test]
    fn the_canonical_form_is_that_of_the_library() {
        let value: Value = serde_json::from_str(
            r#"{"b":{"\u20ac":1,"\ud83d\ude00":2,"\ufb33":3,"\r":4,"1":5,"\u0080":6},
                "numbers":[0,-0.0,1.0,1e21,1e-7,0.1,333333333.33333329,9007199254740993,-7,18446744073709551615],
                "a":[null,true,false,"\u000f\u001f\u007f\u2028\"\\/\b\f\n\r\t é €",[],{}]}"#,
        )
        .unwrap();
        let library = serde_json_canonicalizer::to_string(&value).unwrap();
        assert_eq!(String::from_utf8(canonical(&value)).unwrap(), library);
    }

    #[test]
    fn only_its_own_form_is_parsed() {
        let digest = Digest::of_bytes(b"tidegate");
        assert_eq!(Digest::parse(digest.as_str()), Some(digest.clone()));
        assert_eq!(Digest::parse("sha256:abc"), None);
        assert_eq!(Digest::parse(&digest.as_str().to_uppercase()), None);
        assert_eq!(digest.short().len(), 12);
    }
}
