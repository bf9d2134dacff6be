//! Looking: objects as they are, from the watches where they have them, else asked for with few requests.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use serde_json::Value;
use tidegate_core::live::{Gap, LiveObject};
use tidegate_core::object::{Object, ObjectRef};
use tidegate_core::progress::Seen;

use super::api::{self, ApiError, Verb};
use super::kinds::ServedKind;
use super::{Cluster, WIDTH};

/// From so many of one kind and namespace on, objects that no watch has are looked for by a list of names: most often none
/// of them exists yet.
const MANY: usize = 8;

/// Where there are more objects of a kind than this, they are not listed but asked for one by one.
const PAGE: &str = "500";

impl Cluster {
    /// Objects as they are now.
    ///
    /// # Errors
    ///
    /// A gap when the server cannot say of one of them; that is never "absent".
    pub async fn look(
        &self,
        objects: &[(ObjectRef, String)],
    ) -> Result<BTreeMap<ObjectRef, Seen>, Gap> {
        let asked = objects.iter().map(|(reference, version)| (reference, version.as_str()));
        let found = self.look_each(asked.collect()).await;
        found.into_iter().map(|(reference, found)| Ok((reference.clone(), seen(found?)))).collect()
    }

    /// Each object as it is now, `None` when it does not exist, or why the server cannot say. With each the `apiVersion` at
    /// which it was written.
    pub(super) async fn look_each<'a>(
        &self,
        objects: Vec<(&'a ObjectRef, &str)>,
    ) -> BTreeMap<&'a ObjectRef, Result<Option<LiveObject>, Gap>> {
        let kinds: BTreeSet<(&str, &str)> = objects
            .iter()
            .map(|(reference, version)| (*version, reference.kind.as_str()))
            .collect();
        let readable = kinds.into_iter().map(|(version, kind)| {
            async move { ((version, kind), self.kinds.readable(version, kind).await) }.boxed()
        });
        let readable: Vec<BoxFuture<'_, _>> = readable.collect();
        let readable: BTreeMap<_, _> =
            futures::future::join_all(readable).await.into_iter().collect();
        let mut found = BTreeMap::new();
        let mut unseen: BTreeMap<String, Vec<(&ObjectRef, &ServedKind)>> = BTreeMap::new();
        for (reference, version) in objects {
            let answer = match readable.get(&(version, reference.kind.as_str())) {
                Some(Ok(Some(kind))) => {
                    let Some(object) = self.watches.get(kind, reference) else {
                        let path = kind.path(&reference.namespace, None);
                        unseen.entry(path).or_default().push((reference, kind));
                        continue;
                    };
                    Ok(Some(object))
                }
                Some(Ok(None)) | None => Ok(None),
                Some(Err(gap)) => Err(gap.clone()),
            };
            found.insert(reference, answer);
        }
        let named: Vec<BoxFuture<'_, _>> = unseen
            .into_iter()
            .map(|(path, objects)| {
                async move {
                    let is_worth_it = objects.len() >= MANY;
                    let names = if is_worth_it { self.names(&path).await } else { None };
                    (names, objects)
                }
                .boxed()
            })
            .collect();
        let named: Vec<_> = futures::stream::iter(named).buffer_unordered(WIDTH).collect().await;
        let mut asked: Vec<BoxFuture<'_, _>> = Vec::new();
        for (names, objects) in named {
            for (reference, kind) in objects {
                if names.as_ref().is_some_and(|names| !names.contains(&reference.name)) {
                    found.insert(reference, Ok(None));
                } else {
                    let answer = async move { (reference, self.ask(kind, reference).await) };
                    asked.push(answer.boxed());
                }
            }
        }
        let answers: Vec<_> = futures::stream::iter(asked).buffer_unordered(WIDTH).collect().await;
        found.extend(answers);
        found
    }

    /// The names of all objects at a path. `None` when there are many of them or they may not be listed.
    async fn names(&self, path: &str) -> Option<BTreeSet<String>> {
        let path = format!("{path}{}", api::query(&[("limit", PAGE)]));
        let answer = self.send(Verb::Names, &path, None).await.ok()?;
        let next = answer.body.pointer("/metadata/continue").and_then(Value::as_str);
        let items = answer.body.get("items").and_then(Value::as_array);
        let name = |item: &Value| Some(item.pointer("/metadata/name")?.as_str()?.to_owned());
        // A list without items is written as null.
        let names = items.into_iter().flatten().filter_map(name).collect();
        next.is_none_or(str::is_empty).then_some(names)
    }

    /// One object as it is now: as the watches have it, else asked of the server.
    ///
    /// # Errors
    ///
    /// A gap when the server cannot say; that is never "absent".
    pub async fn get(&self, reference: &ObjectRef, api_version: &str) -> Result<Seen, Gap> {
        let Some(kind) = self.kinds.readable(api_version, &reference.kind).await? else {
            return Ok(Seen::Absent);
        };
        match self.watches.get(&kind, reference) {
            Some(object) => Ok(Seen::Present(object.read())),
            None => Ok(seen(self.ask(&kind, reference).await?)),
        }
    }

    async fn ask(
        &self,
        kind: &ServedKind,
        reference: &ObjectRef,
    ) -> Result<Option<LiveObject>, Gap> {
        let found = self.fetch(kind, reference).await.map_err(|error| error.gap())?;
        Ok(found.as_ref().map(LiveObject::new))
    }

    /// One object as the server has it, whatever the watches say.
    pub(super) async fn fetch(
        &self,
        kind: &ServedKind,
        reference: &ObjectRef,
    ) -> Result<Option<Object>, ApiError> {
        let path = kind.path(&reference.namespace, Some(&reference.name));
        match self.send(Verb::Get, &path, None).await {
            Ok(answer) => Ok(Some(Object::new(answer.body))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn seen(found: Option<LiveObject>) -> Seen {
    found.map_or(Seen::Absent, |object| Seen::Present(object.read()))
}
