//! Nodes that operations keep new pods off: of each only the one field, so that all else stays whose it is.

use jiff::Timestamp;
use serde_json::json;

use crate::desired::{DesiredObject, Layer, Owner};
use crate::object::Object;
use crate::site::ValidSite;

pub(super) fn nodes(site: &ValidSite, now: Timestamp) -> impl Iterator<Item = DesiredObject> {
    let owner = Owner::site(Layer::Foundation);
    site.cordons(now).into_iter().map(move |cordon| {
        let mut node = Object::node(&cordon.node);
        node.set(&["spec", "unschedulable"], json!(true));
        let place = site.operations.get(&cordon.operation).map(|it| it.place.clone());
        DesiredObject::new(node.reference(&cordon.cluster), &node, owner.clone(), place)
    })
}
