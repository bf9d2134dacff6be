//! Watches over what carries our label, and over all namespaces; and the objects that they have seen.
//!
//! Only presence is trusted. An object that is not here may have lost its label; whether it is absent is asked of the
//! server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, TypeMeta};
use kube::runtime::{WatchStreamExt, watcher};
use tidegate_core::live::LiveObject;
use tidegate_core::object::{Object, ObjectRef, SITE_LABEL, group_of};
use tokio::sync::watch as signal;

use super::kinds::{Kinds, ServedKind};

/// How long a first observation waits for a watch to have seen everything; after that objects are asked for one by one.
const FIRST_SYNC: Duration = Duration::from_secs(10);

type Key = (String, String);

#[derive(Default)]
struct Seen {
    is_synced: bool,
    objects: BTreeMap<Key, LiveObject>,
}

/// All watches of one cluster.
pub(super) struct Watches {
    client: Client,
    site: String,
    /// What the server has: asked again when a watch breaks.
    served: Arc<Kinds>,
    /// By version and kind.
    watched: Mutex<BTreeMap<(String, String), Watched>>,
    changed: Arc<signal::Sender<u64>>,
}

struct Watched {
    seen: Arc<Mutex<Seen>>,
    /// Whether it has seen everything once, or could not.
    tried: signal::Receiver<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn kind_key(kind: &ServedKind) -> (String, String) {
    (kind.api_version.clone(), kind.kind.clone())
}

fn resource_version(object: &LiveObject) -> u64 {
    object.resource_version().parse().unwrap_or(0)
}

impl Watches {
    pub(super) fn new(client: Client, site: &str, served: Arc<Kinds>) -> Self {
        Self {
            client,
            site: site.to_owned(),
            served,
            watched: Mutex::default(),
            changed: Arc::new(signal::Sender::new(0)),
        }
    }

    /// Whose objects are watched.
    pub(super) fn site(&self) -> &str {
        &self.site
    }

    /// To say that something changed.
    pub(super) fn changed(&self) -> Arc<signal::Sender<u64>> {
        Arc::clone(&self.changed)
    }

    pub(super) fn changes(&self) -> signal::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Watches a kind, if it is not watched yet, and waits until the watch has seen everything, or cannot.
    pub(super) async fn start(&self, kind: &ServedKind) {
        let mut tried = {
            let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
            watched.entry(kind_key(kind)).or_insert_with(|| self.watch(kind)).tried.clone()
        };
        let is_in_time = tokio::time::timeout(FIRST_SYNC, tried.wait_for(|tried| *tried)).await;
        if is_in_time.is_err() {
            tracing::warn!(kind = kind.kind, "watch is slow to start; asking one by one");
        }
    }

    /// Ends the watches over all other kinds and versions.
    pub(super) fn keep_only(&self, kinds: &[ServedKind]) {
        let kinds: BTreeSet<_> = kinds.iter().map(kind_key).collect();
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.retain(|kind, _| kinds.contains(kind));
    }

    fn watch(&self, kind: &ServedKind) -> Watched {
        let (group, version) = kind.api_version.rsplit_once('/').unwrap_or(("", &kind.api_version));
        let resource = ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version: kind.api_version.clone(),
            kind: kind.kind.clone(),
            plural: kind.plural.clone(),
        };
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
        let selector = format!("{SITE_LABEL}={}", self.site);
        // Namespaces that were there before us are used as they are, and do not carry the label. There are few of them.
        let is_namespace = group.is_empty() && kind.kind == "Namespace";
        let config = watcher::Config::default();
        let config = if is_namespace { config } else { config.labels(&selector) };
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (tried_sender, tried) = signal::channel(false);
        let (own_seen, changed) = (Arc::clone(&seen), Arc::clone(&self.changed));
        let served = Arc::clone(&self.served);
        let name = kind.kind.clone();
        let task = tokio::spawn(async move {
            let mut events = watcher(api, config).default_backoff().boxed();
            let mut building = None;
            while let Some(event) = events.next().await {
                match event {
                    Ok(event) => {
                        let event = typed(event, &resource);
                        if fold(&own_seen, &mut building, event) {
                            tried_sender.send_replace(true);
                            changed.send_modify(|count| *count += 1);
                        }
                    }
                    Err(error) => {
                        tracing::warn!(kind = name, %error, "watch broke; it is taken up again");
                        let mut seen = own_seen.lock().unwrap_or_else(PoisonError::into_inner);
                        let was_whole = std::mem::replace(&mut seen.is_synced, false);
                        drop(seen);
                        // What could not be watched before is no news: a permission that lacks would wake the loop, and
                        // have everything asked anew, for as long as it lacks.
                        if was_whole || !*tried_sender.borrow() {
                            served.forget_all();
                            changed.send_modify(|count| *count += 1);
                        }
                        tried_sender.send_replace(true);
                    }
                }
            }
        });
        Watched { seen, tried, task }
    }

    /// The object as last seen at this version, while the watch over it is whole.
    pub(super) fn get(&self, kind: &ServedKind, reference: &ObjectRef) -> Option<LiveObject> {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let watched = watched.get(&kind_key(kind))?;
        let seen = watched.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !seen.is_synced {
            return None;
        }
        seen.objects.get(&(reference.namespace.clone(), reference.name.clone())).cloned()
    }

    /// Takes the answer to our own write, so that nothing older than it is read from here afterwards. What has lost the
    /// site's label by it is none of the watch's any more.
    pub(super) fn learn(&self, object: &Object) {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = (object.api_version().to_owned(), object.kind().to_owned());
        if let Some(watched) = watched.get(&kind) {
            let mut seen = watched.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if object.label(SITE_LABEL) == Some(&self.site) {
                keep_newer(&mut seen.objects, key(object), LiveObject::new(object));
            } else {
                seen.objects.remove(&key(object));
            }
        }
    }

    /// Forgets an object that we deleted: the watch will say so too, but later.
    pub(super) fn forget(&self, reference: &ObjectRef) {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let is_own = |(version, kind): &(String, String)| {
            (group_of(version), kind) == (reference.group.as_str(), &reference.kind)
        };
        for (_, watched) in watched.iter().filter(|(kind, _)| is_own(kind)) {
            let mut seen = watched.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.objects.remove(&(reference.namespace.clone(), reference.name.clone()));
        }
    }
}

fn key(object: &Object) -> Key {
    (object.namespace().to_owned(), object.name().to_owned())
}

/// Answers to writes and watch events come by different ways: the newer one stays.
fn keep_newer(objects: &mut BTreeMap<Key, LiveObject>, own: Key, object: LiveObject) {
    let is_older = objects.get(&own).is_some_and(|known| {
        known.uid() == object.uid() && resource_version(known) > resource_version(&object)
    });
    if !is_older {
        objects.insert(own, object);
    }
}

/// Items of a list carry neither `apiVersion` nor `kind`: the list does. What is compared must have both.
fn typed(
    event: watcher::Event<DynamicObject>,
    resource: &ApiResource,
) -> watcher::Event<DynamicObject> {
    let typed = |mut object: DynamicObject| {
        object.types = Some(TypeMeta {
            api_version: resource.api_version.clone(),
            kind: resource.kind.clone(),
        });
        object
    };
    match event {
        watcher::Event::Apply(object) => watcher::Event::Apply(typed(object)),
        watcher::Event::InitApply(object) => watcher::Event::InitApply(typed(object)),
        watcher::Event::Delete(object) => watcher::Event::Delete(typed(object)),
        event @ (watcher::Event::Init | watcher::Event::InitDone) => event,
    }
}

/// Folds one event; says whether people may see a difference now.
fn fold(
    seen: &Mutex<Seen>,
    building: &mut Option<BTreeMap<Key, LiveObject>>,
    event: watcher::Event<DynamicObject>,
) -> bool {
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    match event {
        watcher::Event::Init => {
            *building = Some(BTreeMap::new());
            false
        }
        watcher::Event::InitApply(object) => {
            if let (Some(building), Some((key, object))) = (building.as_mut(), kept(&object)) {
                building.insert(key, object);
            }
            false
        }
        watcher::Event::InitDone => {
            let listed = building.take().unwrap_or_default();
            let before = std::mem::replace(&mut seen.objects, listed);
            // What we wrote while the list was under way is newer than the list.
            for (key, object) in before {
                if seen.objects.contains_key(&key) {
                    keep_newer(&mut seen.objects, key, object);
                }
            }
            seen.is_synced = true;
            true
        }
        watcher::Event::Apply(object) => {
            if let Some((key, object)) = kept(&object) {
                keep_newer(&mut seen.objects, key, object);
            }
            true
        }
        watcher::Event::Delete(object) => {
            seen.objects.remove(&key_of(&object));
            true
        }
    }
}

/// Namespace and name.
fn key_of(object: &DynamicObject) -> Key {
    let metadata = &object.metadata;
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

fn kept(object: &DynamicObject) -> Option<(Key, LiveObject)> {
    let metadata = &object.metadata;
    let uid = metadata.uid.as_deref().unwrap_or_default();
    let version = metadata.resource_version.as_deref().unwrap_or_default();
    let text = serde_json::to_string(object).ok()?;
    Some((key_of(object), LiveObject::of_text(text, uid, version)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_item_of_a_list_is_whole() {
        let resource = ApiResource {
            group: "apps".to_owned(),
            version: "v1".to_owned(),
            api_version: "apps/v1".to_owned(),
            kind: "Deployment".to_owned(),
            plural: "deployments".to_owned(),
        };
        let item =
            json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": {"replicas": 2}});
        let item: DynamicObject = serde_json::from_value(item).unwrap();
        let seen = Mutex::new(Seen::default());
        let mut building = None;
        for event in
            [watcher::Event::Init, watcher::Event::InitApply(item), watcher::Event::InitDone]
        {
            fold(&seen, &mut building, typed(event, &resource));
        }
        let seen = seen.into_inner().unwrap();
        let object = seen.objects[&("shop".to_owned(), "web".to_owned())].read();
        assert_eq!((object.api_version(), object.kind()), ("apps/v1", "Deployment"));
    }
}
