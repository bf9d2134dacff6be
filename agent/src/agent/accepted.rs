//! The accepted revision: whose keys, groups and policies count.

use serde::{Deserialize, Serialize};
use tidegate_core::digest::Digest;
use tidegate_core::gate::GatePolicy;
use tidegate_core::site::ValidSite;

use super::{Agent, Result};
use crate::approve::Keys;
use crate::journal::fact;
use crate::status::SourceStatus;

/// What counts until the next revision is accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// The commit.
    pub commit: String,
    /// Digest of its policies, persons and groups.
    pub policies: Digest,
    /// What they say.
    pub policy: GatePolicy,
    /// Keys by person.
    pub keys: Keys,
    /// Keys of those whom policies trust with merges, by name.
    #[serde(default)]
    pub merge_keys: Keys,
    /// A commit that does not descend from the accepted one and that a person has acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<String>,
}

impl Accepted {
    /// What a revision says.
    pub fn of(site: &ValidSite) -> Self {
        Self {
            commit: site.revision.commit.clone(),
            policies: site.policies_digest(),
            policy: GatePolicy::of(site),
            keys: keys(site),
            merge_keys: merge_keys(site),
            acknowledged: None,
        }
    }

    /// Whether it names anybody who could approve something.
    pub fn knows_anybody(&self) -> bool {
        self.keys.values().any(|keys| !keys.is_empty())
    }
}

/// Keys of the persons whose word counts.
pub(super) fn keys(site: &ValidSite) -> Keys {
    site.persons().map(|(name, person)| (name.to_owned(), person.keys.clone())).collect()
}

/// Keys of the service accounts and persons whom the policies of a site trust with merges.
pub(super) fn merge_keys(site: &ValidSite) -> Keys {
    let trusted = site.merge_trusts().flat_map(|merge| &merge.trust);
    let mut keys = Keys::new();
    for name in trusted {
        let person = site.persons().find(|(it, _)| *it == name.as_str());
        let account = site.service_accounts.get(name.as_str());
        let own = keys.entry(name.to_string()).or_default();
        own.extend(person.into_iter().flat_map(|(_, person)| person.keys.iter().cloned()));
        own.extend(account.into_iter().flat_map(|account| account.keys.iter().cloned()));
    }
    keys
}

impl SourceStatus {
    /// Tells what counts.
    pub(super) fn accepts(&mut self, accepted: Option<&Accepted>) {
        self.accepted = accepted.map(|it| it.commit.clone());
        self.policies = accepted.map(|it| it.policies.clone());
    }
}

impl Agent {
    /// From now on this revision's policies, keys and groups count.
    pub(super) async fn accept(&mut self, site: &ValidSite) -> Result<()> {
        let accepted = Accepted::of(site);
        self.journal.set_fact(fact::ACCEPTED, &accepted).await?;
        self.now_follows(accepted);
        Ok(())
    }

    /// What the journal has recorded as accepted counts.
    pub(super) fn now_follows(&mut self, accepted: Accepted) {
        self.status.source.accepts(Some(&accepted));
        self.accepted = Some(accepted);
    }
}
