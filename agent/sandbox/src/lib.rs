//! A simulated Kubernetes: the API, its store and its controllers, in one process. It is not a product cluster.

pub mod control;
pub mod controller;
