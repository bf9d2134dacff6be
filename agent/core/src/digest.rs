//! Digests: SHA-256 over canonical JSON (RFC 8785), so that equal content has one name everywhere.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
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
    serde_json_canonicalizer::to_vec(value).unwrap_or_default()
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
        let left: serde_json::Value = serde_json::from_str(r#"{"a":1,"b":[1.0,"x"]}"#).unwrap();
        let right: serde_json::Value = serde_json::from_str(r#"{"b":[1,"x"],"a":1}"#).unwrap();
        assert_eq!(Digest::of(&left), Digest::of(&right));
        assert_ne!(Digest::of(&left), Digest::of(&serde_json::json!({"a": 2})));
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
