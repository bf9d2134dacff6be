//! How a repository is reached: credentials, the server's identity, and limits on what it may send.

use std::{
    cell::RefCell,
    fs,
    path::PathBuf,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use git2::{
    CertificateCheckStatus, Cred, CredentialType, ErrorClass, ErrorCode, FetchOptions,
    ProxyOptions, PushOptions, RemoteCallbacks, RemoteRedirect,
};

use super::{
    Error,
    known_hosts::{self, Known},
    location::{Location, Reach},
};
use crate::secret::Secret;

/// What is shown to the server. All of it is optional: a file on this machine needs none.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// For `https://`: a token of the forge, or a password. Wins over what the address holds.
    pub token: Option<Secret>,
    /// The user that goes with the token; forges that take any user get `oauth2`.
    pub user: Option<String>,
    /// For SSH: a private key. Without it the SSH agent is asked (`SSH_AUTH_SOCK`).
    pub ssh_key: Option<PathBuf>,
    /// The passphrase of the private key.
    pub passphrase: Option<Secret>,
    /// For SSH: the keys of servers; without it `~/.ssh/known_hosts`. List every key of a server
    /// (`ssh-keyscan` prints them): which one it shows is agreed while connecting.
    pub known_hosts: Option<PathBuf>,
}

/// One conversation with a server: its callbacks, and what they found out, since libgit2's own
/// errors do not say why a callback refused.
#[derive(Clone)]
pub(super) struct Conversation {
    location: Location,
    credentials: Credentials,
    limit: u64,
    cancelled: Arc<AtomicBool>,
    found: Rc<RefCell<Found>>,
}

#[derive(Default)]
struct Found {
    is_too_large: bool,
    is_clear_text: bool,
    is_untrusted: Option<String>,
    /// What was shown already; the same again would loop for ever.
    tried: Vec<Tried>,
    /// What the server said of a pushed branch.
    push_refused: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tried {
    User,
    Password,
    KeyFile,
    Agent,
}

impl Conversation {
    /// Nothing is sent before libgit2 connects. `cancelled` cuts a transfer off.
    pub(super) fn new(
        location: &Location,
        credentials: &Credentials,
        limit: u64,
        cancelled: Arc<AtomicBool>,
    ) -> Self {
        Self {
            location: location.clone(),
            credentials: credentials.clone(),
            limit,
            cancelled,
            found: Rc::default(),
        }
    }

    /// The callbacks of one connection.
    pub(super) fn callbacks(&self) -> RemoteCallbacks<'static> {
        let mut callbacks = RemoteCallbacks::new();
        let this = self.clone();
        callbacks.credentials(move |_, user, allowed| this.credential(user, allowed));
        let this = self.clone();
        callbacks.certificate_check(move |certificate, host| this.check(certificate, host));
        let this = self.clone();
        callbacks.transfer_progress(move |progress| {
            let is_too_large = progress.received_bytes() as u64 > this.limit;
            this.found.borrow_mut().is_too_large |= is_too_large;
            !is_too_large && !this.cancelled.load(Ordering::Relaxed)
        });
        let this = self.clone();
        callbacks.push_update_reference(move |_, status| {
            if let Some(status) = status {
                this.found.borrow_mut().push_refused = Some(status.to_owned());
            }
            Ok(())
        });
        callbacks
    }

    /// The proxy of git's configuration and of the environment (`https_proxy`, `no_proxy`).
    pub(super) fn proxy() -> ProxyOptions<'static> {
        let mut proxy = ProxyOptions::new();
        proxy.auto();
        proxy
    }

    /// Redirects inside one server are followed; one to another server is not, since the token
    /// would go with it.
    pub(super) fn fetch_options(&self) -> FetchOptions<'static> {
        let mut options = FetchOptions::new();
        options
            .remote_callbacks(self.callbacks())
            .proxy_options(Self::proxy())
            .follow_redirects(RemoteRedirect::None)
            .download_tags(git2::AutotagOption::None)
            .update_fetchhead(false);
        options
    }

    /// As [`Conversation::fetch_options`].
    pub(super) fn push_options(&self) -> PushOptions<'static> {
        let mut options = PushOptions::new();
        options
            .remote_callbacks(self.callbacks())
            .proxy_options(Self::proxy())
            .follow_redirects(RemoteRedirect::None);
        options
    }

    /// Why the server refused the pushed branch, though the conversation itself went well.
    pub(super) fn push_refused(&self) -> Option<String> {
        self.found.borrow().push_refused.clone()
    }

    /// Sorts an error, with what the callbacks know of it.
    pub(super) fn error(&self, error: git2::Error) -> Error {
        let location = self.location.to_string();
        let found = self.found.borrow();
        if found.is_too_large {
            return Error::TooLarge { location, limit: self.limit };
        }
        if found.is_clear_text {
            return Error::ClearText { location };
        }
        if let Some(reason) = &found.is_untrusted {
            return Error::Identity { location, reason: reason.clone() };
        }
        if self.cancelled.load(Ordering::Relaxed) {
            return Error::Interrupted;
        }
        // libgit2 says of a folder that is not there the same as of one that it cannot reach.
        if self.location.local_path().is_some_and(|path| !path.exists()) {
            return Error::NotFound { location, source: error };
        }
        Error::from_git(&location, error)
    }

    fn credential(&self, user: Option<&str>, allowed: CredentialType) -> Result<Cred, git2::Error> {
        let user = user
            .map(str::to_owned)
            .or_else(|| self.location.user.as_ref().map(|user| user.expose().to_owned()))
            .or_else(|| self.credentials.user.clone());
        if allowed.is_username() && self.first(Tried::User) {
            return Cred::username(user.as_deref().unwrap_or("git"));
        }
        if allowed.is_ssh_key() {
            let user = user.as_deref().unwrap_or("git");
            return match &self.credentials.ssh_key {
                Some(key) if self.first(Tried::KeyFile) => {
                    let passphrase = self.credentials.passphrase.as_ref().map(Secret::expose);
                    Cred::ssh_key(user, None, key, passphrase)
                }
                None if self.first(Tried::Agent) => Cred::ssh_key_from_agent(user),
                _ => Err(refused("the server does not take the key")),
            };
        }
        if allowed.is_user_pass_plaintext() {
            return self.password(user);
        }
        Err(refused("the server asks for a way of logging in that is not supported"))
    }

    fn password(&self, user: Option<String>) -> Result<Cred, git2::Error> {
        let password = self.credentials.token.as_ref().or(self.location.password.as_ref());
        if password.is_none() && user.is_none() {
            return Err(refused("the server asks for a token, and none is configured"));
        }
        if let Reach::Http { tls: false, host } = &self.location.reach
            && !is_this_machine(host)
        {
            self.found.borrow_mut().is_clear_text = true;
            return Err(refused("a token is only sent over TLS"));
        }
        if !self.first(Tried::Password) {
            return Err(refused("the server does not take the token"));
        }
        let user = self.credentials.user.clone().or(user);
        Cred::userpass_plaintext(
            user.as_deref().unwrap_or("oauth2"),
            password.map(Secret::expose).unwrap_or_default(),
        )
    }

    fn first(&self, what: Tried) -> bool {
        let mut found = self.found.borrow_mut();
        let is_first = !found.tried.contains(&what);
        found.tried.push(what);
        is_first
    }

    /// TLS certificates are checked by libgit2 against the system's authorities. Host keys are
    /// checked against the configured file, or by libgit2 against `~/.ssh/known_hosts`.
    fn check(
        &self,
        certificate: &git2::cert::Cert<'_>,
        shown_by: &str,
    ) -> Result<CertificateCheckStatus, git2::Error> {
        // The first request follows redirects whatever the options of the fetch say, and the token
        // would follow it; so another host is refused here, before anything is sent to it.
        if let Reach::Http { host, .. } = &self.location.reach
            && !shown_by.eq_ignore_ascii_case(host)
        {
            return Err(self.untrusted(&format!("it redirects to {shown_by}")));
        }
        let Some(key) = certificate.as_hostkey() else {
            return Ok(CertificateCheckStatus::CertificatePassthrough);
        };
        let Reach::Ssh { host, port } = &self.location.reach else {
            return Ok(CertificateCheckStatus::CertificatePassthrough);
        };
        let Some(path) = &self.credentials.known_hosts else {
            return Ok(CertificateCheckStatus::CertificatePassthrough);
        };
        let file = fs::read(path).map_err(|error| {
            self.untrusted(&format!("{} cannot be read: {error}", path.display()))
        })?;
        let key = key.hostkey().unwrap_or_default();
        match known_hosts::look_up(&String::from_utf8_lossy(&file), host, *port, key) {
            Known::Same => Ok(CertificateCheckStatus::CertificateOk),
            Known::Other => Err(self.untrusted(&format!(
                "{} has another key for {host} than the one that the server shows",
                path.display()
            ))),
            Known::Revoked => Err(self.untrusted("the key of the server was revoked")),
            Known::Unknown => {
                Err(self.untrusted(&format!("{} does not name {host}", path.display())))
            }
        }
    }

    fn untrusted(&self, reason: &str) -> git2::Error {
        self.found.borrow_mut().is_untrusted = Some(reason.to_owned());
        git2::Error::new(ErrorCode::Certificate, ErrorClass::Ssh, reason)
    }
}

fn refused(reason: &str) -> git2::Error {
    git2::Error::new(ErrorCode::Auth, ErrorClass::Callback, reason)
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
