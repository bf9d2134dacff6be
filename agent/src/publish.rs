//! Publishing zones: from desired content to what the DNS server serves, with serials that only rise.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use tidegate_core::zone::{PublishedZone, ZoneData, serial};

use crate::dns::DnsServer;
use crate::journal::{Journal, fact};

/// The zones that are served, and the server, when this agent has one.
#[derive(Debug)]
pub struct Publisher {
    server: Option<DnsServer>,
    last_good: PathBuf,
    published: BTreeMap<String, PublishedZone>,
}

impl Publisher {
    /// Takes up the zones of the journal and serves them at once: names resolve before git or any cluster is asked.
    ///
    /// # Errors
    ///
    /// When the journal cannot be read. A set that the server refuses is logged: it was served before, so the refusal is
    /// of this version of the agent.
    pub async fn start(
        server: Option<DnsServer>,
        journal: &Journal,
        last_good: PathBuf,
    ) -> Result<Self, crate::journal::Error> {
        let published: BTreeMap<String, PublishedZone> =
            journal.fact(fact::ZONES).await?.unwrap_or_default();
        if let Some(server) = &server
            && let Err(error) = server.publish(published.values().cloned().collect())
        {
            tracing::error!(%error, "stored zones are not served");
        }
        Ok(Self { server, last_good, published })
    }

    /// The zones as published, by name.
    pub fn published(&self) -> &BTreeMap<String, PublishedZone> {
        &self.published
    }

    /// The DNS server.
    pub fn server(&self) -> Option<&DnsServer> {
        self.server.as_ref()
    }

    /// Digests of the published zones, by name.
    pub fn digests(&self) -> BTreeMap<String, String> {
        let digest = |(name, zone): (&String, &PublishedZone)| (name.clone(), zone.digest.clone());
        self.published.iter().map(digest).collect()
    }

    /// Publishes zones with this content, and removes those without, all at once.
    ///
    /// # Errors
    ///
    /// Why the server or the journal refused; then what was served goes on being served.
    pub async fn publish(
        &mut self,
        names: &[String],
        content: &[ZoneData],
        committed_at: Timestamp,
        journal: &Journal,
    ) -> Result<(), String> {
        let mut next = self.published.clone();
        for name in names {
            let Some(zone) = content.iter().find(|zone| &zone.name == name) else {
                next.remove(name);
                continue;
            };
            let digest = zone.digest();
            let serial = serial::next_serial(self.published.get(name), &digest, committed_at);
            next.insert(name.clone(), PublishedZone { zone: zone.clone(), serial, digest });
        }
        // Kept before it is served: a serial that a secondary has seen must be known after a restart.
        journal.set_fact(fact::ZONES, &next).await.map_err(|error| error.to_string())?;
        if let Some(server) = &self.server {
            if let Err(error) = server.publish(next.values().cloned().collect()) {
                let kept = journal.set_fact(fact::ZONES, &self.published).await;
                kept.map_err(|error| error.to_string())?;
                return Err(error.to_string());
            }
            if let Err(error) = server.store_last_good(&self.last_good) {
                tracing::warn!(%error, "the last good zones are not kept on disk");
            }
        }
        self.published = next;
        Ok(())
    }
}
