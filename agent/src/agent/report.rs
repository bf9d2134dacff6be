//! What a round tells: the status, the baseline branch, and how a round ends.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tidegate_core::change::Change;
use tidegate_core::desired::DesiredState;
use tidegate_core::diff::TERMINATING;
use tidegate_core::live::{Gap, LiveState};
use tidegate_core::orphan::orphans;
use tidegate_core::plan::{Plan, PlanReport};
use tidegate_core::progress::{self, ProductProgress, ProductState, ReleaseState, StepStatus};
use tidegate_core::release::ReleasePhase;
use tidegate_core::site::ValidSite;
use tidegate_core::snapshot::Identity;
use tidegate_core::zone::ZoneKind;
use tidegate_schema::finding::Finding;

use super::{Agent, Result};
use crate::cause::chain;
use crate::execute::Advance;
use crate::journal::{ReleaseRow, fact};
use crate::sandboxes::is_sandbox;
use crate::source::{Append, Revert};
use crate::status::{
    BaselineStatus, ClusterStatus, Condition, Held, PlanStatus, ReleaseStatus, StepFailure,
};

/// Changes that nobody declared.
fn drift(plan: &Plan) -> Vec<Change> {
    let changes = &plan.content.changes.changes;
    changes.iter().filter(|change| change.drift).cloned().collect()
}

/// How a site stands that is as desired as far as can be seen: a permission is given by a person, what is being deleted goes
/// by itself, and discovery comes back.
fn unsettled(plan: &Plan) -> Condition {
    let gaps = &plan.content.changes.gaps;
    let has = |code: &str| gaps.iter().any(|gap| gap.object.is_some() && gap.gap.code == code);
    if has("CLUSTER/FORBIDDEN") {
        Condition::NeedsPerson
    } else if has(TERMINATING) && gaps.iter().all(|gap| gap.gap.code == TERMINATING) {
        Condition::Waiting
    } else {
        Condition::Unreachable
    }
}

/// What was done about the documents of a release that was taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Offered {
    /// The release.
    release: String,
    /// The branch that takes its documents back; absent when there was nothing to take back, or it could not be made.
    branch: Option<String>,
}

impl Agent {
    /// No revision can be followed now: a release under way goes on, everything else stays as it is.
    ///
    /// # Errors
    ///
    /// When the journal cannot be written.
    pub async fn go_on_without_revision(&mut self) -> Result<Option<Timestamp>> {
        let next = match self.advance().await? {
            Advance::Waiting(next) => next,
            Advance::Ended(_) => None,
        };
        self.status.plan = None;
        self.status.condition = if self.status.source.problem.is_some() {
            Condition::Unreachable
        } else {
            Condition::Refused
        };
        self.show_release().await?;
        Ok(next)
    }

    /// Everything is as desired: the revision is accepted without a release.
    ///
    /// # Errors
    ///
    /// When the journal cannot be written.
    pub async fn settle(
        &mut self,
        site: &ValidSite,
        plan: &Plan,
        report: &PlanReport,
        live: &LiveState,
    ) -> Result<()> {
        self.note_clusters(live);
        let is_held = !plan.content.changes.held.is_empty();
        if is_held {
            // There is no plan that would tell of it.
            self.note_findings(&report.findings);
        }
        // Nor of operations that have nothing to do any more.
        let is_done = |finding: &&Finding| finding.code.starts_with("OPERATION/");
        let done: Vec<Finding> = report.findings.iter().filter(is_done).cloned().collect();
        self.note_findings(&done);
        let is_whole = report.unplanned_clusters.is_empty() && !is_held;
        let is_new = self.accepted.as_ref().is_none_or(|it| it.commit != site.revision.commit);
        if is_whole && is_new && self.freezes.is_empty() {
            self.accept(site).await?;
        }
        self.status.plan = None;
        self.status.drift = drift(plan);
        // What was loaded last is as desired; whether that is still what people want cannot be said without the branch.
        let is_in_touch = is_whole && self.status.source.problem.is_none();
        self.status.condition = if is_in_touch { Condition::Settled } else { unsettled(plan) };
        self.show_release().await
    }

    /// The plan waits, or is refused.
    ///
    /// # Errors
    ///
    /// When the journal cannot be read.
    pub async fn wait(
        &mut self,
        plan: &Plan,
        report: &PlanReport,
        live: &LiveState,
        waits: Vec<Finding>,
        next: Option<Timestamp>,
    ) -> Result<()> {
        self.note_clusters(live);
        self.status.drift = drift(plan);
        self.status.plan = Some(PlanStatus {
            id: plan.id(),
            revision: plan.revision.clone(),
            tasks: plan.content.tasks.clone(),
            waves: plan.content.waves.iter().map(|wave| wave.name.clone()).collect(),
            is_refused: report.is_refused(),
            findings: report.findings.clone(),
            held: self.held(&waits).await?,
            waits,
            next,
        });
        self.status.condition =
            if report.is_refused() { Condition::Refused } else { Condition::Waiting };
        self.show_release().await
    }

    /// A release is under way and waits.
    ///
    /// # Errors
    ///
    /// When the journal cannot be read.
    pub async fn show_waiting(&mut self) -> Result<()> {
        self.status.plan = None;
        self.status.condition = match self.running.as_ref().map(|it| it.row.phase) {
            Some(ReleasePhase::Paused | ReleasePhase::Failed) => Condition::NeedsPerson,
            _ => Condition::Releasing,
        };
        self.show_release().await
    }

    /// Publishes the status as it is now.
    pub(super) async fn show_release(&mut self) -> Result<()> {
        self.status.release = self.running.as_ref().map(|running| {
            let steps = running.plan().steps().count();
            let done = running.state.steps.values().filter(|step| step.is_complete()).count();
            let failures = running.state.steps.iter().filter_map(|(step, own)| {
                let StepStatus::Failed(failure) = &own.status else { return None };
                Some(StepFailure { step: step.clone(), failure: failure.clone() })
            });
            ReleaseStatus {
                row: running.row.clone(),
                waits: running.waits.clone(),
                done,
                products: progress::products(running.plan(), &running.state),
                steps,
                failures: failures.collect(),
            }
        });
        self.status.baseline = self.baseline.as_ref().map(|baseline| BaselineStatus {
            digest: baseline.digest(),
            revision: baseline.revision.clone(),
            recorded_at: baseline.recorded_at,
            products: baseline
                .products
                .iter()
                .map(|(name, product)| (name.clone(), product.version.clone()))
                .collect(),
        });
        let serial = |zone: &tidegate_core::zone::PublishedZone| match zone.zone.kind {
            ZoneKind::Hosted { .. } => zone.serial,
            ZoneKind::Forward { .. } => 0,
        };
        let zones = self.publisher.published();
        self.status.zones = zones.iter().map(|(name, it)| (name.clone(), serial(it))).collect();
        self.status.freezes.clone_from(&self.freezes);
        self.status.updated_at = Some(self.clock.now());
        if self.status.releases.is_empty() || self.running.is_some() {
            self.status.releases = self.journal.releases(20).await?;
        }
        self.statuses.send_replace(std::sync::Arc::new(self.status.clone()));
        Ok(())
    }

    /// What was kept of products that are gone.
    pub fn note_orphans(
        &mut self,
        plan: &Plan,
        wanted: (&DesiredState, &ValidSite),
        live: &LiveState,
    ) {
        let changes = &plan.content.changes;
        self.status.orphans = orphans(changes, wanted, live, self.baseline.as_ref());
    }

    /// What was seen of the clusters.
    pub(super) fn note_clusters(&mut self, live: &LiveState) {
        let objects = |name: &String| {
            self.inventory.entries.keys().filter(|reference| &reference.cluster == name).count()
        };
        let status = live.clusters.iter().map(|(name, seen)| {
            let status = ClusterStatus {
                version: seen.version.clone(),
                gap: seen.gap.clone().or_else(|| self.connection_gap(name)),
                objects: objects(name),
                is_sandbox: seen.version.as_deref().is_some_and(is_sandbox),
            };
            (name.clone(), status)
        });
        self.status.clusters = status.collect();
    }

    fn connection_gap(&self, name: &str) -> Option<Gap> {
        self.connection_gaps.get(name).cloned()
    }

    /// Hands the baseline back to git (reflow), where handing back the same again changes nothing. A remote that cannot be
    /// written is a finding, not a failure: the journal has it. What may pass is tried again with the next fetch.
    pub(super) async fn hand_back_baseline(&mut self) {
        self.is_baseline_handed_back = true;
        let Some(baseline) = &self.baseline else { return };
        let Ok(document) = serde_json::to_vec_pretty(baseline) else { return };
        let append = Append {
            branch: self.source.branches().baseline.clone(),
            files: vec![(format!("{}/baseline.json", baseline.site), document)],
            message: format!("baseline: {} after {}", baseline.site, baseline.release),
            by: agent(),
            at: self.clock.now(),
            may_replace: true,
        };
        if let Err(error) = self.source.append(append).await {
            tracing::warn!(error = chain(&error), "the baseline was not handed back to git");
            self.is_baseline_handed_back = !error.is_transient();
            self.status.findings.push(error.finding());
        }
    }

    /// The release that took back what the branch still asks for.
    async fn held(&self, waits: &[Finding]) -> Result<Option<Held>> {
        if !waits.iter().any(|wait| wait.code == "APPROVAL/HELD") {
            return Ok(None);
        }
        let releases = self.journal.releases(1).await?;
        let given_up = releases.into_iter().find(|row| row.phase == ReleasePhase::RolledBack);
        Ok(given_up.map(|row| {
            let offered = self.offered.as_ref().filter(|offered| offered.release == row.id);
            let branch = offered.and_then(|offered| offered.branch.clone());
            Held { revision: row.revision, release: row.id, branch }
        }))
    }

    /// A release that went back leaves its documents on the branch. What takes them back is offered on a branch of its own:
    /// the record in git then says what runs as soon as somebody merges it. The followed branch itself is never written.
    ///
    /// # Errors
    ///
    /// When the journal cannot be used. A remote that cannot be written is a finding; what may pass is tried again.
    pub(super) async fn offer_revert(&mut self) -> Result<()> {
        let Some(row) = self.journal.releases(1).await?.into_iter().next() else { return Ok(()) };
        let is_answered = self.offered.as_ref().is_some_and(|it| it.release == row.id);
        let (ReleasePhase::RolledBack, false) = (row.phase, is_answered) else { return Ok(()) };
        let (Some(before), Some(loaded)) = (&row.before_revision, &self.loaded) else {
            return Ok(());
        };
        let branch = format!("tidegate/revert/{}", row.id);
        let revert = Revert {
            branch: branch.clone(),
            onto: loaded.snapshot.revision.commit.clone(),
            from: row.revision.clone(),
            to: before.clone(),
            message: self.why_taken_back(&row).await?,
            by: agent(),
            at: self.clock.now(),
        };
        let branch = match self.source.revert(revert).await {
            Ok(is_made) => is_made.then_some(branch),
            Err(error) => {
                tracing::warn!(error = chain(&error), "no branch takes the documents back");
                self.status.findings.push(error.finding());
                if error.is_transient() {
                    return Ok(());
                }
                None
            }
        };
        let offered = Offered { release: row.id, branch };
        self.journal.set_fact(fact::REVERT, &offered).await?;
        self.offered = Some(offered);
        Ok(())
    }

    /// The message of the commit that takes a release's documents back.
    async fn why_taken_back(&self, row: &ReleaseRow) -> Result<String> {
        let state = ReleaseState::of(&self.journal.events(&row.id).await?);
        let plan = self.journal.plan(&row.plan).await?;
        let products = plan.map(|(plan, _)| progress::products(&plan, &state)).unwrap_or_default();
        let back = state.rollback.as_ref();
        let what = back.map(|back| back.part.to_string()).unwrap_or_default();
        let by = back.map_or("tidegate", |back| &back.by);
        let reason = back.map_or("", |back| &back.reason);
        let (revision, id) = (&row.revision, &row.id);
        Ok(format!(
            "revert: {id} was rolled back\n\n{what}: {reason} (by {by})\n\nTakes back all that {revision} \
             brought to the site's folder since the revision before.{}\n\nTidegate-Release: {id}\n",
            with_others(&products)
        ))
    }
}

/// What whoever merges the branch takes back beside what went back: documents of several products often share a file, so
/// that what belongs to one cannot be told apart.
fn with_others(products: &[ProductProgress]) -> String {
    let is_delivered =
        |it: &&ProductProgress| it.state == ProductState::Done && !it.product.is_empty();
    let delivered: Vec<&str> =
        products.iter().filter(is_delivered).map(|it| it.product.as_str()).collect();
    if delivered.is_empty() {
        return String::new();
    }
    format!(
        " That is the whole revision: {} ended well and would go back too. To keep it, take the other changes \
         back by hand.",
        delivered.join(", ")
    )
}

/// Who appends and takes back.
fn agent() -> Identity {
    Identity::new("tidegate", "tidegate@localhost")
}
