//! The format of a scenario: `steps.yaml` in its folder, beside `site/` with the site's files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

/// A folder of `tests/scenarios`.
#[derive(Debug)]
pub(super) struct Scenario {
    /// What is shown, in a sentence or two.
    pub(super) about: String,
    /// The site's files: a shared site first, the folder's own over it.
    pub(super) sites: Vec<PathBuf>,
    /// What happened before, and is not read.
    pub(super) before: Vec<Step>,
    /// What happens.
    pub(super) steps: Vec<Step>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    about: String,
    /// Name of a folder of `tests/scenarios/shared`, or `examples/…`.
    #[serde(default)]
    site: Option<String>,
    #[serde(default)]
    before: Vec<Step>,
    steps: Vec<Step>,
}

/// One step.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Step {
    /// Changes files, commits and pushes.
    Push(Push),
    /// Signs an approval of the plan that waits.
    Approve(Word),
    /// Signs a rejection.
    Reject(Word),
    /// Keeps the digest of the plan that waits under a name, for a later `approve`.
    Remember(String),
    /// Shows what has changed since a plan of this name was remembered.
    Compare(String),
    /// Types a command and shows what it answers; after `--key` stands the name of a key.
    Run(String),
    /// Lets time pass until this is so.
    Wait(Wait),
    /// Lets this much time pass.
    Advance(String),
    /// Lets this much time pass while the loop is woken for every reason, each twice, and says what was asked of the
    /// clusters meanwhile.
    Idle(String),
    /// Lets this much time pass, and fails when an object of any cluster has changed since the last push or edit.
    Untouched(String),
    /// Changes an object of a cluster as another field manager.
    Edit(Edit),
    /// Makes something go wrong, or right again.
    Fault(Fault),
    /// Shows the pods of a namespace.
    Pods(Pods),
    /// Shows the objects of a namespace that are neither pods nor made by controllers.
    Objects(Pods),
    /// Some fields of an object.
    Show(Show),
    /// Asks the agent's DNS server for the addresses of a name.
    Resolve(String),
}

/// What somebody commits.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Push {
    /// The subject of the commit.
    pub(super) message: String,
    /// Who; Li Na when absent.
    #[serde(default = "li_na")]
    pub(super) by: String,
    /// Texts to replace, by file: from, to.
    #[serde(default)]
    pub(super) replace: BTreeMap<String, (String, String)>,
    /// Whether the agent is woken, as by a hook of the forge.
    #[serde(default = "yes")]
    pub(super) wakes: bool,
    /// Files to write.
    #[serde(default)]
    pub(super) write: BTreeMap<String, String>,
    /// Files and folders to remove.
    #[serde(default)]
    pub(super) remove: Vec<String>,
    /// A branch that is taken over first, as a merge request would.
    #[serde(default)]
    pub(super) merge: Option<String>,
    /// Where the working tree stands before, such as `HEAD~1`: then the push is forced.
    #[serde(default)]
    pub(super) onto: Option<String>,
    /// The forge merges the commit, and signs that it approves a plan.
    #[serde(default)]
    pub(super) merged: Option<Merged>,
}

impl Push {
    /// Whether there is anything to commit: a branch that is only set back has nothing.
    pub(super) fn is_commit(&self) -> bool {
        self.onto.is_none() || !(self.replace.is_empty() && self.write.is_empty())
    }
}

/// A merge commit of the forge.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Merged {
    /// The key that signs it.
    pub(super) key: String,
    /// The plan that it names, by the name of a `remember`; the one that the folder gives when absent.
    #[serde(default)]
    pub(super) plan: Option<String>,
}

fn yes() -> bool {
    true
}

fn li_na() -> String {
    "li-na".to_owned()
}

/// What somebody signs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Word {
    /// The person.
    pub(super) by: String,
    /// Which of the person's keys, when there are several.
    #[serde(default)]
    pub(super) key: Option<String>,
    /// A plan that was remembered; the one that waits when absent.
    #[serde(default)]
    pub(super) plan: Option<String>,
    /// Why.
    #[serde(default)]
    pub(super) reason: Option<String>,
}

/// Some fields of an object.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Show {
    pub(super) cluster: String,
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
    /// JSON pointers (RFC 6901).
    pub(super) at: Vec<String>,
}

/// What is waited for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Wait {
    /// The site's condition.
    Condition(tidegate::status::Condition),
    /// The plan, or the release under way, waits for something: the code of it.
    Reason(String),
    /// The release of this id has ended.
    Ended(String),
}

/// A change by hand.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Edit {
    pub(super) cluster: String,
    /// `apps/v1`.
    pub(super) version: String,
    pub(super) kind: String,
    pub(super) namespace: Option<String>,
    pub(super) name: String,
    /// The field manager.
    pub(super) by: String,
    /// A strategic merge patch; an object of this kind and name is made of it when there is none.
    pub(super) patch: Value,
}

/// What goes wrong in a cluster.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fault {
    pub(super) cluster: String,
    /// Whether the API server can be reached.
    #[serde(default)]
    pub(super) reachable: Option<bool>,
    /// A node whose kubelet goes silent.
    #[serde(default)]
    pub(super) kill_node: Option<String>,
    /// Requests that the API server refuses.
    #[serde(default)]
    pub(super) refuse: Option<Refuse>,
}

/// Requests that are refused.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Refuse {
    pub(super) verb: Option<String>,
    pub(super) resource: Option<String>,
    pub(super) name: Option<String>,
    pub(super) code: u16,
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) times: u32,
}

/// A namespace of a cluster.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pods {
    pub(super) cluster: String,
    pub(super) namespace: String,
}

impl Scenario {
    /// Reads a folder.
    ///
    /// # Errors
    ///
    /// What is wrong with its files.
    pub(super) fn read(folder: &Path) -> Result<Self, String> {
        let path = folder.join("steps.yaml");
        let text = std::fs::read_to_string(&path).map_err(|it| format!("{it}: steps.yaml"))?;
        // By way of JSON, in which a map with one key is a variant of an enum; in YAML that would be a tag.
        let value: Value = serde_yaml::from_str(&text).map_err(|it| it.to_string())?;
        let written: Written = serde_json::from_value(value).map_err(|it| it.to_string())?;
        let scenarios = folder.parent().unwrap_or(folder);
        let site = |name: &String| match name.strip_prefix("examples/") {
            Some(example) => scenarios.join("../../examples").join(example),
            None => scenarios.join("shared").join(name),
        };
        let mut sites: Vec<PathBuf> = written.site.iter().map(site).collect();
        sites.extend(Some(folder.join("site")).filter(|own| own.is_dir()));
        let Written { about, before, steps, .. } = written;
        Ok(Self { about, sites, before, steps })
    }
}
