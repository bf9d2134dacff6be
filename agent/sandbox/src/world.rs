//! Everything that one sandbox holds under one lock: the store, the custom resources, the faults and the counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::access::Credentials;
use crate::apply::Rules;
use crate::controller::Controllers;
use crate::fault::{Faults, Requests};
use crate::resource::{self, Resource};
use crate::store::Store;
use crate::{garbage, quota};

/// The state of a sandbox. Every request and every round of the controllers has it for itself.
#[derive(Clone, Debug)]
pub(crate) struct World {
    /// The objects.
    pub(crate) store: Store,
    /// The resources that custom resource definitions made, by group and plural.
    pub(crate) custom: BTreeMap<(String, String), Arc<Resource>>,
    /// What goes wrong on demand.
    pub(crate) faults: Faults,
    /// What was asked.
    pub(crate) requests: Requests,
    /// Who may come in.
    pub(crate) credentials: Credentials,
    /// The version that the server says it is, as in `1.29`.
    pub(crate) version: String,
    /// How a server of that version applies.
    pub(crate) rules: Rules,
    /// Those who follow the changes of the store.
    pub(crate) controllers: Controllers,
    pub(crate) garbage: garbage::Due,
    pub(crate) usage: quota::Usage,
    seed: String,
    drawn: u64,
}

impl World {
    pub(crate) fn new(
        seed: &str,
        version: &str,
        history_limit: usize,
        credentials: Credentials,
    ) -> Self {
        Self {
            store: Store::new(history_limit),
            custom: BTreeMap::new(),
            faults: Faults::default(),
            requests: Requests::default(),
            credentials,
            version: version.to_owned(),
            rules: Rules::of(version),
            controllers: Controllers::default(),
            garbage: garbage::Due::default(),
            usage: quota::Usage::default(),
            seed: seed.to_owned(),
            drawn: 0,
        }
    }

    /// Every resource, built-in ones first.
    pub(crate) fn resources(&self) -> impl Iterator<Item = &Arc<Resource>> {
        resource::built_in().iter().chain(self.custom.values())
    }

    /// The resource with this plural, singular or lower-case kind.
    pub(crate) fn resource(&self, group: &str, plural: &str) -> Option<Arc<Resource>> {
        self.resources().find(|found| found.group == group && found.plural == plural).cloned()
    }

    /// The resource of a kind.
    pub(crate) fn resource_of_kind(&self, group: &str, kind: &str) -> Option<Arc<Resource>> {
        self.resources().find(|found| found.group == group && found.kind == kind).cloned()
    }

    /// Lets those who follow the changes of the store see the new ones.
    pub(crate) fn hear(&mut self) {
        for change in self.store.take_unseen() {
            self.controllers.follow(&change);
            self.garbage.follow(&change);
            quota::follow(self, &change);
        }
    }

    /// A new uid. The sequence depends only on the sandbox's name and on what happened before, so that runs repeat.
    pub(crate) fn draw_uid(&mut self) -> String {
        let digest = self.draw();
        let number =
            digest.iter().take(16).fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
        let hex = format!("{number:032x}");
        let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
        format!(
            "{}-{}-4{}-a{}-{}",
            part(0, 8),
            part(8, 12),
            part(13, 16),
            part(17, 20),
            part(20, 32)
        )
    }

    /// Five characters for a generated name, from the alphabet that Kubernetes uses.
    pub(crate) fn draw_suffix(&mut self) -> String {
        const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        self.draw()
            .iter()
            .take(5)
            .filter_map(|byte| ALPHABET.get(usize::from(*byte) % ALPHABET.len()))
            .map(|&byte| char::from(byte))
            .collect()
    }

    fn draw(&mut self) -> [u8; 32] {
        self.drawn += 1;
        let mut digest = Sha256::new();
        digest.update(self.seed.as_bytes());
        digest.update(self.store.revision().to_be_bytes());
        digest.update(self.drawn.to_be_bytes());
        digest.finalize().into()
    }

    /// The clusters' first objects and the custom resources that they define.
    pub(crate) fn settle(&mut self, nodes: u32, now: Timestamp) {
        crate::first::fill(self, nodes, now);
        crate::custom::refresh(self);
    }
}
