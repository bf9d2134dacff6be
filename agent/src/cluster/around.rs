//! What changes count on beside their own objects. Asked for only where something changes that needs it, and not again for a
//! while: a plan may wait for hours. A step looks again before it begins.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_core::autoscaler;
use tidegate_core::claim;
use tidegate_core::desired::DesiredObject;
use tidegate_core::diff::is_same_of_ours;
use tidegate_core::live::{Gap, Observation, Prediction, Storage, Surroundings};
use tidegate_core::need::{self, Need};
use tidegate_core::object::{Object, ObjectRef};
use tidegate_core::pod::is_finished;
use tokio::time::Instant;

use super::Cluster;
use super::observe::content;

/// How long an answer counts.
const REMEMBERED_FOR: Duration = Duration::from_mins(1);

/// More namespaces are not asked for one by one.
const MANY: usize = 8;

/// What was found around some changes.
pub(super) struct Around {
    asked: Asked,
    until: Instant,
    found: Surroundings,
}

/// What is to be looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Asked {
    /// Namespaces whose autoscalers count; empty for all of them.
    autoscalers: BTreeSet<String>,
    /// Claims that are not there yet.
    claims: Vec<Value>,
    /// Namespaces in which pods become more or larger.
    growing: BTreeSet<String>,
}

impl Asked {
    /// Whatever changes of what is there.
    fn of(desired: &[&DesiredObject], observed: &BTreeMap<ObjectRef, Observation>) -> Self {
        let mut asked = Self::default();
        for object in desired {
            let reference = &object.reference;
            let Some(observation) = observed.get(reference) else { continue };
            let is_scaled = reference.group == "apps"
                && matches!(reference.kind.as_str(), "Deployment" | "StatefulSet");
            if !(is_scaled || may_claim(reference)) || !changes(observation) {
                continue;
            }
            let (body, live) = (object.body(), observation.live());
            if may_claim(reference) && makes_claims(&body, live.as_ref()) {
                asked.claims.extend(claim::claims(&body).cloned());
            }
            if is_scaled {
                if !need::growth(&body, live.as_ref()).is_empty() {
                    asked.growing.insert(reference.namespace.clone());
                }
                if live.is_some() {
                    asked.autoscalers.insert(reference.namespace.clone());
                }
            }
        }
        // Few requests: of many namespaces all are asked for at once.
        for namespaces in [&mut asked.autoscalers, &mut asked.growing] {
            if namespaces.len() > MANY {
                *namespaces = BTreeSet::from([String::new()]);
            }
        }
        asked
    }
}

/// Whether a node is ready, and keeps nobody away.
fn takes_any_pod(node: &Object) -> bool {
    let is_ready =
        node.condition("Ready").and_then(|it| it.get("status")?.as_str()) == Some("True");
    let is_closed = node.get("/spec/unschedulable") == Some(&Value::Bool(true));
    let taints = node.get("/spec/taints").and_then(Value::as_array);
    let keeps_away =
        |taint: &Value| taint.get("effect").and_then(Value::as_str) != Some("PreferNoSchedule");
    is_ready && !is_closed && !taints.into_iter().flatten().any(keeps_away)
}

fn may_claim(reference: &ObjectRef) -> bool {
    matches!(reference.kind.as_str(), "PersistentVolumeClaim" | "StatefulSet")
}

/// Whether claims are made that are not there yet.
fn makes_claims(body: &Object, live: Option<&Object>) -> bool {
    live.is_none_or(|live| live.kind() == "StatefulSet" && body.replicas() > live.replicas())
}

/// Whether an apply would change anything.
fn changes(observation: &Observation) -> bool {
    match &observation.predicted {
        Prediction::Exact(predicted) => observation.live().is_none_or(|live| {
            let predicted = predicted.read();
            content(&live) != content(&predicted) && !is_same_of_ours(&live, &predicted)
        }),
        Prediction::Simulated(_) | Prediction::Unverified(..) => true,
        Prediction::NotDesired | Prediction::InPlace | Prediction::Refused(_) => false,
    }
}

impl Cluster {
    /// What is around the changes.
    pub(super) async fn surroundings(
        &self,
        desired: &[&DesiredObject],
        observed: &BTreeMap<ObjectRef, Observation>,
    ) -> Surroundings {
        let asked = Asked::of(desired, observed);
        if asked == Asked::default() {
            return Surroundings::default();
        }
        if let Some(known) = self.known_around(&asked) {
            return known;
        }
        let mut found = Surroundings::default();
        for namespace in &asked.autoscalers {
            let kind = (autoscaler::API_VERSION, autoscaler::KIND);
            match self.all_of(kind, namespace).await {
                Ok(objects) => found.autoscalers.extend(objects),
                Err(gap) => {
                    found.unknown.entry("horizontalpodautoscalers".to_owned()).or_insert(gap);
                }
            }
        }
        if !asked.claims.is_empty() {
            match self.storage(&asked.claims).await {
                Ok(storage) => found.storage = Some(storage),
                Err((what, gap)) => {
                    found.unknown.insert(what.to_owned(), gap);
                }
            }
        }
        for namespace in &asked.growing {
            match self.all_of(("v1", "ResourceQuota"), namespace).await {
                Ok(objects) => found.quotas.extend(objects),
                Err(gap) => {
                    found.unknown.entry("resourcequotas".to_owned()).or_insert(gap);
                }
            }
        }
        if !asked.growing.is_empty() {
            match self.free().await {
                Ok(free) => found.free = Some(free),
                Err((what, gap)) => {
                    found.unknown.insert(what.to_owned(), gap);
                }
            }
        }
        let until = Instant::now() + REMEMBERED_FOR;
        let around = Around { asked, until, found: found.clone() };
        *self.around.lock().unwrap_or_else(PoisonError::into_inner) = Some(around);
        found
    }

    /// What is free on nodes that take any pod.
    async fn free(&self) -> Result<BTreeMap<String, Need>, (&'static str, Gap)> {
        let all = async |what, kind| -> Result<Vec<Object>, _> {
            let found = self.all_of(("v1", kind), "").await.map_err(|gap| (what, gap))?;
            Ok(found.into_values().collect())
        };
        let nodes = all("nodes", "Node").await?;
        let nodes = nodes.iter().filter(|node| takes_any_pod(node));
        let mut free: BTreeMap<String, Need> =
            nodes.map(|node| (node.name().to_owned(), Need::of_node(node))).collect();
        for pod in all("pods", "Pod").await? {
            let spec = pod.get("/spec").filter(|_| !is_finished(&pod));
            if let Some((room, spec)) = free.get_mut(pod.text("/spec/nodeName")).zip(spec) {
                *room = room.without(&Need::of_pod(spec));
            }
        }
        Ok(free)
    }

    /// Classes; and volumes, of which there may be very many, only where a class is missing.
    async fn storage(&self, claims: &[Value]) -> Result<Storage, (&'static str, Gap)> {
        let all = async |what, kind| -> Result<Vec<Object>, _> {
            let found = self.all_of(kind, "").await.map_err(|gap| (what, gap))?;
            Ok(found.into_values().collect())
        };
        let classes = all("storageclasses", ("storage.k8s.io/v1", "StorageClass")).await?;
        let volumes = if claims.iter().all(|own| claim::is_made(own, classes.iter())) {
            Vec::new()
        } else {
            all("persistentvolumes", ("v1", "PersistentVolume")).await?
        };
        Ok(Storage { classes, volumes })
    }

    fn known_around(&self, asked: &Asked) -> Option<Surroundings> {
        let known = self.around.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.as_ref().filter(|it| it.asked == *asked && Instant::now() < it.until);
        known.map(|known| known.found.clone())
    }

    /// All objects of a kind in a namespace, or in the cluster when it is empty.
    async fn all_of(
        &self,
        (api_version, kind): (&str, &str),
        namespace: &str,
    ) -> Result<BTreeMap<ObjectRef, Object>, Gap> {
        let Some(served) = self.kinds.readable(api_version, kind).await? else {
            return Ok(BTreeMap::new());
        };
        let items: Vec<Object> =
            self.list(&served.path(namespace, None)).await.map_err(|error| error.gap())?;
        let group = tidegate_core::object::group_of(api_version);
        let whole = items.into_iter().map(|mut item| {
            item.set(&["apiVersion"], json!(served.api_version));
            item.set(&["kind"], json!(kind));
            (self.reference(group, kind, &item), item)
        });
        Ok(whole.collect())
    }
}
