//! The status: one JSON document that a person can read, of what the agent knows, does and waits for.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::change::Change;
use tidegate_core::digest::Digest;
use tidegate_core::live::Gap;
use tidegate_core::orphan::Orphan;
use tidegate_core::plan::Task;
use tidegate_core::progress::ProductProgress;
use tidegate_core::release::Failure;
use tidegate_core::snapshot::Revision;
use tidegate_schema::finding::Finding;

use crate::journal::ReleaseRow;

/// Everything at one instant. Versioned: fields are only added within `tidegate.dev/status/v1`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// What was kept of products that are gone.
    #[serde(default)]
    pub orphans: Vec<Orphan>,
    /// What the site has reached.
    pub baseline: Option<BaselineStatus>,
    /// Zones that are served: name to serial; 0 for forwarded ones.
    pub zones: BTreeMap<String, u32>,
    /// Why nothing may start, when an operator or a rewritten history froze the site.
    pub freezes: Vec<Finding>,
}

impl Status {
    /// The plan that waits; while a release is under way, the one that it carries out.
    pub fn current_plan(&self) -> Option<&Digest> {
        let planned = self.plan.as_ref().map(|plan| &plan.id);
        planned.or_else(|| self.release.as_ref().map(|release| &release.row.plan))
    }

    /// What could not be observed of clusters, as findings.
    pub fn cluster_gaps(&self) -> impl Iterator<Item = Finding> {
        self.clusters.iter().filter_map(|(name, cluster)| {
            let gap = cluster.gap.as_ref()?;
            let finding = Finding::error("COMMAND/CLUSTER_GAP").with("cluster", name);
            Some(finding.with("code", &gap.code).with("reason", &gap.message))
        })
    }
}

/// How the site stands, in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Condition {
    /// The agent has not finished its first round.
    #[default]
    Starting,
    /// Everything is as desired.
    Settled,
    /// A plan waits for somebody or something, or a product for the end of a deletion.
    Waiting,
    /// A release is under way.
    Releasing,
    /// A release failed or was paused and waits for a person, or a product is held because of an object that may not be
    /// read.
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// The digest of its policies, persons and groups: a plan that has another one changes them.
    #[serde(default)]
    pub policies: Option<Digest>,
    /// Why the branch could not be read just now.
    pub problem: Option<Finding>,
}

/// One cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// Why it does not start again by itself, when it was taken back before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
}

/// A revision that the branch asks for and that a release took back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// The commit.
    pub revision: String,
    /// The release that took it back.
    pub release: String,
    /// The branch on which its documents are taken back, for somebody to merge; absent when there is none.
    pub branch: Option<String>,
}

/// The release under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// How far it is with each product, in the plan's order.
    pub products: Vec<ProductProgress>,
    /// Steps that failed, with why.
    pub failures: Vec<StepFailure>,
}

/// A step that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepFailure {
    /// Id of the step.
    pub step: String,
    /// Why.
    pub failure: Failure,
}

/// A failure with the texts of its code.
pub(crate) fn failure_finding(failure: &Failure) -> Finding {
    let mut finding = Finding::error(failure.code.clone());
    finding.args.clone_from(&failure.args);
    finding
}

/// What the site has reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A status in which every optional thing is there.
    fn sample() -> Value {
        let finding = json!({"code": "A/B", "severity": "note"});
        let digest = Digest::of(&1);
        let at = "2026-11-21T10:00:00Z";
        let person = json!({"name": "Li Na", "email": "li@na.example"});
        let row = json!({
            "id": "r1", "plan": digest, "revision": "c", "beforeRevision": "b", "startedAt": at,
            "phase": "done", "endedAt": at,
        });
        let mut release = row.clone();
        for (name, value) in [
            ("waits", json!([finding])),
            ("done", json!(1)),
            ("steps", json!(2)),
            ("products", json!([])),
            (
                "failures",
                json!([{"step": "s", "failure": {"code": "A/B", "args": {}, "pods": []}}]),
            ),
        ] {
            release[name] = value;
        }
        json!({
            "site": "hz", "condition": "waiting", "updatedAt": at,
            "source": {
                "url": "u", "branch": "main", "accepted": "b", "policies": digest,
                "problem": finding,
                "attempted": {
                    "commit": "c", "committedAt": at, "author": person, "committer": person,
                    "subject": "s",
                },
            },
            "findings": [finding],
            "clusters": {"a": {
                "version": "v1", "gap": {"code": "A/B", "message": "m"}, "objects": 1,
                "isSandbox": true,
            }},
            "plan": {
                "id": digest, "revision": "c", "tasks": [], "waves": [], "isRefused": false,
                "findings": [], "waits": [finding], "next": at,
            },
            "release": release, "releases": [row], "drift": [], "orphans": [],
            "baseline": {"digest": digest, "revision": "c", "recordedAt": at, "products": {}},
            "zones": {"z": 1}, "freezes": [finding],
        })
    }

    fn paths(value: &Value, path: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let is_by_name = matches!(path, "clusters" | "zones" | "baseline.products");
                    let name = if is_by_name { "*" } else { name };
                    let path =
                        if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
                    paths(value, &path, found);
                    found.push(path);
                }
            }
            Value::Array(items) if path == "releases" => {
                for item in items {
                    paths(item, "releases[]", found);
                }
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => {}
        }
    }

    #[test]
    fn the_page_in_the_book_names_every_field_and_no_other() {
        let page =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/status.md");
        let page = std::fs::read_to_string(page).unwrap();
        let status: Status = serde_json::from_value(sample()).unwrap();
        let written = serde_json::to_value(&status).unwrap();
        assert_eq!(written, sample(), "the sample misses a field");
        let mut fields = Vec::new();
        paths(&written, "", &mut fields);
        let is_own = |path: &String| {
            let is_of_a_row = path.starts_with("release.") && {
                let name = path.trim_start_matches("release.");
                fields.contains(&format!("releases[].{name}"))
            };
            // Findings, revisions, gaps and failures are described in words.
            let is_deeper = path.matches('.').count() > 2
                || ["source.attempted.", "source.problem."].iter().any(|it| path.starts_with(it));
            !is_of_a_row && !is_deeper && path != "clusters.*" && path != "zones.*"
        };
        let mut wanted: Vec<_> = fields.iter().filter(|path| is_own(path)).cloned().collect();
        wanted.sort();
        let table = page.split("| `condition` | Meaning |").next().unwrap();
        let mut documented: Vec<String> = table
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next().map(ToOwned::to_owned))
            .collect();
        documented.sort();
        assert_eq!(documented, wanted);
        for condition in Condition::ALL {
            let word = serde_json::to_value(condition).unwrap();
            assert!(page.contains(&format!("| `{}` |", word.as_str().unwrap())), "{word}");
        }
    }
}
