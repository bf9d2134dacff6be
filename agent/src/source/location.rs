//! Where a repository is: an address without its secrets, so that it may be shown.

use std::{fmt, path::PathBuf};

use crate::secret::Secret;

/// The address of a repository. What stood before `@` is kept apart, so its text never holds a
/// password or a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// What libgit2 is given, and what people are shown.
    address: String,
    /// How it is reached.
    pub(super) reach: Reach,
    /// The user of the address, such as `git`; a secret, because some forges take a token as the user.
    pub(super) user: Option<Secret>,
    /// The password of the address.
    pub(super) password: Option<Secret>,
}

/// How a repository is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reach {
    /// A folder of this machine.
    Local(PathBuf),
    /// HTTP, mostly with TLS.
    Http {
        /// Whether the token would be sent in the clear.
        tls: bool,
        /// The host, to decide whether it is this machine.
        host: String,
    },
    /// SSH.
    Ssh {
        /// The host, for `known_hosts`.
        host: String,
        /// The port, for `known_hosts`.
        port: u16,
    },
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Nothing was given.
    #[error("the address of the repository is empty")]
    Empty,
    /// A scheme that we do not speak.
    #[error("the scheme {0} is not supported")]
    Scheme(String),
    /// No host after the scheme.
    #[error("the address has no host")]
    Host,
    /// The port is no number.
    #[error("the address has no usable port")]
    Port,
}

impl Location {
    /// Reads `file://`, a plain path, `https://`, `http://`, `ssh://` or the short form
    /// `user@host:path` (git-fetch(1), "GIT URLS"). A path that is not absolute counts from the
    /// working folder.
    pub fn parse(text: &str) -> Result<Self, Unusable> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Unusable::Empty);
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            return match scheme {
                "file" => Ok(Self::local(rest.strip_prefix("localhost").unwrap_or(rest))),
                "https" | "http" => Self::http(scheme, rest),
                "ssh" | "git+ssh" | "ssh+git" => Self::ssh(rest),
                _ => Err(Unusable::Scheme(scheme.to_owned())),
            };
        }
        // The short form has a colon before any slash; a path that needs one is written `./a:b`.
        match text.split_once(':') {
            Some((host, path)) if !host.contains('/') && !host.is_empty() => {
                Self::short(host, path)
            }
            _ => Ok(Self::local(text)),
        }
    }

    /// A folder of this machine.
    fn local(path: &str) -> Self {
        let path = std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
        Self {
            address: path.to_string_lossy().into_owned(),
            reach: Reach::Local(path),
            user: None,
            password: None,
        }
    }

    fn http(scheme: &str, rest: &str) -> Result<Self, Unusable> {
        let (user, password, rest) = userinfo(rest);
        // A query may carry a token (`?private_token=`): git has no use for one.
        let rest = rest.split(['?', '#']).next().unwrap_or(rest);
        let authority = rest.split('/').next().unwrap_or(rest);
        let (host, _) = host_and_port(authority, 0)?;
        Ok(Self {
            address: format!("{scheme}://{rest}"),
            reach: Reach::Http { tls: scheme == "https", host },
            user,
            password,
        })
    }

    fn ssh(rest: &str) -> Result<Self, Unusable> {
        let (user, password, rest) = userinfo(rest);
        let authority = rest.split('/').next().unwrap_or(rest);
        let (host, port) = host_and_port(authority, 22)?;
        let address = format!("ssh://{rest}");
        Ok(Self { address, reach: Reach::Ssh { host, port }, user, password })
    }

    fn short(host: &str, path: &str) -> Result<Self, Unusable> {
        let (user, password, host) = userinfo(host);
        if host.is_empty() {
            return Err(Unusable::Host);
        }
        let address = format!("{host}:{path}");
        Ok(Self { address, reach: Reach::Ssh { host: host.to_owned(), port: 22 }, user, password })
    }

    /// The address for libgit2. The user is put back for SSH, where libgit2 reads it; a password never is.
    pub(super) fn for_git(&self) -> String {
        match (&self.reach, &self.user) {
            (Reach::Ssh { .. }, Some(user)) => match self.address.strip_prefix("ssh://") {
                Some(rest) => format!("ssh://{}@{rest}", user.expose()),
                None => format!("{}@{}", user.expose(), self.address),
            },
            _ => self.address.clone(),
        }
    }

    /// The folder, when the repository is on this machine.
    pub fn local_path(&self) -> Option<&std::path::Path> {
        match &self.reach {
            Reach::Local(path) => Some(path),
            Reach::Http { .. } | Reach::Ssh { .. } => None,
        }
    }
}

/// Without user, password, query and fragment.
impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.address)
    }
}

/// Splits `user:password@` off.
fn userinfo(rest: &str) -> (Option<Secret>, Option<Secret>, &str) {
    let authority = rest.split('/').next().unwrap_or(rest);
    let Some((before, _)) = authority.rsplit_once('@') else { return (None, None, rest) };
    let after = rest.get(before.len() + 1..).unwrap_or_default();
    let (user, password) = match before.split_once(':') {
        Some((user, password)) => (user, Secret::new(&percent_decoded(password))),
        None => (before, None),
    };
    (Secret::new(&percent_decoded(user)), password, after)
}

/// Undoes `%40` and the like (RFC 3986, 2.1); what is no escape stays as it is.
fn percent_decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let escaped = (*first == b'%')
            .then(|| tail.get(..2).and_then(|pair| std::str::from_utf8(pair).ok()))
            .flatten()
            .and_then(|pair| u8::from_str_radix(pair, 16).ok());
        if let Some(byte) = escaped {
            out.push(byte);
            rest = tail.get(2..).unwrap_or_default();
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn host_and_port(authority: &str, default: u16) -> Result<(String, u16), Unusable> {
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, after)) => (host, after.strip_prefix(':')),
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if host.is_empty() {
        return Err(Unusable::Host);
    }
    let port = match port {
        None | Some("") => default,
        Some(port) => port.parse().map_err(|_| Unusable::Port)?,
    };
    Ok((host.to_ascii_lowercase(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        for (given, shown) in [
            (
                "https://oauth2:s3cr3t@git.bank.example/site.git",
                "https://git.bank.example/site.git",
            ),
            (
                "https://s3cr3t@git.bank.example:8443/site.git",
                "https://git.bank.example:8443/site.git",
            ),
            (
                "https://git.bank.example/site.git?private_token=s3cr3t",
                "https://git.bank.example/site.git",
            ),
            ("https://a:s3cr3t@b@git.bank.example/x", "https://git.bank.example/x"),
            (
                "ssh://git:s3cr3t@git.bank.example:2222/site.git",
                "ssh://git.bank.example:2222/site.git",
            ),
            ("git@git.bank.example:bank/site.git", "git.bank.example:bank/site.git"),
        ] {
            let location = Location::parse(given).unwrap();
            assert_eq!(location.to_string(), shown);
            let seen = format!("{location} {location:?} {}", location.for_git());
            assert!(!seen.contains("s3cr3t"), "{seen}");
        }
    }

    #[test]
    fn user_and_password_are_kept_and_decoded() {
        let location = Location::parse("https://deploy%2Bbot:p%40ss@h/x").unwrap();
        assert_eq!(location.user.as_ref().map(Secret::expose), Some("deploy+bot"));
        assert_eq!(location.password.as_ref().map(Secret::expose), Some("p@ss"));
    }

    #[test]
    fn the_short_form_is_ssh_and_keeps_its_user() {
        let location = Location::parse("git@git.bank.example:bank/site.git").unwrap();
        assert_eq!(location.reach, Reach::Ssh { host: "git.bank.example".to_owned(), port: 22 });
        assert_eq!(location.for_git(), "git@git.bank.example:bank/site.git");
        let long = Location::parse("ssh://git@[2001:db8::1]:2222/site.git").unwrap();
        assert_eq!(long.reach, Reach::Ssh { host: "2001:db8::1".to_owned(), port: 2222 });
        assert_eq!(long.for_git(), "ssh://git@[2001:db8::1]:2222/site.git");
    }

    #[test]
    fn paths_become_absolute() {
        let given = Location::parse("file:///srv/site.git").unwrap();
        assert_eq!(given.local_path(), Some(std::path::Path::new("/srv/site.git")));
        let relative = Location::parse("./a:b").unwrap();
        assert!(relative.local_path().unwrap().is_absolute());
    }

    #[test]
    fn what_is_no_address_is_refused() {
        assert_eq!(Location::parse(" "), Err(Unusable::Empty));
        assert_eq!(Location::parse("git://h/x"), Err(Unusable::Scheme("git".to_owned())));
        assert_eq!(Location::parse("https:///x"), Err(Unusable::Host));
        assert_eq!(Location::parse("ssh://h:port/x"), Err(Unusable::Port));
    }
}
