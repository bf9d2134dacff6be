//! Which kinds a server has, and at which versions: its discovery documents, read once per group and version.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use kube::Client;
use serde_json::Value;
use tidegate_core::live::Gap;
use tidegate_core::object::Object;
use tidegate_core::served;

use super::api::{self, Verb};

/// One kind of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServedKind {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) plural: String,
    pub(super) is_namespaced: bool,
}

impl ServedKind {
    /// The path of a collection or an object. An empty namespace of a namespaced kind means all namespaces.
    pub(super) fn path(&self, namespace: &str, name: Option<&str>) -> String {
        let root = if self.api_version.contains('/') { "/apis" } else { "/api" };
        let mut path = format!("{root}/{}", self.api_version);
        if self.is_namespaced && !namespace.is_empty() {
            path.push_str("/namespaces/");
            path.push_str(namespace);
        }
        path.push('/');
        path.push_str(&self.plural);
        if let Some(name) = name {
            path.push('/');
            path.push_str(name);
        }
        path
    }
}

/// The kinds of one server.
pub(super) struct Kinds {
    client: Client,
    known: Mutex<BTreeMap<String, Arc<Vec<ServedKind>>>>,
    /// Where objects of a version and kind are read, once it is known.
    chosen: Mutex<BTreeMap<(String, String), ServedKind>>,
}

/// Where an object is written.
pub(super) enum Writable {
    /// Here, with the `apiVersion` of this kind.
    At(ServedKind),
    /// Nowhere: the server has the kind at versions with other fields, or not at all.
    Nowhere(Gap),
}

impl Kinds {
    pub(super) fn new(client: Client) -> Self {
        Self { client, known: Mutex::default(), chosen: Mutex::default() }
    }

    /// Where to write an object: at the version that it names when the server has that, else at one that is the same.
    pub(super) async fn writable(&self, object: &Object) -> Result<Writable, Gap> {
        let (named, kind) = (object.api_version(), object.kind());
        let gap = |code: &str, message| Gap { code: code.to_owned(), message };
        let Some(served) = self.readable(named, kind).await? else {
            let message = format!("{named} {kind}");
            return Ok(Writable::Nowhere(gap(served::KIND_UNKNOWN, message)));
        };
        if served.api_version == named || served::equivalents(object).contains(&served.api_version)
        {
            return Ok(Writable::At(served));
        }
        let at = self.all_versions(named, kind).await?;
        let at: Vec<&str> = at.iter().map(|kind| kind.api_version.as_str()).collect();
        let message = format!("{named} → {}", at.join(", "));
        Ok(Writable::Nowhere(gap(served::VERSION_NOT_SERVED, message)))
    }

    /// Where to read objects that were written at a version: there when the server has it, else at one that is the same,
    /// else at any, as the objects are the same ones. `None` when the server clearly does not have the kind.
    pub(super) async fn readable(
        &self,
        api_version: &str,
        kind: &str,
    ) -> Result<Option<ServedKind>, Gap> {
        let key = (api_version.to_owned(), kind.to_owned());
        let chosen = self.chosen.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if chosen.is_some() {
            return Ok(chosen);
        }
        let mut found = self.find(api_version, kind).await?;
        for other in served::alike(api_version, kind) {
            if found.is_none() {
                found = self.find(&other, kind).await?;
            }
        }
        if found.is_none() {
            found = self.all_versions(api_version, kind).await?.into_iter().next();
        }
        if let Some(found) = &found {
            let mut chosen = self.chosen.lock().unwrap_or_else(PoisonError::into_inner);
            chosen.insert(key, found.clone());
        }
        Ok(found)
    }

    /// The kind at every version that its group has here, in the server's order of preference.
    async fn all_versions(&self, api_version: &str, kind: &str) -> Result<Vec<ServedKind>, Gap> {
        // The core group has one version.
        let Some((group, _)) = api_version.rsplit_once('/') else { return Ok(Vec::new()) };
        let answer = api::send(&self.client, Verb::Get, &format!("/apis/{group}"), None).await;
        let body = match answer {
            Ok(answer) => answer.body,
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            Err(error) => return Err(undiscovered(&error)),
        };
        let mut found = Vec::new();
        for version in body.get("versions").and_then(Value::as_array).into_iter().flatten() {
            let version = version.get("groupVersion").and_then(Value::as_str).unwrap_or_default();
            found.extend(self.find(version, kind).await?);
        }
        Ok(found)
    }

    /// The kind at exactly this version; `None` when the server clearly does not have it.
    pub(super) async fn find(
        &self,
        api_version: &str,
        kind: &str,
    ) -> Result<Option<ServedKind>, Gap> {
        let known =
            self.known.lock().unwrap_or_else(PoisonError::into_inner).get(api_version).cloned();
        let served = if let Some(served) = known {
            served
        } else {
            let served = Arc::new(self.ask(api_version).await?);
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            // Nothing there is not remembered: a definition may come with this very change.
            if !served.is_empty() {
                known.insert(api_version.to_owned(), Arc::clone(&served));
            }
            served
        };
        Ok(served.iter().find(|served| served.kind == kind).cloned())
    }

    /// Every kind that has a namespace, each once: at the version that its group prefers.
    ///
    /// # Errors
    ///
    /// A gap when any group cannot say: then nobody knows what there is.
    pub(super) async fn all_namespaced(&self) -> Result<Vec<ServedKind>, Gap> {
        let answer = api::send(&self.client, Verb::Get, "/apis", None).await;
        let body = answer.map_err(|error| undiscovered(&error))?.body;
        let groups = body.get("groups").and_then(Value::as_array);
        let preferred = groups.into_iter().flatten().filter_map(|group| {
            group.pointer("/preferredVersion/groupVersion")?.as_str().map(str::to_owned)
        });
        let mut kinds = Vec::new();
        for version in std::iter::once("v1".to_owned()).chain(preferred) {
            let served = self.ask(&version).await?;
            kinds.extend(served.into_iter().filter(|kind| kind.is_namespaced));
        }
        Ok(kinds)
    }

    /// Asks again next time: a definition was applied, a kind was not there a moment ago, or a watch broke, as it does
    /// when the server is replaced by a newer one.
    pub(super) fn forget_all(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.chosen.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    async fn ask(&self, api_version: &str) -> Result<Vec<ServedKind>, Gap> {
        let root = if api_version.contains('/') { "/apis" } else { "/api" };
        let answer =
            api::send(&self.client, Verb::Get, &format!("{root}/{api_version}"), None).await;
        let body = match answer {
            Ok(answer) => answer.body,
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            Err(error) => return Err(undiscovered(&error)),
        };
        let resources = body.get("resources").and_then(Value::as_array);
        let text = |value: &Value, key: &str| {
            value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let kinds = resources.into_iter().flatten().map(|resource| ServedKind {
            api_version: api_version.to_owned(),
            kind: text(resource, "kind"),
            plural: text(resource, "name"),
            is_namespaced: resource.get("namespaced") == Some(&Value::Bool(true)),
        });
        // Subresources (`deployments/scale`) carry kinds of their own.
        Ok(kinds.filter(|kind| !kind.plural.contains('/')).collect())
    }
}

/// Why a kind could not be looked up. That the server answers for the rest and fails here (the service behind an
/// `APIService` is down) may last, so it has a code of its own.
fn undiscovered(error: &api::ApiError) -> Gap {
    let gap = error.gap();
    let is_only_here = gap.code == "CLUSTER/SERVER_ERROR";
    let code = if is_only_here { "CLUSTER/DISCOVERY_FAILED".to_owned() } else { gap.code };
    Gap { code, ..gap }
}
