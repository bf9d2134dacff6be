//! When the parts of a release were under way, from its events: for drawing, and for those who count.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::release::{Event, GroupPod, ReleaseEvent};

/// A release over time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Timeline {
    /// Steps in the order in which they started; none where what machines did was removed.
    pub steps: Vec<StepSpan>,
}

/// A step over time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepSpan {
    /// Id of the step.
    pub step: String,
    /// How it ended, or stands.
    pub outcome: Outcome,
    /// From its start to its end; empty when it has not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<i64>,
    /// What it was doing, in order.
    pub segments: Vec<Segment>,
    /// Its groups of pods, each attempt by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupSpan>,
}

/// A group of pods over time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupSpan {
    /// Its index: 0, 1, 2 …
    pub group: usize,
    /// 1 at first; retries count up.
    pub attempt: u32,
    /// How it ended, or stands.
    pub outcome: Outcome,
    /// From its opening to its end; empty when it has not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<i64>,
    /// What it was doing, in order.
    pub segments: Vec<Segment>,
    /// The pods that are new with it, once it was ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pods: Vec<GroupPod>,
}

/// A time in which one thing was going on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Segment {
    /// What.
    pub activity: Activity,
    /// Since when.
    pub from: Timestamp,
    /// Until when; absent while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
}

/// What a step or a group was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Activity {
    /// Objects or pods change.
    Changing,
    /// New pods are ready: they are checked, and have to stay well.
    Watching,
    /// A person is asked to confirm.
    Asking,
    /// It failed, and waits for a person or a rule.
    Failed,
    /// It goes back to what was before.
    GoingBack,
}

/// How a step or a group ended, or stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// Not ended.
    Open,
    /// Ended well.
    Done,
    /// Failed.
    Failed,
    /// Counts as done by a waiver.
    Skipped,
    /// Back where it was.
    RolledBack,
    /// It was given up, or the release ended before it did.
    Left,
}

impl Timeline {
    /// Folded from all events of a release, in order.
    pub fn of(events: &[ReleaseEvent]) -> Self {
        let mut timeline = Self::default();
        for event in events {
            timeline.take(&event.event, event.at);
        }
        timeline
    }

    fn step(&mut self, id: &str) -> Option<&mut StepSpan> {
        self.steps.iter_mut().find(|step| step.step == id)
    }

    /// What a step and its last group do from now on.
    fn turn(&mut self, id: &str, activity: Activity, at: Timestamp) {
        let Some(step) = self.step(id) else { return };
        turn(&mut step.segments, activity, at);
        let open = step.groups.last_mut().filter(|group| group.outcome == Outcome::Open);
        if let Some(group) = open {
            turn(&mut group.segments, activity, at);
        }
    }

    fn take(&mut self, event: &Event, at: Timestamp) {
        match event {
            Event::StepStarted { step } => self.begin(step, at),
            Event::GroupOpened { step, group, attempt, .. } => {
                self.open(step, *group, *attempt, at);
            }
            Event::GroupReady { step, pods, .. } => self.ready(step, pods, at),
            Event::GroupChecked { step, .. } | Event::Confirmed { step, .. } => {
                self.turn(step, Activity::Watching, at);
            }
            Event::ConfirmationAsked { step, .. } => self.turn(step, Activity::Asking, at),
            Event::GroupDone { step, .. } => {
                let Some(step) = self.step(step) else { return };
                step.end_group(Outcome::Done, at);
                turn(&mut step.segments, Activity::Changing, at);
            }
            Event::StepFailed { step, .. } => {
                let Some(step) = self.step(step) else { return };
                step.end_group(Outcome::Failed, at);
                step.outcome = Outcome::Failed;
                turn(&mut step.segments, Activity::Failed, at);
            }
            Event::Retried { step, .. } => {
                let Some(step) = self.step(step) else { return };
                step.outcome = Outcome::Open;
                turn(&mut step.segments, Activity::Changing, at);
                // The same group goes on, unless another attempt of it is opened.
                if let Some(group) = step.groups.last_mut() {
                    group.outcome = Outcome::Open;
                    group.seconds = None;
                    turn(&mut group.segments, Activity::Changing, at);
                }
            }
            Event::StepDone { step } => self.end(step, Outcome::Done, at),
            Event::Skipped { step, group: Some(_), .. } => self.skip_group(step, at),
            Event::Skipped { step, group: None, .. } => self.end(step, Outcome::Skipped, at),
            Event::StepCancelled { step, .. } => self.end(step, Outcome::Left, at),
            Event::StepRolledBack { step } => self.end(step, Outcome::RolledBack, at),
            Event::RollbackStarted { .. } => {
                // Whatever is not done goes back, whichever part was named.
                let ids = self.steps.iter().filter(|step| !step.has_ended());
                let ids: Vec<String> = ids.map(|step| step.step.clone()).collect();
                for id in ids {
                    self.turn(&id, Activity::GoingBack, at);
                }
            }
            Event::ObjectsReverted { step, .. } => self.turn(step, Activity::GoingBack, at),
            Event::RolledBack
            | Event::Cancelled { .. }
            | Event::Superseded { .. }
            | Event::Done => {
                for step in &mut self.steps {
                    if step.segments.last().is_some_and(|last| last.to.is_none()) {
                        let is_open = step.outcome == Outcome::Open;
                        let left = if is_open { Outcome::Left } else { step.outcome };
                        step.end(left, at);
                    }
                }
            }
            Event::Opened { .. }
            | Event::WaveStarted { .. }
            | Event::PodsListed { .. }
            | Event::ObjectsApplied { .. }
            | Event::ObjectsPruned { .. }
            | Event::ActedUnattended { .. }
            | Event::AutoscalerHeld { .. }
            | Event::AutoscalerLetGo { .. }
            | Event::WaveReady { .. }
            | Event::WaveDone { .. }
            | Event::WaveConfirmed { .. }
            | Event::Paused { .. }
            | Event::Resumed { .. } => {}
        }
    }

    /// The open group is ready, with these pods.
    fn ready(&mut self, id: &str, pods: &[GroupPod], at: Timestamp) {
        self.turn(id, Activity::Watching, at);
        if let Some(group) = self.step(id).and_then(|step| step.groups.last_mut()) {
            group.pods = pods.to_vec();
        }
    }

    /// What failed of the last group counts as done, and the step goes on.
    fn skip_group(&mut self, id: &str, at: Timestamp) {
        let Some(step) = self.step(id) else { return };
        if let Some(group) = step.groups.last_mut() {
            group.outcome = Outcome::Skipped;
        }
        step.outcome = Outcome::Open;
        turn(&mut step.segments, Activity::Changing, at);
    }

    fn begin(&mut self, id: &str, at: Timestamp) {
        self.steps.push(StepSpan {
            step: id.to_owned(),
            outcome: Outcome::Open,
            seconds: None,
            segments: vec![Segment { activity: Activity::Changing, from: at, to: None }],
            groups: Vec::new(),
        });
    }

    /// A group is opened, or another attempt of it.
    fn open(&mut self, id: &str, group: usize, attempt: u32, at: Timestamp) {
        let Some(step) = self.step(id) else { return };
        step.end_group(Outcome::Failed, at);
        turn(&mut step.segments, Activity::Changing, at);
        step.groups.push(GroupSpan {
            group,
            attempt,
            outcome: Outcome::Open,
            seconds: None,
            segments: vec![Segment { activity: Activity::Changing, from: at, to: None }],
            pods: Vec::new(),
        });
    }

    fn end(&mut self, id: &str, outcome: Outcome, at: Timestamp) {
        if let Some(step) = self.step(id) {
            step.end(outcome, at);
        }
    }
}

impl StepSpan {
    /// When it started.
    pub fn from(&self) -> Option<Timestamp> {
        self.segments.first().map(|segment| segment.from)
    }

    fn has_ended(&self) -> bool {
        matches!(self.outcome, Outcome::Done | Outcome::Skipped | Outcome::RolledBack)
    }

    fn end(&mut self, outcome: Outcome, at: Timestamp) {
        self.end_group(outcome, at);
        self.outcome = outcome;
        close(&mut self.segments, at);
        self.seconds = lasted(&self.segments);
    }

    /// Ends the group that is open.
    fn end_group(&mut self, outcome: Outcome, at: Timestamp) {
        let open = self.groups.last_mut().filter(|group| group.outcome == Outcome::Open);
        if let Some(group) = open {
            group.outcome = outcome;
            close(&mut group.segments, at);
            group.seconds = lasted(&group.segments);
        }
    }
}

/// What is going on ends, and something else begins; the same goes on.
fn turn(segments: &mut Vec<Segment>, activity: Activity, at: Timestamp) {
    if let Some(last) = segments.last()
        && last.activity == activity
        && last.to.is_none()
    {
        return;
    }
    close(segments, at);
    segments.push(Segment { activity, from: at, to: None });
}

fn close(segments: &mut Vec<Segment>, at: Timestamp) {
    if let Some(last) = segments.last_mut().filter(|last| last.to.is_none()) {
        last.to = Some(at);
    }
    // What took no time was nothing, unless it is all that there is, a failure, or going back.
    let count = segments.len();
    let is_told = |it: &Segment| matches!(it.activity, Activity::Failed | Activity::GoingBack);
    let is_nothing = |it: &Segment| it.to == Some(it.from) && !is_told(it);
    if count > 1 && segments.last().is_some_and(is_nothing) {
        segments.pop();
    }
}

fn lasted(segments: &[Segment]) -> Option<i64> {
    Some(segments.last()?.to?.duration_since(segments.first()?.from).as_secs())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::release::{Failure, Part};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn timeline(events: Vec<(i64, Event)>) -> Timeline {
        let events = events.into_iter().zip(1..);
        let events: Vec<ReleaseEvent> = events
            .map(|((second, event), number)| ReleaseEvent { number, at: at(second), event })
            .collect();
        Timeline::of(&events)
    }

    fn step() -> String {
        "w/c/p/a".to_owned()
    }

    fn opened(group: usize, attempt: u32) -> Event {
        Event::GroupOpened { step: step(), group, attempt, already: 0 }
    }

    fn failed() -> Event {
        let failure =
            Failure { code: "A/B".to_owned(), args: BTreeMap::new(), pods: Vec::new(), job: None };
        Event::StepFailed { step: step(), group: Some(0), failure }
    }

    /// Activities with the second of their beginning and end.
    fn told(segments: &[Segment]) -> Vec<(Activity, i64, Option<i64>)> {
        let told =
            |it: &Segment| (it.activity, it.from.as_second(), it.to.map(Timestamp::as_second));
        segments.iter().map(told).collect()
    }

    #[test]
    fn a_group_changes_is_watched_asks_and_is_done() {
        let found = timeline(vec![
            (0, Event::StepStarted { step: step() }),
            (0, opened(0, 1)),
            (3, Event::GroupReady { step: step(), group: 0, pods: Vec::new() }),
            (8, Event::ConfirmationAsked { step: step(), group: 0 }),
            (
                20,
                Event::Confirmed { step: step(), group: 0, by: "li-na".to_owned(), approval: None },
            ),
            (20, Event::GroupDone { step: step(), group: 0 }),
            (20, opened(1, 1)),
            (25, Event::GroupReady { step: step(), group: 1, pods: Vec::new() }),
        ]);
        let wanted = vec![
            (Activity::Changing, 0, Some(3)),
            (Activity::Watching, 3, Some(8)),
            (Activity::Asking, 8, Some(20)),
        ];
        assert_eq!(found.steps.len(), 1);
        let only = &found.steps[0];
        assert_eq!(told(&only.groups[0].segments), wanted);
        assert_eq!((only.groups[0].seconds, only.groups[0].outcome), (Some(20), Outcome::Done));
        assert_eq!((only.groups[1].seconds, only.groups[1].outcome), (None, Outcome::Open));
        let mut all = wanted;
        all.extend([(Activity::Changing, 20, Some(25)), (Activity::Watching, 25, None)]);
        assert_eq!(told(&only.segments), all);
        assert_eq!(only.outcome, Outcome::Open);
    }

    #[test]
    fn what_failed_waits_is_tried_again_and_goes_back() {
        let found = timeline(vec![
            (0, Event::StepStarted { step: step() }),
            (0, opened(0, 1)),
            (2, failed()),
            (10, Event::Retried { step: step(), by: "li-na".to_owned() }),
            (10, opened(0, 2)),
            (12, failed()),
            (
                30,
                Event::RollbackStarted {
                    part: Part::default(),
                    by: "li-na".to_owned(),
                    reason: String::new(),
                },
            ),
            (34, Event::StepRolledBack { step: step() }),
            (34, Event::RolledBack),
        ]);
        let only = &found.steps[0];
        assert_eq!(
            told(&only.segments),
            [
                (Activity::Changing, 0, Some(2)),
                (Activity::Failed, 2, Some(10)),
                (Activity::Changing, 10, Some(12)),
                (Activity::Failed, 12, Some(30)),
                (Activity::GoingBack, 30, Some(34)),
            ]
        );
        let attempts: Vec<_> =
            only.groups.iter().map(|it| (it.attempt, it.seconds, it.outcome)).collect();
        assert_eq!(attempts, [(1, Some(2), Outcome::Failed), (2, Some(2), Outcome::Failed)]);
        assert_eq!((only.outcome, only.seconds), (Outcome::RolledBack, Some(34)));
    }

    #[test]
    fn a_group_that_is_tried_again_in_the_same_attempt_goes_on() {
        let found = timeline(vec![
            (0, Event::StepStarted { step: step() }),
            (0, opened(0, 1)),
            (2, failed()),
            (10, Event::Retried { step: step(), by: "li-na".to_owned() }),
            (14, Event::GroupReady { step: step(), group: 0, pods: Vec::new() }),
            (15, Event::GroupDone { step: step(), group: 0 }),
        ]);
        let group = &found.steps[0].groups[0];
        assert_eq!((group.seconds, group.outcome), (Some(15), Outcome::Done));
        assert_eq!(
            told(&group.segments),
            [
                (Activity::Changing, 0, Some(2)),
                (Activity::Changing, 10, Some(14)),
                (Activity::Watching, 14, Some(15)),
            ]
        );
    }

    #[test]
    fn what_a_cancelled_release_left_is_said() {
        let cancelled = Event::Cancelled { by: "li-na".to_owned(), reason: String::new() };
        let found = timeline(vec![
            (0, Event::StepStarted { step: step() }),
            (0, opened(0, 1)),
            (5, cancelled),
        ]);
        assert_eq!((found.steps[0].outcome, found.steps[0].seconds), (Outcome::Left, Some(5)));
        assert_eq!(found.steps[0].groups[0].outcome, Outcome::Left);
    }
}
