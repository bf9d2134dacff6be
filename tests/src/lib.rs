//! What the tests across crates share: the battery of behaviours, the built program with a site, scenarios, a real control
//! plane and the fake kubelet that makes it live.

pub mod battery;
pub mod faults;
pub mod kubelet;
pub mod program;
pub mod real_cluster;
pub mod scenario;
