//! Installs one cluster of a site in a sandbox, in the order of a release: foundations, then product after product, each in
//! its layers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::SignedDuration;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::discovery::{ApiResource, Scope, pinned_kind};
use tidegate_core::desired::{DesiredObject, DesiredState, Layer};
use tidegate_core::health::{Health, health};
use tidegate_core::object::Object;
use tidegate_core::order;
use tidegate_core::site::ValidSite;
use tidegate_sandbox::{Options, Sandbox};

const LAYERS: [Layer; 6] =
    [Layer::Foundation, Layer::Support, Layer::Task, Layer::Workload, Layer::Network, Layer::Test];

/// How long anything may take to become healthy, in simulated time.
const PATIENCE: SignedDuration = SignedDuration::from_secs(120);

/// Applies everything to a fresh sandbox, waits until it is healthy, and gives the simulated time that it took.
pub(crate) async fn install(
    site: &ValidSite,
    state: &DesiredState,
    cluster: &str,
    nodes: u32,
) -> SignedDuration {
    let start = "2026-11-21T10:00:00Z".parse().unwrap();
    let name = cluster.to_owned();
    let options = Options { name, nodes, start: Some(start), ..Options::default() };
    let sandbox = Sandbox::start(options).unwrap();
    let client = kube::Client::new(sandbox.service(), "default");
    let own: Vec<&DesiredObject> =
        state.objects.iter().filter(|object| object.reference.cluster == cluster).collect();
    let mut kinds = Kinds { client, known: BTreeMap::new() };
    let is_first = |object: &&&DesiredObject| object.owner.layer == Layer::Foundation;
    apply(&mut kinds, &sandbox, own.iter().filter(is_first).copied().collect()).await;
    let needs: order::Needs = site
        .deployments
        .iter()
        .map(|(name, own)| {
            let required = own.requires.iter().map(|required| required.product.to_string());
            (name.clone(), required.collect::<BTreeSet<String>>())
        })
        .collect();
    for level in order::levels(&needs).unwrap() {
        for layer in LAYERS.into_iter().skip(1) {
            let is_its = |object: &&&DesiredObject| {
                let product = object.owner.product.as_ref();
                object.owner.layer == layer
                    && product.is_some_and(|product| level.contains(product))
            };
            apply(&mut kinds, &sandbox, own.iter().filter(is_its).copied().collect()).await;
        }
    }
    sandbox.now().duration_since(start)
}

/// Kinds as the API server tells them, asked once.
struct Kinds {
    client: kube::Client,
    known: BTreeMap<(String, String), (ApiResource, Scope)>,
}

impl Kinds {
    async fn api(&mut self, object: &Object) -> Api<DynamicObject> {
        let key = (object.api_version().to_owned(), object.kind().to_owned());
        if !self.known.contains_key(&key) {
            let kind = GroupVersionKind::gvk(object.group(), object.version(), object.kind());
            let (resource, capabilities) = pinned_kind(&self.client, &kind).await.unwrap();
            self.known.insert(key.clone(), (resource, capabilities.scope));
        }
        let (resource, scope) = self.known.get(&key).unwrap();
        match scope {
            Scope::Cluster => Api::all_with(self.client.clone(), resource),
            Scope::Namespaced => {
                Api::namespaced_with(self.client.clone(), object.namespace(), resource)
            }
        }
    }
}

/// Applies objects in the order of their kinds and waits until all are healthy.
async fn apply(kinds: &mut Kinds, sandbox: &Sandbox, mut objects: Vec<&DesiredObject>) {
    objects.sort_by_key(|object| (order::rank(&object.reference), object.reference.clone()));
    let parameters = PatchParams {
        field_validation: Some(kube::api::ValidationDirective::Strict),
        ..PatchParams::apply("tidegate")
    };
    for object in &objects {
        let body = object.body();
        let api = kinds.api(&body).await;
        let patch = Patch::Apply(body.value());
        let applied = api.patch(&object.reference.name, &parameters, &patch).await;
        assert!(applied.is_ok(), "{} is refused: {:?}", object.reference, applied.err());
    }
    let deadline = sandbox.now().checked_add(PATIENCE).unwrap();
    for object in objects {
        let api = kinds.api(&object.body()).await;
        loop {
            let live = api.get(&object.reference.name).await.unwrap();
            let live = Object::new(serde_json::to_value(live).unwrap());
            match health(&live) {
                Health::Healthy => break,
                seen @ (Health::Progressing(_) | Health::Failed(_)) => assert!(
                    sandbox.now() < deadline,
                    "{} is still {seen:?}: {:#}\n{}",
                    object.reference,
                    live.value(),
                    pods(sandbox),
                ),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// What pods are waiting for.
fn pods(sandbox: &Sandbox) -> String {
    let objects = sandbox.snapshot().into_iter().map(Object::new);
    let pods = objects.filter(|object| object.kind() == "Pod");
    let lines = pods.filter(|pod| health(pod) != Health::Healthy).map(|pod| {
        format!("{}/{}: {:#}", pod.namespace(), pod.name(), pod.get("/status").unwrap_or_default())
    });
    lines.collect::<Vec<_>>().join("\n")
}
