//! A DNS zone as data: what should be served, its lint rules and its serial.
//!
//! Everything here is in one canonical form, so that equal zones are equal values: names are lower case
//! and absolute, values are in presentation form (RFC 1035 section 5.1) and sorted, record sets are ordered
//! by name and type. The SOA record is not in the list: it is made from the zone's fields and its serial.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub mod document;
pub mod guard;
mod index;
pub mod lint;
pub mod name;
mod text;
pub mod rdata;
pub mod serial;

/// SOA timers in seconds (RFC 1912 section 2.2): how often secondaries ask, how soon they ask again after a failure, and
/// how long they serve without an answer.
pub const SOA_REFRESH: u32 = 3_600;
/// See [`SOA_REFRESH`].
pub const SOA_RETRY: u32 = 600;
/// See [`SOA_REFRESH`].
pub const SOA_EXPIRE: u32 = 1_209_600;
/// How long "there is no such name" may be remembered when a zone does not say, in seconds (RFC 2308). Short, because in a
/// private cloud names appear while clients already ask for them.
pub const NEGATIVE_TTL: u32 = 60;

/// One zone as it should be served.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ZoneData {
    /// The zone's name: lower case, without the trailing dot, never the root.
    pub name: String,
    /// Whether we serve it or ask others.
    pub kind: ZoneKind,
}

/// Whether a zone is served from here or asked elsewhere.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum ZoneKind {
    /// We are authoritative.
    Hosted {
        /// Time to live of the SOA record and of record sets that name none, in seconds.
        ttl: u32,
        /// How long the absence of a name may be remembered (SOA MINIMUM), in seconds; a shorter `ttl` wins (RFC 2308).
        negative_ttl: u32,
        /// The primary server's name (SOA MNAME): absolute, lower case, trailing dot.
        primary: String,
        /// The contact's mailbox as a name (SOA RNAME): absolute, lower case, trailing dot.
        contact: String,
        /// Ordered by name and type; one entry per name and type. Never the SOA.
        records: Vec<RecordSet>,
    },
    /// Queries are handed on.
    Forward {
        /// The servers, in the order in which they are asked: `address` or `address:port`.
        to: Vec<String>,
    },
}

/// All records of one name and type.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RecordSet {
    /// The owner: absolute, lower case, trailing dot.
    pub name: String,
    /// The type in its registered spelling (`A`, `MX`) or as `TYPE731` (RFC 3597).
    pub rtype: String,
    /// Time to live in seconds.
    pub ttl: u32,
    /// Values in presentation form, sorted, names absolute.
    pub values: Vec<String>,
}

/// A zone with the serial under which it was or will be served.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PublishedZone {
    /// The zone.
    pub zone: ZoneData,
    /// The SOA serial (RFC 1982 arithmetic). A forward zone has one too, which only tells versions apart.
    pub serial: u32,
    /// [`ZoneData::digest`] of `zone`.
    pub digest: String,
}

impl ZoneData {
    /// The digest of the content: SHA-256 of its canonical JSON (RFC 8785), `sha256:` and hexadecimal digits.
    /// The serial is no part of it.
    pub fn digest(&self) -> String {
        use sha2::{Digest as _, Sha256};
        use std::fmt::Write as _;
        let bytes = serde_json_canonicalizer::to_vec(self).unwrap_or_default();
        let mut text = String::from("sha256:");
        for byte in Sha256::digest(&bytes) {
            write!(text, "{byte:02x}").unwrap_or_default();
        }
        text
    }

    /// The zone's name as records write it: with the trailing dot.
    pub fn apex(&self) -> String {
        format!("{}.", self.name)
    }

    /// The record sets; none for a forward zone.
    pub fn records(&self) -> &[RecordSet] {
        match &self.kind {
            ZoneKind::Hosted { records, .. } => records,
            ZoneKind::Forward { .. } => &[],
        }
    }

    /// The zone with the serial that follows from what was published before and the commit that asks for it.
    pub fn publish(
        self,
        published: Option<&PublishedZone>,
        commit_time: jiff::Timestamp,
    ) -> PublishedZone {
        let digest = self.digest();
        let serial = serial::next_serial(published, &digest, commit_time);
        PublishedZone { zone: self, serial, digest }
    }
}
