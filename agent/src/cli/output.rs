//! What commands print with `--format json`: one object, with the version of its form and its kind.
//!
//! The forms are types, so `docs/reference/output.md` and `output.schema.json` are made from them and cannot be wrong. Within
//! a version fields are only added.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Map, Value, json};
use tidegate_core::baseline::{Baseline, BaselineDifference};
use tidegate_core::change::{Change, ChangeSet};
use tidegate_core::delivery::Delivery;
use tidegate_core::digest::Digest;
use tidegate_core::history::Course;
use tidegate_core::object::{Object, ObjectRef};
use tidegate_core::orphan::Orphan;
use tidegate_core::parameter::ParameterRow;
use tidegate_core::plan::{Plan, PlanReport};
use tidegate_core::rehearsal::Rehearsal;
use tidegate_core::release::ReleaseEvent;
use tidegate_core::timeline::Timeline;
use tidegate_core::zone::ZoneData;
use tidegate_schema::finding::{Finding, Lang, Place, Severity};
use tidegate_schema::{json_schema, reference};

use crate::handle::Recorded;
use crate::journal::{KeptRun, ReleaseSummary, RunWithLogs};
use crate::status::{Condition, Status};

/// The version of all forms.
const API_VERSION: &str = "tidegate.dev/output/v1";

/// A form of output: an object whose fields are those of the type.
pub(super) trait Output: Serialize + JsonSchema {
    /// The value of `kind`.
    const KIND: &'static str;
}

/// The output as it is printed: the version and the kind first.
pub(super) fn value<T: Output>(output: &T) -> Value {
    let mut fields = Map::new();
    fields.insert("apiVersion".to_owned(), API_VERSION.into());
    fields.insert("kind".to_owned(), T::KIND.into());
    if let Ok(Value::Object(own)) = serde_json::to_value(output) {
        fields.extend(own);
    }
    Value::Object(fields)
}

/// A finding with its texts in the language that was asked for.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ToldFinding {
    /// `CATEGORY/NAME`; `tidegate explain` has its long form.
    code: String,
    /// How bad it is.
    severity: Severity,
    /// Where it is; absent when it concerns no document.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<Place>,
    /// Values for the placeholders of the texts. Never a secret.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    args: BTreeMap<String, String>,
    /// What is wrong.
    message: String,
    /// What to do; may be empty.
    remedy: String,
}

impl ToldFinding {
    /// The texts of a finding in a language.
    pub(super) fn new(finding: &Finding, lang: Lang) -> Self {
        Self {
            code: finding.code.to_string(),
            severity: finding.severity,
            place: finding.place.clone(),
            args: finding.args.clone(),
            message: finding.message(lang),
            remedy: finding.remedy(lang),
        }
    }

    /// All of them.
    pub(super) fn all(findings: &[Finding], lang: Lang) -> Vec<Self> {
        findings.iter().map(|finding| Self::new(finding, lang)).collect()
    }
}

/// What is said of a form.
struct Form {
    kind: &'static str,
    /// Those that print it; none for what every command may.
    commands: &'static [&'static str],
    schema: Value,
}

impl Form {
    /// Its commands as people read them.
    fn printed_by(&self) -> String {
        if self.commands.is_empty() {
            return "every command, to standard error".to_owned();
        }
        let names: Vec<String> = self.commands.iter().map(|name| format!("`{name}`")).collect();
        names.join(", ")
    }
}

/// Declares a form: its type, its kind, and the commands that print it.
macro_rules! forms {
    ($($type:ty => $kind:literal, [$($command:literal),*];)+) => {
        $(impl Output for $type {
            const KIND: &'static str = $kind;
        })+

        /// Every form.
        fn forms(generator: &mut SchemaGenerator) -> Vec<Form> {
            vec![$(Form {
                kind: $kind,
                commands: &[$($command),*],
                schema: <$type as JsonSchema>::json_schema(generator).to_value(),
            }),+]
        }
    };
}

forms! {
    LaidOut => "LaidOut", ["init"];
    Kinds => "Kinds", ["schema"];
    Written => "Written", ["schema --out"];
    Validation => "Validation", ["validate"];
    ParameterList => "ParameterList", ["parameters"];
    Rendering => "Rendering", ["render"];
    ChangeSet => "ChangeSet", ["diff"];
    PlanMade<'_> => "Plan", ["plan"];
    Split => "Split", ["groups"];
    Signed => "Signed", ["approve", "reject"];
    Status => "Status", ["status", "apply"];
    PlansCompared => "PlansCompared", ["compare"];
    Rehearsal => "Rehearsal", ["rehearse"];
    NotRehearsed => "NotRehearsed", ["rehearse"];
    Blockers => "Blockers", ["why"];
    ReleaseList => "ReleaseList", ["releases list"];
    ReleaseShown => "Release", ["releases show"];
    RunList => "RunList", ["releases log"];
    Delivery => "Delivery", ["releases metrics"];
    Recorded => "Recorded", [
        "releases confirm", "releases pause", "releases resume", "releases retry", "releases skip",
        "releases rollback", "releases cancel"
    ];
    BaselineShown => "Baseline", ["baseline show"];
    BaselineChanges => "BaselineChanges", ["baseline diff"];
    BaselineTakenUp => "BaselineTakenUp", ["baseline import"];
    Drift => "Drift", ["drift"];
    Orphaned<'_> => "Orphaned", ["orphans"];
    Frozen => "Frozen", ["freeze", "unfreeze"];
    Adopted => "Adopted", ["adopt"];
    Explanation => "Explanation", ["explain CODE"];
    Codes => "Codes", ["explain", "explain CATEGORY"];
    Serving => "Serving", ["agent"];
    SandboxServed => "Sandbox", ["sandbox"];
    Played => "Played", ["demo"];
    Findings => "Findings", [];
}

/// A new site.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct LaidOut {
    /// The site's name.
    pub(super) site: String,
    /// The files that were made.
    pub(super) files: Vec<String>,
}

/// The kinds of documents.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Kinds {
    /// Their names.
    pub(super) kinds: Vec<&'static str>,
}

/// Schemas as files.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Written {
    /// The files that were written.
    pub(super) files: Vec<String>,
}

/// What is wrong with a folder.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Validation {
    /// Whether there is no error.
    pub(super) valid: bool,
    /// The site's name; null when there is none that is valid.
    pub(super) site: Option<String>,
    /// How many files were read.
    pub(super) files: usize,
    /// All findings, by file and line.
    pub(super) findings: Vec<ToldFinding>,
}

/// Values of parameters.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ParameterList {
    /// By product, name, app and cluster.
    pub(super) parameters: Vec<ParameterRow>,
}

/// What a folder makes.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Rendering {
    /// The objects, in the order of applying; values of Secrets are hidden.
    pub(super) objects: Vec<RenderedObject>,
    /// The zones.
    pub(super) zones: Vec<ZoneData>,
}

/// An object in its cluster.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RenderedObject {
    /// Name of the `Cluster` document.
    pub(super) cluster: String,
    /// The object as Kubernetes takes it.
    pub(super) object: Object,
}

/// A plan.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct PlanMade<'a> {
    /// Its digest, which approvals name.
    pub(super) id: Digest,
    /// The plan.
    pub(super) plan: &'a Plan,
    /// What is refused or left out.
    pub(super) report: &'a PlanReport,
}

/// How pods are split.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Split {
    /// All pods.
    pub(super) replicas: u32,
    /// In order.
    pub(super) groups: Vec<SplitGroup>,
}

/// Pods that change together.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SplitGroup {
    /// 1, 2, 3 …
    pub(super) group: usize,
    /// How many.
    pub(super) pods: u32,
    /// With all groups before it.
    pub(super) cumulative: u32,
}

/// An approval or a rejection.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Signed {
    /// Its name.
    pub(super) approval: String,
    /// The digest that it names.
    pub(super) plan: Digest,
    /// Where it went: an agent's address, a branch, or a file.
    pub(super) delivered: String,
    /// Whether it names the plan that the agent has now; null when no agent was asked.
    pub(super) is_current: Option<bool>,
}

/// Two plans compared.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct PlansCompared {
    /// Digest of the first.
    pub(super) before: Digest,
    /// Digest of the other.
    pub(super) after: Digest,
    /// What differs, as people read it.
    pub(super) text: String,
}

/// Why there was nothing to rehearse.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct NotRehearsed {
    /// Whether the plan is refused; else there is nothing to do.
    pub(super) is_refused: bool,
    /// Why.
    pub(super) findings: Vec<ToldFinding>,
}

/// Why a site is not as its documents say.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Blockers {
    /// How the site stands.
    pub(super) condition: Condition,
    /// What is in the way.
    pub(super) blockers: Vec<ToldFinding>,
}

/// Releases.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ReleaseList {
    /// Newest first.
    pub(super) releases: Vec<ReleaseSummary>,
}

/// One release.
#[derive(Debug, Serialize, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReleaseShown {
    /// How it stands, and what it was about.
    pub(super) release: ReleaseSummary,
    /// What happened, in order.
    pub(super) events: Vec<ReleaseEvent>,
    /// When its parts were under way.
    pub(super) timeline: Timeline,
    /// Its tasks and tests, each try, as they ended.
    pub(super) runs: Vec<KeptRun>,
    /// How it went, in numbers.
    pub(super) course: Course,
    /// Whether what machines did was removed after the retention: then `events`, `timeline` and `runs` lack it.
    pub(super) is_thinned: bool,
}

/// Tasks and tests of a release, with what they wrote.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RunList {
    /// Each try, in the order in which they ended.
    pub(super) runs: Vec<RunWithLogs>,
}

/// What a site has reached. `baseline export` prints the field `baseline` alone: what the agent hands back to the branch.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct BaselineShown {
    /// Digest of the level.
    pub(super) digest: Digest,
    /// The baseline.
    pub(super) baseline: Baseline,
}

/// A baseline that an agent goes on from.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct BaselineTakenUp {
    /// Digest of the level.
    pub(super) digest: Digest,
    /// Objects that are the site's.
    pub(super) objects: usize,
}

/// What was delivered between two baselines.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct BaselineChanges {
    /// Digest of the first.
    pub(super) before: Digest,
    /// Digest of the second.
    pub(super) after: Digest,
    /// What differs.
    pub(super) changes: Vec<BaselineDifference>,
}

/// Changes that nobody declared.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Drift {
    /// By object.
    pub(super) changes: Vec<Change>,
}

/// What was kept of products that are gone.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Orphaned<'a> {
    /// By object.
    pub(super) orphans: &'a [Orphan],
}

/// What is ours from now on.
#[derive(Debug, Serialize, serde::Deserialize, JsonSchema)]
pub(super) struct Adopted {
    /// The objects.
    pub(super) adopted: Vec<ObjectRef>,
}

/// Whether something may start.
#[derive(Debug, Serialize, serde::Deserialize, JsonSchema)]
pub(super) struct Frozen {
    /// Whether nothing may.
    pub(super) frozen: bool,
}

/// The long form of a code.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Explanation {
    /// The code.
    pub(super) code: String,
    /// In a few words.
    pub(super) title: String,
    /// The message, with `{placeholders}`.
    pub(super) message: String,
    /// What to do.
    pub(super) remedy: String,
    /// Why the rule exists.
    #[serde(rename = "explanation")]
    pub(super) why: String,
}

/// Codes.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Codes {
    /// In order.
    pub(super) codes: Vec<Code>,
}

/// A code.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Code {
    /// `CATEGORY/NAME`.
    pub(super) code: String,
    /// In a few words.
    pub(super) title: String,
}

/// An agent that has started; its log goes to standard error.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Serving {
    /// Address of status and API.
    pub(super) status: String,
    /// Addresses of the DNS server.
    pub(super) dns: Vec<String>,
}

/// A simulated cluster that has started.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SandboxServed {
    /// Address of its API.
    pub(super) url: String,
    /// The file that kubectl takes.
    pub(super) kubeconfig: String,
}

/// A demo that went well; what it tells meanwhile goes to standard error.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Played {
    /// Releases in the journal at the end.
    pub(super) releases: usize,
    /// How long it took.
    pub(super) seconds: f32,
}

/// Problems and remarks.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Findings {
    /// All of them.
    pub(super) findings: Vec<ToldFinding>,
}

/// Every form, and the definitions that they refer to.
fn described() -> (Vec<Form>, Value) {
    let mut generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let mut forms = forms(&mut generator);
    for form in &mut forms {
        json_schema::describe_output(&mut form.schema);
    }
    let mut definitions = Value::Object(generator.take_definitions(true));
    json_schema::describe_output(&mut definitions);
    (forms, definitions)
}

/// `docs/reference/output.schema.json`: a JSON Schema of all that commands print with `--format json`.
pub fn schema() -> Value {
    let (forms, definitions) = described();
    let forms = forms.iter().map(|form| {
        let of = |name: &str| form.schema.get(name).cloned();
        let mut properties = Map::new();
        properties.insert("apiVersion".to_owned(), json!({"const": API_VERSION}));
        properties.insert("kind".to_owned(), json!({"const": form.kind}));
        if let Some(Value::Object(own)) = of("properties") {
            properties.extend(own);
        }
        let mut required = vec![json!("apiVersion"), json!("kind")];
        if let Some(Value::Array(own)) = of("required") {
            required.extend(own);
        }
        json!({
            "title": form.kind,
            "description": of("description"),
            "$comment": format!("Printed by {}.", form.printed_by()),
            "type": "object",
            "properties": properties,
            "required": required,
        })
    });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Output of tidegate with --format json",
        "description": "Within a version fields are only added.",
        "oneOf": forms.collect::<Vec<_>>(),
        "$defs": definitions,
    })
}

/// `docs/reference/output.md`.
pub fn page() -> String {
    let (forms, definitions) = described();
    let mut page = String::from(HEAD);
    for form in &forms {
        let anchor = format!("kind-{}", form.kind.to_lowercase());
        // Writing to a text cannot fail.
        let _ok = writeln!(page, "| {} | [{}](#{anchor}) |", form.printed_by(), form.kind);
    }
    page.push_str("\n## Forms\n");
    for form in &forms {
        reference::section(&mut page, 3, &format!("kind {}", form.kind), &form.schema);
        let _ok = writeln!(page, "\nPrinted by {}.", form.printed_by());
    }
    page.push_str("\n## Types\n");
    for (name, definition) in definitions.as_object().into_iter().flatten() {
        reference::section(&mut page, 3, name, definition);
    }
    page
}

const HEAD: &str = "\
# Output for programs

<!-- Made from agent/src/cli/output.rs: edit that, then run the tests with UPDATE_REFERENCE=1. -->

With `--format json` every command prints one JSON object to standard output. It begins with `apiVersion: tidegate.dev/output/v1` and
`kind`, by which programs tell the forms apart; within the version fields are only added, so ignore those that you do not know.
[output.schema.json](output.schema.json) is the same as a JSON Schema. Fields in bold are always there.

Why a command failed, and remarks beside its output, go to standard error as one object of the kind `Findings`. Texts in it follow `--lang`; codes
and field names never change with the language. Exit codes are [in the overview](index.md#exit-codes).

Three commands print something else, which has a form of its own: `schema KIND` a JSON Schema, `baseline export` the baseline as the agent
hands it back to the branch `tidegate/baseline`, with what a new agent needs beside it (`carried`) and a digest of all that (`exportDigest`), `completions` a script.

| command | kind |
| --- | --- |
";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn hold(name: &str, made: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference").join(name);
        if std::env::var_os("UPDATE_REFERENCE").is_some() {
            std::fs::write(&path, made).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(written == made, "run the tests with UPDATE_REFERENCE=1 and commit {name}");
    }

    #[test]
    fn the_pages_in_the_book_are_current() {
        hold("output.md", &page());
        let schema = serde_json::to_string_pretty(&schema()).unwrap();
        hold("output.schema.json", &format!("{schema}\n"));
    }

    #[test]
    fn every_field_is_described() {
        fn visit(path: &str, value: &Value, missing: &mut Vec<String>) {
            if let Some(fields) = value.get("properties").and_then(Value::as_object) {
                for (name, field) in fields {
                    if field.get("description").is_none() && field.get("const").is_none() {
                        missing.push(format!("{path}.{name}"));
                    }
                }
            }
            for option in value.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
                visit(path, option, missing);
            }
        }
        let (forms, definitions) = described();
        let mut missing = Vec::new();
        for form in &forms {
            visit(form.kind, &form.schema, &mut missing);
        }
        for (name, definition) in definitions.as_object().unwrap() {
            visit(name, definition, &mut missing);
        }
        assert!(missing.is_empty(), "without description: {missing:?}");
    }

    #[test]
    fn every_command_has_a_form() {
        use clap::CommandFactory as _;

        fn names(command: &clap::Command, path: &str, found: &mut Vec<String>) {
            let mut is_group = false;
            for child in command.get_subcommands() {
                is_group = true;
                let name = format!("{path} {}", child.get_name());
                names(child, name.trim(), found);
            }
            if !is_group {
                found.push(path.to_owned());
            }
        }
        let mut commands = Vec::new();
        names(&crate::cli::Cli::command(), "", &mut commands);
        let (forms, _) = described();
        let printed: Vec<&str> = forms.iter().flat_map(|it| it.commands).copied().collect();
        let foreign = ["baseline export", "completions"];
        let is_told = |name: &&String| {
            foreign.contains(&name.as_str())
                || printed.iter().any(|it| it.strip_prefix(name.as_str()).is_some())
        };
        let silent: Vec<_> = commands.iter().filter(|name| !is_told(name)).collect();
        assert!(silent.is_empty(), "no form for {silent:?}");
        let is_command = |it: &&&str| {
            commands.iter().any(|name| *it == name || it.starts_with(&format!("{name} ")))
        };
        let unknown: Vec<_> = printed.iter().filter(|it| !is_command(it)).collect();
        assert!(unknown.is_empty(), "no command {unknown:?}");
    }
}
