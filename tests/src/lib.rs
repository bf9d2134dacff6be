//! What the tests across crates share: a real control plane and the fake kubelet that makes it live.

pub mod kubelet;
pub mod real_cluster;
