//! Text with a grammar: SPF (RFC 7208), DMARC (RFC 7489), CAA (RFC 8659).

use tidegate_schema::Finding;

use super::about;
use crate::zone::{
    index::{Entry, Indexed},
    rdata::Rdata,
};

/// Terms that make a checker ask again; more than ten in all make it fail (RFC 7208 section 4.6.4).
const ASKING: &[&str] = &["include", "a", "mx", "ptr", "exists", "redirect"];

pub(super) fn check(zone: &Indexed<'_>, findings: &mut Vec<Finding>) {
    for (owner, entry) in zone.entries() {
        match entry.set.rtype.as_str() {
            "TXT" => {
                let texts = texts(entry);
                let policies: Vec<&String> = texts.iter().filter(|text| is_spf(text)).collect();
                if policies.len() > 1 {
                    findings.push(about(Finding::error("DNS/SPF_TWICE"), zone, entry.set));
                }
                for count in policies.iter().map(|text| questions(text)).filter(|count| *count > 10)
                {
                    let finding = about(Finding::warning("DNS/SPF_QUESTIONS"), zone, entry.set);
                    findings.push(finding.with("count", count));
                }
                let is_dmarc = owner.labels().first().is_some_and(|label| label == b"_dmarc");
                let dmarc = texts.iter().filter(|text| text.starts_with("v=DMARC1")).count();
                if is_dmarc && dmarc > 1 {
                    findings.push(about(Finding::error("DNS/DMARC_TWICE"), zone, entry.set));
                }
            }
            "CAA" => authorities(zone, entry, findings),
            _ => {}
        }
    }
}

/// The values, each with its strings joined, as readers of SPF and DMARC do.
fn texts(entry: &Entry<'_>) -> Vec<String> {
    let joined = |rdata: &Rdata| {
        let Rdata::Txt(strings) = rdata else { return None };
        Some(String::from_utf8_lossy(&strings.concat()).into_owned())
    };
    entry.values.iter().filter_map(joined).collect()
}

fn is_spf(text: &str) -> bool {
    text == "v=spf1" || text.starts_with("v=spf1 ")
}

fn questions(policy: &str) -> usize {
    let asks = |term: &&str| {
        let term = term.trim_start_matches(['+', '-', '~', '?']);
        let name = term.split([':', '=', '/']).next().unwrap_or(term);
        ASKING.contains(&name)
    };
    policy.split_whitespace().skip(1).filter(asks).count()
}

fn authorities(zone: &Indexed<'_>, entry: &Entry<'_>, findings: &mut Vec<Finding>) {
    for rdata in &entry.values {
        let Rdata::Caa { flags, tag, value } = rdata else { continue };
        let value = String::from_utf8_lossy(value);
        if !matches!(flags, 0 | 128) {
            let finding = about(Finding::error("DNS/CAA_FLAGS"), zone, entry.set);
            findings.push(finding.with("flags", flags));
        }
        if !tag.bytes().all(|octet| octet.is_ascii_alphanumeric()) {
            let finding = about(Finding::error("DNS/CAA_TAG"), zone, entry.set);
            findings.push(finding.with("tag", tag));
        }
        let is_wrong = match tag.as_str() {
            "issue" | "issuewild" => !is_issuer(&value),
            "iodef" => {
                !["mailto:", "http://", "https://"].iter().any(|scheme| value.starts_with(scheme))
            }
            _ => false,
        };
        if is_wrong {
            let finding = about(Finding::error("DNS/CAA_VALUE"), zone, entry.set);
            findings.push(finding.with("tag", tag).with("value", value));
        }
    }
}

/// `[domain] [; name=value]…`: RFC 8659 section 4.2.
fn is_issuer(value: &str) -> bool {
    let (domain, parameters) = value.split_once(';').unwrap_or((value, ""));
    let domain = domain.trim();
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_parameter = |parameter: &str| {
        parameter.trim().split_once('=').is_some_and(|(name, value)| {
            is_label(name.trim()) && value.trim().bytes().all(|octet| octet.is_ascii_graphic())
        })
    };
    (domain.is_empty() || domain.split('.').all(is_label))
        && (parameters.trim().is_empty() || parameters.split(';').all(is_parameter))
}
