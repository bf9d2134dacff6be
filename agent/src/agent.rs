//! The agent of one site: what its loop holds between rounds, and what each round's steps do with it.

mod accepted;
mod held;
mod images;
mod report;
mod requests;
mod retention;

pub use accepted::Accepted;
pub use images::Images;
use report::Offered;
pub use retention::RETENTION;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use tidegate_core::approval::{VerifiedApproval, VerifiedMerge};
use tidegate_core::backoff::Backoff;
use tidegate_core::baseline::{Baseline, Reached, to_drain};
use tidegate_core::desired::DesiredState;
use tidegate_core::diff::{is_left_behind, taken_up_by};
use tidegate_core::digest::Digest;
use tidegate_core::gate::{self, ApprovedPlan, Evidence, GatePolicy, release_gate};
use tidegate_core::live::{
    ClusterObservation, Gap, Inventory, InventoryEntry, LiveState, Surroundings,
};
use tidegate_core::object::ObjectRef;
use tidegate_core::pin;
use tidegate_core::plan::{Plan, PlanReport};
use tidegate_core::progress::{self, ReleaseState};
use tidegate_core::release::{Event, ReleasePhase};
use tidegate_core::render::render;
use tidegate_core::site::ValidSite;
use tidegate_core::snapshot::{Identity, Snapshot};
use tidegate_core::validate::validate;
use tidegate_core::zone::PublishedZone;
use tidegate_schema::finding::Finding;
use tidegate_schema::site::Access;
use tokio::sync::{broadcast, mpsc, watch};

use crate::approve::{self, Keys};
use crate::cause::chain;
use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::earlier;
use crate::execute::{Advance, Checks, Hands, Running, fold_inventory};
use crate::handle::{Handle, Notice, Request};
use crate::journal::{
    self, Fact, InventoryChange, Journal, ReleaseRow, Signer, StoredApproval, fact,
};
use crate::publish::Publisher;
use crate::reconcile::reconcile;
use crate::source::{self, Source};
use crate::status::{Condition, Status};
use crate::wake::{Pace, Wake, Wakes};

/// During a release the loop rests after a round so many times as long as the round took, while nothing but clusters
/// changes: with thousands of pods something changes all the time, and a twentieth of the time is enough for it.
const REST: u32 = 19;
const LONGEST_REST: Duration = Duration::from_secs(1);

/// What ends a round, or the agent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The journal cannot be used: without it nothing may be done.
    #[error("failed to use the journal")]
    Journal(#[from] journal::Error),
}

type Result<T> = std::result::Result<T, Error>;

/// How to reach a cluster that is no part of this process' configuration: sandboxes, and overrides of tests.
pub type Connector = Arc<dyn Fn(&str, &Access) -> Option<kube::Client> + Send + Sync>;

/// What an agent is made of.
pub struct Parts {
    /// The site's repository.
    pub source: Source,
    /// The data folder; kubeconfig paths are relative to it.
    pub data: PathBuf,
    /// The journal in it.
    pub journal: Journal,
    /// The DNS server, when this agent serves names.
    pub dns: Option<crate::dns::DnsServer>,
    /// The clock.
    pub clock: Clock,
    /// How long a round is waited for at most when nothing wakes the loop.
    pub interval: Duration,
    /// Clients of clusters by name, before the documents are asked.
    pub connector: Connector,
    /// Who answers the checks of apps.
    pub checks: Checks,
    /// How images are looked up.
    pub images: Images,
    /// How long old records are kept.
    pub retention: Duration,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("data", &self.data).finish_non_exhaustive()
    }
}

/// A revision that was loaded.
#[derive(Debug)]
pub struct Loaded {
    /// Its files.
    pub snapshot: Snapshot,
    /// Who wrote what came since the accepted revision.
    pub authors: Vec<Identity>,
}

/// What a revision means: made anew when the revision changes, and when time alone changes it.
#[derive(Debug)]
pub struct Meaning {
    commit: String,
    until: Option<Timestamp>,
    at: Timestamp,
    /// The site; `None` when the revision is refused.
    pub site: Option<ValidSite>,
    /// What should be true.
    pub desired: DesiredState,
    /// Findings of the revision.
    pub findings: Vec<Finding>,
}

/// The agent of one site.
pub struct Agent {
    source: Source,
    data: PathBuf,
    journal: Journal,
    clock: Clock,
    interval: Duration,
    connector: Connector,
    checks: Checks,
    clusters: BTreeMap<String, Cluster>,
    connection_gaps: BTreeMap<String, Gap>,
    publisher: Publisher,
    images: Images,
    retention: Duration,
    removed_at: Option<Timestamp>,
    inventory: Inventory,
    baseline: Option<Baseline>,
    accepted: Option<Accepted>,
    running: Option<Running>,
    resumable: Option<ReleaseRow>,
    loaded: Option<Arc<Loaded>>,
    meaning: Option<Arc<Meaning>>,
    fetched_at: Option<tokio::time::Instant>,
    approvals: Vec<VerifiedApproval>,
    verified: Option<Digest>,
    approval_findings: Vec<Finding>,
    refused_approvals: Vec<Finding>,
    merges: Vec<VerifiedMerge>,
    refused_merges: Vec<Finding>,
    verified_merges: Option<Digest>,
    consumed: BTreeSet<String>,
    freezes: Vec<Finding>,
    is_baseline_handed_back: bool,
    /// Autoscalers that an ended release has left held.
    held: Vec<ObjectRef>,
    offered: Option<Offered>,
    status: Status,
    statuses: watch::Sender<Arc<Status>>,
    requests: mpsc::Receiver<Request>,
    notices: broadcast::Sender<Notice>,
    wakes: Wakes,
}

/// What the gate is told, owned for the length of a round.
#[derive(Debug)]
pub struct GateEvidence {
    approvals: Vec<VerifiedApproval>,
    merges: Vec<VerifiedMerge>,
    consumed: BTreeSet<String>,
    freezes: Vec<Finding>,
    given_up_at: Option<Timestamp>,
}

impl GateEvidence {
    /// At an instant.
    pub fn of(&self, now: Timestamp) -> Evidence<'_> {
        Evidence {
            approvals: &self.approvals,
            merges: &self.merges,
            consumed: &self.consumed,
            freezes: &self.freezes,
            given_up_at: self.given_up_at,
            now,
        }
    }
}

impl Agent {
    /// Takes up a site: everything that the journal knows, a release that was under way included.
    ///
    /// # Errors
    ///
    /// When the journal cannot be read.
    pub async fn open(parts: Parts) -> Result<(Self, Handle)> {
        let Parts {
            source,
            data,
            journal,
            dns,
            clock,
            interval,
            connector,
            checks,
            mut images,
            retention,
        } = parts;
        images.remember(journal.fact(fact::IMAGES).await?.unwrap_or_default());
        let publisher = Publisher::start(dns, &journal, data.join("zones.json")).await?;
        let releases = journal.releases(20).await?;
        let accepted: Option<Accepted> = journal.fact(fact::ACCEPTED).await?;
        let mut first = Status::default();
        first.source.accepts(accepted.as_ref());
        let (statuses, status) = watch::channel(Arc::new(first.clone()));
        let (request_sender, requests) = mpsc::channel(64);
        let (notices, _) = broadcast::channel(1024);
        let wakes = Wakes::new();
        let handle = Handle {
            status,
            requests: request_sender,
            notices: notices.clone(),
            journal: journal.clone(),
            clock: clock.clone(),
            wakes: wakes.clone(),
        };
        let agent = Self {
            inventory: journal.inventory().await?,
            baseline: journal.fact(fact::BASELINE).await?,
            accepted,
            consumed: journal.consumed().await?,
            freezes: journal.fact::<Vec<Finding>>(fact::FREEZE).await?.unwrap_or_default(),
            offered: journal.fact(fact::REVERT).await?,
            held: journal.fact(fact::HELD).await?.unwrap_or_default(),
            resumable: releases.iter().find(|row| !row.phase.is_ended()).cloned(),
            status: Status { releases, ..first },
            source,
            data,
            journal,
            clock,
            interval,
            connector,
            checks,
            clusters: BTreeMap::new(),
            connection_gaps: BTreeMap::new(),
            publisher,
            images,
            retention,
            removed_at: None,
            // The agent may have been killed after a release had ended and before git had its baseline.
            is_baseline_handed_back: false,
            running: None,
            loaded: None,
            meaning: None,
            fetched_at: None,
            verified: None,
            approval_findings: Vec::new(),
            refused_approvals: Vec::new(),
            merges: Vec::new(),
            refused_merges: Vec::new(),
            verified_merges: None,
            approvals: Vec::new(),
            statuses,
            requests,
            notices,
            wakes,
        };
        Ok((agent, handle))
    }

    /// The loop: a round for each wake and each interval, until the shutdown. The round under way is finished first.
    ///
    /// # Errors
    ///
    /// When the journal cannot be used.
    pub async fn run(mut self) -> Result<()> {
        let mut pace = Pace::new(polling(self.interval), u64::from(std::process::id()));
        self.wakes.wake(Wake::Started);
        let mut wait = Duration::ZERO;
        loop {
            let reasons = self.wakes.next(wait).await;
            if reasons.contains(&Wake::Shutdown) {
                return Ok(());
            }
            tracing::debug!(?reasons, "round");
            if reasons.iter().any(|reason| concerns_source(*reason)) {
                self.fetched_at = None;
            }
            let began = tokio::time::Instant::now();
            let next = Box::pin(reconcile(&mut self)).await?;
            let rest = began.elapsed().saturating_mul(REST).min(LONGEST_REST);
            self.watch_clusters();
            let polled = pace.after(self.status.source.problem.is_none());
            wait = self.until(next, polled);
            if self.is_releasing() {
                self.wakes.rest(rest).await;
            }
        }
    }

    /// How long to wait: to the instant at which time alone changes the answer, and never longer than the poll. While
    /// pods move they are looked at each second, as those of plain manifests wake nobody.
    fn until(&self, next: Option<Timestamp>, polled: Duration) -> Duration {
        let now = self.clock.now();
        let until_next = next.map(|next| {
            let left = next.duration_since(now);
            Duration::try_from(left).unwrap_or(Duration::ZERO)
        });
        let is_moving =
            self.running.as_ref().is_some_and(|it| it.row.phase != ReleasePhase::Failed);
        let pods = is_moving.then_some(Duration::from_secs(1));
        [until_next, pods].into_iter().flatten().fold(polled, Duration::min)
    }

    /// A change in a cluster wakes the loop.
    fn watch_clusters(&mut self) {
        for cluster in self.clusters.values_mut() {
            if let Some(mut changes) = cluster.take_changes() {
                let wakes = self.wakes.clone();
                tokio::spawn(async move {
                    while changes.changed().await.is_ok() {
                        wakes.wake(Wake::ClusterChanged);
                    }
                });
            }
        }
    }

    /// The instant.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What is ours.
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// Zones as published.
    pub fn published(&self) -> &BTreeMap<String, PublishedZone> {
        self.publisher.published()
    }

    /// What the site has reached.
    pub fn baseline(&self) -> Option<&Baseline> {
        self.baseline.as_ref()
    }

    /// Whether a release of before the restart could not be taken up yet: until then nothing else may start.
    pub fn has_release_to_take_up(&self) -> bool {
        self.resumable.is_some()
    }

    /// Whether a release is under way.
    pub fn is_releasing(&self) -> bool {
        self.running.is_some()
    }

    /// The head of the branch with everything that it holds. `None` when there is nothing that could be looked at: then the
    /// status says why.
    ///
    /// # Errors
    ///
    /// When the journal cannot be written.
    pub async fn load(&mut self) -> Result<Option<Arc<Loaded>>> {
        let is_due = self.fetched_at.is_none_or(|at| at.elapsed() >= self.interval);
        if is_due {
            let accepted = self.accepted.as_ref().map(|accepted| accepted.commit.clone());
            self.status.source.url = self.source.location().to_string();
            self.source.branch().clone_into(&mut self.status.source.branch);
            match self.try_load(accepted.as_deref()).await {
                Ok(()) => self.status.source.problem = None,
                Err(error) => {
                    tracing::warn!(error = %error, "the repository could not be read");
                    self.status.source.problem = Some(error.finding());
                }
            }
            self.fetched_at = Some(tokio::time::Instant::now());
            self.keep_approvals().await?;
        }
        self.verify_approvals().await?;
        self.verify_merges().await?;
        if is_due && self.status.source.problem.is_none() && !self.is_baseline_handed_back {
            self.hand_back_baseline().await;
        }
        if is_due && self.status.source.problem.is_none() {
            self.offer_revert().await?;
        }
        Ok(self.loaded.clone())
    }

    /// What the loaded revision means at this instant.
    pub fn meaning(&mut self, loaded: &Loaded) -> Arc<Meaning> {
        let now = self.clock.now();
        let commit = &loaded.snapshot.revision.commit;
        let is_current = |known: &&Arc<Meaning>| {
            known.commit == *commit && known.until.is_none_or(|until| now < until)
        };
        if let Some(known) = self.meaning.clone().filter(|known| is_current(&known)) {
            return self.with_pins(known);
        }
        let (site, findings) = validate(&loaded.snapshot, now);
        let site = site.map(|site| {
            let pins = self.pins(&site);
            site.with_pins(pins)
        });
        let desired = site.as_ref().map(|site| render(site, now)).unwrap_or_default();
        let until = site.as_ref().and_then(|site| site.next_expiry(now));
        let made = Meaning { commit: commit.clone(), until, at: now, site, desired, findings };
        Arc::clone(self.meaning.insert(Arc::new(made)))
    }

    async fn try_load(&mut self, accepted: Option<&str>) -> std::result::Result<(), source::Error> {
        let head = self.source.fetch(accepted).await?;
        self.freezes.retain(|freeze| !freeze.code.starts_with("SOURCE/"));
        if let Some(finding) = head.finding()
            && !self.is_acknowledged(&head.revision.commit)
        {
            self.freezes.push(finding);
        }
        self.status.source.attempted = Some(head.revision.clone());
        let is_known = self
            .loaded
            .as_ref()
            .filter(|loaded| earlier::is_complete(&loaded.snapshot))
            .is_some_and(|loaded| loaded.snapshot.revision.commit == head.revision.commit);
        if is_known {
            return Ok(());
        }
        let snapshot = self.snapshot(&head.revision.commit, None).await?;
        let authors = self.source.authors(accepted, &head.revision.commit).await?;
        tracing::info!(commit = head.revision.commit, subject = head.revision.subject, "loaded");
        self.loaded = Some(Arc::new(Loaded { snapshot, authors }));
        // The same commit may mean something else, once a release that it goes back to is known.
        self.meaning = None;
        Ok(())
    }

    /// The files of a commit, and of the releases before an instant that its operations go back to.
    async fn snapshot(
        &self,
        commit: &str,
        before: Option<Timestamp>,
    ) -> std::result::Result<Snapshot, source::Error> {
        let snapshot = self.source.snapshot(commit).await?;
        let releases = Past { source: &self.source, journal: &self.journal };
        Ok(earlier::complete(snapshot, &releases, before).await)
    }

    fn is_acknowledged(&self, commit: &str) -> bool {
        self.accepted
            .as_ref()
            .is_some_and(|accepted| accepted.acknowledged.as_deref() == Some(commit))
    }

    /// Approvals of the branch are kept in the journal, so that what was seen once stays known.
    async fn keep_approvals(&mut self) -> Result<()> {
        self.approval_findings.clear();
        match self.source.approvals().await {
            Ok(approvals) => {
                self.approval_findings.extend(approvals.findings.iter().cloned());
                let stored = |file: &source::ApprovalFile| {
                    Some(StoredApproval {
                        path: file.path.clone(),
                        document: String::from_utf8(file.document.clone()).ok()?,
                        signature: String::from_utf8(file.signature.clone()?).ok()?,
                    })
                };
                let files: Vec<StoredApproval> =
                    approvals.files.iter().filter_map(stored).collect();
                self.journal.keep_approvals(&files, self.clock.now()).await?;
            }
            Err(error) => self.approval_findings.push(error.finding()),
        }
        Ok(())
    }

    /// All approvals that were ever seen, verified by the keys that count; again only when files or keys changed.
    async fn verify_approvals(&mut self) -> Result<()> {
        let files = self.journal.approvals().await?;
        let keys = self.keys();
        let paths: Vec<&String> = files.iter().map(|file| &file.path).collect();
        let basis = Digest::of(&(paths, &keys));
        let is_known = self.verified.as_ref().is_some_and(|known| *known == basis);
        if !is_known {
            let (verified, refused) = approve::verify(&files, &keys, self.clock.now());
            // One that is from the future now may count later.
            let is_final = refused.iter().all(|it| it.code != "APPROVAL/FROM_THE_FUTURE");
            self.keep_signers(verified.iter().filter_map(signer)).await?;
            self.approvals = verified;
            self.verified = is_final.then_some(basis);
            self.refused_approvals = refused;
        }
        self.status.findings.clone_from(&self.approval_findings);
        self.status.findings.extend(self.refused_approvals.iter().cloned());
        Ok(())
    }

    /// Merges since the accepted revision that say which plan they approve, verified by the keys that count; again only when
    /// commits or keys changed.
    async fn verify_merges(&mut self) -> Result<()> {
        let Some(head) = self.loaded.as_ref().map(|it| it.snapshot.revision.commit.clone()) else {
            return Ok(());
        };
        let keys = self.merge_keys();
        let accepted = self.accepted.as_ref().map(|accepted| accepted.commit.clone());
        let basis = Digest::of(&(&head, &accepted, &keys));
        if self.verified_merges.as_ref() != Some(&basis) {
            // Where nobody is trusted with merges none is read, and what they say is said of none.
            let found = if keys.is_empty() {
                Ok(Vec::new())
            } else {
                self.source.merges(accepted.as_deref(), &head).await
            };
            match found {
                Ok(merges) => {
                    let now = self.clock.now();
                    (self.merges, self.refused_merges) =
                        approve::verify_merges(&merges, &keys, now);
                    self.keep_signers(self.merges.iter().map(merger)).await?;
                    let is_final = merges.iter().all(|merge| merge.at <= now);
                    self.verified_merges = is_final.then_some(basis);
                }
                Err(error) => {
                    tracing::warn!(error = chain(&error), "merges could not be read");
                    (self.merges, self.refused_merges) = (Vec::new(), vec![error.finding()]);
                    self.verified_merges = None;
                }
            }
        }
        self.status.findings.extend(self.refused_merges.iter().cloned());
        Ok(())
    }

    /// Who said what is part of the record, also when keys are exchanged later.
    async fn keep_signers(&self, signers: impl Iterator<Item = Signer>) -> Result<()> {
        let signers: Vec<Signer> = signers.collect();
        Ok(self.journal.keep_signers(&signers).await?)
    }

    /// The accepted revision, when it knows anybody who could approve. A site that begins without persons could otherwise
    /// never get any: nobody's approval of them would count.
    fn trusted(&self) -> Option<&Accepted> {
        self.accepted.as_ref().filter(|accepted| accepted.knows_anybody())
    }

    /// Whether there is anybody whose signature could count for a release of a site.
    fn knows_anybody(&self, site: &ValidSite) -> bool {
        self.trusted().is_some() || accepted::keys(site).values().any(|keys| !keys.is_empty())
    }

    /// Whose approvals count.
    fn keys(&mut self) -> Keys {
        self.keys_by(|accepted| &accepted.keys, accepted::keys)
    }

    /// Whose merges count.
    fn merge_keys(&mut self) -> Keys {
        self.keys_by(|accepted| &accepted.merge_keys, accepted::merge_keys)
    }

    /// Keys as of the accepted revision; before the first one with persons, of the revision itself, as there is nothing
    /// older to trust.
    fn keys_by(&mut self, of: fn(&Accepted) -> &Keys, of_site: fn(&ValidSite) -> Keys) -> Keys {
        if let Some(accepted) = self.trusted() {
            return of(accepted).clone();
        }
        let Some(loaded) = self.loaded.clone() else { return Keys::new() };
        self.meaning(&loaded).site.as_ref().map(of_site).unwrap_or_default()
    }

    /// Findings of the attempted revision join those of approvals.
    pub fn note_findings(&mut self, findings: &[Finding]) {
        self.status.findings.extend(findings.iter().cloned());
        self.status.findings.sort();
        self.status.findings.dedup();
    }

    /// Clients for clusters that are new or could not be reached before.
    pub async fn connect(&mut self, site: &ValidSite) {
        self.status.site.clone_from(&site.name);
        self.clusters.retain(|name, _| site.clusters.contains_key(name));
        self.connection_gaps.clear();
        for (name, cluster) in &site.clusters {
            if self.clusters.contains_key(name) {
                continue;
            }
            if let Some(client) = (self.connector)(name, &cluster.spec.access) {
                self.clusters.insert(name.clone(), Cluster::of_client(name, &site.name, client));
                continue;
            }
            let connected = Cluster::connect(name, &site.name, &cluster.spec.access, &self.data);
            let message = match connected.await {
                Ok(Some(cluster)) => {
                    self.clusters.insert(name.clone(), cluster);
                    continue;
                }
                Ok(None) => "this agent runs no sandboxes; start it with --sandbox".to_owned(),
                Err(error) => chain(&error),
            };
            let gap = Gap { code: "CLUSTER/NOT_CONNECTED".to_owned(), message };
            self.connection_gaps.insert(name.clone(), gap);
        }
    }

    /// What is live in all clusters, side by side.
    pub async fn observe(&mut self, site: &ValidSite, desired: &DesiredState) -> LiveState {
        let now = self.clock.now();
        let observations = site.clusters.keys().map(|name| {
            let own: Vec<_> =
                desired.objects.iter().filter(|object| &object.reference.cluster == name).collect();
            let ours: Vec<_> =
                self.inventory.entries.iter().filter(|(it, _)| &it.cluster == name).collect();
            let (cluster, gap) = (self.clusters.get(name), self.connection_gaps.get(name));
            let drained = to_drain(desired, self.baseline.as_ref(), name);
            async move {
                let observation = match cluster {
                    Some(cluster) => {
                        let mut observation = cluster.observe(&own, &ours, now).await;
                        cluster.add_nodes(&drained, &mut observation).await;
                        observation
                    }
                    None => unobserved(gap.cloned(), now),
                };
                (name.clone(), observation)
            }
        });
        let clusters = futures::future::join_all(observations).await.into_iter().collect();
        LiveState { clusters }
    }

    /// An agent that was killed between an apply and its record leaves an intention behind, and an object that says whose
    /// it is. When the release did not come back to it, it is recorded here: it could never be pruned otherwise. So is which
    /// claim it was that a set has left behind.
    ///
    /// # Errors
    ///
    /// When the journal cannot be written.
    pub async fn complete_inventory(
        &mut self,
        desired: &DesiredState,
        live: &LiveState,
    ) -> Result<()> {
        let mut changes: Vec<InventoryChange> = self
            .inventory
            .entries
            .iter()
            .filter(|(_, entry)| entry.uid.is_none())
            .filter_map(|(reference, entry)| {
                let found = live.observation(reference)?.live()?;
                let is_ours = found.is_applied_by_us() || is_left_behind(reference, entry);
                let uid = is_ours.then(|| found.uid().to_owned())?;
                let entry = InventoryEntry { uid: Some(uid), ..entry.clone() };
                Some(InventoryChange::Applied(reference.clone(), entry))
            })
            .collect();
        changes.extend(self.taken_up(desired, live));
        if !changes.is_empty() {
            self.journal.change_inventory(&changes).await?;
            fold_inventory(&mut self.inventory, &changes);
        }
        Ok(())
    }

    /// Claims that were left behind and belong again to a set that is there: it is enough to know of that.
    fn taken_up(&self, desired: &DesiredState, live: &LiveState) -> Vec<InventoryChange> {
        let entries = self.inventory.entries.iter();
        let left = entries.filter(|(reference, entry)| is_left_behind(reference, entry));
        let is_there = |set| live.observation(set).is_some_and(|it| it.live.is_some());
        let taken =
            left.filter(|(reference, _)| taken_up_by(reference, desired).is_some_and(is_there));
        taken.map(|(reference, _)| InventoryChange::Remove(reference.clone())).collect()
    }

    /// The digest of the policies, persons and groups of the accepted revision.
    pub fn accepted_policies(&self) -> Option<&Digest> {
        self.accepted.as_ref().map(|accepted| &accepted.policies)
    }

    /// The policy that counts: of the accepted revision. Before the first one with persons the revision vouches for
    /// itself, as there is nothing older to trust.
    pub fn policy(&self, site: &ValidSite) -> GatePolicy {
        self.trusted().map_or_else(|| GatePolicy::of(site), |it| it.policy.clone())
    }

    /// Keeps the plan, so that it can be shown and approved.
    ///
    /// # Errors
    ///
    /// When the journal cannot be written.
    pub async fn save(&self, plan: &Plan, report: &PlanReport) -> Result<()> {
        Ok(self.journal.save_plan(plan, report, self.clock.now()).await?)
    }

    /// What the gate is told about a plan.
    ///
    /// # Errors
    ///
    /// When the journal cannot be read.
    pub async fn evidence(&self, plan: &Plan) -> Result<GateEvidence> {
        let id = plan.id();
        let releases = self.journal.releases(100).await?;
        // A release that was given up half way has changed the clusters, and with them the plan's digest: what its revision
        // wants stays given up all the same.
        let last = releases.iter().find(|row| row.plan == id || row.revision == plan.revision);
        let given_up_at = last
            .filter(|row| matches!(row.phase, ReleasePhase::RolledBack | ReleasePhase::Cancelled))
            .and_then(|row| row.ended_at);
        Ok(GateEvidence {
            approvals: self.approvals.clone(),
            merges: self.merges.clone(),
            consumed: self.consumed.clone(),
            freezes: self.freezes.clone(),
            given_up_at,
        })
    }

    /// Starts a release for an approved plan, or accepts it at once when only documents change.
    ///
    /// # Errors
    ///
    /// When the journal cannot be written.
    pub async fn start(
        &mut self,
        approved: ApprovedPlan,
        meaning: &Meaning,
        live: &LiveState,
    ) -> Result<()> {
        let Some(site) = &meaning.site else { return Ok(()) };
        self.note_clusters(live);
        let before_revision = self.baseline.as_ref().map(|baseline| baseline.revision.clone());
        let now = self.clock.now();
        let before = self.content_of(before_revision.as_deref(), now).await?;
        if meaning.until.is_some_and(|until| now >= until) {
            // Time has changed what the site wants while the clusters were asked; after a restart the content would be made
            // as of the start, and not be the approved one. The next round plans anew.
            return Ok(());
        }
        self.consumed.extend(approved.approvals().iter().cloned());
        let mut hands = Hands {
            journal: &self.journal,
            clusters: &self.clusters,
            checks: self.checks,
            publisher: &mut self.publisher,
            inventory: &mut self.inventory,
        };
        let running = Running::start(
            Arc::new(approved),
            site.clone(),
            meaning.desired.clone(),
            before.unwrap_or_default(),
            before_revision.as_deref(),
            &mut hands,
            now,
        )
        .await?;
        self.running = Some(running);
        self.status.plan = None;
        self.status.condition = Condition::Releasing;
        self.show_release().await
    }

    /// The desired state of an earlier commit as the release delivered it that was the last to do so before an instant: what
    /// ended since, such as an operation, stood then. `None` when it cannot be made any more.
    async fn content_of(
        &self,
        commit: Option<&str>,
        before: Timestamp,
    ) -> Result<Option<DesiredState>> {
        let Some(commit) = commit else { return Ok(None) };
        let at = self.journal.delivered(commit, before).await?.unwrap_or(before);
        match self.snapshot(commit, Some(before)).await {
            Ok(snapshot) => Ok(validate(&snapshot, at).0.map(|site| {
                let pins = pin::planned(&site, self.baseline.as_ref(), &BTreeMap::new());
                render(&site.with_pins(pins), at)
            })),
            Err(error) => {
                tracing::warn!(%error, "an earlier revision is gone");
                Ok(None)
            }
        }
    }

    /// Takes up the release that was under way when the agent ended, once what it applies can be read.
    ///
    /// # Errors
    ///
    /// When the journal cannot be read or written.
    pub async fn resume(&mut self) -> Result<()> {
        let Some(row) = self.resumable.clone() else { return Ok(()) };
        let snapshot = self.snapshot(&row.revision, Some(row.started_at)).await;
        if let Err(error) = &snapshot
            && (error.is_transient() || self.status.source.attempted.is_none())
        {
            // Nothing may be concluded from a failure that may pass: the next round reads again, and starts nothing. A copy of
            // the repository that is lost or damaged is made anew by the first fetch of this life.
            tracing::warn!(%error, release = row.id, "the release cannot be taken up yet");
            return Ok(());
        }
        self.resumable = None;
        let Some((plan, _)) = self.journal.plan(&row.plan).await? else { return Ok(()) };
        let state = ReleaseState::of(&self.journal.events(&row.id).await?);
        let site = snapshot.ok().and_then(|snapshot| {
            // Content is made as it was at the start: grants that expired meanwhile are the next plan's.
            let site = validate(&snapshot, row.started_at).0?;
            pin::as_planned(&site, self.baseline.as_ref(), &plan, row.started_at)
        });
        let Some((desired, site)) = site else {
            // Without the content that was approved nothing more may be written.
            return self
                .give_up(&row, "tidegate", "the approved content cannot be made any more")
                .await;
        };
        let before = self.content_of(row.before_revision.as_deref(), row.started_at).await?;
        let before = before.unwrap_or_default();
        let approvals = state.approvals.iter().cloned().collect();
        let Some(approved) = gate::reopened(plan, &row.plan, approvals) else { return Ok(()) };
        tracing::info!(release = row.id, "release taken up");
        self.connect(&site).await;
        self.running = Some(Running::of(row, Arc::new(approved), site, desired, before, state));
        Ok(())
    }

    /// Ends a release of before the restart that was not taken up: what it has begun stays as it is.
    ///
    /// # Errors
    ///
    /// When the journal cannot be written.
    pub(crate) async fn give_up(&mut self, row: &ReleaseRow, by: &str, reason: &str) -> Result<()> {
        let Some((plan, _)) = self.journal.plan(&row.plan).await? else { return Ok(()) };
        let state = ReleaseState::of(&self.journal.events(&row.id).await?);
        let now = self.clock.now();
        let mut phase = state.phase(&plan);
        if !phase.is_ended() {
            let (by, reason) = (by.to_owned(), reason.to_owned());
            let cancelled = Event::Cancelled { by, reason };
            self.journal.append(&row.id, &[cancelled], &[], &[], now).await?;
            phase = ReleasePhase::Cancelled;
        }
        // What it has begun for operations is begun all the same.
        let carried_out = state.carried_out(&plan);
        let mut facts = Vec::new();
        if let Some(baseline) = self.baseline.as_mut().filter(|_| !carried_out.is_empty()) {
            baseline.remember(&row.id, now, &carried_out);
            facts.push(Fact::new(fact::BASELINE, baseline)?);
        }
        facts.extend(self.take_over_held(&state)?);
        Ok(self.journal.set_phase(&row.id, phase, &facts, now).await?)
    }

    /// Lets a stuck release make room: it failed, and the branch now wants something else.
    ///
    /// # Errors
    ///
    /// When the journal cannot be written.
    pub async fn supersede_if_stuck(&mut self, desired: &DesiredState) -> Result<()> {
        let Some(running) = &self.running else { return Ok(()) };
        if running.row.phase != ReleasePhase::Failed {
            return Ok(());
        }
        let wanted: Digest = desired.digest();
        if wanted == running.plan().content.desired {
            return Ok(());
        }
        self.record(vec![Event::Superseded { by: wanted }]).await?;
        self.finish().await
    }

    /// Goes on with the release under way.
    ///
    /// # Errors
    ///
    /// When the journal cannot be written.
    pub async fn advance(&mut self) -> Result<Advance> {
        let Some(running) = &self.running else { return Ok(Advance::Waiting(None)) };
        let policy = self.policy(&running.site);
        let Some(running) = &mut self.running else { return Ok(Advance::Waiting(None)) };
        let clock = self.clock.clone();
        let (approvals, freezes) = (self.approvals.clone(), self.freezes.clone());
        let merges = self.merges.clone();
        let consumed = self.consumed.clone();
        let approved = Arc::clone(&running.approved);
        let own_clock = clock.clone();
        let mut hands = Hands {
            journal: &self.journal,
            clusters: &self.clusters,
            checks: self.checks,
            publisher: &mut self.publisher,
            inventory: &mut self.inventory,
        };
        let before = running.state.last;
        let now = clock.now();
        let evidence = Evidence {
            approvals: &approvals,
            merges: &merges,
            consumed: &consumed,
            freezes: &freezes,
            given_up_at: None,
            now,
        };
        let confirmed = progress::signed_confirmations(
            &running.row.id,
            &approved,
            &running.state,
            &policy,
            evidence,
        );
        if !confirmed.is_empty() {
            running.record(confirmed, &mut hands, now).await?;
        }
        let (waived, refused) =
            progress::signed_waivers(&running.row.id, &approved, &running.state, &policy, evidence);
        if !waived.is_empty() {
            running.record(waived, &mut hands, now).await?;
        }
        let gate = move |wave: usize, state: &ReleaseState| {
            // What this release consumed counts for all its waves.
            let consumed = consumed.difference(&state.approvals).cloned().collect();
            let now = own_clock.now();
            let evidence = Evidence {
                approvals: &approvals,
                merges: &merges,
                consumed: &consumed,
                freezes: &freezes,
                given_up_at: None,
                now,
            };
            release_gate(&approved, wave, &policy, evidence)
        };
        let advance = running.advance(gate, &mut hands, move || clock.now()).await?;
        self.consumed.extend(running.state.approvals.iter().cloned());
        self.note_findings(&refused);
        self.announce(before).await?;
        if let Advance::Ended(_) = advance {
            self.finish().await?;
        }
        Ok(advance)
    }

    /// Records events of a person's command, or of the loop itself.
    async fn record(&mut self, events: Vec<Event>) -> Result<()> {
        let Some(running) = &mut self.running else { return Ok(()) };
        let before = running.state.last;
        let now = self.clock.now();
        let mut hands = Hands {
            journal: &self.journal,
            clusters: &self.clusters,
            checks: self.checks,
            publisher: &mut self.publisher,
            inventory: &mut self.inventory,
        };
        running.record(events, &mut hands, now).await?;
        self.announce(before).await
    }

    /// Those who listen hear what was recorded.
    async fn announce(&self, after: u64) -> Result<()> {
        let Some(running) = &self.running else { return Ok(()) };
        if self.notices.receiver_count() == 0 {
            return Ok(());
        }
        let events = self.journal.events(&running.row.id).await?;
        for event in events.into_iter().filter(|event| event.number > after) {
            // Nobody listening any more is no fault.
            let _sent = self.notices.send(Notice { release: running.row.id.clone(), event });
        }
        Ok(())
    }

    /// The end of a release: what it delivered becomes the baseline, and its revision the accepted one when all was.
    async fn finish(&mut self) -> Result<()> {
        let Some(mut running) = self.running.take() else { return Ok(()) };
        let now = self.clock.now();
        let phase = running.state.phase(running.plan());
        let reached = Reached {
            release: &running.row.id,
            at: now,
            is_complete: phase == ReleasePhase::Done,
            products: &running.delivered(),
            zones: self.publisher.published(),
            carried_out: &running.state.carried_out(running.plan()),
        };
        let baseline = Baseline::after(
            self.baseline.as_ref(),
            running.plan(),
            &running.desired,
            &running.site,
            reached,
        );
        let accepted = (phase == ReleasePhase::Done).then(|| Accepted::of(&running.site));
        let mut facts = vec![Fact::new(fact::BASELINE, &baseline)?];
        if let Some(accepted) = &accepted {
            facts.push(Fact::new(fact::ACCEPTED, accepted)?);
        }
        facts.extend(self.take_over_held(&running.state)?);
        running.finish(&facts, &self.journal, now).await?;
        self.clusters.values().for_each(Cluster::end_watch_over_pods);
        self.baseline = Some(baseline);
        if let Some(accepted) = accepted {
            self.now_follows(accepted);
        }
        self.status.releases = self.journal.releases(20).await?;
        self.status.release = None;
        self.hand_back_baseline().await;
        self.offer_revert().await
    }
}

/// Releases as the agent itself knows them.
struct Past<'a> {
    source: &'a Source,
    journal: &'a Journal,
}

impl earlier::Releases for Past<'_> {
    fn row(&self, id: &str) -> BoxFuture<'_, std::result::Result<Option<ReleaseRow>, String>> {
        let id = id.to_owned();
        Box::pin(async move { self.journal.release(&id).await.map_err(|error| chain(&error)) })
    }

    fn files(&self, commit: &str) -> BoxFuture<'_, std::result::Result<Snapshot, String>> {
        let commit = commit.to_owned();
        Box::pin(async move { self.source.snapshot(&commit).await.map_err(|error| chain(&error)) })
    }
}

/// Who approved or rejected a plan, or a wave of it; what somebody confirms or waives is in the release's events.
fn signer(approval: &VerifiedApproval) -> Option<Signer> {
    approval.scope.is_of_plan().then(|| Signer {
        approval: approval.name.clone(),
        plan: approval.plan.clone(),
        person: approval.person.clone(),
    })
}

fn merger(merge: &VerifiedMerge) -> Signer {
    Signer { approval: merge.name(), plan: merge.plan.clone(), person: merge.by.join(", ") }
}

/// Whether a wake says that the repository may have changed.
fn concerns_source(reason: Wake) -> bool {
    match reason {
        Wake::Started | Wake::Pushed | Wake::FilesChanged | Wake::ApprovalArrived => true,
        Wake::Timer
        | Wake::ClusterChanged
        | Wake::Requested
        | Wake::GrantExpires
        | Wake::Shutdown => false,
    }
}

/// A tenth of the interval is spread by chance; failures make it grow tenfold at the most.
fn polling(interval: Duration) -> Backoff {
    Backoff { interval, longest: interval.saturating_mul(10), jitter: 100 }
}

fn unobserved(gap: Option<Gap>, now: Timestamp) -> ClusterObservation {
    let unknown = || Gap { code: "CLUSTER/NOT_CONNECTED".to_owned(), message: String::new() };
    ClusterObservation {
        uid: None,
        version: None,
        observed_at: now,
        gap: Some(gap.unwrap_or_else(unknown)),
        gaps: BTreeMap::new(),
        objects: BTreeMap::new(),
        around: Surroundings::default(),
    }
}
