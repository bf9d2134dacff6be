//! The handle by which the status endpoint, the commands and the demo speak to a running agent.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::baseline::{Baseline, Export};
use tidegate_core::delivery::{self, Counted, Delivery};
use tidegate_core::digest::Digest;
use tidegate_core::history::{Course, Wanted};
use tidegate_core::live::{Inventory, Tool};
use tidegate_core::object::ObjectRef;
use tidegate_core::plan::{Plan, PlanReport};
use tidegate_core::release::{Command, ReleaseEvent};
use tidegate_schema::finding::Finding;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::clock::Clock;
use crate::journal::{self, Journal, KeptRun, ReleaseSummary, RunWithLogs, StoredApproval, fact};
use crate::status::Status;
use crate::wake::{Wake, Wakes};

/// A command that was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Recorded {
    /// The release that it is for.
    pub release: String,
    /// Ids of the steps that are tried again, count as done, are given up or have a group confirmed by it, in the plan's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<String>,
}

/// What somebody asks of the agent's loop.
#[derive(Debug)]
pub enum Request {
    /// A command to a release.
    Command {
        /// Id of the release; the one under way when absent.
        release: Option<String>,
        /// What.
        command: Command,
        /// Who.
        by: String,
        /// The answer: what was recorded, or why nothing.
        reply: oneshot::Sender<Result<Recorded, Finding>>,
    },
    /// An approval file that came by another way than the branch.
    Approval {
        /// The file.
        file: StoredApproval,
        /// The answer.
        reply: oneshot::Sender<Result<(), Vec<Finding>>>,
    },
    /// Acknowledge a rewritten history, or lift an operator's freeze.
    Unfreeze {
        /// Who.
        by: String,
        /// The answer.
        reply: oneshot::Sender<Result<(), Finding>>,
    },
    /// Take objects over that exist and are not ours.
    Adopt {
        /// Which.
        asked: Adopt,
        /// The answer: those that are ours now, or why not all of them are.
        reply: oneshot::Sender<Result<Vec<ObjectRef>, Vec<Finding>>>,
    },
    /// Start nothing until it is lifted.
    Freeze {
        /// Who.
        by: String,
        /// Why.
        reason: String,
        /// The answer.
        reply: oneshot::Sender<Result<(), Finding>>,
    },
}

/// Which objects to take over. Only those that the plan of the last round names as not ours.
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Adopt {
    /// Who asks.
    pub by: String,
    /// Why.
    pub reason: String,
    /// The objects as findings write them, such as `Deployment shop/web` or `Deployment/shop/web`; all of them when there
    /// is none.
    #[serde(default)]
    pub objects: Vec<String>,
    /// Only those of this cluster.
    #[serde(default)]
    pub cluster: Option<String>,
    /// Tools that have given their objects up: without that theirs are refused, as they would change them back.
    #[serde(default)]
    pub from: Vec<Tool>,
}

/// Something that was recorded, for those who listen.
#[derive(Clone, Debug, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// Id of the release.
    pub release: String,
    /// The event.
    #[serde(flatten)]
    pub event: ReleaseEvent,
}

/// Speaks to a running agent. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(crate) status: watch::Receiver<Arc<Status>>,
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) notices: broadcast::Sender<Notice>,
    pub(crate) journal: Journal,
    pub(crate) clock: Clock,
    pub(crate) wakes: Wakes,
}

impl Handle {
    /// The status as of the last round.
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status.borrow())
    }

    /// Waits for the next status.
    pub async fn changed(&mut self) -> Arc<Status> {
        // An agent that has ended never changes again.
        if self.status.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.status()
    }

    /// Events from now on.
    pub fn notices(&self) -> broadcast::Receiver<Notice> {
        self.notices.subscribe()
    }

    /// A reason to run the loop.
    pub fn wake(&self, reason: Wake) {
        self.wakes.wake(reason);
    }

    /// Whether the loop has done what there was to do, and waits for a reason to run.
    pub fn is_quiet(&self) -> bool {
        self.wakes.is_quiet()
    }

    /// A plan by its digest.
    ///
    /// # Errors
    ///
    /// When the journal cannot be read.
    pub async fn plan(&self, id: &Digest) -> Result<Option<(Plan, PlanReport)>, journal::Error> {
        self.journal.plan(id).await
    }

    /// The plans whose digest begins with some hexadecimal digits, at most two.
    ///
    /// # Errors
    ///
    /// When the journal cannot be read.
    pub async fn plans_of(&self, digits: &str) -> Result<Vec<Digest>, journal::Error> {
        self.journal.plans_of(digits).await
    }

    /// The latest releases that are wanted, newest first, at most so many.
    ///
    /// # Errors
    ///
    /// When the journal cannot be read.
    pub async fn releases(
        &self,
        wanted: &Wanted,
        limit: usize,
    ) -> Result<Vec<ReleaseSummary>, journal::Error> {
        self.journal.history(wanted, limit).await
    }

    /// How a release went in numbers, and whether events of it were removed.
    ///
    /// # Errors
    ///
    /// When the journal cannot be read.
    pub async fn course(&self, id: &str) -> Result<(Course, bool), journal::Error> {
        self.journal.course(id).await
    }

    /// How delivery went, measured over the releases that are wanted.
    ///
    /// # Errors
    ///
    /// When the journal cannot be read.
    pub async fn delivery(&self, wanted: &Wanted) -> Result<Delivery, journal::Error> {
        let all = self.journal.counted().await?;
        let is_wanted = |it: &Counted| wanted.takes(&it.about, it.phase, it.started_at);
        let now = self.clock.now();
        let until = wanted.until.map_or(now, |until| until.min(now));
        Ok(delivery::measure(&all, is_wanted, wanted.since, until))
    }

    /// One release with its events.
    ///
    /// # Errors
    ///
    /// When the journal cannot be read.
    pub async fn release(
        &self,
        id: &str,
    ) -> Result<Option<(ReleaseSummary, Vec<ReleaseEvent>)>, journal::Error> {
        match self.journal.summary(id).await? {
            Some(row) => Ok(Some((row, self.journal.events(id).await?))),
            None => Ok(None),
        }
    }

    /// Tasks and tests of a release, each try.
    ///
    /// # Errors
    ///
    /// When the journal cannot be read.
    pub async fn runs(&self, release: &str) -> Result<Vec<KeptRun>, journal::Error> {
        self.journal.runs(release).await
    }

    /// One try of a task or a test of a release, with what it wrote.
    ///
    /// # Errors
    ///
    /// When the journal cannot be read.
    pub async fn run(
        &self,
        release: &str,
        number: u32,
    ) -> Result<Option<RunWithLogs>, journal::Error> {
        self.journal.run(release, number).await
    }

    /// What the site has reached.
    ///
    /// # Errors
    ///
    /// When the journal cannot be read.
    pub async fn baseline(&self) -> Result<Option<Baseline>, journal::Error> {
        self.journal.fact(fact::BASELINE).await
    }

    /// What the site has reached, with what another agent needs to go on from it.
    ///
    /// # Errors
    ///
    /// When the journal cannot be read.
    pub async fn export(&self) -> Result<Option<Export>, journal::Error> {
        self.journal.export().await
    }

    /// The objects that are ours.
    ///
    /// # Errors
    ///
    /// When the journal cannot be read.
    pub async fn inventory(&self) -> Result<Inventory, journal::Error> {
        self.journal.inventory().await
    }

    /// A command to a release; gives what was recorded.
    ///
    /// # Errors
    ///
    /// Why the command makes no sense now.
    pub async fn command(
        &self,
        release: Option<String>,
        command: Command,
        by: &str,
    ) -> Result<Recorded, Finding> {
        let by = by.to_owned();
        self.ask(|reply| Request::Command { release, command, by, reply }).await?
    }

    /// Hands in an approval file.
    ///
    /// # Errors
    ///
    /// Why it does not count.
    pub async fn approve(&self, file: StoredApproval) -> Result<(), Vec<Finding>> {
        let answer = self.ask(|reply| Request::Approval { file, reply }).await;
        answer.map_err(|finding| vec![finding])?
    }

    /// Takes objects over that exist and are not ours; gives those that are ours now.
    ///
    /// # Errors
    ///
    /// Why not all of them are.
    pub async fn adopt(&self, asked: Adopt) -> Result<Vec<ObjectRef>, Vec<Finding>> {
        let answer = self.ask(|reply| Request::Adopt { asked, reply }).await;
        answer.map_err(|finding| vec![finding])?
    }

    /// Starts nothing until it is lifted.
    ///
    /// # Errors
    ///
    /// When the agent has ended.
    pub async fn freeze(&self, reason: &str, by: &str) -> Result<(), Finding> {
        let (by, reason) = (by.to_owned(), reason.to_owned());
        self.ask(|reply| Request::Freeze { by, reason, reply }).await?
    }

    /// Lifts a freeze, acknowledging a rewritten history.
    ///
    /// # Errors
    ///
    /// When nothing is frozen.
    pub async fn unfreeze(&self, by: &str) -> Result<(), Finding> {
        let by = by.to_owned();
        self.ask(|reply| Request::Unfreeze { by, reply }).await?
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, Finding> {
        let ended = || Finding::error("AGENT/ENDED");
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| ended())?;
        self.wakes.wake(Wake::Requested);
        answer.await.map_err(|_| ended())
    }
}
