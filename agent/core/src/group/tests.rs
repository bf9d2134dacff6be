//! The table of waves.md and delivery.md A.8, and what holds for every number of pods.

use proptest::prelude::{Just, ProptestConfig, TestCaseError, prop, proptest};
use proptest::{prop_assert, prop_assert_eq, prop_oneof, strategy::Strategy as _};
use rstest::rstest;

use super::*;

fn custom(count: Option<u32>, shares: &[u32]) -> Strategy {
    Strategy::Custom { count, shares: shares.to_vec() }
}

/// The codes of all findings, with the group that they name.
fn refusals(replicas: u32, strategy: &Strategy) -> Vec<(String, Option<String>)> {
    let findings = groups(replicas, strategy).unwrap_err();
    findings.into_iter().map(|f| (f.code.to_string(), f.args.get("group").cloned())).collect()
}

#[rstest]
#[case(1, &[1])]
#[case(2, &[1, 1])]
#[case(5, &[1, 1, 1, 1, 1])]
#[case(6, &[1, 1, 1, 1, 2])]
#[case(7, &[1, 1, 1, 1, 3])]
#[case(10, &[1, 1, 1, 2, 5])]
#[case(13, &[1, 1, 1, 2, 8])]
#[case(20, &[1, 1, 3, 4, 11])]
#[case(21, &[1, 1, 3, 4, 12])]
#[case(50, &[1, 2, 7, 10, 30])]
#[case(99, &[1, 4, 14, 19, 61])]
#[case(100, &[1, 5, 15, 20, 59])]
#[case(101, &[1, 5, 15, 20, 60])]
#[case(200, &[1, 10, 30, 40, 119])]
#[case(333, &[1, 16, 49, 66, 201])]
fn unedited_custom_groups(#[case] replicas: u32, #[case] expected: &[u32]) {
    assert_eq!(groups(replicas, &custom(None, &[])).unwrap(), expected);
}

#[rstest]
#[case(1, &[1])]
#[case(2, &[1, 1])]
#[case(3, &[1, 2])]
#[case(6, &[3, 3])]
#[case(7, &[3, 4])]
fn two_groups_are_half_rounded_down_and_the_rest(#[case] replicas: u32, #[case] expected: &[u32]) {
    assert_eq!(groups(replicas, &Strategy::Two).unwrap(), expected);
    assert_eq!(groups(replicas, &Strategy::Recommended).unwrap(), expected);
}

#[test]
fn one_group_and_one_host_at_a_time() {
    assert_eq!(groups(7, &Strategy::One).unwrap(), [7]);
    assert_eq!(groups(3, &Strategy::EachHost).unwrap(), [1, 1, 1]);
    assert_eq!(groups(0, &Strategy::Two).unwrap(), [0; 0]);
}

#[test]
fn an_even_split_floors_and_gives_the_remainder_to_the_last() {
    let run = |share, times, last| [vec![share; times], vec![last]].concat();
    assert_eq!(even_shares(2), [100]);
    assert_eq!(even_shares(3), [50, 50]);
    assert_eq!(even_shares(4), [33, 33, 34]);
    assert_eq!(even_shares(7), run(16, 5, 20));
    assert_eq!(even_shares(8), run(14, 6, 16));
    assert_eq!(even_shares(10), run(11, 8, 12));
    assert_eq!(even_shares(11), [10; 10]);
    assert_eq!(even_shares(34), run(3, 32, 4));
    assert_eq!(even_shares(60), run(1, 58, 42));
    assert_eq!(even_shares(100), run(1, 98, 2));
}

#[test]
fn edited_groups() {
    assert_eq!(groups(9, &custom(Some(2), &[])).unwrap(), [1, 8], "two groups are 1 and N-1");
    assert_eq!(
        groups(10, &custom(Some(3), &[])).unwrap(),
        [1, 5, 4],
        "shares do not fall, sizes may"
    );
    assert_eq!(groups(100, &custom(None, &[1, 9, 30, 60])).unwrap(), [1, 1, 9, 30, 59]);
    assert_eq!(groups(100, &custom(Some(60), &[])).unwrap().last(), Some(&41));
    assert_eq!(groups(150, &custom(Some(100), &[])).unwrap().last(), Some(&51));
}

#[test]
fn a_tail_that_is_emptied_is_refused_and_the_first_such_group_is_named() {
    let shares = [1, 1, 1, 1, 1, 1, 1, 46, 47];
    let refused = refusals(10, &custom(None, &shares));
    assert_eq!(refused, [("GROUP/SHARES_INFEASIBLE".to_owned(), Some("9".to_owned()))]);
    assert_eq!(groups(20, &custom(None, &shares)).unwrap(), [1, 1, 1, 1, 1, 1, 1, 1, 9, 3]);
}

#[rstest]
#[case(10, custom(Some(1), &[]), "GROUP/COUNT_RANGE", None)]
#[case(10, custom(Some(11), &[]), "GROUP/COUNT_RANGE", None)]
#[case(300, custom(Some(101), &[]), "GROUP/COUNT_RANGE", None)]
#[case(1, custom(Some(2), &[]), "GROUP/SINGLE_POD", None)]
#[case(10, custom(None, &[60, 40]), "GROUP/SHARES_DECREASING", Some("3"))]
#[case(10, custom(None, &[40, 61]), "GROUP/SHARES_SUM", None)]
#[case(10, custom(None, &[0, 100]), "GROUP/SHARE_RANGE", Some("2"))]
#[case(10, custom(Some(4), &[40, 60]), "GROUP/SHARES_COUNT", None)]
#[case(100, custom(None, &[9, 9, 9, 9, 9, 9, 9, 9, 9, 19]), "GROUP/NOT_ADJUSTABLE", None)]
fn refusals_name_what_is_wrong(
    #[case] replicas: u32,
    #[case] strategy: Strategy,
    #[case] code: &str,
    #[case] group: Option<&str>,
) {
    let expected = [(code.to_owned(), group.map(str::to_owned))];
    assert_eq!(refusals(replicas, &strategy), expected);
}

#[test]
fn all_that_is_wrong_is_reported_at_once() {
    let codes: Vec<_> = refusals(2, &custom(None, &[50, 20, 0])).into_iter().map(|r| r.0).collect();
    assert_eq!(
        codes,
        ["GROUP/COUNT_RANGE", "GROUP/SHARE_RANGE", "GROUP/SHARES_DECREASING", "GROUP/SHARES_SUM"]
    );
}

#[test]
fn a_last_group_far_larger_than_its_predecessor_is_remarked_on() {
    assert!(remarks(&groups(9, &custom(None, &[])).unwrap()).is_empty());
    assert_eq!(remarks(&groups(100, &custom(Some(60), &[])).unwrap())[0].code, "GROUP/LAST_LARGE");
}

fn strategies() -> impl proptest::strategy::Strategy<Value = Strategy> {
    prop_oneof![
        Just(Strategy::Recommended),
        Just(Strategy::One),
        Just(Strategy::Two),
        Just(Strategy::EachHost),
        Just(custom(None, &[])),
        (2_u32..=100).prop_map(|count| custom(Some(count), &[])),
        prop::collection::vec(1_u32..60, 1..9).prop_map(|mut shares| {
            shares.sort_unstable();
            let sum: u32 = shares.iter().sum();
            let last = shares.last().copied().unwrap_or_default();
            shares.push(100_u32.saturating_sub(sum).max(last));
            custom(None, &shares)
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn sizes_add_up_and_no_group_is_empty(replicas in 1_u32..=2_000, strategy in strategies()) {
        match groups(replicas, &strategy) {
            Ok(sizes) => {
                prop_assert_eq!(sizes.iter().sum::<u32>(), replicas);
                prop_assert!(sizes.iter().all(|size| *size >= 1));
                if let Strategy::Custom { count, .. } = &strategy {
                    prop_assert_eq!(sizes[0], 1);
                    if let Some(count) = count {
                        prop_assert_eq!(sizes.len(), *count as usize);
                    }
                }
            }
            Err(findings) => {
                prop_assert!(findings.iter().all(Finding::is_error) && !findings.is_empty());
                // Only an edited strategy can be refused, and an even split only for its count.
                let Strategy::Custom { count, shares } = &strategy else {
                    return Err(TestCaseError::fail("refused"));
                };
                if shares.is_empty() {
                    prop_assert!(count.unwrap() > replicas.min(MOST_GROUPS));
                }
            }
        }
    }
}
