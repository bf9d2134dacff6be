//! Watches: what happened since a revision, then what happens.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::dispatch::Call;
use crate::list;
use crate::object;
use crate::resource::Resource;
use crate::sandbox::{Inner, Sandbox};
use crate::selector::Selection;
use crate::server::Body;
use crate::status::{Cause, Refusal, Subject};
use crate::store::{Change, Happened};
use crate::table::{self, Form};
use crate::world::World;
use crate::write;

/// How often a quiet watch is told where it is.
const BOOKMARK: Duration = Duration::from_mins(1);
/// How long a watch without `timeoutSeconds` lasts.
const LONGEST: Duration = Duration::from_mins(30);

/// A watch that is to begin.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) resource: Resource,
    version: String,
    namespace: Option<String>,
    selection: Selection,
    form: Form,
    revision: u64,
    first: VecDeque<Value>,
    has_bookmarks: bool,
    timeout: Duration,
    generation: u64,
}

/// Reads the request and takes the objects that it begins with.
pub(crate) fn start(world: &World, resource: &Resource, call: &Call<'_>) -> Result<Start, Refusal> {
    let selection = list::selection(resource, call)?;
    let place = &call.place;
    let given = call.query.get("resourceVersion");
    let revision: u64 = match given {
        "" => 0,
        given => given.parse().map_err(|_| {
            let why = format!(
                "resourceVersion: Invalid value: \"{given}\": strconv.ParseUint: parsing \"{given}\": invalid syntax"
            );
            Refusal::plain(500, "", why)
        })?,
    };
    let wants_initial = call.query.is_true("sendInitialEvents");
    if wants_initial && call.query.get("resourceVersionMatch") != "NotOlderThan" {
        return Err(Refusal::invalid(
            Subject { group: "meta.k8s.io", resource: "ListOptions", name: "" },
            &[Cause::forbidden(
                "resourceVersionMatch",
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            )],
        ));
    }
    let mut start = Start {
        resource: resource.clone(),
        version: place.version.clone(),
        namespace: Some(place.namespace.clone())
            .filter(|namespace| resource.is_namespaced && !namespace.is_empty()),
        selection,
        form: call.form.clone(),
        revision,
        first: VecDeque::new(),
        has_bookmarks: call.query.is_true("allowWatchBookmarks"),
        timeout: call
            .query
            .get("timeoutSeconds")
            .parse()
            .ok()
            .filter(|seconds| *seconds > 0)
            .map_or(LONGEST, Duration::from_secs),
        generation: world.faults.watch_generation,
    };
    if revision == 0 || wants_initial {
        let objects =
            world.store.of_kind(&resource.group, &resource.kind, start.namespace.as_deref());
        let first: VecDeque<Value> = objects
            .filter(|value| start.selection.matches(value))
            .map(|value| start.event("ADDED", value, call.now))
            .collect();
        start.first = first;
        start.revision = world.store.revision();
        if wants_initial {
            let end = start.bookmark(true);
            start.first.push_back(end);
        }
    }
    Ok(start)
}

impl Start {
    fn event(&self, kind: &str, value: &Value, now: Timestamp) -> Value {
        let value = write::in_version(value, &self.resource, &self.version);
        let shown = table::single(&self.form, value, &self.resource, &self.version, now);
        json!({"type": kind, "object": shown})
    }

    fn bookmark(&self, ends_initial: bool) -> Value {
        let mut metadata =
            json!({"resourceVersion": self.revision.to_string(), "creationTimestamp": null});
        if ends_initial {
            object::set(&mut metadata, "annotations", json!({"k8s.io/initial-events-end": "true"}));
        }
        let object = json!({"kind": self.resource.kind, "apiVersion": self.resource.api_version(&self.version),
            "metadata": metadata});
        json!({"type": "BOOKMARK", "object": object})
    }

    /// What a change means to this watch: an object that no longer matches is gone for it.
    fn seen(&self, change: &Change, now: Timestamp) -> Option<Value> {
        if change.key.kind != self.resource.kind || change.key.group != self.resource.group {
            return None;
        }
        if self.namespace.as_ref().is_some_and(|namespace| *namespace != change.key.namespace) {
            return None;
        }
        let was = change.before.as_ref().is_some_and(|before| self.selection.matches(before));
        let is = change.happened != Happened::Deleted && self.selection.matches(&change.object);
        match (was, is) {
            (false, true) => Some(self.event("ADDED", &change.object, now)),
            (true, true) => Some(self.event("MODIFIED", &change.object, now)),
            (true, false) if change.happened == Happened::Deleted => {
                Some(self.event("DELETED", &change.object, now))
            }
            (true, false) => {
                // The last state that matched, at the revision of the change.
                let mut last = change.before.as_deref().cloned().unwrap_or_default();
                object::set_metadata(
                    &mut last,
                    "resourceVersion",
                    change.revision.to_string().into(),
                );
                Some(self.event("DELETED", &last, now))
            }
            (false, false) => None,
        }
    }
}

struct Running {
    start: Start,
    inner: Weak<Inner>,
    changes: watch::Receiver<u64>,
    waiting: VecDeque<Value>,
    deadline: Instant,
    is_over: bool,
}

/// The body of the answer: one JSON document a line, until the time is up, the watch is dropped, or it is too old.
pub(crate) fn stream(sandbox: &Sandbox, mut start: Start) -> Body {
    let running = Running {
        inner: Arc::downgrade(&sandbox.inner),
        changes: sandbox.inner.changes(),
        waiting: std::mem::take(&mut start.first),
        deadline: Instant::now() + start.timeout,
        is_over: false,
        start,
    };
    let lines = stream::unfold(running, |mut running| async move {
        let event = running.next().await?;
        let line = Bytes::from(format!("{event}\n"));
        Some((Ok(Frame::data(line)), running))
    });
    StreamBody::new(lines).boxed_unsync()
}

impl Running {
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            if self.is_over {
                return None;
            }
            self.changes.mark_unchanged();
            self.take_changes()?;
            if !self.waiting.is_empty() {
                continue;
            }
            let now = Instant::now();
            if now >= self.deadline {
                return None;
            }
            let pause = BOOKMARK.min(self.deadline - now);
            match tokio::time::timeout(pause, self.changes.changed()).await {
                Ok(Err(_)) => return None,
                Err(_) if self.start.has_bookmarks => return Some(self.start.bookmark(false)),
                Ok(Ok(())) | Err(_) => {}
            }
        }
    }

    /// Takes what happened since the last look; `None` when the watch is to end.
    fn take_changes(&mut self) -> Option<()> {
        let inner = self.inner.upgrade()?;
        let now = inner.clock.now();
        let world = inner.world();
        if world.faults.watch_generation != self.start.generation {
            return None;
        }
        let Some(changes) = world.store.changes_since(self.start.revision) else {
            let refusal = Refusal::expired(format!(
                "too old resource version: {} ({})",
                self.start.revision,
                world.store.revision()
            ));
            self.waiting.push_back(json!({"type": "ERROR", "object": refusal.to_value()}));
            self.is_over = true;
            return Some(());
        };
        self.waiting.extend(changes.filter_map(|change| self.start.seen(change, now)));
        self.start.revision = self.start.revision.max(world.store.revision());
        Some(())
    }
}
