//! Autoscalers (`HorizontalPodAutoscaler`), of any version: what they scale, and between which numbers.

use serde_json::Value;

use crate::object::{Object, ObjectRef, group_of};

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
}
