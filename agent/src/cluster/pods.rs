//! Pods of workloads: watched while a release is under way, and listed where something is decided by them.
//!
//! A release looks at its pods twice a second, and there may be thousands. A watch costs what changes. It may lag, or stand
//! still without anybody noticing, so it is for waiting: what opens or ends anything is decided by a list.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::api::Api;
use kube::runtime::{WatchStreamExt, watcher};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tidegate_core::live::{ClusterObservation, Gap};
use tidegate_core::object::{Object, ObjectRef, SITE_LABEL};
use tidegate_core::pod::{Pod, VersionedPod};
use tokio::sync::watch as signal;

use super::api;
use super::{Cluster, WIDTH};

/// From so many workloads of one namespace on, all its pods are listed at once.
const MANY_WORKLOADS: usize = 4;

/// How long a watch may take to have seen everything; pods are listed until then.
const FIRST_SYNC: Duration = Duration::from_secs(10);

/// The label by which the controller marks a Job's pods (Kubernetes, "Jobs").
pub(super) const JOB_NAME: &str = "job-name";

/// By whom pods are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// By the watch, where it has them: to wait by.
    ByWatch,
    /// By the server, now: to decide by.
    ByServer,
}

/// By namespace and name.
type Pods = BTreeMap<String, BTreeMap<String, Pod>>;

/// The watch over the site's pods, while there is one.
#[derive(Default)]
pub(super) struct PodWatch(Mutex<Option<Watching>>);

struct Watching {
    /// `None` while the watch has not seen everything.
    seen: Arc<Mutex<Option<Pods>>>,
    tried: signal::Receiver<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl PodWatch {
    fn end(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Watches, if nobody does yet, and waits until everything was seen or cannot be.
    async fn seen(
        &self,
        client: &kube::Client,
        site: &str,
        changed: Arc<signal::Sender<u64>>,
    ) -> Arc<Mutex<Option<Pods>>> {
        let (seen, mut tried) = {
            let mut own = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let watching = own.get_or_insert_with(|| watch(client.clone(), site, changed));
            (Arc::clone(&watching.seen), watching.tried.clone())
        };
        // Slow to start: pods are listed then.
        let _is_in_time = tokio::time::timeout(FIRST_SYNC, tried.wait_for(|tried| *tried)).await;
        seen
    }
}

/// A pod as the watch has it read: of its metadata only what a watch goes by.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "VersionedPod")]
struct WatchedPod {
    metadata: ObjectMeta,
    pod: Pod,
}

impl From<VersionedPod> for WatchedPod {
    fn from(VersionedPod { pod, resource_version }: VersionedPod) -> Self {
        let metadata = ObjectMeta {
            namespace: Some(pod.namespace.clone()),
            name: Some(pod.name.clone()),
            resource_version: Some(resource_version),
            ..ObjectMeta::default()
        };
        Self { metadata, pod }
    }
}

impl Resource for WatchedPod {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "Pod".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "pods".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

fn watch(client: kube::Client, site: &str, changed: Arc<signal::Sender<u64>>) -> Watching {
    let api: Api<WatchedPod> = Api::all(client);
    let config = watcher::Config::default().labels(&format!("{SITE_LABEL}={site}"));
    let seen = Arc::new(Mutex::new(None));
    let (tried_sender, tried) = signal::channel(false);
    let own_seen = Arc::clone(&seen);
    let task = tokio::spawn(async move {
        let mut events = watcher(api, config).default_backoff().boxed();
        let mut building = Pods::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    if fold(&own_seen, &mut building, event) {
                        tried_sender.send_replace(true);
                        changed.send_modify(|count| *count += 1);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "the watch over pods broke; they are listed until it is taken up again");
                    *own_seen.lock().unwrap_or_else(PoisonError::into_inner) = None;
                    tried_sender.send_replace(true);
                }
            }
        }
    });
    Watching { seen, tried, task }
}

/// Folds one event; says whether everything has been seen by now.
fn fold(
    seen: &Mutex<Option<Pods>>,
    building: &mut Pods,
    event: watcher::Event<WatchedPod>,
) -> bool {
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let put = |pods: &mut Pods, WatchedPod { pod, .. }: WatchedPod| {
        pods.entry(pod.namespace.clone()).or_default().insert(pod.name.clone(), pod);
    };
    match event {
        watcher::Event::Init => building.clear(),
        watcher::Event::InitApply(pod) => put(building, pod),
        watcher::Event::InitDone => *seen = Some(std::mem::take(building)),
        watcher::Event::Apply(pod) => {
            if let Some(pods) = seen.as_mut() {
                put(pods, pod);
            }
        }
        watcher::Event::Delete(WatchedPod { pod, .. }) => {
            if let Some(pods) = seen.as_mut().and_then(|pods| pods.get_mut(&pod.namespace)) {
                pods.remove(&pod.name);
            }
        }
    }
    seen.is_some()
}

impl Cluster {
    /// The pods that workloads select.
    ///
    /// # Errors
    ///
    /// A gap when the server cannot say.
    pub async fn pods(
        &self,
        workloads: &[(&ObjectRef, &Object)],
        told: Told,
    ) -> Result<BTreeMap<ObjectRef, Vec<Pod>>, Gap> {
        let asked = workloads.iter().filter_map(|(reference, workload)| {
            Some(Asked { reference, workload, selection: Selection::of(workload)? })
        });
        let is_watched =
            |one: &Asked<'_>| told == Told::ByWatch && one.is_watched(self.watches.site());
        let (watched, asked): (Vec<_>, Vec<_>) = asked.partition(is_watched);
        let (mut found, unseen) = self.watched(watched).await;
        for (reference, _) in workloads.iter().filter(|(reference, _)| reference.is_node()) {
            found.insert((*reference).clone(), self.pods_on(&reference.name).await?);
        }
        let mut by_namespace: BTreeMap<&str, Vec<Asked<'_>>> = BTreeMap::new();
        for one in asked.into_iter().chain(unseen) {
            by_namespace.entry(one.workload.namespace()).or_default().push(one);
        }
        let mut lists = Vec::new();
        for (namespace, workloads) in &by_namespace {
            if workloads.len() >= MANY_WORKLOADS {
                lists.push((*namespace, String::new(), workloads.as_slice()));
            } else {
                lists.extend(workloads.chunks(1).map(|one| {
                    let selector = one.iter().map(|one| one.selection.text()).collect();
                    (*namespace, selector, one)
                }));
            }
        }
        let sent: Vec<BoxFuture<'_, _>> = lists
            .into_iter()
            .map(|(namespace, selector, workloads)| {
                async move { (self.pods_of(namespace, &selector).await, workloads) }.boxed()
            })
            .collect();
        let answers: Vec<_> = futures::stream::iter(sent).buffer_unordered(WIDTH).collect().await;
        for (pods, workloads) in answers {
            let pods: Vec<Pod> = pods?;
            found.extend(workloads.iter().map(|one| (one.reference.clone(), one.own(&pods))));
        }
        Ok(found)
    }

    /// Pods are not looked at for now.
    pub fn end_watch_over_pods(&self) {
        self.pods.end();
    }

    /// Pods of workloads as the watch has them; while it has not seen everything, the workloads come back.
    async fn watched<'a>(
        &self,
        workloads: Vec<Asked<'a>>,
    ) -> (BTreeMap<ObjectRef, Vec<Pod>>, Vec<Asked<'a>>) {
        if workloads.is_empty() {
            return (BTreeMap::new(), workloads);
        }
        let seen = self.pods.seen(&self.client, self.watches.site(), self.watches.changed()).await;
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(seen) = seen.as_ref() else { return (BTreeMap::new(), workloads) };
        let own = |one: &Asked<'a>| {
            let there = seen.get(one.workload.namespace());
            let pods = there.map(|pods| one.own(pods.values())).unwrap_or_default();
            (one.reference.clone(), pods)
        };
        (workloads.iter().map(own).collect(), Vec::new())
    }

    /// The pods of nodes that are to be emptied, added to what was observed; of nodes that are not there none.
    pub async fn add_nodes(&self, nodes: &[String], into: &mut ClusterObservation) {
        for node in nodes {
            let is_there = into.objects.iter().any(|(reference, observation)| {
                reference.is_node() && reference.name == *node && observation.live.is_some()
            });
            if !is_there {
                continue;
            }
            match self.pods_on(node).await {
                Ok(pods) => {
                    into.around.nodes.insert(node.clone(), pods);
                }
                Err(gap) => {
                    into.around.unknown.insert("pods".to_owned(), gap);
                }
            }
        }
    }

    /// All pods of a node.
    async fn pods_on(&self, node: &str) -> Result<Vec<Pod>, Gap> {
        let query = api::query(&[("fieldSelector", &format!("spec.nodeName={node}"))]);
        self.list(&format!("/api/v1/pods{query}")).await.map_err(|error| error.gap())
    }

    /// Pods of a namespace by a label selector; all when it is empty.
    pub(super) async fn pods_of<T: DeserializeOwned>(
        &self,
        namespace: &str,
        selector: &str,
    ) -> Result<Vec<T>, Gap> {
        let query = match selector {
            "" => String::new(),
            selector => api::query(&[("labelSelector", selector)]),
        };
        let path = format!("/api/v1/namespaces/{namespace}/pods{query}");
        self.list(&path).await.map_err(|error| error.gap())
    }
}

/// A workload whose pods are asked for.
struct Asked<'a> {
    reference: &'a ObjectRef,
    workload: &'a Object,
    selection: Selection,
}

impl Asked<'_> {
    /// Whether its pods carry the site's label: those of apps do, those of plain manifests most often do not.
    fn is_watched(&self, site: &str) -> bool {
        let labels = self.workload.get("/spec/template/metadata/labels");
        labels.and_then(|it| it.get(SITE_LABEL)).and_then(Value::as_str) == Some(site)
    }

    fn own<'p>(&self, pods: impl IntoIterator<Item = &'p Pod>) -> Vec<Pod> {
        pods.into_iter().filter(|pod| self.selection.has(pod, self.workload)).cloned().collect()
    }
}

/// How a workload's pods are known: by labels, and those of a Job by their owner too, as a Job's predecessor of the same
/// name may have pods left.
struct Selection(BTreeMap<String, String>);

impl Selection {
    /// `None` for what has no pods.
    fn of(workload: &Object) -> Option<Self> {
        match workload.get("/spec/selector/matchLabels").and_then(Value::as_object) {
            Some(labels) if !labels.is_empty() => {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let labels = labels.iter().map(|(name, value)| (name.clone(), text(value)));
                Some(Self(labels.collect()))
            }
            // A Job's selector is made by its controller; the label is what it puts on its pods.
            _ if workload.kind() == "Job" => {
                Some(Self([(JOB_NAME.to_owned(), workload.name().to_owned())].into()))
            }
            _ => None,
        }
    }

    /// As a label selector of the API.
    fn text(&self) -> String {
        self.0.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
    }

    fn has(&self, pod: &Pod, workload: &Object) -> bool {
        self.0.iter().all(|(name, value)| pod.labels.get(name) == Some(value))
            && (workload.kind() != "Job" || pod.owner_uid == workload.uid())
    }
}
