//! All zones of one moment: built beside the running set, checked, then swapped in whole.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use hickory_proto::rr::{LowerName, RecordType};
use tidegate_core::zone::{PublishedZone, ZoneKind, serial::is_later};

use super::{
    forward::{self, Forwarder},
    store::{self, Zone},
};

/// Why a set of zones was refused. The set before it goes on being served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Two zones have one name.
    #[error("the zone {0} is there twice")]
    Twice(String),
    /// The zone's content is not what its digest says.
    #[error("the digest of zone {0} does not match its content")]
    Digest(String),
    /// The content changed but the serial did not rise (RFC 1982): secondaries would keep the old content.
    #[error("the serial of zone {zone} does not rise: {published} was published, now {serial}")]
    Serial {
        /// The zone.
        zone: String,
        /// The serial that is being served.
        published: u32,
        /// The refused one.
        serial: u32,
    },
    /// A hosted zone cannot be served.
    #[error("failed to build a zone")]
    Zone(#[from] store::Error),
    /// A forward zone cannot be served.
    #[error("failed to build a forward zone")]
    Forward(#[from] forward::Error),
}

/// How a zone is served.
#[derive(Debug, Clone)]
pub(super) enum Served {
    Hosted(Arc<Zone>),
    Forward(Arc<Forwarder>),
}

/// Zones by name; immutable.
#[derive(Debug, Default)]
pub(super) struct Zones {
    served: HashMap<LowerName, Served>,
    published: BTreeMap<String, PublishedZone>,
}

impl Zones {
    /// Checks and builds a set. Zones whose content and serial did not change are taken over from the set before, forwarders
    /// with what they remember.
    pub(super) fn build(zones: Vec<PublishedZone>, before: &Self) -> Result<Self, Error> {
        let mut built = Self::default();
        for zone in zones {
            let name = zone.zone.name.clone();
            if zone.zone.digest() != zone.digest {
                return Err(Error::Digest(name));
            }
            if built.published.contains_key(&name) {
                return Err(Error::Twice(name));
            }
            let key = store::key(&name)?;
            let served = match before.published.get(&name) {
                Some(old) if old.digest == zone.digest && old.serial == zone.serial => {
                    before.served.get(&key).cloned()
                }
                Some(old) if !is_later(zone.serial, old.serial) => {
                    let (published, serial) = (old.serial, zone.serial);
                    return Err(Error::Serial { zone: name, published, serial });
                }
                _ => None,
            };
            let served = match (served, &zone.zone.kind) {
                (Some(served), _) => served,
                (None, ZoneKind::Hosted { .. }) => Served::Hosted(Arc::new(Zone::build(&zone)?)),
                (None, ZoneKind::Forward { to }) => {
                    Served::Forward(Arc::new(Forwarder::new(&name, to)?))
                }
            };
            built.served.insert(key, served);
            built.published.insert(name, zone);
        }
        Ok(built)
    }

    /// The zone with the longest name that holds this one. The DS set of a zone belongs to the zone above it
    /// (RFC 4035 section 3.1.4.1), if we have that.
    pub(super) fn responsible(&self, name: &LowerName, rtype: RecordType) -> Option<&Served> {
        let mut current = name.clone();
        let mut at_apex = None;
        loop {
            if let Some(served) = self.served.get(&current) {
                if rtype != RecordType::DS || current != *name {
                    return Some(served);
                }
                at_apex = Some(served);
            }
            if current.is_root() {
                return at_apex;
            }
            current = current.base_name();
        }
    }

    pub(super) fn published(&self) -> impl Iterator<Item = &PublishedZone> {
        self.published.values()
    }
}
