//! The agent as a library: what the binary and the tests use.

pub mod agent;
pub mod approve;
pub mod cause;
pub mod cli;
pub mod client;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod demo;
pub mod dns;
pub(crate) mod earlier;
pub mod execute;
pub mod handle;
pub mod http;
pub mod journal;
pub mod publish;
pub mod reconcile;
pub mod registry;
pub mod sandboxes;
pub mod secret;
pub mod signature;
pub mod source;
pub mod status;
pub mod telemetry;
pub mod wake;
pub mod whereabouts;
