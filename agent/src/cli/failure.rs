//! How a command ends: with an exit code, and with findings when it could not do its work.

use serde::de::DeserializeOwned;
use tidegate_schema::finding::Finding;

use crate::cause::chain;
use crate::client;
use crate::journal;

/// How a command that could do its work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Done, or no difference.
    Done,
    /// Refused: what was said is why.
    Refused,
    /// There are differences (`diff`, `plan`).
    Differences,
}

impl Outcome {
    /// The exit code (architecture.md).
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Refused => 1,
            Self::Differences => 2,
        }
    }
}

/// The exit code for a command line that makes no sense (sysexits.h, `EX_USAGE`).
pub(super) const USAGE: u8 = 64;

/// Why a command could not do its work.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// What to tell.
    pub(super) findings: Vec<Finding>,
    /// The exit code.
    pub(super) code: u8,
}

impl From<Finding> for Failure {
    fn from(finding: Finding) -> Self {
        Self { findings: vec![finding], code: 1 }
    }
}

impl From<Vec<Finding>> for Failure {
    fn from(findings: Vec<Finding>) -> Self {
        Self { findings, code: 1 }
    }
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Self {
        match error {
            client::Error::Refused(findings) => findings.into(),
            client::Error::Unreachable { ref url, .. } => {
                let finding = Finding::error("COMMAND/AGENT_UNREACHABLE").with("url", url);
                finding.with("reason", chain(&error)).into()
            }
            client::Error::Address(ref url) => {
                usage(Finding::error("COMMAND/AGENT_ADDRESS").with("url", url))
            }
            client::Error::Unexpected { .. } => because(error),
        }
    }
}

impl From<journal::Error> for Failure {
    fn from(error: journal::Error) -> Self {
        match error {
            journal::Error::Locked(lock) => {
                let folder = lock.parent().unwrap_or(&lock);
                Finding::error("COMMAND/AGENT_RUNS").with("path", folder.display()).into()
            }
            error @ (journal::Error::Folder { .. }
            | journal::Error::Database { .. }
            | journal::Error::Migrate(_)
            | journal::Error::Document { .. }) => because(error),
        }
    }
}

impl From<crate::source::Error> for Failure {
    fn from(error: crate::source::Error) -> Self {
        error.finding().into()
    }
}

/// What the agent answered, as the type that it promises.
pub(super) fn read<T: DeserializeOwned>(answer: serde_json::Value) -> Result<T, Failure> {
    serde_json::from_value(answer).map_err(because)
}

/// A failure that has no finding of its own.
pub(super) fn because(error: impl std::error::Error) -> Failure {
    Finding::error("COMMAND/FAILED").with("reason", chain(&error)).into()
}

/// A command line that makes no sense.
pub(super) fn usage(finding: Finding) -> Failure {
    Failure { findings: vec![finding], code: USAGE }
}
