//! Every setting of the agent, once: flags, variables, file keys and the reference page come from this table.

/// What a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// Any text.
    Text,
    /// A file or folder.
    Path,
    /// A number with `s`, `m`, `h` or `d`.
    Duration,
    /// `address:port`.
    Address,
    /// Several `address:port`.
    Addresses,
    /// Several `name=path`.
    Paths,
    /// Several `host` or `host:port`.
    Hosts,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A secret, which neither flags (others see them) nor the file (it gets copied) may hold.
    Secret,
}

impl Takes {
    /// For help and findings.
    pub(super) fn expected(self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Path => "a path".to_owned(),
            Self::Duration => "a duration such as 30s, 5m, 12h or 400d".to_owned(),
            Self::Address => "an address such as 127.0.0.1:7480".to_owned(),
            Self::Addresses => "addresses such as 127.0.0.1:53".to_owned(),
            Self::Paths => {
                "a cluster and a path, such as room-a=/etc/tidegate/room-a.yaml".to_owned()
            }
            Self::Hosts => "hosts such as registry.bank:5000".to_owned(),
            Self::Word(words) => words.join(" | "),
            Self::Secret => "a secret".to_owned(),
        }
    }

    /// Whether it may be given several times.
    pub(super) fn is_list(self) -> bool {
        matches!(self, Self::Addresses | Self::Paths | Self::Hosts)
    }
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting {
    /// The key in the file.
    pub(super) key: &'static str,
    /// What it takes.
    pub(super) takes: Takes,
    /// What counts when nobody says anything.
    pub(super) default: Option<&'static str>,
    /// What it means, in one or two sentences.
    pub(super) meaning: &'static str,
}

impl Setting {
    /// `pollInterval` → `poll-interval`.
    pub(super) fn flag(&self) -> String {
        self.words('-').to_ascii_lowercase()
    }

    /// `pollInterval` → `TIDEGATE_POLL_INTERVAL`.
    pub(super) fn variable(&self) -> String {
        format!("TIDEGATE_{}", self.words('_').to_ascii_uppercase())
    }

    /// Whether a flag and a key of the file may hold it.
    pub(super) fn is_secret(&self) -> bool {
        self.takes == Takes::Secret
    }

    fn words(&self, between: char) -> String {
        let mut out = String::new();
        for letter in self.key.chars() {
            if letter.is_ascii_uppercase() {
                out.push(between);
            }
            out.push(letter);
        }
        out
    }
}

const fn setting(
    key: &'static str,
    takes: Takes,
    default: Option<&'static str>,
    meaning: &'static str,
) -> Setting {
    Setting { key, takes, default, meaning }
}

/// All of them, in the order of the reference.
pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "repo",
        Takes::Text,
        None,
        "The repository of the site: `file://`, a path, `https://`, `ssh://` or `user@host:path`. Required.",
    ),
    setting("branch", Takes::Text, Some("main"), "The branch that the site follows."),
    setting(
        "path",
        Takes::Text,
        Some(""),
        "The site's folder inside the repository; empty for the root.",
    ),
    setting(
        "data",
        Takes::Path,
        None,
        "The folder of the journal and of the copy of the repository. Required.",
    ),
    setting(
        "name",
        Takes::Text,
        Some("tidegate"),
        "The agent's name, in its records and in what it pushes.",
    ),
    setting(
        "pollInterval",
        Takes::Duration,
        Some("30s"),
        "How often the repository is asked for news; a tenth of it is added at random, and failures make it longer, up to 15 minutes.",
    ),
    setting(
        "listen",
        Takes::Address,
        Some("127.0.0.1:7480"),
        "Where status, API and hooks are served. Elsewhere than on this machine a token is required.",
    ),
    setting("token", Takes::Secret, None, "What requests must carry as `Authorization: Bearer`."),
    setting("tokenFile", Takes::Path, None, "The file that holds `token`."),
    setting(
        "tls",
        Takes::Word(&["none"]),
        Some("none"),
        "Encryption of `listen`. The agent offers none: put a proxy with TLS before it.",
    ),
    setting(
        "hookSecret",
        Takes::Secret,
        None,
        "What forges share with `POST /hooks/git`; without it hooks are refused.",
    ),
    setting("hookSecretFile", Takes::Path, None, "The file that holds `hookSecret`."),
    setting(
        "dnsListen",
        Takes::Addresses,
        None,
        "Where the site's zones are served, over UDP and TCP; without it they are not.",
    ),
    setting("gitToken", Takes::Secret, None, "The token or password for `https://` repositories."),
    setting("gitTokenFile", Takes::Path, None, "The file that holds `gitToken`."),
    setting(
        "gitUser",
        Takes::Text,
        None,
        "The user that goes with `gitToken`; most forges take any.",
    ),
    setting(
        "sshKey",
        Takes::Path,
        None,
        "The private key for `ssh://` repositories; without it the SSH agent is asked.",
    ),
    setting("sshPassphrase", Takes::Secret, None, "The passphrase of `sshKey`."),
    setting(
        "signingKey",
        Takes::Path,
        None,
        "The SSH private key, without a passphrase, with which the agent signs the commits that it pushes: baselines, reverts, approvals that it was handed.",
    ),
    setting(
        "knownHosts",
        Takes::Path,
        None,
        "The keys of SSH servers; without it `~/.ssh/known_hosts`.",
    ),
    setting(
        "kubeconfig",
        Takes::Paths,
        None,
        "For a cluster, another kubeconfig than its document names, as `cluster=path`.",
    ),
    setting(
        "imageLookup",
        Takes::Word(&["off", "try", "require"]),
        Some("try"),
        "Whether images are looked up in their registries when a plan is made. What a registry does not say is told and goes by its tag with `try`, and refuses the plan with `require`; `off` asks no registry.",
    ),
    setting(
        "imageLookupInterval",
        Takes::Duration,
        Some("1h"),
        "How often a registry is asked again for what it has answered. What is missing, and what got no answer, is asked for again after a minute.",
    ),
    setting(
        "registryAuth",
        Takes::Path,
        None,
        "A `config.json` of Docker with the credentials of registries (`auths`); helper programs that it names are not run.",
    ),
    setting(
        "registryCa",
        Takes::Path,
        None,
        "Certificates in PEM that are trusted for registries, beside those of the system.",
    ),
    setting(
        "registryInsecure",
        Takes::Hosts,
        None,
        "Registries that are asked without encryption; credentials for them go unencrypted too.",
    ),
    setting(
        "retention",
        Takes::Duration,
        Some("400d"),
        "How long plans, and what machines did in finished releases, are kept; what people decided, what failed and how it ended stays for ever, and so does everything of the last 50 releases.",
    ),
    setting(
        "lang",
        Takes::Word(&["en", "zh"]),
        None,
        "The language of texts for people; without it that of `LC_ALL`, `LC_MESSAGES` or `LANG`.",
    ),
    setting(
        "logFormat",
        Takes::Word(&["json", "text"]),
        Some("json"),
        "How the agent logs, to standard error.",
    ),
    setting(
        "logLevel",
        Takes::Text,
        Some("info"),
        "What is logged: `error`, `warn`, `info`, `debug`, `trace`, or per module as `info,tidegate::source=debug`.",
    ),
];

/// The setting of a key.
pub(super) fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}
