//! A rehearsal: what it assumes of pods, and what it found by running a plan on copies of a site's clusters.
//!
//! What happens in one is not decided here: the same planner, gate and progress decide as always, on copies. This is how
//! long pods take there, by what past releases of the site took, and the form in which people and programs read the rest.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_schema::finding::Finding;

use crate::digest::Digest;
use crate::plan::{OnFailure, Plan, Step, StepKind, Task};
use crate::release::{Event, Failure, ReleaseEvent, ReleasePhase};
use crate::timeline::{Activity, Outcome, StepSpan, Timeline};

/// What came of a rehearsal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rehearsal {
    /// The site.
    pub site: String,
    /// The plan that was executed on the copies.
    pub plan: Digest,
    /// The commit that it was made from.
    pub revision: String,
    /// What the copies were made from.
    pub origin: Origin,
    /// When they were made: what ran then is what was changed.
    pub at: Timestamp,
    /// Why things change.
    pub tasks: Vec<Task>,
    /// Steps and waves of the plan.
    pub waves: Vec<WaveSize>,
    /// The copies, by name of the cluster.
    pub clusters: BTreeMap<String, CopiedCluster>,
    /// What the site's policy asks for before the plan may start. The rehearsal gave it.
    pub approvals: Vec<Finding>,
    /// Confirmations that people would be asked for. The rehearsal gave them at once.
    pub confirmations: Vec<ConfirmationAsked>,
    /// How long pods were taken to need, by cluster, product and app.
    pub starts: BTreeMap<String, StartTime>,
    /// How it went.
    pub run: Run,
    /// How it goes when the first group's new pods never become ready; absent when no pods change, or nobody asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<FailingRun>,
    /// What differs from the plan that was asked for, when the copies gave another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub differs: Option<Differs>,
    /// What the rehearsal does not know, or is not sure of.
    pub limits: Vec<Finding>,
}

/// How the plan that was executed differs from the one that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Differs {
    /// The plan that was asked for.
    pub asked: Digest,
    /// What differs, as `tidegate compare` tells it.
    pub text: String,
}

/// What copies were made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Origin {
    /// The objects of the live clusters.
    Live,
    /// The documents that a baseline says are delivered.
    Baseline,
}

/// A wave of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaveSize {
    /// Its name.
    pub name: String,
    /// Steps in it.
    pub steps: usize,
    /// Groups of pods in it.
    pub groups: usize,
}

/// One cluster that was copied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CopiedCluster {
    /// The live server's version; absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Objects in the copy.
    pub objects: usize,
    /// Nodes among them.
    pub nodes: usize,
    /// Pods among them.
    pub pods: usize,
}

/// A confirmation that people would be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfirmationAsked {
    /// Id of the step, or name of the wave.
    pub of: String,
    /// Index of the group; absent for a wave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<usize>,
    /// Seconds after the start.
    pub after_seconds: i64,
}

/// How long a pod of an app is taken to need until it is ready; of a task or test, until it has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StartTime {
    /// Seconds.
    pub seconds: i64,
    /// How often it was measured; 0 for a guess.
    pub measured: usize,
    /// The releases in which it was.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub releases: BTreeSet<String>,
}

/// How a plan went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// How it ended, or stood at last.
    pub phase: ReleasePhase,
    /// Seconds from its start to its end, or until nothing more happened by itself.
    pub seconds: i64,
    /// When it started, on the clock of the copies.
    pub started_at: Timestamp,
    /// Steps and groups over time.
    pub timeline: Timeline,
    /// Pods over time, by cluster, product and app.
    pub pods: BTreeMap<String, Vec<PodCount>>,
    /// What failed.
    pub failures: Vec<StepFailed>,
    /// What rules did without asking, and how a policy answered to a failure.
    pub reactions: Vec<Reaction>,
}

/// The pods of an app at an instant. It stays so until the next one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodCount {
    /// Seconds after the start.
    pub after_seconds: i64,
    /// Pods as they were before.
    pub old: usize,
    /// Those of them that are ready.
    pub old_ready: usize,
    /// Pods that the release made.
    pub new: usize,
    /// Those of them that are ready.
    pub new_ready: usize,
}

/// A step that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepFailed {
    /// Id of the step.
    pub step: String,
    /// Index of the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<usize>,
    /// Seconds after the start.
    pub after_seconds: i64,
    /// Why.
    pub failure: Failure,
}

/// What was done about a failure without a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reaction {
    /// Seconds after the start.
    pub after_seconds: i64,
    /// What.
    pub what: ReactionKind,
    /// Id of the step, when it was about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Which attempt of a rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
}

/// The kinds of reactions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ReactionKind {
    /// An unattended rule tried the group again.
    Retried,
    /// An unattended rule let the group count as done.
    Skipped,
    /// The policy went back.
    WentBack,
    /// Everything that was begun is as it was before.
    RolledBack,
    /// The release was cancelled by a rule.
    Cancelled,
    /// The release waits for a person.
    Paused,
}

/// A run in which the new pods of one step never become ready.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailingRun {
    /// Id of the step whose new pods never became ready.
    pub step: String,
    /// What its policy says is done then.
    pub on_failure: OnFailure,
    /// How it went.
    pub run: Run,
    /// Steps that were done when it stood still.
    pub done: usize,
    /// Steps that had not begun.
    pub not_begun: usize,
}

/// `wave/cluster/product/app` without its wave: by which the same step is found in other plans.
pub fn place(step: &str) -> &str {
    step.split_once('/').map_or(step, |(_, rest)| rest)
}

/// A release of the past: its id, its plan when that is still known, and its events.
#[derive(Clone, Debug)]
pub struct Past {
    /// Its id.
    pub id: String,
    /// Its plan.
    pub plan: Option<Plan>,
    /// Its events.
    pub events: Vec<ReleaseEvent>,
}

/// The most that is measured of one app: the latest count.
const MEASURED: usize = 20;

/// Steps of which pods are waited for.
pub fn with_pods(plan: &Plan) -> impl Iterator<Item = &Step> {
    plan.steps().map(|(_, step)| step).filter(|step| {
        let has_pods = |rollout: &crate::plan::Rollout| !rollout.groups.is_empty();
        step.rollout.as_ref().is_some_and(has_pods) || matches!(step.kind, StepKind::Job(_))
    })
}

/// How long pods of each step of a plan take, by [`place`]: the median of what the same app took in the past, newest release
/// first; of the same app in other clusters where it was never measured in its own; else the guess.
///
/// Of a group it counts from its opening until all its pods were ready, as they change side by side; where `is_ordered`, they
/// came one after another, and it is divided by their number.
pub fn start_times(
    plan: &Plan,
    past: &[Past],
    is_ordered: impl Fn(&str) -> bool,
    guess_seconds: i64,
) -> BTreeMap<String, StartTime> {
    let measured = measured(past, is_ordered);
    let elsewhere = |place: &str| {
        let app = |place: &str| place.split_once('/').map(|(_, app)| app.to_owned());
        let wanted = app(place);
        let others = measured.iter().filter(|(other, _)| app(other) == wanted);
        others.flat_map(|(_, found)| found.iter().cloned()).collect::<Vec<_>>()
    };
    with_pods(plan)
        .map(|step| {
            let place = place(&step.id);
            let found = measured.get(place).cloned().unwrap_or_else(|| elsewhere(place));
            (place.to_owned(), median(found, guess_seconds))
        })
        .collect()
}

fn median(mut found: Vec<(i64, String)>, guess_seconds: i64) -> StartTime {
    found.truncate(MEASURED);
    if found.is_empty() {
        return StartTime { seconds: guess_seconds, measured: 0, releases: BTreeSet::new() };
    }
    let releases = found.iter().map(|(_, release)| release.clone()).collect();
    let mut seconds: Vec<i64> = found.iter().map(|(seconds, _)| *seconds).collect();
    seconds.sort_unstable();
    let middle = seconds.get(seconds.len() / 2).copied().unwrap_or(guess_seconds);
    StartTime { seconds: middle.max(1), measured: seconds.len(), releases }
}

/// Seconds with the release, by place.
fn measured(
    past: &[Past],
    is_ordered: impl Fn(&str) -> bool,
) -> BTreeMap<String, Vec<(i64, String)>> {
    let mut found: BTreeMap<String, Vec<(i64, String)>> = BTreeMap::new();
    for release in past {
        for span in Timeline::of(&release.events).steps {
            let place = place(&span.step).to_owned();
            let step = release.plan.as_ref().and_then(|plan| plan.step(&span.step));
            let pods = |group: usize| {
                let rollout = step.and_then(|step| step.rollout.as_ref());
                rollout.and_then(|rollout| rollout.groups.get(group)).map(|group| group.pods)
            };
            let divisor = |group: usize| {
                if is_ordered(&place) {
                    pods(group).map_or(1, |pods| i64::from(pods.max(1)))
                } else {
                    1
                }
            };
            let own = found.entry(place.clone()).or_default();
            let is_job = step.is_some_and(|step| matches!(step.kind, StepKind::Job(_)));
            if is_job && span.outcome == Outcome::Done {
                own.extend(span.seconds.map(|seconds| (seconds, release.id.clone())));
            }
            own.extend(
                groups(&span)
                    .map(|(group, seconds)| (seconds / divisor(group), release.id.clone())),
            );
        }
    }
    found.retain(|_, own| !own.is_empty());
    found
}

/// Groups that became ready at their first attempt, with the seconds that took.
fn groups(span: &StepSpan) -> impl Iterator<Item = (usize, i64)> {
    let is_good = |it: &&crate::timeline::GroupSpan| it.outcome == Outcome::Done && it.attempt == 1;
    span.groups.iter().filter(is_good).filter_map(|group| {
        let first = group.segments.first().filter(|it| it.activity == Activity::Changing)?;
        Some((group.group, first.to?.duration_since(first.from).as_secs()))
    })
}

impl Run {
    /// What the events of a release say, up to an instant.
    pub fn of(
        phase: ReleasePhase,
        events: &[ReleaseEvent],
        until: Timestamp,
        pods: BTreeMap<String, Vec<PodCount>>,
    ) -> Self {
        let started_at = events.first().map_or(until, |event| event.at);
        let after = |at: Timestamp| at.duration_since(started_at).as_secs();
        let failures = events.iter().filter_map(|event| {
            let Event::StepFailed { step, group, failure } = &event.event else { return None };
            Some(StepFailed {
                step: step.clone(),
                group: *group,
                after_seconds: after(event.at),
                failure: failure.clone(),
            })
        });
        let reactions = events.iter().filter_map(|event| {
            let (what, step, attempt) = reaction(&event.event)?;
            Some(Reaction { after_seconds: after(event.at), what, step, attempt })
        });
        let (failures, mut reactions) = (failures.collect(), reactions.collect::<Vec<_>>());
        let last = events.last().map_or(until, |event| event.at);
        let end = if phase.is_ended() { last } else { until };
        if matches!(phase, ReleasePhase::Failed | ReleasePhase::Paused) {
            let (after_seconds, what) = (after(last), ReactionKind::Paused);
            reactions.push(Reaction { after_seconds, what, step: None, attempt: None });
        }
        Self {
            phase,
            seconds: after(end),
            started_at,
            timeline: Timeline::of(events),
            pods,
            failures,
            reactions,
        }
    }
}

fn reaction(event: &Event) -> Option<(ReactionKind, Option<String>, Option<u32>)> {
    if let Event::ActedUnattended { step, action, attempt, .. } = event {
        let what = match action.as_str() {
            "skip" => ReactionKind::Skipped,
            "cancel" => ReactionKind::Cancelled,
            _ => ReactionKind::Retried,
        };
        return Some((what, Some(step.clone()), Some(*attempt)));
    }
    let is_back = matches!(event, Event::RollbackStarted { .. });
    let what = if is_back { ReactionKind::WentBack } else { ReactionKind::RolledBack };
    (is_back || matches!(event, Event::RolledBack)).then_some((what, None, None))
}

/// Confirmations that were asked for, in order.
pub fn confirmations(events: &[ReleaseEvent], plan: &Plan) -> Vec<ConfirmationAsked> {
    let Some(start) = events.first().map(|event| event.at) else { return Vec::new() };
    let asked = events.iter().filter_map(|event| {
        let (of, group) = if let Event::ConfirmationAsked { step, group } = &event.event {
            (step.clone(), Some(*group))
        } else if let Event::WaveConfirmed { wave, .. } = &event.event {
            (plan.content.waves.get(*wave).map(|it| it.name.clone())?, None)
        } else {
            return None;
        };
        let after_seconds = event.at.duration_since(start).as_secs();
        Some(ConfirmationAsked { of, group, after_seconds })
    });
    asked.collect()
}

/// Whether two plans do the same, whatever the values of secrets are that they change around: a copy of a cluster does not
/// have them.
pub fn is_same_but_for_secrets(one: &Plan, other: &Plan) -> bool {
    let without = |plan: &Plan| {
        let mut content = plan.content.clone();
        let changes = content.changes.changes.iter_mut();
        for change in changes.filter(|it| it.object.kind == "Secret" && it.object.group.is_empty())
        {
            change.live = None;
            change.predicted = None;
        }
        Digest::of(&content)
    };
    without(one) == without(other)
}

/// The waves of a plan.
pub fn waves(plan: &Plan) -> Vec<WaveSize> {
    let groups = |step: &Step| step.rollout.as_ref().map_or(0, |rollout| rollout.groups.len());
    let size = |wave: &crate::plan::Wave| WaveSize {
        name: wave.name.clone(),
        steps: wave.steps.len(),
        groups: wave.steps.iter().map(groups).sum(),
    };
    plan.content.waves.iter().map(size).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn events(list: Vec<(i64, Event)>) -> Vec<ReleaseEvent> {
        let numbered = list.into_iter().zip(1..);
        numbered
            .map(|((second, event), number)| ReleaseEvent { number, at: at(second), event })
            .collect()
    }

    /// A release in which groups of a step became ready after so many seconds.
    fn past(id: &str, step: &str, groups: &[i64]) -> Past {
        let step = step.to_owned();
        let mut all = vec![(0, Event::StepStarted { step: step.clone() })];
        let mut now = 0;
        for (group, seconds) in groups.iter().enumerate() {
            let step = || step.clone();
            all.push((now, Event::GroupOpened { step: step(), group, attempt: 1, already: 0 }));
            now += seconds;
            all.push((now, Event::GroupReady { step: step(), group, pods: Vec::new() }));
            now += 60;
            all.push((now, Event::GroupDone { step: step(), group }));
        }
        Past { id: id.to_owned(), plan: None, events: events(all) }
    }

    #[test]
    fn what_pods_took_is_measured_without_bakes_and_the_middle_counts() {
        let past = [
            past("r9", "all/room-a/iam/core", &[40, 44]),
            past("r7", "gray/room-a/iam/core", &[900]),
            past("r7", "all/room-b/iam/core", &[10]),
        ];
        let found = measured(&past, |_| false);
        let own = found.get("room-a/iam/core").unwrap().clone();
        assert_eq!(own.iter().map(|it| it.0).collect::<Vec<_>>(), [40, 44, 900]);
        let start = median(own, 30);
        assert_eq!((start.seconds, start.measured), (44, 3));
        assert_eq!(start.releases, ["r7", "r9"].map(str::to_owned).into());
        assert_eq!(
            median(Vec::new(), 30),
            StartTime { seconds: 30, measured: 0, releases: BTreeSet::new() }
        );
    }

    #[test]
    fn a_group_that_failed_or_was_tried_again_is_no_measure() {
        let step = "all/room-a/iam/core".to_owned();
        let open =
            |attempt| Event::GroupOpened { step: step.clone(), group: 0, attempt, already: 0 };
        let failed = Event::StepFailed {
            step: step.clone(),
            group: Some(0),
            failure: Failure {
                code: "A/B".to_owned(),
                args: BTreeMap::new(),
                pods: Vec::new(),
                job: None,
            },
        };
        let list = vec![
            (0, Event::StepStarted { step: step.clone() }),
            (0, open(1)),
            (600, failed),
            (700, Event::Retried { step: step.clone(), by: "li-na".to_owned() }),
            (700, open(2)),
            (705, Event::GroupReady { step: step.clone(), group: 0, pods: Vec::new() }),
            (705, Event::GroupDone { step: step.clone(), group: 0 }),
        ];
        let release = Past { id: "r1".to_owned(), plan: None, events: events(list) };
        assert!(measured(&[release], |_| false).is_empty());
    }

    #[test]
    fn a_run_that_stands_still_waits_for_a_person() {
        let list = vec![
            (0, Event::Opened { plan: Digest::of(&1), approvals: Vec::new() }),
            (30, Event::StepStarted { step: "a/b".to_owned() }),
        ];
        let events = events(list);
        let run = Run::of(ReleasePhase::Failed, &events, at(90), BTreeMap::new());
        assert_eq!((run.seconds, run.reactions.len()), (90, 1));
        assert_eq!(
            (run.reactions[0].what.clone(), run.reactions[0].after_seconds),
            (ReactionKind::Paused, 30)
        );
        let run = Run::of(ReleasePhase::Done, &events, at(90), BTreeMap::new());
        assert_eq!((run.seconds, run.reactions.len()), (30, 0));
    }
}
