//! How the pods of an app are split into groups: the numbers (waves.md, "Groups"; YL-090 … YL-107).

use serde::{Deserialize, Serialize};
use tidegate_schema::finding::Finding;

/// The most groups that a custom strategy may have (YL-098).
pub const MOST_GROUPS: u32 = 100;
/// The most groups whose shares may be given by hand (YL-101).
pub const MOST_ADJUSTABLE_GROUPS: u32 = 10;
/// From how many times its predecessor the last group is remarked on: what flooring leaves over goes there (A.8 c).
const LARGE_LAST_GROUP: u32 = 10;
/// Percents of the second, third and fourth group of an unedited custom strategy (YL-096).
const UNEDITED_SHARES: [u32; 3] = [5, 15, 20];

/// A strategy of grouping (YL-090).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Strategy {
    /// What we recommend: the same as [`Strategy::Two`].
    #[default]
    Recommended,
    /// All pods together.
    One,
    /// Half of the pods, rounded down, then the rest.
    Two,
    /// The pods of one host are a group. Without knowledge of hosts it is one pod at a time, which never touches two
    /// hosts at once either.
    EachHost,
    /// A beta group of exactly one pod, then groups by count or shares.
    Custom {
        /// How many groups. Default: those that `shares` make, else five or one for each pod.
        count: Option<u32>,
        /// Whole percents of all pods for the groups after the first. Default: an even split, or the unedited one.
        shares: Vec<u32>,
    },
}

/// Splits pods into groups. The sizes add up to `replicas` and none is 0; no pods make no groups.
///
/// All that is wrong with an edited strategy is reported, never only the first.
pub fn groups(replicas: u32, strategy: &Strategy) -> Result<Vec<u32>, Vec<Finding>> {
    if replicas == 0 {
        return Ok(Vec::new());
    }
    match strategy {
        Strategy::One => Ok(vec![replicas]),
        Strategy::Recommended | Strategy::Two => Ok(two(replicas)),
        Strategy::EachHost => Ok(ones(replicas)),
        Strategy::Custom { count: None, shares } if shares.is_empty() => Ok(unedited(replicas)),
        Strategy::Custom { count, shares } => edited(replicas, *count, shares),
    }
}

/// Remarks on groups that are allowed but probably not meant: a last group of more than ten times its predecessor.
pub fn remarks(groups: &[u32]) -> Vec<Finding> {
    match groups {
        [.., before, last] if *last > before.saturating_mul(LARGE_LAST_GROUP) => {
            vec![Finding::warning("GROUP/LAST_LARGE").with("last", last).with("before", before)]
        }
        _ => Vec::new(),
    }
}

/// The even split of 100 percents over the groups after the first (YL-102); the remainder goes to the last.
pub fn even_shares(count: u32) -> Vec<u32> {
    let after_first = count.saturating_sub(1);
    let Some(each) = 100_u32.checked_div(after_first) else { return Vec::new() };
    let mut shares = vec![each; index(after_first)];
    if let Some(last) = shares.last_mut() {
        *last = 100 - each * (after_first - 1);
    }
    shares
}

fn two(replicas: u32) -> Vec<u32> {
    let first = replicas / 2;
    if first == 0 { vec![replicas] } else { vec![first, replicas - first] }
}

fn ones(replicas: u32) -> Vec<u32> {
    vec![1; index(replicas)]
}

/// N ≤ 5: groups of one. Else 1, then 5 %, 15 %, 20 % of N, then the rest (YL-095 … YL-097).
fn unedited(replicas: u32) -> Vec<u32> {
    if replicas <= 5 {
        return ones(replicas);
    }
    let mut sizes = vec![1];
    sizes.extend(UNEDITED_SHARES.map(|share| part(replicas, share)));
    sizes.push(replicas - sizes.iter().sum::<u32>());
    sizes
}

/// A strategy with a count or shares of its own (YL-098 … YL-103).
fn edited(replicas: u32, count: Option<u32>, shares: &[u32]) -> Result<Vec<u32>, Vec<Finding>> {
    let by_shares = u32::try_from(shares.len()).unwrap_or(u32::MAX).saturating_add(1);
    let groups = count.unwrap_or(by_shares);
    let mut findings = Vec::new();
    let most = replicas.min(MOST_GROUPS);
    if most < 2 {
        findings.push(Finding::error("GROUP/SINGLE_POD").with("count", groups));
    } else if !(2..=most).contains(&groups) {
        let finding = Finding::error("GROUP/COUNT_RANGE");
        findings.push(finding.with("count", groups).with("most", most).with("replicas", replicas));
    }
    if !shares.is_empty() {
        findings.extend(shares_findings(groups, by_shares, shares));
    }
    if !findings.is_empty() {
        return Err(findings);
    }
    let shares = if shares.is_empty() { even_shares(groups) } else { shares.to_vec() };
    sizes(replicas, &shares)
}

/// What is wrong with shares whatever the number of pods.
fn shares_findings(groups: u32, by_shares: u32, shares: &[u32]) -> Vec<Finding> {
    let mut findings = Vec::new();
    if groups > MOST_ADJUSTABLE_GROUPS {
        let finding = Finding::error("GROUP/NOT_ADJUSTABLE");
        findings.push(finding.with("count", groups).with("most", MOST_ADJUSTABLE_GROUPS));
    } else if groups != by_shares {
        let finding = Finding::error("GROUP/SHARES_COUNT").with("count", groups);
        findings.push(finding.with("wanted", groups.saturating_sub(1)).with("given", shares.len()));
    }
    // Shares are numbered by their group: the first share is the second group's.
    let group_of = |index: usize| index + 2;
    for (index, share) in shares.iter().enumerate().filter(|(_, share)| !(1..=100).contains(*share))
    {
        let finding = Finding::error("GROUP/SHARE_RANGE");
        findings.push(finding.with("group", group_of(index)).with("share", share));
    }
    if let Some(index) = shares.windows(2).position(|pair| matches!(pair, [a, b] if a > b)) {
        findings.push(Finding::error("GROUP/SHARES_DECREASING").with("group", group_of(index + 1)));
    }
    let sum: u64 = shares.iter().map(|share| u64::from(*share)).sum();
    if sum != 100 {
        findings.push(Finding::error("GROUP/SHARES_SUM").with("sum", sum));
    }
    findings
}

/// 1, then the shares of N, floored and at least 1; the last takes what is left (YL-103). Refused when a group leaves
/// less than one pod for each that follows.
fn sizes(replicas: u32, shares: &[u32]) -> Result<Vec<u32>, Vec<Finding>> {
    let mut sizes = vec![1];
    let mut taken = 1;
    let mut left = u32::try_from(shares.len()).unwrap_or(u32::MAX);
    for share in shares.iter().take(shares.len().saturating_sub(1)) {
        let size = part(replicas, *share);
        taken += size;
        left -= 1;
        if taken.saturating_add(left) > replicas {
            let finding = Finding::error("GROUP/SHARES_INFEASIBLE").with("replicas", replicas);
            let finding = finding.with("group", sizes.len() + 1).with("share", share);
            return Err(vec![finding.with("size", size)]);
        }
        sizes.push(size);
    }
    sizes.push(replicas - taken);
    Ok(sizes)
}

/// The whole part of a share of all pods, at least 1.
fn part(replicas: u32, share: u32) -> u32 {
    let part = u64::from(replicas) * u64::from(share) / 100;
    u32::try_from(part).unwrap_or(u32::MAX).max(1)
}

/// A number of pods as a length; numbers of pods fit every machine that we run on.
fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
