//! What people ask of the loop, answered at the start of a round.

use tidegate_core::progress;
use tidegate_core::release::{Command, ReleasePhase};
use tidegate_schema::finding::Finding;

use super::{Agent, Result};
use crate::approve;
use crate::handle::Request;
use crate::journal::{StoredApproval, fact};

/// A freeze by an operator; others end by themselves or by acknowledgement.
const FROZEN: &str = "AGENT/FROZEN";

impl Agent {
    /// Answers everything that has been asked since the last round.
    ///
    /// # Errors
    ///
    /// When the journal cannot be written.
    pub async fn answer_requests(&mut self) -> Result<()> {
        // A release of before the restart is taken up before anybody can ask something of it.
        self.resume().await?;
        while let Ok(request) = self.requests.try_recv() {
            // Who asked may have gone: an answer that nobody takes is no fault.
            match request {
                Request::Command { release, command, by, reply } => {
                    let _sent = reply.send(self.command(release, &command, &by).await?);
                }
                Request::Approval { file, reply } => {
                    let _sent = reply.send(self.take_approval(file).await?);
                }
                Request::Freeze { by, reason, reply } => {
                    self.freezes.retain(|freeze| freeze.code != FROZEN);
                    let freeze = Finding::error(FROZEN).with("by", by).with("reason", reason);
                    self.freezes.push(freeze);
                    self.journal.set_fact(fact::FREEZE, &self.own_freezes()).await?;
                    let _sent = reply.send(Ok(()));
                }
                Request::Unfreeze { by, reply } => {
                    let _sent = reply.send(self.unfreeze(&by).await?);
                }
            }
        }
        Ok(())
    }

    fn own_freezes(&self) -> Vec<Finding> {
        self.freezes.iter().filter(|freeze| freeze.code == FROZEN).cloned().collect()
    }

    async fn unfreeze(&mut self, by: &str) -> Result<std::result::Result<(), Finding>> {
        if self.freezes.is_empty() {
            return Ok(Err(Finding::error("AGENT/NOT_FROZEN")));
        }
        tracing::warn!(by, freezes = self.freezes.len(), "freezes lifted");
        let is_rewritten = self.freezes.iter().any(|freeze| freeze.code.starts_with("SOURCE/"));
        let head = self.status.source.attempted.as_ref().map(|revision| revision.commit.clone());
        if let Some(accepted) = self.accepted.as_mut().filter(|_| is_rewritten) {
            accepted.acknowledged = head;
            self.journal.set_fact(fact::ACCEPTED, &accepted).await?;
        }
        self.freezes.clear();
        self.journal.set_fact(fact::FREEZE, &self.own_freezes()).await?;
        Ok(Ok(()))
    }

    async fn command(
        &mut self,
        release: Option<String>,
        command: &Command,
        by: &str,
    ) -> Result<std::result::Result<String, Finding>> {
        let Some(running) = &self.running else {
            return Ok(Err(Finding::error("RELEASE/NONE_UNDER_WAY")));
        };
        let id = running.row.id.clone();
        if let Some(other) = release.filter(|release| *release != id) {
            return Ok(Err(Finding::error("RELEASE/NOT_UNDER_WAY").with("release", other)));
        }
        match progress::command(running.plan(), &running.state, command, by) {
            Ok(events) => {
                self.record(events).await?;
                if self.running.as_ref().is_some_and(|it| it.row.phase == ReleasePhase::Cancelled) {
                    self.finish().await?;
                }
                Ok(Ok(id))
            }
            Err(finding) => Ok(Err(finding)),
        }
    }

    async fn take_approval(
        &mut self,
        file: StoredApproval,
    ) -> Result<std::result::Result<(), Vec<Finding>>> {
        let now = self.clock.now();
        let (verified, refused) = approve::verify(std::slice::from_ref(&file), &self.keys(), now);
        if verified.is_empty() {
            return Ok(Err(refused));
        }
        self.journal.keep_approvals(&[file], now).await?;
        Ok(Ok(()))
    }
}
