//! Approvals as the gate sees them: verified, with the person known.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// An approval document whose signature was verified against a key of its approver, as of the last accepted revision.
/// Only the agent's `signature` module has reason to make one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifiedApproval {
    /// `metadata.name`, unique.
    pub name: String,
    /// Digest of the plan, as text.
    pub plan: String,
    /// What of the plan.
    pub scope: ApprovalScope,
    /// Yes or no.
    pub approves: bool,
    /// Name of the `Person`.
    pub person: String,
    /// Fingerprint of the key.
    pub key: String,
    /// Why.
    pub reason: String,
    /// When it was signed, as the document says.
    pub created_at: Timestamp,
    /// Too late to count after this.
    pub approve_by: Option<Timestamp>,
    /// Too late to start after this.
    pub execute_by: Option<Timestamp>,
}

impl VerifiedApproval {
    /// Whether it was made early enough to count, and may still start something.
    pub fn is_in_time(&self, now: Timestamp) -> bool {
        self.approve_by.is_none_or(|by| self.created_at <= by)
            && self.execute_by.is_none_or(|by| now <= by)
    }
}

/// What an approval is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ApprovalScope {
    /// The whole plan.
    Plan,
    /// One wave, by name.
    Wave(String),
    /// The confirmation of a group of a step, or of a wave.
    Confirm {
        /// Id of the release.
        release: String,
        /// Id of the step, or name of the wave.
        step: String,
    },
    /// A waiver: what failed of a step counts as done.
    Skip {
        /// Id of the release.
        release: String,
        /// Id of the step.
        step: String,
        /// The number of the step's open group, when only that counts as done: 1, 2, 3 …
        group: Option<usize>,
    },
}

impl ApprovalScope {
    /// Whether it is about the plan or a wave of it, and not about what a release asks while it is under way.
    pub fn is_of_plan(&self) -> bool {
        match self {
            Self::Plan | Self::Wave(_) => true,
            Self::Confirm { .. } | Self::Skip { .. } => false,
        }
    }
}

/// A merge commit whose signature was verified against a key that the last accepted revision trusts with merges, and that
/// names a plan. Only the agent's `signature` module has reason to make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedMerge {
    /// The commit.
    pub commit: String,
    /// Digest of the plan that its trailer `Tidegate-Plan` names, as text.
    pub plan: String,
    /// The service accounts and persons whose key it is.
    pub by: Vec<String>,
    /// When it was committed, as it says itself.
    pub at: Timestamp,
    /// E-mail addresses of those who wrote what it merges; not of who only merged.
    pub authors: Vec<String>,
}

impl VerifiedMerge {
    /// The name under which it is consumed.
    pub fn name(&self) -> String {
        format!("merge-{}", self.commit)
    }
}
