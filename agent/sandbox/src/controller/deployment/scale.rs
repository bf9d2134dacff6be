//! Changing a Deployment's size outside of, or in the middle of, a rollout: in proportion to what each version has.

use std::cmp::Reverse;

use super::super::object::{annotation, number, text};
use super::super::pass::Pass;
use super::{DESIRED, MAXIMUM, Rollout, Version};

/// Names one of a rollout's replica sets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Old(usize),
    Fresh,
}

impl Rollout<'_> {
    /// Whether the Deployment's size has changed since its active replica sets were sized.
    pub(super) fn is_scaling(&self) -> bool {
        self.versions().filter(|version| version.replicas() > 0).any(|version| {
            annotation(&version.wanted, DESIRED)
                .and_then(|desired| desired.parse::<i64>().ok())
                .is_some_and(|desired| desired != self.limits.replicas)
        })
    }

    pub(super) fn scale(&mut self, pass: &mut Pass<'_>) {
        let active = self.active();
        if active.len() <= 1 {
            let only = active.first().copied().or_else(|| self.latest());
            if let Some(only) = only {
                self.resize_at(pass, only, self.limits.replicas);
            }
            return;
        }
        if self.is_saturated() {
            for index in 0..self.old.len() {
                self.resize_old(pass, index, 0);
            }
            return;
        }
        if !self.limits.recreates {
            self.scale_in_proportion(pass, active);
        }
    }

    fn active(&self) -> Vec<Place> {
        let old = (0..self.old.len()).map(Place::Old);
        let all = old.chain(self.fresh.as_ref().map(|_| Place::Fresh));
        all.filter(|place| self.at(*place).is_some_and(|version| version.replicas() > 0)).collect()
    }

    fn latest(&self) -> Option<Place> {
        if self.fresh.is_some() {
            return Some(Place::Fresh);
        }
        self.old.len().checked_sub(1).map(Place::Old)
    }

    fn at(&self, place: Place) -> Option<&Version> {
        match place {
            Place::Old(index) => self.old.get(index),
            Place::Fresh => self.fresh.as_ref(),
        }
    }

    fn resize_at(&mut self, pass: &mut Pass<'_>, place: Place, replicas: i64) {
        match place {
            Place::Old(index) => self.resize_old(pass, index, replicas),
            Place::Fresh => self.resize_fresh(pass, replicas),
        };
    }

    /// Whether the current replica set has all the pods and all of them are available.
    fn is_saturated(&self) -> bool {
        self.fresh.as_ref().is_some_and(|fresh| {
            let desired =
                annotation(&fresh.wanted, DESIRED).and_then(|desired| desired.parse().ok());
            fresh.replicas() == self.limits.replicas
                && desired == Some(self.limits.replicas)
                && fresh.counted("availableReplicas") == self.limits.replicas
        })
    }

    fn scale_in_proportion(&mut self, pass: &mut Pass<'_>, mut places: Vec<Place>) {
        let total: i64 = self.sum(Version::replicas);
        let allowed =
            if self.limits.replicas > 0 { self.limits.replicas + self.limits.surge } else { 0 };
        let change = allowed - total;
        let created = |place: &Place| {
            self.at(*place)
                .map(|version| text(&version.wanted, "metadata/creationTimestamp").to_owned())
                .unwrap_or_default()
        };
        let size = |place: &Place| self.at(*place).map_or(0, Version::replicas);
        if change > 0 {
            places.sort_by_cached_key(|place| Reverse((size(place), created(place))));
        } else {
            places.sort_by_cached_key(|place| (Reverse(size(place)), created(place)));
        }
        let mut added = 0;
        let mut sizes = Vec::new();
        for place in places {
            let share = self.at(place).map_or(0, |version| self.share(version, change, added));
            sizes.push((place, size(&place) + share));
            added += share;
        }
        if let Some((_, largest)) = sizes.first_mut() {
            *largest = (*largest + change - added).max(0);
        }
        for (place, replicas) in sizes {
            self.resize_at(pass, place, replicas);
            self.annotate_at(place);
        }
    }

    /// Every replica set that took part notes the new size, or the change would be made again.
    fn annotate_at(&mut self, place: Place) {
        let version = match place {
            Place::Old(index) => self.old.get(index),
            Place::Fresh => self.fresh.as_ref(),
        };
        let Some(mut wanted) = version.map(|version| version.wanted.clone()) else { return };
        self.annotate(&mut wanted);
        let version = match place {
            Place::Old(index) => self.old.get_mut(index),
            Place::Fresh => self.fresh.as_mut(),
        };
        if let Some(version) = version {
            version.wanted = wanted;
        }
    }

    /// A version's part of the change, rounded, and never more than what is left of it.
    fn share(&self, version: &Version, change: i64, added: i64) -> i64 {
        let held = version.replicas();
        if held == 0 || change == 0 || change == added {
            return 0;
        }
        let fraction = if self.limits.replicas == 0 {
            -held
        } else {
            let before = annotation(&version.wanted, MAXIMUM)
                .and_then(|maximum| maximum.parse::<i64>().ok())
                .or_else(|| number(self.deployment, "status/replicas"))
                .filter(|maximum| *maximum > 0)
                .unwrap_or(1);
            let product = held * (self.limits.replicas + self.limits.surge);
            (product * 2 + before) / (before * 2) - held
        };
        let left = change - added;
        if change > 0 { fraction.min(left) } else { fraction.max(left) }
    }
}
