//! Deployments: replica sets per template, moved from one to the next by the strategy's rules.

mod progress;
mod rollout;
mod scale;
mod strategy;

use std::sync::Arc;

use serde_json::{Value, json};

use super::object::{
    annotation, at, condition, flag, is_terminating, items, name, namespace, number,
    owner_reference, same, set, set_entry, template_hash, text, unset,
};
use super::pass::Pass;
use super::replica_set;
use strategy::Limits;

const REVISION: &str = "deployment.kubernetes.io/revision";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";
const HASH_LABEL: &str = "pod-template-hash";

/// Annotations of a Deployment that its replica sets do not take over.
const OWN_ANNOTATIONS: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MAXIMUM,
    "deprecated.deployment.rollback.to",
];

/// The Deployments whose turn it is.
pub(super) fn reconcile(pass: &mut Pass<'_>) {
    while let Some(deployment) = pass.next("apps", "Deployment") {
        Rollout::observe(pass, &deployment).run(pass);
    }
}

/// A replica set as the round found it and as it is to be.
struct Version {
    found: Option<Arc<Value>>,
    wanted: Value,
}

impl Version {
    fn replicas(&self) -> i64 {
        number(&self.wanted, "spec/replicas").unwrap_or(1)
    }

    fn counted(&self, field: &str) -> i64 {
        number(&self.wanted, &format!("status/{field}")).unwrap_or(0)
    }

    /// How many of its pods are available and are to stay: the status may still count one that was scaled in just now.
    fn available(&self) -> i64 {
        self.counted("availableReplicas").min(self.replicas())
    }

    fn revision(&self) -> i64 {
        annotation(&self.wanted, REVISION).and_then(|revision| revision.parse().ok()).unwrap_or(0)
    }
}

/// One Deployment in one round.
struct Rollout<'object> {
    deployment: &'object Value,
    limits: Limits,
    /// The replica set of the current template, if there is one.
    fresh: Option<Version>,
    /// The others, oldest first.
    old: Vec<Version>,
    /// The Deployment's status while it is computed.
    status: Value,
    /// The revision annotation it should carry.
    revision: Option<String>,
}

impl<'object> Rollout<'object> {
    fn observe(pass: &mut Pass<'_>, deployment: &'object Value) -> Self {
        let (mut fresh, mut old) = (None, Vec::new());
        for set in replica_set::of_deployment(pass, deployment) {
            let version = Version { wanted: Value::clone(&set), found: Some(set) };
            if fresh.is_none() && is_of_template(&version.wanted, deployment) {
                fresh = Some(version);
            } else {
                old.push(version);
            }
        }
        let mut status = at(deployment, "status").clone();
        if !status.is_object() {
            status = json!({});
        }
        Self { deployment, limits: Limits::of(deployment), fresh, old, status, revision: None }
    }

    fn run(mut self, pass: &mut Pass<'_>) {
        if is_terminating(self.deployment) {
            self.write_counts(pass);
            return;
        }
        let paused = flag(self.deployment, "spec/paused");
        self.note_pause(pass, paused);
        if paused {
            self.sync_revision(pass, false);
            self.scale(pass);
            self.clean_up(pass);
            self.write_counts(pass);
        } else if self.is_scaling() {
            self.sync_revision(pass, false);
            self.scale(pass);
            self.write_counts(pass);
        } else if self.limits.recreates {
            self.recreate(pass);
        } else {
            self.roll(pass);
        }
        self.write(pass);
    }

    /// All replica sets, the current one last.
    fn versions(&self) -> impl Iterator<Item = &Version> {
        self.old.iter().chain(&self.fresh)
    }

    fn sum(&self, count: impl Fn(&Version) -> i64) -> i64 {
        self.versions().map(count).sum()
    }

    /// Brings the current replica set's annotations and revision up to date; makes it when asked to.
    fn sync_revision(&mut self, pass: &mut Pass<'_>, create: bool) {
        let next = self.old.iter().map(Version::revision).max().unwrap_or(0) + 1;
        if let Some(fresh) = &mut self.fresh {
            inherit(&mut fresh.wanted, self.deployment, next, true);
            let min_ready = number(self.deployment, "spec/minReadySeconds").unwrap_or(0);
            if number(&fresh.wanted, "spec/minReadySeconds").unwrap_or(0) != min_ready {
                set_min_ready(&mut fresh.wanted, min_ready);
            }
            self.revision = annotation(&fresh.wanted, REVISION).map(str::to_owned);
            if self.limits.deadline.is_some() && condition(&self.status, "Progressing").is_none() {
                let message = format!("Found new replica set \"{}\"", name(&fresh.wanted));
                self.progressing(pass, "True", "FoundNewReplicaSet", &message);
            }
            return;
        }
        if !create {
            return;
        }
        let mut made = self.make();
        let replicas = self.fresh_replicas(0);
        set(&mut made, "spec/replicas", json!(replicas));
        inherit(&mut made, self.deployment, next, false);
        self.annotate(&mut made);
        let called = name(&made).to_owned();
        if replicas > 0 {
            let message = format!("Scaled up replica set {called} from 0 to {replicas}");
            pass.note(self.deployment, "ScalingReplicaSet", message);
        }
        self.revision = annotation(&made, REVISION).map(str::to_owned);
        self.fresh = Some(Version { found: None, wanted: made });
        if self.limits.deadline.is_some() {
            let message = format!("Created new replica set \"{called}\"");
            self.progressing(pass, "True", "NewReplicaSetCreated", &message);
        }
    }

    /// The replica set of the current template, not yet sized.
    fn make(&self) -> Value {
        let mut template = at(self.deployment, "spec/template").clone();
        let hash = template_hash(&template);
        set_entry(&mut template, "metadata/labels", HASH_LABEL, &hash);
        let mut selector = at(self.deployment, "spec/selector").clone();
        set_entry(&mut selector, "matchLabels", HASH_LABEL, &hash);
        let mut made = json!({
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": format!("{}-{hash}", name(self.deployment)),
                "namespace": namespace(self.deployment),
                "labels": at(&template, "metadata/labels"),
                "ownerReferences": [owner_reference(self.deployment)],
            },
            "spec": {"replicas": 0, "selector": selector, "template": template},
        });
        set_min_ready(&mut made, number(self.deployment, "spec/minReadySeconds").unwrap_or(0));
        made
    }

    /// Notes on a replica set how large the Deployment was when it was sized, for scaling in proportion later.
    fn annotate(&self, set: &mut Value) {
        let desired = self.limits.replicas;
        set_entry(set, "metadata/annotations", DESIRED, &desired.to_string());
        let maximum = desired + self.limits.surge;
        set_entry(set, "metadata/annotations", MAXIMUM, &maximum.to_string());
    }

    /// Writes what changed: replica sets, then the status, then the revision annotation.
    fn write(self, pass: &mut Pass<'_>) {
        for version in self.old.iter().chain(&self.fresh) {
            match &version.found {
                None => pass.create(version.wanted.clone()),
                Some(found) if !same(found, &version.wanted) => pass.update(version.wanted.clone()),
                Some(_) => {}
            }
        }
        if pass.update_status(self.deployment, self.status) {
            // The annotation follows in the next round, since the status has changed the object's version.
            return;
        }
        if let Some(revision) = self.revision
            && annotation(self.deployment, REVISION) != Some(revision.as_str())
        {
            let mut marked = self.deployment.clone();
            set_entry(&mut marked, "metadata/annotations", REVISION, &revision);
            pass.update(marked);
        }
    }

    /// Removes old replica sets beyond the history limit.
    fn clean_up(&self, pass: &mut Pass<'_>) {
        let Some(limit) = number(self.deployment, "spec/revisionHistoryLimit") else { return };
        let mut past: Vec<&Version> =
            self.old.iter().filter(|version| !is_terminating(&version.wanted)).collect();
        let surplus = past.len().saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
        past.sort_by_key(|version| version.revision());
        for version in past.into_iter().take(surplus) {
            let is_stale = number(&version.wanted, "metadata/generation").unwrap_or(1)
                > version.counted("observedGeneration");
            if version.counted("replicas") == 0 && version.replicas() == 0 && !is_stale {
                pass.delete(&version.wanted);
            }
        }
    }
}

fn set_min_ready(set_: &mut Value, seconds: i64) {
    if seconds == 0 {
        unset(set_, "spec/minReadySeconds");
    } else {
        set(set_, "spec/minReadySeconds", json!(seconds));
    }
}

/// Whether a replica set has the Deployment's template, apart from the hash label.
fn is_of_template(replica_set: &Value, deployment: &Value) -> bool {
    let plain = |template: &Value| {
        let mut template = template.clone();
        unset(&mut template, &format!("metadata/labels/{HASH_LABEL}"));
        unset(&mut template, "metadata/creationTimestamp");
        template
    };
    same(&plain(at(replica_set, "spec/template")), &plain(at(deployment, "spec/template")))
}

/// Copies the Deployment's annotations and raises the revision; an older revision that is used again is remembered.
fn inherit(replica_set: &mut Value, deployment: &Value, revision: i64, exists: bool) {
    for (key, value) in at(deployment, "metadata/annotations").as_object().into_iter().flatten() {
        if !OWN_ANNOTATIONS.contains(&key.as_str())
            && let Some(value) = value.as_str()
        {
            set_entry(replica_set, "metadata/annotations", key, value);
        }
    }
    let held = annotation(replica_set, REVISION).unwrap_or_default().to_owned();
    if held.parse().unwrap_or(0) >= revision {
        return;
    }
    set_entry(replica_set, "metadata/annotations", REVISION, &revision.to_string());
    if exists && !held.is_empty() {
        let past = annotation(replica_set, HISTORY).unwrap_or_default();
        let history = if past.is_empty() { held } else { format!("{past},{held}") };
        set_entry(replica_set, "metadata/annotations", HISTORY, &history);
    }
}

/// The failure that a replica set reports.
fn failure(version: &Version) -> Option<&Value> {
    items(&version.wanted, "status/conditions")
        .iter()
        .find(|condition| text(condition, "type") == "ReplicaFailure")
}
