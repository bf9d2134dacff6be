//! What every object of a product has in common: labels, selectors, owner, place.

use serde_json::{Value, json};
use tidegate_schema::finding::Place;

use crate::desired::{DesiredObject, Layer, Owner};
use crate::digest::Digest;
use crate::object::{Object, ObjectRef, REVISION, group_of};
use crate::site::{Deployment, PlacedApp, ScalingGroupMember, ValidSite};

/// The label that says of which scaling group something is. `tidegate.dev/app` is the same in all of them.
const SCALING_GROUP: &str = "tidegate.dev/scaling-group";

/// A product in a cluster while it is rendered.
pub(super) struct Scope<'a> {
    pub(super) site: &'a ValidSite,
    pub(super) cluster: &'a str,
    pub(super) deployment: &'a Deployment,
}

impl Scope<'_> {
    /// The labels of an object: Kubernetes' recommended ones and ours.
    fn labels(&self, Part { app, member, component, .. }: Part<'_>) -> Value {
        let deployment = self.deployment;
        json!({
            "app.kubernetes.io/name": app,
            "app.kubernetes.io/instance": deployment.product,
            "app.kubernetes.io/version": label_value(&deployment.version.to_string()),
            "app.kubernetes.io/component": component,
            "app.kubernetes.io/part-of": deployment.solution,
            "app.kubernetes.io/managed-by": "tidegate",
            "tidegate.dev/site": self.site.name,
            "tidegate.dev/solution": deployment.solution,
            "tidegate.dev/product": deployment.product,
            "tidegate.dev/app": member.map_or(app, |member| &member.app),
            SCALING_GROUP: member.map(|member| &member.group),
        })
    }

    /// The labels of pods: those that stay when only the product's version or solution changes, because a changed pod
    /// template restarts pods.
    pub(super) fn pod_labels(&self, app: &PlacedApp, component: &str) -> Value {
        let member = app.member.as_ref();
        let app = app.app.name.as_str();
        json!({
            "app.kubernetes.io/name": app,
            "app.kubernetes.io/instance": self.deployment.product,
            "app.kubernetes.io/component": component,
            "app.kubernetes.io/managed-by": "tidegate",
            "tidegate.dev/site": self.site.name,
            "tidegate.dev/product": self.deployment.product,
            "tidegate.dev/app": member.map_or(app, |member| &member.app),
            SCALING_GROUP: member.map(|member| &member.group),
        })
    }

    /// The labels that select the pods of an app. They never change: selectors are immutable.
    pub(super) fn selector(&self, app: &str) -> Value {
        json!({
            "app.kubernetes.io/name": app,
            "app.kubernetes.io/instance": self.deployment.product,
        })
    }

    /// The labels by which Services find the pods of an app that serve: not those that are offline.
    pub(super) fn serving(&self, app: &str) -> Value {
        json!({
            "app.kubernetes.io/name": app,
            "app.kubernetes.io/instance": self.deployment.product,
            "app.kubernetes.io/component": "standard",
        })
    }

    /// An object in the product's namespace; `rest` is what follows its head.
    pub(super) fn object<'a>(
        &'a self,
        part: Part<'a>,
        layer: Layer,
        place: &'a Place,
        rest: impl FnOnce() -> Value + 'a,
    ) -> Draft<'a> {
        let Part { api_version, kind, app, member, .. } = part;
        let namespace = self.deployment.namespace.as_str();
        let head = Head { api_version, kind, namespace, name: part.name.clone() };
        let mut owner = self.owner(Some(app), layer);
        owner.scaling_group = member.map(|member| member.group.clone());
        draft(self.cluster, head, owner, place, move || self.labels(part), rest)
    }

    /// The image of an app: as its document says, and the digest that it is pinned to.
    pub(super) fn image(&self, app: &PlacedApp) -> String {
        let pins = self.site.pins.apps.get(self.cluster);
        let pins = pins.and_then(|pins| pins.get(&self.deployment.product));
        match pins.and_then(|pins| pins.get(app.app.name.as_str())) {
            Some(digest) => format!("{}@{digest}", app.image),
            None => app.image.clone(),
        }
    }

    /// What an app's pods run: its image, or while it is offline the idle one, which is taken as the site writes it.
    pub(super) fn running_image(&self, app: &PlacedApp, idle: Option<&str>) -> String {
        idle.map_or_else(|| self.image(app), ToOwned::to_owned)
    }

    /// Whose an object of the product is.
    pub(super) fn owner(&self, app: Option<&str>, layer: Layer) -> Owner {
        Owner {
            solution: Some(self.deployment.solution.clone()),
            product: Some(self.deployment.product.clone()),
            app: app.map(str::to_owned),
            ..Owner::site(layer)
        }
    }
}

/// What an object of an app is called.
pub(super) struct Part<'a> {
    pub(super) api_version: &'a str,
    pub(super) kind: &'a str,
    pub(super) name: String,
    pub(super) app: &'a str,
    pub(super) member: Option<&'a ScalingGroupMember>,
    /// Its part in the app, for the label `app.kubernetes.io/component`.
    pub(super) component: &'a str,
}

/// What an object is called in its cluster.
pub(super) struct Head<'a> {
    pub(super) api_version: &'a str,
    pub(super) kind: &'a str,
    /// Empty for objects of the whole cluster.
    pub(super) namespace: &'a str,
    pub(super) name: String,
}

/// An object by its names. The content is written when it is asked for: that two objects have one name is seen without.
pub(crate) struct Draft<'a> {
    pub(crate) reference: ObjectRef,
    pub(crate) owner: Owner,
    pub(crate) place: &'a Place,
    pub(super) content: Box<dyn FnOnce() -> Value + 'a>,
}

impl Draft<'_> {
    /// The object with its content.
    pub(super) fn finish(self) -> DesiredObject {
        let mut body = (self.content)();
        drop_nulls(&mut body);
        let mut body = Object::new(body);
        stamp(&mut body);
        DesiredObject::new(self.reference, &body, self.owner, Some(self.place.clone()))
    }
}

/// An object with `rest` after its head.
pub(super) fn draft<'a>(
    cluster: &str,
    head: Head<'a>,
    owner: Owner,
    place: &'a Place,
    labels: impl FnOnce() -> Value + 'a,
    rest: impl FnOnce() -> Value + 'a,
) -> Draft<'a> {
    let Head { api_version, kind, namespace, name } = head;
    let reference = ObjectRef {
        cluster: cluster.to_owned(),
        group: group_of(api_version).to_owned(),
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
        name: name.clone(),
    };
    let content = move || {
        let mut metadata = json!({
            "name": name,
            "namespace": (!namespace.is_empty()).then_some(namespace),
            "labels": labels(),
        });
        let mut rest = rest();
        if let (Some(metadata), Some(Value::Object(more))) =
            (metadata.as_object_mut(), rest.get_mut("metadata").map(Value::take))
        {
            metadata.extend(more);
        }
        let mut body = json!({"apiVersion": api_version, "kind": kind});
        if let (Value::Object(body), Value::Object(mut rest)) = (&mut body, rest) {
            rest.remove("metadata");
            body.insert("metadata".to_owned(), metadata);
            body.extend(rest);
        }
        body
    };
    Draft { reference, owner, place, content: Box::new(content) }
}

/// Writes the template's digest into it. The agent tells pods of one revision from those of another by it, as the
/// controllers' own hashes differ from kind to kind.
fn stamp(body: &mut Object) {
    if !body.is_workload() {
        return;
    }
    let Some(template) = body.get("/spec/template") else { return };
    let revision = Digest::of(template).short().to_owned();
    let path = ["spec", "template", "metadata", "annotations", REVISION];
    body.set(&path, Value::String(revision));
}

/// The labels of objects that belong to the site itself.
pub(super) fn site_labels(site: &ValidSite) -> Value {
    json!({"app.kubernetes.io/managed-by": "tidegate", "tidegate.dev/site": site.name})
}

/// Drops what is `null`: in what we write, absent and `null` mean the same, and only absent is never sent.
pub(super) fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A text as the value of a label: at most 63 of the characters that are allowed (Kubernetes, "Labels and Selectors").
pub(super) fn label_value(text: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let short: String = text.chars().map(allowed).take(63).collect();
    short.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned()
}
