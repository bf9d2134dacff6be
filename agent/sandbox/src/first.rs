//! The objects that a cluster has before anyone asks, put into a new world.

use jiff::Timestamp;
use serde_json::Value;

use crate::world::World;
use crate::{clock, controller, object};

/// Fills a new world. Objects that exist already (from a state file) stay as they are.
pub(crate) fn fill(world: &mut World, nodes: u32, now: Timestamp) {
    let version = format!("v{}.0", world.version);
    for mut value in controller::seed(nodes) {
        if let Some(Value::Object(node)) = value.pointer_mut("/status/nodeInfo") {
            for field in ["kubeletVersion", "kubeProxyVersion"] {
                node.insert(field.to_owned(), version.as_str().into());
            }
        }
        add(world, value, now);
    }
}

/// Adds an object as it is when its key is free.
pub(crate) fn add(world: &mut World, mut value: Value, now: Timestamp) {
    let key = object::key(&value);
    if world.store.object(&key).is_some() {
        return;
    }
    let uid = world.draw_uid();
    object::set_metadata(&mut value, "uid", uid.into());
    object::set_metadata(&mut value, "creationTimestamp", clock::seconds(now).into());
    world.store.put(&key, value);
}
