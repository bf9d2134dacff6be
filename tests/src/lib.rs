//! What the tests across crates share: the battery of behaviours, a real control plane and the fake kubelet that makes it live.

pub mod battery;
pub mod kubelet;
pub mod real_cluster;
