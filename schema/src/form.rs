//! The forms of texts that a schema names by `format` or `pattern`: what each accepts, and the code of its finding.

use crate::{approval, policy, scalar};

/// Whether a form accepts a text.
type Accepts = fn(&str) -> bool;

/// The formats of the schemas beyond those of JSON Schema, with what accepts them.
pub(crate) const FORMATS: &[(&str, Accepts)] = &[
    ("semver", is_version),
    ("semver-requirement", is_version_requirement),
    ("date-time", is_instant),
    ("date", is_date),
    ("timezone", is_timezone),
    ("domain", is_domain),
    ("record-name", is_record_name),
    ("ip", is_address),
    ("email", is_email),
    ("ssh-public-key", is_public_key),
    ("image", is_image),
    ("registry", is_registry),
];

/// The code of the finding for a text that a format does not accept.
pub(crate) fn code_of_format(format: &str) -> &'static str {
    match format {
        "semver" => "DOCUMENT/BAD_VERSION",
        "semver-requirement" => "DOCUMENT/BAD_VERSION_REQUIREMENT",
        "date-time" => "DOCUMENT/BAD_INSTANT",
        "date" => "DOCUMENT/BAD_DATE",
        "timezone" => "DOCUMENT/BAD_TIMEZONE",
        "domain" => "DOCUMENT/BAD_DOMAIN",
        "record-name" => "DOCUMENT/BAD_RECORD_NAME",
        "ip" => "DOCUMENT/BAD_ADDRESS",
        "email" => "DOCUMENT/BAD_EMAIL",
        "ssh-public-key" => "DOCUMENT/BAD_PUBLIC_KEY",
        "image" => "DOCUMENT/BAD_IMAGE",
        "registry" => "DOCUMENT/BAD_REGISTRY",
        "regex" => "DOCUMENT/BAD_REGEX",
        _ => "DOCUMENT/INVALID",
    }
}

/// The code of the finding for a text that a pattern does not match.
pub(crate) fn code_of_pattern(pattern: &str) -> &'static str {
    match pattern {
        scalar::NAME_PATTERN => "DOCUMENT/BAD_NAME",
        scalar::SUBDOMAIN_PATTERN => "DOCUMENT/BAD_DOTTED_NAME",
        scalar::DURATION_PATTERN => "DOCUMENT/BAD_DURATION",
        scalar::QUANTITY_PATTERN => "DOCUMENT/BAD_QUANTITY",
        policy::TIME_RANGE_PATTERN => "DOCUMENT/BAD_TIME_RANGE",
        approval::PLAN_PATTERN => "DOCUMENT/BAD_DIGEST",
        "^/" | "^/[^\\s]+$" => "DOCUMENT/NOT_ABSOLUTE",
        _ => "DOCUMENT/BAD_PATTERN",
    }
}

fn is_version(text: &str) -> bool {
    semver::Version::parse(text).is_ok()
}

fn is_version_requirement(text: &str) -> bool {
    semver::VersionReq::parse(text).is_ok()
}

fn is_instant(text: &str) -> bool {
    text.parse::<jiff::Timestamp>().is_ok()
}

fn is_date(text: &str) -> bool {
    // `Date` also reads the date out of a whole instant.
    text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok()
}

fn is_timezone(text: &str) -> bool {
    policy::timezone(text).is_some()
}

fn is_address(text: &str) -> bool {
    text.parse::<std::net::IpAddr>().is_ok()
}

/// A label of a domain (RFC 2181 11 allows more; we keep to what hosts and services use, with `_`).
fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn is_domain(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    name.len() <= 253 && name.split('.').all(is_label)
}

fn is_record_name(text: &str) -> bool {
    match text {
        "@" | "*" => true,
        _ => is_domain(text.strip_prefix("*.").unwrap_or(text)),
    }
}

fn is_email(text: &str) -> bool {
    let is_local = |local: &str| {
        !local.is_empty() && !local.contains(|c: char| c.is_whitespace() || c.is_control())
    };
    text.rsplit_once('@').is_some_and(|(local, domain)| is_local(local) && is_domain(domain))
}

/// A line of an OpenSSH public key: type, base64, comment. Whether the key itself is sound is seen where it is used.
fn is_public_key(text: &str) -> bool {
    const TYPES: [&str; 7] = [
        "ssh-ed25519",
        "ssh-rsa",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    ];
    let mut words = text.split_ascii_whitespace();
    let (Some(kind), Some(key)) = (words.next(), words.next()) else { return false };
    TYPES.contains(&kind)
        && key.starts_with("AAAA")
        && key.len() > 32
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='))
}

/// `[host[:port]/]path[:tag][@sha256:…]` (distribution's reference grammar). A template is judged when it is rendered.
fn is_image(text: &str) -> bool {
    if text.contains("{{") {
        return true;
    }
    let (name, digest) =
        text.split_once('@').map_or((text, None), |(name, digest)| (name, Some(digest)));
    let is_digest = digest.is_none_or(|digest| {
        digest.strip_prefix("sha256:").is_some_and(|digits| {
            digits.len() == 64 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        })
    });
    let (path, tag) = match name.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (name, None),
    };
    let is_tag = tag.is_none_or(|tag| {
        (1..=128).contains(&tag.len())
            && tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
            && !tag.starts_with(['.', '-'])
    });
    let (host, path) = match path.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => {
            (Some(host), path)
        }
        _ => (None, path),
    };
    is_digest && is_tag && host.is_none_or(is_host) && is_repository(path)
}

fn is_repository(path: &str) -> bool {
    path.split('/').all(|part| {
        !part.is_empty()
            && part.bytes().all(|b| {
                b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.' | b'-')
            })
            && part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.ends_with(|c: char| c.is_ascii_alphanumeric())
    })
}

/// `host[:port]`.
fn is_host(text: &str) -> bool {
    let (host, port) =
        text.rsplit_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    is_domain(host) && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// `host[:port][/path]`.
fn is_registry(text: &str) -> bool {
    match text.split_once('/') {
        None => is_host(text),
        Some((host, path)) => is_host(host) && is_repository(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(format: &str, good: &[&str], bad: &[&str]) {
        let (_, accepts) = FORMATS.iter().find(|(name, _)| *name == format).unwrap();
        for text in good {
            assert!(accepts(text), "{format} refuses {text}");
        }
        for text in bad {
            assert!(!accepts(text), "{format} accepts {text}");
        }
    }

    #[test]
    fn forms_accept_and_refuse() {
        check("semver", &["2.43.1", "1.0.0-rc.1"], &["2.43", "v1.0.0", "01.0.0", ""]);
        check("semver-requirement", &[">=8.0, <9", "*", "^1"], &["eight", ">=x"]);
        check("date-time", &["2026-12-31T00:00:00Z", "2026-12-31T08:00:00+08:00"], &["2026-12-31"]);
        check("date", &["2026-09-30"], &["2026-9-30", "2026-02-30", "2026-12-31T00:00:00Z"]);
        check("timezone", &["Asia/Shanghai", "UTC"], &["Mars/Olympus", "+08:00", ""]);
        check(
            "domain",
            &["hz.bank.internal", "ns1.hz.bank.internal.", "_tcp.a"],
            &["a..b", "-a", ""],
        );
        check("record-name", &["@", "*", "*.apps", "www", "_sip._tcp"], &["w w", "a.*", ""]);
        check("ip", &["10.0.0.53", "fd00::1"], &["10.0.0", "ns1"]);
        check("email", &["li.na@bank.example"], &["li.na", "@bank", "a b@c"]);
        check(
            "ssh-public-key",
            &["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIw2Wq1x8 li-na"],
            &[
                "AAAAC3NzaC1lZDI1NTE5AAAAIIw2Wq1x8",
                "ssh-ed25519 AAAA",
                "ssh-dss AAAAB3NzaC1kc3MAAACBAPxx00000000000",
            ],
        );
        check(
            "image",
            &["iam/iamcore:2.43.1", "registry.hz:5000/a/b", "nginx", "{{ image }}", "a.b/c:1"],
            &["IAM/core:1", "a//b", "a:b:c", "a@sha256:12", "a:", ""],
        );
        check(
            "registry",
            &["registry.hz.bank.internal", "localhost:5000/base"],
            &["https://x", "a b"],
        );
    }
}
