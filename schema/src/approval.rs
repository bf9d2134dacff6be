//! The kind `Approval`: who said yes, or no, to which plan, and until when that counts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scalar::Name;

/// What a plan's digest looks like.
pub const PLAN_PATTERN: &str = "^sha256:[0-9a-f]{64}$";

/// *This person approves this scope of this plan, until then.* Counts only with a valid signature beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Approval {
    /// The plan's digest: `sha256:` and 64 hexadecimal digits.
    #[schemars(regex(pattern = PLAN_PATTERN))]
    pub plan: String,
    /// Which part of the plan.
    pub scope: ApprovalScope,
    /// Yes or no.
    pub decision: Decision,
    /// The `Person` who decides, and whose key signs.
    pub approver: Name,
    /// Why, such as the number of a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was made.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub created_at: jiff::Timestamp,
    /// Too late to count after this.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub approve_by: jiff::Timestamp,
    /// Too late to start after this.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub execute_by: jiff::Timestamp,
}

/// Which part of a plan an approval is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ApprovalScope {
    /// All of it. Written `scope: plan`.
    Plan,
    /// One wave. Written `scope: {wave: gray}`.
    Wave(Name),
    /// That a group or wave of a release looks right. Written `scope: {confirm: {release: …, group: "2"}}`.
    Confirm(Confirmation),
    /// A waiver: that what failed of a step counts as done. Written `scope: {skip: {release: …, step: …, group: 2}}`. It has
    /// a `reason`, and is signed after the failure by a person with the permission `delivery.skip` there.
    Skip(Waiver),
    /// An operation, by its document's name.
    Operation(Name),
}

/// What of a running release is confirmed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Confirmation {
    /// The release, by its id.
    #[schemars(length(min = 1))]
    pub release: String,
    /// The group or wave, as the release names it.
    #[schemars(length(min = 1))]
    pub group: String,
}

/// What of a running release is skipped.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Waiver {
    /// The release, by its id.
    #[schemars(length(min = 1))]
    pub release: String,
    /// The step that failed, by its id.
    #[schemars(length(min = 1))]
    pub step: String,
    /// Only this group of it, which is the one that is open: 1, 2, 3 … The step then goes on with the next. Default: the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub group: Option<usize>,
}

/// Yes or no.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Decision {
    /// Yes.
    Approve,
    /// No. Closes the plan until its digest changes.
    Reject,
}
