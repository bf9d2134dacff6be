//! What people ask of the loop, answered at the start of a round.

use jiff::Timestamp;
use tidegate_core::approval::{ApprovalScope, VerifiedApproval};
use tidegate_core::change::Change;
use tidegate_core::live::{Adoption, InventoryEntry, Stranger};
use tidegate_core::object::ObjectRef;
use tidegate_core::progress;
use tidegate_core::release::{Command, Event, ReleasePhase};
use tidegate_core::task;
use tidegate_schema::finding::Finding;

use super::{Agent, Result};
use crate::approve;
use crate::execute::fold_inventory;
use crate::handle::{Adopt, Recorded, Request};
use crate::journal::{InventoryChange, StoredApproval, fact};

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
                Request::Adopt { asked, reply } => {
                    let _sent = reply.send(self.adopt(&asked).await?);
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

    /// Takes over what the last plan named as not ours. First everything is checked; then each object is handed over and
    /// recorded, one after the other.
    async fn adopt(
        &mut self,
        asked: &Adopt,
    ) -> Result<std::result::Result<Vec<ObjectRef>, Vec<Finding>>> {
        let plan = match &self.status.plan {
            Some(plan) => self.journal.plan(&plan.id).await?,
            None => None,
        };
        let changes = plan.map(|(plan, _)| plan.content.changes.changes).unwrap_or_default();
        let (chosen, mut findings) = choose(&changes, asked);
        if !findings.is_empty() {
            return Ok(Err(findings));
        }
        let mut adopted = Vec::new();
        for (change, stranger) in chosen {
            let Some(cluster) = self.clusters.get(&change.object.cluster) else { continue };
            let desired = self.meaning.as_ref().and_then(|it| it.desired.object(&change.object));
            let Some(desired) = desired else { continue };
            let version = desired.api_version.clone();
            match cluster.hand_over(&change.object, &version, stranger.tool).await {
                Ok(live) => {
                    let adoption = Adoption {
                        by: asked.by.clone(),
                        reason: asked.reason.clone(),
                        at: self.clock.now(),
                        from: stranger.clone(),
                    };
                    tracing::info!(object = %change.object, by = asked.by, "adopted");
                    let entry = InventoryEntry {
                        api_version: version,
                        uid: Some(live.uid().to_owned()),
                        applied: None,
                        owner: change.owner.clone(),
                        kept: false,
                        adopted: Some(adoption),
                    };
                    let applied = InventoryChange::Applied(change.object.clone(), entry);
                    self.journal.change_inventory(std::slice::from_ref(&applied)).await?;
                    fold_inventory(&mut self.inventory, &[applied]);
                    adopted.push(change.object.clone());
                }
                Err(failure) => findings.push(
                    Finding::error("AGENT/ADOPTION_FAILED")
                        .with("object", change.object.to_string())
                        .with("cluster", &change.object.cluster)
                        .with("code", failure.code)
                        .with("reason", failure.message),
                ),
            }
        }
        Ok(if findings.is_empty() { Ok(adopted) } else { Err(findings) })
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
    ) -> Result<std::result::Result<Recorded, Finding>> {
        let Some(running) = &self.running else {
            return self.command_before_it_is_taken_up(release, command, by).await;
        };
        let id = running.row.id.clone();
        if let Some(other) = release.filter(|other| *other != id) {
            return Ok(Err(Finding::error("RELEASE/NOT_UNDER_WAY").with("release", other)));
        }
        if let Command::Skip { part, .. } = command
            && self.knows_anybody(&running.site)
        {
            let step = part.step.as_deref().unwrap_or("STEP");
            let unsigned = Finding::error("RELEASE/SKIP_UNSIGNED").with("step", step);
            return Ok(Err(unsigned.with("release", id)));
        }
        let requires = task::requires(&running.site);
        match progress::command(running.plan(), &running.state, &requires, command, by) {
            Ok(events) => {
                let steps = events.iter().filter_map(step).map(ToOwned::to_owned).collect();
                self.record(events).await?;
                if self.running.as_ref().is_some_and(|it| it.row.phase == ReleasePhase::Cancelled) {
                    self.finish().await?;
                }
                Ok(Ok(Recorded { release: id, steps }))
            }
            Err(finding) => Ok(Err(finding)),
        }
    }

    /// A release of before the restart that cannot be taken up yet can be cancelled, and nothing else: nobody has to wait for
    /// a repository to be rid of it.
    async fn command_before_it_is_taken_up(
        &mut self,
        release: Option<String>,
        command: &Command,
        by: &str,
    ) -> Result<std::result::Result<Recorded, Finding>> {
        let Some(row) = self.resumable.clone() else {
            return Ok(Err(Finding::error("RELEASE/NONE_UNDER_WAY")));
        };
        if let Some(other) = release.filter(|other| *other != row.id) {
            return Ok(Err(Finding::error("RELEASE/NOT_UNDER_WAY").with("release", other)));
        }
        if let Command::Cancel { part, reason } = command
            && part.is_all()
        {
            self.give_up(&row, by, reason).await?;
            self.resumable = None;
            self.status.releases = self.journal.releases(20).await?;
            return Ok(Ok(Recorded { release: row.id, steps: Vec::new() }));
        }
        Ok(Err(Finding::error("RELEASE/NOT_TAKEN_UP").with("release", row.id)))
    }

    async fn take_approval(
        &mut self,
        file: StoredApproval,
    ) -> Result<std::result::Result<(), Vec<Finding>>> {
        let now = self.clock.now();
        let (verified, refused) = approve::verify(std::slice::from_ref(&file), &self.keys(), now);
        let Some(approval) = verified.first() else { return Ok(Err(refused)) };
        // Whoever hands in a waiver waits for what becomes of it; one on the branch is spoken of in the status.
        if let Some(refused) = self.refused_waiver(approval, now) {
            return Ok(Err(vec![refused]));
        }
        self.journal.keep_approvals(&[file], now).await?;
        Ok(Ok(()))
    }

    fn refused_waiver(&self, approval: &VerifiedApproval, now: Timestamp) -> Option<Finding> {
        let Some(running) = &self.running else {
            let is_waiver = matches!(approval.scope, ApprovalScope::Skip { .. });
            return is_waiver.then(|| Finding::error("RELEASE/NONE_UNDER_WAY"));
        };
        let policy = self.policy(&running.site);
        progress::refused_waiver(
            &running.row.id,
            &running.approved,
            &running.state,
            &policy,
            approval,
            now,
        )
    }
}

/// The step of which a command has something recorded.
fn step(event: &Event) -> Option<&str> {
    if let Event::Retried { step, .. }
    | Event::Skipped { step, .. }
    | Event::StepCancelled { step, .. }
    | Event::Confirmed { step, .. } = event
    {
        return Some(step);
    }
    None
}

/// The strangers that are asked for, and what speaks against it.
fn choose<'a>(
    changes: &'a [Change],
    asked: &Adopt,
) -> (Vec<(&'a Change, &'a Stranger)>, Vec<Finding>) {
    let is_here = |change: &&Change| {
        asked.cluster.as_ref().is_none_or(|cluster| *cluster == change.object.cluster)
    };
    let strangers: Vec<_> = changes
        .iter()
        .filter(is_here)
        .filter_map(|change| Some((change, change.stranger.as_ref()?)))
        .collect();
    let is_named = |change: &Change, name: &String| {
        let written = change.object.to_string();
        written == *name || written.replace(' ', "/") == *name
    };
    let unknown = asked
        .objects
        .iter()
        .filter(|name| !strangers.iter().any(|(change, _)| is_named(change, name)))
        .map(|name| Finding::error("AGENT/ADOPTS_NO_SUCH_OBJECT").with("object", name));
    let mut findings: Vec<Finding> = unknown.collect();
    let chosen: Vec<_> = strangers
        .into_iter()
        .filter(|(change, _)| {
            asked.objects.is_empty() || asked.objects.iter().any(|name| is_named(change, name))
        })
        .collect();
    if chosen.is_empty() && findings.is_empty() {
        findings.push(Finding::error("AGENT/ADOPTS_NOTHING"));
    }
    for (change, stranger) in &chosen {
        let Some(tool) = stranger.tool.filter(|tool| !asked.from.contains(tool)) else { continue };
        findings.push(
            Finding::error("AGENT/ADOPTION_NEEDS_TOOL")
                .with("object", change.object.to_string())
                .with("cluster", &change.object.cluster)
                .with("tool", tool.name())
                .with("by", &stranger.by),
        );
    }
    (chosen, findings)
}
