//! Reading a cluster to make a copy of it. Only reads: nothing here writes, not even a dry run.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use serde_json::{Value, json};
use tidegate_core::live::Gap;
use tidegate_core::object::Object;

use super::api::{self, ApiError, Verb};
use super::kinds::ServedKind;
use super::{Cluster, WIDTH};

/// Objects of one answer at the most.
const PAGE: &str = "500";

/// A kind that is to be read, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// The version at which it is wanted; it may be read at another.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// Whether it is read in all namespaces, and not only in those that are asked for.
    pub is_everywhere: bool,
}

/// What was read of a cluster.
#[derive(Clone, Debug, Default)]
pub struct Copied {
    /// The server's version, as in `v1.22.17`.
    pub version: String,
    /// All objects, at the versions at which they were read.
    pub objects: Vec<Object>,
    /// Kinds that could not be read, and why.
    pub gaps: BTreeMap<String, Gap>,
}

impl Cluster {
    /// Reads all objects of these kinds: those of namespaces only in these.
    ///
    /// # Errors
    ///
    /// A gap when the server cannot be asked at all.
    pub async fn copy(
        &self,
        wanted: &BTreeSet<Wanted>,
        namespaces: &BTreeSet<String>,
    ) -> Result<Copied, Gap> {
        let (_, version) = self.identity().await?;
        let mut copied = Copied { version, ..Copied::default() };
        let mut asked: Vec<BoxFuture<'_, _>> = Vec::new();
        for want in wanted {
            let served = match self.kinds.readable(&want.api_version, &want.kind).await {
                Ok(Some(served)) => served,
                // What the server does not have is in no copy either.
                Ok(None) => continue,
                Err(gap) => {
                    copied.gaps.insert(want.kind.clone(), gap);
                    continue;
                }
            };
            let is_whole = want.is_everywhere || !served.is_namespaced;
            let places =
                if is_whole { BTreeSet::from([String::new()]) } else { namespaces.clone() };
            for place in places {
                let served = served.clone();
                asked.push(
                    async move {
                        let found = self.all_pages(&served, &place).await;
                        (served, found)
                    }
                    .boxed(),
                );
            }
        }
        let answers: Vec<_> = futures::stream::iter(asked).buffered(WIDTH).collect().await;
        for (served, found) in answers {
            match found {
                Ok(objects) => copied.objects.extend(objects),
                Err(error) if error.is_not_found() || error.is_method_unknown() => {}
                Err(error) => {
                    copied.gaps.insert(served.kind.clone(), error.gap());
                }
            }
        }
        Ok(copied)
    }

    /// All objects of a kind, page by page.
    async fn all_pages(
        &self,
        served: &ServedKind,
        namespace: &str,
    ) -> Result<Vec<Object>, ApiError> {
        let path = served.path(namespace, None);
        let mut objects = Vec::new();
        let mut next = String::new();
        loop {
            let query = match next.as_str() {
                "" => api::query(&[("limit", PAGE)]),
                next => api::query(&[("limit", PAGE), ("continue", next)]),
            };
            let mut answer = self.send(Verb::Get, &format!("{path}{query}"), None).await?;
            let more = answer.body.pointer("/metadata/continue").and_then(Value::as_str);
            more.unwrap_or_default().clone_into(&mut next);
            if let Some(Value::Array(items)) = answer.body.get_mut("items").map(Value::take) {
                objects.extend(items.into_iter().map(|item| {
                    let mut object = Object::new(item);
                    object.set(&["apiVersion"], json!(served.api_version));
                    object.set(&["kind"], json!(served.kind));
                    object
                }));
            }
            if next.is_empty() {
                return Ok(objects);
            }
        }
    }
}
