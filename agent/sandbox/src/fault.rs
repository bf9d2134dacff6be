//! Behaviours on demand: what goes wrong, and the count of what was asked.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use crate::status::Refusal;

/// Something that goes wrong from now on.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// The next `times` matching requests are answered with this code.
    Refuse {
        /// Which requests.
        matching: Matching,
        /// The HTTP status code.
        code: u16,
        /// The reason of the `Status`, as in `InternalError`.
        reason: String,
        /// The message of the `Status`.
        message: String,
        /// How many requests.
        times: u32,
    },
    /// The next `times` matching requests are answered later. Watches are delayed at their start.
    Delay {
        /// Which requests.
        matching: Matching,
        /// How long, in tokio's time.
        latency: Duration,
        /// How many requests.
        times: u32,
    },
    /// Every open watch ends, as when a connection is lost.
    DropWatches,
    /// The changes until now are forgotten: watches and pages from before get 410.
    ForgetHistory,
    /// Every write is answered with 503 until this is set to false.
    RefuseWrites(bool),
    /// The node's kubelet goes silent: not ready, unreachable.
    KillNode(String),
    /// The node comes back.
    ReviveNode(String),
}

/// Which requests a fault meets; an absent part matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matching {
    /// As in RBAC: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: Option<String>,
    /// The plural resource.
    pub resource: Option<String>,
    /// The namespace.
    pub namespace: Option<String>,
    /// The object's name.
    pub name: Option<String>,
}

/// How many requests came in, by verb; a watch counts once, apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// Requests by verb, without watches. Requests that are not about resources (discovery, health) are under `other`.
    pub by_verb: BTreeMap<String, u64>,
    /// Watches that were opened.
    pub watches: u64,
}

impl Requests {
    /// All requests except watches.
    pub fn total(&self) -> u64 {
        self.by_verb.values().sum()
    }

    /// Requests that may change something: create, update, patch, delete, deletecollection.
    pub fn writes(&self) -> u64 {
        self.by_verb.iter().filter(|(verb, _)| is_write(verb)).map(|(_, count)| count).sum()
    }

    pub(crate) fn count(&mut self, verb: &str) {
        if verb == "watch" {
            self.watches += 1;
        } else {
            *self.by_verb.entry(verb.to_owned()).or_default() += 1;
        }
    }
}

/// Whether a verb may change something.
pub(crate) fn is_write(verb: &str) -> bool {
    matches!(verb, "create" | "update" | "patch" | "delete" | "deletecollection")
}

/// What one request is, for matching.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) verb: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

impl Matching {
    fn matches(&self, asked: Asked<'_>) -> bool {
        let is_met = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        };
        is_met(&self.verb, asked.verb)
            && is_met(&self.resource, asked.resource)
            && is_met(&self.namespace, asked.namespace)
            && is_met(&self.name, asked.name)
    }
}

/// The faults that are waiting for a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    waiting: Vec<(Fault, u32)>,
    /// Whether all writes are refused.
    pub(crate) refuses_writes: bool,
    /// Raised when all watches are to end.
    pub(crate) watch_generation: u64,
}

impl Faults {
    pub(crate) fn wait(&mut self, fault: Fault, times: u32) {
        self.waiting.push((fault, times));
    }

    /// What meets this request: how long it waits, and the refusal.
    pub(crate) fn meet(&mut self, asked: Asked<'_>) -> (Duration, Option<Refusal>) {
        let mut delay = Duration::ZERO;
        let mut refusal = None;
        for (fault, left) in &mut self.waiting {
            match fault {
                Fault::Delay { matching, latency, .. } if matching.matches(asked) => {
                    delay += *latency;
                    *left -= 1;
                }
                Fault::Refuse { matching, code, reason, message, .. }
                    if refusal.is_none() && matching.matches(asked) =>
                {
                    let mut refused = Refusal::plain(*code, reason, message.clone());
                    if *code == 429 {
                        // As the API server's own queues say it.
                        refused.details = json!({"retryAfterSeconds": 1});
                    }
                    refusal = Some(refused);
                    *left -= 1;
                }
                Fault::Delay { .. }
                | Fault::Refuse { .. }
                | Fault::DropWatches
                | Fault::ForgetHistory
                | Fault::RefuseWrites(_)
                | Fault::KillNode(_)
                | Fault::ReviveNode(_) => {}
            }
        }
        self.waiting.retain(|(_, left)| *left > 0);
        if refusal.is_none() && self.refuses_writes && is_write(asked.verb) {
            refusal = Some(Refusal::plain(
                503,
                "ServiceUnavailable",
                "the server is currently unable to handle the request",
            ));
        }
        (delay, refusal)
    }
}
