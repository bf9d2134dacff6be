//! Objects that only get another name: a creation, and a deletion of the same content. Told beside each other, as nobody
//! would see it in two places of a plan; never guessed where several could be meant.

use std::collections::BTreeMap;

use super::{fields, is_builtin, normalise, ownership};
use crate::change::{Action, Change, ChangeSet, Effect};
use crate::desired::DesiredState;
use crate::live::{LiveState, Observation};
use crate::object::{Object, ObjectRef, REVISION};

/// What is ours to derive from the rest.
const DERIVED: [&str; 2] = [REVISION, "tidegate.dev/inputs"];

/// Tells of each new object which one that goes, or is only kept, it takes the place of.
pub(super) fn pair(desired: &DesiredState, live: &LiveState, set: &mut ChangeSet) {
    let of = |wanted: &[Action]| -> Vec<usize> {
        let all = set.changes.iter().enumerate();
        let own = all.filter(|(_, change)| wanted.contains(&change.action));
        own.map(|(index, _)| index).collect()
    };
    let (new, old) = (of(&[Action::Create]), of(&[Action::Prune, Action::Keep]));
    let mut going: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for index in old {
        if let Some(change) = set.changes.get(index) {
            going.entry(place(change)).or_default().push(index);
        }
    }
    let mut pairs: Vec<(usize, usize)> = Vec::new();
    for index in new {
        let Some(change) = set.changes.get(index) else { continue };
        let Some(wanted) = desired.object(&change.object) else { continue };
        for other in going.get(&place(change)).into_iter().flatten() {
            let there = set.changes.get(*other).map(|other| &other.object);
            let there = there.and_then(|it| live.observation(it)).and_then(Observation::live);
            if there.is_some_and(|there| is_same(&change.object, &wanted.body(), &there)) {
                pairs.push((index, *other));
            }
        }
    }
    let is_only = |(new, old): &&(usize, usize)| {
        pairs.iter().filter(|(it, _)| it == new).count() == 1
            && pairs.iter().filter(|(_, it)| it == old).count() == 1
    };
    let told: Vec<(usize, usize)> = pairs.iter().filter(is_only).copied().collect();
    for (new, old) in told {
        let name = |index: usize| set.changes.get(index).map(|it| it.object.to_string());
        let (Some(new_name), Some(old_name)) = (name(new), name(old)) else { continue };
        if let Some(change) = set.changes.get_mut(new) {
            change.effects.push(Effect::TakesThePlaceOf { object: old_name });
        }
        if let Some(change) = set.changes.get_mut(old) {
            change.effects.push(Effect::PlaceIsTakenBy { object: new_name });
        }
    }
}

/// Where an object and its successor are.
fn place(change: &Change) -> (&str, &str, &str, &str, Option<&String>) {
    let ObjectRef { cluster, group, kind, namespace, .. } = &change.object;
    (cluster, group, kind, namespace, change.owner.product.as_ref())
}

/// Whether applying to the old object, had it the new name, would change nothing.
fn is_same(reference: &ObjectRef, wanted: &Object, there: &Object) -> bool {
    let renamed = [Some(renamed(there, &reference.name)), everywhere(there, &reference.name)];
    renamed.into_iter().flatten().any(|there| {
        let after = ownership::overlaid(&there, wanted);
        let (before, after) = (normalise::normalised(&there), normalise::normalised(&after));
        let mut differences =
            fields::differences(is_builtin(reference), &before, &after).into_iter();
        differences
            .all(|it| it.segments.last().is_some_and(|name| DERIVED.contains(&name.as_str())))
    })
}

fn renamed(there: &Object, name: &str) -> Object {
    let mut renamed = there.clone();
    renamed.set(&["metadata", "name"], name.into());
    renamed
}

/// With the new name wherever the old one stands as a whole value: in labels, selectors, names of containers, and in the
/// server's record of them.
fn everywhere(there: &Object, name: &str) -> Option<Object> {
    let text = serde_json::to_string(there.value()).ok()?;
    let quoted = |name: &str| serde_json::to_string(name).ok();
    let inner = |name: &str| Some(quoted(name)?.replace('"', "\\\""));
    let (old, new) = (there.name(), name);
    let text = text.replace(&inner(old)?, &inner(new)?).replace(&quoted(old)?, &quoted(new)?);
    serde_json::from_str(&text).ok().map(Object::new)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::diff::tests::World;
    use crate::live::Prediction;

    fn map(name: &str, uid: &str, data: &Value) -> Value {
        let mut map = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": data,
            "metadata": {"name": name, "namespace": "shop", "labels": {"app": name}}});
        if !uid.is_empty() {
            map["metadata"]["uid"] = json!(uid);
            map["metadata"]["managedFields"] = json!([{"manager": "tidegate", "operation": "Apply",
                "fieldsV1": {"f:metadata": {"f:labels": {"f:app": {}}}, "f:data": {"f:a": {}}}}]);
        }
        map
    }

    /// Effects of all changes, each with its object, when these go and those come.
    fn told(old: &[Value], new: &[Value]) -> Vec<String> {
        let mut world = World::new();
        for object in new {
            let reference = world.want(object);
            let predicted = Prediction::Exact(Object::new(object.clone()).into());
            world.observe(&reference, None, predicted);
        }
        for object in old {
            let reference = Object::new(object.clone()).reference("room-a");
            world.observe(&reference, Some(object), Prediction::NotDesired);
            world.own(&reference, object["metadata"]["uid"].as_str().unwrap(), None);
        }
        let set = world.diff();
        let effects = set.changes.iter().flat_map(|change| {
            let effects = change.effects.iter();
            effects.filter_map(|effect| {
                if let Effect::TakesThePlaceOf { object } = effect {
                    Some(format!("{} for {object}", change.object.name))
                } else if let Effect::PlaceIsTakenBy { object } = effect {
                    Some(format!("{} by {object}", change.object.name))
                } else {
                    None
                }
            })
        });
        effects.collect()
    }

    #[test]
    fn a_renamed_object_is_shown_beside_its_predecessor() {
        let (old, new) =
            (map("web", "1", &json!({"a": "1"})), map("front", "", &json!({"a": "1"})));
        assert_eq!(
            told(&[old], &[new]),
            ["front for ConfigMap shop/web", "web by ConfigMap shop/front"]
        );
    }

    #[test]
    fn what_differs_in_more_than_the_name_is_no_successor() {
        let old = || map("web", "1", &json!({"a": "1", "theirs": "x"}));
        assert_eq!(told(&[old()], &[map("front", "", &json!({"a": "2"}))]), [""; 0]);
        assert_eq!(
            told(&[old()], &[map("front", "", &json!({}))]),
            [""; 0],
            "it loses a field of ours"
        );
        let mut elsewhere = map("front", "", &json!({"a": "1"}));
        elsewhere["metadata"]["namespace"] = json!("other");
        assert_eq!(told(&[old()], &[elsewhere]), [""; 0]);
        // What others have set is not in the documents, and is lost with the old object.
        assert_eq!(told(&[old()], &[map("front", "", &json!({"a": "1"}))]).len(), 2);
    }

    #[test]
    fn nothing_is_guessed_where_several_could_be_meant() {
        let data = json!({"a": "1"});
        let (one, two) = (map("one", "1", &data), map("two", "2", &data));
        assert_eq!(told(&[one.clone(), two], &[map("new", "", &data)]), [""; 0]);
        assert_eq!(told(&[one], &[map("new", "", &data), map("other", "", &data)]), [""; 0]);
    }

    #[test]
    fn the_name_counts_wherever_it_stands_as_a_whole() {
        let set = |name: &str, image: &str| {
            json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"selector": {"matchLabels": {"app": name}}, "template": {
                "metadata": {"labels": {"app": name}, "annotations": {REVISION: format!("of {name}")}},
                "spec": {"containers": [{"name": name, "image": image}]}}}})
        };
        let mut old = set("web", "shop/web:1");
        old["metadata"]["uid"] = json!("1");
        old["spec"]["replicas"] = json!(1);
        old["metadata"]["managedFields"] = json!([{"manager": "tidegate", "operation": "Apply",
            "fieldsV1": {"f:spec": {"f:template": {"f:spec": {"f:containers":
                {"k:{\"name\":\"web\"}": {".": {}, "f:name": {}, "f:image": {}}}}}}}}]);
        assert_eq!(told(std::slice::from_ref(&old), &[set("front", "shop/web:1")]).len(), 2);
        assert_eq!(told(&[old], &[set("front", "shop/web:2")]), [""; 0]);
    }

    #[test]
    fn a_claim_that_is_kept_is_told_of_too() {
        let claim = |name: &str| {
            json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}})
        };
        let mut old = claim("data");
        old["metadata"]["uid"] = json!("1");
        old["metadata"]["managedFields"] =
            json!([{"manager": "tidegate", "operation": "Apply", "fieldsV1": {"f:spec": {}}}]);
        old["spec"]["volumeName"] = json!("pv-1");
        let told = told(&[old], &[claim("files")]);
        assert!(told.contains(&"files for PersistentVolumeClaim shop/data".to_owned()), "{told:?}");
    }
}
