//! What nobody wants any more and what is in it: of a namespace its content, of a definition the objects of its kind.
//!
//! While that alone keeps it, the list is remembered for a while: nothing else of the site waits for it, and a site at rest
//! asks nothing. What would go with the next plan is listed anew each time.

use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use tidegate_core::diff::claims;
use tidegate_core::live::{ClusterObservation, Gap, LiveObject, Observation, Prediction};
use tidegate_core::object::{Object, ObjectRef, SITE_LABEL};
use tokio::time::Instant;

use super::Cluster;
use super::observe::{CLAIM, DEFINITION, NOT_LISTED, is_namespace, observed, version};

/// How long a list is remembered: so long after the last of what kept it is gone, its end is planned.
const REMEMBERED_FOR: Duration = Duration::from_mins(10);

/// What was found in something that stays for it.
#[derive(Clone)]
pub(super) struct Kept {
    /// Of the live object; another one is looked into anew.
    version: String,
    until: Instant,
    holds: Vec<ObjectRef>,
    warnings: Vec<String>,
}

impl Cluster {
    /// Observes what is ours and nobody wants any more.
    pub(super) async fn observe_unwanted(
        &self,
        reference: &ObjectRef,
        live: Option<LiveObject>,
    ) -> Result<Observation, Gap> {
        let mut observation = observed(live, Prediction::NotDesired);
        let Some(live) = observation.live.as_ref() else { return Ok(observation) };
        let version = version(live);
        let known = self.remembered().get(reference).cloned();
        if let Some(known) = known.filter(|it| it.version == version && Instant::now() < it.until) {
            (observation.holds, observation.warnings) = (known.holds, known.warnings);
            return Ok(observation);
        }
        let is_kept = if is_namespace(reference) {
            let (holds, unlisted) = self.contents(reference).await?;
            observation.holds = holds;
            if !unlisted.is_empty() {
                observation.warnings.push(format!("{NOT_LISTED}: {}", unlisted.join(", ")));
            }
            observation.holds.iter().any(|it| it.kind == CLAIM && it.group.is_empty())
        } else if reference.kind == DEFINITION {
            let instances = self.instances(&live.read()).await?;
            let is_others = |it: &Object| it.label(SITE_LABEL) != Some(self.watches.site());
            let is_kept = instances.iter().any(|(_, object)| is_others(object));
            observation.holds = instances.into_iter().map(|(reference, _)| reference).collect();
            is_kept
        } else {
            false
        };
        let kept = is_kept.then(|| Kept {
            version,
            until: Instant::now() + REMEMBERED_FOR,
            holds: observation.holds.clone(),
            warnings: observation.warnings.clone(),
        });
        match kept {
            Some(kept) => self.remembered().insert(reference.clone(), kept),
            None => self.remembered().remove(reference),
        };
        Ok(observation)
    }

    /// Adds the claims that sets leave behind which nobody wants any more. A set of which they cannot be listed is not
    /// observed: nobody could tell what becomes of its data.
    pub(super) async fn add_claims(&self, unwanted: &[ObjectRef], into: &mut ClusterObservation) {
        for reference in unwanted.iter().filter(|it| claims::is_set(it)) {
            let Some(set) = into.objects.get(reference).and_then(Observation::live) else {
                continue;
            };
            if claims::templates(&set).is_empty() {
                continue;
            }
            match self.claims_of(&set).await {
                Ok(found) => {
                    let names = found.iter().map(|(claim, _)| claim.clone()).collect();
                    if let Some(own) = into.objects.get_mut(reference) {
                        own.holds = names;
                    }
                    for (claim, live) in found {
                        let live = LiveObject::new(&live);
                        let seen = || observed(Some(live), Prediction::NotDesired);
                        into.objects.entry(claim).or_insert_with(seen);
                    }
                }
                Err(gap) => {
                    into.objects.remove(reference);
                    into.gaps.insert(reference.clone(), gap);
                }
            }
        }
    }

    async fn claims_of(&self, set: &Object) -> Result<Vec<(ObjectRef, Object)>, Gap> {
        let path = format!("/api/v1/namespaces/{}/persistentvolumeclaims", set.namespace());
        let found: Vec<Object> = self.list(&path).await.map_err(|error| error.gap())?;
        let own = found.into_iter().filter(|it| claims::ordinal(set, it.name()).is_some());
        Ok(own.map(|claim| (self.reference("", CLAIM, &claim), claim)).collect())
    }

    fn remembered(&self) -> MutexGuard<'_, BTreeMap<ObjectRef, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
