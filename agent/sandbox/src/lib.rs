//! A simulated Kubernetes: the API, its store and its controllers, in one process. It is not a product cluster.

pub mod access;
mod apply;
pub mod clock;
pub mod control;
pub mod controller;
mod custom;
mod defaults;
pub mod fault;
mod first;
mod garbage;
mod kubelet_silence;
pub mod object;
mod prepare;
pub mod quantity;
pub mod resource;
pub mod sandbox;
pub mod schema;
pub mod selector;
pub mod state;
pub mod status;
pub mod store;
mod typed;
mod validate;
mod world;
mod write;

pub use access::User;
pub use fault::{Fault, Matching, Requests};
pub use sandbox::{Options, Sandbox};
