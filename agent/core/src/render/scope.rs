//! What every object of a product has in common: labels, selectors, owner, place.

use serde_json::{Map, Value, json};
use tidegate_schema::finding::Place;

use crate::desired::{DesiredObject, Layer, Owner};
use crate::digest::Digest;
use crate::object::{Object, REVISION};
use crate::site::{Deployment, ValidSite};

/// A product in a cluster while it is rendered.
pub(super) struct Scope<'a> {
    pub(super) site: &'a ValidSite,
    pub(super) cluster: &'a str,
    pub(super) deployment: &'a Deployment,
}

impl Scope<'_> {
    /// The labels of an object: Kubernetes' recommended ones and ours.
    pub(super) fn labels(&self, app: Option<&str>, component: Option<&str>) -> Value {
        let deployment = self.deployment;
        without_nulls(json!({
            "app.kubernetes.io/name": app.unwrap_or(&deployment.product),
            "app.kubernetes.io/instance": deployment.product,
            "app.kubernetes.io/version": label_value(&deployment.version.to_string()),
            "app.kubernetes.io/component": component,
            "app.kubernetes.io/part-of": deployment.solution,
            "app.kubernetes.io/managed-by": "tidegate",
            "tidegate.dev/site": self.site.name,
            "tidegate.dev/solution": deployment.solution,
            "tidegate.dev/product": deployment.product,
            "tidegate.dev/app": app,
        }))
    }

    /// The labels of pods: those that stay when only the product's version or solution changes, because a changed pod
    /// template restarts pods.
    pub(super) fn pod_labels(&self, app: &str, component: &str) -> Value {
        json!({
            "app.kubernetes.io/name": app,
            "app.kubernetes.io/instance": self.deployment.product,
            "app.kubernetes.io/component": component,
            "app.kubernetes.io/managed-by": "tidegate",
            "tidegate.dev/site": self.site.name,
            "tidegate.dev/product": self.deployment.product,
            "tidegate.dev/app": app,
        })
    }

    /// The labels that select the pods of an app. They never change: selectors are immutable.
    pub(super) fn selector(&self, app: &str) -> Value {
        json!({
            "app.kubernetes.io/name": app,
            "app.kubernetes.io/instance": self.deployment.product,
        })
    }

    /// The metadata of an object in the product's namespace.
    pub(super) fn metadata(&self, name: &str, app: Option<&str>, component: Option<&str>) -> Value {
        json!({
            "name": name,
            "namespace": self.deployment.namespace,
            "labels": self.labels(app, component),
        })
    }

    /// An object of the product.
    pub(super) fn object(
        &self,
        body: Value,
        app: Option<&str>,
        layer: Layer,
        place: &Place,
    ) -> DesiredObject {
        let owner = Owner {
            solution: Some(self.deployment.solution.clone()),
            product: Some(self.deployment.product.clone()),
            app: app.map(str::to_owned),
            access: None,
            layer,
        };
        desired(self.cluster, body, owner, place)
    }
}

/// An object with its reference and digest.
pub(super) fn desired(cluster: &str, body: Value, owner: Owner, place: &Place) -> DesiredObject {
    let mut body = Object::new(without_nulls(body));
    stamp(&mut body);
    DesiredObject {
        reference: body.reference(cluster),
        digest: body.digest(),
        body,
        owner,
        place: Some(place.clone()),
    }
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
pub(super) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(
                kept.map(|(key, value)| (key, without_nulls(value))).collect::<Map<_, _>>(),
            )
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => other,
    }
}

/// A text as the value of a label: at most 63 of the characters that are allowed (Kubernetes, "Labels and Selectors").
pub(super) fn label_value(text: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let short: String = text.chars().map(allowed).take(63).collect();
    short.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned()
}
