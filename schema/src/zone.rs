//! The kind `Zone`: the names that the site's DNS answers for. `metadata.name` is the zone's domain.

use std::{fmt, net::IpAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A zone: served from here (`hosted`), or asked elsewhere (`forward`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Zone {
    /// Whether its records are here or elsewhere.
    #[serde(rename = "type", default)]
    pub kind: ZoneKind,
    /// With `type: forward`: where its names are asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward: Option<Forward>,
    /// The TTL of records that give none, in seconds. Default: 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub ttl: Option<u32>,
    /// The first name server (SOA MNAME, RFC 1035 3.3.13), with a dot at the end. A hosted zone needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "domain"))]
    pub primary: Option<String>,
    /// The mailbox of who is responsible (SOA RNAME), written as a domain: `hostmaster.bank.internal.`. A
    /// hosted zone needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "domain"))]
    pub contact: Option<String>,
    /// How long the absence of a name is remembered, in seconds (SOA MINIMUM, RFC 2308). Default: 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 86_400))]
    pub negative_ttl: Option<u32>,
    /// The sets of records. A name and type occurs once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<RecordSet>,
}

/// Whether a zone's records are here or elsewhere.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum ZoneKind {
    /// Served from here.
    #[default]
    Hosted,
    /// Asked elsewhere.
    Forward,
}

/// Where a zone's names are asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Forward {
    /// The servers' addresses, in the order in which they are asked; port 53.
    #[schemars(with = "Vec<String>", length(min = 1), extend("items" = {"type": "string", "format": "ip"}))]
    pub to: Vec<IpAddr>,
}

/// The records of one name and type (RFC 2181 5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RecordSet {
    /// The name, relative to the zone; `@` is the zone itself, `*` a wildcard, a dot at the end makes it absolute.
    #[schemars(extend("format" = "record-name"))]
    pub name: String,
    /// The type.
    #[serde(rename = "type")]
    pub kind: RecordType,
    /// The TTL in seconds. Default: the zone's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub ttl: Option<u32>,
    /// The values, in the form of a zone file: `10.0.0.2`, `10 mail`, `0 5 443 web`. Names without a dot at
    /// the end are relative to the zone.
    #[schemars(length(min = 1))]
    pub values: Vec<String>,
}

/// The type of a record.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "UPPERCASE")]
pub enum RecordType {
    /// An IPv4 address.
    A,
    /// An IPv6 address.
    Aaaa,
    /// Another name for this one.
    Cname,
    /// Another place for all names below this one (RFC 6672).
    Dname,
    /// A mail server with its preference.
    Mx,
    /// A name server; below the zone's top it cuts off a delegation.
    Ns,
    /// Text.
    Txt,
    /// Where a service is: priority, weight, port, name (RFC 2782).
    Srv,
    /// Who may issue certificates (RFC 8659).
    Caa,
    /// The name of an address.
    Ptr,
}

impl fmt::Display for RecordType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Cname => "CNAME",
            Self::Dname => "DNAME",
            Self::Mx => "MX",
            Self::Ns => "NS",
            Self::Txt => "TXT",
            Self::Srv => "SRV",
            Self::Caa => "CAA",
            Self::Ptr => "PTR",
        })
    }
}
