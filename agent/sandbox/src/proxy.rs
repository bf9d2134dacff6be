//! Requests that the API server hands on to pods and Services (`pods/proxy`, `services/proxy`). No program runs, so images say
//! what is answered.
//!
//! Whom a Service leads to is found as the API server finds it (`registry/core/service`, `ResourceLocation`): by the old kind
//! of endpoints.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::control::ObjectKey;
use crate::controller::{self, Measured};
use crate::dispatch::{Call, Outcome, is_ready};
use crate::object::{integer, list, text};
use crate::resource::Resource;
use crate::status::Refusal;
use crate::world::World;
use crate::write;

/// Where a Prometheus takes queries of one instant.
const QUERY: &str = "api/v1/query";

/// Answers for a pod, or for one of those behind a Service.
pub(crate) fn answer(
    world: &World,
    resource: &Resource,
    call: &Call<'_>,
) -> Result<Outcome, Refusal> {
    let place = &call.place;
    let kind = resource.kind.to_lowercase();
    let (name, port) = split(&place.name)
        .ok_or_else(|| Refusal::bad_request(format!("invalid {kind} request {:?}", place.name)))?;
    if resource.kind == "Service" {
        let (pod, port) = behind(world, resource, call, (name, port))?;
        return answer_of(&pod, port, call);
    }
    let key = ObjectKey::new("", "Pod", &place.namespace, name);
    let pod = write::find(&world.store, resource, &key)?;
    let port = port_of(&pod, port);
    answer_of(&pod, port, call)
}

/// Name and port of `NAME`, `NAME:PORT` or `SCHEME:NAME:PORT`; the port is empty when it is not said.
fn split(id: &str) -> Option<(&str, &str)> {
    let parts: Vec<&str> = id.split(':').collect();
    let (scheme, name, port) = match parts.as_slice() {
        [name] => ("", *name, ""),
        [name, port] => ("", *name, *port),
        [scheme, name, port] => (*scheme, *name, *port),
        _ => return None,
    };
    (matches!(scheme, "" | "http" | "https") && !name.is_empty()).then_some((name, port))
}

/// A pod that a Service leads to, and its port.
fn behind(
    world: &World,
    resource: &Resource,
    call: &Call<'_>,
    (name, port): (&str, &str),
) -> Result<(Arc<Value>, i64), Refusal> {
    let unavailable = |why: &str| Refusal::plain(503, "ServiceUnavailable", why);
    let namespace = call.place.namespace.as_str();
    let mut port_name = port.to_owned();
    if let Ok(number) = port.parse::<i64>() {
        let key = ObjectKey::new("", "Service", namespace, name);
        let service = write::find(&world.store, resource, &key)?;
        let mut ports = list(&service, "/spec/ports").iter();
        let found = ports.find(|known| integer(known, "/port") == Some(number));
        let found = found.ok_or_else(|| {
            unavailable(&format!("no service port {number} found for service {name:?}"))
        })?;
        text(found, "/name").clone_into(&mut port_name);
    }
    // Where there are none, the server says that there is no Service.
    let key = ObjectKey::new("", "Endpoints", namespace, name);
    let endpoints = write::find(&world.store, resource, &key)?;
    let subsets = list(&endpoints, "/subsets");
    if subsets.is_empty() {
        return Err(unavailable(&format!("no endpoints available for service {name:?}")));
    }
    let mut pods = subsets.iter().flat_map(|subset| {
        let mut ports = list(subset, "/ports").iter();
        let port = ports.find(|known| text(known, "/name") == port_name);
        let port = port.and_then(|port| integer(port, "/port"));
        list(subset, "/addresses").iter().filter_map(move |address| {
            // What is no pod is not asked.
            let target = text(address, "/targetRef/name");
            let key = ObjectKey::new("", "Pod", namespace, target);
            let pod = world.store.object(&key)?;
            let is_there = text(pod, "/status/podIP") == text(address, "/ip");
            is_there.then(|| Some((Arc::clone(pod), port?))).flatten()
        })
    });
    let id = &call.place.name;
    // The real one takes any.
    pods.next().ok_or_else(|| unavailable(&format!("no endpoints available for service {id:?}")))
}

/// The port of a pod that is asked: the first one when it is not said.
fn port_of(pod: &Value, named: &str) -> i64 {
    let mut ports =
        list(pod, "/spec/containers").iter().flat_map(|container| list(container, "/ports"));
    let found = match named.parse::<i64>() {
        Ok(number) => return number,
        Err(_) if named.is_empty() => ports.next(),
        Err(_) => ports.find(|port| text(port, "/name") == named),
    };
    found.and_then(|port| integer(port, "/containerPort")).unwrap_or(80)
}

/// What a pod answers: nothing before it is ready or where nobody listens, an error where its image says `check-fail`, and to
/// a query what its image says that it measures.
fn answer_of(pod: &Value, port: i64, call: &Call<'_>) -> Result<Outcome, Refusal> {
    let containers = list(pod, "/spec/containers");
    let address = text(pod, "/status/podIP");
    if address.is_empty() {
        return Err(Refusal::bad_request("address not allowed"));
    }
    let mut ports = containers.iter().flat_map(|container| list(container, "/ports"));
    let is_heard = ports.any(|known| integer(known, "/containerPort") == Some(port));
    if !is_ready(pod) || !is_heard {
        let why = format!("dial tcp {address}:{port}: connect: connection refused");
        let text = format!("error trying to reach service: {why}");
        return Err(Refusal::plain(503, "ServiceUnavailable", &text));
    }
    let images = || containers.iter().map(|container| text(container, "/image"));
    if images().any(controller::fails_checks) {
        return Ok(Outcome::Proxied { code: 500, text: "fails\n".to_owned() });
    }
    let measured = images().find_map(controller::measures);
    if let Some(measured) = measured.filter(|_| call.place.rest.ends_with(QUERY)) {
        let (code, answer) = to_query(measured, call);
        return Ok(Outcome::Proxied { code, text: answer.to_string() });
    }
    Ok(Outcome::Proxied { code: 200, text: "ok\n".to_owned() })
}

/// What a Prometheus answers (prometheus.io, "Querying API").
fn to_query(measured: Measured<'_>, call: &Call<'_>) -> (u16, Value) {
    if call.query.get("query").trim().is_empty() {
        let error = "invalid parameter \"query\": 1:1: parse error: no expression found in input";
        return (400, json!({"status": "error", "errorType": "bad_data", "error": error}));
    }
    let at = call.now.as_second();
    let result = match measured {
        Measured::Nothing => json!([]),
        Measured::Value(value) => json!([{"metric": {}, "value": [at, value]}]),
    };
    (200, json!({"status": "success", "data": {"resultType": "vector", "result": result}}))
}
