//! What the tests across crates share: the battery of behaviours, the built program with a site, scenarios, a real control
//! plane with the fake kubelet that makes it live, an admission webhook and a vault for it, a registry of images, the search
//! for secrets in all that the product puts out, and what benches measure with.

pub mod battery;
pub mod canary;
pub mod faults;
pub mod kubelet;
pub mod measure;
pub mod program;
pub mod real_cluster;
pub mod registry;
pub mod scenario;
pub mod vault;
pub mod webhook;

#[cfg(test)]
#[path = "canary/tests.rs"]
mod tests_of_canary;
