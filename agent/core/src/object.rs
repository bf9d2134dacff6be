//! A Kubernetes object as data, and what identifies it.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::digest::Digest;

/// The field manager of everything that Tidegate applies. Never changed: ownership of fields hangs on it.
pub const FIELD_MANAGER: &str = "tidegate";

/// Label of everything that we apply: the site.
pub const SITE_LABEL: &str = "tidegate.dev/site";

/// Annotation of every workload's pod template: the digest of the template, by which a pod's revision is known on every
/// kind of workload.
pub const REVISION: &str = "tidegate.dev/revision";

/// The annotation of a Job that an operation asks for: the operation's name.
pub const OPERATION: &str = "tidegate.dev/operation";

/// Annotation of an object that says what becomes of its dependents when it is deleted: see [`Propagation`].
pub const PROPAGATION_ANNOTATION: &str = "tidegate.dev/propagation";

/// What becomes of the dependents of an object that is deleted (Kubernetes, "Garbage Collection"; A20).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Propagation {
    /// They follow it.
    #[default]
    Background,
    /// They go first.
    Foreground,
    /// They stay.
    Orphan,
}

impl Propagation {
    /// As an annotation says it; `None` for a word that is none.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "background" => Some(Self::Background),
            "foreground" => Some(Self::Foreground),
            "orphan" => Some(Self::Orphan),
            _ => None,
        }
    }

    /// What a live object says; without a word of its own they follow it.
    pub fn of(live: &Object) -> Self {
        live.annotation(PROPAGATION_ANNOTATION).and_then(Self::parse).unwrap_or_default()
    }

    /// As `DeleteOptions` say it.
    pub fn policy(self) -> &'static str {
        match self {
            Self::Background => "Background",
            Self::Foreground => "Foreground",
            Self::Orphan => "Orphan",
        }
    }
}

/// What identifies one object of one cluster. The API version is not part of it: the same object may be read at
/// several versions.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    /// Name of the `Cluster` document.
    pub cluster: String,
    /// API group; empty for the core group.
    pub group: String,
    /// Kind, as in `Deployment`.
    pub kind: String,
    /// Namespace; empty for objects of the whole cluster.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl ObjectRef {
    /// Whether it makes pods that can be taken away while it stays.
    pub fn runs_pods(&self) -> bool {
        matches!(
            (self.group.as_str(), self.kind.as_str()),
            ("apps", "Deployment" | "StatefulSet" | "DaemonSet") | ("batch", "CronJob")
        )
    }

    /// Whether it is a node: a machine of the cluster. We may set some of its fields; it is never ours to make or delete.
    pub fn is_node(&self) -> bool {
        self.group.is_empty() && self.kind == "Node"
    }

    /// Whether it is a claim of a volume.
    pub fn is_claim(&self) -> bool {
        self.group.is_empty() && self.kind == "PersistentVolumeClaim"
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        if !self.group.is_empty() && !is_builtin_group(&self.group) {
            write!(f, ".{}", self.group)?;
        }
        if self.namespace.is_empty() {
            write!(f, " {}", self.name)
        } else {
            write!(f, " {}/{}", self.namespace, self.name)
        }
    }
}

impl fmt::Debug for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {self}", self.cluster)
    }
}

/// Groups of Kubernetes itself, which a reader need not see in a name.
fn is_builtin_group(group: &str) -> bool {
    !group.contains('.') || group.ends_with(".k8s.io")
}

/// An object kept as JSON text and read when somebody looks into it: in a quiet site hardly any ever is, and as a tree it
/// takes about ten times the memory.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredObject(Arc<str>);

impl StoredObject {
    /// Keeps an object that is JSON already.
    pub fn of_text(text: String) -> Self {
        Self(text.into())
    }

    /// The object. Reads it each time.
    pub fn read(&self) -> Object {
        Object::new(serde_json::from_str(&self.0).unwrap_or_default())
    }
}

impl From<&Object> for StoredObject {
    fn from(object: &Object) -> Self {
        Self::of_text(object.value().to_string())
    }
}

impl From<Object> for StoredObject {
    fn from(object: Object) -> Self {
        Self::from(&object)
    }
}

/// Shows nothing: contents may hold secrets.
impl fmt::Debug for StoredObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredObject")
    }
}

/// A Kubernetes object as the JSON that the API speaks.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Object(Value);

impl Object {
    /// Wraps JSON. Nothing is checked: `validate` and the schema crate have refused what has no kind or name.
    pub fn new(value: Value) -> Self {
        Self(value)
    }

    /// The JSON.
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// The JSON, to be changed.
    pub fn value_mut(&mut self) -> &mut Value {
        &mut self.0
    }

    /// The JSON itself.
    pub fn into_value(self) -> Value {
        self.0
    }

    /// The value at a JSON pointer (RFC 6901).
    pub fn get(&self, pointer: &str) -> Option<&Value> {
        self.0.pointer(pointer)
    }

    /// The text at a JSON pointer; empty when absent or not a text.
    pub fn text(&self, pointer: &str) -> &str {
        self.get(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// The whole number at a JSON pointer.
    pub fn integer(&self, pointer: &str) -> Option<i64> {
        self.get(pointer).and_then(Value::as_i64)
    }

    /// `apiVersion`.
    pub fn api_version(&self) -> &str {
        self.text("/apiVersion")
    }

    /// API group; empty for the core group.
    pub fn group(&self) -> &str {
        group_of(self.api_version())
    }

    /// API version without the group.
    pub fn version(&self) -> &str {
        self.api_version().rsplit_once('/').map_or(self.api_version(), |(_, version)| version)
    }

    /// `kind`.
    pub fn kind(&self) -> &str {
        self.text("/kind")
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    /// `metadata.namespace`; empty for objects of the whole cluster.
    pub fn namespace(&self) -> &str {
        self.text("/metadata/namespace")
    }

    /// `metadata.uid`.
    pub fn uid(&self) -> &str {
        self.text("/metadata/uid")
    }

    /// `metadata.resourceVersion`.
    pub fn resource_version(&self) -> &str {
        self.text("/metadata/resourceVersion")
    }

    /// Whether we have applied it, by the server's own account: the only witness when the agent was killed between an
    /// apply and its record.
    pub fn is_applied_by_us(&self) -> bool {
        self.managers().any(|entry| {
            text_of(entry, "manager") == FIELD_MANAGER && text_of(entry, "operation") == "Apply"
        })
    }

    /// The server's records of who has set what: the entries of `metadata.managedFields` (Kubernetes, `Server-Side Apply`).
    pub fn managers(&self) -> impl Iterator<Item = &Value> {
        let entries = self.get("/metadata/managedFields").and_then(Value::as_array);
        entries.into_iter().flatten()
    }

    /// The reference to the object whose controller makes and remakes this one (Kubernetes, `Owners and Dependents`).
    pub fn controller(&self) -> Option<&Value> {
        let owners = self.get("/metadata/ownerReferences")?.as_array()?;
        owners.iter().find(|owner| owner.get("controller") == Some(&Value::Bool(true)))
    }

    /// A label's value.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.0.get("metadata")?.get("labels")?.get(name)?.as_str()
    }

    /// An annotation's value.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.0.get("metadata")?.get("annotations")?.get(name)?.as_str()
    }

    /// The entry of `status.conditions` with this type.
    pub fn condition(&self, kind: &str) -> Option<&Value> {
        let conditions = self.get("/status/conditions")?.as_array()?;
        conditions.iter().find(|it| it.get("type").and_then(Value::as_str) == Some(kind))
    }

    /// Sets the value at a path of keys, making the maps on the way. A value on the way that is no map is replaced.
    pub fn set(&mut self, path: &[&str], value: Value) {
        let mut here = &mut self.0;
        for key in path {
            if !here.is_object() {
                *here = Value::Object(Map::new());
            }
            let Value::Object(map) = here else { return };
            here = map.entry((*key).to_owned()).or_insert(Value::Null);
        }
        *here = value;
    }

    /// What identifies this object in a cluster.
    pub fn reference(&self, cluster: &str) -> ObjectRef {
        ObjectRef {
            cluster: cluster.to_owned(),
            group: self.group().to_owned(),
            kind: self.kind().to_owned(),
            namespace: self.namespace().to_owned(),
            name: self.name().to_owned(),
        }
    }

    /// A node with nothing said of it: applied, it gives up all that we have set, and leaves what others have.
    pub fn node(name: &str) -> Self {
        Self(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}))
    }

    /// The digest of the whole content.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.0)
    }

    /// Whether it is a workload whose pods are made from a template and replaced when that changes.
    pub fn is_workload(&self) -> bool {
        self.group() == "apps" && matches!(self.kind(), "Deployment" | "StatefulSet" | "DaemonSet")
    }

    /// Pods that a workload asks for; a `DaemonSet` as many as nodes fit. Absent `replicas` means 1 (Kubernetes API).
    pub fn replicas(&self) -> u32 {
        let count = if self.kind() == "DaemonSet" {
            self.integer("/status/desiredNumberScheduled").unwrap_or(0)
        } else {
            self.integer("/spec/replicas").unwrap_or(1)
        };
        u32::try_from(count).unwrap_or(0)
    }

    /// Whether values inside must never be shown: the core `Secret`.
    pub fn is_secret(&self) -> bool {
        self.kind() == "Secret" && self.group().is_empty()
    }
}

/// The text of a field; empty when it has none.
pub fn text_of<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// A time as Kubernetes writes it (RFC 3339); `None` when it is absent or no time.
pub fn time_of(value: Option<&Value>) -> Option<Timestamp> {
    value?.as_str()?.parse().ok()
}

/// The API group of an `apiVersion`; empty for the core group.
pub fn group_of(api_version: &str) -> &str {
    api_version.rsplit_once('/').map_or("", |(group, _)| group)
}

/// Shows only what identifies the object: contents may hold secrets.
impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object({} {}/{})", self.kind(), self.namespace(), self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_knows_its_names() {
        let object = Object::new(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop", "labels": {"a": "b"}},
        }));
        assert_eq!((object.group(), object.version()), ("apps", "v1"));
        assert_eq!(object.reference("room-a").to_string(), "Deployment shop/web");
        assert_eq!(object.label("a"), Some("b"));
    }

    #[test]
    fn the_debug_form_of_an_object_shows_no_content() {
        let object = Object::new(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": "hunter2"},
        }));
        assert!(object.is_secret());
        assert!(!format!("{object:?}").contains("hunter2"));
    }

    #[test]
    fn set_makes_the_maps_on_the_way() {
        let mut object = Object::new(json!({}));
        object.set(&["spec", "updateStrategy", "rollingUpdate", "partition"], json!(3));
        assert_eq!(object.integer("/spec/updateStrategy/rollingUpdate/partition"), Some(3));
    }
}
