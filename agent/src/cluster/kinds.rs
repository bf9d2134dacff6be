//! Which kinds a server has: its discovery documents, read once per group and version.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use kube::Client;
use serde_json::Value;
use tidegate_core::live::Gap;

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
}

impl Kinds {
    pub(super) fn new(client: Client) -> Self {
        Self { client, known: Mutex::default() }
    }

    /// The kind; `None` when the server clearly does not have it.
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

    /// Asks again next time: a definition was applied, or a kind was not there a moment ago.
    pub(super) fn forget_all(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    async fn ask(&self, api_version: &str) -> Result<Vec<ServedKind>, Gap> {
        let root = if api_version.contains('/') { "/apis" } else { "/api" };
        let answer =
            api::send(&self.client, Verb::Get, &format!("{root}/{api_version}"), None).await;
        let body = match answer {
            Ok(answer) => answer.body,
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            Err(error) => return Err(error.gap()),
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
