//! Which lists of Kubernetes are maps in disguise: their elements are matched by a key, not by their position (D12, D13).

use serde_json::Value;

/// Fields of lists whose elements have a key, and the fields that make it.
const KEYED: [(&str, &[&str]); 19] = [
    ("containers", &["name"]),
    ("initContainers", &["name"]),
    ("ephemeralContainers", &["name"]),
    ("env", &["name"]),
    ("volumes", &["name"]),
    ("imagePullSecrets", &["name"]),
    ("resourceClaims", &["name"]),
    ("secrets", &["name"]),
    ("webhooks", &["name"]),
    ("versions", &["name"]),
    ("volumeMounts", &["mountPath"]),
    ("volumeDevices", &["devicePath"]),
    ("hostAliases", &["ip"]),
    ("conditions", &["type"]),
    ("readinessGates", &["conditionType"]),
    ("ownerReferences", &["uid"]),
    ("topologySpreadConstraints", &["topologyKey", "whenUnsatisfiable"]),
    ("subjects", &["kind", "namespace", "name"]),
    ("volumeClaimTemplates", &["metadata.name"]),
];
/// Lists of built-in kinds in which the order of the elements means something although they have keys: init containers
/// run one after another, and a variable may use those before it.
const ORDERED: [&str; 2] = ["initContainers", "env"];
/// Lists of scalars in which the order means nothing.
const SETS: [&str; 2] = ["finalizers", "accessModes"];

/// The key of an element: the fields that make it with their values, in order.
pub(super) type Key = Vec<(&'static str, String)>;

/// The keys of a list's elements; `None` when the list is one value as a whole, because its field has no keys, an
/// element lacks one, or two elements share one.
pub(super) fn keys(field: &str, items: &[Value]) -> Option<Vec<Key>> {
    let mut keys: Vec<Key> = Vec::with_capacity(items.len());
    for item in items {
        let key = key(field, item)?;
        if keys.contains(&key) {
            return None;
        }
        keys.push(key);
    }
    Some(keys)
}

/// Whether the order of a keyed list's elements matters. For kinds that are not built in we do not know, so it does.
pub(super) fn is_ordered(field: &str, is_builtin: bool) -> bool {
    !is_builtin || ORDERED.contains(&field)
}

/// Whether a list is a set of scalars.
pub(super) fn is_set(field: &str) -> bool {
    SETS.contains(&field)
}

fn key(field: &str, item: &Value) -> Option<Key> {
    let item = item.as_object()?;
    let names: &'static [&'static str] = if field == "ports" {
        if item.contains_key("containerPort") {
            &["containerPort", "protocol"]
        } else {
            &["port", "protocol"]
        }
    } else {
        KEYED.iter().find(|(name, _)| *name == field)?.1
    };
    names.iter().map(|name| Some((*name, part(item, name)?))).collect()
}

/// One part of a key as text. Protocol and namespace have defaults, so that leaving them out names the same element.
fn part(item: &serde_json::Map<String, Value>, name: &str) -> Option<String> {
    let value = match name.split_once('.') {
        Some((outer, inner)) => item.get(outer).and_then(|value| value.get(inner)),
        None => item.get(name),
    };
    match (name, value) {
        (_, Some(Value::String(text))) => Some(text.clone()),
        (_, Some(Value::Number(number))) => Some(number.to_string()),
        ("protocol", None) => Some("TCP".to_owned()),
        ("namespace", None) => Some(String::new()),
        _ => None,
    }
}
