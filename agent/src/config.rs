//! What the agent was told, by flags, variables and a file, in this order; resolved once.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use tidegate_schema::finding::{Finding, Lang, Place};

use tidegate_core::{image::Image, pin::Lookup};

use crate::{registry, secret::Secret, telemetry::LogFormat};

mod arguments;
mod setting;

pub use arguments::AgentArgs;

use setting::{SETTINGS, Setting};

/// Everything that the agent was told.
#[derive(Debug, Clone)]
pub struct Config {
    /// The address of the repository as it was given; it may hold a password, so never show it.
    pub repo: Secret,
    /// The branch that the site follows.
    pub branch: String,
    /// The site's folder inside the repository.
    pub path: String,
    /// The folder of the journal and of the copy of the repository.
    pub data: PathBuf,
    /// The agent's name.
    pub name: String,
    /// How often the repository is asked.
    pub poll_interval: Duration,
    /// Where status, API and hooks are served.
    pub listen: SocketAddr,
    /// What requests must carry.
    pub token: Option<Secret>,
    /// What forges share with us.
    pub hook_secret: Option<Secret>,
    /// Where zones are served.
    pub dns_listen: Vec<SocketAddr>,
    /// For `https://` repositories.
    pub git_token: Option<Secret>,
    /// Goes with the token.
    pub git_user: Option<String>,
    /// For `ssh://` repositories.
    pub ssh_key: Option<PathBuf>,
    /// Of the key.
    pub ssh_passphrase: Option<Secret>,
    /// Signs the commits that the agent pushes.
    pub signing_key: Option<PathBuf>,
    /// Keys of SSH servers.
    pub known_hosts: Option<PathBuf>,
    /// Kubeconfigs by the name of the cluster.
    pub kubeconfig: BTreeMap<String, PathBuf>,
    /// Whether images are looked up in registries.
    pub image_lookup: Lookup,
    /// How often registries are asked again.
    pub image_lookup_interval: Duration,
    /// How registries are reached.
    pub registries: registry::Options,
    /// How long the events of finished releases are kept.
    pub retention: Duration,
    /// The language of texts for people.
    pub lang: Lang,
    /// How to log.
    pub log_format: LogFormat,
    /// What to log.
    pub log_level: String,
}

impl Config {
    /// Resolves flags over variables over the file over defaults. `environment` is
    /// `std::env::var` outside of tests. There is a configuration only when no finding is an error.
    pub fn load(
        given: &AgentArgs,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> (Option<Self>, Vec<Finding>) {
        let file = given.config().or_else(|| environment("TIDEGATE_CONFIG").map(PathBuf::from));
        let mut values = Values { given, environment, file: BTreeMap::new(), findings: Vec::new() };
        if let Some(path) = file {
            values.read_file(&path);
        }
        let config = values.config();
        let mut findings = values.findings;
        findings.sort();
        let is_good = !findings.iter().any(Finding::is_error);
        (config.filter(|_| is_good), findings)
    }
}

/// Where values come from, and what was wrong with them.
struct Values<'sources> {
    given: &'sources AgentArgs,
    environment: &'sources dyn Fn(&str) -> Option<String>,
    file: BTreeMap<String, Vec<String>>,
    findings: Vec<Finding>,
}

impl Values<'_> {
    /// Every field, with all that is wrong and not only the first; `None` when a required one is
    /// missing or wrong.
    fn config(&mut self) -> Option<Config> {
        let repo = self.required("repo");
        let data = self.required("data");
        let poll_interval = self.parsed("pollInterval", duration);
        let retention = self.parsed("retention", duration);
        let listen = self.parsed("listen", |text| text.parse::<SocketAddr>().ok());
        let log_format = self.parsed("logFormat", |text| text.parse().ok());
        let lang = self.parsed("lang", |text| text.parse().ok());
        self.parsed("tls", |text| (text == "none").then_some(()));
        let dns_listen = self.list("dnsListen", |text| text.parse::<SocketAddr>().ok());
        let kubeconfig = self.list("kubeconfig", |text| {
            let (name, path) = text.split_once('=')?;
            (!name.is_empty() && !path.is_empty()).then(|| (name.to_owned(), PathBuf::from(path)))
        });
        let image_lookup = self.parsed("imageLookup", lookup);
        let image_lookup_interval = self.parsed("imageLookupInterval", duration);
        let registries = registry::Options {
            auth: self.text("registryAuth").map(PathBuf::from),
            authorities: self.text("registryCa").map(PathBuf::from),
            insecure: self.list("registryInsecure", host).into_iter().collect(),
        };
        if let Some(auth) = &registries.auth {
            self.warn_when_open(auth);
        }
        let token = self.secret("token", Some("tokenFile"));
        let hook_secret = self.secret("hookSecret", Some("hookSecretFile"));
        let git_token = self.secret("gitToken", Some("gitTokenFile"));
        let ssh_passphrase = self.secret("sshPassphrase", None);
        if let Some(listen) = listen
            && !listen.ip().is_loopback()
            && token.is_none()
        {
            self.findings.push(Finding::error("CONFIG/TOKEN_REQUIRED").with("listen", listen));
        }
        Some(Config {
            repo: Secret::new(&repo?)?,
            branch: self.text("branch").unwrap_or_default(),
            path: self.text("path").unwrap_or_default(),
            data: PathBuf::from(data?),
            name: self.text("name").unwrap_or_default(),
            poll_interval: poll_interval?,
            listen: listen?,
            token,
            hook_secret,
            dns_listen,
            git_token,
            git_user: self.text("gitUser"),
            ssh_key: self.text("sshKey").map(PathBuf::from),
            ssh_passphrase,
            signing_key: self.text("signingKey").map(PathBuf::from),
            known_hosts: self.text("knownHosts").map(PathBuf::from),
            kubeconfig: kubeconfig.into_iter().collect(),
            image_lookup: image_lookup?,
            image_lookup_interval: image_lookup_interval?,
            registries,
            retention: retention?,
            lang: lang.unwrap_or_else(|| self.locale()),
            log_format: log_format?,
            log_level: self.text("logLevel").unwrap_or_default(),
        })
    }

    /// The strongest source that says anything, with its name for findings.
    fn find(&self, setting: &Setting) -> Option<(Vec<String>, String)> {
        if let Some(values) = self.given.values(setting.key) {
            return Some((values.to_vec(), format!("--{}", setting.flag())));
        }
        if let Some(value) = (self.environment)(&setting.variable()).filter(|it| !it.is_empty()) {
            let values = if setting.takes.is_list() {
                value.split(',').map(|part| part.trim().to_owned()).collect()
            } else {
                vec![value]
            };
            return Some((values, setting.variable()));
        }
        if let Some(values) = self.file.get(setting.key) {
            return Some((values.clone(), setting.key.to_owned()));
        }
        setting.default.map(|value| (vec![value.to_owned()], "default".to_owned()))
    }

    fn text(&self, key: &str) -> Option<String> {
        self.find(setting::find(key)?)?.0.pop()
    }

    fn required(&mut self, key: &'static str) -> Option<String> {
        let found = self.text(key).filter(|text| !text.is_empty());
        if let (None, Some(setting)) = (&found, setting::find(key)) {
            self.findings.push(
                Finding::error("CONFIG/MISSING")
                    .with("setting", key)
                    .with("flag", format!("--{}", setting.flag()))
                    .with("variable", setting.variable()),
            );
        }
        found
    }

    fn parsed<T>(&mut self, key: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.list(key, parse).pop()
    }

    fn list<T>(&mut self, key: &str, parse: impl Fn(&str) -> Option<T>) -> Vec<T> {
        let Some(setting) = setting::find(key) else { return Vec::new() };
        let Some((texts, origin)) = self.find(setting) else { return Vec::new() };
        let mut parsed = Vec::new();
        for text in texts {
            match parse(&text) {
                Some(value) => parsed.push(value),
                None => self.findings.push(
                    Finding::error("CONFIG/INVALID_VALUE")
                        .with("setting", &origin)
                        .with("value", &text)
                        .with("expected", setting.takes.expected()),
                ),
            }
        }
        parsed
    }

    /// A secret from its variable, or from the file that another setting names.
    fn secret(&mut self, key: &str, file: Option<&str>) -> Option<Secret> {
        if let Some(secret) = self.text(key).as_deref().and_then(Secret::new) {
            return Some(secret);
        }
        let path = PathBuf::from(self.text(file?)?);
        let finding = |code, reason: &str| {
            Finding::error(code)
                .with("setting", file.unwrap_or_default())
                .with("path", path.display())
                .with("reason", reason)
        };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => {
                self.findings.push(finding("CONFIG/SECRET_UNREADABLE", &error.to_string()));
                return None;
            }
        };
        self.warn_when_open(&path);
        let secret = Secret::new(&text);
        if secret.is_none() {
            self.findings.push(finding("CONFIG/SECRET_UNREADABLE", "the file is empty"));
        }
        secret
    }

    /// Others on this machine should not be able to read a file with secrets.
    fn warn_when_open(&mut self, path: &Path) {
        let others = fs::metadata(path).map_or(0, |found| found.permissions().mode() & 0o007);
        if others != 0 {
            self.findings
                .push(Finding::warning("CONFIG/SECRET_OPEN_TO_ALL").with("path", path.display()));
        }
    }

    /// `LC_ALL`, `LC_MESSAGES`, `LANG` (locale(7)).
    fn locale(&self) -> Lang {
        ["LC_ALL", "LC_MESSAGES", "LANG"]
            .into_iter()
            .find_map(|name| (self.environment)(name).filter(|value| !value.is_empty()))
            .map_or(Lang::En, |locale| Lang::from_locale(&locale))
    }

    fn read_file(&mut self, path: &Path) {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                self.findings.push(
                    Finding::error("CONFIG/FILE_UNREADABLE")
                        .with("path", path.display())
                        .with("reason", error),
                );
                return;
            }
        };
        let place = Place::file(path.display().to_string());
        match serde_yaml::from_str::<Option<BTreeMap<String, serde_yaml::Value>>>(&text) {
            Ok(keys) => {
                for (key, value) in keys.unwrap_or_default() {
                    self.read_key(&place, key, &value);
                }
            }
            Err(error) => self
                .findings
                .push(Finding::error("CONFIG/FILE_INVALID").at(place).with("reason", error)),
        }
    }

    fn read_key(&mut self, place: &Place, key: String, value: &serde_yaml::Value) {
        let Some(setting) = setting::find(&key) else {
            self.findings.push(
                Finding::error("CONFIG/UNKNOWN_SETTING").at(place.clone()).with("setting", &key),
            );
            return;
        };
        if setting.is_secret() {
            self.findings.push(
                Finding::error("CONFIG/SECRET_IN_FILE")
                    .at(place.clone())
                    .with("setting", &key)
                    .with("variable", setting.variable()),
            );
            return;
        }
        let scalar = |value: &serde_yaml::Value| match value {
            serde_yaml::Value::String(text) => Some(text.clone()),
            serde_yaml::Value::Number(number) => Some(number.to_string()),
            serde_yaml::Value::Bool(flag) => Some(flag.to_string()),
            serde_yaml::Value::Null
            | serde_yaml::Value::Sequence(_)
            | serde_yaml::Value::Mapping(_)
            | serde_yaml::Value::Tagged(_) => None,
        };
        let values: Option<Vec<String>> =
            match value.as_sequence().filter(|_| setting.takes.is_list()) {
                Some(items) => items.iter().map(scalar).collect(),
                None => scalar(value).map(|text| vec![text]),
            };
        match values {
            Some(values) => {
                self.file.insert(key, values);
            }
            None => self.findings.push(
                Finding::error("CONFIG/INVALID_VALUE")
                    .at(place.clone())
                    .with("setting", &key)
                    .with("value", "…")
                    .with("expected", setting.takes.expected()),
            ),
        }
    }
}

/// What becomes of images, by its word.
pub(crate) fn lookup(text: &str) -> Option<Lookup> {
    match text {
        "off" => Some(Lookup::Off),
        "try" => Some(Lookup::Try),
        "require" => Some(Lookup::Require),
        _ => None,
    }
}

/// `host` or `host:port`, as image references name it.
fn host(text: &str) -> Option<String> {
    let reference = format!("{text}/x");
    let host = Image::parse(&reference).and_then(|image| image.host);
    host.filter(|host| *host == text).map(str::to_owned)
}

/// `30s`, `5m`, `12h`, `400d`; not zero.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    let number: u64 = number.parse().ok().filter(|number| *number > 0)?;
    number.checked_mul(seconds).map(Duration::from_secs)
}

/// The reference page, in Markdown: `docs/reference/configuration.md` is this text.
pub fn reference() -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         <!-- Made from the table in agent/src/config/setting.rs: edit that, then run the tests with \
         UPDATE_REFERENCE=1. -->\n\n\
         The agent takes each setting from the first of: a flag, a variable, the file that `--config` \
         or `TIDEGATE_CONFIG` names, the default. The file is YAML with the keys of the first column; \
         a key that is not listed here is an error. Lists are several flags, a YAML sequence, or one \
         variable with commas.\n\n\
         Secrets have neither flag nor key: flags are seen by every user of the machine, and files \
         of settings get copied. Use the variable, or the setting that names a file.\n\n\
         | Key | Flag | Variable | Takes | Default | Meaning |\n\
         | --- | --- | --- | --- | --- | --- |\n",
    );
    for setting in SETTINGS {
        let (key, flag) = if setting.is_secret() {
            ("–".to_owned(), "–".to_owned())
        } else {
            (format!("`{}`", setting.key), format!("`--{}`", setting.flag()))
        };
        let default = match setting.default {
            Some("") | None => "–".to_owned(),
            Some(default) => format!("`{default}`"),
        };
        let expected = setting.takes.expected().replace('|', "or");
        let line = writeln!(
            page,
            "| {key} | {flag} | `{}` | {expected} | {default} | {} |",
            setting.variable(),
            setting.meaning,
        );
        debug_assert!(line.is_ok(), "writing to a string does not fail");
    }
    page
}

/// Every variable that is read, for help and for tests.
pub fn variables() -> BTreeSet<String> {
    SETTINGS.iter().map(Setting::variable).chain(["TIDEGATE_CONFIG".to_owned()]).collect()
}

#[cfg(test)]
mod tests;
