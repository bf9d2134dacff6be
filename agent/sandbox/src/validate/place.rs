//! A part of an object with its path, and the checks that many kinds share. What is absent is null, and most checks let it pass.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::{LABEL_1123, SUBDOMAIN, is_label, label_selector, labels, qualified};
use crate::status::Cause;

const PERCENT: &str = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";

/// A part of an object.
#[derive(Clone, Debug)]
pub(super) struct Place<'a> {
    pub(super) value: &'a Value,
    pub(super) path: String,
}

impl<'a> Place<'a> {
    pub(super) fn new(value: &'a Value, path: impl Into<String>) -> Self {
        Self { value, path: path.into() }
    }

    /// A field of this struct.
    pub(super) fn at(&self, name: &str) -> Self {
        let value = self.value.get(name).unwrap_or(&Value::Null);
        let path = if self.path.is_empty() { name.to_owned() } else { self.path_of(name) };
        Self { value, path }
    }

    pub(super) fn path_of(&self, name: &str) -> String {
        format!("{}.{name}", self.path)
    }

    /// The entries of this list.
    pub(super) fn each(&self) -> impl Iterator<Item = Place<'a>> + use<'a> {
        let path = self.path.clone();
        let items = self.value.as_array().map_or(&[][..], Vec::as_slice).iter().enumerate();
        items.map(move |(index, value)| Place { value, path: format!("{path}[{index}]") })
    }

    /// The entries of this map, whose paths have the key in brackets.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, Place<'a>)> + use<'a> {
        let path = self.path.clone();
        let entries = self.value.as_object().into_iter().flat_map(Map::iter);
        entries.map(move |(key, value)| {
            (key.as_str(), Place { value, path: format!("{path}[{key}]") })
        })
    }

    pub(super) fn is_there(&self) -> bool {
        !self.value.is_null()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.at(name).is_there()
    }

    /// Whether it is absent, or an empty text, list or map.
    pub(super) fn is_empty(&self) -> bool {
        match self.value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.is_empty(),
            Value::Bool(_) | Value::Number(_) => false,
        }
    }

    pub(super) fn text(&self) -> &'a str {
        self.value.as_str().unwrap_or_default()
    }

    pub(super) fn integer(&self) -> Option<i64> {
        self.value.as_i64()
    }

    pub(super) fn is_true(&self) -> bool {
        self.value.as_bool().unwrap_or_default()
    }

    pub(super) fn invalid(&self, why: &str) -> Cause {
        Cause::invalid(self.path.as_str(), self.value, why)
    }

    /// Where the real server shows nothing of the value.
    pub(super) fn invalid_unshown(&self, why: &str) -> Cause {
        Cause::invalid(self.path.as_str(), &"".into(), why)
    }

    pub(super) fn missing(&self, why: &str) -> Cause {
        Cause::required(self.path.as_str(), why)
    }

    pub(super) fn forbidden(&self, why: &str) -> Cause {
        Cause::forbidden(self.path.as_str(), why)
    }

    pub(super) fn duplicate(&self) -> Cause {
        Cause::duplicate(self.path.as_str(), self.value)
    }

    pub(super) fn unsupported(&self, choices: &[&str]) -> Cause {
        Cause::unsupported(self.path.as_str(), self.value, choices)
    }

    /// It must be there and not empty.
    pub(super) fn required(&self, causes: &mut Vec<Cause>) {
        if self.is_empty() {
            causes.push(self.missing(""));
        }
    }

    /// One of a few values.
    pub(super) fn choice(&self, choices: &[&str], causes: &mut Vec<Cause>) {
        if !self.text().is_empty() && !choices.contains(&self.text()) {
            causes.push(self.unsupported(choices));
        }
    }

    pub(super) fn not_negative(&self, causes: &mut Vec<Cause>) {
        if self.integer().is_some_and(|number| number < 0) {
            causes.push(self.invalid("must be greater than or equal to 0"));
        }
    }

    /// A number within bounds, both included.
    pub(super) fn between(&self, least: i64, most: i64, causes: &mut Vec<Cause>) {
        if self.integer().is_some_and(|number| !(least..=most).contains(&number)) {
            causes.push(self.invalid(&format!("must be between {least} and {most}, inclusive")));
        }
    }

    /// A number of a port; absent is none.
    pub(super) fn port(&self, causes: &mut Vec<Cause>) {
        let number = Value::from(self.integer().unwrap_or_default());
        Place { value: &number, path: self.path.clone() }.between(1, 65_535, causes);
    }

    /// The number or the name of a port; absent is none.
    pub(super) fn port_or_name(&self, causes: &mut Vec<Cause>) {
        if self.value.is_string() { self.port_name(causes) } else { self.port(causes) }
    }

    pub(super) fn port_name(&self, causes: &mut Vec<Cause>) {
        let name = self.text();
        if name.len() > 15 {
            causes.push(self.invalid("must be no more than 15 characters"));
        }
        let is_known =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !name.bytes().all(is_known) {
            causes.push(
                self.invalid(
                    "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
                ),
            );
        }
        if !name.bytes().any(|byte| byte.is_ascii_lowercase()) {
            causes.push(self.invalid("must contain at least one letter (a-z)"));
        }
        if name.contains("--") {
            causes.push(self.invalid("must not contain consecutive hyphens"));
        }
        if name.starts_with('-') || name.ends_with('-') {
            causes.push(self.invalid("must not begin or end with a hyphen"));
        }
    }

    /// An RFC 1123 label.
    pub(super) fn label(&self, causes: &mut Vec<Cause>) {
        self.named(63, is_label(self.text()), LABEL_1123, causes);
    }

    /// An RFC 1123 subdomain.
    pub(super) fn subdomain(&self, causes: &mut Vec<Cause>) {
        self.named(253, self.text().split('.').all(is_label), SUBDOMAIN, causes);
    }

    fn named(&self, most: usize, is_met: bool, why: &str, causes: &mut Vec<Cause>) {
        if self.text().len() > most {
            causes.push(self.invalid(&format!("must be no more than {most} characters")));
        }
        if !is_met {
            causes.push(self.invalid(why));
        }
    }

    /// A name as labels have, with or without a domain.
    pub(super) fn qualified(&self, causes: &mut Vec<Cause>) {
        qualified(self.text(), self.text(), &self.path, causes);
    }

    /// Keys and values of labels.
    pub(super) fn labels(&self, causes: &mut Vec<Cause>) {
        labels(self.value.as_object(), &self.path, causes);
    }

    /// Keys of annotations.
    pub(super) fn annotations(&self, causes: &mut Vec<Cause>) {
        for (key, _) in self.value.as_object().into_iter().flatten() {
            qualified(&key.to_lowercase(), key, &self.path, causes);
        }
    }

    /// A selector of labels with expressions.
    pub(super) fn selector(&self, causes: &mut Vec<Cause>) {
        label_selector(self, causes);
    }

    /// A number that is not below nothing, or a share of at most all.
    pub(super) fn amount_or_share(&self, causes: &mut Vec<Cause>) {
        self.not_negative(causes);
        if !self.value.is_string() {
            return;
        }
        let digits = self.text().strip_suffix('%').unwrap_or_default();
        match digits.parse::<u32>() {
            Ok(share) if share > 100 => {
                causes.push(self.invalid("must not be greater than 100%"));
            }
            Ok(_) => {}
            Err(_) => causes.push(self.invalid(PERCENT)),
        }
    }

    /// A number that is not below nothing, or a share that may be more than all.
    pub(super) fn amount_or_any_share(&self, causes: &mut Vec<Cause>) {
        self.not_negative(causes);
        let digits = self.text().strip_suffix('%').unwrap_or_default();
        if self.value.is_string() && digits.parse::<u32>().is_err() {
            causes.push(self.invalid(PERCENT));
        }
    }

    /// Whether it is nothing: 0 or a share of 0.
    pub(super) fn is_zero(&self) -> bool {
        self.integer() == Some(0) || matches!(self.text(), "0%" | "0")
    }

    pub(super) fn address(&self, causes: &mut Vec<Cause>) -> Option<IpAddr> {
        let address = self.text().parse().ok();
        if address.is_none() {
            let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            causes.push(self.invalid(why));
        }
        address
    }

    /// An address that others may be sent to.
    pub(super) fn outer_address(&self, causes: &mut Vec<Cause>) {
        let Some(address) = self.address(causes) else { return };
        let local = match address {
            IpAddr::V4(address) => address.is_link_local() || address.is_multicast(),
            IpAddr::V6(address) => address.is_multicast(),
        };
        if address.is_unspecified() {
            causes.push(self.invalid(&format!("may not be unspecified ({address})")));
        } else if address.is_loopback() {
            causes.push(self.invalid("may not be in the loopback range (127.0.0.0/8)"));
        } else if local {
            causes.push(
                self.invalid(
                    "may not be in the link-local range (169.254.0.0/16) or (224.0.0.0/24)",
                ),
            );
        }
    }

    /// A path that stays below where it begins.
    pub(super) fn path_below(&self, causes: &mut Vec<Cause>) {
        if self.text().starts_with('/') {
            causes.push(self.invalid("must be a relative path"));
        }
        self.path_forwards(causes);
    }

    /// A path that does not lead upwards.
    pub(super) fn path_forwards(&self, causes: &mut Vec<Cause>) {
        if self.text().split('/').any(|part| part == "..") {
            causes.push(self.invalid("must not contain '..'"));
        }
    }
}

/// The network of a text as in `10.0.0.0/8`: its address, and how many bits count.
pub(super) fn network(text: &str) -> Option<(IpAddr, u32)> {
    let (address, bits) = text.split_once('/')?;
    let (address, bits) = (address.parse::<IpAddr>().ok()?, bits.parse::<u32>().ok()?);
    let most = if address.is_ipv4() { 32 } else { 128 };
    (bits <= most).then_some((address, bits))
}

/// Whether the second network is a part of the first, and not all of it.
pub(super) fn is_within((outer, most): (IpAddr, u32), (inner, bits): (IpAddr, u32)) -> bool {
    let (outer, inner, width) = match (outer, inner) {
        (IpAddr::V4(outer), IpAddr::V4(inner)) => {
            (u128::from(outer.to_bits()), u128::from(inner.to_bits()), 32)
        }
        (IpAddr::V6(outer), IpAddr::V6(inner)) => (outer.to_bits(), inner.to_bits(), 128),
        _ => return false,
    };
    let shared = |address: u128| address.checked_shr(width - most).unwrap_or_default();
    bits > most && shared(outer) == shared(inner)
}
