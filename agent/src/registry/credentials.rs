//! Credentials for registries, from a `config.json` as Docker, podman and Kubernetes (`.dockerconfigjson`) write it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use serde::Deserialize;

use crate::secret::Secret;

/// Why there are none. The texts of the file are never part of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("failed to read the credentials of {path}")]
    Unreadable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("failed to read {path} as Docker's config.json: line {line}, column {column}")]
    Unusable { path: PathBuf, line: usize, column: usize },
}

/// A user with a password.
#[derive(Clone, Debug)]
pub(super) struct Login {
    user: String,
    password: Secret,
}

impl Login {
    /// As `Authorization: Basic` (RFC 7617).
    pub(super) fn header(&self) -> Option<HeaderValue> {
        let pair = STANDARD.encode(format!("{}:{}", self.user, self.password.expose()));
        let mut value = HeaderValue::from_str(&format!("Basic {pair}")).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// All credentials, by registry.
#[derive(Clone, Debug, Default)]
pub(super) struct Credentials {
    by_host: BTreeMap<String, Login>,
    /// Whether others are kept by programs that this agent does not run.
    has_helpers: bool,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct File {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

impl Entry {
    fn login(self) -> Option<Login> {
        let pair = self.auth.filter(|auth| !auth.is_empty()).and_then(|auth| {
            let pair = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
            let (user, password) = pair.split_once(':')?;
            Some((user.to_owned(), password.to_owned()))
        });
        let (user, password) = pair.or_else(|| Some((self.username?, self.password?)))?;
        Some(Login { user, password: Secret::new(&password)? })
    }
}

impl Credentials {
    pub(super) async fn read(path: Option<&Path>) -> Result<Self, Error> {
        let Some(path) = path else { return Ok(Self::default()) };
        let text = tokio::fs::read(path).await;
        let text = text.map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|error| Error::Unusable {
            path: path.to_owned(),
            line: error.line(),
            column: error.column(),
        })
    }

    fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        let file: File = serde_json::from_slice(text)?;
        let logins = file.auths.into_iter();
        Ok(Self {
            by_host: logins.filter_map(|(key, it)| Some((host(&key), it.login()?))).collect(),
            has_helpers: file.creds_store.is_some() || !file.cred_helpers.is_empty(),
        })
    }

    pub(super) fn of(&self, host: &str) -> Option<&Login> {
        self.by_host.get(host)
    }

    /// That there is nothing to show to a registry that wants to see something.
    pub(super) fn lacking(&self, host: &str) -> String {
        if self.has_helpers {
            format!(
                "it wants credentials, and those of {host} are with a credential helper, which is not run"
            )
        } else {
            format!("it wants credentials, and there are none for {host}")
        }
    }

    /// That a registry does not let the agent look.
    pub(super) fn refused(&self, host: &str) -> String {
        match self.by_host.get(host) {
            Some(_) => format!("it does not accept the credentials for {host}"),
            None => self.lacking(host),
        }
    }
}

/// Keys are hosts, or addresses from older versions: `https://index.docker.io/v1/`.
fn host(key: &str) -> String {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    match bare.split('/').next().unwrap_or_default() {
        "index.docker.io" => "docker.io".to_owned(),
        host => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(credentials: &Credentials, host: &str) -> Option<String> {
        let value = credentials.of(host)?.header()?;
        let encoded = value.to_str().unwrap().strip_prefix("Basic ")?.to_owned();
        String::from_utf8(STANDARD.decode(encoded).unwrap()).ok()
    }

    #[test]
    fn each_registry_gets_its_own() {
        let pair = STANDARD.encode("li:secret:with:colons");
        let text = format!(
            r#"{{"auths": {{"r.bank:5000": {{"auth": "{pair}"}}, "https://index.docker.io/v1/": {{"username": "wu", "password": "p"}},
                "empty.bank": {{}}, "broken.bank": {{"auth": "?"}}}}, "HttpHeaders": {{}}}}"#
        );
        let read = Credentials::parse(text.as_bytes()).unwrap();
        assert_eq!(shown(&read, "r.bank:5000").as_deref(), Some("li:secret:with:colons"));
        assert_eq!(shown(&read, "docker.io").as_deref(), Some("wu:p"));
        for host in ["r.bank", "empty.bank", "broken.bank"] {
            assert_eq!(shown(&read, host), None, "{host}");
        }
        assert!(!format!("{read:?}").contains("secret"));
    }

    #[test]
    fn a_helper_is_named_and_not_run() {
        let read = Credentials::parse(br#"{"credsStore": "pass"}"#).unwrap();
        assert!(read.lacking("r.bank").contains("credential helper"));
    }

    #[tokio::test]
    async fn a_broken_file_is_not_quoted() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), r#"{"auths": "hunter2"}"#).unwrap();
        let error = Credentials::read(Some(file.path())).await.unwrap_err();
        assert!(!crate::cause::chain(&error).contains("hunter2"), "{error}");
    }
}
