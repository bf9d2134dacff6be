//! The kinds `RolloutPolicy`, `ApprovalPolicy` and `ChangeWindow`: how, by whose leave and when changes go out.

use std::{fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    product::is_false,
    scalar::{Duration, Name, Text},
    site::{ClusterSelector, Tier},
};

/// In which waves and groups changes go out.
///
/// A solution names its policy. A policy with `appliesTo` counts for that product or app instead, whatever
/// the solution names: custom groups belong to one app (YL-105).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RolloutPolicy {
    /// The name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Text>,
    /// The product or app that this policy is for. Default: whatever names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applies_to: Option<RolloutTarget>,
    /// The waves, in their order. Clusters that no wave selects come last. Default: one wave per level of
    /// product dependency.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waves: Vec<WaveSelector>,
    /// How the pods of an app are grouped. Default: by the kind of task, mostly `two`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<Groups>,
    /// A person confirms after each group. Default: by the kind of task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beta: Option<bool>,
    /// How long a group must be healthy without interruption, from its last pod's readiness. Default: 0s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bake: Option<Duration>,
    /// How long a group may take to become ready. Default: 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// What happens when a group fails for good.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// What the agent does by itself in certain scenes (YL-108, YL-109).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unattended: Vec<UnattendedRule>,
}

/// The product or app that a rollout policy is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RolloutTarget {
    /// The product.
    pub product: Name,
    /// One app of it. Default: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<Name>,
}

/// One wave: the clusters that change in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WaveSelector {
    /// Its name; approvals may name it.
    pub name: Name,
    /// Its clusters, without those of earlier waves. Default: all that are left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clusters: Option<ClusterSelector>,
    /// How long all of it must be healthy before the next wave. Default: 0s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bake: Option<Duration>,
    /// A person confirms before the next wave.
    #[serde(default, skip_serializing_if = "is_false")]
    pub confirm: bool,
}

/// How the pods of an app are grouped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Groups {
    /// The strategy.
    #[serde(default)]
    pub strategy: GroupStrategy,
    /// With `custom`: how many groups, 2 to the smaller of 100 and the number of pods. Default: five, or one
    /// per pod for five pods and fewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 100))]
    pub count: Option<u32>,
    /// With `custom`: whole percents of all pods for the groups after the first, which is the beta group's
    /// single pod. They add up to 100 and never fall: `[1, 9, 30, 60]` makes five groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), inner(range(min = 1, max = 100)))]
    pub shares: Vec<u32>,
}

/// The strategy of grouping (YL-090 … YL-107).
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum GroupStrategy {
    /// What is recommended: the same as `two`.
    #[default]
    Recommended,
    /// All pods together.
    One,
    /// Half of the pods, rounded down, then the rest.
    Two,
    /// The pods of one node are a group.
    EachHost,
    /// Exact groups by count or shares; the first has one pod.
    Custom,
}

/// What happens when a group fails for good.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum OnFailure {
    /// The release waits for a person.
    #[default]
    Pause,
    /// The release is rolled back.
    Rollback,
}

/// What the agent does by itself in a scene.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UnattendedRule {
    /// The scene.
    pub scene: Scene,
    /// What to do.
    pub action: UnattendedAction,
    /// How often, at most. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub attempts: Option<u32>,
    /// How long to wait before the first; it doubles for each further one. Default: 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Duration>,
}

/// What can happen to a group that the agent may deal with by itself.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Scene {
    /// A pod did not become ready in time.
    PodStartTimeout,
    /// An image takes long to come.
    ImagePullSlow,
    /// The provider of a load balancer, a volume or a database failed.
    ProviderError,
    /// A check of the app failed.
    CheckFailed,
}

/// What the agent does in a scene.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum UnattendedAction {
    /// Tries again.
    Retry,
    /// Goes on as if it had succeeded, and leaves a waiver on record. The rule is approved with the policy, so nobody signs it.
    Skip,
    /// Ends the release.
    Cancel,
}

/// By whose leave changes go out. All rules that match must be met.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApprovalPolicy {
    /// The name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Text>,
    /// The sites and clusters that it is for. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applies_to: Option<ApprovalTarget>,
    /// The rules. `[]` opens a plan without risks at once.
    pub rules: Vec<ApprovalRule>,
    /// Whose signed merge counts as an approval, and as whose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge: Option<MergeTrust>,
}

/// What an approval policy is for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApprovalTarget {
    /// Sites of these tiers. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tiers: Vec<Tier>,
}

/// One rule: who must say yes, and for how long that counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApprovalRule {
    /// When the rule counts. Default: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<ApprovalCondition>,
    /// Who must say yes: every clause, each by persons of its own.
    #[schemars(length(min = 1))]
    pub quorum: Vec<QuorumClause>,
    /// Who does not count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<Exclusion>,
    /// How long after the plan was made an approval may still be given. Default: 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approve_by: Option<Duration>,
    /// How long after the last needed approval the release may still start. Default: 8h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execute_by: Option<Duration>,
}

/// When a rule counts: every field that is given must match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApprovalCondition {
    /// The plan has any of these risks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub risks: Vec<Risk>,
    /// The plan changes any of these products.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub products: Vec<Name>,
}

/// A property of a plan that people should agree to knowingly.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Risk {
    /// Something is deleted, replaced or moved.
    Destructive,
    /// Someone may do more than before.
    GainsPermission,
    /// An upgrade changes parameters instead of only adding some (YL-050).
    ChangesParameters,
    /// Policies, persons, groups or keys change.
    ChangesPolicy,
    /// Some lines of the preview could not be verified.
    Unverified,
}

/// How many members of a group must say yes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QuorumClause {
    /// The group.
    pub group: Name,
    /// How many of its members. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 100))]
    pub count: u32,
}

const fn one() -> u32 {
    1
}

/// Who does not count for a rule.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Exclusion {
    /// The authors and committers of the commits that are being approved.
    Author,
}

/// Whose signed merge counts as an approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MergeTrust {
    /// The service accounts or persons whose signature on the merge commit is trusted.
    #[schemars(length(min = 1))]
    pub trust: Vec<Name>,
    /// The groups for each of which the merge counts as one member's yes.
    #[schemars(length(min = 1))]
    pub stands_for: Vec<Name>,
}

/// When changes may go out. With several windows a change may go out when all that match allow it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChangeWindow {
    /// The name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Text>,
    /// The sites that it is for. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applies_to: Option<ApprovalTarget>,
    /// The time zone of all times, by its IANA name such as `Asia/Shanghai`.
    #[schemars(extend("format" = "timezone"))]
    pub timezone: String,
    /// The times of day: `19:00-07:00`, or `Mon-Fri 19:00-07:00`. Default: always.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<TimeRange>,
    /// Days on which nothing goes out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<DeniedDays>,
}

/// The time zone of an IANA name such as `Asia/Shanghai`, from the database inside the program: the same on every
/// machine, also where no zone files are installed.
pub fn timezone(name: &str) -> Option<jiff::tz::TimeZone> {
    static DATABASE: std::sync::LazyLock<jiff::tz::TimeZoneDatabase> =
        std::sync::LazyLock::new(jiff::tz::TimeZoneDatabase::bundled);
    DATABASE.get(name).ok()
}

/// Days on which nothing goes out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeniedDays {
    /// The first day.
    #[schemars(with = "String", extend("format" = "date"))]
    pub from: jiff::civil::Date,
    /// The last day, included.
    #[schemars(with = "String", extend("format" = "date"))]
    pub to: jiff::civil::Date,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Text>,
}

/// A range of a day, on some days of the week: `19:00-07:00`, `Sat-Sun 00:00-24:00`.
///
/// One that ends before it starts goes on into the next day; the weekdays are those on which it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRange {
    /// The first and last weekday (from Monday = 1) on which it starts; `None` for every day.
    pub days: Option<(u8, u8)>,
    /// Its start in minutes after midnight.
    pub from: u16,
    /// Its end in minutes after midnight, excluded; at most 1440.
    pub to: u16,
}

/// The text is not a range of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a range is written `19:00-07:00` or `Mon-Fri 19:00-07:00`")]
pub struct TimeRangeError;

/// What a [`TimeRange`] looks like.
pub const TIME_RANGE_PATTERN: &str = "^((Mon|Tue|Wed|Thu|Fri|Sat|Sun)(-(Mon|Tue|Wed|Thu|Fri|Sat|Sun))? )?([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$";

const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

impl TimeRange {
    /// Whether a weekday (from Monday = 1) is one on which it starts.
    pub fn starts_on(&self, weekday: u8) -> bool {
        match self.days {
            None => true,
            Some((first, last)) if first <= last => (first..=last).contains(&weekday),
            Some((first, last)) => weekday >= first || weekday <= last,
        }
    }
}

impl FromStr for TimeRange {
    type Err = TimeRangeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        fn parse(text: &str) -> Option<TimeRange> {
            let weekday = |name: &str| {
                let index = WEEKDAYS.iter().position(|weekday| *weekday == name)?;
                u8::try_from(index + 1).ok()
            };
            let minutes = |text: &str| {
                let (hours, minutes) = text.split_once(':')?;
                let digits = |s: &str| s.len() == 2 && s.bytes().all(|b| b.is_ascii_digit());
                if !digits(hours) || !digits(minutes) {
                    return None;
                }
                let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
                let total = hours * 60 + minutes;
                (minutes < 60 && total <= 24 * 60).then_some(total)
            };
            let (days, times) = match text.split_once(' ') {
                None => (None, text),
                Some((days, times)) => {
                    let (first, last) = days.split_once('-').unwrap_or((days, days));
                    (Some((weekday(first)?, weekday(last)?)), times)
                }
            };
            let (from, to) = times.split_once('-')?;
            let (from, to) = (minutes(from)?, minutes(to)?);
            (from < 24 * 60).then_some(TimeRange { days, from, to })
        }
        parse(text).ok_or(TimeRangeError)
    }
}

impl fmt::Display for TimeRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weekday =
            |day: u8| WEEKDAYS.get(usize::from(day).saturating_sub(1)).copied().unwrap_or_default();
        if let Some((first, last)) = self.days {
            formatter.write_str(weekday(first))?;
            if first != last {
                write!(formatter, "-{}", weekday(last))?;
            }
            formatter.write_str(" ")?;
        }
        let (from, to) = (self.from, self.to);
        write!(formatter, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
    }
}

impl Serialize for TimeRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TimeRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for TimeRange {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TimeRange".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": TIME_RANGE_PATTERN})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_survive_a_round_trip() {
        for text in ["19:00-07:00", "Mon-Fri 00:00-24:00", "Sat 09:30-12:00"] {
            assert_eq!(text.parse::<TimeRange>().unwrap().to_string(), text);
        }
        for bad in ["19-07", "24:00-25:00", "9:00-10:00", "Mo 09:00-10:00", "19:60-20:00", ""] {
            assert_eq!(bad.parse::<TimeRange>(), Err(TimeRangeError), "{bad}");
        }
    }

    #[test]
    fn weekdays_may_wrap() {
        let range: TimeRange = "Sat-Mon 00:00-24:00".parse().unwrap();
        let days: Vec<u8> = (1..=7).filter(|day| range.starts_on(*day)).collect();
        assert_eq!(days, [1, 6, 7]);
    }
}
