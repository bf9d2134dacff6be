//! Whether an object is as desired already, told from the server's own record of who set what, so that it need not be asked.
//!
//! Applying replaces the set of fields that we own by those that we send, and gives each the value that we send (Kubernetes,
//! `Server-Side Apply`). Where both are so already, applying would change nothing. Everything that cannot be told without
//! the kind's schema counts as "not certain": then the server is asked.

use serde_json::{Map, Value};

use super::ownership::has_key;
use crate::object::{FIELD_MANAGER, Object, text_of};

/// Fields of an object that nobody owns, as they are what identifies it (Kubernetes, `Server-Side Apply`).
const IDENTITY: [&str; 2] = ["name", "namespace"];

/// Whether applying would certainly leave the object as it is. `desired` must be at the version at which it would be sent.
///
/// `false` says nothing: defaults of element keys, quantities written in another way, several records of ours.
pub fn is_in_place(desired: &Object, live: &Object) -> bool {
    if live.get("/metadata/deletionTimestamp").is_some() {
        return false;
    }
    let Some(owned) = applied_fields(desired, live) else { return false };
    let (Some(wanted), Some(there)) = (desired.value().as_object(), live.value().as_object())
    else {
        return false;
    };
    let is_identity = |name: &str| matches!(name, "apiVersion" | "kind");
    let fields = wanted.iter().filter(|(name, _)| !is_identity(name));
    let mut count = 0;
    for (name, value) in fields {
        let (Some(owned), Some(there)) = (owned.get(&format!("f:{name}")), there.get(name)) else {
            // Nothing of the metadata need be ours.
            if name == "metadata" && is_bare(value) {
                continue;
            }
            return false;
        };
        count += 1;
        let is_same = if name == "metadata" {
            has_same_metadata(owned, value, there)
        } else {
            is_same(owned, value, there)
        };
        if !is_same {
            return false;
        }
    }
    count == names(owned)
}

/// What we own by applying, when there is one record of it and it is of the version that we would send.
fn applied_fields<'a>(desired: &Object, live: &'a Object) -> Option<&'a Map<String, Value>> {
    let mut ours = live.managers().filter(|entry| {
        text_of(entry, "manager") == FIELD_MANAGER
            && text_of(entry, "operation") == "Apply"
            && text_of(entry, "subresource").is_empty()
    });
    let entry = ours.next()?;
    let is_only = ours.next().is_none();
    let is_same_version = text_of(entry, "apiVersion") == desired.api_version()
        && live.api_version() == desired.api_version();
    entry.get("fieldsV1")?.as_object().filter(|_| is_only && is_same_version)
}

fn is_bare(metadata: &Value) -> bool {
    metadata.as_object().is_some_and(|it| it.keys().all(|key| IDENTITY.contains(&key.as_str())))
}

fn has_same_metadata(owned: &Value, wanted: &Value, there: &Value) -> bool {
    let Some(wanted) = wanted.as_object() else { return false };
    let is_own = |(name, _): &(&String, &Value)| !IDENTITY.contains(&name.as_str());
    let fields: Map<String, Value> =
        wanted.iter().filter(is_own).map(|(name, value)| (name.clone(), value.clone())).collect();
    is_same(owned, &Value::Object(fields), there)
}

/// How many names a set of fields has, without the mark that stands for the value itself.
fn names(owned: &Map<String, Value>) -> usize {
    owned.keys().filter(|name| *name != ".").count()
}

/// Whether we own exactly what is wanted here, and it is there.
fn is_same(owned: &Value, wanted: &Value, there: &Value) -> bool {
    let Some(owned) = owned.as_object() else { return false };
    if names(owned) == 0 {
        // One value as a whole: a scalar, a list or map without keys, or an empty one.
        return !wanted.is_null() && wanted == there;
    }
    match (wanted, there) {
        (Value::Object(wanted), Value::Object(there)) => {
            wanted.len() == names(owned)
                && wanted.iter().all(|(name, value)| {
                    let owned = owned.get(&format!("f:{name}"));
                    let there = there.get(name);
                    owned.zip(there).is_some_and(|(owned, there)| is_same(owned, value, there))
                })
        }
        (Value::Array(wanted), Value::Array(there)) => are_same(owned, wanted, there),
        _ => false,
    }
}

/// The same of a list whose elements are owned one by one. Their order counts: applying another one moves them.
fn are_same(owned: &Map<String, Value>, wanted: &[Value], there: &[Value]) -> bool {
    if wanted.len() != names(owned) {
        return false;
    }
    let mut places: Vec<(usize, usize)> = Vec::with_capacity(wanted.len());
    for (name, inner) in owned.iter().filter(|(name, _)| *name != ".") {
        let place = match name.split_once(':') {
            Some(("k", key)) => {
                let Ok(key) = serde_json::from_str::<Map<String, Value>>(key) else { return false };
                let is_it = |item: &Value| has_key(item, &key);
                only(wanted, is_it).zip(only(there, is_it))
            }
            Some(("v", value)) => {
                let Ok(value) = serde_json::from_str::<Value>(value) else { return false };
                let is_it = |item: &Value| *item == value;
                only(wanted, is_it).zip(only(there, is_it))
            }
            _ => None,
        };
        let Some(((at, wanted), (where_it_is, there))) = place else { return false };
        if !is_same(inner, wanted, there) {
            return false;
        }
        places.push((at, where_it_is));
    }
    places.sort_unstable();
    places.is_sorted_by_key(|(_, where_it_is)| *where_it_is)
}

/// The one element of which something holds.
fn only(items: &[Value], is_it: impl Fn(&Value) -> bool) -> Option<(usize, &Value)> {
    let mut found = items.iter().enumerate().filter(|(_, item)| is_it(item));
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn desired() -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}},
            "spec": {
                "replicas": 2,
                "template": {"spec": {"containers": [
                    {"name": "web", "image": "web:1", "args": ["a", "b"],
                     "ports": [{"containerPort": 80}]},
                    {"name": "side", "image": "side:1"},
                ]}},
            },
        })
    }

    /// As a server keeps it: with defaults, and with what others set.
    fn live() -> Value {
        let mut live = desired();
        live["metadata"]["uid"] = json!("1");
        live["metadata"]["labels"]["team"] = json!("payments");
        live["spec"]["paused"] = json!(false);
        live["spec"]["template"]["spec"]["containers"][0]["ports"][0]["protocol"] = json!("TCP");
        let containers = json!({
            r#"k:{"name":"web"}"#: {".": {}, "f:name": {}, "f:image": {}, "f:args": {},
                "f:ports": {r#"k:{"containerPort":80,"protocol":"TCP"}"#: {".": {}, "f:containerPort": {}}}},
            r#"k:{"name":"side"}"#: {".": {}, "f:name": {}, "f:image": {}},
        });
        live["metadata"]["managedFields"] = json!([
            {"manager": "kubectl-label", "operation": "Update", "apiVersion": "apps/v1",
             "fieldsV1": {"f:metadata": {"f:labels": {"f:team": {}}}}},
            {"manager": FIELD_MANAGER, "operation": "Apply", "apiVersion": "apps/v1",
             "fieldsV1": {
                "f:metadata": {"f:labels": {"f:app": {}}},
                "f:spec": {"f:replicas": {},
                    "f:template": {"f:spec": {"f:containers": containers}}},
            }},
        ]);
        live
    }

    fn set(value: &mut Value, pointer: &str, to: Value) {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        value.pointer_mut(parent).unwrap()[name] = to;
    }

    fn judged(desired: Value, live: Value) -> bool {
        is_in_place(&Object::new(desired), &Object::new(live))
    }

    #[test]
    fn what_we_own_and_want_and_is_there_is_in_place() {
        assert!(judged(desired(), live()));
    }

    #[rstest]
    #[case::another_value("/spec/replicas", json!(3))]
    #[case::a_field_more("/spec/paused", json!(false))]
    #[case::an_empty_map_more("/spec/strategy", json!({}))]
    #[case::a_label_that_another_set("/metadata/labels/team", json!("payments"))]
    #[case::a_part_of_a_list("/spec/template/spec/containers/0/args", json!(["a"]))]
    #[case::an_element_less("/spec/template/spec/containers", json!([{"name": "web", "image": "web:1"}]))]
    #[case::an_element_twice("/spec/template/spec/containers", json!([
        {"name": "web", "image": "web:1"}, {"name": "web", "image": "web:1"}]))]
    #[case::elements_in_another_order("/spec/template/spec/containers", json!([
        {"name": "side", "image": "side:1"},
        {"name": "web", "image": "web:1", "args": ["a", "b"], "ports": [{"containerPort": 80}]}]))]
    #[case::a_key_that_is_not_ours("/spec/template/spec/containers/0/ports", json!([{"containerPort": 81}]))]
    #[case::nothing("/spec/replicas", Value::Null)]
    #[case::another_form("/spec/template", json!("none"))]
    #[case::another_version("/apiVersion", json!("apps/v1beta2"))]
    fn whatever_the_documents_change_is_asked_for(#[case] pointer: &str, #[case] to: Value) {
        let mut desired = desired();
        set(&mut desired, pointer, to);
        assert!(!judged(desired, live()));
    }

    #[test]
    fn a_field_that_the_documents_drop_is_asked_for() {
        let mut dropped = desired();
        dropped["spec"].as_object_mut().unwrap().remove("replicas");
        assert!(!judged(dropped, live()));
        let mut dropped = desired();
        dropped["metadata"].as_object_mut().unwrap().remove("labels");
        assert!(!judged(dropped, live()));
    }

    #[rstest]
    #[case::a_value_changed_by_hand("/spec/replicas", json!(3))]
    #[case::an_element_changed_by_hand("/spec/template/spec/containers/1/image", json!("side:2"))]
    #[case::a_field_that_is_no_longer_ours(
        "/metadata/managedFields/1/fieldsV1/f:spec/f:replicas",
        Value::Null
    )]
    #[case::never_applied_by_us("/metadata/managedFields/1/manager", json!("kubectl"))]
    #[case::only_updated_by_us("/metadata/managedFields/1/operation", json!("Update"))]
    #[case::applied_at_another_version("/metadata/managedFields/1/apiVersion", json!("apps/v1beta2"))]
    #[case::of_a_subresource("/metadata/managedFields/1/subresource", json!("scale"))]
    #[case::without_records("/metadata/managedFields", json!([]))]
    #[case::being_deleted("/metadata/deletionTimestamp", json!("2026-03-02T09:00:00Z"))]
    fn whatever_differs_in_the_cluster_is_asked_for(#[case] pointer: &str, #[case] to: Value) {
        let mut live = live();
        set(&mut live, pointer, to);
        if let Some(spec) = live.pointer_mut("/metadata/managedFields/1/fieldsV1/f:spec") {
            let fields = spec.as_object_mut().unwrap();
            fields.retain(|_, value| !value.is_null());
        }
        assert!(!judged(desired(), live));
    }

    #[test]
    fn sets_and_what_is_owned_as_a_whole_are_compared_as_they_are() {
        let desired = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "a", "finalizers": ["x/a", "x/b"]}, "data": {}});
        let mut live = desired.clone();
        live["metadata"]["finalizers"] = json!(["x/a", "x/other", "x/b"]);
        live["metadata"]["managedFields"] = json!([{"manager": FIELD_MANAGER, "operation": "Apply",
            "apiVersion": "v1", "fieldsV1": {"f:data": {},
                "f:metadata": {"f:finalizers": {r#"v:"x/a""#: {}, r#"v:"x/b""#: {}}}}}]);
        assert!(judged(desired.clone(), live.clone()));
        live["data"] = json!({"key": "of somebody else"});
        assert!(!judged(desired, live));
    }

    #[test]
    fn an_object_that_is_only_named_owns_nothing() {
        let desired = json!({"apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": "a", "namespace": "shop"}});
        let mut live = desired.clone();
        live["metadata"]["managedFields"] = json!([{"manager": FIELD_MANAGER, "operation": "Apply",
            "apiVersion": "v1", "fieldsV1": {}}]);
        assert!(judged(desired, live));
    }
}
