//! Fields that are left to somebody else once the object exists: an autoscaler's replicas, an injected certificate.
//!
//! What is left is written on the object ([`IGNORE_ANNOTATION`]), so that whoever looks at it sees it too, and the apply
//! does as the preview did. A field stays as it is in the cluster: where another manager owns it we no longer send it, and
//! where only we do we send what is there, since a field that nobody owns any more would go (Kubernetes, `Server-Side
//! Apply`).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::object::{FIELD_MANAGER, Object};

/// Annotation of an object with fields that are left to others: a JSON map from path to reason.
pub const IGNORE_ANNOTATION: &str = "tidegate.dev/ignore";

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// A field of a map.
    Field(String),
    /// The element of a list that has these fields.
    Element(Vec<(String, String)>),
}

/// A path as differences show it: `spec.containers[name=web].image`, `metadata.annotations["a.b/c"]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(Vec<Step>);

impl Path {
    /// Reads a path; `None` when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        };
        let step = |part: Part<'_>| match part {
            Part::Name(name) => Some(Step::Field(name.to_owned())),
            Part::Element(keys) => {
                Some(Step::Element(keys.split(',').map(pair).collect::<Option<_>>()?))
            }
        };
        let steps: Vec<Step> = parts(text)?.into_iter().map(step).collect::<Option<_>>()?;
        (!steps.is_empty()).then_some(Self(steps))
    }

    /// Whether another path leads to the same field, or into it.
    pub fn covers(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }

    /// Whether an object has the field.
    pub fn is_in(&self, object: &Object) -> bool {
        get(object.value(), &self.0).is_some()
    }
}

/// One part of a path as differences show it.
pub(crate) enum Part<'a> {
    /// A field, quoted or plain.
    Name(&'a str),
    /// What stands in the brackets of a list's element.
    Element(&'a str),
}

/// The parts of a path; `None` when it is none.
pub(crate) fn parts(text: &str) -> Option<Vec<Part<'_>>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix("[\"") {
            let (name, after) = quoted.split_once("\"]")?;
            parts.push(Part::Name(name));
            rest = after;
        } else if let Some(keys) = rest.strip_prefix('[') {
            let (keys, after) = keys.split_once(']')?;
            parts.push(Part::Element(keys));
            rest = after;
        } else {
            let plain = if parts.is_empty() { rest } else { rest.strip_prefix('.')? };
            let end = plain.find(['.', '[']).unwrap_or(plain.len());
            let (name, after) = plain.split_at(end);
            if name.is_empty() {
                return None;
            }
            parts.push(Part::Name(name));
            rest = after;
        }
    }
    Some(parts)
}

/// The path of a key of a map as a difference shows it.
pub fn path_of_key(map: &str, key: &str) -> String {
    let is_plain =
        !key.is_empty() && key.chars().all(|it| it.is_ascii_alphanumeric() || "_-".contains(it));
    if is_plain { format!("{map}.{key}") } else { format!("{map}[\"{key}\"]") }
}

/// Leaves a field of an object to others from now on.
pub fn leave(object: &mut Object, path: &str, reason: &str) {
    let mut fields = left(object);
    fields.insert(path.to_owned(), reason.to_owned());
    let text = serde_json::to_string(&fields).unwrap_or_default();
    object.set(&["metadata", "annotations", IGNORE_ANNOTATION], Value::String(text));
}

/// The fields of an object that are left to others, by path, each with the reason.
pub fn left(object: &Object) -> BTreeMap<String, String> {
    let text = object.annotation(IGNORE_ANNOTATION).unwrap_or_default();
    serde_json::from_str(text).unwrap_or_default()
}

/// Whether a field of an object is left to others.
pub fn is_left(object: &Object, path: &str) -> bool {
    left(object).contains_key(path)
}

/// Takes a field back that was left to others.
pub fn take_back(object: &mut Object, path: &str) {
    let mut fields = left(object);
    if fields.remove(path).is_some() {
        let text = serde_json::to_string(&fields).unwrap_or_default();
        object.set(&["metadata", "annotations", IGNORE_ANNOTATION], Value::String(text));
    }
}

/// The object as it is to be sent: as the documents say, but for what is left to others when the object exists.
pub fn sent(desired: &Object, live: Option<&Object>) -> Object {
    let mut result = desired.clone();
    let Some(live) = live else { return result };
    for path in left(desired).keys().filter_map(|path| Path::parse(path)) {
        let is_anothers = managers(live)
            .any(|(manager, fields)| manager != FIELD_MANAGER && owns(fields, &path.0));
        match get(live.value(), &path.0) {
            Some(there) if !is_anothers => replace(result.value_mut(), &path.0, there),
            Some(_) | None => remove(result.value_mut(), &path.0),
        }
    }
    result
}

/// The managers of a live object with what they own.
fn managers(live: &Object) -> impl Iterator<Item = (&str, &Value)> {
    live.managers()
        .filter_map(|entry| Some((entry.get("manager")?.as_str()?, entry.get("fieldsV1")?)))
}

/// Whether a set of fields has a path or something in it.
fn owns(fields: &Value, path: &[Step]) -> bool {
    let Some((step, rest)) = path.split_first() else { return true };
    let is_step = |name: &str| match (step, name.split_once(':')) {
        (Step::Field(field), Some(("f", name))) => field == name,
        (Step::Element(keys), Some(("k", key))) => {
            serde_json::from_str::<Map<String, Value>>(key).is_ok_and(|key| has(&key, keys))
        }
        _ => false,
    };
    let inner = fields.as_object().into_iter().flatten().filter(|(name, _)| is_step(name));
    inner.into_iter().any(|(_, inner)| owns(inner, rest))
}

/// Whether an element has the keys; a port without a protocol means TCP.
fn has(element: &Map<String, Value>, keys: &[(String, String)]) -> bool {
    keys.iter().all(|(name, wanted)| match element.get(name) {
        Some(Value::String(text)) => text == wanted,
        Some(other) => serde_json::from_str::<Value>(wanted).is_ok_and(|wanted| wanted == *other),
        None => name == "protocol" && wanted == "TCP",
    })
}

fn position(list: &[Value], keys: &[(String, String)]) -> Option<usize> {
    list.iter().position(|item| item.as_object().is_some_and(|item| has(item, keys)))
}

fn get<'a>(value: &'a Value, path: &[Step]) -> Option<&'a Value> {
    let Some((step, rest)) = path.split_first() else { return Some(value) };
    match step {
        Step::Field(name) => get(value.get(name)?, rest),
        Step::Element(keys) => {
            let list = value.as_array()?;
            get(list.get(position(list, keys)?)?, rest)
        }
    }
}

fn get_mut<'a>(value: &'a mut Value, path: &[Step]) -> Option<&'a mut Value> {
    let Some((step, rest)) = path.split_first() else { return Some(value) };
    match step {
        Step::Field(name) => get_mut(value.get_mut(name)?, rest),
        Step::Element(keys) => {
            let list = value.as_array_mut()?;
            let at = position(list, keys)?;
            get_mut(list.get_mut(at)?, rest)
        }
    }
}

/// Puts another value where one is; what the documents do not have is not added.
fn replace(value: &mut Value, path: &[Step], with: &Value) {
    if let Some(place) = get_mut(value, path) {
        place.clone_from(with);
    }
}

fn remove(value: &mut Value, path: &[Step]) {
    let Some((last, before)) = path.split_last() else { return };
    match (get_mut(value, before), last) {
        (Some(Value::Object(map)), Step::Field(name)) => {
            map.remove(name);
        }
        (Some(Value::Array(list)), Step::Element(keys)) => {
            if let Some(at) = position(list, keys) {
                list.remove(at);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case("spec.replicas", true)]
    #[case("spec.template.spec.containers[name=web].image", true)]
    #[case(
        "spec.template.spec.containers[name=web].ports[containerPort=53,protocol=TCP].name",
        true
    )]
    #[case("metadata.annotations[\"a.b/c\"]", true)]
    #[case("spec.template.spec.containers[name=other].image", false)]
    #[case("spec.paused", false)]
    fn a_path_as_a_difference_shows_it_leads_to_its_field(#[case] path: &str, #[case] is: bool) {
        let object = Object::new(
            json!({"metadata": {"annotations": {"a.b/c": "1"}}, "spec": {"replicas": 1,
            "template": {"spec": {"containers": [{"name": "web", "image": "w",
                "ports": [{"containerPort": 53, "name": "dns"}]}]}}}}),
        );
        assert_eq!(Path::parse(path).unwrap().is_in(&object), is);
    }

    #[rstest]
    #[case("")]
    #[case(".spec")]
    #[case("spec..replicas")]
    #[case("spec.list[web]")]
    #[case("spec.list[name=web")]
    #[case("spec[\"a]")]
    fn what_is_no_path_is_refused(#[case] text: &str) {
        assert_eq!(Path::parse(text), None);
    }

    fn deployment(replicas: u32, manager: &str) -> Object {
        Object::new(json!({"metadata": {"name": "web", "managedFields": [
            {"manager": FIELD_MANAGER, "fieldsV1": {"f:spec": {"f:paused": {}}}},
            {"manager": manager, "subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]},
            "spec": {"replicas": replicas, "paused": false}}))
    }

    #[test]
    fn what_another_manager_owns_is_not_sent_and_what_only_we_own_stays_as_it_is() {
        let mut desired = Object::new(
            json!({"metadata": {"name": "web"}, "spec": {"replicas": 2, "paused": true}}),
        );
        leave(&mut desired, "spec.replicas", "an autoscaler sets it");
        let replicas = |live: Option<&Object>| sent(&desired, live).integer("/spec/replicas");
        assert_eq!(replicas(None), Some(2), "a new object is as the documents say");
        assert_eq!(replicas(Some(&deployment(7, "hpa"))), None);
        assert_eq!(replicas(Some(&deployment(7, FIELD_MANAGER))), Some(7));
        let gone = Object::new(json!({"metadata": {"name": "web"}, "spec": {}}));
        assert_eq!(replicas(Some(&gone)), None, "it stays away");
        let object = sent(&desired, Some(&deployment(7, "hpa")));
        assert_eq!(object.get("/spec/paused"), Some(&json!(true)), "nothing else is left");
        assert_eq!(left(&object)["spec.replicas"], "an autoscaler sets it");
    }
}
