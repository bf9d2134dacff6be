//! What the tests across crates share: the battery of behaviours, the built program with a site, scenarios, a real control
//! plane with the fake kubelet that makes it live, and an admission webhook for it.

pub mod battery;
pub mod faults;
pub mod kubelet;
pub mod program;
pub mod real_cluster;
pub mod scenario;
pub mod webhook;
