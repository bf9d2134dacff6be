//! Whether an SSH server is the one that a `known_hosts` file names (`sshd(8)`, "`SSH_KNOWN_HOSTS` FILE FORMAT").

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, Mac as _};
use sha1::Sha1;

/// What a file says of a host's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// The host has this key.
    Same,
    /// The host has keys, but not this one: the server was set up anew, or it is another server.
    Other,
    /// The key was taken back (`@revoked`).
    Revoked,
    /// The file does not name the host.
    Unknown,
}

/// Looks a host up. Certificate authorities (`@cert-authority`) are not supported: libgit2 does not
/// ask for host certificates.
pub(super) fn look_up(file: &str, host: &str, port: u16, key: &[u8]) -> Known {
    let name = if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") };
    let mut found = Known::Unknown;
    for line in file.lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut fields = line.split_ascii_whitespace().peekable();
        let marker = fields.next_if(|field| field.starts_with('@'));
        let (Some(patterns), Some(_), Some(encoded)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        if !names(patterns, &name) {
            continue;
        }
        let is_same = BASE64_STANDARD.decode(encoded).is_ok_and(|known| known == key);
        match (marker, is_same) {
            (Some("@revoked"), true) => return Known::Revoked,
            (None, true) => found = Known::Same,
            (None, false) if found == Known::Unknown => found = Known::Other,
            (Some(_), _) | (None, false) => {}
        }
    }
    found
}

/// Whether a list of patterns names a host; a pattern with `!` takes it out again.
fn names(patterns: &str, name: &str) -> bool {
    if let Some(hashed) = patterns.strip_prefix("|1|") {
        return is_hash_of(hashed, name);
    }
    let mut is_named = false;
    for pattern in patterns.split(',') {
        match pattern.strip_prefix('!') {
            Some(pattern) if glob(pattern.as_bytes(), name.as_bytes()) => return false,
            Some(_) => {}
            None => is_named |= glob(pattern.as_bytes(), name.as_bytes()),
        }
    }
    is_named
}

/// `salt|hash`, both in base64, the hash by HMAC-SHA-1 (`HashKnownHosts` of `ssh_config(5)`).
fn is_hash_of(hashed: &str, name: &str) -> bool {
    let Some((salt, hash)) = hashed.split_once('|') else { return false };
    let (Ok(salt), Ok(hash)) = (BASE64_STANDARD.decode(salt), BASE64_STANDARD.decode(hash)) else {
        return false;
    };
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(&salt) else { return false };
    mac.update(name.as_bytes());
    mac.verify_slice(&hash).is_ok()
}

/// `*` and `?`, without regard to case.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) if glob(rest, name) => true,
        (Some((b'*', _)), Some((_, after))) => glob(pattern, after),
        (Some((letter, rest)), Some((other, after))) => {
            (*letter == b'?' || letter.eq_ignore_ascii_case(other)) && glob(rest, after)
        }
        (Some(_), None) | (None, Some(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIB5bq0C1Pz9Yc0xg1gA2tTtU0hnm3aKzq3qHcJm3Q1mP";

    fn known(file: &str, host: &str, port: u16) -> Known {
        look_up(file, host, port, &BASE64_STANDARD.decode(KEY).unwrap())
    }

    #[test]
    fn a_host_is_known_by_name_port_and_pattern() {
        let file = format!(
            "# ours\ngit.bank.example,10.0.0.7 ssh-ed25519 {KEY} comment\n[forge]:2222 ssh-ed25519 {KEY}\n*.lab,!evil.lab ssh-ed25519 {KEY}\n"
        );
        assert_eq!(known(&file, "GIT.bank.example", 22), Known::Same);
        assert_eq!(known(&file, "10.0.0.7", 22), Known::Same);
        assert_eq!(known(&file, "forge", 2222), Known::Same);
        assert_eq!(known(&file, "forge", 22), Known::Unknown);
        assert_eq!(known(&file, "a.lab", 22), Known::Same);
        assert_eq!(known(&file, "evil.lab", 22), Known::Unknown);
    }

    #[test]
    fn another_key_is_told_from_an_unknown_host() {
        let file = format!("a ssh-ed25519 {}\nb ssh-ed25519 {KEY}\n", KEY.replace('5', "6"));
        assert_eq!(known(&file, "a", 22), Known::Other);
        assert_eq!(known(&file, "c", 22), Known::Unknown);
    }

    #[test]
    fn a_revoked_key_is_refused_even_when_it_is_listed_too() {
        let file = format!("a ssh-ed25519 {KEY}\n@revoked * ssh-ed25519 {KEY}\n");
        assert_eq!(known(&file, "a", 22), Known::Revoked);
        let authority = format!("@cert-authority * ssh-ed25519 {KEY}\n");
        assert_eq!(known(&authority, "a", 22), Known::Unknown);
    }

    /// The line is one that `ssh-keygen -H` of OpenSSH made from `git.bank.example`.
    #[test]
    fn a_hashed_name_is_found() {
        let key = "AAAAC3NzaC1lZDI1NTE5AAAAIGemDC80v+drj4RqSIihwO8+dMmxkoxBVElvYKFViQVO";
        let file = format!(
            "|1|Hjg/Fz49rokmAmGB41ycriRNEQU=|UWV/ruUOWD4ZtX3ZipiJbGdKO0c= ssh-ed25519 {key}\n"
        );
        let key = BASE64_STANDARD.decode(key).unwrap();
        assert_eq!(look_up(&file, "git.bank.example", 22, &key), Known::Same);
        assert_eq!(look_up(&file, "git.bank.example", 2222, &key), Known::Unknown);
        assert_eq!(look_up(&file, "bank.example", 22, &key), Known::Unknown);
    }
}
