//! Checks a plan's inner consistency before it is saved: a planner's mistake is found here and not in a cluster.

use std::collections::{BTreeMap, BTreeSet};

use crate::change::Action;
use crate::object::ObjectRef;
use crate::order;
use crate::plan::{Driver, Plan, Rollout, Step, Wave};
use crate::site::ValidSite;
use crate::task;

/// What is wrong with a plan, one line each; empty when it is sound. Lines are for those who work on the planner: a plan
/// that is not sound is a defect of ours, never the documents'.
pub fn check(plan: &Plan, site: &ValidSite) -> Vec<String> {
    let mut notes = Vec::new();
    every_change_is_in_one_step(plan, &mut notes);
    let mut ids = BTreeSet::new();
    let mut names = BTreeSet::new();
    for wave in &plan.content.waves {
        if !names.insert(&wave.name) {
            notes.push(format!("wave {} occurs twice", wave.name));
        }
        if wave.steps.is_empty() {
            notes.push(format!("wave {} is empty", wave.name));
        }
        for step in &wave.steps {
            if !ids.insert(&step.id) {
                notes.push(format!("step {} occurs twice", step.id));
            }
            if let Some(rollout) = &step.rollout {
                groups_add_up(step, rollout, &mut notes);
            }
        }
        needs_are_sound(wave, &mut notes);
    }
    requirements_come_first(plan, site, &mut notes);
    notes
}

fn every_change_is_in_one_step(plan: &Plan, notes: &mut Vec<String>) {
    let mut times: BTreeMap<&ObjectRef, usize> = BTreeMap::new();
    let mut zones: BTreeMap<&String, usize> = BTreeMap::new();
    for (_, step) in plan.steps() {
        for object in step.objects() {
            // What goes offline is deleted by another step.
            let is_counted = !step.offline.contains(object);
            *times.entry(object).or_default() += usize::from(is_counted);
            if object.cluster != step.cluster {
                notes.push(format!("{object:?} is in step {} of another cluster", step.id));
            }
        }
        for zone in &step.zones {
            *zones.entry(zone).or_default() += 1;
        }
    }
    let changes = &plan.content.changes;
    for change in &changes.changes {
        let wanted = usize::from(change.action != Action::Keep);
        let found = times.remove(&change.object).unwrap_or(0);
        if found != wanted {
            notes.push(format!("{:?} is in {found} steps", change.object));
        }
    }
    notes.extend(times.keys().map(|object| format!("{object:?} is in a step without a change")));
    for zone in &changes.zones {
        let found = zones.remove(&zone.zone).unwrap_or(0);
        if found != 1 {
            notes.push(format!("zone {} is in {found} steps", zone.zone));
        }
    }
    notes.extend(zones.keys().map(|zone| format!("zone {zone} is in a step without a change")));
}

/// Steps stand after all that they need, which is in the same wave; so there is no cycle.
fn needs_are_sound(wave: &Wave, notes: &mut Vec<String>) {
    let mut before = BTreeSet::new();
    for step in &wave.steps {
        for need in step.needs.iter().filter(|need| !before.contains(*need)) {
            notes.push(format!("step {} needs {need}, which does not stand before it", step.id));
        }
        before.insert(&step.id);
    }
}

fn groups_add_up(step: &Step, rollout: &Rollout, notes: &mut Vec<String>) {
    let mut sum = 0;
    for (index, group) in rollout.groups.iter().enumerate() {
        sum += group.pods;
        if group.cumulative != sum {
            notes.push(format!(
                "step {}: group {} says {} pods so far",
                step.id,
                index + 1,
                group.cumulative
            ));
        }
        if group.pods == 0 && !matches!(rollout.driver, Driver::Whole | Driver::Drain) {
            notes.push(format!("step {}: group {} is empty", step.id, index + 1));
        }
    }
    if sum != rollout.replicas {
        notes.push(format!("step {}: groups have {sum} of {} pods", step.id, rollout.replicas));
    }
    if rollout.driver == Driver::Whole && rollout.groups.len() != 1 {
        notes.push(format!("step {}: applied whole, but in groups", step.id));
    }
}

/// In one cluster, nothing of a product is applied before what it requires there: not in an earlier wave, and in the same
/// wave only after it. Tests and deletions of what is required may come later.
fn requirements_come_first(plan: &Plan, site: &ValidSite, notes: &mut Vec<String>) {
    let needs = task::requires(site);
    let mut steps: BTreeMap<(&str, &str), Vec<(usize, &Step)>> = BTreeMap::new();
    let is_applied = |step: &Step| step.prune.is_empty() && step.offline.is_empty();
    for (wave, step) in plan.steps().filter(|(_, step)| is_applied(step)) {
        if let Some(product) = &step.product {
            steps.entry((product.as_str(), &step.cluster)).or_default().push((wave, step));
        }
    }
    for ((product, cluster), own) in &steps {
        for required in order::closure(&needs, product) {
            let Some(theirs) = steps.get(&(required.as_str(), *cluster)) else { continue };
            for (wave, step) in own {
                for (other_wave, other) in theirs {
                    let is_before =
                        other_wave < wave || (other_wave == wave && step.needs.contains(&other.id));
                    if !is_before {
                        notes.push(format!("step {} comes before {}", step.id, other.id));
                    }
                }
            }
        }
    }
}
