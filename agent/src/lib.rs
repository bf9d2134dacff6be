//! The agent as a library: what the binary and the tests use.

pub mod config;
pub mod dns;
pub mod secret;
pub mod signature;
pub mod source;
pub mod telemetry;
pub mod wake;
