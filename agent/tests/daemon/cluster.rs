//! A cluster outside of the agent: a sandbox that this process serves on loopback, and a witness of every pod
//! that is ever made in it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use futures::{StreamExt as _, TryStreamExt as _};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, WatchEvent, WatchParams};
use serde_json::{Value, json};
use tidegate_core::object::Object;
use tidegate_sandbox::{Options, Sandbox};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::vault;

/// Simulated seconds in a real one.
const SPEED: f64 = 20.0;

/// Uids by what they are of: each is one that was made.
type Made = Arc<Mutex<BTreeMap<String, String>>>;

/// One cluster.
pub(crate) struct Outside {
    pub(crate) sandbox: Sandbox,
    made: Made,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Outside {
    /// Starts it, and writes its kubeconfig into the folder.
    pub(crate) async fn start(name: &str, folder: &Path) -> Self {
        let sandbox = Sandbox::start(Options {
            name: name.to_owned(),
            nodes: 3,
            speed: SPEED,
            // Its clock runs faster than the agent's, so it starts behind: nothing happens in the agent's future.
            start: Some(Timestamp::now() - SignedDuration::from_hours(3)),
            ..Options::default()
        })
        .unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join(format!("{name}.kubeconfig")), sandbox.kubeconfig(address))
            .unwrap();
        let client = Client::new(sandbox.service(), "default");
        let made = Made::default();
        let witness = tokio::spawn(witness(client.clone(), Arc::clone(&made)));
        let tasks = vec![sandbox.serve(listener), witness, tokio::spawn(vault::fill(client))];
        Self { sandbox, made, tasks }
    }

    /// The two clusters of the site that is not the small one.
    pub(crate) async fn both(folder: &Path) -> Vec<Self> {
        vec![Self::start("room-a", folder).await, Self::start("room-b", folder).await]
    }

    /// How many pods of each app at each image were ever made.
    pub(crate) fn made(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for what in self.made.lock().unwrap().values() {
            *counts.entry(what.clone()).or_default() += 1;
        }
        counts
    }

    /// Everything that the agent applied, without what differs from run to run.
    pub(crate) fn applied(&self) -> BTreeMap<String, Value> {
        let objects = self.sandbox.snapshot().into_iter();
        objects
            .filter(|object| Object::new(object.clone()).is_applied_by_us())
            .map(normal)
            .collect()
    }
}

/// An object's name, and what of it is the same whenever and however it came about.
fn normal(mut object: Value) -> (String, Value) {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let name =
        format!("{} {}/{}", text("/kind"), text("/metadata/namespace"), text("/metadata/name"));
    let metadata = object["metadata"].as_object_mut().unwrap();
    for field in ["uid", "resourceVersion", "creationTimestamp"] {
        metadata.remove(field);
    }
    for manager in metadata["managedFields"].as_array_mut().unwrap() {
        manager.as_object_mut().unwrap().remove("time");
    }
    // Controllers write `status` and their own annotations; who manages what of the rest is compared.
    let managers = metadata["managedFields"].as_array_mut().unwrap();
    managers.retain(|manager| manager["manager"] == "tidegate");
    object.as_object_mut().unwrap().remove("status");
    if object["kind"] == "Secret" {
        // The vault fills it when it comes to it.
        object.as_object_mut().unwrap().remove("data");
    }
    for pointer in ["/spec/clusterIP", "/spec/clusterIPs"] {
        if let Some(address) = object.pointer_mut(pointer).filter(|it| **it != "None") {
            *address = json!("an address");
        }
    }
    for pointer in ["/spec/selector/matchLabels", "/spec/template/metadata/labels"] {
        // The label that ties a Job's pods to it is its uid.
        if let Some(Value::Object(labels)) = object.pointer_mut(pointer) {
            labels.retain(|label, _| !label.ends_with("controller-uid"));
        }
    }
    for port in
        object.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten()
    {
        port.as_object_mut().unwrap().remove("nodePort");
    }
    (name, object)
}

/// Notes every pod that is ever made. A watch misses nothing, however short it lives.
async fn witness(client: Client, made: Made) {
    let pods: Api<Pod> = Api::all(client);
    loop {
        let Ok(events) = pods.watch(&WatchParams::default(), "0").await else { return };
        let mut events = events.boxed();
        while let Ok(Some(event)) = events.try_next().await {
            if let WatchEvent::Added(pod) | WatchEvent::Modified(pod) = event {
                let uid = pod.metadata.uid.clone().unwrap();
                made.lock().unwrap().entry(uid).or_insert_with(|| what(&pod));
            }
        }
    }
}

fn what(pod: &Pod) -> String {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let labels = pod.metadata.labels.as_ref();
    let app = labels.and_then(|it| it.get("tidegate.dev/app")).map_or("", String::as_str);
    let image = pod.spec.as_ref().unwrap().containers[0].image.as_deref().unwrap_or_default();
    format!("Pod {namespace}/{app} {image}")
}
