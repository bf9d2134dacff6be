//! `approve` and `reject`: a signed word on a plan.

use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use serde_json::{Value, json};
use tidegate_core::digest::Digest;
use tidegate_core::plan::Task;
use tidegate_core::snapshot::Identity;
use tidegate_schema::approval::{ApprovalScope, Confirmation, Decision, Waiver};
use tidegate_schema::finding::Finding;
use tidegate_schema::scalar::Name;

use super::asking::Asking;
use super::failure::{Failure, Outcome, usage};
use super::output::{ReleaseShown, Signed};
use super::printer::Printer;
use super::report::Sources;
use super::status::tasks;
use crate::approve::{self as approval, Word};
use crate::cause::chain;
use crate::client::Client;
use crate::journal::StoredApproval;
use crate::signature;
use crate::source::{Append, SIGNATURE_END, Source, SourceOptions};

const APPROVE: &str = "\
Examples:
  tidegate approve --key ~/.ssh/id_ed25519 --as li-na     the plan that waits
  tidegate approve 9f3c0a7712de --key id --as li-na --wave gray
  tidegate approve sha256:9f3c… --key id --as li-na --push   through git
  tidegate approve sha256:9f3c… --key id --as li-na --out approval.yaml
  tidegate approve --key id --as li-na --skip r12/all/a/iam/web --reason INC-7

The approval names the plan's digest: if anything of the plan changes, it is void. Hardware keys, keys behind a \
passphrase and keys of an SSH agent (give the .pub file) are used through ssh-keygen.";

/// How long a waiver counts that is handed over at once.
const VALID_FOR: SignedDuration = SignedDuration::from_hours(8);

const REJECT: &str = "\
Examples:
  tidegate reject --key ~/.ssh/id_ed25519 --as li-na --reason 'not now'

Any rejection closes the plan until its digest changes.";

#[derive(Debug, clap::Args)]
struct Given {
    /// The plan: its digest, or the beginning of it when an agent can be asked. Default: that of the release with
    /// `--confirm` and `--skip`, else the one that waits.
    plan: Option<String>,
    /// The private key to sign with, or the public one of a key in an SSH agent.
    #[arg(long, value_name = "FILE", env = "TIDEGATE_KEY", hide_env_values = true)]
    key: PathBuf,
    /// The name of your `Person` document.
    #[arg(long = "as", value_name = "PERSON", env = "TIDEGATE_PERSON", hide_env_values = true)]
    person: String,
    /// Only this wave. Default: the whole plan.
    #[arg(long, conflicts_with = "confirm")]
    wave: Option<String>,
    /// Instead: that a group of a release looks right, as RELEASE/STEP.
    #[arg(long, value_name = "RELEASE/STEP")]
    confirm: Option<String>,
    /// How long it counts, and how long execution may start.
    #[arg(long, default_value = "8h", value_name = "DURATION")]
    valid_for: SignedDuration,
    /// Pushes it to the approvals branch of the repository.
    #[arg(long, conflicts_with = "out")]
    push: bool,
    /// The repository to push to. Default: the one that the agent follows.
    #[arg(long, value_name = "URL", requires = "push")]
    repo: Option<String>,
    /// Writes FILE and FILE.sig instead of handing it to the agent.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    asking: Asking,
}

/// Approves a plan, or one wave of it, with a signature.
#[derive(Debug, clap::Args)]
#[command(after_help = APPROVE)]
pub(super) struct ApproveArgs {
    #[command(flatten)]
    given: Given,
    /// Instead: a waiver, that what failed of a step counts as done, as RELEASE/STEP. Signed after it failed, by somebody
    /// whose role has `delivery.skip` there.
    #[arg(
        long,
        value_name = "RELEASE/STEP",
        conflicts_with_all = ["wave", "confirm"],
        requires = "reason"
    )]
    skip: Option<String>,
    /// With `--skip`: only this group, the one that is open: 1, 2, 3 …
    #[arg(long, value_name = "NUMBER", requires = "skip")]
    group: Option<usize>,
    /// Why, such as the number of a change.
    #[arg(long)]
    reason: Option<String>,
}

/// Rejects a plan with a signature.
#[derive(Debug, clap::Args)]
#[command(after_help = REJECT)]
pub(super) struct RejectArgs {
    #[command(flatten)]
    given: Given,
    /// Why.
    #[arg(long)]
    reason: String,
}

pub(super) async fn approve(args: &ApproveArgs, printer: &Printer) -> Result<Outcome, Failure> {
    let scope = match &args.skip {
        Some(skip) => {
            let (release, step) = step_of(skip)?;
            ApprovalScope::Skip(Waiver { release, step, group: args.group })
        }
        None => scope(&args.given)?,
    };
    say(&args.given, Decision::Approve, scope, args.reason.clone(), printer).await
}

pub(super) async fn reject(args: &RejectArgs, printer: &Printer) -> Result<Outcome, Failure> {
    let scope = scope(&args.given)?;
    say(&args.given, Decision::Reject, scope, Some(args.reason.clone()), printer).await
}

async fn say(
    given: &Given,
    decision: Decision,
    scope: ApprovalScope,
    reason: Option<String>,
    printer: &Printer,
) -> Result<Outcome, Failure> {
    let plan = plan(given, &scope, printer).await?;
    let word = Word {
        plan: &plan,
        scope,
        decision,
        person: &given.person,
        reason,
        at: printer.now(),
        valid_for: given.valid_for,
    };
    let (file, name) = sign(&word, &given.key).await?;
    let (how, is_current) = deliver(given, &file, decision, printer).await?;
    if printer.is_json() {
        printer.json(&Signed { approval: name, plan, delivered: how, is_current });
    } else {
        let verb = match decision {
            Decision::Approve => printer.say("approved", "已批准"),
            Decision::Reject => printer.say("rejected", "已拒绝"),
        };
        printer.line(format!("✓ {} {verb}  {name}  ({how})", plan.short()));
        if is_current == Some(false) {
            let stale = Finding::warning("APPROVAL/STALE").with("person", &given.person);
            printer.findings(&[stale.with("plan", plan.short())], &Sources::default());
        }
    }
    Ok(Outcome::Done)
}

/// A word with its signature, and its name.
async fn sign(word: &Word<'_>, key: &Path) -> Result<(StoredApproval, String), Failure> {
    let (mut file, document) = approval::compose(word)?;
    let signed = signature::sign_with_file(&approval::signed_bytes(&document), key).await;
    file.signature = signed.map_err(|error| {
        let finding = Finding::error("COMMAND/NOT_SIGNED").with("key", key.display());
        finding.with("reason", chain(&error))
    })?;
    Ok((file, document.metadata.name.to_string()))
}

/// Signs a waiver of a step of a release, and hands it to the agent, which says why when it does not count.
pub(super) async fn waive(
    client: &Client,
    waiver: Waiver,
    (person, key): (&str, &Path),
    reason: &str,
    printer: &Printer,
) -> Result<(), Failure> {
    let plan = plan_of(&waiver.release, client).await?;
    let word = Word {
        plan: &plan,
        scope: ApprovalScope::Skip(waiver),
        decision: Decision::Approve,
        person,
        reason: Some(reason.to_owned()),
        at: printer.now(),
        valid_for: VALID_FOR,
    };
    let (file, _) = sign(&word, key).await?;
    hand_over(client, &file).await.map(|_| ())
}

/// The plan that a release carries out.
async fn plan_of(release: &str, client: &Client) -> Result<Digest, Failure> {
    let found: ReleaseShown = client.get(&format!("/api/v1/releases/{release}")).await?;
    Ok(found.release.release.plan)
}

/// The whole digest. When an agent is asked for it, what it would do is shown: one says yes to something.
async fn plan(given: &Given, scope: &ApprovalScope, printer: &Printer) -> Result<Digest, Failure> {
    if let Some(digest) = given.plan.as_deref().and_then(Digest::parse) {
        return Ok(digest);
    }
    let client = given.asking.client(printer)?;
    let wanted = match (&given.plan, scope) {
        (Some(wanted), _) => wanted.clone(),
        (
            None,
            ApprovalScope::Confirm(Confirmation { release, .. })
            | ApprovalScope::Skip(Waiver { release, .. }),
        ) => plan_of(release, &client).await?.to_string(),
        (None, ApprovalScope::Plan | ApprovalScope::Wave(_) | ApprovalScope::Operation(_)) => {
            "current".to_owned()
        }
    };
    let found: Value = client.get(&format!("/api/v1/plans/{wanted}")).await?;
    let unreadable = || Finding::error("COMMAND/FAILED").with("reason", "the plan has no digest");
    let digest = found.get("id").and_then(Value::as_str).and_then(Digest::parse);
    let digest = digest.ok_or_else(unreadable)?;
    let own: Vec<Task> = found
        .pointer("/plan/content/tasks")
        .and_then(|tasks| serde_json::from_value(tasks.clone()).ok())
        .unwrap_or_default();
    printer.remark(digest.as_str());
    for line in tasks(&own, printer) {
        printer.remark(format!("  {line}"));
    }
    Ok(digest)
}

fn scope(given: &Given) -> Result<ApprovalScope, Failure> {
    if let Some(wave) = &given.wave {
        let wave = wave.parse::<Name>();
        return wave.map(ApprovalScope::Wave).map_err(|_| {
            usage(
                Finding::error("COMMAND/WAVE")
                    .with("given", given.wave.clone().unwrap_or_default()),
            )
        });
    }
    let Some(confirm) = &given.confirm else { return Ok(ApprovalScope::Plan) };
    let (release, group) = step_of(confirm)?;
    Ok(ApprovalScope::Confirm(Confirmation { release, group }))
}

/// A step of a release, as RELEASE/STEP.
fn step_of(given: &str) -> Result<(String, String), Failure> {
    match given.split_once('/') {
        Some((release, step)) if !release.is_empty() && !step.is_empty() => {
            Ok((release.to_owned(), step.to_owned()))
        }
        _ => Err(usage(Finding::error("COMMAND/CONFIRM").with("given", given))),
    }
}

/// Hands it over; says how, for the record of the terminal, and whether it was the current plan when an agent took it.
async fn deliver(
    given: &Given,
    file: &StoredApproval,
    decision: Decision,
    printer: &Printer,
) -> Result<(String, Option<bool>), Failure> {
    if let Some(path) = &given.out {
        write(path, &file.document)?;
        let signature = PathBuf::from(format!("{}{SIGNATURE_END}", path.display()));
        write(&signature, &file.signature)?;
        return Ok((path.display().to_string(), None));
    }
    if given.push {
        return Ok((push(given, file, decision, printer).await?, None));
    }
    let client = given.asking.client(printer)?;
    let taken = hand_over(&client, file).await?;
    let is_current = taken.get("isCurrent").and_then(Value::as_bool);
    Ok((client.url().to_owned(), is_current))
}

async fn hand_over(client: &Client, file: &StoredApproval) -> Result<Value, Failure> {
    let body = json!({"document": file.document, "signature": file.signature});
    Ok(client.post("/api/v1/approvals", &body).await?)
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| {
        let finding = Finding::error("COMMAND/FILE_UNWRITABLE").with("path", path.display());
        finding.with("reason", error).into()
    })
}

async fn push(
    given: &Given,
    file: &StoredApproval,
    decision: Decision,
    printer: &Printer,
) -> Result<String, Failure> {
    let url = if let Some(url) = &given.repo {
        url.clone()
    } else {
        let client = given.asking.client(printer)?;
        client.get::<crate::status::Status>("/api/v1/status").await?.source.url
    };
    let copy = tempfile::tempdir().map_err(super::failure::because)?;
    let source = Source::open(SourceOptions::new(url, copy.path().join("mirror.git")))?;
    let verb = match decision {
        Decision::Approve => "approves",
        Decision::Reject => "rejects",
    };
    let branch = source.branches().approvals.clone();
    let append = Append {
        branch: branch.clone(),
        files: vec![
            (file.path.clone(), file.document.clone().into_bytes()),
            (format!("{}{SIGNATURE_END}", file.path), file.signature.clone().into_bytes()),
        ],
        message: format!("{} {verb} {}", given.person, file.path),
        by: Identity::new(&given.person, format!("{}@localhost", given.person)),
        at: printer.now(),
        may_replace: false,
    };
    source.append(append).await?;
    Ok(format!("{} {branch}", source.location()))
}
