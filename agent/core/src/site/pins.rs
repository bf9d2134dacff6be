//! Digests that the images of a site are pinned to.

use std::collections::BTreeMap;

use tidegate_schema::finding::Finding;

use super::ValidSite;
use crate::digest::Digest;
use crate::object::ObjectRef;

/// Digests by cluster, product and app.
pub type AppPins = BTreeMap<String, BTreeMap<String, BTreeMap<String, Digest>>>;

/// What the images of a site are pinned to. [`crate::pin::pins`] makes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pins {
    /// Of apps whose documents name a tag; an app that is not here keeps its reference as it is written.
    pub apps: AppPins,
    /// Of plain manifests, by object and by the reference as it is written.
    pub manifests: BTreeMap<ObjectRef, BTreeMap<String, Digest>>,
    /// Those of both that come from a registry and not from what was delivered, by reference. A plan carries them: with them
    /// and its baseline the same content can be made again.
    pub resolved: BTreeMap<String, Digest>,
    /// What is refused, could not be verified, or has changed since it was delivered.
    pub findings: Vec<Finding>,
}

impl ValidSite {
    /// The same site with its images pinned to these.
    #[must_use]
    pub fn with_pins(mut self, pins: Pins) -> Self {
        self.pins = pins;
        self
    }
}
