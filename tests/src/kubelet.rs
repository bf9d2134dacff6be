//! A fake kubelet, scheduler, volume provisioner and load balancer for a control plane that has none of them.
//!
//! What a pod does is decided by its images' tags, with the same words as in the sandbox (see [`life`]). Watches drive
//! everything. As in Kubernetes it leaves alone pods of other schedulers and pods on nodes that are not there. Not here: pods of
//! static manifests, probes, resource requests, logs.

pub mod life;
pub mod placement;

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered, select_all};
use futures::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod, Service};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::watcher;
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

use life::Step;

/// The scheduler that this one is; it is what pods ask for that ask for none.
const SCHEDULER: &str = "default-scheduler";
/// After how long a step that failed is taken again.
const AGAIN: Duration = Duration::from_millis(200);

/// Why the kubelet ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The nodes could not be made.
    #[error("failed to create node {name}")]
    Node {
        /// The node's name.
        name: String,
        /// Why.
        source: kube::Error,
    },
    /// The watches ended, which they do only with the client.
    #[error("the watches ended")]
    Ended,
}

/// A pod's namespace and name.
type PodName = (String, String);

/// Something that happened.
enum Event {
    Pod(Box<Pod>),
    PodGone(PodName),
    Node(Box<Node>),
    Claim(Box<PersistentVolumeClaim>),
    Service(Box<Service>),
}

/// A step that was carried out, and for which pod.
struct Done {
    pod: PodName,
    uid: String,
    result: Result<(), kube::Error>,
}

struct Kubelet {
    client: Client,
    pods: BTreeMap<PodName, Pod>,
    /// Where each pod was bound, before the watch tells.
    bound: BTreeMap<PodName, String>,
    nodes: BTreeMap<String, Node>,
    /// By namespace and name, whether the claim is bound.
    claims: BTreeMap<(String, String), bool>,
    /// The step that each pod waits for, by uid, so that no event starts it twice.
    under_way: BTreeMap<String, String>,
    steps: FuturesUnordered<BoxFuture<'static, Done>>,
    addresses: u8,
}

/// Creates the nodes `node-1` to `node-N`, says so, and serves them until it is dropped.
pub async fn run(
    client: Client,
    nodes: usize,
    ready: std::sync::mpsc::Sender<()>,
) -> Result<std::convert::Infallible, Error> {
    // Known before the first pod is placed, and not only when the watch tells of them.
    let mut known = BTreeMap::new();
    for number in 1..=nodes {
        let name = format!("node-{number}");
        known.insert(name.clone(), create_node(&client, &name).await?);
    }
    if ready.send(()).is_err() {
        // Nobody waits for it any more, and nobody needs the pods.
        return Err(Error::Ended);
    }
    let mut events = watch(&client);
    let mut kubelet = Kubelet {
        client,
        pods: BTreeMap::new(),
        bound: BTreeMap::new(),
        nodes: known,
        claims: BTreeMap::new(),
        under_way: BTreeMap::new(),
        steps: FuturesUnordered::new(),
        addresses: 0,
    };
    loop {
        tokio::select! {
            event = events.next() => kubelet.handle(event.ok_or(Error::Ended)?).await,
            Some(done) = kubelet.steps.next() => kubelet.finish(done),
        }
    }
}

fn watch(client: &Client) -> BoxStream<'static, Event> {
    let config = watcher::Config::default;
    let pods = watcher(Api::<Pod>::all(client.clone()), config());
    let nodes = watcher(Api::<Node>::all(client.clone()), config());
    let claims = watcher(Api::<PersistentVolumeClaim>::all(client.clone()), config());
    let services = watcher(Api::<Service>::all(client.clone()), config());
    // Errors are of the connection; the watcher tries again by itself.
    let pods = pods.filter_map(async |event| match event.ok()? {
        watcher::Event::Apply(pod) | watcher::Event::InitApply(pod) => Some(Event::Pod(pod.into())),
        watcher::Event::Delete(pod) => Some(Event::PodGone(pod_name(&pod))),
        watcher::Event::Init | watcher::Event::InitDone => None,
    });
    let nodes = nodes.filter_map(async |event| applied(event.ok()?).map(|n| Event::Node(n.into())));
    let claims =
        claims.filter_map(async |event| applied(event.ok()?).map(|c| Event::Claim(c.into())));
    let services =
        services.filter_map(async |event| applied(event.ok()?).map(|s| Event::Service(s.into())));
    select_all([pods.boxed(), nodes.boxed(), claims.boxed(), services.boxed()]).boxed()
}

fn applied<K>(event: watcher::Event<K>) -> Option<K> {
    match event {
        watcher::Event::Apply(object) | watcher::Event::InitApply(object) => Some(object),
        watcher::Event::Delete(_) | watcher::Event::Init | watcher::Event::InitDone => None,
    }
}

impl Kubelet {
    async fn handle(&mut self, event: Event) {
        match event {
            Event::Pod(pod) => {
                let name = pod_name(&pod);
                self.pods.insert(name.clone(), *pod);
                self.advance(&name);
            }
            Event::PodGone(name) => {
                if let Some(uid) = self.pods.remove(&name).and_then(|pod| pod.uid()) {
                    self.under_way.remove(&uid);
                }
                self.bound.remove(&name);
            }
            Event::Node(node) => {
                self.nodes.insert(node.name_any(), *node);
                for name in self.pods.keys().cloned().collect::<Vec<_>>() {
                    self.advance(&name);
                }
            }
            Event::Claim(claim) => self.serve_claim(&claim).await,
            Event::Service(service) => self.serve_service(&service).await,
        }
    }

    /// Pods that could not be placed before may be now.
    fn advance_unbound(&mut self) {
        let unbound =
            |(name, pod): (&PodName, &Pod)| (node_of(pod).is_none()).then(|| name.clone());
        for name in self.pods.iter().filter_map(unbound).collect::<Vec<_>>() {
            self.advance(&name);
        }
    }

    /// Starts the pod's next step, unless it is under way.
    fn advance(&mut self, name: &PodName) {
        let Some(pod) = self.pods.get(name) else { return };
        let Some(uid) = pod.uid() else { return };
        let next = match node_of(pod) {
            Some(node) if !self.nodes.contains_key(node) => None,
            Some(_) => life::next(pod, Timestamp::now()),
            None if pod.metadata.deletion_timestamp.is_some() || !is_for_us(pod) => None,
            None => self.place(name, pod),
        };
        let Some(next) = next else { return };
        if self.under_way.get(&uid) == Some(&next.marker) {
            return;
        }
        if let Step::Bind(node) = &next.step {
            self.bound.insert(name.clone(), node.clone());
        }
        self.under_way.insert(uid.clone(), next.marker);
        let (client, name) = (self.client.clone(), name.clone());
        let step = async move {
            tokio::time::sleep(next.after).await;
            let result = carry_out(client, &name, &uid, next.step).await;
            if result.is_err() {
                tokio::time::sleep(AGAIN).await;
            }
            Done { pod: name, uid, result }
        };
        self.steps.push(step.boxed());
    }

    fn place(&self, name: &PodName, pod: &Pod) -> Option<life::Next> {
        // A pod that is bound and not yet seen so: the watch is behind.
        if self.bound.contains_key(name) {
            return None;
        }
        let is_bound =
            |claim: &str| self.claims.get(&(name.0.clone(), claim.to_owned())) == Some(&true);
        if !placement::claims(pod).all(is_bound) {
            return life::unschedulable(pod, "pod has unbound immediate PersistentVolumeClaims");
        }
        let placed = self.pods.iter().filter_map(|(other, pod)| {
            let node = node_of(pod).or_else(|| self.bound.get(other).map(String::as_str))?;
            Some((pod, node))
        });
        match placement::choose(pod, self.nodes.values(), placed) {
            Some(node) => Some(life::Next::at_once("bind", Step::Bind(node.to_owned()))),
            None => life::unschedulable(pod, "no node fits the pod"),
        }
    }

    /// A step that failed is taken again for as long as the pod is there.
    fn finish(&mut self, done: Done) {
        let Err(error) = done.result else { return };
        self.bound.remove(&done.pod);
        self.under_way.remove(&done.uid);
        report(&format!("serve pod {:?}", done.pod), &error);
        self.advance(&done.pod);
    }

    /// Makes a volume for a claim that has none, but for those of the class `nobody`; the volume controller binds the two.
    async fn serve_claim(&mut self, claim: &PersistentVolumeClaim) {
        let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
        let spec = claim.spec.as_ref();
        let class = spec.and_then(|spec| spec.storage_class_name.as_deref());
        let name = (claim.namespace().unwrap_or_default(), claim.name_any());
        self.claims.insert(name, phase == Some("Bound"));
        if phase == Some("Bound") {
            self.advance_unbound();
        } else if phase == Some("Pending")
            && claim.metadata.deletion_timestamp.is_none()
            && class != Some("nobody")
        {
            let volume = volume_for(claim);
            let volumes = Api::<PersistentVolume>::all(self.client.clone());
            if let Err(error) = volumes.create(&PostParams::default(), &volume).await {
                report("create a volume", &error);
            }
        }
    }

    /// Gives a load balancer its address.
    async fn serve_service(&mut self, service: &Service) {
        let spec = service.spec.as_ref();
        let asked = spec.and_then(|spec| spec.load_balancer_ip.clone());
        let has_address =
            service.status.as_ref().and_then(|status| status.load_balancer.as_ref()).is_some_and(
                |balancer| balancer.ingress.as_ref().is_some_and(|list| !list.is_empty()),
            );
        if spec.and_then(|spec| spec.type_.as_deref()) != Some("LoadBalancer") || has_address {
            return;
        }
        let address = asked.unwrap_or_else(|| {
            // From the range for documentation, RFC 5737.
            self.addresses = self.addresses % 254 + 1;
            format!("203.0.113.{}", self.addresses)
        });
        let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": address}]}}});
        let namespace = service.namespace().unwrap_or_default();
        let services = Api::<Service>::namespaced(self.client.clone(), &namespace);
        let patch = Patch::Merge(&status);
        let result =
            services.patch_status(&service.name_any(), &PatchParams::default(), &patch).await;
        if let Err(error) = result {
            report("give a service its address", &error);
        }
    }
}

/// Tells of failures other than those of races with a test.
fn report(what: &str, error: &kube::Error) {
    if !is_a_race(error) {
        crate::real_cluster::say(&format!("the fake kubelet failed to {what}: {error}"));
    }
}

/// The object changed or went meanwhile, a namesake of it came, or its namespace is going.
fn is_a_race(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    let mut causes = status.details.iter().flat_map(|details| &details.causes);
    matches!(status.code, 404 | 409)
        || causes
            .any(|cause| cause.reason == "NamespaceTerminating" || cause.field == "metadata.uid")
}

async fn carry_out(
    client: Client,
    (namespace, name): &PodName,
    uid: &str,
    step: Step,
) -> Result<(), kube::Error> {
    let pods = Api::<Pod>::namespaced(client, namespace);
    match step {
        Step::Bind(node) => {
            let binding = json!({
                "apiVersion": "v1",
                "kind": "Binding",
                "metadata": {"name": name, "namespace": namespace, "uid": uid},
                "target": {"apiVersion": "v1", "kind": "Node", "name": node},
            });
            let params = PostParams::default();
            let bound: Value = pods.create_subresource("binding", name, &params, &binding).await?;
            drop(bound);
        }
        Step::Status(status) => {
            // Strategic, since others write conditions too; the uid refuses a namesake.
            let patch = json!({"metadata": {"uid": uid}, "status": status});
            pods.patch_status(name, &PatchParams::default(), &Patch::Strategic(patch)).await?;
        }
        Step::Finalise => {
            let preconditions = Preconditions { uid: Some(uid.to_owned()), ..Default::default() };
            let now = DeleteParams::default().grace_period(0).preconditions(preconditions);
            pods.delete(name, &now).await?;
        }
    }
    Ok(())
}

async fn create_node(client: &Client, name: &str) -> Result<Node, Error> {
    let nodes = Api::<Node>::all(client.clone());
    let room = json!({"cpu": "64", "memory": "256Gi", "pods": "500", "ephemeral-storage": "1Ti"});
    let node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {
            "kubernetes.io/hostname": name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": "amd64",
        }},
    });
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let status = json!({"status": {
        "capacity": room,
        "allocatable": room,
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "fake kubelet",
            "lastHeartbeatTime": now, "lastTransitionTime": now,
        }],
        "nodeInfo": {
            "architecture": "amd64", "operatingSystem": "linux", "bootID": "", "machineID": "",
            "systemUUID": "", "kernelVersion": "", "osImage": "fake", "kubeletVersion": "v1.20.2",
            "kubeProxyVersion": "v1.20.2", "containerRuntimeVersion": "fake://1",
        },
    }});
    let failed = |source| Error::Node { name: name.to_owned(), source };
    let params = PatchParams::apply("kubelet").force();
    nodes.patch(name, &params, &Patch::Apply(&node)).await.map_err(failed)?;
    // A new node is tainted until its controller has seen it; that controller is off.
    let untaint = json!({"spec": {"taints": null}});
    nodes.patch(name, &PatchParams::default(), &Patch::Merge(&untaint)).await.map_err(failed)?;
    let patch = Patch::Merge(&status);
    nodes.patch_status(name, &PatchParams::default(), &patch).await.map_err(failed)
}

/// A volume that waits for this claim and for no other.
fn volume_for(claim: &PersistentVolumeClaim) -> PersistentVolume {
    let uid = claim.uid().unwrap_or_default();
    let spec = claim.spec.clone().unwrap_or_default();
    let size = spec.resources.and_then(|resources| resources.requests?.get("storage").cloned());
    let volume = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": format!("pvc-{uid}")},
        "spec": {
            "accessModes": spec.access_modes,
            "capacity": {"storage": size},
            "storageClassName": spec.storage_class_name.unwrap_or_default(),
            "volumeMode": spec.volume_mode,
            "persistentVolumeReclaimPolicy": "Delete",
            "claimRef": {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "namespace": claim.namespace(), "name": claim.name_any(), "uid": uid,
            },
            // Never made: nothing mounts it. The controller removes host paths only below /tmp.
            "hostPath": {"path": format!("/tmp/tidegate-volume-{uid}")},
        },
    });
    serde_json::from_value(volume).expect("a well-formed volume")
}

fn pod_name(pod: &Pod) -> PodName {
    (pod.namespace().unwrap_or_default(), pod.name_any())
}

fn is_for_us(pod: &Pod) -> bool {
    let asked = pod.spec.as_ref().and_then(|spec| spec.scheduler_name.as_deref());
    asked.is_none_or(|name| name == SCHEDULER)
}

fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref())
}

/// How long a container takes from its image to its process.
pub const START: Duration = Duration::from_millis(100);
