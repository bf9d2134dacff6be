//! The acts of the day, in order.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::json;
use tidegate_core::change::ChangeSet;
use tidegate_core::digest::Digest;
use tidegate_core::plan::{Plan, PlanReport, TaskKind};
use tidegate_core::release::{Command, ReleasePhase};
use tidegate_core::show::{self, Style};
use tidegate_schema::finding::Lang;

use super::stage::Stage;
use super::voice::Voice;
use super::{Error, staging};
use crate::status::{Condition, Status};

/// Plays all acts.
pub(super) async fn play(stage: &mut Stage, voice: &mut Voice) -> Result<(), Error> {
    first_installation(stage, voice).await?;
    upgrade(stage, voice).await?;
    names(stage, voice).await?;
    expired_grant(stage, voice).await?;
    broken_version(stage, voice).await?;
    drift(stage, voice).await?;
    voice.pause();
    voice.done(&format!(
        "The day is over after {:.0} s: {} releases in the journal, and a plan that is empty again.",
        voice.seconds(),
        stage.handle.status().releases.len(),
    ));
    Ok(())
}

async fn first_installation(stage: &mut Stage, voice: &mut Voice) -> Result<(), Error> {
    voice.act("The first installation of a whole site");
    voice.does("Li Na", "pushes the site's repository: solutions, parameters, access, names");
    let plan = planned(stage, "the first plan").await?;
    show_summary(stage, voice, &plan).await?;
    waits(stage, voice);
    approve(stage, voice, &plan, &["wang-wei", "zhao-min", "chen-jie"]).await?;
    ended(stage, voice, &plan, ReleasePhase::Done).await?;
    settled(stage).await?;
    let status = stage.handle.status();
    if let Some(baseline) = &status.baseline {
        voice.done(&format!(
            "Baseline {} recorded: {} products in 2 clusters, {} zones served",
            baseline.digest.short(),
            baseline.products.len(),
            status.zones.len(),
        ));
    }
    let mut commands: Vec<String> = stage
        .kubeconfigs
        .values()
        .map(|path| format!("kubectl --kubeconfig {} get pods -A", path.display()))
        .collect();
    commands.push(format!("tidegate status --data {}", stage.data.display()));
    if let Some(http) = stage.http {
        commands.push(format!("curl http://{http}/status"));
    }
    voice.try_out(&commands);
    Ok(())
}

async fn upgrade(stage: &mut Stage, voice: &mut Voice) -> Result<(), Error> {
    voice.act("An upgrade: preview, two signatures, beta pod, groups");
    voice.does("Li Na", "merges iam 2.42.0 → 2.43.1");
    stage.edit("solutions/platform.yaml", "version: 2.42.0", "version: 2.43.1")?;
    stage.merge("iam: 2.43.1")?;
    let plan = planned_for(stage, "the upgrade's plan", TaskKind::Deploy).await?;
    show_plan(stage, voice, &plan).await?;
    waits(stage, voice);
    approve(stage, voice, &plan, &["wang-wei", "zhao-min"]).await?;
    let mut confirmed = BTreeSet::new();
    loop {
        let asked = stage
            .see("a group that waits for confirmation, or the end", |status| {
                let asks = |release: &crate::status::ReleaseStatus| {
                    let wait =
                        release.waits.iter().find(|it| it.code == "RELEASE/AWAIT_CONFIRM")?;
                    let step = wait.args.get("step").filter(|step| !confirmed.contains(*step))?;
                    Some((step.clone(), wait.message(Lang::En)))
                };
                if let Some(asked) = status.release.as_ref().and_then(asks) {
                    return Some(Some(asked));
                }
                is_ended(status, &plan).then_some(None)
            })
            .await?;
        let Some((step, message)) = asked else { break };
        if confirmed.is_empty() {
            voice.holds(&message);
            voice.try_out(&[format!("tidegate why --data {}", stage.data.display())]);
        }
        confirmed.insert(step.clone());
        voice.does("Wang Wei", &format!("has looked at {step} and confirms"));
        // A second command while the first is carried out is refused, which is as well.
        let confirm = Command::Confirm { step: Some(step) };
        let _answer = stage.handle.command(None, confirm, "wang-wei").await;
    }
    ended(stage, voice, &plan, ReleasePhase::Done).await?;
    settled(stage).await
}

async fn names(stage: &mut Stage, voice: &mut Voice) -> Result<(), Error> {
    voice.act("A name, asked of the agent's own DNS server");
    let name = "www.hz.bank.internal";
    let answer = crate::dns::ask(stage.dns, name).await.map_err(staging("ask the DNS server"))?;
    voice.quote(&format!("$ dig @{} -p {} {name} +short", stage.dns.ip(), stage.dns.port()));
    voice.quote(&answer.join("\n"));
    voice.done("Answered from the zone that the release published, not from the repository's head");
    voice.try_out(&[format!("dig @{} -p {} {name}", stage.dns.ip(), stage.dns.port())]);
    Ok(())
}

async fn expired_grant(stage: &mut Stage, voice: &mut Voice) -> Result<(), Error> {
    voice.act("A grant for half a minute, and its end");
    let expires =
        Timestamp::from_second(stage.clock.now().as_second() + 30).unwrap_or(Timestamp::MAX);
    stage.write(
        "iam/grants-night-shift.yaml",
        &format!(
            "apiVersion: tidegate.dev/v1\nkind: Grant\nmetadata: {{name: night-shift}}\nspec:\n  \
             subject: {{person: zhao-min}}\n  role: product-ops\n  scope: {{products: [portal]}}\n  \
             expires: {expires}\n  reason: CHG-1018\n"
        ),
    )?;
    voice.does("Li Na", "gives Zhao Min the role product-ops on portal, for half a minute");
    stage.merge("portal: night shift for Zhao Min")?;
    let plan = planned_for(stage, "the grant's plan", TaskKind::Grant).await?;
    waits(stage, voice);
    approve(stage, voice, &plan, &["wang-wei", "zhao-min", "chen-jie"]).await?;
    ended(stage, voice, &plan, ReleasePhase::Done).await?;
    let revoked = stage
        .see("the grant's end", |status| {
            let newest = status.releases.first()?;
            (newest.plan != plan && newest.phase == ReleasePhase::Done).then(|| newest.id.clone())
        })
        .await?;
    voice.done(&format!("{revoked}: revoked when its time was over; its end was approved with it"));
    settled(stage).await
}

async fn broken_version(stage: &mut Stage, voice: &mut Voice) -> Result<(), Error> {
    voice.act("A broken version stops at its beta pod");
    let old = stage.work.join("catalog/payments/3.8.0/version.yaml");
    let text = std::fs::read_to_string(&old).map_err(staging("read payments 3.8.0"))?;
    let broken = text
        .replace("version: 3.8.0", "version: 3.8.1")
        .replace("payments/gateway:3.8.0", "payments/gateway:3.8.1-crash");
    stage.write("catalog/payments/3.8.1/version.yaml", &broken)?;
    stage.edit("solutions/payments.yaml", "version: 3.8.0", "version: 3.8.1")?;
    voice.does("Li Na", "merges payments 3.8.1, whose image crashes at its start");
    stage.merge("payments: 3.8.1")?;
    let plan = planned_for(stage, "the broken plan", TaskKind::Deploy).await?;
    approve(stage, voice, &plan, &["wang-wei", "zhao-min"]).await?;
    let failure = stage
        .see("the beta pod's failure", |status| {
            let release = status.release.as_ref()?;
            release.failures.first().map(|failure| failure.failure.clone()).or_else(|| {
                (release.row.phase == ReleasePhase::RollingBack).then(|| {
                    tidegate_core::release::Failure {
                        code: "RELEASE/POD_CRASHES".to_owned(),
                        args: std::collections::BTreeMap::new(),
                        pods: Vec::new(),
                        job: None,
                    }
                })
            })
        })
        .await?;
    voice.fails(&format!("{}: one pod of the new revision, never more", failure.code));
    for pod in &failure.pods {
        voice.quote(&format!("{}: {} {}", pod.pod, pod.reason, pod.message));
        voice.quote(&pod.log.join("\n"));
    }
    ended(stage, voice, &plan, ReleasePhase::RolledBack).await?;
    voice.holds("The same plan is held until somebody approves it anew or the repository changes");
    stage.edit("solutions/payments.yaml", "version: 3.8.1", "version: 3.8.0")?;
    voice.does("Li Na", "reverts the merge");
    stage.merge("Revert \"payments: 3.8.1\"")?;
    settled(stage).await
}

async fn drift(stage: &mut Stage, voice: &mut Voice) -> Result<(), Error> {
    voice.act("A change by hand is seen, and put right");
    let Some(client) = stage.clients.get("room-a").cloned() else { return Ok(()) };
    let api: kube::Api<kube::core::DynamicObject> = kube::Api::namespaced_with(
        client,
        "portal",
        &kube::api::ApiResource {
            group: "apps".to_owned(),
            version: "v1".to_owned(),
            api_version: "apps/v1".to_owned(),
            kind: "Deployment".to_owned(),
            plural: "deployments".to_owned(),
        },
    );
    let patch = json!({"spec": {"replicas": 1}});
    let by = kube::api::PatchParams {
        field_manager: Some("kubectl-edit".to_owned()),
        ..Default::default()
    };
    api.patch("portal-web", &by, &kube::api::Patch::Merge(patch))
        .await
        .map_err(staging("change a deployment by hand"))?;
    voice.does("somebody", "scales portal-web in room-a to one pod with kubectl");
    let plan = planned_for(stage, "the corrective plan", TaskKind::Correct).await?;
    let status = stage.handle.status();
    let drift = ChangeSet { changes: status.drift.clone(), ..ChangeSet::default() };
    voice.quote(&show::changes_text(&drift, Style::default()));
    approve(stage, voice, &plan, &["wang-wei", "zhao-min"]).await?;
    ended(stage, voice, &plan, ReleasePhase::Done).await?;
    settled(stage).await
}

async fn planned(stage: &mut Stage, what: &str) -> Result<Digest, Error> {
    stage.see(what, |status| status.plan.as_ref().map(|plan| plan.id.clone())).await
}

async fn planned_for(stage: &mut Stage, what: &str, kind: TaskKind) -> Result<Digest, Error> {
    let has = |status: &Status| {
        let plan = status.plan.as_ref()?;
        plan.tasks.iter().any(|task| task.kind == kind).then(|| plan.id.clone())
    };
    stage.see(what, has).await
}

fn waits(stage: &Stage, voice: &Voice) {
    let status = stage.handle.status();
    for wait in status.plan.iter().flat_map(|plan| &plan.waits) {
        voice.holds(&wait.message(Lang::En));
    }
}

async fn approve(
    stage: &Stage,
    voice: &Voice,
    plan: &Digest,
    persons: &[&str],
) -> Result<(), Error> {
    for person in persons {
        voice.does(
            person,
            &format!("signs {} with an SSH key and pushes the approval", plan.short()),
        );
        stage.approve(person, plan).await?;
    }
    Ok(())
}

fn is_ended(status: &Status, plan: &Digest) -> bool {
    status.releases.iter().find(|row| &row.plan == plan).is_some_and(|row| row.phase.is_ended())
}

async fn ended(
    stage: &mut Stage,
    voice: &Voice,
    plan: &Digest,
    phase: ReleasePhase,
) -> Result<(), Error> {
    let row = stage
        .see("the end of the release", |status| {
            let row = status.releases.iter().find(|row| &row.plan == plan)?;
            row.phase.is_ended().then(|| row.clone())
        })
        .await?;
    if row.phase != phase {
        let problem = std::io::Error::other(format!("{} ended as {:?}", row.id, row.phase));
        return Err(staging("play this act to its end")(problem));
    }
    let took = row.ended_at.map(|end| end.duration_since(row.started_at).as_secs_f32());
    let how = if phase == ReleasePhase::RolledBack {
        "rolled back, everything as before"
    } else {
        "done: waves, groups, names and access"
    };
    voice.done(&format!("{} {how} ({:.1} s)", row.id, took.unwrap_or_default()));
    Ok(())
}

async fn settled(stage: &mut Stage) -> Result<(), Error> {
    let is_settled = |status: &Status| (status.condition == Condition::Settled).then_some(());
    stage.see("a settled site", is_settled).await
}

async fn show_summary(stage: &Stage, voice: &Voice, plan: &Digest) -> Result<(), Error> {
    let stored = stage.handle.plan(plan).await.map_err(staging("read the plan"))?;
    if let Some((plan, report)) = stored {
        voice.quote(&summary(&plan, &report));
    }
    Ok(())
}

async fn show_plan(stage: &Stage, voice: &Voice, plan: &Digest) -> Result<(), Error> {
    let stored = stage.handle.plan(plan).await.map_err(staging("read the plan"))?;
    if let Some((plan, report)) = stored {
        voice.quote(&show::plan_text(&plan, &report, Style::default()));
    }
    Ok(())
}

/// The whole of a first plan fills screens: its head says what it is about.
fn summary(plan: &Plan, report: &PlanReport) -> String {
    let text = show::plan_text(plan, report, Style::default());
    let head: Vec<&str> = text.lines().take(24).collect();
    let left = text.lines().count().saturating_sub(head.len());
    format!("{}\n… and {left} more lines; `tidegate plan` shows all", head.join("\n"))
}
