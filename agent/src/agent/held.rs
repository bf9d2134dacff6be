//! Autoscalers that a release has left held: somebody cancelled it, or something newer took its place.

use tidegate_core::autoscaler;
use tidegate_core::object::ObjectRef;
use tidegate_core::progress::ReleaseState;
use tidegate_schema::finding::Finding;

use super::{Agent, Result};
use crate::journal::{Fact, fact};

impl Agent {
    /// Takes over what a release that ends has left, as a document that is written with its end.
    pub(super) fn take_over_held(&mut self, state: &ReleaseState) -> Result<Option<Fact>> {
        let new: Vec<_> = state.held().filter(|it| !self.held.contains(it)).cloned().collect();
        if new.is_empty() {
            return Ok(None);
        }
        self.held.extend(new);
        Ok(Some(Fact::new(fact::HELD, &self.held)?))
    }

    /// Gives them their bounds back, as long as it takes: the cluster may be away.
    ///
    /// # Errors
    ///
    /// When the journal cannot be written.
    pub async fn let_go_of_autoscalers(&mut self) -> Result<()> {
        if self.held.is_empty() || self.is_releasing() {
            return Ok(());
        }
        let mut left = Vec::new();
        for reference in std::mem::take(&mut self.held) {
            if let Err(reason) = self.let_go(&reference).await {
                self.status.findings.push(
                    Finding::warning("RELEASE/AUTOSCALER_HELD")
                        .with("autoscaler", reference.to_string())
                        .with("cluster", &reference.cluster)
                        .with("reason", reason),
                );
                left.push(reference);
            }
        }
        self.held = left;
        Ok(self.journal.set_fact(fact::HELD, &self.held).await?)
    }

    async fn let_go(&self, reference: &ObjectRef) -> std::result::Result<(), String> {
        let cluster = self.clusters.get(&reference.cluster);
        let cluster = cluster.ok_or_else(|| "the cluster is not connected".to_owned())?;
        // First the bounds, then whose they were.
        for _ in 0..2 {
            cluster
                .patch(reference, autoscaler::API_VERSION, &autoscaler::let_go)
                .await
                .map_err(|failure| failure.message)?;
        }
        Ok(())
    }
}
