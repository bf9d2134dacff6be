//! Autoscalers (`HorizontalPodAutoscaler`), of any version: what they scale, between which numbers, and how one is held at a
//! number of pods for a while.
//!
//! What is to be given back is written on the autoscaler itself, by the same write that holds it: whatever becomes of us,
//! neither is ever there without the other, and whoever looks at it sees why it does not scale.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::object::{FIELD_MANAGER, Object, ObjectRef, group_of, text_of};

/// Where an autoscaler is read that no document names: every server since 1.2 has it there.
pub const API_VERSION: &str = "autoscaling/v1";

/// The kind.
pub const KIND: &str = "HorizontalPodAutoscaler";

/// The field of a workload that it sets, as differences show it.
pub const REPLICAS: &str = "spec.replicas";

/// Whether a reference is one of an autoscaler.
pub fn is_one(reference: &ObjectRef) -> bool {
    reference.group == "autoscaling" && reference.kind == KIND
}

/// Annotation of an autoscaler that is held: its bounds as they were, the number of pods at which it is held, and who had
/// set the bounds.
pub const HELD: &str = "tidegate.dev/held";

/// The fields that hold it, as the server's record of managers names them.
const BOUNDS: [&str; 2] = ["f:minReplicas", "f:maxReplicas"];

/// What [`HELD`] says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Held {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    min: Option<i64>,
    max: i64,
    pods: u32,
    /// Index in [`BOUNDS`], manager and operation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    set_by: Vec<(usize, String, String)>,
}

/// The workload that it scales; `None` when it names none.
pub fn target(reference: &ObjectRef, autoscaler: &Object) -> Option<ObjectRef> {
    let text = |key: &str| autoscaler.get("/spec/scaleTargetRef")?.get(key).and_then(Value::as_str);
    Some(ObjectRef {
        cluster: reference.cluster.clone(),
        group: group_of(text("apiVersion").unwrap_or_default()).to_owned(),
        kind: text("kind")?.to_owned(),
        namespace: reference.namespace.clone(),
        name: text("name")?.to_owned(),
    })
}

/// Fewest and most pods; fewest is 1 where nothing is said (Kubernetes API).
pub fn bounds(autoscaler: &Object) -> (u32, u32) {
    let number = |pointer: &str| {
        let number = autoscaler.integer(pointer).unwrap_or(1);
        u32::try_from(number).unwrap_or(0)
    };
    (number("/spec/minReplicas"), number("/spec/maxReplicas"))
}

/// Whether it may make the number of pods another one than this.
pub fn may_move(autoscaler: &Object, pods: u32) -> bool {
    bounds(autoscaler) != (pods, pods)
}

/// Whether it is held by us.
pub fn is_held(autoscaler: &Object) -> bool {
    autoscaler.annotation(HELD).is_some()
}

/// The operations of the JSON patch (RFC 6902) that holds it at a number of pods. What it was before a hold that is there
/// already stays what is given back.
pub fn hold(autoscaler: &Object, pods: u32) -> Vec<Value> {
    let held = match known(autoscaler) {
        Some(known) => Held { pods, ..known },
        None => Held {
            min: autoscaler.integer("/spec/minReplicas"),
            max: autoscaler.integer("/spec/maxReplicas").unwrap_or(1),
            pods,
            set_by: set_by(autoscaler),
        },
    };
    let text = json!(held).to_string();
    let mut patch = Vec::new();
    if autoscaler.get("/metadata/annotations").is_none() {
        patch.push(json!({"op": "add", "path": "/metadata/annotations", "value": {}}));
    }
    patch.push(json!({"op": "add", "path": at_annotation(), "value": text}));
    patch.push(json!({"op": "add", "path": "/spec/minReplicas", "value": pods}));
    patch.push(json!({"op": "add", "path": "/spec/maxReplicas", "value": pods}));
    patch
}

/// Those of the next JSON patch on the way back: first the bounds, then the annotation with the record of who set them.
/// `None` when it is not held. Bounds that somebody has changed meanwhile stay as they are.
pub fn let_go(autoscaler: &Object) -> Option<Vec<Value>> {
    autoscaler.annotation(HELD)?;
    let mut patch = Vec::new();
    let held = known(autoscaler);
    if let Some(held) = &held {
        let bounds =
            (autoscaler.integer("/spec/minReplicas"), autoscaler.integer("/spec/maxReplicas"));
        let pods = i64::from(held.pods);
        let before = (held.min, Some(held.max));
        if bounds == (Some(pods), Some(pods)) && bounds != before {
            patch.push(match held.min {
                Some(min) => json!({"op": "add", "path": "/spec/minReplicas", "value": min}),
                None => json!({"op": "remove", "path": "/spec/minReplicas"}),
            });
            patch.push(json!({"op": "add", "path": "/spec/maxReplicas", "value": held.max}));
            return Some(patch);
        }
        if bounds == before
            && let Some(managers) = as_before(autoscaler, held)
        {
            let path = "/metadata/managedFields";
            patch.push(json!({"op": "replace", "path": path, "value": managers}));
        }
    }
    patch.push(json!({"op": "remove", "path": at_annotation()}));
    Some(patch)
}

fn at_annotation() -> String {
    format!("/metadata/annotations/{}", HELD.replace('/', "~1"))
}

fn known(autoscaler: &Object) -> Option<Held> {
    serde_json::from_str(autoscaler.annotation(HELD)?).ok()
}

/// Who has set the bounds, by the server's record (Kubernetes, `Server-Side Apply`, field management).
fn set_by(autoscaler: &Object) -> Vec<(usize, String, String)> {
    let of_entry = |entry| {
        let spec = move |field: &str| {
            let fields: &Value = entry;
            fields.get("fieldsV1")?.get("f:spec")?.get(field)
        };
        let own = BOUNDS.into_iter().enumerate().filter(move |(_, field)| spec(field).is_some());
        own.map(move |(index, _)| {
            (index, text_of(entry, "manager").to_owned(), text_of(entry, "operation").to_owned())
        })
    };
    autoscaler.managers().flat_map(of_entry).collect()
}

/// The record of managers as it was before the hold: bounds and annotation are not ours by it, and again whose they were.
fn as_before(autoscaler: &Object, held: &Held) -> Option<Value> {
    let mut entries: Vec<Value> = autoscaler.managers().cloned().collect();
    if entries.is_empty() {
        return None;
    }
    for entry in &mut entries {
        let (manager, operation) =
            (text_of(entry, "manager").to_owned(), text_of(entry, "operation").to_owned());
        let is_hold = manager == FIELD_MANAGER && operation == "Update";
        for (index, field) in BOUNDS.into_iter().enumerate() {
            let was_its = held.set_by.contains(&(index, manager.clone(), operation.clone()));
            if was_its {
                let mut inner = Object::new(entry.take());
                inner.set(&["fieldsV1", "f:spec", field], json!({}));
                *entry = inner.into_value();
            } else if is_hold
                && let Some(Value::Object(spec)) = entry.pointer_mut("/fieldsV1/f:spec")
            {
                spec.remove(field);
            }
        }
        let annotations = entry.pointer_mut("/fieldsV1/f:metadata/f:annotations");
        if let Some(Value::Object(annotations)) = annotations.filter(|_| is_hold) {
            annotations.remove(&format!("f:{HELD}"));
        }
        if is_hold && let Some(Value::Object(fields)) = entry.get_mut("fieldsV1") {
            drop_empty(fields);
        }
    }
    // Who has lost all that it had set has lost its entry.
    for (index, manager, operation) in &held.set_by {
        let is_own =
            |it: &Value| text_of(it, "manager") == manager && text_of(it, "operation") == operation;
        let Some(field) = BOUNDS.get(*index).filter(|_| !entries.iter().any(is_own)) else {
            continue;
        };
        entries.push(json!({
            "manager": manager, "operation": operation, "apiVersion": autoscaler.api_version(),
            "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {(*field): {}}},
        }));
    }
    entries.retain(|entry| {
        entry.get("fieldsV1").and_then(Value::as_object).is_none_or(|fields| !fields.is_empty())
    });
    Some(Value::Array(entries))
}

/// Takes names away that lead to nothing any more. A name that is there for itself is an empty map, or has `.` in it.
fn drop_empty(fields: &mut Map<String, Value>) {
    for name in ["f:spec", "f:metadata"] {
        if let Some(Value::Object(inner)) = fields.get_mut(name) {
            let is_bare = |value: &Value| {
                value.as_object().is_some_and(|map| map.is_empty() || map.keys().eq(["."]))
            };
            if inner.get("f:annotations").is_some_and(is_bare) {
                inner.remove("f:annotations");
            }
            if inner.is_empty() {
                fields.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn autoscaler(spec: &Value) -> Object {
        Object::new(json!({"apiVersion": "autoscaling/v2", "kind": KIND,
            "metadata": {"name": "web", "namespace": "shop"}, "spec": spec}))
    }

    #[test]
    fn it_scales_the_workload_of_its_namespace_that_it_names() {
        let own = autoscaler(&json!({"maxReplicas": 3, "scaleTargetRef":
            {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}));
        let target = target(&own.reference("room-a"), &own).unwrap();
        assert_eq!(format!("{target:?}"), "room-a: Deployment shop/web");
        let none = autoscaler(&json!({"maxReplicas": 3}));
        assert_eq!(super::target(&none.reference("room-a"), &none), None);
    }

    #[rstest]
    #[case(json!({"minReplicas": 6, "maxReplicas": 6}), false)]
    #[case(json!({"minReplicas": 3, "maxReplicas": 6}), true)]
    #[case(json!({"minReplicas": 6, "maxReplicas": 9}), true)]
    #[case(json!({"maxReplicas": 6}), true)]
    #[case(json!({"minReplicas": 4, "maxReplicas": 4}), true)]
    fn it_is_held_when_both_bounds_are_the_number_that_there_is(
        #[case] spec: Value,
        #[case] moves: bool,
    ) {
        assert_eq!(may_move(&autoscaler(&spec), 6), moves);
    }

    /// What a server makes of a JSON patch, as far as these go.
    fn patched(object: &Object, patch: &[Value]) -> Object {
        let mut value = object.clone().into_value();
        for step in patch {
            let path = step["path"].as_str().unwrap();
            let (parent, name) = path.rsplit_once('/').unwrap();
            let name = name.replace("~1", "/");
            let parent = value.pointer_mut(parent).unwrap().as_object_mut().unwrap();
            if step["op"] == "remove" {
                parent.remove(&name).unwrap();
            } else {
                parent.insert(name, step["value"].clone());
            }
        }
        Object::new(value)
    }

    fn managed() -> Object {
        let mut own = autoscaler(&json!({"minReplicas": 2, "maxReplicas": 9}));
        own.set(
            &["metadata", "managedFields"],
            json!([
                {"manager": "flux", "operation": "Apply", "fieldsType": "FieldsV1",
                 "fieldsV1": {"f:spec": {"f:minReplicas": {}, "f:scaleTargetRef": {}}}},
                {"manager": "kubectl-edit", "operation": "Update", "apiVersion": "autoscaling/v2",
                 "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:maxReplicas": {}}}},
            ]),
        );
        own
    }

    /// The record of managers after our write, as a server keeps it: who loses all loses its entry.
    fn taken(held: &mut Object) {
        held.set(
            &["metadata", "managedFields"],
            json!([
                {"manager": "flux", "operation": "Apply", "fieldsType": "FieldsV1",
                 "fieldsV1": {"f:spec": {"f:scaleTargetRef": {}}}},
                {"manager": "tidegate", "operation": "Update", "fieldsType": "FieldsV1",
                 "fieldsV1": {"f:spec": {"f:minReplicas": {}, "f:maxReplicas": {}},
                    "f:metadata": {"f:annotations": {".": {}, "f:tidegate.dev/held": {}}}}},
            ]),
        );
    }

    #[test]
    fn it_is_held_and_let_go_as_it_was_with_the_record_of_who_set_it() {
        let own = managed();
        let mut held = patched(&own, &hold(&own, 6));
        assert_eq!((bounds(&held), is_held(&held)), ((6, 6), true));
        taken(&mut held);
        let free = patched(&held, &let_go(&held).unwrap());
        assert_eq!((bounds(&free), is_held(&free)), ((2, 9), true));
        let free = patched(&free, &let_go(&free).unwrap());
        assert!(!is_held(&free) && let_go(&free).is_none());
        assert_eq!(free.get("/metadata/managedFields"), own.get("/metadata/managedFields"));
    }

    #[test]
    fn what_is_held_again_gets_back_what_it_had_at_first() {
        let own = autoscaler(&json!({"minReplicas": 2, "maxReplicas": 9}));
        let held = patched(&own, &hold(&own, 6));
        let again = patched(&held, &hold(&held, 4));
        assert_eq!(bounds(&again), (4, 4));
        assert_eq!(bounds(&patched(&again, &let_go(&again).unwrap())), (2, 9));
    }

    #[test]
    fn bounds_that_somebody_changes_meanwhile_stay() {
        let own = autoscaler(&json!({"minReplicas": 2, "maxReplicas": 9}));
        let mut held = patched(&own, &hold(&own, 6));
        held.set(&["spec", "maxReplicas"], json!(12));
        let free = patched(&held, &let_go(&held).unwrap());
        assert_eq!((bounds(&free), is_held(&free)), ((6, 12), false));
    }
}
