//! Checks of an app after a group: each new pod is asked until it answers as it should, an object until it is as it should,
//! and Prometheus until what it measures is.
//!
//! An answer is one of three: it holds, it fails, or nobody knows. No data is never success. Answers are not recorded, only
//! that all held: an agent that was killed asks again.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use tidegate_schema::finding::Finding;
use tidegate_schema::site::PrometheusService;

use super::{Decision, Effect, after};
use crate::desired::{CelCheck, Check, Question};
use crate::health::{self, rule};
use crate::object::{Object, ObjectRef};
use crate::pod::Pod;
use crate::promql;

/// Seconds until who did not answer well is asked again.
const AGAIN_SECONDS: u64 = 2;

/// What asking gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It answered as it should.
    Holds,
    /// It answered otherwise, or not at all, with why.
    Fails(String),
    /// It could not be asked, with why.
    Unknown(String),
}

impl Verdict {
    /// What is to be said of an object that was asked for just now; `None` when the server has none of this name.
    pub fn of_object(check: &CelCheck, found: Option<&Object>) -> Self {
        let Some(object) = found else {
            return Self::Fails(format!("{} does not exist", check.object));
        };
        // A status of an earlier generation says nothing of this one.
        if !health::is_observed(object) {
            return Self::Unknown(format!("{}: its controller has not seen it yet", check.object));
        }
        match rule::holds(&check.expression, object) {
            Ok(true) => Self::Holds,
            Ok(false) => Self::Fails(format!("{}: `{}` is false", check.object, check.expression)),
            Err(why) => Self::Unknown(format!("{}: `{}` {why}", check.object, check.expression)),
        }
    }
}

/// Whom an answer is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A pod, by its uid.
    Pod(String),
    /// The group of a workload that is open.
    Group(ObjectRef),
    /// These pods of a workload together, by their uids: of others it says nothing.
    Pods(ObjectRef, Vec<String>),
}

/// Who is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addressee {
    /// The server itself.
    Server,
    /// A pod.
    Pod {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// The cluster's Prometheus.
    Prometheus {
        /// Where it is.
        service: PrometheusService,
        /// The query, about the pods that are new now.
        query: String,
    },
}

/// What asking gave, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What it gave.
    pub verdict: Verdict,
    /// When it was asked.
    pub at: Timestamp,
}

/// The latest answers, by whom they are about and name of the check.
pub type Answers = BTreeMap<(Subject, String), Answer>;

/// How the checks of a group stand.
pub(super) enum Standing<'a> {
    /// Each was answered well.
    Hold,
    /// Some are still to be asked, or to answer better.
    Open(Decision),
    /// One check had its time.
    Late {
        check: &'a Check,
        /// Why it does not hold; by pod, when pods are asked.
        missing: Vec<(Option<&'a Pod>, String)>,
        /// Whether nobody was heard to fail it: nobody knows.
        is_unknown: bool,
    },
}

/// Looks at the answers of pods that are ready since `ready_at`.
pub(super) fn standing<'a>(
    workload: &ObjectRef,
    checks: &'a [Check],
    pods: &[&'a Pod],
    answers: &Answers,
    (ready_at, now): (Timestamp, Timestamp),
) -> Standing<'a> {
    let mut all = Decision::default();
    let mut is_open = false;
    for check in checks {
        let begins_at = after(ready_at, delay(check));
        if now < begins_at {
            is_open = true;
            all.next = [all.next, Some(begins_at)].into_iter().flatten().min();
            let finding = Finding::note("RELEASE/CHECK_BEGINS_LATER").with("check", &check.name);
            all.waits.push(finding.with("until", super::to_the_second(begins_at)));
            continue;
        }
        let mut waiting: Vec<(Option<&Pod>, String)> = Vec::new();
        let mut is_unknown = true;
        let asked = asked(workload, check, pods);
        for Asked { pod, subject, addressee } in &asked {
            let addressee = match addressee {
                Ok(addressee) => addressee,
                Err(why) => {
                    waiting.push((*pod, (*why).to_owned()));
                    continue;
                }
            };
            // What was answered before all were ready says nothing of now.
            let key = (subject.clone(), check.name.clone());
            let given = answers.get(&key).filter(|answer| answer.at >= begins_at);
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
                    cluster: workload.cluster.clone(),
                    subject: subject.clone(),
                    addressee: addressee.clone(),
                    check: Box::new(check.clone()),
                });
            }
        }
        if waiting.is_empty() {
            continue;
        }
        let deadline = after(begins_at, check.timeout_seconds);
        if now >= deadline {
            return Standing::Late { check, missing: waiting, is_unknown };
        }
        is_open = true;
        all.next = [all.next, Some(deadline)].into_iter().flatten().min();
        let reason = waiting.iter().map(|(_, why)| why.as_str()).find(|why| !why.is_empty());
        let finding = Finding::note("RELEASE/CHECKING")
            .with("check", &check.name)
            .with("answered", (asked.len() - waiting.len()).to_string())
            .with("asked", asked.len().to_string())
            .with("reason", reason.unwrap_or_default());
        all.waits.push(finding);
    }
    if is_open { Standing::Open(all) } else { Standing::Hold }
}

/// Seconds from when the group is ready until a check is made.
fn delay(check: &Check) -> u64 {
    match &check.question {
        Question::Prometheus { prometheus } => prometheus.after_seconds,
        Question::Cel { .. }
        | Question::Exec { .. }
        | Question::Http { .. }
        | Question::Tcp { .. } => 0,
    }
}

/// One question of a check.
struct Asked<'a> {
    /// Whose answer is told by pod.
    pod: Option<&'a Pod>,
    subject: Subject,
    /// Who can answer; why nobody can.
    addressee: Result<Addressee, &'static str>,
}

/// Everything that a check asks.
fn asked<'a>(workload: &ObjectRef, check: &Check, pods: &[&'a Pod]) -> Vec<Asked<'a>> {
    match &check.question {
        Question::Cel { .. } => {
            let subject = Subject::Group(workload.clone());
            vec![Asked { pod: None, subject, addressee: Ok(Addressee::Server) }]
        }
        Question::Prometheus { prometheus } => {
            let mut uids: Vec<String> = pods.iter().map(|pod| pod.uid.clone()).collect();
            uids.sort();
            let names: BTreeSet<&str> = pods.iter().map(|pod| pod.name.as_str()).collect();
            let addressee = match &prometheus.service {
                None => Err("the cluster names no Prometheus"),
                // An empty expression would match what has no such label.
                Some(_) if names.is_empty() && promql::is_about_pods(&prometheus.query) => {
                    Err("there are no new pods")
                }
                Some(service) => {
                    let query = promql::about(&prometheus.query, names.into_iter());
                    Ok(Addressee::Prometheus { service: service.clone(), query })
                }
            };
            let subject = Subject::Pods(workload.clone(), uids);
            vec![Asked { pod: None, subject, addressee }]
        }
        Question::Exec { .. } | Question::Http { .. } | Question::Tcp { .. } => {
            let of = |pod: &&'a Pod| {
                let (namespace, name) = (pod.namespace.clone(), pod.name.clone());
                let addressee = Ok(Addressee::Pod { namespace, name });
                Asked { pod: Some(*pod), subject: Subject::Pod(pod.uid.clone()), addressee }
            };
            pods.iter().map(of).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use serde_json::json;

    use super::*;
    use crate::desired::PrometheusCheck;
    use crate::object::Object;

    const READY: Timestamp = Timestamp::UNIX_EPOCH;

    fn later(seconds: i64) -> Timestamp {
        READY.checked_add(SignedDuration::from_secs(seconds)).unwrap()
    }

    fn pod(uid: &str) -> Pod {
        Pod::of(&Object::new(json!({"metadata": {"name": uid, "namespace": "shop", "uid": uid}})))
    }

    fn workload() -> ObjectRef {
        ObjectRef {
            cluster: "room-a".to_owned(),
            group: "apps".to_owned(),
            kind: "Deployment".to_owned(),
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
        }
    }

    /// Two checks, two pods, and what was answered: `check/pod` to verdict and seconds since the group was ready.
    fn told(given: &[(&str, Verdict, i64)], now: i64) -> String {
        let check = |name: &str, timeout_seconds| Check {
            name: name.to_owned(),
            question: Question::Tcp { port: 80 },
            timeout_seconds,
        };
        let checks = [check("login", 30), check("port", 60)];
        let pods = [pod("a"), pod("b")];
        let answers = given.iter().map(|(key, verdict, at)| {
            let (check, pod) = key.split_once('/').unwrap();
            let answer = Answer { verdict: verdict.clone(), at: later(*at) };
            ((Subject::Pod(pod.to_owned()), check.to_owned()), answer)
        });
        let pods: Vec<&Pod> = pods.iter().collect();
        match standing(&workload(), &checks, &pods, &answers.collect(), (READY, later(now))) {
            Standing::Hold => "hold".to_owned(),
            Standing::Open(decision) => {
                let asked = decision.effects.iter().map(|effect| {
                    let Effect::Ask { subject: Subject::Pod(uid), check, .. } = effect else {
                        panic!("{effect:?}")
                    };
                    format!("{}/{uid}", check.name)
                });
                let next = decision.next.map(Timestamp::as_second).unwrap_or_default();
                format!("ask [{}], next at {next}", asked.collect::<Vec<_>>().join(" "))
            }
            Standing::Late { check, missing, is_unknown } => {
                let why = missing.iter().map(|(pod, why)| format!("{}: {why}", pod.unwrap().uid));
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

    #[test]
    fn an_object_is_asked_for_once_by_group_and_what_is_said_of_it_counts_for_this_workload_only() {
        let cel = CelCheck {
            object: workload(),
            api_version: "apps/v1".to_owned(),
            expression: "true".to_owned(),
        };
        let question = Question::Cel { cel };
        let checks = [Check { name: "whole".to_owned(), question, timeout_seconds: 30 }];
        let (one, two) = (pod("a"), pod("b"));
        let stands = |answers: &Answers, now| match standing(
            &workload(),
            &checks,
            &[&one, &two],
            answers,
            (READY, later(now)),
        ) {
            Standing::Hold => "hold".to_owned(),
            Standing::Open(decision) => format!("asks {}", decision.effects.len()),
            Standing::Late { missing, is_unknown, .. } => format!("late {missing:?} {is_unknown}"),
        };
        let of = |object: ObjectRef, verdict| {
            let answer = Answer { verdict, at: later(1) };
            Answers::from([((Subject::Group(object), "whole".to_owned()), answer)])
        };
        assert_eq!(stands(&Answers::new(), 0), "asks 1");
        assert_eq!(stands(&of(workload(), Verdict::Holds), 2), "hold");
        let other = ObjectRef { cluster: "room-b".to_owned(), ..workload() };
        assert_eq!(stands(&of(other, Verdict::Holds), 2), "asks 1");
        let fails = of(workload(), Verdict::Fails("no".to_owned()));
        assert_eq!(stands(&fails, 30), "late [(None, \"no\")] false");
    }

    /// How a check by Prometheus of so many new pods stands, by what was answered about so many, `seconds` after they were
    /// ready.
    fn measured(
        query: &str,
        pods: &[&Pod],
        given: Option<(&[&Pod], Verdict, i64)>,
        now: i64,
    ) -> String {
        let prometheus = PrometheusCheck {
            query: query.to_owned(),
            min: None,
            max: None,
            after_seconds: 60,
            service: serde_json::from_value(json!({"namespace": "m", "service": "p", "port": 90}))
                .unwrap(),
        };
        let question = Question::Prometheus { prometheus };
        let checks = [Check { name: "errors".to_owned(), question, timeout_seconds: 30 }];
        let answers = given.into_iter().map(|(pods, verdict, at)| {
            let uids = pods.iter().map(|pod| pod.uid.clone()).collect();
            let subject = Subject::Pods(workload(), uids);
            ((subject, "errors".to_owned()), Answer { verdict, at: later(at) })
        });
        match standing(&workload(), &checks, pods, &answers.collect(), (READY, later(now))) {
            Standing::Hold => "hold".to_owned(),
            Standing::Open(decision) => {
                let queries = decision.effects.iter().map(|effect| {
                    let Effect::Ask { addressee: Addressee::Prometheus { query, .. }, .. } = effect
                    else {
                        panic!("{effect:?}")
                    };
                    query.as_str()
                });
                let next = decision.next.map(Timestamp::as_second).unwrap_or_default();
                let waits: Vec<&str> =
                    decision.waits.iter().map(|wait| wait.code.as_ref()).collect();
                let queries = queries.collect::<Vec<_>>().join(" ");
                format!("ask [{queries}], next at {next}, {}", waits.join(" "))
            }
            Standing::Late { missing, is_unknown, .. } => {
                let why: Vec<&str> = missing.iter().map(|(_, why)| why.as_str()).collect();
                format!("late {why:?}{}", if is_unknown { ", unknown" } else { "" })
            }
        }
    }

    #[test]
    fn prometheus_is_first_asked_after_what_it_measured_of_old_pods_has_passed() {
        let (one, two) = (pod("a"), pod("b"));
        let both = [&one, &two];
        let told = |given: Option<(Verdict, i64)>, now| {
            let given = given.map(|(verdict, at)| (&both[..], verdict, at));
            measured("up{pod=~'$pods'}", &both, given, now)
        };
        let later = "ask [], next at 60, RELEASE/CHECK_BEGINS_LATER";
        assert_eq!(told(None, 0), later);
        assert_eq!(told(Some((Verdict::Holds, 59)), 59), later);
        let asks = "ask [up{pod=~'(?:a|b)'}], next at 90, RELEASE/CHECKING";
        assert_eq!(told(None, 60), asks);
        assert_eq!(told(Some((Verdict::Holds, 59)), 60), asks, "that was of the old pods");
        assert_eq!(told(Some((Verdict::Holds, 60)), 61), "hold");
        let unknown = |at| Some((Verdict::Unknown("no data".to_owned()), at));
        assert_eq!(told(unknown(70), 71), "ask [], next at 72, RELEASE/CHECKING");
        assert_eq!(told(unknown(88), 90), "late [\"no data\"], unknown", "30 s after the first");
        assert_eq!(told(None, 90), "late [\"\"], unknown");
        let fails = Some((Verdict::Fails("2, more than 1".to_owned()), 88));
        assert_eq!(told(fails, 90), "late [\"2, more than 1\"]");
    }

    #[test]
    fn what_was_measured_of_other_pods_does_not_count() {
        let (one, two, three) = (pod("a"), pod("b"), pod("c"));
        let (now, before) = ([&one, &three], [&one, &two]);
        let asks = |given: &[&Pod], pods: &[&Pod]| {
            measured("up{pod=~'$pods'}", pods, Some((given, Verdict::Holds, 61)), 62)
        };
        assert_eq!(asks(&now, &now), "hold");
        assert!(asks(&before, &now).starts_with("ask [up{pod=~'(?:a|c)'}]"), "b is gone");
        assert_eq!(asks(&now, &[&three, &one]), "hold", "the order does not matter");
    }

    #[test]
    fn of_no_pods_nothing_is_measured() {
        let told = |query, given: Option<Verdict>, now| {
            measured(query, &[], given.map(|it| (&[][..], it, 61)), now)
        };
        assert_eq!(told("up{pod=~'$pods'}", None, 62), "ask [], next at 90, RELEASE/CHECKING");
        let held = told("up{pod=~'$pods'}", Some(Verdict::Holds), 90);
        assert_eq!(held, "late [\"there are no new pods\"], unknown");
        assert_eq!(told("up", Some(Verdict::Holds), 62), "hold");
    }

    #[test]
    fn an_object_holds_only_when_the_expression_is_true_of_its_present_generation() {
        let cel = CelCheck {
            object: workload(),
            api_version: "apps/v1".to_owned(),
            expression: "object.status.readyReplicas >= 2".to_owned(),
        };
        let said = |status: serde_json::Value| {
            let object = Object::new(json!({"apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": "web", "generation": 3}, "status": status}));
            Verdict::of_object(&cel, Some(&object))
        };
        assert_eq!(said(json!({"observedGeneration": 3, "readyReplicas": 2})), Verdict::Holds);
        let few = said(json!({"observedGeneration": 3, "readyReplicas": 1}));
        let why = "Deployment shop/web: `object.status.readyReplicas >= 2` is false";
        assert_eq!(few, Verdict::Fails(why.to_owned()));
        let stale = said(json!({"observedGeneration": 2, "readyReplicas": 2}));
        assert!(matches!(stale, Verdict::Unknown(_)), "{stale:?}");
        let no_data = said(json!({"observedGeneration": 3}));
        assert!(matches!(no_data, Verdict::Unknown(_)), "{no_data:?}");
        let absent = Verdict::of_object(&cel, None);
        assert_eq!(absent, Verdict::Fails("Deployment shop/web does not exist".to_owned()));
    }
}
