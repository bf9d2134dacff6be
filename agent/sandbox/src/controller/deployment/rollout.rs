//! Moving a Deployment from one template to the next: rolling, or stopping everything first.

use serde_json::{Value, json};

use super::super::object::{name, set};
use super::super::pass::Pass;
use super::super::pod::phase;
use super::super::replica_set;
use super::{Rollout, Version};

impl Rollout<'_> {
    /// Rolling update: one step up or down a round.
    pub(super) fn roll(&mut self, pass: &mut Pass<'_>) {
        let made = self.fresh.is_none();
        self.sync_revision(pass, true);
        if made || self.grow(pass) || self.shrink(pass) {
            self.write_progress(pass);
            return;
        }
        if self.is_complete() {
            self.clean_up(pass);
        }
        self.write_progress(pass);
    }

    /// Stops the old pods, waits until they are gone, then starts the new ones.
    pub(super) fn recreate(&mut self, pass: &mut Pass<'_>) {
        self.sync_revision(pass, false);
        let mut stopped = false;
        for index in 0..self.old.len() {
            stopped |= self.resize_old(pass, index, 0);
        }
        if stopped || self.old_pods_remain(pass) {
            self.write_progress(pass);
            return;
        }
        if self.fresh.is_none() {
            self.sync_revision(pass, true);
        } else {
            self.resize_fresh(pass, self.limits.replicas);
        }
        if self.is_complete() {
            self.clean_up(pass);
        }
        self.write_progress(pass);
    }

    /// Terminating pods count: two templates never run side by side.
    fn old_pods_remain(&self, pass: &mut Pass<'_>) -> bool {
        if self.old.iter().any(|version| version.counted("replicas") > 0) {
            return true;
        }
        let old: Vec<_> = self.old.iter().filter_map(|version| version.found.clone()).collect();
        let pods = replica_set::pods_of(pass, &old);
        pods.iter().any(|pod| !matches!(phase(pod), "Succeeded" | "Failed"))
    }

    fn grow(&mut self, pass: &mut Pass<'_>) -> bool {
        let Some(fresh) = &self.fresh else { return false };
        let held = fresh.replicas();
        let wanted = if held > self.limits.replicas {
            self.limits.replicas
        } else {
            self.fresh_replicas(held)
        };
        self.resize_fresh(pass, wanted)
    }

    /// How large the current replica set may be now, given `held` replicas of it.
    pub(super) fn fresh_replicas(&self, held: i64) -> i64 {
        if self.limits.recreates {
            return self.limits.replicas;
        }
        let room = self.limits.replicas + self.limits.surge - self.sum(Version::replicas);
        if room <= 0 {
            return held;
        }
        held + room.min(self.limits.replicas - held)
    }

    /// Scales old replica sets in: first pods that are not available, then as many as availability leaves.
    fn shrink(&mut self, pass: &mut Pass<'_>) -> bool {
        if self.old.iter().all(|version| version.replicas() == 0) {
            return false;
        }
        let waiting = self
            .fresh
            .as_ref()
            .map_or(0, |fresh| fresh.replicas() - fresh.counted("availableReplicas"));
        let room = self.sum(Version::replicas) - self.limits.min_available() - waiting;
        if room <= 0 {
            return false;
        }
        let mut scaled = self.shrink_unavailable(pass, room);
        let mut room = self.sum(Version::available) - self.limits.min_available();
        for index in 0..self.old.len() {
            let held = self.old.get(index).map_or(0, Version::replicas);
            let step = held.min(room);
            if step > 0 {
                scaled |= self.resize_old(pass, index, held - step);
                room -= step;
            }
        }
        scaled
    }

    fn shrink_unavailable(&mut self, pass: &mut Pass<'_>, mut room: i64) -> bool {
        let mut scaled = false;
        for index in 0..self.old.len() {
            let Some(version) = self.old.get(index) else { continue };
            let held = version.replicas();
            let step = room.min(held - version.counted("availableReplicas"));
            if step > 0 {
                scaled |= self.resize_old(pass, index, held - step);
                room -= step;
            }
        }
        scaled
    }

    pub(super) fn resize_fresh(&mut self, pass: &mut Pass<'_>, replicas: i64) -> bool {
        let Some(mut version) = self.fresh.take() else { return false };
        let resized = self.resize(pass, &mut version, replicas);
        self.fresh = Some(version);
        resized
    }

    pub(super) fn resize_old(&mut self, pass: &mut Pass<'_>, index: usize, replicas: i64) -> bool {
        let Some(slot) = self.old.get_mut(index) else { return false };
        let mut version = Version { found: None, wanted: Value::Null };
        std::mem::swap(slot, &mut version);
        let resized = self.resize(pass, &mut version, replicas);
        if let Some(slot) = self.old.get_mut(index) {
            *slot = version;
        }
        resized
    }

    fn resize(&self, pass: &mut Pass<'_>, version: &mut Version, replicas: i64) -> bool {
        let held = version.replicas();
        if held == replicas {
            return false;
        }
        set(&mut version.wanted, "spec/replicas", json!(replicas));
        self.annotate(&mut version.wanted);
        let way = if replicas > held { "up" } else { "down" };
        let message =
            format!("Scaled {way} replica set {} from {held} to {replicas}", name(&version.wanted));
        pass.note(self.deployment, "ScalingReplicaSet", message);
        true
    }
}
