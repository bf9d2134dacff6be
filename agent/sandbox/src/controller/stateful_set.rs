//! Stateful sets: numbered pods with their own claims, made and replaced by ordinal.

mod identity;
mod update;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::object::{at, is_terminating, label, name, namespace, number, set, text};
use super::pass::{Pass, generation};
use super::pod::{self, is_available, is_ready, phase};
use super::revision::{self, HASH, POD_REVISION};

/// The stateful sets whose turn it is.
pub(super) fn reconcile(pass: &mut Pass<'_>) {
    while let Some(set) = pass.next("apps", "StatefulSet") {
        Numbered::observe(pass, &set).run(pass);
    }
}

/// One pod of a set, there or yet to be made.
struct Replica {
    ordinal: i64,
    found: Option<Arc<Value>>,
    is_available: bool,
}

impl Replica {
    fn is_healthy(&self) -> bool {
        self.found.as_ref().is_some_and(|pod| self.is_available && !is_terminating(pod))
    }

    fn is_running_and_ready(&self) -> bool {
        self.found.as_ref().is_some_and(|pod| phase(pod) == "Running" && is_ready(pod))
    }

    fn is_terminating(&self) -> bool {
        self.found.as_ref().is_some_and(|pod| is_terminating(pod))
    }
}

/// One stateful set in one round.
struct Numbered<'object> {
    owner: &'object Value,
    start: i64,
    replicas: Vec<Replica>,
    /// Pods beyond the wanted size, the highest ordinal first.
    condemned: Vec<Replica>,
    history: Vec<Arc<Value>>,
    current: Value,
    update: Value,
    ordered: bool,
}

impl<'object> Numbered<'object> {
    fn observe(pass: &mut Pass<'_>, owner: &'object Value) -> Self {
        let start = number(owner, "spec/ordinals/start").unwrap_or(0);
        let size = number(owner, "spec/replicas").unwrap_or(1);
        let min_ready = number(owner, "spec/minReadySeconds").unwrap_or(0);
        let mut replicas: Vec<Replica> = (start..start + size)
            .map(|ordinal| Replica { ordinal, found: None, is_available: false })
            .collect();
        let mut condemned = Vec::new();
        let is_member = |pod: &Value| identity::ordinal(owner, pod).is_some();
        for pod in pass.claim("Pod", owner, is_member) {
            let Some(ordinal) = identity::ordinal(owner, &pod) else { continue };
            let is_available = phase(&pod) == "Running" && is_available(pass, &pod, min_ready);
            let replica = Replica { ordinal, found: Some(pod), is_available };
            let slot = usize::try_from(ordinal - start).ok().and_then(|i| replicas.get_mut(i));
            match slot {
                Some(slot) => *slot = replica,
                None => condemned.push(replica),
            }
        }
        condemned.sort_by_key(|replica| std::cmp::Reverse(replica.ordinal));
        let history = revision::history(pass, owner, HASH);
        let current = history
            .all
            .iter()
            .find(|revision| name(revision) == text(owner, "status/currentRevision"))
            .map_or_else(|| history.update.clone(), |revision| Value::clone(revision));
        let ordered = text(owner, "spec/podManagementPolicy") != "Parallel";
        Self {
            owner,
            start,
            replicas,
            condemned,
            history: history.all,
            current,
            update: history.update,
            ordered,
        }
    }

    fn run(&self, pass: &mut Pass<'_>) {
        if !is_terminating(self.owner) {
            self.advance(pass);
        }
        let status = self.status();
        pass.update_status(self.owner, status);
        self.truncate(pass);
    }

    /// Brings the pods nearer to what is wanted; an ordered set stops at the first pod that has to be waited for.
    fn advance(&self, pass: &mut Pass<'_>) {
        for replica in &self.replicas {
            let stop = self.keep(pass, replica);
            if stop && self.ordered {
                return;
            }
        }
        let first_unhealthy = self.first_unhealthy();
        for replica in &self.condemned {
            let stop = self.condemn(pass, replica, first_unhealthy);
            if stop && self.ordered {
                return;
            }
        }
        self.roll(pass);
    }

    /// Makes sure that one pod exists; true when later ones have to wait for it.
    fn keep(&self, pass: &mut Pass<'_>, replica: &Replica) -> bool {
        let Some(pod) = &replica.found else {
            self.create(pass, replica.ordinal);
            return true;
        };
        if matches!(phase(pod), "Failed" | "Succeeded") {
            if !is_terminating(pod) {
                let message = format!(
                    "StatefulSet {}/{} is recreating {} Pod {}",
                    namespace(self.owner),
                    name(self.owner),
                    phase(pod).to_lowercase(),
                    name(pod)
                );
                pass.warn(self.owner, "RecreatingFailedPod", message);
                self.delete(pass, pod);
            }
            return true;
        }
        if phase(pod) == "Pending" && !is_terminating(pod) {
            identity::create_claims(pass, self.owner, replica.ordinal);
        }
        !replica.is_healthy()
    }

    fn create(&self, pass: &mut Pass<'_>, ordinal: i64) {
        let revision = self.revision_for(ordinal);
        let pod = identity::pod(self.owner, revision, ordinal);
        if let Some(refusal) = pod::refusal(pass, &pod, 0) {
            let message = format!(
                "create Pod {} in StatefulSet {} failed error: {refusal}",
                name(&pod),
                name(self.owner)
            );
            // Said once: a set has no condition that would remember it.
            if number(self.owner, "status/observedGeneration")
                != at(self.owner, "metadata/generation").as_i64()
            {
                pass.warn(self.owner, "FailedCreate", message);
            }
            return;
        }
        identity::create_claims(pass, self.owner, ordinal);
        let message =
            format!("create Pod {} in StatefulSet {} successful", name(&pod), name(self.owner));
        pass.note(self.owner, "SuccessfulCreate", message);
        pass.create(pod);
    }

    fn delete(&self, pass: &mut Pass<'_>, pod: &Value) {
        let message =
            format!("delete Pod {} in StatefulSet {} successful", name(pod), name(self.owner));
        pass.note(self.owner, "SuccessfulDelete", message);
        pass.terminate(pod);
    }

    /// Scales one pod in; true when the next has to wait.
    fn condemn(
        &self,
        pass: &mut Pass<'_>,
        replica: &Replica,
        first_unhealthy: Option<i64>,
    ) -> bool {
        let Some(pod) = &replica.found else { return false };
        if is_terminating(pod) {
            return true;
        }
        if !replica.is_healthy() && self.ordered && first_unhealthy != Some(replica.ordinal) {
            return true;
        }
        self.delete(pass, pod);
        true
    }

    fn first_unhealthy(&self) -> Option<i64> {
        let all = self.replicas.iter().chain(self.condemned.iter().rev());
        all.filter(|replica| !replica.is_healthy()).map(|replica| replica.ordinal).next()
    }

    fn status(&self) -> Value {
        let pods: Vec<&Replica> = self
            .replicas
            .iter()
            .chain(&self.condemned)
            .filter(|replica| replica.found.is_some())
            .collect();
        let count = |test: &dyn Fn(&Replica) -> bool| {
            i64::try_from(pods.iter().filter(|replica| test(replica)).count()).unwrap_or(0)
        };
        let at_revision = |revision: &Value| {
            let revision = name(revision).to_owned();
            count(&|replica: &Replica| !replica.is_terminating() && replica.revision() == revision)
        };
        let (mut current_name, mut current) = (name(&self.current), at_revision(&self.current));
        let updated = at_revision(&self.update);
        let ready = count(&Replica::is_running_and_ready);
        let wanted = number(self.owner, "spec/replicas").unwrap_or(1);
        let created = count(&|_| true);
        let is_rolling = text(self.owner, "spec/updateStrategy/type") != "OnDelete";
        if is_rolling && updated == wanted && ready == wanted && created == wanted {
            (current_name, current) = (name(&self.update), updated);
        }
        let mut status = json!({
            "observedGeneration": generation(self.owner),
            "replicas": created,
            "availableReplicas": count(&|replica| replica.is_available),
            "currentRevision": current_name,
            "updateRevision": name(&self.update),
            "collisionCount": 0,
        });
        for (field, count) in
            [("readyReplicas", ready), ("currentReplicas", current), ("updatedReplicas", updated)]
        {
            if count > 0 {
                set(&mut status, field, json!(count));
            }
        }
        if let Some(conditions) = at(self.owner, "status").get("conditions") {
            set(&mut status, "conditions", conditions.clone());
        }
        status
    }

    fn truncate(&self, pass: &mut Pass<'_>) {
        let mut live: BTreeSet<&str> = [name(&self.current), name(&self.update)].into();
        let pods = self.replicas.iter().chain(&self.condemned);
        live.extend(pods.flat_map(|replica| &replica.found).map(|pod| label(pod, POD_REVISION)));
        revision::truncate(pass, self.owner, &self.history, &live);
    }
}

impl Replica {
    fn revision(&self) -> &str {
        self.found.as_ref().map_or("", |pod| label(pod, POD_REVISION))
    }
}
