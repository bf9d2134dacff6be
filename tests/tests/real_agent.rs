//! The built agent against a real kube-apiserver with its controllers, from the first push to the baseline and on.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test is to stop at what it did not expect"
)]

#[path = "real_agent/adopted.rs"]
mod adopted;
#[path = "real_agent/bank.rs"]
mod bank;
#[path = "real_agent/groups.rs"]
mod groups;
#[path = "real_agent/foreign.rs"]
mod foreign;
#[path = "real_agent/nodes.rs"]
mod nodes;
#[path = "real_agent/operations.rs"]
mod operations;
#[path = "real_agent/ordered.rs"]
mod ordered;
#[path = "real_agent/steps.rs"]
mod steps;
