//! How delivery goes, in numbers: each release measured, and what is known as the four keys of DORA.
//!
//! Definitions are in docs/reference/delivery.md; they follow <https://dora.dev/guides/dora-metrics-four-keys/>.

use std::collections::BTreeSet;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::history::{About, Course};
use crate::plan::{ReleaseKind, TaskKind};
use crate::release::ReleasePhase;

/// Seconds of a week.
const WEEK: i64 = 7 * 86_400;

/// A release with all that is counted of it.
#[derive(Clone, Debug)]
pub struct Counted {
    /// Its id.
    pub id: String,
    /// How it stands.
    pub phase: ReleasePhase,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// What it was about.
    pub about: About,
    /// How it went.
    pub course: Course,
}

/// One release, measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseMeasures {
    /// Its id.
    pub id: String,
    /// Release, operation or test; null when its plan is not known any more.
    pub kind: Option<ReleaseKind>,
    /// The products that it touches.
    pub products: BTreeSet<String>,
    /// How it stands.
    pub phase: ReleasePhase,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended; null before.
    pub ended_at: Option<Timestamp>,
    /// Seconds from its commit to its end; null when it did not end well, or the commit's time is not known.
    pub lead_seconds: Option<i64>,
    /// Seconds for which its plan waited before it started: for approvals, windows, freezes.
    pub waiting_seconds: Option<i64>,
    /// Seconds from its start to its end; null before.
    pub duration_seconds: Option<i64>,
    /// What happened on the way.
    #[serde(flatten)]
    pub course: Course,
    /// Whether it was a change that failed.
    pub is_failed_change: bool,
    /// Seconds from its first failure until its products were well again; null when it is no failed change, or they are not.
    pub restore_seconds: Option<i64>,
}

/// Sums over a period.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliverySums {
    /// Beginning of the period; null when nothing was released.
    pub since: Option<Timestamp>,
    /// End of the period.
    pub until: Timestamp,
    /// Releases that are counted, tests and what has not ended included.
    pub releases: usize,
    /// Deployments: releases and operations that ended well.
    pub deployments: usize,
    /// Deployments by week; null without a period.
    pub deployments_per_week: Option<f64>,
    /// Share of the changes that failed, 0 to 1; null when nothing was changed.
    pub change_failure_rate: Option<f64>,
    /// Median of the seconds from commit to end, of releases that ended well; null when there is none.
    pub lead_seconds: Option<i64>,
    /// Median of the seconds for which plans waited; null when there is none.
    pub waiting_seconds: Option<i64>,
    /// Median of the seconds from start to end; null when there is none.
    pub duration_seconds: Option<i64>,
    /// Median of the seconds from failure to recovery; null when there is none.
    pub restore_seconds: Option<i64>,
}

/// How delivery went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// Over the period.
    pub sums: DeliverySums,
    /// Newest first.
    pub releases: Vec<ReleaseMeasures>,
}

/// Measures the releases of a site. `all` is its whole history, oldest first, as what came later says whether a change
/// failed; `is_wanted` says which are counted. The period goes from `since`, or else from the first release that is counted,
/// to `until`.
pub fn measure(
    all: &[Counted],
    is_wanted: impl Fn(&Counted) -> bool,
    since: Option<Timestamp>,
    until: Timestamp,
) -> Delivery {
    let mut releases = Vec::new();
    for (index, release) in all.iter().enumerate().filter(|(_, release)| is_wanted(release)) {
        let later = all.get(index + 1..).unwrap_or_default();
        releases.push(one(release, later));
    }
    let since = since.or_else(|| releases.first().map(|first| first.started_at));
    let sums = sums(&releases, since, until);
    releases.reverse();
    Delivery { sums, releases }
}

fn one(release: &Counted, later: &[Counted]) -> ReleaseMeasures {
    let about = &release.about;
    let is_done = release.phase == ReleasePhase::Done;
    let taken_back = taken_back(release, later);
    let is_failed_change = is_change(about.kind) && (has_failed(release) || taken_back.is_some());
    let from = release.course.failed_at.or(release.ended_at);
    let restored = if !is_failed_change {
        None
    } else if has_failed(release) {
        restored(release, later)
    } else {
        taken_back
    };
    ReleaseMeasures {
        id: release.id.clone(),
        kind: about.kind,
        products: about.products.clone(),
        phase: release.phase,
        started_at: release.started_at,
        ended_at: release.ended_at,
        lead_seconds: between(about.committed_at.filter(|_| is_done), release.ended_at),
        waiting_seconds: between(about.planned_at, Some(release.started_at)),
        duration_seconds: between(Some(release.started_at), release.ended_at),
        course: release.course.clone(),
        is_failed_change,
        restore_seconds: between(from, restored),
    }
}

/// Whether it went back, or ended otherwise than well after something of it had failed.
fn has_failed(release: &Counted) -> bool {
    let is_given_up = matches!(release.phase, ReleasePhase::Cancelled | ReleasePhase::Superseded);
    release.course.is_rolled_back || (is_given_up && release.course.failures > 0)
}

/// When an operation had taken back a product of a release that had ended well, before another changed it.
fn taken_back(release: &Counted, later: &[Counted]) -> Option<Timestamp> {
    if release.phase != ReleasePhase::Done {
        return None;
    }
    let mut open = release.about.products.clone();
    for next in later.iter().filter(|next| next.phase == ReleasePhase::Done) {
        let back = next.about.tasks.iter().filter(|task| task.kind == TaskKind::Rollback);
        if back.into_iter().any(|task| open.contains(&task.subject)) {
            return next.ended_at;
        }
        open.retain(|product| !next.about.products.contains(product));
    }
    None
}

/// When the products of a release that failed were well again.
fn restored(release: &Counted, later: &[Counted]) -> Option<Timestamp> {
    // What went back is well as soon as it is back.
    let is_back = matches!(release.phase, ReleasePhase::RolledBack | ReleasePhase::Done);
    if is_back {
        return release.ended_at;
    }
    let is_next = |next: &&Counted| {
        next.phase == ReleasePhase::Done
            && !next.about.products.is_disjoint(&release.about.products)
    };
    later.iter().find(is_next)?.ended_at
}

fn is_change(kind: Option<ReleaseKind>) -> bool {
    kind != Some(ReleaseKind::Test)
}

fn sums(releases: &[ReleaseMeasures], since: Option<Timestamp>, until: Timestamp) -> DeliverySums {
    let changes: Vec<&ReleaseMeasures> =
        releases.iter().filter(|it| is_change(it.kind) && it.phase.is_ended()).collect();
    let deployments = changes.iter().filter(|it| it.phase == ReleasePhase::Done).count();
    let failed = changes.iter().filter(|it| it.is_failed_change).count();
    // A period that has only begun is no measure of a week.
    let weeks = since.map(|since| seconds(since, until).max(WEEK)).map(|it| share(it, WEEK));
    let median_of = |value: fn(&ReleaseMeasures) -> Option<i64>| {
        median(changes.iter().filter_map(|it| value(it)).collect())
    };
    let of_releases = |it: &&&ReleaseMeasures| it.kind == Some(ReleaseKind::Release);
    let leads = changes.iter().filter(of_releases).filter_map(|it| it.lead_seconds).collect();
    DeliverySums {
        since,
        until,
        releases: releases.len(),
        deployments,
        deployments_per_week: weeks.map(|weeks| count(deployments) / weeks),
        change_failure_rate: (!changes.is_empty()).then(|| count(failed) / count(changes.len())),
        lead_seconds: median(leads),
        waiting_seconds: median_of(|it| it.waiting_seconds),
        duration_seconds: median_of(|it| it.duration_seconds),
        restore_seconds: median_of(|it| it.restore_seconds),
    }
}

/// Whole seconds between two instants, never less than none: clocks of those who commit may be ahead.
fn between(from: Option<Timestamp>, to: Option<Timestamp>) -> Option<i64> {
    Some(seconds(from?, to?).max(0))
}

fn seconds(from: Timestamp, to: Timestamp) -> i64 {
    to.duration_since(from).as_secs()
}

/// The middle one; of an even count the lower of the two, so that it is a value that occurred.
fn median(mut values: Vec<i64>) -> Option<i64> {
    values.sort_unstable();
    values.get(values.len().checked_sub(1)? / 2).copied()
}

#[expect(clippy::cast_precision_loss, reason = "seconds of years are far below 2^52")]
fn share(part: i64, whole: i64) -> f64 {
    part as f64 / whole as f64
}

fn count(number: usize) -> f64 {
    share(i64::try_from(number).unwrap_or(i64::MAX), 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Task;

    const HOUR: i64 = 3_600;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(hours * HOUR).unwrap()
    }

    /// A release of a product that starts at an hour and takes one.
    fn release(id: &str, product: &str, start: i64, phase: ReleasePhase) -> Counted {
        Counted {
            id: id.to_owned(),
            phase,
            started_at: at(start),
            ended_at: phase.is_ended().then(|| at(start + 1)),
            about: About {
                kind: Some(ReleaseKind::Release),
                products: BTreeSet::from([product.to_owned()]),
                tasks: Vec::new(),
                kept: Vec::new(),
                committed_at: Some(at(start - 5)),
                planned_at: Some(at(start - 2)),
            },
            course: Course::default(),
        }
    }

    fn all(releases: &[Counted], until: i64) -> Delivery {
        measure(releases, |_| true, None, at(until))
    }

    fn by_id<'a>(delivery: &'a Delivery, id: &str) -> &'a ReleaseMeasures {
        delivery.releases.iter().find(|it| it.id == id).unwrap()
    }

    #[test]
    fn what_ended_well_is_measured_from_its_commit() {
        let found = all(&[release("r1", "web", 10, ReleasePhase::Done)], 20);
        let only = by_id(&found, "r1");
        assert_eq!(
            (only.lead_seconds, only.waiting_seconds, only.duration_seconds),
            (Some(6 * HOUR), Some(2 * HOUR), Some(HOUR))
        );
        assert_eq!((only.is_failed_change, only.restore_seconds), (false, None));
        let sums = &found.sums;
        assert_eq!((sums.since, sums.deployments), (Some(at(10)), 1));
        assert_eq!(sums.deployments_per_week, Some(1.0), "a week at least");
        assert_eq!(sums.change_failure_rate, Some(0.0));
        assert_eq!((sums.lead_seconds, sums.restore_seconds), (Some(6 * HOUR), None));
    }

    #[test]
    fn no_release_is_no_data_and_not_a_good_one() {
        let sums = all(&[], 20).sums;
        assert_eq!((sums.deployments, sums.deployments_per_week), (0, None));
        assert_eq!((sums.change_failure_rate, sums.lead_seconds), (None, None));
    }

    #[test]
    fn what_went_back_failed_and_was_restored_when_it_was_back() {
        let mut back = release("r2", "web", 100, ReleasePhase::RolledBack);
        back.course = Course {
            failures: 1,
            failed_at: Some(at(100)),
            is_rolled_back: true,
            ..Course::default()
        };
        let found = all(&[release("r1", "web", 10, ReleasePhase::Done), back], 24 * 14 + 10);
        let failed = by_id(&found, "r2");
        assert!(failed.is_failed_change);
        assert_eq!((failed.restore_seconds, failed.lead_seconds), (Some(HOUR), None));
        assert_eq!(found.sums.change_failure_rate, Some(0.5));
        assert_eq!(found.sums.deployments_per_week, Some(0.5));
        assert_eq!(found.releases[0].id, "r2", "newest first");
    }

    #[test]
    fn what_failed_and_was_given_up_is_restored_by_the_next_of_its_products() {
        let mut given_up = release("r1", "web", 10, ReleasePhase::Superseded);
        given_up.course = Course { failures: 1, failed_at: Some(at(10)), ..Course::default() };
        let cancelled = release("r2", "web", 12, ReleasePhase::Cancelled);
        let other = release("r3", "db", 14, ReleasePhase::Done);
        let open = all(&[given_up.clone(), cancelled.clone(), other.clone()], 20);
        assert_eq!(by_id(&open, "r1").restore_seconds, None, "another product says nothing");
        assert!(by_id(&open, "r1").is_failed_change);
        assert!(!by_id(&open, "r2").is_failed_change, "nothing of it had failed");
        let next = release("r4", "web", 20, ReleasePhase::Done);
        let found = all(&[given_up, cancelled, other, next], 30);
        assert_eq!(by_id(&found, "r1").restore_seconds, Some(11 * HOUR));
    }

    #[test]
    fn what_an_operation_takes_back_later_was_a_failed_change() {
        let back = |product: &str| {
            let mut operation = release("r3", product, 50, ReleasePhase::Done);
            operation.about.kind = Some(ReleaseKind::Operation);
            operation.about.tasks = vec![Task {
                kind: TaskKind::Rollback,
                subject: product.to_owned(),
                app: None,
                scaling_group: None,
                clusters: Vec::new(),
                from: String::new(),
                to: String::new(),
                operation: None,
            }];
            operation
        };
        let first = release("r1", "web", 10, ReleasePhase::Done);
        let second = release("r2", "web", 20, ReleasePhase::Done);
        let found = all(&[first.clone(), second.clone(), back("web")], 60);
        assert!(!by_id(&found, "r1").is_failed_change, "another came after it");
        assert!(by_id(&found, "r2").is_failed_change);
        assert_eq!(by_id(&found, "r2").restore_seconds, Some(30 * HOUR));
        assert!(!by_id(&found, "r3").is_failed_change);
        let found = all(&[first, second, back("db")], 60);
        assert!(!by_id(&found, "r2").is_failed_change);
    }

    #[test]
    fn tests_are_listed_and_not_summed_and_what_is_not_wanted_still_tells() {
        let mut test = release("r1", "web", 10, ReleasePhase::Done);
        test.about.kind = Some(ReleaseKind::Test);
        let found = all(&[test], 20);
        assert_eq!((found.sums.releases, found.sums.deployments), (1, 0));

        let mut failed = release("r1", "web", 10, ReleasePhase::Superseded);
        failed.course = Course { failures: 1, failed_at: Some(at(10)), ..Course::default() };
        let next = release("r2", "web", 20, ReleasePhase::Done);
        let found = measure(&[failed, next], |it| it.id == "r1", None, at(30));
        assert_eq!(found.releases.len(), 1);
        assert_eq!(by_id(&found, "r1").restore_seconds, Some(11 * HOUR));
    }
}
