//! The loop's body: load … record, top to bottom.

use jiff::Timestamp;
use tidegate_core::diff::diff;
use tidegate_core::gate::{Gate, gate};
use tidegate_core::planner::plan;

use crate::agent::{Agent, Error};
use crate::execute::Advance;

/// One round. It rereads everything: a lost or doubled wake changes nothing. Gives the instant at which time alone makes
/// another round worthwhile.
///
/// # Errors
///
/// When the journal cannot be written: nothing else ends a round early, as a site keeps running on what was accepted.
pub async fn reconcile(agent: &mut Agent) -> Result<Option<Timestamp>, Error> {
    let now = agent.now();
    agent.answer_requests().await?;

    // load (IO: git only; what cannot be loaded leaves the site as it is)
    let Some(loaded) = agent.load().await? else { return agent.go_on_without_revision().await };
    agent.resume().await?;
    if agent.has_release_to_take_up() {
        return agent.go_on_without_revision().await;
    }

    // validate, render (pure)
    let meaning = agent.meaning(&loaded);
    agent.note_findings(&meaning.findings);
    let Some(site) = &meaning.site else { return agent.go_on_without_revision().await };
    let desired = &meaning.desired;
    let expiry = site.next_expiry(now);
    agent.connect(site).await;

    // A release under way goes on with what was approved; a newer revision waits for its end, unless it is stuck.
    if agent.is_releasing() {
        agent.supersede_if_stuck(desired).await?;
    }
    if agent.is_releasing() {
        let next = agent.advance().await?;
        if let Advance::Waiting(next) = next {
            agent.show_waiting().await?;
            return Ok([next, expiry].into_iter().flatten().min());
        }
    }

    // What an ended release has left behind it takes along before anything else is looked at.
    agent.let_go_of_autoscalers().await?;

    // look up (IO: registries, and only for what is new or was asked for long ago)
    let meaning = agent.look_up_images(&loaded).await?;
    let Some(site) = &meaning.site else { return agent.go_on_without_revision().await };
    let desired = &meaning.desired;

    // observe (IO: reads and dry runs only)
    let live = agent.observe(site, desired).await;
    agent.complete_inventory(desired, &live).await?;

    // diff, plan, gate (pure)
    let changes = diff(desired, &live, agent.inventory(), agent.published());
    let baseline = agent.baseline().cloned();
    let (mut plan, report) = plan(
        changes,
        desired,
        site,
        &live,
        baseline.as_ref(),
        agent.inventory(),
        &loaded.snapshot.revision,
        &loaded.authors,
    );
    plan.mark_policy_change(agent.accepted_policies());
    agent.note_orphans(&plan, (desired, site), &live);
    if plan.changes_nothing() && !report.is_refused() {
        agent.settle(site, &plan, &report, &live).await?;
        let is_more = agent.remove_old(None).await?;
        return Ok(if is_more { Some(now) } else { expiry });
    }
    agent.save(&plan, &report).await?;
    let evidence = agent.evidence(&plan).await?;
    let answer = if report.is_refused() {
        Gate::Closed(report.findings.clone())
    } else {
        gate(plan.clone(), &agent.policy(site), evidence.of(now))
    };

    // execute, record
    let (needs, next) = match answer {
        Gate::Open(approved) => {
            agent.start(*approved, &meaning, &live).await?;
            return Ok(Some(now));
        }
        Gate::Waiting { needs, next } => (needs, next),
        Gate::Closed(why) => (why, None),
    };
    agent.wait(&plan, &report, &live, needs, next).await?;
    let is_more = agent.remove_old(Some(&plan.id())).await?;
    Ok(if is_more { Some(now) } else { [next, expiry].into_iter().flatten().min() })
}
