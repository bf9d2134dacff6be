//! Checks of an app after a group: each new pod is asked until it answers as it should.
//!
//! An answer is one of three: it holds, it fails, or nobody knows. No data is never success. Answers are not recorded, only
//! that all held: an agent that was killed asks again.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tidegate_schema::finding::Finding;

use super::{Decision, Effect, after};
use crate::desired::Check;
use crate::pod::Pod;

/// Seconds until a pod that did not answer well is asked again.
const AGAIN_SECONDS: u64 = 2;

/// What asking a pod gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It answered as it should.
    Holds,
    /// It answered otherwise, or not at all, with why.
    Fails(String),
    /// It could not be asked, with why.
    Unknown(String),
}

/// What asking a pod gave, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What it gave.
    pub verdict: Verdict,
    /// When it was asked.
    pub at: Timestamp,
}

/// The latest answers, by uid of the pod and name of the check.
pub type Answers = BTreeMap<(String, String), Answer>;

/// How the checks of a group stand.
pub(super) enum Standing<'a> {
    /// Each pod answered each check well.
    Hold,
    /// Some are still to be asked, or to answer better.
    Open(Decision),
    /// One check had its time.
    Late {
        check: &'a Check,
        /// Pods that did not answer well, with why.
        pods: Vec<(&'a Pod, String)>,
        /// Whether no pod was ever heard to fail it: nobody knows.
        is_unknown: bool,
    },
}

/// Looks at the answers of pods that are ready since `ready_at`.
pub(super) fn standing<'a>(
    cluster: &str,
    checks: &'a [Check],
    pods: &[&'a Pod],
    answers: &Answers,
    (ready_at, now): (Timestamp, Timestamp),
) -> Standing<'a> {
    // What was answered before all were ready says nothing of now.
    let answer = |check: &Check, pod: &Pod| {
        let key = (pod.uid.clone(), check.name.clone());
        answers.get(&key).filter(|answer| answer.at >= ready_at)
    };
    let mut all = Decision::default();
    let mut is_open = false;
    for check in checks {
        let mut waiting: Vec<(&Pod, String)> = Vec::new();
        let mut is_unknown = true;
        for pod in pods {
            let given = answer(check, pod);
            let why = match given.map(|it| &it.verdict) {
                Some(Verdict::Holds) => continue,
                Some(Verdict::Fails(why)) => {
                    is_unknown = false;
                    why.as_str()
                }
                Some(Verdict::Unknown(why)) => why.as_str(),
                None => "",
            };
            waiting.push((*pod, why.to_owned()));
            let again = given.map(|it| after(it.at, AGAIN_SECONDS)).filter(|at| now < *at);
            all.next = [all.next, again].into_iter().flatten().min();
            if again.is_none() {
                all.effects.push(Effect::Ask {
                    cluster: cluster.to_owned(),
                    namespace: pod.namespace.clone(),
                    name: pod.name.clone(),
                    uid: pod.uid.clone(),
                    check: check.clone(),
                });
            }
        }
        if waiting.is_empty() {
            continue;
        }
        let deadline = after(ready_at, check.timeout_seconds);
        if now >= deadline {
            return Standing::Late { check, pods: waiting, is_unknown };
        }
        is_open = true;
        all.next = [all.next, Some(deadline)].into_iter().flatten().min();
        let reason = waiting.iter().map(|(_, why)| why.as_str()).find(|why| !why.is_empty());
        let finding = Finding::note("RELEASE/CHECKING")
            .with("check", &check.name)
            .with("answered", (pods.len() - waiting.len()).to_string())
            .with("pods", pods.len().to_string())
            .with("reason", reason.unwrap_or_default());
        all.waits.push(finding);
    }
    if is_open { Standing::Open(all) } else { Standing::Hold }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use serde_json::json;

    use super::*;
    use crate::object::Object;

    const READY: Timestamp = Timestamp::UNIX_EPOCH;

    fn later(seconds: i64) -> Timestamp {
        READY.checked_add(SignedDuration::from_secs(seconds)).unwrap()
    }

    fn pod(uid: &str) -> Pod {
        Pod::of(&Object::new(json!({"metadata": {"name": uid, "namespace": "shop", "uid": uid}})))
    }

    /// Two checks, two pods, and what was answered: `check/pod` to verdict and seconds since the group was ready.
    fn told(given: &[(&str, Verdict, i64)], now: i64) -> String {
        let check = |name: &str, timeout_seconds| Check {
            name: name.to_owned(),
            port: 80,
            http: None,
            timeout_seconds,
        };
        let checks = [check("login", 30), check("port", 60)];
        let pods = [pod("a"), pod("b")];
        let answers = given.iter().map(|(key, verdict, at)| {
            let (check, pod) = key.split_once('/').unwrap();
            let answer = Answer { verdict: verdict.clone(), at: later(*at) };
            ((pod.to_owned(), check.to_owned()), answer)
        });
        let pods: Vec<&Pod> = pods.iter().collect();
        match standing("room-a", &checks, &pods, &answers.collect(), (READY, later(now))) {
            Standing::Hold => "hold".to_owned(),
            Standing::Open(decision) => {
                let asked = decision.effects.iter().map(|effect| {
                    let Effect::Ask { uid, check, .. } = effect else { panic!("{effect:?}") };
                    format!("{}/{uid}", check.name)
                });
                let next = decision.next.map(Timestamp::as_second).unwrap_or_default();
                format!("ask [{}], next at {next}", asked.collect::<Vec<_>>().join(" "))
            }
            Standing::Late { check, pods, is_unknown } => {
                let why = pods.iter().map(|(pod, why)| format!("{}: {why}", pod.uid));
                let why = why.collect::<Vec<_>>().join(", ");
                format!("{} late [{why}]{}", check.name, if is_unknown { ", unknown" } else { "" })
            }
        }
    }

    #[test]
    fn each_pod_is_asked_until_it_answers_well() {
        assert_eq!(told(&[], 0), "ask [login/a login/b port/a port/b], next at 30");
        let some = [
            ("login/a", Verdict::Holds, 1),
            ("login/b", Verdict::Fails("answered 500".to_owned()), 1),
            ("port/a", Verdict::Holds, 1),
            ("port/b", Verdict::Holds, 1),
        ];
        assert_eq!(told(&some, 2), "ask [], next at 3", "it gets a moment");
        assert_eq!(told(&some, 3), "ask [login/b], next at 30");
        assert_eq!(told(&some, 30), "login late [b: answered 500]");
        let mut good = some;
        good[1] = ("login/b", Verdict::Holds, 29);
        assert_eq!(told(&good, 30), "hold");
    }

    #[test]
    fn no_data_is_no_success_and_neither_is_what_was_answered_before() {
        assert_eq!(told(&[], 30), "login late [a: , b: ], unknown");
        let unknown = |pod| (pod, Verdict::Unknown("may not".to_owned()), 29);
        let both = [unknown("login/a"), unknown("login/b")];
        assert_eq!(told(&both, 30), "login late [a: may not, b: may not], unknown");
        let before = ["login/a", "login/b", "port/a", "port/b"].map(|it| (it, Verdict::Holds, -1));
        assert_eq!(told(&before, 0), "ask [login/a login/b port/a port/b], next at 30");
    }
}
