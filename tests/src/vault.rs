//! A vault as a test's companion: it fills every Secret that a site leaves a place for with a canary, as the vault of a room
//! does. The tests of the agent include this file as it is.

use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, ResourceExt as _};
use serde_json::json;

use super::canary::secret;

/// What marks the Secrets that sites leave a place for.
const MARK: &str = "app.kubernetes.io/managed-by=tidegate";

/// Fills Secrets until it is dropped.
pub async fn fill(client: Client) {
    let places: Api<Secret> = Api::all(client.clone());
    let events = watcher(places, watcher::Config::default().labels(MARK)).applied_objects();
    let mut events = Box::pin(events);
    while let Some(event) = events.next().await {
        let Ok(place) = event else {
            // The watch is taken up again.
            tokio::time::sleep(Duration::from_millis(200)).await;
            continue;
        };
        let is_filled =
            place.data.as_ref().is_some_and(|it| it.values().any(|it| !it.0.is_empty()));
        if is_filled || place.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let namespace = place.namespace().unwrap_or_default();
        let own: Api<Secret> = Api::namespaced(client.clone(), &namespace);
        let content = json!({"stringData": {"password": secret(&place.name_any())}});
        let by = PatchParams::default();
        // It may be gone by now.
        drop(own.patch(&place.name_any(), &by, &Patch::Merge(content)).await);
    }
}
