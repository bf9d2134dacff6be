//! The built agent as a process, with its clusters outside of it: killed at any moment, and with a repository that is
//! pushed to, rewritten, broken and gone.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../../tests/src/canary.rs"]
#[expect(unreachable_pub, reason = "the tests across crates have it in their library")]
mod canary;
#[path = "daemon/cluster.rs"]
mod cluster;
#[path = "daemon/crash.rs"]
mod crash;
#[path = "daemon/folder.rs"]
mod folder;
#[path = "daemon/journal.rs"]
mod journal;
#[path = "daemon/killer.rs"]
mod killer;
#[path = "daemon/preview.rs"]
mod preview;
#[path = "daemon/process.rs"]
mod process;
#[path = "daemon/reflow.rs"]
mod reflow;
#[path = "daemon/rehearse.rs"]
mod rehearse;
#[path = "daemon/repository.rs"]
mod repository;
#[path = "daemon/retention.rs"]
mod retention;
#[path = "daemon/site.rs"]
mod site;
#[path = "../../tests/src/vault.rs"]
#[expect(unreachable_pub, reason = "the tests across crates have it in their library")]
mod vault;
