//! The status: one JSON document that a person can read, of what the agent knows, does and waits for.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tidegate_core::change::Change;
use tidegate_core::digest::Digest;
use tidegate_core::live::Gap;
use tidegate_core::plan::Task;
use tidegate_core::snapshot::Revision;
use tidegate_schema::finding::Finding;

use crate::journal::ReleaseRow;

/// Everything at one instant. Versioned: fields are only added within `tidegate.dev/status/v1`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Name of the site; empty until a revision could be loaded.
    pub site: String,
    /// In one word.
    pub condition: Condition,
    /// When the last round ended.
    pub updated_at: Option<Timestamp>,
    /// Where the documents come from, without credentials.
    pub source: SourceStatus,
    /// Problems of the attempted revision, of the source and of approvals. Sorted.
    pub findings: Vec<Finding>,
    /// By name.
    pub clusters: BTreeMap<String, ClusterStatus>,
    /// The plan that is to be executed next, and what it waits for; absent when there is nothing to do.
    pub plan: Option<PlanStatus>,
    /// The release under way.
    pub release: Option<ReleaseStatus>,
    /// The latest releases, newest first.
    pub releases: Vec<ReleaseRow>,
    /// Changes that nobody declared.
    pub drift: Vec<Change>,
    /// What the site has reached.
    pub baseline: Option<BaselineStatus>,
    /// Zones that are served: name to serial; 0 for forwarded ones.
    pub zones: BTreeMap<String, u32>,
    /// Why nothing may start, when an operator or a rewritten history froze the site.
    pub freezes: Vec<Finding>,
}

/// How the site stands, in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Condition {
    /// The agent has not finished its first round.
    #[default]
    Starting,
    /// Everything is as desired.
    Settled,
    /// A plan waits for somebody or something.
    Waiting,
    /// A release is under way.
    Releasing,
    /// A release failed or was paused and waits for a person.
    NeedsPerson,
    /// The attempted revision is refused; the site goes on with what was accepted.
    Refused,
    /// The repository or a cluster cannot be reached.
    Unreachable,
}

impl Condition {
    /// Every condition.
    pub const ALL: [Self; 7] = [
        Self::Starting,
        Self::Settled,
        Self::Waiting,
        Self::Releasing,
        Self::NeedsPerson,
        Self::Refused,
        Self::Unreachable,
    ];
}

/// Where the documents come from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceStatus {
    /// The repository, without credentials.
    pub url: String,
    /// The branch.
    pub branch: String,
    /// The commit last looked at.
    pub attempted: Option<Revision>,
    /// The commit whose content and policies count.
    pub accepted: Option<String>,
    /// Why the branch could not be read just now.
    pub problem: Option<Finding>,
}

/// One cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterStatus {
    /// The server's version.
    pub version: Option<String>,
    /// Why it cannot be observed, or not wholly.
    pub gap: Option<Gap>,
    /// Objects of ours in it.
    pub objects: usize,
    /// Whether it is simulated.
    pub is_sandbox: bool,
}

/// The plan that is to be executed next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanStatus {
    /// Its digest, which approvals name.
    pub id: Digest,
    /// The commit that it was made from.
    pub revision: String,
    /// Why things change.
    pub tasks: Vec<Task>,
    /// Names of its waves.
    pub waves: Vec<String>,
    /// Whether it is refused by its findings.
    pub is_refused: bool,
    /// Refusals and remarks.
    pub findings: Vec<Finding>,
    /// What the gate waits for.
    pub waits: Vec<Finding>,
    /// When time alone may open the gate.
    pub next: Option<Timestamp>,
}

/// The release under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseStatus {
    /// Its row.
    #[serde(flatten)]
    pub row: ReleaseRow,
    /// What it waits for.
    pub waits: Vec<Finding>,
    /// Steps that are done.
    pub done: usize,
    /// Steps in all.
    pub steps: usize,
    /// Steps that failed, with why.
    pub failures: Vec<StepFailure>,
}

/// A step that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepFailure {
    /// Id of the step.
    pub step: String,
    /// Why.
    pub failure: tidegate_core::release::Failure,
}

/// What the site has reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BaselineStatus {
    /// Digest of the level.
    pub digest: Digest,
    /// The commit that is delivered.
    pub revision: String,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// Versions by product.
    pub products: BTreeMap<String, String>,
}
