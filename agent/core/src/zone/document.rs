//! From a document of the kind `Zone` to a zone: names made absolute, values put into canonical form.

use std::collections::BTreeMap;

use tidegate_schema::{
    Document, Finding,
    zone::{Zone, ZoneKind as DocumentKind},
};

use super::{
    NEGATIVE_TTL, RecordSet, ZoneData, ZoneKind,
    name::{self, Name},
    rdata::{self, Rdata},
};

/// The TTL of a zone that gives none, in seconds.
pub const DEFAULT_TTL: u32 = 300;

/// Reads a zone. What is wrong with its text is found here, all of it; what is wrong with its sense is found by
/// [`super::lint::lint`]. `None` when there is an error.
///
/// A zone without NS records at its apex gets one for its primary.
pub fn read(document: &Document, spec: &Zone) -> (Option<ZoneData>, Vec<Finding>) {
    let mut reader = Reader { document, findings: Vec::new() };
    let zone = reader.zone(spec);
    let has_error = reader.findings.iter().any(Finding::is_error);
    (zone.filter(|_| !has_error), reader.findings)
}

struct Reader<'a> {
    document: &'a Document,
    findings: Vec<Finding>,
}

impl Reader<'_> {
    fn zone(&mut self, spec: &Zone) -> Option<ZoneData> {
        let written = self.document.name().as_str().to_owned();
        let origin = self.name(&written, &Name::ROOT, "metadata.name")?;
        let name = origin.to_string().trim_end_matches('.').to_owned();
        let kind = match spec.kind {
            DocumentKind::Forward => {
                let to = spec.forward.as_ref().map(|forward| forward.to.as_slice());
                let to = to.unwrap_or_default().iter().map(ToString::to_string).collect();
                ZoneKind::Forward { to }
            }
            DocumentKind::Hosted => self.hosted(spec, &origin)?,
        };
        Some(ZoneData { name, kind })
    }

    fn hosted(&mut self, spec: &Zone, origin: &Name) -> Option<ZoneKind> {
        let ttl = spec.ttl.unwrap_or(DEFAULT_TTL);
        // The schema asks for both fields; without them there is a finding already.
        let primary = self.name(spec.primary.as_deref()?, &Name::ROOT, "spec.primary");
        let contact = self.contact(spec.contact.as_deref()?);
        let mut sets: BTreeMap<(String, String), RecordSet> = BTreeMap::new();
        for (index, record) in spec.records.iter().enumerate() {
            let path = format!("spec.records[{index}]");
            let Some(owner) = self.name(&record.name, origin, &format!("{path}.name")) else {
                continue;
            };
            if !owner.is_within(origin) {
                self.report(
                    "DNS/OUT_OF_ZONE",
                    &format!("{path}.name"),
                    &[("name", &owner.to_string()), ("zone", &origin.to_string())],
                );
                continue;
            }
            let rtype = record.kind.to_string();
            let values = self.values(&rtype, &record.values, origin, &path);
            let set = sets.entry((owner.to_string(), rtype.clone())).or_insert_with(|| RecordSet {
                name: owner.to_string(),
                rtype,
                ttl: record.ttl.unwrap_or(ttl),
                values: Vec::new(),
            });
            set.values.extend(values);
            set.values.sort();
        }
        let (primary, contact) = (primary?.to_string(), contact?.to_string());
        let apex = origin.to_string();
        sets.entry((apex.clone(), "NS".to_owned())).or_insert_with(|| RecordSet {
            name: apex,
            rtype: "NS".to_owned(),
            ttl,
            values: vec![primary.clone()],
        });
        let negative_ttl = spec.negative_ttl.unwrap_or(NEGATIVE_TTL);
        let records = sets.into_values().collect();
        Some(ZoneKind::Hosted { ttl, negative_ttl, primary, contact, records })
    }

    fn values(&mut self, rtype: &str, values: &[String], origin: &Name, path: &str) -> Vec<String> {
        let mut canonical: Vec<String> = Vec::with_capacity(values.len());
        for (index, value) in values.iter().enumerate() {
            let path = format!("{path}.values[{index}]");
            match Rdata::parse(rtype, value, origin) {
                Ok(rdata) if canonical.contains(&rdata.to_string()) => {
                    self.report("DNS/DUPLICATE_VALUE", &path, &[("value", value)]);
                }
                Ok(rdata) => canonical.push(rdata.to_string()),
                Err(error) => self.value_error(&error, rtype, value, &path),
            }
        }
        canonical
    }

    fn value_error(&mut self, error: &rdata::Error, rtype: &str, value: &str, path: &str) {
        use rdata::Error;
        let (code, detail) = match error {
            Error::Type => ("DNS/BAD_TYPE", String::new()),
            Error::Fields(fields) => ("DNS/BAD_FIELDS", (*fields).to_owned()),
            Error::Number(text) => ("DNS/BAD_NUMBER", text.clone()),
            Error::Address(text) => ("DNS/BAD_ADDRESS", text.clone()),
            Error::Name { name, source } => {
                self.report(name_code(*source), path, &[("name", name)]);
                return;
            }
            Error::Hexadecimal => ("DNS/BAD_HEXADECIMAL", String::new()),
            Error::StringTooLong(length) => ("DNS/STRING_TOO_LONG", length.to_string()),
            Error::Quotes => ("DNS/BAD_QUOTES", String::new()),
            Error::TooLong => ("DNS/VALUE_TOO_LONG", String::new()),
        };
        self.report(code, path, &[("type", rtype), ("value", value), ("detail", &detail)]);
    }

    fn name(&mut self, text: &str, origin: &Name, path: &str) -> Option<Name> {
        match Name::parse(text, origin) {
            Ok(name) => Some(name),
            Err(error) => {
                self.report(name_code(error), path, &[("name", text)]);
                None
            }
        }
    }

    /// The mailbox as a name (RFC 1035 section 3.3.13): at least a mailbox and a domain, and no `@`.
    fn contact(&mut self, text: &str) -> Option<Name> {
        let contact = (!text.contains('@')).then(|| Name::absolute(text).ok()).flatten();
        let contact = contact.filter(|contact| contact.labels().len() >= 2);
        if contact.is_none() {
            self.report("DNS/BAD_CONTACT", "spec.contact", &[("contact", text)]);
        }
        contact
    }

    fn report(&mut self, code: &'static str, path: &str, args: &[(&str, &str)]) {
        let mut finding = Finding::error(code).at(self.document.place(path));
        for (name, value) in args {
            finding = finding.with(name, value);
        }
        self.findings.push(finding);
    }
}

fn name_code(error: name::Error) -> &'static str {
    match error {
        name::Error::EmptyLabel => "DNS/EMPTY_LABEL",
        name::Error::LabelTooLong => "DNS/LABEL_TOO_LONG",
        name::Error::NameTooLong => "DNS/NAME_TOO_LONG",
        name::Error::NotAscii => "DNS/NAME_NOT_ASCII",
        name::Error::BadCharacter => "DNS/NAME_CHARACTER",
    }
}
