//! Who asks: bearer tokens, users and groups.

use std::collections::BTreeMap;

/// A person or program, as authentication found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// As in `kubernetes-admin` or `system:serviceaccount:shop:default`.
    pub name: String,
    /// As in `system:masters`.
    pub groups: Vec<String>,
}

impl User {
    /// The administrator, whom no rule stops.
    pub fn administrator() -> Self {
        Self {
            name: "kubernetes-admin".to_owned(),
            groups: vec!["system:masters".to_owned(), "system:authenticated".to_owned()],
        }
    }

    /// Who comes without a token.
    pub fn anonymous() -> Self {
        Self {
            name: "system:anonymous".to_owned(),
            groups: vec!["system:unauthenticated".to_owned()],
        }
    }

    /// A user of the given groups, and of `system:authenticated`.
    pub fn new(name: &str, groups: &[&str]) -> Self {
        let mut groups: Vec<String> = groups.iter().map(|&group| group.to_owned()).collect();
        groups.push("system:authenticated".to_owned());
        Self { name: name.to_owned(), groups }
    }

    /// Whether no rule applies to the user.
    pub(crate) fn is_master(&self) -> bool {
        self.groups.iter().any(|group| group == "system:masters")
    }
}

/// The bearer tokens and the users behind them. Not printed: tokens are secret even here, since people reuse them.
#[derive(Clone, Default)]
pub struct Credentials {
    tokens: BTreeMap<String, User>,
}

impl Credentials {
    /// Adds a token.
    pub fn insert(&mut self, token: &str, user: User) {
        self.tokens.insert(token.to_owned(), user);
    }

    /// The user behind a token.
    pub fn user(&self, token: &str) -> Option<&User> {
        self.tokens.get(token)
    }

    /// The first administrator's token, for a kubeconfig.
    pub fn administrator_token(&self) -> Option<&str> {
        self.tokens.iter().find(|(_, user)| user.is_master()).map(|(token, _)| token.as_str())
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let users: Vec<&str> = self.tokens.values().map(|user| user.name.as_str()).collect();
        formatter.debug_struct("Credentials").field("users", &users).finish()
    }
}
