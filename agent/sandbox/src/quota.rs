//! Quotas and limit ranges: what a namespace has used, what a new object would make it exceed, and what containers get that say nothing.
//!
//! Absent: quotas of classes of storage and with scopes, and limits of whole pods and claims.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::custom;
use crate::defaults::items_mut;
use crate::object::{self, list, map, text};
use crate::quantity;
use crate::resource::Resource;
use crate::status::Refusal;
use crate::store::{Change, Store};
use crate::world::World;

/// Thousandths of each resource.
type Amounts = BTreeMap<String, i128>;

/// What an object uses, by the names that quotas have for it.
fn usage(value: &Value, resource: &Resource) -> Amounts {
    let mut used = Amounts::new();
    let plural = &resource.plural;
    let counted = match resource.group.as_str() {
        "" => plural.clone(),
        group => format!("{plural}.{group}"),
    };
    match (resource.group.as_str(), plural.as_str()) {
        ("", "pods") => {
            if matches!(text(value, "/status/phase"), "Succeeded" | "Failed") {
                return used;
            }
            of_pod(value, &mut used);
        }
        ("", "persistentvolumeclaims") => {
            let asked = text(value, "/spec/resources/requests/storage");
            used.insert("requests.storage".to_owned(), amount(asked));
        }
        ("", "services") => {
            let kind = text(value, "/spec/type");
            let ports = list(value, "/spec/ports").len() as i128 * 1000;
            if matches!(kind, "NodePort" | "LoadBalancer") {
                used.insert("services.nodeports".to_owned(), ports);
            }
            if kind == "LoadBalancer" {
                used.insert("services.loadbalancers".to_owned(), 1000);
            }
        }
        _ => {}
    }
    if resource.group.is_empty() {
        used.insert(plural.clone(), 1000);
    }
    used.insert(format!("count/{counted}"), 1000);
    used
}

fn of_pod(pod: &Value, used: &mut Amounts) {
    for side in ["requests", "limits"] {
        for container in list(pod, "/spec/containers") {
            let amounts = map(container, &format!("/resources/{side}"));
            for (name, given) in amounts.into_iter().flatten() {
                let given = amount(given.as_str().unwrap_or_default());
                *used.entry(format!("{side}.{name}")).or_default() += given;
                if side == "requests" {
                    *used.entry(name.clone()).or_default() += given;
                }
            }
        }
    }
}

fn amount(text: &str) -> i128 {
    quantity::milli(text).unwrap_or_default()
}

/// A count or an amount as quotas show it.
fn shown(milli: i128) -> String {
    let text = if milli % 1000 == 0 { (milli / 1000).to_string() } else { format!("{milli}m") };
    quantity::canonical(&text).unwrap_or(text)
}

/// What is used in the namespaces that have quotas, kept up to date change by change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Usage {
    sums: BTreeMap<String, Amounts>,
    /// The namespaces in which something has changed since the quotas were written.
    changed: BTreeSet<String>,
}

/// Follows a change of the store.
pub(crate) fn follow(world: &mut World, change: &Change) {
    let key = &change.key;
    if key.kind == custom::KIND && key.group == custom::GROUP {
        // Other kinds are served now, and so count.
        let known = std::mem::take(&mut world.usage.sums);
        world.usage.changed.extend(known.into_keys());
    }
    world.usage.changed.insert(key.namespace.clone());
    if !world.usage.sums.contains_key(&key.namespace) {
        return;
    }
    let Some(resource) = world.resource_of_kind(&key.group, &key.kind) else { return };
    let Some(sums) = world.usage.sums.get_mut(&key.namespace) else { return };
    for (state, sign) in [(change.before.as_ref(), -1), (change.after(), 1)] {
        for (name, amount) in state.map(|state| usage(state, &resource)).unwrap_or_default() {
            *sums.entry(name).or_default() += sign * amount;
        }
    }
}

/// What all objects of a namespace use of what a quota limits.
fn used(world: &mut World, namespace: &str, hard: &serde_json::Map<String, Value>) -> Amounts {
    world.hear();
    if !world.usage.sums.contains_key(namespace) {
        let mut sums = Amounts::new();
        for (key, value) in world.store.in_namespace(namespace) {
            let Some(resource) = world.resource_of_kind(&key.group, &key.kind) else { continue };
            for (name, amount) in usage(value, &resource) {
                *sums.entry(name).or_default() += amount;
            }
        }
        world.usage.sums.insert(namespace.to_owned(), sums);
    }
    let sums = world.usage.sums.get(namespace);
    let sum = |name: &String| sums.and_then(|sums| sums.get(name)).copied().unwrap_or_default();
    hard.keys().map(|name| (name.clone(), sum(name))).collect()
}

/// Writes into the quotas what is used of them, where something has changed.
pub(crate) fn settle(world: &mut World) {
    world.hear();
    for namespace in std::mem::take(&mut world.usage.changed) {
        let quotas = quotas(&world.store, &namespace);
        if quotas.is_empty() {
            world.usage.sums.remove(&namespace);
        }
        for quota in quotas {
            let hard = map(&quota, "/spec/hard").cloned().unwrap_or_default();
            let used = used(world, &namespace, &hard);
            let used: serde_json::Map<String, Value> =
                used.into_iter().map(|(name, amount)| (name, shown(amount).into())).collect();
            let status = json!({"hard": hard, "used": used});
            if quota.get("status") != Some(&status) {
                let mut quota = Value::clone(&quota);
                object::set(&mut quota, "status", status);
                world.store.put(&object::key(&quota), quota);
            }
        }
    }
}

/// Refuses a new object by which a quota would be exceeded.
pub(crate) fn check(world: &mut World, resource: &Resource, value: &Value) -> Result<(), Refusal> {
    let namespace = object::namespace(value);
    let refused =
        |why: String| Err(Refusal::forbidden(resource.subject(object::name(value)), &why));
    for quota in quotas(&world.store, namespace) {
        let hard = map(&quota, "/spec/hard").cloned().unwrap_or_default();
        let asked = usage(value, resource);
        let asked: Amounts =
            asked.into_iter().filter(|(name, _)| hard.contains_key(name)).collect();
        let name = object::name(&quota);
        if resource.kind == "Pod" && resource.group.is_empty() {
            let measured = ["cpu", "memory", "requests.", "limits."];
            let missing: Vec<&str> = hard
                .keys()
                .filter(|name| measured.iter().any(|start| name.starts_with(start)))
                .filter(|name| !name.ends_with("storage") && !asked.contains_key(*name))
                .map(String::as_str)
                .collect();
            if !missing.is_empty() {
                return refused(format!(
                    "failed quota: {name}: must specify {}",
                    missing.join(",")
                ));
            }
        }
        let used = used(world, namespace, &hard);
        let limit = |name: &str| amount(hard.get(name).and_then(Value::as_str).unwrap_or_default());
        let exceeded: Vec<&String> = asked
            .iter()
            .filter(|(name, asked)| {
                **asked > 0 && used.get(*name).copied().unwrap_or_default() + **asked > limit(name)
            })
            .map(|(name, _)| name)
            .collect();
        if exceeded.is_empty() {
            continue;
        }
        let all = |amounts: &dyn Fn(&str) -> i128| {
            let parts = exceeded.iter().map(|name| format!("{name}={}", shown(amounts(name))));
            parts.collect::<Vec<_>>().join(",")
        };
        return refused(format!(
            "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
            all(&|name| asked.get(name).copied().unwrap_or_default()),
            all(&|name| used.get(name).copied().unwrap_or_default()),
            all(&limit),
        ));
    }
    Ok(())
}

fn quotas(store: &Store, namespace: &str) -> Vec<Arc<Value>> {
    store.of_kind("", "ResourceQuota", Some(namespace)).cloned().collect()
}

/// The limits that a namespace sets for containers.
fn limits(store: &Store, namespace: &str) -> Vec<Value> {
    store
        .of_kind("", "LimitRange", Some(namespace))
        .flat_map(|range| list(range, "/spec/limits"))
        .filter(|limit| text(limit, "/type") == "Container")
        .cloned()
        .collect()
}

/// The admission plugin `LimitRanger`: completes the containers of a new pod, and refuses those beyond the limits.
pub(crate) fn limit(world: &World, pod: &mut Value) -> Result<(), Refusal> {
    let limits = limits(&world.store, object::namespace(pod));
    for limit in &limits {
        for container in items_mut(pod, "/spec/containers") {
            for (default, side) in [("default", "limits"), ("defaultRequest", "requests")] {
                complete(container, side, map(limit, &format!("/{default}")));
            }
        }
    }
    let mut wrong = Vec::new();
    for limit in &limits {
        for container in list(pod, "/spec/containers") {
            wrong.extend(beyond(container, limit));
        }
    }
    let subject = crate::status::Subject { group: "", resource: "pods", name: object::name(pod) };
    match wrong.as_slice() {
        [] => Ok(()),
        [one] => Err(Refusal::forbidden(subject, one)),
        many => Err(Refusal::forbidden(subject, &format!("[{}]", many.join(", ")))),
    }
}

fn complete(container: &mut Value, side: &str, defaults: Option<&serde_json::Map<String, Value>>) {
    let Some(defaults) = defaults else { return };
    let Some(resources) = object::map_mut(container, "resources") else { return };
    let amounts = resources.entry(side.to_owned()).or_insert_with(|| json!({}));
    for (name, amount) in defaults {
        object::set_default(amounts, name, amount.clone());
    }
}

/// What of a container is beyond a limit.
fn beyond(container: &Value, limit: &Value) -> Vec<String> {
    let of = |side: &str, name: &str| {
        map(container, &format!("/resources/{side}"))
            .and_then(|amounts| amounts.get(name))
            .and_then(Value::as_str)
    };
    let mut wrong = Vec::new();
    for (name, least) in map(limit, "/min").into_iter().flatten() {
        let least = least.as_str().unwrap_or_default();
        match of("requests", name) {
            None => wrong.push(format!(
                "minimum {name} usage per Container is {least}.  No request is specified"
            )),
            Some(asked) if amount(asked) < amount(least) => wrong.push(format!(
                "minimum {name} usage per Container is {least}, but request is {asked}"
            )),
            Some(_) => {}
        }
    }
    for (name, most) in map(limit, "/max").into_iter().flatten() {
        let most = most.as_str().unwrap_or_default();
        match of("limits", name) {
            None => wrong.push(format!(
                "maximum {name} usage per Container is {most}.  No limit is specified"
            )),
            Some(given) if amount(given) > amount(most) => wrong.push(format!(
                "maximum {name} usage per Container is {most}, but limit is {given}"
            )),
            Some(_) => {}
        }
    }
    wrong
}
