//! One Kubernetes cluster: the only place that talks to API servers.

mod api;
mod around;
mod ask;
mod copy;
mod kept;
mod kinds;
mod look;
mod observe;
mod pods;
mod run;
mod tried;
mod unmarked;
mod watch;

pub use copy::{Copied, Wanted};
pub use kube::Client;
pub use pods::Told;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tidegate_core::desired::{Check, Question};
use tidegate_core::diff::handed_over;
use tidegate_core::digest::Digest;
use tidegate_core::ignored;
use tidegate_core::live::{Gap, Tool};
use tidegate_core::object::{FIELD_MANAGER, Object, ObjectRef, Propagation};
use tidegate_core::progress::{Addressee, EffectFailure, Takes, Terms, Verdict};
use tidegate_schema::site::Access;
use tokio::sync::watch as signal;

use api::{Answer, ApiError, Verb};
use around::Around;
use kept::Kept;
use kinds::{Kinds, ServedKind, Writable};
use pods::PodWatch;
use tried::Tried;
use unmarked::Unmarked;
use watch::Watches;

/// What is to be changed of an object, as operations of a JSON patch (RFC 6902); `None` when nothing is.
type Patch<'a> = dyn Fn(&Object) -> Option<Vec<Value>> + Sync + 'a;

/// Requests side by side to one API server.
const WIDTH: usize = 16;

/// How often one apply looks at an object anew that changes between look and write. Each time that takes one request and a
/// moment; after so many it is tried again later.
const LOOKS: u32 = 5;

/// Why a cluster could not be connected to. Nothing of credentials is in the text.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kubeconfig could not be read or used.
    #[error("failed to read the kubeconfig of cluster {cluster}")]
    Kubeconfig {
        /// Name of the `Cluster` document.
        cluster: String,
        /// Why.
        #[source]
        source: Box<kube::config::KubeconfigError>,
    },
    /// The agent does not run in a pod, or its service account cannot be read.
    #[error("failed to use the service account of the agent's pod for cluster {cluster}")]
    InCluster {
        /// Name of the `Cluster` document.
        cluster: String,
        /// Why.
        #[source]
        source: Box<kube::config::InClusterError>,
    },
    /// The configuration does not make a client.
    #[error("failed to make a client for cluster {cluster}")]
    Client {
        /// Name of the `Cluster` document.
        cluster: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
}

/// A client of a simulated cluster in this process; nothing goes over a socket.
pub fn client_of_sandbox(sandbox: &tidegate_sandbox::Sandbox) -> Client {
    Client::new(sandbox.service(), "default")
}

/// A client by a kubeconfig file, for a cluster that is given on the command line. `None` when it is no kubeconfig.
pub async fn client_of_kubeconfig(path: &Path) -> Option<Client> {
    let file = Kubeconfig::read_from(path).ok()?;
    let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
    Client::try_from(patient(config.ok()?)).ok()
}

/// The client would repeat what a server refuses for now (an eviction, say) for five minutes, deaf to a pause; when to try
/// again is the executor's decision.
fn patient(mut config: kube::Config) -> kube::Config {
    config.default_retry = false;
    config
}

/// One cluster. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    name: String,
    client: Client,
    kinds: Arc<Kinds>,
    watches: Arc<Watches>,
    verified: Arc<Mutex<BTreeMap<ObjectRef, Verified>>>,
    kept: Arc<Mutex<BTreeMap<ObjectRef, Kept>>>,
    unmarked: Arc<Unmarked>,
    tried: Arc<Mutex<BTreeMap<ObjectRef, Tried>>>,
    around: Arc<Mutex<Option<Around>>>,
    pods: Arc<PodWatch>,
    identity: Arc<OnceLock<(String, String)>>,
    is_listened_to: bool,
}

/// A pair that the server has confirmed: this desired content gives this live content. While both stay, nothing is asked.
#[derive(Clone, PartialEq, Eq)]
struct Verified {
    desired: Digest,
    live: Digest,
    /// Uid and resource version of the live object that was last found to have this content.
    version: String,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Cluster {
    /// Takes a client as it is: of a sandbox in this process, or of a test.
    pub fn of_client(name: &str, site: &str, client: Client) -> Self {
        let kinds = Arc::new(Kinds::new(client.clone()));
        Self {
            name: name.to_owned(),
            watches: Arc::new(Watches::new(client.clone(), site, Arc::clone(&kinds))),
            kinds,
            client,
            verified: Arc::default(),
            kept: Arc::default(),
            unmarked: Arc::default(),
            tried: Arc::default(),
            around: Arc::default(),
            pods: Arc::default(),
            identity: Arc::default(),
            is_listened_to: false,
        }
    }

    /// Makes a client from what the `Cluster` document says. Nothing is sent yet. Relative kubeconfig paths are below
    /// `folder`.
    ///
    /// # Errors
    ///
    /// When the kubeconfig, or the pod's service account, cannot be used. A sandbox is not reached this way.
    pub async fn connect(
        name: &str,
        site: &str,
        access: &Access,
        folder: &Path,
    ) -> Result<Option<Self>, Error> {
        let cluster = || name.to_owned();
        let config = match access {
            Access::Sandbox(_) => return Ok(None),
            Access::InCluster(_) => kube::Config::incluster().map_err(|source| {
                Error::InCluster { cluster: cluster(), source: Box::new(source) }
            })?,
            Access::Kubeconfig(access) => {
                let failed =
                    |source| Error::Kubeconfig { cluster: cluster(), source: Box::new(source) };
                let file = Kubeconfig::read_from(folder.join(&access.path)).map_err(failed)?;
                let options =
                    KubeConfigOptions { context: access.context.clone(), ..Default::default() };
                kube::Config::from_custom_kubeconfig(file, &options).await.map_err(failed)?
            }
        };
        let client = Client::try_from(patient(config))
            .map_err(|source| Error::Client { cluster: cluster(), source: Box::new(source) })?;
        Ok(Some(Self::of_client(name, site, client)))
    }

    /// Name of the `Cluster` document.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Rises whenever something of ours changed in the cluster. Given once: one listener wakes the loop.
    pub fn take_changes(&mut self) -> Option<signal::Receiver<u64>> {
        let is_first = !std::mem::replace(&mut self.is_listened_to, true);
        is_first.then(|| self.watches.changes())
    }

    /// The uid of the namespace `kube-system` and the server's version.
    ///
    /// # Errors
    ///
    /// A gap when the server cannot be asked.
    pub async fn identity(&self) -> Result<(String, String), Gap> {
        let namespace = self.send(Verb::Get, "/api/v1/namespaces/kube-system", None).await;
        let version = self.send(Verb::Get, "/version", None).await;
        let text = |answer: &Answer, pointer: &str| {
            answer.body.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let namespace = namespace.map_err(|error| error.gap())?;
        let version = version.map_err(|error| error.gap())?;
        Ok((text(&namespace, "/metadata/uid"), text(&version, "/gitVersion")))
    }

    /// Applies an object as [`FIELD_MANAGER`] on these terms. When it is not as the terms say any more, `again` gives new ones
    /// for what it is by now, or none when it may not be written. Gives the object as the server has it now.
    ///
    /// # Errors
    ///
    /// What the server refused, or why it could not be asked; what `again` refused, as `APPROVAL/LIVE_CHANGED`.
    pub async fn apply(
        &self,
        object: &Object,
        terms: &Terms,
        again: &(dyn Fn(Option<&Object>) -> Option<Terms> + Sync),
    ) -> Result<Object, EffectFailure> {
        let kind = match self.kinds.writable(object).await {
            Ok(Writable::At(kind)) => kind,
            // A definition may have been applied a moment ago.
            Ok(Writable::Nowhere(gap)) => {
                self.kinds.forget_all();
                return Err(transient(gap));
            }
            Err(gap) => return Err(transient(gap)),
        };
        let object = at_version(object, &kind);
        let reference = object.reference(&self.name);
        let mut terms = terms.clone();
        let mut live = None;
        if !ignored::left(&object).is_empty() {
            live = self.get(&reference, &kind.api_version).await.map_err(transient)?.object();
        }
        let mut looks = 0;
        let answer = loop {
            let sent = ignored::sent(&object, live.as_ref());
            let answer = self.write(&sent, &kind, &terms).await;
            let Some(error) = answer.as_ref().err().filter(|it| it.is_outdated()) else {
                break answer;
            };
            if looks == LOOKS {
                break answer;
            }
            // Controllers write the status of what they control all the time; the watch is too late for that.
            tracing::debug!(object = %reference, ?error, "not as it was seen any more");
            looks += 1;
            live = self.look_anew(&reference, &kind).await.map_err(ApiError::failure)?;
            let Some(new) = again(live.as_ref()) else {
                let (code, message) = ("APPROVAL/LIVE_CHANGED".to_owned(), String::new());
                return Err(transient(Gap { code, message }));
            };
            terms = new;
        };
        if answer.as_ref().is_err_and(ApiError::is_not_found) {
            // The definition of its kind may have gone, and come back at another version.
            self.kinds.forget_all();
        }
        let applied = Object::new(answer.map_err(ApiError::failure)?.body);
        if applied.kind() == "CustomResourceDefinition" {
            self.kinds.forget_all();
        }
        self.watches.learn(&applied);
        self.unmarked.forget(&reference);
        Ok(applied)
    }

    /// One apply. What others have is asked for without force first, and taken when that, and nothing else, was approved:
    /// the version sees to it that it is still the same then.
    async fn write(
        &self,
        object: &Object,
        kind: &ServedKind,
        terms: &Terms,
    ) -> Result<Answer, ApiError> {
        let mut body = object.clone();
        if let Some(seen) = &terms.seen {
            body.set(&["metadata", "uid"], json!(seen.uid));
            body.set(&["metadata", "resourceVersion"], json!(seen.resource_version));
        }
        let path = kind.path(object.namespace(), Some(object.name()));
        let send = |force: &'static str| {
            let query = api::query(&[("fieldManager", FIELD_MANAGER), ("force", force)]);
            let path = path.clone() + &query;
            let body = &body;
            async move { self.send(Verb::Apply, &path, Some(body.value())).await }
        };
        if terms.takes == Takes::Everything {
            return send("true").await;
        }
        match send("false").await {
            Err(error) if !error.conflicts().is_empty() => {
                let is_approved = terms.not_approved(&error.conflicts()).is_empty();
                if is_approved { send("true").await } else { Err(error) }
            }
            answer => answer,
        }
    }

    /// The object as the server has it now, whatever the watches say; they learn it.
    async fn look_anew(
        &self,
        reference: &ObjectRef,
        kind: &ServedKind,
    ) -> Result<Option<Object>, ApiError> {
        let found = self.fetch(kind, reference).await?;
        match &found {
            Some(object) => self.watches.learn(object),
            None => self.watches.forget(reference),
        }
        Ok(found)
    }

    /// Makes the fields ours that `kubectl apply`, or a tool that gave the object up, owned. Nothing else changes. Gives
    /// the object as it is.
    ///
    /// # Errors
    ///
    /// What the server refused, or why it could not be asked.
    pub async fn hand_over(
        &self,
        reference: &ObjectRef,
        api_version: &str,
        given_up: Option<Tool>,
    ) -> Result<Object, EffectFailure> {
        let kind = self.kinds.readable(api_version, &reference.kind).await.map_err(transient)?;
        let Some(kind) = kind else {
            let gap = Gap { code: "CLUSTER/KIND_UNKNOWN".to_owned(), message: String::new() };
            return Err(transient(gap));
        };
        let managers = |live: &Object| {
            let managers = handed_over(live, given_up)?;
            let path = "/metadata/managedFields";
            Some(vec![json!({"op": "replace", "path": path, "value": managers})])
        };
        self.patched(&kind, reference, &managers).await.map_err(ApiError::failure)
    }

    /// Patches an object as it is now (JSON patch, RFC 6902); nothing is sent when there is nothing to patch. Being gone is
    /// success.
    ///
    /// # Errors
    ///
    /// What the server refused, or why it could not be asked.
    pub async fn patch(
        &self,
        reference: &ObjectRef,
        api_version: &str,
        patch: &Patch<'_>,
    ) -> Result<(), EffectFailure> {
        let kind = self.kinds.readable(api_version, &reference.kind).await.map_err(transient)?;
        let Some(kind) = kind else { return Ok(()) };
        match self.patched(&kind, reference, patch).await {
            Ok(patched) => self.watches.learn(&patched),
            Err(error) if error.is_not_found() => self.watches.forget(reference),
            Err(error) => return Err(error.failure()),
        }
        Ok(())
    }

    /// The object as it is after a patch of what it is now.
    async fn patched(
        &self,
        kind: &ServedKind,
        reference: &ObjectRef,
        patch: &Patch<'_>,
    ) -> Result<Object, ApiError> {
        let path = kind.path(&reference.namespace, Some(&reference.name));
        let live = Object::new(self.send(Verb::Get, &path, None).await?.body);
        let Some(mut patch) = patch(&live) else { return Ok(live) };
        // The version makes it fail when somebody writes meanwhile: nothing of what they wrote is lost.
        let version = live.resource_version();
        let path_of_version = "/metadata/resourceVersion";
        patch.push(json!({"op": "replace", "path": path_of_version, "value": version}));
        let path = path + &api::query(&[("fieldManager", FIELD_MANAGER)]);
        let answer = self.send(Verb::Patch, &path, Some(&Value::Array(patch))).await?;
        Ok(Object::new(answer.body))
    }

    /// Deletes an object while its uid is still this one; its dependents follow in the background. Being gone already is
    /// success.
    ///
    /// # Errors
    ///
    /// What the server refused, or why it could not be asked.
    pub async fn delete(
        &self,
        reference: &ObjectRef,
        api_version: &str,
        uid: &str,
        propagation: Propagation,
    ) -> Result<(), EffectFailure> {
        let kind = self.kinds.readable(api_version, &reference.kind).await.map_err(transient)?;
        let Some(kind) = kind else { return Ok(()) };
        let path = kind.path(&reference.namespace, Some(&reference.name));
        self.delete_at(&path, uid, propagation).await?;
        self.watches.forget(reference);
        Ok(())
    }

    async fn delete_at(
        &self,
        path: &str,
        uid: &str,
        propagation: Propagation,
    ) -> Result<(), EffectFailure> {
        let options = json!({
            "apiVersion": "v1", "kind": "DeleteOptions",
            "propagationPolicy": propagation.policy(), "preconditions": {"uid": uid},
        });
        match self.send(Verb::Delete, path, Some(&options)).await {
            Ok(_) => Ok(()),
            // Somebody else's object stands there now, or nothing: ours is gone.
            Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
            Err(error) => Err(error.failure()),
        }
    }

    /// Asks for the eviction of a pod; a disruption budget may refuse it for now, which is a transient failure.
    ///
    /// # Errors
    ///
    /// What the server refused, or why it could not be asked.
    pub async fn evict(&self, namespace: &str, name: &str, uid: &str) -> Result<(), EffectFailure> {
        // policy/v1 since 1.22; older servers take what their budgets are written at.
        let budgets = self.kinds.readable("policy/v1", "PodDisruptionBudget").await;
        let budgets = budgets.map_err(transient)?;
        let version = budgets.map_or_else(|| "policy/v1".to_owned(), |kind| kind.api_version);
        let body = json!({
            "apiVersion": version, "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
            "deleteOptions": {"preconditions": {"uid": uid}},
        });
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/eviction");
        match self.send(Verb::Create, &path, Some(&body)).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
            Err(error) => Err(error.failure()),
        }
    }

    /// Deletes a pod that is broken anyway, while its uid is still this one.
    ///
    /// # Errors
    ///
    /// What the server refused, or why it could not be asked.
    pub async fn delete_pod(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
    ) -> Result<(), EffectFailure> {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
        self.delete_at(&path, uid, Propagation::Background).await
    }

    /// The last lines of a pod's log, of the container's last end when it keeps ending. Empty when the server has none.
    pub async fn log(&self, namespace: &str, name: &str, lines: u32) -> Vec<String> {
        let count = lines.to_string();
        for previous in ["true", "false"] {
            let which = [("tailLines", count.as_str()), ("previous", previous)];
            if let Ok(text) = self.read_log(namespace, name, &which).await
                && !text.trim().is_empty()
            {
                return text.lines().map(ToOwned::to_owned).collect();
            }
        }
        Vec::new()
    }

    /// A pod's log, as the parameters of the request say.
    async fn read_log(
        &self,
        namespace: &str,
        name: &str,
        parameters: &[(&str, &str)],
    ) -> Result<String, ApiError> {
        let query = api::query(parameters);
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/log{query}");
        api::send_text(&self.client, &path).await
    }

    /// Asks whether a check holds: a pod, an object as the server has it now, or Prometheus.
    pub async fn check(&self, addressee: &Addressee, check: &Check) -> Verdict {
        let client = &self.client;
        match (&check.question, addressee) {
            (Question::Cel { cel }, _) => ask::about(self, cel).await,
            (Question::Exec { exec }, Addressee::Pod { namespace, name }) => {
                ask::execute(client, (namespace, name), exec).await
            }
            (Question::Http { port, http }, Addressee::Pod { namespace, name }) => {
                ask::ask(client, (namespace, name), *port, Some(http)).await
            }
            (Question::Tcp { port }, Addressee::Pod { namespace, name }) => {
                ask::ask(client, (namespace, name), *port, None).await
            }
            (Question::Prometheus { prometheus }, Addressee::Prometheus { service, query }) => {
                ask::measure(client, service, query, prometheus).await
            }
            (
                Question::Exec { .. }
                | Question::Http { .. }
                | Question::Prometheus { .. }
                | Question::Tcp { .. },
                _,
            ) => Verdict::Unknown("there is nobody to ask".to_owned()),
        }
    }

    /// The last warnings that Kubernetes has about an object, oldest first: what does not show in its status, such as a
    /// volume that cannot be mounted. Empty when the server has none.
    pub async fn warnings(&self, namespace: &str, uid: &str, count: usize) -> Vec<String> {
        let selector = format!("involvedObject.uid={uid},type=Warning");
        let query = api::query(&[("fieldSelector", &selector)]);
        let path = format!("/api/v1/namespaces/{namespace}/events{query}");
        let Ok(answer) = self.send(Verb::Get, &path, None).await else { return Vec::new() };
        let items = answer.body.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut events: Vec<Object> = items.into_iter().map(Object::new).collect();
        events.sort_by(|left, right| left.text("/lastTimestamp").cmp(right.text("/lastTimestamp")));
        let last = events.iter().skip(events.len().saturating_sub(count));
        last.map(|event| format!("{}: {}", event.text("/reason"), event.text("/message"))).collect()
    }

    async fn send(&self, verb: Verb, path: &str, body: Option<&Value>) -> Result<Answer, ApiError> {
        api::send(&self.client, verb, path, body).await
    }
}

/// The object with the version at which the server takes it.
fn at_version(object: &Object, kind: &ServedKind) -> Object {
    let mut object = object.clone();
    object.set(&["apiVersion"], json!(kind.api_version));
    object
}

/// What could not be asked now may be asked again.
fn transient(gap: Gap) -> EffectFailure {
    EffectFailure {
        code: gap.code,
        message: gap.message,
        is_transient: true,
        conflicts: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
